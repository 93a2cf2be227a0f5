"""Shuffled pairs are nobody's own, coverage is a hand count, and a leak is found where there is one and only there."""

import numpy as np
import pandas as pd
import pytest

from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.embedding import train_embedding
from taskgram_utils.errors import InputError
from taskgram_utils.mining import candidates
from taskgram_utils.mining_checks import coverage, leak, shuffled_candidates

TEXT = [f"person{i} lives in town{i % 7}" for i in range(40)] * 2


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    vectors = train_embedding(TEXT, tmp_path_factory.mktemp("e") / "e", dimension=30)
    examples = pd.DataFrame({
        "example_id": [f"q{i}" for i in range(40)], "task": "qa", "group": ["a"] * 20 + ["b"] * 20,
        "x": [f"where lives person{i}" for i in range(40)], "y": [f" town{i % 7}" for i in range(40)],
    })  # fmt: skip
    return examples, candidates(examples, 1, vectors), vectors


def test_shuffled_pairs_are_of_the_group_and_nobodys_own(mined):
    examples, own, vectors = mined
    found = shuffled_candidates(examples, own, 1, vectors, seed=3)
    assert len(found) > 60
    keys = ["example_id", "sx", "sy"]
    assert not set(found[keys].itertuples(index=False)) & set(own[keys].itertuples(index=False))
    outputs = examples.assign(y=examples["y"].str.strip()).groupby("group")["y"].agg(set)
    assert all(sy in outputs[group] for sy, group in zip(found["sy"], found["group"], strict=True))
    assert set(found["sx"]) <= set(own["sx"])
    again = shuffled_candidates(examples, own, 1, vectors, seed=3)
    pd.testing.assert_frame_equal(found, again)
    assert not found.equals(shuffled_candidates(examples, own, 1, vectors, seed=4))
    assert found["cosine"].mean() < own["cosine"].mean()


def test_an_example_alone_in_its_group_has_no_shuffled_pair(mined):
    examples, own, vectors = mined
    lone = pd.concat([examples.head(5), examples.tail(1)])
    assert "q39" not in set(shuffled_candidates(lone, own, 1, vectors)["example_id"])


def test_coverage_by_hand():
    examples = pd.DataFrame({"task": "qa", "example_id": list("abcd")})
    taskgrams = pd.DataFrame({
        "task": "qa", "n": 1, "example_id": list("aabc"), "sx": ["cat", "cat", "cat", "elk"],
        "sy": ["sat", "ran", "sat", "sat"],
    })  # fmt: skip
    counter = ScanCounter(["the cat sat", "a dog ran"])
    counts = count_table(counter, taskgrams, halves=True, singles=True)
    row = coverage(taskgrams, counts, examples).iloc[0]
    assert (row["examples"], row["with_pairs"], row["pairs_per_example"]) == (4, 0.75, pytest.approx(4 / 3))
    assert (row["distinct_pairs"], row["pair_in_corpus"], row["input_in_corpus"]) == (3, pytest.approx(1 / 3), 0.5)
    with pytest.raises(InputError, match="not in the counts"):
        coverage(taskgrams.assign(sy="other"), counts, examples)


def test_a_leak_is_found_where_there_is_one():
    rng = np.random.default_rng(0)
    count = rng.integers(1, 500, 300)
    pairs = pd.DataFrame({
        "task": "qa", "group": "facts", "sx": [f"x{i // 3}" for i in range(300)],
        "sy": [f"y{i % 90}" for i in range(300)], "count": count,
        "blind": rng.normal(size=300), "leaky": np.log(count) + rng.normal(size=300),
    })  # fmt: skip
    nothing = pairs.assign(group="none", count=0)
    few = pairs.head(10).assign(group="few")
    found = leak(pd.concat([pairs, pairs, nothing, few]), ["blind", "leaky"]).set_index("embedding")
    assert set(found["group"]) == {"facts"} and set(found["pairs"]) == {300}
    for name in ("blind", "leaky"):
        assert found.loc[name, "estimate"] == pytest.approx(pairs[name].corr(pairs["count"], "spearman"))
    assert found.loc["blind", "low"] < found.loc["blind", "high"] < found.loc["leaky", "low"]
    assert found.loc["leaky", "low"] > 0.3 and found.loc["difference", "low"] > 0.2
    assert found.loc["difference", "estimate"] == found.loc["leaky", "estimate"] - found.loc["blind", "estimate"]
