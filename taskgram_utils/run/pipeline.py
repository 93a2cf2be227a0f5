"""Opening a run, all of whose tables are made on demand; what notebooks need of one."""

import json
import os
import warnings
from typing import Any

from taskgram_utils.errors import InputWarning, require
from taskgram_utils.run import control_tables, recipes
from taskgram_utils.run.checks import renamed, require_values
from taskgram_utils.run.data import corpus, embedding, open_world, tasks_of, truth_known
from taskgram_utils.run.models import (
    at_last_step, check_models, family, load_model, loss_curves, main_model, models, own_sizes,
    sizes_in_parameters, steps,
)
from taskgram_utils.run.recipes import (
    OVERRIDES, counter, estimates_of, memorization_inputs, mined_examples, mining_options,
)
from taskgram_utils.run.store import Run, open_run_file

__all__ = ["at_last_step", "check_models", "corpus", "counter", "embedding", "estimates_of",
           "family", "load_model", "loss_curves", "main_model", "memorization_inputs",
           "mined_examples", "mining_options", "models", "open_world", "own_sizes",
           "sizes_in_parameters", "steps", "tasks_of", "truth_known"]  # for notebooks

RECIPES = recipes.RECIPES | control_tables.RECIPES


def open_run(name_or_path: str, **overrides: Any) -> Run:
    """Open a run: by name (``notebooks/runs/<name>.yaml``) or run file, with parameters of the run
    file replaced.

    ``run.table(name)`` reads a table, and makes it first where that is needed; :data:`RECIPES`
    lists the names. Raises InputError for an unknown run or parameter, and for a value that a
    parameter cannot have.

    >>> run = open_run("miniature")          # doctest: +SKIP
    >>> counts = run.table("counts")         # doctest: +SKIP
    """
    if OVERRIDES in os.environ:  # on a page; ask_models has given the warnings before
        warnings.simplefilter("ignore", InputWarning)
    overrides = json.loads(os.environ.get(OVERRIDES, "{}")) | overrides
    for name in overrides:
        require(not renamed(name), f"parameter {name}: unknown{renamed(name)}")
    run = open_run_file(name_or_path, RECIPES, overrides)
    require_values(run.parameters)
    return run


def check_task(run: Run, name: str) -> str:
    """``name`` itself; InputError unless it is one of the run's tasks."""
    names = ", ".join(tasks_of(run))
    require(name in tasks_of(run), f"task {name}: not one of {names}, the tasks of run {run.name}")
    return name


def check_order(run: Run, n: int) -> int:
    """``n`` itself; InputError unless the run counts n-grams of so many words."""
    sizes = run["ngram_sizes"]
    require(n in sizes, f"n: {n} is none of the ngram_sizes of run {run.name}: {sizes}")
    return n
