"""The effect of counts: the same facts in worlds that state them more or less often."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml

from taskgram_chapters.numbers import number, short
from taskgram_chapters.verdicts import NAMES, answer, with_noise
from taskgram_utils import figures
from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import require
from taskgram_utils.jackknife import (
    Changes, Clusters, Query, Result, clusters_of, combined, interval, jackknife,
)
from taskgram_utils.miniature.words import QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import normalize
from taskgram_utils.run.store import Run, project_root
from taskgram_utils.statistics import holm

MAIN, TWINS, RESEEDS = "main", ("twin1", "twin2"), ("reseed3", "reseed4", "reseed5")
POPULATIONS = ("all", "undisputed", "disputed")
KINDS = {"all": "all facts", "undisputed": "documents agree", "disputed": "documents disagree"}
"""Populations of facts in words."""
CHANNELS = ("share", "statements", "subject", "value")
"""What the count of a pair rests on, and what stands beside it (eq-channels)."""
BINS = 8
_KEYS = ["model", "world", "population", "channel"]


def preregistered() -> dict:
    """``book/cause_expectations.yaml``: what was expected before any twin was scored."""
    path = project_root() / "book" / "cause_expectations.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- cells and their counts ----------------------------------------------------------------------


def cells(worlds: Sequence[World]) -> pd.DataFrame:
    """Every (fact, value) that at least one of the worlds states, of facts that no document asks:
    example_id, fact, person, value, disputed, and the question (instruction, x, y)."""
    facts = pd.concat([world.facts() for world in worlds]).query("not asked")
    table = facts.drop_duplicates(["fact", "value"]).sort_values(["fact", "role"])
    questions = [QUESTIONS[relation][0].replace("{p}", person)
                 for relation, person in zip(table["relation"], table["person"], strict=True)]
    return pd.DataFrame({
        "example_id": table["fact"].astype(str) + " " + table["value"], "fact": table["fact"],
        "person": table["person"], "value": table["value"], "disputed": table["disputed"],
        "instruction": prompt("factual_qa", 0), "x": questions, "y": " " + table["value"],
    }).reset_index(drop=True)


def counted(table: pd.DataFrame, corpus: Path) -> pd.DataFrame:
    """Documents of a corpus with the person and the value (``pair``), with the person
    (``subject``) and with the value (``value``), for each of :func:`cells`."""
    sides = [table[side].map(normalize) for side in ("person", "value")]
    pairs = list(zip(*sides, strict=True))
    counts = count_table(ScanCounter(Corpus(corpus)), pairs=pairs, singles=True)
    joint = counts.dropna(subset="sy").set_index(["sx", "sy"])["count"]
    single = counts[counts["sy"].isna()].set_index("sx")["count"]
    return pd.DataFrame({"pair": joint.loc[pairs].to_numpy(), "subject": sides[0].map(single),
                         "value": sides[1].map(single)})


def channels(table: pd.DataFrame, world: str) -> pd.DataFrame:
    """The logarithms of a world's counts, a half added to each (eq-channels): ``pair``, and its
    parts ``share`` and ``statements``; ``subject`` and ``value`` are documents with the one side
    that state another fact; ``ratio`` is log C(pair) / C(s^x), as in the task-gram LM. ``table``
    has pair_WORLD, subject_WORLD, value_WORLD."""
    pair, subject, value = (table[f"{side}_{world}"] for side in ("pair", "subject", "value"))
    stated = pair.groupby(table["fact"]).transform("sum")
    logs = {"pair": pair, "statements": stated, "subject": subject - stated, "value": value - pair,
            "whole": subject}
    out = pd.DataFrame(logs).add(0.5).transform(np.log)
    return out.assign(share=out["pair"] - out["statements"], ratio=out["pair"] - out.pop("whole"))


# --- regressions ---------------------------------------------------------------------------------


def of_sums(moments: np.ndarray, statistic: Callable, clusters: Clusters) -> list[Result]:
    """The K statistics that ``statistic`` [..., M] -> [..., K] makes of the sums of ``moments``
    [N, M] over all points, and how they change when a cluster is left out."""
    total, changes = moments.sum(axis=0), []
    whole = statistic(total)
    for labels in clusters[:3]:
        keys, codes = np.unique(labels, return_inverse=True)
        parts = np.zeros((len(keys), moments.shape[1]))
        np.add.at(parts, codes, moments)
        changes.append((keys, (statistic(total - parts) - whole).T))
    return [Result(float(value), Changes(*((keys, change[k]) for keys, change in changes),
                                         clusters.two_way), None)
            for k, value in enumerate(whole)]


def least_squares(
    y: np.ndarray, x: np.ndarray, clusters: Clusters, groups: np.ndarray | None = None
) -> list[Result]:
    """Coefficients of y [N] on the columns of x [N, K], with an intercept for each of ``groups``
    [N], and R², the share of the variance within groups that x takes up: K + 1 results.

    Raises InputError for a column that does not vary within any group.
    """
    groups = np.zeros(len(y), int) if groups is None else pd.factorize(groups)[0]
    within = pd.DataFrame(np.column_stack([x, y])).groupby(groups).transform(lambda c: c - c.mean())
    require((within.std() > 1e-12).all(), "least_squares: a column does not vary within its group")
    # Sums of 1, of each column and of each product, for each group: all that least squares needs.
    columns = within.to_numpy()
    size, k = columns.shape[1], x.shape[1]
    products = (columns[:, :, None] * columns[:, None, :]).reshape(len(y), -1)
    moments = np.column_stack([np.ones(len(y)), columns, products])
    places = np.eye(groups.max() + 1)[groups]
    moments = (places[:, :, None] * moments[:, None, :]).reshape(len(y), -1)

    def solve(sums: np.ndarray) -> np.ndarray:
        by_group = sums.reshape(*sums.shape[:-1], places.shape[1], -1)
        many, first = by_group[..., :1], by_group[..., 1 : 1 + size]
        second = by_group[..., 1 + size :].reshape(*by_group.shape[:-1], size, size)
        outer = first[..., :, None] * first[..., None, :] / np.maximum(many, 1)[..., None]
        matrix = (second - outer).sum(axis=-3)
        slope = np.linalg.solve(matrix[..., :k, :k], matrix[..., :k, k:])
        taken = (matrix[..., k:, :k] @ slope)[..., 0, 0] / matrix[..., k, k]
        return np.concatenate([slope[..., 0], taken[..., None]], axis=-1)

    return of_sums(moments, solve, clusters)


def changes(table: pd.DataFrame, model: str, world: str) -> pd.DataFrame:
    """First differences of every cell: ``logp`` (nats) and ``p`` of a model of another training
    less those of the main one, the change of each of :func:`channels`, that of ``pair`` in
    ``doublings`` too, and ``pairing``, what was compared.

    ``world``: ``twins``, each with its own counts; or ``reseed``, where each reseed, which has read
    the main world, stands in the place of either twin.
    """
    main, parts = channels(table, MAIN), []
    for twin, other in pairings(table, model, world):
        after, before = (table[f"logp_{model}_{name}"] for name in (other, MAIN))
        change = channels(table, twin) - main
        parts.append(change.assign(
            logp=after - before, p=np.exp(after) - np.exp(before), pairing=f"{twin} {other}",
            doublings=change["pair"] / np.log(2), fact=table["fact"], value_name=table["value"],
            disputed=table["disputed"]))
    require(parts, f"cause: no {world} of {model} was scored")
    return pd.concat(parts, ignore_index=True)


def pairings(table: pd.DataFrame, model: str, world: str) -> list[tuple[str, str]]:
    """Whose counts, and whose log P, are compared with the main model's."""
    others = TWINS if world == "twins" else RESEEDS
    there = [other for other in others if f"logp_{model}_{other}" in table]
    return [(t, o) for t in TWINS for o in there if world == "reseed" or t == o]


def of_population(table: pd.DataFrame, population: str) -> pd.DataFrame:
    """The rows of ``all``, ``undisputed`` or ``disputed`` facts."""
    every = population == "all"
    return table if every else table[table["disputed"] == (population == "disputed")]


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """The regression of eq-cause for every model, world (``twins``, ``reseed``), population and
    channel: estimate (a slope of logs) with 95% interval, p and the number n of differences.

    ``pair`` is alone in its regression, with ``r2`` beside it; the other channels are together in
    another. A channel that does not vary (the share of undisputed facts) has no estimate.
    """
    parts = [_slopes(changes(table, model, world)).assign(model=model, world=world)
             for model in models_of(table) for world in ("twins", "reseed")]
    found = pd.concat(parts, ignore_index=True)
    return found[[*_KEYS, *(c for c in found if c not in _KEYS)]]


def training_noise(table: pd.DataFrame) -> pd.DataFrame:
    """The noise of training in the slopes of :func:`effects` (eq-noise), nats per nat, for each
    population and channel: the root mean square, over sizes and reseeds, of the slope of a reseed's
    changes, whose true value is 0; ``trainings``: how many reseeds it is from. It is that of a
    difference of two trainings."""
    slopes = []
    for model in models_of(table):
        for twin, reseed in pairings(table, model, "reseed"):
            rest = [c for c in table if c.startswith(f"logp_{model}_") and
                    c not in (f"logp_{model}_{MAIN}", f"logp_{model}_{reseed}")]
            alone = changes(table.drop(columns=rest), model, "reseed")
            alone = alone[alone["pairing"] == f"{twin} {reseed}"]
            slopes.append(_slopes(alone).assign(training=f"{model} {reseed}"))
    every = pd.concat(slopes).dropna(subset="estimate")
    kinds = every.assign(square=every["estimate"] ** 2).groupby(_KEYS[2:], sort=False)
    found = kinds.agg(noise=("square", "mean"), trainings=("training", "nunique"))
    return found.assign(noise=np.sqrt(found["noise"])).reset_index()


def _slopes(difference: pd.DataFrame) -> pd.DataFrame:
    """The two regressions of :func:`effects`, within each population."""
    rows = []
    for population in POPULATIONS:
        part = of_population(difference, population)
        clusters = clusters_of(part["fact"], part["value_name"])
        for names in (("pair",), CHANNELS):
            able = [name for name in names if part[name].std() > 1e-12]
            results = least_squares(part["logp"].to_numpy(), part[able].to_numpy(), clusters,
                                    part["pairing"])
            found = dict(zip(able, results, strict=False))
            rows += [{"population": population, "channel": name, **estimated(found.get(name)),
                      "n": len(part), "r2": results[-1].estimate} for name in names]
    return pd.DataFrame(rows)


def models_of(table: pd.DataFrame) -> list[str]:
    """The models whose log P a table has, in its order."""
    names = [c.split("_")[1] for c in table if c.startswith("logp_") and c.endswith(f"_{MAIN}")]
    require(names, f"cause: no column logp_MODEL_{MAIN}")
    return names


def estimated(result: Result | None, correlation: bool = False) -> dict[str, float]:
    """Estimate, interval and p of a result."""
    if result is None:
        return dict.fromkeys(("estimate", "low", "high", "p"), np.nan)
    bounds = interval(result.estimate, result.changes, correlation)
    return dict(zip(("estimate", "low", "high", "p"), (result.estimate, *bounds), strict=True))


# --- what stands beside them ---------------------------------------------------------------------


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """log P of each model on the log counts of all worlds at once, within undisputed and within
    disputed facts: what a model follows of counts that it has not read (eq-matrix)."""
    logs = {world: channels(table, world)["pair"] for world in (MAIN, *TWINS)}
    counts, rows = pd.DataFrame(logs), []
    for model in models_of(table):
        for read in (MAIN, *TWINS, *RESEEDS):
            if f"logp_{model}_{read}" not in table:
                continue
            for population in POPULATIONS[1:]:
                part = of_population(table, population)
                clusters = clusters_of(part["fact"], part["value"])
                logp = part[f"logp_{model}_{read}"].to_numpy()
                results = least_squares(logp, counts.loc[part.index].to_numpy(), clusters)
                for world, result in zip(counts, results, strict=False):
                    rows.append({"model": model, "read": read, "population": population,
                                 "counts": world, **estimated(result), "n": len(part)})
    return pd.DataFrame(rows)


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """What a correlation says of the same cells, for each model and population.

    ``across``: slope of the main model's log P on log counts over facts (nats per nat);
    ``within``: the slope of :func:`effects`; ``mem``: Spearman of the main model's log P and
    log (C(pair) / C(subject)), and ``mem of changes`` of their changes between worlds; ``r2``: the
    share of the variance of changes that the change of C(pair) takes up, and ``explainable``: 1 -
    variance of the change by reseeding / by the twins; ``doubling``: the change of the probability
    of the value, in percentage points, for a doubling of C(pair).
    """
    rows, main = [], channels(table, MAIN)
    for model, population in _each(table):
        part = of_population(table, population)
        own, logp = main.loc[part.index], part[f"logp_{model}_{MAIN}"].to_numpy()
        single = clusters_of(part["fact"], part["value"])
        twins = of_population(changes(table, model, "twins"), population)
        both = clusters_of(twins["fact"], twins["value_name"])
        change = twins[["logp", "ratio"]].to_numpy().T
        slope = least_squares(twins["logp"].to_numpy(), twins[["pair"]].to_numpy(), both,
                              twins["pairing"])
        level = np.stack([logp, own["ratio"].to_numpy()])
        rank = [Query("spearman", 0, 1)]
        found = {
            "across": (least_squares(logp, own[["pair"]].to_numpy(), single)[0], False, len(part)),
            "within": (slope[0], False, len(twins)),
            "mem": (jackknife(level, rank, single)[0], True, len(part)),
            "mem of changes": (jackknife(change, rank, both)[0], True, len(twins)),
            "r2": (slope[1], False, len(twins)),
            "doubling": (least_squares(100 * twins["p"].to_numpy(), twins[["doublings"]].to_numpy(),
                                       both, twins["pairing"])[0], False, len(twins)),
        }
        if pairings(table, model, "reseed"):
            found["explainable"] = (explainable(part, model), False, len(part))
        rows += [{"model": model, "population": population, "measure": name, "n": n,
                  **estimated(result, correlation)}
                 for name, (result, correlation, n) in found.items()]
    return pd.DataFrame(rows)


def _each(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    return ((model, population) for model in models_of(table) for population in POPULATIONS)


def explainable(part: pd.DataFrame, model: str, keys: Sequence[str] = ("fact", "value")) -> Result:
    """1 - variance of the change of log P by reseeding / variance of that by the twins: the share
    of the twins' changes that another world can explain, since a reseed changes chance alone.
    ``keys``: the columns with the example and, where outputs recur, the output."""
    main = part[f"logp_{model}_{MAIN}"]
    groups = [[part[f"logp_{model}_{other}"] - main for other in others
               if f"logp_{model}_{other}" in part] for others in (TWINS, RESEEDS)]
    require(all(groups), f"cause: {model} lacks a twin or a reseed")
    ends = np.cumsum([0, *map(len, groups)])
    every = np.stack([*groups[0], *groups[1]], axis=1)
    moments = np.column_stack([np.ones(len(part)), every, every**2])
    clusters = clusters_of(*(part[key] for key in keys))

    def share(sums: np.ndarray) -> np.ndarray:
        first, second = np.split(sums[..., 1:] / sums[..., :1], 2, axis=-1)
        variance = second - first**2
        twins, reseeds = (variance[..., a:b].mean(axis=-1) for a, b in pairwise(ends))
        return (1 - reseeds / twins)[..., None]

    return of_sums(moments, share, clusters)[0]


def doses(table: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """Mean change of log P in ``bins`` of equal size by the change of log C(pair), for each model,
    population and pairing, with 95% interval by fact and value. The intercept of each pairing, its
    mean change, is taken out."""
    rows = []
    for model in models_of(table):
        for world in ("twins", "reseed"):
            difference = changes(table, model, world)
            for population in POPULATIONS[1:]:
                part = of_population(difference, population)
                for pairing, own in part.groupby("pairing", sort=False):
                    if world == "reseed" and not pairing.startswith(TWINS[0]):
                        continue  # a reseed has one change of log P, whatever twin it stands for
                    place = pd.qcut(own["pair"].rank(method="first"), bins, labels=False)
                    centred = own["logp"] - own["logp"].mean()
                    for k, group in own.assign(logp=centred).groupby(place.to_numpy()):
                        clusters = clusters_of(group["fact"], group["value_name"])
                        ones = np.column_stack([np.ones(len(group)), group["logp"]])
                        mean = of_sums(ones, lambda s: s[..., 1:] / s[..., :1], clusters)[0]
                        rows.append({"model": model, "population": population, "world": world,
                                     "compared": pairing.split()[1], "bin": k,
                                     "change of log C": group["pair"].mean(),
                                     "change of log P": mean.estimate,
                                     **{c: estimated(mean)[c] for c in ("low", "high")},
                                     "n": len(group)})
    return pd.DataFrame(rows)


def dose_figure(table: pd.DataFrame, name: str, run: Run | None = None) -> plt.Figure:
    """The dose–response of :func:`doses`: twins in colour, reseeds in grey."""
    names = table["compared"].str.replace(r"(\d)", r" \1", regex=True)
    kinds = table["model"].str.upper() + ", " + table["population"].map(KINDS)
    table = table.assign(which=kinds, compared=names, grey=table["world"] != "twins")
    return figures.lines(table, "change of log C", "change of log P", name, run, hue="compared",
                         panel="which", at=0, columns=2)


def sizes(table: pd.DataFrame, parameters: Mapping[str, int]) -> pd.DataFrame:
    """Least-squares slope of the effect of ``pair`` on log10 of the ``parameters`` of the models,
    for each world and population: nats per nat per tenfold size, with 95% interval, p and the
    number n of models."""
    names, rows = models_of(table), []
    log = np.log10([parameters[name] for name in names])
    weights = (log - log.mean()) / ((log - log.mean()) ** 2).sum()
    for world in ("twins", "reseed"):
        of_models = [changes(table, name, world) for name in names]
        for population in POPULATIONS:
            parts = [of_population(part, population) for part in of_models]
            found = [least_squares(part["logp"].to_numpy(), part[["pair"]].to_numpy(),
                                   clusters_of(part["fact"], part["value_name"]),
                                   part["pairing"])[0] for part in parts]
            line = Result(float(weights @ [one.estimate for one in found]),
                          combined([one.changes for one in found], weights), None)
            rows.append({"world": world, "population": population, **estimated(line),
                         "spread": 1 / np.sqrt((weights**2).sum()), "n": len(names)})
    return pd.DataFrame(rows)


def answers(tables: Mapping[str, pd.DataFrame], expected: Mapping) -> pd.DataFrame:
    """What else was preregistered, line by line: what, expected, what was found in words, and the
    answer, of several numbers one verdict (:func:`taskgram_chapters.verdicts.verdict`).

    ``tables``: sizes, noise, matrix, beside and tasks, as recorded. The share of a task's changes
    that a world explains is asked one way alone, since below zero it is no effect.
    """
    bounds, rows = expected["bounds"], []
    noise = tables["noise"].query("channel == 'pair'").set_index("population")
    s = noise["noise"] * np.sqrt((1 + 1 / len(TWINS)) / 2)
    by_size = tables["sizes"].query("world == 'twins'").set_index("population")
    for line in expected["sizes"]:
        row, way = by_size.loc[line["population"]], {"rises": "positive", "falls": "negative"}
        ends = with_noise(*row[["estimate", "low", "high"]], np.inf,
                          s[line["population"]] / row["spread"], False,
                          noise.loc[line["population"], "trainings"])[:2]
        text = f"{number(row['estimate'], *ends)} per tenfold size"
        rows.append((f"slope where {KINDS[line['population']]}, with size", line["expected"], text,
                     answer(way[line["expected"]], *ends, bounds["slope"])))
    matrix, across = tables["matrix"], tables["beside"].query("population != 'all'")
    read = matrix["read"].where(~matrix["read"].isin(RESEEDS), MAIN)
    for line in expected["matrix"]:
        part = matrix[(matrix["counts"] == read) == (line["of"] == "own world")]
        rows.append((f"log P on the counts of {line['of']}", line["expected"],
                     *_several(part, line["expected"], bounds["slope"])))
    part = across.query("measure == 'across'")
    within = across.query("measure == 'within'").set_index(["model", "population"])["estimate"]
    signs = within.loc[list(zip(part["model"], part["population"], strict=True))]
    ways = np.where(signs > 0, "positive", "negative")
    expected_sign = expected["across"][0]["expected"]
    rows.append(("slope across facts", expected_sign, *_several(part, ways, bounds["slope"])))
    for line in expected["other_tasks"]:
        part = tables["tasks"][tables["tasks"]["task"] == line["task"]]
        part = part.assign(low=part["low"].clip(lower=-bounds["correlation"]))
        rows.append((f"{NAMES[line['task']]}: share that the world explains", line["expected"],
                     *_several(part, "none", bounds["correlation"])))
    return pd.DataFrame(rows, columns=["what", "expected", "found", "answer"])


def _several(part: pd.DataFrame, expected: str | np.ndarray, bound: float) -> tuple[str, str]:
    """The range of estimates, and how many intervals give each answer, in words."""
    ways = np.broadcast_to(expected, len(part))
    given = [answer(str(way), *ends, bound) for way, ends in
             zip(ways, part[["low", "high"]].to_numpy(), strict=True)]
    kinds = ", ".join(f"{kind} in {k}" for kind, k in pd.Series(given).value_counts().items())
    span = f"{short(part['estimate'].min())} to {short(part['estimate'].max())}"
    return span, f"{kinds} of {len(part)}"


def compared(
    found: pd.DataFrame, noise: pd.DataFrame, expected: Mapping, cells: pd.DataFrame
) -> pd.DataFrame:
    """Every preregistered effect beside the one found, model by model, with the ends of its
    interval with training noise (``low_with_noise``, ``high_with_noise``), Holm's p over all of
    them (``p_holm``), and the answer (:func:`taskgram_chapters.verdicts.answer`)."""
    lines = pd.DataFrame(expected["effects"])
    table = found.merge(lines, on=_KEYS[1:]).merge(noise, on=_KEYS[2:])
    several = np.array([len({other for _, other in pairings(cells, model, world)})
                        for model, world in zip(table["model"], table["world"], strict=True)])
    shared = np.sqrt((1 + 1 / several) / 2)  # several trainings are compared with one
    ends = with_noise(*(table[c] for c in ("estimate", "low", "high")), np.inf,
                      table["noise"] * shared, False, table["trainings"])
    table = table.assign(low_with_noise=ends[0], high_with_noise=ends[1], p_holm=holm(ends[2]))
    bounds = table[["expected", "low_with_noise", "high_with_noise"]].to_numpy()
    return table.assign(answer=[answer(*row, expected["bounds"]["slope"]) for row in bounds])
