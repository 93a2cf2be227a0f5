"""The paper's printed numbers: whole, with their source, and what is said of them true."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from taskgram_chapters.paper import printed, rank_correlations
from taskgram_utils.errors import InputError


def test_the_tables_are_whole():
    bleu = printed("wmt_bleu")
    assert bleu.groupby("model").size().eq(6).all() and bleu["model"].nunique() == 9
    assert bleu.groupby("language")["summed_count"].nunique().eq(1).all()
    assert bleu.notna().all().all()
    assert bleu.loc[bleu["model"] == "12b", "bleu"].tolist() == [11.86, 19.81, 23.01, 30.04, 27.95, 27.69]


def test_rank_correlations_of_the_printed_figure():
    found = rank_correlations(printed("wmt_bleu"), "summed_count", "bleu", "model").set_index("model").round(2)
    assert found.loc["12b", ["spearman", "p", "points"]].tolist() == [0.77, 0.07, 6]
    assert found.loc["410m", "spearman"] == 0.94


def test_exact_p_counts_every_order():
    table = pd.DataFrame({"g": "a", "x": range(6), "y": [3, 1, 2, 6, 4, 5]})
    orders = np.array([abs(stats.spearmanr(table.x, o).statistic) for o in itertools.permutations(table.y)])
    found = rank_correlations(table, "x", "y", "g")
    assert found["p_exact"].item() == pytest.approx((orders >= found["spearman"].item() - 1e-9).mean())


def test_an_unknown_table_is_refused():
    with pytest.raises(InputError, match="not one of prompts, wmt_bleu"):
        printed("bleu")
