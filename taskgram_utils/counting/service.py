"""The public infini-gram web service: what may be asked, asking it politely, and the cache of all its answers."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests

from taskgram_utils.errors import InputError, require
from taskgram_utils.progress import Bar

ADDRESS = "https://api.infini-gram.io/"
IN_FLIGHT = 4  # requests at a time that the service is asked to bear
LIMITS = {"max_clause_freq": 500_000, "max_diff_tokens": 1000, "max_disp_len": 10_000}  # the service's own
_CHARACTERS = 1000  # of a query, again the service's own
TERMS = 4  # joined by OR, again
_ATTEMPTS = 6
_LONGEST = 60.0  # seconds between two attempts, unless the service asks for more
_PATIENCE = 600.0  # seconds that it may ask for
_FOR_NOW = (403, 408, 429)  # like all from 500 on: what is refused now may be answered later
_COLUMNS = ("request", "service", "hosted", "unit", "approximate", "date", "answer")  # of the cache
_ELSEWHERE = (301, 302, 303, 307, 308, 404, 405)
T = TypeVar("T")


class Service:
    """The hosted index ``name`` at an address: by default ``INFINIGRAM_API`` of the environment, else the public one.

    At most ``in_flight`` requests at a time, up to 4. What fails for now (HTTP 403, 429, 5xx, a time-out after
    ``timeout`` seconds, a cut connection, a page that is no JSON) is asked again after ``pause`` seconds, doubled each
    time and jittered, or when the service says so (Retry-After); what it refuses as invalid never is. Every answer is
    in the SQLite file ``cache`` before it is used. An ``offline`` service answers from there alone.

    Raises InputError for a setting that cannot be.
    """

    def __init__(
        self,
        name: str,
        cache: str | Path | None = None,
        offline: bool = False,
        url: str | None = None,
        in_flight: int = IN_FLIGHT,
        progress: bool = True,
        pause: float = 1.0,
        timeout: float = 30.0,
    ):
        self.name, self.offline, self.progress, self.pause, self.timeout = name, offline, progress, pause, timeout
        self.url = url or os.environ.get("INFINIGRAM_API") or ADDRESS
        parts = urlsplit(self.url)
        require(parts.scheme in ("http", "https") and parts.hostname, f"{self.url}: no address of a web service")
        require(1 <= in_flight <= IN_FLIGHT, f"in_flight {in_flight}: the service is asked 1 to {IN_FLIGHT} at a time")
        self.in_flight = in_flight
        self.cache = Cache(Path(cache) if cache else default_cache(), offline)
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=in_flight, pool_block=True))
        self._stop, self._resume = threading.Event(), 0.0

    def request(self, query_type: str, *terms: str | Sequence[str], **more: int) -> dict:
        """A request for an n-gram, or for several joined by AND, each a text or several joined by OR; InputError for
        what the service could not take, or would take for something else."""
        terms = [[term] if isinstance(term, str) else list(term) for term in terms]
        query = " AND ".join(" OR ".join(term) for term in terms)
        length = len(query)
        require(length <= _CHARACTERS, f"{short(query)}: {length:,} characters; the service takes {_CHARACTERS:,}")
        understood = [clause.split(" OR ") for clause in query.split(" AND ")]
        operators = f"{short(query)}: the service reads AND and OR as operators; write them in small letters"
        require(understood == terms, operators)
        for name in LIMITS.keys() & more:
            require(1 <= more[name] <= LIMITS[name], f"{name} {more[name]}: the service takes 1 to {LIMITS[name]:,}")
        return {"index": self.name, "query_type": query_type, "query": query, **more}

    def ask(self, asked: dict[Hashable, dict], read: Callable[[Hashable, dict, str], T]) -> dict[Hashable, T]:
        """``read(name, answer, date)`` of every named request: what is not in the cache is asked and kept at once.

        Raises InputError where the service refuses a request, cannot be had or answers something else, and, offline,
        where the cache lacks answers.
        """
        out, missing = {}, {}
        for name, request in asked.items():
            kept = self.cache.get(request, None if self.offline else self.url)
            if kept:
                out[name] = read(name, *kept)
            else:
                missing[name] = request
        if not missing:
            return out
        made = self.cache.path.exists() or not self.offline
        require(made, f"{self.cache.path}: no such file, so no answer to replay (--cache names another)")
        first = next(iter(missing.values()))
        lacks = f"{self.cache.path}: {len(missing)} of {len(asked)} answers are not in this cache, the first: "
        require(not self.offline, f"{lacks}{_named(first)}; ask the service (without --offline)")

        def fetch(name, request):
            answer, date = self._post(request), datetime.now(UTC).isoformat(timespec="seconds")
            self.cache.put(request, self.url, date, answer)
            return name, read(name, answer, date)

        self._stop.clear()
        shown = None if self.progress else True
        bar = Bar(total=len(missing), desc=first["query_type"], unit=" requests", disable=shown)
        with bar, ThreadPoolExecutor(self.in_flight) as pool:
            try:
                for future in as_completed([pool.submit(fetch, *item) for item in missing.items()]):
                    name, value = future.result()
                    out[name] = value
                    bar.update()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return out

    def _post(self, request: dict) -> dict:
        """The service's answer to one request, however many attempts it takes; InputError when it has none."""
        where, fault = f"{self.url}: {_named(request)}", "stopped"
        later = f"Run it again later: finished answers are kept in {self.cache.path}"
        for attempt in range(_ATTEMPTS):
            pause = min(_LONGEST, self.pause * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5) if attempt else 0.0
            if self._stop.wait(max(pause, self._resume - time.monotonic())):
                break
            try:
                response = self._session.post(self.url, json=request, timeout=self.timeout, allow_redirects=False)
            except requests.RequestException as error:
                fault = f"no answer ({type(error).__name__})"
                continue
            status, said, answer = response.status_code, "", None
            try:
                answer = response.json()
                said = answer.get("error", "") if isinstance(answer, dict) else ""
            except requests.JSONDecodeError:
                said = "no JSON"
            fault = f"HTTP {status}{f': {short(said)}' if said else ''}"
            require(status not in _ELSEWHERE, f"{where}: {fault}; no infini-gram service answers there")
            if status in _FOR_NOW or status >= 500 or answer is None:
                wish = _seconds(response.headers.get("Retry-After", ""))
                require(wish <= _PATIENCE, f"{where}: {fault}; the service asks to wait {wish:,.0f} s. {later}")
                # Of all requests, not of this one alone.
                self._resume = max(self._resume, time.monotonic() + wish)
                continue
            require(status == 200 and not said, f"{where}: refused, {fault}")
            return checked(request, answer, where)
        raise InputError(f"{where}: {fault}, at the last of {_ATTEMPTS} attempts. {later}")


class Cache:
    """Answers by request in one SQLite file, written as they arrive; threads and processes may share it.

    Raises InputError where the file is no such cache, or is damaged.
    """

    def __init__(self, path: Path, offline: bool = False):
        self.path, self._lock = path, threading.Lock()
        # Looking for answers must not make a file: one that is not there holds nothing.
        absent = offline and not path.exists()
        if not offline:
            path.parent.mkdir(parents=True, exist_ok=True)
        frozen = "" if os.access(path.parent, os.W_OK) else "&immutable=1"
        uri = ":memory:" if absent else f"{path.resolve().as_uri()}?mode={f'ro{frozen}' if offline else 'rwc'}"
        with self._errors():
            self._db = sqlite3.connect(uri, uri=True, timeout=60, isolation_level=None, check_same_thread=False)
            if not offline:
                _patiently(self._db, "PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
            if not offline or absent:
                columns = ", ".join(["request TEXT PRIMARY KEY", *_COLUMNS[1:]])
                self._db.execute(f"CREATE TABLE IF NOT EXISTS answers ({columns})")
            self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM answers LIMIT 1")

    def get(self, request: dict, url: str | None = None) -> tuple[dict, str] | None:
        """The answer to a request and its date, if there is one; for the public service, only its own."""
        with self._errors():
            found = self._db.execute("SELECT service, date, answer FROM answers WHERE request = ?", [_key(request)])
            service, date, answer = found.fetchone() or (None, None, None)
            if answer is None or (url == ADDRESS and service != url):
                return None
            return checked(request, json.loads(answer), f"cache {self.path}: {_named(request)}"), date

    def put(self, request: dict, url: str, date: str, answer: dict) -> None:
        """Keep an answer, with what it counts and whether it is approximate."""
        row = _key(request), url, request["index"], *about(request, answer), date, json.dumps(answer)
        with self._errors():
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (sqlite3.Error, json.JSONDecodeError) as error:
            message = f"cache {self.path}: cannot be used ({error}); name another, or remove it"
            raise InputError(message) from error


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Run a statement for which SQLite, while another process makes the same file, does not wait by itself."""
    for _ in range(600):
        try:
            db.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.1)
    db.execute(statement)


def default_cache() -> Path:
    """Where answers are kept unless a file is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskgram" / "infinigram.sqlite"


def askable(text: str) -> bool:
    """Whether the service takes a text for an n-gram."""
    return not re.search(" (AND|OR) ", text) and len(text) < _CHARACTERS


def about(request: dict, answer: dict) -> tuple[str, bool]:
    """What the number of an answer counts, and whether it is approximate (of a document: not returned whole)."""
    if request["query_type"] == "get_doc_by_rank":
        return "document", answer["disp_len"] < answer["doc_len"]
    pair = " AND " in request["query"]
    return "window" if pair else "occurrences", bool(answer.get("approx", pair))


def checked(request: dict, answer: object, where: str) -> dict:
    """The answer; InputError unless it holds what its type of query promises: never a number that is not there."""
    try:
        right = _NUMBERS[request["query_type"]]
        whole = all(type(answer[field]) is int and answer[field] >= 0 for field in right)
        if request["query_type"] == "find":
            sizes = [end - begin for begin, end in answer["segment_by_shard"]]
            whole = whole and min(sizes, default=0) >= 0 and sum(sizes) == answer["cnt"]
        elif request["query_type"] == "get_doc_by_rank":
            whole = whole and all(isinstance(text, str) for text, _ in answer["spans"])
    except (KeyError, TypeError, ValueError):
        whole = False
    require(whole, f"{where}: not what the service promises to answer: {short(json.dumps(answer))}")
    return answer


_NUMBERS = {"count": ["count"], "find": ["cnt"], "get_doc_by_rank": ["doc_ix", "doc_len", "disp_len"]}


def short(text: object) -> str:
    """A text as it can stand in one line of an error."""
    text = " ".join(str(text).split())
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def _named(request: dict) -> str:
    return f"{request['query_type']} {short(request['query'])} of {request['index']}"


def _key(request: dict) -> str:
    return json.dumps(request, sort_keys=True)


def _seconds(wish: str) -> float:
    """Retry-After in seconds: a number or a date; none is 0."""
    try:
        return max(0.0, float(wish))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(wish) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
