"""What was expected before any Mem was computed, held against the tables: verdicts and their sentences."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import yaml

from taskgram_utils.errors import require, require_columns
from taskgram_utils.run.store import project_root
from taskgram_utils.statistics import holm

AT = ("positive", "negative", "none")
VERDICTS = ("disagrees", "cannot be said", "agrees")
"""From the worst on."""
WITH_SIZE = {"rises": "positive", "falls": "negative", "none": "none"}
NAMES = {
    "translation": "Translation", "factual_qa": "Factual QA", "world_knowledge": "World knowledge",
    "math_reasoning": "Maths reasoning", "spearman": "Mem",
    "spearman|log_count_sy": "Mem given the frequency of the output",
}  # fmt: skip
_AT_WORDS = {
    "positive": "is positive", "negative": "is negative", "none": "cannot be told from zero",
    "too wide": "has too wide an interval to say", "null": "could not be estimated",
}  # fmt: skip
SIZE_WORDS = {
    "positive": "rises", "negative": "falls", "none": "has no slope that can be told from zero",
    "too wide": "may go either way", "null": "has no slope",
}  # fmt: skip


def read_expectations() -> pd.DataFrame:
    """``book/expectations.yaml`` as preregistered, one row per expectation: task, group, n (the main order), reference,
    measure, ``at`` (the largest size: positive, negative, none), ``with_size`` (rises, falls, none), paper, why."""
    preregistered = yaml.safe_load((project_root() / "book" / "expectations.yaml").read_text(encoding="utf-8"))
    table = pd.DataFrame(preregistered["expectations"])
    require(
        table["at"].isin(AT).all() and table["with_size"].isin(WITH_SIZE).all(),
        f"expectations.yaml: at must be one of {', '.join(AT)}, with_size one of {', '.join(WITH_SIZE)}",
    )
    return table.assign(n=preregistered["main_order"])


def direction(estimate: float, low: float, high: float, widest: float) -> str:
    """What an interval says: ``positive`` or ``negative`` where it leaves out 0; ``none`` where it holds 0; ``too
    wide`` where it holds 0 but is wider than ``widest``; ``null`` where there is no interval."""
    if any(map(pd.isna, (estimate, low, high))):
        return "null"
    if low > 0 or high < 0:
        return "positive" if low > 0 else "negative"
    return "none" if high - low <= widest else "too wide"


def _other_n(estimates: pd.DataFrame, row: dict) -> str:
    same = [c for c in row if c != "n"]
    others = estimates[(estimates[same] == pd.Series(row)[same]).all(axis=1) & (estimates["n"] != row["n"])]
    return "; ".join(f"n = {n}: {text}" for n, text in zip(others["n"], numbers(others), strict=True))


def verdict(expected: str, found: str) -> str:
    """``agrees``, ``disagrees``, or ``cannot be said`` where the estimate is null or its interval too wide."""
    return "cannot be said" if found in ("null", "too wide") else "agrees" if expected == found else "disagrees"


def judge(
    expected: pd.DataFrame,
    estimates: pd.DataFrame,
    slopes: pd.DataFrame,
    widest: float = 0.4,
    widest_slope: float = 0.2,
) -> pd.DataFrame:
    """The columns *paper / expected / found*: every expectation with the estimate of the largest size and the slope.

    ``estimates`` holds rows of ``memorization`` tables (raw, partial) and of differences, at one step; ``slopes`` those
    of :func:`taskgram_utils.memorization.slopes`. Adds ``model``, ``estimate``, ``low``, ``high``, ``p``, ``points``,
    ``found_at``, ``slope``, ``slope_low``, ``slope_high``, ``slope_p``, ``slope_holm`` (Holm over the slopes of all),
    ``found_with_size``, ``other_n`` (the same of the other n, in words), ``verdict_at`` and ``verdict_with_size`` of
    the two parts, and ``verdict``: ``disagrees`` where a part does, else ``cannot be said`` where one cannot, else
    ``agrees``. An interval that holds 0 speaks for "none" only if it is at most ``widest`` (``widest_slope`` per
    tenfold size) wide.
    Raises InputError where a row of the tables is not the only one that fits an expectation.
    """
    keys = ["task", "group", "n", "reference", "measure"]
    require_columns(estimates, [*keys, "model", "parameters", "estimate", "low", "high", "p", "points"], "estimates")
    require_columns(slopes, [*keys, "slope", "low", "high", "p"], "slopes")
    largest = estimates[estimates["parameters"] == estimates["parameters"].max()]
    at = largest[[*keys, "model", "estimate", "low", "high", "p", "points"]]
    size = slopes[[*keys, "slope", "low", "high", "p"]].rename(columns={c: f"slope_{c}" for c in ("low", "high", "p")})
    out = expected
    for table, name in ((at, "estimates"), (size, "slopes")):
        twice = table[table.duplicated(keys)].merge(expected[keys], on=keys)
        require(
            twice.empty,
            f"{name}: more than one row for {', '.join(map(str, twice[keys].head(1).to_numpy().ravel()))}; "
            "keep those of one step, form and zero rule",
        )
        out = out.merge(table, on=keys, how="left")
    out["slope_holm"] = holm(out["slope_p"])
    out["other_n"] = [_other_n(largest, row) for row in expected[keys].to_dict("records")]
    out["found_at"] = [direction(*row, widest) for row in out[["estimate", "low", "high"]].to_numpy(float)]
    sloped = out[["slope", "slope_low", "slope_high"]].to_numpy(float)
    out["found_with_size"] = [direction(*row, widest_slope) for row in sloped]
    out["verdict_at"] = list(map(verdict, out["at"], out["found_at"]))
    out["verdict_with_size"] = list(map(verdict, out["with_size"].map(WITH_SIZE), out["found_with_size"]))
    parts = out[["verdict_at", "verdict_with_size"]].to_numpy()
    return out.assign(verdict=[worst(both) for both in parts])


def worst(verdicts: Iterable[str]) -> str:
    """Of several verdicts the one that stands for all: ``disagrees`` before ``cannot be said`` before ``agrees``."""
    return min(verdicts, key=VERDICTS.index)


def key(row: pd.Series) -> str:
    """A short name for an expectation: task, group and what is measured, as in ``factual_qa-facts-partial``."""
    kind = "lead" if " - " in row["reference"] else "partial" if "|" in row["measure"] else "raw"
    return f"{row['task']}-{row['group']}-{kind}"


def sentence(row: pd.Series) -> str:
    """The claim of a judged row, whatever its direction, and whether it was expected."""
    what = NAMES.get(row["measure"], row["measure"])
    if " - " in row["reference"]:
        what = f"{what} under the task-gram LM less that under the ∞-gram LM"
    found = f"{_AT_WORDS[row['found_at']]} for the largest model; with size it {SIZE_WORDS[row['found_with_size']]}"
    missed = [row["verdict_at"] == "disagrees", row["verdict_with_size"] == "disagrees"]
    if row["verdict"] == "disagrees":
        said = "Neither was" if all(missed) else f"The {'first' if missed[0] else 'second'} was not"
    else:
        said = "Both were" if row["verdict"] == "agrees" else "This neither meets nor breaks what was"
    return f"{_where(row)}: {what} {found}. {said} expected."


def report(judged: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`judge` in words: ``what``, ``paper``, ``expected``, ``found``, ``slope``, ``verdict``."""
    kinds = {"raw": "Mem", "partial": "Mem given output frequency", "lead": "Mem less that under the ∞-gram LM"}
    what = [f"{_where(row)}: {kinds[key(row).rsplit('-', 1)[1]]}" for _, row in judged.iterrows()]
    return pd.DataFrame({
        "what": what, "paper": judged["paper"], "expected": judged["at"] + "; with size: " + judged["with_size"],
        "found": numbers(judged, "estimate", "low", "high", "points"),
        "slope": numbers(judged, "slope", "slope_low", "slope_high"), "verdict": judged["verdict"],
    })  # fmt: skip


def claims(
    judged: pd.DataFrame, scores: pd.Series | None = None, widest: float = 0.4, widest_slope: float = 0.2
) -> dict[str, str]:
    """What a page of claims shows of :func:`judge`, by name: ``claim-KEY``, ``number-KEY``, ``paper-KEY``,
    ``expected-KEY`` and ``refute-KEY`` of every row, with :func:`key` for KEY. ``scores``: the score of the largest
    model by (task, group), shown beside Mem."""
    out = {}
    for (_, row), (_, told) in zip(judged.iterrows(), report(judged).iterrows(), strict=True):
        name = key(row)
        out[f"claim-{name}"] = sentence(row)
        refuted = refutation(row["found_at"], "The estimate", widest)
        out[f"refute-{name}"] = f"{refuted}. {refutation(row['found_with_size'], 'The slope', widest_slope)}"
        out |= {f"{c}-{name}": told[c] for c in ("paper", "expected")}
        number_ = f"n = {row['n']}: {told['found']}; slope {told['slope']}"
        number_ += "" if pd.isna(row["slope_holm"]) else f", p (Holm) {short(row['slope_holm'])}"
        number_ += f"; {row['other_n']}" if row["other_n"] else ""
        score = None if scores is None else scores.get((row["task"], row["group"]))
        out[f"number-{name}"] = number_ + ("" if score is None else f"; score {short(score)}")
    return out


def numbers(table: pd.DataFrame, *columns: str) -> list[str]:
    """:func:`number` of every row, from the columns estimate, low, high or those named (the fourth: points)."""
    return [number(*row) for row in table[list(columns or ("estimate", "low", "high"))].to_numpy(float)]


def number(estimate: float, low: float, high: float, points: float | None = None) -> str:
    """An estimate as a page shows it: ``.43 [.25, .56], N = 282`` (lines break after the comma only), or
    ``no estimate``."""
    if pd.isna(estimate):
        return "no estimate"
    if pd.isna(low):
        text = f"{short(estimate)} (no interval)"
    else:
        text = f"{short(estimate)} [{short(low)}, {short(high)}]"
    parts = [text] if points is None or pd.isna(points) else [text, f"N = {int(points):,}"]
    return ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


def refutation(found: str, what: str = "The estimate", widest: float = 0.4) -> str:
    """What would refute a finding: its direction decides."""
    if found in ("positive", "negative"):
        return f"{what} of another world: of the other sign, or its interval holds 0 and is at most {widest} wide"
    if found == "none":
        return f"{what} of another world, with an interval that leaves out 0"
    if found == "too wide":
        return f"{what}: nothing yet, for so wide an interval contradicts nothing; more examples have to come first"
    return f"{what}: nothing yet, for there is none; examples on which it can vary have to come first"


def _where(row: pd.Series) -> str:
    return f"{NAMES.get(row['task'], row['task'])} ({row['group'].replace('_', ' ')})"


def short(value: float) -> str:
    """Two decimals; three where two would hide on which side of 0 a value lies."""
    text = f"{abs(value):.2f}" if abs(value) >= 0.005 or value == 0 else f"{abs(value):.3f}"
    return ("−" if value < 0 else "") + text.removeprefix("0")
