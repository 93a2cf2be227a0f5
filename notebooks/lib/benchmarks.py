"""What counting and scoring cost beside other ways to do the same, from recorded benchmarks."""

from typing import Any

import pandas as pd

from taskgram_chapters.page import listed

OURS = ("taskgram_utils", "ours")


def made(note: dict[str, Any]) -> str:
    """How and when a benchmark was run, in one line."""
    chip = note["processor"] or note["machine"]
    return (f"`{note['command']}`, {note['date']}, {chip}, {note['threads']} threads, "
            f"{note['rounds']} rounds")


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Every other way to do a job beside ours: corpus (where there are several), job, way, ratio,
    low, high, equal.

    ``ratio``: its seconds divided by ours in the same round, the median; above 1: ours is faster.
    ``low`` and ``high`` are the extremes, its shortest time against our longest and the reverse.
    ``equal``: share of answers equal to ours (null: not compared, since the way does not do quite
    the same).
    """
    keys = [c for c in ("corpus", "shape", "job") if c in table]
    ours = table[table["way"].isin(OURS)].set_index(keys)[["low", "high"]]
    # A reader of one format, or one alphabet, is no other way to do the job of another.
    peers = table[~table["way"].isin(OURS) & table["ours"].notna()]
    both = peers.join(ours, on=keys, rsuffix="_ours", how="inner")
    low, high = both["low"] / both["high_ours"], both["high"] / both["low_ours"]
    both = both.assign(ratio=both["ours"], low=low, high=high)
    return both[[*keys, "way", "ratio", "low", "high", "equal"]].reset_index(drop=True)


def our_rates(table: pd.DataFrame) -> pd.DataFrame:
    """What ours does in a second, of every job: its keys, rate, unit and seconds."""
    keys = [c for c in ("corpus", "shape", "job") if c in table]
    ours = table[table["way"].isin(OURS) & table["rate"].notna()]
    return ours[[*keys, "rate", "unit", "amount", "seconds"]].reset_index(drop=True)


# --- what a page says ----------------------------------------------------------------------------


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`standing`, each job and way in one name (``way``)."""
    rows = standing(table)
    return rows.assign(way=rows["job"].str.replace(", one core", "") + " · " + rows["way"])


def ratio(row: pd.Series) -> str:
    """``5.3 [5.2, 5.5]``: the ratio with its extremes."""
    digits = [2 if v < 1 else 1 if v < 10 else 0 for v in row[["ratio", "low", "high"]]]
    return "{:.{}f} [{:.{}f}, {:.{}f}]".format(
        row["ratio"], digits[0], row["low"], digits[1], row["high"], digits[2])


def answered(counting: pd.DataFrame, scoring: pd.DataFrame) -> str:
    """The chapter's answer, from two tables of :func:`standing`: a way is faster, or slower, where
    all rounds agree."""
    parts = []
    for what, rows in (("counting", counting), ("scoring", scoring)):
        slower, open_ = (rows["high"] < 1).sum(), ((rows["low"] <= 1) & (rows["high"] >= 1)).sum()
        rest = [f"{k} {words}" for k, words in ((slower, "faster"), (open_, "not decided")) if k]
        more = f" ({', '.join(rest)})" if rest else ""
        names = rows["way"].str.split(" · ").str[-1].str.split(",").str[0]
        of = "; ".join(f"{name}: {k}" for name, k in names.value_counts(sort=False).items())
        settings = f" ({of})" if what == "scoring" else ""
        parts.append(f"{(rows['low'] > 1).sum()} of {len(rows)} other ways of {what}{settings} "
                     f"take longer{more}")
    verdict = f"**On the machine of this benchmark, {' and '.join(parts)}.**"
    harness = scoring[scoring["way"].str.contains("harness") & (scoring["job"] == "options")]
    for _, row in harness.nsmallest(1, "ratio").iterrows():
        verdict += (f" Scoring the options of questions takes lm-evaluation-harness {ratio(row)} "
                    "times as long (extremes over the rounds).")
    wrong = (counting["equal"].dropna() < 1).sum()
    return verdict + (f" In counting, the answers of {wrong} ways differ from ours." if wrong else
                      " All answers that were compared are equal.")


def agreement(beside: pd.DataFrame) -> dict[str, str]:
    """How many other ways gave our answers, and sentences: which differ, and which are faster."""
    compared, slower = beside.dropna(subset="equal"), beside[beside["high"] < 1]
    wrong = [f"{r.way} ({r.equal:.0%} equal)"
             for r in compared[compared["equal"] < 1].itertuples()]
    faster = [f"{row['way']} ({ratio(row)})" for _, row in slower.iterrows()]
    differs = f"Not all answers are equal for: {'; '.join(wrong)}." if wrong else ""
    quicker = f"Faster than ours is: {'; '.join(faster)}." if faster else "No other way is faster."
    return {"benchmarks-exact": f"{(compared['equal'] == 1).sum()} of {len(compared)}",
            "benchmarks-words": f"{quicker} {differs}"}


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`our_rates` as a page shows them."""
    rows = our_rates(table)
    return pd.DataFrame({
        "job": rows["job"], "of": rows["amount"].map("{:,.0f} ".format) + rows["unit"],
        "seconds": rows["seconds"].map("{:.2f}".format),
        "a second": rows["rate"].map("{:,.0f} ".format) + rows["unit"]})


def memory(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds, MB a second and peak memory of the command, by size of the corpus."""
    rows = table[table["job"] == "scan: the command"]
    numbers = {"seconds": rows["seconds"], "MB a second": rows["amount"] / rows["seconds"],
               "peak memory, MB": rows["peak_megabytes"]}
    return pd.DataFrame({"corpus": rows["way"], **{k: v.map("{:,.0f}".format)
                                                   for k, v in numbers.items()}})


def of_scoring(table: pd.DataFrame) -> dict[str, str]:
    """Ratios of scoring, the least of each kind of job; the agreement of log P; and the memory of a
    process that loads a model and scores."""
    beside, last = standing(table), table[table["job"] == "memory"].iloc[0]
    kinds = {"options": beside["job"] == "options", "shots": beside["job"].str.contains("shot"),
             "passes": beside["job"].str.contains("n-grams")}
    words = {key: ratio(beside[rows].nsmallest(1, "ratio").iloc[0]) for key, rows in kinds.items()}
    asked = table[table["way"].isin(OURS)].set_index("job")["amount"]
    tried = table["way"].str.extract(r"harness, batches of (\d+)")[0].dropna()
    words |= {"batches": listed(list(tried.drop_duplicates())),
              "requests": f"{asked['options']:,.0f}",
              "shot-requests": f"{asked['options, 5-shot']:,.0f}",
              "agree": f"{beside['equal'].min():.0%}", "shape": last["shape"]}
    whole = last["weights_megabytes"] + last["batch_megabytes"]
    words |= {"memory": f"{last['peak_megabytes'] / whole:.2f}",
              "weights": f"{last['weights_megabytes']:,.0f}",
              "batch": f"{last['batch_megabytes']:,.0f}"}
    return {f"benchmarks-{key}": value for key, value in words.items()}


def peaks(table: pd.DataFrame) -> pd.DataFrame:
    """Tokens, tokens a second, and the share of the matrix peak, of each job of ours."""
    own = table[table["way"].isin(OURS) & table["tokens"].notna()]
    speed = own.get("tokens_a_second", own["tokens"] / own["seconds"])
    out = pd.DataFrame({"model": own["shape"], "job": own["job"],
                        "tokens": own["tokens"].map("{:,.0f}".format),
                        "tokens a second": speed.map("{:,.0f}".format),
                        "share of the peak": own["share_of_peak"].map("{:.0%}".format),
                        "memory, GB": (own["peak_megabytes"] / 1e3).round(1)})
    return out.dropna(axis=1, how="all").reset_index(drop=True)


def of_chip(table: pd.DataFrame, note: dict[str, Any], steps: int) -> str:
    """Where the accelerator's record comes from, how near its largest model is to the peak, and
    what its steps are to fetch."""
    last = table.iloc[-1]
    terabytes, of_peak = last["weights_megabytes"] * steps / 1e6, last["share_of_peak"]
    return (f"Recorded on one {note['processor']} in bfloat16. A model of the shape of "
            f"{last['shape']} reaches {of_peak:.0%} of the chip's own matrix products "
            f"on {last['job']}, tokenizing included. Loading is not: all steps of "
            f"{last['shape']} are {terabytes:.1f} TB to fetch and to read.")


def run_cost(table: pd.DataFrame, sizes: tuple[int, int], steps: int, hours: float) -> pd.DataFrame:
    """Minutes for one step of all ``sizes`` (options, solutions), hours for all ``steps``, and the
    chips that do it in the given hours, by model."""
    rate = table.pivot(index="shape", columns="job", values="rate").loc[table["shape"].unique()]
    minutes = (sizes[0] / rate["options"] + sizes[1] / rate["solutions"]) / 60
    cost = pd.DataFrame({"minutes a step": minutes, "hours for all steps": minutes * steps / 60,
                         f"chips for {hours:g} hours": minutes * steps / 60 / hours})
    return cost.map("{:.2f}".format).rename_axis("model").reset_index()
