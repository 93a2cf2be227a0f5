"""Which table of a run is made from which other, and by which function: the way from the text to
Mem."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from taskgram_utils.bertscore import METRIC
from taskgram_utils.controls import point_controls, without_most_frequent
from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.api import ApiCounter
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.embedding import train_embedding
from taskgram_utils.errors import require
from taskgram_utils.language_models.infinigram import infinigram_logp
from taskgram_utils.language_models.taskgram import taskgram_halves, taskgram_logp
from taskgram_utils.memorization import (
    Estimates, at_one_step, contrasts, estimates, mem, on_shared_points, read_estimates, slopes,
    write_estimates,
)
from taskgram_utils.miniature.files import FACTS, TRUE_PAIRS, write_world
from taskgram_utils.mining import STOPWORDS_UP_TO, calibrate, language_stopwords, mine, named_pairs
from taskgram_utils.ngrams import ENGLISH_STOPWORDS, words
from taskgram_utils.performance import example_frequency, performance
from taskgram_utils.run.data import (
    CALIBRATE, answer_tokens, corpus, embedding, embedding_files, evaluated_taskgrams, gamma_of,
    listed_files, placed, read_examples, source_files, stop_of, tasks_of, text_files,
    tokenizer_file, tokenizer_files, whole_test,
)
from taskgram_utils.run.models import (
    at_last_step, bertscore_of, checkpoint_files, family, free_model, load_at, load_model, model_of,
    of_run, points_in_time, sizes_in_parameters, step_part, steps, training_files, training_of,
    weight_files,
)
from taskgram_utils.run.prompts import make_prompt_accuracy, make_prompt_scores, make_prompts
from taskgram_utils.run.store import Input, Recipe, Run
from taskgram_utils.tables import read_table
from taskgram_utils.tasks.base import task

OVERRIDES = "TASKGRAM_PARAMETERS"
"""Environment variable with run parameters as JSON, which ``taskgram book -p`` sets for kernels."""


def _stacked(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([t for t in tables if len(t)], ignore_index=True)


def _all_models_and_steps(name: str, last: bool = False):
    def make(run: Run) -> pd.DataFrame:
        times = points_in_time(run, last)
        table = _stacked([run.table(f"{name}/{model}/{step}") for model, step in times])
        free_model()
        return table

    return make


# --- corpus and tasks -----------------------------------------------------------------------------


def make_world(run: Run, out: Path) -> None:
    write_world(out, run["documents"], run["world"])


def make_plain_corpus(run: Run, out: Path) -> None:
    """The documents without stop words, for ``stopwords: both``."""
    with out.open("w", encoding="utf-8") as file:
        for text in corpus(run):
            kept = " ".join(w for w in words(text) if w not in ENGLISH_STOPWORDS)
            file.write(json.dumps({"text": kept or "-"}, ensure_ascii=False) + "\n")


def make_truth(run: Run) -> pd.DataFrame:
    """The facts of a text whose truth is known, with the documents that state them."""
    return _true(run, FACTS)


def make_true_pairs(run: Run) -> pd.DataFrame:
    """The pairs of words that carry an example, where they are known: task, example_id, sx, sy."""
    pairs = _true(run, TRUE_PAIRS)
    return pd.concat([pairs[pairs["task"] == name] for name in tasks_of(run)], ignore_index=True)


def _true(run: Run, name: str) -> pd.DataFrame:
    place = placed(run, name)
    require(place.is_file(), f"{place}: no such file: what is true of this text is not known")
    run.files(f"truth_in/{name}")
    return read_table(place)


# --- mining and counting --------------------------------------------------------------------------


def make_own_embedding(run: Run, out: Path) -> None:
    """Word vectors of the run's own corpus: what mining must not use (their cosines know the
    counts), kept to be compared with."""
    train_embedding(corpus(run), out)


def mining_options(run: Run, name: str | None = None) -> dict[str, Any]:
    """How a task of a run (by default any that is in English) is mined: whose s^y is the whole
    answer, and what happens to stop words, which of a translation are each language's own."""
    options = {"stopwords": run["stopwords"], "full_answer": set(run["full_answer"])}
    if name:
        examples = run.table("examples")
        groups = examples["group"][examples["task"] == name].unique()
        spoken = {g: task(name).languages(g) for g in groups}
        for i, side in enumerate(("stopwords_x", "stopwords_y")):
            options[side] = {g: language_stopwords(codes[i]) for g, codes in spoken.items()}
    return options


def _mined(run: Run, name: str, examples: pd.DataFrame) -> pd.DataFrame:
    """The examples of a task whose s^x are mined; those of a group that names its subjects are not.
    """
    examples = examples[examples["task"] == name]
    if "sx" not in examples:
        return examples
    return examples[~examples["sx"].notna().groupby(examples["group"]).transform("any")]


def mined_examples(run: Run) -> pd.DataFrame:
    """The test examples whose s^x are mined, task by task."""
    test = whole_test(run)
    return _stacked([_mined(run, name, test) for name in tasks_of(run)])


def make_gammas(run: Run) -> pd.DataFrame:
    """Thresholds by task and n, with what shuffled and own pairs pass them; calibrated on the train
    split, where there is one, else on the test split (no count and no model is looked at)."""
    examples, tables = run.table("examples"), []
    for n in run["ngram_sizes"]:
        for name in tasks_of(run):
            gamma, mined = gamma_of(run, name, n), _mined(run, name, examples)
            if gamma is None or mined.empty:
                continue
            train = mined[mined["split"] != "test"]
            train, most = train if len(train) else mined, run["calibrated_on"]
            if most is not None and len(train) > most:
                train = train.sample(most, random_state=0).sort_index()
            options = mining_options(run, name) | {"share": run["shuffled_share"], "empty": True}
            table = calibrate(train, n, embedding(run, name), **options)
            tables.append(table if gamma == CALIBRATE else table.assign(gamma=gamma))
    columns = ["task", "n", "gamma", "shuffled_share", "own_share", "auc", "shuffled_pairs"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def make_taskgrams(run: Run) -> pd.DataFrame:
    """The task-gram table of the test split. Groups whose examples name their subject have its pair
    with the answer, once, at the first n; all others are mined at every n."""
    examples, gammas = run.table("examples"), run.table("gammas")
    test, parts = examples[examples["split"] == "test"], []
    for n in run["ngram_sizes"]:
        for name in tasks_of(run):
            own = gammas[(gammas["n"] == n) & (gammas["task"] == name)]
            mined = _mined(run, name, test)
            if len(own) and len(mined):
                gamma, options = float(own["gamma"].iloc[0]), mining_options(run, name)
                parts.append(mine(mined, n, gamma, embedding(run, name), **options, empty=True))
            by_name = test[(test["task"] == name) & ~test.index.isin(mined.index)]
            if n == run["ngram_sizes"][0] and len(by_name):
                parts.append(named_pairs(by_name, n))
    sizes = ", ".join(map(str, run["ngram_sizes"]))
    none = f"run {run.name}: no example of any task has a task-gram, at n = {sizes}"
    require(any(map(len, parts)), none)
    return _stacked(parts)


def counter(run: Run, document: str | None = None):
    """What counts for a run: its text read through, an infini-gram index on disk, or the web
    service.

    ``document``: cut the text otherwise than the run says (not with an index, which was cut when it
    was built).
    """
    backend = run["backend"]
    fixed = "an index was cut into documents when it was built; set alternative_document to ''"
    require(document is None or backend == "scan", f"alternative_document: {document}: {fixed}")
    if backend == "api":
        return ApiCounter(run["corpus"])
    if backend == "index":
        return _given_index(run)
    return ScanCounter(corpus(run, document))


def _given_index(run: Run):
    """The index that a run names."""
    run.files("text")
    return Index(placed(run, run.parameters["corpus"]), tokenizer_file(run))


def make_counts(run: Run, document: str | None = None) -> pd.DataFrame:
    halves = run["backend"] != "api"
    return count_pairs(run, run.table("taskgrams"), document, halves=halves, singles=True)


def count_pairs(
    run: Run, pairs: pd.DataFrame, document: str | None = None, **options: bool
) -> pd.DataFrame:
    """The table ``counts`` of a table of pairs (n, sx, sy, sx_text, sy_text), by what counts for
    the run; ``options`` are those of :func:`taskgram_utils.counting.base.count_table`."""
    pairs = pairs[["n", "sx", "sy", "sx_text", "sy_text"]].drop_duplicates()
    bare = (run["stopwords"] == "both") & (pairs.pop("n") <= STOPWORDS_UP_TO)
    parts = []
    if bare.any():
        require(document is None, "stopwords: both is counted in the documents of the run alone")
        ngrams = pairs.loc[bare, ["sx", "sy"]].stack().unique()
        whole = next((s for s in ngrams if ENGLISH_STOPWORDS & set(s.split())), "")
        require(not whole, f"stopwords: both: {whole!r} has a stop word; set stopwords to mined")
        plain = ScanCounter(Corpus(run.path("plain_corpus")))
        parts.append(count_table(plain, pairs=pairs[bare].drop_duplicates(), **options))
    if not bare.all():
        counting = counter(run, document)
        parts.append(count_table(counting, pairs=pairs[~bare].drop_duplicates(), **options))
        if run["backend"] == "scan" and OVERRIDES not in os.environ:
            print(f"taskgram: {counting.corpus.path}: {counting.corpus.summary()}", file=sys.stderr)
    if len(parts) == 1:
        return parts[0]
    source = parts[-1]["source"].iloc[0] + "; n <= 3: no stop words"
    table = pd.concat(parts, ignore_index=True).assign(source=source)
    return table.drop_duplicates(["sx", "sy", "half"], ignore_index=True)


def make_alternative_counts(run: Run) -> pd.DataFrame:
    """The same counts with other documents (the run's ``alternative_document``), to see what a
    document is worth."""
    return make_counts(run, run["alternative_document"])


def make_evaluated(run: Run) -> pd.DataFrame:
    """The test examples on which models are evaluated: all, or where the run says how many
    (``evaluated``), at most so many of each group, drawn at random from those that can give a
    point, whose s^x occurs in some document."""
    test = whole_test(run)
    if run["evaluated"] is None:
        return test.reset_index(drop=True)
    counts, grams = run.table("counts"), run.table("taskgrams")
    whole = counts[counts["half"].isna() & counts["sy"].isna() & (counts["count"] > 0)]
    known = grams[grams["sx"].isin(whole["sx"])][["task", "example_id"]].drop_duplicates()
    able = test.merge(known, on=["task", "example_id"])
    drawn = able.sample(frac=1, random_state=0).groupby(["task", "group"], dropna=False)
    return drawn.head(run["evaluated"]).sort_index().reset_index(drop=True)


def make_index(run: Run, out: Path) -> None:
    build_index(corpus(run), out)


# --- three language models, one question ----------------------------------------------------------


def make_taskgram_lm(run: Run) -> pd.DataFrame:
    """log P (nats) under the task-gram LM."""
    return taskgram_logp(*task_gram_lm_inputs(run))


def task_gram_lm_inputs(run: Run) -> tuple:
    options = run["form"], run["zero_handling"], run["kappa"]
    return run.table("taskgrams"), run.table("counts"), *options


def make_taskgram_halves(run: Run) -> pd.DataFrame:
    """log P (nats) under the task-gram LM of either half of the documents."""
    return taskgram_halves(*task_gram_lm_inputs(run))


def make_infinigram_lm(run: Run) -> pd.DataFrame:
    """log P under the ∞-gram LM: of an index made of the run's text, or of the one it names. The
    web service has none that could be asked for so many tokens; the table is then empty."""
    backend = run["backend"]
    if backend == "api":
        return run.table("taskgram_lm").iloc[:0]
    index = _given_index(run) if backend == "index" else Index(run.path("index"))
    points, examples = evaluated_taskgrams(run), run.table("examples")
    return infinigram_logp(points, examples, index, run["infinigram_zero_handling"])


def make_steps(run: Run, model: str) -> pd.DataFrame:
    from taskgram_utils.language_models.loading import steps_of

    found = steps_of(model_of(run, model).source, needed=False)
    return pd.DataFrame({"step": pd.array(found, dtype="Int64")})


def make_last_step(run: Run, model: str) -> pd.DataFrame:
    last = steps(run, model_of(run, model).name)[-1:]
    return pd.DataFrame({"step": pd.array(last, dtype="Int64")})


def make_parameters(run: Run, model: str) -> pd.DataFrame:
    from taskgram_utils.language_models.loading import parameters

    one = model_of(run, model)
    if one.suite:
        count = training_of(run, one.name)["parameters"]
    else:
        count = parameters(load_model(run, one.name))
    return pd.DataFrame({"model": [one.name], "parameters": [count]})


def make_score(run: Run, model: str, step: str) -> pd.DataFrame:
    """log P (nats) of each s^y, full answer and option under one model."""
    return _scored(run, model, step, options=True)


def make_prior(run: Run, model: str, step: str) -> pd.DataFrame:
    """The same without the input."""
    return _scored(run, model, step, prior=True)


def _scored(run: Run, model: str, step: str, **options: bool) -> pd.DataFrame:
    from taskgram_utils.language_models.neural import score

    loaded, grams = load_at(run, model, step), evaluated_taskgrams(run)
    return of_run(run, score(run.table("evaluated"), loaded, grams, long=run["long"], **options))


def make_answer(run: Run, model: str, step: str) -> pd.DataFrame:
    """Answers of one model: greedy ones with every metric of their task, or the most probable
    option.

    Before the last step at most ``step_answers`` greedy answers a task and group, drawn once for
    all models.
    """
    from taskgram_utils.language_models.neural import choose, generate

    every, loaded, parts = run.table("evaluated"), load_at(run, model, step), []
    last = run.table(f"last_step/{model}")["step"].iloc[0]
    final = step == step_part(None if pd.isna(last) else last)
    for one in map(task, tasks_of(run)):
        examples, longest = every[every["task"] == one.name], answer_tokens(run, one)
        if examples.empty:
            continue
        if not longest:
            scores = run.table(f"scores/{model}/{step}")
            parts.append(of_run(run, choose(scores[scores["task"] == one.name], examples)))
            continue
        if not final:
            shuffled = examples.groupby("group", group_keys=False).sample(frac=1, random_state=0)
            examples = shuffled.groupby("group").head(run["step_answers"])
        answers = of_run(run, generate(examples, loaded, longest, stop_of(run, one.name)))
        gold = examples.set_index("example_id")["answers"].loc[answers["example_id"]]
        for metric, function in one.metrics.items():
            pairs = zip(answers["output"], gold, strict=True)
            scores = [None if pd.isna(o) else function(o, list(g)) for o, g in pairs]
            parts.append(answers.assign(metric=metric, score=scores))
        if one.worked and run.get("bertscore"):
            score = bertscore_of(run, answers, examples)
            parts.append(answers.assign(metric=METRIC, score=score))
    group = every.set_index("example_id")["group"]
    answers = pd.concat(parts, ignore_index=True)
    return answers.assign(group=answers["example_id"].map(group))


# --- measures -------------------------------------------------------------------------------------


def make_performance(run: Run) -> pd.DataFrame:
    """Mean score with 95% interval per task, group, metric, model and step; corpus BLEU beside it
    for translation."""
    return performance(run.table("answers"), run.table("examples"), sizes_in_parameters(run))


def make_frequency(run: Run) -> pd.DataFrame:
    return example_frequency(run.table("taskgrams"), run.table("counts"))


def make_memorization(run: Run, name: str) -> pd.DataFrame:
    """Mem of one task: under the task-gram and the infinity-gram LM, of every size and step."""
    return mem(**memorization_inputs(run, name), measures=("spearman", "kendall_distance"))


def memorization_inputs(run: Run, name: str, last: bool = False) -> dict[str, Any]:
    """The arguments of :func:`taskgram_utils.memorization.mem` for one task of a run; ``last``:
    last steps only."""

    def of_task(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["task"] == name]

    model = of_task(run.table("scores"))
    model = at_last_step(model, "model") if last else model
    grams, examples = of_task(run.table("taskgrams")), of_task(run.table("evaluated"))
    references = [run.table("taskgram_lm"), run.table("infinigram_lm")]
    return {
        "count_model": of_task(pd.concat(references, ignore_index=True)),
        "model": model[model["n"].notna()],
        "count_model_halves": of_task(run.table("taskgram_halves")),
        "taskgrams": grams[grams["example_id"].isin(examples["example_id"])],
        "examples": examples, "parameters": sizes_in_parameters(run),
    }


def make_estimates(run: Run, out: Path, name: str) -> None:
    """Mem of one task at the last step with its replicates, from which controls, differences and
    slopes are read: ``own``, each count-based model on its own points, raw and given log C(s^y),
    log C(s^x), tokens and the model's prior; and ``shared``, both count-based models on the points
    that both have."""
    inputs, prior = memorization_inputs(run, name, last=True), run.table("prior")
    grams, model, prior = inputs["taskgrams"], inputs["model"], prior[prior["task"] == name]
    controls = point_controls(grams, run.table("counts"), model, prior)
    measures = ("spearman", "kendall_distance")
    own = estimates(**inputs, controls=controls, measures=measures)
    both = inputs.pop("count_model")
    sides = [both[both["model"] == lm] for lm in ("taskgram", "infinigram")]
    shared = on_shared_points(*sides, **inputs)
    for points, result in (("own", own), ("shared", shared)):
        write_estimates(out / points, result)


def estimates_of(run: Run, name: str, points: str) -> Estimates:
    """What :func:`make_estimates` made of one task, on the points ``own`` or ``shared``."""
    return read_estimates(run.path(f"estimates/{name}") / points)


def make_partial(run: Run, name: str) -> pd.DataFrame:
    """Raw and partial Mem of one task at the last step."""
    result = estimates_of(run, name, "own")
    return result.rows(result.table["measure"] != "kendall_distance").table


def make_without_most_frequent(run: Run, name: str) -> pd.DataFrame:
    """Mem under the task-gram LM of one task without the two most frequent outputs of each group,
    last step; ``most_frequent`` is text."""
    inputs = memorization_inputs(run, name, last=True)
    count_model = inputs["count_model"][inputs["count_model"]["model"] == "taskgram"]
    table = without_most_frequent(count_model, inputs["model"], parameters=inputs["parameters"])
    quoted = [", ".join(f"“{sy}”" for sy in outputs) for outputs in table["most_frequent"]]
    return table.assign(most_frequent=quoted)


def _difference(run: Run, name: str) -> Estimates:
    return contrasts(estimates_of(run, name, "shared"), "count_model", "taskgram", "infinigram")


def make_difference_to_infinigram(run: Run, name: str) -> pd.DataFrame:
    """Mem under the task-gram LM less Mem under the infinity-gram LM on shared points, of one task
    at the last step."""
    return _difference(run, name).table


def make_slopes(run: Run, name: str) -> pd.DataFrame:
    """Slopes on log10 of the parameters, of one task at the last step, over the models that are
    compared by size: Mem raw and partial, the Kendall distance, and the difference from the
    infinity-gram LM."""
    parts = []
    for result in (estimates_of(run, name, "own"), _difference(run, name)):
        sized = result.rows(result.table["model"].isin(family(run)))
        parts.append(slopes(at_one_step(sized)))
    return _stacked(parts)


def all_tasks(name: str):
    def make(run: Run) -> pd.DataFrame:
        return _stacked(run.table(f"{name}/{t}") for t in tasks_of(run))

    return make


RECIPES: dict[str, Recipe | Input] = {
    "text": Input(text_files), "tokenizer": Input(tokenizer_files), "source/*": Input(source_files),
    "embedding_of/*": Input(embedding_files), "weights/*": Input(weight_files),
    "checkpoints/*": Input(checkpoint_files), "training/*": Input(training_files),
    "truth_in/*": Input(lambda run, name: listed_files(placed(run, name))),
    "world": Recipe(make_world, "", path=True),
    "truth": Recipe(make_truth),
    "plain_corpus": Recipe(make_plain_corpus, ".jsonl", path=True),
    "examples": Recipe(read_examples),
    "true_pairs": Recipe(make_true_pairs),
    "own_embedding": Recipe(make_own_embedding, "", path=True),
    "gammas": Recipe(make_gammas),
    "taskgrams": Recipe(make_taskgrams),
    "counts": Recipe(make_counts),
    "alternative_counts": Recipe(make_alternative_counts),
    "evaluated": Recipe(make_evaluated),
    "index": Recipe(make_index, "", path=True),
    "taskgram_lm": Recipe(make_taskgram_lm),
    "taskgram_halves": Recipe(make_taskgram_halves),
    "infinigram_lm": Recipe(make_infinigram_lm),
    "steps/*": Recipe(make_steps),
    "last_step/*": Recipe(make_last_step),
    "parameters/*": Recipe(make_parameters),
    "scores": Recipe(_all_models_and_steps("scores")),
    "scores/*": Recipe(make_score),
    "prior": Recipe(_all_models_and_steps("prior", last=True)),
    "prior/*": Recipe(make_prior),
    "answers": Recipe(_all_models_and_steps("answers")),
    "answers/*": Recipe(make_answer),
    "performance": Recipe(make_performance),
    "frequency": Recipe(make_frequency),
    "memorization": Recipe(all_tasks("memorization")),
    "memorization/*": Recipe(make_memorization),
    "estimates/*": Recipe(make_estimates, "", path=True),
    "partial": Recipe(all_tasks("partial")),
    "partial/*": Recipe(make_partial),
    "without_most_frequent": Recipe(all_tasks("without_most_frequent")),
    "without_most_frequent/*": Recipe(make_without_most_frequent),
    "difference_to_infinigram": Recipe(all_tasks("difference_to_infinigram")),
    "difference_to_infinigram/*": Recipe(make_difference_to_infinigram),
    "slopes": Recipe(all_tasks("slopes")),
    "slopes/*": Recipe(make_slopes),
    "prompts": Recipe(make_prompts),
    "prompt_accuracy": Recipe(_all_models_and_steps("prompt_accuracy", last=True)),
    "prompt_accuracy/*": Recipe(make_prompt_accuracy),
    "prompt_scores": Recipe(_all_models_and_steps("prompt_scores", last=True)),
    "prompt_scores/*": Recipe(make_prompt_scores),
}  # fmt: skip
