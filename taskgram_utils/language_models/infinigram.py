"""The ∞-gram language model: log P(s^y) by the longest suffixes that the corpus holds."""

import numpy as np
import pandas as pd

from taskgram_utils.counting.index import Index
from taskgram_utils.errors import require, require_columns
from taskgram_utils.language_models.points import located
from taskgram_utils.tables import KEYS
from taskgram_utils.ngrams import unspaced, word_spans

ZERO_HANDLING = ("backoff", "drop")


def infinigram_logp(
    points: pd.DataFrame | None, examples: pd.DataFrame, index: Index,
    zero_handling: str = "backoff", whole: bool = False,
) -> pd.DataFrame:
    """The table ``logp`` of the ∞-gram model: one row per distinct (example_id, n, sy, start).

    Equation :eq:`eq-infinigram`: log P_∞(s^y) = sum over the words t of s^y of log C(c' t) / C(c'),
    with c' the longest suffix of the context that the corpus holds (Liu et al. 2024): the words of
    x, then the words of y before t. Words that mining removed from inside s^y are context and not
    target.

    ``points`` is a task-gram table, or any frame with these four columns (None: no points).
    ``logp`` is in nats; ``tokens`` and ``n_terms`` count the words of s^y, ``n_zero`` those that
    never follow the longest suffix. ``zero_handling="backoff"`` gives these the probability of
    :meth:`Index.infinigram`; "drop" sets it to one, as the paper does, and a point all of whose
    words are dropped has a null logp. ``exact`` is false where the index's counts are not those of
    words: all of an index of pieces, and text or an s^y whose script puts no space between words.
    ``whole`` adds a row for each whole y (n null, sy = y, start 0).

    Raises InputError for a missing column, an unknown example, or an s^y that is not at ``start``.
    """
    unknown = f"zero_handling {zero_handling!r}: not one of {', '.join(ZERO_HANDLING)}"
    require(zero_handling in ZERO_HANDLING, unknown)
    require_columns(examples, ("example_id", "x", "y"), "examples")
    require(examples["example_id"].is_unique, "examples: an example_id stands there twice")
    rows = pd.DataFrame(columns=KEYS) if points is None else points
    require_columns(rows, KEYS, "points")
    rows = rows[KEYS].drop_duplicates()
    many = len(rows)
    if whole:
        outputs = examples.assign(n=pd.NA, sy=examples["y"], start=0)[KEYS]
        rows = pd.concat([rows, outputs]) if many else outputs
    number = pd.Index(examples["example_id"]).get_indexer(rows["example_id"])
    unknown = next(iter(rows["example_id"][number < 0]), "")
    require((number >= 0).all(), f"points: example {unknown!r} is not in examples")

    asked, x, y = np.unique(number).tolist(), examples["x"].tolist(), examples["y"].tolist()
    spans = {i: word_spans(y[i]) for i in asked}
    targets = [[y[i][word.start : word.end] for word in spans[i]] for i in asked]
    found = index.infinigram([x[i] for i in asked], targets)
    first = dict(zip(asked, (np.cumsum(found.words) - found.words).tolist(), strict=True))
    row, word = [], []  # of every word of every row: its row, and its place among all words
    columns = zip(number.tolist(), rows["example_id"], rows["sy"], rows["start"], strict=True)
    for k, (i, example, sy, start) in enumerate(columns):
        places = located(spans[i], sy, start) if k < many else range(len(spans[i]))
        require(places or k >= many, f"points: {sy!r} does not stand at character {start} of the y "
                                     f"of example {example!r}")
        row += [k] * len(places)
        word += [first[i] + place for place in places]

    def total(values: np.ndarray) -> np.ndarray:
        values = values[np.array(word, np.int64)]
        return np.bincount(np.array(row, np.int64), values, minlength=len(rows))

    tokens, zero = (total(values).astype(np.int64) for values in (found.tokens, found.zero))
    logp = total(found.logp if zero_handling == "backoff" else found.seen).astype(float)
    # A y without words, or a point whose words are all dropped, has no probability.
    logp[(tokens == 0) | ((zero_handling == "drop") & (zero == tokens))] = np.nan
    spaced = index.exact and not index.unspaced
    exact = np.array([spaced and not unspaced(sy) for sy in rows["sy"]], bool)
    names = examples[[c for c in ("task", "group") if c in examples]].iloc[number]
    rows = rows.astype({"n": "Int64", "start": "int64"}).assign(
        model="infinigram", logp=logp, tokens=tokens, n_terms=tokens, n_zero=zero, exact=exact)
    return pd.concat([part.reset_index(drop=True) for part in (names, rows)], axis=1)
