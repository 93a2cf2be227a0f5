r"""The ``taskgram`` command: parses, calls the package, writes one table.

The docstring of a command is its help. Options that several commands share are described here.

Options:
  --out: Table to write (.parquet, .csv, .jsonl, or - for CSV).
  --document: What a document is: file, record (a JSON line, a row, a line of text), heading,
      paragraph or words:N.
  --skip-bad: Skip records without text, and say how many there were.
  --text-field: Field of JSON lines, column of parquet, with the text.
  --tokenizer: index: Hugging Face tokenizer file that a downloaded index is of.
  --model: Folder, or hub name of a causal language model (safetensors); may be repeated.
  --step: Training steps, as 0,512,143000, or all: subfolders step<N>, or such revisions on the hub.
  --budget: Tokens of a batch.
  --dtype: Type of the weights.
  --device: cpu, cuda, …, or auto: spread over all GPUs and the memory (needs accelerate).
  --pickled: Allow pytorch_model.bin where there are no safetensors.
  --scheduler: Address of a Dask scheduler: a model for each worker.
  -p: Set a parameter of the run, of every chapter that has it, or of one (chapter.name). VALUE is
      YAML 1.2, as in a run file: 500, null, '[0, 64]'. (papermill's own -p knows numbers, True,
      False, None and text; its -r text alone.)
"""

import inspect
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
import pandas as pd
from click.core import ParameterSource

from taskgram_utils import __version__
from taskgram_utils.cluster import locked
from taskgram_utils.errors import InputError, InputWarning, require, require_columns
from taskgram_utils.progress import EVERY, Bar
from taskgram_utils.run.store import NoProject, project_root
from taskgram_utils.tables import (
    KEYS, LOGP, SUFFIXES, check, exactness, read_table, write_table,
)
from taskgram_utils.texts import read_text

# --- how every command behaves -------------------------------------------------------------------


class _Command(click.Command):
    """A command with the help of its docstring: a text, a line or more for each option, an example.

    It refuses an option given twice where it takes one value: the first would be lost.
    """

    def __init__(self, *args, help: str, **attributes):
        text, *_, example = re.split("\n\n(?=Options:|Example:)", inspect.cleandoc(help))
        super().__init__(*args, help=text, epilog=example, **attributes)
        described = _described(__doc__) | _described(help)
        for option in self.params:
            if isinstance(option, click.Option):
                option.help = described.get(option.opts[0])

    def parse_args(self, ctx, args):
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option in order:
            single = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
            if single and order.count(option) > 1:
                raise click.UsageError(f"{option.opts[0]}: given twice, and one is taken", ctx)
        return super().parse_args(ctx, args)


class _Group(click.Group):
    """Bad input is one line on standard error and exit code 2; a bug shows its traceback."""

    command_class = _Command

    def main(self, *args, **extra):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, _stop)
        with warnings.catch_warnings():
            _show_each_warning_once()
            Bar.every = EVERY
            try:
                sys.exit(super().main(*args, **extra, standalone_mode=False))
            except click.exceptions.NoArgsIsHelpError as error:
                click.echo(error.format_message(), err=True)
            except click.UsageError as error:
                command = error.ctx.command_path if error.ctx else "taskgram"
                _say(f"{error.format_message()} ({command} --help)")
            except click.Abort:
                _say("stopped")
                sys.exit(130)
            except InputError as error:
                _say(error)
            except OSError as error:
                known = error.filename and error.strerror
                _say(f"{error.filename}: {error.strerror}" if known else error)
            finally:
                Bar.every = None
        sys.exit(2)


def _described(doc: str) -> dict[str, str]:
    """The options that a docstring lists: name -> help."""
    entries = re.findall(r"^ +(--?[a-z-]+): (.*(?:\n {6,}[^- ].*)*)", doc, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _show_each_warning_once() -> None:
    """Print an InputWarning as a line of this command, once however often it comes."""
    warnings.simplefilter("always", InputWarning)
    show_other, shown = warnings.showwarning, set()

    def show(message, category, *where):
        if not issubclass(category, InputWarning):
            show_other(message, category, *where)
        elif str(message) not in shown:
            shown.add(str(message))
            _say(message)

    warnings.showwarning = show


def _stop(*_) -> None:
    """End as Ctrl-C does, so that what is half done is cleared away."""
    raise KeyboardInterrupt


def _say(message: object) -> None:
    """A line on standard error."""
    click.echo(f"taskgram: {_printable(' '.join(str(message).split()))}", err=True)


def _printable(text: str) -> str:
    """Text of a file name or a corpus, with what is not valid Unicode escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


@click.group("taskgram", cls=_Group, context_settings={
    "help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True})
@click.version_option(__version__)
def main() -> None:
    """Count task-grams in a corpus, score them under language models, and measure distributional
    memorization.

    Tables are read and written by the ending of their names: .parquet, .csv or .jsonl; "-" is
    standard output (CSV).
    """


# --- options and checks that commands share ------------------------------------------------------


def _all_of(*options):
    """One decorator for several options, in the order in which the help lists them."""

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_at_least_1 = click.IntRange(min=1)
out_option = click.option("--out", required=True)
tokenizer_option = click.option("--tokenizer")
parameter_option = click.option("-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE")
cut_options = _all_of(  # the fields of a Corpus
    click.option("--document", default="", show_default="file for text, else record"),
    click.option("--skip-bad", is_flag=True),
    click.option("--text-field", default="text"),
)
model_options = _all_of(
    click.option("--model", "models", multiple=True, required=True),
    click.option("--step"),
    click.option("--budget", type=_at_least_1,
                 show_default="what a quarter of the free memory holds"),
    click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
                 show_default="float32 on a CPU, bfloat16 on a GPU"),
    click.option("--device", show_default="a GPU where there is one"),
    click.option("--pickled", is_flag=True),
    click.option("--scheduler", show_default="none"),
)


def _refuse(names: Iterable[str], why: str) -> None:
    """Refuse those options, by parameter name, that the command line gives."""
    ctx = click.get_current_context()
    given = [option.opts[0] for option in ctx.command.params if option.name in names
             and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE]
    require(not given, f"{', '.join(given)}: {why}")


def _hold_out(out: str, folder: bool = False, lock: str = ".lock") -> Path | None:
    """Before the work begins: refuse an output that cannot be written, that is read or that would
    become a part of the corpus, and hold it for this command.

    Returns the folder beside it in which unfinished work is kept; None for standard output.
    """
    path, parameters = Path(out), click.get_current_context().params
    require(out.strip(), "--out: no name given")
    corpus = Path(parameters.get("corpus") or "no corpus")
    inside = corpus.is_dir() and path.resolve().is_relative_to(corpus.resolve())
    require(not inside, f"--out {out}: lies in the corpus, of which it would become a part; name "
            "a place elsewhere")
    if out == "-":
        return None
    if folder:
        require(not path.is_file(), f"--out {out}: is a file; name a folder")
    else:
        require(not path.is_dir(), f"--out {out}: is a folder; name a file in it")
        require(path.suffix in SUFFIXES,
                f"--out {out}: ends in none of {', '.join(SUFFIXES)}, and is not -")
        require(path.parent.is_dir(), f"--out {out}: no folder {path.parent}")
    for name, value in parameters.items() if path.is_file() else ():
        for one in value if isinstance(value, tuple) else (value,):
            read = name != "out" and isinstance(one, str) and os.path.exists(one)
            require(not read or not path.samefile(one),
                    f"--out {out}: is what is read ({name}); name another file")
    if lock:
        click.get_current_context().with_resource(locked(f"{out}{lock}", f"--out {out}"))
    return Path(f"{out}.partial")


def _corpus(path: str, **cut):
    """The corpus at ``path``; ``cut`` has the values of ``cut_options``."""
    from taskgram_utils.corpus import Corpus

    require(not _is_index(path),
            f"{path}: is an infini-gram index, not text (taskgram count: --backend index)")
    return Corpus(Path(path), **cut)


def _is_index(path: str) -> bool:
    return any(Path(path).glob("tokenized.*"))


def _report(corpus, which: str = "") -> None:
    """Say how many documents were read, and how many records could not be."""
    if corpus.seen.documents == 1 and not corpus.document:
        _say("one document: each count is 0 or 1; --document cuts a text into more")
    _say(f"{corpus.path}: {which}{corpus.summary()}")
    if skipped := corpus.skipped:
        records = f"{len(skipped)} record" + "s" * (len(skipped) > 1)
        _say(f"skipped {records}, the first at {skipped[0]}")


def _indexed(index) -> str:
    return f"{index.documents:,} documents, as they were cut when the index was built"


def _say_inexact(table: pd.DataFrame, path: str) -> None:
    """Say how many rows rest on counts that are not exact."""
    inexact = exactness(table, path).eq(False).fillna(False).sum()
    if inexact:
        rest = "points rest on counts that are not exact (column exact)"
        _say(f"{path}: {inexact} of {len(table)} {rest}")


# --- counting ------------------------------------------------------------------------------------

_ONLY_FOR = {
    "scan": ("document", "skip_bad", "text_field", "scheduler"),
    "index": ("tokenizer",),
    "api": ("cache", "offline", "sample"),
}
"""Options of ``taskgram count`` that one backend alone takes."""


@main.command()
@click.argument("corpus")
@click.option("--pairs")
@click.option("--ngrams")
@out_option
@click.option("--unit", type=click.Choice(["documents", "occurrences"]), default="documents")
@cut_options
@click.option("--singles", is_flag=True)
@click.option("--halves", is_flag=True)
@click.option("--backend", type=click.Choice(list(_ONLY_FOR)), default="scan")
@tokenizer_option
@click.option("--scheduler", show_default="none")
@click.option("--cache", show_default="infinigram.sqlite in the user's cache")
@click.option("--offline", is_flag=True)
@click.option("--sample", type=_at_least_1, default=100)
def count(corpus, pairs, ngrams, out, unit, singles, halves, backend, tokenizer, scheduler, cache,
          offline, sample, **cut):
    """Count n-grams and pairs of n-grams in CORPUS: exactly, but for pieces of words and the web
    service.

    An index of pieces is asked for an n-gram in the forms in which text writes it: as the example
    does (sx_text, sy_text), in small letters and with capitals; what is written otherwise, say with
    a comma inside, is missed.

    Counts of the parts of a large corpus are kept in the folder OUT.partial until all are there, so
    that the same command, given again after a stop, goes on where it was.

    Options:
      --pairs: Table with the columns sx and sy (and, for pieces, sx_text and sy_text, as mined).
      --ngrams: Table with the column sx, or a text file with an n-gram a line.
      --unit: Unit of single n-grams; pairs are counted in documents (api with occurrences: within a
          window).
      --singles: Count every s^x and s^y of the pairs alone, too.
      --halves: Count in two random halves of the documents, too.
      --backend: scan: CORPUS is text. index: CORPUS is the folder of an infini-gram index. api:
          CORPUS is the name of an index that the infini-gram web service hosts, such as
          v4_pileval_gpt2.
      --scheduler: scan: address of a Dask scheduler, such as tcp://host:8786.
      --cache: api: file that keeps every answer.
      --offline: api: answer from the cache alone.
      --sample: api: documents fetched for an n-gram; a more frequent one is estimated from them.

    Example: taskgram count corpus.jsonl --pairs taskgrams.parquet --singles --out counts.csv
    """
    from taskgram_utils.counting import base, index, scan

    keep = _hold_out(out)
    for other, names in _ONLY_FOR.items():
        if other != backend:
            _refuse(names, f"for --backend {other}, it says nothing to {backend}")
    require(pairs or ngrams, "taskgram count needs --pairs FILE or --ngrams FILE")
    require(pairs or not singles, "--singles: counts the n-grams of --pairs, which is not given")
    pair_table = ngram_list = ()
    if pairs:
        table = read_table(pairs)
        _check_texts(table, ["sx", "sy"], pairs)
        columns = table.columns.intersection(["sx", "sy", "sx_text", "sy_text"])
        pair_table = table[columns].drop_duplicates()
    if ngrams:
        ngram_list = _ngrams(ngrams)
    require(len(pair_table) or len(ngram_list), f"{pairs or ngrams}: no row in it")
    if backend == "scan":
        counter = scan.ScanCounter(_corpus(corpus, **cut), unit, scheduler=scheduler, keep=keep)
    elif backend == "index":
        counter = index.Index(corpus, tokenizer, unit)
    else:
        from taskgram_utils.counting.api import ApiCounter

        counter = ApiCounter(corpus, unit, cache, offline, sample=sample)
    counted = base.count_table(counter, pair_table, ngram_list, halves=halves, singles=singles)
    write_table(counted, out)
    if backend == "scan":
        _report(counter.corpus)
        counter.forget()
    elif backend == "index":
        _say(f"{corpus}: {_indexed(counter)}")
    else:
        evidence = counter.evidence()
        _say(f"{evidence['approximate'].sum()} of {len(evidence)} numbers are estimates")
    if not counter.exact:
        forms = f"the pieces of {counted['forms'].min()} to {counted['forms'].max()} forms"
        _say(f"each number rests on {forms} in which text writes an n-gram, or a pair; what is "
             "written otherwise is missed, so none is exact")


def _counter(path: str, tokenizer: str | None, cut: dict, **options):
    """What counts in a text or in an infini-gram index."""
    from taskgram_utils.counting import index, scan

    if _is_index(path):
        _refuse(cut, "cannot change an index, whose documents were cut when it was built")
        return index.Index(path, tokenizer)
    _refuse(["tokenizer"], f"for an index, and {path} is text")
    return scan.ScanCounter(_corpus(path, **cut), **options)


def _report_counter(counter, path: str) -> None:
    """Say what was counted, and whether exactly."""
    if hasattr(counter, "corpus"):
        _report(counter.corpus)
        counter.forget()
    else:
        _say(f"{path}: {_indexed(counter)}")
    if not counter.exact:
        _say(f"{path}: an index of pieces misses what is written otherwise, so an n-gram may be "
             "called new that is not (column exact)")


def _ngrams(path: str) -> list[str]:
    """The n-grams of the column sx of a table, or of the lines of a text file."""
    if Path(path).suffix in SUFFIXES:
        table = read_table(path)
    else:
        text = read_text(Path(path)).rstrip("\r\n")
        table = pd.DataFrame({"sx": re.split("\r\n|\r|\n", text) if text else []})
    _check_texts(table, ["sx"], path)
    return table["sx"].tolist()


def _check_texts(table: pd.DataFrame, columns: list[str], path: str) -> None:
    """Refuse what is not text by its file and row; whether it holds a word, the counter checks."""
    require_columns(table, columns, path)
    for column in columns:
        for row, value in enumerate(table[column], 1):
            if not isinstance(value, str):
                nested = isinstance(value, list | dict)
                what = f"{value!r:.80} is not text" if nested else "is empty"
                raise InputError(f"{path}, row {row}: {column} {what}; remove the row")


@main.command()
@click.argument("corpus")
@click.option("--out", required=True)
@click.option("--tokenizer")
@cut_options
@click.option("--tokens-per-shard", type=click.IntRange(1, (1 << 31) - 1))
def index(corpus, out, tokenizer, tokens_per_shard, **cut):
    """Build an infini-gram index of CORPUS.

    Options:
      --out: New folder of the index.
      --tokenizer: Hugging Face tokenizer file; by default tokens are whole lower-cased words.
      --tokens-per-shard: Tokens sorted at a time: fewer take less memory, and more shards are
          slower to ask.

    Example: taskgram index corpus.jsonl --out indexes/corpus
    """
    from taskgram_utils.counting.index import TOKENS_PER_SHARD, build_index

    texts = _corpus(corpus, **cut)
    require(out != "-", "--out -: an index is a folder; name one")
    _hold_out(out, folder=True, lock="")  # build_index holds it
    size = tokens_per_shard or TOKENS_PER_SHARD
    built = build_index(texts, out, tokenizer, tokens_per_shard=size)
    _report(texts)
    click.echo(f"{out}: {built.documents:,} documents, {built.tokens:,} tokens")


@main.command()
@click.argument("corpus_or_index")
@click.option("--pair", nargs=2, required=True, metavar="A B")
@click.option("-k", type=_at_least_1, default=5)
@cut_options
@tokenizer_option
def documents(corpus_or_index, pair, k, tokenizer, **cut):
    """Show documents that hold both n-grams of a pair, with both marked (where they overlap, by one
    mark).

    A document is shown whole; of long ones, say chapters, --document paragraph or heading shows the
    part.

    Options:
      --pair: Two n-grams, in any form.
      -k: Documents to show.

    Example: taskgram documents corpus.jsonl --pair "ada lovarn" "bakers" -k 5
    """
    from taskgram_utils.counting import evidence

    path, indexed = corpus_or_index, _is_index(corpus_or_index)
    counter = _counter(path, tokenizer, cut)
    texts = counter.documents_with(*pair, k=k)
    searched = _indexed(counter) if indexed else counter.corpus.summary()
    require(texts, f'{path}: no document holds both "{pair[0]}" and "{pair[1]}", of {searched}')
    if indexed:
        _say(f"{path}: {searched}")
    else:  # no more is read than is shown
        _report(counter.corpus, f"{k} shown, after reading " if len(texts) == k else "")
    for number, text in enumerate(texts, 1):
        click.secho(f"— {number} of {len(texts)} shown —", dim=True)
        for start, end in reversed(evidence.places(text, pair)):
            text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
        click.echo(_printable(text))


# --- examples and task-grams ---------------------------------------------------------------------


@main.command()
@click.argument("task")
@click.option("--source", default="hub")
@click.option("--dataset", type=click.Choice(["triviaqa", "popqa", "wikidata", "pararel"]),
              show_default="triviaqa")
@click.option("--subject", "subjects", multiple=True)
@click.option("--language", "languages", multiple=True)
@click.option("--direction", type=click.Choice(["into", "from"]), show_default="into")
@click.option("--split")
@out_option
def examples(task, source, split, out, **reading):
    """The examples of a real TASK: translation (WMT-09), factual_qa (TriviaQA, PopQA, facts of
    Wikidata, ParaRel), world_knowledge (MMLU) or math_reasoning (GSM8K), as every other command
    takes them.

    Where the files of a source are missing, the error names them. A task is one file in
    taskgram_utils/tasks that defines TASK; a new file there is a new TASK here.

    Options:
      --source: Files of the data set: a folder, or for questions a file too; hub: the Hugging Face
          data set.
      --dataset: factual_qa: which one.
      --subject: world_knowledge: only this subject; may repeat.
      --language: translation: only hu, cs, de, it, es or fr; may repeat.
      --direction: translation: into the language or from it, English on the other side.
      --split: Only this split: test, train, dev.

    Example: taskgram examples math_reasoning --source gsm8k --out examples.parquet
    """
    from taskgram_utils.tasks import base

    _hold_out(out)
    kind = base.task(task)
    require(kind.read, f"task {task}: has no real data set")
    _refuse(set(reading) - set(inspect.signature(kind.read).parameters), f"says nothing to {task}")
    table = kind.read(source, **{name: value for name, value in reading.items() if value})
    if split:
        splits = sorted(table["split"].unique())
        require(split in splits, f"--split {split}: {task} has {', '.join(splits)}")
        table = table[table["split"] == split]
    write_table(table.dropna(axis=1, how="all"), out)
    ends = f"ends at {' or '.join(map(repr, kind.stop))}, at {kind.max_tokens} tokens at most"
    _say(f"{task}: an answer {ends if kind.max_tokens else 'is one of the options'}")


def _threshold(_, __, text: str) -> float | str:
    """The value of --gamma: a number between 0 and 1, or calibrate."""
    if text == "calibrate":
        return text
    with suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise InputError(f"--gamma {text}: a threshold lies between 0 and 1, both excluded, or is "
                     "calibrate")


@main.command()
@click.argument("examples")
@click.option("--n", type=_at_least_1, required=True)
@click.option("--gamma", default="calibrate", callback=_threshold)
@click.option("--embedding", required=True)
@click.option("--vectors", show_default="none")
@click.option("--stopwords", type=click.Choice(["mined", "kept", "both"]), default="mined")
@click.option("--full-answer", is_flag=True)
@out_option
def mine(examples, n, gamma, embedding, vectors, stopwords, full_answer, out):
    """Mine the task-gram table of EXAMPLES: pairs of input and output n-grams that are close in
    meaning.

    Options:
      --n: Words of an n-gram.
      --gamma: Cosine a pair must exceed, above 0 and below 1; or calibrate: per task the smallest
          that at most 5% of pairs shuffled across examples exceed.
      --embedding: Folder of word vectors, or name of a sentence-transformers model (pip install -e
          '.[hub]').
      --vectors: Folder that keeps the vectors of a sentence-transformers model.
      --stopwords: mined: removed from the task text (n <= 3); kept; both: from the corpus too.
      --full-answer: s^y is the whole of y whatever n is (always of factual QA).

    Example: taskgram mine examples.jsonl --n 2 --embedding intfloat/e5-large-v2 --out grams.csv
    """
    from taskgram_utils import mining
    from taskgram_utils.embedding import kept_embedding, load_embedding
    from taskgram_utils.tasks.base import check_examples, registry

    _hold_out(out)
    table = check_examples(read_table(examples), examples)
    whole = full_answer or {name for name, task in registry().items() if task.full_answer}
    model = kept_embedding(embedding, vectors) if vectors else load_embedding(embedding)
    options = {"stopwords": stopwords, "full_answer": whole}
    if gamma == "calibrate":
        calibrated = mining.calibrate(table, n, model, **options)
        for row in calibrated.itertuples():
            both = f"{row.shuffled_share:.1%} of shuffled and {row.own_share:.1%} of own pairs"
            _say(f"{row.task}, n = {n}: gamma {row.gamma}; {both} exceed it".removeprefix("task, "))
        gamma = calibrated.set_index("task")["gamma"].to_dict()
    write_table(mining.mine(table, n, gamma, model, **options), out)


# --- language models -----------------------------------------------------------------------------


@main.command()
@click.argument("taskgrams")
@click.option("--counts", required=True)
@click.option("--form", type=click.Choice(["per_output", "per_pair"]), default="per_output")
@click.option("--zero-handling", type=click.Choice(["keep", "drop"]), default="keep")
@click.option("--kappa", type=float, default=1.0)
@out_option
def lm(taskgrams, counts, form, zero_handling, kappa, out):
    """Log-probabilities of the mined outputs under the task-gram language model.

    Options:
      --counts: Counts of the pairs and of their s^x (taskgram count --singles).
      --zero-handling: keep: smoothed; drop: pairs that never occur are left out, as in the paper;
          an s^x that never occurs always is.
      --kappa: Strength of the smoothing.

    Example: taskgram lm taskgrams.parquet --counts counts.parquet --out taskgram_lm.parquet
    """
    from taskgram_utils.language_models.taskgram import taskgram_logp

    _hold_out(out)
    grams = read_table(taskgrams)
    table = taskgram_logp(grams, read_table(counts), form, zero_handling, kappa)
    point = [c for c in ("task", "group", "example_id", "n", "sy") if c in grams]
    point += ["sx"] * (form == "per_pair")
    points, scored = (len(frame.drop_duplicates(point)) for frame in (grams, table))
    never_seen = " or the pair occurs nowhere" if zero_handling == "drop" else ""
    why = f"their s^x occurs nowhere{never_seen}"
    require(table["logp"].notna().any(),
            f"{taskgrams}: none of its {points} points can be scored: {why}")
    write_table(table, out)
    _say_inexact(table, taskgrams)
    if scored < points:
        _say(f"{points - scored} of {points} points left out: {why}")


@main.command()
@click.argument("examples")
@model_options
@click.option("--taskgrams")
@click.option("--options", is_flag=True)
@click.option("--prior", is_flag=True)
@click.option("--long", type=click.Choice(["refuse", "window"]), default="refuse")
@out_option
def score(examples, taskgrams, out, **how):
    """Log-probabilities of the outputs of EXAMPLES (and of their mined n-grams) under language
    models.

    What a model has finished is kept in the folder OUT.partial until all are, so that the same
    command, given again after a stop, goes on where it was.

    Options:
      --taskgrams: Task-gram table: log P of every s^y of it, too.
      --options: Score the options of every example, too.
      --prior: Score y without its input (the control logp_prior).
      --long: A text longer than the context: refuse it, or predict it in windows.

    Example: taskgram score examples.parquet --model EleutherAI/pythia-70m --step 143000 --out
    logp.parquet
    """
    from taskgram_utils.language_models.jobs import score_all

    grams = read_table(taskgrams) if taskgrams else None
    require(grams is None or len(grams), f"{taskgrams}: no row in it")
    _ask_models(score_all, "logp", examples, out, taskgrams=grams, **how)


@main.command()
@click.argument("examples")
@model_options
@click.option("--max-tokens", type=_at_least_1, required=True)
@click.option("--stop", multiple=True, show_default="the column stop of EXAMPLES, else \\n")
@out_option
def generate(examples, stop, out, **how):
    """Greedy answers of language models to EXAMPLES: what they write after instruction and x.

    What a model has finished is kept in the folder OUT.partial until all are, as by taskgram score.

    Options:
      --max-tokens: Tokens of an answer, at most.
      --stop: Text that ends an answer, and is no part of it (\\n: a line break, \\t: a tab, \\\\: a
          backslash; '': only the end of text ends it); may be repeated.

    Example: taskgram generate examples.jsonl --model EleutherAI/pythia-70m --max-tokens 32 --out
    answers.csv
    """
    from taskgram_utils.language_models.jobs import generate_all

    ends = [_unescaped(text) for text in stop if text] if stop else None
    _ask_models(generate_all, "output", examples, out, stop=ends, **how)


def _unescaped(text: str) -> str:
    """A typed text with \\n, \\t, \\r and \\\\ as what they mean; any other backslash is itself."""
    meant = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
    return re.sub(r"\\([ntr\\])", lambda match: meant[match[1]], text)


def _ask_models(ask, column, examples, out, models, step, dtype, device, pickled, scheduler,
                **options):
    """Write what models give for the examples, by ``ask`` with its own ``options``, and end with an
    error where ``column`` is null for some examples."""
    from taskgram_utils.language_models import jobs
    from taskgram_utils.tasks.base import check_examples

    keep = _hold_out(out)
    table = check_examples(read_table(examples), examples, texts=False, outputs=column == "logp")
    if (table["instruction"].astype(str).str.count(r"\{x\}") > 1).any():
        _say(f"{examples}: an instruction with several {{x}} is taken as text; write one {{x}}")
    few = table["options"].map(len, na_action="ignore").min()  # null: none has any
    require(not options.get("options") or few > 1, f"{examples}: --options, but an example has "
            'fewer than two, or none has options; write a list, such as ["a", "b"]')
    loading, specs = jobs.Loading(dtype, device, pickled), jobs.specs(models, step)
    answers = ask(table, specs, loading=loading, scheduler=scheduler, keep=keep, **options)
    write_table(answers, out)
    if keep is not None:
        jobs.forget(keep)
    if column == "output":
        empty, cut_off = (answers["output"].str.strip() == "").sum(), answers["at_bound"].sum()
        if empty or cut_off:
            _say(f"of {len(answers)} answers {empty} are empty, {cut_off} cut off at "
                 f"{options['max_tokens']} tokens or the end of the context")
    failed = len(answers.attrs.get("failed", []))
    require(not failed, f"{failed} of {len(table)} examples have a null {column} (see above); "
            f"{out} holds the others")


# --- novelty and overlap -------------------------------------------------------------------------


@main.command()
@click.argument("corpus_or_index")
@click.option("--outputs", required=True)
@click.option("--taskgrams")
@click.option("--n", "sizes", type=_at_least_1, multiple=True, show_default="1 to 8")
@out_option
@cut_options
@tokenizer_option
def novelty(corpus_or_index, outputs, taskgrams, sizes, out, tokenizer, **cut):
    """Count the n-grams of what models wrote that no document of CORPUS_OR_INDEX holds.

    One row for each example, model and n: distinct word n-grams of the output (ngrams) and how many
    of them no document holds (new_ngrams). An output without text has no row.

    Options:
      --outputs: Table of taskgram generate: example_id, model, output.
      --taskgrams: Task-gram table: also count pairs of the example's s^x and an n-gram of its
          output that no document holds together (pairs, new_pairs).
      --n: Words of an n-gram; may be repeated.

    Example: taskgram novelty corpus.jsonl --outputs answers.csv --out novelty.csv
    """
    from taskgram_utils import novelty as novel

    keep, table = _hold_out(out), read_table(outputs)
    require_columns(table, ["example_id", "model", "output"], outputs)
    grams = read_table(taskgrams) if taskgrams else None
    counter = _counter(corpus_or_index, tokenizer, cut, keep=keep)
    found = novel.novelty(table, counter, sizes or novel.SIZES, grams)
    write_table(found, out)
    _report_counter(counter, corpus_or_index)
    if null := table["output"].isna().sum():
        _say(f"{outputs}: {null} of {len(table)} outputs are null and have no row")
    strangers = set() if grams is None else set(table["example_id"]) - set(grams["example_id"])
    if strangers:
        _say(f"{taskgrams}: has no pair of {len(strangers)} examples of {outputs}")


@main.command()
@click.argument("corpus_or_index")
@click.argument("examples")
@click.option("--n", "sizes", type=_at_least_1, multiple=True, show_default="8 and 14")
@click.option("--answers")
@click.option("--count-model")
@click.option("--model")
@click.option("--compare", metavar="TABLE")
@out_option
@cut_options
@tokenizer_option
def overlap(corpus_or_index, examples, sizes, answers, count_model, model, compare, out, tokenizer,
            **cut):
    """Find the EXAMPLES whose inputs stand word for word in CORPUS_OR_INDEX, and measure without
    them.

    One row for each example and n: distinct n-grams of x, how many of them some document holds
    (found), and whether any is (overlaps). An x of fewer than n words is compared whole.

    Options:
      --n: Words of an n-gram; may be repeated.
      --answers: Answers with a score: compare its mean with and without the examples that overlap.
      --count-model: logp table of a count-based model: compare Mem so, with --model.
      --model: logp table of language models.
      --compare: Table to write: estimates of all examples, without those that overlap, and their
          difference.

    Example: taskgram overlap corpus.jsonl examples.parquet --out overlap.csv
    """
    from taskgram_utils import novelty as novel
    from taskgram_utils.tasks.base import check_examples

    keep = _hold_out(out)
    require(bool(count_model) == bool(model), "--count-model and --model: Mem takes both")
    require(bool(compare) == bool(answers or model), "--compare: names the table of what --answers "
            "or --count-model and --model give; give both, or none")
    table = check_examples(read_table(examples), examples, outputs=False, texts=False)
    sides = [read_table(path) for path in (answers, count_model, model) if path]
    counter = _counter(corpus_or_index, tokenizer, cut, keep=keep)
    found = novel.overlap(table, counter, sizes or novel.OVERLAP_SIZES)
    parts = [novel.score_without(found, sides.pop(0))] if answers else []
    parts += [novel.mem_without(found, *sides)] if model else []
    write_table(found, out)
    if compare:
        write_table(pd.concat(parts, ignore_index=True), compare)
    _report_counter(counter, corpus_or_index)
    for n, part in found.groupby("n"):
        _say(f"n = {n}: {part['overlaps'].sum()} of {len(part)} examples overlap")


# --- memorization --------------------------------------------------------------------------------


@main.command()
@click.option("--count-model", required=True)
@click.option("--model", required=True)
@click.option("--controls")
@click.option("--taskgrams")
@click.option("--examples")
@click.option("--difference", nargs=2, metavar="A B")
@click.option("--slopes", is_flag=True)
@click.option("--size", "sizes", nargs=2, type=(str, float), multiple=True, metavar="NAME NUMBER")
@out_option
def mem(count_model, model, difference, slopes, sizes, out, **beside):
    """Distributional memorization: Spearman of the log P of a count-based model with a model's,
    with two-way intervals; the difference of two; or slopes against the size of the models.

    Options:
      --count-model: logp table of a count-based model: the task-gram or infinity-gram LM.
      --model: logp table of one or more language models.
      --controls: Numeric columns by example_id, n, sy, start: partials given each and all.
      --taskgrams: Task-gram table, for the coverage columns.
      --examples: Examples table, for coverage_examples.
      --difference: Mem of A less Mem of B, two language models of --model or two of --count-model
          (then on the points that both have).
      --slopes: Slopes against log10 of the models' parameters (a column of --model, or --size), in
          place of the estimates or differences.
      --size: Parameters of a model; may be repeated.

    Example: taskgram mem --count-model taskgram.parquet --model logp.parquet --out -
    """
    from taskgram_utils import memorization

    _hold_out(out)
    options = {name: read_table(path) if path else None for name, path in beside.items()}
    options["parameters"] = dict(sizes) or None
    sides = {path: read_table(path) for path in (count_model, model)}
    for path, table in sides.items():
        check(table, LOGP, [*KEYS, "model", "logp"], path)
        above = table["logp"][pd.to_numeric(table["logp"], errors="coerce") > 1e-6]
        require(above.empty, f"{path}: a logp above 0 ({above.max()}) is of no probability")
    require("n_terms" in sides[count_model] or "n_terms" not in sides[model], f"{model}: has log P "
            f"of counts, and {count_model} none; exchange --count-model and --model")
    unknown = dict(sizes).keys() - set(sides[model]["model"])
    require(not unknown, f"--size {', '.join(unknown)}: {model} has no model of that name")
    result = memorization.estimates(sides[count_model], sides[model], **options)
    if difference:
        result = _less(result, *difference, sides[count_model], sides[model], options)
    if slopes:
        one_step = result.table.groupby("model")["step"].nunique().max() <= 1
        result = memorization.at_one_step(result) if one_step else result
    null = result.table.loc[result.table["estimate"].isna(), "reason"]
    require(len(null) < len(result.table), f"no Mem, and {out} is not written: "
            f"{'; '.join(null.unique())} (of counts: see that --document cuts the text into many)")
    write_table(memorization.slopes(result) if slopes else result.table, out)
    for reason, number in null.value_counts().items():
        _say(f"{number} of {len(result.table)} estimates are null: {reason}")
    for path, table in sides.items():
        logp = table.loc[table["n"].notna(), "logp"]
        if logp.isna().any():
            _say(f"{path}: {logp.isna().sum()} of {len(logp)} rows have no logp and are left out")
        _say_inexact(table, path)
    if alone := memorization.unmatched(sides[count_model], sides[model]):
        _say(f"{count_model}: {alone} points are not in {model}, and are left out")


def _less(result, of: str, to: str, count_model: pd.DataFrame, model: pd.DataFrame, options: dict):
    """Estimates of ``of`` less those of ``to``, two models or two references."""
    from taskgram_utils import memorization

    columns = ("model", "count_model")
    names = {by: sorted(map(str, result.table[by].dropna().unique())) for by in columns}
    by = next((by for by in columns if of != to and {of, to} <= set(names[by])), None)
    known = "; ".join(f"--{by} has {', '.join(names[by])}" for by in columns)
    require(by, f"--difference {of} {to}: names no two of one table ({known})")
    if by == "count_model":
        sides = [count_model[count_model["model"] == name] for name in (of, to)]
        result = memorization.on_shared_points(*sides, model, **options)
    return memorization.contrasts(result, by, of, to)


# --- published records, worlds, suites of models -------------------------------------------------


@main.command()
@click.option("--out", required=True)
@click.option("--set", "sets", multiple=True)
@click.option("--url")
def records(out, sets, url):
    """Fetch what others published of real models and real text, by commit, each file's sha256
    checked.

    Options:
      --out: Folder for the files (27 MB); whole files that lie there are kept.
      --set: Only this set: phases, naturalstories, arithmetic, crosscare or hubble.
      --url: Server to ask in place of raw.githubusercontent.com, with the same paths.

    Example: taskgram records --out records
    """
    from taskgram_utils.fetching import fetch

    _hold_out(out, folder=True, lock="/.lock")
    for name, part in fetch(out, sets, url).groupby("set", sort=False):
        licences = "; ".join(sorted(set(part["repo"] + " (" + part["licence"] + ")")))
        now = f"{part['fetched'].sum()} of them fetched now"
        click.echo(f"{name}: {len(part)} files, {now}, {licences}")


@main.command()
@click.option("--out", required=True)
@click.option("--documents", type=int, show_default="the miniature's")
@click.option("--world", type=click.IntRange(min=0), default=1)
def world(out, documents, world):
    """Write a miniature world as files that any run can read: its corpus, the examples of four
    tasks, what is true of it (facts, true pairs), and word vectors made from the text of its twin
    world.

    Options:
      --out: New folder of the files.
      --documents: Documents of the corpus.
      --world: Which draw.

    Example: taskgram world --documents 40000 --out worlds/first
    """
    from taskgram_utils.miniature.files import write_world
    from taskgram_utils.miniature.world import FULL

    folder = Path(out)
    require(not folder.is_dir() or not any(folder.iterdir()), f"--out {out}: is not empty")
    _hold_out(out, folder=True)
    for name, rows in write_world(folder, FULL if documents is None else documents, world).items():
        click.echo(f"{folder / name}: {rows:,} rows")


@main.command()
@click.option("--out", required=True)
@click.option("--size", "sizes", multiple=True, default=["all"])
@click.option("--corpus", show_default="the miniature world")
@cut_options
@click.option("--tokenizer", show_default="one is trained on the text")
@click.option("--epochs", type=_at_least_1, default=2)
@click.option("--documents", type=int, show_default="the miniature's")
@click.option("--world", type=click.IntRange(min=0), default=1)
@click.option("--twin", type=int, default=0)
@click.option("--seed", type=click.IntRange(min=0), default=1)
@click.option("--jobs", type=_at_least_1, default=2)
@click.option("--max-steps", type=_at_least_1)
def train(out, sizes, corpus, tokenizer, epochs, documents, world, twin, seed, jobs, max_steps,
          **cut):
    """Train a suite of small GPT-NeoX models on a miniature world, or on a text of your own.

    Options:
      --out: Folder of the suite; a killed training resumes there.
      --size: A size, smallest, or all; may be repeated.
      --corpus: Train on this text of your own: file or folder.
      --tokenizer: corpus: tokenizer file, such as Pythia's.
      --epochs: corpus: how often it is read.
      --documents: World: its size.
      --world: World: which draw.
      --twin: World: 0 is itself, others are its twins.
      --seed: Initial weights and order of the documents.
      --jobs: Sizes at a time, a thread each.
      --max-steps: Stop early, for a trial.

    Example: taskgram train --out suites/first --size smallest
    """
    from taskgram_utils.suites import make_suite, of_corpus
    from taskgram_utils.training import SIZES

    groups = {"all": list(SIZES), "smallest": list(SIZES)[:1]}
    sizes = list(dict.fromkeys(size for name in sizes for size in groups.get(name, [name])))
    if corpus:
        _refuse(["documents", "world", "twin"], "says nothing with --corpus")
        texts = _corpus(corpus, **cut)
        text = of_corpus(texts, seed, epochs, tokenizer or "")
    else:
        from taskgram_utils.miniature.suite import of_world
        from taskgram_utils.miniature.world import FULL

        _refuse([*cut, "tokenizer", "epochs"], "says nothing without --corpus")
        text = of_world(FULL if documents is None else documents, world, seed, twin)
    _hold_out(out, folder=True, lock="/.lock")
    make_suite(Path(out), text, seed, sizes, jobs, max_steps)
    if corpus and texts.seen.documents:  # else nothing was read: a training went on
        _report(texts)
    click.echo(f"{out}: {', '.join(sizes)} trained; the model card is {Path(out) / 'README.md'}")


# --- the book and its runs -----------------------------------------------------------------------


@main.command()
@click.argument("run", required=False)
@parameter_option
def doctor(run, parameters):
    """Say what is installed and which runs can work here; of RUN also what it takes, and what it
    lacks.

    What a run of real text takes (disk, memory, hours, requests) is an estimate from rates that
    were measured.

    Example: taskgram doctor pythia-pile
    """
    from taskgram_utils import book
    from taskgram_utils.run import checks, cost

    require(run or not parameters, "-p: name the run whose parameters these are")
    opened = book.plan(run, parameters).run if run else None
    for row in checks.parts().itertuples():
        get = f"  {row.get}" if row.version == "absent" else ""
        click.echo(f"{row.part:22} {row.version:20} {row.needed_for}{get}")
    click.echo("")
    try:
        for row in checks.runs(but=opened.name if opened else "").itertuples():
            click.echo(f"run {row.run:18} {row.state:20} {row.detail}")
    except NoProject as error:
        click.echo(f"runs: {error}")
    if opened:
        wanted = cost.needs(opened).to_dict("records")
        if wanted:
            click.echo(f"\n{opened.name} takes about:")
        for row in wanted:
            amount = cost.rounded(row["amount"])
            click.echo(f"  {row['what']:28} {amount:>14} {row['unit']:3} {row['stands on']}")
        click.echo(f"\n{opened.name}: {checks.require_ready(opened)}")


def _ready_plan(run: str, parameters: tuple):
    """The plan of a run that can work here; what is built is held for this command."""
    from taskgram_utils import book
    from taskgram_utils.run import checks

    plan = book.plan(run, parameters)
    lock = project_root() / "build" / "taskgram.lock"
    click.get_current_context().with_resource(locked(lock, "build"))
    checks.require_ready(plan.run)
    return plan


@main.command("run")
@click.argument("run", default="miniature")
@parameter_option
def run_command(run, parameters):
    """Execute every notebook of RUN.

    Example: taskgram run miniature -p kappa 2
    """
    from taskgram_utils import book

    executed = book.execute(_ready_plan(run, parameters))
    click.echo(f"executed: {', '.join(executed) or 'nothing, all chapters are current'}")


@main.command("book")
@click.argument("run", default="miniature")
@parameter_option
@click.option("--strict", is_flag=True)
@click.option("--instructor", is_flag=True)
def book_command(run, parameters, strict, instructor):
    """Execute every notebook of RUN and render the book to build/book/html/index.html.

    Options:
      --strict: Fail on any warning of the renderer.
      --instructor: Add the page of model answers for teachers.

    Example: taskgram book miniature -p 11_across_tasks.n 1
    """
    from taskgram_utils import book

    click.echo(book.build(_ready_plan(run, parameters), strict, instructor=instructor))


if __name__ == "__main__":
    sys.exit(main())
