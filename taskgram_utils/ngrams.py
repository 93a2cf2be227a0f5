"""What a word is, and the n-grams of a text: one rule for the corpus and for the tasks."""

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from taskgram_utils.errors import require

EVERY_CHARACTER = "".join(map(chr, range(0x110000)))
# Words are made of letters, marks and numbers (Unicode's categories L, M, N), and of "_" between
# two of these. \w is all of them but the marks.
_KINDS = "".join(unicodedata.category(c)[0] for c in EVERY_CHARACTER)
_MARKS = "".join(f"\\U{m.start():08x}-\\U{m.end() - 1:08x}" for m in re.finditer("M+", _KINDS))
WORD_CHARACTER = rf"[\w{_MARKS}]"
# Chinese, Japanese, Thai, Lao, Khmer and Burmese: scripts that put no space between words.
UNSPACED = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u302d\u3031-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff]")
_UNSPACED = re.compile(UNSPACED)
_LETTER = re.compile(rf"(?![\d_]){WORD_CHARACTER}")
# Soft hyphen, zero-width non-joiner and joiner, word joiner, byte order mark: no word ends there.
UNSEEN = "[\u00ad\u200c\u200d\u2060\ufeff]"
_INNER = rf"(?!_){WORD_CHARACTER}"
_BETWEEN = rf"(?<={_INNER}.)(?={_INNER})"
# What is removed between two word characters: apostrophes, hyphens (unless between digits), and "."
# or "," between digits. It begins with these characters, so that the search skips to them.
_GLUE = re.compile(
    rf"['’.,‐‑-](?:(?<=['’]){_BETWEEN}|(?<=[‐‑-]){_BETWEEN}(?!(?<=\d.)\d)"
    r"|(?<=[.,])(?<=\d.)(?=\d))")
_WORD = re.compile(f"{WORD_CHARACTER}+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_UNSEEN, _UNSEEN_IN_WORD = re.compile(UNSEEN), re.compile(f"(?<={_INNER}){UNSEEN}+(?={_INNER})")
_WORD_IN_TEXT = re.compile(f"(?:{_INNER})+(?:(?:_+|{UNSEEN}+|{_GLUE.pattern})(?:{_INNER})+)*")
# Where a text may be cut so that NFC of the pieces is NFC of the text: before every character but
# marks and the vowels and finals of Hangul, which may join the one before.
_JOINS = rf"[{_MARKS}\u1160-\u11ff]"
_PIECE = re.compile(rf"[\x00-\x7f]+(?!{_JOINS})|(?s:.){_JOINS}*")


class Word(NamedTuple):
    """A word as it is counted, and the characters of its text that it takes (end exclusive)."""

    text: str
    start: int
    end: int


def words(text: str) -> list[str]:
    """The words of ``text``, lower-cased, NFC, without inner apostrophes, hyphens, decimal marks.

    Words are made of letters, marks and numbers. Between two of these are removed: an apostrophe; a
    hyphen, unless both are digits; a ``.`` or ``,`` if both are; and what is not seen (soft hyphen,
    zero-width non-joiner and joiner, word joiner, byte order mark). Underscores between two stay.
    Every other character separates words.

    >>> words("Don't co-op: 1,000 is 48/2=24, or 48-24. _So_ snake_case")
    ['dont', 'coop', '1000', 'is', '48', '2', '24', 'or', '48', '24', 'so', 'snake_case']
    """
    if text.isascii():
        found = _ASCII_WORD.findall(_GLUE.sub("", text).lower())
    else:
        text = unicodedata.normalize("NFC", text)
        if _UNSEEN.search(text):
            text = _UNSEEN_IN_WORD.sub("", text)
        # In small letters word by word: whether a capital sigma is final must not depend on what
        # follows the word. NFC once more: both steps bring together what has a composed form.
        found = _WORD.findall(_GLUE.sub("", text))
        found = [unicodedata.normalize("NFC", word.lower()) for word in found]
    return found if "_" not in text else [bare for word in found if (bare := word.strip("_"))]


def normalize(text: str) -> str:
    """The words of ``text`` joined by single spaces, as mining writes n-grams. Counters read
    n-grams in any form, and their tables keep the form that was given."""
    return " ".join(words(text))


def word_spans(text: str) -> list[Word]:
    """The words of ``text`` with their places in ``text`` itself (also if NFC changes its length).

    >>> word_spans("It's 1,000!")
    [Word(text='its', start=0, end=4), Word(text='1000', start=5, end=10)]
    """
    places, nfc = None, text
    if not unicodedata.is_normalized("NFC", text):
        places, nfc = _nfc_places(text)
    spans = [match.span() for match in _WORD_IN_TEXT.finditer(nfc)]
    if places:
        spans = [(places[start], places[end]) for start, end in spans]
    return [Word(word, *span) for word, span in zip(words(text), spans, strict=True)]


def _nfc_places(text: str) -> tuple[list[int], str]:
    """Where in ``text`` each character of NFC(text) begins, and where the last ends; NFC(text)."""
    places, composed = [], []
    for match in _PIECE.finditer(text):
        piece = unicodedata.normalize("NFC", match[0])
        same = piece == match[0]
        places += range(*match.span()) if same else [match.start()] * len(piece)
        composed.append(piece)
    return [*places, len(text)], "".join(composed)


def unspaced(text: str) -> bool:
    """Whether most letters of ``text`` are of scripts that put no space between words.

    There a run of text is one word, so that an n-gram is found only where it stands alone: its
    count is too low.

    >>> unspaced("東京 Tokyo"), unspaced("東京タワー at 5")
    (False, True)
    """
    letters = "" if text.isascii() else "".join(_LETTER.findall(text))
    return 2 * len(_UNSPACED.findall(letters)) > len(letters)


def ngrams(tokens: list[str], n: int) -> list[str]:
    """All n-grams of a list of words, in order, with repeats; none if there are fewer words than n.

    Raises InputError for n below 1.

    >>> ngrams(["a", "b", "c"], 2)
    ['a b', 'b c']
    """
    require(n >= 1, f"n-grams need n >= 1, got n = {n}")
    return [" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def written(ngram: str, surfaces: Iterable[str] = ()) -> list[str]:
    """The forms in which text may write an n-gram: as it is given and as its ``surfaces`` are.

    Each also in small letters, with a capital first letter, with every word so, and in capitals,
    with straight and with curly apostrophes.

    >>> written("ada lovarn")
    ['ada lovarn', 'Ada lovarn', 'Ada Lovarn', 'ADA LOVARN']
    """
    forms: dict[str, None] = {}
    for text in (ngram, *surfaces):
        if not text.replace(" ", "").isalnum() and (spans := word_spans(text)):
            text = text[spans[0].start : spans[-1].end]  # without what is around its words
        small = text.lower()
        first = small[:1].upper() + small[1:]
        every = re.sub(r"(?<!\S)\S", lambda m: m[0].upper(), small)
        for form in (text, small, first, every, small.upper()):
            if form.lower() == small:  # not so where a letter is two in capitals
                curly, straight = form.replace("'", "’"), form.replace("’", "'")
                forms.update(dict.fromkeys((form, curly, straight)))
    return list(forms)


def size(ngram: str) -> int:
    """Number of words of an n-gram as typed."""
    return len(words(ngram))


ENGLISH_STOPWORDS = frozenset(
    """a about above after again against all am an and any are arent as at be because been before
    being below between both but by cant cannot could couldnt did didnt do does doesnt doing dont
    down during each few for from further had hadnt has hasnt have havent having he hed hell hes
    her here heres hers herself him himself his how hows i id ill im ive if in into is isnt it
    its itself lets me more most mustnt my myself no nor not of off on once only or other ought
    our ours ourselves out over own same shant she shed shes should shouldnt so some such than
    that thats the their theirs them themselves then there theres these they theyd theyll theyre
    theyve this those through to too under until up very was wasnt we wed well were weve werent
    what whats when whens where wheres which while who whos whom why whys with wont would wouldnt
    you youd youll youre youve your yours yourself yourselves""".split())
