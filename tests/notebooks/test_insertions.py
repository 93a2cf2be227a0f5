"""Randomised insertions: the printed tables, curves of known shape, and what was recorded."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.optimize import minimize

from taskgram_chapters import insertions, records
from taskgram_chapters.findings import rounded
from taskgram_chapters.recorded import recorded
from taskgram_utils.errors import InputError
from taskgram_utils.run.store import project_root
from tests import originals

ORIGINAL = originals.REAL / "hubble" / "allegro-lab+hubble" / "notebooks" / "bigplot.ipynb"
real = pytest.mark.skipif(not ORIGINAL.is_file(), reason=f"no {ORIGINAL}")
DOSES, TEXTS = np.array([0, 1, 4, 16, 64, 256]), np.array(records.ASKED["biographies"])
EXPECTED = yaml.safe_load((project_root() / "book" / "cause_expectations.yaml").read_text("utf-8"))["insertions"]


@pytest.fixture(scope="module")
def table():
    return records.insertions(originals.REAL)


def shape(floor, ceiling, slope, half):
    with np.errstate(divide="ignore"):
        return floor + (ceiling - floor) / (1 + np.exp(-slope * (np.log2(DOSES) - np.log2(half))))


def series(means, **key):
    names = {"kind": "biographies", "task": "t", "fact": "email", "measure": "acc", "inserted": "verbatim",
             "parameters": 10**9, "tokens": 10**11}  # fmt: skip
    return pd.DataFrame({**names, **key, "insertions": DOSES, "mean": means, "n": TEXTS.astype(float)})


# --- the reader -------------------------------------------------------------------------------------------------------


@real
def test_every_printed_mean_is_read_once(table):
    keys = ["kind", "task", "fact", "measure", "inserted", "parameters", "tokens"]
    assert len(table) == 1344 and not table.duplicated([*keys, "insertions"]).any()
    assert table.groupby(["task", "fact", "measure"]).ngroups == 57
    assert table.groupby(keys).size().value_counts().to_dict() == {6: 216, 4: 12}  # popular books have four
    cells, printed = json.loads(ORIGINAL.read_text(encoding="utf-8"))["cells"], []
    for cell in (29, 45, 74, 77):
        for out in cells[cell]["outputs"]:
            text = "".join(out.get("text") or out["data"]["text/plain"])
            printed += re.findall(r"(?:perturbed(?: \(paraphrase\)\))?|\b[1246]\d*) +(-?\d\.\d+)$", text, re.M)
    assert sorted(map(float, printed)) == sorted(table["mean"])


@real
@pytest.mark.parametrize("cell, before, row, at", [
    (29, "yago_hubble_full_prefix_full_suffix", r"\(1B, perturbed\)\s+1\s", ("all", "verbatim", 1, 100, 0)),
    (29, "mmlu_hubble", r"\(8B, perturbed \(paraphrase\)\)\s+1\s", ("all", "paraphrased", 8, 100, 0)),
    (45, "wikipedia_hubble: mean", r"8B-500B-perturbed\s+1\s", ("all", "verbatim", 8, 500, 0)),
    (74, "personachat_hubble_ppl", r"1\s+1B-100B-perturbed", ("all", "verbatim", 1, 100, 0)),
    (77, "yago_hubble_full_prefix_gen email", r"1024\s+1B-100B-perturbed", ("email", "verbatim", 1, 100, 256)),
    (77, "yago_hubble_intro_prefix_no_suffix uuid", r"64\s+1B-100B-perturbed", ("uuid", "verbatim", 1, 100, 16)),
])  # fmt: skip
def test_a_mean_is_the_printed_one(table, cell, before, row, at):
    outputs = json.loads(ORIGINAL.read_text(encoding="utf-8"))["cells"][cell]["outputs"]
    text = "\n".join("".join(out.get("text") or out["data"]["text/plain"]) for out in outputs)
    after = text[re.search(rf"{before}\W", text).end():]
    value = float(re.search(rf"{row}\s*(-?\d\.\d+)", after)[1])
    fact, inserted, size, corpus, times = at
    task, measure = re.match(r"\w+", before)[0], re.search(r"Name: (\w+)", after)[1]
    one = table[(table["task"] == task) & (table["fact"] == fact) & (table["measure"] == measure)
                & (table["inserted"] == inserted) & (table["parameters"] == size * 10**9)
                & (table["tokens"] == corpus * 10**9) & (table["insertions"] == times)]  # fmt: skip
    assert one["mean"].tolist() == [value]


@real
def test_means_typed_from_the_tables(table):
    email = table[(table["task"] == "yago_hubble_full_prefix_no_suffix") & (table["fact"] == "nationality")]
    small = email[(email["parameters"] == 10**9) & (email["tokens"] == 10**11)]
    assert small["mean"].tolist() == [0.8976, 0.888018, 0.924972, 0.937220, 0.994413, 1.0]
    test = table[(table["kind"] == "test set") & (table["inserted"] == "verbatim") & (table["parameters"] == 8 * 10**9)]
    assert test["mean"].tolist() == [0.2595, 0.419174, 0.699090, 0.977591, 1.0, 1.0]


@real
def test_the_axis_says_how_often_texts_were_inserted():
    cells = json.loads(ORIGINAL.read_text(encoding="utf-8"))["cells"]
    for cell in (29, 45, 74, 77):
        source = "".join(cells[cell]["source"])
        assert "lambda d_: 1 if d_ == 0 else d_*4" in source
        assert f"set_xticks({list(records.PRINTED)}, {list(records.PRINTED.values())})" in source


@real
def test_accuracies_are_whole_multiples_of_one_text(table):
    alone = ((table["kind"] != "biographies") | (table["fact"] != "all")) & table["n"].notna()
    right = table["mean"] * table["n"]
    assert ((right - right.round()).abs() / table["n"])[alone].max() < 6e-7 and alone.sum() == 936
    seven = table[(table["kind"] == "biographies") & (table["fact"] == "all") & (table["measure"] == "acc")]
    right = seven["mean"] * seven["n"] * 7
    assert ((right - right.round()).abs() / seven["n"] / 7).max() < 6e-7


@real
def test_nationality_is_asked_by_one_prompt_under_two_names(table):
    asked = table[table["fact"] == "nationality"].assign(task=lambda t: t["task"].str.replace("intro", "full"))
    assert (asked.groupby(["task", "parameters", "tokens", "insertions"])["mean"].agg(["nunique", "size"]) == (1, 2)
            ).all(axis=None)  # fmt: skip


@pytest.mark.parametrize("cells", [[], [{"outputs": []}] * 78])
def test_another_notebook_is_refused(tmp_path, cells):
    listed = originals.write(tmp_path, {("hubble", "bigplot.ipynb"): json.dumps({"cells": cells})})
    with pytest.raises(InputError, match=r"bigplot\.ipynb: not in the form of its set"):
        records.insertions(tmp_path, listed)


# --- curves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [(0.1, 1.0, 1.2, 20.0), (0.3, 0.9, 0.8, 40.0), (0.0, 0.6, 1.5, 100.0)])
def test_a_curve_is_found_again_and_its_intervals_cover(truth):
    rng = np.random.default_rng(1)
    found = pd.DataFrame([insertions.curve(DOSES, rng.binomial(TEXTS, shape(*truth)) / TEXTS, TEXTS)
                          for _ in range(100)])  # fmt: skip
    assert np.allclose(found[["floor", "ceiling"]].median(), truth[:2], atol=0.03)
    assert np.allclose(found[["slope", "half"]].median() / truth[2:], 1, atol=0.15)
    for name, value in (("slope", truth[2]), ("half", truth[3])):
        covered = ((found[f"{name}_low"] <= value) & (value <= found[f"{name}_high"])).mean()
        assert 0.88 <= covered <= 1, name
    assert (found["p"] < 1e-6).all() and 0.005 <= (found["p_fit"] < 0.05).mean() <= 0.15


def test_a_curve_is_the_most_likely_one():
    right = np.random.default_rng(2).binomial(TEXTS, shape(0.2, 0.8, 1.0, 30.0))

    def loss(x):
        p = np.clip(shape(x[0], x[1], x[2], 2 ** x[3]), 1e-9, 1 - 1e-9)
        return -(right * np.log(p) + (TEXTS - right) * np.log(1 - p)).sum()

    best = minimize(loss, [0.2, 0.8, 1, 5], bounds=[(0, 1), (0, 1), (0.25, 8), (-2, 11)])
    ours = insertions.curve(DOSES, right / TEXTS, TEXTS)
    at = [ours["floor"], ours["ceiling"], ours["slope"], np.log2(ours["half"])]
    assert loss(at) <= best.fun + 0.02 and np.allclose(at, best.x, atol=0.05)
    # The profile at the ends of the interval: half the 95% point below.
    for end in ("half_low", "half_high"):
        there = np.log2(ours[end])
        fixed = minimize(lambda x, h=there: loss([*x, h]), at[:3], bounds=[(0, 1), (0, 1), (0.25, 8)])
        assert fixed.fun - best.fun == pytest.approx(1.92, abs=0.15)


def test_a_flat_line_has_no_half_and_is_seldom_found_to_rise():
    rng = np.random.default_rng(3)
    flat = [series(rng.binomial(TEXTS, 0.3) / TEXTS, task=f"t{i}") for i in range(60)]
    found = insertions.dose_response(pd.concat(flat))
    assert found["half"].isna().all() and found["half_low"].isna().all() and (found["p"] < 0.05).mean() <= 0.1
    assert (found["reason"] == insertions.FLAT).all()


def test_a_half_beyond_the_insertions_made_is_null_and_bounds_a_contrast():
    late, early = shape(0.1, 1.0, 1.0, 900.0), shape(0.1, 1.0, 1.0, 20.0)
    found = insertions.dose_response(pd.concat([series(late), series(early, parameters=8 * 10**9)]))
    assert found["reason"].tolist()[0] == "> 256" and np.isnan(found["half"].iloc[0])
    assert found["half"].iloc[1] == pytest.approx(20, rel=0.02)
    half = insertions.contrasts(found).query("of == 'half'").iloc[0]
    assert np.isnan(half["estimate"]) and half["high"] < 0 and half["reason"] == "a half is > 256"


def test_a_contrast_is_the_difference_of_halves_with_a_joint_interval():
    tables = [series(shape(0.1, 1.0, 1.2, half), tokens=tokens) for half, tokens in ((8, 10**11), (40, 5 * 10**11))]
    curves = insertions.dose_response(pd.concat(tables))
    half = insertions.contrasts(curves).query("of == 'half'").iloc[0]
    assert half["estimate"] == pytest.approx(np.log2(5), abs=0.05)
    one, other = (np.log2(curves[["half", "half_low", "half_high"]].to_numpy()[i]) for i in (1, 0))
    assert half["low"] == pytest.approx(half["estimate"] - np.hypot(one[0] - one[1], other[2] - other[0]))
    assert half["low"] < np.log2(5) < half["high"] and half["low"] > 0


def test_gains_are_slopes_on_doublings():
    found = insertions.dose_response(series(np.r_[0.05, 0.1 + 0.02 * np.log2(DOSES[1:])])).iloc[0]
    assert found["gain"] == pytest.approx(0.02) and found["gain_low"] < 0.02 < found["gain_high"]
    unknown = series([-1.0, -0.9, -0.8, -0.7, -0.6, -0.5]).assign(n=np.nan, measure="byte_perplexity")
    found = insertions.dose_response(pd.concat([unknown, series(shape(0, 1, 1, 9))])).iloc[0]
    assert found["gain"] == pytest.approx(0.05) and found["reason"] == "no number of texts" and np.isnan(found["half"])


def test_shares_outside_their_range_are_refused():
    with pytest.raises(InputError, match="a curve needs shares within 0…1"):
        insertions.curve(DOSES, [0, 0, 0, 0, 0, 1.5], TEXTS)


# --- what was expected ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected, low, high, said", [
    ("rises", 0.01, 0.05, "found"), ("falls", 0.01, 0.05, "opposite"), ("falls", -2, -1, "found"),
    ("rises", -0.05, 0.05, "none"), ("rises", -0.2, 0.05, "not decided"), ("rises", 0.1, np.nan, "found"),
    ("rises", np.nan, 0.05, "not decided"), ("rises", np.nan, np.nan, None)])  # fmt: skip
def test_four_answers(expected, low, high, said):
    assert insertions.answer(expected, low, high, 0.1) == said


def test_a_line_that_was_not_preregistered_is_refused():
    curves = insertions.dose_response(series(shape(0, 1, 1, 9)))
    with pytest.raises(InputError, match="half on Mondays: was not preregistered"):
        insertions.judge([{"what": "half on Mondays", "expected": "rises"}], curves, pd.DataFrame())


def test_the_recorded_answers_follow_from_the_recorded_tables():
    tables = recorded("insertions").tables
    assert set(tables) == {"points", "curves", "contrasts", "answers", "share"}
    answers = tables["answers"]
    assert answers.drop_duplicates("what")["what"].tolist() == [line["what"] for line in EXPECTED]
    assert (answers[list(insertions.ANSWERS)].sum(axis=1) == answers["cells"]).all()
    again = rounded(insertions.judge(EXPECTED, tables["curves"], tables["contrasts"].fillna({"contrast": ""})))
    pd.testing.assert_frame_equal(again[["what", "of", "kind", "cells", "without"]],
                                  rounded(answers)[["what", "of", "kind", "cells", "without"]])  # fmt: skip
    curves = tables["curves"]
    without = curves["half"].isna()
    assert curves.loc[without, "reason"].notna().all() and curves.loc[~without, "reason"].isna().all()
    assert not {"text", "name", "x", "y"} & set(tables["points"])


@real
def test_the_recorded_tables_are_these(table):
    tables, noted = insertions.tables(table, EXPECTED), recorded("insertions")
    for name in ("answers", "share", "curves"):
        theirs = noted.tables[name]
        for column in tables[name].select_dtypes("number"):
            if column in theirs:
                assert np.allclose(tables[name][column].astype(float), theirs[column].astype(float),
                                   rtol=2e-3, atol=1e-6, equal_nan=True), (name, column)  # fmt: skip
