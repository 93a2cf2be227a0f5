"""A corpus as an infini-gram index: built with words as tokens, or downloaded; read in batches."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from taskgram_utils.cluster import locked
from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.base import (
    Counter, Counts, Pairs, Surfaces, as_lists, numbered, sizes)
from taskgram_utils.counting.engine import (
    BLOCK, UNKNOWN, Asked, Edges, Reader, SubwordTokenizer, WordTokenizer, infinigram, open_shards,
    pair_counts, search, shared_documents, single_counts, swapped, write_shard)
from taskgram_utils.errors import InputError, InputWarning, require
from taskgram_utils.folders import sha256_of
from taskgram_utils.ngrams import unspaced, word_spans, written
from taskgram_utils.progress import Bar
from taskgram_utils.reading import lists
from taskgram_utils.round_trip import lost

# infini-gram's engine finds its files by these names, and crashes where a folder's name has one.
RESERVED = ("tokenized", "table", "offset", "metadata", "metaoff", "unigram")
BACKOFF = 0.4
TOKENS_PER_SHARD = 1 << 30  # building takes some 20 bytes of memory for each


class Infinigram(NamedTuple):
    """∞-gram probabilities of k target words, all texts one after the other."""

    logp: np.ndarray  # natural log, with back-off [k]
    seen: np.ndarray  # the same with the probability of the tokens counted in ``zero`` set to 1 [k]
    zero: np.ndarray  # tokens of the word that never follow the longest suffix that occurs [k]
    suffix: np.ndarray  # length of that suffix of the word's context, for its first token [k]
    tokens: np.ndarray  # tokens of the word [k]
    words: np.ndarray  # target words of each text


def build_index(corpus: Iterable[str] | str | Path, out: str | Path,
                tokenizer: str | Path | None = None, progress: bool = True,
                tokens_per_shard: int = TOKENS_PER_SHARD) -> Index:
    """Build an infini-gram index of ``corpus`` in the new folder ``out`` and open it.

    Tokens are the words of :mod:`taskgram_utils.ngrams`, numbered in ``vocabulary.txt`` (u16, above
    65,534 words u32), or those of a Hugging Face ``tokenizer`` file. The text of each document is
    kept as its metadata. A corpus of more than ``tokens_per_shard`` is cut into shards, between
    documents. The index is built beside ``out`` in the folder ``.NAME.building``, opened, which
    checks it, and renamed, so that ``out`` is whole or absent. What a killed building left there is
    removed, and a warning says so.

    Raises InputError where ``out`` exists and is not empty, cannot be written or is being built,
    the corpus cannot be read, or the tokenizer loses spaces, line breaks, accents or digits or
    cannot spell a text (upper case may be lost).
    """
    texts, out = Corpus(corpus) if isinstance(corpus, (str, Path)) else corpus, Path(out)
    require(0 < tokens_per_shard < 1 << 31, f"tokens_per_shard {tokens_per_shard}: not 1 to 2^31")
    require(not out.exists() or (out.is_dir() and not any(out.iterdir())),
            f"index {out}: exists; remove it first")
    if any(word in str(out.resolve()) for word in RESERVED):
        why = f"infini-gram's own engine cannot open a path with {RESERVED} in it"
        warnings.warn(f"index {out}: {why}", InputWarning, stacklevel=2)
    coder = WordTokenizer() if tokenizer is None else SubwordTokenizer(tokenizer)
    changed = lost(coder.tokenizer, fold=str.lower) if tokenizer is not None else ""
    require(not changed, f"tokenizer {tokenizer}: loses text: {changed}; "
                         "its counts would be of other n-grams")
    work = out.with_name(f".{out.name}.building")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with locked(f"{work}.lock", f"index {out}"):
            try:
                if work.exists():
                    shutil.rmtree(work)
                    left = f"removed {work}, which a killed building had left"
                    warnings.warn(f"index {out}: {left}", InputWarning, stacklevel=2)
                work.mkdir()
                _write(texts, work, coder, progress, tokens_per_shard)
                index = Index(work)
                os.replace(work, out)
                index.path = out
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise InputError(f"index {out}: not written ({error.strerror or error}); "
                         "free space or name another place") from error
    return index


def _write(texts: Iterable[str], folder: Path, coder: WordTokenizer | SubwordTokenizer,
           progress: bool, tokens_per_shard: int) -> None:
    """Write all files of an index: of its shards, of the coder, and ``index.json``.

    While the corpus is read, a shard's token ids take four bytes in a file of their own, since the
    number of words, and with it the width of a token in the index, is not known before the end.
    """
    shard, tokens = -1, tokens_per_shard  # the one that is written to, and the tokens it has
    with Bar(desc="index", unit=" documents", unit_scale=True, disable=not progress) as bar:
        # A character is at most four tokens, so that all but long documents fit in a shard.
        for block in lists(texts, min(BLOCK, tokens_per_shard // 4)):
            ids, lengths = coder.encode(block, grow=True)
            size = len(ids) + len(block)  # with a separator before each document
            if tokens + size > tokens_per_shard:
                shard, tokens = shard + 1, 0
            tokens += size
            require(tokens < 1 << 31,
                    "index: a document of more than 2^31 tokens; cut it into smaller ones")
            _append(folder, shard, block, lengths, ids)
            bar.update(len(block))
    require(shard >= 0, "index: the corpus holds no document")
    width, used = 2 if len(coder) <= 65_534 else 4, []
    for number in range(shard + 1):
        ids, lengths = folder / f"ids.{number}", folder / f"lengths.{number}"
        used.append(write_shard(folder, number, np.fromfile(ids, np.int32),
                                np.fromfile(lengths, np.int64), width))
        ids.unlink()
        lengths.unlink()
    coder.save(folder)
    about = {"tokenizer": coder.name, "width": width, "shards": shard + 1,
             "vocabulary": len(np.unique(np.concatenate(used))),
             "sha256": sha256_of(folder / coder.file), "source": getattr(texts, "source", "texts")}
    (folder / "index.json").write_text(json.dumps(about))


def _append(folder: Path, shard: int, texts: Sequence[str], lengths: np.ndarray,
            ids: np.ndarray) -> None:
    """Append documents to a shard's metadata, its token ids, and its documents' lengths."""
    lines = [json.dumps({"text": text}).encode() + b"\n" for text in texts]
    path = folder / f"metadata.{shard}"
    starts = np.cumsum([path.stat().st_size if path.exists() else 0, *map(len, lines[:-1])])
    for name, content in (("metadata", b"".join(lines)), ("metaoff", starts.astype("<u8")),
                          ("ids", ids.astype(np.int32)), ("lengths", lengths.astype(np.int64))):
        with (folder / f"{name}.{shard}").open("ab") as file:
            file.write(content)


class Index(Counter):
    """An infini-gram index on disk, of one shard or several, whose files are read in place.

    Opens what :func:`build_index` or infini-gram's own indexing has written; for the latter
    ``tokenizer`` names the Hugging Face tokenizer file of its tokens. Counts of words are exact.
    With a sub-word tokenizer an n-gram is looked for in the forms in which text may write it
    (:func:`taskgram_utils.ngrams.written`), each with and without a space before it, and counts
    where no word goes on before or behind it: what is written otherwise, say with a comma inside,
    is missed, and ``exact`` is False. ``written`` gives the texts that are looked for, of an n-gram
    and its surfaces; without ``whole_words`` pieces count inside longer words, too.

    Opening looks at sizes, numbers and samples, not at every byte: it finds what is cut off or of
    another index, not a few altered tokens.

    Raises InputError for a folder that is no index, or one whose files do not fit each other, or
    the tokenizer.
    """

    whole_words = True

    def __init__(self, path: str | Path, tokenizer: str | Path | None = None,
                 unit: str = "documents"):
        super().__init__(unit)
        self.path = Path(path)
        self._shards = open_shards(self.path)
        self.width = self._shards[0].width
        about = self._about()
        self._coder = self._open_coder(tokenizer, about)
        largest, known = max(shard.largest for shard in self._shards), len(self._coder)
        require(largest < known, f"index {self.path}: token {largest} in it, but {known} in "
                                 f"{tokenizer or self._coder.file}; it is another's")
        if "sha256" in about and tokenizer is None:
            actual = {"width": self.width, "shards": len(self._shards),
                      "sha256": sha256_of(self.path / self._coder.file)}
            for name, value in actual.items():
                require(about.get(name) == value, f"index {self.path}: its {name} is not what was "
                        f"built (index.json, {self._coder.file}); build it again")
        self.exact = isinstance(self._coder, WordTokenizer)
        self.source = f"{about.get('source', self.path.name)}, index"
        self.documents = sum(len(shard.offsets) for shard in self._shards)
        self.tokens = sum(len(shard.tokens) for shard in self._shards) - self.documents
        self.vocabulary = about.get("vocabulary", known)

    def _about(self) -> dict:
        """What :func:`build_index` has noted; nothing where infini-gram's indexing built it."""
        path = self.path / "index.json"
        try:
            about = json.loads(path.read_text("utf-8")) if path.exists() else {}
        except (ValueError, OSError, RecursionError):
            about = None
        require(isinstance(about, dict) and isinstance(about.get("vocabulary", 0), int),
                f"{path}: not what `taskgram index` has written; build the index again")
        return about

    def _open_coder(self, tokenizer: str | Path | None, about: dict
                    ) -> WordTokenizer | SubwordTokenizer:
        """What reads n-grams as tokens of the index."""
        own = self.path / SubwordTokenizer.file
        if tokenizer is None and not own.exists():
            require((self.path / WordTokenizer.file).exists(),
                    f"index {self.path}: no {WordTokenizer.file} in it; "
                    "name the tokenizer file its tokens are of")
            return WordTokenizer(self.path)
        require(tokenizer is None or about.get("tokenizer") != "words",
                f"index {self.path}: its tokens are whole words; leave out {tokenizer}")
        coder = SubwordTokenizer(tokenizer or own)
        require(tokenizer is None or not own.exists() or SubwordTokenizer(own).same_as(coder),
                f"index {self.path}: is of another tokenizer, {own.name}; leave out {tokenizer}")
        return coder

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False,
               surfaces: Surfaces | None = None) -> Counts:
        """C(s) of the n-grams and C((s^x, s^y)) of the pairs."""
        ngrams, pairs = as_lists(ngrams, pairs)
        by_size = self.exact and self.unit == "occurrences" and not halves
        if by_size and not pairs:  # occurrences are the sizes of ranges; n-grams may be repeated
            _, (low, high) = self._ranges(ngrams)
            return Counts((high - low).sum(axis=0), np.zeros(0, np.int64))
        distinct, single_at, pair_at = numbered(ngrams, pairs)
        asked, (low, high) = self._ranges(distinct, surfaces)
        singles = int(single_at.max(initial=-1)) + 1  # the single n-grams come first
        single, joint = np.zeros((2, singles), np.int64), np.zeros((2, len(pair_at)), np.int64)
        for reader, *ranks in zip(self._readers, low, high, strict=True):
            if by_size:
                single[0] += (ranks[1] - ranks[0])[:singles]
            else:
                single += single_counts(reader, asked, *ranks, singles, self.unit == "occurrences")
            if len(pair_at):
                joint += pair_counts(reader, asked, *ranks, *pair_at.T)
        forms = np.diff(asked.forms)
        forms = None if self.exact else (forms[single_at], forms[pair_at].prod(axis=1))
        return Counts.of_halves(single[:, single_at], joint, halves, forms)

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents of the corpus that hold ``sx`` and, where given, ``sy``.

        Their texts where the index keeps them, else their tokens read back (words and spaces).
        """
        asked, (low, high) = self._ranges([sx] if sy is None else [sx, sy])
        texts = []
        for s, reader in enumerate(self._readers):
            if len(texts) < k:
                documents = shared_documents(reader, asked, low[s], high[s])
                texts += [self._text(s, d) for d in documents[: k - len(texts)].tolist()]
        return texts

    def infinigram(self, contexts: Sequence[Sequence[str] | str],
                   targets: Sequence[Sequence[str] | str]) -> Infinigram:
        """∞-gram probability of each word of ``targets[i]`` after ``contexts[i]`` and the target
        words before it, given as texts, or as lists of the words as they are in them.

        P(t | c) = C(c' t) / C(c') for the longest suffix c' of c that occurs (Liu et al. 2024,
        infini-gram). Where t never follows it, c' is shortened token by token, each step times .4.
        The probability is never below 1 / (N + V), N the tokens and V the vocabulary of the corpus.

        Raises InputError for a word that holds none, and unless there are as many contexts as
        targets.
        """
        contexts, targets = (
            [[text[w.start : w.end] for w in word_spans(text)] if isinstance(text, str) else text
             for text in side] for side in (contexts, targets))
        require(len(contexts) == len(targets), "infinigram: as many contexts as targets are needed")
        texts = list(chain.from_iterable(zip(contexts, targets, strict=True)))
        ids, sizes = self._coder.encode_each(texts)  # tokens of all words, and how many each has
        if not sizes.all():
            word = list(chain.from_iterable(texts))[int(np.argmin(sizes))]
            raise InputError(f"infinigram: {word!r} holds no word")
        starts = np.concatenate([[0], np.cumsum(sizes)])  # of each word in ids
        before, words = (np.array([*map(len, side)], np.int64) for side in (contexts, targets))
        ends = np.cumsum(before + words)  # of each text in the words
        target = np.arange(words.sum()) + np.repeat(ends - np.cumsum(words), words)  # in the words
        logp, zero, suffix = infinigram(
            self._shards, self._keys(ids), starts[ends - words - before], starts[ends - words],
            starts[ends], self.tokens, BACKOFF, 1 / max(1, self.tokens + self.vocabulary))
        sums = logp, logp * (1 - zero), zero  # of words
        if len(ids) > len(sizes):  # words of several tokens
            sums = [np.add.reduceat(of_tokens, starts[:-1]) for of_tokens in sums]
        return Infinigram(*(a[target] for a in sums), suffix[starts[target]], sizes[target], words)

    @cached_property
    def unspaced(self) -> bool:
        """Whether a sample of the text is mostly of scripts without spaces between words."""
        sample = [shard.tokens[begin : begin + 64] for shard in self._shards
                  for begin in np.linspace(0, len(shard.tokens), 16, False).astype(int)]
        tokens = np.concatenate(sample)
        return unspaced(self._coder.decode(tokens[tokens < len(self._coder)].tolist()))

    @staticmethod
    def written(ngram: str, surfaces: Iterable[str]) -> list[str]:
        """The texts that an index of pieces looks for: all forms, with and without a space."""
        return [space + form for form in written(ngram, surfaces) for space in (" ", "")]

    def _keys(self, ids: np.ndarray) -> np.ndarray:
        """Token ids in the order of the index; an unknown word stays negative: it never occurs."""
        return np.where(ids == UNKNOWN, UNKNOWN, swapped(ids, self.width))

    def _ranges(self, ngrams: Sequence[str], surfaces: Surfaces | None = None
                ) -> tuple[Asked, np.ndarray]:
        """The n-grams' tokens, and the first and last + 1 rank of the suffixes that begin with each
        form: [2, shards, forms]."""
        if self.exact:
            ids, lengths = self._coder.encode_ngrams(ngrams)
            forms, edges = np.arange(len(ngrams) + 1), Edges()
        else:
            sizes(ngrams)  # raises the error for one that holds no word
            texts = [self.written(s, (surfaces or {}).get(s, ())) for s in ngrams]
            ids, lengths, forms, edges = self._coder.encode_forms(texts)
            edges = edges if self.whole_words else Edges()
        ends = np.cumsum(lengths)
        asked = Asked(ids, ends - lengths, ends, forms, edges)
        return asked, search(self._shards, self._keys(ids), asked.begins, ends)

    @cached_property
    def _readers(self) -> list[Reader]:
        before = np.cumsum([0, *(len(shard.offsets) for shard in self._shards)]).tolist()
        return [Reader.of(shard, first)
                for shard, first in zip(self._shards, before, strict=False)]

    def bounds(self, s: int, document: int) -> tuple[int, int]:
        """First token and last + 1 of a document of shard ``s``, without its separator."""
        shard = self._shards[s]
        starts = shard.offsets[document : document + 2] // self.width  # of it and of the next
        return int(starts[0]) + 1, int(starts[1] if len(starts) > 1 else len(shard.tokens))

    def _text(self, s: int, document: int) -> str:
        """The text of a document of shard ``s``."""
        with suppress(OSError, ValueError, IndexError, KeyError, TypeError):  # not all have these
            place = np.fromfile(self.path / f"metaoff.{s}", "<u8", 1, offset=8 * document)[0]
            with (self.path / f"metadata.{s}").open("rb") as file:
                file.seek(place)
                text = json.loads(file.readline())["text"]
            if isinstance(text, str):
                return text
        begin, end = self.bounds(s, document)
        return self._coder.decode(self._shards[s].tokens[begin:end].tolist())
