"""World knowledge: multiple choice by the options' text; facts, and reasoning in two hops."""

import csv
import io
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
from taskgram_utils.tables import read_text
from taskgram_utils.tasks import files
from taskgram_utils.tasks.base import Task, exact_match, example, table, test_size
from taskgram_utils.tasks.base import surname_and_answer as truth

OPTIONS = 4
INSTRUCTION = "Question: {x}\nAnswer:"
REASONING = """
econometrics professional_law abstract_algebra college_medicine college_chemistry moral_scenarios
college_mathematics high_school_chemistry professional_accounting college_computer_science
college_biology high_school_computer_science high_school_mathematics college_physics
professional_medicine elementary_mathematics machine_learning electrical_engineering
high_school_physics conceptual_physics high_school_statistics high_school_biology""".split()
"""The paper's reasoning subjects of MMLU."""
GROUPS = dict.fromkeys(REASONING, "reasoning") | {"formal_logic": "unlisted"}
"""The groups of subjects; formal_logic is in neither list of the paper, others are knowledge."""


def miniature(world: World) -> pd.DataFrame:
    """Facts (``knowledge``) and home countries in no document (``reasoning``) or some
    (``written``).

    x is the question alone, y the text of the right option. Distractors are drawn from the right
    answers of the same kind of question, so that the most common answer is no better guess than any
    other. No document asks a test question of ``knowledge``.
    """
    facts, citizens, size = world.facts(), world.citizens(), test_size(world, 800)
    true_values = facts.groupby("fact")["value"].agg(set)
    main = facts[facts["role"] == 0].drop_duplicates("fact")
    in_questions, in_documents = main["asked"], citizens["documents"] > 0
    values = dict(iter(main.groupby("relation")["value"]))
    written = _sample(world, citizens[in_documents], size // 2)
    rows = []
    for split, group, part in (
        ("test", "knowledge", _sample(world, main[~in_questions], size)),
        ("train", "knowledge", _sample(world, main[in_questions], size // 2)),
        ("test", "reasoning", citizens[~in_documents]),
        ("test", "written", written.iloc[::2]), ("train", "written", written.iloc[1::2]),
    ):
        for r in part.itertuples():
            if group == "knowledge":
                question, answer, right = QUESTIONS[r.relation][1], r.value, true_values[r.fact]
                pool, every = values[r.relation], world.values[r.relation]
            else:
                question, answer, right = COUNTRY_QUESTION, r.country, {r.country}
                pool, every = citizens["country"], world.countries
            name, x = f"{group}-{r.fact}", question.replace("{p}", r.person)
            options, gold = _options(world, f"{split}-{name}", answer, right, pool, every)
            rows.append(example(f"wk-{name}", split, group, prompt("factual_qa", 0), x, answer,
                                options=options, gold=gold))
    return table("world_knowledge", rows)


def read(source: str | Path = files.HUB, subjects: Sequence[str] = ()) -> pd.DataFrame:
    """MMLU: ``dev`` (five examples a subject, to put before few-shot questions) and ``test``.

    From the hub (cais/mmlu) or a folder with dev/SUBJECT_dev.csv and test/SUBJECT_test.csv of
    question, A, B, C, D and letter. x is the question alone, y the text of the right option;
    ``group`` is ``knowledge``, ``reasoning`` or ``unlisted`` by the paper's lists, ``subject`` a
    column of its own; ``subjects``: only these. Raises InputError for a subject that is not there,
    and for a row that has not four options and a letter.
    """
    require(not isinstance(subjects, str), f"subjects: {subjects} is a text, not a list")
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
            group = GROUPS.get(subject, "knowledge")
            name = f"mmlu-{split}-{subject}-{numbers[split, subject]}"
            rows.append(example(name, split, group, INSTRUCTION, question, options[gold], gold=gold,
                                options=[f" {option}" for option in options], subject=subject))
    absent = set(subjects) - {row["subject"] for row in rows}
    require(not absent, f"{source}: no subject {', '.join(sorted(absent))}")
    return table("world_knowledge", rows)


def _mmlu(source: str | Path, split: str) -> files.Rows:
    """The rows of a split: question, subject, choices, answer (the number of the right choice)."""
    what = "MMLU's folders dev and test"
    if str(source) == files.HUB:
        yield from files.hub_rows("cais/mmlu", "all", split, what)
        return
    paths = listed(Path(source) / split, f"*_{split}.csv")
    require(paths, f"{source}: no {split}/SUBJECT_{split}.csv; put {what} there")
    for path in paths:
        subject = path.stem.removesuffix(f"_{split}")
        for number, row in enumerate(csv.reader(io.StringIO(read_text(path), newline="")), 1):
            where, columns = f"{path}, row {number}", "6 (question, A, B, C, D, letter)"
            require(len(row) == 6, f"{where}: {len(row)} columns, not {columns}")
            right = dict(A=0, B=1, C=2, D=3).get(row[5].strip())
            yield where, dict(question=row[0], choices=row[1:5], answer=right, subject=subject)


def _sample(world: World, part: pd.DataFrame, size: int) -> pd.DataFrame:
    """``size`` rows of a table, or all, in order."""
    order = shuffled(key("world knowledge", world.world), len(part))
    return part.iloc[np.sort(order[:size])]


def _options(world, name, answer, right, pool, every) -> tuple[list[str], int]:
    """The options of a question and the number of the answer, the only one of ``right`` in them."""
    # In the smallest worlds too few right answers differ from each other.
    pool = pool.to_numpy() if len(set(pool) - right) >= OPTIONS else np.array(every)
    stream, options, draw = key("options", world.world, name), [], 0
    while len(options) < OPTIONS - 1:
        value = pool[below(stream, draw, len(pool))]
        draw += 1
        if value not in right and value not in options:
            options.append(value)
    gold = int(below(stream, 1 << 20, OPTIONS))
    options.insert(gold, answer)
    return [f" {option}" for option in options], gold


TASK = Task("world_knowledge", "World knowledge", miniature, truth, {"accuracy": exact_match},
            read=read)
