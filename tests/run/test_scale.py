"""Sums on paper: each way worked out by hand from round rates, and the page that shows them."""

import json

import pandas as pd
import pytest

from taskgram_utils.errors import InputError
from taskgram_utils.run import scale

RATES = scale.Rates(
    match=100.0, read=100.0, doubling=0.5, build=10.0, build_bytes=20.0, words=1e5, singles=1e6, pairs=1e5
)
OURS = "taskgram_utils"
LARGE = scale.Large("large", 1_000_000.0, 1_000)


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
    found = scale.rates(table(), "textbooks")
    assert (found.match, found.read, found.build, found.singles) == (80, 400, 40, 2e6)
    assert found.doubling == pytest.approx(120 / 160) and found.words == 2e5
    assert found.build_bytes == pytest.approx(3600e6 / (900 * 2e5))
    with pytest.raises(InputError, match="no row of scan: 1, taskgram_utils, prose; make bench"):
        scale.rates(table(), "prose")


def test_hours_and_euros_by_hand():
    rows = scale.work(RATES, LARGE, scale.Assumed(core_hour=0.1, gigabyte_month=0.01, pairs=1_000_000, answer=0.4))
    rows = rows.set_index(["way", "on"])
    two = rows.loc[("scan", "this machine, 2 cores")]
    assert two["hours"] == pytest.approx(1e6 / (50 * 2 * 0.5) / 3600)
    assert two["euros"] == pytest.approx(two["hours"] * 2 * 0.1)
    assert rows.loc[("scan", "a server of 64 cores")]["hours"] == pytest.approx(1e6 / (50 * 64 / 2**6) / 3600)
    # 8 GB for a builder, 20 bytes a word: 4e8 words of 1e11 in a shard.
    built = rows.loc[("index of 250 shards: build, keep a month", "this machine, 2 cores")]
    assert built["hours"] == pytest.approx(1e5 / 3600) and built["memory_gb"] == pytest.approx(8)
    assert built["disk_gb"] == pytest.approx((1e11 * 9 + 16_000 + 1e12) / 1e9)
    assert rows.loc[("service: windows", "the web service")]["hours"] == pytest.approx(1e6 * 0.4 / 4 / 3600)


def test_the_page_shows_rates_prices_and_every_way(tmp_path):
    table().to_csv(tmp_path / "counting.csv", index=False)
    note = {"date": "2026-01-02", "processor": "", "machine": "x86_64", "cores": 2}
    (tmp_path / "counting.json").write_text(json.dumps(note))
    page = scale.page(tmp_path)
    about = "2026-01-02, x86_64, 2 cores; corpus: textbooks"
    for said in (about, "80 MB/s", "75%", "0.05 €", "service: windows", "16 such"):
        assert said in page
