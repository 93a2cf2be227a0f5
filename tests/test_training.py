"""Training: one that survives a kill bit by bit, and the weights that are kept."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from taskgram_utils import training
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.loading import non_embedding
from tests.small_suite import STEPS


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(made, out, **changes):
    folder, _ = made
    asked = {"size": "25k", "stream": folder / "stream.bin", "tokenizer_folder": folder / "tokenizer", "out": out,
             "seed": 3, "max_steps": STEPS} | changes  # fmt: skip
    return training.train(**asked)


# --- models and training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "parameters"), [("25k", 25_472), ("100k", 100_096)])
def test_parameters_without_embeddings(size, parameters):
    model, shape = training.new_model(size, 0), training.SIZES[size]
    assert non_embedding(model) == parameters
    everything = sum(p.numel() for p in model.parameters())
    assert everything == parameters + 2 * training.VOCABULARY * shape.hidden


def test_the_seed_decides_the_weights():
    one, same, other = (training.new_model("25k", seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not any(torch.equal(one[k], other[k]) for k in one if k.endswith("query_key_value.weight"))


def test_schedule_warms_up_and_falls_as_a_cosine():
    rates = np.array([training.schedule(s, 1_000, 2.0) for s in range(1_000)])
    np.testing.assert_allclose(rates[:20], 2.0 * np.arange(1, 21) / 20)
    assert rates.max() == rates[20] == 2.0 and (np.diff(rates[20:]) < 0).all()
    assert rates[510] == pytest.approx(2.0 * (0.05 + 0.95 / 2))
    assert rates[-1] == pytest.approx(0.1, rel=1e-3) and rates.min() > 0
    assert training.schedule(0, 1, 2.0) == 2.0


def test_a_killed_training_resumes_to_the_same_bits(made, tmp_path, monkeypatch):
    folder, _ = made
    schedule, save, kept = training.schedule, training.save, []

    def killed_at_step_7(step, steps, peak):
        if step == 7:
            raise KeyboardInterrupt
        return schedule(step, steps, peak)

    def save_and_keep(model, *where):
        kept.append({k: v.clone() for k, v in model.state_dict().items()})
        save(model, *where)

    monkeypatch.setattr(training, "CHECKPOINT", 5)
    monkeypatch.setattr(training, "save", save_and_keep)
    whole = train(made, tmp_path / "whole")
    monkeypatch.setattr(training, "schedule", killed_at_step_7)
    with pytest.raises(KeyboardInterrupt):
        train(made, tmp_path / "killed")
    with safe_open(tmp_path / "killed" / "resume.safetensors", "pt") as file:
        assert json.loads(file.metadata()["state"])[0] == 5
    assert not (tmp_path / "killed" / "training.json").exists()
    monkeypatch.setattr(training, "schedule", schedule)
    resumed = train(made, tmp_path / "killed")

    # fp32 weights after the last step: of the whole training and of the resumed one.
    assert all(torch.equal(kept[4][k], kept[-1][k]) for k in kept[4])
    for step in (1, 2, 4, 6, 10):
        expected = (whole / f"step{step}" / "model.safetensors").read_bytes()
        assert (resumed / f"step{step}" / "model.safetensors").read_bytes() == expected
        assert (folder / "25k" / f"step{step}" / "model.safetensors").read_bytes() == expected
    assert not [*resumed.glob("resume*"), *whole.glob("resume*")]


def test_weights_are_saved_as_bf16_of_the_trained_ones(made, tmp_path):
    model = training.new_model("25k", 0)
    training.save(model, made[0] / "tokenizer", tmp_path / "step1")
    saved = load_file(tmp_path / "step1" / "model.safetensors")
    assert {v.dtype for v in saved.values()} == {torch.bfloat16}
    assert all(torch.equal(saved[k], v.to(torch.bfloat16)) for k, v in model.state_dict().items())
    assert not (tmp_path / "step1.partial").exists()


def test_steps_never_exceed_the_stream(made, tmp_path):
    short = tmp_path / "short.bin"
    np.fromfile(made[0] / "stream.bin", "<u2")[: 2 * training.BATCH * training.CONTEXT + 1].tofile(short)
    out = train(made, tmp_path / "out", stream=short)
    assert json.loads((out / "training.json").read_text())["steps"] == 2


def test_unusable_streams_are_refused(made, tmp_path):
    with pytest.raises(InputError, match="no packed stream of tokens"):
        train(made, tmp_path / "out", stream=tmp_path / "none.bin")
    np.zeros(1_000, "<u2").tofile(tmp_path / "short.bin")
    with pytest.raises(InputError, match="1000 tokens are less than one batch of 1024"):
        train(made, tmp_path / "out", stream=tmp_path / "short.bin")


