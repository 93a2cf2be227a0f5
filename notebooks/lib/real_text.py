"""Real tasks on real text, as tables that hold none of it: coverage, Mem, being said, views."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from taskgram_chapters.verdicts import GIVEN, barred, cell, precision, rows_of
from taskgram_utils.controls import point_controls
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import combined, interval, mean, clusters_of
from taskgram_utils.language_models.taskgram import taskgram_halves, taskgram_logp
from taskgram_utils.memorization import (
    COLUMNS, Estimates, at_one_step, contrasts, estimates, on_shared_points, slopes,
)
from taskgram_utils.mining_checks import coverage as mined_coverage
from taskgram_utils.performance import binned_performance
from taskgram_utils.run.data import evaluated_taskgrams, whole_test
from taskgram_utils.run.models import (
    at_last_step, models, own_sizes, sizes_in_parameters, training_of,
)
from taskgram_utils.run.store import Recipe, Run

MIN_EXAMPLES = 200
"""Examples kept below which a task on real text has a coverage and no Mem (book/method.md)."""
_GROUP = ["task", "group"]
_EXAMPLES_WITH = ("examples_input_in_corpus", "examples_pair_in_corpus")


def coverage(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, examples: pd.DataFrame,
    ngram_sizes: Sequence[int] = (),
) -> pd.DataFrame:
    """What the text can say of the examples, per task, group and n.

    ``examples_input_in_corpus``: examples with an s^x that some document contains;
    ``examples_pair_in_corpus``: those with a pair that some document contains; ``subject_given``:
    whether the examples name their subject, so that nothing is mined; and the columns of
    :func:`taskgram_utils.mining_checks.coverage`. A group, or an n of ``ngram_sizes`` in a mined
    group, without a pair has a row of zeros.
    """
    present = counts[counts["half"].isna() & (counts["count"] > 0)]
    known = present.loc[present["sy"].isna(), "sx"]
    pairs = present.loc[present["sy"].notna(), ["sx", "sy"]]
    rows = []
    for (task, group), part_examples in examples.groupby(_GROUP, sort=False):
        grams = rows_of(taskgrams, {"task": task, "group": group})
        given = len(grams) > 0 and bool(grams["cosine"].isna().all())  # at one n, not the run's
        known_of = {"task": task, "group": group, "subject_given": given}
        nothing = {**known_of, "examples": len(part_examples), "with_pairs": 0.0, "n": None,
                   **dict.fromkeys(_EXAMPLES_WITH, 0)}
        absent = [] if given else [n for n in ngram_sizes if n not in set(grams["n"])]
        rows += [{**nothing, "n": n} for n in absent]
        rows += [] if absent or len(grams) else [nothing]
        for row in mined_coverage(grams, counts, part_examples).to_dict("records"):
            part = grams[grams["n"] == row["n"]]
            with_input = part.loc[part["sx"].isin(known), "example_id"].nunique()
            with_pair = part.merge(pairs, on=["sx", "sy"])["example_id"].nunique()
            with_either = zip(_EXAMPLES_WITH, (with_input, with_pair), strict=True)
            rows.append({**known_of, **row, **dict(with_either)})
    return pd.DataFrame(rows).astype(dict.fromkeys(("n", *_EXAMPLES_WITH), "Int64"))


def enough(
    frame: pd.DataFrame, covered: pd.DataFrame, min_examples: int = MIN_EXAMPLES
) -> pd.DataFrame:
    """The rows of a table whose task, group and n have ``min_examples`` or more examples."""
    many = (covered["examples_input_in_corpus"] >= min_examples).fillna(False)
    able = covered.loc[many, [*_GROUP, "n"]]
    keys = pd.MultiIndex.from_frame(able.astype({"n": int}))
    return frame[pd.MultiIndex.from_frame(frame[[*_GROUP, "n"]].astype({"n": int})).isin(keys)]


def gain_by_pair(
    scores: pd.DataFrame, prior: pd.DataFrame, frequency: pd.DataFrame
) -> pd.DataFrame:
    """What an answer gains from its question where some document holds the pair, and where not.

    ``gain`` is log P(y | x) - log P(y), in nats, of the gold answer under one model; ``frequency``
    is that of :func:`taskgram_utils.performance.example_frequency`. Rows per task, group, n and
    model: examples and mean gain of either kind, their ``difference`` with the 95% interval of the
    jackknife by answer: the examples of an answer, all of one group, are left out together.
    """
    keys = ["task", "example_id", "model"]
    require_columns(scores, [*keys, "sy", "logp", "n", "option"], "scores")
    gold, before = (table[table["n"].isna() & table.reindex(columns=["option"])["option"].isna()]
                    for table in (scores, prior))
    before = before[[*keys, "logp"]].rename(columns={"logp": "prior"})
    both = gold[[*keys, "sy", "logp"]].merge(before, on=keys)
    both["gain"] = (both["logp"] - both["prior"]).astype(float)
    both = both.dropna(subset=["gain"]).merge(frequency, on=["task", "example_id"])
    rows = []
    for key, part in both.groupby([*_GROUP, "n", "model"], sort=False):
        occurs, absent = (part[held] for held in (part["frequency"] > 0, part["frequency"] == 0))
        row = [*key, len(occurs), len(absent), part["sy"].nunique(), *[np.nan] * 5]
        if min(len(occurs), len(absent)) > 1:
            one, other = (mean(side["gain"].to_numpy(), clusters_of(side["sy"]))
                          for side in (occurs, absent))
            difference = one.estimate - other.estimate
            changes = combined([one.changes, other.changes], (1, -1))
            low, high, _ = interval(difference, changes, correlation=False)
            row[-5:] = one.estimate, other.estimate, difference, low, high
        rows.append(row)
    columns = [*_GROUP, "n", "model", "pair_in_corpus", "pair_not_in_corpus", "distinct_answers",
               "gain_pair_in_corpus", "gain_pair_not_in_corpus", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def popularity(
    count_model: pd.DataFrame, scores: pd.DataFrame, examples: pd.DataFrame, **options
) -> pd.DataFrame:
    """Two witnesses of the same answers: the text's counts, and how often the page of the subject
    is read.

    For the examples with a ``popularity`` (PopQA's monthly page views): the Spearman correlation of
    the model's log P with log popularity (``count_model`` is popularity), and with the task-gram
    LM, raw and given log popularity.
    """
    keys = ["task", "example_id"]
    known = examples.dropna(subset=["popularity"])[[*keys, "popularity"]]
    views = np.log1p(known["popularity"].astype(float))
    points = count_model.merge(known[keys].assign(popularity=views), on=keys)
    require(len(points), "popularity: no example has any")
    witness = points.assign(model="popularity").drop(columns="logp")
    witness = witness.rename(columns={"popularity": "logp"})
    controls = points[[*keys, "n", "sy", "start", "popularity"]]
    counted = estimates(points.drop(columns="popularity"), scores, controls, **options).table
    return pd.concat([counted, estimates(witness, scores, **options).table], ignore_index=True)


def read_expectations(path: Path) -> pd.DataFrame:
    """The expectations of ``book/openbook_expectations.yaml``, a row for each entry and group."""
    preregistered = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    table = pd.DataFrame(preregistered["entries"]).explode("groups", ignore_index=True)
    table["table"] = table["table"].replace("seen", "pair_in_corpus")  # the file stays as committed
    return table.rename(columns={"groups": "group"})


def judge(preregistered: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every preregistered expectation with ``found``, its verdict and number in words, and the
    ``verdict``: agrees, disagrees, not decided, not measured, or why nothing is said. A gain, in
    nats, has no bound within which there is none."""
    largest = tables["models"].sort_values("parameters").groupby("has_read")["model"].last()
    of = {"suite": largest.get("this text"), "proxy": largest.get("other text")}
    known = precision(tables["coverage"].dropna(subset=["n"]), tables["gammas"])
    judged = {name: tables[name].assign(barred=barred(tables[name], known))
              for name in preregistered["table"].unique()}  # fmt: skip
    values = {"slopes": {"value": "slope"}, "pair_in_corpus": {"value": "difference", "bound": 0}}
    found = []
    for row in preregistered.to_dict("records"):
        chosen = {"group": row["group"], "count_model": "taskgram", "model": of.get(row["of"]),
                  "measure": "spearman" if row["measure"] == "raw" else GIVEN,
                  "documents": tables["coverage"]["documents"].iloc[0]}  # fmt: skip
        chosen = {column: text for column, text in chosen.items() if column in judged[row["table"]]}
        one = {"table": row["table"], "where": chosen} | values.get(row["table"], {})
        found.append(cell({"says": row["expected"], "records": [one]}, "records", judged))
    return preregistered.assign(found=found, verdict=[text.split(":")[0] for text in found])


def real_tables(run: Run) -> dict[str, pd.DataFrame]:
    """All tables of a run of real text, by name, as ``recorded("openbook")`` has them."""
    run.recipes = {**run.recipes, "real/*": Recipe(make_real)}
    own = {name: run.table(f"real/{name}") for name in _MADE}
    return own | {name: run.table(name) for name in ("performance", "gammas")}


def make_real(run: Run, name: str) -> pd.DataFrame:
    """One of the tables of a run of real text."""
    require(name in _MADE, f"table real/{name}: not one of {', '.join(_MADE)}")
    return _MADE[name](run)


def _units(run: Run) -> dict[str, str]:
    """The run's tables of counts by what a document is."""
    first, other = run["document"] or "as it comes", run["alternative_document"]
    require(not other or other != run["document"],
            f"alternative_document: {other} is the run's own document; name another, or none: ''")
    return {first: "counts"} | ({other: "alternative_counts"} if other else {})


def _coverage(run: Run) -> pd.DataFrame:
    grams, test, ngram_sizes = run.table("taskgrams"), whole_test(run), run["ngram_sizes"]
    parts = [coverage(grams, run.table(counts), test, ngram_sizes).assign(documents=unit)
             for unit, counts in _units(run).items()]
    evaluated = run.table("evaluated").groupby(_GROUP).size().rename("evaluated").reset_index()
    return pd.concat(parts, ignore_index=True).merge(evaluated, on=_GROUP, how="left")


def _models(run: Run) -> pd.DataFrame:
    """Parameters are those without embeddings; tokens, seconds and loss of the suite's training."""
    suite, parameters, rows = own_sizes(run), sizes_in_parameters(run), []
    for model in models(run):
        trained = training_of(run, model) if model in suite else {}
        rows.append({"model": model, "parameters": parameters[model],
                     "has_read": "this text" if model in suite else "other text",
                     **{column: trained.get(column) for column in ("tokens", "seconds", "loss")}})
    return pd.DataFrame(rows).astype({"tokens": "Int64", "seconds": "Int64", "loss": "Float64"})


def _scores(run: Run) -> pd.DataFrame:
    """log P of the task-grams' outputs under the models at their last steps."""
    scores = at_last_step(run.table("scores"), "model")
    return scores[scores["n"].notna()]


def _taskgram_lm(run: Run, unit: str) -> pd.DataFrame:
    """log P under the task-gram LM of one kind of document, where enough examples are kept."""
    covered, counts = run.table("real/coverage"), run.table(_units(run)[unit])
    grams = run.table("taskgrams")
    table = taskgram_logp(grams, counts, run["form"], run["zero_handling"], run["kappa"])
    table = table[table["example_id"].isin(evaluated_taskgrams(run)["example_id"])]
    covered = covered[covered["documents"] == unit]
    return enough(table, covered, run.get("min_examples", MIN_EXAMPLES))


def _infinigram(run: Run, points: pd.DataFrame) -> pd.DataFrame:
    """log P under the infinity-gram LM on the points of another count-based model."""
    keys = [*_GROUP, "example_id", "n", "sy", "start"]
    return run.table("infinigram_lm").merge(points[keys].drop_duplicates(), on=keys)


def _estimates(run: Run, unit: str, count_model: pd.DataFrame) -> Estimates:
    """Mem under a count-based model, raw and given all controls, of enough examples."""
    if count_model.empty:
        return Estimates(pd.DataFrame(columns=COLUMNS), [])
    grams, counts, scores = evaluated_taskgrams(run), run.table(_units(run)[unit]), _scores(run)
    halves = None
    if counts["half"].notna().any():
        halves = taskgram_halves(grams, counts, run["form"], run["zero_handling"], run["kappa"])
    found = estimates(
        count_model, scores, point_controls(grams, counts, scores, run.table("prior")),
        count_model_halves=halves, taskgrams=grams, examples=run.table("evaluated"),
        parameters=sizes_in_parameters(run))
    measure, examples = found.table["measure"], found.table["examples"]
    wanted = measure.isna() | measure.isin(["spearman", GIVEN])
    return found.rows(wanted & (examples >= run.get("min_examples", MIN_EXAMPLES)).fillna(False))


def _memorization(run: Run) -> pd.DataFrame:
    """Mem under the task-gram LM of each kind of document and under the infinity-gram LM."""
    count_models = [(unit, _taskgram_lm(run, unit)) for unit in _units(run)]
    unit, first = count_models[0]
    count_models.append((unit, _infinigram(run, first)))
    parts = [_estimates(run, unit, count_model).table.assign(documents=unit)
             for unit, count_model in count_models]
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _difference_to_infinigram(run: Run) -> pd.DataFrame:
    """Mem under the task-gram LM less Mem under the infinity-gram LM, on the points of both."""
    first = _taskgram_lm(run, next(iter(_units(run))))
    infinigram = _infinigram(run, first)
    if infinigram.empty:
        return pd.DataFrame(columns=[*_GROUP, "n", "model", "estimate_of", "estimate_to",
                                     "estimate", "low", "high", "points"])
    both = on_shared_points(first, infinigram, _scores(run), parameters=sizes_in_parameters(run))
    return contrasts(both, "count_model", "taskgram", "infinigram").table


def _slopes(run: Run) -> pd.DataFrame:
    """Slopes on log10 of the parameters over the models that have read this text, and no other."""
    unit = next(iter(_units(run)))
    found = at_one_step(_estimates(run, unit, _taskgram_lm(run, unit)))
    found = found.rows(found.table["model"].isin(own_sizes(run)))
    if found.table["model"].nunique() < 2:
        columns = [*_GROUP, "n", "count_model", "measure", "slope", "low", "high", "p"]
        return pd.DataFrame(columns=columns)
    return slopes(found)


def _pair_in_corpus(run: Run) -> pd.DataFrame:
    scores = at_last_step(run.table("scores"), "model")
    return gain_by_pair(scores, run.table("prior"), run.table("frequency"))


def _popularity(run: Run) -> pd.DataFrame:
    count_model = _taskgram_lm(run, next(iter(_units(run))))
    examples = run.table("evaluated").reindex(columns=["task", "example_id", "popularity"])
    known = examples.loc[examples["popularity"].notna(), "example_id"]
    if not count_model["example_id"].isin(known).any():
        return pd.DataFrame(columns=COLUMNS)
    return popularity(count_model, _scores(run), examples, parameters=sizes_in_parameters(run))


def _frequency(run: Run) -> pd.DataFrame:
    """Spearman of score and example frequency, and scores by frequency in bins, of last steps."""
    answers = at_last_step(run.table("answers"))
    graded = answers[answers["metric"].isin(["exact_match", "accuracy"])]
    frequency = run.table("frequency").drop(columns="group")
    if not graded.dropna(subset=["score"])["example_id"].isin(frequency["example_id"]).any():
        return pd.DataFrame(columns=["group", "n", "model", "frequency", "score", "spearman",
                                     "spearman_low", "spearman_high"])
    outputs = run.table("examples")[["task", "example_id", "y"]]
    return binned_performance(graded.merge(outputs, on=["task", "example_id"]), frequency)


_MADE = {"coverage": _coverage, "models": _models, "memorization": _memorization,
         "difference_to_infinigram": _difference_to_infinigram, "slopes": _slopes,
         "pair_in_corpus": _pair_in_corpus, "popularity": _popularity, "frequency": _frequency}
