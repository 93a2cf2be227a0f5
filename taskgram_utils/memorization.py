"""Distributional memorization: how far a model's log P follows a reference's, with what a sceptic asks beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import NO_INTERVAL, Ask, LeftOut, Result, combined, interval, jackknife, points_of
from taskgram_utils.statistics import holm, split_half_reliability
from taskgram_utils.tables import exactness

FAMILY = ["task", "group", "n", "reference", "form", "zero_rule"]
MODEL = ["model", "world", "seed", "step"]
IDENTITY = [*FAMILY, "model", "parameters", "world", "seed", "step", "measure"]
COLUMNS = [
    *IDENTITY, "estimate", "low", "high", "p", "p_holm", "points", "examples", "coverage_pairs", "coverage_points",
    "coverage_examples", "zero_share", "reliability", "reason", "ties", "spread", "outputs", "clusters", "exact",
]  # fmt: skip
_KEYS = ["example_id", "n", "sy", "start"]
MEASURES = ("spearman", "pearson", "kendall_distance")
_NOT_CONTROLS = {*FAMILY, *MODEL, *_KEYS, "lm", "sx", "exact", "end", "option", "parameters", "half"}
_NUMBERS = {"estimate", "low", "high", "p", "p_holm", "coverage_pairs", "coverage_points", "coverage_examples",
            "zero_share", "reliability", "ties", "spread", "parameters", "exact"}  # fmt: skip


class Estimates(NamedTuple):
    """A memorization table and, row by row, how the estimate changes when a cluster is left out (None: no estimate)."""

    table: pd.DataFrame
    left: list[LeftOut | None]

    def rows(self, chosen: Sequence[bool] | np.ndarray | pd.Series) -> Estimates:
        """The rows for which ``chosen`` [rows] is true."""
        chosen = np.asarray(chosen, bool)
        return Estimates(self.table[chosen].reset_index(drop=True), [self.left[i] for i in np.flatnonzero(chosen)])


def mem(reference: pd.DataFrame, model: pd.DataFrame, controls: pd.DataFrame | None = None, **options) -> pd.DataFrame:
    """The ``memorization`` table of :func:`estimates` alone, with the same arguments."""
    return estimates(reference, model, controls, **options).table


def estimates(
    reference: pd.DataFrame,
    model: pd.DataFrame,
    controls: pd.DataFrame | None = None,
    measures: Sequence[str] = ("spearman",),
    reference_halves: pd.DataFrame | None = None,
    taskgrams: pd.DataFrame | None = None,
    examples: pd.DataFrame | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Estimates:
    """Mem: the Spearman correlation of log P under a reference (task-gram, infinity-gram) and under language models.

    ``reference`` and ``model`` are ``logp`` tables (nats). A row of the answer per task, group, n, reference, form,
    zero rule, model, world, seed, step and measure. ``measures`` are among ``spearman``, ``kendall_distance``
    (1 - tau) / 2 and ``pearson``; with ``controls`` the partial Spearman given each numeric column, then all of them
    (``spearman|a+b``), on the points that have the control. ``low``, ``high`` (95%) and ``p`` are of the two-way
    cluster jackknife (:func:`taskgram_utils.jackknife.interval`), ``p_holm`` is Holm's over the whole table.
    ``parameters`` gives the models' sizes by name. How every row changes when an example, an output or a point is left
    out is kept for :func:`contrasts` and :func:`slopes`.

    Beside each estimate: ``points``, ``examples``, ``outputs`` (distinct s^y), ``clusters`` (what is left out in turn);
    ``zero_share`` of the joint counts; ``ties`` (share of points whose reference log P another has too)
    and ``spread`` (its sd); with ``taskgrams`` the shares of pairs found and of points
    kept, with ``examples`` that of the examples (of the splits in use) kept, with ``reference_halves`` (column
    ``half``) the Spearman–Brown reliability of the reference; ``exact`` is the share of points whose reference rests on
    exact counts alone (null where its table does not say). ``reason`` says why an estimate or interval is null.

    Raises InputError for missing columns, points given twice, or no point in common.
    """
    unknown = set(measures) - set(MEASURES)
    require(not unknown, f"measure {', '.join(sorted(unknown))}: not one of {', '.join(MEASURES)}")
    joined = points(reference, model, controls)
    names = _control_names(controls)
    if parameters is not None:
        joined["parameters"] = joined["model"].map(parameters).astype(float)
    halves = None if reference_halves is None else _halves(reference_halves)
    whole = _totals(joined, taskgrams, examples)
    rows, kept = [], []
    for family, frame in joined.groupby(FAMILY, dropna=False, sort=False):
        shared = dict(zip(FAMILY, family, strict=True))
        answered, sets = _answers(frame, names, measures)
        beside = [_beside(used, shared, whole, halves) for used in sets]
        for columns, result, k in answered:
            rows.append({**shared, **columns, **_found(result, columns["measure"]), **beside[k]})
            kept.append(None if np.isnan(result.estimate) else result.left)
    rows += _unmatched(reference, joined)
    kept += [None] * (len(rows) - len(kept))
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_holm"] = holm(table["p"])
    integers = ["n", "points", "examples", "outputs"]
    types = dict.fromkeys(_NUMBERS, float) | dict.fromkeys(integers, "Int64")
    return Estimates(table.astype(types), kept)


def points(reference: pd.DataFrame, model: pd.DataFrame, controls: pd.DataFrame | None = None) -> pd.DataFrame:
    """The points of two language models side by side, one row per reference point and (model, world, seed, step).

    Joined on example_id, n, sy, start (task and sx too where both tables have them); rows of options are left out, the
    reference's world, seed and step are ignored. Columns ``reference``, ``form``, ``zero_rule``, ``logp_reference``,
    ``model``, ``logp_model``, ``pairs``, ``zeros`` and one per control (null where a point has none).
    """
    left = _scores(reference, "reference")
    right = _scores(model, "model")
    left["form"] = np.where(left["sx"].isna(), "per_output", "per_pair")
    left = left.rename(columns={"lm": "reference", "logp": "logp_reference"})
    right = right.rename(columns={"lm": "model", "logp": "logp_model"})
    left = left[[*FAMILY, "example_id", "sx", "sy", "start", "logp_reference", "pairs", "zeros", "exact"]]
    right = right[["task", "group", "example_id", "n", "sx", "sy", "start", *MODEL, "parameters", "logp_model"]]
    _once(left, [*FAMILY, "example_id", "sx", "sy", "start"], "reference")
    _once(right, ["task", *_KEYS, "sx", *MODEL], "model")
    keys = _joined_on(left, right)
    by_output, by_pair = right[right["sx"].isna()], right[right["sx"].notna()]
    parts = []
    for part, sx in ((by_output, []), (by_pair, ["sx"])):
        mine = left[left["sx"].notna()] if sx else left
        if len(part) and len(mine):
            parts.append(mine.merge(part, on=[*keys, *sx], suffixes=("", "_model")))
    joined = pd.concat(parts, ignore_index=True) if parts else left.iloc[:0]
    require(
        len(joined),
        f"reference and model have no point in common (joined on {', '.join(keys)}; reference begins "
        f"{_first(left)}, model begins {_first(right)})",
    )
    for column in ("task", "group"):
        if f"{column}_model" in joined:
            joined[column] = joined[column].where(joined[column].notna(), joined[f"{column}_model"])
    joined = joined.drop(columns=[c for c in joined if c.endswith("_model") and c != "logp_model"])
    return joined if controls is None else _with_controls(joined, controls)


def unmatched(reference: pd.DataFrame, model: pd.DataFrame) -> int:
    """How many points of a reference (example_id, n, sy, start and, where both have it, task) no model has."""
    sides = [_scores(reference, "reference"), _scores(model, "model")]
    keys = _joined_on(*sides)
    asked, there = (frame[keys].drop_duplicates() for frame in sides)
    return len(asked) - len(asked.merge(there, on=keys))


def point_controls(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, model: pd.DataFrame | None = None, prior: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The usual ``controls``, one row per point: log_count_sy = log(1 + C(s^y)) and log_count_sx, the mean of
    log(1 + C(s^x)) over the point's s^x; with ``model`` (a ``logp`` table) also ``tokens`` and, with ``prior`` (the
    same models scoring y without its input), ``logp_prior``, per lm, world, seed and step. Needs all single counts.
    """
    require_columns(taskgrams, [*_KEYS, "sx"], "taskgrams")
    singles = counts[counts["sy"].isna()]
    singles = singles[singles["half"].isna()] if "half" in singles else singles
    level = np.log1p(singles.drop_duplicates("sx").set_index("sx")["count"])
    keys = [c for c in ("task", "group") if c in taskgrams] + _KEYS
    pairs = taskgrams.assign(log_count_sy=taskgrams["sy"].map(level), log_count_sx=taskgrams["sx"].map(level))
    missing = pairs[pairs["log_count_sy"].isna() | pairs["log_count_sx"].isna()]
    require(missing.empty, f"single counts: none for {_first(missing, ['sx', 'sy'])}; count with --singles")
    table = pairs.groupby(keys, dropna=False, sort=False)[["log_count_sy", "log_count_sx"]].mean().reset_index()
    if model is None:
        return table
    ids = ["lm", "world", "seed", "step"]
    scores = _scores(model, "model")
    scores["tokens"] = scores["tokens"].astype(float)
    if prior is not None:
        before = _scores(prior, "prior").rename(columns={"logp": "logp_prior"})
        scores = scores.merge(before[[*_KEYS, "task", *ids, "logp_prior"]], on=[*_KEYS, "task", *ids], how="left")
    extra = scores[[*_KEYS, "task", *ids, "tokens", *(["logp_prior"] if prior is not None else [])]]
    table = table.assign(n=table["n"].astype(float), example_id=table["example_id"].astype("str"))
    on = [*_KEYS, *(["task"] if "task" in table and extra["task"].notna().all() else [])]
    return table.merge(extra if "task" in on else extra.drop(columns="task"), on=on).dropna(axis=1, how="all")


def contrasts(result: Estimates, by: str, of: object, to: object) -> Estimates:
    """Estimates whose column ``by`` is ``of`` less those that agree but have ``to``; :func:`slopes` takes them too.

    For example ``contrasts(result, "reference", "taskgram", "infinigram")`` is Mem_n - Mem_inf. The table has the
    shared columns, ``estimate`` (its sides in ``estimate_of``, ``estimate_to``), ``points`` (of the smaller side),
    ``low``, ``high``, ``p``, ``p_holm`` and ``reason``; the interval is of the change of both sides when a cluster is
    left out. Each side keeps its own points: :func:`on_shared_points` puts both on the same ones.
    """
    require(by in IDENTITY, f"differences by {by}: not one of {', '.join(IDENTITY)}")
    loose = {by, *({"zero_rule"} if by == "reference" else {"parameters"} if by == "model" else set())}
    shared = [c for c in IDENTITY if c not in loose]
    table = result.table.assign(row=np.arange(len(result.table)))
    sides = [table.loc[table[by] == value, [*shared, "estimate", "points", "reason", "row"]] for value in (of, to)]
    for value, side in zip((of, to), sides, strict=True):
        require(len(side), f"differences: no estimate with {by} = {value}")
        _once(side, shared, f"differences: {by} = {value}")
    pairs = sides[0].merge(sides[1], on=shared, suffixes=("_of", "_to"))
    sides = [[result.left[row] for row in pairs[f"row_{side}"]] for side in ("of", "to")]
    change = [None if None in both else combined(both, (1, -1)) for both in zip(*sides, strict=True)]
    out = pairs[[*shared, "estimate_of", "estimate_to"]]
    out.insert(0, by, f"{of} - {to}")
    out["estimate"] = out["estimate_of"] - out["estimate_to"]
    out["points"] = pairs[["points_of", "points_to"]].min(axis=1)
    reason = pairs["reason_of"].fillna(pairs["reason_to"])
    return Estimates(_with_intervals(out, change).assign(reason=reason), change)


def on_shared_points(reference: pd.DataFrame, other: pd.DataFrame, model: pd.DataFrame, **options) -> Estimates:
    """:func:`estimates` under both references, each on the points that both have; an output of one side is as many
    points as the other has pairs of it."""
    sides = [_scores(frame, name) for frame, name in ((reference, "reference"), (other, "other"))]
    names = [frame["lm"].unique() for frame in sides]
    require(
        all(len(n) == 1 for n in names) and names[0][0] != names[1][0],
        f"compare: needs one language model a side and two different ones, got {list(names[0])} and {list(names[1])}",
    )
    keys = _joined_on(*sides)
    keys += ["sx"] if all(frame["sx"].notna().all() for frame in sides) else []
    with_value = [frame.loc[frame["logp"].notna(), keys].drop_duplicates() for frame in sides]
    both = [sides[0].merge(with_value[1], on=keys), sides[1].merge(with_value[0], on=keys)]
    paired = [frame["sx"].notna().all() for frame in sides]
    if any(paired) and not all(paired):
        of, to = (0, 1) if paired[0] else (1, 0)
        both[to] = both[to].drop(columns="sx").merge(both[of][[*keys, "sx"]], on=keys)
    require(len(both[0]), f"compare: no point in common (joined on {', '.join(keys)})")
    return estimates(pd.concat(both), model, **options)


def without_most_frequent(reference: pd.DataFrame, model: pd.DataFrame, outputs: int = 2, **options) -> pd.DataFrame:
    """:func:`mem` on the points whose s^y is not among the ``outputs`` most frequent of its task, group and n: is Mem
    the work of a few wordings? Adds ``most_frequent`` (those outputs) and ``share`` (theirs of the reference's points).
    A family of which nothing is left has no row."""
    keys = ["task", "group", "n"]
    reference = reference.assign(**{c: None for c in ("task", "group") if c not in reference})
    said = reference.drop_duplicates([*keys, "example_id", "sy", "start"])
    found = said.groupby(keys, dropna=False)["sy"].value_counts()
    top = found.groupby(level=[0, 1, 2], dropna=False).head(outputs).rename("points_of").reset_index()
    beside = top.groupby(keys, dropna=False).agg(most_frequent=("sy", tuple), share=("points_of", "sum"))
    beside["share"] /= said.groupby(keys, dropna=False).size()
    kept = reference.merge(top[[*keys, "sy"]], on=[*keys, "sy"], how="left", indicator=True)
    kept = kept[kept.pop("_merge") == "left_only"]
    if kept.empty:
        return pd.DataFrame(columns=[*COLUMNS, "most_frequent", "share"])
    return mem(kept, model, **options).merge(beside.reset_index(), on=keys, how="left")


def at_one_step(result: Estimates) -> Estimates:
    """Estimates of models' last steps, as those of one where they differ: a slope goes over models, not over steps."""
    step = result.table["step"]
    differ = step.dropna().nunique() > 1 or (step.isna() & result.table["model"].notna()).any()
    return result._replace(table=result.table.assign(step=pd.array([pd.NA] * len(step), "Int64"))) if differ else result


def slopes(result: Estimates) -> pd.DataFrame:
    """Least-squares slopes of Mem against log10 of the parameters over the models of a family.

    One row per task, group, n, reference, form, zero rule, world, seed, step and measure (of :func:`contrasts`, the
    slope of the difference): ``slope`` (Mem per tenfold size), ``low``, ``high``, ``p``, ``p_holm``, ``models`` (those
    with an estimate) and ``reason``, why a slope is null. Raises InputError where no model has its size.
    """
    table = result.table.reset_index(drop=True)
    shared = [c for c in IDENTITY if c not in ("model", "parameters") and c in table]
    require(table["parameters"].notna().any(), "slopes: no model has its size (give parameters={model: count})")
    rows, kept = [], []
    for key, frame in table.groupby(shared, dropna=False, sort=False):
        frame = frame[frame["parameters"].notna() & frame["estimate"].notna()]
        size = np.log10(frame["parameters"].to_numpy(float))
        slope, left, reason = np.nan, None, "fewer than two sizes with an estimate"
        if len(set(size)) > 1:
            weights = (size - size.mean()) / ((size - size.mean()) @ (size - size.mean()))
            slope, reason = weights @ frame["estimate"], None
            left = combined([result.left[i] for i in frame.index], weights)
        rows.append({**dict(zip(shared, key, strict=True)), "models": len(frame), "slope": slope, "reason": reason})
        kept.append(left)
    return _with_intervals(pd.DataFrame(rows), kept, "slope")


def incremental_r2(
    model: pd.DataFrame, predictors: pd.DataFrame, steps: Sequence[str], ranks: bool = False
) -> pd.DataFrame:
    """R² of the model's log P on the first, first two, ... of ``steps``: what does each add to those before it?

    ``steps`` names columns of ``predictors`` (keys as a ``controls`` table), in the order unigram, n-gram,
    infinity-gram, task-gram. One row per task, group, n, model and step, the step's name in ``predictor``: ``r2`` and
    ``increment`` with 95% intervals of the jackknife, and ``p`` of an increment of zero, on the points that have all
    steps (all values finite, unless ``ranks``).
    """
    require_columns(predictors, [*_KEYS, *steps], "predictors")
    scores = _scores(model, "model").rename(columns={"lm": "model", "logp": "logp_model"})
    joined = _with_controls(scores[["task", "group", *_KEYS, *MODEL, "logp_model"]], predictors)
    joined = joined.dropna(subset=["logp_model", *steps])
    require(len(joined), "incremental_r2: no point of the model has every step")
    finite = ranks or np.isfinite(joined[["logp_model", *steps]].to_numpy(float)).all()
    require(finite, "incremental_r2: infinite values; smooth the counts or set ranks=True")
    measure, names = "r2 of ranks" if ranks else "r2", ["log P of the model", *steps]
    asks = [Ask(measure, 0, 0, tuple(range(1, k + 1))) for k in range(len(steps) + 1)]
    rows, ids = [], ["task", "group", "n", *MODEL]
    for key, frame in joined.groupby(ids, dropna=False, sort=False):
        values = frame[["logp_model", *steps]].to_numpy(float).T
        found = jackknife(values, asks, points_of(frame["example_id"], frame["sy"], frame["start"]), names)
        common = {**dict(zip(ids, key, strict=True)), "points": len(frame), "examples": frame["example_id"].nunique()}
        for k, step in enumerate(steps, 1):
            low, high, _ = interval(found[k].estimate, found[k].left, correlation=False)
            row = {"predictor": step, "r2": found[k].estimate, "low": low, "high": high, "reason": found[k].reason}
            gain = found[k].estimate - found[k - 1].estimate
            bounds = interval(gain, combined([found[k].left, found[k - 1].left], (1, -1)), correlation=False)
            row |= {"increment": gain} | dict(zip(("increment_low", "increment_high", "p"), bounds, strict=True))
            rows.append(common | row)
    order = ["r2", "low", "high", "increment", "increment_low", "increment_high", "p", "p_holm", "points", "examples"]
    table = pd.DataFrame(rows).reindex(columns=[*ids, "predictor", *order, "reason"])
    return table.assign(p_holm=holm(table["p"])).astype({"n": "Int64"})


def _answers(
    frame: pd.DataFrame, names: list[str], measures: Sequence[str]
) -> tuple[list[tuple[dict, Result, int]], list[pd.DataFrame]]:
    """Every estimate of one family with the number of the set of points it rests on, and these sets."""
    frame = frame.reset_index(drop=True)
    place = frame.groupby(["example_id", "sy", "start", "sx"], dropna=False).ngroup().to_numpy()
    first = frame.iloc[np.unique(place, return_index=True)[1]]
    variables, known = [], {}

    def variable(column: str, rows: pd.DataFrame) -> int:
        values = np.full(len(first), np.nan)
        values[place[rows.index]] = rows[column]
        if values.tobytes() not in known:
            known[values.tobytes()] = len(variables)
            variables.append(values)
        return known[values.tobytes()]

    asks, columns = [], []
    reference = variable("logp_reference", frame)
    for key, part in frame.groupby([*MODEL, "parameters"], dropna=False, sort=False):
        model = variable("logp_model", part)
        given = {name: variable(name, part) for name in names}
        for measure in measures:
            sets = [[]]
            if measure == "spearman":
                sets += [[name] for name in names] + ([names] if len(names) > 1 else [])
            for controls in sets:
                asks.append(Ask(measure, reference, model, tuple(given[c] for c in controls)))
                name = f"{measure}|{'+'.join(controls)}" if controls else measure
                columns.append({**dict(zip([*MODEL, "parameters"], key, strict=True)), "measure": name})
    values = np.array(variables)
    present = ~np.isnan(values)
    masks = np.array([present[[ask.a, ask.b, *ask.given]].all(axis=0) for ask in asks])
    labels = ["log P of the reference"] + ["log P of the model"] * (len(values) - 1)
    unique, number = np.unique(masks, axis=0, return_inverse=True)
    answers: dict[int, Result] = {}
    for k, mask in enumerate(unique):
        chosen = np.flatnonzero(number == k)
        used = sorted({v for i in chosen for v in (asks[i].a, asks[i].b, *asks[i].given)})
        new = {v: place for place, v in enumerate(used)}
        moved = [Ask(a.measure, new[a.a], new[a.b], tuple(new[v] for v in a.given)) for a in (asks[i] for i in chosen)]
        rows = first[mask]
        own = points_of(rows["example_id"], rows["sy"], rows["start"].astype(str) + " " + rows["sx"].fillna(""))
        found = jackknife(values[used][:, mask], moved, own, [labels[v] for v in used])
        answers |= dict(zip(chosen.tolist(), found, strict=True))
    answered = [(columns[i], answers[i], int(number[i])) for i in range(len(asks))]
    return answered, [first[mask] for mask in unique]


def _beside(used: pd.DataFrame, family: dict, whole: dict, halves: pd.DataFrame | None) -> dict:
    """The columns that stand beside an estimate on the reference points ``used``."""
    out = {"points": len(used), "examples": used["example_id"].nunique(), "outputs": used["sy"].nunique()}
    key = tuple(None if pd.isna(family[c]) else family[c] for c in ("task", "group", "n"))
    pairs, zeros = used["pairs"].sum(min_count=1), used["zeros"].sum(min_count=1)
    out["zero_share"] = zeros / pairs if len(used) and pairs > 0 else np.nan
    totals = whole.get(key, {})
    if family["reference"] != "infinigram" and totals.get("pairs"):
        out["coverage_pairs"] = (pairs - zeros) / totals["pairs"] if len(used) else 0.0
    if family["form"] == "per_output" and totals.get("points"):
        out["coverage_points"] = len(used) / totals["points"]
    elif family["form"] == "per_pair" and totals.get("pairs"):
        out["coverage_points"] = len(used) / totals["pairs"]
    if totals.get("examples"):
        out["coverage_examples"] = used.loc[used["example_id"].isin(totals["ids"]), "example_id"].nunique()
        out["coverage_examples"] /= totals["examples"]
    if len(used):
        value = used["logp_reference"]
        out["exact"] = used["exact"].mean()
        out["ties"] = value.duplicated(keep=False).mean()
        out["spread"] = np.std(value) if np.isfinite(value).all() else np.nan
        two_way = points_of(used["example_id"], used["sy"]).two_way
        out["clusters"] = "examples and outputs" if two_way else "examples"
    if halves is not None:
        rule = halves["zero_rule"].isna() | (halves["zero_rule"] == family["zero_rule"])
        same = halves[(halves["reference"] == family["reference"]) & (halves["form"] == family["form"]) & rule]
        on = [*_KEYS, *(["sx"] if family["form"] == "per_pair" else []), *(["task"] if key[0] is not None else [])]
        both = used[on].merge(same, on=on)
        out["reliability"] = split_half_reliability(both["first"].to_numpy(), both["second"].to_numpy())
    return out


def _halves(frame: pd.DataFrame) -> pd.DataFrame:
    """The reference from two halves of the documents side by side: columns ``first`` and ``second``."""
    require_columns(frame, ["half"], "reference_halves")
    table = _scores(frame, "reference_halves").dropna(subset=["logp"])
    table["form"] = np.where(table["sx"].isna(), "per_output", "per_pair")
    table = table.rename(columns={"lm": "reference"})
    keys = ["task", *_KEYS, "sx", "reference", "form", "zero_rule"]
    _once(table, [*keys, "half"], "reference_halves")
    first, second = (table.loc[table["half"] == half, [*keys, "logp"]] for half in (0, 1))
    return first.rename(columns={"logp": "first"}).merge(second.rename(columns={"logp": "second"}), on=keys)


def _totals(joined: pd.DataFrame, taskgrams: pd.DataFrame | None, examples: pd.DataFrame | None) -> dict:
    """Numbers of pairs, points and examples there are, by (task, group, n)."""
    keys = joined[["task", "group", "n"]].drop_duplicates().itertuples(index=False, name=None)
    out: dict = {tuple(None if pd.isna(v) else v for v in key): {} for key in keys}

    def agreeing(frame: pd.DataFrame, key: tuple) -> pd.DataFrame:
        for column, value in zip(("task", "group", "n"), key, strict=True):
            if column in frame and value is not None and frame[column].notna().any():
                frame = frame[frame[column] == value]
        return frame

    if examples is not None:
        require_columns(examples, ["example_id"], "examples")
        if "split" in examples:
            in_use = examples["example_id"].astype("str").isin(joined["example_id"].unique())
            examples = examples[examples["split"].isin(examples.loc[in_use, "split"].unique())]
    for key, total in out.items():
        if taskgrams is not None and key[2] is not None:
            require_columns(taskgrams, [*_KEYS, "sx"], "taskgrams")
            own = agreeing(taskgrams, key)
            total["pairs"] = len(own[["example_id", "sx", "sy"]].drop_duplicates())
            total["points"] = len(own[["example_id", "sy"]].drop_duplicates())
        if examples is not None:
            own = agreeing(examples.drop(columns="n", errors="ignore"), key)["example_id"].astype("str")
            total |= {"examples": own.nunique(), "ids": set(own)}
    return out


def _unmatched(reference: pd.DataFrame, joined: pd.DataFrame) -> list[dict]:
    """Null rows for the families of the reference, whole answers apart, that share no point with any model."""
    left = _scores(reference, "reference").rename(columns={"lm": "reference"})
    left["form"] = np.where(left["sx"].isna(), "per_output", "per_pair")
    keys = ["n", "reference", "form", "zero_rule", *(c for c in ("task", "group") if left[c].notna().any())]
    families = left.loc[left["n"].notna(), keys].drop_duplicates()
    families = families.merge(joined[keys].drop_duplicates(), on=keys, how="left", indicator=True)
    alone = families[families["_merge"] == "left_only"][keys]
    alone = alone.assign(measure="spearman", points=0, examples=0, reason="no point in common with a model")
    return alone.to_dict("records")


def _scores(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """A ``logp`` table fit for joining: every column there, options out, keys of one type."""
    require_columns(frame, [*_KEYS, "lm", "logp"], name)
    frame = frame[frame["option"].isna()] if "option" in frame else frame
    frame = frame.assign(exact=exactness(frame, name).astype("Float64").astype(float))
    absent = ["task", "group", "sx", "world", "seed", "step", "pairs", "zeros", "tokens", "zero_rule", "parameters"]
    frame = frame.assign(**{c: np.nan for c in absent if c not in frame})
    for column in ("example_id", "sy", "task", "group", "sx", "zero_rule"):
        frame[column] = frame[column].astype("str")
    for column in ("n", "start", "logp", "pairs", "zeros", "parameters"):
        number = pd.to_numeric(frame[column], errors="coerce")
        wrong = frame[column][number.isna() & frame[column].notna()]
        require(wrong.empty, f"{name}: {column} {next(iter(wrong), '')!r} is no number")
        frame[column] = number.astype(float)
    require(frame["lm"].notna().all(), f"{name}: a row without the name of its language model (lm)")
    return frame


def _joined_on(*sides: pd.DataFrame) -> list[str]:
    """What makes a point of tables one: the task, too, where every row of each has one."""
    return [*(["task"] if all(side["task"].notna().all() for side in sides) else []), *_KEYS]


def _with_controls(joined: pd.DataFrame, controls: pd.DataFrame) -> pd.DataFrame:
    """Join a ``controls`` table on the keys it shares with the points; null where it has no such point."""
    require_columns(controls, _KEYS, "controls")
    controls = controls.rename(columns={"lm": "model"})
    optional = ["task", "sx", *MODEL]
    on = [*_KEYS, *(c for c in optional if c in controls and c in joined and controls[c].notna().any())]
    on = [c for c in on if joined[c].notna().any()]
    names = _control_names(controls)
    clash = [c for c in names if c in joined]
    require(not clash, f"controls: column {', '.join(clash)} has the name of a column of the points; rename it")
    controls = controls[[*on, *names]]
    _once(controls, on, "controls")
    for column in on:
        controls = controls.assign(**{column: controls[column].astype(joined[column].dtype)})
    return joined.merge(controls, on=on, how="left")


def _control_names(controls: pd.DataFrame | None) -> list[str]:
    if controls is None:
        return []
    # A column without a name is an index that pandas wrote.
    columns = [c for c in controls if c not in _NOT_CONTROLS and str(c) and not str(c).startswith("Unnamed:")]
    numeric = [c for c in columns if pd.api.types.is_numeric_dtype(controls[c])]
    for column in set(columns) - set(numeric):
        cells = controls[column].dropna().astype("str")
        wrong = cells[pd.to_numeric(cells, errors="coerce").isna()]
        meant = cells.str.fullmatch(r"\s*[-+]?\d[\d.,\s]*(e[-+]?\d+)?\s*", case=False).mean() > 0.5
        require(not (meant and len(wrong)), f"controls: {column} {next(iter(wrong), '')!r} is no number")
    require(numeric, f"controls: no numeric column beside the keys (it has: {', '.join(map(str, controls.columns))})")
    return numeric


def _found(result: Result, measure: str) -> dict:
    """The columns of an estimate. A Kendall distance d has the interval of its tau = 1 - 2d, which is a correlation."""
    if measure == "kendall_distance":
        tau = combined([result.left], [-2])
        low, high, p = interval(1 - 2 * result.estimate, tau)
        low, high = (1 - high) / 2, (1 - low) / 2
    else:
        low, high, p = interval(result.estimate, result.left)
    reason = result.reason or (NO_INTERVAL if np.isnan(low) else None)
    return {"estimate": result.estimate, "low": low, "high": high, "p": p, "reason": reason}


def _with_intervals(table: pd.DataFrame, left: Sequence[LeftOut | None], column: str = "estimate") -> pd.DataFrame:
    bounds = [(np.nan,) * 3 if one is None else interval(value, one, correlation=False)
              for value, one in zip(table[column], left, strict=True)]  # fmt: skip
    low, high, p = np.array(bounds, float).reshape(-1, 3).T
    return table.assign(low=low, high=high, p=p, p_holm=holm(p)).reset_index(drop=True)


def _once(table: pd.DataFrame, keys: list[str], name: str) -> None:
    twice = table[table.duplicated(keys)]
    require(twice.empty, f"{name}: a row is given twice, the first {_first(twice, keys)}; keep one")


def _first(table: pd.DataFrame, columns: Sequence[str] = ("task", *_KEYS)) -> str:
    if table.empty:
        return "nowhere"
    row = table.iloc[0]
    return ", ".join(f"{c}={row[c]}" for c in columns if not pd.isna(row[c]))
