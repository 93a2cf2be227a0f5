"""Jobs for other processes: on a Dask cluster, whose workers may be lost, or on this machine."""

import gc
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from taskgram_utils.errors import InputError, require

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                    "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS")
_PATIENCE = 10  # seconds in which a cluster must answer
_ONE = threading.Lock()  # a worker does one thing at a time of those that fill it


def cores() -> int:
    """Processors that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


# --- a Dask cluster --------------------------------------------------------------------------


@contextmanager
def client_of(scheduler: Any) -> Iterator[Any]:
    """A client of a Dask cluster: ``scheduler`` is its address (tcp://host:8786), a Client, or a
    cluster object. Raises InputError where no scheduler answers."""
    from distributed import Client

    if isinstance(scheduler, Client):
        yield scheduler
        return
    try:
        client = Client(scheduler, timeout=_PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        traceback.clear_frames(error.__traceback__)
    else:
        with client:
            yield client
        return
    gc.collect()  # else half a client is collected while another one starts, and both hang
    raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers there ({why})")


def fetched(future: Any) -> Any:
    """The result of a future, fetched again where the connection failed and not the work. Raises
    InputError where the scheduler is gone."""
    for attempt in range(4):
        try:
            return future.result()
        except CancelledError as error:
            raise InputError("the Dask scheduler was lost; give the same command again") from error
        except Exception:
            if future.status != "finished" or attempt == 3:
                raise


def at_worker(work: Callable, *job: Any) -> Any:
    """``work(*job)`` on a worker of a Dask cluster. Its InputError, such as that of a path that the
    worker cannot see, names the worker."""
    from distributed import get_worker

    try:
        return work(*job)
    except (InputError, FileNotFoundError, PermissionError) as error:
        raise InputError(f"worker {get_worker().address}: {error}") from error


def _alone(work: Callable, job: tuple) -> Any:
    with _ONE:
        return at_worker(work, *job)


def one_a_worker(scheduler: Any, work: Callable, jobs: Sequence[tuple]) -> Iterator[tuple]:
    """Number and result of ``work(*job)`` as they come: each worker has one job at a time.

    For what fills a worker, as a model fills a GPU. A lost worker's job goes to another. Raises
    InputError where the scheduler is lost or does not answer.
    """
    import dask
    import distributed

    waiting, running, known, idle = deque(enumerate(jobs)), {}, set(), []
    large = {"distributed.admin.large-graph-warning-threshold": "1TB"}
    with client_of(scheduler) as client, dask.config.set(large):
        client.wait_for_workers(1, timeout=60)
        done = distributed.as_completed()
        try:
            while waiting or running:
                new = set(client.scheduler_info(n_workers=-1)["workers"]) - known
                known |= new
                idle += sorted(new)
                while waiting and idle:
                    (number, job), worker = waiting.popleft(), idle.pop()
                    future = client.submit(_alone, work, job, workers=[worker],
                                           allow_other_workers=True, pure=False)
                    running[future] = number, worker
                    done.add(future)
                future = next(done)
                number, worker = running.pop(future)
                result = fetched(future)
                future.release()
                idle.append(worker)
                yield number, result
        finally:
            client.cancel(list(running))


# --- processes of this machine ---------------------------------------------------------------


def end_with(parent: int) -> None:
    """End this process within a second of the death of its ``parent``, however that died. Ctrl-C,
    which a terminal sends to both, is left to the parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


def in_processes(work: Callable, jobs: Sequence[tuple], processes: int) -> Iterator[Any]:
    """Results of ``work(*job)`` as they come, from so many fresh processes, which share the cores.

    The processes draw no progress bars, and end when this one is stopped or dies. Raises InputError
    where one of them was killed.
    """
    processes = min(processes, len(jobs), cores())
    share = str(max(1, cores() // max(processes, 1)))
    before, others = dict(os.environ), set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, end_with, (os.getpid(),)) as pool:
        try:  # from the first process on: a stop may come while the others are started
            try:  # a process reads its environment as it starts
                os.environ.update(dict.fromkeys(THREAD_VARIABLES, share))
                os.environ.update(TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false")
                futures = [pool.submit(work, *job) for job in jobs]
            finally:
                os.environ.clear()
                os.environ.update(before)
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError("a process was killed, perhaps for want of memory; "
                             "one at a time: jobs 1") from error
        except (KeyboardInterrupt, GeneratorExit):
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def locked(lock: str | Path, what: str) -> Iterator[None]:
    """Hold the file ``lock`` for this process alone, and remove it at the end.

    Raises InputError, which names ``what`` the lock protects, where another process holds it or it
    cannot be written.
    """
    file = FileLock(lock)
    try:
        file.acquire(timeout=0)
    except Timeout as error:
        require(os.path.exists(lock), f"{what}: cannot be written there")  # not even a lock
        raise InputError(f"{what}: another command is at work on it; wait for its end, or name "
                         "another") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{what}: cannot be written there ({reason})") from error
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(lock)  # while it is held, so that it is nobody else's
        file.release()
