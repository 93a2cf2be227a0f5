"""Documents of n-grams and what pairs of them share, shard by shard, in a bounded amount of memory.

The documents of an n-gram are a sorted list of numbers within the shard or, where that is shorter, one bit for each
document of the shard (*dense*): never more than an eighth of a byte for a document. ``low`` and ``high`` are the ranks
of the suffixes of each form of the n-grams; the documents of an n-gram are those of all its forms together. Counts by
half are [2, k], all of them in the first row where halves are not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.edges import Edges, alone
from taskgram_utils.counting.engine.shards import Shard
from taskgram_utils.counting.engine.suffix_array import place_of
from taskgram_utils.counting.engine.threads import chunks, even, spread, weighted

BUDGET = 1 << 30  # bytes of documents held at once; an n-gram's are fetched once for all its pairs where they fit
# Work, in hits fetched, of reading a document's tokens: to find it, and for a token.
_READ, _READ_TOKEN = 16, 1 / 8


class Asked(NamedTuple):
    """k n-grams, each in the forms ``forms[q]:forms[q + 1]`` (of words one), and where in ``ids`` a form's token ids
    begin and end. Of forms that are pieces, what a character before and behind would join with, ``left`` and ``right``
    (of words nothing, [0]), and what is known of the text of tokens."""

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    forms: np.ndarray
    left: np.ndarray
    right: np.ndarray
    edges: Edges

    def hits(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Suffixes of each n-gram: [k]."""
        return np.add.reduceat(high - low, self.forms[:-1]) if len(self.forms) > 1 else np.zeros(0, np.int64)

    @property
    def checks(self) -> tuple:
        """What the compiled code needs to tell where a form is whole words."""
        return self.ends - self.begins, self.forms, self.left, self.right, *self.edges


class Reader(NamedTuple):
    """What finds the documents of a shard: its arrays, and the document of every 2^shift-th token."""

    shard: Shard
    hints: np.ndarray
    shift: int
    before: int  # documents in the shards before it

    @property
    def places(self) -> tuple:
        return self.shard.tokens, self.shard.table, self.shard.offsets, self.hints, self.shift, self.shard.width

    @property
    def documents(self) -> int:
        return len(self.shard.offsets)


class _Postings(NamedTuple):
    pool: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    dense: np.ndarray


def document_counts(reader: Reader, asked: Asked, low, high, count: int, halves: bool) -> np.ndarray:
    """Documents of the first ``count`` n-grams, by half: [2, count]."""
    out, half = np.zeros((2, count), np.int64), _half_bits(reader.before, reader.documents * halves)
    for a, b in chunks(_bytes(reader, asked.hits(low, high)[:count]), BUDGET):
        found = _fetch(reader, asked, low, high, np.arange(a, b))
        own = np.zeros((2, b - a), np.int64)
        spread(_tally, even(b - a, 256), *found, half, own)
        out[:, a:b] = own
    return out


def occurrence_counts(reader: Reader, asked: Asked, low, high, count: int) -> np.ndarray:
    """Occurrences of the first ``count`` n-grams, by half: [2, count]."""
    out, hits = np.zeros((2, count), np.int64), asked.hits(low, high)[:count]
    spread(_occurrences, weighted(hits + 1), *reader.places, low, high, *asked.checks, reader.before, out)
    return out


def pair_counts(reader: Reader, asked: Asked, low, high, a, b, halves: bool) -> np.ndarray:
    """Documents that hold both n-grams a[m] and b[m], by half: [2, m].

    Pairs stand in the order of their more frequent n-gram, so that its documents are fetched once. Where those are
    very many, the documents of the rarer one are read instead.
    """
    out, sizes = np.zeros((2, len(a)), np.int64), asked.hits(low, high)
    common = np.where(sizes[a] >= sizes[b], a, b)
    rare = a + b - common
    order = np.flatnonzero(sizes[rare] > 0)
    order = order[np.lexsort((rare[order], common[order]))]
    effort = sizes[rare[order]] * (_READ + _READ_TOKEN * len(reader.shard.tokens) / reader.documents)
    read = (np.bincount(common[order], effort, len(sizes)) < sizes)[common[order]]
    read &= sizes[rare[order]] <= _words(reader)
    held, half = _bytes(reader, sizes), _half_bits(reader.before, reader.documents * halves)
    for reading in (False, True):
        part = order[read == reading]
        # A partner that is only read takes no room.
        for begin, end in _batches(rare[part], rare[part] if reading else common[part], held, BUDGET):
            now = part[begin:end]
            needed, at = np.unique(np.concatenate([rare[now], common[now][: 0 if reading else None]]), False, True)
            found = _fetch(reader, asked, low, high, needed)
            own, at = np.zeros((2, len(now)), np.int64), at.ravel()
            cuts = even(len(now), 512)
            if reading:
                tokens = reader.shard.tokens, reader.shard.offsets, reader.shard.width
                partner = common[now], asked.ids, asked.begins, *asked.checks
                spread(_read, cuts, *tokens, *found, at, *partner, half, own)
            else:
                spread(_shared, cuts, *found, _words(reader), at[: len(now)], at[len(now) :], half, own)
            out[:, now] = own
    return out


def shared_documents(reader: Reader, asked: Asked, low: np.ndarray, high: np.ndarray) -> Iterator[np.ndarray]:
    """Documents of the shard that hold all of a few n-grams, in order, a stretch at a time."""
    hits = asked.hits(low, high)
    if not hits.all():
        return
    found = _fetch(reader, asked, low, high, np.arange(len(hits)))
    for begin in range(0, reader.documents, 1 << 20):
        end = min(begin + (1 << 20), reader.documents)
        buffers = [np.empty(end - begin, np.uint32) for _ in hits]
        parts = [buffer[: _documents(*found, k, begin, end, buffer)] for k, buffer in enumerate(buffers)]
        both = parts[0]
        for part in parts[1:]:
            both = np.intersect1d(both, part, assume_unique=True)
        yield both


def _words(reader: Reader) -> int:
    return (reader.documents + 31) // 32


def _bytes(reader: Reader, hits: np.ndarray) -> np.ndarray:
    return 4 * np.minimum(hits, _words(reader))


def _fetch(reader: Reader, asked: Asked, low: np.ndarray, high: np.ndarray, which: np.ndarray) -> _Postings:
    low, high = np.ascontiguousarray(low), np.ascontiguousarray(high)
    hits = asked.hits(low, high)[which]
    room = np.minimum(hits, _words(reader))
    stops = np.cumsum(room)
    found = _Postings(np.zeros(stops[-1] if len(stops) else 0, np.uint32), stops - room, stops, hits > room)
    spread(_fill, weighted(hits + 8), *reader.places, low, high, *asked.checks, which, *found)
    return found


@njit(cache=True, nogil=True)
def _batches(rare, common, held, budget):
    """Stretches of pairs whose n-grams take at most ``budget`` together, or that are one pair."""
    batch_of = np.full(len(held), -1, np.int64)
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
def _fill(tokens, table, offsets, hints, shift, width, low, high, sizes, forms, left, right, text, texts, kind, which,
          pool, starts, stops, dense, first, last):  # fmt: skip
    for i in range(first, last):
        at = starts[i]
        for f in range(forms[which[i]], forms[which[i] + 1]):
            for rank in range(low[f], high[f]):
                place = place_of(table, rank, width)
                if len(left) and not alone(tokens, place, place + sizes[f], left[f], right[f], text, texts, kind):
                    continue
                d = _document(offsets, hints, shift, width, place)
                if dense[i]:
                    pool[starts[i] + (d >> 5)] |= np.uint32(1) << np.uint32(d & 31)
                else:
                    pool[at] = d
                    at += 1
        if not dense[i]:
            pool[starts[i] : at].sort()
            kept = min(starts[i] + 1, at)
            for k in range(kept, at):
                if pool[k] != pool[kept - 1]:
                    pool[kept] = pool[k]
                    kept += 1
            stops[i] = kept


@njit(cache=True, nogil=True)
def _half(number):
    """:func:`~taskgram_utils.counting.base.half_of` for one document."""
    z = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) & np.uint64(1))


@njit(cache=True, nogil=True)
def _bits(word):
    """How many bits of a word of 32 are set."""
    word = word - (word >> np.uint32(1) & np.uint32(0x55555555))
    word = (word & np.uint32(0x33333333)) + (word >> np.uint32(2) & np.uint32(0x33333333))
    word = (word + (word >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return np.int64(np.uint32(word * np.uint32(0x01010101)) >> np.uint32(24))


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
def _tally(pool, starts, stops, dense, half, out, first, last):
    for q in range(first, last):
        total, second = 0, 0
        if not dense[q]:
            total = stops[q] - starts[q]
            if len(half):
                for k in range(starts[q], stops[q]):
                    second += _bit(half, np.int64(pool[k]))
        else:
            for k in range(stops[q] - starts[q]):
                word = pool[starts[q] + k]
                total += _bits(word)
                if len(half):
                    second += _bits(word & half[k])
        out[0, q], out[1, q] = total - second, second


@njit(cache=True, nogil=True)
def _occurrences(tokens, table, offsets, hints, shift, width, low, high, sizes, forms, left, right, text, texts, kind,
                 before, out, first, last):  # fmt: skip
    for q in range(first, last):
        for f in range(forms[q], forms[q + 1]):
            for rank in range(low[f], high[f]):
                place = place_of(table, rank, width)
                if len(left) and not alone(tokens, place, place + sizes[f], left[f], right[f], text, texts, kind):
                    continue
                d = _document(offsets, hints, shift, width, place)
                out[_half(before + d), q] += 1


@njit(cache=True, nogil=True)
def _shared(pool, starts, stops, dense, words, rare, common, half, out, first, last):
    """Count shared documents of pairs in the order of their common n-gram, whose list becomes bits once."""
    marked, marks = -1, np.zeros(words, np.uint32)
    for m in range(first, last):
        r, c = rare[m], common[m]
        if dense[c]:
            bits = pool[starts[c] : stops[c]]
        else:
            if c != marked:
                if marked >= 0:
                    for k in range(starts[marked], stops[marked]):
                        marks[pool[k] >> np.uint32(5)] = 0
                for k in range(starts[c], stops[c]):
                    marks[pool[k] >> np.uint32(5)] |= np.uint32(1) << (pool[k] & np.uint32(31))
                marked = c
            bits = marks
        total, second = 0, 0
        if not dense[r]:
            for k in range(starts[r], stops[r]):
                d = np.int64(pool[k])
                if _bit(bits, d):
                    total += 1
                    if len(half):
                        second += _bit(half, d)
        else:
            for k in range(words):
                both = pool[starts[r] + k] & bits[k]
                total += _bits(both)
                if len(half):
                    second += _bits(both & half[k])
        out[0, m], out[1, m] = total - second, second


@njit(cache=True, nogil=True)
def _read(tokens, offsets, width, pool, starts, stops, _, rare, partner, ids, begins, sizes, forms, left, right, text,
          texts, kind, half, out, first, last):  # fmt: skip
    """Count the documents of rare n-grams, lists all, that hold the ids of a form of their partners."""
    for m in range(first, last):
        for k in range(starts[rare[m]], stops[rare[m]]):
            d = np.int64(pool[k])
            begin, end = offsets[d] // width + 1, offsets[d + 1] // width if d + 1 < len(offsets) else len(tokens)
            held, f = False, forms[partner[m]]
            while not held and f < forms[partner[m] + 1]:
                place = begin
                while not held and place <= end - sizes[f]:
                    same = 0
                    while same < sizes[f] and tokens[place + same] == ids[begins[f] + same]:
                        same += 1
                    held = same == sizes[f] and (
                        len(left) == 0
                        or alone(tokens, place, place + sizes[f], left[f], right[f], text, texts, kind)
                    )
                    place += 1
                f += 1
            out[_bit(half, d) if len(half) else 0, m] += held


@njit(cache=True, nogil=True)
def _documents(pool, starts, stops, dense, q, begin, end, out):
    """Write the documents of an n-gram from ``begin``, a multiple of 32, to ``end``; returns how many they are."""
    found = 0
    if dense[q]:
        for k in range(begin >> 5, (end + 31) >> 5):
            word = pool[starts[q] + k]
            if word != 0:
                for bit in range(32):
                    if word >> np.uint32(bit) & np.uint32(1):
                        out[found] = 32 * k + bit
                        found += 1
        return found
    at = starts[q] + np.searchsorted(pool[starts[q] : stops[q]], begin)
    while at < stops[q] and pool[at] < end:
        out[found] = pool[at]
        at += 1
        found += 1
    return found
