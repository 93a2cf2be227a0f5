"""The benchmarks of counting work, and all ways agree, but for the one that is known not to be exact."""

import json

import pandas as pd
import pytest

from tests.benchmarks import counting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return counting.measure(tmp_path_factory.mktemp("benchmarks"), quick=True, rounds=1)


def test_every_way_gives_our_counts(table):
    others = table[table["equal"].notna() & ~table["way"].str.contains("count_cnf")]
    assert len(others) > 20 and (others["equal"] == 1).all()
    for package in ("infini-gram", "fast-gram", "tokengrams", "tantivy", "ahocorasick_rs", "daachorse",
                    "pyahocorasick"):
        assert others["way"].str.startswith(package).any(), package


def test_each_job_says_how_fast_and_how_often(table):
    assert (table["seconds"] > 0).all() and (table["rate"] > 0).all() and (table["low"] <= table["high"]).all()
    assert table["job"].str.startswith(("scan", "build", "single counts", "document pairs", "infinity", "memory")).all()
    growth = table[table["job"] == "scan: the command"]
    assert len(growth) == len(counting.GROWTH) and growth["peak_megabytes"].between(50, 1_500).all()


def test_the_command_writes_the_table_and_its_note(tmp_path, monkeypatch, table):
    monkeypatch.setattr(counting, "measure", lambda *_: table)
    monkeypatch.setattr("sys.argv", ["counting", "--quick", "--rounds", "1", "--out", str(tmp_path / "new")])
    counting.main()
    note = json.loads((tmp_path / "new/counting.json").read_text())
    assert note["quick"] and note["rounds"] == 1 and "tantivy" in note["versions"]
    assert len(pd.read_csv(tmp_path / "new/counting.csv")) == len(table)
