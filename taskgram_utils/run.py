"""A run: its parameters, its tables and files on disk, and its manifest. The only file that knows paths.

A table is asked for by name and is either read where it stands, if it is current, or made by its recipe and kept. It is
current when its key is unchanged: a hash of its recipe's code, the parameters it reads and the keys of what it needs.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import inspect
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from filelock import FileLock

from taskgram_utils.errors import InputError, require

PACKAGE = Path(__file__).resolve().parent
SUFFIXES = (".parquet", ".csv", ".jsonl")
_TEXTS = ("example_id", "task", "split", "group", "instruction", "x", "y", "sx", "sy", "lm", "model", "world", "output")
_NAMES = ("example_id", "task", "split", "group", "lm", "model", "world")  # a number may stand for its text
_LISTS = ("answers", "options")


def project_root() -> Path:
    """The folder that holds ``notebooks/runs``: above the working directory, else above the package."""
    for folder in (*[Path.cwd(), *Path.cwd().parents], PACKAGE.parent):
        if (folder / "notebooks" / "runs").is_dir():
            return folder
    raise InputError("no notebooks/runs above the working directory: run this inside the project")


@dataclass(frozen=True)
class Recipe:
    """How one table or file of a run is made.

    ``make(run, *parts)`` returns a frame; where ``path`` is set, ``make(run, out, *parts)`` writes ``out``, a file or
    folder (``resumable``: what a killed making left is handed to the next one of the same key; all else is removed).
    A name may carry parts: ``scores/3m/9604`` is made by the recipe ``scores/*`` with the parts ``("3m", "9604")``.
    ``needs``: names of what it reads, or a function of (run, *parts); ``parameters``: the run
    parameters it reads; ``rooms``: the modules whose code it calls (what they import counts too).
    """

    make: Callable
    needs: tuple[str, ...] | Callable = ()
    parameters: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    suffix: str = ".parquet"
    path: bool = False
    resumable: bool = False
    inputs: Callable | None = None


@dataclass
class Run:
    """A run and its folder; ``table`` and ``path`` make what is missing or stale."""

    name: str
    parameters: dict[str, Any]
    folder: Path
    recipes: dict[str, Recipe] = field(repr=False)
    root: Path = field(default_factory=project_root, repr=False)  # of the project: its run file's paths start there
    _keys: dict[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, parameter: str) -> Any:
        require(parameter in self.parameters, f"run {self.name}: no parameter {parameter} in its run file")
        return self.parameters[parameter]

    def table(self, name: str) -> pd.DataFrame:
        """The table of this name, made if it is missing or stale."""
        return read_table(self._current(name))

    def path(self, name: str) -> Path:
        """The file or folder of this name, made if it is missing or stale."""
        return self._current(name)

    def _recipe(self, name: str) -> tuple[Recipe, tuple[str, ...]]:
        head, *parts = name.split("/")
        recipe = f"{head}/*" if parts else head
        require(recipe in self.recipes, f"table {name}: not one of {', '.join(sorted(self.recipes))}")
        return self.recipes[recipe], tuple(parts)

    def needs(self, name: str) -> tuple[str, ...]:
        """The names of what ``name`` is made from."""
        recipe, parts = self._recipe(name)
        return recipe.needs(self, *parts) if callable(recipe.needs) else recipe.needs

    def is_current(self, name: str) -> bool:
        """Whether ``name`` stands on disk as it would be made now."""
        place = self._place(name)
        return _fresh(place, _stamp(place), self.key(name))

    def key(self, name: str) -> str:
        """The key under which ``name`` is current now."""
        if name not in self._keys:
            recipe, parts = self._recipe(name)
            needs = self.needs(name)
            content = {
                "name": name, "code": code_hash(recipe.make, *recipe.rooms),
                "parameters": {p: self.parameters.get(p) for p in recipe.parameters},
                "inputs": recipe.inputs(self, *parts) if recipe.inputs else None,
                "needs": {n: self.key(n) for n in needs},
            }  # fmt: skip
            self._keys[name] = _digest(json.dumps(content, sort_keys=True, default=str))
        return self._keys[name]

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}{self._recipe(name)[0].suffix}"

    def _current(self, name: str) -> Path:
        recipe, parts = self._recipe(name)
        place = self._place(name)
        stamp = _stamp(place)
        if _fresh(place, stamp, self.key(name)):
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if _fresh(place, stamp, self.key(name)):
                return place
            began = time.monotonic()
            fresh = place.with_name(f".{self.key(name)[:8]}-{place.name}")
            half = re.compile(rf"(\.writing-|\.)?\.[0-9a-f]{{8}}-{re.escape(place.name)}(\..*)?")
            for left in place.parent.glob(".*"):  # by a killed making, under whichever key
                if half.fullmatch(left.name) and not (left == fresh and recipe.resumable):
                    remove(left)
            try:
                if recipe.path:
                    rows = recipe.make(self, fresh, *parts)
                else:
                    rows = write_table(recipe.make(self, *parts), fresh)
            except BaseException:
                if not recipe.resumable:
                    remove(fresh)
                raise
            stamp.unlink(missing_ok=True)
            remove(place)
            fresh.rename(place)
            note = {"key": self.key(name), "rows": rows, "seconds": round(time.monotonic() - began, 2),
                    "made": time.strftime("%Y-%m-%dT%H:%M:%S%z")}  # fmt: skip
            write_text(stamp, json.dumps(note, indent=1, default=str) + "\n")
        return place

    def manifest(self) -> dict[str, Any]:
        """Parameters, versions, what stands on disk with keys, rows and times; also written to ``manifest.json``."""
        made = {}
        for stamp in sorted(self.folder.rglob("*.json")):
            if stamp.with_suffix("").exists() and not any(p.startswith((".", "notebooks")) for p in stamp.parts[-3:]):
                made[str(stamp.relative_to(self.folder).with_suffix(""))] = json.loads(stamp.read_text())
        content = {"run": self.name, "parameters": self.parameters, "versions": versions(), "made": made}
        write_text(self.folder / "manifest.json", json.dumps(content, indent=1, default=str) + "\n")
        return content


def open_run_file(name_or_path: str, recipes: dict[str, Recipe], overrides: dict[str, Any] | None = None) -> Run:
    """Open a run by name (``notebooks/runs/<name>.yaml``) or by the path of a run file, with parameters replaced.

    Raises InputError for an unknown run, an unknown parameter or a value of another type than the run file's.
    """
    root = project_root()
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = root / "notebooks" / "runs" / f"{name_or_path}.yaml"
    known = ", ".join(sorted(p.stem for p in (root / "notebooks" / "runs").glob("*.yaml")))
    require(path.exists(), f"run {name_or_path}: no such run file (there are: {known})")
    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML run file ({' '.join(str(error).split())})") from error
    require(isinstance(parameters, dict), f"{path}: a run file maps parameters to values")
    for parameter, value in (overrides or {}).items():
        require(parameter in parameters, f"parameter {parameter}: run {path.stem} has none of that name")
        require(
            same_type(parameters[parameter], value),
            f"parameter {parameter}: {value!r} is no {type(parameters[parameter]).__name__} "
            f"like {parameters[parameter]!r}",
        )
        parameters[parameter] = value
    # A run file passed by its path is named after it: a copy must not write where its original does.
    own = path.parent != root / "notebooks" / "runs" and "name" not in (overrides or {})
    name = path.stem if own else str(parameters.get("name", path.stem))
    return Run(name, parameters, root / "build" / "run" / name, recipes, root)


def same_type(old: Any, new: Any) -> bool:
    """Whether ``new`` may stand for ``old``: same type; an integer may stand for a float; anything for null."""
    if old is None or (isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool)):
        return True
    return type(old) is type(new)


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table by the ending of its name: parquet, CSV (a list is a JSON list in its cell) or JSONL."""
    path = Path(path)
    require(path.exists(), f"{path}: no such file")
    require(path.suffix in SUFFIXES, f"{path}: a table ends in {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        text = dict.fromkeys(_TEXTS, str)
        if path.suffix == ".csv":
            table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])
            whole = isinstance(table.index, pd.RangeIndex)  # else pandas has made the surplus fields an index
            require(whole, f"{path}: its rows have more fields than its header; quote what holds a comma")
            for column in table.columns.intersection(_LISTS):
                table[column] = [v if pd.isna(v) else _listed(str(v)) for v in table[column]]
            return table
        table = pd.read_json(
            path, lines=True, dtype=dict.fromkeys(_TEXTS, object), convert_dates=False, precise_float=True
        )
        for column in table.columns.intersection(_NAMES):
            table[column] = [v if isinstance(v, (str, list, dict)) or pd.isna(v) else str(v) for v in table[column]]
        return table.astype({c: "str" for c in table.columns.intersection(_TEXTS) if _all_texts(table[c])})
    except InputError:
        raise
    except (ValueError, OSError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({reason})") from error


def write_table(frame: pd.DataFrame, path: Path | str) -> int:
    """Write a table by the ending of its name, beside and renamed; ``-`` is standard output (CSV). Returns its rows."""
    if str(path) == "-":
        print(_csv(frame), end="")
        return len(frame)
    path = Path(path)
    require(path.suffix in SUFFIXES, f"{path}: a table ends in {', '.join(SUFFIXES)}, or is - for standard output")
    require(path.parent.is_dir(), f"{path}: no folder {path.parent}")
    fresh = path.with_name(f".writing-{path.name}")
    try:
        if path.suffix == ".parquet":
            frame.to_parquet(fresh, index=False)
        elif path.suffix == ".csv":
            _csv(frame, fresh)
        else:
            frame.to_json(fresh, orient="records", lines=True, force_ascii=False, double_precision=12)
        os.replace(fresh, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        fresh.unlink(missing_ok=True)
    return len(frame)


def _all_texts(column: pd.Series) -> bool:
    return all(isinstance(v, str) or v is None or v is pd.NA or v != v for v in column)


def _csv(frame: pd.DataFrame, file: Path | None = None) -> str | None:
    """The frame as CSV, in a file or as text: its lists as JSON, all its texts in quotes where one holds a carriage
    return, which would end the row."""
    flat = _flat(frame)
    texts = (flat[c] for c in flat if not pd.api.types.is_numeric_dtype(flat[c]))
    returns = any(isinstance(v, str) and "\r" in v for column in texts for v in column)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return flat.to_csv(file, index=False, float_format="%.10g", quoting=quoting, lineterminator="\n")


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its lists as JSON, for CSV."""
    lists = {c: [v if np.ndim(v) == 0 else json.dumps(list(v), ensure_ascii=False) for v in frame[c]]
             for c in frame.columns.intersection(_LISTS)}  # fmt: skip
    return frame.assign(**lists)


def _listed(cell: str) -> list:
    """The list in a cell of a CSV table; a plain text is a list of one."""
    return json.loads(cell) if cell.startswith("[") else [cell]


def write_text(path: Path, text: str) -> None:
    """Write a small text file beside and rename it."""
    fresh = path.with_name(f".writing-{path.name}-{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def versions(
    names: Iterable[str] = ("numpy", "pandas", "scipy", "torch", "transformers", "taskgram_utils"),
) -> dict[str, str]:
    """Versions of Python and of the packages that numbers may depend on."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def _imports(module: str) -> frozenset[str]:
    """The package's modules that ``module`` is made of: itself and all that it imports from the package."""
    name = PACKAGE.name
    path = PACKAGE.parent / (module.replace(".", "/") + ".py")
    if not path.exists():
        return frozenset()
    found = {module}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == name:
            for target in (node.module, *(f"{node.module}.{a.name}" for a in node.names)):
                found |= _imports(target)
    return frozenset(found)


def code_hash(make: Callable, *rooms: str) -> str:
    """A hash of a function's source and of the code of the modules it calls, imports within the package included."""
    modules = sorted(set().union(*(_imports(f"{PACKAGE.name}.{room}") for room in rooms))) if rooms else []
    sources = sorted(inspect.getsource(f) for f in _called(make, {}).values())
    sources += [(PACKAGE.parent / (m.replace(".", "/") + ".py")).read_text(encoding="utf-8") for m in modules]
    return _digest("\0".join(sources))


def _called(function: Callable, found: dict[str, Callable]) -> dict[str, Callable]:
    """A function with those of its own module that it calls by name, through closures and nested functions too."""
    found[function.__qualname__] = function
    codes, cells = [function.__code__], [c.cell_contents for c in function.__closure__ or ()]
    while codes:
        code = codes.pop()
        codes += [c for c in code.co_consts if inspect.iscode(c)]
        cells += [function.__globals__.get(name) for name in code.co_names]
    for other in cells:
        if inspect.isfunction(other) and other.__module__ == function.__module__ and other.__qualname__ not in found:
            _called(other, found)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _stamp(place: Path) -> Path:
    """The file that says under which key another one was made."""
    return place.with_name(place.name + ".json")


def _fresh(place: Path, stamp: Path, key: str) -> bool:
    return place.exists() and stamp.exists() and json.loads(stamp.read_text()).get("key") == key
