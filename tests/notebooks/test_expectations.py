"""Verdicts on tables whose answer is known by construction, and on estimates of worlds made to agree or not."""

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import expectations as e
from taskgram_chapters.numbers import number
from taskgram_utils.errors import InputError
from taskgram_utils.memorization import contrasts, estimates, on_shared_points, slopes

KEYS = {"task": "qa", "group": "g", "n": 2, "count_model": "taskgram", "measure": "spearman"}


def expected(at="positive", with_size="rises", **other):
    return pd.DataFrame([{**KEYS, "at": at, "with_size": with_size, "paper": "", "why": "", **other}])


def tables(interval=(0.3, 0.2, 0.4), slope=(0.1, 0.05, 0.15), **other):
    names = ("estimate", "low", "high")
    row = {**KEYS, **other, "model": "large", "parameters": 1e8, "p": 0.01, "points": 50}
    row |= dict(zip(names, interval, strict=True))
    small = {**row, "model": "small", "parameters": 1e6, "estimate": -0.9, "low": -0.99, "high": -0.8}
    sloped = {**KEYS, **other, "p": 0.01, **dict(zip(("slope", "low", "high"), slope, strict=True))}
    return pd.DataFrame([small, row]), pd.DataFrame([sloped])


def verdict(at, with_size, interval, slope, **other):
    return e.judge(expected(at, with_size), *tables(interval, slope), **other)["verdict"].item()


UP, DOWN, AROUND, WIDE = (0.3, 0.2, 0.4), (-0.3, -0.4, -0.2), (0.01, -0.05, 0.07), (0.3, -0.1, 0.7)
NULL = (np.nan, np.nan, np.nan)


@pytest.mark.parametrize(
    ("at", "with_size", "interval", "slope", "said"),
    [
        ("positive", "rises", UP, UP, "agrees"),
        ("positive", "falls", UP, DOWN, "agrees"),
        ("none", "none", AROUND, AROUND, "agrees"),
        ("negative", "falls", DOWN, DOWN, "agrees"),
        ("positive", "rises", DOWN, UP, "disagrees"),
        ("positive", "rises", AROUND, UP, "disagrees"),
        ("positive", "rises", UP, AROUND, "disagrees"),
        ("positive", "rises", UP, DOWN, "disagrees"),
        ("none", "none", UP, AROUND, "disagrees"),
        ("none", "none", WIDE, AROUND, "cannot be said"),
        ("positive", "rises", WIDE, UP, "cannot be said"),
        ("positive", "rises", UP, WIDE, "cannot be said"),
        ("positive", "rises", UP, NULL, "cannot be said"),
        ("none", "none", NULL, NULL, "cannot be said"),
        ("positive", "rises", WIDE, DOWN, "disagrees"),
        ("positive", "rises", DOWN, NULL, "disagrees"),
    ],
)
def test_verdict_of_size_and_slope_together(at, with_size, interval, slope, said):
    assert verdict(at, with_size, interval, slope) == said


def test_an_interval_that_leaves_out_zero_is_never_too_wide():
    assert verdict("positive", "rises", (0.5, 0.01, 0.99), (0.5, 0.01, 0.99)) == "agrees"


def test_the_limits_decide_what_is_too_wide():
    assert verdict("none", "none", AROUND, AROUND, widest=0.11) == "cannot be said"
    assert verdict("none", "none", AROUND, AROUND, widest_slope=0.11) == "cannot be said"
    assert verdict("none", "none", WIDE, AROUND, widest=0.81) == "agrees"
    assert e.direction(0, -0.1, 0.1, 0.2) == "none"


def test_an_estimate_without_interval_says_nothing():
    assert verdict("positive", "rises", (0.8, np.nan, np.nan), UP) == "cannot be said"


def test_a_row_that_is_not_there_says_nothing():
    frame = e.judge(expected(group="other"), *tables())
    assert frame["verdict"].item() == "cannot be said" and frame["found_at"].item() == "null"
    assert "could not be estimated" in e.sentence(frame.iloc[0])


def test_the_largest_size_is_judged_with_its_numbers():
    frame = e.judge(expected(), *tables())
    assert frame[["model", "estimate", "low", "high", "points", "slope", "slope_low"]].iloc[0].tolist() == [
        "large", 0.3, 0.2, 0.4, 50, 0.1, 0.05,
    ]  # fmt: skip


def test_two_rows_for_one_expectation_are_refused():
    rows, sloped = tables()
    with pytest.raises(InputError, match="estimates: more than one row for qa, g, 2, taskgram, spearman"):
        e.judge(expected(), pd.concat([rows, rows]), sloped)
    with pytest.raises(InputError, match="slopes: more than one row"):
        e.judge(expected(), rows, pd.concat([sloped, sloped]))
    other = rows.assign(group="not asked about")
    assert e.judge(expected(), pd.concat([rows, other, other]), sloped)["verdict"].item() == "agrees"


def test_expectations_as_preregistered():
    table = e.read_expectations()
    assert len(table) == 10 and set(table["n"]) == {2}
    assert {"taskgram", "taskgram - infinigram"} == set(table["count_model"])
    assert table.apply(e.key, axis=1).is_unique
    assert table.loc[0, ["task", "at", "with_size"]].tolist() == ["factual_qa", "positive", "rises"]


def test_an_unknown_word_in_the_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "notebooks" / "runs").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    text = "main_order: 2\nexpectations:\n  - {task: qa, group: g, at: %s, with_size: rises}\n"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book" / "expectations.yaml").write_text(text % "high")
    with pytest.raises(InputError, match="at must be one of positive, negative, none"):
        e.read_expectations()
    (tmp_path / "book" / "expectations.yaml").write_text(text % "positive")
    assert e.read_expectations()["at"].tolist() == ["positive"]


def world(strengths, seed=0, size=600):
    """A reference, a weaker one, and models of rising size that follow the truth as strongly as they are told."""
    rng = np.random.default_rng(seed)
    keys = pd.DataFrame({
        "task": "qa", "group": "g", "example_id": [f"q{i}" for i in range(size)], "n": 2,
        "sy": [f"w{i}" for i in range(size)], "start": 0,
    })  # fmt: skip
    truth = rng.normal(size=size)
    references = [
        keys.assign(model=lm, logp=truth + noise * rng.normal(size=size), zero_handling="keep")
        for lm, noise in (("taskgram", 0.1), ("infinigram", 2.0))
    ]
    models = [
        keys.assign(model=f"m{k}", run="1", seed=1, step=1, logp=w * truth + rng.normal(size=size))
        for k, w in enumerate(strengths)
    ]
    return references, pd.concat(models), {f"m{k}": 10.0 ** (5 + k) for k in range(len(strengths))}


@pytest.mark.parametrize(
    ("strengths", "at", "with_size"),
    [((0.2, 0.6, 2), "positive", "rises"), ((2, 0.9, 0.4), "positive", "falls"), ((0, 0, 0), "none", "none")],
)
def test_worlds_made_to_agree_do_and_the_others_do_not(strengths, at, with_size):
    references, model, parameters = world(strengths)
    result = estimates(references[0], model, parameters=parameters)
    preregistered = pd.concat(
        [expected(a, s) for a, s in (("positive", "rises"), ("positive", "falls"), ("none", "none"))], ignore_index=True
    )
    judged = e.judge(preregistered, result.table, slopes(result))
    agrees = (judged["at"] == at) & (judged["with_size"] == with_size)
    assert (judged["verdict"] == np.where(agrees, "agrees", "disagrees")).all()


def test_the_difference_from_a_weaker_reference_is_judged_with_its_slope():
    references, model, parameters = world((0.2, 0.6, 2))
    lead = contrasts(
        on_shared_points(*references, model, parameters=parameters), "count_model", "taskgram", "infinigram"
    )
    preregistered = expected(count_model="taskgram - infinigram")
    judged = e.judge(preregistered, lead.table, slopes(lead)).iloc[0]
    assert judged["verdict"] == "agrees" and judged["points"] == 600
    assert "Mem under the task-gram LM less that under the ∞-gram LM" in e.sentence(judged)


def test_sentences_say_the_direction_found():
    said = [
        e.sentence(e.judge(expected(), *tables(interval, slope)).iloc[0])
        for interval, slope in ((UP, UP), (DOWN, DOWN), (AROUND, AROUND), (WIDE, WIDE), (NULL, NULL))
    ]
    assert len(set(said)) == 5
    assert said[0] == "qa (g): Mem is positive for the largest model; with size it rises. Both were expected."
    assert said[1] == "qa (g): Mem is negative for the largest model; with size it falls. Neither was expected."
    assert "cannot be distinguished from zero" in said[2] and "neither meets nor breaks" in said[3]
    assert "could not" in said[4]
    assert not any("'" in s for s in said)
    halves = [e.sentence(e.judge(expected(), *tables(*pair)).iloc[0]) for pair in ((UP, DOWN), (DOWN, WIDE))]
    assert halves[0].endswith("The second was not expected.") and halves[1].endswith("The first was not expected.")


def test_report_and_claims_carry_the_numbers_of_their_rows():
    preregistered = pd.concat([expected(), expected(measure="spearman|log_count_sy")], ignore_index=True)
    judged = e.judge(preregistered, *tables(UP, UP))
    report = e.report(judged)
    assert report["what"].tolist() == ["qa (g): Mem", "qa (g): Mem given output frequency"]
    assert report["found"].tolist() == [number(0.3, 0.2, 0.4, 50), "no estimate"]
    claims = e.claims(judged)
    assert len(claims) == 10 and claims["number-qa-g-raw"].replace("\xa0", " ") == (
        "n = 2: .30 [.20, .40], N = 50; slope .30 [.20, .40], p (Holm) .01"
    )
    more = pd.concat([tables(UP)[0], tables(DOWN)[0].assign(n=1)])
    found = e.claims(e.judge(expected(), more, tables(slope=UP)[1]), pd.Series({("qa", "g"): 0.987}))
    assert found["number-qa-g-raw"].replace("\xa0", " ").endswith("; n = 1: −.30 [−.40, −.20]; score .99")
    assert claims["claim-qa-g-raw"] == e.sentence(judged.iloc[0])
    assert claims["expected-qa-g-partial"] == "positive; with size: rises"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.434, 0.25, 0.561, 1282), ".43 [.25, .56], N = 1,282"),
        ((-0.001, -0.2, 0.004), "−.001 [−.20, .004]"),
        ((0.0, 0.0, 0.005), ".00 [.00, .01]"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((np.nan, np.nan, np.nan, 2), "no estimate"),
        ((0.3, np.nan, np.nan, 2), ".30 (no interval), N = 2"),
    ],
)
def test_numbers_as_pages_show_them(numbers, text):
    assert number(*numbers).replace("\xa0", " ") == text
    assert number(*numbers).count(" ") == ("N =" in text) + ("no estimate" in text)


def test_holms_p_is_over_the_preregistered_slopes():
    preregistered = pd.concat([expected(), expected(measure="pearson")], ignore_index=True)
    rows, sloped = (pd.concat([t, t.assign(measure="pearson")]) for t in tables())
    sloped["p"] = [0.01, 0.04]
    assert e.judge(preregistered, rows, sloped)["slope_holm"].tolist() == pytest.approx([0.02, 0.04])


def test_what_would_refute_follows_the_finding():
    assert len({e.refutation(found) for found in ("positive", "none", "too wide", "null")}) == 4
    assert e.refutation("positive") == e.refutation("negative")
    claims = e.claims(e.judge(expected(), *tables(WIDE, UP)), widest_slope=0.3)
    assert claims["refute-qa-g-raw"].startswith("The estimate: nothing yet, for so wide")
    assert claims["refute-qa-g-raw"].endswith("slope of another world: of the other sign, or its interval includes 0 "
                                              "and is at most 0.3 wide")  # fmt: skip
