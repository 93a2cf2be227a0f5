"""The chapter across tasks: its answer, tables and sentences, and the blocks of the claims page."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from IPython.display import HTML
from markdown_it import MarkdownIt
from myst_nb import glue

from taskgram_chapters import cause, verdicts
from taskgram_chapters.numbers import number, numbers, short
from taskgram_chapters.numbers import said as sentences
from taskgram_chapters.page import listed
from taskgram_chapters.recorded import recorded
from taskgram_chapters.verdicts import AT, GIVEN, SLOPE, WAYS, rows_of, where
from taskgram_utils.pages import TABLE
from taskgram_utils.performance import binned_performance
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run, project_root
from taskgram_utils.tables import read_table

GIVEN_OF = {"spearman": "nothing", "spearman|log_count_sy": "output frequency", GIVEN: "all four"}
_LM = {"taskgram": "task-gram", "infinigram": "∞-gram"}
_STANDING = {"about the pairs": "robust", "not about the pairs": "not robust", "barred": "no Mem"}
_SCORES = ["exact_match", "accuracy"]
_TABLES = ["partial", "difference_to_infinigram", "slopes", "without_most_frequent"]
_ENDS = ("estimate", "low", "high", "points")


# --- tables ---------------------------------------------------------------------------------------


def precision(run: Run, truth: bool) -> pd.DataFrame:
    """The share of true pairs of a run's groups; ``truth``: whether its true pairs are known."""
    pairs = run.table("true_pairs") if truth else None
    return verdicts.precision(run.table("taskgrams"), run.table("gammas"), pairs)


def estimates(run: Run, name: str, known: pd.DataFrame, **chosen) -> pd.DataFrame:
    """The rows of a table of a run that have these values, each with its group in words
    (``where``) and why it is ``barred``; ``known``: the shares of true pairs."""
    table = rows_of(run.table(name), chosen)
    return table.assign(where=where, barred=verdicts.barred(table, known))


def by_size(mem: pd.DataFrame, n: int, family: list[str]) -> pd.DataFrame:
    """The rows of the figure of Mem by size: the task-gram LM at every n, the ∞-gram LM at one; a
    barred group says so in its name, at that n alone, and is grey."""
    bars = rows_of(mem, {"n": n, "count_model": "taskgram"}).groupby("where")["barred"].first()
    against = mem["count_model"].map(_LM) + ", n = " + mem["n"].astype(str)
    shown = mem.assign(where=mem["where"] + ("\n" + mem["where"].map(bars)).fillna(""),
                       against=against, grey=mem["where"].isin(bars.dropna().index))
    one = (shown["n"] == n) | (shown["barred"].isna() & (shown["count_model"] == "taskgram"))
    return shown[one & shown["model"].isin(family)]


def with_training(mem: pd.DataFrame, evidence: pd.DataFrame) -> pd.DataFrame:
    """Mem with the ends and p that it has in :func:`~taskgram_chapters.verdicts.evidence`, which
    are those with the noise of training where it was measured; no estimate of a barred group."""
    keys = ["task", "group", "n", "count_model", "measure"]
    noisy = rows_of(evidence, {"question": AT})[[*keys, "low", "high"]]
    table = mem.drop(columns=["low", "high"]).merge(noisy, "left", keys)
    ends = ["estimate", "low", "high"]
    return table.assign(**{end: table[end].where(table["barred"].isna()) for end in ends})


def read(
    evidence: pd.DataFrame, n: int, question: str = AT, lm: str = "taskgram",
    measures: tuple[str, ...] = ("spearman",)
) -> pd.DataFrame:
    """The rows of the evidence of a suite that may be read, each with its group in words
    (``where``) and what is held constant (``given``)."""
    chosen = {"question": question, "n": n, "count_model": lm, "measure": list(measures)}
    table = rows_of(evidence, chosen)
    table = table.assign(where=where, given=table["measure"].map(GIVEN_OF))
    return table[table["barred"].isna()]


def of_largest(run: Run, largest: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """A row for each group: the score of the largest model, the share of true pairs, Mem under both
    count-based models (a dash where it cannot be read), and the points of the first."""
    keys = ["task", "group"]
    scores = pipeline.at_last_step(rows_of(run.table("performance"), {
        "metric": _SCORES, "model": list(largest["model"].unique())}))
    value = pd.Series(numbers(largest), largest.index).where(largest["barred"].isna())
    table = largest.assign(value=value, LM=largest["count_model"].map(_LM))
    wide = table.pivot(index=[*keys, "n", "where"], columns="LM", values="value")
    wide = wide.reindex(columns=list(_LM.values())).reset_index()
    wide = wide.merge(scores[[*keys, "score"]], "left", keys).merge(known, "left", [*keys, "n"])
    points = rows_of(largest, {"count_model": "taskgram"})[[*keys, "points"]]
    wide = wide.merge(points, "left", keys)
    shares = wide[["score", "precision"]].map(lambda v: None if pd.isna(v) else f"{v:.0%}")
    return pd.DataFrame({
        "group": wide["where"], "right answers": shares["score"],
        "true pairs": shares["precision"], "Mem, task-gram LM": wide["task-gram"],
        "Mem, ∞-gram LM": wide["∞-gram"], "N": wide["points"].map("{:,.0f}".format)})


def scores_with_frequency(run: Run, n: int, few_changes: int) -> pd.DataFrame:
    """Rank correlation of the largest model's score with the frequency of the example, a row for
    each group with a task-gram; no number with fewer than ``few_changes`` right, or wrong,
    answers."""
    main, keys = pipeline.main_model(run), ["task", "example_id"]
    answers = rows_of(run.table("answers"), {"metric": _SCORES, "model": main})
    answers = pipeline.at_last_step(answers)
    frequency = rows_of(run.table("frequency"), {"n": n}).drop(columns="group")
    for table in (run.table("examples")[[*keys, "y"]], frequency[keys]):
        answers = answers.merge(table, on=keys)
    right = answers.dropna(subset=["score"]).groupby(["task", "group"])["score"]
    right = right.agg(["size", "sum"])
    rarer = np.minimum(right["sum"], right["size"] - right["sum"]).rename("rarer").reset_index()
    follows = binned_performance(answers, frequency, bins=4).drop(
        columns=["score", "low", "high", "examples"])
    follows = follows.groupby(["task", "group"], sort=False).first().reset_index().rename(columns={
        "spearman": "estimate", "spearman_low": "low", "spearman_high": "high"})
    follows = follows.merge(rarer, on=["task", "group"])
    follows.loc[follows["rarer"] < few_changes, ["estimate", "low", "high"]] = np.nan
    return follows.assign(measure="score", count_model="frequency", where=where)


def suites(
    run: Run, known: pd.DataFrame, follows: pd.DataFrame, few_changes: int, truth: bool
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """The evidence of this run, that of the recorded suite C (none where the truth of the text is
    not known, as the text is then another), and what both rest on in words."""
    names = [*_TABLES, *({"placebo"} & set(run.recipes))]
    here = {name: run.table(name) for name in names} | {"precision": known, "frequency": follows}
    if not truth:
        own = verdicts.evidence(here)
        return own, own.iloc[:0], "Intervals are for other examples, not for another training."
    noise = verdicts.training_noise(recorded("reseeds").tables["reseeds"])
    there = {name: table[table["suite"] == "C"] for name, table in recorded("seeds").tables.items()
             if name in here}
    missing = [name for name in (*_TABLES, "placebo", "precision", "frequency")
               if name not in there]
    if "frequency" in there:
        few = there["frequency"]["rarer"] < few_changes
        ends = {end: there["frequency"][end].mask(few) for end in ("estimate", "low", "high")}
        there["frequency"] = there["frequency"].assign(**ends)
    basis = ("Intervals include the noise of training, measured on trainings of the included suite "
             "with other seeds and taken to be the same in every size and in suite C.")
    basis += f" Not recorded of suite C: {', '.join(missing)}." if missing else ""
    basis += (" Its shares of true pairs are taken to be those of this run."
              if "precision" in missing else "")
    there.setdefault("precision", known)
    return verdicts.evidence(here, noise), verdicts.evidence(there, noise), basis


def standing_table(own: pd.DataFrame, of_group: pd.DataFrame, n: int) -> pd.DataFrame:
    """What each group's Mem is under every control, and what follows; no number where nothing is
    said of a Mem."""
    heads = {"spearman": "raw", GIVEN: "given all four", "minus its placebo": "minus placebo",
             "without": "without two outputs"}
    rows = rows_of(own, {"question": AT, "n": n, "count_model": "taskgram",
                         "measure": list(WAYS.values())})
    rows = rows.assign(value=numbers(rows))[rows["barred"].isna()]
    wide = rows.pivot(index=["task", "group"], columns="measure", values="value")
    wide = wide.reindex(columns=list(heads)).rename(columns=heads).reset_index()
    table = of_group.assign(group_=where(of_group)).merge(wide, "left", ["task", "group"])
    return table[["group_", *heads.values()]].rename(columns={"group_": "group"}).assign(
        Mem=table["standing"].map(_STANDING))


def verdict_table(planned: pd.DataFrame) -> pd.DataFrame:
    """Every preregistered row beside what two suites find."""
    p = planned["p_holm"].map(lambda p: None if pd.isna(p) else
                              "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0"))
    return pd.DataFrame({
        "quantity": _quantity(planned), "expected": planned["expected"],
        "this run": numbers(planned),
        "suite C": numbers(planned, "estimate_c", "low_c", "high_c"), "p (Holm)": p,
        "outcome": [_outcome(*row) for row in planned[["verdict", "status"]].to_numpy()]})


def _quantity(planned: pd.DataFrame) -> pd.Series:
    what = planned["what"].str.replace("that under the ∞-gram LM", "∞-gram Mem")
    slope = what.str.replace(": Mem", ": slope of Mem")
    return what.mask(planned["question"] == SLOPE, slope)


def _outcome(verdict: str, status: str) -> str:
    if "barred" in (verdict, status):
        return "no Mem"
    return "; ".join(dict.fromkeys([verdict, status.replace("made", "claim made")]))


def interval_coverage(studies: pd.DataFrame | None = None) -> tuple[pd.DataFrame, str, str]:
    """How often 95% intervals cover a known truth in simulated studies, by statistic, and the
    lowest coverage in words; and the sentence of the first page."""
    path = project_root() / "results" / "jackknife.csv"
    studies = read_table(path) if studies is None else studies
    cover = studies.groupby("statistic", sort=False)["covered"].agg(["size", "min", "median"])
    cover["most"] = studies[studies["truth"] == 0].groupby("statistic")["rejected"].max()
    worst = studies.loc[studies["covered"].idxmin()]
    cover = cover.reset_index().set_axis(
        ["statistic", "designs", "lowest coverage", "median coverage", "most false alarms"], axis=1)
    shares = cover.columns[2:]
    cover[shares] = cover[shares].map("{:.1%}".format)
    return cover, (f"Each row has {studies['studies'].min():,} simulated studies of each design. "
                   f"The lowest coverage, {worst['covered']:.1%}, is in the design "
                   f"{worst['design'].replace('_', ' ')}."), (
        f"In simulated studies such intervals cover the truth in at least {worst['covered']:.0%}, "
        f"in the median setting in {studies['covered'].median():.0%}.")


# --- sentences ------------------------------------------------------------------------------------


def words(name: str) -> str:
    """A group in the middle of a sentence: factual QA (facts)."""
    return f"{name[0].lower()}{name[1:].replace(', ', ' (', 1)})"


def said(*parts: tuple[str, pd.DataFrame], ends: tuple[str, ...] | None = None) -> str:
    """:func:`taskgram_chapters.numbers.said` of groups, those of one task together."""
    return sentences(*parts, ends=ends, name=words, listing=_tasks)


def _tasks(where: pd.Series) -> str:
    names = where.str.split(", ", n=1, expand=True)
    tasks = names.groupby(0, sort=False)[1].agg(", ".join)
    return listed([words(f"{task}, {groups}") for task, groups in tasks.items()])


def answer(
    own: pd.DataFrame, other: pd.DataFrame, of_group: pd.DataFrame, n: int, mem: pd.DataFrame
) -> str:
    """The answer of the chapter: which groups' Mem passes every control, and what size does to it.
    ``own``, ``other``: the evidence of two suites (the other may be empty); ``mem``: Mem of every
    size (:func:`estimates`)."""
    groups = of_group.assign(where=where)
    about, fails, no = (groups[groups["standing"] == standing] for standing in _STANDING)
    found = _among(read(own, n), about)
    values = [f"{number(*row)} in {words(name)}" for name, row in
              zip(found["where"], found[list(_ENDS)].to_numpy(float), strict=True)]
    many = f"{len(groups) - len(no)} groups where it can be measured"
    text = (f"**Mem is robust to every control in {len(found)} of {many}:** it is {listed(values)}."
            " There confidence follows how often documents contain the pair, as with memory; a "
            "correlation does not show the cause.") if values else (
            f"**Mem is robust to every control in none of {many}.**")
    text += " " + said(("It fails a control in", fails),
                       ("It cannot be measured, for want of true pairs or reliable counts, in", no))
    return f"{text} {of_size(own, other, of_group, n, mem)}".strip()


def passing(of_group: pd.DataFrame) -> str:
    """The groups whose Mem passes every control, in words."""
    about = of_group[of_group["standing"] == "about the pairs"]
    return _tasks(where(about)) if len(about) else "in none here"


def _among(table: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    return table.merge(groups[["task", "group"]], on=["task", "group"])


def of_size(
    own: pd.DataFrame, other: pd.DataFrame, of_group: pd.DataFrame, n: int, mem: pd.DataFrame
) -> str:
    """What size does to the Mem that is about the pairs, by the slopes of two suites with the noise
    of training, and where it changes, Mem of every size of this run."""
    about = of_group[of_group["standing"] == "about the pairs"]
    keys = ["question", "task", "group", "n", "count_model", "measure"]
    both = _among(read(own, n, SLOPE), about).merge(other, "left", keys, suffixes=("", "_c"))
    mem, texts = rows_of(mem, {"n": n, "count_model": "taskgram"}), []
    for row in both.to_dict("records"):
        one, two = (number(*(row[c + end] for c in ("estimate", "low", "high")))
                    for end in ("", "_c"))
        name, shows, there = words(row["where"]), row["shows"], row["shows_c"]
        second = f"; suite C {two}" if isinstance(there, str) else ""
        if second and there != shows:
            given = _given_frequency(own, other, row, n)
            texts.append(f"A change of raw Mem with size is not replicated in {name} ({one}{second}"
                         f"){given}.")
        elif shows in ("positive", "negative"):
            sizes = rows_of(mem, {"where": row["where"]}).sort_values("parameters")
            values = listed([f"{short(value)} at {model.upper()}" for model, value in
                             sizes[["model", "estimate"]].to_numpy()])
            verb = "rises" if shows == "positive" else "falls"
            texts.append(f"Mem {verb} with size in {name}: {one} per tenfold size{second}. It is "
                         f"{values}.")
        else:
            so = "A change of raw Mem with size is not shown" if shows == "not decided" else (
                "Mem changes by less than .1 per tenfold size")
            texts.append(f"{so} in {name} ({one}{second}).")
    return " ".join(texts)


def _given_frequency(own: pd.DataFrame, other: pd.DataFrame, row: Mapping, n: int) -> str:
    """The slope of Mem given output frequency of a group, where both suites find it to rise."""
    wanted = {"task": row["task"], "group": row["group"]}
    both = [rows_of(read(side, n, SLOPE, measures=tuple(GIVEN_OF)[1:2]), wanted)
            for side in (own, other)]
    if not all(len(side) and (side["shows"] == "positive").all() for side in both):
        return ""
    one, two = (number(*side[list(_ENDS)].iloc[0]) for side in both)
    return f"; given output frequency it rises in both ({one}; suite C {two})"


def of_mem(largest: pd.DataFrame, few: int) -> str:
    """What Mem of the largest model is under the task-gram LM, group by group."""
    table = rows_of(largest, {"count_model": "taskgram"})
    free = table[table["barred"].isna()]
    return said(("No Mem is read in", table[table["barred"].notna()]),
                ("Of the other groups, the interval lies above zero in", free[free["low"] > 0]),
                ("The interval lies below zero in", free[free["high"] < 0]),
                ("The interval includes zero in", free[(free["low"] <= 0) & (free["high"] >= 0)]),
                ("There is no estimate in", free[free["low"].isna()]),
                (f"Fewer than {few} distinct outputs, so that Mem is about these few, are in",
                 free[free["outputs"] < few]))


def of_partial(partial: pd.DataFrame) -> str:
    """What is left of Mem with controls, and where output frequency held constant reverses it."""
    all_four, frequency = (rows_of(partial, {"given": name}) for name in
                           ("all four", "output frequency"))
    across_zero = (all_four["low"] <= 0) & (all_four["high"] >= 0)
    return said(("With all four controls the interval lies above zero in",
                 all_four[all_four["low"] > 0]),
                ("With all four it lies below zero in", all_four[all_four["high"] < 0]),
                ("With all four it includes zero in", all_four[across_zero]),
                ("With output frequency alone held constant it lies below zero in",
                 frequency[frequency["high"] < 0]))


def of_difference(difference: pd.DataFrame) -> str:
    """Where task-grams predict the ranking better or worse than plain continuation does."""
    return said(("The largest model follows the task-grams more closely in",
                 difference[difference["low"] > 0]),
                ("The largest model follows the ∞-gram LM more closely in",
                 difference[difference["high"] < 0]),
                ("Not decided in",
                 difference[(difference["low"] <= 0) & (difference["high"] >= 0)]),
                ends=("estimate", "low", "high")) or "There is no difference that can be read."


def of_frequency(follows: pd.DataFrame, few_changes: int) -> str:
    """Where right answers become more frequent with the frequency of the example."""
    text = said(("Right answers rise with frequency in", follows[follows["low"] > 0]),
                ("They fall in", follows[follows["high"] < 0]), ends=_ENDS)
    return f"{text} " + said((
        f"Nothing is claimed with fewer than {few_changes} right, or wrong, answers: in",
        follows[follows["rarer"] < few_changes]))


def of_paper(six: pd.DataFrame, bleu: pd.DataFrame) -> dict[str, str]:
    """The paper's correlations of BLEU with counts over six languages, in words."""
    by_model = six.set_index("model")
    small, large = (by_model.loc[model, "spearman"] for model in ("70m", "12b"))
    most, p = bleu.groupby("model")["BLEU"].max(), by_model.loc["12b", "p_exact"]
    same = "the same" if np.isclose(small, large) else short(small)
    return {"six-12b": f"{short(large)} (exact p = {short(p)})", "six-70m": same,
            "six-410m": short(by_model.loc["410m", "spearman"]), "bleu-70m": f"{most['70m']:.1f}",
            "bleu-12b": f"{most['12b']:.0f}"}


def tally(planned: pd.DataFrame) -> str:
    """How many preregistered rows agree, by the kind of expectation, and which disagree."""
    named = {"agrees": "as expected", "disagrees": "against expectation",
             "not decided": "not decided", "barred": "in groups without a Mem"}
    kinds = {"a positive value": planned["expected"] == "positive",
             "none or a negative one": planned["expected"] != "positive"}
    texts = []
    for kind, rows in kinds.items():
        count = planned.loc[rows, "verdict"].value_counts().reindex(named, fill_value=0)
        said_so = listed([f"{count[verdict]} {text}" for verdict, text in named.items()
                          if count[verdict] or verdict == "agrees"])
        texts.append(f"{rows.sum()} expectations were of {kind}: {said_so}.")
    against = planned[planned["verdict"] == "disagrees"]
    rows = zip(_quantity(against), against["expected"], numbers(against), strict=True)
    lines = [f"- {what}: expected {expected}, found {found}" for what, expected, found in rows]
    return " ".join(texts) + "\n".join([*([" Against expectation:\n"] if lines else []), *lines])


# --- the page of claims ---------------------------------------------------------------------------


def blocks(by_key: Mapping[str, list[str]]) -> None:
    """Keep lines of Markdown as HTML, which other pages can take; they cannot take Markdown."""
    for key, lines in by_key.items():
        html = MarkdownIt().enable("table").render("\n".join(lines) or "None.")
        html = html.replace("<table>", f'{TABLE}<table class="table">')
        glue(key, HTML(html.replace("</table>", "</table></div>")), display=False)


def claims(
    basis: str, judged: pd.DataFrame, own: pd.DataFrame, other: pd.DataFrame,
    of_group: pd.DataFrame, n: int,
) -> dict[str, list[str]]:
    """The sentences of the page of claims by its keys, those of one group together; the Mem that is
    not about the pairs as a table of both suites (``own``, ``other``: their evidence)."""
    def with_status(*status: str) -> list[str]:
        chosen = judged[judged["status"].isin(status) & judged["estimate"].notna()]
        lines = []
        for name, part in chosen.groupby(where(chosen), sort=False):
            sentences = part["sentence"].str.removeprefix(f"{name}: ")
            sentences = sentences.str[:1].str.upper() + sentences.str[1:]
            lines += ["", f"**{name}**", "", *("- " + sentences)]
        return lines

    few = judged[(judged["measure"] == "score") & judged["estimate"].isna()].assign(where=where)
    few = said(("Too few right, or wrong, answers to report a correlation of score and frequency:",
                few))
    no = of_group[of_group["standing"] == "barred"]
    fails = of_group[of_group["standing"] == "not about the pairs"]
    suites = [standing_table(table, fails, n).drop(columns="Mem").assign(suite=name)
              for name, table in (("this run", own), ("C", other)) if len(table)]
    rows = pd.concat(suites).sort_index(kind="stable")
    rows.insert(1, "suite", rows.pop("suite"))
    table = rows.astype(object).fillna("–").to_markdown(index=False, disable_numparse=True)
    return {"claims-basis": [basis], "claims-made": with_status("made"),
            "claims-not-replicated": with_status("not replicated"),
            "claims-undecided": [*with_status("not decided", "not recorded"), "", few],
            "claims-not-pairs": [table] if len(fails) else [],
            "claims-no-mem": list("- " + where(no) + ": " + no["reason"] + ".")}


def compared(
    own: pd.DataFrame, other: pd.DataFrame, of_group: pd.DataFrame
) -> dict[str, list[str]]:
    """Every claim with all that bears on it, a list for each, and the lines of real text, by the
    page's keys. A Mem that is not about the pairs says so."""
    standing = of_group.set_index(["task", "group"])["standing"]
    own, other = (table.assign(note=[
        "not about the pairs" if measure in ("spearman", GIVEN) and
        standing.get((task, group)) == "not about the pairs" else None
        for task, group, measure in table[["task", "group", "measure"]].to_numpy()])
        for table in (own, other))
    tables = {name: recorded(name).tables for name in
              ("openbook", "records", "cause", "insertions")}
    real, of_cause = tables["openbook"], tables["cause"]
    known = verdicts.precision(real["coverage"].dropna(subset=["n"]), real["gammas"])
    for name in ("memorization", "difference_to_infinigram", "slopes"):
        real[name] = real[name].assign(barred=verdicts.barred(real[name], known))
    effects = cause.compared(of_cause["cause"], of_cause["noise"], cause.preregistered(),
                             of_cause["cells"])
    ends = {"low_with_noise": "low", "high_with_noise": "high", "n": "points"}
    of_cause["cause"] = effects.drop(columns=["low", "high"]).rename(columns=ends)
    matrix = of_cause["matrix"]
    read_by = matrix["read"].where(~matrix["read"].isin(cause.RESEEDS), cause.MAIN)
    unread = np.where(matrix["counts"] == read_by, "own world", "other worlds")
    of_cause["matrix"] = matrix.assign(of=unread).rename(columns={"n": "points"})
    table = verdicts.claims_table(verdicts.read_claims(), {
        "miniature, this run": ("miniature", {"evidence": own}),
        "miniature C": ("miniature", {"evidence": other}), "twins": ("twins", of_cause),
        "real text": ("real_text", real), "Pythia records": ("records", tables["records"]),
        "insertions": ("insertions", tables["insertions"])})
    real = table[table["real text"] != "not measured"]
    lines = []
    for row in table.to_dict("records"):
        sides = [f"- *{side}*: {text}" for side, text in row.items()
                 if side not in ("claim", "says") and text != "not measured"]
        lines += ["", f"**{row['claim']}**: {row['says']}", "", *(sides or ["- not measured"])]
    return {"claims-table": lines,
            "claims-real": list("- " + real["claim"] + ": " + real["real text"] + ".")}
