"""Runs over a small world whose one model has learnt nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from taskgram_utils import suites, training
from taskgram_utils.language_models.loading import non_embedding
from taskgram_utils.run.pipeline import RECIPES, open_world
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.run.store import Run


def runs(folder: Path, **parameters) -> Callable[..., Run]:
    """Opens runs over 2,000 documents by name, with the parameters given here and there replaced."""
    tiny = yaml.safe_load((PACKAGE.parent / "notebooks/runs/tiny.yaml").read_text())
    tiny |= {"documents": 2_000, "weights": str(folder / "weights"), "models": ["25k"], "ngram_sizes": [2]} | parameters

    def opened(name: str = "own", **changes) -> Run:
        return Run(name, tiny | changes, folder / name, RECIPES)

    suites.train_tokenizer(open_world(opened()), folder / "tokenizer")
    model = training.new_model("25k", 0)
    training.save(model, folder / "tokenizer", folder / "weights/25k/step0")
    said = {p: tiny[p] for p in ("documents", "world", "seed")}
    (folder / "weights/card.json").write_text(json.dumps(said))
    (folder / "weights/25k/training.json").write_text(json.dumps({"parameters": non_embedding(model)}))
    return opened
