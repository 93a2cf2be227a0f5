"""The index against counting by hand, against the scan, and against the engine whose format it is."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting import index as index_module
from taskgram_utils.counting.index import BACKOFF, Index, build_index
from taskgram_utils.counting.scan import scan
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import ngrams as ngrams_of
from taskgram_utils.ngrams import words

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
WORDS = st.sampled_from(["a", "b", "A", "c", "Don't", "ΟΣ", "é", "1,0", "…", "x-y"])
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=10)
NGRAMS = st.lists(st.one_of(WORDS, st.just("new")), min_size=1, max_size=5).map(" ".join).filter(lambda s: words(s))


def random_texts(seed, documents, vocabulary=40):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 30, documents)
    weight = 1 / (np.arange(vocabulary) + 1)
    return [" ".join(f"w{i}" for i in rng.choice(vocabulary, k, p=weight / weight.sum())) or "." for k in lengths]


def asked_of(texts, seed=0, count=300):
    rng, out = np.random.default_rng(seed), []
    while len(out) < count:
        tokens, n = words(texts[rng.integers(len(texts))]), int(rng.integers(1, 6))
        if grams := ngrams_of(tokens, n):
            out.append(grams[rng.integers(len(grams))])
    return out


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, singles=st.lists(NGRAMS, max_size=10), pairs=st.lists(st.tuples(NGRAMS, NGRAMS), max_size=10))
def test_equals_the_scan(tmp_path, texts, singles, pairs):
    shutil.rmtree(tmp_path / "i", ignore_errors=True)
    index = build_index(texts, tmp_path / "i", progress=False)
    for unit in ("documents", "occurrences"):
        index.unit = unit
        for halves in (False, True):
            by_scan = scan(texts, singles, pairs, unit, halves, progress=False)
            found = index.counts(singles, pairs, halves)
            assert np.array_equal(found.ngrams, by_scan.found.ngrams)
            assert np.array_equal(found.pairs, by_scan.found.pairs)
    assert (index.documents, index.tokens) == (by_scan.documents, by_scan.tokens)


@pytest.fixture(scope="module")
def texts():
    return random_texts(1, 2_000)


@pytest.fixture(scope="module")
def index(texts, tmp_path_factory):
    return build_index(texts, tmp_path_factory.mktemp("built") / "i", progress=False)


def test_matrix_and_documents(index, texts):
    asked = asked_of(texts)
    xs, ys = asked[:40], [*asked[40:70], "nowhere", asked[0]]
    by_scan = scan(texts, pairs=[(x, y) for x in xs for y in ys], progress=False).found.pairs
    assert np.array_equal(index.pair_matrix(xs, ys), by_scan.reshape(len(xs), len(ys)))
    x, y = asked[0], "w0 w1"
    holding = [t for t in texts if all(f" {s} " in f" {t} " for s in (x, y))]
    assert index.documents_with(x, y, 3) == holding[:3]
    assert index.documents_with(x, y, 10_000) == holding
    assert index.documents_with("nowhere", "w0") == []
    assert [" ".join(words(t)) for t in texts if " w7 " in f" {t} "][:2] == index.documents_with("w7", k=2)


def test_documents_come_back_as_they_were_written_or_else_as_words(tmp_path):
    written = ["Ada's 1,000 hats.", "…", "Über-hats? ADA"]
    index = build_index(written, tmp_path / "i", progress=False)
    assert index.documents_with("hats", "adas") == [written[0]]
    for name in ("metadata.0", "metaoff.0"):
        (tmp_path / "i" / name).unlink()
    assert Index(tmp_path / "i").documents_with("ada") == ["überhats ada"]


def infinigram_by_hand(texts, context, target):
    documents = [words(t) for t in texts]
    total, vocabulary = sum(map(len, documents)), len({w for d in documents for w in d})

    def count(gram):
        return sum(d[i : i + len(gram)] == gram for d in documents for i in range(len(d) - len(gram) + 1))

    for k in range(len(context) + 1):
        suffix = context[k:]
        alone = count(suffix) if suffix else total
        if alone:
            break
    longest, p = len(suffix), 0.0
    for step in range(longest + 1):
        suffix = context[len(context) - longest + step :]
        if joint := count([*suffix, target]):
            p = BACKOFF**step * joint / (count(suffix) if suffix else total)
            break
    return np.log(max(p, 1 / (total + vocabulary))), step > 0 or p == 0, longest


@pytest.mark.parametrize("seed", range(3))
def test_infinigram_equals_its_definition(seed, tmp_path):
    texts = random_texts(seed, 30, vocabulary=8)
    index = build_index(texts, tmp_path / "i", progress=False)
    rng = np.random.default_rng(seed)
    draw = [[f"w{i}" for i in rng.integers(0, 10, rng.integers(0, 9))] for _ in range(80)]
    contexts, targets = draw[:40], draw[40:]
    found = index.infinigram(contexts, targets)
    by_hand = [
        infinigram_by_hand(texts, [*c, *t[:i]], t[i])
        for c, t in zip(contexts, targets, strict=True)
        for i in range(len(t))
    ]
    logp, zero, suffix = map(np.array, zip(*by_hand, strict=True))
    np.testing.assert_allclose(found.logp, logp)
    assert np.array_equal(found.zero, zero)
    assert np.array_equal(found.suffix, suffix)
    np.testing.assert_allclose(found.seen, np.where(zero, 0, logp))
    assert found.words.tolist() == [len(t) for t in targets]


def engine_of(path, width=2):
    engine = pytest.importorskip("infini_gram.engine").InfiniGramEngine
    depth = {f"{name}_prefetch_depth": 0 for name in ("ds", "sa", "od")}
    top = 2 ** (8 * width) - 1
    return engine([str(path)], eos_token_id=top - 1, vocab_size=top, token_dtype=f"u{8 * width}", **depth)


def test_infini_grams_engine_reads_the_index_and_agrees(index, texts):
    engine = engine_of(index.path)
    asked = [*asked_of(texts), "w0", "w39 w39 w39"]
    numbers = {w: i for i, w in enumerate((index.path / "vocabulary.txt").read_text().split())}
    index.unit = "occurrences"
    ids = [[numbers[w] for w in s.split()] for s in asked]
    assert index.count(asked).tolist() == [engine.count(i)["count"] for i in ids]
    index.unit = "documents"
    contexts, targets = zip(*(([*words(t)[:5], "w3"], words(t)[7:]) for t in texts[:60]), strict=True)
    found = index.infinigram(contexts, targets)
    k = 0
    for context, target in zip(contexts, targets, strict=True):
        for i in range(len(target)):
            prompt = [numbers[w] for w in [*context, *target[:i]]]
            theirs = engine.infgram_prob(prompt, numbers[target[i]])
            assert theirs["suffix_len"] == found.suffix[k]
            if theirs["prob"] > 0 and found.suffix[k] > 0:
                assert np.exp(found.logp[k]) == pytest.approx(theirs["prob"])
            assert (theirs["cont_cnt"] == 0) == bool(found.zero[k])
            k += 1


def test_a_vocabulary_above_two_bytes_takes_four(tmp_path):
    texts = [" ".join(f"v{i}" for i in range(k, k + 50)) for k in range(0, 66_000, 40)]
    index = build_index(texts, tmp_path / "i", progress=False)
    assert index.width == 4
    asked = asked_of(texts)
    assert np.array_equal(index.count(asked), scan(texts, asked, progress=False).found.ngrams)
    assert engine_of(index.path, 4).count([3, 4])["count"] == index.count(["v3 v4"])[0] == 1


def test_several_shards_count_as_one(tmp_path, texts):
    several = [build_index(texts[a:b], tmp_path / str(a), progress=False) for a, b in ((0, 700), (700, 2_000))]
    joint = tmp_path / "joint"
    shutil.copytree(several[0].path, joint)
    # The second shard's numbers are rewritten to the first one's by building it from a text with the same beginning.
    head = " ".join(several[0]._coder.vocabulary.words())
    build_index([head, *texts[700:]], tmp_path / "second", progress=False)
    for name in ("tokenized", "table", "offset", "metadata", "metaoff"):
        shutil.copy(tmp_path / "second" / f"{name}.0", joint / f"{name}.1")
    index, all_texts = Index(joint), [*texts[:700], head, *texts[700:]]
    asked = asked_of(texts, 3)
    pairs = list(pairwise(asked))
    by_scan = scan(all_texts, asked, pairs, halves=True, progress=False)
    found = index.counts(asked, pairs, halves=True)
    assert np.array_equal(found.ngrams, by_scan.found.ngrams)
    assert np.array_equal(found.pairs, by_scan.found.pairs)
    assert index.documents_with("w9", k=9_999) == [t for t in all_texts if "w9" in t.split()]
    whole = build_index(all_texts, tmp_path / "whole", progress=False)
    contexts, targets = zip(*((words(t)[:3], words(t)[3:]) for t in texts[690:710]), strict=True)
    np.testing.assert_allclose(index.infinigram(contexts, targets).logp, whole.infinigram(contexts, targets).logp)


def test_large_shards_are_searched_from_the_whole_range(index, texts, monkeypatch):
    monkeypatch.setattr(index_module, "_DENSE", 10)
    asked = [*asked_of(texts), "nowhere", "w0 nowhere"]
    assert np.array_equal(Index(index.path).count(asked), index.count(asked))


def test_what_does_not_fit_is_refused(tmp_path):
    build_index(["a b c", "c b a"], tmp_path / "good", progress=False)

    def broken(change):
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        change(tmp_path / "bad")
        with pytest.raises(InputError) as error:
            Index(tmp_path / "bad")
        return str(error.value)

    def rewrite(name, function):
        return lambda folder: (folder / name).write_bytes(function((folder / name).read_bytes()))

    assert "no table.0" in broken(lambda f: (f / "table.0").unlink())
    assert "no tokenized.0" in broken(lambda f: (f / "tokenized.0").unlink())
    assert "do not fit" in broken(rewrite("table.0", lambda b: b[:-1]))
    assert "do not fit" in broken(rewrite("tokenized.0", lambda b: b + b[:2]))
    assert "not in order" in broken(rewrite("table.0", lambda b: b[::-1]))
    assert "separators" in broken(rewrite("offset.0", lambda b: bytes(8) + (2).to_bytes(8, "little")))
    assert "multiple of 8" in broken(rewrite("offset.0", lambda b: b[:-1]))
    assert "no vocabulary.txt" in broken(lambda f: (f / "vocabulary.txt").unlink())
    assert "not one word" in broken(rewrite("vocabulary.txt", lambda b: b"a b\n" + b))
    with pytest.raises(InputError, match="no such folder"):
        Index(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists"):
        build_index(["a"], tmp_path / "good")


def test_a_failed_build_leaves_nothing(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    with pytest.raises(InputError, match="line 2"):
        build_index(Corpus(tmp_path / "c.jsonl"), tmp_path / "i", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_path_the_engine_would_crash_on_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="cannot open"):
        index = build_index(["a b"], tmp_path / "stable", progress=False)
    assert index.count(["a b"]).tolist() == [1]


def test_the_tokenizer_of_a_model(tmp_path):
    file = SHARED / "tokenizers/gpt2_tokenizer.json"
    if not file.exists():
        pytest.skip("the GPT-2 tokenizer file is not at hand")
    texts = ["The file is a File.", "A profile, a file", "of many files"]
    built = build_index(texts, tmp_path / "i", file, progress=False)
    index = Index(tmp_path / "i")
    assert not index.exact
    assert index.count(["file", " a file", "files"]).tolist() == [2, 1, 1]
    assert index.documents_with("file", "profile") == [texts[1]]
    assert json.loads((built.path / "index.json").read_text())["tokenizer"] == "pieces"
    found = index.infinigram(["a"], [["File", "unheardof"]])
    assert found.logp[0] == pytest.approx(np.log(1 / 2))
    assert found.tokens[1] > 1
    with pytest.raises(InputError, match="holds no word"):
        index.count(["--"])
    with pytest.raises(InputError, match="no such file"):
        Index(tmp_path / "i", tokenizer=tmp_path / "absent.json")
