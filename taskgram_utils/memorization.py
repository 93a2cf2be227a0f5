"""Distributional memorization (Mem): how far a model's log P follows a count-based model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import (
    NO_INTERVAL, Changes, Query, Result, clusters_of, combined, interval, jackknife,
)
from taskgram_utils.statistics import holm, split_half_reliability
from taskgram_utils.tables import KEYS, LOGP, check, exactness, read_table, write_table

MEASURES = ("spearman", "pearson", "kendall_distance")
FAMILY = ["task", "group", "n", "count_model", "form", "zero_handling"]
MODEL = ["model", "run", "seed", "step"]
IDENTITY = [*FAMILY, "model", "parameters", "run", "seed", "step", "measure"]
COLUMNS = [*IDENTITY, "estimate", "low", "high", "p", "p_holm", "points", "examples",
           "coverage_pairs", "coverage_points", "coverage_examples", "zero_share", "reliability",
           "reason", "ties", "sd", "outputs", "clusters", "exact"]
_WHOLE = ["n", "points", "examples", "outputs"]
_TEXTS = [*FAMILY, "model", "run", "seed", "step", "measure", "reason", "clusters"]
_NOT_CONTROLS = {*FAMILY, *MODEL, *KEYS, "sx", "lm", "world", "exact", "end", "option",
                 "parameters", "half"}


class Estimates(NamedTuple):
    """A memorization table and each row's jackknife replicates (None where it has no estimate)."""

    table: pd.DataFrame
    replicates: list[Changes | None]

    def rows(self, chosen: Sequence[bool] | np.ndarray | pd.Series) -> Estimates:
        """The rows for which ``chosen`` [rows] is true, with Holm's p over them alone."""
        chosen = np.asarray(chosen, bool)
        table = self.table[chosen].reset_index(drop=True)
        table = table.assign(p_holm=holm(table["p"])) if "p_holm" in table else table
        return Estimates(table, [self.replicates[i] for i in np.flatnonzero(chosen)])


def mem(
    count_model: pd.DataFrame, model: pd.DataFrame, controls: pd.DataFrame | None = None, **options
) -> pd.DataFrame:
    """The ``memorization`` table of :func:`estimates` alone, with the same arguments."""
    return estimates(count_model, model, controls, **options).table


def estimates(
    count_model: pd.DataFrame,
    model: pd.DataFrame,
    controls: pd.DataFrame | None = None,
    measures: Sequence[str] = ("spearman",),
    count_model_halves: pd.DataFrame | None = None,
    taskgrams: pd.DataFrame | None = None,
    examples: pd.DataFrame | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Estimates:
    """Mem: Spearman's rho, over all points, of log P(s^y) under a count-based and a language model.

    Equations :eq:`eq-mem`, :eq:`eq-kendall` and, with ``controls``, :eq:`eq-partial`.
    ``count_model`` and ``model`` are ``logp`` tables (nats). The result has one row per task,
    group, n, count_model, form, zero handling, model, run, seed, step and measure. ``measures`` are
    among ``spearman``, ``pearson`` and ``kendall_distance`` = (1 - tau_b) / 2. With ``controls``,
    it also has the partial Spearman given each numeric column (``spearman|a``) and given all
    (``spearman|a+b``), on the points that have the control; its keys are example_id, n, sy, start,
    and those of task, sx, model, run, seed and step that it has. ``low``, ``high`` (95%) and ``p``
    come from the two-way cluster jackknife (:func:`taskgram_utils.jackknife.interval`), ``p_holm``
    is Holm's over the whole table. ``parameters`` gives the sizes of the models by name.
    :func:`contrasts` and :func:`slopes` read the replicates.

    Beside each estimate: ``points``, ``examples``, ``outputs`` (distinct s^y) and ``clusters``
    (what is left out in turn); ``zero_share``, the share of pairs with count 0; ``ties``, the share
    of points whose log P under the count-based model is not unique; ``sd``, its standard deviation
    (nats); ``exact``, the share of points whose count-based log P rests on exact counts.
    ``taskgrams`` adds the shares of pairs with a count above 0 and of points kept, ``examples`` the
    share of examples kept, ``count_model_halves`` (with a column ``half``) the Spearman-Brown
    reliability of the count-based model. ``reason`` says why an estimate or interval is null.

    Raises InputError for missing columns, points given twice, and no point in common.
    """
    unknown = set(measures) - set(MEASURES)
    require(not unknown, f"measure {', '.join(sorted(unknown))}: not one of {', '.join(MEASURES)}")
    joined = points(count_model, model, controls)
    if parameters is not None:
        joined["parameters"] = joined["model"].map(parameters).astype(float)
    names = _control_names(controls)
    halves = None if count_model_halves is None else _halves(count_model_halves)
    totals = _totals(joined, taskgrams, examples)
    rows, replicates = [], []
    for family, frame in joined.groupby(FAMILY, dropna=False, sort=False):
        shared = dict(zip(FAMILY, family, strict=True))
        results, point_sets = _results(frame, names, measures)
        beside = [_beside(*points, shared, totals, halves) for points in point_sets]
        for columns, result, point_set in results:
            estimate = _estimate(result, columns["measure"])
            rows.append({**shared, **columns, **estimate, **beside[point_set]})
            replicates.append(None if np.isnan(result.estimate) else result.changes)
    rows += _unmatched(count_model, joined)
    replicates += [None] * (len(rows) - len(replicates))
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_holm"] = holm(table["p"])
    types = dict.fromkeys(_WHOLE, "Int64")
    types |= {c: float for c in COLUMNS if c not in (*_WHOLE, *_TEXTS)}
    return Estimates(table.astype(types), replicates)


def write_estimates(folder: Path, result: Estimates) -> None:
    """Write a new folder: estimates (``table.parquet``), their replicates (``replicates.npz``)."""
    folder.mkdir(parents=True)
    write_table(result.table, folder / "table.parquet")
    parts = {f"{row}.{kind}": np.stack([names, change.view(names.dtype)])
             for row, changes in enumerate(result.replicates) if changes
             for kind, (names, change) in enumerate(changes[:3])}
    two_way = [bool(changes and changes.two_way) for changes in result.replicates]
    np.savez(folder / "replicates.npz", two_way=two_way, **parts)


def read_estimates(folder: Path) -> Estimates:
    """Read what :func:`write_estimates` wrote."""
    with np.load(folder / "replicates.npz", allow_pickle=False) as file:
        parts = dict(file)
    replicates: list[Changes | None] = []
    for row, two_way in enumerate(parts["two_way"]):
        known = [parts[key] for kind in range(3) if (key := f"{row}.{kind}") in parts]
        changes = [(names, bits.view(float)) for names, bits in known]
        replicates.append(Changes(*changes, bool(two_way)) if changes else None)
    return Estimates(read_table(folder / "table.parquet"), replicates)


# --- the points of an estimate --------------------------------------------------------------------


def points(
    count_model: pd.DataFrame, model: pd.DataFrame, controls: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The points of two language models side by side: a row per point of the first and model, step.

    The tables are joined on example_id, n, sy, start, and on task and sx where both have them;
    options are left out, and run, seed and step of the count-based model are ignored. Columns:
    ``count_model``, ``form``, ``zero_handling``, ``logp_count_model``, ``model``, ``logp_model``
    (nats), ``n_terms``, ``n_zero`` and one per control (null where a point has none). Raises
    InputError where they share no point.
    """
    left, right = logp_table(count_model, "count_model"), logp_table(model, "model")
    left = _with_form(left).rename(columns={"logp": "logp_count_model"})
    right = right.rename(columns={"logp": "logp_model"})
    beside = ["logp_count_model", "n_terms", "n_zero", "exact"]
    left = left[[*FAMILY, "example_id", "sx", "sy", "start", *beside]]
    right = right[["task", "group", *KEYS, "sx", *MODEL, "parameters", "logp_model"]]
    _require_unique(left, [*FAMILY, "example_id", "sx", "sy", "start"], "count_model")
    _require_unique(right, ["task", *KEYS, "sx", *MODEL], "model")
    keys = _shared_keys(left, right)
    # A model scores an output once for all its inputs, or (per pair) once for each.
    scored, by_pair = right["sx"].isna(), left["sx"].notna()
    sides = ((left, right[scored], keys), (left[by_pair], right[~scored], [*keys, "sx"]))
    parts = [a.merge(b, on=on, suffixes=("", "_model")) for a, b, on in sides if len(a) and len(b)]
    joined = pd.concat(parts, ignore_index=True) if parts else left.iloc[:0]
    of_ngrams = right[right["n"].notna()] if left["n"].notna().any() else right
    require(len(joined) or len(of_ngrams) or right.empty, "model: log P of full answers alone, of "
            "no n-gram; score the task-grams, too (taskgram score --taskgrams)")
    begin = f"count_model begins {first_row(left)}, model begins {first_row(of_ngrams)}"
    none = f"count_model and model have no point in common (joined on {', '.join(keys)}; {begin})"
    require(len(joined), none)
    for column in ("task", "group"):
        if f"{column}_model" in joined:
            joined[column] = joined[column].fillna(joined[f"{column}_model"])
    joined = joined.drop(columns=["task_model", "group_model", "sx_model"], errors="ignore")
    return joined if controls is None else with_controls(joined, controls)


def unmatched(count_model: pd.DataFrame, model: pd.DataFrame) -> int:
    """How many points of a count-based model no model has."""
    sides = [logp_table(count_model, "count_model"), logp_table(model, "model")]
    keys = _shared_keys(*sides)
    wanted, there = (frame[keys].drop_duplicates() for frame in sides)
    return len(wanted) - len(wanted.merge(there, on=keys))


# --- what is read from estimates ------------------------------------------------------------------


def contrasts(result: Estimates, by: str, of: object, to: object) -> Estimates:
    """Differences of estimates: ``of`` less ``to`` in the column ``by``, all else equal.

    ``contrasts(result, "count_model", "taskgram", "infinigram")`` is Mem_n - Mem_inf. The table has
    the shared columns, ``estimate`` (its sides in ``estimate_of`` and ``estimate_to``), ``points``
    (of the smaller side), ``low``, ``high``, ``p``, ``p_holm`` and ``reason``. The interval is that
    of the change of both sides when a cluster is left out. Each side keeps its own points:
    :func:`on_shared_points` puts both on the same ones. Raises InputError where a side has no
    estimate.
    """
    require(by in IDENTITY, f"differences by {by}: not one of {', '.join(IDENTITY)}")
    differ = {by, {"count_model": "zero_handling", "model": "parameters"}.get(by, by)}
    shared = [c for c in IDENTITY if c not in differ]
    table = result.table.assign(row=np.arange(len(result.table)))
    columns = [*shared, "estimate", "points", "reason", "row"]
    sides = [table.loc[table[by] == value, columns] for value in (of, to)]
    for value, side in zip((of, to), sides, strict=True):
        require(len(side), f"differences: no estimate with {by} = {value}")
        _require_unique(side, shared, f"differences: {by} = {value}")
    pairs = sides[0].merge(sides[1], on=shared, suffixes=("_of", "_to"))
    rows_of_both = pairs[["row_of", "row_to"]].to_numpy()
    both = [[result.replicates[row] for row in rows] for rows in rows_of_both]
    replicates = [None if None in sides else combined(sides, (1, -1)) for sides in both]
    out = pairs[[*shared, "estimate_of", "estimate_to"]]
    out.insert(0, by, f"{of} - {to}")
    out["estimate"] = out["estimate_of"] - out["estimate_to"]
    out["points"] = pairs[["points_of", "points_to"]].min(axis=1)
    reason = pairs["reason_of"].fillna(pairs["reason_to"])
    return Estimates(_with_intervals(out, replicates).assign(reason=reason), replicates)


def on_shared_points(
    count_model: pd.DataFrame, other: pd.DataFrame, model: pd.DataFrame, **options
) -> Estimates:
    """:func:`estimates` under two references, each on the points that both have.

    Where one scores pairs and the other outputs, an output counts once for each of its pairs.
    Raises InputError unless each side has one language model, another one than the other side.
    """
    sides = [logp_table(count_model, "count_model"), logp_table(other, "other")]
    names = [list(frame["model"].unique()) for frame in sides]
    one_each = all(len(n) == 1 for n in names) and names[0] != names[1]
    got = f"{names[0]} and {names[1]}"
    require(one_each, f"compare: needs one language model a side and two different ones, got {got}")
    paired = [frame["sx"].notna().all() for frame in sides]
    keys = _shared_keys(*sides) + (["sx"] if all(paired) else [])
    known = [frame.loc[frame["logp"].notna(), keys].drop_duplicates() for frame in sides]
    both = [sides[0].merge(known[1], on=keys), sides[1].merge(known[0], on=keys)]
    if paired[0] != paired[1]:
        pairs, outputs = both if paired[0] else both[::-1]
        outputs = outputs.drop(columns="sx").merge(pairs[[*keys, "sx"]], on=keys)
        both = [pairs, outputs] if paired[0] else [outputs, pairs]
    require(len(both[0]), f"compare: no point in common (joined on {', '.join(keys)})")
    return estimates(pd.concat(both), model, **options)


def at_one_step(result: Estimates) -> Estimates:
    """Estimates of models' last steps, which may differ, as of one step: slopes go over models."""
    step = result.table["step"]
    if step.dropna().nunique() > 1 or (step.isna() & result.table["model"].notna()).any():
        table = result.table.assign(step=pd.array([pd.NA] * len(step), "Int64"))
        return result._replace(table=table)
    return result


def slopes(result: Estimates) -> pd.DataFrame:
    """Least-squares slopes of Mem on log10 of the parameters, over the models of a family.

    One row per task, group, n, count_model, form, zero_handling, run, seed, step and measure; of
    :func:`contrasts` the slope of the difference. ``slope`` is Mem per tenfold size; ``low``,
    ``high``, ``p``, ``p_holm`` as in :func:`estimates`; ``models`` counts those with an estimate;
    ``reason`` says why a slope is null. Raises InputError where no model has its size.
    """
    table = result.table.reset_index(drop=True)
    shared = [c for c in IDENTITY if c not in ("model", "parameters") and c in table]
    sized = table["parameters"].notna()
    none = "slopes: no model has its size (taskgram mem --size, or the column parameters)"
    require(sized.any(), none)
    rows, replicates = [], []
    for key, frame in table.groupby(shared, dropna=False, sort=False):
        frame = frame[frame["parameters"].notna() & frame["estimate"].notna()]
        size = np.log10(frame["parameters"].to_numpy(float))
        slope, changes, reason = np.nan, None, "fewer than two sizes with an estimate"
        if len(set(size)) > 1:
            centred = size - size.mean()
            weights = centred / (centred @ centred)
            slope, reason = weights @ frame["estimate"], None
            changes = combined([result.replicates[i] for i in frame.index], weights)
        row = {"models": len(frame), "slope": slope, "reason": reason}
        rows.append(dict(zip(shared, key, strict=True)) | row)
        replicates.append(changes)
    return _with_intervals(pd.DataFrame(rows), replicates, "slope")


# --- within an estimate ---------------------------------------------------------------------------


def _results(
    frame: pd.DataFrame, names: list[str], measures: Sequence[str]
) -> tuple[list[tuple[dict, Result, int]], list[tuple[pd.DataFrame, bool]]]:
    """All statistics of one family with the number of the set of points of each, and these sets
    (and whether two examples share an output). Models that have the same points share one pass of
    the jackknife."""
    frame = frame.reset_index(drop=True)
    point = frame.groupby(["example_id", "sy", "start", "sx"], dropna=False).ngroup().to_numpy()
    first = frame.iloc[np.unique(point, return_index=True)[1]]
    variables, numbers = [], {}

    def variable(column: str, rows: pd.DataFrame) -> int:
        values = np.full(len(first), np.nan)
        values[point[rows.index]] = rows[column]
        number = numbers.setdefault(values.tobytes(), len(variables))
        if number == len(variables):
            variables.append(values)
        return number

    queries, columns = [], []
    count_model = variable("logp_count_model", frame)
    for key, rows in frame.groupby([*MODEL, "parameters"], dropna=False, sort=False):
        identity = dict(zip([*MODEL, "parameters"], key, strict=True))
        model = variable("logp_model", rows)
        given = {name: variable(name, rows) for name in names}
        for measure in measures:
            control_sets = [[]]
            if measure == "spearman":
                control_sets += [[name] for name in names] + ([names] if len(names) > 1 else [])
            for controls in control_sets:
                numbers_given = tuple(given[c] for c in controls)
                queries.append(Query(measure, count_model, model, numbers_given))
                name = f"{measure}|{'+'.join(controls)}" if controls else measure
                columns.append({**identity, "measure": name})
    values = np.array(variables)
    present = ~np.isnan(values)
    masks = np.array([present[[query.a, query.b, *query.given]].all(axis=0) for query in queries])
    labels = ["log P of the count-based model"] + ["log P of the model"] * (len(values) - 1)
    distinct, number = np.unique(masks, axis=0, return_inverse=True)
    results, point_sets = [None] * len(queries), []
    for k, mask in enumerate(distinct):
        chosen, rows = np.flatnonzero(number == k), first[mask]
        starts = rows["start"].astype(str) + " " + rows["sx"].fillna("")
        clusters = clusters_of(rows["example_id"], rows["sy"], starts)
        of_mask = jackknife(values[:, mask], [queries[i] for i in chosen], clusters, labels)
        for i, result in zip(chosen, of_mask, strict=True):
            results[i] = result
        point_sets.append((rows, clusters.two_way))
    return list(zip(columns, results, map(int, number), strict=True)), point_sets


def _beside(
    used: pd.DataFrame, two_way: bool, family: dict, totals: dict, halves: pd.DataFrame | None
) -> dict:
    """The columns beside an estimate that rests on the points ``used``."""
    out = {"points": len(used), "examples": used["example_id"].nunique()}
    out["outputs"] = used["sy"].nunique()
    key = tuple(None if pd.isna(family[c]) else family[c] for c in ("task", "group", "n"))
    total = totals.get(key, {})
    terms, zeros = used["n_terms"].sum(min_count=1), used["n_zero"].sum(min_count=1)
    out["zero_share"] = zeros / terms if len(used) and terms > 0 else np.nan
    if family["count_model"] != "infinigram" and total.get("pairs"):
        out["coverage_pairs"] = (terms - zeros) / total["pairs"] if len(used) else 0.0
    all_points = total.get("points" if family["form"] == "per_output" else "pairs")
    out["coverage_points"] = len(used) / all_points if all_points else np.nan
    if total.get("examples"):
        mine = used.loc[used["example_id"].isin(total["examples"]), "example_id"].nunique()
        out["coverage_examples"] = mine / len(total["examples"])
    if len(used):
        value = used["logp_count_model"]
        out |= {
            "exact": used["exact"].mean(), "ties": value.duplicated(keep=False).mean(),
            "sd": np.std(value) if np.isfinite(value).all() else np.nan,
            "clusters": "examples and outputs" if two_way else "examples",
        }
    if halves is not None:
        rule = halves["zero_handling"].isna() | (halves["zero_handling"] == family["zero_handling"])
        same = (halves["count_model"] == family["count_model"]) & (halves["form"] == family["form"])
        on = [*KEYS, *(["task"] if key[0] is not None else [])]
        on += ["sx"] if family["form"] == "per_pair" else []
        both = used[on].merge(halves[same & rule], on=on)
        out["reliability"] = split_half_reliability(*both[["first", "second"]].to_numpy().T)
    return out


def _halves(frame: pd.DataFrame) -> pd.DataFrame:
    """log P of the count-based model from two halves of the documents, as columns ``first`` and
    ``second``."""
    require_columns(frame, ["half"], "count_model_halves")
    table = _with_form(logp_table(frame, "count_model_halves").dropna(subset=["logp"]))
    keys = ["task", *KEYS, "sx", "count_model", "form", "zero_handling"]
    _require_unique(table, [*keys, "half"], "count_model_halves")
    first, second = (
        table.loc[table["half"] == half, [*keys, "logp"]].rename(columns={"logp": name})
        for half, name in enumerate(("first", "second"))
    )
    return first.merge(second, on=keys)


def _totals(
    joined: pd.DataFrame, taskgrams: pd.DataFrame | None, examples: pd.DataFrame | None
) -> dict[tuple, dict]:
    """How many pairs and points there are, and which examples, by (task, group, n)."""
    keys = ["task", "group", "n"]

    def agreeing(frame: pd.DataFrame, key: tuple) -> pd.DataFrame:
        for column, value in zip(keys, key, strict=True):
            if column in frame and value is not None and frame[column].notna().any():
                frame = frame[frame[column] == value]
        return frame

    if taskgrams is not None:
        require_columns(taskgrams, [*KEYS, "sx"], "taskgrams")
    if examples is not None:
        require_columns(examples, ["example_id"], "examples")
        examples = examples.drop(columns="n", errors="ignore")
        examples = examples.assign(example_id=examples["example_id"].astype("str"))
        if "split" in examples:
            in_use = examples["example_id"].isin(joined["example_id"].unique())
            examples = examples[examples["split"].isin(examples.loc[in_use, "split"].unique())]
    totals: dict[tuple, dict] = {}
    for values in joined[keys].drop_duplicates().itertuples(index=False, name=None):
        key = tuple(None if pd.isna(value) else value for value in values)
        totals[key] = total = {}
        if taskgrams is not None and key[2] is not None:
            pairs = agreeing(taskgrams, key)
            total["pairs"] = len(pairs[["example_id", "sx", "sy"]].drop_duplicates())
            total["points"] = len(pairs[["example_id", "sy"]].drop_duplicates())
        if examples is not None:
            total["examples"] = set(agreeing(examples, key)["example_id"])
    return totals


def _unmatched(count_model: pd.DataFrame, joined: pd.DataFrame) -> list[dict]:
    """Null rows for the families of the count-based model (full answers apart) without any point of
    a model."""
    left = _with_form(logp_table(count_model, "count_model"))
    keys = ["n", "count_model", "form", "zero_handling"]
    keys += [c for c in ("task", "group") if left[c].notna().any()]
    families = left.loc[left["n"].notna(), keys].drop_duplicates()
    families = families.merge(joined[keys].drop_duplicates(), on=keys, how="left", indicator=True)
    alone = families.loc[families["_merge"] == "left_only", keys]
    reason = "no point in common with a model"
    alone = alone.assign(measure="spearman", points=0, examples=0, reason=reason)
    return alone.to_dict("records")


def _estimate(result: Result, measure: str) -> dict:
    """The columns of an estimate. A distance d = (1 - tau) / 2 gets the interval of its tau."""
    if measure == "kendall_distance":
        low, high, p = interval(1 - 2 * result.estimate, combined([result.changes], [-2]))
        low, high = (1 - high) / 2, (1 - low) / 2
    else:
        low, high, p = interval(result.estimate, result.changes)
    reason = result.reason or (NO_INTERVAL if np.isnan(low) else None)
    return {"estimate": result.estimate, "low": low, "high": high, "p": p, "reason": reason}


def _with_intervals(
    table: pd.DataFrame, replicates: Sequence[Changes | None], column: str = "estimate"
) -> pd.DataFrame:
    bounds = [(np.nan,) * 3 if one is None else interval(value, one, correlation=False)
              for value, one in zip(table[column], replicates, strict=True)]
    low, high, p = np.array(bounds, float).reshape(-1, 3).T
    return table.assign(low=low, high=high, p=p, p_holm=holm(p)).reset_index(drop=True)


# --- tables fit for joining -----------------------------------------------------------------------


def logp_table(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """A ``logp`` table with every column, keys of one type, and without options."""
    check(frame, LOGP, [*KEYS, "model", "logp"], name)
    frame = frame[frame["option"].isna()] if "option" in frame else frame
    frame = frame.assign(exact=exactness(frame, name).astype("Float64").astype(float))
    texts = ["example_id", "sy", "task", "group", "sx", "zero_handling"]
    numbers = ["n", "start", "logp", "n_terms", "n_zero", "parameters"]
    every = [*texts, *numbers, "run", "seed", "step", "tokens"]
    frame = frame.assign(**{column: np.nan for column in every if column not in frame})
    for column in texts:
        frame[column] = frame[column].astype("str")
    for column in numbers:
        frame[column] = pd.to_numeric(frame[column]).astype(float)
    named = frame["model"].notna().all()
    require(named, f"{name}: a row without the name of its language model (column model)")
    return frame


def _with_form(count_model: pd.DataFrame) -> pd.DataFrame:
    """A count-based model whose rows say if they score outputs or pairs; its model's name in
    ``count_model``.
    """
    form = np.where(count_model["sx"].isna(), "per_output", "per_pair")
    return count_model.assign(form=form).rename(columns={"model": "count_model"})


def _shared_keys(*sides: pd.DataFrame) -> list[str]:
    """The columns that identify a point in all tables; the task, too, where all rows have one."""
    return [*(["task"] if all(side["task"].notna().all() for side in sides) else []), *KEYS]


def with_controls(joined: pd.DataFrame, controls: pd.DataFrame) -> pd.DataFrame:
    """Join a ``controls`` table on the keys that it shares with the points."""
    require_columns(controls, KEYS, "controls")
    named = [c for c in ("task", "sx", *MODEL) if c in controls and controls[c].notna().any()]
    on = [c for c in (*KEYS, *named) if c in joined and joined[c].notna().any()]
    names = _control_names(controls)
    clash = ", ".join(c for c in names if c in joined)
    taken = f"controls: column {clash} has the name of a column of the points; rename it"
    require(not clash, taken)
    _require_unique(controls, on, "controls")
    controls = controls[[*on, *names]].astype({column: joined[column].dtype for column in on})
    return joined.merge(controls, on=on, how="left")


def _control_names(controls: pd.DataFrame | None) -> list[str]:
    """The numeric columns of a ``controls`` table beside its keys."""
    if controls is None:
        return []
    # A column without a name is an index that pandas wrote.
    columns = [c for c in map(str, controls) if c and not c.startswith("Unnamed:")]
    columns = [c for c in columns if c not in _NOT_CONTROLS]
    numeric = [c for c in columns if pd.api.types.is_numeric_dtype(controls[c])]
    for column in set(columns) - set(numeric):
        cells = controls[column].dropna().astype("str")
        wrong = cells[pd.to_numeric(cells, errors="coerce").isna()]
        like_a_number = cells.str.fullmatch(r"\s*[-+]?\d[\d.,\s]*(e[-+]?\d+)?\s*", case=False)
        meant = like_a_number.mean() > 0.5 and len(wrong)
        require(not meant, f"controls: {column} {next(iter(wrong), '')!r} is no number")
    there = ", ".join(map(str, controls.columns))
    require(numeric, f"controls: no numeric column beside the keys (it has: {there})")
    return numeric


def _require_unique(table: pd.DataFrame, keys: list[str], name: str) -> None:
    twice = table[table.duplicated(keys)]
    first = first_row(twice, keys)
    require(twice.empty, f"{name}: a row is given twice, the first {first}; keep one")


def first_row(table: pd.DataFrame, columns: Sequence[str] = ("task", *KEYS)) -> str:
    if table.empty:
        return "nowhere"
    row = table.iloc[0]
    return ", ".join(f"{c}={row[c]}" for c in columns if not pd.isna(row[c]))
