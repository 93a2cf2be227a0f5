"""What a run takes before it starts, in disk, memory, hours and requests: an estimate from rates that were measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.service import IN_FLIGHT
from taskgram_utils.errors import InputError
from taskgram_utils.run import data as run_data
from taskgram_utils.run import models as run_models
from taskgram_utils.run.store import Run, project_root
from taskgram_utils.tables import read_table
from taskgram_utils.tasks.base import task
from taskgram_utils.tasks.files import HUB


class Asked(NamedTuple):
    """A task at its published size; lengths measured on it with Pythia's tokenizer, in tokens an example."""

    test: int
    prompt: float
    output: float
    options: float
    x_words: float
    y_words: float


# Test splits: WMT-09 six pairs, TriviaQA rc.nocontext validation, MMLU, GSM8K. Lengths: 500 examples of each.
SIZES = {
    "translation": Asked(18_162, 32.9, 48.6, 0, 22.2, 21.2), "factual_qa": Asked(17_944, 41.8, 3.6, 0, 14.1, 2.0),
    "world_knowledge": Asked(14_042, 60.8, 8.6, 33.5, 45.1, 6.7),
    "math_reasoning": Asked(1_319, 73.4, 72.3, 0, 46.3, 52.5),
}  # fmt: skip
PASSING = 0.1
"""Assumed share of an example's pairs above γ; between .06 and .20 where γ is calibrated on real text (openbook)."""
GENERATED = 2.0
"""Assumed: a generated token takes as long as this many scored ones."""
STEPS_ON_HUB = 154
"""Revisions of a Pythia model."""
FORMS, FETCHED = 4, 100
"""Forms in which the web service is asked for an n-gram, and documents of a pair at most."""
ANSWER = 0.2
"""Assumed: seconds in which the web service answers."""
BYTES_A_TOKEN = 3.7
"""Of English text under a tokenizer of 8,192 pieces trained on it (the recorded textbooks and factbook)."""
COLUMNS = ["what", "amount", "unit", "stands on"]


def parameters_in(name: str) -> float | None:
    """The parameters that a model's name says (``pythia-1.4b``, ``OLMo-7B-hf``), else None."""
    said = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([kmb])(?![a-z])", name.replace("-", " ").replace("_", " ").lower())
    return float(said[1]) * {"k": 1e3, "m": 1e6, "b": 1e9}[said[2]] if said else None


def rate(parameters: float, device: str, results: Path) -> float:
    """Tokens scored a second by a model of this size, between the sizes measured (log-log); beyond them by size.

    ``device``: ``cuda`` (one H100, bfloat16) or ``cpu`` (two cores, float32). Raises InputError where ``make bench``
    has recorded none.
    """
    file, job = ("scoring_cuda.csv", "solutions") if device == "cuda" else ("scoring.csv", "options")
    table = read_table(results / file)
    table = table[(table["job"] == job) & (table["way"] == "ours")].dropna(subset=["tokens"]).drop_duplicates("shape")
    if table.empty:
        raise InputError(f"{results}: no rate of scoring in it; make bench")
    sizes = np.log([parameters_in(shape) for shape in table["shape"]])
    rates = np.log((table["tokens"] / table["seconds"]).to_numpy(float))
    order, at = np.argsort(sizes), np.log(parameters)
    found = np.interp(at, sizes[order], rates[order])
    beyond = at - sizes[order][-1]
    return float(np.exp(found - max(0.0, beyond)))


def needs(run: Run, results: Path | None = None) -> pd.DataFrame:
    """Rows of what, amount, unit and what the number stands on, for one run, before anything is fetched or made.

    A model whose size nothing says is left out of the sums, and a row says so.
    """
    results = results or project_root() / "results"
    if run_data.draws_world(run):
        return pd.DataFrame(columns=COLUMNS)
    sizes, many = _sizes(run), _many_steps(run)
    known = {name: size for name, size in sizes.items() if size}
    tests = {name: _asked(run, name) for name in run_data.tasks_of(run)}
    scored = sum(n * (a.prompt + 2 * a.output + a.options) for n, a in tests.values())
    written = {name: run_data.answer_tokens(run, task(name)) for name in tests}
    generated = sum(n * min(a.output * 1.5, written[name] or 0) for name, (n, a) in tests.items())
    device = _device(run)
    bytes_each = {"float32": 4, None: 2 if device == "cuda" else 4}.get(run["dtype"], 2)
    hours = sum((scored * many[m] + GENERATED * generated) / rate(p, device, results) for m, p in known.items()) / 3600
    disk = sum(2 * p * many[m] for m, p in known.items() if "/" in m and not m.startswith("packaged/"))
    where = "one H100, bfloat16" if device == "cuda" else "two cores, float32"
    rows = [
        ("test examples", sum(n for n, _ in tests.values()), "", "published sizes, at most as many as the run asks"),
        ("models x steps", sum(many.values()), "", "the run file"),
        ("tokens scored", scored * sum(many.values()), "", "lengths of 500 examples a task"),
        ("weights on disk", disk / 1e9, "GB", "two bytes a parameter and step, as fetched"),
        ("memory of the largest", 1.3 * bytes_each * max(known.values(), default=0) / 1e9, "GB", "weights and a third"),
        ("GPU hours" if device == "cuda" else "CPU hours", hours, "h", f"rates of make bench, {where}"),
    ]
    pairs = sum(n * _pairs(a, [o for o in run["orders"] if run_data.gamma_of(run, name, o) is not None])
                for name, (n, a) in tests.items())  # fmt: skip
    rows.append(("pairs to count", pairs, "", f"{PASSING:.0%} of all pairs pass γ"))
    if run["backend"] == "index":
        rows.append(("the index", run_data.placed(run, run["corpus"]).is_dir(), "", "whether its folder is there"))
    if run["backend"] == "api":
        rows.append(("∞-gram LM", 0, "", "none: it takes an index on disk (backend: index)"))
        calls = pairs * (2 * FORMS + FETCHED)
        rows.append(("requests to the web service", calls, "",
                     f"two n-grams in {FORMS} forms and up to {FETCHED} documents a pair"))  # fmt: skip
        rows.append(("hours of the web service", calls * ANSWER / IN_FLIGHT / 3600, "h",
                     f"{IN_FLIGHT} at a time, {ANSWER:g} s each"))  # fmt: skip
    rows += _training(run, results)
    unknown = [name for name, size in sizes.items() if not size]
    if unknown:
        rows.append(("models of unknown size", len(unknown), "", f"left out: {', '.join(unknown)}"))
    return pd.DataFrame(rows, columns=COLUMNS)


def _training(run: Run, results: Path) -> list[tuple]:
    """Hours that training the run's suite takes, where its text lies here and the run trains it."""
    place, file = run_data.placed(run, run["corpus"]), results / "openbook_models.csv"
    own = [str(m) for m in run["models"] if str(m) in _own_sizes()]
    if run["weights"] or not own or run["backend"] != "scan" or not place.exists() or not file.exists():
        return []
    measured = read_table(file).set_index("model")
    if "seconds" not in measured:
        return []
    tokens = run["epochs"] * _text_bytes(run_data.corpus(run)) / BYTES_A_TOKEN
    each = measured["seconds"] / measured["tokens"]
    busy = [0.0] * run["jobs"]
    for seconds in sorted((tokens * float(each[size]) for size in own), reverse=True):  # as they are trained
        busy[busy.index(min(busy))] += seconds
    at_a_time = f"{run['jobs']} at a time (jobs), a core each, as the recorded suite took"
    return [("training of the suite", max(busy) / 3600, "h", at_a_time)]


def _text_bytes(text: Corpus, most: int = 1 << 26) -> float:
    """Bytes of a corpus's documents, unpacked and without what stands around them: of ``most`` bytes on disk, and of
    the rest in proportion."""
    read, held = [0], 0
    for block in text.blocks(report=read.append):
        held += int((block.ends - block.begins).sum())
        if sum(read) >= most:
            return held * text.bytes / sum(read)
    return held


def _own_sizes() -> tuple[str, ...]:
    from taskgram_utils.training import SIZES as OWN

    return tuple(OWN)


def said(amount: float) -> str:
    """A number as an estimate is said: two digits, thousands apart; truth as yes or no."""
    if isinstance(amount, bool):
        return "yes" if amount else "no"
    rounded = float(f"{amount:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 or rounded == int(rounded) else f"{rounded:g}"


def _device(run: Run) -> str:
    import torch

    asked = run["device"]
    return "cuda" if asked in ("cuda", "auto") or (asked is None and torch.cuda.is_available()) else "cpu"


def _sizes(run: Run) -> dict[str, float | None]:
    """Parameters of every model the run names, as far as its name or its folder says."""
    from taskgram_utils.training import SIZES as OWN

    found = {}
    for name in map(str, run["models"]):
        folder = project_root() / Path(name).expanduser()
        files = list(folder.rglob("*.safetensors")) if folder.is_dir() else []
        size = sum(f.stat().st_size for f in files) / 2 / max(1, len({f.parent for f in files})) if files else None
        found[name] = parameters_in(name) if name in OWN else size or parameters_in(name)
    return found


def _many_steps(run: Run) -> dict[str, int]:
    asked = run_models.asked_steps(run)
    many = len(asked) if isinstance(asked, list) else 1 if asked == "last" else STEPS_ON_HUB
    return dict.fromkeys(map(str, run["models"]), many)


def _asked(run: Run, name: str) -> tuple[int, Asked]:
    """Test examples of a task that models are asked, and their lengths."""
    size = SIZES.get(name, SIZES["factual_qa"])
    sources = run_data.sources(run, name)
    groups = 6 if name == "translation" else len(sources)
    most = size.test if all(one["source"] == HUB for one in sources) or name == "translation" else size.test * groups
    return min(most, (run["asked"] or most) * groups), size


def _pairs(size: Asked, orders: list[int]) -> float:
    """Task-grams an example over all n: the share of pairs that passes; an answer shorter than n is one n-gram."""
    return sum(PASSING * max(1.0, size.x_words - n + 1) * max(1.0, size.y_words - n + 1) for n in orders)
