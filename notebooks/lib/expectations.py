"""What was expected before any Mem was computed, compared with the tables: verdicts, sentences."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import yaml

from taskgram_chapters.numbers import numbers, short
from taskgram_utils.errors import require, require_columns
from taskgram_utils.run.store import project_root
from taskgram_utils.statistics import holm

AT = ("positive", "negative", "none")
VERDICTS = ("disagrees", "cannot be said", "agrees")
"""From the worst on."""
WITH_SIZE = {"rises": "positive", "falls": "negative", "none": "none"}
NAMES = {"translation": "Translation", "factual_qa": "Factual QA",
         "world_knowledge": "World knowledge", "math_reasoning": "Maths reasoning"}
_KINDS = {"raw": "Mem", "partial": "Mem given output frequency",
          "difference": "Mem less that under the ∞-gram LM"}
_LONG_KINDS = {"raw": "Mem", "partial": "Mem given the frequency of the output",
               "difference": "Mem under the task-gram LM less that under the ∞-gram LM"}
_AT_WORDS = {"positive": "is positive", "negative": "is negative", "null": "could not be estimated",
             "none": "cannot be distinguished from zero",
             "too wide": "has too wide an interval to say"}
SIZE_WORDS = {"positive": "rises", "negative": "falls", "too wide": "may go either way",
              "none": "has no slope that can be distinguished from zero", "null": "has no slope"}
_KEYS = ["task", "group", "n", "count_model", "measure"]


def read_expectations() -> pd.DataFrame:
    """``book/expectations.yaml`` as preregistered, one row per expectation: task, group, n (the
    main order), count_model, measure, ``at`` (the largest size: positive, negative, none),
    ``with_size`` (rises, falls, none), paper, why."""
    path = project_root() / "book" / "expectations.yaml"
    preregistered = yaml.safe_load(path.read_text(encoding="utf-8"))
    table = pd.DataFrame(preregistered["expectations"])
    table = table.rename(columns={"reference": "count_model"})  # the file stays as it was committed
    for column, words in (("at", AT), ("with_size", WITH_SIZE)):
        known = table[column].isin(words).all()
        require(known, f"{path}: {column} must be one of {', '.join(words)}")
    return table.assign(n=preregistered["main_order"])


def direction(estimate: float, low: float, high: float, widest: float) -> str:
    """What an interval says: ``positive`` or ``negative`` where it excludes 0; ``none`` where it
    includes 0; ``too wide`` where it includes 0 but is wider than ``widest``; ``null`` where there
    is no interval."""
    if any(map(pd.isna, (estimate, low, high))):
        return "null"
    if low > 0 or high < 0:
        return "positive" if low > 0 else "negative"
    return "none" if high - low <= widest else "too wide"


def verdict(expected: str, found: str) -> str:
    """``agrees``, ``disagrees``, or ``cannot be said`` where the estimate is null or its interval
    too wide."""
    if found in ("null", "too wide"):
        return "cannot be said"
    return "agrees" if expected == found else "disagrees"


def worst(verdicts: Iterable[str]) -> str:
    """Of several verdicts the one that counts for all: the first of :data:`VERDICTS`."""
    return min(verdicts, key=VERDICTS.index)


def rows_of(table: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a table whose columns have these values."""
    return table[(table[list(where)] == pd.Series(where)).all(axis=1)]


def one_row(table: pd.DataFrame, where: Mapping[str, Any], name: str) -> pd.Series:
    """The row of a table whose columns have these values; nothing where there is none. Raises
    InputError, which calls the table ``name``, where there are several."""
    require_columns(table, list(where), name)
    rows = rows_of(table, where)
    require(len(rows) < 2, f"{name}: more than one row for {', '.join(map(str, where.values()))}; "
            "keep one (of one step, form and zero handling)")
    return rows.iloc[0] if len(rows) else pd.Series(dtype=object)


def judge(
    expected: pd.DataFrame, estimates: pd.DataFrame, slopes: pd.DataFrame,
    widest: float = 0.4, widest_slope: float = 0.2,
) -> pd.DataFrame:
    """Every expectation with the estimate of the largest size, the slope, and the verdict on both.

    ``estimates`` holds rows of ``memorization`` tables (raw, partial) and of differences, at one
    step; ``slopes`` those of :func:`taskgram_utils.memorization.slopes`. Adds ``model``,
    ``estimate``, ``low``, ``high``, ``p``, ``points``, ``found_at``, ``slope``, ``slope_low``,
    ``slope_high``, ``slope_p``, ``slope_holm`` (Holm over the slopes of all), ``found_with_size``,
    ``other_n`` (the same of the other n, in words), ``verdict_at`` and ``verdict_with_size`` of the
    two parts, and ``verdict``, the worst of both. An interval that includes 0 speaks for "none"
    only if it is at most ``widest`` (``widest_slope`` per tenfold size) wide. Raises InputError
    where several rows of a table fit an expectation.
    """
    largest = estimates[estimates["parameters"] == estimates["parameters"].max()]
    rows = []
    for row in expected.to_dict("records"):
        where = {key: row[key] for key in _KEYS}
        at = one_row(largest, where, "estimates")
        row |= at.reindex(["model", "estimate", "low", "high", "p", "points"])
        slope = one_row(slopes, where, "slopes").reindex(["slope", "low", "high", "p"])
        row |= slope.set_axis(["slope", "slope_low", "slope_high", "slope_p"])
        del where["n"]
        others = rows_of(largest, where).query("n != @row['n']")
        row["other_n"] = "; ".join(f"n = {n}: {text}" for n, text in
                                   zip(others["n"], numbers(others), strict=True))
        row["found_at"] = direction(row["estimate"], row["low"], row["high"], widest)
        row["found_with_size"] = direction(*slope[["slope", "low", "high"]], widest_slope)
        row["verdict_at"] = verdict(row["at"], row["found_at"])
        row["verdict_with_size"] = verdict(WITH_SIZE[row["with_size"]], row["found_with_size"])
        row["verdict"] = worst([row["verdict_at"], row["verdict_with_size"]])
        rows.append(row)
    return pd.DataFrame(rows).assign(slope_holm=lambda table: holm(table["slope_p"]))


def _kind(row: pd.Series) -> str:
    if " - " in row["count_model"]:
        return "difference"
    return "partial" if "|" in row["measure"] else "raw"


def _where(row: pd.Series) -> str:
    return f"{NAMES.get(row['task'], row['task'])} ({row['group'].replace('_', ' ')})"


def key(row: pd.Series) -> str:
    """A short name for an expectation, as in ``factual_qa-facts-partial``."""
    return f"{row['task']}-{row['group']}-{_kind(row)}"


def sentence(row: pd.Series) -> str:
    """The claim of a judged row, whatever its direction, and whether it was expected."""
    wrong = [row["verdict_at"] == "disagrees", row["verdict_with_size"] == "disagrees"]
    met = "Both were" if row["verdict"] == "agrees" else "This neither meets nor breaks what was"
    if any(wrong):
        met = "Neither was" if all(wrong) else f"The {'first' if wrong[0] else 'second'} was not"
    found, size = _AT_WORDS[row["found_at"]], SIZE_WORDS[row["found_with_size"]]
    return (f"{_where(row)}: {_LONG_KINDS[_kind(row)]} {found} for the largest model; with size it "
            f"{size}. {met} expected.")


def refutation(found: str, what: str = "The estimate", widest: float = 0.4) -> str:
    """What would refute a finding: its direction decides."""
    other_sign = f": of the other sign, or its interval includes 0 and is at most {widest} wide"
    return what + {
        "positive": f" of another world{other_sign}", "negative": f" of another world{other_sign}",
        "none": " of another world, with an interval that excludes 0",
        "too wide": ": nothing yet, for so wide an interval contradicts nothing; more examples "
                    "have to come first",
        "null": ": nothing yet, for there is none; examples on which it can vary have to come "
                "first",
    }[found]


def report(judged: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`judge` in words: what, paper, expected, found, slope, verdict."""
    return pd.DataFrame({
        "what": [f"{_where(row)}: {_KINDS[_kind(row)]}" for _, row in judged.iterrows()],
        "paper": judged["paper"], "expected": judged["at"] + "; with size: " + judged["with_size"],
        "found": numbers(judged, "estimate", "low", "high", "points"),
        "slope": numbers(judged, "slope", "slope_low", "slope_high"), "verdict": judged["verdict"],
    })


def claims(
    judged: pd.DataFrame, scores: pd.Series | None = None, widest: float = 0.4,
    widest_slope: float = 0.2,
) -> dict[str, str]:
    """What a page shows of :func:`judge`, by name: ``claim-KEY``, ``number-KEY``, ``paper-KEY``,
    ``expected-KEY`` and ``refute-KEY`` of every row, with :func:`key` for KEY. ``scores``: the
    score of the largest model by (task, group), shown beside Mem."""
    out, scores = {}, {} if scores is None else scores
    for (_, row), words in zip(judged.iterrows(), report(judged).to_dict("records"), strict=True):
        slope = "" if pd.isna(row["slope_holm"]) else f", p (Holm) {short(row['slope_holm'])}"
        score = scores.get((row["task"], row["group"]))
        parts = [f"n = {row['n']}: {words['found']}", f"slope {words['slope']}{slope}",
                 row["other_n"], "" if score is None else f"score {short(score)}"]
        at = refutation(row["found_at"], "The estimate", widest)
        size = refutation(row["found_with_size"], "The slope", widest_slope)
        out |= {f"{part}-{key(row)}": text for part, text in (
            ("claim", sentence(row)), ("refute", f"{at}. {size}"), ("paper", words["paper"]),
            ("expected", words["expected"]), ("number", "; ".join(filter(None, parts))))}
    return out
