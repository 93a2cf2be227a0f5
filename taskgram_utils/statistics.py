"""Holm's adjustment of p-values and split-half reliability."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from taskgram_utils.jackknife import LEAST


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's (1979) step-down adjustment (:eq:`eq-holm`) over the p's that are not null."""
    out = np.array(p, float)
    known = ~np.isnan(out)
    order = np.flatnonzero(known)[np.argsort(out[known])]
    steps = out[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return out


def split_half_reliability(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman–Brown reliability 2r / (1 + r) (:eq:`eq-reliability`), r the Spearman of two halves.

    r itself where it is not positive (the formula has no meaning there), null below 3 points or
    where one is constant.
    """
    if len(first) < LEAST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    r = float(stats.spearmanr(first, second).statistic)
    return 2 * r / (1 + r) if r > 0 else r
