"""The two-way cluster jackknife against leaving out by hand, scipy, statsmodels and pingouin, and in simulation."""

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from scipy import stats

from taskgram_utils.errors import InputError
from taskgram_utils.factors import blocks, without_means
from taskgram_utils.jackknife import Query, clusters_of, combined, interval, jackknife, mean, standard_error

QUERIES = [Query("spearman", 0, 1), Query("spearman", 0, 1, (2,)), Query("spearman", 1, 0, (2, 3)),
           Query("pearson", 0, 3),
        Query("pearson", 0, 3, (1,)), Query("kendall_distance", 0, 1), Query("r2", 0, 0, (1, 2)),
        Query("r2 of ranks", 0, 0, (1,))]  # fmt: skip


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def by_hand(values, query):
    """A statistic by scipy, and where rows are given by least squares."""
    if query.measure == "kendall_distance":
        return (1 - stats.kendalltau(values[query.a], values[query.b]).statistic) / 2
    ranked = query.measure in ("spearman", "r2 of ranks")
    rows = stats.rankdata(values, axis=1) if ranked else values
    rows = rows - rows.mean(axis=1, keepdims=True)
    given = rows[list(query.given)].T
    a, b = (rows[v] - given @ np.linalg.lstsq(given, rows[v], rcond=None)[0] if query.given else rows[v]
            for v in (query.a, query.b))  # fmt: skip
    return 1 - a @ a / (rows[query.a] @ rows[query.a]) if query.measure.startswith("r2") else np.corrcoef(a, b)[0, 1]


def drawn(rng, n, decimals):
    values = rng.normal(size=(4, n))
    values[1:] += values[0]
    return np.round(values, decimals)


@pytest.mark.parametrize(("n", "examples", "outputs", "decimals"),
                         [(60, 15, 10, 1), (90, 90, 40, 0), (200, 12, 6, 6), (120, 30, 119, 2)])  # fmt: skip
def test_what_is_left_equals_leaving_out_by_hand(rng, n, examples, outputs, decimals):
    """Of distinct values and of ties; of small clusters, whose ranks are corrected, and of large ones, ranked anew."""
    values = drawn(rng, n, decimals)
    example, output = rng.integers(0, examples, n), rng.zipf(1.3, n) % outputs
    points = clusters_of(example, output, np.arange(n))
    for query, result in zip(QUERIES, jackknife(values, QUERIES, points), strict=True):
        assert result.estimate == pytest.approx(by_hand(values, query)) and result.reason is None
        each = zip(result.changes, points, (example, output, np.arange(n)), strict=False)
        for (keys, changes), names, labels in each:
            named = dict(zip(keys.tolist(), changes, strict=True))
            assert len(named) == len(set(labels.tolist()))
            for place in range(0, n, 5):
                truth = by_hand(values[:, labels != labels[place]], query)
                assert result.estimate + named[int(names[place])] == pytest.approx(truth, abs=1e-12)


def test_variance_interval_and_p_by_hand(rng):
    values, example = drawn(rng, 80, 6), np.repeat(np.arange(20), 4)
    output = rng.integers(0, 9, 80)
    result = jackknife(values, [Query("spearman", 0, 1)], clusters_of(example, output))[0]
    v = [(len(c) - 1) / len(c) * (c**2).sum() for _, c in result.changes[:3]]
    error, freedom = standard_error(result.changes)
    assert error == pytest.approx(np.sqrt(max(v[0] + v[1] - v[2], v[0], v[1]))) and freedom == 8
    low, high, p = interval(result.estimate, result.changes)
    z, on_z = np.arctanh(result.estimate), error / (1 - result.estimate**2)
    t = stats.t.ppf(0.975, 8)
    assert (low, high) == pytest.approx((np.tanh(z - t * on_z), np.tanh(z + t * on_z)))
    assert p == pytest.approx(2 * stats.t.sf(z / on_z, 8))
    plain = interval(result.estimate, result.changes, correlation=False)
    assert plain[:2] == pytest.approx((result.estimate - t * error, result.estimate + t * error))
    alone = jackknife(values, [Query("spearman", 0, 1)], clusters_of(example, np.arange(80)))[0]
    assert not alone.changes.two_way and standard_error(alone.changes) == pytest.approx((np.sqrt(v[0]), 19))


def test_a_jackknife_by_point_is_the_usual_one(rng):
    """Of a mean it gives Student's interval; of a Pearson correlation of normal values nearly Fisher's."""
    values = rng.normal(size=40)
    found = mean(values, clusters_of(np.arange(40)))
    truth = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert interval(found.estimate, found.changes, correlation=False)[:2] == pytest.approx(truth)
    pair = rng.normal(size=(2, 3000))
    pair[1] += 0.5 * pair[0]
    one = jackknife(pair, [Query("pearson", 0, 1)], clusters_of(np.arange(3000)))[0]
    fisher = stats.pearsonr(*pair).confidence_interval()
    assert interval(one.estimate, one.changes)[:2] == pytest.approx((fisher.low, fisher.high), abs=0.003)


@pytest.mark.parametrize("controls", [[2], [3], [2, 3]])
def test_partial_spearman_equals_pingouin(rng, controls):
    values = drawn(rng, 200, 1)
    frame = pd.DataFrame(values.T, columns=list("abcd"))
    truth = pingouin.partial_corr(frame, "a", "b", [frame.columns[c] for c in controls], method="spearman")
    found = jackknife(values, [Query("spearman", 0, 1, tuple(controls))], clusters_of(np.arange(200)))[0]
    assert found.estimate == pytest.approx(truth["r"].iloc[0])


def test_r2_equals_statsmodels(rng):
    values = drawn(rng, 200, 6)
    truth = sm.OLS(values[0], sm.add_constant(values[[1, 3]].T)).fit().rsquared
    found = jackknife(values, [Query("r2", 0, 0, (1, 3))], clusters_of(np.arange(200)))[0]
    assert found.estimate == pytest.approx(truth)


def test_constant_and_repeated_controls_change_nothing(rng):
    values = np.vstack([drawn(rng, 100, 1), np.full(100, 7.0)])
    values[3] = values[2]
    points = clusters_of(np.arange(100) // 4, rng.integers(0, 20, 100))
    queries = [Query("spearman", 0, 1, given) for given in ((), (4,), (2,), (2, 3, 4))]
    raw, constant, one, three = jackknife(values, queries, points)
    for same, truth in ((constant, raw), (three, one)):
        for kind in range(3):
            np.testing.assert_allclose(same.changes[kind][1], truth.changes[kind][1], atol=1e-9)


def test_means_are_taken_out_anew_among_what_is_left(rng):
    example, output = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(4), indexing="ij"))
    values = rng.normal(size=(2, 48)) + 3 * example + rng.normal(size=4)[output]
    points, both = clusters_of(example, output), (example, output)
    result = jackknife(values, [Query("pearson", 0, 1)], points, without=both)[0]
    dummies = [np.asarray(code)[:, None] == np.unique(code)[:-1] for code in both]
    # Without the last of each factor: pingouin's projection is not defined with dummies that add up to one.
    frame = pd.DataFrame(np.vstack([values, np.hstack(dummies).astype(float).T]).T).add_prefix("v")
    truth = pingouin.partial_corr(frame, "v0", "v1", list(frame.columns[2:]))
    assert result.estimate == pytest.approx(truth["r"].iloc[0])
    gone = dict(zip(result.changes.output[0].tolist(), result.changes.output[1], strict=True))[int(points.output[0])]
    kept = output != output[0]
    left = without_means(values[:, kept], [example[kept], output[kept]])
    assert result.estimate + gone == pytest.approx(np.corrcoef(left)[0, 1])
    level = rng.normal(size=12)[example] * 3 + rng.normal(size=4)[output] * 3
    nothing = jackknife(np.array([level, values[0]]), [Query("pearson", 0, 1)], points, ["counts", "log P"], both)[0]
    assert np.isnan(nothing.estimate) and nothing.reason == "counts is constant but for the means taken out"
    with pytest.raises(InputError, match="not finite"):
        jackknife(np.where(values > 1, np.inf, values), [Query("pearson", 0, 1)], points, without=(example,))


def test_sums_of_statistics_change_by_the_sums_of_their_changes(rng):
    values, n = drawn(rng, 60, 6), 60
    example, output = np.arange(n) // 3, rng.integers(0, 12, n)
    first, second = jackknife(values, [Query("spearman", 0, 1), Query("spearman", 0, 2)], clusters_of(example, output))
    both = combined([first.changes, second.changes], (1, -1))
    np.testing.assert_allclose(both.output[1], first.changes.output[1] - second.changes.output[1])
    part = slice(0, 30)
    third = jackknife(values[:, part], [Query("spearman", 0, 1)], clusters_of(example[part], output[part]))[0]
    mixed = combined([first.changes, third.changes], (1, -1))
    named = dict(zip(mixed.example[0].tolist(), mixed.example[1], strict=True))
    here, there = (clusters_of([e]).example[0] for e in (0, 19))
    of = [dict(zip(one.changes.example[0].tolist(), one.changes.example[1], strict=True)) for one in (first, third)]
    assert named[int(here)] == pytest.approx(of[0][int(here)] - of[1][int(here)])
    assert named[int(there)] == pytest.approx(of[0][int(there)]) and int(there) not in of[1]


def test_the_order_of_points_and_the_type_of_names_change_nothing(rng):
    values, example = drawn(rng, 60, 1), np.arange(60) // 3
    output = rng.integers(0, 12, 60)
    one = jackknife(values, QUERIES, clusters_of(example, output))
    two = jackknife(values[:, ::-1], QUERIES, clusters_of(example[::-1], output[::-1]))
    for a, b in zip(one, two, strict=True):
        assert standard_error(a.changes) == pytest.approx(standard_error(b.changes))


def test_what_cannot_be_estimated_says_why():
    values = np.array([[1.0, 2, 3, 4], [5, 5, 5, 5], [1, 2, -np.inf, 0], [2, 1, 4, 3]])
    own = clusters_of(list("abcd"))
    queries = [Query("spearman", 0, 1), Query("spearman", 0, 2), Query("pearson", 0, 2)]
    constant, rank, infinite = jackknife(values, queries, own, list("wxyz"))
    assert constant.reason == "x is constant" and np.isnan(constant.estimate)
    assert np.isnan(interval(constant.estimate, constant.changes)).all()
    assert rank.estimate == pytest.approx(stats.spearmanr(values[0], values[2]).statistic) and rank.reason is None
    assert infinite.reason == "y has infinite values"
    gone = jackknife(values, [Query("spearman", 0, 3, (0,))], own)[0]
    assert "controls leave nothing" in gone.reason and np.isnan(gone.estimate)
    few = jackknife(values[:, :2], [Query("spearman", 0, 3)], clusters_of(list("ab")))[0]
    assert few.reason == "fewer than 3 points" and np.isnan(few.estimate)
    lone = jackknife(values, [Query("spearman", 0, 3)], clusters_of(list("aabb")))[0]
    assert lone.estimate == pytest.approx(0.6) and np.isnan(interval(lone.estimate, lone.changes)).all()
    with pytest.raises(InputError, match="measure rho"):
        jackknife(values, [Query("rho", 0, 1)], own)
    # All of what varies is in one example: no interval can be had of the others.
    one = np.array([[1.0, 2, 3, 9, 9, 9, 9], [1, 3, 2, 9, 9, 9, 9]])
    resting = jackknife(one, [Query("spearman", 0, 1)], clusters_of(list("aaabcde")))[0]
    assert resting.estimate > 0.5 and np.isnan(interval(resting.estimate, resting.changes)).all()
    same = jackknife(np.array([[1.0, 2, 3, 4]] * 2), [Query("spearman", 0, 1)], own)[0]
    assert interval(same.estimate, same.changes)[:2] == (1, 1)


@pytest.mark.slow
def test_blocks_cover_where_neighbours_depend_on_one_another():
    """Two unrelated autoregressive series: points left out alone are far too sure, blocks of them are not."""
    rng, missed = np.random.default_rng(5), {1: 0, 40: 0}
    for _ in range(150):
        noise = rng.normal(size=(2, 1600))
        for t in range(1, 1600):
            noise[:, t] += 0.8 * noise[:, t - 1]
        for length in missed:
            clusters = clusters_of(blocks(["s"] * 1600, range(1600), length))
            found = jackknife(noise, [Query("spearman", 0, 1)], clusters)[0]
            low, high, _ = interval(found.estimate, found.changes)
            missed[length] += not low <= 0 <= high
    assert missed[40] <= 17 < 40 < missed[1]
