"""What the chapter on controls says: what is left of Mem, and which choices change it."""

from collections.abc import Mapping, Sequence

import pandas as pd

from taskgram_chapters import verdicts
from taskgram_chapters.numbers import number, numbers, short
from taskgram_chapters.page import listed
from taskgram_chapters.recorded import recorded
from taskgram_chapters.verdicts import AT, GIVEN, rows_of
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

PLAIN = ["estimate", "low", "high"]
PLACEBO = {"taskgram": "Mem", "placebo": "placebo Mem", "taskgram - placebo": "difference"}
MEASURES = {"spearman": "raw", "spearman|log_count_sy": "given output frequency",
            "spearman|log_count_sx": "given input frequency", "spearman|tokens": "given tokens",
            "spearman|logp_prior": "given log P without input", GIVEN: "given all four"}
STEPS = {"unigram": "output frequency", "infinigram": "+ ∞-gram", "taskgram": "+ task-gram"}
WORDS = {"s^x counted in": "unit of an input's count",
         "∞-gram, unseen": "rule of the ∞-gram LM"}


def named(table: pd.DataFrame) -> pd.DataFrame:
    """With ``where``: a group's task and name."""
    return table.assign(where=verdicts.where(table))


def evidence(run: Run, n: int) -> tuple[pd.DataFrame, str]:
    """:func:`taskgram_chapters.verdicts.evidence` of the largest model's Mem at one n, where the
    truth is known with the noise of training, without the groups that have no Mem; and which these
    are, in words."""
    known = pipeline.truth_known(run)
    names = ("partial", "slopes", "without_most_frequent", "placebo")
    tables = {name: run.table(name) for name in names}
    tables["partial"] = rows_of(tables["partial"], {"model": pipeline.family(run)})
    tables["precision"] = verdicts.precision(
        run.table("taskgrams"), run.table("gammas"), run.table("true_pairs") if known else None)
    noise = verdicts.training_noise(recorded("reseeds").tables["reseeds"]) if known else None
    rows = rows_of(verdicts.evidence(tables, noise),
                   {"question": AT, "n": n, "count_model": "taskgram"}).dropna(subset="estimate")
    rows, bars = named(rows), rows["barred"].notna()
    left_out = rows[bars].drop_duplicates("where")
    why = left_out["where"] + " (" + left_out["barred"].str.removeprefix("no Mem: ") + ")"
    return rows[~bars], says(("Left out, since they have no Mem:", why))


def ours(run: Run, name: str, n: int, groups: Sequence[str]) -> pd.DataFrame:
    """A run's estimates of its largest model, for one n and the groups with these names."""
    table, main = run.table(name), pipeline.main_model(run)
    mine = (table["n"] == n) & table["estimate"].notna()
    table = named(table[mine & (table["model"] == main if "model" in table else True)])
    return table[table["where"].isin(groups)]


def left(raw: pd.DataFrame, ways: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per group: Mem, and what is left of it in each of ``ways``."""
    cells = {name: numbers(rows.set_index("where").reindex(raw["where"]), *PLAIN)
             for name, rows in ways.items()}
    return pd.DataFrame({"group": raw["where"], "Mem": numbers(raw, *PLAIN, "points"), **cells})


def kept(raw: pd.DataFrame, ways: Mapping[str, pd.DataFrame]) -> pd.Series:
    """For each group with a raw Mem above zero, in how many of ``ways`` it still is above zero."""
    above = raw.loc[raw["low"] > 0, "where"]
    still = [set(rows.loc[rows["low"] > 0, "where"]) for rows in ways.values()]
    return pd.Series([sum(group in one for one in still) for group in above], above, dtype=int)


def says(*parts: tuple[str, Sequence[str]]) -> str:
    """Sentences that end with the names of groups; none for a list that is empty."""
    return " ".join(f"{start} {'; '.join(names)}." for start, names in parts if len(names))


def above(rows: pd.DataFrame, start: str, low: str = "low") -> str:
    """Where an interval is above zero, and where not."""
    found = rows[low] > 0
    return says((f"{start} above zero in:", rows.loc[found, "where"]),
                (f"{start} not above zero in:", rows.loc[~found, "where"]))


def answered(
    raw: pd.DataFrame, ways: Mapping[str, pd.DataFrame], most: pd.DataFrame, matters: float
) -> str:
    """The chapter's answer: what is left of raw Mem, and the choices that change it."""
    many = kept(raw, ways)
    every, some = many.index[many == len(ways)], len(many)
    keep = "keep" if len(every) != 1 else "keeps"
    rest = f"{len(every)} {keep} it" if len(every) else "none keeps it"
    start = (f"Of {some} groups of examples with a raw Mem above zero, {rest} under every control"
             if some else "No group of examples has a raw Mem above zero")
    given = next(iter(ways.values())).set_index("where")
    cases = [f"{row['where']} ({number(*row[PLAIN], row['points'])}; given all four controls "
             f"{number(*given.loc[row['where'], PLAIN])})"
             for _, row in raw[raw["where"].isin(every)].iterrows()]
    large, choices = most["change"].abs() > matters, most["choice"].replace(WORDS)
    kinds = [f"{by} {short(matters)} {where} with another {listed(list(choices[rows]))}"
             for rows, by, where in ((large, "by more than", "in some group"),
                                     (~large, "by at most", "in all groups")) if rows.any()]
    found = f" {'; '.join(cases)}." if cases else ""
    return (f"**{start}{':' if cases else '.'}**{found}"
            + (f" Mem changes {', and '.join(kinds)}." if kinds else ""))


def of_placebo(less: pd.DataFrame, placebo: pd.DataFrame) -> str:
    """Where Mem exceeds that of its placebo, and how well the placebo matches."""
    return (f"{above(less, 'The difference is')} The counts of an output and of its placebo differ "
            f"by at most {short(placebo['log_ratio'].max())} log units at the median.")


def changed(variants: pd.DataFrame) -> pd.DataFrame:
    """The variants of each choice with the ``change`` of Mem from the run's own."""
    keys = ["where", "choice"]
    own = variants[variants["default"]].set_index(keys)["estimate"]
    rows = variants[~variants["default"]]
    rows = rows.assign(change=rows["estimate"] - rows.set_index(keys).index.map(own))
    return rows.dropna(subset="change")


def shown(variants: pd.DataFrame, raw: pd.DataFrame, matters: float) -> pd.DataFrame:
    """The variants, with the run's own, of the choices that change Mem by more than ``matters`` in
    a group with a raw Mem above zero; of these groups."""
    rows = variants[variants["where"].isin(raw.loc[raw["low"] > 0, "where"])]
    change = changed(rows)
    return rows[rows["choice"].isin(change.loc[change["change"].abs() > matters, "choice"])]


def largest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`changed` the variant of each choice that changes Mem most in any group."""
    return rows.loc[rows["change"].abs().groupby(rows["choice"], sort=False).idxmax()]


def matter(rows: pd.DataFrame, matters: float) -> pd.DataFrame:
    """A row per choice: the largest change of Mem, the variant and group that have it, and in how
    many groups some variant changes Mem by more than ``matters``."""
    large = (rows["change"].abs() > matters).groupby([rows["choice"], rows["where"]]).any()
    many, most = large.groupby(level=0).agg(["sum", "size"]).astype(str), largest(rows)
    groups = many["sum"] + " of " + many["size"]
    return pd.DataFrame({
        "choice": most["choice"], "largest change": most["change"].map(short),
        "with": most["variant"], "in": most["where"], "groups": most["choice"].map(groups),
        "Mem then": numbers(most, *PLAIN, "points")})


def crossing(rows: pd.DataFrame, raw: pd.DataFrame) -> str:
    """How many variants leave no Mem above zero where the run's own is."""
    own = rows["where"].isin(raw.loc[raw["low"] > 0, "where"]) & ~rows["choice"].str.startswith("∞")
    lost = rows[own & (rows["low"] <= 0)]
    of = f": of {listed(list(lost['choice'].drop_duplicates()))}" if len(lost) else ""
    variants = f"{len(lost)} of {own.sum()} variants are not{of}"
    return f"Where the run's own Mem is above zero, {variants}."


def real(tables: Mapping[str, pd.DataFrame], model: str) -> pd.DataFrame:
    """Recorded Mem of one model of real text, a row per group, n and document: raw, given all four
    controls, and the lower ends of both. Without the groups that have no Mem."""
    known = verdicts.precision(tables["coverage"].dropna(subset="n"), tables["gammas"])
    rows = rows_of(tables["memorization"], {"model": model, "count_model": "taskgram"})
    rows = named(rows[verdicts.barred(rows, known).isna() & rows["estimate"].notna()])
    rows["given"], rows["Mem"] = rows["measure"].map(MEASURES), numbers(rows, *PLAIN, "points")
    wide = rows.pivot(index=["where", "n", "documents"], columns="given", values=["Mem", "low"])
    return wide.sort_index(axis=1, ascending=False)


def of_real(wide: pd.DataFrame) -> str:
    """How many raw values are above zero, and how many of these still are given all four."""
    raw, both = wide["low"]["raw"] > 0, (wide["low"][["raw", "given all four"]] > 0).all(axis=1)
    names = listed(wide.index[both].get_level_values("where").unique())
    return (f"Raw Mem is above zero in {raw.sum()} of {len(wide)} rows. Given all four controls it "
            f"still is in {both.sum()} of these{names and f', of {names}'}.")
