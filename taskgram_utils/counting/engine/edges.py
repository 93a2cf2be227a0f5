"""Whether pieces of words are whole words where they stand: what the tokens beside them end and begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.tokens import characters

# The classes of characters in the word rule, as :func:`characters` numbers them; 0 is in no word and joins none.
_DIGIT, _HYPHEN, _DECIMAL = 2, 4, 5  # 1: another character of a word, 3: an apostrophe
_UNSEEN, _UNDERSCORE = 6, 7  # what joins in any number; here the underscore has a class of its own
_ENDS, _GOES_ON, _LOOK_ON = range(3)
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
def _next_to(edge, beside, now):
    """Whether a word that ends with a character of class ``edge`` goes on in one of class ``now``, with one of class
    ``beside`` between the two (0: nothing); of what joins, the character behind it says."""
    if beside == 0:
        return _ENDS if now == 0 else _GOES_ON if now <= _DIGIT else _LOOK_ON
    if now == beside and now >= _UNSEEN:
        return _LOOK_ON
    digits = edge == _DIGIT and now == _DIGIT
    inside = 0 < edge <= _DIGIT and 0 < now <= _DIGIT
    joins = digits if beside == _DECIMAL else inside and not (beside == _HYPHEN and digits)
    return _GOES_ON if joins else _ENDS


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
                    next_to = _next_to(left, beside, now)
                    if next_to == _GOES_ON:
                        return False
                    beside, more = now, next_to == _LOOK_ON
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
                    next_to = _next_to(right, beside, now)
                    if next_to == _GOES_ON:
                        return False
                    beside, more = now, next_to == _LOOK_ON
            k += 1
        place += 1
    return True
