"""The task-gram table: n-gram pairs of input and output whose embeddings are close, and how close is close."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator, Mapping
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
"""Largest n for which stop words are removed from the task text (METHOD section 1)."""
StopWords = Collection[str] | Mapping[str, Collection[str]]
COLUMNS = ["task", "group", "example_id", "n", "sx", "sy", "start", "end", "cosine", "sx_text", "sy_text"]

_BLOCK = 20_000  # examples whose pairs are held before the threshold, and that a threshold is calibrated on
_FETCHED = 1 << 14  # vectors fetched at a time for the products
_ENCODED = 1 << 14  # n-grams embedded at a time
_IN_MEMORY = 1 << 18  # n-grams whose vectors stay in memory; those of more lie in a file


class _Grams(NamedTuple):
    """Distinct n-grams of examples: example i has x[xs[i]:xs[i+1]] and y[ys[i]:ys[i+1]], rows of ``vectors``."""

    texts: list[str]
    vectors: np.ndarray
    x: np.ndarray
    xs: np.ndarray
    y: np.ndarray
    ys: np.ndarray
    places: np.ndarray  # [len(y), 2] characters of s^y in its y


def candidates(
    examples: pd.DataFrame,
    n: int,
    embedding: Embedding,
    stopwords: str = "mined",
    whole_answer: bool | Collection[str] = False,
    stopwords_x: StopWords = ENGLISH_STOPWORDS,
    stopwords_y: StopWords = ENGLISH_STOPWORDS,
) -> pd.DataFrame:
    """Every pair (s^x, s^y) of n-grams of the same example, s^x != s^y, with its cosine: the task-gram table before γ.

    ``examples``: example_id, x, y, and task and group where there are any. Each distinct pair of an example is one
    row; ``start``, ``end`` are the characters of the first occurrence of s^y in y (end exclusive). ``sx_text`` and
    ``sy_text`` are the n-grams as their first occurrence is written: the characters of the example or, where stop words
    were removed inside, the words that are left, joined by single spaces. ``stopwords``:
    ``mined`` or ``both`` leave stop words out of x and y before n-grams are taken, for n <= 3 (``both`` asks the same
    of whoever counts); ``kept`` leaves them in. ``whole_answer``: s^y is the whole of y whatever n is, stop words and
    all, for every task (True), none (False) or the tasks named. Each distinct n-gram of all examples is embedded once;
    the vectors of more than 262,144 lie in a temporary file. ``stopwords_x``, ``stopwords_y``: lists of stop words, or
    one a group, by name.

    Raises :class:`~taskgram_utils.errors.InputError` for n below 1, an unknown ``stopwords``, missing columns, missing
    texts, repeated examples, and where no example has a pair.
    """
    return _table(examples, n, embedding, None, stopwords, whole_answer, stopwords_x, stopwords_y)


def mine(
    examples: pd.DataFrame,
    n: int,
    gamma: float | Mapping[str, float],
    embedding: Embedding,
    stopwords: str = "mined",
    whole_answer: bool | Collection[str] = False,
    stopwords_x: StopWords = ENGLISH_STOPWORDS,
    stopwords_y: StopWords = ENGLISH_STOPWORDS,
    empty: bool = False,
) -> pd.DataFrame:
    r"""The task-gram table :math:`H_n(T)`: the pairs of :func:`candidates` whose cosine is above ``gamma``.

    ``gamma``: one threshold in (0, 1), or one per task. Returns task, group, example_id, n, sx, sy, start, end, cosine,
    sx_text, sy_text.

    Raises :class:`~taskgram_utils.errors.InputError` as :func:`candidates` does, for a ``gamma`` outside (0, 1) or
    absent for a task, and where no pair of any example passes, unless a table without rows will do (``empty``).
    """
    return _table(examples, n, embedding, gamma, stopwords, whole_answer, stopwords_x, stopwords_y, empty)


def named_pairs(examples: pd.DataFrame, n: int) -> pd.DataFrame:
    """The task-gram table of examples that name their subject (the column ``sx``): its pair with the whole answer.

    What mining has to find is said there, so no γ is asked and ``cosine`` is null. ``n`` is that of the table the pairs
    are in, not the number of words of the name. Examples without a name, without a word in name or answer, or
    whose name is the answer have none. Columns as :func:`mine`.
    """
    require_columns(examples, ["example_id", "x", "y", "sx"], "examples")
    rows = []
    kept = examples.assign(**{c: None for c in ("task", "group") if c not in examples})
    for task, group, key, name, y in kept[["task", "group", "example_id", "sx", "y"]].itertuples(index=False):
        (subject, named), (answer, found) = (_whole(text) for text in (None if pd.isna(name) else name, y))
        if subject and answer and subject != answer:
            texts = name[slice(*named)], y[slice(*found)]
            rows.append((task, group, key, n, subject, answer, *found, np.nan, *texts))
    return pd.DataFrame(rows, columns=COLUMNS)


def calibrate(
    examples: pd.DataFrame,
    n: int,
    embedding: Embedding,
    share: float = 0.05,
    draws: int = 100_000,
    seed: int = 0,
    stopwords: str = "mined",
    whole_answer: bool | Collection[str] = False,
    stopwords_x: StopWords = ENGLISH_STOPWORDS,
    stopwords_y: StopWords = ENGLISH_STOPWORDS,
    within_group: bool = True,
    empty: bool = False,
) -> pd.DataFrame:
    """Per task the smallest γ (three decimals) at which at most ``share`` of pairs shuffled across examples pass.

    A shuffled pair is the s^x of a random pair with the s^y of a random pair of another example of the task, and of its
    group where ``within_group`` is set (then γ is also above what any question of a kind shares with any answer of it);
    pairs that the first example holds itself are no shuffled pairs. At most 20,000 examples a task are drawn from.

    Returns task, n, gamma, shuffled_share and own_share (of the drawn pairs, shuffled and as they are, that pass), auc
    (chance that an own pair's cosine is above a shuffled one's), shuffled_pairs.
    ``calibrate(...).set_index("task").gamma.to_dict()`` is what :func:`mine` takes.

    Raises :class:`~taskgram_utils.errors.InputError` as :func:`candidates` does, where fewer than 20 shuffled pairs
    can be drawn for a task (one that has no pair at all is left out where ``empty`` is set), and where no γ below 1
    keeps ``share``.
    """
    require(0 < share < 1, f"calibration: share must lie between 0 and 1, got {share}")
    examples = _checked(examples, n, stopwords)
    rows = []
    for task, part in examples.groupby("task", sort=False, dropna=False):
        rng = np.random.default_rng(seed)
        part = part.iloc[np.sort(rng.permutation(len(part))[:_BLOCK])]
        part = part.sort_values("group", kind="stable") if within_group else part
        grams = _grams(part, n, embedding, stopwords, whole_answer, stopwords_x, stopwords_y)
        groups = part["group"].factorize(use_na_sentinel=False)[0] if within_group else np.zeros(len(part), int)
        own, shuffled, distinct = _shuffle(grams, groups, draws, rng)
        if empty and not len(own):
            continue
        name = "the examples" if pd.isna(task) else f"task {task}"
        require(
            distinct >= 20,
            f"calibration: {name}, n = {n}: only {distinct} pairs could be shuffled across examples; more "
            "examples are needed, or within_group=False",
        )
        shuffled = np.sort(shuffled)
        edge = shuffled[len(shuffled) - 1 - math.floor(share * len(shuffled))]
        gamma = max(0.001, math.ceil(round(float(edge) * 1000, 6)) / 1000)
        require(
            gamma < 1,
            f"calibration: {name}, n = {n}: {embedding.name} gives {share:.0%} of shuffled pairs a cosine of 1",
        )
        ranks = rankdata(np.concatenate([own, shuffled]))[: len(own)]
        auc = (ranks.mean() - (len(own) + 1) / 2) / len(shuffled)
        passing = float((shuffled > gamma).mean()), float((own > gamma).mean())
        rows.append((task, n, gamma, *passing, auc, len(shuffled)))
    return pd.DataFrame(rows, columns=["task", "n", "gamma", "shuffled_share", "own_share", "auc", "shuffled_pairs"])


def language_stopwords(code: str) -> frozenset[str]:
    """The stop words of a language by its ISO 639-1 code, as words are counted: of English the list used everywhere
    here, of others that of stopwords-iso. Raises InputError for a language without a list."""
    if code == "en":
        return ENGLISH_STOPWORDS
    import stopwordsiso

    require(stopwordsiso.has_lang(code), f"language {code}: has no list of stop words")
    return frozenset(word for listed in stopwordsiso.stopwords(code) for word in words(listed))


def holds_truth(pairs: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """bool [pairs]: whether sx and sy hold, as words that follow each other, the two of a true pair of the example.

    ``truth``: example_id, sx, sy (and task, where ids recur between tasks), words or n-grams in normalised form.
    """
    require_columns(truth, ["example_id", "sx", "sy"], "truth")
    keys = [c for c in ("task", "example_id") if c in truth.columns]
    known: dict[tuple, list[tuple[str, str]]] = {}
    for *key, sx, sy in truth[[*keys, "sx", "sy"]].itertuples(index=False):
        known.setdefault(tuple(key), []).append((f" {sx} ", f" {sy} "))
    return np.array([
        any(a in f" {sx} " and b in f" {sy} " for a, b in known.get(tuple(key), ()))
        for *key, sx, sy in pairs[[*keys, "sx", "sy"]].itertuples(index=False)
    ], bool)  # fmt: skip


def precision_recall(pairs: pd.DataFrame, truth, gammas) -> pd.DataFrame:
    """Precision and recall of the pairs above each γ, against a known truth.

    ``pairs``: candidates with their cosine; ``truth``: bool [pairs], whether a pair carries the task. Returns gamma,
    mined, true_mined, precision (null where nothing is mined), recall (of the true candidates), f1.

    Raises :class:`~taskgram_utils.errors.InputError` where the two differ in length or no candidate is true.
    """
    require_columns(pairs, ["cosine"], "pairs")
    truth, gammas = np.asarray(truth, bool), np.atleast_1d(np.asarray(gammas, float))
    require(truth.shape == (len(pairs),), f"precision and recall: {len(pairs)} pairs, but truth of shape {truth.shape}")
    require(truth.any(), "precision and recall: no candidate pair is true; check how truth was made")
    cosine = pairs["cosine"].to_numpy(float)
    mined = len(cosine) - np.searchsorted(np.sort(cosine), gammas, side="right")
    hits = truth.sum() - np.searchsorted(np.sort(cosine[truth]), gammas, side="right")
    precision = np.divide(hits, mined, out=np.full(len(gammas), np.nan), where=mined > 0)
    recall = hits / truth.sum()
    f1 = 2 * hits / (mined + truth.sum())
    return pd.DataFrame(
        {"gamma": gammas, "mined": mined, "true_mined": hits, "precision": precision, "recall": recall, "f1": f1}
    )


def _checked(examples: pd.DataFrame, n: int, stopwords: str) -> pd.DataFrame:
    require(isinstance(n, int | np.integer) and n >= 1, f"mining: n must be a whole number of 1 or more, got {n}")
    require(stopwords in STOPWORDS, f"mining: stopwords must be one of {', '.join(STOPWORDS)}, got {stopwords}")
    require_columns(examples, ["example_id", "x", "y"], "examples")
    require(len(examples), "examples: the table is empty")
    kept = {c: examples[c] if c in examples.columns else None for c in ("task", "group")}
    examples = examples.assign(**kept, example_id=examples["example_id"].astype("str"))
    missing = examples.loc[examples["x"].isna() | examples["y"].isna(), "example_id"]
    require(missing.empty, f"examples: x or y is missing in {len(missing)} rows (first: {', '.join(missing[:1])})")
    twice = examples.loc[examples.duplicated(["task", "example_id"]), "example_id"]
    require(twice.empty, f"examples: example_id {', '.join(twice[:1])} stands there more than once in its task")
    return examples


def _grams(examples, n, embedding, stopwords, whole_answer, stopwords_x, stopwords_y) -> _Grams:
    """The distinct n-grams of each example's x and y, embedded."""
    without_x, without_y = _left_out(examples, n, stopwords, stopwords_x, stopwords_y)
    require(not isinstance(whole_answer, str), "mining: whole_answer must be True, False or a set of task names")
    ids: dict[str, int] = {}
    x, y, places, xs, ys = [], [], [], [0], [0]
    for task, group, text_x, text_y in examples[["task", "group", "x", "y"]].itertuples(index=False, name=None):
        whole = whole_answer if isinstance(whole_answer, bool) else task in whole_answer
        x.extend(ids.setdefault(g, len(ids)) for g in _spans(text_x, n, without_x[group]))
        found = _spans(text_y, None, frozenset()) if whole else _spans(text_y, n, without_y[group])
        y.extend(ids.setdefault(g, len(ids)) for g in found)
        places.extend(found.values())
        xs.append(len(x))
        ys.append(len(y))
    texts = list(ids)
    x, xs, y, ys = (np.array(v, np.int64) for v in (x, xs, y, ys))
    vectors = _vectors(texts, embedding)
    return _Grams(texts, vectors, x, xs, y, ys, np.array(places, np.int64).reshape(-1, 2))


def _left_out(examples, n, stopwords, *given: StopWords) -> list[dict[str | None, frozenset[str]]]:
    """The stop words of every group that are left out of x, and of y."""
    removed, groups = stopwords != "kept" and n <= STOPWORDS_UP_TO, list(examples["group"].unique())
    return [_without(one if removed else (), groups) for one in given]


def _without(given: StopWords, groups: list) -> dict[str | None, frozenset[str]]:
    """The stop words of every group."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(groups, frozenset(given))
    absent = [str(g) for g in groups if g not in given]
    require(not absent, f"mining: stop words are given per group, but not for {', '.join(absent)}")
    return {g: frozenset(given[g]) for g in groups}


def _vectors(texts: list[str], embedding: Embedding) -> np.ndarray:
    """The vectors of all texts, a part at a time; of very many in a temporary file."""
    starts = range(0, max(1, len(texts)), _ENCODED)
    if len(texts) <= _IN_MEMORY:
        return np.concatenate([embedding.encode(texts[at : at + _ENCODED]) for at in starts])
    out = None
    with tempfile.TemporaryFile() as file:  # the map keeps it alive
        for at in starts:
            part = embedding.encode(texts[at : at + _ENCODED])
            out = np.memmap(file, np.float32, "w+", shape=(len(texts), part.shape[1])) if out is None else out
            out[at : at + len(part)] = part
    return out


def _spans(text: str, n: int | None, without: frozenset[str]) -> dict[str, tuple[int, int]]:
    """The distinct n-grams of ``text`` (n = None: all its words) with the characters of their first occurrence."""
    tokens = [w for w in word_spans(text) if w.text not in without]
    n = n or max(1, len(tokens))
    spans: dict[str, tuple[int, int]] = {}
    for i in range(len(tokens) - n + 1):
        spans.setdefault(" ".join(w.text for w in tokens[i : i + n]), (tokens[i].start, tokens[i + n - 1].end))
    return spans


def _whole(text: str | None) -> tuple[str, tuple[int, int]]:
    """All words of ``text`` as one n-gram, and their characters; of a text without a word an empty one."""
    return next(iter(_spans(text or "", None, frozenset()).items()), ("", (0, 0)))


def _written(text: str, ngram: str, span: tuple[int, int], without: frozenset[str]) -> str:
    """How an n-gram is written in ``text``, where it has the characters ``span``, less the stop words inside it."""
    text = text[slice(*span)]
    if not without or text.lower() == ngram or len(found := word_spans(text)) == ngram.count(" ") + 1:
        return text
    return " ".join(text[w.start : w.end] for w in found if w.text not in without)


def _pairs(grams: _Grams, gammas: np.ndarray, some: range) -> Iterator[tuple[np.ndarray, ...]]:
    """Per example: its number, rows of s^x, places in ``y`` and cosine of its pairs above γ: one matrix product each,
    of vectors that are fetched for many examples at a time."""
    rows = np.maximum(grams.xs[some.start + 1 : some.stop + 1] - grams.xs[some.start],
                      grams.ys[some.start + 1 : some.stop + 1] - grams.ys[some.start])  # fmt: skip
    edges = np.unique(np.searchsorted(rows, np.arange(0, rows[-1] + _FETCHED, _FETCHED), side="left"))
    edges = np.unique([0, *edges, len(some)]) + some.start
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        x0, y0 = int(grams.xs[first]), int(grams.ys[first])
        xs, ys = (grams.xs[first : last + 1] - x0).tolist(), (grams.ys[first : last + 1] - y0).tolist()
        own_x, own_y = grams.x[x0 : x0 + xs[-1]], grams.y[y0 : y0 + ys[-1]]
        left, right = grams.vectors[own_x], grams.vectors[own_y].T
        ends = zip(gammas[first:last], xs, xs[1:], ys, ys[1:], strict=False)
        kept = []
        with threadpool_limits(1, "blas"):  # the products are small: a second thread costs more than it does
            for i, (gamma, x, end_x, y, end_y) in enumerate(ends, first):
                cosine = (left[x:end_x] @ right[:, y:end_y]).ravel()
                hits = (cosine > gamma).nonzero()[0]
                if len(hits):
                    kept.append((i, x, y, end_y - y, hits, cosine[hits]))
        for i, x, y, width, hits, cosine in kept:
            row, column = np.divmod(hits, width)
            a, b = own_x[row + x], own_y[column + y]
            differ = a != b
            found = np.clip(cosine[differ], -1, 1)
            yield np.full(len(found), i), a[differ], column[differ] + y0 + y, found


def _table(
    examples, n, embedding, gamma, stopwords, whole_answer, stopwords_x, stopwords_y, empty=False
) -> pd.DataFrame:
    examples = _checked(examples, n, stopwords)
    gammas = _gammas(examples["task"], gamma)
    grams = _grams(examples, n, embedding, stopwords, whole_answer, stopwords_x, stopwords_y)
    texts, left_out = np.array(grams.texts, dtype=object), _left_out(examples, n, stopwords, stopwords_x, stopwords_y)
    parts, closest, pairs = [], -1.0, 0
    for at in Bar(range(0, len(examples), _BLOCK), desc=f"mining n={n}", unit="block", disable=None, leave=False):
        some = range(at, min(at + _BLOCK, len(examples)))
        nothing = (np.zeros(0, np.int64),) * 3 + (np.zeros(0, np.float32),)
        found = [nothing, *_pairs(grams, gammas, some)]
        example, sx, sy, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
        frame = examples[["task", "group", "example_id"]].take(example).reset_index(drop=True)
        frame["n"] = n
        frame["sx"], frame["sy"] = (pd.array(texts[codes], dtype="str") for codes in (sx, grams.y[sy]))
        frame["start"], frame["end"] = grams.places[sy].T
        frame["cosine"] = cosine.astype(float)
        frame["sx_text"], frame["sy_text"] = _as_written(examples, n, left_out, example, frame)
        parts.append(frame)
        if not len(frame):
            everything = [c for *_, c in _pairs(grams, np.full(len(examples), -2.0), some) if len(c)]
            pairs += sum(map(len, everything))
            closest = max([closest, *(float(c.max()) for c in everything)])
    table = pd.concat(parts, ignore_index=True)
    if table.empty and not empty:
        require(pairs, f"mining: no example has a {n}-gram in its x and another in its y (stop words: {stopwords})")
        raise InputError(
            f"mining: no pair of {pairs} at n = {n} has a cosine above gamma; the closest has {closest:.3f}"
        )
    return table[COLUMNS]


def _as_written(examples: pd.DataFrame, n: int, left_out, example: np.ndarray, pairs: pd.DataFrame) -> list:
    """s^x and s^y of ``pairs``, those of one ``example`` after each other, as their first occurrence is written."""
    texts, known, last = ([], []), {}, -1
    groups, xs, ys = (examples[c].tolist() for c in ("group", "x", "y"))
    rows = zip(example.tolist(), *(pairs[c].tolist() for c in ("sx", "sy", "start", "end")), strict=True)
    for i, sx, sy, start, end in rows:
        if i != last:
            x, y, known, last = xs[i], ys[i], {}, i
            without_x, without_y = (one[groups[i]] for one in left_out)
            spans = _spans(x, n, without_x)
        if (0, sx) not in known:
            known[0, sx] = _written(x, sx, spans[sx], without_x)
        if (1, sy) not in known:
            known[1, sy] = _written(y, sy, (start, end), without_y)
        texts[0].append(known[0, sx])
        texts[1].append(known[1, sy])
    return [pd.array(column, dtype="str") for column in texts]


def _gammas(tasks: pd.Series, gamma: float | Mapping[str, float] | None) -> np.ndarray:
    if gamma is None:
        return np.full(len(tasks), -2.0)
    if isinstance(gamma, Mapping):
        absent = [str(t) for t in tasks.unique() if t not in gamma]
        require(not absent, f"mining: gamma is given per task, but not for {', '.join(absent)}")
        out = tasks.map(dict(gamma)).to_numpy(float)
    else:
        out = np.full(len(tasks), gamma, float)
    wrong = out[~((out > 0) & (out < 1))]
    require(not len(wrong), f"mining: gamma must lie between 0 and 1, got {', '.join(map(str, wrong[:1]))}")
    return out


def _shuffle(
    grams: _Grams, groups: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cosines of random own pairs, and of the same s^x with the s^y of another example, and how many pairs these are;
    ``groups`` is sorted."""
    nx, ny = np.diff(grams.xs), np.diff(grams.ys)
    ends = np.cumsum(nx * ny)
    if not ends[-1]:
        return np.zeros(0), np.zeros(0), 0
    last = np.searchsorted(groups, groups, side="right")
    first = np.searchsorted(groups, groups, side="left")
    low, high = np.r_[0, ends][first], ends[last - 1]

    def pair(number):
        example = np.searchsorted(ends, number, side="right")
        inside = number - ends[example] + (nx * ny)[example]
        return example, grams.xs[example] + inside // ny[example], grams.ys[example] + inside % ny[example]

    example, x, y = pair(rng.integers(ends[-1], size=draws))
    other, _, elsewhere = pair(rng.integers(low[example], high[example]))
    x, y, elsewhere = grams.x[x], grams.y[y], grams.y[elsewhere]
    own = y != x
    owned = np.repeat(np.arange(len(ny)), ny) * len(grams.texts) + grams.y
    shuffled = (other != example) & (x != elsewhere) & ~np.isin(example * len(grams.texts) + elsewhere, owned)
    distinct = len(np.unique(x[shuffled] * len(grams.texts) + elsewhere[shuffled]))
    return _cosines(grams.vectors, x[own], y[own]), _cosines(grams.vectors, x[shuffled], elsewhere[shuffled]), distinct


def _cosines(vectors: np.ndarray, a: np.ndarray, b: np.ndarray, block: int = 1 << 14) -> np.ndarray:
    parts = [
        np.einsum("ij,ij->i", vectors[a[i : i + block]], vectors[b[i : i + block]]) for i in range(0, len(a), block)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
