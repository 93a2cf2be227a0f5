"""Twin worlds and reseeds, recorded: python results/cause.py [--weights NAME=DIR] ...

The suites main, twin1, twin2 and reseed3 to reseed5 are shipped in the sizes 100k and 600k, main in 3m too. What book/
cause_expectations.yaml names beside them in 3m (twin1, twin2 and reseed3) is trained here, an hour of a core each, or
taken from DIR, which ``taskgram train`` made (``trained_before`` in the note). Every model is asked each fact that no
document asks, and the tests of translation and maths. Writes cause_<table>.csv, cause.csv, cause.json and the picture
dose_response.png beside this file.
"""

import argparse
import hashlib
import json
import platform
import tempfile
import time
from pathlib import Path

import pandas as pd

from taskgram_chapters import cause
from taskgram_chapters.findings import rounded
from taskgram_utils.language_models.loading import load, parameters
from taskgram_utils.language_models.neural import score
from taskgram_utils.miniature.suite import of_world
from taskgram_utils.miniature.world import FULL, World
from taskgram_utils.run.store import versions
from taskgram_utils.suites import make_suite
from taskgram_utils.tables import write_table
from taskgram_utils.tasks.base import task
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parent / "taskgram_utils" / "miniature" / "weights"
WORLD, TWINS = 1, {"main": 0, "twin1": 1, "twin2": 2}
SEEDS = {"main": 1, "twin1": 1, "twin2": 1, "reseed3": 3, "reseed4": 4, "reseed5": 5}
TASKS = {"translation": "unseen", "math_reasoning": "held_out"}
MODELS = [(size, name) for size in ("100k", "600k") for name in SEEDS]
MODELS += [("3m", name) for name in ("main", "twin1", "twin2", "reseed3")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=DIR", help="a suite trained before")
    given = dict(pair.split("=", 1) for pair in parser.parse_args().weights)
    began = time.monotonic()
    cells = counted_cells()
    tests = pd.concat([examples_of(name, group) for name, group in TASKS.items()], ignore_index=True)
    sizes = {}
    for size, name in MODELS:
        model = load(folder_of(size, name, given), dtype="float32", device="cpu")
        sizes[size] = parameters(model)
        for table in (cells, tests):
            found = score(table, model).set_index("example_id")["logp"]
            table[f"logp_{size}_{name}"] = table["example_id"].map(found)
    write(cells, tests, sizes, sorted(given), time.monotonic() - began)


def write(cells: pd.DataFrame, tests: pd.DataFrame, sizes: dict[str, int], given: list[str], seconds: float) -> None:
    """All tables from the scored cells and tests, and the note."""
    effects, beside = cause.effects(cells), ["p", "r2"]
    tables = {
        "cells": cells.drop(columns=["instruction", "x", "y", "person"]), "": effects.drop(columns=beside),
        "noise": cause.training_noise(cells), "sizes": cause.sizes(cells, sizes),
        "matrix": cause.matrix(cells), "beside": cause.beside(cells),
        "doses": cause.doses(cells), "tasks": tasks(tests),
    }  # fmt: skip
    cause.dose_figure(tables["doses"], "dose-response").savefig(HERE / "dose_response.png", facecolor="white")
    written = {}
    for name, table in tables.items():
        path = HERE / f"cause{'_' * bool(name)}{name}.csv"
        write_table(rounded(table), path)
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    note = {
        "command": "python results/cause.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(), "trained_before": given, "world": WORLD, "twins": TWINS, "seeds": SEEDS,
        "sha256": written,
    }  # fmt: skip
    write_text(HERE / "cause.json", json.dumps(note, indent=1) + "\n")


def counted_cells() -> pd.DataFrame:
    """The cells with their counts in every world, each written out and counted."""
    worlds = {name: World(FULL, WORLD, twin) for name, twin in TWINS.items()}
    cells = cause.cells(list(worlds.values()))
    with tempfile.TemporaryDirectory() as folder:
        for name, world in worlds.items():
            corpus = Path(folder) / f"{name}.jsonl"
            world.write(corpus)
            counts = cause.counted(cells, corpus)
            cells = cells.assign(**{f"{side}_{name}": counts[side] for side in counts})
    return cells


def examples_of(name: str, group: str) -> pd.DataFrame:
    examples = task(name).miniature(World(FULL, WORLD))
    return examples[(examples["split"] == "test") & (examples["group"] == group)]


def tasks(tests: pd.DataFrame) -> pd.DataFrame:
    """The explainable share of the change of log P on tasks whose documents no twin changes."""
    rows = []
    for (name, group), part in tests.groupby(["task", "group"]):
        for model in cause.models_of(tests):
            found = cause.estimated(cause.explainable(part, model, ("example_id", "y")))
            rows.append({"model": model, "task": name, "group": group, **found, "n": len(part)})
    return pd.DataFrame(rows)


def folder_of(size: str, name: str, given: dict[str, str]) -> Path:
    """Where a model is; trained there first if it is neither shipped nor given."""
    shipped = SHIPPED / {"reseed3": "reseed"}.get(name, name) / size
    if shipped.is_dir():
        return shipped
    suite = Path(given.get(name, HERE.parent / "build" / "cause" / name))
    make_suite(suite, of_world(FULL, WORLD, SEEDS[name], TWINS.get(name, 0)), SEEDS[name], [size])
    return suite / size


if __name__ == "__main__":
    main()
