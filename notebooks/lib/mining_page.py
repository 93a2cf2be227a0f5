"""What the chapter on the task-gram table says of its pairs: sentences, and small tables."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from taskgram_chapters import verdicts
from taskgram_chapters.numbers import numbers
from taskgram_chapters.page import listed
from taskgram_chapters.verdicts import LEAST, NAMES
from taskgram_utils.jackknife import clusters_of, interval, mean
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

SHARES = ["own", "shuffled", "by_chance", "true", "low", "high", "true_of_all"]


def passing(
    own: pd.DataFrame, shuffled: pd.DataFrame, gammas: pd.DataFrame, known: bool
) -> pd.DataFrame:
    """What passes γ, a row for each task and n: the shares of ``own`` and of ``shuffled`` pairs,
    the second over the first (``by_chance``); where the truth is ``known``, the share of true pairs
    among the mined with its interval over examples, and among all candidates."""
    both = pd.concat([own.assign(source="own"), shuffled.assign(source="shuffled", true=False)])
    both = both.merge(gammas[["task", "n", "gamma"]], on=["task", "n"])
    both["passes"] = both["cosine"] > both["gamma"]
    shares = both.groupby(["task", "n", "source"], sort=False)["passes"].mean().unstack("source")
    shares["by_chance"] = (shares["shuffled"] / shares["own"]).clip(upper=1)
    for key, part in both[both["source"] == "own"].groupby(["task", "n"]) if known else ():
        mined, true = part[part["passes"]], part["true"].astype(float)
        found = mean(mined["true"].to_numpy(float), clusters_of(mined["example_id"]))
        low, high, _ = interval(found.estimate, found.changes, correlation=False)
        shares.loc[key, SHARES[3:]] = found.estimate, max(low, 0), min(high, 1), true.mean()
    return shares.reindex(columns=SHARES).reset_index().rename_axis(columns=None)


def percent(share: float, low: float = np.nan, high: float = np.nan) -> str | None:
    """A share in per cent, with its interval: ``91% [90, 93]``; null where it is not known."""
    if pd.isna(share):
        return None
    digits = 1 if 0 < share < 0.1 else 0
    ends = "" if pd.isna(low) else f" [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"
    return f"{share:.{digits}%}{ends}".replace(" ", "\N{NO-BREAK SPACE}")


def kept(passed: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`passing` as the page shows it."""
    return pd.DataFrame({
        "task": passed["task"].replace(NAMES), "n": passed["n"],
        "shuffled pairs pass": passed["shuffled"].map(percent),
        "by chance": passed["by_chance"].map(percent),
        "true": [percent(*row) for row in passed[["true", "low", "high"]].to_numpy(float)],
        "true of all": passed["true_of_all"].map(percent)})


def trust(passed: pd.DataFrame, n: int) -> str:
    """Which tables do not carry their task: by chance in more than half, or less often true than
    all candidates."""
    rows = passed[passed["n"] == n]
    fails = (rows["by_chance"] > LEAST) | (rows["true"] < rows["true_of_all"])
    where = listed(rows.loc[fails, "task"].replace(NAMES))
    return f"the table does not carry its task in {where}." if where else (
        "by these measures, every table carries its task.")


def overestimated(run: Run) -> str:
    """How the estimate of mining precision without truth, as on real text, compares with the share
    of true pairs where that is known, task by task and n by n; empty where it is not."""
    if not pipeline.truth_known(run):
        return ""
    pairs, gammas = run.table("taskgrams").assign(group="all"), run.table("gammas")
    guess, true = (verdicts.precision(pairs, gammas, truth).set_index(["task", "n"])["precision"]
                   for truth in (None, run.table("true_pairs")))
    gap, passes = guess - true, guess >= LEAST
    task, n = most = gap.idxmax()
    return (f"In the world of this run, where the truth is known, that estimate is too high in "
            f"{(gap > 0).sum()} of {len(gap)} tables of a task and an n, by up to "
            f"{100 * gap.max():.0f} percentage points ({NAMES[task]}, n = {n}: estimated "
            f"{percent(guess[most])}, true {percent(true[most])}). It lets {passes.sum()} tables "
            f"pass; fewer than half of the pairs are true in {(true[passes] < LEAST).sum()}.")


def answer(passed: pd.DataFrame, n: int, gamma_share: float) -> str:
    """The chapter's answer: which pairs are mined, and how many of them are the task's."""
    rows = passed[(passed["n"] == n) & passed["by_chance"].notna()]
    says = (f"Pairs that lie closer together in an embedding than all but {gamma_share:.0%} of "
            "shuffled pairs do")
    if rows.empty:
        return f"{says}; but no pair at n = {n} passes."
    known = rows["true"].notna().all()
    ends = rows[["true", "low", "high"] if known else ["by_chance"]].to_numpy(float)
    parts = [f"{percent(*row)} in {NAMES.get(task, task)}"
             for row, task in zip(ends, rows["task"], strict=True)]
    what = "true pairs make up" if known else "pairs there by chance make up at most"
    return (f"{says}. Of the pairs mined at n = {n}, {what} {listed(parts)}; "
            f"{trust(passed, n)}")


def by_group(hits: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Of each group the share of true pairs among the mined, by n (``found``), the share of its
    true pairs that γ drops, and of those the shares with an unknown word and in no document
    (``hits``: true candidates with ``dropped``, ``unknown word`` and ``in no document``)."""
    keys = ["task", "group"]
    shown = found.pivot(index=keys, columns="n", values="precision")
    shown = shown.rename(columns="true at n = {}".format)
    shown["dropped"] = hits.groupby(keys)["dropped"].mean()
    why = ["unknown word", "in no document"]
    shown[why] = hits[hits["dropped"]].groupby(keys)[why].mean()
    shown = shown.reindex(found.drop_duplicates(keys)[keys]).map(percent).reset_index()
    shown.insert(0, "pairs of", _of(shown))
    return shown.drop(columns=keys)


def no_mem(found: pd.DataFrame, n: int) -> str:
    """In which groups too few of the mined pairs are true for a claim of Mem."""
    poor = found[(found["n"] == n) & (found["precision"] < LEAST)]
    if poor.empty:
        return f"At n = {n} at least half of the mined pairs are true in every group."
    return f"At n = {n} fewer than half of the mined pairs are true in {'; '.join(_of(poor))}."


def _of(table: pd.DataFrame) -> pd.Series:
    """Task and group in words: ``Translation, unseen``."""
    return table["task"].replace(NAMES) + ", " + table["group"].str.replace("_", " ")


def covered(table: pd.DataFrame) -> pd.DataFrame:
    """The table of ``coverage`` as the page shows it."""
    return pd.DataFrame({
        "task": table["task"].replace(NAMES), "n": table["n"],
        "examples with a pair": table["with_pairs"].map(percent),
        "pairs an example": table["pairs_per_example"].map("{:.1f}".format),
        "distinct pairs": table["distinct_pairs"].map("{:,}".format),
        "in the corpus": table["pair_in_corpus"].map(percent)})


def leaks(found: pd.DataFrame, own: str) -> pd.DataFrame:
    """Correlations of cosine and log count of the embedding ``own``, and the difference to it of
    vectors of the corpus itself."""
    mine, more = (found[found["embedding"] == name] for name in (own, "difference"))
    return pd.DataFrame({
        "pairs of": _of(mine), "N": mine["pairs"].map("{:,}".format), own: numbers(mine),
        "the corpus itself, difference": numbers(more)})


def leak_words(found: pd.DataFrame) -> str:
    """Where vectors of the corpus itself are tied to its counts more, or less, than the run's."""
    more = found[found["embedding"] == "difference"]
    sides: Mapping[str, pd.Series] = {"more": more["low"] > 0, "less": more["high"] < 0}
    parts = [f"{side} in {'; '.join(_of(more[rows]))}"
             for side, rows in sides.items() if rows.any()]  # fmt: skip
    if not parts:
        return "No interval of the difference between the two embeddings excludes zero."
    return ("By the interval of the difference, vectors of the corpus itself leak "
            f"{', and '.join(parts)}.")


def left_over(found: pd.DataFrame, own: str) -> str:
    """Where the run's own embedding is tied to the counts, by its interval."""
    mine = found[found["embedding"] == own]
    clear = (mine["low"] > 0) | (mine["high"] < 0)
    if not clear.any():
        return "No interval of the run's embedding excludes zero."
    parts = [f"{group} {value}" for group, value in zip(_of(mine[clear]), numbers(mine[clear]),
                                                        strict=True)]
    return f"The interval of the run's embedding excludes zero in {'; '.join(parts)}."
