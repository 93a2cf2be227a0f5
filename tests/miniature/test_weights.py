"""The shipped suites: what their cards say, that they load, and that they are small enough to be cloned."""

import hashlib
import json

import pandas as pd
import pytest

from taskgram_utils.language_models import neural
from taskgram_utils.miniature.world import FULL
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.training import SIZES

WEIGHTS = PACKAGE / "miniature" / "weights"
SUITES = {"main": (1, 1, 0), "twin1": (1, 1, 1), "twin2": (1, 1, 2), "reseed": (1, 3, 0),
          "reseed4": (1, 4, 0), "reseed5": (1, 5, 0)}


def test_the_suites_are_the_shipped_ones_and_small():
    assert {p.name for p in WEIGHTS.iterdir()} == set(SUITES)
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*.safetensors")) <= 66e6


@pytest.mark.parametrize("name", SUITES)
def test_a_card_says_which_world_was_read_and_how_to_retrain(name):
    card = json.loads((WEIGHTS / name / "card.json").read_text())
    world, seed, twin = SUITES[name]
    assert (card["documents"], card["world"], card["seed"], card["twin"]) == (FULL, world, seed, twin)
    text = (WEIGHTS / name / "README.md").read_text(encoding="utf-8")
    command = f"taskgram train --out DIR --documents {FULL} --world {world} --seed {seed}"
    assert command + (f" --twin {twin}" if twin else "") in text and card["stream_sha256"] in text
    assert f"{card['tokens']:,} tokens" in text


def test_the_main_suite_spans_sizes_and_steps_on_the_same_tokens():
    training = [json.loads((WEIGHTS / "main" / size / "training.json").read_text()) for size in SIZES]
    sizes = [t["parameters"] for t in training]
    assert len(sizes) >= 4 and max(sizes) >= 50 * min(sizes)
    assert len({(t["seed"], t["steps"], t["tokens"]) for t in training}) == 1
    for size in SIZES:
        kept = [int(p.name[4:]) for p in (WEIGHTS / "main" / size).glob("step*")]
        assert len(kept) >= 4 and min(kept) < training[0]["steps"] / 10 and max(kept) == training[0]["steps"]
    losses = [pd.read_csv(WEIGHTS / "main" / size / "loss.csv")["loss"].iloc[-1] for size in SIZES]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("name", SUITES)
def test_all_suites_load_and_have_one_tokenizer(name):
    digests = {hashlib.sha256(p.read_bytes()).hexdigest() for p in WEIGHTS.rglob("tokenizer.json")}
    assert len(digests) == 1
    for folder in sorted((WEIGHTS / name).glob("*/step*")):
        said = json.loads((folder.parent / "training.json").read_text())
        model = neural.load(folder.parent, int(folder.name[4:]))
        assert neural.parameters(model) == said["parameters"] and said["seed"] == SUITES[name][1]
