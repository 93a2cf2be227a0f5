"""Benchmarks: ratios and their extremes from known seconds."""

import pandas as pd

from taskgram_chapters import benchmarks

TABLE = pd.DataFrame({
    "corpus": ["a", "a", "b", "b", "b"], "job": ["j", "j", "j", "j", "k"],
    "way": ["taskgram_utils", "peer", "taskgram_utils", "peer", "only a peer"], "amount": 100, "unit": "MB",
    "seconds": [2.0, 8.0, 4.0, 2.0, 1.0], "low": [1.0, 6.0, 3.0, 1.5, 1.0], "high": [3.0, 9.0, 5.0, 2.5, 1.0],
    "rate": [50.0, 12.5, 25.0, 50.0, 100.0], "ours": [1.0, 4.0, 1.0, 0.5, 1.0], "equal": [None, 1.0, None, 0.5, None],
})  # fmt: skip


def test_peers_stand_beside_ours_of_the_same_job():
    beside = benchmarks.standing(TABLE)
    assert list(beside["corpus"]) == ["a", "b"] and list(beside["ratio"]) == [4.0, 0.5]
    assert list(beside["low"]) == [6 / 3, 1.5 / 5] and list(beside["high"]) == [9 / 1, 2.5 / 3]
    assert list(beside["equal"]) == [1.0, 0.5]
    assert list(benchmarks.our_rates(TABLE)["rate"]) == [50.0, 25.0]
