"""Answers, verdicts and sentences on tables that go either way, and on the recorded ones."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml

from taskgram_chapters import across
from taskgram_chapters import verdicts as v
from taskgram_chapters.recorded import recorded
from taskgram_utils.errors import InputError
from taskgram_utils.statistics import holm

UP, DOWN, SMALL, WIDE, TINY = (0.2, 0.4), (-0.4, -0.2), (-0.05, 0.07), (-0.1, 0.7), (0.01, 0.09)
NULL = (np.nan, np.nan)
CONTROLS = "spearman|log_count_sy+log_count_sx+tokens+logp_prior"


# --- one interval ---


@pytest.mark.parametrize("expected, ends, said", [
    ("positive", UP, "found"), ("positive", DOWN, "opposite"), ("positive", SMALL, "none"),
    ("positive", WIDE, "not decided"), ("positive", TINY, "found"), ("positive", NULL, "not decided"),
    ("negative", DOWN, "found"), ("negative", UP, "opposite"), ("negative", SMALL, "none"),
    ("negative", WIDE, "not decided"), ("negative", TINY, "opposite"),
    ("none", SMALL, "found"), ("none", UP, "opposite"), ("none", DOWN, "opposite"), ("none", WIDE, "not decided"),
    ("none", TINY, "found"), ("none", NULL, "not decided"),
])  # fmt: skip
def test_four_answers_to_three_claims(expected, ends, said):
    assert v.answer(expected, *ends, 0.15) == said


def test_an_answer_needs_an_expectation_and_bounds_decide_on_none():
    with pytest.raises(InputError, match="expected rises: not one of positive, negative, none"):
        v.answer("rises", 0, 1, 0.1)
    assert v.answer("none", -0.1, 0.1, 0.1) == "found" and v.answer("none", -0.1, 0.11, 0.1) == "not decided"
    assert [v.direction(*ends, 0.15) for ends in (UP, DOWN, SMALL, WIDE)] == [
        "positive", "negative", "none", "not decided"]  # fmt: skip


def test_noise_widens_an_interval_on_the_scale_on_which_it_was_made():
    rows = recorded("seeds").tables["partial"].dropna(subset=["low"]).query("estimate < .9").head(200)
    freedom = rows[["examples", "outputs"]].min(axis=1) - 1
    args = [rows[c].to_numpy(float) for c in ("estimate", "low", "high")] + [freedom.to_numpy(float)]
    low, high, p = v.with_noise(*args, 0.0)
    assert np.allclose(low, rows["low"], atol=1e-6) and np.allclose(p, rows["p"], atol=1e-6)
    wide, _, larger = v.with_noise(*args, 0.05)
    assert (wide < low).all() and (larger >= p).all()
    low, high, p = v.with_noise(0.1, 0.02, 0.18, 1e6, 0.03, correlation=False)
    error = np.hypot(0.08 / 1.959964, 0.03)
    assert (low, high) == pytest.approx((0.1 - 1.959964 * error, 0.1 + 1.959964 * error), abs=1e-5)
    assert v.answer("positive", 0.02, 0.18, 0.15) == "found"  # and with the noise of training no longer
    few = v.with_noise(0.1, 0.02, 0.18, 1e6, 0.2, False, trainings=6)[:2]  # nearly all of it is from six
    assert (few[1] - few[0]) / 2 == pytest.approx(2.447 * np.hypot(0.08 / 1.96, 0.2), rel=0.03)
    assert v.with_noise(0.1, 0.02, 0.18, 1e6, 0.0, False, trainings=6)[:2] == pytest.approx((0.02, 0.18))
    assert v.answer("positive", *v.with_noise(0.1, 0.02, 0.18, 99, 0.06, False)[:2], 0.15) == "not decided"


def trainings(rows):
    columns = ["suite", "model", "count_model", "estimate"]
    fixed = {"task": "factual_qa", "group": "facts", "n": 2, "measure": "spearman"}
    return pd.DataFrame(rows, columns=columns).assign(**fixed)


def test_noise_is_pooled_over_sizes_that_were_trained_twice():
    table = trainings([
        ("B", "600k", "taskgram", 0.1), ("reseed 3", "600k", "taskgram", 0.3), ("reseed 4", "600k", "taskgram", 0.2),
        ("B", "3m", "taskgram", 0.5), ("reseed 3", "3m", "taskgram", 0.6), ("B", "25k", "taskgram", 0.9),
        ("B", "3m", "infinigram", 0.3), ("reseed 3", "3m", "infinigram", 0.5)])  # fmt: skip
    s = v.training_noise(table).set_index("count_model")
    assert s.loc["taskgram", "s"] == pytest.approx(np.sqrt((0.02 + 0.005) / 3)) and s.loc["taskgram", "trainings"] == 3
    assert s.loc["taskgram - infinigram", "s"] == pytest.approx(np.sqrt(0.005))  # .2 and .1
    assert v.training_noise(table[table["suite"] == "B"]).empty
    with pytest.raises(InputError, match="training noise"):
        v.training_noise(table.drop(columns="suite"))


# --- one suite ---


def suite(at=None, slope=UP, reliability=0.9, group="facts", points=300, **tables):
    """Tables of a suite of two sizes with one group; ``at`` gives the interval of each measure."""
    at = {"spearman": UP, "spearman|log_count_sy": UP, CONTROLS: UP, "difference": UP, "minus its placebo": UP,
          "without": UP} | (at or {})  # fmt: skip
    fixed = {"task": "factual_qa", "group": group, "n": 2, "count_model": "taskgram", "model": "3m", "parameters": 3e6,
             "p": 0.01, "points": points, "examples": points, "outputs": 50, "reliability": reliability}  # fmt: skip

    def rows(measures, **more):
        return pd.DataFrame([fixed | {"measure": m.replace("difference", "spearman"), "estimate": sum(at[m]) / 2,
                                      "low": at[m][0], "high": at[m][1]} | more for m in measures])  # fmt: skip

    partial = rows(["spearman", "spearman|log_count_sy", CONTROLS])
    slopes = partial.drop(columns=["model", "parameters", "reliability"]).rename(columns={"estimate": "slope"})
    slopes = slopes.assign(slope=sum(slope) / 2, low=slope[0], high=slope[1])
    difference = {"count_model": "taskgram - infinigram"}
    small = partial.assign(model="600k", parameters=6e5, estimate=-0.9, low=-0.99, high=-0.8)
    return {"partial": pd.concat([small, partial]), "difference_to_infinigram": rows(["difference"], **difference),
            "slopes": pd.concat([slopes, slopes.head(1).assign(**difference)]),
            "placebo": rows(["minus its placebo"], count_model="taskgram - placebo"),
            "without_most_frequent": rows(["without"])} | tables  # fmt: skip


def test_one_size_without_noise_has_evidence():
    tables = suite()
    tables["partial"] = tables["partial"][tables["partial"]["model"] == "3m"]
    table = v.evidence(tables)
    assert table["s"].isna().all() and (table["low"] == table["own_low"]).all()


EXPECTED = pd.DataFrame([
    {"task": "factual_qa", "group": "facts", "n": 2, "count_model": lm, "measure": measure, "question": question,
     "expected": "positive", "paper": "", "why": ""} for question in (v.AT, v.SLOPE)
    for lm, measure in (("taskgram", "spearman"), ("taskgram - infinigram", "spearman"))])  # fmt: skip


def told(here, other, noise=None, **expected):
    own, there = v.evidence(here, noise), v.evidence(other, noise)
    return v.claims(EXPECTED.assign(**expected), own, there, v.groups(own, there, 2)).iloc[0]


@pytest.mark.parametrize("here, other, status, said", [
    (suite(), suite(), "made", "Factual QA, facts: Mem is positive: .30 [.20, .40], N = 300; suite C .30 [.20, .40], "
     "N = 300. Preregistered: positive (agrees)."),
    (suite(), suite({"spearman": SMALL}), "not replicated", "largest model: positive, .30 [.20, .40], N = 300; suite "
     "C: none, .01 [−.05, .07], N = 300."),
    (suite(), suite({"spearman": DOWN}), "not replicated", "suite C: negative"),
    (suite({"spearman": WIDE}), suite({"spearman": WIDE}), "not decided", "not decided, .30 [−.10, .70]"),
    (suite({"spearman": SMALL}), suite({"spearman": SMALL}), "made", "Mem is within ±.15: .01 [−.05, .07], N = 300; "
     "suite C .01 [−.05, .07], N = 300. Preregistered: positive (disagrees)."),
    (suite({CONTROLS: SMALL}), suite(), "not about the pairs", "positive, .30"),
    (suite(), suite({CONTROLS: DOWN}), "not about the pairs", "positive, .30"),
    (suite({"minus its placebo": WIDE}), suite(), "not about the pairs", "positive, .30"),
    (suite({"without": SMALL}), suite(), "not about the pairs", "positive, .30"),
    (suite(reliability=0.4), suite(), "barred", "positive, .30"),
])  # fmt: skip
def test_a_claim_needs_two_suites_the_controls_and_a_reliable_count(here, other, status, said):
    row = told(here, other)
    assert row["status"] == status and said in row["sentence"].replace("\N{NO-BREAK SPACE}", " ")


def test_what_was_not_computed_or_recorded_is_said_and_not_passed():
    less = suite()
    less.pop("placebo")
    own = v.evidence(less)
    found = v.groups(own, v.evidence(suite()), 2).iloc[0]
    assert (found["standing"], found["reason"]) == ("not about the pairs", "minus its placebo not computed")
    assert v.groups(v.evidence(suite()), own, 2).iloc[0]["standing"] == "about the pairs"
    other = suite(group="another")
    row = told(suite(), other)
    assert row["status"] == "not recorded" and row["sentence"].endswith("suite C: not recorded, no estimate.")


def test_the_reason_against_a_mem_has_its_number():
    low = v.groups(v.evidence(suite({CONTROLS: SMALL})), v.evidence(suite({"without": DOWN})), 2).iloc[0]
    said = low["reason"].replace("\N{NO-BREAK SPACE}", " ")
    assert said == ("given all four controls none .01 [−.05, .07], N = 300; in suite C without the two most frequent "
                    "outputs negative −.30 [−.40, −.20], N = 300")  # fmt: skip
    row = v.evidence(suite()).iloc[0]
    assert v.about_the_pairs({"raw": row}) == (True, "found in every way")
    assert v.about_the_pairs({"raw": row, "minus its placebo": None}) == (False, "minus its placebo not computed")


def test_noise_of_training_takes_a_finding_away_and_is_shown_beside():
    noise = pd.DataFrame([{"task": "factual_qa", "group": "facts", "n": 2, "count_model": "taskgram",
                           "measure": "spearman", "s": 0.2, "trainings": 7}])  # fmt: skip
    row = told(suite(), suite(), noise)
    assert row["status"] == "not decided" and "(without training noise [.20, .40])" in row["sentence"].replace(
        "\N{NO-BREAK SPACE}", " ")  # fmt: skip
    own = v.evidence(suite(), noise).set_index(["question", "count_model", "measure"])
    slope = own.loc[(v.SLOPE, "taskgram", "spearman")]
    assert slope["s"] == pytest.approx(0.2 / (np.log10(3e6 / 6e5) / np.sqrt(2)))
    assert slope["low"] < 0 and own.loc[(v.AT, "taskgram", "without"), "s"] == 0.2
    assert pd.isna(own.loc[(v.AT, "taskgram - infinigram", "spearman"), "s"])  # not measured: as it was


def test_a_group_whose_pairs_are_not_true_ones_has_no_mem():
    pairs = pd.DataFrame({"task": "t", "group": ["a", "a", "b", "b"], "n": 1, "example_id": list("1234"), "sx": "x",
                          "sy": ["y", "y", "y", "z"], "cosine": [0.5, 0.5, np.nan, np.nan]})  # fmt: skip
    truth = pd.DataFrame({"task": "t", "example_id": ["1", "2", "4"], "sx": "x", "sy": "y"})
    gammas = pd.DataFrame({"task": ["t"], "n": [1], "shuffled_share": [0.05], "own_share": [0.08]})
    assert v.precision(pairs, gammas, truth)["precision"].tolist() == [1, 0]
    assert v.precision(pairs, gammas)["precision"].tolist() == pytest.approx([0.375, 1])  # b names its subjects
    groups = pd.DataFrame({"task": "t", "group": ["a", "b"], "n": 1, "subject_given": [False, True]})
    known = v.precision(groups, gammas)
    rows = pd.DataFrame({"task": "t", "group": ["a", "b", "b"], "n": 1, "reliability": [0.9, 0.49, None]})
    guessed = "no Mem: at most 38% of the mined pairs are true (estimate)"
    assert v.barred(rows, known).iloc[:2].tolist() == [guessed, "reliability .49"]
    assert v.barred(rows, known.drop(columns="estimated"))[0] == "no Mem: 38% of the mined pairs are true"
    assert pd.isna(v.barred(rows, known).iloc[2])
    few = known.assign(task="factual_qa", group="facts", n=2, precision=0.01, estimated=False).head(1)
    row = told(suite(precision=few), suite())
    assert row["status"] == row["verdict"] == "barred" and row["reason"] == "no Mem: 1% of the mined pairs are true"


def test_scores_with_frequency_need_no_control_but_both_suites():
    score = pd.DataFrame([{"task": "factual_qa", "group": "facts", "n": 2, "model": "3m", "estimate": 0.3, "low": 0.2,
                           "high": 0.4, "p": 0.01, "points": 99, "measure": "score",
                           "count_model": "frequency"}])  # fmt: skip
    own = v.evidence(suite(frequency=score))
    for there, status in ((own, "made"), (v.evidence(suite()), "not recorded")):
        row = v.claims(EXPECTED, own, there, v.groups(own, there, 2)).iloc[-1]
        assert (row["status"], row["verdict"]) == (status, "") and pd.isna(row["p_holm"])


def test_one_family_of_p_for_each_question():
    here = suite()
    here["slopes"]["p"] = [0.03, 0.9, 0.9, 0.04]
    own = v.evidence(here)
    table = v.claims(EXPECTED, own, own, v.groups(own, own, 2))
    for question in (v.AT, v.SLOPE):
        part = table[table["question"] == question]
        assert np.allclose(part["p_holm"], holm(part["p"])) and len(part) == 2


# --- the recorded suites: what they do not say is not claimed ---


def test_the_recorded_suites_withdraw_what_one_of_them_refutes():
    """Even if every control that was not recorded is granted."""
    tables = recorded("seeds").tables
    evidence = []
    for name in ("B", "C"):
        mine = {k: tables[k][tables[k]["suite"] == name] for k in ("partial", "difference_to_infinigram", "slopes")}
        granted = mine["partial"].query("measure == 'spearman' and count_model == 'taskgram'")
        granted = granted.assign(estimate=0.3, low=0.2, high=0.4)
        less = granted.assign(count_model="taskgram - placebo")
        evidence.append(v.evidence(mine | {"placebo": less, "without_most_frequent": granted}))
    of_group, expected = v.groups(*evidence, 2), v.read_expectations()
    table = v.claims(expected, *evidence, of_group)
    assert len(table) == len(expected) == 20
    made = table[table["status"] == "made"].set_index("what")
    facts = "Factual QA, facts: Mem"
    assert (made.index + made["question"]).is_unique and facts in made.index
    assert v.SLOPE not in list(made.loc[[facts], "question"])  # .04 [.01, .07], but .01 [−.02, .04]
    assert not [what for what in made.index if what.startswith("Maths") and "slope" in str(made.loc[what, "question"])]
    assert "Translation, unseen: Mem given output frequency" not in made.index
    assert "Kendall" not in " ".join(table["sentence"])
    split = table[table["status"] == "not replicated"]["sentence"].str.replace("\N{NO-BREAK SPACE}", " ")
    assert any(text.startswith(f"{facts}, slope: positive, .04 [.01, .07]; suite C: none, .01") for text in split)
    for row in table[table["status"] == "made"].itertuples():  # no sentence but from two like answers
        assert row.shows == row.shows_c != "not decided"


def test_the_preregistered_rows_are_those_of_the_file():
    table = v.read_expectations()
    assert table.groupby("question").size().to_dict() == {v.AT: 10, v.SLOPE: 10} and set(table["n"]) == {2}
    assert set(table["expected"]) <= set(v.EXPECTED) and not table.duplicated(
        ["question", "task", "group", "count_model", "measure"]).any()  # fmt: skip


# --- the table of claims ---

PAIRS = pd.DataFrame({"model": list("abcd"), "estimate": [0.5, 0.02, -0.3, 0.1], "low": [0.4, -0.1, -0.4, -0.4],
                      "high": [0.6, 0.14, -0.2, 0.6], "points": [90, 90, 90, 8]})  # fmt: skip
SLOPES = pd.DataFrame({"task": ["x", "y"], "slope": [-0.05, 0.1], "low": [-0.06, -0.2], "high": [-0.04, 0.4]})


def cell(says, models, key="records", **more):
    claim = {"claim": "c", "by": "the paper", "says": says,
             key: [{"name": m, "table": "pairs", "where": {"model": m}} | more for m in models]}  # fmt: skip
    return v.claims_table([claim], {key: (key, {"pairs": PAIRS, "slopes": SLOPES})})[key].iloc[0]


@pytest.mark.parametrize("says, models, paper, others", [
    ("positive", "a", "agrees", "the same direction"), ("positive", "b", "disagrees", "no evidence"),
    ("positive", "c", "disagrees", "the opposite"), ("positive", "d", "not decided", "no evidence"),
    ("none", "b", "agrees", "the same direction"), ("none", "c", "disagrees", "the opposite"),
    ("none", "d", "not decided", "no evidence"), ("negative", "c", "agrees", "the same direction"),
    ("positive", "abd", "mixed, 1 of 3", "mixed, 1 of 3"),
    ("positive", "bc", "disagrees", "mixed, 0 of 2 (1 the opposite)")])
def test_a_verdict_is_said_of_the_papers_object_alone(says, models, paper, others):
    assert cell(says, models).split(": ")[0] == paper
    assert cell(says, models, "real_text").split(": ")[0] == others
    assert cell(says, models, small=True).split(": ")[0] == others  # smaller models are among them


def test_eleven_of_twelve_are_mixed_and_no_claim_has_no_verdict():
    assert v.verdict(["found"] * 11 + ["none"], True) == "mixed, 11 of 12"
    assert cell("nothing", "a").replace("\N{NO-BREAK SPACE}", " ") == "a: .50 [.40, .60], N = 90"


def test_several_rows_are_told_by_how_many_find_it():
    one = {"table": "pairs", "where": {"model": ["a", "b", "c"]}}
    sides = {"records": ("records", {"pairs": PAIRS}), "twins": ("twins", {}), "real": ("real_text", {})}
    claim = {"claim": "c", "by": "b", "says": "positive", "records": [one], "twins": [one],
             "real_text": "nobody has it"}  # fmt: skip
    row = v.claims_table([claim], sides).iloc[0]
    assert row["records"] == "mixed, 1 of 3 (1 the opposite): found in 1 of 3, −.30 to .50"
    assert row["says"] == "positive (b)"
    none = v.claims_table([claim | {"says": "none"}], sides).iloc[0]
    assert none["records"].endswith(", −.30 to .50; 1 of 3 include 0")
    alone = {"records": ("records", {"pairs": PAIRS.assign(low=np.nan, high=np.nan)})}
    unsaid = v.claims_table([claim], alone).iloc[0]["records"]
    assert unsaid.count("(no\u00a0interval)") == 3 and "mixed" not in unsaid  # no interval is no answer
    assert (row["twins"], row["real"]) == ("not measured", "nobody has it")
    with pytest.raises(InputError, match="size"):
        v.claims_table([claim | {"records": [{"table": "pairs", "where": {"size": 1}}]}], sides)


def test_a_group_without_mem_and_a_slope_with_two_intervals():
    few = PAIRS.assign(barred=["no Mem: 1% of the mined pairs are true", None, None, None])
    claim = {"claim": "c", "by": "b", "says": "positive", "real_text": [{"table": "pairs", "where": {"model": "a"}}]}
    table = v.claims_table([claim], {"real": ("real_text", {"pairs": few})})
    assert table["real"].item() == "no Mem: 1% of the mined pairs are true"
    wide = SLOPES.assign(low_sizes=[-0.12, None], high_sizes=[0.02, None])
    claim |= {"says": "negative", "records": [{"table": "slopes", "value": "slope", "where": {"task": "x"}}]}
    for slopes, said in ((SLOPES, "agrees"), (wide, "not decided")):
        assert v.claims_table([claim], {"r": ("records", {"slopes": slopes})})["r"].item().startswith(said)


def test_the_largest_n_of_each_group_is_taken_unless_one_is_named():
    table = pd.DataFrame({"group": ["a", "a", "b"], "n": [1, 2, 1], "estimate": [1, 2, 3]})
    assert v.selected({"table": "t", "where": {}}, {"t": table})["estimate"].tolist() == [2, 3]
    assert v.selected({"table": "t", "where": {"n": 1}}, {"t": table})["estimate"].tolist() == [1, 3]
    assert v.selected({"table": "u", "where": {}}, {"t": table}).empty


def test_the_claims_of_the_book_find_their_recorded_numbers():
    tables = {"records": recorded("records").tables, "real_text": recorded("openbook").tables}
    listed, asked = v.read_claims(), 0
    for claim in listed:
        for key, of_side in tables.items():
            for one in claim.get(key, []) if isinstance(claim.get(key), list) else []:
                lists = [len(x) for x in one["where"].values() if isinstance(x, list)]
                assert len(v.selected(one, of_side)) >= np.prod(lists or [1]), (claim["claim"], one)
                asked += 1
    table = v.claims_table(listed, {key: (key, of_side) for key, of_side in tables.items()})
    assert asked > 25 and len(table) == len(listed) and table["claim"].is_unique
    assert not table["real_text"].str.contains("agrees").any() and table["records"].str.startswith("mixed").any()


@pytest.mark.parametrize("change", [{"says": "up"}, {"by": None}])
def test_a_file_of_claims_that_cannot_be(tmp_path, monkeypatch, change):
    claim = {"claim": "c", "by": "b", "says": "positive"} | change
    claim = {key: value for key, value in claim.items() if value}
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "paper_claims.yaml").write_text(yaml.safe_dump({"claims": [claim]}))
    monkeypatch.setattr(v, "project_root", lambda: tmp_path)
    with pytest.raises(InputError, match="needs claim, by and says"):
        v.read_claims()


def test_the_page_of_claims_holds_no_typed_result_and_every_block_is_glued():
    book = v.project_root()
    page = (book / "book" / "claims.md").read_text(encoding="utf-8")
    own = v.evidence(suite())
    of_group = v.groups(own, own, 2)
    judged = v.claims(EXPECTED, own, own, of_group)
    keys = {*across.claims("", judged, own, own, of_group, 2), *across.compared(own, own, of_group)}
    blocks = set(re.findall(r"```\{glue\} ([\w-]+)\n:doc: \.\./notebooks/11_across_tasks\.ipynb\n", page))
    assert blocks == keys and len(blocks) == 8
    assert page.count("{glue") == len(blocks) and not re.search(r"\.\d", page)
