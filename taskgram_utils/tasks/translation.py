"""Translation: English into the other language, sentence by sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import words
from taskgram_utils.tasks.base import Task, exact_match, table, test_size


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


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """Every English word and its translation."""
    rows = [(i, word, world.dictionary[word]) for i, x in zip(examples["example_id"], examples["x"], strict=True)
            for word in dict.fromkeys(words(x)) if word in world.dictionary]  # fmt: skip
    return pd.DataFrame(rows, columns=["example_id", "sx", "sy"])


def chrf(output: str, answers: list[str]) -> float:
    """Sentence chrF (sacrebleu), 0 to 1."""
    from sacrebleu import sentence_chrf

    return sentence_chrf(output, answers).score / 100


TASK = Task("translation", "Translation", miniature, truth, {"exact_match": exact_match, "chrf": chrf}, max_tokens=64)
