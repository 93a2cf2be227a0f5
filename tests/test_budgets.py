"""The size of the package, room by room: a budget is raised only by a commit that says why."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from taskgram_utils.run.reads import PACKAGE

PROJECT = PACKAGE.parent
LIB = PROJECT / "notebooks" / "lib"
QUIET = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
COLUMNS = 100
CHAPTERS = 4000
"""Code lines of all single chapters: what makes their tables, and the sentences made of them, which no cell holds."""
CORE = """tables ngrams corpus embedding mining tasks/base tasks/files tasks/translation counting/base counting/scan
counting/passes language_models/taskgram language_models/infinigram language_models/points language_models/packing
language_models/forward language_models/neural jackknife statistics memorization performance run/store
run/recipes run/pipeline""".split()
"""What one reads to follow a number from the text to a figure, with one task for all."""
ROOMS = {
    "core path": (CORE, 3570),
    "files and text": ("reading texts folders round_trip errors progress compiled cluster __init__".split(), 560),
    "tasks": (["tasks/"], 315),
    "counting: index, web service, evidence": (["counting/"], 780),
    "counting engine": (["counting/engine/"], 1385),
    "opening and asking models": (["language_models/", "packaged", "bertscore"], 695),
    "checks of mining, controls of Mem": (["mining_checks", "controls", "factors"], 225),
    "novelty, overlap, influence": (["novelty", "influence"], 450),
    "miniature world and training": (["miniature/", "suites", "training"], 940),
    "prompts": (["prompting", "run/prompts"], 205),
    "runs": (["run/", "fetching"], 1340),
    "book, pages, figures, command": (["book", "pages", "figures", "cli"], 1510),
}
"""Each room's modules (or a folder's, those of rooms named more exactly apart) and the most code lines it may have."""


def code_lines(text: str) -> int:
    """Lines that are neither blank, comment nor docstring."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    lines = {line for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in QUIET
             for line in range(token.start[0], token.end[0] + 1) if text.split("\n")[line - 1].strip()}  # fmt: skip
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize(("text", "lines"), [
    ('"""Title."""\n\nx = 1  # why\n# only that\n', 1),
    ("def f(a,\n      b):\n    '''Doc\n\n    end.'''\n    return a\n", 3),
    ("x = '''one\n\ntwo'''\n", 2), ("", 0),
])  # fmt: skip
def test_code_lines(text, lines):
    assert code_lines(text) == lines


def room_of(module: str) -> str:
    """The room that names a module most exactly."""
    parts = [(len(part), name) for name, (parts, _) in ROOMS.items() for part in parts
             if part == module or (part.endswith("/") and module.startswith(part))]  # fmt: skip
    assert parts, f"{module} is in no room"
    return max(parts)[1]


def modules(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(folder.rglob("*.py"))}  # fmt: skip


def test_every_room_keeps_to_its_budget():
    used = dict.fromkeys(ROOMS, 0)
    for module, text in modules(PACKAGE).items():
        used[room_of(module)] += code_lines(text)
    over = {name: (lines, ROOMS[name][1]) for name, lines in used.items() if lines > ROOMS[name][1]}
    assert not over, f"(code lines, budget): {over}; take something away, or raise the budget and say why"


def test_the_code_of_single_chapters_keeps_to_its_budget():
    assert sum(map(code_lines, modules(LIB).values())) <= CHAPTERS


@pytest.mark.parametrize("folder", [PACKAGE, LIB], ids=lambda folder: folder.name)
def test_no_line_is_longer_than_a_hundred_columns(folder):
    long = [f"{module}:{number}" for module, text in modules(folder).items()
            for number, line in enumerate(text.split("\n"), 1) if len(line) > COLUMNS]  # fmt: skip
    assert not long


def test_the_engine_is_entered_by_its_door():
    inside = re.compile(r"counting\.engine\.\w+|counting\.engine import \(?\s*(?:" + "|".join(
        path.stem for path in (PACKAGE / "counting/engine").glob("[a-z]*.py")) + r")\b")  # fmt: skip
    others = {module: text for module, text in modules(PACKAGE).items() if not module.startswith("counting/engine/")}
    assert not [module for module, text in others.items() if inside.search(text)]


def test_imports_point_down_to_files_that_are_there():
    for name in re.findall(r"`([\w/]+\.py)`", (PACKAGE / "README.md").read_text(encoding="utf-8")):
        assert (PACKAGE / name).is_file() or any(PACKAGE.rglob(name)), name


def test_what_the_readme_of_the_package_shows_works(capsys, monkeypatch):
    monkeypatch.chdir(PROJECT)
    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.S)
    exec("\n".join(blocks), {})
    counted, reference, scored = capsys.readouterr().out.strip().split("sy")[1:4]
    assert "documents" in counted and "-0.08" in reference and "-25." not in scored and "-21.59" in scored
