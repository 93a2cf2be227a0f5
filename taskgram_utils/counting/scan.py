"""Exact counts by one streaming pass over any text: memory is bounded by what is asked, not by the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting import passes
from taskgram_utils.counting.base import (
    Counts,
    Pairs,
    Surfaces,
    as_ngrams,
    as_pairs,
    check_unit,
    count_table,
    numbered,
    with_total,
)
from taskgram_utils.counting.engine import Matcher, Queries
from taskgram_utils.reading import Block, as_blocks


def scan(
    corpus: Iterable[str] | str | Path,
    ngrams: Sequence[str] = (),
    pairs: Pairs = (),
    unit: str = "documents",
    halves: bool = False,
    progress: bool = True,
    scheduler: Any = None,
    keep: str | Path | None = None,
) -> ScanResult:
    """Count n-grams of any sizes, and pairs of them, in one pass over ``corpus`` (a Corpus, its path, or texts).

    A document counts once for an n-gram, or once for each occurrence where ``unit`` is "occurrences"; for a pair it
    counts once if it holds both. With ``halves`` the counts come for all documents and for two random halves.
    ``scheduler`` and ``keep`` say where shards are counted and their counts kept; see
    :func:`taskgram_utils.counting.passes.count`.

    Raises InputError for an n-gram that holds no word, an unknown unit, a corpus that cannot be read, or a cluster that
    cannot be reached.
    """
    texts = _texts(corpus)
    ngrams, pairs = as_ngrams(ngrams), as_pairs(pairs)
    distinct, at, pair_at = numbered(ngrams, pairs)
    found = passes.count(texts, distinct, pair_at, check_unit(unit), halves, progress, scheduler, keep)
    counts = Counts(with_total(found.single[:, at], halves), with_total(found.joint, halves))
    unspaced = 2 * found.unspaced > found.letters
    return ScanResult(found.documents, found.tokens, unit, _source(texts), ngrams, pairs, counts, halves, unspaced)


@dataclass(frozen=True)
class ScanResult:
    """What a pass found: the corpus' documents and tokens (words), and the counts ``found``, as asked."""

    documents: int
    tokens: int
    unit: str
    source: str
    ngrams: list[str]
    pairs: list[tuple[str, str]]
    found: Counts
    halves: bool
    unspaced: bool
    exact: bool = True

    def counts(
        self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False, surfaces: Surfaces | None = None
    ) -> Counts:
        """Counts of some of the n-grams and pairs that the pass was asked for; KeyError for others."""
        place, pair_place = ({s: i for i, s in enumerate(asked)} for asked in (self.ngrams, self.pairs))
        at = [place[s] for s in ngrams], [pair_place[p] for p in as_pairs(pairs)]
        rows = slice(None) if halves or not self.halves else 0
        return Counts(*(c[rows][..., np.array(a, np.int64)] for c, a in zip(self.found[:2], at, strict=True)))

    def table(self) -> pd.DataFrame:
        """The table ``counts``, one row per distinct pair and n-gram as typed (three with halves)."""
        return count_table(self, self.pairs, self.ngrams, self.halves)


class ScanCounter:
    """A :class:`~taskgram_utils.counting.base.Counter` that reads the whole corpus once for every request.

    ``scheduler`` and ``keep`` are those of :func:`scan`.
    """

    exact = True

    def __init__(
        self,
        corpus: Iterable[str] | str | Path,
        unit: str = "documents",
        progress: bool = True,
        scheduler: Any = None,
        keep: str | Path | None = None,
    ):
        self.corpus, self.unit, self.progress = _texts(corpus), check_unit(unit), progress
        self.scheduler, self.keep = scheduler, keep
        self.source = _source(self.corpus)

    @cached_property
    def _size(self) -> tuple[int, int, bool]:
        result = scan(self.corpus, progress=self.progress, scheduler=self.scheduler)
        return result.documents, result.tokens, result.unspaced

    def forget(self) -> None:
        """Remove what was kept of shards; see :func:`taskgram_utils.counting.passes.forget`."""
        if self.keep:
            passes.forget(self.keep)

    @property
    def documents(self) -> int:
        """Number of documents (needs a pass unless one was made)."""
        return self._size[0]

    @property
    def tokens(self) -> int:
        """Number of words."""
        return self._size[1]

    @property
    def unspaced(self) -> bool:
        """Whether the text is mostly of scripts that put no space between words, by a sample of it."""
        return self._size[2]

    def counts(
        self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False, surfaces: Surfaces | None = None
    ) -> Counts:
        """One pass: C(s) of the n-grams and C((s^x, s^y)) of the pairs."""
        result = scan(self.corpus, ngrams, pairs, self.unit, halves, self.progress, self.scheduler, self.keep)
        self._size = result.documents, result.tokens, result.unspaced
        return result.found

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs: int64 [m]."""
        return self.counts(pairs=pairs).pairs

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents that hold both n-grams (or ``sx``, where ``sy`` is None)."""
        matcher, found = Matcher(Queries([sx, sx if sy is None else sy], np.array([[0, 1]])), "documents"), []

        def both(block: Block) -> int:
            matcher.flush()
            matcher.read(block, np.zeros(len(block.begins), np.int8))
            return int(matcher.joint.sum())

        for block in as_blocks(self.corpus):
            if not (hits := both(block)):
                continue
            for text in block.texts():  # only now, in a block that holds such a document, one by one
                if both(Block.of([text])):
                    found.append(text)
                    hits -= 1
                if len(found) == k:
                    return found
                if hits == 0:
                    break
        return found


def _texts(corpus: Iterable[str] | str | Path) -> Iterable[str]:
    return Corpus(corpus) if isinstance(corpus, (str, Path)) else corpus


def _source(texts: Iterable[str]) -> str:
    return f"{getattr(texts, 'source', 'texts')}, scan"
