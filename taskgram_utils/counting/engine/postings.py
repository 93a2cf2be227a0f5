"""Documents of n-grams and what pairs of them share, shard by shard, in a bounded memory.

The documents of an n-gram (its *postings*) are a sorted list of numbers within the shard or, where
that is shorter, one bit for each document of the shard (*dense*): never more than an eighth of a
byte for a document. ``low`` and ``high`` [forms] are the ranges of the suffixes of each form of the
n-grams; the documents of an n-gram are those of all its forms together. Counts by half are int64
[2, k]: of documents of half 0, and of half 1.
"""

from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.bits import ones
from taskgram_utils.counting.engine.edges import Edges, whole_words
from taskgram_utils.counting.engine.shards import Shard
from taskgram_utils.counting.engine.suffix_array import place_of
from taskgram_utils.counting.engine.threads import chunks, even, parallel_for, weighted

BUDGET = 1 << 30  # bytes of postings held at once; an n-gram's are fetched once where all fit
_HINTS = 1 << 20  # places of a shard whose document is kept; others are looked for near them
# The work of reading a document's tokens, in hits fetched: to find it, and for a token.
_READ, _READ_TOKEN = 16, 1 / 8


class Asked(NamedTuple):
    """k n-grams, each in the forms ``forms[q]:forms[q + 1]`` (n-grams of words have one).

    The token ids of form f are ``ids[begins[f]:ends[f]]``.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    forms: np.ndarray
    edges: Edges

    def hits(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Suffixes of each n-gram: [k]."""
        return np.diff(np.append(0, np.cumsum(high - low))[self.forms])


class Reader(NamedTuple):
    """What finds the documents of a shard, and their halves."""

    shard: Shard
    hints: np.ndarray  # the document of every 2^shift-th token, and of the last (uint32)
    shift: int
    half: np.ndarray  # the half of each document as one bit (uint32)
    documents: int

    @classmethod
    def of(cls, shard: Shard, before: int) -> "Reader":
        """The reader of a shard that has so many documents before it."""
        shift = max(0, (max(len(shard.tokens) - 1, 1) // _HINTS).bit_length())
        places = np.arange(0, len(shard.tokens), 1 << shift) * shard.width
        hints = np.searchsorted(shard.offsets, places, side="right") - 1
        documents = len(shard.offsets)
        hints = np.append(hints, documents - 1).astype(np.uint32)
        return cls(shard, hints, shift, _half_bits(before, documents), documents)


class _Postings(NamedTuple):
    """Postings of k n-grams: those of n-gram q are ``pool[starts[q]:stops[q]]``."""

    pool: np.ndarray  # document numbers, or 32 documents as bits (uint32)
    starts: np.ndarray
    stops: np.ndarray
    dense: np.ndarray  # whether they are bits [k]


def single_counts(reader: Reader, asked: Asked, low, high, count, repeated: bool) -> np.ndarray:
    """Documents of the first ``count`` n-grams, ``repeated`` for each hit, by half: [2, count]."""
    counts, hits = np.zeros((2, count), np.int64), asked.hits(low, high)[:count]
    for begin, end in chunks(4 * hits if repeated else _bytes(reader, hits), BUDGET):
        postings = _fetch(reader, asked, low, high, np.arange(begin, end), repeated)
        cuts, each = even(end - begin, 256), np.arange(end - begin)  # as pairs with themselves
        parallel_for(_shared, cuts, reader.half, postings, each, each, counts[:, begin:end])
    return counts


def pair_counts(reader: Reader, asked: Asked, low, high, a, b) -> np.ndarray:
    """Documents that hold both n-grams a[m] and b[m], by half: [2, m].

    Pairs are taken in the order of their more frequent n-gram, so that its documents are fetched
    once. Where those are very many, the documents of the rarer one are read instead.
    """
    counts, hits = np.zeros((2, len(a)), np.int64), asked.hits(low, high)
    common = np.where(hits[a] >= hits[b], a, b)
    rare = a + b - common
    order = np.flatnonzero(hits[rare] > 0)
    order = order[np.lexsort((rare[order], common[order]))]
    tokens = len(reader.shard.tokens) / reader.documents
    effort = hits[rare[order]] * (_READ + _READ_TOKEN * tokens)
    read = (np.bincount(common[order], effort, len(hits)) < hits)[common[order]]
    read &= hits[rare[order]] <= len(reader.half)  # reading takes lists
    for reading in (False, True):
        pairs = order[read == reading]
        # Only the postings of the rarer n-grams are fetched where the others are read for.
        fetched = np.stack([rare[pairs], rare[pairs] if reading else common[pairs]])
        for begin, end in pairwise(_batches(*fetched, _bytes(reader, hits), BUDGET)):
            batch, cuts = pairs[begin:end], even(end - begin, 512)
            which, places = np.unique(fetched[:, begin:end], return_inverse=True)
            postings = _fetch(reader, asked, low, high, which)
            r, c = places.reshape(2, -1)
            part = np.zeros((2, len(batch)), np.int64)
            if reading:
                parallel_for(_read, cuts, reader, asked, postings, r, common[batch], part)
            else:
                parallel_for(_shared, cuts, reader.half, postings, r, c, part)
            counts[:, batch] = part
    return counts


def shared_documents(reader: Reader, asked: Asked, low, high) -> np.ndarray:
    """Documents of the shard that hold all of a few n-grams, in order."""
    hits = asked.hits(low, high)
    if not hits.all():
        return np.zeros(0, np.uint32)
    pool, starts, stops, _ = _fetch(reader, asked, low, high, np.arange(len(hits)), repeated=True)
    lists = [pool[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return reduce(np.intersect1d, lists[1:], np.unique(lists[0]))


def _bytes(reader: Reader, hits: np.ndarray) -> np.ndarray:
    """The most bytes that the postings of n-grams take: [k]."""
    return 4 * np.minimum(hits, len(reader.half))


def _fetch(reader: Reader, asked: Asked, low, high, which, repeated: bool = False) -> _Postings:
    """The postings of the n-grams ``which``; ``repeated``: lists of a document for each hit."""
    hits = asked.hits(low, high)[which]
    room = hits if repeated else np.minimum(hits, len(reader.half))
    stops = np.cumsum(room)
    postings = _Postings(np.zeros(room.sum(), np.uint32), stops - room, stops, hits > room)
    work = reader, asked, low, high, which, repeated, postings
    parallel_for(_fill, weighted(hits + 8), *work)
    return postings


@njit(cache=True, nogil=True)
def _batches(rare, common, held, budget):
    """Cuts of pairs into batches whose n-grams hold at most ``budget`` bytes, or of one pair."""
    batch_of = np.full(len(held), -1, np.int64)  # the begin of the last batch with each n-gram
    cuts, size = [0], 0
    for m in range(len(rare)):
        r, c = rare[m], common[m]
        more = held[r] * (batch_of[r] < cuts[-1]) + held[c] * (batch_of[c] < cuts[-1])
        if size + more > budget and m > cuts[-1]:
            cuts.append(m)
            size, more = 0, held[r] + held[c]
        size += more
        batch_of[r] = batch_of[c] = cuts[-1]
    if len(rare):
        cuts.append(len(rare))
    return cuts


@njit(cache=True, nogil=True)
def _document(offsets, hints, shift, width, place):
    """The document of a token: between the hints around it, by halves."""
    at = min(place >> shift, len(hints) - 2)  # a broken table must not lead out of the array
    d, last = np.int64(hints[at]), np.int64(hints[at + 1])
    place *= width
    while d < last:
        middle = (d + last + 1) >> 1
        if offsets[middle] <= place:
            d = middle
        else:
            last = middle - 1
    return d


@njit(cache=True, nogil=True)
def _fill(reader, asked, low, high, which, repeated, postings, first, last):
    """Write the postings of the n-grams ``which[first:last]``."""
    (tokens, table, offsets, width, _, _, _), hints, shift, _, _ = reader
    _, begins, ends, forms, edges = asked
    pool, starts, stops, dense = postings
    whole = len(edges.left) == 0
    for i in range(first, last):
        free = starts[i]
        for f in range(forms[which[i]], forms[which[i] + 1]):
            size = ends[f] - begins[f]
            for rank in range(low[f], high[f]):
                place = place_of(table, rank, width)
                if whole or whole_words(tokens, place, place + size, edges, f):
                    d = _document(offsets, hints, shift, width, place)
                    if dense[i]:
                        pool[starts[i] + (d >> 5)] |= np.uint32(1) << np.uint32(d & 31)
                    else:
                        pool[free] = d
                        free += 1
        # Sort a list, and drop the repeated documents.
        if not dense[i]:
            stops[i] = free
            if not repeated:
                pool[starts[i] : free].sort()
                end = min(starts[i] + 1, free)
                for k in range(end, free):
                    if pool[k] != pool[end - 1]:
                        pool[end] = pool[k]
                        end += 1
                stops[i] = end


@njit(cache=True, nogil=True)
def _half_bits(before, documents):
    """:func:`~taskgram_utils.counting.base.half_of` for the documents of a shard, as bits."""
    bits, golden = np.zeros((documents + 31) // 32, np.uint32), np.uint64(0x9E3779B97F4A7C15)
    for d in range(documents):
        z = np.uint64(before + d + 1) * golden
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        bits[d >> 5] |= np.uint32(z & np.uint64(1)) << np.uint32(d & 31)
    return bits


@njit(cache=True, nogil=True)
def _bit(words, d):
    """Bit ``d`` of words of 32."""
    return np.int64(words[d >> np.uint32(5)] >> (d & np.uint32(31))) & 1


@njit(cache=True, nogil=True)
def _shared(half, postings, rare, common, counts, first, last):
    """Count shared documents of pairs in the order of their common n-gram."""
    pool, starts, stops, dense = postings
    marked, marks = -1, np.zeros(len(half), np.uint32)  # the n-gram whose list is marked as bits
    for m in range(first, last):
        r, c = rare[m], common[m]
        # The documents of the common n-gram as bits; a list becomes bits once for all its pairs.
        if not dense[c] and c != marked:
            if marked >= 0:
                for k in range(starts[marked], stops[marked]):
                    marks[pool[k] >> np.uint32(5)] = 0
            for k in range(starts[c], stops[c]):
                marks[pool[k] >> np.uint32(5)] |= np.uint32(1) << (pool[k] & np.uint32(31))
            marked = c
        bits = pool[starts[c] : stops[c]] if dense[c] else marks
        # Those of the rare one among them.
        total, second = 0, 0
        if dense[r]:
            for k in range(len(half)):
                both = pool[starts[r] + k] & bits[k]
                total += ones(both)
                second += ones(both & half[k])
        else:
            for k in range(starts[r], stops[r]):
                if _bit(bits, pool[k]):
                    total += 1
                    second += _bit(half, pool[k])
        counts[0, m], counts[1, m] = total - second, second


@njit(cache=True, nogil=True)
def _read(reader, asked, postings, rare, common, counts, first, last):
    """Count the documents of rare n-grams, all lists, whose text holds the common one."""
    (tokens, _, offsets, width, _, _, _), _, _, half, _ = reader
    ids, begins, ends, forms, edges = asked
    pool, starts, stops, _ = postings
    whole = len(edges.left) == 0
    for m in range(first, last):
        for k in range(starts[rare[m]], stops[rare[m]]):
            d, held = np.int64(pool[k]), False
            begin = offsets[d] // width + 1
            end = offsets[d + 1] // width if d + 1 < len(offsets) else len(tokens)
            # Compare every form of the common n-gram at every token of the document.
            for f in range(forms[common[m]], forms[common[m] + 1]):
                size, place = ends[f] - begins[f], begin
                while not held and place <= end - size:
                    same = 0
                    while same < size and tokens[place + same] == ids[begins[f] + same]:
                        same += 1
                    held = same == size
                    if held and not whole:
                        held = whole_words(tokens, place, place + size, edges, f)
                    place += 1
            counts[_bit(half, pool[k]), m] += held
