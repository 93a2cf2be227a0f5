"""An index behind the protocol of the infini-gram web service, on this machine alone."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from taskgram_utils.counting.engine import place_of, search
from taskgram_utils.counting.index import Index
from taskgram_utils.counting.service import DOCUMENT


@contextmanager
def serve(index: Index) -> Iterator[str]:
    """Answer requests about ``index`` at the address that is given, until the context ends.

    For lessons and trials without the internet: an
    :class:`~taskgram_utils.counting.api.ApiCounter` with this ``url`` counts as it does at the
    public service. The requests are ``count`` and ``find`` of an n-gram and ``get_doc_by_rank``;
    others, those with AND and OR among them, are refused as the service refuses: by an ``error``.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            try:
                request = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = 200, _answer(index, json.loads(request))
            except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
                status, answer = 400, {"error": f"not understood: {error}"}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


def _answer(index: Index, request: dict) -> dict:
    """The service's answer to a request about an index."""
    kind, query = request["query_type"], request["query"]
    if " AND " in query or " OR " in query:
        return {"error": "AND and OR are not answered here"}
    if not query.split():
        return {"error": "empty query"}
    ids, sizes = index._coder.encode_ngrams([query])
    low, high = search(index._shards, index._keys(ids), np.array([0]), sizes)[:, :, 0].tolist()
    total = sum(high) - sum(low)
    if kind == "count":
        return {"count": total, "approx": False, "token_ids": ids.tolist()}
    if kind == "find":
        return {"cnt": total, "segment_by_shard": list(zip(low, high, strict=True))}
    if kind == "get_doc_by_rank":
        numbers = (int(request[name]) for name in ("s", "rank", "max_disp_len"))
        return _document(index, ids.tolist(), *numbers)
    return {"error": f"query_type {kind} is not answered here"}


def _document(index: Index, ngram: list[int], s: int, rank: int, max_disp_len: int) -> dict:
    """The document of the suffix at ``rank`` of shard ``s``, cut around it, in spans of text; those
    that are the n-gram are labelled."""
    shard = index._shards[s]
    if not 0 <= rank < len(shard.tokens) or not 1 <= max_disp_len <= DOCUMENT["max_disp_len"]:
        return {"error": "rank or max_disp_len out of range"}
    middle = int(place_of(shard.table, rank, index.width))
    document = int(np.searchsorted(shard.offsets, middle * index.width, side="right")) - 1
    begin, end = index.bounds(s, document)
    first, last = max(begin, middle - max_disp_len // 2), middle + (max_disp_len + 1) // 2
    shown = shard.tokens[first : min(end, last)].tolist()
    parts, k = [([], None)], 0
    while k < len(shown):
        if shown[k : k + len(ngram)] == ngram:
            parts += [(ngram, "0"), ([], None)]
            k += len(ngram)
        else:
            parts[-1][0].append(shown[k])
            k += 1
    space = " " if index.exact else ""  # between words; pieces bring their own
    spans = [[space + index._coder.decode(part), label] for part, label in parts if part]
    before = sum(len(other.offsets) for other in index._shards[:s])
    return {"doc_ix": before + document, "doc_len": end - begin, "disp_len": len(shown),
            "metadata": "", "token_ids": ngram, "spans": spans}
