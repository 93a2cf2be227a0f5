"""The text and the tasks of a run: the files and data sets that its run file names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.files import FACTS, TRUE_PAIRS
from taskgram_utils.miniature.world import World
from taskgram_utils.run.store import Run
from taskgram_utils.tasks.base import Task, task
from taskgram_utils.tasks.files import HUB, is_examples, own_examples

CALIBRATE = "calibrate"
"""What stands in a run file's ``gamma`` where a threshold is calibrated."""


def draws_world(run: Run) -> bool:
    """Whether a run's files are those of a miniature world, which is written when they are first asked for."""
    return run.get("world") is not None


def folder(run: Run) -> Path:
    """Where the files lie that a run names: its ``data``, or the miniature world it draws, which is written first."""
    if draws_world(run):
        return run.path("world")
    return run.root / Path(run.parameters.get("data") or "").expanduser()


def placed(run: Run, name: str) -> Path:
    """The place of a file or folder that a run file names."""
    return folder(run) / Path(name).expanduser()


def truth_known(run: Run) -> bool:
    """Whether what is true lies beside the run's text, as it does for a miniature world."""
    return all(run.files(f"truth_in/{name}") for name in (FACTS, TRUE_PAIRS))


def open_world(run: Run, twin: int = 0) -> World:
    """The miniature world that a run draws, or one of its twins. InputError for a run that draws none."""
    require(draws_world(run), f"run {run.name}: draws no miniature world, and this is about one")
    return World(run["documents"], run["world"], twin)


def named(run: Run) -> str:
    """What stands under ``world`` in the tables of a run: the number of its world, or its own name."""
    return str(run["world"] if draws_world(run) else run.name)


def tokenizer_file(run: Run) -> Path | None:
    """The tokenizer file that a run names, in its ``data``; None where it names none."""
    run.files("tokenizer")
    return _tokenizer(run)


def _tokenizer(run: Run) -> Path | None:
    return placed(run, run.parameters["tokenizer"]) if run.parameters["tokenizer"] else None


def corpus(run: Run, document: str | None = None) -> Corpus:
    """The corpus of a run, cut into its own documents or into others (``document``)."""
    place = placed(run, run.parameters["corpus"])
    said = "put the text there" if run.parameters["data"] else "name the folder that holds it: -p data FOLDER"
    require(place.exists(), f"run {run.name}: no corpus {place}; {said}")
    text = Corpus(place, run["document"] if document is None else document, text_field=run["text_field"])
    run.files("text")
    return text


def text_files(run: Run) -> list[Path]:
    """The files of a run's text; of an index on disk its own."""
    place = placed(run, run["corpus"])
    return listed_files(place) if run["backend"] == "index" else Corpus(place).files


def listed_files(place: Path) -> list[Path]:
    """A file, or the files of a folder and those below it."""
    return [p for p in (listed(place) if place.is_dir() else [place]) if p.is_file()]


_known: dict[tuple, str] = {}  # of large corpora: a fingerprint reads both ends of every file


def _fingerprint(text: Corpus) -> str:
    state = (str(text.path), *((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in text.files))
    if state not in _known:
        _known[state] = text.fingerprint()
    return _known[state]


def tasks_of(run: Run) -> list[str]:
    """The tasks of a run; InputError for one that there is not."""
    return [task(name).name for name in run["tasks"]]


def sources(run: Run, name: str) -> list[dict[str, Any]]:
    """Where the examples of a task come from: for each source its ``source`` and the options of the task's reader.

    A local source is placed in the run's ``data``. Raises InputError where the run file names none, or not as a mapping
    with ``source``.
    """
    named = run["source"].get(name) if isinstance(run["source"], Mapping) else None
    named = named if isinstance(named, list) or not named else [named]
    require(named, f"run {run.name}: no source for task {name}; a folder, a file or hub, under source")
    found = []
    for one in named:
        one = {"source": one} if isinstance(one, str) else one
        good = isinstance(one, Mapping) and isinstance(one.get("source"), str)
        require(good, f"run {run.name}: a source of {name} is a name, or a mapping with source, not {one!r}")
        place = one["source"] if one["source"] == HUB else str(placed(run, one["source"]))
        found.append({**one, "source": place})
    return found


def read_examples(run: Run, local: bool = False) -> pd.DataFrame:
    """The examples of a run's tasks, from tables of examples or from data sets; ``local``: those of files alone."""
    parts = []
    for name in tasks_of(run):
        kind = task(name)
        for options in sources(run, name):
            if local and options["source"] == HUB:
                continue
            run.files(f"source/{name}")
            try:
                if is_examples(options["source"]):
                    parts.append(own_examples(**options, name=name))
                else:
                    require(kind.read, f"task {name}: has no data set of its own; name an examples table")
                    parts.append(kind.read(**options))
            except TypeError as error:
                strange = str(error).partition("argument ")[2] or str(error)
                raise InputError(f"run {run.name}: a source of {name} has no option {strange}") from error
    table = pd.concat(parts or [pd.DataFrame(columns=["task", "example_id"])], ignore_index=True)
    twice = table["example_id"][table.duplicated("example_id")]
    require(twice.empty, f"run {run.name}: two sources give {', '.join(twice[:1])}; every example has an id of its own")
    return table


def source_files(run: Run, name: str) -> list[Path]:
    """The files of a task's data sets."""
    return [path for one in sources(run, name) if one["source"] != HUB for path in listed_files(Path(one["source"]))]


def embedding_files(run: Run, name: str) -> list[Path]:
    """The files of a task's embedding, where it is a folder."""
    place = Path(embedding_named(run, name))
    return listed_files(place) if place.is_dir() else []


def tokenizer_files(run: Run) -> list[Path]:
    """The tokenizer file that a run names."""
    return [path for path in [_tokenizer(run)] if path and path.is_file()]


def suite_said(run: Run) -> dict[str, Any]:
    """What the card of a suite must say that a run may use: that it has read this run's text, in its order."""
    if draws_world(run):
        return {p: run[p] for p in ("documents", "world", "seed")}
    text = corpus(run)
    return {"fingerprint": _fingerprint(text), "document": text.document, "seed": run["seed"]}


def answer_tokens(run: Run, kind: Task) -> int:
    """How long a generated answer may be in a run, whose ``max_tokens`` maps tasks to numbers; 0 where options are
    chosen."""
    own = run.get("max_tokens") or {}
    return own.get(kind.name, kind.max_tokens) if kind.max_tokens else 0


def stop_of(run: Run, name: str) -> list[str] | None:
    """The texts that end the generated answers of a task in a run; None where its ``stop``, a mapping
    from tasks to lists, leaves them to the examples."""
    asked = run.get("stop") or {}
    named = asked.get(name) if isinstance(asked, Mapping) else asked
    listed = isinstance(named, list) and all(isinstance(text, str) and text for text in named)
    good = isinstance(asked, Mapping) and (named is None or listed)
    said = f"stop of {name}: {named!r} is no list of texts (stop maps tasks to lists)"
    require(good, f"run {run.name}: {said}")
    return named


def gamma_of(run: Run, name: str, n: int) -> float | str | None:
    """The threshold of a task and n in a run: a number, ``calibrate``, or None where the run does not mine this n.

    ``gamma`` of a run file is null or ``calibrate``, a number, or a mapping from tasks to one of these or to a mapping
    from n; a task that such a mapping leaves out is calibrated.
    """
    asked = run["gamma"]
    if isinstance(asked, Mapping):
        asked = asked.get(name)
    if isinstance(asked, Mapping):
        asked = asked.get(n, False)
    if asked is False:
        return None
    if asked is None or asked == CALIBRATE:
        return CALIBRATE
    number = isinstance(asked, int | float) and not isinstance(asked, bool) and 0 < asked < 1
    require(number, f"run {run.name}: gamma of {name}, n = {n}: {asked!r} is neither {CALIBRATE} nor between 0 and 1")
    return float(asked)


def embedding_named(run: Run, name: str) -> str:
    """The embedding that a run names for a task, one for all or a mapping from tasks: a name, or the path of a folder
    that lies in the run's data, in the project or elsewhere."""
    asked = run["embedding"]
    asked = asked.get(name) if isinstance(asked, Mapping) else asked
    require(isinstance(asked, str) and asked, f"run {run.name}: no embedding for task {name}")
    places = [folder(run) / Path(asked).expanduser(), run.root / Path(asked).expanduser()]
    place = next((place for place in places if place.is_dir()), None)
    path = asked.startswith((".", "~", "/")) or asked.count("/") > 1
    require(not path or place, f"embedding {asked}: no such folder")
    return str(place or asked)


def whole_test(run: Run) -> pd.DataFrame:
    """All test examples of a run."""
    examples = run.table("examples")
    return examples[examples["split"] == "test"]


def asked_grams(run: Run) -> pd.DataFrame:
    """The task-grams of the examples that models are asked."""
    grams = run.table("taskgrams")
    return grams[grams["example_id"].isin(run.table("asked")["example_id"])].reset_index(drop=True)
