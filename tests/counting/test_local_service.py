"""One corpus, three ways to count: a scan, an index, and the same index behind the web service's protocol."""

import numpy as np
import pandas as pd
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgram_utils.counting.api import ApiCounter
from taskgram_utils.counting.base import Counter, count_table
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.counting.local_service import serve
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import words

WORDS = st.sampled_from(["a", "b", "A", "co-op", "don’t", "é", "e\u0301", "1,000", "हिन्दी", "的", "…", "x", "it's"])
TEXTS = st.lists(st.lists(WORDS, max_size=10).map(" ".join), min_size=1, max_size=8).filter(
    lambda texts: any(map(words, texts))
)
NGRAMS = st.lists(WORDS, min_size=1, max_size=3).map(" ".join).filter(words)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.lists(NGRAMS, min_size=1, max_size=6), st.lists(st.tuples(NGRAMS, NGRAMS), max_size=6))
def test_three_backends_give_the_same_counts(tmp_path_factory, texts, ngrams, pairs):
    folder = tmp_path_factory.mktemp("three")
    texts = [t for t in texts if t.strip()]
    index = build_index(texts, folder / "i", progress=False)
    with serve(index) as url:
        hosted = ApiCounter("own", cache=folder / "c.sqlite", url=url, sample=10**6, progress=False)
        tables = [count_table(c, pairs, ngrams) for c in (ScanCounter(texts, progress=False), index, hosted)]
        for table in tables[1:]:
            assert table["count"].tolist() == tables[0]["count"].tolist()
            assert table["unit"].tolist() == tables[0]["unit"].tolist()
        by_occurrence = ApiCounter("own", "occurrences", cache=folder / "c.sqlite", url=url, progress=False)
        assert np.array_equal(by_occurrence.count(ngrams), Index(folder / "i", unit="occurrences").count(ngrams))


@pytest.fixture(params=["scan", "index", "api"])
def open_counter(request, tmp_path):
    """Opens one kind of counter over the same texts, in a unit."""
    with serve(index := build_index(CONTRACT, tmp_path / "i", progress=False)) as url:
        yield lambda unit="documents": {
            "scan": lambda: ScanCounter(CONTRACT, unit, progress=False), "index": lambda: Index(index.path, unit=unit),
            "api": lambda: ApiCounter("own", unit, tmp_path / "c.sqlite", url=url, progress=False),
        }[request.param]()  # fmt: skip


CONTRACT = ["a b a", "B, c", "c a!"]


def test_every_counter_keeps_the_contract(open_counter):
    for unit, single in (("documents", [2, 2, 1, 0]), ("occurrences", [3, 2, 1, 0])):
        counter = open_counter(unit)
        assert (counter.unit, counter.count(["a", "B", "b a", "b b"]).tolist()) == (unit, single)
        assert isinstance(counter, Counter) and counter.counts().pairs.shape == counter.counts().ngrams.shape == (0,)
    counter = open_counter()
    frame = pd.DataFrame({"sx": ["a", "b"], "sy": ["c", "c"]})
    assert counter.pair_counts(frame).tolist() == counter.pair_counts([("a", "c"), ("b", "c")]).tolist() == [1, 1]
    assert [words(text) for text in counter.documents_with("a", "c")] == [["c", "a"]]
    assert len(counter.documents_with("a", k=1)) == 1 and counter.documents_with("b", "zebra") == []


@pytest.mark.parametrize(("request_of", "message"), [
    ({"ngrams": "a"}, "'a' is one text"), ({"pairs": [("a", "b"), "ab"]}, "pair 2: 'ab' is not two n-grams"),
    ({"pairs": pd.DataFrame({"sx": ["a"]})}, "missing column sy"), ({"ngrams": ["a", "--"]}, "n-gram 2: '--' holds no"),
    ({"ngrams": [""]}, "n-gram 1: '' holds no"), ({"ngrams": ["a", None]}, "None is not text"),
    ({"ngrams": [float("nan")]}, "nan is not text"), ({"pairs": [("a", "--")]}, "'--' holds no word"),
])  # fmt: skip
def test_every_counter_refuses_the_same(open_counter, request_of, message):
    with pytest.raises(InputError, match=message):
        open_counter().counts(**request_of)
    with pytest.raises(InputError, match="unit 'window'"):
        open_counter("window")


def test_what_is_not_answered_is_refused_and_what_is_no_request_is_an_error(tmp_path):
    index = build_index(["a b c", "b c"], tmp_path / "i", progress=False)
    with serve(index) as url:
        for request, said in (
            ({"query_type": "count", "query": "a AND b"}, "AND"), ({"query_type": "ntd", "query": "a"}, "ntd"),
            ({"query_type": "get_doc_by_rank", "query": "a", "s": 0, "rank": 99, "max_disp_len": 9}, "range"),
            ({"query_type": "find", "query": " "}, "empty"),
        ):  # fmt: skip
            answer = requests.post(url, json=request, timeout=60)
            assert answer.status_code == 200 and said in answer.json()["error"]
        no_rank = b'{"query_type": "get_doc_by_rank", "query": "a", "s": 5}'
        for body in (b"", b"no json", b"[]", b'{"query": "a"}', no_rank):
            answer = requests.post(url, data=body, timeout=60)
            assert answer.status_code == 400 and "error" in answer.json()
        long = {"query_type": "get_doc_by_rank", "query": "b", "s": 0, "rank": 2, "max_disp_len": 2}
        assert requests.post(url, json=long, timeout=60).json()["disp_len"] <= 2
    with pytest.raises(requests.ConnectionError):
        requests.post(url, json={}, timeout=1)
