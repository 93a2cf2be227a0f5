"""The command: the whole chain on a small world against counting by hand, and bad input as one line and exit code 2."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from filelock import FileLock
from scipy.stats import spearmanr

from taskgram_utils import __version__, memorization
from taskgram_utils.cli import _unescaped, main
from taskgram_utils.embedding import train_embedding
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import normalize, words
from taskgram_utils.tables import read_table, write_table
from taskgram_utils.tasks.base import registry

DOCUMENTS, STEPS = 2_000, 30


def call(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def done(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A folder in which the chain was run by the command alone: world, examples and word vectors in, Mem out."""
    at = tmp_path_factory.mktemp("chain")
    world = World(DOCUMENTS)
    world.write(at / "corpus.jsonl")
    examples = pd.concat([task.miniature(world) for task in registry().values()], ignore_index=True)
    write_table(examples[examples["split"] == "test"], at / "examples.jsonl")
    train_embedding(World(DOCUMENTS, twin=1), at / "vectors", dimension=200)
    done("train", "--out", at / "suite", "--size", "smallest", "--documents", DOCUMENTS, "--world", 0, "--jobs", 1,
         "--max-steps", STEPS)  # fmt: skip
    done("mine", at / "examples.jsonl", "--n", 1, "--gamma", 0.3, "--embedding", at / "vectors", "--stopwords", "kept",
         "--out", at / "taskgrams.csv")  # fmt: skip
    done("count", at / "corpus.jsonl", "--pairs", at / "taskgrams.csv", "--singles", "--out", at / "counts.jsonl")
    done("lm", at / "taskgrams.csv", "--counts", at / "counts.jsonl", "--out", at / "taskgram_lm.csv")
    done("score", at / "examples.jsonl", "--model", at / "suite/25k", "--taskgrams", at / "taskgrams.csv", "--options",
         "--device", "cpu", "--out", at / "logp.parquet")  # fmt: skip
    done("mem", "--count-model", at / "taskgram_lm.csv", "--model", at / "logp.parquet", "--taskgrams",
         at / "taskgrams.csv", "--examples", at / "examples.jsonl", "--out", at / "mem.parquet")  # fmt: skip
    return at


@pytest.fixture(scope="module")
def documents():
    return [f" {normalize(document)} " for document in World(DOCUMENTS)]


def held(documents: list[str], *ngrams: str) -> int:
    return sum(all(f" {normalize(g)} " in document for g in ngrams) for document in documents)


# --- the chain -------------------------------------------------------------------------------------------------------


def test_a_calibrated_threshold_is_said_and_kept(chain, tmp_path):
    said = done("mine", chain / "examples.jsonl", "--n", 1, "--gamma", "calibrate", "--embedding", chain / "vectors",
                "--stopwords", "kept", "--out", tmp_path / "grams.csv")  # fmt: skip
    told = {m[1]: float(m[2]) for m in re.finditer(r"taskgram: (\w+), n = 1: gamma ([\d.]+); [\d.]+% of", said.stderr)}
    table = read_table(tmp_path / "grams.csv")
    lowest = table.groupby("task")["cosine"].min()
    assert set(told) == set(table["task"]) and all(lowest[name] > gamma for name, gamma in told.items())


def test_a_suite_of_a_text_and_the_examples_of_a_task(chain, tmp_path):
    done("train", "--corpus", chain / "corpus.jsonl", "--out", tmp_path / "suite", "--size", "smallest", "--epochs", 1,
         "--jobs", 1, "--max-steps", 2)  # fmt: skip
    card = json.loads((tmp_path / "suite" / "card.json").read_text())
    assert card["corpus"] == "corpus.jsonl" and card["epochs"] == 1 and card["vocabulary"] == 8_192
    (tmp_path / "facts.jsonl").write_text('{"context": "The capital of France is", "continuation": "Paris"}\n')
    done("examples", "factual_qa", "--dataset", "wikidata", "--source", tmp_path / "facts.jsonl", "--out",
         tmp_path / "examples.csv")  # fmt: skip
    assert read_table(tmp_path / "examples.csv")["sx"].tolist() == ["France"]


def test_an_empty_column_task_is_none(chain, tmp_path):
    examples = read_table(chain / "examples.jsonl").query("task == 'factual_qa'").head(40)
    found = []
    for name, table in (("none", examples.drop(columns="task")), ("empty", examples.assign(task=None))):
        write_table(table, tmp_path / f"{name}.csv")
        done("mine", tmp_path / f"{name}.csv", "--n", 1, "--embedding", chain / "vectors", "--stopwords", "kept",
             "--out", tmp_path / f"{name}-grams.csv")  # fmt: skip
        found.append(read_table(tmp_path / f"{name}-grams.csv"))
    pd.testing.assert_frame_equal(*found)


def test_text_without_spaces_is_marked_and_said_once(tmp_path):
    (tmp_path / "c.txt").write_text("The capital of Japan is Tokyo, 東京.\n")
    (tmp_path / "p.csv").write_text("sx,sy\n東京,tokyo\n大阪,tokyo\ncapital,tokyo\n")
    said = done("count", tmp_path / "c.txt", "--pairs", tmp_path / "p.csv", "--out", tmp_path / "o.csv")
    assert read_table(tmp_path / "o.csv")["exact"].tolist() == [False, False, True]
    told = [line for line in said.stderr.splitlines() if "puts no space between words" in line]
    assert len(told) == 1 and told[0].startswith("taskgram: 2 of 4 n-grams, the first '東京', are mostly")


def test_mined_pairs_stand_in_their_examples_above_gamma(chain):
    examples = read_table(chain / "examples.jsonl").set_index("example_id")
    table = read_table(chain / "taskgrams.csv")
    assert len(table) > 300 and set(table["task"]) == set(registry())
    assert table["cosine"].between(0.3, 1, inclusive="right").all()
    for row in table.itertuples():
        example = examples.loc[row.example_id]
        assert f" {row.sx} " in f" {normalize(example['x'])} " and row.sx != row.sy
        assert normalize(example["y"][row.start : row.end]) == row.sy
        # Question answering: s^y is the full answer.
        assert row.task != "factual_qa" or row.sy == normalize(example["y"])


def test_counts_are_those_of_the_documents(chain, documents):
    table, counts = read_table(chain / "taskgrams.csv"), read_table(chain / "counts.jsonl")
    pairs = counts[counts["sy"].notna()]
    asked = table[["sx", "sy"]].drop_duplicates()
    assert pairs[["sx", "sy"]].to_numpy().tolist() == asked.to_numpy().tolist()
    assert pairs["count"].tolist() == [held(documents, sx, sy) for sx, sy in zip(pairs["sx"], pairs["sy"], strict=True)]
    singles = counts[counts["sy"].isna()]
    assert set(singles["sx"]) == {*asked["sx"], *asked["sy"]}
    assert singles["count"].tolist() == [held(documents, s) for s in singles["sx"]]
    assert set(counts["unit"]) == {"documents"} and counts["exact"].all()


def test_the_taskgram_lm_is_the_smoothed_ratio(chain):
    counts, reference = read_table(chain / "counts.jsonl"), read_table(chain / "taskgram_lm.csv")
    together = counts[counts["sy"].notna()].set_index(["sx", "sy"])["count"]
    alone = counts[counts["sy"].isna()].set_index("sx")["count"]
    table = read_table(chain / "taskgrams.csv").query("task == 'translation'")
    distinct = table[["sx", "sy"]].drop_duplicates()
    of_pairs = [together[sx, sy] for sx, sy in distinct.itertuples(index=False)]
    p0 = sum(of_pairs) / sum(alone[s] for s in distinct["sx"])
    rows = reference.query("task == 'translation'")
    assert len(rows) > 50 and (rows["model"] == "taskgram").all()
    for row in rows.itertuples():
        mine = table[(table["example_id"] == row.example_id) & (table["sy"] == row.sy)]
        logs = [np.log((together[s, row.sy] + p0) / (alone[s] + 1)) for s in mine["sx"]]
        assert row.logp == pytest.approx(np.mean(logs)) and row.n_terms == len(logs)


def test_scores_are_of_the_trained_model(chain):
    record = json.loads((chain / "suite/25k/training.json").read_text())
    assert record["steps"] == STEPS and record["loss"] < 7.6
    scores, examples = read_table(chain / "logp.parquet"), read_table(chain / "examples.jsonl")
    assert set(scores["model"]) == {"25k"} and set(scores["step"]) == {STEPS}
    assert scores["logp"].notna().all() and (scores["logp"] < 0).all()
    whole = scores[scores["n"].isna() & scores["option"].isna()].set_index("example_id")
    assert whole.loc[examples["example_id"], "sy"].tolist() == examples["y"].tolist()
    options = scores[scores["option"].notna()].set_index(["example_id", "option"])
    for example in examples[examples["options"].notna()].itertuples():
        assert options.loc[example.example_id, "sy"].tolist() == list(example.options)
        gold = options.loc[(example.example_id, example.gold), "logp"]
        assert gold == pytest.approx(whole.loc[example.example_id, "logp"], abs=1e-4)


def test_mem_is_the_rank_correlation_of_the_two(chain):
    reference, scores = read_table(chain / "taskgram_lm.csv"), read_table(chain / "logp.parquet")
    points = reference.merge(scores[scores["n"].notna()], on=["task", "example_id", "n", "sy", "start"])
    table = read_table(chain / "mem.parquet").set_index(["task", "group"])
    groups = points.groupby(["task", "group_x"])
    assert len(groups) == len(table) >= 5
    for key, rows in groups:
        assert table.loc[key, "points"] == len(rows)
        if len(rows) >= 3:
            expected = spearmanr(rows["logp_x"], rows["logp_y"]).statistic
            assert table.loc[key, "estimate"] == pytest.approx(expected)
            assert table.loc[key, "low"] < table.loc[key, "high"]
        else:
            assert table.loc[key, "reason"] == "fewer than 3 points"
    assert set(table["model"]) == {"25k"} and set(table["measure"]) == {"spearman"}


@pytest.fixture
def two_sides(tmp_path):
    """A reference under two language models, and three models of three sizes, each closer to the first reference."""
    rng = np.random.default_rng(0)
    key = pd.DataFrame({"example_id": [f"e{i // 3}" for i in range(240)], "n": 2, "start": [i % 3 for i in range(240)],
                        "sy": [f"s{i}" for i in rng.integers(0, 60, 240)]})  # fmt: skip
    first, second = rng.normal(size=(2, 240))
    reference = pd.concat([key.assign(model=name, logp=logp - 9)
                           for name, logp in (("taskgram", first), ("infinigram", second))])  # fmt: skip
    models = [key.assign(model=name, logp=share * first + rng.normal(size=240) - 20, parameters=size)
              for name, share, size in (("small", 0.2, 1e4), ("middle", 0.6, 1e5), ("large", 1.5, 1e6))]  # fmt: skip
    reference.to_csv(tmp_path / "r.csv", index=False)
    pd.concat(models).to_csv(tmp_path / "m.csv", index=False)
    key.assign(common=rng.normal(size=240)).to_csv(tmp_path / "c.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("given", [[], ["--controls", "{at}/c.csv"]])
def test_mem_gives_differences_and_slopes_as_the_functions_do(two_sides, given):
    reference, model = read_table(two_sides / "r.csv"), read_table(two_sides / "m.csv")
    controls = read_table(two_sides / "c.csv") if given else None
    base = ["mem", "--count-model", two_sides / "r.csv", "--model", two_sides / "m.csv", "--out", two_sides / "o.csv"]
    base += [part.format(at=two_sides) for part in given]

    def made(*more) -> pd.DataFrame:
        done(*base, *more)
        return read_table(two_sides / "o.csv")

    result = memorization.estimates(reference, model, controls)
    by_model = made("--difference", "large", "small")
    expected = memorization.contrasts(result, "model", "large", "small").table
    assert np.allclose(by_model[["estimate", "low", "high", "p"]], expected[["estimate", "low", "high", "p"]])
    assert len(by_model) == (4 if given else 2) and by_model["low"].iloc[0] > 0
    sides = [reference[reference["model"] == name] for name in ("taskgram", "infinigram")]
    both = memorization.contrasts(memorization.on_shared_points(*sides, model, controls=controls),
                                  "count_model", "taskgram", "infinigram")  # fmt: skip
    by_reference = made("--difference", "taskgram", "infinigram")
    assert np.allclose(by_reference["estimate"], both.table["estimate"])
    slopes = made("--slopes")
    assert np.allclose(slopes["slope"], memorization.slopes(result)["slope"]) and (slopes["models"] == 3).all()
    raw = slopes.query("measure == 'spearman' and count_model == 'taskgram'")
    assert len(raw) == 1 and raw["low"].iloc[0] > 0
    apart = made("--slopes", "--difference", "taskgram", "infinigram")
    assert np.allclose(apart["slope"], memorization.slopes(both)["slope"])
    pd.read_csv(two_sides / "m.csv").drop(columns="parameters").to_csv(two_sides / "m.csv", index=False)
    sized = made("--slopes", *(part for name, size in (("small", 1e4), ("middle", 1e5), ("large", 1e6))
                               for part in ("--size", name, size)))  # fmt: skip
    assert np.allclose(sized["slope"], slopes["slope"])


@pytest.mark.parametrize(("more", "said"), [
    (["--difference", "large", "huge"], "large huge: names no two of one table .--model has large, middle"),
    (["--difference", "large", "taskgram"], "names no two of one table"),
    (["--difference", "large", "large"], "names no two of one table"),
])  # fmt: skip
def test_a_difference_of_what_is_not_there_is_refused(two_sides, more, said):
    result = call("mem", "--count-model", two_sides / "r.csv", "--model", two_sides / "m.csv", *more, "--out", "-")
    assert result.exit_code == 2 and re.search(said, result.stderr) and result.stderr.count("\n") == 1


def test_every_ending_and_standard_output_hold_the_same_table(chain, tmp_path):
    arguments = ["lm", chain / "taskgrams.csv", "--counts", chain / "counts.jsonl", "--form", "per_pair", "--out"]
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        done(*arguments, tmp_path / name)
    printed = done(*arguments, "-").stdout
    assert printed == (tmp_path / "a.csv").read_text()
    tables = [read_table(tmp_path / name) for name in ("a.csv", "a.jsonl", "a.parquet")]
    for table in tables[1:]:
        assert table["sx"].tolist() == tables[0]["sx"].tolist() and len(table) > 100
        np.testing.assert_allclose(table["logp"], tables[0]["logp"], rtol=1e-9)


def test_controls_give_raw_partial_and_joint_estimates(chain, tmp_path):
    scores = read_table(chain / "logp.parquet")
    points = scores[scores["n"].notna()][["task", "example_id", "n", "sy", "start"]].drop_duplicates()
    rng = np.random.default_rng(0)
    write_table(points.assign(length=points["sy"].str.len(), other=rng.normal(size=len(points))), tmp_path / "c.csv")
    done("mem", "--count-model", chain / "taskgram_lm.csv", "--model", chain / "logp.parquet", "--controls",
         tmp_path / "c.csv", "--out", tmp_path / "mem.csv")  # fmt: skip
    table = read_table(tmp_path / "mem.csv")
    measures = ["spearman", "spearman|length", "spearman|other", "spearman|length+other"]
    assert table[table["task"] == "translation"]["measure"].tolist() == measures


def test_ids_are_one_whatever_type_a_table_has_them_in(chain, tmp_path):
    numbers = {key: 2024 + i for i, key in enumerate(read_table(chain / "examples.jsonl")["example_id"])}
    for name in ("examples.jsonl", "taskgrams.csv", "taskgram_lm.csv", "logp.parquet"):
        table = read_table(chain / name)
        table["example_id"] = table["example_id"].map(numbers).astype(int)
        table.to_parquet(tmp_path / Path(name).with_suffix(".parquet"))
    scores = pd.read_parquet(tmp_path / "logp.parquet")
    points = scores[scores["n"].notna()][["task", "example_id", "n", "sy", "start"]].drop_duplicates()
    points.assign(length=points["sy"].str.len()).to_parquet(tmp_path / "controls.parquet")
    small = pd.read_parquet(tmp_path / "examples.parquet").iloc[:3]
    small.to_json(tmp_path / "small.jsonl", orient="records", lines=True)
    grams = pd.read_parquet(tmp_path / "taskgrams.parquet")
    grams[grams["example_id"].isin(small["example_id"])].to_parquet(tmp_path / "small.parquet")
    done("score", tmp_path / "small.jsonl", "--model", chain / "suite/25k", "--taskgrams", tmp_path / "small.parquet",
         "--device", "cpu", "--out", tmp_path / "own.csv")  # fmt: skip
    assert set(read_table(tmp_path / "own.csv")["example_id"]) == {"2024", "2025", "2026"}
    done("mem", "--count-model", tmp_path / "taskgram_lm.parquet", "--model", tmp_path / "logp.parquet", "--controls",
         tmp_path / "controls.parquet", "--examples", tmp_path / "examples.parquet", "--taskgrams",
         tmp_path / "taskgrams.parquet", "--out", tmp_path / "mem.parquet")  # fmt: skip
    found, same = read_table(tmp_path / "mem.parquet"), read_table(chain / "mem.parquet")
    assert set(found["measure"]) == {"spearman", "spearman|length"}
    plain = found[found["measure"] == "spearman"].reset_index(drop=True)
    columns = ["task", "group", "n", "estimate", "points", "coverage_pairs", "coverage_examples"]
    pd.testing.assert_frame_equal(plain[columns], same[columns])


def test_zeros_dropped_leaves_only_pairs_that_were_seen(chain):
    done("lm", chain / "taskgrams.csv", "--counts", chain / "counts.jsonl", "--zero-handling", "drop",
         "--form", "per_pair",
         "--out", chain / "drop.parquet")  # fmt: skip
    counts = read_table(chain / "counts.jsonl")
    seen = counts[counts["sy"].notna() & (counts["count"] > 0)]
    found = read_table(chain / "drop.parquet")
    assert set(zip(found["sx"], found["sy"], strict=True)) == set(zip(seen["sx"], seen["sy"], strict=True))


# --- counting and looking --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(chain):
    said = done("index", chain / "corpus.jsonl", "--out", chain / "index").stdout
    tokens = sum(len(words(document)) for document in World(DOCUMENTS))
    assert said == f"{chain / 'index'}: {DOCUMENTS:,} documents, {tokens:,} tokens\n"
    return chain / "index"


def test_the_index_counts_what_the_scan_counts(chain, index, tmp_path):
    done("count", index, "--backend", "index", "--pairs", chain / "taskgrams.csv", "--singles", "--out",
         tmp_path / "counts.parquet")  # fmt: skip
    columns = ["n", "sx", "sy", "count", "unit", "exact"]
    found, expected = read_table(tmp_path / "counts.parquet"), read_table(chain / "counts.jsonl")
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_dtype=False)


def test_ngrams_from_a_text_file_in_occurrences_and_in_two_halves(chain, tmp_path):
    (tmp_path / "ngrams.txt").write_text("The ANSWER is\nvelti\nno such words\n")
    done("count", chain / "corpus.jsonl", "--ngrams", tmp_path / "ngrams.txt", "--unit", "occurrences", "--halves",
         "--out", tmp_path / "counts.csv")  # fmt: skip
    table = read_table(tmp_path / "counts.csv")
    texts = [words(document) for document in World(DOCUMENTS)]
    times = [sum(text[i : i + len(asked)] == asked for text in texts for i in range(len(text)))
             for asked in (["the", "answer", "is"], ["velti"], ["no", "such", "words"])]  # fmt: skip
    whole = table[table["half"].isna()]
    assert whole["sx"].tolist() == ["The ANSWER is", "velti", "no such words"] and whole["n"].tolist() == [3, 1, 3]
    assert whole["count"].tolist() == times and times[0] > 0 and times[2] == 0
    parts = [table[table["half"] == half]["count"].to_numpy() for half in (0, 1)]
    assert (parts[0] + parts[1]).tolist() == times and set(whole["unit"]) == {"occurrences"}


def test_what_a_document_is_changes_the_counts(tmp_path):
    (tmp_path / "book.md").write_text("# One\ncat here\n\ndog there\n# Two\ncat and dog\n")
    (tmp_path / "pairs.csv").write_text("sx,sy\ncat,dog\n")
    for unit, expected in (("file", 1), ("heading", 2), ("paragraph", 1), ("record", 1), ("words:100", 1)):
        printed = done("count", tmp_path, "--pairs", tmp_path / "pairs.csv", "--document", unit, "--out", "-").stdout
        header, row = printed.splitlines()
        assert dict(zip(header.split(","), row.split(","), strict=False))["count"] == str(expected), unit
        assert f"document={unit}" in row


@pytest.mark.parametrize("backend", ["scan", "index"])
def test_documents_are_shown_with_both_ngrams_marked(chain, index, documents, backend):
    table = read_table(chain / "counts.jsonl")
    row = table[table["sy"].notna() & (table["count"] >= 3)].iloc[0]
    where = index if backend == "index" else chain / "corpus.jsonl"
    result = done("documents", where, "--pair", row.sx.upper(), row.sy, "-k", 2)
    shown, read = result.stdout, result.stderr
    assert f"{DOCUMENTS:,} documents" in read if backend == "index" else "2 shown, after reading " in read
    assert "— 1 of 2 shown —" in shown and "— 2 of 2 shown —" in shown
    for text in shown.split("shown —\n")[1:]:
        assert f"[{row.sx}]" in text.lower() and f"[{row.sy}]" in text.lower()


def test_broken_lines_are_skipped_on_request_and_counted(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"text": "a cat"}\nbroken\n{"text": "a dog"}\n{"txt": "a"}\n')
    (tmp_path / "ngrams.txt").write_text("a\n")
    for extra in ([], ["--halves"]):
        result = done("count", tmp_path / "corpus.jsonl", "--ngrams", tmp_path / "ngrams.txt", "--skip-bad", *extra,
                      "--out", tmp_path / "counts.csv")  # fmt: skip
        read = f"taskgram: {tmp_path / 'corpus.jsonl'}: 2 documents (record)\n"
        where = f"{tmp_path / 'corpus.jsonl'}, line 2"
        assert result.stderr == f"{read}taskgram: skipped 2 records, the first at {where}\n"
        assert read_table(tmp_path / "counts.csv")["count"].iloc[0] == 2
    result = done("documents", tmp_path / "corpus.jsonl", "--pair", "a", "cat", "--skip-bad")
    assert f"skipped 2 records, the first at {where}" in result.stderr


@pytest.mark.parametrize(("text", "unit", "documents", "lacks"), [
    ("Paris is in France\nRome is in Italy\n", "paragraph", 1, "no blank line between texts"),
    ("Paris is in France\n \nRome is in Italy\n", "paragraph", 2, ""),
    ("# One\nParis is in France\nRome is in Italy\n", "heading", 1, "no heading (a line that begins with #) after"),
    (f"{'late ' * 500}\n# One\nParis in France, Italy\n", "heading", 2, ""),
    ("Paris is in France, Rome in Italy", "record", 1, "no second line with text"),
    ("Paris is in France\nRome is in Italy\n", "record", 2, ""),
    ("Paris is in France\nRome is in Italy\n", "words:9", 1, "no more words than that"),
    ("Paris is in France\nRome is in Italy\n", "words:4", 2, ""),
    ("Paris is in France\nRome is in Italy\n", "file", 1, ""),
    ("Paris is in France\nRome is in Italy\n", "", 1, ""),
])  # fmt: skip
def test_how_many_documents_is_said_and_where_the_unit_cut_nothing(tmp_path, text, unit, documents, lacks):
    corpus = tmp_path / "c.txt"
    corpus.write_text(text)
    (tmp_path / "n.txt").write_text("france\n")
    cut = ["--document", unit] if unit else []
    many = f"taskgram: {corpus}: {documents} document{'s' * (documents > 1)} ({unit or 'file'})"
    said = done("count", corpus, *cut, "--ngrams", tmp_path / "n.txt", "--out", "-").stderr.splitlines()
    assert said[-1] == many and len(said) == 1 + bool(lacks or not unit)
    assert not lacks or said[0].startswith(f"taskgram: {corpus}: --document {unit} cut nothing: {lacks}")
    built = done("index", corpus, *cut, "--out", tmp_path / "index").stderr.splitlines()
    assert built == said
    held = f"taskgram: {tmp_path / 'index'}: {documents} documents, as they were cut when the index was built"
    asked = done("count", tmp_path / "index", "--backend", "index", "--ngrams", tmp_path / "n.txt", "--out", "-")
    assert asked.stderr.splitlines() == [held]
    shown = done("documents", corpus, *cut, "--pair", "paris", "france", "-k", 9).stderr.splitlines()
    assert shown == said
    assert f", of {many.split(': ')[-1]}" in call("documents", corpus, *cut, "--pair", "a", "france").stderr


def test_a_suite_of_a_text_says_its_documents_once(tmp_path):
    (tmp_path / "texts").mkdir()
    for name, text in (("a", "one two"), ("b", "one\n\ntwo"), ("c", "three")):
        (tmp_path / f"texts/{name}.txt").write_text(text)
    said = done("train", "--corpus", tmp_path / "texts", "--document", "paragraph", "--out", tmp_path / "suite",
                "--size", "smallest", "--epochs", 400, "--jobs", 1, "--max-steps", 1).stderr  # fmt: skip
    told = [line for line in said.splitlines() if line.startswith("taskgram: ")]
    where = f"2 of 3 files, the first {tmp_path / 'texts/a.txt'}"
    assert told == [f"taskgram: {where}: --document paragraph cut nothing: no blank line between texts; "
                    "--document record takes each line for one",
                    f"taskgram: {tmp_path / 'texts'}: 4 documents (paragraph)"]  # fmt: skip


def test_the_doctor_says_what_is_there_and_which_runs_can_work():
    said = done("doctor", "tiny").stdout
    for line in (rf"numpy +{re.escape(np.__version__)} ", r"infini-gram +(\d|absent)", r"run miniature +ready",
                 r"tiny: [\d,]+ documents, .*GB of disk"):  # fmt: skip
        assert re.search(rf"(?m)^{line}", said), line
    assert "run tiny" not in said


@pytest.mark.parametrize(("command", "message"), [
    ("count corpus --ngrams n.txt", "Missing option '--out'. (taskgram count --help)"), ("cuont", "No such command"),
    ("mem --count-model r.csv --model m.csv --draws 3 --out -", "No such option '--draws'"),
    ("mine e.csv --n two --gamma .5 --out -", "'two' is not a valid integer"), ("count --colour", "--colour"),
])  # fmt: skip
def test_a_command_typed_wrongly_is_one_line_and_exit_code_2(command, message):
    result = call(*command.split())
    assert result.exit_code == 2 and result.stderr.startswith("taskgram: ") and message in result.stderr
    assert result.stderr.count("\n") == 1 and not result.stdout


def test_a_file_that_may_not_be_read_is_one_line(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    result = call("lm", tmp_path / "folder.csv", "--counts", tmp_path / "folder.csv", "--out", "-")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "folder.csv" in result.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_place_where_no_file_can_be(tmp_path):
    (tmp_path / "c.txt").write_text("a b")
    (tmp_path / "n.txt").write_text("a")
    result = call("count", tmp_path / "c.txt", "--ngrams", tmp_path / "n.txt", "--out", "/proc/x.csv")
    assert (result.exit_code, result.stderr) == (2, "taskgram: --out /proc/x.csv: cannot be written there\n")


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    result = call("count", tmp_path / "absent.txt", "--ngrams", tmp_path / "n.csv", "--out", tmp_path / "c.csv")
    assert result.exit_code == 2 and "c.csv: cannot be written there (Read-only file system)" in result.stderr


WRITING = {
    "count": "count {at}/c.txt --ngrams {at}/n.txt --out {out}.csv",
    "examples": "examples math_reasoning --source {at} --out {out}.csv",
    "mine": "mine {at}/e.csv --n 1 --gamma .3 --embedding {at} --out {out}.csv",
    "lm": "lm {at}/g.csv --counts {at}/k.csv --out {out}.csv", "score": "score {at}/e.csv --model m --out {out}.csv",
    "generate": "generate {at}/e.csv --model m --max-tokens 3 --out {out}.csv",
    "mem": "mem --count-model {at}/r.csv --model {at}/m.csv --out {out}.csv", "index": "index {at}/c.txt --out {out}",
    "train": "train --out {out} --size smallest", "records": "records --out {out}",
    "world": "world --documents 2000 --out {out}",
    "novelty": "novelty {at}/c.txt --outputs {at}/e.csv --out {out}.csv",
    "overlap": "overlap {at}/c.txt {at}/e.csv --out {out}.csv",
}  # fmt: skip
INSIDE = ("train", "records")  # whose folder may stand where nothing else can be written


@pytest.mark.parametrize("name", WRITING)
def test_two_commands_do_not_write_one_place_at_once(tmp_path, name):
    (tmp_path / "c.txt").write_text("a cat")
    command = WRITING[name].format(at=tmp_path, out=tmp_path / "out")
    out = Path(command.split("--out ")[1].split()[0])
    lock = out / ".lock" if name in INSIDE else Path(f"{out}.lock")
    lock, what = (tmp_path / ".out.building.lock", "index") if name == "index" else (lock, "--out")
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import filelock, sys; held = filelock.FileLock({str(lock)!r}); held.acquire(); "
         "print(flush=True); sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    result = call(*command.split())
    holder.kill()
    holder.communicate()
    said = f"taskgram: {what} {out}: another command is at work on it; wait for its end, or name another\n"
    assert result.exit_code == 2 and result.stderr == said


def test_every_command_that_writes_is_held_apart():
    assert set(WRITING) == {n for n, c in main.commands.items() if any(p.name == "out" for p in c.params)}


def test_a_lock_is_gone_with_its_command_and_one_left_behind_does_not_block(tmp_path):
    (tmp_path / "c.txt").write_text("a cat")
    (tmp_path / "n.txt").write_text("cat\n")
    before = {"c.txt", "n.txt", "o.csv"}
    (tmp_path / "o.csv.lock").write_text("")  # of a command that was killed
    asked = "count", tmp_path / "c.txt", "--ngrams", tmp_path / "n.txt", "--out", tmp_path / "o.csv"
    done(*asked)
    assert {p.name for p in tmp_path.iterdir()} == before
    assert call(*asked[:3], tmp_path / "absent.txt", *asked[4:]).exit_code == 2
    assert {p.name for p in tmp_path.iterdir()} == before
    done("index", tmp_path / "c.txt", "--out", tmp_path / "index")
    assert {p.name for p in tmp_path.iterdir()} == before | {"index"}
    assert "-.lock" not in {p.name for p in Path().iterdir()}


def test_two_books_are_not_made_at_once(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    shutil.copytree("notebooks/runs", tmp_path / "notebooks/runs")
    monkeypatch.setattr("taskgram_utils.book.plan", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    held = FileLock(tmp_path / "build/taskgram.lock")
    with held:
        for name in ("run", "book"):
            result = call(name, "tiny")
            assert result.exit_code == 2 and result.stderr.startswith("taskgram: build: another command is at work")


@pytest.mark.parametrize(("row", "message"), [
    ('[1]', "cannot be read as jsonl"), ('{"sx": ["a"]}', "row 2: sx ['a'] is not text"),
    ('{"sx": {"a": "b"}}', "row 2: sx {'a': 'b'} is not text"), ('{"sx": null}', "row 2: sx is empty"),
])  # fmt: skip
def test_json_lines_that_hold_no_ngram(tmp_path, row, message):
    (tmp_path / "n.jsonl").write_text('{"sx": "007"}\n' + row + "\n")
    result = call("count", tmp_path / "a.txt", "--ngrams", tmp_path / "n.jsonl", "--out", "-")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and message in result.stderr


def test_without_a_command_the_help_is_shown():
    assert "Usage: " in call().stderr and call().exit_code == 2


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad(chain):
    """Files that are wrong, each in its own way, beside those of the chain."""
    at = chain / "bad"
    at.mkdir()
    (at / "folder").mkdir()
    (at / "empty.jsonl").write_text("")
    (at / "broken.jsonl").write_text('{"text": "fine"}\n{"text": "cut o\n')
    (at / "ngrams.txt").write_text("fine\n--\n")
    (at / "pairs.csv").write_text("sx,sy\na,b\n")
    (at / "blank.csv").write_text(" sx,sy\na,b\n")
    (at / "pairs.xlsx").write_text("sx,sy\na,b\n")
    (at / "no_sy.csv").write_text("sx\na\n")
    (at / "empty_ngram.csv").write_text("sx,sy\na,\n")
    (at / "no_y.csv").write_text("example_id,x\na,b\n")
    (at / "empty_y.csv").write_text('example_id,x,y\na,b," "\n')
    (at / "twice.csv").write_text("example_id,x,y\na,b, c\na,b, d\n")
    (at / "one_option.jsonl").write_text('{"example_id": "a", "x": "b", "y": " c", "options": "c,d"}\n')
    write_table(read_table(chain / "taskgram_lm.csv").assign(logp=-1.0), at / "same.csv")
    (at / "fine.csv").write_text("example_id,x,y\na,b, c d\n")
    (at / "elsewhere.csv").write_text("example_id,n,sx,sy,start\na,1,b,zebra,1\n")
    (at / "other.csv").write_text("example_id,n,sx,sy,start\nunknown,1,b,c,1\n")
    (at / "few_counts.csv").write_text("sx,sy,count\nb,zebra,1\n")
    (at / "logp.csv").write_text("example_id,n,sy,start,model,logp\nelse,1,c,1,taskgram,-1\n")
    (at / "comma.csv").write_text("example_id,x,y\n1,What, then?, c\n")
    (at / "no_id.csv").write_text("example_id,x,y\na,b, c\n,b, d\n")
    (at / "no_pair.csv").write_text("sx,sy\n")
    (at / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (at / "folder.csv").mkdir()
    singles = "b,,{0},{1}\nzebra,,{0},{1}\nb,zebra,{2},documents\n"
    rows = {"mixed": (3, "occurrences", 1), "negative": (-1, "documents", 1), "zero": (0, "documents", 0),
            "word": ("many", "documents", 1)}  # fmt: skip
    for name, row in rows.items():
        (at / f"{name}.csv").write_text("sx,sy,count,unit\n" + singles.format(*row))
    (at / "no_grams.csv").write_text("example_id,n,sx,sy,start\n")
    (at / "high.csv").write_text("example_id,n,sy,start,model,logp\na,1,c,1,taskgram,5\n")
    (at / "text.csv").write_text("example_id,n,sy,start,model,logp\na,1,c,1,taskgram,x\n")
    shutil.copytree(chain / "suite/25k" / f"step{STEPS}", at / "no_tokenizer")
    for path in (at / "no_tokenizer").glob("tokenizer*"):
        path.unlink()
    shutil.copytree(chain / "suite/25k" / f"step{STEPS}", at / "no_weights")
    (at / "no_weights/model.safetensors").unlink()
    shutil.copytree(chain / "suite/25k" / f"step{STEPS}", at / "cut_weights")
    weights = at / "cut_weights/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    return at


BAD = {
    "a missing corpus": ("count {bad}/none.jsonl --pairs {bad}/pairs.csv --out {out}", "none.jsonl: no such file"),
    "an empty corpus": ("count {bad}/empty.jsonl --pairs {bad}/pairs.csv --out {out}", "holds no document with text"),
    "an empty folder": ("count {bad}/folder --pairs {bad}/pairs.csv --out {out}", "no text in it"),
    "a broken line": (
        "count {bad}/broken.jsonl --pairs {bad}/pairs.csv --out {out}", "broken.jsonl, line 2: not a JSON"),
    "a broken line to index": ("index {bad}/broken.jsonl --out {bad}/index", "broken.jsonl, line 2: not a JSON"),
    "an unknown document": ("count {corpus} --pairs {bad}/pairs.csv --document page --out {out}", "--document page"),
    "nothing to count": ("count {corpus} --out {out}", "needs --pairs FILE or --ngrams FILE"),
    "no column sy": ("count {corpus} --pairs {bad}/no_sy.csv --out {out}", "no_sy.csv: missing column sy"),
    "a blank before sx": ("count {corpus} --pairs {bad}/blank.csv --out {out}", "column sx (it has: ' sx', sy)"),
    "an empty n-gram": ("count {corpus} --pairs {bad}/empty_ngram.csv --out {out}", "row 1: sy is empty"),
    "an n-gram without a word": ("count {corpus} --ngrams {bad}/ngrams.txt --out {out}", "'--'"),
    "no table of pairs": ("count {corpus} --pairs {bad}/none.csv --out {out}", "none.csv: no such file"),
    "a table of another kind": ("count {corpus} --pairs {bad}/pairs.xlsx --out {out}", "a table ends in"),
    "text for an index": ("count {corpus} --backend index --pairs {bad}/pairs.csv --out {out}", "corpus.jsonl"),
    "an unknown ending": ("count {corpus} --pairs {bad}/pairs.csv --out {bad}/counts.txt", "ends in none of .parquet"),
    "a missing folder": ("count {corpus} --pairs {bad}/pairs.csv --out {bad}/deep/c.csv", "no folder"),
    "gamma 0": ("mine {examples} --n 1 --gamma 0 --embedding {vectors} --out {out}", "--gamma 0: a threshold lies"),
    "gamma 1": ("mine {examples} --n 1 --gamma 1 --embedding {vectors} --out {out}", "--gamma 1: a threshold lies"),
    "gamma 1.5": ("mine {examples} --n 1 --gamma 1.5 --embedding {vectors} --out {out}", "--gamma 1.5"),
    "gamma below 0": ("mine {examples} --n 1 --gamma -0.2 --embedding {vectors} --out {out}", "--gamma -0.2"),
    "gamma nan": ("mine {examples} --n 1 --gamma nan --embedding {vectors} --out {out}", "--gamma nan"),
    "gamma in words": ("mine {examples} --n 1 --gamma high --embedding {vectors} --out {out}", "or is calibrate"),
    "n 0": ("mine {examples} --n 0 --gamma .5 --embedding {vectors} --out {out}", "'--n': 0 is not in the range"),
    "n below 0": (
        "mine {examples} --n -3 --gamma .5 --embedding {vectors} --out {out}", "'--n': -3 is not in the range"),
    "no embedding": ("mine {examples} --n 1 --gamma .5 --out {out}", "Missing option '--embedding'"),
    "an embedding that is none": (
        "mine {examples} --n 1 --gamma .5 --embedding {bad}/folder --out {out}", "holds neither"),
    "nothing above gamma": ("mine {bad}/fine.csv --n 1 --gamma .5 --embedding {vectors} --out {out}", "above gamma"),
    "n above every text": (
        "mine {examples} --n 99 --gamma .5 --embedding {vectors} --out {out}", "no example has a 99"),
    "no column y": ("mine {bad}/no_y.csv --n 1 --gamma .5 --embedding {vectors} --out {out}", "missing column y"),
    "an empty y": ("mine {bad}/empty_y.csv --n 1 --gamma .5 --embedding {vectors} --out {out}", "a has an empty y"),
    "an example twice": ("score {bad}/twice.csv --model {model} --out {out}", "example_id a stands again in row 2"),
    "no column y to score": ("score {bad}/no_y.csv --model {model} --out {out}", "no_y.csv: missing column y"),
    "an example that is not there": (
        "score {bad}/fine.csv --model {model} --taskgrams {bad}/other.csv --out {out}", "example_id unknown is not"),
    "options that are not there": (
        "score {bad}/fine.csv --model {model} --options --out {out}", "or none has options"),
    "options in one text": (
        "score {bad}/one_option.jsonl --model {model} --options --out {out}", "write a list, such as"),
    "no question": ("score {bad}/empty.jsonl --model {model} --out {out}", "empty.jsonl: holds no example"),
    "tables exchanged": ("mem --count-model {logp} --model {count_logp} --out {out}", "exchange --count-model and"),
    "equal counts": ("mem --count-model {bad}/same.csv --model {logp} --out {out}", "out.csv is not written: "),
    "no weights": ("score {bad}/fine.csv --model {bad}/no_weights --out {out}", "no weights in it"),
    "half the weights": ("score {bad}/fine.csv --model {bad}/cut_weights --out {out}", "cut_weights: cannot be loaded"),
    "a folder without a model": ("score {bad}/fine.csv --model {bad}/folder --out {out}", "no config.json in it"),
    "a missing model folder": ("score {bad}/fine.csv --model {bad}/none/at/all --out {out}", "no such folder"),
    "a step that is not there": ("score {bad}/fine.csv --model {model} --step 7 --out {out}", "no step 7"),
    "counts of other pairs": (
        "lm {bad}/elsewhere.csv --counts {bad}/few_counts.csv --out {out}", "this very table with --singles"),
    "kappa 0": ("lm {taskgrams} --counts {counts} --kappa 0 --out {out}", "kappa must be above 0"),
    "a size of no model": ("mem --count-model {bad}/logp.csv --model {logp} --size 25K 9 --out {out}", "--size 25K: "),
    "no task-gram to score": (
        "score {examples} --model {model} --taskgrams {bad}/no_grams.csv --out {out}", "no row in it"),
    "no common point": ("mem --count-model {bad}/logp.csv --model {logp} --out {out}", "no point in common"),
    "no logp": ("mem --count-model {bad}/pairs.csv --model {logp} --out {out}", "missing column"),
    "a row with a comma too many": (
        "mine {bad}/comma.csv --n 1 --gamma .5 --embedding {vectors} --out {out}", "Expected 3 columns, got 4"),
    "no example_id": ("score {bad}/no_id.csv --model {model} --out {out}", "without an example_id, the first is row 2"),
    "an index without its backend": ("count {index} --pairs {bad}/pairs.csv --out {out}", "is an infini-gram index"),
    "an index and a document": (
        "count {index} --backend index --document paragraph --pairs {bad}/pairs.csv --out {out}",
        "--document: for --backend scan, it says nothing to index"),
    "a table for a corpus": ("count {bad}/pairs.csv --pairs {bad}/pairs.csv --out {out}", "no known ending"),
    "no pair to count": ("count {corpus} --pairs {bad}/no_pair.csv --out {out}", "no row in it"),
    "n-grams that are no text": ("count {corpus} --ngrams {bad}/binary.txt --out {out}", "is UTF-16 or UTF-32 text"),
    "a folder to write": ("count {corpus} --pairs {bad}/pairs.csv --out {bad}/folder.csv", "is a folder"),
    "no device": ("score {bad}/fine.csv --model {model} --device xpu:9 --out {out}", "xpu:9: not available here"),
    "no tokenizer": ("score {bad}/fine.csv --model {bad}/no_tokenizer --out {out}", "no tokenizer in it"),
    "no such embedding": ("mine {examples} --n 1 --gamma .5 --embedding {bad}/nodir --out {out}", "nodir"),
    "singles by occurrence": ("lm {bad}/elsewhere.csv --counts {bad}/mixed.csv --out {out}", "count all in documents"),
    "a count below 0": ("lm {bad}/elsewhere.csv --counts {bad}/negative.csv --out {out}", "-1 is no count"),
    "a count that is a word": ("lm {bad}/elsewhere.csv --counts {bad}/word.csv --out {out}", "'many' is no count"),
    "nothing that can be scored": (
        "lm {bad}/elsewhere.csv --counts {bad}/zero.csv --out {out}", "none of its 1 points"),
    "no task-gram": ("lm {bad}/no_grams.csv --counts {counts} --out {out}", "no row in it"),
    "kappa without end": (
        "lm {taskgrams} --counts {counts} --kappa inf --out {out}", "kappa must be above 0 and finite"),
    "a logp above 0": ("mem --count-model {bad}/high.csv --model {logp} --out {out}", "a logp above 0"),
    "a logp that is a word": ("mem --count-model {bad}/text.csv --model {logp} --out {out}", "logp 'x' is no number"),
    "a seed below 0": ("mem --count-model {logp} --model {logp} --seed -1 --out {out}", "--seed"),
    "a file for a suite": ("train --out {bad}/pairs.csv --documents 1000 --size smallest", "is a file"),
    "no documents": ("train --out {bad}/none --documents 0 --size smallest", "at least 1,000 documents, got 0"),
    "a scheduler for an index": (
        "count {index} --backend index --scheduler tcp://h:1 --pairs {bad}/pairs.csv --out {out}", "--backend scan"),
    "a tokenizer for text": (
        "count {corpus} --tokenizer t.json --pairs {bad}/pairs.csv --out {out}", "--tokenizer: for --backend index"),
    "a tokenizer for documents": ("documents {corpus} --pair a b --tokenizer t.json", "--tokenizer: for an index"),
    "singles of no pairs": ("count {corpus} --singles --ngrams {bad}/ngrams.txt --out {out}", "--singles"),
    "no scheduler there": (
        "count {corpus} --scheduler nowhere --pairs {bad}/pairs.csv --out {out}", "no Dask scheduler answers"),
    "an index to standard output": ("index {corpus} --out -", "an index is a folder"),
    "no such pair": ("documents {corpus} --pair zebra quagga", "no document holds both"),
    "a pair without a word": ("documents {corpus} --pair zebra --,", "--,"),
    "an index that stands": ("index {corpus} --out {bad}", "exists; remove it first"),
    "an unknown size": ("train --out {bad}/suite --size 7b", "size 7b: not one of 25k"),
    "a world too small": ("train --out {bad}/suite --documents 10", "at least 1,000 documents, got 10"),
    "another world's suite": ("train --out {suite} --documents 1000 --size smallest", "another text or seed"),
    "a world beside a text": (
        "train --out {bad}/suite --corpus {corpus} --world 2", "--world: says nothing with --corpus"),
    "epochs of a world": ("train --out {bad}/suite --epochs 2", "--epochs: says nothing without --corpus"),
    "no such text": ("train --out {bad}/suite --corpus {bad}/none.txt", "none.txt: no such file"),
    "no such tokenizer": (
        "train --out {bad}/suite --corpus {corpus} --tokenizer {bad}/none.json", "none.json: no such file"),
    "subjects of another task": (
        "examples factual_qa --subject astronomy --source {bad} --out {out}", "--subject: says nothing to factual_qa"),
    "parameters of no run": ("doctor -p kappa 5", "-p: name the run"),
    "an unknown run": ("doctor none", "run none: no such run file"),
    "an unknown size in a run": ("run tiny -p models [77k]", "model 77k: neither a size of the suite (25k"),
    "no word in an n-gram": ("book tiny -p ngram_sizes [0]", "ngram_sizes: [0] is not a list of numbers of words"),
    "a world below nothing": ("run tiny -p documents -5", "documents: -5 is not a whole number of 1,000 or more"),
    "an unknown parameter": ("run tiny -p colour red", "colour"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(chain, bad, index, case):
    command, message = BAD[case]
    before = {p for p in bad.rglob("*") if p.name != "suite"}
    names = {"corpus": "corpus.jsonl", "examples": "examples.jsonl", "vectors": "vectors", "model": "suite/25k",
             "taskgrams": "taskgrams.csv", "counts": "counts.jsonl", "logp": "logp.parquet",
             "count_logp": "taskgram_lm.csv", "suite": "suite"}  # fmt: skip
    places = {name: chain / place for name, place in names.items()} | {"index": index}
    result = call(*command.format(bad=bad, out=bad / "out.csv", **places).split())
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), repr(result.exception)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("taskgram: ") and message in lines[0], result.stderr
    assert len(lines[0]) < 600 and not result.stdout
    assert {p for p in bad.rglob("*") if p.name != "suite"} == before


def test_what_is_left_out_is_said(chain, tmp_path):
    grams, counts = read_table(chain / "taskgrams.csv"), read_table(chain / "counts.jsonl")
    inputs = grams["sx"].drop_duplicates()
    gone = set(inputs.head(len(inputs) // 2))
    write_table(counts.assign(count=counts["count"].where(~counts["sx"].isin(gone), 0)), tmp_path / "counts.csv")
    result = done("lm", chain / "taskgrams.csv", "--counts", tmp_path / "counts.csv", "--out", tmp_path / "lm.csv")
    point = ["example_id", "n", "sy"]
    whole, kept = len(grams.drop_duplicates(point)), len(grams[~grams["sx"].isin(gone)].drop_duplicates(point))
    assert f"taskgram: {whole - kept} of {whole} points left out: their s^x occurs nowhere" in result.stderr
    write_table(pd.concat([grams, grams.assign(task="other")]), tmp_path / "two.csv")  # tasks that share their ids
    result = done("lm", tmp_path / "two.csv", "--counts", tmp_path / "counts.csv", "--out", tmp_path / "lm.csv")
    assert f"taskgram: {2 * (whole - kept)} of {2 * whole} points left out" in result.stderr
    scores = read_table(chain / "taskgram_lm.csv")
    scores.loc[3, "logp"] = np.nan
    write_table(scores, tmp_path / "holes.csv")
    result = done("mem", "--count-model", tmp_path / "holes.csv", "--model", chain / "logp.parquet",
                  "--out", tmp_path / "mem.csv")  # fmt: skip
    assert f"1 of {len(scores)} rows have no logp and are left out" in result.stderr
    few = read_table(chain / "logp.parquet").query("example_id != @scores.example_id[0]")
    write_table(few, tmp_path / "few.parquet")
    result = done("mem", "--count-model", chain / "taskgram_lm.csv", "--model", tmp_path / "few.parquet",
                  "--out", tmp_path / "mem.csv")  # fmt: skip
    whole, keys = read_table(chain / "taskgram_lm.csv"), ["example_id", "n", "sy", "start"]
    lost = len(whole[keys].drop_duplicates()) - len(whole[keys].drop_duplicates().merge(few[keys].drop_duplicates()))
    assert lost and f"{lost} points are not in {tmp_path / 'few.parquet'}, and are left out" in result.stderr


def test_an_option_given_twice_and_an_output_that_is_read_are_refused(chain, tmp_path):
    mem = ["mem", "--count-model", chain / "taskgram_lm.csv", "--model", chain / "logp.parquet"]
    result = call(*mem, "--model", chain / "taskgram_lm.csv", "--out", tmp_path / "mem.csv")
    assert result.exit_code == 2 and "--model: given twice, and one is taken" in result.stderr
    own = tmp_path / "own.csv"
    own.write_bytes((chain / "taskgram_lm.csv").read_bytes())
    (tmp_path / "link.csv").symlink_to(own)
    for out in (own, tmp_path / "link.csv"):
        result = call("mem", "--count-model", own, "--model", chain / "logp.parquet", "--out", out)
        read = f"--out {out}: is what is read (count_model); name another file"
        assert result.exit_code == 2 and read in result.stderr
    assert own.read_bytes() == (chain / "taskgram_lm.csv").read_bytes()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("bakers bake\n")
    (tmp_path / "n.txt").write_text("bakers\n")
    for out in ("a.jsonl", "counts.csv"):
        result = call("count", tmp_path / "texts", "--ngrams", tmp_path / "n.txt", "--out", tmp_path / "texts" / out)
        assert result.exit_code == 2 and "lies in the corpus, of which it would become a part" in result.stderr
    assert [path.name for path in (tmp_path / "texts").iterdir()] == ["a.txt"]


def test_an_inexact_count_keeps_its_flag(chain, tmp_path):
    grams, counts = read_table(chain / "taskgrams.csv"), read_table(chain / "counts.jsonl")
    rough = grams["sx"].iloc[0]
    write_table(counts.assign(exact=counts["sx"] != rough), tmp_path / "counts.csv")
    said = done("lm", chain / "taskgrams.csv", "--counts", tmp_path / "counts.csv", "--out", tmp_path / "lm.csv")
    table = read_table(tmp_path / "lm.csv")
    points = grams.loc[grams["sx"] == rough, ["example_id", "sy"]].drop_duplicates()
    assert (~table["exact"]).sum() == len(points) > 0
    rests = f"{len(points)} of {len(table)} points rest on counts that are not exact (column exact)"
    assert f"taskgram: {chain / 'taskgrams.csv'}: {rests}\n" in said.stderr
    assert "rest on" not in done("lm", chain / "taskgrams.csv", "--counts", chain / "counts.jsonl", "--out", "-").stderr
    mem = ["mem", "--model", chain / "logp.parquet", "--out", tmp_path / "mem.csv"]
    said = done(*mem, "--count-model", tmp_path / "lm.csv")
    null = "taskgram: 1 of 6 estimates are null: fewer than 3 points\n"
    assert said.stderr == f"{null}taskgram: {tmp_path / 'lm.csv'}: {rests}\n"
    found = read_table(tmp_path / "mem.csv")
    assert 0 < found["exact"].min() < 1 and found["exact"].max() == 1
    write_table(read_table(chain / "taskgram_lm.csv").drop(columns="exact"), tmp_path / "old.csv")
    assert done(*mem, "--count-model", tmp_path / "old.csv").stderr == null
    assert read_table(tmp_path / "mem.csv")["exact"].isna().all()


def test_counts_of_pieces_say_that_none_is_exact(chain, tmp_path):
    (tmp_path / "n.txt").write_text("bakers\n")
    pieces = next((chain / "suite").rglob("tokenizer.json"))
    done("index", chain / "corpus.jsonl", "--tokenizer", pieces, "--out", tmp_path / "index")
    said = done("count", tmp_path / "index", "--backend", "index", "--ngrams", tmp_path / "n.txt", "--out",
                tmp_path / "c.csv").stderr  # fmt: skip
    assert said.endswith("what is written otherwise is missed, so none is exact\n")
    assert read_table(tmp_path / "c.csv")["exact"].tolist() == [False]


@pytest.mark.parametrize("arguments", [
    ["count", "none.jsonl", "--ngrams", "none.txt", "--out", "-"], ["score", "none.csv", "--model", "m", "--out", "-"],
])  # fmt: skip
def test_the_real_command_says_one_line_on_standard_error(tmp_path, arguments):
    found = subprocess.run([sys.executable, "-m", "taskgram_utils.cli", *arguments], cwd=tmp_path, capture_output=True,
                           text=True)  # fmt: skip
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("taskgram: none.") and found.stderr.count("\n") == 1


def test_standard_output_is_utf8_whatever_the_system_says(tmp_path):
    (tmp_path / "c.txt").write_text("Łódź and हिन्दी and Ада", encoding="utf-8")
    (tmp_path / "n.txt").write_text("Łódź\nАда\n", encoding="utf-8")
    count = ["count", "c.txt", "--ngrams", "n.txt", "--out", "-"]
    for command in (count, ["documents", "c.txt", "--pair", "Łódź", "東京"]):
        found = subprocess.run([sys.executable, "-m", "taskgram_utils.cli", *command], cwd=tmp_path, check=False,
                               capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"})  # fmt: skip
        assert b"Traceback" not in found.stderr
        if "東京" not in command:
            assert found.returncode == 0 and "Łódź" in found.stdout.decode("utf-8")


def test_the_installed_command_is_this_one():
    command = Path(sys.executable).with_name("taskgram")
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith(__version__)


# --- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name):
    shown = done(name, "--help").stdout
    assert f"Example: taskgram {name}" in " ".join(shown.split())
    assert main.commands[name].help.strip()


@pytest.mark.parametrize(("typed", "meant"), [
    (r"\n\n", "\n\n"), (r"\t", "\t"), (r"\\n", r"\n"), (r"a\\", "a\\"), (r"\d\r", "\\d\r"), ("é\n", "é\n"),
    (r"\\\n", "\\\n"),
])  # fmt: skip
def test_what_a_typed_backslash_stands_for(typed, meant):
    assert _unescaped(typed) == meant


def test_an_index_does_not_become_a_part_of_its_corpus(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a cat")
    result = CliRunner().invoke(main, ["index", str(tmp_path / "texts"), "--out", str(tmp_path / "texts/deep/index")])
    assert result.exit_code == 2 and "lies in the corpus" in result.stderr
    assert [p.name for p in (tmp_path / "texts").rglob("*")] == ["a.txt"]


def test_ngrams_of_a_text_file_are_its_lines(tmp_path):
    (tmp_path / "a.txt").write_text("one two\nthree\u2028four\n")
    (tmp_path / "asked.txt").write_bytes(b"\xef\xbb\xbfone\r\n" + "three\u2028four\n\n".encode())
    text, asked, out = (str(tmp_path / name) for name in ("a.txt", "asked.txt", "c.csv"))
    result = CliRunner().invoke(main, ["count", text, "--ngrams", asked, "--out", out])
    assert result.exit_code == 0
    table = pd.read_csv(tmp_path / "c.csv")
    assert table["sx"].tolist() == ["one", "three\u2028four"] and table["count"].tolist() == [1, 1]


def test_a_terminated_build_leaves_nothing(tmp_path):
    (tmp_path / "big.txt").write_text("some words of a long text\n" * 2_000_000)
    command = ["index", str(tmp_path / "big.txt"), "--document", "record", "--out", str(tmp_path / "index")]
    command = [sys.executable, "-m", "taskgram_utils.cli", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob(".index.*")):
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=900)
    assert process.returncode == 130 and said.strip().endswith("taskgram: stopped")
    assert [p.name for p in tmp_path.iterdir()] == ["big.txt"]
