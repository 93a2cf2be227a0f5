"""One pass over a corpus, in shards: on the threads of this machine or on a Dask cluster; what is counted is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from taskgram_utils.cluster import at_worker, client_of, fetched
from taskgram_utils.corpus import Corpus, Seen
from taskgram_utils.counting.base import half_of
from taskgram_utils.counting.engine import Matcher, Queries, letters
from taskgram_utils.errors import InputError, require
from taskgram_utils.progress import Bar
from taskgram_utils.reading import Part, as_blocks

# A corpus is cut into so many shards, if that makes them of at least and at most so many bytes.
SHARDS, LEAST, MOST = 256, 1 << 26, 1 << 30

Told = Callable[[int, int], object]  # hears of bytes and documents read


class Found(NamedTuple):
    """What was found in a shard, or in all."""

    single: np.ndarray  # counts of n-grams by half [1 or 2, q]
    joint: np.ndarray  # counts of pairs by half [1 or 2, m]
    documents: int
    tokens: int
    letters: int  # in a sample of the text, and those of them in scripts that put no space between words
    unspaced: int
    skipped: tuple[str, ...] = ()  # records without text
    uncut: tuple[str, ...] = ()  # files in which the unit cut nothing


class _Shard(NamedTuple):
    """What a worker is told of its shard; without parts it is the whole corpus, or texts."""

    texts: Iterable[str]
    parts: Sequence[Part]
    unit: str
    halves: bool
    before: int  # documents before it


def count(
    texts: Iterable[str],
    ngrams: Sequence[str],
    pair_at: np.ndarray,
    unit: str,
    halves: bool,
    progress: bool = True,
    scheduler: Any = None,
    keep: Path | None = None,
) -> Found:
    """Count distinct n-grams [q], and pairs of them, ``pair_at`` [m, 2], in all documents.

    The shards of a :class:`~taskgram_utils.corpus.Corpus` are counted on numba's number of threads, or on the Dask
    cluster that ``scheduler`` names (an address such as tcp://host:8786) or is (a Client, or a cluster object), whose
    machines must find the files by the same paths. With ``keep`` the counts of each shard are kept in that folder, so
    that a run that was stopped goes on where it was; :func:`forget` them when the result is where it belongs.

    Raises InputError for a corpus that cannot be read, or a cluster that cannot be reached.
    """
    corpus = isinstance(texts, Corpus)
    require(corpus or scheduler is None, "scheduler: texts in memory are not sent to a cluster; put them into a file")
    read = replace(texts, path=texts.path.absolute(), seen=Seen()) if corpus and scheduler is not None else texts
    shards = read.shards(min(max(texts.bytes // SHARDS, LEAST), MOST)) if corpus else []
    if len(shards) < 2 and scheduler is None:
        with _progress("scan", texts.bytes if corpus else None, progress) as told:
            return _found(Queries(ngrams, pair_at), _Shard(texts, (), unit, halves, 0), told)
    keep = Path(keep) / _key(texts, shards, ngrams, pair_at, unit, halves) if keep else None
    jobs = [_Shard(read, parts, unit, halves, 0) for parts in shards]
    if halves:  # to which half a document belongs, its number among all says
        sizes = np.zeros(len(shards) + 1, np.int64)

        def note(k: int, shard: Found) -> None:
            sizes[k + 1] = shard.documents

        _pass("documents", jobs, None, note, progress, scheduler, keep)
        jobs = [job._replace(before=int(before)) for job, before in zip(jobs, sizes.cumsum(), strict=False)]
    single, joint = (np.zeros((1 + halves, len(asked)), np.int64) for asked in (ngrams, pair_at))
    total = Found(single, joint, 0, 0, 0, 0)
    places = [((), ())] * len(shards)

    def add(k: int, shard: Found) -> None:
        nonlocal total
        single[:] += shard.single
        joint[:] += shard.joint
        total = Found(single, joint, *map(sum, zip(total[2:6], shard[2:6], strict=True)))
        places[k] = shard.skipped, shard.uncut

    _pass("scan", jobs, (ngrams, pair_at), add, progress, scheduler, keep)
    skipped, uncut = ([where for some in kind for where in some] for kind in zip(*places, strict=True))
    object.__setattr__(texts, "seen", Seen(total.documents, 0, skipped, uncut))
    texts.check()
    return total._replace(skipped=tuple(skipped), uncut=tuple(uncut))


def _found(queries: Queries | None, shard: _Shard, told: Told | None = None) -> Found:
    """Count in a shard; without queries its documents alone."""
    texts, told = shard.texts, told or (lambda size, documents: None)
    if shard.parts:
        texts = replace(texts, seen=Seen())  # its own
    matcher, at = None if queries is None else Matcher(queries, shard.unit, shard.halves), shard.before
    seen = np.zeros(2, np.int64)
    for block in as_blocks(texts, shard.parts, lambda size: told(size, 0)):
        size = len(block.begins)
        if matcher:
            matcher.read(block, half_of(np.arange(at, at + size)) if shard.halves else np.zeros(size, np.int8))
        at += size
        seen += letters(block)
        told(0, size)
    single, joint = matcher.result() if matcher else np.zeros((2, 1, 0), np.int64)
    tokens = matcher.tokens if matcher else 0
    met = getattr(texts, "seen", Seen())
    return Found(single, joint, at - shard.before, tokens, *seen.tolist(), tuple(met.skipped), tuple(met.uncut))


def _pass(
    name: str, jobs: Sequence[_Shard], asked: tuple | None, done: Callable[[int, Found], object], progress: bool,
    scheduler: Any, keep: Path | None,
) -> None:  # fmt: skip
    """Call ``done`` with what was found in each shard, in any order: those kept before, then those counted now."""
    sizes = [sum(part.end - part.begin for part in job.parts) for job in jobs]
    lock = threading.Lock()
    with _progress(name, sum(sizes), progress) as told:
        todo = []
        for k in range(len(jobs)):
            if (found := _kept(keep, name, k)) is None:
                todo.append(k)
            else:
                told(sizes[k], found.documents)
                done(k, found)

        def finish(k: int, found: Found) -> None:
            with lock:
                _keep(keep, name, k, found)
                done(k, found)

        if scheduler is None:
            _on_threads(jobs, todo, asked, finish, told)
        else:
            _on_cluster(scheduler, jobs, todo, asked, finish, lambda k, found: told(sizes[k], found.documents))


def _on_threads(
    jobs: Sequence[_Shard], todo: Sequence[int], asked: tuple | None, finish: Callable[[int, Found], object], told: Told
) -> None:
    """Count shards on the threads of this machine; nothing but the sums stays in memory."""
    import dask

    queries, stopped = asked and Queries(*asked), threading.Event()

    def going(size: int, documents: int) -> None:
        require(not stopped.is_set(), "stopped")
        told(size, documents)

    def run(k: int) -> None:
        finish(k, _found(queries, jobs[k], going))

    tasks = [dask.delayed(run, pure=False, traverse=False)(k) for k in todo]
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:  # which waits for all, where one of them fails
        try:
            dask.compute(*tasks, scheduler="threads", pool=pool)
        except KeyboardInterrupt:
            stopped.set()
            raise


def _on_cluster(
    scheduler: Any, jobs: Sequence[_Shard], todo: Sequence[int], asked: tuple | None,
    finish: Callable[[int, Found], object], told: Callable[[int, Found], object],
) -> None:  # fmt: skip
    """Count shards on a Dask cluster. The queries' tables are made there, once, and again where they were lost."""
    import dask
    from distributed import as_completed

    with client_of(scheduler) as client, dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        queries = client.submit(Queries, *asked, pure=False) if asked else None
        futures = {client.submit(at_worker, _found, queries, jobs[k], pure=False): k for k in todo}
        try:
            for future in as_completed(futures):
                k, found = futures.pop(future), fetched(future)
                finish(k, found)
                told(k, found)
                future.release()
        finally:
            client.cancel(list(futures))


@contextmanager
def _progress(name: str, size: int | None, progress: bool) -> Iterator[Told]:
    """A bar of bytes read and documents found, or of documents alone where the size is not known."""
    lock, seen = threading.Lock(), 0
    unit = {"unit": "B", "unit_divisor": 1024} if size else {"unit": " documents"}
    with Bar(desc=name, total=size, unit_scale=True, disable=None if progress else True, **unit) as bar:

        def told(read: int, documents: int) -> None:
            nonlocal seen
            with lock:
                seen += documents
                if size and documents:
                    bar.set_postfix_str(f"{seen:,} documents", refresh=False)
                bar.update(read if size else documents)

        yield told


def _key(corpus: Corpus, shards: list, ngrams: Sequence[str], pair_at: np.ndarray, unit: str, halves: bool) -> str:
    """A name for what is counted: another corpus, cut, n-gram or unit has another one."""
    states = [path.stat() for path in corpus.files]
    changed = [(state.st_mtime_ns, state.st_ctime_ns) for state in states]
    parts = [[(str(part.path), part.begin, part.end) for part in shard] for shard in shards]
    about = [corpus.fingerprint(), corpus.source, corpus.text_field, corpus.skip_bad, changed, parts, unit, halves]
    digest = hashlib.sha256(json.dumps([*about, list(ngrams), Found._fields]).encode())
    digest.update(np.ascontiguousarray(pair_at, np.int64).tobytes())
    return digest.hexdigest()[:16]


def forget(keep: str | Path) -> None:
    """Remove all that passes have kept in a folder, and the folder, if nothing else is in it."""
    keep = Path(keep)
    for path in keep.glob("*/*"):
        if re.fullmatch(r"[0-9a-f]{16}/(scan|documents)-\d+\.(found|writing)", path.relative_to(keep).as_posix()):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        for folder in (*keep.glob("?" * 16), keep):
            folder.rmdir()


def _keep(folder: Path | None, name: str, k: int, found: Found) -> None:
    """Keep what was found in a shard, in as few bytes a number as will do: whole or not at all."""
    if folder is None:
        return
    path = folder / f"{name}-{k}.found"
    fresh = path.with_suffix(".writing")
    arrays, file = [a.astype(np.min_scalar_type(a.max(initial=0))) for a in found[:2]], io.BytesIO()
    np.savez(file, *arrays, np.array(found[2:6]), *(np.array(places, np.str_) for places in found[6:]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(hashlib.sha256(file.getvalue()).digest() + file.getvalue())
        os.replace(fresh, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            fresh.unlink()


def _kept(folder: Path | None, name: str, k: int) -> Found | None:
    path = folder and folder / f"{name}-{k}.found"
    if not path or not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None  # damaged: counted again
    with np.load(io.BytesIO(content[32:]), allow_pickle=False) as file:
        single, joint, numbers, *places = (file[f"arr_{i}"] for i in range(5))
    places = (tuple(some.tolist()) for some in places)
    return Found(single.astype(np.int64), joint.astype(np.int64), *numbers.tolist(), *places)
