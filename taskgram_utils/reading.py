"""Reads files of text as blocks of documents: UTF-8 as on disk, no Python object per document."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json
from pyarrow import parquet

from taskgram_utils.compiled import njit
from taskgram_utils.errors import InputError, require
from taskgram_utils.ngrams import EVERY_CHARACTER, words
from taskgram_utils.texts import WIDE, is_wide

PACKED = (".gz", ".xz", ".zst")
TEXT = (".txt", ".md", ".text")
CHUNK = 1 << 22  # bytes of text handed on at a time
LIMIT = 1 << 29  # most bytes of a document or a line; more means that the text was not cut
_RAW = 1 << 18  # bytes of an .xz file read at a time
_BOM = b"\xef\xbb\xbf"
_SPACE = np.array([c.isspace() for c in EVERY_CHARACTER[:0x10000]])  # no white space is above
Report = Callable[[int], object]  # called with the bytes on disk read since the last call
Bad = Callable[[str, str], None]  # called with the place of a record without text, and why


class Block(NamedTuple):
    """Documents as UTF-8: document k is ``data[begins[k]:ends[k]]``.

    ``data`` is uint8 [bytes]; ``begins`` and ``ends`` are int64 [documents].
    """

    data: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Block:
        """A block of documents given as texts."""
        return cls.of_bytes([text.encode("utf-8", "surrogatepass") for text in texts])

    @classmethod
    def of_bytes(cls, texts: Sequence[bytes]) -> Block:
        """A block of documents that are UTF-8 already."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        ends = np.cumsum(lengths)
        return cls(np.frombuffer(b"".join(texts), np.uint8), ends - lengths, ends)

    def raw(self) -> Iterator[bytes]:
        """The documents as bytes."""
        data = self.data.tobytes()
        for begin, end in zip(self.begins.tolist(), self.ends.tolist(), strict=True):
            yield data[begin:end]

    def texts(self) -> list[str]:
        """The documents as texts."""
        return [text.decode("utf-8", "surrogatepass") for text in self.raw()]

    def without_blank(self) -> Block:
        """The documents that hold a character other than white space."""
        filled = _not_blank(*self, _SPACE)
        return self if filled.all() else Block(self.data, self.begins[filled], self.ends[filled])


def as_blocks(texts: Iterable[str], *parts: object) -> Iterator[Block]:
    """Blocks of a corpus (its method ``blocks``, called with ``parts``), or of texts in memory."""
    if hasattr(texts, "blocks"):
        yield from texts.blocks(*parts)
    else:
        yield from map(Block.of, lists(texts, CHUNK))


def lists(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Successive texts in lists of at least ``size`` characters (the last may hold fewer).

    Raises InputError for a document that is not a str.
    """
    held, length = [], 0
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):  # `require` would write the message for every document
            raise InputError(f"document {number}: {text!r:.50} is not text")
        held.append(text)
        length += len(text)
        if length >= size:
            yield held
            held, length = [], 0
    if held:
        yield held


class Part(NamedTuple):
    """The lines of a file that begin at bytes ``[begin, end)``, or the whole file.

    ``state`` is the file's size (bytes) and date of change (ns) when the part was made.
    """

    path: Path
    begin: int
    end: int
    state: tuple[int, int]

    @classmethod
    def whole(cls, path: Path) -> Part:
        """A whole file; InputError if it is gone."""
        try:
            now = path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        return cls(path, 0, now.st_size, (now.st_size, now.st_mtime_ns))

    def check(self) -> None:
        """InputError if the file has changed since the part was made."""
        same = Part.whole(self.path).state == self.state
        require(same, f"{self.path}: was changed while it was read; leave it alone and start again")


def of_json(part: Part, field: str, bad: Bad, report: Report) -> Iterator[Block]:
    """One document per line: the text under ``field`` of the line's JSON object."""
    at_once = arrow_json.ReadOptions(use_threads=False, block_size=LIMIT + CHUNK)
    schema = pa.schema([(field, pa.string())])
    only = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = 0  # of the part, read so far
    for chunk in _chunks(part, "JSON line", report):
        data, begins, _ = _lines(chunk)
        number, column = len(begins), None
        if np.all(data[begins] == ord("{")):  # Arrow is fast, but crashes on "null" alone
            with suppress(pa.ArrowException):
                column = arrow_json.read_json(pa.BufferReader(chunk), at_once, only)[field]
        if column is not None and len(column) == number and not column.null_count:
            yield from map(_of_arrow, column.chunks)
        else:  # an empty line, or one that Arrow cannot read or should not have read
            first = _lines_before(part) + lines + 1
            yield Block.of([*_json_texts(chunk, part.path, first, field, bad)])
        lines += number


def _lines(chunk: bytes) -> Block:
    """The lines of a chunk with their line breaks."""
    data = np.frombuffer(chunk, np.uint8)
    ends = np.append(np.flatnonzero(data[:-1] == ord("\n")) + 1, len(data))
    return Block(data, np.concatenate([[0], ends[:-1]]), ends)


def _json_texts(chunk: bytes, path: Path, first: int, field: str, bad: Bad) -> Iterator[str]:
    """The texts of JSON lines, read one by one; ``first`` is the number of the first in the file.
    """
    for number, line in enumerate(chunk.split(b"\n"), first):
        text = None
        with suppress(ValueError, KeyError, TypeError, IndexError, RecursionError):
            text = json.loads(line)[field]
        if isinstance(text, str):
            yield text
        elif line.strip():
            bad(f"{path}, line {number}", f'not a JSON object with a text under "{field}"')


def of_parquet(part: Part, field: str, bad: Bad, report: Report) -> Iterator[Block]:
    """One document per row: the text in the column ``field``."""
    path, rows, reported = part.path, 0, 0
    try:
        with parquet.ParquetFile(path) as file:
            kinds = {column.name: str(column.type) for column in file.schema_arrow}
            columns = f"it has: {', '.join(kinds)}"
            require(field in kinds, f"{path}: no column {field} (--text-field; {columns})")
            require(re.match("(dictionary<values=)?(large_)?string", kinds[field]), f"{path}: the "
                    f"column {field} holds {kinds[field]}, no text (--text-field names another)")
            for batch in file.iter_batches(1000, columns=[field]):
                for row in np.flatnonzero(batch[0].is_null().to_numpy(zero_copy_only=False)):
                    bad(f"{path}, row {rows + row + 1}", f"no text in the column {field}")
                column = batch[0].drop_null().cast(pa.large_string())
                column.validate(full=True)  # that it is UTF-8
                yield _of_arrow(column)
                rows += len(batch)
                bytes_read = part.end * rows // file.metadata.num_rows
                report(bytes_read - reported)
                reported = bytes_read
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as parquet ({_line(error)})") from error
    part.check()


def _of_arrow(column: pa.Array) -> Block:
    """The texts of an Arrow array, which holds UTF-8 and offsets, without a copy."""
    offsets, data = column.buffers()[1:]
    kind = np.int64 if pa.types.is_large_string(column.type) else np.int32
    bounds = np.frombuffer(offsets, kind)[column.offset :][: len(column) + 1].astype(np.int64)
    return Block(np.frombuffer(data or b"", np.uint8), bounds[:-1], bounds[1:])


def of_text(part: Part, unit: str, report: Report) -> Iterator[Block]:
    """The documents of a text file: ``file``, ``record`` (a line), or as :func:`cut` cuts it."""
    if unit == "record":
        for data, begins, ends in map(_lines, _chunks(part, "line", report)):
            yield Block(data, begins, _without_line_breaks(data, begins, ends))
    elif unit == "file":
        yield whole(part.path, _chunks(part, "line", report), b"")
    elif unit in ("heading", "paragraph"):
        for chunk in _chunks(part, unit, report):
            yield Block.of(cut(chunk.decode(), unit))
    else:
        rest = ""  # the last run of words, which may go on in the next chunk
        for chunk in _chunks(part, "word", report):
            *runs, rest = cut(f"{rest} {chunk.decode()}", unit) or [""]
            yield Block.of(runs)
        yield Block.of([rest])


def cut(text: str, unit: str) -> list[str]:
    """A text cut at each ``heading``, after each ``paragraph``, or into runs of ``words:N``."""
    if unit == "heading":
        return re.split(r"(?m)^(?=#)", text)
    if unit == "paragraph":
        return re.split(r"(?:\A|\n)(?:[^\S\n]*\n)+", text)
    step, tokens = int(unit.removeprefix("words:")), words(text)
    return [" ".join(tokens[i : i + step]) for i in range(0, len(tokens), step)]


def whole(path: Path, texts: Iterable[bytes], between: bytes) -> Block:
    """All texts of a file as one document; InputError if it is larger than LIMIT."""
    held, size = [], 0
    for text in texts:
        held.append(text)
        size += len(text)
        _require_size(size, path, "file")
    return Block.of_bytes([between.join(held)])


def unpacked(path: Path) -> str:
    """Name of the file in small letters, without the ending of its compression."""
    return (path.stem if path.suffix.lower() in PACKED else path.name).lower()


# The bytes after which a piece of text may be cut, and how many of them remain before the cut.
_CUTS = {"line": {b"\n": 1}, "JSON line": {b"\n": 1}, "word": {b"\n": 1, b" ": 1},
         "paragraph": {b"\n\n": 2, b"\n\r\n": 3}, "heading": {b"\n#": 1}}


def _chunks(part: Part, unit: str, report: Report) -> Iterator[bytes]:
    """The bytes of a part in chunks of UTF-8 that hold whole lines, words or other units of _CUTS.

    Raises InputError for a file that is damaged, not UTF-8, or changed while it is read, and for a
    unit of more than LIMIT bytes.
    """
    path, held, offset, reported = part.path, [], None, part.begin
    packed = path.suffix.lower() in PACKED
    require(part.end or not packed, f"{path}: is empty, no whole {path.suffix} file")
    try:
        with path.open("rb") as disk:
            for piece in filter(None, _pieces(disk, part)):
                if offset is None:  # of the text that is held, in the unpacked file
                    offset = disk.tell() - len(piece) if part.begin else 0
                    if not offset and piece.startswith(_BOM):
                        offset, piece = len(_BOM), piece.removeprefix(_BOM)
                report(disk.tell() - reported)
                reported = disk.tell()
                cuts = (piece.rfind(mark) + n for mark, n in _CUTS[unit].items() if mark in piece)
                if end := max(cuts, default=0):
                    chunk = b"".join([*held, piece[:end]])
                    yield _checked(chunk, path, offset, unit)
                    held, offset = [], offset + len(chunk)
                held.append(piece[end:])
                _require_size(sum(map(len, held)), path, unit)
            if any(held):
                yield _checked(b"".join(held), path, offset, unit)
        part.check()
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read ({_line(error)})") from error


def _pieces(disk: BinaryIO, part: Part) -> Iterator[bytes]:
    """The bytes of a part as they come: of a packed file unpacked, of a range its lines."""
    suffix = part.path.suffix.lower()
    if suffix == ".xz":
        yield from _xz(disk)
    elif suffix in PACKED:
        zst = partial(pa.CompressedInputStream, compression="zstd")
        stream = {".gz": gzip.open, ".zst": zst}[suffix](disk)
        yield from iter(partial(stream.read, CHUNK), b"")
    else:
        if part.begin:  # the line that begins before the range belongs to the range before
            disk.seek(part.begin - 1)
            while (rest := disk.readline(CHUNK)) and not rest.endswith(b"\n"):
                pass
        while (left := part.end - disk.tell()) > 0 and (piece := disk.read(min(CHUNK, left))):
            if disk.tell() >= part.end and not piece.endswith(b"\n"):
                piece += disk.readline(LIMIT)
            yield piece


def _xz(disk: BinaryIO) -> Iterator[bytes]:
    """The text of an .xz file; the standard library's reader ends silently at a damaged stream."""
    stream = lzma.LZMADecompressor()
    while raw := disk.read(_RAW):
        while True:
            if stream.eof:  # padding or another stream may follow
                if not (raw := raw.lstrip(b"\0")):
                    break
                stream = lzma.LZMADecompressor()
            yield stream.decompress(raw, CHUNK)
            if stream.needs_input:
                break
            raw = stream.unused_data
    if not stream.eof:
        raise EOFError("the file ends in the middle")


@cache
def _lines_before(part: Part) -> int:
    """The number of lines that begin before the part."""
    lines = int(part.begin > 0)
    with part.path.open("rb") as disk:
        for begin in range(0, part.begin - 1, CHUNK):
            lines += disk.read(min(CHUNK, part.begin - 1 - begin)).count(b"\n")
    return lines


def _checked(chunk: bytes, path: Path, offset: int, unit: str) -> bytes:
    """A chunk that begins at byte ``offset`` of the file; InputError if it is not UTF-8."""
    require(offset or not is_wide(chunk), f"{path}: {WIDE}")
    nul = -1 if unit == "JSON line" else chunk.find(b"\0")
    require(nul < 0,
            f"{path}: holds a NUL byte, byte {offset + nul:,}, so it is no text; remove it")
    try:
        chunk.isascii() or chunk.decode()
    except UnicodeDecodeError as error:
        packed = path.suffix in PACKED
        cure = "damaged, or of another encoding" if packed else "convert it, say by iconv"
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error.reason} at byte "
                         f"{offset + error.start:,}; {cure})") from error
    return chunk


def _require_size(size: int, path: Path, what: str) -> None:
    require(size <= LIMIT, f"{path}: a {what} of more than {LIMIT >> 20} MiB is no document; "
            "--document names ways to cut a text file, words:N always does")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


@njit(cache=True, nogil=True)
def _without_line_breaks(data, begins, ends):
    """The ends of lines without their line breaks (carriage returns, line feed)."""
    out = ends.copy()
    for d in range(len(begins)):
        # Step back over the line feed (10) and the carriage returns (13) before it.
        while out[d] > begins[d] and (data[out[d] - 1] == 10 or data[out[d] - 1] == 13):
            out[d] -= 1
    return out


@njit(cache=True, nogil=True)
def _not_blank(data, begins, ends, space):
    """Which documents hold a character outside ``space``, bool [code of a character]."""
    out = np.zeros(len(begins), np.bool_)
    for d in range(len(begins)):
        i, end = begins[d], ends[d]
        while i < end:
            # Decode the character at byte i, except one of four bytes, which is no white space.
            b = data[i]
            if b < 0x80:
                code, size = np.int64(b), 1
            elif b < 0xE0:
                code, size = (b & 31) << 6 | (data[i + 1] & 63), 2
            elif b < 0xF0:
                code, size = (b & 15) << 12 | (data[i + 1] & 63) << 6 | (data[i + 2] & 63), 3
            else:
                code, size = 0, 4
            # Go on to the next character while this one is white space.
            if not space[code]:
                break
            i += size
        # The loop stopped before the end: here is a character other than white space.
        out[d] = i < end
    return out
