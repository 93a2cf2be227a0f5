"""Reading counts: the documents behind one, and how far numbers are off that only look like one."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Pairs, as_lists
from taskgram_utils.counting.engine import UNKNOWN
from taskgram_utils.counting.index import RESERVED, Index
from taskgram_utils.errors import require, require_columns
from taskgram_utils.ngrams import word_spans, words


def timed(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """What ``function`` returns, and the seconds it took."""
    began = time.perf_counter()
    return function(*arguments), time.perf_counter() - began


def places(text: str, ngrams: Iterable[str]) -> list[tuple[int, int]]:
    """Where the n-grams occur in ``text``: characters (start, end exclusive), overlaps joined.

    >>> places("Tom & Ann's cat", ["cat", "tom"])
    [(0, 3), (12, 15)]
    """
    in_text = word_spans(text)
    tokens, spans = [word.text for word in in_text], []
    for ngram in filter(None, map(words, ngrams)):
        spans += [(in_text[i].start, in_text[i + len(ngram) - 1].end)
                  for i in range(len(tokens)) if tokens[i : i + len(ngram)] == ngram]
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            start, end_before = joined.pop()
            end = max(end, end_before)
        joined.append((start, end))
    return joined


def marked(text: str, ngrams: Iterable[str]) -> str:
    """``text`` as HTML: escaped, line ends as ``<br>``, occurrences of the n-grams in ``<mark>``.

    >>> marked("Tom & Ann's cat", ["cat", "tom"])
    '<mark>Tom</mark> &amp; Ann&#x27;s <mark>cat</mark>'
    """
    html, done = "", 0
    for start, end in places(text, ngrams):
        html += f"{escape(text[done:start])}<mark>{escape(text[start:end])}</mark>"
        done = end
    return (html + escape(text[done:])).replace("\n", "<br>")


def searched(texts: Iterable[str], ngrams: Sequence[str]) -> pd.DataFrame:
    """Documents in which string search finds each of k n-grams, as it is written: k rows.

    ``letters``: anywhere, in capitals or not; ``as typed``: as whole words, in its own case.
    """
    whole = [re.compile(rf"(?<!\w){re.escape(ngram)}(?!\w)") for ngram in ngrams]
    hits = np.zeros((len(ngrams), 2), np.int64)
    for text in texts:
        small = text.lower()
        for k, ngram in enumerate(ngrams):
            if ngram.lower() in small:
                hits[k] += 1, ngram in text and whole[k].search(text) is not None
    return pd.DataFrame(hits, columns=["letters", "as typed"])


def engine_windowed(index: Index, pairs: Pairs, window: int = 100) -> np.ndarray | None:
    """infini-gram's ``count_cnf`` of m pairs: occurrences of the rarer n-gram within ``window``
    tokens of the other.

    Neither a number of documents nor reliable; here to be looked at. int64 [m]; None where the
    package is not installed, or where its engine would crash on the path of the index. An n-gram
    with an unknown word has 0. Raises InputError for an index of sub-word tokens.
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
        ds_prefetch_depth=0, sa_prefetch_depth=0, od_prefetch_depth=0)
    ids, sizes = index._coder.encode_ngrams([*chain.from_iterable(as_lists((), pairs)[1])])
    tokens = [part.tolist() for part in np.split(ids, np.cumsum(sizes))]
    counts = []
    for x, y in zip(tokens[::2], tokens[1::2], strict=False):
        known = UNKNOWN not in x + y
        counts.append(known and engine.count_cnf([[x], [y]], max_diff_tokens=window)["count"])
    return np.array(counts, np.int64)


def disagreement(table: pd.DataFrame, exact: str, others: Sequence[str],
                 by: Sequence[str] = ()) -> pd.DataFrame:
    """How the columns ``others`` differ from the count ``exact``: a row for each (in each group).

    pairs (rows where both are known), spearman, too_high and too_low (shares of the pairs),
    invented (share above 0 of the pairs whose exact count is 0), lost (share at 0 of the others);
    null where there is nothing to take it of.
    """
    require_columns(table, [exact, *others, *by], "disagreement")
    columns = ["pairs", "spearman", "too_high", "too_low", "invented", "lost"]
    rows = []
    for key, part in table.groupby(list(by), sort=False) if by else [((), table)]:
        for name in others:
            known = part[part[name].notna()]
            true, other = known[exact].astype(float), known[name].astype(float)
            varied = min(true.nunique(), other.nunique()) > 1
            spearman = true.corr(other, method="spearman") if varied else np.nan
            rows.append((*key, name, len(known), spearman, (other > true).mean(),
                         (other < true).mean(), (other[true == 0] > 0).mean(),
                         (other[true > 0] == 0).mean()))
    return pd.DataFrame(rows, columns=[*by, "count", *columns])
