"""Maths reasoning: a word problem and its worked solution."""

import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.miniature.draws import below, key
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.tasks import files
from taskgram_utils.tasks.base import Task, example, table, test_size

INSTRUCTION = "Solve the following math word problem step by step.\nQuestion: {x}\nAnswer:"


def miniature(world: World) -> pd.DataFrame:
    """``seen``: operand pairs of the corpus in new words; ``held_out``: pairs that no document has,
    in either order; ``copied``: held-out problems written 1 to 64 times word for word."""
    size = test_size(world, 300)
    drawn = below(key("seen problems", world.world), np.arange(2 * size), world.sizes["arithmetic"])
    seen = np.array(world.operands(drawn))
    held_out = world.operands(np.arange(2 * size), "test")
    copied = world.operands(np.arange(world.copied), "copied")
    written = set(map(frozenset, zip(*copied[:2], strict=True)))
    sets = (("test", "seen", "test seen", seen[:, :size]),
            ("test", "held_out", "test held out", held_out), ("test", "copied", "copied", copied),
            ("train", "seen", "train seen", seen[:, size:]))
    rows = []
    for split, group, stream, (a, b, minus) in sets:
        texts, solutions = world.problems(a, b, minus, np.arange(len(a)), stream)
        numbers = range(len(a))
        if group == "held_out":
            numbers = [i for i in numbers if frozenset((a[i], b[i])) not in written][:size]
        for i in numbers:
            name, answers = f"ma-{split}-{group}-{i}", [final_number(solutions[i])]
            rows.append(example(name, split, group, prompt("math_reasoning", 0), texts[i],
                                solutions[i], answers=answers, stop=["\n"]))
    return table("math_reasoning", rows).drop_duplicates(["split", "x"], ignore_index=True)


def read(source: str | Path = files.HUB) -> pd.DataFrame:
    """GSM8K: ``train`` (to mine) and ``test``, from the hub (openai/gsm8k) or a folder.

    The folder has train.jsonl and test.jsonl, lines of question and answer. y is the worked
    solution without the calculator's marks <<…>>, the #### line, whose number is the answer, and
    blank lines, which would end an answer. Raises InputError for a row without question or answer,
    or a solution without a final number.
    """
    what, rows = "GSM8K's train.jsonl and test.jsonl", []
    for split in ("train", "test"):
        if str(source) == files.HUB:
            records = files.hub_rows("openai/gsm8k", "main", split, what)
        else:
            records = files.json_lines(Path(source) / f"{split}.jsonl", what)
        for number, (where, row) in enumerate(records, 1):
            question, worked = files.text(row, where, "question"), files.text(row, where, "answer")
            solution, _, last = worked.rpartition("####")
            require(solution.strip(), f"{where}: no solution before ####")
            require(len(_NUMBER.findall(last)) == 1,
                    f"{where}: {last.strip()!r} after #### is not one number")
            y = re.sub(r"\n\s*\n", "\n", re.sub(r"<<[^>]*>>", "", solution).strip())
            rows.append(example(f"gsm8k-{split}-{number}", split, "gsm8k", INSTRUCTION, question, y,
                                answers=[final_number(last)]))
    return table("math_reasoning", rows)


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """Either operand and the answer."""
    columns = examples[["example_id", "x", "answers"]]
    rows = [(i, operand, answers[0]) for i, x, answers in columns.itertuples(index=False)
            for operand in dict.fromkeys(re.findall(r"\d+", x))]
    return pd.DataFrame(rows, columns=["example_id", "sx", "sy"])


_MONEY, _NARROW = "$€£¥₹", "\u00a0\u2007\u2009\u202f"
_NUMBER = re.compile(
    rf"(?:(?<![\w%)\]])([-−]))?[{_MONEY}]?(?:(?<!\d)(?<!\d[,{_NARROW}])"
    rf"\d{{1,3}}(?:(?:,\d{{3}})+(?!,?\d)|(?:[{_NARROW}]\d{{3}})+(?!\d))(?:\.\d+)?|"
    rf"(?:(?<=[{_MONEY}])|(?<=[{_MONEY}] ))\d{{1,3}}(?: \d{{3}})+(?!\d)(?:\.\d+)?|"
    r"\d+(?:\.\d+)?|(?<![\w.])\.\d+)")


def final_number(text: str) -> str:
    """The number that a solution ends in, of digits, sign and point alone; empty where it has none.

    It is the first that stands right after ``####``, whatever follows, else the last. A comma, or a
    narrow or no-break space, joins groups of three digits, a plain space only after a currency sign
    (``$118 000``); other commas separate numbers (``1,2,3`` ends in 3). A point is a decimal point
    (``1.000`` is 1, ``.5`` is 0.5). ``-`` and ``−`` are a minus unless a letter, a digit, % or a
    closing bracket stands before them (``10-20`` ends in 20). Currency and percent signs and a full
    stop at the end are no part of a number.
    """
    marked = (_NUMBER.match(rest.lstrip(" \t")) for rest in text.split("####")[1:])
    number = next(filter(None, marked), None) or next(reversed([*_NUMBER.finditer(text)]), None)
    if number is None:
        return ""
    digits = re.sub(r"[^\d.]", "", number[0])
    return format(Decimal(f"-{digits}" if number[1] else digits), "f")


def accuracy(output: str, answers: list[str]) -> float:
    """1 where the final number has the value of an answer's, else 0: ``$29.00`` is 29."""
    number = final_number(output)
    right = {Decimal(n) for n in map(final_number, answers) if n}
    return float(number != "" and Decimal(number) in right)


# No gold solution of GSM8K's test split has more than 235 tokens of Pythia's, or 294 of SmolLM2's.
TASK = Task("math_reasoning", "Maths reasoning", miniature, truth, {"accuracy": accuracy},
            max_tokens=400, stop=("\n\n", "Question:"), read=read, worked=True)
