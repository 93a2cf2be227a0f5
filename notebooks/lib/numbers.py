"""Numbers as a page shows them."""

import pandas as pd


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
