"""Searching suffix arrays, whole batches of n-grams in step.

A shard is its tokens, its table of byte places [rank, bytes of a pointer] and the ranks of each first token. A *key* is
a token id as the big-endian reading of its little-endian bytes: the suffixes stand in the order of their bytes, which
is the order of keys and not of ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.shards import Shard, swapped
from taskgram_utils.counting.engine.suffix_array import key_of, place_of
from taskgram_utils.counting.engine.threads import even, spread

_STEP = 32  # n-grams searched at once: while one waits for memory, the others ask for theirs
END = -2  # the key behind the last token: below all others, and below that of an unknown one


def search(shards: Sequence[Shard], keys: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """First rank and last + 1 of the suffixes that begin with ``keys[begins[q]:ends[q]]``: [2, shards, queries].

    A negative key stands for an unknown token and is found nowhere.
    """
    out = np.zeros((2, len(shards), len(begins)), np.int64)
    asked = np.flatnonzero(ends > begins)
    asked = asked[np.argsort(keys[begins[asked]])]  # neighbours in the table are searched together
    begins, ends = begins[asked], ends[asked]
    first = keys[begins]
    for s, shard in enumerate(shards):
        low, high = np.zeros(len(asked), np.int64), np.full(len(asked), len(shard.tokens))
        depth = np.zeros(len(asked), np.int64)
        if len(shard.first):
            tokens = swapped(first, shard.width)  # its own inverse
            inside = (first >= 0) & (tokens < len(shard.first))
            low[inside], high[inside] = shard.first[tokens[inside]].T
            high[~inside] = 0
            depth += 1
        narrow(shard, keys, begins, ends, depth, low, high)
        out[0, s, asked], out[1, s, asked] = low, high
    return out


def infinigram(
    shards: Sequence[Shard], keys: np.ndarray, begins: np.ndarray, targets: np.ndarray, ends: np.ndarray,
    total: int, backoff: float, floor: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """∞-gram log probabilities of ``keys[targets[q]:ends[q]]``, each after all of ``keys[begins[q]:]`` before it.

    Returns for every key (0 where it is no target) the log probability, whether it never follows the longest suffix
    that occurs, and that suffix' length.
    """
    logp, zero, suffix = np.zeros(len(keys)), np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    places = np.arange(len(keys) + 1)
    known = np.maximum.accumulate(np.where(np.append(False, keys < 0), places, 0))  # behind the last unknown token
    q = np.flatnonzero(ends > targets)
    now = targets[q]
    length, ranges = _longest(shards, keys, np.maximum(begins[q], known[now]), now, now)
    while len(q):
        # The longest suffix that the token follows, one of those of the longest that occurs: then it occurs with it.
        suffix[now], read = length, keys[now] >= 0
        follows = ranges.copy()
        for s, shard in enumerate(shards):
            narrow(shard, keys, now - length, now + 1, length, *follows[:, s])
        found, rest = length.copy(), np.flatnonzero((_sizes(follows) == 0) | ~read | (length == 0))
        begin = (now - np.maximum(length - 1, 0) * read)[rest]
        found[rest], follows[:, :, rest] = _longest(shards, keys, begin, now[rest], now[rest] + 1)
        first = np.flatnonzero(read & (found == 0))
        follows[:, :, first] = search(shards, keys, now[first], now[first] + 1)
        shorter = np.flatnonzero(found < length)
        ranges[:, :, shorter] = search(shards, keys, (now - found)[shorter], now[shorter])
        joint, alone = _sizes(follows), np.where(found > 0, _sizes(ranges), max(total, 1))
        zero[now] = (found < length) | (joint == 0)
        logp[now] = np.log(np.maximum(backoff ** (length - found) * joint / alone, floor))
        more = now + 1 < ends[q]
        length, ranges = np.where(joint > 0, found + 1, 0)[more], follows[:, :, more]
        now, q = now[more] + 1, q[more]
    return logp, zero, suffix


def _sizes(ranges: np.ndarray) -> np.ndarray:
    return (ranges[1] - ranges[0]).sum(axis=0)


def _longest(shards, keys, begins, at, ends) -> tuple[np.ndarray, np.ndarray]:
    """The largest k, from 1 to ``at - begins``, for which ``keys[at - k:ends]`` occurs, and its ranges; 0 and empty
    ones where none does."""
    least, most = np.zeros(len(at), np.int64), at - begins
    ranges = np.zeros((2, len(shards), len(at)), np.int64)
    probe = most.copy()  # the whole first, since texts often stand in the corpus as they are; then the few
    while len(active := np.flatnonzero(least < most)):
        tried = probe[active]
        found = search(shards, keys, at[active] - tried, ends[active])
        occurs = _sizes(found) > 0
        least[active[occurs]], ranges[:, :, active[occurs]] = tried[occurs], found[:, :, occurs]
        most[active[~occurs]] = tried[~occurs] - 1
        probe = np.minimum(np.maximum(2, 2 * least), (least + most + 1) >> 1)
    return least, ranges


def narrow(shard: Shard, keys, begins, ends, depth, low, high) -> None:
    """Narrow ranks ``low[q]`` ... ``high[q]``, whose suffixes begin with ``depth[q]`` keys, to those with all."""

    def part(a, b):
        asked = keys, begins[a:b], ends[a:b]
        _enclose(shard.sample, shard.shift, shard.width, *asked, low[a:b], high[a:b])
        _narrow(shard.tokens, shard.table, shard.width, *asked, depth[a:b], low[a:b], high[a:b])

    spread(part, even(len(begins), 2048))


@njit(cache=True, nogil=True)
def _enclose(sample, shift, width, keys, begins, ends, low, high):
    """Narrow the ranks as far as the sampled suffixes tell: what is left begins and ends between two of them."""
    bits, size = np.uint64(8 * width), 8 // width
    one = np.int64(1)
    for q in range(len(begins)):
        begin, end = (low[q] + (one << shift) - 1) >> shift, (high[q] + (one << shift) - 1) >> shift
        if begin >= min(end, len(sample)):
            continue
        least, most = np.uint64(0), np.uint64(0)
        for k in range(begins[q], begins[q] + size):
            least, most = least << bits, most << bits
            if k < ends[q]:
                least, most = least | np.uint64(keys[k]), most | np.uint64(keys[k])
            else:
                most |= (np.uint64(1) << bits) - np.uint64(1)
        left, right = begin, end
        while left < right:
            middle = (left + right) >> 1
            if sample[middle] < least:
                left = middle + 1
            else:
                right = middle
        if left > begin:
            low[q] = ((left - 1) << shift) + 1
        right = end
        while left < right:
            middle = (left + right) >> 1
            if sample[middle] <= most:
                left = middle + 1
            else:
                right = middle
        if left < end:
            high[q] = left << shift


@njit(cache=True, nogil=True)
def _narrow(tokens, table, width, keys, begins, ends, depth, low, high):
    n = len(tokens)
    left, right, top = np.empty(_STEP, np.int64), np.empty(_STEP, np.int64), np.empty(_STEP, np.int64)
    places, heads, active = np.empty(_STEP, np.int64), np.empty(_STEP, np.int64), np.empty(_STEP, np.int64)
    for base in range(0, len(begins), _STEP):
        size = min(_STEP, len(begins) - base)
        for upper in range(2):  # the lower ends of all, then the upper ends
            count = 0
            for i in range(size):
                q = base + i
                if begins[q] + depth[q] < ends[q] and low[q] < high[q]:
                    left[i], right[i], top[i] = low[q], high[q], high[q]
                    active[count] = i
                    count += 1
            while count > 0:
                for j in range(count):
                    i = active[j]
                    places[j] = place_of(table, (left[i] + right[i]) >> 1, width) + depth[base + i]
                for j in range(count):
                    heads[j] = key_of(tokens[places[j]], width) if places[j] < n else END
                kept = 0
                for j in range(count):
                    i, place, head = active[j], places[j], heads[j]
                    k, end, middle = begins[base + i] + depth[base + i], ends[base + i], (left[i] + right[i]) >> 1
                    while head == keys[k]:
                        k, place = k + 1, place + 1
                        if k == end:
                            break
                        head = key_of(tokens[place], width) if place < n else END
                    if k == end:  # begins with the keys
                        if upper == 0:
                            right[i] = middle
                        else:
                            left[i] = middle + 1
                    elif head < keys[k]:
                        left[i] = middle + 1
                    else:
                        right[i] = middle
                        if upper == 0:
                            top[i] = middle
                    active[kept] = i
                    kept += left[i] < right[i]
                count = kept
            for i in range(size):
                q = base + i
                if begins[q] + depth[q] < ends[q] and low[q] < high[q]:
                    if upper == 0:
                        low[q], high[q] = left[i], max(left[i], top[i])
                    else:
                        high[q] = left[i]
