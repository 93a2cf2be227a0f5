"""A corpus as an infini-gram index: built with words as tokens, or downloaded; asked whole batches at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.base import (
    Counts,
    Pairs,
    Surfaces,
    as_ngrams,
    as_pairs,
    check_unit,
    numbered,
    with_total,
)
from taskgram_utils.counting.engine import (
    BLOCK,
    UNKNOWN,
    Asked,
    Edges,
    Pieces,
    Reader,
    Words,
    document_counts,
    hints,
    infinigram,
    occurrence_counts,
    open_shards,
    pair_counts,
    search,
    shared_documents,
    swapped,
    write_shard,
)
from taskgram_utils.errors import InputError, InputWarning, require
from taskgram_utils.ngrams import unspaced, word_spans, written
from taskgram_utils.progress import Bar
from taskgram_utils.reading import lists
from taskgram_utils.round_trip import lost

# infini-gram's engine knows its files by these names anywhere in their path, and crashes where a folder has one.
RESERVED = ("tokenized", "table", "offset", "metadata", "metaoff", "unigram")
BACKOFF = 0.4
TOKENS_PER_SHARD = 1 << 30  # building takes some 20 bytes of memory for each


class Infinigram(NamedTuple):
    """∞-gram probabilities of k target words, all texts one after the other."""

    logp: np.ndarray  # natural log, with back-off [k]
    seen: np.ndarray  # the same with the probability of the tokens counted in ``zero`` set to one [k]
    zero: np.ndarray  # tokens of the word that never follow the longest suffix of their context that occurs [k]
    suffix: np.ndarray  # length of that suffix, in tokens (of the first token of the word) [k]
    tokens: np.ndarray  # tokens of the word [k]
    words: np.ndarray  # target words of each text


def build_index(
    corpus: Iterable[str] | str | Path,
    out: str | Path,
    tokenizer: str | Path | None = None,
    progress: bool = True,
    tokens_per_shard: int = TOKENS_PER_SHARD,
) -> Index:
    """Build an infini-gram index of ``corpus`` in the new folder ``out`` and open it.

    Tokens are the words of :mod:`taskgram_utils.ngrams`, numbered in ``vocabulary.txt`` (u16, above 65,534 words u32),
    or those of a Hugging Face ``tokenizer`` file. The text of each document is kept as its metadata. A corpus of more
    than ``tokens_per_shard`` is cut into shards, between documents. The index is built beside ``out`` in the folder
    ``.NAME.building``, verified and renamed, so that ``out`` is whole or absent. What a killed building left there is
    removed, and a warning says so.

    Raises InputError where ``out`` exists and is not empty, cannot be written or is being built, the corpus cannot be
    read, or the tokenizer loses spaces, line breaks, accents or digits or cannot spell a text (upper case may go).
    """
    texts, out = Corpus(corpus) if isinstance(corpus, (str, Path)) else corpus, Path(out)
    require(0 < tokens_per_shard < 1 << 31, f"tokens_per_shard {tokens_per_shard}: not between 1 and 2^31")
    require(not out.exists() or (out.is_dir() and not any(out.iterdir())), f"index {out}: exists; remove it first")
    if any(word in str(out.resolve()) for word in RESERVED):
        why = f"infini-gram's own engine cannot open a path with {RESERVED} in it"
        warnings.warn(f"index {out}: {why}", InputWarning, stacklevel=2)
    coder = Words() if tokenizer is None else Pieces(tokenizer)
    changed = lost(coder.tokenizer, fold=str.lower) if tokenizer is not None else ""
    require(not changed, f"tokenizer {tokenizer}: loses text: {changed}; its counts would be of other n-grams")
    work, held = out.with_name(f".{out.name}.building"), None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(f"{work}.lock").acquire(timeout=0).lock
        if work.exists():
            shutil.rmtree(work)
            left = f"removed {work}, which a killed building had left"
            warnings.warn(f"index {out}: {left}", InputWarning, stacklevel=2)
        work.mkdir()
        _write(texts, work, coder, progress, tokens_per_shard)
        index = Index(work)
        os.replace(work, out)
        index.path = out
    except Timeout as error:
        raise InputError(f"index {out}: another process is building it; wait, or name another place") from error
    except OSError as error:
        cure = "free space or name" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name"
        why = f"not written ({error.strerror or error}); {cure} another place"
        raise InputError(f"index {out}: {why}") from error
    finally:
        if held is not None:
            shutil.rmtree(work, ignore_errors=True)
            held.release()
            Path(held.lock_file).unlink(missing_ok=True)
    return index


def _write(texts: Iterable[str], out: Path, coder: Words | Pieces, progress: bool, tokens_per_shard: int) -> None:
    shards = []
    with Bar(desc="index", unit=" documents", unit_scale=True, disable=None if progress else True) as bar:
        try:
            for block in lists(texts, BLOCK):
                ids, lengths = coder.encode(block, grow=True)
                sizes, done = np.cumsum(lengths + 1), 0
                while done < len(block):
                    if not shards or shards[-1].full(lengths[done] + 1, tokens_per_shard):
                        for shard in shards[-1:]:
                            shard.close()
                        shards.append(_Draft(out, len(shards)))
                    before = sizes[done] - lengths[done] - 1
                    end = int(np.searchsorted(sizes, before + tokens_per_shard - shards[-1].tokens, side="right"))
                    end = max(end, done + 1)
                    part = ids[before - done : sizes[end - 1] - end]
                    shards[-1].add(block[done:end], part, lengths[done:end])
                    done = end
                bar.update(len(block))
        finally:
            for shard in shards[-1:]:
                shard.close()
    require(shards, "index: the corpus holds no document")
    width = 2 if len(coder) <= 65_534 else 4
    used = [write_shard(out, number, *shard.read(), width) for number, shard in enumerate(shards)]
    coder.save(out)
    vocabulary = len(np.unique(np.concatenate(used)))
    about = {"tokenizer": coder.name, "width": width, "vocabulary": vocabulary, "shards": len(shards),
             "sha256": _digest(out / coder.file), "source": getattr(texts, "source", "texts")}  # fmt: skip
    (out / "index.json").write_text(json.dumps(about))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Draft:
    """A shard as it is read: its metadata, and token ids of four bytes, since the number of words is not known yet."""

    def __init__(self, out: Path, number: int):
        self.ids, self.lengths = out / f"ids.{number}", out / f"lengths.{number}"
        self.tokens, self._at = 0, 0
        paths = out / f"metadata.{number}", out / f"metaoff.{number}", self.ids, self.lengths
        self._open = ExitStack()
        self._files: list[BinaryIO] = [self._open.enter_context(path.open("wb")) for path in paths]

    def full(self, more: int, most: int) -> bool:
        return self.tokens > 0 and self.tokens + more > most

    def add(self, texts: Sequence[str], ids: np.ndarray, lengths: np.ndarray) -> None:
        metadata, metaoff, own_ids, own_lengths = self._files
        lines = [json.dumps({"text": text}).encode() + b"\n" for text in texts]
        ends = self._at + np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)))
        metaoff.write(np.concatenate([[self._at], ends[:-1]]).astype("<u8").tobytes())
        metadata.write(b"".join(lines))
        own_ids.write(ids.astype(np.int32, copy=False).tobytes())
        own_lengths.write(lengths.astype(np.int64, copy=False).tobytes())
        self._at = int(ends[-1])
        self.tokens += len(ids) + len(lengths)
        require(self.tokens < 1 << 31, "index: a document of more than 2^31 tokens; cut it into smaller ones")

    def close(self) -> None:
        self._open.close()

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and lengths of the documents, whose files are removed."""
        found = np.fromfile(self.ids, np.int32), np.fromfile(self.lengths, np.int64)
        self.ids.unlink()
        self.lengths.unlink()
        return found


def _split(texts: Sequence[Sequence[str] | str]) -> Sequence[Sequence[str]]:
    """Texts as lists of their words, as they stand in them."""
    if not any(issubclass(kind, str) for kind in set(map(type, texts))):
        return texts
    return [[t[w.start : w.end] for w in word_spans(t)] if isinstance(t, str) else t for t in texts]


class Index:
    """An infini-gram index on disk, of one shard or several: a :class:`~taskgram_utils.counting.base.Counter`.

    Opens what :func:`build_index` or infini-gram's own indexing has written; for the latter ``tokenizer`` names the
    Hugging Face tokenizer file of its tokens. The files are read in place. Counts are exact. With a sub-word tokenizer
    an n-gram is looked for in the forms in which text may write it (:func:`taskgram_utils.ngrams.written`), each with
    and without a space before it, and counts where no word goes on before or behind it: what is written otherwise, say
    with a comma inside, is missed, and ``exact`` says False. ``written`` gives the texts that are asked of an n-gram
    and its surfaces; without ``whole_words`` pieces count inside longer words, too.

    Opening looks at sizes, numbers and samples, not at every byte: it tells what is cut off or of another index, not a
    few altered tokens.

    Raises InputError for a folder that is no index, or one with files that do not fit each other, or the tokenizer.
    """

    whole_words = True

    def __init__(self, path: str | Path, tokenizer: str | Path | None = None, unit: str = "documents"):
        self.path, self.unit = Path(path), check_unit(unit)
        self._shards = open_shards(self.path)
        self.width = self._shards[0].width
        self.about = self._read_about()
        own = self.path / "tokenizer.json"
        if tokenizer is not None or own.exists():
            wrong = tokenizer is not None and self.about.get("tokenizer") == "words"
            require(not wrong, f"index {self.path}: its tokens are whole words; leave out the tokenizer {tokenizer}")
            self._coder = Pieces(tokenizer or own)
            same = tokenizer is None or not own.exists() or Pieces(own).same_as(self._coder)
            require(same, f"index {self.path}: is of another tokenizer, its tokenizer.json; leave out {tokenizer}")
        else:
            listed = (self.path / "vocabulary.txt").exists()
            require(listed, f"index {self.path}: no vocabulary.txt in it; name the tokenizer file its tokens are of")
            self._coder = Words(self.path)
        largest, known = max(shard.largest for shard in self._shards), len(self._coder)
        what = "vocabulary.txt" if isinstance(self._coder, Words) else f"the tokenizer {tokenizer or own.name}"
        require(largest < known, f"index {self.path}: token {largest} in it, but {known} in {what}; it is another's")
        if "sha256" in self.about and tokenizer is None:
            found = {"width": self.width, "shards": len(self._shards), "sha256": _digest(self.path / self._coder.file)}
            wrong = next((name for name, value in found.items() if self.about.get(name) != value), None)
            what = self._coder.file if wrong == "sha256" else f"its {wrong}"
            require(wrong is None, f"index {self.path}: {what} is not what was built; build it again")
        self.exact = isinstance(self._coder, Words)
        self.source = f"{self.about.get('source', self.path.name)}, index"
        self.documents = sum(len(shard.offsets) for shard in self._shards)
        self.tokens = sum(len(shard.tokens) for shard in self._shards) - self.documents
        self.vocabulary = self.about.get("vocabulary", known)

    def _read_about(self) -> dict:
        path = self.path / "index.json"
        try:
            about = json.loads(path.read_text("utf-8")) if path.exists() else {}
            fit = isinstance(about, dict) and isinstance(about.get("vocabulary", 0), int)
        except (ValueError, OSError, RecursionError):
            fit = False
        require(fit, f"{path}: not what `taskgram index` has written; build the index again")
        return about

    def counts(
        self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False, surfaces: Surfaces | None = None
    ) -> Counts:
        """C(s) of the n-grams and C((s^x, s^y)) of the pairs; see :class:`~taskgram_utils.counting.base.Counts`."""
        ngrams = ngrams if isinstance(ngrams, list) else as_ngrams(ngrams)
        pairs, by_rank = as_pairs(pairs), self.exact and self.unit == "occurrences" and not halves
        if by_rank and not pairs:  # the counts are the sizes of the ranges: repeated n-grams do no harm
            _, (low, high) = self._ranges(ngrams)
            return Counts((high - low).sum(axis=0), np.zeros(0, np.int64))
        distinct, at, pair_at = numbered(ngrams, pairs)
        asked, (low, high) = self._ranges(distinct, surfaces)
        alone = int(at.max(initial=-1)) + 1  # the single n-grams come first
        single, joint = np.zeros((2, alone), np.int64), np.zeros((2, len(pairs)), np.int64)
        for s, reader in enumerate(self._readers):
            ours = asked, low[s], high[s]
            if by_rank:
                single[0] += (high[s] - low[s])[:alone]
            elif self.unit == "documents":
                single += document_counts(reader, *ours, alone, halves)
            else:
                single += occurrence_counts(reader, *ours, alone)
            if len(pairs):
                joint += pair_counts(reader, *ours, *pair_at.T, halves)
        forms = np.diff(asked.forms)
        counted = with_total(single[:, at], halves), with_total(joint, halves)
        return Counts(*counted, None if self.exact else (forms[at], forms[pair_at].prod(axis=1)))

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs: int64 [m]."""
        return self.counts(pairs=pairs).pairs

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """The first ``k`` documents that hold both n-grams (or ``sx``, where ``sy`` is None).

        The document's text where the index keeps it, else its tokens read back (of a word index: words and spaces).
        """
        asked, (low, high) = self._ranges([sx] if sy is None else [sx, sy])
        out = []
        for s, reader in enumerate(self._readers):
            for found in shared_documents(reader, asked, low[s], high[s]):
                out += [self._text(s, d) for d in found[: k - len(out)].tolist()]
                if len(out) >= k:
                    return out
        return out

    def infinigram(self, contexts: Sequence[Sequence[str] | str], targets: Sequence[Sequence[str] | str]) -> Infinigram:
        """∞-gram probabilities of every word of ``targets[i]`` after ``contexts[i]`` and the target words before it.

        Texts, or lists of the words as they stand in them. P(t | c) = C(c' t) / C(c') for the longest suffix c' of c
        that occurs (Liu et al. 2024, infini-gram). Where t never follows it, c' is shortened token by token, each step
        times .4, and the probability is never below 1 / (N + V), N the tokens and V the vocabulary of the corpus.
        """
        contexts, targets = (_split(list(side)) for side in (contexts, targets))
        require(len(contexts) == len(targets), "infinigram: as many contexts as targets are needed")
        texts = list(chain.from_iterable(zip(contexts, targets, strict=True)))
        ids, sizes = self._coder.encode_each(texts)
        if not sizes.all():
            flat = list(chain.from_iterable(texts))
            raise InputError(f"infinigram: {flat[int(np.argmin(sizes))]!r} holds no word")
        place = np.concatenate([[0], np.cumsum(sizes)])
        before, words = (np.fromiter(map(len, side), np.int64, len(side)) for side in (contexts, targets))
        ends = np.cumsum(before + words)
        target = np.arange(words.sum()) + np.repeat(ends - np.cumsum(words), words)
        logp, zero, suffix = infinigram(
            self._shards, self._keys(ids), place[ends - words - before], place[ends - words], place[ends],
            self.tokens, BACKOFF, 1 / max(1, self.tokens + self.vocabulary),
        )  # fmt: skip
        each, begins = (logp, logp * (1 - zero), zero), place[target]
        if len(ids) > len(sizes):
            each, begins = [np.add.reduceat(a, place[:-1]) for a in each], target
        return Infinigram(*(a[begins] for a in each), suffix[place[target]], sizes[target], words)

    @cached_property
    def unspaced(self) -> bool:
        """Whether the text is mostly of scripts that put no space between words, by a sample of it."""
        starts = [(s.tokens, at) for s in self._shards for at in np.linspace(0, len(s.tokens), 16, False).astype(int)]
        some = np.concatenate([tokens[at : at + 64] for tokens, at in starts])
        return unspaced(self._coder.decode(some[some < len(self._coder)].tolist()))

    @staticmethod
    def written(ngram: str, surfaces: Iterable[str]) -> list[str]:
        """The texts that an index of pieces is asked: all forms, at the start of a text and after a space."""
        return [space + form for form in written(ngram, surfaces) for space in (" ", "")]

    def _keys(self, ids: np.ndarray) -> np.ndarray:
        """Token ids in the order of the index; an unknown word stays negative and is found nowhere."""
        return np.where(ids == UNKNOWN, UNKNOWN, swapped(ids, self.width))

    def _ranges(self, ngrams: Sequence[str], surfaces: Surfaces | None = None) -> tuple[Asked, np.ndarray]:
        """The n-grams' tokens, and where the suffixes that begin with each form stand: first and last + 1 rank,
        [2, shards, forms]."""
        ids, sizes = self._coder.encode_ngrams(ngrams)
        forms, (left, right), edges = np.arange(len(ngrams) + 1), np.zeros((2, 0), np.uint8), Edges.none()
        if not self.exact:
            asked = [self.written(s, (surfaces or {}).get(s, ())) for s in ngrams]
            ids, sizes, forms, classes = self._coder.encode_forms(asked)
            if self.whole_words:
                (left, right), edges = classes, self._coder.edges
        ends = np.cumsum(sizes)
        asked = Asked(ids, ends - sizes, ends, forms, left, right, edges)
        return asked, search(self._shards, self._keys(ids), asked.begins, ends)

    @cached_property
    def _readers(self) -> list[Reader]:
        before = np.cumsum([0, *(len(shard.offsets) for shard in self._shards)]).tolist()
        return [Reader(shard, *hints(shard), first) for shard, first in zip(self._shards, before[:-1], strict=True)]

    def _text(self, s: int, document: int) -> str:
        """The text of a document of shard ``s``."""
        shard, kept = self._shards[s], {}
        try:
            place = int(np.memmap(self.path / f"metaoff.{s}", "<u8", "r")[document])
            with (self.path / f"metadata.{s}").open("rb") as f:
                f.seek(place)
                kept = json.loads(f.readline())
        except (OSError, ValueError, IndexError):  # an index needs none of these files
            pass
        if isinstance(kept, dict) and isinstance(kept.get("text"), str):
            return kept["text"]
        begin = shard.offsets[document] // self.width + 1
        end = shard.offsets[document + 1] // self.width if document + 1 < len(shard.offsets) else None
        return self._coder.decode(shard.tokens[begin:end].tolist())
