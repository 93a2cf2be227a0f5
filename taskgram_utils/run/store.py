"""A run: its parameters, its tables and files on disk, and its manifest. The only file that knows paths.

A table is asked for by name and is either read where it lies, if it is current, or made by its recipe and kept. What
its recipe reads is written beside it: it is current while all that it was made from is as it was.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from taskgram_utils.errors import InputError, require
from taskgram_utils.run import reads
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.tables import read_table, write_table
from taskgram_utils.texts import read_text, read_yaml, write_text


class NoProject(InputError):
    """There is no checkout of the project here, only the installed package."""


def project_root() -> Path:
    """The folder that holds ``notebooks/runs``: above the working directory, else above the package; else NoProject."""
    for folder in (*[Path.cwd(), *Path.cwd().parents], PACKAGE.parent):
        if (folder / "notebooks" / "runs").is_dir():
            return folder
    raise NoProject("no notebooks/runs above the working directory: notebooks and runs are in the project's "
                    "repository, not in the installed package; clone it and run this inside the clone")  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How one table or file of a run is made.

    ``make(run, *parts)`` returns a frame; where ``path`` is set, ``make(run, out, *parts)`` writes ``out``, a file or
    folder. A name may carry parts: ``scores/3m/9604`` is made by the recipe ``scores/*`` with the parts
    ``("3m", "9604")``. What ``make`` reads of the run is noted; nothing is declared.
    """

    make: Callable
    suffix: str = ".parquet"
    path: bool = False


@dataclass(frozen=True)
class Input:
    """Files that a run is given: ``find(run, *parts)`` returns them. Their content counts, not where they lie."""

    find: Callable[..., Iterable[Path]]


@dataclass
class Run:
    """A run and its folder; ``table`` and ``path`` make what is missing or stale."""

    name: str
    parameters: dict[str, Any]
    folder: Path
    recipes: dict[str, Recipe | Input] = field(repr=False)
    root: Path = field(default_factory=project_root, repr=False)  # of the project: its run file's paths start there
    found: dict[str, Any] = field(default_factory=dict, repr=False)  # what takes long to find out, once a run is opened
    _current: dict[str, str] = field(default_factory=dict, repr=False)  # digests of what was found or made current

    def __getitem__(self, parameter: str) -> Any:
        require(parameter in self.parameters, f"run {self.name}: no parameter {parameter} in its run file")
        return self.get(parameter)

    def get(self, parameter: str, default: Any = None) -> Any:
        """A parameter, or the default where the run file does not name it."""
        reads.note("parameters", parameter, _plain(self.parameters.get(parameter)))
        return self.parameters.get(parameter, default)

    def table(self, name: str) -> pd.DataFrame:
        """The table of this name, made if it is missing or stale."""
        return read_table(self.path(name))

    def path(self, name: str) -> Path:
        """The file or folder of this name, made if it is missing or stale."""
        reads.note("tables", name, self._make(name))
        return self.place(name)

    def files(self, name: str) -> list[Path]:
        """The files of an input."""
        found = self._find(name)
        reads.note("inputs", name, reads.states(found))
        return found

    def place(self, name: str) -> Path:
        """Where the file or folder of this name is or will be."""
        return self.folder / f"{name}{self._recipe(name)[0].suffix}"

    def _recipe(self, name: str) -> tuple[Recipe | Input, tuple[str, ...]]:
        head, *parts = name.split("/")
        recipe = f"{head}/*" if parts else head
        tables = sorted(name for name, recipe in self.recipes.items() if isinstance(recipe, Recipe))
        require(recipe in self.recipes, f"table {name}: not one of {', '.join(tables)}")
        return self.recipes[recipe], tuple(parts)

    def _find(self, name: str) -> list[Path]:
        recipe, parts = self._recipe(name)
        with reads.recording():  # by which parameters it is found does not matter, but what is found
            return list(recipe.find(self, *parts))

    def is_current(self, name: str) -> bool:
        """Whether ``name`` lies on disk as it would be made now."""
        return self._digest(name) is not None

    def _digest(self, name: str, of_table: Callable[[str], str | None] | None = None) -> str | None:
        """The digest of what lies there under ``name`` if it is current, else None. ``of_table`` gives the digest that
        a table it was made from has now."""
        if name in self._current:
            return self._current[name]
        of_table = of_table or self._digest
        recipe, _ = self._recipe(name)
        place = self.place(name)
        if not place.exists() or not _stamp(place).exists():
            return None
        stamp = json.loads(_stamp(place).read_text(encoding="utf-8"))
        if stamp.get("code") != reads.code_of(recipe.make):
            return None
        made = stamp["reads"]
        try:
            same = (
                all(_plain(self.parameters.get(name)) == value for name, value in made["parameters"].items())
                and all(reads.unchanged(Path(path), before) for path, before in made["files"].items())
                and all(reads.all_unchanged(self._find(name), before) for name, before in made["inputs"].items())
                and all(of_table(name) == digest for name, digest in made["tables"].items())
            )
        except InputError:  # what it was made from is not there any more
            return None
        if same:
            self._current[name] = stamp["digest"]
        return stamp["digest"] if same else None

    def _make(self, name: str) -> str:
        """Make ``name`` unless it is current, after what it was made from; returns its digest."""
        if (digest := self._digest(name, self._make)) is not None:
            return digest
        recipe, parts = self._recipe(name)
        place = self.place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if (digest := self._digest(name, self._make)) is not None:  # another process made it meanwhile
                return digest
            began = time.monotonic()
            half = re.compile(rf"(\.writing-|\.)?\.making-{re.escape(place.name)}(\..*)?")
            for left in place.parent.glob(".*"):  # by a killed making
                if half.fullmatch(left.name):
                    remove(left)
            fresh = place.with_name(f".making-{place.name}")
            try:
                with reads.recording() as made:
                    rows = recipe.make(self, fresh, *parts) if recipe.path else recipe.make(self, *parts)
                rows = rows if recipe.path else write_table(rows, fresh)
            except BaseException:
                remove(fresh)
                raise
            code = reads.code_of(recipe.make)
            digest = reads.state(fresh)[2] if fresh.is_file() else reads.digest(code + json.dumps(_content(made)))
            _stamp(place).unlink(missing_ok=True)
            remove(place)
            fresh.rename(place)
            note = {"digest": digest, "rows": rows, "seconds": round(time.monotonic() - began, 2),
                    "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "code": code, "reads": made}  # fmt: skip
            write_text(_stamp(place), json.dumps(note, indent=1, default=str) + "\n")
        self._current[name] = digest
        return digest

    def manifest(self) -> dict[str, Any]:
        """Parameters, versions, what lies on disk with digests, rows and times; also written to ``manifest.json``."""
        made = {}
        for stamp in sorted(self.folder.rglob("*.json")):
            if stamp.with_suffix("").exists() and not any(p.startswith((".", "notebooks")) for p in stamp.parts[-3:]):
                noted = json.loads(stamp.read_text(encoding="utf-8"))
                del noted["reads"]
                made[str(stamp.relative_to(self.folder).with_suffix(""))] = noted
        own = {name: value for name, value in self.parameters.items() if "." not in name}  # of no chapter
        content = {"run": self.name, "parameters": own, "versions": versions(), "made": made}
        write_text(self.folder / "manifest.json", json.dumps(content, indent=1, default=str) + "\n")
        return content


def open_run_file(name_or_path: str, recipes: dict[str, Recipe], overrides: dict[str, Any] | None = None) -> Run:
    """Open a run by name (``notebooks/runs/<name>.yaml``) or by the path of a run file, with parameters replaced.

    Raises InputError for an unknown run or parameter, and for what is no YAML 1.2.
    """
    root = project_root()
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = root / "notebooks" / "runs" / f"{name_or_path}.yaml"
    known = ", ".join(sorted(p.stem for p in (root / "notebooks" / "runs").glob("*.yaml")))
    require(path.exists(), f"run {name_or_path}: no such run file (there are: {known})")
    parameters = read_yaml(read_text(path), str(path))
    require(isinstance(parameters, dict), f"{path}: a run file maps parameters to values")
    for parameter in overrides or {}:
        require(parameter in parameters, f"parameter {parameter}: run {path.stem} has none of that name")
    parameters |= overrides or {}
    # A run file passed by its path is named after it: a copy must not write where its original does.
    own = path.parent != root / "notebooks" / "runs" and "name" not in (overrides or {})
    name = path.stem if own else str(parameters.get("name", path.stem))
    return Run(name, parameters, root / "build" / "run" / name, recipes, root)


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


def _plain(value: Any) -> Any:
    """A parameter as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def _content(made: reads.Notes) -> reads.Notes:
    """What was read without the times at which files were changed."""

    def bare(state: list | None) -> str | None:
        return state and state[2]

    inputs = {name: {path: bare(s) for path, s in files.items()} for name, files in made["inputs"].items()}
    return made | {"inputs": inputs, "files": {path: bare(s) for path, s in made["files"].items()}}


def _stamp(place: Path) -> Path:
    """The file that says from what another one was made."""
    return place.with_name(place.name + ".json")
