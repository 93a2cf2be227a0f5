"""The page *Explore*: single points of a run, with the counts, documents and models behind them."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pandas as pd

from taskgram_chapters.numbers import number
from taskgram_chapters.verdicts import barred, precision
from taskgram_utils.counting.evidence import places
from taskgram_utils.counting.index import Index
from taskgram_utils.memorization import points
from taskgram_utils.run.pipeline import (
    at_last_step, counter, family, main_model, models, sizes_in_parameters, tasks_of, truth_known,
)
from taskgram_utils.run.store import Run, project_root
from taskgram_utils.tasks.base import task

FAMILY = ["task", "group", "n"]
INPUT, OUTPUT = 1, 2
"""What a mark is of: the input n-gram, the output n-gram; their sum where both overlap."""
_GAP = " … "
Mark = tuple[int, int, int]


def of_run(run: Run, **options: int) -> dict[str, Any]:
    """:func:`explore_data` of a run, with the same options; documents come from its index, or from
    what counts for the run where that is no text."""
    grams, mem = run.table("taskgrams"), at_last_step(run.table("memorization"))
    mem = mem[(mem["measure"] == "spearman") & (mem["count_model"] == "taskgram")]
    truth = run.table("true_pairs") if truth_known(run) else None
    tables = {name: run.table(name) for name in ("evaluated", "counts", "taskgram_lm")}
    tables |= {"taskgrams": grams, "scores": at_last_step(run.table("scores"))}
    why, least = barred(mem, precision(grams, run.table("gammas"), truth)), run["min_examples"]
    why = why.mask(mem["examples"] < least, f"fewer than {least} examples")
    tables["mem"] = mem.assign(barred=why)
    sizes, by_size = sizes_in_parameters(run), family(run)
    named = [{"name": name, "parameters": sizes[name], "by_size": name in by_size}
             for name in models(run)]
    titles = {name: task(name).title for name in tasks_of(run)}
    source = Index(run.path("index")) if run["backend"] == "scan" else counter(run)
    main = models(run).index(main_model(run))
    return explore_data(tables, named, source.documents_with, titles, main, **options)


def explore_data(
    tables: Mapping[str, pd.DataFrame], named: list[dict],
    documents_with: Callable[[str, str, int], list[str]], titles: Mapping[str, str], main: int,
    examples: int = 40, pairs: int = 5, documents: int = 2, cloud: int = 400, seed: int = 0,
) -> dict[str, Any]:
    """What the page shows, fit for JSON: a sample of each task, the same for the same ``seed``.

    ``tables``: evaluated, taskgrams, counts, taskgram_lm, scores (last steps) and mem (a row per
    family and model, with ``barred``). ``named``: the models in order, with name, parameters and
    by_size; ``main`` is the place of the largest. ``documents_with(sx, sy, k)`` gives k documents
    that contain both. ``titles``: the tasks and their titles.

    Of each task: so many ``examples`` with a point, drawn from its groups in turn, an eighth of
    them from those with an output that never occurs together with its inputs; of each example the
    ``pairs`` of each n with the highest cosine, and one that no document contains; of each pair so
    many ``documents``. A ``cloud`` is at most so many points of one task, group and n (the points
    of one Mem). Positions are per mille of all points that have a lower log P, ties counted half.
    """
    names, counts = [model["name"] for model in named], tables["counts"]
    known = positioned(points(tables["taskgram_lm"], tables["scores"]), names)
    clouds = _clouds(known, tables["mem"], names, cloud, seed)
    point_of = {(*key, sy, sx): point for *key, sy, sx, point in zip(
        known["task"], known["example_id"], known["n"], known["sy"], known["sx"],
        known.to_dict("records"), strict=True)}
    whole = counts[counts["half"].isna()]
    count_of = dict(zip(zip(whole["sx"], whole["sy"].fillna(""), strict=True),
                        zip(whole["count"], whole["exact"], strict=True), strict=True))
    texts: dict[str, int] = {}

    def pair_of(row: Any) -> dict:
        counted = [count_of[key] for key in ((row.sx, row.sy), (row.sx, ""), (row.sy, ""))]
        found = documents_with(row.sx, row.sy, documents) if counted[0][0] else []
        parts = [excerpt(text, row.sx, row.sy) for text in found]
        key = (row.task, row.example_id, row.n, row.sy)
        point = point_of.get((*key, "")) or point_of.get((*key, row.sx))
        return {
            "n": row.n, "x": row.sx, "y": row.sy, "counts": [int(count) for count, _ in counted],
            "exact": all(bool(exact) for _, exact in counted),
            "documents": [[texts.setdefault(text, len(texts)), marks] for text, marks in parts],
            "point": point and {
                "cloud": [*clouds].index((row.task, row.group, row.n)), "logp": point["logp"],
                "at": point["at"], "terms": int(point["n_terms"]), "zero": int(point["n_zero"])}}

    tasks = []
    for name, title in titles.items():
        of_task = tables["evaluated"][tables["evaluated"]["task"] == name]
        drawn = _drawn(of_task, known[known["task"] == name], examples, seed)
        grams = tables["taskgrams"][tables["taskgrams"]["task"] == name]
        grams = grams[grams["example_id"].isin(drawn["example_id"])]
        of_example = dict(iter(_closest(grams, count_of, pairs).groupby("example_id")))
        shown = [{"group": _spaced(row.group), "x": row.x, "y": row.y,
                  "pairs": [{**pair_of(pair), "marks": [_runs(_sides(row.x, pair.sx, "")),
                                                        _runs(_sides(row.y, "", pair.sy))]}
                            for pair in of_example[row.example_id].itertuples()]}
                 for row in drawn.itertuples()]
        tasks += [{"title": title, "examples": shown}] if shown else []
    return {"models": named, "main": main, "tasks": tasks, "clouds": list(clouds.values()),
            "documents": list(texts), "starts": starts(tasks, list(clouds.values()), main)}


def positioned(joined: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The points of :func:`taskgram_utils.memorization.points` that every model has, one a row.

    ``logp`` (nats) and ``at`` (per mille, by task, group and n) are lists: of the count-based
    model, then of the models ``names``.
    """
    point = [*FAMILY, "example_id", "sy", "start", "sx", "n_terms", "n_zero", "logp_count_model"]
    joined = joined.dropna(subset=["logp_count_model", "logp_model"]).fillna({"sx": ""})
    wide = joined.pivot(index=point, columns="model", values="logp_model")
    wide = wide.reindex(columns=names).dropna().reset_index().astype({"n": int})
    values = wide[["logp_count_model", *names]]
    families = values.groupby([wide[column] for column in FAMILY])
    size = families["logp_count_model"].transform("size")
    at = ((families.rank() - 0.5).div(size, axis=0) * 1000).round().astype(int)
    return wide[point].assign(logp=values.round(3).to_numpy().tolist(), at=at.to_numpy().tolist())


def excerpt(text: str, sx: str, sy: str, most: int = 240) -> tuple[str, list[Mark]]:
    """A text with its marks: (start, end, side) in characters, where ``sx`` and ``sy`` occur. Of a
    text of more than ``most`` characters only what is around the first of each, with "…" between.

    >>> excerpt("Tom has a cat", "tom", "cat")
    ('Tom has a cat', [(0, 3, 1), (10, 13, 2)])
    """
    sides, shown = _sides(text, sx, sy), np.full(len(text), len(text) <= most)
    for start, end in (places(text, [ngram])[0] for ngram in (sx, sy) if places(text, [ngram])):
        middle = (start + end) // 2
        shown[max(0, middle - most // 4) : middle + most // 4] = True
    shown = shown if shown.any() else np.arange(len(text)) < most
    out, out_sides = "", []
    edges = [0, *(np.flatnonzero(np.diff(shown)) + 1).tolist(), len(text)]
    for start, end in pairwise(edges):
        out += text[start:end] if shown[start] else _GAP
        out_sides += sides[start:end] if shown[start] else [0] * len(_GAP)
    return out, _runs(out_sides)


def starts(tasks: list[dict], clouds: list[dict], main: int) -> list[dict]:
    """Pairs to begin with, as places (task, example, pair), of groups with a Mem: one that counts
    and the main model rank high; one that counts rank high, and the model low and below one half;
    and one that no document contains and the model finds more probable than not. What there is none
    of is left out."""
    every = [((i, j, k), pair["point"]) for i, one in enumerate(tasks)
             for j, example in enumerate(one["examples"])
             for k, pair in enumerate(example["pairs"])
             if pair["point"] and not clouds[pair["point"]["cloud"]]["barred"]]
    every = [(*point["at"][:: 1 + main][:2], np.exp(point["logp"][1 + main]),
              point["zero"] == point["terms"], place) for place, point in every]
    scores = {"High by counts, high by the model": lambda a, b, p, never: min(a, b) - 500,
              "High by counts, low by the model":
                  lambda a, b, p, never: min(a - 500, 500 - b) * (p < 0.5),
              "Never together, yet probable": lambda a, b, p, never: b * never * (p > 0.5)}
    found = []
    for title, score in scores.items():
        most, *_, place = max(((score(*one[:-1]), one[-1]) for one in every),
                              key=lambda scored: scored[0], default=(0, ()))
        found += [{"title": title, "place": place}] if most > 0 else []
    return found


def widget(data: Mapping[str, Any]) -> str:
    """HTML that shows ``data`` and needs nothing else: no server, no network, no library."""
    # "<" occurs in text alone: written as an escape, it cannot close the element
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    style, script = ((project_root() / "book" / f"explore.{kind}").read_text(encoding="utf-8")
                     for kind in ("css", "js"))
    return (f'<section class="explore" aria-label="Explore"><script type="application/json">{text}'
            "</script><noscript>This part of the page needs JavaScript.</noscript></section>"
            f"<style>\n{style}</style><script>\n{script}</script>")


def answer(data: Mapping[str, Any]) -> str:
    """What the page shows, with Mem of the group on which it opens, or else of the largest."""
    main, able = data["main"], [one for one in data["clouds"] if not one["barred"]]
    text = ("The documents that contain a pair of n-grams, and the probability that each model "
            "gives to its output. One point shows no memorization: Mem is a rank correlation over "
            "all points of a group")
    able = [one for one in able if one["estimated"][main]]
    if not able:
        return f"{text}. No group of this run has a Mem."
    shown = max(able, key=lambda one: one["points"])
    for i, j, k in (one["place"] for one in data["starts"][:1]):
        opened = data["clouds"][data["tasks"][i]["examples"][j]["pairs"][k]["point"]["cloud"]]
        shown = opened if opened in able else shown
    group = f"*{shown['group']}*, $n = {shown['n']}$"
    return (f"{text}. In the group on which the page opens ({group}) "
            f"Mem of {data['models'][main]['name']} is {shown['mem'][main]}, with an interval over "
            "examples and outputs.")


# --- parts of the data ----------------------------------------------------------------------------


def _clouds(
    known: pd.DataFrame, mem: pd.DataFrame, names: list[str], most: int, seed: int
) -> dict[tuple, dict[str, Any]]:
    """By task, group and n: positions of ``most`` points (a list for the counts and each model),
    the number of all, Mem of every model in words, whether it has one, and why none counts."""
    clouds = {}
    for key, part in known.groupby(FAMILY, sort=False):
        shown = part.sample(min(most, len(part)), random_state=seed)
        rows = mem[(mem[FAMILY] == list(key)).all(axis=1)].set_index("model").reindex(names)
        estimates = rows[["estimate", "low", "high", "points"]].astype(float)
        reasons = [*rows["barred"].dropna(), ""]
        clouds[key] = {
            "group": _spaced(key[1]), "n": int(key[2]), "points": len(part),
            "at": np.array([*shown["at"]]).T.tolist(), "barred": reasons[0],
            "mem": [number(*row) for row in estimates.to_numpy()],
            "estimated": estimates["estimate"].notna().tolist()}
    return clouds


def _closest(grams: pd.DataFrame, count_of: Mapping[tuple, tuple], pairs: int) -> pd.DataFrame:
    """Of each example the ``pairs`` of each n with the highest cosine, and the first of count 0."""
    keys = ["example_id", "n", "sx", "sy"]
    grams = grams.drop_duplicates(keys).sort_values("cosine", ascending=False, kind="stable")
    counts = [count_of[key][0] for key in zip(grams["sx"], grams["sy"], strict=True)]
    chosen = [grams.groupby(["example_id", "n"]).head(pairs),
              grams[np.array(counts) == 0].groupby("example_id").head(1)]
    return pd.concat(chosen).drop_duplicates(keys).sort_values("n", kind="stable")


def _drawn(evaluated: pd.DataFrame, known: pd.DataFrame, examples: int, seed: int) -> pd.DataFrame:
    """So many examples of a task that have a point in ``known``, group by group; see above."""
    able = evaluated[evaluated["example_id"].isin(known["example_id"])]
    shuffled = able.sample(frac=1, random_state=seed)
    never = known.loc[known["n_zero"] == known["n_terms"], "example_id"]
    first = shuffled[shuffled["example_id"].isin(never)].head(examples // 8).index
    turn = shuffled.drop(first).groupby("group", sort=False).cumcount().sort_values(kind="stable")
    chosen = able.index.isin([*first, *turn.index[: examples - len(first)]])
    return able[chosen].sort_values("group", kind="stable")


def _sides(text: str, sx: str, sy: str) -> list[int]:
    """Of each character whether it is in the n-gram ``sx`` (1), ``sy`` (2), both (3) or none (0).
    """
    sides = np.zeros(len(text), int)
    for side, ngram in ((INPUT, sx), (OUTPUT, sy)):
        for start, end in places(text, [ngram]):
            sides[start:end] |= side
    return sides.tolist()


def _runs(sides: Iterable[int]) -> list[Mark]:
    """The marks: each run of characters of one side."""
    start, marks = 0, []
    for side, characters in groupby(sides):
        end = start + len(list(characters))
        marks += [(start, end, side)] if side else []
        start = end
    return marks


def _spaced(name: object) -> str:
    return str(name).replace("_", " ")
