"""Suffix sorting and searching against sorting and searching by hand, and against divsufsort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgram_utils.counting.engine import suffix_array, suffix_search
from taskgram_utils.counting.engine.shards import Shard, _pack


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=80), st.integers(1, 6), st.sampled_from([4, 70_000]))
def test_sorted_suffixes(symbols, times, alphabet):
    """A large alphabet leaves fewer symbols to a word, so that repeats outlast the words."""
    symbols = symbols * times
    by_hand = sorted(range(len(symbols)), key=lambda i: symbols[i:])
    assert suffix_array.build(np.array(symbols, np.int64), alphabet).tolist() == by_hand


@pytest.mark.parametrize("kind", ["random", "one symbol", "copies", "fibonacci"])
def test_equals_divsufsort(kind):
    pydivsufsort = pytest.importorskip("pydivsufsort")
    rng = np.random.default_rng(0)
    a, b = [0], [0, 1]
    while len(b) < 20_000:
        a, b = b, b + a
    symbols = {
        "random": rng.integers(0, 200, 30_000),
        "one symbol": np.zeros(5_000),
        "copies": np.tile(rng.integers(0, 50, 500), 20),
        "fibonacci": np.array(b),
    }[kind].astype(np.uint8)
    assert np.array_equal(suffix_array.build(symbols, 256), pydivsufsort.divsufsort(symbols))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=2, max_size=60), st.integers(0, 60), st.integers(1, 4), st.booleans())
def test_search_finds_all_places_in_byte_order(tokens, at, n, sampled):
    tokens = np.array(tokens, np.uint16)
    data = tokens.tobytes()
    places = sorted(range(0, len(data), 2), key=lambda i: data[i:])
    table = np.array(places, "<u8").view(np.uint8).reshape(-1, 8)
    assert suffix_array.disorder(tokens, table, 2, 1000) == -1
    asked = tokens[at % len(tokens) :][:n]
    keys = asked.byteswap().astype(np.int64)
    sample = np.zeros(len(tokens) if sampled else 0, np.uint64)
    _pack(tokens, table, 2, 0, sample, 0, len(sample))
    shard = Shard(tokens, table, np.zeros(1, np.int64), 2, sample, 0, 400)
    low, high = suffix_search.search([shard], keys, np.array([0]), np.array([len(keys)]))[:, 0, 0]
    begins = [data[p : p + 2 * len(asked)] == asked.tobytes() for p in places]
    assert np.flatnonzero(begins).tolist() == list(range(low, high))


def test_disorder_is_seen():
    tokens = np.array([3, 1, 2, 1], np.uint16)
    good = np.array([[6], [2], [4], [0]], np.uint8)
    assert suffix_array.disorder(tokens, good, 2, 10) == -1
    for swapped in ([1, 0, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2]):
        assert suffix_array.disorder(tokens, good[swapped], 2, 10) >= 0
    assert suffix_array.disorder(tokens, np.array([[6], [2], [4], [200]], np.uint8), 2, 10) >= 0
    assert suffix_array.disorder(tokens, good[[0, 0, 2, 3]], 2, 10) >= 0
