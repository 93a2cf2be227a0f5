"""Many models at many steps: loaded one after the other or on a Dask cluster, and what each finished is kept."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from taskgram_utils.cluster import one_a_worker
from taskgram_utils.errors import InputError, require
from taskgram_utils.language_models import neural
from taskgram_utils.language_models.loading import LanguageModel, files_state, identity, load, nearest, steps_of
from taskgram_utils.tables import read_table, write_table

_READ = ("example_id", "task", "group", "instruction", "x", "y", "options", "stop", "n", "sy", "start", "end")
CHUNK = 2000  # examples after which what was computed is kept


class Spec(NamedTuple):
    """A model to load: folder or hub name, and its step (null: as it is, or its last)."""

    model: str
    step: int | None


class Loading(NamedTuple):
    """How models are loaded: the arguments of :func:`~taskgram_utils.language_models.loading.load`."""

    dtype: str | None = None
    device: str | None = None
    pickled: bool = False


_AS_IT_COMES = Loading()


def specs(models: Sequence[str], steps: str | Sequence[int] | None = None) -> list[Spec]:
    """Every model at every step: ``steps`` are numbers, or ``all`` of each model, or None for the one it comes as.

    Raises InputError for steps that are no numbers, a model without steps, a step that a model has not (as far as the
    hub can be asked), and two models that the tables could not tell apart.
    """
    models = [models] if isinstance(models, (str, Path)) else list(models)
    require(models and all(str(model).strip() for model in models), "no model given")
    if isinstance(steps, str) and steps != "all":
        numbers = re.fullmatch(r"\d+(,\d+)*", steps)
        require(numbers, f"--step {steps}: numbers with commas between them, or all")
        steps = [int(step) for step in steps.split(",")]
    found = []
    for model in dict.fromkeys(map(str, models)):
        own = steps_of(model) if steps == "all" else [None] if steps is None else list(dict.fromkeys(steps))
        if not Path(model).expanduser().is_dir() and steps not in (None, "all"):
            there = own
            with suppress(InputError):  # not reached: it may be in the cache
                there = steps_of(model)
            absent = next((step for step in own if step not in there), None)
            why = f"model {model}, step {absent}: no such step on the hub ({nearest(absent or 0, there)})"
            require(absent is None, why)
        found += [Spec(model, step) for step in own]
    named: dict[tuple, Spec] = {}
    for spec in found:
        name = identity(*spec)
        other = named.setdefault(name, spec)
        called = name[0] + ("" if name[1] is None else f" step {name[1]}")
        same = f"models {other.model} and {spec.model} would both be {called} in the table: score them apart"
        require(other is spec, same)
    return found


def score_all(
    examples: pd.DataFrame, models: Sequence[Spec], taskgrams: pd.DataFrame | None = None,
    loading: Loading = _AS_IT_COMES, scheduler: Any = None, keep: Path | None = None, **options: Any,
) -> pd.DataFrame:  # fmt: skip
    """:func:`~taskgram_utils.language_models.neural.score` of every model, one table; ``options`` are its own.

    A model is loaded once and freed before the next. With ``keep`` the scores of every model and 2,000 examples are
    kept in that folder, so that a run that was stopped goes on where it was; :func:`forget` them when the result is
    where it belongs. ``scheduler`` names a Dask cluster, or is one: each of its workers has one model at a time, on as
    many threads as the worker has, and must find folders by the same paths; there a model is kept when it is done.
    """
    neural.prompts(examples)  # refuses what is wrong, before a model is loaded
    if taskgrams is not None:
        neural.points_of(taskgrams, set(examples["example_id"]))
        taskgrams = taskgrams.sort_values("example_id", kind="stable")
    about = {"score": options, "taskgrams": taskgrams}
    return _all(partial(_score, taskgrams, options), about, examples, models, loading, scheduler, keep)


def generate_all(
    examples: pd.DataFrame, models: Sequence[Spec], max_tokens: int, loading: Loading = _AS_IT_COMES,
    scheduler: Any = None, keep: Path | None = None, **options: Any,
) -> pd.DataFrame:  # fmt: skip
    """:func:`~taskgram_utils.language_models.neural.generate` of every model, one table: see :func:`score_all`."""
    neural.prompts(examples)
    neural.stops_of(examples, options.get("stop"))
    options = {"max_tokens": max_tokens, **options}
    return _all(partial(_generate, options), {"generate": options}, examples, models, loading, scheduler, keep)


def _score(taskgrams: pd.DataFrame | None, options: dict, examples: pd.DataFrame, model: LanguageModel) -> pd.DataFrame:
    own = None if taskgrams is None else taskgrams[taskgrams["example_id"].isin(examples["example_id"])]
    return neural.score(examples, model, own, **options)


def _generate(options: dict, examples: pd.DataFrame, model: LanguageModel) -> pd.DataFrame:
    return neural.generate(examples, model, **options)


def _all(
    work: Callable, about: dict[str, Any], examples: pd.DataFrame, models: Sequence[Spec], loading: Loading,
    scheduler: Any, keep: Path | None,
) -> pd.DataFrame:  # fmt: skip
    """``work`` on all examples under every model; ``about`` says what is asked, for the name of what is kept."""
    require(models, "no model given")
    chunks = [examples[i : i + CHUNK] for i in range(0, max(len(examples), 1), CHUNK)]
    asked = _digest({"examples": examples, **about}) if keep else ""
    places = [_place(keep, asked, spec, loading) for spec in models]
    found: dict[tuple[int, int], pd.DataFrame] = {}
    todo: dict[int, list[int]] = {}
    for k in range(len(models)):
        for c in range(len(chunks)):
            if (kept := _kept(places[k], c)) is None:
                todo.setdefault(k, []).append(c)
            else:
                _say(kept)
                found[k, c] = kept

    def finish(k: int, c: int, table: pd.DataFrame) -> None:
        _keep(places[k], c, table)
        found[k, c] = table

    if scheduler is None:
        for k, missing in todo.items():
            asked = [chunks[c] for c in missing]
            _run(models[k], loading, work, asked, lambda i, table, k=k, some=missing: finish(k, some[i], table))
    else:
        numbers = list(todo)
        asked = [(_absolute(models[k]), loading, work, [chunks[c] for c in todo[k]]) for k in numbers]
        for i, made in one_a_worker(scheduler, _remote, asked):
            k = numbers[i]
            for c, table in zip(todo[k], made, strict=True):
                _say(table)
                finish(k, c, table)
    tables = [found[key] for key in sorted(found)]
    out = pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    out.attrs = {"failed": list(dict.fromkeys(key for table in tables for key in table.attrs.get("failed", ())))}
    return out


def _run(spec: Spec, loading: Loading, work: Callable, chunks: Sequence[pd.DataFrame], finish: Callable) -> None:
    model = load(spec.model, spec.step, *loading)
    try:
        for i, chunk in enumerate(chunks):
            finish(i, work(chunk, model))
    finally:
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _absolute(spec: Spec) -> Spec:
    """The same model by a path that does not depend on where one stands."""
    folder = Path(spec.model).expanduser()
    return spec._replace(model=str(folder.absolute())) if folder.is_dir() else spec


def _remote(spec: Spec, loading: Loading, work: Callable, chunks: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    from distributed import get_worker

    torch.set_num_threads(max(1, get_worker().state.nthreads))
    out: list[pd.DataFrame] = []
    _run(spec, loading, work, chunks, lambda _, table: out.append(table))
    return out


def _digest(about: dict[str, Any]) -> str:
    """A name for what is asked: other examples, points or options have another one."""
    digest = hashlib.sha256()
    for name, one in about.items():
        if isinstance(one, pd.DataFrame):
            one = {column: one[column].tolist() for column in one.columns.intersection(_READ)}
        text = json.dumps(one, sort_keys=True, default=_plain)
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """A value of a table that JSON does not know, as one that it does."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _place(keep: Path | None, asked: str, spec: Spec, loading: Loading) -> Path | None:
    """The folder in which what a model has finished is kept; other weights have another one."""
    if keep is None:
        return None
    folder = Path(spec.model).expanduser()
    states = files_state(folder) if folder.is_dir() else []
    about = json.dumps([asked, str(folder.resolve()) if states else spec.model, spec.step, *loading, states])
    return Path(keep) / hashlib.sha256(about.encode()).hexdigest()[:16]


def _keep(place: Path | None, chunk: int, table: pd.DataFrame) -> None:
    if place is None:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: cannot be made ({error.strerror or error})") from error
    write_table(table, place / f"{chunk}.parquet")


def _kept(place: Path | None, chunk: int) -> pd.DataFrame | None:
    path = place and place / f"{chunk}.parquet"
    if not path or not path.is_file():
        return None
    with suppress(InputError):  # damaged: computed again
        return read_table(path)
    return None


def _say(table: pd.DataFrame) -> None:
    """Repeat what was said where the table was made: by another run, or on another machine."""
    for line in table.attrs.get("reasons", ()):
        print(line, file=sys.stderr)


def forget(keep: str | Path) -> None:
    """Remove all that was kept in a folder, and the folder, if nothing else is in it."""
    for place in Path(keep).glob("?" * 16):
        if re.fullmatch(r"[0-9a-f]{16}", place.name):
            shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        Path(keep).rmdir()
