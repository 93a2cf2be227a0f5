"""Controls: joined counts, lengths and priors, the most frequent outputs left out, and what each predictor adds."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from taskgram_utils.controls import incremental_r2, point_controls, without_most_frequent
from taskgram_utils.errors import InputError
from taskgram_utils.memorization import mem
from tests.test_memorization import KEY, KEYS, MODEL, REFERENCE, spearman


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
    np.testing.assert_allclose(own.r2, truth)
    np.testing.assert_allclose(own.increment, np.diff([0, *truth]))
    assert own.predictor.tolist() == steps and own.p.iloc[0] > 0.05 and own.p.iloc[2] < 0.01
    assert (own.increment_low <= own.increment_high).all() and (own.step == 100).all()
    ranked = incremental_r2(MODEL[MODEL.model == "large"], predictors, ["taskgram"], ranks=True)
    assert ranked.r2[0] == pytest.approx(spearman(REFERENCE, MODEL[MODEL.model == "large"]) ** 2)


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
