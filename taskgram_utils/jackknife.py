"""The two-way cluster jackknife: correlations whose points share examples and outputs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from taskgram_utils.compiled import njit
from taskgram_utils.errors import require
from taskgram_utils.factors import without_means

MEASURES = ("spearman", "pearson", "kendall_distance", "r2", "r2 of ranks")
LEAST = 3
"""Points for an estimate, and clusters of a kind for an interval."""
NO_INTERVAL = f"fewer than {LEAST} examples or outputs: no interval"
LEVEL = 0.95


class Query(NamedTuple):
    """One statistic: ``measure`` of the rows ``a`` and ``b`` of a matrix of values, given the rows
    ``given``."""

    measure: str
    a: int
    b: int
    given: tuple[int, ...] = ()


class Clusters(NamedTuple):
    """Which example, which output and which point each of N points is (hashed names), and whether
    two examples share an output."""

    example: np.ndarray
    output: np.ndarray
    point: np.ndarray
    two_way: bool


class Changes(NamedTuple):
    """How a statistic changes when one cluster is left out: hashed names [G] and changes [G] of the
    examples, of the outputs and of the points. The latter two count where ``two_way``."""

    example: tuple[np.ndarray, np.ndarray]
    output: tuple[np.ndarray, np.ndarray]
    point: tuple[np.ndarray, np.ndarray]
    two_way: bool


class Result(NamedTuple):
    """A statistic of all points, how it changes when a cluster is left out, and why it is null,
    where it is."""

    estimate: float
    changes: Changes
    reason: str | None


def clusters_of(
    examples: Sequence, outputs: Sequence | None = None, starts: Sequence | None = None
) -> Clusters:
    """The clusters of N points. Without ``outputs`` examples alone are clusters; ``starts`` tell
    apart the points of one example and one output."""
    example = _hashed(examples)
    if outputs is None:
        return Clusters(example, example, example, False)
    output = _hashed(outputs)
    cells = np.unique(np.stack([output, example]), axis=1)
    shared = len(np.unique(cells[0])) < cells.shape[1]
    start = np.zeros(len(example), np.uint64) if starts is None else _hashed(starts)
    with np.errstate(over="ignore"):  # hashes wrap around
        point = (example * np.uint64(3) + output) * np.uint64(3) + start
    return Clusters(example, output, point, bool(shared))


def jackknife(
    values: np.ndarray, queries: Sequence[Query], clusters: Clusters,
    names: Sequence[str] | None = None, without: Sequence[np.ndarray] = (),
) -> list[Result]:
    """The statistics ``queries`` of ``values`` [V, N] (no nulls), with how each changes when a
    cluster is left out.

    ``spearman`` and ``pearson`` are partial where ``given``; ``kendall_distance`` is (1 - tau_b) /
    2; ``r2`` (and ``r2 of ranks``) the share of the variance of row a that the least-squares fit of
    the rows ``given`` takes up. Ranks are taken anew among the points left, and so are the means of
    the factors ``without`` (labels [N] each), which :func:`taskgram_utils.factors.without_means`
    takes out before. Fewer than 3 points and a constant row give null.
    """
    names = names or [f"variable {i}" for i in range(len(values))]
    whole = _without(values, without)
    beyond = " but for the means taken out" if without else ""
    reasons = [_reason(query, whole, names, beyond) for query in queries]
    able = [i for i, reason in enumerate(reasons) if reason is None]
    chosen = [queries[i] for i in able]
    kinds = clusters[:1] if clusters.output is clusters.example else clusters[:3]
    coded = [np.unique(labels, return_inverse=True) for labels in kinds]
    nobody = np.ones(values.shape[1], np.int64)  # cluster 0, which is empty: all points are left
    estimates = np.full(len(queries), np.nan)
    changes = [np.full((len(queries), len(keys)), np.nan) for keys, _ in coded]
    if able and without:
        estimates[able] = _statistics(whole, chosen, [nobody])[0][:, 0]
        for (keys, codes), change in zip(coded, changes, strict=True):
            for g in range(len(keys)):
                rest = codes != g
                part = _without(values[:, rest], [factor[rest] for factor in without])
                without_it = _statistics(part, chosen, [nobody[rest]])[0][:, 0]
                change[able, g] = without_it - estimates[able]
    elif able:
        found = _statistics(whole, chosen, [nobody, *(codes for _, codes in coded)])
        estimates[able] = found[0][:, 0]
        for change, without_each in zip(changes, found[1:], strict=True):
            change[able] = without_each - estimates[able, None]
    out = []
    for i, (query, reason) in enumerate(zip(queries, reasons, strict=True)):
        if reason is None and np.isnan(estimates[i]):
            reason = f"the controls leave nothing of {names[query.a]} or {names[query.b]}"
        rows = [(keys, change[i]) for (keys, _), change in zip(coded, changes, strict=True)]
        of_query = Changes(*rows * (3 // len(kinds)), clusters.two_way)
        out.append(Result(float(estimates[i]), of_query, reason))
    return out


def mean(values: np.ndarray, clusters: Clusters) -> Result:
    """The mean of ``values`` [N], with how it changes when a cluster is left out."""
    whole, changes = float(values.mean()), []
    for labels in clusters[:3]:
        keys, codes = np.unique(labels, return_inverse=True)
        remaining = (len(values) - np.bincount(codes)).astype(float)
        remaining[remaining == 0] = np.nan
        means = (values.sum() - np.bincount(codes, values)) / remaining
        changes.append((keys, means - whole))
    return Result(whole, Changes(*changes, clusters.two_way), None)


def combined(parts: Sequence[Changes], weights: Sequence[float]) -> Changes:
    """How a weighted sum of statistics changes: of the same points, or of others that share
    examples or outputs. What a statistic does not rest on changes it by nothing."""

    def of(kind: str) -> tuple[np.ndarray, np.ndarray]:
        sides = [getattr(part, kind) for part in parts]
        keys = sides[0][0]
        if all(np.array_equal(side[0], keys) for side in sides):
            return keys, np.asarray(weights, float) @ np.stack([change for _, change in sides])
        keys = np.unique(np.concatenate([side[0] for side in sides]))
        total = np.zeros(len(keys))
        for weight, (own, change) in zip(weights, sides, strict=True):
            total[np.searchsorted(keys, own)] += weight * change
        return keys, total

    return Changes(of("example"), of("output"), of("point"), any(part.two_way for part in parts))


def standard_error(changes: Changes) -> tuple[float, float]:
    """Standard error of a statistic and degrees of freedom of its t (:eq:`eq-jackknife`): V =
    max(V_example + V_output - V_point, V_example, V_output), each (G - 1) / G times the sum over
    its G clusters of the squared change when one is left out; V_example alone where no output is
    shared. Cameron, Gelbach & Miller (2011); MacKinnon, Nielsen & Webb (2024). Degrees of freedom:
    the smaller number of clusters less one. Null with fewer than 3 clusters of a kind."""
    sizes = [len(changes.example[0])] + ([len(changes.output[0])] if changes.two_way else [])
    if min(sizes) < LEAST:
        return np.nan, np.nan
    example, output, point = ((len(c) - 1) / len(c) * (c**2).sum() for _, c in changes[:3])
    total = max(example + output - point, example, output) if changes.two_way else example
    return float(np.sqrt(total)), min(sizes) - 1


def interval(
    estimate: float, changes: Changes, correlation: bool = True
) -> tuple[float, float, float]:
    """95% interval and two-sided p of a statistic being 0, by Student's t; of a correlation on
    Fisher's z."""
    error, freedom = standard_error(changes)
    if np.isnan(error) or np.isnan(estimate):
        return np.nan, np.nan, np.nan
    half = special.stdtrit(freedom, (1 + LEVEL) / 2)
    if not correlation:
        p = 2 * special.stdtr(freedom, -abs(estimate) / error) if error else np.nan
        return estimate - half * error, estimate + half * error, p
    slack = 1 - estimate**2
    if slack < 1e-12:
        return estimate, estimate, np.nan
    z, error = np.arctanh(estimate), error / slack
    p = 2 * special.stdtr(freedom, -abs(z) / error) if error else np.nan
    return float(np.tanh(z - half * error)), float(np.tanh(z + half * error)), float(p)


def _hashed(labels: Sequence) -> np.ndarray:
    """A 64-bit hash of each label, the same in every process."""
    return pd.util.hash_array(np.asarray(labels, dtype=object))


def _without(values: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Values less the means of ``factors``, in units of each row's range, rounded: equal values are
    equal in floating point too, and of a row that is nothing but means no noise is left."""
    if not factors:
        return values
    span = np.ptp(values, axis=1, keepdims=True)
    scaled = without_means(values, factors) / np.where(span > 0, span, 1)
    return np.round(scaled, 9) + 0.0  # no -0


def _reason(query: Query, values: np.ndarray, names: Sequence[str], beyond: str) -> str | None:
    require(query.measure in MEASURES, f"measure {query.measure}: not one of {', '.join(MEASURES)}")
    if values.shape[1] < LEAST:
        return f"fewer than {LEAST} points"
    for v in (query.a, query.b):
        if values[v].min() == values[v].max():
            return f"{names[v]} is constant{beyond}"
    for v in (query.a, query.b, *query.given):
        if query.measure in ("pearson", "r2") and not np.isfinite(values[v]).all():
            return f"{names[v]} has infinite values"
    return None


class _Ranks(NamedTuple):
    """Of each row of values [V, N]: the points in rising order, each one's dense rank from 0, and
    its mid-rank less a half, which is the number of points below it and half of those equal to it.
    """

    order: np.ndarray
    level: np.ndarray
    rank: np.ndarray


def _ranks(values: np.ndarray, rows: set[int]) -> _Ranks:
    """The ranks of some rows; what it has of the others means nothing."""
    order, level = np.zeros(values.shape, np.int64), np.zeros(values.shape, np.int64)
    rank = np.zeros(values.shape)
    for v in rows:
        order[v] = np.argsort(values[v], kind="stable")
        rising = values[v][order[v]]
        begins = np.flatnonzero(np.concatenate([[True], rising[1:] != rising[:-1]]))
        many = np.diff(np.append(begins, len(rising)))
        level[v][order[v]] = np.repeat(np.arange(len(many)), many)
        rank[v][order[v]] = np.repeat(begins + many / 2, many)
    return _Ranks(order, level, rank)


def _statistics(
    values: np.ndarray, queries: Sequence[Query], clusters: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Statistics [A, G] of the points less each cluster, for each way [N] to number the clusters.
    """
    by_rank = [query for query in queries if query.measure not in ("pearson", "r2")]
    ranks = _ranks(values, {v for query in by_rank for v in (query.a, query.b, *query.given)})
    out = [np.full((len(queries), codes.max() + 1), np.nan) for codes in clusters]
    for given, kinds in ((ranks, ("spearman", "r2 of ranks")), (None, ("pearson", "r2"))):
        chosen = [i for i, query in enumerate(queries) if query.measure in kinds]
        for codes, found in zip(clusters, out, strict=True):
            if chosen:
                found[chosen] = _correlations(values, given, [queries[i] for i in chosen], codes)
    for i, query in enumerate(queries):
        if query.measure == "kendall_distance":
            for tau, found in zip(_taus(ranks, query.a, query.b, clusters), out, strict=True):
                found[i] = (1 - tau) / 2
    return out


def _correlations(
    values: np.ndarray, ranks: _Ranks | None, queries: Sequence[Query], codes: np.ndarray
) -> np.ndarray:
    """Statistics [A, G] from the correlations (of ``ranks``, if given) among the points that each
    cluster leaves."""
    rows = sorted({v for query in queries for v in (query.a, query.b, *query.given)})
    place = {v: k for k, v in enumerate(rows)}
    wanted = set()
    for query in queries:
        own = sorted({place[v] for v in (query.a, query.b, *query.given)})
        wanted |= {(v, w) for i, v in enumerate(own) for w in own[:i]}
    pairs = np.array(sorted(wanted), np.int64).reshape(-1, 2)
    if ranks:
        cross, own = _rank_products(_Ranks(*(part[rows] for part in ranks)), pairs, codes)
    else:
        cross, own = _products(values[rows], pairs, codes)
    scale = np.sqrt(np.where(own > 1e-10 * np.fmax.reduce(own), own, np.nan))
    matrix = np.empty((len(cross), len(rows), len(rows)))
    matrix[:, np.arange(len(rows)), np.arange(len(rows))] = 1
    for (v, w), product in zip(pairs, cross.T, strict=True):
        matrix[:, v, w] = matrix[:, w, v] = np.clip(product / scale[:, v] / scale[:, w], -1, 1)
    out = np.empty((len(queries), len(cross)))
    for i, query in enumerate(queries):
        given = [place[v] for v in query.given]
        if query.measure.startswith("r2"):
            out[i] = 1 - _residual(matrix, [place[query.a]], given)[..., 0, 0] if given else 0.0
        else:
            out[i] = partial_correlation(matrix, place[query.a], place[query.b], given)
    return out


def partial_correlation(
    matrices: np.ndarray, a: int, b: int, given: Sequence[int] = ()
) -> np.ndarray:
    """Partial correlation of a and b given the others, from correlation matrices [..., V, V]; null
    where they leave nothing of a or b. A constant or repeated control changes nothing."""
    if not given:
        return matrices[..., a, b]
    residual = _residual(matrices, [a, b], list(given))
    product = residual[..., 0, 0] * residual[..., 1, 1]
    enough = (residual[..., 0, 0] > 1e-9) & (residual[..., 1, 1] > 1e-9)
    return np.clip(residual[..., 0, 1] / np.sqrt(np.where(enough, product, np.nan)), -1, 1)


def _residual(matrices: np.ndarray, of: list[int], given: list[int]) -> np.ndarray:
    """Covariances [..., k, k] of the variables ``of`` that the variables ``given`` leave (Schur
    complement)."""
    rows, columns = np.array(of)[:, None], np.array(given)
    cross = np.nan_to_num(matrices[..., rows, columns])
    within = np.nan_to_num(matrices[..., columns[:, None], columns])
    if len(given) == 1:
        inverse = 1 / np.where(within, within, np.inf)
    else:
        inverse = np.linalg.pinv(within, rcond=1e-10, hermitian=True)
    return matrices[..., rows, np.array(of)] - cross @ inverse @ np.swapaxes(cross, -1, -2)


def _products(
    values: np.ndarray, pairs: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products about the mean, of ``pairs`` of rows [G, P] and of each row with itself [G,
    V], over the points that each cluster leaves."""
    centred = values - values.mean(axis=1, keepdims=True)
    many = codes.max() + 1
    remaining = len(codes) - np.bincount(codes, minlength=many)
    sums = [row.sum() - np.bincount(codes, row, many) for row in centred]

    def products(a: int, b: int) -> np.ndarray:
        product = centred[a] * centred[b]
        whole = product.sum() - np.bincount(codes, product, many)
        return whole - sums[a] * sums[b] / np.where(remaining > 0, remaining, np.nan)

    cross = np.array([products(a, b) for a, b in pairs]).reshape(len(pairs), many)
    return cross.T, np.array([products(v, v) for v in range(len(values))]).T


def _rank_products(
    ranks: _Ranks, pairs: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`_products` of the mid-ranks that the points left have among themselves."""
    order, level, rank = ranks
    many, n = codes.max() + 1, len(codes)
    size = np.bincount(codes, minlength=many)
    remaining = (n - size).astype(float)
    members, start = _members(codes)
    # A cluster of m points takes m² counts of points above two values; a large one is ranked anew.
    few = size.astype(float) ** 2 * np.log2(n + 1) < 4 * n
    cross = np.empty((many, len(pairs)))
    for p, (a, b) in enumerate(pairs):
        _small_clusters(order[a], level[a], level[b], rank[a], rank[b], codes, members, start, few,
                        cross[:, p])
    _large_clusters(order, level, codes, np.flatnonzero(~few), pairs, cross)
    # Squares of mid-ranks about their mean: (n³ - sum of t³ over groups of t equal values) / 12.
    own = np.stack([(remaining**3 - _ties(row, codes, 3)) / 12 for row in level], axis=1)
    return cross - (remaining**3 / 4)[:, None], own


def _members(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points [N] cluster by cluster, in their order, and where each cluster begins [G + 1]."""
    return np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(codes))])


def _ties(level: np.ndarray, codes: np.ndarray, power: int) -> np.ndarray:
    """Sum [G] of t to a power over the groups of t points of one level that each cluster leaves."""
    equal = np.bincount(level).astype(float)
    cells, many = np.unique(codes * len(equal) + level, return_counts=True)
    group, at = np.divmod(cells, len(equal))
    change = (equal[at] - many) ** power - equal[at] ** power
    return (equal**power).sum() + np.bincount(group, change, codes.max() + 1)


def _taus(ranks: _Ranks, a: int, b: int, clusters: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Kendall's tau_b [G] of the points that each cluster leaves, for each way to number the
    clusters."""
    order, level_a, level_b = ranks.order[a], ranks.level[a], ranks.level[b]
    whole = np.array([0, len(order)])
    # Of each point: the points that agree with it in order less those that disagree.
    agreement = _before(order, whole, level_a, level_b)
    agreement -= _before(order[::-1], whole, level_a, level_b)
    out = []
    for codes in clusters:
        size = np.bincount(codes)
        members, start = _members(codes[order])
        inside = 2 * np.bincount(codes, _before(order[members], start, level_a, level_b))
        # Ordered pairs: those with a point of the cluster go, but those inside it went twice.
        total = agreement.sum() - 2 * np.bincount(codes, agreement) + inside
        remaining = (len(codes) - size).astype(float)
        untied = [remaining**2 - _ties(level, codes, 2) for level in (level_a, level_b)]
        scale = np.sqrt(untied[0] * untied[1])
        out.append(np.clip(total / np.where(scale > 0, scale, np.nan), -1, 1))
    return out


@njit(cache=True, nogil=True)
def _add(tree, level, weight):
    """Add to a Fenwick tree over levels."""
    at = level + 1
    while at < len(tree):
        tree[at] += weight
        at += at & -at


@njit(cache=True, nogil=True)
def _below(tree, level):
    """The sum of what a Fenwick tree has below a level."""
    total = 0.0
    while level > 0:
        total += tree[level]
        level -= level & -level
    return total


@njit(cache=True, nogil=True)
def _small_clusters(order, level_a, level_b, rank_a, rank_b, codes, members, start, few, out):
    """Sums of rank products less a cluster g. Without g the rank of a point j is r(j) - c(j), c(j)
    = the points of g below j and half of those equal to it, H(j, k) for a k of g. So the sum over
    all j of (r_a - c_a)(r_b - c_b) is sum r_a r_b - sum_k S_ab(k) - sum_k S_ba(k) + sum_kl D(k, l),
    of which the points of g themselves are then taken. S_ab(k) = sum_j r_a(j) H_b(j, k); D(k, l) =
    sum_j H_a(j, k) H_b(j, l), counted from the largest a to the smallest with a Fenwick tree over
    the levels of b."""
    n = len(order)
    top_a, top_b = level_a.max() + 1, level_b.max() + 1
    above_a, above_b = np.zeros(top_a + 1), np.zeros(top_b + 1)
    whole = 0.0
    for j in range(n):
        whole += rank_a[j] * rank_b[j]
        above_a[level_a[j]] += rank_b[j]
        above_b[level_b[j]] += rank_a[j]
    for t in range(top_a - 1, -1, -1):
        above_a[t] += above_a[t + 1]
    for t in range(top_b - 1, -1, -1):
        above_b[t] += above_b[t + 1]
    for g in range(len(few)):
        if few[g]:
            out[g] = whole
            for k in members[start[g] : start[g + 1]]:
                out[g] -= (above_b[level_b[k]] + above_b[level_b[k] + 1]) / 2
                out[g] -= (above_a[level_a[k]] + above_a[level_a[k] + 1]) / 2
    tree, equal, total = np.zeros(top_b + 1), np.zeros(top_b + 1), 0.0
    last = n
    while last > 0:
        first = last - 1
        while first > 0 and level_a[order[first - 1]] == level_a[order[last - 1]]:
            first -= 1
        # Points equal in a count half: the mean of the counts before and after they join the tree.
        for after in range(2):
            for m in range(first, last):
                g = codes[order[m]]
                if few[g]:
                    for k in members[start[g] : start[g + 1]]:
                        below = _below(tree, level_b[k])
                        out[g] += (total - below - equal[level_b[k]] / 2) / 2
            if after == 0:
                for m in range(first, last):
                    equal[level_b[order[m]]] += 1
                    total += 1
                    _add(tree, level_b[order[m]], 1.0)
        last = first
    for g in range(len(few)):
        if few[g]:
            for j in members[start[g] : start[g + 1]]:
                below_a, below_b = 0.0, 0.0
                for k in members[start[g] : start[g + 1]]:
                    below_a += (np.sign(level_a[j] - level_a[k]) + 1) / 2
                    below_b += (np.sign(level_b[j] - level_b[k]) + 1) / 2
                out[g] -= (rank_a[j] - below_a) * (rank_b[j] - below_b)


@njit(cache=True, nogil=True)
def _large_clusters(order, level, codes, chosen, pairs, out):
    """The same sums for the clusters ``chosen``, every point left ranked anew."""
    variables, n = order.shape
    ranks = np.zeros((variables, n))
    for g in chosen:
        for v in range(variables):
            below, k = 0.0, 0
            while k < n:
                last, tied = k, 0.0
                while last < n and level[v, order[v, last]] == level[v, order[v, k]]:
                    if codes[order[v, last]] != g:
                        tied += 1.0
                    last += 1
                for m in range(k, last):
                    i = order[v, m]
                    ranks[v, i] = 0.0 if codes[i] == g else below + tied / 2
                below += tied
                k = last
        for p in range(len(pairs)):
            total = 0.0
            for i in range(n):
                total += ranks[pairs[p, 0], i] * ranks[pairs[p, 1], i]
            out[g, p] = total


@njit(cache=True, nogil=True)
def _before(order, start, level_a, level_b):
    """For each point, among those before it in its block of ``order`` and not equal in a: how many
    have a smaller b less how many have a larger one."""
    top = level_b.max() + 1
    tree, equal, out = np.zeros(top + 1), np.zeros(top), np.zeros(len(order))
    for block in range(len(start) - 1):
        first = start[block]
        while first < start[block + 1]:
            # Points equal in a are compared before any of them joins the tree.
            last = first
            while last < start[block + 1] and level_a[order[last]] == level_a[order[first]]:
                level = level_b[order[last]]
                below = _below(tree, level)
                out[order[last]] = 2 * below + equal[level] - (first - start[block])
                last += 1
            for m in range(first, last):
                equal[level_b[order[m]]] += 1
                _add(tree, level_b[order[m]], 1.0)
            first = last
        for m in range(start[block], start[block + 1]):
            equal[level_b[order[m]]] -= 1
            _add(tree, level_b[order[m]], -1.0)
    return out
