"""What a run takes: numbers that can be worked out by hand, and names that say a size."""

import json
import lzma

import pandas as pd
import pytest

from taskgram_utils.errors import InputError
from taskgram_utils.run import needs
from taskgram_utils.run.pipeline import open_run
from taskgram_utils.run.store import project_root

RESULTS = project_root() / "results"


@pytest.mark.parametrize(("name", "size"), [
    ("EleutherAI/pythia-1.4b", 1.4e9), ("EleutherAI/pythia-14m", 14e6), ("allenai/OLMo-7B-hf", 7e9), ("25k", 25e3),
    ("packaged/SmolLM2-135M-Instruct", 135e6), ("gpt2", None), ("my/model", None),
])  # fmt: skip
def test_sizes_that_names_say(name, size):
    assert needs.parameters_in(name) == size


def test_rates_are_those_recorded_and_fall_with_size():
    table = pd.read_csv(RESULTS / "scoring_cuda.csv").query("job == 'solutions'")
    for row in table.itertuples():
        assert needs.rate(needs.parameters_in(row.shape), "cuda", RESULTS) == pytest.approx(row.tokens / row.seconds)
    rates = [needs.rate(size, "cuda", RESULTS) for size in (1e8, 1e9, 5e9, 1.2e10, 2.4e10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-2] / rates[-1] == pytest.approx(2)  # beyond the largest measured: by size
    with pytest.raises(InputError, match="no such file"):
        needs.rate(1e9, "cuda", RESULTS.parent)


def test_the_papers_run_is_added_up_from_its_models_and_tasks():
    models = ["EleutherAI/pythia-1.4b", "me/unknown"]
    run = open_run("pythia-pile", device="cuda", models=models, tasks=["math_reasoning"],
                   steps=[0, 143000])  # fmt: skip
    table = needs.needs(run, RESULTS).set_index("what")["amount"]
    size = needs.SIZES["math_reasoning"]
    scored = size.test * (size.prompt + 2 * size.output)
    assert table["test examples"] == 1_319 and table["models x steps"] == 4
    assert table["tokens scored"] == pytest.approx(4 * scored)
    assert table["weights on disk"] == pytest.approx(2 * 1.4 * 2)  # GB: two bytes, two steps
    hours = (2 * scored + needs.GENERATED * size.test * 1.5 * size.output) / needs.rate(1.4e9, "cuda", RESULTS) / 3600
    assert table["GPU hours"] == pytest.approx(hours)
    assert table["requests to the web service"] == pytest.approx(table["pairs to count"] * 108)
    assert table["models of unknown size"] == 1


@pytest.mark.parametrize(("asked", "there", "used"), [
    ("cpu", True, "cpu"), (None, True, "cuda"), (None, False, "cpu"), ("cuda", False, "cuda"), ("auto", False, "cuda"),
])  # fmt: skip
def test_hours_are_those_of_the_device_that_the_run_names(monkeypatch, asked, there, used):
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert needs._device(open_run("pythia-pile", device=asked)) == used


def test_a_world_needs_nothing_of_it_and_an_index_its_folder():
    assert needs.needs(open_run("tiny"), RESULTS).empty
    rows = needs.needs(open_run("olmo-dolma", backend="index", corpus="no/such"), RESULTS).set_index("what")["amount"]
    assert not rows["the index"] and "requests to the web service" not in rows


@pytest.mark.parametrize(("amount", "text"), [(0.085, "0.085"), (1234.0, "1,200"), (3, "3"), (False, "no")])
def test_numbers_are_said_with_two_digits(amount, text):
    assert needs.said(amount) == text


def test_the_recorded_suite_would_be_estimated_by_what_it_took(tmp_path):
    recorded = pd.read_csv(RESULTS / "openbook_models.csv").dropna(subset=["seconds"])
    size = json.loads((RESULTS / "openbook.json").read_text())["corpus"]["bytes"]
    (tmp_path / "corpus").mkdir()
    text = (b"# A part\n\nThe text of one part, of which there are many.\n\n" * (size // 50))[:size]
    for name, content in (("a.txt", text), ("a.txt.xz", lzma.compress(text, preset=0))):
        (tmp_path / "corpus" / name).write_bytes(content)
        for jobs, took in ((1, recorded["seconds"].sum()), (4, recorded["seconds"].max())):
            run = open_run("openbook", data=str(tmp_path), models=recorded["model"].tolist(), jobs=jobs)
            hours = needs.needs(run, RESULTS).set_index("what")["amount"]["training of the suite"]
            assert hours * 3600 == pytest.approx(took, rel=0.25)
        (tmp_path / "corpus" / name).unlink()


def test_training_a_suite_takes_as_long_as_the_recorded_one_did(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_bytes(b"word " * 200_000)
    file = tmp_path / "openbook_models.csv"
    for name in ("scoring.csv", "scoring_cuda.csv"):
        (tmp_path / name).write_bytes((RESULTS / name).read_bytes())
    file.write_text("model,parameters,tokens,seconds\n25k,25000,1000000,3600\n3m,3000000,1000000,7200\nx,9,,\n")
    run = open_run("openbook", data=str(tmp_path), models=["25k", "3m"], epochs=2)
    rows = needs.needs(run, tmp_path).set_index("what")["amount"]
    assert rows["training of the suite"] == pytest.approx(2 * 1e6 / needs.BYTES_A_TOKEN / 1e6 * (1 + 2))
    assert "training of the suite" not in needs.needs(open_run("openbook", data=str(tmp_path), weights="suite"),
                                                      tmp_path)["what"].tolist()  # fmt: skip
