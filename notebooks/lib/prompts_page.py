"""What the chapter on prompts says: whether accuracy and Mem follow a prompt's score."""

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_chapters.numbers import numbers, short
from taskgram_chapters.page import listed
from taskgram_chapters.verdicts import AT, BOUNDS, NAMES, direction
from taskgram_utils.memorization import contrasts, estimates
from taskgram_utils.miniature.clauses import UNHEARD, heard
from taskgram_utils.performance import mean_interval
from taskgram_utils.prompting import gap

PLAIN, PART = ["estimate", "low", "high"], ["task", "parameters", "model"]
KINDS = ("memorization", "generalization", "after", "none", "other task")
PAIR = KINDS[:2]
COMPARED = (PAIR, *((kind, "start") for kind in PAIR))
FOUND = {"positive": "higher", "negative": "lower", "none": "within ±.15", "no": "not decided"}


def clauses() -> pd.DataFrame:
    """The clauses from which prompts are made, by task, and whether the corpus has them."""
    rows = [{"task": NAMES[task], "occurs in": where, "clauses": "; ".join(map(shown, texts))}
            for task in UNHEARD for where, texts in
            (("the corpus", heard(task)), ("no document", UNHEARD[task]))]
    return pd.DataFrame(rows)


def shown(text: str) -> str:
    """Text for a cell of a table, escaped."""
    return escape(text).replace("|", "&#124;")


def best(history: pd.DataFrame) -> pd.DataFrame:
    """Of each search the score (``documents``) of the best prompt so far, by round: mean, min and
    max over the searches of a direction."""
    keys = ["task", "direction", "seed", "round"]
    table = history[history["best"]].sort_values("round", kind="stable").groupby(keys)["score"]
    table = table.last().unstack("round").reindex(columns=range(history["round"].max() + 1))
    reached = table.ffill(axis=1).stack().groupby(["task", "direction", "round"])
    return reached.agg(["mean", "min", "max"]).reset_index().rename(columns={"mean": "documents"})


def prompts(history: pd.DataFrame) -> pd.DataFrame:
    """The start and the best prompts, with their scores in documents, the searches together."""
    start = history[history["round"] == 0].assign(direction="start", seed=-1)
    table = pd.concat([start, history[history["best"]]]).groupby(["task", "direction", "seed"])
    rows = table.tail(1).groupby(["task", "direction", "prompt"])["score"].agg(["first", "size"])
    rows = rows.reset_index().replace({"task": NAMES})
    rows.loc[rows["direction"] == "start", "size"] = np.nan
    return pd.DataFrame({
        "task": rows["task"], "direction": rows["direction"], "prompt": rows["prompt"].map(shown),
        "documents": rows["first"].map("{:,.0f}".format),
        "searches": rows["size"].map("{:.0f}".format, na_action="ignore")})


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy under each kind of prompt, the mean over searches, with interval over examples."""
    parts = []
    for key, part in table.groupby([*PART, "direction"], sort=False):
        scores = np.stack(part["correct"].to_list()).mean(axis=0)
        parts.append((*key, scores.mean(), *mean_interval(scores)))
    return pd.DataFrame(parts, columns=[*PART, "prompt", "accuracy", "low", "high"])


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Differences of accuracy on the same examples: memorization minus generalization prompts, and
    every kind of prompt (``first``) minus the start (``second``)."""
    pairs = [*COMPARED, *((kind, "start") for kind in KINDS[2:])]
    parts = [gap(part, between=pair).assign(**dict(zip(PART, key, strict=True)), first=pair[0],
                                            second=pair[1])
             for key, part in table.groupby(PART) for pair in pairs]
    out = pd.concat(parts, ignore_index=True)
    return out.assign(difference=out["first"] + " minus " + out["second"])


def finding(row: Mapping) -> str:
    """What the interval of a difference of accuracy shows."""
    if row["estimate"] == row["low"] == row["high"] == 0:
        return "no score changed"
    return "higher" if row["low"] > 0 else "lower" if row["high"] < 0 else "not decided"


def against_start(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Accuracy of a task minus that under the start: a row per kind of prompt, a column per size;
    and the gap of the paper."""
    rows = table[table["task"] == task]
    rows = rows.assign(cell=numbers(rows, *PLAIN))
    wide = rows.pivot(index="difference", columns="model", values="cell")
    return wide.loc[rows["difference"].unique(), rows["model"].unique()].reset_index()


def of_gaps(table: pd.DataFrame) -> dict[str, str]:
    """How far each kind of prompt is from the start, and what the gap of the paper shows."""
    words = {}
    for kind, part in table[table["second"] == "start"].groupby("first"):
        out = ((part["low"] > 0) | (part["high"] < 0)).sum()
        least, most = short(part["estimate"].min()), short(part["estimate"].max())
        words[f"far-{kind}"] = (f"{least} to {most} ({out} of {len(part)} intervals exclude zero)")
    main = table[table["second"] == PAIR[1]]
    width, given = (main["high"] - main["low"]).max(), main.apply(finding, axis=1).value_counts()
    kinds = listed([f"{kind} in {k}" for kind, k in given.items()])
    asked = main.groupby("task", sort=False)["examples"].first()
    words["asked"] = listed([f"{k} of {NAMES[task]}" for task, k in asked.items()])
    return words | {"gap-found": f"{kinds} of {len(main)}", "widest-gap": short(width),
                    "half-gap": short(width / 2), "many": str(len(table))}


def mem(reference: pd.DataFrame, scores: pd.DataFrame, sizes: Mapping[str, float]):
    """Mem under each prompt by size, and how it differs (``answer``) between the pairs of prompts
    of :data:`COMPARED`."""
    levels, change, names = [], [], {"model": "size", "prompt": "model"}
    for size, part in scores.groupby("model", sort=False):
        result = estimates(reference, part.rename(columns=names))
        levels.append(result.table.rename(columns={"model": "prompt"}).assign(
            model=size, parameters=sizes[size]))
        change += [contrasts(result, "model", *pair).table.assign(
            model=size, difference=" minus ".join(pair)) for pair in COMPARED]
    change = pd.concat(change, ignore_index=True)
    ways = [direction(*ends, BOUNDS[AT]) for ends in change[["low", "high"]].to_numpy(float)]
    answers = [FOUND.get(way, FOUND["no"]) for way in ways]
    return pd.concat(levels, ignore_index=True), change.assign(answer=answers)


def together(change: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Of factual QA by size: how Mem and accuracy differ between two prompts, and the answers."""
    keys = ["model", "difference"]
    rows = table[table["task"] == "factual_qa"].set_index(keys).loc[list(
        change[keys].itertuples(index=False, name=None))]
    return pd.DataFrame({
        "model": change["model"], "prompts": change["difference"],
        "difference of Mem": numbers(change, *PLAIN, "points"),
        "Mem is": change["answer"], "difference of accuracy": numbers(rows, *PLAIN, "examples"),
        "accuracy is": rows.apply(finding, axis=1).to_numpy()})


def of_mem(both: pd.DataFrame) -> str:
    """At how many sizes each kind of prompt has a higher, or lower, Mem than the start."""
    parts = []
    for kind, what in zip(PAIR, ("Mem of factual QA", "it"), strict=True):
        ways = both.loc[both["prompts"] == f"{kind} minus start", "Mem is"]
        parts.append(f"{kind} prompts raise {what} at {(ways == 'higher').sum()} of {len(ways)} "
                     f"sizes and lower it at {(ways == 'lower').sum()}")
    return f"Against the start, {'; '.join(parts)}."


def answered(both: pd.DataFrame, table: pd.DataFrame) -> str:
    """The chapter's answer: what each kind of prompt does to Mem, and whether accuracy follows."""
    main = table[table["second"] == PAIR[1]]
    given = main.apply(finding, axis=1)
    rest = [f"{words} in {k}" for words in ("lower", "not decided", "no score changed")
            if (k := (given == words).sum())]
    pair = both[both["prompts"] == " minus ".join(PAIR)]
    higher, last = (pair["Mem is"] == "higher").sum(), pair.iloc[-1]
    more = "" if higher and (given == "higher").any() else "Not shown. "
    return (f"**{more}{of_mem(both)}** Under memorization prompts it is higher than under "
            f"generalization prompts at {higher} of {len(pair)} sizes. Accuracy is higher in "
            f"{(given == 'higher').sum()} of {len(main)} cases"
            + (f" ({'; '.join(rest)})" if rest else "")
            + f". In factual QA at {last['model'].upper()} parameters Mem differs by "
            f"{last['difference of Mem']}, and accuracy by {last['difference of accuracy']}.")


def printed_gaps(paper: pd.DataFrame, questions: int) -> tuple[pd.DataFrame, str]:
    """The paper's accuracies with the gap and, of GSM8K, the p of an unpaired z-test; the least
    p."""
    share = paper[list(PAIR)] / 100
    pooled = share.mean(axis=1)
    z = share[PAIR[0]].sub(share[PAIR[1]]) / np.sqrt(2 * pooled * (1 - pooled) / questions)
    p = pd.Series(2 * stats.norm.sf(z.abs())).where(paper["data"] == "GSM8K")
    gaps = (paper[PAIR[0]] - paper[PAIR[1]]).map("{:.1f}".format).str.replace("-", "−")
    return paper[["data", "model", *PAIR]].assign(
        gap=gaps, p=p.map(short, na_action="ignore")), short(p.min())
