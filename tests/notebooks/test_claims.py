"""Claims beside numbers: verdicts from intervals, and what is said where a number is not there."""

import pandas as pd
import pytest
import yaml

from taskgram_chapters import claims, expectations
from taskgram_chapters.recorded import recorded
from taskgram_utils.errors import InputError

TABLE = pd.DataFrame({
    "model": ["a", "b", "c", "d"], "estimate": [0.5, 0.02, -0.3, 0.1], "low": [0.4, -0.1, -0.4, -0.4],
    "high": [0.6, 0.14, -0.2, 0.6], "points": [90, 90, 90, 8],
})  # fmt: skip
SLOPES = pd.DataFrame({"task": ["x", "y"], "slope": [-0.05, 0.1], "low": [-0.06, -0.2], "high": [-0.04, 0.4],
                       "models": [7, 7]})  # fmt: skip
TABLES = {"pairs": TABLE, "slopes": SLOPES}
HERE = pd.DataFrame({"key": ["at-qa", "slope-qa"], "estimate": [0.4, 0.1], "low": [0.2, -0.05], "high": [0.6, 0.24],
                     "points": [300, None]})  # fmt: skip


def claim(says="positive", models=(), miniature="at-qa", **more):
    records = [{"name": m, "table": "pairs", "where": {"model": m}} for m in models]
    side = {"records": records} if records else {"absent": "nobody has it"}
    return {"key": "k", "claim": "c", "by": "the paper", "says": says, "miniature": miniature} | side | more


@pytest.mark.parametrize("says, models, expected", [
    ("positive", "a", "agrees"), ("positive", "ab", "disagrees"), ("positive", "ad", "cannot be said"),
    ("positive", "cd", "disagrees"), ("none", "b", "agrees"), ("negative", "c", "agrees"),
    ("none", "d", "cannot be said"),
    ("negative", "", "cannot be said")])  # fmt: skip
def test_of_several_numbers_the_worst_verdict_stands(says, models, expected):
    row = claims.compare([claim(says, models)], HERE, TABLES).iloc[0]
    assert row["records_verdict"] == expected
    assert all(f"{m}: " in row["records"] for m in models) or len(models) < 2
    assert row["records"] == "nobody has it" or "N\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}" in row["records"]


def test_slopes_have_their_own_width_and_say_how_many_models():
    steep = {"name": "x", "table": "slopes", "value": "slope", "where": {"task": "x"}}
    one = claim("negative", miniature="slope-qa") | {"records": [steep]}
    one.pop("absent")
    row = claims.compare([one], HERE, TABLES).iloc[0]
    assert row["records_verdict"] == "agrees" and row["records"].endswith("7 models")
    assert row["miniature_verdict"] == "cannot be said"  # .29 wide: too wide for a slope, not for an estimate
    assert claims.compare([one], HERE, TABLES, widest_slope=0.4)["miniature_verdict"].iloc[0] == "disagrees"


def test_several_models_are_told_by_how_many_agree():
    one = {"name": "all", "table": "pairs", "models": ["a", "b", "c"], "where": {}}
    row = claims.compare([claim(models="x") | {"records": [one]}], HERE, TABLES).iloc[0]
    assert row["records"] == "all: disagrees at 2 of 3 sizes, agrees at 1 of 3 sizes, from −.30 to .50"
    assert row["records_verdict"] == "disagrees"
    with pytest.raises(InputError, match="claim k, all: pairs has no row for"):
        claims.compare([claim(models="x") | {"records": [one | {"models": list("abcx")}]}], HERE, TABLES)


def test_a_slope_has_the_ends_of_both_its_intervals():
    wide = SLOPES.assign(low_sizes=[-0.12, None], high_sizes=[0.02, None])
    steep = {"name": "x", "table": "slopes", "value": "slope", "where": {"task": "x"}}
    row = claims.compare([claim("negative", "x") | {"records": [steep]}], HERE, {"slopes": wide}).iloc[0]
    assert row["records_verdict"] == "disagrees" and "[−.12,\N{NO-BREAK SPACE}.02]" in row["records"]


def test_what_is_not_there():
    row = claims.compare([claim(miniature="at-nothing")], HERE, TABLES).iloc[0]
    assert (row["miniature"], row["miniature_verdict"]) == ("not in this run", "cannot be said")
    none = claim(absent_miniature="not computed")
    none.pop("miniature")
    assert claims.compare([none], HERE, TABLES)["miniature"].tolist() == ["not computed"]
    with pytest.raises(InputError, match="claim k: the miniature world: more than one row for at-qa"):
        claims.compare([claim()], pd.concat([HERE, HERE]), TABLES)
    with pytest.raises(InputError, match="claim k, e: pairs has no row for"):
        claims.compare([claim(models="e")], HERE, TABLES)


def test_the_evidence_of_a_run_has_a_row_for_each_number():
    row = {"task": "factual_qa", "group": "facts", "count_model": "taskgram", "measure": "spearman", "estimate": 0.4,
           "low": 0.2, "high": 0.6, "points": 90, "slope": 0.1, "slope_low": 0.0, "slope_high": 0.2}  # fmt: skip
    score = {"task": ["factual_qa", "translation"], "group": ["facts", "unseen"], "spearman": [0.3, 0.3],
             "spearman_low": [0.1, 0.1], "spearman_high": [0.5, 0.5], "size": [300, 300],
             "changes": [100, 3]}  # fmt: skip
    distance = pd.DataFrame({"group": ["held_out"], "slope": [0.01], "low": [0.0], "high": [0.02]})
    table = claims.evidence(pd.DataFrame([row]), pd.DataFrame(score), distance).set_index("key")
    assert list(table.index) == ["at-factual_qa-facts-raw", "slope-factual_qa-facts-raw", "frequency-factual_qa-facts",
                                 "frequency-translation-unseen", "kendall-held_out"]  # fmt: skip
    assert table.loc["slope-factual_qa-facts-raw", "high"] == 0.2 and table["points"].notna().sum() == 3
    assert pd.isna(table.loc["frequency-translation-unseen", "low"])


def test_the_preregistered_claims_find_their_records_and_their_keys():
    preregistered = claims.read_claims()
    known = {f"{side}-{expectations.key(row)}" for _, row in expectations.read_expectations().iterrows()
             for side in ("at", "slope")}  # fmt: skip
    known |= {"frequency-factual_qa-facts", "kendall-held_out"}
    assert {c["miniature"] for c in preregistered if "miniature" in c} <= known
    table = claims.compare(preregistered, HERE, recorded("records").tables)
    assert len(table) == len({c["key"] for c in preregistered}) and set(table["records_verdict"]) == {
        "agrees", "disagrees", "cannot be said"}  # fmt: skip
    absent = table["key"].isin([c["key"] for c in preregistered if "absent" in c])
    assert (table.loc[absent, "records_verdict"] == "cannot be said").all() and absent.sum() == 10


@pytest.mark.parametrize("change, said", [
    ({"says": "up"}, r"says \(one of positive"), ({"by": None}, None),
    ({"absent": "no", "records": []}, "either records or absent"),
    ({"absent_miniature": "no"}, "either miniature or absent_miniature")])  # fmt: skip
def test_a_file_of_claims_that_cannot_be(tmp_path, change, said):
    one = claim(models="a") | change
    if change.get("by", "") is None:
        one.pop("by")
        said = "needs key, claim, by, says"
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": [one]}))
    with pytest.raises(InputError, match=said):
        claims.read_claims(tmp_path / "claims.yaml")
