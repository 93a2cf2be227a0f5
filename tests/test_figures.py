"""Figures: every function draws what its table says, keeps the table beside it, and names a column that is missing."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from taskgram_utils import figures
from taskgram_utils.errors import InputError
from taskgram_utils.run.store import Run

matplotlib.use("Agg")


@pytest.fixture
def run(tmp_path):
    return Run("test", {}, tmp_path, {})


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def table():
    grid = pd.MultiIndex.from_product(
        [["translation", "factual_qa"], [1, 2, 3], [25_472, 100_096, 601_728]], names=["task", "n", "parameters"]
    ).to_frame(index=False)
    grid["estimate"] = np.linspace(-0.2, 0.6, len(grid))
    return grid.assign(low=grid["estimate"] - 0.1, high=grid["estimate"] + 0.1)


DRAWN = {
    "lines": lambda t, **k: figures.lines(t, "parameters", "estimate", "plot", hue="n", panel="task", log="x", at=0,
                                          **k),
    "clouds": lambda t, **k: figures.clouds(t, "low", "high", "plot", panel="task", diagonal=True, **k),
    "histograms": lambda t, **k: figures.histograms(t, "estimate", "plot", hue="n", panel="task", bins=5, **k),
    "intervals": lambda t, **k: figures.intervals(t, "task", "plot", hue="n", **k),
    "heatmap": lambda t, **k: figures.heatmap(t, "n", "parameters", "plot", panel="task", **k),
}  # fmt: skip


@pytest.mark.parametrize("draw", DRAWN)
def test_every_function_draws_and_keeps_its_table(draw, table, run, tmp_path):
    before = table.copy()
    figure = DRAWN[draw](table, run=run)
    figure.savefig(tmp_path / "plot.png")
    pixels = plt.imread(tmp_path / "plot.png")[..., :3]
    assert (pixels < 0.5).any(axis=-1).mean() > 0.002
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "figures" / "plot.csv"), table)
    pd.testing.assert_frame_equal(table, before)
    narrow = (tmp_path / "figures" / "plot.svg").read_text()
    assert figure.get_gid() == "plot" and f'width="{72 * figures.NARROW:g}pt"' in narrow
    assert len(plt.get_fignums()) == 1


def test_a_heat_map_has_each_estimate_with_its_interval_in_its_own_cell(table):
    figure = figures.heatmap(table, "n", "parameters", "plot", panel="task")
    for axis, (_, part) in zip(figure.axes, table.groupby("task", sort=False), strict=True):
        values = axis.get_images()[0].get_array()
        texts = {text.get_position(): text.get_text() for text in axis.texts}
        for row in part.itertuples():
            x, y = row.n - 1, sorted(table["parameters"].unique()).index(row.parameters)
            assert values[y, x] == pytest.approx(row.estimate)
            assert texts[x, y] == f"{row.estimate:.2f}\n[{row.low:.2f}, {row.high:.2f}]"


@pytest.mark.parametrize("draw", DRAWN)
def test_without_a_run_nothing_is_written(draw, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DRAWN[draw](table)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("draw", "column"), [
    *(("lines", c) for c in ("parameters", "estimate", "n", "task")),
    *(("clouds", c) for c in ("low", "high", "task")), *(("histograms", c) for c in ("estimate", "n", "task")),
    *(("intervals", c) for c in ("task", "n", "estimate", "low", "high")),
])  # fmt: skip
def test_a_missing_column_is_named_and_nothing_is_kept(draw, column, table, run, tmp_path):
    with pytest.raises(InputError, match=f"plot: missing column {column}"):
        DRAWN[draw](table.drop(columns=column), run=run)
    assert not (tmp_path / "figures").exists() and not plt.get_fignums()


def test_lines_show_the_values(table):
    figure = figures.lines(table, "parameters", "estimate", "plot", hue="n", panel="task",
                           titles={"translation": "To Velti"})  # fmt: skip
    axes = figure.axes
    assert [a.get_title() for a in axes] == ["To Velti", "factual qa"]
    for axis, (_, part) in zip(axes, table.groupby("task", sort=False), strict=True):
        for line, (_, one) in zip(axis.get_lines(), part.groupby("n"), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), one["estimate"])
            np.testing.assert_array_equal(line.get_xdata(), one["parameters"])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["1", "2", "3"]


def test_lines_have_bars_where_the_table_has_bounds(table):
    def segments(found):
        drawn = figures.lines(found, "parameters", "estimate", "plot", hue="n").axes[0].collections
        return [s for c in drawn if isinstance(c, LineCollection) for s in c.get_segments()]

    one = table[table["task"] == "translation"]
    np.testing.assert_allclose(sorted(s[0, 1] for s in segments(one)), sorted(one["low"]))
    assert not segments(one.drop(columns=["low", "high"]))
    with pytest.raises(InputError, match="plot: missing column least"):
        figures.lines(one, "parameters", "estimate", "plot", low="least")


def test_lines_leave_out_what_has_no_value(table):
    table.loc[table["n"] == 2, "estimate"] = np.nan
    figure = figures.lines(table[table["task"] == "translation"], "parameters", "estimate", "plot", hue="n")
    assert len(figure.axes[0].get_lines()) == 2


def test_logarithmic_axes_are_plain(table):
    figure = figures.lines(table, "parameters", "estimate", "plot", log="x")
    figure.canvas.draw()
    axis = figure.axes[0]
    assert axis.get_xscale() == "log" and axis.get_yscale() == "linear"
    assert {"50k", "100k"} & {t.get_text() for t in axis.get_xticklabels()}


def test_clouds_count_every_finite_point():
    rng = np.random.default_rng(0)
    points = pd.DataFrame({"a": rng.normal(size=500), "b": rng.normal(size=500)})
    points.loc[:9, "a"], points.loc[10:14, "b"] = np.nan, -np.inf
    figure = figures.clouds(points, "a", "b", "plot", diagonal=True, notes={None: "ρ = .01"})
    assert figure.axes[0].collections[0].get_array().sum() == 485
    assert figure.axes[0].get_title() == "ρ = .01"


def test_intervals_stand_where_the_table_says(table):
    rows = table[(table["n"] == 1) & (table["parameters"] == 25_472)]
    axis = figures.intervals(rows, "task", "plot").axes[0]
    segments = axis.collections[0].get_segments()
    np.testing.assert_allclose([s[:, 0] for s in segments], rows[["low", "high"]])
    assert [t.get_text() for t in axis.get_yticklabels()] == ["translation", "factual qa"]
    assert axis.yaxis_inverted()


def test_panels_of_intervals_share_their_rows_and_have_their_own_mark(table):
    rows = table[table["parameters"] == 25_472].assign(row=lambda t: "n = " + t["n"].astype(str))
    marks = {"translation": 0.1, "factual_qa": 0.2}
    axes = figures.intervals(rows, "row", "plot", panel="task", marks=marks, at=None, xlim=(-1, 1)).axes[:2]
    assert [a.get_title() for a in axes] == ["translation", "factual qa"]
    assert [a.get_lines()[-1].get_xdata()[0] for a in axes] == [0.1, 0.2] and axes[1].get_xlim() == (-1, 1)
    assert axes[0].get_ylim() == axes[1].get_ylim() and axes[1].yaxis_inverted()


def test_an_estimate_that_is_null_has_a_row_and_no_point(table):
    rows = table[(table["n"] == 1) & (table["parameters"] == 25_472)].copy()
    rows.loc[rows["task"] == "translation", ["estimate", "low", "high"]] = np.nan
    axis = figures.intervals(rows, "task", "plot").axes[0]
    assert len(axis.get_yticklabels()) == 2 and len(axis.collections[0].get_segments()) == 1


def test_histograms_are_densities_with_a_mark(table):
    axis = figures.histograms(table, "estimate", "plot", panel="task", bins=6, marks={"translation": 0.1}).axes[0]
    assert [line.get_xdata()[0] for line in axis.get_lines()] == [0.1]
    corners = axis.patches[0].get_xy()
    width = (table["estimate"].max() - table["estimate"].min()) / 6
    assert corners[:, 1].max() * width <= 1 + 1e-9


# Machado, Oliveira, Fernandes (2009), severity 1: linear RGB as red-blind and green-blind eyes see it.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "none": np.eye(3),
}


@pytest.mark.parametrize("eyes", BLIND)
def test_colours_are_told_apart_by_colour_blind_eyes(eyes):
    linear = np.array([matplotlib.colors.to_rgb(c) for c in (*figures.PALETTE, "white")]) ** 2.2
    seen = np.clip(linear @ np.array(BLIND[eyes]).T, 0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(seen), 1)]
    assert apart.min() > 0.15
    assert len(figures.MARKERS) == len(figures.PALETTE)


@pytest.mark.parametrize(("name", "shown"), [("gamma", "threshold γ"), ("log_count_sy", "log count sy"), ("n", "n")])
def test_labels(name, shown):
    assert figures.label(name) == shown


def test_a_logarithmic_axis_has_a_place_for_step_0(tmp_path):
    table = pd.DataFrame({"step": [0, 512, 143_000, None], "model": ["a", "a", "a", "b"], "y": [1.0, 2, 3, 4]})
    figure = figures.lines(table, "step", "y", "zero", hue="model", log="x")
    [axes] = figure.axes
    assert axes.get_xscale() == "symlog" and list(axes.lines[0].get_xdata()) == [0, 512, 143_000]
    assert len(axes.lines) == 1, "a model without steps has no line over them"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "0" and "100k" in labels


def test_a_table_without_rows_is_an_empty_figure():
    table = pd.DataFrame({"step": [], "model": [], "y": [], "set": []})
    for panel in (None, "set"):
        figure = figures.lines(table, "step", "y", "none", hue="model", panel=panel, log="x")
        assert [text.get_text() for text in figure.axes[0].texts] == ["nothing to show"]


def test_a_band_is_a_shade_and_no_bars(table):
    figure = figures.lines(table, "parameters", "estimate", "plot", hue="n", log="x", band=True, ylabel="Spearman ρ")
    kinds = {type(c).__name__ for ax in figure.axes for c in ax.collections}
    assert any("Poly" in kind for kind in kinds) and "LineCollection" not in kinds
    assert figure.get_supylabel() == "Spearman ρ" or any(ax.get_ylabel() == "Spearman ρ" for ax in figure.axes)
    # Without bars that hide each other, lines stand where their values are.
    drawn = {tuple(line.get_xdata()) for ax in figure.axes for line in ax.lines}
    assert drawn == {(25_472, 25_472, 100_096, 100_096, 601_728, 601_728)}


@pytest.mark.parametrize("draw", ["lines", "intervals"])
def test_what_is_not_reliable_is_grey(draw, table):
    weak = table.assign(reliability=np.where(table["task"] == "translation", 0.4, 0.9))
    weak["grey"] = weak["n"] == 3
    figure = DRAWN[draw](weak)
    points = [c for axis in figure.axes for c in axis.collections if len(c.get_offsets()) > 1]
    shades = np.concatenate([np.repeat(c.get_edgecolors()[:, :3], len(c.get_offsets()) // len(c.get_edgecolors()), 0)
                             for c in points])  # fmt: skip
    grey = np.isclose(shades, matplotlib.colors.to_rgb(figures.GREY)).all(axis=1)
    assert grey.sum() == 12 and len(grey) == 18
    assert (figures.GREY in [line.get_color() for line in figure.axes[0].lines]) == (draw == "lines")
    hollow = sum((c.get_facecolors()[:, 3] == 0).sum() for c in points)
    assert hollow == (3 if draw == "intervals" else 0), "suites are told apart where all is grey"


def test_names_of_rows_do_not_lie_upon_each_other_on_a_narrow_screen(table, run, tmp_path):
    rows = table[table["n"] == 1].assign(row=[f"{i}: a way of counting · with a long-hyphened name" for i in range(6)])
    figures.intervals(rows, "row", "plot", run, xlabel="a name of an axis that is wider than a telephone is, by far")
    text = (tmp_path / "figures" / "plot.svg").read_text()
    places = [float(y) for y in re.findall(r"translate\([\d.]+ ([\d.]+)\)", text.split('id="matplotlib.axis_2"')[1])]
    assert len(places) > 12 and places == sorted(places)
    assert "a name of an axis that is" in text and "that is wider than a telephone" not in text
