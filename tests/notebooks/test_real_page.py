"""The chapter on real text: its sentences on tables that go either way, its tables on the recorded ones."""

import pandas as pd
import pytest

from taskgram_chapters import real_page as p
from taskgram_chapters import verdicts
from taskgram_chapters.recorded import recorded
from taskgram_utils.run import pipeline

UP, DOWN, SMALL, WIDE = (0.2, 0.4), (-0.4, -0.2), (-0.05, 0.07), (-0.1, 0.7)
WHOSE = {"suite": "3m", "proxy": "big"}


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def rows(model, raw, given, group="facts"):
    table = pd.DataFrame([{"model": model, "Mem": kind, "where": group, "low": ends[0], "high": ends[1], "points": 300}
                          for kind, ends in (("raw", raw), ("given all four", given))])  # fmt: skip
    middle = (table["low"] + table["high"]) / 2
    return table.assign(estimate=middle, slope=middle, difference=middle)


SCORES = pd.DataFrame({"model": "3m", "metric": "accuracy", "step": 1, "group": ["facts", "choice"],
                       "score": [0.01, 0.2], "examples": 400, "at_bound": [3, None]})  # fmt: skip


@pytest.mark.parametrize("given, word, left", [
    (UP, "Yes", "with four controls held constant in: facts .30 [.20, .40], N = 300."),
    (SMALL, "Not shown", "with four controls held constant in none."),
    (DOWN, "Not shown", "with four controls held constant in none."),
    ((0.04, 0.1), "Yes", "with four controls held constant in: facts (below the bound .15) .07 [.04, .10], N = 300."),
])  # fmt: skip
def test_the_answer_says_what_controls_leave(given, word, left):
    table = rows("3m", UP, given)
    found = p.findings(table, table.assign(low=-1), table[:1].assign(high=-0.1), table[:1], SCORES, WHOSE)
    says = plain(p.answer(found))
    assert says.startswith(f"**{word}: with four controls held constant, Mem lies above zero in ")
    assert plain(found["suite"]).startswith("Raw Mem of 3M lies above zero in 1 of 1 groups, ")
    assert plain(found["suite"]).endswith(left)
    assert found["proxy"] == "" and found["size"] == "Raw Mem rises with size in 0 of 1 groups."
    assert found["infinigram"].endswith("ranking of 3M better than task-grams in 1 of 1.") and "  " not in says
    assert "where it writes its answers are over 4 of 400 right." in says
    assert "gain more where a document has the pair in facts .30" in says
    none = p.findings(table[:0], table[:0], table[:0], table[:0], SCORES[:0], WHOSE)
    assert p.answer(none) == "No Mem could be measured here."


def test_the_lead_counts_groups_of_both_models():
    table = pd.concat([rows("3m", UP, UP), rows("3m", UP, DOWN, "b"), rows("3m", UP, DOWN, "c"), rows("big", UP, UP)])
    lead = p.findings(table, table[:0], table[:0], table[:0], SCORES, WHOSE)["lead"]
    assert lead.startswith("**Shown in some groups: ") and (
        "in 1 of 3 groups for the largest model trained on this very text (3M parameters) (2 negative), and" in lead)
    assert lead.endswith("and in 1 of 1 groups for the largest model trained on other text (big).**")


@pytest.mark.parametrize("ends, mem, slope, gain", [
    (UP, "Above zero in", "Raw Mem rises with size in", "Answers with a pair gain more in"),
    (DOWN, "Below zero in", "It falls in", "Answers with a pair gain less in"),
    (SMALL, "Within ±.15 of zero in", "It changes by less than .1 per tenfold size in", "Not decided in"),
    (WIDE, "Not decided in", "The change is not decided in", "Not decided in"),
])  # fmt: skip
def test_sentences_follow_the_interval(ends, mem, slope, gain):
    table = rows("3m", ends, UP)
    assert p.of_mem(table, "3m").startswith(f"- *raw*: {mem} facts.\n- *given all four*: Above zero in facts.")
    assert p.of_slopes(table).startswith(slope) and p.of_gain(table[:1], WHOSE).startswith(f"- *3m*: {gain} facts ")
    assert p.of_mem(table, None) == "No Mem of such a model here." and "needs two sizes" in p.of_slopes(table[:0])
    assert p.of_gain(table[:0], WHOSE) == "No gain could be compared here."


def test_tables_of_the_recorded_run_are_narrow_and_whole():
    tables, made, least = p.source(pipeline.open_run("miniature"))
    assert "recorded" in made and least == 200
    covered = tables["coverage"].query("documents == 'heading'")
    known = verdicts.precision(tables["coverage"].dropna(subset=["n"]), tables["gammas"])
    whose = p.largest_models(tables["models"])
    assert whose == {"suite": "3m", "proxy": "SmolLM2-135M-Instruct"}
    mem = p.readable(tables["memorization"].query("documents == 'heading'"), covered, known, least)
    assert set(mem["group"]) == {"popqa", "wikidata", "pararel", "triviaqa", "gsm8k"}
    coverage = p.coverage_table(covered, known, 1000)
    assert coverage["Mem"].value_counts().to_dict() == {
        "yes": 5, "no: few true pairs": 2, "no: too few questions": 2}  # fmt: skip
    shown = [coverage, p.mem_table(mem, whose), p.model_table(tables["models"]), p.score_table(
        tables["performance"], whose), p.views_table(tables["popularity"], whose)]  # fmt: skip
    assert all(len(table.columns) <= 6 and len(table) for table in shown) and len(shown[1]) == 5
    assert p.views_table(tables["popularity"][:0], whose).iloc[0, 0] == "none in this run"
    assert set(p.beside_the_miniature(mem, tables["models"])["set"].str.split(":").str[0]) == {"real", "miniature"}
    assert "triviaqa (SmolLM2" in p.of_frequency(recorded("openbook").tables["frequency"])
    assert p.of_frequency(tables["frequency"][:0]) == "No score changes with frequency by more than its interval."


def test_the_tally_names_what_is_against_expectation():
    judged = pd.DataFrame({"verdict": ["agrees", "disagrees"], "group": "g", "of": "suite", "measure": "raw"})
    assert p.tally(judged) == "agrees: 1; disagrees: 1; of 2. Against expectation: g (suite, raw)."
    assert p.tally(judged[:1]).strip() == "agrees: 1; of 1."
