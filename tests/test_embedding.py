"""Word vectors of a text against a dense computation of their definition; a real sentence embedding where installed."""

import importlib.util
import itertools
import json

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from taskgram_utils import embedding
from taskgram_utils.embedding import KeptEmbedding, WordVectors, kept_embedding, load_embedding, train_embedding
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import words
from taskgram_utils.packaged import packaged

PEOPLE, TOWNS = 80, 16


@pytest.fixture(scope="module")
def text():
    """People who live in towns and keep animals: 20 sentences a person, towns Zipf distributed."""
    rng = np.random.default_rng(5)
    town = np.minimum(rng.zipf(1.6, PEOPLE) - 1, TOWNS - 1)
    animal = rng.integers(0, TOWNS, PEOPLE)
    shapes = ("{p} was born in {v}.", "The birthplace of {p} is {v}!", "In {v}, {p} is well known.")
    out = []
    for person in range(PEOPLE):
        for i in range(20):
            value = f"Town{town[person]}x" if i % 2 else f"Pet{animal[person]}x"
            out.append(shapes[i % 3].format(p=f"First{person % 7} Person{person}x", v=value))
    truth = [(f"first{p % 7} person{p}x", f"town{town[p]}x", f"pet{animal[p]}x") for p in range(PEOPLE)]
    return out, truth


def brute_ppmi(documents, passage=100):
    """The PPMI matrix by its definition, word by word."""
    pieces = [set(t[i : i + passage]) for t in map(words, documents) for i in range(0, len(t), passage)]
    vocabulary = sorted({w for piece in pieces for w in piece})
    share = {w: np.mean([w in piece for piece in pieces]) for w in vocabulary}
    matrix = np.zeros((len(vocabulary), len(vocabulary)))
    for (i, a), (j, b) in itertools.product(enumerate(vocabulary), repeat=2):
        both = np.mean([a in piece and b in piece for piece in pieces])
        if both:
            matrix[i, j] = max(0, np.log(both / share[a] / share[b]))
    return vocabulary, matrix, np.array([-np.log(share[w]) for w in vocabulary])


def test_vectors_are_the_positive_part_of_the_ppmi_matrix(tmp_path):
    documents = [
        "the old dog sees a cat",
        "the dog barks at a cat",
        "a cat sleeps",
        "the rain falls",
        "rain and a dog",
    ] * 3
    documents.append(" ".join(["the old dog", "rain"] * 60))  # longer than a passage
    model = train_embedding(documents, tmp_path / "e", dimension=100, power=0.5, min_count=1)
    vocabulary, matrix, idf = brute_ppmi(documents)
    order = [model.words.index(w) for w in vocabulary]
    values, vectors = np.linalg.eigh(matrix)
    positive = (vectors * np.maximum(values, 0)) @ vectors.T
    assert sorted(model.words) == vocabulary
    np.testing.assert_allclose((model.vectors @ model.vectors.T)[np.ix_(order, order)], positive, atol=1e-5)
    np.testing.assert_allclose(model.idf[order], idf, atol=1e-6)


def test_an_ngram_is_the_idf_weighted_mean_of_unit_vectors(text, tmp_path):
    model = train_embedding(text[0], tmp_path / "e", dimension=40)
    a, b = model.words.index("first1"), model.words.index("person8x")
    mean = sum(model.idf[i] * model.vectors[i] / np.linalg.norm(model.vectors[i]) for i in (a, b))
    rows = model.encode(["First1, PERSON8X", "unheard of first1 person8x", "unheard"])
    assert rows.dtype == np.float32
    assert cosine(rows[0], mean) < 1e-6
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 0], atol=1e-6)
    assert model.encode([]).shape == (0, model.vectors.shape[1])


@pytest.mark.parametrize("power", [0.15, 0.5])
def test_what_stands_together_is_close_and_what_is_shuffled_is_not(text, tmp_path, power):
    documents, truth = text
    model = train_embedding(documents, tmp_path / "e", dimension=40, power=power)
    people, towns, pets = (model.encode([row[k] for row in truth]) for k in range(3))
    for values, column in ((towns, 1), (pets, 2)):
        close = people @ values.T
        same = np.array([[a[column] == b[column] for b in truth] for a in truth])
        ranks = (close[same][:, None] > close[~same]).mean()
        assert ranks > 0.97, f"a true pair is closer than a shuffled one in {ranks:.3f} of comparisons only"


def test_same_text_same_vectors_and_the_two_solvers_agree(text, tmp_path, monkeypatch):
    documents, truth = text
    first = train_embedding(documents, tmp_path / "a", dimension=20)
    again = train_embedding(documents, tmp_path / "b", dimension=20, seed=3)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    # Another order of the documents changes the numbering of words, nothing else.
    turned = train_embedding(documents[::-1], tmp_path / "c", dimension=20)
    assert turned.words == first.words
    names = [name for row in truth for name in row]
    gram = first.encode(names) @ first.encode(names).T
    np.testing.assert_allclose(turned.encode(names) @ turned.encode(names).T, gram, atol=1e-4)
    monkeypatch.setattr(embedding, "_DENSE", 10)
    sparse = train_embedding(documents, tmp_path / "d", dimension=20)
    np.testing.assert_allclose(sparse.encode(names) @ sparse.encode(names).T, gram, atol=1e-4)


def test_saved_vectors_come_back_as_they_were(text, tmp_path):
    made = train_embedding(text[0], tmp_path / "vectors", dimension=30, vocabulary=60)
    read = load_embedding(tmp_path / "vectors")
    assert isinstance(read, WordVectors) and (read.name, read.words) == (made.name, made.words)
    assert len(read.words) == 60 and "60 words, 30 dimensions" in read.name
    np.testing.assert_array_equal(read.vectors, made.vectors)
    np.testing.assert_array_equal(read.encode(["first1 town0x"]), made.encode(["first1 town0x"]))
    train_embedding(text[0], tmp_path / "vectors", dimension=10)  # a second training takes the place of the first
    assert load_embedding(tmp_path / "vectors").vectors.shape[1] == 10
    assert [p.name for p in tmp_path.iterdir()] == ["vectors"]


def test_bad_input_is_one_clear_line(text, tmp_path):
    with pytest.raises(InputError, match="dimension must be 1 or more, got 0"):
        train_embedding(text[0], tmp_path / "e", dimension=0)
    with pytest.raises(InputError, match="only 0 words occur in 2 passages"):
        train_embedding(["one", "two"], tmp_path / "e")
    with pytest.raises(InputError, match="not a generator"):
        train_embedding(iter(text[0]), tmp_path / "e")
    assert not list(tmp_path.iterdir())
    train_embedding(text[0], tmp_path / "e", dimension=10)
    (tmp_path / "e" / "vocabulary.json").write_text(json.dumps({"name": "cut", "words": ["a"]}))
    with pytest.raises(InputError, match="embedding cut: 1 words, but vectors of shape"):
        load_embedding(tmp_path / "e")
    (tmp_path / "e" / "vectors.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="train it again"):
        load_embedding(tmp_path / "e")
    with pytest.raises(InputError, match="the folder holds neither"):
        load_embedding(tmp_path)


@pytest.fixture(scope="session")
def minilm(packages):
    for package in ("all_minilm_l6_v2", "sentence_transformers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: the real embedding is not tested")
    return packaged("packaged/all-MiniLM-L6-v2", packages)


def test_the_real_embedding_knows_capitals(minilm):
    assert packaged("all-MiniLM-L6-v2", minilm.parent) == minilm  # unpacked once
    model = load_embedding(minilm)
    texts = ["capital of france", "paris", "divide by two"]
    rows = model.encode(texts)
    assert rows.shape == (3, 384) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] == pytest.approx(0.60, abs=0.01)
    assert rows[1] @ rows[2] == pytest.approx(0.14, abs=0.01)
    one_by_one = np.concatenate([model.encode([t]) for t in texts])  # neither order nor batch changes a vector
    np.testing.assert_allclose(one_by_one, rows, atol=1e-5)


class Asked:
    """An embedding that counts what it is asked."""

    name, identity = "some/asked model", "abc"

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        return np.array([[len(t), 1.0] for t in texts], np.float32).reshape(-1, 2)


def test_vectors_are_kept_and_each_text_is_asked_once(tmp_path):
    inner = Asked()
    rows = KeptEmbedding(inner, tmp_path).encode(["a", "bb", "a"])
    np.testing.assert_array_equal(rows, [[1, 1], [2, 1], [1, 1]])
    again = KeptEmbedding(inner, tmp_path)
    np.testing.assert_array_equal(again.encode(["bb", "ccc"]), [[2, 1], [3, 1]])
    assert inner.texts == ["a", "bb", "ccc"] and rows.dtype == np.float32
    assert again.path.name == "asked-model-abc.sqlite" and again.encode([]).shape == (0, 2)


def test_other_weights_have_another_file_and_a_broken_one_says_so(tmp_path):
    first, second = Asked(), Asked()
    second.identity = "other"
    KeptEmbedding(first, tmp_path).encode(["a"])
    KeptEmbedding(second, tmp_path).encode(["a"])
    assert first.texts == second.texts == ["a"] and len(list(tmp_path.glob("*.sqlite"))) == 2
    KeptEmbedding(first, tmp_path).path.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(InputError, match=r"cannot be used .*; remove it"):
        KeptEmbedding(first, tmp_path).encode(["a"])


def test_a_real_embedding_is_kept_by_its_weights(minilm, tmp_path):
    kept = kept_embedding(minilm, tmp_path)
    assert isinstance(kept, KeptEmbedding) and kept.path.name == f"all-MiniLM-L6-v2-{kept.embedding.identity}.sqlite"
    texts = ["capital of france", "paris"]
    first = kept.encode(texts)
    np.testing.assert_allclose(first, load_embedding(minilm).encode(texts), atol=1e-6)
    kept.embedding.encode = None  # never asked again
    np.testing.assert_array_equal(kept.encode(texts[::-1]), first[::-1])
