"""All tables of a run that need a model: one model at a time, on processes or a cluster."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taskgram_utils.cluster import in_processes, one_a_worker
from taskgram_utils.progress import Bar
from taskgram_utils.run.models import free_model, points_in_time, run_models, steps
from taskgram_utils.run.pipeline import RECIPES
from taskgram_utils.run.store import Run

_OF_MODELS = ("scores", "prior", "answers", "prompt_accuracy", "prompt_scores")
_LAST_STEP_ONLY = ("prior", "prompt_accuracy", "prompt_scores")


def ask_models(run: Run, progress: bool | None = None) -> None:
    """Make all tables for which a model is loaded, model by model and step by step: each loaded
    once, freed before the next, and each table written as it is made, so that a run that was
    stopped goes on where it was.

    Before them the text is counted and indexed, so that its warnings come here and not on a page.
    On CPUs, ``jobs`` processes share the models and the cores. With the run parameter
    ``scheduler``, every worker of that Dask cluster has one model at a time; the workers must find
    this run's folder by the same path.
    """
    run.path("examples")
    for model in run_models(run):
        if not model.suite:
            steps(run, model.name)  # a hub is asked for them
    # What a suite is trained for is looked at before the hours that this takes.
    before = ["taskgrams", "evaluated", "counts"]
    before += ["alternative_counts"] if run["alternative_document"] else []
    for name in [*before, *(["index"] if run["backend"] == "scan" else [])]:
        run.path(name)
    last, prompts = set(points_in_time(run, last=True)), "prompt_rounds" in run.parameters
    tables = [n for n in _OF_MODELS if prompts or not n.startswith("prompt")]
    waiting = []
    for model, step in points_in_time(run):
        final = (model, step) in last
        names = [f"{n}/{model}/{step}" for n in tables if final or n not in _LAST_STEP_ONLY]
        names += [f"parameters/{model}"] if final else []
        waiting += [] if all(map(run.is_current, names)) else [names]
    if not waiting:
        return
    if prompts:
        run.path("prompts")  # once, before several processes want it
    jobs = [(run.name, run.parameters, run.folder, run.root, names) for names in waiting[::-1]]
    silent = progress if progress is None else not progress
    with Bar(total=len(jobs), desc="models", unit="model", disable=silent) as bar:
        if run["scheduler"]:
            made = one_a_worker(run["scheduler"], _make, jobs)
        elif run["jobs"] > 1 and (run["device"] == "cpu" or not _has_gpu()):
            made = in_processes(_make, jobs, run["jobs"])
        else:
            made = (_make(*job) for job in jobs)
        for _ in made:
            bar.update()


def _make(
    name: str, parameters: dict[str, Any], folder: Path, root: Path, tables: Iterable[str]
) -> None:
    """Make some tables of one model in whichever process this is."""
    run = Run(name, parameters, folder, RECIPES, root)
    try:
        for table in tables:
            run.path(table)
    finally:
        free_model()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
