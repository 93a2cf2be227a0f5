"""Agreement with lm-evaluation-harness's Hugging Face model class, on real questions under Pythia's tokenizer."""

from pathlib import Path

import numpy as np
import pytest

from taskgram_utils.language_models import neural
from tests.benchmarks import score_jobs

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (DATA / "mmlu").exists(), reason=f"no {DATA}/mmlu")]


@pytest.fixture(scope="module")
def model():
    score_jobs.SHAPES["tiny"] = (32, 2, 2, 50_304)
    model = score_jobs.pythia("tiny", DATA / "tokenizers/20B_tokenizer.json")
    for parameter in model.network.parameters():
        parameter.data.mul_(3)  # random weights, yet with preferences
    return model


@pytest.mark.parametrize(("many", "shots"), [(260, 0), (12, 5)])
def test_options_have_the_log_likelihoods_of_the_harness(model, many, shots):
    examples = score_jobs.questions(DATA, model, many, shots)
    table = neural.score(examples, model, options=True)
    ours, tokens = (table.loc[table["option"].notna(), c].to_numpy() for c in ("logp", "tokens"))
    theirs = score_jobs.harness_way(model, examples, 4)
    assert len(ours) == len(theirs) == 4 * many and (shots or len(ours) > 1_000)
    assert shots or {1, 2, 3, 10} <= set(tokens)
    assert (np.abs(ours - theirs) <= 1e-5 * tokens).all() and ours.std() > 1


def test_ngrams_have_the_log_probabilities_of_one_pass_each(model):
    examples = score_jobs.solutions(DATA, 3)
    points = score_jobs.ngrams(examples)[::7]
    table = neural.score(examples, model, points).dropna(subset="n")
    slow = score_jobs.one_by_one(model, examples, points)
    assert (np.abs(table["logp"].to_numpy() - slow) <= 1e-5 * table["tokens"].to_numpy()).all()
    assert (table["logp"] <= 0).all()
