"""Tables in ``results/``, each set with the note that says how it was made: read and checked."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pooch

from taskgram_utils.errors import InputError, require
from taskgram_utils.run.store import project_root
from taskgram_utils.tables import read_table


class Recorded(NamedTuple):
    """Tables by name, and their note: command, date, versions and more."""

    tables: dict[str, pd.DataFrame]
    note: dict[str, Any]

    @property
    def made(self) -> str:
        """How and when, in one line."""
        return f"recorded on {self.note['date']} by `{self.note['command']}`"


def recorded(name: str, folder: Path | None = None) -> Recorded:
    """The tables that the note ``name``.json of a folder (``results`` of the project) lists, by
    what their names add to ``name``; a table that adds nothing is called ``name``.

    Raises InputError for a note that cannot be read, one of a trial, and a table that is missing or
    is not the one that the note describes (by its sha256).
    """
    folder, tables = folder or project_root() / "results", {}
    path = folder / f"{name}.json"
    require(path.is_file(), f"{path}: is missing, so nothing was recorded; make results")
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        hashes, _, _ = note["sha256"], note["date"], note["command"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: no note of recorded tables ({error}); make results") from error
    require(not note.get("quick"), f"{path}: a trial (--quick), not a measurement; make bench")
    for file, sha256 in hashes.items():
        table = folder / file
        whole = table.is_file() and pooch.file_hash(table) == sha256
        require(whole, f"{table}: is missing, or is not the table that {path.name} describes")
        tables[table.stem.removeprefix(f"{name}_")] = read_table(table)
    return Recorded(tables, note)
