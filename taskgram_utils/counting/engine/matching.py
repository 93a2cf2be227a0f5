"""n-grams and pairs of them counted in blocks of documents: a tree of words, grown as the text goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.tokens import (
    END,
    Vocabulary,
    characters,
    encode_ngrams,
    look_up,
    padded,
    readable,
    tokenise,
)
from taskgram_utils.errors import InputError, require
from taskgram_utils.reading import Block

_FLUSH = 1 << 30  # bytes after which the 32-bit counters are added to the totals
_ROOM = 1 << 14  # words matched at a time: their arrays stay in the cache
_LONGEST = 1 << 13  # of a longer word, in pieces of 8 bytes, only these are looked at
_SPAN = 1 << 12  # partners looked at together
_STRIDE = 8  # of them noted at a time
_SPACE = 2  # places in the tree for each of its nodes, at least
_TOGETHER = 64  # documents that are counted together: the bits of a number
_ASKED, _LEADS = 1, 2  # of a node: an n-gram ends there, goes on from there


class Queries:
    """The asked n-grams as a tree of words, and the pairs as partner lists: read by all, changed by none.

    A node of the tree is its place in ``tree``, a table of numbers: those of the words, at their places in the
    vocabulary, hold flags alone; behind them stand, hashed, the nodes of longer n-grams: node above << 33 | (last
    word + 1) << 2 | flags, and 0 where none is. ``number`` says which n-gram ends at a node, ``each`` which of these an
    asked one is. The partners of n-gram a are ``partner[bounds[a]:bounds[a + 1]]``. A pair is listed at the n-gram
    with fewer partners, so that one that is in many pairs (and so, as a rule, in many documents) has a short list.
    """

    def __init__(self, ngrams: Sequence[str], pair_at: np.ndarray):
        self.vocabulary = Vocabulary()
        ids, sizes = encode_ngrams(ngrams, self.vocabulary, grow=True)
        lengths = np.diff(self.vocabulary.starts[: len(self.vocabulary) + 1])
        if lengths.max(initial=0) >= _LONGEST:
            begin = next(ngram for ngram in ngrams if len(ngram.encode("utf-8", "replace")) > 8 * _LONGEST)[:40]
            raise InputError(f"the n-gram '{begin}…' holds a word of more than {8 * _LONGEST:,} bytes; remove it")
        self.longest = int(sizes.max(initial=1))
        size = len(self.vocabulary) + _SPACE * (len(ids) - len(sizes)) + 16
        require(size < 1 << 30, f"n-grams: {len(ids):,} words of them are too many; count them in parts")
        self.tree, self.number, self.each, count = _tree(ids, sizes, len(self.vocabulary), size)
        a, b = self.each[pair_at].T.astype(np.int64) if len(pair_at) else np.zeros((2, 0), np.int64)
        degree = np.bincount(a, minlength=count) + np.bincount(b, minlength=count)
        swap = degree[a] > degree[b]
        keys, self.pair_place = np.unique(np.where(swap, b, a) * count + np.where(swap, a, b), return_inverse=True)
        owner, partner = np.divmod(keys, count)
        self.partner = partner.astype(np.int32)
        self.bounds = np.zeros(count + 1, np.int32)
        np.cumsum(np.bincount(owner, minlength=count), out=self.bounds[1:])


class Matcher:
    """The counters of a pass over documents: ``single`` of n-grams, ``joint`` of pairs, both by half."""

    def __init__(self, queries: Queries, unit: str, halves: bool = False):
        self.queries, self.occurrences = queries, unit == "occurrences"
        columns = 1 + halves
        self.nodes = np.zeros((len(queries.tree), 2), np.int64)  # the tree, and which of 64 documents hold each node
        self.nodes[:, 0] = queries.tree
        self.single = np.zeros((len(queries.bounds) - 1, columns), np.int32)
        self.joint = np.zeros((len(queries.partner), columns), np.int32)
        self.held_by = np.zeros(len(self.single), np.int64)
        self.total = np.zeros(self.single.shape, np.int64)
        self.joint_total = np.zeros(self.joint.shape, np.int64)
        self.documents = self.tokens = self.since = 0
        room = _ROOM + queries.longest
        self.pieces, self.hashes = np.empty(_ROOM + _LONGEST, np.uint64), np.empty(_ROOM, np.uint64)
        self.stops, self.ids = np.empty(_ROOM + 1, np.int32), np.full(room, END, np.int32)
        self.held = np.empty((_ROOM, 2), np.uint64)
        self.work, self.within = np.empty((8, room), np.int64), np.empty(room, np.uint8)
        self.seen = np.empty(len(self.single) + 1, np.int32)
        self.lists, self.spans = np.empty((3, _SPAN), np.int64), np.empty((3, _SPAN + _STRIDE), np.int64)

    def read(self, block: Block, half: np.ndarray) -> None:
        """Count in more documents; ``half`` says for each to which half it belongs."""
        queries, vocabulary = self.queries, self.queries.vocabulary
        most = int((block.ends - block.begins).sum()) + len(block.begins)
        if self.since + most > _FLUSH:
            self.flush()
        self.since += most
        block, at, tables = readable(block), np.zeros(2, np.int64), characters()[:3]
        text = *padded(block.data), block.begins, block.ends
        left = np.zeros(4, np.int64)
        while at[0] < len(block.begins):
            kept = left[0]
            found = tokenise(*text, at, *tables, self.pieces, self.stops, self.hashes, _ROOM, _LONGEST)
            look_up(
                self.pieces, self.stops, self.hashes, found, vocabulary.pool, vocabulary.starts, vocabulary.slots,
                self.ids[kept:], self.held,
            )  # fmt: skip
            _match(
                self.ids, kept + found, at[0] == len(block.begins), left, half, len(vocabulary), self.nodes,
                queries.number, queries.bounds, queries.partner, self.single, self.joint, queries.longest,
                self.occurrences, self.work, self.within, self.seen, self.held_by, self.lists, self.spans,
            )  # fmt: skip
            self.tokens += found
        self.documents, self.tokens = self.documents + len(block.begins), self.tokens - len(block.begins)

    def flush(self) -> None:
        self.total += self.single
        self.joint_total += self.joint
        self.single[:], self.joint[:], self.since = 0, 0, 0

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts of the n-grams [1 or 2, q] and of the pairs [1 or 2, m], by half where asked."""
        self.flush()
        return self.total[self.queries.each].T, self.joint_total[self.queries.pair_place].T


@njit(cache=True, nogil=True)
def _tree(ids, sizes, words, size):
    """The table of nodes, with one that none is like at its end; which n-gram ends at each; each one's; how many."""
    tree, number, each = np.zeros((size + 1, 1), np.int64), np.zeros(size, np.int32), np.empty(len(sizes), np.int32)
    tree[size] = -1
    at, count = 0, 0
    for q in range(len(sizes)):
        node = np.int64(ids[at])
        for k in range(at + 1, at + sizes[q]):
            tree[node, 0] |= _LEADS
            key = node << 33 | np.int64(ids[k] + 1) << 2
            node = _find(tree, words, key, _place(key, words, size))
            tree[node, 0] |= key
        if not tree[node, 0] & _ASKED:
            tree[node, 0] |= _ASKED
            number[node] = count
            count += 1
        each[q] = number[node]
        at += sizes[q]
    return tree[:, 0].copy(), number, each, max(count, 1)  # what no n-gram ends at is said to be at the first


@njit(cache=True, nogil=True)
def _place(key, words, count):
    """Where in a table of ``count`` nodes, the first of them ``words``, the node with that key is looked for first."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    return words + np.int64(h * np.uint64(count - words) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _find(nodes, words, key, place):
    """The place of the node with that key, or of the gap where it would be, looked for from ``place`` on."""
    while nodes[place, 0] != 0 and (nodes[place, 0] ^ key) >> 2 != 0:
        place = place + 1 if place + 2 < len(nodes) else words
    return place


@njit(cache=True, nogil=True)
def _match(
    ids, size, last, left, half, words, nodes, number, bounds, partner, single, joint, longest, occurrences, work,
    within, seen, held_by, lists, spans,
):  # fmt: skip
    """Count the n-grams that begin in ``ids[:size]``, the words of documents and their ends.

    Where the last document has not ended, the n-grams that may go on are left for the next call, if it is not the
    ``last``. ``left``: how many words were left, at the front of ``ids``; the first document, from 0, that is not yet
    counted; how many have ended since; how many distinct n-grams these hold so far, at the front of ``seen``. Each step
    is a loop over many words whose look-ups do not wait for each other and whose branches are few: n-grams grow word by
    word while they begin something asked, and mark their document among those that are counted together.
    """
    key, at, place, one, two = work[0], work[1], work[2], work[3], work[4]
    found, entry, behind = work[5], work[6], work[7]
    first, document, known, count = left[1], left[2], left[3], len(nodes) - 1
    limit = size if ids[size - 1] == END else max(0, size - (longest - 1))
    ids[size] = END
    begin = 0
    while begin < limit:
        end, length, some = begin, 0, 0
        while end < limit and document < _TOGETHER:
            found[some], behind[some] = max(ids[end], 0), end
            some += ids[end] >= 0
            within[end] = document
            document += ids[end] == END
            end += 1
        for k in range(some):
            entry[k] = nodes[found[k], 0]
        while some > 0:
            live = 0
            for k in range(some):
                node, flags, w = found[k], entry[k], behind[k]
                held, asked, bit = nodes[node, 1], flags & _ASKED, np.int64(within[w - length])
                seen[known] = node
                known += asked & (held == 0)
                nodes[node, 1] = held | asked << bit
                if occurrences:
                    single[number[node], half[first + bit]] += asked
                key[live], at[live] = node << 33 | np.int64(ids[w + 1] + 1) << 2, w + 1
                live += flags >> 1 & (ids[w + 1] >= 0)
            for k in range(live):
                place[k] = _place(key[k], words, count)
            some = 0
            while live > 0:  # most are found, or missed, at the first two places
                for k in range(live):
                    one[k], two[k] = nodes[place[k], 0], nodes[place[k] + 1, 0]
                displaced = 0
                for k in range(live):
                    j, asked, w, a, b = place[k], key[k], at[k], one[k], two[k]
                    here, there = (a ^ asked) >> 2 == 0, (b ^ asked) >> 2 == 0
                    found[some], entry[some], behind[some] = j + there, b if there else a, w
                    some += here | there
                    key[displaced], at[displaced], place[displaced] = asked, w, j + 2 if j + 2 < count else words
                    displaced += (a != 0) & (b != 0) & (not here) & (not there)
                live = displaced
            length += 1
        if document == _TOGETHER or (last and end == size):
            _together(
                nodes, seen[:known], half[first : first + document], number, bounds, partner, single, joint,
                occurrences, held_by, lists, spans,
            )  # fmt: skip
            first, document, known = first + document, 0, 0
        begin = end
    left[0], left[1], left[2], left[3] = size - limit, first, document, known
    for k in range(limit, size):
        ids[k - limit] = ids[k]


@njit(cache=True, nogil=True)
def _ones(bits):
    """How many bits are set."""
    x = np.uint64(bits)
    x -= x >> np.uint64(1) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + (x >> np.uint64(2) & np.uint64(0x3333333333333333))
    x = x + (x >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int32(x * np.uint64(0x0101010101010101) >> np.uint64(56))


@njit(cache=True, nogil=True)
def _together(nodes, seen, half, number, bounds, partner, single, joint, occurrences, held_by, lists, spans):
    """Count the n-grams ``seen`` in up to 64 documents, and the pairs of them, and forget these documents."""
    masks = np.zeros(2, np.int64)
    for d in range(len(half)):
        masks[half[d]] |= np.int64(1) << np.int64(d)
    for k in range(len(seen)):
        node = seen[k]
        seen[k] = number[node]
        held_by[seen[k]], nodes[node, 1] = nodes[node, 1], 0
    for h in range(0 if occurrences else single.shape[1]):
        for a in seen:
            single[a, h] += _ones(held_by[a] & masks[h])
    listed = 0
    for start in range(0, len(seen) if len(partner) else 0, _SPAN):
        some = seen[start : start + _SPAN]
        for k in range(len(some)):
            a = some[k]
            lists[0, k], lists[1, k], lists[2, k] = bounds[a], bounds[a + 1], held_by[a]
        for i in range(len(some)):
            low, high, bits = lists[0, i], lists[1, i], lists[2, i]
            if high - low > 16 * len(seen):  # look these up among the partners
                for b in seen:
                    p = low + np.searchsorted(partner[low:high], b)
                    if p < high and partner[p] == b:
                        for h in range(joint.shape[1]):
                            joint[p, h] += _ones(bits & held_by[b] & masks[h])
                continue
            for begin in range(low, high, _STRIDE):
                for k in range(_STRIDE):
                    spans[0, listed + k], spans[1, listed + k] = begin + k, bits
                listed += min(high - begin, _STRIDE)
                if listed >= _SPAN:
                    _pairs(held_by, spans, listed, masks, partner, joint)
                    listed = 0
    _pairs(held_by, spans, listed, masks, partner, joint)
    for a in seen:
        held_by[a] = 0


@njit(cache=True, nogil=True)
def _pairs(held_by, spans, size, masks, partner, joint):
    """Count the pairs at the places ``spans[0]`` of ``partner``, the one n-gram in the documents ``spans[1]``."""
    both = 0
    for k in range(size):
        spans[2, k] = partner[spans[0, k]]
    for k in range(size):
        spans[1, k] &= held_by[spans[2, k]]
    for k in range(size):
        bits = spans[1, k]
        spans[0, both], spans[1, both] = spans[0, k], bits
        both += bits != 0
    for h in range(joint.shape[1]):
        for k in range(both):
            joint[spans[0, k], h] += _ones(spans[1, k] & masks[h])
