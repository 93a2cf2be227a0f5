"""Texts as tokens to score: which tokens an s^y is made of, and texts that begin alike packed into one sequence."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from taskgram_utils.errors import require
from taskgram_utils.language_models.loading import LanguageModel
from taskgram_utils.ngrams import Word, word_spans, words


class Encoded(NamedTuple):
    """A tokenized text: token ids, and the characters each token holds: begins[i] to ends[i], end exclusive."""

    ids: list[int]
    begins: list[int]
    ends: list[int]


class Tree(NamedTuple):
    """Token paths packed into one sequence, their common prefix once: a token of branch 0 is on all, of k on path k.

    ``asked`` holds the log-probabilities wanted, as pairs (place of the token before, token).
    """

    ids: list[int]
    positions: list[int]
    branches: list[int]
    asked: list[tuple[int, int]]


class Point(NamedTuple):
    """An s^y of an example, as the task-gram table has it."""

    n: int
    sy: str
    start: int
    end: int | None


class Row(NamedTuple):
    """A row of the table, and which of the log-probabilities asked of all trees it sums (None: it has no score)."""

    example_id: object
    n: int | None
    sy: str | None
    start: int
    option: int | None
    asked: list[int] | None


class Job(NamedTuple):
    """An example: what stands before y (None: no text), y, its options and the points in y."""

    example_id: object
    before: str | None
    y: str | None
    options: Sequence[str]
    points: Sequence[Point]


class Plan(NamedTuple):
    """The rows of a table, the trees they need, and why examples (or points of them) have no score."""

    rows: list[Row]
    trees: list[Tree]
    reasons: list[tuple[object, str]]


def encode(model: LanguageModel, texts: list[str]) -> list[Encoded]:
    """Tokenize; special tokens that the tokenizer adds before a text (or an empty one) stay, those after it do not."""
    size, out = model.network.get_input_embeddings().num_embeddings, []
    lead = len(model.lead)
    for text, found in zip(texts, model.backend.encode_batch(texts), strict=True):
        length = len(found.ids)
        while length > lead and found.special_tokens_mask[length - 1]:
            length -= 1
        largest = max(found.ids, default=0)
        require(largest < size, f"{model.name}: its tokenizer has a token ({largest}) that the model lacks")
        offsets = found.offsets[:length]
        begins, ends = [begin for begin, _ in offsets], [end for _, end in offsets]
        if not text.isascii():
            _close(begins, ends, lead, len(text))
        out.append(Encoded(found.ids[:length], begins, ends))
    return out


def _close(begins: list[int], ends: list[int], lead: int, size: int) -> None:
    """Give a character that no token holds to the tokens before it: an accent that is composed with its letter."""
    reach = 0
    for t, begin in enumerate([*begins[lead:], size], lead):
        last = t - 1
        while begin > reach and last >= lead and ends[last] == reach:
            ends[last] = begin
            last -= 1
        reach = max(reach, ends[t]) if t < len(ends) else size


def plan(jobs: Sequence[Job], model: LanguageModel, window: bool, first: int) -> Plan:
    """Tokenize examples and say what to compute; the log-probabilities asked are numbered from ``first`` on.

    With ``window`` a text longer than the context is read in windows, without it refused.
    """
    out = Plan([], [], [])
    texts = [_texts(job, out.reasons) for job in jobs]
    flat = [job.before + text for job, own in zip(jobs, texts, strict=True) for text in own]
    encoded = iter(encode(model, flat))
    for job, own in zip(jobs, texts, strict=True):
        paths, firsts, lost = [next(encoded) for _ in own], [], []
        for k, path in enumerate(paths):
            firsts.append(bisect_right(path.ends, len(job.before)))
            if firsts[k] == 0:
                paths[k] = Encoded([model.start, *path.ids], [0, *path.begins], [0, *path.ends])
                firsts[k] = 1
            if firsts[k] >= len(paths[k].ids):
                lost.append(f"no token in the text {own[k]!r:.80}")
            odd = _unspelt(model, paths[k], firsts[k], job.before + own[k])
            if odd is not None:
                lost.append(f"its vocabulary cannot spell {odd!r:.80}")
        longest = max((len(path.ids) for path in paths), default=0)
        # The last token is predicted, not read.
        fits = model.context is None or longest - 1 <= model.context
        if not fits and not window:
            lost.append(f"{longest} tokens, longer than the context of {model.context}")
        if lost:
            out.reasons.append((job.example_id, lost[0]))
        asked: dict[str, list[int]] = {}
        if own and not lost:
            together = [range(len(own))] if fits and model.shares_prefix else [[k] for k in range(len(own))]
            for group in together:
                ids, begin = [paths[k].ids for k in group], [firsts[k] for k in group]
                if fits:
                    packed, places = tree(ids, begin)
                    new = [packed]
                else:
                    new = windows(ids[0], begin[0], model.context, len(model.lead))
                    places = [range(len(ids[0]) - begin[0])]
                out.trees.extend(new)
                asked |= {own[k]: [first + p for p in part] for k, part in zip(group, places, strict=True)}
                first += sum(len(one.asked) for one in new)
        for option, text in [(None, job.y), *enumerate(job.options)]:
            text = text if isinstance(text, str) else None
            out.rows.append(Row(job.example_id, None, text, 0, option, asked.get(text)))
        spans = word_spans(job.y) if job.points and asked else []
        for n, sy, start, end in job.points:
            tokens = own_tokens(sy, start, end, spans, paths[0], len(job.before)) if asked else []
            if asked and not tokens:
                where = f"at character {start}" if end is None else f"at characters {start} to {end}"
                out.reasons.append((job.example_id, f"s^y '{sy}' does not stand {where} of y"))
            places = [asked[job.y][t - firsts[0]] for t in tokens] or None
            out.rows.append(Row(job.example_id, n, sy, start, None, places))
    return out


def _texts(job: Job, reasons: list) -> list[str]:
    """The distinct texts of an example to score, y first; none, with the reason, where one is no text."""
    named = {"what stands before y": job.before, "y": job.y, **{f"option {k}": o for k, o in enumerate(job.options)}}
    for name, text in named.items():
        empty = name != "what stands before y" and text == ""
        if empty or not isinstance(text, str):
            reasons.append((job.example_id, f"{name} is {'empty' if empty else 'no text'}"))
            return []
    return list(dict.fromkeys([job.y, *job.options]))


def _unspelt(model: LanguageModel, path: Encoded, first: int, text: str) -> str | None:
    """The first characters that the vocabulary cannot spell, among the tokens from ``first`` on."""
    unknown = model.backend.token_to_id(model.unknown) if model.unknown else None
    odd = [t for t in range(first, len(path.ids)) if path.ids[t] == unknown] if unknown in path.ids[first:] else []
    held = (text[path.begins[t] : path.ends[t]] for t in odd)
    return next((part for part in held if part != model.unknown), None)


def own_tokens(sy: str, start: int, end: int | None, spans: list[Word], path: Encoded, shift: int) -> list[int]:
    """The tokens that hold a character of s^y, those of removed words left out; none where s^y is not at ``start``."""
    missing, kept, removed = words(sy)[::-1], [], []
    first = bisect_left(spans, start, key=lambda w: w.start)
    if first == len(spans) or spans[first].start != start:
        return []
    for word in spans[first:]:
        if not missing or (end is not None and word.end > end) or (not kept and word.text != missing[-1]):
            break
        (kept if word.text == missing[-1] else removed).append(word)
        if kept[-1] is word:
            missing.pop()
    if missing or not kept:
        return []

    def holds(token: int, some: list[Word]) -> bool:
        return any(path.begins[token] < shift + w.end and path.ends[token] > shift + w.start for w in some)

    inside = range(bisect_right(path.ends, shift + kept[0].start), bisect_left(path.begins, shift + kept[-1].end))
    return [t for t in inside if not removed or not holds(t, removed) or holds(t, kept)]


def tree(paths: list[list[int]], firsts: list[int]) -> tuple[Tree, list[list[int]]]:
    """Pack ``paths``; and for each, where among the asked its tokens from ``first`` on are."""
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*(path[:-1] for path in paths), strict=False))
    shared = sum(1 for _ in same)
    ids, positions, branches = paths[0][:shared], list(range(shared)), [0] * shared
    asked, places = [], []
    for k, (path, first) in enumerate(zip(paths, firsts, strict=True), 1):
        own = len(path) - 1 - shared
        shift = len(ids) - shared  # from a token's position to its place, past what all share
        ids += path[shared:-1]
        positions += range(shared, shared + own)
        branches += [k] * own
        places.append(list(range(len(asked), len(asked) + len(path) - first)))
        asked += [(p if p < shared else p + shift, path[p + 1]) for p in range(first - 1, len(path) - 1)]
    return Tree(ids, positions, branches, asked), places


def windows(path: list[int], first: int, context: int, lead: int = 0) -> list[Tree]:
    """Windows that predict the tokens from ``first`` on in turn: each begins as a text does, with the first ``lead``
    tokens, and has at least half of the rest of the context before it, where the text has so much, and all that is
    left of it."""
    step, out = max((context - lead) // 2, 1), []
    for begin in range(first, len(path), step):
        end = min(begin + step, len(path))
        at = max(lead, end - 1 - context + lead)
        ids = path[:lead] + path[at : end - 1]
        asked = [(t - 1 - at + lead, path[t]) for t in range(begin, end)]
        out.append(Tree(ids, list(range(len(ids))), [0] * len(ids), asked))
    return out


def branching(one: Tree) -> bool:
    """Whether a tree has more than one path."""
    return bool(one.branches) and one.branches[-1] > 0


def prefixes(trees: Sequence[Tree], least: int) -> list[tuple[int, list[int]]]:
    """Trees that begin with the same tokens, ``least`` of them or more: (length of what they share, their numbers).

    What is shared is all read before anything is asked. Trees that share nothing come together, with length 0.
    """
    order = sorted((k for k in range(len(trees))), key=lambda k: trees[k].ids)
    found, alone = [], []

    def close(length: int, members: list[int]) -> None:
        if len(members) > 1:
            found.append((length, members))
        else:
            alone.extend(members)

    length, members = 0, []
    for k in order:
        own = _before_asked(trees[k])
        if members:
            same = min(_common(trees[members[0]].ids, trees[k].ids), own, length)
            if same >= least and (len(members) == 1 or 2 * same >= length):
                members.append(k)
                length = same
                continue
            close(length, members)
        length, members = own, [k]
    close(length, members)
    return [*found, (0, sorted(alone))] if alone else found


def _before_asked(one: Tree) -> int:
    """How many tokens of a tree are on all its paths and come before all that is asked."""
    return min(bisect_right(one.branches, 0), min(place for place, _ in one.asked))


def _common(a: list[int], b: list[int]) -> int:
    """Length of the common beginning of two lists."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
