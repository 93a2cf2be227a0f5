"""A hub of models and data sets on loopback, as huggingface_hub's own client asks it, with faults on request."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Hub:
    """``repos``: (models or datasets, owner/name) to revision to folder. ``faults``: part of a path to what happens at
    the next requests for it: a status, or ``cut`` (the connection ends within the body)."""

    def __init__(self, repos: dict[tuple[str, str], dict[str, Path]]):
        self.repos, self.faults, self.asked = repos, {}, []

    def fault(self, path: str) -> object:
        for part, waiting in self.faults.items():
            if part in path and waiting:
                return waiting.pop(0)
        return None


def _commit(folder: Path) -> str:
    return hashlib.sha1(str(folder).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body=True)

    def _answer(self, body: bool):
        hub: Hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path))
        fault = hub.fault(path)
        if isinstance(fault, int):
            return self._send(fault, b"busy", {"Retry-After": "0"}, body)
        if path.startswith("/api/"):
            return self._api(path.removeprefix("/api/"), body)
        kind, rest = ("datasets", path[10:]) if path.startswith("/datasets/") else ("models", path[1:])
        name, _, rest = rest.partition("/resolve/")
        folder, file = self._folder(kind, name, rest)
        if folder is None:
            return None
        if not (folder / file).is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        content = (folder / file).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": _commit(folder), "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        status, begin = 200, 0
        if wanted := self.headers.get("Range"):
            begin = int(wanted.removeprefix("bytes=").split("-")[0])
            status, headers["Content-Range"] = 206, f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return self._send(status, content[begin:], headers, body, cut=fault == "cut")

    def _folder(self, kind: str, name: str, rest: str) -> tuple[Path | None, str]:
        revisions = self.server.hub.repos.get((kind, name))
        if revisions is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, True)
            return None, ""
        for revision, folder in sorted(revisions.items(), reverse=True):
            for known in (revision, _commit(folder)):
                if rest == known or rest.startswith(f"{known}/"):
                    return folder, rest[len(known) + 1 :]
        self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, True)
        return None, ""

    def _api(self, path: str, body: bool):
        kind, _, rest = path.partition("/")
        owner, _, rest = rest.partition("/")
        name, _, rest = rest.partition("/")
        what, _, rest = rest.partition("/")
        name = f"{owner}/{name}"
        if what == "refs":
            revisions = self.server.hub.repos.get((kind, name), {})
            branches = [{"name": r, "ref": f"refs/heads/{r}", "targetCommit": _commit(f)} for r, f in revisions.items()]
            return self._json({"branches": branches, "converts": [], "tags": []}, body)
        folder, rest = self._folder(kind, name, rest or "main")
        if folder is None:
            return None
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        listed = [(str(p.relative_to(folder)), p) for p in files]
        if what == "tree":
            return self._json(_listing(folder, folder / rest, "recursive=True" in self.path), body)
        if what == "paths-info":
            return self._json([_entry(name, p) for name, p in listed], body)
        return self._json({"id": name, "sha": _commit(folder), "siblings": [{"rfilename": n} for n, _ in listed],
                           "private": False, "gated": False, "disabled": False, "tags": []}, body)  # fmt: skip

    def _json(self, content: object, body: bool):
        return self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"}, body)

    def _send(self, status: int, content: bytes, headers: dict, body: bool, cut: bool = False):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True


def _entry(name: str, path: Path) -> dict:
    content = path.read_bytes()
    entry = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    if name.endswith((".safetensors", ".bin", ".parquet")):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


def _listing(root: Path, folder: Path, recursive: bool) -> list[dict]:
    found = sorted(folder.rglob("*") if recursive else folder.glob("*"))
    return [
        _entry(str(p.relative_to(root)), p) if p.is_file()
        else {"type": "directory", "path": str(p.relative_to(root)), "oid": _commit(p), "size": 0}
        for p in found
    ]  # fmt: skip


@contextmanager
def serve(repos: dict[tuple[str, str], dict[str, Path]]):
    """A hub that runs while the block does, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.hub = True, Hub(repos)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
