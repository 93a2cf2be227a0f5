"""Every figure of the book: one style, safe for colour-blind eyes, its table in a CSV beside it."""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib import colors, ticker
from matplotlib_inline.backend_inline import set_matplotlib_formats

from taskgram_utils.errors import require_columns
from taskgram_utils.run.store import Run
from taskgram_utils.tables import write_table

# Okabe and Ito (2008), the yellow left out: it does not show on white.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
MARKERS = "osD^vPX"
FEW_TO_MANY = colors.ListedColormap(sns.color_palette("Blues", 64)[12:])
COLUMNS = 3
"""Panels side by side: more would have letters too small to read on a page."""
NARROW = 3.6
"""Width of a figure on a telephone (inches): its panels are one below the other."""
INK = "#111111"
"""Dark whatever the page: letters on a colour."""
GREY, LEAST_RELIABLE = "0.65", 0.5
"""What is drawn in grey: a row whose ``reliability`` is below this, or whose column ``grey`` is
true."""
LABELS = {
    "parameters": "parameters without embeddings", "estimate": "Mem (Spearman ρ)",
    "step": "training step", "frequency": "example frequency (documents, summed)",
    "count": "documents", "gamma": "threshold γ", "loss": "loss (nats a token)",
    "count_of_number": "occurrences of the number's token", "words": "window (words)",
    "predictor": "n-grams up to", "r2": "R²", "spearman": "Spearman ρ",
}
"""How an axis or a legend names a column; any other column has its own name, with spaces."""
_screen = {"narrow": False}


def use_style() -> None:
    """The one style of all figures; in a notebook they are drawn as SVG, sharp at any size."""
    sns.set_theme(context="notebook", style="ticks", palette=PALETTE, font_scale=0.8)
    plt.rcParams.update({
        "figure.constrained_layout.use": True, "figure.dpi": 96, "savefig.dpi": 160,
        "axes.titlesize": "medium", "axes.spines.top": False, "axes.spines.right": False,
        "legend.fontsize": "small", "svg.hashsalt": "taskgram", "svg.fonttype": "none",
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "white",
    })
    if get_ipython():
        set_matplotlib_formats("svg")


def for_a_page(draw: Callable[..., plt.Figure]) -> Callable[..., plt.Figure]:
    """Give the figure of a run its name, and draw it a second time for a narrow screen, as
    ``figures/<name>.svg`` of the run."""

    @wraps(draw)
    def drawn(*args, **options) -> plt.Figure:
        figure = draw(*args, **options)
        given = inspect.signature(draw).bind(*args, **options).arguments
        if (run := given.get("run")) is not None:
            figure.set_gid(given["name"])
            _screen["narrow"] = True
            try:
                small = draw(*args, **options)
                small.savefig(run.folder / "figures" / f"{given['name']}.svg", facecolor="none")
                plt.close(small)
            finally:
                _screen["narrow"] = False
        return figure

    return drawn


def label(name: str) -> str:
    """A column's name as an axis shows it."""
    return LABELS.get(name, name.replace("_", " "))


@for_a_page
def lines(
    table: pd.DataFrame, x: str, y: str, name: str, run: Run | None = None,
    hue: str | None = None, panel: str | None = None, low: str = "low", high: str = "high",
    log: str = "", at: float | None = None, titles: Mapping[str, str] | None = None,
    ylim: tuple[float, float] | None = None, columns: int = COLUMNS,
    marks: Mapping[object, float] | None = None, band: bool = False, ylabel: str | None = None,
) -> plt.Figure:
    """Lines with intervals: ``y`` against ``x``, a line per ``hue``, a panel per ``panel``.

    Bars go from ``low`` to ``high`` where the table has these columns; with ``band`` a shade does.
    On a logarithmic x-axis lines with bars stand a few per cent beside each other, so that all bars
    are seen. ``log`` names the axes ("x", "y" or "xy") on a logarithmic scale; ``at`` draws a
    horizontal reference, ``marks`` a vertical one at ``marks[panel]``; ``titles`` replaces the
    titles of some panels, ``columns`` is the most panels side by side.
    Raises InputError for a column that is not there.
    """
    bounds = [c for c in (low, high) if c not in ("low", "high")]
    _keep(table, [x, y, hue, panel, *bounds], name, run)
    bars = low in table and high in table
    fig, panels = _panels(table, panel, columns, titles)
    hues = _values(table, hue)
    # Where most values of hue belong to one panel alone, each panel has its own colours and legend.
    used = len(table[[hue, panel]].drop_duplicates()) if hue and panel else np.inf
    own_legends = used < len(panels) * len(hues) / 2
    for ax, key, part in panels:
        if part.empty:
            ax.text(0.5, 0.5, "nothing to show", ha="center", va="center", transform=ax.transAxes,
                    color="0.4")
        positive = part.loc[part[x] > 0, x]
        shifted = bars and not band and "x" in log and len(positive)
        shift = (positive.max() / positive.min()) ** 0.012 if shifted else 1
        shown = _values(part, hue) if own_legends else hues
        for i, (rows, style) in enumerate(_groups(part, hue, shown)):
            rows = rows.dropna(subset=[x, y]).sort_values(x)
            if rows.empty:
                continue
            places = rows[x].to_numpy(float) * shift ** (i - (len(shown) - 1) / 2)
            shades, (marker, colour) = _shades(rows, style), (MARKERS[i % 7], style["color"])
            style |= {"color": GREY} if (shades != colour).all() else {}
            ax.plot(places, rows[y], marker=marker, ms=4, lw=1.4, clip_on=False, **style)
            ax.scatter(places, rows[y], c=shades, marker=marker, s=18, zorder=3, clip_on=False)
            if bars:
                ends = rows[[low, high]].astype(float).to_numpy().T
                if band:
                    ax.fill_between(places, *ends, color=style["color"], alpha=0.25, lw=0)
                else:
                    ax.vlines(places, *ends, color=shades, lw=1, alpha=0.7)
        if at is not None:
            ax.axhline(at, color="0.6", lw=0.8, ls=":")
        if marks and key in marks:
            ax.axvline(marks[key], color="black", lw=1, ls="--")
        for axis in log:
            _logarithmic(ax, axis, part[x] if axis == "x" else None)
        if ylim:
            ax.set_ylim(*ylim)
        if own_legends and len(shown) > 1:
            ax.legend(frameon=False)
    _finish(fig, label(x), ylabel or label(y), hue if len(hues) > 1 and not own_legends else None)
    return fig


@for_a_page
def clouds(
    table: pd.DataFrame, x: str, y: str, name: str, run: Run | None = None,
    panel: str | None = None, log: str = "", diagonal: bool = False,
    notes: Mapping[object, str] | None = None,
) -> plt.Figure:
    """Many points: ``y`` against ``x`` as hexagons whose colour says how many, a panel per
    ``panel``.

    ``log`` names the logarithmic axes; ``diagonal`` draws y = x; ``notes`` adds a line to a panel's
    title (a number with its interval, say). Raises InputError for a column that is not there.
    """
    _keep(table, [x, y, panel], name, run)
    fig, panels = _panels(table, panel)
    fig.set_dpi(160)  # of what is drawn as an image
    for ax, key, part in panels:
        part = part.replace([np.inf, -np.inf], np.nan).dropna(subset=[x, y])
        scales = {f"{axis}scale": "log" for axis in log}
        ax.hexbin(part[x], part[y], gridsize=28, mincnt=1, bins="log", cmap=FEW_TO_MANY,
                  linewidths=0.1, rasterized=True, **scales)
        if diagonal:
            ends = [max(part[x].min(), part[y].min()), max(part[x].max(), part[y].max())]
            ax.plot(ends, ends, color=PALETTE[1], lw=1)
        if notes and key in notes:
            ax.set_title(f"{ax.get_title()}\n{notes[key]}".strip())
        for axis in log:
            _logarithmic(ax, axis)
    _finish(fig, label(x), label(y), None)
    return fig


@for_a_page
def histograms(
    table: pd.DataFrame, value: str, name: str, run: Run | None = None, hue: str | None = None,
    panel: str | None = None, marks: Mapping[object, float] | None = None, bins: int = 40,
) -> plt.Figure:
    """Distributions of ``value``: densities, an outline per ``hue``, a panel per ``panel``, a
    vertical line at ``marks[panel]``. Raises InputError for a column that is not there."""
    _keep(table, [value, hue, panel], name, run)
    edges = np.linspace(table[value].min(), table[value].max(), bins + 1)
    fig, panels = _panels(table, panel)
    hues = _values(table, hue)
    for ax, key, part in panels:
        for rows, style in _groups(part, hue, hues):
            if rows[value].notna().any():
                ax.hist(rows[value].dropna(), bins=edges, density=True, histtype="stepfilled",
                        alpha=0.45, **style)
        if marks and key in marks:
            ax.axvline(marks[key], color="black", lw=1, ls="--")
    _finish(fig, label(value), "density", hue if len(hues) > 1 else None)
    return fig


@for_a_page
def intervals(
    table: pd.DataFrame, y: str, name: str, run: Run | None = None, hue: str | None = None,
    estimate: str = "estimate", low: str = "low", high: str = "high", at: float | None = 0.0,
    xlabel: str | None = None, log: bool = False, panel: str | None = None,
    marks: Mapping[object, float] | None = None, xlim: tuple[float, float] | None = None,
) -> plt.Figure:
    """Estimates as points with their intervals, one row per value of ``y``, side by side per
    ``hue``, a panel per ``panel``.

    What is grey has hollow marks in every second ``hue``.
    ``at`` draws a vertical reference in all panels, ``marks`` one at ``marks[panel]``; ``xlim`` are
    the ends of the axis, at which longer intervals are cut. Raises InputError for a column that is
    not there.
    """
    _keep(table, [y, hue, panel, estimate, low, high], name, run)
    names, hues = _values(table, y), _values(table, hue)
    width = 22 if _screen["narrow"] else 60
    shown = [textwrap.fill(_spaced(v), width, break_on_hyphens=False) for v in names]
    most = max([name.count("\n") + 1 for name in shown], default=1)  # lines of a name
    height = 0.9 + 0.34 * len(names) * max(1, 0.6 * len(hues), 0.3 + 0.45 * most)
    fig, panels = _panels(table, panel, height=height)
    for ax, key, part in panels:
        for i, (rows, style) in enumerate(_groups(part, hue, hues)):
            rows = rows.dropna(subset=[estimate])
            beside = (i - (len(hues) - 1) / 2) * 0.8 / len(hues)
            heights = np.array([names.index(value) for value in rows[y]]) + beside
            ends, shades = rows[[low, high]].astype(float).to_numpy().T, _shades(rows, style)
            ax.hlines(heights, *ends, color=shades, lw=1.4)
            ax.plot([], [], MARKERS[i % 7], ms=5, **style)
            inside = np.where((shades == GREY) & (i % 2 == 1), "none", shades)
            ax.scatter(rows[estimate], heights, c=inside, edgecolors=shades, marker=MARKERS[i % 7],
                       s=25, zorder=3)
        if at is not None:
            ax.axvline(at, color="0.6", lw=0.8, ls=":")
        if marks and key in marks:
            ax.axvline(marks[key], color="black", lw=0.8, ls="--")
        if log:
            _logarithmic(ax, "x")
        if xlim:
            ax.set_xlim(*xlim)
    fig.axes[0].set_yticks(range(len(names)), shown)
    fig.axes[0].set_ylim(len(names) - 0.5, -0.5)
    _finish(fig, xlabel or label(estimate), "", hue if len(hues) > 1 else None)
    return fig


@for_a_page
def heatmap(
    table: pd.DataFrame, x: str, y: str, name: str, run: Run | None = None,
    panel: str | None = None, columns: int = COLUMNS,
) -> plt.Figure:
    """``estimate`` by colour, 0 white, and in figures with its interval, a cell for each ``x`` and
    ``y``. Raises InputError for a column that is not there."""
    bounds = ["estimate", "low", "high"]
    _keep(table, [x, y, panel, *bounds], name, run)
    across, down = _values(table, x), _values(table, y)
    fig, panels = _panels(table, panel, columns, height=0.9 + 0.42 * len(down), width=3.1)
    most = table["estimate"].abs().max()
    for ax, _, part in panels:
        wide = part.set_index([y, x])[bounds].unstack()
        values = wide["estimate"].reindex(index=down, columns=across).to_numpy(float)
        ax.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
        for row in part[[x, y, *bounds]].itertuples(index=False):
            text = f"{row[2]:.2f}\n[{row[3]:.2f}, {row[4]:.2f}]"
            ax.text(across.index(row[0]), down.index(row[1]), text, ha="center", va="center",
                    fontsize=8.3, color="white" if abs(row[2]) > 0.6 * most else INK)
        ax.set_xticks(range(len(across)), [_spaced(v) for v in across])
        ax.set_yticks(range(len(down)), [_spaced(v) for v in down])
    _finish(fig, label(x), label(y), None)
    return fig


# --- parts of figures ---------------------------------------------------------------------------


def _keep(table: pd.DataFrame, needed: list[str | None], name: str, run: Run | None) -> None:
    """Check the columns, and keep the table as ``figures/<name>.csv`` of the run, for the download
    link beside the figure."""
    require_columns(table, [column for column in needed if column], name)
    if run is not None:
        folder = run.folder / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        write_table(table, folder / f"{name}.csv")


def _values(table: pd.DataFrame, column: str | None) -> list:
    """The distinct values of a column in order of appearance; one None without a column."""
    return list(table[column].drop_duplicates()) if column else [None]


def _groups(table: pd.DataFrame, hue: str | None, values: list) -> Iterator[tuple]:
    """For each of the values of ``hue``: its rows, and the colour and label of what shows them.

    Values that have an order (sizes, steps) differ in lightness, all others in hue.
    """
    ordered = hue in ("model", "parameters", "step") and len(values) > 2
    colours = sns.color_palette("viridis", len(values)) if ordered else PALETTE
    for i, value in enumerate(values):
        rows = table[table[hue] == value] if hue else table
        colour = colors.to_hex(colours[i % len(colours)])
        yield rows, {"color": colour, "label": _spaced(value) if hue else None}


def _shades(rows: pd.DataFrame, style: Mapping) -> np.ndarray:
    """The colour of each row: its group's, or grey."""
    weak = pd.to_numeric(rows.get("reliability", pd.Series(1.0, rows.index))) < LEAST_RELIABLE
    grey = weak | rows.get("grey", pd.Series(False, rows.index)).astype(bool)
    return np.where(grey, GREY, style["color"])


def _spaced(value: object) -> str:
    return str(value).replace("_", " ")


def _panels(table, panel: str | None, columns: int = COLUMNS, titles: Mapping | None = None,
            height: float | None = None, width: float = 2.1):
    """A figure, and for each panel its axes, with a title, its value of ``panel`` and its rows.
    Panels of a ``height`` (inches) of their own have names of rows on the left."""
    keys = _values(table, panel) or [None]
    columns, most = (1, 26) if _screen["narrow"] else (columns, 22)
    full_rows = len(keys) < columns or len(keys) % columns == 0
    wide = min(columns, len(keys) if full_rows else -(-len(keys) // 2))
    high = -(-len(keys) // wide)
    size = (max(4.6, 2.1 * wide + 0.9), 2.1 * high + 0.4)
    size = (max(6.4, width * wide + 1.5), height * high + 0.3 * (high - 1)) if height else size
    size = (NARROW, size[1]) if _screen["narrow"] else size
    fig, axes = plt.subplots(high, wide, figsize=size, squeeze=False, sharey=True)
    for ax in axes.ravel()[len(keys):]:
        ax.set_axis_off()
    panels = []
    for ax, key in zip(axes.ravel(), keys, strict=False):
        if key is not None:
            title = "\n".join(textwrap.fill(line, most) for line in _spaced(key).split("\n"))
            ax.set_title((titles or {}).get(key, title))
        panels.append((ax, key, table if key is None else table[table[panel] == key]))
    return fig, panels


def _logarithmic(ax: plt.Axes, axis: str, values: pd.Series | None = None) -> None:
    """A logarithmic axis with few, plain tick labels (20, 500, 30k, 3M); where 0 is among the
    ``values`` that it shows, with a place for it below the smallest one above 0."""
    side, set_scale = getattr(ax, f"{axis}axis"), getattr(ax, f"set_{axis}scale")
    positive = values[values > 0] if values is not None else ()
    if len(positive) and (values == 0).any():
        least = positive.min()
        set_scale("symlog", linthresh=least, linscale=0.5)
        largest = max(getattr(ax, f"get_{axis}lim")()[1], least)
        decades = 10.0 ** np.arange(np.ceil(np.log10(least)), np.floor(np.log10(largest)) + 1)
        every = max(1, -(-len(decades) // 4))
        side.set_major_locator(ticker.FixedLocator([0, *decades[::every]]))
        side.set_minor_locator(ticker.NullLocator())
    else:
        set_scale("log")
        low, high = getattr(ax, f"get_{axis}lim")()
        span = high / max(low, 1e-300)
        subs = (1, 2, 5) if span < 30 else (1, 3) if span < 100 else (1,)
        few = ticker.MaxNLocator(3, steps=[1, 2, 5, 10])
        side.set_major_locator(few if span < 5 else ticker.LogLocator(subs=subs, numticks=6))
        side.set_minor_formatter(ticker.NullFormatter())
    side.set_major_formatter(ticker.FuncFormatter(_plain))


def _plain(value: float, _: int = 0) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _finish(fig: plt.Figure, xlabel: str, ylabel: str, legend: str | None) -> None:
    """Name the axes, and add one legend for all panels, titled by the column ``legend``."""
    first, *others = fig.axes
    xlabel = textwrap.fill(xlabel, 30) if _screen["narrow"] else xlabel
    if others and _screen["narrow"]:
        next(ax for ax in fig.axes[::-1] if ax.axison).set_xlabel(xlabel)
    elif others:
        fig.supxlabel(xlabel, fontsize="medium")
    else:
        first.set_xlabel(xlabel)
    for ax in fig.axes[:: first.get_subplotspec().get_gridspec().ncols]:
        ax.set_ylabel(ylabel)
    if legend:
        handles = {}
        for ax in fig.axes:
            for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
                if name not in handles or getattr(handles[name], "get_color", str)() == GREY:
                    handles[name] = handle
        below = {"loc": "outside lower center", "ncols": 2}
        fig.legend(handles.values(), handles.keys(), title=label(legend), frameon=False,
                   **(below if _screen["narrow"] else {"loc": "outside right center"}))
    sns.despine(fig)


use_style()
