"""What no document holds of what models wrote: against brute force, the planted copies, hand-made tables."""

import numpy as np
import pandas as pd
import pytest

from taskgram_utils.counting.index import build_index
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError
from taskgram_utils.memorization import mem
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import ngrams, words
from taskgram_utils.novelty import mem_without, novelty, overlap, score_without
from taskgram_utils.tasks.base import task

TEXTS = ["Ada was born in Paris.", "Bruno left Paris for Rome.", "Where was Ada born? Paris"]
OUTPUTS = pd.DataFrame({"example_id": ["a", "a", "b", "b"], "model": ["s", "l", "s", "l"],
                        "output": ["Paris in Rome", "PARIS, Paris!", None, ""]})  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return World(2_000, 3)


def test_new_ngrams_and_pairs_by_hand():
    grams = pd.DataFrame({"example_id": "a", "n": 1, "sx": ["ada", "paris", "ada"]})
    table = novelty(OUTPUTS, ScanCounter(TEXTS, progress=False), (1, 2), grams)
    assert table.drop(columns=["exact", "pairs", "new_pairs"]).to_numpy().tolist() == [
        ["a", "s", 1, 3, 0], ["a", "s", 2, 2, 2], ["a", "l", 1, 1, 0], ["a", "l", 2, 1, 1],
        ["b", "l", 1, 0, 0], ["b", "l", 2, 0, 0],
    ]  # fmt: skip
    # ada with paris, in, rome; paris with in, rome: ada and rome share no document.
    assert table.loc[0, ["pairs", "new_pairs"]].tolist() == [5, 1]
    assert table.loc[2, ["pairs", "new_pairs"]].tolist() == [1, 0]
    assert table.loc[table["n"] == 2, ["pairs", "new_pairs"]].isna().all(axis=None) and table["exact"].all()


def test_equals_brute_force_on_the_miniature(world, tmp_path):
    examples = task("translation").miniature(world).query("split == 'test'").head(40)
    rng = np.random.default_rng(0)
    texts = [words(y) for y in examples["y"]]
    pool = [word for text in texts for word in text] + ["nowhere"]
    mixed = [" ".join(rng.permutation(text + [str(rng.choice(pool))])) for text in texts]
    outputs = pd.concat([examples.assign(model="gold", output=examples["y"]),
                         examples.assign(model="mixed", output=mixed)])  # fmt: skip
    grams = pd.DataFrame([(e, n, sx) for e, x in zip(examples["example_id"], examples["x"], strict=True) for n in (1, 3)
                          for sx in ngrams(words(x), n)], columns=["example_id", "n", "sx"])  # fmt: skip
    index = build_index(world, tmp_path / "made", progress=False)
    found = novelty(outputs, index, range(1, 6), grams)
    pd.testing.assert_frame_equal(found, novelty(outputs, ScanCounter(world, progress=False), range(1, 6), grams))
    documents = [f" {' '.join(words(text))} " for text in world]
    for row in found.itertuples():
        text = outputs[(outputs["example_id"] == row.example_id) & (outputs["model"] == row.model)]["output"].item()
        own = set(ngrams(words(text), row.n))
        assert row.ngrams == len(own)
        assert row.new_ngrams == sum(not any(f" {gram} " in document for document in documents) for gram in own)
        if row.n in (1, 3) and row.example_id in set(examples["example_id"].head(5)):
            mine = grams[(grams["example_id"] == row.example_id) & (grams["n"] == row.n)]["sx"]
            pairs = {(sx, gram) for sx in mine for gram in own if sx != gram}
            held = sum(any(f" {sx} " in d and f" {gram} " in d for d in documents) for sx, gram in pairs)
            assert (row.pairs, row.new_pairs) == (len(pairs), len(pairs) - held)
    assert (found["new_ngrams"] > 0).any() and found["new_pairs"].gt(0).any()


def test_an_output_for_each_metric_counts_once_and_two_outputs_are_refused():
    counter = ScanCounter(TEXTS, progress=False)
    twice = pd.concat([OUTPUTS.assign(metric="one"), OUTPUTS.assign(metric="two")])
    pd.testing.assert_frame_equal(novelty(twice, counter), novelty(OUTPUTS, counter))
    with pytest.raises(InputError, match="example \\['a'\\] has two outputs by example_id"):
        novelty(OUTPUTS.drop(columns="model"), counter)
    with pytest.raises(InputError, match="no output is text"):
        novelty(OUTPUTS.assign(output=None), counter)


def test_planted_copies_overlap():
    world = World(40_000, 3)
    text = "\n".join(f" {' '.join(words(text))} " for text in world)
    counter = ScanCounter(world, progress=False)
    for name in ("translation", "math_reasoning"):
        examples = task(name).miniature(world).query("split == 'test'")
        found = overlap(examples, counter).merge(examples[["example_id", "x"]], on="example_id")
        copied = found["group"] == "copied"
        assert copied.any() and found.loc[copied, "overlaps"].all()
        whole = [f" {' '.join(words(x))} " in text for x in found["x"]]
        assert found.loc[whole, "overlaps"].all()


def test_a_short_input_is_compared_whole():
    examples = pd.DataFrame({"example_id": ["a", "b", "c"], "x": ["was Ada born", "was Ada left", "?"]})
    found = overlap(examples, ScanCounter(TEXTS, progress=False), (2, 8))
    assert found["ngrams"].tolist() == [2, 1, 2, 1, 0, 0] and found["found"].tolist() == [2, 1, 1, 0, 0, 0]
    with pytest.raises(InputError, match="has no x"):
        overlap(examples.assign(x=None), ScanCounter(TEXTS, progress=False))


def test_mem_and_score_without_the_examples_that_overlap():
    rng = np.random.default_rng(1)
    points = pd.DataFrame({"task": "t", "group": "g", "example_id": np.repeat([f"e{i}" for i in range(20)], 3), "n": 2,
                           "sy": [f"s{i % 7}" for i in range(60)], "start": np.tile([0, 5, 9], 20)})  # fmt: skip
    count_model = points.assign(model="taskgram", logp=-rng.random(60))
    model = points.assign(model="m", logp=count_model["logp"] - rng.random(60))
    flags = pd.DataFrame({"example_id": [f"e{i}" for i in range(20)], "n": 8, "overlaps": np.arange(20) < 6})
    table = mem_without(flags, count_model, model).set_index("examples_are")
    kept = count_model[~count_model["example_id"].isin([f"e{i}" for i in range(6)])]
    assert table.loc["without", "estimate"] == mem(kept, model)["estimate"].item()
    assert table.loc["all", "estimate"] == mem(count_model, model)["estimate"].item()
    change = table.loc["without - all"]
    assert change["estimate"] == table.loc["without", "estimate"] - table.loc["all", "estimate"]
    assert change["low"] < change["estimate"] < change["high"]
    answers = pd.DataFrame({"example_id": flags["example_id"], "model": "m", "score": rng.random(20)})
    means = score_without(flags, answers).set_index("examples_are")
    assert means.loc["all", "estimate"] == pytest.approx(answers["score"].mean())
    assert means.loc["without", "estimate"] == pytest.approx(answers["score"][6:].mean())
    assert means["examples"].tolist() == [20, 14, 14] and means["low"].notna().all()


def test_where_nothing_overlaps_mem_stands_once():
    points = pd.DataFrame({"example_id": list("abcd"), "n": 1, "sy": list("wxyz"), "start": 0})
    flags = pd.DataFrame({"example_id": list("abcd"), "n": 8, "overlaps": False})
    sides = [points.assign(model=name, logp=[-1.0, -2, -3, -4]) for name in ("taskgram", "m")]
    assert mem_without(flags, *sides)["examples_are"].tolist() == ["all"]
