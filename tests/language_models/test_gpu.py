"""On a GPU: the same numbers as on a CPU in float32, near them in bfloat16; spread by accelerate, and by Dask."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from taskgram_utils.language_models import jobs, neural
from taskgram_utils.language_models.loading import LanguageModel
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.training import SIZES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
NEAR = 1e-4  # nats a token: kernels of a GPU add in another order
MODEL = PACKAGE / "miniature/weights/main" / list(SIZES)[1]
WORDS = "the old fox of a town sleeps under one lamp and reads what others wrote in some other year".split()


def examples(count=200):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 25))) for _ in range(2 * count)]
    options = [[f" {WORDS[k % 18]}", f" {WORDS[(k + 5) % 18]} {WORDS[k % 7]}"] for k in range(count)]
    ids = [f"e{k}" for k in range(count)]
    return pd.DataFrame({"example_id": ids, "x": texts[::2], "y": [f" {t}" for t in texts[1::2]], "options": options})


@pytest.fixture(scope="module")
def on_cpu():
    return neural.score(examples(), neural.load(MODEL, device="cpu"), options=True)


def per_token(table, other):
    found = float(((table["logp"] - other["logp"]).abs() / table["tokens"]).max())
    print(f"at most {found:.2g} nats a token apart")
    return found


def test_float32_is_that_of_the_cpu(on_cpu):
    model = neural.load(MODEL, dtype="float32", device="cuda")
    table = neural.score(examples(), model, options=True)
    assert model.shares_prefix
    assert per_token(table, on_cpu) < NEAR
    small = neural.score(examples(), model, options=True, budget=64)
    assert per_token(small, table) < NEAR
    few = examples(20)
    answers = [neural.generate(few, one, 8)["output"].tolist() for one in (model, neural.load(MODEL, device="cpu"))]
    assert answers[0] == answers[1]


def test_bfloat16_is_near(on_cpu):
    model = neural.load(MODEL)
    assert model.network.device.type == "cuda" and model.network.dtype == torch.bfloat16
    table = neural.score(examples(), model, options=True)
    rho = spearmanr(table["logp"], on_cpu["logp"])[0]
    print(f"Spearman {rho:.6f}, largest log P {table['logp'].max():.2g}")
    assert (table["logp"] <= 0).all() and per_token(table, on_cpu) < 0.5 and rho > 0.999


def test_spread_by_accelerate(on_cpu):
    model: LanguageModel = neural.load(MODEL, dtype="float32", device="auto")
    assert per_token(neural.score(examples(), model, options=True), on_cpu) < NEAR


def test_a_worker_with_a_gpu(on_cpu):
    LocalCluster = pytest.importorskip("distributed").LocalCluster
    with LocalCluster(1, threads_per_worker=2, dashboard_address=None) as cluster:
        loading = jobs.Loading("float32", "cuda", False)
        table = jobs.score_all(examples(), jobs.specs([MODEL]), None, loading, cluster.scheduler_address, options=True)
    assert per_token(table, on_cpu) < NEAR
