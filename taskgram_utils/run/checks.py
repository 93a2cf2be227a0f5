"""What a run may say: every value of a run file, or given in its place, looked at before anything is read or made."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from taskgram_utils.errors import InputError, require
from taskgram_utils.language_models.infinigram import ZEROS as INFINIGRAM_ZEROS
from taskgram_utils.miniature.world import LEAST
from taskgram_utils.mining import STOPWORDS
from taskgram_utils.reading import Part
from taskgram_utils.run import data as run_data
from taskgram_utils.run.store import Run
from taskgram_utils.tasks.base import task
from taskgram_utils.texts import read_yaml

Kind = tuple[Callable[[Any], bool], str]
"""Whether a value is of this kind, and what is: the end of "... is not"."""


def one_of(*values: Any) -> Kind:
    """One of some values, and no other that Python holds to be equal: neither 1 nor 1.0 is true."""
    named = ", ".join({None: "null", True: "true", False: "false"}.get(v, repr(v)) for v in values)
    return lambda value: any(type(v) is type(value) and v == value for v in values), f"one of {named}"


def whole(least: int) -> Kind:
    """A whole number that is not too small."""
    return lambda value: _whole(value) and value >= least, f"a whole number of {least:,} or more"


def number(above: float, below: float = float("inf")) -> Kind:
    """A number between two others, both excluded."""
    span = f"a number above {above:g}" + (" and finite" if below == float("inf") else f" and below {below:g}")
    return lambda value: isinstance(value, int | float) and type(value) is not bool and above < value < below, span


def _text(value: Any) -> bool:
    return isinstance(value, str)


TEXT: Kind = (_text, "text")


def _list_of(good: Callable[[Any], bool], what: str, least: int = 1) -> Kind:
    def fits(value: Any) -> bool:
        return isinstance(value, list) and len(value) >= least and all(map(good, value)) and len({*value}) == len(value)

    return fits, f"a list of {what}"


def _whole(value: Any, least: float = -float("inf")) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _any_step(value: Any) -> bool:
    if isinstance(value, str) and value not in ("all", "last"):
        return all(part.strip().isdecimal() for part in value.split(","))
    return value in ("all", "last") or _whole(value, 0) or _list_of(lambda v: _whole(v, 0), "")[0](value)


_ALWAYS: dict[str, Kind] = {
    "name": TEXT, "weights": TEXT, "models": _list_of(_text, "models, with something in it"),
    "steps": (_any_step, "all, last or a list of whole numbers"),
    "dtype": one_of(None, "float32", "bfloat16", "float16"), "device": one_of(None, "cpu", "cuda", "auto"),
    "pickled": one_of(True, False), "scheduler": (lambda v: v is None or _text(v), "null or an address"),
    "step_answers": whole(0), "tasks": _list_of(_text, "tasks, with something in it, each once"),
    "orders": _list_of(lambda n: _whole(n, 1), "numbers of words, with something in it, each once"),
    "stopwords": one_of(*STOPWORDS), "whole_answer": _list_of(_text, "tasks", 0),
    "shuffled_share": number(0, 1), "form": one_of("per_output", "per_pair"), "zeros": one_of("keep", "drop"),
    "kappa": number(0), "infinigram_zeros": one_of(*INFINIGRAM_ZEROS), "seed": whole(0),
    "jobs": whole(1),
    "embedding": (lambda v: _text(v) or isinstance(v, dict), "a name, or a mapping from tasks to names"),
    "gamma": (lambda v: v in (None, run_data.CALIBRATE) or isinstance(v, dict) or number(0, 1)[0](v),
              "null, calibrate, a number above 0 and below 1, or a mapping from tasks"),
    "data": TEXT, "corpus": TEXT, "document": TEXT, "control": TEXT, "text_field": TEXT, "tokenizer": TEXT,
    "bertscore": TEXT, "backend": one_of("scan", "index", "api"), "calibrated_on": whole(2), "fewest": whole(1),
    "asked": (lambda v: v is None or _whole(v, 1), "null, or a whole number of 1 or more"), "epochs": whole(1),
    "source": (lambda v: isinstance(v, dict), "a mapping from tasks to their data sets"),
    "long": one_of("refuse", "window"),
}  # fmt: skip
_SOME: dict[str, Kind] = {
    "stop": (lambda v: v is None or isinstance(v, dict), "a mapping from tasks to lists of texts"),
    "max_tokens": (lambda v: isinstance(v, dict) and all(_whole(n, 1) for n in v.values()),
                   "a mapping from tasks to whole numbers of 1 or more"),
    "world": (lambda v: v is None or _whole(v, 0), "null, or the number of a world"), "documents": whole(LEAST),
    "prompt_rounds": whole(1), "prompt_seeds": whole(1), "prompt_examples": whole(1),
}  # fmt: skip
_KINDS = {**_ALWAYS, **_SOME}


def value_of(name: str, text: str) -> Any:
    """What a run parameter is when ``text`` is given for it: itself where it has to be text, else what YAML reads."""
    return text if _KINDS.get(name) is TEXT else read_yaml(text, f"parameter {name}")


def wrong_values(parameters: Mapping[str, Any]) -> list[str]:
    """A line for each value that a run parameter cannot have."""
    kinds = ((name, value, *_KINDS[name]) for name, value in parameters.items() if name in _KINDS)
    return [f"{name}: {value!r} is not {wanted}" for name, value, good, wanted in kinds if not good(value)]


def require_values(parameters: Mapping[str, Any]) -> None:
    """InputError with a line for each value that a run parameter cannot have."""
    require(not (lines := wrong_values(parameters)), "parameter " + "; parameter ".join(lines))


def require_parameters(notebook: Mapping[str, Any], **kinds: Kind) -> None:
    """Check what a notebook (its ``globals()``) is run with, before all else: InputError in one line for a parameter
    that papermill was given and the notebook does not declare, and for a value of another kind than it says."""
    given = [cell for cell in notebook.get("In", ()) if cell.startswith("# Parameters\n")][-1:]
    names = [target.id for cell in given for line in ast.parse(cell).body for target in getattr(line, "targets", ())]
    known = ", ".join(kinds)
    lines = [f"{name}: this notebook has none of that name; it has {known}" for name in names if name not in kinds]
    for name, (good, wanted) in kinds.items():
        if not good(notebook[name]):
            hint = "; papermill -r takes it as text" if good(str(notebook[name])) else ""
            lines.append(f"{name}: {notebook[name]!r} is not {wanted}{hint}")
    require(not lines, "parameter " + "; parameter ".join(lines))


ONLY_CODE, ONLY_TEXT = "# Only where the truth is known", "<!-- Only where the truth is known -->"
"""First line of the cells of a notebook that a run leaves out where what is true of its text is not known."""


def leave_out(run: Run) -> bool:
    """Whether what is true of a run's text is known; where not, a notebook's cells marked ONLY_CODE are not run."""
    from IPython import get_ipython

    known, shell = run_data.truth_known(run), get_ipython()
    if shell and not known:
        shell.input_transformers_cleanup.append(
            lambda lines: ["pass\n"] if lines and lines[0].startswith(ONLY_CODE) else lines)
    return known


def wrong(run: Run) -> list[str]:
    """A line for each value of a run that cannot be, for each parameter that it lacks, and for each that no run has;
    empty where all is well."""
    said = {name: value for name, value in run.parameters.items() if "." not in name}  # those of chapters apart
    found = [f"{name}: no parameter of a run" for name in said if name not in _KINDS]
    wanted = {*_ALWAYS, *(["documents"] if said.get("world") is not None else [])}
    absent = sorted(wanted - set(said))
    found += [f"the run file lacks {', '.join(absent)}"] if absent else []
    found = [*found, *wrong_values(said)] or lines(lambda: run_data.tasks_of(run))
    if found:
        return found
    for parameter in ("gamma", "embedding", "stop", "max_tokens"):
        value = said.get(parameter)
        found += lines(lambda value=value: [task(name) for name in value]) if isinstance(value, Mapping) else []
    return [*found, *_wrong_text(run)]


def _wrong_text(run: Run) -> list[str]:
    """What of a run cannot be together."""
    said, found = run.parameters, []
    for name in said["tasks"]:
        if not run_data.draws_world(run):
            found += lines(lambda name=name: run_data.embedding_named(run, name))
        found += lines(lambda name=name: [run_data.gamma_of(run, name, n) for n in said["orders"]])
        found += lines(lambda name=name: run_data.stop_of(run, name))
    if said["backend"] != "scan" and said["control"]:
        found.append(f"control: {said['control']} can be counted in a text alone (backend: scan); set it to ''")
    if said["stopwords"] == "both" and said["control"]:
        found.append("control: with stopwords both there is none; set it to ''")
    if said["control"] and said["control"] == said["document"]:
        found.append(f"control: {said['control']} is the run's own document; name another, or none: ''")
    if said["tokenizer"] and not run_data.draws_world(run) and not run_data.tokenizer_file(run).is_file():
        found.append(f"tokenizer: {run_data.tokenizer_file(run)}: no such file")
    return found


def unusable(run: Run) -> list[str]:
    """A line for each input of a run that lies here and cannot be used: its tasks' files are read whole,
    of its text the beginning of each file. Empty where all is well; what comes from the hub is not asked for."""
    found = lines(lambda: run.is_current("examples") or run_data.read_examples(run, local=True))
    return found + lines(lambda: _open_text(run))


def _open_text(run: Run) -> None:
    from taskgram_utils.counting.index import Index
    from taskgram_utils.training import SIZES, of_corpus

    tokenizer = run_data.tokenizer_file(run)
    if run["backend"] == "index":
        Index(run_data.placed(run, run["corpus"]), tokenizer)
    if run["backend"] != "scan":
        return
    for unit in (None, *([run["control"]] if run["control"] else [])):
        text = run_data.corpus(run, unit)
    begun = [next(text.blocks([Part.whole(path)]), None) for path in text.files]
    require(any(block is not None for block in begun), f"corpus {text.path}: holds no document with text in it")
    if not run["weights"] and any(str(model) in SIZES for model in run["models"]):
        of_corpus(text, run["seed"], run["epochs"], tokenizer or "")


def lines(check: Callable[[], Any]) -> list[str]:
    """What a check complains of, as a line; none where it passes."""
    try:
        check()
    except InputError as error:
        return [str(error)]
    return []
