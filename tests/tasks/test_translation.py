"""Translation: unseen sentences stay unseen, copied ones are copied, pairs are the lexicon's."""

import numpy as np

from taskgram_utils.miniature.words import NOUNS, VERBS
from taskgram_utils.miniature.world import COPIES
from taskgram_utils.tasks.translation import TASK, chrf, truth


def test_groups_and_sizes(world, examples):
    sizes = examples.groupby(["split", "group"]).size()
    assert sizes["test", "copied"] == world.copied == len(COPIES)
    assert 0.95 * 200 < sizes["test", "unseen"] <= 200 and 0.95 * 200 < sizes["train", "unseen"] <= 200
    assert not examples["x"].duplicated().any()


def test_unseen_sentences_are_unseen_and_copied_ones_counted(world, examples):
    lines = [line for d in world for line in d.split("\n") if line.startswith("English: ")]
    said = {line: 0 for line in examples["x"]}
    for line in lines:
        text = line.removeprefix("English: ")
        if text in said:
            said[text] += 1
    found = examples["x"].map(said)
    assert len(lines) > 4_000
    assert (found[examples["group"] == "unseen"] == 0).all()
    assert found[examples["group"] == "copied"].tolist() == list(COPIES)


def test_true_pairs_are_the_lexicon(world, examples):
    pairs = truth(world, examples)
    first = examples.iloc[0]
    mine = pairs[pairs["example_id"] == first["example_id"]]
    assert mine["sx"].tolist() == list(dict.fromkeys(word for word in first["x"].split() if word != "the"))
    assert set(mine["sy"]) == set(first["y"].split())
    assert world.dictionary[NOUNS[3]] == world.velti["noun"][3] and world.dictionary[VERBS[0]] == world.velti["verb"][0]


def test_every_word_of_the_test_is_written_in_other_sentences(world, examples):
    known = {word for d in world for word in d.split() if "\nVelti:" in d}
    words = {word for y in examples["y"] for word in y.split()}
    assert np.mean([word in known for word in words]) == 1


def test_chrf_is_a_share_of_the_characters():
    assert chrf("halo pyri", ["halo pyri"]) == 1
    assert 0 < chrf("halo pyro", ["halo pyri"]) < 1
    assert chrf("xxx", ["halo pyri"]) == 0
    assert list(TASK.metrics) == ["exact_match", "chrf"]
