"""Marked documents are safe HTML, the engine's window is its own, disagreement is what a hand count gives."""

import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from taskgram_utils.counting import evidence
from taskgram_utils.counting.evidence import disagreement, engine_windowed, marked, places, searched, timed
from taskgram_utils.counting.index import build_index
from taskgram_utils.errors import InputError
from tests.counting.scanning import scan


def test_what_is_not_seen_and_underscores_at_an_edge_are_no_part_of_a_place():
    text = "A _co\xadop_ of می\u200cخواهم, __init__"
    found = [text[a:b] for a, b in places(text, ["coop of", "میخواهم", "init"])]
    assert found == ["co\xadop_ of", "می\u200cخواهم", "init"]


def test_occurrences_are_marked_and_all_else_is_escaped():
    text = "Don't <b>co-op</b>\n& co-op, the CAT sat"
    assert marked(text, ["coop", "cat sat"]) == (
        "Don&#x27;t &lt;b&gt;<mark>co-op</mark>&lt;/b&gt;<br>&amp; <mark>co-op</mark>, the <mark>CAT sat</mark>"
    )
    assert marked("<script>alert(1)</script>", ["script"]).count("<script") == 0
    assert marked("a b", ["c", "--"]) == "a b"


def test_marks_that_overlap_do_not_nest():
    assert marked("a b c d", ["a b c", "b c d", "b"]) == "<mark>a b c d</mark>"


@given(st.text(alphabet="ab <>&\"'\n-", max_size=30), st.lists(st.sampled_from(["a", "b", "a b", "ab"]), max_size=3))
def test_a_marked_text_is_the_text(text, ngrams):
    html = marked(text, ngrams)
    bare = re.sub("</?mark>", "", html)
    assert not re.search(r"[<>]", bare.replace("<br>", ""))
    assert unescape(bare.replace("<br>", "\n")) == text
    assert html.count("<mark>") == html.count("</mark>")


def test_count_cnf_counts_occurrences_within_a_window(tmp_path):
    pytest.importorskip("infini_gram.engine")
    # One document, so that no match lies across an edge: the engine loses those.
    index = build_index(["x y " + "o " * 30 + "x o o y " + "o " * 30 + "x z"], tmp_path / "i")
    pairs = [("x", "y"), ("x", "absent"), ("x", "z"), ("z", "y")]
    assert index.pair_counts(pairs).tolist() == [1, 0, 1, 1]
    assert engine_windowed(index, pairs, 5).tolist() == [2, 0, 1, 0]
    assert engine_windowed(index, pairs, 2).tolist() == [1, 0, 1, 0]


def test_a_path_the_engine_would_crash_on_is_left_alone(tmp_path):
    with pytest.warns(UserWarning, match="cannot open a path"):
        index = build_index(["x y"], tmp_path / "stable")
    assert engine_windowed(index, [("x", "y")]) is None


def test_a_call_is_timed(monkeypatch):
    clock = iter((7.0, 9.5))
    monkeypatch.setattr(evidence, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert timed(sorted, [2, 1]) == ([1, 2], 2.5)


def test_disagreement_by_hand():
    table = pd.DataFrame({
        "task": list("aaaab"), "exact": [0, 0, 2, 4, 1], "low": [0, 0, 0, 3, 1], "high": [1, 0, 2, 9, None],
    })  # fmt: skip
    found = disagreement(table, "exact", ["low", "high"], ["task"]).set_index(["task", "count"])
    assert found.loc[("a", "low"), ["pairs", "too_high", "too_low", "invented", "lost"]].tolist() == [4, 0, 0.5, 0, 0.5]
    assert found.loc[("a", "high"), ["too_high", "too_low", "invented", "lost"]].tolist() == [0.5, 0, 0.5, 0]
    by_scipy = stats.spearmanr([0, 0, 2, 4], [1, 0, 2, 9]).statistic
    assert found.loc[("a", "high"), "spearman"] == pytest.approx(by_scipy)
    assert found.loc[("b", "high"), "pairs"] == 0 and np.isnan(found.loc[("b", "low"), "spearman"])
    whole = disagreement(table, "exact", ["low"])
    assert list(whole.columns[:2]) == ["count", "pairs"] and whole["pairs"].tolist() == [5]
    with pytest.raises(InputError, match="truth"):
        disagreement(table, "truth", ["low"])


def test_string_search_finds_letters_and_misses_capitals():
    texts = ["The cat sat. More? How", "concat", "CAT and cat-like", "Äpfel, äpfel"]
    asked = ["cat", "the", "more how", "äpfel", "zebra"]
    found = searched(texts, asked)
    assert found["letters"].tolist() == [3, 1, 0, 1, 0]
    assert found["as typed"].tolist() == [2, 0, 0, 1, 0]
    assert scan(texts, asked, progress=False).found.ngrams.tolist() == [2, 1, 1, 1, 0]
    written = searched(texts, ["The", "More", "CAT"])
    assert written["letters"].tolist() == [1, 1, 3] and written["as typed"].tolist() == [1, 1, 1]
