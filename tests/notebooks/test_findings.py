"""Estimates from published records: what the tables hold, on small files; that the recorded ones are these."""

import json

import numpy as np
import pandas as pd
import pytest

from taskgram_chapters import findings, records
from taskgram_chapters.recorded import recorded
from taskgram_utils.jackknife import Query, clusters_of, interval, jackknife
from taskgram_utils.run.store import project_root
from tests import originals

RESULTS = project_root() / "results"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return folder, originals.write(folder, originals.contents(np.random.default_rng(2)))


@pytest.fixture(scope="module")
def tables(small):
    heard = []
    found = findings.findings(*small[:1], listed=small[1], report=heard.append)
    assert heard == ["phases", "naturalstories", "arithmetic", "crosscare"]
    return found


def test_every_estimate_has_its_interval_or_says_why_not(tables):
    for name in ("phases", "running_text", "arithmetic", "pairs"):
        table = tables[name]
        without = table["low"].isna() | table["high"].isna()
        assert table.loc[without, "reason"].notna().all() and table.loc[~without, "reason"].isna().all(), name
        assert ((table["low"] <= table["high"]) | without).all() and (~without).any()
    for name in ("running_text", "arithmetic", "pairs", "added"):
        assert (tables[name]["points"] > 0).all()
        assert (tables[name]["p_holm"].dropna() >= tables[name]["p"][tables[name]["p_holm"].notna()]).all()


def test_the_same_records_give_the_same_tables(small, tables):
    again = findings.findings(small[0], listed=small[1])
    assert list(again) == list(tables)
    for name in tables:
        pd.testing.assert_frame_equal(again[name], tables[name])


def test_controls_and_panels(tables):
    text = tables["running_text"]
    full = text[(text["model"] == "pythia-12b") & (text["count_model"] == "3-gram")]
    assert set(full["measure"]) == {"spearman", "spearman|1-gram+2-gram", "spearman|1-gram+2-gram+letters"}
    assert set(text.loc[text["group"] != "full", "measure"]) == {"spearman"}
    sums = tables["arithmetic"]
    both = sums[(sums["step"] == 143000) & (sums["items"] == "10–99") & (sums["measure"] == "spearman")]
    assert set(both["count_model"]) == set(findings.TOKENS.values()) and set(both["points"]) == {90}
    assert set(sums.loc[sums["step"] == 13000, "count_model"]) == {findings.TOKENS["count"]}
    assert len(sums.loc[sums["step"] == 143000, "measure"].unique()) == 7
    constant = sums[sums["model"] == "pythia-12b-deduped"]
    assert constant["estimate"].isna().all() and (constant["reason"] == "accuracy is constant").all()
    assert constant["score_low"].isna().all() and set(constant["floor"]) == {0}
    pairs = tables["pairs"]
    assert set(pairs["group"]) == {"10", "100", "document"} and len(pairs["measure"].unique()) == 5
    assert pairs.loc[pairs["measure"].str.contains("ranks"), "reliability"].isna().all()
    assert (pairs.loc[pairs["group"] == "10", "zero_share"] > 0).all()
    assert set(tables["slopes"]["task"]) == {"phases", "running text", "addition", "multiplication", "gender", "race"}
    few = tables["bins"].groupby(["model", "task", "shots"])["operands"].sum()
    assert (few == 100).all() and tables["bins"]["bin"].max() == 9


def test_groups_are_left_out_and_diseases_alone_too(tables):
    pairs = tables["pairs"].query("measure == 'spearman' and task == 'race'")
    assert (pairs["clusters"] == "examples and outputs").all() and (pairs["outputs"] == 3).all()
    # As long as a group's mean is in the values, diseases left out say nothing of groups.
    assert pairs[["low_diseases", "p"]].isna().all(axis=None)
    free = tables["pairs"].query("measure == 'spearman|disease+group' and task == 'race'")
    assert (free["low"] != free["low_diseases"]).any() and free["p"].notna().all()
    assert free.loc[free["family"] == "pythia", "agreement"].notna().all()


def test_recorded_tables_are_rounded_not_changed(tables):
    for table in tables.values():
        short = findings.rounded(table)
        for column in table.select_dtypes("number"):
            if column in short:
                np.testing.assert_allclose(short[column].astype(float), table[column].astype(float), rtol=6e-4)
    sizes = findings.rounded(tables["phases"])["parameters"]
    assert str(sizes.dtype) == "Int64" and 1_208_602_624 in set(sizes.dropna())


def test_a_note_says_where_the_numbers_are_from():
    note = json.loads((RESULTS / "records.json").read_text(encoding="utf-8"))
    listed = records.sources().query("set != 'hubble'")[["set", "repo", "commit", "licence"]].drop_duplicates()
    assert note["sources"] == listed.to_dict("records")
    for name in note["sha256"]:
        assert (RESULTS / name).stat().st_size < 1e6


@pytest.mark.slow
@pytest.mark.skipif(not originals.REAL.is_dir(), reason=f"no {originals.REAL}")
def test_the_recorded_estimates_are_those_of_this_code():
    found, told = findings.findings(originals.REAL), recorded("records").tables
    assert list(found) == list(told)
    for name in told:
        now, then = found[name], told[name]
        assert len(now) == len(then)
        for column in then.select_dtypes("number"):
            np.testing.assert_allclose(then[column].astype(float), now[column].astype(float), rtol=6e-4, atol=1e-9,
                                       err_msg=f"{name} {column}")  # fmt: skip


def test_what_the_chapter_says_in_words_holds():
    """Sentences of the chapter that no cell computes: each stands on something here, and falls with it."""
    tables = recorded("records").tables
    slopes = tables["slopes"].set_index(["task", "group", "count_model", "measure", "step"]).sort_index()
    slopes = slopes.assign(falls=slopes["high"] < 0, rises=slopes["low"] > 0)

    # "from 70m on it does so at every order, and a line over all sizes hides that for the long ones".
    pile = slopes.reset_index().query("task == 'phases' and group == 'pile'")
    steep = pile.pivot(index="count_model", columns="sizes",
                                                                                      values="falls")  # fmt: skip
    assert steep["70m on"].all() and steep["all"].tolist() == [True, True, True, False, False]
    text = tables["slopes"].query("task == 'running text'")
    own = text[(text["group"] == "full") & ~text["measure"].str.contains("letters")]
    own = own.set_index(["count_model", "measure"])
    assert all(own.loc[(f"{n}-gram", "spearman"), "high"] < 0 for n in range(1, 6))
    assert own.loc[("4-gram", "spearman|1-gram+2-gram+3-gram"), "low"] > 0
    # "a larger model knows short n-grams better, and uses them less where it has more to go by".
    short = text[(text["measure"] == "spearman") & (text["group"] != "full")]
    matched = short[short["count_model"] == (short["group"].astype(int) + 1).astype(str) + "-gram"]
    assert len(matched) == 4 and (matched["low"] > 0).all()
    assert (matched["low_sizes"] > 0).all() and (own["high_sizes"].loc[:, "spearman"] < 0).all()
    # "what 4- and 5-grams add to shorter ones is small at every size, what 3-grams add is not".
    assert tables["added"].query("predictor == '3-gram'")["increment"].min() > 0.04
    added = tables["added"][tables["added"]["predictor"].isin(["4-gram", "5-gram"])]
    assert added["increment"].max() < 0.02
    # Multiplication keeps something given the operand; for sums "it depends on the model".
    sums = tables["arithmetic"].query("step == 143000 and release == 'v1.1' and items == '0–99' and parameters > 1e9")
    given = sums[(sums["count_model"] == findings.TOKENS["count"]) & (sums["measure"].str.count(r"\+") == 3)]
    assert (sums.loc[sums["measure"] == "spearman", "low"] > 0).mean() > 0.9
    digits = sums[sums["measure"] == "spearman|tens+units"].query("shots == 16")
    assert (digits.loc[digits["task"] == "multiplication", "low"] > 0).all()
    assert 0 < (digits.loc[digits["task"] == "addition", "low"] > 0).mean() < 1
    above = (given["low"] > 0).groupby(given["task"]).mean()
    assert above["multiplication"] > 0.6 and above["addition"] < 0.5
    assert (tables["pairs"].query("measure == 'spearman' and group == '10'")["estimate"] > 0.4).all()


@pytest.mark.slow
def test_intervals_of_pairs_where_no_pair_matters():
    """Tables of 92 diseases and 6 groups that are sums of their parts: what the chapter says of its intervals."""
    rng, missed = np.random.default_rng(0), {"raw": 0, "both": 0, "both, diseases alone": 0}
    disease, group = (a.ravel() for a in np.meshgrid(np.arange(92), np.arange(6), indexing="ij"))
    for _ in range(60):
        values = np.array([rng.normal(size=92)[disease] + 1.5 * rng.normal(size=6)[group] + 0.5 * rng.normal(size=552)
                           for _side in range(2)])  # fmt: skip
        query, taken, points = [Query("spearman", 0, 1)], [disease, group], clusters_of(disease, group)
        raw, both = (jackknife(values, query, points, without=without)[0] for without in ([], taken))
        alone = both._replace(changes=both.changes._replace(two_way=False))  # as the table of pairs has it
        for name, one in (("raw", raw), ("both", both), ("both, diseases alone", alone)):
            low, high, _ = interval(one.estimate, one.changes)
            missed[name] += not low <= 0 <= high
    assert all(many <= 7 for many in missed.values()), missed  # 3 of 60 are due; 8 or more once in a hundred
