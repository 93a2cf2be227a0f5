"""The chapter across tasks: its answer and sentences on tables that go either way."""

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import across
from taskgram_chapters import verdicts as v
from tests.notebooks.test_verdicts import CONTROLS, DOWN, EXPECTED, SMALL, UP, WIDE, suite

PASSES = ("**Mem is robust to every control in 1 of 1 groups where it can be measured:** it is .30 [.20, .40], "
          "N = 300 in factual QA (facts). There confidence follows")  # fmt: skip
FAILS = ("**Mem is robust to every control in none of 1 groups where it can be measured.** It fails a control "
         "in factual QA (facts).")  # fmt: skip
SIZES = pd.DataFrame({"where": "Factual QA, facts", "n": 2, "count_model": "taskgram", "model": ["600k", "3m"],
                      "parameters": [6e5, 3e6], "estimate": [0.2, 0.3]})  # fmt: skip


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("here, there, starts, ends", [
    (suite(), suite(), PASSES, "Mem rises with size in factual QA (facts): .30 [.20, .40] per tenfold size; suite C .30 "  # noqa: E501
     "[.20, .40]. It is .20 at 600K and .30 at 3M."),
    (suite(), suite(slope=WIDE), PASSES, "A change of raw Mem with size is not replicated in factual QA (facts) (.30 "
     "[.20, .40]; suite C .30 [−.10, .70])."),
    (suite(slope=DOWN), None, PASSES, "Mem falls with size in factual QA (facts): −.30 [−.40, −.20] per tenfold size. It "  # noqa: E501
     "is .20 at 600K and .30 at 3M."),
    (suite(slope=SMALL), None, PASSES, "changes by less than .1 per tenfold size in factual QA (facts) (.01 [−.05, .07])."),  # noqa: E501
    (suite(slope=WIDE), None, PASSES,
     "A change of raw Mem with size is not shown in factual QA (facts) (.30 [−.10, .70])."),
    (suite({CONTROLS: SMALL}), suite(), FAILS, FAILS),
    (suite(), suite({CONTROLS: DOWN}), FAILS, FAILS),
    (suite(reliability=0.4), None, "**Mem is robust to every control in none", "want of true pairs or reliable counts, in factual QA (facts)."),  # noqa: E501
])  # fmt: skip
def test_the_answer_says_what_the_controls_and_the_second_suite_leave(here, there, starts, ends):
    own = v.evidence(here)
    other = own.iloc[:0] if there is None else v.evidence(there)
    of_group = v.groups(own, other, 2)
    text = plain(across.answer(own, other, of_group, 2, SIZES))
    assert text.startswith(starts) and text.endswith(ends)
    assert across.passing(of_group) == ("factual QA (facts)" if starts == PASSES else "in none here")


def test_a_sentence_whose_list_is_empty_does_not_appear_and_groups_of_a_task_stand_together():
    rows = pd.DataFrame({"where": ["Translation, unseen", "Factual QA, facts", "Translation, copied"],
                         "estimate": 0.1, "low": [0.05, -0.1, 0.01], "high": 0.2})  # fmt: skip
    above = rows[rows["low"] > 0]
    assert across.said(("Above in", above), ("Below in", rows[:0])) == "Above in translation (unseen, copied)."
    assert plain(across.of_difference(rows)).endswith(
        "translation (copied) .10 [.01, .20]. Not decided in factual QA (facts) .10 [−.10, .20].")
    assert across.of_difference(rows[:0]) == "There is no difference that can be read."
    mem = rows.assign(count_model="taskgram", barred=[None, None, "no Mem: 2%"], outputs=[9, 99, 99])
    assert across.of_mem(mem, 50) == (
        "No Mem is read in translation (copied). Of the other groups, the interval lies above zero in translation "
        "(unseen). The interval includes zero in factual QA (facts). Fewer than 50 distinct outputs, so that Mem is "
        "about these few, are in translation (unseen).")  # fmt: skip


def test_verdicts_are_a_table_of_two_suites_and_a_tally():
    own, other = v.evidence(suite(slope=DOWN)), v.evidence(suite({"spearman": SMALL}))
    of_group = v.groups(own, other, 2)
    planned = v.claims(EXPECTED, own, other, of_group)
    planned = planned[planned["expected"].notna()]
    table = across.verdict_table(planned).set_index("quantity")
    assert len(table.columns) == 5 and table.loc["Factual QA, facts: Mem", "outcome"] == "agrees; not replicated"
    text = plain(across.tally(planned))
    assert text.startswith("4 expectations were of a positive value: 2 as expected and 2 against expectation. 0 ex")
    assert "- Factual QA, facts: slope of Mem: expected positive, found −.30 [−.40, −.20]" in text
    unread = v.evidence(suite(reliability=0.3))
    assert (across.standing_table(unread, v.groups(unread, unread, 2), 2).iloc[0, 1:5].isna()).all()
    assert "Against" not in across.tally(planned[planned["verdict"] == "agrees"])


def test_right_answers_have_no_verdict_where_nearly_all_are_right():
    rows = pd.DataFrame({"where": ["Factual QA, facts"], "estimate": 0.2, "low": UP[0], "high": UP[1], "points": 90,
                         "rarer": [3]})  # fmt: skip
    assert plain(across.of_frequency(rows, 0)).strip() == (
        "Right answers rise with frequency in factual QA (facts) .20 [.20, .40], N = 90.")  # fmt: skip
    few = across.of_frequency(rows.assign(low=np.nan, high=np.nan), 20)
    assert few.strip() == "Nothing is claimed with fewer than 20 right, or wrong, answers: in factual QA (facts)."


def test_the_coverage_of_intervals_names_the_worst_design():
    studies = pd.DataFrame({"statistic": "spearman", "design": ["a", "b_c"], "truth": [0, 0.3], "studies": 400,
                            "covered": [0.95, 0.91], "rejected": [0.05, 0.8]})  # fmt: skip
    table, text, covered = across.interval_coverage(studies)
    assert covered.endswith("at least 91%, in the median setting in 93%.")
    assert list(table.iloc[0])[1:] == [2, "91.0%", "93.0%", "5.0%"] and text.endswith("91.0%, is in the design b c.")
    assert len(across.interval_coverage()[0]) == 3
