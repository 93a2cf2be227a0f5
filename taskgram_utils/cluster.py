"""A Dask cluster: the client of an address, and results fetched from workers that may be lost."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskgram_utils.errors import InputError

_PATIENCE = 10  # seconds in which a cluster must answer


@contextmanager
def client_of(scheduler: Any) -> Iterator[Any]:
    """A client of the Dask cluster that ``scheduler`` names (tcp://host:8786) or is (a Client, or a cluster object).

    Raises InputError where no scheduler answers.
    """
    from distributed import Client

    if isinstance(scheduler, Client):
        yield scheduler
        return
    client, why = None, ""
    try:
        client = Client(scheduler, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        traceback.clear_frames(error.__traceback__)
    if client is None:
        gc.collect()  # half a client, collected while another one starts, waits for it and it for ever
        raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers there ({why})")
    with client:
        yield client


def fetched(future: Any) -> Any:
    """The result of a future; asked for again where the connection failed and not the work."""
    for _ in range(3):
        try:
            return future.result()
        except Exception:
            if future.status != "finished":
                raise
    return future.result()
