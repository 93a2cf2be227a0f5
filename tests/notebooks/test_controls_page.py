"""What the chapter on controls says: sentences read back from tables that were fed both ways."""

import pandas as pd
import pytest

from taskgram_chapters import controls_page as cp


def rows(*lows, width=0.2, **columns):
    """A row per group a, b, …, with the given lower ends."""
    table = pd.DataFrame({"where": list("abcdef"[: len(lows)]), "low": lows, "points": 500})
    return table.assign(estimate=table["low"] + width / 2, high=table["low"] + width, **columns)


RAW = rows(0.1, 0.2, 0.3, -0.1)
MOST = pd.DataFrame({"choice": ["γ", "s^x counted in"], "change": [-0.4, 0.01]})


def ways(*lows):
    return {"given all four": rows(*lows), "minus its placebo": rows(0.1, -0.3, -0.1, 0.1)}


def test_the_answer_names_what_is_left_and_which_choices_matter():
    says = cp.answered(RAW, ways(0.1, 0.1, -0.1, 0.1), MOST, 0.1).replace("\N{NO-BREAK SPACE}", " ")
    assert says.startswith("**Of 3 groups of examples with a raw Mem above zero, 1 keeps it under every control:** a (")
    assert "a (.20 [.10, .30], N = 500; given all four controls .20 [.10, .30])" in says
    assert says.endswith("Mem changes by more than .10 in some group with another γ, and by at most .10 in all groups "
                         "with another unit of an input's count.")  # fmt: skip


@pytest.mark.parametrize(("raw", "begins"), [
    (RAW, "**Of 3 groups of examples with a raw Mem above zero, none keeps it under every control.** Mem changes"),
    (rows(-0.1, -0.1, -0.1), "**No group of examples has a raw Mem above zero.** Mem changes"),
])  # fmt: skip
def test_the_answer_where_nothing_is_left(raw, begins):
    assert cp.answered(raw, ways(-0.3, -0.3, -0.3, -0.3), MOST, 0.1).startswith(begins)


def test_what_is_left_is_counted_by_group():
    many = cp.kept(RAW, ways(0.1, 0.1, -0.1, 0.1))
    assert many.to_dict() == {"a": 2, "b": 1, "c": 0}
    table = cp.left(RAW, {"some": rows(0.1, 0.2)})
    assert table["some"].str.startswith("no").tolist() == [False, False, True, True] and len(table.columns) == 3


def test_where_an_interval_is_above_zero():
    assert cp.above(rows(0.1, -0.1), "It is") == "It is above zero in: a. It is not above zero in: b."
    assert cp.above(rows(0.1), "It is") == "It is above zero in: a." and cp.above(rows().iloc[:0], "It is") == ""
    placebo = pd.DataFrame({"log_ratio": [0, 0.2, 0.1]})
    says = cp.of_placebo(rows(0.1, 0.1, -0.1), placebo)
    assert says.startswith("The difference is above zero in: a; b. The d") and ".20 log units" in says


def test_a_run_in_which_no_group_has_a_mem():
    none = RAW.iloc[:0]
    of = none.assign(choice="γ", variant="own", default=False)
    changed = cp.changed(of)
    ways = {"given all four": none}
    assert cp.answered(none, ways, cp.largest(changed), 0.1) == "**No group of examples has a raw Mem above zero.**"
    assert cp.left(none, ways).empty and cp.matter(changed, 0.1).empty and cp.shown(of, none, 0.1).empty
    assert cp.crossing(changed, none).endswith("0 of 0 variants are not.")


def test_the_largest_change_of_each_choice():
    variants = rows(0.1, 0.3, task="t").merge(pd.DataFrame({"choice": ["γ", "point"]}), how="cross")
    own = variants.assign(variant="own", default=True)
    other = variants.assign(variant="new", default=False, estimate=[0.3, 0.19, 0.1, 0.4], low=[0.1, -0.1, -0.1, 0.3])
    changed = cp.changed(pd.concat([own, other], ignore_index=True))
    table = cp.matter(changed, 0.1).set_index("choice")
    assert table.loc["γ", ["largest change", "in", "groups"]].to_list() == ["−.30", "b", "1 of 2"]
    assert table.loc["point", ["largest change", "groups"]].to_list() == ["−.01", "0 of 2"]
    assert cp.crossing(changed, rows(0.1, 0.3)).endswith("2 of 4 variants are not: of point and γ.")
    assert cp.crossing(changed.assign(low=1), RAW).endswith("0 of 4 variants are not.")
    drawn = cp.shown(pd.concat([own, other], ignore_index=True), rows(-0.1, 0.3), 0.1)
    assert set(drawn["choice"]) == {"γ"} and set(drawn["where"]) == {"b"} and drawn["default"].sum() == 1


def test_real_text_is_raw_first_and_counted_and_groups_without_a_mem_are_left_out():
    base = {"task": "factual_qa", "group": "x_y", "n": 1, "documents": "line", "model": "m", "count_model": "taskgram",
            "points": 9, "high": 1.0}  # fmt: skip
    table = pd.DataFrame([base | {"measure": "spearman", "estimate": 0.5, "low": 0.2},
                          base | {"measure": cp.GIVEN, "estimate": 0.1, "low": -0.2}])  # fmt: skip
    gammas = pd.DataFrame({"task": ["factual_qa"], "n": 1, "own_share": 0.5, "shuffled_share": 0.05})
    tables = {"memorization": table, "coverage": pd.DataFrame([base | {"subject_given": False}]), "gammas": gammas}
    wide = cp.real(tables, "m")
    assert list(wide["Mem"].columns) == ["raw", "given all four"]
    assert cp.of_real(wide).endswith("in 1 of 1 rows. Given all four controls it still is in 0 of these.")
    above = cp.real(tables | {"memorization": table.assign(low=0.1)}, "m")
    assert cp.of_real(above).endswith("in 1 of these, of Factual QA, x y.")
    assert cp.real(tables | {"gammas": gammas.assign(shuffled_share=0.3)}, "m").empty
