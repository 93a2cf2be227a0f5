"""Factual question answering: one short answer to a question about a person."""

from __future__ import annotations

import pandas as pd

from taskgram_utils.miniature.words import QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import normalize
from taskgram_utils.tasks.base import Task, exact_match, table, test_size


def miniature(world: World) -> pd.DataFrame:
    """Test: every fact that no document states as a question. Train: facts that some documents ask."""
    facts = world.facts().query("role == 0").drop_duplicates("fact")
    rows, train = [], test_size(world, 600)
    for split, part in (("test", facts[~facts["asked"]]), ("train", facts[facts["asked"]].head(train))):
        rows += [
            {"example_id": f"qa-{r.fact}", "split": split, "group": "facts", "instruction": prompt("factual_qa", 0),
             "x": QUESTIONS[r.relation][0].replace("{p}", r.person), "y": f" {r.value}", "answers": [r.value]}
            for r in part.itertuples()
        ]  # fmt: skip
    return table("factual_qa", rows)


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """The person's surname and the whole answer."""
    facts = world.facts().query("role == 0").drop_duplicates("fact")
    surname = {f"qa-{f}": p.split()[-1] for f, p in zip(facts["fact"], facts["person"], strict=True)}
    return pd.DataFrame({
        "example_id": examples["example_id"], "sx": examples["example_id"].map(surname).map(normalize),
        "sy": examples["y"].map(normalize)})  # fmt: skip


TASK = Task("factual_qa", "Factual QA", miniature, truth, {"exact_match": exact_match}, whole_answer=True,
            max_tokens=16)  # fmt: skip
