"""Many models at many steps: kept as they finish, gone on with, on a cluster, and freed before the next."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from distributed import LocalCluster
from filelock import FileLock
from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

from taskgram_utils.cli import main
from taskgram_utils.errors import InputError
from taskgram_utils.language_models import jobs, neural
from taskgram_utils.suites import train_tokenizer

TEXTS = ["the red fox sleeps", "a lamp of the old house", "the fox and the lamp"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Two models of two steps, untrained."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = AutoTokenizer.from_pretrained(train_tokenizer(TEXTS, folder / "tokenizer"))
    for number, name in enumerate(("small", "large")):
        for step in (0, 10):
            torch.manual_seed(10 * number + step)
            shape = dict(hidden_size=16 * (1 + number), num_hidden_layers=1, num_attention_heads=2)
            shape |= dict(intermediate_size=64, max_position_embeddings=64, bos_token_id=0, eos_token_id=0)
            network = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=len(tokenizer), **shape))
            network.save_pretrained(folder / name / f"step{step}")
            tokenizer.save_pretrained(folder / name / f"step{step}")
    return folder


EXAMPLES = pd.DataFrame(
    [(f"e{k}", TEXTS[k % 3][: 4 + k % 5], " " + TEXTS[(k + 1) % 3][k % 4 :]) for k in range(25)],
    columns=["example_id", "x", "y"],
)
POINTS = pd.DataFrame([(f"e{k}", 1, "lamp", 2) for k in range(25)], columns=["example_id", "n", "sy", "start"])


def both(suite, steps="all"):
    return jobs.specs([suite / "small", suite / "large"], steps)


def alone(suite, **options):
    """Each model by itself, all examples at once."""
    parts = [neural.score(EXAMPLES, neural.load(s.model, s.step), **options) for s in both(suite)]
    return pd.concat(parts, ignore_index=True)


def test_models_and_steps():
    assert jobs.specs(["a", "b", "a"], "1,0") == [("a", 1), ("a", 0), ("b", 1), ("b", 0)]
    assert jobs.specs(["a"]) == [("a", None)]
    for wrong in ("one", "1,,2", "-1", ""):
        with pytest.raises(InputError, match="numbers with commas between them, or all"):
            jobs.specs(["a"], wrong)
    with pytest.raises(InputError, match="no model given"):
        jobs.specs([])


def test_all_steps_of_a_folder(suite, tmp_path):
    assert [s.step for s in both(suite)] == [0, 10, 0, 10]
    with pytest.raises(InputError, match="has no steps"):
        jobs.specs([tmp_path], "all")


def test_many_models_make_one_table(suite, monkeypatch):
    monkeypatch.setattr(jobs, "CHUNK", 10)
    table = jobs.score_all(EXAMPLES, both(suite))
    expected = alone(suite)
    assert list(zip(table["model"], table["step"], table["example_id"], strict=True)) == list(
        zip(expected["model"], expected["step"], expected["example_id"], strict=True)
    )
    assert np.allclose(table["logp"], expected["logp"], atol=1e-5) and table["logp"].nunique() > 40
    answers = jobs.generate_all(EXAMPLES, both(suite), 5)
    expected = [neural.generate(EXAMPLES, neural.load(s.model, s.step), 5)["output"] for s in both(suite)]
    assert list(answers["output"]) == list(pd.concat(expected)) and len(answers) == 100


def test_a_model_is_loaded_once_and_freed_before_the_next(suite, monkeypatch):
    import weakref

    alive, loaded, real = [], [], jobs.load

    def load(*arguments):
        alive.append(sum(one() is not None for one in loaded))
        model = real(*arguments)
        loaded.append(weakref.ref(model.network))
        return model

    monkeypatch.setattr(jobs, "load", load)
    monkeypatch.setattr(jobs, "CHUNK", 5)
    jobs.score_all(EXAMPLES, both(suite))
    assert alive == [0, 0, 0, 0]


def test_models_that_the_table_could_not_tell_apart(suite, tmp_path):
    shutil.copytree(suite / "small", tmp_path / "small")
    with pytest.raises(InputError, match="would both be small step 10 in the table"):
        jobs.specs([suite / "small", tmp_path / "small"], [10])
    with pytest.raises(InputError, match="would both be small step 10 in the table"):
        jobs.specs([suite / "small", suite / "small/step10"])
    with pytest.raises(InputError, match=r"no step 7 \(steps there: 0, 10\)"):
        jobs.specs([suite / "small", suite / "large"], [7])
    assert len(jobs.specs(suite / "small", "all")) == 2
    for nothing in ([], [""]):
        with pytest.raises(InputError, match="no model given"):
            jobs.specs(nothing)
    with pytest.raises(InputError, match="no model given"):
        jobs.score_all(EXAMPLES, [])


SOME = [1, 7, *(pytest.param(k, marks=pytest.mark.slow) for k in (3, 5, 9, 11))]


@pytest.mark.parametrize("limit", SOME)
def test_a_run_that_was_stopped_goes_on_where_it_was(suite, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(jobs, "CHUNK", 10)
    done, stopped, real, expected = [], [], neural.score, alone(suite)

    def score(*arguments, **named):
        if len(done) == limit and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        done.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(neural, "score", score)
    with pytest.raises(KeyboardInterrupt):
        jobs.score_all(EXAMPLES, both(suite), keep=tmp_path / "kept")
    table = jobs.score_all(EXAMPLES, both(suite), keep=tmp_path / "kept")
    assert len(done) == 12
    assert np.allclose(table["logp"], expected["logp"], atol=1e-5)
    again = jobs.score_all(EXAMPLES, both(suite), keep=tmp_path / "kept")
    assert len(done) == 12 and again["logp"].equals(table["logp"])
    jobs.forget(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_what_was_kept_of_other_work_is_not_taken(suite, tmp_path):
    keep, models = tmp_path / "kept", both(suite, "10")
    table = jobs.score_all(EXAMPLES, models, keep=keep)
    for other in (EXAMPLES.assign(y=EXAMPLES["y"] + " fox"), EXAMPLES.assign(instruction="the ")):
        assert not np.allclose(jobs.score_all(other, models, keep=keep)["logp"], table["logp"])
    assert not np.allclose(jobs.score_all(EXAMPLES, models, keep=keep, prior=True)["logp"], table["logp"])
    shutil.copytree(suite, tmp_path / "models")
    models = both(tmp_path / "models", "10")
    assert np.allclose(jobs.score_all(EXAMPLES, models, keep=keep)["logp"], table["logp"])
    for name in ("tokenizer.json", "config.json"):
        path = tmp_path / "models/small/step10" / name
        path.write_text(path.read_text() + "\n")
        done = sorted(p.name for p in keep.glob("*.parquet"))
        jobs.score_all(EXAMPLES, models, keep=keep)
        assert sorted(p.name for p in keep.glob("*.parquet")) != done, f"another {name} is another model"
    shutil.copytree(suite / "small/step0", tmp_path / "models/small/step10", dirs_exist_ok=True)
    assert not np.allclose(jobs.score_all(EXAMPLES, models, keep=keep)["logp"], table["logp"])
    for file in keep.glob("*.parquet"):
        file.write_bytes(b"damaged")
    assert np.allclose(jobs.score_all(EXAMPLES, both(suite, "10"), keep=keep)["logp"], table["logp"])


def test_examples_without_a_score_are_named_again(suite, tmp_path, capsys):
    broken = EXAMPLES.assign(y=["", *EXAMPLES["y"][1:]])
    for _ in range(2):
        table = jobs.score_all(broken, both(suite, "10"), keep=tmp_path / "kept")
        assert table.attrs["failed"] == ["e0"] and table["logp"].isna().sum() == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"{name} step 10: example e0: y is empty; no score" for name in ("small", "large")]


@pytest.mark.slow
def test_models_go_to_the_workers_of_a_cluster(suite, tmp_path, capsys):
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        broken = EXAMPLES.assign(y=["", *EXAMPLES["y"][1:]])
        table = jobs.score_all(broken, both(suite), scheduler=cluster, keep=tmp_path / "kept")
        assert capsys.readouterr().err.count("example e0: y is empty") == 4
        with pytest.raises(InputError, match="no step 3"):
            jobs.score_all(EXAMPLES, both(suite, "3"), scheduler=cluster)
    expected = alone(suite)
    assert np.allclose(table["logp"][1:25], expected["logp"][1:25], atol=1e-5)
    assert list(table["step"]) == list(expected["step"]) and table["logp"].isna().sum() == 4
    again = jobs.score_all(broken, both(suite), keep=tmp_path / "kept")
    assert again["logp"].equals(table["logp"])
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        jobs.score_all(EXAMPLES, both(suite), scheduler="tcp://127.0.0.1:9")


def test_the_commands(suite, tmp_path):
    EXAMPLES.to_json(tmp_path / "e.jsonl", orient="records", lines=True)
    models = ("--model", str(suite / "small"), "--model", str(suite / "large"), "--step", "all")
    run = CliRunner().invoke(main, ["score", str(tmp_path / "e.jsonl"), *models, "--out", str(tmp_path / "s.parquet")])
    assert run.exit_code == 0, run.stderr
    table = pd.read_parquet(tmp_path / "s.parquet")
    assert np.allclose(table["logp"], alone(suite)["logp"], atol=1e-5)
    asked = ["--max-tokens", "4", "--stop", " ", "--stop", "\\n", "--out", str(tmp_path / "a.jsonl")]
    run = CliRunner().invoke(main, ["generate", str(tmp_path / "e.jsonl"), *models, *asked])
    assert run.exit_code == 0, run.stderr
    outputs = [json.loads(line)["output"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(outputs) == 100 and not any(" " in o or "\n" in o for o in outputs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "e.jsonl", "s.parquet"]
    run = CliRunner().invoke(main, ["score", str(tmp_path / "e.jsonl"), *models[:2], "--step", "7", "--out", "-"])
    assert run.exit_code == 2 and "no step 7 (steps there: 0, 10)" in run.stderr
    EXAMPLES.assign(y=["", *EXAMPLES["y"][1:]]).to_json(tmp_path / "e.jsonl", orient="records", lines=True)
    run = CliRunner().invoke(main, ["score", str(tmp_path / "e.jsonl"), *models, "--out", str(tmp_path / "s.csv")])
    assert run.exit_code == 2 and "1 of 25 examples have a null logp (see above)" in run.stderr.splitlines()[-1]
    assert pd.read_csv(tmp_path / "s.csv")["logp"].isna().sum() == 4


def test_the_command_answers_as_far_as_each_stop(suite, tmp_path):
    own, small = [[" "], ["\n", "o"]] * 12 + [None], neural.load(suite / "small")
    whole = neural.generate(EXAMPLES, small, 9, stop=[])["output"]

    def answers(stop, *options):
        EXAMPLES.assign(stop=stop).to_json(tmp_path / "e.jsonl", orient="records", lines=True)
        asked = ["generate", f"{tmp_path}/e.jsonl", "--model", f"{suite}/small", "--max-tokens", "9", *options]
        return CliRunner().invoke(main, [*asked, "--out", f"{tmp_path}/b.csv"])

    for options, ends in (((), [*own[:24], ["\n"]]), (("--stop", "\\t", "--stop", "e"), [["\t", "e"]] * 25),
                          (("--stop", ""), [[]] * 25)):  # fmt: skip
        run = answers(own, *options)
        assert run.exit_code == 0, run.stderr
        table = pd.read_csv(tmp_path / "b.csv", keep_default_na=False)
        for output, text, cuts in zip(table["output"], whole, ends, strict=True):
            assert output == text[: min((text.find(s) for s in cuts if s in text), default=None)]
        empty = (table["output"].str.strip() == "").sum()
        assert f"of 25 answers {empty} are empty, {table['at_bound'].sum()} cut off at 9 tokens" in run.stderr
        assert table["at_bound"].any()
    run = answers([["x", ""]] * 25)
    assert run.exit_code == 2 and "stop must be a list of texts" in run.stderr
    assert run.stderr.endswith("that of example e0 is ['x', '']\n")


def test_two_commands_at_work_on_one_table(suite, tmp_path):
    EXAMPLES.to_json(tmp_path / "examples.jsonl", orient="records", lines=True)
    asked = ["score", f"{tmp_path}/examples.jsonl", "--model", f"{suite}/small", "--out", f"{tmp_path}/out.csv"]
    with FileLock(tmp_path / "out.csv.lock"):
        result = CliRunner().invoke(main, asked)
        assert result.exit_code == 2 and "out.csv: another command is at work on it; wait" in result.stderr
    assert CliRunner().invoke(main, asked).exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["examples.jsonl", "out.csv"]
