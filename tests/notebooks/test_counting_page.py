"""What the chapter on counting says, of tables that go either way."""

import numpy as np
import pandas as pd

from taskgram_chapters import counting_page as c
from taskgram_chapters.recorded import recorded

WRONG = pd.DataFrame({
    "count": ["smaller single", "windows"], "pairs": [2000, 2000], "spearman": [0.8, 0.6], "too_high": [0.7, 0],
    "too_low": [0, 0.6], "invented": [0.4, np.nan], "lost": [0, 0.3],
})  # fmt: skip
BY_TASK = pd.DataFrame({"task": ["translation", "factual_qa"], "count": "windows", "pairs": [100, 4],
                        "spearman": [0.9, 0.1]}, index=[0, 0])  # fmt: skip


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_answer_counts_what_agrees_and_what_does_not():
    right = c.agreement({"a, b": ([1, 2], np.array([1, 2])), "b, c": (pd.Series([3]), pd.Series([3], index=[7]))})
    assert right[["N", "equal"]].to_numpy().tolist() == [[2, 2], [1, 1]]
    says = c.answer(right, WRONG)
    assert "2 comparisons, with up to 2 queries each, all give the same counts." in says
    assert says.endswith("for 70% of 2,000 pairs with the smaller single count and 60% of 2,000 pairs with windows.")
    assert "agree in 1." in c.answer(right.assign(equal=[2, 0]), WRONG)
    assert c.answer(right, WRONG.assign(too_high=0, too_low=0)).endswith("No shortcut gives a wrong number here.")


def test_shares_are_per_cent_and_what_is_missing_is_null():
    shown = c.shares(WRONG)
    assert list(shown) == ["count", "N", "too high", "too low", "invented", "lost"]
    assert shown["too high"].tolist() == ["70%", "0%"] and pd.isna(shown["invented"].iloc[1])


def test_correlations_have_an_interval_and_the_lowest_is_over_enough_pairs():
    assert plain(c.rho(BY_TASK.iloc[0])) == ".90 [.85, .93], N = 100"
    assert plain(c.rho({"spearman": 1.0, "pairs": 50})) == "1.00 [1.00, 1.00], N = 50"
    assert c.rho({"spearman": np.nan, "pairs": 50}) == "no estimate"
    assert "in Translation." in c.lowest(BY_TASK, 50) and "in Factual QA." in c.lowest(BY_TASK, 4)
    assert c.lowest(BY_TASK, 1000) == "No correlation is over 1000 pairs or more."
    assert list(c.ranks(BY_TASK, ["windows"])) == ["count", "Translation", "Factual QA"]


def test_the_engine_may_be_missing():
    lies = pd.DataFrame({"near": [3, 2, None], "far": [1, 2, None]})
    assert "for 50% of 2 pairs" in c.engine_words(lies, "near", "far")
    assert "not installed" in c.engine_words(lies[["near"]], "near", "far")


def test_estimates_of_a_service():
    answers = pd.DataFrame({"enumerated": [True, False, False], "error": [0, 5, 5], "count": [3, 50, 90],
                            "exact": [3, 45, 60]})  # fmt: skip
    assert c.service_words(answers).startswith("1 of 2 estimates")
    assert "no estimate" in c.service_words(answers.head(1))


def test_what_was_recorded():
    tables = recorded("counting").tables
    assert "100% of 40,000 n-grams of 2 texts" in c.of_infinigram(tables["counting"])
    assert c.of_infinigram(tables["counting"].head(0)).startswith("No comparison")
    shown = c.pieces(recorded("pieces").tables["pieces"])
    assert list(shown) == ["n", "query", "N", "exact", "lost", "Spearman ρ"] and len(shown) == 6


def test_costs_and_documents():
    shown = c.costs({"build": (0, [5.0]), "scan": (10, [1.0, 2.0, 4.0])})
    assert shown["seconds"].tolist() == ["5", "2 [1, 4]"] and shown["pairs a second"].iloc[1] == "5"
    html = c.documents(["<b> cat"], ["cat"]).data
    assert html == "<ol><li>&lt;b&gt; <mark>cat</mark></li></ol>"
