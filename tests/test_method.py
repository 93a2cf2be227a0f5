"""The pages of equations and the code: each equation that is computed is named by a function that computes it."""

import re

from taskgram_utils.run.reads import PACKAGE

LATER = {"eq-influence"}  # the page says that it is not computed yet


def test_every_equation_of_the_pages_is_named_in_a_docstring():
    pages = (PACKAGE.parent / "book" / f"{name}.md" for name in ("method", "doubt"))
    page = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    labels = set(re.findall(r"^ *:label: (eq-[\w-]+)$", page, re.M))
    chapters = PACKAGE.parent / "notebooks" / "lib"
    files = [*PACKAGE.rglob("*.py"), *chapters.rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    named = set(re.findall(r"eq-[\w-]+\b", code))
    assert len(labels) > 15 and named == labels - LATER
