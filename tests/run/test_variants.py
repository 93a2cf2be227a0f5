"""Controls of a run: a small world and an untrained model, against runs with other parameters and by hand."""


import numpy as np
import pandas as pd
import pytest
from scipy import stats

from taskgram_utils.ngrams import normalize
from taskgram_utils.run.pipeline import RECIPES, corpus
from taskgram_utils.run.variants import Changed
from tests.run.untrained import runs

KEYS = ["example_id", "n", "sy", "start"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Opens a run over 2,000 documents whose one model has learnt nothing, with parameters replaced."""
    return runs(tmp_path_factory.mktemp("variants"), tasks=["translation", "world_knowledge"])


@pytest.fixture(scope="module")
def variants(opened):
    return opened().table("variants/2")


def test_each_choice_has_the_runs_own_and_others(opened, variants):
    mem = opened().table("memorization").query("measure == 'spearman'")
    own = {lm: mem[mem["count_model"] == lm].set_index(["task", "group"])["estimate"] for lm in set(mem["count_model"])}
    for choice, rows in variants.groupby("choice"):
        assert rows["variant"].nunique() > 1 and rows.loc[rows["default"], "variant"].nunique() == 1
        default = rows[rows["default"]].set_index(["task", "group"])["estimate"]
        pd.testing.assert_series_equal(default, own["infinigram" if choice.startswith("∞") else "taskgram"])


@pytest.mark.parametrize(("variant", "parameters"), [
    ("20% of shuffled", {"shuffled_share": 0.2}),
    ("mined", {"stopwords": "mined"}),
    ("words:8", {"document": "words:8"}),
    ("κ = 10", {"kappa": 10.0}),
    ("zeros dropped", {"zero_handling": "drop"}),
    ("per pair", {"form": "per_pair"}),
    ("drop", {"infinigram_zero_handling": "drop"}),
])  # fmt: skip
def test_a_variant_is_a_run_with_that_parameter(opened, variants, variant, parameters):
    other = opened(variant, **parameters).table("memorization").query("measure == 'spearman'")
    rows = variants[variants["variant"] == variant]
    both = rows.merge(other, on=["task", "group", "count_model"], suffixes=("", "_other"))
    assert len(both) == len(rows) > 1 and (both["points"] == both["points_other"]).all()
    np.testing.assert_allclose(both["estimate"], both["estimate_other"], atol=1e-12)


def test_the_papers_ratio_divides_documents_by_occurrences(opened, variants):
    run = opened()
    texts = [f" {normalize(text)} " for text in corpus(run)]
    grams, scores = run.table("taskgrams"), run.table("scores")
    grams = grams[(grams["task"] == "world_knowledge") & (grams["group"] == "knowledge")]
    texts = [text.replace(" ", "  ") for text in texts]  # so that neighbours do not share a space
    occurrences = {s: sum(text.count(f" {s} ".replace(" ", "  ")) for text in texts) for s in set(grams["sx"])}
    counts = run.table("counts").query("half.isna()").set_index(["sx", "sy"])["count"]
    rates = {pair: counts[pair] for pair in set(zip(grams["sx"], grams["sy"], strict=True)) if occurrences[pair[0]]}
    p0 = sum(rates.values()) / sum(occurrences[sx] for sx, _ in rates)
    logp = [np.log((counts[sx, sy] + p0) / (occurrences[sx] + 1)) if occurrences[sx] else np.nan
            for sx, sy in zip(grams["sx"], grams["sy"], strict=True)]  # fmt: skip
    points = grams.assign(logp=logp).dropna(subset="logp").groupby(KEYS)["logp"].mean().round(12).reset_index()
    points = points.merge(scores.dropna(subset="n"), on=KEYS, suffixes=("", "_model"))
    row = variants[(variants["variant"] == "occurrences") & (variants["group"] == "knowledge")]
    assert row["estimate"].item() == pytest.approx(stats.spearmanr(points["logp"], points["logp_model"]).statistic)


def test_a_changed_run_reads_what_it_does_not_make_and_touches_nothing(opened):
    run = opened()
    before = run.table("taskgram_lm")
    changed = Changed(run, {"taskgram_lm": RECIPES["taskgram_lm"].make}, kappa=10.0)
    assert changed["kappa"] == 10 and changed["form"] == run["form"] and changed.name == run.name
    assert changed.table("counts").equals(run.table("counts"))
    assert not np.allclose(changed.table("taskgram_lm")["logp"], before["logp"])
    assert changed.table("taskgram_lm") is changed.table("taskgram_lm") and run.table("taskgram_lm").equals(before)


def test_the_placebos_pairs_are_counted_in_the_text(opened):
    run = opened()
    texts = [f" {normalize(text)} " for text in corpus(run)]
    pairs, counts = run.table("placebo_outputs").dropna(subset="placebo"), run.table("exchanged_counts")
    counts = counts.set_index(["sx", "sy"])["count"]
    for row in pairs.sample(30, random_state=0).itertuples():
        assert counts[row.sx, row.placebo] == sum(f" {row.sx} " in t and f" {row.placebo} " in t for t in texts)
    table = run.table("placebo")
    assert table["log_ratio"].notna().all()
    wide = table.pivot(index=["task", "group"], columns="count_model", values=["estimate", "points"])
    mem, points = wide["estimate"].astype(float), wide["points"]
    assert mem.notna().all(axis=1).any() and points.nunique(axis=1).eq(1).all()
    np.testing.assert_allclose(mem["taskgram - placebo"], mem["taskgram"] - mem["placebo"])


def test_right_less_wrong_is_by_example(opened):
    run = opened()
    examples = run.table("examples").set_index("example_id")
    scores = run.table("scores").dropna(subset="option")
    gold = scores["option"] == scores["example_id"].map(examples["gold"])
    less = scores[gold].set_index("example_id")["logp"] - scores[~gold].groupby("example_id")["logp"].mean()
    keys = ["example_id", "n", "sy", "start"]
    sides = [run.table(name).set_index(keys)["logp"] for name in ("taskgram_lm", "distractor_lm")]
    points = (sides[0] - sides[1]).dropna().reset_index()
    points["group"], points["less"] = points["example_id"].map(examples["group"]), points["example_id"].map(less)
    table = run.table("choices").query("of == 'right - wrong'").set_index("group")["estimate"]
    assert len(table)
    for group, rows in points.groupby("group").filter(lambda rows: len(rows) > 2).groupby("group"):
        assert table[group] == pytest.approx(stats.spearmanr(rows["logp"], rows["less"]).statistic)
