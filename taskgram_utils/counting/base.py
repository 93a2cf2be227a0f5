"""What every counter offers, the checks that all share, and the count table made from one."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.counting.engine import Vocabulary, encode_ngrams
from taskgram_utils.errors import InputError, InputWarning, require, require_columns
from taskgram_utils.ngrams import normalize, unspaced

UNITS = ("documents", "occurrences")
COLUMNS = ("n", "sx", "sy", "count", "unit", "exact", "half", "source", "forms")
Pairs = Iterable[tuple[str, str]] | pd.DataFrame
Surfaces = Mapping[str, Collection[str]]
"""n-grams as they are given to a counter, and how texts that hold them write them."""


class Counts(NamedTuple):
    """Counts (int64) of n-grams [k] and of pairs [m].

    With halves they are [3, k] and [3, m]: all documents, half 0, half 1. ``forms``: in how many
    forms each n-gram [k] was looked for, and each pair [m] (those of its s^x times those of its
    s^y); None where words are counted, which have one form.
    """

    ngrams: np.ndarray
    pairs: np.ndarray
    forms: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of_halves(cls, single: np.ndarray, joint: np.ndarray, halves: bool, forms=None) -> Counts:
        """From counts by half, [2, k] and [2, m]: their sums, and with halves the counts too."""
        totals = single.sum(axis=0), joint.sum(axis=0)
        if halves:
            totals = np.vstack([totals[0], single]), np.vstack([totals[1], joint])
        return cls(*totals, forms)


class Counter(ABC):
    """Counts n-grams and pairs of n-grams in a corpus, a batch at a time.

    n-grams are given as typed, in any form. They are read by
    :func:`taskgram_utils.ngrams.normalize`; one that holds no word is an InputError, and so is an
    unknown ``unit``.
    """

    source: str  # names the corpus and the way of counting
    pair_unit = "documents"  # that hold both n-grams; or "window": occurrences near each other
    exact: bool  # whether all counts are those of the n-grams' words
    unspaced = False  # whether most of the text is of scripts without spaces between words

    def __init__(self, unit: str):
        require(unit in UNITS, f"unit {unit!r}: not one of {', '.join(UNITS)}")
        self.unit = unit  # of single n-grams: the documents that hold it, or its occurrences

    @abstractmethod
    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False,
               surfaces: Surfaces | None = None) -> Counts:
        """Count single n-grams and pairs at once; only counters of pieces use ``surfaces``."""

    @abstractmethod
    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents of the corpus that hold ``sx`` and, where given, ``sy``."""

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) of k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) of m pairs, in ``pair_unit``: int64 [m]."""
        return self.counts(pairs=pairs).pairs


def count_table(counter: Counter, pairs: Pairs = (), ngrams: Sequence[str] = (),
                halves: bool = False, singles: bool = False) -> pd.DataFrame:
    """The table ``counts`` (:eq:`eq-pair-count`): a row for each distinct pair, then each n-gram,
    in order.

    ``pairs`` are tuples or a frame with the columns sx and sy and, where it has them, sx_text and
    sy_text: how the example writes the n-gram, which a counter of pieces has to know. ``singles``
    adds every s^x and s^y of the pairs to the n-grams. A single n-gram is in sx, and its sy is
    null; n is the number of words of sx. With ``halves`` every row comes three times: half null
    (all documents), 0 and 1 (:func:`half_of`). Unit, exactness and source are the counter's. A
    count is marked not exact if most letters of the n-gram, or of the corpus, belong to scripts
    without spaces between words (:func:`taskgram_utils.ngrams.unspaced`); an InputWarning says so.
    ``forms`` is that of :class:`Counts`, 1 where words are counted.

    Raises InputError for an n-gram that is no text or holds no word, and for a sx_text or sy_text
    of other words.
    """
    surfaces = {} if counter.exact else _surfaces(pairs)
    ngrams, pairs = as_lists(ngrams, pairs)
    pairs = list(dict.fromkeys(pairs))
    ngrams = list(dict.fromkeys(ngrams + [s for pair in pairs for s in pair if singles]))
    counts = counter.counts(ngrams, pairs, halves, surfaces)
    sx = [*(x for x, _ in pairs), *ngrams]
    sy = [*(y for _, y in pairs), *[None] * len(ngrams)]
    doubtful = _doubtful(counter, dict.fromkeys([*sx, *sy[: len(pairs)]]))
    exact = [counter.exact and x not in doubtful and y not in doubtful
             for x, y in zip(sx, sy, strict=True)]
    table = pd.DataFrame({
        "n": sizes(sx),
        "sx": pd.array(sx, dtype="str"),
        "sy": pd.array(sy, dtype="str"),
        "unit": pd.array([counter.pair_unit] * len(pairs) + [counter.unit] * len(ngrams), "str"),
        "exact": np.array(exact, bool),
        "source": pd.array([counter.source] * len(sx), "str"),
        "forms": 1 if counts.forms is None else np.concatenate(counts.forms[::-1]),
    })
    rows = np.hstack([np.atleast_2d(counts.pairs), np.atleast_2d(counts.ngrams)])
    parts = [table.assign(count=row, half=pd.array([half] * len(sx), "Int64"))
             for half, row in zip((None, 0, 1), rows, strict=False)]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def _doubtful(counter: Counter, ngrams: Collection[str]) -> set[str]:
    """The n-grams that have no exact count for want of spaces between words; warns if any has."""
    everything = counter.exact and counter.unspaced
    doubtful = [s for s in ngrams if everything or unspaced(s)]
    if doubtful:
        what = f"{len(doubtful)} of {len(ngrams)} n-grams, the first {doubtful[0]!r:.40}, are"
        if everything:
            what = f"{counter.source}: the text is"
        warnings.warn(
            f"{what} mostly of a script that puts no space between words (Chinese, Japanese, Thai, "
            "Lao, Khmer, Burmese): a run of it is one word, counts are too low and marked exact = "
            "False; put spaces between the words of text and n-grams", InputWarning, stacklevel=3)
    return set(doubtful)


def _surfaces(pairs: Pairs) -> dict[str, list[str]]:
    """How the examples write the n-grams of a frame of pairs, where it says so."""
    texts: dict[str, dict[str, None]] = {}
    for name in ("sx", "sy"):
        if isinstance(pairs, pd.DataFrame) and f"{name}_text" in pairs:
            known = pairs[[name, f"{name}_text"]].dropna().drop_duplicates()
            for ngram, text in known.itertuples(index=False, name=None):
                both = isinstance(ngram, str) and isinstance(text, str)
                require(both and normalize(ngram) == normalize(text),
                        f"{name}_text {text!r:.80} is not the words of {name} {ngram!r:.80}; "
                        "remove the column")
                texts.setdefault(ngram, {})[text] = None
    return {ngram: list(written) for ngram, written in texts.items()}


def as_lists(ngrams: Iterable[str], pairs: Pairs) -> tuple[list[str], list[tuple[str, str]]]:
    """The n-grams of a request, and its pairs, of tuples or the columns sx and sy of a frame.

    Raises InputError for a single text, whose characters the n-grams would be, a frame without
    these columns, and what is no pair.
    """
    if isinstance(ngrams, str):
        raise InputError(f"n-grams: {ngrams!r} is one text, not a list of them")
    if isinstance(pairs, pd.DataFrame):
        require_columns(pairs, ("sx", "sy"), "pairs")
        return list(ngrams), list(zip(pairs["sx"], pairs["sy"], strict=True))
    pairs = list(pairs)
    for number, pair in enumerate(pairs, 1):
        if isinstance(pair, str) or len(pair) != 2:
            raise InputError(f"pair {number}: {pair!r} is not two n-grams")
    return list(ngrams), [(sx, sy) for sx, sy in pairs]


def numbered(ngrams: Sequence[str], pairs: Pairs) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct n-grams [q] of a request, single ones first, and where in them the others are:
    each single n-gram [k], and both of each pair [m, 2]. Raises the InputErrors of as_lists."""
    (ngrams, pairs), numbers = as_lists(ngrams, pairs), {}
    single = [numbers.setdefault(s, len(numbers)) for s in ngrams]
    joint = [numbers.setdefault(s, len(numbers)) for pair in pairs for s in pair]
    return list(numbers), np.array(single, np.int64), np.array(joint, np.int64).reshape(-1, 2)


def sizes(ngrams: Sequence[str]) -> np.ndarray:
    """How many words n-grams have [k]; InputError for one that is no text or holds no word."""
    return encode_ngrams(ngrams, Vocabulary(), grow=True)[1].astype(np.int64)


def holds(text: str, ngrams: Iterable[str]) -> bool:
    """Whether a normalised text holds the words of all n-grams."""
    return all(f" {normalize(s)} " in f" {text} " for s in ngrams)


def half_of(numbers: np.ndarray) -> np.ndarray:
    """The half, 0 or 1, of documents by their running number from 0: a bit of splitmix64 (int8).

    Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(numbers).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) & np.uint64(1)).astype(np.int8)
