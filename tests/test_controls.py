"""Controls: joined counts, lengths and priors, the most frequent outputs left out, and what each predictor adds."""

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from scipy import stats

from taskgram_utils.controls import incremental_r2, point_controls, without_most_frequent
from taskgram_utils.errors import InputError
from taskgram_utils.jackknife import Query, clusters_of, jackknife, standard_error
from taskgram_utils.memorization import estimates, mem, slopes
from tests.test_memorization import KEY, KEYS, MODEL, REFERENCE, SIZES, spearman


def test_without_the_most_frequent_outputs_mem_is_that_of_the_other_points():
    """Two outputs, common and probable, make a correlation of points that have none."""
    rng = np.random.default_rng(11)
    size = 300
    keys = pd.DataFrame({"task": "qa", "group": "g", "example_id": [f"e{i}" for i in range(size)], "n": 2, "start": 0})
    keys["sy"] = ["the answer"] * 80 + ["answer is"] * 60 + [f"w{i % 40}" for i in range(size - 140)]
    common = np.arange(size) < 140
    left = keys.assign(model="taskgram", zero_handling="keep", logp=rng.normal(size=size) + 5 * common)
    right = keys.assign(model="large", logp=rng.normal(size=size) + 5 * common)
    whole, rest = mem(left, right), without_most_frequent(left, right)
    assert whole["estimate"].item() > 0.6 and abs(rest["estimate"].item()) < 0.25
    truth = stats.spearmanr(left["logp"][~common], right["logp"][~common]).statistic
    assert rest["estimate"].item() == pytest.approx(truth) and rest["points"].item() == size - 140
    assert rest["most_frequent"].item() == ("the answer", "answer is")
    assert rest["share"].item() == pytest.approx(140 / 300)
    assert without_most_frequent(left[common], right).empty


def test_incremental_r2_equals_statsmodels_and_sees_what_a_step_adds():
    rng = np.random.default_rng(8)
    infinigram = REFERENCE.assign(model="infinigram", logp=REFERENCE.logp + rng.normal(size=len(KEY)))
    sides = [table.set_index(KEYS)["logp"].rename(table.model.iloc[0]) for table in (REFERENCE, infinigram)]
    unigram = KEY.assign(unigram=rng.normal(size=len(KEY)))[[*KEYS, "unigram"]]
    predictors = pd.concat(sides, axis=1).reset_index().merge(unigram)
    steps = ["unigram", "infinigram", "taskgram"]
    table = incremental_r2(MODEL, predictors, steps)
    own = table[table.model == "large"]
    joined = predictors.merge(MODEL[MODEL.model == "large"], on=KEYS)
    truth = [sm.OLS(joined.logp, sm.add_constant(joined[steps[: k + 1]])).fit().rsquared for k in range(3)]
    np.testing.assert_allclose(own.r2, truth, rtol=0, atol=1e-10)
    np.testing.assert_allclose(own.increment, np.diff([0, *truth]), rtol=0, atol=1e-10)
    by_rank = incremental_r2(MODEL[MODEL.model == "large"], predictors, steps, ranks=True)
    ranks = joined[["logp", *steps]].rank()
    truth = [sm.OLS(ranks.logp, sm.add_constant(ranks[steps[: k + 1]])).fit().rsquared for k in range(3)]
    np.testing.assert_allclose(by_rank.r2, truth, rtol=0, atol=1e-10)
    assert own.predictor.tolist() == steps and own.p.iloc[0] > 0.05 and own.p.iloc[2] < 0.01
    assert (own.increment_low <= own.increment_high).all() and (own.step == 100).all()
    ranked = incremental_r2(MODEL[MODEL.model == "large"], predictors, ["taskgram"], ranks=True)
    assert ranked.r2[0] == pytest.approx(spearman(REFERENCE, MODEL[MODEL.model == "large"]) ** 2)


def test_partial_correlations_equal_pingouin_and_slopes_equal_statsmodels():
    rng = np.random.default_rng(12)
    controls = REFERENCE[KEYS].assign(a=rng.integers(0, 9, len(KEY)), b=REFERENCE.logp + rng.normal(size=len(KEY)))
    result = estimates(REFERENCE, MODEL, controls, parameters=SIZES)
    joined = REFERENCE.merge(MODEL, on=KEYS, suffixes=("_count", "")).merge(controls, on=KEYS)
    for row in result.table.itertuples():
        given = row.measure.partition("|")[2]
        rows = joined[joined.model == row.model]
        if given:
            truth = pingouin.partial_corr(rows, "logp_count", "logp", given.split("+"), method="spearman")
            assert row.estimate == pytest.approx(truth["r"].item(), abs=1e-10)
        else:
            truth = stats.spearmanr(rows.logp_count, rows.logp).statistic
            assert row.estimate == pytest.approx(truth, abs=1e-10)
    sized = slopes(result).set_index("measure")["slope"]
    for measure, rows in result.table.groupby("measure"):
        fit = sm.OLS(rows.estimate, sm.add_constant(np.log10(rows.parameters))).fit()
        assert sized[measure] == pytest.approx(fit.params.iloc[1], abs=1e-10)


@pytest.mark.parametrize("given", [(), (2,), (2, 3)])
def test_the_jackknife_is_near_the_clustered_sandwich_of_a_regression(given):
    """Of standardised rows that are hardly correlated a slope is a correlation. The sandwich is another estimate of
    the same variance: near, and not equal."""
    rng = np.random.default_rng(13)
    example, output = np.repeat(np.arange(150), 4), rng.integers(0, 120, 600)
    shared = rng.normal(size=(4, 150))[:, example] + rng.normal(size=(4, 120))[:, output] + rng.normal(size=(4, 600))
    z = (shared - shared.mean(axis=1, keepdims=True)) / shared.std(axis=1, keepdims=True)
    result = jackknife(z, [Query("pearson", 0, 1, given)], clusters_of(example, output))[0]
    rest = [row - sm.OLS(row, sm.add_constant(z[list(given)].T)).fit().fittedvalues if given else row for row in z[:2]]
    y, x = (row / row.std() for row in rest)
    fit = sm.OLS(y, sm.add_constant(x)).fit(
        cov_type="cluster", cov_kwds={"groups": np.stack([example, output], axis=1)}
    )
    assert result.estimate == pytest.approx(fit.params[1], abs=1e-10)
    error, naive = standard_error(result.changes)[0], sm.OLS(y, sm.add_constant(x)).fit().bse[1]
    assert error == pytest.approx(fit.bse[1], rel=0.1) and error != fit.bse[1] and error > 1.3 * naive


def test_point_controls():
    taskgrams = pd.DataFrame({"example_id": ["e", "e", "f"], "n": 1, "sx": ["a", "b", "b"], "sy": ["u", "u", "v"],
                              "start": 0})  # fmt: skip
    counts = pd.DataFrame({"sx": list("abuv"), "sy": None, "count": [3, 0, 7, 1]})
    table = point_controls(taskgrams, counts)
    np.testing.assert_allclose(table.log_count_sy, np.log([8, 2]))
    np.testing.assert_allclose(table.log_count_sx, [np.log(4) / 2, 0])
    model = table[["example_id", "n", "sy", "start"]].assign(model="m", step=3, logp=-1.0, tokens=[2, 5])
    full = point_controls(taskgrams, counts, model, model.assign(logp=[-8.0, -9.0]))
    assert full.tokens.tolist() == [2, 5] and full.logp_prior.tolist() == [-8, -9] and full.model.tolist() == ["m", "m"]
    with pytest.raises(InputError, match="--singles"):
        point_controls(taskgrams, counts[counts.sx != "v"])


def test_an_output_of_many_inputs_has_the_count_of_one_to_the_last_bit():
    inputs, outputs = list("abcdefghij"), [f"u{i}" for i in range(60)]
    many = pd.MultiIndex.from_product([outputs, inputs], names=["sy", "sx"]).to_frame(index=False)
    taskgrams = many.assign(example_id="e", n=1, start=0)
    counts = pd.DataFrame({"sx": [*inputs, *outputs], "sy": None, "count": [*[1] * 10, *range(60)]})
    table = point_controls(taskgrams, counts).set_index("sy")["log_count_sy"]
    assert (table[outputs] == np.log1p(range(60))).all()
