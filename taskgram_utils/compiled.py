"""numba's compiler, also where the code that it compiles cannot be kept."""

import warnings
from collections.abc import Callable
from typing import Any

import numba

from taskgram_utils.errors import InputWarning


def njit(**options: Any) -> Callable:
    """``numba.njit``; where its cache cannot be written, without it and with an InputWarning."""

    def compiled(function: Callable) -> Callable:
        try:
            return numba.njit(**options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            what = "compiled code cannot be kept and is compiled anew each time"
            cure = "name a folder for it in NUMBA_CACHE_DIR"
            warnings.warn(f"{what}: {cure}", InputWarning, stacklevel=1)
            return numba.njit(**options | {"cache": False})(function)

    return compiled
