"""The tables of real text by hand: coverage, being said at all, popularity, and expectations held against them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from taskgram_chapters import real_text
from taskgram_utils.errors import InputError
from taskgram_utils.run.store import project_root

KEYS = {"task": "factual_qa", "group": "g"}


def counts(**numbers):
    """Single counts by word, pair counts by "a b"."""
    rows = [{"sx": k.split("_")[0], "sy": k.split("_")[1] if "_" in k else None, "count": v, "half": None}
            for k, v in numbers.items()]  # fmt: skip
    return pd.DataFrame(rows)


def grams(*rows):
    table = pd.DataFrame(rows, columns=["example_id", "n", "sx", "sy", "cosine"])
    return table.assign(**KEYS, start=1)


EXAMPLES = pd.DataFrame({"example_id": list("abcde"), **KEYS})


def test_coverage_counts_examples_that_a_text_can_speak_to():
    table = grams(("a", 1, "x", "y", 0.5), ("b", 1, "x", "z", 0.5), ("b", 1, "w", "z", 0.5), ("c", 1, "v", "y", 0.5))
    known = counts(x=3, w=0, v=0, y=2, z=1, x_y=1, x_z=0, w_z=0, v_y=0)
    first, second = real_text.coverage(table, known, EXAMPLES, [1, 2]).sort_values("n").to_dict("records")
    assert (first["examples"], first["with_pairs"]) == (5, 3 / 5)
    assert (first["examples_input_in_corpus"], first["examples_pair_in_corpus"]) == (2, 1)
    assert (first["distinct_pairs"], first["pair_in_corpus"], first["input_in_corpus"]) == (4, 1 / 4, 1 / 3)
    assert (second["n"], second["examples_input_in_corpus"], second["with_pairs"]) == (2, 0, 0)


def test_a_named_group_has_no_row_for_other_n_and_an_empty_one_has_one():
    table = grams(("a", 1, "x", "y", np.nan))
    examples = pd.concat([EXAMPLES, EXAMPLES.assign(group="other")])
    found = real_text.coverage(table, counts(x=1, y=1, x_y=1), examples, [1, 2])
    assert found.groupby("group")["n"].agg(list).to_dict() == {"g": [1], "other": [1, 2]}
    assert found.groupby("group")["subject_given"].agg(list).to_dict() == {"g": [True], "other": [False, False]}
    none = real_text.coverage(table, counts(x=1, y=1, x_y=1), EXAMPLES.assign(group="none"))
    assert none["examples_input_in_corpus"].tolist() == [0]


def test_the_chapter_says_of_a_data_set_only_what_holds_for_any_run():
    """A page of another text must not say what is true of the recorded one alone: a sentence outside the tables that
    names a data set says that it is of the recorded run, or where the data set is used."""
    names = re.compile("PopQA|Wikidata|ParaRel|TriviaQA|MMLU|GSM8K|textbook|[Ff]actbook|OpenStax|million")
    notebook = json.loads((project_root() / "notebooks" / "12_real_text.ipynb").read_text(encoding="utf-8"))
    pages = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    prose = [line for page in pages for line in page.splitlines()]
    sentences = [s for line in prose if "{table}" not in line for s in re.split(r"(?<=[.?!]) ", line)]
    of_any = re.compile(r"recorded run|where it is used|on a text of your own")
    assert [s for s in sentences if names.search(s) and not of_any.search(s)] == []


def test_too_few_kept_examples_have_no_estimate():
    covered = pd.DataFrame({"task": "t", "group": ["a", "a", "b"], "n": [1, 2, 1],
                            "examples_input_in_corpus": [200, 199, 5_000]})  # fmt: skip
    table = pd.DataFrame({"task": "t", "group": ["a", "a", "b"], "n": [1, 2, 1]})
    assert real_text.enough(table, covered)[["group", "n"]].to_numpy().tolist() == [["a", 1], ["b", 1]]
    assert len(real_text.enough(table, covered, 199)) == 3


def scored(values, prior=0.0):
    table = pd.DataFrame({"example_id": list("abcde"), "task": "factual_qa", "model": "m", "n": None, "option": None,
                          "sy": list("vwxyz"), "logp": values})  # fmt: skip
    return table.assign(logp=table["logp"] + prior)


def test_the_gain_of_an_answer_where_it_is_said_and_where_not():
    frequency = pd.DataFrame({"example_id": list("abcde"), **KEYS, "n": 1, "frequency": [3, 1, 0, 0, 0], "pairs": 1})
    row = real_text.gain_by_pair(scored([-1.0, -2, -3, -4, -6]), scored([-5.0, -5, -5, -5, -5]), frequency).iloc[0]
    assert (row["pair_in_corpus"], row["pair_not_in_corpus"], row["gain_pair_in_corpus"]) == (2, 3, 3.5)
    assert row["gain_pair_not_in_corpus"] == pytest.approx((2 + 1 - 1) / 3)
    assert row["difference"] == pytest.approx(3.5 - 2 / 3) and row["low"] < row["difference"] < row["high"]
    once = frequency.assign(frequency=[1, 0, 0, 0, 0])
    alone = real_text.gain_by_pair(scored([-1.0, -2, -3, -4, -6]), scored([-5.0] * 5), once)
    assert alone["difference"].isna().all() and alone["pair_in_corpus"].tolist() == [1]


def test_intervals_of_the_gain_cover_the_truth():
    rng, inside = np.random.default_rng(1), 0
    ids = [str(i) for i in range(120)]
    frequency = pd.DataFrame({"example_id": ids, **KEYS, "n": 1, "frequency": [1] * 50 + [0] * 70, "pairs": 1})
    answers = rng.integers(40, size=120)  # that recur, with effects of their own
    base = pd.DataFrame({"example_id": ids, "task": "factual_qa", "model": "m", "n": None, "option": None, "logp": 0.0})
    base["sy"] = answers.astype(str)
    for _ in range(200):
        own = rng.exponential(1.0, 40)[answers] + rng.exponential(0.5, 120)
        drawn = base.assign(logp=own + 0.5 * (frequency["frequency"] > 0))
        row = real_text.gain_by_pair(drawn, base, frequency).iloc[0]
        inside += row["low"] <= 0.5 <= row["high"]
    assert 0.87 <= inside / 200 <= 0.99


def test_two_witnesses_are_two_rank_correlations():
    rng = np.random.default_rng(0)
    ids = [str(i) for i in range(60)]
    views = rng.integers(1, 10_000, 60)
    counted, model = np.log(views) + rng.normal(size=60), np.log(views) + rng.normal(size=60)
    point = {"example_id": ids, **KEYS, "n": 1, "sy": ids, "start": 1, "sx": None}
    reference = pd.DataFrame({**point, "model": "taskgram", "logp": counted, "n_terms": 1, "n_zero": 0,
                              "zero_handling": "keep"})  # fmt: skip
    scores = pd.DataFrame({**point, "model": "m", "logp": model, "run": "w", "seed": 1, "step": 5, "tokens": 2})
    examples = pd.DataFrame({"example_id": ids, **KEYS, "popularity": views})
    table = real_text.popularity(reference, scores, examples).set_index(["count_model", "measure"])["estimate"]
    assert table["popularity", "spearman"] == pytest.approx(stats.spearmanr(views, model).statistic)
    assert table["taskgram", "spearman"] == pytest.approx(stats.spearmanr(counted, model).statistic)
    assert table["taskgram", "spearman|popularity"] < table["taskgram", "spearman"]
    with pytest.raises(InputError, match="popularity: no example has any"):
        real_text.popularity(reference, scores, examples.assign(popularity=None))


def test_expectations_are_preregistered_whole_and_judged_by_their_interval():
    preregistered = real_text.read_expectations(project_root() / "book" / "openbook_expectations.yaml")
    assert set(preregistered["expected"]) <= {"positive", "negative", "none"}
    assert preregistered["why"].str.len().min() > 20
    assert not preregistered.duplicated(["table", "of", "measure", "group"]).any()
    models = pd.DataFrame({"model": ["s", "l", "p"], "parameters": [1, 2, 9],
                           "has_read": ["this text", "this text", "other text"]})  # fmt: skip
    mem = pd.DataFrame({"model": ["s", "l"], "estimate": [0.9, 0.2], "low": [0.8, 0.1], "high": [1, 0.3]})
    mem = mem.assign(task="factual_qa", group="popqa", n=1, count_model="taskgram", measure="spearman",
                     documents="heading")  # fmt: skip
    mined = mem.tail(1).assign(task="world_knowledge", group="knowledge")
    nothing = pd.DataFrame(columns=["task", "group", "n", "model", "difference", "low", "high"])
    both = pd.concat([mem, mined], ignore_index=True)
    tables = {"models": models, "memorization": both, "slopes": mem.iloc[:0].rename(columns={"estimate": "slope"}),
              "pair_in_corpus": nothing, "coverage": mined[["task", "group", "n", "documents"]].assign(
                  subject_given=False),
              "gammas": pd.DataFrame({"task": ["world_knowledge"], "n": 1, "shuffled_share": 0.05, "own_share": 0.06})}
    judged = real_text.judge(preregistered, tables)
    mine = judged[(judged["measure"] == "raw") & (judged["of"] == "suite")].set_index("group")
    assert mine.loc["popqa", "found"].replace("\N{NO-BREAK SPACE}", " ") == "agrees: .20 [.10, .30]"
    assert mine.loc["knowledge", "found"] == "no Mem: at most 17% of the mined pairs are true (estimate)"
    assert (judged["verdict"] == "not measured").sum() == len(judged) - 2
    low = real_text.judge(preregistered, tables | {"memorization": mem.assign(low=-0.1)})
    assert low.loc[low["verdict"] != "not measured", "verdict"].tolist() == ["not decided"]
