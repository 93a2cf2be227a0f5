"""The figure of the first page: Mem, raw and given controls, and the effect of counts, by size."""

import pandas as pd

from taskgram_chapters import cause, page, verdicts
from taskgram_chapters.recorded import recorded
from taskgram_chapters.verdicts import GIVEN, NAMES, rows_of
from taskgram_utils import figures
from taskgram_utils.pages import inline
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

SHOWN = {"factual_qa": "facts", "world_knowledge": "knowledge", "translation": "unseen"}
"""Of each task that has a Mem, the group that is shown."""
CAPTION = (
    "<strong>Figure 1.</strong> First: Mem of two-word task-grams, raw and given four controls, "
    "for facts, knowledge and unseen translations. Then: the slope of log probability on log count "
    "when the counts change; twice the count multiplies the probability by 2 to the power of the "
    "slope. Grey: models trained again on the same text. Bars: 95% intervals with training noise.")
HUES = {"mem": "task", "effect": "text"}


def tables(run: Run, n: int) -> dict[str, pd.DataFrame]:
    """What the two drawings show: Mem of one group a task at the last step (task; raw or given all
    four controls), and the recorded effect of a count by kind of fact (``text``: of other counts or
    the same), each with parameters, a panel, estimate, low and high with the noise of training."""
    chosen = {"measure": ["spearman", GIVEN], "n": n, "count_model": "taskgram"}
    rows = rows_of(run.table("partial"), chosen)
    rows = pipeline.at_last_step(rows[rows["group"] == rows["task"].map(SHOWN)])
    noise = verdicts.training_noise(recorded("reseeds").tables["reseeds"])
    rows = rows.merge(noise, "left")
    freedom = rows[["examples", "outputs"]].astype(float).min(axis=1) - 1
    own = rows[["estimate", "low", "high"]].to_numpy(float).T
    low, high, _ = verdicts.with_noise(*own, freedom, rows["s"], True, rows["trainings"])
    given = rows["measure"].map({"spearman": "raw", GIVEN: "given controls"})
    mem = rows.assign(low=low, high=high, panel="Mem, " + given, task=rows["task"].map(NAMES))

    found = recorded("cause").tables
    effects = cause.compared(found["cause"], found["noise"], cause.preregistered(), found["cells"])
    effects = effects.query("channel == 'pair' and population != 'all'")
    again, kinds = effects["world"] == "reseed", effects["population"].map(cause.KINDS)
    effects = effects.assign(
        parameters=effects["model"].map(rows.groupby("model")["parameters"].first()), grey=again,
        panel="Slope, " + kinds, text=again.map({True: "the same", False: "other counts"}),
        low=effects["low_with_noise"], high=effects["high_with_noise"])
    return {"mem": mem, "effect": effects}


def figure(run: Run, n: int) -> None:
    """Keep the figure as a block for the first page: two drawings beside each other, or one
    below the other where there is no room, and one caption."""
    blocks = []
    for part, table in tables(run, n).items():
        figures.plt.close(figures.lines(
            table, "parameters", "estimate", f"first-{part}", run, hue=HUES[part], panel="panel",
            log="x", at=0, ylabel=" "))
        svg = (run.folder / "figures" / f"first-{part}.svg").read_text(encoding="utf-8")
        blocks.append(inline(svg, "both", f"first-{part}", " and ".join(table["panel"].unique())))
    drawings = f'<div class="first-figure">{"".join(blocks)}</div>'
    html = f"<figure>{drawings}<figcaption>{CAPTION}</figcaption></figure>"
    page.glue("first-figure", page.Words("", html), display=False)
