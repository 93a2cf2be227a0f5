"""Factual question answering: one short answer to a question about a person, place or thing."""

import itertools
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.folders import listed
from taskgram_utils.miniature.words import QUESTIONS
from taskgram_utils.miniature.world import World, prompt
from taskgram_utils.tasks import files
from taskgram_utils.tasks.base import Task, example, matches, table, test_size
from taskgram_utils.tasks.base import surname_and_answer as truth
from taskgram_utils.texts import read_text

INSTRUCTION = ("Provide a word or a short phrase as the answer to the given factual question.\n"
               "Question: {x}\nAnswer:")
_PUNCTUATION = set(string.punctuation + "‘’´`")


def miniature(world: World) -> pd.DataFrame:
    """``test``: every fact that no document asks; ``train``: facts that some documents ask."""
    facts = world.facts().query("role == 0").drop_duplicates("fact")
    asked, unasked = facts[facts["asked"]].head(test_size(world, 600)), facts[~facts["asked"]]
    return table("factual_qa", [
        example(f"qa-{r.fact}", split, "facts", prompt("factual_qa", 0),
                QUESTIONS[r.relation][0].replace("{p}", r.person), r.value)
        for split, part in (("test", unasked), ("train", asked)) for r in part.itertuples()])


Fact = tuple[str, list[str], str | None]
"""A question, its right answers, and the subject's name where it is known."""


def read(source: str | Path = files.HUB, dataset: str = "triviaqa") -> pd.DataFrame:
    """TriviaQA, PopQA, or cloze facts of Wikidata or ParaRel, from the hub or local files.

    TriviaQA: rc.nocontext, ``train`` to mine and its validation split as ``test``. A folder has
    train.jsonl and test.jsonl (or validation.jsonl), a single file is all ``test``; lines have
    question (or context: "Question: … Answer:"), answer and aliases, or, as on the hub, an answer
    with value and aliases. PopQA: lines, or a JSON file with the lists dev (here ``train``) and
    test, of question (or input), possible_answers (or output), s_pop, o_pop. Wikidata: lines of
    context ("The capital of France is") and continuation. ParaRel: a folder with its folders
    trex_lms_vocab (sub_label, obj_label) and graphs_json, whose first pattern that ends in [Y] is
    the cloze. The latter two are read from files alone, and all of them is ``test``.

    ``sx`` is the subject's name where the data set gives it or its wording shows it (PopQA,
    Wikidata, ParaRel). ``popularity`` is the number of monthly page views of the subject,
    ``answer_popularity`` that of the answer (PopQA; null elsewhere).

    Raises InputError for another data set, and for a row without question, answer or list of
    aliases.
    """
    require(dataset in DATASETS, f"data set {dataset}: not one of {', '.join(DATASETS)}")
    splits, fact_of, instruction = DATASETS[dataset]
    rows = []
    for split, records in splits(source):
        for number, (where, row) in enumerate(records, 1):
            question, answers, subject = fact_of(row, where)
            views = [row.get("s_pop"), row.get("o_pop")]
            require(all(isinstance(v, int | float | None) for v in views),
                    f"{where}: s_pop and o_pop must be numbers, or absent")
            rows.append(example(
                f"{dataset}-{split}-{number}", split, dataset, instruction, question, answers[0],
                popularity=views[0], answer_popularity=views[1], sx=subject,
                answers=list(dict.fromkeys(answers))))
    require(rows, f"{source}: holds no question")
    kinds = {"popularity": "Float64", "answer_popularity": "Float64", "sx": "str"}
    return table("factual_qa", rows).astype(kinds)


def _triviaqa(source: str | Path) -> Iterator[tuple[str, files.Rows]]:
    what, path = "TriviaQA's questions, lines of question, answer and aliases,", Path(source)
    if str(source) == files.HUB:
        for split, original in (("train", "train"), ("test", "validation")):
            yield split, files.hub_rows("mandarjoshi/trivia_qa", "rc.nocontext", original, what)
    elif path.is_dir():
        test = path / "test.jsonl"
        yield "train", files.json_lines(path / "train.jsonl", what)
        yield "test", files.json_lines(test if test.is_file() else path / "validation.jsonl", what)
    else:
        yield "test", files.json_lines(path, what)


def _triviaqa_fact(row: dict, where: str) -> Fact:
    question = files.text(row, where, "question", "context")
    question = question.removeprefix("Question:").removesuffix("Answer:").strip()
    require(question, f"{where}: no question")
    holder = row["answer"] if isinstance(row.get("answer"), dict) else row
    answer, aliases = files.text(holder, where, "answer", "value"), holder.get("aliases")
    require(files.texts(aliases), f"{where}: no list of aliases; right answers would seem wrong")
    return question, [answer, *aliases], None


def _popqa(source: str | Path) -> Iterator[tuple[str, files.Rows]]:
    what, path = "PopQA's questions, lines of question and possible_answers,", Path(source)
    if str(source) == files.HUB:
        yield "test", files.hub_rows("akariasai/PopQA", None, "test", what)
    elif path.suffix == ".json":
        lists = files.parsed(read_text(files.existing(path, what)), str(path))
        for split, key in (("train", "dev"), ("test", "test")):
            rows = lists.get(key) if isinstance(lists, dict) else None
            require(isinstance(rows, list) and all(isinstance(row, dict) for row in rows),
                    f"{path}: no lists dev and test of questions")
            yield split, ((f"{path}, {key} {i}", row) for i, row in enumerate(rows, 1))
    else:
        yield "test", files.json_lines(path, what)


_POPQA_QUESTION = re.compile(
    r"(?:In what (?:city|country) (?:was|is)|"
    r"What (?:sport does|genre is|color is|is the (?:religion|capital) of|is)|"
    r"Who (?:was|is) the [a-z]+ (?:of|for))\s(.+?)"
    r"(?:'s occupation| play| born| the capital of)?\?")


def _popqa_fact(row: dict, where: str) -> Fact:
    question = files.text(row, where, "question", "input")
    answers = row.get("possible_answers") or row.get("output")
    lack = f"{where}: no list of possible answers"
    answers = files.parsed(answers, lack) if isinstance(answers, str) else answers
    require(files.texts(answers) and answers and all(map(str.strip, answers)), lack)
    match = _POPQA_QUESTION.fullmatch(question)
    subject = row.get("subj") or (match and match[1])
    return question, [answers[0].strip(), *answers[1:]], subject


def _wikidata(source: str | Path) -> Iterator[tuple[str, files.Rows]]:
    what = "Wikidata's facts, lines of context and continuation,"
    yield "test", files.json_lines(files.local(source, what), what)


# "The language of X is", but "the country of citizenship of X is", "the sport played by X is",
# "X is capital of".
_INNER = "citizenship|birth|death|burial|origin|work|government|state"
_ENDS = (
    "is located in(?: or next to body of water)?|shares a border with|is (?:capital|facet) of|"
    "convicted of|is indigenous to|endemic to|given name|named after|is (?:followed|studied) by|"
    "follows|influenced by|owned by|replaced by|is territory claimed by|writing languages|"
    "programming language")
_WIKIDATA_CLOZE = re.compile(
    rf"The .+?(?: of (?!(?:{_INNER})\b)| (?:used in|played by|signed by) )(.+?),? "
    rf"(?:is|are|was|were)|(.+?) (?:{_ENDS})")


def _wikidata_fact(row: dict, where: str) -> Fact:
    cloze, answer = files.text(row, where, "context"), files.text(row, where, "continuation")
    match = _WIKIDATA_CLOZE.fullmatch(cloze)
    return cloze, [answer], match and (match[1] or match[2])


def _pararel(source: str | Path) -> Iterator[tuple[str, files.Rows]]:
    what = "ParaRel's folders trex_lms_vocab and graphs_json"
    paths = listed(files.local(source, what), "trex_lms_vocab/*.jsonl")
    require(paths, f"{source}: no such folder, or no trex_lms_vocab/P….jsonl; put {what} there")
    yield "test", itertools.chain.from_iterable(map(_relation, paths))


def _relation(path: Path) -> files.Rows:
    """The facts of a relation, with ``before``: its first pattern that ends in [Y], up to there.

    A relation without such a pattern has none.
    """
    for graph in listed(path.parents[1], f"graphs_json/{path.name}")[:1]:
        rows = files.json_lines(graph, "patterns")
        patterns = [files.text(row, where, "pattern") for where, row in rows]
        matches = (re.fullmatch(r"([^\[]*\[X\][^\[]*) \[Y\] ?\.?", p) for p in patterns)
        if match := next(filter(None, matches), None):
            for where, row in files.json_lines(path, "facts"):
                yield where, {**row, "before": match[1]}


def _pararel_fact(row: dict, where: str) -> Fact:
    subject, answer = files.text(row, where, "sub_label"), files.text(row, where, "obj_label")
    return row["before"].replace("[X]", subject), [answer], subject


DATASETS = {
    "triviaqa": (_triviaqa, _triviaqa_fact, INSTRUCTION),
    "popqa": (_popqa, _popqa_fact, INSTRUCTION),
    "wikidata": (_wikidata, _wikidata_fact, ""),
    "pararel": (_pararel, _pararel_fact, ""),
}
"""How each data set is read: its splits, the fact of a row, and the instruction before it."""


def normalized_answer(answer: str) -> str:
    """An answer as TriviaQA's own evaluation compares it.

    In small letters, without punctuation and articles, with single blanks.
    """
    answer = "".join(" " if c in _PUNCTUATION else c for c in answer.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer).split())


def alias_match(output: str, answers: list[str]) -> float:
    """1 where the output is one of the aliases by :func:`normalized_answer`, else 0.

    An answer of articles and signs alone is compared as
    :func:`~taskgram_utils.tasks.base.matches` says.
    """
    return matches(output, answers, normalized_answer)


TASK = Task("factual_qa", "Factual QA", miniature, truth, {"exact_match": alias_match},
            full_answer=True, max_tokens=24, read=read)
