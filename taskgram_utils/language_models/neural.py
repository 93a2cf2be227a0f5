"""Neural language models: log-probabilities of outputs, choices among options, greedy answers."""

import re
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from taskgram_utils.errors import require, require_columns
from taskgram_utils.language_models.forward import log_probabilities, token_budget
from taskgram_utils.language_models.generation import answers_of
from taskgram_utils.language_models.loading import LanguageModel, load, parameters
from taskgram_utils.language_models.packing import Job, plan
from taskgram_utils.language_models.points import points_of
from taskgram_utils.progress import Bar

__all__ = ["LanguageModel", "choose", "generate", "load", "parameters", "prompts", "score"]

LONG = ("refuse", "window")


def prompts(examples: pd.DataFrame) -> list[str | None]:
    """What comes before y: instruction + x, or the instruction with x for its one ``{x}``.

    None where x or the instruction is no text. InputError for missing columns and repeated ids.
    """
    require_columns(examples, ["example_id", "x"], "examples")
    _check_distinct(examples)
    out = []
    instructions = examples.get("instruction", pd.Series("", examples.index)).fillna("")
    for instruction, x in zip(instructions, examples["x"], strict=True):
        if not isinstance(x, str) or not isinstance(instruction, str):
            out.append(None)
        else:
            around = instruction.count("{x}") == 1
            out.append(instruction.replace("{x}", x) if around else instruction + x)
    return out


def score(
    examples: pd.DataFrame, model: LanguageModel, taskgrams: pd.DataFrame | None = None,
    options: bool = False, prior: bool = False, budget: int | None = None, long: str = "refuse",
) -> pd.DataFrame:
    """Log-probabilities (nats) under ``model`` by teacher forcing (:eq:`eq-plm`).

    One forward pass an example, whatever its number of n-grams and options; a beginning that many
    examples share is read once. Returns the ``logp`` table: for each example a row of its whole y
    (n null, sy = y, start 0), with ``options`` one of each option (``option`` its index), and with
    ``taskgrams`` one of each distinct (n, sy, start): the sum over the tokens that hold a character
    of s^y, without those of words that mining removed from inside it. ``tokens`` is the number of
    tokens summed. ``prior`` scores y after what the tokenizer puts before a text, or the
    end-of-text token. ``budget``, the tokens of a batch (by default what a quarter of the free
    memory holds), does not change the result. A special token that an example spells out (``<s>``)
    is read as that; a line on standard error says so.

    ``long`` says what happens to a text longer than the context: ``refuse`` it, or ``window``: its
    tokens are predicted in windows, each token after as many as the context holds, and after half a
    context at least; each window begins with the special tokens that the tokenizer puts first.

    An example without a score (longer than the context, y empty, x or y no text, a character in y
    that the vocabulary cannot spell, no memory for it) gets null ``logp`` in all its rows, an s^y
    that is not where the table says in its own; each with a line on standard error, its id in
    ``frame.attrs["failed"]``. Raises :class:`~taskgram_utils.errors.InputError` for missing
    columns, repeated ids, and log-probabilities that are not finite.
    """
    require(long in LONG, f"long: {long} is none of {', '.join(LONG)}")
    _check_budget(budget)
    require_columns(examples, ["example_id", "x", "y"] + ["options"] * options, "examples")
    points = points_of(taskgrams, set(examples["example_id"]))
    before = [text and "" for text in prompts(examples)] if prior else prompts(examples)
    choices = examples["options"] if options else [None] * len(before)
    listed = all(np.ndim(o) or pd.isna(o) for o in choices)
    require(listed, "examples: options must be lists of texts")
    columns = zip(examples["example_id"], before, examples["y"], choices, strict=True)
    jobs = [Job(key, text, y, list(o) if np.ndim(o) else [], points.get(key, []))
            for key, text, y, o in columns]
    texts = ((job.example_id, (job.before, job.y, *job.options)) for job in jobs)
    _say_special(model, ((key, text) for key, some in texts for text in some))
    todo = plan(jobs, model, long == "window")
    total, name = len(todo.trees), f"score {_named(model)}"
    with Bar(total=total, desc=name, unit="text", disable=None) as bar:
        budget = budget or token_budget(model)
        values = log_probabilities(model, todo.trees, budget, bar.update)
    columns = ["example_id", "n", "sy", "start", "option"]
    table = pd.DataFrame([row[:5] for row in todo.rows], columns=columns)
    sums = [None if row.asked is None else values[row.asked].sum() for row in todo.rows]
    table["logp"] = np.array(sums, float)
    table["tokens"] = [len(row.asked or ()) for row in todo.rows]
    first = next(iter(table["example_id"][np.isinf(table["logp"])]), None)
    finite = not np.isinf(table["logp"]).any()
    require(finite, f"{model.name}: log P not finite, first in example {first}; load it as float32")
    without = table["example_id"][table["logp"].isna() & (table["tokens"] > 0)]
    alone = "no memory for it alone, with a batch of one"
    reasons = [*todo.reasons, *((key, alone) for key in without.unique())]
    table = table.astype({"n": "Int64", "option": "Int64"})
    return _finish(table, examples, "model", model, [(k, f"{why}; no score") for k, why in reasons])


def choose(logp: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """The most probable option of each example and model in ``logp``, as an ``answers`` table.

    ``logp`` is that of ``score(..., options=True)``. ``output`` is the option's text; ``score`` is
    1 where it is that of the ``gold`` option (white space aside), 0 where not, null where an option
    has no score. Of options that are equally probable the first is taken. Raises InputError for
    missing columns, repeated ids, options with two values, and a gold option that is none.
    """
    require_columns(logp, ["example_id", "option", "sy", "model", "logp"], "logp")
    require_columns(examples, ["example_id", "gold"], "examples")
    _check_distinct(examples)
    asked = logp[logp["option"].notna()].reset_index(drop=True)
    require(len(asked), "logp: no row has an option; score with options=True first")
    keys = [c for c in ("task", "example_id", "model", "run", "seed", "step") if c in asked]
    twice = asked.duplicated([*keys, "option"]).any()
    require(not twice, "logp: an option has two values under one model; keep those of one run")
    each = asked.groupby(keys, dropna=False)["logp"]
    asked = asked.assign(
        whole=each.transform("count") == each.transform("size"),
        text=asked["sy"].map(lambda sy: " ".join(str(sy).split())),
    )
    gold = pd.to_numeric(examples.set_index("example_id")["gold"], errors="coerce")
    right = asked[(asked["option"] == asked["example_id"].map(gold)).fillna(False)]
    by_logp = asked.sort_values(["logp", "option"], ascending=[False, True])
    best = by_logp.drop_duplicates(keys).sort_index().merge(
        right[[*keys, "text"]], on=keys, how="left", suffixes=("", "_gold"))
    wrong = best["example_id"][best["text_gold"].isna()]
    first = next(iter(wrong), "")
    require(wrong.empty, f"examples: gold of example {first} is the number of none of its options")
    equal = (best["text"] == best["text_gold"]).astype(float)
    answers = best[keys].assign(
        output=best["sy"].where(best["whole"]), metric="accuracy",
        score=equal.where(best["whole"]))
    answers.attrs = {"failed": list(best["example_id"][~best["whole"]])}
    return answers


def generate(
    examples: pd.DataFrame, model: LanguageModel, max_tokens: int,
    stop: Sequence[str] | None = None, budget: int | None = None,
) -> pd.DataFrame:
    """Greedy answers: up to ``max_tokens`` tokens after instruction and x, to a ``stop`` string or
    the end of text.

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
    recurrent = f"{model.name}: generating with a recurrent state is not supported"
    require(not model.network._is_stateful, recurrent)
    texts, keys, stops = prompts(examples), list(examples["example_id"]), stops_of(examples, stop)
    _say_special(model, zip(keys, texts, strict=True))
    with Bar(total=len(texts), desc=f"generate {_named(model)}", unit="text", disable=None) as bar:
        answers, reasons = answers_of(model, texts, max_tokens, stops, budget, bar.update)
    table = pd.DataFrame({
        "example_id": keys, "output": pd.array([a and a[0] for a in answers], dtype="str"),
        "at_bound": pd.array([a and a[1] for a in answers], dtype="boolean")})
    reasons = [(keys[k], f"{why}; no answer") for k, why in reasons.items()]
    return _finish(table, examples, "model", model, reasons)


def stops_of(examples: pd.DataFrame, stop: Sequence[str] | None) -> list[Sequence[str]]:
    """The texts that end each example's answer; InputError for what is no list of texts."""
    lists = (list, tuple, np.ndarray)
    given = examples.get("stop", [None] * len(examples)) if stop is None else [stop] * len(examples)
    out = [some if isinstance(some, lists) or not pd.isna(some) else ["\n"] for some in given]
    for key, some in zip(examples["example_id"], out, strict=True):
        good = isinstance(some, lists) and all(isinstance(text, str) and text for text in some)
        require(good, "generate: stop must be a list of texts, none of them empty (an empty list: "
                      f"only the end of text); that of example {key} is {some!r:.80}")
    return out


def _check_distinct(examples: pd.DataFrame) -> None:
    repeated = examples["example_id"][examples["example_id"].duplicated()]
    require(repeated.empty, f"examples: example_id {next(iter(repeated), '')} occurs twice")


def _check_budget(budget: int | None) -> None:
    whole = budget is None or (isinstance(budget, (int, np.integer)) and budget >= 1)
    require(whole, f"budget: {budget} tokens; a batch has a whole number of them, at least 1")


def _say_special(model: LanguageModel, texts: Iterable[tuple[object, object]]) -> None:
    """Say once which text of an example spells out a special token, which is read as that."""
    added = model.tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    names = [re.escape(token.content) for token in added if token.special]
    special = re.compile("|".join(names) or "(?!)")
    hits = ((key, special.search(text)) for key, text in texts if isinstance(text, str))
    spelled = {key: hit[0] for key, hit in hits if hit}
    for key, token in list(spelled.items())[:1]:
        more = f" (and {len(spelled) - 1} more examples)" if len(spelled) > 1 else ""
        print(f"{_named(model)}: example {key}: {token} in it is read as a special token{more}",
              file=sys.stderr)


def _named(model: LanguageModel) -> str:
    return model.name if model.step is None else f"{model.name} step {model.step}"


def _finish(
    table: pd.DataFrame, examples: pd.DataFrame, column: str, model: LanguageModel,
    reasons: list[tuple[object, str]],
) -> pd.DataFrame:
    """Add task and group of the examples, and the model's name (under ``column``) and step; say
    why some examples have nothing."""
    by_id = examples.set_index("example_id")
    for place, name in enumerate(c for c in ("task", "group") if c in examples):
        table.insert(place, name, table["example_id"].map(by_id[name]))
    table[column] = model.name
    table["step"] = pd.array([model.step] * len(table), dtype="Int64")
    lines = [f"{_named(model)}: example {key}: {reason}" for key, reason in reasons]
    for line in lines:
        print(line, file=sys.stderr)
    table.attrs = {"failed": list(dict.fromkeys(key for key, _ in reasons)), "reasons": lines}
    return table
