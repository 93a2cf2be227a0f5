"""How a chapter puts tables and words on its page."""

from collections.abc import Mapping

import pandas as pd
from markdown_it import MarkdownIt
from myst_nb import glue


class Words:
    """Markdown for its own page, and the same as HTML for other pages, which take nothing else."""

    def __init__(self, markdown: str, html: str | None = None):
        self.data = markdown
        self.html = html or MarkdownIt().enable("table").render(markdown)

    def __repr__(self) -> str:  # what the middle of a sentence takes
        return self.data

    def _repr_mimebundle_(self, **_) -> dict[str, str]:
        return {"text/markdown": self.data, "text/html": self.html}


def table(key: str, frame: pd.DataFrame, missing: str = "–") -> None:
    """Keep a table under ``key``, for a block of the page that names and numbers it; its numbers
    are shown as they are written, what is missing as a dash."""
    shown = frame.astype(object).fillna(missing)
    text(key, shown.to_markdown(index=False, disable_numparse=True))


def text(key: str, markdown: str) -> None:
    """Keep a paragraph, or a list, of Markdown under ``key``."""
    glue(key, Words(markdown), display=False)


def texts(by_key: Mapping[str, str]) -> None:
    """Keep several paragraphs of Markdown."""
    for key, markdown in by_key.items():
        text(key, markdown)


def value(key: str, words: object) -> None:
    """Keep a few plain words, or a number, for the middle of a sentence."""
    glue(key, str(words), display=False)


def values(by_key: Mapping[str, object]) -> None:
    """Keep several of them."""
    for key, words in by_key.items():
        value(key, words)


def listed(names) -> str:
    """Names in a sentence: a; a and b; a, b and c."""
    *first, last = map(str, names) if len(names) else [""]
    return " and ".join(filter(None, [", ".join(first), last]))
