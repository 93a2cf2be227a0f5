"""The site that the page tests look at: the one built in this checkout, else the book's prose over stub chapters."""

import contextlib
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from taskgram_utils import book

REPOSITORY = Path(__file__).resolve().parents[2]
FULL = "06_memorization_analysis"
FIGURE = {
    "mystnb": {
        "figure": {"name": "fig-this_task", "caption": "Log probability against log count, TASKNAME."},
        "image": {"alt": "A rising line of four points", "width": "80%"},
    }
}
PROSE = """(sec-this_task)=
# Stub: TASKNAME
See {ref}`sec-method-mem`, {eq}`eq-mem`, {term}`document`, {cite:p}`wang2025generalization`, {numref}`fig-this_task` and
{numref}`tab-this_task`. There are {glue:text}`points-this_task` points."""
TABLE = """````{table} A table that is wide enough to need scrolling on a phone
:name: tab-this_task

```{glue:md} table-this_task
:format: myst
```
````"""
NUMBERED = "11_across_tasks"
STUB_TABLE = "glue('tab-stub', Markdown('| a |\\n|---|\\n| 1 |'), display=False)"
EXERCISE = """```{exercise} Count again
:label: ex-this_task

How many points lie above the line?
```

````{solution} ex-this_task
:class: dropdown

None does.
````"""


def _write(root: Path, name: str, *cells) -> None:
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": spec}), root / "notebooks" / f"{name}.ipynb")


def _parameters(text: str):
    return new_code_cell(text, metadata={"tags": ["parameters"]})


def lay_out(root: Path) -> None:
    """The book's own prose, configuration and contents over stub chapters that run in a second each; every key that a
    prose page takes from a chapter is glued by its stub, and every figure or table that it numbers is a table of it."""
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(REPOSITORY / name, root)
    shutil.copytree(REPOSITORY / "book", root / "book")
    (root / "results").symlink_to(REPOSITORY / "results")
    (root / "notebooks" / "runs").mkdir(parents=True)
    (root / "notebooks" / "runs" / "tiny.yaml").write_text("jobs: 20\n")
    prose = "".join(p.read_text(encoding="utf-8") for p in (root / "book").glob("*.md"))
    wanted = set(re.findall(r"notebooks/(\w+)\.ipynb::([\w-]+)", prose))
    blocks = re.findall(r"```\{glue\} ([\w-]+)\n:doc: \.\./notebooks/(\w+)\.ipynb", prose)
    numbered = [TABLE.replace("tab-this_task", label).replace("table-this_task", "tab-stub")
                for label in dict.fromkeys(re.findall(r"{numref}`([\w-]+)`", prose))]  # fmt: skip
    for name in dict.fromkeys(re.findall(r"notebooks/(\w+)", (root / "_toc.yml").read_text())):
        if name.startswith(FULL[:3]):  # the page itself, or one filled in for a task
            continue
        glued = [f"glue({key!r}, 'filled', display=False)" for page, key in wanted if page == name]
        glued += [f"glue({key!r}, HTML('<p>filled</p>'), display=False)" for key, page in blocks if page == name]
        glued = "\n".join(glued)
        _write(
            root,
            name,
            new_markdown_cell(f"# Stub {name}"),
            _parameters('run = "miniature"  # the run\nn = 3  # words'),
            new_code_cell(f"from IPython.display import HTML, Markdown\nfrom myst_nb import glue\n{glued}"),
            *([new_code_cell(STUB_TABLE), *map(new_markdown_cell, numbered)] if name == NUMBERED else []),
        )
    _write(
        root,
        FULL,
        new_markdown_cell(PROSE),
        _parameters('run = "miniature"  # the run\ntask = "factual_qa"  # the task\nn = 3  # words'),
        new_code_cell(
            "import matplotlib.pyplot as plt\nimport pandas as pd\n"
            "from IPython.display import Markdown\nfrom myst_nb import glue"
        ),
        new_code_cell("glue('points-this_task', 4, display=False)"),
        new_code_cell("figure, axes = plt.subplots()\naxes.plot([1, 2, 3, 4]);", metadata=FIGURE),
        new_code_cell(
            "frame = pd.DataFrame({f'a_long_column_{i}': [1.5, 2.5] for i in range(12)})\n"
            "glue('table-this_task', Markdown(frame.to_markdown(index=False)), display=False)\nframe"
        ),
        new_markdown_cell(TABLE),
        new_markdown_cell(EXERCISE),
    )


@pytest.fixture(scope="session")
def site(together) -> Path:
    """Folder of the rendered pages."""
    built = REPOSITORY / "build" / "book" / "html"
    if (built / "index.html").exists():
        return built
    root = together / "book"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            root.mkdir()
            lay_out(root)
        with contextlib.chdir(root):  # what is built is not built again
            return book.build(book.plan("tiny"), strict=True, progress=False).parent
