"""The page on one's own model: its commands work as they stand there, and print what the page shows."""

import json
import re

import pandas as pd
import pytest

from taskgram_utils.tables import EXAMPLES
from taskgram_utils.tasks.base import check_examples
from tests.test_readme import ROOT, run

PAGE = (ROOT / "book" / "your_model.md").read_text(encoding="utf-8")
STEPS = re.findall(r"<!-- (\w+) -->\n```bash\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE, re.S)
NUMBER = re.compile(r"-?\d+\.\d+")


def test_its_commands_print_what_it_shows(tmp_path):
    """Numbers with decimals within .01: the last digits are the machine's."""
    script = "\n".join(f"echo '== {name}'\n{block}" for name, block, _ in STEPS)
    script = script.replace("OUT=build/own", f"OUT={tmp_path}/own")
    printed = run(f"exec 2>&1\n{script}", ROOT).stdout
    assert [name for name, _, _ in STEPS] == re.findall(r"^== (\w+)$", printed, re.M)
    lines = printed.splitlines()
    for name, _, shown in STEPS:
        start = lines.index(f"== {name}") + 1
        for line in shown.splitlines():
            alike = [one for one in lines[start:] if NUMBER.sub("#", one) == NUMBER.sub("#", line)]
            assert alike, f"{name}: {line}"
            numbers = [list(map(float, NUMBER.findall(one))) for one in (*alike, line)]
            assert any(one == pytest.approx(numbers[-1], abs=0.01) for one in numbers[:-1]), f"{name}: {alike}"
    assert sum(bool(shown) for _, _, shown in STEPS) == 7


def test_the_table_of_columns_is_that_of_the_examples():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| .* \| (yes|no) \|$", PAGE, re.M)
    columns = {name: needed for names, needed in rows for name in re.findall(r"\w+", names)}
    assert columns.keys() < EXAMPLES.keys()
    lines = (ROOT / "book" / "your_model" / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    for name in (name for name, needed in columns.items() if needed == "yes"):
        assert all(name in json.loads(line) for line in lines)
    assert re.search(r"```json\n(.*)\n```", PAGE)[1] in lines and len(lines) == 12


def test_its_files_are_there_and_its_questions_are_answered_by_its_text():
    for file in re.findall(r"\{download\}`[^<`]*<([^>]+)>`", PAGE):
        assert (ROOT / "book" / file).is_file(), file
    examples = check_examples(pd.read_json(ROOT / "book" / "your_model" / "examples.jsonl", lines=True))
    text = (ROOT / "book" / "your_model" / "text.txt").read_text(encoding="utf-8").split("\n\n")
    for x, y in examples[["x", "y"]].itertuples(index=False):
        person = re.search(r"[A-Z]\w+ [A-Z]\w+", x.removeprefix("Which ").removeprefix("Who "))[0]
        assert any(person in one and y.strip() in one for one in text), x
