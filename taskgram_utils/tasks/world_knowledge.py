"""World knowledge: multiple choice by the options' text, with a knowledge and a two-hop reasoning group."""

from __future__ import annotations

import numpy as np
import pandas as pd

from taskgram_utils.miniature.draws import below, key, shuffled
from taskgram_utils.miniature.words import COUNTRY_QUESTION, QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import normalize
from taskgram_utils.tasks.base import Task, exact_match, table, test_size

OPTIONS = 4


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


TASK = Task("world_knowledge", "World knowledge", miniature, truth, {"accuracy": exact_match}, whole_answer=True)
