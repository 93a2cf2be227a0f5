"""Benchmarks of the scan: one pass over text for n-grams and pairs, against automata; other scripts; two workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from logging import ERROR
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import pyarrow as pa
from distributed import Client, LocalCluster

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting import passes
from taskgram_utils.counting.engine import Matcher, Queries
from taskgram_utils.ngrams import normalize, words
from tests.benchmarks.harness import Job, share_equal

SIZES = (1_000, 100_000, 1_000_000)
PEERS = 100_000  # with so many n-grams the automata are timed, too
TIMES = 4  # the text is read by several workers: or their start would be most of what is measured
# Each letter as two bytes: the Cyrillic alphabet has as many.
CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувшжыз")
ACCENTS = str.maketrans("aeiou", "áéíóú")


def jobs(texts: list[str], folder: Path, seed: int = 0, quick: bool = False) -> Iterator[Job]:
    """The benchmarks over ``texts``, one document each, in files of lines under ``folder``; ``quick`` asks a hundredth.

    Ours reads the file, its words and its documents; the automata are handed texts made of words and spaces alone, and
    are not asked for pairs. What is prepared beforehand, the tree of ours or the automaton, is not timed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = 100 if quick else 1
    corpus, size = _written(texts, folder / "plain.txt")
    for asked in SIZES:
        yield _one_pass(texts, corpus, size, asked // part, seed, peers=asked == PEERS)
    yield _reading(texts, corpus, size, folder)
    yield _scripts(texts, corpus, folder, PEERS // part, seed)
    several = folder / "several"
    several.mkdir()
    for k in range(TIMES):
        os.link(corpus.files[0], several / f"{k}.txt")
    with ExitStack() as clusters:
        yield _workers(Corpus(several, "record"), TIMES * size, draw(texts, PEERS // part, seed), clusters)


def _written(texts: list[str], path: Path) -> tuple[Corpus, float]:
    path.write_text("".join(f"{text.replace(chr(10), ' ')}\n" for text in texts), "utf-8")
    return Corpus(path, "record"), path.stat().st_size / 1e6


def draw(texts: list[str], k: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Up to ``k`` distinct n-grams of one to five words, from the texts, and as many pairs, half of one text each."""
    rng = np.random.default_rng(seed)
    place: dict[str, int] = {}
    beside = []
    for _ in range(4 * k):
        tokens = words(texts[rng.integers(len(texts))])
        found = []
        for _ in range(2):
            n = min(int(rng.integers(1, 6)), len(tokens))
            start = int(rng.integers(0, len(tokens) - n + 1))
            if n:
                found.append(place.setdefault(" ".join(tokens[start : start + n]), len(place)))
        if len(found) == 2:
            beside.append(found)
        if len(place) >= k:
            break
    beside = np.array(beside)[: k // 2]
    apart = rng.integers(0, len(place), (len(place) - len(beside), 2))
    return list(place), np.concatenate([beside, apart])


def _pass(corpus: Corpus, queries: Queries) -> Callable[[], np.ndarray]:
    def count() -> np.ndarray:
        matcher = Matcher(queries, "documents")
        for block in corpus.blocks():
            matcher.read(block, np.zeros(len(block.begins), np.int8))
        return matcher.result()[0][0]

    return count


def _one_pass(texts: list[str], corpus: Corpus, size: float, k: int, seed: int, peers: bool) -> Job:
    asked, pairs = draw(texts, k, seed)
    ways = {"taskgram_utils": _pass(corpus, Queries(asked, pairs))}
    plain = [f" {normalize(text)} " for text in texts] if peers else []
    if peers and find_spec("ahocorasick_rs"):
        import ahocorasick_rs

        automaton = ahocorasick_rs.AhoCorasick([f" {ngram} " for ngram in asked])

        def rust() -> np.ndarray:
            counts = np.zeros(len(asked), np.int64)
            for text in plain:
                for k in {match[0] for match in automaton.find_matches_as_indexes(text, overlapping=True)}:
                    counts[k] += 1
            return counts

        ways["ahocorasick_rs"] = rust
    if peers and find_spec("daachorse"):
        import daachorse

        double_array = daachorse.DoubleArrayAhoCorasick([f" {ngram} ".encode() for ngram in asked])
        encoded = [text.encode() for text in plain]

        def double() -> np.ndarray:
            counts = np.zeros(len(asked), np.int64)
            for text in encoded:
                for k in {match[2] for match in double_array.find_overlapping(text)}:
                    counts[k] += 1
            return counts

        ways["daachorse"] = double
    if peers and find_spec("ahocorasick"):
        import ahocorasick

        other = ahocorasick.Automaton()
        for k, ngram in enumerate(asked):
            other.add_word(f" {ngram} ", k)
        other.make_automaton()

        def c() -> np.ndarray:
            counts = np.zeros(len(asked), np.int64)
            for text in plain:
                for k in {k for _, k in other.iter(text)}:
                    counts[k] += 1
            return counts

        ways["pyahocorasick"] = c
    name = f"scan: {len(asked):,} n-grams and {len(pairs):,} pairs, one core"
    return Job(name, size, "MB", ways, share_equal, once=("pyahocorasick",))


def _reading(texts: list[str], corpus: Corpus, size: float, folder: Path) -> Job:
    """The same text from files of every kind, read and not counted, on one core; sizes are those of the text."""
    frame = pd.DataFrame({"text": texts})
    for name in ("read.jsonl", "read.jsonl.gz", "read.jsonl.xz", "read.jsonl.zst"):
        kind = {"gz": {"method": "gzip", "compresslevel": 6}, "xz": {"method": "xz", "preset": 1}, "zst": None}
        packed = kind.get(name.split(".")[-1])
        if name.endswith(".zst"):
            with pa.CompressedOutputStream(str(folder / name), "zstd") as out:
                out.write((folder / "read.jsonl").read_bytes())
        else:
            frame.to_json(folder / name, orient="records", lines=True, force_ascii=False, compression=packed)
    frame.to_parquet(folder / "read.parquet", index=False)

    def read(other: Corpus) -> Callable[[], int]:
        return lambda: sum(len(block.begins) for block in other.blocks())

    ways = {"lines": read(corpus)} | {
        path.name.removeprefix("read."): read(Corpus(path)) for path in sorted(folder.glob("read.*"))
    }
    return Job("scan: reading alone, one core", size, "MB", ways, share_equal)


def _scripts(texts: list[str], corpus: Corpus, folder: Path, k: int, seed: int) -> Job:
    """The same text with other letters: as many words, documents and hits; sizes are those of each file."""
    asked, pairs = draw(texts, k, seed)
    ways, parts = {"plain English": _pass(corpus, Queries(asked, pairs))}, {}
    for name, letters in (("accented letters", ACCENTS), ("Cyrillic letters", CYRILLIC)):
        other, size = _written([text.lower().translate(letters) for text in texts], folder / f"{name.split()[0]}.txt")
        ways[name] = _pass(other, Queries([ngram.translate(letters) for ngram in asked], pairs))
        parts[name] = size / (corpus.bytes / 1e6)  # so a rate is that of the file's own bytes
    return Job("scan: other scripts, one core", corpus.bytes / 1e6, "MB", ways, share_equal, parts=parts)


def _workers(corpus: Corpus, size: float, asked: tuple[list[str], np.ndarray], clusters: ExitStack) -> Job:
    """One worker and two, as threads and as processes of a Dask cluster; 16 shards."""

    def counted(scheduler: Any, threads: int) -> np.ndarray:
        before = passes.LEAST, passes.MOST, numba.get_num_threads()
        passes.LEAST = passes.MOST = max(1, corpus.bytes // 16)
        numba.set_num_threads(threads)
        try:
            return passes.count(corpus, *asked, "documents", False, False, scheduler).single[0]
        finally:
            passes.LEAST, passes.MOST = before[:2]
            numba.set_num_threads(before[2])

    def cluster(workers: int) -> Callable[[], np.ndarray]:
        made: list[Client] = []

        def count() -> np.ndarray:
            if not made:  # started in the round that is not timed
                about = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": ERROR}
                local = clusters.enter_context(LocalCluster(n_workers=workers, **about))
                made.append(clusters.enter_context(Client(local)))
            return counted(made[0], 1)

        return count

    two = min(2, numba.config.NUMBA_NUM_THREADS)
    ways = {
        "two threads": lambda: counted(None, two), "one thread": lambda: counted(None, 1),
        "two processes": cluster(2), "one process": cluster(1),
    }  # fmt: skip
    return Job("scan: shards", size, "MB", ways, share_equal)
