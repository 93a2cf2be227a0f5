"""Embeddings of n-grams for mining: word vectors made from a text, and sentence-transformers."""

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import eigsh

from taskgram_utils.counting.engine import Vocabulary
from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed, sha256_of
from taskgram_utils.ngrams import words
from taskgram_utils.progress import Bar
from taskgram_utils.reading import lists

_VECTORS, _VOCABULARY = "vectors.safetensors", "vocabulary.json"
_DENSE = 6_000  # most words for which the dense eigensolver is faster than the sparse one
_KEPT_AT_ONCE = 1 << 14  # vectors looked up and written at a time


class Embedding(Protocol):
    """What mining needs of an embedding: a name for the record, and unit vectors of texts."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimension], rows of length 1; 0 for a text of unknown words."""
        ...


class WordVectors:
    """Word vectors of a text; an n-gram is the idf-weighted mean of its words' unit vectors.

    ``words``: the vocabulary; ``vectors``: float32 [words, dimension]; ``idf``: float32 [words],
    log(passages / passages with the word). Words outside the vocabulary weigh nothing.
    """

    def __init__(self, name: str, words: Sequence[str], vectors: np.ndarray, idf: np.ndarray):
        self.name, self.words = name, list(words)
        # Row by row in memory, as safetensors writes it: another order would come back scrambled.
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self.idf = np.ascontiguousarray(idf, np.float32)
        self._id = {word: i for i, word in enumerate(self.words)}
        fits = vectors.ndim == 2 and len(self._id) == len(vectors) == len(idf)
        sizes = f"{len(self._id)} words, but vectors of shape {vectors.shape}"
        require(fits, f"embedding {name}: {sizes}")
        self._unit = _unit(self.vectors)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        ids = [[self._id[word] for word in words(text) if word in self._id] for text in texts]
        flat = np.fromiter(chain.from_iterable(ids), np.int64)
        ends, shape = np.cumsum([0, *map(len, ids)]), (len(ids), len(self.words))
        return _unit(sparse.csr_matrix((self.idf[flat], flat, ends), shape=shape) @ self._unit)

    def save(self, folder: str | Path) -> Path:
        """Write vectors (safetensors) and vocabulary (JSON) to ``folder``, all or nothing."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({"vectors": self.vectors, "idf": self.idf}, partial / _VECTORS)
        record = json.dumps({"name": self.name, "words": self.words}, ensure_ascii=False)
        (partial / _VOCABULARY).write_text(record, encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        return partial.rename(folder)


class SentenceEmbedding:
    """A sentence-transformers model from the hub or a folder.

    E5 models get the prefix "query: " that they were trained with. ``identity`` is a hash of the
    weights: of a folder's files, or of the hub's name and commit.
    """

    def __init__(self, name: str, device: str | None = None):
        from taskgram_utils.language_models.loading import quiet

        folder, last = Path(name), Path(name).name
        e5 = re.search(r"(^|[-_])e5([-_]|$)", last.lower()) and "instruct" not in last.lower()
        self.name, self._prefix = name, "query: " if e5 else ""
        safe = {"use_safetensors": True}
        try:
            from sentence_transformers import SentenceTransformer

            with quiet():
                self._model = SentenceTransformer(name, device=device, model_kwargs=safe)
        except (ImportError, OSError, ValueError) as error:
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            what = f"neither word vectors nor a sentence-transformers model that loads ({why})"
            advice = "give a folder of either kind; the hub needs pip install -e '.[hub]'"
            raise InputError(f"embedding {name}: {what}; {advice}") from error
        digest = hashlib.sha256(f"{last}\0{self._prefix}".encode())
        files = [p for p in listed(folder) if p.suffix in (".safetensors", ".json")]
        for path in files:
            content = bytes.fromhex(sha256_of(path))
            digest.update(str(path.relative_to(folder)).encode() + content)
        if not folder.is_dir():
            config = getattr(getattr(self._model[0], "auto_model", None), "config", None)
            digest.update(str(getattr(config, "_commit_hash", None)).encode())
        self.identity = digest.hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if not len(texts):
            return np.zeros((0, self._model.get_embedding_dimension()), np.float32)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        prefixed = [self._prefix + texts[i] for i in order]
        rows = self._model.encode(prefixed, batch_size=256, show_progress_bar=False)
        return _unit(rows[np.argsort(order)])


def load_embedding(name: str | Path, device: str | None = None) -> Embedding:
    """A folder of :func:`train_embedding`, or a sentence-transformers folder or name on the hub.

    Its ``encode`` maps texts to rows of length 1, float32 [texts, dimension]. ``device``: of a
    sentence-transformers model, such as cuda; None: a GPU where there is one. Raises
    :class:`~taskgram_utils.errors.InputError` if it is neither or its files do not fit.
    """
    folder = Path(name)
    if not ((folder / _VOCABULARY).is_file() and (folder / _VECTORS).is_file()):
        model = any((folder / file).is_file() for file in ("config.json", "modules.json"))
        what = f"holds neither {_VECTORS} and {_VOCABULARY} nor a sentence-transformers model"
        require(model or not folder.is_dir(), f"embedding {folder}: the folder {what}")
        return SentenceEmbedding(str(name), device)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(folder / _VECTORS)
        record = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
        return WordVectors(record["name"], record["words"], arrays["vectors"], arrays["idf"])
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        what = f"not the word vectors it should hold ({error}); train it again"
        raise InputError(f"embedding {folder}: {what}") from error


def train_embedding(
    corpus: Iterable[str], out: str | Path, dimension: int = 600, seed: int = 0,
    vocabulary: int = 6_000, min_count: int = 2, passage: int = 100, power: float = 0.15,
) -> WordVectors:
    r"""Make word vectors from which words share a passage of a text; save them in ``out``.

    A passage is a document, or a run of ``passage`` words of a longer one. With P shares of
    passages, ``M[a, b] = max(0, log P(a, b) / (P(a) P(b)))``: positive pointwise mutual information
    (Levy & Goldberg 2014), whose diagonal is ``-log P(a)``. The vectors are the rows of ``Q
    L^power`` for the ``dimension`` largest positive eigenvalues L of M and their vectors Q. With
    power 1/2 the products of the vectors are the nearest positive semi-definite matrix of that rank
    to M itself, so that words that occur together (a name and its town, a word and its translation)
    have a high cosine, not only words that occur in similar contexts: ``cos(a, b) ~ M[a, b] /
    sqrt(M[a, a] M[b, b])``. A lower power (Levy, Goldberg & Dagan 2015) gives less weight to the
    few large eigenvalues, which tell kinds of text apart, and so more to the single pair; at 0
    nothing is left to tell pairs by once ``dimension`` nears the vocabulary.

    Kept are the ``vocabulary`` most frequent words of those in ``min_count`` passages or more.
    ``corpus`` is read twice; memory is bounded by the vocabulary. More than 6,000 words are
    factored by a sparse solver, in minutes, not seconds; ``seed`` starts it and changes nothing but
    rounding. Association grows with how often a pair is stated: train on another text than the one
    that is counted (in the miniature the twin world's).

    Raises :class:`~taskgram_utils.errors.InputError` for a dimension below 1, a text of fewer than
    two kept words, and a ``corpus`` that is not the same the second time.
    """
    require(dimension >= 1, f"embedding: dimension must be 1 or more, got {dimension}")
    known, passages, again = Vocabulary(), 0, 0
    count = np.zeros(0)  # of passages, by word
    for holds in _passages(corpus, passage, known, "words"):
        count = np.pad(count, (0, len(known) - len(count)))
        count += np.bincount(holds.indices, minlength=len(known))
        passages += holds.shape[0]
    names = known.words()
    kept = sorted(np.flatnonzero(count >= min_count), key=lambda i: (-count[i], names[i]))
    kept = kept[:vocabulary]
    few = f"only {len(kept)} words occur in {min_count} passages or more of the text"
    require(len(kept) >= 2, f"embedding: {few}")
    together = sparse.csr_matrix((len(kept), len(kept)))  # passages with both words
    for holds in _passages(corpus, passage, known, "pairs"):
        again += holds.shape[0]
        holds = holds[:, : len(names)][:, kept]
        together = together + holds.T @ holds
    same = (again, len(known)) == (passages, len(names))
    require(same, "embedding: the text is not the same when it is read again (give a Corpus or a "
                  "list, not a generator)")
    idf, ppmi = np.log(passages / count[kept]), together.tocoo()
    value = np.log(ppmi.data / passages) + idf[ppmi.row] + idf[ppmi.col]
    matrix = sparse.csr_matrix((np.maximum(value, 0), (ppmi.row, ppmi.col)), shape=ppmi.shape)
    matrix.eliminate_zeros()
    vectors = _factor(matrix, min(dimension, len(kept)), seed, power)
    source = getattr(corpus, "source", "text")
    name = f"word vectors ({source}; {len(kept)} words, {vectors.shape[1]} dimensions)"
    model = WordVectors(name, [names[i] for i in kept], vectors, idf)
    model.save(out)
    return model


class KeptEmbedding:
    """An embedding that keeps every vector that it computes in a file, by a hash of the text.

    The file (SQLite, in ``folder``) is named after the embedding's ``identity``, so that other
    weights have another file.
    """

    def __init__(self, embedding: SentenceEmbedding, folder: str | Path):
        self.embedding, self.name = embedding, embedding.name
        slug = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(embedding.name).name)
        self.path = Path(folder) / f"{slug}-{embedding.identity}.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if not len(texts):
            return self.embedding.encode([])
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        text_of, vectors = dict(zip(keys, texts, strict=True)), {}
        try:
            with closing(sqlite3.connect(self.path, timeout=600)) as file:
                file.execute("CREATE TABLE IF NOT EXISTS vectors "
                             "(text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
                distinct = list(text_of)
                for begin in range(0, len(distinct), _KEPT_AT_ONCE):
                    batch = distinct[begin : begin + _KEPT_AT_ONCE]
                    query = f"SELECT * FROM vectors WHERE text IN (?{', ?' * (len(batch) - 1)})"
                    vectors.update(file.execute(query, batch))
                    if missing := [key for key in batch if key not in vectors]:
                        rows = self.embedding.encode([text_of[key] for key in missing])
                        rows = [row.tobytes() for row in rows.astype("<f4")]
                        fresh = list(zip(missing, rows, strict=True))
                        with file:
                            file.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", fresh)
                        vectors.update(fresh)
        except sqlite3.Error as error:
            what = f"cannot be used ({error}); remove it, vectors are made again"
            raise InputError(f"{self.path}: {what}") from error
        joined = b"".join(vectors[key] for key in keys)
        return np.frombuffer(joined, "<f4").reshape(len(keys), -1)


def kept_embedding(name: str | Path, folder: str | Path, device: str | None = None) -> Embedding:
    """:func:`load_embedding`, with vectors of sentence-transformers kept in ``folder``."""
    model = load_embedding(name, device)
    return KeptEmbedding(model, folder) if isinstance(model, SentenceEmbedding) else model


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; rows of zeros stay."""
    rows = np.asarray(rows, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _passages(texts: Iterable[str], size: int, known: Vocabulary, what: str) -> Iterator[Any]:
    """Which passage holds which word: csr_matrix, 0 or 1 [passages, words], per block of texts."""
    bar = Bar(texts, desc=f"embedding: {what}", unit=" documents", disable=None, leave=False)
    for block in lists(bar, 1 << 22):
        ids, lengths = known.encode(block, grow=True)
        place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        pieces = -(-lengths // size)  # passages of each document
        passage = np.repeat(np.cumsum(pieces) - pieces, lengths) + place // size
        shape = int(pieces.sum()), len(known)
        holds = sparse.csr_matrix((np.ones(len(ids)), (passage, ids)), shape=shape)
        holds.data[:] = 1
        yield holds


def _factor(matrix: sparse.csr_matrix, dimension: int, seed: int, power: float) -> np.ndarray:
    """Q L^power of the largest positive eigenvalues, largest first.

    The largest entry of each column is positive.
    """
    size = matrix.shape[0]
    if size <= _DENSE or dimension >= size - 1:
        largest = [size - dimension, size - 1]
        values, vectors = linalg.eigh(matrix.toarray(), subset_by_index=largest, overwrite_a=True)
    else:
        start = np.random.default_rng(seed).standard_normal(size)
        values, vectors = eigsh(matrix, k=dimension, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 1e-9 * values.max()]
    values, vectors = values[order], vectors[:, order]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    return vectors * (signs * values**power)
