"""n-grams and pairs of them counted in blocks of documents: a tree of words, grown as the text goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from taskgram_utils.counting.tokens import (
    END,
    Vocabulary,
    characters,
    encode_ngrams,
    look_up,
    padded,
    readable,
    tokenise,
)
from taskgram_utils.errors import require
from taskgram_utils.reading import Block

_FLUSH = 1 << 30  # bytes after which the 32-bit counters are added to the totals
_ROOM = 1 << 14  # words matched at a time: their arrays stay in the cache
_LONGEST = 1 << 13  # of a longer word, in pieces of 8 bytes, only these are looked at
_SPAN = 1 << 12  # hits whose partners are looked at together
_SPACE = 3  # places in the table of nodes for each of them
_ASKED, _LEADS, _PAIRED = 1, 2, 4  # of a node: an n-gram ends there, goes on from there, is in a pair


class Queries:
    """The asked n-grams as a tree of words, and the pairs as partner lists: read by all, changed by none.

    The nodes of the tree are numbers, the words of the vocabulary first, each the node of the n-gram that it is:
    ``words`` holds their flags, ``above`` the node above every node. ``slots`` is a table of the nodes that are no
    words: node << 35 | flags << 32 | last word + 1. The partners of node p are ``partner[bounds[p]:bounds[p + 1]]``. A
    pair is listed at the n-gram with fewer partners, so that an n-gram that is in many pairs (and so, as a rule, in
    many documents) has a short list.
    """

    def __init__(self, ngrams: Sequence[str], pair_at: np.ndarray):
        self.vocabulary = Vocabulary()
        ids, sizes = encode_ngrams(ngrams, self.vocabulary, grow=True)
        lengths = np.diff(self.vocabulary.starts[: len(self.vocabulary) + 1])
        require(
            lengths.max(initial=0) < _LONGEST, f"an n-gram holds a word of more than {8 * _LONGEST:,} bytes; remove it"
        )
        self.longest, self.sizes = int(sizes.max(initial=1)), len(np.unique(sizes))
        self.above, slots, flags, self.terminal = _tree(ids, sizes, len(self.vocabulary))
        count = len(self.above)
        require(count < 1 << 28, f"n-grams: {count:,} beginnings of them are too many; count them in parts")
        a, b = self.terminal[pair_at].T.astype(np.int64) if len(pair_at) else np.zeros((2, 0), np.int64)
        degree = np.bincount(np.concatenate([a, b]), minlength=count)
        swap = degree[a] > degree[b]
        keys, self.pair_place = np.unique(np.where(swap, b, a) * count + np.where(swap, a, b), return_inverse=True)
        owner, partner = np.divmod(keys, max(count, 1))
        self.partner = partner.astype(np.int32)
        self.bounds = np.searchsorted(owner, np.arange(count + 1)).astype(np.int32)
        flags |= np.where(degree > 0, _PAIRED, 0).astype(np.uint8)
        self.words = flags[: len(self.vocabulary)]
        self.slots = np.zeros(1 << max(4, int(_SPACE * max(1, count - len(self.words)) - 1).bit_length()), np.int64)
        _pack(slots, self.above, flags, self.slots)


class Matcher:
    """The counters of a pass over documents: of n-grams by node in ``state``, of pairs in ``joint``, both by half."""

    def __init__(self, queries: Queries, unit: str, halves: bool = False):
        self.queries, self.occurrences = queries, unit == "occurrences"
        count, columns = len(queries.above), 1 + halves
        self.state = np.zeros((count, 2 * columns), np.int32)  # the last document that held it, then its counts
        self.joint = np.zeros((len(queries.partner), columns), np.int32)
        self.mark = np.zeros(count, np.uint16)
        self.total = np.zeros((count, columns), np.int64)
        self.joint_total = np.zeros(self.joint.shape, np.int64)
        self.documents = self.tokens = self.since = 0
        self.stamp = 1  # of the document that is read; 0 marks an n-gram that no document has held yet
        room = _ROOM + queries.longest
        self.pieces, self.hashes = np.empty(_ROOM + _LONGEST, np.uint64), np.empty(_ROOM, np.uint64)
        self.stops, self.ids = np.empty(_ROOM + 1, np.int32), np.full(room, END, np.int32)
        self.held = np.empty((room, 3), np.uint64)
        self.work = np.empty((7, room), np.int32)
        self.hits = np.empty((2, (room + 1) * queries.sizes), np.int32)  # at each place one n-gram of a size
        self.spans = np.empty((4, _SPAN), np.int32)
        self.together = np.empty((room + 1) * queries.sizes + count, np.int32)

    def read(self, block: Block, half: np.ndarray) -> None:
        """Count in more documents; ``half`` says for each to which half it belongs."""
        queries, vocabulary = self.queries, self.queries.vocabulary
        most = int((block.ends - block.begins).sum()) + len(block.begins)
        if self.since + most > _FLUSH:
            self.flush()
        self.since += most
        block, at, tables = readable(block), np.zeros(2, np.int64), characters()[:3]
        text = *padded(block.data), block.begins, block.ends
        left = np.zeros(3, np.int64)
        while at[0] < len(block.begins):
            kept = left[0]
            found = tokenise(*text, at, *tables, self.pieces, self.stops, self.hashes, _ROOM, _LONGEST)
            look_up(
                self.pieces, self.stops, self.hashes, found, vocabulary.pool, vocabulary.starts, vocabulary.slots,
                self.ids[kept:], self.held,
            )  # fmt: skip
            _match(
                self.ids, kept + found, left, half, self.stamp, queries.words, queries.above, queries.slots,
                queries.bounds, queries.partner, self.state, self.joint, self.mark, queries.longest, self.occurrences,
                self.held, self.work, self.hits, self.together, self.spans,
            )  # fmt: skip
            self.tokens += found
        self.documents, self.tokens = self.documents + len(block.begins), self.tokens - len(block.begins)
        self.stamp += len(block.begins)

    def flush(self) -> None:
        self.total += self.state[:, 1 : 1 + self.total.shape[1]]
        self.joint_total += self.joint
        self.state[:], self.joint[:], self.mark[:], self.since, self.stamp = 0, 0, 0, 0, 1

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts of the n-grams [1 or 2, q] and of the pairs [1 or 2, m], by half where asked."""
        self.flush()
        return self.total[self.queries.terminal].T, self.joint_total[self.queries.pair_place].T


@njit(cache=True, nogil=True)
def _place(node, word, size):
    h = (np.uint64(node) << np.uint64(32) | np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((h ^ h >> np.uint64(32)) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def _find(slots, above, node, word, j):
    """The entry of the node that ``word`` leads to from ``node``, or 0, and its place, looked for from ``j`` on."""
    while slots[j] != 0:
        if np.int32(slots[j]) == word + 1 and above[slots[j] >> 35] == node:
            break
        j = (j + 1) & (len(slots) - 1)
    return slots[j], j


@njit(cache=True, nogil=True)
def _tree(ids, sizes, vocabulary):
    """``above``, a table of the nodes that are no words, the flags of all, and each n-gram's node."""
    most = vocabulary + len(ids) - len(sizes)
    size = 16
    while size < 2 * most:
        size *= 2
    above, flags, slots = np.zeros(most, np.int32), np.zeros(most, np.uint8), np.zeros(size, np.int64)
    terminal = np.empty(len(sizes), np.int32)
    count, at = vocabulary, 0
    for q in range(len(sizes)):
        node = np.int64(ids[at])
        for k in range(at + 1, at + sizes[q]):
            flags[node] |= _LEADS
            entry, j = _find(slots, above, node, ids[k], _place(node, ids[k], size))
            if entry == 0:
                slots[j] = entry = np.int64(count) << 35 | np.int64(ids[k] + 1)
                above[count] = node
                count += 1
            node = entry >> 35
        flags[node] |= _ASKED
        terminal[q] = node
        at += sizes[q]
    return above[:count].copy(), slots, flags[:count].copy(), terminal


@njit(cache=True, nogil=True)
def _pack(slots, above, flags, out):
    """Put the entries of a table, with their flags, into another one."""
    for entry in slots:
        if entry != 0:
            node = entry >> 35
            j = _place(above[node], np.int32(entry) - 1, len(out))
            while out[j] != 0:
                j = (j + 1) & (len(out) - 1)
            out[j] = entry | np.int64(flags[node]) << 32


@njit(cache=True, nogil=True)
def _match(
    ids, size, left, half, stamp, words, above, slots, bounds, partner, state, joint, mark, longest, occurrences,
    held, work, hits, together, spans,
):  # fmt: skip
    """Count the n-grams that begin in ``ids[:size]``, the words of documents and their ends.

    Where the last document has not ended, the n-grams that may go on are left for the next call. ``left``: how many
    words were left, at the front of ``ids``; the document, from 0, that they are of; how many distinct n-grams in
    pairs that document holds so far, at the front of ``together``. Each step is a loop over many words whose look-ups
    do not wait for each other and whose branches are few: n-grams grow word by word while they begin something asked,
    then the hits are counted, then sorted by document. The hits of an n-gram stay in the order of the text.
    """
    within, node, at, up, late, until = work[0], work[1], work[2], work[3], work[4], work[5]
    base, carried = left[1], left[2]
    limit = size if ids[size - 1] == END else max(0, size - (longest - 1))
    ids[size] = END
    document, ended, live, total = 0, 0, 0, 0
    for w in range(size):
        within[w] = document
        document += ids[w] == END
    until[: document + 1] = 0
    for w in range(limit):
        word = ids[w]
        if word < 0:
            ended += word == END
            continue
        hits[0, total], hits[1, total] = word, within[w] << 1 | words[word] >> 2
        total += words[word] & _ASKED
        node[live], at[live] = word, w + 1
        live += words[word] >> 1 & (ids[w + 1] >= 0)
    while live > 0:
        for k in range(live):
            held[k, 0] = _place(node[k], ids[at[k]], len(slots))
        for k in range(live):
            j = np.int64(held[k, 0])
            held[k, 1], held[k, 2] = slots[j], slots[(j + 1) & (len(slots) - 1)]
        some, displaced = 0, 0
        for k in range(live):
            one, two, word = np.int64(held[k, 1]), np.int64(held[k, 2]), ids[at[k]] + 1
            first, second = np.int32(one) == word, np.int32(two) == word
            late[displaced] = k
            displaced += (one != 0) & (two != 0) & (not first) & (not second)
            held[some, 1], up[some], work[6, some] = one if first else two, node[k], at[k]
            some += first | second
        for i in range(displaced):
            k = late[i]
            entry, _ = _find(slots, above, node[k], ids[at[k]], np.int64(held[k, 0]))
            held[some, 1], up[some], work[6, some] = entry, node[k], at[k]
            some += entry != 0
        live = 0
        for k in range(some):
            entry, w = np.int64(held[k, 1]), work[6, k]
            if above[entry >> 35] != up[k]:  # the word is the same, but not what it follows
                entry, _ = _find(slots, above, up[k], ids[w], _place(up[k], ids[w], len(slots)))
            flags = entry >> 32
            hits[0, total], hits[1, total] = entry >> 35, within[w] << 1 | flags >> 2 & 1
            total += flags & _ASKED
            node[live], at[live] = entry >> 35, w + 1
            live += flags >> 1 & (ids[w + 1] >= 0)
    fresh = 0
    for k in range(total):
        t, d, paired = hits[0, k], hits[1, k] >> 1, hits[1, k] & 1
        new = state[t, 0] != stamp + base + d
        state[t, 0] = stamp + base + d
        state[t, 1 + half[base + d]] += new | occurrences
        hits[0, fresh], hits[1, fresh] = t, d
        until[d] += new & paired
        fresh += new & paired
    if len(partner):
        end = carried
        for d in range(document + 1):
            end += until[d]
            until[d] = end
        for k in range(fresh - 1, -1, -1):
            until[hits[1, k]] -= 1
            together[until[hits[1, k]]] = hits[0, k]
        until[0] = 0
        for d in range(ended):
            held_by = together[until[d] : until[d + 1] if d < document else end]
            _pairs(held_by, (stamp + base + d) % 65_535 + 1, bounds, mark, partner, joint, half[base + d], spans)
        begin = until[ended] if ended <= document else end
        left[2] = end - begin
        for k in range(begin, end):
            together[k - begin] = together[k]
    left[0], left[1] = size - limit, base + ended
    for k in range(limit, size):
        ids[k - limit] = ids[k]


@njit(cache=True, nogil=True)
def _pairs(hits, stamp, bounds, mark, partner, joint, column, spans):
    """Count the pairs of n-grams that one document holds."""
    if stamp == 1:
        mark[:] = 0
    for t in hits:
        mark[t] = stamp
    for begin in range(0, len(hits), _SPAN):
        count, listed = min(_SPAN, len(hits) - begin), 0
        for k in range(count):
            spans[0, k], spans[1, k] = bounds[hits[begin + k]], bounds[hits[begin + k] + 1]
        for k in range(count):
            low, high = spans[0, k], spans[1, k]
            if high - low <= 16 * len(hits):
                for p in range(low, high):
                    if listed == spans.shape[1]:
                        _together(spans[2:], listed, stamp, mark, partner, joint, column)
                        listed = 0
                    spans[2, listed] = p
                    listed += 1
            else:  # many more partners than hits: look the hits up among the partners
                for other in hits:
                    p = low + np.searchsorted(partner[low:high], other)
                    if p < high and partner[p] == other:
                        joint[p, column] += 1
        _together(spans[2:], listed, stamp, mark, partner, joint, column)


@njit(cache=True, nogil=True)
def _together(places, size, stamp, mark, partner, joint, column):
    for k in range(size):
        places[1, k] = partner[places[0, k]]
    both = 0
    for k in range(size):
        places[0, both] = places[0, k]
        both += mark[places[1, k]] == stamp
    for k in range(both):
        joint[places[0, k], column] += 1
