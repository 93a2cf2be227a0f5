"""The doctor: packages by version or absent, runs that lack something by what they lack and how to get it."""

import shutil

import pytest
from click.testing import CliRunner

from taskgram_utils.cli import main
from taskgram_utils.errors import InputError
from taskgram_utils.run import doctor, pipeline
from taskgram_utils.run import store as run_module


def test_every_part_has_a_version_or_is_absent_and_says_how_to_get_it():
    table = doctor.parts().set_index("part")
    assert table.loc["python", "version"].startswith("3.") and table.loc["torch", "version"][0].isdigit()
    assert (table[["needed_for", "get"]] != "").all(axis=None)


def test_the_committed_runs_can_work_here():
    table = doctor.runs().set_index("run")
    assert (table.loc[["miniature", "tiny"], "state"] == "ready").all()
    named = table.loc[["openbook", "pythia-pile", "olmo-dolma"]]
    assert (named["state"] == "lacks something").all() and named["detail"].str.contains("-p data FOLDER").all()


def test_a_run_of_real_text_says_which_file_is_not_there(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.txt").write_text("# A text")
    run = pipeline.open_run("openbook", data=str(tmp_path), tasks=["math_reasoning"])
    assert doctor.lacking(run) == [f"{tmp_path / 'gsm8k'}: no such file or folder; examples of math_reasoning go there"]
    (tmp_path / "gsm8k").mkdir()
    run = pipeline.open_run("openbook", data=str(tmp_path), tasks=["math_reasoning"], embedding="packaged/none")
    questions, model = doctor.lacking(run)
    assert questions.startswith(f"{tmp_path / 'gsm8k' / 'train.jsonl'}: no such file")
    assert model == "packaged model none: not one of all-MiniLM-L6-v2, SmolLM2-135M-Instruct"


@pytest.mark.parametrize(("change", "message"), [
    ({"weights": "no/such/folder"}, "no card.json"), ({"world": 7}, "trained on world = 1, the run says 7"),
    ({"models": ["25k", "7b"]}, "model 7b: neither a size of the suite (100k, 25k, 3m, 600k), nor a folder"),
])  # fmt: skip
def test_a_run_without_fitting_weights_says_so(change, message):
    found = doctor.lacking(pipeline.open_run("miniature", **change))
    assert len(found) == 1 and message in found[0]


def test_an_embedding_needs_its_package_and_a_run_its_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 10))
    run = pipeline.open_run("openbook", data=str(tmp_path), embedding="intfloat/e5-large-v2")
    monkeypatch.setattr(doctor, "_lacking_text", lambda run: [])
    monkeypatch.setattr(doctor, "_space", lambda run: 1e9)
    monkeypatch.setattr(pipeline, "check_models", lambda run: None)
    first, second = doctor.lacking(run)
    assert "intfloat/e5-large-v2: pip install" in first and second.startswith("disk: about")
    with pytest.raises(InputError, match="run openbook cannot work here: embedding"):
        doctor.require_ready(run)
    assert doctor.parts().set_index("part").loc["pytest", "version"] == "absent"


def test_outside_a_checkout_the_parts_are_said_and_where_the_notebooks_are(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "PACKAGE", tmp_path / "site" / "taskgram_utils")
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, ["doctor"])
    assert told.exit_code == 0 and "torch" in told.stdout and "clone it" in told.stdout
    for command in ("book", "run"):
        refused = CliRunner().invoke(main, [command, "tiny"])
        assert refused.exit_code == 2 and "the project's repository" in refused.stderr
