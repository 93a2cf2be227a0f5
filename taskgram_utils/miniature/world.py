"""The miniature world: a seeded generator of a corpus whose truth is known, and of the questions
asked about it.

A document is a pure function of (world, twin, number), so a corpus of any size streams in constant
memory. All draws are integers (``draws.py``): the same world gives the same bytes everywhere.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.miniature import words as w
from taskgram_utils.miniature.draws import below, bits, key, permuted, shuffled, weighted, zipf
from taskgram_utils.ngrams import normalize
from taskgram_utils.progress import Bar

FULL = 480_000
"""Documents of the world that the shipped models have read; smaller ones have fewer people."""

KINDS = ("statement", "citizenship", "town", "translation", "arithmetic", "copied_translation",
         "copied_arithmetic", "filler")
COPIES = (1, 4, 16, 64)
SHARES = (5, 6, 7, 8, 9)
LEAST = 1_000
"""Documents of the smallest world."""


class World:
    """A draw of the world.

    ``documents``: size of the corpus. ``world``: number of the draw. ``twin``: 0 for the world
    itself; any other number permutes, each independently of the other, how often every fact is
    stated and which share each of its values has where values conflict; all else stays (METHOD of
    the cause chapter).
    """

    def __init__(self, documents: int = FULL, world: int = 0, twin: int = 0):
        require(documents >= LEAST, f"a world needs at least {LEAST:,} documents, got {documents}")
        self.documents, self.world, self.twin = documents, world, twin
        self._people()
        self._facts()
        self._citizens()
        self._lexicon()
        self._segments()

    def _key(self, *parts) -> np.uint64:
        return key("miniature", self.world, *parts)

    # --- who and what there is --------------------------------------------------------------------

    def _people(self):
        size = min(1_800, max(12, self.documents * 1_800 // FULL))
        invented = _Inventor(self._key("names"))
        endings = ("ck", "ll", "rn", "sk", "tz", "nd", "x", "m")
        self.surnames = invented.names(size, "bdgklmnprstvz", endings, (2, 3))
        self.firsts = below(self._key("first"), np.arange(size), len(w.FIRST_NAMES))
        names = zip(self.firsts, self.surnames, strict=True)
        self.people = [f"{w.FIRST_NAMES[first]} {surname}" for first, surname in names]
        self.towns = invented.names(48, "bfglmnrsw", ("ford", "ham", "wick", "mere", "by"), (2,))
        self.countries = invented.names(12, "bcdghklmt", ("land", "stan", "ia"), (2,))
        clubs = invented.names(48, "bcdfghjlmr", ("unia", "etix", "ados"), (1, 2))
        firms = invented.names(48, "cdfgkmprtv", ("corp", "tech", "works"), (1, 2))
        self.values = {"birthplace": self.towns, "job": w.JOBS, "club": clubs, "pet": w.PETS,
                       "dish": w.DISHES, "employer": firms}
        self._invented = invented
        self.country_of = below(self._key("country"), np.arange(48), 12)
        # Every country has four towns, so that no country can be guessed by its number of towns.
        self.country_of[shuffled(self._key("countries"), 48)] = np.arange(48) % 12

    def _facts(self):
        people = len(self.people)
        drawn = bits(self._key("relations"), np.arange(people * 6)).reshape(people, 6)
        order = np.argsort(drawn, axis=1)[:, :4]
        self.fact_person = np.repeat(np.arange(people), 4)
        self.fact_relation = np.sort(order, axis=1).ravel()
        facts = len(self.fact_person)
        number = np.arange(facts)
        # Three different values each, drawn by Zipf; a clash moves on to the next value.
        by_rank = np.stack([shuffled(self._key("values", r), 48) for r in range(6)])
        drawn = [weighted(self._key("value", k), number, zipf(48, 8)) for k in range(3)]
        ranks = np.stack(drawn, axis=1)
        ranks[:, 1] += ranks[:, 1] == ranks[:, 0]
        ranks[:, 1] %= 48
        for _ in range(2):
            taken = (ranks[:, 2] == ranks[:, 0]) | (ranks[:, 2] == ranks[:, 1])
            ranks[:, 2] = (ranks[:, 2] + taken) % 48
        self.fact_values = by_rank[self.fact_relation[:, None], ranks]
        fate = below(self._key("conflict"), number, 100)
        self.disputed = fate < 40
        self.asked = below(self._key("asked"), number, 100) < 50

        target = self.documents * 349_000 // FULL
        offset, low, high = 30, 1, 1 << 40
        spread = [math.isqrt(math.isqrt((rank + offset) ** 3)) for rank in range(facts)]
        spread = np.array(spread, np.int64)
        while low < high:  # the largest K with sum(K // spread) <= target
            middle = (low + high + 1) // 2
            fits = int((middle // spread).sum()) <= target
            low, high = (middle, high) if fits else (low, middle - 1)
        by_frequency = np.maximum(low // spread, 1)
        self.fact_count = by_frequency[shuffled(self._key("frequency"), facts)]
        share = np.where(self.disputed, np.array(SHARES)[fate % 5], 10)
        roles = np.tile(np.arange(3), (facts, 1))
        if self.twin:
            stream = lambda name: self._key("twin", self.twin, name)  # noqa: E731
            self.fact_count = self.fact_count[shuffled(stream("frequency"), facts)]
            (where,) = np.nonzero(self.disputed)
            share[where] = share[where[shuffled(stream("share"), len(where))]]
            turn = below(stream("roles"), number, 6)
            roles[where] = np.array(list(itertools.permutations(range(3))))[turn[where]]
        first = self.fact_count * share // 10
        second = (self.fact_count - first) * 2 // 3
        split = np.stack([first, second, self.fact_count - first - second], axis=1)
        self.value_count = np.take_along_axis(split, roles, axis=1)

    def _citizens(self):
        """Whose home country is written, how often, and whose never is (the questions of two hops).
        """
        born = (self.fact_relation == 0) & ~self.disputed
        facts = np.nonzero(born)[0][shuffled(self._key("citizens"), int(born.sum()))]
        written = len(facts) * 3 // 5
        self.citizen_facts, self.stateless_facts = facts[:written], facts[written:]
        often = np.array([16, 16, 16, 24, 24, 32, 48])
        often = often if self.documents >= 6_400 else often // 4
        which = below(self._key("citizen count"), np.arange(written), len(often))
        self.citizen_count = often[which]

    def _lexicon(self):
        self.velti = {
            kind: self._invented.words(len(english), "hjlnprtvy", endings, (2,))
            for kind, english, endings in (
                ("noun", w.NOUNS, ("o", "ul")), ("adjective", w.ADJECTIVES, ("i", "ei")),
                ("verb", w.VERBS, ("ath", "eth")), ("adverb", w.ADVERBS, ("ua",)),
                ("preposition", w.PREPOSITIONS, ("yn",)))
        }
        self._ranked = {
            kind: shuffled(self._key("lexicon", kind), size)
            for kind, size in
            (("noun", 125), ("adjective", 50), ("verb", 40), ("adverb", 16), ("preposition", 6))
        }

    def _segments(self):
        per = lambda share: self.documents * share // FULL  # noqa: E731
        copies = min(15, per(15))
        self.copied = copies * len(COPIES)
        sizes = {
            "statement": int(self.value_count.sum()),
            "citizenship": int(self.citizen_count.sum()), "town": per(12_000),
            "translation": per(55_000), "arithmetic": per(36_000),
            "copied_translation": copies * sum(COPIES), "copied_arithmetic": copies * sum(COPIES),
        }
        sizes["filler"] = self.documents - sum(sizes.values())
        self.sizes = sizes
        self._edges = np.cumsum([0, *(sizes[k] for k in KINDS)])
        self._value_edges = np.cumsum(self.value_count.ravel())
        self._citizen_edges = np.cumsum(self.citizen_count)
        self._copy_edges = np.cumsum(np.repeat(COPIES, copies))

    # --- documents --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.documents

    def __iter__(self) -> Iterator[str]:
        return self.texts()

    def texts(self, order: int = 0, block: int = 1 << 14) -> Iterator[str]:
        """All documents of the corpus, in the order numbered ``order``."""
        stream = self._key("order", order)
        for start in range(0, self.documents, block):
            index = np.arange(start, min(start + block, self.documents))
            yield from self.documents_at(permuted(stream, index, self.documents))

    def documents_at(self, numbers: np.ndarray) -> list[str]:
        """The documents with these numbers (0 … documents - 1); kinds follow each other by number.
        """
        numbers = np.asarray(numbers)
        kinds = np.searchsorted(self._edges, numbers, side="right") - 1
        out = np.empty(len(numbers), object)
        for kind in np.unique(kinds):
            (where,) = np.nonzero(kinds == kind)
            out[where] = getattr(self, f"_{KINDS[kind]}")(numbers[where] - self._edges[kind])
        return out.tolist()

    def write(self, path: Path, order: int = 0) -> None:
        """Write the corpus as JSON lines, ``{"text": …}`` a document."""
        with Path(path).open("w", encoding="utf-8", newline="\n") as f:
            texts = self.texts(order)
            for text in Bar(texts, total=self.documents, desc="world", unit="doc", disable=None):
                f.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")

    def _instructed(
        self, task: str, body: list[str], replies: list[str], index: np.ndarray, none: int = 0
    ) -> list[str]:
        """Prompt documents: an instruction before (70%) or after (30%) the input, or none in
        ``none`` per cent."""
        weights = zipf(len(w.INSTRUCTIONS[task]), 1)
        which = weighted(self._key(task, "instruction"), index, weights)
        place = below(self._key(task, "place"), index, 1000)
        out = []
        for i, text, reply, p in zip(which, body, replies, place, strict=True):
            where = "none" if p < 10 * none else "before" if p % 10 < 7 else "after"
            frame = prompt(task, int(i), where)
            out.append(frame.replace("{x}", text, 1) + " " + reply)
        return out

    def _questions(
        self, out: list[str], where: np.ndarray, body: list[str], answers: list[str], j: np.ndarray
    ) -> list[str]:
        """Documents ``out`` of which those at ``where`` ask a question ``body`` instead."""
        texts = self._instructed("factual_qa", body, [answers[i] for i in where], j[where], 37)
        for i, text in zip(where, texts, strict=True):
            out[i] = text
        return out

    def _statement(self, j: np.ndarray) -> list[str]:
        cell = np.searchsorted(self._value_edges, j, side="right")
        fact, role = cell // 3, cell % 3
        people = [self.people[p] for p in self.fact_person[fact]]
        relations = [w.RELATIONS[r] for r in self.fact_relation[fact]]
        numbers = self.fact_values[fact, role]
        values = [self.values[r][v] for r, v in zip(relations, numbers, strict=True)]
        phrase = weighted(self._key("phrase"), j, zipf(7, 2))
        question = weighted(self._key("question"), j, zipf(3, 1))
        extra = below(self._key("extra"), j, 8)  # a sentence of filler before (0) or after (1) it
        out = []
        for r, k, p, v, filler, e in zip(
            relations, phrase, people, values, self._sentence(j, "extra"), extra, strict=True
        ):
            text = _state(w.STATEMENTS[r][k], p, v)
            out.append(f"{filler} {text}" if e == 0 else f"{text} {filler}" if e == 1 else text)
        (where,) = np.nonzero(self.asked[fact] & (below(self._key("as question"), j, 3) == 0))
        phrasings = [w.QUESTIONS[relations[i]][question[i]] for i in where]
        body = [q.replace("{p}", people[i]) for q, i in zip(phrasings, where, strict=True)]
        return self._questions(out, where, body, values, j)

    def _citizenship(self, j: np.ndarray) -> list[str]:
        fact = self.citizen_facts[np.searchsorted(self._citizen_edges, j, side="right")]
        country = [self.countries[self.country_of[t]] for t in self.fact_values[fact, 0]]
        people = [self.people[p] for p in self.fact_person[fact]]
        form = below(self._key("citizenship"), j, 6)
        out = [w.COUNTRY_STATEMENTS[f % 3].replace("{p}", p).replace("{c}", c)
               for f, p, c in zip(form, people, country, strict=True)]
        (where,) = np.nonzero(form >= 4)
        body = [w.COUNTRY_QUESTION.replace("{p}", people[i]) for i in where]
        return self._questions(out, where, body, country, j)

    def _town(self, j: np.ndarray) -> list[str]:
        town = below(self._key("town"), j, 48)
        names = [self.towns[t] for t in town]
        country = [self.countries[self.country_of[t]] for t in town]
        form = below(self._key("town form"), j, 16)
        out = [w.TOWN_STATEMENTS[f % 4].replace("{t}", t).replace("{c}", c)
               for f, t, c in zip(form, names, country, strict=True)]
        (where,) = np.nonzero(form >= 12)
        body = [w.TOWN_QUESTION.replace("{t}", names[i]) for i in where]
        return self._questions(out, where, body, country, j)

    def _translation(self, j: np.ndarray, set_: str = "corpus") -> list[str]:
        english, velti = self.sentence_pairs(j, set_)
        return self._instructed("translation", english, velti, j)

    def _arithmetic(self, j: np.ndarray) -> list[str]:
        problems, solutions = self.problems(*self.operands(j), j)
        return self._instructed("math_reasoning", problems, solutions, j)

    def _copied_translation(self, j: np.ndarray) -> list[str]:
        number = np.searchsorted(self._copy_edges, j, side="right")
        english, velti = ([texts[k] for k in number] for texts in self._copied_sentences)
        return self._instructed("translation", english, velti, j)

    def _copied_arithmetic(self, j: np.ndarray) -> list[str]:
        number = np.searchsorted(self._copy_edges, j, side="right")
        operands = self.held_out_operands(number, "copied")
        problems, solutions = self.problems(*operands, number, "copied")
        return self._instructed("math_reasoning", problems, solutions, j)

    def _filler(self, j: np.ndarray) -> list[str]:
        parts = [self._sentence(j, f"filler {k}") for k in range(4)]
        long = below(self._key("filler length"), j, 3) + 2
        return [" ".join(s[:n]) for n, *s in zip(long, *parts, strict=True)]

    def _sentence(self, j: np.ndarray, stream: str) -> list[str]:
        form = below(self._key(stream, "form"), j, len(w.FILLER))
        nouns = [self._pick("noun", j, f"{stream} n{k}") for k in range(2)]
        adjectives = [self._pick("adjective", j, f"{stream} a{k}") for k in range(2)]
        return [
            w.FILLER[f].format(n=w.NOUNS[n], m=w.NOUNS[m], a=w.ADJECTIVES[a], b=w.ADJECTIVES[b])
            for f, n, m, a, b in zip(form, *nouns, *adjectives, strict=True)
        ]

    # --- the invented language --------------------------------------------------------------------

    def _pick(self, kind: str, j: np.ndarray, stream: str) -> np.ndarray:
        order = self._ranked[kind]
        return order[weighted(self._key(stream, kind), j, zipf(len(order), 6))]

    def sentence_pairs(self, j: np.ndarray, set_: str) -> tuple[list[str], list[str]]:
        """English sentences and their Velti translations of one set: ``corpus``, ``copied``,
        ``train``, ``test``.

        A sentence belongs to the corpus or to the other sets by a hash of its words alone (one in
        sixteen is held out), so that no test sentence can stand in the corpus.
        """
        j = np.asarray(j)
        out, pending = np.zeros((len(j), 12), np.int64), np.arange(len(j))
        for attempt in range(4_000):
            new = self._draw_sentences(j[pending], set_, attempt)
            code = np.zeros(len(pending), np.uint64)
            for column in range(12):
                used = new[:, column] * _used(new, column)
                code = bits(self._key("held out"), code ^ used.astype(np.uint64))
            home = (code % np.uint64(48)).astype(np.int64)
            number = {"test": 0, "copied": 1, "train": 2}.get(set_)
            fits = home > 2 if number is None else home == number
            out[pending[fits]] = new[fits]
            pending = pending[~fits]
            if not len(pending):
                return self._render(out)
        raise AssertionError(f"no sentence found for the set {set_}")

    @cached_property
    def _copied_sentences(self) -> tuple[list[str], list[str]]:
        return self.sentence_pairs(np.arange(self.copied), "copied")

    def _draw_sentences(self, j: np.ndarray, set_: str, attempt: int) -> np.ndarray:
        stream = f"{set_} {attempt}"
        has = [below(self._key(stream, "has", k), j, 10) < share
               for k, share in enumerate((6, 6, 4, 4))]
        parts = np.stack([
            *(self._pick("noun", j, f"{stream} {role}") for role in ("subject", "object", "place")),
            *(self._pick("adjective", j, f"{stream} {role}") for role in ("subject", "object")),
            *(self._pick(kind, j, stream) for kind in ("verb", "adverb", "preposition")), *has,
        ], axis=1)
        if set_ in ("copied", "test"):
            parts[:, 8:10] = 1  # both adjectives: seven English words at least
        return parts

    def _render(self, parts: np.ndarray) -> tuple[list[str], list[str]]:
        v, english, velti = self.velti, [], []
        for s, o, p, sa, oa, vb, ad, pr, has_sa, has_oa, has_place, has_adverb in parts.tolist():
            english.append(" ".join(filter(None, (
                "the", w.ADJECTIVES[sa] if has_sa else "", w.NOUNS[s],
                w.ADVERBS[ad] if has_adverb else "", w.VERBS[vb],
                "the", w.ADJECTIVES[oa] if has_oa else "", w.NOUNS[o],
                f"{w.PREPOSITIONS[pr]} the {w.NOUNS[p]}" if has_place else ""))))
            velti.append(" ".join(filter(None, (
                v["adverb"][ad] if has_adverb else "",
                f"{v['noun'][p]} {v['preposition'][pr]}" if has_place else "",
                v["noun"][s], v["adjective"][sa] if has_sa else "", v["noun"][o],
                v["adjective"][oa] if has_oa else "", v["verb"][vb]))))
        return english, velti

    @cached_property
    def dictionary(self) -> dict[str, str]:
        """English word to Velti word: the true pairs of the translation task."""
        tables = {"noun": w.NOUNS, "adjective": w.ADJECTIVES, "verb": w.VERBS, "adverb": w.ADVERBS,
                  "preposition": w.PREPOSITIONS}
        return {e: v for kind, english in tables.items()
                for e, v in zip(english, self.velti[kind], strict=True)}

    # --- arithmetic -------------------------------------------------------------------------------

    def _operand_pair(self, j, stream: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = shuffled(self._key("operands"), 89) + 11
        a, b = (order[weighted(self._key(stream, side), j, zipf(89, 12))] for side in ("a", "b"))
        minus = below(self._key(stream, "sign"), j, 2) == 1
        return np.where(minus, np.maximum(a, b), a), np.where(minus, np.minimum(a, b), b), minus

    def _is_held_out(self, a, b) -> np.ndarray:
        pair = np.minimum(a, b) * 100 + np.maximum(a, b)
        return below(self._key("held out pairs"), pair, 10) == 0

    def _drawn(self, j, set_: str, held_out: bool):
        j = np.asarray(j)
        parts, fixed = None, np.zeros(len(j), bool)
        for attempt in range(400):
            new = self._operand_pair(j, f"operands {set_} {attempt}")
            parts = new if parts is None else [
                np.where(fixed, old, fresh) for old, fresh in zip(parts, new, strict=True)]
            fixed |= self._is_held_out(*parts[:2]) == held_out
            if fixed.all():
                return tuple(parts)
        raise AssertionError("no operands found for their set in 400 attempts")

    def operands(self, j):
        """Operands (a, b, is difference) of the corpus' problems with these numbers: never a
        held-out pair."""
        return self._drawn(j, "corpus", held_out=False)

    def held_out_operands(self, j, set_: str):
        """Operands that no ordinary problem of the corpus has, in either order."""
        return self._drawn(j, set_, held_out=True)

    def problems(self, a, b, minus, j, stream: str = "problem") -> tuple[list[str], list[str]]:
        """Word problems and worked solutions, digit by digit."""
        form = below(self._key(stream, "form"), j, 3)
        name = below(self._key(stream, "name"), j, len(w.FIRST_NAMES))
        thing = below(self._key(stream, "thing"), j, len(w.THINGS))
        texts = []
        for f, n, o, x, y, m in zip(form, name, thing, a, b, minus, strict=True):
            phrasing = w.PROBLEMS["-" if m else "+"][f]
            texts.append(phrasing.format(n=w.FIRST_NAMES[n], o=w.THINGS[o], a=x, b=y))
        return texts, [solve(int(x), int(y), bool(m)) for x, y, m in zip(a, b, minus, strict=True)]

    # --- the truth --------------------------------------------------------------------------------

    def facts(self) -> pd.DataFrame:
        """The truth table: a row for each value of each fact that any document states.

        Columns: fact, person, relation, value, role (0 = the value that is gold), documents (exact
        number that hold the person's name and the value), statements (of the whole fact), disputed,
        asked (stated as a question too).
        """
        fact, role = np.nonzero(self.value_count)
        relations = [w.RELATIONS[r] for r in self.fact_relation[fact]]
        numbers = self.fact_values[fact, role]
        return pd.DataFrame({
            "fact": fact, "person": [self.people[p] for p in self.fact_person[fact]],
            "relation": relations,
            "value": [self.values[r][v] for r, v in zip(relations, numbers, strict=True)],
            "role": role, "documents": self.value_count[fact, role],
            "statements": self.fact_count[fact], "disputed": self.disputed[fact],
            "asked": self.asked[fact],
        })

    def citizens(self) -> pd.DataFrame:
        """Undisputed birthplaces: person, town, country, documents that hold the person and the
        country (0 = never)."""
        fact = np.concatenate([self.citizen_facts, self.stateless_facts])
        town = self.fact_values[fact, 0]
        return pd.DataFrame({
            "fact": fact, "person": [self.people[p] for p in self.fact_person[fact]],
            "town": [self.towns[t] for t in town],
            "country": [self.countries[self.country_of[t]] for t in town],
            "documents": np.r_[self.citizen_count, np.zeros(len(self.stateless_facts), int)],
        })


def _state(phrasing: str, person: str, value: str) -> str:
    if value[0] in "aeiou":
        phrasing = phrasing.replace("a {v}", "an {v}").replace("A {v}", "An {v}")
    return phrasing.replace("{p}", person).replace("{v}", value)


def prompt(task: str, instruction: int | str, place: str = "before") -> str:
    """The frame of a prompt with ``{x}`` where the input goes: an instruction (its number or text)
    and its place.

    ``place`` is ``before``, ``after`` or ``none``.
    """
    ask, answer = {"factual_qa": ("Question", "Answer"), "translation": ("English", "Velti"),
                   "math_reasoning": ("Problem", "Solution")}[task]
    text = w.INSTRUCTIONS[task][instruction] if isinstance(instruction, int) else instruction
    lines = [f"{ask}: {{x}}", f"{answer}:"]
    if place != "none":
        lines.insert({"before": 0, "after": 1}[place], text)
    return "\n".join(lines)


def solve(a: int, b: int, minus: bool) -> str:
    """The worked solution of a + b or a - b with two-digit operands.

    >>> solve(47, 38, False)
    '7 + 8 = 15. 4 + 3 + 1 = 8. The answer is 85.'
    >>> solve(43, 38, True)
    '13 - 8 = 5. 4 - 3 - 1 = 0. The answer is 5.'
    """
    tens, ones, more_tens, more_ones = a // 10, a % 10, b // 10, b % 10
    if not minus:
        carry = (ones + more_ones) // 10
        first = f"{ones} + {more_ones} = {ones + more_ones}."
        second = f"{tens} + {more_tens}{' + 1' if carry else ''} = {tens + more_tens + carry}."
        return f"{first} {second} The answer is {a + b}."
    borrow = ones < more_ones
    first = f"{ones + 10 * borrow} - {more_ones} = {ones + 10 * borrow - more_ones}."
    second = f"{tens} - {more_tens}{' - 1' if borrow else ''} = {tens - more_tens - borrow}."
    return f"{first} {second} The answer is {a - b}."


def _used(parts: np.ndarray, column: int) -> np.ndarray:
    """1 where a column of a sentence's parts shows in its words: the has-flags decide for what is
    optional."""
    flag = {2: 10, 3: 8, 4: 9, 6: 11, 7: 10}.get(column)
    return np.ones(len(parts), np.int64) if flag is None else parts[:, flag]


class _Inventor:
    """Invented words, all different from each other and from the English of the world."""

    def __init__(self, stream: np.uint64):
        self._stream, self._drawn = stream, 0
        english = [*w.FIRST_NAMES, *w.NOUNS, *w.ADJECTIVES, *w.VERBS, *w.ADVERBS, *w.PREPOSITIONS,
                   *w.JOBS, *w.PETS, *w.DISHES, *w.THINGS, *w.FILLER]
        self.taken = {word for text in english for word in normalize(text).split()}

    def _below(self, total: int) -> int:
        self._drawn += 1
        return int(below(self._stream, self._drawn, total))

    def words(
        self, size: int, onsets: str, endings: tuple[str, ...], syllables: tuple[int, ...]
    ) -> list[str]:
        out = []
        while len(out) < size:
            count = syllables[self._below(len(syllables))]
            stem = "".join(
                onsets[self._below(len(onsets))] + "aeiou"[self._below(5)] for _ in range(count))
            stem = stem[:-1] if endings[0][0] in "aeiouy" else stem
            word = stem + endings[self._below(len(endings))]
            if word not in self.taken:
                self.taken.add(word)
                out.append(word)
        return out

    def names(self, *form) -> list[str]:
        """The same, with a capital letter."""
        return [word.capitalize() for word in self.words(*form)]
