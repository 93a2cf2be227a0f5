"""The ∞-gram language model: log P(s^y) by the longest suffixes that the corpus holds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from taskgram_utils.counting.index import Index
from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.ngrams import Word, unspaced, word_spans, words

KEYS = ["example_id", "n", "sy", "start"]
ZEROS = ("backoff", "drop")


def infinigram_logp(
    points: pd.DataFrame | None, examples: pd.DataFrame, index: Index, zeros: str = "backoff", whole: bool = False
) -> pd.DataFrame:
    """The table ``logp`` of the ∞-gram model (METHOD: P_∞), one row per distinct (example_id, n, sy, start).

    ``points`` is a task-gram table, or any frame with these four columns (None: no points). The context of s^y is the
    words of x followed by the words of y before s^y; where mining removed stop words inside s^y, the words between its
    own are context and not target. ``logp`` is the natural log, summed over the words of s^y; ``tokens`` and ``pairs``
    count them, ``zeros`` those that never follow the longest suffix found. ``zeros="backoff"`` gives these the
    probability of :meth:`Index.infinigram`; "drop" sets it to one, as the paper does, and a point all of whose tokens
    are dropped has a null logp. ``exact`` is false where the index's counts are not those of words: all of an index of
    pieces, and of text or an s^y whose script puts no space between words. ``whole`` adds a row for each whole y (n
    null, sy = y, start 0).

    Raises InputError for a missing column, an example that is not there, or an s^y that is not at ``start`` in its y.
    """
    require(zeros in ZEROS, f"zeros {zeros!r}: not one of {', '.join(ZEROS)}")
    require_columns(examples, ("example_id", "x", "y"), "examples")
    require(examples["example_id"].is_unique, "examples: an example_id stands there twice")
    kept = [c for c in ("task", "group") if c in examples.columns]
    if points is None:
        points = pd.DataFrame(columns=KEYS)
    require_columns(points, KEYS, "points")
    rows = points.drop_duplicates(KEYS)
    number = pd.Index(examples["example_id"]).get_indexer(rows["example_id"])
    if (number < 0).any():
        raise InputError(f"points: example {rows['example_id'].iloc[int(np.argmin(number))]!r} is not in examples")
    rows = examples[kept].iloc[number].set_axis(rows.index).assign(**{c: rows[c] for c in KEYS})
    asked = list(range(len(examples))) if whole else np.unique(number).tolist()
    x, y = examples["x"].tolist(), examples["y"].tolist()
    spans = {i: word_spans(y[i]) for i in asked}
    found = index.infinigram([x[i] for i in asked], [[y[i][w.start : w.end] for w in spans[i]] for i in asked])
    first = dict(zip(asked, (np.cumsum(found.words) - found.words).tolist(), strict=True))

    where = [
        first[i] + _locate(spans[i], sy, start, example)
        for i, example, sy, start in zip(number.tolist(), rows["example_id"], rows["sy"], rows["start"], strict=True)
    ]
    if whole:
        line = examples[[*kept, "example_id", "y"]].rename(columns={"y": "sy"}).assign(n=pd.NA, start=0)
        rows = pd.concat([rows.astype({"n": "Int64"}), line.astype({"n": "Int64"})]) if len(rows) else line
        where += [first[i] + np.arange(len(spans[i])) for i in asked]
    sizes = np.fromiter(map(len, where), np.int64, len(where))
    place = np.concatenate(where).astype(np.int64) if where else np.zeros(0, np.int64)
    row = np.repeat(np.arange(len(where)), sizes)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(row, values[place], minlength=len(where)).astype(float)

    tokens, zero = (total(v).astype(np.int64) for v in (found.tokens, found.zero))
    logp = total(found.logp if zeros == "backoff" else found.seen)
    # A y without words, or a point of which nothing is left, has no probability: never a silent 1.
    logp[(tokens == 0) | ((zeros == "drop") & (zero == tokens))] = np.nan
    rows = rows.astype({"n": "Int64", "start": "int64"}).assign(lm="infinigram", logp=logp)
    spaced = index.exact and not index.unspaced
    exact = np.array([spaced and not unspaced(sy) for sy in rows["sy"]], bool)
    return rows.assign(tokens=tokens, pairs=tokens, zeros=zero, exact=exact).reset_index(drop=True)


def _locate(spans: list[Word], sy: str, start: int, example: object) -> np.ndarray:
    """Which words of y the words of s^y are, the first of them at character ``start``."""
    places, wanted = [], iter(words(sy))
    word = next(wanted, None)
    for i, span in enumerate(spans):
        if word is not None and span.start >= start and span.text == word and (places or span.start == start):
            places.append(i)
            word = next(wanted, None)
    if word is not None or not places:
        raise InputError(f"points: {sy!r} does not stand at character {start} of the y of example {example!r}")
    return np.array(places)
