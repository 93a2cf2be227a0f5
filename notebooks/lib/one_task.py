"""The chapter on the method for one task: what Mem is measured on, slopes, single points."""

import pandas as pd

from taskgram_chapters.numbers import numbers
from taskgram_chapters.page import listed
from taskgram_chapters.results import Result
from taskgram_chapters.verdicts import rows_of
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

_SLOPES = {"taskgram": "task-gram LM", "infinigram": "∞-gram LM",
           "taskgram - infinigram": "difference"}
_NO_DASH = {"points": "{:,.0f}", "outputs": "{:,.0f}", "precision": "{:.0%}",
            "zero_share": "{:.0%}", "reliability": "{:.2f}"}


def _named(table: pd.DataFrame) -> pd.Series:
    return table["group"].str.replace("_", " ") + ", n = " + table["n"].astype(int).astype(str)


def largest(run: Run, task: str, precision: pd.DataFrame) -> pd.DataFrame:
    """Mem of the largest model at the last step under the task-gram LM, a row per group and n, with
    the share of true pairs (``precision``)."""
    mem = rows_of(run.table(f"memorization/{task}"),
                  {"measure": "spearman", "count_model": "taskgram"})
    last = pipeline.at_last_step(mem)
    top = last[(last["model"] == pipeline.main_model(run)) | last["model"].isna()]
    return top.merge(precision, on=["task", "group", "n"], how="left").assign(where=_named)


def basis(top: pd.DataFrame) -> pd.DataFrame:
    """What every estimate of :func:`largest` rests on, in plain words."""
    shown = {column: top[column].map(form.format).where(top[column].notna())
             for column, form in _NO_DASH.items()}
    return pd.DataFrame({"group": top["where"], **shown}).rename(columns={
        "outputs": "distinct outputs", "precision": "true pairs", "zero_share": "zero counts"})


def weak(top: pd.DataFrame, few: int) -> str:
    """Which estimates are about few, and which are missing and why; empty where none is."""
    small = top[(top[["examples", "outputs"]].min(axis=1) < few) & top["estimate"].notna()]
    missing = top[top["estimate"].isna()]
    why = missing["where"] + " (" + missing["reason"].fillna("not measured") + ")"
    parts = [f"Mem is about fewer than {few} examples or distinct outputs in {'; '.join(names)}."
             for names in [small["where"]] if len(names)]
    parts += [f"There is no estimate in {'; '.join(why)}."] if len(why) else []
    return " ".join(parts)


def slopes(run: Run, task: str) -> pd.DataFrame:
    """Slopes of raw Mem per tenfold size with intervals, a row per group and n."""
    table = rows_of(run.table(f"slopes/{task}"), {"measure": "spearman"})
    table = table.assign(group=_named, slope=numbers(table, "slope", "low", "high"),
                         of=table["count_model"].map(_SLOPES))
    wide = table.pivot(index="group", columns="of", values="slope")
    order = [name for name in _SLOPES.values() if name in wide]
    return wide.loc[table["group"].drop_duplicates(), order].reset_index()


def by_step(run: Run, task: str) -> tuple[pd.DataFrame, str]:
    """Mem under the task-gram LM by training step, at each group's largest n; and which sizes have
    fewer stored steps than others, in a sentence (or an empty one)."""
    mem = rows_of(run.table(f"memorization/{task}"),
                  {"measure": "spearman", "count_model": "taskgram"}).dropna(subset=["step"])
    mem = mem[mem["n"] == mem.groupby("group")["n"].transform("max")]
    steps = mem.groupby("model")["step"].nunique()
    fewer = [f"{name.upper()} parameters" if name[0].isdigit() else name
             for name in steps.index[steps < steps.max()]]
    return mem, f"Fewer steps are stored of {listed(fewer)}." if fewer else ""


def ranked(points: pd.DataFrame, found: Result) -> tuple[pd.DataFrame, dict[str, str]]:
    """Points with their ranks (0 to 1) under both models, by size; and what to write above the
    panel of each size: ρ with its interval."""
    ranks = {f"rank, {name}": points.groupby("model")[f"logp_{side}"].rank(pct=True)
             for side, name in (("count_model", "count-based model"), ("model", "model"))}
    mem = rows_of(found.mem, {"group": found.main, "count_model": "taskgram"})
    notes = {model: f"ρ = {text}" for model, text in zip(mem["model"], numbers(mem), strict=True)}
    return points.assign(**ranks), notes


def added(points: pd.DataFrame) -> pd.DataFrame:
    """What each point ``adds`` to Mem, their mean: the product of its two standardised ranks;
    ascending."""
    points = points.dropna(subset=["logp_count_model", "logp_model"])
    ranks = points[["logp_count_model", "logp_model"]].rank()
    adds = ((ranks - ranks.mean()) / ranks.std(ddof=0)).prod(axis=1)
    return points.assign(adds=adds).sort_values("adds", kind="stable")


def ends(points: pd.DataFrame, examples: pd.DataFrame, shown: int) -> pd.DataFrame:
    """The first and last ``shown`` points of :func:`added`, with their inputs."""
    both = pd.concat([points.head(shown), points.tail(shown)]).drop_duplicates()
    both = both.merge(examples[["example_id", "x"]], on="example_id")
    names = {"x": "input", "sy": "output", "logp_count_model": "log P, task-gram LM",
             "logp_model": "log P, model", "adds": "adds"}
    return both[[*names]].round(2).rename(columns=names)


def frequent_pair(run: Run, task: str) -> list[str]:
    """The most frequent of the fifty pairs with the highest cosine: input and output n-gram."""
    grams, counts = rows_of(run.table("taskgrams"), {"task": task}), run.table("counts")
    whole = counts[counts["sy"].notna() & counts["half"].isna()]
    pairs = whole.merge(grams[["sx", "sy", "cosine"]].drop_duplicates())
    closest = pairs.sort_values("cosine", ascending=False, kind="stable").head(50)
    return closest.nlargest(1, "count")[["sx", "sy"]].iloc[0].tolist()
