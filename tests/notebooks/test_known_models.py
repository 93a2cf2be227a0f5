"""Models whose knowledge is known: what they put out, and what Mem says of them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from taskgram_chapters import known_models as km
from taskgram_utils.language_models.taskgram import taskgram_halves, taskgram_logp

RNG = np.random.default_rng(3)
OUTPUTS = [f"value{k}" for k in range(30)]
EXAMPLES = [f"qa-{k}" for k in range(300)]
DRAWN = RNG.choice(OUTPUTS, len(EXAMPLES), p=(w := 1 / np.arange(3, 33)) / w.sum())
GRAMS = pd.DataFrame({"task": "factual_qa", "group": "facts", "example_id": EXAMPLES, "n": 2,
                      "sx": [f"person {k}" for k in EXAMPLES], "sy": DRAWN, "start": 1})  # fmt: skip
SCORES = GRAMS.drop(columns="sx").assign(tokens=RNG.integers(1, 5, len(GRAMS)), model="network", logp=-1.0)


def counts():
    """Counts of the pairs, of both sides and of either half."""
    of_x = RNG.integers(20, 300, len(GRAMS))
    joint = RNG.binomial(of_x, RNG.uniform(0.05, 0.9, len(GRAMS)))
    many = pd.Series(joint, DRAWN).groupby(level=0).sum()
    singles = zip(GRAMS["sx"], of_x, strict=True)
    rows = [*zip(GRAMS["sx"], GRAMS["sy"], joint, strict=True), *((x, None, c) for x, c in singles),
            *((y, None, 3 * c) for y, c in many.items())]  # fmt: skip
    whole = pd.DataFrame(rows, columns=["sx", "sy", "count"]).assign(half=pd.NA)
    first = whole.assign(count=RNG.binomial(whole["count"], 0.5), half=0)
    pair = first["sy"].notna()
    first.loc[pair, "count"] = np.minimum(first.loc[pair, "count"], first.set_index("sx")["count"][
        first.loc[pair, "sx"]].groupby(level=0).last().reindex(first.loc[pair, "sx"]).to_numpy())  # fmt: skip
    second = whole.assign(count=whole["count"] - first["count"], half=1)
    return pd.concat([whole, first, second], ignore_index=True).astype({"half": "Int64"})


COUNTS = counts()


def test_another_draw_has_the_same_means_and_never_more_pairs_than_inputs():
    draws = [km.another_draw(COUNTS, seed) for seed in range(200)]
    whole = COUNTS[COUNTS["half"].isna()]
    mean = np.mean([d["count"] for d in draws], axis=0)
    error = np.sqrt(whole["count"].clip(lower=1) / 200)
    assert (np.abs(mean - whole["count"]) < 5 * error).all()
    for drawn in draws[:5]:
        single = drawn[drawn["sy"].isna()].set_index("sx")["count"]
        pairs = drawn[drawn["sy"].notna()]
        assert (pairs["count"] <= pairs["sx"].map(single)).all()


def test_known_models_put_out_what_they_know():
    shares = {key: 0.5 for key in EXAMPLES[:40]}
    known = km.known_models(GRAMS, COUNTS, SCORES, shares).set_index(["model", "example_id"])["logp"]
    assert len(known[km.ORACLE]) == 40 and np.allclose(known[km.ORACLE], np.log(0.5))
    memory = taskgram_logp(GRAMS, km.another_draw(COUNTS)).set_index("example_id")["logp"]
    pd.testing.assert_series_equal(known[km.MEMORIZER], memory.loc[known[km.MEMORIZER].index], check_names=False)
    pd.testing.assert_series_equal(known["mixture 1.0"], known[km.MEMORIZER], check_names=False)
    pd.testing.assert_series_equal(known["mixture 0.0"], known[km.FREQUENCY], check_names=False)
    half = np.log((np.exp(known[km.MEMORIZER]) + np.exp(known[km.FREQUENCY])) / 2)
    np.testing.assert_allclose(known["mixture 0.5"], half)
    assert (known[km.RULES] < 0).all() and known[km.RULES].mean() > -0.2


def test_mem_of_known_models():
    known = km.known_models(GRAMS, COUNTS, SCORES, {})
    halves = taskgram_halves(GRAMS, COUNTS)
    table = km.mem_of_known(known, taskgram_logp(GRAMS, COUNTS), halves, GRAMS, COUNTS)
    raw = table[table["measure"] == "spearman"].set_index("model")
    given = table[table["measure"] == km.GIVEN].set_index("model")
    assert raw.loc[km.MEMORIZER, "estimate"] == pytest.approx(raw.loc[km.MEMORIZER, "ceiling"], abs=0.05)
    for model in (km.FREQUENCY, km.RULES):
        assert given.loc[model, "low"] < 0 < given.loc[model, "high"]
    assert given.loc[km.MEMORIZER, "low"] > 0.7
    mixed = given.loc[[f"mixture {k / 10:.1f}" for k in range(1, 11)], "estimate"]
    assert (mixed > given.loc["mixture 0.0", "estimate"]).all()


def test_how_many_examples_are_needed():
    n = 800
    values = RNG.normal(size=(2, n))
    independent = pd.DataFrame({"example_id": np.arange(n).astype(str), "sy": np.arange(n).astype(str), "start": 0,
                                "logp_count_model": values[0], "logp_model": values[1]})  # fmt: skip
    table = km.needed(independent, (50, 200, 800, 5000), draws=10)
    assert set(table["examples"]) == {50, 200, 800}
    by_size = table.drop_duplicates("examples").set_index("examples")["half_width"]
    for size, half in by_size.items():  # of independent points Fisher's z has the variance 1.06 / (N - 3)
        assert half == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(1.06 / (size - 3)), rel=0.2)
    power = table.set_index(["examples", "mem"])["power"]
    assert power[200, 0.2] == pytest.approx(stats.norm.cdf(np.arctanh(0.2) * np.sqrt(197 / 1.06) - 1.96), abs=0.1)
    assert power[800, 0.3] > 0.99 > power[200, 0.1]


def test_the_scale_of_mem_is_that_of_facts_and_a_mixture_is_told_from_no_memory():
    models = {km.MEMORIZER: 0.98, km.FREQUENCY: 0.23, km.RULES: 0.0, km.ORACLE: 0.2} | {
        f"mixture {w:.1f}": 0.2 + 0.7 * w for w in km.WEIGHTS}  # fmt: skip
    rows = [{"model": m, "where": where, "given": given, "estimate": v + more, "low": v + more - 0.1,
             "high": v + more + 0.1, "ceiling": 1.0} for m, v in models.items() for given in ("raw", "given all four")
            for where, more in (("factual QA", 0), ("translation", 0.5))]  # fmt: skip
    words = km.in_words(pd.DataFrame(rows))
    says = words["known-scale"].replace("\N{NO-BREAK SPACE}", " ")
    assert ".23 [.13, .33], and one" in says and ".98 [.88, 1.08]." in says
    assert words["known-above"] == "4 of 4" and words["known-frequency-raw"] == "2 of 2"
    assert "held_out" not in km.GROUPS  # maths has no Mem
