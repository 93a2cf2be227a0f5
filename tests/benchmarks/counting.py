"""All benchmarks of counting, recorded: python -m tests.benchmarks.counting [--quick] [--out FOLDER] [--rounds N]

Over a generated corpus of 100 MB, and over textbooks where they are at hand. Writes counting.csv, a row for each way to
do each job, and counting.json, which says how the table was made.
"""

import argparse
import hashlib
import itertools
import json
import lzma
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numba
import numpy as np
import pandas as pd

from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import require
from taskgram_utils.miniature.world import World
from taskgram_utils.run.store import versions
from taskgram_utils.tables import read_table, write_table
from taskgram_utils.texts import write_text
from tests.benchmarks import index_jobs, scan_jobs
from tests.benchmarks.harness import Job, processor, timed

ROOT = Path(__file__).resolve().parents[2]
TEXTBOOKS = ROOT / "../shared/data/corpus/openstax"
DOCUMENTS = 1_160_000  # of the generated corpus: 100 MB
GROWTH = (1, 10, 100)  # times that corpus: 10 GB
PARAGRAPHS = 20  # of a textbook that make a document
PEERS = """infini-gram fast-gram tokengrams tantivy ahocorasick_rs daachorse pyahocorasick pydivsufsort numba
distributed""".split()


def corpora(quick: bool) -> Iterator[tuple[str, list[str]]]:
    """Name and texts of each corpus."""
    yield "generated", list(World(documents=2_000 if quick else DOCUMENTS))
    books = sorted(TEXTBOOKS.glob("*.txt.xz"))[: 1 if quick else None]
    if books:
        lines = [line for book in books for line in lzma.decompress(book.read_bytes()).decode().split("\n") if line]
        lines = lines[:2_000] if quick else lines * 4  # a book is read once; four times makes 50 MB
        yield "textbooks", ["\n".join(lines[i : i + PARAGRAPHS]) for i in range(0, len(lines), PARAGRAPHS)]


def memory(quick: bool) -> Job:
    """How fast memory is read and written: what nothing that reads text can pass."""
    source = np.ones((1 << 28) // (64 if quick else 1), np.uint8)
    out = np.empty_like(source)
    return Job("memory: a copy", source.nbytes / 1e6, "MB", {"numpy": lambda: np.copyto(out, source)})


def commands(folder: Path, quick: bool) -> Iterator[dict]:
    """The commands ``count``, on a corpus that grows, and ``index``: rows as of a benchmark, with their peak of memory.

    The corpus is one file of the generated corpus, linked as often as it takes.
    """
    folder.mkdir()
    world, asked, pairs, out = (folder / n for n in ("world.jsonl", "asked.csv", "pairs.csv", "counts.csv"))
    World(documents=2_000 if quick else DOCUMENTS).write(world)
    ngrams, pair_at = scan_jobs.draw(list(itertools.islice(Corpus(world), 100_000)), 1_000 if quick else 100_000, 0)
    pd.DataFrame({"sx": ngrams}).to_csv(asked, index=False)
    pd.DataFrame(np.array(ngrams)[pair_at], columns=["sx", "sy"]).to_csv(pairs, index=False)
    size, first = world.stat().st_size / 1e6, None
    for times in GROWTH:
        corpus = folder / f"{times}"
        corpus.mkdir()
        for k in range(times):
            os.link(world, corpus / f"{k:03}.jsonl")
        row = _command("count", corpus, "--ngrams", asked, "--pairs", pairs, "--out", out)
        counts = read_table(out)["count"].to_numpy()
        first = counts if first is None else first
        row["equal"] = float(np.mean(counts == first * (times // GROWTH[0])))
        yield _row("scan: the command", times * size, row)
    row = _command("index", folder / f"{GROWTH[1]}", "--out", folder / "index")
    row["disk_megabytes"] = sum(file.stat().st_size for file in (folder / "index").iterdir()) / 1e6
    yield _row("build: the command", GROWTH[1] * size, row)


def _command(*arguments: str | Path) -> dict:
    """Seconds that the command takes, and the most memory that it holds."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "taskgram_utils.cli", *map(str, arguments)])
    _, status, used = os.wait4(process.pid, 0)
    require(status == 0, f"taskgram {arguments[0]}: exit status {os.waitstatus_to_exitcode(status)}")
    return {"seconds": time.perf_counter() - began, "peak_megabytes": used.ru_maxrss * 1024 / 1e6}


def _row(job: str, size: float, row: dict) -> dict:
    took = row["seconds"]
    return {"job": job, "way": f"{size / 1e3:.3g} GB", "amount": size, "unit": "MB", "low": took, "high": took,
            "rounds": 1, "rate": size / took, **row}  # fmt: skip


def measure(folder: Path, quick: bool, rounds: int) -> pd.DataFrame:
    """The table: what :func:`~tests.benchmarks.harness.timed` gives, for each corpus (null: no corpus is read)."""
    rows = [{"corpus": None, **row} for row in timed(memory(quick), rounds)]
    rows += [{"corpus": "generated", **row} for row in commands(folder / "commands", quick)]
    for name, texts in corpora(quick):
        size = sum(len(text.encode()) for text in texts) / 1e6
        for module in (scan_jobs, index_jobs):
            for job in module.jobs(texts, folder / name / module.__name__.split(".")[-1], quick=quick):
                for row in timed(job, rounds):
                    rows.append({"corpus": name, "documents": len(texts), "megabytes": size, **row})
                    rate = f"{row['rate']:,.0f} {row['unit']}/s"
                    print(f"{name}, {row['job']}: {row['way']}: {rate}; ours {row['ours']:.2f}", flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small text and few questions: to see that all works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    require(options.rounds > 0, "--rounds: at least 1")
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        table = measure(Path(folder), options.quick, options.rounds)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "counting.csv"
    write_table(table, path)
    note = {
        "command": "python -m tests.benchmarks.counting", "quick": options.quick, "rounds": options.rounds,
        "date": time.strftime("%Y-%m-%d"), "seconds": round(time.time() - began),
        "machine": f"{platform.machine()}, {platform.system()}", "processor": processor(),
        "cores": len(os.sched_getaffinity(0)), "threads": numba.get_num_threads(), "versions": versions() | _peers(),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(options.out / "counting.json", json.dumps(note, indent=1) + "\n")


def _peers() -> dict[str, str]:
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
