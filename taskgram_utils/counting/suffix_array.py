"""The compiled half of the index: building, checking and searching suffix arrays, and what follows from a search.

A shard is three arrays: its tokens, its table of byte places [rank, bytes of a pointer], its document offsets in bytes.
Searches take tuples of them, one entry a shard. A *key* is a token id as the big-endian reading of its little-endian
bytes: the suffixes stand in the order of their bytes, which is the order of keys and not of ids.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def build(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """The places of the sorted suffixes of ``symbols`` (integers below ``alphabet``), a prefix before what it begins.

    SA-IS, linear in time whatever repeats (Nong, Zhang & Chan 2009, "Linear suffix array construction by almost pure
    induced-sorting").
    """
    dtype = np.int32 if len(symbols) < 1 << 30 and alphabet < 1 << 30 else np.int64
    return _sais(np.ascontiguousarray(symbols, dtype), alphabet)


def _sais(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    if len(symbols) < 2:
        return np.arange(len(symbols), dtype=symbols.dtype)
    code, lms, ends = _classify(symbols, alphabet)
    order = _induce(code, lms, ends)
    if len(lms):
        ordered, names, last = _name(code, lms, order)
        if last + 1 < len(lms):
            ordered = lms[_sais(names, last + 1)]
        order = _induce(code, ordered, ends)
    return order


@njit(cache=True, nogil=True)
def _classify(symbols, alphabet):
    """Symbols with their type in the lowest bit (1: smaller than the next suffix), the left-most of each run of type 1,
    and where the type-0 and type-1 suffixes of each symbol begin."""
    n = len(symbols)
    code = np.empty_like(symbols)
    begins = np.zeros((2, alphabet + 1), np.int64)
    rises, marked = 0, 0
    for i in range(n - 1, -1, -1):
        fell = i + 1 < n and rises == 1
        if i + 1 < n and symbols[i] != symbols[i + 1]:
            rises = 1 if symbols[i] < symbols[i + 1] else 0
        code[i] = symbols[i] * 2 + rises
        begins[rises, symbols[i]] += 1
        marked += fell and rises == 0
    lms = np.empty(marked, symbols.dtype)
    k = 0
    for i in range(1, n):
        if code[i] & 1 == 1 and code[i - 1] & 1 == 0:
            lms[k] = i
            k += 1
    at = 0
    for c in range(alphabet + 1):
        falling, rising = begins[0, c], begins[1, c]
        begins[0, c] = at
        begins[1, c] = at + falling
        at += falling + rising
    return code, lms, begins


@njit(cache=True, nogil=True)
def _induce(code, lms, begins):
    n = len(code)
    order = np.full(n, -1, code.dtype)
    at = begins[1].copy()
    for place in lms:
        c = code[place] >> 1
        order[at[c]] = place
        at[c] += 1
    at = begins[0].copy()
    c = code[n - 1] >> 1
    order[at[c]] = n - 1
    at[c] += 1
    for i in range(n):
        v = order[i]
        if v >= 1 and code[v - 1] & 1 == 0:
            c = code[v - 1] >> 1
            order[at[c]] = v - 1
            at[c] += 1
    at = begins[0].copy()
    for i in range(n - 1, -1, -1):
        v = order[i]
        if v >= 1 and code[v - 1] & 1 == 1:
            c = (code[v - 1] >> 1) + 1
            at[c] -= 1
            order[at[c]] = v - 1
    return order


@njit(cache=True, nogil=True)
def _name(code, lms, order):
    """The marked places in the order of the stretches they begin, the stretches' names in text order, the last name."""
    n, m = len(code), len(lms)
    number = np.full(n + 1, -1, code.dtype)
    for k in range(m):
        number[lms[k]] = k
    ordered = np.empty(m, code.dtype)
    k = 0
    for v in order:
        if number[v] >= 0:
            ordered[k] = v
            k += 1
    names = np.zeros(m, code.dtype)
    name = 0
    for k in range(1, m):
        a, b = ordered[k - 1], ordered[k]
        end_a = lms[number[a] + 1] if number[a] + 1 < m else n
        end_b = lms[number[b] + 1] if number[b] + 1 < m else n
        same = end_a - a == end_b - b
        if same:
            while a < end_a and code[a] == code[b]:
                a += 1
                b += 1
            same = a == end_a and a < n and b < n and code[a] >> 1 == code[b] >> 1
        name += not same
        names[number[ordered[k]]] = name
    return ordered, names, name


@njit(cache=True, nogil=True)
def _key(token, width):
    if width == 1:
        return np.int64(token)
    if width == 2:
        return np.int64((token & 0xFF) << 8 | token >> 8)
    return np.int64((token & 0xFF) << 24 | (token & 0xFF00) << 8 | (token >> 8) & 0xFF00 | token >> 24)


@njit(cache=True, nogil=True)
def _place(table, rank, width):
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
        a, b = _place(table, rank, width), _place(table, rank + 1, width)
        if a >= n or b >= n or a == b:
            return rank
        steps = 0
        while a < n and b < n and tokens[a] == tokens[b] and steps < 1000:
            a += 1
            b += 1
            steps += 1
        if b == n or (a < n and steps < 1000 and _key(tokens[a], width) > _key(tokens[b], width)):
            return rank
    return -1


@njit(cache=True, nogil=True)
def _compare(tokens, place, width, keys, begin, end):
    """-1, 0, 1: the suffix at ``place`` stands before, begins with, or stands after ``keys[begin:end]``."""
    for k in range(begin, end):
        if place >= len(tokens):
            return -1
        key = _key(tokens[place], width)
        if key != keys[k]:
            return -1 if key < keys[k] else 1
        place += 1
    return 0


@njit(cache=True, nogil=True)
def _narrow(tokens, table, width, low, high, depth, keys, begin, end):
    """The ranks in [low, high) whose suffixes, from ``depth`` tokens on, begin with ``keys[begin:end]``."""
    top = high
    while low < high:
        middle = (low + high) >> 1
        order = _compare(tokens, _place(table, middle, width) + depth, width, keys, begin, end)
        if order < 0:
            low = middle + 1
        else:
            high = middle
            if order > 0:
                top = middle
    # Most n-grams are rare: look for the upper end in growing steps from the lower.
    step, last = 1, low
    while last + step < top and (
        _compare(tokens, _place(table, last + step - 1, width) + depth, width, keys, begin, end) == 0
    ):
        last += step
        step *= 2
    high = min(top, last + step)
    while last < high:
        middle = (last + high) >> 1
        if _compare(tokens, _place(table, middle, width) + depth, width, keys, begin, end) == 0:
            last = middle + 1
        else:
            high = middle
    return low, last


@njit(cache=True, nogil=True)
def _search(tokens, table, first, width, keys, begin, end):
    if len(first) == 0:
        return _narrow(tokens, table, width, np.int64(0), np.int64(len(tokens)), 0, keys, begin, end)
    token = _key(keys[begin], width)  # its own inverse
    if keys[begin] < 0 or token >= len(first):
        return np.int64(0), np.int64(0)
    if end == begin + 1:
        return first[token, 0], first[token, 1]
    return _narrow(tokens, table, width, first[token, 0], first[token, 1], 1, keys, begin + 1, end)


@njit(cache=True, nogil=True)
def search(tokens, tables, first, width, keys, begins, ends):
    """First rank and last + 1 of the suffixes that begin with ``keys[begins[q]:ends[q]]``: [2, queries, shards]."""
    out = np.empty((2, len(begins), len(tokens)), np.int64)
    for s in range(len(tokens)):
        for q in range(len(begins)):
            out[0, q, s], out[1, q, s] = _search(tokens[s], tables[s], first[s], width, keys, begins[q], ends[q])
    return out


@njit(cache=True, nogil=True)
def infinigram(tokens, tables, first, width, keys, begins, targets, ends, total, backoff, floor):
    """∞-gram log probabilities of ``keys[targets[q]:ends[q]]``, each after all of ``keys[begins[q]:]`` before it.

    Returns for every key (0 where it is no target) the log probability, whether it never follows the longest suffix
    that occurs, and that suffix' length.
    """
    logp, zero, suffix = np.zeros(len(keys)), np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    shards = len(tokens)
    low, high = np.zeros(shards, np.int64), np.zeros(shards, np.int64)
    next_low, next_high = np.zeros(shards, np.int64), np.zeros(shards, np.int64)
    for q in range(len(begins)):
        target = targets[q]
        length, longest = 0, 0
        while longest < target - begins[q] and keys[target - longest - 1] >= 0:
            longest += 1
        while length < longest:  # a suffix of one that occurs occurs
            middle = (length + longest + 1) >> 1
            found = 0
            for s in range(shards):
                a, b = _search(tokens[s], tables[s], first[s], width, keys, target - middle, target)
                next_low[s], next_high[s] = a, b
                found += b - a
            if found > 0:
                length = middle
                low[:], high[:] = next_low, next_high
            else:
                longest = middle - 1
        for i in range(target, ends[q]):
            suffix[i] = length
            weight, p = 1.0, 0.0
            if keys[i] < 0:
                length = 0
            while keys[i] >= 0:
                joint, alone = 0, 0
                for s in range(shards):
                    if length == 0:
                        a, b = _search(tokens[s], tables[s], first[s], width, keys, i, i + 1)
                    else:
                        a, b = _narrow(tokens[s], tables[s], width, low[s], high[s], length, keys, i, i + 1)
                    next_low[s], next_high[s] = a, b
                    joint += b - a
                    alone += high[s] - low[s]
                if joint > 0:
                    p = weight * joint / (alone if length > 0 else total)
                    length += 1
                    low[:], high[:] = next_low, next_high
                    break
                if length == 0:
                    break
                length -= 1
                weight *= backoff
                if length > 0:
                    for s in range(shards):
                        low[s], high[s] = _search(tokens[s], tables[s], first[s], width, keys, i - length, i)
            zero[i] = weight < 1 or p == 0
            logp[i] = np.log(max(p, floor))
    return logp, zero, suffix


@njit(cache=True, nogil=True)
def postings(tables, offsets, hints, shifts, before, ranges, width):
    """The documents of each n-gram: where they begin [k + 1], the documents, and its occurrences in each.

    ``hints[s][place >> shifts[s]]`` is a document of the shard at or before that of the token at ``place``, not far.
    """
    queries = ranges.shape[1]
    size = (ranges[1] - ranges[0]).sum()
    documents, occurrences = np.empty(size, np.int32), np.empty(size, np.int32)
    pointers = np.zeros(queries + 1, np.int64)
    seen_at = np.full(before[-1], -1, np.int64)
    found = 0
    for q in range(queries):
        for s in range(len(tables)):
            offset, hint, shift = offsets[s], hints[s], shifts[s]
            for rank in range(ranges[0, q, s], ranges[1, q, s]):
                place = _place(tables[s], rank, width)
                d = np.int64(hint[place >> shift])
                place <<= width >> 1
                while d + 1 < len(offset) and offset[d + 1] <= place:
                    d += 1
                d += before[s]
                if seen_at[d] < pointers[q]:
                    seen_at[d] = found
                    documents[found] = d
                    occurrences[found] = 0
                    found += 1
                occurrences[seen_at[d]] += 1
        pointers[q + 1] = found
    return pointers, documents[:found].copy(), occurrences[:found].copy()


@njit(cache=True, nogil=True)
def weigh(pointers, documents, weights, half):
    """Sums of ``weights`` over each n-gram's documents, by half: [2, k]."""
    out = np.zeros((2, len(pointers) - 1), np.int64)
    for q in range(len(pointers) - 1):
        for k in range(pointers[q], pointers[q + 1]):
            out[half[documents[k]], q] += weights[k]
    return out


@njit(cache=True, nogil=True)
def intersect(pointers, documents, a, b, half):
    """How many documents the n-grams a[m] and b[m] share, by half: [2, m].

    The documents of the more frequent one are marked once for all its pairs; those of the rarer are looked up.
    """
    out = np.zeros((2, len(a)), np.int64)
    sizes = pointers[1:] - pointers[:-1]
    common = np.where(sizes[a] >= sizes[b], a, b)
    marked, mark = -1, np.full(len(half), -1, np.int32)
    for m in np.argsort(common):
        if common[m] != marked:
            marked = common[m]
            for k in range(pointers[marked], pointers[marked + 1]):
                mark[documents[k]] = marked
        rare = a[m] + b[m] - marked
        for k in range(pointers[rare], pointers[rare + 1]):
            d = documents[k]
            if mark[d] == marked:
                out[half[d], m] += 1
    return out


@njit(cache=True, nogil=True)
def product(x_pointers, x_documents, y_pointers, y_numbers, width):
    """Shared documents of every x with every y: [x, width]; the y's are given as their numbers in each document."""
    out = np.zeros((len(x_pointers) - 1, width), np.int64)
    for q in range(len(out)):
        for k in range(x_pointers[q], x_pointers[q + 1]):
            d = x_documents[k]
            for y in range(y_pointers[d], y_pointers[d + 1]):
                out[q, y_numbers[y]] += 1
    return out
