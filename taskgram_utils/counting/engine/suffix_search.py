"""Searching suffix arrays, whole batches of n-grams in step; ∞-gram probabilities.

A *key* is a token id as the big-endian reading of its little-endian bytes: suffixes are sorted by
their bytes, which is the order of keys and not of ids. A *range* is the first rank and the last + 1
of the suffixes that begin with an n-gram; its size is how often the n-gram occurs.
"""

from collections.abc import Sequence

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.shards import Shard
from taskgram_utils.counting.engine.suffix_array import key_of, place_of
from taskgram_utils.counting.engine.threads import even, parallel_for

_STEP = 32  # n-grams searched at once: while one waits for memory, the others ask for theirs
END = -2  # the key behind the last token: below all others, and below that of an unknown one


def search(shards: Sequence[Shard], keys, begins, ends) -> np.ndarray:
    """The ranges of the n-grams ``keys[begins[q]:ends[q]]``: int64 [2, shards, queries].

    A negative key is an unknown token, which occurs nowhere.
    """
    ranges = np.zeros((2, len(shards), len(begins)), np.int64)
    queries = np.flatnonzero(ends > begins)
    packed = _packed(keys, begins[queries], ends[queries], shards[0].width)
    queries = queries[np.argsort(packed[0])]  # neighbours in the table are searched together
    begins, ends = begins[queries], ends[queries]
    for s, shard in enumerate(shards):
        low, high = np.zeros(len(queries), np.int64), np.full(len(queries), len(shard.tokens))
        narrow(shard, keys, begins, ends, np.zeros(len(queries), np.int64), low, high)
        ranges[:, s, queries] = low, high
    return ranges


def _packed(keys, begins, ends, width) -> np.ndarray:
    """The first keys of n-grams in 64 bits, filled up with the lowest and the highest key."""
    least, most = np.zeros((2, len(begins)), np.uint64)
    for k in range(8 // width):
        inside = begins + k < ends
        key = keys[np.where(inside, begins + k, 0)].astype(np.uint64)
        least = least << 8 * width | np.where(inside, key, 0)
        most = most << 8 * width | np.where(inside, key, (1 << 8 * width) - 1)
    return least, most


def infinigram(
    shards: Sequence[Shard], keys, begins, targets, ends, total: int, backoff: float, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """∞-gram log probabilities of ``keys[targets[q]:ends[q]]``, each after ``keys[begins[q]:]``.

    P(t | c) = C(c' t) / C(c') with c' the longest suffix of the context c that occurs (Liu et al.
    2024, infini-gram); C of nothing is ``total``. Where t never follows c', each token by which c'
    is shortened costs a factor ``backoff``; P is at least ``floor``. Returns for every key (0 where
    it is no target) log P, whether it never follows c', and the length of c'.
    """
    logp, (zero, suffix) = np.zeros(len(keys)), np.zeros((2, len(keys)), np.int64)
    # No suffix that occurs reaches over an unknown token: where the suffix of each place may begin.
    places = np.arange(len(keys) + 1)
    earliest = np.maximum.accumulate(np.where(np.append(False, keys < 0), places, 0))
    q = np.flatnonzero(ends > targets)
    now = targets[q]  # all queries go on token by token, in step
    length, ranges = _longest(shards, keys, np.maximum(begins[q], earliest[now]), now, now)
    while len(q):
        suffix[now], known = length, keys[now] >= 0
        # The longest suffix with the token behind it, where it occurs.
        follows = ranges.copy()
        for s, shard in enumerate(shards):
            narrow(shard, keys, now - length, now + 1, length, *follows[:, s])
        # Elsewhere the longest shorter suffix that the token follows, or the token alone.
        used, rest = length.copy(), np.flatnonzero((_sizes(follows) == 0) | ~known | (length == 0))
        first = (now - np.maximum(length - 1, 0) * known)[rest]
        used[rest], follows[:, :, rest] = _longest(shards, keys, first, now[rest], now[rest] + 1)
        alone = np.flatnonzero(known & (used == 0))
        follows[:, :, alone] = search(shards, keys, now[alone], now[alone] + 1)
        shorter = np.flatnonzero(used < length)
        ranges[:, :, shorter] = search(shards, keys, (now - used)[shorter], now[shorter])
        joint, context = _sizes(follows), np.where(used > 0, _sizes(ranges), max(total, 1))
        zero[now] = (used < length) | (joint == 0)
        logp[now] = np.log(np.maximum(backoff ** (length - used) * joint / context, floor))
        # The suffix with its token is the longest one before the next token.
        more = now + 1 < ends[q]
        length, ranges = np.where(joint > 0, used + 1, 0)[more], follows[:, :, more]
        now, q = now[more] + 1, q[more]
    return logp, zero, suffix


def _sizes(ranges: np.ndarray) -> np.ndarray:
    return (ranges[1] - ranges[0]).sum(axis=0)


def _longest(shards, keys, begins, middles, ends) -> tuple[np.ndarray, np.ndarray]:
    """The largest k, up to ``middles - begins``, for which ``keys[middles - k:ends]`` occurs.

    Returns k and the ranges; 0 and empty ranges where no k above 0 does.
    """
    least, most = np.zeros(len(begins), np.int64), middles - begins
    ranges = np.zeros((2, len(shards), len(begins)), np.int64)
    probe = most.copy()  # the whole first, since a text is often in the corpus; then a few tokens
    while len(active := np.flatnonzero(least < most)):
        tried = probe[active]
        found = search(shards, keys, middles[active] - tried, ends[active])
        occurs = _sizes(found) > 0
        least[active[occurs]], ranges[:, :, active[occurs]] = tried[occurs], found[:, :, occurs]
        most[active[~occurs]] = tried[~occurs] - 1
        probe = np.minimum(np.maximum(2, 2 * least), (least + most + 1) >> 1)
    return least, ranges


def narrow(shard: Shard, keys, begins, ends, depth, low, high) -> None:
    """Narrow the ranges ``low[q]`` to ``high[q]``, in place, to ``keys[begins[q]:ends[q]]``.

    The suffixes in a range begin with the first ``depth[q]`` of these keys already.
    """
    if len(shard.sample):  # a range begins and ends just before one of these samples
        least, most = _packed(keys, begins, ends, shard.width)
        first = (np.searchsorted(shard.sample, least) - 1 << shard.shift) + 1
        last = np.searchsorted(shard.sample, most, side="right") << shard.shift
        np.maximum(low, first, out=low)
        np.maximum(low, np.minimum(high, last), out=high)

    parallel_for(_narrow, even(len(begins), 2048), shard, keys, begins, ends, depth, low, high)


@njit(cache=True, nogil=True)
def _narrow(shard, keys, begins, ends, depth, low, high, first, last):
    """:func:`narrow` by bisection, ``_STEP`` of the queries ``first`` to ``last`` side by side."""
    tokens, table, _, width, _, _, _ = shard
    n = len(tokens)
    left, right = np.empty(_STEP, np.int64), np.empty(_STEP, np.int64)
    places, heads = np.empty(_STEP, np.int64), np.empty(_STEP, np.int64)
    active = np.empty(_STEP, np.int64)
    for base in range(first, last, _STEP):
        for upper in range(2):  # the lower ends of all ranges, then the upper ends
            count = 0
            for q in range(base, min(base + _STEP, last)):
                if begins[q] + depth[q] < ends[q] and low[q] < high[q]:
                    left[q - base], right[q - base] = low[q], high[q]
                    active[count] = q
                    count += 1
            while count > 0:
                # Ask for the places of all middle ranks, then for their first tokens.
                for j in range(count):
                    q = active[j]
                    middle = (left[q - base] + right[q - base]) >> 1
                    places[j] = place_of(table, middle, width) + depth[q]
                for j in range(count):
                    heads[j] = key_of(tokens[places[j]], width) if places[j] < n else END
                unfinished = 0
                for j in range(count):
                    # Compare a suffix with its n-gram, from ``depth`` on.
                    q, place, head = active[j], places[j], heads[j]
                    i, k, end = q - base, begins[q] + depth[q], ends[q]
                    while head == keys[k]:
                        k, place = k + 1, place + 1
                        if k == end:
                            break
                        head = key_of(tokens[place], width) if place < n else END
                    # Halve the range; a suffix above the n-gram bounds the upper end, too.
                    middle = (left[i] + right[i]) >> 1
                    equal = k == end
                    if (equal and upper == 1) or (not equal and head < keys[k]):
                        left[i] = middle + 1
                    else:
                        right[i] = middle
                        if upper == 0 and not equal:
                            high[q] = middle
                    # Write down the end as far as it is known, and go on unless it is found.
                    (low, high)[upper][q] = left[i]
                    active[unfinished] = q
                    unfinished += left[i] < right[i]
                count = unfinished
