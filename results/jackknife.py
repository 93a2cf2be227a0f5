"""Do the book's intervals hold the truth? Simulated, recorded: python results/jackknife.py [--studies N] [--out DIR]

Points of known rank correlation that share examples and outputs, in designs of many kinds and in those of the
miniature world: which example and which output each point has is taken from there, the values are drawn. Per design
and true ρ the share of studies whose 95% interval holds ρ and the share that reject ρ = 0, for Spearman's ρ, for a
partial one and for a difference between two models. Writes jackknife.csv and jackknife.json beside this file.
"""

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.jackknife import Query, clusters_of, combined, interval, jackknife
from taskgram_utils.progress import Bar
from taskgram_utils.run.pipeline import open_run
from taskgram_utils.run.store import versions
from taskgram_utils.tables import write_table
from taskgram_utils.texts import write_text

HERE = Path(__file__).resolve().parent
RHO = (0.0, 0.3, 0.6)
# Examples, points of each, outputs (0: all distinct), offset of Zipf's law, shares of the variance that examples,
# outputs and points have.
MADE = {
    "300 examples of 6, 300 Zipf outputs": (300, 6, 300, 0, (1 / 3, 1 / 3, 1 / 3)),
    "300 of 6, 50 outputs, strong effects": (300, 6, 50, 0, (0.2, 0.6, 0.2)),
    "200 of 1, 12 outputs, strong effects": (200, 1, 12, 0, (0.3, 0.5, 0.2)),
    "40 of 6, 300 outputs": (40, 6, 300, 0, (1 / 3, 1 / 3, 1 / 3)),
    "15 of 6, all outputs distinct": (15, 6, 0, 0, (0.5, 0, 0.5)),
    "400 of 5, 8,000 outputs, light effects": (400, 5, 8000, 60, (0.2, 0.2, 0.6)),
    "400 of 5, 8,000 outputs, no effects": (400, 5, 8000, 60, (0, 0, 1)),
    "300 of 6, all outputs distinct": (300, 6, 0, 0, (0.4, 0, 0.6)),
    "300 of 6, two outputs hold 36%": (300, 6, 120, 0, (0.1, 0.7, 0.2)),
    "3,500 of 1, 287 outputs": (3500, 1, 287, 0, (0.3, 0.4, 0.3)),
}
THIRDS = (1 / 3, 1 / 3, 1 / 3)


def designs() -> dict[str, tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]:
    """Examples and outputs of the points by design, with the shares of the variance."""
    out = {}
    for name, (examples, each, outputs, offset, shares) in MADE.items():
        example, rng = np.repeat(np.arange(examples), each), np.random.default_rng(0)
        share = 1 / (np.arange(1, outputs + 1) + offset)
        if "36%" in name:
            share = np.r_[0.18, 0.18, 0.64 * share[:-2] / share[:-2].sum()]
        output = rng.choice(outputs, len(example), p=share / share.sum()) if outputs else np.arange(len(example))
        out[name] = (example, output, shares)
    lm = open_run("miniature").table("taskgram_lm").dropna(subset=["logp"])
    for (task, group, n), part in lm.groupby(["task", "group", "n"], sort=False):
        if part["n"].max() == lm.loc[(lm["task"] == task) & (lm["group"] == group), "n"].max() and len(part) > 100:
            codes = [np.unique(part[c], return_inverse=True)[1] for c in ("example_id", "sy")]
            out[f"{task}, {group}, n = {n}"] = (*codes, THIRDS)
    return out


def study(rng, example, output, shares, rho: float) -> np.ndarray:
    """Values [4, N]: a reference, a model whose Spearman with it is ``rho``, a second such model, and a control that
    has nothing to do with either."""
    r = 2 * np.sin(np.pi * rho / 6)
    values = np.zeros((4, len(example)))
    for share, codes in zip(shares, (example, output, np.arange(len(example))), strict=True):
        own = rng.normal(size=(4, codes.max() + 1))
        own[1:3] = r * own[0] + np.sqrt(1 - r * r) * own[1:3]
        values += np.sqrt(share) * own[:, codes]
    return values


def studies(name: str, example, output, shares, rho: float, number: int, tied: bool = False) -> list[dict]:
    """The rows of one design and one ρ: coverage and rejections of ``number`` studies. ``tied``: of values rounded, cut
    off below and skewed, which changes no rank but by ties; the truth is then that of a very large table."""
    held, rejected = np.zeros((2, 3))
    queries = [Query("spearman", 0, 1), Query("spearman", 0, 1, (3,)), Query("spearman", 0, 2)]
    names, truth = clusters_of(example, output, np.arange(len(example))), (rho, rho, 0.0)
    if tied:
        far = np.arange(2_000_000)
        big = _tied(study(np.random.default_rng(99), far, far, (0, 0, 1), rho)[:2])
        known = pd.DataFrame(big.T).rank().corr().iloc[0, 1]
        truth = (known, known, 0.0)
    for seed in range(number):
        values = study(np.random.default_rng([seed, int(rho * 10)]), example, output, shares, rho)
        raw, given, other = jackknife(_tied(values) if tied else values, queries, names)
        difference = raw.estimate - other.estimate
        found = [interval(raw.estimate, raw.changes), interval(given.estimate, given.changes),
                 interval(difference, combined([raw.changes, other.changes], (1, -1)), correlation=False)]  # fmt: skip
        held += [low <= known <= high for (low, high, _), known in zip(found, truth, strict=True)]
        rejected += [p < 0.05 for *_, p in found]
    kinds = ("spearman", "spearman given a control", "difference of two models")
    design = {"design": name, "points": len(example), "examples": example.max() + 1, "outputs": len(np.unique(output))}
    rows = zip(kinds, truth, held / number, rejected / number, strict=True)
    return [{**design, "statistic": kind, "truth": known, "studies": number, "covered": covered, "rejected": alarm}
            for kind, known, covered, alarm in rows]  # fmt: skip


def _tied(values: np.ndarray) -> np.ndarray:
    """A third at the floor, rounded to a tenth, skewed."""
    return np.exp(np.round(np.maximum(values, -0.43), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", default=HERE, type=Path)
    given = parser.parse_args()
    began, rows, every = time.monotonic(), [], designs()
    jobs = [(name, *design, rho) for name, design in every.items() for rho in RHO]
    jobs += [("300 of 6, ties, a third at the floor, skewed", *every[next(iter(MADE))], rho) for rho in RHO]
    for job in Bar(jobs, desc="designs", unit="design", disable=None):
        rows += studies(*job, given.studies, tied="ties" in job[0])
    table = pd.DataFrame(rows).round(4)
    write_table(table, given.out / "jackknife.csv")
    note = {
        "command": "python results/jackknife.py", "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began), "machine": f"{platform.machine()}, {platform.system()}",
        "versions": versions(),
        "sha256": {"jackknife.csv": hashlib.sha256((given.out / "jackknife.csv").read_bytes()).hexdigest()},
    }  # fmt: skip
    write_text(given.out / "jackknife.json", json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
