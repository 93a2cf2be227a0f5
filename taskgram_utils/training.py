"""Training: GPT-NeoX models (the Pythia architecture) of several sizes on one stream of tokens."""

import json
import math
import os
import platform
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from taskgram_utils.cluster import end_with
from taskgram_utils.errors import InputError, reason, require
from taskgram_utils.progress import EVERY, Bar

VOCABULARY = 2_048
BATCH, CONTEXT = 8, 128
CHECKPOINT = 500
"""Steps between two checkpoints that a killed training resumes from."""
STEP_SHARES = (0.05, 0.15, 0.35, 0.65, 1.0)
"""Where in training a step is kept, as a share of all steps; only the last is annealed."""


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


def new_model(
    size: str, seed: int, vocabulary: int = VOCABULARY, context: int = CONTEXT, end: int = 0
):
    """A freshly initialised GPT-NeoX of one of :data:`SIZES`; the seed decides its weights, ``end``
    ends a text."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    shape = SIZES[size]
    torch.manual_seed(seed)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}
    return GPTNeoXForCausalLM(GPTNeoXConfig(
        vocab_size=vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // shape.head, intermediate_size=4 * shape.hidden,
        max_position_embeddings=context, rope_parameters=rope, use_parallel_residual=True,
        initializer_range=0.05, tie_word_embeddings=False, bos_token_id=end, eos_token_id=end))


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
    InputError where the stream holds less than one batch, and for a loss that is not finite.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    from taskgram_utils.language_models.loading import non_embedding

    out, stream = Path(out), Path(stream)
    if (out / "training.json").exists():
        return out
    require(stream.exists(), f"{stream}: no packed stream of tokens (taskgram train makes it)")
    ids, tokens = np.memmap(stream, "<u2", "r"), batch * context  # of a step
    steps = (len(ids) - 1) // tokens
    require(steps >= 1, f"{stream}: {len(ids)} tokens are less than one batch of {tokens}")
    steps = min(steps, max_steps or steps)
    kept = {max(1, round(share * steps)) for share in STEP_SHARES}

    end = AutoTokenizer.from_pretrained(tokenizer_folder).eos_token_id
    shape, model = SIZES[size], new_model(size, seed, vocabulary, context, end)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}],
        lr=shape.rate, betas=(0.9, 0.95), eps=1e-9, fused=True)
    out.mkdir(parents=True, exist_ok=True)
    resume, first, curve, spent = out / "resume.safetensors", 0, [], 0.0
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    if resume.exists():
        with safe_open(resume, "pt") as file:
            first, curve, spent = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        model.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("m.")})
        for i, p in enumerate(ordered):
            optimizer.state[p] = {k: tensors[f"{k}.{i}"] for k in ("exp_avg", "exp_avg_sq", "step")}

    began, losses = time.monotonic(), []
    bar = Bar(range(first, steps), initial=first, total=steps, desc=f"train {size}", unit="step",
              disable=None)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, steps, shape.rate)
        window = torch.from_numpy(ids[step * tokens : (step + 1) * tokens + 1].astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=shape.bf16):
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
            tensors = {f"m.{k}": v.contiguous() for k, v in model.state_dict().items()}
            tensors |= {f"{k}.{i}": v.contiguous() for i, p in enumerate(ordered)
                        for k, v in optimizer.state[p].items()}
            state = json.dumps([step + 1, curve, spent + time.monotonic() - began])
            save_file(tensors, out / "resume.partial", metadata={"state": state})
            os.replace(out / "resume.partial", resume)
    last = curve[-1][1]
    diverged = f"training of {size} diverged (loss {last}): nothing was finished in {out}"
    require(math.isfinite(last), diverged)
    (out / "loss.csv").write_text("step,loss\n" + "".join(f"{s},{v}\n" for s, v in curve))
    (out / "training.json").write_text(json.dumps({
        "size": size, **asdict(shape), "seed": seed, "steps": steps, "tokens": steps * tokens,
        "kept": sorted(kept), "parameters": non_embedding(model),
        "all_parameters": sum(p.numel() for p in model.parameters()), "loss": last,
        "seconds": round(spent + time.monotonic() - began), "torch": torch.__version__,
        "python": platform.python_version(),
    }, indent=1) + "\n")
    resume.unlink(missing_ok=True)
    return out


def save(model, tokenizer_folder: Path, out: Path) -> None:
    """Save a model as bf16 safetensors with its tokenizer, written beside and renamed."""
    import torch
    from safetensors.torch import save_file

    partial = Path(f"{out}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(tokenizer_folder, partial)
    weights = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(partial)
    # Weights are written for their owner alone, unlike the configuration.
    shutil.copymode(partial / "config.json", partial / "model.safetensors")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


if __name__ == "__main__":
    from safetensors import SafetensorError

    end_with(int(sys.argv[1]))
    Bar.every = EVERY
    try:
        train(**json.loads(sys.argv[2]))
    except (InputError, OSError, SafetensorError) as error:  # such as a full disk
        sys.exit(f"taskgram: {reason(error)}")
