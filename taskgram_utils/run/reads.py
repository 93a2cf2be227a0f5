"""What a table is made from, noted as it is read: run parameters, tables, files and code.

While something is made, :func:`recording` collects what :func:`note` and :func:`note_file` report.
In the kernel of a notebook, which no function encloses, the notes go to the file that the
environment variable KERNEL names, and every file of the project's ``book`` and ``results`` that
is opened is noted.
"""

import ast
import hashlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from taskgram_utils.folders import sha256_of

PACKAGE = Path(__file__).resolve().parents[1]
CHAPTERS = "taskgram_chapters"  # the code of single chapters, notebooks/lib
KERNEL = "TASKGRAM_READS"
LARGE = 1 << 32
KINDS = ("parameters", "inputs", "files", "tables")
# Modules that hold how tables are made. Only the functions that a table's recipe reaches count for
# that table; every other module counts as a whole.
BY_FUNCTION = (f"{CHAPTERS}.real_text", *(f"{PACKAGE.name}.run.{name}" for name in (
    "pipeline", "recipes", "control_tables", "prompts", "data", "models")))
# Modules that decide where and when something is made, not what.
WITHOUT = [f"{PACKAGE.name}.{name}" for name in (
    "run.store", "run.reads", "errors", "progress", "cluster", "folders")]
_PARSING = threading.Lock()  # CPython 3.11 counts the depth of what all threads parse as one

Notes = dict[str, dict[str, Any]]
_kernel: Notes = {kind: {} for kind in KINDS}
_notes: ContextVar[Notes] = ContextVar("notes", default=_kernel)


@contextmanager
def recording() -> Iterator[Notes]:
    """Collect what is read within, and only within: {kind: {name: value}}."""
    notes: Notes = {kind: {} for kind in KINDS}
    outer = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(outer)


def note(kind: str, name: str, value: Any) -> None:
    """Note a run parameter with its value, an input with its files, or a table with its digest."""
    notes = _notes.get()
    notes[kind][name] = value
    if notes is _kernel and KERNEL in os.environ:
        Path(os.environ[KERNEL]).write_text(json.dumps(_kernel), encoding="utf-8")


def note_file(path: Path) -> None:
    """Note that a file of the project is read."""
    note("files", str(path.resolve()), state(path))


def note_module(module: str) -> None:
    """Note a module that is chosen by name, and all modules of the package that it imports."""
    for part in _reached(module):
        note_file(_file(part))


def _watch(event: str, arguments: tuple) -> None:
    """Note a file of the project that the kernel opens."""
    global _noting
    if event != "open" or _noting or not isinstance(arguments[0], str):
        return
    path = Path(arguments[0]).absolute()
    if any(folder in path.parents for folder in _WATCHED) and path.is_file():
        _noting = True  # to note a file opens it, too
        try:
            note_file(path)
        finally:
            _noting = False


if KERNEL in os.environ:
    _noting = False
    _WATCHED = [Path.cwd() / "book", Path.cwd() / "results"]
    sys.addaudithook(_watch)


# --- files -----------------------------------------------------------------------------------


def state(path: Path) -> list | None:
    """Size in bytes, time of change in ns and digest of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    size, changed = status.st_size, status.st_mtime_ns
    return [size, changed, _content(str(path), size, changed)]


def unchanged(path: Path, before: list | None) -> bool:
    """Whether a file has the content that it had; it is read only where its time differs."""
    if before is None or not path.exists():
        return before is None and not path.exists()
    status = path.stat()
    return [status.st_size, status.st_mtime_ns] == before[:2] or state(path)[2] == before[2]


def _below_common(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their path below the folder that they have in common."""
    files = [Path(path).absolute() for path in files]
    base = os.path.commonpath([path.parent for path in files]) if files else ""
    return {path.relative_to(base).as_posix(): path for path in files}


def states(files: Iterable[Path]) -> dict[str, list | None]:
    """The state of files by their place below the folder that they have in common."""
    return {name: state(path) for name, path in _below_common(files).items()}


def all_unchanged(files: Iterable[Path], before: dict[str, list | None]) -> bool:
    """Whether these are the files there were, by name, with the content that they had."""
    named = _below_common(files)
    return named.keys() == before.keys() and all(
        unchanged(path, before[name]) for name, path in named.items())


def digest(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def _content(path: str, size: int, changed: int) -> str:
    """Digest of a file. Above LARGE it is that of both ends, the size and the time of change."""
    if size <= LARGE:
        return sha256_of(path)[:24]
    with open(path, "rb") as file:
        ends = file.read(1 << 20)
        file.seek(-(1 << 20), os.SEEK_END)
        return hashlib.sha256(b"%d %d " % (size, changed) + ends + file.read()).hexdigest()[:24]


# --- code ------------------------------------------------------------------------------------


def code_of(make: Callable) -> str:
    """A hash of the code that makes a table: the function, the functions that it reaches in the
    modules BY_FUNCTION, and every other module of the package that these import."""
    module, name = make.__module__, make.__qualname__.partition(".")[0]
    by_function = module in BY_FUNCTION
    code = json.dumps(_reached(module, name)) if by_function else inspect.getsource(make)
    cells = [cell.cell_contents for cell in make.__closure__ or ()]
    return digest("\0".join([code, *(text for text in cells if isinstance(text, str))]))


@cache
def _reached(module: str, name: str = "") -> dict[str, str]:
    """The code that a module, or a name at its top, reaches in the package: its parts
    (``module``, or ``module:name`` of a module BY_FUNCTION), each with its text, in order."""
    parts, waiting = {}, [(module, name)]
    while waiting:
        module, name = waiting.pop()
        by_function = module in BY_FUNCTION
        part = f"{module}:{name}" if by_function else module
        known = not by_function or name in _statements(module)
        if part in parts or module in WITHOUT or not known or not _file(module).exists():
            continue
        parts[part], imports, names = _read(module, name if by_function else "")
        waiting += [*imports, *((module, other) for other in names if by_function)]
    return dict(sorted(parts.items()))


@cache
def _read(module: str, name: str) -> tuple[str, list[tuple[str, str]], set[str]]:
    """The text of a part, what it imports as (module, name), and the names that it uses."""
    tree = _statements(module)[name] if name else _tree(module)
    imports, names = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:  # a name in a module, or a module in a folder
                imports += [(node.module, alias.name), (f"{node.module}.{alias.name}", "")]
    return ast.unparse(tree), imports, names


def _tree(module: str) -> ast.Module:
    """The code of a module without its comments and docstrings."""
    text = _file(module).read_text(encoding="utf-8")
    with _PARSING:
        tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False):
            node.body[0] = ast.Pass(lineno=0, col_offset=0)
    return tree


@cache
def _statements(module: str) -> dict[str, ast.stmt]:
    """The statements at the top of a module by the names that they bind."""
    bound: dict[str, ast.stmt] = {}
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name: ast.ImportFrom(node.module, [alias], node.level)
                      for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            bound |= {part.id: node for part in parts if isinstance(part, ast.Name)}
    return bound


def _file(module: str) -> Path:
    """The file of a module of the package or of the chapters; no such file for any other."""
    package, _, name = module.partition(".")
    folders = {PACKAGE.name: PACKAGE, CHAPTERS: PACKAGE.parent / "notebooks" / "lib"}
    file = folders.get(package, PACKAGE / "none") / name.replace(".", "/")
    return file / "__init__.py" if name and file.is_dir() else file.with_name(f"{file.name}.py")
