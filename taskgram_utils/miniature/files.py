"""A miniature world as files that any run can read: corpus, examples, what is true, and word
vectors of its twin."""

from pathlib import Path

import pandas as pd

from taskgram_utils.embedding import train_embedding
from taskgram_utils.miniature.world import World
from taskgram_utils.tables import write_table
from taskgram_utils.tasks.base import registry, task

CORPUS, EXAMPLES, FACTS, TRUE_PAIRS, EMBEDDING = (
    "corpus.jsonl", "examples.jsonl", "facts.jsonl", "true_pairs.jsonl", "embedding")


def write_world(out: Path, documents: int, world: int) -> dict[str, int]:
    """Write one draw of the miniature world into a folder; returns how many documents, examples,
    ... each file holds.

    The documents, the examples of every task, the facts with the documents that state them, the
    pairs of words that carry each example, and word vectors made from the text of the twin world,
    which has the same facts in other numbers. Raises InputError for a world that cannot be.
    """
    drawn, out = World(documents, world), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tasks = [one for name in registry() if (one := task(name)).miniature]
    examples = {one.name: one.miniature(drawn) for one in tasks}
    pairs = [one.truth(drawn, examples[one.name]).assign(task=one.name) for one in tasks]
    tables = {
        EXAMPLES: pd.concat(examples.values(), ignore_index=True), FACTS: drawn.facts(),
        TRUE_PAIRS: pd.concat(pairs, ignore_index=True)[["task", "example_id", "sx", "sy"]],
    }
    drawn.write(out / CORPUS)
    train_embedding(World(documents, world, twin=1), out / EMBEDDING)
    written = {name: write_table(table, out / name) for name, table in tables.items()}
    return {CORPUS: documents} | written
