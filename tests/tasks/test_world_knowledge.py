"""World knowledge: fair options, one of them right, and two-hop questions that no document answers."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, chisquare

from taskgram_utils.miniature.world import World
from taskgram_utils.tasks.world_knowledge import OPTIONS, miniature, truth


@pytest.fixture(scope="module")
def world():
    return World()


def fact_of(examples: pd.DataFrame) -> pd.Series:
    return examples["example_id"].str.rsplit("-", n=1).str[-1].astype(int)


def test_groups(world, examples):
    sizes = examples.groupby(["split", "group"]).size()
    assert sizes["test", "knowledge"] == 800 and sizes["train", "knowledge"] == 400
    assert sizes["test", "reasoning"] == (world.citizens()["documents"] == 0).sum() > 200
    assert sizes["test", "written"] + sizes["train", "written"] == 400
    facts = world.facts().drop_duplicates("fact").set_index("fact")
    knowledge = examples[examples["group"] == "knowledge"]
    assert (facts.loc[fact_of(knowledge), "asked"].to_numpy() == (knowledge["split"] == "train").to_numpy()).all()


def test_one_option_is_right(examples):
    for e in examples.itertuples():
        assert len(e.options) == len(set(e.options)) == OPTIONS
        assert e.options[e.gold] == e.y == f" {e.answers[0]}"


@pytest.mark.parametrize("documents", [1_000, 5_000, None])
def test_no_distractor_is_a_value_of_the_fact(world, examples, documents):
    if documents:
        world = World(documents)
        examples = miniature(world)
    stated = world.facts().groupby("fact")["value"].agg(set)
    knowledge = examples[examples["group"] == "knowledge"]
    for fact, e in zip(fact_of(knowledge), knowledge.itertuples(), strict=True):
        assert {o.strip() for o in e.options} & stated[fact] == {e.answers[0]}


def test_home_countries_are_right_and_unwritten(world, examples):
    citizens = world.citizens().set_index("fact")
    country = dict(zip(world.towns, (world.countries[c] for c in world.country_of), strict=True))
    for group in ("reasoning", "written"):
        part = examples[examples["group"] == group]
        mine = citizens.loc[fact_of(part)]
        assert [a[0] for a in part["answers"]] == mine["country"].tolist() == [country[t] for t in mine["town"]]
        assert ((mine["documents"] == 0) == (group == "reasoning")).all()


def test_the_right_place_is_uniform(examples):
    places = np.bincount(examples["gold"].astype(int), minlength=OPTIONS)
    assert chisquare(places).pvalue > 1e-3
    for _, part in examples.groupby("group"):
        assert chisquare(np.bincount(part["gold"].astype(int), minlength=OPTIONS)).pvalue > 1e-3


@pytest.mark.parametrize("number", [0, 1])
def test_the_most_common_answer_is_no_better_than_chance(world, examples, number):
    if number:
        world = World(world=number)
        examples = miniature(world)
    # How often each option is the right answer to another question of its kind: the question itself does not count.
    answers = world.facts().query("role == 0")["value"].value_counts() + 0.0
    countries = world.citizens()["country"].value_counts() + 0.0
    examples = examples[examples["split"] == "test"]
    for group, part in examples.groupby("group"):
        common, right = answers if group == "knowledge" else countries, 0
        for e in part.itertuples():
            often = np.array([common.get(o.strip(), 0.0) for o in e.options])
            often[e.gold] -= 1
            right += int(often.argmax() == e.gold)
        assert binomtest(right, len(part), 1 / OPTIONS, "greater").pvalue > 1e-3, f"{group}: {right} of {len(part)}"


def test_true_pairs_are_surname_and_right_option(world, examples):
    pairs = truth(world, examples).merge(examples, on="example_id")
    assert len(pairs) == len(examples)
    people = dict(zip((s.lower() for s in world.surnames), world.people, strict=True))
    assert all(people[sx] in x for sx, x in zip(pairs["sx"], pairs["x"], strict=True))
    assert (pairs["sy"] == pairs["y"].str.strip().str.lower()).all()
