"""Mini-Pythia: what the suite of the miniature world reads, and what its model card says of it."""

from functools import partial

from taskgram_utils.miniature.world import World
from taskgram_utils.suites import Text, tokenize, train_tokenizer
from taskgram_utils.training import VOCABULARY


def of_world(documents: int, world: int, seed: int, twin: int = 0) -> Text:
    """One draw of the miniature world as a text to train on; ``seed`` decides the order of the
    documents.

    The tokenizer is that of the world itself, twins included, so that an answer has the same tokens
    in all of them. Raises InputError for a world that cannot be.
    """
    drawn, itself = World(documents, world, twin), World(documents, world)
    stream = lambda folder, out: tokenize(drawn.texts(seed), folder, out)  # noqa: E731
    again = f"taskgram train --out DIR --documents {documents} --world {world} --seed {seed}"
    return Text(
        {"documents": documents, "world": world, "seed": seed, "twin": twin},
        partial(train_tokenizer, itself), stream,
        f"Mini-Pythia, world {world}, seed {seed}" + (f", twin {twin}" if twin else ""),
        "GPT-NeoX models (the Pythia architecture) that have read one draw of the miniature world "
        "and nothing else: invented\npeople, towns and facts, an invented language, sums of two "
        "numbers. They know no real person and are good for nothing\nbut studying how a language "
        "model follows the counts of its corpus.",
        f"{documents:,} documents, each read once. Tokenizer: byte-level BPE, "
        f"{VOCABULARY:,} pieces", again + (f" --twin {twin}" if twin else ""),
    )
