"""The task-gram table against a brute-force miner, its threshold against shuffling by hand, and real questions."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from taskgram_utils import mining
from taskgram_utils.embedding import load_embedding, train_embedding
from taskgram_utils.errors import InputError
from taskgram_utils.mining import (
    COLUMNS,
    calibrate,
    candidates,
    language_stopwords,
    mine,
    named_pairs,
)
from taskgram_utils.mining_checks import holds_truth, precision_recall
from taskgram_utils.ngrams import ENGLISH_STOPWORDS, ngrams, word_spans, words
from taskgram_utils.packaged import packaged

SHARED = Path(__file__).resolve().parents[1] / "../shared/data"


class Letters:
    """An embedding by character trigrams: enough to give every pair a cosine of its own."""

    name = "letters"

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        out = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(out, texts, strict=True):
            for a, b, c in zip(f" {text}", text, f"{text[1:]} ", strict=False):
                row[(ord(a) * 7 + ord(b) * 13 + ord(c) * 29) % 64] += 1
        return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """People in towns, two kinds of question, an embedding of the text that states them."""
    rng = np.random.default_rng(1)
    people = [
        f"{'abcdefgh'[i % 8]}nna {'bdgklmnp'[i // 8 % 8]}ur{'aeiou'[i % 5]}{'rstvz'[i % 5]}k{i}" for i in range(120)
    ]
    facts = [(p, kind, f"{kind}{rng.integers(12)}") for p in people for kind in ("Town", "Pet")]
    say = {"Town": "{} was born in {}.", "Pet": "{} keeps a {} at home."}
    text = [say[k].format(p.title(), v) for p, k, v in facts for _ in range(4)]
    ask = {"Town": "In which town was {} born?", "Pet": "Which pet does {} keep?"}
    examples = pd.DataFrame({
        "example_id": [f"q{i}" for i in range(len(facts))], "task": "qa", "group": [k for _, k, _ in facts],
        "x": [ask[k].format(p.title()) for p, k, _ in facts], "y": [f" {v}" for *_, v in facts],
    })  # fmt: skip
    truth = pd.DataFrame({
        "example_id": examples["example_id"], "sx": [words(p)[-1] for p, *_ in facts],
        "sy": [v.lower() for *_, v in facts],
    })  # fmt: skip
    return examples, train_embedding(text, tmp_path_factory.mktemp("world") / "e", dimension=60), truth


def brute(examples, n, embedding, without=frozenset(), whole=False):
    """{(example, sx, sy): cosine} by the definition, a pair at a time."""
    out = {}
    for row in examples.itertuples():
        x, y = ([w for w in words(t) if w not in without] for t in (row.x, row.y))
        ys = [" ".join(words(row.y))] * bool(words(row.y)) if whole else ngrams(y, n)
        for a, b in itertools.product(ngrams(x, n), ys):
            if a != b:
                out[row.example_id, a, b] = float(np.dot(*embedding.encode([a, b])))
    return out


TEXTS = [
    ("The King of France, the king!", " The king of Spain likes the King of France."),
    ("It's 1,000 co-ops: 48/2=24.", " 24 + 1,000 isn't it? It's 1,000"),
    ("Où est la cafe\u0301?", " Le café est là; là-bas, café."),
    ("one", ""),
]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("stopwords", ["kept", "mined", "both"])
@pytest.mark.parametrize("whole", [False, True])
def test_candidates_are_all_pairs_and_no_other(n, stopwords, whole):
    examples = pd.DataFrame(TEXTS, columns=["x", "y"]).assign(example_id=list("abcd"))
    without = ENGLISH_STOPWORDS if stopwords != "kept" and n <= 3 else frozenset()
    expected = brute(examples, n, Letters(), without, whole)
    found = candidates(examples, n, Letters(), stopwords, full_answer=whole)
    assert list(found.columns) == COLUMNS
    assert found["task"].isna().all() and (found["n"] == n).all()
    got = dict(zip(zip(found["example_id"], found["sx"], found["sy"], strict=True), found["cosine"], strict=True))
    assert len(got) == len(found) and got.keys() == expected.keys()
    np.testing.assert_allclose([got[k] for k in expected], list(expected.values()), atol=1e-6)


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_long_ngrams_are_those_of_the_definition(n):
    x = "In which year did the first of the three towns on the river build a wall of stone around the old market?"
    y = " The first of the three towns on the river built its wall of stone in the year of the great flood."
    examples = pd.DataFrame({"example_id": ["a", "b"], "x": [x, y], "y": [y, x]})
    expected = brute(examples, n, Letters())
    found = candidates(examples, n, Letters())  # above n = 3 stop words stay
    got = dict(zip(zip(found["example_id"], found["sx"], found["sy"], strict=True), found["cosine"], strict=True))
    assert got.keys() == expected.keys() and len(got) > 100
    np.testing.assert_allclose([got[k] for k in expected], list(expected.values()), atol=1e-6)
    same = {(a, b) for _, a, b in got} & {(a, a) for _, a, _ in got}
    assert not same and found["example_id"].nunique() == 2  # identical pairs go, their example stays


def test_places_are_the_first_occurrence_and_spell_the_output():
    examples = pd.DataFrame(TEXTS, columns=["x", "y"]).assign(example_id=list("abcd"))
    y = dict(zip(examples["example_id"], examples["y"], strict=True))
    for n, stopwords in itertools.product((1, 2, 3), ("kept", "mined")):
        for row in candidates(examples, n, Letters(), stopwords).itertuples():
            inside = words(y[row.example_id][row.start : row.end])
            assert " ".join(w for w in inside if stopwords == "kept" or w not in ENGLISH_STOPWORDS) == row.sy
    pairs = candidates(examples, 2, Letters()).drop_duplicates(["example_id", "sy"]).set_index(["example_id", "sy"])
    start, end = pairs.loc[("a", "king spain"), ["start", "end"]]
    assert y["a"][start:end] == "king of Spain"
    singles = candidates(examples, 1, Letters()).drop_duplicates(["example_id", "sy"]).set_index(["example_id", "sy"])
    assert singles.loc[("a", "king"), "start"] == y["a"].index("king")
    assert singles.loc[("b", "1000"), "start"] == y["b"].index("1,000")


def first_written(text, ngram, without):
    """The first place of an n-gram, by brute force: the exact characters, or the kept words joined."""
    spans = [w for w in word_spans(text) if w.text not in without]
    n = ngram.count(" ") + 1
    for some in (spans[i : i + n] for i in range(len(spans))):
        if [w.text for w in some] == ngram.split():
            piece = text[some[0].start : some[-1].end]
            return piece if words(piece) == ngram.split() else " ".join(text[w.start : w.end] for w in some)
    raise AssertionError(ngram)


def test_thresholds_of_examples_without_a_task_are_what_mining_takes(world):
    examples, embedding, _ = world
    examples = examples.drop(columns="task")
    gamma = calibrate(examples, 1, embedding).set_index("task").gamma.to_dict()
    whole = mine(examples, 1, next(iter(gamma.values())), embedding)
    pd.testing.assert_frame_equal(mine(examples, 1, gamma, embedding), whole)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("stopwords", ["kept", "mined"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ngrams_stand_beside_the_characters_that_they_were_made_of(n, stopwords, whole):
    own = "Who's ADA Lovarn's co-worker, and ada-lovarn?", " It is Ada\nLovarn, the Baker of 1,000 breads."
    texts = [*TEXTS, own]
    examples = pd.DataFrame(texts, columns=["x", "y"]).assign(example_id=range(len(texts)))
    found = candidates(examples, n, Letters(), stopwords, full_answer=whole)
    without = ENGLISH_STOPWORDS if stopwords == "mined" and n <= 3 else frozenset()
    for row in found.itertuples():
        x, y = texts[int(row.example_id)]
        assert row.sx_text == first_written(x, row.sx, without)
        assert row.sy_text == first_written(y, row.sy, frozenset() if whole else without)
        assert " ".join(words(row.sx_text)) == row.sx and " ".join(words(row.sy_text)) == row.sy
    assert (found["sx_text"] != found["sx"]).any() and (found["sy_text"] != found["sy"]).any()
    if (n, stopwords, whole) == (2, "mined", False):
        written = found.drop_duplicates("sy").set_index("sy")["sy_text"]
        assert written["ada lovarn"] == "Ada\nLovarn" and written["baker 1000"] == "Baker 1,000"


def test_mining_keeps_what_is_above_gamma(world):
    examples, embedding, _ = world
    every = candidates(examples, 2, embedding, full_answer=True)
    for gamma in (0.2, 0.6):
        kept = mine(examples, 2, gamma, embedding, full_answer=True)
        pd.testing.assert_frame_equal(kept, every[every["cosine"] > gamma].reset_index(drop=True))
    assert kept.dtypes.astype(str).to_dict() == {
        "task": "str", "group": "str", "example_id": "str", "n": "int64", "sx": "str", "sy": "str", "start": "int64",
        "end": "int64", "cosine": "float64", "sx_text": "str", "sy_text": "str"}  # fmt: skip


def test_gamma_and_whole_answers_per_task():
    examples = pd.DataFrame({
        "example_id": ["a", "b"], "task": ["qa", "mt"], "x": ["house mouse", "house mouse"], "y": ["a house boat"] * 2,
    })  # fmt: skip
    kept = mine(examples, 1, {"qa": 0.01, "mt": 0.3}, Letters(), full_answer={"qa"})
    assert set(kept.loc[kept["task"] == "qa", "sy"]) == {"a house boat"}
    assert set(kept.loc[kept["task"] == "mt", "sy"]) <= {"house", "boat"}
    with pytest.raises(InputError, match="gamma is given per task, but not for mt"):
        mine(examples, 1, {"qa": 0.1}, Letters())


def test_distinct_ngrams_are_embedded_once(monkeypatch):
    examples = pd.DataFrame({
        "example_id": [f"e{i}" for i in range(40)], "x": [f"red house {i % 3}" for i in range(40)], "y": " blue house",
    })  # fmt: skip
    embedding = Letters()
    once = candidates(examples, 1, embedding)
    assert len(embedding.asked) == len(set(embedding.asked)) == 6
    monkeypatch.setattr("taskgram_utils.mining._ENCODED", 4)
    pd.testing.assert_frame_equal(candidates(examples, 1, Letters()), once)


def test_calibration_lets_the_asked_share_of_shuffled_pairs_pass(world):
    examples, embedding, _ = world
    every = candidates(examples, 1, embedding)
    for within in (False, True):
        gamma = calibrate(examples, 1, embedding, within_group=within)["gamma"].iloc[0]
        # By hand: each s^x with each s^y of every other example (of its group) but its own one's, here a single word.
        sx, sy, group = (every[c].to_numpy() for c in ("sx", "sy", "group"))
        cosine = embedding.encode(sx.tolist()) @ embedding.encode(sy.tolist()).T
        shuffled = cosine[(sy[:, None] != sy) & ((not within) | (group[:, None] == group))]
        assert (shuffled > gamma).mean() < 0.052
        assert (shuffled > gamma - 0.005).mean() > 0.048, "a smaller threshold would do as well"


def test_calibration_reports_what_it_drew(world):
    examples, embedding, _ = world
    asked = dict(share=0.1, draws=20_000, full_answer=True)
    table = calibrate(examples, 2, embedding, **asked)
    row = table.iloc[0]
    assert row["task"] == "qa" and row["n"] == 2 and 0.09 < row["shuffled_share"] <= 0.1
    every = candidates(examples, 2, embedding, full_answer=True)
    assert row["own_share"] == pytest.approx((every["cosine"] > row["gamma"]).mean(), abs=0.02)
    pd.testing.assert_frame_equal(table, calibrate(examples, 2, embedding, **asked))
    rng = np.random.default_rng(9)
    vectors = embedding.encode(every["sx"].tolist()), embedding.encode(every["sy"].tolist())
    turned = rng.permutation(len(every))
    stranger = every.iloc[turned].reset_index(drop=True)
    strangers = ((every["group"] == stranger["group"]) & (every["sy"] != stranger["sy"])).to_numpy()
    shuffled = (vectors[0] * vectors[1][turned]).sum(axis=1)[strangers]
    auc = roc_auc_score(np.r_[np.ones(len(every)), np.zeros(len(shuffled))], np.r_[every["cosine"], shuffled])
    assert row["auc"] == pytest.approx(auc, abs=0.05)


def test_calibrated_mining_finds_the_truth(world):
    examples, embedding, truth = world
    for n, least in ((1, 0.75), (2, 0.8)):
        gamma = calibrate(examples, n, embedding, full_answer=True)["gamma"].iloc[0]
        every = candidates(examples, n, embedding, full_answer=True)
        known = holds_truth(every, truth)
        row = precision_recall(every, known, [gamma]).iloc[0]
        assert row["precision"] > least and row["recall"] > 0.95, row.to_dict()
        assert roc_auc_score(known, every["cosine"]) > 0.95


def test_truth_is_of_the_example_and_of_whole_words():
    columns = ["example_id", "sx", "sy"]
    pairs = [
        ("a", "old dog", "korva mi"),
        ("b", "old dog", "korva mi"),
        ("a", "hotdog", "korva"),
        ("a", "dog", "korvat"),
    ]
    pairs = pd.DataFrame(pairs, columns=columns)
    truth = pd.DataFrame([("a", "dog", "korva"), ("c", "old", "mi")], columns=columns)
    assert holds_truth(pairs, truth).tolist() == [True, False, False, False]


def test_precision_and_recall_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    pairs = pd.DataFrame({"cosine": rng.integers(0, 20, 300) / 20})  # ties with the thresholds
    truth = rng.random(300) < 0.2 + 0.5 * pairs["cosine"]
    table = precision_recall(pairs, truth, [0.0, 0.25, 0.5, 0.9, 0.99])
    for row in table.iloc[:-1].itertuples():
        mined = pairs["cosine"] > row.gamma
        assert row[4:7] == pytest.approx(precision_recall_fscore_support(truth, mined, average="binary")[:3])
    assert np.isnan(table["precision"].iloc[-1]) and table["mined"].iloc[-1] == table["recall"].iloc[-1] == 0


def test_several_shares_are_calibrated_at_once(world):
    examples, embedding, _ = world
    shares = (0.3, 0.05)
    one_by_one = [calibrate(examples, 1, embedding, share=share) for share in shares]
    both = calibrate(examples, 1, embedding, share=shares)
    pd.testing.assert_frame_equal(both, pd.concat(one_by_one, ignore_index=True))


def test_bad_input_is_one_clear_line(world):
    examples, embedding, _ = world
    bad = [
        (dict(n=0), "n must be a whole number of 1 or more, got 0"),
        (dict(gamma=0), "gamma must lie between 0 and 1, got 0.0"),
        (dict(gamma=1), "gamma must lie between 0 and 1, got 1.0"),
        (dict(gamma=float("nan")), "gamma must lie between 0 and 1, got nan"),
        (dict(stopwords="some"), "stopwords must be one of kept, mined, both, got some"),
        (dict(examples=examples.drop(columns="y")), "examples: missing column y"),
        (dict(examples=examples.head(0)), "the table is empty"),
        (dict(examples=examples.assign(y=None)), "x or y is missing in 240 rows"),
        (dict(examples=pd.concat([examples, examples.head(1)])), "example_id q0 stands there more than once"),
        (dict(n=9), "no example has a 9-gram in its x and another in its y"),
        (dict(gamma=0.999), r"no pair of \d+ at n = 1 has a cosine above gamma; the closest: 0\.\d+"),
    ]
    for change, message in bad:
        with pytest.raises(InputError, match=message):
            mine(**{"examples": examples, "n": 1, "gamma": 0.5, "embedding": embedding, **change})
    with pytest.raises(InputError, match="could be shuffled"):
        calibrate(examples.head(1), 1, embedding)
    for share in (0, (0.05, 1)):
        with pytest.raises(InputError, match="share must lie between 0 and 1"):
            calibrate(examples, 1, embedding, share=share)
    with pytest.raises(InputError, match="no candidate pair is true"):
        precision_recall(every := candidates(examples, 1, embedding), np.zeros(len(every), bool), 0.5)
    with pytest.raises(InputError, match=r"960 pairs, but truth of shape \(3,\)"):
        precision_recall(every, np.ones(3, bool), 0.5)


@pytest.mark.slow
def test_real_questions_with_a_real_embedding(packages):
    """Questions with their answers are closer than with other questions' answers, by a published embedding."""
    path = SHARED / "wikidata_qa/bigbench_qa_wikidata.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path}")
    for package in ("all_minilm_l6_v2", "sentence_transformers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: mining with a real embedding is not tested")
    rows = pd.read_json(path, lines=True, nrows=150)
    examples = pd.DataFrame({"example_id": rows.index, "x": rows["context"], "y": " " + rows["continuation"]})
    embedding = load_embedding(packaged("all-MiniLM-L6-v2", packages))
    table = calibrate(examples, 2, embedding, full_answer=True, draws=20_000)
    assert table["auc"].iloc[0] > 0.75 and table["own_share"].iloc[0] > 5 * table["shuffled_share"].iloc[0]
    kept = mine(examples, 2, table["gamma"].iloc[0], embedding, full_answer=True)
    assert kept["example_id"].nunique() > len(rows) / 3


@pytest.mark.parametrize("block", [1, 3, 1_000])
def test_each_distinct_ngram_is_embedded_once_whatever_the_blocks(monkeypatch, block):
    examples = pd.DataFrame(TEXTS * 5, columns=["x", "y"]).assign(example_id=range(5 * len(TEXTS)))
    whole, letters = candidates(examples, 2, Letters(), "kept"), Letters()
    for name in ("_ENCODED", "_IN_MEMORY"):
        monkeypatch.setattr(mining, name, block)
    parts = candidates(examples, 2, letters, "kept")
    assert len(letters.asked) == len(set(letters.asked)) > block or block == 1_000
    pd.testing.assert_frame_equal(parts, whole)


def test_vectors_of_many_ngrams_lie_in_a_file(monkeypatch):
    texts = [f"word {i}" for i in range(50)]
    monkeypatch.setattr(mining, "_IN_MEMORY", 10)
    monkeypatch.setattr(mining, "_ENCODED", 7)
    vectors = mining._vectors(texts, Letters())
    assert isinstance(vectors, np.memmap)
    np.testing.assert_array_equal(np.asarray(vectors), Letters().encode(texts))


def test_stop_words_of_each_groups_language():
    examples = pd.DataFrame({"example_id": ["a", "b"], "task": "t", "group": ["en-de", "en-fr"],
                             "x": "the house is old", "y": [" das Haus ist alt", " la maison est belle"]})  # fmt: skip
    y = {"en-de": language_stopwords("de"), "en-fr": language_stopwords("fr")}
    found = candidates(examples, 1, Letters(), "mined", stopwords_y=y)
    assert set(found["sx"]) == {"house", "old"}
    said = found.groupby("example_id")["sy"].agg(set)
    assert "haus" in said["a"] and not said["a"] & {"das", "ist"}
    assert "maison" in said["b"] and not said["b"] & {"la", "est"}
    with pytest.raises(InputError, match="stop words are given per group, but not for en-fr"):
        candidates(examples, 1, Letters(), "mined", stopwords_y={"en-de": set()})


@pytest.mark.parametrize("code", ["en", "hu", "cs", "de", "it", "es", "fr"])
def test_every_language_of_the_paper_has_stop_words_as_words_are_counted(code):
    listed = language_stopwords(code)
    assert len(listed) > 100 and all(words(w) == [w] for w in listed)
    with pytest.raises(InputError, match="language xx: has no list of stop words"):
        language_stopwords("xx")


def test_a_named_subject_has_its_pair_with_the_whole_answer_and_no_threshold():
    examples = pd.DataFrame({
        "example_id": list("abcde"), "task": "qa", "group": "g", "x": "?",
        "y": [" New York!", " Oslo", " ", " Rome", " Rome"], "sx": ["The U.S. Open", None, "Norway", "ROME", "Italy"],
    })  # fmt: skip
    table = named_pairs(examples, 1)
    assert table[["example_id", "sx", "sy"]].to_numpy().tolist() == [
        ["a", "the u s open", "new york"], ["e", "italy", "rome"]]  # fmt: skip
    assert list(table.columns) == COLUMNS and table["cosine"].isna().all() and (table["n"] == 1).all()
    assert examples["y"][0][table["start"][0] : table["end"][0]] == "New York"
    assert table[["sx_text", "sy_text"]].to_numpy().tolist() == [["The U.S. Open", "New York"], ["Italy", "Rome"]]


def test_a_task_without_a_pair_is_refused_or_left_out():
    examples = pd.DataFrame({"example_id": range(30), "task": "t", "x": "one two three", "y": " four"})
    with pytest.raises(InputError, match="only 0 pairs could be shuffled"):
        calibrate(examples, 2, Letters(), stopwords="kept")
    assert calibrate(examples, 2, Letters(), stopwords="kept", empty=True).empty
    with pytest.raises(InputError, match="no example has a 2-gram in its x and another in its y"):
        mine(examples, 2, 0.5, Letters(), "kept")
    assert list(mine(examples, 2, 0.5, Letters(), "kept", empty=True).columns) == COLUMNS
