"""The models of a run: sizes of its suite beside folders and hub models, each at its steps, asked one at a time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from taskgram_utils import suites, training
from taskgram_utils.errors import InputError
from taskgram_utils.language_models import loading, neural
from taskgram_utils.run import ask, pipeline
from taskgram_utils.run import models as run_models
from taskgram_utils.run.pipeline import RECIPES, open_world
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.run.store import Run
from tests.hub import serve


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A suite of one size at two steps; a model with two steps, and one without any."""
    folder = tmp_path_factory.mktemp("models")
    parameters = yaml.safe_load((PACKAGE.parent / "notebooks/runs/tiny.yaml").read_text())
    parameters |= {"documents": 2_000, "weights": str(folder / "suite"), "models": ["25k"], "ngram_sizes": [2],
                   "tasks": ["factual_qa", "world_knowledge"], "step_answers": 5}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(parameters))
    world = open_world(Run("any", parameters, folder / "any", RECIPES))
    suites.train_tokenizer(world, folder / "tokenizer")
    for seed, place in enumerate(("suite/25k/step0", "suite/25k/step10", "own/step0", "own/step10", "plain")):
        training.save(training.new_model("25k", seed), folder / "tokenizer", folder / place)
    said = {p: parameters[p] for p in ("documents", "world", "seed")}
    (folder / "suite/card.json").write_text(json.dumps(said))
    count = loading.non_embedding(training.new_model("25k", 0))
    (folder / "suite/25k/training.json").write_text(json.dumps({"parameters": count}))
    return folder


def run_of(folder, name="mixed", **changes):
    parameters = json.loads((folder / "run.json").read_text())
    own = {"models": ["25k", str(folder / "own"), str(folder / "plain")]}
    return Run(name, {**parameters, **own, **changes}, folder / "runs" / name, RECIPES)


@pytest.fixture(scope="module")
def mixed(folder):
    run = run_of(folder)
    ask.ask_models(run)
    return run


POINTS = [("25k", "0"), ("25k", "10"), ("own", "0"), ("own", "10"), ("plain", "main")]


def test_a_length_that_a_run_does_not_count_is_refused(folder):
    assert pipeline.check_order(run_of(folder), 2) == 2
    with pytest.raises(InputError, match=r"n: 3 is none of the ngram_sizes of run mixed: \[2\]"):
        pipeline.check_order(run_of(folder), 3)


def test_every_model_at_every_step(mixed, folder):
    assert pipeline.models(mixed) == ["25k", "own", "plain"] and pipeline.own_sizes(mixed) == ["25k"]
    assert run_models.points_in_time(mixed) == POINTS
    assert run_models.points_in_time(mixed, last=True) == [POINTS[1], POINTS[3], POINTS[4]]
    scores = mixed.table("scores")
    per_model = scores.groupby("model", sort=False)["step"].agg(lambda s: sorted(set(s.dropna())))
    assert per_model.to_dict() == {"25k": [0, 10], "own": [0, 10], "plain": []}
    assert scores[scores["model"] == "plain"]["step"].isna().all()
    assert scores[["run", "seed"]].drop_duplicates().to_numpy().tolist() == [["1", 1]]
    test = mixed.table("examples").query("split == 'test'")
    alone = neural.score(test, neural.load(folder / "own", 10), mixed.table("taskgrams"), options=True)
    same = scores[(scores["model"] == "own") & (scores["step"] == 10)]
    assert np.allclose(same["logp"], alone["logp"], atol=1e-5) and same["sy"].tolist() == alone["sy"].tolist()


def test_tables_of_models_without_steps(mixed):
    sizes = pipeline.sizes_in_parameters(mixed)
    assert list(sizes) == ["25k", "own", "plain"] and len(set(sizes.values())) == 1
    answers, prior = mixed.table("answers"), mixed.table("prior")
    assert set(prior["model"]) == set(sizes) and set(prior["step"].dropna()) == {10}
    last = pipeline.at_last_step(answers)
    test = mixed.table("examples").query("split == 'test'").groupby("task")["example_id"].nunique()
    asked = last.groupby(["model", "task"])["example_id"].nunique()
    assert all(asked[model, task] == test[task] for model in sizes for task in test.index)
    early = answers[(answers["task"] == "factual_qa") & (answers["step"] == 0)]
    assert (early.groupby(["model", "metric", "group"]).size() <= 5).all()
    performance = pipeline.at_last_step(mixed.table("performance"))
    assert performance.groupby("model")["examples"].sum().nunique() == 1
    mem = pipeline.at_last_step(mixed.table("memorization").dropna(subset=["model"]))
    assert set(mem["model"]) == set(sizes) and mem.groupby("model")["points"].sum().nunique() == 1
    slopes = mixed.table("slopes")  # one a measure, over all models, though their last steps differ
    assert not slopes.duplicated(["task", "group", "n", "count_model", "measure"]).any()
    assert set(slopes["models"].dropna()) <= {0, 3} and (slopes["models"] == 3).any()


def test_each_is_loaded_once_and_what_is_done_is_kept(folder, monkeypatch):
    run, loaded, real = run_of(folder, "stopped", jobs=1), [], loading.load

    def load(source, step=None, **how):
        loaded.append((Path(source).name, step))
        if len(loaded) == 3:
            raise KeyboardInterrupt
        return real(source, step, **how)

    monkeypatch.setattr(loading, "load", load)
    with pytest.raises(KeyboardInterrupt):
        ask.ask_models(run)
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*/*.parquet")}
    assert any("scores/plain" in str(p) for p in before) and not any("scores/25k" in str(p) for p in before)
    ask.ask_models(run)
    after = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*/*.parquet")}
    assert before.items() <= after.items() and len(after) > len(before)
    assert loaded == [("plain", None), ("own", 10), ("own", 0), ("own", 0), ("25k", 10), ("25k", 0)]
    ask.ask_models(run)
    assert len(loaded) == 6 and not run_models._held


def test_other_weights_are_asked_again(folder, tmp_path):
    shutil.copytree(folder / "own", tmp_path / "own")
    about = {"models": [str(tmp_path / "own")], "tasks": ["factual_qa"]}
    first = run_of(folder, "changed", **about)
    scores = first.table("scores")
    shutil.copytree(folder / "own/step0", tmp_path / "own/step10", dirs_exist_ok=True)
    again = run_of(folder, "changed", **about).table("scores")
    same = np.isclose(scores["logp"], again["logp"])
    assert same[scores["step"] == 0].all() and not same[scores["step"] == 10].all()
    values = again.groupby("step")["logp"].agg(list)
    assert np.allclose(values[0], values[10])


def test_steps_that_are_asked_for(folder):
    for asked, wanted in {"last": [("own", "10")], "0": [("own", "0")], "10,0": [("own", "0"), ("own", "10")]}.items():
        assert run_models.points_in_time(run_of(folder, models=[str(folder / "own")], steps=asked)) == wanted
    assert run_models.points_in_time(run_of(folder, models=["25k"], steps=[10, 0])) == POINTS[:2]


@pytest.mark.parametrize(("changes", "message"), [
    ({"models": ["75k"]}, r"model 75k: neither a size of the suite \(25k\), nor a folder, nor a hub name"),
    ({"models": ["{folder}/own", "{folder}/other/own"]}, "two are named own"),
    ({"models": ["{folder}/own/step10"]}, "name the folder that holds step10"),
    ({"models": ["{folder}/own"], "steps": [7]}, r"model own: no step 7 \(steps there: 0, 10\)"),
    ({"models": ["{folder}/plain"], "steps": [7]}, r"model plain: no step 7 \(steps there: none\)"),
    ({"weights": "", "models": ["25k"], "steps": [0, 64]}, r"steps \[0, 64\]: which steps 25k will have is known once"),
    ({"weights": "no/such", "models": ["25k"]}, "weights .*no/such: no card.json"),
    ({"world": 3, "models": ["25k"]}, "trained on world = 1, the run says 3"),
])  # fmt: skip
def test_what_cannot_be_asked_is_told_before_the_work(folder, tmp_path, changes, message):
    (folder / "other/own").mkdir(parents=True, exist_ok=True)
    if isinstance(changes.get("models"), list):
        changes = {**changes, "models": [m.format(folder=folder) for m in changes["models"]]}
    with pytest.raises(InputError, match=message):
        run_models.check_models(run_of(folder, **changes))


@pytest.mark.slow
def test_models_of_a_hub(folder, tmp_path):
    """A run in a process of its own, for the hub's client reads where its hub is once; then again, unreached."""
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys\nfrom pathlib import Path\nfrom taskgram_utils.run import ask, pipeline\n"
        "from taskgram_utils.run.store import Run\n"
        "if __name__ == '__main__':\n"
        "    run = Run('hub', json.loads(sys.argv[1]), Path(sys.argv[2]), pipeline.RECIPES)\n"
        "    ask.ask_models(run)\n"
        "    table = run.table('scores')\n"
        "    print(table.groupby(['model', 'step'], dropna=False).size().to_json(orient='table'))\n"
    )
    asked = run_of(folder, models=["owner/own", "owner/plain"], tasks=["factual_qa"]).parameters

    def call(endpoint):
        home = {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(PACKAGE.parent)}
        env = {**os.environ, **home, "HF_ENDPOINT": endpoint}
        command = [sys.executable, script, json.dumps(asked), tmp_path / "run"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, cwd=PACKAGE.parent)

    steps = {f"step{step}": folder / f"own/step{step}" for step in (0, 10)}
    with serve({("models", "owner/own"): {"main": folder / "own/step10", **steps},
                ("models", "owner/plain"): {"main": folder / "plain"}}) as served:  # fmt: skip
        result = call(served[1])
        assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["data"]
    assert [(row["model"], row["step"]) for row in rows] == [("owner/own", 0), ("owner/own", 10), ("owner/plain", None)]
    assert (tmp_path / "run/scores/owner--own/10.parquet").exists()
    again = call("http://127.0.0.1:9")
    assert again.returncode == 0 and again.stdout == result.stdout, again.stderr


@pytest.mark.slow
def test_a_cluster_gives_the_same(mixed, folder):
    from distributed import LocalCluster

    run = run_of(folder, "cluster")
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        run.parameters["scheduler"] = cluster.scheduler_address
        ask.ask_models(run)
    one, other = mixed.table("scores"), run.table("scores")
    assert np.allclose(one["logp"], other["logp"], atol=1e-5)
    pd.testing.assert_frame_equal(one.drop(columns="logp"), other.drop(columns="logp"))
