"""What randomly assigned insertions did to models: curves, halves, contrasts, what was expected.

One training stands behind every curve: intervals are of other texts of the same kind, and not of
other trainings.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy import special, stats

from taskgram_chapters import verdicts
from taskgram_utils.errors import require
from taskgram_utils.jackknife import LEVEL
from taskgram_utils.statistics import holm

SERIES = ["kind", "task", "fact", "measure", "inserted", "parameters", "tokens"]
PARAPHRASED, FLAT = "paraphrased against verbatim", "does not leave its floor"
AGAINST = {"8B against 1B": ("parameters", 8 * 10**9, 10**9),
           "500B against 100B": ("tokens", 5 * 10**11, 10**11),
           PARAPHRASED: ("inserted", "paraphrased", "verbatim")}
LINES = {
    "accuracy with the number of insertions": ("", "gain_odds"),
    "half with eight times the parameters": ("8B against 1B", "half"),
    "half with five times the corpus": ("500B against 100B", "half"),
    "half after paraphrased insertion against verbatim": (PARAPHRASED, "half"),
    "slope for a doubling, 8B against 1B": ("8B against 1B", "gain_odds", "gain"),
}
"""What was preregistered: the contrast (none: the series themselves) and its measures."""
SHARE = float(np.log2(5))
"""Doublings by which a half moves with five times the corpus, where the share of it counts."""
EFFECT = 0.1
"""An effect of counts within this many nats of log-odds a nat of count is none (method)."""
ANSWERS = ("found", "opposite", "none", "not decided")
HALVES, SLOPES = (-2.0, 11.0), (0.25, 8.0)
"""What is searched: log2 of the half (insertions), and nats of log-odds a doubling."""
_POINTS, _ROUNDS, _NEAR = (33, 17), 150, (4.0, 4.0, 0.2, 0.05, 0.01)
_DROP = stats.chi2.ppf(LEVEL, 1) / 2


def _surface(right: np.ndarray, asked: np.ndarray, log2: np.ndarray, halves: np.ndarray,
             slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The binomial log likelihood, and the best floor and ceiling, of each half and slope.

    An answer at a dose comes from the ceiling with the probability ``reached``, else from the
    floor; expectation and maximisation in turn then find both and never leave 0…1.
    """
    reached = special.expit(slopes[:, None] * (log2 - halves[:, None, None]))
    floor = np.full((len(halves), len(slopes), 1), (right[0] + 0.5) / (asked[0] + 1))
    ceiling = np.full_like(floor, ((right + 0.5) / (asked + 1)).max())
    for _ in range(_ROUNDS):
        p = np.clip(floor + (ceiling - floor) * reached, 1e-12, 1 - 1e-12)
        above = right * ceiling * reached / p
        wrong = (asked - right) * (1 - ceiling) * reached / (1 - p)
        of_ceiling, all_ceiling = above.sum(-1), (above + wrong).sum(-1)
        ceiling = (of_ceiling / np.maximum(all_ceiling, 1e-300))[..., None]
        floor = ((right.sum() - of_ceiling) / (asked.sum() - all_ceiling))[..., None]
    p = np.clip(floor + (ceiling - floor) * reached, 1e-12, 1 - 1e-12)
    # A curve that falls is none; the best that does not is then flat.
    p = np.where(floor > ceiling, right.sum() / asked.sum(), p)
    return _likelihood(right, asked, p), floor[..., 0], ceiling[..., 0]


def _likelihood(right: np.ndarray, asked: np.ndarray, p: np.ndarray | float) -> np.ndarray:
    return (special.xlogy(right, p) + special.xlog1py(asked - right, -p)).sum(-1)


def _ends(profile: np.ndarray, places: np.ndarray) -> list[float]:
    """Where a profile falls by :data:`_DROP` below its best; infinite where it does not."""
    best, ends = profile.argmax(), []
    for step in (-1, 1):
        below, at = profile.max() - profile[best::step], places[best::step]
        over = np.flatnonzero(below > _DROP)[:1]
        ends += [np.interp(_DROP, below[i - 1 : i + 1], at[i - 1 : i + 1]) for i in over] or [
            step * np.inf]
    return ends


def curve(insertions: Sequence[float], shares: Sequence[float], n: Sequence[float]) -> dict:
    """A rising curve of the share of right answers in the number of insertions, by likelihood:
    floor + (ceiling - floor) / (1 + exp(-slope (log2 insertions - log2 half))), no insertion at the
    floor.

    Floor and ceiling are free within 0…1. Intervals of ``half`` (insertions) and ``slope`` (nats of
    log-odds between floor and ceiling, a doubling) are where the profile likelihood falls by half
    the 95% point of χ² with one degree of freedom; infinite (half: 0 below) where it never does
    within :data:`HALVES`, :data:`SLOPES`. ``p``: likelihood ratio against a flat line, χ² with
    three degrees of freedom (on the safe side, for a flat line has no half); ``p_fit``: of all
    shares free against the curve. Raises InputError for shares outside 0…1.
    """
    asked, shares = np.asarray(n, float), np.asarray(shares, float)
    inside = ((shares >= 0) & (shares <= 1) & (asked > 0)).all()
    require(inside, "a curve needs shares within 0…1, each of a number of texts")
    right = shares * asked
    with np.errstate(divide="ignore"):
        log2 = np.log2(np.asarray(insertions, float))
    box = [np.array(HALVES), np.log(SLOPES)]
    for near in _NEAR:  # each time within what is as likely but for so much
        halves, logs = (np.linspace(*ends, k) for ends, k in zip(box, _POINTS, strict=True))
        surface, floors, ceilings = _surface(right, asked, log2, halves, np.exp(logs))
        if near == _NEAR[2]:
            ends = _ends(surface.max(1), halves), _ends(surface.max(0), logs)
        for axis, places in enumerate((halves, logs)):
            kept = np.flatnonzero((surface > surface.max() - near).any(1 - axis))
            box[axis] = places[[max(kept[0] - 1, 0), min(kept[-1] + 1, len(places) - 1)]]
    i, j = np.unravel_index(surface.argmax(), surface.shape)
    flat, free = (_likelihood(right, asked, p) for p in (right.sum() / asked.sum(), shares))
    half = np.exp2([halves[i], *ends[0]])
    slope = np.exp([logs[j], *ends[1]])
    return {"floor": floors[i, j], "ceiling": ceilings[i, j], "half": half[0],
            "half_low": half[1], "half_high": half[2], "slope": slope[0], "slope_low": slope[1],
            "slope_high": slope[2], "p": stats.chi2.sf(2 * (surface[i, j] - flat), 3),
            "p_fit": stats.chi2.sf(2 * (free - surface[i, j]), max(len(asked) - 4, 1))}


def points(table: pd.DataFrame) -> pd.DataFrame:
    """Of a table of :func:`~taskgram_chapters.records.insertions` the shares of right answers, with
    Wilson's interval over texts (by its formula: a mean of recalls is no whole number of texts)."""
    out = table[table["n"].notna()].rename(columns={"mean": "estimate"}).reset_index(drop=True)
    z2, p, n = stats.norm.ppf((1 + LEVEL) / 2) ** 2, out["estimate"], out["n"]
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * p * (1 - p) / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    return out.assign(low=middle - half, high=middle + half)


def dose_response(table: pd.DataFrame) -> pd.DataFrame:
    """A row per series of a table of :func:`~taskgram_chapters.records.insertions`.

    Series of known ``n``: the :func:`curve`, and the gain a doubling from 1 to the most insertions,
    the least-squares slope on log2: ``gain`` of the share (its interval from binomial variances),
    ``gain_odds`` of its log-odds (nats; half an answer is added on either side). Other series have
    ``gain`` alone, with Student's interval over the doses: log P in nats a byte, say.
    ``half`` is null, and ``reason`` says why, where the rise is not significant (Holm over all
    curves), or the half lies below or above the insertions made; an end of its interval that is not
    reached is 0 or null. Intervals take answers on one text for independent of those on others; of
    ``squad_recall`` and of seven facts together (``all``) they are too wide rather than too narrow.
    """
    rows = []
    for key, part in table.groupby(SERIES, sort=False):
        part, row = part.sort_values("insertions"), dict(zip(SERIES, key, strict=True))
        rows.append(row | {"doses": len(part)} | _gains(part[part["insertions"] > 0]))
        if part["n"].notna().all():
            rows[-1] |= curve(*part[["insertions", "mean", "n"]].to_numpy().T)
    out, most = pd.DataFrame(rows), table["insertions"].max()
    fitted = out["p"].notna()
    out.loc[fitted, "p_holm"] = holm(out.loc[fitted, "p"])
    flat = fitted & ~(out["p_holm"] < 1 - LEVEL)
    of_half = ["half", "half_low", "half_high"]
    out["reason"] = np.select(
        [~fitted, flat, out["half"] > most, out["half"] < 1],
        ["no number of texts", FLAT, f"> {most}", "< 1"], None)
    out.loc[flat, [*of_half, "slope", "slope_low", "slope_high"]] = np.nan
    out.loc[out["reason"].notna(), "half"] = np.nan
    return out.replace(np.inf, np.nan)


def _gains(part: pd.DataFrame) -> dict[str, float]:
    """Least-squares slopes on log2 of the insertions, with their intervals."""
    away = np.log2(part["insertions"]) - np.log2(part["insertions"]).mean()
    weights, n, y = (away / (away**2).sum()).to_numpy(), part["n"], part["mean"]
    right, wrong, z = y * n + 0.5, (1 - y) * n + 0.5, stats.norm.ppf((1 + LEVEL) / 2)
    error = z * np.sqrt(weights**2 @ (right * wrong / (n + 1) ** 3))
    if n.isna().any():
        error = stats.linregress(away, y).stderr * stats.t.ppf((1 + LEVEL) / 2, len(y) - 2)
    odds = weights @ np.log(right / wrong)
    of_odds = z * np.sqrt(weights**2 @ (1 / right + 1 / wrong))
    return {f"{name}{end}": value + sign * width
            for name, value, width in (("gain", weights @ y, error), ("gain_odds", odds, of_odds))
            for end, sign in (("", 0), ("_low", -1), ("_high", 1))}


def contrasts(curves: pd.DataFrame) -> pd.DataFrame:
    """Differences of two curves of :func:`dose_response` that differ in one thing
    (:data:`AGAINST`): ``of`` log2 half (doublings), slope, gain and gain_odds.

    Intervals join those of the two (Zou and Donner 2008) as of independent answers. Where a half
    lies beyond the insertions made, there is no estimate, and only what the ends of the two
    intervals bound; where a curve has no half, there is neither; ``reason`` says so.
    """
    fitted, rows = curves[curves["p"].notna()], []
    for name, (column, *values) in AGAINST.items():
        keys = [key for key in SERIES if key != column]
        one, other = (fitted[fitted[column] == value] for value in values)
        for _, pair in one.merge(other, on=keys, suffixes=("", "_other")).iterrows():
            for of in ("half", "slope", "gain", "gain_odds"):
                sides = [pair[[f"{of}{end}{side}" for end in ("", "_low", "_high")]].to_numpy(float)
                         for side in ("", "_other")]
                reasons = [r for r in pair[["reason", "reason_other"]].dropna() if of == "half"]
                rows.append({"contrast": name, **pair[keys], "of": of,
                             **_difference(*sides, of == "half", reasons)})
    return pd.DataFrame(rows).dropna(subset=["estimate", "reason"], how="all")


def _difference(one: np.ndarray, other: np.ndarray, halves: bool, reasons: list[str]) -> dict:
    """Estimate, ends and reason of a row of :func:`contrasts`."""
    if FLAT in reasons:
        return {"reason": f"a curve {FLAT}"}
    if halves:  # an end that was not reached is at 0 or beyond all insertions
        with np.errstate(divide="ignore"):
            one, other = (np.log2(np.nan_to_num(side, nan=np.inf)) for side in (one, other))
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    out = {"estimate": np.nan, "low": a_low - b_high, "high": a_high - b_low,
           "reason": f"a half is {' and one '.join(reasons)}"}
    if not reasons:
        out = {"estimate": a - b, "low": a - b - np.hypot(a - a_low, b_high - b),
               "high": a - b + np.hypot(a_high - a, b - b_low), "reason": None}
    return {key: np.nan if value in (np.inf, -np.inf) else value for key, value in out.items()}


def judge(
    expected: Sequence[dict], curves: pd.DataFrame, found: pd.DataFrame
) -> pd.DataFrame:
    """What was preregistered (``insertions`` of ``book/cause_expectations.yaml``) against
    :func:`dose_response` and :func:`contrasts`.

    A row per line, ``of`` (the measure) and kind (all, and biographies alone): ``cells`` with an
    interval, how many give each of :data:`ANSWERS`, the ``answer`` of all (``mixed, k of m``: found
    in k of m), ``without`` (cells that have none, for a curve has no half), and mean, ``low`` and
    ``high`` over the cells that have an estimate, with Student's interval: of other questions, not
    of other trainings. ``gain_odds`` is in nats a nat of count, ``gain`` in shares a doubling,
    ``half`` in doublings; what counts as none was said of the first alone. Seven facts together are
    used only where they stand alone, after paraphrased insertion; nationality, which follows the
    introduction, is asked by the same prompt with both prefixes and counts once. Raises InputError
    for a line that is not of :data:`LINES`.
    """
    fitted, rows = curves[curves["p"].notna()], []
    rise = fitted.rename(columns={"gain_odds": "estimate", "gain_odds_low": "low",
                                  "gain_odds_high": "high"}).assign(of="gain_odds", contrast="")
    for line in expected:
        require(line["what"] in LINES, f"insertions: {line['what']}: was not preregistered")
        contrast, *measures = LINES[line["what"]]
        for of, kind in product(measures, ("all", "biographies")):
            cells = found if contrast else rise
            cells = cells[(cells["contrast"] == contrast) & (cells["of"] == of)]
            together = (cells["kind"] == "biographies") & (cells["fact"] == "all")
            cells = cells[~together | (contrast == PARAPHRASED)].pipe(_once)
            cells = cells[(cells["kind"] == kind) | (kind == "all")]
            scale, bound = (np.log(2), EFFECT) if of == "gain_odds" else (1.0, 0.0)
            values = cells[["estimate", "low", "high"]].to_numpy(float) / scale
            said = pd.Series([answer(line["expected"], *ends, bound) for ends in values[:, 1:]])
            said = said.value_counts().reindex(ANSWERS, fill_value=0)
            m, top = said.sum(), said.idxmax()
            rows.append({"what": line["what"], "expected": line["expected"], "of": of,
                         "kind": kind, "cells": m, **said, "without": len(cells) - m,
                         "answer": top if said[top] == m else f"mixed, {said['found']} of {m}",
                         **mean_of(values[:, 0])})
    return pd.DataFrame(rows)


def answer(expected: str, low: float, high: float, bound: float) -> str | None:
    """What an interval says of an effect that was expected to rise or fall: one of
    :data:`ANSWERS`; nothing where neither end is known. An end that is not known is infinite."""
    if np.isnan(low) and np.isnan(high):
        return None
    low, high = (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)
    return verdicts.answer({"rises": "positive", "falls": "negative"}[expected], low, high, bound)


def _once(cells: pd.DataFrame) -> pd.DataFrame:
    """Without the second of two prompts that are the same: nationality follows the introduction."""
    intro = cells["task"].str.contains("intro_prefix")
    return cells[~intro | (cells["fact"] != "nationality")]


def mean_of(values: np.ndarray) -> dict[str, float]:
    """The mean of what is not null, with Student's interval."""
    values = values[~np.isnan(values)]
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values)
    return {"estimate": values.mean(), "low": values.mean() - half, "high": values.mean() + half}


def share_or_count(found: pd.DataFrame) -> pd.DataFrame:
    """Of the contrasts of half between corpora of 500 and 100 billion tokens, by parameters and all
    together: the mean with Student's interval over questions (doublings), and how many intervals
    include 0 (the count alone matters) and :data:`SHARE` (its share of the corpus does), and how
    many lie above the latter."""
    cells = found[(found["contrast"] == "500B against 100B") & (found["of"] == "half")]
    cells = cells.dropna(subset=["estimate", "low", "high"]).pipe(_once)
    of_size = cells.groupby(cells["parameters"].map({10**9: "1B", 8 * 10**9: "8B"}))
    rows = []
    for name, part in (("1B and 8B", cells), *of_size):
        inside = {f"with_{key}": ((part["low"] <= at) & (part["high"] >= at)).sum()
                  for key, at in (("count", 0.0), ("share", SHARE))}
        inside["above_share"] = (part["low"] > SHARE).sum()
        rows.append({"parameters": name, "cells": len(part), **inside,
                     **mean_of(part["estimate"].to_numpy())})
    return pd.DataFrame(rows)


def tables(table: pd.DataFrame, expected: Sequence[dict]) -> dict[str, pd.DataFrame]:
    """All tables of a table of :func:`~taskgram_chapters.records.insertions`, by name."""
    curves = dose_response(table)
    found = contrasts(curves)
    return {"points": points(table), "curves": curves, "contrasts": found,
            "answers": judge(expected, curves, found), "share": share_or_count(found)}
