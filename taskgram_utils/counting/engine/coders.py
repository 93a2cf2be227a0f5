"""What the tokens of an index are: words, or the pieces of a model's tokenizer; texts to token ids and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from taskgram_utils.counting.engine.edges import Edges, kind_of
from taskgram_utils.counting.engine.threads import even, spread
from taskgram_utils.counting.engine.tokens import Vocabulary, encode_ngrams
from taskgram_utils.errors import InputError, require
from taskgram_utils.reading import Block


class Words:
    """Tokens are words; ``vocabulary.txt`` holds one a line, in the order of their numbers."""

    name, file = "words", "vocabulary.txt"

    def __init__(self, folder: Path | None = None):
        listed = []
        if folder is not None:
            try:
                listed = (folder / self.file).read_text("utf-8", "surrogatepass").split("\n")[:-1]
            except (UnicodeDecodeError, OSError) as error:
                raise InputError(f"{folder}/vocabulary.txt: cannot be read as UTF-8 text; build it again") from error
        self.vocabulary, self._listed = Vocabulary(listed), []  # the words, once some are asked for
        wrong = f"{folder}/vocabulary.txt: a line is not one word, or repeats one; build it again"
        require(len(self.vocabulary) == len(listed), wrong)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        return self.vocabulary.encode(texts, grow)

    def encode_ngrams(self, ngrams: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of n-grams as typed and how many each has; InputError for one that holds no word or is no text."""
        found = self._known(ngrams, len(ngrams))
        return found if found and found[1].all() else encode_ngrams(ngrams, self.vocabulary, grow=False)

    def encode_each(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of the words of texts given as lists of them, and how many each word has; no word, no token."""
        found = self._known(("\n".join(text) for text in texts if len(text)), sum(map(len, texts)))
        return found or self.encode(list(chain.from_iterable(texts)))

    def _known(self, texts: Iterable[str], size: int) -> tuple[np.ndarray, np.ndarray] | None:
        """:meth:`encode` of ``size`` texts of one line each, joined so that none needs a look; None if they are not."""
        try:
            data = np.frombuffer("\n".join(texts).encode("utf-8", "surrogatepass"), np.uint8)
        except TypeError:  # what is no text is reported by others
            return None
        lines = np.concatenate([[-1], np.flatnonzero(data == ord("\n")), [len(data)]])
        if len(lines) != size + 1:
            return None
        cuts, found = even(size, 4096), {}

        def encode(a, b):
            found[a] = self.vocabulary.encode(Block(data, lines[a:b] + 1, lines[a + 1 : b + 1]))

        spread(encode, cuts)
        ids, sizes = zip(*(found[a] for a in sorted(found)), strict=True)
        return np.concatenate(ids), np.concatenate(sizes)

    def decode(self, ids: Sequence[int]) -> str:
        if len(self._listed) != len(self.vocabulary):
            self._listed = self.vocabulary.words()
        return " ".join(self._listed[i] for i in ids)

    def save(self, folder: Path) -> None:
        text = "".join(f"{w}\n" for w in self.vocabulary.words())
        (folder / self.file).write_text(text, "utf-8", "surrogatepass")


class Pieces:
    """Tokens are those of a Hugging Face tokenizer file."""

    name, file = "pieces", "tokenizer.json"

    def __init__(self, path: str | Path):
        from tokenizers import Tokenizer

        require(Path(path).is_file(), f"tokenizer {path}: no such file")
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library knows no narrower one
            raise InputError(f"tokenizer {path}: no Hugging Face tokenizer file ({error})") from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str], grow: bool = False) -> tuple[np.ndarray, np.ndarray]:
        if not grow:
            texts = [" " + text.strip() for text in texts]
        pieces = [e.ids for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return np.array([i for p in pieces for i in p], np.int32), np.array([len(p) for p in pieces], np.int64)

    def encode_ngrams(self, ngrams: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        encode_ngrams(ngrams, Vocabulary(), grow=True)  # for its refusal of what holds no word
        return self.encode(ngrams)

    def encode_forms(self, ngrams: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Token ids of n-grams, each given as the texts that it is asked in, with a space before them or without; how
        many ids each form has; where each n-gram's forms begin, and end; first and last character of a form [2, f], as
        :class:`Edges` has them, the first 0 where the form brings its space.

        A form is one sequence of tokens. One that ends in another is left out: it stands where the other does.
        """
        place = {text: k for k, text in enumerate(dict.fromkeys(chain.from_iterable(ngrams)))}
        pieces = [tuple(e.ids) for e in self.tokenizer.encode_batch(list(place), add_special_tokens=False)]
        spaced = {i for i in set(p[0] for p in pieces) if self.bytes_of(i)[:1] == b" "}
        out, begins, ends = [], [0], []
        for texts in ngrams:
            own = {pieces[place[text]]: text.strip() for text in texts}
            kept = {p: t for p, t in own.items() if not any(p[k:] in own for k in range(1, len(p)))}
            out += kept
            ends += [(0 if p[0] in spaced else kind_of(text[0]), kind_of(text[-1])) for p, text in kept.items()]
            begins.append(len(out))
        sizes = np.fromiter(map(len, out), np.int64, len(out))
        ids = np.fromiter(chain.from_iterable(out), np.int32, int(sizes.sum()))
        return ids, sizes, np.array(begins, np.int64), np.array(ends, np.uint8).reshape(-1, 2).T.copy()

    def bytes_of(self, number: int) -> bytes:
        """The bytes of text that a token stands for, its space included."""
        token = self.tokenizer.id_to_token(number) or ""
        if self._letters:
            return b"".join(self._letters.get(c) or c.encode() for c in token)
        byte = re.fullmatch("<0x([0-9A-F]{2})>", token)
        return bytes.fromhex(byte[1]) if byte else token.replace("▁", " ").encode()

    @cached_property
    def _letters(self) -> dict[str, bytes]:
        """The byte of each letter of a tokenizer of bytes; of one of characters nothing."""
        if '"ByteLevel"' not in json.dumps(json.loads(self.tokenizer.to_str())["decoder"]):
            return {}
        plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [b for b in range(256) if b not in set(plain)]
        return {chr(b): bytes([b]) for b in plain} | {chr(256 + k): bytes([b]) for k, b in enumerate(others)}

    @cached_property
    def edges(self) -> Edges:
        """What tells words apart in the text of tokens."""
        return Edges.of([self.bytes_of(i) for i in range(len(self))])

    def encode_each(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        flat = list(chain.from_iterable(texts))
        place = {word: k for k, word in enumerate(dict.fromkeys(flat))}
        ids, lengths = self.encode(list(place))
        which = np.fromiter(map(place.__getitem__, flat), np.int64, len(flat))
        sizes, ends = lengths[which], np.cumsum(lengths)[which]
        return ids[np.arange(sizes.sum()) + np.repeat(ends - np.cumsum(sizes), sizes)], sizes

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode([int(i) for i in ids])

    def same_as(self, other: Pieces) -> bool:
        """Whether both give the same tokens, as far as their files say."""
        return self.tokenizer.to_str() == other.tokenizer.to_str()

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / self.file))
