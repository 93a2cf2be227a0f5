"""What a task is, and the registry: every other file of this folder that defines ``TASK`` is one."""

from __future__ import annotations

import importlib
import pkgutil
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import normalize
from taskgram_utils.run.reads import note_module

COLUMNS = ("example_id", "task", "split", "group", "instruction", "x", "y", "answers", "options", "gold",
           "stop")  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A task: where its examples come from, how it is mined and how its answers are scored.

    ``miniature(world)`` gives the examples table of the miniature world; ``read(source, **options)`` that of the real
    data set, from the hub or from files of one's own; ``truth(world, examples)`` the true pairs (example_id, sx, sy) of
    words or names; ``metrics`` maps a name to ``score(output, answers) -> float``, the first being the task's own;
    ``whole_answer``: s^y is the whole answer whatever n (METHOD, factual QA);
    ``max_tokens`` bounds a generated answer, which no gold answer should reach; 0 where options are chosen instead;
    ``stop``: the texts that end it, unless an example has its own; ``worked``: whether y is a worked solution, which
    BERTScore can be asked of; ``languages(group)``: the languages of x and y by code.
    """

    name: str
    title: str
    miniature: Callable[[World], pd.DataFrame] = field(repr=False)
    truth: Callable[[World, pd.DataFrame], pd.DataFrame] = field(repr=False)
    metrics: dict[str, Callable[[str, list[str]], float]] = field(repr=False)
    whole_answer: bool = False
    max_tokens: int = 0
    stop: tuple[str, ...] = ("\n",)
    read: Callable[..., pd.DataFrame] | None = field(default=None, repr=False)
    worked: bool = False
    languages: Callable[[str], tuple[str, str]] = field(default=lambda group: ("en", "en"), repr=False)


def registry() -> dict[str, Task]:
    """All tasks by name."""
    package = importlib.import_module(__package__)
    modules = (importlib.import_module(f"{__package__}.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    return {m.TASK.name: m.TASK for m in modules if hasattr(m, "TASK")}


def task(name: str) -> Task:
    """The task of this name; InputError lists the names there are."""
    tasks = registry()
    require(name in tasks, f"task {name}: not one of {', '.join(sorted(tasks))}")
    for function in filter(None, (tasks[name].miniature, tasks[name].read, *tasks[name].metrics.values())):
        note_module(function.__module__ or "")
    return tasks[name]


def check_examples(
    examples: pd.DataFrame, name: str = "examples", texts: bool = True, outputs: bool = True
) -> pd.DataFrame:
    """Examples as every room takes them: needs example_id, x and (unless ``outputs`` are not) y; fills what a user's
    file leaves out.

    Raises InputError for a missing column, no example, a repeated example_id or, unless ``texts`` are not looked at,
    an empty y.
    """
    require_columns(examples, ["example_id", "x", *(["y"] if outputs else [])], name)
    require(len(examples), f"{name}: holds no example")
    out = examples.copy()
    defaults = {"y": None, "task": "task", "split": "test", "group": None, "instruction": "", "answers": None,
                "options": None, "gold": None, "stop": None}  # fmt: skip
    for column, value in defaults.items():
        if column not in out:
            out[column] = value
    for column in ("task", "split", "instruction"):
        out[column] = out[column].fillna(defaults[column])
    nameless = out["example_id"].isna() | (out["example_id"].astype(str).str.strip() == "")
    where = f"{nameless.sum()} rows without an example_id, the first is row {nameless.argmax() + 1}"
    require(not nameless.any(), f"{name}: {where}")
    out["example_id"] = out["example_id"].astype(str)
    twice = out["example_id"][out["example_id"].duplicated()]
    require(twice.empty, f"{name}: example_id {twice.iloc[0] if len(twice) else ''} stands in more than one row")
    empty = out["example_id"][texts & (out["y"].isna() | (out["y"].astype(str).str.strip() == ""))]
    require(empty.empty, f"{name}: example {empty.iloc[0] if len(empty) else ''} has an empty y")
    return out[[*COLUMNS, *(c for c in out.columns if c not in COLUMNS)]]


def table(task_name: str, rows: list[dict]) -> pd.DataFrame:
    """An examples table from rows; fills task, and where they have none options, gold and stop."""
    frame, known = pd.DataFrame(rows), registry().get(task_name)
    frame["task"] = task_name
    for column in ("options", "gold"):
        if column not in frame:
            frame[column] = None
    if "stop" not in frame:
        frame["stop"] = [list(known.stop if known else Task.stop) for _ in rows]
    frame["gold"] = frame["gold"].astype("Int64")
    return frame[list(COLUMNS)]


def exact_match(output: str, answers: list[str]) -> float:
    """1 where the normalised output is one of the normalised answers, else 0 (:func:`matches`)."""
    return matches(output, answers, normalize)


def matches(output: str, answers: Iterable[str], form: Callable[[str], str]) -> float:
    """1 where the output is one of the answers by ``form``, else 0.

    An answer of which ``form`` leaves nothing is compared as it is written, but for case and the
    punctuation around it. An empty output is never right.
    """
    said, written = form(output), _written(output)
    return float(any(form(a) == said if form(a) else _written(a) == written != "" for a in answers))


def _written(text: str) -> str:
    text = " ".join(text.casefold().split())
    return text.strip(string.punctuation + " ") or text


def test_size(world: World, most: int) -> int:
    """How many test examples a world of this size gives: at most ``most``, fewer in a small world."""
    return min(most, max(20, world.documents // 200))
