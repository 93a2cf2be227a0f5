"""Text as word numbers: the word rule of :mod:`taskgram_utils.ngrams`, compiled, many documents at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import EVERY_CHARACTER, UNSEEN, UNSPACED, WORD_CHARACTER, words
from taskgram_utils.reading import Block, lists

BLOCK = 1 << 20  # bytes handed to the compiled code at once: drowns the cost of a call
UNKNOWN, END = -1, -2  # a word that is not in the vocabulary; the end of a document
_OTHER, _LETTER, _DIGIT, _APOSTROPHE, _HYPHEN, _DECIMAL, _UNSEEN = range(7)
_UNDERSCORE = 95  # a letter in the middle of a word, none at its edges
# Beside the class: may have to be composed or reordered; cannot be read character by character; a letter of a script
# that puts no space between words.
_MARK, _HARD, _UNSPACED = 16, 32, 64
# Lower-casing changes the length of the one and depends on the neighbours of the other.
_IRREGULAR = "İΣ"


@cache
def characters() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each byte, whether it is an ASCII letter, digit or underscore. For each code point: its class in the word
    rule, with ``_MARK``, ``_HARD`` and ``_UNSPACED``; the UTF-8 bytes of its lower case as one number; its combining
    class, and that of the last mark it is composed of. And the pairs that NFC composes, before or after lower-casing
    (sorted)."""
    everything = EVERY_CHARACTER
    lower = re.sub(f"[{_IRREGULAR}]", "-", everything).lower()
    small = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), "<u4")
    one, two, three = small & 0x3F, (small & 0xFC0) << 2, (small & 0x3F000) << 4  # six bits a byte, from the right
    code = np.select(
        [small < 0x80, small < 0x800, small < 0x10000], [small, 0xC080 | two | one, 0xE08080 | three | two | one],
        0xF0808080 | (small & 0x1C0000) << 6 | three | two | one,
    )  # fmt: skip
    kind = np.zeros(len(everything), np.uint8)
    for value, pattern in enumerate((WORD_CHARACTER, r"\d", "['’]", "[-‐‑]", "[.,]", UNSEEN), _LETTER):
        for match in re.finditer(f"(?:{pattern})+", everything):
            kind[match.start() : match.end()] = value
    for match in re.finditer(f"{UNSPACED}+", everything):
        some = kind[match.start() : match.end()]
        some[some == _LETTER] |= _UNSPACED
    combining = np.fromiter(map(unicodedata.combining, everything), np.uint8, len(everything))
    composed, second, last = set(), set(), combining.copy()
    lowered = {}
    for point in np.flatnonzero(small != np.arange(len(small))).tolist():
        lowered.setdefault(lower[point], []).append(chr(point))
    kind[list(map(ord, _IRREGULAR))] |= _HARD
    for c, parts in zip(everything, map(unicodedata.decomposition, everything), strict=True):
        if not parts:
            continue
        if unicodedata.normalize("NFC", c) != c:
            kind[ord(c)] |= _HARD
        elif not parts.startswith("<") and " " in parts and c not in _IRREGULAR:
            base, mark = (int(p, 16) for p in parts.split())
            second.add(mark)
            last[ord(c)] = combining[mark]
            composed |= {ord(p) << 21 | mark for p in (chr(base), *lowered.get(chr(base), []))}
    kind[combining > 0] |= _MARK
    kind[list(second)] |= _MARK
    kind[0x1161:0x1176] |= _HARD  # the parts of Hangul syllables, which are composed by rule
    kind[0x11A8:0x11C3] |= _HARD
    plain = np.zeros(256, np.bool_)
    plain[:128] = np.isin(kind[:128], (_LETTER, _DIGIT))
    return plain, kind, code, combining, last, np.array(sorted(composed), np.int64)


def readable(block: Block) -> Block:
    """The block with the lines that must be composed, reordered or lower-cased as a whole written as their words.

    What remains can be read character by character.
    """
    hard = _hard_ones(block)
    if not len(hard):
        return block
    texts = [block.data[b:e].tobytes() for b, e in zip(block.begins, block.ends, strict=True)]
    for d in hard:
        lines = texts[d].splitlines(True)
        for k in _hard_ones(Block.of_bytes(lines)):
            text = " ".join(words(lines[k].decode("utf-8", "surrogatepass")))
            lines[k] = f"{text}\n".encode("utf-8", "surrogatepass")
        texts[d] = b"".join(lines)
    return Block.of_bytes(texts)


def _hard_ones(block: Block) -> np.ndarray:
    """Which documents cannot be read character by character."""
    if not len(block.data) or block.data.max() < 128:
        return np.zeros(0, np.int64)
    _, kind, _, *classes = characters()
    return np.flatnonzero(_hard(np.flatnonzero(block.data >= 0xC0), *block, kind, *classes))


def letters(block: Block) -> np.ndarray:
    """Letters in a sample of a block, and those of them in scripts that put no space between words: int64 [2]."""
    span = (block.begins[0], block.ends[-1]) if len(block.begins) else (0, 0)
    return _letters(block.data, *span, characters()[1])


class Vocabulary:
    """Numbers for words, 0, 1, 2 ... in the order in which they are first met; grows only where asked to.

    A word is kept as its UTF-8 in pieces of 8 bytes, each one number. ``slots`` [size, 2] is a table of words: of a
    word of one piece the piece itself, else a hash of them, and (number + 1) << 1 | more than one piece.
    """

    def __init__(self, texts: Sequence[str] = ()):
        self.size = 0
        self.slots = np.zeros((64, 2), np.uint64)
        self.pool, self.starts = np.zeros(64, np.uint64), np.zeros(64, np.int64)
        for block in lists(texts, BLOCK):
            self.encode(block, grow=True)

    def __len__(self) -> int:
        return self.size

    def encode(self, texts: Sequence[str] | Block, grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Word numbers of all ``texts`` one after the other (int32), and how many each text has (int64 [k]).

        A word not in the vocabulary is added where ``grow`` is set and is ``UNKNOWN`` otherwise. The words are those
        of :func:`taskgram_utils.ngrams.words`.
        """
        block = readable(texts if isinstance(texts, Block) else Block.of(texts))
        room = int((block.ends - block.begins).sum()) // 2 + 2 * len(block.begins) + 1
        pieces, stops, hashes = np.empty(room, np.uint64), np.empty(room + 1, np.int32), np.empty(room, np.uint64)
        text, at = (*padded(block.data), block.begins, block.ends), np.zeros(2, np.int64)
        found = tokenise(*text, at, *characters()[:3], pieces, stops, hashes, room, room)
        ids = np.empty(found, np.int32)
        if grow:
            self.pool = _room(self.pool, self.starts[self.size] + stops[found])
            self.starts = _room(self.starts, self.size + found + 1)
            self.size, self.slots = _add(pieces, stops, found, self.pool, self.starts, self.size, self.slots)
        look_up(
            pieces, stops, hashes, found, self.pool, self.starts, self.slots, ids, np.empty((found, 2), np.uint64)
        )
        return _without_ends(ids, len(block.begins))

    def words(self) -> list[str]:
        """All words, in the order of their numbers."""
        letters = self.pool[: self.starts[self.size]].astype("<u8").view(np.uint8).reshape(-1, 8)
        text = letters[letters > 0].tobytes()
        lengths = np.cumsum(np.concatenate([[0], (letters > 0).sum(axis=1)]))
        bounds = lengths[self.starts[: self.size + 1]].tolist()
        return [text[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(bounds)]


def encode_ngrams(ngrams: Sequence[str], vocabulary: Vocabulary, grow: bool) -> tuple[np.ndarray, np.ndarray]:
    """Word numbers and sizes of n-grams as typed; raises InputError for one that is no text or holds no word."""
    for place, ngram in enumerate(ngrams):
        if not isinstance(ngram, str):
            raise InputError(f"n-gram {place + 1}: {ngram!r} is not text")
    pieces = [vocabulary.encode(block, grow) for block in lists(ngrams, BLOCK)]
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
def _character(data, i):
    """The code point that begins at byte ``i`` of valid UTF-8, and its number of bytes."""
    b = np.uint32(data[i])
    if b < 0x80:
        return b, np.uintp(1)
    if b < 0xE0:
        return (b & np.uint32(0x1F)) << 6 | (data[i + 1] & np.uint32(0x3F)), np.uintp(2)
    if b < 0xF0:
        c = (b & np.uint32(0x0F)) << 12 | (data[i + 1] & np.uint32(0x3F)) << 6 | (data[i + 2] & np.uint32(0x3F))
        return c, np.uintp(3)
    c = (b & np.uint32(0x07)) << 18 | (data[i + 1] & np.uint32(0x3F)) << 12 | (data[i + 2] & np.uint32(0x3F)) << 6
    return c | (data[i + 3] & np.uint32(0x3F)), np.uintp(4)


@njit(cache=True, nogil=True)
def _letters(data, begin, end, kind):
    """Of up to 32 stretches of 256 bytes each, evenly spread."""
    found = np.zeros(2, np.int64)
    for start in range(begin, end, max(256, (end - begin) // 16)):
        i, stop = np.uintp(start), np.uintp(min(start + 256, end))
        while i < stop and data[i] & 0xC0 == 0x80:
            i += np.uintp(1)
        while i < stop:
            c, width = _character(data, i)
            found[0] += kind[c] & 15 == _LETTER and c != _UNDERSCORE
            found[1] += kind[c] & _UNSPACED > 0
            i += width
    return found


@njit(cache=True, nogil=True)
def _hard(places, data, begins, ends, kind, combining, last, composed):
    """Which documents hold what NFC changes, before or after lower-casing and the removal of marks inside words.

    ``places``: where characters beyond ASCII begin.
    """
    out = np.zeros(len(begins), np.bool_)
    d, after, before, starter = 0, -1, np.uint32(0), np.uint32(0)
    for place in places:
        while d < len(begins) and ends[d] <= place:
            d += 1
        if d == len(begins):
            break
        if place < begins[d] or out[d]:
            continue
        if place != after:
            before = starter = np.uint32(data[place - 1]) if place > begins[d] else np.uint32(0)
        c, width = _character(data, np.uintp(place))
        after, mark = place + np.int64(width), combining[c] > 0
        if kind[c] & (_MARK | _HARD):
            out[d] = kind[c] & _HARD or kind[before] & 15 > _DIGIT or (mark and last[before] > combining[c])
            if mark or before == starter:  # else what stands between keeps the two apart
                pair = np.int64(starter) << 21 | np.int64(c)
                k = np.searchsorted(composed, pair)
                out[d] |= k < len(composed) and composed[k] == pair
        before = c
        if not mark:
            starter = c
    return out


def padded(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes, and the same eight at a time (uint64), with room to read beyond their end."""
    eights = np.zeros(len(data) // 8 + 2, np.uint64)
    single = eights.view(np.uint8)
    single[: len(data)] = data
    return single, eights


@njit(cache=True, nogil=True)
def _run(eights, i):
    """The ASCII letters, digits and underscores at byte ``i`` and after it, at most 8, in lower case and the first of
    them lowest, and their number."""
    q, s = i >> np.uintp(3), (i & np.uintp(7)) << np.uintp(3)
    x = eights[q] >> s | (eights[q + np.uintp(1)] << np.uint64(1)) << (np.uint64(63) - s)
    high = np.uint64(0x8080808080808080)
    seven = x & ~high
    # Added to a byte below 128, so much carries into its highest bit what is not below a bound.
    small = seven | np.uint64(0x2020202020202020)
    letter = (small + np.uint64(0x1F1F1F1F1F1F1F1F)) & ~(small + np.uint64(0x0505050505050505))
    digit = (seven + np.uint64(0x5050505050505050)) & ~(seven + np.uint64(0x4646464646464646))
    other = (seven ^ np.uint64(0x5F5F5F5F5F5F5F5F)) + np.uint64(0x7F7F7F7F7F7F7F7F)
    word = (letter | digit | ~other) & ~x & high
    stop = (word ^ high) & (~(word ^ high) + np.uint64(1))  # the lowest bit of those that are none
    lower = x | (letter & high) >> np.uint64(2)
    if stop == 0:
        return lower, np.uintp(8)
    stop >>= np.uint64(7)
    return lower & (stop - np.uint64(1)), np.uintp(stop * np.uint64(0x0001020304050607) >> np.uint64(56))


@njit(cache=True, nogil=True)
def tokenise(data, eights, begins, ends, at, plain, kind, code, pieces, stops, hashes, room, longest):
    """Read words from document ``at[0]``, byte ``at[1]`` on, until ``room`` is used up or the documents end.

    ``data`` and ``eights`` are :func:`padded`. Word w is ``pieces[stops[w]:stops[w + 1]]``, of a longer one its
    ``longest`` first pieces; one of no piece ends each document. Returns how many there are and sets ``at`` to where to
    go on. Needs room for ``room`` words and as many pieces, and ``longest`` pieces more.
    """
    d, one, eight = at[0], np.uintp(1), np.uintp(8)
    found, used = 0, 0
    stops[0] = 0
    while d < len(begins) and found < room:
        i, end = np.uintp(begins[d] + at[1]), np.uintp(ends[d])
        while i < end:
            if not plain[data[i]]:
                if data[i] < 0x80:
                    i += one
                    continue
                c, width = _character(data, i)
                now = kind[c] & 15
                if now != _LETTER and now != _DIGIT:
                    i += width
                    continue
            elif data[i] == _UNDERSCORE:
                i += one
                continue
            if found == room or used >= room:
                break
            piece, filled, h, first, c = np.uint64(0), np.uintp(0), np.uint64(0), used, np.uint32(0)
            while True:  # one word: runs of letters and digits, glued where the rule says so
                if plain[data[i]]:
                    run, width = _run(eights, i)
                    width = min(width, end - i, eight - filled)
                    piece |= (run & ~np.uint64(0) >> (eight - width << np.uintp(3))) << (filled << np.uintp(3))
                    filled += width
                    i += width
                    c = np.uint32(data[i - one])
                else:
                    c, width = _character(data, i)
                    p, more = np.uint64(code[c]), 4
                    while more > 1 and p >> np.uint64(8 * more - 8) == 0:
                        more -= 1
                    while more > 0:
                        if filled == eight:
                            pieces[used] = piece
                            used += used - first < longest
                            h = _mixed(h, piece)
                            piece, filled = np.uint64(0), np.uintp(0)
                        more -= 1
                        piece |= (p >> np.uint64(8 * more) & np.uint64(255)) << (filled << np.uintp(3))
                        filled += one
                    i += width
                if i == end:
                    break
                if not plain[data[i]]:
                    last, before = c, kind[c] & 15
                    c, width = _character(data, i)
                    now = kind[c] & 15
                    if now != _LETTER and now != _DIGIT:
                        if now == _OTHER or last == _UNDERSCORE:
                            break
                        j = i + width
                        if now == _UNSEEN:
                            while j < end:
                                c, width = _character(data, j)
                                if kind[c] & 15 != _UNSEEN:
                                    break
                                j += width
                        if j == end:
                            break
                        c, _ = _character(data, j)
                        after = kind[c] & 15
                        if (after != _LETTER and after != _DIGIT) or c == _UNDERSCORE:
                            break
                        digits = before == _DIGIT and after == _DIGIT
                        if now != _APOSTROPHE and now != _UNSEEN and (now == _DECIMAL) != digits:
                            break
                        i = j
                if filled == eight:
                    pieces[used] = piece
                    used += used - first < longest
                    h = _mixed(h, piece)
                    piece, filled = np.uint64(0), np.uintp(0)
            if data[i - one] == _UNDERSCORE:
                while True:  # the last letter stands in this piece, or in one before it
                    while filled > 0 and piece >> (filled - one << np.uintp(3)) == _UNDERSCORE:
                        filled -= one
                        piece ^= np.uint64(_UNDERSCORE) << (filled << np.uintp(3))
                    if filled > 0:
                        break
                    used -= 1
                    piece, filled = pieces[used], eight
                h = _hashed(pieces, first, used)
            pieces[used] = piece
            used += used - first < longest
            hashes[found] = _mixed(h, piece)
            found += 1
            stops[found] = used
        if i < end or found == room:
            at[1] = np.int64(i) - begins[d]
            break
        found += 1
        stops[found] = used
        d += 1
        at[1] = 0
    at[0] = d
    return found


@njit(cache=True, nogil=True)
def _mixed(h, piece):
    h = (h ^ piece) * np.uint64(0x9E3779B97F4A7C15)
    return h ^ h >> np.uint64(29)


@njit(cache=True, nogil=True)
def _hashed(pieces, begin, end):
    h = np.uint64(0)
    for k in range(begin, end):
        h = _mixed(h, pieces[k])
    return h


@njit(cache=True, nogil=True)
def _slot(pieces, begin, end, pool, starts, slots):
    """Where the word ``pieces[begin:end]`` stands, or could stand, in the table, and what its entry begins with."""
    h, key, long = _hashed(pieces, begin, end), pieces[begin], np.uint64(0)
    if end - begin > 1:
        key, long = h, np.uint64(1)
    mask = np.uint64(len(slots) - 1)
    j = (h ^ h >> np.uint64(32)) & mask
    while True:
        entry = slots[j, 1]
        if entry == 0:
            return j, key
        same = slots[j, 0] == key and entry & np.uint64(1) == long
        if same and (long == 0 or _same(pieces, begin, end, pool, starts, entry)):
            return j, key
        j = (j + np.uint64(1)) & mask


@njit(cache=True, nogil=True)
def _same(pieces, begin, end, pool, starts, entry):
    """Whether the entry is that of the word ``pieces[begin:end]``."""
    word = np.int64(entry >> np.uint64(1)) - 1
    start = starts[word]
    same = starts[word + 1] - start == end - begin
    for k in range(end - begin if same else 0):
        same &= pool[start + k] == pieces[begin + k]
    return same


@njit(cache=True, nogil=True)
def look_up(pieces, stops, hashes, found, pool, starts, slots, ids, held):
    """The numbers of words given as :func:`tokenise` does; ``UNKNOWN`` for those not in the table, ``END`` for ends.

    ``held`` is room for [found, 2]. Entries first, then words that are where they are looked for first, then the
    others: so the memory is asked for many at a time, and little is guessed.
    """
    mask, one, none = np.uint64(len(slots) - 1), np.uint64(1), np.uint64(0)
    for w in range(found):
        place = (hashes[w] ^ hashes[w] >> np.uint64(32)) & mask
        held[w, 0], held[w, 1] = slots[place, 0], slots[place, 1]
    others = 0
    for w in range(found):
        begin, size, entry = stops[w], stops[w + 1] - stops[w], held[w, 1]
        long = size > 1
        key = hashes[w] if long else pieces[begin]
        here = (entry == none) | ((held[w, 0] == key) & (entry & one == np.uint64(long)))
        ids[w] = END if size == 0 else np.int32(np.int64(entry >> one) - 1)
        held[others, 0], held[others, 1] = np.uint64(w), entry if here else none
        others += (size > 0) & ((not here) | (long & (entry != none)))
    for k in range(others):
        w = np.int64(held[k, 0])
        begin, end, entry = stops[w], stops[w + 1], held[k, 1]
        if entry == none or not _same(pieces, begin, end, pool, starts, entry):
            j, _ = _slot(pieces, begin, end, pool, starts, slots)
            ids[w] = np.int32(np.int64(slots[j, 1] >> one) - 1)


@njit(cache=True, nogil=True)
def _add(pieces, stops, found, pool, starts, size, slots):
    for w in range(found):
        if stops[w] == stops[w + 1]:
            continue
        j, key = _slot(pieces, stops[w], stops[w + 1], pool, starts, slots)
        if slots[j, 1] == 0:
            free = starts[size]
            for k in range(stops[w], stops[w + 1]):
                pool[free] = pieces[k]
                free += 1
            size += 1
            starts[size] = free
            slots[j, 0] = key
            slots[j, 1] = np.uint64(size) << np.uint64(1) | np.uint64(stops[w + 1] - stops[w] > 1)
            if 2 * size > len(slots):
                old, slots = slots, np.zeros((2 * len(slots), 2), np.uint64)
                for i in range(len(old)):
                    if old[i, 1] != 0:
                        word = np.int64(old[i, 1] >> np.uint64(1)) - 1
                        j, _ = _slot(pool, starts[word], starts[word + 1], pool, starts, slots)
                        slots[j] = old[i]
    return size, slots


@njit(cache=True, nogil=True)
def _without_ends(ids, documents):
    """The word numbers without the ends of the documents, and the words of each document."""
    counts, d, kept = np.zeros(documents, np.int64), 0, 0
    for w in range(len(ids)):
        if ids[w] == END:
            d += 1
        else:
            ids[kept] = ids[w]
            kept += 1
            counts[d] += 1
    return ids[:kept].copy(), counts
