"""What a run file of real text may say: every value looked at before anything is read, fetched or made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taskgram_utils import run_data
from taskgram_utils.counting.index import Index
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.infinigram import ZEROS as INFINIGRAM_ZEROS
from taskgram_utils.mining import STOPWORDS
from taskgram_utils.reading import Part
from taskgram_utils.run import Run
from taskgram_utils.tasks.base import task
from taskgram_utils.training import SIZES, of_corpus

_CHOICES = {
    "backend": ("scan", "index", "api"), "stopwords": STOPWORDS, "form": ("per_output", "per_pair"),
    "zeros": ("keep", "drop"), "infinigram_zeros": INFINIGRAM_ZEROS, "device": (None, "cpu", "cuda", "auto"),
    "pickled": (True, False),
}  # fmt: skip
_WHOLE = {"draws": 1, "asked": 1, "calibrated_on": 2, "fewest": 3, "seed": 0, "epochs": 1, "jobs": 1}
_TEXTS = ("data", "corpus", "document", "control", "text_field", "tokenizer", "weights", "bertscore")
_OTHERS = ("name", "tasks", "source", "orders", "whole_answer", "embedding", "gamma", "shuffled_share", "models",
           "steps", "dtype", "scheduler", "kappa", "step_answers")  # fmt: skip


def wrong(run: Run) -> list[str]:
    """A line for each value of a run of real text that cannot be, for each parameter that it lacks, and for each that
    no run of real text has; empty where all is well."""
    said, known = run.parameters, {*_CHOICES, *_WHOLE, *_TEXTS, *_OTHERS}
    found = [f"{name}: no parameter of a run of real text" for name in said if name not in known]
    absent = sorted(known - set(said))
    if absent:
        return [*found, f"the run file lacks {', '.join(absent)}"]

    def check(name: str, good: bool, wanted: str) -> None:
        if not good:
            found.append(f"{name}: {said[name]!r} is not {wanted}")

    for name, values in _CHOICES.items():
        check(name, said[name] in values, "one of " + ", ".join("null" if v is None else str(v) for v in values))
    for name, least in _WHOLE.items():
        check(name, _whole(said[name]) and said[name] >= least, f"a whole number of {least} or more")
    for name in _TEXTS:
        check(name, isinstance(said[name], str), "text")
    for name in ("tasks", "models", "orders"):
        check(name, isinstance(said[name], list) and len(said[name]) > 0, "a list with something in it")
    names = isinstance(said["whole_answer"], list) and all(isinstance(n, str) for n in said["whole_answer"])
    check("whole_answer", names, "a list of tasks")
    check("shuffled_share", _number(said["shuffled_share"]) and 0 < said["shuffled_share"] < 1, "between 0 and 1")
    check("kappa", _number(said["kappa"]) and 0 < said["kappa"] < float("inf"), "above 0 and finite")
    if found:
        return found
    found += [f"orders: {n!r} is no number of words" for n in said["orders"] if not _whole(n) or n < 1]
    found += lines(lambda: run_data.tasks_of(run))
    if found:
        return found
    for name in said["tasks"]:
        found += lines(lambda name=name: run_data.embedding_named(run, name))
        found += lines(lambda name=name: [run_data.gamma_of(run, name, n) for n in said["orders"]])
    for parameter in ("gamma", "embedding"):
        named = said[parameter] if isinstance(said[parameter], Mapping) else {}
        found += lines(lambda named=named: [task(n) for n in named])
    if said["backend"] != "scan" and said["control"]:
        found.append(f"control: {said['control']} can be counted in a text alone (backend: scan); set it to ''")
    if said["stopwords"] == "both" and said["control"]:
        found.append("control: with stopwords both there is none; set it to ''")
    if said["control"] and said["control"] == said["document"]:
        found.append(f"control: {said['control']} is the run's own document; name another, or none: ''")
    if said["tokenizer"] and not run_data.tokenizer_file(run).is_file():
        found.append(f"tokenizer: {run_data.tokenizer_file(run)}: no such file")
    return found


def unusable(run: Run) -> list[str]:
    """A line for each input of a run of real text that lies here and cannot be used: its tasks' files are read whole,
    of its text the beginning of each file. Empty where all is well; what comes from the hub is not asked for."""
    found = lines(lambda: run.is_current("examples") or run_data.read_examples(run, local=True))
    return found + lines(lambda: _open_text(run))


def _open_text(run: Run) -> None:
    tokenizer = run_data.tokenizer_file(run)
    if run["backend"] == "index":
        Index(run_data.placed(run, run["corpus"]), tokenizer)
    if run["backend"] != "scan":
        return
    for unit in (None, *([run["control"]] if run["control"] else [])):
        text = run_data.corpus(run, unit)
    begun = [next(text.blocks([Part.whole(path)]), None) for path in text.files]
    text.check(any(block is not None for block in begun))
    if not run["weights"] and any(str(model) in SIZES for model in run["models"]):
        of_corpus(text, run["seed"], run["epochs"], tokenizer or "")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def lines(check: Callable[[], Any]) -> list[str]:
    """What a check complains of, as a line; none where it passes."""
    try:
        check()
    except InputError as error:
        return [str(error)]
    return []
