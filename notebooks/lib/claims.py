"""The paper's claims, each beside a number of the miniature world and numbers of published records, with verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from taskgram_chapters.expectations import AT, VERDICTS, direction, key, number, short, verdict, worst
from taskgram_utils.errors import require, require_columns
from taskgram_utils.run.store import project_root

COLUMNS = ["key", "claim", "by", "miniature", "miniature_verdict", "records", "records_verdict", "note"]
UNSAID = VERDICTS[1]


def read_claims(path: Path | None = None) -> list[dict]:
    """``book/paper_claims.yaml``: what is claimed, by whom, the direction it asks for and which numbers bear on it."""
    path = path or project_root() / "book" / "paper_claims.yaml"
    claims = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    for claim in claims:
        name = f"{path.name}: claim {claim.get('key')}"
        require({"key", "claim", "by", "says"} <= set(claim), f"{name}: needs key, claim, by and says")
        require(claim["says"] in AT, f"{name}: says {claim['says']}: not one of {', '.join(AT)}")
        require(("miniature" in claim) != ("absent_miniature" in claim), f"{name}: miniature or absent_miniature")
        require(("records" in claim) != ("absent" in claim), f"{name}: needs either records or absent")
    return claims


def evidence(judged: pd.DataFrame, frequency: pd.DataFrame, kendall: pd.DataFrame, few: int = 20) -> pd.DataFrame:
    """The numbers of a run that claims may be held against: key, estimate, low, high, points.

    Of :func:`taskgram_chapters.expectations.judge` the estimate and the slope of each row (``at-``, ``slope-`` and its
    key); of ``frequency`` the rank correlation of score and frequency (``frequency-task-group``; where fewer than
    ``few`` answers are of the rarer score, without interval); of ``kendall`` the slopes (``kendall-group``).
    """
    names = judged.apply(key, axis=1)
    slope = judged[["slope", "slope_low", "slope_high"]].set_axis(["estimate", "low", "high"], axis=1)
    score = frequency[["spearman", "spearman_low", "spearman_high", "size"]]
    score = score.set_axis(["estimate", "low", "high", "points"], axis=1)
    score.loc[frequency["changes"] < few, ["low", "high"]] = float("nan")
    distance = kendall[["slope", "low", "high"]].rename(columns={"slope": "estimate"})
    parts = [
        judged[["estimate", "low", "high", "points"]].assign(key="at-" + names),
        slope.assign(key="slope-" + names),
        score.assign(key="frequency-" + frequency["task"] + "-" + frequency["group"]),
        distance.assign(key="kendall-" + kendall["group"]),
    ]
    return pd.concat(parts, ignore_index=True)[["key", "estimate", "low", "high", "points"]]


def compare(
    claims: list[dict],
    miniature: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    widest: float = 0.4,
    widest_slope: float = 0.2,
) -> pd.DataFrame:
    """One row per claim: key, claim, by, the numbers of either side in words, and their verdicts.

    ``miniature`` has key, estimate, low, high, points (keys that begin with ``slope-`` or ``kendall-`` are slopes);
    ``tables`` those of :func:`taskgram_chapters.findings.recorded`. A verdict is ``agrees``, ``disagrees`` or
    ``cannot be said``; of several numbers the first of ``disagrees``, ``cannot be said``, ``agrees`` that one of them
    has. An interval that holds 0 speaks for "none", or against a direction, only where it is at most ``widest``
    (``widest_slope``) wide. Raises InputError where a key stands twice, or a record has not one row.
    """
    require_columns(miniature, ["key", "estimate", "low", "high", "points"], "miniature")
    rows = []
    for claim in claims:
        here = (claim.get("absent_miniature"), UNSAID)
        if "miniature" in claim:
            wanted = claim["miniature"]
            found = miniature[miniature["key"] == wanted]
            twice = f"claim {claim['key']}: {len(found)} numbers of the miniature world called {wanted}"
            require(len(found) < 2, twice)
            slope = wanted.startswith(("slope-", "kendall-"))
            here = ("not in this run", UNSAID)
            if len(found):
                here = _said(found.iloc[0], "estimate", claim["says"], widest_slope if slope else widest)
        asked = claim.get("records", [])
        numbers = [(one["name"], _evidence(claim, one, tables, widest, widest_slope)) for one in asked]
        text = "; ".join(f"{name}: {said}" for name, (said, _) in numbers) or claim.get("absent")
        verdicts = [v for _, (_, v) in numbers] or [UNSAID]
        row = {"miniature": here[0], "miniature_verdict": here[1], "records": text, "note": claim.get("note")}
        row["records_verdict"] = worst(verdicts)
        rows.append({**{c: claim[c] for c in ("key", "claim", "by")}, **row})
    return pd.DataFrame(rows)[COLUMNS]


def _evidence(
    claim: dict, one: dict, tables: Mapping[str, pd.DataFrame], widest: float, widest_slope: float
) -> tuple[str, str]:
    """A number of the records in words, with its own verdict where there are several."""
    value, table = one.get("value", "estimate"), tables[one["table"]]
    require_columns(table, [*one["where"], value, "low", "high"], f"claim {claim['key']}: {one['table']}")
    found = table[(table[list(one["where"])] == pd.Series(one["where"])).all(axis=1)]
    models = one.get("models", [])
    if models:
        found = found[found["model"].isin(models)]
    wanted = len(models) or 1
    require(len(found) == wanted, f"claim {claim['key']}, {one['name']}: {len(found)} rows of {one['table']}, "
            f"not {wanted}")  # fmt: skip
    limit = widest_slope if value == "slope" else widest
    each = [_said(row, value, claim["says"], limit) for _, row in found.iterrows()]
    if not models:
        said, told = each[0]
        return (f"{said} ({told})" if len(claim["records"]) > 1 else said), told
    tally = pd.Series([told for _, told in each]).value_counts()
    said = ", ".join(f"{told} at {tally[told]} of {wanted} sizes" for told in VERDICTS if told in tally)
    said += f", from {short(found[value].min())} to {short(found[value].max())}"
    return said, worst(tally.index)


def _said(row: pd.Series, value: str, says: str, widest: float) -> tuple[str, str]:
    """Number and verdict: an estimate with its points, a slope with the number of models, and with the ends of both its
    intervals, that of other points and that of other sizes, where it has two."""
    estimate, low, high = float(row[value]), float(row["low"]), float(row["high"])
    if value == "slope" and pd.notna(row.get("low_sizes")):
        low, high = min(low, row["low_sizes"]), max(high, row["high_sizes"])
    many = None if value == "slope" or pd.isna(row["points"]) else float(row["points"])
    text = number(estimate, low, high, many)
    text += f", {int(row['models'])} models" if value == "slope" else ""
    return text, verdict(says, direction(estimate, low, high, widest))
