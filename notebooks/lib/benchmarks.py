"""What counting and scoring cost beside other ways to do the same, from recorded benchmarks."""

from typing import Any

import pandas as pd

OURS = ("taskgram_utils", "ours")


def made(note: dict[str, Any]) -> str:
    """How and when a benchmark was run, in one line."""
    chip = note["processor"] or note["machine"]
    return (f"`{note['command']}`, {note['date']}, {chip}, {note['threads']} threads, "
            f"{note['rounds']} rounds")


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """Every other way to do a job beside ours: corpus (where there are several), job, way, ratio,
    low, high, equal.

    ``ratio``: its seconds divided by ours in the same round, the median; above 1: ours is faster.
    ``low`` and ``high`` are the extremes, its shortest time against our longest and the reverse.
    ``equal``: share of answers equal to ours (null: not compared, since the way does not do quite
    the same).
    """
    keys = [c for c in ("corpus", "shape", "job") if c in table]
    ours = table[table["way"].isin(OURS)].set_index(keys)[["low", "high"]]
    # A reader of one format, or one alphabet, is no other way to do the job of another.
    peers = table[~table["way"].isin(OURS) & table["ours"].notna()]
    both = peers.join(ours, on=keys, rsuffix="_ours", how="inner")
    low, high = both["low"] / both["high_ours"], both["high"] / both["low_ours"]
    both = both.assign(ratio=both["ours"], low=low, high=high)
    return both[[*keys, "way", "ratio", "low", "high", "equal"]].reset_index(drop=True)


def our_rates(table: pd.DataFrame) -> pd.DataFrame:
    """What ours does in a second, of every job: its keys, rate, unit and seconds."""
    keys = [c for c in ("corpus", "shape", "job") if c in table]
    ours = table[table["way"].isin(OURS) & table["rate"].notna()]
    return ours[[*keys, "rate", "unit", "amount", "seconds"]].reset_index(drop=True)
