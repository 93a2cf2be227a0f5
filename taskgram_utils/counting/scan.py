"""Exact counts by one streaming pass over any text: memory is bounded by what is asked, not by the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numba import njit
from tqdm import tqdm

from taskgram_utils.corpus import Block, Corpus
from taskgram_utils.counting.base import (
    Counts,
    Pairs,
    as_ngrams,
    as_pairs,
    check_unit,
    count_table,
    half_of,
    numbered,
    with_total,
)
from taskgram_utils.counting.tokens import Vocabulary, _characters, blocks, encode_ngrams, look_up, readable, tokenise

_FLUSH = 1 << 30  # words after which the 32-bit counters are added to the totals
_ROOM = 1 << 14  # words matched at a time: their arrays stay in the cache


def scan(
    corpus: Iterable[str] | str | Path,
    ngrams: Sequence[str] = (),
    pairs: Pairs = (),
    unit: str = "documents",
    halves: bool = False,
    progress: bool = True,
) -> ScanResult:
    """Count n-grams of any sizes, and pairs of them, in one pass over ``corpus`` (a Corpus, its path, or texts).

    A document counts once for an n-gram, or once for each occurrence where ``unit`` is "occurrences"; for a pair it
    counts once if it holds both. With ``halves`` the counts come for all documents and for two random halves.

    Raises InputError for an n-gram that holds no word, an unknown unit, or a corpus that cannot be read.
    """
    texts = _texts(corpus)
    ngrams, pairs = as_ngrams(ngrams), as_pairs(pairs)
    distinct, at, pair_at = numbered(ngrams, pairs)
    single, joint, documents, tokens = _scan(texts, distinct, pair_at, check_unit(unit), halves, progress)
    counts = Counts(with_total(single[:, at], halves), with_total(joint, halves))
    return ScanResult(documents, tokens, unit, _source(texts), ngrams, pairs, counts, halves)


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
    exact: bool = True

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False) -> Counts:
        """Counts of some of the n-grams and pairs that the pass was asked for; KeyError for others."""
        place, pair_place = ({s: i for i, s in enumerate(asked)} for asked in (self.ngrams, self.pairs))
        at = [place[s] for s in ngrams], [pair_place[p] for p in as_pairs(pairs)]
        rows = slice(None) if halves or not self.halves else 0
        return Counts(*(c[rows][..., np.array(a, np.int64)] for c, a in zip(self.found, at, strict=True)))

    def table(self) -> pd.DataFrame:
        """The table ``counts``, one row per distinct pair and n-gram as typed (three with halves)."""
        return count_table(self, self.pairs, self.ngrams, self.halves)


class ScanCounter:
    """A :class:`~taskgram_utils.counting.base.Counter` that reads the whole corpus once for every request."""

    exact = True

    def __init__(self, corpus: Iterable[str] | str | Path, unit: str = "documents", progress: bool = True):
        self.corpus, self.unit, self.progress = _texts(corpus), check_unit(unit), progress
        self.source = _source(self.corpus)

    @cached_property
    def _size(self) -> tuple[int, int]:
        result = scan(self.corpus, progress=self.progress)
        return result.documents, result.tokens

    @property
    def documents(self) -> int:
        """Number of documents (needs a pass unless one was made)."""
        return self._size[0]

    @property
    def tokens(self) -> int:
        """Number of words."""
        return self._size[1]

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False) -> Counts:
        """One pass: C(s) of the n-grams and C((s^x, s^y)) of the pairs."""
        result = scan(self.corpus, ngrams, pairs, self.unit, halves, self.progress)
        self._size = result.documents, result.tokens
        return result.found

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs: int64 [m]."""
        return self.counts(pairs=pairs).pairs

    def pair_matrix(self, xs: Sequence[str], ys: Sequence[str]) -> np.ndarray:
        """C((s^x, s^y)) of every x with every y: int64 [len(xs), len(ys)]."""
        distinct, at, _ = numbered([*xs, *ys], ())
        pair_at = np.stack([np.repeat(at[: len(xs)], len(ys)), np.tile(at[len(xs) :], len(xs))], axis=1)
        joint = _scan(self.corpus, distinct, pair_at, "documents", False, self.progress)[1]
        return joint[0].reshape(len(xs), len(ys))

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents that hold both n-grams (or ``sx``, where ``sy`` is None)."""
        matcher, found = _Matcher([sx, sx if sy is None else sy], np.array([[0, 1]]), "documents"), []
        for block in blocks(self.corpus):
            before = matcher.joint.sum()
            matcher.read(Block.of(block), np.zeros(len(block), np.int8))
            if (hits := matcher.joint.sum() - before) == 0:
                continue
            for text in block:  # only now, in a block that holds such a document, one by one
                before = matcher.joint.sum()
                matcher.read(Block.of([text]), np.zeros(1, np.int8))
                if matcher.joint.sum() > before:
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


def _scan(texts, distinct, pair_at, unit, halves, progress) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Counts of n-grams [2, q] and pairs [2, m] by half (all in half 0 unless asked), documents, tokens."""
    matcher = _Matcher(distinct, pair_at, unit)
    with tqdm(desc="scan", unit=" documents", unit_scale=True, disable=None if progress else True) as bar:
        for block in blocks(texts):
            numbers = np.arange(matcher.documents, matcher.documents + len(block))
            matcher.read(Block.of(block), half_of(numbers) if halves else np.zeros(len(block), np.int8))
            bar.update(len(block))
    return *matcher.result(), matcher.documents, matcher.tokens


class _Matcher:
    """The asked n-grams as a tree of words, the pairs as partner lists, and the counters of both.

    A pair is listed at the n-gram with fewer partners, so that an n-gram that is in many pairs (and so, as a rule, in
    many documents) has a short list. ``state`` has a line for each distinct n-gram: the last document that held it,
    its counts in half 0 and 1, and where its partners begin.
    """

    def __init__(self, ngrams: Sequence[str], pair_at: np.ndarray, unit: str):
        self.vocabulary = Vocabulary()
        words, sizes = encode_ngrams(ngrams, self.vocabulary, grow=True)
        self.first, self.edges, self.terminal, distinct = _tree(words, sizes, len(self.vocabulary))
        self.state = np.zeros((distinct + 1, 4), np.int32)
        a, b = self.terminal[pair_at].T.astype(np.int64) if len(pair_at) else np.zeros((2, 0), np.int64)
        degree = np.bincount(np.concatenate([a, b]), minlength=distinct)
        swap = degree[a] > degree[b]
        keys, self.pair_place = np.unique(np.where(swap, b, a) * distinct + np.where(swap, a, b), return_inverse=True)
        owner, partner = np.divmod(keys, max(distinct, 1))
        self.partner = partner.astype(np.int32)
        self.state[:, 3] = np.searchsorted(owner, np.arange(distinct + 1))
        self.joint = np.zeros((len(keys), 2), np.int32)
        self.total, self.joint_total = np.zeros((distinct, 2), np.int64), np.zeros((len(keys), 2), np.int64)
        self.mark, self.longest = np.full(distinct, -1, np.int32), int(sizes.max(initial=1))
        self.occurrences = unit == "occurrences"
        self.documents = self.tokens = self.since = 0
        self.stamp = 1  # of the next document; 0 marks an n-gram that no document has held yet

    def read(self, block: Block, half: np.ndarray) -> None:
        """Count in more documents; ``half`` says for each to which half it belongs."""
        documents, most = len(block.begins), int((block.ends - block.begins).sum())
        if self.since + most + documents > _FLUSH:
            self.flush()
        kind, code, *_ = _characters()
        vocabulary = self.vocabulary
        words = _count(
            *readable(block), half, self.stamp, kind, code, vocabulary.pool, vocabulary.starts, vocabulary.slots,
            self.first, self.edges, self.state, self.mark, self.partner, self.joint, self.longest, self.occurrences,
        )  # fmt: skip
        self.documents, self.tokens = self.documents + documents, self.tokens + words
        self.since, self.stamp = self.since + words + documents, self.stamp + documents

    def flush(self) -> None:
        self.total += self.state[:-1, 1:3]
        self.joint_total += self.joint
        self.state[:, :3], self.joint[:], self.mark[:], self.since, self.stamp = 0, 0, -1, 0, 1

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        self.flush()
        return self.total[self.terminal].T, self.joint_total[self.pair_place].T


@njit(cache=True, nogil=True)
def _hash(key, size):
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((h ^ h >> np.uint64(32)) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def _slot(edges, key):
    """Where ``key`` stands, or could stand, in a table of edges [size, 2] = (node, word) + 1, what it leads to."""
    j = _hash(key, len(edges))
    while edges[j, 0] != 0 and edges[j, 0] != key:
        j = (j + 1) & (len(edges) - 1)
    return j


@njit(cache=True)
def _tree(words, sizes, vocabulary):
    """The n-grams as a tree.

    Returns ``first`` [vocabulary] for first words and ``edges`` for the others; both lead to node | leads on << 31 |
    (number of the n-gram that ends there + 1) << 32. Then each n-gram's number, and how many numbers there are.
    """
    size = 16
    while size < 2 * len(words):
        size *= 2
    first, edges = np.zeros(vocabulary, np.int64), np.zeros((size, 2), np.int64)
    terminal = np.empty(len(sizes), np.int32)
    nodes, distinct, at = 0, 0, 0
    for q in range(len(sizes)):
        j, node = -1, 0
        for k in range(sizes[q]):
            word = words[at + k]
            if k == 0:
                value = first[word]
            else:
                if j < 0:
                    first[words[at]] |= 1 << 31
                else:
                    edges[j, 1] |= 1 << 31
                j = _slot(edges, (np.int64(node) << 32 | np.int64(word)) + 1)
                edges[j, 0] = (np.int64(node) << 32 | np.int64(word)) + 1
                value = edges[j, 1]
            if value == 0:
                nodes += 1
                value = nodes
                if j < 0:
                    first[word] = value
                else:
                    edges[j, 1] = value
            node = value & 0x7FFFFFFF
        if value >> 32 == 0:
            distinct += 1
            if j < 0:
                first[words[at]] |= distinct << 32
            else:
                edges[j, 1] |= distinct << 32
            value = distinct << 32
        terminal[q] = (value >> 32) - 1
        at += sizes[q]
    size = 16
    while size < 4 * nodes:
        size *= 2
    packed = np.zeros((size, 2), np.int64)
    for i in range(len(edges)):
        if edges[i, 0] != 0:
            packed[_slot(packed, edges[i, 0])] = edges[i]
    return first, packed, terminal, distinct


@njit(cache=True, nogil=True)
def _count(
    data, begins, ends, half, stamp, kind, code, pool, starts, slots, first, edges, state, mark, partner, joint,
    longest, occurrences,
):  # fmt: skip
    """Count in documents given as :class:`~taskgram_utils.corpus.Block`, some thousand words at a time; returns how
    many words they have.

    Each step is a loop over many words whose look-ups do not wait for each other: the numbers of the words, then
    n-grams word by word while they begin something asked, then the hits by document, then their partners.
    """
    most = 0
    for d in range(len(begins)):
        most = max(most, ends[d] - begins[d])
    room = max(_ROOM, 2 * most)
    pieces, stops, ids = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.int32)
    at_word, node, in_document = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    entry, leads, held = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, 3), np.uint64)
    hit, hit_in = np.empty(room * longest, np.int32), np.empty(room * longest, np.int32)
    hits, until = np.empty(room * longest, np.int32), np.empty(room, np.int32)
    at, words = np.zeros(2, np.int64), 0
    while at[0] < len(begins):
        d = at[0]
        found = tokenise(data, begins, ends, at, kind, code, pieces, stops, room)
        while found > 0 and stops[found - 1] != stops[found]:  # a document that did not end is read again
            found -= 1
        at[1], documents = 0, at[0] - d
        look_up(pieces, stops, found, pool, starts, slots, ids, held)
        words += found - documents
        live, total, document = 0, 0, 0
        for w in range(found):
            if ids[w] < 0:
                document += stops[w] == stops[w + 1]
                continue
            value = first[ids[w]]
            hit[total], hit_in[total] = np.int32(value >> 32) - 1, document
            total += value >> 32 != 0
            at_word[live], node[live], in_document[live] = w + 1, np.int32(value & 0x7FFFFFFF), document
            live += (value >> 31 & 1) & (ids[w + 1] >= 0)
        while live > 0:
            for k in range(live):
                key = (np.int64(node[k]) << 32 | np.int64(ids[at_word[k]])) + 1
                held[k, 0], held[k, 1] = key, _hash(key, len(edges))
            for k in range(live):
                entry[k], leads[k] = edges[np.int64(held[k, 1]), 0], edges[np.int64(held[k, 1]), 1]
            kept = 0
            for k in range(live):
                key, value, document, w = np.int64(held[k, 0]), leads[k], in_document[k], at_word[k] + 1
                if entry[k] != key:
                    value = 0 if entry[k] == 0 else edges[_slot(edges, key), 1]
                hit[total], hit_in[total] = np.int32(value >> 32) - 1, document
                total += value >> 32 != 0
                at_word[kept], node[kept], in_document[kept] = w, np.int32(value & 0x7FFFFFFF), document
                kept += (value >> 31 & 1) & (ids[w] >= 0)
            live = kept
        # An n-gram's hits come in the order of the documents: they are all of one size.
        until[:documents] = 0
        fresh = 0
        for k in range(total):
            t, document = hit[k], hit_in[k]
            new = state[t, 0] != stamp + document
            state[t, 0] = stamp + document
            state[t, 1 + half[d + document]] += new | occurrences
            hit[fresh], hit_in[fresh] = t, document
            fresh += new
            until[document] += new
        if len(partner):
            end = 0
            for document in range(documents):
                end += until[document]
                until[document] = end
            for k in range(fresh - 1, -1, -1):
                until[hit_in[k]] -= 1
                hits[until[hit_in[k]]] = hit[k]
            for document in range(documents):
                begin, end = until[document], until[document + 1] if document + 1 < documents else fresh
                _pairs(hits[begin:end], stamp + document, state, mark, partner, joint, half[d + document])
        stamp += documents
    return words


@njit(cache=True, nogil=True)
def _pairs(hits, stamp, state, mark, partner, joint, column):
    """Count the pairs of n-grams that one document holds."""
    for t in hits:
        mark[t] = stamp
    for t in hits:
        low, high = state[t, 3], state[t + 1, 3]
        if high - low <= 16 * len(hits):
            for p in range(low, high):
                joint[p, column] += mark[partner[p]] == stamp
        else:  # many more partners than hits: look the hits up among the partners
            for other in hits:
                p = low + np.searchsorted(partner[low:high], other)
                if p < high and partner[p] == other:
                    joint[p, column] += 1
