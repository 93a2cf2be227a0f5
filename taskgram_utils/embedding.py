"""Text embeddings for mining: sentence-transformers models, and word vectors made from a text's own co-occurrences."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import eigsh

from taskgram_utils.counting.engine import Vocabulary
from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed
from taskgram_utils.ngrams import words
from taskgram_utils.progress import Bar
from taskgram_utils.reading import lists

_VECTORS, _VOCABULARY = "vectors.safetensors", "vocabulary.json"
_DENSE = 6_000  # words up to which the dense eigensolver is the faster one
_KEPT_AT_ONCE = 1 << 14


class Embedding(Protocol):
    """What mining asks of an embedding: a name for the record, and unit vectors for a batch of texts."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [len(texts), dimension], rows of length 1; a text the embedding knows nothing of is a zero row."""
        ...


class WordVectors:
    """Word vectors of a text; an n-gram is the idf-weighted mean of its words' unit vectors.

    ``words``: the vocabulary; ``vectors``: float32 [words, dimension]; ``idf``: float32 [words], log(passages /
    passages with the word). Words outside the vocabulary weigh nothing.
    """

    def __init__(self, name: str, words: Sequence[str], vectors: np.ndarray, idf: np.ndarray):
        self.name, self.words = name, list(words)
        # Row by row in memory: safetensors writes it as it lies, so that another order would come back scrambled.
        self.vectors, self.idf = np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(idf, np.float32)
        self._id = {w: i for i, w in enumerate(self.words)}
        require(
            vectors.ndim == 2 and len(self._id) == len(vectors) == len(idf),
            f"embedding {name}: {len(self._id)} words, but vectors of shape {vectors.shape}",
        )
        self._unit = _unit(self.vectors)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        ids = [[self._id[w] for w in words(text) if w in self._id] for text in texts]
        flat = np.fromiter((i for row in ids for i in row), np.int64)
        ends = np.cumsum([0, *map(len, ids)])
        weights = sparse.csr_matrix((self.idf[flat], flat, ends), shape=(len(ids), len(self.words)))
        return _unit(weights @ self._unit)

    def save(self, folder: str | Path) -> Path:
        """Write the vectors (safetensors) and the vocabulary (JSON) to ``folder``, all at once or not at all."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({"vectors": self.vectors, "idf": self.idf}, partial / _VECTORS)
        record = {"name": self.name, "words": self.words}
        (partial / _VOCABULARY).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        return partial.rename(folder)


class SentenceEmbedding:
    """A sentence-transformers model from the hub or a folder; E5 models get the ``query: `` they were trained with."""

    def __init__(self, name: str, device: str | None = None, batch: int = 256):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            advice = "for a sentence-transformers model: pip install -e '.[hub]'"
            raise InputError(f"embedding {name}: no such folder of word vectors; {advice}") from error
        self.name, self._batch = name, batch
        base = Path(name).name.lower()
        self._prefix = "query: " if re.search(r"(^|[-_])e5([-_]|$)", base) and "instruct" not in base else ""
        from taskgram_utils.language_models.loading import quiet

        try:
            with quiet():
                self._model = SentenceTransformer(name, device=device, model_kwargs={"use_safetensors": True})
        except (OSError, ValueError) as error:
            why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(
                f"embedding {name}: neither word vectors nor a sentence-transformers model to be had here ({why})"
            ) from error
        self.identity = self._identity()

    def _identity(self) -> str:
        """A hash of which weights these are: of a folder's files, or of the hub's name and commit."""
        digest = hashlib.sha256(f"{Path(self.name).name}\0{self._prefix}".encode())
        folder = Path(self.name)
        if folder.is_dir():
            for path in (p for p in listed(folder) if p.suffix in (".safetensors", ".json")):
                with path.open("rb") as f:
                    digest.update(str(path.relative_to(folder)).encode() + hashlib.file_digest(f, "sha256").digest())
        else:
            config = getattr(getattr(self._model[0], "auto_model", None), "config", None)
            digest.update(str(getattr(config, "_commit_hash", None)).encode())
        return digest.hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        # One progress bar for long work, none in a pipe: the library's own knows no such rule.
        blocks = range(0, len(texts), 64 * self._batch)
        order = np.argsort([-len(t) for t in texts], kind="stable")
        out: np.ndarray | None = None
        for i in Bar(blocks, desc="embedding", unit="block", disable=None, leave=False):
            rows = order[i : i + 64 * self._batch]
            vectors = self._model.encode(
                [self._prefix + texts[j] for j in rows], batch_size=self._batch, show_progress_bar=False
            )
            out = np.empty((len(texts), vectors.shape[1]), np.float32) if out is None else out
            out[rows] = vectors
        return _unit(out) if out is not None else np.zeros((0, self._model.get_embedding_dimension()), np.float32)


def load_embedding(name: str | Path, device: str | None = None) -> Embedding:
    """The embedding of that name: a folder of :func:`train_embedding`, or a sentence-transformers folder or hub name.

    Raises :class:`~taskgram_utils.errors.InputError` where it is none of them or its files do not fit together.
    """
    folder = Path(name)
    if (folder / _VOCABULARY).is_file() and (folder / _VECTORS).is_file():
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays, record = (
                load_file(folder / _VECTORS),
                json.loads((folder / _VOCABULARY).read_text(encoding="utf-8")),
            )
            return WordVectors(record["name"], record["words"], arrays["vectors"], arrays["idf"])
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(
                f"embedding {folder}: not the word vectors it should hold ({error}); train it again"
            ) from error
    require(
        not folder.is_dir() or (folder / "config.json").is_file() or (folder / "modules.json").is_file(),
        f"embedding {folder}: the folder holds neither {_VECTORS} and {_VOCABULARY} nor a sentence-transformers model",
    )
    return SentenceEmbedding(str(name), device)


def train_embedding(
    corpus: Iterable[str],
    out: str | Path,
    dimension: int = 600,
    seed: int = 0,
    vocabulary: int = 6_000,
    min_count: int = 2,
    passage: int = 100,
    power: float = 0.15,
) -> WordVectors:
    r"""Make word vectors of a text from which words share a passage, save them in ``out`` and return them.

    A passage is a document, cut into runs of ``passage`` words where it is longer. With P shares of passages, ``M[a,
    b] = max(0, log P(a, b) / (P(a) P(b)))`` (positive pointwise mutual information; Levy & Goldberg 2014), whose
    diagonal is ``-log P(a)``. The vectors are the rows of ``Q L^power`` for the ``dimension`` largest positive
    eigenvalues. With power 1/2 their products are the nearest positive semi-definite matrix of that rank to M itself,
    so that words that stand together (a name and its town, a word and its translation) have a high cosine, not only
    words that stand in like places: ``cos(a, b) ~ M[a, b] / sqrt(M[a, a] M[b, b])``. A lower power (Levy, Goldberg &
    Dagan 2015) gives less weight to the few large eigenvalues, which tell kinds of text apart, and so more to the
    single pair; at 0 nothing is left to tell pairs by once ``dimension`` nears the vocabulary.

    The ``vocabulary`` most frequent words seen in ``min_count`` passages or more are kept. ``corpus`` is read twice;
    memory is bounded by the vocabulary. More than 6,000 words are factored by a sparse solver, in minutes, not
    seconds; ``seed`` starts it and changes nothing but rounding. Association grows with how often a pair is stated:
    train on another text than the one that is counted (METHOD: the twin world's).

    Raises :class:`~taskgram_utils.errors.InputError` for a dimension below 1, a text of fewer than two kept words,
    and a ``corpus`` that reads otherwise the second time.
    """
    require(dimension >= 1, f"embedding: dimension must be 1 or more, got {dimension}")
    met = Vocabulary()
    count, passages = np.zeros(0), 0
    for seen in _passages(corpus, passage, met, "words"):
        count = np.pad(count, (0, len(met) - len(count))) + np.bincount(seen.indices, minlength=len(met))
        passages += seen.shape[0]
    names, again = met.words(), 0
    kept = sorted(np.flatnonzero(count >= min_count), key=lambda i: (-count[i], names[i]))[:vocabulary]
    require(len(kept) >= 2, f"embedding: only {len(kept)} words occur in {min_count} passages or more of the text")
    together = sparse.csr_matrix((len(kept), len(kept)))
    for seen in _passages(corpus, passage, met, "pairs"):
        again += seen.shape[0]
        seen = seen[:, : len(names)][:, kept]
        together = together + seen.T @ seen
    require(
        again == passages and len(met) == len(names),
        "embedding: the second reading of the text differs from the first (give a Corpus or a list, not a generator)",
    )
    idf, ppmi = np.log(passages / count[kept]), together.tocoo()
    value = np.log(ppmi.data / passages) + idf[ppmi.row] + idf[ppmi.col]
    matrix = sparse.csr_matrix((np.maximum(value, 0), (ppmi.row, ppmi.col)), shape=ppmi.shape)
    matrix.eliminate_zeros()
    vectors = _factor(matrix, min(dimension, len(kept)), seed, power)
    name = f"word vectors ({getattr(corpus, 'source', 'text')}; {len(kept)} words, {vectors.shape[1]} dimensions)"
    model = WordVectors(name, [names[i] for i in kept], vectors, idf)
    model.save(out)
    return model


class KeptEmbedding:
    """An embedding that keeps every vector it was asked for in a file, by a hash of the text, and asks once for each.

    The file (SQLite, in ``folder``) is named after the embedding's ``identity``, so that other weights have another.
    """

    def __init__(self, embedding: SentenceEmbedding, folder: str | Path):
        self.embedding, self.name = embedding, embedding.name
        slug = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(embedding.name).name)
        self.path = Path(folder) / f"{slug}-{embedding.identity}.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        try:
            with closing(sqlite3.connect(self.path, timeout=600)) as file:
                file.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
                known = self._known(file, list(dict.fromkeys(keys)))
                missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
                asked = list(missing.items())
                for at in range(0, len(asked), _KEPT_AT_ONCE):
                    part = asked[at : at + _KEPT_AT_ONCE]
                    rows = self.embedding.encode([text for _, text in part])
                    found = [(key, row.astype("<f4").tobytes()) for (key, _), row in zip(part, rows, strict=True)]
                    with file:
                        file.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", found)
                    known.update(found)
        except sqlite3.Error as error:
            raise InputError(f"{self.path}: cannot be used ({error}); remove it, vectors are made again") from error
        if not keys:
            return self.embedding.encode([])
        return np.frombuffer(b"".join(known[key] for key in keys), "<f4").reshape(len(keys), -1)

    @staticmethod
    def _known(file: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
        found = {}
        for at in range(0, len(keys), 500):
            part = keys[at : at + 500]
            places = ", ".join("?" * len(part))
            found.update(file.execute(f"SELECT text, vector FROM vectors WHERE text IN ({places})", part))
        return found


def kept_embedding(name: str | Path, folder: str | Path, device: str | None = None) -> Embedding:
    """:func:`load_embedding`, the vectors of a sentence-transformers model kept in ``folder``."""
    found = load_embedding(name, device)
    return KeptEmbedding(found, folder) if isinstance(found, SentenceEmbedding) else found


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _passages(corpus: Iterable[str], size: int, met: Vocabulary, what: str) -> Iterator[sparse.csr_matrix]:
    """Which passage holds which word: 0 or 1 [passages, words met so far], a block of documents at a time."""
    bar = Bar(corpus, desc=f"embedding: {what}", unit=" documents", disable=None, leave=False)
    for block in lists(bar, 1 << 22):
        ids, lengths = met.encode(block, grow=True)
        place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        pieces = -(-lengths // size)
        passage = np.repeat(np.cumsum(pieces) - pieces, lengths) + place // size
        seen = sparse.csr_matrix((np.ones(len(ids)), (passage, ids)), shape=(int(pieces.sum()), len(met)))
        seen.data[:] = 1
        yield seen


def _factor(matrix: sparse.csr_matrix, dimension: int, seed: int, power: float) -> np.ndarray:
    """Q L^power of the largest positive eigenvalues, largest first, each column's largest entry positive."""
    size = matrix.shape[0]
    if size <= _DENSE or dimension >= size - 1:
        values, vectors = linalg.eigh(matrix.toarray(), subset_by_index=[size - dimension, size - 1], overwrite_a=True)
    else:
        start = np.random.default_rng(seed).standard_normal(size)
        values, vectors = eigsh(matrix, k=dimension, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 1e-9 * values.max()]
    values, vectors = values[order], vectors[:, order]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    return vectors * (signs * values**power)
