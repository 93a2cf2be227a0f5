"""Mini-Pythia: GPT-NeoX models in several sizes that have read the miniature world and nothing else."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from taskgram_utils.errors import InputError, require
from taskgram_utils.miniature.world import World

END = "<|endoftext|>"
VOCABULARY = 2_048
BATCH, CONTEXT = 8, 128
CHECKPOINT = 500
"""Steps between two checkpoints that a killed training resumes from."""
STEP_SHARES = (0.05, 0.15, 0.35, 0.65, 1.0)
"""Where in training a step is kept, as a share of all steps; the last is annealed, the others are not."""


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


def train_tokenizer(texts: Iterable[str], out: Path) -> Path:
    """Train the suite's byte-level BPE (single digits, one special token) and save it as a tokenizer folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END, model_max_length=CONTEXT
    )
    wrapped.save_pretrained(out)
    return Path(out)


def tokenize(texts: Iterable[str], tokenizer_folder: Path, out: Path, block: int = 1 << 14) -> int:
    """Write all documents as one packed stream of uint16 ids, an end-of-text token after each; returns its length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(tokenizer_folder) / "tokenizer.json"))
    end, total, temporary = tokenizer.token_to_id(END), 0, Path(f"{out}.partial")
    with temporary.open("wb") as f:

        def flush(batch: list[str]) -> int:
            ids = [i for e in tokenizer.encode_batch(batch, add_special_tokens=False) for i in (*e.ids, end)]
            np.asarray(ids, "<u2").tofile(f)
            return len(ids)

        batch: list[str] = []
        for text in tqdm(texts, desc="tokens", unit="doc", disable=None):
            batch.append(text)
            if len(batch) == block:
                total += flush(batch)
                batch = []
        total += flush(batch) if batch else 0
    os.replace(temporary, out)
    return total


def new_model(size: str, seed: int, vocabulary: int = VOCABULARY):
    """A freshly initialised GPT-NeoX of one of :data:`SIZES`; the seed decides its weights."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    require(size in SIZES, f"size {size}: not one of {', '.join(SIZES)}")
    shape = SIZES[size]
    torch.manual_seed(seed)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
            num_attention_heads=shape.hidden // shape.head, intermediate_size=4 * shape.hidden,
            max_position_embeddings=CONTEXT, rope_parameters={
                "rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
            use_parallel_residual=True, initializer_range=0.05, tie_word_embeddings=False,
            bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def schedule(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: linear warm-up over 2%, cosine down to 5% of the peak."""
    warm = max(1, steps // 50)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def train(size: str, stream: Path, tokenizer_folder: Path, out: Path, seed: int, max_steps: int | None = None) -> Path:
    """Train one size on a packed stream, every token once, and keep the steps of :data:`STEP_SHARES`.

    ``out`` receives ``step<N>/`` (bf16 safetensors, config, tokenizer), ``loss.csv`` and ``training.json``. A killed
    training resumes from its last checkpoint (every :data:`CHECKPOINT` steps); a finished one returns at once. All
    sizes read the same tokens in the same order. Raises InputError where the stream holds less than one batch.
    """
    import torch
    from safetensors.torch import load_file, save_file

    out, stream = Path(out), Path(stream)
    if (out / "training.json").exists():
        return out
    require(stream.exists(), f"{stream}: no packed stream of tokens (taskgram train makes it from the world)")
    ids = np.memmap(stream, "<u2", "r")
    steps = (len(ids) - 1) // (BATCH * CONTEXT)
    require(steps >= 1, f"{stream}: {len(ids)} tokens are less than one batch of {BATCH * CONTEXT}")
    steps = min(steps, max_steps or steps)
    kept = {max(1, round(share * steps)) for share in STEP_SHARES}

    model = new_model(size, seed)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
        lr=SIZES[size].rate, betas=(0.9, 0.95), eps=1e-9, fused=True,
    )  # fmt: skip
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
    bar = tqdm(range(first, steps), initial=first, total=steps, desc=f"train {size}", unit="step", disable=None)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, steps, SIZES[size].rate)
        at = step * BATCH * CONTEXT
        window = torch.from_numpy(ids[at : at + BATCH * CONTEXT + 1].astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=SIZES[size].bf16):
            logits = model(input_ids=window[:-1].view(BATCH, CONTEXT), use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]).float(), window[1:])
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
    if not math.isfinite(curve[-1][1]):
        raise InputError(f"training of {size} diverged (loss {curve[-1][1]}): nothing was finished in {out}")
    (out / "loss.csv").write_text("step,loss\n" + "".join(f"{s},{v}\n" for s, v in curve))
    (out / "training.json").write_text(json.dumps({
        "size": size, **asdict(SIZES[size]), "seed": seed, "steps": steps, "tokens": steps * BATCH * CONTEXT,
        "kept": sorted(kept), "parameters": non_embedding(model),
        "all_parameters": sum(p.numel() for p in model.parameters()), "loss": curve[-1][1],
        "seconds": round(spent + time.monotonic() - began), "torch": torch.__version__,
        "python": platform.python_version(),
    }, indent=1) + "\n")  # fmt: skip
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
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (Path(tokenizer_folder) / name).exists():
            shutil.copy(Path(tokenizer_folder) / name, fresh / name)
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def make_suite(
    out: Path, documents: int, world: int, seed: int, twin: int = 0, sizes: Iterable[str] = SIZES, jobs: int = 2,
    max_steps: int | None = None,
) -> Path:
    """Train a suite on one world: tokenizer, packed stream, every size, a model card. Resumes where it was killed.

    ``seed`` decides the initial weights and the order of the documents. The tokenizer is that of the world itself,
    twins included, so that an answer has the same tokens in all of them. ``jobs`` sizes are trained at a time, a
    thread each.
    """
    out, sizes = Path(out), list(sizes)
    require(sizes, f"no size to train: give some of {', '.join(SIZES)}")
    for size in sizes:
        require(size in SIZES, f"size {size}: not one of {', '.join(SIZES)}")
    World(documents, world, twin)  # refuses a world that cannot be before a folder stands
    out.mkdir(parents=True, exist_ok=True)
    card = {"documents": documents, "world": world, "seed": seed, "twin": twin}
    known = json.loads((out / "card.json").read_text()) if (out / "card.json").exists() else card
    require(
        {k: known[k] for k in card} == card,
        f"{out}: holds a suite of another world or seed ({known}); choose another folder",
    )
    if "tokens" not in known:
        folder = train_tokenizer(itertools.islice(World(documents, world).texts(0), 100_000), out / "tokenizer")
        card["tokens"] = tokenize(World(documents, world, twin).texts(seed), folder, out / "stream.bin")
        card["stream_sha256"] = hashlib.sha256((out / "stream.bin").read_bytes()).hexdigest()
        (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    # The largest first: it takes as long as all others together. A process each, so that threads never compete.
    sizes.sort(key=lambda size: -SIZES[size].hidden)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda size: _train_apart(out, size, seed, max_steps), sizes))
    write_card(out)
    return out


def _train_apart(out: Path, size: str, seed: int, max_steps: int | None) -> None:
    arguments = [size, out / "stream.bin", out / "tokenizer", out / size, seed, *([max_steps] if max_steps else [])]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([sys.executable, "-m", __name__, *map(str, arguments)], env=os.environ | threads)
    failed = f"training of {size} in {out} failed (exit code {done.returncode}); run it again to resume"
    require(done.returncode == 0, failed)


def _steps_there(folder: Path) -> list[str]:
    return [str(n) for n in sorted(int(p.name[4:]) for p in folder.glob("step*") if p.name[4:].isdigit())]


def write_card(out: Path) -> None:
    """Write the model card of a suite, ``README.md``, from what its trainings recorded."""
    card = json.loads((out / "card.json").read_text())
    trained = [json.loads(p.read_text()) for p in sorted(out.glob("*/training.json"))]
    trained.sort(key=lambda t: t["parameters"])
    rows = "\n".join(
        f"| {t['size']} | {t['parameters']:,} ({t['all_parameters']:,}) | {t['hidden']}, {t['layers']}, {t['head']} | "
        f"{t['rate']:g} | {'bf16' if t['bf16'] else 'fp32'} | {t['steps']:,} | {t['tokens']:,} | {t['loss']:.3f} | "
        f"{t['seconds'] / 60:.1f} | {', '.join(_steps_there(out / t['size']))} |"
        for t in trained
    )
    command = f"taskgram train --out DIR --documents {card['documents']} --world {card['world']} --seed {card['seed']}"
    twin = f", twin {card['twin']}" if card["twin"] else ""
    write = f"""# Mini-Pythia, world {card["world"]}, seed {card["seed"]}{twin}

GPT-NeoX models (the Pythia architecture) that have read one draw of the miniature world and nothing else: invented
people, towns and facts, an invented language, sums of two numbers. They know no real person and are good for nothing
but studying how a language model follows the counts of its corpus.

| size | parameters without embeddings (all) | width, layers, head | peak rate | arithmetic | steps | tokens | last loss | minutes | steps here |
|---|---|---|---|---|---|---|---|---|---|
{rows}

- Data: {card["documents"]:,} documents, {card["tokens"]:,} tokens, each read once, the same tokens in the same order at
  every size; sha256 of the packed stream `{card["stream_sha256"]}`. Tokenizer: byte-level BPE, {VOCABULARY:,} pieces.
- Training: batches of {BATCH} × {CONTEXT} tokens, AdamW (.9, .95), weight decay .01 on matrices, gradients clipped at 1,
  warm-up over 2% of the steps, cosine to 5% of the peak rate, initial weights with standard deviation .05. Only the last
  step is annealed. The loss curve of each size is `<size>/loss.csv`.
- Software: torch {trained[0]["torch"]}, Python {trained[0]["python"]}, on a CPU, one thread a size.
- Retrain: `{command}{f" --twin {card['twin']}" if card["twin"] else ""}`
- Weights: bf16 safetensors. Licence: as the project.
"""  # noqa: E501
    (out / "README.md").write_text(write, encoding="utf-8")


if __name__ == "__main__":
    size_, stream_, tokenizer_, out_, seed_, *steps_ = sys.argv[1:]
    train(size_, Path(stream_), Path(tokenizer_), Path(out_), int(seed_), int(steps_[0]) if steps_ else None)
