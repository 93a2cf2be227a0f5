"""The task-gram LM against counts by brute force over a small corpus, and the errors a user can make."""

import itertools

import numpy as np
import pandas as pd
import pytest

from taskgram_utils.errors import InputError
from taskgram_utils.language_models.exchanged import distractor_outputs, placebo_outputs, placebo_reference
from taskgram_utils.language_models.taskgram import (
    taskgram_halves,
    taskgram_logp,
)

VOCABULARY = list("abcdefgh")
RNG = np.random.default_rng(3)
DOCUMENTS = [{w for w in VOCABULARY if RNG.random() < 0.1 + 0.08 * i} for i, w in enumerate(VOCABULARY * 10)]


def taskgrams():
    rows = []
    rng = np.random.default_rng(4)  # its own: the same table whichever tests ran before
    for e in range(12):
        x, y = rng.permutation(VOCABULARY)[:3], rng.permutation(VOCABULARY)[:4]
        for sx, (place, sy) in itertools.product(x, enumerate(y)):
            if sx != sy:
                rows.append({"task": "toy", "group": "ab"[e % 2], "example_id": f"e{e}", "n": 1, "sx": sx, "sy": sy,
                             "start": 2 * place})  # fmt: skip
    return pd.DataFrame(rows)


def counts(pairs, halves=False):
    rows = []
    for half in (None, 0, 1) if halves else (None,):
        documents = DOCUMENTS if half is None else DOCUMENTS[half::2]
        for sx, sy in [(w, None) for w in VOCABULARY] + list(dict.fromkeys(zip(pairs.sx, pairs.sy, strict=True))):
            found = sum(sx in d and (sy is None or sy in d) for d in documents)
            rows.append({"n": 1, "sx": sx, "sy": sy, "count": found, "unit": "documents", "exact": True, "half": half})
    return pd.DataFrame(rows)


TABLE = taskgrams()
COUNTS = counts(TABLE)


def joint(sx, sy):
    return sum(sx in d and sy in d for d in DOCUMENTS)


def test_pooled_smoothing_is_that_of_the_method():
    table = taskgram_logp(TABLE, COUNTS, form="per_pair", kappa=2.0)
    assert len(table) == len(TABLE) and set(table.zero_handling) == {"keep, kappa=2"}
    for group, rows in table.groupby("group"):
        distinct = TABLE[TABLE.group == group][["sx", "sy"]].drop_duplicates()
        p0 = sum(joint(*p) for p in distinct.itertuples(index=False)) / sum(joint(s, s) for s in distinct.sx)
        truth = [np.log((joint(r.sx, r.sy) + 2 * p0) / (joint(r.sx, r.sx) + 2)) for r in rows.itertuples()]
        np.testing.assert_allclose(rows.logp, truth)


@pytest.mark.parametrize("form", ["per_output", "per_pair"])
@pytest.mark.parametrize("zero_handling", ["keep", "drop"])
def test_a_point_is_exact_where_all_counts_behind_it_are(form, zero_handling):
    rough = COUNTS.assign(exact=np.random.default_rng(1).random(len(COUNTS)) > 0.15)
    said = {(r.sx, r.sy if isinstance(r.sy, str) else None): r.exact for r in rough.itertuples()}
    table = taskgram_logp(TABLE, rough, form=form, zero_handling=zero_handling)
    assert 0.1 < table.exact.mean() < 0.9
    for row in table.itertuples():
        own = TABLE[(TABLE.example_id == row.example_id) & (TABLE.sy == row.sy)]
        inputs = [row.sx] if form == "per_pair" else own.sx.unique()
        assert row.exact == all(said[sx, row.sy] and said[sx, None] for sx in inputs)
    exact = taskgram_logp(TABLE, COUNTS, form=form, zero_handling=zero_handling)
    pd.testing.assert_frame_equal(table.drop(columns="exact"), exact.drop(columns="exact"))


def test_exactness_in_halves_in_text_and_where_nothing_is_known():
    halved = counts(TABLE, halves=True)
    rough = halved.assign(exact=halved.half.fillna(0) == 0)
    table = taskgram_halves(TABLE, rough)
    assert (table.exact == (table.half == 0)).all()
    assert taskgram_logp(TABLE, COUNTS.assign(exact="True")).exact.all()  # as a table of texts has it
    for unknown in (COUNTS.drop(columns="exact"), COUNTS.assign(exact=np.nan)):
        assert taskgram_logp(TABLE, unknown).exact.isna().all()
    with pytest.raises(InputError, match="counts: exact 'maybe' is neither True nor False"):
        taskgram_logp(TABLE, COUNTS.assign(exact="maybe"))


def test_per_output_is_the_mean_over_inputs_and_drop_leaves_zeros_out():
    base = COUNTS.copy()
    zero = base.sy.notna() & ((base.sx == "a") | (base.sy == "h"))
    base.loc[zero, "count"] = 0
    table = taskgram_logp(TABLE, base, zero_handling="drop").set_index(["example_id", "sy"])
    number = base.set_index(["sx", "sy"])["count"]
    for (example, sy), rows in TABLE.groupby(["example_id", "sy"]):
        seen = [np.log(number[s, sy] / joint(s, s)) for s in rows.sx if number[s, sy]]
        if not seen:
            assert (example, sy) not in table.index
            continue
        row = table.loc[(example, sy)]
        assert row.logp == pytest.approx(np.mean(seen))
        assert (row.n_terms, row.n_zero) == (len(rows), len(rows) - len(seen))
    kept = taskgram_logp(TABLE, base)
    assert len(kept) == len(TABLE[["example_id", "sy"]].drop_duplicates()) > len(table)
    assert kept.sx.isna().all() and kept.n_zero.sum() == ((TABLE.sx == "a") | (TABLE.sy == "h")).sum()


def test_a_pair_in_many_examples_counts_once_in_the_pooled_rate():
    doubled = pd.concat([TABLE, TABLE.assign(example_id=TABLE.example_id + "again")], ignore_index=True)
    one, two = taskgram_logp(TABLE, COUNTS), taskgram_logp(doubled, COUNTS)
    np.testing.assert_allclose(one.logp, two.logp[: len(one)])


def test_an_output_that_stands_twice_is_one_point_at_its_first_place():
    again = TABLE.assign(start=TABLE.start + 40)
    table = taskgram_logp(pd.concat([again, TABLE], ignore_index=True), COUNTS)
    pd.testing.assert_frame_equal(
        table.sort_values(["example_id", "sy"], ignore_index=True),
        taskgram_logp(TABLE, COUNTS).sort_values(["example_id", "sy"], ignore_index=True),
    )


def test_two_spellings_of_the_same_words_are_one_pair():
    upper = TABLE.assign(sx=TABLE.sx.str.upper()), COUNTS.assign(sx=COUNTS.sx.str.upper())
    both = [pd.concat([a, b], ignore_index=True) for a, b in zip((TABLE, COUNTS), upper, strict=True)]
    pd.testing.assert_frame_equal(taskgram_logp(*both), taskgram_logp(TABLE, COUNTS))
    other = COUNTS.assign(sx=COUNTS.sx.str.upper(), count=COUNTS["count"] + 1)  # of pieces, two texts
    assert (taskgram_logp(both[0], pd.concat([COUNTS, other])).n_terms > taskgram_logp(TABLE, COUNTS).n_terms).all()


def test_inputs_that_occur_nowhere_are_left_out_and_a_group_without_pairs_is_null():
    gone = COUNTS.copy()
    gone.loc[gone.sx == "b", "count"] = 0
    assert "b" not in set(taskgram_logp(TABLE, gone, form="per_pair").sx)
    none = COUNTS.copy()
    none.loc[none.sy.notna(), "count"] = 0
    table = taskgram_logp(TABLE, none)
    assert len(table) and table.logp.isna().all()
    assert taskgram_logp(TABLE, none, zero_handling="drop").empty


def test_only_the_required_columns_are_needed():
    bare = TABLE[["example_id", "n", "sx", "sy", "start"]]
    one_group = TABLE.assign(group="all")
    np.testing.assert_allclose(
        taskgram_logp(bare, COUNTS[["sx", "sy", "count"]]).logp, taskgram_logp(one_group, COUNTS).logp
    )


def test_halves_use_the_counts_of_their_half_alone():
    both = taskgram_halves(TABLE, counts(TABLE, halves=True), form="per_pair", zero_handling="drop")
    assert set(both.half) == {0, 1}
    for row in both.itertuples():
        documents = DOCUMENTS[row.half :: 2]
        pair = sum(row.sx in d and row.sy in d for d in documents)
        assert row.logp == pytest.approx(np.log(pair / sum(row.sx in d for d in documents)))


def test_placebo_exchanges_the_output_and_keeps_frequency_and_smoothing():
    placebo = placebo_outputs(TABLE, COUNTS, nearest=3)
    assert placebo.placebo.notna().any()
    for _, rows in placebo.groupby("example_id"):
        assert not set(rows.placebo.dropna()) & {*rows.sx, *rows.sy}
        assert (rows.groupby("sy").placebo.nunique() <= 1).all()
    turned = placebo_outputs(TABLE[::-1], COUNTS, nearest=3)  # neither drawn nor by the order of the rows
    pd.testing.assert_frame_equal(placebo, turned[::-1].reset_index(drop=True))
    asked = placebo[["sx", "placebo"]].dropna().rename(columns={"placebo": "sy"})
    table = placebo_reference(placebo, COUNTS, counts(asked), form="per_pair")
    assert set(table.model) == {"placebo"} and len(table) == len(asked)
    partner = placebo.set_index(["example_id", "sx", "sy"]).placebo
    for row in table.itertuples():
        distinct = TABLE[TABLE.group == row.group][["sx", "sy"]].drop_duplicates()
        p0 = sum(joint(*p) for p in distinct.itertuples(index=False)) / sum(joint(s, s) for s in distinct.sx)
        found = joint(row.sx, partner[row.example_id, row.sx, row.sy])
        assert row.logp == pytest.approx(np.log((found + p0) / (joint(row.sx, row.sx) + 1)))


def test_placebo_partners_are_of_matched_frequency():
    types = [f"t{i}" for i in range(400)]
    number = np.random.default_rng(0).zipf(1.3, 400).clip(max=10**6)
    table = pd.DataFrame({"example_id": types, "n": 1, "sx": "q", "sy": types, "start": 0})
    single = pd.DataFrame({"sx": ["q", *types], "sy": None, "count": [10**6, *number]})
    placebo = placebo_outputs(table, single)
    level = np.log1p(single.set_index("sx")["count"])
    own, other = level[placebo.sy].to_numpy(), level[placebo.placebo].to_numpy()
    assert np.corrcoef(own, other)[0, 1] > 0.97 and (placebo.sy != placebo.placebo).all()
    np.testing.assert_allclose(placebo.log_ratio, other - own)
    nearest = [np.abs(level.drop(["q", sy]) - level[sy]).min() for sy in placebo.sy]
    np.testing.assert_allclose(placebo.log_ratio.abs(), nearest)


def test_a_point_of_a_choice_is_compared_with_the_mean_of_its_wrong_options():
    examples = pd.DataFrame({"example_id": ["e", "f"], "options": [["B", "c", " d"], None], "gold": [0, None]})
    table = pd.DataFrame({"example_id": ["e", "e", "f"], "n": 1, "sx": ["a", "d", "a"], "sy": "b", "start": 0})
    wrong = distractor_outputs(table, examples)
    assert wrong[["sx", "placebo"]].to_numpy().tolist() == [["a", "c"], ["a", "d"], ["d", "c"]]  # (d, d) is no pair
    own, asked = counts(table), counts(wrong.assign(sy=wrong.placebo))
    row = placebo_reference(wrong, own, asked, model="distractors").iloc[0]
    pairs = [("a", "b"), ("d", "b")]
    p0 = sum(joint(*p) for p in pairs) / sum(joint(s, s) for s, _ in pairs)
    logs = [np.log((joint(s, o) + p0) / (joint(s, s) + 1)) for s, o in (("a", "c"), ("a", "d"), ("d", "c"))]
    assert row.logp == pytest.approx(np.mean(logs)) and row.n_terms == 3 and row.model == "distractors"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t, c: (t, c[c.sy.notna()]), "single counts: .* without a count.*--singles"),
        (lambda t, c: (t, c[c.sy != "c"]), "counts: .* without a count"),
        (lambda t, c: (t, pd.concat([c, c.assign(count=c["count"] + 1)])), "two different counts"),
        (lambda t, c: (t, pd.concat([c, c.assign(unit="occurrences")])), "in documents and occurrences"),
        (lambda t, c: (t, c.assign(count=np.where(c.sy.isna(), 1, 5))), "in 5 documents"),
        (lambda t, c: (t.drop(columns="sx"), c), "missing column sx"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    with pytest.raises(InputError, match=message) as error:
        taskgram_logp(*change(TABLE, COUNTS))
    assert "\n" not in str(error.value)


def test_bad_settings_are_refused():
    for setting in ({"form": "per_word"}, {"zero_handling": "hide"}, {"kappa": 0}):
        with pytest.raises(InputError):
            taskgram_logp(TABLE, COUNTS, **setting)
