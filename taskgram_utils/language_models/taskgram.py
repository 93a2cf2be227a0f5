"""The task-gram language model: log P(s^y | s^x) from how often the corpus holds mined pairs."""

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.ngrams import normalize
from taskgram_utils.tables import exactness

GROUP = ["task", "group", "n"]
POINT = ["task", "group", "example_id", "n", "sy", "start"]
_COLUMNS = ["task", "group", "example_id", "n", "sx", "sy", "start", "model", "logp", "n_terms",
            "n_zero", "zero_handling", "exact"]


def taskgram_logp(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, form: str = "per_output",
    zero_handling: str = "keep", kappa: float = 1.0,
) -> pd.DataFrame:
    """log P of every mined output under the task-gram LM (Wang et al. 2025, eq. 1): ``logp``, nats.

    Equations :eq:`eq-taskgram-lm`, :eq:`eq-smoothed` and :eq:`eq-per-output`.
    ``zero_handling="keep"``: log (C(s^x, s^y) + kappa p0) / (C(s^x) + kappa) with p0 = sum C(s^x,
    s^y) / sum C(s^x) over the distinct pairs of the table, per task, group and n.
    ``zero_handling="drop"`` (the paper): log C(s^x, s^y) / C(s^x), without pairs that never occur.
    ``form="per_output"``: one row per (example, s^y), the mean over its s^x, ``sx`` null;
    ``"per_pair"``: one row per pair. An s^y that is twice in y is one point, at its first place.

    An s^x that occurs nowhere is left out. ``n_terms`` counts a point's remaining s^x, ``n_zero``
    those whose joint count is 0 (also where these are dropped). Where a task, group and n has no
    pair at all in the corpus, log P is null. ``exact`` is false where the count of one of a point's
    pairs or of its s^x is not exact, by that column of ``counts``, and null where nothing is known;
    p0 is not looked at. Two spellings of the same words with the same counts (Po, po) are one
    n-gram.

    Raises InputError where a count is missing, given twice with different values, larger for the
    pair than for its s^x (exact document counts), no number of documents, or of another source.
    """
    return logp_of_pairs(counted_pairs(taskgrams, counts), form, zero_handling, kappa)


def taskgram_halves(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, form: str = "per_output",
    zero_handling: str = "keep", kappa: float = 1.0,
) -> pd.DataFrame:
    """:func:`taskgram_logp` from each random half of the documents: column ``half`` (0 or 1).

    ``counts`` needs rows with ``half`` 0 and 1 (``count_table(..., halves=True)``).
    """
    require_columns(counts, ["half"], "counts")
    pairs = [counted_pairs(taskgrams, counts, half) for half in (0, 1)]
    return pd.concat([logp_of_pairs(pairs[half], form, zero_handling, kappa).assign(half=half)
                      for half in (0, 1)], ignore_index=True)


def distinct_pairs(taskgrams: pd.DataFrame) -> pd.DataFrame:
    """One row per (task, group, example, n, sx, sy), with ``start`` the first place of s^y in y."""
    require_columns(taskgrams, ["example_id", "n", "sx", "sy", "start"], "taskgrams")
    require(len(taskgrams), "taskgrams: no row in it")
    pairs = taskgrams.assign(**{c: None for c in ("task", "group") if c not in taskgrams})
    pairs = pairs.astype(dict.fromkeys(["task", "group", "example_id", "sx", "sy"], "str"))
    first = pairs.groupby(POINT[:-1], dropna=False, sort=False)["start"].transform("min")
    return pairs.assign(start=first).drop_duplicates([*POINT, "sx"]).reset_index(drop=True)


def counted_pairs(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, half: int | None = None
) -> pd.DataFrame:
    """The distinct pairs with their joint count, the count of s^x, and p0 of their group."""
    pairs = distinct_pairs(taskgrams).drop(columns="exact", errors="ignore")
    singles, joint = read_counts(counts, half)
    singles = singles.rename(columns={"count": "sx_count", "exact": "sx_exact"})
    pairs = pairs.merge(singles, on="sx", how="left")
    pairs = pairs.merge(joint.rename(columns={"count": "pair_count"}), on=["sx", "sy"], how="left")
    require_counts(pairs, "sx_count", ["sx"])
    require_counts(pairs, "pair_count", ["sx", "sy"])
    pairs["exact"] &= pairs["sx_exact"]
    # Counts by words are those of the words: Po and po are one n-gram, but two in pieces.
    forms = {s: normalize(s) or s for s in pd.unique(pairs[["sx", "sy"]].to_numpy().ravel())}
    pairs["_x"], pairs["_y"] = (pairs[side].map(forms) for side in ("sx", "sy"))
    numbers = ["pair_count", "sx_count"]
    pairs = pairs.drop_duplicates([*POINT, "_x", *numbers])
    if "unit" in counts and counts["unit"].notna().any():
        wrong = pairs[pairs["exact"].fillna(True) & (pairs["pair_count"] > pairs["sx_count"])]
        for row in wrong.head(1).itertuples():
            require(False, f"counts: ({row.sx!r}, {row.sy!r}) is in {row.pair_count:g} documents, "
                           f"{row.sx!r} in {row.sx_count:g}: single counts and pair counts are not "
                           "of one corpus")
    distinct = pairs.drop_duplicates([*GROUP, "_x", "_y", *numbers])
    sums = distinct.groupby(GROUP, dropna=False, sort=False)[numbers].sum()
    p0 = (sums["pair_count"] / sums["sx_count"].where(sums["sx_count"] > 0)).rename("p0")
    return pairs.merge(p0.reset_index(), on=GROUP, how="left")


def logp_of_pairs(
    pairs: pd.DataFrame, form: str, zero_handling: str, kappa: float, model: str = "taskgram"
) -> pd.DataFrame:
    require(form in ("per_output", "per_pair"), f"form {form}: not one of per_output, per_pair")
    known = zero_handling in ("keep", "drop")
    require(known, f"zero_handling {zero_handling}: not one of keep, drop")
    finite = zero_handling == "drop" or 0 < kappa < np.inf
    require(finite, f"kappa must be above 0 and finite where zeros are kept, got {kappa:g}")
    strength = kappa if zero_handling == "keep" else 0
    pairs = pairs[pairs["sx_count"] > 0].copy()
    smoothed = pairs["pair_count"] + (strength * pairs["p0"] if strength else 0)
    pairs["logp"] = np.log(smoothed.where(smoothed > 0) / (pairs["sx_count"] + strength))
    pairs["n_zero"] = (pairs["pair_count"] == 0).astype("int64")
    if form == "per_output":
        points = pairs.groupby(POINT, dropna=False, sort=False)
        table = points.agg(logp=("logp", "mean"), n_terms=("n_zero", "size"),
                           n_zero=("n_zero", "sum"), exact=("exact", "min")).reset_index()
        # Sums in another order must not part points that are tied.
        table["logp"] = table["logp"].round(12)
        table["sx"] = pd.Series(None, index=table.index, dtype="str")
    else:
        table = pairs.assign(n_terms=1)
    rule = zero_handling if zero_handling == "drop" or kappa == 1 else f"keep, kappa={kappa:g}"
    table = table[table["logp"].notna()] if zero_handling == "drop" else table
    return table.assign(model=model, zero_handling=rule)[_COLUMNS].reset_index(drop=True)


def read_counts(counts: pd.DataFrame, half: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts of single n-grams (sx, count, exact) and of pairs (with sy): of all, or of a half."""
    require_columns(counts, ["sx", "sy", "count"], "counts")
    number = pd.to_numeric(counts["count"], errors="coerce")
    wrong = counts["count"][~((number >= 0) & (number < np.inf))]
    require(wrong.empty, f"counts: {next(iter(wrong), '')!r} is no count")
    table = counts.assign(count=number, exact=exactness(counts, "counts"))
    if "half" in table:
        table = table[table["half"].isna() if half is None else table["half"] == half]
    units, sources = ([] if c not in table else list(table[c].dropna().unique())
                      for c in ("unit", "source"))
    # Pairs near each other are counted once for each: their number is no share of C(s^x).
    documents = units in ([], ["documents"])
    require(documents, f"counts: in {' and '.join(units)}; count all in documents")
    require(len(sources) < 2, f"counts: of {len(sources)} sources ({'; '.join(sources[:2])}); keep "
                              "the rows of one")
    table = table.drop_duplicates(["sx", "sy", "count"])[["sx", "sy", "count", "exact"]]
    twice = table[table.duplicated(["sx", "sy"])]
    for row in twice.head(1).itertuples():
        require(False, f"counts: ({row.sx!r}, {row.sy!r}) has two different counts; keep the rows "
                       "of one corpus")
    single = table["sy"].isna()
    return table[single].drop(columns="sy"), table[~single]


def require_counts(table: pd.DataFrame, column: str, keys: list[str]) -> None:
    missing = table[keys][table[column].isna()].drop_duplicates()
    many, example = len(missing), missing.head(1).to_numpy().ravel().tolist()
    name, advice = "counts", "count the pairs of this very table"
    if len(keys) == 1:
        name, advice = "single counts", "count the pairs of this very table with --singles"
    require(missing.empty, f"{name}: {many} without a count, the first {example}; {advice}")
