"""Pages on one task: what its tables say of Mem by the rules of book/doubt.md, in words."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_chapters import verdicts
from taskgram_chapters.numbers import number
from taskgram_chapters.page import listed
from taskgram_chapters.recorded import recorded
from taskgram_chapters.verdicts import AT, GIVEN, SLOPE, rows_of
from taskgram_utils import memorization
from taskgram_utils.mining_checks import holds_truth
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

MAIN = {"translation": "unseen", "factual_qa": "facts", "world_knowledge": "knowledge",
        "math_reasoning": "held_out"}
"""The group that a task's answer is about, where a run has it; else the one with most points."""
LMS = {"taskgram": "task-gram LM", "infinigram": "∞-gram LM"}
WAYS = {"spearman": "raw", "spearman|log_count_sy": "given output frequency",
        GIVEN: "given all four controls", "minus its placebo": "minus its placebo",
        "without": "without the two most frequent outputs"}
_SHOWS = {"positive": "positive", "negative": "negative", "none": "within ±.15",
          "not decided": "not decided"}
_BY_SIZE = {"positive": "rises", "negative": "falls", "none": "changes by less than .1",
            "not decided": "not decided"}
_ABOUT, _NOT, _BARRED = "about the pairs", "not about the pairs", "barred"
_ANSWERS = {
    _ABOUT: "**Yes.** The model's confidence follows the pairs, and no control takes this away.",
    _NOT: "**Not shown.** Mem does not pass every control, so it may come from something other "
          "than the pairs.",
    _BARRED: "**This cannot be measured here.**"}
_MEANS = {
    "translation": {
        _ABOUT: "The model is surer of a Velti phrase where more documents have it together with "
                "its English side. Word frequency does not explain that. A translator can know "
                "the rule and still carry a trace of the text.",
        _NOT: "A frequent word is easier to predict, whichever English word stands beside it, and "
              "this alone can make a raw Mem. A memory of translated pairs is not shown. Accuracy "
              "says what Mem cannot: whether the model translates.",
        _BARRED: "Too few of the mined pairs are translations of each other. A Mem of other pairs "
                 "would say nothing about translation."},
    "factual_qa": {
        _ABOUT: "No rule leads from a person to a birthplace. A model can only know such a fact "
                "from its text, and it is surer of the facts that more documents state. "
                "Only changed counts can show whether the count is the *cause*: {doc}`15_cause`.",
        _NOT: "No rule leads from a person to a birthplace, so each right answer was read "
              "somewhere. Still, these counts are not shown to say which answers the model is "
              "sure of. Mem can miss memory that accuracy shows.",
        _BARRED: "Too few of the mined pairs name a person and the value of the fact. A Mem of "
                 "other pairs would say nothing about facts."},
    "world_knowledge": {
        _ABOUT: "Knowledge questions ask in new words for facts that the text states. The model "
                "is surer of the right option where more documents contain person and value. "
                "This does not say how the model "
                "answers where the text does not state the answer.",
        _NOT: "Knowledge questions ask for facts that the text states, and the right answers show "
              "that the model has read them. These counts are not shown to say of which it is "
              "surer.",
        _BARRED: "Too few of the mined pairs name a person and the answer, so this test of world "
                 "knowledge says nothing about knowledge or reasoning."},
    "math_reasoning": {
        _ABOUT: "The pairs that were mined carry the task, and the model is surer of outputs that "
                "share documents with their inputs. Look at the pairs before you call this "
                "memory: numbers that occur together are also numbers of sums of one kind.",
        _NOT: "Mem is not shown to be about operands and results. A model that calculates needs "
              "no pair counts, and a model that cannot calculate need not follow them either: "
              "only accuracy tells the two apart.",
        _BARRED: "Mem compares the model with pairs, and the pairs mined here are hardly ever "
                 "operand and result. So neither a high nor a low Mem would say whether the model "
                 "remembers sums or calculates them. Only accuracy on sums that the text lacks "
                 "tells the two apart."}}
"""What a page says its task's Mem means, by the standing of the main group."""


class Result(NamedTuple):
    """What is known of a task at one n (of a group without that n: at its largest):
    :func:`~taskgram_chapters.verdicts.evidence` of this run and of suite C, the standing of each
    group, the preregistered claims, Mem by size, the shares of true pairs, scores, and whether the
    truth is known."""

    task: str
    n: int
    own: pd.DataFrame
    other: pd.DataFrame
    groups: pd.DataFrame
    claims: pd.DataFrame
    mem: pd.DataFrame
    precision: pd.DataFrame
    scores: pd.DataFrame
    known: bool = True

    @property
    def main(self) -> str | None:
        """The group that the answer is about; None where no group has a Mem."""
        if MAIN.get(self.task) in set(self.groups["group"]):
            return MAIN[self.task]
        raw = rows_of(self.own, {"measure": "spearman", "count_model": "taskgram", "n": self.n})
        most = raw["points"].fillna(0).astype(float)
        return None if raw.empty else raw.loc[most.idxmax(), "group"]

    def standing(self, group: str | None) -> pd.Series:
        """Its row of the standings; barred where there is none."""
        found = self.groups[self.groups["group"] == group]
        barred = pd.Series({"group": group, "standing": _BARRED, "reason": "no pair was mined"})
        return barred if found.empty else found.iloc[0]


def result(run: Run, task: str, n: int) -> Result:
    """Everything that the page of a task needs, by the rules of book/doubt.md.

    The noise of training and suite C are those recorded for the miniature world; where the truth of
    the text is not known, neither is used, and no claim is made. Raises InputError for a task or an
    n that the run lacks.
    """
    task, n = pipeline.check_task(run, task), pipeline.check_order(run, n)
    known = pipeline.truth_known(run)
    grams, mem = run.table("taskgrams"), run.table(f"memorization/{task}")
    pairs = rows_of(grams, {"task": task})
    precision = verdicts.precision(
        pairs, run.table("gammas"), run.table("true_pairs") if known else None)
    names = ("partial", "difference_to_infinigram", "slopes", "without_most_frequent", "placebo")
    here = {name: run.table(f"{name}/{task}") for name in names} | {"precision": precision}
    noise = verdicts.training_noise(recorded("reseeds").tables["reseeds"]) if known else None
    own = _at(verdicts.evidence(here, noise), n)
    other = own.iloc[:0]
    if known:
        tables = {name: rows_of(table, {"suite": "C", "task": task}) for name, table in
                  recorded("seeds").tables.items() if name in here}
        other = _at(verdicts.evidence({"precision": precision} | tables, noise), n)
    groups = verdicts.groups(own, other, n)
    expected = rows_of(verdicts.read_expectations(), {"task": task, "n": n})
    claims = verdicts.claims(expected, own, other, groups) if len(expected) else expected
    mem = _at(pipeline.at_last_step(rows_of(mem, {"measure": "spearman"})), n)
    mem = mem[mem["model"].isin(pipeline.family(run))]
    scores = pipeline.at_last_step(run.table("performance"))
    scores = rows_of(scores, {"task": task, "metric": ["exact_match", "accuracy"],
                              "model": pipeline.main_model(run)})
    return Result(task, n, own, other, groups, claims, mem, _at(precision, n), scores, known)


def _at(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Of each group the rows of n or, where it has none, of its largest n, as rows of n."""
    largest = table["n"].where(table["n"] != n, np.inf).groupby(table["group"]).transform("max")
    return table[(table["n"] == n) | (table["n"] == largest)].assign(n=n)


def points(run: Run, found: Result) -> pd.DataFrame:
    """The points of the main group under the task-gram LM, with log P of every model at its last
    step (:func:`taskgram_utils.memorization.points`)."""
    inputs = pipeline.memorization_inputs(run, found.task, last=True)
    table = memorization.points(rows_of(inputs["count_model"], {"model": "taskgram"}),
                                inputs["model"])
    return _at(rows_of(table, {"group": found.main}), found.n)


# --- tables and figures ---------------------------------------------------------------------------


def mined(run: Run, task: str, n: int, shown: int) -> pd.DataFrame:
    """Distinct pairs of each group, evenly spread from the most frequent to the rarest: group, both
    n-grams, documents with both and, where the truth is known, whether the pair is a true one."""
    pairs = rows_of(run.table("taskgrams"), {"task": task, "n": n})
    if pipeline.truth_known(run):
        pairs = pairs.assign(true=holds_truth(pairs, run.table("true_pairs")))
        pairs["true"] = np.where(pairs["true"], "yes", "no")
    counts = run.table("counts")
    whole = counts[counts["half"].isna() & counts["sy"].notna()]
    pairs = pairs.drop_duplicates(["group", "sx", "sy"]).merge(whole[["sx", "sy", "count"]])
    pairs = pairs.sort_values(["count", "sx", "sy"], ascending=[False, True, True])
    parts = []
    for _, part in pairs.groupby("group", sort=False):
        places = np.linspace(0, len(part) - 1, min(shown, len(part))).round().astype(int)
        parts.append(part.iloc[places])
    table = pd.concat(parts).assign(group=lambda t: t["group"].str.replace("_", " "))
    table["count"] = table["count"].map("{:,}".format)
    names = {"group": "group", "sx": "in the input", "sy": "in the output",
             "count": "documents with both", "true": "true pair"}
    return table.rename(columns=names)[[names[c] for c in names if c in table]]


def sized(found: Result) -> pd.DataFrame:
    """Mem by size, a row per group, count-based model and size; ``panel`` names the group, and says
    why it has no Mem where that is so (then ``grey``)."""
    table = found.mem.assign(against=found.mem["count_model"].map(LMS))
    return _panelled(found, table)


def controlled(found: Result) -> pd.DataFrame:
    """Mem of the largest model in every way of :data:`WAYS` and under the ∞-gram LM, a row per
    group, way and suite, with the noise of training in the intervals; ``panel``, ``grey`` as in
    :func:`sized`."""
    suites = {"this run": found.own, "suite C": found.other}
    both = pd.concat([t.assign(suite=name) for name, t in suites.items() if len(t)])
    both = rows_of(both, {"question": AT, "n": found.n})
    raw = (both["count_model"] == "infinigram") & (both["measure"] == "spearman")
    both["way"] = both["measure"].map(WAYS).where(both["count_model"] == "taskgram")
    both.loc[raw, "way"] = "raw, under the ∞-gram LM"
    order = {way: k for k, way in enumerate(WAYS.values())}
    both = both.dropna(subset=["way"]).sort_values(
        "way", key=lambda ways: ways.map(order).fillna(len(order)), kind="stable")
    both = _panelled(found, both.sort_values("suite", ascending=False, kind="stable"))
    return both[~both["grey"] | (both["suite"] == "this run")]  # one grey: the suites look alike


def _panelled(found: Result, table: pd.DataFrame) -> pd.DataFrame:
    barred = found.groups[found.groups["standing"] == _BARRED].set_index("group")["reason"]
    names = table["group"].str.replace("_", " ")
    why = table["group"].map({group: f"\n{reason}" for group, reason in barred.items()})
    return table.assign(panel=names + why.astype(object).fillna(""), grey=why.notna())


# --- sentences ------------------------------------------------------------------------------------


def answer(found: Result) -> str:
    """The page's answer: the verdict on the main group, and its numbers."""
    text = f"{_ANSWERS[found.standing(found.main)['standing']]} {of_group(found, found.main)}"
    return text if found.known else f"{text} One suite of models says so; nothing is replicated."


def of_group(found: Result, group: str | None) -> str:
    """What may be said of the Mem of one group: raw, in this run and in suite C, and what the
    controls leave of it."""
    row = found.standing(group)
    if row["standing"] == _BARRED:
        why = row["reason"].removeprefix("no Mem: ")
        return f"We report no Mem for {_name(group)}: {why}."
    own, other = _ways(found.own, found, group), _ways(found.other, found, group)
    raw, there = own.get("spearman"), other.get("spearman")
    text = f"In {_name(group)} Mem of the largest model is {_shown(raw)}"
    if there is not None:
        same = raw["shows"] == there["shows"]
        text += f" (suite C: {_value(there) if same else _shown(there)})"
    controls = [way for way in verdicts.WAYS.values() if way != "spearman"]
    if row["standing"] == _ABOUT:
        left = [f"{WAYS[way]} ({_value(own[way])})" for way in controls]
        return f"{text}. It is still positive {listed(left)}."
    if raw["shows"] != "positive":
        return f"{text}."
    lost = _lost({way: own.get(way) for way in controls})
    of_c = [f"in suite C {one}" for one in _lost(other)]
    return f"{text}. But {listed(lost or of_c)}."


def _lost(rows: Mapping[str, pd.Series | None]) -> list[str]:
    """The ways in which a Mem is not found, in words, with the numbers in brackets."""
    shown = {way: "not computed" if row is None else f"{_SHOWS[row['shows']]} ({_value(row)})"
             for way, row in rows.items() if row is None or row["shows"] != "positive"}
    return [f"{WAYS[way]} it is {text}" for way, text in shown.items()
            if way in verdicts.WAYS.values()]


def others(found: Result) -> str:
    """A sentence for each group but the main one; empty where there is none."""
    groups = [group for group in found.groups["group"] if group != found.main]
    return " ".join(of_group(found, group) for group in groups)


def against(found: Result) -> str:
    """How Mem compares with Mem under the ∞-gram LM, in the preregistered groups."""
    return _claimed(found, AT, "taskgram - infinigram")


def by_size(found: Result) -> str:
    """Whether Mem changes with size, in the preregistered groups."""
    return _claimed(found, SLOPE, "taskgram")


def _claimed(found: Result, question: str, count_model: str) -> str:
    if found.claims.empty:
        return "Nothing was preregistered for this text, so nothing is claimed."
    slope, parts = question == SLOPE, []
    words, unit = (_BY_SIZE, " per tenfold size") if slope else (_SHOWS, "")
    chosen = {"question": question, "count_model": count_model}
    for _, row in rows_of(found.claims, chosen).dropna(subset=["standing"]).iterrows():
        what = row["what"].split(": ", 1)[1]
        start = f"In {_name(row['group'])}, {'the slope of ' if slope else ''}{what} is"
        here, there = _value(row), number(row["estimate_c"], row["low_c"], row["high_c"])
        if row["status"] == "made":
            verb = "" if slope else "is "
            parts.append(f"In {_name(row['group'])}, {what} {verb}{words[row['shows']]}{unit}: "
                         f"{here}; suite C {there}.")
        elif row["status"] in ("not replicated", "not decided"):
            parts.append(f"{start} {row['status']} (this run: {words[row['shows']]}, {here}; suite "
                         f"C: {words[row['shows_c']]}, {there}).")
        elif row["status"] == "not recorded":
            parts.append(f"{start} known of one suite only, so nothing is claimed.")
    missing = ("Nothing is claimed of the slope of Mem with size, as there is no Mem, or none that "
               "is shown to be about the pairs.") if slope else (
               "No comparison with the ∞-gram LM was preregistered here, so none is claimed.")
    return " ".join(parts) or missing


def shares(found: Result) -> str:
    """The share of true pairs among those mined, by group."""
    at_n = found.precision.dropna(subset=["precision"])
    parts = [f"{true:.0%} in {_name(group)}" for group, true in
             at_n[["group", "precision"]].itertuples(index=False)]
    how = "" if found.known else ", by an estimate from shuffled pairs"
    return f"Of the mined pairs these shares are true ones{how}: {listed(parts)}." if parts else ""


def right(found: Result) -> str:
    """How many answers of the largest model are right, by group."""
    parts = [f"{row.score:.0%} [{row.low:.0%}, {row.high:.0%}] of the {row.examples:,} examples of "
             f"{_name(row.group)}" for row in found.scores.itertuples()]
    return f"At the last step the largest model gets right: {listed(parts)}." if parts else ""


def meaning(found: Result) -> str:
    """What the standing of the main group means for the task."""
    return _MEANS[found.task][found.standing(found.main)["standing"]]


def most_frequent(found: Result, run: Run, *groups: str) -> str:
    """What the two most frequent outputs of these groups (else of all) are, their share of the
    points, and Mem of the largest model with and without them."""
    rest = rows_of(run.table(f"without_most_frequent/{found.task}"),
                   {"n": found.n, "model": pipeline.main_model(run),
                    "group": list(groups or found.groups["group"])})
    parts = []
    for row in rest.itertuples():
        own = _ways(found.own, found, row.group)
        if {"spearman", "without"} <= own.keys():
            parts.append(f"in {_name(row.group)} {row.most_frequent} have {row.share:.1%} of the "
                         f"points; the correlation is {_value(own['spearman'])} with them and "
                         f"{_value(own['without'])} without")
    text = "; ".join(parts)
    return text and f"{text[0].upper()}{text[1:]}."


def _ways(evidence: pd.DataFrame, found: Result, group: str | None) -> dict[str, pd.Series]:
    """The rows of the largest model's Mem by measure, where there is an estimate."""
    chosen = {"question": AT, "count_model": "taskgram", "n": found.n, "group": group}
    rows = rows_of(evidence, chosen).dropna(subset=["estimate"])
    return {row["measure"]: row for _, row in rows.iterrows()}


def _value(row: pd.Series) -> str:
    return number(row["estimate"], row["low"], row["high"], row["points"])


def _shown(row: pd.Series | None) -> str:
    return "not measured" if row is None else f"{_SHOWS[row['shows']]}, {_value(row)}"


def _name(group: str | None) -> str:
    return f"*{(group or 'this task').replace('_', ' ')}*"
