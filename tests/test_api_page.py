"""The page of functions: its examples run in order in a fresh process, and all that it names is in the package."""

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskgram_utils import book

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE)
SIGNATURES = re.findall(r"(?m)^\{py:\w+\}`\w+\((.*)\) <([\w.]+)>`$", PAGE)


def named(dotted: str):
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Path:
    """The root of a repository in which nothing has been made yet."""
    at = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "notebooks" / "runs", at / "notebooks" / "runs")
    (at / "taskgram_utils").symlink_to(ROOT / "taskgram_utils")
    return at


def test_the_examples_run_in_order(at):
    script = "import matplotlib\nmatplotlib.use('agg')\n" + "\n".join(EXAMPLES)
    script += "\nassert set(taskgrams['example_id']) == set(towns), taskgrams"
    script += "\nassert result.table['estimate'].notna().all() and (result.table['points'] == len(towns)).all()"
    script += "\nassert slopes(by_size)['slope'].notna().all(), slopes(by_size)['reason'].tolist()"
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=at, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "Dan lives in Rome. Eva moved to Lima" in found.stdout and not found.stderr


def test_each_function_has_its_signature_and_a_short_example():
    assert len(SIGNATURES) == 15 and len(EXAMPLES) == 16
    for (given, dotted), example in zip(SIGNATURES, EXAMPLES[1:], strict=True):
        assert dotted.rpartition(".")[2] in example
        lines = [line for line in example.splitlines() if line]
        assert 2 <= len(lines) <= 5 and max(map(len, lines)) <= 79, dotted
        wanted = inspect.signature(named(dotted)).parameters
        stub = ast.parse(f"def f({given.replace(', …', '')}): pass").body[0].args
        names = [a.arg for a in stub.args] + ([f"**{stub.kwarg.arg}"] if stub.kwarg else [])
        there = [f"**{p.name}" if p.kind is p.VAR_KEYWORD else p.name for p in wanted.values()]
        assert names == there[: len(names)] and ("…" in given) == (len(names) < len(there)), dotted
        defaults = dict(zip([a.arg for a in stub.args][::-1], map(ast.literal_eval, stub.defaults[::-1]), strict=False))
        assert defaults == {n: wanted[n].default for n in wanted
                            if n in names and wanted[n].default is not inspect.Parameter.empty}, dotted  # fmt: skip


def test_what_the_page_links_to_is_on_it():
    modules = set(re.findall(r"automodule:: ([\w.]+)", book.api_page()))
    links = re.findall(r"\{py:\w+\}`(?:~|[^`]*<)([\w.]+)>?`", PAGE)
    assert len(links) > 20
    for dotted in links:
        assert named(dotted).__module__ == dotted.rpartition(".")[0] in modules, dotted
        assert not dotted.rpartition(".")[2].startswith("_") and named(dotted).__doc__
