"""One corpus, three ways to count: a scan, an index, and the same index behind the web service's protocol."""

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgram_utils.counting.api import ApiCounter
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.hosted import serve
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.counting.scan import ScanCounter
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
        assert hosted.tokens == index.tokens
        for table in tables[1:]:
            assert table["count"].tolist() == tables[0]["count"].tolist()
            assert table["unit"].tolist() == tables[0]["unit"].tolist()
        by_occurrence = ApiCounter("own", "occurrences", cache=folder / "c.sqlite", url=url, progress=False)
        assert np.array_equal(by_occurrence.count(ngrams), Index(folder / "i", unit="occurrences").count(ngrams))


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
