"""What is installed, which runs can work here, what is missing and how to get it."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from taskgram_utils import pipeline
from taskgram_utils.errors import InputError, require
from taskgram_utils.miniature.world import LEAST
from taskgram_utils.run import Run, project_root, versions

# What a default book can do without: package, what it is for, how to get it.
OPTIONAL = (
    ("infini-gram", "infini_gram", "its own engine beside our counts, chapter 01", "pip install infini-gram, on Linux"),
    ("sentence-transformers", "sentence_transformers", "taskgram mine with E5, LaBSE, MiniLM ...",
     "pip install -e '.[hub]'"),
    ("datasets", "datasets", "tasks from the hub", "pip install -e '.[hub]'"),
    ("pytest", "pytest", "make test", "make test installs it"),
)  # fmt: skip
BYTES_A_DOCUMENT = 450
"""Disk that a run takes for each document of its corpus: text, index, tables."""


def parts() -> pd.DataFrame:
    """Packages and programs: name, version (``absent``), needed_for, get."""
    required = [(name, found, "every run", "make book installs it") for name, found in versions().items()]
    optional = []
    for name, module, use, get in OPTIONAL:
        found = versions([name])[name] if find_spec(module) else "absent"
        optional.append((name, found, use, get))
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    optional.append(("chromium", browser or "absent", "tests that look at the pages", "apt-get install chromium"))
    return pd.DataFrame([*required, *optional], columns=["part", "version", "needed_for", "get"])


def runs() -> pd.DataFrame:
    """Every run file: run, state (``ready`` or ``lacks something``), detail."""
    rows = []
    for path in sorted((project_root() / "notebooks" / "runs").glob("*.yaml")):
        run = pipeline.open_run(path.stem)
        found = lacking(run)
        rows.append((path.stem, "lacks something" if found else "ready", "; ".join(found) or describe(run)))
    return pd.DataFrame(rows, columns=["run", "state", "detail"])


def describe(run: Run) -> str:
    """What a run is made of, in one line."""
    own = pipeline.own_sizes(run)
    kind = {model: "shipped" if run["weights"] else "trained in the run" for model in own}
    named = ", ".join(f"{model} ({kind.get(model, 'its own')})" for model in pipeline.models(run))
    return f"{run['documents']:,} documents, models {named}, about {_space(run) / 1e9:.1f} GB of disk"


def lacking(run: Run) -> list[str]:
    """What keeps a run from working here, and what to do about it; empty where nothing does."""
    found = []
    if run["documents"] < LEAST:
        found.append(f"documents {run['documents']}: a world needs at least {LEAST:,}")
    found += [f"orders: {n!r} is no number of words" for n in run["orders"] if not isinstance(n, int) or n < 1]
    try:
        pipeline.check_models(run)
    except InputError as error:
        found.append(str(error))
    name = str(run["embedding"])
    if name != "twin" and not Path(name).is_dir() and not find_spec("sentence_transformers"):
        found.append(f"embedding {name}: pip install -e '.[hub]' for sentence-transformers")
    free = shutil.disk_usage(run.folder.parents[2]).free
    if free < _space(run):
        found.append(f"disk: about {_space(run) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    return found


def require_ready(run: Run) -> str:
    """:func:`describe` of a run that can work; InputError with what it lacks for another."""
    found = lacking(run)
    require(not found, f"run {run.name} cannot work here: {'; '.join(found)}")
    return describe(run)


def _space(run: Run) -> float:
    return run["documents"] * BYTES_A_DOCUMENT + 1e8
