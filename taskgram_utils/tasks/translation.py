"""Translation: English into the other language, sentence by sentence."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import words
from taskgram_utils.tasks import files
from taskgram_utils.tasks.base import Task, exact_match, example, table, test_size

LANGUAGES = {"hu": "Hungarian", "cs": "Czech", "de": "German", "it": "Italian", "es": "Spanish",
             "fr": "French"}
"""The paper's six, by code; English is the other side of each."""
_ENDINGS = {"hu": "hun", "cs": "ces", "de": "deu", "it": "ita", "es": "spa", "fr": "fra"}
_PARTS = {"newstest2009": "news", "newssyscomb2009": "syscomb"}


def miniature(world: World) -> pd.DataFrame:
    """``unseen``: sentences that no document holds; ``copied``: held-out ones written 1 to 64 times
    word for word."""
    rows = {}  # by sentence: none is in two sets
    for split, group, name, size in (
        ("test", "unseen", "test", test_size(world, 400)), ("test", "copied", "copied", world.copied),
        ("train", "unseen", "train", test_size(world, 300)),
    ):
        pairs = zip(*world.sentence_pairs(np.arange(size), name), strict=True)
        for i, (x, y) in enumerate(pairs):
            row = example(f"tr-{name}-{i}", split, group, prompt("translation", 0), x, y)
            rows.setdefault(x, row)
    return table("translation", list(rows.values()))


def read(
    source: str | Path, languages: Sequence[str] = tuple(LANGUAGES), direction: str = "into"
) -> pd.DataFrame:
    """WMT-09: news sentences of six languages with English, ``into`` the language or ``from`` it.

    ``source`` is a folder that has, at any depth, line-aligned newstest2009 and newssyscomb2009 of
    both languages of a pair (a folder a pair, or one for all; endings of three letters, as in
    OPUS-MT-testsets, or of two). ``group`` is the pair, as in ``en-cs``; all examples are ``test``.
    Raises InputError for a language that is not one of the six, files that are missing and sides of
    different length.
    """
    unknown = [code for code in languages if code not in LANGUAGES]
    known = ", ".join(LANGUAGES)
    require(not unknown, f"language {', '.join(unknown)}: not one of {known}")
    require(direction in ("into", "from"), f"direction {direction}: into or from")
    root = files.local(source, "WMT-09, newstest2009 and newssyscomb2009 of each language and English,")
    rows = []
    for code, part in itertools.product(languages, _PARTS):
        sides = {"en": "English", code: LANGUAGES[code]}
        paths = dict(zip(sides, _aligned(root, part, code), strict=True))
        lines = {side: files.text_lines(path) for side, path in paths.items()}
        (english, theirs), many = paths.values(), [len(side) for side in lines.values()]
        same = f"{theirs}: {many[1]:,} lines, {english.name} has {many[0]:,}"
        require(many[0] == many[1], same)
        x_side, y_side = sides if direction == "into" else reversed(sides)
        # A brace in a sentence is no place for the input: only the instruction has one.
        instruction = f"{sides[x_side]}: {{x}}\n{sides[y_side]}:"
        for number, pair in enumerate(zip(lines[x_side], lines[y_side], strict=True), 1):
            x, y = map(str.strip, pair)
            require(x and y, f"{theirs}, line {number}: empty here or in {english.name}")
            key = f"wmt09-{x_side}-{y_side}-{_PARTS[part]}-{number}"
            rows.append(example(key, "test", f"{x_side}-{y_side}", instruction, x, y))
    return table("translation", rows)


def _aligned(root: Path, part: str, code: str) -> tuple[Path, Path]:
    """The English file of a part and that in the other language."""
    for ending, english in itertools.product((_ENDINGS[code], code), ("eng", "en")):
        for path in listed(root, f"{part}.{ending}"):
            if path.with_suffix(f".{english}").is_file():
                return path.with_suffix(f".{english}"), path
    wanted = f"{part}.{_ENDINGS[code]} and {part}.eng, line by line, for {LANGUAGES[code]}"
    raise InputError(f"{root}: no {wanted}")


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """Every English word and its translation."""
    rows = [(i, word, world.dictionary[word])
            for i, x in zip(examples["example_id"], examples["x"], strict=True)
            for word in dict.fromkeys(words(x)) if word in world.dictionary]
    return pd.DataFrame(rows, columns=["example_id", "sx", "sy"])


def chrf(output: str, answers: list[str]) -> float:
    """Sentence chrF (sacrebleu), 0 to 1."""
    from sacrebleu import sentence_chrf

    return sentence_chrf(output, answers).score / 100


def languages(group: str) -> tuple[str, str]:
    """The languages of x and y of a pair such as en-cs; both English for a group of another
    name."""
    codes = re.fullmatch("([a-z]{2})-([a-z]{2})", str(group))
    return (codes[1], codes[2]) if codes else ("en", "en")


TASK = Task("translation", "Translation", miniature, truth, {"exact_match": exact_match, "chrf": chrf},
            max_tokens=320, read=read, languages=languages)
