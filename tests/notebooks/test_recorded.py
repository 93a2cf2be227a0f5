"""Recorded tables: read with their note, and refused where they are not the ones that it describes."""

import json
import shutil

import pytest

from taskgram_chapters import benchmarks
from taskgram_chapters.recorded import recorded
from taskgram_utils.errors import InputError
from taskgram_utils.run.store import project_root

RESULTS = project_root() / "results"


def test_all_tables_of_a_note_in_its_order():
    record = recorded("records")
    assert {"phases", "pairs", "slopes"} < set(record.tables) and "by `python results/records.py`" in record.made
    assert record.tables["pairs"]["group"].map(type).eq(str).all()
    assert set(recorded("openbook").tables) >= {"coverage", "memorization", "performance", "gammas"}


def test_what_is_not_there_or_was_altered(tmp_path):
    with pytest.raises(InputError, match=r"records\.json: is missing, so nothing was recorded; make results"):
        recorded("records", tmp_path)
    for path in RESULTS.glob("records*"):
        if path.suffix in (".csv", ".json"):
            shutil.copy(path, tmp_path)
    with (tmp_path / "records_pairs.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match=r"records_pairs\.csv: is missing, or is not the table"):
        recorded("records", tmp_path)
    for text in ("{}", "[1]", "no json"):
        (tmp_path / "records.json").write_text(text)
        with pytest.raises(InputError, match=r"records\.json: no note of recorded tables"):
            recorded("records", tmp_path)


def test_a_trial_is_no_record(tmp_path):
    note = json.loads((RESULTS / "scoring.json").read_text()) | {"quick": True}
    (tmp_path / "scoring.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"scoring\.json: a trial"):
        recorded("scoring", tmp_path)


@pytest.mark.parametrize("name", ["counting", "scoring", "scoring_cuda"])
def test_the_races_of_the_project_can_be_read(name):
    table, note = recorded(name).tables[name], recorded(name).note
    assert note["rounds"] >= 2 and note["command"] in benchmarks.made(note)
    assert (benchmarks.our_rates(table)["rate"] > 0).all()
    if name == "scoring":
        beside = benchmarks.standing(table)
        assert (beside["equal"] == 1).all() and set(table["job"]) >= {"options", "memory"}
