"""Exact counts by a pass over any text: memory is bounded by the n-grams, not by the corpus."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting import passes
from taskgram_utils.counting.base import Counter, Counts, Pairs, Surfaces, holds, numbered
from taskgram_utils.counting.engine import Matcher, Queries
from taskgram_utils.ngrams import normalize
from taskgram_utils.reading import as_blocks


class ScanCounter(Counter):
    """A :class:`~taskgram_utils.counting.base.Counter` that reads its corpus for every request.

    ``corpus`` is a Corpus, its path, or texts. A document counts once for an n-gram, or once for
    each occurrence where ``unit`` is "occurrences"; for a pair it counts once if it holds both.
    After a pass, ``documents`` and ``tokens`` (words) are the size of the corpus, and ``unspaced``
    says whether a sample of it is mostly of scripts without spaces between words. ``scheduler`` and
    ``keep`` say where shards are counted and where their counts are kept; see
    :func:`taskgram_utils.counting.passes.count`.

    Raises InputError for an unknown unit, and where it counts for an n-gram that holds no word, a
    corpus that cannot be read, or a cluster that does not answer.
    """

    exact = True

    def __init__(self, corpus: Iterable[str] | str | Path, unit: str = "documents",
                 progress: bool = True, scheduler: Any = None, keep: str | Path | None = None):
        super().__init__(unit)
        self.corpus = Corpus(corpus) if isinstance(corpus, (str, Path)) else corpus
        self.progress, self.scheduler, self.keep = progress, scheduler, keep
        self.source = f"{getattr(self.corpus, 'source', 'texts')}, scan"

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False,
               surfaces: Surfaces | None = None) -> Counts:
        """C(s) of the n-grams and C((s^x, s^y)) of the pairs, by one pass."""
        distinct, single, joint = numbered(ngrams, pairs)
        found = passes.count(self.corpus, distinct, joint, self.unit, halves, self.progress,
                             self.scheduler, self.keep)
        self.documents, self.tokens = found.documents, found.tokens
        self.unspaced = 2 * found.unspaced > found.letters
        return Counts.of_halves(found.single[:, single], found.joint, halves)

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents that hold ``sx`` and, where given, ``sy``."""
        ngrams, texts = [sx, sx if sy is None else sy], []
        queries = Queries(ngrams, np.array([[0, 1]]))
        for block in as_blocks(self.corpus):
            matcher = Matcher(queries, "documents")
            matcher.read(block, np.zeros(len(block.begins), np.int8))
            if matcher.result()[1].any():  # few blocks: their documents are looked at one by one
                both = (text for text in block.texts() if holds(normalize(text), ngrams))
                texts += islice(both, k - len(texts))
            if len(texts) == k:
                break
        return texts

    def forget(self) -> None:
        """Remove the kept counts of shards; see :func:`taskgram_utils.counting.passes.forget`."""
        if self.keep:
            passes.forget(self.keep)
