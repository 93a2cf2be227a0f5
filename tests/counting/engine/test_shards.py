"""The files of an index: what other packages make of them, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from taskgram_utils.counting.engine import shards
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import ngrams, words

WORDS = ["w", "Über", "don't", "3.5", "漢", "e\u0301", "x-y", *(f"v{i}" for i in range(300))]


def some_texts(seed, documents=150):
    """Documents of 0 to 40 words, some repeated, some without a word or with one."""
    rng = np.random.default_rng(seed)
    drawn = [rng.geometric(0.03, rng.integers(0, 40)) % len(WORDS) for _ in range(documents)]
    texts = [" ".join(WORDS[i] for i in numbers) for numbers in drawn]
    return [*(text or "…" for text in texts), "w", "--", "w w w w", *texts[:3]] * 2 + [texts[0]]


def engines(folder, width):
    """infini-gram's engine and fast-gram's over an index."""
    top = 2 ** (8 * width) - 1
    about = {"index_dir": [str(folder)], "eos_token_id": top - 1, "vocab_size": top, "token_dtype": f"u{8 * width}"}
    depth = {f"{name}_prefetch_depth": 0 for name in ("ds", "sa", "od")}
    yield pytest.importorskip("infini_gram.engine").InfiniGramEngine(**about, **depth)
    yield pytest.importorskip("fastgram").GramEngine(**about)


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("tokens_per_shard", [1_000, 1 << 30])
def test_other_packages_read_the_index_and_agree(tmp_path, width, tokens_per_shard):
    texts = some_texts(width)
    if width == 4:
        texts.append(" ".join(f"u{i}" for i in range(66_000)))
    index = build_index(texts, tmp_path / "i", progress=False, tokens_per_shard=tokens_per_shard)
    index.unit, number = "occurrences", {w: i for i, w in enumerate(index._coder.vocabulary.words())}
    assert index.width == width
    rng = np.random.default_rng(0)
    asked = {gram for text in texts[:60] for n in range(1, 6) for gram in ngrams(words(text), n)}
    asked = sorted(rng.choice(sorted(asked), 400, replace=False)) + ["w v1 w", "v9 v9 v9", "3.5 3.5 3.5"]
    ids = [[number[w] for w in words(gram)] for gram in asked]
    counts = index.count(asked).tolist()
    _, ranges = index._ranges(asked)
    assert min(counts[:400]) > 0
    for engine in engines(index.path, width):
        assert counts == [engine.count(i)["count"] for i in ids]
        for q, gram in enumerate(ids):
            theirs = np.array(engine.find(gram)["segment_by_shard"]).T
            held = theirs[1] > theirs[0]  # where nothing stands does not matter
            assert np.array_equal(held, ranges[1, :, q] > ranges[0, :, q])
            assert np.array_equal(theirs[:, held], ranges[:, held, q])


def test_an_index_that_infini_gram_has_built_is_read(tmp_path):
    """With its own indexer, of GPT-2 tokens, in two shards; the tokenizer is put where it looks for it."""
    pytest.importorskip("infini_gram")
    file = Path(__file__).resolve().parents[3] / "../shared/data/tokenizers/gpt2_tokenizer.json"
    if not file.exists():
        pytest.skip(f"no {file}")
    model, local = json.loads(file.read_text())["model"], tmp_path / "gpt2"
    local.mkdir()
    merges = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    (local / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (local / "vocab.json").write_text(json.dumps(model["vocab"]))
    (local / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    (local / "config.json").write_text('{"model_type": "gpt2"}')
    texts = [f" {text}" for text in some_texts(0)]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    asked = ["-m", "infini_gram.indexing", "--data_dir", str(tmp_path / "texts"), "--save_dir", str(tmp_path / "made")]
    asked += "--tokenizer gpt2 --cpus 1 --mem 1 --shards 2 --add_metadata --add_unigram --ulimit 256".split()
    subprocess.run([sys.executable, *asked], cwd=tmp_path, check=True, capture_output=True, timeout=900)
    made = Index(tmp_path / "made", tokenizer=file)
    ours = build_index(texts, tmp_path / "ours", tokenizer=file, progress=False)
    assert (made.documents, made.tokens, len(made._shards)) == (ours.documents, ours.tokens, 2)
    grams = ["w", "w w", "v1", "v2 v1", "don't", "Über", "v9 v9 v9 v9"]
    for unit in ("occurrences", "documents"):
        made.unit = ours.unit = unit
        assert made.count(grams).tolist() == ours.count(grams).tolist()
    crossed = [(x, y) for x in grams for y in grams]
    assert np.array_equal(made.pair_counts(crossed), ours.pair_counts(crossed))
    assert sorted(made.documents_with("v1", "w", 999)) == sorted(ours.documents_with("v1", "w", 999))
    with pytest.raises(InputError, match=r"no vocabulary\.txt"):
        Index(tmp_path / "made")


def test_tokens_of_one_byte_are_read(tmp_path):
    texts = [" ".join(f"w{i}" for i in range(k, k + 9)) for k in range(89)]
    whole = build_index(texts, tmp_path / "whole", progress=False)
    ids, lengths = whole._coder.encode(texts)
    shutil.copytree(whole.path, tmp_path / "bytes")
    shards.write_shard(tmp_path / "bytes", 0, ids, lengths, 1)
    with pytest.raises(InputError, match="its width is not what was built"):
        Index(tmp_path / "bytes")
    (tmp_path / "bytes/index.json").unlink()
    index, asked = Index(tmp_path / "bytes"), ["w3", "w3 w4", "w4 w3", "w94 w95 w96"]
    assert index.width == 1
    assert index.count(asked).tolist() == whole.count(asked).tolist() == [4, 4, 0, 1]
    assert index.pair_counts([("w3", "w4")]).tolist() == [4]


@pytest.fixture
def broken(tmp_path):
    build_index(["a b c", "c b a"] * 10, tmp_path / "good", progress=False, tokens_per_shard=40)

    def message(change):
        """What is said of a copy of a good index of two shards to which something is done."""
        shutil.rmtree(tmp_path / "bad", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        change(tmp_path / "bad")
        with pytest.raises(InputError) as error:
            Index(tmp_path / "bad")
        assert "\n" not in str(error.value)
        return str(error.value)

    return message


def rewrite(name, function):
    return lambda folder: (folder / name).write_bytes(function((folder / name).read_bytes()))


def test_what_does_not_fit_is_refused(broken, tmp_path):
    assert "no table.0" in broken(lambda f: (f / "table.0").unlink())
    assert "no tokenized.0" in broken(lambda f: (f / "tokenized.0").unlink())
    assert "tokenized.2 is in it but no tokenized.1" in broken(lambda f: (f / "tokenized.1").rename(f / "tokenized.2"))
    assert "do not fit" in broken(rewrite("table.0", lambda b: b[:-1]))
    assert "do not fit" in broken(rewrite("table.1", lambda b: b""))
    assert "do not fit" in broken(rewrite("tokenized.0", lambda b: b + b[:2]))
    assert "do not fit" in broken(rewrite("tokenized.0", lambda b: b""))
    assert "not in order" in broken(rewrite("table.0", lambda b: b[::-1]))
    assert "not in order" in broken(rewrite("table.0", lambda b: bytes(len(b))))
    assert "separators" in broken(rewrite("offset.0", lambda b: bytes(8) + (2).to_bytes(8, "little")))
    assert "separators" in broken(rewrite("offset.1", lambda b: b[:-8]))
    assert "separators" in broken(rewrite("offset.1", lambda b: b[:8] + b"\xff" * (len(b) - 8)))
    assert "multiple of 8" in broken(rewrite("offset.0", lambda b: b[:-1]))
    assert "no vocabulary.txt" in broken(lambda f: (f / "vocabulary.txt").unlink())
    assert "not one word" in broken(rewrite("vocabulary.txt", lambda b: b"a b\n" + b))
    assert "UTF-8" in broken(rewrite("vocabulary.txt", lambda b: b"\xff\n" + b))
    assert "another's" in broken(rewrite("vocabulary.txt", lambda b: b[:-2]))
    for about in (b"{", b"[1]", b"\xff", b'{"vocabulary": "many"}'):
        assert "index.json" in broken(rewrite("index.json", lambda _, about=about: about))
    for path in (tmp_path / "nowhere", "a text, not a path. " * 50, "a\0b"):
        with pytest.raises(InputError, match="no such folder"):
            Index(path)
    with pytest.raises(InputError, match="a file"):
        Index(tmp_path / "good" / "table.0")
    with pytest.raises(InputError, match="exists"):
        build_index(["a"], tmp_path / "good")
    with pytest.raises(InputError, match="whole words"):
        Index(tmp_path / "good", tokenizer="tokenizer.json")


def test_the_width_of_tokens_is_what_their_separators_say(broken):
    def widen(folder):  # each token of two bytes read as a half of one of four
        size = (folder / "tokenized.0").stat().st_size
        table = np.arange(0, size, 4, "<u1").tobytes()
        (folder / "table.0").write_bytes(table)

    assert "separators" in broken(widen)


def test_ids_beyond_all_vocabularies_take_no_memory(tmp_path):
    index = build_index(["a b", "…"], tmp_path / "i", progress=False)
    tokens = np.array([2**32 - 1, 2**32 - 2, 1, 2**32 - 1], np.uint32)
    tokens.tofile(index.path / "tokenized.0")
    np.array([0, 12], "<u8").tofile(index.path / "offset.0")
    order = np.array(sorted(range(0, 16, 4), key=lambda i: tokens.tobytes()[i:]), np.uint8)
    order.tofile(index.path / "table.0")
    with pytest.raises(InputError, match="4294967294 in it, but 2 in vocabulary"):
        Index(index.path)


def test_a_corpus_without_words(tmp_path):
    index = build_index(["…", "--"], tmp_path / "i", progress=False)
    assert (index.documents, index.tokens) == (2, 0)
    assert index.count(["a"]).tolist() == index.pair_counts([("a", "b")]).tolist() == [0]
    assert np.isfinite(index.infinigram([["a"]], [["b"]]).logp).all()


def test_stray_files_are_left_alone(tmp_path):
    index = build_index(["a b c"], tmp_path / "i", progress=False)
    for name in ("tokenized.bak", "tokenized.", "tokenized.0.old", "tokenized.00", "table.txt"):
        (index.path / name).write_bytes(b"?")
    (index.path / "metadata.0").write_text("[]\n")
    (index.path / "index.json").write_text(json.dumps({}))
    assert Index(index.path).count(["a b", "b a"]).tolist() == [1, 0]
    assert Index(index.path).documents_with("a") == ["a b c"]
