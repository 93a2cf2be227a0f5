"""Mem of trainings that differ by the seed alone, recorded: python results/reseeds.py

The suite B (world 1, seed 1) and its reseeds (world 1, seeds 3, 4 and 5), shipped in two sizes, are asked the same
questions. Writes reseeds.csv (the run's table ``partial`` of each, with a column ``suite``) and reseeds.json beside
this file: what the book knows of the noise of training.
"""

import hashlib
import json
import platform
import time
from pathlib import Path

import pandas as pd

from taskgram_utils.run.pipeline import open_run
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
SHIPPED = "taskgram_utils/miniature/weights"
SUITES = {"B": ("main", 1), "reseed 3": ("reseed", 3), "reseed 4": ("reseed4", 4), "reseed 5": ("reseed5", 5)}
TWO = {"models": ["100k", "600k"], "steps": "last"}


def main() -> None:
    began, parts = time.monotonic(), []
    for suite, (folder, seed) in SUITES.items():
        run = open_run("miniature", name=f"reseeds-{folder}", weights=f"{SHIPPED}/{folder}", seed=seed, **TWO)
        parts.append(run.table("partial").assign(suite=suite))
    path = HERE / "reseeds.csv"
    write_table(pd.concat(parts, ignore_index=True), path)
    note = {
        "command": "python results/reseeds.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(), "suites": {suite: {"seed": seed} | TWO for suite, (_, seed) in SUITES.items()},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(HERE / "reseeds.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
