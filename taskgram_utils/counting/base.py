"""What every way of counting offers, and the count table made from it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from taskgram_utils.counting.engine import Vocabulary, encode_ngrams
from taskgram_utils.errors import InputError, InputWarning, require, require_columns
from taskgram_utils.ngrams import normalize, unspaced

UNITS = ("documents", "occurrences", "window")
COLUMNS = ("n", "sx", "sy", "count", "unit", "exact", "half", "source", "forms")
Pairs = Iterable[tuple[str, str]] | pd.DataFrame


Surfaces = Mapping[str, Collection[str]]
"""n-grams as they are asked for, and how texts that hold them write them."""


class Counts(NamedTuple):
    """Counts of n-grams [k] and of pairs [m] (int64); with halves [3, k] and [3, m]: all documents, half 0, half 1.

    ``forms``: how many forms each n-gram [k] was asked in, and each pair [m], those of its s^x times those of its s^y;
    None where words are counted, which have one.
    """

    ngrams: np.ndarray
    pairs: np.ndarray
    forms: tuple[np.ndarray, np.ndarray] | None = None


class Counter(Protocol):
    """Counts n-grams and pairs of n-grams in a corpus, always a batch at a time.

    n-grams are given as typed, in any form; they are read by :func:`taskgram_utils.ngrams.normalize`, and one that
    holds no word is an InputError. ``unit`` says what a single n-gram's count is: the documents that hold it, or its
    occurrences. The count of a pair is the number of documents that hold both, anywhere, in any order, unless the
    counter has a ``pair_unit`` that says otherwise: ``window``, occurrences near each other, where a service can do no
    better. ``exact`` says whether all its numbers are those of the n-grams' words in the corpus named by ``source``; a
    counter whose corpus may be mostly of scripts that put no space between words says so by ``unspaced``.
    """

    documents: int
    tokens: int
    unit: str
    exact: bool
    source: str

    def counts(
        self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False, surfaces: Surfaces | None = None
    ) -> Counts:
        """Single n-grams and pairs in one go; ``surfaces`` are for counters of pieces, words have no use for them."""

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs: int64 [m]."""

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents, in the order of the corpus, that hold both (or ``sx``, where ``sy`` is None)."""


def count_table(
    counter: Counter, pairs: Pairs = (), ngrams: Sequence[str] = (), halves: bool = False, singles: bool = False
) -> pd.DataFrame:
    """The table ``counts``: one row per distinct pair, then per distinct n-gram, as typed, in order of appearance.

    ``pairs`` are tuples or a frame with the columns sx and sy and, where it has them, sx_text and sy_text: how the
    example writes the n-gram, which a counter of pieces has to know. ``singles`` adds every s^x and s^y of the pairs to
    the n-grams. A single n-gram stands in sx and its sy is null; n is the number of words of sx. With ``halves`` every
    row comes three times: half null (all documents), 0 and 1 (:func:`half_of`). Unit, exactness and source are the
    counter's own; but no count is exact of an n-gram, or in a corpus, most of whose letters are of scripts that put no
    space between words (:func:`taskgram_utils.ngrams.unspaced`): then an InputWarning says so. ``forms`` is the number
    of forms that were asked for a row (:class:`Counts`), 1 where words are.

    Raises InputError for an n-gram that is no text or holds no word, and for a sx_text or sy_text of other words.
    """
    surfaces = {} if counter.exact else _surfaces(pairs)
    pairs = list(dict.fromkeys(as_pairs(pairs)))
    ngrams = list(dict.fromkeys(as_ngrams(ngrams) + [s for pair in pairs for s in pair if singles]))
    counts = counter.counts(ngrams, pairs, halves, **({"surfaces": surfaces} if surfaces else {}))
    first = [*(sx for sx, _ in pairs), *ngrams]
    distinct = list(dict.fromkeys(first))
    size = dict(zip(distinct, encode_ngrams(distinct, Vocabulary(), grow=True)[1].tolist(), strict=True))
    half = pd.array([None, 0, 1] if halves else [None], dtype="Int64")
    rows = len(first)
    doubtful = _doubtful(counter, dict.fromkeys([*distinct, *(sy for _, sy in pairs)]))
    exact = [counter.exact and not doubtful[sx] for sx in first]
    exact[: len(pairs)] = [fine and not doubtful[sy] for fine, (_, sy) in zip(exact, pairs, strict=False)]
    table = pd.DataFrame(
        {
            "n": np.array([size[s] for s in first], np.int64),
            "sx": pd.array(first, dtype="str"),
            "sy": pd.array([*(sy for _, sy in pairs), *[None] * len(ngrams)], dtype="str"),
            "unit": pd.array([pair_unit(counter)] * len(pairs) + [counter.unit] * len(ngrams), dtype="str"),
            "exact": np.array(exact, bool),
            "source": pd.array([counter.source] * rows, dtype="str"),
            "forms": np.ones(rows, np.int64) if counts.forms is None else np.concatenate(counts.forms[::-1]),
        }
    )
    table = pd.concat([table] * len(half), ignore_index=True)
    table["count"] = np.hstack([np.atleast_2d(counts.pairs), np.atleast_2d(counts.ngrams)]).ravel()
    table["half"] = half.repeat(rows)
    return table[list(COLUMNS)]


def _doubtful(counter: Counter, ngrams: Iterable[str]) -> dict[str, bool]:
    """Which n-grams have no exact count because words are not parted by spaces; warns where there are any."""
    everything = counter.exact and getattr(counter, "unspaced", False)
    found = {s: everything or unspaced(s) for s in ngrams}
    some = [s for s, doubtful in found.items() if doubtful]
    what = f"{len(some)} of {len(found)} n-grams, the first {some[0]!r:.40}, are" if some else ""
    if everything:
        what = f"{counter.source}: the text is"
    if what:
        why = "mostly of a script that puts no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese)"
        cure = "put spaces between the words of text and n-grams"
        doubt = f"{what} {why}: a run of it is one word, counts are too low and marked exact = False; {cure}"
        warnings.warn(doubt, InputWarning, stacklevel=3)
    return found


def _surfaces(pairs: Pairs) -> dict[str, list[str]]:
    """How the n-grams of a frame of pairs are written, where it says so."""
    found: dict[str, dict[str, None]] = {}
    for name in ("sx", "sy"):
        if isinstance(pairs, pd.DataFrame) and f"{name}_text" in pairs:
            known = pairs[[name, f"{name}_text"]].dropna().drop_duplicates()
            for ngram, text in known.itertuples(index=False, name=None):
                same = isinstance(ngram, str) and isinstance(text, str) and normalize(ngram) == normalize(text)
                require(same, f"{name}_text {text!r:.80} is not the words of {name} {ngram!r:.80}; remove the column")
                found.setdefault(ngram, {})[text] = None
    return {ngram: list(texts) for ngram, texts in found.items()}


def as_ngrams(ngrams: Iterable[str]) -> list[str]:
    """n-grams as a list; raises InputError for a single text, whose characters they would be."""
    require(not isinstance(ngrams, str), f"n-grams: {ngrams!r} is one text, not a list of them")
    return list(ngrams)


def as_pairs(pairs: Pairs) -> list[tuple[str, str]]:
    """Pairs as a list of tuples, from tuples or from the columns sx and sy of a frame."""
    if isinstance(pairs, pd.DataFrame):
        require_columns(pairs, ("sx", "sy"), "pairs")
        return list(zip(pairs["sx"], pairs["sy"], strict=True))
    pairs = list(pairs)
    for place, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2:
            raise InputError(f"pair {place + 1}: {pair!r} is not two n-grams")
    return [(sx, sy) for sx, sy in pairs]


def numbered(ngrams: Sequence[str], pairs: Pairs) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct n-grams of a request [q], the place of each n-gram in them [k], and of each pair's two [m, 2]."""
    pairs, place = as_pairs(pairs), {}
    at = [place.setdefault(s, len(place)) for s in as_ngrams(ngrams)]
    pair_at = [place.setdefault(s, len(place)) for pair in pairs for s in pair]
    return list(place), np.array(at, np.int64), np.array(pair_at, np.int64).reshape(-1, 2)


def check_unit(unit: str) -> str:
    """``unit`` itself; raises InputError unless single n-grams can be counted in it."""
    require(unit in UNITS[:2], f"unit {unit!r}: not one of {', '.join(UNITS[:2])}")
    return unit


def pair_unit(counter: Counter) -> str:
    """What a counter's count of a pair is: documents, unless it says otherwise."""
    return getattr(counter, "pair_unit", "documents")


def with_total(by_half: np.ndarray, halves: bool) -> np.ndarray:
    """Counts by half [2, k] as :class:`Counts` has them: [3, k] with the sum before them, or the sum alone [k]."""
    return np.vstack([by_half.sum(axis=0), by_half]) if halves else by_half.sum(axis=0)


def half_of(numbers: np.ndarray) -> np.ndarray:
    """The half, 0 or 1, to which documents belong: one bit of splitmix64 of their running number from 0 (int8)."""
    with np.errstate(over="ignore"):
        z = np.asarray(numbers).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) & np.uint64(1)).astype(np.int8)
