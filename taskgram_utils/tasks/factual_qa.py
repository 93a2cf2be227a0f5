"""Factual question answering: one short answer to a question about a person."""

from __future__ import annotations

import itertools
import json
import re
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.words import QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.ngrams import normalize
from taskgram_utils.tasks.base import Task, matches, table, test_size
from taskgram_utils.tasks.files import HUB, checked, folder, found, hub_rows, json_file, json_lines


def miniature(world: World) -> pd.DataFrame:
    """Test: every fact that no document states as a question. Train: facts that some documents ask."""
    facts = world.facts().query("role == 0").drop_duplicates("fact")
    rows, train = [], test_size(world, 600)
    for split, part in (("test", facts[~facts["asked"]]), ("train", facts[facts["asked"]].head(train))):
        rows += [
            {"example_id": f"qa-{r.fact}", "split": split, "group": "facts", "instruction": prompt("factual_qa", 0),
             "x": QUESTIONS[r.relation][0].replace("{p}", r.person), "y": f" {r.value}", "answers": [r.value]}
            for r in part.itertuples()
        ]  # fmt: skip
    return table("factual_qa", rows)


INSTRUCTION = (
    "Provide a word or a short phrase as the answer to the given factual question.\nQuestion: {x}\nAnswer:"
)
_TRIVIAQA = ("mandarjoshi/trivia_qa", "rc.nocontext")
_POPQA = "akariasai/PopQA"
_PUNCTUATION = set(string.punctuation + "‘’´`")


DATASETS = ("triviaqa", "popqa", "wikidata", "pararel")


def read(source: str | Path = HUB, dataset: str = "triviaqa") -> pd.DataFrame:
    """TriviaQA, PopQA, or cloze facts of Wikidata or ParaRel (``dataset``), from the hub or local files.

    TriviaQA: rc.nocontext, ``train`` to mine and its validation split as ``test``. A folder has train.jsonl and
    test.jsonl (or validation.jsonl), a single file is all ``test``; lines have question (or context: "Question: …
    Answer:"), answer and aliases, or, as on the hub, an answer with value and aliases. PopQA: lines, or a JSON file
    with the lists dev (here ``train``) and test, of question (or input), possible_answers (or output), s_pop, o_pop.
    ``popularity`` carries the subject's monthly page views and ``answer_popularity`` the object's; null elsewhere.
    Wikidata: lines of context ("The capital of France is") and continuation. ParaRel: a folder with its folders
    trex_lms_vocab (sub_label, obj_label) and graphs_json, whose first pattern that ends in [Y] is the cloze. These two
    have a file only, and all of it is ``test``.

    ``sx`` is the subject's name where the data set says it or its wording shows it (PopQA, Wikidata, ParaRel).

    Raises InputError for another data set, and for a row without question, answer or list of aliases.
    """
    require(dataset in DATASETS, f"data set {dataset}: not one of {', '.join(DATASETS)}")
    way = {"triviaqa": (_triviaqa, _asked), "popqa": (_popqa, _asked_popqa), "wikidata": (_wikidata, _cloze),
           "pararel": (_pararel, _cloze)}  # fmt: skip
    sides, asked = way[dataset]
    rows, extra = [], []
    for split, records in sides(source):
        for number, (where, row) in enumerate(records, 1):
            question, answer, aliases, subject = asked(row, where)
            cloze = dataset in ("wikidata", "pararel")
            rows.append({"example_id": f"{dataset}-{split}-{number}", "split": split, "group": dataset,
                         "instruction": "" if cloze else INSTRUCTION, "x": question, "y": f" {answer}",
                         "answers": list(dict.fromkeys([answer, *aliases]))})  # fmt: skip
            views = {"popularity": row.get("s_pop"), "answer_popularity": row.get("o_pop")}
            good = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in views.values())
            require(good, f"{where}: s_pop and o_pop must be numbers, or absent")
            extra.append({**views, "sx": subject})
    require(rows, f"{source}: holds no question")
    beside = pd.DataFrame(extra).astype({"popularity": "Float64", "answer_popularity": "Float64", "sx": "str"})
    return table("factual_qa", rows).join(beside)


def _triviaqa(source: str | Path) -> Iterator[tuple[str, Iterable]]:
    if str(source) == HUB:
        instead = "put lines of question, answer and aliases in a file, and name it as the source"
        for split, theirs in (("train", "train"), ("test", "validation")):
            yield split, hub_rows(*_TRIVIAQA, theirs, ("question", "answer"), instead)
        return
    path = Path(source)
    if path.is_dir():
        named = [path / f"{name}.jsonl" for name in ("test", "validation")]
        last = next((p for p in named if p.is_file()), named[0])
        yield "train", json_lines(found(path / "train.jsonl", "TriviaQA's questions to mine"), ("answer",))
        yield "test", json_lines(found(last, "TriviaQA's validation questions"), ("answer",))
    else:
        yield "test", json_lines(found(path, "TriviaQA's questions, a JSON object a line"), ("answer",))


def _asked(row: dict, where: str) -> tuple[str, str, list[str], str | None]:
    """Question, answer and aliases of a row of TriviaQA."""
    question = row.get("question") or str(row.get("context") or "")
    question = question.strip().removeprefix("Question:").removesuffix("Answer:").strip()
    require(question, f"{where}: no question")
    nested = isinstance(row["answer"], dict)
    answer = row["answer"].get("value") if nested else row["answer"]
    aliases = row["answer"].get("aliases") if nested else row.get("aliases")
    require(isinstance(answer, str) and answer.strip(), f"{where}: no answer")
    listed = isinstance(aliases, list) and all(isinstance(a, str) for a in aliases)
    require(listed, f"{where}: no list of aliases, without which right answers would count as wrong")
    return question, answer.strip(), aliases, None


def _popqa(source: str | Path) -> Iterator[tuple[str, Iterable]]:
    path = Path(source)
    if str(source) == HUB:
        instead = "put lines of question, possible_answers, s_pop and o_pop in a file, and name it as the source"
        yield "test", hub_rows(_POPQA, None, "test", ("question", "possible_answers"), instead)
    elif path.suffix == ".json":
        content = json_file(found(path, "PopQA's lists dev and test"))
        lists = isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("dev", "test"))
        require(lists, f"{path}: no lists dev and test")
        for split, key in (("train", "dev"), ("test", "test")):
            yield split, [(f"{path}, {key} {i}", checked(r, f"{path}, {key} {i}", ())) for i, r in
                          enumerate(content[key], 1)]  # fmt: skip
    else:
        yield "test", json_lines(found(path, "PopQA's questions, a JSON object a line"), ())


_POPQA_ASKS = re.compile(
    r"(?:In what (?:city|country) (?:was|is)|What (?:sport does|genre is|color is|is the (?:religion|capital) of|is)|"
    r"Who (?:was|is) the [a-z]+ (?:of|for))\s(.+?)(?:'s occupation| play| born| the capital of)?\?"
)


def _asked_popqa(row: dict, where: str) -> tuple[str, str, list[str], str | None]:
    """Question, answer, aliases and subject of a row of PopQA, whose answers are a list written as JSON."""
    question, answers = row.get("question") or row.get("input"), row.get("possible_answers") or row.get("output")
    require(isinstance(question, str) and question.strip(), f"{where}: no question")
    try:
        answers = json.loads(answers) if isinstance(answers, str) else answers
    except ValueError:
        answers = None
    listed = isinstance(answers, list) and answers and all(isinstance(a, str) and a.strip() for a in answers)
    require(listed, f"{where}: no list of possible answers")
    named = _POPQA_ASKS.fullmatch(question.strip())
    subject = row.get("subj") or (named and named[1])
    return question.strip(), answers[0].strip(), answers[1:], subject


def _wikidata(source: str | Path) -> Iterator[tuple[str, Iterable]]:
    what = "cloze facts, lines of context and continuation,"
    require(str(source) != HUB, f"Wikidata's facts are read from a file; put {what} there and name it as the source")
    rows = json_lines(found(Path(source), what), ("context", "continuation"))
    yield "test", ((where, row | {"subject": _subject(str(row["context"]))}) for where, row in rows)


# "The language of X is", but "the country of citizenship of X is", "the sport played by X is", "X is capital of".
_INNER = "citizenship|birth|death|burial|origin|work|government|state"
_ENDS = (
    "is located in(?: or next to body of water)?|shares a border with|is (?:capital|facet) of|convicted of|"
    "is indigenous to|endemic to|given name|named after|is (?:followed|studied) by|follows|influenced by|owned by|"
    "replaced by|is territory claimed by|writing languages|programming language"
)
_CLOZE = (
    re.compile(rf"The .+?(?: of (?!(?:{_INNER})\b)| (?:used in|played by|signed by) )(.+?),? (?:is|are|was|were)"),
    re.compile(rf"(.+?) (?:{_ENDS})"),
)


def _subject(cloze: str) -> str | None:
    fitting = next(filter(None, (form.fullmatch(cloze.strip()) for form in _CLOZE)), None)
    return fitting and fitting[1]


def _pararel(source: str | Path) -> Iterator[tuple[str, Iterable]]:
    what = "ParaRel's folders trex_lms_vocab and graphs_json"
    require(str(source) != HUB, f"ParaRel is read from files; put {what} in a folder and name it as the source")
    facts = listed(folder(source, what), "trex_lms_vocab/*.jsonl")
    require(facts, f"{source}: no trex_lms_vocab/P….jsonl; it should hold {what}")
    yield "test", itertools.chain.from_iterable(map(_relation, facts))


def _relation(path: Path) -> Iterator[tuple[str, dict]]:
    """The facts of one relation as rows of context, continuation and subject; none where it has no pattern that
    ends in [Y]."""
    patterns = listed(path.parents[1], f"graphs_json/{path.name}")
    said = [row["pattern"].strip() for file in patterns[:1] for _, row in json_lines(file, ("pattern",))]
    fitting = [p for p in said if re.fullmatch(r"[^\[]*\[X\][^\[]* \[Y\] ?\.?", p)]
    if not fitting:
        return
    before = re.sub(r" \[Y\] ?\.?$", "", fitting[0])
    for where, row in json_lines(path, ("sub_label", "obj_label")):
        good = all(isinstance(row[k], str) and row[k].strip() for k in ("sub_label", "obj_label"))
        require(good, f"{where}: sub_label and obj_label must be texts")
        said = before.replace("[X]", row["sub_label"])
        yield where, {"context": said, "continuation": row["obj_label"], "subject": row["sub_label"]}


def _cloze(row: dict, where: str) -> tuple[str, str, list[str], str | None]:
    """Cloze, answer, no alias and subject of a fact."""
    texts = [row["context"], row["continuation"]]
    require(all(isinstance(t, str) and t.strip() for t in texts), f"{where}: context and continuation must be texts")
    return texts[0].strip(), texts[1].strip(), [], row["subject"]


def normalized_answer(text: str) -> str:
    """An answer as TriviaQA's own evaluation compares it: small letters, no punctuation, no articles, single blanks."""
    text = "".join(" " if c in _PUNCTUATION else c for c in text.replace("_", " ").lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def alias_match(output: str, answers: list[str]) -> float:
    """1 where the output is one of the aliases by :func:`normalized_answer`, else 0.

    Of articles and signs alone: see :func:`~taskgram_utils.tasks.base.matches`.
    """
    return matches(output, answers, normalized_answer)


def truth(world: World, examples: pd.DataFrame) -> pd.DataFrame:
    """The person's surname and the whole answer."""
    facts = world.facts().query("role == 0").drop_duplicates("fact")
    surname = {f"qa-{f}": p.split()[-1] for f, p in zip(facts["fact"], facts["person"], strict=True)}
    return pd.DataFrame({
        "example_id": examples["example_id"], "sx": examples["example_id"].map(surname).map(normalize),
        "sy": examples["y"].map(normalize)})  # fmt: skip


TASK = Task("factual_qa", "Factual QA", miniature, truth, {"exact_match": alias_match}, whole_answer=True,
            max_tokens=24, read=read)  # fmt: skip
