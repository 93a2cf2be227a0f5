"""Checks of a task-gram table: known truth, shuffled pairs, coverage, counts that leak."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from taskgram_utils.embedding import Embedding
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import Query, combined, interval, jackknife, clusters_of
from taskgram_utils.mining import candidates


def holds_truth(pairs: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """bool [pairs]: whether sx and sy hold the two sides of a true pair of their example.

    Each side is held as words that follow each other. ``truth``: example_id, sx, sy (and task,
    where ids recur between tasks), words or n-grams in normalised form.
    """
    require_columns(truth, ["example_id", "sx", "sy"], "truth")
    keys = [c for c in ("task", "example_id") if c in truth.columns]
    known: dict[tuple, list[tuple[str, str]]] = {}
    for *key, sx, sy in truth[[*keys, "sx", "sy"]].itertuples(index=False):
        known.setdefault(tuple(key), []).append((f" {sx} ", f" {sy} "))
    return np.array([
        any(a in f" {sx} " and b in f" {sy} " for a, b in known.get(tuple(key), ()))
        for *key, sx, sy in pairs[[*keys, "sx", "sy"]].itertuples(index=False)
    ], bool)


def precision_recall(pairs: pd.DataFrame, truth, gammas) -> pd.DataFrame:
    """Precision and recall of the pairs above each γ, against a known truth.

    ``pairs``: candidates with their cosine; ``truth``: bool [pairs], whether a pair carries the
    task. Returns gamma, mined, true_mined, precision (null where nothing is mined), recall (of the
    true candidates), f1.

    Raises :class:`~taskgram_utils.errors.InputError` where the two differ in length or no candidate
    is true.
    """
    truth, gammas = np.asarray(truth, bool), np.atleast_1d(np.asarray(gammas, float))
    same = truth.shape == (len(pairs),)
    require(same, f"precision and recall: {len(pairs)} pairs, but truth of shape {truth.shape}")
    require(truth.any(), "precision and recall: no candidate pair is true; check the truth")
    cosine = pairs["cosine"].to_numpy(float)
    mined = len(cosine) - np.searchsorted(np.sort(cosine), gammas, side="right")
    hits = truth.sum() - np.searchsorted(np.sort(cosine[truth]), gammas, side="right")
    return pd.DataFrame({
        "gamma": gammas, "mined": mined, "true_mined": hits,
        "precision": np.divide(hits, mined, out=np.full(len(gammas), np.nan), where=mined > 0),
        "recall": hits / truth.sum(), "f1": 2 * hits / (mined + truth.sum()),
    })


def shuffled_candidates(
    examples: pd.DataFrame, own: pd.DataFrame, n: int, embedding: Embedding, seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """The candidates if every input had the output of another example of its task and group.

    ``own``: the candidates of the examples as they are; a pair that the example holds itself is
    left out. ``options`` go to :func:`taskgram_utils.mining.candidates`; columns and errors as
    there.
    """
    mixed = examples.sample(frac=1, random_state=seed)
    outputs = mixed.groupby(["task", "group"], dropna=False)["y"]
    mixed["y"] = outputs.transform(lambda y: np.roll(y.to_numpy(object), 1))
    pairs = candidates(mixed, n, embedding, **options)
    keys = ["task", "example_id", "sx", "sy"]
    held = pd.MultiIndex.from_frame(pairs[keys]).isin(pd.MultiIndex.from_frame(own[keys]))
    return pairs[~held].reset_index(drop=True)


def coverage(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, examples: pd.DataFrame
) -> pd.DataFrame:
    """How many examples have task-grams, and how many of these the corpus holds, per task and n.

    Returns task, n, examples, with_pairs (share that has a task-gram), pairs_per_example (mean of
    those), distinct_pairs, pair_in_corpus (share of them that some document contains) and
    input_in_corpus (share of the distinct s^x that occur at all). Raises InputError where an n-gram
    is not in the counts.
    """
    whole = counts[counts["half"].isna()]
    pair_count = whole[whole["sy"].notna()].set_index(["sx", "sy"])["count"]
    single_count = whole[whole["sy"].isna()].set_index("sx")["count"]
    size, rows = examples.groupby("task")["example_id"].nunique(), []
    for (task, n), part in taskgrams.groupby(["task", "n"], sort=False):
        distinct = part.drop_duplicates(["sx", "sy"])
        with_pairs = part["example_id"].nunique()
        inputs = single_count.reindex(distinct["sx"].unique())
        joint = pair_count.reindex(pd.MultiIndex.from_frame(distinct[["sx", "sy"]]))
        counted = joint.notna().all() and inputs.notna().all()
        require(counted, f"coverage: n-grams of {task}, n = {n}, are not in the counts")
        rows.append((task, n, size[task], with_pairs / size[task], len(part) / with_pairs,
                     len(distinct), (joint > 0).mean(), (inputs > 0).mean()))
    return pd.DataFrame(rows, columns=["task", "n", "examples", "with_pairs", "pairs_per_example",
                                       "distinct_pairs", "pair_in_corpus", "input_in_corpus"])


def leak(
    pairs: pd.DataFrame, cosines: Sequence[str], by: Sequence[str] = ("task", "group"),
    least: int = 30,
) -> pd.DataFrame:
    """Spearman of cosine and log count over the distinct pairs that some document holds, by group.

    ``pairs``: sx, sy, count and the columns ``cosines``, one per embedding. Rows: ``by``, embedding
    (or ``difference``, the second less the first, where there are two), pairs, estimate, low, high
    (95%; s^x are the clusters, and s^y where those recur). Groups of fewer than ``least`` pairs are
    left out. Raises InputError for a missing column.
    """
    require_columns(pairs, ["sx", "sy", "count", *cosines, *by], "leak")
    held, rows = pairs[pairs["count"] > 0].drop_duplicates([*by, "sx", "sy"]), []
    for key, part in held.groupby(list(by), sort=False):
        if len(part) < least:
            continue
        values = np.stack([part[c].to_numpy(float) for c in cosines] + [np.log(part["count"])])
        queries = [Query("spearman", i, len(cosines)) for i in range(len(cosines))]
        results = jackknife(values, queries, clusters_of(part["sx"], part["sy"]))
        estimates = [(c, *result[:2]) for c, result in zip(cosines, results, strict=True)]
        if len(results) == 2:
            change = results[1].estimate - results[0].estimate
            changes = combined([results[1].changes, results[0].changes], (1, -1))
            estimates.append(("difference", change, changes))
        for name, value, changes in estimates:
            low, high, _ = interval(value, changes, correlation=name != "difference")
            rows.append((*key, name, len(part), value, low, high))
    return pd.DataFrame(rows, columns=[*by, "embedding", "pairs", "estimate", "low", "high"])
