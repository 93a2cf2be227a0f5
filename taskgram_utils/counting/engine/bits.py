"""Instructions on the bits of integers, and hashing: compiled."""

import numpy as np
from numba.extending import intrinsic

from taskgram_utils.compiled import njit


@intrinsic
def ones(typing_context, bits):
    """How many bits of an integer are set."""
    return bits(bits), lambda context, builder, signature, given: builder.ctpop(given[0])


@intrinsic
def byteswap(typing_context, bits):
    """An integer with its bytes in reversed order."""
    return bits(bits), lambda context, builder, signature, given: builder.bswap(given[0])


@njit(cache=True, nogil=True)
def hashed(key, size):
    """Where a key is looked for first among ``size`` places, at most 2^32: Fibonacci hashing."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    return np.int64(h * np.uint64(size) >> np.uint64(32))
