"""Whether pieces of words are whole words where they stand: what the tokens beside them end and begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.tokens import characters

# The classes of characters in the word rule, as :func:`characters` numbers them; 0 is in no word and joins none.
_DIGIT, _HYPHEN, _DECIMAL = 2, 4, 5  # 1: another character of a word, 3: an apostrophe
_UNSEEN, _UNDERSCORE = 6, 7  # what joins in any number; here the underscore has a class of its own
_CLASS = 15


class Edges(NamedTuple):
    """The bytes of all tokens one after the other, where each one's begin and end, and the class of each code point."""

    pool: np.ndarray
    starts: np.ndarray
    kind: np.ndarray

    @classmethod
    def of(cls, tokens: Sequence[bytes]) -> Edges:
        starts = np.concatenate([[0], np.cumsum([len(token) for token in tokens])]).astype(np.int64)
        kind = characters()[1] & _CLASS
        kind[ord("_")] = _UNDERSCORE
        return cls(np.frombuffer(b"".join(tokens), np.uint8), starts, kind)

    @classmethod
    def none(cls) -> Edges:
        """Where tokens are whole words, there is nothing to look at."""
        return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.uint8))


def kind_of(character: str) -> int:
    """The class of a character in the word rule."""
    return int(characters()[1][ord(character)] & _CLASS)


@njit(cache=True, nogil=True)
def alone(tokens, begin, end, left, right, pool, starts, kind):
    """Whether no word goes on before the tokens ``begin`` to ``end`` (exclusive), whose text begins with a character of
    class ``left``, nor behind them, where it ends with ``right``. What is no token ends the text."""
    known = len(starts) - 1
    if left > 0:
        beside, code, shift, place, more = 0, 0, 0, begin - 1, True
        while more and place >= 0 and tokens[place] < known:
            k = starts[tokens[place] + 1] - 1
            while more and k >= starts[tokens[place]]:
                b = np.int64(pool[k])
                if 0x80 <= b < 0xC0:
                    code |= (b & 0x3F) << shift
                    shift += 6
                else:
                    if b >= 0xC0:
                        b = (b & (0x3F >> (shift // 6))) << shift | code
                    now = np.int64(kind[min(b, len(kind) - 1)])
                    code, shift = 0, 0
                    if beside == 0:
                        if now == 0:
                            more = False
                        elif now <= _DIGIT:
                            return False
                        beside = now
                    elif now < _UNSEEN or now != beside:
                        if _joins(now, beside, left):
                            return False
                        more = False
                k -= 1
            place -= 1
    beside, code, rest, place, more = 0, 0, 0, end, True
    while more and place < len(tokens) and tokens[place] < known:
        k = starts[tokens[place]]
        while more and k < starts[tokens[place] + 1]:
            b = np.int64(pool[k])
            if b >= 0xC0:
                rest = 1 if b < 0xE0 else 2 if b < 0xF0 else 3
                code = b & (0x3F >> rest)
            else:
                if b >= 0x80:
                    code = code << 6 | b & 0x3F
                    rest -= 1
                else:
                    code, rest = b, 0
                if rest <= 0:
                    now = np.int64(kind[min(code, len(kind) - 1)])
                    if beside == 0:
                        if now == 0:
                            more = False
                        elif now <= _DIGIT:
                            return False
                        beside = now
                    elif now < _UNSEEN or now != beside:
                        if _joins(right, beside, now):
                            return False
                        more = False
            k += 1
        place += 1
    return True


@njit(cache=True, nogil=True)
def _joins(before, between, after):
    """Whether an apostrophe, a hyphen, a decimal mark, an underscore or what is not seen is inside a word, between
    characters of two classes."""
    digits = before == _DIGIT and after == _DIGIT
    if between == _DECIMAL:
        return digits
    inside = 0 < before <= _DIGIT and 0 < after <= _DIGIT
    return inside and not (between == _HYPHEN and digits)
