"""Suites: models of several sizes that have read one text and nothing else, with a model card."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from taskgram_utils import training
from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import InputError, reason, require
from taskgram_utils.folders import sha256_of
from taskgram_utils.progress import Bar
from taskgram_utils.round_trip import lost
from taskgram_utils.training import BATCH, CONTEXT, SIZES, VOCABULARY

END = "<|endoftext|>"
EPOCHS = 2
SAMPLE = 100_000
"""Documents that a tokenizer is trained on, the first of a text."""


class Text(NamedTuple):
    """What a suite reads.

    ``card`` says which text it is and in which order: a folder that holds a suite of another card
    is refused. ``tokenizer(out)`` makes the tokenizer's folder; ``stream(tokenizer, out)`` writes
    all documents as packed ids of 16 bits, an end-of-text token after each, and returns how many;
    ``batch`` texts of ``context`` tokens are a step. ``title``, ``about`` and ``again`` (the
    command) are what the model card says of it.
    """

    card: dict[str, Any]
    tokenizer: Callable[[Path], Path]
    stream: Callable[[Path, Path], int]
    title: str
    about: str
    data: str
    again: str
    batch: int = BATCH
    context: int = CONTEXT
    vocabulary: int = VOCABULARY
    licence: str = "as the project"


# --- tokens --------------------------------------------------------------------------------------


def train_tokenizer(
    texts: Iterable[str], out: Path, vocabulary: int = VOCABULARY, context: int = CONTEXT
) -> Path:
    """Train the suite's byte-level BPE (single digits, one special token) on the first texts and
    save it as a tokenizer folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END],
                                  initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(itertools.islice(texts, SAMPLE), trainer)
    return save_tokenizer(tokenizer, out, context)


def save_tokenizer(tokenizer, out: Path, context: int = CONTEXT) -> Path:
    """Save a tokenizer of the tokenizers library as a folder that transformers can open."""
    from transformers import PreTrainedTokenizerFast

    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=context, **ends)
    wrapped.save_pretrained(out)
    return Path(out)


def tokenize(texts: Iterable[str], tokenizer_folder: Path, out: Path, block: int = 1 << 14) -> int:
    """Write all documents as one packed stream of uint16 ids, an end-of-text token after each;
    returns its length."""
    tokenizer, end = _opened(tokenizer_folder)
    total, unfinished = 0, Path(f"{out}.partial")
    texts = iter(Bar(texts, desc="tokens", unit="doc", disable=None))
    with unfinished.open("wb") as f:
        while batch := list(itertools.islice(texts, block)):
            encoded = tokenizer.encode_batch(batch, add_special_tokens=False)
            ids = np.array([i for one in encoded for i in (*one.ids, end)], "<u2")
            ids.tofile(f)
            total += len(ids)
    os.replace(unfinished, out)
    return total


def tokenize_shuffled(
    texts: Iterable[str], epochs: int, seed: int, tokenizer_folder: Path, out: Path
) -> int:
    """:func:`tokenize` of all documents ``epochs`` times over, each time in another order."""
    once, unfinished = out.with_name("once.bin"), Path(f"{out}.partial")
    tokenize(texts, tokenizer_folder, once)
    (_, end), ids = _opened(tokenizer_folder), np.memmap(once, "<u2", "r")
    ends = np.concatenate([start + 1 + np.flatnonzero(ids[start : start + (1 << 24)] == end)
                           for start in range(0, len(ids), 1 << 24)])
    begins = np.r_[0, ends[:-1]]
    with unfinished.open("wb") as f:
        for epoch in range(epochs):
            for i in np.random.default_rng((seed, epoch)).permutation(len(ends)):
                ids[begins[i] : ends[i]].tofile(f)
    os.replace(unfinished, out)
    once.unlink()
    return epochs * len(ids)


def _opened(tokenizer_folder: Path) -> tuple[Any, int]:
    """The tokenizer of a folder, and its end of text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(tokenizer_folder) / "tokenizer.json"))
    return tokenizer, tokenizer.token_to_id(END)


# --- a text of one's own -------------------------------------------------------------------------


def of_corpus(
    corpus: Corpus, seed: int, epochs: int = EPOCHS, tokenizer: str | Path = "",
    vocabulary: int = 8_192, batch: int = 4, context: int = 512,
) -> Text:
    """A corpus as a text to train on: ``epochs`` times over, its documents in another order each
    time.

    ``tokenizer``: a tokenizer file (``tokenizer.json``; Pythia's is ``20B_tokenizer.json``) of at
    most 65,536 pieces with the piece ``<|endoftext|>``; without one a byte-level BPE of
    ``vocabulary`` pieces is trained on the first 100,000 documents.

    Raises InputError for a tokenizer that cannot be read, has too many pieces or no end of text,
    and for no epoch.
    """
    require(epochs >= 1, f"epochs {epochs}: a text is read at least once")
    name, file = corpus.path.name, Path(tokenizer)
    again = f"taskgram train --corpus {name}"
    again += f" --document {corpus.document}" if corpus.document else ""
    again += f" --epochs {epochs} --seed {seed} --out DIR"
    if tokenizer:
        given = _read_tokenizer(file)
        vocabulary = -(-given.get_vocab_size() // 128) * 128
        make, pieces, source = save_tokenizer, f"of {file.name}", given
        again += f" --tokenizer {file.name}"
    else:
        make, source = partial(train_tokenizer, vocabulary=vocabulary), corpus
        pieces = f"trained on the text, at most {vocabulary:,} pieces"
    card = {"corpus": name, "fingerprint": corpus.fingerprint(), "document": corpus.document,
            "epochs": epochs, "seed": seed, "vocabulary": vocabulary,
            "tokenizer": sha256_of(file) if tokenizer else "trained on the text"}
    return Text(
        card, partial(make, source, context=context),
        partial(tokenize_shuffled, corpus, epochs, seed),
        f"A suite that has read {name}, seed {seed}",
        "GPT-NeoX models (the Pythia architecture) that have read one small text and nothing else. "
        "They are good for\nnothing but studying how a language model follows the counts of its "
        "corpus, and may say what that text says.",
        f"{corpus.source}, read {epochs} times, its documents shuffled each time. Tokenizer: "
        f"byte-level BPE {pieces}", again, batch, context, vocabulary, "as the text",
    )


def _read_tokenizer(path: Path):
    from tokenizers import Tokenizer

    require(path.is_file(), f"tokenizer {path}: no such file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"tokenizer {path}: no tokenizer file ({reason(error)})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pieces, changed = tokenizer.get_vocab_size(), lost(tokenizer)
    most = f"{pieces:,} pieces, and a stream holds at most {1 << 16:,}"
    require(pieces <= 1 << 16, f"tokenizer {path}: {most}")
    require(tokenizer.token_to_id(END) is not None, f"tokenizer {path}: has no piece {END}")
    advice = "take one of bytes, such as Pythia's"
    require(not changed, f"tokenizer {path}: loses text: {changed}; {advice}")
    return tokenizer


# --- the suite and its card ----------------------------------------------------------------------


def make_suite(
    out: Path, text: Text, seed: int, sizes: Iterable[str] = SIZES, jobs: int = 2,
    max_steps: int | None = None,
) -> Path:
    """Train a suite on one text: tokenizer, packed stream, every size, a model card. Resumes where
    it was killed.

    ``seed`` decides the initial weights. ``jobs`` sizes are trained at a time, a thread each.
    Raises InputError for an unknown size and for a folder that holds a suite of another text.
    """
    out, sizes = Path(out), list(sizes)
    require(sizes, f"no size to train: give some of {', '.join(SIZES)}")
    for size in sizes:
        require(size in SIZES, f"size {size}: not one of {', '.join(SIZES)}")
    out.mkdir(parents=True, exist_ok=True)
    shape = {"batch": text.batch, "context": text.context}
    card = text.card | shape | ({"max_steps": max_steps} if max_steps else {})
    if (out / "card.json").exists():
        known, wanted = shape | read_card(out), {"max_steps": None} | card
        same = all(known.get(name) == value for name, value in wanted.items())
        other = f"holds a suite of another text or seed ({known}); choose another folder"
        require(same, f"{out}: {other}")
    else:
        foreign = (out / "README.md").exists()
        require(not foreign, f"{out}: holds a README.md of its own, not a suite's; choose another")
        folder = text.tokenizer(out / "tokenizer")
        tokens, least = text.stream(folder, out / "stream.bin"), text.batch * text.context + 1
        if tokens < least:
            shutil.rmtree(folder)
            (out / "stream.bin").unlink()
            few = f"{tokens:,} tokens, and one step takes {least:,}; give more text"
            raise InputError(f"{text.title}: {few}")
        card |= {"tokens": tokens, "stream_sha256": sha256_of(out / "stream.bin")}
        (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    # The largest first: it takes as long as all others together. Each has its own process.
    sizes.sort(key=lambda size: -SIZES[size].hidden)
    running, failed = {}, []
    try:
        while sizes or running:
            while sizes and len(running) < jobs:
                size = sizes.pop(0)
                running[size] = _apart(out, text, size, seed, max_steps)
            time.sleep(0.1)
            for size in [size for size, process in running.items() if process.poll() is not None]:
                failed += [(size, code)] if (code := running.pop(size).returncode) else []
    finally:
        for process in running.values():
            process.kill()
    for size, code in failed:
        how = f"failed (exit code {code}); run it again to resume"
        raise InputError(f"training of {size} in {out} {how}")
    write_card(out, text)
    return out


def _apart(out: Path, text: Text, size: str, seed: int, max_steps: int | None) -> subprocess.Popen:
    """Train a size in a process of its own, which ends when this one dies."""
    options = {"size": size, "stream": str(out / "stream.bin"), "out": str(out / size),
               "tokenizer_folder": str(out / "tokenizer"), "seed": seed, "max_steps": max_steps,
               "batch": text.batch, "context": text.context, "vocabulary": text.vocabulary}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", training.__name__, str(os.getpid()), json.dumps(options)]
    return subprocess.Popen(command, env=os.environ | threads)


def read_card(folder: Path) -> dict[str, Any]:
    """What a suite says of itself, ``card.json``; InputError where it is none."""
    with suppress(OSError, ValueError):
        if isinstance(card := json.loads((folder / "card.json").read_text(encoding="utf-8")), dict):
            return card
    raise InputError(f"{folder / 'card.json'}: cannot be read as what a suite says of itself")


_COLUMNS = {
    "size": "{size}", "parameters without embeddings (all)": "{parameters:,} ({all_parameters:,})",
    "width, layers, head": "{hidden}, {layers}, {head}", "peak rate": "{rate:g}",
    "arithmetic": "{arithmetic}", "steps": "{steps:,}", "tokens": "{tokens:,}",
    "last loss": "{loss:.3f}", "minutes": "{minutes:.1f}", "steps here": "{here}",
}


def write_card(out: Path, text: Text) -> None:
    """Write the model card of a suite, ``README.md``, from what its trainings recorded."""
    from taskgram_utils.language_models.loading import steps_of

    card = read_card(out)
    trained = [json.loads(p.read_text()) for p in sorted(out.glob("*/training.json"))]
    rows = [_COLUMNS, ["---"] * len(_COLUMNS)]
    for record in sorted(trained, key=lambda record: record["parameters"]):
        more = {"arithmetic": "bf16" if record["bf16"] else "fp32",
                "minutes": record["seconds"] / 60,
                "here": ", ".join(map(str, steps_of(out / record["size"], needed=False)))}
        rows.append([column.format(**record, **more) for column in _COLUMNS.values()])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    write = f"""# {text.title}

{text.about}

{table}

- Data: {text.data}: {card["tokens"]:,} tokens, the same in the same order at every size; sha256 of
  the packed stream `{card["stream_sha256"]}`.
- Training: batches of {text.batch} × {text.context} tokens, AdamW (.9, .95), weight decay .01 on
  matrices, gradients clipped at 1, warm-up over 2% of the steps, cosine to 5% of the peak rate,
  initial weights with standard deviation .05. Only the last step is annealed. The loss curve of
  each size is `<size>/loss.csv`.
- Software: torch {trained[0]["torch"]}, Python {trained[0]["python"]}, on a CPU, one thread a size.
- Retrain: `{text.again}`
- Weights: bf16 safetensors. Licence: {text.licence}.
"""
    (out / "README.md").write_text(write, encoding="utf-8")
