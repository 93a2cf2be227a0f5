"""One pass over the text against counting by hand."""

import itertools
import json
import lzma
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.base import count_table, half_of
from taskgram_utils.counting.engine import matching
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import ngrams as ngrams_of
from taskgram_utils.ngrams import normalize, size, words
from tests.counting.scanning import scan

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
WORDS = st.sampled_from(["a", "b", "A", "c", "Don't", "ΟΣ", "é", "e\u0301", "1,0", "10", "…", "x-y"])
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=12)
NGRAMS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join).filter(lambda s: words(s))


def occurrences(document, ngram):
    return ngrams_of(words(document), size(ngram)).count(normalize(ngram))


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(NGRAMS, max_size=12), st.lists(st.tuples(NGRAMS, NGRAMS), max_size=15), st.integers(1, 20))
def test_equals_counting_by_hand(texts, singles, pairs, room):
    with mock.patch.object(matching, "_ROOM", room):  # so few words are matched at a time
        check_by_hand(texts, singles, pairs)


def check_by_hand(texts, singles, pairs):
    by_hand = np.array([[occurrences(d, s) for d in texts] for s in singles], int).reshape(-1, len(texts))
    both = np.array([[occurrences(d, x) > 0 < occurrences(d, y) for d in texts] for x, y in pairs], int)
    both = both.reshape(-1, len(texts))
    half = half_of(np.arange(len(texts)))
    result = scan(texts, singles, pairs, progress=False)
    assert (result.documents, result.tokens) == (len(texts), sum(len(words(d)) for d in texts))
    assert result.found.ngrams.tolist() == (by_hand > 0).sum(axis=1).tolist()
    assert result.found.pairs.tolist() == both.sum(axis=1).tolist()
    halved = scan(texts, singles, pairs, unit="occurrences", halves=True, progress=False).found
    for row, chosen in enumerate((half >= 0, half == 0, half == 1)):
        assert halved.ngrams[row].tolist() == by_hand[:, chosen].sum(axis=1).tolist()
        assert halved.pairs[row].tolist() == both[:, chosen].sum(axis=1).tolist()


def test_more_documents_than_are_counted_together(monkeypatch):
    monkeypatch.setattr(matching, "_ROOM", 50)
    rng = np.random.default_rng(0)
    names = [f"w{i}" for i in range(12)]
    texts = [" ".join(rng.choice(names, rng.integers(1, 9))) for _ in range(64 * 3 + 5)]
    texts[70] = " ".join(rng.choice(names, 300))  # one that does not fit into what is matched at a time
    singles = [*names, *map(" ".join, itertools.permutations(names[:5], 3))]
    check_by_hand(texts, singles, [*itertools.product(names, names)])


def test_a_hub_with_more_partners_than_a_document_has_words():
    names = [f"w{i}" for i in range(300)]
    texts = ["hub w1 w2", "hub", "w1 w3", " ".join(names) + " hub"]
    asked = [("hub", name) for name in names] + list(itertools.pairwise(names)) + [("hub", "hub"), ("w2", "hub")]
    # A second hub: whichever side the pairs are listed at, one of the two has a long list.
    asked += [("other", name) for name in names] + [("hub", "other")]
    by_hand = [sum({x, y} <= set(words(d)) for d in texts) for x, y in asked]
    assert scan(texts, pairs=asked, progress=False).found.pairs.tolist() == by_hand


def test_nothing_is_matched_across_documents_or_forms():
    texts = ["a b", "b c", "Ab", "a. B", "co-op", "co op"]
    asked = ["b b", "b c", "ab", "a b", "coop", "co op"]
    assert scan(texts, asked, progress=False).found.ngrams.tolist() == [0, 1, 1, 2, 1, 1]


def test_a_corpus_on_disk_and_its_table(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in ["a b", " ", "b c"]))
    counter = ScanCounter(path, progress=False)
    table = count_table(counter, [("a", "b")], ["b"], halves=True)
    assert counter.documents == 2
    assert table["source"].iloc[0] == f"{Corpus(path).source}, scan"
    assert table.loc[table["half"].isna(), "count"].tolist() == [1, 2]
    assert scan(str(path)).documents == 2


def test_counter_pairs_and_documents():
    texts = ["Ada was born in Oslo.", "Oslo is cold", "Born in Oslo: Ada", "ada"]
    counter = ScanCounter(texts, progress=False)
    crossed = [(x, y) for x in ("ada", "born in") for y in ("Oslo", "cold", "ada")]
    assert counter.pair_counts(crossed).tolist() == [2, 0, 3, 2, 0, 2]
    assert counter.count(["oslo"]).tolist() == [3]
    assert counter.pair_counts([("ada", "oslo")]).tolist() == [2]
    assert counter.documents_with("born in", "ADA", 5) == [texts[0], texts[2]]
    assert counter.documents_with("born in", "ADA", 1) == [texts[0]]
    assert counter.documents_with("ada", k=9) == [texts[0], texts[2], texts[3]]
    assert counter.documents_with("ada", "cold") == []
    assert (counter.documents, counter.tokens) == (4, 13)


def test_bad_requests():
    with pytest.raises(InputError, match="unit 'window'"):
        scan(["a"], ["a"], unit="window")
    with pytest.raises(InputError, match="not a list"):
        scan(["a"], ngrams="a")
    with pytest.raises(InputError, match="no such file"):
        scan("/nowhere/at/all", ["a"])


def test_real_prose():
    file = SHARED / "corpus/openstax/astronomy.txt.xz"
    if not file.exists():
        pytest.skip(f"no {file}")
    texts = [line for line in lzma.decompress(file.read_bytes()).decode().split("\n") if line][:3_000]
    lines = [f" {normalize(t)} " for t in texts]
    rng, asked = np.random.default_rng(0), []
    while len(asked) < 150:
        grams = ngrams_of(words(texts[rng.integers(len(texts))]), int(rng.integers(1, 5)))
        asked += [grams[rng.integers(len(grams))]] if grams else []
    holds = np.array([[f" {s} " in line for line in lines] for s in asked])
    found = scan(texts, asked, list(itertools.product(asked, asked)), progress=False).found
    assert np.array_equal(found.ngrams, holds.sum(axis=1))
    assert np.array_equal(found.pairs.reshape(150, 150), holds.astype(int) @ holds.T.astype(int))
