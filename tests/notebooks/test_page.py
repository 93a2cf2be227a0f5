"""What a chapter keeps for its page: tables, paragraphs, words."""

import pandas as pd
import pytest

from taskgram_chapters import page


@pytest.fixture
def kept(monkeypatch):
    glued = {}
    monkeypatch.setattr(page, "glue", lambda key, value, display: glued.update({key: value}))
    return glued


def test_a_table_is_written_as_it_is_and_shows_what_is_missing(kept):
    frame = pd.DataFrame({"name": ["a", None], "value": ["1.50", "0.20"], "n": [3, float("nan")]})
    page.table("tab-x", frame)
    lines = kept["tab-x"].data.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["name", "value", "n"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert rows == [["a", "1.50", "3.0"], ["–", "0.20", "–"]]


def test_words_and_paragraphs(kept):
    page.texts({"one": "**bold**"})
    page.values({"two": 3, "three": "few"})
    assert kept["one"].data == "**bold**" and kept["two"] == "3" and kept["three"] == "few"


@pytest.mark.parametrize(("names", "sentence"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"),
                                                 (["a", "b", "c"], "a, b and c")])  # fmt: skip
def test_names_in_a_sentence(names, sentence):
    assert page.listed(names) == sentence


def test_a_paragraph_can_stand_in_a_sentence():
    assert repr(page.Words("3 of 4")) == "3 of 4"
