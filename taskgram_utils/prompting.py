"""Prompt optimisation: rewrite an instruction towards, or away from, what the corpus says often; then its accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Counter
from taskgram_utils.errors import require, require_columns
from taskgram_utils.jackknife import FEWEST, interval, mean, points_of
from taskgram_utils.ngrams import ngrams, normalize, size, word_spans
from taskgram_utils.progress import Bar

DIRECTIONS = {"memorization": 1, "generalization": -1}
"""What the prompt is optimised for, and the sign of the score that is to rise."""


class Proposer(Protocol):
    """Rewrites prompts: ``history`` is (prompt, score) from worst to best in the sense of ``direction``."""

    def __call__(
        self, history: Sequence[tuple[str, float]], direction: str, proposals: int, rng: np.random.Generator
    ) -> list[str]: ...


class PromptScore:
    r"""Mean number of documents that hold a prompt's distinct n-grams, :math:`|G_n(u)|^{-1}\sum_{s\in G_n(u)} C(s)`.

    Every n-gram is counted once, in batches, however many prompts hold it. An instruction that holds ``{x}`` is
    scored on the text before and after it: no n-gram reaches across the input.
    """

    def __init__(self, counter: Counter, n: int):
        require(n >= 1, f"prompt score: n must be 1 or more, got {n}")
        require(counter.unit == "documents", f"prompt score: needs document counts, the counter gives {counter.unit}")
        self.n, self._counter, self._counts = n, counter, {}

    def grams(self, prompt: str) -> list[str]:
        """The distinct n-grams of a prompt, in order, the first and the last one included, as they are written."""
        found: dict[str, str] = {}
        for part in prompt.split("{x}"):
            for gram in ngrams(_as_written(part), self.n):
                found.setdefault(normalize(gram), gram)
        return list(found.values())

    def prepare(self, grams: Sequence[str]) -> None:
        """Count n-grams before they are asked for: one pass over the corpus instead of one a round."""
        new = [g for g in dict.fromkeys(grams) if g not in self._counts]
        if new:
            self._counts.update(zip(new, np.asarray(self._counter.count(new)).tolist(), strict=True))

    def __call__(self, prompts: Sequence[str]) -> np.ndarray:
        """float64 [prompts], documents. Raises InputError for a prompt of fewer than n words."""
        held = [self.grams(p) for p in prompts]
        short = [p for p, g in zip(prompts, held, strict=True) if not g]
        require(not short, f"prompt score: no {self.n}-gram in the prompt {short[0]!r}" if short else "")
        self.prepare([g for grams in held for g in grams])
        return np.array([np.mean([self._counts[g] for g in grams]) for grams in held])


def _as_written(text: str) -> list[str]:
    """The words of a text as they stand there, which is what counters of pieces have to be asked."""
    return [text[w.start : w.end] for w in word_spans(text)]


class Fragments(NamedTuple):
    """Proposer without a language model: swaps, adds, removes and replaces fragments of the instruction.

    ``pool``: sentences or clauses, each used at most once in a prompt; a prompt is some of them joined by ``join``.
    ``bounds``: fewest and most words of a prompt. It rewrites one of the ``keep`` best prompts so far.
    """

    pool: tuple[str, ...]
    join: str = " "
    bounds: tuple[int, int] = (3, 25)
    keep: int = 4

    def reachable(self, n: int) -> list[str]:
        """Every n-gram that any joining of fragments can hold, so that all can be counted at once."""
        tokens = [_as_written(f) for f in self.pool]
        found: dict[str, None] = {}

        def grow(used: tuple[int, ...], tail: list[str]) -> None:
            # ``tail``: the last n - 1 words so far; a fragment is appended while they still reach into what follows.
            for i in (i for i in range(len(tokens)) if i not in used):
                text = tail + tokens[i]
                found.update(dict.fromkeys(ngrams(text, n)))
                if n > 1 and (not used or len(tokens[i]) < n - 1):
                    grow((*used, i), text[len(text) - (n - 1) :] if len(text) >= n else text)

        grow((), [])
        return list(found)

    def parts(self, prompt: str) -> tuple[str, ...]:
        """The fragments of a prompt; raises InputError where it is not made of the pool's."""
        out, rest = [], prompt
        by_length = sorted(self.pool, key=len, reverse=True)
        while rest:
            part = next((f for f in by_length if rest == f or rest.startswith(f + self.join)), None)
            require(part, f"prompt {prompt!r}: not made of the fragments of the pool (at {rest!r})")
            out.append(part)
            rest = rest[len(part) + len(self.join) :]
        return tuple(out)

    def __call__(self, history, direction, proposals, rng) -> list[str]:
        seen = {p for p, _ in history}
        best = [self.parts(p) for p, _ in history[-self.keep :]]
        out: dict[str, None] = {}
        for _ in range(20 * proposals):  # some moves leave the bounds or repeat a prompt
            if len(out) == proposals:
                break
            prompt = self.join.join(self._move(list(best[rng.integers(len(best))]), rng))
            if prompt not in seen and self.bounds[0] <= size(prompt) <= self.bounds[1]:
                out[prompt] = None
        return list(out)

    def _move(self, parts: list[str], rng: np.random.Generator) -> list[str]:
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
    start: str,
    proposer: Proposer,
    score: PromptScore,
    rounds: int = 20,
    proposals: int = 8,
    seeds: Sequence[int] = (0, 1, 2),
    directions: Sequence[str] = tuple(DIRECTIONS),
) -> pd.DataFrame:
    """Rewrite ``start`` for many rounds in each direction from each seed, and return all that was tried.

    Round 0 is ``start``; in each later round the proposer sees what was tried and its rewrites are scored. All
    directions and seeds go through a round together, so that their n-grams are counted in one batch. Returns the
    history: direction, seed, round, prompt, score (documents), best (whether the prompt is the best so far in its
    direction, the first of equals).

    Raises :class:`~taskgram_utils.errors.InputError` for an unknown direction, no seed, no round, or a prompt too short
    to score.
    """
    unknown = [d for d in directions if d not in DIRECTIONS]
    require(not unknown and directions, f"prompts: direction {', '.join(unknown)}: not one of {', '.join(DIRECTIONS)}")
    require(seeds, "prompts: no seed given")
    require(rounds >= 1 and proposals >= 1, "prompts: at least one round and one proposal a round are needed")
    if isinstance(proposer, Fragments):
        score.prepare([*score.grams(start), *proposer.reachable(score.n)])
    runs = [(d, s) for d in directions for s in seeds]
    # Both directions of a seed draw from the same stream: they differ by what they are after, not by luck.
    rngs = {run: np.random.default_rng([run[1], 0]) for run in runs}
    first = float(score([start])[0])
    tried = {run: [(start, first)] for run in runs}
    rows = [(*run, 0, start, first) for run in runs]
    for number in Bar(range(1, rounds + 1), desc="prompts", unit="round", disable=None, leave=False):
        new = {}
        for run in runs:
            sign = DIRECTIONS[run[0]]
            history = sorted(reversed(tried[run]), key=lambda entry, sign=sign: sign * entry[1])
            new[run] = [p for p in proposer(history, run[0], proposals, rngs[run]) if score.grams(p)]
        scores = iter(score([p for run in runs for p in new[run]]).tolist())
        for run in runs:
            entries = [(p, next(scores)) for p in new[run]]
            tried[run] += entries
            rows += [(*run, number, p, s) for p, s in entries]
    history = pd.DataFrame(rows, columns=["direction", "seed", "round", "prompt", "score"])
    history = history.sort_values(["direction", "seed", "round"], kind="stable", ignore_index=True)
    gain = history["score"] * history["direction"].map(DIRECTIONS)
    so_far = gain.groupby([history["direction"], history["seed"]]).cummax()
    earlier = so_far.groupby([history["direction"], history["seed"]]).shift()
    history["best"] = (gain > earlier) | earlier.isna()
    return history


def gap(table: pd.DataFrame, between: tuple[str, str] = tuple(DIRECTIONS)) -> pd.DataFrame:
    """Accuracy under memorization prompts minus under generalization prompts, per round, with a 95% interval.

    ``table``: direction, seed, round and ``correct``, the scores [examples] of the same examples under every prompt;
    ``between`` names other values of its ``direction`` (a baseline, say). The
    difference is paired by example and averaged over seeds; the interval leaves out examples and seeds in turn, and
    examples alone with fewer than three seeds. Returns round, estimate, low, high, seeds, examples.
    """
    require_columns(table, ["direction", "seed", "round", "correct"], "accuracy of prompts")
    rows = []
    for number, part in table.groupby("round"):
        kinds = {d: p.sort_values("seed") for d, p in part.groupby("direction")}
        require(set(between) <= set(kinds), f"prompts: a gap needs both of {', '.join(between)}")
        first, second = (kinds[d] for d in between)
        require(
            list(first["seed"]) == list(second["seed"]), "prompts: the two directions were run from different seeds"
        )
        difference = np.stack(first["correct"].to_list()) - np.stack(second["correct"].to_list())
        runs, examples = difference.shape
        run, example = (codes.ravel() for codes in np.indices(difference.shape))
        found = mean(difference.ravel(), points_of(example, run if runs >= FEWEST else None))
        low, high, _ = interval(found.estimate, found.left, correlation=False)
        rows.append((number, found.estimate, low, high, runs, examples))
    return pd.DataFrame(rows, columns=["round", "estimate", "low", "high", "seeds", "examples"])
