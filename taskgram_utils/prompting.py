"""Prompt optimisation: rewrite an instruction towards, or away from, what the corpus says often."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Counter
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import LEAST, interval, mean, clusters_of
from taskgram_utils.ngrams import ngrams, normalize, size, word_spans
from taskgram_utils.progress import Bar

DIRECTIONS = {"memorization": 1, "generalization": -1}
"""What the prompt is optimised for, and the sign of the score that is to rise."""

_PARENTS = 4  # a proposal rewrites one of so many best prompts


class PromptScore:
    r"""Mean number of documents that hold a prompt's distinct n-grams (:eq:`eq-prompt`).

    :math:`|G_n(u)|^{-1}\sum_{s\in G_n(u)} C(s)`. Every n-gram is counted once, in batches, however
    many prompts hold it. An instruction that holds ``{x}`` is scored on the text before and after
    it: no n-gram reaches across the input.
    """

    def __init__(self, counter: Counter, n: int):
        documents = counter.unit == "documents"
        require(documents, f"prompt score: needs document counts, the counter gives {counter.unit}")
        self.n, self._counter, self._counts = n, counter, {}

    def grams(self, prompt: str) -> list[str]:
        """The distinct n-grams of a prompt, in order, as they are written."""
        distinct: dict[str, str] = {}
        for part in prompt.split("{x}"):
            for gram in ngrams(_as_written(part), self.n):
                distinct.setdefault(normalize(gram), gram)
        return list(distinct.values())

    def prepare(self, grams: Sequence[str]) -> None:
        """Count n-grams before scores need them: one pass over the corpus, not one a round."""
        if new := [gram for gram in dict.fromkeys(grams) if gram not in self._counts]:
            self._counts.update(zip(new, self._counter.count(new), strict=True))

    def __call__(self, prompts: Sequence[str]) -> np.ndarray:
        """float64 [prompts], documents. Raises InputError for a prompt of fewer than n words."""
        n_grams = [self.grams(prompt) for prompt in prompts]
        for prompt, some in zip(prompts, n_grams, strict=True):
            require(some, f"prompt score: no {self.n}-gram in the prompt {prompt!r}")
        self.prepare([gram for some in n_grams for gram in some])
        return np.array([np.mean([self._counts[gram] for gram in some]) for some in n_grams])


def _as_written(text: str) -> list[str]:
    """The words of a text as it writes them: a counter of pieces needs these."""
    return [text[w.start : w.end] for w in word_spans(text)]


class Fragments(NamedTuple):
    """Proposes prompts: swaps, adds, removes and replaces the fragments of one.

    ``pool``: sentences or clauses, each used at most once in a prompt; a prompt is some of them
    joined by spaces. ``bounds``: fewest and most words of a prompt.
    """

    pool: tuple[str, ...]
    bounds: tuple[int, int] = (3, 25)

    def reachable(self, n: int) -> list[str]:
        """Every n-gram that any joining of fragments can hold: all can be counted at once."""
        fragments = [_as_written(text) for text in self.pool]
        reached: dict[str, None] = {}
        waiting = [((), [])]  # the fragments of a joining, and its last n - 1 words
        while waiting:
            used, tail = waiting.pop()
            for i in set(range(len(fragments))) - set(used):
                joined = tail + fragments[i]
                reached |= dict.fromkeys(ngrams(joined, n))
                # A fragment of n - 1 words hides what stands before it.
                if n > 1 and (not used or len(fragments[i]) < n - 1):
                    waiting.append(((*used, i), joined[-(n - 1) :]))
        return list(reached)

    def parts(self, prompt: str) -> tuple[str, ...]:
        """The fragments of a prompt; InputError where it is not made of the pool's."""
        parts, rest = [], prompt
        while rest:
            fitting = [f for f in self.pool if f"{rest} ".startswith(f"{f} ")]
            require(fitting, f"prompt: {rest!r} is not made of the fragments of the pool")
            parts.append(max(fitting, key=len))
            rest = rest[len(parts[-1]) + 1 :]
        return tuple(parts)

    def __call__(
        self, tried: Sequence[str], proposals: int, rng: np.random.Generator
    ) -> list[str]:
        """New prompts, as many as ``proposals`` where so many are found, each one move away from
        one of the best that were tried: ``tried`` goes from the worst to the best."""
        parents = [self.parts(prompt) for prompt in tried[-_PARENTS:]]
        new: dict[str, None] = {}
        for _ in range(20 * proposals):  # some moves leave the bounds or repeat a prompt
            if len(new) == proposals:
                break
            prompt = " ".join(self._move(list(parents[rng.integers(len(parents))]), rng))
            if prompt not in tried and self.bounds[0] <= size(prompt) <= self.bounds[1]:
                new[prompt] = None
        return list(new)

    def _move(self, parts: list[str], rng: np.random.Generator) -> list[str]:
        """The fragments after one random move, where any is possible."""
        unused = [f for f in self.pool if f not in parts]
        moves = ["swap", "remove"] * (len(parts) > 1) + ["add", "replace"] * bool(unused)
        if not moves:
            return parts
        move, chosen = moves[rng.integers(len(moves))], rng.integers(len(parts))
        if move == "swap":
            other = (chosen + 1 + rng.integers(len(parts) - 1)) % len(parts)
            parts[chosen], parts[other] = parts[other], parts[chosen]
        elif move == "remove":
            del parts[chosen]
        elif move == "add":
            parts.insert(rng.integers(len(parts) + 1), unused[rng.integers(len(unused))])
        else:
            parts[chosen] = unused[rng.integers(len(unused))]
        return parts


def optimize(
    start: str, fragments: Fragments, score: PromptScore, rounds: int = 20, proposals: int = 8,
    seeds: Sequence[int] = (0, 1, 2),
) -> pd.DataFrame:
    """Rewrite ``start`` in rounds, in each direction and from each seed; all prompts tried.

    Round 0 is ``start``; in each later round the fragments propose rewrites of the best of what was
    tried, and these are scored. Returns the history: direction, seed, round, prompt, score
    (documents), best (whether the prompt is the best so far in its direction, the first of equals).

    Raises :class:`~taskgram_utils.errors.InputError` without a seed, a round or a proposal, and for
    a prompt too short to score.
    """
    least = min(len(seeds), rounds, proposals)
    require(least >= 1, "prompts: at least one seed, one round and one proposal are needed")
    score.prepare([*score.grams(start), *fragments.reachable(score.n)])
    runs = [(direction, seed) for direction in DIRECTIONS for seed in seeds]
    # Both directions of a seed draw from the same stream: they differ by direction, not by luck.
    rngs = {run: np.random.default_rng([run[1], 0]) for run in runs}
    first = float(score([start])[0])
    tried = {run: [(0, start, first)] for run in runs}
    for turn in Bar(range(1, rounds + 1), desc="prompts", unit="round", disable=None, leave=False):
        for run in runs:
            sign = DIRECTIONS[run[0]]
            ranked = sorted(reversed(tried[run]), key=lambda entry: sign * entry[2])
            prompts = fragments([prompt for _, prompt, _ in ranked], proposals, rngs[run])
            prompts = [prompt for prompt in prompts if score.grams(prompt)]
            scores = score(prompts).tolist()
            tried[run] += [(turn, *scored) for scored in zip(prompts, scores, strict=True)]
    rows = [(*run, *entry) for run, entries in tried.items() for entry in entries]
    table = pd.DataFrame(rows, columns=["direction", "seed", "round", "prompt", "score"])
    table = table.sort_values(["direction", "seed", "round"], kind="stable", ignore_index=True)
    runs = [table["direction"], table["seed"]]
    gain = table["score"] * table["direction"].map(DIRECTIONS)
    earlier = gain.groupby(runs).cummax().groupby(runs).shift()
    return table.assign(best=(gain > earlier) | earlier.isna())


def gap(table: pd.DataFrame, between: tuple[str, str] = tuple(DIRECTIONS)) -> pd.DataFrame:
    """Accuracy under memorization prompts minus under generalization prompts, with a 95% interval.

    ``table``: direction, seed, round and ``correct``, the scores [examples] of the same examples
    under every prompt; ``between`` names other values of its ``direction`` (a baseline, say). The
    difference is paired by example and averaged over seeds; the interval leaves out examples and
    seeds in turn, and examples alone with fewer than three seeds. Returns, per round, round,
    estimate, low, high, seeds, examples. Raises InputError where a direction is missing or has
    other seeds.
    """
    require_columns(table, ["direction", "seed", "round", "correct"], "accuracy of prompts")
    rows = []
    for number, part in table.groupby("round"):
        kinds = {d: p.sort_values("seed") for d, p in part.groupby("direction")}
        require(set(between) <= set(kinds), f"prompts: a gap needs both of {', '.join(between)}")
        first, second = (kinds[d] for d in between)
        same = list(first["seed"]) == list(second["seed"])
        require(same, "prompts: the two directions were run from different seeds")
        scores = (np.stack(side["correct"].to_list()) for side in (first, second))
        difference = np.subtract(*scores)  # [seeds, examples]
        seed, example = (codes.ravel() for codes in np.indices(difference.shape))
        points = clusters_of(example, seed if len(difference) >= LEAST else None)
        result = mean(difference.ravel(), points)
        low, high, _ = interval(result.estimate, result.changes, correlation=False)
        rows.append((number, result.estimate, low, high, *difference.shape))
    return pd.DataFrame(rows, columns=["round", "estimate", "low", "high", "seeds", "examples"])
