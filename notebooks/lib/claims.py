"""The paper's claims beside numbers of the miniature world and of published records: verdicts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from taskgram_chapters.expectations import AT, VERDICTS, direction, key, one_row, verdict, worst
from taskgram_chapters.numbers import number, short
from taskgram_utils.errors import require
from taskgram_utils.run.store import project_root

UNSAID = VERDICTS[1]


def read_claims(path: Path | None = None) -> list[dict]:
    """``book/paper_claims.yaml``: what is claimed, by whom, the direction that the claim says and
    which numbers bear on it."""
    path = path or project_root() / "book" / "paper_claims.yaml"
    claims = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    for claim in claims:
        whole = {"key", "claim", "by", "says"} <= set(claim) and claim["says"] in AT
        for side, absent in (("miniature", "absent_miniature"), ("records", "absent")):
            whole &= (side in claim) != (absent in claim)
        require(whole, f"{path.name}: claim {claim.get('key')}: needs key, claim, by, says (one of "
                f"{', '.join(AT)}), either miniature or absent_miniature, either records or absent")
    return claims


def evidence(
    judged: pd.DataFrame, frequency: pd.DataFrame, kendall: pd.DataFrame, few: int = 20
) -> pd.DataFrame:
    """The numbers of a run that claims are compared with: key, estimate, low, high, points.

    Of :func:`taskgram_chapters.expectations.judge` the estimate and the slope of each row (``at-``,
    ``slope-`` and its key); of ``frequency`` the rank correlation of score and frequency
    (``frequency-task-group``; without interval where fewer than ``few`` answers are of the rarer
    score); of ``kendall`` the slopes (``kendall-group``).
    """
    names = judged.apply(key, axis=1)
    bounds = ["estimate", "low", "high"]
    slope = judged[["slope", "slope_low", "slope_high"]].set_axis(bounds, axis=1)
    score = frequency[["spearman", "spearman_low", "spearman_high", "size"]]
    score = score.set_axis([*bounds, "points"], axis=1)
    score.loc[frequency["changes"] < few, ["low", "high"]] = float("nan")
    parts = [
        judged.assign(key="at-" + names), slope.assign(key="slope-" + names),
        score.assign(key="frequency-" + frequency["task"] + "-" + frequency["group"]),
        kendall.assign(key="kendall-" + kendall["group"], estimate=kendall["slope"], points=None),
    ]
    columns = ["key", *bounds, "points"]
    return pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)


def compare(
    claims: list[dict], miniature: pd.DataFrame, tables: Mapping[str, pd.DataFrame],
    widest: float = 0.4, widest_slope: float = 0.2,
) -> pd.DataFrame:
    """One row per claim: key, claim, by, the numbers of either side in words, and their verdicts.

    ``miniature`` has key, estimate, low, high, points (keys that begin with ``slope-`` or
    ``kendall-`` are slopes); ``tables`` are the recorded ones of
    :func:`taskgram_chapters.findings.findings`. Of several numbers the worst verdict counts. An
    interval that includes 0 speaks for "none", or against a direction, only where it is at most
    ``widest`` (``widest_slope``) wide. Raises InputError where a key is given twice, or a number of
    the records is not one row.
    """
    rows = []
    for claim in claims:
        name = claim.get("miniature")
        here = (claim.get("absent_miniature", "not in this run"), UNSAID)
        row = one_row(miniature, {"key": name}, f"claim {claim['key']}: the miniature world")
        if len(row):
            limit = widest_slope if name.startswith(("slope-", "kendall-")) else widest
            here = _judged(row, "estimate", claim["says"], limit)
        texts, verdicts = [claim.get("absent")], [UNSAID]
        if "records" in claim:
            found = [_of_records(claim, wanted, tables, widest, widest_slope)
                     for wanted in claim["records"]]
            texts, verdicts = zip(*found, strict=True)
        rows.append({
            "key": claim["key"], "claim": claim["claim"], "by": claim["by"], "miniature": here[0],
            "miniature_verdict": here[1], "records": "; ".join(texts),
            "records_verdict": worst(verdicts), "note": claim.get("note"),
        })
    return pd.DataFrame(rows)


def _of_records(
    claim: dict, wanted: dict, tables: Mapping[str, pd.DataFrame], widest: float,
    widest_slope: float,
) -> tuple[str, str]:
    """A number of the records, or how many of those of several models agree, in words, and the
    verdict."""
    value, models = wanted.get("value", "estimate"), wanted.get("models")
    name, estimates, judged = f"claim {claim['key']}, {wanted['name']}", [], []
    for model in [{"model": model} for model in models] if models else [{}]:
        row = one_row(tables[wanted["table"]], wanted["where"] | model, name)
        require(len(row), f"{name}: {wanted['table']} has no row for {wanted['where'] | model}")
        limit = widest_slope if value == "slope" else widest
        judged.append(_judged(row, value, claim["says"], limit))
        estimates.append(row[value])
    tally = Counter(found for _, found in judged)
    text = judged[0][0] + (f" ({judged[0][1]})" if len(claim["records"]) > 1 else "")
    if models:
        text = ", ".join(f"{found} at {tally[found]} of {len(models)} sizes"
                         for found in VERDICTS if found in tally)
        text += f", from {short(min(estimates))} to {short(max(estimates))}"
    return f"{wanted['name']}: {text}", worst(tally)


def _judged(row: pd.Series, value: str, says: str, widest: float) -> tuple[str, str]:
    """Number and verdict: an estimate with its points, a slope with the number of models and, where
    it has an interval over sizes, too, the ends of both."""
    estimate, low, high, points = row[value], row["low"], row["high"], row.get("points")
    if value == "slope":
        points = None
        if pd.notna(row.get("low_sizes")):
            low, high = min(low, row["low_sizes"]), max(high, row["high_sizes"])
    text = number(estimate, low, high, points)
    text += f", {int(row['models'])} models" if value == "slope" else ""
    return text, verdict(says, direction(estimate, low, high, widest))
