"""The openbook run on the textbooks and the factbook, recorded: python results/openbook.py --data DIR [--weights DIR]

DIR holds the text and the tasks' files as notebooks/runs/openbook.yaml names them. With --weights the suite that
``taskgram train --corpus`` made of that text is used, else it is trained here. How long training took is recorded where
it was trained here: another training may have shared its cores, so with --weights the times recorded before stay, with
their date. Writes openbook_<table>.csv, estimates without any text, and openbook.json beside this file.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import pandas as pd

from taskgram_chapters.real_text import real_tables
from taskgram_utils.run import ask, pipeline
from taskgram_utils.run.store import read_table, versions, write_table, write_text

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="", help="folder of the text and the tasks' files")
    parser.add_argument("--weights", default="", help="folder of a suite that has read this text")
    given = parser.parse_args()
    if not given.data:
        print("openbook is not recorded anew: --data names the folder of its text and its tasks' files")
        return
    weights = str(Path(given.weights).resolve()) if given.weights else ""
    run = pipeline.open_run("openbook", data=str(Path(given.data).resolve()), weights=weights)
    began, written = time.monotonic(), {}
    ask.ask_models(run)
    timed = time.strftime("%Y-%m-%d")
    for name, table in real_tables(run).items():
        path = HERE / f"openbook_{name}.csv"
        if name == "models" and weights and path.is_file():
            before = json.loads((HERE / "openbook.json").read_text())
            timed = before.get("training_timed", before["date"])
            took = read_table(path).set_index(["model", "tokens"])["seconds"]
            table["seconds"] = took.reindex(pd.MultiIndex.from_frame(table[["model", "tokens"]])).to_numpy()
            table["seconds"] = table["seconds"].astype("Int64")
        write_table(table, path)
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    made = {name: said["seconds"] for name, said in run.manifest()["made"].items() if said["seconds"] >= 1}
    text = pipeline.corpus(run)
    kinds = run["document"], run["alternative_document"]
    units = {unit: sum(1 for _ in pipeline.corpus(run, unit)) for unit in kinds}
    note = {
        "command": "python results/openbook.py --data DIR", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(),
        "corpus": {"files": [p.name for p in text.files], "bytes": text.bytes, "sha256_of_ends": text.fingerprint(),
                   "documents": units},
        "trained_before": bool(weights), "training_timed": timed,
        "seconds_of_tables": made,  # each with what it waited for
        "parameters": {k: v for k, v in run.parameters.items() if k not in ("data", "weights")},
        "sha256": written,
    }  # fmt: skip
    write_text(HERE / "openbook.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
