"""The chapter on scoring: tables of probability and performance, and what they say in words."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from taskgram_chapters.numbers import number, short
from taskgram_chapters.page import listed
from taskgram_chapters.verdicts import NAMES, rows_of, where
from taskgram_utils.ngrams import word_spans
from taskgram_utils.performance import mean_interval

ONE_SCORE = ("exact_match", "accuracy")
"""The metrics of which each example has one score, right or wrong."""
LEAST_RARER = 20
"""With fewer right, or wrong, answers a correlation with the score depends on those few."""


def size_name(model: str) -> str:
    """A size in words: ``3m`` is 3M parameters; another name is itself."""
    sized = model[:-1].replace(".", "").isdigit() and model[-1] in "kmg"
    return f"{model.upper()} parameters" if sized else model


def panel(table: pd.DataFrame) -> pd.Series:
    """Task and group of a row, in two lines."""
    return table["task"].map(NAMES) + "\n" + table["group"].fillna("").str.replace("_", " ")


def words_of(examples: pd.DataFrame) -> pd.DataFrame:
    """Every word of every output as a span to be scored: example_id, n, sy, start."""
    spans = examples.assign(word=examples["y"].map(word_spans)).explode("word")
    return pd.DataFrame({"example_id": spans["example_id"], "n": 1,
                         "sy": [w.text for w in spans["word"]],
                         "start": [w.start for w in spans["word"]]})


def sums(scored: pd.DataFrame) -> pd.DataFrame:
    """log P of whole outputs beside the sum over their words, by example; ``left_out``: tokens that
    belong to no word."""
    whole = scored[scored["n"].isna()].set_index("example_id")
    words = scored[scored["n"].notna()].groupby("example_id")[["logp", "tokens"]].sum()
    words = words.loc[whole.index]
    table = whole[["task", "logp"]].assign(by_words=words["logp"])
    return table.assign(difference=table["by_words"] - table["logp"],
                        left_out=whole["tokens"] - words["tokens"])


def partition(table: pd.DataFrame) -> dict[str, str]:
    """How far the words of :func:`sums` add up to the whole: ``covered`` and ``gap`` in words."""
    covered = table[table["left_out"] == 0]
    gap = covered["difference"].abs().max()
    return {"covered": f"{len(covered)} of {len(table)}", "gap": f"{gap:.6f}"}


def of_tokens(tokens: pd.DataFrame, size: str, vocabulary: int) -> str:
    """What the table of the tokens of one output says."""
    other = int((tokens["token"] != tokens["most probable instead"]).sum())
    instead = f"another token in {other} of the {len(tokens)} places" if other else (
        "the same token in every place")
    return (f"Generating, the model would have written {instead}. The log probability of the whole "
            f"output under the size with {size_name(size)} is the sum of the column log P: "
            f"{short(tokens['log P'].sum())} nats. If every token of the vocabulary were equally "
            f"probable, it would be {short(-len(tokens) * np.log(vocabulary))}.")


def belief(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean log P per token of gold outputs with Student's interval, by task, model and step."""
    gold = scores[scores["n"].isna() & scores["option"].isna()]
    gold = gold.assign(mean=gold["logp"] / gold["tokens"]).dropna(subset=["mean"])
    keys = ["task", "model", "step"]
    groups = gold.groupby(keys, sort=False, dropna=False)["mean"]
    table = groups.agg(["mean", "size"]).reset_index()
    table[["low", "high"]] = [mean_interval(values.to_numpy()) for _, values in groups]
    return table.rename(columns={"mean": "log P per token (nats)", "size": "examples"})


def by_frequency(binned: pd.DataFrame, answers: pd.DataFrame, n: int, model: str) -> pd.DataFrame:
    """The rank correlation of score and frequency of one model at one n: a row per group, with the
    number of examples that have a ``rarer`` score than the most usual one."""
    chosen = rows_of(binned, {"n": n, "model": model}).drop_duplicates(["task", "group"])
    chosen = chosen.rename(columns={"spearman": "estimate"}).drop(columns=["low", "high"])
    chosen = chosen.rename(columns={"spearman_low": "low", "spearman_high": "high"})
    scores = rows_of(answers, {"model": model}).dropna(subset=["score"])
    scores = scores.groupby(["task", "group"])["score"]
    rarer = scores.agg(lambda values: len(values) - values.value_counts().max()).rename("rarer")
    return chosen.merge(rarer.reset_index(), on=["task", "group"], how="left")


def answer(last: pd.DataFrame, follows: pd.DataFrame, sizes: Sequence[str]) -> str:
    """The chapter's answer: in how many tasks gold tokens are more probable to the largest size
    than to the smallest (their intervals lie apart), with the task of the largest change, and where
    the score rises with frequency (alone where there is one size)."""
    if len(sizes) == 1:
        return _rises(follows)[0]
    value = "log P per token (nats)"
    wide = last.pivot(index="task", columns="model", values=[value, "low", "high", "examples"])
    small, large = (wide.xs(size, axis=1, level="model") for size in (sizes[0], sizes[-1]))
    more = (large["low"] > small["high"]).sum()
    task = (large[value] - small[value]).abs().idxmax()
    ends = " to ".join(number(*row.loc[task, [value, "low", "high"]]) for row in (small, large))
    return (f"A token of the right answer is more probable to the model with "
            f"{size_name(sizes[-1])} than to the one with {size_name(sizes[0])} in {more} of "
            f"{len(wide)} tasks; most changes in {NAMES.get(task, task)}, from a mean log P of "
            f"{ends} nats, N = {int(large.loc[task, 'examples']):,}. {_rises(follows)[0]}")


def frequency(follows: pd.DataFrame) -> str:
    """Where the largest model's score rises or falls with the frequency of an example's pairs, and
    where too few scores differ to tell."""
    text, few = _rises(follows)
    same = (f" Not reported, since fewer than {LEAST_RARER} examples have another score than most: "
            f"{'; '.join(few)}.")
    return text + same * bool(few)


def _rises(follows: pd.DataFrame) -> tuple[str, list[str]]:
    few = (follows["rarer"] < LEAST_RARER) | follows["estimate"].isna()
    told = follows[~few]
    values = [number(*row) for row in told[["estimate", "low", "high", "points"]].to_numpy(float)]
    told = told.assign(text=[f"{name} ({text})" for name, text in
                             zip(where(told), values, strict=True)])
    above, below = told["low"] > 0, told["high"] < 0
    kinds = {"higher where the corpus contains more of an example's pairs": told[above],
             "lower where it contains more of them": told[below],
             "not shown to go with them": told[~above & ~below]}
    parts = [f"{words} in {'; '.join(rows['text'])}" for words, rows in kinds.items() if len(rows)]
    says = f"The largest model's score is {'. It is '.join(parts)}." if parts else (
        "Nowhere do enough scores differ to relate them to frequency.")
    return says, list(where(follows[few]))


def falls(rho: pd.DataFrame, n: int, model: str) -> str:
    """At which other sizes than that of ``model``, or other n, a score falls with frequency; says
    so where none does."""
    rows = rho[(rho["spearman_high"] < 0) & ((rho["n"] != n) | (rho["model"] != model))]
    names = [f"{name}, n = {n}, {size_name(model)}" for name, n, model in
             zip(where(rows), rows["n"], rows["model"], strict=True)]
    return (f"At other sizes or n the interval lies below zero in {'; '.join(names)}." if names else
            "At no other size and no other n does an interval lie below zero.")


def kept(main: pd.DataFrame, sampled: int, least: int) -> str:
    """Which groups are small, how many answers there are before the last step, and which sizes have
    fewer stored steps."""
    last = main.sort_values("step").drop_duplicates(["task", "group"], keep="last")
    small = last[last["examples"] < least]
    steps = main.groupby("model")["step"].nunique()
    fewer = [size_name(model) for model in steps.index[steps < steps.max()]]
    names = [f"{name} ({n})" for name, n in zip(where(small), small["examples"], strict=True)]
    parts = [f"Before the last step at most {sampled:,} examples of a group were answered."]
    parts += [f"Fewer than {least} examples, so wide bars: {'; '.join(names)}."] if names else []
    return " ".join(parts + ([f"Fewer steps are stored of {listed(fewer)}."] if fewer else []))


def bleu(performance: pd.DataFrame, models: Sequence[str]) -> tuple[pd.DataFrame, str]:
    """BLEU by group and size with intervals, and its signature."""
    rows = rows_of(performance, {"metric": "bleu"})
    if rows.empty:
        return pd.DataFrame({"group": ["no translation in this run"]}), "none"
    text = [f"{a:.1f} [{b:.1f}, {c:.1f}]" for a, b, c in rows[["score", "low", "high"]].to_numpy()]
    wide = rows.assign(text=text).pivot(index=["group", "examples"], columns="model", values="text")
    wide = wide[[model for model in models if model in wide]].reset_index()
    return wide.rename(columns={"examples": "N"}), rows["note"].iloc[0]


def read(answers: pd.DataFrame, test: pd.DataFrame, model: str, shown: int) -> pd.DataFrame:
    """Some answers of a model from every group, right ones first."""
    chosen = rows_of(answers, {"model": model, "metric": list(ONE_SCORE)})
    chosen = chosen.merge(test[["example_id", "x", "y"]], on="example_id")
    groups = chosen.sort_values("score", ascending=False).groupby(["task", "group"])
    chosen = pd.concat([groups.head(shown), groups.tail(shown)]).drop_duplicates("example_id")
    chosen = chosen.sort_values(["task", "group", "score"], ascending=[True, True, False])
    chosen = chosen.assign(where=where)
    names = {"where": "group", "x": "input", "y": "gold", "output": "answer", "score": "score"}
    return chosen[[*names]].rename(columns=names).reset_index(drop=True)


def tails(points: pd.DataFrame) -> pd.DataFrame:
    """Words with log P of themselves and summed to the end of the output (``tail``), in order."""
    points = points.dropna(subset=["n"]).sort_values(["example_id", "start"])
    tail = points[::-1].groupby("example_id")["logp"].cumsum()[::-1]
    return points.assign(tail=tail, last=~points.duplicated("example_id", keep="last"))
