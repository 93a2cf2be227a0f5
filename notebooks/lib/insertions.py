"""What insertions drawn by lot did to models: curves, halves, contrasts, and what was expected.

One training stands behind every curve: intervals are of other texts of the same kind, and not of
other trainings.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special, stats

from taskgram_utils.errors import require
from taskgram_utils.jackknife import LEVEL
from taskgram_utils.statistics import holm

SERIES = ["kind", "task", "fact", "measure", "inserted", "parameters", "tokens"]
AGAINST = {"8B against 1B": ("parameters", 8 * 10**9, 10**9),
           "500B against 100B": ("tokens", 5 * 10**11, 10**11),
           "paraphrased against verbatim": ("inserted", "paraphrased", "verbatim")}
SHARE = float(np.log2(5))
"""Doublings by which a half moves with five times the corpus, where the share of it counts."""
EFFECT = 0.1
"""An effect of counts within this many nats of log-odds a nat of count is none (method)."""
ANSWERS = ("found", "opposite", "none", "not decided")
HALVES, SLOPES = (-2.0, 11.0), (0.25, 8.0)
"""What is searched: log2 of the half (insertions), and nats of log-odds a doubling."""
_POINTS, _ROUNDS, _NEAR = (33, 13), 200, 4.0
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
    found = _likelihood(right, asked, p)
    # A curve that falls is none; the best that does not is then flat.
    flat = _likelihood(right, asked, right.sum() / asked.sum())
    return np.where(floor > ceiling, flat, found)[..., 0], floor[..., 0], ceiling[..., 0]


def _likelihood(right: np.ndarray, asked: np.ndarray, p: np.ndarray | float) -> np.ndarray:
    return (special.xlogy(right, p) + special.xlog1py(asked - right, -np.asarray(p))).sum(
        -1, keepdims=True)


def _ends(profile: np.ndarray, places: np.ndarray, widest: tuple[float, float]) -> list[float]:
    """Where a profile falls by :data:`_DROP` below its best; infinite where it does not."""
    best, ends = profile.argmax(), []
    for side, edge in ((slice(best, None, -1), widest[0]), (slice(best, None), widest[1])):
        along, at = profile.max() - profile[side], places[side]
        over = np.flatnonzero(along > _DROP)
        if len(over):
            i = over[0]
            ends.append(np.interp(_DROP, along[i - 1 : i + 1], at[i - 1 : i + 1]))
        else:
            ends.append(np.inf if edge == widest[1] else -np.inf)
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
    for _ in range(3):  # each time nearer to what is likely
        halves, logs = (np.linspace(*ends, k) for ends, k in zip(box, _POINTS, strict=True))
        surface, floors, ceilings = _surface(right, asked, log2, halves, np.exp(logs))
        near = surface > surface.max() - _NEAR
        for axis, places in enumerate((halves, logs)):
            kept = np.flatnonzero(near.any(1 - axis))
            box[axis] = places[[max(kept[0] - 1, 0), min(kept[-1] + 1, len(places) - 1)]]
    i, j = np.unravel_index(surface.argmax(), surface.shape)
    flat = _likelihood(right, asked, right.sum() / asked.sum())[0]
    free, best = _likelihood(right, asked, shares)[0], surface[i, j]
    half = np.exp2([halves[i], *_ends(surface.max(1), halves, HALVES)])
    slope = np.exp([logs[j], *_ends(surface.max(0), logs, tuple(np.log(SLOPES)))])
    return {"floor": floors[i, j], "ceiling": ceilings[i, j], "half": half[0],
            "half_low": half[1], "half_high": half[2], "slope": slope[0], "slope_low": slope[1],
            "slope_high": slope[2], "p": stats.chi2.sf(2 * (best - flat), 3),
            "p_fit": stats.chi2.sf(2 * (free - best), max(len(asked) - 4, 1))}


def points(table: pd.DataFrame) -> pd.DataFrame:
    """Of a table of :func:`~taskgram_chapters.records.insertions` the shares of right answers, with
    Wilson's interval over texts."""
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
        ["no number of texts", "does not leave its floor", f"> {most}", "< 1"], None)
    out.loc[flat, [*of_half, "slope", "slope_low", "slope_high"]] = np.nan
    out.loc[out["reason"].notna(), "half"] = np.nan
    return out.replace(np.inf, np.nan)


def _gains(part: pd.DataFrame) -> dict[str, float]:
    """Least-squares slopes on log2 of the insertions, with their intervals."""
    away = np.log2(part["insertions"]) - np.log2(part["insertions"]).mean()
    weights = (away / (away**2).sum()).to_numpy()
    gain, n, z = weights @ part["mean"], part["n"], stats.norm.ppf((1 + LEVEL) / 2)
    if n.isna().any():
        error = stats.linregress(away, part["mean"]).stderr * stats.t.ppf(
            (1 + LEVEL) / 2, len(part) - 2)
        return {"gain": gain, "gain_low": gain - error, "gain_high": gain + error}
    right, wrong = part["mean"] * n + 0.5, (1 - part["mean"]) * n + 0.5
    error = z * np.sqrt(weights**2 @ (right * wrong / (n + 1) ** 3))
    odds = weights @ np.log(right / wrong)
    of_odds = z * np.sqrt(weights**2 @ (1 / right + 1 / wrong))
    return {"gain": gain, "gain_low": gain - error, "gain_high": gain + error, "gain_odds": odds,
            "gain_odds_low": odds - of_odds, "gain_odds_high": odds + of_odds}


def contrasts(curves: pd.DataFrame) -> pd.DataFrame:
    """Differences of two series of :func:`dose_response` that differ in one thing
    (:data:`AGAINST`): of log2 half (doublings), slope, gain and gain_odds, in ``of``.

    Intervals join those of the two (Zou and Donner 2008) as of independent answers; where one half
    lies beyond the insertions made, there is no estimate, and only the end that the two intervals
    bound: ``reason`` says so, and why there is neither.
    """
    rows = []
    for name, (column, one, other) in AGAINST.items():
        keys = [key for key in SERIES if key != column]
        pair = curves[curves[column] == one].merge(
            curves[curves[column] == other], on=keys, suffixes=("", "_other"))
        for _, both in pair.iterrows():
            for of in ("half", "slope", "gain", "gain_odds"):
                sides = [both[[f"{of}{end}{side}" for end in ("", "_low", "_high")]].to_numpy(float)
                         for side in ("", "_other")]
                reasons = [both["reason"], both["reason_other"]]
                found = _difference(*sides, of == "half", reasons)
                if found:
                    rows.append({"contrast": name, **both[keys], "of": of, **found})
    return pd.DataFrame(rows)


def _difference(one: np.ndarray, other: np.ndarray, halves: bool, reasons: list) -> dict:
    """A row of :func:`contrasts`, or nothing where neither side was fitted."""
    null, fitted = np.isnan([one, other]), [r != "no number of texts" for r in reasons]
    if not halves:
        if null.any():
            return {}
    elif not all(fitted):
        return {}
    out = {"estimate": np.nan, "low": np.nan, "high": np.nan, "reason": None}
    said = [r for r in reasons if halves and pd.notna(r)]
    if "does not leave its floor" in said:
        return out | {"reason": "a curve does not leave its floor"}
    if halves:
        # An end that is not reached is at 0 or beyond all insertions.
        with np.errstate(divide="ignore"):
            one, other = (np.log2(np.where([0, 0, np.isnan(side[2])], np.inf, side))
                          for side in (one, other))
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    if said:
        low, high = a_low - b_high, a_high - b_low
        out["reason"] = f"a half is {' and one '.join(said)}"
    else:
        out["estimate"] = a - b
        low = a - b - np.hypot(a - a_low, b_high - b)
        high = a - b + np.hypot(a_high - a, b - b_low)
    low, high = (v if np.isfinite(v) else np.nan for v in (low, high))
    return out | {"low": low, "high": high}


def judge(
    expected: Sequence[dict], curves: pd.DataFrame, found: pd.DataFrame
) -> pd.DataFrame:
    """The five lines that were preregistered (``insertions`` of ``book/cause_expectations.yaml``,
    in their order) against :func:`dose_response` and :func:`contrasts`.

    A row per line, ``of`` (the measure) and kind (all, and biographies alone): ``cells`` with an interval, how many give each of
    :data:`ANSWERS`, the ``answer`` of all (``mixed, k of m``: found in k of m), ``without`` (cells
    that have none, for a half lies outside the insertions made), and mean, ``low`` and ``high``
    over the cells that have an estimate, with Student's interval: of other questions, not of other
    trainings. A slope is in nats of log-odds a nat of count, or in shares a doubling; of halves,
    in doublings, and of shares nothing said what counts as none. Seven facts together are used only
    where they stand alone, after paraphrased insertion. Raises InputError for other lines.
    """
    starts = ["accuracy with", "half with eight", "half with five", "half after para", "slope for"]
    named = len(expected) == len(starts) and all(
        line["what"].startswith(start) for line, start in zip(expected, starts, strict=True))
    require(named, "insertions: not the five lines that were preregistered")
    fitted = curves[curves["p"].notna()].drop(columns="reason")
    odds = fitted.rename(columns={f"gain_odds{end}": f"{end}"[1:] or "estimate"
                                  for end in ("", "_low", "_high")}).assign(reason=None)
    rows = []
    for place, of in ((0, "gain_odds"), (1, "half"), (2, "half"), (3, "half"), (4, "gain_odds"),
                      (4, "gain")):
        line, name = expected[place], list(AGAINST)[max(place - 1, 0) % 3]
        cells = found[(found["contrast"] == name) & (found["of"] == of)] if place else odds
        if place != 3:
            cells = cells[(cells["kind"] != "biographies") | (cells["fact"] != "all")]
        # Of what was not fitted, log P say, a gain is in another unit.
        cells = cells[cells["measure"].isin(fitted["measure"])]
        scale, bound = (np.log(2), EFFECT) if of == "gain_odds" else (1.0, 0.0)
        for kind in ("all", "biographies"):
            part = cells[(cells["kind"] == kind) | (kind == "all")]
            values = part[["estimate", "low", "high"]].to_numpy(float) / scale
            said = pd.Series([answer(line["expected"], *ends, bound) for ends in values[:, 1:]])
            said = said.value_counts().reindex(ANSWERS, fill_value=0)
            m, top = said.sum(), said.idxmax()
            rows.append({"what": line["what"], "expected": line["expected"], "of": of,
                         "kind": kind, "cells": m, **said, "without": len(part) - m,
                         "answer": top if said[top] == m else f"mixed, {said['found']} of {m}",
                         **mean_of(values[:, 0])})
    return pd.DataFrame(rows)


def answer(expected: str, low: float, high: float, bound: float) -> str | None:
    """What an interval says of an effect that was expected to rise or fall: one of
    :data:`ANSWERS`; nothing where neither end is known. An end that is not known is infinite."""
    if np.isnan(low) and np.isnan(high):
        return None
    low, high = (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)
    low, high = (low, high) if expected == "rises" else (-high, -low)
    if low > 0 or high < 0:
        return "found" if low > 0 else "opposite"
    return "none" if -bound < low and high < bound else "not decided"


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
    cells = cells.dropna(subset=["estimate", "low", "high"])
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
