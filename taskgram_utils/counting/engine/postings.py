"""Documents of n-grams and what pairs of them share, shard by shard, in a bounded memory.

The documents of an n-gram (its *postings*) are a sorted list of numbers within the shard or, where
that is shorter, one bit for each document of the shard (*dense*): never more than an eighth of a
byte for a document. ``low`` and ``high`` [forms] are the ranges of the suffixes of each form of the
n-grams; the documents of an n-gram are those of all its forms together. Counts by half are int64
[2, k], all of them in the first row where halves are not asked for.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.edges import Edges, alone
from taskgram_utils.counting.engine.shards import Shard
from taskgram_utils.counting.engine.suffix_array import place_of
from taskgram_utils.counting.engine.threads import chunks, even, spread, weighted

BUDGET = 1 << 30  # bytes of postings held at once; an n-gram's are fetched once where all fit
# The work of reading a document's tokens, in hits fetched: to find it, and for a token.
_READ, _READ_TOKEN = 16, 1 / 8


class Asked(NamedTuple):
    """k n-grams, each in the forms ``forms[q]:forms[q + 1]`` (n-grams of words have one).

    The token ids of form f are ``ids[begins[f]:ends[f]]``. For pieces, ``left`` and ``right`` are
    the classes of a form's first and last character (see :func:`alone`); for words they are empty.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    forms: np.ndarray
    left: np.ndarray
    right: np.ndarray
    edges: Edges

    def hits(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Suffixes of each n-gram: [k]."""
        return np.diff(np.append(0, np.cumsum(high - low))[self.forms])


class Reader(NamedTuple):
    """What finds the documents of a shard: its arrays, and the document of every 2^shift token."""

    shard: Shard
    hints: np.ndarray
    shift: int
    before: int  # documents in the shards before it

    @property
    def documents(self) -> int:
        """Documents of the shard."""
        return len(self.shard.offsets)


class _Postings(NamedTuple):
    """Postings of k n-grams: those of n-gram q are ``pool[starts[q]:stops[q]]``."""

    pool: np.ndarray  # document numbers, or 32 documents as bits (uint32)
    starts: np.ndarray
    stops: np.ndarray
    dense: np.ndarray  # whether they are bits [k]


def document_counts(
    reader: Reader, asked: Asked, low, high, count: int, halves: bool
) -> np.ndarray:
    """Documents of the first ``count`` n-grams, by half: [2, count]."""
    out, half = np.zeros((2, count), np.int64), _half_bits(reader.before, reader.documents * halves)
    for a, b in chunks(_bytes(reader, asked.hits(low, high)[:count]), BUDGET):
        postings = _fetch(reader, asked, low, high, np.arange(a, b))
        spread(_tally, even(b - a, 256), postings, half, out[:, a:b])
    return out


def occurrence_counts(reader: Reader, asked: Asked, low, high, count: int) -> np.ndarray:
    """Occurrences of the first ``count`` n-grams, by half: [2, count]."""
    out, hits = np.zeros((2, count), np.int64), asked.hits(low, high)[:count]
    spread(_occurrences, weighted(hits + 1), reader, asked, low, high, out)
    return out


def pair_counts(reader: Reader, asked: Asked, low, high, a, b, halves: bool) -> np.ndarray:
    """Documents that hold both n-grams a[m] and b[m], by half: [2, m].

    Pairs are taken in the order of their more frequent n-gram, so that its documents are fetched
    once. Where those are very many, the documents of the rarer one are read instead.
    """
    out, hits = np.zeros((2, len(a)), np.int64), asked.hits(low, high)
    common = np.where(hits[a] >= hits[b], a, b)
    rare = a + b - common
    order = np.flatnonzero(hits[rare] > 0)
    order = order[np.lexsort((rare[order], common[order]))]
    tokens = len(reader.shard.tokens) / reader.documents
    effort = hits[rare[order]] * (_READ + _READ_TOKEN * tokens)
    read = (np.bincount(common[order], effort, len(hits)) < hits)[common[order]]
    read &= hits[rare[order]] <= _words(reader)  # reading takes lists
    half = _half_bits(reader.before, reader.documents * halves)
    for reading in (False, True):
        pairs = order[read == reading]
        # Only the postings of the rarer n-grams are fetched where the others are read for.
        fetched = np.stack([rare[pairs], rare[pairs] if reading else common[pairs]])
        for begin, end in _batches(*fetched, _bytes(reader, hits), BUDGET):
            now = pairs[begin:end]
            which, at = np.unique(fetched[:, begin:end], return_inverse=True)
            postings, at = _fetch(reader, asked, low, high, which), at.reshape(2, -1)
            part, cuts = np.zeros((2, len(now)), np.int64), even(len(now), 512)
            if reading:
                spread(_read, cuts, reader.shard, asked, postings, at[0], common[now], half, part)
            else:
                spread(_shared, cuts, postings, _words(reader), *at, half, part)
            out[:, now] = part
    return out


def shared_documents(reader: Reader, asked: Asked, low, high) -> Iterator[np.ndarray]:
    """Documents of the shard that hold all of a few n-grams, in order, 2^20 documents at a time."""
    hits = asked.hits(low, high)
    if not hits.all():
        return
    pool, starts, stops, dense = _fetch(reader, asked, low, high, np.arange(len(hits)))
    for begin in range(0, reader.documents, 1 << 20):
        shared = np.arange(begin, min(begin + (1 << 20), reader.documents))
        for q in range(len(hits)):
            held = pool[starts[q] : stops[q]]
            if dense[q]:
                bits = held[begin >> 5 :][: 1 << 15].view(np.uint8)
                shared = shared[np.unpackbits(bits, bitorder="little")[shared - begin] > 0]
            else:
                shared = np.intersect1d(shared, held, assume_unique=True)
        yield shared


def _words(reader: Reader) -> int:
    """Words of 32 bits that hold a bit for each document."""
    return (reader.documents + 31) // 32


def _bytes(reader: Reader, hits: np.ndarray) -> np.ndarray:
    return 4 * np.minimum(hits, _words(reader))


def _fetch(reader: Reader, asked: Asked, low, high, which: np.ndarray) -> _Postings:
    """The postings of the n-grams ``which``."""
    hits = asked.hits(low, high)[which]
    room = np.minimum(hits, _words(reader))
    stops = np.cumsum(room)
    postings = _Postings(np.zeros(room.sum(), np.uint32), stops - room, stops, hits > room)
    spread(_fill, weighted(hits + 8), reader, asked, low, high, which, postings)
    return postings


@njit(cache=True, nogil=True)
def _batches(rare, common, held, budget):
    """Stretches of pairs whose n-grams hold at most ``budget`` bytes, or that are one pair."""
    batch_of = np.full(len(held), -1, np.int64)  # the begin of the last batch with each n-gram
    out, begin, room = [(0, 0)], 0, 0
    for m in range(len(rare)):
        more = 0
        for q in (rare[m], common[m]):
            if batch_of[q] < begin:
                more += held[q]
        if room + more > budget and m > begin:
            out.append((begin, m))
            begin, room, more = m, 0, held[rare[m]] + held[common[m]]
        room += more
        batch_of[rare[m]] = batch_of[common[m]] = begin
    if begin < len(rare):
        out.append((begin, len(rare)))
    return out[1:]


@njit(cache=True, nogil=True)
def _document(offsets, hints, shift, width, place):
    """The document of a token: between the hints around it, by halves and then one by one."""
    at = min(place >> shift, len(hints) - 2)  # a broken table must not lead out of the array
    d, last = np.int64(hints[at]), np.int64(hints[at + 1])
    place *= width
    while last - d > 8:
        middle = (d + last + 1) >> 1
        if offsets[middle] <= place:
            d = middle
        else:
            last = middle - 1
    while d < last and offsets[d + 1] <= place:
        d += 1
    return d


@njit(cache=True, nogil=True)
def _fill(reader, asked, low, high, which, postings, first, last):
    """Write the postings of the n-grams ``which[first:last]``."""
    (tokens, table, offsets, width, _, _, _), hints, shift, _ = reader
    _, begins, ends, forms, left, right, edges = asked
    pool, starts, stops, dense = postings
    for i in range(first, last):
        free = starts[i]
        for f in range(forms[which[i]], forms[which[i] + 1]):
            size = ends[f] - begins[f]
            for rank in range(low[f], high[f]):
                place = place_of(table, rank, width)
                if not len(left) or alone(tokens, place, place + size, left[f], right[f], edges):
                    d = _document(offsets, hints, shift, width, place)
                    if dense[i]:
                        pool[starts[i] + (d >> 5)] |= np.uint32(1) << np.uint32(d & 31)
                    else:
                        pool[free] = d
                        free += 1
        # Sort a list, and drop the repeated documents.
        if not dense[i]:
            pool[starts[i] : free].sort()
            end = min(starts[i] + 1, free)
            for k in range(end, free):
                if pool[k] != pool[end - 1]:
                    pool[end] = pool[k]
                    end += 1
            stops[i] = end


@njit(cache=True, nogil=True)
def _half(number):
    """:func:`~taskgram_utils.counting.base.half_of` for one document."""
    z = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) & np.uint64(1))


@njit(cache=True, nogil=True)
def _half_bits(before, documents):
    """The half of each document of a shard as one bit, in words of 32."""
    out = np.zeros((documents + 31) // 32, np.uint32)
    for d in range(documents):
        out[d >> 5] |= np.uint32(_half(before + d)) << np.uint32(d & 31)
    return out


@njit(cache=True, nogil=True)
def _bit(words, d):
    """Bit ``d`` of words of 32."""
    return np.int64(words[d >> 5] >> np.uint32(d & 31)) & 1


@njit(cache=True, nogil=True)
def _ones(word):
    """How many bits of a word of 32 are set, in operations that a processor does 8 at a time."""
    word = word - (word >> np.uint32(1) & np.uint32(0x55555555))
    word = (word & np.uint32(0x33333333)) + (word >> np.uint32(2) & np.uint32(0x33333333))
    word = (word + (word >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.int64(np.uint32(word * np.uint32(0x01010101)) >> np.uint32(24))


@njit(cache=True, nogil=True)
def _tally(postings, half, out, first, last):
    """Count the documents of n-grams, those of the second half apart where halves are given."""
    pool, starts, stops, dense = postings
    for q in range(first, last):
        total, second = 0, 0
        if dense[q]:
            for k in range(stops[q] - starts[q]):
                word = pool[starts[q] + k]
                total += _ones(word)
                if len(half):
                    second += _ones(word & half[k])
        else:
            total = stops[q] - starts[q]
            for k in range(starts[q], stops[q] if len(half) else starts[q]):
                second += _bit(half, np.int64(pool[k]))
        out[0, q], out[1, q] = total - second, second


@njit(cache=True, nogil=True)
def _occurrences(reader, asked, low, high, out, first, last):
    """Count the hits of n-grams that are whole words, by the half of their document."""
    (tokens, table, offsets, width, _, _, _), hints, shift, before = reader
    _, begins, ends, forms, left, right, edges = asked
    for q in range(first, last):
        for f in range(forms[q], forms[q + 1]):
            size = ends[f] - begins[f]
            for rank in range(low[f], high[f]):
                place = place_of(table, rank, width)
                if not len(left) or alone(tokens, place, place + size, left[f], right[f], edges):
                    d = _document(offsets, hints, shift, width, place)
                    out[_half(before + d), q] += 1


@njit(cache=True, nogil=True)
def _shared(postings, words, rare, common, half, out, first, last):
    """Count shared documents of pairs in the order of their common n-gram."""
    pool, starts, stops, dense = postings
    marked, marks = -1, np.zeros(words, np.uint32)  # the n-gram whose list is marked as bits
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
            for k in range(words):
                both = pool[starts[r] + k] & bits[k]
                total += _ones(both)
                if len(half):
                    second += _ones(both & half[k])
        else:
            for k in range(starts[r], stops[r]):
                d = np.int64(pool[k])
                if _bit(bits, d):
                    total += 1
                    if len(half):
                        second += _bit(half, d)
        out[0, m], out[1, m] = total - second, second


@njit(cache=True, nogil=True)
def _read(shard, asked, postings, rare, common, half, out, first, last):
    """Count the documents of rare n-grams, all lists, whose text holds the common one."""
    tokens, _, offsets, width, _, _, _ = shard
    ids, begins, ends, forms, left, right, edges = asked
    pool, starts, stops, _ = postings
    for m in range(first, last):
        for k in range(starts[rare[m]], stops[rare[m]]):
            d = np.int64(pool[k])
            begin, end = offsets[d] // width + 1, len(tokens)
            if d + 1 < len(offsets):
                end = offsets[d + 1] // width
            # Compare every form of the common n-gram at every token of the document.
            held, f = False, forms[common[m]]
            while not held and f < forms[common[m] + 1]:
                size, place = ends[f] - begins[f], begin
                while not held and place <= end - size:
                    same = 0
                    while same < size and tokens[place + same] == ids[begins[f] + same]:
                        same += 1
                    held = same == size and (
                        not len(left)
                        or alone(tokens, place, place + size, left[f], right[f], edges)
                    )
                    place += 1
                f += 1
            out[_bit(half, d) if len(half) else 0, m] += held
