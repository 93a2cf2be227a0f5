"""Holm's adjustment by hand, and reliability against whole measurements."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from taskgram_utils.statistics import holm, split_half_reliability

RNG = np.random.default_rng(0)


def test_holm_by_hand_and_nulls_are_passed_over():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005, 0.9])
    # In rising order .005 * 5, .01 * 4, .03 * 3, .04 * 2, .9 * 1, none below the one before.
    np.testing.assert_allclose(holm(p), [0.04, 0.09, np.nan, 0.09, 0.025, 0.9])
    assert len(holm([])) == 0
    drawn = RNG.random(50) ** 3
    np.testing.assert_allclose(holm(drawn), multipletests(drawn, method="holm")[1])


def test_reliability_predicts_the_correlation_of_whole_measurements():
    truth = RNG.normal(size=20_000)
    quarter = [truth + RNG.normal(0, 2, 20_000) for _ in range(4)]
    whole = stats.spearmanr(quarter[0] + quarter[1], quarter[2] + quarter[3]).statistic
    assert split_half_reliability(quarter[0], quarter[1]) == pytest.approx(whole, abs=0.02)
    assert split_half_reliability(truth[:50], -truth[:50]) == pytest.approx(-1)
    assert np.isnan(split_half_reliability(truth[:2], truth[:2]))
    assert np.isnan(split_half_reliability(np.ones(9), truth[:9]))
