"""The chapter on real text: its answer, tables and sentences, from the tables of real_text."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from taskgram_chapters import verdicts
from taskgram_chapters.numbers import numbers, said, short
from taskgram_chapters.real_text import MIN_EXAMPLES, enough, real_tables
from taskgram_chapters.recorded import recorded
from taskgram_chapters.scoring_page import size_name
from taskgram_chapters.verdicts import AT, BOUNDS, GIVEN, SLOPE, rows_of
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

KINDS = {"spearman": "raw", GIVEN: "given all four"}
ENDS = ("estimate", "low", "high", "points")


class Source(NamedTuple):
    """The tables of real text by name, how they were made, and examples that a Mem needs."""

    tables: dict[str, pd.DataFrame]
    made: str
    min_examples: int


def source(run: Run) -> Source:
    """The tables of a run of real text; those recorded, where the run draws its own world."""
    if run.get("world") is None:
        return Source(real_tables(run), "The results on this page were computed in this run.",
                      run.parameters.get("min_examples", MIN_EXAMPLES))
    tables, note = recorded("openbook")
    return Source(tables, f"The results on this page are recorded ({note['date']}).",
                  note["parameters"].get("min_examples", MIN_EXAMPLES))


def largest_models(models: pd.DataFrame) -> dict[str, str | None]:
    """The largest model that was trained on this text, and the largest of other text."""
    last = models.sort_values("parameters").groupby("has_read")["model"].last()
    return {"suite": last.get("this text"), "proxy": last.get("other text")}


def model_table(models: pd.DataFrame) -> pd.DataFrame:
    """The models in the order of their sizes."""
    models = models.sort_values("parameters")
    count = "{:,.0f}".format
    return pd.DataFrame({
        "model": models["model"], "parameters": models["parameters"].map(count),
        "trained on": models["has_read"], "tokens": models["tokens"].map(count, "ignore"),
        "loss (nats a token)": models["loss"].map("{:.2f}".format, "ignore")})


def coverage_table(covered: pd.DataFrame, known: pd.DataFrame, min_examples: int) -> pd.DataFrame:
    """What a text contains of each group, and whether there is a Mem; ``known``: the shares of true
    pairs."""
    table = covered.merge(known, "left", ["task", "group", "n"])
    inputs, true = table["examples_input_in_corpus"], table["precision"]
    pairs = table["examples_pair_in_corpus"].astype(float) / inputs.astype(float)
    why = pd.Series("yes", table.index).mask(true < verdicts.LEAST, "no: few true pairs")
    share = "{:.0%}".format
    return pd.DataFrame({
        "group": table["group"] + ", n = " + table["n"].astype("Int64").astype(str),
        "questions": table["examples"].map("{:,}".format),
        "with input in the text": inputs.map("{:,}".format),
        "of these with a pair": pairs.map(share, "ignore"),
        "mining precision (estimate, at most)": true.map(share, "ignore"),
        "Mem": why.mask((inputs < min_examples).astype(bool), "no: too few questions")})


def readable(table: pd.DataFrame, covered: pd.DataFrame, known: pd.DataFrame, least: int
             ) -> pd.DataFrame:
    """The rows of groups with enough examples and true pairs, of each group at its largest n."""
    table = enough(table, covered, least)
    table = table[verdicts.barred(table, known).isna()]
    table = table[table["n"] == table.groupby("group")["n"].transform("max")]
    kinds = table.get("measure", pd.Series("spearman", table.index)).map(KINDS)
    table = table.assign(where=table["group"], Mem=kinds)
    return table[kinds.notna() & (table.get("count_model", "") != "infinigram")]


def beside_the_miniature(real: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """Mem by size of the recorded miniature suite and of real text, as a figure takes it."""
    mini = rows_of(recorded("seeds").tables["partial"], {
        "suite": "B", "n": 2, "count_model": "taskgram", "measure": list(KINDS),
        "group": ["facts", "knowledge"]})
    mini = mini.assign(Mem=mini["measure"].map(KINDS), set="miniature: " + mini["group"])
    other = real["model"].isin(models.loc[models["has_read"] != "this text", "model"])
    kinds = real["Mem"].mask(other, real["Mem"] + ", other text")
    both = pd.concat([mini, real.assign(Mem=kinds, set="real: " + real["group"])])
    return both[["set", "Mem", "model", "parameters", "estimate", "low", "high", "points",
                 "examples"]]


def mem_table(real: pd.DataFrame, whose: Mapping[str, str | None]) -> pd.DataFrame:
    """Raw and partial Mem of the largest model of this text, and of that of another."""
    there = [model for model in whose.values() if model]
    rows = rows_of(real, {"model": there})
    rows = rows.assign(value=numbers(rows), head=rows["model"] + ", " + rows["Mem"])
    heads = [f"{model}, {kind}" for model in there for kind in KINDS.values()]
    wide = rows.pivot(index=["group", "points"], columns="head", values="value")
    wide = wide.reindex(columns=heads).reset_index().rename(columns={"points": "N"})
    return wide.assign(N=wide["N"].map("{:,.0f}".format))


def difference_table(difference: pd.DataFrame) -> pd.DataFrame:
    """Mem under the two count-based models and their difference."""
    two = difference[["estimate_of", "estimate_to"]].astype(float).map(short)
    return pd.DataFrame({
        "group": difference["group"], "model": difference["model"],
        "task-gram LM": two["estimate_of"], "∞-gram LM": two["estimate_to"],
        "difference": numbers(difference), "N": difference["points"].map("{:,.0f}".format)})


def score_table(performance: pd.DataFrame, whose: Mapping[str, str | None]) -> pd.DataFrame:
    """Scores of the two largest models, and how many of their answers are empty or cut off."""
    rows = rows_of(pipeline.at_last_step(performance), {
        "metric": ["exact_match", "accuracy"], "model": [m for m in whose.values() if m]})
    ends = rows.reindex(columns=["empty", "at_bound"])
    rows = rows.assign(score=numbers(rows, "score", "low", "high"), ends=[
        None if pd.isna(b) else f"{a:.0f}, {b:.0f}" for a, b in ends.to_numpy(float)])
    wide = rows.pivot(index=["group", "examples"], columns="model", values=["score", "ends"])
    heads = {"score": "score", "ends": "empty, cut off"}
    wide.columns = [f"{model}: {heads[what]}" for what, model in wide.columns]
    order = sorted(wide, key=lambda head: head.split(":")[0] != whose["suite"])
    return wide[order].reset_index().rename(columns={"examples": "N"})


def views_table(views: pd.DataFrame, whose: Mapping[str, str | None]) -> pd.DataFrame:
    """Correlations of log P with counts and with page views; empty where no example has any."""
    names = {("taskgram", "spearman"): "counts (task-gram LM)", ("popularity", "spearman"):
             "page views", ("taskgram", "spearman|popularity"): "counts, given page views"}
    if not len(views):
        return pd.DataFrame({"page views": ["none in this run"]})
    pairs = zip(views["count_model"], views["measure"], strict=True)
    rows = views.assign(value=numbers(views), correlation=[names.get(pair) for pair in pairs])
    rows = rows_of(rows.dropna(subset=["correlation"]), {"model": [m for m in whose.values() if m]})
    wide = rows.pivot(index=["correlation", "points"], columns="model", values="value")
    return wide.reset_index().rename(columns={"points": "N"})


def verdict_table(judged: pd.DataFrame) -> pd.DataFrame:
    """Every preregistered expectation against what was found."""
    of = {"suite": "largest of this text", "proxy": "of other text", "slope": "slope with size"}
    return pd.DataFrame({
        "of": judged["of"].map(of), "measure": judged["measure"], "group": judged["group"],
        "expected": judged["expected"], "found": judged["found"]})


# --- sentences ------------------------------------------------------------------------------------


def findings(
    real: pd.DataFrame, slopes: pd.DataFrame, difference: pd.DataFrame, facts: pd.DataFrame,
    performance: pd.DataFrame, whose: Mapping[str, str | None],
) -> dict[str, str]:
    """The answer of the chapter, in sentences: the ``lead``, the largest model of this text
    (``suite``), what it answers (``scores``) and gains, that of another (``proxy``), ``size`` and
    the ``infinigram`` LM; none for what is not there."""
    texts, leads = {"lead": ""}, []
    for whom, text in (("suite", "trained on this very text"), ("proxy", "trained on other text")):
        whole = f"the largest model {text} ({size_name(str(whose[whom]))})"
        rows, name = rows_of(real, {"model": whose[whom]}), spelt(whose[whom])
        raw, given = (rows[rows["Mem"] == kind] for kind in KINDS.values())
        left = given[given["low"] > 0]
        small = (left["high"] <= BOUNDS[AT]).map({True: " (below the bound .15)", False: ""})
        left = left.assign(where=left["where"] + small)
        many = said((", with four controls held constant in:", left), ends=ENDS) or (
            ", with four controls held constant in none.")
        ends = given[["low", "high"]].to_numpy()
        kinds = [verdicts.direction(*pair, BOUNDS[AT]) for pair in ends]
        counts = [f"{kinds.count(kind)} {kind}" for kind in ("negative", "none", "not decided")
                  if kind in kinds]
        counts = f" ({', '.join(counts)})" if len(left) < len(given) else ""
        leads += [(len(left), len(given), f"in {len(left)} of {len(given)} groups for {whole}"
                   + counts)] * bool(len(rows))
        texts[whom] = (f"Raw Mem of {name} lies above zero in {(raw['low'] > 0).sum()} of "
                       f"{len(raw)} groups{many}") * bool(len(rows))
        if whom == "suite":
            texts["scores"] = of_scores(performance, whose[whom])
            texts["gain"] = verdicts.told(rows_of(facts, {"model": whose[whom]}), {
                "positive": "Its answers gain more where a document has the pair in",
                "negative": "Its answers gain less, not more, where a document has the pair in"},
                0, ("difference", "low", "high"))
    if leads:
        k, m, _ = leads[0]
        word = {0: "Not shown", m: "Yes"}.get(k, "Shown in some groups")
        of = ", and ".join(text for *_, text in leads)
        texts["lead"] = f"**{word}: with four controls held constant, Mem lies above zero {of}.**"
    rows = slopes[slopes["Mem"] == "raw"]
    texts["size"] = (f"Raw Mem rises with size in {(rows['low'] > 0).sum()} of {len(rows)} groups."
                     ) * bool(len(rows))
    lower = rows_of(difference, {"model": whose["suite"] or whose["proxy"]})
    texts["infinigram"] = (f"Plain continuation statistics predict the ranking of "
                           f"{spelt(whose['suite'] or whose['proxy'])} better than task-grams in "
                           f"{(lower['high'] < 0).sum()} of {len(lower)}.") * bool(len(lower))
    return texts


def spelt(model: str | None) -> str:
    """A model's name in prose: a size such as ``3m`` is 3M."""
    return model.upper() if model and model[0].isdigit() else model or "no model here"


def of_scores(performance: pd.DataFrame, model: str | None) -> str:
    """How many answers of a model are right, at most, of those that it writes."""
    rows = rows_of(pipeline.at_last_step(performance), {
        "metric": ["exact_match", "accuracy"], "model": model})
    rows = rows.dropna(subset=["at_bound"])
    many, rows = rows["group"].nunique(), rows.nlargest(1, "score")
    most = rows["score"].mul(rows["examples"]).round().astype(int)
    return "".join(f"In none of the {many} groups where it writes its answers "
                   f"{f'are over {k}' if k else 'is any'} of {n} right."
                   for k, n in zip(most, rows["examples"], strict=True))


def answer(texts: Mapping[str, str]) -> str:
    """The sentences of :func:`findings`: the lead, and a list of the rest."""
    if not texts["lead"]:
        return "No Mem could be measured here."
    kinds = (("suite", "scores", "gain"), ("proxy",), ("size", "infinigram"))
    rest = [" ".join(filter(None, map(texts.get, keys))) for keys in kinds]
    return f"{texts['lead']}\n\n" + "\n".join(f"- {text}" for text in rest if text)


def of_mem(real: pd.DataFrame, model: str | None) -> str:
    """What Mem of a model is, raw and with all controls."""
    phrases = {"positive": "Above zero in", "negative": "Below zero in",
               "none": "Within ±.15 of zero in", "not decided": "Not decided in"}
    kinds = {kind: verdicts.told(rows_of(real, {"model": model, "Mem": kind}), phrases, BOUNDS[AT])
             for kind in KINDS.values()}
    return "\n".join(f"- *{kind}*: {text}" for kind, text in kinds.items() if text) or (
        "No Mem of such a model here.")


def of_slopes(slopes: pd.DataFrame) -> str:
    """What size does to raw Mem over the suite."""
    return verdicts.told(
        slopes[slopes["Mem"] == "raw"],
        {"positive": "Raw Mem rises with size in", "negative": "It falls in",
         "none": "It changes by less than .1 per tenfold size in",
         "not decided": "The change is not decided in"}, BOUNDS[SLOPE], ("slope", "low", "high"),
    ) or "There is no slope here: it needs two sizes that were trained on this text."


def of_gain(facts: pd.DataFrame, whose: Mapping[str, str | None]) -> str:
    """Whether answers gain more where a document contains their pair, by whose model it is."""
    phrases = {"positive": "Answers with a pair gain more in", "negative":
               "Answers with a pair gain less in",
               "not decided": "Not decided in"}
    kinds = {model: verdicts.told(rows_of(facts, {"model": model}), phrases, 0,
                                  ("difference", "low", "high"))
             for model in whose.values() if model}
    return "\n".join(f"- *{model}*: {text}" for model, text in kinds.items() if text) or (
        "No gain could be compared here.")


def of_frequency(frequency: pd.DataFrame) -> str:
    """Where the score of a model rises or falls with the frequency of the question."""
    rows = frequency.drop_duplicates(["group", "n", "model"])
    rows = rows[rows["n"] == rows.groupby("group")["n"].transform("max")]
    rows = rows.assign(where=rows["group"] + " (" + rows["model"] + ")")
    up, down = (rows[rows["spearman_low"] > 0], rows[rows["spearman_high"] < 0])
    return said(("Scores rise with frequency in", up), ("They fall in", down),
                ends=("spearman", "spearman_low", "spearman_high")) or (
        "No score changes with frequency by more than its interval.")


def tally(judged: pd.DataFrame) -> str:
    """How many expectations agree and disagree, and which disagree."""
    count = judged["verdict"].value_counts()
    against = judged[judged["verdict"] == "disagrees"]
    names = against["group"] + " (" + against["of"] + ", " + against["measure"] + ")"
    kinds = "; ".join(f"{kind}: {many}" for kind, many in count.items())
    return f"{kinds}; of {len(judged)}. " + said((
        "Against expectation:", against.assign(where=names)))
