"""Suffix arrays: all suffixes of a sequence of tokens in sorted order, built and checked."""

import numpy as np
from numba import get_num_threads

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.bits import byteswap
from taskgram_utils.counting.engine.threads import parallel_for

_ROUNDS = 8  # packed words that are compared before doubling takes over
_STRETCH = 1 << 12  # ranks whose keys are fetched together, so that waits for memory overlap
_SHORT = 16  # a group of so few is sorted by insertion


def build(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """The places of the sorted suffixes of ``symbols`` (integers below ``alphabet``): int32 [n].

    A prefix comes before what it begins. Suffixes are ordered by two symbols, then by words of 64
    bits of packed symbols, each thread among its own first symbols. Longer repeats are finished by
    doubling the compared length (Larsson & Sadakane 2007, "Faster suffix sorting"), so that no
    input takes more than about n log n steps. n must be below 2^31.
    """
    symbols = np.ascontiguousarray(symbols, np.int32)
    n, packed, depth = len(symbols), 64 // max(1, int(alphabet).bit_length()), 2
    order, equal, begins = _by_two(symbols, alphabet)
    # A thread sorts whole first symbols: no group of equal suffixes crosses a cut.
    cuts = begins[np.searchsorted(begins, np.linspace(0, n, 16 * get_num_threads() + 1))]
    cuts, words = np.unique(cuts), _packed(symbols, packed)
    while depth < 2 + packed * _ROUNDS and equal.any():
        parallel_for(_sort_groups, cuts, words, depth, order, equal)
        depth += packed
    del words
    rank, moved = np.empty(n, np.int32), np.ones(n + 1, np.bool_)
    while equal.any():
        parallel_for(_rank, cuts, order, equal, moved, rank)
        moved = equal.copy()
        parallel_for(_sort_groups, cuts, rank, depth, order, equal)
        depth *= 2
    return order


@njit(cache=True, nogil=True)
def _by_two(symbols, alphabet):
    """Order suffixes by their first two symbols.

    Returns the order [n], which ranks equal the one before in both symbols [n + 1], and the first
    rank of each first symbol [alphabet + 1].
    """
    n = len(symbols)
    # Count the symbols, and sum up to where each one's ranks begin.
    begins = np.append(0, np.bincount(symbols, minlength=alphabet).cumsum())
    # Place all suffixes by their first symbol.
    free, by_one = begins.copy(), np.empty(n, np.int32)
    for i in range(n):
        by_one[free[symbols[i]]] = i
        free[symbols[i]] += 1
    # In that order, place the suffixes that begin one symbol earlier.
    free[:] = begins
    order, equal = np.empty(n, np.int32), np.zeros(n + 1, np.bool_)
    second = np.full(alphabet, -1, np.int32)  # the second symbol last seen after each first one
    for k in range(-1, n):
        i = by_one[k] if k >= 0 else n  # the last suffix has no second symbol, so it is the first
        if i > 0:
            symbol, after = symbols[i - 1], symbols[i] if i < n else -1
            rank = free[symbol]
            order[rank] = i - 1
            equal[rank] = second[symbol] == after and i < n
            second[symbol] = after
            free[symbol] += 1
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
def _rank(order, equal, moved, rank, first, last):
    """Give each suffix that a sort may have ``moved`` the first rank, from 1, of its group."""
    group = first + 1
    for k in range(first, last):
        if not equal[k]:
            group = k + 1
        if moved[k] or moved[k + 1]:
            rank[order[k]] = group


@njit(cache=True, nogil=True)
def _sort_groups(keys, depth, order, equal, first, last):
    """Sort each group of equal suffixes among ranks ``first`` to ``last`` by ``keys``.

    The key of a suffix is that of the place ``depth`` symbols after its begin, 0 beyond the end.
    """
    n, fetched = len(order), np.empty(2 * _STRETCH, np.uint64)
    begin = first
    while begin < last:
        # Take a stretch of ranks that cuts no group.
        end = min(begin + _STRETCH, last)
        while end < last and equal[end]:
            end += 1
        if end - begin > len(fetched):
            fetched = np.empty(2 * (end - begin), np.uint64)
        # Fetch the keys of all groups.
        for k in range(begin, end):
            if equal[k] or equal[k + 1]:
                place = np.int64(order[k]) + depth
                fetched[k - begin] = np.uint64(keys[place]) if place < n else np.uint64(0)
        # Sort group by group, and mark what is still equal.
        low = begin
        while low < end:
            high = low + 1
            while high < end and equal[high]:
                high += 1
            if high - low > 1:
                _sort(fetched, order, begin, low - begin, high - begin)
                for k in range(low + 1, high):
                    equal[k] = fetched[k - begin] == fetched[k - begin - 1]
            low = high
        begin = end


@njit(cache=True, nogil=True)
def _sort(keys, order, base, low, high):
    """Sort ``keys[low:high]`` by quicksort, and ``order`` from ``base`` on with them."""
    draw = np.uint64(high)
    while high - low > _SHORT:
        # The pivot is the median of a random, the middle and the last key.
        draw = draw * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        a = keys[low + np.int64((draw >> np.uint64(32)) * np.uint64(high - low) >> np.uint64(32))]
        b, c = keys[(low + high) >> 1], keys[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))
        # Every element is moved, whether it has to be or not: a branch would be guessed wrong.
        middle = low
        for k in range(low, high):
            key, place = keys[k], order[base + k]
            keys[k], order[base + k] = keys[middle], order[base + middle]
            keys[middle], order[base + middle] = key, place
            middle += key < pivot
        if middle == low:  # the pivot is the least key: set aside what equals it
            for k in range(low, high):
                key, place = keys[k], order[base + k]
                keys[k], order[base + k] = keys[low], order[base + low]
                keys[low], order[base + low] = key, place
                low += key == pivot
        elif middle - low < high - middle:  # the shorter side first: the calls nest log n deep
            _sort(keys, order, base, low, middle)
            low = middle
        else:
            _sort(keys, order, base, middle, high)
            high = middle
    # Insert the few that are left.
    for k in range(low + 1, high):
        key, place, j = keys[k], order[base + k], k
        while j > low and keys[j - 1] > key:
            keys[j], order[base + j] = keys[j - 1], order[base + j - 1]
            j -= 1
        keys[j], order[base + j] = key, place


@njit(cache=True, nogil=True)
def key_of(token, width):
    """The key of a token id: its little-endian bytes read as big-endian, the order of suffixes."""
    return np.int64(byteswap(np.uint32(token)) >> np.uint32(32 - 8 * width))


@njit(cache=True, nogil=True)
def place_of(table, rank, width):
    """The place, in tokens, of the suffix at a rank of a table of byte places [n, bytes]."""
    place = np.int64(0)
    for b in range(table.shape[1]):
        place |= np.int64(table[rank, b]) << 8 * b
    return place >> (width >> 1)


@njit(cache=True, nogil=True)
def disorder(tokens, table, width, sample):
    """The first of ``sample`` evenly spaced ranks that is out of order or no place; -1 if none."""
    n = len(tokens)
    for k in range(min(sample, n - 1)):
        rank = k * (n - 1) // min(sample, n - 1)
        a, b = place_of(table, rank, width), place_of(table, rank + 1, width)
        if a >= n or b >= n or a == b:
            return rank
        # Compare the suffix with the next one up to where they differ, or for 1,000 tokens.
        steps = 0
        while a < n and b < n and tokens[a] == tokens[b] and steps < 1000:
            a += 1
            b += 1
            steps += 1
        differ = a < n and b < n and steps < 1000
        if b == n or (differ and key_of(tokens[a], width) > key_of(tokens[b], width)):
            return rank
    return -1
