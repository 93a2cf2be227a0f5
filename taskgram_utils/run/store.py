"""A run: its parameters, its tables and files on disk, and its manifest.

A table is asked for by name. If it is current, it is read from disk; otherwise its recipe makes it
and it is saved. What the recipe reads is noted beside it: the table is current while all of that is
as it was.
"""

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
from taskgram_utils.tables import read_table, write_table
from taskgram_utils.texts import read_text, read_yaml, write_text


class NoProject(InputError):
    """There is no checkout of the project here, only the installed package."""


def project_root() -> Path:
    """The folder that holds ``notebooks/runs``: above the working directory, else above the
    package. Raises NoProject where there is none."""
    for folder in (*[Path.cwd(), *Path.cwd().parents], PACKAGE.parent):
        if (folder / "notebooks" / "runs").is_dir():
            return folder
    raise NoProject("no notebooks/runs above the working directory: they are in the project's "
                    "repository; clone it and run this inside the clone")


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
    memo: dict[str, Any] = field(default_factory=dict, repr=False)  # found out once a run
    _current: dict[str, str] = field(default_factory=dict, repr=False)  # digests of current tables

    def __getitem__(self, parameter: str) -> Any:
        require(parameter in self.parameters, f"run {self.name}: its run file lacks {parameter}")
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
        require(isinstance(self._recipe(name)[0], Recipe), f"table {name}: is files that the run "
                f"reads; run.files({name!r}) names them")
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
        if recipe := self.recipes.get(f"{head}/*" if parts else head):
            return recipe, parts
        tables = sorted(name for name, each in self.recipes.items() if isinstance(each, Recipe))
        raise InputError(f"table {name}: not one of {', '.join(tables)}")

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
        if stamp.get("code") != reads.code_of(self._recipe(name)[0].make):
            return None
        as_before = {
            "parameters": lambda name, value: self._plain(name) == value,
            "files": lambda path, state: reads.unchanged(Path(path), state),
            "inputs": lambda name, states: reads.all_unchanged(self._find(name), states),
            "tables": lambda name, digest: (table_digest or self._digest)(name) == digest,
        }
        with suppress(InputError):  # where what it was made from is gone
            if all(as_before[kind](part, value) for kind in as_before
                   for part, value in stamp["reads"][kind].items()):
                self._current[name] = stamp["digest"]
        return self._current.get(name)

    def _make(self, name: str) -> str:
        """Make ``name`` and what it is made from unless they are current; returns its digest."""
        recipe, parts = self._recipe(name)
        place = self.place(name)
        workshop = place.with_name(f".making-{place.name}")
        fresh = workshop / place.name
        if digest := self._digest(name, self._make):
            return digest
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if digest := self._digest(name, self._make):  # another process made it meanwhile
                return digest
            began = time.monotonic()
            shutil.rmtree(workshop, ignore_errors=True)  # which a killed process left
            workshop.mkdir()
            try:
                with reads.recording() as notes:
                    rows = recipe.make(self, *([fresh] if recipe.path else []), *parts)
                rows = None if recipe.path else write_table(rows, fresh)
                files = sorted(p for p in (fresh, *fresh.rglob("*")) if p.is_file())
                content = [[name, state[2]] for name, state in reads.states(files).items()]
                digest = reads.digest(json.dumps(content))
                _stamp_file(place).unlink(missing_ok=True)
                if place.exists():  # a folder cannot replace another one
                    place.rename(workshop / ".before")
                fresh.rename(place)
            finally:
                shutil.rmtree(workshop)
            stamp = {"digest": digest, "rows": rows, "seconds": round(time.monotonic() - began, 2),
                     "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                     "code": reads.code_of(recipe.make), "reads": notes}
            _write_json(_stamp_file(place), stamp)
        self._current[name] = digest
        return digest

    def manifest(self) -> dict[str, Any]:
        """Parameters, versions, and what is on disk with digests, rows and times; also written to
        ``manifest.json``."""
        made = {}
        for file in listed(self.folder, "*.json"):
            name = file.relative_to(self.folder).with_suffix("")
            if file.with_suffix("").exists() and name.parts[0] != "notebooks":
                made[str(name)] = json.loads(file.read_text(encoding="utf-8"))
                del made[str(name)]["reads"]
        parameters = {n: v for n, v in self.parameters.items() if "." not in n}  # of no chapter
        content = {"run": self.name, "parameters": parameters, "versions": versions(), "made": made}
        _write_json(self.folder / "manifest.json", content)
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
    own = path.parent != runs and "name" not in overrides  # a copy writes into its own folder
    parameters |= overrides
    name = path.stem if own else str(parameters.get("name", path.stem))
    return Run(name, parameters, root / "build" / "run" / name, recipes, root)


def versions(names: Iterable[str] = ("numpy", "pandas", "scipy", "torch", "transformers",
                                     "taskgram_utils")) -> dict[str, str]:
    """Versions of Python and of the packages that numbers may depend on; ``absent`` for none."""
    installed = {"python": platform.python_version()} | dict.fromkeys(names, "absent")
    for name in names:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def _stamp_file(place: Path) -> Path:
    """The file that says from what another one was made."""
    return place.with_name(place.name + ".json")
