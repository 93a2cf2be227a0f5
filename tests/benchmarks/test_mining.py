"""The benchmark of mining works, all who take part find the same pairs, and what is recorded says how it was made."""

import json

import pandas as pd
import pytest

from taskgram_utils.packaged import installed

pytest.importorskip("sentence_transformers")
from tests.benchmarks import mining

ROOT = mining.ROOT


@pytest.mark.slow
@pytest.mark.skipif(not ((mining.DATA / "gsm8k").exists() and installed("all-MiniLM-L6-v2")), reason="no GSM8K/MiniLM")
def test_every_way_finds_our_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["mining", "--quick", "--out", str(tmp_path)])
    mining.main()
    table = pd.read_csv(tmp_path / "mining.csv")
    others = table[table["way"] != "ours"]
    assert len(others) == 6 and (others["equal"] == 1).all()
    asked = table.dropna(subset=["asked"])
    assert len(asked) == 2 and (asked["asked"] == asked["distinct"]).all()
    assert (table["peak_megabytes"].dropna() > 0).all()
    note = json.loads((tmp_path / "mining.json").read_text())
    assert note["quick"] and list(note["sha256"]) == ["mining.csv"] and note["embedding"] == "all-MiniLM-L6-v2"


def test_without_the_solutions_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mining", "--data", str(tmp_path), "--out", str(tmp_path)])
    mining.main()
    assert "mining is not measured" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.skipif(not (ROOT / "results" / "mining.json").exists(), reason="make bench has not recorded mining")
def test_what_is_recorded_is_whole_and_each_ngram_was_embedded_once():
    note = json.loads((ROOT / "results" / "mining.json").read_text())
    table = pd.read_csv(ROOT / "results" / "mining.csv")
    assert not note["quick"] and (table.loc[table["way"] != "ours", "equal"] == 1).all()
    pairs = table[table["job"].str.startswith("pairs")]
    assert (pairs.loc[pairs["way"] == "ours", "asked"] == pairs.loc[pairs["way"] == "ours", "distinct"]).all()
    assert (pairs.loc[pairs["way"] != "ours", "ours"] > 5).all()
