"""The chapter on published records: its sentences on tables that go either way, its tables on the recorded ones."""

import pandas as pd
import pytest

from taskgram_chapters import records_page as p

FOUND, _ = p.source("")


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("ends, starts", [
    ((0.02, 0.2), "The correlation rises with size for 2-grams .05 [.02, .20]."),
    ((-0.2, -0.1), "The correlation falls with size for 2-grams "),
    ((-0.05, 0.05), "The correlation changes by less than .1 per tenfold size for 2-grams "),
    ((-0.2, 0.4), "The correlation is not decided for "),
])  # fmt: skip
def test_a_slope_is_said_by_its_interval(ends, starts):
    slopes = pd.DataFrame({"count_model": ["2-gram"], "slope": 0.05, "low": ends[0], "high": ends[1]})
    assert plain(p.of_slopes(slopes, "count_model")).startswith(starts)


def test_the_answer_counts_what_the_records_show_and_would_say_the_opposite():
    said = p.parts(FOUND, "10")
    assert "falls for 3 of 5 n-gram orders (1-grams: −" in said["departs"]
    assert said["departs"].endswith("on for 5 of 5. What an order adds to the shorter ones rises for 2 of 4.")
    lines = p.answer(FOUND, said).split("\n")
    assert lines[0].startswith("**Raw, log P of every size correlates with the n-grams of the Pile (ρ ")
    assert "larger Pythia is, the less closely it follows 5 of 5 orders.** Four" in lines[0]
    assert [line[:2] for line in lines[2:]] == ["- "] * 4
    assert "follow 4 of 4 orders more closely" in said["keeps"] and "4 of 7 sizes (gender)" in said["pairs"]
    ends = ["slope", "low", "high", "low_sizes", "high_sizes"]
    turned = dict(FOUND)
    turned["slopes"] = FOUND["slopes"].assign(**{a: -FOUND["slopes"][b] for a, b in zip(
        ends, ["slope", "high", "low", "high_sizes", "low_sizes"], strict=True)})  # fmt: skip
    for name in ("arithmetic", "pairs"):
        turned[name] = FOUND[name].assign(low=-FOUND[name]["high"], high=-FOUND[name]["low"])
    other = p.parts(turned, "10")
    assert "falls for 0 of 5" in other["departs"] and "follows 0 of 5 orders" in p.answer(turned, other)
    assert "2 of 4" not in other["departs"]
    assert "follow 0 of 4" in other["keeps"]
    assert "0 of 12 cells of products" in other["sums"] and "0 of 7 sizes (gender)" in other["pairs"]
    assert "The correlation rises with size for 1-grams" in p.of_phases(turned)["phase-later"]


def test_sentences_and_tables_of_the_recorded_estimates():
    assert "4-grams" in p.of_text(FOUND)["text-partial"] and p.of_text(FOUND)["backed-off-5"] == "54%"
    sums = p.of_sums(FOUND)
    assert (sums["multiplication"], sums["addition"], sums["sums-raw"]) == ("6 of 12", "2 of 12", "23 of 24")
    assert {sums[f"claimed-{task}"][-4:] for task in ("multiplication", "addition")} == {"of 6"}
    assert set(p.THREE) <= set(p.phases(FOUND)["model"])
    for window in ("10", "document"):
        texts = p.of_pairs(FOUND, window)
        assert texts["pairs-left"].startswith("- *gender*: ") and texts["trap-logs"].count("of 11 models") == 2
        assert len(p.pair_table(FOUND, window)) == 11
    shown = [p.pair_table(FOUND, window), p.text_table(FOUND), p.sums_table(FOUND), p.source_table()]
    assert all(len(table.columns) <= 6 and table.notna().all(axis=None) for table in shown)
    assert set(p.sums(FOUND, release="v1.1")["shots"]) == {0, 4, 16}
    assert set(p.limited(FOUND)["words before"]) == {"1", "2", "4", "all"} and len(p.by_count(FOUND)) > 100
