"""What randomised insertions did to models, recorded: python results/insertions.py [--records FOLDER]

The original file is fetched into FOLDER (build/records of the project unless given) where it is not there yet, by
commit and checked; it is no part of the project. Writes insertions_<table>.csv and insertions.json, with the source,
beside this file.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import yaml

from taskgram_chapters import insertions, records
from taskgram_chapters.findings import rounded
from taskgram_utils.fetching import fetch
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", default=HERE.parent / "build" / "records", help="folder of the originals")
    folder, listed = Path(parser.parse_args().records), records.sources().query("set == 'hubble'")
    if not all((folder / records.place(row)).is_file() for _, row in listed.iterrows()):
        fetch(folder, ["hubble"])
    began, preregistered = time.monotonic(), HERE.parent / "book" / "cause_expectations.yaml"
    expected = yaml.safe_load(preregistered.read_text(encoding="utf-8"))["insertions"]
    tables = insertions.tables(records.insertions(folder), expected)
    seconds, written = time.monotonic() - began, {}
    for name, table in tables.items():
        path = HERE / f"insertions_{name}.csv"
        write_table(rounded(table), path)
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    from_where = listed[["set", "repo", "commit", "licence"]].drop_duplicates()
    note = {
        "command": "python results/insertions.py", "date": time.strftime("%Y-%m-%d"), "seconds": round(seconds),
        "machine": f"{platform.machine()}, {platform.system()}", "versions": versions(),
        "preregistered": hashlib.sha256(preregistered.read_bytes()).hexdigest(),
        "sources": from_where.to_dict("records"), "sha256": written,
    }  # fmt: skip
    write_text(HERE / "insertions.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
