"""The text and the tasks of a run: the files and data sets that its run file names."""

from collections.abc import Mapping
from functools import partial
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

CALIBRATE = "calibrate"  # the value of ``gamma`` where a threshold is calibrated
NAME_DATA = "name the folder that holds it: -p data FOLDER"


# --- files -----------------------------------------------------------------------------------


def draws_world(run: Run) -> bool:
    """Whether a run's files are those of a miniature world, written when they are first used."""
    return run.get("world") is not None


def folder(run: Run) -> Path:
    """The folder of a run's files: its ``data``, or the miniature world, which is written first."""
    if draws_world(run):
        return run.path("world")
    return run.root / Path(run.parameters.get("data") or "").expanduser()


def placed(run: Run, name: str) -> Path:
    """The path of a file or folder that a run file names."""
    return folder(run) / Path(name).expanduser()


def listed_files(path: Path) -> list[Path]:
    """A file, or the files of a folder and those below it; none where there is neither."""
    return [p for p in (listed(path) if path.is_dir() else [path]) if p.is_file()]


def truth_known(run: Run) -> bool:
    """Whether what is true lies beside the run's text, as it does for a miniature world."""
    return all(run.files(f"truth_in/{name}") for name in (FACTS, TRUE_PAIRS))


def open_world(run: Run, twin: int = 0) -> World:
    """The miniature world that a run draws, or one of its twins. InputError for other runs."""
    require(draws_world(run), f"run {run.name}: draws no miniature world, and this is about one")
    return World(run["documents"], run["world"], twin)


def named(run: Run) -> str:
    """The column ``run`` of a run's tables: the number of its world, or the run's own name."""
    return str(run["world"] if draws_world(run) else run.name)


# --- text ------------------------------------------------------------------------------------


def corpus(run: Run, document: str | None = None) -> Corpus:
    """The corpus of a run, cut into its own documents or into others (``document``)."""
    path = placed(run, run.parameters["corpus"])
    remedy = "put the text there" if run.parameters["data"] else NAME_DATA
    require(path.exists(), f"run {run.name}: no corpus {path}; {remedy}")
    unit = run["document"] if document is None else document
    text = Corpus(path, unit, text_field=run["text_field"])
    run.files("text")
    return text


def text_files(run: Run) -> list[Path]:
    """The files of a run's text, or of its index on disk."""
    path = placed(run, run["corpus"])
    return listed_files(path) if run["backend"] == "index" else Corpus(path).files


def tokenizer_files(run: Run) -> list[Path]:
    """The tokenizer file that a run names, whether it is there or not."""
    name = run.parameters["tokenizer"]
    return [placed(run, name)] if name else []


def tokenizer_file(run: Run) -> Path | None:
    """The tokenizer file that a run names, in its ``data``; None where it names none."""
    return next(iter(run.files("tokenizer")), None)


# --- tasks -----------------------------------------------------------------------------------


def tasks_of(run: Run) -> list[str]:
    """The tasks of a run; InputError for an unknown one."""
    return [task(name).name for name in run["tasks"]]


def sources(run: Run, name: str) -> list[dict[str, Any]]:
    """The sources of a task's examples: ``source`` (``hub`` or a path), and the options of the
    task's reader. Raises InputError where the run file names none, or one without ``source``."""
    listed, result = _for_task(run["source"], name), []
    require(listed, f"run {run.name}: no source for task {name}; under source: hub, file or folder")
    for options in listed if isinstance(listed, list) else [listed]:
        options = {"source": options} if isinstance(options, str) else options
        good = isinstance(options, Mapping) and isinstance(options.get("source"), str)
        require(good, f"run {run.name}: a source of {name} is a name, or a mapping with source")
        path = options["source"] if options["source"] == HUB else placed(run, options["source"])
        result.append({**options, "source": str(path)})
    return result


def source_files(run: Run, name: str) -> list[Path]:
    """The files of a task's data sets."""
    paths = [Path(options["source"]) for options in sources(run, name) if options["source"] != HUB]
    return [file for path in paths for file in listed_files(path)]


def read_examples(run: Run, local: bool = False) -> pd.DataFrame:
    """The examples of a run's tasks, from tables of examples or from data sets.

    ``local``: only those of files, none of the hub. Raises InputError for a source that cannot be
    read, for an option that the task's reader lacks and for an ``example_id`` that occurs twice.
    """
    parts = []
    for name in tasks_of(run):
        for options in sources(run, name):
            if local and options["source"] == HUB:
                continue
            run.files(f"source/{name}")
            is_table = is_examples(options["source"])
            read = partial(own_examples, name=name) if is_table else task(name).read
            require(read, f"task {name}: has no data set of its own; name an examples table")
            try:
                parts.append(read(**options))
            except TypeError as error:
                strange = str(error).partition("argument ")[2] or str(error)
                where = f"run {run.name}: a source of {name}"
                raise InputError(f"{where} has no option {strange}") from error
    if not parts:
        return pd.DataFrame(columns=["task", "example_id"])
    table = pd.concat(parts, ignore_index=True)
    twice = table["example_id"][table.duplicated("example_id")].tolist()
    require(not twice, f"run {run.name}: two sources give example_id {twice[:1]}")
    return table


def whole_test(run: Run) -> pd.DataFrame:
    """All test examples of a run."""
    examples = run.table("examples")
    return examples[examples["split"] == "test"]


def evaluated_taskgrams(run: Run) -> pd.DataFrame:
    """The task-grams of the examples that models are asked."""
    grams = run.table("taskgrams")
    evaluated = grams["example_id"].isin(run.table("evaluated")["example_id"])
    return grams[evaluated].reset_index(drop=True)


# --- parameters that may differ by task ------------------------------------------------------


def _for_task(value: Any, name: str) -> Any:
    """The value of a parameter for a task, where it may map tasks to values."""
    return value.get(name) if isinstance(value, Mapping) else value


def answer_tokens(run: Run, kind: Task) -> int:
    """The most tokens of a generated answer of a task; 0 where options are chosen."""
    own = _for_task(run.get("max_tokens"), kind.name)
    return own or kind.max_tokens if kind.max_tokens else 0


def stop_of(run: Run, name: str) -> list[str] | None:
    """The texts that end the generated answers of a task; None: those of the examples."""
    return _for_task(run.get("stop"), name)


def gamma_of(run: Run, name: str, n: int) -> float | str | None:
    """The threshold of a task and n: a number, CALIBRATE, or None where the run does not mine n.

    ``gamma`` of a run file is null or ``calibrate``, a number, or a mapping from tasks to one of
    these or to a mapping from n; a task that such a mapping leaves out is calibrated.
    """
    value = _for_task(run["gamma"], name)
    value = value.get(n, False) if isinstance(value, Mapping) else value
    if value is False:  # the mapping leaves this n out
        return None
    return CALIBRATE if value is None else value


def embedding_named(run: Run, name: str) -> str:
    """The embedding that a run names for a task: a name, or the path of a folder in the run's data,
    in the project or elsewhere. InputError where it names none, or a folder that is not there."""
    chosen = _for_task(run["embedding"], name)
    require(chosen, f"run {run.name}: no embedding for task {name}")
    for path in (placed(run, chosen), run.root / Path(chosen).expanduser()):
        if path.is_dir():
            return str(path)
    is_path = chosen.startswith((".", "~", "/")) or chosen.count("/") > 1
    require(not is_path, f"embedding {chosen}: no such folder")
    return chosen


def embedding_files(run: Run, name: str) -> list[Path]:
    """The files of a task's embedding, where it is a folder."""
    path = Path(embedding_named(run, name))
    return listed_files(path) if path.is_dir() else []


def embedding(run: Run, name: str | None = None):
    """The embedding that a run names (for one of its tasks, where it names several), its vectors
    kept between runs."""
    from taskgram_utils.embedding import kept_embedding
    from taskgram_utils.packaged import PREFIX, packaged

    chosen = embedding_named(run, name or tasks_of(run)[0])
    run.files(f"embedding_of/{name or tasks_of(run)[0]}")
    if chosen.startswith(PREFIX):
        chosen = packaged(chosen, run.root / "build" / "packaged")
    return kept_embedding(chosen, run.root / "build" / "embeddings", run.parameters["device"])
