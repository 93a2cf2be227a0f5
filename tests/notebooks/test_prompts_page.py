"""What the chapter on prompts says: sentences read back from tables that were fed both ways."""

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import prompts_page as pp
from taskgram_chapters.paper import printed


def accuracy(gain, harm=0.0, examples=40, seeds=3):
    """Scores of the same examples under every kind of prompt: ``gain`` and ``harm`` are the shares of examples that
    become right under memorization, and wrong under generalization prompts."""
    start = (np.arange(examples) < examples // 2).astype(float)
    better, worse = start.copy(), start.copy()
    better[examples // 2 : examples // 2 + int(gain * examples)] = 1
    worse[: int(harm * examples)] = 0
    kinds = {"start": start, "after": start, "none": start, "other task": start, "memorization": better,
             "generalization": worse}  # fmt: skip
    return pd.DataFrame([{"task": task, "parameters": size, "model": f"{size}k", "direction": kind, "seed": seed,
                          "round": 9, "correct": scores, "accuracy": scores.mean()}
                         for task in ("factual_qa", "math_reasoning") for size in (25, 100)
                         for kind, scores in kinds.items() for seed in range(seeds)])  # fmt: skip


def changes(*ways):
    """Of each pair of prompts the ways of two sizes."""
    return pd.concat([pd.DataFrame({
        "model": ["25k", "100k"], "difference": " minus ".join(pair), "estimate": 0.2, "low": 0.1, "high": 0.3,
        "points": 30, "answer": list(way)}) for pair, way in zip(pp.COMPARED, ways, strict=True)])  # fmt: skip


SAME, LOWER, HIGHER = ("within ±.15", "not decided"), ("lower", "lower"), ("higher", "higher")


@pytest.mark.parametrize(("gain", "harm", "ways", "begins", "rest"), [
    (0.4, 0.0, (HIGHER, HIGHER, SAME), (
        "**Against the start, memorization prompts raise Mem of factual QA at 2 of 2 sizes and lower it at 0; "
        "generalization prompts raise it at 0 of 2 sizes and lower it at 0.** Under",
        "at 2 of 2 sizes. Accuracy is higher in 4 of 4 cases."), ""),
    (0.0, 0.0, (HIGHER, SAME, LOWER), (
        "QA at 0 of 2 sizes and lower it at 0; generalization prompts raise it at 0 of 2 sizes and lower it at 2.**",
        "prompts at 2 of 2 sizes. Accuracy is higher in 0 of 4 cases "), "(no score changed in 4)"),
    (0.025, 0.0, (SAME, SAME, SAME), ("at 0 of 2 sizes. Accuracy is higher in 0 of 4",), "(not decided in 4)"),
])  # fmt: skip
def test_the_answer_follows_the_tables(gain, harm, ways, begins, rest):
    gaps = pp.gaps(accuracy(gain, harm))
    both = pp.together(changes(*ways), gaps)
    says = pp.answered(both, gaps)
    assert all(part in says for part in begins) and rest in says and "at 100K parameters Mem differs by .20" in says
    shown = "" if gain == 0.4 else "Not shown. "
    assert says.startswith(f"**{shown}Against the start, memorization prompts ") and pp.of_mem(both) in says


def test_a_gap_has_two_parts():
    gaps = pp.gaps(accuracy(0.2, 0.1))
    of = gaps[gaps["task"] == "factual_qa"].groupby("difference")["estimate"].first()
    assert of["memorization minus generalization"] == pytest.approx(0.3)
    parts = (of["memorization minus start"], of["generalization minus start"])
    assert parts == pytest.approx((0.2, -0.1))
    table = pp.against_start(gaps, "factual_qa").set_index("difference")
    assert list(table.columns) == ["25k", "100k"] and len(table) == 6
    assert table.loc["none minus start", "25k"].replace("\N{NO-BREAK SPACE}", " ") == ".00 [.00, .00]"
    words = pp.of_gaps(gaps)
    assert words["far-generalization"].startswith("−.10 to −.10") and words["many"] == "24"
    assert words["asked"] == "40 of Factual QA and 40 of Maths reasoning" and words["gap-found"].endswith("of 4")


@pytest.mark.parametrize(("ends", "says"), [
    ((0, 0, 0), "no score changed"), ((0.1, 0.05, 0.2), "higher"), ((-0.1, -0.2, -0.05), "lower"),
    ((0.1, -0.1, 0.3), "not decided"),
])  # fmt: skip
def test_what_an_interval_shows(ends, says):
    assert pp.finding(dict(zip(("estimate", "low", "high"), ends, strict=True))) == says


def test_searches_that_end_together_stand_in_one_row():
    rows = [("start", 0, 5.0, True), ("b|<i>", 1, 9.0, True), ("b|<i>", 2, 9.0, True)]
    history = pd.DataFrame([{"task": "factual_qa", "direction": "memorization", "seed": seed, "round": r, "prompt": p,
                             "score": s, "best": b} for seed in (0, 1) for p, r, s, b in rows])  # fmt: skip
    table = pp.prompts(history).set_index("direction")
    assert table.loc["memorization", ["prompt", "documents", "searches"]].to_list() == ["b&#124;&lt;i&gt;", "9", "2"]
    assert table.loc["start", "documents"] == "5" and pd.isna(table.loc["start", "searches"])
    reached = pp.best(history)
    assert reached["documents"].to_list() == [5, 9, 9] and (reached["min"] == reached["max"]).all()


def test_the_papers_gaps_have_a_p_where_the_questions_are_known():
    table, least = pp.printed_gaps(printed("prompts"), 1319)
    known = table["data"] == "GSM8K"
    assert table["p"].notna().equals(known) and least == min(table.loc[known, "p"])
    assert set(pp.clauses()["occurs in"]) == {"the corpus", "no document"}
