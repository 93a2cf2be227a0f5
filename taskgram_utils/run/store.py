"""A run: its parameters, its tables and files on disk, and its manifest.

A table is asked for by name. It is read from disk if it is current, else its recipe makes it and it
is kept. What its recipe reads is written beside it: it is current while all of that is as it was.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed
from taskgram_utils.run import reads
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.tables import read_table, read_text, read_yaml, write_table, write_text


class NoProject(InputError):
    """There is no checkout of the project here, only the installed package."""


def project_root() -> Path:
    """The folder that holds ``notebooks/runs``: above the working directory, else above the
    package. Raises NoProject where there is none."""
    for folder in (*[Path.cwd(), *Path.cwd().parents], PACKAGE.parent):
        if (folder / "notebooks" / "runs").is_dir():
            return folder
    raise NoProject("no notebooks/runs above the working directory: notebooks and runs are in the "
                    "project's repository, not in the installed package; clone it and run this "
                    "inside the clone")


@dataclass(frozen=True)
class Recipe:
    """How one table or file of a run is made.

    ``make(run, *parts)`` returns a frame; where ``path`` is set, ``make(run, out, *parts)`` writes
    ``out``, a file or folder. A name may carry parts: the recipe ``scores/*`` makes
    ``scores/3m/9604`` with the parts ``("3m", "9604")``. What ``make`` reads of the run is noted;
    nothing is declared.
    """

    make: Callable
    suffix: str = ".parquet"
    path: bool = False


@dataclass(frozen=True)
class Input:
    """Files that a run is given: ``find(run, *parts)`` returns them. Their content and their names
    count, not the folder they are in."""

    find: Callable[..., Iterable[Path]]


@dataclass
class Run:
    """A run and its folder; ``table`` and ``path`` make what is missing or stale."""

    name: str
    parameters: dict[str, Any]
    folder: Path
    recipes: dict[str, Recipe | Input] = field(repr=False)
    root: Path = field(default_factory=project_root, repr=False)  # paths of a run file start here
    found: dict[str, Any] = field(default_factory=dict, repr=False)  # looked up once a run
    _current: dict[str, str] = field(default_factory=dict, repr=False)  # digests of current tables

    def __getitem__(self, parameter: str) -> Any:
        lacks = parameter not in self.parameters
        require(not lacks, f"run {self.name}: no parameter {parameter} in its run file")
        return self.get(parameter)

    def get(self, parameter: str, default: Any = None) -> Any:
        """A parameter, or the default where the run file does not name it."""
        reads.note("parameters", parameter, self._plain(parameter))
        return self.parameters.get(parameter, default)

    def _plain(self, parameter: str) -> Any:
        """A parameter as JSON gives it back."""
        return json.loads(json.dumps(self.parameters.get(parameter), default=str))

    def table(self, name: str) -> pd.DataFrame:
        """The table of this name, made if it is missing or stale."""
        return read_table(self.path(name))

    def path(self, name: str) -> Path:
        """The file or folder of this name, made if it is missing or stale."""
        reads.note("tables", name, self._make(name))
        return self.place(name)

    def files(self, name: str) -> list[Path]:
        """The files of an input."""
        files = self._find(name)
        reads.note("inputs", name, reads.states(files))
        return files

    def place(self, name: str) -> Path:
        """Where the file or folder of this name is or will be."""
        return self.folder / f"{name}{self._recipe(name)[0].suffix}"

    def is_current(self, name: str) -> bool:
        """Whether ``name`` is on disk as it would be made now."""
        return self._digest(name) is not None

    def _recipe(self, name: str) -> tuple[Recipe | Input, list[str]]:
        """The recipe or input of a name, and the name's parts; InputError for an unknown name."""
        head, *parts = name.split("/")
        recipe = self.recipes.get(f"{head}/*" if parts else head)
        tables = sorted(name for name, each in self.recipes.items() if isinstance(each, Recipe))
        require(recipe, f"table {name}: not one of {', '.join(tables)}")
        return recipe, parts

    def _find(self, name: str) -> list[Path]:
        recipe, parts = self._recipe(name)
        with reads.recording():  # the files count, not the parameters by which they are found
            return list(recipe.find(self, *parts))

    def _digest(self, name: str, table_digest: Callable | None = None) -> str | None:
        """The digest of ``name`` if what is on disk is current, else None. ``table_digest`` gives
        the digest that a table has now; by default None for one that is not current."""
        place = self.place(name)
        stamp_file = _stamp_file(place)
        if name in self._current or not place.exists() or not stamp_file.exists():
            return self._current.get(name)
        stamp = json.loads(stamp_file.read_text(encoding="utf-8"))
        as_before = {
            "parameters": lambda name, before: self._plain(name) == before,
            "files": lambda path, before: reads.unchanged(Path(path), before),
            "inputs": lambda name, before: reads.all_unchanged(self._find(name), before),
            "tables": lambda name, before: (table_digest or self._digest)(name) == before,
        }
        with suppress(InputError):  # where what it was made from is gone
            if stamp.get("code") == reads.code_of(self._recipe(name)[0].make) and all(
                same(part, before) for kind, same in as_before.items()
                for part, before in stamp["reads"][kind].items()
            ):
                self._current[name] = stamp["digest"]
        return self._current.get(name)

    def _make(self, name: str) -> str:
        """Make ``name`` and what it is made from unless they are current; returns its digest."""
        if digest := self._digest(name, self._make):
            return digest
        recipe, parts = self._recipe(name)
        place = self.place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        workshop = place.with_name(f".making-{place.name}")
        fresh = workshop / place.name
        with FileLock(f"{place}.lock"):
            if digest := self._digest(name, self._make):  # another process made it meanwhile
                return digest
            began = time.monotonic()
            remove(workshop)  # which a killed process left
            workshop.mkdir()
            try:
                with reads.recording() as notes:
                    out = [fresh] if recipe.path else []
                    rows = recipe.make(self, *out, *parts)
                rows = rows if recipe.path else write_table(rows, fresh)
                digest = _digest_of(fresh)
                _stamp_file(place).unlink(missing_ok=True)
                remove(place)
                fresh.rename(place)
            finally:
                remove(workshop)
            stamp = {"digest": digest, "rows": rows, "seconds": round(time.monotonic() - began, 2),
                     "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                     "code": reads.code_of(recipe.make), "reads": notes}
            write_text(_stamp_file(place), json.dumps(stamp, indent=1, default=str) + "\n")
        self._current[name] = digest
        return digest

    def manifest(self) -> dict[str, Any]:
        """Parameters, versions, and what is on disk with digests, rows and times; also written to
        ``manifest.json``."""
        made = {}
        for stamp_file in listed(self.folder, "*.json"):
            name = stamp_file.relative_to(self.folder).with_suffix("")
            if stamp_file.with_suffix("").exists() and name.parts[0] != "notebooks":
                stamp = json.loads(stamp_file.read_text(encoding="utf-8"))
                made[str(name)] = {key: stamp[key] for key in stamp if key != "reads"}
        parameters = {n: v for n, v in self.parameters.items() if "." not in n}  # of no chapter
        content = {"run": self.name, "parameters": parameters, "versions": versions(), "made": made}
        write_text(self.folder / "manifest.json", json.dumps(content, indent=1, default=str) + "\n")
        return content


def open_run_file(name_or_path: str, recipes: dict[str, Recipe | Input],
                  overrides: dict[str, Any] | None = None) -> Run:
    """Open a run by name (``notebooks/runs/<name>.yaml``) or by the path of a run file, with
    parameters replaced. Raises InputError for an unknown run or parameter, and for what is no
    YAML 1.2."""
    root, path, overrides = project_root(), Path(name_or_path), overrides or {}
    runs = root / "notebooks" / "runs"
    if path.suffix not in (".yaml", ".yml"):
        path = runs / f"{name_or_path}.yaml"
    known = ", ".join(sorted(file.stem for file in runs.glob("*.yaml")))
    require(path.exists(), f"run {name_or_path}: no such run file (there are: {known})")
    parameters = read_yaml(read_text(path), str(path))
    require(isinstance(parameters, dict), f"{path}: a run file maps parameters to values")
    unknown = ", ".join(overrides.keys() - parameters.keys())
    require(not unknown, f"parameter {unknown}: run {path.stem} has none of that name")
    parameters |= overrides
    name = str(parameters.get("name", path.stem))
    if path.parent != runs and "name" not in overrides:
        name = path.stem  # a copy must not write where its original does
    return Run(name, parameters, root / "build" / "run" / name, recipes, root)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def versions(names: Iterable[str] = ("numpy", "pandas", "scipy", "torch", "transformers",
                                     "taskgram_utils")) -> dict[str, str]:
    """Versions of Python and of the packages that numbers may depend on; ``absent`` for none."""
    installed = {"python": platform.python_version()} | dict.fromkeys(names, "absent")
    for name in names:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def _digest_of(path: Path) -> str:
    """The digest of the content of a file, or of the files of a folder."""
    if path.is_file():
        return reads.state(path)[2]
    states = reads.states(file for file in path.rglob("*") if file.is_file())
    return reads.digest(json.dumps({name: states[name][2] for name in sorted(states)}))


def _stamp_file(place: Path) -> Path:
    """The file that says from what another one was made."""
    return place.with_name(place.name + ".json")
