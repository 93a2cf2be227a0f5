"""The size of the package, room by room: a budget is raised only by a commit that says why."""

import ast
import io
import tokenize

import pytest

from taskgram_utils.run.reads import PACKAGE

LIB = PACKAGE.parent / "notebooks" / "lib"
QUIET = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


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
