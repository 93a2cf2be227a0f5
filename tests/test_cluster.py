"""Jobs in other processes of this machine: results, shares of the cores, a process that is killed, a lost scheduler."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import psutil
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


WORKING = """
import signal, sys, time
from taskgram_utils.cluster import in_processes

def stop(*_):
    raise KeyboardInterrupt

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # which is ignored where the tests were started in the background
    list(in_processes(time.sleep, [(600,)] * 2, 2))
"""
TRAINING = "from taskgram_utils.cli import main; main()"


def gone(processes):
    """Those that are over, waited for; one that stays fails the test."""
    over, alive = psutil.wait_procs(processes, timeout=60)
    for process in alive:
        process.kill()
    assert not alive
    return over


@pytest.mark.parametrize(("kind", "sent"), [
    *(("workers", sent) for sent in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)),
    *(pytest.param("training", sent, marks=pytest.mark.slow) for sent in (signal.SIGTERM, signal.SIGKILL)),
])  # fmt: skip
def test_what_a_stopped_command_started_ends_with_it(tmp_path, kind, sent):
    script = tmp_path / "script.py"
    script.write_text(WORKING if kind == "workers" else TRAINING)
    (tmp_path / "text.txt").write_text("".join(f"# {i}\nWater boils at {i} degrees.\n" for i in range(10_000)))
    train = ["train", "--corpus", "text.txt", "--document", "heading", "--out", "suite"]
    command = [sys.executable, "script.py", *(train if kind == "training" else [])]
    parent = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    at_work, many = psutil.Process(parent.pid), {"workers": 2, "training": 2}[kind]

    def working():
        found = at_work.children(recursive=True)
        busy = [p for p in found if any(w in " ".join(p.cmdline()) for w in ("spawn_main", "taskgram_utils.training"))]
        return found if len(busy) == many else []

    try:
        while not (children := working()):
            assert parent.poll() is None
            time.sleep(0.1)
        if kind == "training":
            while not (tmp_path / "suite" / "3m").exists():  # the model is made, the first steps are under way
                time.sleep(0.1)
        parent.send_signal(sent)
        said = parent.communicate(timeout=60)[1]
    finally:
        parent.kill()
    gone(children)
    if kind == "training":
        assert (tmp_path / "suite" / "card.json").exists() and (tmp_path / "suite" / "stream.bin").exists()
        assert not (tmp_path / "suite" / "README.md").exists()
        assert sent == signal.SIGKILL or (parent.returncode, said.splitlines()[-1]) == (130, "taskgram: stopped")
        assert "Traceback" not in said
