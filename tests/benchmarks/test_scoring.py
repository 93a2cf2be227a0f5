"""The benchmarks of scoring work, all who take part in them agree, and what is recorded says how it was made."""

import json

import pandas as pd
import pytest

from tests.benchmarks import scoring

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(not (scoring.DATA / "mmlu").exists(), reason=f"no {scoring.DATA}/mmlu"),
]  # fmt: skip


def test_every_way_gives_our_log_probabilities(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scoring", "--quick", "--rounds", "1", "--out", str(tmp_path)])
    scoring.main()
    table = pd.read_csv(tmp_path / "scoring.csv")
    others = table[table["equal"].notna()]
    assert len(others) >= 4 and (others["equal"] == 1).all()
    ours = table[(table["way"] == "ours") & (table["job"] != "memory")]
    assert (ours["share_of_peak"] > 0).all() and (ours["tokens"] > 100).all()
    [used] = table[table["job"] == "memory"].itertuples()
    assert used.peak_megabytes > used.weights_megabytes > 100
    note = json.loads((tmp_path / "scoring.json").read_text())
    assert note["quick"] and "lm_eval" in note["versions"] and list(note["sha256"]) == ["scoring.csv"]


def test_without_the_questions_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scoring", "--data", str(tmp_path), "--out", str(tmp_path)])
    scoring.main()
    assert "scoring is not measured" in capsys.readouterr().err and not list(tmp_path.iterdir())
