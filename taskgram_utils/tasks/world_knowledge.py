"""World knowledge: multiple choice by the options' text; facts, and reasoning in two hops."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.draws import below, key, shuffled
from taskgram_utils.miniature.words import COUNTRY_QUESTION, QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import normalize, words
from taskgram_utils.tasks import files
from taskgram_utils.tasks.base import Task, exact_match, example, table, test_size

OPTIONS = 4
INSTRUCTION = "Question: {x}\nAnswer:"
REASONING = (
    "econometrics", "professional_law", "abstract_algebra", "college_medicine", "college_chemistry",
    "moral_scenarios", "college_mathematics", "high_school_chemistry", "professional_accounting",
    "college_computer_science", "college_biology", "high_school_computer_science",
    "high_school_mathematics", "college_physics", "professional_medicine", "elementary_mathematics",
    "machine_learning", "electrical_engineering", "high_school_physics", "conceptual_physics",
    "high_school_statistics", "high_school_biology",
)
"""The paper's reasoning subjects of MMLU; all others are knowledge, but for ``UNLISTED``."""
UNLISTED = ("formal_logic",)
"""Subjects that are in neither list of the paper."""


def miniature(world: World) -> pd.DataFrame:
    """``knowledge``: facts; ``reasoning``: home countries in no document; ``written``: home
    countries that some document states.

    x is the question alone, y the text of the right option. Distractors are drawn from the right
    answers of the same kind of question, so that the most common answer is no better guess than any
    other. Test questions of ``knowledge`` are in no document.
    """
    facts, citizens, size = world.facts(), world.citizens(), test_size(world, 800)
    taken = facts.groupby("fact")["value"].agg(set)
    gold = facts[facts["role"] == 0].drop_duplicates("fact")
    asked, known = gold["asked"], citizens["documents"] > 0
    written = _sample(world, citizens[known], size // 2)
    rows = []
    for split, group, part in (
        ("test", "knowledge", _sample(world, gold[~asked], size)),
        ("train", "knowledge", _sample(world, gold[asked], size // 2)),
        ("test", "reasoning", citizens[~known]),
        ("test", "written", written.iloc[::2]), ("train", "written", written.iloc[1::2]),
    ):
        for r in part.itertuples():
            if group == "knowledge":
                question, answer, never = QUESTIONS[r.relation][1], r.value, taken[r.fact]
                pool, every = gold["value"][gold["relation"] == r.relation], world.values[r.relation]
            else:
                question, answer, never = COUNTRY_QUESTION, r.country, {r.country}
                pool, every = citizens["country"], world.countries
            name = f"{split}-{group}-{r.fact}"
            options, place = _options(world, name, answer, never, pool, every)
            rows.append(example(
                f"wk-{group}-{r.fact}", split, group, prompt("factual_qa", 0),
                question.replace("{p}", r.person), answer, options=options, gold=place,
            ))
    return table("world_knowledge", rows)


def read(source: str | Path = files.HUB, subjects: Sequence[str] = ()) -> pd.DataFrame:
    """MMLU: ``dev`` (the five examples a subject that stand before few-shot questions) and
    ``test``.

    From the hub (cais/mmlu) or a folder with dev/SUBJECT_dev.csv and test/SUBJECT_test.csv of
    question, A, B, C, D and letter. x is the question alone, y the text of the right option;
    ``group`` is ``knowledge``, ``reasoning`` or ``unlisted`` by the paper's lists, ``subject`` a
    column of its own; ``subjects``: only these. Raises InputError for a subject that is not there,
    and for a row that has not four options and a letter.
    """
    require(not isinstance(subjects, str), f"subjects: {subjects} is a text, not a list of subjects")
    rows, numbers = [], Counter()
    for split in ("dev", "test"):
        for where, row in _mmlu(source, split):
            subject, gold = row["subject"], row["answer"]
            numbers[split, subject] += 1
            if subjects and subject not in subjects:
                continue
            question = files.text(row, where, "question")
            options = [str(option).strip() for option in row["choices"]]
            require(len(options) == OPTIONS and all(options), f"{where}: not {OPTIONS} options")
            require(gold in range(OPTIONS), f"{where}: the answer is none of A, B, C and D")
            kind = "unlisted" if subject in UNLISTED else "knowledge"
            rows.append(example(
                f"mmlu-{split}-{subject}-{numbers[split, subject]}", split,
                "reasoning" if subject in REASONING else kind, INSTRUCTION, question, options[gold],
                options=[f" {option}" for option in options], gold=gold, subject=subject,
            ))
    absent = set(subjects) - {row["subject"] for row in rows}
    require(not absent, f"{source}: no subject {', '.join(sorted(absent))}")
    return table("world_knowledge", rows)


def _mmlu(source: str | Path, split: str) -> files.Rows:
    """The rows of a split: question, subject, choices, and answer, the number of the right
    choice."""
    what = "MMLU's folders dev and test"
    if str(source) == files.HUB:
        yield from files.hub_rows("cais/mmlu", "all", split, what)
        return
    paths = listed(Path(source) / split, f"*_{split}.csv")
    require(paths, f"{source}: no {split}/SUBJECT_{split}.csv; put {what} there")
    for path in paths:
        for where, row in files.csv_rows(path, ("question", "A", "B", "C", "D", "letter")):
            letters = [letter for letter in "ABCD" if letter == row["letter"].strip()]
            yield where, {
                "question": row["question"], "subject": path.stem.removesuffix(f"_{split}"),
                "choices": [row[letter] for letter in "ABCD"],
                "answer": "ABCD".index(letters[0]) if letters else None,
            }


def _sample(world: World, part: pd.DataFrame, size: int) -> pd.DataFrame:
    """``size`` rows of a table, or all, in order."""
    order = shuffled(key("world knowledge", world.world), len(part))
    return part.iloc[np.sort(order[:size])]


def _options(
    world: World, name: str, answer: str, never: set, pool: pd.Series, every: list
) -> tuple[list[str], int]:
    """The options of a question, drawn from ``pool`` without ``never``, and the place of the
    answer."""
    # In the smallest worlds too few right answers differ from each other.
    pool = pool.to_numpy() if len(set(pool) - never) >= OPTIONS else np.array(every)
    stream, options = key("options", world.world, name), []
    for draw in itertools.count():
        value = pool[below(stream, draw, len(pool))]
        if value not in never and value not in options:
            options.append(value)
        if len(options) == OPTIONS - 1:
            break
    place = int(below(stream, 1 << 20, OPTIONS))
    options.insert(place, answer)
    return [f" {option}" for option in options], place


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """The person's surname and the right option."""
    known = {normalize(surname) for surname in world.surnames}
    surnames = [next(word for word in words(x) if word in known) for x in examples["x"]]
    return pd.DataFrame({"example_id": examples["example_id"], "sx": surnames,
                         "sy": examples["y"].map(normalize)})


TASK = Task("world_knowledge", "World knowledge", miniature, truth, {"accuracy": exact_match},
            read=read)
