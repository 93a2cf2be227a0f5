"""Text as word numbers: the word rule of :mod:`taskgram_utils.ngrams`, compiled."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.bits import hashed
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import EVERY_CHARACTER, UNSPACED, WORD_CHARACTER, words
from taskgram_utils.ngrams import UNSEEN as UNSEEN_CHARACTER
from taskgram_utils.reading import Block, lists

BLOCK = 1 << 20  # characters handed to the compiled code at once: the cost of a call is drowned
UNKNOWN, END = -1, -2  # a word that is not in the vocabulary; the end of a document
# The classes of characters in the word rule. What is OTHER is in no word and joins none.
OTHER, LETTER, DIGIT, APOSTROPHE, HYPHEN, DECIMAL, UNSEEN, UNDERSCORE = range(8)
ENDS, GOES_ON, LOOK_ON = range(3)  # what a character says of the word beside it
# Beside the class: may have to be composed or reordered; cannot be read character by character; a
# letter of a script that puts no space between words.
_MARK, _HARD, _UNSPACED = 16, 32, 64
_LONG = np.uint64(0xFF << 56)  # the keys of words of several pieces begin here
# Lower-casing changes the length of the one and depends on the neighbours of the other.
_IRREGULAR = "İΣ"


Encoded = tuple[np.ndarray, np.ndarray]
"""Token ids of texts, all in a row (int32), and how many each text has (int64 [k])."""


class Characters(NamedTuple):
    """What the word rule has to know of characters."""

    plain: np.ndarray  # whether a byte is an ASCII letter or digit [256]
    kind: np.ndarray  # class of each code point, with _MARK, _HARD and _UNSPACED (uint8)
    lower: np.ndarray  # UTF-8 of its lower case as a number, the first byte lowest (uint32)
    combining: np.ndarray  # its combining class (uint8)
    last: np.ndarray  # combining class of the last mark that it is composed of (uint8)
    composed: np.ndarray  # pairs that NFC composes, before or after lower-casing: a << 21 | b


@cache
def characters() -> Characters:
    """The tables of all code points."""
    everything = EVERY_CHARACTER
    lower = re.sub(f"[{_IRREGULAR}]", "-", everything).lower()
    utf8 = np.array([c.encode("utf-8", "surrogatepass") for c in lower], "S4").view("<u4")
    kind = np.zeros(len(everything), np.uint8)
    patterns = (WORD_CHARACTER, r"\d", "['’]", "[-‐‑]", "[.,]", UNSEEN_CHARACTER, "_")
    for value, pattern in enumerate(patterns, LETTER):
        for match in re.finditer(f"(?:{pattern})+", everything):
            kind[match.start() : match.end()] = value
    for match in re.finditer(f"{UNSPACED}+", everything):
        some = kind[match.start() : match.end()]
        some[some == LETTER] |= _UNSPACED
    combining = np.fromiter(map(unicodedata.combining, everything), np.uint8, len(everything))
    # The letters whose lower case is another, by it: NFC may compose either with a mark.
    upper = {}
    small = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), "<u4")
    for point in np.flatnonzero(small != np.arange(len(small))).tolist():
        upper.setdefault(lower[point], []).append(chr(point))
    composed, last = set(), combining.copy()
    kind[combining > 0] |= _MARK
    kind[list(map(ord, _IRREGULAR))] |= _HARD
    for c in filter(unicodedata.decomposition, everything):
        parts = unicodedata.decomposition(c).split()
        if unicodedata.normalize("NFC", c) != c:
            kind[ord(c)] |= _HARD
        elif len(parts) == 2 and not parts[0].startswith("<") and c not in _IRREGULAR:
            base, mark = (int(part, 16) for part in parts)
            kind[mark] |= _MARK
            last[ord(c)] = combining[mark]
            composed |= {ord(p) << 21 | mark for p in (chr(base), *upper.get(chr(base), []))}
    # The parts of Hangul syllables are composed by rule.
    kind[[*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]] |= _HARD
    plain = np.isin(kind[:256], (LETTER, DIGIT)) & (np.arange(256) < 128)
    return Characters(plain, kind, utf8, combining, last, np.array(sorted(composed), np.int64))


def readable(block: Block) -> Block:
    """The block for :func:`tokenise`: bytes by eight (uint64), with room to read beyond the end.

    The compiled code reads character by character. Each line that NFC or lower-casing changes as a
    whole is replaced by its words.
    """
    hard = _hard_ones(block)
    if len(hard):
        texts = list(block.raw())
        for d in hard:
            lines = texts[d].splitlines(True)
            for k in _hard_ones(Block.of_bytes(lines)):
                text = " ".join(words(lines[k].decode("utf-8", "surrogatepass")))
                lines[k] = f"{text}\n".encode("utf-8", "surrogatepass")
            texts[d] = b"".join(lines)
        block = Block.of_bytes(texts)
    eights = np.zeros(len(block.data) // 8 + 2, np.uint64)
    eights.view(np.uint8)[: len(block.data)] = block.data
    return Block(eights, block.begins, block.ends)


def _hard_ones(block: Block) -> np.ndarray:
    """Which documents cannot be read character by character."""
    if block.data.max(initial=0) < 128:
        return np.zeros(0, np.int64)
    return np.flatnonzero(_hard(np.flatnonzero(block.data >= 0xC0), *block, characters()))


def letters(block: Block) -> np.ndarray:
    """Letters in a sample of a block, and how many are of unspaced scripts: int64 [2].

    The sample is up to 17 stretches of 256 bytes, evenly spread.
    """
    begin, end = (block.begins[0], block.ends[-1]) if len(block.begins) else (0, 0)
    starts = range(begin, end, max(256, (end - begin) // 16))
    parts = (block.data[i : min(i + 256, end)].tobytes().decode("utf-8", "ignore") for i in starts)
    kinds = kinds_of("".join(parts))
    return np.array([(kinds & 15 == LETTER).sum(), (kinds & _UNSPACED > 0).sum()])


def kinds_of(text: str) -> np.ndarray:
    """The class of each character of a text in the word rule, with its flags (uint8)."""
    return characters().kind[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]


class Spelled(NamedTuple):
    """Words as numbers: word w is ``pieces[stops[w]:stops[w + 1]]``, 8 bytes of UTF-8 a piece.

    The end of a document is a word of no piece.
    """

    pieces: np.ndarray  # uint64
    stops: np.ndarray  # int32
    keys: np.ndarray  # the key of each word (uint64), see :func:`_key`
    entries: np.ndarray  # room for what the vocabulary holds for each word (uint64 [words, 2])

    @classmethod
    def room(cls, size: int, longest: int = 0) -> Spelled:
        """Room for ``size`` words and pieces, and ``longest`` pieces more."""
        pieces, entries = np.empty(size + longest, np.uint64), np.empty((size, 2), np.uint64)
        return cls(pieces, np.empty(size + 1, np.int32), np.empty(size, np.uint64), entries)


class Vocabulary:
    """Numbers for words, 0, 1, 2 ... in the order in which they are met; grows only on demand.

    ``table`` is (pool, starts, slots): word w is ``pool[starts[w]:starts[w + 1]]``, pieces of 8
    bytes; ``slots`` [size, 2] finds it: the key of a word, and its number + 1, 0 for a free slot.
    """

    def __init__(self, texts: Sequence[str] = ()):
        self.size = 0
        self.table = np.zeros(64, np.uint64), np.zeros(64, np.int64), np.zeros((64, 2), np.uint64)
        self.encode(texts, grow=True)

    def __len__(self) -> int:
        return self.size

    def encode(self, texts: Sequence[str] | Block, grow: bool = False) -> Encoded:
        """Word numbers of all ``texts`` in a row (int32), and how many each text has (int64 [k]).

        The words are those of :func:`taskgram_utils.ngrams.words`. A word not in the vocabulary is
        added where ``grow`` is set and is ``UNKNOWN`` otherwise.
        """
        blocks = [texts] if isinstance(texts, Block) else map(Block.of, lists(texts, BLOCK))
        ids = np.concatenate([np.zeros(0, np.int32), *(self._encode(b, grow) for b in blocks)])
        ends = np.flatnonzero(ids == END)
        return ids[ids != END], np.diff(ends, prepend=-1) - 1

    def _encode(self, block: Block, grow: bool) -> np.ndarray:
        """Word numbers of a block, each document with ``END`` behind it (int32)."""
        room = int((block.ends - block.begins).sum()) // 2 + 2 * len(block.begins) + 1
        spelled, position = Spelled.room(room), np.zeros(2, np.int64)
        count = tokenise(readable(block), position, characters(), spelled, room, room)
        ids = np.empty(count, np.int32)
        if grow:
            pool, starts, slots = self.table
            pool = _enlarged(pool, starts[self.size] + spelled.stops[count])
            starts = _enlarged(starts, self.size + count + 1)
            self.size, slots = _add(spelled, count, (pool, starts, slots), self.size, ids)
            self.table = pool, starts, slots
        else:
            look_up(spelled, count, self.table, ids)
        return ids

    def words(self) -> list[str]:
        """All words, in the order of their numbers."""
        pool, starts, _ = self.table
        data, stops = pool.astype("<u8").tobytes(), (8 * starts[: self.size + 1]).tolist()
        words = (data[begin:end].rstrip(b"\0") for begin, end in pairwise(stops))
        return [word.decode("utf-8", "surrogatepass") for word in words]


def encode_ngrams(ngrams: Sequence[str], vocabulary: Vocabulary, grow: bool) -> Encoded:
    """Word numbers of n-grams as typed (int32, in a row), and the words of each (int64 [k]).

    Raises InputError for one that is no text or holds no word.
    """
    for number, ngram in enumerate(ngrams, 1):
        if not isinstance(ngram, str):
            raise InputError(f"n-gram {number}: {ngram!r} is not text")
    ids, sizes = vocabulary.encode(ngrams, grow)
    if not sizes.all():
        first = int(np.argmin(sizes))
        raise InputError(f"n-gram {first + 1}: {ngrams[first]!r} holds no word; remove it")
    return ids, sizes


def _enlarged(array: np.ndarray, needed: int) -> np.ndarray:
    """The array, or where it is too short a longer one that begins with it."""
    return array if len(array) >= needed else np.append(array, np.zeros(needed, array.dtype))


@njit(cache=True, nogil=True)
def _character(data, i):
    """The code point that begins at byte ``i`` of valid UTF-8, and its number of bytes."""
    byte, six = np.uint32(data[i]), np.uint32(0x3F)
    if byte < 0x80:
        return byte, np.uintp(1)
    c = data[i + 1] & six
    if byte < 0xE0:
        return (byte & np.uint32(0x1F)) << 6 | c, np.uintp(2)
    c = c << 6 | (data[i + 2] & six)
    if byte < 0xF0:
        return (byte & np.uint32(0x0F)) << 12 | c, np.uintp(3)
    return (byte & np.uint32(0x07)) << 18 | c << 6 | (data[i + 3] & six), np.uintp(4)


@njit(cache=True, nogil=True)
def _hard(places, data, begins, ends, characters):
    """Which documents hold what NFC changes, before lower-casing and removal of marks, or after.

    ``places``: where characters beyond ASCII begin.
    """
    _, kind, _, combining, last, composed = characters
    out = np.zeros(len(begins), np.bool_)
    # The character before, where it ends, and the last one that combines with none before it.
    d, after, before, starter = 0, -1, np.uint32(0), np.uint32(0)
    for place in places:
        # Find the document; one that is known to be hard needs no further look.
        while d < len(begins) and ends[d] <= place:
            d += 1
        if d == len(begins):
            break
        if place < begins[d] or out[d]:
            continue
        if place != after:  # an ASCII character is before it, or nothing
            before = starter = np.uint32(data[place - 1] if place > begins[d] else 0)
        c, width = _character(data, np.uintp(place))
        after, mark = place + np.int64(width), combining[c] > 0
        if kind[c] & (_MARK | _HARD):
            # Hard itself, behind what may be removed, or behind a mark that belongs after it.
            out[d] = kind[c] & _HARD or kind[before] & 15 > DIGIT
            out[d] |= mark and last[before] > combining[c]
            # Composed with the starter, unless what is between keeps the two apart.
            if mark or before == starter:
                pair = np.int64(starter) << 21 | np.int64(c)
                k = np.searchsorted(composed, pair)
                out[d] |= k < len(composed) and composed[k] == pair
        before = c
        if not mark:
            starter = c
    return out


@njit(cache=True, nogil=True)
def _run(eights, i):
    """The ASCII letters and digits from byte ``i`` on, at most 8, and their number.

    They are in lower case, the first byte lowest.
    """
    # Eight bytes out of the two numbers that hold them.
    q, shift = i >> np.uintp(3), (i & np.uintp(7)) << np.uintp(3)
    x = eights[q] >> shift | (eights[q + np.uintp(1)] << np.uint64(1)) << (np.uint64(63) - shift)
    # Added to a byte below 128, a number carries into its highest bit what is not below a bound.
    high = np.uint64(0x8080808080808080)
    seven = x & ~high
    small = seven | np.uint64(0x2020202020202020)
    above, beyond = np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)
    letter = (small + above) & ~(small + beyond)
    above, beyond = np.uint64(0x5050505050505050), np.uint64(0x4646464646464646)
    digit = (seven + above) & ~(seven + beyond)
    none = (letter | digit) & ~x & high ^ high
    lower = x | (letter & high) >> np.uint64(2)
    if none == 0:
        return lower, np.uintp(8)
    # Cut before the first byte that is none: its bit, and from that the number of bytes before it.
    stop = (none & (~none + np.uint64(1))) >> np.uint64(7)
    width = np.uintp(stop * np.uint64(0x0001020304050607) >> np.uint64(56))
    return lower & (stop - np.uint64(1)), width


@njit(cache=True, nogil=True, forceinline=True)
def next_to(edge, between, kind):
    """Whether a word whose last character is of class ``edge`` goes on in one of class ``kind``.

    ``between`` is the class of what is between the two, 0 for nothing. For a character that joins,
    the answer is to look at the next one.
    """
    if between == OTHER:
        return ENDS if kind == OTHER else GOES_ON if kind <= DIGIT else LOOK_ON
    if kind == between and kind >= UNSEEN:  # these join in any number
        return LOOK_ON
    digits = edge == DIGIT and kind == DIGIT
    inside = OTHER < edge <= DIGIT and OTHER < kind <= DIGIT
    joins = digits if between == DECIMAL else inside and not (between == HYPHEN and digits)
    return GOES_ON if joins else ENDS


@njit(cache=True, nogil=True, forceinline=True)
def _goes_on(data, i, end, kind, edge):
    """Where, from byte ``i`` on, a word goes on that ends in class ``edge``; ``end`` if it ends."""
    between = OTHER
    while i < end:
        c, width = _character(data, i)
        now = np.int64(kind[c] & 15)
        answer = next_to(edge, between, now)
        if answer != LOOK_ON:
            return i if answer == GOES_ON else end
        between, i = now, i + width
    return end


@njit(cache=True, nogil=True)
def tokenise(text, position, characters, spelled, room, longest):
    """Spell the words of documents until ``room`` is used up.

    ``position`` is the document and the byte in it to begin at, and is set to where to go on.
    Returns how many words there are, ends of documents among them. Of a word of more than
    ``longest`` pieces, it keeps so many.
    """
    eights, begins, ends = text
    data = eights.view(np.uint8)
    pieces, stops, keys = spelled.pieces, spelled.stops, spelled.keys
    plain, kind, lower = characters.plain, characters.kind, characters.lower
    zero, one, eight, d = np.uint64(0), np.uintp(1), np.uintp(8), position[0]
    count, used = 0, 0  # words, and their pieces
    stops[0] = 0
    while d < len(begins) and count < room:
        i, end = np.uintp(begins[d] + position[1]), np.uintp(ends[d])
        while i < end:
            # Skip what begins no word.
            if not plain[data[i]]:
                if data[i] < 0x80:
                    i += one
                    continue
                c, width = _character(data, i)
                if not OTHER < kind[c] & 15 <= DIGIT:
                    i += width
                    continue
            if count == room or used >= room:
                break
            # Read one word: runs of letters and digits, and what joins them.
            piece, filled, first, inside = zero, np.uintp(0), used, i
            while True:
                # The next bytes: a run of ASCII; an underscore inside the word; a character.
                if plain[data[i]]:
                    some, size = _run(eights, i)
                    size = min(size, end - i)
                    some &= ~np.uint64(0) >> (eight - size << np.uintp(3))
                    i += size
                    c = np.uint32(data[i - one])
                elif i < inside:
                    some, size = np.uint64(data[i]), one
                    i += one
                else:
                    c, width = _character(data, i)
                    some, i = np.uint64(lower[c]), i + width
                    size = one + np.uintp(some > 0xFF) + np.uintp(some > 0xFFFF)
                    size += np.uintp(some > 0xFFFFFF)
                # Append them; a full piece is written down.
                piece |= some << (filled << np.uintp(3))
                if filled + size >= eight:
                    pieces[used] = piece
                    used += used - first < longest
                    # Shifted in two steps, since 64 bits at once would do nothing.
                    piece = some >> np.uint64(8) >> (np.uintp(7) - filled << np.uintp(3))
                    filled -= eight
                filled += size
                # Go on behind what joins: underscores stay in the word, all else is removed.
                if i == end or data[i] == 32:  # most words end at a space
                    break
                if not plain[data[i]] and i >= inside:
                    j = _goes_on(data, i, end, kind, np.int64(kind[c] & 15))
                    if j == end:
                        break
                    if data[i] == 95:
                        inside = j
                    else:
                        i = j
            # Write down the last piece, and the word.
            if filled > 0:
                pieces[used] = piece
                used += used - first < longest
            keys[count] = _key(pieces, first, used)
            count += 1
            stops[count] = used
        if i < end or count == room:  # there is no more room
            position[1] = np.int64(i) - begins[d]
            break
        # The end of the document is a word of no piece.
        keys[count] = zero
        count += 1
        stops[count] = used
        d += 1
        position[1] = 0
    position[0] = d
    return count


@njit(cache=True, nogil=True)
def _key(pieces, begin, end):
    """The key of the word ``pieces[begin:end]``: its one piece, or from ``_LONG`` on a hash.

    No piece reaches ``_LONG``, since no byte of UTF-8 is 255. The end of a document has the key 0.
    """
    if end - begin == 1:
        return pieces[begin]
    h = np.uint64(0)
    for k in range(begin, end):
        h = (h ^ pieces[k]) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    return h | _LONG


@njit(cache=True, nogil=True, forceinline=True)
def _slot(pieces, begin, end, key, pool, starts, slots):
    """The slot of the word ``pieces[begin:end]`` with that key, or the free one for it."""
    j, size = np.uint64(hashed(key, len(slots))), end - begin
    while True:
        number = np.int64(slots[j, 1])
        if number == 0:
            break
        if slots[j, 0] == key:
            # Words of several pieces may share a hash: compare them piece by piece.
            same = size == 1 or starts[number] - starts[number - 1] == size
            for k in range(size if same and size > 1 else 0):
                same &= pool[starts[number - 1] + k] == pieces[begin + k]
            if same:
                break
        j = (j + np.uint64(1)) % np.uint64(len(slots))
    return j


@njit(cache=True, nogil=True)
def look_up(spelled, count, table, ids):
    """Write the numbers of ``count`` words; ``UNKNOWN`` and ``END`` are numbers, too."""
    pieces, stops, keys, entries = spelled
    pool, starts, slots = table
    # Fetch the first slots of all words, so that waits for memory overlap.
    for w in range(count):
        j = hashed(keys[w], len(slots))
        entries[w, 0], entries[w, 1] = slots[j, 0], slots[j, 1]
    # Most words are there, or nowhere; the long and the displaced are looked for.
    for w in range(count):
        key, number = keys[w], np.int64(entries[w, 1])
        ids[w] = END if key == 0 else number - 1
        if key != 0 and number != 0 and (entries[w, 0] != key or key >= _LONG):
            j = _slot(pieces, stops[w], stops[w + 1], key, pool, starts, slots)
            ids[w] = np.int64(slots[j, 1]) - 1


@njit(cache=True, nogil=True)
def _add(spelled, count, table, size, ids):
    """Write the numbers of ``count`` words, new words among them; returns how many words there are.

    The pool and the starts have room for the new words; returns the slots, which may have grown.
    """
    pieces, stops, keys, _ = spelled
    pool, starts, slots = table
    for w in range(count):
        if keys[w] == 0:
            ids[w] = END
            continue
        j = _slot(pieces, stops[w], stops[w + 1], keys[w], pool, starts, slots)
        ids[w] = np.int64(slots[j, 1]) - 1
        if slots[j, 1] == 0:
            # A new word: fill the slot, and copy its pieces to the pool.
            ids[w], size = size, size + 1
            slots[j, 0], slots[j, 1] = keys[w], size
            starts[size] = starts[size - 1] + stops[w + 1] - stops[w]
            for k in range(stops[w + 1] - stops[w]):
                pool[starts[size - 1] + k] = pieces[stops[w] + k]
            # Twice as many slots, once half of them are taken.
            if 2 * size > len(slots):
                slots = np.zeros((2 * len(slots), 2), np.uint64)
                for word in range(size):
                    key = _key(pool, starts[word], starts[word + 1])
                    j = _slot(pool, starts[word], starts[word + 1], key, pool, starts, slots)
                    slots[j, 0], slots[j, 1] = key, word + 1
    return size, slots
