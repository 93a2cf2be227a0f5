"""Controls of Mem: what else about a point could make log P follow the counts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import Query, combined, interval, jackknife, clusters_of
from taskgram_utils.memorization import (
    COLUMNS, KEYS, MODEL, first_row, logp_table, mem, with_controls,
)
from taskgram_utils.statistics import holm


def point_controls(
    taskgrams: pd.DataFrame,
    counts: pd.DataFrame,
    model: pd.DataFrame | None = None,
    prior: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The usual ``controls``, one row per point.

    ``log_count_sy`` = log(1 + C(s^y)), and ``log_count_sx``, the mean of log(1 + C(s^x)) over the
    s^x of the point. With ``model`` (a ``logp`` table) also ``tokens`` and, with ``prior`` (the
    same models scoring y without its input), ``logp_prior`` (nats), per model, run, seed and
    step. Raises InputError where a single count is missing.
    """
    require_columns(taskgrams, [*KEYS, "sx"], "taskgrams")
    singles = counts[counts["sy"].isna()]
    singles = singles[singles["half"].isna()] if "half" in singles else singles
    log_count = np.log1p(singles.drop_duplicates("sx").set_index("sx")["count"])
    keys = [c for c in ("task", "group") if c in taskgrams] + KEYS
    sides = {f"log_count_{side}": taskgrams[side].map(log_count) for side in ("sy", "sx")}
    pairs = taskgrams.assign(**sides)
    missing = pairs[pairs[list(sides)].isna().any(axis=1)]
    where = first_row(missing, ["sx", "sy"])
    require(missing.empty, f"single counts: none for {where}; count with --singles")
    kinds = {"log_count_sy": "first", "log_count_sx": "mean"}  # a mean of equals may break ties
    table = pairs.groupby(keys, dropna=False, sort=False).agg(kinds).reset_index()
    if model is None:
        return table
    on = [*KEYS, "task", "model", "run", "seed", "step"]
    extra = logp_table(model, "model")[[*on, "tokens"]].astype({"tokens": float})
    if prior is not None:
        before = logp_table(prior, "prior").rename(columns={"logp": "logp_prior"})
        extra = extra.merge(before[[*on, "logp_prior"]], on=on, how="left")
    table = table.assign(n=table["n"].astype(float), example_id=table["example_id"].astype("str"))
    shared = [*KEYS, *(["task"] if "task" in table and extra["task"].notna().all() else [])]
    extra = extra if "task" in shared else extra.drop(columns="task")
    return table.merge(extra, on=shared).dropna(axis=1, how="all")


def without_most_frequent(
    count_model: pd.DataFrame, model: pd.DataFrame, outputs: int = 2, **options
) -> pd.DataFrame:
    """:func:`mem` without the ``outputs`` most frequent s^y of each task, group and n.

    It answers whether a few wordings make Mem. Adds ``most_frequent`` (these outputs) and ``share``
    (theirs of the count_model's points). A family without any other output has no row.
    """
    keys = ["task", "group", "n"]
    count_model = count_model.assign(**{c: None for c in ("task", "group") if c not in count_model})
    by_output = count_model.drop_duplicates([*keys, "example_id", "sy", "start"])
    many = by_output.groupby(keys, dropna=False)["sy"].value_counts()
    top = many.groupby(level=[0, 1, 2], dropna=False).head(outputs).rename("many").reset_index()
    beside = top.groupby(keys, dropna=False).agg(most_frequent=("sy", tuple), share=("many", "sum"))
    beside["share"] /= by_output.groupby(keys, dropna=False).size()
    marked = count_model.merge(top[[*keys, "sy"]], on=[*keys, "sy"], how="left", indicator=True)
    rest = marked[marked.pop("_merge") == "left_only"]
    if rest.empty:
        return pd.DataFrame(columns=[*COLUMNS, "most_frequent", "share"])
    return mem(rest, model, **options).merge(beside.reset_index(), on=keys, how="left")


def incremental_r2(
    model: pd.DataFrame, predictors: pd.DataFrame, steps: Sequence[str], ranks: bool = False
) -> pd.DataFrame:
    """R² of the model's log P on the first, the first two, ... of ``steps`` (:eq:`eq-increment`).

    ``steps`` names columns of ``predictors`` (keys as a ``controls`` table), for example unigram,
    n-gram, ∞-gram and task-gram log P. One row per task, group, n, model and step, whose name is in
    ``predictor``: ``r2`` and ``increment`` with 95% intervals of the jackknife, and ``p`` of an
    increment of zero, on the points that have all steps. Raises InputError where there is none, and
    for infinite values unless ``ranks``.
    """
    require_columns(predictors, [*KEYS, *steps], "predictors")
    scores = logp_table(model, "model").rename(columns={"logp": "logp_model"})
    joined = with_controls(scores[["task", "group", *KEYS, *MODEL, "logp_model"]], predictors)
    joined = joined.dropna(subset=["logp_model", *steps])
    require(len(joined), "incremental_r2: no point of the model has every step")
    finite = ranks or np.isfinite(joined[["logp_model", *steps]].to_numpy(float)).all()
    require(finite, "incremental_r2: infinite values; smooth the counts or set ranks=True")
    measure = "r2 of ranks" if ranks else "r2"
    queries = [Query(measure, 0, 0, tuple(range(1, k + 1))) for k in range(len(steps) + 1)]
    rows, ids = [], ["task", "group", "n", *MODEL]
    for key, frame in joined.groupby(ids, dropna=False, sort=False):
        clusters = clusters_of(frame["example_id"], frame["sy"], frame["start"])
        values = frame[["logp_model", *steps]].to_numpy(float).T
        results = jackknife(values, queries, clusters, ["log P of the model", *steps])
        shared = dict(zip(ids, key, strict=True))
        shared |= {"points": len(frame), "examples": frame["example_id"].nunique()}
        for step, before, after in zip(steps, results, results[1:], strict=False):
            low, high, _ = interval(after.estimate, after.changes, correlation=False)
            gain = after.estimate - before.estimate
            change = combined([after.changes, before.changes], (1, -1))
            bounds = interval(gain, change, correlation=False)
            rows.append({
                **shared, "predictor": step, "r2": after.estimate, "low": low, "high": high,
                "reason": after.reason, "increment": gain,
                **dict(zip(("increment_low", "increment_high", "p"), bounds, strict=True)),
            })
    order = [
        *ids, "predictor", "r2", "low", "high", "increment", "increment_low", "increment_high", "p",
        "p_holm", "points", "examples", "reason",
    ]
    table = pd.DataFrame(rows).reindex(columns=order)
    return table.assign(p_holm=holm(table["p"])).astype({"n": "Int64"})
