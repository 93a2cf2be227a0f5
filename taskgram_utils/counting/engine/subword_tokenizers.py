"""The tokens of an index, words or pieces of a model's tokenizer: texts to ids and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from taskgram_utils.counting.engine.edges import Edges, kind_of
from taskgram_utils.counting.engine.threads import even, parallel_for
from taskgram_utils.counting.engine.tokens import Vocabulary, encode_ngrams
from taskgram_utils.errors import InputError, require
from taskgram_utils.reading import Block


class WordTokenizer:
    """Tokens are words; ``vocabulary.txt`` holds one a line, in the order of their numbers."""

    name, file = "words", "vocabulary.txt"

    def __init__(self, folder: Path | None = None):
        listed = []
        try:
            if folder is not None:
                text = (folder / self.file).read_text("utf-8", "surrogatepass")
                listed = text.split("\n")[:-1]
        except (UnicodeDecodeError, OSError) as error:
            why = "cannot be read as UTF-8 text; build it again"
            raise InputError(f"{folder}/{self.file}: {why}") from error
        self.vocabulary, self._listed = Vocabulary(listed), []  # the words, for decoding
        why = "a line is not one word, or repeats one; build it again"
        require(len(self.vocabulary) == len(listed), f"{folder}/{self.file}: {why}")

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of texts in a row (int32), and how many each has (int64 [k])."""
        return (None if grow else self._lines(texts)) or self.vocabulary.encode(texts, grow)

    def encode_ngrams(self, ngrams: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`encode` for n-grams; InputError for one that holds no word or is no text."""
        encoded = self._lines(ngrams)
        if encoded and encoded[1].all():
            return encoded
        return encode_ngrams(ngrams, self.vocabulary, grow=False)

    def encode_each(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`encode` for each word of texts that are lists of words."""
        return self.encode(list(chain.from_iterable(texts)))

    def _lines(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """:meth:`encode` on all cores for texts of one line each; None for others."""
        try:
            data = np.frombuffer("\n".join(texts).encode("utf-8", "surrogatepass"), np.uint8)
        except TypeError:  # not text, which the caller reports
            return None
        lines = np.concatenate([[-1], np.flatnonzero(data == ord("\n")), [len(data)]])
        if len(lines) != len(texts) + 1:
            return None
        parts = {}

        def encode(a, b):
            parts[a] = self.vocabulary.encode(Block(data, lines[a:b] + 1, lines[a + 1 : b + 1]))

        parallel_for(encode, even(len(texts), 4096))
        ids, sizes = zip(*(parts[a] for a in sorted(parts)), strict=True)
        return np.concatenate(ids), np.concatenate(sizes)

    def decode(self, ids: Sequence[int]) -> str:
        """The words of token ids, with spaces between."""
        if len(self._listed) != len(self.vocabulary):
            self._listed = self.vocabulary.words()
        return " ".join(self._listed[i] for i in ids)

    def save(self, folder: Path) -> None:
        """Write the vocabulary to a folder."""
        text = "".join(f"{word}\n" for word in self.vocabulary.words())
        (folder / self.file).write_text(text, "utf-8", "surrogatepass")


class SubwordTokenizer:
    """Tokens are those of a Hugging Face tokenizer file."""

    name, file = "pieces", "tokenizer.json"

    def __init__(self, path: str | Path):
        from tokenizers import Tokenizer

        require(Path(path).is_file(), f"tokenizer {path}: no such file")
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library knows no narrower one
            why = f"no Hugging Face tokenizer file ({error})"
            raise InputError(f"tokenizer {path}: {why}") from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of texts in a row (int32), and how many each has (int64 [k]).

        Texts are encoded as they are where ``grow`` is set, else behind one space.
        """
        pieces = self._pieces(texts if grow else [" " + text.strip() for text in texts])
        return np.array([i for p in pieces for i in p], np.int32), np.array(list(map(len, pieces)))

    def _pieces(self, texts: Iterable[str]) -> list[list[int]]:
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def encode_ngrams(self, ngrams: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`encode` for n-grams; InputError for one that holds no word or is no text."""
        encode_ngrams(ngrams, Vocabulary(), grow=True)  # raises it
        return self.encode(ngrams)

    def encode_forms(
        self, ngrams: Sequence[Sequence[str]]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Token ids of n-grams, each given as the texts in which it is counted.

        A form is a sequence of tokens of one of the texts, with a space before it or without. One
        that ends in another is left out, since it occurs where the other does. Returns the ids of
        all f forms in a row; how many each has [f]; where each n-gram's forms begin [k + 1]; the
        classes of the first and the last character [2, f], 0 where the form begins with a space.
        """
        texts = list(dict.fromkeys(chain.from_iterable(ngrams)))
        pieces = dict(zip(texts, map(tuple, self._pieces(texts)), strict=True))
        spaced = {i for i in {p[0] for p in pieces.values()} if self.bytes_of(i)[:1] == b" "}
        forms, begins, classes = [], [0], []
        for texts in ngrams:
            text_of = {pieces[text]: text.strip() for text in texts}
            for form, text in text_of.items():
                if not any(form[k:] in text_of for k in range(1, len(form))):
                    forms.append(form)
                    first = 0 if form[0] in spaced else kind_of(text[0])
                    classes.append((first, kind_of(text[-1])))
            begins.append(len(forms))
        sizes = np.fromiter(map(len, forms), np.int64, len(forms))
        ids = np.fromiter(chain.from_iterable(forms), np.int32, int(sizes.sum()))
        classes = np.array(classes, np.uint8).reshape(-1, 2).T.copy()
        return ids, sizes, np.array(begins, np.int64), classes

    def bytes_of(self, number: int) -> bytes:
        """The bytes of text that a token stands for, its space included."""
        token = self.tokenizer.id_to_token(number) or ""
        if self._letters:
            return b"".join(self._letters.get(c) or c.encode() for c in token)
        byte = re.fullmatch("<0x([0-9A-F]{2})>", token)
        return bytes.fromhex(byte[1]) if byte else token.replace("▁", " ").encode()

    @cached_property
    def _letters(self) -> dict[str, bytes]:
        """The byte that each letter is in a byte-level tokenizer; empty for other tokenizers."""
        if '"ByteLevel"' not in json.dumps(json.loads(self.tokenizer.to_str())["decoder"]):
            return {}
        plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [b for b in range(256) if b not in set(plain)]
        letters = {chr(b): bytes([b]) for b in plain}
        return letters | {chr(256 + k): bytes([b]) for k, b in enumerate(others)}

    @cached_property
    def edges(self) -> Edges:
        """The bytes of all tokens, which tell words apart."""
        return Edges.of([self.bytes_of(i) for i in range(len(self))])

    def encode_each(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`encode` for each word of texts that are lists of words."""
        flat = list(chain.from_iterable(texts))
        place = {word: k for k, word in enumerate(dict.fromkeys(flat))}
        ids, lengths = self.encode(list(place))
        which = np.fromiter(map(place.__getitem__, flat), np.int64, len(flat))
        sizes, ends = lengths[which], np.cumsum(lengths)[which]
        return ids[np.arange(sizes.sum()) + np.repeat(ends - np.cumsum(sizes), sizes)], sizes

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode([int(i) for i in ids])

    def same_as(self, other: SubwordTokenizer) -> bool:
        """Whether both give the same tokens, as far as their files say."""
        return self.tokenizer.to_str() == other.tokenizer.to_str()

    def save(self, folder: Path) -> None:
        """Write the tokenizer file to a folder."""
        self.tokenizer.save(str(folder / self.file))
