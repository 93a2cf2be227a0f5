"""The integer draws: published splitmix64 outputs, bijections, proportions, the same in every process."""

import os
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from taskgram_utils.miniature.draws import below, bits, key, permuted, shuffled, weighted, zipf


def test_bits_are_splitmix64():
    # The first outputs for seed 1234567, as published with the reference implementations.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
                 16408922859458223821]  # fmt: skip
    assert bits(np.uint64(1234567), np.arange(5)).tolist() == published


def test_a_draw_depends_on_its_position_alone():
    stream = key("position")
    whole = bits(stream, np.arange(1000))
    some = np.array([999, 3, 500, 3])
    assert (bits(stream, some) == whole[some]).all()
    assert int(bits(stream, 7)) == whole[7]


def test_keys_differ_by_every_part_and_their_order():
    parts = [(), ("a",), ("b",), ("a", 1), (1, "a"), ("a", 2), ("a", -1), ("a", "1"), ("a", 1, 0), (0,), (1,)]
    assert len({int(key(*p)) for p in parts}) == len(parts)


def test_keys_are_the_same_in_another_process():
    code = "from taskgram_utils.miniature.draws import key; print(int(key('miniature', 3, 'names')))"
    found = {
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True,
                       text=True, check=True).stdout.strip() for seed in ("1", "2")
    }  # fmt: skip
    assert found == {str(int(key("miniature", 3, "names")))}


def test_below_is_uniform_and_in_range():
    drawn = below(key("uniform"), np.arange(60_000), 12)
    assert drawn.min() == 0 and drawn.max() == 11 and drawn.dtype == np.int64
    assert chisquare(np.bincount(drawn)).pvalue > 1e-3


def test_two_streams_are_independent():
    a, b = (below(key("stream", i), np.arange(40_000), 4) for i in (0, 1))
    assert chisquare(np.bincount(a * 4 + b)).pvalue > 1e-3


def test_weighted_follows_its_weights():
    weights = np.array([5, 0, 1, 3, 0, 11])
    drawn = np.bincount(weighted(key("weighted"), np.arange(40_000), weights), minlength=6)
    assert (drawn[weights == 0] == 0).all()
    positive = weights > 0
    assert chisquare(drawn[positive], 40_000 * weights[positive] / weights.sum()).pvalue > 1e-3


def test_zipf_is_whole_and_inversely_proportional_to_rank():
    weights = zipf(48, 8)
    assert weights.dtype == np.int64 and len(weights) == 48
    np.testing.assert_allclose(weights * (np.arange(48) + 8), 1e9, rtol=1e-6)


@given(st.integers(1, 2_000), st.integers(0, 2**64 - 1))
def test_permuted_is_a_bijection(size, stream):
    assert sorted(permuted(np.uint64(stream), np.arange(size), size).tolist()) == list(range(size))


def test_permuted_scatters_neighbours_and_depends_on_its_stream():
    size = 4_097  # just above a power of two: most values walk on
    one, other = (permuted(key("order", i), np.arange(size), size) for i in (0, 1))
    assert (one != other).mean() > 0.99
    assert abs(np.corrcoef(one, np.arange(size))[0, 1]) < 0.08
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.08
    some = np.array([4_096, 0, 17])
    assert (permuted(key("order", 0), some, size) == one[some]).all()


def test_shuffled_is_a_permutation():
    found = shuffled(key("shuffled"), 500)
    assert sorted(found.tolist()) == list(range(500)) and (found != np.arange(500)).mean() > 0.9
