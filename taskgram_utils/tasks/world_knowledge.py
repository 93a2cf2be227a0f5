"""World knowledge: multiple choice by the options' text, with a knowledge and a two-hop reasoning group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.draws import below, key, shuffled
from taskgram_utils.miniature.words import COUNTRY_QUESTION, QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import normalize
from taskgram_utils.tasks.base import Task, exact_match, table, test_size
from taskgram_utils.tasks.files import HUB, csv_rows, folder, hub_rows

OPTIONS = 4
INSTRUCTION = "Question: {x}\nAnswer:"
REASONING = (
    "econometrics", "professional_law", "abstract_algebra", "college_medicine", "college_chemistry", "moral_scenarios",
    "college_mathematics", "high_school_chemistry", "professional_accounting", "college_computer_science",
    "college_biology", "high_school_computer_science", "high_school_mathematics", "college_physics",
    "professional_medicine", "elementary_mathematics", "machine_learning", "electrical_engineering",
    "high_school_physics", "conceptual_physics", "high_school_statistics", "high_school_biology",
)  # fmt: skip
"""The paper's reasoning subjects of MMLU; formal_logic is in neither of its lists, all others are knowledge."""
UNLISTED = ("formal_logic",)


def miniature(world: World) -> pd.DataFrame:
    """``knowledge``: unasked facts; ``reasoning``: home countries in no document; ``written``: those that some state.

    x is the question alone, y the text of the right option. Distractors are drawn from the right answers of the same
    kind of question, so that the most common answer is no better guess than any other.
    """
    facts = world.facts()
    taken = facts.groupby("fact")["value"].agg(set)
    gold = facts[(facts["role"] == 0)].drop_duplicates("fact")
    unasked, asked = gold[~gold["asked"]], gold[gold["asked"]]
    citizens = world.citizens()
    size = test_size(world, 800)
    written = _sample(world, citizens[citizens["documents"] > 0], size // 2)
    parts = [
        ("test", "knowledge", _sample(world, unasked, size)), ("train", "knowledge", _sample(world, asked, size // 2)),
        ("test", "reasoning", citizens[citizens["documents"] == 0]),
        ("test", "written", written.iloc[::2]), ("train", "written", written.iloc[1::2]),
    ]  # fmt: skip
    rows = []
    for split, group, part in parts:
        for r in part.itertuples():
            if group == "knowledge":
                question, answer, never = QUESTIONS[r.relation][1], r.value, taken[r.fact]
                pool, every = gold["value"][gold["relation"] == r.relation], world.values[r.relation]
            else:
                question, answer, never = COUNTRY_QUESTION, r.country, {r.country}
                pool, every = citizens["country"], world.countries
            options, place = _options(world, f"{split}-{group}-{r.fact}", answer, never, pool, every)
            rows.append({
                "example_id": f"wk-{group}-{r.fact}", "split": split, "group": group,
                "instruction": prompt("factual_qa", 0), "x": question.replace("{p}", r.person), "y": f" {answer}",
                "answers": [answer], "options": [f" {o}" for o in options], "gold": place,
            })  # fmt: skip
    return table("world_knowledge", rows)


def read(source: str | Path = HUB, subjects: Sequence[str] = ()) -> pd.DataFrame:
    """MMLU: ``dev`` (the five examples a subject that stand before few-shot questions) and ``test``.

    From the hub (cais/mmlu) or a folder with dev/SUBJECT_dev.csv and test/SUBJECT_test.csv of question, A, B, C, D and
    letter. x is the question alone, y the text of the right option; ``group`` is ``knowledge``, ``reasoning`` or
    ``unlisted`` by the paper's lists, and ``subject`` is carried along; ``subjects``: only these. Raises InputError for
    a subject that is not there, and for a row that has not four options and a letter.
    """
    require(not isinstance(subjects, str), f"subjects: {subjects} is a text, not a list of subjects")
    rows, carried = [], []
    for split in ("dev", "test"):
        for subject, number, where, question, options, gold in _mmlu(source, split):
            if subjects and subject not in subjects:
                continue
            require(isinstance(question, str) and question.strip(), f"{where}: no question")
            texts = [str(option).strip() for option in options]
            require(len(texts) == OPTIONS and all(texts), f"{where}: not {OPTIONS} options")
            require(gold in range(OPTIONS), f"{where}: the answer is none of A, B, C and D")
            group = "reasoning" if subject in REASONING else "unlisted" if subject in UNLISTED else "knowledge"
            rows.append({"example_id": f"mmlu-{split}-{subject}-{number}", "split": split, "group": group,
                         "instruction": INSTRUCTION, "x": question.strip(), "y": f" {texts[gold]}",
                         "answers": [texts[gold]], "options": [f" {t}" for t in texts], "gold": gold})  # fmt: skip
            carried.append(subject)
    absent = [s for s in subjects if s not in carried]
    require(not absent, f"{source}: no subject {', '.join(absent)}")
    return table("world_knowledge", rows).assign(subject=carried)


def _mmlu(source: str | Path, split: str) -> Iterator[tuple[str, int, str, str, list[str], int]]:
    """Subject, number, place, question, options and place of the right one of every row of a split."""
    if str(source) == HUB:
        instead = "put MMLU's folders dev and test in a folder, and name it as the source"
        seen: dict[str, int] = {}
        needs = ("question", "subject", "choices", "answer")
        for where, row in hub_rows("cais/mmlu", "all", split, needs, instead):
            seen[row["subject"]] = seen.get(row["subject"], 0) + 1
            yield row["subject"], seen[row["subject"]], where, row["question"], row["choices"], int(row["answer"])
        return
    paths = listed(folder(source, "MMLU's folders dev and test") / split, f"*_{split}.csv")
    require(paths, f"{source}: no {split}/SUBJECT_{split}.csv; put MMLU's files there")
    for path in paths:
        subject = path.stem.removesuffix(f"_{split}")
        for number, (where, row) in enumerate(csv_rows(path, 6, "question, A, B, C, D, letter"), 1):
            letter = row[5].strip()
            gold = "ABCD".index(letter) if letter in ("A", "B", "C", "D") else -1
            yield subject, number, where, row[0], row[1:5], gold


def _sample(world: World, part: pd.DataFrame, size: int) -> pd.DataFrame:
    order = shuffled(key("world knowledge", world.world), len(part))
    return part.iloc[np.sort(order[:size])]


def _options(world: World, name: str, answer: str, never: set, pool: pd.Series, every: list) -> tuple[list[str], int]:
    # In the smallest worlds too few right answers differ from each other.
    pool = pool.to_numpy() if len(set(pool) - never) >= OPTIONS else np.array(every)
    stream, drawn, distractors = key("options", world.world, name), 0, []
    while len(distractors) < OPTIONS - 1:
        value = pool[below(stream, drawn, len(pool))]
        drawn += 1
        if value not in never and value not in distractors:
            distractors.append(value)
    place = int(below(stream, 1 << 20, OPTIONS))
    return [*distractors[:place], answer, *distractors[place:]], place


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """The person's surname and the right option."""
    surnames = {normalize(s) for s in world.surnames}
    surname = [next(word for word in normalize(x).split() if word in surnames) for x in examples["x"]]
    return pd.DataFrame({"example_id": examples["example_id"], "sx": surname, "sy": examples["y"].map(normalize)})


TASK = Task("world_knowledge", "World knowledge", miniature, truth, {"accuracy": exact_match}, read=read)
