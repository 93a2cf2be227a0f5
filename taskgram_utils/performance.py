"""How well a model does a task: mean scores with intervals, corpus BLEU, and performance against
example frequency."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import Changes, Query, clusters_of, interval, jackknife, mean
from taskgram_utils.tables import exactness

MODEL = ["model", "run", "seed", "step"]


def performance(
    answers: pd.DataFrame, examples: pd.DataFrame, parameters: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Mean score per task, group, metric, model and step, with its 95% interval and the number of
    examples.

    Intervals are Wilson's where scores are 0 or 1, else Student's over examples. Greedy
    translations also get corpus BLEU (sacrebleu, its signature in ``note``; 0 to 100), with the
    interval of the jackknife over examples. ``unscored`` counts examples without a score, ``empty``
    answers that are blank, ``at_bound`` generated ones that the bound of tokens cut off; null where
    ``answers`` does not say. ``parameters`` adds the models' sizes by name.
    """
    require_columns(answers, ["example_id", "model", "metric", "score"], "answers")
    keys = [c for c in ("task", "group", "metric", *MODEL) if c in answers or c == "group"]
    if "group" not in answers:
        groups = examples.set_index("example_id")["group"]
        answers = answers.assign(group=answers["example_id"].map(groups))
    rows = []
    for key, part in answers.groupby(keys, dropna=False, sort=False):
        row, ends = dict(zip(keys, key, strict=True)), _endings(part)
        scored = part["score"].dropna().to_numpy(float)
        low, high = mean_interval(scored)
        mean = scored.mean() if len(scored) else np.nan
        rows.append({**row, "score": mean, "low": low, "high": high, "examples": len(scored),
                     "unscored": len(part) - len(scored), **ends, "note": None})  # fmt: skip
        if row.get("task") == "translation" and row["metric"] == "exact_match":
            gold = examples.set_index("example_id")["answers"].loc[part["example_id"]].str[0]
            found = _bleu(part["output"].fillna("").tolist(), gold.tolist())
            rows.append({**row, "metric": "bleu", **found, **ends})
    table = pd.DataFrame(rows).astype({c: "Int64" for c in ("empty", "at_bound") if rows})
    return table.assign(parameters=table["model"].map(parameters)) if parameters else table


def _endings(answers: pd.DataFrame) -> dict[str, object]:
    """How many answers are empty, and how many were cut off at the bound of tokens."""
    said = answers["output"].dropna() if "output" in answers else []
    bound = answers["at_bound"].dropna() if "at_bound" in answers else []
    return {"empty": sum(not text.strip() for text in said) if len(said) else pd.NA,
            "at_bound": int(sum(bound)) if len(bound) else pd.NA}  # fmt: skip


def endings(table: pd.DataFrame) -> str:
    """A sentence on how many generated answers of :func:`performance` are empty or cut off."""
    if not {"empty", "at_bound"} <= set(table):
        return "How many answers are empty or cut off at the bound of tokens was not recorded."
    keys = [c for c in ("task", "group", *MODEL) if c in table]
    written = table[table["at_bound"].notna()].drop_duplicates(keys)
    if written.empty:
        return "No answer was generated."
    parts, many = [], written["examples"] + written["unscored"]
    for column, what in (("empty", "empty"), ("at_bound", "cut off at the bound of tokens")):
        share = (written[column] / many).astype(float)
        most = written.loc[share.idxmax()]
        where = f" (most of {most['model']} in {most['group']}: {share.max():.0%})"
        where = where if share.max() else ""
        parts.append(f"{int(written[column].sum()):,} are {what}{where}")
    return f"Of {many.sum():,} generated answers {' and '.join(parts)}."


def example_frequency(taskgrams: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """How often the corpus holds what an example asks (:eq:`eq-frequency`): ``frequency`` = sum of
    C((s^x, s^y)) over its distinct pairs.

    One row per task, group, example_id and n, with ``pairs``; ``exact`` is false where one of the
    counts is not exact, by that column of ``counts``, and null where nothing is known. Raises
    InputError where a pair has no count.
    """
    require_columns(taskgrams, ["example_id", "n", "sx", "sy"], "taskgrams")
    require_columns(counts, ["sx", "sy", "count"], "counts")
    ids = [c for c in ("task", "group", "example_id", "n") if c in taskgrams]
    table = counts[counts["sy"].notna()]
    table = table[table["half"].isna()] if "half" in table else table
    table = table.assign(exact=exactness(table, "counts"))[["sx", "sy", "count", "exact"]]
    table = table.drop_duplicates(["sx", "sy", "count"])
    twice = table.duplicated(["sx", "sy"]).any()
    require(not twice, "counts: a pair has two counts; keep the rows of one unit")
    pairs = taskgrams[[*ids, "sx", "sy"]].drop_duplicates()
    pairs = pairs.merge(table, on=["sx", "sy"], how="left")
    missing = pairs[pairs["count"].isna()]
    first = missing[["sx", "sy"]].head(1).to_numpy().tolist()
    require(missing.empty, f"counts: {len(missing)} pairs without a count, the first {first}")
    groups = pairs.groupby(ids, dropna=False, sort=False)
    out = {"frequency": ("count", "sum"), "pairs": ("count", "size"), "exact": ("exact", "min")}
    return groups.agg(**out).reset_index().astype({"frequency": "int64"})


def binned_performance(
    answers: pd.DataFrame, frequency: pd.DataFrame, bins: int = 5
) -> pd.DataFrame:
    """Performance against example frequency (the paper's first figure), one row per n, model and
    bin of equal count.

    ``frequency`` comes from :func:`example_frequency`. Per bin the median ``frequency`` (and its
    edges), the mean ``score`` and its 95% interval: Wilson's where scores are 0 or 1, else
    Student's over examples. Beside it, over all examples of the model that have a frequency
    (``points``), ``spearman`` with the interval and ``p`` of the jackknife: two-way, by example and
    by output, where ``answers`` has the gold output ``y``. Bins whose edges coincide are joined.
    """
    require_columns(answers, ["example_id", "model", "score"], "answers")
    require_columns(frequency, ["example_id", "frequency"], "frequency")
    require(bins >= 1, f"bins must be at least 1, got {bins}")
    on = ["example_id", *(["task"] if "task" in answers and "task" in frequency else [])]
    joined = answers.dropna(subset=["score"]).merge(frequency, on=on)
    where = f"joined on {', '.join(on)}"
    require(len(joined), f"answers and frequency have no example in common ({where})")
    ids = [c for c in ("task", "group", "n", *MODEL, "metric") if c in joined]
    twice = joined.duplicated([*ids, "example_id"]).any()
    require(not twice, "answers: an example has two answers of one model")
    rows = []
    for key, frame in joined.groupby(ids, dropna=False, sort=False):
        values, names = frame[["frequency", "score"]].to_numpy(float).T, ["frequency", "score"]
        clusters = clusters_of(frame["example_id"], frame.get("y"))
        whole = jackknife(values, [Query("spearman", 0, 1)], clusters, names)[0]
        low, high, p = interval(whole.estimate, whole.changes)
        beside = {"spearman": whole.estimate, "spearman_low": low, "spearman_high": high, "p": p,
                  "points": len(frame)}  # fmt: skip
        number = pd.qcut(frame["frequency"], bins, labels=False, duplicates="drop").fillna(0)
        for bin_, part in frame.groupby(number.to_numpy(int)):
            low, high = mean_interval(part["score"].to_numpy(float))
            counts = part["frequency"]
            rows.append({
                **dict(zip(ids, key, strict=True)), "bin": bin_, "frequency": counts.median(),
                "frequency_low": counts.min(), "frequency_high": counts.max(),
                "score": part["score"].mean(), "low": low, "high": high, "examples": len(part),
                **beside, "reason": whole.reason,
            })
    return pd.DataFrame(rows)


def mean_interval(scores: np.ndarray) -> tuple[float, float]:
    """95% interval of a mean over examples: Wilson's for zeros and ones, else Student's, within the
    scores' range."""
    if not len(scores):
        return np.nan, np.nan
    if np.isin(scores, (0, 1)).all():
        found = stats.binomtest(int(scores.sum()), len(scores)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    found = mean(scores, clusters_of(np.arange(len(scores))))
    low, high, _ = interval(found.estimate, found.changes, correlation=False)
    return max(low, scores.min()), min(high, scores.max())


def _bleu(outputs: list[str], gold: list[str]) -> dict[str, object]:
    """Corpus BLEU; its n-gram matches and lengths are sums over sentences, so that leaving one out
    is a subtraction."""
    from sacrebleu.metrics import BLEU

    metric, single = BLEU(), BLEU(effective_order=True)
    whole = metric.corpus_score(outputs, [gold])
    each = [single.corpus_score([o], [[g]]) for o, g in zip(outputs, gold, strict=True)]
    change = np.array([metric.compute_bleu(
        [a - b for a, b in zip(whole.counts, one.counts, strict=True)],
        [a - b for a, b in zip(whole.totals, one.totals, strict=True)],
        whole.sys_len - one.sys_len, whole.ref_len - one.ref_len,
        metric.smooth_method, metric.smooth_value,
    ).score - whole.score for one in each])
    names = clusters_of(np.arange(len(outputs))).example
    changes = (np.sort(names), change[np.argsort(names)])
    by_example = Changes(changes, changes, changes, two_way=False)
    low, high, _ = interval(whole.score, by_example, correlation=False)
    return {"score": whole.score, "low": max(0.0, low), "high": min(100.0, high),
            "examples": len(outputs), "unscored": 0, "note": str(metric.get_signature())}
