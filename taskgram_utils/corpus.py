"""Documents in: any folder or file of text, read as a stream of documents."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from taskgram_utils.errors import InputError, require
from taskgram_utils.ngrams import words

DOCUMENT_UNITS = ("file", "record", "heading", "paragraph", "words:N")
_JSON = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
_TEXT = (".txt", ".txt.gz", ".md", ".text")


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk: a file, or a folder of files, of text or JSON lines.

    ``document`` says what a document is: ``record`` (a JSON line, or a line of a text file), ``file``, ``heading``
    (a line that starts with ``#`` begins one), ``paragraph`` (a blank line ends one) or ``words:N`` (runs of N words).
    Left empty it is ``record`` for JSON lines and ``file`` for text. Iterating yields the text of each document that
    holds at least one character that is not white space; nothing but the current document is kept in memory.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing or empty corpus, an unknown unit, or a broken JSON
    line (file and line number), unless ``skip_bad`` is set: then ``skipped`` counts them.
    """

    path: Path
    document: str = ""
    skip_bad: bool = False
    text_field: str = "text"
    skipped: list[str] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        require(self.path.exists(), f"corpus {self.path}: no such file or folder")
        require(self.files, f"corpus {self.path}: no text in it (looked for {', '.join((*_TEXT, *_JSON))})")
        unit = self.document
        sized = re.fullmatch(r"words:([1-9]\d*)", unit)
        require(
            not unit or sized or unit in DOCUMENT_UNITS[:-1],
            f"--document {unit}: not one of {', '.join(DOCUMENT_UNITS)}",
        )

    @property
    def files(self) -> list[Path]:
        """The files read, in sorted order."""
        if self.path.is_file():
            return [self.path]
        return sorted(p for p in self.path.rglob("*") if p.is_file() and p.name.endswith(_TEXT + _JSON))

    @property
    def source(self) -> str:
        """What the corpus is and what a document is, as the ``source`` column of a count table has it."""
        return f"{self.path.name}, document={self.document or 'record or file'}"

    @property
    def bytes(self) -> int:
        """Size of the files on disk."""
        return sum(p.stat().st_size for p in self.files)

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and first and last 64 KiB: changes when the corpus does."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as f:
                digest.update(f.read(1 << 16))
                f.seek(max(0, path.stat().st_size - (1 << 16)))
                digest.update(f.read())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        empty = True
        self.skipped.clear()
        for path in self.files:
            for text in self._file(path):
                if text and not text.isspace():
                    empty = False
                    yield text
        require(not empty, f"corpus {self.path}: holds no document with text in it")

    def _file(self, path: Path) -> Iterator[str]:
        is_json = path.name.endswith(_JSON)
        unit = self.document or ("record" if is_json else "file")
        records = self._json(path) if is_json else self._lines(path) if unit == "record" else [_read(path)]
        if unit in ("record", "file") and not (is_json and unit == "file"):
            yield from records
        elif unit == "file":
            yield "\n".join(records)
        else:
            for text in records:
                yield from _cut(text, unit)

    def _lines(self, path: Path) -> Iterator[str]:
        with _open(path) as f:
            for line in _decoded(f, path):
                yield line.rstrip("\r\n")

    def _json(self, path: Path) -> Iterator[str]:
        with _open(path) as f:
            for number, line in enumerate(_decoded(f, path), 1):
                if not line.strip():
                    continue
                try:
                    text = json.loads(line)[self.text_field]
                    require(isinstance(text, str), "")
                except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
                    where = f"{path}, line {number}"
                    if self.skip_bad:
                        self.skipped.append(where)
                        continue
                    raise InputError(
                        f'{where}: not a JSON object with a text under "{self.text_field}" '
                        "(--skip-bad counts and skips)"
                    ) from error
                yield text


def _open(path: Path) -> io.TextIOWrapper:
    raw = gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # noqa: SIM115
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n")


def _decoded(lines: Iterator[str], path: Path) -> Iterator[str]:
    try:
        yield from lines
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def _read(path: Path) -> str:
    with _open(path) as f:
        return "".join(_decoded(f, path))


def _cut(text: str, unit: str) -> Iterator[str]:
    if unit == "heading":
        yield from re.split(r"(?m)^(?=#)", text)
    elif unit == "paragraph":
        yield from re.split(r"\n[ \t\r]*\n", text)
    else:
        step, tokens = int(unit.removeprefix("words:")), words(text)
        for i in range(0, len(tokens), step):
            yield " ".join(tokens[i : i + step])
