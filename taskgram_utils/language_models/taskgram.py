"""The task-gram language model: log P(s^y | s^x) from how often the corpus holds the mined pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.ngrams import normalize
from taskgram_utils.tables import exactness

_GROUP = ["task", "group", "n"]
_POINT = ["task", "group", "example_id", "n", "sy", "start"]
_COLUMNS = ["task", "group", "example_id", "n", "sx", "sy", "start", "lm", "logp", "pairs", "zeros", "zero_rule",
            "exact"]  # fmt: skip


def taskgram_logp(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, form: str = "per_output", zeros: str = "keep", kappa: float = 1.0
) -> pd.DataFrame:
    """log P of every mined output under the task-gram LM (Wang et al. 2025, eq. 1), as a ``logp`` table in nats.

    ``zeros="keep"``: log (C(s^x, s^y) + kappa p0) / (C(s^x) + kappa) with p0 = sum C(s^x, s^y) / sum C(s^x) over the
    distinct pairs of the table, per task, group and n. ``zeros="drop"`` (the paper): log C(s^x, s^y) / C(s^x), pairs
    never seen left out. ``form="per_output"``: one row per (example, s^y), the mean over its s^x, ``sx`` null;
    ``"per_pair"``: one row per pair. An s^y that stands twice in y is one point, at its first place.

    An s^x that occurs nowhere is left out. ``pairs`` counts a point's remaining s^x, ``zeros`` those whose joint count
    was 0 (also where these are dropped). Where a task, group and n has no pair at all in the corpus, log P is null.
    ``exact`` is false where the count of one of a point's pairs or of its s^x is not exact, by that column of
    ``counts``, and null where nothing is known; p0 is not looked at. Two spellings of
    the same words with the same counts (Po, po) are one n-gram.

    Raises InputError where a count is missing, given twice with different values, larger for the pair than for its
    s^x (exact document counts), no number of documents, or of another source than the others.
    """
    return _logp(_counted(taskgrams, counts), form, zeros, kappa)


def taskgram_halves(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, form: str = "per_output", zeros: str = "keep", kappa: float = 1.0
) -> pd.DataFrame:
    """:func:`taskgram_logp` from each random half of the documents alone, with the column ``half`` (0 or 1).

    ``counts`` needs rows with ``half`` 0 and 1 (``count_table(..., halves=True)``).
    """
    require_columns(counts, ["half"], "counts")
    return pd.concat(
        [_logp(_counted(taskgrams, counts, half), form, zeros, kappa).assign(half=half) for half in (0, 1)],
        ignore_index=True,
    )


def placebo_outputs(taskgrams: pd.DataFrame, counts: pd.DataFrame, seed: int = 0, nearest: int = 10) -> pd.DataFrame:
    """Give each s^y another output s^y' of matched frequency: the table's distinct pairs with a column ``placebo``.

    s^y' is drawn among the ``nearest`` outputs of the same task, group and n by |log C(s^y) - log C(s^y')|, the same
    one for all points of an s^y unless it is an s^y or s^x of the point's own example. Null where there is none.
    The pairs (sx, placebo) must then be counted; ``counts`` needs the single counts of all s^y.
    """
    pairs = _distinct(taskgrams)
    singles = _singles(counts, pairs["sy"])["count"]
    rng = np.random.default_rng(seed)
    chosen = []
    for _, rows in pairs.groupby(_GROUP, dropna=False, sort=False):
        types = np.sort(rows["sy"].unique())
        level = np.log1p(singles.reindex(types).to_numpy(float))
        # Within one frequency the neighbours are random, not alphabetical.
        order = np.lexsort((rng.random(len(types)), level))
        types, level = types[order], level[order]
        partners = {}
        for i, sy in enumerate(types):
            near = np.arange(max(0, i - nearest), min(len(types), i + nearest + 1))
            near = near[near != i]
            near = near[np.argsort(np.abs(level[near] - level[i]), kind="stable")][:nearest]
            partners[sy] = types[rng.permutation(near)]
        own = {e: {*r["sx"], *r["sy"]} for e, r in rows.groupby("example_id", sort=False)[["sx", "sy"]]}
        for (example, sy), index in rows.groupby(["example_id", "sy"], sort=False).groups.items():
            partner = next((p for p in partners[sy] if p not in own[example]), None)
            chosen.append(pd.Series(partner, index=index, dtype="str"))
    return pairs.assign(placebo=pd.concat(chosen) if chosen else pd.Series(dtype="str"))


def placebo_reference(
    placebo: pd.DataFrame,
    counts: pd.DataFrame,
    placebo_counts: pd.DataFrame,
    form: str = "per_output",
    zeros: str = "keep",
    kappa: float = 1.0,
) -> pd.DataFrame:
    """The exchanged reference: log P(s^y' | s^x), given to the s^y it stands for (``lm`` is ``placebo``).

    ``placebo`` comes from :func:`placebo_outputs`, ``placebo_counts`` holds the pairs (sx, placebo). The language model
    is the same one: p0 stays that of the task-gram table.
    """
    require_columns(placebo, ["placebo"], "placebo")
    counted = _counted(placebo, counts)
    counted = counted[counted["placebo"].notna()].drop(columns="pair_count")
    found = _pair_counts(placebo_counts).rename(columns={"sy": "placebo", "exact": "exact_placebo"})
    counted = counted.merge(found, on=["sx", "placebo"], how="left")
    counted["exact"] &= counted["exact_placebo"]
    _present(counted, "pair_count", "placebo counts", ["sx", "placebo"])
    return _logp(counted, form, zeros, kappa, lm="placebo")


def _distinct(taskgrams: pd.DataFrame) -> pd.DataFrame:
    """One row per (task, group, example, n, sx, sy), with ``start`` the first place of s^y in y."""
    require_columns(taskgrams, ["example_id", "n", "sx", "sy", "start"], "taskgrams")
    require(len(taskgrams), "taskgrams: no row in it")
    pairs = taskgrams.assign(**{c: None for c in ("task", "group") if c not in taskgrams})
    pairs = pairs.astype(dict.fromkeys(["task", "group", "example_id", "sx", "sy"], "str"))
    pairs = pairs.drop_duplicates([*_POINT, "sx"])
    first = pairs.groupby(_POINT[:-1], dropna=False, sort=False)["start"].transform("min")
    return pairs.assign(start=first).drop_duplicates([*_POINT, "sx"]).reset_index(drop=True)


def _counted(taskgrams: pd.DataFrame, counts: pd.DataFrame, half: int | None = None) -> pd.DataFrame:
    """The distinct pairs with their joint count, the count of s^x, and p0 of their task, group and n."""
    pairs = _distinct(taskgrams).drop(columns="exact", errors="ignore")
    singles = _singles(counts, pairs["sx"], half)
    pairs["sx_count"] = pairs["sx"].map(singles["count"])
    pairs = pairs.merge(_pair_counts(counts, half), on=["sx", "sy"], how="left")
    _present(pairs, "pair_count", "counts", ["sx", "sy"])
    pairs["exact"] &= pairs["sx"].map(singles["exact"]).astype("boolean")
    # Counts by words are those of the words: Po and po are one n-gram there, and two where pieces are counted.
    forms = {s: normalize(s) or s for s in pd.unique(pairs[["sx", "sy"]].to_numpy().ravel())}
    pairs["_x"], pairs["_y"] = (pairs[side].map(forms) for side in ("sx", "sy"))
    counted = ["pair_count", "sx_count"]
    pairs = pairs.drop_duplicates([*_POINT, "_x", *counted])
    units = set(counts["unit"].dropna()) if "unit" in counts else set()
    single = sorted(set(counts["unit"][counts["sy"].isna()].dropna()) - {"documents"}) if units else []
    require(not single, f"counts: single n-grams in {', '.join(single)}, pairs in documents; count all in documents")
    sources = list(dict.fromkeys(counts["source"].dropna())) if "source" in counts else []
    require(len(sources) < 2, f"counts: of {len(sources)} sources ({'; '.join(sources[:2])}); keep the rows of one")
    if units == {"documents"}:
        wrong = pairs[pairs["exact"].fillna(True) & (pairs["pair_count"] > pairs["sx_count"])]
        if len(wrong):
            row = wrong.iloc[0]
            message = f"({row.sx!r}, {row.sy!r}) is in {row.pair_count:g} documents, {row.sx!r} in {row.sx_count:g}"
            require(False, f"counts: {message}: single counts and pair counts are not of one corpus")
    distinct = pairs.drop_duplicates([*_GROUP, "_x", "_y", *counted])
    sums = distinct.groupby(_GROUP, dropna=False, sort=False)[counted].sum()
    p0 = (sums["pair_count"] / sums["sx_count"].where(sums["sx_count"] > 0)).rename("p0")
    return pairs.merge(p0.reset_index(), on=_GROUP, how="left")


def _logp(pairs: pd.DataFrame, form: str, zeros: str, kappa: float, lm: str = "taskgram") -> pd.DataFrame:
    require(form in ("per_output", "per_pair"), f"form {form}: not one of per_output, per_pair")
    require(zeros in ("keep", "drop"), f"zeros {zeros}: not one of keep, drop")
    finite = zeros == "drop" or 0 < kappa < np.inf
    require(finite, f"kappa must be above 0 and finite where zero counts are kept, got {kappa:g}")
    pairs = pairs[pairs["sx_count"] > 0].copy()
    pairs["zeros"] = (pairs["pair_count"] == 0).astype("int64")
    if zeros == "keep":
        numerator, denominator = pairs["pair_count"] + kappa * pairs["p0"], pairs["sx_count"] + kappa
    else:
        numerator, denominator = pairs["pair_count"], pairs["sx_count"]
    pairs["logp"] = np.log(numerator.where(numerator > 0) / denominator)
    rule = zeros if zeros == "drop" or kappa == 1 else f"keep, kappa={kappa:g}"
    if form == "per_output":
        groups = pairs.groupby(_POINT, dropna=False, sort=False)
        table = groups.agg(
            logp=("logp", "mean"), pairs=("zeros", "size"), zeros=("zeros", "sum"), exact=("exact", "min")
        ).reset_index()
        # Sums in another order must not part points that are tied.
        table["logp"] = table["logp"].round(12)
        table["sx"] = pd.Series(None, index=table.index, dtype="str")
    else:
        table = pairs.assign(pairs=1)
    if zeros == "drop":
        table = table[table["logp"].notna()]
    return table.assign(lm=lm, zero_rule=rule)[_COLUMNS].reset_index(drop=True)


def _of_half(counts: pd.DataFrame, half: int | None) -> pd.DataFrame:
    require_columns(counts, ["sx", "sy", "count"], "counts")
    number = pd.to_numeric(counts["count"], errors="coerce")
    whole = (number >= 0) & (number < np.inf)
    require(whole.all(), f"counts: {next(iter(counts['count'][~whole]), '')!r} is no count")
    counts = counts.assign(count=number, exact=exactness(counts, "counts"))
    if "half" not in counts:
        return counts
    return counts[counts["half"].isna() if half is None else counts["half"] == half]


def _singles(counts: pd.DataFrame, ngrams: pd.Series, half: int | None = None) -> pd.DataFrame:
    """``count`` and ``exact`` of single n-grams, indexed by n-gram; InputError where one of ``ngrams`` has none."""
    table = _of_half(counts, half)
    table = _unique(table[table["sy"].isna()], ["sx"], "single counts")
    singles = table.set_index("sx")[["count", "exact"]]
    wanted = pd.DataFrame({"ngram": pd.Series(ngrams.unique())})
    _present(wanted.assign(count=wanted["ngram"].map(singles["count"])), "count", "single counts", ["ngram"])
    return singles


def _pair_counts(counts: pd.DataFrame, half: int | None = None) -> pd.DataFrame:
    table = _of_half(counts, half)
    table = _unique(table[table["sy"].notna()], ["sx", "sy"], "pair counts")
    other = ", ".join(sorted(set(table["unit"].dropna()) - {"documents"})) if "unit" in table else ""
    # Occurrences near each other are counted once for each: more than documents, or fewer, and no share of C(s^x).
    require(not other, f"pair counts: pairs in {other} are no number of documents; count all in documents")
    return table[["sx", "sy", "count", "exact"]].rename(columns={"count": "pair_count"})


def _unique(table: pd.DataFrame, keys: list[str], name: str) -> pd.DataFrame:
    units = sorted(set(table["unit"].dropna())) if "unit" in table else []
    require(len(units) < 2, f"{name}: mixed units ({', '.join(units)}); keep the rows of one")
    table = table.drop_duplicates([*keys, "count"])
    twice = table[table.duplicated(keys)]
    if len(twice):
        require(False, f"{name}: {twice[keys].iloc[0].tolist()} has two different counts; keep the rows of one corpus")
    return table


def _present(table: pd.DataFrame, column: str, name: str, keys: list[str]) -> None:
    missing = table[table[column].isna()]
    if len(missing):
        example = missing[keys].iloc[0].tolist()
        advice = "count with --singles" if len(keys) == 1 else "count the pairs of this very table"
        require(False, f"{name}: {len(missing)} without a count, the first {example}; {advice}")
