"""Scores and Mem of the seeds of Mini-Pythia, recorded: python results/seeds.py [--weights-c DIR]

Seed B (world 1, seed 1) is the shipped suite; seed C (world 2, seed 2) is trained here, in about 45 minutes of a core,
or taken from DIR, a folder that ``taskgram train --world 2 --seed 2`` made. The expectations were committed, and world
and recipe frozen, before any Mem of either was computed. Writes seeds_<table>.csv and seeds.json beside this file.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import pandas as pd

from taskgram_utils.pipeline import open_run
from taskgram_utils.run import versions, write_table, write_text

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights-c", default="", help="folder of seed C's suite; empty: train it")
    weights_c = parser.parse_args().weights_c
    weights_c = str(Path(weights_c).resolve()) if weights_c else ""
    runs = {
        "B": open_run("miniature"),
        "C": open_run("miniature", name="miniature-c", world=2, seed=2, weights=weights_c, steps="last"),
    }
    began = time.monotonic()
    written = {}
    for name in ("performance", "memorization", "partial", "baseline", "slopes"):
        table = pd.concat([run.table(name).assign(suite=suite) for suite, run in runs.items()], ignore_index=True)
        path = HERE / f"seeds_{name}.csv"
        write_table(table, path)
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    note = {
        "command": "python results/seeds.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began),
        "machine": f"{platform.machine()}, {platform.system()}", "versions": versions(), "sha256": written,
        "parameters": {suite: run.parameters | {"weights": "shipped" if suite == "B" else "trained"}
                       for suite, run in runs.items()},
    }  # fmt: skip
    write_text(HERE / "seeds.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
