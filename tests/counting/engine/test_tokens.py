"""The compiled word rule against the plain one."""

import sys

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from taskgram_utils.counting.engine.tokens import BLOCK, UNKNOWN, Vocabulary
from taskgram_utils.ngrams import words
from taskgram_utils.reading import lists

ALPHABET = st.sampled_from("abAB'’-‐‑.,12१²__ \n\0éE\u0301İΣσΟñ的ｱ\u093f\ud800\xad\u200c\u2060")


def decoded(vocabulary, ids, counts):
    listed, at = vocabulary.words(), 0
    for count in counts:
        yield [listed[i] for i in ids[at : at + count]]
        at += count


@given(st.lists(st.text(ALPHABET, max_size=20), max_size=6))
@example(["ΟΣ.Α ΟΣ", "İstanbul", "co-op don’t 1,000 48/2=24 48-24 a-1 1-a", "-a", "a-", "1.", ".5", "e\u0301", "हिन्दी"])
@example(["a'", "b", "1.", "5", "a_", "_b", "a\xad", "b", "_", "\xad"])
def test_words_of_texts(texts):
    vocabulary = Vocabulary()
    ids, counts = vocabulary.encode(texts, grow=True)
    assert list(decoded(vocabulary, ids, counts)) == [words(t) for t in texts]


def test_every_character_between_words_between_digits_and_alone():
    # Unassigned and private characters differ in nothing, so every 7th of them will do.
    points = [*range(0x3000), *range(0x3000, sys.maxunicode + 1, 7)]
    texts = [f"a{chr(c)}b 1{chr(c)}2 {chr(c)} " for c in points]
    vocabulary = Vocabulary()
    for block in lists(texts, BLOCK):
        ids, counts = vocabulary.encode(block, grow=True)
        listed = vocabulary.words()
        assert [listed[i] for i in ids] == words("".join(block))
        assert counts.sum() == len(ids)


def test_long_random_texts_of_few_characters_are_read_alike():
    rng = np.random.default_rng(7)
    for letters in ("ab_", "a_\xadb", "aé_'\u200d1", "x_-,1\xad\u2060\ufeffü \n"):
        # Runs, so that words and their underscores reach over many pieces of 8 bytes.
        texts = ["".join(rng.choice(list(letters)) * int(rng.integers(1, 19)) for _ in range(60)) for _ in range(300)]
        vocabulary = Vocabulary()
        ids, counts = vocabulary.encode(texts, grow=True)
        assert list(decoded(vocabulary, ids, counts)) == [words(t) for t in texts]
        assert Vocabulary(vocabulary.words()).words() == vocabulary.words()  # each a word, and found again
        assert (vocabulary.encode(texts)[0] == ids).all()


def test_numbers_are_given_once_in_order_and_only_where_asked():
    vocabulary = Vocabulary(["b a", "a c"])
    assert vocabulary.words() == ["b", "a", "c"]
    ids, counts = vocabulary.encode(["C d", "", "a"])
    assert ids.tolist() == [2, UNKNOWN, 1]
    assert counts.tolist() == [2, 0, 1]
    assert len(vocabulary) == 3


def test_vocabulary_grows_past_its_tables():
    listed = [f"w{i}" for i in range(70_000)]
    vocabulary = Vocabulary(listed)
    assert vocabulary.words() == listed
    assert vocabulary.encode(listed[::-1])[0].tolist() == list(range(70_000))[::-1]


@given(st.lists(st.text(max_size=5)), st.integers(1, 8))
def test_lists_lose_nothing(texts, size):
    found = list(lists(texts, size))
    assert [t for block in found for t in block] == texts
    assert all(sum(map(len, block)) >= size for block in found[:-1])
