"""Scores against scipy and sacrebleu, and performance against frequency."""

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from scipy import stats

from taskgram_utils.errors import InputError
from taskgram_utils.performance import binned_performance, endings, example_frequency, mean_interval, performance


def test_performance_gives_wilson_intervals_and_the_library_bleu():
    gold = ["the cat sat on the mat today", "a dog ran over the green hill"]
    examples = pd.DataFrame({"example_id": ["a", "b"], "group": "g", "answers": [[g] for g in gold]})
    outputs = [gold[0], "a dog walked over the green hill"]
    answers = pd.DataFrame({
        "example_id": ["a", "b"], "task": "translation", "model": "m", "run": "1", "seed": 1, "step": 2,
        "output": outputs, "metric": "exact_match", "score": [1.0, 0.0]})  # fmt: skip
    table = performance(answers, examples, {"m": 7}).set_index("metric")
    wilson = stats.binomtest(1, 2).proportion_ci(method="wilson")
    assert table.loc["exact_match", ["score", "low", "high"]].tolist() == pytest.approx([0.5, *wilson])
    bleu = table.loc["bleu"]
    assert bleu.score == pytest.approx(sacrebleu.corpus_bleu(outputs, [gold]).score)
    assert bleu.low <= bleu.high and "tok:13a" in bleu.note and bleu.parameters == 7


def test_missing_scores_are_counted_not_averaged():
    examples = pd.DataFrame({"example_id": list("abc"), "group": "g", "answers": [["x"]] * 3})
    answers = pd.DataFrame({"example_id": list("abc"), "task": "factual_qa", "model": "m", "metric": "exact_match",
                            "output": ["x", "y", None], "score": [1.0, 0.0, None]})  # fmt: skip
    row = performance(answers, examples).iloc[0]
    assert (row.score, row.examples, row.unscored) == (0.5, 2, 1)
    assert row["empty"] == 0 and pd.isna(row.at_bound)
    assert endings(performance(answers, examples)) == "No answer was generated."


def test_empty_answers_and_those_cut_at_the_bound_are_counted_and_said():
    many = 8
    examples = pd.DataFrame({"example_id": [*map(str, range(many))], "group": "g", "answers": [["x"]] * many})
    one = pd.DataFrame({
        "example_id": examples["example_id"], "task": "translation", "model": "m",
        "output": ["x", "", " \n", None, "x", "y", "z", "w"],
        "at_bound": pd.array([False, False, False, None, True, True, True, False], "boolean")})  # fmt: skip
    chosen = pd.DataFrame({"example_id": ["0"], "task": "choice", "group": "g", "model": "m", "metric": "accuracy",
                           "output": " x", "score": 1.0})  # fmt: skip
    parts = [one.assign(metric=metric, group="g", model=model, score=1.0)
             for metric in ("exact_match", "chrf") for model in ("m", "n")]  # fmt: skip
    parts[1] = parts[1].assign(output="x", at_bound=False)
    parts[3] = parts[3].assign(output="x", at_bound=False)
    table = performance(pd.concat([*parts, chosen], ignore_index=True), examples)
    assert len(table) == 7  # three metrics of two models, and the choice
    found = table[table["task"] == "translation"].groupby("model")[["empty", "at_bound"]].agg(lambda c: set(c))
    assert found.to_numpy().tolist() == [[{2}, {3}], [{0}, {0}]]
    assert table[table["task"] == "choice"][["empty", "at_bound"]].isna().to_numpy().tolist() == [[False, True]]
    said = endings(table)
    assert said == ("Of 16 generated answers 2 are empty (most of m in g: 25%) and 3 are cut off at the bound "
                    "of tokens (most of m in g: 38%).")  # fmt: skip
    assert endings(table[table["model"] == "n"]) == (
        "Of 8 generated answers 0 are empty and 0 are cut off at the bound of tokens.")
    assert "was not recorded" in endings(table.drop(columns=["empty", "at_bound"]))


def test_mean_interval_of_graded_scores_holds_the_mean():
    scores = np.random.default_rng(0).beta(2, 5, 400)
    low, high = mean_interval(scores)
    half = 1.96 * scores.std() / 20
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.2 * half)


def test_example_frequency_counts_a_pair_once_an_example():
    taskgrams = pd.DataFrame({"example_id": list("eeef"), "n": 2, "sx": list("abab"), "sy": list("uuuv"), "start": 0})
    counts = pd.DataFrame({"sx": ["a", "b", "b", "a"], "sy": ["u", "u", "v", None], "count": [3, 4, 0, 99]})
    table = example_frequency(taskgrams, counts).set_index("example_id")
    assert table.frequency.to_dict() == {"e": 7, "f": 0} and table.pairs.to_dict() == {"e": 2, "f": 1}
    assert table.exact.isna().all()
    rough = example_frequency(taskgrams, counts.assign(exact=[True, False, True, False])).set_index("example_id")
    assert rough.exact.to_dict() == {"e": False, "f": True} and rough.frequency.equals(table.frequency)
    with pytest.raises(InputError, match="without a count"):
        example_frequency(taskgrams, counts.iloc[:2])


def test_binned_performance_rises_with_frequency():
    rng = np.random.default_rng(9)
    frequency = pd.DataFrame({"task": "qa", "example_id": [f"e{i}" for i in range(500)], "n": 3})
    frequency["frequency"] = rng.zipf(1.5, 500).clip(max=10_000) - 1
    chance = stats.rankdata(frequency.frequency) / 500
    answers = pd.concat([
        frequency[["task", "example_id"]].assign(model=m, metric="accuracy", score=(rng.random(500) < c).astype(int))
        for m, c in (("knows", chance), ("guesses", 0.3))
    ])  # fmt: skip
    table = binned_performance(answers, frequency, bins=4)
    knows, guesses = table[table.model == "knows"], table[table.model == "guesses"]
    assert knows.examples.sum() == 500 and knows.score.is_monotonic_increasing and knows.spearman_low.iloc[0] > 0.3
    assert knows.p.iloc[0] < 0.01 < guesses.p.iloc[0] and (table.points == 500).all()
    few = answers.assign(y=answers.example_id.str[1:].astype(int) // 50)  # ten outputs: clusters of fifty
    clustered = binned_performance(few, frequency.assign(frequency=few.y[:500].to_numpy()), bins=4)
    alone = binned_performance(answers, frequency.assign(frequency=few.y[:500].to_numpy()), bins=4)
    wide, narrow = (t.spearman_high.iloc[-1] - t.spearman_low.iloc[-1] for t in (clustered, alone))
    assert wide > 1.1 * narrow and clustered.spearman.iloc[-1] == alone.spearman.iloc[-1]
    both = answers[answers.model == "knows"].merge(frequency)
    assert knows.spearman.iloc[0] == pytest.approx(stats.spearmanr(both.frequency, both.score).statistic)
    top = both[both.frequency >= knows.frequency_low.iloc[-1]].score
    truth = stats.binomtest(int(top.sum()), len(top)).proportion_ci(method="wilson")
    assert (knows.low.iloc[-1], knows.high.iloc[-1]) == pytest.approx(tuple(truth))
    smooth = answers.assign(score=answers.score + rng.normal(0, 0.1, len(answers)))
    row = binned_performance(smooth, frequency, bins=1).iloc[0]
    score = smooth[smooth.model == "knows"].score
    half = 1.96 * score.std() / np.sqrt(500)
    assert (row.low, row.high) == pytest.approx((score.mean() - half, score.mean() + half), abs=0.01)
