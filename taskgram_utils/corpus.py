"""A corpus: a folder or file of text, read as a stream of documents."""

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from taskgram_utils import reading
from taskgram_utils.errors import InputWarning, require
from taskgram_utils.folders import walk
from taskgram_utils.reading import PACKED, TEXT, Block, Part, Report, unpacked

# What a document is. record: a line of text or JSON, a row of parquet; heading: begins at a line
# that starts with #; paragraph: ends at a line of white space; words:N: a run of N words.
DOCUMENT_UNITS = ("file", "record", "heading", "paragraph", "words:N")
_PARQUET = ".parquet"
_OF_RECORDS = (".jsonl", ".ndjson", _PARQUET)
_KNOWN = (*TEXT, *_OF_RECORDS)
_LACKS = {
    "record": "no second line with text",
    "paragraph": "no blank line between texts; --document record takes each line for one",
    "heading": "no heading (a line that begins with #) after other text"}


def _listing(path: Path) -> tuple[list[Path], list[Path]]:
    """The files of a corpus, and the texts and folders left out of it (hidden, temporary), sorted.

    Raises InputError for a file that is none, and for an infini-gram index among the files.
    """
    if path.is_file():
        return [path], []
    files, left = walk(path)
    index = next((file for file in files if file.name == "tokenized.0"), None)
    what = f"holds an infini-gram index ({index}); move it elsewhere"
    require(index is None, f"corpus {path}: {what}")
    files = [file for file in files if unpacked(file).endswith(_KNOWN)]
    lost = next((file for file in files if not file.is_file()), None)
    require(lost is None, f"{lost}: is no file, or a link to none; remove it")
    names = {p: Path(p.name.removesuffix(".partial")) for p in left}  # .partial: of a download
    return files, [p for p in left if p.is_dir() or unpacked(names[p]).endswith(_KNOWN)]


@dataclass
class Seen:
    """What the last reading of a corpus met.

    ``documents``: how many; ``records``: how many there were before the unit cut them (a text file
    is one); ``skipped``: the places of records without text; ``uncut``: the files in which the
    unit cut nothing.
    """

    documents: int = 0
    records: int = 0
    skipped: list[str] = field(default_factory=list)
    uncut: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk: a file or a folder of files of text, JSON lines or parquet.

    Text and JSON lines may be packed (.gz, .xz, .zst). In a folder, a file is read if its name has
    a known ending (.txt, .md, .text; .jsonl, .ndjson; .parquet), links are followed, and hidden and
    temporary files are left out (an InputWarning says how many). A file without an ending is text
    if it is named itself. ``document`` says what a document is: ``file``, ``record`` (a JSON line,
    a row of parquet, a line of text), ``heading`` (from a line that begins with # to the next),
    ``paragraph`` (between blank lines) or ``words:N`` (N words each); if empty, it is ``file`` for
    text and ``record`` for the others, whose text is in ``text_field``.

    Iterating yields the text of each document that holds more than white space; only the current
    document (of parquet, 1,000 rows) is in memory. At the end an InputWarning names the files in
    which ``document`` found no place to cut.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing or empty corpus, an unknown
    unit, a file that cannot be read, or a record without text (file and line or row); if
    ``skip_bad`` is set, ``skipped`` lists these records instead.
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
        endings = f"{', '.join(_KNOWN[:-1])}, each also {', '.join(PACKED)}, and {_PARQUET}"
        require(known, f"corpus {self.path}: no known ending ({endings})")
        require(self.files, f"corpus {self.path}: no text in it (looked for {endings})")
        unit, units = self.document, f"{', '.join(DOCUMENT_UNITS)} (N: 1 or more)"
        known = unit in ("", *DOCUMENT_UNITS[:-1]) or re.fullmatch(r"words:[1-9]\d*", unit)
        require(known, f"--document {unit}: not one of {units}")

    @property
    def files(self) -> list[Path]:
        """The files read, in sorted order."""
        return _listing(self.path)[0]

    @property
    def skipped(self) -> list[str]:
        """The places of the records that the last reading skipped."""
        return self.seen.skipped

    def summary(self) -> str:
        """How many documents were read last, and what one is, in words."""
        number = f"{self.seen.documents:,} document" + "s" * (self.seen.documents != 1)
        return f"{number} ({' and '.join(sorted({self._unit(path) for path in self.files}))})"

    @property
    def source(self) -> str:
        """What the corpus is and what a document is, for the column ``source`` of counts."""
        name = self.path.name.encode("utf-8", "backslashreplace").decode()
        return f"{name}, document={self.document or 'file of text, record of others'}"

    @property
    def bytes(self) -> int:
        """Size of the files on disk."""
        return sum(path.stat().st_size for path in self.files)

    def fingerprint(self) -> str:
        """A hash of the files' names, sizes and first and last 64 KiB.

        It does not see a change in the middle that keeps a file's size.
        """
        digest = hashlib.sha256()
        for path in self.files:
            size = path.stat().st_size
            digest.update(os.fsencode(path.name) + f"\0{size}\0".encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 16))
                file.seek(max(0, size - (1 << 16)))
                digest.update(file.read())
        return digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from block.texts()

    def blocks(self, parts: Sequence[Part] = (), report: Report = int) -> Iterator[Block]:
        """The documents as blocks of UTF-8, of some ``parts`` (:meth:`shards`) or of all files.

        ``report`` is called with the number of bytes on disk read since its last call.
        """
        object.__setattr__(self, "seen", seen := Seen())
        for part in parts or [Part.whole(path) for path in self.files]:
            records, documents = seen.records, seen.documents
            for block in self._part(part, report):
                block = block.without_blank()
                if len(block.begins):
                    seen.documents += len(block.begins)
                    yield block
            if 0 < seen.documents - documents == seen.records - records:
                seen.uncut.append(str(part.path))
        if not parts:
            self.check()

    def check(self) -> None:
        """InputError if the last reading saw no document; warnings of what it left out or uncut."""
        empty, skipped = "holds no document with text in it", len(self.skipped)
        if skipped:
            empty += f' ({skipped} records without a text under "{self.text_field}" were skipped)'
        require(self.seen.documents, f"corpus {self.path}: {empty}")
        files, left = _listing(self.path)
        if left:
            what = f"hidden or temporary files or folders left out, the first {left[0]}"
            warnings.warn(f"{self.path}: {len(left):,} {what}", InputWarning, stacklevel=1)
        if uncut := self.seen.uncut:
            many = f"{len(uncut):,} of {len(files):,} files, the first " if files[1:] else ""
            lacks = _LACKS.get(self.document, "no more words than that")
            what = f"--document {self.document} cut nothing: {lacks}"
            warnings.warn(f"{many}{uncut[0]}: {what}", InputWarning, stacklevel=1)

    def shards(self, size: int) -> list[list[Part]]:
        """The corpus in order, in lists of parts of about ``size`` bytes together.

        A part is a file or, if records are lines of an uncompressed file, a range of its bytes.
        """
        shards, held = [[]], 0
        for path in self.files:
            file, name = Part.whole(path), path.name.lower()
            lines = self._unit(path) == "record" and not name.endswith((*PACKED, _PARQUET))
            step = size if lines else max(file.end, 1)
            for begin in range(0, max(file.end, 1), step):
                end = min(begin + step, file.end)
                if held and held + end - begin > size:
                    shards.append([])
                    held = 0
                shards[-1].append(file._replace(begin=begin, end=end))
                held += end - begin
        return shards

    def _unit(self, path: Path) -> str:
        return self.document or ("record" if unpacked(path).endswith(_OF_RECORDS) else "file")

    def _part(self, part: Part, report: Report) -> Iterator[Block]:
        """The documents of a part, blank ones too; notes the records that its unit may cut."""
        path, unit = part.path, self._unit(part.path)
        if not unpacked(path).endswith(_OF_RECORDS):
            # Whether lines were cut cannot be seen from a part of a file.
            self.seen.records += unit != "file" and part.end - part.begin == part.state[0]
            yield from reading.of_text(part, unit, report)
            return
        read = reading.of_parquet if unpacked(path).endswith(_PARQUET) else reading.of_json
        records = read(part, self.text_field, self._bad, report)
        if unit == "record":
            yield from records
        elif unit == "file":
            texts = (text for block in records for text in block.raw())
            yield reading.whole(path, texts, b"\n")
        else:
            for block in records:
                self.seen.records += len(block.without_blank().begins)
                pieces = (reading.cut(text, unit) for text in block.texts())
                yield Block.of([*chain.from_iterable(pieces)])

    def _bad(self, where: str, what: str) -> None:
        require(self.skip_bad, f"{where}: {what} (--skip-bad counts and skips)")
        self.seen.skipped.append(where)
