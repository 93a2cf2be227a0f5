"""Progress bars; for a command whose standard error is no terminal, a plain line now and then."""

import sys
from typing import ClassVar

from tqdm import tqdm

EVERY = 30.0  # seconds between two lines, and before the first


class _Lines:
    """A file for tqdm, which writes each of its bars as a line to standard error."""

    def write(self, text: str) -> None:
        if text := text.strip():
            print(f"taskgram: {text}", file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()


class Bar(tqdm):
    """tqdm's bar on a terminal; elsewhere a line per ``every`` seconds, if that is set.

    ``disable`` hides both; it takes no other value of tqdm's.
    """

    every: ClassVar[float | None] = None

    def __init__(self, iterable=None, **options):
        options["disable"] = options.get("disable") or None  # to tqdm, False is: on no terminal too
        if self.every is not None and not options["disable"] and not sys.stderr.isatty():
            options |= dict.fromkeys(("mininterval", "maxinterval", "delay"), self.every)
            options |= {"disable": False, "file": _Lines(), "leave": False, "dynamic_ncols": False}
            options["bar_format"] = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}{postfix}"
        super().__init__(iterable, **options)
