"""Maths reasoning: a word problem and its worked solution."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from taskgram_utils.miniature.draws import below, key
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.tasks.base import Task, table, test_size


def miniature(world: World) -> pd.DataFrame:
    """``seen``: operand pairs of the corpus in new words; ``held_out``: pairs that no document has, in either order;
    ``copied``: held-out problems written 1 to 64 times word for word."""
    size = test_size(world, 300)
    corpus = below(key("seen problems", world.world), np.arange(2 * size), world.sizes["arithmetic"])
    copied = world.held_out_operands(np.arange(world.copied), "copied")
    written = set(zip(*map(np.ndarray.tolist, (np.minimum(*copied[:2]), np.maximum(*copied[:2]))), strict=True))
    sets = (
        ("test", "seen", "test seen", tuple(p[:size] for p in world.operands(corpus))),
        ("test", "held_out", "test held out", world.held_out_operands(np.arange(2 * size), "test")),
        ("test", "copied", "copied", copied),
        ("train", "seen", "train seen", tuple(p[size:] for p in world.operands(corpus))),
    )
    rows = []
    for split, group, stream, (a, b, minus) in sets:
        keep = np.ones(len(a), bool)
        if group == "held_out":
            keep = np.array([(min(p), max(p)) not in written for p in zip(a.tolist(), b.tolist(), strict=True)])
            keep &= np.cumsum(keep) <= size
        texts, solutions = world.problems(a, b, minus, np.arange(len(a)), stream)
        rows += [
            {"example_id": f"ma-{split}-{group}-{i}", "split": split, "group": group,
             "instruction": prompt("math_reasoning", 0), "x": texts[i], "y": f" {solutions[i]}",
             "answers": [final_number(solutions[i])]}
            for i in np.nonzero(keep)[0].tolist()
        ]  # fmt: skip
    return table("math_reasoning", rows).drop_duplicates(["split", "x"], ignore_index=True)


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """Either operand and the answer."""
    rows = [(i, operand, answers[0])
            for i, x, answers in zip(examples["example_id"], examples["x"], examples["answers"], strict=True)
            for operand in dict.fromkeys(re.findall(r"\d+", x))]  # fmt: skip
    return pd.DataFrame(rows, columns=["example_id", "sx", "sy"])


def final_number(text: str) -> str:
    """The last number of a worked solution, without thousands separators; empty where there is none."""
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return numbers[-1].replace(",", "") if numbers else ""


def accuracy(output: str, answers: list[str]) -> float:
    """1 where the final number is right."""
    return float(final_number(output) in answers)


TASK = Task("math_reasoning", "Maths reasoning", miniature, truth, {"accuracy": accuracy}, max_tokens=72)
