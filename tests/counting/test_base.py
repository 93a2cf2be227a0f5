"""The count table, and the halves of a corpus."""

import warnings

import numpy as np
import pandas as pd
import pytest

from taskgram_utils.counting.base import COLUMNS, count_table, half_of
from taskgram_utils.counting.index import build_index
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputWarning

DOCUMENTS = ["The cat sat.", "A cat, a cat!", "Don't sit, cat; the dog sat", "..."]


@pytest.fixture(params=["scan", "index"])
def counter(request, tmp_path):
    return ScanCounter(DOCUMENTS) if request.param == "scan" else build_index(DOCUMENTS, tmp_path / "i")


def test_rows_are_distinct_as_typed_and_in_order(counter):
    table = count_table(counter, [("The CAT", "sat"), ("cat", "dog"), ("The CAT", "sat")], ["don't", "dont", "a cat"])
    assert list(table.columns) == list(COLUMNS)
    assert table["sx"].tolist() == ["The CAT", "cat", "don't", "dont", "a cat"]
    assert table["sy"].tolist()[:2] == ["sat", "dog"]
    assert table["sy"].isna().tolist() == [False, False, True, True, True]
    assert table["n"].tolist() == [2, 1, 1, 1, 2]
    assert table["count"].tolist() == [1, 1, 1, 1, 1]
    assert table["half"].isna().all()
    assert table["exact"].all()
    assert str(table["count"].dtype) == "int64"
    assert table["source"].nunique() == 1


def test_singles_and_a_frame_of_pairs(counter):
    pairs = pd.DataFrame({"sx": ["cat", "the"], "sy": ["the", "bird"], "other": 1})
    table = count_table(counter, pairs, ["dog"], singles=True)
    assert list(zip(table["sx"], table["count"], strict=True)) == [
        ("cat", 2), ("the", 0), ("dog", 1), ("cat", 3), ("the", 2), ("bird", 0)
    ]  # fmt: skip


def test_halves_add_up(counter):
    table = count_table(counter, [("cat", "sat")], ["cat", "a"], halves=True)
    assert len(table) == 9
    assert table.loc[table["half"].isna(), "count"].tolist() == [2, 3, 1]
    parts = [table.loc[table["half"] == h, "count"].to_numpy() for h in (0, 1)]
    assert (parts[0] + parts[1]).tolist() == [2, 3, 1]


def test_an_ngram_of_a_script_without_spaces_has_no_exact_count(counter):
    with pytest.warns(InputWarning, match="2 of 5 n-grams, the first '東京', are mostly of a script that puts no"):
        table = count_table(counter, [("東京", "cat"), ("cat", "sat"), ("dog", "ไทย")], ["cat", "dog", "東京"])
    assert table["exact"].tolist() == [False, True, False, True, True, False]
    with pytest.warns(InputWarning):
        halves = count_table(counter, [("東京", "cat")], ["cat"], halves=True)
    assert halves["exact"].tolist() == [False, True] * 3


def test_a_corpus_of_a_script_without_spaces_has_no_exact_count(tmp_path):
    text = ["東京タワーは東京にある。", "Tokyo 東京 is a city"] * 100
    for counter in (ScanCounter(text), build_index(text, tmp_path / "i")):
        with pytest.warns(InputWarning, match="the text is mostly of a script that puts no space") as told:
            table = count_table(counter, [("tokyo", "city")], ["tokyo"])
        assert table["exact"].tolist() == [False, False] and table["count"].tolist() == [100, 100]
        assert len(told) == 1


def test_what_has_spaces_or_little_without_is_exact_and_no_warning(tmp_path):
    text = ["서울은 대한민국의 수도이다", "The capital of Japan is Tokyo (東京).", "हिन्दी में", "Ада Ловарн"] * 100
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        for counter in (ScanCounter(text), build_index(text, tmp_path / "i")):
            assert count_table(counter, [("서울은", "수도이다")], ["tokyo", "ада"])["exact"].all()


def test_units_stand_in_each_row():
    table = count_table(ScanCounter(DOCUMENTS, unit="occurrences"), [("a", "cat")], ["a cat"])
    assert table["unit"].tolist() == ["documents", "occurrences"]
    assert table["count"].tolist() == [1, 2]


def test_empty_requests_give_an_empty_table(counter):
    assert count_table(counter).empty


def test_half_is_splitmix64():
    # The generator's published first outputs for seed 0 (Steele, Lea & Flood 2014; Vigna's splitmix64.c).
    outputs = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B]
    assert half_of(np.arange(5)).tolist() == [o & 1 for o in outputs]
    assert abs(half_of(np.arange(100_000)).mean() - 0.5) < 0.005
