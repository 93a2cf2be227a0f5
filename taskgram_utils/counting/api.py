"""Counts over a hosted index of the public infini-gram web service, with how each number came about."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskgram_utils.counting.base import Counts, Pairs, Surfaces, as_ngrams, as_pairs, check_unit, numbered
from taskgram_utils.counting.engine import Vocabulary, encode_ngrams
from taskgram_utils.counting.service import IN_FLIGHT, LIMITS, TERMS, Service, about, askable
from taskgram_utils.errors import require
from taskgram_utils.ngrams import normalize, written

DOCUMENTS = {"v4_piletrain_llama": 210_607_728, "v4_pileval_gpt2": 214_670}  # the service itself does not say
_EVIDENCE = (
    "sx", "sy", "forms", "unit", "count", "approximate", "occurrences", "enumerated", "sampled", "cut", "error", "date"
)  # fmt: skip
Name = tuple[str] | tuple[str, str]
"""What is counted: an n-gram or a pair."""


class ApiCounter:
    """A hosted index, by its name, as a :class:`~taskgram_utils.counting.base.Counter`.

    ``unit="documents"``: the occurrences of an n-gram are looked up and the documents around them fetched: all, up to
    ``sample`` occurrences, else ``sample`` of them, drawn without replacement by ``seed`` and n-gram. A drawn document
    with m occurrences stands for 1/m document, so that N mean(1/m) over N occurrences is an unbiased estimate of the
    documents (Hansen & Hurwitz 1943). A pair is counted around its rarer n-gram. ``unit="occurrences"``: one request a
    form; that of a pair, one request, is occurrences with a partner within ``max_diff_tokens`` tokens, in the unit
    ``window``, of at most four forms of each n-gram.

    Hosted indexes hold case-sensitive pieces of words. An n-gram is asked in the forms in which text may write it
    (:func:`taskgram_utils.ngrams.written`), each as the service encodes it, after a space; the occurrences of all forms
    are pooled, and whether a fetched document holds the n-gram is decided by its words. What is written otherwise is
    missed, so ``exact`` is always False. ``cache``, ``offline``, ``url``, ``in_flight``, ``progress``, ``pause`` and
    ``timeout`` are those of :class:`~taskgram_utils.counting.service.Service`, whose InputErrors all methods raise.
    """

    exact = False
    written = staticmethod(written)

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
        self.source = f"{index}, infini-gram service, sub-word pieces in several forms, {how}"
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

    def counts(
        self, ngrams: Sequence[str] = (), pairs: Pairs = (), halves: bool = False, surfaces: Surfaces | None = None
    ) -> Counts:
        """C(s) of the n-grams and, in ``pair_unit``, C((s^x, s^y)) of the pairs.

        See :class:`~taskgram_utils.counting.base.Counts`; with ``halves`` InputError.
        """
        require(not halves, "halves: the service cannot count in halves of the documents; a scan or an index can")
        ngrams, pairs = as_ngrams(ngrams), as_pairs(pairs)
        encode_ngrams(numbered(ngrams, pairs)[0], Vocabulary(), grow=True)  # for its refusal of what holds no word
        names = [(s.strip(),) for s in ngrams], [(sx.strip(), sy.strip()) for sx, sy in pairs]
        asked = list(dict.fromkeys(names[0] + names[1]))
        forms = self._forms(asked, surfaces or {})
        count = self._by_documents if self.unit == "documents" else self._by_occurrences
        rows = count(asked, forms)
        self._evidence += [rows[name] for name in asked]
        counted = (np.array([rows[name]["count"] for name in part], np.int64) for part in names)
        return Counts(*counted, tuple(np.array([rows[name]["forms"] for name in part], np.int64) for part in names))

    def count(self, ngrams: Sequence[str]) -> np.ndarray:
        """C(s) for k n-grams: int64 [k]."""
        return self.counts(ngrams).ngrams

    def pair_counts(self, pairs: Pairs) -> np.ndarray:
        """C((s^x, s^y)) for m pairs, in ``pair_unit``: int64 [m]."""
        return self.counts(pairs=pairs).pairs

    def documents_with(self, sx: str, sy: str | None = None, k: int = 5) -> list[str]:
        """Up to ``k`` documents that hold both n-grams (or ``sx``, where ``sy`` is None), as the service returns them.

        They are looked for around up to ``sample`` occurrences of the rarer n-gram, not in the order of the corpus.
        """
        name = (sx.strip(),) if sy is None else (sx.strip(), sy.strip())
        encode_ngrams(name, Vocabulary(), grow=True)
        found = self._find(self._forms([name], {}))
        s = _rarer(name, found)
        drawn, texts = self._drawn(s, found[s]), {}
        for begin in range(0, len(drawn), self._service.in_flight):
            some = {at: self._document(*at) for at in drawn[begin : begin + self._service.in_flight]}
            read = self._service.ask(some, lambda _, answer, date: (answer["doc_ix"], self._text(answer)))
            texts |= {number: text for number, text in read.values() if _hold(f" {normalize(text)} ", name)}
            if len(texts) >= k:
                break
        return list(texts.values())[:k]

    def evidence(self) -> pd.DataFrame:
        """How the numbers came about: a row for every n-gram and pair, for every time it was counted.

        ``forms``: in how many forms it was asked (a pair: those of its s^x times those of its s^y); ``occurrences``: of
        all forms of the n-gram whose documents were fetched; ``enumerated``: the documents of all of these were,
        or of so many as ``sampled`` says, with the standard ``error`` of the estimate; ``cut``: fetched documents that
        the service did not return whole; ``approximate``: more than a count of what is there (of a window: where the
        service says so); ``date``: of the latest answer it rests on (UTC).
        """
        return pd.DataFrame(self._evidence, columns=list(_EVIDENCE))

    def _forms(self, asked: list[Name], surfaces: Surfaces) -> dict[str, list[str]]:
        """The forms in which each n-gram is asked: itself, and the others that the service can be asked."""
        texts: dict[str, list[str]] = {}
        for ngram, found in surfaces.items():
            texts.setdefault(ngram.strip(), []).extend(found)
        return {
            s: [s, *(form for form in self.written(s, texts.get(s, ())) if form != s and askable(form))]
            for name in asked for s in name
        }  # fmt: skip

    def _by_occurrences(self, asked: list[Name], forms: dict[str, list[str]]) -> dict[Name, dict]:
        """The rows of the evidence of n-grams and pairs: the occurrences of all forms, each as one answer has them."""
        requests = {(s, form): self._service.request("count", form) for (s, *y) in asked if not y for form in forms[s]}
        for name in asked:
            if len(name) == 2:
                requests[name] = self._service.request("count", *(forms[s][:TERMS] for s in name), **self._window)
        answers = self._service.ask(requests, lambda _, answer, date: (answer, date))
        rows = {}
        for name in asked:
            if len(name) == 1:
                # Of forms that the index holds as the same tokens, one.
                said = {str(answers[name[0], form][0].get("token_ids", form)): answers[name[0], form]
                        for form in forms[name[0]]}.values()  # fmt: skip
                number = sum(answer["count"] for answer, _ in said)
                rough = any(answer.get("approx", False) for answer, _ in said)
                rows[name] = _row(name, forms, "occurrences", number, max(date for _, date in said))
                rows[name] |= {"approximate": rough, "occurrences": number}
            else:
                answer, date = answers[name]
                unit, rough = about(requests[name], answer)
                rows[name] = _row(name, forms, unit, answer["count"], date) | {"approximate": rough}
                rows[name]["forms"] = math.prod(len(forms[s][:TERMS]) for s in name)
        return rows

    def _by_documents(self, asked: list[Name], forms: dict[str, list[str]]) -> dict[Name, dict]:
        """The rows of the evidence of n-grams and pairs, from the documents around occurrences."""
        found = self._find(forms)
        of: dict[str, list[Name]] = {}  # what is counted around the occurrences of each n-gram
        for name in asked:
            of.setdefault(_rarer(name, found), []).append(name)
        drawn = {s: self._drawn(s, found[s]) for s in of}

        def read(at, answer, date):
            s, form = at[:2]
            text = self._text(answer)
            plain = f" {normalize(text)} "
            # What was drawn from are the pieces, which the service labels; of the other forms the text tells.
            times = sum(label is not None and normalize(span) == normalize(s) for span, label in answer["spans"])
            if times:
                times += sum(len(re.findall(rf"(?<!\S){re.escape(f)}(?!\w)", text)) for f in found[s].forms - {form})
            else:
                times = len(re.findall(f"(?= {normalize(s)} )", plain))
            cut = about({"query_type": "get_doc_by_rank"}, answer)[1] or bool(answer.get("blocked"))
            return _Document(answer["doc_ix"], max(times, 1), [_hold(plain, name) for name in of[s]], cut, date)

        requests = {(s, *at): self._document(*at) for s, places in drawn.items() for at in places}
        fetched, rows = self._service.ask(requests, read), {}
        for s, names in of.items():
            documents, total = [fetched[s, *at] for at in drawn[s]], found[s].total
            cut, whole = sum(d.cut for d in documents), len(documents) == total
            for i, name in enumerate(names):
                number, error = _estimate(documents, i, total)
                date = max([found[part].date for part in name] + [d.date for d in documents])
                rows[name] = _row(name, forms, "documents", number, date) | {
                    "approximate": not whole or cut > 0, "occurrences": total, "enumerated": whole,
                    "sampled": 0 if whole else len(documents), "cut": cut, "error": error,
                }  # fmt: skip
        return rows

    def _find(self, forms: dict[str, list[str]]) -> dict[str, _Places]:
        """Where the occurrences of all n-grams stand, in any of their forms."""
        requests = {form: self._service.request("find", form) for texts in forms.values() for form in texts}
        found = self._service.ask(requests, lambda _, answer, date: (answer["segment_by_shard"], date))
        places = {}
        for s, texts in forms.items():
            segments: dict[tuple[int, int, int], str] = {}  # forms that are the same tokens have the same
            for form in texts:
                for shard, (begin, end) in enumerate(found[form][0]):
                    if end > begin:
                        segments.setdefault((shard, begin, end), form)
            places[s] = _Places([(form, *at) for at, form in segments.items()], max(found[f][1] for f in texts))
        return places

    def _drawn(self, ngram: str, places: _Places) -> list[tuple[str, int, int]]:
        """(form, shard, rank) of an n-gram's occurrences: all, or ``sample`` of them; a larger sample holds the
        smaller."""
        if places.total <= self.sample:
            return [(form, shard, rank) for form, shard, *ends in places.segments for rank in range(*ends)]
        rng, drawn = random.Random(f"{self.seed} {ngram}"), {}
        while len(drawn) < self.sample:
            drawn[rng.randrange(places.total)] = None
        before = np.cumsum([0, *(end - begin for *_, begin, end in places.segments)])
        which = np.searchsorted(before, list(drawn), side="right") - 1
        return [(*places.segments[k][:2], places.segments[k][2] + i - int(before[k]))
                for k, i in zip(which.tolist(), drawn, strict=True)]  # fmt: skip

    def _document(self, form: str, shard: int, rank: int) -> dict:
        # Llama's decoder drops the space before each span, and what follows an n-gram may be more of its word: behind
        # a semicolon nothing is.
        query = f"{form};" if self._llama else form
        return self._service.request(
            "get_doc_by_rank", query, s=shard, rank=rank, max_disp_len=LIMITS["max_disp_len"]
        )

    @property
    def _llama(self) -> bool:
        return "llama" in self.index

    def _text(self, answer: dict) -> str:
        return (" " if self._llama else "").join(span for span, _ in answer["spans"])


class _Places(NamedTuple):
    """The occurrences of an n-gram: form, shard, first rank and last + 1, those of a form and shard together."""

    segments: list[tuple[str, int, int, int]]
    date: str

    @property
    def total(self) -> int:
        return sum(end - begin for *_, begin, end in self.segments)

    @property
    def forms(self) -> set[str]:
        return {form for form, *_ in self.segments}


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


def _row(name: Name, forms: dict[str, list[str]], unit: str, count: int, date: str) -> dict:
    """A row of the evidence of a number that is what answers say."""
    row = dict.fromkeys(_EVIDENCE) | {"enumerated": False, "sampled": 0, "cut": 0, "error": np.nan}
    row |= {"sx": name[0], "sy": name[1] if len(name) == 2 else None, "forms": math.prod(len(forms[s]) for s in name)}
    return row | {"unit": unit, "count": count, "date": date}
