"""The task-gram table: pairs of an input and an output n-gram that are close in meaning."""

import itertools
import math
import tempfile
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from taskgram_utils.embedding import Embedding
from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.ngrams import ENGLISH_STOPWORDS, word_spans, words
from taskgram_utils.progress import Bar

STOPWORDS = ("kept", "mined", "both")
STOPWORDS_UP_TO = 3
"""Largest n for which stop words are removed from the task text (book/method.md)."""
StopWords = Collection[str] | Mapping[str, Collection[str]]
COLUMNS = ["task", "group", "example_id", "n", "sx", "sy", "start", "end", "cosine", "sx_text",
           "sy_text"]

_CALIBRATED_ON = 20_000  # most examples of a task that a threshold is calibrated on
_ENCODED = 1 << 14  # n-grams embedded at a time
_IN_MEMORY = 1 << 18  # n-grams whose vectors stay in memory; those of more lie in a file


def candidates(
    examples: pd.DataFrame, n: int, embedding: Embedding, stopwords: str = "mined",
    full_answer: bool | Collection[str] = False, stopwords_x: StopWords = ENGLISH_STOPWORDS,
    stopwords_y: StopWords = ENGLISH_STOPWORDS,
) -> pd.DataFrame:
    """Every pair (s^x, s^y) of n-grams of the same example, s^x != s^y, with its cosine.

    ``examples``: example_id, x, y, and task and group where there are any. ``stopwords``: ``mined``
    and ``both`` leave stop words out of x and y before n-grams are taken, for n <= 3 (``both`` asks
    the same of the counts); ``kept`` leaves them in. ``stopwords_x``, ``stopwords_y``: the stop
    words of x and y, or those of each group by name. ``full_answer``: s^y is the whole of y
    whatever n is, stop words included, for every task (True), none (False) or the tasks named.

    Returns task, group, example_id, n, sx, sy, start, end, cosine, sx_text, sy_text; one row for
    each distinct pair of an example. ``start``, ``end`` are the characters of the first occurrence
    of s^y in y (end exclusive). ``sx_text``, ``sy_text`` are the n-grams as their first occurrence
    is written: the characters of the example or, where stop words were removed inside, the words
    that are left, joined by single spaces.

    Each distinct n-gram is embedded once; the vectors of more than 262,144 lie in a temporary file.
    Raises :class:`~taskgram_utils.errors.InputError` for n below 1, an unknown ``stopwords``,
    missing columns, missing texts, repeated examples, and where no example has a pair.
    """
    return mine(examples, n, None, embedding, stopwords, full_answer, stopwords_x, stopwords_y)


def mine(
    examples: pd.DataFrame, n: int, gamma: float | Mapping[str, float] | None, embedding: Embedding,
    stopwords: str = "mined", full_answer: bool | Collection[str] = False,
    stopwords_x: StopWords = ENGLISH_STOPWORDS, stopwords_y: StopWords = ENGLISH_STOPWORDS,
    empty: bool = False,
) -> pd.DataFrame:
    r"""The task-gram table :math:`H_n(T)` (:eq:`eq-table`): candidates whose cosine is above
    ``gamma``.

    ``gamma``: one threshold in (0, 1), one per task, or None for all pairs. Columns as in
    :func:`candidates`.

    Raises :class:`~taskgram_utils.errors.InputError` as :func:`candidates` does, for a ``gamma``
    outside (0, 1) or absent for a task, and where no pair of any example passes, unless ``empty``
    allows a table without rows.
    """
    examples = _checked(examples, n, stopwords)
    gammas = _gammas(examples["task"], gamma)
    grams = _grams(examples, n, embedding, stopwords, full_answer, stopwords_x, stopwords_y)
    example, x, y, cosine = _pairs(grams, gammas, f"mining n={n}")
    if not len(example) and not empty:
        every = _pairs(grams, _gammas(examples["task"], None), "closest pair")[-1]
        require(len(every), f"mining: no example has a {n}-gram in its x and another in its y "
                f"(stop words: {stopwords})")
        known = f"{grams.vectors.any(axis=1).sum()} of {len(grams.texts)} n-grams have a vector"
        raise InputError(f"mining: no pair of {len(every)} at n = {n} has a cosine above gamma; "
                         f"the closest: {every.max():.3f}; {known}; lower gamma or change vectors")
    table = examples[["task", "group", "example_id"]].iloc[example].reset_index(drop=True)
    table["n"] = n
    texts = np.array(grams.texts, object)
    for name, side, rows in (("x", grams.x, x), ("y", grams.y, y)):
        forms = _forms(side, rows, texts, examples[name])
        table[f"s{name}"] = pd.array(texts[side.gram[rows]], dtype="str")
        table[f"s{name}_text"] = pd.array(forms[rows], dtype="str")
    table["start"], table["end"] = grams.y.start[y], grams.y.end[y]
    table["cosine"] = cosine.astype(float)
    return table[COLUMNS]


def named_pairs(examples: pd.DataFrame, n: int) -> pd.DataFrame:
    """The task-gram table of examples that name their subject: its pair with the full answer.

    The column ``sx`` holds the subject, so there is no γ and ``cosine`` is null. ``n`` is that of
    the table the pairs go into, not the number of words of the name. An example has no pair where
    it names no subject, where the name or the answer holds no word, and where the two are the same.
    Columns as in :func:`candidates`.
    """
    require_columns(examples, ["example_id", "y", "sx"], "examples")
    examples = examples.assign(**{c: None for c in ("task", "group") if c not in examples})
    columns, rows = ["task", "group", "example_id", "sx", "y"], []
    for *keys, x, y in examples[columns].itertuples(index=False):
        named = {} if pd.isna(x) else _ngrams(x, None)
        for (sx, x_span), (sy, span) in itertools.product(named.items(), _ngrams(y, None).items()):
            if sx != sy:
                rows.append((*keys, n, sx, sy, *span, np.nan, x[slice(*x_span)], y[slice(*span)]))
    return pd.DataFrame(rows, columns=COLUMNS)


def calibrate(
    examples: pd.DataFrame, n: int, embedding: Embedding, share: float | Sequence[float] = 0.05,
    draws: int = 100_000, seed: int = 0, stopwords: str = "mined",
    full_answer: bool | Collection[str] = False, stopwords_x: StopWords = ENGLISH_STOPWORDS,
    stopwords_y: StopWords = ENGLISH_STOPWORDS, within_group: bool = True, empty: bool = False,
) -> pd.DataFrame:
    """Per task the smallest γ (three decimals) that at most ``share`` of shuffled pairs exceed; of
    several shares a row for each, in their order.

    A shuffled pair is the s^x of a random pair with the s^y of a random pair of another example of
    the task, and of its group where ``within_group`` is set (then γ is also above what any question
    of a kind shares with any answer of it); a pair that the first example holds itself does not
    count. At most 20,000 examples a task are drawn from.

    Returns task, n, gamma, shuffled_share and own_share (of the drawn pairs, shuffled and as they
    are, that pass), auc (chance that an own pair's cosine is above a shuffled one's),
    shuffled_pairs. ``calibrate(...).set_index("task").gamma.to_dict()`` is what :func:`mine` takes.

    Raises :class:`~taskgram_utils.errors.InputError` as :func:`candidates` does, where fewer than
    20 shuffled pairs can be drawn for a task (one that has no pair at all is left out where
    ``empty`` is set), and where no γ below 1 keeps ``share``.
    """
    shares, rows = np.ravel(share).tolist(), []
    wrong = ", ".join(f"{each:g}" for each in shares if not 0 < each < 1)
    require(not wrong, f"calibration: share must lie between 0 and 1, got {wrong}")
    for task, part in _checked(examples, n, stopwords).groupby("task", sort=False, dropna=False):
        rng = np.random.default_rng(seed)
        part = part.iloc[np.sort(rng.permutation(len(part))[:_CALIBRATED_ON])]
        part = part.sort_values("group", kind="stable") if within_group else part
        groups = part["group"].factorize(use_na_sentinel=False)[0] * within_group
        grams = _grams(part, n, embedding, stopwords, full_answer, stopwords_x, stopwords_y)
        own, shuffled, distinct = _shuffle(grams, groups, draws, rng)
        if empty and not len(own):
            continue
        where = f"calibration: {'' if pd.isna(task) or task == 'task' else f'{task}, '}n = {n}"
        require(distinct >= 20, f"{where}: only {distinct} pairs could be shuffled across "
                "examples; give more examples or a smaller n")
        ranks = rankdata(np.concatenate([own, shuffled]))[: len(own)]
        auc, rising = (ranks.mean() - (len(own) + 1) / 2) / len(shuffled), np.sort(shuffled)
        for each in shares:
            allowed = math.floor(each * len(shuffled))  # shuffled pairs that may pass
            highest = rising[len(shuffled) - 1 - allowed]  # cosine that must not pass
            gamma = max(0.001, math.ceil(round(float(highest) * 1000, 6)) / 1000)
            same = f"{embedding.name} gives {each:.0%} of shuffled pairs a cosine of 1"
            require(gamma < 1, f"{where}: {same}")
            passing = float((shuffled > gamma).mean()), float((own > gamma).mean())
            rows.append((task, n, gamma, *passing, auc, len(shuffled)))
    names = ["task", "n", "gamma", "shuffled_share", "own_share", "auc", "shuffled_pairs"]
    return pd.DataFrame(rows, columns=names)


def language_stopwords(code: str) -> frozenset[str]:
    """The stop words of a language by its ISO 639-1 code, in the form in which words are counted.

    English has the list used everywhere here, other languages that of stopwords-iso. Raises
    InputError for a language without a list.
    """
    if code == "en":
        return ENGLISH_STOPWORDS
    import stopwordsiso

    require(stopwordsiso.has_lang(code), f"language {code}: has no list of stop words")
    return frozenset(word for text in stopwordsiso.stopwords(code) for word in words(text))


def _checked(examples: pd.DataFrame, n: int, stopwords: str) -> pd.DataFrame:
    """The examples with task and group, and ids as texts; InputError for what cannot be mined."""
    whole = isinstance(n, int | np.integer) and n >= 1
    require(whole, f"mining: n must be a whole number of 1 or more, got {n}")
    known = stopwords in STOPWORDS
    require(known, f"mining: stopwords must be one of {', '.join(STOPWORDS)}, got {stopwords}")
    require_columns(examples, ["example_id", "x", "y"], "examples")
    require(len(examples), "examples: the table is empty")
    absent = {c: None for c in ("task", "group") if c not in examples}
    examples = examples.assign(**absent, example_id=examples["example_id"].astype("str"))
    missing = examples.loc[examples["x"].isna() | examples["y"].isna(), "example_id"]
    first = ", ".join(missing[:1])
    require(missing.empty, f"examples: x or y is missing in {len(missing)} rows (first: {first})")
    twice = ", ".join(examples.loc[examples.duplicated(["task", "example_id"]), "example_id"][:1])
    require(not twice, f"examples: example_id {twice} stands there more than once in its task")
    return examples


def _by_name(given: object, names: Iterable, what: str) -> Mapping:
    """What is given for each of some names: the same for all, or a mapping that has all of them."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    absent = ", ".join(str(name) for name in names if name not in given)
    require(not absent, f"mining: {what}, but not for {absent}")
    return given


def _gammas(tasks: pd.Series, gamma: float | Mapping[str, float] | None) -> np.ndarray:
    """float64 [examples]: the threshold of each example; -2, below every cosine, for None."""
    if gamma is None:
        return np.full(len(tasks), -2.0)
    if isinstance(gamma, Mapping):
        named = {None if pd.isna(task) else task: value for task, value in gamma.items()}
        tasks = [None if pd.isna(task) else task for task in tasks]
        named = _by_name(named, dict.fromkeys(tasks), "gamma is given per task")
        gamma = [named[task] for task in tasks]
    gammas = np.full(len(tasks), gamma, float)
    wrong = ", ".join(map(str, gammas[~((gammas > 0) & (gammas < 1))][:1]))
    require(not wrong, f"mining: gamma must lie between 0 and 1, got {wrong}")
    return gammas


class _Side(NamedTuple):
    """The distinct n-grams of each x, or of each y; example i has rows ``ends[i]:ends[i + 1]``."""

    ends: np.ndarray  # int64 [examples + 1]
    gram: np.ndarray  # int64 [rows], numbers of the n-grams
    start: np.ndarray  # int64 [rows], characters of the first occurrence
    end: np.ndarray


class _Grams(NamedTuple):
    """The distinct n-grams of all examples with their vectors, and which example holds which."""

    texts: list[str]
    vectors: np.ndarray  # float32 [texts, dimension]
    x: _Side
    y: _Side


def _grams(examples, n, embedding, stopwords, full_answer, stopwords_x, stopwords_y) -> _Grams:
    """The n-grams of each example's x and y, each distinct one embedded once."""
    require(not isinstance(full_answer, str), "mining: full_answer must be True, False or names")
    removed, groups = stopwords != "kept" and n <= STOPWORDS_UP_TO, examples["group"].unique()
    what = "stop words are given per group"
    without_x, without_y = (_by_name(given if removed else (), groups, what)
                            for given in (stopwords_x, stopwords_y))
    numbers: dict[str, int] = {}  # of the distinct n-grams
    rows, ends = (array("q"), array("q")), ([0], [0])  # of x and of y
    columns = examples[["task", "group", "x", "y"]]
    for task, group, x, y in columns.itertuples(index=False, name=None):
        whole = full_answer if isinstance(full_answer, bool) else task in full_answer
        of_x = _ngrams(x, n, without_x[group])
        of_y = _ngrams(y, None) if whole else _ngrams(y, n, without_y[group])
        for side, spans in enumerate((of_x, of_y)):
            for gram, span in spans.items():
                rows[side].extend((numbers.setdefault(gram, len(numbers)), *span))
            ends[side].append(len(rows[side]) // 3)
    x, y = (_Side(np.array(ends[side]), *np.array(rows[side]).reshape(-1, 3).T.copy())
            for side in (0, 1))
    return _Grams(list(numbers), _vectors(list(numbers), embedding), x, y)


def _ngrams(text: str, n: int | None, without: Collection[str] = ()) -> dict[str, tuple[int, int]]:
    """The distinct n-grams of ``text``, and the characters of the first occurrence of each.

    n = None: all words as one n-gram. Words in ``without`` are left out before.
    """
    tokens = [word for word in word_spans(text) if word.text not in without]
    n = n or max(1, len(tokens))
    spans: dict[str, tuple[int, int]] = {}
    for i in range(len(tokens) - n + 1):
        gram = " ".join([word.text for word in tokens[i : i + n]])
        spans.setdefault(gram, (tokens[i].start, tokens[i + n - 1].end))
    return spans


def _forms(side: _Side, rows: np.ndarray, grams: np.ndarray, texts: pd.Series) -> np.ndarray:
    """object [rows of the side]: how the n-grams of some ``rows`` are written in ``texts``.

    These are the characters of the text; where stop words were removed inside, the other words,
    joined by spaces. ``grams``: object, the n-grams by their number; ``texts``: those of the side.
    """
    forms = np.full(len(side.gram), None, object)
    rows = np.unique(rows)
    texts = texts.to_numpy(object)[np.searchsorted(side.ends, rows, side="right") - 1]
    for row, text, gram in zip(rows, texts, grams[side.gram[rows]], strict=True):
        form, names = text[side.start[row] : side.end[row]], gram.split(" ")
        inside = word_spans(form)
        if len(inside) > len(names):
            form = " ".join(form[word.start : word.end] for word in inside if word.text in names)
        forms[row] = form
    return forms


def _vectors(texts: list[str], embedding: Embedding) -> np.ndarray:
    """float32 [texts, dimension], a part at a time; of very many texts in a temporary file."""
    vectors = np.zeros((0, 1), np.float32)
    for first in range(0, len(texts), _ENCODED):
        part = embedding.encode(texts[first : first + _ENCODED])
        if not first:
            shape = len(texts), part.shape[1]
            if len(texts) <= _IN_MEMORY:
                vectors = np.empty(shape, part.dtype)
            else:
                with tempfile.TemporaryFile() as file:  # the map keeps it alive
                    vectors = np.memmap(file, part.dtype, "w+", shape=shape)
        vectors[first : first + len(part)] = part
    return vectors


def _pairs(grams: _Grams, gammas: np.ndarray, title: str) -> tuple[np.ndarray, ...]:
    """All pairs of an example whose cosine is above its γ: example, rows of s^x and s^y, cosine.

    ``gammas``: float64 [examples]. The cosines of an example are one matrix product.
    """
    vectors = np.asarray(grams.vectors)  # a memory map is slow to index
    x_ends, y_ends = grams.x.ends.tolist(), grams.y.ends.tolist()
    parts = [(np.zeros(0, np.int64),) * 3 + (np.zeros(0, np.float32),)]
    with threadpool_limits(1, "blas"):  # the products are small: a second thread costs more
        for i in Bar(range(len(gammas)), desc=title, unit="example", disable=None, leave=False):
            x = grams.x.gram[x_ends[i] : x_ends[i + 1]]
            y = grams.y.gram[y_ends[i] : y_ends[i + 1]]
            cosine = (vectors[x] @ vectors[y].T).ravel()
            hits = (cosine > gammas[i]).nonzero()[0]
            if len(hits):
                row, column = np.divmod(hits, len(y))
                example = np.full(len(hits), i)
                parts.append((example, row + x_ends[i], column + y_ends[i], cosine[hits]))
    example, x, y, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    differ = grams.x.gram[x] != grams.y.gram[y]
    return example[differ], x[differ], y[differ], np.clip(cosine[differ], -1, 1)


def _shuffle(
    grams: _Grams, groups: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cosines of random own pairs and of shuffled ones, and how many distinct the latter are.

    A shuffled pair has the s^x of an own pair and the s^y of another example of its group.
    ``groups``: int [examples], sorted.
    """
    nx, ny = np.diff(grams.x.ends), np.diff(grams.y.ends)
    ends = np.cumsum(nx * ny)  # pairs are numbered through all examples
    if not ends[-1]:
        return np.zeros(0), np.zeros(0), 0
    # The numbers of the pairs of each example's group lie from low to high.
    low = np.r_[0, ends][np.searchsorted(groups, groups, side="left")]
    high = ends[np.searchsorted(groups, groups, side="right") - 1]

    def numbered(pair):
        """The example, s^x and s^y of each numbered pair."""
        example = np.searchsorted(ends, pair, side="right")
        row, column = np.divmod(pair - ends[example] + (nx * ny)[example], ny[example])
        x, y = grams.x.ends[example] + row, grams.y.ends[example] + column
        return example, grams.x.gram[x], grams.y.gram[y]

    example, x, y = numbered(rng.integers(ends[-1], size=draws))
    other, _, other_y = numbered(rng.integers(low[example], high[example]))
    many = len(grams.texts)
    held = np.repeat(np.arange(len(ny)), ny) * many + grams.y.gram  # each s^y of each example
    held = np.isin(example * many + other_y, held)
    own, shuffled = x != y, (other != example) & (x != other_y) & ~held
    distinct = len(np.unique(x[shuffled] * many + other_y[shuffled]))
    own = _cosines(grams, x[own], y[own])
    return own, _cosines(grams, x[shuffled], other_y[shuffled]), distinct


def _cosines(grams: _Grams, a: np.ndarray, b: np.ndarray, block: int = 1 << 14) -> np.ndarray:
    """The cosine of each pair of n-grams, some pairs at a time: their vectors are copied."""
    starts = range(0, max(1, len(a)), block)
    sides = ((grams.vectors[a[i : i + block]], grams.vectors[b[i : i + block]]) for i in starts)
    return np.concatenate([np.einsum("ij,ij->i", *pair) for pair in sides])
