"""The chapter on scoring: words add up to outputs, and sentences on tables that go either way."""

import pandas as pd
import pytest

from taskgram_chapters import scoring_page as s

UP, DOWN, WIDE = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.2, 0.4)


def follows(*rows):
    columns = ["group", "estimate", "low", "high", "rarer"]
    return pd.DataFrame([(g, *ends, rarer) for g, ends, rarer in rows], columns=columns).assign(task="translation",
                                                                                                points=90)  # fmt: skip


@pytest.mark.parametrize("rows, said", [
    ([("a", UP, 50)], "The largest model's score is higher where the corpus contains more of an example's pairs in "
     "Translation, a (.20 [.10, .30], N = 90)."),
    ([("a", DOWN, 50)], "The largest model's score is lower where it contains more of them in Translation, a (−.20"),
    ([("a", WIDE, 50)], "The largest model's score is not shown to go with them in Translation, a (.10 [−.20, .40]"),
    ([("a", UP, 50), ("b", WIDE, 50)], "N = 90). It is not shown to go with them in Translation, b"),
    ([("a", UP, 3)], "Nowhere do enough scores differ to relate them to frequency. Not reported, since fewer than "
     "20 examples have another score than most: Translation, a."),
])  # fmt: skip
def test_a_direction_is_named_only_where_the_interval_shows_it(rows, said):
    assert said in s.frequency(follows(*rows)).replace("\u00a0", " ")


@pytest.mark.parametrize(("large", "tasks"), [((-0.5, -0.6, -0.4), "1 of 1"), ((-1.9, -2.2, -1.6), "0 of 1"),
                                              ((-3.0, -3.1, -2.9), "0 of 1")])  # fmt: skip
def test_the_answer_counts_tasks_whose_intervals_lie_apart(large, tasks):
    rows = [("25k", -2.0, -2.1, -1.9, 400), ("3m", *large, 400)]
    last = pd.DataFrame(rows, columns=["model", "log P per token (nats)", "low", "high", "examples"])
    text = s.answer(last.assign(task="factual_qa"), follows(("a", UP, 50)), ["25k", "3m"]).replace("\u00a0", " ")
    assert f"with 3M parameters than to the one with 25K parameters in {tasks} tasks" in text
    assert "Factual QA, from a mean log P of −2.00 [−2.10, −1.90] to −" in text and "N = 400. The largest" in text
    assert s.answer(last, follows(("a", UP, 50)), ["3m"]).startswith("The largest model's score")


def test_the_rarer_score_is_counted_also_where_scores_are_graded():
    binned = pd.DataFrame({"task": "translation", "group": "a", "n": 2, "model": "3m", "spearman": [0.1],
                           "spearman_low": 0.0, "spearman_high": 0.2, "low": 0.5, "high": 0.6, "points": 4})
    answers = pd.DataFrame({"task": "translation", "group": "a", "model": "3m", "score": [100.0, 100.0, 40.0, 55.5]})
    row = s.by_frequency(binned, answers, 2, "3m").iloc[0]
    assert (row["rarer"], row["estimate"], row["low"]) == (2, 0.1, 0.0)


def test_words_are_spans_and_their_sum_is_compared_with_the_whole():
    words = s.words_of(pd.DataFrame({"example_id": ["e"], "y": [" big cat."]}))
    assert words[["sy", "start"]].to_numpy().tolist() == [["big", 1], ["cat", 5]]
    scored = pd.DataFrame({"example_id": "e", "task": "t", "n": [None, 1, 1], "logp": [-3.0, -1.0, -1.5],
                           "tokens": [3, 1, 1], "start": [0, 1, 5]})  # fmt: skip
    table = s.sums(scored)
    assert table["difference"].tolist() == [0.5] and table["left_out"].tolist() == [1]
    assert s.partition(table.assign(left_out=0)) == {"covered": "1 of 1", "gap": "0.500000"}
    tails = s.tails(scored)
    assert tails["tail"].tolist() == [-2.5, -1.5] and tails["last"].tolist() == [False, True]


def test_where_a_score_falls_and_what_was_kept():
    rho = pd.DataFrame({"task": "translation", "group": ["a", "b"], "n": 2, "model": "25k"})
    rho["spearman_high"] = [-0.1, 0.2]
    assert s.falls(rho, 2, "3m") == (
        "At other sizes or n the interval lies below zero in Translation, a, n = 2, 25K parameters.")
    assert s.falls(rho, 2, "25k") == "At no other size and no other n does an interval lie below zero."
    main = pd.DataFrame({"task": "translation", "group": "a", "model": ["25k", "25k", "3m"], "step": [1, 2, 2],
                         "examples": 60})  # fmt: skip
    assert s.kept(main, 300, 50) == ("Before the last step at most 300 examples of a group were answered. Fewer steps "
                                     "are stored of 3M parameters.")  # fmt: skip
    assert "Fewer than 100 examples, so wide bars: Translation, a (60)." in s.kept(main, 300, 100)


def test_bleu_has_its_interval_in_the_cell_or_says_that_there_is_none():
    table = pd.DataFrame({"metric": "bleu", "group": "a", "examples": 60, "model": ["3m", "25k"], "score": [99, 90],
                          "low": [98, 80], "high": [100, 95], "note": "sig"})  # fmt: skip
    shown, signature = s.bleu(table, ["25k", "3m"])
    assert shown.iloc[0].tolist() == ["a", 60, "90.0 [80.0, 95.0]", "99.0 [98.0, 100.0]"] and signature == "sig"
    assert s.bleu(table.iloc[:0], ["25k"])[1] == "none"
