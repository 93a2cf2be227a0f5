"""The files of an infini-gram index: written a shard at a time, and checked before they are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine import suffix_array
from taskgram_utils.counting.engine.suffix_array import key_of, place_of
from taskgram_utils.counting.engine.threads import even, spread
from taskgram_utils.errors import InputError, require

WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4"}
_SAMPLE = 1000  # neighbours in the suffix array, and document beginnings, that are checked at opening
_DENSE = 1 << 29  # up to so many tokens the ranks of all first tokens are kept
_IDS = 1 << 26  # and so many token ids
_SAMPLES = 1 << 20  # suffixes whose first keys are kept: the upper steps of a search stay in the cache
_HINTS = 1 << 20  # places in a shard whose document is kept, to look for those of others near it
_BLOCK = 1 << 22  # entries of a large array that are handled at once


class Shard(NamedTuple):
    """A shard of an index, its files mapped: n tokens in k documents."""

    tokens: np.ndarray  # token ids, a separator before each document [n]
    table: np.ndarray  # the sorted suffixes' places in bytes, little-endian [n, bytes of a place]
    offsets: np.ndarray  # places of the separators in bytes [k]
    width: int  # bytes of a token
    first: np.ndarray  # first rank and last + 1 of the suffixes that begin with each token [ids, 2]; none if too large
    sample: np.ndarray  # the first keys of the suffix at every 2^shift-th rank, packed; none if too large
    shift: int
    largest: int  # the largest token id, of a sample of them where the shard is too large


def swapped(ids: np.ndarray, width: int) -> np.ndarray:
    """Token ids as the numbers their bytes would be read as in the order in which they stand: the index's order."""
    return ids.astype(WIDTHS[width]).byteswap().astype(np.int64) if width > 1 else ids.astype(np.int64)


def pointer_width(size: int) -> int:
    """Bytes of a place in a file of ``size`` bytes: ceil(log2(size) / 8)."""
    return max(1, ((size - 1).bit_length() + 7) // 8)


def write_shard(folder: Path, number: int, ids: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """Write tokenized, offset, unigram and table of documents of ``lengths`` [k], given as token ids one after the
    other. Returns the distinct ids."""
    separator = (1 << 8 * width) - 1
    starts = np.cumsum(np.concatenate([[0], lengths[:-1] + 1]))
    tokens = np.empty(len(ids) + len(lengths), WIDTHS[width])
    _with_separators(ids, lengths, tokens, separator)
    tokens.tofile(folder / f"tokenized.{number}")
    (starts * width).astype("<u8").tofile(folder / f"offset.{number}")
    return write_table(tokens, folder / f"table.{number}", folder / f"unigram.{number}")


def write_table(tokens: np.ndarray, path: Path, unigram: Path | None = None) -> np.ndarray:
    """Write the suffix array of ``tokens`` (u1, u2 or u4, the largest number the separator), and their counts.

    Returns the distinct token ids.
    """
    width = tokens.itemsize
    counts, separators = _counted(tokens)
    used = np.flatnonzero(counts)
    if unigram is not None:
        lines = [f"{i} {c}\n" for i, c in zip(used.tolist(), counts[used].tolist(), strict=True)]
        unigram.write_text("".join([*lines, f"{(1 << 8 * width) - 1} {separators}\n"]))
    rank = np.zeros(len(counts), np.int32)
    rank[used[np.argsort(swapped(used, width))]] = np.arange(len(used), dtype=np.int32)
    symbols = _ranked(tokens, rank, len(used))  # the separator's bytes are above all others
    order = suffix_array.build(symbols, len(used) + 1)
    del symbols
    pointer = pointer_width(tokens.nbytes)
    with path.open("wb") as table:
        for begin in range(0, len(order), _BLOCK):
            table.write(_as_bytes(order[begin : begin + _BLOCK], width, pointer))
    return used


@njit(cache=True, nogil=True)
def _with_separators(ids, lengths, out, separator):
    at, place = 0, 0
    for length in lengths:
        out[place] = separator
        for k in range(length):
            out[place + 1 + k] = ids[at + k]
        at += length
        place += length + 1


def _counted(tokens: np.ndarray) -> tuple[np.ndarray, int]:
    """How often each token id occurs [ids], and how many separators there are."""
    separator = np.iinfo(tokens.dtype).max
    counts = np.zeros(separator if tokens.itemsize < 4 else _largest(tokens, separator) + 1, np.int64)
    separators = _count(tokens, counts, separator)
    return counts[: counts.nonzero()[0].max(initial=-1) + 1], separators


@njit(cache=True, nogil=True)
def _largest(tokens, separator):
    top = np.int64(-1)
    for token in tokens:
        if token != separator and np.int64(token) > top:
            top = np.int64(token)
    return top


@njit(cache=True, nogil=True)
def _count(tokens, counts, separator):
    separators = 0
    for token in tokens:
        if token == separator:
            separators += 1
        else:
            counts[token] += 1
    return separators


@njit(cache=True, nogil=True)
def _ranked(tokens, rank, separator):
    out = np.empty(len(tokens), np.int32)
    for i in range(len(tokens)):
        out[i] = rank[tokens[i]] if tokens[i] < len(rank) else separator
    return out


@njit(cache=True, nogil=True)
def _as_bytes(order, width, pointer):
    out = np.empty((len(order), pointer), np.uint8)
    for k in range(len(order)):
        place = np.int64(order[k]) * width
        for b in range(pointer):
            out[k, b] = place >> 8 * b & 255
    return out


def open_shards(folder: Path) -> list[Shard]:
    """The shards of an index, mapped and checked.

    Raises InputError for a folder that is none, and for files that are missing or do not fit each other.
    """
    where = f"index {folder}"
    require(os.path.exists(folder), f"{where}: no such folder")  # False for what cannot be a path, too
    require(folder.is_dir(), f"{where}: a file, where the folder of an index is needed; make one with `taskgram index`")
    numbers = sorted(int(p.suffix[1:]) for p in folder.glob("tokenized.*") if re.fullmatch(r"\.(0|[1-9]\d*)", p.suffix))
    require(numbers, f"{where}: no tokenized.0 in it; build one with `taskgram index`")
    for number, found in enumerate(numbers):
        require(number == found, f"{where}: tokenized.{found} is in it but no tokenized.{number}; get all of its files")
    try:
        shards = [_open(folder / f"tokenized.{number}") for number in numbers]
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from error
    widths = {shard.width for shard in shards}
    require(len(widths) == 1, f"{where}: shards of different token widths; build it again")
    return shards


def _open(file: Path) -> Shard:
    where, number, size = f"index {file.parent}", file.suffix[1:], file.stat().st_size
    table, offset = (file.with_name(f"{name}.{number}") for name in ("table", "offset"))
    for path in (table, offset):
        require(path.exists(), f"{where}: no {path.name} in it; build it again")
    pointer, entries = pointer_width(size), table.stat().st_size
    widths = [w for w in WIDTHS if size and size % w == 0 and size // w * pointer == entries]
    require(widths, f"{where}: {entries} bytes of {table.name} do not fit {size} of {file.name}; build it again")
    width, bytes_ = widths[0], offset.stat().st_size  # no other fits: each makes another number of entries
    require(bytes_ and bytes_ % 8 == 0, f"{where}: {offset.name} has {bytes_} bytes, no multiple of 8; build it again")
    # Arrays of numpy's own class over the maps: the compiled code knows no other.
    tokens, offsets = np.asarray(np.memmap(file, WIDTHS[width], "r")), np.asarray(np.memmap(offset, "<i8", "r"))
    places = np.asarray(np.memmap(table, np.uint8, "r")).reshape(-1, pointer)
    fit = _fit(tokens, offsets, width)
    require(fit, f"{where}: {offset.name} does not point at the document separators of {file.name}; build it again")
    broken, separator = suffix_array.disorder(tokens, places, width, _SAMPLE), (1 << 8 * width) - 1
    require(broken < 0, f"{where}: {table.name} is not in order at rank {broken}; build it again")
    top = -1 if width < 4 or len(tokens) > _DENSE else _largest(tokens, separator)
    if len(tokens) <= _DENSE and top < _IDS:
        counts, separators = _counted(tokens)
        same = separators == len(offsets)
        require(same, f"{where}: {separators} separators in {file.name}, {len(offsets)} in {offset.name}; build again")
        shift = max(6, (len(tokens) // _SAMPLES).bit_length())
        packed = np.empty((len(tokens) - 1 >> shift) + 1, np.uint64)
        spread(_pack, even(len(packed), 1 << 14), tokens, places, width, shift, packed)
        return Shard(tokens, places, offsets, width, _first_ranks(counts, width), packed, shift, len(counts) - 1)
    some = np.linspace(0, len(tokens) - 1, 1 << 16).astype(np.int64)
    none = np.zeros((0, 2), np.int64), np.zeros(0, np.uint64), 0
    return Shard(tokens, places, offsets, width, *none, max(top, _largest(tokens[some], separator)))


def _fit(tokens: np.ndarray, offsets: np.ndarray, width: int) -> bool:
    """Whether a sample of offsets points at separators, and some of the stretches between two hold no other."""
    separator = (1 << 8 * width) - 1
    sample = np.linspace(0, len(offsets) - 1, min(_SAMPLE, len(offsets))).astype(np.int64)
    some = offsets[sample]
    if some[0] != 0 or np.any(np.diff(some) <= 0) or some[-1] >= tokens.nbytes or np.any(some % width):
        return False
    for k in sample[-1 :: -(len(sample) // 50 + 1)].tolist():
        begin, end = np.append(offsets[k : k + 2], tokens.nbytes)[:2] // width
        if end > len(tokens) or np.any(tokens[begin + 1 : end] == separator):
            return False
    return bool(np.all(tokens[some // width] == separator))


@njit(cache=True, nogil=True)
def _pack(tokens, table, width, shift, out, first, last):
    """The keys of as many tokens as 64 bits hold, one after the other; 0 behind the end."""
    for k in range(first, last):
        place, word = place_of(table, k << shift, width), np.uint64(0)
        for i in range(place, place + 8 // width):
            word = word << np.uint64(8 * width) | np.uint64(key_of(tokens[i], width) if i < len(tokens) else 0)
        out[k] = word


def _first_ranks(counts: np.ndarray, width: int) -> np.ndarray:
    order = np.argsort(swapped(np.arange(len(counts)), width))
    ends = np.empty(len(counts), np.int64)
    ends[order] = np.cumsum(counts[order])
    return np.stack([ends - counts, ends], axis=1)


def hints(shard: Shard) -> tuple[np.ndarray, int]:
    """For every 2^shift tokens of a shard the document of the first, and a last entry for the last one; the shift."""
    shift = max(0, (max(len(shard.tokens) - 1, 1) // _HINTS).bit_length())
    places = np.arange(0, len(shard.tokens), 1 << shift) * shard.width
    found = np.searchsorted(shard.offsets, places, side="right") - 1
    return np.append(found, len(shard.offsets) - 1).astype(np.uint32), shift
