"""The models of a run: which there are, at which steps, where they lie, how large they are, one loaded at a time."""

from __future__ import annotations

import gc
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import FileLock

from taskgram_utils.cluster import cores
from taskgram_utils.errors import InputError, require
from taskgram_utils.miniature.suite import of_world as worlds
from taskgram_utils.packaged import PREFIX, packaged, ready
from taskgram_utils.run.data import corpus, draws_world, listed_files, named, suite_said, tokenizer_file
from taskgram_utils.run.reads import PACKAGE, digest, recording, states
from taskgram_utils.run.store import Run
from taskgram_utils.training import SIZES, Text, make_suite, of_corpus, read_card

_AS_IT_COMES = "main"  # stands for the step in the name of a table of a model that has none


class RunModel(NamedTuple):
    """A model of a run: its ``name`` in the tables, what is loaded for it (``source``: folder or hub name), whether
    it is of the run's own ``suite``, and whether it is ``packaged`` and unpacked only when it is asked for."""

    name: str
    source: str
    suite: bool
    packaged: bool = False

    @property
    def key(self) -> str:
        """Its name as part of a file name."""
        return self.name.replace("/", "--")


def run_models(run: Run) -> list[RunModel]:
    """The models of a run in its order: sizes of its suite, packaged/NAME, folders, hub names (owner/name).

    A size of the suite is one that the folder ``weights`` has, or, where the run trains its suite, one that can be
    trained. Raises InputError for what is none of the three, and for two models of one name.
    """
    found, wanted, shipped = [], list(map(str, run.parameters["models"])), _weights(run)
    require(wanted, "models: none named")
    own = list(SIZES) if shipped is None else [p.parent.name for p in sorted(shipped.glob("*/training.json"))]
    for model in wanted:
        folder = (run.root / Path(model).expanduser()).resolve()
        if model in own:
            found.append(RunModel(model, str((shipped or suite_folder(run)) / model), True))
        elif model.startswith(PREFIX):
            place = _packages(run) / model.removeprefix(PREFIX)
            if not place.is_dir():
                ready(model)
            found.append(RunModel(place.name, str(place), False, True))
        elif folder.is_dir():
            step = re.fullmatch(r"step(\d+)", folder.name)
            require(not step, f"model {model}: name the folder that holds {folder.name}, and the step under steps")
            found.append(RunModel(folder.name, str(folder), False))
        else:
            if model.count("/") != 1 or model.startswith((".", "~", "/")):
                if shipped is not None:
                    _card(shipped)
                sizes = f"a size of the suite ({', '.join(own) or 'there is none'})"
                raise InputError(f"model {model}: neither {sizes}, nor a folder, nor a hub name (owner/name)")
            found.append(RunModel(model, model, False))
    names = [model.key for model in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    require(not twice, f"models: two are named {twice}, and tables could not tell them apart")
    return found


def check_models(run: Run) -> None:
    """What can be said of a run's models before any is trained, fetched or loaded; InputError for what is wrong."""
    from taskgram_utils.language_models.loading import DTYPES

    require(run["dtype"] in (None, *DTYPES), f"dtype: {run['dtype']} is none of {', '.join(DTYPES)}, and not null")
    asked = asked_steps(run)
    for model in run_models(run):
        later = model.suite and not run["weights"] and not Path(model.source).is_dir() and isinstance(asked, list)
        require(not later, f"steps {asked}: which steps {model.name} will have is known once the run has trained it; "
                           "until then all or last")  # fmt: skip
        if (run["weights"] if model.suite else not model.packaged and Path(model.source).is_dir()):
            steps(run, model.name)


def named_models(run: Run) -> list[RunModel]:
    """:func:`run_models`, for what is made from all of them."""
    run["models"]  # noted as read
    return run_models(run)


def models(run: Run) -> list[str]:
    """The names of a run's models as its tables have them, in its order."""
    return [model.name for model in named_models(run)]


def own_sizes(run: Run) -> list[str]:
    """Those models of a run that are sizes of its suite."""
    return [model.name for model in named_models(run) if model.suite]


def family(run: Run) -> list[str]:
    """The models that are compared by size: those of the run's suite, where it has more than one, else all."""
    own = own_sizes(run)
    return own if len(own) > 1 else models(run)


def main_model(run: Run) -> str:
    """The largest model that has read the run's text: of its suite, else of all."""
    return (own_sizes(run) or models(run))[-1]


def model_of(run: Run, name: str) -> RunModel:
    """The model of this name, or of this name as part of a file name."""
    return next(model for model in run_models(run) if name in (model.name, model.key))


def model_source(run: Run, name: str) -> str:
    """What is loaded for a model: a folder or a hub name. The suite is trained if it has to be; InputError where its
    weights were trained on another world, seed or number of documents than the run names."""
    model = model_of(run, name)
    if model.suite and run.parameters["weights"]:
        folder = _weights(run)
        said = _card(folder)
        for parameter, wanted in suite_said(run).items():
            require(
                said.get(parameter) == wanted,
                f"weights {folder}: trained on {parameter} = {said.get(parameter)}, the run says {wanted}; "
                "set weights to '' to train the suite of this run",
            )
    elif model.suite:
        _train(run)
    elif model.packaged:
        packaged(name, _packages(run))
    return model.source


def suite_text(run: Run) -> Text:
    """What the suite of a run reads."""
    if draws_world(run):
        return worlds(run["documents"], run["world"], run["seed"])
    return of_corpus(corpus(run), run["seed"], run["epochs"], tokenizer_file(run) or "")


def suite_folder(run: Run) -> Path:
    """Where the suite is that a run trains. Its name follows from what it reads, to the byte: the suite of another text
    stays where it is, and whoever needs it no more removes it."""
    if "suite" not in run.found:
        run.found["suite"] = _suite_folder(run)
    return run.found["suite"]


def _suite_folder(run: Run) -> Path:
    with recording() as made:
        card = suite_text(run).card
    card |= ({"corpus": ""} if "corpus" in card else {})  # a text by another name is the same
    content = [[name, state[2]] for files in made["inputs"].values() for name, state in files.items()]
    return run.folder / f"suite-{digest(json.dumps([card, content], sort_keys=True))[:8]}"


def _train(run: Run) -> None:
    """Train those sizes of a run's suite that are not there yet, all in one go."""
    with recording():
        folder, sizes = suite_folder(run), own_sizes(run)
        with FileLock(f"{folder}.lock"):
            if not all((folder / size / "training.json").exists() for size in sizes):
                make_suite(folder, suite_text(run), run["seed"], sizes, jobs=run["jobs"])


def _packages(run: Run) -> Path:
    return run.root / "build" / "packaged"


def steps(run: Run, name: str) -> list[int | None]:
    """Training steps of a model, in order, that the run names: ``all``, only the ``last``, or a list of numbers.

    [None] for a model without steps, which the run must not ask for numbers. What a hub lists is kept with the run's
    tables. Raises InputError for a step that a folder lacks.
    """
    from taskgram_utils.language_models.loading import nearest, steps_of

    model, asked = model_of(run, name), asked_steps(run)
    local, numbers = model.suite or model.packaged or Path(model.source).is_dir(), isinstance(asked, list)
    if numbers and not local:
        return asked
    source = model_source(run, name) if local else ""
    if local:
        run.files(f"checkpoints/{model.key}")
    found = steps_of(source, needed=model.suite) if local else run.table(f"steps/{model.key}")["step"]
    found = list(found)
    if numbers:
        absent = next((step for step in asked if step not in found), None)
        require(absent is None, f"model {name}: no step {absent} ({nearest(absent or 0, found)})")
        return asked
    return (found[-1:] if asked == "last" else found) or [None]


def asked_steps(run: Run) -> str | list[int]:
    """The run's steps: ``all``, ``last`` or numbers in order; in text they have commas between them."""
    asked = run["steps"]
    if re.fullmatch(r"\d+(, ?\d+)*", str(asked)):
        asked = [int(step) for step in str(asked).split(",")]
    numbers = isinstance(asked, list) and asked and all(type(step) is int and step >= 0 for step in asked)
    require(numbers or asked in ("all", "last"), f"steps: {asked} is neither all, last nor a list of numbers")
    return sorted(set(asked)) if numbers else asked


def points_in_time(run: Run, last: bool = False) -> list[tuple[str, str]]:
    """(model, step) of all models of the run as parts of table names; ``last``: their last steps alone."""
    found = [(model.key, steps(run, model.name)) for model in named_models(run)]
    return [(key, step_part(step)) for key, own in found for step in (own[-1:] if last else own)]


def step_part(step: int | None) -> str:
    """A step as part of a table's name."""
    return _AS_IT_COMES if step is None else str(step)


def step_of(part: str) -> int | None:
    """The step that a part of a table's name says."""
    return None if part == _AS_IT_COMES else int(part)


def at_last_step(table: pd.DataFrame, by: str = "model") -> pd.DataFrame:
    """The rows of every model's last step; all rows of a model that has no steps."""
    last = table.groupby(by, dropna=False)["step"].transform("max")
    return table[((table["step"] == last) | table["step"].isna() & last.isna()).fillna(False).astype(bool)]


def sizes_in_parameters(run: Run) -> dict[str, int]:
    """Non-embedding parameters of every model."""
    found = {m.name: int(run.table(f"parameters/{m.key}")["parameters"].iloc[0]) for m in named_models(run)}
    free_model()
    return found


def loss_curves(run: Run) -> pd.DataFrame:
    """Training loss of every size of the suite: model, parameters, step, loss (mean since the row before, nats a
    token); no rows where no model of the run is of its suite."""
    sizes, own = sizes_in_parameters(run), own_sizes(run)
    if not own:
        return pd.DataFrame({"model": [], "parameters": [], "step": [], "loss": []})
    parts = [pd.read_csv(Path(model_source(run, s)) / "loss.csv").assign(model=s, parameters=sizes[s]) for s in own]
    for size in own:
        run.files(f"training/{size}")
    return pd.concat(parts, ignore_index=True)


def training_of(run: Run, size: str) -> dict[str, Any]:
    """What is written down of the training of a size of the suite."""
    place = Path(model_source(run, size)) / "training.json"
    run.files(f"training/{size}")
    return json.loads(place.read_text(encoding="utf-8"))


def training_files(run: Run, size: str) -> list[Path]:
    """What the training of a size of the suite left beside its weights."""
    return listed_files(Path(model_of(run, size).source) / "training.json") + listed_files(
        Path(model_of(run, size).source) / "loss.csv")


def checkpoint_files(run: Run, key: str) -> list[Path]:
    """A file of each step of a model in a folder: which steps it has."""
    return sorted(Path(model_of(run, key).source).glob("step*/config.json"))


def weight_files(run: Run, key: str, step: str) -> list[Path]:
    """The files of a model at a step, where it is a folder; none of a revision on a hub."""
    folder = Path(model_of(run, key).source)
    inner = folder / f"step{step}"
    return listed_files(inner) if inner.is_dir() else [p for p in folder.glob("*") if p.is_file()]


_held: dict[tuple, Any] = {}


def load_model(run: Run, name: str, step: int | str | None = "last"):
    """A model of the run, loaded as the run says; the one loaded before is freed, and the same one is not loaded twice.

    ``step``: one of :func:`steps`, by default the last.
    """
    import torch

    from taskgram_utils.language_models.loading import load

    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", cores()))))
    source = model_source(run, name)
    step = steps(run, name)[-1] if step == "last" else step
    # Where a model is asked makes no other table: device and pickled are not noted as read.
    how = {"dtype": run["dtype"]} | {p: run.parameters[p] for p in ("device", "pickled")}
    files = run.files(f"weights/{model_of(run, name).key}/{step_part(step)}")
    asked = (source, step, *how.values(), str(states(files)))
    if asked not in _held:
        free_model()
        _held[asked] = load(source, step, **how)
    return _held[asked]


def free_model() -> None:
    """Free the model that is held."""
    import torch

    if _held:
        _held.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _card(folder: Path) -> dict[str, Any]:
    """What a suite says of itself."""
    card = folder / "card.json"
    require(card.exists(), f"weights {folder}: no card.json; set weights to '' to train the suite in the run")
    return read_card(folder)


def _weights(run: Run) -> Path | None:
    """The folder of the suite's weights; None where the run trains them."""
    named = run.parameters["weights"]
    return None if not named else next(
        (root / named for root in (PACKAGE.parent, run.root) if (root / named).is_dir()), run.root / named
    )


def load_at(run: Run, model: str, step: str):
    """The language model of a table ``scores/MODEL/STEP``."""
    return load_model(run, model_of(run, model).name, step_of(step))


def of_run(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """A table with world and seed of the run's examples, whatever its models have read."""
    return table.assign(world=named(run), seed=run["seed"])
