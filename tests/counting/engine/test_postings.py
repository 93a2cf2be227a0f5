"""Documents of n-grams and of pairs under little memory, in every form in which they are held."""

import numpy as np
import pytest

from taskgram_utils.counting.engine import postings, threads
from taskgram_utils.counting.index import build_index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.geometric(0.04, 30)) for _ in range(1_500)]
    return build_index(texts, tmp_path_factory.mktemp("postings") / "i", progress=False, tokens_per_shard=20_000)


@pytest.fixture(scope="module")
def asked(index):
    rng = np.random.default_rng(1)
    return [*(f"w{i}" for i in range(1, 150)), *(f"w{a} w{b}" for a, b in rng.integers(1, 20, (100, 2)))]


@pytest.mark.parametrize("unit", ["documents", "occurrences"])
def test_memory_changes_no_count(index, asked, unit, monkeypatch):
    rng, index.unit = np.random.default_rng(2), unit
    pairs = [(asked[a], asked[b]) for a, b in rng.integers(0, len(asked), (300, 2))]
    crossed = [(x, y) for x in asked[:60] for y in asked[100:200]]
    expected = [index.counts(asked, pairs, halves) for halves in (False, True)], index.pair_counts(crossed)
    documents = [[set(index.documents_with(s, k=9_999)) for s in pair] for pair in pairs[:50]]
    assert expected[0][0].pairs[:50].tolist() == [len(x & y) for x, y in documents]
    for change in ({"BUDGET": 1}, {"BUDGET": 1_000}, {"_READ": 0, "_READ_TOKEN": 0}, {"_READ": 0, "_READ_TOKEN": 0.01}):
        with monkeypatch.context() as patch:
            for name, value in change.items():
                patch.setattr(postings, name, value)
            for halves in (False, True):
                for found, whole in zip(index.counts(asked, pairs, halves), expected[0][halves], strict=True):
                    assert np.array_equal(found, whole)
            assert np.array_equal(index.pair_counts(crossed), expected[1])


def test_documents_are_never_more_than_bits(index, asked):
    reader = index._readers[0]
    queries, (low, high) = index._ranges(asked)
    found = postings._fetch(reader, queries, low[0], high[0], np.arange(len(asked)))
    assert found.dense.any() and not found.dense.all()
    assert len(found.pool) <= len(asked) * (reader.documents // 32 + 1)


def test_stretches():
    weights = np.array([5, 1, 1, 9, 0, 3])
    assert list(threads.chunks(weights, 7)) == [(0, 3), (3, 4), (4, 6)]
    assert list(threads.chunks(weights[:0], 7)) == []
    for cuts in (threads.even(10, 3), threads.weighted(np.ones(10)), threads.weighted(np.zeros(10, np.int64))):
        assert cuts[0] == 0 and cuts[-1] == 10 and np.all(np.diff(cuts) > 0)
    done = np.zeros(10, np.int64)

    def work(a, b):
        done[a:b] += 1

    threads.parallel_for(work, threads.even(10))
    assert done.tolist() == [1] * 10
