"""What a task is: the registry, the checks of a user's examples, and what every task's tables promise."""

import pandas as pd
import pytest

from taskgram_utils.errors import InputError
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import normalize
from taskgram_utils.tasks.base import COLUMNS, check_examples, exact_match, registry, table, task, test_size

size_of_test = test_size
del test_size  # or it would be collected as a test
TASKS = ("factual_qa", "math_reasoning", "translation", "world_knowledge")


@pytest.fixture(scope="module")
def world():
    return World(40_000)


@pytest.fixture(scope="module")
def tables(world):
    return {name: task(name).miniature(world) for name in TASKS}


def test_registry_finds_every_file_with_a_task():
    assert tuple(sorted(registry())) == TASKS
    assert all(task(name).name == name for name in TASKS)


def test_unknown_task_is_named_with_those_there_are():
    with pytest.raises(InputError, match="task poetry: not one of factual_qa, math_reasoning, translation, world_know"):
        task("poetry")


@pytest.mark.parametrize("name", TASKS)
def test_examples_of_the_miniature(tables, name):
    one, examples = task(name), tables[name]
    assert list(examples.columns) == list(COLUMNS) and (examples["task"] == name).all()
    assert len(check_examples(examples)) == len(examples) and set(examples["split"]) == {"train", "test"}
    assert examples["y"].str.match(r" \S").all() and not examples["y"].str.contains(r"\s$").any()
    assert (examples["instruction"].str.count(r"\{x\}") == 1).all()
    assert not examples["x"].str.contains(r"[{}]").any()
    # The gold answer has full marks, a wrong one fewer.
    for score in one.metrics.values():
        assert all(score(y, a) == 1 for y, a in zip(examples["y"], examples["answers"], strict=True))
        assert all(score("zebra", a) < 1 for a in examples["answers"])
    assert (one.max_tokens == 0) == examples["options"].notna().all()
    assert all(own == ["\n"] for own in examples["stop"]) and not examples["y"].str.contains("\n").any()


@pytest.mark.parametrize("name", TASKS)
def test_true_pairs_stand_in_their_examples(world, tables, name):
    examples = tables[name]
    pairs = task(name).truth(world, examples)
    assert list(pairs.columns) == ["example_id", "sx", "sy"]
    assert set(pairs["example_id"]) == set(examples["example_id"]) and not pairs.duplicated().any()
    joined = pairs.merge(examples, on="example_id")
    for sx, sy, x, y in zip(joined["sx"], joined["sy"], joined["x"], joined["y"], strict=True):
        assert f" {sx} " in f" {normalize(x)} " and f" {sy} " in f" {normalize(y)} "


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_the_same_every_time_and_of_every_size(tables, name):
    pd.testing.assert_frame_equal(task(name).miniature(World(40_000)), tables[name])
    smallest = task(name).miniature(World(1_000))
    assert 0 < len(smallest) < len(tables[name])


def test_number_of_test_examples_follows_the_size():
    assert [size_of_test(World(d), 300) for d in (1_000, 20_000, 100_000)] == [20, 100, 300]


def test_a_users_examples_are_completed():
    given = pd.DataFrame({"example_id": [1, 2], "x": ["a", "b"], "y": [" c", " d"], "difficulty": [0.5, 0.7]})
    checked = check_examples(given)
    assert list(checked.columns) == [*COLUMNS, "difficulty"]
    assert checked["example_id"].tolist() == ["1", "2"] and (checked["split"] == "test").all()
    assert (checked["instruction"] == "").all() and checked["options"].isna().all()
    assert list(given.columns) == ["example_id", "x", "y", "difficulty"]


@pytest.mark.parametrize(("change", "message"), [
    ({"y": None}, "mine.csv: missing column y"),
    ({"example_id": ["a", "a"]}, "example_id a stands again in row 2"),
    ({"y": [" c", "  "]}, "example b has an empty y"),
    ({"example_id": [], "x": [], "y": []}, "mine.csv: holds no example"),
    ({"y": [None, " d"]}, "example a has an empty y"),
])  # fmt: skip
def test_bad_examples_are_refused(change, message):
    columns = {"example_id": ["a", "b"], "x": ["p", "q"], "y": [" c", " d"]} | change
    given = pd.DataFrame({k: v for k, v in columns.items() if v is not None})
    with pytest.raises(InputError, match=message):
        check_examples(given, "mine.csv")


def test_table_fills_task_options_and_gold():
    row = {"example_id": "a", "split": "test", "group": "g", "instruction": "", "x": "p", "y": " q", "answers": ["q"]}
    filled = table("mine", [row])
    assert list(filled.columns) == list(COLUMNS) and filled["task"].tolist() == ["mine"]
    assert filled["gold"].dtype == "Int64" and filled["gold"].isna().all() and filled["stop"].tolist() == [["\n"]]
    assert table("math_reasoning", [row])["stop"].tolist() == [["\n\n", "Question:"]]
    assert table("math_reasoning", [row | {"stop": ["."]}])["stop"].tolist() == [["."]]


@pytest.mark.parametrize(("output", "score"), [
    (" Plum soup", 1), ("plum SOUP.", 1), ("plum", 0), ("plum soup stew", 0), ("", 0), ("Eintopf", 1),
])  # fmt: skip
def test_exact_match(output, score):
    assert exact_match(output, ["plum soup", "eintopf"]) == score


@pytest.mark.parametrize(("output", "answer", "score"), [
    ("", "?", 0), (" ", "?", 0), (" ?", "?", 1), ("!", "?", 0), ("", "", 0), (" \n", " ", 0), ("?", "plum", 0),
    ("🐎", "🐎", 1), ("🐴", "🐎", 0), ("plum", "?", 0),
])  # fmt: skip
def test_an_answer_without_a_word_is_compared_as_written(output, answer, score):
    assert exact_match(output, [answer]) == score == exact_match(output, ["eintopf", answer])
