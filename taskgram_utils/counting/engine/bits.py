"""Integers as bits, compiled: how many are set, and hashing."""

from __future__ import annotations

import numpy as np
from numba.extending import intrinsic

from taskgram_utils.compiled import njit


@intrinsic
def ones(typing_context, bits):
    """How many bits of an integer are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return bits(bits), generate


@njit(cache=True, nogil=True)
def hashed(key, size):
    """Where a key is looked for first among ``size`` places, at most 2^32: Fibonacci hashing."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    return np.int64(h * np.uint64(size) >> np.uint64(32))
