"""Mini-Pythia: what the suite of the miniature world reads, and what its model card says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from taskgram_utils import training
from taskgram_utils.miniature.world import World


def of_world(documents: int, world: int, seed: int, twin: int = 0) -> training.Text:
    """One draw of the miniature world as a text to train on; ``seed`` decides the order of the
    documents.

    The tokenizer is that of the world itself, twins included, so that an answer has the same tokens
    in all of them.
    """
    drawn = World(documents, world, twin)  # refuses a world that cannot be before a folder stands

    def tokenizer(out: Path) -> Path:
        texts = itertools.islice(World(documents, world).texts(0), 100_000)
        return training.train_tokenizer(texts, out)

    def stream(folder: Path, out: Path) -> int:
        return training.tokenize(drawn.texts(seed), folder, out)

    again = f"taskgram train --out DIR --documents {documents} --world {world} --seed {seed}"
    return training.Text(
        {"documents": documents, "world": world, "seed": seed, "twin": twin}, tokenizer, stream,
        f"Mini-Pythia, world {world}, seed {seed}" + (f", twin {twin}" if twin else ""),
        "GPT-NeoX models (the Pythia architecture) that have read one draw of the miniature world "
        "and nothing else: invented\npeople, towns and facts, an invented language, sums of two "
        "numbers. They know no real person and are good for nothing\nbut studying how a language "
        "model follows the counts of its corpus.",
        f"{documents:,} documents, each read once. Tokenizer: byte-level BPE, "
        f"{training.VOCABULARY:,} pieces",
        again + (f" --twin {twin}" if twin else ""),
    )


def make_suite(
    out: Path, documents: int, world: int, seed: int, twin: int = 0,
    sizes: Iterable[str] = training.SIZES, jobs: int = 2, max_steps: int | None = None,
) -> Path:
    """Train a suite on one world: :func:`taskgram_utils.training.make_suite` of :func:`of_world`.
    """
    text = of_world(documents, world, seed, twin)
    return training.make_suite(out, text, seed, sizes, jobs, max_steps)
