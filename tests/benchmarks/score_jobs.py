"""Jobs of scoring: real questions and worked solutions under models of Pythia's shapes, beside other ways to score."""

from __future__ import annotations

import csv
import json
import logging
import random
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from taskgram_utils.language_models import forward, neural, packing
from taskgram_utils.language_models.loading import LanguageModel
from taskgram_utils.ngrams import word_spans
from tests.benchmarks.harness import Job

# Pythia's shapes: hidden size, layers, heads, vocabulary (EleutherAI/pythia, models/*/*.yml; padded as published).
SHAPES = {
    "pythia-70m": (512, 6, 8, 50_304), "pythia-160m": (768, 12, 12, 50_304), "pythia-1.4b": (2048, 24, 16, 50_304),
    "pythia-12b": (5120, 36, 40, 50_688),
}  # fmt: skip
SHOTS = 5
TOLERANCE = 1e-5  # nats a token, of the same text under the same weights
ORDERS = (1, 2, 3)


def pythia(shape: str, tokenizer: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A model of one of Pythia's shapes with random weights (which take as long) and Pythia's own tokenizer."""
    hidden, layers, heads, vocabulary = SHAPES[shape]
    config = GPTNeoXConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, dtype=dtype,
        intermediate_size=4 * hidden, max_position_embeddings=2048, rotary_pct=0.25, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            network = GPTNeoXForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    end = "<|endoftext|>"
    words = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), eos_token=end, bos_token=end, unk_token=end)
    return LanguageModel(shape, None, network.eval(), words, 2048, words.eos_token_id)


def questions(data: Path, model: LanguageModel, many: int, shots: int = 0) -> pd.DataFrame:
    """MMLU questions, drawn once: x the question, after ``shots`` others of its subject (of four subjects, then).

    Only those are taken in which x ends in no space and its edge is one of the tokens', for every option: elsewhere
    lm-evaluation-harness scores other characters.
    """
    rows = []
    for file in sorted((data / "mmlu/test").glob("*.csv")):
        before = ""
        if shots:
            shown = _rows(data / "mmlu/dev" / file.name.replace("_test", "_dev"))[:shots]
            before = "".join(f"{q} {options['ABCD'.index(gold)]}\n\n" for q, *options, gold in shown)
        rows += [(before + q, options, "ABCD".index(gold)) for q, *options, gold in _rows(file)]
    if shots:  # few subjects, many questions of each, as they are asked
        subjects = random.Random(0).sample(sorted({x.rsplit("\n\n", 1)[0] for x, *_ in rows}), 4)
        rows = [row for row in rows if row[0].rsplit("\n\n", 1)[0] in subjects]
    random.Random(0).shuffle(rows)
    encode, table = model.tokenizer.backend_tokenizer.encode, []
    for x, texts, gold in rows:
        options, begin = [" " + text for text in texts], encode(x).ids
        if x == x.rstrip() and all(encode(x + o).ids[: len(begin)] == begin and o.strip() for o in options):
            table.append({"example_id": str(len(table)), "x": x, "y": options[gold], "options": options, "gold": gold})
        if len(table) == many:
            break
    return pd.DataFrame(table)


def _rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.reader(lines) if len(row) == 6]


def solutions(data: Path, many: int) -> pd.DataFrame:
    """GSM8K: x the question, y the worked solution without its calculator marks and last line."""
    rows = [json.loads(line) for line in (data / "gsm8k/test.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [re.sub(r"<<.*?>>", "", row["answer"].split("\n####")[0]) for row in rows]
    found = [{"example_id": str(k), "x": row["question"] + "\n", "y": text} for k, (row, text) in
             enumerate(zip(rows, texts, strict=True))]  # fmt: skip
    return pd.DataFrame(found[:many])


def ngrams(examples: pd.DataFrame) -> pd.DataFrame:
    """Every n-gram of every y, at its first occurrence, as a task-gram table has them."""
    rows = []
    for key, y in zip(examples["example_id"], examples["y"], strict=True):
        spans = word_spans(y)
        for n in ORDERS:
            for k in range(len(spans) - n + 1):
                run = spans[k : k + n]
                rows.append((key, n, " ".join(w.text for w in run), run[0].start, run[-1].end))
    table = pd.DataFrame(rows, columns=["example_id", "n", "sy", "start", "end"])
    return table.drop_duplicates(["example_id", "n", "sy"]).reset_index(drop=True)


def work(model: LanguageModel, examples: pd.DataFrame, options: bool) -> tuple[int, float]:
    """Tokens read, and the floating-point operations that their matrix products and logits cannot do without.

    Attention is left out, and what is read twice or padded counts once.
    """
    own = examples["options"] if options else [()] * len(examples)
    jobs = [packing.Job(k, x, y, list(o), ()) for k, x, y, o in
            zip(examples["example_id"], examples["x"], examples["y"], own, strict=True)]  # fmt: skip
    trees = packing.plan(jobs, model, False).trees
    groups = forward.prefixes(trees, forward._SHARED)
    read = sum(len(tree.ids) for tree in trees) - sum(shared * (len(members) - 1) for shared, members in groups)
    projected = sum(len({place for place, _ in tree.asked}) for tree in trees)
    head = model.network.get_output_embeddings().weight.numel()
    return read, 2.0 * (read * neural.parameters(model) + projected * head)


def batch_bytes(model: LanguageModel) -> int:
    """Memory that the largest batch takes, about: its tokens, and their logits (float32 beside its own on a GPU)."""
    kind = model.network.device.type
    logits = forward._LOGITS.get(kind, forward._LOGITS["cpu"]) * (model.network.dtype.itemsize + (kind == "cuda") * 4)
    return forward.token_budget(model) * forward.token_bytes(model) + logits


def matrix_peak(device: str, dtype: torch.dtype, quick: bool) -> float:
    """The machine's matrix products, operations a second: the best of several sizes and tries."""
    best = 0.0
    for size in (256,) if quick else (512, 1024, 2048) if device == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        for _ in range(3 if quick else 15):
            if device != "cpu":
                torch.cuda.synchronize()
            began = time.perf_counter()
            a @ b
            if device != "cpu":
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def harness_way(model: LanguageModel, examples: pd.DataFrame, batch: int) -> np.ndarray:
    """lm-evaluation-harness: its Hugging Face model class over the same network, a request for every option."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    try:
        own = {"pretrained": model.network, "tokenizer": model.tokenizer, "device": str(model.network.device)}
        peer = HFLM(**own, batch_size=batch)
        asked = [(x, o) for x, own in zip(examples["x"], examples["options"], strict=True) for o in own]
        requests = [Instance("loglikelihood", {}, pair, k) for k, pair in enumerate(asked)]
        return np.array([logp for logp, _ in peer.loglikelihood(requests, disable_tqdm=True)])
    finally:
        logging.disable(logging.NOTSET)


@torch.inference_mode()
def one_by_one(model: LanguageModel, examples: pd.DataFrame, points: pd.DataFrame) -> np.ndarray:
    """One forward pass for every n-gram, the text up to its end, all logits: how the paper's code scores."""
    rows = examples.set_index("example_id")
    out = []
    for key, start, end in zip(points["example_id"], points["start"], points["end"], strict=True):
        x, y = rows.loc[key, ["x", "y"]]
        found = model.tokenizer(x + y, return_offsets_mapping=True, add_special_tokens=False)
        held = [k for k, (a, b) in enumerate(found["offset_mapping"]) if a < len(x) + end and b > len(x) + start]
        ids = torch.tensor([found["input_ids"][: held[-1] + 1]])
        logp = model.network(input_ids=ids).logits.log_softmax(-1)[0]
        out.append(sum(float(logp[k - 1, ids[0, k]]) for k in held))
    return np.array(out)


def our_options(model: LanguageModel, examples: pd.DataFrame) -> np.ndarray:
    table = neural.score(examples, model, options=True)
    return table.loc[table["option"].notna(), "logp"].to_numpy()


def our_points(model: LanguageModel, examples: pd.DataFrame, points: pd.DataFrame) -> np.ndarray:
    table = neural.score(examples, model, points)
    return table.loc[table["n"].notna(), "logp"].to_numpy()


def close(tokens: np.ndarray, ours: np.ndarray, other: np.ndarray) -> float:
    """Share of log-probabilities that differ by no more than the tolerance a token."""
    return float(np.mean(np.abs(ours[: len(other)] - other) <= TOLERANCE * tokens[: len(other)]))


def jobs(model: LanguageModel, data: Path, quick: bool) -> Iterator[tuple[Job, float, int]]:
    """Jobs with the operations each needs and the tokens it reads."""
    many = 8 if quick else 250
    for name, shots in (("options", 0), ("options, 5-shot", SHOTS)):
        examples = questions(data, model, many // 12 + 2 if shots else many, shots)
        table = neural.score(examples, model, options=True)
        tokens = table.loc[table["option"].notna(), "tokens"].to_numpy()
        ways = {"ours": partial(our_options, model, examples)}
        for batch in (4, 8):  # which are its best here
            ways[f"lm-evaluation-harness, batches of {batch}"] = partial(harness_way, model, examples, batch)
        read, operations = work(model, examples, True)
        yield Job(name, len(tokens), "options", ways, partial(close, tokens)), operations, read
    examples = solutions(data, 4 if quick else 120)
    points = ngrams(examples)
    table = neural.score(examples, model, points)
    tokens, few = table.loc[table["n"].notna(), "tokens"].to_numpy(), points[: 20 if quick else 300]
    slow = "one forward pass for each n-gram"
    ways = {"ours": partial(our_points, model, examples, points), slow: partial(one_by_one, model, examples, few)}
    read, operations = work(model, examples, False)
    parts = {slow: len(few) / len(points)}
    job = Job("n-grams of solutions", len(points), "n-grams", ways, partial(close, tokens), (slow,), parts)
    yield job, operations, read
