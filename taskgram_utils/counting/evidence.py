"""Reading counts: the documents behind one, and how far other numbers are from it that only look like it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Pairs, as_lists
from taskgram_utils.counting.index import RESERVED, Index
from taskgram_utils.errors import require, require_columns
from taskgram_utils.ngrams import word_spans, words


def timed(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """What ``function`` returns, and the seconds it took."""
    began = time.perf_counter()
    return function(*arguments), time.perf_counter() - began


def places(text: str, ngrams: Iterable[str]) -> list[tuple[int, int]]:
    """Where the n-grams occur in ``text``: characters (start, end exclusive), overlaps joined, in order.

    >>> places("Tom & Ann's cat", ["cat", "tom"])
    [(0, 3), (12, 15)]
    """
    found = word_spans(text)
    tokens, spans = [w.text for w in found], []
    for asked in map(words, ngrams):
        starts = [i for i in range(len(tokens) - len(asked) + 1) if asked and tokens[i : i + len(asked)] == asked]
        spans += [(found[i].start, found[i + len(asked) - 1].end) for i in starts]
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def marked(text: str, ngrams: Iterable[str]) -> str:
    """``text`` as HTML: escaped, line ends as ``<br>``, every occurrence of the n-grams in ``<mark>``.

    >>> marked("Tom & Ann's cat", ["cat", "tom"])
    '<mark>Tom</mark> &amp; Ann&#x27;s <mark>cat</mark>'
    """
    out, at = [], 0
    for start, end in places(text, ngrams):
        out += [escape(text[at:start]), f"<mark>{escape(text[start:end])}</mark>"]
        at = end
    return "".join([*out, escape(text[at:])]).replace("\n", "<br>")


def searched(texts: Iterable[str], ngrams: Sequence[str]) -> pd.DataFrame:
    """Documents in which string search finds each of k n-grams, as it is written: a row each, in order.

    ``letters``: anywhere, in capitals or not; ``as typed``: as whole words, in the case in which it is written.
    """
    whole = [re.compile(rf"(?<!\w){re.escape(ngram)}(?!\w)") for ngram in ngrams]
    found = np.zeros((len(ngrams), 2), np.int64)
    for text in texts:
        small = text.lower()
        for k, ngram in enumerate(ngrams):
            if ngram.lower() in small:
                found[k] += 1, ngram in text and whole[k].search(text) is not None
    return pd.DataFrame(found, columns=["letters", "as typed"])


def engine_windowed(index: Index, pairs: Pairs, window: int = 100) -> np.ndarray | None:
    """infini-gram's ``count_cnf`` of m pairs: occurrences of the rarer n-gram within ``window`` tokens of the other.

    Neither a number of documents nor reliable; here to be looked at. int64 [m]; None where the package is not
    installed, or where its engine would crash on the path of the index. An n-gram with an unknown word has 0.

    Raises InputError for an index of sub-word tokens.
    """
    require(index.exact, f"index {index.path}: count_cnf is asked of a word index here")
    try:
        from infini_gram.engine import InfiniGramEngine
    except ImportError:
        return None
    if any(word in str(index.path.resolve()) for word in RESERVED):
        return None
    top = (1 << 8 * index.width) - 1
    engine = InfiniGramEngine(
        [str(index.path)], eos_token_id=top - 1, vocab_size=top, token_dtype=f"u{8 * index.width}",
        ds_prefetch_depth=0, sa_prefetch_depth=0, od_prefetch_depth=0,
    )  # fmt: skip
    listed = (index.path / "vocabulary.txt").read_text("utf-8", "surrogatepass").split("\n")[:-1]
    number, out = {word: i for i, word in enumerate(listed)}, []
    for pair in as_lists((), pairs)[1]:
        clauses = [[[number.get(w) for w in words(ngram)]] for ngram in pair]
        known = all(i is not None for clause in clauses for i in clause[0])
        out.append(engine.count_cnf(cnf=clauses, max_diff_tokens=window)["count"] if known else 0)
    return np.array(out, np.int64)


def disagreement(table: pd.DataFrame, exact: str, others: Sequence[str], by: Sequence[str] = ()) -> pd.DataFrame:
    """How the columns ``others`` differ from the count ``exact``, a row for each (of each group ``by``).

    pairs (rows where both are known), spearman, too_high and too_low (shares of the pairs), invented (share above 0 of
    the pairs whose exact count is 0), lost (share at 0 of the others); null where there is nothing to take it of.
    """
    require_columns(table, [exact, *others, *by], "disagreement")
    rows = []
    for key, part in table.groupby(list(by), sort=False) if by else [((), table)]:
        for name in others:
            known = part[part[name].notna()]
            true, said = known[exact].astype(float), known[name].astype(float)
            spearman = true.corr(said, method="spearman") if min(true.nunique(), said.nunique()) > 1 else np.nan
            wrong = (said > true).mean(), (said < true).mean()
            rows.append((*key, name, len(known), spearman, *wrong, (said[true == 0] > 0).mean(),
                         (said[true > 0] == 0).mean()))  # fmt: skip
    return pd.DataFrame(rows, columns=[*by, "count", "pairs", "spearman", "too_high", "too_low", "invented", "lost"])
