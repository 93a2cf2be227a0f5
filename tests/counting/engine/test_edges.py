"""Counts from an index of pieces against string search for every form of an n-gram, kept where it is whole words."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from taskgram_utils.counting.base import half_of
from taskgram_utils.counting.engine import postings
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.ngrams import normalize, word_spans, written

SHARED = Path(__file__).resolve().parents[3] / "../shared/data/tokenizers"
WORDS = ["ada", "Ada", "ADA", "Lovarn", "Lovarn's", "lovarn’s", "lovarn", "bakers", "bake", "co-worker", "Co-Worker",
         "coworker", "art", "party", "Art", "a_da", "1,000", "1000", "17", "7", "naïve", "Naïve", "हिन्दी", "don't",
         "Don’t", "dont", "é", "的"]  # fmt: skip
BETWEEN = [" ", " ", " ", " ", "\n", ", ", "-", ".", "’", " (", '"', "1", "s", "‐", "\n\n", "; ", "", " — ", "_", " _",
           "__", "\xad", "\u200b"]
ASKED = ["ada", "ada lovarn", "lovarns", "lovarn", "bake", "coworker", "art", "1000", "17", "7", "naïve", "dont",
         "ada ada", "a_da", "é", "bake art", "的", "ada lovarns", "zebra"]  # fmt: skip
SURFACES = {"lovarns": ["Lovarn's"], "coworker": ["co-worker", "Co-Worker"], "1000": ["1,000"], "dont": ["don't"],
            "ada lovarns": ["Ada Lovarn's"]}  # fmt: skip


def texts_of(seed, documents=250):
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(documents):
        size = int(rng.integers(1, 14))
        between = rng.choice(BETWEEN, size)
        out.append("".join(w + b for w, b in zip(rng.choice(WORDS, size), between, strict=True)))
    return out


TEXTS = texts_of(0)


@pytest.fixture(scope="module", params=["bytes", "characters", "20B_tokenizer.json", "gpt2_tokenizer.json"])
def index(request, tmp_path_factory):
    folder, file = tmp_path_factory.mktemp("edges"), SHARED / request.param
    if request.param in ("bytes", "characters"):
        tokenizer, file = Tokenizer(models.BPE(byte_fallback=request.param == "characters")), folder / "own.json"
        special = [f"<0x{i:02X}>" for i in range(256)]
        if request.param == "bytes":
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder, special = decoders.ByteLevel(), []
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
            tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
        trained = [t for t in TEXTS if "的" not in t]  # of which the tokenizer of characters knows the bytes alone
        letters = pre_tokenizers.ByteLevel.alphabet() if request.param == "bytes" else []
        trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=letters, special_tokens=special)
        tokenizer.train_from_iterator(trained, trainer)
        tokenizer.save(str(file))
    elif not file.exists():
        pytest.skip(f"{file.name} is not at hand")
    return build_index(TEXTS, folder / "i", file, progress=False, tokens_per_shard=1200)


def places(text, ngram):
    """Characters at which a form of an n-gram stands as whole words."""
    spans = word_spans(text)
    begins, ends, found = {w.start for w in spans}, {w.end for w in spans}, set()
    for form in written(ngram, SURFACES.get(ngram, ())):
        at = text.find(form)
        while at >= 0:
            if at in begins and at + len(form) in ends and normalize(form) == normalize(ngram):
                found.add(at)
            at = text.find(form, at + 1)
    return found


def test_counts_of_pieces_are_those_of_string_search(index, monkeypatch):
    regular = parts_words(index)
    hits = np.array([[len(places(text, s)) for text in TEXTS] for s in ASKED])
    pairs = [(x, y) for x in ASKED for y in ASKED[::3]]
    held = hits > 0
    joint = np.array([[(held[ASKED.index(x)] & held[ASKED.index(y)] & of).sum() for x, y in pairs]
                      for of in halves_of()])  # fmt: skip
    single = np.array([[(row & of).sum() for row in held] for of in halves_of()])
    times = np.array([[(row * of).sum() for row in hits] for of in halves_of()])
    assert len(index._shards) > 1 and single[0].min() == 0 and np.median(single[0]) > 5
    changes = ({}, {"BUDGET": 1}, {"_READ": 0, "_READ_TOKEN": 0})
    for change in changes:
        for name, value in change.items():
            monkeypatch.setattr(postings, name, value)
        for unit, expected in (("documents", single), ("occurrences", times)):
            index.unit = unit
            found = index.counts(ASKED, pairs, halves=True, surfaces=SURFACES)
            whole = index.counts(ASKED, pairs, surfaces=SURFACES)
            if regular:
                assert np.array_equal(found.ngrams, expected) and np.array_equal(found.pairs, joint)
            assert (found.ngrams <= expected).all() and (found.pairs <= joint).all()
            assert found.ngrams[0].sum() > 0.4 * expected[0].sum()
            assert np.array_equal(whole.ngrams, found.ngrams[0]) and np.array_equal(whole.pairs, found.pairs[0])
    index.unit = "documents"
    typed = index.count(ASKED)
    matrix = index.pair_counts([(x, y) for x in ASKED for y in ASKED]).reshape(len(ASKED), len(ASKED))
    assert np.array_equal(matrix.diagonal(), typed) and np.array_equal(matrix, matrix.T)
    assert len(index.documents_with("ada", k=999)) == typed[0]


def parts_words(index):
    """Whether the tokenizer parts words from what stands beside them; else it cuts some of them otherwise there."""
    return "Metaspace" not in index._coder.tokenizer.to_str()


def halves_of():
    half = half_of(np.arange(len(TEXTS)))
    return np.ones(len(TEXTS), bool), half == 0, half == 1


def test_no_count_of_pieces_is_above_that_of_words(index):
    truth = ScanCounter(TEXTS, progress=False).counts(ASKED, [(x, "ada") for x in ASKED])
    found = index.counts(ASKED, [(x, "ada") for x in ASKED], surfaces=SURFACES)
    assert (found.ngrams <= truth.ngrams).all() and (found.pairs <= truth.pairs).all()
    index.whole_words = False
    assert (index.counts(ASKED, surfaces=SURFACES).ngrams >= found.ngrams).all()
    assert index.counts(["art", "7"]).ngrams.sum() > found.ngrams[ASKED.index("art")] + found.ngrams[ASKED.index("7")]
    index.whole_words = True


def test_thirty_one_documents_stay_thirty_one(index, tmp_path):
    texts = ["Ada Lovarn’s co-worker came." if i % 2 else "ADA: “Ada Lovarn's Co-worker”" for i in range(31)]
    own = build_index(texts, tmp_path / "i", index.path / "tokenizer.json", progress=False)
    normal = ["ada lovarns", "coworker", "ada"]
    surfaces = {"ada lovarns": ["Ada Lovarn's"], "coworker": ["co-worker"]}
    assert ScanCounter(texts, progress=False).count(normal).tolist() == [31, 31, 31]
    counts = own.counts(normal, [("ada lovarns", "coworker")], surfaces=surfaces)
    assert counts.ngrams.tolist()[1:] == [31, 31] and counts.pairs[0] == counts.ngrams[0] > 0
    assert counts.ngrams[0] == 31 or not parts_words(index)
    own.written, own.whole_words = lambda ngram, _: [f" {ngram}"], False
    assert own.counts(normal, [("ada lovarns", "coworker")]).ngrams.tolist() == [0, 0, 0]
    assert isinstance(own, Index)
