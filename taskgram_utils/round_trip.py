"""Checks that a tokenizer gives back the text it reads; if not, its tokens are of another text."""

import re
import unicodedata
from collections.abc import Callable

TRIALS = [f"{start}Two  spaces\n\nor   three: déjà cafe\u0301 2026, 12.5; 你好 \n"
          for start in ("", "\n", " ", "  ")]


def lost(tokenizer, unknown: str | None = None, fold: Callable[[str], str] = str) -> str:
    """What ``tokenizer`` (of the tokenizers library) does not give back of a trial text, or "".

    It may add a space before a text, and compose accents. The token ``unknown`` is good for any
    characters but spaces; ``fold`` takes away what need not come back, such as case.
    """
    for text in TRIALS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        back = tokenizer.decode(ids, skip_special_tokens=False)
        one, other = fold(text), fold(back)
        composed = (unicodedata.normalize("NFC", t) for t in (one, other))
        if not (_same(one, other, unknown) or _same(*composed, unknown)):
            return f"{text!r} comes back as {back!r}"
    return ""


def _same(text: str, back: str, unknown: str | None) -> bool:
    parts = re.split(f"(?:{re.escape(unknown)})+", back) if unknown else [back]
    whole = re.compile(" ?" + "[^ ]+".join(map(re.escape, parts)))
    return any(whole.fullmatch(start + text) for start in ("", " "))
