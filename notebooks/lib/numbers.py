"""Numbers as a page shows them."""

from collections.abc import Callable

import pandas as pd

from taskgram_chapters.page import listed


def short(value: float) -> str:
    """Two decimals; three where two would hide on which side of 0 a value lies."""
    text = f"{abs(value):.2f}" if abs(value) >= 0.005 or value == 0 else f"{abs(value):.3f}"
    return ("−" if value < 0 else "") + text.removeprefix("0")


def number(estimate: float, low: float, high: float, points: float | None = None) -> str:
    """An estimate, as in ``.43 [.25, .56], N = 282`` (lines break after the last comma only), or
    ``no estimate``."""
    if pd.isna(estimate):
        return "no estimate"
    interval = "(no interval)" if pd.isna(low) else f"[{short(low)}, {short(high)}]"
    parts = [f"{short(estimate)} {interval}"]
    parts += [] if points is None or pd.isna(points) else [f"N = {int(points):,}"]
    return ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


def numbers(table: pd.DataFrame, *columns: str) -> list[str]:
    """:func:`number` of every row, from the columns estimate, low, high or those named (the fourth:
    points)."""
    columns = columns or ("estimate", "low", "high")
    return [number(*row) for row in table[list(columns)].to_numpy(float)]


def said(
    *parts: tuple[str, pd.DataFrame], ends: tuple[str, ...] | None = None,
    name: Callable[[str], str] = str, listing: Callable[[pd.Series], str] = listed,
) -> str:
    """A sentence for each part whose table has rows: its words, then the names in ``where``
    (``listing`` of them), or each ``name`` with the numbers of the columns ``ends``."""
    def of(table: pd.DataFrame) -> str:
        if not ends:
            return listing(table["where"].drop_duplicates())
        pairs = zip(table["where"].map(name), numbers(table, *ends), strict=True)
        return "; ".join(f"{one} {text}" for one, text in pairs)

    return " ".join(f"{text} {of(table)}." for text, table in parts if len(table))
