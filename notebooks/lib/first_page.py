"""The figure of the first page: Mem raw, Mem given controls, and the effect of counts, by size."""

import pandas as pd

from taskgram_chapters import page
from taskgram_chapters.recorded import recorded
from taskgram_chapters.verdicts import GIVEN, NAMES, rows_of
from taskgram_utils import figures
from taskgram_utils.book import inline
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

SHOWN = {"factual_qa": "facts", "world_knowledge": "knowledge", "translation": "unseen",
         "math_reasoning": "held_out"}
"""Of each task the group that is shown."""
NOTE = ("By size of the model, with 95% intervals. Mem is of two-word task-grams, one group for "
        "each task. <em>No change</em>: a model that has read the same text, trained again.")
PARTS = {
    "raw": ("task", "Mem",
            "What a correlation shows: rank correlation of log probability and counts"),
    "controlled": ("task", "Mem",
                   "What controls leave of it: frequency, length and prior held constant"),
    "effect": ("facts", "nats per nat of count",
               "What a count causes: change of log probability when the count alone is changed"),
}


def tables(run: Run, n: int) -> dict[str, pd.DataFrame]:
    """What the three parts of the figure show, each with model, parameters, its hue (task, facts),
    estimate, low, high: Mem of one group a task at the last step, raw and given all four
    controls, and the recorded effect of a count, by kind of fact."""
    mem = {"raw": ("memorization", "spearman"), "controlled": ("partial", GIVEN)}
    parts = {}
    for part, (name, measure) in mem.items():
        rows = rows_of(run.table(name), {"measure": measure, "n": n, "count_model": "taskgram"})
        rows = rows[rows["group"] == rows["task"].map(SHOWN)]
        parts[part] = pipeline.at_last_step(rows).assign(task=rows["task"].map(NAMES))
    effects = rows_of(recorded("cause").tables["cause"], {"channel": "pair"})
    effects = effects[effects["population"] != "all"]
    sizes = parts["raw"].groupby("model")["parameters"].first()
    kinds = effects["population"] + effects["world"].map({"twins": "", "reseed": " (no change)"})
    parts["effect"] = effects.assign(parameters=effects["model"].map(sizes), facts=kinds,
                                     grey=effects["world"] == "reseed")
    return parts


def figure(run: Run, n: int) -> None:
    """Keep the figure as a block for the first page: three drawings beside each other, or one below
    the other where there is no room."""
    blocks = []
    for part, table in tables(run, n).items():
        name, (hue, label, caption) = f"first-{part}", PARTS[part]
        drawn = figures.lines(table, "parameters", "estimate", name, run, hue=hue, log="x",
                              at=0, ylabel=label)
        figures.plt.close(drawn)
        svg = (run.folder / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        svg = inline(svg, "both", name, caption)
        blocks.append(f"<figure>{svg}<figcaption>{caption}.</figcaption></figure>")
    blocks.append(f"<p>{NOTE}</p>")
    html = f'<div class="first-figure">{"".join(blocks)}</div>'
    page.glue("first-figure", page.Words("", html), display=False)
