"""Compiled work on all cores: cut into stretches, which threads take one after the other."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import get_num_threads


def parallel_for(work: Callable, cuts: Iterable[int], *given) -> None:
    """Call ``work(*given, a, b)`` for all stretches between successive ``cuts``, on all cores.

    As many threads as numba would use, but our own, for compiled code that lets go of the
    interpreter: numba's threads would not survive a fork.
    """
    stretches = list(pairwise(map(int, cuts)))
    if len(stretches) < 2 or get_num_threads() == 1:
        for stretch in stretches:
            work(*given, *stretch)
        return
    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(lambda stretch: work(*given, *stretch), stretches))


def even(size: int, least: int = 1) -> np.ndarray:
    """Cuts of 0 to ``size`` into equal stretches, several a thread, none below ``least``."""
    parts = max(1, min(4 * get_num_threads(), size // least))
    return np.linspace(0, size, parts + 1).astype(np.int64)


def weighted(weights: np.ndarray) -> np.ndarray:
    """Cuts of ``weights`` [k] into stretches of about the same sum, several a thread."""
    sums = np.cumsum(np.append(0, weights))
    inner = np.searchsorted(sums[1:], np.linspace(0, sums[-1], 8 * get_num_threads() + 1)[1:-1])
    return np.unique([0, *inner, len(weights)])


def chunks(weights: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Stretches of ``weights`` [k] whose sum is at most ``most``, or that hold one entry."""
    begin, sums = 0, np.concatenate([[0], np.cumsum(weights)])
    while begin < len(weights):
        end = max(begin + 1, int(np.searchsorted(sums, sums[begin] + most, side="right")) - 1)
        yield begin, end
        begin = end
