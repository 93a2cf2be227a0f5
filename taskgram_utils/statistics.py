"""Correlation of points that depend on one another twice, by example and by output: intervals, tests, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_utils.compiled import njit
from taskgram_utils.errors import require

MEASURES = ("spearman", "pearson", "kendall_distance")
SHARED_OUTPUTS = 0.05  # From this share of points on, outputs are resampled beside examples.
FEWEST = 3  # Points for an estimate, examples for an interval.


class Ask(NamedTuple):
    """One number wanted: ``measure`` of the rows ``a`` and ``b`` of a matrix of values, given the rows ``given``."""

    measure: str
    a: int
    b: int
    given: tuple[int, ...] = ()


class Answer(NamedTuple):
    """``estimate`` with its 95% percentile interval, p and bootstrap draws; null ones are explained in ``reason``."""

    estimate: float
    low: float
    high: float
    p: float
    draws: np.ndarray
    reason: str | None


class Clusters(NamedTuple):
    """To which example and which output each point belongs (codes into hashed keys), and whether outputs count."""

    example: np.ndarray
    example_keys: np.ndarray
    output: np.ndarray
    output_keys: np.ndarray
    two_way: bool


def clusters(examples: Sequence, outputs: Sequence | None = None) -> Clusters:
    """Cluster codes of N points. Two-way where at least 5% of the points share their output with another example."""
    keys, example = np.unique(_hashed(examples), return_inverse=True)
    if outputs is None:
        return Clusters(example, keys, example, keys, False)
    output_keys, output = np.unique(_hashed(outputs), return_inverse=True)
    cells = np.unique(np.stack([output, example]), axis=1)
    shared = np.bincount(cells[0], minlength=len(output_keys))[output] > 1
    return Clusters(example, keys, output, output_keys, len(shared) > 0 and bool(shared.mean() >= SHARED_OUTPUTS))


def blocks(series: Sequence, position: Sequence[int], length: int) -> np.ndarray:
    """The block [N] that each point of a running series belongs to, as ``series:block``: the examples of a block
    bootstrap, for neighbours depend on one another. Positions ``length`` apart, from the series' first; what is left at
    its end, less than half a block, belongs to the block before."""
    require(length >= 1 and length == int(length), f"block length {length}: a whole number, at least 1")
    at = np.asarray(position, float)
    known = not pd.isna(np.asarray(series, object)).any() and np.isfinite(at).all()
    require(known, "blocks: a point without its series or its position")
    table = pd.DataFrame({"series": np.asarray(series, object), "at": at.astype(np.int64)})
    by_series = table.groupby("series")["at"]
    from_first = table["at"] - by_series.transform("min")
    whole = (by_series.transform("max") - by_series.transform("min") + 1 + length // 2) // length
    block = np.minimum(from_first // length, np.maximum(whole - 1, 0))
    return (table["series"].astype(str) + ":" + block.astype(str)).to_numpy(object)


def without_means(values: np.ndarray, factors: Sequence[np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """What the least-squares fit of a mean for each level of one or two ``factors`` leaves of ``values`` [V, N].

    A factor is a label or code [N] for each point. With two, of a table that has every level of one with every level
    of the other, that is double centring; of log counts, then, pointwise mutual information up to what the marginals
    say. ``weights`` [N] weight the fit. Raises InputError for other lengths or numbers of factors, and for values that
    are not finite.
    """
    weights = np.ones(values.shape[1]) if weights is None else weights
    sizes = {len(one) for one in (*factors, weights)}
    require(sizes == {values.shape[1]}, f"means: factors and weights of {sizes} points for {values.shape[1]} values")
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
        share = np.divide(met, met.sum(axis=1, keepdims=True), where=met.sum(axis=1, keepdims=True) > 0,
                          out=np.zeros_like(met))  # fmt: skip
        within = left.copy()
        _take_means(within, first, rows, weights)
        sums = np.stack([np.bincount(second, weights * row, columns) for row in within])
        normal = np.diag(met.sum(axis=0)) - met.T @ share
        left -= (sums @ np.linalg.pinv(normal, rcond=1e-12, hermitian=True))[:, second]
    _take_means(left, codes[0], codes[0].max() + 1, weights)
    return left


def draw_weights(points: Clusters, draw: int, seed: int = 0) -> np.ndarray:
    """Weights [N] of one bootstrap draw: exponential per example, times exponential per output where two-way.

    Product weights of Owen and Eckles (2012, Annals of Applied Statistics 6:895). A cluster's weight depends on its
    name, the draw and the seed alone, so draws are the same across models, n's, language models and calls.
    """
    weights = _exponential(points.example_keys, 2 * draw, seed)[points.example]
    if points.two_way:
        weights = weights * _exponential(points.output_keys, 2 * draw + 1, seed)[points.output]
    return weights


def correlation_draws(
    values: np.ndarray, points: Clusters, draws: int = 2000, seed: int = 0, ranks: bool = True,
    without: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Correlation matrices [1 + draws, V, V] of ``values`` [V, N]: unweighted first, then one per bootstrap draw.

    Spearman where ``ranks`` (ranks are taken anew within each draw, mid-ranks of the weighted sample), else Pearson.
    Row and column of a constant variable are 0. ``without``: factors whose means :func:`without_means` takes out of
    the values before, anew within each draw.
    """
    variables, n = values.shape
    order, tied, varies = _ordered(values)
    out = np.empty((1 + draws, variables, variables))
    scores = np.empty((variables, n))
    for draw in range(1 + draws):
        weights = draw_weights(points, draw - 1, seed) if draw else np.ones(n)
        left = _left(values, without, weights) if without else values
        if without:
            order, tied, varies = _ordered(left)
        if ranks:
            _rank_scores(order, tied, weights, np.sqrt(weights), scores)
        else:
            centred = left - (left @ weights / weights.sum())[:, None]
            scores = centred * np.sqrt(weights)
        gram = scores @ scores.T
        scale = np.sqrt(np.where(varies, np.diag(gram), np.inf))
        out[draw] = gram / scale[:, None] / scale
    return np.clip(out, -1, 1)


def partial_correlation(matrices: np.ndarray, a: int, b: int, given: Sequence[int] = ()) -> np.ndarray:
    """Partial correlation of a and b given the others, from correlation matrices [..., V, V]; null where they leave
    nothing of a or b. A constant or repeated control changes nothing."""
    if not given:
        return matrices[..., a, b]
    left = _residual(matrices, [a, b], list(given))
    spread = left[..., 0, 0] * left[..., 1, 1]
    enough = (left[..., 0, 0] > 1e-9) & (left[..., 1, 1] > 1e-9)
    return np.clip(left[..., 0, 1] / np.sqrt(np.where(enough, spread, np.nan)), -1, 1)


def r_squared(matrices: np.ndarray, y: int, given: Sequence[int]) -> np.ndarray:
    """Share of the variance of y that the least-squares fit on ``given`` takes up, from matrices [..., V, V]."""
    return 1 - _residual(matrices, [y], list(given))[..., 0, 0]


def associations(
    values: np.ndarray,
    asks: Sequence[Ask],
    points: Clusters,
    draws: int = 2000,
    seed: int = 0,
    names: Sequence[str] | None = None,
    without: Sequence[np.ndarray] = (),
    flips: int | None = None,
) -> list[Answer]:
    """Estimate, interval and p for every ask over ``values`` [V, N] (no nulls), all on the same draws.

    Percentile intervals of the bootstrap of :func:`draw_weights`; p from :func:`sign_flip_p`. The measures:
    ``spearman`` and ``pearson`` (partial where ``given``), ``kendall_distance`` = (1 - tau_b) / 2, whose p tests
    tau_b = 0. Fewer than 3 points or a constant variable give null, fewer than 3 examples no interval. ``without``:
    factors (labels [N]) whose means are taken out of the values first, anew within each draw. ``flips`` of signs for
    p (default: as many as draws) bound how small it can be.
    """
    names = names or [f"variable {i}" for i in range(len(values))]
    kendall = any(ask.measure == "kendall_distance" for ask in asks)
    require(not (without and kendall), "kendall_distance: not defined here with means taken out")
    without = [np.unique(factor, return_inverse=True)[1] for factor in without]
    whole = _left(values, without, np.ones(values.shape[1])) if without else values
    beyond = " but for the means taken out" if without else ""
    reasons = [_reason(ask, whole, names, beyond) for ask in asks]
    replicates = np.full((len(asks), 1 + draws), np.nan)
    contributions = np.zeros((len(asks), values.shape[1]))
    for measure in MEASURES:
        chosen = [i for i, ask in enumerate(asks) if ask.measure == measure and reasons[i] is None]
        if measure == "kendall_distance":
            for i in chosen:
                a, b = values[asks[i].a], values[asks[i].b]
                replicates[i] = (1 - _tau_draws(a, b, points, draws, seed)) / 2
                agreement = _concordances(a, b)
                # A pair belongs to two points: jackknife pseudo-values have the same sum and the right spread.
                contributions[i] = 2 * agreement - agreement.mean()
        elif chosen:
            used = sorted({v for i in chosen for v in (asks[i].a, asks[i].b, *asks[i].given)})
            place = {v: k for k, v in enumerate(used)}
            scores = values[used]
            matrices = correlation_draws(scores, points, draws, seed, ranks=measure == "spearman", without=without)
            scores = whole[used]
            scores = stats.rankdata(scores, axis=1) if measure == "spearman" else scores
            scores = scores - scores.mean(axis=1, keepdims=True)
            for i in chosen:
                a, b, given = place[asks[i].a], place[asks[i].b], [place[v] for v in asks[i].given]
                replicates[i] = partial_correlation(matrices, a, b, given)
                contributions[i] = np.prod(_residual_scores(scores, [a, b], given), axis=0)
                if np.isnan(replicates[i, 0]):
                    reasons[i] = f"the controls leave nothing of {names[asks[i].a]} or {names[asks[i].b]}"
    valid = np.array([reason is None for reason in reasons], bool)
    p = np.full(len(asks), np.nan)
    if valid.any():
        p[valid] = sign_flip_p(contributions[valid], points, draws if flips is None else flips, seed)
    if len(points.example_keys) < FEWEST:
        replicates[:, 1:] = np.nan
        reasons = [reason or f"fewer than {FEWEST} examples: no interval" for reason in reasons]
    return [Answer(r[0], *interval(r[1:]), p[i], r[1:], reasons[i]) for i, r in enumerate(replicates)]


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws [B]; null where draws are null."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]) if len(draws) else (np.nan, np.nan)
    return float(low), float(high)


def sign_flip_p(contributions: np.ndarray, points: Clusters, flips: int = 2000, seed: int = 0) -> np.ndarray:
    """Two-sided p [R] of the sums of score contributions [R, N] being 0: the larger of two, by example and by output.

    Contributions are summed within clusters and the sums' signs flipped at random: p = (1 + hits) / (1 + flips), null
    without flips.
    """
    if flips == 0:
        return np.full(len(contributions), np.nan)
    total = np.abs(contributions.sum(axis=1))
    worst = np.zeros(len(contributions))
    for codes, keys in {id(c): (c, k) for c, k in zip(points[::2], points[1::2], strict=False)}.values():
        sums = np.stack([np.bincount(codes, weights=row, minlength=len(keys)) for row in contributions], axis=1)
        tolerance = 1e-9 * np.abs(sums).sum(axis=0)
        rng, hits, done = np.random.default_rng(seed), np.zeros(len(contributions)), 0
        while done < flips:
            block = min(256, flips - done)
            signs = rng.integers(0, 2, (block, len(keys)), np.int8) * 2.0 - 1.0
            hits += (np.abs(signs @ sums) >= total - tolerance).sum(axis=0)
            done += block
        worst = np.maximum(worst, (1 + hits) / (1 + flips))
    return worst


def two_sided_p(draws: np.ndarray) -> float:
    """p that inverts the percentile interval: twice the smaller share of draws beyond 0, null where draws are null."""
    if not len(draws) or np.isnan(draws).any():
        return np.nan
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    return float(min(1.0, 2 * (1 + tail) / (1 + len(draws))))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's (1979) step-down adjustment over the p's that are not null."""
    p = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return out


def split_half_reliability(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman–Brown reliability 2r / (1 + r) from the Spearman r of two halves' scores.

    r itself where it is not positive (the formula has no meaning there), null below 3 points or where one is constant.
    """
    if len(first) < FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    r = float(stats.spearmanr(first, second).statistic)
    return 2 * r / (1 + r) if r > 0 else r


def _reason(ask: Ask, values: np.ndarray, names: Sequence[str], beyond: str = "") -> str | None:
    require(ask.measure in MEASURES, f"measure {ask.measure}: not one of {', '.join(MEASURES)}")
    if values.shape[1] < FEWEST:
        return f"fewer than {FEWEST} points"
    for v in (ask.a, ask.b):
        if values[v].min() == values[v].max():
            return f"{names[v]} is constant{beyond}"
    for v in (ask.a, ask.b, *ask.given):
        if ask.measure == "pearson" and not np.isfinite(values[v]).all():
            return f"{names[v]} has infinite values"
    return None


def _ordered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order [V, N] of each variable, which places of it are tied with the next, and which variables [V] vary."""
    order = np.argsort(values, axis=1, kind="stable").astype(np.int32)
    ordered = np.take_along_axis(values, order, axis=1)
    tied = np.zeros(values.shape, bool)
    tied[:, :-1] = ordered[:, 1:] == ordered[:, :-1]
    return order, tied, ordered[:, 0] != ordered[:, -1]


def _left(values: np.ndarray, factors: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """:func:`without_means` in units of each variable's range, rounded: equal values are equal in floating point too,
    and of a variable that is nothing but means no noise is left."""
    spread = np.ptp(values, axis=1, keepdims=True)
    left = without_means(values, factors, weights)
    return np.round(left / np.where(spread > 0, spread, 1), 9) + 0.0  # no -0


def _hashed(labels: Sequence) -> np.ndarray:
    """A 64-bit hash per label, the same in every process."""
    return pd.util.hash_array(np.asarray(labels, dtype=object))


def _residual(matrices: np.ndarray, of: list[int], given: list[int]) -> np.ndarray:
    """Covariances [..., k, k] of the variables ``of`` that the variables ``given`` leave (Schur complement)."""
    rows, columns = np.array(of)[:, None], np.array(given)
    cross = matrices[..., rows, columns]
    inverse = np.linalg.pinv(matrices[..., columns[:, None], columns], rcond=1e-10, hermitian=True)
    return matrices[..., rows, np.array(of)] - cross @ inverse @ np.swapaxes(cross, -1, -2)


def _residual_scores(scores: np.ndarray, of: list[int], given: list[int]) -> np.ndarray:
    """Least-squares residuals [k, N] of the centred rows ``of`` on the centred rows ``given``."""
    if not given:
        return scores[of]
    fit = np.linalg.lstsq(scores[given].T, scores[of].T, rcond=1e-10)[0]
    return scores[of] - fit.T @ scores[given]


def _concordances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Per point, pairs that agree less pairs that disagree: their sum is twice the numerator of Kendall's tau."""
    level = stats.rankdata(b, method="dense").astype(np.int64)
    ones = np.ones(len(a))
    return _lower(*_order(a), level, ones) - _lower(*_order(-a), level, ones)


def _tau_draws(a: np.ndarray, b: np.ndarray, points: Clusters, draws: int, seed: int) -> np.ndarray:
    """Kendall's tau_b [1 + draws] of the sample and of every weighted sample."""
    order, tied = _order(a)
    level_a, level_b = (stats.rankdata(v, method="dense").astype(np.int64) for v in (a, b))
    out = np.empty(1 + draws)
    for draw in range(1 + draws):
        w = draw_weights(points, draw - 1, seed) if draw else np.ones(len(a))
        untied = [w.sum() ** 2 - (np.bincount(level, weights=w) ** 2).sum() for level in (level_a, level_b)]
        out[draw] = 2 * (w @ _lower(order, tied, level_b, w)) / np.sqrt(untied[0] * untied[1])
    return out


def _order(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(values, kind="stable")
    return order, np.append(values[order][1:] == values[order][:-1], False)


@njit(cache=True)
def _mixed(z):
    """The finaliser of splitmix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def _exponential(keys, stream, seed):
    out = np.empty(len(keys))
    salt = _mixed(_mixed(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15)) + np.uint64(stream))
    for i in range(len(keys)):
        bits = _mixed(keys[i] ^ salt) >> np.uint64(11)
        out[i] = -np.log((np.float64(bits) + 0.5) / 9007199254740992.0)
    return out


@njit(cache=True)
def _rank_scores(order, tied, w, root, out):
    """Weighted mid-ranks less their mean (half the total weight), times the root of the weight."""
    half = w.sum() / 2
    n = len(w)
    for v in range(order.shape[0]):
        below = 0.0
        k = 0
        while k < n:
            last = k
            group = w[order[v, k]]
            while tied[v, last]:
                last += 1
                group += w[order[v, last]]
            rank = below + group / 2 - half
            for m in range(k, last + 1):
                out[v, order[v, m]] = rank * root[order[v, m]]
            below += group
            k = last + 1


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


@njit(cache=True)
def _lower(order, tied, level, w):
    """For each point, among those with smaller a: weight with smaller b less weight with larger b (Fenwick tree)."""
    n = len(order)
    top = level.max()
    tree = np.zeros(top + 1)
    equal = np.zeros(top + 1)
    out = np.empty(n)
    total = 0.0
    k = 0
    while k < n:
        last = k
        while tied[last]:
            last += 1
        for m in range(k, last + 1):
            i = order[m]
            below = 0.0
            j = level[i] - 1
            while j > 0:
                below += tree[j]
                j -= j & -j
            out[i] = 2 * below + equal[level[i]] - total
        for m in range(k, last + 1):
            i = order[m]
            total += w[i]
            equal[level[i]] += w[i]
            j = level[i]
            while j <= top:
                tree[j] += w[i]
                j += j & -j
        k = last + 1
    return out
