"""The tables of the package, column by column, and how tables are read from files and written."""

import ast
import csv
import io
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.texts import read_text


def _schema(**kinds: str) -> dict[str, str]:
    """The kind of each column: text, texts (a list of them), whole, number or truth."""
    return {column: kind for kind, columns in kinds.items() for column in columns.split()}


# One example per row. example_id: its name, unique in its task; group: kind of question; x, y: the
# input and the expected output; sx: the subject of x, if it is known; answers: all that are right;
# options: those to choose from, of which gold (from 0) is right; stop: texts that end an answer.
EXAMPLES = _schema(
    text="example_id task split group instruction x y sx", texts="answers options stop",
    whole="gold")
# One task-gram per row: an n-gram sx of an example's x and an n-gram sy of its y. n: words; start,
# end: characters of y that sy takes; cosine: of the embeddings; sx_text, sy_text: as written.
TASKGRAMS = _schema(
    text="task group example_id sx sy sx_text sy_text", whole="n start end", number="cosine")
# One pair of n-grams per row, or a single n-gram sx (sy missing). n: words of sx; count: how many
# documents or occurrences (unit) in source; exact: whether the count is; half: of the documents
# (0, 1; missing: all); forms: ways of writing the n-grams that were counted.
COUNTS = _schema(text="sx sy unit source", whole="n half forms", number="count", truth="exact")
# One output sy per row, from character start of y, and its log-probability logp (nats) under a
# language model. option: which one sy is (from 0). Of count-based models: n_terms counts behind
# logp, n_zero of them zero, and the zero_handling. Of neural models: tokens of sy, parameters,
# training step; run: the text that is counted.
LOGP = _schema(
    text="task group example_id sx sy model zero_handling run", number="logp parameters",
    whole="n start option tokens n_terms n_zero seed step half", truth="exact")
# One estimate per row: a measure (-1 to 1) of a model's logp against a count-based model's. low,
# high: 95% interval; p_holm: p corrected for the family; coverage, zero_share, exact, ties: shares
# (0 to 1). Of the count-based model: reliability, from halves; sd of its logp (nats).
MEMORIZATION = _schema(
    text="task group model run count_model form zero_handling measure reason clusters",
    whole="n seed step points examples outputs",
    number="parameters estimate low high p p_holm coverage_pairs coverage_points coverage_examples "
           "zero_share reliability ties sd exact")
# One answer of a model per row, and its score (0 to 1) by a metric.
ANSWERS = _schema(text="task example_id model run output metric", number="score")
_KINDS = EXAMPLES | TASKGRAMS | COUNTS | LOGP | MEMORIZATION | ANSWERS
_TEXTS = {column for column, kind in _KINDS.items() if kind == "text"}
_LISTS = {column for column, kind in _KINDS.items() if kind == "texts"}
KEYS = ["example_id", "n", "sy", "start"]
"""What identifies a point, one output of one example, in a table of log-probabilities."""
_OLDER = {"lm": "model", "reference": "count_model", "zero_rule": "zero_handling", "world": "run",
          "pairs": "n_terms", "zeros": "n_zero", "spread": "sd"}
SUFFIXES = (".parquet", ".csv", ".jsonl")


def check(frame: pd.DataFrame, schema: dict[str, str], needed: list[str], name: str) -> None:
    """InputError if a needed column is missing or has the name that an older version gave it, or if
    a numeric column holds what is no number."""
    older = [f"{old} is named {new}" for old, new in _OLDER.items()
             if old in frame and new in schema and new not in frame]
    require(not older, f"{name}: rename columns of an older version: {', '.join(older)}")
    require_columns(frame, needed, name)
    for column in (c for c in frame if schema.get(c) in ("whole", "number")):
        number = pd.to_numeric(frame[column], errors="coerce")
        good = number % 1 == 0 if schema[column] == "whole" else number.notna()
        bad = frame[column][frame[column].notna() & ~good]
        what = {"whole": "whole number", "number": "number"}[schema[column]]
        require(bad.empty, f"{name}: {column} {next(iter(bad), '')!r} is no {what}")


def exactness(frame: pd.DataFrame, name: str) -> pd.Series:
    """The column ``exact``, boolean, missing where it is not known; InputError for other values."""
    exact = frame.get("exact", pd.Series(None, frame.index, object))
    known = exact.map({True: True, False: False, "True": True, "False": False})
    strange = exact[known.isna() & exact.notna()]
    require(strange.empty, f"{name}: exact {next(iter(strange), '')!r} is neither True nor False")
    return known.astype("boolean")


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table by the ending of its name: parquet, CSV or JSON lines, UTF-8.

    A column that a schema calls text is text as it is written, whatever its kind in the file: 007
    in CSV, 2024 in JSON lines, 7 for whole numbers in parquet (also floats, if all are whole),
    true for a truth value. A list of texts may be written as a list of JSON or Python, or as one
    text. A value is missing if it is null, a key that JSON lines leave out, or an empty cell in
    CSV; an empty text in CSV is "" in quotes. Whole numbers of which some are missing are Int64.

    Raises InputError for a missing or unknown file, or one that cannot be read.
    """
    path = Path(path)
    require(path.exists(), f"{path}: no such file")
    require(path.suffix in SUFFIXES, f"{path}: a table ends in {', '.join(SUFFIXES)}; this is none")
    text = "" if path.suffix == ".parquet" else read_text(path)
    try:
        attributes = {}
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            attributes = (table.schema.pandas_metadata or {}).get("attributes", {})
            index = {name for name in table.column_names if name.startswith("__index_level_")}
            table = table.drop_columns(list(index))
            columns = list(zip(table.column_names, table.columns, strict=True))
        else:
            columns = _csv_columns(text) if path.suffix == ".csv" else _json_columns(text)
        names = [name for name, _ in columns]
        twice = [name for name in names if names.count(name) > 1]
        require(not twice, f"it has two columns {', '.join(twice[:1])}")
        frame = pd.DataFrame({name: _column(name, values) for name, values in columns})
        frame.attrs = attributes
        return frame
    except (ValueError, OSError, TypeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({reason})") from error


def _csv_columns(text: str) -> list[tuple[str, pa.ChunkedArray]]:
    names = next(csv.reader(io.StringIO(text, newline="")), [])
    require(names, "nothing in it")
    other = re.findall("[;\t|]", names[0]) if len(names) == 1 else []
    require(not other, f"its columns are parted by {', '.join(map(repr, other[:1]))}; use commas")
    data = f"{text}\n{','.join('.' for _ in names)}\n".encode()  # an open quote takes in this row
    table = arrow_csv.read_csv(
        pa.BufferReader(data), arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1),
        arrow_csv.ParseOptions(newlines_in_values=True), arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""],
            strings_can_be_null=True, quoted_strings_can_be_null=False))
    whole = table.num_rows and table[0][-1].as_py() == "."
    require(whole, "a quote is opened and not closed")
    columns = zip(names, table.slice(0, table.num_rows - 1).columns, strict=True)
    return [(name, column if name in _TEXTS | _LISTS else _numbers(column))
            for name, column in columns]


_ABSENT = pa.array(["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"])  # as a number


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of CSV as whole numbers, numbers or truth values if every value is one."""
    bare = pc.utf8_trim_whitespace(column)
    known = pc.if_else(pc.is_in(bare, _ABSENT), None, bare)
    # A column of nothing but words such as NA is text, one of empty cells has missing numbers.
    if known.null_count == len(known):
        empty = pc.all(pc.equal(bare, ""), min_count=0).as_py()
        return known.cast(pa.float64()) if empty else column
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        with suppress(pa.ArrowInvalid):
            return known.cast(kind)
    return column


def _json_columns(text: str) -> list[tuple[str, list]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
                require(isinstance(row, dict), "no object")
            except ValueError as error:
                raise ValueError(f"line {number}: {getattr(error, 'msg', error)}") from error
            if any(not isinstance(row[name], str) for name in _TEXTS | _LISTS if name in row):
                literal = json.loads(line, parse_int=str, parse_float=str,
                                     parse_constant=lambda _: None)
                row |= {k: json.dumps(v) if isinstance(v, bool) else v
                        for k, v in literal.items() if k in _TEXTS | _LISTS}
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return [(name, [row.get(name) for row in rows]) for name in names]


def _column(name: str, values: pa.Array | pa.ChunkedArray | list) -> Any:
    """The values of a column by the rule of :func:`read_table`: a Series or an extension array."""
    if isinstance(values, list) and not any(isinstance(v, list | dict) for v in values):
        with suppress(pa.ArrowException):  # raised where values are of several kinds
            values = pa.array(values)
    if name in _LISTS or isinstance(values, list) or pa.types.is_nested(values.type):
        values = values if isinstance(values, list) else values.to_pylist()
        return pd.Series([_listed(v) for v in values] if name in _LISTS else values, dtype=object)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if name in _TEXTS:
        return _text(name, values).to_pandas()
    if pa.types.is_integer(values.type) and values.null_count:
        return values.cast(pa.int64()).to_pandas(types_mapper=lambda _: pd.Int64Dtype())
    return values.to_pandas()


def _text(name: str, values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Values as text; ValueError for a whole float that may have lost digits."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
        largest = pc.max(pc.abs(values)).as_py() or 0
        lost = f"{name} {largest:.17g} is a float and may have lost digits; write it as text"
        require(largest < 2**53, lost)
        with suppress(pa.ArrowInvalid):  # raised where not all are whole
            values = values.cast(pa.int64())
    return values.cast(pa.string())


def _listed(value: Any) -> list[str] | None:
    """A list of texts, also from a text: a list as JSON or Python writes it, or its one text."""
    if value is None or value == "":
        return None
    listed = value if isinstance(value, list) else [value]
    if isinstance(value, str) and value.startswith("["):
        try:
            listed = json.loads(value, parse_int=str, parse_float=str)
        except ValueError:
            with suppress(ValueError, SyntaxError):
                listed = ast.literal_eval(value)
            # ['a' 'b'], as numpy writes a list, is ['ab'] to Python.
            require(repr(listed) == value, f'{value:.60} is no list, such as ["a", "b"]')
    texts = all(isinstance(v, str | int | float) for v in listed)
    require(texts, f"{value!r:.80} is no list of texts")
    return [v if isinstance(v, str) else json.dumps(v) for v in listed]


def write_table(frame: pd.DataFrame, path: Path | str) -> int:
    """Write a table by the ending of its name, or to standard output for "-" (as CSV).

    Writes beside and renames, so that no reader finds half a table. Returns the number of rows.
    Raises InputError for an unknown ending, and where it cannot write.
    """
    if str(path) == "-":
        print(_csv(frame), end="")
        return len(frame)
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path  # the link stays a link
    endings = f"{', '.join(SUFFIXES)}, or is - for standard output"
    require(path.suffix in SUFFIXES, f"{path}: a table ends in {endings}")
    require(path.parent.is_dir(), f"{path}: no folder {path.parent}")
    fresh = path.with_name(f".writing-{path.name}")
    try:
        if path.suffix == ".parquet":
            frame.to_parquet(fresh, index=False)
        else:
            text = _csv(frame) if path.suffix == ".csv" else _json_lines(frame)
            fresh.write_text(text, encoding="utf-8", newline="\n")
        os.replace(fresh, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        fresh.unlink(missing_ok=True)
    return len(frame)


def _csv(frame: pd.DataFrame) -> str:
    """CSV: a missing value is an empty cell, an empty text is "" in quotes, a list is JSON."""
    missing = '""' if frame.shape[1] == 1 else ""  # without quotes the line would be empty

    def cell(value: Any, number: Any = str) -> str:
        if value is None:
            return missing
        text = _json(value) if isinstance(value, list) else number(value)
        quoted = not text or re.search('[,"\r\n]', text)
        return '"' + text.replace('"', '""') + '"' if quoted else text

    columns = []
    for name in frame:
        floats = isinstance(frame[name].dtype, np.dtype) and frame[name].dtype.kind == "f"
        number = "{:.10g}".format if floats else str
        columns.append([cell(str(name)), *(cell(v, number) for v in _values(frame[name]))])
    return "".join(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _json_lines(frame: pd.DataFrame) -> str:
    rows = zip(*(_values(frame[name]) for name in frame), strict=True)
    return "".join(_json(dict(zip(frame, row, strict=True))) + "\n" for row in rows)


def _json(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=False, default=lambda v: v.item() if hasattr(v, "item") else str(v))


def _values(column: pd.Series) -> list:
    """The values of a column as Python's own, None where one is missing."""
    values = [v.tolist() if isinstance(v, np.ndarray) else v for v in column.tolist()]
    return [None if not isinstance(v, list | dict) and pd.isna(v) else v for v in values]
