"""A world, and the examples in it of the task that a test module is named after."""

from pathlib import Path

import pytest

from taskgram_utils.miniature.world import World
from taskgram_utils.tasks.base import task


@pytest.fixture(scope="module")
def world():
    return World(40_000)


@pytest.fixture(scope="module")
def examples(request, world):
    return task(Path(request.module.__file__).stem.removeprefix("test_")).miniature(world)
