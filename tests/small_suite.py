"""A suite of one size on the smallest world, a few steps of it."""

from taskgram_utils import suites
from taskgram_utils.miniature.suite import of_world

STEPS = 10
ASKED = {"documents": 1_000, "world": 1, "seed": 3, "sizes": ["25k"], "jobs": 1, "max_steps": STEPS}


def make_suite(out, documents, world, seed, twin=0, **options):
    return suites.make_suite(out, of_world(documents, world, seed, twin), seed, **options)
