"""How well a model does a task: mean scores with intervals, corpus BLEU, and performance against example frequency."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_utils.errors import InputError, exactness, require, require_columns
from taskgram_utils.statistics import Ask, associations, clusters

MODEL = ["model", "world", "seed", "step"]


def performance(
    answers: pd.DataFrame, examples: pd.DataFrame, parameters: Mapping[str, int] | None = None, draws: int = 1000
) -> pd.DataFrame:
    """Mean score per task, group, metric, model and step, with its 95% interval and the number of examples.

    Intervals are Wilson's where scores are 0 or 1, else percentiles of the bootstrap by example. Greedy translations
    also get corpus BLEU (sacrebleu, its signature in ``note``; 0 to 100), with a bootstrap interval. ``unscored``
    counts examples without a score, ``empty`` answers that are blank, ``at_bound`` generated ones
    that the bound of tokens cut off; null where ``answers`` does not say. ``parameters`` adds the
    models' sizes by name.
    """
    require_columns(answers, ["example_id", "model", "metric", "score"], "answers")
    keys = [c for c in ("task", "group", "metric", *MODEL) if c in answers or c == "group"]
    if "group" not in answers:
        groups = examples.set_index("example_id")["group"]
        answers = answers.assign(group=answers["example_id"].map(groups))
    rows = []
    for key, part in answers.groupby(keys, dropna=False, sort=False):
        row, ends = dict(zip(keys, key, strict=True)), _endings(part)
        scored = part["score"].dropna().to_numpy(float)
        low, high = mean_interval(scored, draws)
        mean = scored.mean() if len(scored) else np.nan
        rows.append({**row, "score": mean, "low": low, "high": high, "examples": len(scored),
                     "unscored": len(part) - len(scored), **ends, "note": None})  # fmt: skip
        if row.get("task") == "translation" and row["metric"] == "exact_match":
            gold = examples.set_index("example_id")["answers"].loc[part["example_id"]].map(lambda a: a[0])
            found = _bleu(part["output"].fillna("").tolist(), gold.tolist(), draws)
            rows.append({**row, "metric": "bleu", **found, **ends})
    table = pd.DataFrame(rows).astype({c: "Int64" for c in ("empty", "at_bound") if rows})
    return table.assign(parameters=table["model"].map(parameters)) if parameters else table


def _endings(answers: pd.DataFrame) -> dict[str, object]:
    """How many answers are empty, and how many were cut off at the bound of tokens."""
    said = answers["output"].dropna() if "output" in answers else []
    bound = answers["at_bound"].dropna() if "at_bound" in answers else []
    return {"empty": sum(not text.strip() for text in said) if len(said) else pd.NA,
            "at_bound": int(sum(bound)) if len(bound) else pd.NA}  # fmt: skip


def endings(table: pd.DataFrame) -> str:
    """A sentence on how many generated answers of :func:`performance` are empty or cut off."""
    if not {"empty", "at_bound"} <= set(table):
        return "How many answers are empty or cut off at the bound of tokens was not recorded."
    keys = [c for c in ("task", "group", *MODEL) if c in table]
    written = table[table["at_bound"].notna()].drop_duplicates(keys)
    if written.empty:
        return "No answer was generated."
    parts, many = [], written["examples"] + written["unscored"]
    for column, what in (("empty", "empty"), ("at_bound", "cut off at the bound of tokens")):
        share = (written[column] / many).astype(float)
        most = written.loc[share.idxmax()]
        where = f" (most of {most['model']} in {most['group']}: {share.max():.0%})"
        where = where if share.max() else ""
        parts.append(f"{int(written[column].sum()):,} are {what}{where}")
    return f"Of {many.sum():,} generated answers {' and '.join(parts)}."


def example_frequency(taskgrams: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """How often the corpus holds what an example asks: ``frequency`` = sum of C((s^x, s^y)) over its distinct pairs.

    One row per task, group, example_id and n, with ``pairs``; ``exact`` is false where one of the counts is not exact,
    by that column of ``counts``, and null where nothing is known. Raises InputError where a pair has no count.
    """
    require_columns(taskgrams, ["example_id", "n", "sx", "sy"], "taskgrams")
    require_columns(counts, ["sx", "sy", "count"], "counts")
    ids = [c for c in ("task", "group", "example_id", "n") if c in taskgrams]
    table = counts[counts["sy"].notna()]
    table = table[table["half"].isna()] if "half" in table else table
    table = table.assign(exact=exactness(table, "counts"))[["sx", "sy", "count", "exact"]]
    table = table.drop_duplicates(["sx", "sy", "count"])
    require(not table.duplicated(["sx", "sy"]).any(), "counts: a pair has two counts; keep the rows of one unit")
    pairs = taskgrams[[*ids, "sx", "sy"]].drop_duplicates().merge(table, on=["sx", "sy"], how="left")
    missing = pairs[pairs["count"].isna()]
    if len(missing):
        first = missing[["sx", "sy"]].iloc[0].tolist()
        raise InputError(f"counts: {len(missing)} pairs without a count, the first {first}")
    groups = pairs.groupby(ids, dropna=False, sort=False)
    table = groups.agg(frequency=("count", "sum"), pairs=("count", "size"), exact=("exact", "min")).reset_index()
    return table.astype({"frequency": "int64"})


def binned_performance(
    answers: pd.DataFrame, frequency: pd.DataFrame, bins: int = 5, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Performance against example frequency (the paper's first figure), one row per n, model and bin of equal count.

    ``frequency`` comes from :func:`example_frequency`. Per bin the median ``frequency`` (and its edges), the mean
    ``score`` and its 95% interval: Wilson's where scores are 0 or 1, else percentiles of the bootstrap by example.
    Beside it, over all examples of the model, ``spearman`` with interval and sign-flip ``p``. Bins whose edges coincide
    are joined.
    """
    require_columns(answers, ["example_id", "model", "score"], "answers")
    require_columns(frequency, ["example_id", "frequency"], "frequency")
    require(bins >= 1, f"bins must be at least 1, got {bins}")
    on = ["example_id", *(["task"] if "task" in answers and "task" in frequency else [])]
    joined = answers.dropna(subset=["score"]).merge(frequency, on=on)
    require(len(joined), f"answers and frequency have no example in common (joined on {', '.join(on)})")
    ids = [c for c in ("task", "group", "n", *MODEL, "metric") if c in joined]
    require(not joined.duplicated([*ids, "example_id"]).any(), "answers: an example has two answers of one model")
    rows = []
    for key, frame in joined.groupby(ids, dropna=False, sort=False):
        by_example = clusters(frame["example_id"])
        values = frame[["frequency", "score"]].to_numpy(float).T
        whole = associations(values, [Ask("spearman", 0, 1)], by_example, draws, seed, ["frequency", "score"])[0]
        beside = {"spearman": whole.estimate, "spearman_low": whole.low, "spearman_high": whole.high, "p": whole.p}
        cut = pd.qcut(frame["frequency"], bins, labels=False, duplicates="drop").fillna(0).astype(int)
        for place, part in frame.groupby(cut.to_numpy()):
            low, high = mean_interval(part["score"].to_numpy(float), draws, seed)
            found = part["frequency"]
            row = {"bin": place, "frequency": found.median()}
            row |= {"frequency_low": found.min(), "frequency_high": found.max()}
            row |= {"score": part["score"].mean(), "low": low, "high": high, "examples": len(part)}
            rows.append({**dict(zip(ids, key, strict=True)), **row, **beside, "reason": whole.reason})
    return pd.DataFrame(rows)


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
    # The library's interval is mean ± half; with few sentences it would leave the scale.
    return {"score": found.score, "low": max(0.0, mean - half), "high": min(100.0, mean + half),
            "examples": len(outputs), "unscored": 0, "note": str(metric.get_signature())}  # fmt: skip
