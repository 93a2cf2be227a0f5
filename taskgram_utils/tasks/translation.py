"""Translation: English into the other language, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import words
from taskgram_utils.tasks.base import Task, exact_match, table, test_size
from taskgram_utils.tasks.files import HUB, folder, text_lines


def miniature(world: World) -> pd.DataFrame:
    """``unseen``: sentences that no document holds; ``copied``: held-out ones written 1 to 64 times word for word."""
    sets = (("test", "unseen", "test", test_size(world, 400)), ("test", "copied", "copied", world.copied),
            ("train", "unseen", "train", test_size(world, 300)))  # fmt: skip
    rows, seen = [], set()
    for split, group, name, size in sets:
        for i, (english, velti) in enumerate(zip(*world.sentence_pairs(np.arange(size), name), strict=True)):
            if english not in seen:
                seen.add(english)
                rows.append({"example_id": f"tr-{name}-{i}", "split": split, "group": group,
                             "instruction": prompt("translation", 0), "x": english, "y": f" {velti}",
                             "answers": [velti]})  # fmt: skip
    return table("translation", rows)


LANGUAGES = {"hu": "Hungarian", "cs": "Czech", "de": "German", "it": "Italian", "es": "Spanish", "fr": "French"}
"""The paper's six, by the code of a source file's ending; en is the other side of each."""
_ENDINGS = {"en": "eng", "hu": "hun", "cs": "ces", "de": "deu", "it": "ita", "es": "spa", "fr": "fra"}
_PARTS = {"newstest2009": "news", "newssyscomb2009": "syscomb"}


def read(source: str | Path, languages: Sequence[str] = tuple(LANGUAGES), direction: str = "into") -> pd.DataFrame:
    """WMT-09: news sentences of six languages with English, ``into`` the language or ``from`` it; all are ``test``.

    ``source`` is a folder that has, at any depth, line-aligned newstest2009 and newssyscomb2009 of both
    languages of a pair (a folder a pair, or one for all; endings of three letters, as in OPUS-MT-testsets, or of two).
    ``group`` is the pair, as in ``en-cs``. Raises InputError for a language that is not one of the six, files that are
    missing and sides of different length.
    """
    unknown = [code for code in languages if code not in LANGUAGES]
    require(not unknown, f"language {', '.join(unknown)}: not one of {', '.join(LANGUAGES)}")
    require(direction in ("into", "from"), f"direction {direction}: into or from")
    wanted = "a folder with newstest2009 and newssyscomb2009 of each language and English, line by line"
    require(str(source) != HUB, f"translation: WMT-09 is read from files; the source is {wanted}")
    root, rows = folder(source, "newstest2009 and newssyscomb2009 of each language and English"), []
    for code in languages:
        one, other = ("en", code) if direction == "into" else (code, "en")
        pair, names = f"{one}-{other}", LANGUAGES | {"en": "English"}
        # Braces stand for the input: a text that holds some is left as it is.
        instruction = f"{names[one]}: {{x}}\n{names[other]}:"
        for part in _PARTS:
            paths = _aligned(root, part, code)
            sides = {name: text_lines(path) for name, path in paths.items()}
            lengths = {name: len(lines) for name, lines in sides.items()}
            same = len(set(lengths.values())) == 1
            require(same, f"{paths[code]}: {lengths[code]:,} lines, {paths['en'].name} has {lengths['en']:,}")
            for number, (x, y) in enumerate(zip(sides[one], sides[other], strict=True), 1):
                empty = not (x.strip() and y.strip())
                require(not empty, f"{paths[code]}, line {number}: empty here or in {paths['en'].name}")
                rows.append({"example_id": f"wmt09-{pair}-{_PARTS[part]}-{number}", "split": "test", "group": pair,
                             "instruction": instruction, "x": x.strip(), "y": f" {y.strip()}",
                             "answers": [y.strip()]})  # fmt: skip
    return table("translation", rows)


def _aligned(root: Path, part: str, code: str) -> dict[str, Path]:
    """The two files of a part, by language."""
    for mine in (_ENDINGS[code], code):
        for path in listed(root, f"{part}.{mine}"):
            for english in ("eng", "en"):
                other = path.with_suffix(f".{english}")
                if other.is_file():
                    return {code: path, "en": other}
    wanted = f"{part}.{_ENDINGS[code]} and {part}.eng"
    raise InputError(f"{root}: no {wanted}, line by line, for {LANGUAGES[code]}")


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """Every English word and its translation."""
    rows = [(i, word, world.dictionary[word]) for i, x in zip(examples["example_id"], examples["x"], strict=True)
            for word in dict.fromkeys(words(x)) if word in world.dictionary]  # fmt: skip
    return pd.DataFrame(rows, columns=["example_id", "sx", "sy"])


def chrf(output: str, answers: list[str]) -> float:
    """Sentence chrF (sacrebleu), 0 to 1."""
    from sacrebleu import sentence_chrf

    return sentence_chrf(output, answers).score / 100


def languages(group: str) -> tuple[str, str]:
    """The languages of x and y of a pair such as en-cs; of a group of another name English is assumed."""
    codes = re.fullmatch("([a-z]{2})-([a-z]{2})", str(group))
    return (codes[1], codes[2]) if codes else ("en", "en")


TASK = Task("translation", "Translation", miniature, truth, {"exact_match": exact_match, "chrf": chrf}, max_tokens=320,
            read=read, languages=languages)
