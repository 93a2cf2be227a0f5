"""Models trained without some facts, recorded: python results/leave_out.py [--out DIR] [--jobs N]

The ground truth of influence. The 24 facts, the groups that are left out, sizes and seeds are those of book/
later_expectations.yaml. The documents of a group are replaced by filler of as many tokens. 36 trainings, some seven
minutes (100k) or sixteen (600k) of a core each, in DIR; a killed one resumes, a finished one is kept. Writes
leave_out.csv (a row for each size, seed, group and fact: its log P under the model without the group, and under the one
with all documents) and leave_out.json beside this file when all are trained.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from taskgram_chapters.cause import cells
from taskgram_utils import training
from taskgram_utils.language_models.loading import load
from taskgram_utils.language_models.neural import score
from taskgram_utils.miniature.draws import permuted
from taskgram_utils.miniature.suite import of_world
from taskgram_utils.miniature.world import FULL, World
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parent / "taskgram_utils" / "miniature" / "weights"
PLAN = yaml.safe_load((HERE.parent / "book" / "later_expectations.yaml").read_text(encoding="utf-8"))["leave_out"]
FOLDERS = {1: "main", 4: "reseed4"}
WORLD = 1
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def chosen(world: World) -> pd.DataFrame:
    """The facts: cells of the cause chapter with their documents, from the least to the most frequent."""
    table = cells([world])
    table = table[~table["disputed"]].assign(documents=lambda t: world.fact_count[t["fact"]])
    table = table.sort_values(["documents", "fact"])
    logs, kept = np.log(table["documents"].to_numpy()), []
    for target in np.linspace(logs[0], logs[-1], PLAN["facts"]):
        taken = table.iloc[kept]
        free = ~table["person"].isin(taken["person"]) & ~table["value"].isin(taken["value"])
        kept.append(int(np.argmin(np.where(free, np.abs(logs - target), np.inf))))
    return table.iloc[sorted(kept)].reset_index(drop=True)


def groups(size: str) -> np.ndarray:
    """The group of each fact [24]: facts far apart in count are left out together."""
    return np.arange(PLAN["facts"]) % PLAN["sizes"][size]


def without(world: World, seed: int, stream: np.ndarray, end: int, facts: np.ndarray, filler: np.ndarray) -> np.ndarray:
    """The packed stream with filler in place of the documents that state some facts."""
    order = permuted(world._key("order", seed), np.arange(world.documents), world.documents)
    stated = np.flatnonzero(order < world.sizes["statement"])
    fact = np.searchsorted(world._value_edges, order[stated], side="right") // 3
    ends = np.flatnonzero(stream == end)
    begins, stream, used = np.r_[0, ends[:-1] + 1], stream.copy(), 0
    for document in stated[np.isin(fact, facts)]:
        size = ends[document] - begins[document]
        stream[begins[document] : ends[document]] = np.take(filler, np.arange(used, used + size), mode="wrap")
        used += size
    return stream


def prepare(out: Path, world: World, seed: int) -> tuple[Path, int, np.ndarray]:
    """The tokenizer, its end of text, and ids of filler that no corpus has; the full stream is written beside."""
    from transformers import AutoTokenizer

    text, folder = of_world(FULL, WORLD, seed), out / "tokenizer"
    if not folder.exists():
        text.tokenizer(folder)
    if not (out / f"full-{seed}.bin").exists():
        text.stream(folder, out / f"full-{seed}.bin")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    filler = " ".join(world._filler(np.arange(10 * FULL, 10 * FULL + 20_000)))
    return folder, tokenizer.eos_token_id, np.array(tokenizer(filler)["input_ids"], "<u2")


def train(out: Path, world: World, facts: pd.DataFrame, size: str, seed: int, group: int) -> Path:
    folder = out / f"{size}-{seed}-{group}"
    if (folder / size / "training.json").exists():
        return folder / size
    tokenizer, end, filler = prepare(out, world, seed)
    full, stream = np.fromfile(out / f"full-{seed}.bin", "<u2"), folder / "stream.bin"
    folder.mkdir(exist_ok=True)
    if not stream.exists():
        left = facts["fact"].to_numpy()[groups(size) == group]
        without(world, seed, full, end, left, filler).tofile(folder / "stream.partial")
        (folder / "stream.partial").rename(stream)
    options = {"size": size, "stream": str(stream), "tokenizer_folder": str(tokenizer), "out": str(folder / size),
               "seed": seed}  # fmt: skip
    command = [sys.executable, "-m", training.__name__, str(os.getpid()), json.dumps(options)]
    subprocess.run(command, check=True, env=os.environ | ONE_THREAD)
    stream.unlink()
    steps = sorted((folder / size).glob("step*"), key=lambda path: int(path.name[4:]))
    for early in steps[:-1]:
        shutil.rmtree(early)
    return folder / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "leave_out")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, a thread each")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    began, world = time.monotonic(), World(FULL, WORLD)
    facts = chosen(world)
    trainings = [(size, seed, group) for size, parts in PLAN["sizes"].items() for group in range(parts)
                 for seed in PLAN["seeds"]]  # fmt: skip
    for seed in PLAN["seeds"]:
        prepare(options.out, world, seed)
    with ThreadPoolExecutor(options.jobs) as pool:
        folders = list(pool.map(lambda one: train(options.out, world, facts, *one), trainings))
    rows = []
    for (size, seed, group), folder in zip(trainings, folders, strict=True):
        full = load(SHIPPED / FOLDERS[seed] / size, dtype="float32", device="cpu")
        less = load(folder, dtype="float32", device="cpu")
        logp = {name: score(facts, model).set_index("example_id")["logp"].reindex(facts["example_id"]).to_numpy()
                for name, model in (("logp_full", full), ("logp_without", less))}  # fmt: skip
        rows.append(facts[["fact", "value", "documents"]].assign(
            size=size, seed=seed, group=group, left_out=groups(size) == group, **logp))  # fmt: skip
    path = HERE / "leave_out.csv"
    write_table(pd.concat(rows, ignore_index=True), path)
    note = {
        "command": "python results/leave_out.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(), "world": WORLD, "seeds": PLAN["seeds"], "groups": PLAN["sizes"],
        "training_seconds": {f"{s}-{e}-{g}": json.loads((f / "training.json").read_text())["seconds"]
                             for (s, e, g), f in zip(trainings, folders, strict=True)},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(HERE / "leave_out.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
