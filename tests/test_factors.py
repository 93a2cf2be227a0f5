"""Means taken out of a table, and blocks of neighbours, against statsmodels and least squares."""

import numpy as np
import pytest
import statsmodels.api as sm

from taskgram_utils.errors import InputError
from taskgram_utils.factors import blocks, without_means

RNG = np.random.default_rng(0)
FRESH = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def the_same_draws_in_any_order():
    RNG.bit_generator.state = FRESH


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


def test_blocks_are_of_neighbours_and_leave_no_stump():
    label = blocks(["b"] * 7 + ["a"] * 11, [*range(5, 12), *range(11)], 4)
    assert label.tolist() == ["b:0"] * 4 + ["b:1"] * 3 + ["a:0"] * 4 + ["a:1"] * 4 + ["a:2"] * 3
    assert set(blocks(["a"] * 9, range(9), 4)[8:]) == {"a:1"} and set(blocks(["a"] * 3, range(3), 50)) == {"a:0"}
    for series, position, length, said in ((["a"], [0], 0, "block length 0"), (["a"], [0], 1.5, "a whole number"),
                                           ([None], [0], 2, "without its series"), (["a"], [np.nan], 2, "position")):
        with pytest.raises(InputError, match=said):
            blocks(series, position, length)
