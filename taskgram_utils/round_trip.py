"""Whether a tokenizer gives back the text that it reads: else its tokens are of another text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

TRIALS = [f"{lead}Two  spaces\n\nor   three: déjà cafe\u0301 2026, 12.5; 你好 \n" for lead in ("", "\n", " ", "  ")]


def lost(tokenizer, unknown: str | None = None, fold: Callable[[str], str] = str) -> str:
    """What ``tokenizer`` (of the tokenizers library) makes of the trial text that it does not give back; "": none.

    A space before a text is the tokenizer's own affair, and accents may be composed. The token
    ``unknown`` stands for any characters but spaces; ``fold``: what is not told apart, such as case.
    """
    for text in TRIALS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        back = tokenizer.decode(ids, skip_special_tokens=False)
        one, other = fold(text), fold(back)
        if not (_same(one, other, unknown) or _same(_composed(one), _composed(other), unknown)):
            return f"{text!r} comes back as {back!r}"
    return ""


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _same(text: str, back: str, unknown: str | None) -> bool:
    parts = re.split(f"(?:{re.escape(unknown)})+", back) if unknown else [back]
    whole = re.compile(" ?" + "[^ ]+".join(map(re.escape, parts)))
    return bool(whole.fullmatch(text) or whole.fullmatch(f" {text}"))
