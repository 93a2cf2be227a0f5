"""What a word is, and the n-grams of a text: one rule for the corpus and for the tasks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from taskgram_utils.errors import require

EVERY_CHARACTER = "".join(map(chr, range(0x110000)))
# \w is a letter, number or underscore; marks are added below (L, M, N are word characters, and "_" inside a word).
_MARK = "".join(
    c
    for c, kind in zip(EVERY_CHARACTER, map(unicodedata.category, EVERY_CHARACTER), strict=True)
    if kind[0] == "M" and not re.match(r"\w", c)
)


def _ranges(characters: str) -> str:
    points, out, start = sorted(map(ord, characters)), [], None
    for i, p in enumerate(points):
        start = p if start is None else start
        if i + 1 == len(points) or points[i + 1] != p + 1:
            out.append(f"\\U{start:08x}-\\U{p:08x}")
            start = None
    return "".join(out)


WORD_CHARACTER = rf"[\w{_ranges(_MARK)}]"
"""A regular expression for the characters that words are made of."""
UNSPACED = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u302d\u3031-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001aff0-\U0001b16f"
    "\U00020000-\U0003ffff]"
)
"""Chinese, Japanese, Thai, Lao, Khmer and Burmese: scripts in which no space parts one word from the next."""
_UNSPACED = re.compile(UNSPACED)
_LETTER = re.compile(rf"(?![\d_]){WORD_CHARACTER}")
UNSEEN = "[\u00ad\u200c\u200d\u2060\ufeff]"
"""Soft hyphen, zero-width non-joiner and joiner, word joiner and byte order mark: they part no word."""
_INNER = rf"(?!_){WORD_CHARACTER}"
_BETWEEN = rf"(?<={_INNER}.)(?={_INNER})"
# Led by the characters themselves, so that the search skips to them.
_GLUE = re.compile(rf"['’.,‐‑-](?:(?<=['’]){_BETWEEN}|(?<=[‐‑-]){_BETWEEN}(?!(?<=\d.)\d)|(?<=[.,])(?<=\d.)(?=\d))")
_WORD = re.compile(f"{WORD_CHARACTER}+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_FIRST = re.compile(r"(?<!\S)\S")
_UNSEEN, _UNSEEN_IN_WORD = re.compile(UNSEEN), re.compile(f"(?<={_INNER}){UNSEEN}+(?={_INNER})")
_WORD_IN_TEXT = re.compile(f"(?:{_INNER})+(?:(?:_+|{UNSEEN}+|{_GLUE.pattern})(?:{_INNER})+)*")


class Word(NamedTuple):
    """A word as it is counted, and where it stands in the text it came from (characters, end exclusive)."""

    text: str
    start: int
    end: int


def words(text: str) -> list[str]:
    """The words of ``text``: NFC, inner apostrophes, hyphens and decimal marks removed, lower-cased.

    Words are made of letters, marks and numbers. Between two of these are removed: an apostrophe; a hyphen, unless both
    are digits; a ``.`` or ``,`` if both are; and what is not seen (soft hyphen, zero-width non-joiner and joiner, word
    joiner, byte order mark). Underscores between two stay. Every other character separates words.

    >>> words("Don't co-op: 1,000 is 48/2=24, or 48-24. _So_ snake_case")
    ['dont', 'coop', '1000', 'is', '48', '2', '24', 'or', '48', '24', 'so', 'snake_case']
    """
    if text.isascii():
        return _bare(_ASCII_WORD.findall(_GLUE.sub("", text).lower()), text)
    # Lower-cased word by word: whether a capital sigma is a final one must not depend on the word after a colon or dot.
    # Composed once more: lower-casing (H with a line below) and removal bring together what has a form of its own.
    text = unicodedata.normalize("NFC", text)
    if _UNSEEN.search(text):
        text = _UNSEEN_IN_WORD.sub("", text)
    found = _bare(_WORD.findall(_GLUE.sub("", text)), text)
    return [unicodedata.normalize("NFC", word.lower()) for word in found]


def _bare(found: list[str], text: str) -> list[str]:
    """The words found in ``text`` without the underscores at their edges."""
    return found if "_" not in text else [bare for word in found if (bare := word.strip("_"))]


def normalize(text: str) -> str:
    """The words of ``text`` joined by single spaces: the form in which n-grams are written in every table."""
    return " ".join(words(text))


def word_spans(text: str) -> list[Word]:
    """The words of ``text`` with their places in ``text`` itself, also where normalisation changes its length.

    >>> word_spans("It's 1,000!")
    [Word(text='its', start=0, end=4), Word(text='1000', start=5, end=10)]
    """
    if unicodedata.is_normalized("NFC", text):
        place, nfc = None, text
    else:
        place, nfc = _nfc_places(text)
    spans = [match.span() for match in _WORD_IN_TEXT.finditer(nfc)]
    if place is not None:
        spans = [(place[start], place[end]) for start, end in spans]
    return [Word(word, *span) for word, span in zip(words(text), spans, strict=True)]


def _nfc_places(text: str) -> tuple[list[int], str]:
    """Where each character of NFC(text) begins in ``text``, one entry more for the end."""
    places, composed, start = [], [], 0
    for i in range(1, len(text) + 1):
        # A segment may be cut before a starter that composes with nothing before it.
        if i < len(text) and unicodedata.combining(text[i]):
            continue
        piece = unicodedata.normalize("NFC", text[start:i])
        if i < len(text) and len(unicodedata.normalize("NFC", text[start : i + 1])) <= len(piece):
            continue
        places += [start] * len(piece)
        composed.append(piece)
        start = i
    return [*places, len(text)], "".join(composed)


def unspaced(text: str) -> bool:
    """Whether more than half of the letters of ``text`` are of scripts that put no space between words.

    There a run of text is one word, so an n-gram is found only where it stands alone: its count is too low.

    >>> unspaced("東京 Tokyo"), unspaced("東京タワー at 5")
    (False, True)
    """
    letters = "" if text.isascii() else "".join(_LETTER.findall(text))
    return 2 * len(_UNSPACED.findall(letters)) > len(letters)


def ngrams(tokens: list[str], n: int) -> list[str]:
    """All n-grams of a list of words, in order, repeats included; empty where there are fewer than ``n`` words.

    >>> ngrams(["a", "b", "c"], 2)
    ['a b', 'b c']
    """
    require(n >= 1, f"n-grams need n >= 1, got n = {n}")
    return [" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def written(ngram: str, surfaces: Iterable[str] = ()) -> list[str]:
    """The forms in which text may write an n-gram: as it is given and as its ``surfaces`` are, and each of these in
    small letters, with a capital first letter, with every word so, and in capitals; apostrophes straight and curly.

    >>> written("ada lovarn")
    ['ada lovarn', 'Ada lovarn', 'Ada Lovarn', 'ADA LOVARN']
    """
    forms: dict[str, None] = {}
    for text in (ngram, *surfaces):
        if not text.replace(" ", "").isalnum() and (spans := word_spans(text)):
            text = text[spans[0].start : spans[-1].end]  # what stands around its words is no part of it
        small = text.lower()
        first, every = small[:1].upper() + small[1:], _FIRST.sub(lambda m: m[0].upper(), small)
        for form in (text, small, first, every, small.upper()):
            if form.lower() == small:  # not so where a letter in capitals is two
                forms.update(dict.fromkeys((form, form.replace("'", "’"), form.replace("’", "'"))))
    return list(forms)


def size(ngram: str) -> int:
    """Number of words of an n-gram as typed."""
    return len(words(ngram))


ENGLISH_STOPWORDS = frozenset(
    """a about above after again against all am an and any are arent as at be because been before being below between
    both but by cant cannot could couldnt did didnt do does doesnt doing dont down during each few for from further had
    hadnt has hasnt have havent having he hed hell hes her here heres hers herself him himself his how hows i id ill im
    ive if in into is isnt it its itself lets me more most mustnt my myself no nor not of off on once only or other
    ought our ours ourselves out over own same shant she shed shes should shouldnt so some such than that thats the
    their theirs them themselves then there theres these they theyd theyll theyre theyve this those through to too under
    until up very was wasnt we wed well were weve werent what whats when whens where wheres which while who whos whom
    why whys with wont would wouldnt you youd youll youre youve your yours yourself yourselves""".split()
)
