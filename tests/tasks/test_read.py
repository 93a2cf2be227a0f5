"""Real tasks from local files and from a hub on loopback: sizes, splits, targets, and one line for what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from taskgram_utils.cli import main
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.neural import choose
from taskgram_utils.tasks import factual_qa, files, math_reasoning, translation, world_knowledge
from taskgram_utils.tasks.base import check_examples, exact_match
from tests.hub import serve

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
real = pytest.mark.skipif(not (DATA / "gsm8k").is_dir(), reason=f"no {DATA}/gsm8k")


def lines(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def gsm8k(tmp_path):
    row = {"question": "How many? ", "answer": "It is 2*3=<<2*3=6>>6.\nSo 1,006 in all.\n#### 1,006"}
    for split in ("train", "test"):
        lines(tmp_path / f"{split}.jsonl", row, {**row, "answer": "Loss.\n#### -3.50"})
    return tmp_path


@pytest.fixture
def mmlu(tmp_path):
    for subject in ("astronomy", "college_physics", "formal_logic"):
        for split in ("dev", "test"):
            path = tmp_path / split / f"{subject}_{split}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text('"A, ""b""\nand c?",1, two ,3,4,B\nWhich?,w,x,y,z,D\n')
    return tmp_path


@pytest.fixture
def wmt(tmp_path):
    for code in ("ces", "deu"):
        for part in ("newstest2009", "newssyscomb2009"):
            for ending in (code, "eng"):
                path = tmp_path / f"eng-{code}" / f"{part}.{ending}"
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"{ending} {part} {{1}}\nzwei\u2028drei\n", encoding="utf-8")
    return tmp_path


def test_worked_solutions_without_the_calculators_marks(gsm8k):
    table = check_examples(math_reasoning.read(gsm8k))
    assert table["split"].tolist() == ["train", "train", "test", "test"] and table["example_id"].is_unique
    first = table.iloc[2]
    assert (first["x"], first["y"]) == ("How many?", " It is 2*3=6.\nSo 1,006 in all.")
    lines(gsm8k / "test.jsonl", {"question": "How many?", "answer": "So 1+1=2.\n \n2*3=6.\n#### 6"})
    assert math_reasoning.read(gsm8k)["y"].iloc[-1] == " So 1+1=2.\n2*3=6."
    assert first["answers"] == ["1006"] and table.iloc[3]["answers"] == ["-3.50"]
    assert math_reasoning.accuracy("so it is 1,006.", first["answers"]) == 1 and first["instruction"].count("{x}") == 1


def test_options_are_not_in_the_question(mmlu):
    table = check_examples(world_knowledge.read(mmlu))
    row = table[(table["split"] == "test") & (table["subject"] == "astronomy")].iloc[0]
    assert row["x"] == 'A, "b"\nand c?' and row["y"] == " two" and row["options"][row["gold"]] == " two"
    groups = table.drop_duplicates("subject").set_index("subject")["group"].to_dict()
    assert groups == {"astronomy": "knowledge", "college_physics": "reasoning", "formal_logic": "unlisted"}
    assert len(world_knowledge.REASONING) == 22


def test_both_directions_of_a_language_pair(wmt):
    table = check_examples(translation.read(wmt, ["cs", "de"]))
    assert table["group"].value_counts().to_dict() == {"en-cs": 4, "en-de": 4}
    # A line separator of Unicode ends no line, and a brace of the text is no place for the input.
    assert table["x"].tolist()[:2] == ["eng newstest2009 {1}", "zwei\u2028drei"]
    assert table.iloc[0]["y"] == " ces newstest2009 {1}" and table.iloc[0]["instruction"] == "English: {x}\nCzech:"
    back = translation.read(wmt, ["cs"], "from").iloc[0]
    assert (back["group"], back["y"]) == ("cs-en", " eng newstest2009 {1}")


def test_questions_of_either_data_set(tmp_path):
    asked = {"context": "Question: Who?\nAnswer:", "answer": "Ada", "aliases": ["The Ada"]}
    given = lines(tmp_path / "one.jsonl", asked)
    row = check_examples(factual_qa.read(given)).iloc[0]
    assert (row["x"], row["y"], row["answers"], row["split"]) == ("Who?", " Ada", ["Ada", "The Ada"], "test")
    nested = {"question": "Who?", "answer": {"value": "Bo", "aliases": []}}
    lines(tmp_path / "both" / "train.jsonl", nested)
    lines(tmp_path / "both" / "validation.jsonl", nested)
    assert factual_qa.read(tmp_path / "both")["split"].tolist() == ["train", "test"]
    popular = {"question": "Where?", "possible_answers": '["Oslo", "Christiania"]', "s_pop": 7, "o_pop": 9}
    row = factual_qa.read(lines(tmp_path / "pop.jsonl", popular), "popqa").iloc[0]
    assert (row["answers"], row["popularity"], row["answer_popularity"]) == (["Oslo", "Christiania"], 7, 9)


@pytest.mark.parametrize("output, right", [
    ("the_Lord of the rings!", 1), ("Lord  Rings", 0), ("lord of rings", 1), ("An 'Lord of Rings’", 1)])  # fmt: skip
def test_answers_are_compared_as_triviaqas_evaluation_does(output, right):
    assert factual_qa.alias_match(output, ["Gandalf", "Lord of the Rings"]) == right


@pytest.mark.parametrize("output, alias, right", [
    ("", "The The", 0), (" ", "?", 0), ("the", "The The", 0), (" The The", "The The", 1), ("", "(a", 0),
    (" (a", "(a", 1), ("the", "A", 0), (" A", "A", 1), ("A.", "A", 1), ("?", "?", 1), ("!", "?", 0), ("", "", 0),
    ("?", "Gandalf", 0)])  # fmt: skip
def test_an_alias_of_articles_and_signs_is_compared_as_written(output, alias, right):
    assert factual_qa.alias_match(output, [alias]) == right == factual_qa.alias_match(output, ["Bilbo", alias])


BAD_LINES = [
    ("no json", "line 2: no JSON"), ("[1]", "line 2: no JSON object"),
    ('{"answer": "Bo", "aliases": []}', "no question"),
    ('{"question": "Who?", "aliases": []}', "line 2: no answer"), ('{"question": "Who?", "answer": " ", "aliases": []}',
     "line 2: no answer"), ('{"question": "Who?", "answer": "Bo"}', "no list of aliases"),
    ('{"question": "Who?", "answer": {"value": "Bo"}}', "no list of aliases"),
]  # fmt: skip


@pytest.mark.parametrize("line, said", BAD_LINES)
def test_questions_that_cannot_be(tmp_path, line, said):
    path = lines(tmp_path / "qa.jsonl", {"question": "Who?", "answer": "Ada", "aliases": []})
    path.write_text(path.read_text() + line)
    with pytest.raises(InputError, match=f"qa.jsonl, line 2.*{said.removeprefix('line 2: ')}"):
        factual_qa.read(path)


def test_files_that_cannot_be(tmp_path, gsm8k, mmlu, wmt):
    def says(message, read, *arguments):
        with pytest.raises(InputError, match=message) as caught:
            read(*arguments)
        assert "\n" not in str(caught.value)

    says("nowhere/train.jsonl: no such file; put GSM8K's", math_reasoning.read, tmp_path / "nowhere")
    (gsm8k / "test.jsonl").write_text('{"question": "How?", "answer": "Six."}\n')
    says(r"test\.jsonl, line 1: no solution before ####", math_reasoning.read, gsm8k)
    (gsm8k / "test.jsonl").unlink()
    says(r"test\.jsonl: no such file; put GSM8K's train.jsonl and test.jsonl there", math_reasoning.read, gsm8k)
    path = mmlu / "test" / "astronomy_test.csv"
    for text, said in (("Which?,a,b,c,A\n", r"row 1: 5 columns, not 6 \(question, A, B, C, D, letter\)"),
                       ("Which?,a,b,c,,A\n", "row 1: not 4 options"),
                       ("Which?,a,b,c,d,E\n", "is none of A, B, C")):  # fmt: skip
        path.write_text(text)
        says(said, world_knowledge.read, mmlu)
    path.write_bytes(b"Which?,a,b,c,\xff,A\n")
    says(r"astronomy_test\.csv: no UTF-8 text \(byte 13\)", world_knowledge.read, mmlu)
    says("no dev/SUBJECT_dev.csv", world_knowledge.read, wmt / "eng-ces")
    (wmt / "eng-deu" / "newstest2009.deu").write_text("eins\n")
    says(r"newstest2009\.deu: 1 lines, newstest2009\.eng has 2", translation.read, wmt, ["de"])
    (wmt / "eng-ces" / "newstest2009.ces").write_text("jedna\n \n")
    says(r"newstest2009\.ces, line 2: empty here or in", translation.read, wmt, ["cs"])
    says("no newstest2009.fra and newstest2009.eng, line by line, for French", translation.read, wmt, ["fr"])
    says("language xx: not one of hu, cs, de, it, es, fr", translation.read, wmt, ["xx"])
    says("direction up: into or from", translation.read, wmt, ["cs"], "up")
    says("WMT-09, .* read from files", translation.read, "hub")
    says("data set nq: not one of triviaqa, popqa, wikidata, pararel", factual_qa.read, tmp_path, "nq")
    says("holds no question", factual_qa.read, lines(tmp_path / "none.jsonl"))
    (tmp_path / "pop.json").write_text('{"dev": []}')
    says("no lists dev and test", factual_qa.read, tmp_path / "pop.json", "popqa")
    bad = lines(tmp_path / "pop.jsonl", {"question": "Where?", "possible_answers": "Oslo"})
    says(r"pop\.jsonl, line 1: no list of possible answers", factual_qa.read, bad, "popqa")


@real
def test_the_real_data_sets_have_their_sizes():
    assert math_reasoning.read(DATA / "gsm8k")["split"].value_counts().to_dict() == {"train": 7473, "test": 1319}
    mmlu = world_knowledge.read(DATA / "mmlu")
    assert mmlu["split"].value_counts().to_dict() == {"test": 14_042, "dev": 285} and mmlu["subject"].nunique() == 57
    subjects = mmlu.groupby("group")["subject"].nunique().to_dict()
    assert subjects == {"knowledge": 34, "reasoning": 22, "unlisted": 1}
    pairs = translation.read(DATA / "wmt09")
    assert pairs.groupby("group").size().to_dict() == {f"en-{code}": 3027 for code in translation.LANGUAGES}
    assert len(factual_qa.read(DATA / "triviaqa" / "triviaqa_sm_sub.jsonl")) == 3000
    popqa = factual_qa.read(DATA / "popqa" / "popqa.json", "popqa")
    assert popqa["split"].value_counts().to_dict() == {"train": 1000, "test": 1000} and popqa["popularity"].min() > 0
    for table in (mmlu, pairs, popqa):
        check_examples(table)
    for table in (pairs, popqa):
        assert not any(stop in y for stops, y in zip(table["stop"], table["y"], strict=True) for stop in stops)


@real
def test_real_solutions_are_right_as_far_as_their_stops_and_bound():
    """All but 35 of the 1,319: in those another number stands behind the answer, or the answer in other units."""
    table = math_reasoning.read(DATA / "gsm8k").query("split == 'test'")
    right = []
    for y, answers, stops in zip(table["y"], table["answers"], table["stop"], strict=True):
        for text in (f"{y}\n\nI have 5", f"{y}\nQuestion: I have 5", y):
            assert text[: min((text.find(stop) for stop in stops if stop in text), default=None)].strip() == y.strip()
        right.append(math_reasoning.accuracy(y, answers))
        assert math_reasoning.accuracy(f"{y}\n#### {answers[0]}\n\nQuestion: I have 5", answers) == 1
    assert sum(right) == 1319 - 35
    assert math_reasoning.TASK.max_tokens == 400 > longest(table["y"])
    assert translation.TASK.max_tokens == 320 > longest(translation.read(DATA / "wmt09")["y"])
    questions = [factual_qa.read(DATA / "triviaqa" / "triviaqa_sm_sub.jsonl"),
                 factual_qa.read(DATA / "popqa" / "popqa.json", "popqa")]  # fmt: skip
    assert factual_qa.TASK.max_tokens == 24 > longest(pd.concat(questions)["y"])


def longest(texts) -> int:
    """The tokens of the longest text under Pythia's tokenizer."""
    tokenizer = Tokenizer.from_file(str(DATA / "tokenizers" / "20B_tokenizer.json"))
    return max(len(text.ids) for text in tokenizer.encode_batch(list(texts)))


@real
def test_no_real_alias_makes_an_empty_answer_right():
    read = [factual_qa.read(DATA / "triviaqa" / "triviaqa_sm_sub.jsonl"),
            factual_qa.read(DATA / "wikidata_qa" / "bigbench_qa_wikidata.jsonl", "wikidata")]  # fmt: skip
    table = pd.concat(read, ignore_index=True)
    bare = table[[any(not factual_qa.normalized_answer(a) for a in own) for own in table["answers"]]]
    assert len(bare) == 53
    for match in (factual_qa.alias_match, exact_match):
        assert not any(match(empty, own) for own in bare["answers"] for empty in ("", " ", "?"))
        assert all(match(alias, own) == 1 for own in bare["answers"] for alias in own)


@real
def test_real_options_that_are_equal_are_both_right():
    table = world_knowledge.read(DATA / "mmlu")
    twice = table[[len(set(own)) < 4 for own in table["options"]]]
    assert len(twice) == 10
    rows = [(r.example_id, k, option, "m", float(-k)) for r in twice.itertuples() for k, option in enumerate(r.options)]
    logp = pd.DataFrame(rows, columns=["example_id", "option", "sy", "model", "logp"])
    answers = choose(logp, twice).set_index("example_id")["score"]
    first = {r.example_id: float(r.options[0] == r.options[r.gold]) for r in twice.itertuples()}
    assert answers.to_dict() == first and answers["mmlu-test-high_school_macroeconomics-184"] == 1


def test_the_command(tmp_path, gsm8k, wmt):
    def run(*arguments):
        return CliRunner().invoke(main, ["examples", *map(str, arguments)])

    out = tmp_path / "e.parquet"
    done = run("math_reasoning", "--source", gsm8k, "--split", "test", "--out", out)
    assert done.exit_code == 0, done.output
    assert pd.read_parquet(out)["split"].tolist() == ["test", "test"]
    assert list(pd.read_parquet(out)["stop"][0]) == ["\n\n", "Question:"]
    ends = r"an answer ends at '\n\n' or 'Question:', at 400 tokens at most"
    assert done.stderr == f"taskgram: math_reasoning: {ends}\n"
    for arguments, said in (
        (("math_reasoning", "--source", gsm8k, "--split", "dev"), "--split dev: math_reasoning has test, train"),
        (("math_reasoning", "--source", gsm8k, "--language", "cs"), "--language: says nothing to math_reasoning"),
        (("translation", "--source", wmt, "--dataset", "popqa"), "--dataset: says nothing to translation"),
        (("translation", "--source", wmt, "--language", "hu"), "for Hungarian"), (("chess",), "task chess: not one of"),
    ):  # fmt: skip
        done = run(*arguments, "--out", "-")
        assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1, done.output


@pytest.mark.slow
def test_the_hubs_data_sets_on_loopback(tmp_path):
    """The data sets' own client, in a process of its own: it reads its address when it is imported."""
    sets = {"openai/gsm8k": ("main", {"train": [{"question": "How?", "answer": "Six.\n#### 6"}] * 2,
                                      "test": [{"question": "How?", "answer": "Five.\n#### 5"}]})}  # fmt: skip
    nested = {"question": "Who?", "answer": {"value": "Ada", "aliases": ["Ada L."]}}
    sets["mandarjoshi/trivia_qa"] = ("rc.nocontext", {"train": [nested], "validation": [nested]})
    choice = {"question": "Which?", "subject": "astronomy", "choices": list("wxyz"), "answer": 2}
    sets["cais/mmlu"] = ("all", {"dev": [choice], "test": [choice] * 3})
    sets["akariasai/PopQA"] = ("default", {"test": [{"question": "Where?", "possible_answers": '["Oslo"]', "s_pop": 3,
                                                     "o_pop": 4}]})  # fmt: skip
    repos = {}
    for name, (config, splits) in sets.items():
        folder = tmp_path / name
        for split, rows in splits.items():
            path = folder / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_parquet(path)
        files = "".join(f"  - split: {s}\n    path: {config}/{s}-*\n" for s in splits)
        (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n")
        repos["datasets", name] = {"main": folder}
    script = (
        "from taskgram_utils.tasks import factual_qa as q, math_reasoning as m, world_knowledge as w\n"
        "print(*(list(t['split']) for t in (m.read(), q.read(), q.read(dataset='popqa'), w.read())))\n"
        "print(list(map(str, w.read().iloc[1][['y', 'gold', 'subject']])))\n"
        "print(q.read(dataset='popqa')['popularity'].tolist())\n"
    )
    with serve(repos) as (_, address):
        place = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=900, cwd=ROOT,
                              env=os.environ | place)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "['train', 'train', 'test'] ['train', 'test'] ['test'] ['dev', 'test', 'test', 'test']",
        "[' y', '2', 'astronomy']", "[3.0]"]  # fmt: skip


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_says_what_to_put_where(tmp_path):
    place = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-m", "taskgram_utils.cli", "examples", "math_reasoning", "--out", "-"],
                          capture_output=True, text=True, timeout=900, cwd=ROOT, env=os.environ | place)  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert "data set openai/gsm8k (main, train): cannot be had" in last
    assert "put GSM8K's train.jsonl and test.jsonl" in last


# --- facts that name their subject -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("cloze", "subject"), [
    ("The capital of France is", "France"), ("The country of citizenship of Tokugawa Ieyasu is", "Tokugawa Ieyasu"),
    ("The place of birth of Ada of Saxony is", "Ada of Saxony"), ("The language used in Wales is", "Wales"),
    ("The office held by head of government of Delhi is", "Delhi"), ("The sport played by FINA is", "FINA"),
    ("The languages spoken, written or signed by Voltaire is", "Voltaire"), ("Jinan is capital of", "Jinan"),
    ("Ticino shares a border with", "Ticino"), ("Lake Balaton is located in or next to body of water", "Lake Balaton"),
    ("The color of the flag of Grenada is", "the flag of Grenada"), ("momentum calculated from", None),
])  # fmt: skip
def test_the_subject_of_a_cloze(tmp_path, cloze, subject):
    path = lines(tmp_path / "facts.jsonl", {"context": cloze, "continuation": "so"})
    row = factual_qa.read(path, "wikidata").iloc[0]
    assert (row["x"], row["y"], row["instruction"], row["answers"]) == (cloze, " so", "", ["so"])
    assert (None if pd.isna(row["sx"]) else row["sx"]) == subject


@pytest.mark.parametrize(("question", "subject"), [
    ("What is the capital of Var?", "Var"), ("What is Paris the capital of?", "Paris"),
    ("What is Ban Ki-moon's occupation?", "Ban Ki-moon"), ("In what city was Erasmus born?", "Erasmus"),
    ("In what country is Ghent?", "Ghent"), ("Who was the director of Pilgrimage?", "Pilgrimage"),
    ("Who was the screenwriter for Alien?", "Alien"), ("What genre is Jazz?", "Jazz"), ("How far is the moon?", None),
])  # fmt: skip
def test_the_subject_of_a_question_of_popqa(tmp_path, question, subject):
    path = lines(tmp_path / "popqa.jsonl", {"question": question, "possible_answers": '["so"]'})
    found = factual_qa.read(path, "popqa")["sx"].iloc[0]
    assert (None if pd.isna(found) else found) == subject


def test_the_data_sets_own_subject_comes_first(tmp_path):
    row = {"question": "What is the capital of Var?", "possible_answers": '["Toulon"]', "subj": "Var (department)"}
    assert factual_qa.read(lines(tmp_path / "p.jsonl", row), "popqa")["sx"].tolist() == ["Var (department)"]


def test_pararels_first_pattern_that_ends_in_the_answer(tmp_path):
    lines(tmp_path / "trex_lms_vocab" / "P36.jsonl", {"sub_label": "Cook County", "obj_label": "Chicago"})
    lines(tmp_path / "trex_lms_vocab" / "P1.jsonl", {"sub_label": "a", "obj_label": "b"})  # no patterns: left out
    lines(tmp_path / "pattern_data" / "graphs_json" / "P36.jsonl", {"pattern": "[Y] is the seat of [X]."},
          {"pattern": "The seat of [X] is [Y]."}, {"pattern": "[X]'s capital is [Y]."})  # fmt: skip
    table = check_examples(factual_qa.read(tmp_path, "pararel"))
    assert table[["x", "y", "sx"]].to_numpy().tolist() == [["The seat of Cook County is", " Chicago", "Cook County"]]


@pytest.mark.parametrize("dataset", ["wikidata", "pararel"])
def test_facts_are_read_from_files_alone(dataset, tmp_path):
    with pytest.raises(InputError, match=r"read from files; put .* name it as the source"):
        factual_qa.read("hub", dataset)
    with pytest.raises(InputError, match=r"no such file|no such folder"):
        factual_qa.read(tmp_path / "none", dataset)


def test_subjects_of_world_knowledge(mmlu):
    assert set(world_knowledge.read(mmlu, ["astronomy"])["subject"]) == {"astronomy"}
    with pytest.raises(InputError, match="no subject astrology"):
        world_knowledge.read(mmlu, ["astronomy", "astrology"])


@real
def test_real_facts_name_their_subjects():
    cloze = factual_qa.read(DATA / "wikidata_qa" / "bigbench_qa_wikidata.jsonl", "wikidata")
    assert len(cloze) == 20_321 and cloze["sx"].notna().mean() > 0.99
    named = cloze.dropna(subset=["sx"])
    assert all(subject in x for subject, x in zip(named["sx"], named["x"], strict=True))
    pararel = factual_qa.read(DATA / "pararel", "pararel")
    popqa = factual_qa.read(DATA / "popqa" / "popqa.json", "popqa")
    assert len(pararel) > 27_000 and pararel["sx"].notna().all() and popqa["sx"].notna().all()
    assert popqa.groupby("split").size().to_dict() == {"test": 1_000, "train": 1_000}


@pytest.mark.parametrize(("name", "row", "said"), [
    ("popqa", {"question": "Why?", "possible_answers": '["so"]', "s_pop": "many"}, "s_pop and o_pop must be numbers"),
    ("pararel", {"sub_label": 5, "obj_label": "b"}, "no sub_label, or none that is a text"),
])  # fmt: skip
def test_values_of_another_kind(tmp_path, name, row, said):
    path = lines(tmp_path / "trex_lms_vocab" / "P1.jsonl", row)
    lines(tmp_path / "graphs_json" / "P1.jsonl", {"pattern": "[X] is [Y]."})
    with pytest.raises(InputError, match=said):
        factual_qa.read(tmp_path if name == "pararel" else path, name)


def test_a_question_that_is_none(gsm8k, mmlu):
    lines(gsm8k / "test.jsonl", {"question": " ", "answer": "#### 1"})
    with pytest.raises(InputError, match="line 1: no question, or none that is a text"):
        math_reasoning.read(gsm8k)
    refused = [("a\n#### 3/4", "'3/4' after #### is not one"), ("a\n#### 1 000", "'1 000' after ####"),
               ("#### 4", "no solution before ####"), ("a\n#### none", "'none' after #### is not one")]  # fmt: skip
    for answer, said in refused:
        lines(gsm8k / "test.jsonl", {"question": "How many?", "answer": answer})
        with pytest.raises(InputError, match=f"line 1: {said}"):
            math_reasoning.read(gsm8k)
    for answer, number in (("a\n#### $1,000.", "1000"), ("a\n#### 5 apples", "5"), ("a\n#### -3.50%", "-3.50"),
                           ("a\n#### The answer is 72.", "72"), ("a\n#### .5", "0.5")):  # fmt: skip
        lines(gsm8k / "test.jsonl", {"question": "How many?", "answer": answer})
        assert math_reasoning.read(gsm8k).query("split == 'test'")["answers"].tolist() == [[number]]
    (mmlu / "test" / "astronomy_test.csv").write_text(" ,1,2,3,4,B\n")
    with pytest.raises(InputError, match="row 1: no question"):
        world_knowledge.read(mmlu)
    with pytest.raises(InputError, match="subjects: astronomy is a text, not a list"):
        world_knowledge.read(mmlu, "astronomy")


def test_a_folder_in_the_place_of_a_file_is_called_one(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: is a folder; put the questions there"):
        files.existing(tmp_path, "the questions")
    with pytest.raises(InputError, match="none: no such file; put the questions there"):
        files.existing(tmp_path / "none", "the questions")
