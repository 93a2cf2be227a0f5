"""How the tables of a run's prompts are made: prompts that are rewritten, and models under them."""

from itertools import repeat

import pandas as pd

from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import require
from taskgram_utils.miniature.clauses import UNHEARD, pool
from taskgram_utils.miniature.words import INSTRUCTIONS
from taskgram_utils.miniature.world import prompt
from taskgram_utils.prompting import Fragments, PromptScore, optimize
from taskgram_utils.run.data import corpus, stop_of, tasks_of
from taskgram_utils.run.models import load_at, of_run
from taskgram_utils.run.store import Run
from taskgram_utils.tasks.base import task


def make_prompts(run: Run) -> pd.DataFrame:
    """All prompts tried for each task, from the instruction whose score (n = 2, documents) is in
    the middle."""
    proposers = {name: Fragments(pool(name), bounds=(4, 16)) for name in prompted(run)}
    score, parts = PromptScore(ScanCounter(corpus(run)), 2), []
    # All n-grams at once, so that the corpus is read once.
    score.prepare([gram for p in proposers.values() for gram in p.reachable(2)])
    for name, fragments in proposers.items():
        given = INSTRUCTIONS[name]
        start = given[score(given).argsort(kind="stable")[len(given) // 2]]
        seeds = range(run["prompt_seeds"])
        tried = optimize(start, fragments, score, run["prompt_rounds"], seeds=seeds)
        parts.append(tried.assign(task=name, words=tried["prompt"].str.split().str.len()))
    return pd.concat(parts, ignore_index=True)


def prompted(run: Run) -> list[str]:
    """The tasks of a run whose instructions are rewritten."""
    names = [name for name in tasks_of(run) if name in UNHEARD]
    able = ", ".join(UNHEARD)
    require(names, f"run {run.name}: none of its tasks has prompts to rewrite (these have: {able})")
    return names


def prompt_examples(run: Run, name: str) -> pd.DataFrame:
    """The test examples that prompts are judged on; copied ones are not held out. A third for
    worked solutions."""
    examples = run.table("evaluated").query("task == @name and group != 'copied'")
    most = run["prompt_examples"] // (3 if name == "math_reasoning" else 1)
    return examples.sample(min(most, len(examples)), random_state=0)


def framed_prompts(run: Run, name: str) -> pd.DataFrame:
    """The prompts of a task that are judged, with their frame: direction, seed, round, prompt,
    score, frame.

    The best of each direction and seed; and, for every seed the same, ``start``, ``after`` (the
    same instruction after the input), ``none`` (no instruction) and ``other task`` (the most
    frequent instruction of another task).
    """
    tried = run.table("prompts").query("task == @name")
    best = tried[tried["best"]].groupby(["direction", "seed"]).tail(1)
    start, other = tried[tried["round"] == 0].iloc[0], next(t for t in INSTRUCTIONS if t != name)
    baselines = {
        "start": (start["prompt"], start["score"], "before"),
        "after": (start["prompt"], start["score"], "after"),
        "none": ("", None, "none"), "other task": (INSTRUCTIONS[other][0], None, "before"),
    }
    rows = [(*row, "before") for row in best[["direction", "seed", "prompt", "score"]].to_numpy()]
    rows += [(kind, seed, *baseline) for kind, baseline in baselines.items()
             for seed in sorted(tried["seed"].unique())]
    table = pd.DataFrame(rows, columns=["direction", "seed", "prompt", "score", "position"])
    table.insert(2, "round", tried["round"].max())
    frames = map(prompt, repeat(name), table["prompt"], table.pop("position"))
    return table.assign(score=table["score"].astype(float), frame=list(frames), task=name)


def make_prompt_accuracy(run: Run, model: str, step: str) -> pd.DataFrame:
    """Accuracy of one model under each of the prompts that are judged; ``correct`` has the score of
    every example."""
    from taskgram_utils.language_models.neural import generate, parameters

    loaded, parts = load_at(run, model, step), []
    for name in prompted(run):
        examples, judged, kind = prompt_examples(run, name), framed_prompts(run, name), task(name)
        metric, correct = next(iter(kind.metrics.values())), {}
        for frame in judged["frame"].unique():
            given = examples.assign(instruction=frame)
            outputs = generate(given, loaded, kind.max_tokens, stop_of(run, name))["output"]
            pairs = zip(outputs, examples["answers"], strict=True)
            correct[frame] = [float(metric(output, list(gold))) for output, gold in pairs]
        scores = judged["frame"].map(correct)
        parts.append(judged.assign(
            correct=scores, accuracy=scores.map(lambda some: sum(some) / len(some)),
            examples=len(examples), model=loaded.name, step=loaded.step,
            parameters=parameters(loaded)))
    return pd.concat(parts, ignore_index=True)


def make_prompt_scores(run: Run, model: str, step: str) -> pd.DataFrame:
    """log P of one model for the answers of factual QA under one prompt of each kind: does a prompt
    change Mem?

    ``prompt`` is the kind of the prompt (its first seed's), ``model`` the size.
    """
    from taskgram_utils.language_models.neural import score

    name, loaded, parts = "factual_qa", load_at(run, model, step), []
    examples = prompt_examples(run, name)
    n_grams = run.table("taskgrams").query("task == @name")
    n_grams = n_grams[n_grams["example_id"].isin(examples["example_id"])]
    for row in framed_prompts(run, name).drop_duplicates("direction").itertuples():
        scored = of_run(run, score(examples.assign(instruction=row.frame), loaded, n_grams))
        parts.append(scored.assign(prompt=row.direction, model=loaded.name))
    return pd.concat(parts, ignore_index=True)
