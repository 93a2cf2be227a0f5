"""Benchmarks: ratios and their extremes from known seconds, and what a page says of them."""

import pandas as pd
import pytest

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


def standing(ratio, low, high, equal=1.0, way="lm-evaluation-harness", job="options"):
    return pd.DataFrame({"job": [job], "way": [way], "ratio": ratio, "low": low, "high": high, "equal": equal})


FAST, SLOW, OPEN = standing(5.25, 5, 25.4), standing(0.5, 0.25, 0.75, 0.5), standing(1, 0.5, 2)


@pytest.mark.parametrize(("counting", "scoring", "parts"), [
    (FAST, FAST, ("1 of 1 other ways of counting take longer and 1 of 1 other ways of scoring "
                  "(lm-evaluation-harness: 1) take longer.**",
                  "lm-evaluation-harness 5.2 [5.0, 25] times as long", "All answers that were compared are equal.")),
    (SLOW, OPEN, ("0 of 1 other ways of counting take longer (1 faster) and 0 of 1 other ways of scoring "
                  "(lm-evaluation-harness: 1) take longer (1 not decided)", "harness 1.0 [0.50, 2.0] times",
                  "the answers of 1 ways differ from ours.")),
])  # fmt: skip
def test_the_answer_follows_the_ratios(counting, scoring, parts):
    says = benchmarks.answered(counting, scoring)
    assert all(part in says for part in parts)
    assert "harness" not in benchmarks.answered(counting, scoring.assign(way="other"))


def test_what_differs_and_what_is_faster_is_named_and_nothing_where_nothing_is():
    words = benchmarks.agreement(pd.concat([FAST, SLOW.assign(way="rival")]))
    assert words["benchmarks-exact"] == "1 of 2"
    faster, differs = words["benchmarks-words"].split(". ")
    assert faster == "Faster than ours is: rival (0.50 [0.25, 0.75])"
    assert differs == "Not all answers are equal for: rival (50% equal)."
    assert benchmarks.agreement(FAST)["benchmarks-words"] == "No other way is faster. "


def test_a_complete_run_costs_what_its_rates_say():
    table = pd.DataFrame({"shape": ["b", "b", "a", "a"], "job": ["options", "solutions"] * 2, "rate": [10.0, 1, 20, 2]})
    cost = benchmarks.run_cost(table, (600, 120), 60, 12)
    assert list(cost["model"]) == ["b", "a"] and list(cost["minutes a step"]) == ["3.00", "1.50"]
    assert list(cost["hours for all steps"]) == ["3.00", "1.50"]
    assert list(cost["chips for 12 hours"]) == ["0.25", "0.12"]


def test_shown_tables_have_units():
    assert list(benchmarks.rates(TABLE)["a second"]) == ["50 MB", "25 MB"]
    command = TABLE.assign(job="scan: the command", peak_megabytes=737.2).head(1)
    row = benchmarks.memory(command).iloc[0]
    assert row.to_list() == ["taskgram_utils", "2", "50", "737"]
    own = TABLE.assign(tokens=1000.0, shape="s", share_of_peak=0.5, peak_megabytes=float("nan"))
    assert list(benchmarks.peaks(own).columns) == ["model", "job", "tokens", "tokens a second", "share of the peak"]
    assert benchmarks.peaks(own.assign(peak_megabytes=1500.0))["memory, GB"].to_list() == [1.5, 1.5]
