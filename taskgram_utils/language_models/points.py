"""Points: which s^y of which example are to be scored, and which words of y they are made of."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.ngrams import Word, words
from taskgram_utils.tables import KEYS


class Point(NamedTuple):
    """An s^y of an example: its order n, its words, and the characters [start, end) of y it takes.
    """

    n: int
    sy: str
    start: int
    end: int | None


def points_of(taskgrams: pd.DataFrame | None, known: set) -> dict[object, list[Point]]:
    """The distinct points of a task-gram table, by example.

    Raises InputError for a missing column, a null, a text or a number that is none, an example that
    is not among the ``known`` ones, and a point with two ends.
    """
    if taskgrams is None:
        return {}
    require_columns(taskgrams, KEYS, "taskgrams")
    points: dict[tuple, Point] = {}
    columns = (taskgrams[name].tolist() for name in KEYS)
    ends = taskgrams["end"].tolist() if "end" in taskgrams else [None] * len(taskgrams)
    for key, n, sy, start, end in zip(*columns, ends, strict=True):
        where = f"of example {key}"
        require(key in known, f"taskgrams: example_id {key} is not among the examples")
        require(isinstance(sy, str), f"taskgrams: sy {where} is no text: {sy!r:.80}")
        end = None if end is None or end is pd.NA or end != end else end
        for name, value in (("n", n), ("start", start), ("end", end or 0)):
            whole = isinstance(value, (int, float, np.number)) and value >= 0 and value % 1 == 0
            require(whole, f"taskgrams: {name} {where} is no whole number: {value!r:.80}")
        point = Point(int(n), sy, int(start), None if end is None else int(end))
        same = points.setdefault((key, n, sy, start), point).end == point.end
        require(same, f"taskgrams: s^y '{sy}' at character {start} {where} has two ends")
    out: dict[object, list[Point]] = {}
    for (key, *_), point in points.items():
        out.setdefault(key, []).append(point)
    return out


def located(spans: Sequence[Word], sy: str, start: int, end: int | None = None) -> list[int]:
    """Which of the words ``spans`` of y the words of s^y are; empty where s^y is not there.

    The first of them begins at character ``start``. The others follow in order, none of them past
    ``end``; mining may have removed words between them.
    """
    wanted, places = words(sy), []
    first = bisect_left(spans, start, key=lambda word: word.start)
    if first == len(spans) or spans[first].start != start:
        return []
    for i, span in enumerate(spans[first:], first):
        if len(places) == len(wanted) or (end is not None and span.end > end):
            break
        if span.text == wanted[len(places)]:
            places.append(i)
        elif not places:
            break
    return places if len(places) == len(wanted) else []
