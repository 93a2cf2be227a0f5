"""The figure of the first page: two drawings of what the tables have, as a block that other pages can take."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import first_page, page
from taskgram_chapters.verdicts import GIVEN


@pytest.fixture
def run(tmp_path):
    models = {"25k": 25_000, "100k": 100_096, "600k": 601_728, "3m": 3_000_000}
    rows = [{"task": task, "group": group, "n": 2, "count_model": lm, "measure": measure, "model": model, "step": step,
             "parameters": size, "estimate": 0.1 * i, "low": 0.1 * i - 0.05, "high": 0.1 * i + 0.05, "points": 9,
             "examples": 400, "outputs": 200}
            for i, (model, size) in enumerate(models.items()) for task, group in first_page.SHOWN.items()
            for lm in ("taskgram", "infinigram") for measure in ("spearman", GIVEN) for step in (1, 9)]  # fmt: skip
    table = pd.DataFrame(rows)
    other = table.assign(group="another", estimate=9.0)
    return SimpleNamespace(folder=tmp_path, table=lambda name: pd.concat([table, other]))


def test_mem_has_one_group_of_each_task_that_has_a_mem_with_training_noise(run):
    mem = first_page.tables(run, 2)["mem"]
    assert len(mem) == 3 * 4 * 2 and mem["step"].eq(9).all() and mem["estimate"].max() < 1
    assert set(mem["task"]) == {"Translation", "Factual QA", "World knowledge"}
    assert (mem["high"] - mem["low"] > 0.1).all()  # what the table has, and training noise


def test_the_effect_has_the_intervals_of_the_chapter_on_cause(run):
    effect = first_page.tables(run, 2)["effect"]
    assert set(effect["panel"]) == {"Slope, documents agree", "Slope, documents disagree"}
    assert effect["grey"].sum() == len(effect) / 2 and effect["parameters"].notna().all()
    np.testing.assert_array_equal(effect["low"], effect["low_with_noise"])


def test_the_block_has_two_described_drawings_and_one_caption(run, monkeypatch):
    glued = {}
    monkeypatch.setattr(page, "glue", lambda key, value, display: glued.update({key: value}))
    first_page.figure(run, 2)
    html = glued["first-figure"]._repr_mimebundle_()["text/html"]
    assert html.count("<svg ") == html.count('role="img"') == 2 and html.count("</figcaption>") == 1
    assert all((Path(run.folder) / "figures" / f"first-{part}.csv").exists() for part in first_page.HUES)
