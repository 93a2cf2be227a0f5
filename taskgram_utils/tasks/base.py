"""What a task is, and the registry: each file of this folder that defines ``TASK`` is one."""

import importlib
import pkgutil
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import normalize, words
from taskgram_utils.run.reads import note_module

COLUMNS = ("example_id", "task", "split", "group", "instruction", "x", "y", "answers", "options",
           "gold", "stop")


@dataclass(frozen=True)
class Task:
    """A task: where its examples come from, how it is mined and how its answers are scored.

    ``miniature(world)`` gives the examples of the miniature world, ``read(source, **options)``
    those of the real data set, from the hub or from files; ``truth(world, examples)`` gives the
    true pairs (example_id, sx, sy) of words or names. ``metrics`` maps a name to ``score(output,
    answers) -> float``; the first is the task's own. ``full_answer``: s^y is the full answer
    whatever n is (as for factual QA). ``max_tokens`` bounds a generated answer and is more than
    any gold answer has; 0 where options are chosen. ``stop``: the texts that end an answer, unless
    an example has its own. ``worked``: whether y is a worked solution, which BERTScore can score.
    ``languages(group)``: the languages of x and y by code.
    """

    name: str
    title: str
    miniature: Callable[[World], pd.DataFrame]
    truth: Callable[[World, pd.DataFrame], pd.DataFrame]
    metrics: dict[str, Callable[[str, list[str]], float]]
    full_answer: bool = False
    max_tokens: int = 0
    stop: tuple[str, ...] = ("\n",)
    read: Callable[..., pd.DataFrame] | None = None
    worked: bool = False
    languages: Callable[[str], tuple[str, str]] = lambda group: ("en", "en")


def registry() -> dict[str, Task]:
    """All tasks by name."""
    package = importlib.import_module(__package__)
    names = [f"{__package__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(name) for name in names]
    return {module.TASK.name: module.TASK for module in modules if hasattr(module, "TASK")}


def task(name: str) -> Task:
    """The task of this name, noted as read by the run; InputError lists the names there are."""
    tasks = registry()
    require(name in tasks, f"task {name}: not one of {', '.join(sorted(tasks))}")
    one = tasks[name]
    for function in filter(None, (one.miniature, one.read, *one.metrics.values())):
        note_module(function.__module__ or "")
    return one


def check_examples(
    examples: pd.DataFrame, name: str = "examples", texts: bool = True, outputs: bool = True
) -> pd.DataFrame:
    """The examples with every column of ``COLUMNS``, those a user's file leaves out filled in.

    ``examples`` has example_id, x and, where ``outputs``, y. Raises InputError for a missing
    column, no example, a missing or repeated example_id and, where ``texts``, an empty y.
    """
    require(len(examples), f"{name}: holds no example, give one a row")
    require_columns(examples, ["example_id", "x", *(["y"] if outputs else [])], name)
    filled = {"task": "task", "split": "test", "instruction": ""}
    absent = {c: filled.get(c) for c in COLUMNS if c not in examples}
    examples = examples.assign(**absent).fillna(filled)
    nameless = examples["example_id"].fillna("").astype(str).str.strip() == ""
    where = f"{nameless.sum()} rows without an example_id, the first is row {nameless.argmax() + 1}"
    require(not nameless.any(), f"{name}: {where}")
    ids = examples["example_id"] = examples["example_id"].astype(str)
    again = ids.duplicated().argmax()  # 0: each stands once
    require(not again, f"{name}: example_id {ids.iloc[again]} stands again in row {again + 1}")
    empty = ", ".join(ids[examples["y"].fillna("").astype(str).str.strip() == ""][:1])
    require(not (texts and empty), f"{name}: example {empty} has an empty y")
    return examples[[*COLUMNS, *(c for c in examples if c not in COLUMNS)]]


def example(key, split, group, instruction, x, answer, **more) -> dict:
    """A row for :func:`table`, all texts; y is a space and the answer.

    ``more``: other columns, and ``answers`` where other answers are right, too.
    """
    return {"example_id": key, "split": split, "group": group, "instruction": instruction, "x": x,
            "y": f" {answer}", "answers": [answer], **more}


def table(task_name: str, rows: list[dict]) -> pd.DataFrame:
    """An examples table from rows; fills task and, where they have none, options, gold and stop."""
    frame, stop = pd.DataFrame(rows), list(registry().get(task_name, Task).stop)
    absent = {"options": None, "gold": None, "stop": [stop] * len(rows)}
    frame = frame.assign(task=task_name, **{c: absent[c] for c in absent if c not in frame})
    frame["gold"] = frame["gold"].astype("Int64")
    return frame[[*COLUMNS, *(c for c in frame if c not in COLUMNS)]]


def surname_and_answer(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """The true pairs of questions about people of the miniature world: surname, full answer."""
    known = {normalize(surname) for surname in world.surnames}
    surnames = [next(word for word in words(x) if word in known) for x in examples["x"]]
    answers = examples["y"].map(normalize)
    return pd.DataFrame({"example_id": examples["example_id"], "sx": surnames, "sy": answers})


def exact_match(output: str, answers: list[str]) -> float:
    """1 where the normalised output is one of the normalised answers, else 0 (:func:`matches`)."""
    return matches(output, answers, normalize)


def matches(output: str, answers: Iterable[str], form: Callable[[str], str]) -> float:
    """1 where the output is one of the answers by ``form``, else 0.

    An answer of which ``form`` leaves nothing is compared as it is written, but for case and the
    punctuation around it. An empty output is never right.
    """
    formed, bare = form(output), _bare(output)
    return float(any(form(a) == formed if form(a) else _bare(a) == bare != "" for a in answers))


def _bare(text: str) -> str:
    """A text in small letters without the punctuation around it, unless it is nothing else."""
    text = " ".join(text.casefold().split())
    return text.strip(string.punctuation + " ") or text


def test_size(world: World, most: int) -> int:
    """How many test examples a world of this size gives: at most ``most``, fewer if it is small."""
    return min(most, max(20, world.documents // 200))
