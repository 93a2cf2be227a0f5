"""numba's compiler, also where nothing that it has compiled can be kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba

from taskgram_utils.errors import InputWarning


def njit(**options: Any) -> Callable:
    """``numba.njit``; in a folder that numba cannot write to, without its cache, of which an InputWarning tells."""

    def compiled(function: Callable) -> Callable:
        try:
            return numba.njit(**options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            why = "compiled code cannot be kept and is compiled anew each time: name a folder for it in NUMBA_CACHE_DIR"
            warnings.warn(why, InputWarning, stacklevel=1)
            return numba.njit(**{**options, "cache": False})(function)

    return compiled
