"""Counts over a hosted index of the public infini-gram web service, with how each number came about."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Counts, Pairs, as_ngrams, as_pairs, check_unit, numbered
from taskgram_utils.counting.service import IN_FLIGHT, LIMITS, Service, about
from taskgram_utils.counting.tokens import Vocabulary, encode_ngrams
from taskgram_utils.errors import require
from taskgram_utils.ngrams import normalize

DOCUMENTS = {"v4_piletrain_llama": 210_607_728, "v4_pileval_gpt2": 214_670}  # the service itself does not say
_EVIDENCE = (
    "sx", "sy", "unit", "count", "approximate", "occurrences", "enumerated", "sampled", "cut", "error", "date"
)  # fmt: skip
Name = tuple[str] | tuple[str, str]
"""What is counted: an n-gram or a pair."""


class ApiCounter:
    """A hosted index, by its name, as a :class:`~taskgram_utils.counting.base.Counter`.

    ``unit="documents"``: the occurrences of an n-gram are looked up and the documents around them fetched: all, up to
    ``sample`` occurrences, else ``sample`` of them, drawn without replacement by ``seed`` and n-gram. A drawn document
    with m occurrences stands for 1/m document, so that N mean(1/m) over N occurrences is an unbiased estimate of the
    documents (Hansen & Hurwitz 1943). A pair is counted around its rarer n-gram. ``unit="occurrences"``: one request a
    number; that of a pair is occurrences with a partner within ``max_diff_tokens`` tokens, in the unit ``window``.

    Hosted indexes hold case-sensitive pieces of words: an n-gram is found only as it was typed, and whether a fetched
    document holds it is decided by its words, so ``exact`` is always False. ``cache``, ``offline``, ``url``,
    ``in_flight``, ``progress``, ``pause`` and ``timeout`` are those of
    :class:`~taskgram_utils.counting.service.Service`, whose InputErrors all methods raise.
    """

    exact = False

    def __init__(self, index: str, unit: str = "documents", cache: str | Path | None = None, offline: bool = False,
                 url: str | None = None, in_flight: int = IN_FLIGHT, sample: int = 100, seed: int = 0,
                 progress: bool = True, max_diff_tokens: int = LIMITS["max_diff_tokens"], pause: float = 1.0,
                 timeout: float = 30.0):  # fmt: skip
        require(re.fullmatch(r"[\w.+-]+", index), f"index {index!r}: a hosted index has a name such as v4_pileval_gpt2")
        require(sample >= 1, f"sample {sample}: at least one document is needed")
        self.index, self.unit, self.sample, self.seed = index, check_unit(unit), sample, seed
        # Where a clause is more frequent than that, the service itself draws a sample.
        self._window = {"max_clause_freq": LIMITS["max_clause_freq"], "max_diff_tokens": max_diff_tokens}
        if unit == "documents":
            self.pair_unit = "documents"
            how = f"documents enumerated up to {sample} occurrences, above sampled (seed {seed})"
        else:
            self.pair_unit = "window"
            how = f"pairs windowed (max_diff_tokens={max_diff_tokens})"
        self.source = f"{index}, infini-gram service, sub-word pieces, {how}"
        self._service = Service(index, cache, offline, url, in_flight, progress, pause, timeout)
        self._evidence: list[dict] = []

    @property
    def documents(self) -> int:
        """Documents of the index; InputError where they are not known."""
        require(self.index in DOCUMENTS, f"{self.index}: its number of documents is unknown; the service does not say")
        return DOCUMENTS[self.index]

    @property
    def tokens(self) -> int:
        """Tokens (pieces of words) of the index."""
        request = self._service.request("count", "")
        return self._service.ask({"": request}, lambda _, answer, date: answer["count"])[""]

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False) -> Counts:
        """C(s) of the n-grams and, in ``pair_unit``, C((s^x, s^y)) of the pairs.

        See :class:`~taskgram_utils.counting.base.Counts`; with ``halves`` InputError.
        """
        require(not halves, "halves: the service cannot count in halves of the documents; a scan or an index can")
        ngrams, pairs = as_ngrams(ngrams), as_pairs(pairs)
        encode_ngrams(numbered(ngrams, pairs)[0], Vocabulary(), grow=True)  # for its refusal of what holds no word
        names = [(s.strip(),) for s in ngrams], [(sx.strip(), sy.strip()) for sx, sy in pairs]
        asked = list(dict.fromkeys(names[0] + names[1]))
        rows = self._by_documents(asked) if self.unit == "documents" else self._by_occurrences(asked)
        self._evidence += [rows[name] for name in asked]
        return Counts(*(np.array([rows[name]["count"] for name in part], np.int64) for part in names))

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs, in ``pair_unit``: int64 [m]."""
        return self.counts(pairs=pairs).pairs

    def pair_matrix(self, xs: Sequence[str], ys: Sequence[str]) -> np.ndarray:
        """C((s^x, s^y)) of every x with every y, in ``pair_unit``: int64 [len(xs), len(ys)]."""
        return self.pair_counts([(x, y) for x in xs for y in ys]).reshape(len(xs), len(ys))

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """Up to ``k`` documents that hold both n-grams (or ``sx``, where ``sy`` is None), as the service returns them.

        They are looked for around up to ``sample`` occurrences of the rarer n-gram, not in the order of the corpus.
        """
        name = (sx.strip(),) if sy is None else (sx.strip(), sy.strip())
        encode_ngrams(name, Vocabulary(), grow=True)
        found = self._find([name])
        s = _rarer(name, found)
        drawn, texts = self._drawn(s, found[s]), {}
        for begin in range(0, len(drawn), self._service.in_flight):
            some = {at: self._document(s, *at) for at in drawn[begin : begin + self._service.in_flight]}
            read = self._service.ask(some, lambda _, answer, date: (answer["doc_ix"], self._text(answer)))
            texts |= {number: text for number, text in read.values() if _hold(f" {normalize(text)} ", name)}
            if len(texts) >= k:
                break
        return list(texts.values())[:k]

    def evidence(self) -> pd.DataFrame:
        """How the numbers came about: a row for every n-gram and pair, for every time it was counted.

        ``occurrences``: of the n-gram whose documents were fetched; ``enumerated``: the documents of all of these were,
        or of so many as ``sampled`` says, with the standard ``error`` of the estimate; ``cut``: fetched documents that
        the service did not return whole; ``approximate``: more than a count of what is there (of a window: where the
        service says so); ``date``: of the latest answer it rests on (UTC).
        """
        return pd.DataFrame(self._evidence, columns=list(_EVIDENCE))

    def _by_occurrences(self, asked: list[Name]) -> dict[Name, dict]:
        """The rows of the evidence of n-grams and pairs, each from one answer."""
        requests = {s: self._service.request("count", *s, **(self._window if len(s) == 2 else {})) for s in asked}

        def read(name, answer, date):
            unit, approximate = about(requests[name], answer)
            row = _row(name, unit, answer["count"], date)
            return row | {"approximate": approximate, "occurrences": answer["count"] if len(name) == 1 else None}

        return self._service.ask(requests, read)

    def _by_documents(self, asked: list[Name]) -> dict[Name, dict]:
        """The rows of the evidence of n-grams and pairs, from the documents around occurrences."""
        found = self._find(asked)
        of: dict[str, list[Name]] = {}  # what is counted around the occurrences of each n-gram
        for name in asked:
            of.setdefault(_rarer(name, found), []).append(name)
        drawn = {s: self._drawn(s, found[s]) for s in of}

        def read(at, answer, date):
            s, text = at[0], f" {normalize(self._text(answer))} "
            # What was drawn from are the pieces, which the service labels; where it does not, the words tell.
            times = sum(label is not None and normalize(span) == normalize(s) for span, label in answer["spans"])
            times = times or len(re.findall(f"(?= {normalize(s)} )", text))
            cut = about({"query_type": "get_doc_by_rank"}, answer)[1] or bool(answer.get("blocked"))
            return _Document(answer["doc_ix"], max(times, 1), [_hold(text, name) for name in of[s]], cut, date)

        requests = {(s, *at): self._document(s, *at) for s, places in drawn.items() for at in places}
        fetched, rows = self._service.ask(requests, read), {}
        for s, names in of.items():
            documents, total = [fetched[s, *at] for at in drawn[s]], found[s].total
            cut, whole = sum(d.cut for d in documents), len(documents) == total
            for i, name in enumerate(names):
                number, error = _estimate(documents, i, total)
                date = max([found[part].date for part in name] + [d.date for d in documents])
                rows[name] = _row(name, "documents", number, date) | {
                    "approximate": not whole or cut > 0, "occurrences": total, "enumerated": whole,
                    "sampled": 0 if whole else len(documents), "cut": cut, "error": error,
                }  # fmt: skip
        return rows

    def _find(self, names: list[Name]) -> dict[str, _Places]:
        """Where the occurrences of all n-grams stand."""
        requests = {s: self._service.request("find", s) for name in names for s in name}
        return self._service.ask(requests, lambda s, a, date: _Places(a["cnt"], a["segment_by_shard"], date))

    def _drawn(self, ngram: str, places: _Places) -> list[tuple[int, int]]:
        """(shard, rank) of an n-gram's occurrences: all, or ``sample`` of them; a larger sample holds the smaller."""
        if places.total <= self.sample:
            return [(shard, rank) for shard, segment in enumerate(places.segments) for rank in range(*segment)]
        rng, drawn = random.Random(f"{self.seed} {ngram}"), {}
        while len(drawn) < self.sample:
            drawn[rng.randrange(places.total)] = None
        before = np.cumsum([0, *(end - begin for begin, end in places.segments)])
        shards = np.searchsorted(before, list(drawn), side="right") - 1
        return [(s, places.segments[s][0] + i - int(before[s])) for s, i in zip(shards.tolist(), drawn, strict=True)]

    def _document(self, ngram: str, shard: int, rank: int) -> dict:
        length = LIMITS["max_disp_len"]
        return self._service.request("get_doc_by_rank", ngram, s=shard, rank=rank, max_disp_len=length)

    def _text(self, answer: dict) -> str:
        spans = [span for span, _ in answer["spans"]]
        # Llama's decoder drops the space before each span.
        return "".join(f" {s}" if "llama" in self.index and s[:1].isalnum() else s for s in spans)


class _Places(NamedTuple):
    """The occurrences of an n-gram: how many, and first rank and last + 1 in each shard."""

    total: int
    segments: list[list[int]]
    date: str


class _Document(NamedTuple):
    """A document around an occurrence: its number, how often it holds the n-gram, and which names it holds whole."""

    number: int
    times: int
    holds: list[bool]
    cut: bool
    date: str


def _rarer(name: Name, found: dict[str, _Places]) -> str:
    return min(name, key=lambda s: found[s].total)


def _hold(text: str, name: Name) -> bool:
    """Whether normalised text between spaces holds the words of all n-grams."""
    return all(f" {normalize(s)} " in text for s in name)


def _estimate(documents: list[_Document], i: int, total: int) -> tuple[int, float]:
    """How many documents hold name ``i``, and the standard error: those fetched, if they are those of all ``total``
    occurrences, else ``total`` times the mean of 1/m over the drawn."""
    seen = len({d.number for d in documents if d.holds[i]})
    if len(documents) == total:
        return seen, 0.0
    shares = np.array([d.holds[i] / d.times for d in documents])
    spread = shares.std(ddof=1) if len(shares) > 1 else np.nan
    # No estimate says that there is none where one was seen.
    number = max(round(total * shares.mean()), min(seen, 1))
    return number, float(total * spread * np.sqrt((1 / len(shares)) * (1 - len(shares) / total)))


def _row(name: Name, unit: str, count: int, date: str) -> dict:
    """A row of the evidence of a number that is what one answer says."""
    row = dict.fromkeys(_EVIDENCE) | {"enumerated": False, "sampled": 0, "cut": 0, "error": np.nan}
    return row | {"sx": name[0], "sy": name[1] if len(name) == 2 else None, "unit": unit, "count": count, "date": date}
