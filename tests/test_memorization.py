"""Mem against brute force on joined tables, known memorizers, and what stands beside every estimate."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from taskgram_utils.errors import InputError
from taskgram_utils.jackknife import standard_error
from taskgram_utils.memorization import (
    COLUMNS,
    contrasts,
    estimates,
    mem,
    on_shared_points,
    points,
    slopes,
)
from taskgram_utils.statistics import holm

KEYS = ["task", "example_id", "n", "sy", "start"]
SIZES = {"small": 1e6, "middle": 1e7, "large": 1e8}


def world(examples=120, each=4, n=3, task="qa", group="g", seed=0, types=60):
    """Points with a hidden log P, the reference that measures it, and models that follow it more with their size."""
    rng = np.random.default_rng(seed)
    e = np.repeat(np.arange(examples), each)
    key = pd.DataFrame({
        "task": task, "group": group, "example_id": [f"{task}{i}" for i in e], "n": n,
        "sy": [f"w{i}" for i in rng.zipf(1.4, len(e)) % types], "start": np.tile(np.arange(each) * 9, examples),
    })  # fmt: skip
    key["truth"] = rng.normal(size=len(key))
    reference = key.assign(
        model="taskgram", logp=(key.truth + rng.normal(0, 0.3, len(key))).round(1), n_terms=2, n_zero=key.start == 0,
        zero_handling="keep",
    )  # fmt: skip
    models = [
        key.assign(model=name, run=0, seed=1, step=100, logp=w * key.truth + rng.normal(size=len(key)))
        for name, w in zip(SIZES, (0.1, 0.5, 1.5), strict=True)
    ]
    return key, reference.drop(columns="truth"), pd.concat(models, ignore_index=True).drop(columns="truth")


KEY, REFERENCE, MODEL = world()


def spearman(reference, model):
    both = reference.merge(model, on=KEYS)
    return stats.spearmanr(both.logp_x, both.logp_y).statistic


def test_the_share_of_points_on_exact_counts_stands_beside_mem():
    exact = np.random.default_rng(5).random(len(REFERENCE)) > 0.3
    table = mem(REFERENCE.assign(exact=exact), MODEL)
    assert table.exact.tolist() == pytest.approx([exact.mean()] * 3)
    same = mem(REFERENCE, MODEL)
    assert same.exact.isna().all()
    pd.testing.assert_frame_equal(table.drop(columns="exact"), same.drop(columns="exact"))
    controls = REFERENCE[KEYS].assign(exact=exact, size=np.arange(len(REFERENCE)))
    assert set(mem(REFERENCE, MODEL, controls).measure) == {"spearman", "spearman|size"}


def test_mem_is_the_spearman_of_the_joined_points():
    table = mem(REFERENCE.sample(frac=1, random_state=1), MODEL.sample(frac=1, random_state=2))
    assert list(table.columns) == COLUMNS and len(table) == 3
    for row in table.itertuples():
        assert row.estimate == pytest.approx(spearman(REFERENCE, MODEL[MODEL.model == row.model]))
        assert row.low < row.estimate < row.high
    assert (table.points == len(KEY)).all() and (table.examples == 120).all()
    assert (table.outputs == KEY.sy.nunique()).all() and (table.clusters == "examples and outputs").all()
    assert table.reason.isna().all() and (table.form == "per_output").all() and (table.zero_handling == "keep").all()
    np.testing.assert_allclose(table.zero_share, 0.125)
    np.testing.assert_allclose(table.ties, REFERENCE.logp.duplicated(keep=False).mean())
    np.testing.assert_allclose(table.sd, REFERENCE.logp.std(ddof=0))
    np.testing.assert_allclose(table.p_holm, holm(table.p))


def test_the_order_of_rows_and_what_else_is_estimated_change_nothing():
    one = estimates(REFERENCE, MODEL)
    two = estimates(REFERENCE[::-1], MODEL[MODEL.model == "large"][::-1])
    for kind in range(3):
        for ours, theirs in zip(one.replicates[2][kind], two.replicates[0][kind], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)
    columns = ["estimate", "low", "high", "p"]
    np.testing.assert_allclose(one.table.loc[2, columns].astype(float), two.table.loc[0, columns].astype(float))


def left_out(reference, model, column, statistic=spearman):
    """What a statistic is when a value of ``column`` (or, with None, a row) is left out: by brute force."""
    values = [np.arange(len(reference)) == i for i in range(len(reference))] if column is None else [
        reference[column] == v for v in sorted(set(reference[column]))]
    return np.array([statistic(reference[~gone], model) for gone in values])


def test_the_interval_is_that_of_the_jackknife_by_brute_force():
    small = REFERENCE[REFERENCE.example_id.isin([f"qa{i}" for i in range(30)])]
    model = MODEL[MODEL.model == "large"]
    row = mem(small, model).iloc[0]
    v = []
    for column in ("example_id", "sy", None):
        left = left_out(small, model, column)
        v.append((len(left) - 1) / len(left) * ((left - row.estimate) ** 2).sum())
    variance = max(v[0] + v[1] - v[2], v[0], v[1])
    t = stats.t.ppf(0.975, min(30, small.sy.nunique()) - 1)
    half = t * np.sqrt(variance) / (1 - row.estimate**2)
    z = np.arctanh(row.estimate)
    assert (row.low, row.high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)))
    distance = mem(small, model, measures=("kendall_distance",)).iloc[0]
    assert distance.low < distance.estimate < distance.high < 0.5 and distance.p < 1e-6


def test_every_family_and_every_model_is_estimated():
    parts = [world(40, 3, n, task, group, seed=n) for n, task, group in ((1, "a", "x"), (2, "a", "x"), (1, "b", None))]
    reference = pd.concat([p[1] for p in parts])
    model = pd.concat([p[2] for p in parts])
    model = pd.concat([model, model.assign(step=200), model.assign(seed=2)])
    other = reference.assign(model="infinigram", zero_handling="backoff")
    table = mem(pd.concat([reference, other]), model, measures=("spearman", "kendall_distance", "pearson"))
    assert len(table) == 3 * 2 * 3 * 3 * 3 and table.estimate.notna().all()
    assert not table.duplicated([c for c in COLUMNS if c not in COLUMNS[COLUMNS.index("estimate"):]]).any()
    assert set(table.group.dropna()) == {"x"}
    row = table[(table.task == "b") & (table.measure == "kendall_distance") & (table.step == 200)].iloc[0]
    own = model[(model.task == "b") & (model.model == row.model) & (model.step == 200)]
    both = parts[2][1].merge(own, on=KEYS)
    assert row.estimate == pytest.approx((1 - stats.kendalltau(both.logp_x, both.logp_y).statistic) / 2)


def test_options_and_whole_answers_stay_apart():
    option = MODEL.assign(option=1, logp=0.0)
    whole = MODEL.drop_duplicates(["example_id", "model"]).assign(n=np.nan, sy="all of y", start=0)
    table = mem(REFERENCE, pd.concat([MODEL, option, whole]))
    pd.testing.assert_series_equal(table.estimate, mem(REFERENCE, MODEL).estimate)
    baseline = REFERENCE.drop_duplicates("example_id").assign(n=np.nan, sy="all of y", start=0, model="infinigram")
    table = mem(pd.concat([REFERENCE, baseline]), pd.concat([MODEL, whole]))
    assert table.n.isna().sum() == 3 and (table[table.n.isna()].points == 120).all()
    alone = mem(pd.concat([REFERENCE, baseline]), whole)  # a model of full answers alone
    full = table[table.n.isna()].estimate
    np.testing.assert_allclose(alone[alone.n.isna()].estimate, full)


def test_only_the_required_columns_are_needed():
    few = ["example_id", "n", "sy", "start", "model", "logp"]
    table = mem(REFERENCE[few], MODEL[few])
    np.testing.assert_allclose(table.estimate, mem(REFERENCE, MODEL).estimate)
    nothing = ["task", "coverage_pairs", "coverage_points", "coverage_examples", "zero_share", "reliability"]
    assert table[nothing].isna().all().all()
    numbers = REFERENCE[few].assign(example_id=REFERENCE.example_id.str[2:].astype(int))
    text = MODEL[few].assign(example_id=MODEL.example_id.str[2:], n=MODEL.n.astype(float))
    np.testing.assert_allclose(mem(numbers, text).estimate, table.estimate)


def test_per_pair_points_join_one_output_to_all_its_inputs():
    pairs = pd.concat([REFERENCE.assign(sx=s, logp=REFERENCE.logp + i) for i, s in enumerate("uv")])
    table = mem(pairs, MODEL)
    assert (table.form == "per_pair").all() and (table.points == 2 * len(KEY)).all()
    both = pairs.merge(MODEL[MODEL.model == "large"], on=KEYS)
    assert table.estimate[2] == pytest.approx(stats.spearmanr(both.logp_x, both.logp_y).statistic)
    by_pair = mem(pairs, pairs.assign(model="itself"))
    assert by_pair.estimate[0] == pytest.approx(1) and by_pair.points[0] == 2 * len(KEY)


def test_known_memorizers_come_out_in_order():
    rng = np.random.default_rng(5)
    rule = rng.normal(size=len(KEY))
    mixed = [KEY.assign(model=f"{w}", logp=w * KEY.truth + (1 - w) * rule) for w in (0, 0.25, 0.5, 0.75, 1)]
    key = KEY.assign(model="taskgram", zero_handling="keep")
    halves = pd.concat([key.assign(half=h, logp=key.truth + rng.normal(0, 0.8, len(key))) for h in (0, 1)])
    together = halves.groupby(KEYS, sort=False).logp.mean().reset_index().assign(model="taskgram", zero_handling="keep")
    table = mem(together, pd.concat(mixed), count_model_halves=halves)
    assert table.estimate.is_monotonic_increasing and table.low[0] < 0 < table.high[0] and table.p[0] > 0.05
    assert table.p[4] < 0.01 and abs(table.estimate[4] - np.sqrt(table.reliability[4])) < 0.04
    r = stats.spearmanr(halves[halves.half == 0].logp, halves[halves.half == 1].logp).statistic
    np.testing.assert_allclose(table.reliability, 2 * r / (1 + r))


def confounded():
    """A model that knows only how frequent an output is."""
    rng = np.random.default_rng(6)
    frequency = KEY.sy.map({w: rng.normal() for w in sorted(KEY.sy.unique())})
    reference = REFERENCE.assign(logp=frequency + rng.normal(0, 0.6, len(KEY)))
    model = pd.concat([KEY.assign(model=m, logp=frequency + rng.normal(0, 0.6, len(KEY))) for m in ("a", "b")])
    controls = KEY.assign(log_count_sy=frequency, tokens=rng.integers(1, 5, len(KEY)), remark="free text")
    return reference, model.drop(columns="truth"), controls.drop(columns="truth")


def test_controls_are_reported_one_by_one_and_all_together():
    reference, model, controls = confounded()
    table = mem(reference, model, controls)
    names = ["spearman", "spearman|log_count_sy", "spearman|tokens", "spearman|log_count_sy+tokens"]
    assert table.measure.tolist() == names * 2
    raw, given_count, given_tokens, _ = table.estimate[:4]
    assert raw > 0.6 and given_tokens > 0.6 and abs(given_count) < 0.15
    assert table.low[1] < 0 < table.high[1] and table.p[1] > 0.05 and table.p[0] < 0.01


def test_controls_join_on_the_model_where_they_name_one_and_may_be_missing():
    reference, model, controls = confounded()
    both = pd.concat([controls.assign(model=m, logp_prior=np.arange(len(KEY)) * (m == "a")) for m in ("a", "b")])
    joined = points(reference, model, both)
    assert (joined[joined.model == "b"].logp_prior == 0).all()
    assert joined[joined.model == "a"].logp_prior.nunique() == len(KEY)
    partly = controls.drop(columns="tokens").iloc[:200]
    table = mem(reference, model, partly)
    assert table.points.tolist() == [480, 200] * 2
    none = mem(reference, model, controls.assign(example_id="other" + controls.example_id))
    assert none.reason[1] == "fewer than 3 points" and none.estimate[[1, 2]].isna().all() and none.estimate[0] > 0.6


def test_what_pandas_wrote_of_an_index_is_no_control_and_a_number_that_is_none_is_refused():
    reference, model, controls = confounded()
    truth = mem(reference, model, controls)
    for unnamed in ("", "Unnamed: 0"):
        table = mem(reference, model, controls.assign(**{unnamed: range(len(controls))}))
        pd.testing.assert_frame_equal(table, truth)
    for cell, column in (("n/a", "tokens"), ("0,5", "log_count_sy")):
        wrong = controls.assign(**{column: controls[column].astype(str)})
        wrong.loc[3, column] = cell
        with pytest.raises(InputError, match=f"controls: {column} '{cell}' is no number"):
            mem(reference, model, wrong)
    commas = controls.assign(tokens=[f"{t},5" for t in controls.tokens])
    with pytest.raises(InputError, match=r"controls: tokens '.,5' is no number"):
        mem(reference, model, commas)


def test_the_share_of_examples_is_of_those_that_are_listed():
    listed = pd.DataFrame({"example_id": [f"qa{i}" for i in range(110, 130)]})  # ten of them have points
    assert mem(REFERENCE, MODEL, examples=listed).coverage_examples.tolist() == [0.5] * 3


def test_null_and_constant_scores_say_why():
    model = MODEL.copy()
    model.loc[(model.model == "small"), "logp"] = np.nan
    model.loc[(model.model == "middle"), "logp"] = -1.0
    model.loc[model.index[(model.model == "large")][:50], "logp"] = np.nan
    table = mem(REFERENCE, model).set_index("model")
    assert table.reason["small"] == "fewer than 3 points" and table.points["small"] == 0
    assert table.reason["middle"] == "log P of the model is constant"
    assert table.points["large"] == len(KEY) - 50 and table.estimate["large"] > 0.5
    unmeasured = pd.concat([REFERENCE, REFERENCE.assign(n=7)])
    row = mem(unmeasured, MODEL).iloc[-1]
    assert row.n == 7 and np.isnan(row.estimate) and row.reason == "no point in common with a model"


def test_coverage_and_examples_kept():
    rows = REFERENCE.loc[REFERENCE.index.repeat(4)].assign(sx=list("abcd") * len(REFERENCE))
    kept = REFERENCE.iloc[: 4 * 60]
    examples = pd.DataFrame({"task": "qa", "group": "g", "example_id": [f"qa{i}" for i in range(200)]})
    examples["split"] = np.where(np.arange(200) < 150, "test", "train")
    row = mem(kept, MODEL, taskgrams=rows, examples=examples, parameters=SIZES).iloc[0]
    distinct = len(KEY[["example_id", "sy"]].drop_duplicates())
    assert row.coverage_points == pytest.approx(240 / distinct)
    assert row.coverage_pairs == pytest.approx((kept.n_terms - kept.n_zero).sum() / (4 * distinct))
    assert row.coverage_examples == pytest.approx(60 / 150) and row.parameters == 1e6


def test_differences_have_the_interval_of_what_changes_on_both_sides():
    other = REFERENCE.assign(model="infinigram", zero_handling="backoff",
                             logp=np.random.default_rng(2).normal(size=len(KEY)))  # fmt: skip
    result = estimates(pd.concat([REFERENCE, other]), MODEL)
    table = contrasts(result, "count_model", "taskgram", "infinigram").table.set_index("model")
    assert table.estimate["large"] == pytest.approx(result.table.estimate[2] - result.table.estimate[5])
    model = MODEL[MODEL.model == "large"]
    v = []
    for column in ("example_id", "sy", None):
        left = left_out(REFERENCE, model, column) - left_out(other, model, column)
        v.append((len(left) - 1) / len(left) * ((left - table.estimate["large"]) ** 2).sum())
    half = stats.t.ppf(0.975, KEY.sy.nunique() - 1) * np.sqrt(max(v[0] + v[1] - v[2], v[0], v[1]))
    assert table.high["large"] - table.estimate["large"] == pytest.approx(half) and table.p["large"] < 0.01
    models = contrasts(result, "model", "large", "small").table
    assert models.count_model.tolist() == ["taskgram", "infinigram"] and models.low[0] > 0 > models.low[1]
    with pytest.raises(InputError, match="no estimate with model = huge"):
        contrasts(result, "model", "huge", "small")


def test_both_references_are_put_on_the_same_points():
    placebo = REFERENCE.assign(model="placebo", logp=np.random.default_rng(2).normal(size=len(KEY))).iloc[100:]
    result = on_shared_points(REFERENCE.iloc[:400], placebo, MODEL[MODEL.model == "large"])
    table = contrasts(result, "count_model", "taskgram", "placebo").table
    both = REFERENCE.iloc[100:400]
    assert table.estimate_of[0] == pytest.approx(spearman(both, MODEL[MODEL.model == "large"]))
    assert table.count_model[0] == "taskgram - placebo" and table.low[0] > 0.3
    with pytest.raises(InputError, match="two different ones"):
        on_shared_points(REFERENCE, REFERENCE, MODEL)


def test_an_output_of_one_reference_stands_for_every_pair_of_the_other():
    pairs = pd.concat([REFERENCE.assign(sx=s, logp=REFERENCE.logp + i) for i, s in enumerate("uv")])
    noise = np.random.default_rng(3).normal(size=len(KEY))
    plain = REFERENCE.assign(model="infinigram", zero_handling=None, logp=noise)
    result = on_shared_points(pairs, plain, MODEL[MODEL.model == "large"], parameters=SIZES)
    table = result.table
    assert (table.form == "per_pair").all() and (table.points == 2 * len(KEY)).all()
    expected = [spearman(side.merge(pairs[[*KEYS, "sx"]], on=KEYS) if side is plain else side,
                         MODEL[MODEL.model == "large"]) for side in (pairs, plain)]  # fmt: skip
    assert table.sort_values("count_model", ascending=False).estimate.tolist() == pytest.approx(expected)
    both = contrasts(on_shared_points(pairs, plain, MODEL), "count_model", "taskgram", "infinigram")
    assert len(both.table) == len(both.replicates) == len(SIZES)


def test_a_difference_of_other_points_lies_between_its_sides_apart_and_together():
    """Halves that share no example are independent: variances add. The same points under one reference cancel."""
    first, second = (REFERENCE[REFERENCE.example_id.isin([f"qa{i}" for i in r])] for r in (range(60), range(60, 120)))
    first, second = first.assign(sy="1" + first.sy), second.assign(sy="2" + second.sy, model="other")
    model = MODEL[MODEL.model == "large"]
    halves = pd.concat([model.assign(sy=n + model.sy) for n in "12"])
    result = estimates(pd.concat([first, second]), halves)
    apart = [standard_error(left)[0] for left in result.replicates]
    table = contrasts(result, "count_model", "taskgram", "other").table
    freedom = min(60, first.sy.nunique() + second.sy.nunique()) - 1
    assert (table.high - table.low)[0] / 2 == pytest.approx(stats.t.ppf(0.975, freedom) * np.hypot(*apart), rel=0.05)
    twice = contrasts(estimates(pd.concat([REFERENCE, REFERENCE.assign(model="again")]), model),
                      "count_model", "taskgram", "again").table  # fmt: skip
    assert twice.estimate[0] == twice.low[0] == twice.high[0] == 0


def test_slopes_are_least_squares_over_the_sizes():
    result = estimates(REFERENCE, MODEL, parameters=SIZES)
    table = slopes(result)
    fit = np.polyfit([6, 7, 8], result.table.estimate, 1)[0]
    assert table.slope[0] == pytest.approx(fit) and table.models[0] == 3
    v = []
    for place in range(3):
        changes = np.array([left[place][1] for left in result.replicates])
        each = np.array([np.polyfit([6, 7, 8], change, 1)[0] for change in changes.T])
        v.append((len(each) - 1) / len(each) * (each**2).sum())
    half = stats.t.ppf(0.975, KEY.sy.nunique() - 1) * np.sqrt(max(v[0] + v[1] - v[2], v[0], v[1]))
    assert (table.low[0], table.high[0]) == pytest.approx((fit - half, fit + half))
    assert table.p[0] < 0.01
    with pytest.raises(InputError, match="slopes"):
        slopes(estimates(REFERENCE, MODEL))


def test_a_family_of_one_size_has_a_null_slope_and_says_why():
    one = slopes(estimates(REFERENCE, MODEL[MODEL.model == "large"], parameters=SIZES))
    assert one["models"].tolist() == [1] and one["reason"].str.contains("fewer than two sizes").all()
    assert one[["slope", "low", "high", "p", "p_holm"]].isna().all(axis=None)


@pytest.mark.parametrize(
    "count_model, model, controls, message",
    [
        (REFERENCE.drop(columns="model"), MODEL, None, "count_model: missing column model"),
        (REFERENCE.rename(columns={"model": "lm"}), MODEL, None, "count_model: rename .*: lm is named model"),
        (REFERENCE, MODEL.rename(columns={"run": "world"}), None, "model: rename .*: world is named run"),
        (REFERENCE.rename(columns={"n_zero": "zeros", "zero_handling": "zero_rule"}), MODEL, None,
         "zero_rule is named zero_handling, zeros is named n_zero"),
        (REFERENCE, MODEL.assign(n=np.nan), None, "model: log P of full answers alone"),
        (REFERENCE, MODEL.drop(columns="start"), None, "model: missing column start"),
        (REFERENCE, MODEL.assign(start=MODEL.start + 1000), None, "no point in common"),
        (pd.concat([REFERENCE, REFERENCE.assign(run=1)]), MODEL, None, "count_model: a row is given twice"),
        (REFERENCE, pd.concat([MODEL, MODEL]), None, "model: a row is given twice"),
        (REFERENCE, MODEL, pd.concat([KEY, KEY]), "controls: a row is given twice"),
        (REFERENCE, MODEL, KEY.drop(columns="truth"), "controls: no numeric column"),
        (REFERENCE, MODEL, KEY.rename(columns={"truth": "n_terms"}), "rename it"),
    ],
)
def test_bad_input_is_one_clear_line(count_model, model, controls, message):
    with pytest.raises(InputError, match=message) as error:
        mem(count_model, model, controls)
    assert "\n" not in str(error.value)


def test_an_unknown_measure_is_refused():
    with pytest.raises(InputError, match="measure rho"):
        mem(REFERENCE, MODEL, measures=("rho",))


def test_slopes_of_contrasts_are_differences_of_slopes():
    other = REFERENCE.assign(model="infinigram", zero_handling=None).iloc[::2]
    other["logp"] += np.random.default_rng(5).normal(0, 1, len(other))
    both = on_shared_points(REFERENCE, other, MODEL, parameters=SIZES)
    lead = contrasts(both, "count_model", "taskgram", "infinigram")
    assert lead.table["points"].eq(len(other)).all() and len(lead.replicates) == 3
    sides = slopes(both).set_index("count_model")["slope"]
    found = slopes(lead)
    assert found["count_model"].item() == "taskgram - infinigram"
    assert found["slope"].item() == pytest.approx(sides["taskgram"] - sides["infinigram"])
    assert found["low"].item() < found["slope"].item() < found["high"].item()


def test_a_difference_that_is_null_says_why():
    constant = REFERENCE.assign(model="infinigram", logp=-1.0)
    table = contrasts(on_shared_points(REFERENCE, constant, MODEL), "count_model", "taskgram", "infinigram").table
    assert table["estimate"].isna().all() and table["reason"].str.contains("constant").all()
