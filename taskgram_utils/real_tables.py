"""Which table of a run of real text is made from which: coverage, Mem, slopes, baselines, as the chapter asks them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from taskgram_utils import real_text
from taskgram_utils.errors import require
from taskgram_utils.language_models.taskgram import taskgram_halves, taskgram_logp
from taskgram_utils.memorization import Estimates, at_one_step
from taskgram_utils.performance import binned_performance
from taskgram_utils.run import Run
from taskgram_utils.run_data import asked_examples, asked_grams, whole_test
from taskgram_utils.run_models import at_last_step, model_source, models, own_sizes, run_models, sizes_in_parameters


def make_real(run: Run, name: str) -> pd.DataFrame:
    """One of the tables of a run of real text, by the name it has in :data:`taskgram_utils.real_text.TABLES`."""
    require(name in real_text.TABLES, f"table real/{name}: not one of {', '.join(real_text.TABLES)}")
    return _MADE[name](run)


def real_tables(run: Run) -> dict[str, pd.DataFrame]:
    """All tables of a run of real text, by name, as :func:`taskgram_utils.real_text.recorded` has them."""
    own = {name: run.table(f"real/{name}") for name in real_text.TABLES}
    return own | {name: run.table(name) for name in ("performance", "gammas")}


def _units(run: Run) -> dict[str, str]:
    """The tables of counts of a run by what a document is."""
    return {run["document"] or "file": "counts", **({run["control"]: "control_counts"} if run["control"] else {})}


def _coverage(run: Run) -> pd.DataFrame:
    grams, test = run.table("taskgrams"), whole_test(run)
    parts = [real_text.coverage(grams, run.table(counts), test, run["orders"]).assign(documents=unit)
             for unit, counts in _units(run).items()]  # fmt: skip
    asked = asked_examples(run).groupby(["task", "group"]).size().rename("asked").reset_index()
    return pd.concat(parts, ignore_index=True).merge(asked, on=["task", "group"], how="left")


def _models(run: Run) -> pd.DataFrame:
    table = real_text.models_table(models(run), own_sizes(run), sizes_in_parameters(run))
    said = {size: json.loads((Path(model_source(run, size)) / "training.json").read_text()) for size in own_sizes(run)}
    read = pd.array([said.get(m, {}).get("tokens") for m in table["model"]], "Int64")
    return table.assign(tokens=read, loss=[said.get(m, {}).get("loss") for m in table["model"]])


def _inputs(run: Run) -> dict[str, pd.DataFrame]:
    """Scores, prior and task-grams of the examples that models are asked, of the last steps."""
    asked = asked_examples(run)
    scores, prior = at_last_step(run.table("scores"), "lm"), run.table("prior")
    return {"scores": scores[scores["n"].notna()], "prior": prior, "examples": asked, "taskgrams": asked_grams(run)}


def _references(run: Run, grams: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """log P under the task-gram LM by what a document is, where enough examples are kept."""
    covered = run.table("real/coverage")
    found = {}
    for unit, counts in _units(run).items():
        table = taskgram_logp(run.table("taskgrams"), run.table(counts), run["form"], run["zeros"], run["kappa"])
        table = table[table["example_id"].isin(grams["example_id"])]
        found[unit] = real_text.enough(table, covered[covered["documents"] == unit])
    return found


def _estimates(run: Run, unit: str, reference: pd.DataFrame, inputs: dict[str, pd.DataFrame]) -> Estimates:
    counts = run.table(_units(run)[unit])
    split = counts["half"].notna().any()
    halves = taskgram_halves(inputs["taskgrams"], counts, run["form"], run["zeros"], run["kappa"]) if split else None
    return real_text.controlled(
        reference, inputs["scores"], inputs["prior"], inputs["taskgrams"], counts, draws=run["draws"],
        reference_halves=halves, examples=inputs["examples"], parameters=sizes_in_parameters(run),
    )  # fmt: skip


def _memorization(run: Run) -> pd.DataFrame:
    """Mem raw and given all controls, under the task-gram LM (each kind of document) and the infinity-gram LM."""
    inputs, parts = _inputs(run), []
    references = _references(run, inputs["taskgrams"])
    for unit, reference in references.items():
        parts.append(_estimates(run, unit, reference, inputs).table.assign(documents=unit))
    unit, first = next(iter(references.items()))
    infinigram = _on_points(run.table("infinigram_lm"), first)
    if len(infinigram):
        parts.append(_estimates(run, unit, infinigram, inputs).table.assign(documents=unit))
    return pd.concat(parts, ignore_index=True)


def _on_points(table: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    keys = ["task", "group", "example_id", "n", "sy", "start"]
    return table.merge(points[keys].drop_duplicates(), on=keys)


def _baseline(run: Run) -> pd.DataFrame:
    inputs = _inputs(run)
    first = next(iter(_references(run, inputs["taskgrams"]).values()))
    infinigram = _on_points(run.table("infinigram_lm"), first)
    if infinigram.empty:
        columns = ["task", "group", "n", "model", "estimate_of", "estimate_to", "estimate", "low", "high", "points"]
        return pd.DataFrame(columns=columns)
    return real_text.lead(first, infinigram, inputs["scores"], draws=run["draws"], parameters=sizes_in_parameters(run))


def _slopes(run: Run) -> pd.DataFrame:
    inputs = _inputs(run)
    unit, first = next(iter(_references(run, inputs["taskgrams"]).items()))
    return real_text.suite_slopes(at_one_step(_estimates(run, unit, first, inputs)), own_sizes(run))


def _seen(run: Run) -> pd.DataFrame:
    scores = at_last_step(run.table("scores"), "lm")
    return real_text.seen(scores, run.table("prior"), run.table("frequency"), run["draws"])


def _popularity(run: Run) -> pd.DataFrame:
    inputs = _inputs(run)
    if "popularity" not in inputs["examples"] or inputs["examples"]["popularity"].isna().all():
        return pd.DataFrame()
    first = next(iter(_references(run, inputs["taskgrams"]).values()))
    return real_text.popularity(first, inputs["scores"], inputs["examples"], draws=run["draws"],
                      parameters=sizes_in_parameters(run))


def _frequency(run: Run) -> pd.DataFrame:
    """Spearman of score and example frequency, and the scores by frequency in bins, of the last steps."""
    answers = at_last_step(run.table("answers"))
    graded = answers[answers["metric"].isin(["exact_match", "accuracy"])]
    return binned_performance(graded, run.table("frequency").drop(columns="group"), draws=run["draws"])


_MADE = {"coverage": _coverage, "models": _models, "memorization": _memorization,
         "baseline": _baseline, "slopes": _slopes, "seen": _seen, "popularity": _popularity,
         "frequency": _frequency}  # fmt: skip


def real_needs(run: Run, name: str) -> tuple[str, ...]:
    first = ("asked", "taskgrams", "counts", *(("control_counts",) if run["control"] else ()))
    if name == "coverage":
        return first
    if name == "models":
        return tuple(f"parameters/{model.key}" for model in run_models(run))
    return (*first, "real/coverage", "scores", "prior", "answers", "infinigram_lm", "frequency")
