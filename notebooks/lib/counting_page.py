"""What the chapter on counting says of its tables: sentences, and small tables."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from taskgram_chapters.numbers import number
from taskgram_chapters.page import listed
from taskgram_chapters.verdicts import NAMES
from taskgram_utils.counting.evidence import marked


def agreement(counts: Mapping[str, tuple[Sequence, Sequence]]) -> pd.DataFrame:
    """Of two ways to count, by name, for how many of N queries they give the same number."""
    return pd.DataFrame([
        {"two ways to count": name, "N": len(one),
         "equal": int(np.sum(np.asarray(one) == np.asarray(other)))}
        for name, (one, other) in counts.items()])


def of_infinigram(benchmark: pd.DataFrame) -> str:
    """The recorded share of single n-grams for which infini-gram's own engine counts as ours."""
    rows = benchmark[(benchmark["job"] == "single counts") & (benchmark["way"] == "infini-gram")]
    if rows.empty:
        return "No comparison with infini-gram's engine was recorded."
    return (f"infini-gram's own engine gives the same count for {rows['equal'].min():.0%} of "
            f"{rows['amount'].sum():,.0f} n-grams of {len(rows)} texts.")


def service_words(answers: pd.DataFrame) -> str:
    """How near a service's estimates are to the exact count, in its standard errors."""
    rough = answers[~answers["enumerated"].astype(bool) & (answers["error"] > 0)]
    if rough.empty:
        return "All documents were read, so there is no estimate."
    near = ((rough["count"] - rough["exact"]).abs() <= 2 * rough["error"]).sum()
    return f"{near} of {len(rough)} estimates are within two standard errors of the exact count."


def shares(wrong: pd.DataFrame) -> pd.DataFrame:
    """How counts differ from the exact one, in per cent: a row for each, ``disagreement``."""
    columns = ["too_high", "too_low", "invented", "lost"]
    shown = wrong[columns].map("{:.0%}".format).where(wrong[columns].notna())
    shown.insert(0, "N", wrong["pairs"].map("{:,}".format))
    shown.insert(0, "count", wrong["count"])
    return shown.rename(columns=lambda name: name.replace("_", " "))


def rho(row: Mapping) -> str:
    """A Spearman correlation over N pairs with Fisher's interval (variance 1.06 / (N - 3))."""
    half = 1.96 * np.sqrt(1.06 / max(row["pairs"] - 3, 1))
    with np.errstate(divide="ignore"):
        ends = np.tanh(np.arctanh(row["spearman"]) + np.array([-half, half]))
    return number(row["spearman"], *ends, row["pairs"])


def ranks(by_task: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """How far each count keeps the order of the pairs: a row for each count, a column a task."""
    cells = by_task.assign(rho=by_task.apply(rho, axis=1))
    wide = cells.pivot(index="count", columns="task", values="rho").loc[list(names)]
    return wide[by_task["task"].unique()].rename(columns=NAMES).reset_index()


def lowest(by_task: pd.DataFrame, min_pairs: int) -> str:
    """The lowest of the correlations over enough pairs."""
    enough = by_task[(by_task["pairs"] >= min_pairs) & by_task["spearman"].notna()].reset_index()
    if enough.empty:
        return f"No correlation is over {min_pairs} pairs or more."
    least = enough.loc[enough["spearman"].idxmin()]
    task = NAMES.get(least["task"], least["task"])
    return (f"Over {min_pairs} pairs or more, the lowest correlation is {rho(least)}, of "
            f"*{least['count']}* in {task}.")


def engine_words(lies: pd.DataFrame, near: str, far: str) -> str:
    """What the engine's pair count does when it may look farther; or that it is not there."""
    if not {near, far} <= set(lies):
        return "infini-gram's engine is not installed here, so it has no row."
    both = lies[[near, far]].dropna()
    return (f"*{far}* is lower than *{near}* for {(both[far] < both[near]).mean():.0%} of "
            f"{len(both)} pairs, although a count within a longer distance can only grow.")


def pieces(real: pd.DataFrame) -> pd.DataFrame:
    """Pairs counted in an index of pieces, by n and by how the index is queried."""
    pairs = real[(real["kind"] == "pair") & (real["way"] != "in its forms")]
    shown = pairs[["n", "way", "N", "exact", "lost"]].rename(columns={"way": "query"})
    shown[["exact", "lost"]] = shown[["exact", "lost"]].map("{:.0%}".format)
    shown["N"] = shown["N"].map("{:,}".format)
    return shown.assign(**{"Spearman ρ": pairs.rename(columns={"N": "pairs"}).apply(
        lambda row: rho(row).split(",\N{NO-BREAK SPACE}N")[0], axis=1)})


def answer(checks: pd.DataFrame, wrong: pd.DataFrame) -> str:
    """The chapter's answer: that counts agree, and how wrong the shortcuts are."""
    whole = checks["N"] == checks["equal"]
    agree = "all give the same counts" if whole.all() else f"agree in {whole.sum()}"
    says = (f"A count is right where independent ways to count agree: {len(checks)} comparisons, "
            f"with up to {checks['N'].max():,} queries each, {agree}.")
    bad = wrong[wrong[["too_high", "too_low"]].sum(axis=1) > 0]
    if bad.empty:
        return f"{says} No shortcut gives a wrong number here."
    off = (bad["too_high"] + bad["too_low"]).map("{:.0%}".format)
    known = {"smaller single": "the smaller single count", "windows": "windows"}
    parts = [f"{share} of {pairs:,} pairs with "
             f"{known.get(name, f'the pair count of infini-gram ({name})')}"
             for name, share, pairs in zip(bad["count"], off, bad["pairs"], strict=True)]
    return f"{says} Shortcuts give another number, for {listed(parts)}."


def costs(timed: Mapping[str, tuple[int, Sequence[float]]]) -> pd.DataFrame:
    """What each way costs: its pairs, and the median of its seconds with the extremes."""
    rows = []
    for way, (pairs, seconds) in timed.items():
        middle, span = np.median(seconds), ""
        if len(seconds) > 1:
            span = f" [{min(seconds):.3g}, {max(seconds):.3g}]"
        rate = f"{pairs / middle:,.0f}" if pairs else None
        rows.append([way, f"{pairs:,}" if pairs else None, f"{middle:.3g}{span}", rate])
    return pd.DataFrame(rows, columns=["way", "pairs", "seconds", "pairs a second"])


def documents(texts: Iterable[str], ngrams: Sequence[str]) -> HTML:
    """Texts as a list, escaped, with the n-grams marked."""
    return HTML(f"<ol>{''.join(f'<li>{marked(text, ngrams)}</li>' for text in texts)}</ol>")
