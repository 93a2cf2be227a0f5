"""Tables of a run that try its Mem: placebo, wrong options, other choices, R² step by step."""

import pandas as pd

from taskgram_utils.controls import incremental_r2, point_controls
from taskgram_utils.language_models.exchanged import (
    distractor_outputs, placebo_outputs, placebo_reference,
)
from taskgram_utils.memorization import COLUMNS, contrasts, mem, on_shared_points
from taskgram_utils.run.data import whole_test
from taskgram_utils.run.models import at_last_step, main_model
from taskgram_utils.run.recipes import (
    all_tasks, count_pairs, make_counts, make_gammas, make_infinigram_lm, make_taskgrams,
    memorization_inputs, task_gram_lm_inputs,
)
from taskgram_utils.run.store import Recipe, Run
from taskgram_utils.run.variants import variants
from taskgram_utils.tables import KEYS


def make_placebo_outputs(run: Run) -> pd.DataFrame:
    """Each pair with another output of matched frequency."""
    return placebo_outputs(run.table("taskgrams"), run.table("counts"))


def make_distractors(run: Run) -> pd.DataFrame:
    """Each pair of a multiple-choice example with every wrong option in the output's place."""
    return distractor_outputs(run.table("taskgrams"), whole_test(run))


def make_exchanged_counts(run: Run) -> pd.DataFrame:
    """Counts of each s^x with the outputs and options that were put in the place of its s^y."""
    both = pd.concat([run.table("placebo_outputs"), run.table("distractors")], ignore_index=True)
    pairs = both.dropna(subset="placebo").drop(columns=["sy", "sy_text"])
    return count_pairs(run, pairs.rename(columns={"placebo": "sy", "placebo_text": "sy_text"}))


def make_placebo_lm(run: Run) -> pd.DataFrame:
    """log P (nats) under the task-gram LM of the placebo's output, in the place of s^y."""
    return _exchanged(run, "placebo_outputs", "placebo")


def make_distractor_lm(run: Run) -> pd.DataFrame:
    """The mean log P (nats) under the task-gram LM of the wrong options, in the place of s^y."""
    return _exchanged(run, "distractors", "distractors")


def _exchanged(run: Run, table: str, model: str) -> pd.DataFrame:
    pairs, (_, counts, *options) = run.table(table), task_gram_lm_inputs(run)
    if pairs["placebo"].isna().all():
        return run.table("taskgram_lm").iloc[:0]
    return placebo_reference(pairs, counts, run.table("exchanged_counts"), *options, model)


def make_placebo(run: Run, name: str) -> pd.DataFrame:
    """Mem of one task less its placebo (:eq:`eq-placebo`), at the last step: by task, group, n and
    model three rows, in the columns of :func:`taskgram_utils.memorization.estimates`, whose
    ``count_model`` is ``taskgram`` (Mem), ``placebo`` (its placebo Mem) and ``taskgram - placebo``
    (their difference), all on the points that have both and by the same jackknife. ``log_ratio``:
    the median of abs(log((1 + C(s^y')) / (1 + C(s^y)))) over the pairs, how far the frequencies are
    matched (0: the same)."""
    inputs, placebo = memorization_inputs(run, name, last=True), run.table("placebo_lm")
    own, placebo = inputs.pop("count_model"), placebo[placebo["task"] == name]
    if placebo["logp"].isna().all():
        return pd.DataFrame(columns=[*COLUMNS, "log_ratio"])
    both = on_shared_points(own[own["model"] == "taskgram"], placebo, **inputs)
    less = contrasts(both, "count_model", "taskgram", "placebo").table
    ratio = run.table("placebo_outputs").set_index(["task", "group", "n"])["log_ratio"].abs()
    ratio = ratio.groupby(level=[0, 1, 2], dropna=False).median().reset_index()
    return pd.concat([both.table, less.reindex(columns=COLUMNS)]).merge(ratio, how="left")


def make_variants(run: Run, n: str) -> pd.DataFrame:
    """Mem of the largest model at its last step, at one n, by other choices than the run's."""
    makers = {"gammas": make_gammas, "taskgrams": make_taskgrams, "counts": make_counts,
              "infinigram_lm": make_infinigram_lm}
    return variants(run, int(n), makers)


def make_increments(run: Run) -> pd.DataFrame:
    """R² (:eq:`eq-increment`) of the ranks of the largest model's log P at its last step, on the
    ranks of log (1 + C(s^y)), then also of log P under the ∞-gram and under the task-gram LM."""
    name, grams = main_model(run), run.table("taskgrams")
    model = run.table("scores")
    model = at_last_step(model[(model["model"] == name) & model["n"].notna()])
    table = point_controls(grams, run.table("counts")).rename(columns={"log_count_sy": "unigram"})
    for lm in ("infinigram", "taskgram"):
        logp = run.table(f"{lm}_lm").rename(columns={"logp": lm})
        table = table.merge(logp[["task", *KEYS, lm]], on=["task", *KEYS])
    return incremental_r2(model, table, ["unigram", "infinigram", "taskgram"], ranks=True)


def make_choices(run: Run) -> pd.DataFrame:
    """Mem of multiple choice at the last step, of the largest model, on the same points: ``right``,
    with log P of the right option, and ``right - wrong``, with it less the mean log P of the wrong
    ones, under the task-gram LM and under the model alike (column ``of``)."""
    model, lms = run.table("scores"), [run.table("taskgram_lm"), run.table("distractor_lm")]
    model = at_last_step(model[model["model"] == main_model(run)])
    gold = model["example_id"].map(whole_test(run).set_index("example_id")["gold"])
    asked, wrong = model["option"].notna(), model["option"] != gold
    less = model[asked & wrong].groupby("example_id")["logp"].mean()
    right = model[asked & ~wrong].set_index("example_id")["logp"]
    points = lms[0].merge(lms[1][[*KEYS, "logp"]], on=KEYS, suffixes=("", "_wrong"))
    parts = []
    for of, share in (("right", 0), ("right - wrong", 1)):
        mine = model[model["n"].notna() & model["example_id"].isin(less.index)]
        logp = mine["example_id"].map(right) - share * mine["example_id"].map(less)
        reference = points.assign(logp=points["logp"] - share * points["logp_wrong"])
        if len(reference):
            parts.append(mem(reference, mine.assign(logp=logp)).assign(of=of))
    return pd.concat(parts) if parts else pd.DataFrame(columns=[*COLUMNS, "of"])


RECIPES = {
    "placebo_outputs": Recipe(make_placebo_outputs),
    "distractors": Recipe(make_distractors),
    "exchanged_counts": Recipe(make_exchanged_counts),
    "placebo_lm": Recipe(make_placebo_lm),
    "distractor_lm": Recipe(make_distractor_lm),
    "placebo": Recipe(all_tasks("placebo")),
    "placebo/*": Recipe(make_placebo),
    "choices": Recipe(make_choices),
    "increments": Recipe(make_increments),
    "variants/*": Recipe(make_variants),
}
