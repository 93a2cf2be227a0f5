"""The index against counting by hand, against the scan, and against the engine whose format it is."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.base import half_of
from taskgram_utils.counting.engine import shards
from taskgram_utils.counting.index import BACKOFF, Index, build_index
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import ngrams as ngrams_of
from taskgram_utils.ngrams import words
from tests.counting.scanning import scan

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
MARKED = ["é", "e\u0301", "b\u0307\u0323", "ΟΣ", "漢"]
WORDS = st.sampled_from(["a", "b", "A", "c", "Don't", "1,0", "3.5", "…", "x-y", *MARKED])
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


def counted_by_hand(texts, singles, pairs, unit, half):
    numbers = np.flatnonzero((half_of(np.arange(len(texts))) == half) | (half is None))
    documents = [words(texts[k]) for k in numbers]

    def hits(ngram):
        sought = words(ngram)
        n = len(sought)
        return np.array([sum(d[i : i + n] == sought for i in range(len(d) - n + 1)) for d in documents], np.int64)

    found = {s: hits(s) for s in {*singles, *(s for pair in pairs for s in pair)}}
    single = [int((found[s] > 0).sum() if unit == "documents" else found[s].sum()) for s in singles]
    return single, [int(((found[x] > 0) & (found[y] > 0)).sum()) for x, y in pairs]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=TEXTS, singles=st.lists(NGRAMS, max_size=10), pairs=st.lists(st.tuples(NGRAMS, NGRAMS), max_size=10),
    tokens_per_shard=st.sampled_from([1, 9, 30, 1 << 30]),
)  # fmt: skip
def test_equals_counting_by_hand(tmp_path, texts, singles, pairs, tokens_per_shard):
    shutil.rmtree(tmp_path / "i", ignore_errors=True)
    index = build_index(texts, tmp_path / "i", progress=False, tokens_per_shard=tokens_per_shard)
    pairs += [(f"{x} {y}", y) for x, y in pairs[:3]]  # one within the other
    for unit in ("documents", "occurrences"):
        index.unit = unit
        by_half = index.counts(singles, pairs, halves=True)
        for row, half in enumerate((None, 0, 1)):
            single, joint = counted_by_hand(texts, singles, pairs, unit, half)
            assert by_half.ngrams[row].tolist() == single
            assert by_half.pairs[row].tolist() == joint
            if half is None:
                assert index.count(singles).tolist() == single
                assert index.pair_counts(pairs).tolist() == joint
                assert index.counts(singles, pairs).pairs.tolist() == joint
    assert (index.documents, index.tokens) == (len(texts), sum(len(words(t)) for t in texts))
    for x, y in pairs[:3]:
        assert len(index.documents_with(x, y, len(texts))) == joint_of(texts, [(x, y)])[0]


def joint_of(texts, pairs):
    return counted_by_hand(texts, [], pairs, "documents", None)[1]


@pytest.fixture(scope="module")
def texts():
    return random_texts(1, 2_000)


@pytest.fixture(scope="module")
def index(texts, tmp_path_factory):
    return build_index(texts, tmp_path_factory.mktemp("built") / "i", progress=False)


def test_crossed_pairs_and_documents(index, texts):
    asked = asked_of(texts)
    xs, ys = asked[:40], [*asked[40:70], "nowhere", asked[0]]
    crossed = [(x, y) for x in xs for y in ys]
    assert np.array_equal(index.pair_counts(crossed), scan(texts, pairs=crossed, progress=False).found.pairs)
    x, y = asked[0], "w0 w1"
    holding = [t for t in texts if all(f" {s} " in f" {t} " for s in (x, y))]
    assert index.documents_with(x, y, 3) == holding[:3]
    assert index.documents_with(x, y, 10_000) == holding
    assert index.documents_with("nowhere", "w0") == []
    assert [" ".join(words(t)) for t in texts if " w7 " in f" {t} "][:2] == index.documents_with("w7", k=2)


def test_ngrams_of_several_lines_and_of_no_text(index, texts):
    lines, plain = ["w0\nw1", "w2", "w0\r\n w2\n"], ["w0 w1", "w2", "w0 w2"]
    assert np.array_equal(index.count(lines), index.count(plain))
    assert index.count([]).shape == (0,)
    found = index.infinigram([["w1\nw2"], []], [["w0\nw1", "w2"], ["w3"]])
    assert found.tokens.tolist() == [2, 1, 1] and found.words.tolist() == [2, 1]
    assert found.suffix[2] == 0
    for ngrams, what in ((["w0", 3], "n-gram 2: 3 is not text"), (["w0", "w1", "\n"], "n-gram 3: .* holds no word")):
        with pytest.raises(InputError, match=what):
            index.count(ngrams)
    with pytest.raises(InputError, match="'…' holds no word"):
        index.infinigram([["w1", "w2"]], [["w0", "…"]])


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


def test_several_shards_count_as_one(tmp_path, texts, index):
    several = build_index(texts, tmp_path / "i", progress=False, tokens_per_shard=9_000)
    assert len(several._shards) == len(list(several.path.glob("table.*"))) > 2
    asked = [*asked_of(texts, 3), "nowhere"]
    pairs = list(pairwise(asked))
    for halves in (False, True):
        for found, whole in zip(several.counts(asked, pairs, halves), index.counts(asked, pairs, halves), strict=True):
            assert np.array_equal(found, whole)
    crossed = [(x, y) for x in asked[:50] for y in asked]
    assert np.array_equal(several.pair_counts(crossed), index.pair_counts(crossed))
    assert several.documents_with("w9", k=9_999) == [t for t in texts if "w9" in t.split()]
    contexts, targets = zip(*((words(t)[:3], words(t)[3:]) for t in texts[690:710]), strict=True)
    for found, whole in zip(several.infinigram(contexts, targets), index.infinigram(contexts, targets), strict=True):
        np.testing.assert_allclose(found, whole)
    assert (several.documents, several.tokens, several.vocabulary) == (index.documents, index.tokens, index.vocabulary)
    with pytest.raises(InputError, match="tokens_per_shard"):
        build_index(texts, tmp_path / "j", tokens_per_shard=0)


def test_large_shards_are_searched_from_the_whole_range(index, texts, monkeypatch):
    monkeypatch.setattr(shards, "_DENSE", 10)
    asked = [*asked_of(texts), "nowhere", "w0 nowhere"]
    assert np.array_equal(Index(index.path).count(asked), index.count(asked))


def test_a_failed_build_leaves_nothing(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"text": "a"}\n{"text": 1}\n')
    with pytest.raises(InputError, match="line 2"):
        build_index(Corpus(tmp_path / "c.jsonl"), tmp_path / "i", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_full_disk_leaves_nothing(tmp_path, texts):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (0, 10_000, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))
        try:
            with pytest.raises(InputError, match="not written") as error:
                build_index(texts, tmp_path / "i", progress=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert "\n" not in str(error.value)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("a")
    with pytest.raises(InputError, match="not written"):
        build_index(texts, tmp_path / "file" / "i", progress=False)


def test_a_path_the_engine_would_crash_on_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="cannot open"):
        index = build_index(["a b"], tmp_path / "stable", progress=False)
    assert index.count(["a b"]).tolist() == [1]


def test_the_tokenizer_of_a_model(tmp_path):
    file = SHARED / "tokenizers/gpt2_tokenizer.json"
    if not file.exists():
        pytest.skip(f"no {file}")
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
    assert Index(tmp_path / "i", tokenizer=file).count(["file"]).tolist() == [2]
    with pytest.raises(InputError, match="is of another tokenizer"):
        Index(tmp_path / "i", tokenizer=file.with_name("20B_tokenizer.json"))
    with pytest.raises(InputError, match="no such file"):
        Index(tmp_path / "i", tokenizer=tmp_path / "absent.json")
    state = json.loads(file.read_text())
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    for name, change in (("cut", {"truncation": cut}), ("lower", {"normalizer": {"type": "Lowercase"}}),
                         ("bare", {"normalizer": {"type": "Replace", "pattern": {"String": "é"}, "content": "e"}})):
        (tmp_path / f"{name}.json").write_text(json.dumps(state | change))
    assert build_index(texts, tmp_path / "c", tmp_path / "cut.json", False).count(["file"]).tolist() == [2]
    assert build_index(texts, tmp_path / "l", tmp_path / "lower.json", False).count(["File"]).tolist() == [2]
    with pytest.raises(InputError, match=r"bare.json: loses text: .*dejà.*counts would be of other n-grams"):
        build_index(texts, tmp_path / "b", tmp_path / "bare.json", False)
    assert not (tmp_path / "b").exists()


SLOW = """
import signal, sys, time
from taskgram_utils.cli import _stop
from taskgram_utils.counting.index import build_index

def texts():
    yield "a b c " * 1_000_000
    print("begun", flush=True)
    time.sleep(600)

signal.signal(signal.SIGTERM, _stop)
build_index(texts(), sys.argv[1])
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_stopped_building_leaves_goes_with_the_next(tmp_path, sent):
    out, work = tmp_path / "idx", tmp_path / ".idx.building"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"begun\n" and work.is_dir()
        with pytest.raises(InputError, match="another command is at work on it"):
            build_index(["a b"], out)
        process.send_signal(sent)
        process.communicate(timeout=60)
    finally:
        process.kill()
    if sent == signal.SIGTERM:
        assert list(tmp_path.iterdir()) == []
        return
    assert work.is_dir() and not out.exists()
    with pytest.warns(UserWarning, match=r"removed .*\.idx\.building, which a killed building had left"):
        assert build_index(["a b"], out).documents == 1
    assert list(tmp_path.iterdir()) == [out]
