"""Prompt optimisation: the score against counting by hand, the search against trying every prompt, the gap, too."""

import itertools

import numpy as np
import pandas as pd
import pytest

from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import ngrams, normalize, size, words
from taskgram_utils.prompting import Fragments, PromptScore, gap, optimize

POOL = ("Answer the question.", "Give a short answer.", "Be brief.", "Now", "Name the fact, nothing else.", "Please")
TEXT = [
    *["Answer the question. Give a short answer."] * 9,
    *["Please be brief. Now answer the question."] * 5,
    *["Name the fact, nothing else. Answer the question, answer the question!"] * 2,
    "give a short answer now please",
    "nothing to see",
]


class Counted(ScanCounter):
    """A counter that remembers how often the corpus was read."""

    passes = 0

    def count(self, ngrams):
        self.passes += 1
        return super().count(ngrams)


def by_hand(prompt, n):
    """Mean number of texts that hold each distinct n-gram of the prompt."""
    grams = {g for part in prompt.split("{x}") for g in ngrams(words(part), n)}
    return np.mean([sum(g in ngrams(words(text), n) for text in TEXT) for g in grams])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_score_is_the_mean_document_count_of_distinct_ngrams(n):
    prompts = [*(" ".join(p) for p in itertools.permutations(POOL, 2)), "Answer the question. Answer the question."]
    prompts = [p for p in prompts if size(p) >= n]
    np.testing.assert_allclose(PromptScore(Counted(TEXT), n)(prompts), [by_hand(p, n) for p in prompts])


def test_no_ngram_reaches_across_the_input():
    score = PromptScore(Counted(TEXT), 2)
    assert score.grams("Answer the {x} question. Be brief") == ["Answer the", "question Be", "Be brief"]
    assert score(["Answer the {x} question. Be brief"])[0] == by_hand("Answer the {x} question. Be brief", 2)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_ngram_of_every_joining_is_foreseen(n):
    pool = Fragments(POOL[2:])
    orders = itertools.chain.from_iterable(itertools.permutations(pool.pool, k) for k in range(1, 5))
    found = pool.reachable(n)
    assert {normalize(g) for g in found} == {g for parts in orders for g in ngrams(words(" ".join(parts)), n)}
    score, joined = PromptScore(Counted(TEXT), n), map(" ".join, itertools.permutations(POOL[2:]))
    every = {g for prompt in joined for g in score.grams(prompt)}
    assert every <= set(found)  # as they are written, too: none is counted a second time


def test_search_reaches_the_best_and_the_worst_prompt():
    pool, score = Fragments(POOL, bounds=(3, 12)), PromptScore(Counted(TEXT), 2)
    history = optimize(POOL[0], pool, score, rounds=60, proposals=10, seeds=(0, 1))
    orders = itertools.chain.from_iterable(itertools.permutations(POOL, k) for k in range(1, 7))
    every = score([p for p in map(" ".join, orders) if 3 <= size(p) <= 12])
    best = history[history["best"]].groupby(["direction", "seed"])["score"].last()
    np.testing.assert_allclose(best["memorization"], every.max())
    np.testing.assert_allclose(best["generalization"], every.min())


def test_history_says_what_was_tried():
    counter = Counted(TEXT)
    pool, start = Fragments(POOL, bounds=(4, 10)), "Be brief. Answer the question."
    history = optimize(start, pool, PromptScore(counter, 2), rounds=6, proposals=5, seeds=(3, 4, 5))
    assert counter.passes == 1, "all n-grams of the pool are counted in one pass"
    for (direction, _), run in history.groupby(["direction", "seed"]):
        assert run["prompt"].is_unique and run["round"].is_monotonic_increasing
        assert (run["round"].iloc[0], run["prompt"].iloc[0], run["best"].iloc[0]) == (0, start, True)
        assert set(run["round"]) == set(range(7)) and run.groupby("round").size().max() == 5
        # Best is what no earlier prompt reached.
        sign = 1 if direction == "memorization" else -1
        reached = (sign * run["score"]).tolist()
        assert run["best"].tolist() == [i == 0 or s > max(reached[:i]) for i, s in enumerate(reached)]
    assert history["prompt"].map(size).between(4, 10).all()
    np.testing.assert_allclose(history["score"], [by_hand(p, 2) for p in history["prompt"]])
    again = optimize(start, pool, PromptScore(Counted(TEXT), 2), rounds=6, proposals=5, seeds=(3, 4, 5))
    pd.testing.assert_frame_equal(history, again)
    alone = optimize(start, pool, PromptScore(Counted(TEXT), 2), rounds=6, proposals=5, seeds=(4,))
    mine = history[history["seed"] == 4].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone)  # a seed's run does not depend on the others


def test_the_gap_of_equal_scores_is_nothing():
    table = pd.DataFrame([{"direction": d, "seed": s, "round": 0, "correct": np.array([0.0, 1, 1, 0])}
                          for d in ("memorization", "generalization") for s in range(2)])  # fmt: skip
    assert gap(table).set_index("round").loc[0, ["estimate", "low", "high"]].tolist() == [0, 0, 0]


def test_the_gap_interval_covers_the_true_difference():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(100):
        skill = rng.random(200)  # examples are hard or easy under either prompt
        rows = [
            {"direction": d, "seed": s, "round": 1, "correct": (rng.random(200) < skill * scale).astype(float)}
            for d, scale in (("memorization", 1.0), ("generalization", 0.8)) for s in range(5)
        ]  # fmt: skip
        row = gap(pd.DataFrame(rows)).iloc[0]
        covered.append(row["low"] <= 0.1 <= row["high"])
    assert np.mean(covered) >= 0.9


def test_bad_input_is_one_clear_line():
    score, pool = PromptScore(Counted(TEXT), 2), Fragments(POOL)
    bad = [
        (lambda: PromptScore(Counted(TEXT), 0)(POOL), "n-grams need n >= 1, got n = 0"),
        (lambda: PromptScore(Counted(TEXT, unit="occurrences"), 2), "needs document counts"),
        (lambda: score(["Be brief.", "Please"]), "no 2-gram in the prompt 'Please'"),
        (lambda: optimize("Say it.", pool, score), "not made of the fragments of the pool"),
        (lambda: optimize(POOL[0], pool, score, seeds=()), "at least one seed"),
        (lambda: optimize(POOL[0], pool, score, rounds=0), "one round"),
    ]
    for call, message in bad:
        with pytest.raises(InputError, match=message):
            call()
    one = pd.DataFrame({"direction": ["memorization"], "seed": [0], "round": [1], "correct": [np.ones(3)]})
    with pytest.raises(InputError, match="a gap needs both"):
        gap(one)
