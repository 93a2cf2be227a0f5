"""Whether pieces of words are whole words in their text: what the tokens beside them end with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.tokens import GOES_ON, LOOK_ON, characters, next_to


class Edges(NamedTuple):
    """The bytes of all tokens: those of token t are ``pool[starts[t]:starts[t + 1]]``."""

    pool: np.ndarray
    starts: np.ndarray
    kind: np.ndarray  # the class of each code point in the word rule

    @classmethod
    def of(cls, tokens: Sequence[bytes]) -> Edges:
        """The edges of tokens given as their bytes."""
        starts = np.cumsum([0, *map(len, tokens)])
        return cls(np.frombuffer(b"".join(tokens), np.uint8), starts, characters().kind & 15)

    @classmethod
    def none(cls) -> Edges:
        """Of tokens that are whole words, whose edges nothing asks for."""
        return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.uint8))


@njit(cache=True, nogil=True)
def _goes_on(tokens, place, step, edge, pool, starts, kinds):
    """Whether a word goes on at token ``place``, read forwards (``step`` 1) or backwards (-1)."""
    known, between = len(starts) - 1, 0
    code, rest, shift = np.int64(0), 0, 0  # a character, its bytes to come, and its bits so far
    while 0 <= place < len(tokens) and tokens[place] < known:  # a separator ends the text
        begin, end = starts[tokens[place]], starts[tokens[place] + 1]
        for k in range(end - begin):
            byte = np.int64(pool[begin + k if step > 0 else end - 1 - k])
            # Add a byte of UTF-8 to the character; read the next one unless it is complete.
            if step > 0:
                if byte >= 0xC0:
                    rest = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
                    code = byte & (0x3F >> rest)
                    continue
                code, rest = (code << 6 | byte & 0x3F, rest - 1) if byte >= 0x80 else (byte, 0)
                if rest > 0:
                    continue
            elif 0x80 <= byte < 0xC0:
                code, shift = code | (byte & 0x3F) << shift, shift + 6
                continue
            else:
                code = (byte & (0x3F >> shift // 6)) << shift | code if byte >= 0xC0 else byte
            # Ask the complete character.
            kind = np.int64(kinds[min(code, len(kinds) - 1)])
            answer = next_to(edge, between, kind)
            if answer != LOOK_ON:
                return answer == GOES_ON
            between, code, shift = kind, np.int64(0), 0
        place += step
    return False


@njit(cache=True, nogil=True)
def alone(tokens, begin, end, left, right, edges):
    """Whether tokens ``begin`` to ``end`` (exclusive) are whole words in their text.

    Their text begins with a character of class ``left`` (0: with a space) and ends with ``right``.
    """
    pool, starts, kinds = edges.pool, edges.starts, edges.kind
    if left > 0 and _goes_on(tokens, begin - 1, -1, left, pool, starts, kinds):
        return False
    return not _goes_on(tokens, end, 1, right, pool, starts, kinds)
