"""How well a model does a task: mean scores with intervals, corpus BLEU, and performance against example frequency."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_utils.errors import require_columns

MODEL = ["model", "world", "seed", "step"]


def performance(
    answers: pd.DataFrame, examples: pd.DataFrame, parameters: Mapping[str, int] | None = None, draws: int = 1000
) -> pd.DataFrame:
    """Mean score per task, group, metric, model and step, with its 95% interval and the number of examples.

    Intervals are Wilson's where scores are 0 or 1, else percentiles of the bootstrap by example. Greedy translations
    also get corpus BLEU (sacrebleu, its signature in ``note``; 0 to 100), with a bootstrap interval. ``unscored``
    counts examples without a score. ``parameters`` adds the models' sizes by name.
    """
    require_columns(answers, ["example_id", "model", "metric", "score"], "answers")
    keys = [c for c in ("task", "group", "metric", *MODEL) if c in answers or c == "group"]
    if "group" not in answers:
        groups = examples.set_index("example_id")["group"]
        answers = answers.assign(group=answers["example_id"].map(groups))
    rows = []
    for key, part in answers.groupby(keys, dropna=False, sort=False):
        row = dict(zip(keys, key, strict=True))
        scored = part["score"].dropna().to_numpy(float)
        low, high = mean_interval(scored, draws)
        rows.append({**row, "score": scored.mean(), "low": low, "high": high, "examples": len(scored),
                     "unscored": len(part) - len(scored), "note": None})  # fmt: skip
        if row.get("task") == "translation" and row["metric"] == "exact_match":
            gold = examples.set_index("example_id")["answers"].loc[part["example_id"]].map(lambda a: a[0])
            rows.append({**row, "metric": "bleu", **_bleu(part["output"].fillna("").tolist(), gold.tolist(), draws)})
    table = pd.DataFrame(rows)
    return table.assign(parameters=table["model"].map(parameters)) if parameters else table


def mean_interval(scores: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95% interval of a mean: Wilson's for zeros and ones, else the percentiles of bootstrap means."""
    if not len(scores):
        return np.nan, np.nan
    if np.isin(scores, (0, 1)).all():
        found = stats.binomtest(int(scores.sum()), len(scores)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    picked = np.random.default_rng(seed).integers(0, len(scores), (draws, len(scores)))
    return tuple(np.quantile(scores[picked].mean(axis=1), [0.025, 0.975]).tolist())


def _bleu(outputs: list[str], gold: list[str], draws: int) -> dict[str, object]:
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    found = metric.corpus_score(outputs, [gold], n_bootstrap=min(draws, 200))
    mean, half = found._mean, found._ci
    return {"score": found.score, "low": mean - half, "high": mean + half, "examples": len(outputs), "unscored": 0,
            "note": str(metric.get_signature())}  # fmt: skip
