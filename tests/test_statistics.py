"""Intervals and tests against scipy, statsmodels, pingouin, brute force and simulation."""

import itertools

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from taskgram_utils import statistics
from taskgram_utils.errors import InputError
from taskgram_utils.statistics import (
    Ask,
    associations,
    blocks,
    clusters,
    correlation_draws,
    draw_weights,
    holm,
    partial_correlation,
    r_squared,
    sign_flip_p,
    split_half_reliability,
    two_sided_p,
    without_means,
)

RNG = np.random.default_rng(0)
FRESH = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def the_same_draws_in_any_order():
    RNG.bit_generator.state = FRESH


def data(n=200, variables=5, ties=True):
    values = RNG.normal(size=(variables, n))
    values[1:] += values[0]
    return np.round(values, 1) if ties else values


def crossed(n=200, examples=40, outputs=30):
    return clusters(RNG.integers(0, examples, n), RNG.integers(0, outputs, n))


def test_estimates_equal_scipy():
    values = data()
    asks = [Ask(measure, 0, 1) for measure in ("spearman", "pearson", "kendall_distance")]
    rho, r, distance = (answer.estimate for answer in associations(values, asks, crossed(), draws=10))
    assert rho == pytest.approx(stats.spearmanr(values[0], values[1]).statistic)
    assert r == pytest.approx(stats.pearsonr(values[0], values[1]).statistic)
    assert distance == pytest.approx((1 - stats.kendalltau(values[0], values[1]).statistic) / 2)


@pytest.mark.parametrize("controls", [[2], [3], [2, 3, 4]])
def test_partial_spearman_equals_pingouin(controls):
    values = data()
    frame = pd.DataFrame(values.T, columns=list("abcde"))
    truth = pingouin.partial_corr(frame, "a", "b", [frame.columns[c] for c in controls], method="spearman")
    found = associations(values, [Ask("spearman", 0, 1, tuple(controls))], crossed(), draws=10)[0]
    assert found.estimate == pytest.approx(truth["r"].iloc[0])


def test_constant_and_repeated_controls_change_nothing():
    values = data()
    values[3], values[4] = 7.0, values[2]
    asks = [Ask("spearman", 0, 1, given) for given in ((), (3,), (2,), (2, 3, 4))]
    raw, constant, one, three = associations(values, asks, crossed(), draws=50)
    np.testing.assert_allclose(constant.draws, raw.draws)
    np.testing.assert_allclose(three.draws, one.draws, atol=1e-9)
    assert three.p == one.p and constant.p == raw.p


def test_r_squared_equals_statsmodels():
    values = data(ties=False)
    matrix = correlation_draws(values, crossed(), draws=0, ranks=False)[0]
    truth = sm.OLS(values[0], sm.add_constant(values[[1, 3, 4]].T)).fit().rsquared
    assert r_squared(matrix, 0, [1, 3, 4]) == pytest.approx(truth)


def test_weighted_correlations_equal_brute_force():
    values, points = data(60, 3), crossed(60, 12, 8)
    assert points.two_way
    spearman, pearson = (correlation_draws(values, points, 4, seed=5, ranks=ranks) for ranks in (True, False))
    tau = associations(values, [Ask("kendall_distance", 0, 1)], points, 4, seed=5)[0]
    for draw in range(4):
        w = draw_weights(points, draw, seed=5)
        ranks = np.array([[w @ ((v < x) + 0.5 * (v == x)) for x in v] for v in values])
        for truth, found in ((ranks, spearman), (values, pearson)):
            covariance = np.cov(truth, aweights=w)
            scale = np.sqrt(np.diag(covariance))
            np.testing.assert_allclose(found[1 + draw], covariance / np.outer(scale, scale), atol=1e-10)
        sign = [np.sign(v[:, None] - v[None]) for v in values[:2]]
        pairs = [w @ (a * b) @ w for a, b in ((sign[0], sign[1]), (sign[0], sign[0]), (sign[1], sign[1]))]
        assert 1 - 2 * tau.draws[draw] == pytest.approx(pairs[0] / np.sqrt(pairs[1] * pairs[2]))


def dummies(code):
    return (np.asarray(code)[:, None] == np.unique(code)).astype(float)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("of", [(0,), (1,), (0, 1)])
def test_means_taken_out_equal_least_squares_on_dummies_in_statsmodels(of, complete):
    example, output = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(7), indexing="ij"))
    kept = np.ones(84, bool) if complete else RNG.random(84) < 0.7
    example, output = example[kept], output[kept]
    values, weights = RNG.normal(size=(3, kept.sum())) + example, RNG.exponential(size=kept.sum())
    factors = [(example, output)[i] for i in of]
    left = without_means(values, factors, weights)
    design = np.hstack([dummies(factor) for factor in factors])
    design = design if len(of) == 1 else design[:, :-1]
    for row, found in zip(values, left, strict=True):
        assert found == pytest.approx(sm.WLS(row, design, weights=weights).fit().resid, abs=1e-8)


def test_means_of_a_chain_and_of_parts_that_do_not_meet():
    """Tables on which means taken out in turns would hardly get anywhere."""
    chain = np.arange(400)
    for example, output in ((chain // 2, (chain + 1) // 2), (np.repeat([0, 0, 1, 1, 2], 4), np.tile([0, 1, 2, 2], 5)),
                            (np.repeat([0, 1], 10), np.repeat([5, 6], 10))):  # fmt: skip
        values, weights = RNG.normal(size=(2, len(example))), RNG.exponential(size=len(example))
        design = np.hstack([dummies(example), dummies(output)]) * np.sqrt(weights)[:, None]
        left = without_means(values, [example, output], weights)
        for row, found in zip(values, left, strict=True):
            fit = np.linalg.lstsq(design, row * np.sqrt(weights), rcond=1e-12)[0]
            assert found == pytest.approx(row - np.hstack([dummies(example), dummies(output)]) @ fit, abs=1e-6)
    with pytest.raises(InputError, match=r"of .* points for 6 values"):
        without_means(np.arange(6.0)[None], [np.array([0, 1, 0])])
    with pytest.raises(InputError, match="one or two factors, not 3"):
        without_means(np.arange(3.0)[None], [np.arange(3)] * 3)


def test_correlation_beyond_means_equals_pingouin_on_dummies_and_brute_force():
    example, output = (a.ravel() for a in np.meshgrid(np.arange(15), np.arange(4), indexing="ij"))
    points = clusters(example, output)
    values = RNG.normal(size=(2, 60)) + 3 * example + RNG.normal(size=4)[output]
    both = (example, output)
    r = associations(values, [Ask("pearson", 0, 1)], points, 10, without=both)[0]
    # Without the last of each factor: pingouin's projection is not defined with dummies that add up to one.
    given = np.hstack([dummies(example)[:, :-1], dummies(output)[:, :-1]])
    frame = pd.DataFrame(np.vstack([values, given.T]).T).add_prefix("v")
    truth = pingouin.partial_corr(frame, "v0", "v1", list(frame.columns[2:]))
    assert r.estimate == pytest.approx(truth["r"].iloc[0])
    rho = associations(values, [Ask("spearman", 0, 1)], points, 10, seed=3, without=both)[0]
    table = values.reshape(2, 15, 4)
    centred = table - table.mean(1, keepdims=True) - table.mean(2, keepdims=True) + table.mean((1, 2), keepdims=True)
    assert rho.estimate == pytest.approx(stats.spearmanr(*centred.reshape(2, 60)).statistic)
    for draw in range(3):
        w = draw_weights(points, draw, seed=3)
        left = without_means(values, both, w)
        ranks = [[w @ ((v < one) + 0.5 * (v == one)) for one in v] for v in np.round(left, 8)]
        covariance = np.cov(ranks, aweights=w)
        assert rho.draws[draw] == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def test_what_the_means_explain_is_told_from_what_they_do_not():
    example, output = (a.ravel() for a in np.meshgrid(np.arange(60), np.arange(6), indexing="ij"))
    points, level = clusters(example, output), RNG.normal(size=60)[example] * 3 + RNG.normal(size=6)[output] * 3
    values = level + RNG.normal(size=(2, 360))
    raw = associations(values, [Ask("spearman", 0, 1)], points, 400)[0]
    beyond = associations(values, [Ask("spearman", 0, 1)], points, 400, without=(example, output))[0]
    assert raw.estimate > 0.7 and beyond.low < 0 < beyond.high and beyond.high - beyond.low < 0.4
    gone = associations(np.array([level, values[0]]), [Ask("spearman", 0, 1)], points, 5,
                        names=["counts", "log P"], without=(example, output))[0]  # fmt: skip
    assert np.isnan(gone.estimate) and gone.reason == "counts is constant but for the means taken out"
    with pytest.raises(InputError, match="not finite"):
        broken = np.where(values > 1, np.inf, values)
        associations(broken, [Ask("spearman", 0, 1)], points, 5, without=(example,))
    with pytest.raises(InputError, match="kendall_distance"):
        associations(values, [Ask("kendall_distance", 0, 1)], points, 5, without=(example,))


def test_blocks_are_of_neighbours_and_leave_no_stump():
    label = blocks(["b"] * 7 + ["a"] * 11, [*range(5, 12), *range(11)], 4)
    assert label.tolist() == ["b:0"] * 4 + ["b:1"] * 3 + ["a:0"] * 4 + ["a:1"] * 4 + ["a:2"] * 3
    assert set(blocks(["a"] * 9, range(9), 4)[8:]) == {"a:1"} and set(blocks(["a"] * 3, range(3), 50)) == {"a:0"}
    for series, position, length, said in ((["a"], [0], 0, "block length 0"), (["a"], [0], 1.5, "a whole number"),
                                           ([None], [0], 2, "without its series"), (["a"], [np.nan], 2, "position")):
        with pytest.raises(InputError, match=said):
            blocks(series, position, length)


@pytest.mark.slow
def test_a_block_bootstrap_covers_where_neighbours_depend_on_one_another():
    """Two unrelated autoregressive series: points resampled alone are far too sure, blocks of them are not."""
    rng, missed = np.random.default_rng(5), {1: 0, 40: 0}
    for run in range(150):
        noise = rng.normal(size=(2, 1600))
        for t in range(1, 1600):
            noise[:, t] += 0.8 * noise[:, t - 1]
        for length in missed:
            own = clusters(blocks(["s"] * 1600, range(1600), length))
            found = associations(noise, [Ask("spearman", 0, 1)], own, 200, run)[0]
            missed[length] += not found.low <= 0 <= found.high
    assert missed[40] <= 17 < 40 < missed[1]


def test_weights_are_products_and_follow_the_names():
    examples, outputs = np.repeat(np.arange(300), 4), np.tile(np.arange(4), 300)
    points = clusters(examples, outputs)
    table = np.log(draw_weights(points, 7)).reshape(300, 4)
    np.testing.assert_allclose(table - table[:1], (table - table[:1])[:, :1] * np.ones(4), atol=1e-9)
    backwards = clusters(examples[::-1], outputs[::-1])
    np.testing.assert_array_equal(draw_weights(points, 7), draw_weights(backwards, 7)[::-1])
    part = clusters(examples[:400], outputs[:400])
    np.testing.assert_array_equal(draw_weights(points, 7)[:400], draw_weights(part, 7))
    assert not np.array_equal(draw_weights(points, 7), draw_weights(points, 8))
    assert not np.array_equal(draw_weights(points, 7), draw_weights(points, 7, seed=1))


def test_weights_are_exponential_and_independent():
    points = clusters(np.arange(4000))
    drawn = np.array([draw_weights(points, d) for d in range(20)])
    assert stats.kstest(drawn.ravel(), "expon").pvalue > 0.001
    assert np.abs(np.corrcoef(drawn) - np.eye(20)).max() < 0.08


def test_outputs_are_resampled_from_one_in_twenty_shared_points_on():
    examples = np.arange(1000)
    outputs = np.arange(1000)
    outputs[:48] = np.repeat(np.arange(24), 2) + 5000
    assert not clusters(examples, outputs).two_way
    outputs[48:50] = 9000
    assert clusters(examples, outputs).two_way
    within_one_example = np.where(np.arange(1000) < 500, 1, np.arange(1000))
    assert not clusters(within_one_example, np.where(np.arange(1000) < 500, 1, np.arange(1000))).two_way


def test_one_way_interval_agrees_with_the_bootstrap_of_scipy():
    values = data(300, 2, ties=False)
    found = associations(values, [Ask("spearman", 0, 1)], clusters(np.arange(300)), 2000)[0]
    truth = stats.bootstrap(
        (values[0], values[1]), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, n_resamples=1000,
        vectorized=False, method="percentile", random_state=np.random.default_rng(0),
    )  # fmt: skip
    assert found.low == pytest.approx(truth.confidence_interval.low, abs=0.025)
    assert found.high == pytest.approx(truth.confidence_interval.high, abs=0.025)
    assert np.std(found.draws) == pytest.approx(truth.standard_error, rel=0.12)


def test_sign_flip_p_equals_complete_enumeration():
    contributions = RNG.normal(0.3, 1, (3, 30))
    points = clusters(np.arange(30) // 3)
    found = sign_flip_p(contributions, points, flips=40_000)
    sums = contributions.reshape(3, 10, 3).sum(axis=2)
    signs = np.array(list(itertools.product([-1, 1], repeat=10)))
    exact = (np.abs(signs @ sums.T) >= np.abs(sums.sum(axis=1)) - 1e-9).mean(axis=0)
    np.testing.assert_allclose(found, exact, atol=0.012)


def test_more_flips_allow_a_smaller_p():
    values = np.array([np.arange(60.0), np.arange(60.0)])
    own, ask = clusters(np.arange(60)), [Ask("spearman", 0, 1)]
    few, many = (associations(values, ask, own, 10, flips=flips)[0].p for flips in (99, 9999))
    assert (few, many) == (1 / 100, 1 / 10_000)


def test_p_is_the_larger_of_the_two():
    contributions = RNG.normal(0.3, 1, (1, 400))
    examples, outputs = np.arange(400) // 4, np.arange(400) % 5
    both = sign_flip_p(contributions, clusters(examples, outputs), 4000)[0]
    single = [sign_flip_p(contributions, clusters(c), 4000)[0] for c in (examples, outputs)]
    assert both == pytest.approx(max(single))
    assert sign_flip_p(contributions, clusters(np.zeros(400)))[0] == 1


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.2])
def test_p_of_independent_points_is_that_of_scipy(slope):
    rng = np.random.default_rng(4)
    values = rng.normal(size=(2, 300))
    values[1] += slope * values[0]
    asks = [Ask(measure, 0, 1) for measure in ("spearman", "pearson", "kendall_distance")]
    found = [answer.p for answer in associations(values, asks, clusters(np.arange(300)), 4000)]
    truth = [test(*values).pvalue for test in (stats.spearmanr, stats.pearsonr, stats.kendalltau)]
    np.testing.assert_allclose(found, truth, atol=0.04)


def test_holm_equals_statsmodels_and_passes_nulls_over():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005, 0.9, 0.01])
    truth = multipletests(p[~np.isnan(p)], method="holm")[1]
    np.testing.assert_allclose(holm(p)[~np.isnan(p)], truth)
    assert np.isnan(holm(p)[2]) and len(holm([])) == 0


def test_reliability_predicts_the_correlation_of_whole_measurements():
    truth = RNG.normal(size=20_000)
    quarter = [truth + RNG.normal(0, 2, 20_000) for _ in range(4)]
    whole = stats.spearmanr(quarter[0] + quarter[1], quarter[2] + quarter[3]).statistic
    assert split_half_reliability(quarter[0], quarter[1]) == pytest.approx(whole, abs=0.02)
    assert split_half_reliability(truth[:50], -truth[:50]) == pytest.approx(-1)
    assert np.isnan(split_half_reliability(truth[:2], truth[:2]))
    assert np.isnan(split_half_reliability(np.ones(9), truth[:9]))


def test_two_sided_p():
    assert two_sided_p(np.arange(1.0, 100)) == pytest.approx(2 / 100)
    assert two_sided_p(np.linspace(-1, 1, 100)) == 1
    assert np.isnan(two_sided_p(np.array([])))


def test_what_cannot_be_estimated_says_why():
    values = np.array([[1.0, 2, 3, 4], [5, 5, 5, 5], [1, 2, -np.inf, 0], [2, 1, 4, 3]])
    own = clusters(list("abcd"))
    constant, rank, infinite = associations(
        values, [Ask("spearman", 0, 1), Ask("spearman", 0, 2), Ask("pearson", 0, 2)], own, 20, names=list("wxyz")
    )
    assert constant.reason == "x is constant" and np.isnan([constant.estimate, constant.p, constant.low]).all()
    assert rank.estimate == pytest.approx(stats.spearmanr(values[0], values[2]).statistic) and rank.reason is None
    assert infinite.reason == "y has infinite values"
    gone = associations(values, [Ask("spearman", 0, 3, (0,))], own, 20)[0]
    assert "controls leave nothing" in gone.reason and np.isnan([gone.estimate, gone.p]).all()
    few = associations(values[:, :2], [Ask("spearman", 0, 3)], clusters(list("ab")), 20)[0]
    assert few.reason == "fewer than 3 points" and np.isnan(few.estimate)
    lone = associations(values, [Ask("spearman", 0, 3)], clusters(list("aabb")), 20)[0]
    assert lone.estimate == pytest.approx(0.6) and np.isnan(lone.low) and "no interval" in lone.reason
    with pytest.raises(InputError, match="measure rho"):
        associations(values, [Ask("rho", 0, 1)], own, 20)


def test_partial_correlation_of_a_known_chain_is_zero():
    chain = np.array([[1, 0.6, 0.36], [0.6, 1, 0.6], [0.36, 0.6, 1]])
    assert partial_correlation(chain, 0, 2, [1]) == pytest.approx(0)


def simulated(rng, types, correlation=0.0, examples=300, each=6, zipf=True):
    """x and y with example, output-type (Zipf, or each once) and point effects of one standard deviation each."""
    share = 1 / np.arange(1, types + 1)
    example = np.repeat(np.arange(examples), each)
    output = rng.choice(types, size=len(example), p=share / share.sum()) if zipf else rng.permutation(types)
    values = np.zeros((2, len(example)))
    for codes in (example, output, np.arange(len(example))):
        first, other = rng.normal(size=(2, codes.max() + 1))
        second = correlation * first + np.sqrt(1 - correlation**2) * other
        values += np.stack([first[codes], second[codes]])
    return values, example, output


@pytest.mark.slow
@pytest.mark.parametrize("types, worst", [(50, 0.16), (200, 0.10), (1000, 0.10)])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_false_alarms_and_coverage_with_recurring_outputs(types, worst, correlation):
    rng, runs = np.random.default_rng(1), 150
    truth = 6 / np.pi * np.arcsin(correlation / 2)
    missed, missed_by_example, alarms, alarms_by_example = np.zeros(4)
    for run in range(runs):
        values, example, output = simulated(rng, types, correlation)
        both = associations(values, [Ask("spearman", 0, 1)], clusters(example, output), 300, run)[0]
        one = associations(values, [Ask("spearman", 0, 1)], clusters(example), 300, run)[0]
        missed += not both.low <= truth <= both.high
        missed_by_example += not one.low <= truth <= one.high
        alarms += both.p < 0.05
        alarms_by_example += one.p < 0.05
    assert missed / runs <= worst
    assert missed_by_example / runs > 0.2, "resampling examples alone should fail here"
    if correlation:
        assert alarms / runs > 0.9
    else:
        assert alarms / runs <= worst and alarms_by_example / runs > 0.2


@pytest.mark.slow
def test_intervals_by_example_cover_where_outputs_are_distinct():
    rng, runs, missed, alarms = np.random.default_rng(2), 200, 0, 0
    truth = 6 / np.pi * np.arcsin(0.4 / 2)
    for run in range(runs):
        values, example, output = simulated(rng, 600, 0.4, examples=100, zipf=False)
        points = clusters(example, output)
        found = associations(values, [Ask("spearman", 0, 1)], points, 300, run)[0]
        assert not points.two_way
        missed += not found.low <= truth <= found.high
        alarms += found.p < 0.05
    assert 0.01 <= missed / runs <= 0.11 and alarms / runs > 0.95


def test_twenty_models_share_the_weights_and_the_ranks_of_a_draw(monkeypatch):
    values, drawn, ranked = data(400, 21), [], []
    points = clusters(np.arange(400) // 5, RNG.zipf(1.5, 400))

    def draw_once(points, draw, seed):
        drawn.append(draw)
        return draw_weights(points, draw, seed)

    def rank_all(order, *rest):
        ranked.append(len(order))
        return ranks(order, *rest)

    ranks = statistics._rank_scores
    monkeypatch.setattr(statistics, "draw_weights", draw_once)
    monkeypatch.setattr(statistics, "_rank_scores", rank_all)
    associations(values, [Ask("spearman", 0, m) for m in range(1, 21)], points, 50)
    assert drawn == list(range(50)) and ranked == [21] * 51
