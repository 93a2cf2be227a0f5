"""The effect of counts: regressions against statsmodels and brute force, counts against the generator's truth."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from taskgram_chapters import cause
from taskgram_chapters.recorded import recorded
from taskgram_utils.errors import InputError
from taskgram_utils.jackknife import clusters_of, interval
from taskgram_utils.miniature.world import World

WORLDS = {"main": 0, "twin1": 1, "twin2": 2}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The cells of a small world and its twins, counted."""
    worlds = {name: World(20_000, 1, twin) for name, twin in WORLDS.items()}
    table, folder = cause.cells(list(worlds.values())), tmp_path_factory.mktemp("worlds")
    for name, world in worlds.items():
        world.write(folder / f"{name}.jsonl")
        counts = cause.counted(table, folder / f"{name}.jsonl")
        table = table.assign(**{f"{side}_{name}": counts[side] for side in counts})
    return table


def with_models(cells, effect=0.7, noise=0.3, reseeds=2):
    """log P that follows the counts which each model has read, by ``effect`` nats per nat."""
    rng, out = np.random.default_rng(0), cells.copy()
    base = rng.normal(0, 0.3, size=len(cells))
    read = {**{name: name for name in WORLDS}, **{f"reseed{k}": "main" for k in range(3, 3 + reseeds)}}
    for name, world in read.items():
        logp = base + effect * np.log(cells[f"pair_{world}"] + 0.5) + rng.normal(0, noise, len(cells))
        out[f"logp_100k_{name}"] = logp - 8
    return out


def test_cells_are_all_values_of_unasked_facts_in_any_world_with_their_true_counts(cells):
    assert not cells.duplicated(["fact", "value"]).any() and cells["disputed"].any()
    for name, twin in WORLDS.items():
        facts = World(20_000, 1, twin).facts()
        unasked = facts[~facts["asked"]]
        truth = unasked.set_index(["fact", "value"])["documents"]
        found = cells.set_index(["fact", "value"])[f"pair_{name}"]
        assert set(truth.index) <= set(found.index) and (found == truth.reindex(found.index).fillna(0)).all()
        stated = np.exp(cause.channels(cells, name)["statements"]) - 0.5
        statements = cells["fact"].map(facts.drop_duplicates("fact").set_index("fact")["statements"])
        np.testing.assert_allclose(stated, statements)
    assert (cells["x"] + cells["y"]).str.contains("?", regex=False).all()


def test_channels_add_up(cells):
    logs = cause.channels(cells, "twin1")
    np.testing.assert_allclose(logs["share"] + logs["statements"], logs["pair"])
    np.testing.assert_allclose(logs.loc[~cells["disputed"], "share"], 0, atol=1e-12)
    joint = logs["pair"] - np.log(cells["subject_twin1"] + 0.5)
    np.testing.assert_allclose(logs["ratio"], joint)


def test_least_squares_equals_statsmodels_and_leaves_out_by_brute_force():
    rng = np.random.default_rng(1)
    n = 240
    examples, outputs = rng.integers(0, 60, n).astype(str), rng.integers(0, 25, n).astype(str)
    groups, x = rng.choice(["a", "b", "c"], n), rng.normal(size=(n, 3))
    y = x @ [1, -0.5, 0] + pd.Series(groups).map({"a": 0, "b": 2, "c": -1}).to_numpy() + rng.normal(size=n)
    clusters = clusters_of(examples, outputs)
    results = cause.least_squares(y, x, clusters, groups)

    def plain(rows):
        dummies = pd.get_dummies(groups[rows]).to_numpy(float)
        fit = sm.OLS(y[rows], np.column_stack([x[rows], dummies])).fit()
        means = pd.Series(y[rows]).groupby(groups[rows]).transform("mean")
        return [*fit.params[:3], 1 - fit.ssr / ((y[rows] - means) ** 2).sum()]

    np.testing.assert_allclose([r.estimate for r in results], plain(np.ones(n, bool)), rtol=1e-10)
    for labels, kind in ((examples, "example"), (outputs, "output")):
        keys = [getattr(r.changes, kind)[0] for r in results]
        hashed = pd.util.hash_array(labels.astype(object))
        for g in range(0, len(keys[0]), 7):
            left = plain(hashed != keys[0][g])
            changed = [r.estimate + getattr(r.changes, kind)[1][g] for r in results]
            np.testing.assert_allclose(changed, left, rtol=1e-9)
    fit = sm.OLS(y, np.column_stack([x, pd.get_dummies(groups).to_numpy(float)]))
    codes = np.column_stack([pd.factorize(examples)[0], pd.factorize(outputs)[0]])
    sandwich = fit.fit(cov_type="cluster", cov_kwds={"groups": codes}).bse[:3]
    for result, error in zip(results, sandwich, strict=False):
        low, high, _ = interval(result.estimate, result.changes, correlation=False)
        assert 0.8 < (high - low) / 2 / 2.06 / error < 1.5
    with pytest.raises(InputError, match="does not vary"):
        cause.least_squares(y, np.ones((n, 1)), clusters, groups)


def test_an_effect_that_was_put_in_is_found_and_a_reseed_shows_none(cells):
    table = with_models(cells)
    found = cause.effects(table).set_index(["world", "population", "channel"])
    for population in cause.POPULATIONS:
        row = found.loc["twins", population, "pair"]
        assert row["low"] < 0.7 < row["high"] and row["n"] == 2 * len(cause.of_population(cells, population))
        reseed = found.loc["reseed", population, "pair"]
        assert abs(reseed["estimate"]) < 0.1 and reseed["n"] == 2 * row["n"]
    assert np.isnan(found.loc[("twins", "undisputed", "share"), "estimate"])
    assert found.loc[("twins", "disputed", "share"), "low"] < 0.7 < found.loc[("twins", "disputed", "share"), "high"]
    assert list(found.index[:5].get_level_values("channel")) == ["pair", *cause.CHANNELS]
    assert not found.index.duplicated().any()


def test_a_model_follows_only_the_counts_that_it_has_read(cells):
    matrix = cause.matrix(with_models(cells)).set_index(["population", "read", "counts"])
    own = [counts == ("main" if read.startswith("reseed") else read) for _, read, counts in matrix.index]
    truth = 0.7 * np.array(own)
    assert ((matrix["low"] < truth) & (truth < matrix["high"])).mean() > 0.85  # of 30 intervals
    assert matrix["low"][own].min() > 0.2 and matrix["estimate"][~np.array(own)].abs().max() < 0.3


def test_what_stands_beside_the_effect(cells):
    table = with_models(cells)
    found = cause.beside(table).set_index(["population", "measure"])["estimate"]
    assert found["all", "across"] == pytest.approx(0.7, abs=0.2)  # base varies over cells
    assert found["all", "within"] == pytest.approx(0.7, abs=0.05)
    change = cause.changes(table, "100k", "twins")
    own = change.groupby("pairing")["logp"].transform(lambda v: v - v.mean())
    by_hand = np.corrcoef(own, change.groupby("pairing")["pair"].transform(lambda v: v - v.mean()))[0, 1] ** 2
    assert found["all", "r2"] == pytest.approx(by_hand)
    reseeds, twins = ([(table[f"logp_100k_{o}"] - table["logp_100k_main"]).var(ddof=0) for o in names]
                      for names in (["reseed3", "reseed4"], ["twin1", "twin2"]))
    assert found["all", "explainable"] == pytest.approx(1 - np.mean(reseeds) / np.mean(twins))


def test_noise_is_the_root_mean_square_of_the_slopes_of_reseeds(cells):
    table = with_models(cells)
    noise = cause.training_noise(table).set_index(["population", "channel"])
    slopes = []
    for reseed in ("reseed3", "reseed4"):
        y = table[f"logp_100k_{reseed}"] - table["logp_100k_main"]
        for twin in ("twin1", "twin2"):
            x = np.log(table[f"pair_{twin}"] + 0.5) - np.log(table["pair_main"] + 0.5)
            slopes.append(sm.OLS(y, sm.add_constant(x)).fit().params.iloc[1])
    assert noise.loc[("all", "pair"), "noise"] == pytest.approx(np.sqrt(np.mean(np.square(slopes))))
    assert noise.loc[("all", "pair"), "trainings"] == 2


def test_doses_are_means_of_the_changes(cells):
    doses = cause.doses(with_models(cells), bins=4)
    twins = doses[(doses["world"] == "twins") & (doses["population"] == "disputed")]
    assert (twins.groupby("compared")["change of log P"].apply(lambda v: v.is_monotonic_increasing)).all()
    assert (doses.groupby(["population", "world", "compared"])["n"].sum()
            == doses["population"].map({"disputed": cells["disputed"].sum(), "undisputed": (~cells["disputed"]).sum()})
            .groupby([doses["population"], doses["world"], doses["compared"]]).first()).all()  # fmt: skip
    shown = doses.dropna(subset="low")
    middle = shown["change of log P"]
    assert len(shown) > len(doses) / 2 and ((shown["low"] <= middle) & (middle <= shown["high"])).all()


def test_a_missing_model_is_named(cells):
    with pytest.raises(InputError, match="no column logp_MODEL_main"):
        cause.effects(cells)
    with pytest.raises(InputError, match="no reseed of 100k"):
        cause.effects(with_models(cells, reseeds=0))


def test_the_recorded_effects_are_those_of_the_recorded_cells():
    tables = recorded("cause").tables
    found = cause.effects(tables["cells"])
    both = tables[""] if "" in tables else tables["cause"]
    assert list(both.columns) == ["model", "world", "population", "channel", "estimate", "low", "high", "n"]
    keys = ["model", "world", "population", "channel"]
    assert not both.duplicated(keys).any()
    joined = both.merge(found, on=keys, suffixes=("", "_again"))
    assert len(joined) == len(both) == len(found)
    for column in ("estimate", "low", "high", "n"):
        np.testing.assert_allclose(joined[column], joined[f"{column}_again"], atol=2e-3)


def test_size_and_the_rest_of_what_was_preregistered(cells):
    """An effect that doubles from one size to one tenfold as large: its slope, and the answers that the rules give."""
    small, large = with_models(cells, 0.5, 0.02), with_models(cells, 1.0, 0.02)
    both = small.assign(**{c.replace("100k", "1m"): large[c] for c in large if c.startswith("logp_")})
    found = cause.sizes(both, {"100k": 10**5, "1m": 10**6})
    table = found.query("population == 'undisputed'").set_index("world")
    effects = cause.effects(both).query("channel == 'pair' and population == 'undisputed'")
    effects = effects.set_index(["model", "world"])
    for world in ("twins", "reseed"):
        expected = effects.loc[("1m", world), "estimate"] - effects.loc[("100k", world), "estimate"]
        assert table.loc[world, "estimate"] == pytest.approx(expected)
        assert table.loc[world, "low"] < expected < table.loc[world, "high"] and table.loc[world, "n"] == 2
    assert table.loc["twins", "low"] > 0.3 and abs(table.loc["reseed", "estimate"]) < 0.1
    tasks = pd.DataFrame({"task": ["translation", "math_reasoning"], "estimate": [-3.0, 0.5], "low": [-4.0, 0.4],
                          "high": [0.1, 0.6]})  # fmt: skip
    tables = {"sizes": found, "noise": cause.training_noise(both), "matrix": cause.matrix(both),
              "beside": cause.beside(both), "tasks": tasks}  # fmt: skip
    table = cause.answers(tables, cause.preregistered()).set_index("what")
    assert table.loc["slope where documents agree, with size", "answer"] == "opposite"
    assert table.loc["slope where documents disagree, with size", "answer"] == "found"
    own, other = (table.loc[f"log P on the counts of {world}"] for world in ("own world", "another world"))
    assert own["answer"] == "found in 20 of 20" and "opposite" not in other["answer"]
    assert other["answer"].endswith("of 40")
    assert table.loc["slope across facts", "answer"] == "found in 4 of 4"
    assert table.loc["Translation: share that the world explains", "answer"] == "found in 1 of 1"
    assert table.loc["Maths reasoning: share that the world explains", "answer"] == "opposite in 1 of 1"
