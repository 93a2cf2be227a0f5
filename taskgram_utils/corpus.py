"""Documents in: any folder or file of text, read as a stream of documents."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from taskgram_utils.errors import InputError, require
from taskgram_utils.ngrams import words


class Block(NamedTuple):
    """Documents as UTF-8: document k is ``data[begins[k]:ends[k]]``, a view of uint8; the two are int64 [k]."""

    data: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of_bytes(cls, texts: Sequence[bytes]) -> Block:
        """The documents given one by one, already UTF-8."""
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
        return cls(np.frombuffer(b"".join(texts), np.uint8), begins, ends)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Block:
        """The documents given as texts."""
        joined = "".join(texts)
        if joined.isascii():
            ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
            begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
            return cls(np.frombuffer(joined.encode(), np.uint8), begins, ends)
        return cls.of_bytes([text.encode("utf-8", "surrogatepass") for text in texts])

    def texts(self) -> list[str]:
        """The documents as texts."""
        data = self.data.tobytes()
        bounds = zip(self.begins.tolist(), self.ends.tolist(), strict=True)
        return [data[b:e].decode("utf-8", "surrogatepass") for b, e in bounds]


DOCUMENT_UNITS = ("file", "record", "heading", "paragraph", "words:N")
_TEXT, _JSON, _PARQUET = (".txt", ".md", ".text"), (".jsonl", ".ndjson"), ".parquet"
_PACKED = (".gz", ".xz", ".zst")


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk: a file, or a folder of files: text, JSON lines (either as it is, .gz, .xz or .zst) or parquet.

    ``document`` says what a document is: ``record`` (a JSON line, a row of parquet, or a line of a text file),
    ``file``, ``heading`` (a line that starts with ``#`` begins one), ``paragraph`` (a blank line ends one) or
    ``words:N`` (runs of N words). Left empty it is ``file`` for text and ``record`` for the others, whose text stands
    in ``text_field``.
    Iterating yields the text of each document that holds at least one character that is not white space; nothing but
    the current document (of parquet, 1,000 rows) is kept in memory.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing or empty corpus, an unknown unit, a file that cannot
    be read, or a record without text (file and line or row), unless ``skip_bad`` is set: then ``skipped`` lists those.
    """

    path: Path
    document: str = ""
    skip_bad: bool = False
    text_field: str = "text"
    skipped: list[str] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        require(self.path.exists(), f"corpus {self.path}: no such file or folder")
        known = self.path.is_dir() or _unpacked(self.path).endswith((*_TEXT, *_JSON, _PARQUET)) or not self.path.suffix
        endings = f"{', '.join((*_TEXT, *_JSON, _PARQUET))}, and of these {', '.join(_PACKED)}"
        require(known, f"corpus {self.path}: no known ending ({endings})")
        require(self.files, f"corpus {self.path}: no text in it (looked for {endings})")
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
        endings = (*_TEXT, *_JSON, _PARQUET)
        return sorted(p for p in self.path.rglob("*") if p.is_file() and _unpacked(p).endswith(endings))

    @property
    def source(self) -> str:
        """What the corpus is and what a document is, as the ``source`` column of a count table has it."""
        return f"{self.path.name}, document={self.document or 'file of text, record of others'}"

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
        of_records = _unpacked(path).endswith((*_JSON, _PARQUET))
        unit = self.document or ("record" if of_records else "file")
        if of_records:
            records = self._rows(path) if path.suffix == _PARQUET else self._json(path)
        else:
            records = self._lines(path) if unit == "record" else [_read(path)]
        if unit == "record" or (unit == "file" and not of_records):
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
                except (ValueError, KeyError, TypeError, IndexError, RecursionError):
                    self._bad(f"{path}, line {number}", f'not a JSON object with a text under "{self.text_field}"')
                    continue
                yield text

    def _rows(self, path: Path) -> Iterator[str]:
        number = 0
        try:
            with parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
                there = f"(--text-field; it has: {', '.join(names)})"
                require(self.text_field in names, f"{path}: no column {self.text_field} {there}")
                for batch in file.iter_batches(1000, columns=[self.text_field]):
                    for text in batch[0].to_pylist():
                        number += 1
                        if isinstance(text, str):
                            yield text
                        else:
                            self._bad(f"{path}, row {number}", f"no text in the column {self.text_field}")
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: cannot be read as parquet ({_line(error)})") from error

    def _bad(self, where: str, what: str) -> None:
        require(self.skip_bad, f"{where}: {what} (--skip-bad counts and skips)")
        self.skipped.append(where)


def _unpacked(path: Path) -> str:
    return path.stem if path.suffix in _PACKED else path.name


def _open(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".zst":
        raw = pa.input_stream(str(path), compression="zstd")
    else:
        raw = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)(path, "rb")
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n")


def _decoded(lines: Iterator[str], path: Path) -> Iterator[str]:
    try:
        yield from lines
    except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


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
