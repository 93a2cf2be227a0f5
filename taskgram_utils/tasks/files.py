"""Where real tasks come from: files and hub data sets, row by row; an error names the row."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from taskgram_utils.errors import InputError, require
from taskgram_utils.tables import SUFFIXES, read_table
from taskgram_utils.tasks.base import check_examples, task
from taskgram_utils.texts import read_text

HUB = "hub"
"""The source that stands for the data set the paper used."""

Rows = Iterator[tuple[str, dict]]
"""Rows of a data set, each after the words that name it: file and line, or split and number."""


def is_examples(source: str | Path) -> bool:
    """Whether a file is a table of examples (example_id, x, y), not a data set of another form."""
    path, names = Path(source), []
    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
        elif path.suffix in SUFFIXES:
            with path.open(encoding="utf-8-sig") as file:
                names = re.findall(r"\w+", file.readline())  # the header, or the keys of a row
    except (OSError, ValueError):
        return False
    return {"example_id", "x", "y"} <= set(names)


def own_examples(source: str | Path, name: str) -> pd.DataFrame:
    """The examples of a task in a table of examples; all of it where it has no column ``task``.

    Filled in where they are missing: ``group`` (the task's name), ``answers`` (y alone) and
    ``stop`` (the task's own). Raises InputError for a table without an example of the task and for
    what :func:`~taskgram_utils.tasks.base.check_examples` refuses.
    """
    rows = read_table(source)
    if "task" in rows and rows["task"].notna().any():
        rows = rows[rows["task"] == name]
    require(len(rows), f"{source}: holds no example of task {name}")
    rows = check_examples(rows.assign(task=name), str(source)).reset_index(drop=True)
    rows["group"] = rows["group"].fillna(name)
    stop = [list(task(name).stop)] * len(rows)
    for column, values in (("answers", [[y.strip()] for y in rows["y"]]), ("stop", stop)):
        rows[column] = rows[column].where(rows[column].notna(), pd.Series(values))
    return rows.astype({"gold": "Int64"})


def existing(path: str | Path, what: str) -> Path:
    """A file that has to be there; InputError says what to put there."""
    path = Path(path)
    problem = "is a folder" if path.is_dir() else "no such file"
    require(path.is_file(), f"{path}: {problem}; put {what} there")
    return path


def local(source: str | Path, what: str) -> Path:
    """The path of a source; InputError for the hub, which does not have ``what``."""
    hub = str(source) == HUB
    require(not hub, f"{what}: read from files; put them in a folder and name it as the source")
    return Path(source)


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text; only a line break ends one, as in files aligned line by line."""
    text = read_text(path)
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n") if text else []


def parsed(text: str, where: str) -> object:
    """What a JSON text holds; InputError says ``where`` it is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: no JSON ({error})") from error


def json_lines(path: str | Path, what: str) -> Rows:
    """The rows of a file of JSON objects, one a line; InputError says what to put there."""
    for number, line in enumerate(text_lines(existing(path, what)), 1):
        if line.strip():
            row = parsed(line, f"{path}, line {number}")
            require(isinstance(row, dict), f"{path}, line {number}: no JSON object")
            yield f"{path}, line {number}", row


def hub_rows(name: str, config: str | None, split: str, instead: str) -> Rows:
    """The rows of a Hugging Face data set; InputError says which files to put ``instead``."""
    try:
        from datasets import load_dataset

        rows = load_dataset(name, config, split=split)
    except Exception as error:
        why = " ".join(str(error).split())[:160]
        where = f"data set {name} ({config or 'default'}, {split}): cannot be had ({why})"
        needs = "it needs the network and pip install 'taskgram_utils[hub]'"
        raise InputError(f"{where}; {needs}; or put {instead} in a file or folder") from error
    for number, row in enumerate(rows, 1):
        yield f"{name}, {split}, row {number}", row


def text(row: dict, where: str, *keys: str) -> str:
    """The text, stripped, under the first of ``keys`` that a row has; InputError without one."""
    value = next((row[key] for key in keys if row.get(key)), None)
    named = f"no {keys[0]}, or none that is a text (it has: {', '.join(map(str, row))})"
    require(isinstance(value, str) and value.strip(), f"{where}: {named}")
    return value.strip()


def texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
