"""Every suite of Mini-Pythia, recorded: python results/seeds.py [--weights A=DIR] [--weights C=DIR] [--keep A]

Seed A (world 0, seed 0) was tuned on, by accuracy and loss alone: its scores are recorded, no Mem. Seed B (world 1,
seed 1) is the shipped suite, seed C (world 2, seed 2) its repetition on another draw; the expectations were committed,
and world and recipe frozen, before any Mem of either was computed. The twins (world 1, seed 1, twin 1 and 2) and the
reseed (world 1, seed 3), shipped in two sizes, are asked the questions of world 1. A and C are trained here, an hour of
a core each, or taken from DIR, a folder that ``taskgram train`` made (``trained_before`` in the note); the
rows of a suite to ``keep`` stay as they were recorded (``kept``). Writes
seeds_<table>.csv, seeds.json and the picture mem_by_size.png beside this file.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import pandas as pd

from taskgram_chapters.verdicts import NAMES, precision
from taskgram_utils import figures
from taskgram_utils.performance import binned_performance, performance
from taskgram_utils.run.pipeline import RECIPES, at_last_step, main_model, open_run, sizes_in_parameters
from taskgram_utils.run.store import Run, versions
from taskgram_utils.tables import read_table, write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
SHIPPED = "taskgram_utils/miniature/weights"
TWO = {"models": ["100k", "600k"], "steps": "last"}
SUITES = {
    "A": {"world": 0, "seed": 0, "steps": "last", "weights": ""},
    "C": {"world": 2, "seed": 2, "weights": ""},
    "twin 1": {"weights": f"{SHIPPED}/twin1", **TWO}, "twin 2": {"weights": f"{SHIPPED}/twin2", **TWO},
    "reseed": {"weights": f"{SHIPPED}/reseed", "seed": 3, **TWO},
}  # fmt: skip
MEASURED = ("B", "C")
TABLES = ("memorization", "partial", "difference_to_infinigram", "slopes", "without_most_frequent")
SHOWN = {"factual_qa": "facts", "world_knowledge": "knowledge", "translation": "unseen", "math_reasoning": "held_out"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", action="append", default=[], metavar="SUITE=DIR", help="a suite trained before")
    parser.add_argument("--keep", action="append", default=[], choices=sorted({*SUITES} - {*MEASURED}))
    options = parser.parse_args()
    given = dict(pair.split("=", 1) for pair in options.weights)
    runs, began = {"B": open_run("miniature")}, time.monotonic()
    for name in (name for name in SUITES if name not in options.keep):
        changed = SUITES[name]
        folder = {"weights": str(Path(given[name]).resolve())} if name in given else {}
        runs[name] = open_run("miniature", name=f"seeds-{name.replace(' ', '')}", **changed | folder)
    before = read_table(HERE / "seeds_performance.csv")
    noted = json.loads((HERE / "seeds.json").read_text(encoding="utf-8"))["suites"]
    scores = {name: before[before["suite"] == name] for name in options.keep}
    tables = {"performance": _stacked(scores | {name: last_scores(run) for name, run in runs.items()})}
    for table in (*TABLES, *({"placebo"} & set(RECIPES))):
        tables[table] = _stacked({name: runs[name].table(table) for name in MEASURED})
    for table, made in (("precision", true_shares), ("frequency", scores_with_frequency)):
        tables[table] = _stacked({name: made(runs[name]) for name in MEASURED})
    picture(tables["memorization"], HERE / "mem_by_size.png")
    written = {}
    for name, table in tables.items():
        path = HERE / f"seeds_{name}.csv"
        write_table(table, path)
        written[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    note = {
        "command": "python results/seeds.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(), "sha256": written,
        "trained_before": sorted(given), "kept": options.keep,
        "suites": {name: run.parameters | SUITES.get(name, {}) for name, run in runs.items()}
        | {name: noted[name] for name in options.keep},
    }  # fmt: skip
    write_text(HERE / "seeds.json", json.dumps(note, indent=1) + "\n")


def last_scores(run: Run) -> pd.DataFrame:
    """Scores at the last step, those of factual QA also apart for facts on which the documents agree and disagree."""
    answers, examples = run.table("answers"), run.table("examples")
    answers = answers[answers["step"] == answers.groupby("model")["step"].transform("max")]
    disputed = run.table("truth").drop_duplicates("fact").set_index("fact")["disputed"]
    facts = answers[answers["task"] == "factual_qa"]
    kind = facts["example_id"].str.removeprefix("qa-").astype(int).map(disputed)
    facts = facts.assign(group=kind.map({True: "facts, disputed", False: "facts, undisputed"}))
    both = pd.concat([answers, facts], ignore_index=True)
    return performance(both, examples, sizes_in_parameters(run))


def true_shares(run: Run) -> pd.DataFrame:
    """The share of true pairs among those mined, by group and n."""
    return precision(run.table("taskgrams"), run.table("gammas"), run.table("true_pairs"))


def scores_with_frequency(run: Run) -> pd.DataFrame:
    """Rank correlation of score and frequency in each group at every n, of the largest model's last step, with the
    number of examples of the rarer score."""
    answers = run.table("answers").query("metric in ['exact_match', 'accuracy']")
    answers = at_last_step(answers[answers["model"] == main_model(run)])
    answers = answers.merge(run.table("examples")[["task", "example_id", "y"]], on=["task", "example_id"])
    found = binned_performance(answers, run.table("frequency").drop(columns="group"))
    right = (found["score"] * found["examples"]).groupby([found[c] for c in ("task", "group", "n")]).transform("sum")
    found["rarer"] = right.where(right * 2 < found["points"], found["points"] - right).round().astype(int)
    found = found.drop_duplicates(["task", "group", "n"]).drop(columns=["low", "high", "score", "examples"])
    names = {"spearman": "estimate", "spearman_low": "low", "spearman_high": "high"}
    found = found.rename(columns=names).assign(measure="score", count_model="frequency")
    return found[["task", "group", "n", "model", "count_model", "measure", *names.values(), "p", "points", "rarer"]]


def picture(mem: pd.DataFrame, out: Path) -> None:
    """Mem against size under both references, n = 2, one group a task: suites B and C."""
    mem = mem[(mem["measure"] == "spearman") & (mem["n"] == 2) & (mem["group"] == mem["task"].map(SHOWN))]
    mem = mem[mem["step"] == mem.groupby(["suite", "model"])["step"].transform("max")]
    reference = mem["count_model"].map({"taskgram": "task-gram LM", "infinigram": "∞-gram LM"})
    mem = mem.assign(reference=reference + ", suite " + mem["suite"], place=mem["task"].map(list(SHOWN).index))
    mem = mem.sort_values(["place", "suite"]).sort_values("count_model", key=lambda c: c.str[0] == "∞", kind="stable")
    mem["task"] = mem["task"].map(NAMES)
    drawn = figures.lines(
        mem, "parameters", "estimate", "mem-by-size", hue="count_model", panel="task", log="x", at=0, columns=4
    )
    drawn.savefig(out, facecolor="white")


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.assign(suite=name) for name, table in tables.items()], ignore_index=True)


if __name__ == "__main__":
    main()
