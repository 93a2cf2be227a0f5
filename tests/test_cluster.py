"""Jobs in other processes of this machine: results, shares of the cores, a process that is killed, a lost scheduler."""

import os
import signal
from concurrent.futures import CancelledError

import pytest

from taskgram_utils import cluster
from taskgram_utils.errors import InputError, require


def about(number):
    return number, os.getpid(), {name: os.environ[name] for name in (*cluster.THREAD_VARIABLES, "TQDM_DISABLE")}


def fails(number, how):
    if number == how["bad"] and how["killed"]:
        os.kill(os.getpid(), signal.SIGKILL)
    require(number != how["bad"], f"number {number} is bad")
    return number


def test_every_job_in_a_process_with_its_share_of_the_cores():
    before = dict(os.environ)
    found = list(cluster.in_processes(about, [(k,) for k in range(6)], 2))
    assert sorted(number for number, *_ in found) == list(range(6)) and dict(os.environ) == before
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = {process for _, process, _ in found}
    assert os.getpid() not in processes and len(processes) <= min(2, cores)
    share = str(max(1, cores // min(2, cores)))
    assert all(said.pop("TQDM_DISABLE") == "1" and set(said.values()) == {share} for *_, said in found)


@pytest.mark.parametrize(("killed", "message"), [(False, "number 2 is bad"), (True, "a process was killed, perhaps")])
def test_a_job_that_fails_is_one_line(killed, message):
    jobs = [(k, {"bad": 2, "killed": killed}) for k in range(4)]
    with pytest.raises(InputError, match=message):
        list(cluster.in_processes(fails, jobs, 2))


def test_a_scheduler_that_was_lost():
    class Future:
        status = "cancelled"

        def result(self):
            raise CancelledError

    with pytest.raises(InputError, match="the Dask scheduler was lost; give the same command again"):
        cluster.fetched(Future())
