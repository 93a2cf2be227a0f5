"""Counts over a hosted index of the infini-gram web service, and how each number came about."""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Counter, Counts, Pairs, Surfaces, as_lists, holds, sizes
from taskgram_utils.counting.service import DOCUMENT, IN_FLIGHT, TERMS, WINDOW, Service, askable
from taskgram_utils.errors import require
from taskgram_utils.ngrams import normalize, written

_EVIDENCE = ("sx", "sy", "forms", "unit", "count", "approximate", "occurrences", "enumerated",
             "sampled", "cut", "error", "date")
Name = tuple[str] | tuple[str, str]
"""What is counted: an n-gram or a pair."""
Place = tuple[str, int, int]
"""Of an occurrence: the form of the n-gram, the shard, and the rank of its suffix."""


class ApiCounter(Counter):
    """Counts over a hosted index, by its name.

    ``unit="documents"``: the occurrences of an n-gram are looked up and the documents around them
    fetched: all, up to ``sample`` occurrences, else ``sample`` of them, drawn without replacement
    by ``seed`` and n-gram. A drawn document with m occurrences counts as 1/m document, so that
    N mean(1/m) over N occurrences is an unbiased estimate of the documents (Hansen & Hurwitz 1943).
    A pair is counted around its rarer n-gram. ``unit="occurrences"``: one request a form; a pair is
    one request, of at most four forms of each n-gram, and its number is occurrences with a partner
    within ``max_diff_tokens`` tokens, in the unit ``window``.

    Hosted indexes hold case-sensitive pieces of words. An n-gram is looked for in the forms in
    which text may write it (:func:`taskgram_utils.ngrams.written`), each as the service encodes it,
    after a space; the occurrences of all forms are pooled, and whether a fetched document holds the
    n-gram is decided by its words. What is written otherwise is missed, so ``exact`` is always
    False. ``cache``, ``offline`` and ``service`` (``url``, ``progress``, ``pause``, ``timeout``)
    are those of :class:`~taskgram_utils.counting.service.Service`, whose InputErrors all methods
    raise.
    """

    exact = False
    written = staticmethod(written)

    def __init__(self, index: str, unit: str = "documents", cache: str | Path | None = None,
                 offline: bool = False, sample: int = 100, seed: int = 0,
                 max_diff_tokens: int = WINDOW["max_diff_tokens"], **service: Any):
        super().__init__(unit)
        require(re.fullmatch(r"[\w.+-]+", index),
                f"index {index!r}: a hosted index has a name such as v4_pileval_gpt2")
        require(sample >= 1, f"sample {sample}: at least one document is needed")
        most = WINDOW["max_diff_tokens"]
        require(1 <= max_diff_tokens <= most,
                f"max_diff_tokens {max_diff_tokens}: the service takes 1 to {most:,}")
        self.sample, self.seed = sample, seed
        self._window = WINDOW | {"max_diff_tokens": max_diff_tokens}
        how = f"documents enumerated up to {sample} occurrences, above sampled (seed {seed})"
        if unit == "occurrences":
            self.pair_unit = "window"
            how = f"pairs windowed (max_diff_tokens={max_diff_tokens})"
        self.source = f"{index}, infini-gram service, sub-word pieces in several forms, {how}"
        self._llama = "llama" in index
        self._service = Service(index, cache, offline, **service)
        self._evidence: list[dict] = []

    def counts(self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False,
               surfaces: Surfaces | None = None) -> Counts:
        """C(s) of the n-grams and, in ``pair_unit``, C((s^x, s^y)) of the pairs.

        Raises InputError with ``halves``, and where an answer is missing.
        """
        require(not halves, "halves: the service cannot count in halves of the documents; "
                            "a scan or an index can")
        ngrams, pairs = as_lists(ngrams, pairs)
        sizes([*ngrams, *chain.from_iterable(pairs)])  # refuses what holds no word
        single, joint = [(s.strip(),) for s in ngrams], [(x.strip(), y.strip()) for x, y in pairs]
        names = list(dict.fromkeys(single + joint))
        forms = self._forms(names, surfaces or {})
        count = self._by_documents if self.unit == "documents" else self._by_occurrences
        rows = count(names, forms)
        self._evidence += [rows[name] for name in names]
        counts, numbers_of_forms = (
            [np.array([rows[name][column] for name in part], np.int64) for part in (single, joint)]
            for column in ("count", "forms"))
        return Counts(*counts, tuple(numbers_of_forms))

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """Up to ``k`` documents that hold ``sx`` and, where given, ``sy``, as the service has them.

        They are looked for around up to ``sample`` occurrences of the rarer n-gram, not in the
        order of the corpus.
        """
        name = (sx.strip(),) if sy is None else (sx.strip(), sy.strip())
        sizes(name)  # refuses what holds no word
        occurrences = self._find(self._forms([name], {}))
        s = _rarer(name, occurrences)
        places, texts = self._drawn(s, occurrences[s]), {}  # texts by the document's number
        while places and len(texts) < k:
            batch, places = places[:IN_FLIGHT], places[IN_FLIGHT:]
            answers = self._service.ask(
                {place: self._document(*place) for place in batch},
                lambda _, answer, date: (answer["doc_ix"], self._text(answer)))
            texts |= {doc: text for doc, text in answers.values() if holds(normalize(text), name)}
        return list(texts.values())[:k]

    def evidence(self) -> pd.DataFrame:
        """How the numbers came about: a row for each n-gram and pair, each time it was counted.

        ``forms``: in how many forms it was looked for (a pair: those of its s^x times those of its
        s^y); ``occurrences``: of all forms of the n-gram whose documents were fetched;
        ``enumerated``: the documents of all of these were, or of so many as ``sampled`` says, with
        the standard ``error`` of the estimate; ``cut``: fetched documents that the service did not
        return whole; ``approximate``: more than a count of what is there (of a window: where the
        service says so); ``date``: of the latest answer it rests on (UTC).
        """
        return pd.DataFrame(self._evidence, columns=list(_EVIDENCE))

    def _forms(self, names: list[Name], surfaces: Surfaces) -> dict[str, list[str]]:
        """The forms in which each n-gram is looked for: itself, and others that can be asked."""
        texts = defaultdict(list)
        for ngram, written_as in surfaces.items():
            texts[ngram.strip()] += written_as
        return {s: [s, *(f for f in self.written(s, texts[s]) if f != s and askable(f))]
                for name in names for s in name}

    def _by_occurrences(self, names: list[Name], forms: dict[str, list[str]]) -> dict[Name, dict]:
        """Count occurrences of all forms of n-grams, and windows with pairs, by one answer each."""
        first = {s: texts[:TERMS] for s, texts in forms.items()}
        requests: dict[str | Name, dict] = {}
        for name in names:
            if len(name) == 1:
                requests |= {form: self._service.request("count", form) for form in forms[name[0]]}
            else:
                terms = (first[s] for s in name)
                requests[name] = self._service.request("count", *terms, **self._window)
        answers, rows = self._service.ask(requests, lambda _, *answer: answer), {}
        for name in names:
            pair = len(name) == 2
            keys = [name] if pair else forms[name[0]]
            # Of forms that are the same tokens in the index, one is counted.
            parts = {str(answers[key][0].get("token_ids", key)): answers[key] for key in keys}
            results, dates = zip(*parts.values(), strict=True)
            total = sum(result["count"] for result in results)
            rows[name] = _row(name, first if pair else forms, date=max(dates), count=total,
                              unit="window" if pair else "occurrences",
                              occurrences=None if pair else total,
                              approximate=any(result.get("approx", pair) for result in results))
        return rows

    def _by_documents(self, names: list[Name], forms: dict[str, list[str]]) -> dict[Name, dict]:
        """Count the documents that hold n-grams and pairs, among those around occurrences."""
        occurrences = self._find(forms)
        names_of = defaultdict(list)  # what is counted around the occurrences of each n-gram
        for name in names:
            names_of[_rarer(name, occurrences)].append(name)
        drawn = {s: self._drawn(s, occurrences[s]) for s in names_of}

        def read(key: tuple, answer: dict, date: str) -> _Document:
            s, drawn_form = key[:2]
            text = self._text(answer)
            plain = normalize(text)
            # The service labels the pieces that were drawn from; the text shows the other forms.
            times = sum(label is not None and normalize(span) == normalize(s)
                        for span, label in answer["spans"])
            if times:
                others = {form for form, *_ in occurrences[s].segments} - {drawn_form}
                times += sum(len(re.findall(rf"(?<!\S){re.escape(f)}(?!\w)", text)) for f in others)
            else:
                times = len(re.findall(f"(?= {normalize(s)} )", f" {plain} "))
            cut = answer["disp_len"] < answer["doc_len"] or bool(answer.get("blocked"))
            held = [holds(plain, name) for name in names_of[s]]
            return _Document(answer["doc_ix"], max(times, 1), held, cut, date)

        requests = {(s, *place): self._document(*place) for s in drawn for place in drawn[s]}
        fetched, rows = self._service.ask(requests, read), {}
        for s in names_of:
            documents, total = [fetched[s, *place] for place in drawn[s]], occurrences[s].total
            cut, whole = sum(d.cut for d in documents), len(documents) == total
            for i, name in enumerate(names_of[s]):
                count, error = _estimate(documents, i, total)
                dates = [occurrences[s].date for s in name] + [d.date for d in documents]
                rows[name] = _row(
                    name, forms, unit="documents", count=count, approximate=not whole or cut > 0,
                    occurrences=total, enumerated=whole, sampled=0 if whole else len(documents),
                    cut=cut, error=error, date=max(dates))
        return rows

    def _find(self, forms: dict[str, list[str]]) -> dict[str, _Occurrences]:
        """Where the occurrences of all n-grams are, in any of their forms."""
        requests = {form: self._service.request("find", form)
                    for texts in forms.values() for form in texts}
        answers, occurrences = self._service.ask(requests, lambda _, *answer: answer), {}
        for s, texts in forms.items():
            segments: dict[tuple, str] = {}  # forms that are the same tokens have the same segments
            for form in texts:
                for shard, (begin, end) in enumerate(answers[form][0]["segment_by_shard"]):
                    if end > begin:
                        segments.setdefault((shard, begin, end), form)
            places = [(form, *segment) for segment, form in segments.items()]
            occurrences[s] = _Occurrences(places, max(answers[form][1] for form in texts))
        return occurrences

    def _drawn(self, ngram: str, occurrences: _Occurrences) -> list[Place]:
        """All occurrences of an n-gram, or ``sample``; a larger sample holds the smaller one."""
        total, rng = occurrences.total, random.Random(f"{self.seed} {ngram}")
        numbers = dict.fromkeys(range(total) if total <= self.sample else ())
        while len(numbers) < min(self.sample, total):
            numbers[rng.randrange(total)] = None
        return [occurrences.place(number) for number in numbers]

    def _document(self, form: str, shard: int, rank: int) -> dict:
        # Llama's decoder drops the space before each span, and what follows an n-gram may be more
        # of its word: not so behind a semicolon.
        return self._service.request("get_doc_by_rank", f"{form};" if self._llama else form,
                                     s=shard, rank=rank, **DOCUMENT)

    def _text(self, answer: dict) -> str:
        return (" " if self._llama else "").join(span for span, _ in answer["spans"])


class _Occurrences(NamedTuple):
    """The occurrences of an n-gram: form, shard, first rank and last + 1 of those of a form."""

    segments: list[tuple[str, int, int, int]]
    date: str

    @property
    def total(self) -> int:
        return sum(end - begin for *_, begin, end in self.segments)

    def place(self, number: int) -> Place:
        """Where the occurrence of that number, from 0, is."""
        for form, shard, begin, end in self.segments:
            if number < end - begin:
                return form, shard, begin + number
            number -= end - begin
        raise IndexError(number)


class _Document(NamedTuple):
    """A document around an occurrence."""

    number: int
    times: int  # occurrences of the n-gram in it
    holds: list[bool]  # whether it holds all n-grams of each name
    cut: bool
    date: str


def _rarer(name: Name, occurrences: dict[str, _Occurrences]) -> str:
    return min(name, key=lambda s: occurrences[s].total)


def _estimate(documents: list[_Document], i: int, total: int) -> tuple[int, float]:
    """How many documents hold name ``i``, and the standard error.

    The number of those fetched, if they are those of all ``total`` occurrences, else ``total``
    times the mean of 1/m over the drawn (Hansen & Hurwitz 1943).
    """
    seen = len({d.number for d in documents if d.holds[i]})
    if len(documents) == total:
        return seen, 0.0
    shares = np.array([d.holds[i] / d.times for d in documents])
    spread = shares.std(ddof=1) if len(shares) > 1 else np.nan
    number = max(round(total * shares.mean()), min(seen, 1))  # not 0 where one was seen
    return number, float(total * spread * np.sqrt((1 / len(shares)) * (1 - len(shares) / total)))


def _row(name: Name, forms: dict[str, list[str]], **fields) -> dict:
    """A row of the evidence, of a number that answers give unless ``fields`` say otherwise."""
    return {"sx": name[0], "sy": name[1] if len(name) == 2 else None,
            "forms": math.prod(len(forms[s]) for s in name), "occurrences": None,
            "enumerated": False, "sampled": 0, "cut": 0, "error": np.nan, **fields}
