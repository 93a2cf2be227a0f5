"""Looking at a task-gram table before any model does: shuffled pairs, coverage, counts that leak through cosines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from taskgram_utils.embedding import Embedding
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import Ask, combined, interval, jackknife, points_of
from taskgram_utils.mining import candidates


def shuffled_candidates(
    examples: pd.DataFrame, own: pd.DataFrame, n: int, embedding: Embedding, seed: int = 0, **options: Any
) -> pd.DataFrame:
    """The candidates that there would be had every input another output of its task and group.

    ``own``: the candidates of the examples as they are; a pair that the example holds itself is no shuffled pair.
    ``options`` go to :func:`taskgram_utils.mining.candidates`; columns as there.
    """
    mixed = examples.sample(frac=1, random_state=seed)
    mixed["y"] = mixed.groupby(["task", "group"], dropna=False)["y"].transform(lambda y: np.roll(y.to_numpy(object), 1))
    pairs = candidates(mixed, n, embedding, **options)
    keys = ["task", "example_id", "sx", "sy"]
    held = pd.MultiIndex.from_frame(pairs[keys]).isin(pd.MultiIndex.from_frame(own[keys]))
    return pairs[~held].reset_index(drop=True)


def coverage(taskgrams: pd.DataFrame, counts: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """Per task and n: examples, with_pairs (share that has a task-gram), pairs_each (mean of those), distinct pairs,
    stated (share of them that some document holds), known_inputs (share of the distinct s^x that occur at all)."""
    whole = counts[counts["half"].isna()]
    pair = whole[whole["sy"].notna()].set_index(["sx", "sy"])["count"]
    single = whole[whole["sy"].isna()].set_index("sx")["count"]
    size, rows = examples.groupby("task")["example_id"].nunique(), []
    for (task, n), part in taskgrams.groupby(["task", "n"], sort=False):
        distinct = part.drop_duplicates(["sx", "sy"])
        having, inputs = part["example_id"].nunique(), single.reindex(distinct["sx"].unique())
        stated = pair.reindex(pd.MultiIndex.from_frame(distinct[["sx", "sy"]]))
        counted = stated.notna().all() and inputs.notna().all()
        require(counted, f"coverage: n-grams of {task}, n = {n}, are not in the counts")
        rows.append((task, n, size[task], having / size[task], len(part) / having, len(distinct), (stated > 0).mean(),
                     (inputs > 0).mean()))  # fmt: skip
    names = ["task", "n", "examples", "with_pairs", "pairs_each", "distinct", "stated", "known_inputs"]
    return pd.DataFrame(rows, columns=names)


def leak(
    pairs: pd.DataFrame, cosines: Sequence[str], by: Sequence[str] = ("task", "group"), least: int = 30
) -> pd.DataFrame:
    """Spearman of cosine and log count over the distinct pairs of each group that some document holds.

    ``pairs``: sx, sy, count and the columns ``cosines``, one per embedding. Rows: ``by``, embedding (or ``difference``,
    the second less the first, where there are two), pairs, estimate, low, high (95%; s^x are the clusters, and s^y
    where those recur). Groups of fewer than ``least`` pairs are left out.
    """
    require_columns(pairs, ["sx", "sy", "count", *cosines, *by], "leak")
    rows = []
    for key, part in pairs[pairs["count"] > 0].drop_duplicates([*by, "sx", "sy"]).groupby(list(by), sort=False):
        if len(part) < least:
            continue
        values = np.stack([part[c].to_numpy(float) for c in cosines] + [np.log(part["count"])])
        asks = [Ask("spearman", i, len(cosines)) for i in range(len(cosines))]
        found = jackknife(values, asks, points_of(part["sx"], part["sy"]), [*cosines, "log count"])
        rows += [(*key, name, len(part), one.estimate, *interval(one.estimate, one.left)[:2])
                 for name, one in zip(cosines, found, strict=True)]  # fmt: skip
        if len(found) == 2:
            change = found[1].estimate - found[0].estimate
            left = combined([found[1].left, found[0].left], (1, -1))
            rows.append((*key, "difference", len(part), change, *interval(change, left, correlation=False)[:2]))
    return pd.DataFrame(rows, columns=[*by, "embedding", "pairs", "estimate", "low", "high"])
