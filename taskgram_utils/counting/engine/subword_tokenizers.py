"""The tokens of an index, words or pieces of a model's tokenizer: texts to ids and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from taskgram_utils.counting.engine.edges import Edges
from taskgram_utils.counting.engine.threads import even, parallel_for
from taskgram_utils.counting.engine.tokens import (
    Encoded, Vocabulary, characters, encode_ngrams, kinds_of)
from taskgram_utils.errors import InputError, require
from taskgram_utils.reading import Block


def _joined(ids: Sequence[Sequence[int]]) -> Encoded:
    """All ids in a row (int32), and how many each has (int64 [k])."""
    sizes = np.fromiter(map(len, ids), np.int64, len(ids))
    return np.fromiter(chain.from_iterable(ids), np.int32, sizes.sum()), sizes


class WordTokenizer:
    """Tokens are words; ``vocabulary.txt`` holds one a line, in the order of their numbers."""

    name, file = "words", "vocabulary.txt"

    def __init__(self, folder: Path | None = None):
        path = Path(folder or "", self.file)
        try:
            text = path.read_text("utf-8", "surrogatepass") if folder else ""
        except (UnicodeDecodeError, OSError) as error:
            raise InputError(f"{path}: cannot be read as UTF-8 text; build it again") from error
        lines = text.split("\n")[:-1]
        self.vocabulary = Vocabulary(lines)
        why = "a line is not one word, or repeats one; build it again"
        require(len(self.vocabulary) == len(lines), f"{path}: {why}")

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], grow: bool = False) -> Encoded:
        """Token ids of texts in a row (int32), and how many each has (int64 [k])."""
        return (None if grow else self._encode_lines(texts)) or self.vocabulary.encode(texts, grow)

    def encode_ngrams(self, ngrams: Sequence[str]) -> Encoded:
        """:meth:`encode` for n-grams; InputError for one that holds no word or is no text."""
        encoded = self._encode_lines(ngrams)
        if encoded and encoded[1].all():
            return encoded
        return encode_ngrams(ngrams, self.vocabulary, grow=False)

    def encode_each(self, texts: Sequence[Sequence[str]]) -> Encoded:
        """:meth:`encode` for each word of texts that are lists of words."""
        return self.encode(list(chain.from_iterable(texts)))

    def _encode_lines(self, texts: Sequence[str]) -> Encoded | None:
        """:meth:`encode` on all cores for texts of one line each; None for others."""
        try:
            data = np.frombuffer("\n".join(texts).encode("utf-8", "surrogatepass"), np.uint8)
        except TypeError:  # not text, which the caller reports
            return None
        breaks = np.concatenate([[-1], np.flatnonzero(data == ord("\n")), [len(data)]])
        if len(breaks) != len(texts) + 1:
            return None
        cuts, parts = even(len(texts), 4096), {}

        def encode(first: int, last: int) -> None:
            lines = Block(data, breaks[first:last] + 1, breaks[first + 1 : last + 1])
            parts[first] = self.vocabulary.encode(lines)

        parallel_for(encode, cuts)
        ids, sizes = zip(*(parts[first] for first in cuts[:-1].tolist()), strict=True)
        return np.concatenate(ids), np.concatenate(sizes)

    @cached_property
    def _words(self) -> list[str]:
        return self.vocabulary.words()

    def decode(self, ids: Sequence[int]) -> str:
        """The words of token ids, with spaces between."""
        return " ".join(self._words[i] for i in ids)

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

    def encode(self, texts: Sequence[str], grow: bool = False) -> Encoded:
        """Token ids of texts in a row (int32), and how many each has (int64 [k]).

        Texts are encoded as they are where ``grow`` is set, else behind one space.
        """
        return _joined(self._ids(texts if grow else [" " + text.strip() for text in texts]))

    def _ids(self, texts: Iterable[str]) -> list[list[int]]:
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def encode_ngrams(self, ngrams: Sequence[str]) -> Encoded:
        """:meth:`encode` for n-grams; InputError for one that holds no word or is no text."""
        encode_ngrams(ngrams, Vocabulary(), grow=True)  # raises it
        return self.encode(ngrams)

    def encode_forms(self, ngrams: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """Token ids of n-grams, each given as the texts in which it is counted.

        A form is a sequence of tokens of one of the texts, with a space before it or without. One
        that ends in another is left out, since it occurs where the other does. Returns the ids of
        all f forms in a row; how many each has [f]; where each n-gram's forms begin [k + 1]; the
        edges of the forms.
        """
        texts = list(dict.fromkeys(chain.from_iterable(ngrams)))
        ids_of = dict(zip(texts, map(tuple, self._ids(texts)), strict=True))
        spaced = {i for i in {ids[0] for ids in ids_of.values()} if self.bytes_of(i)[:1] == b" "}
        forms, begins, ends = [], [0], []  # the first and the last character of each form
        for texts in ngrams:
            text_of = {ids_of[text]: text.strip() for text in texts}
            shortest = min(map(len, text_of))
            for form, text in text_of.items():
                shorter = (form[k:] for k in range(1, len(form) - shortest + 1))
                if text_of.keys().isdisjoint(shorter):
                    forms.append(form)
                    ends.append(text[0] + text[-1])
            begins.append(len(forms))
        ids, sizes = _joined(forms)
        kinds = (kinds_of("".join(ends)) & 15).reshape(-1, 2).T.copy()
        kinds[0, [form[0] in spaced for form in forms]] = 0
        return ids, sizes, np.array(begins, np.int64), Edges(*kinds, *self._bytes)

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
        others = sorted(set(range(256)) - set(plain))
        letters = {chr(b): bytes([b]) for b in plain}
        return letters | {chr(256 + k): bytes([b]) for k, b in enumerate(others)}

    @cached_property
    def _bytes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The last three fields of :class:`Edges`."""
        tokens = [self.bytes_of(i) for i in range(len(self))]
        starts = np.cumsum([0, *map(len, tokens)])
        return np.frombuffer(b"".join(tokens), np.uint8), starts, characters().kind & 15

    def encode_each(self, texts: Sequence[Sequence[str]]) -> Encoded:
        """:meth:`encode` for each word of texts that are lists of words."""
        words = list(chain.from_iterable(texts))
        distinct = dict.fromkeys(words)
        ids = self._ids(" " + word.strip() for word in distinct)
        ids_of = dict(zip(distinct, ids, strict=True))
        return _joined([ids_of[word] for word in words])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode([int(i) for i in ids])

    def same_as(self, other: SubwordTokenizer) -> bool:
        """Whether both give the same tokens, as far as their files say."""
        return self.tokenizer.to_str() == other.tokenizer.to_str()

    def save(self, folder: Path) -> None:
        """Write the tokenizer file to a folder."""
        self.tokenizer.save(str(folder / self.file))
