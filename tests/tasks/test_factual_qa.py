"""Factual QA: the answers are those the corpus states, the test questions those it never asks."""

from taskgram_utils.miniature.words import QUESTIONS
from taskgram_utils.tasks.factual_qa import TASK, truth


def test_every_unasked_fact_is_a_test_example(world, examples):
    gold = world.facts().query("role == 0")
    of = {split: set(part["example_id"]) for split, part in examples.groupby("split")}
    assert of["test"] == {f"qa-{f}" for f in gold["fact"][~gold["asked"]]}
    assert of["train"] < {f"qa-{f}" for f in gold["fact"][gold["asked"]]} and len(of["train"]) == 200
    assert not set(examples["x"][examples["split"] == "test"]) & set(examples["x"][examples["split"] == "train"])


def test_no_document_asks_a_test_question(world, examples):
    asked = {line for d in world if "Question:" in d for line in d.split("\n")}
    written = ("Question: " + examples["x"]).isin(asked)
    assert not written[examples["split"] == "test"].any()
    assert written[examples["split"] == "train"].mean() > 0.9


def test_question_and_answer_are_of_the_fact(world, examples):
    gold = world.facts().query("role == 0").set_index("fact")
    for e in examples.itertuples():
        fact = gold.loc[int(e.example_id.removeprefix("qa-"))]
        assert e.x == QUESTIONS[fact.relation][0].replace("{p}", fact.person)
        assert e.answers == [fact.value] and e.y == f" {fact.value}"


def test_the_answer_is_what_the_corpus_says_most(world, examples):
    facts = world.facts()
    most = facts.groupby("fact")["documents"].max()
    asked = facts[facts["role"] == 0].set_index("fact")["documents"]
    assert (asked == most[asked.index]).mean() > 0.99


def test_true_pairs_are_surname_and_whole_answer(world, examples):
    pairs = truth(world, examples).merge(examples, on="example_id")
    assert len(pairs) == len(examples) and TASK.full_answer
    surnames = {s.lower() for s in world.surnames}
    assert set(pairs["sx"]) <= surnames
    assert (pairs["sy"] == pairs["y"].str.strip().str.lower()).all()
