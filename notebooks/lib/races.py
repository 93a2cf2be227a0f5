"""Recorded races: what counting and scoring cost beside other ways to do the same, and how each table was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.tables import read_table

OURS = ("taskgram_utils", "ours")


class Recorded(NamedTuple):
    """A table that ``make bench`` wrote, and its note: command, date, processor, versions."""

    table: pd.DataFrame
    note: dict[str, Any]

    @property
    def made(self) -> str:
        """How and when, in one line."""
        note = self.note
        chip = note["processor"] or note["machine"]
        return f"`{note['command']}`, {note['date']}, {chip}, {note['threads']} threads, {note['rounds']} rounds"


def recorded(name: str, results: Path) -> Recorded | None:
    """The recorded table of this name (counting, scoring, scoring_cuda), or None where it was not measured.

    Raises InputError for a record of a trial, which says nothing.
    """
    path = results / f"{name}.csv"
    if not path.exists():
        return None
    note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    require(not note["quick"], f"{path}: a trial (--quick), not a measurement; make bench")
    return Recorded(read_table(path), note)


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Every other way to do a job beside ours: corpus (where there are several), job, way, ratio, low, high, equal.

    ``ratio``: its seconds divided by ours in the same round, the median; above 1: ours is faster. ``low`` and ``high``
    are the extremes, its shortest time against our longest and the reverse. ``equal``: share of answers equal to ours
    (null: not compared, for it does not do quite the same).
    """
    keys = [c for c in ("corpus", "shape", "job") if c in table]
    ours = table[table["way"].isin(OURS)].set_index(keys)[["low", "high"]]
    # A reader of one format, or one alphabet, is no other way to do the job of another.
    peers = table[~table["way"].isin(OURS) & table["ours"].notna()]
    both = peers.join(ours, on=keys, rsuffix="_ours", how="inner")
    both = both.assign(
        ratio=both["ours"], low=both["low"] / both["high_ours"], high=both["high"] / both["low_ours"],
    )  # fmt: skip
    return both[[*keys, "way", "ratio", "low", "high", "equal"]].reset_index(drop=True)


def our_rates(table: pd.DataFrame) -> pd.DataFrame:
    """What ours does in a second, of every job: its keys, rate, unit and seconds."""
    keys = [c for c in ("corpus", "shape", "job") if c in table]
    ours = table[table["way"].isin(OURS) & table["rate"].notna()]
    return ours[[*keys, "rate", "unit", "amount", "seconds"]].reset_index(drop=True)
