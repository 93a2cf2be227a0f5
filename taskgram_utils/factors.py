"""Points that depend on one another: blocks of neighbours, and means of factors taken out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from taskgram_utils.compiled import njit
from taskgram_utils.errors import require


def blocks(series: Sequence, position: Sequence[int], length: int) -> np.ndarray:
    """The block [N] that each point of a running series belongs to, as ``series:block``: the
    clusters of a jackknife, for neighbours depend on one another. Positions ``length`` apart, from
    the series' first; what is left at its end, less than half a block, belongs to the block before.
    """
    whole = length >= 1 and length == int(length)
    require(whole, f"block length {length}: a whole number, at least 1")
    at = np.asarray(position, float)
    known = not pd.isna(np.asarray(series, object)).any() and np.isfinite(at).all()
    require(known, "blocks: a point without its series or its position")
    table = pd.DataFrame({"series": np.asarray(series, object), "at": at.astype(np.int64)})
    by_series = table.groupby("series")["at"]
    from_first = table["at"] - by_series.transform("min")
    whole = (by_series.transform("max") - by_series.transform("min") + 1 + length // 2) // length
    block = np.minimum(from_first // length, np.maximum(whole - 1, 0))
    return (table["series"].astype(str) + ":" + block.astype(str)).to_numpy(object)


def without_means(
    values: np.ndarray, factors: Sequence[np.ndarray], weights: np.ndarray | None = None
) -> np.ndarray:
    """What the least-squares fit of a mean for each level of one or two ``factors`` leaves of
    ``values`` [V, N] (:eq:`eq-centring`).

    A factor is a label or code [N] for each point. With two, of a table that has every level of one
    with every level of the other, that is double centring; of log counts, then, pointwise mutual
    information up to what the marginals say. ``weights`` [N] weight the fit. Raises InputError for
    other lengths or numbers of factors, and for values that are not finite.
    """
    weights = np.ones(values.shape[1]) if weights is None else weights
    sizes = {len(one) for one in (*factors, weights)}
    many = values.shape[1]
    require(sizes == {many}, f"means: factors and weights of {sizes} points for {many} values")
    require(len(factors) in (1, 2), f"means: one or two factors, not {len(factors)}")
    require(np.isfinite(values).all(), "means cannot be taken out of values that are not finite")
    codes = [np.unique(factor, return_inverse=True)[1] for factor in factors]
    # The factor with fewer levels second: its means are solved for, those of the first follow.
    codes.sort(key=lambda code: -code.max())
    left = np.array(values, float)
    if len(codes) == 2:
        first, second = codes
        rows, columns = first.max() + 1, second.max() + 1
        met = np.bincount(first * columns + second, weights, rows * columns).reshape(rows, columns)
        by_row = met.sum(axis=1, keepdims=True)
        share = met / np.where(by_row > 0, by_row, 1)
        within = left.copy()
        _take_means(within, first, rows, weights)
        sums = np.stack([np.bincount(second, weights * row, columns) for row in within])
        normal = np.diag(met.sum(axis=0)) - met.T @ share
        left -= (sums @ np.linalg.pinv(normal, rcond=1e-12, hermitian=True))[:, second]
    _take_means(left, codes[0], codes[0].max() + 1, weights)
    return left


@njit(cache=True)
def _take_means(values, code, factors, w):
    """Take the weighted mean of each factor's points out of the values, in place."""
    total = np.zeros(factors)
    for i in range(len(w)):
        total[code[i]] += w[i]
    for v in range(values.shape[0]):
        mean = np.zeros(factors)
        for i in range(len(w)):
            mean[code[i]] += w[i] * values[v, i]
        for i in range(len(w)):
            if total[code[i]] > 0:
                values[v, i] -= mean[code[i]] / total[code[i]]
