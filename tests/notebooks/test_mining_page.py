"""What the chapter on the task-gram table says, of tables that go either way."""

import numpy as np
import pandas as pd

from taskgram_chapters import mining_page as m

GAMMAS = pd.DataFrame({"task": ["factual_qa"], "n": [2], "gamma": [0.5]})
OWN = pd.DataFrame({"task": "factual_qa", "n": 2, "example_id": ["a", "a", "b", "b", "c", "d"],
                    "cosine": [0.9, 0.2, 0.8, 0.1, 0.7, 0.6], "true": [True, False, True, True, True, False]})
SHUFFLED = pd.DataFrame({"task": "factual_qa", "n": 2, "example_id": list("abcdefghij"), "cosine": [0.6] + [0.1] * 9})


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def row(**changed) -> pd.DataFrame:
    good = {"task": "factual_qa", "n": 2, "own": 0.5, "shuffled": 0.05, "by_chance": 0.1, "true": 0.9, "low": 0.85,
            "high": 0.95, "true_of_all": 0.3}  # fmt: skip
    return pd.DataFrame([good | changed])


def test_what_passes_with_and_without_a_known_truth():
    found = m.passing(OWN, SHUFFLED, GAMMAS, known=True).iloc[0]
    assert np.allclose(found[["own", "shuffled", "by_chance"]].astype(float), [4 / 6, 0.1, 0.15])
    assert np.allclose(found[["true", "true_of_all"]].astype(float), [3 / 4, 4 / 6])
    assert found["low"] < found["true"] < found["high"] <= 1
    blind = m.passing(OWN.assign(true=False), SHUFFLED, GAMMAS, known=False)
    assert blind["true"].isna().all() and blind["by_chance"].iloc[0] == found["by_chance"]
    assert m.kept(blind)["true"].isna().all() and "[" in m.kept(row())["true"].iloc[0]


def test_the_answer_either_way():
    assert plain(m.answer(row(), 2, 0.05)) == (
        "Pairs that lie closer together in an embedding than all but 5% of shuffled pairs do. Of the pairs mined at "
        "n = 2, true pairs make up 90% [85, 95] in Factual QA; by these measures, every table carries its task.")
    assert m.answer(row(true=0.1), 2, 0.05).endswith("; the table does not carry its task in Factual QA.")
    unknown = {"true": np.nan, "true_of_all": np.nan}
    assert "pairs there by chance make up at most 10% in Factual QA; by" in plain(m.answer(row(**unknown), 2, 0.05))
    assert "does not carry" in m.answer(row(by_chance=0.6, **unknown), 2, 0.05)
    assert "no pair at n = 3 passes" in m.answer(row(), 3, 0.05)


class World:
    """A run whose tables are these."""

    def table(self, name):
        return getattr(self, name)

    taskgrams = pd.DataFrame({"task": "factual_qa", "n": 2, "sx": list("abcd"), "sy": "y", "cosine": 0.9})
    gammas = pd.DataFrame({"task": ["factual_qa"], "n": 2, "own_share": 0.5, "shuffled_share": 0.05})
    true_pairs = None


def test_how_far_the_estimate_without_truth_is_off(monkeypatch):
    monkeypatch.setattr(m.pipeline, "truth_known", lambda run: True)
    monkeypatch.setattr(m.verdicts, "holds_truth", lambda pairs, _: pairs["sx"] == "a")
    World.true_pairs = "any"
    says = plain(m.overestimated(World()))
    assert "too high in 1 of 1 tables" in says and "65 percentage points (Factual QA, n = 2: estimated 90%, t" in says
    assert says.endswith("It lets 1 tables pass; fewer than half of the pairs are true in 1.")
    monkeypatch.setattr(m.pipeline, "truth_known", lambda run: False)
    assert m.overestimated(World()) == ""


def test_groups_in_which_fewer_than_half_are_true():
    found = pd.DataFrame({"task": "math_reasoning", "group": ["held_out", "seen"], "n": 2, "precision": [0.2, 0.6]})
    assert m.no_mem(found, 2) == "At n = 2 fewer than half of the mined pairs are true in Maths reasoning, held out."
    assert "in every group" in m.no_mem(found.tail(1), 2)
    hits = pd.DataFrame({"task": "math_reasoning", "group": ["held_out", "held_out", "seen"],
                         "dropped": [True, False, False], "unknown word": [True, False, True],
                         "in no document": False})  # fmt: skip
    shown = m.by_group(hits, found)
    assert list(shown) == ["pairs of", "true at n = 2", "dropped", "unknown word", "in no document"]
    assert shown["dropped"].tolist() == ["50%", "0%"] and pd.isna(shown["unknown word"].iloc[1])


def test_coverage():
    table = pd.DataFrame({"task": ["factual_qa"], "n": [1], "examples": [2000], "with_pairs": [0.99],
                          "pairs_per_example": [2.04], "distinct_pairs": [3000], "pair_in_corpus": [1.0]})
    assert m.covered(table)["pairs an example"].tolist() == ["2.0"] and m.covered(table).shape[1] == 6


def test_a_leak_is_said_only_of_an_interval_that_excludes_zero():
    def found(*ends):
        return pd.DataFrame([{"task": "factual_qa", "group": "facts", "embedding": name, "pairs": 90,
                              "estimate": (low + high) / 2, "low": low, "high": high}
                             for name, (low, high) in zip(("own", "difference"), ends, strict=True)])

    up, down, wide = (0.1, 0.3), (-0.3, -0.1), (-0.1, 0.2)
    assert m.leak_words(found(up, up)).endswith("leak more in Factual QA, facts.")
    assert m.leak_words(found(up, down)).endswith("leak less in Factual QA, facts.")
    assert "No interval" in m.leak_words(found(up, wide))
    assert plain(m.left_over(found(down, up), "own")).endswith("in Factual QA, facts −.20 [−.30, −.10].")
    assert m.left_over(found(wide, up), "own").startswith("No interval")
    assert m.leaks(found(up, up), "own").shape == (1, 4)
