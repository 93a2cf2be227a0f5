"""n-grams and pairs of them counted in blocks of documents: a tree of words, grown word by word."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.bits import hashed, ones
from taskgram_utils.counting.engine.tokens import (
    END, Spelled, Vocabulary, characters, encode_ngrams, look_up, readable, tokenise)
from taskgram_utils.errors import InputError, require
from taskgram_utils.reading import Block

_ROOM = 1 << 14  # words matched at a time: their arrays stay in the cache
_LONGEST = 1 << 13  # pieces of 8 bytes of a longer word that are looked at
_SPAN, _STRIDE = 1 << 12, 8  # pairs counted together, and noted together
_SPACE = 2  # places in the tree for each of its nodes, at least
_TOGETHER = 64  # documents that are counted together: the bits of a number
_ENDS, _LEADS = 1, 2  # flags of a node: an n-gram ends there, or goes on from there


class _Lists(NamedTuple):
    """Of the nodes, the n-gram that ends there; of the n-grams, their partners in pairs.

    The partners of n-gram a are ``partner[bounds[a]:bounds[a + 1]]``. A pair is listed at the
    n-gram with fewer partners, so that one that is in many pairs (and so, as a rule, in many
    documents) has a short list.
    """

    number: np.ndarray
    bounds: np.ndarray
    partner: np.ndarray
    words: int  # nodes of single words, the first in the tree
    longest: int  # words of the longest n-gram


class Queries:
    """The n-grams to count as a tree of words, and the pairs as lists of partners; never changed.

    A node of the tree is a place in ``tree``, int64 [nodes]. The nodes of single words are at
    the places of their numbers in the vocabulary, and hold flags alone. Behind them are, hashed,
    the nodes of longer n-grams: node of the n-gram without its last word << 33 | (last word + 1)
    << 2 | flags; 0 is a free place. ``each`` [n-grams] numbers the distinct n-grams.
    """

    def __init__(self, ngrams: Sequence[str], pair_at: np.ndarray):
        self.vocabulary = Vocabulary()
        ids, sizes = encode_ngrams(ngrams, self.vocabulary, grow=True)
        words = len(self.vocabulary)
        if np.diff(self.vocabulary.table[1][: words + 1]).max(initial=0) >= _LONGEST:
            long = max(ngrams, key=lambda ngram: max(map(len, ngram.split())))[:40]
            why = f"holds a word of more than {8 * _LONGEST:,} bytes; remove it"
            raise InputError(f"the n-gram '{long}…' {why}")
        size = words + _SPACE * (len(ids) - len(sizes)) + 16
        why = f"n-grams: {len(ids):,} words of them are too many; count them in parts"
        require(size < 1 << 30, why)
        self.tree, number, self.each, self.count = _tree(ids, sizes, words, size)
        a, b = self.each[pair_at].T.astype(np.int64)
        pairs = np.bincount(np.append(a, b), minlength=self.count)
        owner, other = np.where(pairs[a] > pairs[b], (b, a), (a, b))
        keys, self.pair_place = np.unique(owner * self.count + other, return_inverse=True)
        owner, partner = np.divmod(keys, self.count)
        bounds = np.searchsorted(owner, np.arange(self.count + 1)).astype(np.int32)
        longest = int(sizes.max(initial=1))
        self.lists = _Lists(number, bounds, partner.astype(np.int32), words, longest)


class _Counters(NamedTuple):
    """What a pass counts; the documents that are counted together are the bits of a number."""

    nodes: np.ndarray  # the tree, and the documents that hold each node's n-gram, int64 [nodes, 2]
    single: np.ndarray  # counts of n-grams, by half, int64 [n-grams, 1 or 2]
    joint: np.ndarray  # counts of pairs, by half, int64 [pairs, 1 or 2]
    held_by: np.ndarray  # the documents that hold each n-gram, int64 [n-grams]
    seen: np.ndarray  # the nodes that some of these documents hold, at its front, int32
    occurrences: bool  # whether each occurrence of an n-gram counts
    pairs: tuple  # room for pairs that are counted together: six int64 [_SPAN + _STRIDE]


class Matcher:
    """The counts of a pass over documents: of n-grams and of pairs, both by half."""

    def __init__(self, queries: Queries, unit: str, halves: bool = False):
        self.queries, self.tokens = queries, 0
        nodes = np.zeros((len(queries.tree), 2), np.int64)
        nodes[:, 0] = queries.tree
        sizes = queries.count, len(queries.lists.partner)
        single, joint = (np.zeros((size, 1 + halves), np.int64) for size in sizes)
        held_by, seen = np.zeros(sizes[0], np.int64), np.empty(sizes[0] + 1, np.int32)
        pairs = tuple(np.empty((6, _SPAN + _STRIDE), np.int64))
        occurrences, room = unit == "occurrences", _ROOM + queries.lists.longest
        self.counters = _Counters(nodes, single, joint, held_by, seen, occurrences, pairs)
        self.spelled, self.ids = Spelled.room(_ROOM, _LONGEST), np.full(room, END, np.int32)
        self.work = tuple(np.empty((8, room), np.int64))

    def read(self, block: Block, half: np.ndarray) -> None:
        """Count in more documents; ``half`` (0 or 1) says to which half each belongs."""
        queries, documents = self.queries, len(block.begins)
        text, position, left = readable(block), np.zeros(2, np.int64), np.zeros(4, np.int64)
        while position[0] < documents:
            waiting = left[0]
            count = tokenise(text, position, characters(), self.spelled, _ROOM, _LONGEST)
            look_up(self.spelled, count, queries.vocabulary.table, self.ids[waiting:])
            size, last = waiting + count, position[0] == documents
            _match(self.ids, size, last, left, half, queries.lists, self.counters, self.work)
            self.tokens += count
        self.tokens -= documents  # whose ends are counted as words

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts of the n-grams [1 or 2, q] and of the pairs [1 or 2, m], by half where asked."""
        queries, counters = self.queries, self.counters
        return counters.single[queries.each].T, counters.joint[queries.pair_place].T


@njit(cache=True, nogil=True)
def _tree(ids, sizes, words, size):
    """The tree of n-grams, the words of all in a row in ``ids``: see :class:`Queries`.

    Returns the tree; the number of the n-gram that ends at each node; the number of each n-gram;
    how many distinct ones there are, at least 1.
    """
    tree, number = np.zeros(size, np.int64), np.zeros(size, np.int32)
    each, begin, count = np.empty(len(sizes), np.int32), 0, 0
    for q in range(len(sizes)):
        # Go down the tree, and add the nodes that are missing.
        node = np.int64(ids[begin])
        for k in range(begin + 1, begin + sizes[q]):
            tree[node] |= _LEADS
            key = node << 33 | np.int64(ids[k] + 1) << 2
            node = words + hashed(key, size - words)
            while tree[node] != 0 and (tree[node] ^ key) >> 2 != 0:
                node = node + 1 if node + 1 < size else words
            tree[node] |= key
        # Number the n-gram when it is met first.
        if not tree[node] & _ENDS:
            tree[node] |= _ENDS
            number[node] = count
            count += 1
        each[q] = number[node]
        begin += sizes[q]
    return tree, number, each, max(count, 1)


@njit(cache=True, nogil=True)
def _match(ids, size, last, left, half, lists, counters, work):
    """Count the n-grams that begin in ``ids[:size]``, the words of documents and their ends.

    If the block goes on after these (not ``last``), n-grams that may go on wait for the next call.
    ``left`` is kept between calls: how many words wait, at the front of ``ids``; the first
    document, from 0, that is not yet counted; how many have ended since; how many distinct n-grams
    these hold so far, at the front of ``seen``.

    Each step is a loop over many words whose look-ups do not wait for each other and whose branches
    are few: n-grams grow word by word while they begin a query, and mark their document.
    """
    # Of n-grams as long as the round: node, what the tree holds there, and place of the last word.
    # Of those with one more word: key, place of that word, place in the tree, and the entry there.
    # Of each word: its document, of those counted together.
    node, entry, word, key, next_word, place, there, within = work
    nodes, single, _, _, seen, occurrences, _ = counters
    number, _, _, words, longest = lists
    first, document, known = left[1], left[2], left[3]
    limit = size if ids[size - 1] == END else max(0, size - (longest - 1))
    ids[size] = END
    begin = 0
    while begin < limit:
        # Take the words of up to 64 documents that are in the vocabulary: n-grams of one word.
        end, length, active = begin, 0, 0
        while end < limit and document < _TOGETHER:
            node[active], word[active] = max(ids[end], 0), end
            active += ids[end] >= 0
            within[end] = document
            document += ids[end] == END
            end += 1
        for k in range(active):
            entry[k] = nodes[node[k], 0]
        while active > 0:
            growing = 0
            for k in range(active):
                # Mark the document at the node of an n-gram that is a query, and note a new node.
                at, flags, w = node[k], entry[k], word[k]
                held, ends, bit = nodes[at, 1], flags & _ENDS, within[w - length]
                seen[known] = at
                known += ends & (held == 0)
                nodes[at, 1] = held | ends << bit
                if occurrences:
                    single[number[at], half[first + bit]] += ends
                # Go on with the next word, if a query does and the document has one that is known.
                key[growing] = at << 33 | np.int64(ids[w + 1] + 1) << 2
                next_word[growing] = w + 1
                growing += flags >> 1 & (ids[w + 1] >= 0)
            for k in range(growing):
                place[k] = words + hashed(key[k], len(nodes) - words)
            # Look up the longer n-grams.
            active = 0
            while growing > 0:
                for k in range(growing):
                    there[k] = nodes[place[k], 0]
                displaced = 0
                for k in range(growing):
                    j, wanted, w, flags = place[k], key[k], next_word[k], there[k]
                    same = (flags ^ wanted) >> 2 == 0
                    node[active], entry[active], word[active] = j, flags, w
                    active += same
                    # Look further for one whose place is taken.
                    key[displaced], next_word[displaced] = wanted, w
                    place[displaced] = j + 1 if j + 1 < len(nodes) else words
                    displaced += (flags != 0) & (not same)
                growing = displaced
            length += 1
        # Count the documents once there are 64, or no more.
        if document == _TOGETHER or (last and end == size):
            ended = half[first : first + document]
            _together(seen[:known], ended, lists, counters)
            first, document, known = first + document, 0, 0
        begin = end
    # Move the words that wait to the front.
    left[0], left[1], left[2], left[3] = size - limit, first, document, known
    for k in range(limit, size):
        ids[k - limit] = ids[k]


@njit(cache=True, nogil=True)
def _together(seen, half, lists, counters):
    """Count the n-grams ``seen`` in up to 64 documents, and their pairs; forget the documents."""
    number, bounds, partner, _, _ = lists
    nodes, single, joint, held_by, _, occurrences, pairs = counters
    place, shared, _, lows, highs, bits = pairs
    # The documents of each half as bits.
    masks = np.zeros(2, np.int64)
    for d in range(len(half)):
        masks[half[d]] |= np.int64(1) << np.int64(d)
    # Turn nodes into numbers of n-grams, and clear the tree.
    for k in range(len(seen)):
        node = seen[k]
        seen[k] = number[node]
        held_by[seen[k]], nodes[node, 1] = nodes[node, 1], 0
    for h in range(0 if occurrences else single.shape[1]):
        for a in seen:
            single[a, h] += ones(held_by[a] & masks[h])
    # Note all pairs that have one n-gram here, and count them many at a time.
    noted = 0
    for start in range(0, len(seen) if len(partner) else 0, _SPAN):
        some = seen[start : start + _SPAN]
        for k in range(len(some)):
            a = some[k]
            lows[k], highs[k], bits[k] = bounds[a], bounds[a + 1], held_by[a]
        for k in range(len(some)):
            low, high = lows[k], highs[k]
            if high - low > 16 * len(seen):  # so many partners: look up the n-grams among them
                for b in seen:
                    p = low + np.searchsorted(partner[low:high], b)
                    if p < high and partner[p] == b:
                        for h in range(joint.shape[1]):
                            joint[p, h] += ones(bits[k] & held_by[b] & masks[h])
                continue
            # Always note a whole stride, without a branch; the next one overwrites what is over.
            for begin in range(low, high, _STRIDE):
                for i in range(_STRIDE):
                    place[noted + i], shared[noted + i] = begin + i, bits[k]
                noted += min(high - begin, _STRIDE)
                if noted >= _SPAN:
                    _pairs(held_by, pairs, noted, masks, partner, joint)
                    noted = 0
    _pairs(held_by, pairs, noted, masks, partner, joint)
    for a in seen:
        held_by[a] = 0


@njit(cache=True, nogil=True)
def _pairs(held_by, pairs, size, masks, partner, joint):
    """Count pairs: the places in ``partner`` and the documents of the one n-gram are given.

    A loop for each look-up, so that waits for memory overlap.
    """
    place, shared, other, _, _, _ = pairs
    for k in range(size):
        other[k] = partner[place[k]]
    for k in range(size):
        shared[k] &= held_by[other[k]]
    # Keep the pairs that share a document.
    both = 0
    for k in range(size):
        place[both], shared[both], bits = place[k], shared[k], shared[k]
        both += bits != 0
    for h in range(joint.shape[1]):
        for k in range(both):
            joint[place[k], h] += ones(shared[k] & masks[h])
