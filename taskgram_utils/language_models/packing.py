"""Texts as tokens to score: those of each s^y, and texts with one beginning in one sequence."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from taskgram_utils.errors import require
from taskgram_utils.language_models.loading import LanguageModel, unknown_token
from taskgram_utils.language_models.points import Point, located
from taskgram_utils.ngrams import Word, word_spans

_TOGETHER = 256  # texts tokenized at a time


class Encoded(NamedTuple):
    """A tokenized text: token ids, and the characters of each token: begins[i] to ends[i] - 1."""

    ids: list[int]
    begins: list[int]
    ends: list[int]


class Tree(NamedTuple):
    """Texts packed into one sequence of T tokens, with their common beginning once.

    ``ids``, ``positions`` and ``branches`` have T entries: a token of branch 0 belongs to all of
    the texts, one of branch k to the k-th. ``asked`` has an entry (index of the token before,
    token) for each log-probability that is wanted.
    """

    ids: list[int]
    positions: list[int]
    branches: list[int]
    asked: list[tuple[int, int]]


class Job(NamedTuple):
    """An example: what comes before y (None: no text), y, its options and the points in y."""

    example_id: object
    before: str | None
    y: str | None
    options: Sequence[str]
    points: Sequence[Point]


class Row(NamedTuple):
    """A row of the table, and which of all log-probabilities it sums (None: it has no score)."""

    example_id: object
    n: int | None
    sy: str | None
    start: int
    option: int | None
    asked: Sequence[int] | None


class Plan(NamedTuple):
    """The rows of a table, the trees they need, and why examples or points have no score."""

    rows: list[Row]
    trees: list[Tree]
    reasons: list[tuple[object, str]]


def encode(model: LanguageModel, texts: Sequence[str]) -> Iterator[Encoded]:
    """Tokenize texts: with the special tokens that the tokenizer puts before a text, not those
    that it puts after it. InputError for a token that the network lacks."""
    size, opening = model.network.get_input_embeddings().num_embeddings, len(model.opening)
    for begin in range(0, len(texts), _TOGETHER):
        some = list(texts[begin : begin + _TOGETHER])
        for text, tokens in zip(some, model.backend.encode_batch(some), strict=True):
            length, largest = len(tokens.ids), max(tokens.ids, default=0)
            lacking = f"{model.name}: its tokenizer has a token ({largest}) that the model lacks"
            require(largest < size, lacking)
            while length > opening and tokens.special_tokens_mask[length - 1]:
                length -= 1
            begins, ends = ([offset[side] for offset in tokens.offsets[:length]] for side in (0, 1))
            if not text.isascii():
                _fill_gaps(begins, ends, opening, len(text))
            yield Encoded(tokens.ids[:length], begins, ends)


def _fill_gaps(begins: list[int], ends: list[int], opening: int, size: int) -> None:
    """Give characters that no token holds to the tokens that end before them.

    Such is an accent that the tokenizer composes with its letter.
    """
    reach = 0  # characters before it are held
    for t, begin in enumerate([*begins[opening:], size], opening):
        last = t - 1
        while begin > reach and last >= opening and ends[last] == reach:
            ends[last] = begin
            last -= 1
        reach = max(reach, ends[t]) if t < len(ends) else size


def plan(jobs: Sequence[Job], model: LanguageModel, window: bool) -> Plan:
    """Tokenize examples and lay out what is to be computed, and which rows it makes.

    With ``window`` a text longer than the context is read in windows, without it refused.
    """
    rows, trees, reasons, count, opening = [], [], [], 0, len(model.opening)
    texts = [_texts(job, reasons) for job in jobs]
    whole = [job.before + text for job, own in zip(jobs, texts, strict=True) for text in own]
    encoded = encode(model, whole)
    for job, own in zip(jobs, texts, strict=True):
        paths = [_with_context(model, next(encoded), len(job.before)) for _ in own]
        longest = max((len(path.ids) for path, _ in paths), default=0)
        # The last token is predicted, not read.
        fits = model.context is None or longest - 1 <= model.context
        problems = [_problem(model, *path, job.before, text)
                    for path, text in zip(paths, own, strict=True)]
        if not fits and not window:
            problems.append(f"{longest} tokens, longer than the context of {model.context}")
        asked: dict[str, range] = {}
        if any(problems):
            reasons.append((job.example_id, next(filter(None, problems))))
        elif own:
            parts = [(path.ids, first) for path, first in paths]
            for group in [parts] if fits and model.shares_prefix else [[part] for part in parts]:
                read = [tree(group)] if fits else windows(*group[0], model.context, opening)
                trees += read
            for text, (ids, first) in zip(own, parts, strict=True):
                asked[text] = range(count, count + len(ids) - first)
                count += len(ids) - first
        for option, text in [(None, job.y), *enumerate(job.options)]:
            text = text if isinstance(text, str) else None
            rows.append(Row(job.example_id, None, text, 0, option, asked.get(text)))
        spans = word_spans(job.y) if job.points and asked else []
        for point in job.points:
            tokens = _tokens_of(point, spans, paths[0][0], len(job.before)) if asked else []
            if asked and not tokens:
                where = point.start if point.end is None else f"{point.start} to {point.end}"
                missing = f"s^y '{point.sy}' does not stand at character {where} of y"
                reasons.append((job.example_id, missing))
            numbers = [asked[job.y][t - paths[0][1]] for t in tokens] or None
            rows.append(Row(job.example_id, point.n, point.sy, point.start, None, numbers))
    return Plan(rows, trees, reasons)


def _texts(job: Job, reasons: list) -> list[str]:
    """The distinct texts of an example, y first; none, with the reason, where one is no text."""
    outputs = {"y": job.y, **{f"option {k}": text for k, text in enumerate(job.options)}}
    for name, text in {"what stands before y": job.before, **outputs}.items():
        if not isinstance(text, str) or (text == "" and name in outputs):
            reasons.append((job.example_id, f"{name} is {'empty' if text == '' else 'no text'}"))
            return []
    return list(dict.fromkeys(outputs.values()))


def _with_context(model: LanguageModel, path: Encoded, before: int) -> tuple[Encoded, int]:
    """A path, and its first token that reaches past ``before``. If nothing precedes that token, an
    end-of-text token is put first."""
    first = bisect_right(path.ends, before)
    if first:
        return path, first
    return Encoded([model.start, *path.ids], [0, *path.begins], [0, *path.ends]), 1


def _problem(model: LanguageModel, path: Encoded, first: int, before: str, text: str) -> str | None:
    """Why a text has no score: it has no token, or characters that the vocabulary cannot spell."""
    if first >= len(path.ids):
        return f"no token in the text {text!r:.80}"
    name = unknown_token(model.tokenizer)
    unknown = model.backend.token_to_id(name) if name else None
    for t in range(first, len(path.ids)) if unknown in path.ids[first:] else ():
        held = (before + text)[path.begins[t] : path.ends[t]]
        if path.ids[t] == unknown and held != name:  # it may be spelled out
            return f"its vocabulary cannot spell {held!r:.80}"
    return None


def _tokens_of(point: Point, spans: list[Word], path: Encoded, shift: int) -> list[int]:
    """The tokens with a character of s^y, without those of removed words alone; none where s^y is
    not in y. ``shift``: the characters before y."""
    places = located(spans, point.sy, point.start, point.end)
    if not places:
        return []
    inside = range(places[0], places[-1] + 1)
    kept = [spans[i] for i in places]
    removed = [spans[i] for i in inside if i not in places]

    def holds(token: int, some: list[Word]) -> bool:
        begin, end = path.begins[token] - shift, path.ends[token] - shift
        return any(begin < word.end and end > word.start for word in some)

    first = bisect_right(path.ends, shift + kept[0].start)
    last = bisect_left(path.begins, shift + kept[-1].end)
    return [t for t in range(first, last) if not holds(t, removed) or holds(t, kept)]


def tree(texts: Sequence[tuple[list[int], int]]) -> Tree:
    """Pack texts, given as (token ids, the first token asked); they ask one after another."""
    shared = _common([ids[:-1] for ids, _ in texts])
    ids = texts[0][0][:shared]
    positions, branches, asked = list(range(shared)), [0] * shared, []
    for k, (path, first) in enumerate(texts, 1):
        size, shift = len(path) - 1, len(ids) - shared  # from a token's position to its place
        ids += path[shared:-1]
        positions += range(shared, size)
        branches += [k] * (size - shared)
        asked += [(p if p < shared else p + shift, path[p + 1]) for p in range(first - 1, size)]
    return Tree(ids, positions, branches, asked)


def _common(texts: Sequence[list[int]]) -> int:
    """How many tokens texts have in common at their beginning."""
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*texts, strict=False))
    return sum(1 for _ in same)


def windows(ids: list[int], first: int, context: int, opening: int = 0) -> list[Tree]:
    """Windows that predict the tokens from ``first`` on in turn.

    Each begins with the first ``opening`` tokens, as a text does. Each token asked comes after at
    least half of the rest of the context, or all of the text before it.
    """
    step, out = max((context - opening) // 2, 1), []
    for begin in range(first, len(ids), step):
        end = min(begin + step, len(ids))
        cut = max(opening, end - 1 - context + opening)
        some = ids[:opening] + ids[cut : end - 1]
        asked = [(t - 1 - cut + opening, ids[t]) for t in range(begin, end)]
        out.append(Tree(some, list(range(len(some))), [0] * len(some), asked))
    return out


def prefixes(trees: Sequence[Tree], least: int) -> list[tuple[int, list[int]]]:
    """Trees that begin with the same ``least`` or more tokens: (how many, the trees' numbers).

    What they share comes before all that is asked. Trees that share nothing are one group, with 0.
    """
    groups: list[tuple[int, list[int]]] = []
    for k in sorted(range(len(trees)), key=lambda k: trees[k].ids):
        one = trees[k]
        longest = min(bisect_right(one.branches, 0), min(place for place, _ in one.asked))
        if groups:
            length, members = groups[-1]
            same = min(_common([trees[members[0]].ids[:length], one.ids]), longest)
            # One that shares much less than the others do is not worth what they would lose.
            if same >= least and (len(members) == 1 or 2 * same >= length):
                groups[-1] = same, members
                members.append(k)
                continue
        groups.append((longest, [k]))
    alone = sorted(members[0] for _, members in groups if len(members) == 1)
    return [group for group in groups if len(group[1]) > 1] + ([(0, alone)] if alone else [])
