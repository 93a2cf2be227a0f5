"""The miniature world: a seeded generator of a corpus whose truth is known, and of the questions
asked about it.

A document is a pure function of (world, twin, number), so a corpus of any size streams in constant
memory. All draws are integers (``draws.py``): the same world gives the same bytes everywhere.
"""

import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from taskgram_utils.errors import require
from taskgram_utils.miniature import words as w
from taskgram_utils.miniature.draws import below, bits, key, permuted, shuffled, weighted, zipf
from taskgram_utils.ngrams import words
from taskgram_utils.progress import Bar

FULL = 480_000
"""Documents of the world that the shipped models have read; smaller ones have fewer people."""

KINDS = ("statement", "citizenship", "town", "translation", "arithmetic", "copied_translation",
         "copied_arithmetic", "filler")
COPIES = (1, 4, 16, 64)
LEAST = 1_000
"""Documents of the smallest world."""
VALUES = 48
"""Values of each relation; so there are as many towns."""
LEXICON = {
    "noun": (w.NOUNS, ("o", "ul")), "adjective": (w.ADJECTIVES, ("i", "ei")),
    "verb": (w.VERBS, ("ath", "eth")), "adverb": (w.ADVERBS, ("ua",)),
    "preposition": (w.PREPOSITIONS, ("yn",)),
}
"""The kinds of words that have a translation: in English, and how their translations end."""
_ENGLISH = {kind: english for kind, (english, _) in LEXICON.items()}
# A sentence's parts by column, each a kind of word and its role in the name of a draw. Four columns
# follow that say whether a sentence has: adjective of subject, of object, place, adverb.
_PARTS = (("noun", " subject"), ("noun", " object"), ("noun", " place"), ("adjective", " subject"),
          ("adjective", " object"), ("verb", ""), ("adverb", ""), ("preposition", ""))


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
        self._draw_names()
        self._draw_facts()
        self._draw_frequencies()
        self._draw_citizens()
        self._divide_documents()

    def _key(self, *parts) -> np.uint64:
        return key("miniature", self.world, *parts)

    # --- who and what there is --------------------------------------------------------------------

    def _draw_names(self):
        """People, towns, countries, the values of each relation, and the words of Velti."""
        size = min(1_800, max(12, self.documents * 1_800 // FULL))
        invented = _Inventor(self._key("names"))
        endings = ("ck", "ll", "rn", "sk", "tz", "nd", "x", "m")
        self.surnames = invented.names(size, "bdgklmnprstvz", endings, (2, 3))
        firsts = below(self._key("first"), np.arange(size), len(w.FIRST_NAMES))
        self.people = [f"{w.FIRST_NAMES[first]} {surname}"
                       for first, surname in zip(firsts, self.surnames, strict=True)]
        towns = ("ford", "ham", "wick", "mere", "by")
        self.towns = invented.names(VALUES, "bfglmnrsw", towns, (2,))
        self.countries = invented.names(12, "bcdghklmt", ("land", "stan", "ia"), (2,))
        clubs = invented.names(VALUES, "bcdfghjlmr", ("unia", "etix", "ados"), (1, 2))
        firms = invented.names(VALUES, "cdfgkmprtv", ("corp", "tech", "works"), (1, 2))
        self.values = {"birthplace": self.towns, "job": w.JOBS, "club": clubs, "pet": w.PETS,
                       "dish": w.DISHES, "employer": firms}
        self.velti = {kind: invented.words(len(english), "hjlnprtvy", suffixes, (2,))
                      for kind, (english, suffixes) in LEXICON.items()}
        self._ranked = {kind: shuffled(self._key("lexicon", kind), len(english))
                        for kind, english in _ENGLISH.items()}
        # Every country has four towns, so that no country can be guessed by its number of towns.
        self.country_of = np.empty(VALUES, np.int64)
        self.country_of[shuffled(self._key("countries"), VALUES)] = np.arange(VALUES) % 12

    def _draw_facts(self):
        """Four relations of each person, three different values of each fact, which are disputed
        and which are asked about."""
        size, kinds = len(self.people), len(w.RELATIONS)
        drawn = bits(self._key("relations"), np.arange(size * kinds)).reshape(size, kinds)
        self.fact_person = np.repeat(np.arange(size), 4)
        self.fact_relation = np.sort(np.argsort(drawn, axis=1)[:, :4], axis=1).ravel()
        number = np.arange(len(self.fact_person))
        by_rank = np.stack([shuffled(self._key("values", r), VALUES) for r in range(kinds)])
        drawn = [weighted(self._key("value", k), number, zipf(VALUES, 8)) for k in range(3)]
        ranks = np.stack(drawn, axis=1)
        for column in (1, 2, 2):  # a clash moves on to the next value, which may clash again
            clash = (ranks[:, :column] == ranks[:, column, None]).any(axis=1)
            ranks[:, column] = (ranks[:, column] + clash) % VALUES
        self.fact_values = by_rank[self.fact_relation[:, None], ranks]
        self._fate = below(self._key("conflict"), number, 100)
        self.disputed = self._fate < 40
        self.asked = below(self._key("asked"), number, 100) < 50

    def _draw_frequencies(self):
        """How many documents state each fact, and each of its values."""
        facts, target = len(self.fact_person), self.documents * 349_000 // FULL
        spread = np.array([math.isqrt(math.isqrt((rank + 30) ** 3)) for rank in range(facts)])
        # Counts fall with rank as 1 / spread; the largest scale whose sum is at most the target.
        scale = bisect_right(range(1 << 40), target, key=lambda k: (k // spread).sum()) - 1
        by_frequency = np.maximum(scale // spread, 1)
        self.fact_count = by_frequency[shuffled(self._key("frequency"), facts)]
        share = np.where(self.disputed, 5 + self._fate % 5, 10)  # tenths that state the first value
        roles = np.tile(np.arange(3), (facts, 1))
        if self.twin:
            frequency, shares, turns = (
                self._key("twin", self.twin, name) for name in ("frequency", "share", "roles"))
            self.fact_count = self.fact_count[shuffled(frequency, facts)]
            (disputed,) = np.nonzero(self.disputed)
            share[disputed] = share[disputed[shuffled(shares, len(disputed))]]
            orders = np.array(list(itertools.permutations(range(3))))
            roles[disputed] = orders[below(turns, disputed, 6)]
        first = self.fact_count * share // 10
        second = (self.fact_count - first) * 2 // 3
        split = np.stack([first, second, self.fact_count - first - second], axis=1)
        self.value_count = np.take_along_axis(split, roles, axis=1)

    def _draw_citizens(self):
        """Whose home country is written, how often, and whose never is (the questions of two hops).
        """
        (born,) = np.nonzero((self.fact_relation == 0) & ~self.disputed)
        facts, written = born[shuffled(self._key("citizens"), len(born))], len(born) * 3 // 5
        self.citizen_facts, self.stateless_facts = facts[:written], facts[written:]
        often = np.array([16, 16, 16, 24, 24, 32, 48]) // (1 if self.documents >= 6_400 else 4)
        drawn = below(self._key("citizen count"), np.arange(written), len(often))
        self.citizen_count = often[drawn]

    def _divide_documents(self):
        """How many documents of each kind there are, and the numbers where each begins."""
        towns, translations, problems, copies = (
            self.documents * share // FULL for share in (12_000, 55_000, 36_000, 15))
        copies = min(15, copies)
        self.copied, copied = copies * len(COPIES), copies * sum(COPIES)
        sizes = [int(self.value_count.sum()), int(self.citizen_count.sum()), towns, translations,
                 problems, copied, copied]
        self.sizes = dict(zip(KINDS, [*sizes, self.documents - sum(sizes)], strict=True))
        self._edges = np.cumsum([0, *self.sizes.values()])
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
        kinds = np.searchsorted(self._edges, numbers, side="right") - 1
        texts = np.empty(len(numbers), object)
        for kind in np.unique(kinds):
            (rows,) = np.nonzero(kinds == kind)
            texts[rows] = getattr(self, f"_{KINDS[kind]}")(numbers[rows] - self._edges[kind])
        return texts.tolist()

    def write(self, path: Path) -> None:
        """Write the corpus as JSON lines, ``{"text": …}`` a document."""
        with Path(path).open("w", encoding="utf-8", newline="\n") as f:
            for text in Bar(self, desc="world", unit="doc", disable=None):
                f.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")

    def _instructed(
        self, task: str, inputs: Iterable[str], replies: Sequence[str], numbers: np.ndarray,
        bare: int = 0,
    ) -> list[str]:
        """Prompts with their replies: an instruction before (70%) or after (30%) the input, or none
        in ``bare`` per cent."""
        weights = zipf(len(w.INSTRUCTIONS[task]), 1)
        instructions = weighted(self._key(task, "instruction"), numbers, weights).tolist()
        places = below(self._key(task, "place"), numbers, 1000)
        texts = []
        for i, text, reply, drawn in zip(instructions, inputs, replies, places, strict=True):
            place = "before" if drawn % 10 < 7 else "after"
            frame = prompt(task, i, "none" if drawn < 10 * bare else place)
            texts.append(frame.replace("{x}", text, 1) + " " + reply)
        return texts

    def _or_questions(
        self, statements: list[str], asks: np.ndarray, question_of: Callable[[int], str],
        answers: list[str], numbers: np.ndarray,
    ) -> list[str]:
        """Documents that state something or, where ``asks`` is true, ask for it."""
        (rows,) = np.nonzero(asks)
        replies = [answers[row] for row in rows]
        asked = self._instructed("factual_qa", map(question_of, rows), replies, numbers[rows], 37)
        for row, text in zip(rows, asked, strict=True):
            statements[row] = text
        return statements

    def _spelled(self, facts: np.ndarray, roles) -> tuple[list[str], list[str], list[str]]:
        """Person, relation and value of facts, each with the value of its role."""
        relations = [w.RELATIONS[r] for r in self.fact_relation[facts]]
        values = zip(relations, self.fact_values[facts, roles], strict=True)
        people = [self.people[p] for p in self.fact_person[facts]]
        return people, relations, [self.values[relation][v] for relation, v in values]

    def _statement(self, numbers: np.ndarray) -> list[str]:
        facts, roles = np.divmod(np.searchsorted(self._value_edges, numbers, side="right"), 3)
        people, relations, values = self._spelled(facts, roles)
        phrasings = weighted(self._key("phrase"), numbers, zipf(7, 2))
        places = below(self._key("extra"), numbers, 8)  # filler before (0) or after (1) the fact
        filler = iter(self._sentence(numbers[places < 2], "extra"))
        documents = []
        for person, relation, value, phrasing, place in zip(
            people, relations, values, phrasings, places.tolist(), strict=True
        ):
            sentences = [_state(w.STATEMENTS[relation][phrasing], person, value)]
            if place < 2:
                sentences.insert(place, next(filler))
            documents.append(" ".join(sentences))
        drawn = weighted(self._key("question"), numbers, zipf(3, 1))
        asks = self.asked[facts] & (below(self._key("as question"), numbers, 3) == 0)

        def question_of(row: int) -> str:
            return w.QUESTIONS[relations[row]][drawn[row]].replace("{p}", people[row])

        return self._or_questions(documents, asks, question_of, values, numbers)

    def _citizenship(self, numbers: np.ndarray) -> list[str]:
        facts = self.citizen_facts[np.searchsorted(self._citizen_edges, numbers, side="right")]
        people, _, _ = self._spelled(facts, 0)
        form = below(self._key("citizenship"), numbers, 6)
        return self._of_countries(people, self.fact_values[facts, 0], w.COUNTRY_STATEMENTS, form,
                                  form >= 4, w.COUNTRY_QUESTION, numbers)

    def _town(self, numbers: np.ndarray) -> list[str]:
        towns = below(self._key("town"), numbers, VALUES)
        form = below(self._key("town form"), numbers, 16)
        return self._of_countries([self.towns[t] for t in towns], towns, w.TOWN_STATEMENTS, form,
                                  form >= 12, w.TOWN_QUESTION, numbers)

    def _of_countries(
        self, names: list[str], towns: np.ndarray, phrasings: list[str], form: np.ndarray,
        asks: np.ndarray, question: str, numbers: np.ndarray,
    ) -> list[str]:
        """Documents that state the country of some towns, under names, or ask for it."""
        countries = self._countries(towns)
        texts = [phrasings[f % len(phrasings)].format(p=name, c=country)
                 for f, name, country in zip(form, names, countries, strict=True)]
        question_of = lambda row: question.format(p=names[row])  # noqa: E731
        return self._or_questions(texts, asks, question_of, countries, numbers)

    def _countries(self, towns: np.ndarray) -> list[str]:
        return [self.countries[country] for country in self.country_of[towns]]

    def _translation(self, numbers: np.ndarray) -> list[str]:
        pairs = self.sentence_pairs(numbers, "corpus")
        return self._instructed("translation", *pairs, numbers)

    def _arithmetic(self, numbers: np.ndarray) -> list[str]:
        problems = self.problems(*self.operands(numbers), numbers)
        return self._instructed("math_reasoning", *problems, numbers)

    def _copied_translation(self, numbers: np.ndarray) -> list[str]:
        copied = np.searchsorted(self._copy_edges, numbers, side="right")
        pairs = ([texts[k] for k in copied] for texts in self._copied_sentences)
        return self._instructed("translation", *pairs, numbers)

    def _copied_arithmetic(self, numbers: np.ndarray) -> list[str]:
        copied = np.searchsorted(self._copy_edges, numbers, side="right")
        problems = self.problems(*self.operands(copied, "copied"), copied, "copied")
        return self._instructed("math_reasoning", *problems, numbers)

    def _filler(self, numbers: np.ndarray) -> list[str]:
        parts = [self._sentence(numbers, f"filler {k}") for k in range(4)]
        lengths = below(self._key("filler length"), numbers, 3) + 2
        return [" ".join(some[:length]) for length, *some in zip(lengths, *parts, strict=True)]

    def _sentence(self, numbers: np.ndarray, stream: str) -> list[str]:
        """Sentences of filler."""
        form = below(self._key(stream, "form"), numbers, len(w.FILLER))
        nouns = [self._pick("noun", numbers, f"{stream} n{k}") for k in range(2)]
        adjectives = [self._pick("adjective", numbers, f"{stream} a{k}") for k in range(2)]
        return [
            w.FILLER[f].format(n=w.NOUNS[n], m=w.NOUNS[m], a=w.ADJECTIVES[a], b=w.ADJECTIVES[b])
            for f, n, m, a, b in zip(form, *nouns, *adjectives, strict=True)
        ]

    # --- the invented language --------------------------------------------------------------------

    def _pick(self, kind: str, numbers: np.ndarray, stream: str) -> np.ndarray:
        """Words of a kind, by number, a few of them often."""
        order = self._ranked[kind]
        return order[weighted(self._key(stream, kind), numbers, zipf(len(order), 6))]

    def sentence_pairs(self, numbers: np.ndarray, subset: str) -> tuple[list[str], list[str]]:
        """English sentences and their Velti translations of one subset: ``corpus``, ``copied``,
        ``train``, ``test``.

        A sentence belongs to the corpus or to the other subsets by a hash of its words alone (one
        in sixteen is held out), so that no test sentence can stand in the corpus.
        """
        held_out = {"test": 0, "copied": 1, "train": 2}.get(subset)

        def fits(sentences: np.ndarray) -> np.ndarray:
            code = np.zeros(len(sentences), np.uint64)
            for column in (sentences * np.hstack([_shown(sentences), sentences[:, 8:]])).T:
                code = bits(self._key("held out"), code ^ column.astype(np.uint64))
            home = (code % np.uint64(48)).astype(np.int64)
            return home > 2 if held_out is None else home == held_out

        def draw(some: np.ndarray, attempt: int) -> np.ndarray:
            return self._draw_sentences(some, f"{subset} {attempt}", subset in ("copied", "test"))

        sentences = _first_fitting(draw, fits, numbers)
        english = [f"the {a} {s} {adverb} {v} the {b} {o} {p}{' the' * bool(p)} {place}"
                   for s, o, place, a, b, v, adverb, p in _words_of(sentences, _ENGLISH)]
        velti = [f"{adverb} {place} {p} {s} {a} {o} {b} {v}"
                 for s, o, place, a, b, v, adverb, p in _words_of(sentences, self.velti)]
        return tuple([" ".join(text.split()) for text in texts] for texts in (english, velti))

    @cached_property
    def _copied_sentences(self) -> tuple[list[str], list[str]]:
        return self.sentence_pairs(np.arange(self.copied), "copied")

    def _draw_sentences(self, numbers: np.ndarray, stream: str, long: bool) -> np.ndarray:
        """Drawn sentences as integers [sentences, 12], of at least seven English words if ``long``.
        """
        parts = [self._pick(kind, numbers, stream + role) for kind, role in _PARTS]
        has = [below(self._key(stream, "has", k), numbers, 10) < share
               for k, share in enumerate((6, 6, 4, 4))]
        sentences = np.stack([*parts, *has], axis=1)
        if long:
            sentences[:, 8:10] = 1  # both adjectives
        return sentences

    @cached_property
    def dictionary(self) -> dict[str, str]:
        """English word to Velti word: the true pairs of the translation task."""
        return {word: translation for kind, english in _ENGLISH.items()
                for word, translation in zip(english, self.velti[kind], strict=True)}

    # --- arithmetic -------------------------------------------------------------------------------

    def operands(self, numbers: np.ndarray, subset: str = "corpus"):
        """Operands (a, b, is difference) of the problems of a subset with these numbers.

        One pair in ten is held out: the corpus has it in neither order, all other subsets have no
        other pairs.
        """
        ranked = shuffled(self._key("operands"), 89) + 11

        def draw(some: np.ndarray, attempt: int) -> np.ndarray:
            stream = f"operands {subset} {attempt}"
            a, b = (ranked[weighted(self._key(stream, side), some, zipf(89, 12))] for side in "ab")
            minus = below(self._key(stream, "sign"), some, 2)
            larger, smaller = np.maximum(a, b), np.minimum(a, b)
            return np.stack([np.where(minus, larger, a), np.where(minus, smaller, b), minus], 1)

        def fits(drawn: np.ndarray) -> np.ndarray:
            pair = drawn[:, :2].min(axis=1) * 100 + drawn[:, :2].max(axis=1)
            return (below(self._key("held out pairs"), pair, 10) == 0) == (subset != "corpus")

        a, b, minus = _first_fitting(draw, fits, numbers).T
        return a, b, minus == 1

    def problems(self, a, b, minus, numbers, stream: str = "problem") -> tuple[list, list]:
        """Word problems and worked solutions, digit by digit."""
        form = below(self._key(stream, "form"), numbers, 3)
        name = below(self._key(stream, "name"), numbers, len(w.FIRST_NAMES))
        thing = below(self._key(stream, "thing"), numbers, len(w.THINGS))
        texts, solutions = [], []
        for f, n, o, x, y, m in zip(form, name, thing, a, b, minus, strict=True):
            phrasing = w.PROBLEMS["-" if m else "+"][f]
            texts.append(phrasing.format(n=w.FIRST_NAMES[n], o=w.THINGS[o], a=x, b=y))
            solutions.append(solve(int(x), int(y), bool(m)))
        return texts, solutions

    # --- the truth --------------------------------------------------------------------------------

    def facts(self) -> pd.DataFrame:
        """The truth table: a row for each value of each fact that any document states.

        Columns: fact, person, relation, value, role (0 = the value that is gold), documents (exact
        number that hold the person's name and the value), statements (of the whole fact), disputed,
        asked (stated as a question too).
        """
        fact, role = np.nonzero(self.value_count)
        people, relations, values = self._spelled(fact, role)
        return pd.DataFrame({
            "fact": fact, "person": people, "relation": relations, "value": values, "role": role,
            "documents": self.value_count[fact, role], "statements": self.fact_count[fact],
            "disputed": self.disputed[fact], "asked": self.asked[fact],
        })

    def citizens(self) -> pd.DataFrame:
        """Undisputed birthplaces: person, town, country, documents that hold the person and the
        country (0 = never)."""
        fact = np.r_[self.citizen_facts, self.stateless_facts]
        people, _, towns = self._spelled(fact, 0)
        return pd.DataFrame({
            "fact": fact, "person": people, "town": towns,
            "country": self._countries(self.fact_values[fact, 0]),
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
    sign, factor = ("-", -1) if minus else ("+", 1)
    (tens, ones), (more_tens, more_ones) = divmod(a, 10), divmod(b, 10)
    carry = int(ones < more_ones if minus else ones + more_ones > 9)
    ones += 10 * carry * minus
    first = f"{ones} {sign} {more_ones} = {ones + factor * more_ones}."
    carried = f" {sign} 1" if carry else ""
    second = f"{tens} {sign} {more_tens}{carried} = {tens + factor * (more_tens + carry)}."
    return f"{first} {second} The answer is {a + factor * b}."


def _first_fitting(draw: Callable, fits: Callable, numbers: np.ndarray) -> np.ndarray:
    """``draw(numbers, attempt)``, each row from the first attempt (0, 1, …) whose row fits."""
    attempt, rows = 0, draw(numbers, 0)
    (pending,) = np.nonzero(~fits(rows))
    while len(pending):
        attempt += 1
        rows[pending] = draw(numbers[pending], attempt)
        pending = pending[~fits(rows[pending])]
    return rows


def _shown(sentences: np.ndarray) -> np.ndarray:
    """Whether each of the eight parts of a sentence shows in its words: 0 or 1 [sentences, 8]."""
    shown = np.ones((len(sentences), 8), np.int64)
    shown[:, [3, 4, 2, 7, 6]] = sentences[:, [8, 9, 10, 10, 11]]
    return shown


def _words_of(sentences: np.ndarray, lexicon: dict[str, list[str]]) -> Iterator[list[str]]:
    """The words of each sentence's eight parts, empty for a part that it lacks."""
    for numbers, shown in zip(sentences.tolist(), _shown(sentences).tolist(), strict=True):
        yield [lexicon[kind][i] * there
               for (kind, _), i, there in zip(_PARTS, numbers, shown, strict=False)]


class _Inventor:
    """Invented words, all different from each other and from the English of the world."""

    def __init__(self, stream: np.uint64):
        self._stream, self._drawn = stream, 0
        english = [*w.FIRST_NAMES, *w.NOUNS, *w.ADJECTIVES, *w.VERBS, *w.ADVERBS, *w.PREPOSITIONS,
                   *w.JOBS, *w.PETS, *w.DISHES, *w.THINGS, *w.FILLER]
        self._taken = set(words(" ".join(english)))

    def _choose(self, options: Sequence):
        self._drawn += 1
        return options[int(below(self._stream, self._drawn, len(options)))]

    def words(
        self, size: int, onsets: str, endings: tuple[str, ...], syllables: tuple[int, ...]
    ) -> list[str]:
        """``size`` words of so many syllables, each an onset and a vowel, and an ending."""
        invented = []
        while len(invented) < size:
            stem = "".join(self._choose(onsets) + self._choose("aeiou")
                           for _ in range(self._choose(syllables)))
            stem = stem[:-1] if endings[0][0] in "aeiouy" else stem
            word = stem + self._choose(endings)
            if word not in self._taken:
                self._taken.add(word)
                invented.append(word)
        return invented

    def names(self, *form) -> list[str]:
        """The same, with a capital letter."""
        return [word.capitalize() for word in self.words(*form)]
