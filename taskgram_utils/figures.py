"""Every figure of the book: one style, safe for colour-blind eyes, each from one table kept beside it as CSV."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats

from taskgram_utils.errors import require_columns
from taskgram_utils.run.store import Run
from taskgram_utils.tables import write_table

# Okabe and Ito (2008), the yellow left out: it does not show on white.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
MARKERS = "osD^vPX"
FEW_TO_MANY = ListedColormap(sns.color_palette("Blues", 64)[12:])
COLUMNS = 3
"""Panels side by side: more would have letters too small to read on a page."""
LABELS = {
    "parameters": "parameters without embeddings", "estimate": "Mem (Spearman ρ)", "score": "score",
    "step": "training step", "frequency": "example frequency (documents, summed)", "documents": "documents",
    "count": "documents", "gamma": "threshold γ", "cosine": "cosine", "loss": "loss (nats a token)", "rank": "rank",
    "logp_reference": "log P of the reference (nats)",
    "logp_model": "log P of the model (nats)", "round": "round", "n": "n", "group": "group", "task": "task",
    "predictor": "n-grams up to", "r2": "R²", "spearman": "Spearman ρ", "rho": "Spearman ρ", "accuracy": "accuracy",
    "count_of_number": "occurrences of the number's token", "words": "window (words)",
    "precision": "precision", "recall": "recall", "model": "model", "share": "share",
}  # fmt: skip


def label(name: str) -> str:
    """A column's name as an axis shows it."""
    return LABELS.get(name, name.replace("_", " "))


def keep(table: pd.DataFrame, name: str, run: Run | None) -> None:
    """Keep a figure's table as ``figures/<name>.csv`` of the run, for the download link beside the figure."""
    if run is not None:
        folder = run.folder / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        write_table(table, folder / f"{name}.csv")


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    name: str,
    run: Run | None = None,
    hue: str | None = None,
    panel: str | None = None,
    low: str = "low",
    high: str = "high",
    log: str = "",
    at: float | None = None,
    titles: Mapping[str, str] | None = None,
    ylim: tuple[float, float] | None = None,
    columns: int = COLUMNS,
    marks: Mapping[object, float] | None = None,
    band: bool = False,
    ylabel: str | None = None,
) -> plt.Figure:
    """Lines with intervals: ``y`` against ``x``, a line per ``hue``, a panel per ``panel``.

    Bars go from ``low`` to ``high`` where the table has these columns (on a logarithmic x-axis lines then stand a few
    per cent beside each other, so that all bars are seen), with ``band`` a shade; ``log`` names the axes ("x", "y" or
    "xy") on a logarithmic scale; ``at`` draws a horizontal reference, ``marks`` a vertical one at ``marks[panel]``.
    Raises InputError for a column that is not there.
    """
    named = [c for c in (low, high) if c not in ("low", "high")]
    require_columns(table, [c for c in (x, y, hue, panel, *named) if c], name)
    bars = low in table and high in table
    keep(table, name, run)
    panels = (list(table[panel].drop_duplicates()) if panel else []) or [None]
    hues = list(table[hue].drop_duplicates()) if hue else [None]
    # Where most values of hue belong to one panel alone, each panel has colours and a legend of its own.
    apart = bool(hue and panel) and len(table[[hue, panel]].drop_duplicates()) < len(panels) * len(hues) / 2
    fig, axes = _grid(len(panels), columns)
    for ax, key in zip(axes, panels, strict=False):
        part = table if key is None else table[table[panel] == key]
        if part.empty:
            ax.text(0.5, 0.5, "nothing to show", ha="center", va="center", transform=ax.transAxes, color="0.4")
        shown = list(part[hue].drop_duplicates()) if apart else hues
        over_zero = part[x][part[x] > 0]
        span = over_zero.max() / over_zero.min() if "x" in log and len(over_zero) else 1
        for i, one in enumerate(shown):
            row = (part if hue is None else part[part[hue] == one]).dropna(subset=[x, y]).sort_values(x)
            if row.empty:
                continue
            colour, name_ = _colour(i, len(shown), hue), None if one is None else str(one).replace("_", " ")
            values = row[x].to_numpy(float)
            if bars and "x" in log and not band:  # bars at one place would hide each other
                values = values * span ** (0.012 * (i - (len(shown) - 1) / 2))
            ax.plot(values, row[y], marker=MARKERS[i % 7], ms=4, lw=1.4, color=colour, label=name_, clip_on=False)
            if bars and band:
                ax.fill_between(values, row[low].astype(float), row[high].astype(float), color=colour, alpha=0.25, lw=0)
            elif bars:
                ax.vlines(values, row[low].astype(float), row[high].astype(float), color=colour, lw=1, alpha=0.7)
        if at is not None:
            ax.axhline(at, color="0.6", lw=0.8, ls=":")
        if marks and key in marks:
            ax.axvline(marks[key], color="black", lw=1, ls="--")
        if key is not None:
            ax.set_title((titles or {}).get(key, _wrapped(key)))
        for axis in log:
            _logarithmic(ax, axis, zero=over_zero.min() if axis == "x" and (part[x] == 0).any() else None)
        if ylim:
            ax.set_ylim(*ylim)
        if apart and len(shown) > 1:
            ax.legend(frameon=False, fontsize="x-small")
    legend = label(hue) if hue and len(hues) > 1 and not apart else None
    _finish(fig, axes, panels, label(x), ylabel or label(y), legend)
    return fig


def clouds(
    table: pd.DataFrame, x: str, y: str, name: str, run: Run | None = None, panel: str | None = None,
    columns: int = COLUMNS, log: str = "", diagonal: bool = False, notes: Mapping[object, str] | None = None,
) -> plt.Figure:
    """Many points: ``y`` against ``x`` as hexagons whose colour says how many, a panel per ``panel``.

    ``diagonal`` draws y = x; ``notes`` adds a line to a panel's title (a number with its interval, say).
    """
    require_columns(table, [c for c in (x, y, panel) if c], name)
    keep(table, name, run)
    panels = list(table[panel].drop_duplicates()) if panel else [None]
    fig, axes = _grid(len(panels), columns)
    for ax, key in zip(axes, panels, strict=False):
        part = table if panel is None else table[table[panel] == key]
        part = part.replace([np.inf, -np.inf], np.nan).dropna(subset=[x, y])
        scale = {f"{a}scale": "log" for a in log}
        style = {"gridsize": 28, "mincnt": 1, "bins": "log", "cmap": FEW_TO_MANY, "linewidths": 0.1}
        drawn = ax.hexbin(part[x], part[y], **style, **scale)
        drawn.set_rasterized(True)
        if diagonal:
            ends = [max(part[x].min(), part[y].min()), max(part[x].max(), part[y].max())]
            ax.plot(ends, ends, color=PALETTE[1], lw=1)
        ax.set_title("\n".join([str(key).replace("_", " ")] * bool(panel) + [(notes or {}).get(key, "")]).strip())
        for axis in log:
            _logarithmic(ax, axis)
    _finish(fig, axes, panels, label(x), label(y), None)
    return fig


def histograms(
    table: pd.DataFrame, value: str, name: str, run: Run | None = None, hue: str | None = None,
    panel: str | None = None, marks: Mapping[object, float] | None = None, bins: int = 40,
    columns: int = COLUMNS,
) -> plt.Figure:
    """Distributions of ``value``: densities, an outline per ``hue``, a panel per ``panel``, lines at ``marks``."""
    require_columns(table, [c for c in (value, hue, panel) if c], name)
    keep(table, name, run)
    panels = (list(table[panel].drop_duplicates()) if panel else []) or [None]
    hues = list(table[hue].drop_duplicates()) if hue else [None]
    edges = np.linspace(table[value].min(), table[value].max(), bins + 1)
    fig, axes = _grid(len(panels), columns)
    for ax, key in zip(axes, panels, strict=False):
        part = table if panel is None else table[table[panel] == key]
        for i, one in enumerate(hues):
            found = (part if hue is None else part[part[hue] == one])[value].dropna()
            if len(found):
                ax.hist(found, bins=edges, density=True, histtype="stepfilled", alpha=0.45,
                        color=_colour(i, len(hues), hue), label=None if one is None else str(one))  # fmt: skip
        if marks and key in marks:
            ax.axvline(marks[key], color="black", lw=1, ls="--")
        if panel:
            ax.set_title(str(key).replace("_", " "))
    _finish(fig, axes, panels, label(value), "density", label(hue) if hue and len(hues) > 1 else None)
    return fig


def intervals(
    table: pd.DataFrame, y: str, name: str, run: Run | None = None, hue: str | None = None, estimate: str = "estimate",
    low: str = "low", high: str = "high", at: float | None = 0.0, xlabel: str | None = None, log: bool = False,
) -> plt.Figure:
    """Estimates as points with their intervals, one row per value of ``y``, side by side per ``hue``."""
    require_columns(table, [c for c in (y, hue, estimate, low, high) if c], name)
    keep(table, name, run)
    rows = list(table[y].drop_duplicates())
    hues = list(table[hue].drop_duplicates()) if hue else [None]
    fig, ax = plt.subplots(figsize=(6.4, 0.9 + 0.34 * len(rows) * max(1, 0.6 * len(hues))))
    for i, one in enumerate(hues):
        part = (table if hue is None else table[table[hue] == one]).dropna(subset=[estimate])
        place = np.array([rows.index(v) for v in part[y]]) + (i - (len(hues) - 1) / 2) * 0.8 / len(hues)
        colour = _colour(i, len(hues), hue)
        ax.hlines(place, part[low].astype(float), part[high].astype(float), color=colour, lw=1.4)
        ax.plot(part[estimate], place, MARKERS[i % 7], ms=5, color=colour, label=None if one is None else str(one))
    ax.set_yticks(range(len(rows)), [str(r).replace("_", " ") for r in rows])
    ax.invert_yaxis()
    if at is not None:
        ax.axvline(at, color="0.6", lw=0.8, ls=":")
    ax.set_xlabel(xlabel or label(estimate))
    if log:
        _logarithmic(ax, "x")
    if len(hues) > 1:
        ax.legend(title=label(hue), frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    sns.despine(fig)
    return fig


def use_style() -> None:
    """The one style of all figures; in a notebook they are drawn as SVG, sharp at any size."""
    sns.set_theme(context="notebook", style="ticks", palette=PALETTE, font_scale=0.8)
    plt.rcParams.update({
        "figure.constrained_layout.use": True, "figure.dpi": 96, "savefig.dpi": 160, "axes.titlesize": "medium",
        "axes.spines.top": False, "axes.spines.right": False, "legend.fontsize": "small", "svg.hashsalt": "taskgram",
    })  # fmt: skip
    if get_ipython():
        set_matplotlib_formats("svg")


def _colour(i: int, total: int, hue: str | None):
    """What has an order (sizes, steps) is told apart by lightness, all else by hue."""
    if hue in ("model", "parameters", "step") and total > 2:
        return sns.color_palette("viridis", total)[i]
    return PALETTE[i % len(PALETTE)]


def _logarithmic(ax: plt.Axes, axis: str, zero: float | None = None) -> None:
    """A logarithmic axis with few, plain tick labels (20, 500, 30k, 3M); with a place for 0 below the smallest value
    ``zero`` that is above it, where the table has one."""
    side = getattr(ax, f"{axis}axis")
    if zero is not None and np.isfinite(zero):
        getattr(ax, f"set_{axis}scale")("symlog", linthresh=zero, linscale=0.5)
        largest = getattr(ax, f"get_{axis}lim")()[1]
        decades = 10.0 ** np.arange(np.ceil(np.log10(zero)), np.floor(np.log10(max(largest, zero))) + 1)
        side.set_major_locator(FixedLocator([0, *decades[:: max(1, -(-len(decades) // 4))]]))
        side.set_major_formatter(FuncFormatter(_plain))
        side.set_minor_locator(NullLocator())
        return
    getattr(ax, f"set_{axis}scale")("log")
    low, high = getattr(ax, f"get_{axis}lim")()
    span = high / max(low, 1e-300)
    subs = (1, 2, 5) if span < 30 else (1, 3) if span < 100 else (1,)
    side.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]) if span < 5 else LogLocator(subs=subs, numticks=6))
    side.set_major_formatter(FuncFormatter(_plain))
    side.set_minor_formatter(NullFormatter())


def _wrapped(key: object) -> str:
    """A panel's title, in lines that are no wider than the panel."""
    return "\n".join(textwrap.fill(line, 22) for line in str(key).replace("_", " ").split("\n"))


def _plain(value: float, _: int = 0) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _grid(panels: int, columns: int):
    across = min(panels, columns) if panels % columns == 0 or panels < columns else min(columns, -(-panels // 2))
    down = -(-panels // across)
    size = (max(4.6, 2.1 * across + 0.9), 2.1 * down + 0.4)
    fig, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey=True)
    for ax in axes.ravel()[panels:]:
        ax.set_axis_off()
    return fig, axes.ravel()


def _finish(fig, axes, panels, xlabel: str, ylabel: str, legend: str | None) -> None:
    if len(panels) > 1:
        fig.supxlabel(xlabel, fontsize="medium")
    else:
        axes[0].set_xlabel(xlabel)
    for ax in axes[:: axes[0].get_subplotspec().get_gridspec().ncols]:
        ax.set_ylabel(ylabel)
    if legend:
        found = {}
        for ax in axes:
            found |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        fig.legend(found.values(), found.keys(), title=legend, frameon=False, loc="outside right center")
    sns.despine(fig)


use_style()
