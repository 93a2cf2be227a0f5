"""The miniature world: frozen bytes, counts by brute force, and nothing in it that is said to be held out."""

import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare, spearmanr

from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import InputError
from taskgram_utils.miniature import words as w
from taskgram_utils.miniature.world import COPIES, FULL, KINDS, World, prompt
from taskgram_utils.ngrams import normalize

# The shipped models have read these bytes: a change of them is a change of the world.
GOLDEN = {
    (2_000, 0, 0): "e4b9a4196959f2d8a7b433d7608642549ad06f9c024b6b32a41b3858c35a5f1d",
    (40_000, 0, 0): "2851539d0c7d2d2da3345b31d7f39b855b7015cfa9c47b225a704bf82985bdbe",
}


@pytest.fixture(scope="module")
def small():
    world = World(5_000)
    return world, [f" {normalize(d)} " for d in world]


@pytest.fixture(scope="module")
def large():
    """The smallest round size that has verbatim copies."""
    world = World(40_000)
    return world, list(world)


def digest(world: World) -> str:
    return hashlib.sha256("\n".join(world).encode()).hexdigest()


def together(documents: list[str], left: str, right: str) -> int:
    """Documents that hold both word sequences."""
    left, right = f" {normalize(left)} ", f" {normalize(right)} "
    return sum(left in d and right in d for d in documents)


def operands(document: str) -> tuple[int, int] | None:
    """The two numbers of the problem that a document poses."""
    problem = re.search(r"^Problem: (.*)$", document, re.M)
    if problem is None:
        return None
    a, b = re.findall(r"\d+", problem[1])
    return int(a), int(b)


# --- the same bytes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", GOLDEN)
def test_documents_are_frozen(draw):
    assert digest(World(*draw)) == GOLDEN[draw]


def test_same_bytes_in_another_process():
    code = (
        "import hashlib; from taskgram_utils.miniature.world import World;"
        "print(hashlib.sha256('\\n'.join(World(2_000)).encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": "12345"},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == GOLDEN[2_000, 0, 0]


def test_worlds_twins_and_orders_differ():
    assert len({digest(World(1_000, world, twin)) for world in (0, 1, 2) for twin in (0, 1, 2)}) == 9
    world = World(1_000)
    first, second = list(world.texts(0)), list(world.texts(1))
    assert first != second and sorted(first) == sorted(second)


def test_documents_do_not_depend_on_the_block():
    world = World(3_000)
    numbers = np.arange(3_000)
    whole = world.documents_at(numbers)
    assert [d for i in range(0, 3_000, 7) for d in world.documents_at(numbers[i : i + 7])] == whole
    backwards = world.documents_at(numbers[::-1])
    assert backwards[::-1] == whole
    assert list(world.texts(0, block=11)) == list(world.texts(0))
    assert sorted(world) == sorted(whole)


def test_written_corpus_holds_the_documents(tmp_path):
    world = World(1_000)
    world.write(tmp_path / "corpus.jsonl")
    lines = (tmp_path / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"text": d} for d in world]
    assert list(Corpus(tmp_path / "corpus.jsonl")) == list(world)


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [1_000, 1_001, 1_777, 2_500, 6_399, 6_400, 12_345])
def test_any_size_from_a_thousand_up(documents):
    world = World(documents, world=2)
    texts = list(world)
    assert len(texts) == len(world) == documents == sum(world.sizes.values())
    assert all(size >= 0 for size in world.sizes.values()) and tuple(world.sizes) == KINDS
    assert all(t and t == t.strip() and not re.search(r"[{}]", t) for t in texts)


def test_too_small_is_refused():
    with pytest.raises(InputError, match="at least 1,000 documents, got 999"):
        World(999)


def test_full_size():
    world = World()
    assert world.documents == FULL and len(world.people) == 1_800 and len(world.fact_count) == 7_200
    assert world.copied == 60 and world.sizes["copied_translation"] == 15 * sum(COPIES)
    # Larger corpora have no more people, but every size can be streamed from anywhere.
    larger = World(100 * FULL)
    assert len(larger.people) == 1_800
    assert len(set(larger.documents_at(np.array([0, 50 * FULL, 100 * FULL - 1])))) == 3


def test_invented_words_are_all_different(small):
    world, _ = small
    invented = [*world.surnames, *world.towns, *world.countries, *world.values["club"], *world.values["employer"],
                *(v for kind in world.velti.values() for v in kind)]  # fmt: skip
    assert len({i.lower() for i in invented}) == len(invented)
    english = {word for text in (*w.NOUNS, *w.FIRST_NAMES, *w.JOBS, *w.PETS, *w.DISHES, *w.THINGS, *w.FILLER)
               for word in normalize(text).split()}  # fmt: skip
    assert not english & {i.lower() for i in invented}
    assert len(world.dictionary) == len(w.NOUNS + w.ADJECTIVES + w.VERBS + w.ADVERBS + w.PREPOSITIONS)
    assert all(len(world.values[r]) == len(set(world.values[r])) == 48 for r in w.RELATIONS)


def test_every_country_has_four_towns(small):
    world, _ = small
    assert (np.bincount(world.country_of) == 4).all()


# --- the truth against brute force ----------------------------------------------------------------------------------


def test_facts_are_the_counts_of_the_corpus(small):
    world, documents = small
    facts = world.facts()
    counted = [together(documents, p, v) for p, v in zip(facts["person"], facts["value"], strict=True)]
    assert counted == facts["documents"].tolist()
    assert (facts.groupby("fact")["documents"].sum() == facts.groupby("fact")["statements"].first()).all()
    assert facts["disputed"].any() and facts["asked"].any() and not facts["asked"].all()
    assert (facts[~facts["disputed"]]["role"] == 0).all()
    assert not facts.duplicated(["fact", "value"]).any()


def test_values_that_are_not_stated_stand_with_their_person_nowhere(small):
    world, documents = small
    silent = np.argwhere(world.value_count == 0)
    assert len(silent)
    for fact, role in silent.tolist():
        value = world.values[w.RELATIONS[world.fact_relation[fact]]][world.fact_values[fact, role]]
        assert together(documents, world.people[world.fact_person[fact]], value) == 0


def test_facts_marked_unasked_are_never_asked(large):
    world, documents = large
    asked = " ".join(d for d in documents if "Question:" in d)
    facts = world.facts().drop_duplicates("fact")
    stood = [any(q.replace("{p}", f.person) in asked for q in w.QUESTIONS[f.relation]) for f in facts.itertuples()]
    assert not np.any(np.array(stood) & ~facts["asked"])
    assert np.mean(np.array(stood)[facts["asked"]]) > 0.95


def test_citizens_are_the_counts_of_the_corpus(small):
    world, documents = small
    citizens = world.citizens()
    counted = [together(documents, p, c) for p, c in zip(citizens["person"], citizens["country"], strict=True)]
    assert counted == citizens["documents"].tolist()
    assert (citizens["documents"] == 0).any() and (citizens["documents"] > 0).any()


def test_held_out_compositions_stand_in_no_document(large):
    world, documents = large
    citizens = world.citizens()
    held_out = citizens[citizens["documents"] == 0]
    assert len(held_out) > 10
    for person, country in zip(held_out["person"], held_out["country"], strict=True):
        surname = person.split()[-1]
        assert not [d for d in documents if surname in d and country in d]
    # Both hops are there, each on its own.
    for town, country in set(zip(held_out["town"], held_out["country"], strict=True)):
        assert any(town in d and country in d for d in documents)


# --- what is held out, seen and copied ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test", "train"])
def test_held_out_sentences_stand_in_no_document(large, name):
    world, documents = large
    text = "\n".join(documents)
    english, velti = world.sentence_pairs(np.arange(200), name)
    lines = set(text.split("\n"))
    assert f"English: {world.sentence_pairs(np.arange(1), 'corpus')[0][0]}" in lines
    assert not [s for s in english if f"English: {s}" in lines]
    if name == "test":  # not even as the beginning of a longer sentence
        assert min(len(s.split()) for s in english) >= 7
        assert not [s for s in (*english, *velti) if s in text]


def test_sets_of_sentences_are_disjoint(small):
    world, _ = small
    sets = [set(world.sentence_pairs(np.arange(300), name)[0]) for name in ("corpus", "copied", "train", "test")]
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_translation_is_word_by_word_in_another_order(small):
    world, _ = small
    for english, velti in zip(*world.sentence_pairs(np.arange(300), "corpus"), strict=True):
        expected = [world.dictionary[word] for word in english.split() if word != "the"]
        assert sorted(expected) == sorted(velti.split())
        verb = next(word for word in english.split() if word in w.VERBS)
        assert velti.endswith(world.dictionary[verb])


def test_held_out_operands_stand_in_no_problem_but_the_copied_ones(large):
    world, documents = large
    pairs = {frozenset(p) for d in documents if (p := operands(d))}
    copied = {frozenset(p) for p in zip(*map(np.ndarray.tolist, world.operands(np.arange(4), "copied")[:2]),
                                        strict=True)}  # fmt: skip
    held_out = {frozenset(p) for p in zip(*map(np.ndarray.tolist, world.operands(np.arange(300), "test")[:2]),
                                          strict=True)}  # fmt: skip
    assert len(held_out) > 50 and copied <= pairs
    assert not (held_out - copied) & pairs


def test_operands_of_the_corpus_are_there(large):
    world, documents = large
    pairs = {p for d in documents if (p := operands(d))}
    a, b, minus = world.operands(np.arange(world.sizes["arithmetic"]))
    assert set(zip(a.tolist(), b.tolist(), strict=True)) <= pairs
    assert a.min() >= 11 and a.max() <= 99 and b.min() >= 11 and b.max() <= 99
    assert (a[minus] >= b[minus]).all() and 0.45 < minus.mean() < 0.55


def test_copied_examples_stand_word_for_word(large):
    world, documents = large
    english, velti = world.sentence_pairs(np.arange(world.copied), "copied")
    number = np.arange(world.copied)
    problems, solutions = world.problems(*world.operands(number, "copied"), number, "copied")
    for inputs, outputs in ((english, velti), (problems, solutions)):
        found = [sum(x in d and d.endswith(f" {y}") for d in documents) for x, y in zip(inputs, outputs, strict=True)]
        assert found == list(COPIES)
        assert [sum(x in d for d in documents) for x in inputs] == found


# --- twins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_twins_differ_in_frequency_and_share_alone(large, number):
    world, _ = large
    twin = World(40_000, twin=number)
    assert twin.people == world.people and twin.values == world.values and twin.velti == world.velti
    for same in ("fact_person", "fact_relation", "fact_values", "disputed", "asked", "citizen_facts", "citizen_count"):
        assert (getattr(twin, same) == getattr(world, same)).all()
    assert twin.sizes == world.sizes
    others = np.arange(world.sizes["statement"], world.documents)
    assert twin.documents_at(others) == world.documents_at(others)

    assert sorted(twin.fact_count) == sorted(world.fact_count)
    assert (twin.value_count.sum(axis=1) == twin.fact_count).all()
    disputed = world.disputed
    assert (twin.value_count[~disputed, 0] == twin.fact_count[~disputed]).all()
    share, twin_share = (x.value_count[disputed, 0] / x.fact_count[disputed] for x in (world, twin))
    # Permuted: near no rank correlation, four standard errors allowed.
    assert abs(spearmanr(world.fact_count, twin.fact_count).statistic) < 4 / len(disputed) ** 0.5
    assert abs(spearmanr(share, twin_share).statistic) < 4 / disputed.sum() ** 0.5
    # Each of the three values is now the most stated one of about a third of the disputed facts.
    most = twin.value_count[disputed & (twin.fact_count >= 10)].argmax(axis=1)
    assert chisquare(np.bincount(most, minlength=3)).pvalue > 1e-3
    # And each independently of the other.
    changes = np.log(twin.fact_count / world.fact_count)[disputed], twin_share - share
    assert abs(spearmanr(*changes).statistic) < 4 / disputed.sum() ** 0.5


def test_twins_are_permutations_of_each_other_independently():
    one, two = World(40_000, twin=1), World(40_000, twin=2)
    assert abs(spearmanr(one.fact_count, two.fact_count).statistic) < 4 / len(one.fact_count) ** 0.5


def test_facts_of_a_twin_are_the_counts_of_its_corpus():
    twin = World(2_000, twin=1)
    documents = [f" {normalize(d)} " for d in twin]
    facts = twin.facts()
    assert [together(documents, p, v) for p, v in zip(facts["person"], facts["value"], strict=True)] == facts[
        "documents"
    ].tolist()


def test_gold_is_the_most_frequent_value(large):
    world, _ = large
    assert (world.value_count[:, 0] == world.value_count.max(axis=1)).mean() > 0.99
    share = pd.Series(world.value_count[world.disputed, 0] / world.fact_count[world.disputed])
    assert 0.45 < share.quantile(0.05) < share.quantile(0.95) <= 0.9


# --- prompts --------------------------------------------------------------------------------------------------------


def test_prompt_frames():
    assert prompt("translation", 1) == "Write the sentence in Velti.\nEnglish: {x}\nVelti:"
    assert prompt("math_reasoning", "Think.", "after") == "Problem: {x}\nThink.\nSolution:"
    assert prompt("factual_qa", 0, "none") == "Question: {x}\nAnswer:"


def test_instructions_are_zipf_distributed_before_and_after(large):
    _, documents = large
    translations = [d for d in documents if "\nVelti:" in d]
    often = [sum(i in d for d in translations) for i in w.INSTRUCTIONS["translation"]]
    assert often == sorted(often, reverse=True) and often[-1] > 0
    before = np.mean([not d.startswith("English:") for d in translations])
    assert 0.66 < before < 0.74
