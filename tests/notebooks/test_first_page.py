"""The figure of the first page: three drawings of what the tables have, as a block that other pages can take."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from taskgram_chapters import first_page, page
from taskgram_chapters.verdicts import GIVEN


@pytest.fixture
def run(tmp_path):
    models = {"25k": 25_000, "100k": 100_096, "600k": 601_728, "3m": 3_000_000}
    rows = [{"task": task, "group": group, "n": 2, "count_model": lm, "measure": measure, "model": model, "step": step,
             "parameters": size, "estimate": 0.1 * i, "low": 0.1 * i - 0.05, "high": 0.1 * i + 0.05, "points": 9}
            for i, (model, size) in enumerate(models.items()) for task, group in first_page.SHOWN.items()
            for lm in ("taskgram", "infinigram") for measure in ("spearman", GIVEN) for step in (1, 9)]  # fmt: skip
    table = pd.DataFrame(rows)
    other = table.assign(group="another", estimate=9.0)
    return SimpleNamespace(folder=tmp_path, table=lambda name: pd.concat([table, other]))


def test_each_part_has_one_group_a_task_at_the_last_step(run):
    parts = first_page.tables(run, 2)
    for part in ("raw", "controlled"):
        assert len(parts[part]) == 4 * 4 and parts[part]["step"].eq(9).all() and parts[part]["estimate"].max() < 1
    effect = parts["effect"]
    assert set(effect["facts"]) == {"undisputed", "disputed", "undisputed (no change)", "disputed (no change)"}
    assert effect["grey"].sum() == len(effect) / 2 and effect["parameters"].notna().all()


def test_the_block_has_three_described_drawings(run, monkeypatch):
    glued = {}
    monkeypatch.setattr(page, "glue", lambda key, value, display: glued.update({key: value}))
    first_page.figure(run, 2)
    html = glued["first-figure"]._repr_mimebundle_()["text/html"]
    assert html.count("<svg ") == html.count('role="img"') == html.count("</figure>") == 3
    assert all((Path(run.folder) / "figures" / f"first-{part}.csv").exists() for part in first_page.PARTS)
