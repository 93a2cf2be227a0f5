"""Neural language models: log-probabilities of outputs, choices among options and greedy answers, as tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.language_models.forward import log_probabilities, token_budget
from taskgram_utils.language_models.generation import answers_of
from taskgram_utils.language_models.loading import LanguageModel, load, parameters
from taskgram_utils.language_models.packing import Job, Plan, Point, plan
from taskgram_utils.progress import Bar

__all__ = ["LanguageModel", "choose", "generate", "load", "parameters", "prompts", "score"]

_CHUNK = 256  # examples tokenized at once
LONG = ("refuse", "window")


def prompts(examples: pd.DataFrame) -> list[str | None]:
    """What stands before y: instruction + x, or the instruction with x in the place of its one ``{x}``.

    None where x or the instruction is no text.
    """
    require_columns(examples, ["example_id", "x"], "examples")
    repeated = examples["example_id"][examples["example_id"].duplicated()]
    require(repeated.empty, f"examples: example_id {next(iter(repeated), '')} occurs twice")
    instructions = examples["instruction"].fillna("") if "instruction" in examples else [""] * len(examples)
    out = []
    for instruction, x in zip(instructions, examples["x"], strict=True):
        if not isinstance(x, str) or not isinstance(instruction, str):
            out.append(None)
        else:
            out.append(instruction.replace("{x}", x) if instruction.count("{x}") == 1 else instruction + x)
    return out


def score(
    examples: pd.DataFrame,
    model: LanguageModel,
    taskgrams: pd.DataFrame | None = None,
    options: bool = False,
    prior: bool = False,
    budget: int | None = None,
    long: str = "refuse",
) -> pd.DataFrame:
    """Log-probabilities (nats) under ``model`` by teacher forcing: log P_LLM(s^y) of METHOD, section 1.

    One forward pass an example, whatever its number of n-grams and options, and what many examples begin with read
    once. Returns the ``logp`` table: for each example a row of its whole y (n null, sy = y, start 0), with ``options``
    one of each option (``option`` its index), and with ``taskgrams`` one of each distinct (n, sy, start): the sum over
    the tokens that hold a character of s^y, those of words that mining removed from inside it left out. ``tokens`` is
    the number of tokens summed. ``prior`` scores y after what the tokenizer puts before a text, or the end-of-text
    token. ``budget``, the tokens of a batch (by default what a quarter of the free memory holds), does not change the
    result. A special token that an example spells out (``<s>``) is read as that; a line on standard error says so.

    ``long`` says what happens to a text longer than the context: ``refuse`` it, or ``window``: its tokens are predicted
    in windows, each token after as many as the context holds, and after half a context at the least; each window begins
    with the special tokens that the tokenizer puts before a text.

    An example without a score (longer than the context, y empty, x or y no text, a character in y that the vocabulary
    cannot spell, no memory for it) gets null ``logp`` in all its rows, an s^y that is not where the table says in its
    own; each with a line on standard error, its id in ``frame.attrs["failed"]``. Raises
    :class:`~taskgram_utils.errors.InputError` for missing columns and repeated ids.
    """
    require(long in LONG, f"long: {long} is none of {', '.join(LONG)}")
    _check_budget(budget)
    require_columns(examples, ["example_id", "x", "y"] + ["options"] * options, "examples")
    points = points_of(taskgrams, set(examples["example_id"]))
    before = prompts(examples)
    before = [text and "" for text in before] if prior else before
    choices = examples["options"] if options else [None] * len(before)
    require(all(np.ndim(o) or pd.isna(o) for o in choices), "examples: options must be lists of texts")
    choices = [list(o) if np.ndim(o) else [] for o in choices]
    parts = zip(examples["example_id"], before, examples["y"], choices, strict=True)
    jobs = [Job(key, text, y, own, points.get(key, [])) for key, text, y, own in parts]
    _say_special(model, [(job.example_id, part) for job in jobs for part in (job.before, job.y, *job.options)])
    todo, asked = Plan([], [], []), 0
    for first in range(0, len(jobs), _CHUNK):
        part = plan(jobs[first : first + _CHUNK], model, long == "window", asked)
        asked += sum(len(tree.asked) for tree in part.trees)
        for all_of, some in zip(todo, part, strict=True):
            all_of.extend(some)
    with Bar(total=len(todo.trees), desc=f"score {_named(model)}", unit="text", disable=None) as bar:
        found, lost = log_probabilities(model, todo.trees, budget or token_budget(model), bar.update)
    without = np.zeros(asked, bool)
    starts = np.concatenate([[0], np.cumsum([len(tree.asked) for tree in todo.trees], dtype=np.int64)])
    for k in lost:
        without[starts[k] : starts[k + 1]] = True
    table = pd.DataFrame([r[:5] for r in todo.rows], columns=["example_id", "n", "sy", "start", "option"])
    table["logp"] = [np.nan if r.asked is None else float(found[r.asked].sum()) for r in todo.rows]
    table["tokens"] = [len(r.asked or ()) for r in todo.rows]
    unheard = {r.example_id for r in todo.rows if r.asked is not None and without[r.asked].any()}
    reasons = [*todo.reasons, *((key, "no memory for it alone, with a batch of one") for key in unheard)]
    failed = list(dict.fromkeys(key for key, _ in reasons))
    wrong = ~np.isfinite(table["logp"]) & ~table["example_id"].isin(failed)
    bad = next(iter(table["example_id"][wrong]), "")
    require(not wrong.any(), f"{model.name}: log P not finite, first in example {bad}; load it as float32")
    lines = [_report(model, key, f"{reason}; no score") for key, reason in reasons]
    return _finish(table.astype({"n": "Int64", "option": "Int64"}), examples, "lm", model, failed, lines)


def choose(logp: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """The most probable option of each example and model in ``logp`` (of ``score(..., options=True)``): ``answers``.

    ``output`` is the option's text; ``score`` is 1 where it is that of the ``gold`` one (white
    space aside), 0 where not, null where an option could not be scored. Of options that are
    equally probable the first is taken.
    """
    require_columns(logp, ["example_id", "option", "sy", "lm", "logp"], "logp")
    require_columns(examples, ["example_id", "gold"], "examples")
    repeated = examples["example_id"][examples["example_id"].duplicated()]
    require(repeated.empty, f"examples: example_id {next(iter(repeated), '')} occurs twice")
    asked = logp[logp["option"].notna()].reset_index(drop=True)
    require(len(asked), "logp: no row has an option; score with options=True first")
    keys = [c for c in ("task", "example_id", "lm", "world", "seed", "step") if c in asked]
    twice = asked.duplicated([*keys, "option"])
    require(not twice.any(), "logp: an option has two values under one model; keep those of one run")
    each = asked.groupby(keys, dropna=False)["logp"]
    asked = asked.assign(whole=each.transform("count") == each.transform("size"))
    best = asked.sort_values(["logp", "option"], ascending=[False, True]).drop_duplicates(keys).sort_index()
    gold = best["example_id"].map(examples.set_index("example_id")["gold"])
    unknown = best["example_id"][gold.isna()]
    require(unknown.empty, f"examples: no gold option for example {next(iter(unknown), '')}")
    number = pd.to_numeric(gold, errors="coerce")
    most = asked.groupby(keys, dropna=False)["option"].transform("max")[best.index].astype(int)
    wrong = best["example_id"][~((number % 1 == 0) & (number >= 0) & (number <= most))]
    require(wrong.empty, f"examples: gold of example {next(iter(wrong), '')} is the number of none of its options")
    answers = best[keys].rename(columns={"lm": "model"})
    answers["output"] = best["sy"].where(best["whole"])
    answers["metric"] = "accuracy"
    text = asked["sy"].map(lambda sy: " ".join(str(sy).split()))
    golds = dict(zip(best["example_id"], number, strict=True))
    of_gold = text.where(asked["option"] == asked["example_id"].map(golds))
    right = asked.assign(right=of_gold).groupby(keys, dropna=False)["right"].transform("first")
    answers["score"] = (text == right)[best.index].astype(float).where(best["whole"])
    answers.attrs = {"failed": list(best["example_id"][~best["whole"]])}
    return answers.reset_index(drop=True)


def generate(
    examples: pd.DataFrame,
    model: LanguageModel,
    max_tokens: int,
    stop: Sequence[str] | None = None,
    budget: int | None = None,
) -> pd.DataFrame:
    """Greedy answers: up to ``max_tokens`` tokens after instruction and x, to a ``stop`` string or the end of text.

    ``stop`` ends the answers to all examples; None: each has its own, a list in the column
    ``stop``, and where there is none the line's end. Returns the ``answers`` table with ``output``
    as written: cut off before the first stop string, even one that it begins with, and else nothing
    trimmed. ``at_bound``: whether ``max_tokens`` or the context cut it off. A prompt that fills the
    context, or is no text, gets null and a line on standard error; its id is in
    ``frame.attrs["failed"]``. Raises :class:`~taskgram_utils.errors.InputError` for a model with a
    recurrent state or without a cache, and for stops that are no lists of texts.
    """
    whole = isinstance(max_tokens, (int, np.integer)) and max_tokens >= 1
    require(whole, f"generate: max_tokens must be 1 or more, got {max_tokens}")
    _check_budget(budget)
    require(not model.network._is_stateful, f"{model.name}: generating with a recurrent state is not supported")
    texts, keys, stops = prompts(examples), list(examples["example_id"]), stops_of(examples, stop)
    _say_special(model, zip(keys, texts, strict=True))
    with Bar(total=len(texts), desc=f"generate {_named(model)}", unit="text", disable=None) as bar:
        answers, reasons = answers_of(model, texts, max_tokens, stops, budget, bar.update)
    lines = [_report(model, keys[k], f"{reason}; no answer") for k, reason in reasons.items()]
    table = pd.DataFrame({
        "example_id": keys, "output": pd.array([a and a[0] for a in answers], dtype="str"),
        "at_bound": pd.array([a and a[1] for a in answers], dtype="boolean")})  # fmt: skip
    return _finish(table, examples, "model", model, [keys[k] for k in reasons], lines)


def stops_of(examples: pd.DataFrame, stop: Sequence[str] | None) -> list[Sequence[str]]:
    """The texts that end each example's answer; InputError for what is no list of texts."""
    lists = (list, tuple, np.ndarray)
    given = examples.get("stop") if stop is None else [stop] * len(examples)
    given = [None] * len(examples) if given is None else given
    given = [own if isinstance(own, lists) or not pd.isna(own) else ["\n"] for own in given]
    for key, own in zip(examples["example_id"], given, strict=True):
        good = isinstance(own, lists) and all(isinstance(text, str) and text for text in own)
        said = "a list of texts, none of them empty (an empty list: only the end of text)"
        require(good, f"generate: stop must be {said}; that of example {key} is {own!r:.80}")
    return given


def _check_budget(budget: int | None) -> None:
    whole = budget is None or (isinstance(budget, (int, np.integer)) and budget >= 1)
    require(whole, f"budget: {budget} tokens; a batch has a whole number of them, at least 1")


def _report(model: LanguageModel, key: object, reason: str) -> str:
    line = f"{_named(model)}: example {key}: {reason}"
    print(line, file=sys.stderr)
    return line


def _say_special(model: LanguageModel, texts: Iterable[tuple[object, object]]) -> None:
    """Say once which text of an example spells out a special token, which is then read as that and not as text."""
    added = model.tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    special = re.compile("|".join(re.escape(token.content) for token in added if token.special) or "(?!)")
    hits = ((key, special.search(text)) for key, text in texts if isinstance(text, str))
    found = {key: hit[0] for key, hit in hits if hit}
    if found:
        key, token = next(iter(found.items()))
        more = f" (and {len(found) - 1} more examples)" if len(found) > 1 else ""
        print(f"{_named(model)}: example {key}: {token} in it is read as a special token{more}", file=sys.stderr)


def _named(model: LanguageModel) -> str:
    return model.name if model.step is None else f"{model.name} step {model.step}"


def points_of(taskgrams: pd.DataFrame | None, known: set) -> dict[object, list[Point]]:
    """The distinct points of a task-gram table, by example; InputError for one that does not fit."""
    out: dict[object, list[Point]] = {}
    if taskgrams is None:
        return out
    keys = ["example_id", "n", "sy", "start"]
    require_columns(taskgrams, keys, "taskgrams")
    require(taskgrams[keys].notna().all(axis=None), "taskgrams: a null among example_id, n, sy and start")
    taskgrams = taskgrams[[*keys, *(["end"] if "end" in taskgrams else [])]]
    for key, sy in zip(taskgrams["example_id"], taskgrams["sy"], strict=True):
        require(isinstance(sy, str), f"taskgrams: sy of example {key} is no text: {sy!r:.80}")
    for column in taskgrams.columns.drop(["example_id", "sy"]):
        given = taskgrams[column]
        number = pd.to_numeric(given.map(lambda v: v if np.ndim(v) == 0 else "a list"), errors="coerce")
        wrong = given.notna() & ~((number >= 0) & (number % 1 == 0))
        first = next(iter(zip(taskgrams["example_id"][wrong], given[wrong], strict=True)), ("", ""))
        require(not wrong.any(), f"taskgrams: {column} of example {first[0]} is no whole number: {first[1]!r:.80}")
        taskgrams = taskgrams.assign(**{column: number.astype("Int64")})
    distinct = taskgrams.drop_duplicates()
    twice = distinct[distinct.duplicated(keys)].head(1)
    for key, _, sy, start in twice[keys].itertuples(index=False):
        require(False, f"taskgrams: s^y '{sy}' at character {start} of example {key} has two ends")
    ends = distinct["end"] if "end" in distinct else [None] * len(distinct)
    for key, n, sy, start, end in zip(*(distinct[c] for c in keys), ends, strict=True):
        require(key in known, f"taskgrams: example_id {key} is not among the examples")
        out.setdefault(key, []).append(Point(int(n), sy, int(start), None if pd.isna(end) else int(end)))
    return out


def _finish(
    table: pd.DataFrame, examples: pd.DataFrame, column: str, model: LanguageModel, failed: list, reasons: list
) -> pd.DataFrame:
    """Add task and group of the examples, and the model's name (under ``column``) and step."""
    by_id = examples.set_index("example_id")
    for place, name in enumerate(c for c in ("task", "group") if c in examples):
        table.insert(place, name, table["example_id"].map(by_id[name]))
    table[column] = model.name
    table["step"] = pd.array([model.step] * len(table), dtype="Int64")
    table.attrs = {"failed": failed, "reasons": reasons}
    return table
