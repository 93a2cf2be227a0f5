"""Counts from an index of sub-word pieces held against counts of words: python results/pieces.py --data FOLDER

FOLDER holds corpus/*.txt, text in which a heading is a document; --tasks names the folder of the TriviaQA and PopQA
files, --tokenizer a Hugging Face tokenizer file. Pairs are contiguous n-grams of real questions with those of their
answers, drawn at random from those both of whose members the text holds. Writes pieces.csv, in which no text stands,
and pieces.json beside this file.
"""

import argparse
import hashlib
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.mining import candidates
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.tasks import factual_qa
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
WAYS = ("as typed", "in its forms", "in its forms, whole words")


class Alike:
    """An embedding that keeps every pair."""

    name = "none"

    def encode(self, texts):
        return np.ones((len(texts), 1), np.float32)


def pairs_of(tasks: Path, n: int, examples: int) -> pd.DataFrame:
    """The pairs of n-grams of questions and answers of both data sets, as they stand in them, each once."""
    parts = []
    for name, file in (("triviaqa", "triviaqa_sm_sub.jsonl"), ("popqa", "popqa.json")):
        asked = factual_qa.read(tasks / name / file, dataset=name)
        asked = asked.sample(min(examples, len(asked)), random_state=0)
        asked = asked.assign(task=name, example_id=[f"{name} {i}" for i in range(len(asked))])
        parts.append(candidates(asked, n, Alike(), "kept"))
    found = pd.concat(parts, ignore_index=True)
    return found[["n", "sx", "sy", "sx_text", "sy_text"]].drop_duplicates()


def asked_as(index: Index, way: str) -> Index:
    index.whole_words = way == WAYS[2]
    if way == WAYS[0]:
        index.written = lambda ngram, surfaces: [f" {ngram}"]
    elif "written" in vars(index):
        del index.written
    return index


def compared(truth: pd.Series, said: pd.Series) -> dict:
    """How counts of pieces differ from those of words; ratios are of n-grams and pairs that some document holds."""
    held = truth > 0
    return {
        "N": len(truth), "exact": (said == truth).mean(), "ratio": (said[held] / truth[held]).median(),
        "mean_ratio": (said[held] / truth[held]).mean(), "spearman": truth.corr(said, method="spearman"),
        "lost": (said[held] == 0).mean(), "too_low": (said < truth).mean(), "too_high": (said > truth).mean(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="", help="folder with corpus/*.txt")
    parser.add_argument("--tasks", type=Path, default=HERE.parent / "../shared/data")
    parser.add_argument("--tokenizer", type=Path, help="default: tokenizers/20B_tokenizer.json, in the tasks' folder")
    parser.add_argument("--examples", type=int, default=3000, help="questions of each data set")
    parser.add_argument("--pairs", type=int, default=5000, help="pairs of each n")
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    if not given.data:
        print("pieces is not recorded anew: --data names the folder of its text")
        return
    began, rows, seconds = time.monotonic(), [], dict.fromkeys(WAYS, 0.0)
    tokenizer = given.tokenizer or given.tasks / "tokenizers/20B_tokenizer.json"
    corpus = Corpus(Path(given.data) / "corpus", "heading")
    with tempfile.TemporaryDirectory() as folder:
        index = build_index(corpus, Path(folder) / "pieces", tokenizer)
        for n in (1, 2, 3):
            pairs = pairs_of(given.tasks, n, given.examples)
            ngrams = list(pd.concat([pairs["sx"], pairs["sy"]]).unique())
            known = dict(zip(ngrams, ScanCounter(corpus).count(ngrams).tolist(), strict=True))
            held = pairs[(pairs["sx"].map(known) > 0) & (pairs["sy"].map(known) > 0)]
            distinct = held[["sx", "sy"]].drop_duplicates()
            drawn = distinct.sample(min(given.pairs, len(distinct)), random_state=0)
            asked = held.merge(drawn, on=["sx", "sy"])
            truth = count_table(ScanCounter(corpus), asked, singles=True)
            kinds = {"single": truth["sy"].isna(), "pair": truth["sy"].notna()}
            for way in WAYS:
                started = time.perf_counter()
                said = count_table(asked_as(index, way), asked, singles=True)
                seconds[way] += time.perf_counter() - started
                for kind, of in kinds.items():
                    forms = said["forms"][of].median()
                    rows.append({"n": n, "kind": kind, "way": way, **compared(truth["count"][of], said["count"][of]),
                                 "forms": forms})  # fmt: skip
    path = given.out / "pieces.csv"
    write_table(pd.DataFrame(rows).round(4), path)
    note = {
        "command": "python results/pieces.py --data DIR", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(), "tokenizer": tokenizer.name,
        "examples": given.examples, "pairs": given.pairs,
        "corpus": {"files": [p.name for p in corpus.files], "bytes": corpus.bytes,
                   "sha256_of_ends": corpus.fingerprint(), "documents": index.documents},
        "seconds_of_ways": {way: round(spent, 2) for way, spent in seconds.items()},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(given.out / "pieces.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
