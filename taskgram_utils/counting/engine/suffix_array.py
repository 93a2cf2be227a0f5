"""Suffix arrays: sorted, by first symbols on all cores and then by doubling; and checked."""

from __future__ import annotations

import numpy as np
from numba import get_num_threads

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.threads import spread

_ROUNDS = 8  # words of symbols that are compared before what is still equal is left to doubling
_STRETCH = 1 << 12  # ranks whose words are fetched before any is sorted, so that memory is asked for many at a time
_SHORT = 16  # so few are sorted by insertion


def build(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """The places of the sorted suffixes of ``symbols`` (integers below ``alphabet``), a prefix before what it begins.

    Symbols are compared a word of 64 bits at a time, each thread among its own first symbols. What repeats for long is
    finished by doubling (Larsson & Sadakane 2007, "Faster suffix sorting"), so that no input takes more than about
    n log n steps. Returns int32, whence fewer than 2^31 symbols.
    """
    symbols = np.ascontiguousarray(symbols, np.int32)
    n, packed = len(symbols), 64 // max(1, int(alphabet).bit_length())
    order, equal, begins = _by_two(symbols, alphabet)
    words = _packed(symbols, packed)
    cuts = np.unique(begins[np.searchsorted(begins, np.linspace(0, n, 16 * get_num_threads() + 1))])
    spread(_by_words, cuts, words, packed, order, equal)
    if equal.any():
        del words
        rank = np.empty(n, np.int32)
        spread(_rank, cuts, order, equal, rank)
        _by_doubling(order, equal, rank, 2 + packed * _ROUNDS)
    return order


@njit(cache=True, nogil=True)
def _by_two(symbols, alphabet):
    """Places ordered by their two first symbols, which of them have the same two as the one before, and where each
    symbol's begin [alphabet + 1]."""
    n = len(symbols)
    begins = np.zeros(alphabet + 1, np.int64)
    for c in symbols:
        begins[c + 1] += 1
    for c in range(alphabet):
        begins[c + 1] += begins[c]
    free, by_one = begins.copy(), np.empty(n, np.int32)
    for i in range(n):
        by_one[free[symbols[i]]] = i
        free[symbols[i]] += 1
    free[:] = begins
    order, equal = np.empty(n, np.int32), np.zeros(n + 1, np.bool_)
    second = np.full(alphabet, -1, np.int32)
    if n > 0:  # the last suffix has no second symbol, and is the first of its kind
        order[free[symbols[n - 1]]] = n - 1
        free[symbols[n - 1]] += 1
    for i in by_one:
        if i > 0:
            c = symbols[i - 1]
            at = free[c]
            order[at] = i - 1
            equal[at] = second[c] == symbols[i]
            second[c] = symbols[i]
            free[c] += 1
    return order, equal, begins


@njit(cache=True, nogil=True)
def _packed(symbols, packed):
    """For each place the next ``packed`` symbols as one number, each plus 1: the end is 0."""
    words, word = np.empty(len(symbols), np.uint64), np.uint64(0)
    bits = np.uint64(64 // packed)
    for i in range(len(symbols) - 1, -1, -1):
        word = word >> bits | np.uint64(symbols[i] + 1) << bits * np.uint64(packed - 1)
        words[i] = word
    return words


@njit(cache=True, nogil=True)
def _by_words(words, packed, order, equal, first, last):
    """Order ranks ``first`` to ``last``, in order of their first two symbols, by the symbols after them."""
    n = np.uintp(len(words))
    own = np.empty(2 * _STRETCH, np.uint64)
    for depth in range(2, 2 + packed * _ROUNDS, packed):
        at, more = first, False
        while at < last:
            stop = _whole(equal, at, last)
            if stop - at > len(own):
                own = np.empty(2 * (stop - at), np.uint64)
            for k in range(at, stop):
                if equal[k] or equal[k + 1]:
                    place = np.uintp(order[k]) + np.uintp(depth)
                    own[k - at] = words[place] if place < n else np.uint64(0)
            more |= _sort_groups(own, order, equal, at, stop)
            at = stop
        if not more:
            break


@njit(cache=True, nogil=True)
def _rank(order, equal, rank, first, last):
    """Write down at each place the first rank of its group of equal suffixes."""
    group = first
    for k in range(first, last):
        if not equal[k]:
            group = k
        rank[order[k]] = group


@njit(cache=True, nogil=True)
def _by_doubling(order, equal, rank, known):
    """Finish an order that is right as far as the first ``known`` symbols."""
    n, group, alone = len(order), 0, np.uint64(1) << np.uint64(63)
    own = np.empty(2 * _STRETCH, np.uint64)
    more = True
    while more:
        at, more = 0, False
        while at < n:
            stop = _whole(equal, at, n)
            if stop - at > len(own):
                own = np.empty(2 * (stop - at), np.uint64)
            if not equal[at:stop].any():
                at = stop
                continue
            for k in range(at, stop):
                own[k - at] = alone
                if equal[k] or equal[k + 1]:
                    place = np.int64(order[k]) + known
                    own[k - at] = np.uint64(rank[place] + 1) if place < n else np.uint64(0)
            more |= _sort_groups(own, order, equal, at, stop)
            for k in range(at, stop):
                if not equal[k]:
                    group = k
                if own[k - at] != alone:
                    rank[order[k]] = group
            at = stop
        known *= 2


@njit(cache=True, nogil=True)
def _whole(equal, at, last):
    """The end of a stretch from rank ``at`` on, of a convenient length, that cuts no group of equal suffixes."""
    stop = min(at + _STRETCH, last)
    while stop < last and equal[stop]:
        stop += 1
    return stop


@njit(cache=True, nogil=True)
def _sort_groups(words, order, equal, at, stop):
    """Sort each group of equal suffixes among ranks ``at`` to ``stop`` by their words; says whether there were any."""
    begin, more = at, False
    while begin < stop:
        end = begin + 1
        while end < stop and equal[end]:
            end += 1
        if end - begin > 1:
            more = True
            _sort(words, order, at, begin - at, end - at)
            for k in range(begin + 1, end):
                equal[k] = words[k - at] == words[k - at - 1]
        begin = end
    return more


@njit(cache=True, nogil=True)
def _insert(words, order, base, low, high):
    for k in range(low + 1, high):
        word, place, j = words[k], order[base + k], k
        while j > low and words[j - 1] > word:
            words[j], order[base + j] = words[j - 1], order[base + j - 1]
            j -= 1
        words[j], order[base + j] = word, place


@njit(cache=True, nogil=True)
def _sort(words, order, base, low, high):
    """Sort ``words[low:high]``, and ``order``, from ``base`` on, with them: quicksort."""
    if high - low <= _SHORT:
        _insert(words, order, base, low, high)
        return
    lows, highs = np.empty(64, np.int64), np.empty(64, np.int64)
    lows[0], highs[0], top = low, high, 0
    draw = np.uint64(high)
    while top >= 0:
        low, high = lows[top], highs[top]
        top -= 1
        while high - low > _SHORT:
            draw = draw * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            a = words[low + np.int64((draw >> np.uint64(32)) * np.uint64(high - low) >> np.uint64(32))]
            b, c = words[(low + high) >> 1], words[high - 1]
            pivot = max(min(a, b), min(max(a, b), c))
            # Every element is moved, whether it has to be or not: a processor cannot guess which would.
            middle = low
            for k in range(low, high):
                word, place = words[k], order[base + k]
                words[k], order[base + k] = words[middle], order[base + middle]
                words[middle], order[base + middle] = word, place
                middle += word < pivot
            if middle == low:  # the pivot is the least: set aside what equals it
                for k in range(low, high):
                    word, place = words[k], order[base + k]
                    words[k], order[base + k] = words[low], order[base + low]
                    words[low], order[base + low] = word, place
                    low += word == pivot
                continue
            # The longer side waits, so that few do.
            top += 1
            if middle - low < high - middle:
                lows[top], highs[top] = middle, high
                high = middle
            else:
                lows[top], highs[top] = low, middle
                low = middle
        _insert(words, order, base, low, high)


@njit(cache=True, nogil=True)
def key_of(token, width):
    """The key of a token id: the big-endian reading of its little-endian bytes, in whose order suffixes stand."""
    if width == 1:
        return np.int64(token)
    if width == 2:
        return np.int64((token & 0xFF) << 8 | token >> 8)
    return np.int64((token & 0xFF) << 24 | (token & 0xFF00) << 8 | (token >> 8) & 0xFF00 | token >> 24)


@njit(cache=True, nogil=True)
def place_of(table, rank, width):
    """The place, in tokens, of the suffix at a rank of a table of byte places [rank, bytes of a place]."""
    place = np.int64(0)
    for b in range(table.shape[1]):
        place |= np.int64(table[rank, b]) << 8 * b
    return place >> (width >> 1)


@njit(cache=True, nogil=True)
def disorder(tokens, table, width, sample):
    """The first of ``sample`` evenly spaced ranks at which the table is not in order, or points nowhere; -1 if none."""
    n = len(tokens)
    for k in range(min(sample, n - 1)):
        rank = k * (n - 1) // min(sample, n - 1)
        a, b = place_of(table, rank, width), place_of(table, rank + 1, width)
        if a >= n or b >= n or a == b:
            return rank
        steps = 0
        while a < n and b < n and tokens[a] == tokens[b] and steps < 1000:
            a += 1
            b += 1
            steps += 1
        if b == n or (a < n and steps < 1000 and key_of(tokens[a], width) > key_of(tokens[b], width)):
            return rank
    return -1
