"""A corpus as an infini-gram index: built with words as tokens, or downloaded; asked whole batches at a time."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csc_array, csr_array
from tqdm import tqdm

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting import suffix_array
from taskgram_utils.counting.base import Counts, Pairs, check_unit, half_of, numbered, with_total
from taskgram_utils.counting.tokens import UNKNOWN, Vocabulary, blocks, encode_ngrams
from taskgram_utils.errors import InputError, require
from taskgram_utils.ngrams import word_spans

WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4"}
# infini-gram's engine knows its files by these names anywhere in their path, and crashes where a folder has one.
RESERVED = ("tokenized", "table", "offset", "metadata", "metaoff", "unigram")
BACKOFF = 0.4
_SAMPLE = 1000  # neighbours in the suffix array whose order is checked at opening
_DENSE = 1 << 30  # up to so many tokens the places of all first tokens are kept


class Infinigram(NamedTuple):
    """∞-gram probabilities of k target words, all texts one after the other."""

    logp: np.ndarray  # natural log, with back-off [k]
    seen: np.ndarray  # the same with the probability of the tokens counted in ``zero`` set to one [k]
    zero: np.ndarray  # tokens of the word that never follow the longest suffix of their context that occurs [k]
    suffix: np.ndarray  # length of that suffix, in tokens (of the first token of the word) [k]
    tokens: np.ndarray  # tokens of the word [k]
    words: np.ndarray  # target words of each text


def build_index(
    corpus: Iterable[str] | str | Path, out: str | Path, tokenizer: str | Path | None = None, progress: bool = True
) -> Index:
    """Build an infini-gram index of ``corpus`` in the new folder ``out`` and open it.

    Tokens are the words of :mod:`taskgram_utils.ngrams`, numbered in ``vocabulary.txt`` (u16, above 65,534 words u32),
    or those of a Hugging Face ``tokenizer`` file. The text of each document is kept as its metadata. The index is
    built beside ``out``, verified and renamed, so that ``out`` is whole or absent.

    Raises InputError where ``out`` exists and is not empty, or the corpus cannot be read.
    """
    texts, out = Corpus(corpus) if isinstance(corpus, (str, Path)) else corpus, Path(out)
    require(not out.exists() or (out.is_dir() and not any(out.iterdir())), f"index {out}: exists; remove it first")
    if any(word in str(out.resolve()) for word in RESERVED):
        warnings.warn(f"index {out}: infini-gram's own engine cannot open a path with {RESERVED} in it", stacklevel=2)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _write(texts, work, tokenizer, progress)
        Index(work)
        work.chmod(0o755)
        os.replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Index(out)


def _write(texts: Iterable[str], out: Path, tokenizer: str | Path | None, progress: bool) -> None:
    coder = _Words() if tokenizer is None else _Pieces(tokenizer)
    ids, lengths, at = [], [], 0
    with (
        (out / "metadata.0").open("wb") as metadata,
        (out / "metaoff.0").open("wb") as metaoff,
        tqdm(desc="index", unit=" documents", unit_scale=True, disable=None if progress else True) as bar,
    ):
        for block in blocks(texts):
            found, counts = coder.encode(block, grow=True)
            ids.append(found)
            lengths.append(counts)
            lines = [json.dumps({"text": text}).encode() + b"\n" for text in block]
            ends = at + np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
            metaoff.write(np.concatenate([[at], ends[:-1]]).astype("<u8").tobytes())
            metadata.write(b"".join(lines))
            at = int(ends[-1])
            bar.update(len(block))
    require(ids, "index: the corpus holds no document")
    ids, lengths = np.concatenate(ids), np.concatenate(lengths)
    width = 2 if len(coder) <= 65_534 else 4
    separator = (1 << 8 * width) - 1
    starts = np.concatenate([[0], np.cumsum(lengths[:-1] + 1)])
    tokens = np.full(len(ids) + len(lengths), separator, WIDTHS[width])
    inside = np.ones(len(tokens), bool)
    inside[starts] = False
    tokens[inside] = ids
    tokens.tofile(out / "tokenized.0")
    (starts * width).astype("<u8").tofile(out / "offset.0")
    counts = np.bincount(ids, minlength=len(coder))
    unigram = [f"{i} {c}\n" for i, c in enumerate(counts.tolist()) if c]
    (out / "unigram.0").write_text("".join([*unigram, f"{separator} {len(lengths)}\n"]))
    coder.save(out)
    used = np.flatnonzero(counts)
    rank = np.zeros(len(coder), np.int32)
    rank[used[np.argsort(_swapped(used, width))]] = np.arange(len(used), dtype=np.int32)
    symbols = np.full(len(tokens), len(used), np.int32)  # the separator's bytes are above all others
    symbols[inside] = rank[ids]
    order = suffix_array.build(symbols, len(used) + 1)
    pointer = _pointer_width(tokens.nbytes)
    with (out / "table.0").open("wb") as table:
        for begin in range(0, len(order), 1 << 22):
            places = (order[begin : begin + (1 << 22)].astype("<u8") * width).view(np.uint8).reshape(-1, 8)
            table.write(places[:, :pointer].tobytes())
    about = {
        "tokenizer": coder.name, "width": width, "vocabulary": len(used), "source": getattr(texts, "source", "texts")
    }  # fmt: skip
    (out / "index.json").write_text(json.dumps(about))


def _swapped(ids: np.ndarray, width: int) -> np.ndarray:
    """Token ids as the numbers their bytes would be read as in the order in which they stand: the index's order."""
    return ids.astype(WIDTHS[width]).byteswap().astype(np.int64) if width > 1 else ids.astype(np.int64)


def _pointer_width(size: int) -> int:
    return max(1, ((size - 1).bit_length() + 7) // 8)  # = ceil(log2(size) / 8)


class _Shard(NamedTuple):
    tokens: np.ndarray
    table: np.ndarray
    offsets: np.ndarray
    width: int


def _shard(file: Path) -> _Shard:
    """Map the three files of a shard, after checking that they fit each other."""
    where, number, size = f"index {file.parent}", file.suffix[1:], file.stat().st_size
    table, offset = (file.with_name(f"{name}.{number}") for name in ("table", "offset"))
    for path in (table, offset):
        require(path.exists(), f"{where}: no {path.name} in it; build it again")
    pointer, entries = _pointer_width(size), table.stat().st_size
    widths = [w for w in WIDTHS if size and size % w == 0 and size // w * pointer == entries]
    require(widths, f"{where}: {entries} bytes of {table.name} do not fit {size} of {file.name}; build it again")
    width, bytes_ = widths[0], offset.stat().st_size
    require(bytes_ and bytes_ % 8 == 0, f"{where}: {offset.name} has {bytes_} bytes, no multiple of 8; build it again")
    # Arrays of numpy's own class over the maps: the compiled code knows no other.
    tokens, offsets = np.asarray(np.memmap(file, WIDTHS[width], "r")), np.asarray(np.memmap(offset, "<i8", "r"))
    some = offsets[np.linspace(0, len(offsets) - 1, min(_SAMPLE, len(offsets))).astype(np.int64)]
    fit = some[0] == 0 and np.all(np.diff(some) > 0) and some[-1] < size and not np.any(some % width)
    fit = fit and np.all(tokens[some // width] == (1 << 8 * width) - 1)
    require(fit, f"{where}: {offset.name} does not point at the document separators of {file.name}; build it again")
    return _Shard(tokens, np.asarray(np.memmap(table, np.uint8, "r")).reshape(-1, pointer), offsets, width)


def _first_places(tokens: np.ndarray, width: int) -> np.ndarray:
    """For each token id, the first rank and last + 1 of the suffixes that begin with it [ids, 2]; none if too large."""
    if len(tokens) > _DENSE:
        return np.zeros((0, 2), np.int64)
    separator, counts = (1 << 8 * width) - 1, np.zeros(0, np.int64)
    for begin in range(0, len(tokens), 1 << 22):
        part = tokens[begin : begin + (1 << 22)]
        part = np.bincount(part[part != separator])
        counts, part = (np.pad(c, (0, max(len(counts), len(part)) - len(c))) for c in (counts, part))
        counts += part
    order = np.argsort(_swapped(np.arange(len(counts)), width))
    ends = np.empty(len(counts), np.int64)
    ends[order] = np.cumsum(counts[order])
    return np.stack([ends - counts, ends], axis=1)


class _Words:
    """Tokens are words; ``vocabulary.txt`` holds one a line, in the order of their numbers."""

    name = "words"

    def __init__(self, folder: Path | None = None):
        text = "" if folder is None else (folder / "vocabulary.txt").read_text("utf-8", "surrogatepass")
        listed = text.split("\n")[:-1]
        self.vocabulary = Vocabulary(listed)
        require(len(self.vocabulary) == len(listed), f"{folder}/vocabulary.txt: a line is not one word, or repeats one")

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        return self.vocabulary.encode(texts, grow)

    def decode(self, ids: Sequence[int]) -> str:
        listed = self.vocabulary.words()
        return " ".join(listed[i] for i in ids)

    def save(self, folder: Path) -> None:
        (folder / "vocabulary.txt").write_text("".join(f"{w}\n" for w in self.vocabulary.words()), "utf-8")


class _Pieces:
    """Tokens are those of a Hugging Face tokenizer file; an asked n-gram is encoded as it stands after a space."""

    name = "pieces"

    def __init__(self, path: str | Path):
        from tokenizers import Tokenizer

        require(Path(path).is_file(), f"tokenizer {path}: no such file")
        self.tokenizer = Tokenizer.from_file(str(path))

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        if not grow:
            texts = [" " + text.strip() for text in texts]
        pieces = [e.ids for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return np.array([i for p in pieces for i in p], np.int32), np.array([len(p) for p in pieces], np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode([int(i) for i in ids])

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / "tokenizer.json"))


def _split(text: Sequence[str] | str) -> list[str]:
    return [text[w.start : w.end] for w in word_spans(text)] if isinstance(text, str) else list(text)


class Index:
    """An infini-gram index on disk, of one shard or several: a :class:`~taskgram_utils.counting.base.Counter`.

    Opens what :func:`build_index` or infini-gram's own indexing has written; for the latter ``tokenizer`` names the
    Hugging Face tokenizer file of its tokens. The files are read in place. Counts are exact; with a sub-word tokenizer
    they are counts of the n-gram's pieces, which is not quite its words, and ``exact`` says False.

    Raises InputError for a folder that is no index, or one with files that do not fit each other.
    """

    def __init__(self, path: str | Path, tokenizer: str | Path | None = None, unit: str = "documents"):
        self.path, self.unit = Path(path), check_unit(unit)
        require(self.path.is_dir(), f"index {self.path}: no such folder")
        files = sorted(self.path.glob("tokenized.*"), key=lambda p: int(p.suffix[1:]))
        require(files, f"index {self.path}: no tokenized.0 in it; build one with `taskgram index`")
        shards = [_shard(file) for file in files]
        self.width = shards[0].width
        require(all(s.width == self.width for s in shards), f"index {self.path}: shards of different token widths")
        self._tokens, self._tables = tuple(s.tokens for s in shards), tuple(s.table for s in shards)
        self._offsets = tuple(s.offsets for s in shards)
        for s, (tokens, table) in enumerate(zip(self._tokens, self._tables, strict=True)):
            broken = suffix_array.disorder(tokens, table, self.width, _SAMPLE)
            require(broken < 0, f"index {self.path}: table.{s} is not in order at rank {broken}; build it again")
        about = self.path / "index.json"
        self.about = json.loads(about.read_text()) if about.exists() else {}
        if tokenizer is not None or (self.path / "tokenizer.json").exists():
            self._coder = _Pieces(tokenizer or self.path / "tokenizer.json")
        else:
            require(
                (self.path / "vocabulary.txt").exists(),
                f"index {self.path}: no vocabulary.txt in it; name the tokenizer file its tokens are of",
            )
            self._coder = _Words(self.path)
        self.exact = isinstance(self._coder, _Words)
        self.source = f"{self.about.get('source', self.path.name)}, index"
        self.documents = sum(map(len, self._offsets))
        self.tokens = sum(map(len, self._tokens)) - self.documents
        self.vocabulary = self.about.get("vocabulary", len(self._coder))
        self._first = tuple(_first_places(t, self.width) for t in self._tokens)

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False) -> Counts:
        """C(s) of the n-grams and C((s^x, s^y)) of the pairs; see :class:`~taskgram_utils.counting.base.Counts`."""
        distinct, at, pair_at = numbered(ngrams, pairs)
        ranges = self._ranges(distinct)
        half = half_of(np.arange(self.documents)) if halves else np.zeros(self.documents, np.int8)
        single = np.stack([(ranges[1] - ranges[0]).sum(axis=1), np.zeros(len(distinct), np.int64)])
        by_document = self.unit == "documents" or halves
        needed = np.arange(len(distinct)) if by_document else np.unique(pair_at)
        pointers, documents, occurrences = self._postings(ranges[:, needed])
        if by_document:
            weights = np.ones_like(occurrences) if self.unit == "documents" else occurrences
            single = suffix_array.weigh(pointers, documents, weights, half)
        a, b = np.searchsorted(needed, pair_at).T
        joint = suffix_array.intersect(pointers, documents, a, b, half)
        return Counts(with_total(single[:, at], halves), with_total(joint, halves))

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs: int64 [m]."""
        return self.counts(pairs=pairs).pairs

    def pair_matrix(self, xs: Sequence[str], ys: Sequence[str]) -> np.ndarray:
        """C((s^x, s^y)) of every x with every y: int64 [len(xs), len(ys)]."""
        # In the order of the documents on both sides: one stream through y for each x.
        x, y = self._incidence(xs).tocsr(), self._incidence(ys)
        return suffix_array.product(x.indptr, x.indices, y.indptr, y.indices, len(ys))

    def _incidence(self, ngrams: Sequence[str]) -> csc_array:
        """Which n-gram is in which document, [k, documents]."""
        pointers, documents, _ = self._postings(self._ranges(ngrams))
        shape = len(ngrams), self.documents
        return csr_array((np.ones(len(documents), np.int8), documents, pointers), shape=shape).tocsc()

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents that hold both n-grams (or ``sx``, where ``sy`` is None).

        The document's text where the index keeps it, else its tokens read back (of a word index: words and spaces).
        """
        pointers, documents, _ = self._postings(self._ranges([sx, sx if sy is None else sy]))
        both = np.intersect1d(*np.split(documents, pointers[1:2]))
        return [self._text(d) for d in both[:k].tolist()]

    def infinigram(self, contexts: Sequence[Sequence[str] | str], targets: Sequence[Sequence[str] | str]) -> Infinigram:
        """∞-gram probabilities of every word of ``targets[i]`` after ``contexts[i]`` and the target words before it.

        Texts, or lists of the words as they stand in them. P(t | c) = C(c' t) / C(c') for the longest suffix c' of c
        that occurs (Liu et al. 2024, infini-gram). Where t never follows it, c' is shortened token by token, each step
        times .4, and the probability is never below 1 / (N + V), N the tokens and V the vocabulary of the corpus.
        """
        contexts, targets = ([_split(text) for text in side] for side in (contexts, targets))
        require(len(contexts) == len(targets), "infinigram: as many contexts as targets are needed")
        flat = [word for c, t in zip(contexts, targets, strict=True) for word in (*c, *t)]
        pieces = [self._coder.encode(block) for block in blocks(flat)]
        ids = np.concatenate([p[0] for p in pieces]) if pieces else np.zeros(0, np.int32)
        sizes = np.concatenate([p[1] for p in pieces]) if pieces else np.zeros(0, np.int64)
        if not sizes.all():
            raise InputError(f"infinigram: {flat[int(np.argmin(sizes))]!r} holds no word")
        place = np.concatenate([[0], np.cumsum(sizes)])
        before, words = (np.array([len(text) for text in side], np.int64) for side in (contexts, targets))
        ends = np.cumsum(before + words)
        target = np.arange(words.sum()) + np.repeat(ends - np.cumsum(words), words)
        logp, zero, suffix = suffix_array.infinigram(
            self._tokens, self._tables, self._first, self.width, self._keys(ids), place[ends - words - before],
            place[ends - words], place[ends], self.tokens, BACKOFF, 1 / (self.tokens + self.vocabulary),
        )  # fmt: skip
        sums = (np.add.reduceat(a, place[:-1])[target] if len(ids) else a for a in (logp, logp * (1 - zero), zero))
        return Infinigram(*sums, suffix[place[target]], sizes[target], words)

    def _keys(self, ids: np.ndarray) -> np.ndarray:
        """Token ids in the order of the index; an unknown word stays negative and is found nowhere."""
        return np.where(ids == UNKNOWN, UNKNOWN, _swapped(ids, self.width))

    def _ranges(self, ngrams: Sequence[str]) -> np.ndarray:
        """Where the suffixes that begin with each n-gram stand: first and last + 1 rank, [2, k, shards]."""
        if self.exact:
            ids, sizes = encode_ngrams(ngrams, self._coder.vocabulary, grow=False)
        else:
            encode_ngrams(ngrams, Vocabulary(), grow=True)  # for its refusal of what holds no word
            ids, sizes = self._coder.encode(ngrams)
        ends = np.cumsum(sizes)
        return suffix_array.search(
            self._tokens, self._tables, self._first, self.width, self._keys(ids), ends - sizes, ends
        )

    def _postings(self, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For k n-grams, where their documents begin and end in the second array [k + 1], the documents, and how often
        the n-gram occurs in each."""
        before = np.cumsum([0, *map(len, self._offsets)])
        hints, shifts = self._hints
        ranges = np.ascontiguousarray(ranges)
        return suffix_array.postings(self._tables, self._offsets, hints, shifts, before, ranges, self.width)

    @cached_property
    def _hints(self) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
        """For every 2^shift tokens of a shard, about as many as a document has, the document of the first."""
        shifts = tuple(len(t) // len(o) for t, o in zip(self._tokens, self._offsets, strict=True))
        shifts = tuple(max(0, size.bit_length() - 1) for size in shifts)
        hints = tuple(
            (np.searchsorted(o, np.arange(0, len(t), 1 << k) * self.width, side="right") - 1).astype(np.int32)
            for t, o, k in zip(self._tokens, self._offsets, shifts, strict=True)
        )
        return hints, shifts

    def _text(self, document: int) -> str:
        shard = 0
        while document >= len(self._offsets[shard]):
            document -= len(self._offsets[shard])
            shard += 1
        places = self.path / f"metaoff.{shard}"
        if places.exists():
            with (self.path / f"metadata.{shard}").open("rb") as f:
                f.seek(int(np.memmap(places, "<u8", "r")[document]))
                kept = json.loads(f.readline())
            if "text" in kept:
                return kept["text"]
        begin = self._offsets[shard][document] // self.width + 1
        rest = self._offsets[shard][document + 1 :][:1] // self.width
        return self._coder.decode(self._tokens[shard][begin : rest[0] if len(rest) else None].tolist())
