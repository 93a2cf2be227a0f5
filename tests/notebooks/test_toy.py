"""The chapter that counts by hand: its code as it stands, and its numbers against others made without it."""

import code
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

REPOSITORY = Path(__file__).resolve().parents[2]
CHAPTER = REPOSITORY / "notebooks" / "01_toy.ipynb"
NAMES = ("documents", "pairs", "shares", "frequency", "model_a", "model_b", "mem_a", "mem_b", "given_a", "given_b")


@pytest.fixture(scope="module")
def cells() -> list[str]:
    return [cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def found(cells, tmp_path_factory) -> dict:
    """What the names mean after all cells ran in order, in a process and a folder of their own."""
    folder = tmp_path_factory.mktemp("toy")
    last = [
        "import json",
        f"known = {{name: globals()[name] for name in {NAMES}}}",
        "known['table'] = table[['model', 'measure', 'estimate', 'points']].to_dict('records')",
        "known['counts'] = [[r.sx, None if pd.isna(r.sy) else r.sy, r.count] for r in counts.itertuples()]",
        "Path('found.json').write_text(json.dumps(known, default=float), encoding='utf-8')",
    ]
    (folder / "chapter.py").write_text("\n".join([*cells, *last]), encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "chapter.py"], cwd=folder, env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["chapter.py", "found.json"], "nothing else is written"
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def documents(found) -> list[set[str]]:
    """The words of each document, by another way than the chapter's."""
    return [{word.strip(".,?").lower() for word in text.split()} for text in found["documents"]]


def test_the_counts_are_those_of_the_words(found, documents):
    assert len(documents) == 5 and len(found["pairs"]) == 6
    phrases = {(x, None) for pair in found["pairs"] for x in pair} | {tuple(pair) for pair in found["pairs"]}
    assert {(x, y) for x, y, _ in found["counts"]} == phrases
    for x, y, count in found["counts"]:
        assert count == sum(x in words and (y is None or y in words) for words in documents), (x, y)


def test_shares_and_frequencies_are_of_documents(found, documents):
    for (x, y), share, frequency in zip(found["pairs"], found["shares"], found["frequency"], strict=True):
        with_x = [words for words in documents if x in words]
        assert share == pytest.approx(np.mean([y in words for words in with_x]))
        assert frequency == sum(y in words for words in documents)


def test_mem_is_spearmans_and_the_partial_one_that_of_residuals(found):
    share, frequency = rankdata(found["shares"]), rankdata(found["frequency"])

    def rest(ranks):
        return ranks - np.polyval(np.polyfit(frequency, ranks, 1), frequency)

    by_measure = {(row["model"], row["measure"]): row for row in found["table"]}
    assert len(by_measure) == 4 and {row["points"] for row in found["table"]} == {6}
    for model in ("a", "b"):
        logp = found[f"model_{model}"]
        raw = spearmanr(found["shares"], logp).statistic
        given = np.corrcoef(rest(share), rest(rankdata(logp)))[0, 1]
        assert found[f"mem_{model}"] == pytest.approx(raw)
        assert found[f"given_{model}"] == pytest.approx(given, abs=1e-9)
        name = model.upper()
        assert by_measure[name, "spearman"]["estimate"] == pytest.approx(raw)
        assert by_measure[name, "spearman|log_count_sy"]["estimate"] == pytest.approx(given, abs=1e-9)


def test_the_model_that_ignores_the_question_has_the_higher_mem_and_nothing_given_the_frequency(found):
    answers = [y for _, y in found["pairs"]]
    assert len(set(zip(answers, found["model_b"], strict=True))) == len(set(answers))
    assert len(set(found["model_a"])) == len(answers)
    assert found["mem_b"] > found["mem_a"] > 0.6
    assert abs(found["given_b"]) < 1e-9 and found["given_a"] > 0.9
    assert all(max(found[f"model_{m}"]) < 0 for m in "ab")


def test_what_is_typed_by_hand_is_short_and_fits_the_page(cells):
    assert max(len(line) for cell in cells for line in cell.splitlines()) <= 79
    own = next(i for i, cell in enumerate(cells) if "import pandas" in cell)
    by_hand = [cell for cell in cells[2:own] if "matplotlib" not in cell]
    imported = {name for cell in by_hand for name in re.findall(r"(?m)^(?:import|from) (\w+)", cell)}
    assert imported == {"re", "statistics"}
    lines = [line for cell in by_hand for line in cell.splitlines()]
    lines = [line for line in lines if line.strip() and not re.match(r"\s*(print|assert|for .*:$)", line)]
    assert len(lines) < 50


def test_the_cells_can_be_typed(cells):
    """Line by line as Python's own prompt reads them: a block ends with an empty line."""
    console, errors = code.InteractiveConsole(), []
    console.showsyntaxerror = lambda *args, **options: errors.append(args)
    console.runcode = lambda typed: None
    for cell in cells:
        for line in [*cell.splitlines(), ""]:
            console.push(line)
        assert not errors, cell


def test_the_first_exercise_says_its_numbers(found):
    text = CHAPTER.read_text(encoding="utf-8")
    counts = {(x, y): count for x, y, count in found["counts"]}
    lima, eva = counts["lima", None], counts["eva", "lima"]
    assert f"Lima goes from {lima} documents to {lima + 1}, Eva and Lima from {eva} to {eva + 1}" in text
