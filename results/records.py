"""What published records say, recorded: python results/records.py [--records FOLDER]

The original files are fetched into FOLDER (build/records of the project unless given) where they are not there yet, by
commit and checked; none of them is part of the project. Writes records_<table>.csv and records.json, with the sources,
beside this file.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

from taskgram_chapters.findings import findings, rounded
from taskgram_chapters.records import place, sources
from taskgram_utils.fetching import fetch
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", default=HERE.parent / "build" / "records", help="folder of the originals")
    folder = Path(parser.parse_args().records)
    if not all((folder / place(row)).is_file() for _, row in sources().iterrows()):
        fetch(folder)
    began = time.monotonic()
    tables = findings(folder, report=lambda name: print(name, flush=True))
    seconds = time.monotonic() - began
    written = {}
    for name, table in tables.items():
        path = HERE / f"records_{name}.csv"
        write_table(rounded(table), path)
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    from_where = sources().query("set != 'hubble'")[["set", "repo", "commit", "licence"]].drop_duplicates()
    note = {
        "command": "python results/records.py", "date": time.strftime("%Y-%m-%d"), "seconds": round(seconds),
        "machine": f"{platform.machine()}, {platform.system()}", "versions": versions(),
        "sources": from_where.to_dict("records"), "sha256": written,
    }  # fmt: skip
    write_text(HERE / "records.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
