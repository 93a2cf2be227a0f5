"""Suites: GPT-NeoX models (the Pythia architecture) in several sizes that have read one text and
nothing else."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from taskgram_utils.cluster import end_with
from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import sha256_of
from taskgram_utils.progress import EVERY, Bar
from taskgram_utils.round_trip import lost

END = "<|endoftext|>"
VOCABULARY = 2_048
BATCH, CONTEXT, EPOCHS = 8, 128, 2
CHECKPOINT = 500
"""Steps between two checkpoints that a killed training resumes from."""
STEP_SHARES = (0.05, 0.15, 0.35, 0.65, 1.0)
"""Where in training a step is kept, as a share of all steps; only the last is annealed."""


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


@dataclass(frozen=True)
class Size:
    """A size of the suite: width, depth, width of a head, peak learning rate, arithmetic."""

    hidden: int
    layers: int
    head: int
    rate: float
    bf16: bool


SIZES = {
    "25k": Size(32, 2, 16, 1e-2, False),
    "100k": Size(64, 2, 16, 8e-3, False),
    "600k": Size(128, 3, 32, 4e-3, True),
    "3m": Size(256, 4, 32, 2e-3, True),
}
"""Named by their parameters without input embedding and output head."""


def train_tokenizer(
    texts: Iterable[str], out: Path, vocabulary: int = VOCABULARY, context: int = CONTEXT
) -> Path:
    """Train the suite's byte-level BPE (single digits, one special token) and save it as a
    tokenizer folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END],
                                  initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return keep_tokenizer(tokenizer, out, context)


def keep_tokenizer(tokenizer, out: Path, context: int = CONTEXT) -> Path:
    """Save a tokenizer of the tokenizers library as a folder that transformers can open."""
    from transformers import PreTrainedTokenizerFast

    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=context, **ends)
    wrapped.save_pretrained(out)
    return Path(out)


def tokenize(texts: Iterable[str], tokenizer_folder: Path, out: Path, block: int = 1 << 14) -> int:
    """Write all documents as one packed stream of uint16 ids, an end-of-text token after each;
    returns its length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(tokenizer_folder) / "tokenizer.json"))
    end, total, temporary = tokenizer.token_to_id(END), 0, Path(f"{out}.partial")
    texts = iter(Bar(texts, desc="tokens", unit="doc", disable=None))
    with temporary.open("wb") as f:
        while batch := list(itertools.islice(texts, block)):
            encoded = tokenizer.encode_batch(batch, add_special_tokens=False)
            ids = np.array([i for one in encoded for i in (*one.ids, end)], "<u2")
            ids.tofile(f)
            total += len(ids)
    os.replace(temporary, out)
    return total


def new_model(
    size: str, seed: int, vocabulary: int = VOCABULARY, context: int = CONTEXT, end: int = 0
):
    """A freshly initialised GPT-NeoX of one of :data:`SIZES`; the seed decides its weights, ``end``
    ends a text."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    require(size in SIZES, f"size {size}: not one of {', '.join(SIZES)}")
    shape = SIZES[size]
    torch.manual_seed(seed)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
            num_attention_heads=shape.hidden // shape.head, intermediate_size=4 * shape.hidden,
            max_position_embeddings=context, rope_parameters={
                "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
            use_parallel_residual=True, initializer_range=0.05, tie_word_embeddings=False,
            bos_token_id=end, eos_token_id=end,
        )
    )


def schedule(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: linear warm-up over 2%, cosine down to 5% of the peak."""
    warm = max(1, steps // 50)
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    size: str, stream: Path, tokenizer_folder: Path, out: Path, seed: int,
    max_steps: int | None = None, batch: int = BATCH, context: int = CONTEXT,
    vocabulary: int = VOCABULARY,
) -> Path:
    """Train one size on a packed stream, every token of it once, and keep the steps of
    :data:`STEP_SHARES`.

    ``out`` receives ``step<N>/`` (bf16 safetensors, config, tokenizer), ``loss.csv`` and
    ``training.json``. A killed training resumes from its last checkpoint (every :data:`CHECKPOINT`
    steps); a finished one returns at once. All sizes read the same tokens in the same order. Raises
    InputError where the stream holds less than one batch.
    """
    import torch
    from safetensors.torch import load_file, save_file

    out, stream = Path(out), Path(stream)
    if (out / "training.json").exists():
        return out
    require(stream.exists(), f"{stream}: no packed stream of tokens (taskgram train makes it)")
    ids = np.memmap(stream, "<u2", "r")
    steps = (len(ids) - 1) // (batch * context)
    require(steps >= 1, f"{stream}: {len(ids)} tokens are less than one batch of {batch * context}")
    steps = min(steps, max_steps or steps)
    kept = {max(1, round(share * steps)) for share in STEP_SHARES}

    model = new_model(size, seed, vocabulary, context, _end_of(tokenizer_folder))
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
        lr=SIZES[size].rate, betas=(0.9, 0.95), eps=1e-9, fused=True,
    )
    out.mkdir(parents=True, exist_ok=True)
    resume, first, curve, spent = out / "resume", 0, [], 0.0
    if (resume / "state.json").exists():
        state = json.loads((resume / "state.json").read_text())
        first, curve, spent = state["step"], state["curve"], state["seconds"]
        tensors = load_file(resume / "state.safetensors")
        model.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("m.")})
        for i, p in enumerate((*decay, *rest)):
            optimizer.state[p] = {k: tensors[f"{k}.{i}"] for k in ("exp_avg", "exp_avg_sq", "step")}

    def checkpoint(step: int) -> None:
        tensors = {f"m.{k}": v.contiguous() for k, v in model.state_dict().items()}
        for i, p in enumerate((*decay, *rest)):
            tensors |= {f"{k}.{i}": v.contiguous() for k, v in optimizer.state[p].items()}
        fresh = out / "resume.partial"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        save_file(tensors, fresh / "state.safetensors")
        state = {"step": step, "curve": curve, "seconds": spent + time.monotonic() - began}
        (fresh / "state.json").write_text(json.dumps(state))
        shutil.rmtree(resume, ignore_errors=True)
        fresh.rename(resume)

    began, losses = time.monotonic(), []
    bar = Bar(range(first, steps), initial=first, total=steps, desc=f"train {size}", unit="step",
              disable=None)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, steps, SIZES[size].rate)
        at = step * batch * context
        window = torch.from_numpy(ids[at : at + batch * context + 1].astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=SIZES[size].bf16):
            logits = model(input_ids=window[:-1].view(batch, context), use_cache=False).logits
        logits = logits.view(-1, logits.shape[-1]).float()
        loss = torch.nn.functional.cross_entropy(logits, window[1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            curve.append([step + 1, round(sum(losses) / len(losses), 4)])
            bar.set_postfix(loss=curve[-1][1])
            losses = []
        if step + 1 in kept:
            save(model, tokenizer_folder, out / f"step{step + 1}")
        if (step + 1) % CHECKPOINT == 0 and step + 1 < steps:
            checkpoint(step + 1)
    last = curve[-1][1]
    diverged = f"training of {size} diverged (loss {last}): nothing was finished in {out}"
    require(math.isfinite(last), diverged)
    (out / "loss.csv").write_text("step,loss\n" + "".join(f"{s},{v}\n" for s, v in curve))
    (out / "training.json").write_text(json.dumps({
        "size": size, **asdict(SIZES[size]), "seed": seed, "steps": steps,
        "tokens": steps * batch * context, "kept": sorted(kept), "parameters": non_embedding(model),
        "all_parameters": sum(p.numel() for p in model.parameters()), "loss": last,
        "seconds": round(spent + time.monotonic() - began), "torch": torch.__version__,
        "python": platform.python_version(),
    }, indent=1) + "\n")
    shutil.rmtree(resume, ignore_errors=True)
    return out


def non_embedding(model) -> int:
    """Parameters without the input embedding and the output head."""
    outer = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    return sum(p.numel() for p in model.parameters() if id(p) not in outer)


def save(model, tokenizer_folder: Path, out: Path) -> None:
    """Save a model as bf16 safetensors with its tokenizer, written beside and renamed."""
    import torch
    from safetensors.torch import save_file

    fresh = Path(f"{out}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(fresh)
    # Weights are written for their owner alone, unlike the configuration.
    shutil.copymode(fresh / "config.json", fresh / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (Path(tokenizer_folder) / name).exists():
            shutil.copy(Path(tokenizer_folder) / name, fresh / name)
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


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
    card = dict(text.card) | shape | ({"max_steps": max_steps} if max_steps else {})
    foreign = (out / "README.md").exists() and not (out / "card.json").exists()
    require(not foreign, f"{out}: holds a README.md of its own, not a suite's; choose another")
    known = shape | read_card(out) if (out / "card.json").exists() else card
    require(
        {k: known.get(k) for k in (*card, "max_steps")} == {"max_steps": None} | card,
        f"{out}: holds a suite of another text or seed ({known}); choose another folder",
    )
    if "tokens" not in known:
        folder = text.tokenizer(out / "tokenizer")
        card["tokens"] = text.stream(folder, out / "stream.bin")
        least = text.batch * text.context + 1
        if card["tokens"] < least:
            shutil.rmtree(out / "tokenizer")
            (out / "stream.bin").unlink()
            few = f"{card['tokens']:,} tokens, and one step takes {least:,}"
            raise InputError(f"{text.title}: {few}; give more text")
        card["stream_sha256"] = sha256_of(out / "stream.bin")
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


def of_corpus(
    corpus: Corpus, seed: int, epochs: int = EPOCHS, tokenizer: str | Path = "",
    vocabulary: int = 8_192, batch: int = 4, context: int = 512,
) -> Text:
    """A corpus as a text to train on: ``epochs`` times over, its documents in another order each
    time.

    ``tokenizer``: a tokenizer file (``tokenizer.json``; Pythia's is ``20B_tokenizer.json``) of at
    most 65,536 pieces with the piece <|endoftext|>; without one a byte-level BPE of ``vocabulary``
    pieces is trained on the first 100,000 documents.

    Raises InputError for a tokenizer that cannot be read, has too many pieces or no end of text,
    and for no epoch.
    """
    require(epochs >= 1, f"epochs {epochs}: a text is read at least once")
    given = _tokenizer_file(Path(tokenizer)) if tokenizer else None
    if given:
        vocabulary = -(-given.get_vocab_size() // 128) * 128

    def make(out: Path) -> Path:
        if given:
            return keep_tokenizer(given, out, context)
        return train_tokenizer(itertools.islice(corpus, 100_000), out, vocabulary, context)

    def stream(folder: Path, out: Path) -> int:
        once = out.with_name("once.bin")
        tokenize(corpus, folder, once)
        total = _shuffled(once, out, folder, epochs, seed)
        once.unlink()
        return total

    name, pieces = corpus.path.name, f"trained on the text, at most {vocabulary:,} pieces"
    again = f"taskgram train --corpus {name}"
    again += f" --document {corpus.document}" if corpus.document else ""
    again += f" --epochs {epochs} --seed {seed} --out DIR"
    if given:
        pieces = f"of {Path(tokenizer).name}"
        again += f" --tokenizer {Path(tokenizer).name}"
    card = {"corpus": name, "fingerprint": corpus.fingerprint(), "document": corpus.document,
            "epochs": epochs, "seed": seed, "vocabulary": vocabulary,
            "tokenizer": sha256_of(Path(tokenizer)) if tokenizer else "trained on the text"}
    return Text(
        card, make, stream, f"A suite that has read {name}, seed {seed}",
        "GPT-NeoX models (the Pythia architecture) that have read one small text and nothing else. "
        "They are good for\nnothing but studying how a language model follows the counts of its "
        "corpus, and may say what that text says.",
        f"{corpus.source}, read {epochs} times, its documents shuffled each time. Tokenizer: "
        f"byte-level BPE {pieces}", again, batch, context, vocabulary, "as the text",
    )


def _tokenizer_file(path: Path):
    from tokenizers import Tokenizer

    require(path.is_file(), f"tokenizer {path}: no such file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        why = " ".join(str(error).split())[:120]
        raise InputError(f"tokenizer {path}: no tokenizer file ({why})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    pieces = tokenizer.get_vocab_size()
    most = f"{pieces:,} pieces, and a stream holds at most {1 << 16:,}"
    require(pieces <= 1 << 16, f"tokenizer {path}: {most}")
    require(tokenizer.token_to_id(END) is not None, f"tokenizer {path}: has no piece {END}")
    changed = lost(tokenizer)
    advice = "take one of bytes, such as Pythia's"
    require(not changed, f"tokenizer {path}: loses text: {changed}; {advice}")
    return tokenizer


def _shuffled(once: Path, out: Path, tokenizer_folder: Path, epochs: int, seed: int) -> int:
    """Write the documents of a stream ``epochs`` times, each time in another order; returns the
    tokens written."""
    end, ids = _end_of(tokenizer_folder), np.memmap(once, "<u2", "r")
    ends = np.concatenate([start + 1 + np.flatnonzero(ids[start : start + (1 << 24)] == end)
                           for start in range(0, len(ids), 1 << 24)])
    begins, fresh = np.r_[0, ends[:-1]], Path(f"{out}.partial")
    with fresh.open("wb") as f:
        for epoch in range(epochs):
            for i in np.random.default_rng((seed, epoch)).permutation(len(ends)):
                ids[begins[i] : ends[i]].tofile(f)
    os.replace(fresh, out)
    return epochs * len(ids)


def _end_of(tokenizer_folder: Path) -> int:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(Path(tokenizer_folder) / "tokenizer.json")).token_to_id(END)


def _apart(out: Path, text: Text, size: str, seed: int, max_steps: int | None) -> subprocess.Popen:
    """Train a size in a process of its own, which ends when this one dies."""
    options = {"size": size, "stream": str(out / "stream.bin"), "out": str(out / size),
               "tokenizer_folder": str(out / "tokenizer"), "seed": seed, "max_steps": max_steps,
               "batch": text.batch, "context": text.context, "vocabulary": text.vocabulary}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", __name__, str(os.getpid()), json.dumps(options)]
    return subprocess.Popen(command, env=os.environ | threads)


def _steps_there(folder: Path) -> list[str]:
    names = [path.name[4:] for path in folder.glob("step*")]
    return sorted((name for name in names if name.isdigit()), key=int)


def read_card(folder: Path) -> dict[str, Any]:
    """What a suite says of itself, ``card.json``; InputError where it is none."""
    with suppress(OSError, ValueError):
        if isinstance(said := json.loads((folder / "card.json").read_text(encoding="utf-8")), dict):
            return said
    raise InputError(f"{folder / 'card.json'}: cannot be read as what a suite says of itself")


def write_card(out: Path, text: Text) -> None:
    """Write the model card of a suite, ``README.md``, from what its trainings recorded."""
    card = read_card(out)
    trained = [json.loads(p.read_text()) for p in sorted(out.glob("*/training.json"))]
    trained.sort(key=lambda t: t["parameters"])
    columns = ["size", "parameters without embeddings (all)", "width, layers, head", "peak rate",
               "arithmetic", "steps", "tokens", "last loss", "minutes", "steps here"]
    rows = [columns, ["---"] * len(columns)]
    for t in trained:
        rows.append([
            t["size"], f"{t['parameters']:,} ({t['all_parameters']:,})",
            f"{t['hidden']}, {t['layers']}, {t['head']}", f"{t['rate']:g}",
            "bf16" if t["bf16"] else "fp32", f"{t['steps']:,}", f"{t['tokens']:,}",
            f"{t['loss']:.3f}", f"{t['seconds'] / 60:.1f}",
            ", ".join(_steps_there(out / t["size"])),
        ])
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


if __name__ == "__main__":
    from safetensors import SafetensorError

    end_with(int(sys.argv[1]))
    Bar.every = EVERY
    try:
        train(**json.loads(sys.argv[2]))
    except (InputError, OSError, SafetensorError) as error:  # such as a full disk
        sys.exit(f"taskgram: {' '.join(str(error).split()) or type(error).__name__}")
