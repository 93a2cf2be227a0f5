"""Benchmarks: several ways to do one job, timed in turn in one run, their answers compared, as rows of one table."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Job(NamedTuple):
    """One job and the ways to do it; the first is ours.

    A way is a function without arguments: it does the whole job and returns the answer. ``agree`` gives the share of
    ``other`` answers that equal ours. A way named in ``once`` is too slow to be repeated. ``parts`` says which share of
    the job a way does, where it would take hours to do it all: its seconds are divided by that share.
    """

    name: str
    amount: float
    unit: str
    ways: dict[str, Callable[[], Any]]
    agree: Callable[[Any, Any], float] | None = None
    once: tuple[str, ...] = ()
    parts: dict[str, float] = {}  # noqa: RUF012


def share_equal(ours: Any, other: Any) -> float:
    """Share of equal numbers in two arrays, of the leading ones where the other answered only a part."""
    ours, other = np.asarray(ours).ravel(), np.asarray(other).ravel()
    return float(np.mean(ours[: len(other)] == other))


def timed(job: Job, rounds: int = 5) -> list[dict[str, Any]]:
    """Time every way of a job ``rounds`` times, in turn, after one untimed run of each that compiles and warms caches.

    A row for each way: job, way, amount, unit, seconds (median, low, high over the rounds), rounds, rate (amount a
    second), ours (the median over the rounds of its seconds divided by ours of the same round; above 1: ours is
    faster), equal (share of answers that equal ours).
    """
    answers, seconds = {}, {name: [] for name in job.ways}
    for turn in range(rounds + 1):
        for name, way in job.ways.items():
            if name in job.once and turn != 1:
                continue
            gc.collect()
            began = time.perf_counter()
            answer = way()
            took = (time.perf_counter() - began) / job.parts.get(name, 1)
            if turn == 0 or name in job.once:
                answers[name] = answer
            if turn:
                seconds[name].append(took)
            del answer
    first, *_ = job.ways
    rows = []
    for name, took in seconds.items():
        ratio = np.median(np.array(took) / np.array(seconds[first][: len(took)]))
        equal = job.agree(answers[first], answers[name]) if job.agree and name != first else None
        middle = float(np.median(took))
        rows.append({"job": job.name, "way": name, "amount": job.amount, "unit": job.unit, "seconds": middle,
                     "low": min(took), "high": max(took), "rounds": len(took), "rate": job.amount / middle,
                     "ours": ratio, "equal": equal})  # fmt: skip
    return rows


def processor() -> str:
    """What the processor of this machine calls itself."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()
