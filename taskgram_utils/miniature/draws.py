"""Integer draws that give the same values on every machine and version: splitmix64 by counter, and
a permutation."""

import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), element by element."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def key(*parts: int | str) -> np.uint64:
    """A 64-bit key for a stream of draws, from integers and names."""
    state = np.zeros(1, np.uint64)
    for part in parts:
        number = zlib.crc32(part.encode()) if isinstance(part, str) else int(part)
        state = _mix((state ^ np.uint64(number & 0xFFFFFFFFFFFFFFFF)) + _GOLDEN)
    return state[0]


def bits(stream: np.uint64, index) -> np.ndarray:
    """64 random bits for each position ``index`` of a stream."""
    with np.errstate(over="ignore"):
        return _mix(stream + (np.asarray(index).astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def below(stream: np.uint64, index, total: int) -> np.ndarray:
    """Integers in [0, total), one for each position; the bias of the modulus is below total / 2^64.
    """
    return (bits(stream, index) % np.uint64(total)).astype(np.int64)


def weighted(stream: np.uint64, index, weights) -> np.ndarray:
    """Positions in ``weights`` (integers), drawn in proportion to them."""
    edges = np.cumsum(np.asarray(weights, np.int64))
    return np.searchsorted(edges, below(stream, index, int(edges[-1])), side="right")


def zipf(size: int, offset: int) -> np.ndarray:
    """Integer weights in proportion to 1 / (rank + offset), ranks from 0."""
    return 1_000_000_000 // (np.arange(size, dtype=np.int64) + offset)


def shuffled(stream: np.uint64, size: int) -> np.ndarray:
    """A random permutation of 0 … size - 1."""
    return np.argsort(bits(stream, np.arange(size)), kind="stable")


def permuted(stream: np.uint64, index, size: int) -> np.ndarray:
    """Where a random permutation of 0 … size - 1 sends ``index``, without holding the permutation.

    A four-round Feistel network on the smallest even number of bits that holds ``size``; values
    that fall outside walk on until they fall inside (Black and Rogaway 2002).
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    out = np.array(index, np.uint64)
    pending = np.ones(out.shape, bool)
    while pending.any():
        left, right = out[pending] >> half, out[pending] & mask
        for round_stream in stream + np.arange(4, dtype=np.uint64) * _GOLDEN:
            left, right = right, left ^ (_mix(right + round_stream) & mask)
        out[pending] = (left << half) | right
        pending[pending] = out[pending] >= size
    return out.astype(np.int64)
