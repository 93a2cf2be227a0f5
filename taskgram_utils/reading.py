"""Files of text as a stream of blocks of documents: UTF-8 as it stands on disk, no Python object for a document."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json
from pyarrow import parquet

from taskgram_utils.compiled import njit
from taskgram_utils.errors import InputError, require
from taskgram_utils.ngrams import words

CHUNK = 1 << 22  # bytes of text handed on at a time
_RAW = 1 << 18  # packed bytes read at a time
LIMIT = 1 << 29  # bytes of one document, or of one line: beyond it a corpus is not cut into documents
Report = Callable[[int], object]


class Block(NamedTuple):
    """Documents as UTF-8: document k is ``data[begins[k]:ends[k]]``, a view of uint8; the two are int64 [k]."""

    data: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of_bytes(cls, texts: Sequence[bytes]) -> Block:
        """The documents given one by one, already UTF-8."""
        return cls._joined(b"".join(texts), texts)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Block:
        """The documents given as texts."""
        joined = "".join(texts)
        if joined.isascii():
            return cls._joined(joined.encode(), texts)
        return cls.of_bytes([text.encode("utf-8", "surrogatepass") for text in texts])

    @classmethod
    def _joined(cls, joined: bytes, parts: Sequence[str] | Sequence[bytes]) -> Block:
        bounds = np.zeros(len(parts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=bounds[1:])
        return cls(np.frombuffer(joined, np.uint8), bounds[:-1], bounds[1:])

    def texts(self) -> list[str]:
        """The documents as texts."""
        data = self.data.tobytes()
        bounds = zip(self.begins.tolist(), self.ends.tolist(), strict=True)
        return [data[b:e].decode("utf-8", "surrogatepass") for b, e in bounds]

    def without_blank(self) -> Block:
        """Those documents that hold a character which is not white space."""
        keep = _written(*self)
        return self if keep.all() else Block(self.data, self.begins[keep], self.ends[keep])


def as_blocks(texts: Iterable[str], *parts: object) -> Iterator[Block]:
    """Blocks of a corpus that has them (its ``blocks``, given ``parts``), or of texts one after the other."""
    if hasattr(texts, "blocks"):
        yield from texts.blocks(*parts)
        return
    yield from map(Block.of, lists(texts, CHUNK))


def lists(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Successive texts in lists of at least ``size`` characters (the last may hold fewer)."""
    held, length = [], 0
    for number, text in enumerate(texts, 1):
        require(isinstance(text, str), f"document {number}: {text!r:.50} is not text")
        held.append(text)
        length += len(text)
        if length >= size:
            yield held
            held, length = [], 0
    if held:
        yield held


class Part(NamedTuple):
    """A file, or the lines that begin in ``[begin, end)`` of one (bytes); its size and date when it was listed."""

    path: Path
    begin: int
    end: int
    state: tuple[int, int]

    @classmethod
    def whole(cls, path: Path) -> Part:
        """A whole file; InputError where it is gone."""
        state = _state(path)
        return cls(path, 0, state[0], state)


def _state(path: Path) -> tuple[int, int]:
    """Size of a file, and when it was changed."""
    try:
        now = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return now.st_size, now.st_mtime_ns


def _unchanged(part: Part) -> None:
    same = _state(part.path) == part.state
    require(same, f"{part.path}: was changed while it was read; leave it alone and start again")


def _line_end(piece: bytes) -> int:
    return piece.rfind(b"\n") + 1


def _word_end(piece: bytes) -> int:
    return _line_end(piece) or piece.rfind(b" ") + 1


def _paragraph_end(piece: bytes) -> int:
    found = [(piece.rfind(end), len(end)) for end in (b"\n\n", b"\n\r\n")]
    return max(place + length if place >= 0 else 0 for place, length in found)


def _heading(piece: bytes) -> int:
    return piece.rfind(b"\n#") + 1


def of_lines(part: Part, report: Report) -> Iterator[Block]:
    """A document a line."""
    for chunk in _chunks(part, _line_end, report):
        data = np.frombuffer(chunk, np.uint8)
        ends = np.flatnonzero(data == ord("\n")) + 1
        if not len(ends) or ends[-1] != len(data):
            ends = np.append(ends, len(data))
        yield Block(data, *_stripped(data, np.concatenate([[0], ends[:-1]]), ends))


def of_json(part: Part, field: str, bad: Callable[[str, str], None], report: Report) -> Iterator[Block]:
    """A document a line, under ``field`` of the JSON object that the line is; ``bad`` hears of one that is none."""
    before, whole = None, arrow_json.ReadOptions(use_threads=False, block_size=LIMIT + CHUNK)
    schema = pa.schema([(field, pa.string())])
    known = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = 0
    for chunk in _chunks(part, _line_end, report, text=False):
        data = np.frombuffer(chunk, np.uint8)
        starts = np.flatnonzero(data[:-1] == ord("\n")) + 1
        number, column = len(starts) + 1, None
        if data[0] == ord("{") and np.all(data[starts] == ord("{")):  # Arrow crashes on a chunk of "null" alone
            with suppress(pa.ArrowException):
                column = arrow_json.read_json(pa.BufferReader(chunk), whole, known)[field]
        if column is not None and len(column) == number and not column.null_count:
            yield from map(_of_arrow, column.chunks)
        else:  # an empty line, or one that Arrow cannot read or should not have read: one by one
            if before is None:
                before = _newlines(part)
            yield Block.of(list(_json_texts(chunk, part.path, before + lines, field, bad)))
        lines += number


def _json_texts(chunk: bytes, path: Path, before: int, field: str, bad: Callable[[str, str], None]) -> Iterator[str]:
    for number, line in enumerate(chunk.split(b"\n"), before + 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[field]
            require(isinstance(text, str), "")
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            bad(f"{path}, line {number}", f'not a JSON object with a text under "{field}"')
            continue
        yield text


def of_parquet(part: Part, field: str, bad: Callable[[str, str], None], report: Report) -> Iterator[Block]:
    """A document a row, in the column ``field``; ``bad`` hears of a row without text."""
    path, number, told = part.path, 0, 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            require(field in names, f"{path}: no column {field} (--text-field; it has: {', '.join(names)})")
            for batch in file.iter_batches(1000, columns=[field]):
                column = batch[0]
                if pa.types.is_dictionary(column.type):
                    column = column.dictionary_decode()
                if pa.types.is_string_view(column.type):
                    column = column.cast(pa.large_string())
                text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                require(text, f"{path}: the column {field} holds {column.type}, no text (--text-field names another)")
                for row in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
                    bad(f"{path}, row {number + row + 1}", f"no text in the column {field}")
                column = column.drop_null()
                column.validate(full=True)  # of UTF-8
                yield _of_arrow(column)
                number += len(batch)
                share = part.end * number // file.metadata.num_rows
                report(share - told)
                told = share
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as parquet ({_line(error)})") from error
    _unchanged(part)


def joined(path: Path, blocks: Iterable[Block]) -> Block:
    """All records of a file as one document."""
    texts, size = [], 0
    for block in blocks:
        texts += block.texts()
        size += int((block.ends - block.begins).sum())
        require(size <= LIMIT, _too_long(path, "file"))
    return Block.of(["\n".join(texts)])


def of_text(part: Part, unit: str, report: Report) -> Iterator[Block]:
    """Documents of a text file that are the file, or begin at a heading, a blank line or every so many words."""
    if unit == "file":
        parts, size = [], 0
        for chunk in _chunks(part, _line_end, report):
            parts.append(chunk)
            size += len(chunk)
            require(size <= LIMIT, _too_long(part.path, "file"))
        yield Block.of_bytes([b"".join(parts)])
    elif unit.startswith("words:"):
        step, held = int(unit.removeprefix("words:")), []
        for chunk in _chunks(part, _word_end, report):
            held += words(chunk.decode())
            whole = len(held) - len(held) % step
            yield Block.of([" ".join(held[i : i + step]) for i in range(0, whole, step)])
            del held[:whole]
        yield Block.of([" ".join(held)])
    else:
        for chunk in _chunks(part, _heading if unit == "heading" else _paragraph_end, report):
            yield Block.of(list(cut(chunk.decode(), unit)))


def cut(text: str, unit: str) -> Iterator[str]:
    """A text cut into ``heading``, ``paragraph`` or ``words:N``."""
    if unit == "heading":
        yield from re.split(r"(?m)^(?=#)", text)
    elif unit == "paragraph":
        yield from re.split(r"(?:\A|\n)(?:[^\S\n]*\n)+", text)
    else:
        step, tokens = int(unit.removeprefix("words:")), words(text)
        for i in range(0, len(tokens), step):
            yield " ".join(tokens[i : i + step])


def unpacked(path: Path) -> str:
    """Name of the file in small letters, without the ending of its compression."""
    return (path.stem if path.suffix.lower() in PACKED else path.name).lower()


PACKED = (".gz", ".xz", ".zst")
TEXT = (".txt", ".md", ".text")
_BOM = b"\xef\xbb\xbf"


def _chunks(part: Part, end_of: Callable[[bytes], int], report: Report, text: bool = True) -> Iterator[bytes]:
    """The part's bytes, checked to be UTF-8, in chunks that end where ``end_of`` finds the last good end in a piece."""
    path, held = part.path, []
    require(part.end or path.suffix.lower() not in PACKED, f"{path}: is empty, no whole {path.suffix} file")
    try:
        with pa.OSFile(str(path)) if path.suffix.lower() == ".zst" else path.open("rb") as disk:
            stream, told, mark = _stream(disk, path, part), 0, b"" if part.begin else _BOM
            at = disk.tell() if part.begin else 0  # of the text that is held, in the file unpacked
            while piece := stream.read(CHUNK):
                at += len(mark) * piece.startswith(mark)
                piece, mark = piece.removeprefix(mark), b""
                report(disk.tell() - part.begin - told)
                told = disk.tell() - part.begin
                if end := end_of(piece):
                    chunk = b"".join([*held, piece[:end]])
                    yield _checked(chunk, path, at, text)
                    held, at = [], at + len(chunk)
                held.append(piece[end:])
                require(sum(map(len, held)) <= LIMIT, _too_long(path, "line" if end_of is _line_end else "document"))
            if any(held):
                yield _checked(b"".join(held), path, at, text)
        _unchanged(part)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read ({_line(error)})") from error


def _stream(disk: BinaryIO, path: Path, part: Part) -> BinaryIO:
    kinds = {".zst": lambda f: pa.CompressedInputStream(f, "zstd"), ".gz": gzip.open, ".xz": _Xz}
    return kinds[path.suffix.lower()](disk) if path.suffix.lower() in PACKED else _Range(disk, part)


class _Xz:
    """The streams of an .xz file; the standard library's reader ends in silence where the second is damaged."""

    def __init__(self, disk: BinaryIO):
        self.disk, self.stream = disk, lzma.LZMADecompressor()

    def read(self, size: int) -> bytes:
        piece = b""
        while not piece:
            raw = b""
            if self.stream.eof:
                raw = (self.stream.unused_data or self.disk.read(_RAW)).lstrip(b"\0")  # padding
                if not raw and not (raw := self.disk.read(_RAW)):
                    break
                self.stream = lzma.LZMADecompressor()
            elif self.stream.needs_input and not (raw := self.disk.read(_RAW)):
                raise EOFError("the file ends in the middle")
            piece = self.stream.decompress(raw, size)
        return piece


class _Range:
    """The bytes of the lines that begin in a range of a file."""

    def __init__(self, disk: BinaryIO, part: Part):
        self.disk, self.end = disk, part.end
        if part.begin:
            disk.seek(part.begin - 1)
            while (rest := disk.readline(CHUNK)) and not rest.endswith(b"\n"):
                pass

    def read(self, size: int) -> bytes:
        at = self.disk.tell()
        if at >= self.end:
            return b""
        piece = self.disk.read(min(size, self.end - at))
        if self.disk.tell() >= self.end and not piece.endswith(b"\n"):
            piece += self.disk.readline(LIMIT)
        return piece


def _newlines(part: Part) -> int:
    """Lines before the part."""
    found = 0
    with part.path.open("rb") as disk:
        if part.begin:
            while disk.tell() < part.begin:
                found += disk.read(min(CHUNK, part.begin - disk.tell())).count(b"\n")
            disk.seek(part.begin - 1)
            found += disk.read(1) != b"\n"
    return found


def _wide(start: bytes) -> str:
    """The encoding of a text that begins as UTF-16 and UTF-32 do, by its mark or its many NULs; else nothing."""
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if len(start) < 16:
        return ""
    nulls = [start[k::4].count(0) / len(start[k::4]) for k in range(4)]
    wide = {
        "UTF-32BE": (1, 1, None, 0), "UTF-32LE": (0, None, 1, 1),
        "UTF-16BE": (1, 0, 1, 0), "UTF-16LE": (0, 1, 0, 1),
    }  # fmt: skip
    for name, at in wide.items():
        if all(n is None or (share > 0.6 if n else share < 0.1) for n, share in zip(at, nulls, strict=True)):
            return name
    return ""


def _checked(chunk: bytes, path: Path, at: int, text: bool) -> bytes:
    if at == 0 and (wide := _wide(chunk[:4096])):
        cure = f"iconv -f {wide} -t UTF-8 {path.name} > NEW{path.suffix}"
        raise InputError(f"{path}: is {wide} text and not UTF-8; convert it, say by {cure}")
    if text and b"\0" in chunk:
        raise InputError(f"{path}: holds a NUL byte, byte {at + chunk.index(0):,}, so it is no text; remove it")
    if not chunk.isascii():
        try:
            chunk.decode("utf-8")
        except UnicodeDecodeError as error:
            cure = "damaged, or of another encoding" if path.suffix in PACKED else "convert it, say by iconv"
            why = f"{error.reason} at byte {at + error.start:,}; {cure}"
            raise InputError(f"{path}: cannot be read as UTF-8 text ({why})") from error
    return chunk


def _too_long(path: Path, what: str) -> str:
    cure = "; --document names a way to cut it, words:N always does" if unpacked(path).endswith(TEXT) else ""
    return f"{path}: a {what} of more than {LIMIT >> 20} MiB is no document{cure}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _of_arrow(column: pa.Array) -> Block:
    offsets, data = column.buffers()[1:]
    wide = np.int64 if pa.types.is_large_string(column.type) else np.int32
    bounds = np.frombuffer(offsets, wide)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return Block(np.frombuffer(data or b"", np.uint8), bounds[:-1], bounds[1:])


@njit(cache=True, nogil=True)
def _stripped(data, begins, ends):
    """Where lines end, their line breaks left out."""
    out = ends.copy()
    for d in range(len(begins)):
        while out[d] > begins[d] and (data[out[d] - 1] == 10 or data[out[d] - 1] == 13):
            out[d] -= 1
    return begins, out


@njit(cache=True, nogil=True)
def _written(data, begins, ends):
    """Which documents hold a character that is not white space."""
    out = np.zeros(len(begins), np.bool_)
    for d in range(len(begins)):
        i, end = begins[d], ends[d]
        while i < end:
            b = data[i]
            if b == 32 or 9 <= b <= 13 or 28 <= b <= 31:
                i += 1
            elif b == 0xC2 and (data[i + 1] == 0x85 or data[i + 1] == 0xA0):
                i += 2
            elif 0xE1 <= b <= 0xE3:
                c = (b & 15) << 12 | (data[i + 1] & 63) << 6 | (data[i + 2] & 63)
                listed = 0x2000 <= c <= 0x200A or c == 0x2028 or c == 0x2029 or c == 0x202F or c == 0x205F
                if not (listed or c == 0x1680 or c == 0x3000):
                    break
                i += 3
            else:
                break
        out[d] = i < end
    return out
