"""What no document holds of what models wrote, and which examples stand in the text word for word.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Counter
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import clusters_of, combined, interval, mean
from taskgram_utils.memorization import Estimates, contrasts, estimates
from taskgram_utils.ngrams import ngrams, words
from taskgram_utils.performance import MODEL

SIZES = tuple(range(1, 9))
OVERLAP_SIZES = (8, 14)
"""The n of the paper's decontamination."""


class _Numbers(dict):
    """Texts or pairs, each distinct one with its number."""

    def __missing__(self, key):
        self[key] = len(self)
        return self[key]


def novelty(
    outputs: pd.DataFrame, counter: Counter, sizes: Sequence[int] = SIZES,
    taskgrams: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """How much of each output no document holds: ``ngrams``, its distinct word n-grams, and
    ``new_ngrams``, those with C = 0; one row for each output and n (:eq:`eq-novelty`).

    ``outputs``: example_id, output and, where it has them, task, model, run, seed, step; rows that
    repeat an output (one for each metric) count once, null outputs are left out. With ``taskgrams``
    (example_id, n, sx, sy) also ``pairs``, the distinct pairs of one of the example's s^x with an
    n-gram of the output that is another, and ``new_pairs``, those that no document holds together;
    null at an n that the table lacks. ``exact``: whether the counts are. One pass counts all.
    Raises InputError for missing columns, two outputs of a model for an example, an n below 1, and
    where no output is text.
    """
    require_columns(outputs, ["example_id", "output"], "outputs")
    keys = [c for c in ("task", "example_id", *MODEL) if c in outputs]
    known = outputs.dropna(subset="output").drop_duplicates([*keys, "output"])
    require(len(known), "outputs: no output is text")
    twice = known.loc[known.duplicated(keys), "example_id"].tolist()
    require(not twice, f"outputs: example {twice[:1]} has two outputs by {', '.join(keys)}")
    inputs = _inputs(taskgrams)
    grams, pairs, rows = _Numbers(), _Numbers(), []
    for example, text in zip(known["example_id"].astype(str), known["output"], strict=True):
        tokens = words(text)
        for n in sizes:
            own = list(dict.fromkeys(ngrams(tokens, n)))
            both = [(x, y) for x in inputs.get((example, n), ()) for y in own if x != y]
            rows.append(([grams[gram] for gram in own], [pairs[pair] for pair in both]))
    counts = counter.counts(list(grams), list(pairs))
    table = known[keys].iloc[np.repeat(np.arange(len(known)), len(sizes))].reset_index(drop=True)
    table["n"] = np.tile(np.array(sizes, int), len(known))
    for name, found, of in zip(("ngrams", "pairs"), counts, zip(*rows, strict=True), strict=False):
        table[name] = [len(row) for row in of]
        table[f"new_{name}"] = [int((found[row] == 0).sum()) if row else 0 for row in of]
    if taskgrams is None:
        table = table.drop(columns=["pairs", "new_pairs"])
    else:
        names = ["pairs", "new_pairs"]
        table[names] = table[names].astype("Int64").mask(~table["n"].isin(taskgrams["n"]))
    return table.assign(exact=counter.exact and not counter.unspaced)


def _inputs(taskgrams: pd.DataFrame | None) -> dict[tuple[str, int], list[str]]:
    """The distinct s^x of each example and n."""
    if taskgrams is None:
        return {}
    require_columns(taskgrams, ["example_id", "n", "sx"], "taskgrams")
    table = taskgrams.astype({"example_id": str})[["example_id", "n", "sx"]].drop_duplicates()
    return table.groupby(["example_id", "n"])["sx"].agg(list).to_dict()


def overlap(
    examples: pd.DataFrame, counter: Counter, sizes: Sequence[int] = OVERLAP_SIZES
) -> pd.DataFrame:
    """Which examples' inputs stand in the corpus word for word; one row for each example and n.

    ``ngrams``: distinct word n-grams of x (of an x of fewer words, all its words as one), ``found``
    those that some document holds, ``overlaps`` whether any is. Raises InputError for missing
    columns, an x that is null and an n below 1.
    """
    require_columns(examples, ["example_id", "x"], "examples")
    missing = examples.loc[examples["x"].isna(), "example_id"].tolist()
    require(not missing, f"examples: example {missing[:1]} has no x")
    numbers, rows = _Numbers(), []
    for text in examples["x"]:
        tokens = words(text)
        for n in sizes:
            own = ngrams(tokens, n) or [" ".join(tokens)] * bool(tokens)
            rows.append([numbers[gram] for gram in dict.fromkeys(own)])
    counts = counter.count(list(numbers))
    keys = [c for c in ("task", "group", "example_id") if c in examples]
    table = examples[keys].iloc[np.repeat(np.arange(len(examples)), len(sizes))]
    table = table.reset_index(drop=True)
    table["n"] = np.tile(np.array(sizes, int), len(examples))
    table["ngrams"] = [len(row) for row in rows]
    table["found"] = [int((counts[row] > 0).sum()) if row else 0 for row in rows]
    return table.assign(overlaps=table["found"] > 0, exact=counter.exact and not counter.unspaced)


# --- estimates with and without the examples that overlap -----------------------------------------


def mem_without(flags: pd.DataFrame, count_model: pd.DataFrame, model: pd.DataFrame, **options
                ) -> pd.DataFrame:
    """Mem of all examples, of those whose inputs do not overlap, and the difference of the two, for
    each n of ``flags`` (a table of :func:`overlap`; its n is in the column ``overlap_n``).

    The other arguments are those of :func:`taskgram_utils.memorization.estimates`. The interval of
    a difference is that of both changes when a cluster is left out. Raises InputErrors as it does.
    """
    every, parts = estimates(count_model, model, **options), []
    for n, chosen in _kept(flags):
        rest = chosen(count_model)
        if rest.empty or len(rest) == len(count_model):
            parts.append(every.table.assign(overlap_n=n, examples_are="all"))
            continue
        less = estimates(rest, model, **options)
        sides = [side.table.assign(run=name) for side, name in ((every, "all"), (less, "without"))]
        both = Estimates(pd.concat(sides, ignore_index=True), every.replicates + less.replicates)
        change = contrasts(both, "run", "without", "all").table
        tables = [side.assign(examples_are=side.pop("run")) for side in (*sides, change)]
        parts.append(pd.concat(tables, ignore_index=True).assign(overlap_n=n))
    return pd.concat(parts, ignore_index=True)


def score_without(flags: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Mean score (0 to 1) of all answers, of those to examples that do not overlap, and the
    difference, by task, group, metric and model, as :func:`mem_without`; examples are clusters."""
    keys = [c for c in ("task", "group", "metric", *MODEL) if c in answers]
    require_columns(answers, ["example_id", "model", "score"], "answers")
    scored, rows = answers.dropna(subset="score"), []
    for n, chosen in _kept(flags):
        for key, part in scored.groupby(keys, dropna=False, sort=False):
            frames = {"all": part, "without": chosen(part)}
            found = {name: mean(frame["score"].to_numpy(float), clusters_of(frame["example_id"]))
                     for name, frame in frames.items() if len(frame)}
            results = {name: (one.estimate, one.changes) for name, one in found.items()}
            if len(found) == 2:
                change = combined([found["without"].changes, found["all"].changes], (1, -1))
                difference = found["without"].estimate - found["all"].estimate
                results["without - all"] = difference, change
            for name, (estimate, changes) in results.items():
                low, high, _ = interval(estimate, changes, correlation=False)
                rows.append({**dict(zip(keys, key, strict=True)), "overlap_n": n,
                             "examples_are": name, "estimate": estimate, "low": low, "high": high,
                             "examples": len(frames["without" if "without" in name else "all"])})
    return pd.DataFrame(rows)


def _kept(flags: pd.DataFrame) -> list[tuple[int, Callable[[pd.DataFrame], pd.DataFrame]]]:
    """For each n of :func:`overlap`, what leaves out of a table the examples that overlap."""
    require_columns(flags, ["example_id", "n", "overlaps"], "overlap")
    out = []
    for n, part in flags.groupby("n"):
        ids = set(part.loc[part["overlaps"], "example_id"].astype(str))
        out.append((n, lambda table, ids=ids: table[~table["example_id"].astype(str).isin(ids)]))
    return out
