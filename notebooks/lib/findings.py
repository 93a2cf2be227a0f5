"""What published records say of real models: four questions, each a table of estimates with intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_chapters import records
from taskgram_utils.errors import InputError, require
from taskgram_utils.jackknife import FEWEST, NO_INTERVAL, Ask, LeftOut, Points, interval, jackknife, points_of
from taskgram_utils.memorization import Estimates, incremental_r2, slopes
from taskgram_utils.performance import mean_interval
from taskgram_utils.run.store import project_root
from taskgram_utils.statistics import blocks, holm, split_half_reliability, without_means
from taskgram_utils.tables import read_table

BLOCK = 50
"""Words of running text in a block: some sentences, a fifth of the shortest distance at which a story turns."""
NGRAMS = [f"{n}-gram" for n in range(1, 6)]
CONTROLS = ["operand", "multiple_of_10", "multiple_of_5", "digits"]
TOKENS = {"count": "token after a space", "count_alone": "token alone"}
NAMES = ("phases", "peaks", "running_text", "added", "arithmetic", "bins", "operands", "reruns", "pairs", "slopes",
         "backed_off")
"""The tables of :func:`findings`."""
_LEVEL = 0.95


class Recorded(NamedTuple):
    """The tables of :func:`findings`, and how they came about in one line."""

    tables: dict[str, pd.DataFrame]
    made: str


class Found(NamedTuple):
    """Rows of a table, and how their estimates change when a cluster is left out."""

    rows: list[dict]
    left: list[LeftOut | None]

    def table(self) -> Estimates:
        """The rows as one table of estimates."""
        table = pd.DataFrame(self.rows)
        return Estimates(table, self.left)


def recorded(folder: str | Path = "", results: Path | None = None) -> Recorded:
    """The tables computed from a ``folder`` of records; without one, those that ``results`` (the project's) has.

    Raises InputError as :func:`findings`, and where a recorded table is missing or not the one that its note describes.
    """
    if folder:
        return Recorded(findings(folder), f"computed for this page from {folder}")
    results = results or project_root() / "results"
    place = results / "records.json"
    require(place.is_file(), f"{place}: is missing, so nothing was recorded; make results")
    tables = {}
    try:
        note = json.loads(place.read_text(encoding="utf-8"))
        require({"sha256", "date", "command"} <= set(note), "something is missing")
    except (ValueError, TypeError) as error:
        raise InputError(f"{place}: not the note of the recorded tables ({error}); make results") from error
    for name in NAMES:
        path = results / f"records_{name}.csv"
        whole = path.is_file() and records.digest(path) == note["sha256"].get(path.name)
        require(whole, f"{path}: is missing, or is not the table that {place.name} describes; make results")
        tables[name] = read_table(path)
    return Recorded(tables, f"recorded on {note['date']} by `{note['command']}`")


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it is recorded: four significant digits, counts and sizes whole."""
    out = table.dropna(axis=1, how="all").copy()
    for column in out.select_dtypes("number"):
        numbers = out[column].astype(float)
        whole = (numbers.dropna() % 1 == 0).all()
        out[column] = numbers.astype("Int64") if whole else numbers.map(lambda v: float(f"{v:.4g}"))
    return out


def findings(
    folder: str | Path, listed: pd.DataFrame | None = None,
    report: Callable[[str], object] = lambda name: None,
) -> dict[str, pd.DataFrame]:
    """All tables from a folder of records: those of :data:`NAMES`.

    ``report`` hears the name of each set before it is read. Raises InputError as the readers of
    :mod:`~taskgram_chapters.records` do.
    """
    report("phases")
    curves = records.phases(folder, listed)
    out = {"phases": phases(curves), "peaks": peaks(curves)}
    report("naturalstories")
    text = records.running_text(folder, listed)
    found = {"running_text": running_text(text)}
    out |= {"added": added(text), "backed_off": records.backed_off(text)}
    report("arithmetic")
    sums = records.arithmetic(folder, listed)
    found["arithmetic"] = arithmetic(sums)
    out |= {"bins": bins(sums), "operands": operands(sums)}
    out["reruns"] = reruns(records.reruns(folder, listed))
    report("crosscare")
    found["pairs"] = pairs(records.pairs(folder, listed))
    out |= {name: one.table for name, one in found.items()}
    out["slopes"] = pd.concat([phase_slopes(out["phases"]), *map(by_size, found.values())], ignore_index=True)
    return {name: out[name] for name in NAMES}


def phases(curves: pd.DataFrame) -> pd.DataFrame:
    """Spearman of log P and n-gram log P by model, step, corpus of the n-grams and n: the mean over seeds.

    ``low`` and ``high``: Student's interval of the mean over ``seeds``; ``lowest`` and ``highest``: their range. One
    seed has neither. The points behind a correlation are not in the records, so no interval is of them.
    """
    keys = ["family", "model", "parameters", "trained_on", "corpus", "n", "step"]
    rows = []
    for key, part in curves.groupby(keys, dropna=False, sort=False):
        found = _mean(part["spearman"].to_numpy())
        seeds = {"lowest": part["spearman"].min(), "highest": part["spearman"].max()} if len(part) > 1 else {}
        rows.append({**dict(zip(keys, key, strict=True)), "measure": "spearman", **found, **seeds})
    table = pd.DataFrame(rows).rename(columns={"values": "seeds"})
    return table.sort_values(["family", "parameters", "model", "corpus", "n", "step"]).reset_index(drop=True)


def peaks(curves: pd.DataFrame) -> pd.DataFrame:
    """The step at which a model follows n-grams of each order most, seed by seed: median, first and last step; the
    height there (``peak``) and at the last step (``final``), and the ``fall`` between them with Student's interval over
    seeds. The grid of steps is coarse, and a maximum over steps is biased upwards: ``fall`` is never below 0.
    ``runs_in_turn``: the model's runs in which no longer n-gram peaks before a shorter one."""
    keys = ["family", "model", "parameters", "trained_on", "corpus", "n"]
    runs = curves.sort_values("step").groupby(["model", "corpus", "seed", "n"])[["step", "spearman"]]
    at = runs.apply(lambda run: run["step"].iloc[run["spearman"].argmax()]).unstack("n")
    in_turn = at.apply(lambda steps: steps.is_monotonic_increasing, axis=1).groupby(["model", "corpus"]).sum()
    rows = []
    for key, part in curves.groupby(keys, dropna=False, sort=False):
        wide = part.pivot(index="step", columns="seed", values="spearman").sort_index()
        at, top, final = wide.idxmax(), wide.max(), wide.iloc[-1]
        row = {"peak_step": at.median(), "first": at.min(), "last": at.max(), "peak": top.mean(), "final": final.mean()}
        fall = _mean((top - final).to_numpy())
        row |= {"fall": fall["estimate"], "low": fall["low"], "high": fall["high"], "seeds": fall["values"]}
        row |= {"runs_in_turn": in_turn[key[1], key[4]], "reason": fall["reason"]}
        rows.append({**dict(zip(keys, key, strict=True)), **row})
    return pd.DataFrame(rows).sort_values(["family", "parameters", "model", "corpus", "n"]).reset_index(drop=True)


def phase_slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of the last step's correlation on log10 of the parameters, over Pythia's sizes, with Student's interval:
    the sizes are the points, one each. Over all sizes and, since a line hides a hump, over those from 70m on, where
    the records of running text begin (``sizes``)."""
    last = table[(table["family"] == "pythia") & (table["step"] == records.LAST_STEP)]
    rows = []
    for (corpus, n), every in last.groupby(["corpus", "n"]):
        for sizes, least in (("all", 0), ("70m on", records.PYTHIA["70m"])):
            part = every[every["parameters"] >= least]
            line = _line(part["parameters"], part["estimate"])
            rows.append({"task": "phases", "group": corpus, "reference": f"{n}-gram", "measure": "spearman",
                         "step": records.LAST_STEP, "sizes": sizes, "models": len(part), **line})  # fmt: skip
    return pd.DataFrame(rows).assign(p_holm=lambda t: holm(t["p"]))


def running_text(text: pd.DataFrame) -> Estimates:
    """Spearman of log P of words under each model and under n-grams of the Pile, raw and given what is shorter.

    In full context: every order raw, given all shorter orders, and given these and the word's letters. With 1 to 4
    words of context: raw. Blocks of :data:`BLOCK` neighbours are the examples and words the outputs of the two-way
    jackknife, for both recur.
    """
    wide, points = _text_points(text)
    names = list(wide.columns)
    values = wide.to_numpy(float).T
    place = {name: i for i, name in enumerate(names)}
    grams = [place[(gram, "full")] for gram in NGRAMS]
    letters = place[("letters", "")]
    asked = []
    for (model, context), i in place.items():
        if model in NGRAMS or model == "letters":
            continue
        known = {"task": "running text", "group": context, "model": model, "step": np.nan}
        for k, gram in enumerate(NGRAMS):
            here = {**known, "reference": gram, "n": k + 1}
            asked.append(({**here, "measure": "spearman"}, Ask("spearman", i, grams[k])))
            if k and context == "full":
                given = "+".join(NGRAMS[:k])
                shorter = tuple(grams[:k])
                asked.append(({**here, "measure": f"spearman|{given}"}, Ask("spearman", i, grams[k], shorter)))
                more = Ask("spearman", i, grams[k], (*shorter, letters))
                asked.append(({**here, "measure": f"spearman|{given}+letters"}, more))
    labels = [f"log P of {model}" for model, _ in names]
    found = _answered(asked, values, points, labels).table()
    sizes = text.drop_duplicates("model").set_index("model")
    table = _corrected(found.table, ["group", "reference", "measure"])
    table["parameters"] = table["model"].map(sizes["parameters"])
    table["step"] = table["model"].map(sizes["step"])
    return Estimates(table, found.left)


def added(text: pd.DataFrame) -> pd.DataFrame:
    """Share of the variance of each model's ranks of log P that n-grams of growing order take up, and what each adds:
    :func:`taskgram_utils.memorization.incremental_r2`, over the same blocks and words."""
    keep = text[(text["context"] == "full")]
    points = keep.rename(columns={"item": "start", "word": "sy", "model": "lm"})
    points["example_id"] = blocks(points["text"], points["position"], BLOCK)
    points["start"] = points["position"]
    model = points[points["n"].isna()].drop(columns="parameters")
    orders = points[points["n"].notna()]
    predictors = orders.pivot(index=["example_id", "sy", "start"], columns="lm", values="logp").reset_index()
    result = incremental_r2(model, predictors.assign(n=np.nan), NGRAMS, ranks=True)
    sizes = text.drop_duplicates("model").set_index("model")["parameters"]
    result["parameters"] = result["model"].map(sizes)
    return result.drop(columns=["task", "group", "n", "world", "seed"])


def arithmetic(sums: pd.DataFrame) -> Estimates:
    """Spearman of accuracy and the count of the first operand's token, over operands.

    Raw, and given the operand, whether it is a multiple of 10, of 5, and its digits: all together, at the last step
    each alone too, and, with no line assumed, given both digits (``spearman|tens+units``: a dummy for each tens digit
    and each units digit). There also with the token alone in place of the token after a space, and of the operands
    10…99 only, where no product is trivial and digits do not differ. Beside it the mean accuracy (``score``) with
    interval, and the shares of operands at ``floor`` (0) and ``ceiling`` (1).
    """
    rows, kept = [], []
    for (model, step), part in sums.groupby(["model", "step"], sort=False):
        last = step == sums["step"].max()
        scores = part.pivot(index="item", columns=["task", "shots"], values="score").sort_index()
        counts = part.drop_duplicates("item").set_index("item")[list(TOKENS)].loc[scores.index]
        known = {"model": model, "parameters": part["parameters"].iloc[0], "release": part["release"].iloc[0]}
        known["step"] = step
        for items, low in (("0–99", 0), ("10–99", 10)) if last else (("0–99", 0),):
            own = scores.loc[low:].dropna(axis=1)
            own_counts = counts.loc[low:]
            beside = {key: _level(own[key].to_numpy()) for key in own}
            numbers = own.index.to_numpy()
            dummies = [place == k for place in (numbers // 10, numbers % 10) for k in np.unique(place)[1:]]
            values = [*own.to_numpy(float).T, *np.log(own_counts.to_numpy(float)).T, *_controls(own.index), *dummies]
            first = own.shape[1]
            given = tuple(range(first + 2, first + 2 + len(CONTROLS)))
            both = tuple(range(given[-1] + 1, len(values)))
            asked = []
            for i, (task, shots) in enumerate(own):
                here = {**known, "task": task, "group": f"{shots} shots", "shots": shots, "items": items}
                for k, token in enumerate(TOKENS.values() if last else [TOKENS["count"]]):
                    sets = [(), given] + ([*((g,) for g in given), both] if last and not k and not low else [])
                    for chosen in sets:
                        name = "+".join(CONTROLS[g - first - 2] for g in chosen) if chosen != both else "tens+units"
                        row = {**here, "reference": token, "measure": f"spearman|{name}" if name else "spearman"}
                        asked.append((row | beside[task, shots], Ask("spearman", i, first + k, chosen)))
            labels = [*["accuracy"] * first, *TOKENS, *CONTROLS, *["a digit"] * len(dummies)]
            found = _answered(asked, np.array(values, float), points_of(own.index.astype(str)), labels)
            rows += [{c: row[c] for c in row if c not in ("examples", "outputs", "clusters")} for row in found.rows]
            kept += found.left
    out = Found(rows, kept).table()
    return Estimates(_corrected(out.table, ["reference", "measure", "items", "step", "release"]), out.left)


def bins(sums: pd.DataFrame, number: int = 10) -> pd.DataFrame:
    """Mean accuracy at the last step in ``number`` groups of operands of ascending count, with Student's interval over
    operands (none where all of a group have the same)."""
    last = sums[sums["step"] == sums["step"].max()]
    keys = ["model", "parameters", "release", "step", "task", "shots"]
    rows = []
    for key, part in last.groupby(keys, sort=False):
        place = pd.qcut(part["count"].rank(method="first"), number, labels=False)
        for k, group in part.groupby(place.to_numpy()):
            low, high = _mean_interval(group["score"].to_numpy())
            row = {"bin": k, "count": group["count"].median(), "score": group["score"].mean()}
            rows.append({**dict(zip(keys, key, strict=True)), **row, "low": low, "high": high, "operands": len(group)})
    return pd.DataFrame(rows)


def operands(sums: pd.DataFrame) -> pd.DataFrame:
    """How the count of an operand's token goes with the operand, its roundness and its digits: Spearman over 0…99."""
    once = sums.drop_duplicates("item").sort_values("item")
    values = [*np.log(once[list(TOKENS)].to_numpy(float)).T, *_controls(pd.Index(once["item"]))]
    names = [*TOKENS.values(), *CONTROLS]
    asked = [({"reference": names[a], "with": names[b], "measure": "spearman"}, Ask("spearman", a, b))
             for a in (0, 1) for b in range(a + 1, len(names))]  # fmt: skip
    return _answered(asked, np.array(values), points_of(once["item"].astype(str)), names).table().table


def reruns(twice: pd.DataFrame) -> pd.DataFrame:
    """How much scores that were measured twice differ, by model and the file that wins: scores, how many differ, and
    the largest and mean absolute change."""
    change = twice.assign(change=twice["change"].abs().round(9)).groupby(["model", "file"], sort=False)["change"]
    return change.agg(scores="size", differ=lambda c: (c > 0).sum(), largest="max", mean="mean").reset_index()


def pairs(table: pd.DataFrame) -> Estimates:
    """Spearman of a model's log P and log(1 + count) of a disease with a group, raw and without the marginals.

    Measures: ``spearman``; ``spearman|disease``, ``spearman|group`` and ``spearman|disease+group`` of what is left
    once the means of the disease, of the group or of both are taken out of log P and log count (double centring);
    ``spearman|disease+group, of ranks`` takes them out of the ranks instead, which is the partial Spearman given a
    dummy for each. ``low`` and ``high`` leave out diseases and groups, ``low_diseases`` and ``high_diseases`` diseases
    alone, and so does ``p``. As long as what a group has in common is in the values, diseases alone say nothing of
    groups: these three are null unless the group's mean is taken out. Two groups give no interval of their own: ``low``
    and ``high`` are then null, and with the group's mean taken out those of diseases alone. ``reliability`` is
    Spearman–Brown's of log P, so treated, from every other template, ``agreement`` the mean Spearman of it with the
    other models of the family (neither of ranks); ``zero_share`` and ``small_share`` are shares of counts of 0 and
    below 5.
    """
    rows, kept = [], []
    for (kind, window), part in table.groupby(["kind", "window"], sort=False):
        part = part.assign(log_count=np.log1p(part["count"]))
        keys = ["disease", "group"]
        wide = part.pivot(index=keys, columns="model", values="logp")
        require(wide.notna().all(axis=None), f"crosscare: not every model has every disease and group ({kind})")
        halves = [part.pivot(index=keys, columns="model", values=c).to_numpy().T for c in ("logp_odd", "logp_even")]
        counted = part.drop_duplicates(keys).set_index(keys).loc[wide.index]
        values = np.vstack([counted["log_count"], wide.to_numpy().T])
        disease, group = (wide.index.get_level_values(k) for k in keys)
        points, by_disease = points_of(disease, group), points_of(disease)
        ranked = stats.rankdata(values, axis=1)
        families = part.drop_duplicates("model").set_index("model")
        known = {"task": kind, "group": window, "unit": part["unit"].iloc[0], "step": records.LAST_STEP}
        known |= {"zero_share": (counted["count"] == 0).mean(), "small_share": (counted["count"] < 5).mean()}
        for name, of in _CENTRED.items():
            here, measure = (ranked, "pearson") if "ranks" in name else (values, "spearman")
            asked = [({**known, "model": m, "reference": "pair count", "measure": name}, Ask(measure, i, 0))
                     for i, m in enumerate(wide, 1)]  # fmt: skip
            labels = ["log count", *(f"log P of {m}" for m in wide)]
            taken = [{"disease": disease, "group": group}[factor] for factor in of]
            free = "group" in of
            both = _answered(asked, here, by_disease if free and group.nunique() < FEWEST else points, labels, taken)
            one = _answered(asked, here, by_disease, labels, taken) if free else both
            family = families["family"].loc[list(wide)].to_numpy()
            left = without_means(here[1:], taken) if taken else here[1:]
            agree = np.corrcoef(stats.rankdata(left, axis=1))
            for i, (row, single) in enumerate(zip(both.rows, one.rows, strict=True)):
                row |= {f"{c}_diseases": single[c] if free else np.nan for c in ("low", "high")}
                row["p"] = single["p"] if free else np.nan
                if measure == "spearman":
                    first, second = (without_means(h[i : i + 1], taken)[0] if taken else h[i] for h in halves)
                    row["reliability"] = split_half_reliability(first, second)
                    others = (family == family[i]) & (np.arange(len(family)) != i)
                    row["agreement"] = agree[i, others].mean() if others.any() else np.nan
                row |= {c: families.loc[row["model"], c] for c in ("family", "parameters")}
            rows += both.rows
            kept += both.left
    out = Found(rows, kept).table()
    return Estimates(_corrected(out.table, ["task", "group", "measure"]), out.left)


_CENTRED = {
    "spearman": (), "spearman|disease": ("disease",), "spearman|group": ("group",),
    "spearman|disease+group": ("disease", "group"), "spearman|disease+group, of ranks": ("disease", "group"),
}  # fmt: skip


def by_size(found: Estimates) -> pd.DataFrame:
    """Slopes of the estimates on log10 of Pythia's parameters, for each task, group, reference, measure and step: with
    the interval of the jackknife (``low``, ``high``: other points, these models), and with Student's over the sizes
    (``low_sizes``, ``high_sizes``: other models of these sizes). Of arithmetic only release v1.1 and all operands."""
    table = found.table
    keep = table["parameters"].notna()
    if "release" in table:
        keep &= (table["release"] == "v1.1") & (table["items"] == "0–99")
    part = found.rows(keep)
    out = slopes(part)
    keys = [c for c in ("task", "group", "reference", "measure", "step") if c in part.table]
    lines = part.table.dropna(subset=["estimate"]).groupby(keys, dropna=False)
    sizes = [{**dict(zip(keys, key, strict=True)), **_line(one["parameters"], one["estimate"])} for key, one in lines]
    found = pd.DataFrame(sizes)[[*keys, "low", "high", "p"]]
    renamed = {c: f"{c}_sizes" for c in ("low", "high", "p")}
    return out.merge(found.rename(columns=renamed), on=keys, how="left").assign(sizes="all")


def _line(parameters: pd.Series, estimate: pd.Series) -> dict[str, float]:
    """Least-squares slope on log10 of the parameters with Student's interval, none below three sizes."""
    line = stats.linregress(np.log10(parameters.astype(float)), estimate) if len(parameters) > 1 else None
    if line is None or len(parameters) < 3:
        return {"slope": line.slope if line else np.nan, "low": np.nan, "high": np.nan, "p": np.nan}
    half = stats.t.ppf((1 + _LEVEL) / 2, len(parameters) - 2) * line.stderr
    return {"slope": line.slope, "low": line.slope - half, "high": line.slope + half, "p": line.pvalue}


def _text_points(text: pd.DataFrame) -> tuple[pd.DataFrame, Points]:
    """log P side by side, one column per (model, context), with the words' letters; blocks and words as clusters."""
    wide = text.pivot(index=["text", "position", "word"], columns=["model", "context"], values="logp")
    require(wide.notna().all(axis=None), "naturalstories: not every model has every word")
    text_id, position, word = (wide.index.get_level_values(k) for k in range(3))
    wide[("letters", "")] = [len(w) for w in word]
    return wide, points_of(blocks(text_id, position, BLOCK), word, position)


def _controls(numbers: pd.Index) -> list[np.ndarray]:
    """What goes with a number's count, in the order of :data:`CONTROLS`."""
    n = numbers.to_numpy(int)
    return [n.astype(float), (n % 10 == 0).astype(float), (n % 5 == 0).astype(float), (n >= 10).astype(float)]


def _answered(
    asked: Sequence[tuple[dict, Ask]], values: np.ndarray, points: Points, names: Sequence[str],
    without: Sequence[np.ndarray] = (),
) -> Found:  # fmt: skip
    """A row of a table for each number wanted."""
    results = jackknife(values, [ask for _, ask in asked], points, names, without)
    beside = {"points": values.shape[1], "examples": len(np.unique(points.example)),
              "outputs": len(np.unique(points.output)),
              "clusters": "examples and outputs" if points.two_way else "examples"}  # fmt: skip
    rows = []
    for (columns, _), result in zip(asked, results, strict=True):
        bounds = dict(zip(("low", "high", "p"), interval(result.estimate, result.left), strict=True))
        reason = result.reason or (NO_INTERVAL if np.isnan(bounds["low"]) else None)
        rows.append({**columns, "estimate": result.estimate, **bounds, **beside, "reason": reason})
    return Found(rows, [None if np.isnan(result.estimate) else result.left for result in results])


def _level(scores: np.ndarray) -> dict[str, float]:
    low, high = _mean_interval(scores)
    floor, ceiling = (scores == 0).mean(), (scores == 1).mean()
    return {"score": scores.mean(), "score_low": low, "score_high": high, "floor": floor, "ceiling": ceiling}


def _mean_interval(scores: np.ndarray) -> tuple[float, float]:
    """As :func:`~taskgram_utils.performance.mean_interval`, over operands; none where all have the same accuracy."""
    return mean_interval(scores) if np.ptp(scores) > 0 else (np.nan, np.nan)


def _corrected(table: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """Holm's p within each family of rows."""
    out = table.assign(p_holm=np.nan)
    for place in table.groupby(family, dropna=False).indices.values():
        out.loc[out.index[place], "p_holm"] = holm(table["p"].iloc[place])
    return out


def _mean(values: np.ndarray) -> dict[str, object]:
    """A mean over seeds with Student's interval."""
    row = {"estimate": values.mean(), "low": np.nan, "high": np.nan, "values": len(values)}
    if len(values) < 2:
        return row | {"reason": "one seed: no interval"}
    half = stats.t.ppf((1 + _LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return row | {"low": row["estimate"] - half, "high": row["estimate"] + half, "reason": None}
