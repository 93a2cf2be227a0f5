"""The files of an infini-gram index: written shard by shard, and checked before they are read."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine import suffix_array
from taskgram_utils.counting.engine.suffix_array import key_of, place_of
from taskgram_utils.counting.engine.threads import even, parallel_for
from taskgram_utils.errors import InputError, require

WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4"}
_CHECKED = 1000  # neighbours in the suffix array, and document beginnings, that opening checks
_DENSE = 1 << 29  # tokens of a shard up to which opening reads all of them
_SAMPLES = 1 << 20  # suffixes whose first keys are kept, so few that they stay in the cache
_BLOCK = 1 << 22  # entries of a large array that are handled at once


class Shard(NamedTuple):
    """A shard of an index, its files mapped: n tokens in k documents."""

    tokens: np.ndarray  # token ids, a separator before each document [n]
    table: np.ndarray  # the sorted suffixes' places in bytes, little-endian [n, bytes of a place]
    offsets: np.ndarray  # places of the separators in bytes [k]
    width: int  # bytes of a token
    sample: np.ndarray  # first keys, packed, of the suffix at every 2^shift-th rank; [0] if large
    shift: int
    largest: int  # the largest token id; of a large shard, the largest in a sample


def swapped(ids: np.ndarray, width: int) -> np.ndarray:
    """The keys of token ids, in whose order suffixes are sorted: their bytes as big-endian."""
    return ids.astype(WIDTHS[width]).byteswap().astype(np.int64)


def pointer_width(size: int) -> int:
    """Bytes of a place in a file of ``size`` bytes: ceil(log2(size) / 8)."""
    return max(1, ((size - 1).bit_length() + 7) // 8)


def write_shard(folder: Path, number: int, ids, lengths, width: int) -> np.ndarray:
    """Write tokenized, offset, unigram and table of k documents, and return the distinct ids.

    ``ids``: the token ids of all documents one after the other; ``lengths`` [k]: how many each has.
    """
    begins = np.cumsum(lengths) - lengths
    tokens = np.insert(ids.astype(WIDTHS[width]), begins, (1 << 8 * width) - 1)
    tokens.tofile(folder / f"tokenized.{number}")
    places = (begins + np.arange(len(begins))) * width
    places.astype("<u8").tofile(folder / f"offset.{number}")
    return write_table(tokens, folder / f"table.{number}", folder / f"unigram.{number}")


def write_table(tokens: np.ndarray, path: Path, unigram: Path | None = None) -> np.ndarray:
    """Write the suffix array of ``tokens`` (u1, u2 or u4, the largest number the separator).

    Writes how often each id occurs to ``unigram``, too. Returns the distinct token ids.
    """
    width, separator = tokens.itemsize, np.iinfo(tokens.dtype).max
    counts = np.zeros(_largest(tokens) + 1, np.int64)
    for ids in _ids(tokens):
        counts += np.bincount(ids, minlength=len(counts))
    used = np.flatnonzero(counts)
    if unigram is not None:
        lines = [f"{i} {c}\n" for i, c in zip(used.tolist(), counts[used].tolist(), strict=True)]
        lines.append(f"{separator} {len(tokens) - counts.sum()}\n")
        unigram.write_text("".join(lines))
    # Number the ids in the order of their keys; the separator's is above all others.
    rank = np.full(len(counts) + 1, len(used), np.int32)
    rank[used[np.argsort(swapped(used, width))]] = np.arange(len(used), dtype=np.int32)
    order = suffix_array.build(np.take(rank, tokens, mode="clip"), len(used) + 1)
    pointer = pointer_width(tokens.nbytes)
    with path.open("wb") as table:
        for begin in range(0, len(order), _BLOCK):
            places = order[begin : begin + _BLOCK].astype("<u8") * width
            table.write(places.view(np.uint8).reshape(-1, 8)[:, :pointer].tobytes())
    return used


def _ids(tokens: np.ndarray) -> Iterator[np.ndarray]:
    """The tokens without the separators, a block at a time."""
    for begin in range(0, len(tokens), _BLOCK):
        block = tokens[begin : begin + _BLOCK]
        yield block[block != np.iinfo(tokens.dtype).max]


def _largest(tokens: np.ndarray) -> int:
    """The largest token id; -1 if there are separators alone."""
    return max((int(ids.max()) for ids in _ids(tokens) if len(ids)), default=-1)


def open_shards(folder: Path) -> list[Shard]:
    """The shards of an index, mapped and checked.

    Raises InputError if the folder is no index, or files are missing or do not fit each other.
    """
    where = f"index {folder}"
    require(os.path.exists(folder), f"{where}: no such folder")  # False for what is no path, too
    why = "a file, where the folder of an index is needed; make one with `taskgram index`"
    require(folder.is_dir(), f"{where}: {why}")
    endings = [p.suffix[1:] for p in folder.glob("tokenized.*")]
    numbers = sorted(int(ending) for ending in endings if re.fullmatch(r"0|[1-9]\d*", ending))
    require(numbers, f"{where}: no tokenized.0 in it; build one with `taskgram index`")
    for expected, number in enumerate(numbers):
        why = f"tokenized.{number} is in it but no tokenized.{expected}; get all of its files"
        require(number == expected, f"{where}: {why}")
    try:
        shards = [_open(folder, number) for number in numbers]
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from error
    widths = {shard.width for shard in shards}
    require(len(widths) == 1, f"{where}: shards of different token widths; build it again")
    return shards


def _open(folder: Path, number: int) -> Shard:

    def fit(condition: object, why: str) -> None:
        require(condition, f"index {folder}: {why}; build it again")

    names = [f"{name}.{number}" for name in ("tokenized", "table", "offset")]
    for name in names:
        fit((folder / name).exists(), f"no {name} in it")
    size, entries, starts = ((folder / name).stat().st_size for name in names)
    pointer = pointer_width(size)
    # At most one width fits: each makes another number of entries.
    widths = [w for w in WIDTHS if size and size % w == 0 and size // w * pointer == entries]
    fit(widths, f"{entries} bytes of {names[1]} do not fit {size} of {names[0]}")
    fit(starts and starts % 8 == 0, f"{names[2]} has {starts} bytes, no multiple of 8")
    width, kinds = widths[0], (WIDTHS[widths[0]], np.uint8, "<i8")
    # Arrays of numpy's own class over the maps: the compiled code knows no other.
    maps = (np.memmap(folder / name, kind, "r") for name, kind in zip(names, kinds, strict=True))
    tokens, table, offsets = map(np.asarray, maps)
    table = table.reshape(-1, pointer)
    # A sample of the documents begins with separators.
    some = offsets[np.linspace(0, len(offsets) - 1, min(_CHECKED, len(offsets))).astype(np.int64)]
    rising = some[0] == 0 and np.all(np.diff(some) > 0) and some[-1] < size
    separator = np.iinfo(tokens.dtype).max
    pointing = rising and np.all(some % width == 0) and np.all(tokens[some // width] == separator)
    fit(pointing, f"{names[2]} does not point at the document separators of {names[0]}")
    broken = suffix_array.disorder(tokens, table, width, _CHECKED)
    fit(broken < 0, f"{names[1]} is not in order at rank {broken}")
    whole = len(tokens) <= _DENSE
    front = tokens if whole else tokens[:_BLOCK]
    separators = len(front) - sum(map(len, _ids(front)))
    expected = np.searchsorted(offsets, front.nbytes)
    fit(separators == expected, f"{separators} separators in {names[0]}, {expected} in {names[2]}")
    shift = max(6, (len(tokens) // _SAMPLES).bit_length())
    sample = np.empty((len(tokens) - 1 >> shift) + 1 if whole else 0, np.uint64)
    parallel_for(_pack, even(len(sample), 1 << 14), tokens, table, width, shift, sample)
    largest = _largest(tokens if whole else tokens[:: max(1, len(tokens) >> 16)])
    return Shard(tokens, table, offsets, width, sample, shift, largest)


@njit(cache=True, nogil=True)
def _pack(tokens, table, width, shift, out, first, last):
    """Pack the first keys of every 2^shift-th suffix, as many as 64 bits hold; 0 beyond the end."""
    for k in range(first, last):
        place, word = place_of(table, k << shift, width), np.uint64(0)
        for i in range(place, place + 8 // width):
            key = key_of(tokens[i], width) if i < len(tokens) else 0
            word = word << np.uint64(8 * width) | np.uint64(key)
        out[k] = word
