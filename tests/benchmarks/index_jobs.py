"""Benchmarks of the index: building, single counts, pairs, ∞-gram probabilities, against libraries one could use."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from taskgram_utils.counting.engine import search, swapped, write_table
from taskgram_utils.counting.index import Index, build_index
from taskgram_utils.ngrams import words
from tests.benchmarks.harness import Job, share_equal

QUERIES, PAIRS, CNF, SPANS, CONTEXT = 20_000, 100_000, 300, 10_000, 19


def jobs(texts: list[str], folder: Path, seed: int = 0, quick: bool = False) -> Iterator[Job]:
    """The benchmarks over ``texts``, one document each, all files in ``folder``; ``quick`` asks a hundredth of it all.

    Ours reads n-grams as text; the peers are handed token numbers, and texts in the form they like best.
    """
    rng, part = np.random.default_rng(seed), 100 if quick else 1
    folder.mkdir(parents=True, exist_ok=True)
    index = build_index(texts, folder / "index", progress=False)
    index.unit = "occurrences"
    listed = (index.path / "vocabulary.txt").read_text("utf-8").split("\n")[:-1]
    number = {word: i for i, word in enumerate(listed)}
    documents = [d for d in (words(t) for t in texts) if d]
    yield _from_tokens(index, folder, rng)
    yield _from_text(texts, folder)
    asked = [_draw(documents, rng) for _ in range(QUERIES // part)]
    for k in range(0, len(asked), 20):  # some that do not occur, their words all known
        asked[k] = [listed[i] for i in rng.integers(0, len(listed), 3)]
    yield _singles(index, asked, number)
    together = rng.integers(0, 2, PAIRS // part) == 0
    pairs = [(_draw([d], rng), _draw([d] if same else documents, rng))
             for d, same in zip(_some(documents, rng, len(together)), together, strict=True)]  # fmt: skip
    yield _pairs(index, documents, pairs, number)
    yield _infinigram(index, documents, number, rng, SPANS // part)


def _some(documents: list[list[str]], rng: np.random.Generator, k: int) -> list[list[str]]:
    return [documents[i] for i in rng.integers(0, len(documents), k)]


def _draw(documents: list[list[str]], rng: np.random.Generator) -> list[str]:
    """An n-gram of one to five words, from any document."""
    tokens = documents[rng.integers(len(documents))]
    n = int(rng.integers(1, min(5, len(tokens)) + 1))
    start = int(rng.integers(0, len(tokens) - n + 1))
    return tokens[start : start + n]


def _fresh(folder: Path, name: str) -> Callable[[], Path]:
    """A function that gives a path which does not exist, each time it is called, and removes the last one."""
    turn = itertools.count()

    def path() -> Path:
        k = next(turn)
        shutil.rmtree(folder / f"{name}{k - 1}", ignore_errors=True)
        return folder / f"{name}{k}"

    return path


def _from_tokens(index: Index, folder: Path, rng: np.random.Generator) -> Job:
    file, tokens = index.path / "tokenized.0", index._shards[0].tokens
    starts = rng.integers(0, len(tokens) - 3, 300)
    grams = [tokens[s : s + k].tolist() for s, k in zip(starts, rng.integers(1, 4, 300), strict=True)]
    grams = [gram for gram in grams if np.iinfo(tokens.dtype).max not in gram]

    def ours() -> Any:
        out = folder / "table.0"
        write_table(np.fromfile(file, tokens.dtype), out)
        return out

    def theirs() -> Any:
        import tokengrams

        return tokengrams.MemmapIndex.build(str(file), str(folder / "tokengrams"), vocab=1 << 16)

    def divsufsort() -> Any:
        import pydivsufsort

        return pydivsufsort.divsufsort(np.fromfile(file, np.uint8))

    def agree(out: Path, other: Any) -> float:
        if isinstance(other, np.ndarray):
            other = other[other % tokens.itemsize == 0].astype("<u8").view(np.uint8).reshape(-1, 8)
            return share_equal(np.fromfile(out, np.uint8), other[:, : out.stat().st_size // len(tokens)])
        same = (index.path / "table.0").read_bytes() == out.read_bytes()
        return same * share_equal(_counts(index, grams), [other.count(g) for g in grams])

    ways = {"taskgram_utils": ours}
    if find_spec("tokengrams") and index.width == 2:
        ways["tokengrams"] = theirs
    if find_spec("pydivsufsort"):
        ways["pydivsufsort (bytes, not written)"] = divsufsort
    return Job("build: suffix array from tokens", len(tokens), "tokens", ways, agree)


def _counts(index: Index, grams: list[list[int]]) -> list[int]:
    """Occurrences of n-grams given as token numbers."""
    ends = np.cumsum([len(g) for g in grams])
    keys = swapped(np.array([i for g in grams for i in g]), index.width)
    low, high = search(index._shards, keys, np.append(0, ends[:-1]), ends)
    return (high - low).sum(axis=0).tolist()


def _from_text(texts: list[str], folder: Path) -> Job:
    """The peers read words in their own, simpler way, as their users do."""
    ours, tantivy, tokengrams = (_fresh(folder, name) for name in ("text", "tantivy", "grams"))

    def by_tokengrams() -> Any:
        import tokengrams as package

        number, out, path = {}, [], tokengrams()
        for text in texts:
            out.append(65_535)
            out += [number.setdefault(word, len(number)) for word in text.lower().split()]
        path.mkdir()
        np.array(out, np.uint32).astype("<u2").tofile(path / "tokens")
        return package.MemmapIndex.build(str(path / "tokens"), str(path / "index"), vocab=1 << 16)

    def by_tantivy() -> Any:
        path = tantivy()
        path.mkdir()
        return _tantivy(texts, "default", path)

    ways = {"taskgram_utils": lambda: build_index(texts, ours(), progress=False)}
    if find_spec("tantivy"):
        ways["tantivy"] = by_tantivy
    if find_spec("tokengrams"):
        ways["tokengrams (lower-cased, split at spaces)"] = by_tokengrams
    return Job("build: index from text", sum(len(t.encode()) for t in texts) / 1e6, "MB", ways)


def _tantivy(texts: list[str], tokenizer: str, path: Path | None = None) -> Any:
    import tantivy

    schema = tantivy.SchemaBuilder().add_text_field("text", tokenizer_name=tokenizer, index_option="position").build()
    index = tantivy.Index(schema) if path is None else tantivy.Index(schema, path=str(path))
    if tokenizer == "spaces":
        spaces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        index.register_tokenizer("spaces", spaces)
    writer = index.writer(heap_size=1_000_000_000, num_threads=1 if path is None else 2)
    for text in texts:
        writer.add_document(tantivy.Document(text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return index


def _engines(index: Index) -> tuple[Any, Any]:
    """infini-gram's engine and fast-gram's over the files of the index; None where one is not installed."""
    top = (1 << 8 * index.width) - 1
    about = {"index_dir": [str(index.path)], "eos_token_id": top - 1, "vocab_size": top,
             "token_dtype": f"u{8 * index.width}"}  # fmt: skip
    infini = fast = None
    if find_spec("infini_gram"):
        from infini_gram.engine import InfiniGramEngine

        infini = InfiniGramEngine(
            **about, ds_prefetch_depth=0, sa_prefetch_depth=0, od_prefetch_depth=0
        )  # its prefetching slows it down
    if find_spec("fastgram"):
        from fastgram import GramEngine

        fast = GramEngine(**about)
    return infini, fast


def _singles(index: Index, asked: list[list[str]], number: dict[str, int]) -> Job:
    ids = [[number[w] for w in gram] for gram in asked]
    texts = [" ".join(gram) for gram in asked]
    ways = {"taskgram_utils": lambda: index.count(texts)}
    infini, fast = _engines(index)
    if fast:
        ways["fast-gram"] = lambda: [fast.count(i)["count"] for i in ids]
    if find_spec("tokengrams") and index.width == 2:
        import tokengrams

        theirs = tokengrams.InMemoryIndex.from_token_file(str(index.path / "tokenized.0"), vocab=1 << 16)
        ways["tokengrams (in memory)"] = lambda: [theirs.count(i) for i in ids]
    if infini:
        ways["infini-gram"] = lambda: [infini.count(i)["count"] for i in ids]
    return Job("single counts", len(asked), "n-grams", ways, share_equal)


def _pairs(index: Index, documents: list[list[str]], pairs: list[tuple], number: dict[str, int]) -> Job:
    as_text = [(" ".join(x), " ".join(y)) for x, y in pairs]
    some = pairs[: min(CNF, len(pairs))]
    ways, parts = {"taskgram_utils": lambda: index.pair_counts(as_text)}, {}
    if find_spec("tantivy"):
        import tantivy

        engine = _tantivy([" ".join(d) for d in documents], "spaces")
        schema, searcher = engine.schema, engine.searcher()

        def phrase(gram: list[str]) -> Any:
            if len(gram) == 1:
                return tantivy.Query.term_query(schema, "text", gram[0])
            return tantivy.Query.phrase_query(schema, "text", gram)

        must = tantivy.Occur.Must

        def both(pair: tuple) -> int:
            query = tantivy.Query.boolean_query([(must, phrase(gram)) for gram in pair])
            return searcher.search(tantivy.Query.const_score_query(query, 1.0), 1).count

        ways["tantivy"] = lambda: [both(pair) for pair in pairs]
    infini, fast = _engines(index)
    for name, engine in (("infini-gram count_cnf", infini), ("fast-gram count_cnf", fast)):
        if engine:
            clauses = [[[[number[w] for w in gram]] for gram in pair] for pair in some]
            ways[name] = lambda engine=engine, clauses=clauses: [engine.count_cnf(c)["count"] for c in clauses]
            parts[name] = len(some) / len(pairs)
    once = tuple({"tantivy"} & ways.keys())
    return Job("document pairs", len(pairs), "pairs", ways, share_equal, once, parts)


def _infinigram(index: Index, documents: list[list[str]], number: dict[str, int], rng: Any, k: int) -> Job:
    """Half of the targets follow their context in the text; every context begins with words of another document."""
    contexts, targets = [], []
    for head, tail in zip(_some(documents, rng, k), _some(documents, rng, k), strict=True):
        at = int(rng.integers(0, len(tail)))
        contexts.append([*head, *tail[:at]][-CONTEXT:])
        targets.append([tail[at] if rng.random() < 0.5 else head[rng.integers(len(head))]])
    prompts, following = ([[number[w] for w in text] for text in side] for side in (contexts, targets))

    def ours() -> np.ndarray:
        found = index.infinigram(contexts, targets)
        return np.stack([found.suffix, np.where(found.zero, 0, np.exp(found.logp))], axis=1)

    def loop(call: Callable) -> list[tuple[int, float]]:
        answers = [call(prompt, t[0]) for prompt, t in zip(prompts, following, strict=True)]
        return [(a["suffix_len"], a["prob"]) for a in answers]

    infini, fast = _engines(index)
    ways = {"taskgram_utils": ours}
    if fast:
        ways["fast-gram"] = lambda: loop(fast.prob)
    if infini:
        ways["infini-gram"] = lambda: loop(infini.infgram_prob)
    return Job("infinity-gram", k, "spans", ways, lambda a, b: float(np.isclose(a, b).all(axis=1).mean()))
