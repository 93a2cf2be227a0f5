"""What the chapter on the miniature world says of its tables: sentences, and small tables."""

from collections.abc import Mapping

import pandas as pd

from taskgram_chapters.numbers import number
from taskgram_chapters.page import listed
from taskgram_chapters.verdicts import NAMES

SUITE_GROUPS = ("unseen", "facts, undisputed", "facts, disputed", "knowledge", "reasoning",
                "held_out")


def size(parameters: float) -> str:
    """The size of a model in words: ``25K parameters``, ``3M parameters``."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if parameters >= unit:
            digits = 1 if letter == "B" else 0
            return f"{parameters / unit:.{digits}f}{letter} parameters"
    return f"{parameters:.0f} parameters"


def facts_in_words(facts: pd.DataFrame) -> dict[str, str]:
    """How many people and facts there are, in how many documents a fact is stated, and the share on
    which documents disagree. ``facts``: the truth table, one row a fact."""
    few, many = facts["statements"].min(), facts["statements"].max()
    return {"people": f"{facts['person'].nunique():,}", "facts": f"{len(facts):,}",
            "stated": f"{few:,} to {many:,}", "disputed": f"{facts['disputed'].mean():.0%}"}


def learnt(final: pd.DataFrame) -> str:
    """The smallest and the largest model's scores in the group with the most examples."""
    most = final.loc[final["examples"].idxmax()]
    rows = final[(final["task"] == most["task"]) & (final["group"] == most["group"])]
    rows = rows.sort_values("parameters")
    small, large = rows.iloc[0], rows.iloc[-1]
    where = f"{NAMES.get(most['task'], most['task'])}, {most['group'].replace('_', ' ')}"
    says = (f"The largest model ({size(large['parameters'])}) answers "
            f"{number(*large[['score', 'low', 'high']])} of the {large['examples']:,} questions of "
            f"*{where}* correctly")
    if len(rows) > 1:
        says += (f", the smallest ({size(small['parameters'])}) "
                 f"{number(*small[['score', 'low', 'high']])}")
    return says + "."


def trend(by_frequency: pd.DataFrame | None) -> str:
    """Whether models answer more often correctly what more documents state, model by model; empty
    where the truth is not known (null)."""
    if by_frequency is None:
        return ""
    once, parts = by_frequency.drop_duplicates("model"), []
    low, high = once["spearman_low"], once["spearman_high"]
    for rows, words in ((low > 0, "correctly more often"), (high < 0, "correctly less often")):
        if rows.any():
            many = "each" if rows.all() else f"{rows.sum()}"
            parts.append(f"{words} by {many} of the {len(once)} models")
    if not parts:
        return ("Whether facts that more documents state are answered correctly more often is not "
                "decided for any model.")
    largest = number(*once.iloc[-1][["spearman", "spearman_low", "spearman_high", "points"]])
    return (f"Facts that more documents state are answered {listed(parts)}; for the largest the "
            "rank correlation of right answers with the number of statements is "
            f"{largest}, which is not a Mem.")


def answer(documents: int | None, final: pd.DataFrame, facts: pd.DataFrame | None = None,
           by_frequency: pd.DataFrame | None = None) -> str:
    """The chapter's answer: what is in the world, what the models learnt, and on what it depends;
    all but ``final`` null where the truth is not known."""
    world = ""
    if facts is not None:
        words = facts_in_words(facts)
        world = (f"The {documents:,} documents of the world state {words['facts']} facts about "
                 f"{words['people']} people, each fact {words['stated']} times.")
    return " ".join(filter(None, [world, learnt(final), trend(by_frequency)]))


def of_suites(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The recorded scores of all suites in the groups that are compared; ``part``: task, group."""
    table = tables["performance"]
    table = table[table["metric"].isin(["exact_match", "accuracy"])
                  & table["group"].isin(SUITE_GROUPS)]
    agree = {"facts, undisputed": "documents agree", "facts, disputed": "documents disagree"}
    part = table["task"].replace(NAMES) + "\n" + table["group"].replace(agree)
    return table.assign(part=part).sort_values("suite", kind="stable")


def by_chance(suites: pd.DataFrame) -> str:
    """How much two trainings differ that differ by chance alone: suite B and its reseed."""
    both = suites[suites["suite"].isin(["B", "reseed"])].pivot_table(
        index=["part", "model"], columns="suite", values="score").dropna()
    if both.shape[1] < 2 or both.empty:
        return "No suite was trained twice, so the variation by chance is not known."
    apart = (both["B"] - both["reseed"]).abs()
    part, model = apart.idxmax()
    where = part.replace("\n", ", ").replace("_", " ")
    return (f"Two trainings that differ by chance alone differ by {apart.median():.2f} in the "
            f"median score, and by up to {apart.max():.2f} ({where}, {model}).")
