"""The word rule: the examples of the method, a second implementation character by character, and places in the text."""

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskgram_utils.counting.engine import Vocabulary
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import (
    ENGLISH_STOPWORDS,
    UNSPACED,
    Word,
    ngrams,
    normalize,
    size,
    unspaced,
    word_spans,
    words,
    written,
)

# Few characters, so that what the rule is about meets often: marks, joiners, digits of three scripts, sigmas.
TIGHT = st.text(st.sampled_from("aBß0٣९'’-‐‑.,:·__ \n\u0301\u0327ÉİΣσΑहिीन्\u200d\xad\u2060\u200b＝"), max_size=14)
TEXTS = st.one_of(TIGHT, st.text(max_size=30))

RULE = [
    ("co-op", ["coop"]),
    ("don't don’t", ["dont", "dont"]),
    ("1,000", ["1000"]),
    ("3.14 and 1.000,5", ["314", "and", "10005"]),
    ("48/2=24", ["48", "2", "24"]),
    ("48-24", ["48", "24"]),
    ("48‐24 48‑24", ["48", "24", "48", "24"]),
    ("हिन्दी", ["हिन्दी"]),
    ("state-of-the-art", ["stateoftheart"]),
    ("co‐op co‑op", ["coop", "coop"]),
    ("pre-1914 A-1 1-A", ["pre1914", "a1", "1a"]),
    ("'tis the dogs' day-", ["tis", "the", "dogs", "day"]),
    ("a--b a'-b", ["a", "b", "a", "b"]),
    ("end.Start a,b 1.a", ["end", "start", "a", "b", "1", "a"]),
    ("snake_case __init__ _ ___ _a_b__c_", ["snake_case", "init", "a_b__c"]),
    ("_word_ *_word_*, _don't_ _a_-_b_ a_'b 1_2 _1,000_", ["word", "word", "dont", "a", "b", "a", "b", "1_2", "1000"]),
    ("co\xadop\xad \ufeffcoöp wo\u2060r\u200b\u2060d", ["coop", "coöp", "wor", "d"]),
    ("می\u200cخواهم क्\u200dष क्ष", ["میخواهم", "क्ष", "क्ष"]),
    ("a\xad\u200db a\xad-b 1\u2060,0 1\xad2 a_\xadb", ["ab", "a", "b", "1", "0", "12", "a", "b"]),
    ("e\u200d\u0301", ["é"]),
    ("x² ½ Ⅷ ٣٫٥ ٣.٥", ["x²", "½", "ⅷ", "٣", "٥", "٣٥"]),
    ("$5.00 50% C++", ["500", "50", "c"]),
    ("naïve Straße", ["naïve", "straße"]),
    ("rock’n’roll 1,2,3", ["rocknroll", "123"]),
    ("«Ça va?» — oui…", ["ça", "va", "oui"]),
    ("東京タワー", ["東京タワー"]),
    ("", []),
    (" \t\n.,-'", []),
]


@pytest.mark.parametrize(("text", "expected"), RULE)
def test_the_word_rule(text, expected):
    assert words(text) == expected
    assert normalize(text) == " ".join(expected)
    assert size(text) == len(expected)


def by_hand(text: str) -> list[str]:
    """The rule of the method, read off sentence by sentence with nothing but character categories."""
    text = unicodedata.normalize("NFC", text)

    def is_word(i: int) -> bool:
        return 0 <= i < len(text) and unicodedata.category(text[i])[0] in "LMN"

    def run_is_inner(i: int, of: str) -> bool:
        first, last = i, i
        while first > 0 and text[first - 1] in of:
            first -= 1
        while last + 1 < len(text) and text[last + 1] in of:
            last += 1
        return is_word(first - 1) and is_word(last + 1)

    def is_digit(i: int) -> bool:
        return 0 <= i < len(text) and unicodedata.category(text[i]) == "Nd"

    out = ""
    for i, c in enumerate(text):
        both, digits = is_word(i - 1) and is_word(i + 1), is_digit(i - 1) and is_digit(i + 1)
        if (c in "'’" and both) or (c in "-‐‑" and both and not digits) or (c in ".," and digits):
            continue
        unseen = "\xad\u200c\u200d\u2060\ufeff"
        if c in unseen and run_is_inner(i, unseen):
            continue
        out += c if is_word(i) or (c == "_" and run_is_inner(i, "_")) else " "
    return [unicodedata.normalize("NFC", word) for piece in out.split() for word in piece.lower().split()]


@given(TEXTS)
@example("ΛΟΓΟΣ:ΑΒ ΑΣ.Β Α·Σ")
@example("ΑΣ'Β")
@example("e\u0301co-o\u0308p 1.\u0301")
@example("a\xad\u200d\xadb _a__b_ a_'b a\xad_b 1\xad,\xad2 \u1100\xad\u1161 Α\xadΣ\xadΒ")
def test_words_are_those_of_the_rule_read_off_by_hand(text):
    assert words(text) == by_hand(text)


@given(TEXTS)
@example("H\u0331 a'\u0308 J\u030c 1.\u0301")
def test_words_are_read_again_as_themselves(text):
    assert words(normalize(text)) == words(text)


@given(TEXTS)
@example("ΛΟΓΟΣ:ΑΒ")
@example("H\u0331 a'\u0308 J\u030c 1.\u0301 e\u0323\u0301 \u00c9\u0327 \u1ec7\u0316")
@example("abcdefgh_ abcdefg_ abcdefgh________ abcdefg_________ü_ a_ ________a éééé____ a\xad\u0301")
@example(f"a{'_' * 99} {'_' * 99}b {'x' * 64}{'_' * 17}é{'_' * 15}y{'_' * 8}\xad")
def test_the_compiled_words_are_the_same(text):
    vocabulary = Vocabulary()
    ids, lengths = vocabulary.encode([text], grow=True)
    known = vocabulary.words()
    assert [known[i] for i in ids] == words(text)
    assert lengths.tolist() == [len(words(text))]


@given(TEXTS)
@example("Don't co-op: 1,000 is 48/2=24")
@example("ΟΔΟΣ:Α Α:Σ ΑΣ.Β")
@example("İstanbul’un İ-İ")
@example("\u0301a e\u0301\u0327 \u1100\u1161\u11a8")
@example("_a_ a\xad\u200db \xade\xad\u0301\xad_é_ __ (_co-op_)")
def test_spans_hold_the_words_and_slices_normalise_to_them(text):
    spans = word_spans(text)
    assert [span.text for span in spans] == words(text)
    edge = 0
    for word, start, end in spans:
        assert edge <= start < end <= len(text)
        assert normalize(text[start:end]) == word
        edge = end


@given(TEXTS)
def test_words_do_not_depend_on_the_unicode_form(text):
    decomposed = unicodedata.normalize("NFD", text)
    assert words(decomposed) == words(unicodedata.normalize("NFC", text)) == words(text)
    assert [span.text for span in word_spans(decomposed)] == words(text)


@given(TEXTS, TEXTS)
def test_words_of_one_text_know_nothing_of_another(left, right):
    assert words(f"{left} | {right}") == words(left) + words(right)


def test_spans_of_decomposed_text_are_places_in_it_and_not_in_its_composed_form():
    text = unicodedata.normalize("NFD", "Éva's café, naïve")
    spans = word_spans(text)
    assert [w.text for w in spans] == ["évas", "café", "naïve"]
    slices = [text[w.start : w.end] for w in spans]
    assert slices == [unicodedata.normalize("NFD", w) for w in ("Éva's", "café", "naïve")]
    assert word_spans("It's 1,000!") == [Word("its", 0, 4), Word("1000", 5, 10)]


def test_hindi_words_stay_whole():
    text = "हिन्दी में १,२३४ किताबें हैं।"
    assert words(text) == ["हिन्दी", "में", "१२३४", "किताबें", "हैं"]
    assert [text[w.start : w.end] for w in word_spans(text)] == ["हिन्दी", "में", "१,२३४", "किताबें", "हैं"]


def test_the_scripts_without_spaces_are_those_of_the_characters_names():
    scripts = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR",
               "HENTAIGANA", "COMBINING KATAKANA", "IDEOGRAPHIC", "VERTICAL IDEO", "VERTICAL KANA", "MASU")  # fmt: skip
    for c in map(chr, range(sys.maxunicode + 1)):
        name = unicodedata.name(c, "")
        if unicodedata.category(c)[0] in "LM" and name:
            assert bool(re.match(UNSPACED, c)) == name.startswith(scripts), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("東京", True), ("東京タワー 333 m", True), ("ภาษาไทย ok", True), ("ພາສາລາວ", True), ("ភាសាខ្មែរ", True),
     ("မြန်မာဘာသာ", True), ("한국어 서울", False), ("東京 is Tokyo", False), ("cat 猫", False), ("日本 ab", False),
     ("日本語 ab", True), ("हिन्दी", False), ("12_, …", False), ("", False)],
)  # fmt: skip
def test_text_is_unspaced_where_most_of_its_letters_are(text, expected):
    assert unspaced(text) is expected


def test_a_sigma_is_final_at_the_end_of_its_own_word_whatever_follows():
    for after in ("", " ΑΒ", ":ΑΒ", ".ΑΒ", "·ΑΒ", "/ΑΒ"):
        assert words("ΛΟΓΟΣ" + after)[0] == "λογος"
    assert words("Α:Σ") == ["α", "σ"]
    assert words("ΑΣ'Β") == ["ασβ"]


def test_ngrams_are_all_in_order_with_repeats():
    tokens = words("the cat, the cat sat")
    assert ngrams(tokens, 1) == tokens
    assert ngrams(tokens, 2) == ["the cat", "cat the", "the cat", "cat sat"]
    assert ngrams(tokens, 5) == ["the cat the cat sat"]
    assert ngrams(tokens, 6) == ngrams([], 1) == []


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 6))
def test_ngrams_are_the_windows_of_the_words(tokens, n):
    grams = ngrams(tokens, n)
    assert len(grams) == max(0, len(tokens) - n + 1)
    assert all(gram.split() == tokens[i : i + n] for i, gram in enumerate(grams))


@pytest.mark.parametrize("n", [0, -1])
def test_n_below_one_is_refused(n):
    with pytest.raises(InputError, match=f"n = {n}"):
        ngrams(["a"], n)


def test_stopwords_are_words_in_the_form_in_which_they_are_met():
    assert all(words(word) == [word] for word in ENGLISH_STOPWORDS)
    assert set(words("The dogs don't; isn't it we've?")) - ENGLISH_STOPWORDS == {"dogs"}


def test_the_forms_in_which_text_writes_an_ngram():
    forms = written("ada lovarns", ["ADA Lovarn's"])
    assert {"ada lovarns", "Ada Lovarns", "ADA LOVARNS", "ADA Lovarn's", "ada lovarn’s", "Ada lovarn's"} <= set(forms)
    assert len(forms) == len(set(forms)) and {normalize(f) for f in forms} == {"ada lovarns"}
    assert written("river. ") == ["river", "River", "RIVER"] == written("river", ["River", "RIVER,"])
    assert written("straße") == ["straße", "Straße"]  # STRASSE is another word


@given(st.text(), st.lists(st.text(), max_size=2))
def test_every_form_has_the_words_of_what_it_is_a_form_of(ngram, surfaces):
    assert {normalize(f) for f in written(ngram, surfaces)} <= {normalize(s) for s in (ngram, *surfaces)}
