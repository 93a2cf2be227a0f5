"""The page for contributors: what it names is there; the hooks of a commit check what make lint checks."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_what_it_names_is_there():
    named = re.findall(r"`((?:taskgram_utils|notebooks|book|results|tests|\.ci|_toc\.yml|\.pre-)[\w/.-]*)`", PAGE)
    named += re.findall(r"(?<= )tests/[\w/.]+", PAGE) + re.findall(r"\]\(([^)]+)\)", PAGE)
    missing = [name for name in named if "NN" not in name and name != "taskgram_utils.errors.require"]
    assert len(named) > 20 and [name for name in missing if not (ROOT / name.rstrip(".")).exists()] == []
    targets = re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {*re.findall(r"make ([a-z-]+)", PAGE)} <= {*targets}


def test_the_names_in_its_steps_are_those_of_the_code():
    from taskgram_utils import cli
    from taskgram_utils.counting.base import Counter
    from taskgram_utils.run import pipeline

    assert {"counts", "documents_with"} == Counter.__abstractmethods__ and "exact" in Counter.__annotations__
    assert cli._ONLY_FOR and callable(pipeline.counter)


def test_the_hooks_run_what_make_lint_runs():
    lint = re.search(r"(?m)^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == re.findall(r"\$\(BIN\)/(\w+)", lint)
    for hook in hooks:
        tool, *options = hook["entry"].removesuffix(" --force-exclude").split()
        assert tool == f".venv/bin/{hook['id']}" and hook["language"] == "system"
        assert " ".join(["$(BIN)/" + hook["id"], *options]) in lint
    for folder in ("book/a.md", "notebooks/a.ipynb", "README.md", "CONTRIBUTING.md"):
        assert re.search(hooks[1]["files"], folder) and folder.split("/")[0] in lint
