"""What a run takes: estimates before it starts, and the page on counting in a corpus as large as
the Pile. Both work from rates that were measured (``results/``)."""

import json
import math
import re
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from taskgram_utils.counting.service import IN_FLIGHT
from taskgram_utils.errors import require
from taskgram_utils.packaged import PREFIX
from taskgram_utils.run import data, models
from taskgram_utils.run.store import Run, project_root
from taskgram_utils.tables import read_table
from taskgram_utils.tasks.base import task
from taskgram_utils.tasks.files import HUB

# Assumptions of the page, and of the estimates where they need them: value, name, text on the page.
_ASSUMED: dict[str, tuple[float, str, str]] = {
    "pairs": (1_000_000, "asked", "{:,} n-grams and as many pairs, of all tasks at once"),
    "core_hour": (0.05, "an hour of one core, its memory with it", "{:.2f} €"),
    "gigabyte_month": (0.05, "a gigabyte on a fast disk, a month", "{:.2f} €"),
    "answer": (0.2, "an answer of the web service", f"{{:g}} s, {IN_FLIGHT} at a time"),
    "fetched": (100, "documents fetched from the service for a pair", "up to {}"),
    "forms": (4, "forms in which the service is asked for an n-gram", "{}"),
    "shard": (1 << 30, "tokens of a shard of the index", "what memory can hold, at most {:,}"),
    "core_gigabytes": (4.0, "memory of a machine, a core", "{:g} GB"),
}
# The Pile (Gao et al. 2020): MB of text; documents as infini-gram's own index counts them.
_PILE = {"megabytes": 825.18 * 2**30 / 1e6, "documents": 210_607_728}
ASSUMED: dict[str, Any] = _PILE | {name: value for name, (value, *_) in _ASSUMED.items()}


# --- one run ---------------------------------------------------------------------------------

# The size of a task's published test split, and mean lengths of an example: tokens of Pythia's
# tokenizer in prompt, output and options; words of x and y.
Published = namedtuple("Published", "test prompt output options x_words y_words")
# WMT-09 six pairs, TriviaQA rc.nocontext validation, MMLU, GSM8K. Lengths: of 500 examples each.
SIZES = {
    "translation": Published(18_162, 32.9, 48.6, 0, 22.2, 21.2),
    "factual_qa": Published(17_944, 41.8, 3.6, 0, 14.1, 2.0),
    "world_knowledge": Published(14_042, 60.8, 8.6, 33.5, 45.1, 6.7),
    "math_reasoning": Published(1_319, 73.4, 72.3, 0, 46.3, 52.5),
}
# Assumed: the share of an example's pairs above γ; .06 to .20 where it is calibrated on text.
PASSING = 0.1
GENERATED = 2.0  # assumed: a generated token takes as long as this many scored ones
STEPS_ON_HUB = 154  # revisions of a Pythia model
# English text under a tokenizer of 8,192 pieces trained on it (recorded textbooks, factbook).
BYTES_A_TOKEN = 3.7
_DEVICES = {"cuda": ("GPU hours", "one H100, bfloat16"), "cpu": ("CPU hours", "two cores, float32")}
COLUMNS = ["what", "amount", "unit", "stands on"]


def parameters_in(name: str) -> float | None:
    """The parameters in a model's name (``pythia-1.4b``, ``OLMo-7B-hf``); None without any."""
    words = name.replace("-", " ").replace("_", " ").lower()
    size = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([kmb])(?![a-z])", words)
    return float(size[1]) * {"k": 1e3, "m": 1e6, "b": 1e9}[size[2]] if size else None


def rate(parameters: float, device: str, results: Path) -> float:
    """Tokens scored a second by a model of this size: interpolated (log-log) between the sizes that
    were measured; beyond the largest it falls in proportion to the size.

    ``device``: ``cuda`` (one H100, bfloat16) or ``cpu`` (two cores, float32). Raises InputError
    where ``make bench`` has recorded none.
    """
    on_gpu = device == "cuda"
    table = read_table(results / ("scoring_cuda.csv" if on_gpu else "scoring.csv"))
    job = table["job"] == ("solutions" if on_gpu else "options")
    table = table[job & (table["way"] == "ours")].dropna(subset=["tokens"])
    table = table.drop_duplicates("shape")
    require(len(table), f"{results}: no rate of scoring in it; make bench")
    sizes = np.log([parameters_in(shape) for shape in table["shape"]])
    rates = np.log((table["tokens"] / table["seconds"]).to_numpy(float))
    order, size = np.argsort(sizes), np.log(parameters)
    measured = np.interp(size, sizes[order], rates[order])
    return float(np.exp(measured - max(0.0, size - sizes.max())))


def needs(run: Run, results: Path | None = None) -> pd.DataFrame:
    """What a run takes before anything is fetched or made: what, amount, unit, stands on (what the
    number rests on). Empty for a miniature world.

    A model whose size is not known is left out of the sums, and a row says so.
    """
    results = results or project_root() / "results"
    if data.draws_world(run):
        return pd.DataFrame(columns=COLUMNS)
    sizes = {name: _parameters(name) for name in map(str, run["models"])}
    known = {name: size for name, size in sizes.items() if size}
    steps = models.asked_steps(run)
    steps = len(steps) if isinstance(steps, list) else 1 if steps == "last" else STEPS_ON_HUB
    examples = scored = generated = pairs = 0
    for name in data.tasks_of(run):
        size, many = SIZES.get(name, SIZES["factual_qa"]), _test_examples(run, name)
        orders = [n for n in run["ngram_sizes"] if data.gamma_of(run, name, n) is not None]
        examples += many
        scored += many * (size.prompt + 2 * size.output + size.options)
        generated += many * min(size.output * 1.5, data.answer_tokens(run, task(name)))
        for n in orders:  # a text shorter than n is one n-gram
            passing = PASSING * max(1.0, size.x_words - n + 1) * max(1.0, size.y_words - n + 1)
            pairs += many * passing
    device = _device(run)
    unit, where = _DEVICES[device]
    bytes_each = {None: 2 if device == "cuda" else 4, "float32": 4}.get(run["dtype"], 2)
    seconds = sum((scored * steps + GENERATED * generated) / rate(size, device, results)
                  for size in known.values())
    fetched = sum(2 * size * steps for name, size in known.items()
                  if "/" in name and not name.startswith(PREFIX))
    memory = 1.3 * bytes_each * max(known.values(), default=0)
    rows = [
        ("test examples", examples, "", "published sizes, at most as many as the run asks"),
        ("models x steps", steps * len(sizes), "", "the run file"),
        ("tokens scored", scored * steps * len(sizes), "", "lengths of 500 examples a task"),
        ("weights on disk", fetched / 1e9, "GB", "two bytes a parameter and step, as fetched"),
        ("memory of the largest", memory / 1e9, "GB", "weights and a third"),
        (unit, seconds / 3600, "h", f"rates of make bench, {where}"),
        ("pairs to count", pairs, "", f"{PASSING:.0%} of all pairs pass γ"),
    ]
    if run["backend"] == "index":
        there = data.placed(run, run["corpus"]).is_dir()
        rows.append(("the index", there, "", "whether its folder is there"))
    if run["backend"] == "api":
        forms, documents, answer = (ASSUMED[name] for name in ("forms", "fetched", "answer"))
        calls = pairs * (2 * forms + documents)
        why = f"two n-grams in {forms} forms and up to {documents} documents a pair"
        rows.append(("∞-gram LM", 0, "", "none: it takes an index on disk (backend: index)"))
        rows.append(("requests to the web service", calls, "", why))
        rows.append(("hours of the web service", calls * answer / IN_FLIGHT / 3600, "h",
                     f"{IN_FLIGHT} at a time, {answer:g} s each"))
    rows += _training(run, results)
    if unknown := [name for name, size in sizes.items() if not size]:
        rows.append(("models of unknown size", len(unknown), "", f"left out: {', '.join(unknown)}"))
    return pd.DataFrame(rows, columns=COLUMNS)


def rounded(amount: float) -> str:
    """An estimate in words: two digits, thousands apart; truth as yes or no."""
    if isinstance(amount, bool):
        return "yes" if amount else "no"
    return f"{float(f'{amount:.2g}'):,.15g}"


def _parameters(name: str) -> float | None:
    """Parameters of a model, by the files of its folder (two bytes each) or by its name."""
    folder = project_root() / Path(name).expanduser()
    files = list(folder.rglob("*.safetensors")) if folder.is_dir() else []
    if name in models.SIZES or not files:
        return parameters_in(name)
    return sum(file.stat().st_size for file in files) / 2 / len({file.parent for file in files})


def _test_examples(run: Run, name: str) -> int:
    """Test examples of a task that models are asked."""
    sources, test = data.sources(run, name), SIZES.get(name, SIZES["factual_qa"]).test
    groups = 6 if name == "translation" else len(sources)
    published = name == "translation" or all(source["source"] == HUB for source in sources)
    most = test if published else test * groups
    return min(most, (run["evaluated"] or most) * groups)


def _device(run: Run) -> str:
    import torch

    gpu = run["device"] is None and torch.cuda.is_available()
    return "cuda" if gpu or run["device"] in ("cuda", "auto") else "cpu"


def _training(run: Run, results: Path) -> list[tuple]:
    """Hours that training the run's suite takes, where the run trains it and its text is here."""
    path, recorded = data.placed(run, run["corpus"]), results / "openbook_models.csv"
    suite = [model for model in map(str, run["models"]) if model in models.SIZES]
    to_train = suite and not run["weights"] and run["backend"] == "scan"
    if not to_train or not path.exists() or not recorded.exists():
        return []
    table = read_table(recorded).set_index("model")
    tokens = run["epochs"] * _text_bytes(run) / BYTES_A_TOKEN
    seconds = tokens * (table["seconds"] / table["tokens"])[suite]
    busy = [0.0] * run["jobs"]
    for each in sorted(seconds, reverse=True):  # the longest first, each where one is free
        busy[busy.index(min(busy))] += each
    where = f"{run['jobs']} at a time (jobs), a core each, as the recorded suite took"
    return [("training of the suite", max(busy) / 3600, "h", where)]


def _text_bytes(run: Run, most: int = 1 << 26) -> float:
    """Bytes of the documents of a run's text, unpacked: counted in the first ``most`` bytes on
    disk, and for the rest in proportion."""
    text, read, total = data.corpus(run), [0], 0
    for block in text.blocks(report=read.append):
        total += int((block.ends - block.begins).sum())
        if sum(read) >= most:
            return total * text.bytes / sum(read)
    return total


# --- a corpus as large as the Pile -----------------------------------------------------------

# Rates of ``make bench``: name and text on the page. Of one core, unless the name says two.
_RATES = {
    "match": ("n-grams and pairs matched in text, one core", "{:.0f} MB/s"),
    "read": ("text read from `.jsonl.zst`, one core", "{:.0f} MB/s"),
    "doubling": ("what two threads keep of twice the rate of one", "{:.0%}"),
    "build": ("index built from text, two cores", "{:.0f} MB/s"),
    "build_bytes": ("memory that building takes", "{:.0f} bytes a word"),
    "words": ("words", "{:,.0f} a MB"),
    "singles": ("single counts from an index in memory, two cores", "{:,.0f} a second"),
    "pairs": ("document pairs from an index in memory, two cores", "{:,.0f} a second"),
}


def rates(table: pd.DataFrame, corpus: str) -> dict[str, float]:
    """The rates of ``_RATES`` in the table of ``make bench`` over one of its corpora.

    Raises InputError where a job is not in the table.
    """

    def one(job: str, way: str, column: str = "rate", of: str = corpus) -> float:
        is_job = table["job"].str.startswith(job) & table["way"].str.startswith(way)
        rows = table[is_job & (table["corpus"] == of)]
        require(len(rows), f"rates: no row of {job}, {way}, {of}; make bench")
        return float(rows[column].iloc[-1])  # of the scans the last one asks most

    def words(of: str) -> float:
        tokens = one("build: suffix", "taskgram_utils", "amount", of)
        return tokens / one("build: suffix", "taskgram_utils", "megabytes", of)

    peak = one("build: the command", "", "peak_megabytes", "generated")
    megabytes = one("build: the command", "", "amount", "generated")
    two_threads = one("scan: shards", "two threads") / (2 * one("scan: shards", "one thread"))
    return {
        "match": one("scan: 1", "taskgram_utils"),
        "read": one("scan: reading alone", "jsonl.zst"),
        "doubling": min(1.0, two_threads),
        "build": one("build: index from text", "taskgram_utils"),
        "build_bytes": peak * 1e6 / (megabytes * words("generated")),
        "words": words(corpus),
        "singles": one("single counts", "taskgram_utils"),
        "pairs": one("document pairs", "taskgram_utils"),
    }


def work(measured: dict[str, float], assumed: dict[str, Any] = ASSUMED) -> pd.DataFrame:
    """A row for each way to count: way, on what, hours, memory_gb, disk_gb (beside the text),
    reads_gb_s, euros."""
    megabytes, pairs, core_hour = (assumed[name] for name in ("megabytes", "pairs", "core_hour"))
    this, server, rows = "the measured machine, 2 cores", "a server of 64 cores", []
    # Scan. Of each thread: four places of the tree an n-gram, a bit for each of 64 documents,
    # counters and their 64-bit sums.
    counters = pairs * (4 * 16 + 8 + 4 + 4 + 8 + 4 + 8) / 1e9
    sums = min(1000, megabytes / 1000) * pairs * 2 * 2 / 1e9  # two bytes a number, a shard
    for on, cores in ((this, 2), (server, 64), ("16 such servers", 1024)):
        one = 1 / (1 / measured["match"] + 1 / measured["read"])
        speed = one * cores * measured["doubling"] ** math.log2(cores)
        hours, machines = megabytes / speed / 3600, max(1, cores // 64)
        rows.append(("scan", on, hours, counters * cores / machines, sums, speed / 1e3,
                     hours * cores * core_hour))
    # Index: two cores build a shard, as large as their memory holds.
    words = megabytes * measured["words"]
    disk = (words * (4 + 5) + 16 * assumed["documents"] + megabytes * 1e6) / 1e9
    in_memory = assumed["core_gigabytes"] * 2 * 1e9 / measured["build_bytes"]
    shard = min(assumed["shard"], words, in_memory)
    way = f"index of {math.ceil(words / shard):,} shards: build, keep a month"
    for on, cores in ((this, 2), (server, 64)):
        speed = measured["build"] * (cores / 2)
        hours = megabytes / speed / 3600
        memory = cores / 2 * shard * measured["build_bytes"] / 1e9
        euros = hours * cores * core_hour + disk * assumed["gigabyte_month"]
        rows.append((way, on, hours, memory, disk, speed / 1e3, euros))
    hours = (pairs / measured["singles"] + pairs / measured["pairs"]) / 3600
    rows.append(("index in memory: ask", this, hours, None, None, None, hours * 2 * core_hour))
    # Web service.
    for way, requests in (("service: documents", 2 * assumed["forms"] + assumed["fetched"]),
                          ("service: windows", 1)):
        hours = pairs * requests * assumed["answer"] / IN_FLIGHT / 3600
        rows.append((way, "the web service", hours, None, None, None, 0.0))
    return pd.DataFrame(rows, columns=["way", "on", "hours", "memory_gb", "disk_gb", "reads_gb_s",
                                       "euros"])


def page(results: Path) -> str:
    """Markdown of the table of :func:`work` and of what it rests on, from the recorded
    ``counting.csv`` and its note ``counting.json``."""
    table = read_table(results / "counting.csv")
    note = json.loads((results / "counting.json").read_text(encoding="utf-8"))
    corpus = "textbooks" if "textbooks" in set(table["corpus"]) else "generated"
    machine = note["processor"] or note["machine"]
    about = f"{note['date']}, {machine}, {note['cores']} cores; corpus: {corpus}."
    measured = rates(table, corpus)
    ways = work(measured)
    for column in ("hours", "memory_gb", "disk_gb", "euros"):
        ways[column] = [f"{v:,.0f}" if v >= 10 else f"{v:.2g}" for v in ways[column]]
    ways["reads_gb_s"] = [f"{v:.2g}" for v in ways["reads_gb_s"]]
    scan = ways[ways["way"] == "scan"].iloc[0]
    ways.columns = ["way", "on", "hours", "memory, GB", "disk, GB", "reads, GB/s", "euros"]
    pile = (f"{_PILE['megabytes'] / 1e6:.2f} TB of text {{cite:p}}`gao2020pile`, "
            f"{_PILE['documents']:,} documents")
    rows = [(name, text.format(measured[key])) for key, (name, text) in _RATES.items()]
    given = [(name, text.format(value)) for value, name, text in _ASSUMED.values()]
    sections = {
        "What it takes": ways.replace("nan", "–"),
        f"What was measured\n\n{about}": pd.DataFrame(rows, columns=["measured", ""]),
        "What was assumed": pd.DataFrame([("the Pile", pile), *given], columns=["assumed", ""]),
    }
    lead = f"**A scan takes about {scan['hours']} hours and {scan['euros']} €**, on {scan['on']}. "
    lead += "This is an estimate, from the rates and assumed prices below; it was not tried."
    written = [f"## {title}\n\n{part.to_markdown(index=False, disable_numparse=True)}"
               for title, part in sections.items()]
    return "\n\n".join([lead, *written])
