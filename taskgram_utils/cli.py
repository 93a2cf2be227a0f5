"""The ``taskgram`` command: parses, calls one function, writes one table."""

from __future__ import annotations

import re
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import click
from filelock import FileLock, Timeout

from taskgram_utils import __version__
from taskgram_utils.errors import InputError, InputWarning, require, require_columns
from taskgram_utils.progress import EVERY, Bar
from taskgram_utils.run.store import NoProject, project_root
from taskgram_utils.tables import SUFFIXES, exactness, read_table, write_table


class _Command(click.Command):
    """A command that refuses an option given twice where one value is taken: the first would be lost."""

    def parse_args(self, ctx, args):
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        single = [p for p in order if isinstance(p, click.Option) and not (p.multiple or p.is_flag or p.count)]
        twice = next((p for p in single if single.count(p) > 1), None)
        if twice is not None:
            raise click.UsageError(f"{twice.opts[0]}: given twice, and one is taken", ctx)
        return super().parse_args(ctx, args)


class _Group(click.Group):
    """Bad input, of a user or of a file, is one line on standard error and exit code 2; a bug shows itself."""

    command_class = _Command

    def main(self, *args, **extra):
        with warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            plain, told = warnings.showwarning, set()

            def show(message, category, *place):
                if not issubclass(category, InputWarning):
                    plain(message, category, *place)
                elif str(message) not in told:
                    told.add(str(message))
                    _complain(str(message))

            warnings.showwarning = show
            Bar.every = EVERY
            try:
                self._main(*args, **extra)
            finally:
                Bar.every = None

    def _main(self, *args, **extra):
        extra["standalone_mode"] = False
        if hasattr(sys.stdout, "reconfigure"):  # a text or a table is UTF-8 wherever it goes
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        with suppress(ValueError):  # of a thread that is not the main one
            signal.signal(signal.SIGTERM, _stop)
        try:
            sys.exit(super().main(*args, **extra))
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "taskgram"
            _complain(f"{error.format_message()} ({command} --help)")
        except click.Abort:
            _complain("stopped")
            sys.exit(130)
        except InputError as error:
            _complain(str(error))
        except OSError as error:
            _complain(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        sys.exit(2)


def _stop(*_) -> None:
    """End as Ctrl-C does, so that what is half done is cleared away."""
    raise KeyboardInterrupt


def _complain(message: str) -> None:
    click.echo(f"taskgram: {_printable(' '.join(message.split()))}", err=True)


def _printable(text: str) -> str:
    """Text of a file name or a corpus, what is no Unicode in it written out."""
    return text.encode("utf-8", "backslashreplace").decode()


@click.group("taskgram", cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Count task-grams in a corpus, score them under language models, and measure distributional memorization.

    Tables are read and written by the ending of their names: .parquet, .csv or .jsonl; "-" is standard output (CSV).
    """


out_option = click.option("--out", required=True, help="Table to write (.parquet, .csv, .jsonl, or - for CSV).")
document_option = click.option(
    "--document", default="", help="What a document is: file, record (a JSON line, a row, a line of text), heading, "
    "paragraph or words:N.  [default: file for text, else record]",
)
skip_option = click.option("--skip-bad", is_flag=True, help="Skip records without text, and say how many there were.")
field_option = click.option(
    "--text-field", default="text", show_default=True, help="Field of JSON lines, column of parquet, with the text."
)


tokenizer_option = click.option("--tokenizer", help="index: Hugging Face tokenizer file that a downloaded index is of.")


def _checked(out: str) -> str:
    """Refuse a name that cannot be written, or that another command is writing, before the work begins."""
    path = Path(out)
    require(out.strip(), "--out: no name given")
    for name, value in click.get_current_context().params.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            require(name == "out" or not _same(path, one), f"--out {out}: is what is read ({name}); name another file")
        if name.startswith("corpus"):
            _outside(out, value)
    require(out == "-" or not path.is_dir(), f"--out {out}: is a folder; name a file in it")
    require(out == "-" or path.suffix in SUFFIXES, f"--out {out}: ends in none of {', '.join(SUFFIXES)}, and is not -")
    require(out == "-" or path.parent.is_dir(), f"--out {out}: no folder {path.parent}")
    if out != "-":
        _alone(Path(f"{out}.lock"), f"--out {out}")
    return out


def _same(path: Path, other: object) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError, TypeError):
        return False


def _outside(out: str, corpus: str) -> None:
    """Refuse what would become a part of the corpus."""
    inside = Path(corpus).is_dir() and Path(out).resolve().is_relative_to(Path(corpus).resolve())
    require(not inside, f"--out {out}: lies in the corpus, of which it would become a part; name a place elsewhere")


def _alone(lock: Path, what: str) -> None:
    """Keep a place for this command alone until it ends, by the file ``lock``; refuse what cannot be written."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        require(lock.exists(), f"{what}: cannot be written there")  # no file can be there, nor a lock
        raise InputError(f"{what}: another command is at work on it; wait for its end, or name another") from error
    except OSError as error:
        raise InputError(f"{what}: cannot be written there ({error.strerror or error})") from error

    @click.get_current_context().call_on_close
    def end() -> None:
        with suppress(OSError):
            lock.unlink()  # while it is held, so that it is nobody else's
        held.release()


def _corpus(path: str, document: str, skip_bad: bool, text_field: str):
    from taskgram_utils.corpus import Corpus

    require(not _is_index(path), f"{path}: is an infini-gram index, not text (taskgram count: --backend index)")
    return Corpus(Path(path), document, skip_bad, text_field)


def _is_index(path: str) -> bool:
    return any(Path(path).glob("tokenized.*"))


def _fitting(backend: str, options: dict[str, dict[str, object]]) -> None:
    """Refuse an option that was given but is another backend's: ``options`` by backend, each with its value."""
    for other, values in options.items():
        given = ", ".join(name for name, value in values.items() if value)
        require(other == backend or not given, f"{given}: for --backend {other}, it says nothing to {backend}")


def _index(path: str, document: str, skip_bad: bool, text_field: str, **options):
    """An index has its documents already: what says how a text is cut must not be given beside it."""
    from taskgram_utils.counting.index import Index

    asked = {"--document": document, "--skip-bad": skip_bad, "--text-field": text_field != "text"}
    given = ", ".join(name for name, value in asked.items() if value)
    require(not given, f"{path}: an index was cut into documents when it was built; {given} cannot change that")
    return Index(path, **options)


def _report(corpus, of: str = "") -> None:
    """Say how many documents were read, and how many records could not be."""
    _complain(f"{corpus.path}: {of}{corpus.summary()}")
    if skipped := corpus.skipped:
        many = f"{len(skipped)} record" + "s" * (len(skipped) > 1)
        click.echo(f"taskgram: skipped {many}, the first at {skipped[0]}", err=True)


@main.command(epilog='Example: taskgram count corpus.jsonl --pairs taskgrams.parquet --singles --out counts.csv')
@click.argument("corpus")
@click.option("--pairs", help="Table with the columns sx and sy (and, for pieces, sx_text and sy_text, as mined).")
@click.option("--ngrams", help="Table with the column sx, or a text file with an n-gram a line.")
@out_option
@click.option("--unit", type=click.Choice(["documents", "occurrences"]), default="documents", show_default=True,
              help="Unit of single n-grams; pairs are counted in documents (api with occurrences: within a window).")
@document_option
@click.option("--singles", is_flag=True, help="Count every s^x and s^y of the pairs alone, too.")
@click.option("--halves", is_flag=True, help="Count in two random halves of the documents, too.")
@click.option("--backend", type=click.Choice(["scan", "index", "api"]), default="scan", show_default=True,
              help="scan: CORPUS is text. index: CORPUS is the folder of an infini-gram index. api: CORPUS is the name "
              "of an index that the infini-gram web service hosts, such as v4_pileval_gpt2.")
@field_option
@skip_option
@tokenizer_option
@click.option("--scheduler", help="scan: address of a Dask scheduler, such as tcp://host:8786.  [default: none]")
@click.option("--cache", help="api: file that keeps every answer.  [default: infinigram.sqlite in the user's cache]")
@click.option("--offline", is_flag=True, help="api: answer from the cache alone.")
@click.option("--sample", type=click.IntRange(min=1),
              help="api: documents fetched for an n-gram; a more frequent one is estimated from them.  [default: 100]")
def count(corpus, pairs, ngrams, out, unit, document, singles, halves, backend, text_field, skip_bad, tokenizer,
          scheduler, cache, offline, sample):  # fmt: skip
    """Count n-grams and pairs of n-grams in CORPUS: exactly, but for pieces of words and the web service.

    Of pieces, an n-gram is asked in the forms in which text writes it: as the example does (sx_text, sy_text), in small
    letters and with capitals; what is written otherwise, say with a comma inside, is missed.

    What was counted of a large corpus is kept in the folder OUT.partial until all is, so that the same command, given
    again after a stop, goes on where it was.
    """
    from taskgram_utils.counting.base import count_table

    _checked(out)
    of_text = {
        "--document": document, "--skip-bad": skip_bad, "--text-field": text_field != "text", "--scheduler": scheduler
    }  # fmt: skip
    of_api = {"--cache": cache, "--offline": offline, "--sample": sample}
    only_scan = {"--scheduler": scheduler} if backend == "index" else of_text
    _fitting(backend, {"scan": only_scan, "index": {"--tokenizer": tokenizer}, "api": of_api})
    require(pairs or ngrams, "taskgram count needs --pairs FILE or --ngrams FILE")
    require(pairs or not singles, "--singles: counts the n-grams of --pairs alone, which is not given")
    asked_pairs = asked = ()
    if pairs:
        table = read_table(pairs)
        _check_ngrams(table, ["sx", "sy"], pairs)
        asked_pairs = table[table.columns.intersection(["sx", "sy", "sx_text", "sy_text"])].drop_duplicates()
    if ngrams:
        asked = _ngrams(ngrams)
    require(len(asked_pairs) or len(asked), f"{pairs or ngrams}: no row in it, nothing to count")
    if backend == "index":
        cut = document, skip_bad, text_field
        counter = _index(corpus, *cut, unit=unit, tokenizer=tokenizer)
    elif backend == "api":
        from taskgram_utils.counting.api import ApiCounter

        counter = ApiCounter(corpus, unit, cache, offline, **({"sample": sample} if sample else {}))
    else:
        from taskgram_utils.counting.scan import ScanCounter

        texts = _corpus(corpus, document, skip_bad, text_field)
        counter = ScanCounter(texts, unit=unit, scheduler=scheduler, keep=_kept(out))
    counted = count_table(counter, asked_pairs, asked, halves=halves, singles=singles)
    write_table(counted, out)
    if backend == "scan":
        _report(texts)
        counter.forget()
    if backend == "index":
        _complain(f"{corpus}: {counter.documents:,} documents, as they were cut when the index was built")
    if backend == "api":
        evidence = counter.evidence()
        rough = f"{evidence['approximate'].sum()} of {len(evidence)} numbers are estimates"
        _complain(rough)
    if not counter.exact:
        least, most = counted["forms"].min(), counted["forms"].max()
        said = f"each number rests on the pieces of {least} to {most} forms in which text writes an n-gram, or a pair"
        _complain(f"{said}; what is written otherwise is missed, so none is exact")


def _ngrams(path: str) -> list[str]:
    import pandas as pd

    if Path(path).suffix in SUFFIXES:
        table = read_table(path)
    else:
        require(Path(path).is_file(), f"{path}: no such file")
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
        table = pd.DataFrame({"sx": [line.rstrip("\r") for line in lines if lines != [""]]})
    _check_ngrams(table, ["sx"], path)
    return table["sx"].tolist()


def _check_ngrams(table, columns: list[str], path: str) -> None:
    """Name the file and the row of what is no n-gram; the counters know it by its place in the request alone."""
    import numpy as np
    import pandas as pd

    from taskgram_utils.ngrams import words

    require_columns(table, columns, path)
    for column in columns:
        values = table[column].tolist()
        written = {value: bool(words(value)) for value in {v for v in values if isinstance(v, str)}}
        for row, value in enumerate(values, 1):
            if isinstance(value, str):
                what = f"{value!r:.80} holds no word"
            else:
                what = "is empty" if np.ndim(value) == 0 and pd.isna(value) else f"{value!r:.80} is not text"
            require(isinstance(value, str) and written[value], f"{path}, row {row}: {column} {what}; remove the row")


@main.command(epilog="Example: taskgram examples math_reasoning --source gsm8k --out examples.parquet")
@click.argument("task")
@click.option("--source", default="hub", show_default=True,
              help="Files of the data set: a folder, or for questions a file too; hub: the Hugging Face data set.")
@click.option("--dataset", type=click.Choice(["triviaqa", "popqa", "wikidata", "pararel"]),
              help="factual_qa: which one.  [default: triviaqa]")
@click.option("--subject", "subjects", multiple=True, help="world_knowledge: only this subject; may repeat.")
@click.option("--language", "languages", multiple=True, help="translation: only hu, cs, de, it, es or fr; may repeat.")
@click.option("--direction", type=click.Choice(["into", "from"]), help="translation: into the language or from it, "
              "English on the other side.  [default: into]")  # fmt: skip
@click.option("--split", help="Only this split: test, train, dev.")
@out_option
def examples(task, source, dataset, subjects, languages, direction, split, out):
    """The examples of a real TASK: translation (WMT-09), factual_qa (TriviaQA, PopQA, facts of Wikidata, ParaRel),
    world_knowledge (MMLU) or math_reasoning (GSM8K), as every other command takes them.

    What files a source holds, each task says in its own words where they are missing. A task is one file in
    taskgram_utils/tasks that defines TASK; a new file there is a new TASK here.
    """
    from taskgram_utils.tasks import base

    _checked(out)
    kind = base.task(task)
    require(kind.read, f"task {task}: has no real data set")
    given = {"dataset": dataset, "subjects": subjects, "languages": languages, "direction": direction}
    own = {"factual_qa": {"dataset"}, "world_knowledge": {"subjects"}, "translation": {"languages", "direction"}}
    strange = [f"--{name.removesuffix('s')}" for name, v in given.items() if v and name not in own.get(task, set())]
    require(not strange, f"{', '.join(strange)}: says nothing to {task}")
    table = kind.read(source, **{name: value for name, value in given.items() if value})
    if split:
        there = sorted(table["split"].unique())
        require(split in there, f"--split {split}: {task} has {', '.join(there)}")
        table = table[table["split"] == split]
    write_table(table.dropna(axis=1, how="all"), out)
    ends = "an answer is one of the options"
    if kind.max_tokens:
        ends = f"an answer ends at {' or '.join(map(repr, kind.stop))}"
        ends += f", at {kind.max_tokens} tokens at most"
    click.echo(f"taskgram: {task}: {ends}", err=True)


@main.command(
    epilog="Example: taskgram mine examples.jsonl --n 2 --embedding intfloat/e5-large-v2 --out grams.csv"
)
@click.argument("examples")
@click.option("--n", type=int, required=True, help="Words of an n-gram.")
@click.option("--gamma", default="calibrate", show_default=True,
              help="Cosine a pair must exceed, above 0 and below 1; or calibrate: per task the smallest that at most "
              "5% of pairs shuffled across examples exceed.")
@click.option("--embedding", help="Folder, or name of a sentence-transformers model.")
@click.option("--vectors", help="Folder that keeps the vectors of a sentence-transformers model.  [default: none]")
@click.option("--stopwords", type=click.Choice(["mined", "kept", "both"]), default="mined", show_default=True,
              help="mined: removed from the task text (n <= 3); kept; both: from the corpus too.")
@click.option(
    "--whole-answer", is_flag=True, help="s^y is the whole of y whatever n is (always of factual QA)."
)
@out_option
def mine(examples, n, gamma, embedding, vectors, stopwords, whole_answer, out):
    """Mine the task-gram table of EXAMPLES: pairs of input and output n-grams that are close in meaning."""
    from taskgram_utils import mining
    from taskgram_utils.embedding import kept_embedding, load_embedding
    from taskgram_utils.tasks.base import check_examples, registry

    _checked(out)
    require(n >= 1, f"--n {n}: an n-gram has at least 1 word")
    number = _number(gamma)
    good = gamma == "calibrate" or (number is not None and 0 < number < 1)
    require(good, f"--gamma {gamma}: a threshold lies between 0 and 1, both excluded, or is calibrate")
    require(
        embedding, "taskgram mine needs --embedding: a folder of word vectors or a sentence-transformers model "
        "(pip install -e '.[hub]')",
    )  # fmt: skip
    table = check_examples(read_table(examples), examples)
    whole = whole_answer or {name for name, known in registry().items() if known.whole_answer}
    model = kept_embedding(embedding, vectors) if vectors else load_embedding(embedding)
    options = {"stopwords": stopwords, "whole_answer": whole}
    if number is None:
        found = mining.calibrate(table, n, model, **options)
        for row in found.itertuples():
            passing = f"{row.shuffled_share:.1%} of shuffled and {row.own_share:.1%} of own pairs exceed it"
            click.echo(f"taskgram: {row.task}, n = {n}: gamma {row.gamma}; {passing}", err=True)
        number = found.set_index("task")["gamma"].to_dict()
    write_table(mining.mine(table, n, number, model, **options), out)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@main.command(epilog="Example: taskgram lm taskgrams.parquet --counts counts.parquet --out reference.parquet")
@click.argument("taskgrams")
@click.option("--counts", required=True, help="Counts of the pairs and of their s^x (taskgram count --singles).")
@click.option("--form", type=click.Choice(["per_output", "per_pair"]), default="per_output", show_default=True)
@click.option("--zeros", type=click.Choice(["keep", "drop"]), default="keep", show_default=True,
              help="keep: smoothed; drop: pairs never seen are left out, as in the paper; an s^x never seen always.")
@click.option("--kappa", type=float, default=1.0, show_default=True, help="Strength of the smoothing.")
@out_option
def lm(taskgrams, counts, form, zeros, kappa, out):
    """Log-probabilities of the mined outputs under the task-gram language model."""
    from taskgram_utils.language_models.taskgram import taskgram_logp

    _checked(out)
    grams = read_table(taskgrams)
    table = taskgram_logp(grams, read_table(counts), form, zeros, kappa)
    point = [c for c in ("task", "group", "example_id", "n", "sy") if c in grams] + ["sx"] * (form == "per_pair")
    whole, kept = (len(frame.drop_duplicates(point)) for frame in (grams, table))
    why = "their s^x occurs nowhere" + (" or the pair was never seen" if zeros == "drop" else "")
    require(table["logp"].notna().any(), f"{taskgrams}: none of its {whole} points can be scored: {why}")
    write_table(table, out)
    _say_inexact(table, taskgrams)
    if kept < whole:
        click.echo(f"taskgram: {whole - kept} of {whole} points left out: {why}", err=True)


def _say_inexact(table, path: str) -> None:
    """Say how many rows rest on counts that are not exact."""
    rough = exactness(table, path).eq(False).fillna(False).sum()
    if rough:
        _complain(f"{path}: {rough} of {len(table)} points rest on counts that are not exact (column exact)")


def _model_options(command):
    """The options of a command that asks language models."""
    for option in reversed([
        click.option("--model", "models", multiple=True, required=True,
                     help="Folder, or hub name of a causal language model (safetensors); may be repeated."),
        click.option("--step", help="Training steps, as 0,512,143000, or all: subfolders step<N>, or such revisions on "
                     "the hub."),
        click.option("--budget", type=click.IntRange(min=1),
                     help="Tokens of a batch.  [default: what a quarter of the free memory holds]"),
        click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
                     help="[default: float32 on a CPU, bfloat16 on a GPU]"),
        click.option("--device", help="cpu, cuda, …, or auto: spread over all GPUs and the memory (needs accelerate).  "
                     "[default: a GPU where there is one]"),
        click.option("--pickled", is_flag=True, help="Allow pytorch_model.bin where there are no safetensors."),
        click.option("--scheduler", help="Address of a Dask scheduler: a model for each worker.  [default: none]"),
    ]):  # fmt: skip
        command = option(command)
    return command


@main.command(
    epilog="Example: taskgram score examples.parquet --model EleutherAI/pythia-70m --step 143000 --out logp.parquet"
)
@click.argument("examples")
@_model_options
@click.option("--taskgrams", help="Task-gram table: log P of every s^y of it, too.")
@click.option("--options", is_flag=True, help="Score the options of every example, too.")
@click.option("--prior", is_flag=True, help="Score y without its input (the control logp_prior).")
@click.option("--long", type=click.Choice(["refuse", "window"]), default="refuse", show_default=True,
              help="A text longer than the context: refuse it, or predict it in windows.")
@out_option
def score(examples, models, step, taskgrams, options, prior, long, budget, dtype, device, pickled, scheduler, out):
    """Log-probabilities of the outputs of EXAMPLES (and of their mined n-grams) under language models.

    What a model has finished is kept in the folder OUT.partial until all are, so that the same command, given again
    after a stop, goes on where it was.
    """
    from taskgram_utils.language_models import jobs
    from taskgram_utils.tasks.base import check_examples

    _checked(out)
    table = check_examples(read_table(examples), examples, texts=False)
    grams = read_table(taskgrams) if taskgrams else None
    require(not options or table["options"].notna().any(), f"{examples}: --options, but no example has options")
    keep = _kept(out)
    scores = jobs.score_all(
        table, jobs.specs(models, step), grams, jobs.Loading(dtype, device, pickled), scheduler, keep,
        options=options, prior=prior, long=long, budget=budget,
    )  # fmt: skip
    _finished(scores, "logp", len(table), out, keep)


@main.command(
    epilog="Example: taskgram generate examples.jsonl --model EleutherAI/pythia-70m --max-tokens 32 --out answers.csv"
)
@click.argument("examples")
@_model_options
@click.option("--max-tokens", type=click.IntRange(min=1), required=True, help="Tokens of an answer, at most.")
@click.option("--stop", multiple=True,
              help="Text that ends an answer, and is no part of it (\\n: a line break, \\t: a tab, "
              "\\\\: a backslash; '': only the end of text ends it); may be repeated.  "
              "[default: the column stop of EXAMPLES, else \\n]")
@out_option
def generate(examples, models, step, max_tokens, stop, budget, dtype, device, pickled, scheduler, out):
    """Greedy answers of language models to EXAMPLES: what they write after instruction and x.

    What a model has finished is kept in the folder OUT.partial until all are, as by taskgram score.
    """
    from taskgram_utils.language_models import jobs
    from taskgram_utils.tasks.base import check_examples

    _checked(out)
    table = check_examples(read_table(examples), examples, texts=False, outputs=False)
    ends = [_unescaped(text) for text in stop if text] if stop else None
    keep = _kept(out)
    answers = jobs.generate_all(
        table, jobs.specs(models, step), max_tokens, jobs.Loading(dtype, device, pickled), scheduler, keep,
        stop=ends, budget=budget,
    )  # fmt: skip
    empty, bound = (answers["output"].str.strip() == "").sum(), answers["at_bound"].sum()
    if empty or bound:
        cut = f"{bound} cut off at {max_tokens} tokens or the end of the context"
        _complain(f"of {len(answers)} answers {empty} are empty, {cut}")
    _finished(answers, "output", len(table), out, keep)


def _unescaped(text: str) -> str:
    """A typed text with \\n, \\t, \\r and \\\\ as what they stand for; any other backslash is itself."""
    meant = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
    return re.sub(r"\\([ntr\\])", lambda found: meant[found[1]], text)


def _kept(out: str) -> Path | None:
    """The folder beside OUT in which models' work is kept; none where OUT is a stream."""
    return None if out == "-" else Path(f"{out}.partial")


def _finished(table, column: str, examples: int, out: str, keep: Path | None) -> None:
    """Write what models have said, and end with an error where some examples have nothing."""
    from taskgram_utils.language_models.jobs import forget

    write_table(table, out)
    if keep is not None:
        forget(keep)
    failed = table.attrs.get("failed", [])
    without = f"{len(failed)} of {examples} examples have a null {column} (see above)"
    require(not failed, f"{without}; {out} holds the others")


@main.command(epilog="Example: taskgram mem --reference taskgram.parquet --model logp.parquet --out -")
@click.option("--reference", required=True, help="logp table of a reference: the task-gram or infinity-gram LM.")
@click.option("--model", required=True, help="logp table of one or more language models.")
@click.option("--controls", help="Numeric columns by example_id, n, sy, start: partials given each and all.")
@click.option("--taskgrams", help="Task-gram table, for the coverage columns.")
@click.option("--examples", help="Examples table, for coverage_examples.")
@click.option("--difference", nargs=2, metavar="A B",
              help="Mem of A less Mem of B, two language models of --model or two of --reference (then on the points "
              "that both have).")
@click.option("--slopes", is_flag=True, help="Slopes against log10 of the models' parameters (a column of --model, or "
              "--size), in place of the estimates or differences.")
@click.option("--size", "sizes", nargs=2, type=(str, float), multiple=True, metavar="NAME NUMBER",
              help="Parameters of a model; may be repeated.")
@out_option
def mem(reference, model, controls, taskgrams, examples, difference, slopes, sizes, out):
    """Distributional memorization: Spearman of the reference's log P with the model's, with two-way intervals; the
    difference of two; or slopes of either against the size of the models."""
    import pandas as pd

    from taskgram_utils import memorization

    _checked(out)
    tables = {
        name: read_table(path) if path else None
        for name, path in {"controls": controls, "taskgrams": taskgrams, "examples": examples}.items()
    }
    sides = {path: read_table(path) for path in (reference, model)}
    for path, table in sides.items():
        require_columns(table, ["n", "logp"], path)
        above = pd.to_numeric(table["logp"], errors="coerce") > 1e-6
        first = f"{path}: a logp above 0 ({next(iter(table['logp'][above]), '')}) is of no probability"
        require(not above.any(), first)
    tables["parameters"] = dict(sizes) or None
    result = memorization.estimates(sides[reference], sides[model], **tables)
    if difference:
        result = _less(result, *difference, sides[reference], sides[model], tables)
    if slopes:
        steps = result.table.groupby("model")["step"].nunique() if "model" in result.table else pd.Series([2])
        result = memorization.at_one_step(result) if (steps <= 1).all() else result
        write_table(memorization.slopes(result), out)
    else:
        write_table(result.table, out)
    for path, table in sides.items():
        asked = table[table["n"].notna()]
        if asked["logp"].isna().any():
            null = f"{asked['logp'].isna().sum()} of {len(asked)} rows have no logp and are left out"
            click.echo(f"taskgram: {path}: {null}", err=True)
        _say_inexact(table, path)
    if alone := memorization.unmatched(sides[reference], sides[model]):
        _complain(f"{reference}: {alone} points are not in {model}, and are left out")


def _less(result, of: str, to: str, reference, model, tables: dict):
    """Estimates of ``of`` less those of ``to``, whichever table has both."""
    from taskgram_utils import memorization

    known = {by: sorted(map(str, result.table[by].dropna().unique())) for by in ("model", "reference")}
    by = next((by for by, names in known.items() if {of, to} <= set(names)), None)
    there = "; ".join(f"--{by} has {', '.join(names)}" for by, names in known.items())
    require(by and of != to, f"--difference {of} {to}: names no two of one table ({there})")
    if by == "reference":
        sides = [reference[reference["lm"] == name] for name in (of, to)]
        result = memorization.on_shared_points(*sides, model, **tables)
    return memorization.contrasts(result, by, of, to)


@main.command(epilog="Example: taskgram index corpus.jsonl --out indexes/corpus")
@click.argument("corpus")
@click.option("--out", required=True, help="New folder of the index.")
@click.option("--tokenizer", help="Hugging Face tokenizer file; by default tokens are whole lower-cased words.")
@document_option
@field_option
@skip_option
@click.option("--tokens-per-shard", type=click.IntRange(1, (1 << 31) - 1),
              help="Tokens sorted at a time: fewer take less memory, and more shards are slower to ask.")
def index(corpus, out, tokenizer, document, text_field, skip_bad, tokens_per_shard):
    """Build an infini-gram index of CORPUS."""
    from taskgram_utils.counting.index import TOKENS_PER_SHARD, build_index

    texts, place = _corpus(corpus, document, skip_bad, text_field), Path(out)
    require(out != "-", "--out -: an index is a folder; name one")
    _outside(out, corpus)
    _alone(Path(f"{place}.lock"), f"--out {out}")
    built = build_index(texts, out, tokenizer, tokens_per_shard=tokens_per_shard or TOKENS_PER_SHARD)
    _report(texts)
    click.echo(f"{out}: {built.documents:,} documents, {built.tokens:,} tokens")


@main.command(epilog='Example: taskgram documents corpus.jsonl --pair "ada lovarn" "bakers" -k 5')
@click.argument("corpus_or_index")
@click.option("--pair", nargs=2, required=True, metavar="A B", help="Two n-grams, in any form.")
@click.option("-k", type=click.IntRange(min=1), default=5, show_default=True, help="Documents to show.")
@document_option
@field_option
@skip_option
@tokenizer_option
def documents(corpus_or_index, pair, k, document, text_field, skip_bad, tokenizer):
    """Show documents that hold both n-grams of a pair, with both marked (where they overlap, by one mark).

    A document is shown whole; of long ones, say chapters, --document paragraph or heading shows the part.
    """
    from taskgram_utils.counting.scan import ScanCounter

    cut = document, skip_bad, text_field
    if _is_index(corpus_or_index):
        counter = _index(corpus_or_index, *cut, tokenizer=tokenizer)
    else:
        require(not tokenizer, f"--tokenizer: for an index, and {corpus_or_index} is text")
        counter = ScanCounter(_corpus(corpus_or_index, *cut))
    found = counter.documents_with(*pair, k=k)
    if isinstance(counter, ScanCounter):
        read = counter.corpus.summary()
    else:
        read = f"{counter.documents:,} documents, as they were cut when the index was built"
    require(found, f'{corpus_or_index}: no document holds both "{pair[0]}" and "{pair[1]}", of {read}')
    if isinstance(counter, ScanCounter):
        first = f"the first {k} were found in " if len(found) == k else ""  # no more is read than is shown
        _report(counter.corpus, first)
    else:
        _complain(f"{corpus_or_index}: {read}")
    for number, text in enumerate(found, 1):
        click.secho(f"— {number} of {len(found)} shown —", dim=True)
        click.echo(_printable(_marked(text, pair)))


def _marked(text: str, ngrams: tuple[str, ...]) -> str:
    from taskgram_utils.counting.evidence import places

    out, at = [], 0
    for start, end in places(text, ngrams):
        out += [text[at:start], f"[{text[start:end]}]"]
        at = end
    return "".join([*out, text[at:]])


@main.command(epilog="Example: taskgram records --out records")
@click.option("--out", required=True, help="Folder for the files (24 MB); whole files that lie there are kept.")
@click.option("--set", "sets", multiple=True, help="Only this set: phases, naturalstories, arithmetic or crosscare.")
@click.option("--url", help="Server to ask in place of raw.githubusercontent.com, with the same paths.")
def records(out, sets, url):
    """Fetch what others published of real Pythia models and the real Pile, by commit, each file's sha256 checked."""
    from taskgram_utils.fetching import fetch

    require(out.strip(), "--out: no name given")
    require(not Path(out).exists() or Path(out).is_dir(), f"--out {out}: is a file; name a folder")
    _alone(Path(out) / ".lock", f"--out {out}")
    found = fetch(out, sets, url)
    for name, part in found.groupby("set", sort=False):
        licences = "; ".join(sorted(set(part["repo"] + " (" + part["licence"] + ")")))
        click.echo(f"{name}: {len(part)} files, {part['fetched'].sum()} of them fetched now, {licences}")


@main.command(epilog="Example: taskgram world --documents 40000 --out worlds/first")
@click.option("--out", required=True, help="New folder of the files.")
@click.option("--documents", type=int, help="Documents of the corpus.  [default: the miniature's]")
@click.option("--world", type=click.IntRange(min=0), default=1, show_default=True, help="Which draw.")
def world(out, documents, world):
    """Write a miniature world as files that any run can read: its corpus, the examples of four tasks, what is true of
    it (facts, true pairs), and word vectors made from the text of its twin world."""
    from taskgram_utils.miniature.files import write_world
    from taskgram_utils.miniature.world import FULL

    place = Path(out)
    require(out.strip(), "--out: no name given")
    require(not place.is_file() and not (place.is_dir() and any(place.iterdir())), f"--out {out}: is not empty")
    _alone(Path(f"{place}.lock"), f"--out {out}")
    written = write_world(place, FULL if documents is None else documents, world)
    click.echo("\n".join(f"{place / name}: {many:,} rows" for name, many in written.items()))


@main.command(epilog="Example: taskgram train --out suites/first --size smallest")
@click.option("--out", required=True, help="Folder of the suite; a killed training resumes there.")
@click.option("--size", "sizes", multiple=True, help="A size, smallest, or all; may be repeated.  [default: all]")
@click.option("--corpus", help="Train on this text of your own: file or folder.  [default: the miniature world]")
@document_option
@field_option
@click.option("--tokenizer", help="corpus: tokenizer file, such as Pythia's.  [default: one is trained on the text]")
@click.option("--epochs", type=click.IntRange(min=1), help="corpus: how often it is read.  [default: 2]")
@click.option("--documents", type=int, help="World: its size.  [default: the miniature's]")
@click.option("--world", type=click.IntRange(min=0), help="World: which draw.  [default: 1]")
@click.option("--twin", type=int, help="World: 0 is itself, others are its twins.  [default: 0]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True,
              help="Initial weights and order of the documents.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Sizes at a time, a thread each."
)
@click.option("--max-steps", type=click.IntRange(min=1), help="Stop early, for a trial.")
def train(out, sizes, corpus, document, text_field, tokenizer, epochs, documents, world, twin, seed, jobs, max_steps):
    """Train a suite of small GPT-NeoX models on a miniature world, or on a text of your own."""
    from taskgram_utils import training

    wanted = []
    for size in sizes or ["all"]:
        wanted += list(training.SIZES) if size == "all" else list(training.SIZES)[:1] if size == "smallest" else [size]
    wanted = list(dict.fromkeys(wanted))
    require(out.strip(), "--out: no name given")
    require(not Path(out).is_file(), f"--out {out}: is a file; name a folder")
    of_text = {"--document": document, "--text-field": text_field != "text", "--tokenizer": tokenizer,
               "--epochs": epochs}  # fmt: skip
    of_world = {"--documents": documents is not None, "--world": world is not None, "--twin": twin is not None}
    strange = ", ".join(name for name, value in (of_world if corpus else of_text).items() if value)
    require(not strange, f"{strange}: says nothing {'with' if corpus else 'without'} --corpus")
    if corpus:
        asked = _corpus(corpus, document, False, text_field)
        _outside(out, corpus)
        text = training.of_corpus(asked, seed, **({"epochs": epochs} if epochs else {}), tokenizer=tokenizer or "")
    else:
        from taskgram_utils.miniature.suite import of_world as worlds
        from taskgram_utils.miniature.world import FULL

        text = worlds(FULL if documents is None else documents, 1 if world is None else world, seed, twin or 0)
    _alone(Path(out) / ".lock", f"--out {out}")
    training.make_suite(Path(out), text, seed, wanted, jobs, max_steps)
    if corpus and asked.seen.documents:  # else what was read before was gone on with
        _report(asked)
    click.echo(f"{out}: {', '.join(wanted)} trained; the model card is {Path(out) / 'README.md'}")


parameter_option = click.option(
    "-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE",
    help="Set a parameter of the run, of every chapter that has it, or of one (chapter.name). VALUE is YAML 1.2, as "
    "in a run file: 500, null, '[0, 64]'. (papermill's own -p knows numbers, True, False, None and text; its -r "
    "text alone.)",
)  # fmt: skip


@main.command(epilog="Example: taskgram doctor pythia-pile")
@click.argument("run", required=False)
@parameter_option
def doctor(run, parameters):
    """Say what is installed and which runs can work here; of RUN also what it takes, and what it lacks.

    What a run of real text takes (disk, memory, hours, requests) is an estimate from rates that were measured.
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
        rows = list(checks.runs(but=opened.name if opened else "").itertuples())  # which is spoken of below
    except NoProject as error:
        rows = []
        click.echo(f"runs: {error}")
    for row in rows:
        click.echo(f"run {row.run:18} {row.state:20} {row.detail}")
    if opened:
        wanted = cost.needs(opened)
        if len(wanted):
            click.echo(f"\n{opened.name} takes about:")
        for row in wanted.to_dict("records"):
            click.echo(f"  {row['what']:28} {cost.rounded(row['amount']):>14} {row['unit']:3} {row['stands on']}")
        click.echo(f"\n{opened.name}: {checks.require_ready(opened)}")


@main.command("run", epilog="Example: taskgram run miniature -p kappa 2")
@click.argument("run", default="miniature")
@parameter_option
def run_command(run, parameters):
    """Execute every notebook of RUN."""
    from taskgram_utils import book
    from taskgram_utils.run import checks

    plan = book.plan(run, parameters)
    _alone(project_root() / "build" / "taskgram.lock", "build")
    checks.require_ready(plan.run)
    done = book.execute(plan)
    click.echo(f"executed: {', '.join(done) or 'nothing, all chapters are current'}")


@main.command("book", epilog="Example: taskgram book miniature -p 05_across_tasks.n 1")
@click.argument("run", default="miniature")
@parameter_option
@click.option("--strict", is_flag=True, help="Fail on any warning of the renderer.")
def book_command(run, parameters, strict):
    """Execute every notebook of RUN and render the book to build/book/html/index.html."""
    from taskgram_utils import book
    from taskgram_utils.run import checks

    plan = book.plan(run, parameters)
    _alone(project_root() / "build" / "taskgram.lock", "build")
    checks.require_ready(plan.run)
    click.echo(book.build(plan, strict))


if __name__ == "__main__":
    sys.exit(main())
