"""Every chapter's form: the answer under the question, short cells that run as they are shown, no plumbing."""

import ast
import builtins
import statistics

import nbformat
import pytest

from taskgram_utils.run.reads import PACKAGE

NOTEBOOKS = sorted((PACKAGE.parent / "notebooks").glob("*.ipynb"))
COLUMNS, MEDIAN, MOST = 79, 5, 14
"""Characters of a line of code, lines of the median cell that is shown, and of the longest."""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return nbformat.read(request.param, as_version=4).cells


def code(cells, *left_out):
    return [c for c in cells if c.cell_type == "code" and not set(left_out) & set(c.metadata.get("tags", ()))]


def test_the_answer_is_under_the_question(cells):
    lines = cells[0].source.split("\n")
    title, *rest = lines[lines[0].startswith("(sec-") :]
    assert title.startswith("# ") and cells[0].cell_type == "markdown"
    places = [next(i for i, line in enumerate(rest) if start in line) for start in ("?**", "{admonition} Answer")]
    question, box = places
    assert question < box <= question + 3
    assert "Time to learn" in cells[0].source


def test_cells_are_short_and_have_no_plumbing(cells):
    assert not [c.source for c in code(cells) if "glue(" in c.source]
    shown = [c.source.strip().split("\n") for c in code(cells, "remove-input", "parameters")]
    assert not [line for lines in shown for line in lines if len(line) > COLUMNS]
    open_cells = [len(c.source.split("\n")) for c in code(cells, "remove-input", "hide-input", "parameters")]
    assert statistics.median(open_cells) <= MEDIAN and max(open_cells) <= MOST


def names(source):
    """The names that a cell needs from before, and those that it defines."""
    tree = ast.parse(source)
    comprehensions = ast.GeneratorExp | ast.ListComp | ast.DictComp | ast.SetComp
    functions = ast.FunctionDef | ast.Lambda | ast.ClassDef | comprehensions
    needed, defined = set(), set()

    def visit(node, inside=frozenset()):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        if isinstance(node, functions):
            inner = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            inside |= inner | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        if isinstance(node, ast.Assign | ast.For | ast.AugAssign):  # what is computed comes before what is bound
            visit(node.iter if isinstance(node, ast.For) else node.value, inside)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            visit(ast.Name(node.target.id, ast.Load()), inside)
        if isinstance(node, ast.Name) and node.id not in inside:
            if isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif node.id not in defined:
                needed.add(node.id)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree)
    return needed - set(dir(builtins)), defined


def test_what_a_page_shows_runs_when_copied(cells):
    """No cell that is shown, open or collapsed, needs a name that only a removed cell defines."""
    known, removed = {"get_ipython", "display"}, set()
    for cell in code(cells):
        needed, defined = names(cell.source)
        if "remove-input" in cell.metadata.get("tags", ()):
            removed |= defined - known
        else:
            assert not needed & (removed - known), cell.source
            assert needed <= known, f"{needed - known}: {cell.source}"
            known |= defined


@pytest.mark.parametrize(("source", "needed", "defined"), [
    ("a = b + 1\nc = a", {"b"}, {"a", "c"}), ("def f(x, y=k):\n    z = x\n    return z + g", {"k", "g"}, {"f"}),
    ("t = [q for q in rows if q > low]", {"rows", "low"}, {"t"}), ("import a.b as c, d.e\nc.x(d)", set(), {"c", "d"}),
    ("for i, v in pairs:\n    v2 = i + v", {"pairs"}, {"i", "v", "v2"}), ("x += 1", {"x"}, {"x"}),
])  # fmt: skip
def test_names(source, needed, defined):
    found = names(source)
    assert found[0] == needed and found[1] == defined
