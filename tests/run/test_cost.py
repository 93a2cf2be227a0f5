"""What a run takes: numbers that can be worked out by hand, names that say a size, and the page on a large corpus."""

import json
import lzma
import re

import pandas as pd
import pytest

from taskgram_utils.errors import InputError
from taskgram_utils.run import cost
from taskgram_utils.run.pipeline import open_run
from taskgram_utils.run.store import project_root

RESULTS = project_root() / "results"


@pytest.mark.parametrize(("name", "size"), [
    ("EleutherAI/pythia-1.4b", 1.4e9), ("EleutherAI/pythia-14m", 14e6), ("allenai/OLMo-7B-hf", 7e9), ("25k", 25e3),
    ("packaged/SmolLM2-135M-Instruct", 135e6), ("gpt2", None), ("my/model", None),
])  # fmt: skip
def test_sizes_that_names_say(name, size):
    assert cost.parameters_in(name) == size


def test_rates_are_those_recorded_and_fall_with_size():
    table = pd.read_csv(RESULTS / "scoring_cuda.csv").query("job == 'solutions'")
    for row in table.itertuples():
        assert cost.rate(cost.parameters_in(row.shape), "cuda", RESULTS) == pytest.approx(row.tokens / row.seconds)
    rates = [cost.rate(size, "cuda", RESULTS) for size in (1e8, 1e9, 5e9, 1.2e10, 2.4e10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-2] / rates[-1] == pytest.approx(2)  # beyond the largest measured: by size
    with pytest.raises(InputError, match="no such file"):
        cost.rate(1e9, "cuda", RESULTS.parent)


def test_the_papers_run_is_added_up_from_its_models_and_tasks():
    models = ["EleutherAI/pythia-1.4b", "me/unknown"]
    run = open_run("pythia-pile", device="cuda", models=models, tasks=["math_reasoning"],
                   steps=[0, 143000])  # fmt: skip
    table = cost.needs(run, RESULTS).set_index("what")["amount"]
    size = cost.SIZES["math_reasoning"]
    scored = size.test * (size.prompt + 2 * size.output)
    assert table["test examples"] == 1_319 and table["models x steps"] == 4
    assert table["tokens scored"] == pytest.approx(4 * scored)
    assert table["weights on disk"] == pytest.approx(2 * 1.4 * 2)  # GB: two bytes, two steps
    hours = (2 * scored + cost.GENERATED * size.test * 1.5 * size.output) / cost.rate(1.4e9, "cuda", RESULTS) / 3600
    assert table["GPU hours"] == pytest.approx(hours)
    assert table["requests to the web service"] == pytest.approx(table["pairs to count"] * 108)
    assert table["models of unknown size"] == 1


@pytest.mark.parametrize(("asked", "there", "used"), [
    ("cpu", True, "cpu"), (None, True, "cuda"), (None, False, "cpu"), ("cuda", False, "cuda"), ("auto", False, "cuda"),
])  # fmt: skip
def test_hours_are_those_of_the_device_that_the_run_names(monkeypatch, asked, there, used):
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert cost._device(open_run("pythia-pile", device=asked)) == used


def test_a_world_needs_nothing_of_it_and_an_index_its_folder():
    assert cost.needs(open_run("tiny"), RESULTS).empty
    rows = cost.needs(open_run("olmo-dolma", backend="index", corpus="no/such"), RESULTS).set_index("what")["amount"]
    assert not rows["the index"] and "requests to the web service" not in rows


@pytest.mark.parametrize(("amount", "text"), [(0.085, "0.085"), (1234.0, "1,200"), (3, "3"), (False, "no")])
def test_numbers_are_said_with_two_digits(amount, text):
    assert cost.rounded(amount) == text


def test_the_recorded_suite_would_be_estimated_by_what_it_took(tmp_path):
    recorded = pd.read_csv(RESULTS / "openbook_models.csv").dropna(subset=["seconds"])
    size = json.loads((RESULTS / "openbook.json").read_text())["corpus"]["bytes"]
    (tmp_path / "corpus").mkdir()
    text = (b"# A part\n\nThe text of one part, of which there are many.\n\n" * (size // 50))[:size]
    for name, content in (("a.txt", text), ("a.txt.xz", lzma.compress(text, preset=0))):
        (tmp_path / "corpus" / name).write_bytes(content)
        for jobs, took in ((1, recorded["seconds"].sum()), (4, recorded["seconds"].max())):
            run = open_run("openbook", data=str(tmp_path), models=recorded["model"].tolist(), jobs=jobs)
            hours = cost.needs(run, RESULTS).set_index("what")["amount"]["training of the suite"]
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
    rows = cost.needs(run, tmp_path).set_index("what")["amount"]
    assert rows["training of the suite"] == pytest.approx(2 * 1e6 / cost.BYTES_A_TOKEN / 1e6 * (1 + 2))
    assert "training of the suite" not in cost.needs(open_run("openbook", data=str(tmp_path), weights="suite"),
                                                      tmp_path)["what"].tolist()  # fmt: skip


# --- a corpus as large as the Pile ------------------------------------------------------------------------------------

RATES = {"match": 100.0, "read": 100.0, "doubling": 0.5, "build": 10.0, "build_bytes": 20.0, "words": 1e5,
         "singles": 1e6, "pairs": 1e5}
OURS = "taskgram_utils"
LARGE = {"megabytes": 1_000_000.0, "documents": 1_000}


def table() -> pd.DataFrame:
    rows = []
    for corpus, factor in (("generated", 1), ("textbooks", 2)):
        for job, way, rate, amount in (
            ("scan: 1,000 n-grams", OURS, 300, 90), ("scan: 1,000,000 n-grams", OURS, 40, 90),
            ("scan: reading alone, one core", "jsonl.zst", 200, 90), ("scan: shards", "two threads", 120, 90),
            ("scan: shards", "one thread", 80, 90), ("build: index from text", OURS, 20, 90),
            ("build: suffix array from tokens", OURS, 4e6, 18e6), ("single counts", OURS, 1e6, 2e4),
            ("document pairs", OURS, 1e5, 1e5),
        ):  # fmt: skip
            row = {"corpus": corpus, "job": job, "way": way, "rate": rate * factor, "amount": amount}
            rows.append(row | {"megabytes": 90})
    peak = {"corpus": "generated", "job": "build: the command", "way": "0.9 GB", "amount": 900, "peak_megabytes": 3600}
    return pd.DataFrame([*rows, peak])


def test_rates_are_those_of_the_corpus_and_the_hardest_scan():
    found = cost.rates(table(), "textbooks")
    assert [found[name] for name in ("match", "read", "build", "singles")] == [80, 400, 40, 2e6]
    assert found["doubling"] == pytest.approx(120 / 160) and found["words"] == 2e5
    assert found["build_bytes"] == pytest.approx(3600e6 / (900 * 2e5))
    with pytest.raises(InputError, match=r"no row of scan: .*, prose; make bench"):
        cost.rates(table(), "prose")


def test_hours_and_euros_by_hand():
    changed = {"core_hour": 0.1, "gigabyte_month": 0.01, "pairs": 1_000_000, "answer": 0.4}
    rows = cost.work(RATES, cost.ASSUMED | LARGE | changed)
    rows = rows.set_index(["way", "on"])
    two = rows.loc[("scan", "the measured machine, 2 cores")]
    assert two["hours"] == pytest.approx(1e6 / (50 * 2 * 0.5) / 3600)
    assert two["euros"] == pytest.approx(two["hours"] * 2 * 0.1)
    assert rows.loc[("scan", "a server of 64 cores")]["hours"] == pytest.approx(1e6 / (50 * 64 / 2**6) / 3600)
    # 8 GB for a builder, 20 bytes a word: 4e8 words of 1e11 in a shard.
    built = rows.loc[("index of 250 shards: build, keep a month", "the measured machine, 2 cores")]
    assert built["hours"] == pytest.approx(1e5 / 3600) and built["memory_gb"] == pytest.approx(8)
    assert built["disk_gb"] == pytest.approx((1e11 * 9 + 16_000 + 1e12) / 1e9)
    assert rows.loc[("service: windows", "the web service")]["hours"] == pytest.approx(1e6 * 0.4 / 4 / 3600)


def test_the_page_shows_rates_prices_and_every_way(tmp_path):
    table().to_csv(tmp_path / "counting.csv", index=False)
    note = {"date": "2026-01-02", "processor": "", "machine": "x86_64", "cores": 2}
    (tmp_path / "counting.json").write_text(json.dumps(note))
    page = cost.page(tmp_path)
    about = "2026-01-02, x86_64, 2 cores; corpus: textbooks"
    lead = r"\*\*A scan takes about [\d.,]+ hours and [\d.,]+ €\*\*, on the measured machine, 2 cores\. This .*\n\n## "
    assert re.match(lead, page)
    for said in (about, "80 MB/s", "75%", "0.05 €", "service: windows", "16 such"):
        assert said in page
