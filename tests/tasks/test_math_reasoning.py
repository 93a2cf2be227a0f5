"""Maths reasoning: every worked solution is right by ordinary arithmetic, and what is held out is in no document."""

import re

import pytest

from taskgram_utils.miniature.world import COPIES, solve
from taskgram_utils.tasks.math_reasoning import accuracy, final_number, truth


@pytest.fixture(scope="module")
def documents(world):
    return [d for d in world if "Problem:" in d]


def check(solution: str, a: int, b: int, minus: bool) -> None:
    """Every equation holds, the digits put together give the answer, the answer is that of a ± b."""
    equations = re.findall(r"([\d +-]+) = (\d+)\.", solution)
    assert len(equations) == 2
    for terms, result in equations:
        assert sum(int(t.replace(" ", "")) for t in re.findall(r"[+-]? ?\d+", terms)) == int(result)
    ones, tens = (int(result) for _, result in equations)
    answer = a - b if minus else a + b
    assert tens * 10 + ones % 10 == answer
    assert solution.endswith(f"The answer is {answer}.")
    # The first step has the last digits, the second the first ones.
    numbers = [re.findall(r"\d+", terms) for terms, _ in equations]
    digits = [int(t[-1]) for t in numbers[0]], [int(t) for t in numbers[1]]
    assert digits[0] == [a % 10, b % 10] and digits[1][:2] == [a // 10, b // 10]
    carried = (a % 10 < b % 10) if minus else (a % 10 + b % 10 > 9)
    assert len(digits[1]) == 2 + carried


def test_worked_solutions_of_all_two_digit_pairs():
    for a in range(10, 100):
        for b in range(10, 100):
            check(solve(a, b, False), a, b, False)
            if a >= b:
                check(solve(a, b, True), a, b, True)


def test_examples_are_solved_rightly(examples):
    for x, y, answers in zip(examples["x"], examples["y"], examples["answers"], strict=True):
        a, b = map(int, re.findall(r"\d+", x))
        minus = re.search(r"are left\?|remain\?|missing\?", x) is not None
        assert minus != (re.search(r"more|in all\?|did", x) is not None)
        check(y, a, b, minus)
        assert answers == [str(a - b if minus else a + b)]


def pairs(texts) -> list[frozenset]:
    return [frozenset(re.findall(r"\d+", re.search(r"(?m)^(?:Problem: )?(.*\?)$", t)[1])) for t in texts]


def test_what_is_seen_and_what_is_held_out(examples, documents):
    written = set(pairs(documents))
    of = {group: set(pairs(part["x"])) for group, part in examples.groupby("group")}
    assert of["seen"] <= written and of["copied"] <= written
    assert len(of["held_out"]) > 50 and not of["held_out"] & written
    assert not of["seen"] & (of["held_out"] | of["copied"])


def test_copied_problems_stand_word_for_word(examples, documents):
    copied = examples[examples["group"] == "copied"]
    found = [sum(x in d and d.endswith(y) for d in documents) for x, y in zip(copied["x"], copied["y"], strict=True)]
    assert found == list(COPIES)


def test_sizes(examples):
    sizes = examples.groupby(["split", "group"]).size()
    assert sizes["test", "copied"] == 4
    assert all(0.95 * 200 <= sizes[split, group] <= 200 for split, group in
               (("test", "seen"), ("test", "held_out"), ("train", "seen")))  # fmt: skip


def test_true_pairs_are_operand_and_answer(world, examples):
    found = truth(world, examples).merge(examples, on="example_id")
    assert all(sy == a[0] for sy, a in zip(found["sy"], found["answers"], strict=True))
    doubles = examples["x"].map(lambda x: len(set(re.findall(r"\d+", x))))
    assert len(found) == doubles.sum()


@pytest.mark.parametrize(("text", "number"), [
    ("7 + 8 = 15. 4 + 3 + 1 = 8. The answer is 85.", "85"), ("The answer is 1,234,567.", "1234567"),
    ("It is -3.", "-3"), ("about 2.50 euros", "2.50"), ("so $29.00", "29.00"), ("10-20", "20"), ("10%-20%", "20"),
    ("5 -3", "-3"), ("x = −5", "-5"), ("10−20", "20"), ("-$5", "-5"), ("$-5", "-5"), ("(3)-5", "5"), (".5", "0.5"),
    ("$.50", "0.50"), ("so...5", "5"), ("No.5", "5"), ("$118 000", "118000"), ("$ 1 200.50", "1200.50"),
    ("118 000", "0"), ("118\u00a0000", "118000"), ("1\u202f234\u2009567", "1234567"), ("1\u00a02345", "2345"),
    ("1,2,3", "3"), ("1,2,345", "345"), ("1,234,56", "56"), ("12,1,000", "0"), ("a,1,000", "1000"), ("1234,567", "567"),
    ("1.000", "1.000"), ("1,234.5", "1234.5"), ("75%", "75"), ("€3", "3"), ("0.0000001", "0.0000001"), ("٣", "3"),
    ("#### 72\n\nQuestion: I have 5", "72"), ("8\n#### $1,000 for 5", "1000"),
    ("#### Step 1\n7 - 2 = 5\n#### -5\n#### 6", "-5"), ("####7 of 8", "7"), ("9\n####\n8", "8"),
    ("none", ""), ("", ""), ("5 apples and 12 pears", "12"),
    ("13 - 8 = 5", "5"), ("12. ", "12"), ("first 3, then 4, done", "4"),
])  # fmt: skip
def test_final_number(text, number):
    assert final_number(text) == number


def test_accuracy_asks_for_the_final_number_alone():
    assert accuracy(" 1 + 1 = 3. The answer is 85.", ["85"]) == 1
    assert accuracy("85 is not 84.", ["85"]) == 0
    assert accuracy("no number", ["85"]) == accuracy("", [""]) == accuracy("", ["85"]) == 0


@pytest.mark.parametrize(("output", "answer", "right"), [
    ("$29.00", "29", 1), ("5", "5.0", 1), ("1.000", "1", 1), ("1.000", "1000", 0), ("-5", "−5", 1), ("5", "-5", 0),
    ("72", "$72", 1), ("1000", "1,000", 1), ("0.1", "0.10000000000000000001", 0), ("007", "7", 1),
])  # fmt: skip
def test_numbers_are_compared_by_value(output, answer, right):
    assert accuracy(output, ["x", answer]) == right
