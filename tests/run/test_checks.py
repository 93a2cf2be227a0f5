"""What a run file, -p and open_run may hold; every other value is one clear line. What a run lacks, by name."""

import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from click.testing import CliRunner

from taskgram_utils import book
from taskgram_utils.cli import main
from taskgram_utils.errors import InputError
from taskgram_utils.run import checks, pipeline
from taskgram_utils.run import store as run_module
from taskgram_utils.run.checks import TEXT, one_of, require_parameters, whole, wrong
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.run.store import open_run_file


@pytest.mark.parametrize("name", ["miniature", "tiny", "openbook", "pythia-pile", "olmo-dolma"])
def test_the_projects_own_run_files_are_right(name):
    assert wrong(open_run_file(name, {})) == []


@pytest.mark.parametrize(("name", "text", "value"), [
    ("seed", "010", 10), ("steps", "[0, 64]", [0, 64]), ("steps", "last", "last"),
    ("steps", "64", 64), ("steps", "0,64", "0,64"), ("dtype", "null", None), ("dtype", "bfloat16", "bfloat16"),
    ("scheduler", "tcp://h:8786", "tcp://h:8786"), ("weights", "007", "007"), ("weights", "", ""),
    ("gamma", "0.5", 0.5), ("gamma", "null", None), ("kappa", "1", 1), ("models", "[25k]", ["25k"]),
    ("device", "auto", "auto"), ("pickled", "true", True), ("full_answer", "[]", []),
])  # fmt: skip
def test_a_value_is_read_by_the_kind_of_its_parameter(name, text, value):
    found = book.plan("tiny", [(name, text)]).overrides[name]
    assert found == value and type(found) is type(value)
    assert pipeline.open_run("tiny", **{name: value})[name] == value


@pytest.mark.parametrize(("name", "text", "wanted"), [
    ("jobs", "1:30", "jobs: '1:30' is not a whole number of 1 or more"), ("jobs", "1e3", "jobs: 1000.0 is not"),
    ("jobs", "1_000", "jobs: '1_000'"), ("jobs", "true", "jobs: True"), ("seed", "-1", "a whole number of 0 or more"),
    ("kappa", ".nan", "kappa: nan is not a number above 0 and finite"), ("kappa", ".inf", "kappa: inf"),
    ("steps", "1:30", "steps: '1:30' is not all, last or a list of whole numbers"), ("steps", "null", "steps: None"),
    ("steps", "[0, -1]", "steps: "), ("dtype", "float8", "dtype: 'float8' is not one of null, 'float32', 'bf"),
    ("pickled", "1", "pickled: 1 is not one of true, false"), ("pickled", "yes", "pickled: 'yes'"),
    ("models", "25k", "models: '25k' is not a list"), ("models", "[2024]", "models: "),
    ("ngram_sizes", "[0]", "ngram_sizes: [0]"),
    ("gamma", "1", "gamma: 1 is not null, calibrate"), ("gamma", "high", "gamma: 'high' is"),
    ("models", "[]", "models: "),
    ("gamma", "{factual_qa: {2: -1}}", "gamma: {'factual_qa': {2: -1}} is not"), ("gamma", "true", "gamma: True is"),
    ("steps", "some", "steps: 'some' is not all, last"), ("steps", "[true]", "steps: [True] is not all, last"),
    ("documents", "10", "a whole number of 1,000 or more"),
    ("scheduler", "8786", "scheduler: 8786 is not null or an address"), ("tasks", "[", "parameter tasks: no YAML"),
])  # fmt: skip
def test_a_wrong_value_is_one_line(name, text, wanted):
    with pytest.raises(InputError) as caught:
        book.plan("tiny", [(name, text)])
    assert wanted in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_value_of_a_run_file_and_of_open_run_is_named(tmp_path):
    text = (open_run_file("tiny", {}).folder.parents[2] / "notebooks/runs/tiny.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace("prompt_seeds: ", "prompt_seeds: many #"))
    for run, changes in ((str(tmp_path / "own.yaml"), {}), ("tiny", {"prompt_seeds": "many"})):
        with pytest.raises(InputError, match=r"^parameter prompt_seeds: 'many' is not a whole number of 1 or more$"):
            pipeline.open_run(run, **changes)
    with pytest.raises(InputError, match="parameter kappa: nan"):
        pipeline.open_run("tiny", kappa=np.nan)


@pytest.mark.parametrize(("change", "said"), [
    ({"ngram_sizes": [1, 1, 2]},
     "ngram_sizes: [1, 1, 2] is not a list of numbers of words, with something in it, each once"),
    ({"tasks": ["factual_qa", "factual_qa"]}, "is not a list of tasks, with something in it, each once"),
    ({"stop": {"fact": ["x"]}}, "task fact: "), ({"gamma": {"fact": 0.5}}, "task fact: "),
])  # fmt: skip
def test_what_is_named_twice_and_a_task_that_is_none_are_told(change, said):
    for run in ("tiny", "openbook"):
        complaints = wrong(open_run_file(run, {}, change))
        assert any(said in line for line in complaints), complaints


def test_a_run_file_that_lacks_or_invents_a_parameter(tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\ncolour: red\n")
    found = wrong(open_run_file(str(tmp_path / "own.yaml"), {}))
    assert found[0] == "colour: no parameter of a run" and "lacks alternative_document, backend, bertscore" in found[1]


def refused(cells: list[str], **kinds) -> str:
    names: dict = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, names)
    with pytest.raises(InputError) as caught:
        require_parameters(names, **kinds)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OWN = 'run = "miniature"  # the run\nn = 2  # words\nwindow = "10"  # words around'
KINDS = {"run": TEXT, "n": whole(1), "window": one_of("10", "document")}


def test_a_notebook_refuses_what_it_does_not_declare():
    said = refused([OWN, '# Parameters\nrun = "tiny"\nm = 3\n'], **KINDS)
    assert said == "parameter m: this notebook has none of that name; it has run, n, window"
    fine = {"In": ["", OWN, '# Parameters\nn = 3\n', "m = 3"], "run": "tiny", "n": 3, "window": "document", "m": 3}
    require_parameters(fine, **KINDS)  # what a cell of its own sets, run before this one, is no parameter
    require_parameters({**fine, "In": []}, **KINDS)


@pytest.mark.parametrize(("cell", "said"), [
    ('n = "many"', "parameter n: 'many' is not a whole number of 1 or more"), ("n = 0", "parameter n: 0 is not"),
    ("n = 2.0", "parameter n: 2.0 is not"), ("n = True", "parameter n: True is not"),
    ("run = None", "parameter run: None is not text"),
    ("window = 10", "parameter window: 10 is not one of '10', 'document'; papermill -r takes it as text"),
    ("n = 0\nrun = 1", "parameter run: 1 is not text; papermill -r takes it as text; parameter n: 0 is not a whole"),
])  # fmt: skip
def test_a_notebook_refuses_a_value_of_another_kind(cell, said):
    assert refused([OWN, f"# Parameters\n{cell}\n"], **KINDS).startswith(said)
    assert refused([OWN, cell], **KINDS).startswith(said)  # by hand


def cells_of(path) -> tuple[str, str]:
    """The parameters of a notebook and its next code cell."""
    return tuple(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")[:2]


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_checks_what_it_declares_before_all_else(path):
    declared, check = cells_of(path)
    names: dict = {"In": ["", declared]}
    exec(declared, names)
    exec(check, names)
    for name in [line.split(" = ")[0] for line in declared.splitlines()]:
        with pytest.raises(InputError, match=f"^parameter {name}: "):
            exec(check, names | {name: [name]})
    names["In"].append("# Parameters\ntsak = 1\n")
    with pytest.raises(InputError, match=r"^parameter tsak: this notebook has none of that name"):
        exec(check, names)


def test_papermill_alone_refuses_a_misspelt_parameter(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "")  # so that what follows is undone
    kernel = book._write_kernel(tmp_path, {}, tmp_path / "noted.json")
    notebook = PACKAGE.parent / "notebooks/11_across_tasks.ipynb"
    command = [sys.executable, "-m", "papermill", notebook, tmp_path / "o.ipynb", "-p", "run", "tiny", "-p",
               "fwe", "3", "-k", kernel, "--cwd", PACKAGE.parent]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = "InputError: parameter fwe: this notebook has none of that name; it has run, n, few, "
    assert done.stderr.rstrip().splitlines()[-1].startswith(said)
    cells = [c for c in nbformat.read(tmp_path / "o.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells if c.execution_count] == [1, 2, 3]  # nothing after the check


# --- what is installed, and what a run lacks --------------------------------------------------------------------------


def test_every_part_has_a_version_or_is_absent_and_says_how_to_get_it():
    table = checks.parts().set_index("part")
    assert table.loc["python", "version"].startswith("3.") and table.loc["torch", "version"][0].isdigit()
    assert (table[["needed_for", "get"]] != "").all(axis=None)


def test_the_committed_runs_can_work_here():
    table = checks.runs().set_index("run")
    assert (table.loc[["miniature", "tiny"], "state"] == "ready").all()
    named = table.loc[["openbook", "pythia-pile", "olmo-dolma"]]
    assert (named["state"] == "lacks something").all() and named["detail"].str.contains("-p data FOLDER").all()


def test_a_run_of_real_text_says_which_file_is_not_there(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "text.txt").write_text("# A text")
    run = pipeline.open_run("openbook", data=str(tmp_path), tasks=["math_reasoning"])
    assert checks.lacking(run) == [f"{tmp_path / 'gsm8k'}: no such file or folder; examples of math_reasoning go there"]
    (tmp_path / "gsm8k").mkdir()
    run = pipeline.open_run("openbook", data=str(tmp_path), tasks=["math_reasoning"], embedding="packaged/none")
    questions, model = checks.lacking(run)
    assert questions.startswith(f"{tmp_path / 'gsm8k' / 'train.jsonl'}: no such file")
    assert model == "packaged model none: not one of all-MiniLM-L6-v2, SmolLM2-135M-Instruct"


@pytest.mark.parametrize(("change", "message"), [
    ({"weights": "no/such/folder"}, "no card.json"), ({"world": 7}, "trained on world = 1, the run says 7"),
    ({"models": ["25k", "7b"]}, "model 7b: neither a size of the suite (100k, 25k, 3m, 600k), nor a folder"),
])  # fmt: skip
def test_a_run_without_fitting_weights_says_so(change, message):
    found = checks.lacking(pipeline.open_run("miniature", **change))
    assert len(found) == 1 and message in found[0]


def test_an_embedding_needs_its_package_and_a_run_its_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 10))
    run = pipeline.open_run("openbook", data=str(tmp_path), embedding="intfloat/e5-large-v2")
    monkeypatch.setattr(checks, "_lacking_files", lambda run: [])
    monkeypatch.setattr(checks, "_space", lambda run: 1e9)
    monkeypatch.setattr(checks.models, "check_models", lambda run: None)
    first, second = checks.lacking(run)
    assert "intfloat/e5-large-v2: pip install" in first and second.startswith("disk: about")
    with pytest.raises(InputError, match="run openbook cannot work here: embedding"):
        checks.require_ready(run)
    assert checks.parts().set_index("part").loc["pytest", "version"] == "absent"


def test_outside_a_checkout_the_parts_are_said_and_where_the_notebooks_are(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "PACKAGE", tmp_path / "site" / "taskgram_utils")
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, ["doctor"])
    assert told.exit_code == 0 and "torch" in told.stdout and "clone it" in told.stdout
    for command in ("book", "run"):
        refused = CliRunner().invoke(main, [command, "tiny"])
        assert refused.exit_code == 2 and "the project's repository" in refused.stderr
