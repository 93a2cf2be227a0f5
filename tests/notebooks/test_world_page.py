"""What the chapter on the miniature world says, of tables that go either way."""

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import world_page as w

FACTS = pd.DataFrame({"fact": [0, 1], "person": ["Ada B", "Ada B"], "statements": [3, 1200], "disputed": [True, False]})
FINAL = pd.DataFrame({
    "task": ["factual_qa", "factual_qa", "math_reasoning"], "group": ["facts", "facts", "held_out"],
    "model": ["25k", "3m", "3m"], "parameters": [25_400, 3_150_000, 3_150_000], "score": [0.1, 0.8, 0.5],
    "low": [0.08, 0.79, 0.3], "high": [0.12, 0.81, 0.7], "examples": [3000, 3000, 20],
})  # fmt: skip


def bins(*ends) -> pd.DataFrame:
    rows = [{"model": f"m{i}", "bin": b, "spearman": (low + high) / 2, "spearman_low": low, "spearman_high": high,
             "points": 900} for i, (low, high) in enumerate(ends) for b in (0, 1)]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("parameters", "words"), [
    (900, "900 parameters"), (25_400, "25K parameters"), (3_150_000, "3M parameters"),
    (1_400_000_000, "1.4B parameters"),
])  # fmt: skip
def test_sizes_are_words(parameters, words):
    assert w.size(parameters) == words


def test_the_largest_group_speaks_for_what_was_learnt():
    says = w.learnt(FINAL).replace("\N{NO-BREAK SPACE}", " ")
    assert "(3M parameters) answers .80 [.79, .81] of the 3,000 questions of *Factual QA, facts*" in says
    assert says.endswith("the smallest (25K parameters) .10 [.08, .12].")
    assert "smallest" not in w.learnt(FINAL.iloc[[1]])


@pytest.mark.parametrize(("ends", "says"), [
    ([(0.1, 0.3), (0.2, 0.4)], "correctly more often by each of the 2 models"),
    ([(-0.3, -0.1), (-0.4, -0.2)], "correctly less often by each of the 2 models"),
    ([(-0.1, 0.2), (0.1, 0.3)], "correctly more often by 1 of the 2 models"),
    ([(-0.3, -0.1), (0.1, 0.3)], "more often by 1 of the 2 models and correctly less often by 1 of the 2 models"),
    ([(-0.1, 0.2), (np.nan, np.nan)], "is not decided for any model"),
])  # fmt: skip
def test_the_trend_is_that_of_the_intervals(ends, says):
    assert says in w.trend(bins(*ends))


def test_the_answer_with_and_without_a_known_truth():
    says = w.answer(480_000, FINAL, FACTS, bins((0.1, 0.3)))
    assert says.startswith("The 480,000 documents of the world state 2 facts about 1 people, each fact 3 to 1,200")
    assert w.learnt(FINAL) in says and w.trend(bins((0.1, 0.3))) in says
    assert w.answer(None, FINAL) == w.learnt(FINAL)


def test_the_difference_by_chance_needs_a_second_training():
    suites = pd.DataFrame({"suite": ["B", "reseed", "A"], "part": "QA\nfacts", "model": "25k", "score": [0.5, 0.3, 0]})
    assert "up to 0.20 (QA, facts, 25k)" in w.by_chance(suites)
    assert "not known" in w.by_chance(suites.iloc[[0, 2]])
    table = pd.DataFrame({"metric": ["accuracy", "bleu"], "group": "held_out", "task": "math_reasoning", "suite": "A"})
    assert w.of_suites({"performance": table})["part"].tolist() == ["Maths reasoning\nheld_out"]
