"""Progress bars; of a command whose standard error is no terminal, a plain line now and then."""

from __future__ import annotations

import sys
from typing import ClassVar

from tqdm import tqdm

EVERY = 30.0
"""Seconds between two lines, and before the first."""


class _Lines:
    """Where a bar is drawn as lines."""

    def write(self, text: str) -> None:
        if text := text.strip():
            print(f"taskgram: {text}", file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()


class Bar(tqdm):
    """tqdm's bar on a terminal; elsewhere silent, or, where a command has set ``every``, a line that often."""

    every: ClassVar[float | None] = None

    def __init__(self, iterable=None, **options):
        if self.every is not None and options.get("disable") is None and not sys.stderr.isatty():
            options |= {"disable": False, "file": _Lines(), "mininterval": self.every, "maxinterval": self.every,
                        "delay": self.every, "leave": False, "dynamic_ncols": False,
                        "bar_format": "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}{postfix}"}  # fmt: skip
        super().__init__(iterable, **options)
