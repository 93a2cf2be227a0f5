"""What something is made from, noted as it is read: run parameters, tables, files, and the code a function reaches.

While something is made, :func:`recording` collects what :func:`note` and :func:`note_file` are told. In the kernel of
a notebook, whose cells no function encloses, the notes go to the file that the environment variable KERNEL names, and
every file of the project's ``book`` and ``results`` that is opened is noted.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
CHAPTERS = "taskgram_chapters"  # the code of single chapters, notebooks/lib
KERNEL = "TASKGRAM_READS"
LARGE = 1 << 32
KINDS = ("parameters", "inputs", "files", "tables")
_STEPS = [f"{PACKAGE.name}.run.{name}" for name in ("pipeline", "data", "models")]
BY_FUNCTION = (*_STEPS, f"{CHAPTERS}.real_tables")
"""Modules that hold how tables are made: their functions are followed one by one, all other modules are taken whole."""
WITHOUT = [f"{PACKAGE.name}.{name}" for name in ("run.store", "run.reads", "errors", "progress", "cluster", "folders")]
"""Modules that decide where and when something is made, not what."""

Notes = dict[str, dict[str, Any]]
_kernel: Notes = {kind: {} for kind in KINDS}
_local = threading.local()  # a thread makes one thing at a time


def _open() -> list[Notes]:
    if not hasattr(_local, "notes"):
        _local.notes = [_kernel] if KERNEL in os.environ else []
    return _local.notes


@contextmanager
def recording() -> Iterator[Notes]:
    """Collect what is read within: {kind: {name: value}}."""
    notes: Notes = {kind: {} for kind in KINDS}
    _open().append(notes)
    try:
        yield notes
    finally:
        _open().pop()


def note(kind: str, name: str, value: Any) -> None:
    """Something was read: a run parameter with its value, an input with its files, a table with its digest."""
    opened = _open()
    if opened:
        opened[-1][kind][name] = value
        if opened[-1] is _kernel:
            Path(os.environ[KERNEL]).write_text(json.dumps(_kernel), encoding="utf-8")


def note_file(path: Path) -> Path:
    """A file of the project was read; returns it."""
    note("files", str(path.resolve()), state(path))
    return path


def note_module(module: str) -> None:
    """Code was chosen by name: a module of the package with all that it imports."""
    for name in closure(module):
        note_file(_place(name))


def _watch(event: str, arguments: tuple) -> None:
    """Note the files of the project that a kernel opens."""
    if event == "open" and isinstance(arguments[0], str) and not hasattr(_local, "noting"):
        path = Path(arguments[0]).absolute()
        if any(folder in path.parents for folder in _WATCHED) and path.is_file():
            _local.noting = True  # which opens the file, too
            try:
                note_file(path)
            finally:
                del _local.noting


if KERNEL in os.environ:
    _WATCHED = [Path.cwd() / "book", Path.cwd() / "results"]
    sys.addaudithook(_watch)


# --- files -----------------------------------------------------------------------------------------------------------


def state(path: Path) -> list | None:
    """Size, time of change and digest of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, _content(str(path), found.st_size, found.st_mtime_ns)]


def unchanged(path: Path, before: list | None) -> bool:
    """Whether a file has the content that it had; it is read where its size is the same and its time is not."""
    try:
        found = path.stat()
    except OSError:
        return before is None
    same = before is not None and found.st_size == before[0]
    return same and (found.st_mtime_ns == before[1] or state(path)[2] == before[2])


def _named(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their place below the folder that they have in common."""
    files = [Path(path).absolute() for path in files]
    base = os.path.commonpath([path.parent for path in files]) if files else ""
    return {path.relative_to(base).as_posix(): path for path in files}


def states(files: Iterable[Path]) -> dict[str, list | None]:
    """The state of files by their place below the folder that they have in common."""
    return {name: state(path) for name, path in _named(files).items()}


def all_unchanged(files: Iterable[Path], before: dict[str, list | None]) -> bool:
    """Whether these are the files there were, by name, with the content that they had."""
    named = _named(files)
    return named.keys() == before.keys() and all(unchanged(path, before[name]) for name, path in named.items())


def digest(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def _content(path: str, size: int, changed: int) -> str:
    """Digest of a file. Of one above LARGE only its ends are read, and its time stands for what is between."""
    with open(path, "rb") as file:
        if size <= LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()[:24]
        ends = file.read(1 << 20)
        file.seek(-(1 << 20), os.SEEK_END)
        return hashlib.sha256(b"%d %d " % (size, changed) + ends + file.read()).hexdigest()[:24]


# --- code ------------------------------------------------------------------------------------------------------------


def code_of(make: Callable) -> str:
    """A hash of the code of a function that makes a table: its own, that of the functions which it reaches in the
    modules BY_FUNCTION, and every other module of the package that these name, with all that it imports."""
    module, name = make.__module__, make.__qualname__.partition(".")[0]
    cells = [cell.cell_contents for cell in make.__closure__ or () if isinstance(cell.cell_contents, str)]
    if module not in BY_FUNCTION:
        return digest("\0".join([inspect.getsource(make), *cells]))
    return digest("\0".join([_code(module, name), *cells]))


@cache
def _code(module: str, name: str) -> str:
    found: dict[str, str] = {}
    _reach(module, name, found)
    return json.dumps(found, sort_keys=True)


def _reach(module: str, name: str, found: dict[str, str]) -> None:
    """Add the code of a name at the top of a module, and of all that it reaches."""
    own, imported = _names(module)
    if name in imported:
        _take(*imported[name], found)
    if name not in own or f"{module}:{name}" in found:
        return
    found[f"{module}:{name}"] = ast.unparse(own[name])
    for node in ast.walk(own[name]):
        if isinstance(node, ast.Name):
            _reach(module, node.id, found)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                _take(node.module or "", alias.name, found)


def _take(module: str, name: str, found: dict[str, str]) -> None:
    """Add what ``from module import name`` gives, where that is code of the package."""
    if not _own(module):
        return
    if module in BY_FUNCTION:
        _reach(module, name, found)
    else:
        whole = f"{module}.{name}" if _place(f"{module}.{name}").exists() else module
        found |= {m: ast.unparse(_tree(m)) for m in closure(whole)}


@cache
def _tree(module: str) -> ast.Module:
    """The code of a module without its comments and docstrings."""
    tree = ast.parse(_place(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body[0] = ast.Pass(lineno=0, col_offset=0)
    return tree


@cache
def _names(module: str) -> tuple[dict[str, ast.stmt], dict[str, tuple[str, str]]]:
    """What a module binds at its top: its own statements, and (module, name) of what it imports, by name."""
    own, imported = {}, {}
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            own[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own |= {part.id: node for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return own, imported


@cache
def closure(module: str) -> frozenset[str]:
    """A module of the package with all modules that it imports from the package; those BY_FUNCTION apart."""
    known, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if not _own(name) or name in (*BY_FUNCTION, *WITHOUT, *known) or not _place(name).exists():
            continue
        known.add(name)
        for node in ast.walk(_tree(name)):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return frozenset(known)


def _own(module: str) -> bool:
    return module.partition(".")[0] in (PACKAGE.name, CHAPTERS)


def _place(module: str) -> Path:
    """The file of a module; of a package below the top, its ``__init__.py``."""
    package, _, name = module.partition(".")
    folder = PACKAGE if package == PACKAGE.name else PACKAGE.parent / "notebooks" / "lib"
    door = folder / name.replace(".", "/") / "__init__.py"
    return door if name and door.exists() else folder / (name.replace(".", "/") + ".py")
