"""The chapter on the method for one task: what is few or missing in words, what each point adds, names of sizes."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from taskgram_chapters import one_task

TOP = pd.DataFrame({"where": ["facts, n = 1", "facts, n = 2"], "examples": [900, 30], "outputs": [200, 20],
                    "points": [1200.0, 30.0], "estimate": [0.3, 0.2], "reason": [None, None], "precision": [0.7, 0.71],
                    "zero_share": [0.0, 0.25], "reliability": [0.9, np.nan]})  # fmt: skip


def test_few_examples_and_missing_estimates_are_named_and_nothing_else_is():
    assert one_task.weak(TOP, 10) == ""
    assert one_task.weak(TOP, 25) == "Mem is about fewer than 25 examples or distinct outputs in facts, n = 2."
    missing = TOP.assign(estimate=[0.3, np.nan], reason=[None, "log P is constant"])
    assert one_task.weak(missing, 25) == "There is no estimate in facts, n = 2 (log P is constant)."


def test_the_basis_is_in_plain_words_and_leaves_out_what_was_not_measured():
    table = one_task.basis(TOP)
    assert list(table) == ["group", "points", "distinct outputs", "true pairs", "zero counts", "reliability"]
    assert table.iloc[0].tolist() == ["facts, n = 1", "1,200", "200", "70%", "0%", "0.90"]
    assert pd.isna(table["reliability"].iloc[1])


def test_points_add_up_to_mem():
    rng = np.random.default_rng(0)
    points = pd.DataFrame({"logp_count_model": rng.normal(size=40).round(1), "logp_model": rng.normal(size=40)})
    added = one_task.added(points)
    assert added["adds"].is_monotonic_increasing
    assert added["adds"].mean() == pytest.approx(spearmanr(points).statistic)
    examples = pd.DataFrame({"example_id": ["a"], "x": ["Who?"]})
    shown = one_task.ends(added.assign(example_id="a", sy="b"), examples, 3)
    assert len(shown) == 6 and shown["adds"].iloc[0] <= shown["adds"].iloc[-1]
    assert list(shown) == ["input", "output", "log P, task-gram LM", "log P, model", "adds"]


def test_sizes_with_fewer_steps_are_named_in_words():
    class Run:
        def table(self, name):
            steps = pd.DataFrame({"model": ["25k", "25k", "3m", "3m"], "step": [1, 2, 1, None]})
            return steps.assign(measure="spearman", count_model="taskgram", n=2, group="facts")

    assert one_task.by_step(Run(), "factual_qa")[1] == "Fewer steps are stored of 3M parameters."
