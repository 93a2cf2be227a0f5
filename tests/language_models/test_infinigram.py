"""log P(s^y) of the ∞-gram model: which words are scored, after which context."""

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from taskgram_utils.counting.index import build_index
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.infinigram import infinigram_logp

TEXTS = ["ada was born in oslo", "ada was born in the bergen", "bob was born in oslo", "the cat of oslo"]
N, V = 20, 10


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return build_index(TEXTS, tmp_path_factory.mktemp("infinigram") / "i", progress=False)


@pytest.fixture
def examples():
    return pd.DataFrame(
        {
            "example_id": ["e1", "e2"],
            "task": "qa",
            "group": "g",
            "x": ["Ada was", "Where's Bob?"],
            "y": [" born in the Oslo, in Bergen", " Bob was Xyz"],
        }
    )


def points(*rows):
    frame = pd.DataFrame(rows, columns=["example_id", "n", "sx", "sy", "start"])
    return frame.assign(task="qa", group="g", end=0, cosine=0.5)


def one(frame):
    assert len(frame) == 1
    return frame.iloc[0]


def test_context_is_x_and_what_precedes_in_y(index, examples):
    row = one(infinigram_logp(points(("e1", 2, "ada was", "born in", 1)), examples, index))
    assert row["logp"] == pytest.approx(np.log(1 * 1))  # "ada was" is always followed by "born", that by "in"
    assert (row["tokens"], row["n_terms"], row["n_zero"]) == (2, 2, 0)
    row = one(infinigram_logp(points(("e1", 1, "ada was", "the", 9)), examples, index))
    assert row["logp"] == pytest.approx(np.log(1 / 2))


def test_words_removed_by_mining_are_context_not_target(index, examples):
    row = one(infinigram_logp(points(("e1", 2, "ada", "born oslo", 1)), examples, index))
    # "oslo" never follows "ada was born in the", "was born in the", "born in the", "in the", "the": five steps of .4,
    # so the floor 1 / (N + V) is above .4^5 * 3 / 20.
    assert row["logp"] == pytest.approx(np.log(1) + np.log(1 / (N + V)))
    assert (row["tokens"], row["n_zero"]) == (2, 1)


def test_backoff_and_floor(index, examples):
    found = infinigram_logp(points(("e2", 1, "bob", "xyz", 9), ("e2", 1, "bob", "was", 5)), examples, index)
    assert found["logp"].tolist() == pytest.approx([np.log(1 / (N + V)), 0])
    assert found["n_zero"].tolist() == [1, 0]
    ordered = examples.assign(x=["on oslo", ""], y=[" in", ""])
    row = one(infinigram_logp(points(("e1", 1, "oslo", "in", 1)), ordered, index))
    assert row["logp"] == pytest.approx(np.log(0.4 * 3 / N))


def by_hand(context, word):
    """P of a word by the longest suffix that any text has, and by backing off from it."""

    def follows(gram):
        starts = [(text.split(), k) for text in TEXTS for k in range(len(text.split()))]
        return sum(text[k : k + len(gram.split())] == gram.split() for text, k in starts)

    suffixes = [" ".join(context.split()[k:]) for k in range(len(context.split()))]
    suffixes = [s for s in suffixes if follows(s)]
    ratios = [follows(f"{s} {word}") / follows(s) for s in suffixes] + [follows(word) / N]
    backed_off = next((0.4**k * ratio for k, ratio in enumerate(ratios) if ratio), 0)
    return ratios[0], max(backed_off, 1 / (N + V))


@pytest.mark.parametrize(("context", "seen"), [
    ("ada was born in", 1), ("xyz was", 1), ("born in", 1), ("", 1),
    ("oslo", 0), ("the", 1),  # no text goes on after oslo
])  # fmt: skip
def test_what_the_probabilities_of_all_words_sum_to(index, context, seen):
    """The ratios of the longest suffix sum to 1, less the share of its occurrences at the end of a text. What backing
    off and the floor give to the other words comes on top: they do not sum to 1, and are no probabilities."""
    words = sorted({word for text in TEXTS for word in text.split()})
    asked = points(*((word, 1, "x", word, 1) for word in [*words, "unseen"]))
    each = pd.DataFrame({"example_id": [*words, "unseen"], "x": context}).assign(y=lambda t: " " + t["example_id"])
    ratios, backed_off = np.array([by_hand(context, word) for word in each["example_id"]]).T
    dropped = np.exp(infinigram_logp(asked, each, index, zero_handling="drop")["logp"].astype(float)).fillna(0)
    found = np.exp(infinigram_logp(asked, each, index)["logp"])
    assert len(words) == V and dropped.tolist() == pytest.approx(ratios) and dropped.sum() == pytest.approx(seen)
    assert found.tolist() == pytest.approx(backed_off) and abs(found.sum() - 1) > 1 / (N + V) - 1e-9


def test_zeros_dropped_as_in_the_paper_but_never_all_of_them(index, examples):
    asked = points(("e1", 2, "ada", "born oslo", 1), ("e1", 1, "ada", "oslo", 13))
    found = infinigram_logp(asked, examples, index, zero_handling="drop")
    assert found["logp"].iloc[0] == pytest.approx(0)
    assert np.isnan(found["logp"].iloc[1])
    assert found["n_zero"].tolist() == [1, 1]


def test_rows_are_distinct_points_and_whole_answers(index, examples):
    asked = points(("e1", 1, "ada", "in", 6), ("e1", 1, "was", "in", 6), ("e2", 1, "bob", "was", 5))
    found = infinigram_logp(asked, examples, index, whole=True)
    assert found["sy"].tolist() == ["in", "was", *examples["y"]]
    assert found["n"].isna().tolist() == [False, False, True, True]
    assert found["start"].tolist() == [6, 5, 0, 0]
    assert set(found["model"]) == {"infinigram"}
    assert found["tokens"].tolist() == [1, 1, 6, 3]
    words = points(*(("e2", 1, "x", w, s) for w, s in (("bob", 1), ("was", 5), ("xyz", 9))))
    assert found["logp"].iloc[3] == pytest.approx(infinigram_logp(words, examples, index)["logp"].sum())
    alone = infinigram_logp(None, examples, index, whole=True)
    pd.testing.assert_frame_equal(alone, found.iloc[2:].reset_index(drop=True), check_like=True)


def test_points_are_exact_where_the_index_counts_words(index, examples, tmp_path):
    asked = points(("e1", 1, "ada", "in", 6), ("e2", 1, "bob", "was", 5), ("e2", 1, "bob", "東京", 9))
    found = infinigram_logp(asked, examples.assign(y=[" born in the Oslo, in Bergen", " Bob was 東京"]), index)
    assert found["exact"].tolist() == [True, True, False]
    pieces = Tokenizer(BPE())
    pieces.pre_tokenizer, pieces.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    pieces.train_from_iterator(TEXTS, BpeTrainer(vocab_size=300, initial_alphabet=ByteLevel.alphabet()))
    pieces.save(str(tmp_path / "tokenizer.json"))
    for other in (build_index(TEXTS, tmp_path / "pieces", tmp_path / "tokenizer.json", progress=False),
                  build_index([*TEXTS, "東京タワーは東京にある" * 9], tmp_path / "text", progress=False)):  # fmt: skip
        assert infinigram_logp(asked[:2], examples, other)["exact"].tolist() == [False, False]


def test_an_empty_request_is_an_empty_table(index, examples):
    assert infinigram_logp(points(), examples, index).empty


def test_bad_points(index, examples):
    with pytest.raises(InputError, match="'born in' does not stand at character 2 of the y of example 'e1'"):
        infinigram_logp(points(("e1", 2, "ada", "born in", 2)), examples, index)
    with pytest.raises(InputError, match="does not stand"):
        infinigram_logp(points(("e1", 2, "ada", "bergen born", 23)), examples, index)
    with pytest.raises(InputError, match="'e9' is not in examples"):
        infinigram_logp(points(("e9", 1, "ada", "born", 1)), examples, index)
    with pytest.raises(InputError, match="missing column start"):
        infinigram_logp(points(("e1", 1, "ada", "born", 1)).drop(columns="start"), examples, index)
    with pytest.raises(InputError, match="zero_handling 'keep'"):
        infinigram_logp(points(("e1", 1, "ada", "born", 1)), examples, index, zero_handling="keep")
    with pytest.raises(InputError, match="twice"):
        infinigram_logp(points(), pd.concat([examples, examples]), index)
