"""Documents in: any folder or file of text, read as a stream of documents."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taskgram_utils.errors import InputError, InputWarning, require
from taskgram_utils.folders import meant
from taskgram_utils.reading import (
    PACKED,
    TEXT,
    Block,
    Part,
    Report,
    cut,
    of_json,
    of_parquet,
    of_text,
    unpacked,
    whole,
)

DOCUMENT_UNITS = ("file", "record", "heading", "paragraph", "words:N")
_JSON, _PARQUET = (".jsonl", ".ndjson"), ".parquet"
_KNOWN = (*TEXT, *_JSON, _PARQUET)
_LACKS = {
    "record": "no second line with text", "paragraph": "no blank line between texts",
    "heading": "no heading (a line that begins with #) after other text",
}  # fmt: skip


def _text(path: Path) -> bool:
    """Whether the name says text: .txt, .jsonl.gz, or what a download has left of one, .txt.partial."""
    return unpacked(path.with_suffix("") if path.suffix == ".partial" else path).endswith(_KNOWN)


def _below(folder: Path) -> Iterator[tuple[Path, bool]]:
    """All files in a folder and in those below it, links followed, and whether each was put there on purpose; a folder
    that was not is one of them and is not looked into."""

    def refuse(error: OSError):
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        yield from ((Path(place, name), False) for name in folders if not meant(name))
        folders[:] = filter(meant, folders)
        for link in (Path(place, name) for name in folders if os.path.islink(os.path.join(place, name))):
            above = [link.parent, *link.parent.relative_to(folder).parents]
            loop = any((folder / one).resolve().is_relative_to(link.resolve()) for one in above)
            require(not loop, f"{link}: a link to a folder that holds it; remove it")
        yield from ((Path(place, name), meant(name)) for name in names)


@dataclass
class Seen:
    """What was met where a corpus was read last: its documents so far, its records (a text file is one) where these are
    cut further, the places of those ``skipped``, and the files in which its unit cut nothing (``uncut``)."""

    documents: int = 0
    records: int = 0
    skipped: list[str] = field(default_factory=list)
    uncut: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk: a file, or a folder of files: text, JSON lines (either as it is, .gz, .xz or .zst) or parquet.

    In a folder, files are known by their ending (.txt, .md, .text; .jsonl, .ndjson; .parquet), others are left alone,
    and links are followed; hidden files and folders and what systems leave are left out (an InputWarning says how
    many). A file without any ending is text where it is named itself.
    ``document`` says what a document is: ``record`` (a JSON line, a row of parquet, or a line of a text file),
    ``file``, ``heading`` (a line that starts with ``#`` begins one), ``paragraph`` (a line of white space ends one) or
    ``words:N`` (runs of N words). Left empty it is ``file`` for text and ``record`` for the others, whose text stands
    in ``text_field``.
    Iterating yields the text of each document that holds at least one character that is not white space; nothing but
    the current document (of parquet, 1,000 rows) is kept in memory. At its end an InputWarning names the files in which
    ``document`` found no place to cut at.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing or empty corpus, an unknown unit, a file that cannot
    be read, or a record without text (file and line or row), unless ``skip_bad`` is set: then ``skipped`` lists those.
    """

    path: Path
    document: str = ""
    skip_bad: bool = False
    text_field: str = "text"
    seen: Seen = field(default_factory=Seen, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        require(self.path.exists(), f"corpus {self.path}: no such file or folder")
        known = self.path.is_dir() or unpacked(self.path).endswith(_KNOWN) or not self.path.suffix
        endings = f"{', '.join((*TEXT, *_JSON))}, each also {', '.join(PACKED)}, and {_PARQUET}"
        require(known, f"corpus {self.path}: no known ending ({endings})")
        require(self.files, f"corpus {self.path}: no text in it (looked for {endings})")
        below = _below(self.path) if self.path.is_dir() else ()
        index = next((path for path, own in below if own and path.name == "tokenized.0"), None)
        require(index is None, f"corpus {self.path}: holds an infini-gram index ({index}); move it elsewhere")
        unit = self.document
        sized = re.fullmatch(r"words:([1-9]\d*)", unit)
        require(
            not unit or sized or unit in DOCUMENT_UNITS[:-1],
            f"--document {unit}: not one of {', '.join(DOCUMENT_UNITS)} (N: 1 or more)",
        )

    @property
    def files(self) -> list[Path]:
        """The files read, in sorted order."""
        if self.path.is_file():
            return [self.path]
        named = sorted(p for p, own in _below(self.path) if own and unpacked(p).endswith(_KNOWN))
        lost = next((p for p in named if not p.is_file()), None)
        what = "a link to a file that is not there" if lost and lost.is_symlink() else "is no file"
        require(lost is None, f"{lost}: {what}; remove it")
        return named

    @property
    def skipped(self) -> list[str]:
        """The places of the records that were skipped."""
        return self.seen.skipped

    def summary(self) -> str:
        """How many documents were read last, and what one is, in words."""
        many = f"{self.seen.documents:,} document" + "s" * (self.seen.documents != 1)
        return f"{many} ({' and '.join(sorted(set(map(self._unit, self.files))))})"

    @property
    def source(self) -> str:
        """What the corpus is and what a document is, as the ``source`` column of a count table has it."""
        name = self.path.name.encode("utf-8", "backslashreplace").decode()
        return f"{name}, document={self.document or 'file of text, record of others'}"

    @property
    def bytes(self) -> int:
        """Size of the files on disk."""
        return sum(p.stat().st_size for p in self.files)

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and first and last 64 KiB.

        A change in the middle that keeps a file's size is not seen.
        """
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(os.fsencode(path.name) + f"\0{path.stat().st_size}\0".encode())
            with path.open("rb") as f:
                digest.update(f.read(1 << 16))
                f.seek(max(0, path.stat().st_size - (1 << 16)))
                digest.update(f.read())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block.texts()

    def blocks(self, parts: Sequence[Part] = (), report: Report = int) -> Iterator[Block]:
        """The documents as blocks of UTF-8, of some ``parts`` (see :meth:`shards`) or of all files.

        ``report`` is told how many bytes on disk have been read since it was last told.
        """
        object.__setattr__(self, "seen", seen := Seen())
        for part in parts or [Part.whole(path) for path in self.files]:
            records, documents = seen.records, seen.documents
            for block in self._part(part, report):
                block = block.without_blank()
                if len(block.begins):
                    seen.documents += len(block.begins)
                    yield block
            if documents < seen.documents == documents + seen.records - records:
                seen.uncut.append(str(part.path))
        if not parts:
            self.check()

    def check(self) -> None:
        """Refuse a corpus in which no document was seen; warn of what was left out and where its unit cut nothing."""
        without = f' ({len(self.skipped)} records without a text under "{self.text_field}" were skipped)'
        found = f"corpus {self.path}: holds no document with text in it{without if self.skipped else ''}"
        require(self.seen.documents, found)
        below = _below(self.path) if self.path.is_dir() else ()
        left = sorted(p for p, own in below if not own and (_text(p) or p.is_dir()))
        if left:
            many = f"{len(left):,} hidden or temporary files or folders left out, the first {left[0]}"
            warnings.warn(f"{self.path}: {many}", InputWarning, stacklevel=1)
        if uncut := self.seen.uncut:
            many = f"{len(uncut):,} of {len(self.files):,} files, the first {uncut[0]}"
            where = many if len(self.files) > 1 else uncut[0]
            lacks = _LACKS.get(self.document, "no more words than that")
            warnings.warn(f"{where}: --document {self.document} cut nothing: {lacks}", InputWarning, stacklevel=1)

    def shards(self, size: int) -> list[list[Part]]:
        """The corpus in order, in lists of parts of about ``size`` bytes together.

        A part is a file, or, where records are lines of an uncompressed file, a range of its bytes.
        """
        parts = [part for path in self.files for part in self._parts(path, size)]
        shards, held = [[]], 0
        for part in parts:
            if held and held + part.end - part.begin > size:
                shards.append([])
                held = 0
            shards[-1].append(part)
            held += part.end - part.begin
        return shards

    def _parts(self, path: Path, size: int) -> list[Part]:
        whole = Part.whole(path)
        if unpacked(path) != path.name.lower() or unpacked(path).endswith(_PARQUET) or self._unit(path) != "record":
            return [whole]
        return [whole._replace(begin=at, end=min(at + size, whole.end)) for at in range(0, max(whole.end, 1), size)]

    def _unit(self, path: Path) -> str:
        return self.document or ("record" if unpacked(path).endswith((*_JSON, _PARQUET)) else "file")

    def _part(self, part: Part, report: Report) -> Iterator[Block]:
        path, unit = part.path, self._unit(part.path)
        if not unpacked(path).endswith((*_JSON, _PARQUET)):
            self.seen.records += unit != "file" and part.end - part.begin == part.state[0]
            yield from of_text(part, unit, report)
            return
        read = of_parquet if unpacked(path).endswith(_PARQUET) else of_json
        records = read(part, self.text_field, self._bad, report)
        if unit == "record":
            yield from records
        elif unit == "file":
            yield whole(path, (text for block in records for text in block.raw()), b"\n")
        else:
            for block in records:
                self.seen.records += len(block.without_blank().begins)
                yield Block.of([piece for text in block.texts() for piece in cut(text, unit)])

    def _bad(self, where: str, what: str) -> None:
        require(self.skip_bad, f"{where}: {what} (--skip-bad counts and skips)")
        self.seen.skipped.append(where)
