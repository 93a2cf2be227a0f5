"""Where real tasks come from: files and hub data sets, row by row; an error names the row."""

from __future__ import annotations

import csv
import io
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
"""Rows of a data set, each after the words that name it: its file and line, or its split and
number."""


def is_examples(source: str | Path) -> bool:
    """Whether a file is a table of examples (example_id, x, y) and not a data set of another
    form."""
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
    answers, stop = rows["y"].str.strip(), list(task(name).stop)
    for column, values in (("answers", [[y] for y in answers]), ("stop", [stop for _ in answers])):
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
    require(str(source) != HUB, f"{what}: read from files; put them there and name it as the source")
    return Path(source)


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text. Only a line break ends a line, as in files aligned line by
    line."""
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


def csv_rows(path: Path, columns: tuple[str, ...]) -> Rows:
    """The rows of a CSV file without a header, which all have these columns."""
    for number, row in enumerate(csv.reader(io.StringIO(read_text(path), newline="")), 1):
        where, wanted = f"{path}, row {number}", f"{len(columns)} ({', '.join(columns)})"
        require(len(row) == len(columns), f"{where}: {len(row)} columns, not {wanted}")
        yield where, dict(zip(columns, row, strict=True))


def hub_rows(name: str, config: str | None, split: str, instead: str) -> Rows:
    """The rows of a Hugging Face data set; where it cannot be had, InputError says what to put in a
    file or folder ``instead``."""
    try:
        from datasets import load_dataset

        rows = load_dataset(name, config, split=split)
    except Exception as error:
        why = " ".join(str(error).split())[:160]
        install = "install taskgram_utils[hub], or " if isinstance(error, ImportError) else ""
        where = f"data set {name} ({config or 'default'}, {split}): cannot be had ({why})"
        raise InputError(f"{where}; {install}put {instead}, and name it as the source") from error
    for number, row in enumerate(rows, 1):
        yield f"{name}, {split}, row {number}", row


def text(row: dict, where: str, *keys: str) -> str:
    """The text under the first of ``keys`` that a row has, without blanks around it; InputError
    where there is none."""
    value = next((row[key] for key in keys if row.get(key)), None)
    known = ", ".join(map(str, row))
    good = isinstance(value, str) and value.strip()
    require(good, f"{where}: no {keys[0]}, or none that is a text (it has: {known})")
    return value.strip()


def texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
