"""What the chapter on cause says: tables that were fed both ways, and sentences read back."""

import pandas as pd
import pytest

from taskgram_chapters import cause, cause_page
from taskgram_chapters.recorded import recorded

LOTS = pd.DataFrame([
    {"what": "accuracy with the number of insertions", "of": "gain_odds", "kind": kind, "expected": "rises",
     "cells": cells, "found": found, "opposite": other, "estimate": mean, "low": mean - 0.1, "high": mean + 0.1}
    for kind, cells, found, other, mean in (("all", 20, 12, 3, 0.5), ("biographies", 10, 9, 1, 0.9))
])  # fmt: skip
TASKS = pd.DataFrame({"task": ["math_reasoning"] * 2 + ["translation"] * 2, "low": [0.4, -2, -8, -1]})
PAIR = [(m, p) for m in ("100k", "3m") for p in ("undisputed", "disputed")]


def judged(answers, estimate=0.5):
    """Slopes of twins with the given answers, and reseeds that show none."""
    rows = [{"model": m, "population": p, "world": w, "channel": "pair", "estimate": e, "low_with_noise": e - 0.1,
             "high_with_noise": e + 0.1, "n": 2000, "p_holm": 0.01, "answer": a}
            for w, given, e in (("twins", answers, estimate), ("reseed", ["found"] * 4, 0.02))
            for (m, p), a in zip(PAIR, given, strict=True)]  # fmt: skip
    parts = [rows[-1] | {"world": "twins", "model": "3m", "channel": c, "estimate": e, "low_with_noise": e - 0.1,
                         "high_with_noise": e + 0.1} for c, e in (("share", 1.9), ("statements", 0.8))]  # fmt: skip
    union = [row | {"population": "all", "answer": "opposite"} for row in rows]  # counts for nothing beside its parts
    return pd.DataFrame([*rows, *parts, *union])


@pytest.mark.parametrize(("answers", "begins"), [
    (["found"] * 4, "**Yes: a fact that the text states more often becomes more probable.**"),
    (["opposite"] * 4, "**No: a fact that the text states more often becomes less probable.**"),
    (["none"] * 4, "**No: the probability of a fact does not follow"),
    (["not decided"] * 4, "**Not decided.**"), (["none", "opposite", "none", "none"], "**Not decided.**"),
    (["found", "none", "found", "not decided"], "**In 2 of 4 comparisons of size and kind of fact, a fact"),
])  # fmt: skip
def test_the_answer_follows_the_table(answers, begins):
    says = cause_page.answered(judged(answers), LOTS, TASKS).replace("\N{NO-BREAK SPACE}", " ")
    assert says.startswith(begins)
    assert "in one world, whose two twins permute" in says and "not repeated in a second world" in says
    assert ".50 [.40, .60] at 100K parameters and .50 [.40, .60] at 3M (N = 2,000): at 100K, by 1.4." in says
    assert "at 3M the power is 1.90 [1.80, 2.00] for the share" in says and ".80 [.70, .90] for the statements" in says
    assert "between worlds than between trainings: Maths reasoning in 1 of 2 sizes." in says
    assert "in 9 of 10 curves of questions on biographies; of chats and test questions it does in 3 of 10, and" in says
    assert says.endswith("and falls in 2. Each of these models is trained once.")
    assert "negative control" not in cause_page.answered(judged(answers), LOTS, TASKS.assign(low=-1.0))


def test_twins_and_reseeds_stand_side_by_side():
    table = cause_page.slopes(judged(["found"] * 4, 0.7))
    assert list(table.columns) == ["size", "facts", "twins", "reseeds"]
    assert list(table["size"]) == ["100K", "100K", "3M", "3M"]
    assert table["twins"].str.startswith(".70").all() and table["reseeds"].str.startswith(".02").all()
    words = cause_page.placebo(judged(["found", "none", "found", "found"]))
    assert words["found-twins"] == "3 of 4" and words["found-reseeds"] == "4 of 4" and words["twins-p"] == "p ≤ .01"


def test_counts_that_were_not_read_are_told_from_those_that_were():
    rows = [("reseed3", "main", 0.6, 0.5, 0.7), ("twin1", "twin1", 0.4, 0.3, 0.5), ("twin1", "main", -0.3, -0.4, -0.2),
            ("main", "twin2", 0.01, -0.1, 0.1)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["read", "counts", "estimate", "low", "high"])
    assert cause_page.of_matrix(table) == "1 of 2"
    row = cause_page.matrix(table.assign(model="3m", population="disputed")).iloc[0]
    assert row["counts read"] == ".40 to .60" and row["counts not read"] == "−.30 to .01"


def test_slopes_within_facts_have_training_noise_beside_correlations():
    beside = pd.DataFrame([{"model": "3m", "population": "disputed", "measure": m, "estimate": 0.5, "low": 0.48,
                            "high": 0.52} for m in ("within", "mem")])  # fmt: skip
    table = cause_page.correlations(beside, judged(["found"] * 4))
    assert table.loc[0, "slope within facts"].replace("\N{NO-BREAK SPACE}", " ") == ".50 [.40, .60]"
    assert table.loc[0, "rank correlation"].replace("\N{NO-BREAK SPACE}", " ") == ".50 [.48, .52]"


def test_slopes_across_and_within_facts_are_compared():
    values = {"within": (0.4, 0.8), "across": (0.5, -0.6)}
    table = pd.DataFrame([{"model": m, "population": p, "measure": k, "estimate": v[i]}
                          for p in ("undisputed", "disputed") for i, m in enumerate(("100k", "3m"))
                          for k, v in values.items()])  # fmt: skip
    words = cause_page.across(table)
    assert words["across-same"] == "2 of 4" and words["across-apart"] == "1.40"


def test_channels_that_went_otherwise_are_named_and_none_where_none_did():
    base = {"model": "3m", "population": "disputed", "world": "twins", "low_with_noise": 1.1, "high_with_noise": 1.5,
            "estimate": 1.3, "n": 5}  # fmt: skip
    rows = [base | {"channel": "share", "answer": "found"}, base | {"channel": "subject", "answer": "opposite"}]
    words = cause_page.of_channels(cause_page.channels(pd.DataFrame(rows)))
    assert "other facts of the person, documents disagree, 1.30" in words["channels-answers"]
    assert words["share-by-size"].endswith("1 of 1 intervals lie above 1.")
    rows[1]["answer"] = "found"
    words = cause_page.of_channels(cause_page.channels(pd.DataFrame(rows)))
    assert words["mechanism-share"] == "1 of 1"
    assert words["channels-answers"] == "Of the 2 preregistered slopes the answer is found in 2."


def test_lines_on_insertions_keep_their_order_and_their_numbers():
    answers = recorded("insertions").tables["answers"]
    table = cause_page.lines(answers)
    assert table["what"].is_unique and len(table) == len(answers) / 2
    for (_, row), (_, own) in zip(table.iterrows(), answers[answers["kind"] == "biographies"].iterrows(), strict=True):
        assert row["what"] == f"{own['what']} ({cause_page.UNITS[own['of']]})" and row["expected"] == own["expected"]
        assert row["biographies"] == f"{own['found']} of {own['cells']}; opposite {own['opposite']}"


@pytest.mark.parametrize(("low", "high", "says"), [
    (-1, 1, "includes 0 (the count alone) and excludes 2.32"), (2, 3, "excludes 0 (the count alone) and includes 2.32"),
    (1, 2, "excludes 0 (the count alone) and excludes 2.32"), (-1, 3, "includes 0 (the count alone) and includes 2.32"),
])  # fmt: skip
def test_count_or_share(low, high, says):
    row = {"parameters": "1B and 8B", "cells": 7, "with_count": 1, "with_share": 2, "above_share": 3,
           "estimate": (low + high) / 2, "low": low, "high": high}  # fmt: skip
    text = cause_page.share_or_count(pd.DataFrame([row]))
    assert says in text and "may include both or neither" in text


def test_halves_and_curves_of_the_record():
    lots = recorded("insertions").tables
    facts = cause_page.of_prompt(lots["curves"], "full_prefix_no_suffix")
    wide = cause_page.halves(facts)
    assert list(wide.columns) == ["fact", *cause_page.SIZES.values()] and len(wide) == facts["fact"].nunique()
    fitted = lots["curves"]["p"].notna()
    assert cause_page.of_curves(lots["curves"])["insertion-curves"] == str(fitted.sum())
    assert cause.preregistered()["insertions"][0]["what"] in set(lots["answers"]["what"])
