"""What the tokens of an index are: words, or the pieces of a model's tokenizer; texts to token ids and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from taskgram_utils.corpus import Block
from taskgram_utils.counting.threads import even, spread
from taskgram_utils.counting.tokens import Vocabulary, encode_ngrams
from taskgram_utils.errors import InputError, require


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
        self.vocabulary = Vocabulary(listed)
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
        listed = self.vocabulary.words()
        return " ".join(listed[i] for i in ids)

    def save(self, folder: Path) -> None:
        text = "".join(f"{w}\n" for w in self.vocabulary.words())
        (folder / self.file).write_text(text, "utf-8", "surrogatepass")


class Pieces:
    """Tokens are those of a Hugging Face tokenizer file; an asked n-gram is encoded as it stands after a space."""

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
