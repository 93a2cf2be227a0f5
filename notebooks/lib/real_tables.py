"""Which table of a run of real text is made from which: coverage, Mem, slopes, baselines, as the chapter asks them."""

from __future__ import annotations

import pandas as pd

from taskgram_chapters import real_text
from taskgram_utils.errors import require
from taskgram_utils.language_models.taskgram import taskgram_halves, taskgram_logp
from taskgram_utils.memorization import COLUMNS, Estimates, at_one_step
from taskgram_utils.performance import binned_performance
from taskgram_utils.run.data import asked_grams, whole_test
from taskgram_utils.run.models import at_last_step, models, own_sizes, sizes_in_parameters, training_of
from taskgram_utils.run.store import Recipe, Run


def make_real(run: Run, name: str) -> pd.DataFrame:
    """One of the tables of a run of real text, by the name it has in :data:`taskgram_chapters.real_text.TABLES`."""
    require(name in real_text.TABLES, f"table real/{name}: not one of {', '.join(real_text.TABLES)}")
    return _MADE[name](run)


def real_tables(run: Run) -> dict[str, pd.DataFrame]:
    """All tables of a run of real text, by name, as :func:`taskgram_chapters.real_text.recorded` has them."""
    run.recipes = {**run.recipes, "real/*": Recipe(make_real)}
    own = {name: run.table(f"real/{name}") for name in real_text.TABLES}
    return own | {name: run.table(name) for name in ("performance", "gammas")}


def _units(run: Run) -> dict[str, str]:
    """The tables of counts of a run by what a document is."""
    first = run["document"] or "as it comes"
    same = run["control"] and run["control"] == run["document"]
    require(not same, f"control: {run['control']} is the run's own document; name another, or none: ''")
    return {first: "counts", **({run["control"]: "control_counts"} if run["control"] else {})}


def _fewest(run: Run) -> int:
    return run.get("fewest", real_text.FEWEST)


def _coverage(run: Run) -> pd.DataFrame:
    grams, test = run.table("taskgrams"), whole_test(run)
    parts = [real_text.coverage(grams, run.table(counts), test, run["orders"]).assign(documents=unit)
             for unit, counts in _units(run).items()]  # fmt: skip
    asked = run.table("asked").groupby(["task", "group"]).size().rename("asked").reset_index()
    return pd.concat(parts, ignore_index=True).merge(asked, on=["task", "group"], how="left")


def _models(run: Run) -> pd.DataFrame:
    table = real_text.models_table(models(run), own_sizes(run), sizes_in_parameters(run))
    said = {size: training_of(run, size) for size in own_sizes(run)}
    for column, kind in (("tokens", "Int64"), ("seconds", "Int64"), ("loss", "Float64")):
        table[column] = pd.array([said.get(m, {}).get(column) for m in table["model"]], kind)
    return table


def _inputs(run: Run) -> dict[str, pd.DataFrame]:
    """Scores, prior and task-grams of the examples that models are asked, of the last steps."""
    asked = run.table("asked")
    scores, prior = at_last_step(run.table("scores"), "lm"), run.table("prior")
    return {"scores": scores[scores["n"].notna()], "prior": prior, "examples": asked, "taskgrams": asked_grams(run)}


def _references(run: Run, grams: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """log P under the task-gram LM by what a document is, where enough examples are kept."""
    covered = run.table("real/coverage")
    found = {}
    for unit, counts in _units(run).items():
        table = taskgram_logp(run.table("taskgrams"), run.table(counts), run["form"], run["zeros"], run["kappa"])
        table = table[table["example_id"].isin(grams["example_id"])]
        found[unit] = real_text.enough(table, covered[covered["documents"] == unit], _fewest(run))
    return found


def _estimates(
    run: Run, unit: str, reference: pd.DataFrame, inputs: dict[str, pd.DataFrame]
) -> Estimates | None:
    """Mem raw and given all controls of one reference, where it stands on enough examples; None where none does."""
    if reference.empty:
        return None
    counts = run.table(_units(run)[unit])
    split = counts["half"].notna().any()
    halves = taskgram_halves(inputs["taskgrams"], counts, run["form"], run["zeros"], run["kappa"]) if split else None
    found = real_text.controlled(
        reference, inputs["scores"], inputs["prior"], inputs["taskgrams"], counts, reference_halves=halves,
        examples=inputs["examples"], parameters=sizes_in_parameters(run),
    )  # fmt: skip
    kept = (found.table["examples"] >= _fewest(run)).fillna(False).to_numpy(bool)
    return found.rows(kept) if kept.any() else None


def _first(run: Run, inputs: dict[str, pd.DataFrame]) -> tuple[str, pd.DataFrame]:
    """The run's own kind of document and log P under its task-gram LM."""
    return next(iter(_references(run, inputs["taskgrams"]).items()))


def _memorization(run: Run) -> pd.DataFrame:
    """Mem raw and given all controls, under the task-gram LM (each kind of document) and the infinity-gram LM."""
    inputs, parts = _inputs(run), []
    references = _references(run, inputs["taskgrams"])
    unit, first = next(iter(references.items()))
    infinigram = _on_points(run.table("infinigram_lm"), first)
    for kind, reference in (*references.items(), (unit, infinigram)):
        found = _estimates(run, kind, reference, inputs)
        parts += [] if found is None else [found.table.assign(documents=kind)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "documents"])


def _on_points(table: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    keys = ["task", "group", "example_id", "n", "sy", "start"]
    return table.merge(points[keys].drop_duplicates(), on=keys)


def _baseline(run: Run) -> pd.DataFrame:
    inputs = _inputs(run)
    _, first = _first(run, inputs)
    infinigram = _on_points(run.table("infinigram_lm"), first)
    if infinigram.empty:
        columns = ["task", "group", "n", "model", "estimate_of", "estimate_to", "estimate", "low", "high", "points"]
        return pd.DataFrame(columns=columns)
    return real_text.lead(first, infinigram, inputs["scores"], parameters=sizes_in_parameters(run))


def _slopes(run: Run) -> pd.DataFrame:
    inputs = _inputs(run)
    found = _estimates(run, *_first(run, inputs), inputs)
    if found is None:
        return real_text.suite_slopes(Estimates(pd.DataFrame(columns=COLUMNS), []), own_sizes(run))
    return real_text.suite_slopes(at_one_step(found), own_sizes(run))


def _seen(run: Run) -> pd.DataFrame:
    scores = at_last_step(run.table("scores"), "lm")
    return real_text.seen(scores, run.table("prior"), run.table("frequency"))


def _popularity(run: Run) -> pd.DataFrame:
    inputs = _inputs(run)
    _, first = _first(run, inputs)
    known = inputs["examples"].get("popularity")
    able = known is not None and first["example_id"].isin(inputs["examples"].loc[known.notna(), "example_id"]).any()
    if not able:
        return pd.DataFrame(columns=[*COLUMNS])
    return real_text.popularity(first, inputs["scores"], inputs["examples"],
                                parameters=sizes_in_parameters(run))  # fmt: skip


def _frequency(run: Run) -> pd.DataFrame:
    """Spearman of score and example frequency, and the scores by frequency in bins, of the last steps."""
    answers = at_last_step(run.table("answers"))
    graded = answers[answers["metric"].isin(["exact_match", "accuracy"])]
    frequency = run.table("frequency").drop(columns="group")
    if not graded.dropna(subset=["score"])["example_id"].isin(frequency["example_id"]).any():
        columns = ["group", "n", "model", "frequency", "score", "spearman", "spearman_low", "spearman_high"]
        return pd.DataFrame(columns=columns)
    return binned_performance(graded, frequency)


_MADE = {"coverage": _coverage, "models": _models, "memorization": _memorization,
         "baseline": _baseline, "slopes": _slopes, "seen": _seen, "popularity": _popularity,
         "frequency": _frequency}  # fmt: skip
