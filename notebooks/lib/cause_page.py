"""What the chapter on cause says of its tables: the answer, sentences and small tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from taskgram_chapters import cause, insertions
from taskgram_chapters.numbers import number, numbers, short
from taskgram_chapters.page import listed
from taskgram_chapters.recorded import recorded
from taskgram_chapters.records import insertions as read_insertions
from taskgram_chapters.verdicts import NAMES

PLAIN, NOISY = (["estimate", "low", "high"], ["estimate", "low_with_noise", "high_with_noise"])
CHANNELS = {"share": "share of the value", "statements": "statements of the fact",
            "subject": "other facts of the person", "value": "the value elsewhere"}
COUNTED = ["found", "cells", "opposite"]
BESIDE = {"across": "slope across facts", "within": "slope within facts",
          "mem": "rank correlation", "mem of changes": "rank correlation of the changes"}
UNITS = {"gain_odds": "log-odds", "gain": "share right", "half": "doublings"}
SIZES = {(p, t): f"{p // 10**9}B, {t // 10**9}B tokens"
         for p in (10**9, 8 * 10**9) for t in (10**11, 5 * 10**11)}
"""The models of the insertions, by parameters and tokens of the corpus."""


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """With ``size`` and ``facts`` (their kind) in words."""
    return table.assign(size=table["model"].str.upper(),
                        facts=table["population"].map(cause.KINDS))


def _wide(table: pd.DataFrame, index: Sequence[str], columns: str) -> pd.DataFrame:
    """``shown`` by rows and columns, each in the order in which it appears."""
    rows = table.drop_duplicates(index).set_index(index).index
    wide = table.pivot(index=index, columns=columns, values="shown")
    return wide.loc[rows, table[columns].drop_duplicates()].reset_index()


def _by_size(rows: pd.DataFrame, ends: Sequence[str]) -> str:
    """``1.13 [1.02, 1.24] at 100K parameters and .84 [.73, .94] at 600K``."""
    first, *rest = [f"{number(*row[ends])} at {row['model'].upper()}" for _, row in rows.iterrows()]
    return listed([f"{first} parameters", *rest])


# --- twin worlds ---------------------------------------------------------------------------------


def answered(judged: pd.DataFrame, answers: pd.DataFrame, tasks: pd.DataFrame) -> str:
    """The chapter's answer: the twins' slopes by size (of :func:`cause.compared`), the negative
    control where it failed (``tasks``, as recorded), and what texts inserted at random did to real
    models (``answers`` of :mod:`insertions`)."""
    every = judged.query("world == 'twins' and population != 'all'")
    twins = every[every["channel"] == "pair"]
    found, given = (twins["answer"] == "found").sum(), set(twins["answer"])
    verdict = f"In {found} of {len(twins)} comparisons of size and kind of fact" if found else ""
    often = "a fact that the text states more often becomes"
    says = {"found": f"Yes: {often} more probable", "opposite": f"No: {often} less probable",
            "none": "No: the probability of a fact does not follow how often the text states it"}
    verdict = (says.get(*given) if len(given) == 1 else found and f"{verdict}, {often} more "
               "probable") or "Not decided"
    agree, differ = (twins[twins["population"] == kind] for kind in cause.POPULATIONS[1:])
    most = every[every["population"] == "disputed"].groupby("channel").last()
    share, stated = (number(*most.loc[key, NOISY]) for key in ("share", "statements"))
    rows = answers[answers["what"].str.startswith("accuracy")].set_index("kind")
    rows.loc["other", COUNTED] = rows.loc["all", COUNTED] - rows.loc["biographies", COUNTED]
    own, other = (f"{row['found']:.0f} of {row['cells']:.0f}"
                  for _, row in rows.loc[["biographies", "other"]].iterrows())
    failed = other_tasks(tasks)
    return (
        f"**{verdict}.** This is found in one world, whose two twins permute the counts of all "
        "facts at once; it is not repeated in a second world.\n\n"
        f"- *Documents agree:* twice as many statements multiply the probability by 2 to the power "
        f"of {_by_size(agree, NOISY)} (N = {agree['n'].max():,}): at "
        f"{agree['model'].iloc[0].upper()}, by {2 ** agree['estimate'].iloc[0]:.1f}.\n"
        f"- *Documents disagree:* for twice as many documents with the value the power is "
        f"{_by_size(differ, NOISY)} (N = {differ['n'].max():,}). This joins two effects: at "
        f"{differ['model'].iloc[-1].upper()} the power is {share} for the share of the value and "
        f"{stated} for the statements of the fact.\n"
        + ("- *A negative control fails:* log P of a task whose text is the same in all worlds "
           f"changes more between worlds than between trainings: {failed}.\n" if failed else "") +
        "- *Real models* of 1 and 8 billion parameters: accuracy rises with the number of "
        f"insertions, which is randomly assigned, in {own} curves of questions on biographies; of "
        f"chats and test questions it does in {other}, and falls in "
        f"{rows.loc['other', 'opposite']:.0f}. Each of these models is trained once.")


def other_tasks(tasks: pd.DataFrame) -> str:
    """The negative control: in how many sizes each task whose text is the same in all worlds still
    changes more between worlds than between trainings; nothing where none does."""
    above = {NAMES[task]: rows["low"] > 0 for task, rows in tasks.groupby("task")}
    return listed([f"{task} in {rows.sum()} of {len(rows)} sizes"
                   for task, rows in above.items() if rows.any()])


def inserted(records: str, expected: Mapping) -> tuple[dict[str, pd.DataFrame], str]:
    """The tables of insertions, from the original ``records`` or else as recorded, and how they
    were made."""
    if records:
        made = insertions.tables(read_insertions(records), expected["insertions"])
        return made, f"computed for this page from {records}"
    found = recorded("insertions")
    return found.tables, found.made


def cells_in_words(cells: pd.DataFrame) -> dict[str, str]:
    """How many facts there are of each kind, and how many values those have that conflict."""
    facts, many = cells.groupby("disputed")["fact"].nunique(), cells["disputed"].sum()
    return {"cells-agree": f"{facts[False]:,}", "cells-differ": f"{facts[True]:,}",
            "cells-values": f"{many:,}"}


def slopes(judged: pd.DataFrame) -> pd.DataFrame:
    """Size and kind of fact against the slopes of twins and of reseeds, with training noise."""
    rows = _named(judged.query("channel == 'pair' and population != 'all'"))
    rows = rows.assign(shown=numbers(rows, *NOISY, "n"))
    return _wide(rows, ["size", "facts"], "world").rename(columns={"reseed": "reseeds"})


def placebo(judged: pd.DataFrame) -> dict[str, str]:
    """What the twins show and what the reseeds, which have read none of the changes, show."""
    rows = judged.query("channel == 'pair' and population != 'all'")
    twins, reseeds = (rows[rows["world"] == world] for world in ("twins", "reseed"))
    within, p = (reseeds["answer"] == "found").sum(), twins["p_holm"].max()
    return {"found-twins": f"{(twins['answer'] == 'found').sum()} of {len(twins)}",
            "found-reseeds": f"{within} of {len(reseeds)}",
            "reseed-most": short(reseeds["estimate"].abs().max()),
            "twins-p": "p < .001" if p < 0.001 else f"p ≤ {short(p)}"}


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Of each size and kind of fact the range of the coefficients of counts that models have read
    and of those that they have not."""
    rows = _named(table.assign(counts=np.where(_own(table), "counts read", "counts not read")))
    ends = rows.groupby(["size", "facts", "counts"], sort=False)["estimate"].agg(["min", "max"])
    spans = ends["min"].map(short) + " to " + ends["max"].map(short)
    return _wide(spans.rename("shown").reset_index(), ["size", "facts"], "counts")


def _own(table: pd.DataFrame) -> pd.Series:
    """Which rows of the matrix are of counts that the model has read."""
    return table["counts"] == table["read"].where(~table["read"].isin(cause.RESEEDS), cause.MAIN)


def of_matrix(table: pd.DataFrame) -> str:
    """How many intervals of counts that a model has not read include zero."""
    other = table[~_own(table)]
    zero = (other["low"] <= 0) & (other["high"] >= 0)
    return f"{zero.sum()} of {len(other)}"


def channels(judged: pd.DataFrame) -> pd.DataFrame:
    """The twins' rows of the four channels, each channel and kind of fact in words (``what``)."""
    rows = judged[(judged["world"] == "twins") & judged["channel"].isin(CHANNELS)]
    return _named(rows).assign(what=lambda t: t["channel"].map(CHANNELS) + ", " + t["facts"])


def of_channels(rows: pd.DataFrame) -> dict[str, str]:
    """The slopes of the share, how the answers compare with what was preregistered, and in how many
    cases the share, and the statements of the fact, have a positive slope."""
    share, given = rows[rows["channel"] == "share"], rows["answer"].value_counts()
    wrong = rows[rows["answer"].isin(["opposite", "none"])]
    names = "; ".join(f"{r['what']}, {number(*r[NOISY])} at {r['size']}"
                      for _, r in wrong.iterrows())
    kinds = listed([f"{answer} in {k}" for answer, k in given.items()])
    above = rows["low_with_noise"].gt(0).groupby(rows["channel"]).agg(["sum", "count"])
    cases = {f"mechanism-{key}": "{} of {}".format(*above.loc[key]) for key in above.index}
    return cases | {"share-by-size": f"{_by_size(share, NOISY)} (N = {share['n'].max():,}); "
            f"{(share['low_with_noise'] > 1).sum()} of {len(share)} intervals lie above 1.",
            "channels-answers": f"Of the {len(rows)} preregistered slopes the answer is {kinds}."
            + (f" Otherwise than expected: {names}." if names else "")}


def explained(beside: pd.DataFrame) -> str:
    """The variance of the changes that counts explain, and that which is explainable, by size."""
    r2, able = (_by_size(beside.query("population == 'all' and measure == @measure"), PLAIN)
                for measure in ("r2", "explainable"))
    return f"R² is {r2}; of this could be explained: {able}."


def correlations(beside: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Slopes across and within facts, the latter with training noise, and rank correlations, by
    size and kind of fact."""
    keys, slopes = ["model", "population"], judged.query("world == 'twins' and channel == 'pair'")
    rows = beside[beside["measure"].isin(BESIDE) & (beside["population"] != "all")]
    rows = rows.merge(slopes[[*keys, *NOISY[1:]]], "left", keys)
    shown = np.where(rows["measure"] == "within", numbers(rows, *NOISY), numbers(rows))
    rows = _named(rows).assign(shown=shown, measure=rows["measure"].map(BESIDE))
    return _wide(rows, ["size", "facts"], "measure")


def across(beside: pd.DataFrame) -> dict[str, str]:
    """How far the slopes across and within facts differ."""
    part = beside[beside["population"] != "all"]
    wide = part.pivot(index=["model", "population"], columns="measure", values="estimate")
    same = (np.sign(wide["across"]) == np.sign(wide["within"])).sum()
    return {"across-apart": short((wide["across"] - wide["within"]).abs().max()),
            "across-same": f"{same} of {len(wide)}"}


# --- insertions ----------------------------------------------------------------------------------


def of_prompt(table: pd.DataFrame, prompt: str) -> pd.DataFrame:
    """The rows of single facts, inserted word for word, that are asked by a prompt; ``model`` in
    words."""
    asked = (table["task"] == f"yago_hubble_{prompt}") & (table["fact"] != "all")
    rows = table[asked & (table["inserted"] == "verbatim")]
    keys = zip(rows["parameters"], rows["tokens"], strict=True)
    return rows.assign(model=[SIZES[key] for key in keys])


def halves(rows: pd.DataFrame) -> pd.DataFrame:
    """The half of each fact's curve with its interval, a column per model."""
    ends = rows[["half", "half_low", "half_high"]].map(lambda v: f"{v:.3g}" if v == v else "…")
    shown = ends["half"] + " [" + ends["half_low"] + ", " + ends["half_high"] + "]"
    rows = rows.assign(shown=shown.where(rows["half"].notna(), rows["reason"]))
    return _wide(rows, ["fact"], "model")


def of_curves(curves: pd.DataFrame) -> dict[str, str]:
    """How many curves rise, fit, and rise after a paraphrase."""
    fitted = curves[curves["p"].notna()]
    flat, chats = fitted["reason"] == insertions.FLAT, fitted["kind"] == "chats"
    later, of = ~flat[fitted["inserted"] == "paraphrased"], fitted["kind"]
    words = {f"later-{key}": f"{later[of == kind].sum()} of {(of[later.index] == kind).sum()}"
             for kind, key in (("biographies", "biography"), ("test set", "test"))}
    words |= {"curves": len(fitted), "flat": flat.sum(), "flat-chats": (flat & chats).sum(),
              "misfit": f"{(fitted['p_fit'] < 0.05).sum()} of {len(fitted)}"}
    return {f"insertion-{key}": str(value) for key, value in words.items()}


def lines(answers: pd.DataFrame) -> pd.DataFrame:
    """What was preregistered of insertions: how many series of questions on biographies, and of all
    texts, show it, how many the opposite, and the mean over biographies."""
    count = answers[COUNTED].astype(int).astype(str)
    rows = answers.assign(
        mean=numbers(answers), what=answers["what"] + " (" + answers["of"].map(UNITS) + ")",
        cells=count["found"] + " of " + count["cells"] + "; opposite " + count["opposite"])
    own, every = (rows[rows["kind"] == kind] for kind in ("biographies", "all"))
    both = own.merge(every[["what", "of", "cells"]], on=["what", "of"], suffixes=("", "_all"))
    names = {"cells": "biographies", "cells_all": "biographies, chats, tests",
             "mean": "mean, biographies"}
    return both[["what", "expected", *names]].rename(columns=names)


def share_or_count(table: pd.DataFrame) -> str:
    """Whether the count alone or its share of the corpus moves the half."""
    row = table.set_index("parameters").loc["1B and 8B"]
    at = {"0 (the count alone)": 0, f"{insertions.SHARE:.2f} (the share alone)": insertions.SHARE}
    says = [f"{'includes' if row['low'] <= v <= row['high'] else 'excludes'} {name}"
            for name, v in at.items()]
    return (f"Over the {row['cells']:.0f} pairs of curves of all texts whose interval has both "
            f"ends, the half moves by {number(*row[PLAIN])} doublings on average; the interval "
            f"{listed(says)}. Of single intervals, which may include both or neither, "
            f"{row['with_count']:.0f} include the first value, {row['with_share']:.0f} include the "
            f"second and {row['above_share']:.0f} lie above it.")
