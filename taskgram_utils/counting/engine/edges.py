"""Whether pieces of words are whole words in their text: what the tokens beside them end with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from taskgram_utils.compiled import njit
from taskgram_utils.counting.engine.tokens import GOES_ON, LOOK_ON, next_to


class Edges(NamedTuple):
    """What forms of n-grams begin and end with, and what the tokens beside them are.

    The bytes of token t are ``pool[starts[t]:starts[t + 1]]``. Forms of whole words have no edges.
    """

    left: np.ndarray = np.zeros(0, np.uint8)  # class of each form's first character; 0: a space
    right: np.ndarray = np.zeros(0, np.uint8)  # class of its last character
    pool: np.ndarray = np.zeros(0, np.uint8)
    starts: np.ndarray = np.zeros(1, np.int64)
    kind: np.ndarray = np.zeros(0, np.uint8)  # the class of each code point in the word rule


@njit(cache=True, nogil=True)
def _goes_on(tokens, place, step, edge, edges):
    """Whether a word goes on at token ``place``, read forwards (``step`` 1) or backwards (-1)."""
    _, _, pool, starts, kinds = edges
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
def whole_words(tokens, begin, end, edges, form):
    """Whether a form at tokens ``begin`` to ``end`` (exclusive) is whole words in their text."""
    left, right = edges.left, edges.right
    if len(left) == 0:
        return True
    if left[form] > 0 and _goes_on(tokens, begin - 1, -1, left[form], edges):
        return False
    return not _goes_on(tokens, end, 1, right[form], edges)
