"""Prompt optimisation: rewrite an instruction towards, or away from, what the corpus says often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
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

Proposer = Callable[[Sequence[tuple[str, float]], str, int, np.random.Generator], list[str]]
"""Rewrites prompts, ``(history, direction, proposals, rng)``: ``history`` is (prompt, score) from
worst to best in the sense of ``direction``."""

_PARENTS = 4  # a proposal rewrites one of so many best prompts


class PromptScore:
    r"""Mean number of documents that hold a prompt's distinct n-grams (eq-prompt).

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
        new = [g for g in dict.fromkeys(grams) if g not in self._counts]
        if new:
            self._counts.update(zip(new, self._counter.count(new), strict=True))

    def __call__(self, prompts: Sequence[str]) -> np.ndarray:
        """float64 [prompts], documents. Raises InputError for a prompt of fewer than n words."""
        held = [self.grams(prompt) for prompt in prompts]
        for prompt, grams in zip(prompts, held, strict=True):
            require(grams, f"prompt score: no {self.n}-gram in the prompt {prompt!r}")
        self.prepare([gram for grams in held for gram in grams])
        return np.array([np.mean([self._counts[gram] for gram in grams]) for grams in held])


def _as_written(text: str) -> list[str]:
    """The words of a text as it writes them: a counter of pieces needs these."""
    return [text[w.start : w.end] for w in word_spans(text)]


class Fragments(NamedTuple):
    """Proposer without a language model: swaps, adds, removes and replaces fragments of a prompt.

    ``pool``: sentences or clauses, each used at most once in a prompt; a prompt is some of them
    joined by spaces. ``bounds``: fewest and most words of a prompt.
    """

    pool: tuple[str, ...]
    bounds: tuple[int, int] = (3, 25)

    def reachable(self, n: int) -> list[str]:
        """Every n-gram that any joining of fragments can hold: all can be counted at once."""
        fragments = [_as_written(text) for text in self.pool]
        reached: dict[str, None] = {}

        def grow(used: tuple[int, ...], tail: list[str]) -> None:
            """Append unused fragments to ``tail``, the last n - 1 words, while these matter."""
            for i, fragment in enumerate(fragments):
                if i not in used:
                    reached.update(dict.fromkeys(ngrams(tail + fragment, n)))
                    if n > 1 and (not used or len(fragment) < n - 1):
                        grow((*used, i), (tail + fragment)[-(n - 1) :])

        grow((), [])
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

    def __call__(self, history, direction, proposals, rng) -> list[str]:
        tried = {prompt for prompt, _ in history}
        parents = [self.parts(prompt) for prompt, _ in history[-_PARENTS:]]
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
        move, place = moves[rng.integers(len(moves))], int(rng.integers(len(parts)))
        if move == "swap":
            other = (place + 1 + int(rng.integers(len(parts) - 1))) % len(parts)
            parts[place], parts[other] = parts[other], parts[place]
        elif move == "remove":
            del parts[place]
        elif move == "add":
            parts.insert(int(rng.integers(len(parts) + 1)), unused[rng.integers(len(unused))])
        else:
            parts[place] = unused[rng.integers(len(unused))]
        return parts


def optimize(
    start: str, proposer: Proposer, score: PromptScore, rounds: int = 20, proposals: int = 8,
    seeds: Sequence[int] = (0, 1, 2),
) -> pd.DataFrame:
    """Rewrite ``start`` in rounds, in each direction and from each seed; all prompts tried.

    Round 0 is ``start``; in each later round the proposer sees what was tried, and its rewrites are
    scored. All directions and seeds go through a round together, so that their n-grams are counted
    in one batch. Returns the history: direction, seed, round, prompt, score (documents), best
    (whether the prompt is the best so far in its direction, the first of equals).

    Raises :class:`~taskgram_utils.errors.InputError` without a seed, a round or a proposal, and for
    a prompt too short to score.
    """
    least = min(len(seeds), rounds, proposals)
    require(least >= 1, "prompts: at least one seed, one round and one proposal are needed")
    if isinstance(proposer, Fragments):
        score.prepare([*score.grams(start), *proposer.reachable(score.n)])
    runs = [(direction, seed) for direction in DIRECTIONS for seed in seeds]
    # Both directions of a seed draw from the same stream: they differ by direction, not by luck.
    rngs = {run: np.random.default_rng([run[1], 0]) for run in runs}
    first = float(score([start])[0])
    tried = {run: [(start, first)] for run in runs}
    rows = [(*run, 0, start, first) for run in runs]
    for turn in Bar(range(1, rounds + 1), desc="prompts", unit="round", disable=None, leave=False):
        new = []
        for run in runs:
            highest_first = DIRECTIONS[run[0]] < 0
            history = sorted(reversed(tried[run]), key=itemgetter(1), reverse=highest_first)
            prompts = proposer(history, run[0], proposals, rngs[run])
            new += [(run, prompt) for prompt in prompts if score.grams(prompt)]
        scores = score([prompt for _, prompt in new]).tolist()
        for (run, prompt), value in zip(new, scores, strict=True):
            tried[run].append((prompt, value))
            rows.append((*run, turn, prompt, value))
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
