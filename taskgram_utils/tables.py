"""Tables and texts in files: parquet, CSV, JSON lines, YAML 1.2; what is written is written beside and renamed."""

from __future__ import annotations

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
import yaml

from taskgram_utils.errors import InputError, require

SUFFIXES = (".parquet", ".csv", ".jsonl")
_TEXTS = ("example_id", "task", "split", "group", "instruction", "x", "y", "sx", "sy", "lm", "model", "world", "output")
_LISTS = ("answers", "options", "stop")


class _Yaml(yaml.SafeLoader):
    """YAML 1.2, core schema: 0500 is 500; 1:30, yes, off and dates are text; no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        for place, (key, _) in enumerate(node.value):
            if any(key.value == other.value for other, _ in node.value[:place]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Yaml.yaml_implicit_resolvers = {}  # none of YAML 1.1
_Yaml.add_constructor("tag:yaml.org,2002:int", _Yaml.construct_yaml_int)
for _kind, _form in {
    "null": r"~|null|Null|NULL|", "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}.items():  # fmt: skip
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_form})$(?!\n)"), None)


def read_yaml(text: str, where: str) -> Any:
    """What a YAML 1.2 text holds; InputError says ``where`` it is none, or has a key twice."""
    try:
        return yaml.load(text, _Yaml)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{where}: no YAML ({' '.join(str(error).split())})") from error


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table by the ending of its name: parquet, CSV or JSON lines, UTF-8.

    Ids, labels and texts are text as they are written, whatever a file has them as: 007 of a CSV table, 2024 of JSON
    lines, 7 of whole numbers in parquet (of floats too, where all are whole), true of a truth value. ``answers`` and
    ``options`` are lists of texts; a text there is a list as JSON or Python writes it, or a list of one. What has no
    value is missing: a null, a key that JSON lines leave out, an empty cell of a CSV table without quotes; an empty
    text is "" in quotes. Whole numbers with a missing one among them are Int64. Raises InputError.
    """
    path = Path(path)
    require(path.exists(), f"{path}: no such file")
    require(path.suffix in SUFFIXES, f"{path}: a table ends in {', '.join(SUFFIXES)}")
    read = {".parquet": _parquet_columns, ".csv": _csv_columns, ".jsonl": _json_columns}[path.suffix]
    try:
        columns = read(path)
        names = [name for name, _ in columns]
        twice = next((name for name in names if names.count(name) > 1), "")
        require(not twice, f"{path}: has two columns {twice}")
        frame = pd.DataFrame({name: _column(name, column) for name, column in columns})
        if path.suffix == ".parquet":
            frame.attrs = (pq.read_schema(path).pandas_metadata or {}).get("attributes", {})
        return frame
    except InputError:
        raise
    except (ValueError, OSError, TypeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({reason})") from error


def _parquet_columns(path: Path) -> list[tuple[str, pa.ChunkedArray]]:
    with pq.ParquetFile(path) as file:
        table = file.read()
    named = zip(table.column_names, table.columns, strict=True)
    return [(name, column) for name, column in named if not name.startswith("__index_level_")]


def _csv_columns(path: Path) -> list[tuple[str, pa.ChunkedArray]]:
    text = read_text(path)
    names = next(csv.reader(io.StringIO(text, newline="")), [])
    require(names, f"{path}: cannot be read as csv (nothing in it)")
    other = re.search("[;\t|]", names[0])
    require(len(names) > 1 or not other, f"{path}: its columns are parted by {other and other[0]!r}; use commas")
    options = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )  # fmt: skip
    data = f"{text}\n{','.join('.' for _ in names)}\n".encode()  # a last row, which an open quote would swallow
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data), arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1),
            arrow_csv.ParseOptions(newlines_in_values=True), options,
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if not found:
            raise
        row, wanted, got = map(int, found.groups())
        many = f"{'more' if got > wanted else 'fewer'} fields than its header ({got}, not {wanted})"
        raise InputError(f"{path}, row {row - 1}: {many}; quote what holds a comma") from error
    whole = table.num_rows and table[0][-1].as_py() == "."
    require(whole, f"{path}: cannot be read as csv (a quote is opened and not closed)")
    table = table.slice(0, table.num_rows - 1)
    return [(name, column if name in (*_TEXTS, *_LISTS) else _numbers(column))
            for name, column in zip(table.column_names, table.columns, strict=True)]  # fmt: skip


def _json_columns(path: Path) -> list[tuple[str, pa.Array | list]]:
    rows, written = [], []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
                written.append(json.loads(line, parse_int=str, parse_float=str))
            except ValueError as error:
                raise InputError(f"{path}, line {number}: cannot be read as jsonl ({error})") from error
            require(isinstance(rows[-1], dict), f"{path}, line {number}: cannot be read as jsonl (no object)")
    columns = []
    for name in dict.fromkeys(name for row in rows for name in row):
        text = name in (*_TEXTS, *_LISTS)
        values = [row.get(name) for row in (written if text else rows)]
        if text:  # a truth value as it is written, and NaN, which is no value
            values = [json.dumps(v) if v is True or v is False else None if v != v else v for v in values]
        nested = any(isinstance(v, list | dict) for v in values)
        try:
            columns.append((name, values if nested else pa.array(values)))
        except pa.ArrowException:  # values of several kinds
            columns.append((name, values))
    return columns


_ABSENT = pa.array(["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"])  # among numbers


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of a CSV table as whole numbers, numbers or truth values, if all that stands in it is."""
    bare = pc.utf8_trim_whitespace(column)
    known = pc.if_else(pc.is_in(bare, _ABSENT), None, bare)
    if known.null_count == len(known):  # nothing but missing numbers, or words that look like one
        return known.cast(pa.float64()) if pc.all(pc.equal(bare, ""), min_count=0).as_py() else column
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        with suppress(pa.ArrowInvalid):
            return known.cast(kind)
    return column


def _column(name: str, column: pa.Array | pa.ChunkedArray | list) -> pd.Series | pd.api.extensions.ExtensionArray:
    """The values of a column by the rule of :func:`read_table`."""
    if name in _LISTS:
        values = column if isinstance(column, list) else column.to_pylist()
        return pd.Series([_listed(v) for v in values], dtype=object)
    if isinstance(column, list):
        return pd.Series(column, dtype=object)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        return pd.Series(column.to_pylist(), dtype=object)
    if name in _TEXTS:
        return _text(name, column).to_pandas()
    if pa.types.is_integer(column.type) and column.null_count:
        return pd.array(column.to_pylist(), dtype="Int64")
    return column.to_pandas()


def _text(name: str, column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        if pc.all(pc.equal(column, pc.floor(column))).as_py():
            largest = pc.max(pc.abs(column)).as_py() or 0
            if largest >= 2**53:
                raise ValueError(f"{name} {largest:.17g} is a float and may have lost digits; write it as text")
            column = column.cast(pa.int64())
    return column.cast(pa.string())


def _listed(value: Any) -> list[str] | None:
    """A list of texts, also from the text that stands for one in a cell."""
    if value is None or value == "":
        return None
    listed = value if isinstance(value, list) else [value]
    if isinstance(value, str) and value.startswith("["):
        try:
            listed = json.loads(value, parse_int=str, parse_float=str)
        except ValueError as error:
            with suppress(ValueError, SyntaxError):
                listed = ast.literal_eval(value)
            if repr(listed) != value:  # ['a' 'b'], as numpy writes a list, is ['ab'] to Python
                raise ValueError(f'{value:.60} is no list, such as ["a", "b"]') from error
    if not all(isinstance(v, str | int | float) for v in listed):
        raise ValueError(f"{value!r:.80} is no list of texts")
    return [v if isinstance(v, str) else json.dumps(v) for v in listed]


def write_table(frame: pd.DataFrame, path: Path | str) -> int:
    """Write a table by the ending of its name, beside and renamed; ``-`` is standard output (CSV). Returns its rows."""
    if str(path) == "-":
        print(_csv(frame), end="")
        return len(frame)
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path  # the link stays one
    require(path.suffix in SUFFIXES, f"{path}: a table ends in {', '.join(SUFFIXES)}, or is - for standard output")
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
    """The frame as CSV: what is missing is an empty cell, an empty text is "" in quotes, a list is JSON."""
    missing = '""' if frame.shape[1] == 1 else ""  # else its line would be empty
    columns = []
    for name in frame:
        number = "{:.10g}".format if isinstance(frame[name].dtype, np.dtype) and frame[name].dtype.kind == "f" else str
        columns.append([missing if v is None else _cell(v if isinstance(v, str) else
                        _json(v) if isinstance(v, list) else number(v)) for v in _values(frame[name])])  # fmt: skip
    rows = [[_cell(str(name)) for name in frame], *zip(*columns, strict=True)]
    return "".join(",".join(row) + "\n" for row in rows)


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if not text or re.search('[,"\r\n]', text) else text


def _json_lines(frame: pd.DataFrame) -> str:
    columns = [_values(frame[name]) for name in frame]
    return "".join(_json(dict(zip(frame, row, strict=True))) + "\n" for row in zip(*columns, strict=True))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda v: v.tolist() if isinstance(v, np.generic) else str(v))


def _values(column: pd.Series) -> list:
    """The values of a column as Python's own, None where one is missing."""
    values = [v.tolist() if isinstance(v, np.ndarray) else v for v in column.tolist()]
    return [None if not isinstance(v, list | dict) and pd.isna(v) else v for v in values]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, a byte order mark left out; InputError says what it is where it is no UTF-8."""
    try:
        data = path.read_bytes()
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:2]
        require(not wide, f"{path}: is UTF-16 text; save it as UTF-8")
        require(data[:2] != b"\x1f\x8b" and data[:4] != b"\x28\xb5\x2f\xfd", f"{path}: is compressed; unpack it first")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8 text (byte {error.start:,})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def write_text(path: Path, text: str) -> None:
    """Write a small text file beside and rename it."""
    fresh = path.with_name(f".writing-{path.name}-{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
