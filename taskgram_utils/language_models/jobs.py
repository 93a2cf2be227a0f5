"""Many models at many steps: one after the other or on a Dask cluster; what is finished is kept."""

import gc
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from taskgram_utils.cluster import one_a_worker
from taskgram_utils.errors import InputError, require
from taskgram_utils.language_models import neural
from taskgram_utils.language_models.loading import files_state, identity, load, nearest, steps_of
from taskgram_utils.tables import read_table, write_table

CHUNK = 2000  # examples after which what was computed is kept


class Spec(NamedTuple):
    """A model to load: folder or hub name, and its step (None: as it is, or its last)."""

    model: str
    step: int | None


class Loading(NamedTuple):
    """How models are loaded: arguments of :func:`~taskgram_utils.language_models.loading.load`."""

    dtype: str | None = None
    device: str | None = None
    pickled: bool = False


_AS_IT_COMES = Loading()


def specs(models: Sequence[str], steps: str | Sequence[int] | None = None) -> list[Spec]:
    """Every model at every step: ``steps`` are numbers, ``all`` of each model, or None for the one
    it comes as.

    Raises InputError for steps that are no numbers, a model without steps, a step that a model
    lacks (as far as the hub can be asked), and models that the tables could not tell apart.
    """
    models = [models] if isinstance(models, (str, Path)) else list(models)
    require(models and all(str(model).strip() for model in models), "no model given")
    if isinstance(steps, str) and steps != "all":
        numbers = re.fullmatch(r"\d+(,\d+)*", steps)
        require(numbers, f"--step {steps}: numbers with commas between them, or all")
        steps = [int(step) for step in steps.split(",")]
    named: dict[tuple, Spec] = {}
    for model in dict.fromkeys(map(str, models)):
        folder = Path(model).expanduser()
        wanted = [None] if steps is None else steps_of(model) if steps == "all" else steps
        there = wanted
        if steps not in (None, "all") and not folder.is_dir():
            with suppress(InputError):  # not reached: it may be in the cache
                there = steps_of(model)
        for step in dict.fromkeys(wanted):
            near = nearest(step or 0, there) if step not in there else ""
            require(not near, f"model {model}, step {step}: no such step on the hub ({near})")
            # Workers of a cluster may run in another folder.
            spec = Spec(str(folder.absolute()) if folder.is_dir() else model, step)
            name = identity(*spec)
            other = named.setdefault(name, spec)
            called = name[0] + ("" if name[1] is None else f" step {name[1]}")
            require(other is spec, f"models {other.model} and {spec.model} would both be {called} "
                                   "in the table: score them apart")
    return list(named.values())


def score_all(
    examples: pd.DataFrame, models: Sequence[Spec], taskgrams: pd.DataFrame | None = None,
    loading: Loading = _AS_IT_COMES, scheduler: Any = None, keep: Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """:func:`~taskgram_utils.language_models.neural.score` of every model, one table.

    ``options`` are its own. A model is loaded once and freed before the next. With ``keep`` the
    scores of every model and 2,000 examples are kept in that folder, so that a run that was stopped
    goes on where it was; :func:`forget` them when the result is where it belongs. ``scheduler``
    names a Dask cluster, or is one: each of its workers has one model at a time, on as many threads
    as the worker has, and must find folders by the same paths; there a model is kept when it is
    done. Raises InputError as ``score`` does, and for no model.
    """
    neural.prompts(examples)  # refuses what is wrong, before a model is loaded
    neural.points_of(taskgrams, set(examples["example_id"]))
    pieces = []
    for some in _chunks(examples):
        grams = taskgrams
        if grams is not None:
            grams = grams[grams["example_id"].isin(some["example_id"])]
        pieces.append(partial(neural.score, some, taskgrams=grams, **options))
    return _all(pieces, models, loading, scheduler, keep)


def generate_all(
    examples: pd.DataFrame, models: Sequence[Spec], max_tokens: int,
    loading: Loading = _AS_IT_COMES, scheduler: Any = None, keep: Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """:func:`~taskgram_utils.language_models.neural.generate` of every model, one table: see
    :func:`score_all`."""
    neural.prompts(examples)
    neural.stops_of(examples, options.get("stop"))
    asked = {"max_tokens": max_tokens, **options}
    pieces = [partial(neural.generate, some, **asked) for some in _chunks(examples)]
    return _all(pieces, models, loading, scheduler, keep)


def _chunks(examples: pd.DataFrame) -> list[pd.DataFrame]:
    return [examples[i : i + CHUNK] for i in range(0, max(len(examples), 1), CHUNK)]


def _all(
    pieces: list[partial], models: Sequence[Spec], loading: Loading, scheduler: Any,
    keep: Path | None,
) -> pd.DataFrame:
    """The answers of every model to all pieces: those kept before, and those made now."""
    require(models, "no model given")
    tables, places, todo = {}, {}, {}
    for m, spec in enumerate(models):
        for p, piece in enumerate(pieces):
            if keep:
                places[m, p] = Path(keep) / f"{_digest(piece, spec, loading)}.parquet"
                with suppress(InputError):  # not there, or damaged: computed
                    tables[m, p] = read_table(places[m, p])
                    _repeat(tables[m, p])
            if (m, p) not in tables:
                todo.setdefault(m, []).append(p)
    work = [(models[m], loading, [pieces[p] for p in numbers]) for m, numbers in todo.items()]
    here = enumerate(_asked(*job) for job in work)
    for i, parts in here if scheduler is None else one_a_worker(scheduler, _on_worker, work):
        m = list(todo)[i]
        for p, table in zip(todo[m], parts, strict=True):
            tables[m, p] = table
            if scheduler is not None:
                _repeat(table)
            if keep:
                with suppress(OSError):  # without a folder the table cannot be written
                    Path(keep).mkdir(parents=True, exist_ok=True)
                write_table(table, places[m, p])
    tables = [tables[key] for key in sorted(tables)]
    out = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    failed = [key for table in tables for key in table.attrs.get("failed", ())]
    out.attrs = {"failed": list(dict.fromkeys(failed))}
    return out


def _asked(spec: Spec, loading: Loading, pieces: list[partial]) -> Iterator[pd.DataFrame]:
    """Load a model, ask it one piece after another, and free it."""
    model = load(spec.model, spec.step, *loading)
    try:
        for piece in pieces:
            yield piece(model=model)
    finally:
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _on_worker(spec: Spec, loading: Loading, pieces: list[partial]) -> list[pd.DataFrame]:
    from distributed import get_worker

    torch.set_num_threads(max(1, get_worker().state.nthreads))
    return list(_asked(spec, loading, pieces))


def _digest(piece: partial, spec: Spec, loading: Loading) -> str:
    """A name for a piece under a model: other questions, options or weights have another one."""
    folder = Path(spec.model)
    about = [piece.func.__name__, spec, loading, files_state(folder) if folder.is_dir() else []]
    for name, value in [("examples", piece.args[0]), *sorted(piece.keywords.items())]:
        if isinstance(value, pd.DataFrame):
            value = value.to_json(orient="split", index=False, default_handler=str)
        about.append([name, value])
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:16]


def _repeat(table: pd.DataFrame) -> None:
    """Say again what was said where the table was made: in another run, or on another machine."""
    for line in table.attrs.get("reasons", ()):
        print(line, file=sys.stderr)


def forget(keep: str | Path) -> None:
    """Remove all that was kept in a folder, and the folder, if nothing else is in it."""
    for path in Path(keep).glob("*.parquet"):
        if re.fullmatch(r"[0-9a-f]{16}", path.stem):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        Path(keep).rmdir()
