"""The pages on one task: answers and sentences on tables that go either way, and pairs spread by frequency."""

import pandas as pd
import pytest

from taskgram_chapters import results as r
from taskgram_chapters import verdicts as v

UP, DOWN, SMALL, WIDE = (0.2, 0.4), (-0.4, -0.2), (-0.05, 0.07), (-0.1, 0.7)
LABELS = {"task": "factual_qa", "n": 2, "count_model": "taskgram", "measure": "spearman"}


def evidence(group="facts", barred=None, without=(), **ends):
    """The evidence of one group: every measure positive unless its interval is given, those in ``without`` absent."""
    rows = []
    for name, measure in {"raw": "spearman", "sy": "spearman|log_count_sy", "given": v.GIVEN,
                          "placebo": "minus its placebo", "rest": "without", "slope": "spearman",
                          "infinigram": "spearman"}.items():  # fmt: skip
        low, high = ends.get(name, UP)
        question = v.SLOPE if name == "slope" else v.AT
        lm = "taskgram - infinigram" if name == "infinigram" else "taskgram"
        shows = v.direction(low, high, v.BOUNDS[question])
        rows.append(LABELS | {"question": question, "measure": measure, "count_model": lm, "estimate": (low + high) / 2,
                              "low": low, "high": high, "own_low": low, "own_high": high, "s": None, "points": 300,
                              "p": 0.01, "shows": shows, "barred": barred, "name": name})  # fmt: skip
    table = pd.DataFrame(rows).assign(group=group)
    return table[~table["name"].isin(without)].drop(columns="name")


def found(own, other=None, task="factual_qa", groups=("facts",)):
    other = own.iloc[:0] if other is None else other
    standing = v.groups(own, other, 2)
    expected = v.read_expectations().query("task == @task and group in @groups")
    precision = pd.DataFrame({"task": task, "group": [*groups], "n": 2, "precision": 0.75})
    scores = pd.DataFrame({"group": [*groups], "score": 0.8, "low": 0.7, "high": 0.9, "examples": 1200})
    claims = v.claims(expected, own, other, standing)
    mem = own.query("measure == 'spearman' and question == @v.AT")
    return r.Result(task, 2, own, other, standing, claims, mem, precision, scores)


def test_a_mem_that_no_control_takes_away_is_a_yes_with_all_numbers():
    text = r.answer(found(evidence(), evidence()))
    value = ".30 [.20, .40], N = 300"
    assert text.replace("\u00a0", " ") == (
        "**Yes.** The model's confidence follows the pairs, and no control takes this away. In *facts* Mem of the "
        f"largest model is positive, {value} (suite C: {value}). It is still positive given all four controls "
        f"({value}), minus its placebo ({value}) and without the two most frequent outputs ({value}).")  # fmt: skip


@pytest.mark.parametrize("own, other, said", [
    (evidence(given=WIDE), evidence(), "But given all four controls it is not decided (.30"),
    (evidence(rest=SMALL), evidence(), "But without the two most frequent outputs it is within ±.15 (.01"),
    (evidence(placebo=DOWN), evidence(), "But minus its placebo it is negative (−.30"),
    (evidence(without=["placebo"]), evidence(), "But minus its placebo it is not computed."),
    (evidence(), evidence(given=DOWN), "But in suite C given all four controls it is negative (−.30"),
    (evidence(raw=WIDE), evidence(), "is not decided, .30"), (evidence(raw=SMALL), evidence(), "is within ±.15, .01"),
    (evidence(), evidence(raw=DOWN), "(suite C: negative, −.30"),
])  # fmt: skip
def test_a_mem_that_fails_in_one_way_is_not_shown(own, other, said):
    text = r.answer(found(own, other))
    assert text.startswith("**Not shown.**") and said in text.replace("\u00a0", " ")


def test_a_group_without_a_mem_says_why_and_no_number():
    barred = found(evidence(barred="no Mem: 2% of the mined pairs are true"))
    assert r.answer(barred) == ("**This cannot be measured here.** We report no Mem for *facts*: 2% of the mined "
                                "pairs are true.")  # fmt: skip
    assert "no Mem" in r.by_size(barred) and r.meaning(barred) == r._MEANS["factual_qa"]["barred"]
    assert r.sized(barred)["grey"].all() and "2% of" in r.sized(barred)["panel"].iloc[0]
    assert r.controlled(barred)["grey"].all()


def test_without_a_second_suite_nothing_is_claimed():
    alone = found(evidence())
    assert "one suite only" in r.by_size(alone) and "one suite only" in r.against(alone)
    assert not r.sized(alone)["grey"].any() and set(r.controlled(alone)["suite"]) == {"this run"}


@pytest.mark.parametrize("own, other, said", [
    (UP, UP, "Mem rises per tenfold size: .30"), (DOWN, DOWN, "Mem falls per tenfold size"),
    (SMALL, SMALL, "Mem changes by less than .1 per tenfold size"),
    (UP, SMALL, "the slope of Mem is not replicated (this run: rises, .30"),
    (WIDE, WIDE, "the slope of Mem is not decided"),
])  # fmt: skip
def test_size_is_claimed_as_the_page_of_claims_does(own, other, said):
    text = r.by_size(found(evidence(slope=own), evidence(slope=other))).replace("\u00a0", " ")
    assert text.startswith("In *facts*, ") and said in text


def test_the_difference_to_the_infinigram_is_one_of_the_claims():
    both = found(evidence(), evidence())
    assert r.against(both).startswith("In *facts*, Mem minus that under the ∞-gram LM is positive: .30")
    assert "None" not in r.against(both) and "is negative" in r.against(found(evidence(infinigram=DOWN),
                                                                              evidence(infinigram=DOWN)))  # fmt: skip


def test_other_groups_shares_and_scores():
    own = pd.concat([evidence(), evidence("copied", barred="reliability .31")])
    both = found(own, own.iloc[:0], groups=("facts", "copied"))
    assert both.main == "facts" and r.others(both) == "We report no Mem for *copied*: reliability .31."
    assert r.shares(both) == "Of the mined pairs these shares are true ones: 75% in *facts* and 75% in *copied*."
    assert "80% [70%, 90%] of the 1,200 examples of *facts*" in r.right(both)
    assert r.others(found(evidence())) == ""


def test_every_task_means_something_in_every_standing():
    assert all(set(says) == {"about the pairs", "not about the pairs", "barred"} for says in r._MEANS.values())
    assert set(r._MEANS) == set(r.MAIN)
