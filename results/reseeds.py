"""Mem of trainings that differ by the seed alone, recorded: python results/reseeds.py [--largest DIR]

The suite B (world 1, seed 1) and its reseeds (world 1, seeds 3, 4 and 5), shipped in two sizes, are asked the same
questions. The largest size has one reseed (seed 3), which is not shipped: it is in DIR, a folder that ``taskgram
train`` made; without DIR its rows stay as they were recorded. Writes reseeds.csv (of each the run's table ``partial``,
Mem less its placebo and Mem without the two most frequent outputs, with a column ``suite``) and reseeds.json beside
this file: what the book knows of the noise of training.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import pandas as pd

from taskgram_utils.run.pipeline import open_run
from taskgram_utils.run.store import versions
from taskgram_utils.tables import read_table, write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
SHIPPED = "taskgram_utils/miniature/weights"
SUITES = {"B": ("main", 1), "reseed 3": ("reseed", 3), "reseed 4": ("reseed4", 4), "reseed 5": ("reseed5", 5)}
TWO, LARGEST = ["100k", "600k"], "3m"


def tables(folder: str, seed: int, models: list[str]) -> pd.DataFrame:
    """Mem at the last step: raw and partial, less its placebo, without the most frequent outputs."""
    name = f"reseeds-{Path(folder).name}-{len(models)}"
    run = open_run("miniature", name=name, weights=folder, seed=seed, models=models, steps="last")
    placebo = run.table("placebo").query("count_model == 'taskgram - placebo'")
    less = placebo.assign(count_model="taskgram", measure="minus its placebo")
    without = run.table("without_most_frequent").query("measure == 'spearman'").assign(measure="without")
    return pd.concat([run.table("partial"), less, without.drop(columns="most_frequent")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", help="a folder with the reseed of the largest size")
    largest = parser.parse_args().largest
    began, path = time.monotonic(), HERE / "reseeds.csv"
    parts = [tables(f"{SHIPPED}/{folder}", seed, TWO).assign(suite=suite) for suite, (folder, seed) in SUITES.items()]
    if largest:
        parts.append(tables(f"{SHIPPED}/main", 1, [LARGEST]).assign(suite="B"))
        parts.append(tables(str(Path(largest).resolve()), 3, [LARGEST]).assign(suite="reseed 3"))
    else:
        parts.append(read_table(path).query("model == @LARGEST"))
    write_table(pd.concat(parts, ignore_index=True), path)
    note = {
        "command": "python results/reseeds.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(), "kept": [] if largest else [LARGEST], "suites": {
            suite: {"seed": seed, "models": [*TWO, LARGEST] if seed in (1, 3) else TWO, "steps": "last"}
            for suite, (_, seed) in SUITES.items()},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(HERE / "reseeds.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
