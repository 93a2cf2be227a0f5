"""Text as word numbers: the word rule of :mod:`taskgram_utils.ngrams`, compiled, many documents at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numba import njit

from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import WORD_CHARACTER, words

BLOCK = 1 << 18  # characters handed to the compiled code at once: stays in the cache, drowns the cost of a call
UNKNOWN = -1
_OTHER, _LETTER, _DIGIT, _APOSTROPHE, _HYPHEN, _DECIMAL = range(6)
# Lower-casing changes the length of the one and depends on the neighbours of the other.
_IRREGULAR = re.compile("[İΣ]")


@cache
def _characters(limit: int) -> np.ndarray:
    """For every code point below ``limit`` its lower case, and in the bits from 24 on its class in the word rule."""
    everything = np.arange(limit, dtype=np.uint32).tobytes().decode("utf-32-le", "surrogatepass")
    lower = _IRREGULAR.sub("-", everything).lower()
    code = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), np.uint32).copy()
    kind = np.zeros(len(everything), np.uint32)
    for value, pattern in enumerate((WORD_CHARACTER, r"\d", "['’]", "[-‐‑]", "[.,]"), _LETTER):
        for match in re.finditer(f"(?:{pattern})+", everything):
            kind[match.start() : match.end()] = value
    return code | kind << 24


def _regular(text: str) -> str:
    """``text`` in a form whose words the compiled code finds character by character."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    return " ".join(words(text)) if _IRREGULAR.search(text) else text


def blocks(texts: Iterable[str], size: int = BLOCK) -> Iterator[list[str]]:
    """Successive texts in lists of at least ``size`` characters (the last may hold fewer)."""
    block, held = [], 0
    for text in texts:
        block.append(text)
        held += len(text)
        if held >= size:
            yield block
            block, held = [], 0
    if block:
        yield block


class Vocabulary:
    """Numbers for words, 0, 1, 2 ... in the order in which they are first met; grows only where asked to."""

    def __init__(self, texts: Sequence[str] = ()):
        self.size = 0
        self._hashes, self._slots = np.zeros(64, np.uint64), np.full(64, UNKNOWN, np.int32)
        self._pool, self._starts = np.zeros(1024, np.uint32), np.zeros(64, np.int64)
        for block in blocks(texts):
            self.encode(block, grow=True)

    def __len__(self) -> int:
        return self.size

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Word numbers of all ``texts`` one after the other (int32), and how many each text has (int64 [k]).

        A word not in the vocabulary is added where ``grow`` is set and is ``UNKNOWN`` otherwise. The words are those
        of :func:`taskgram_utils.ngrams.words`.
        """
        texts = [_regular(text) for text in texts]
        joined = "".join(texts)
        if joined.isascii():
            points, limit = np.frombuffer(joined.encode("ascii"), np.uint8), 128
        else:
            points, limit = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32), 0x110000
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        used = self._starts[self.size]
        # Room in the pool for the word being read, and for every word of the texts if they may be added.
        self._pool = _room(self._pool, used + len(points) + 1)
        if grow:
            self._starts = _room(self._starts, self.size + len(points) // 2 + len(texts) + 2)
        ids, counts, self.size, self._hashes, self._slots = _encode(
            points, lengths, _characters(limit), self._pool, self._starts, self.size, self._hashes, self._slots, grow
        )
        return ids, counts

    def words(self) -> list[str]:
        """All words, in the order of their numbers."""
        text = self._pool[: self._starts[self.size]].tobytes().decode("utf-32-le", "surrogatepass")
        bounds = self._starts[: self.size + 1].tolist()
        return [text[a:b] for a, b in pairwise(bounds)]


def encode_ngrams(ngrams: Sequence[str], vocabulary: Vocabulary, grow: bool) -> tuple[np.ndarray, np.ndarray]:
    """Word numbers and sizes of n-grams as typed; raises InputError for one that is no text or holds no word."""
    for place, ngram in enumerate(ngrams):
        if not isinstance(ngram, str):
            raise InputError(f"n-gram {place + 1}: {ngram!r} is not text")
    pieces = [vocabulary.encode(block, grow) for block in blocks(ngrams)]
    ids = np.concatenate([p[0] for p in pieces]) if pieces else np.zeros(0, np.int32)
    sizes = np.concatenate([p[1] for p in pieces]) if pieces else np.zeros(0, np.int64)
    if not sizes.all():
        place = int(np.argmin(sizes))
        raise InputError(f"n-gram {place + 1}: {ngrams[place]!r} holds no word; remove it from the input")
    return ids, sizes


def _room(array: np.ndarray, needed: int) -> np.ndarray:
    if len(array) >= needed:
        return array
    out = np.zeros(max(needed, 2 * len(array)), array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True, nogil=True)
def _rehash(hashes, slots):
    size = 2 * len(slots)
    more_hashes, more_slots = np.zeros(size, np.uint64), np.full(size, np.int32(UNKNOWN), np.int32)
    for i in range(len(slots)):
        if slots[i] != UNKNOWN:
            j = np.int64(hashes[i] & np.uint64(size - 1))
            while more_slots[j] != UNKNOWN:
                j = (j + 1) & (size - 1)
            more_hashes[j], more_slots[j] = hashes[i], slots[i]
    return more_hashes, more_slots


@njit(cache=True, nogil=True)
def _encode(points, lengths, characters, pool, starts, size, hashes, slots, grow):
    ids = np.empty((len(points) + len(lengths)) // 2 + 1, np.int32)
    counts = np.empty(len(lengths), np.int64)
    found, i = 0, 0
    free = starts[size]  # the word being read is written here, where it stays if it is new
    for d in range(len(lengths)):
        end, found_before = i + lengths[d], found
        while i < end:
            character = characters[points[i]]
            i += 1
            kind = character >> 24
            if kind != _LETTER and kind != _DIGIT:
                continue
            length, h = 0, np.uint64(0)
            while True:  # one word: runs of letters and digits, glued where the rule says so
                code = character & np.uint32(0xFFFFFF)
                pool[free + length] = code
                length += 1
                h = (h ^ np.uint64(code)) * np.uint64(0x9E3779B97F4A7C15)
                if i == end:
                    break
                before = kind
                character = characters[points[i]]
                kind = character >> 24
                if kind != _LETTER and kind != _DIGIT:
                    if kind == _OTHER or i + 1 == end:
                        break
                    character = characters[points[i + 1]]
                    after = character >> 24
                    if after != _LETTER and after != _DIGIT:
                        break
                    digits = before == _DIGIT and after == _DIGIT
                    if kind != _APOSTROPHE and (kind == _DECIMAL) != digits:
                        break
                    kind = after
                    i += 1
                i += 1
            h ^= h >> np.uint64(32)
            mask = len(slots) - 1
            j = np.int64(h & np.uint64(mask))
            word = np.int32(UNKNOWN)
            while slots[j] != UNKNOWN:
                if hashes[j] == h:
                    at = starts[slots[j]]
                    if starts[slots[j] + 1] - at == length:
                        k = 0
                        while k < length and pool[at + k] == pool[free + k]:
                            k += 1
                        if k == length:
                            word = slots[j]
                            break
                j = (j + 1) & mask
            if word == UNKNOWN and grow:
                word = np.int32(size)
                hashes[j], slots[j] = h, word
                size += 1
                free += length
                starts[size] = free
                if 2 * size > len(slots):
                    hashes, slots = _rehash(hashes, slots)
            ids[found] = word
            found += 1
        counts[d] = found - found_before
    return ids[:found].copy(), counts, size, hashes, slots
