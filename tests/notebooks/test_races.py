"""Recorded races: ratios and their extremes from known seconds, and the records of the project."""

import json
from pathlib import Path

import pandas as pd
import pytest

from taskgram_chapters import races
from taskgram_utils.errors import InputError

RESULTS = Path(__file__).resolve().parents[2] / "results"
TABLE = pd.DataFrame({
    "corpus": ["a", "a", "b", "b", "b"], "job": ["j", "j", "j", "j", "k"],
    "way": ["taskgram_utils", "peer", "taskgram_utils", "peer", "only a peer"], "amount": 100, "unit": "MB",
    "seconds": [2.0, 8.0, 4.0, 2.0, 1.0], "low": [1.0, 6.0, 3.0, 1.5, 1.0], "high": [3.0, 9.0, 5.0, 2.5, 1.0],
    "rate": [50.0, 12.5, 25.0, 50.0, 100.0], "ours": [1.0, 4.0, 1.0, 0.5, 1.0], "equal": [None, 1.0, None, 0.5, None],
})  # fmt: skip


def test_peers_stand_beside_ours_of_the_same_job():
    beside = races.standing(TABLE)
    assert list(beside["corpus"]) == ["a", "b"] and list(beside["ratio"]) == [4.0, 0.5]
    assert list(beside["low"]) == [6 / 3, 1.5 / 5] and list(beside["high"]) == [9 / 1, 2.5 / 3]
    assert list(beside["equal"]) == [1.0, 0.5]
    assert list(races.our_rates(TABLE)["rate"]) == [50.0, 25.0]


def test_a_trial_is_no_record(tmp_path):
    assert races.recorded("scoring", tmp_path) is None
    TABLE.to_csv(tmp_path / "scoring.csv", index=False)
    (tmp_path / "scoring.json").write_text(json.dumps({"quick": True}))
    with pytest.raises(InputError, match=r"scoring\.csv: a trial"):
        races.recorded("scoring", tmp_path)


@pytest.mark.parametrize("name", ["counting", "scoring", "scoring_cuda"])
def test_the_records_of_the_project_can_be_read(name):
    found = races.recorded(name, RESULTS)
    assert found.note["rounds"] >= 2 and found.note["command"] in found.made
    assert (races.our_rates(found.table)["rate"] > 0).all()
    if name == "scoring":
        beside = races.standing(found.table)
        assert (beside["equal"] == 1).all() and set(found.table["job"]) >= {"options", "memory"}
