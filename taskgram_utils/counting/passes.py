"""A pass over a corpus in shards, on threads or a Dask cluster; a stopped one can be resumed."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numba
import numpy as np

from taskgram_utils.cluster import at_worker, client_of, fetched
from taskgram_utils.corpus import Corpus, Seen
from taskgram_utils.counting.base import half_of
from taskgram_utils.counting.engine import Matcher, Queries, letters
from taskgram_utils.errors import InputError, require
from taskgram_utils.progress import Bar
from taskgram_utils.reading import Part, as_blocks

# A corpus is cut into so many shards, if each then has at least and at most so many bytes.
SHARDS, LEAST, MOST = 256, 1 << 26, 1 << 30

Report = Callable[[int, int], object]  # is called with bytes and documents read since the last call


class Found(NamedTuple):
    """What was found in a shard, or in the whole corpus."""

    single: np.ndarray  # counts of n-grams by half [1 or 2, q]
    joint: np.ndarray  # counts of pairs by half [1 or 2, m]
    documents: int
    tokens: int
    letters: int  # of a sample of the text
    unspaced: int  # those of them in scripts that put no space between words
    skipped: tuple[str, ...] = ()  # records without text
    uncut: tuple[str, ...] = ()  # files in which the document unit found no place to cut at


class _Shard(NamedTuple):
    """A shard and how to count in it; without parts it is all of ``texts``."""

    texts: Iterable[str]
    parts: Sequence[Part]
    unit: str
    halves: bool
    before: int = 0  # documents before it

    @property
    def bytes(self) -> int:
        return sum(part.end - part.begin for part in self.parts)


def count(texts: Iterable[str], ngrams: Sequence[str], pair_at: np.ndarray, unit: str, halves: bool,
          progress: bool = True, scheduler: Any = None, keep: str | Path | None = None) -> Found:
    """Count distinct n-grams [q], and pairs of them, ``pair_at`` [m, 2], in all documents.

    The shards of a :class:`~taskgram_utils.corpus.Corpus` are counted on numba's number of threads,
    or on the Dask cluster that ``scheduler`` names (an address such as tcp://host:8786) or is (a
    Client, or a cluster object), whose machines must find the files by the same paths. With
    ``keep`` the counts of each shard are kept in that folder, and a run that was stopped goes on
    where it was; :func:`forget` them once the result is written.

    Raises InputError for a corpus that cannot be read, or a cluster that does not answer.
    """
    corpus = isinstance(texts, Corpus)
    require(corpus or scheduler is None,
            "scheduler: texts in memory are not sent to a cluster; put them into a file")
    read = texts if scheduler is None else replace(texts, path=texts.path.absolute(), seen=Seen())
    shards = read.shards(min(max(texts.bytes // SHARDS, LEAST), MOST)) if corpus else [()]
    if keep and len(shards) > 1:
        keep = Path(keep) / _key(texts, shards, ngrams, pair_at, unit, halves)
    else:
        keep = None
    jobs = [_Shard(read, parts, unit, halves) for parts in shards]
    if halves and len(jobs) > 1:  # the number of a document among all says to which half it belongs
        documents = np.zeros(len(jobs) + 1, np.int64)
        for k, found in _pass("documents", jobs, None, progress, scheduler, keep):
            documents[k + 1] = found.documents
        jobs = [job._replace(before=before)
                for job, before in zip(jobs, documents.cumsum().tolist(), strict=False)]
    single, joint = (np.zeros((1 + halves, len(each)), np.int64) for each in (ngrams, pair_at))
    others = [()] * len(jobs)
    for k, found in _pass("scan", jobs, (ngrams, pair_at), progress, scheduler, keep):
        single += found.single
        joint += found.joint
        others[k] = found[2:]
    *numbers, skipped, uncut = zip(*others, strict=True)
    total = Found(single, joint, *map(sum, numbers), sum(skipped, ()), sum(uncut, ()))
    if corpus:
        seen = Seen(total.documents, 0, list(total.skipped), list(total.uncut))
        object.__setattr__(texts, "seen", seen)
        texts.check()
    return total


def _found(queries: Queries | None, shard: _Shard, report: Report = lambda *_: None) -> Found:
    """Count in a shard; without queries only its documents."""
    texts = copy(shard.texts) if shard.parts else shard.texts  # whose ``seen`` is this shard's
    number, sample = shard.before, np.zeros(2, np.int64)
    matcher = queries and Matcher(queries, shard.unit, shard.halves)
    for block in as_blocks(texts, shard.parts, lambda size: report(size, 0)):
        size = len(block.begins)
        if matcher:
            numbers = np.arange(number, number + size)
            matcher.read(block, half_of(numbers) if shard.halves else np.zeros(size, np.int8))
        number += size
        sample += letters(block)
        report(0, size)
    single, joint = matcher.result() if matcher else np.zeros((2, 1, 0), np.int64)
    tokens, seen = matcher.tokens if matcher else 0, getattr(texts, "seen", Seen())
    return Found(single, joint, number - shard.before, tokens, *sample.tolist(),
                 tuple(seen.skipped), tuple(seen.uncut))


def _pass(name: str, jobs: Sequence[_Shard], request: tuple | None, progress: bool, scheduler: Any,
          keep: Path | None) -> Iterator[tuple[int, Found]]:
    """Each shard's number and what is in it, in any order: those kept before, then the others."""
    with _progress(name, sum(job.bytes for job in jobs), progress) as report:
        todo = []
        for k, job in enumerate(jobs):
            if (found := _kept(keep, name, k)) is None:
                todo.append(k)
            else:
                report(job.bytes, found.documents)
                yield k, found
        if scheduler is not None:
            counted = _on_cluster(scheduler, jobs, todo, request, report)
        else:
            counted = _on_threads(jobs, todo, request and Queries(*request), report)
        for k, found in counted:
            _keep(keep, name, k, found)
            yield k, found


def _on_threads(jobs: Sequence[_Shard], todo: Sequence[int], queries: Queries | None,
                report: Report) -> Iterator[tuple[int, Found]]:
    """Count shards on the threads of this machine; one alone, say of texts in memory, on this."""
    stopped = threading.Event()

    def count_shard(k: int) -> tuple[int, Found]:
        return k, _found(queries, jobs[k], report_or_stop)

    def report_or_stop(size: int, documents: int) -> None:
        require(not stopped.is_set(), "stopped")
        report(size, documents)

    if len(jobs) == 1:
        yield from map(count_shard, todo)
        return
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        try:
            for future in as_completed([pool.submit(count_shard, k) for k in todo]):
                yield future.result()
        finally:  # where one fails, or the user stops: so do the others
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _on_cluster(scheduler: Any, jobs: Sequence[_Shard], todo: Sequence[int], request: tuple | None,
                report: Report) -> Iterator[tuple[int, Found]]:
    """Count shards on a Dask cluster, which makes the queries' tables once and, if lost, again."""
    import dask
    import distributed

    no_warning = {"distributed.admin.large-graph-warning-threshold": "1TB"}
    with client_of(scheduler) as client, dask.config.set(no_warning):
        queries = client.submit(Queries, *request, pure=False) if request else None
        futures = {client.submit(at_worker, _found, queries, jobs[k], pure=False): k for k in todo}
        try:
            for future in distributed.as_completed(futures):
                k, found = futures.pop(future), fetched(future)
                report(jobs[k].bytes, found.documents)
                yield k, found
                future.release()
        finally:
            client.cancel(list(futures))


@contextmanager
def _progress(name: str, size: int, progress: bool) -> Iterator[Report]:
    """A bar of bytes and documents read, or of documents alone where the size is not known (0)."""
    lock, seen = threading.Lock(), 0
    unit = {"unit": "B", "unit_divisor": 1024} if size else {"unit": " documents"}
    disable = None if progress else True
    with Bar(desc=name, total=size or None, unit_scale=True, disable=disable, **unit) as bar:

        def report(read: int, documents: int) -> None:
            nonlocal seen
            with lock:
                seen += documents
                if size and documents:
                    bar.set_postfix_str(f"{seen:,} documents", refresh=False)
                bar.update(read if size else documents)

        yield report


def _key(corpus: Corpus, shards: list, ngrams: Sequence[str], pair_at: np.ndarray, unit: str,
         halves: bool) -> str:
    """A name for what is counted; it differs where the corpus, its shards or the request do."""
    changed = [path.stat().st_ctime_ns for path in corpus.files]
    parts = [[(str(part.path), *part[1:]) for part in shard] for shard in shards]
    about = [corpus.fingerprint(), corpus.source, corpus.text_field, corpus.skip_bad, changed,
             parts, unit, halves, list(ngrams), Found._fields]
    digest = hashlib.sha256(json.dumps(about).encode())
    digest.update(np.ascontiguousarray(pair_at, np.int64).tobytes())
    return digest.hexdigest()[:16]


def forget(keep: str | Path) -> None:
    """Remove all that passes have kept in a folder, and the folder, if nothing else is in it."""
    for folder in Path(keep).glob("[0-9a-f]" * 16):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        Path(keep).rmdir()


def _keep(folder: Path | None, name: str, k: int, found: Found) -> None:
    """Write what was found in a shard, in the fewest bytes a number: whole or not at all."""
    if folder is None:
        return
    path = folder / f"{name}-{k}.found"
    fresh = path.with_suffix(".writing")
    arrays = [a.astype(np.min_scalar_type(a.max(initial=0))) for a in found[:2]]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            np.savez(file, *arrays, found[2:6], *(np.array(each, np.str_) for each in found[6:]))
        os.replace(fresh, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            fresh.unlink()


def _kept(folder: Path | None, name: str, k: int) -> Found | None:
    """What was kept of a shard; None where nothing was, or a damaged file: it is counted again."""
    if folder is None:
        return None
    try:
        with np.load(folder / f"{name}-{k}.found", allow_pickle=False) as file:
            single, joint, numbers, *places = (file[f"arr_{i}"] for i in range(5))
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, BadZipFile):
        return None
    return Found(single.astype(np.int64), joint.astype(np.int64), *numbers.tolist(),
                 *(tuple(each.tolist()) for each in places))
