"""What counting in a corpus as large as the Pile takes: worked out on paper, from rates measured on two cores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from taskgram_utils.counting.service import IN_FLIGHT
from taskgram_utils.errors import require
from taskgram_utils.tables import read_table


class Large(NamedTuple):
    """A corpus that nobody counts on a laptop."""

    name: str
    megabytes: float  # of text
    documents: int


class Assumed(NamedTuple):
    """What is not measured here; put in your own."""

    core_hour: float = 0.05  # euros for an hour of one core, its memory with it
    gigabyte_month: float = 0.05  # euros for keeping a gigabyte on a fast disk for a month
    answer: float = 0.2  # seconds in which a web service answers
    pairs: int = 1_000_000  # distinct pairs of all tasks, and as many n-grams
    fetched: int = 100  # documents fetched for a pair, at most
    forms: int = 4  # in which the service is asked for an n-gram
    shard: int = 1 << 30  # tokens of a shard of an index, at most
    core_gigabytes: float = 4.0  # memory of a machine, for each of its cores


PILE = Large("the Pile", 825.18 * 2**30 / 1e6, 210_607_728)  # Gao et al. 2020; documents: infini-gram's own index
ASSUMED = Assumed()


class Rates(NamedTuple):
    """What ``make bench`` has measured: of one core, unless said."""

    match: float  # MB/s, the most n-grams asked
    read: float  # MB/s, from compressed JSON lines
    doubling: float  # share of the rate of each of two cores that is left where both work
    build: float  # MB/s, an index from text, on two cores
    build_bytes: float  # of memory that building takes, a token
    words: float  # a MB of text
    singles: float  # a second, on two cores
    pairs: float  # a second, on two cores


def rates(table: pd.DataFrame, corpus: str) -> Rates:
    """The rates in the table of ``make bench`` over one of its corpora.

    Raises InputError where a job is not in the table.
    """

    def one(job: str, way: str, column: str = "rate", of: str | None = corpus) -> float:
        rows = table[table["job"].str.startswith(job) & table["way"].str.startswith(way) & (table["corpus"] == of)]
        require(len(rows), f"rates: no row of {job}, {way}, {of}; make bench")
        return float(rows[column].iloc[-1])  # of the scans the last one asks most

    def words(of: str | None = corpus) -> float:
        tokens, megabytes = (one("build: suffix", "taskgram_utils", c, of) for c in ("amount", "megabytes"))
        return tokens / megabytes

    peak, megabytes = (one("build: the command", "", c, "generated") for c in ("peak_megabytes", "amount"))
    return Rates(
        match=one("scan: 1", "taskgram_utils"),
        read=one("scan: reading alone", "jsonl.zst"),
        doubling=min(1.0, one("scan: shards", "two threads") / (2 * one("scan: shards", "one thread"))),
        build=one("build: index from text", "taskgram_utils"),
        build_bytes=peak * 1e6 / (megabytes * words("generated")),
        words=words(),
        singles=one("single counts", "taskgram_utils"),
        pairs=one("document pairs", "taskgram_utils"),
    )


def work(measured: Rates, corpus: Large = PILE, assumed: Assumed = ASSUMED) -> pd.DataFrame:
    """A row for each way to count: way, on what, hours, memory_gb, disk_gb (beside the text), reads_gb_s, euros."""
    rows = []

    def add(way, on, hours, memory, disk, reads, euros):
        rows.append({"way": way, "on": on, "hours": hours, "memory_gb": memory, "disk_gb": disk, "reads_gb_s": reads,
                     "euros": euros})  # fmt: skip

    # Of each thread: four places of the tree an n-gram, a bit for each of 64 documents, counters and their 64-bit sums.
    counters = assumed.pairs * (4 * 16 + 8 + 4 + 4 + 8 + 4 + 8) / 1e9
    for on, cores in (("this machine, 2 cores", 2), ("a server of 64 cores", 64), ("16 such servers", 1024)):
        one = 1 / (1 / measured.match + 1 / measured.read)
        rate = one * cores * measured.doubling ** math.log2(cores)
        hours = corpus.megabytes / rate / 3600
        kept = min(1000, corpus.megabytes / 1000) * assumed.pairs * 2 * 2 / 1e9  # two bytes a number, a shard
        machines = max(1, cores // 64)
        add("scan", on, hours, counters * cores / machines, kept, rate / 1e3, hours * cores * assumed.core_hour)
    words = corpus.megabytes * measured.words
    disk = (words * (4 + 5) + 16 * corpus.documents + corpus.megabytes * 1e6) / 1e9
    for on, cores in (("this machine, 2 cores", 2), ("a server of 64 cores", 64)):
        builders = cores / 2
        hours = corpus.megabytes / (measured.build * builders) / 3600
        shard = min(assumed.shard, words, assumed.core_gigabytes * 2 * 1e9 / measured.build_bytes)
        memory = builders * shard * measured.build_bytes / 1e9
        euros = hours * cores * assumed.core_hour + disk * assumed.gigabyte_month
        way = f"index of {math.ceil(words / shard):,} shards: build, keep a month"
        add(way, on, hours, memory, disk, measured.build * builders / 1e3, euros)
    seconds = assumed.pairs / measured.singles + assumed.pairs / measured.pairs
    add("index: ask", "this machine, 2 cores", seconds / 3600, None, None, None, seconds / 3600 * 2 * assumed.core_hour)
    for way, requests in (("service: documents", 2 * assumed.forms + assumed.fetched), ("service: windows", 1)):
        add(way, "the web service", assumed.pairs * requests * assumed.answer / IN_FLIGHT / 3600, None, None, None, 0.0)
    return pd.DataFrame(rows)


def page(results: Path) -> str:
    """Markdown of the table and of what it rests on, from the recorded ``counting.csv`` and its note."""
    table = read_table(results / "counting.csv")
    note = json.loads((results / "counting.json").read_text(encoding="utf-8"))
    corpus = "textbooks" if "textbooks" in set(table["corpus"]) else "generated"
    measured, assumed = rates(table, corpus), ASSUMED
    shown = work(measured)
    for column in ("hours", "memory_gb", "disk_gb", "euros"):
        shown[column] = [_short(value) for value in shown[column]]
    shown["reads_gb_s"] = ["–" if pd.isna(value) else f"{value:.2g}" for value in shown["reads_gb_s"]]
    shown.columns = ["way", "on", "hours", "memory, GB", "disk, GB", "reads, GB/s", "euros"]
    rows = [
        ("n-grams and pairs matched in text, one core", f"{measured.match:.0f} MB/s"),
        ("text read from `.jsonl.zst`, one core", f"{measured.read:.0f} MB/s"),
        ("what two threads keep of twice the rate of one", f"{measured.doubling:.0%}"),
        ("index built from text, two cores", f"{measured.build:.0f} MB/s"),
        ("memory that building takes", f"{measured.build_bytes:.0f} bytes a word"),
        ("words", f"{measured.words:,.0f} a MB"),
        ("single counts from an index in memory, two cores", f"{measured.singles:,.0f} a second"),
        ("document pairs from an index in memory, two cores", f"{measured.pairs:,.0f} a second"),
    ]
    about = f"{note['date']}, {note['processor'] or note['machine']}, {note['cores']} cores; corpus: {corpus}"
    given = [
        ("the Pile", f"{PILE.megabytes / 1e6:.2f} TB of text {{cite:p}}`gao2020pile`, {PILE.documents:,} documents"),
        ("asked", f"{assumed.pairs:,} n-grams and as many pairs, of all tasks at once"),
        ("an hour of one core, its memory with it", f"{assumed.core_hour:.2f} €"),
        ("a gigabyte on a fast disk, a month", f"{assumed.gigabyte_month:.2f} €"),
        ("an answer of the web service", f"{assumed.answer:g} s, {IN_FLIGHT} at a time"),
        ("documents fetched from the service for a pair", f"up to {assumed.fetched}"),
        ("forms in which the service is asked for an n-gram", f"{assumed.forms}"),
        ("tokens of a shard of the index", f"what memory can hold, at most {assumed.shard:,}"),
        ("memory of a machine, a core", f"{assumed.core_gigabytes:g} GB"),
    ]
    parts = [
        "## What it takes", shown.to_markdown(index=False, disable_numparse=True), "## What was measured", about + ".",
        _two_columns("measured", rows), "## What was assumed", _two_columns("assumed", given),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _two_columns(name: str, rows: list[tuple[str, str]]) -> str:
    return pd.DataFrame(rows, columns=[name, ""]).to_markdown(index=False, disable_numparse=True)


def _short(value: float | None) -> str:
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
