"""Translation: English into the other language, sentence by sentence."""

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
    """Sentences that no document holds (``unseen``), or that 1 to 64 hold (``copied``)."""
    sets = (("test", "unseen", "test", test_size(world, 400)),
            ("test", "copied", "copied", world.copied),
            ("train", "unseen", "train", test_size(world, 300)))
    rows = {}  # by sentence: none is in two sets
    for split, group, name, size in sets:
        for i, (x, y) in enumerate(zip(*world.sentence_pairs(np.arange(size), name), strict=True)):
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
    unknown = ", ".join(code for code in languages if code not in LANGUAGES)
    require(not unknown, f"language {unknown}: not one of {', '.join(LANGUAGES)}")
    require(direction in ("into", "from"), f"direction {direction}: into or from")
    root = files.local(source, "WMT-09, newstest2009 and newssyscomb2009 of all six and English,")
    rows, step = [], 1 if direction == "into" else -1  # from x to y, or the other way
    for code, part in itertools.product(languages, _PARTS):
        english, theirs = _aligned(root, part, code)
        sides = files.text_lines(english), files.text_lines(theirs)
        many = f"{len(sides[1]):,} lines, {english.name} has {len(sides[0]):,}"
        require(len(sides[0]) == len(sides[1]), f"{theirs}: {many}")
        group, languages_xy = "-".join(("en", code)[::step]), ("English", LANGUAGES[code])[::step]
        # A brace in a sentence is no place for the input: only the instruction has one.
        instruction = f"{languages_xy[0]}: {{x}}\n{languages_xy[1]}:"
        for number, pair in enumerate(zip(*sides[::step], strict=True), 1):
            x, y = map(str.strip, pair)
            require(x and y, f"{theirs}, line {number}: empty here or in {english.name}")
            key = f"wmt09-{group}-{_PARTS[part]}-{number}"
            rows.append(example(key, "test", group, instruction, x, y))
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
    """The languages of x and y of a pair such as en-cs; English for a group of another name."""
    codes = re.fullmatch("([a-z]{2})-([a-z]{2})", str(group))
    return (codes[1], codes[2]) if codes else ("en", "en")


METRICS = {"exact_match": exact_match, "chrf": chrf}
TASK = Task("translation", "Translation", miniature, truth, METRICS, max_tokens=320, read=read,
            languages=languages)
