"""Where real tasks come from: local files and hub data sets, row by row, with one clear line where they are wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from taskgram_utils.errors import InputError, require
from taskgram_utils.tables import SUFFIXES, read_table
from taskgram_utils.tasks.base import check_examples, task
from taskgram_utils.texts import read_text

HUB = "hub"
"""The source that stands for the data set the paper used."""


def is_examples(source: str | Path) -> bool:
    """Whether a file is a table of examples (example_id, x, y, ...) and not a data set in a format of its own."""
    path = Path(source)
    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    try:
        if path.suffix == ".parquet":
            names = pq.read_schema(path).names
        elif path.suffix == ".csv":
            names = next(csv.reader(io.StringIO(read_text(path)[: 1 << 16], newline="")), [])
        else:
            names = next(iter(json_lines(path, ())), ("", ()))[1]
    except (InputError, OSError, ValueError, csv.Error):
        return False
    return {"example_id", "x", "y"} <= set(names)


def own_examples(source: str | Path, name: str) -> pd.DataFrame:
    """The examples of a task in a table of examples; all of it where it has no column ``task``.

    Filled in where they are missing: ``group`` (the task's name), ``answers`` (y alone) and ``stop`` (the task's own).
    Raises InputError for a table without an example of the task and for what
    :func:`~taskgram_utils.tasks.base.check_examples` refuses.
    """
    rows, kind = read_table(source), task(name)
    rows = rows[rows["task"] == name] if "task" in rows and rows["task"].notna().any() else rows.assign(task=name)
    require(len(rows), f"{source}: holds no example of task {name}")
    rows = check_examples(rows, str(source)).reset_index(drop=True)
    rows["group"] = rows["group"].fillna(name)
    for column, value in (("answers", rows["y"].str.strip().map(lambda y: [y])),
                          ("stop", pd.Series([list(kind.stop)] * len(rows)))):  # fmt: skip
        rows[column] = rows[column].where(rows[column].notna(), value)
    return rows.astype({"gold": "Int64"})


def folder(source: str | Path, holds: str) -> Path:
    """The folder of a task's files; InputError, saying what it should hold, where there is none."""
    path = Path(source)
    require(path.is_dir(), f"{path}: no such folder; it should hold {holds}")
    return path


def found(path: Path, what: str) -> Path:
    """A file that has to be there; InputError says what should lie there."""
    require(path.is_file(), f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; put {what} there")
    return path


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text. Only a line break ends a line, as in files that are aligned line by line."""
    text = read_text(path)
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n") if text else []


def json_lines(path: Path, needs: Sequence[str]) -> Iterator[tuple[str, dict]]:
    """Where a row stands (file and line) and the row, of JSON lines that all have the keys ``needs``."""
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}: no JSON ({error})") from error
        yield where, checked(row, where, needs)


def json_file(path: Path) -> object:
    """What a JSON file holds."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error})") from error


def csv_rows(path: Path, columns: int, what: str) -> Iterator[tuple[str, list[str]]]:
    """Where a row stands and the row, of CSV without a header whose rows all have so many ``columns``."""
    for number, row in enumerate(csv.reader(io.StringIO(read_text(path), newline="")), 1):
        where = f"{path}, row {number}"
        require(len(row) == columns, f"{where}: {len(row)} columns, not {columns} ({what})")
        yield where, row


def hub_rows(
    name: str, config: str | None, split: str, needs: Sequence[str], instead: str
) -> Iterator[tuple[str, dict]]:
    """Rows of a Hugging Face data set. InputError, saying what to put where ``instead``, where it cannot be had."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise InputError(f"data set {name}: needs pip install 'taskgram_utils[hub]'; or {instead}") from error
    try:
        rows = load_dataset(name, config, split=split)
    except Exception as error:
        why = " ".join(str(error).split())[:160]
        where = f"data set {name} ({config or 'default'}, {split})"
        raise InputError(f"{where}: cannot be had ({why}); {instead}") from error
    for number, row in enumerate(rows, 1):
        where = f"{name}, {split}, row {number}"
        yield where, checked(row, where, needs)


def checked(row: object, where: str, needs: Sequence[str]) -> dict:
    """A row that is an object with the keys ``needs``; InputError says which it lacks."""
    require(isinstance(row, dict), f"{where}: no JSON object")
    missing = [key for key in needs if row.get(key) is None]
    require(not missing, f"{where}: no {', '.join(missing)} (it has: {', '.join(map(str, row))})")
    return row
