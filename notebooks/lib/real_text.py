"""Real tasks on real text, as tables that hold none of it: coverage, Mem, being said at all, popularity."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from taskgram_chapters.expectations import direction, verdict
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import combined, interval, mean, points_of
from taskgram_utils.memorization import Estimates, contrasts, estimates, on_shared_points, point_controls, slopes
from taskgram_utils.mining_checks import coverage as mined_coverage
from taskgram_utils.tables import read_table

FEWEST = 200
"""Examples kept below which a task on real text has a coverage and no Mem (METHOD section 1)."""
TABLES = ("coverage", "models", "memorization", "baseline", "slopes", "seen", "popularity", "frequency")
_GROUP = ["task", "group"]
_BOTH = "log_count_sy+log_count_sx+tokens+logp_prior"


def recorded(results: Path) -> dict[str, pd.DataFrame]:
    """The recorded tables of a run of real text, by name. Raises InputError where one is not there."""
    return {name: read_table(Path(results) / f"openbook_{name}.csv") for name in (*TABLES, "performance", "gammas")}


def coverage(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, examples: pd.DataFrame, orders: Sequence[int] = ()
) -> pd.DataFrame:
    """Per task, group and n what of the examples the text can speak to, with ``kept``: examples with an s^x that some
    document holds, ``named``: whether the examples name their subject, so that nothing is mined, and the columns of
    :func:`taskgram_utils.mining_checks.coverage`.

    A group, or an n of ``orders`` in a mined group, without a pair has a row of zeros.
    """
    whole = counts[counts["half"].isna()]
    known = whole.loc[whole["sy"].isna() & (whole["count"] > 0), "sx"]
    said = whole.loc[whole["sy"].notna() & (whole["count"] > 0), ["sx", "sy"]]
    rows = []
    for (task, group), asked in examples.groupby(_GROUP, sort=False):
        own = taskgrams[(taskgrams["task"] == task) & (taskgrams["group"] == group)]
        nothing = {"task": task, "group": group, "examples": len(asked), "with_pairs": 0.0, "kept": 0, "said": 0,
                   "n": None}  # fmt: skip
        named = bool(len(own)) and bool(own["cosine"].isna().all())  # at one n, whatever the run's are
        nothing["named"] = named
        without = [] if named else [n for n in orders if n not in set(own["n"])]
        rows += [{**nothing, "n": n} for n in without]
        if own.empty:
            rows += [] if without else [nothing]
            continue
        for row in mined_coverage(own, counts, asked).to_dict("records"):
            grams = own[own["n"] == row["n"]]
            kept = grams.loc[grams["sx"].isin(known), "example_id"].nunique()
            found = grams.merge(said, on=["sx", "sy"])["example_id"].nunique()
            rows.append({"task": task, "group": group, **row, "kept": kept, "said": found, "named": named})
    return pd.DataFrame(rows).astype({"n": "Int64", "kept": "Int64", "said": "Int64"})


def enough(frame: pd.DataFrame, covered: pd.DataFrame, fewest: int = FEWEST) -> pd.DataFrame:
    """The rows of a table whose task, group and n keep at least ``fewest`` examples."""
    able = covered.loc[(covered["kept"] >= fewest).fillna(False), [*_GROUP, "n"]].drop_duplicates()
    keys = pd.MultiIndex.from_frame(able.astype({"n": int}))
    return frame[pd.MultiIndex.from_frame(frame[[*_GROUP, "n"]].astype({"n": int})).isin(keys)]


def controlled(
    reference: pd.DataFrame, scores: pd.DataFrame, prior: pd.DataFrame, taskgrams: pd.DataFrame, counts: pd.DataFrame,
    **options,
) -> Estimates:  # fmt: skip
    """Mem under a reference, raw and given answer frequency, input frequency, length and the model's prior together.

    ``options`` go to :func:`taskgram_utils.memorization.estimates`.
    """
    controls = point_controls(taskgrams, counts, scores, prior)
    found = estimates(reference, scores, controls, taskgrams=taskgrams, **options)
    return found.rows(found.table["measure"].isna() | found.table["measure"].isin(["spearman", f"spearman|{_BOTH}"]))


def suite_slopes(result: Estimates, suite: Collection[str]) -> pd.DataFrame:
    """Slopes on log10 of the parameters over the models that have read this text, and no other."""
    own = result.table["model"].isin(list(suite)).to_numpy()
    if not own.any() or result.table.loc[own, "model"].nunique() < 2:
        return pd.DataFrame(columns=[*_GROUP, "n", "reference", "measure", "slope", "low", "high", "p"])
    return slopes(result.rows(own))


def lead(taskgram: pd.DataFrame, infinigram: pd.DataFrame, scores: pd.DataFrame, **options) -> pd.DataFrame:
    """Mem under the task-gram LM less Mem under the infinity-gram LM, on the points that both have."""
    both = on_shared_points(taskgram, infinigram, scores, **options)
    return contrasts(both, "reference", "taskgram", "infinigram").table


def seen(
    scores: pd.DataFrame, prior: pd.DataFrame, frequency: pd.DataFrame
) -> pd.DataFrame:
    """What an answer gains from its question where some document holds the pair, and where none does.

    ``gain`` is log P(y | x) - log P(y), in nats, of the gold answer under one model; ``frequency`` is that of
    :func:`taskgram_utils.performance.example_frequency`. Rows per task, group, n and model: examples and mean gain of
    either kind, their ``difference`` with the 95% interval of the jackknife by answer: an answer's examples, and they
    have one each, are left out together.
    """
    keys = ["task", "example_id", "lm"]
    require_columns(scores, [*keys, "sy", "logp", "n", "option"], "scores")
    gold, before = (t[t["n"].isna() & t["option"].isna()] if "option" in t else t[t["n"].isna()]
                    for t in (scores, prior))  # fmt: skip
    gain = gold.merge(before[[*keys, "logp"]], on=keys, suffixes=("", "_prior"))
    gain["gain"] = gain["logp"] - gain["logp_prior"]
    joined = gain.drop(columns=["group", "n"], errors="ignore").merge(frequency, on=["task", "example_id"])
    rows = []
    for (task, group, n, model), part in joined.dropna(subset=["gain"]).groupby([*_GROUP, "n", "lm"], sort=False):
        values, held = part["gain"].to_numpy(float), part["frequency"].to_numpy() > 0
        row = {"task": task, "group": group, "n": n, "model": model, "said": held.sum(), "unsaid": (~held).sum()}
        row["distinct_answers"] = part["sy"].nunique()
        if held.sum() > 1 and (~held).sum() > 1:
            sides = [mean(values[side], points_of(part["sy"][side])) for side in (held, ~held)]
            row |= {"gain_said": sides[0].estimate, "gain_unsaid": sides[1].estimate}
            row["difference"] = row["gain_said"] - row["gain_unsaid"]
            left = combined([side.left for side in sides], (1, -1))
            row["low"], row["high"], _ = interval(row["difference"], left, correlation=False)
        rows.append(row)
    columns = [*_GROUP, "n", "model", "said", "unsaid", "distinct_answers", "gain_said", "gain_unsaid", "difference",
               "low", "high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def popularity(
    reference: pd.DataFrame, scores: pd.DataFrame, examples: pd.DataFrame, **options
) -> pd.DataFrame:
    """Two witnesses of the same answers: the text's counts, and how often the subject's page is read.

    For the examples with a ``popularity`` (PopQA's monthly page views): the Spearman correlation of the model's log P
    with log popularity (``reference`` popularity), and with the task-gram LM, raw and given log popularity.
    """
    known = examples.loc[examples["popularity"].notna(), ["task", "example_id", "popularity"]]
    views = known.assign(popularity=np.log1p(known["popularity"].astype(float)))
    points = reference.merge(views, on=["task", "example_id"])
    require(len(points), "popularity: no example has any")
    witness = points.assign(lm="popularity", logp=points["popularity"]).drop(columns="popularity")
    ids = points[["task", "example_id", "n", "sy", "start", "popularity"]]
    counted = estimates(points.drop(columns="popularity"), scores, ids, **options).table
    viewed = estimates(witness, scores, **options).table
    return pd.concat([counted, viewed], ignore_index=True)


def models_table(names: Sequence[str], suite: Collection[str], parameters: Mapping[str, int]) -> pd.DataFrame:
    """The models: model, parameters (without embeddings), has_read (``this text`` or ``other text``)."""
    return pd.DataFrame({"model": list(names), "parameters": [parameters[n] for n in names],
                         "has_read": ["this text" if n in suite else "other text" for n in names]})  # fmt: skip


def read_expectations(path: Path) -> pd.DataFrame:
    """The expectations of ``book/openbook_expectations.yaml``, a row for each entry and group."""
    said = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    rows = [{**entry, "group": group} for entry in said["entries"] for group in entry["groups"]]
    return pd.DataFrame(rows).drop(columns="groups").assign(widest=said["widest"])


def judge(preregistered: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every preregistered expectation with what was found: model, estimate, low, high, found (see
    :func:`taskgram_chapters.expectations.direction`) and verdict; all null where a group has too few examples."""
    models = tables["models"].sort_values("parameters")
    own = models[models["has_read"] == "this text"]["model"]
    whose = {"suite": next(iter(own[::-1]), None), "slope": None,
             "proxy": next(iter(models[models["has_read"] == "other text"]["model"][::-1]), None)}  # fmt: skip
    measures = {"raw": "spearman", "given": f"spearman|{_BOTH}"}
    rows = []
    for entry in preregistered.to_dict("records"):
        table = tables[entry["table"]]
        part = table[table["group"] == entry["group"]]
        if entry["table"] != "seen":
            part = part[(part["measure"] == measures[entry["measure"]]) & (part["reference"] == "taskgram")]
        part = part if entry["of"] == "slope" else part[part["model"] == whose[entry["of"]]]
        if "documents" in part and len(part):
            part = part[part["documents"] == table["documents"].iloc[0]]
        value = {"slopes": "slope", "seen": "difference"}.get(entry["table"], "estimate")
        part = part[part["n"] == part["n"].max()]
        what = f"{entry['group']}, {entry['of']}, {entry['measure']}"
        require(len(part) <= 1, f"expectations: {len(part)} rows fit {what}")
        found = part[[value, "low", "high"]].to_numpy(float).ravel().tolist() if len(part) else [np.nan] * 3
        # An interval of nats has no widest that would speak for zero.
        told = direction(*found, np.inf if entry["table"] == "seen" else entry["widest"])
        rows.append({**entry, "model": whose[entry["of"]], **dict(zip(("estimate", "low", "high"), found, strict=True)),
                     "found": told, "verdict": verdict(entry["expected"], told)})  # fmt: skip
    return pd.DataFrame(rows)
