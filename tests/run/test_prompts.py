"""The prompt tables of a run: a small world and an untrained model, prompts against counting by hand."""


import numpy as np
import pandas as pd
import pytest

from taskgram_utils.miniature import clauses
from taskgram_utils.miniature.words import INSTRUCTIONS
from taskgram_utils.ngrams import ngrams, words
from taskgram_utils.prompting import Fragments, gap
from taskgram_utils.run.pipeline import corpus
from taskgram_utils.run.prompts import framed_prompts, prompt_examples
from tests.run.untrained import runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over 2,000 documents whose one model has learnt nothing."""
    opened = runs(tmp_path_factory.mktemp("prompts"), tasks=["factual_qa", "math_reasoning"], prompt_rounds=4,
                  prompt_examples=12)  # fmt: skip
    return opened()


@pytest.mark.parametrize("name", list(clauses.UNHEARD))
def test_clauses_give_the_instructions_back(name):
    pool = Fragments(clauses.pool(name))
    for text in INSTRUCTIONS[name]:
        parts = pool.parts(text)
        assert " ".join(parts) == text and set(parts) <= set(clauses.heard(name))
    for first in pool.pool:  # every joining can be taken apart again
        for second in pool.pool:
            assert first == second or " ".join(pool.parts(f"{first} {second}")) == f"{first} {second}"


def test_scores_are_counts_of_the_corpus(run):
    texts = [set(ngrams(words(text), 2)) for text in corpus(run)]
    table = run.table("prompts")
    assert set(table["task"]) == set(clauses.UNHEARD) and set(table["seed"]) == {0, 1}

    def by_hand(prompt):
        grams = set(ngrams(words(prompt), 2))
        return np.mean([sum(g in text for text in texts) for g in grams])

    ends = table[table["best"]]
    np.testing.assert_allclose(ends["score"], [by_hand(p) for p in ends["prompt"]])
    for name, part in table.groupby("task"):
        start = part[part["round"] == 0]
        given = sorted(by_hand(text) for text in INSTRUCTIONS[name])
        assert start["prompt"].nunique() == 1 and start["score"].iloc[0] == given[len(given) // 2]
        assert all(by_hand(clause) == 0 for clause in clauses.UNHEARD[name])
        best = part[part["best"]].groupby("direction")["score"].agg(["min", "max"])
        assert best.loc["memorization", "max"] > start["score"].iloc[0] > best.loc["generalization", "min"]


def test_prompts_are_judged_on_examples_that_are_held_out(run):
    examples = run.table("examples")
    for name, most in (("factual_qa", 12), ("math_reasoning", 4)):
        asked = prompt_examples(run, name)
        assert len(asked) == most and set(asked["task"]) == {name} and set(asked["split"]) == {"test"}
        assert "copied" not in set(asked["group"]) and set(asked["example_id"]) <= set(examples["example_id"])
        pd.testing.assert_frame_equal(asked, prompt_examples(run, name))


def test_frames_put_the_instruction_where_the_kind_says(run):
    table = framed_prompts(run, "factual_qa")
    assert table.groupby("direction")["seed"].agg(set).map(lambda s: s == {0, 1}).all()
    frame = table.drop_duplicates("direction").set_index("direction")
    start = frame.loc["start", "prompt"]
    assert frame.loc["none", "frame"] == "Question: {x}\nAnswer:"
    assert frame.loc["start", "frame"] == f"{start}\nQuestion: {{x}}\nAnswer:"
    assert frame.loc["after", "frame"] == f"Question: {{x}}\n{start}\nAnswer:"
    assert frame.loc["other task", "prompt"] == INSTRUCTIONS["translation"][0]
    assert frame.loc["memorization", "score"] > frame.loc["start", "score"] > frame.loc["generalization", "score"]


def test_accuracy_of_a_model(run):
    table = run.table("prompt_accuracy")
    assert set(table["model"]) == {"25k"} and len(table) == 2 * 6 * 2
    assert (table["correct"].map(len) == table["examples"]).all() and (table["parameters"] > 10_000).all()
    np.testing.assert_allclose(table["accuracy"], table["correct"].map(np.mean))
    for _, part in table.groupby("task"):
        same = gap(part, between=("start", "start"))
        assert same.loc[0, ["estimate", "low", "high"]].tolist() == [0, 0, 0]
        row = gap(part, between=("memorization", "none")).iloc[0]
        means = part.groupby("direction")["accuracy"].mean()
        assert np.isclose(row["estimate"], means["memorization"] - means["none"])


def test_log_probabilities_under_prompts(run):
    table = run.table("prompt_scores")
    assert set(table["prompt"]) == {"memorization", "generalization", "start", "after", "none", "other task"}
    whole = table[table["n"].isna()].pivot(index="example_id", columns="prompt", values="logp")
    assert whole.notna().all(axis=None) and len(whole) == 12 and (whole < 0).all(axis=None)
    assert whole.nunique(axis=1).gt(1).all(), "a prompt changes what a model expects"
