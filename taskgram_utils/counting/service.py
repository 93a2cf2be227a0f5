"""The public infini-gram web service: what it takes, polite requests, a cache of all answers."""

import json
import os
import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from taskgram_utils.errors import InputError, require
from taskgram_utils.progress import Bar

ADDRESS = "https://api.infini-gram.io/"
# The most that the service takes: requests at a time, terms joined by OR, characters, tokens.
IN_FLIGHT = 4
TERMS = 4
_CHARACTERS = 1000
# Of a clause that is more frequent than the first, the service itself draws a sample.
WINDOW = {"max_clause_freq": 500_000, "max_diff_tokens": 1000}
DOCUMENT = {"max_disp_len": 10_000}
_ATTEMPTS = 6
_LONGEST = 60.0  # seconds between two attempts, unless the service asks for more
_PATIENCE = 600.0  # seconds that it may ask for
_FOR_NOW = (403, 408, 429)  # like all from 500 on: what is refused at first may be answered later
_GONE = (301, 302, 303, 307, 308, 404, 405)
_NUMBERS = {"count": ("count",), "find": ("cnt",),
            "get_doc_by_rank": ("doc_ix", "doc_len", "disp_len")}


class Service:
    """The hosted index ``name`` at an address: ``url``, else ``INFINIGRAM_API`` of the environment,
    else the public one.

    At most four requests at a time. What fails for now (HTTP 403, 429, 5xx, a time-out after
    ``timeout`` seconds, a cut connection, a page that is no JSON) is tried again after ``pause``
    seconds, doubled each time and jittered, or when the service says so (Retry-After); what it
    refuses as invalid never is. Every answer is in the SQLite file ``cache`` before it is used. An
    ``offline`` service answers from there alone.

    Raises InputError for a setting that is not possible, and where an offline cache is missing.
    """

    def __init__(self, name: str, cache: str | Path | None = None, offline: bool = False,
                 url: str | None = None, progress: bool = True, pause: float = 1.0,
                 timeout: float = 30.0):
        self.name, self.offline, self.progress = name, offline, progress
        self.pause, self.timeout = pause, timeout
        self.url = url or os.environ.get("INFINIGRAM_API") or ADDRESS
        right = re.match("(?i)https?://[^/]", self.url)
        require(right, f"{self.url}: no address of a web service")
        self.cache = Cache(Path(cache) if cache else default_cache(), offline)
        self._session, self._stop = requests.Session(), threading.Event()
        self._resume = 0.0  # when the service may be asked again, by time.monotonic()

    def request(self, query_type: str, *terms: str | Sequence[str], **more: int) -> dict:
        """A request for an n-gram, or for several joined by AND, each a text or several joined by
        OR; InputError for what the service would not take, or take for something else."""
        terms = [[term] if isinstance(term, str) else list(term) for term in terms]
        query = " AND ".join(" OR ".join(term) for term in terms)
        require(len(query) <= _CHARACTERS, f"{short(query)}: {len(query):,} characters; "
                                           f"the service takes {_CHARACTERS:,}")
        require([clause.split(" OR ") for clause in query.split(" AND ")] == terms,
                f"{short(query)}: the service reads AND and OR as operators; "
                "write them in small letters")
        return {"index": self.name, "query_type": query_type, "query": query, **more}

    def ask(self, named: dict[Hashable, dict],
            read: Callable[[Hashable, dict, str], Any]) -> dict[Hashable, Any]:
        """``read(name, answer, date)`` of every named request, from the cache or the service.

        Raises InputError where the service refuses a request, does not answer or answers something
        else, and, offline, where the cache lacks answers.
        """
        out, missing = {}, {}
        for name, request in named.items():
            if answered := self.cache.get(request, None if self.offline else self.url):
                out[name] = read(name, *answered)
            else:
                missing[name] = request
        if not missing:
            return out
        first = next(iter(missing.values()))
        require(not self.offline,
                f"{self.cache.path}: {len(missing)} of {len(named)} answers are not in this cache, "
                f"the first: {_named(first)}; ask the service (without --offline)")

        def fetch(name, request):
            answer, date = self._post(request), datetime.now(UTC).isoformat(timespec="seconds")
            self.cache.put(request, self.url, date, answer)
            return name, read(name, answer, date)

        self._stop.clear()
        bar = Bar(total=len(missing), desc=first["query_type"], unit=" requests",
                  disable=not self.progress)
        with bar, ThreadPoolExecutor(IN_FLIGHT) as pool:
            try:
                for future in as_completed([pool.submit(fetch, *job) for job in missing.items()]):
                    out.update([future.result()])
                    bar.update()
            finally:  # where one fails, or the user stops: so do the others
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        return out

    def _post(self, request: dict) -> dict:
        """The service's answer to one request, after up to 6 attempts; InputError without one."""
        where, fault = f"{self.url}: {_named(request)}", "stopped"
        later = f"Run it again later: finished answers are kept in {self.cache.path}"
        for attempt in range(_ATTEMPTS):
            pause = min(_LONGEST, self.pause * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
            asked_for = self._resume - time.monotonic()
            if self._stop.wait(max(pause, asked_for) if attempt else asked_for):
                break
            try:
                response = self._session.post(self.url, json=request, timeout=self.timeout,
                                              allow_redirects=False)
            except requests.RequestException as error:
                fault = f"no answer ({type(error).__name__})"
                continue
            status = response.status_code
            try:
                answer = response.json()
                why = answer.get("error", "") if isinstance(answer, dict) else ""
            except requests.JSONDecodeError:
                answer, why = None, "no JSON"
            fault = f"HTTP {status}{why and f': {short(why)}'}"
            require(status not in _GONE, f"{where}: {fault}; no infini-gram service answers there")
            if status in _FOR_NOW or status >= 500 or answer is None:
                wait = response.headers.get("Retry-After", "")
                require(_seconds(wait) <= _PATIENCE, f"{where}: {fault}; the service asks to wait "
                                                     f"(Retry-After: {short(wait)}). {later}")
                # All requests wait.
                self._resume = max(self._resume, time.monotonic() + _seconds(wait))
                continue
            require(status == 200 and not why, f"{where}: refused, {fault}")
            return checked(request, answer, where)
        raise InputError(f"{where}: {fault}, at the last of {_ATTEMPTS} attempts. {later}")


class Cache:
    """Answers by request in one SQLite file, written at once; threads and processes may share it.

    Raises InputError where the file is no such cache, is damaged, or, ``offline``, is missing.
    """

    def __init__(self, path: Path, offline: bool = False):
        self.path, self._lock = path, threading.Lock()
        require(path.exists() or not offline,
                f"{path}: no such file, so no answer to replay (--cache names another)")
        frozen = "" if os.access(path.parent, os.W_OK) else "&immutable=1"
        mode = f"ro{frozen}" if offline else "rwc"
        with self._errors():
            if not offline:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True,
                                       timeout=60, isolation_level=None, check_same_thread=False)
            if not offline:
                with suppress(sqlite3.OperationalError):  # locked: another process does the same
                    self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute("CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, "
                                 "service, hosted, unit, approximate, date, answer)")
            self._db.execute("SELECT request, service, date, answer FROM answers LIMIT 1")

    def get(self, request: dict, url: str | None = None) -> tuple[dict, str] | None:
        """The answer to a request and its date, if there is one; for the public service its own."""
        query = "SELECT service, date, answer FROM answers WHERE request = ?"
        with self._errors():
            row = self._db.execute(query, [_key(request)]).fetchone()
            if row is None or (url == ADDRESS and row[0] != url):
                return None
            where = f"cache {self.path}: {_named(request)}"
            return checked(request, json.loads(row[2]), where), row[1]

    def put(self, request: dict, url: str, date: str, answer: dict) -> None:
        """Keep an answer, with what it counts and whether it is approximate."""
        unit, approximate = _about(request, answer)
        row = (_key(request), url, request["index"], unit, approximate, date, json.dumps(answer))
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            raise InputError(f"cache {self.path}: cannot be used ({error}); "
                             "name another, or remove it") from error


def default_cache() -> Path:
    """Where answers are kept unless a file is named."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "taskgram" / "infinigram.sqlite"


def askable(text: str) -> bool:
    """Whether the service takes a text for an n-gram."""
    return not re.search(" (AND|OR) ", text) and len(text) < _CHARACTERS


def _about(request: dict, answer: dict) -> tuple[str, bool]:
    """What the number of an answer counts, and whether it is approximate (of a document: cut)."""
    if request["query_type"] == "get_doc_by_rank":
        return "document", answer["disp_len"] < answer["doc_len"]
    pair = " AND " in request["query"]
    return "window" if pair else "occurrences", bool(answer.get("approx", pair))


def checked(request: dict, answer: object, where: str) -> dict:
    """The answer; InputError unless it holds what its type of query promises."""
    kind = request["query_type"]
    try:
        whole = all(type(answer[name]) is int and answer[name] >= 0 for name in _NUMBERS[kind])
        if kind == "find":
            sizes = [end - begin for begin, end in answer["segment_by_shard"]]
            whole = whole and min(sizes, default=0) >= 0 and sum(sizes) == answer["cnt"]
        elif kind == "get_doc_by_rank":
            whole = whole and all(isinstance(text, str) for text, _ in answer["spans"])
    except (KeyError, TypeError, ValueError):
        whole = False
    require(whole, f"{where}: not what the service promises to answer: {short(json.dumps(answer))}")
    return answer


def short(text: object) -> str:
    """A text as it fits into one line of an error."""
    text = " ".join(str(text).split())
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def _named(request: dict) -> str:
    return f"{request['query_type']} {short(request['query'])} of {request['index']}"


def _key(request: dict) -> str:
    return json.dumps(request, sort_keys=True)


def _seconds(retry_after: str) -> float:
    """Retry-After, a number or a date, in seconds; 0 where it is neither, at most some hours."""
    try:
        return Retry().parse_retry_after(retry_after)
    except InvalidHeader:
        return 0.0
