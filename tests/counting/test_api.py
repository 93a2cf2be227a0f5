"""The web service's counts against a server on this machine that answers, limits and fails as the service does."""

import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from taskgram_utils.cli import main
from taskgram_utils.counting import service as service_module
from taskgram_utils.counting.api import ApiCounter
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.service import IN_FLIGHT, Cache, Service, _seconds, default_cache
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.taskgram import taskgram_logp
from taskgram_utils.ngrams import normalize
from taskgram_utils.tables import read_table

# As the service's tokens: a word keeps the space before it, and long words fall into pieces.
_TOKEN = re.compile(r" ?\w{1,6}(?!\w)| ?\w{6}|\w+|\s|[^\w\s]")
_WORDS = ["red", "apple", "River", "stonemason", "blue", "of", "night", "lamp"]


def _documents():
    rng = np.random.default_rng(7)
    weights = 1 / np.arange(1, len(_WORDS) + 1)
    texts = [" ".join(rng.choice(_WORDS, rng.integers(4, 30), p=weights / weights.sum())) for _ in range(60)]
    texts += ["a stone and a Stone; the stonewallers' stonewall, don't", "stones and sticks", "stone, stone"]
    return [f"Text: {text}." for text in texts]


DOCUMENTS = _documents()


class Hosted:
    """An index of documents in shards, answering requests as the service's handler does: (status, JSON)."""

    def __init__(self, documents, shards=2):
        self.vocabulary, self.shards = {}, []
        for s in range(shards):
            numbered, suffixes = list(enumerate(documents))[s::shards], []
            texts = {d: self.encode(text, grow=True) for d, text in numbered}
            suffixes = sorted((ids[i:], d, i) for d, ids in texts.items() for i in range(len(ids)))
            self.shards.append((suffixes, texts))

    def encode(self, text, grow=False):
        pieces = _TOKEN.findall(text)
        if grow:
            return [self.vocabulary.setdefault(p, len(self.vocabulary)) for p in pieces]
        return [self.vocabulary.get(p, -1) for p in pieces]

    def segments(self, ids):
        def key(suffix):
            return suffix[0][: len(ids)]

        return [[bisect_left(s, ids, key=key), bisect_right(s, ids, key=key)] for s, _ in self.shards]

    def answer(self, query_type, query, **more):
        if len(query) > 1000:
            return 200, {"error": "Please limit your input to <= 1000 characters!"}
        clauses = [[self.encode(" " + term) for term in clause.split(" OR ")] for clause in query.split(" AND ")]
        cnf = len(clauses) > 1 or len(clauses[0]) > 1
        ids = [] if query == "" else clauses[0][0]
        segments = self.segments(ids)
        if query_type == "count" and cnf:
            if not 1 <= more.get("max_diff_tokens", 100) <= 1000:
                return 200, {"error": "max_diff_tokens must be an integer in [1, 1000]!"}
            return 200, {"count": self.near(clauses, more.get("max_diff_tokens", 100)), "approx": False}
        if query_type == "count" and not more:
            return 200, {"count": sum(b - a for a, b in segments), "approx": False, "token_ids": ids}
        if query_type == "find" and not more:
            return 200, {"cnt": sum(b - a for a, b in segments), "segment_by_shard": segments}
        if query_type == "get_doc_by_rank" and {"s", "rank"} <= more.keys():
            return 200, self.document(ids, **more)
        return 500, {"error": "[Flask] Internal server error: unexpected keyword argument"}

    def near(self, clauses, most):
        both = 0
        for _, texts in self.shards:
            for ids in texts.values():
                a, b = ([i for i in range(len(ids)) if any(ids[i : i + len(t)] == t for t in c)] for c in clauses)
                both += sum(any(abs(i - j) <= most for j in b) for i in a)
        return both

    def document(self, needle, s, rank, max_disp_len=1000):
        _, d, at = self.shards[s][0][rank]
        ids = self.shards[s][1][d]
        shown = ids[max(0, at - max_disp_len // 2) : at + (max_disp_len + 1) // 2]
        spans, begin, i = [], 0, 0
        while i < len(shown):
            if shown[i : i + len(needle)] == needle:
                spans += [[shown[begin:i], None]] * (i > begin) + [[needle, "0"]]
                begin = i = i + len(needle)
            else:
                i += 1
        spans += [[shown[begin:], None]] * (begin < len(shown))
        pieces = list(self.vocabulary)
        spans = [["".join(pieces[i] for i in part), label] for part, label in spans]
        lengths = {"doc_len": len(ids), "disp_len": len(shown)}
        return {"doc_ix": d, **lengths, "metadata": "", "token_ids": needle, "spans": spans}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        owner = self.server.owner
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with owner.lock:
            owner.now += 1
            owner.most = max(owner.most, owner.now)
            owner.asked.append(request)
            fault = owner.faults.pop(0) if owner.faults else owner.always
        try:
            time.sleep(owner.delay)
            if callable(fault):
                fault = fault(request)
            self.reply(fault, request)
        except BrokenPipeError:
            pass
        finally:
            with owner.lock:
                owner.now -= 1

    def reply(self, fault, request):
        status, body, headers = 200, None, {}
        if fault == "hang":
            time.sleep(1.5)
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"count": 1')
            self.close_connection = True
            return
        elif fault == "page":
            body = "<html>busy</html>"
        elif isinstance(fault, tuple):
            status, body, headers = fault
        if body is None:
            status, body = self.server.owner.hosted.answer(**{k: v for k, v in request.items() if k != "index"})
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):  # a client that went away
        pass


class Loopback:
    """The server, what it was asked, the most it was asked at a time, and the faults that come next."""

    def __init__(self, hosted):
        self.hosted, self.lock = hosted, threading.Lock()
        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.owner = self
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"
        self.reset()
        # Not left waiting for a reply that a close would otherwise poll for.
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reset(self):
        self.asked, self.faults, self.always, self.delay, self.now, self.most = [], [], None, 0.0, 0, 0


@pytest.fixture(scope="module")
def loopback():
    running = Loopback(Hosted(DOCUMENTS))
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def all_forms(loopback, monkeypatch, tmp_path):
    monkeypatch.setenv("INFINIGRAM_API", loopback.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loopback.reset()
    return loopback


@pytest.fixture
def server(all_forms, monkeypatch):
    """Of counters that ask an n-gram as it is typed alone."""
    monkeypatch.setattr(ApiCounter, "written", staticmethod(lambda ngram, surfaces: [ngram]))
    return all_forms


def counter(tmp_path, index="hosted_gpt2", pause=0.01, **options):
    return ApiCounter(index, cache=tmp_path / "answers.sqlite", progress=False, pause=pause, **options)


def truth(*ngrams):
    return sum(all(f" {normalize(s)} " in f" {normalize(text)} " for s in ngrams) for text in DOCUMENTS)


def occurrences(ngram):
    return sum(len(re.findall(rf"(?= {ngram}(?!\w))", text)) for text in DOCUMENTS)


# --- what is counted -------------------------------------------------------------------------------------------------

NGRAMS = ["red", "red apple", " lamp ", "stonemason", "River of", "night night", "zebra", "stonemason red"]
PAIRS = [("red", "lamp"), ("stonemason", "River"), ("night", "blue"), ("zebra", "red"), ("lamp", "lamp")]


def test_enumerated_documents_are_the_truth(server, tmp_path):
    asked = counter(tmp_path, sample=10**6)
    found = asked.counts(NGRAMS, PAIRS)
    assert found.ngrams.tolist() == [truth(s) for s in NGRAMS] and found.ngrams.max() > 40
    assert found.pairs.tolist() == [truth(*pair) for pair in PAIRS] and found.pairs.max() > 10
    evidence = asked.evidence()
    assert evidence["enumerated"].all() and not evidence["approximate"].any() and (evidence["error"] == 0).all()
    assert evidence["count"].tolist() == [*found.ngrams, *found.pairs]
    assert evidence["occurrences"].tolist()[:2] == [occurrences("red"), occurrences("red apple")]
    assert evidence["date"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00").all()
    crossed = [(x, y) for x in ("red", "night") for y in ("lamp", "blue")]
    assert asked.pair_counts(crossed).tolist() == [truth(*pair) for pair in crossed]


def test_an_ngram_is_found_as_typed_and_held_by_its_words(server, tmp_path):
    # "stonewall" is the pieces stonew + all, "stonewallers" stonew + allers; stonew is no word of any document.
    asked = counter(tmp_path)
    found = asked.count(["stone", "Stone", "STONE", "stonew", "don't", "dont"])
    assert found.tolist() == [2, 1, 0, 0, 1, 0]
    assert asked.evidence().set_index("sx").loc["stonew", "occurrences"] == 2


def test_occurrences_and_windows_are_one_request_each(server, tmp_path):
    asked = counter(tmp_path, unit="occurrences")
    table = count_table(asked, [("red", "lamp"), ("night", "zebra")], ["red", "red apple"])
    assert table["unit"].tolist() == ["window", "window", "occurrences", "occurrences"]
    assert table["count"].tolist()[1:] == [0, occurrences("red"), occurrences("red apple")]
    assert table["count"][0] > truth("red", "lamp")
    assert not table["exact"].any() and len(server.asked) == 4
    windows = [request for request in server.asked if " AND " in request["query"]]
    assert {(r["max_clause_freq"], r["max_diff_tokens"]) for r in windows} == {(500_000, 1000)}
    assert not asked.evidence()["approximate"].any()
    narrow = counter(tmp_path, unit="occurrences", max_diff_tokens=1)
    assert narrow.counts(pairs=[("red", "lamp")]).pairs[0] < table["count"][0]
    assert server.asked[-1]["max_diff_tokens"] == 1 and "max_diff_tokens=1)" in narrow.source
    server.always = (200, {"count": 5, "approx": True}, {})
    asked.counts(pairs=[("River", "of")])
    assert asked.evidence()["approximate"].tolist() == [False] * 4 + [True]


def test_unit_exactness_and_source_stand_in_the_table(server, tmp_path):
    table = count_table(counter(tmp_path), [("red", "lamp")], singles=True)
    assert set(table["unit"]) == {"documents"} and not table["exact"].any()
    (source,) = set(table["source"])
    for part in ("hosted_gpt2", "infini-gram service", "sub-word pieces", "enumerated up to 100", "sampled"):
        assert part in source


def test_the_sampled_estimate_is_unbiased_and_knows_its_error(server, tmp_path):
    # Occurrences gather in documents, so that the mean of 1/m is far from 1: no other weight gives the truth.
    pairs, single, draws = [("red", "lamp")], "red", 60
    total, sample = occurrences("red"), 40
    assert total > 4 * sample and truth("red") < 0.5 * total
    found, errors = [], []
    for seed in range(draws):
        asked = counter(tmp_path, sample=sample, seed=seed)
        counts = asked.counts([single], pairs)
        found.append([counts.ngrams[0], counts.pairs[0]])
        evidence = asked.evidence()
        errors.append(evidence["error"])
        assert evidence["sampled"][0] == sample and evidence["approximate"][0] and not evidence["enumerated"][0]
    found, errors = np.array(found, float), np.array(errors)
    # The pair is counted around the rarer lamp, which is enumerated or sampled by its own number of occurrences.
    for i, expected in enumerate([truth("red"), truth("red", "lamp")]):
        error = np.sqrt((errors[:, i] ** 2).mean())  # of one draw
        rounding = 1 / np.sqrt(12 * draws)
        assert abs(found[:, i].mean() - expected) < 3.5 * (error / np.sqrt(draws) + rounding)
        if error:
            assert 0.6 < found[:, i].std(ddof=1) / error < 1.5
    assert errors[:, 0].min() > 0


@pytest.mark.parametrize(("label", "times"), [("0", 1), (None, 3)])
def test_a_document_weighs_by_the_occurrences_it_could_be_drawn_by(server, tmp_path, label, times):
    # Drawn by "River" as typed; where the service does not label it, by the words, whatever their case.
    spans = [["a river, the RIVER and", None], [" River", label], [" lamp", None]]
    server.always = lambda request: (
        (200, {"cnt": 200, "segment_by_shard": [[100, 200], [0, 0], [50, 150]]}, {})
        if request["query_type"] == "find"
        else (200, {"doc_ix": request["rank"], "doc_len": 9, "disp_len": 9, "spans": spans}, {})
    )
    asked = counter(tmp_path, sample=10)
    assert asked.counts(["River"], [("River", "lamp"), ("River", "zebra")]).pairs.tolist() == [round(200 / times), 0]
    places = [(request["s"], request["rank"]) for request in server.asked if "s" in request]
    assert len(set(places)) == 10 and {s for s, _ in places} == {0, 2}
    assert all((100 <= rank < 200) if s == 0 else (50 <= rank < 150) for s, rank in places)


def test_a_sampled_number_is_never_a_zero_that_was_seen(server, tmp_path):
    asked = counter(tmp_path, sample=1)
    assert (asked.count(["red", "night", "River"]) >= 1).all()


def test_a_larger_sample_asks_only_for_what_it_adds(server, tmp_path):
    first = counter(tmp_path, sample=20).count(["red"])
    asked = len(server.asked)
    assert asked == 21
    counter(tmp_path, sample=30).count(["red"])
    assert len(server.asked) == 31
    assert counter(tmp_path, sample=20).count(["red"]) == first and len(server.asked) == 31


def test_a_document_that_is_cut_is_said(server, tmp_path, monkeypatch):
    monkeypatch.setitem(service_module.DOCUMENT, "max_disp_len", 8)
    asked = counter(tmp_path, sample=10**6)
    assert asked.count(["red"])[0] == truth("red")
    row = asked.evidence().iloc[0]
    assert row["cut"] > 0 and row["approximate"] and row["enumerated"]


class Llama(Hosted):
    """As the service answers of an index of Llama's tokens: each span is decoded alone, which drops its first space."""

    def document(self, needle, *where, **more):
        answer = super().document(needle, *where, **more)
        spans = [[text.removeprefix(" "), label] for text, label in answer["spans"]]
        return answer | {"spans": spans}


@pytest.fixture
def llama(all_forms):
    texts = ["the old river's bank and river, done", "a Lovarnian", "by Lovarn the baker, lovarn",
             "x; Lovarn; y", " 17 5",
             " lovarn 17", " 175"]  # fmt: skip
    hosted, all_forms.hosted = all_forms.hosted, Llama(texts)
    yield texts
    all_forms.hosted = hosted


def test_llama_loses_no_space_between_spans_and_wins_none_inside_a_word(llama, tmp_path):
    asked = counter(tmp_path, index="hosted_llama")
    # "Lovarnian" is the pieces Lovarn + ian, and "river's" the word rivers.
    assert asked.count(["lovarn", "river", "17", "rivers"]).tolist() == [3, 1, 2, 0]
    assert asked.evidence()["occurrences"].tolist() == [5, 2, 2, 0]
    pairs = [("river", "and"), ("river", "and river"), ("lovarn", "ian"), ("lovarn", "baker")]
    assert asked.pair_counts(pairs).tolist() == [1, 1, 0, 1]
    (shown,) = asked.documents_with("lovarn", "baker")
    assert shown.strip() == llama[2]


def test_documents_that_hold_both(server, tmp_path):
    asked = counter(tmp_path)
    shown = asked.documents_with("red", "lamp", k=3)
    assert len(set(shown)) == 3 and set(shown) <= {t for t in DOCUMENTS if "red" in t and "lamp" in t}
    assert len(asked.documents_with("stone", k=5)) == truth("stone") == 2
    assert asked.documents_with("zebra", "red") == []
    with pytest.raises(InputError, match="'--'"):
        asked.documents_with("--")


def test_the_service_has_no_halves(server, tmp_path):
    with pytest.raises(InputError, match="cannot count in halves"):
        counter(tmp_path).counts(["red"], halves=True)
    assert count_table(counter(tmp_path)).empty


def test_a_pair_of_two_forms_of_a_word_is_not_a_form(all_forms, tmp_path):
    asked = counter(tmp_path, unit="occurrences")
    pairs = [("lamp", "lamp"), ("River", "river")]
    table = count_table(asked, pairs, singles=True)
    assert table["count"].tolist()[2:] == [occurrences("lamp"), occurrences("River"), occurrences("River")]
    assert table["unit"].tolist() == ["window"] * 2 + ["occurrences"] * 3


def test_all_forms_are_pooled_and_documents_counted_once(all_forms, tmp_path):
    asked = counter(tmp_path, sample=10**6)
    typed = ["stone", "river", "dont", "zebra"]
    pairs = [("river", "lamp"), ("stone", "dont")]
    surfaces = {"dont": ["don't"]}
    found = asked.counts(typed, pairs, surfaces=surfaces)
    assert found.ngrams.tolist() == [truth("stone"), truth("River"), truth("don't"), 0]
    assert found.pairs.tolist() == [truth("River", "lamp"), truth("stone", "don't")] and found.pairs.min() > 0
    evidence = asked.evidence()
    river = sum(len(re.findall(rf"(?<= ){form}(?!\w)", text)) for form in ("River", "river") for text in DOCUMENTS)
    assert evidence["occurrences"].tolist()[1] == river > truth("River")
    assert evidence["forms"].tolist() == [*(len(ApiCounter.written(s, surfaces.get(s, ()))) for s in typed), 9, 27]
    assert [found.forms[0].tolist(), found.forms[1].tolist()] == [[3, 3, 9, 3], [9, 27]]
    frame = pd.DataFrame({"sx": ["stone"], "sy": ["dont"], "sx_text": ["Stone"], "sy_text": ["don't"]})
    table = count_table(asked, frame, singles=True)
    assert table["count"].tolist() == [1, 2, 1] and table["forms"].tolist() == [27, 3, 9]
    with pytest.raises(InputError, match="sy_text \"don't\" is not the words of sy 'do'"):
        count_table(asked, frame.assign(sy="do"))


def test_a_sample_of_all_forms_is_unbiased(all_forms, monkeypatch, tmp_path):
    mixed = [re.sub(r"\bred\b", lambda m: "Red" if m.start() % 3 else "red", text) for text in DOCUMENTS]
    monkeypatch.setattr(all_forms, "hosted", Hosted(mixed))
    found, errors = [], []
    for seed in range(40):
        asked = counter(tmp_path, sample=40, seed=seed)
        found.append(asked.count(["red"])[0])
        errors.append(asked.evidence()["error"][0])
    assert asked.evidence()["occurrences"][0] == occurrences("red") > 160
    error = np.sqrt(np.mean(np.square(errors)) / 40)
    assert abs(np.mean(found) - truth("red")) < 3.5 * (error + 1 / np.sqrt(12 * 40))


def test_occurrences_and_windows_of_all_forms(all_forms, tmp_path):
    asked = counter(tmp_path, unit="occurrences")
    table = count_table(asked, [("river", "lamp")], singles=True)
    assert table["unit"].tolist() == ["window", "occurrences", "occurrences"] and table["forms"].tolist() == [9, 3, 3]
    assert table["count"].tolist()[1:] == [occurrences("River"), occurrences("lamp")]
    assert table["count"][0] >= truth("River", "lamp") > 0
    assert {r["query"] for r in all_forms.asked} == {
        "river", "River", "RIVER", "lamp", "Lamp", "LAMP", "river OR River OR RIVER AND lamp OR Lamp OR LAMP"
    }  # fmt: skip
    # What the service would read as an operator is asked in the other forms.
    assert asked.counts(["cats and dogs"], surfaces={"cats and dogs": ["CATS AND DOGS"]}).ngrams.tolist() == [0]
    assert not any("CATS" in request["query"] for request in all_forms.asked)


# --- asking ----------------------------------------------------------------------------------------------------------

FAULTS = {
    "too many": (429, {"error": "slow down"}, {}), "forbidden for now": (403, "<html>no</html>", {}), "cut": "cut",
    "internal": (500, {"error": "[Flask] Internal server error"}, {}), "bad gateway": (502, "<html>bad</html>", {}),
    "a page": "page", "a page instead of JSON": (415, "<html>Unsupported Media Type</html>", {}), "no answer": "hang",
    "nothing": (200, "", {}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_for_now_is_asked_again_after_growing_pauses(server, tmp_path, fault):
    server.faults, pauses = [FAULTS[fault]] * 3, []
    asked = counter(tmp_path, unit="occurrences", pause=0.04, timeout=1 if fault == "no answer" else 60)
    asked._service._stop.wait = pauses.append
    assert asked.count(["red"]).tolist() == [occurrences("red")]
    assert len(server.asked) == 4 and all(request == server.asked[0] for request in server.asked)
    # Each is jittered between half and one and a half of .04, .08, .16 seconds.
    assert pauses[0] <= 0
    for pause, middle in zip(pauses[1:], (0.04, 0.08, 0.16), strict=True):
        assert middle / 2 <= pause <= middle * 1.5


def test_the_wish_of_the_service_to_wait_holds_for_all(server, tmp_path, monkeypatch):
    server.faults, pauses = [(429, {"error": "slow down"}, {"Retry-After": "30"})], []
    asked = counter(tmp_path, unit="occurrences", pause=0.001)
    monkeypatch.setattr(service_module, "IN_FLIGHT", 1)
    monkeypatch.setattr(service_module, "time", SimpleNamespace(monotonic=lambda: 1_000.0, sleep=time.sleep))
    asked._service._stop.wait = pauses.append
    asked.count(["red", "lamp", "night", "blue", "River"])
    assert len(server.asked) == 6 and pauses[0] <= 0 and pauses[1:] == [30] * 5
    assert _seconds("3") == 3 and _seconds("") == 0 and _seconds("soon") == 0 and _seconds("-1") == 0
    assert _seconds("Wed, 21 Oct 2222 07:28:00 GMT") > 600
    server.faults = [(503, {}, {"Retry-After": "86400"})]
    with pytest.raises(InputError, match=r"asks to wait \(Retry-After: '86400'\)\. Run it again later"):
        asked.count(["apple"])


@pytest.mark.parametrize("fault", ["too many", "internal", "a page", "cut"])
def test_a_service_that_stays_away_is_one_line_and_a_rerun_goes_on(server, tmp_path, fault):
    words = ["red", "apple", "night", "lamp", "blue"]
    server.always = lambda request: FAULTS[fault] if request["query"] == "lamp" else None
    with pytest.raises(InputError) as error:
        counter(tmp_path, unit="occurrences", pause=0.001).count(words)
    message = str(error.value)
    assert server.url in message and "count 'lamp' of hosted_gpt2" in message and "6 attempts" in message
    assert "Run it again later" in message and str(tmp_path / "answers.sqlite") in message and "\n" not in message
    assert Counter(r["query"] for r in server.asked)["lamp"] == 6
    before = len(server.asked)
    server.always = None
    assert counter(tmp_path, unit="occurrences").count(words).tolist() == [occurrences(s) for s in words]
    again = {request["query"] for request in server.asked[before:]}
    assert "lamp" in again and "red" not in again


@pytest.mark.parametrize(("fault", "message"), [
    ((200, {"error": "max_diff_tokens must be an integer!"}, {}), "refused, HTTP 200: 'max_diff_tokens must be"),
    ((400, {"error": "[Flask] Invalid index: hosted_gpt2"}, {}), r"refused, HTTP 400: '\[Flask\] Invalid index"),
    ((404, "<html>" + "lost" * 500 + "</html>", {}), "HTTP 404: 'no JSON'; no infini-gram service answers there"),
    ((301, "", {"Location": "https://example.org"}), "HTTP 301.*no infini-gram service"),
    ((200, {"approx": False}, {}), "not what the service promises"), ((200, [3], {}), "not what the service promises"),
    ((200, {"count": -1, "approx": False}, {}), "not what the service"), ((200, {"count": None}, {}), "not what the"),
    ((200, {"count": True}, {}), "not what the service promises"), ((200, 3, {}), "not what the service promises"),
])  # fmt: skip
def test_a_refusal_is_never_asked_again_and_nothing_is_kept(server, tmp_path, fault, message):
    server.always = fault
    with pytest.raises(InputError, match=message) as error:
        counter(tmp_path, unit="occurrences").count(["red"])
    assert "count 'red' of hosted_gpt2" in str(error.value) and len(str(error.value)) < 400
    assert len(server.asked) == 1
    assert Cache(tmp_path / "answers.sqlite").get(server.asked[0]) is None


@pytest.mark.parametrize("segments", [None, [3], [[5, 3]], [[0, 4], [0, 4]], [[0, "7"]], "ab"])
def test_segments_that_are_none_are_refused(server, tmp_path, segments):
    server.always = (200, {"cnt": 7, "segment_by_shard": segments}, {})
    with pytest.raises(InputError, match=r"find 'red'.*not what the service promises"):
        counter(tmp_path).count(["red"])


@pytest.mark.parametrize("lacking", ["doc_ix", "doc_len", "disp_len", "spans"])
def test_documents_without_what_is_needed_are_refused(server, tmp_path, lacking):
    whole = {"doc_ix": 0, "doc_len": 2, "disp_len": 2, "spans": [["a red", None]]}
    server.always = lambda request: (
        None if request["query_type"] == "find" else (200, {k: v for k, v in whole.items() if k != lacking}, {})
    )
    with pytest.raises(InputError, match=r"get_doc_by_rank 'stonemason'.*not what the service promises"):
        counter(tmp_path).count(["stonemason"])


def test_never_more_than_four_in_flight(server, tmp_path):
    server.delay = 0.1
    words = ["red", "apple", "River", "stone", "blue", "of", "night", "lamp", "and", "sticks", "the", "a"]
    counter(tmp_path, unit="occurrences").count(words)
    assert 1 < server.most <= 4 and len(server.asked) == 12


@pytest.mark.parametrize(("options", "ask", "message"), [
    ({}, {"ngrams": ["red", "apple " * 200]}, "1,199 characters; the service takes 1,000"),
    ({"unit": "occurrences"}, {"pairs": [("x" * 600, "y" * 600)]}, "1,205 characters"),
    ({}, {"ngrams": ["red", "salt AND pepper"]}, "'salt AND pepper': the service reads AND and OR as operators"),
    ({"unit": "occurrences"}, {"pairs": [("red", "lamp"), ("salt AND", "pepper")]}, "AND and OR as operators"),
    ({"unit": "occurrences"}, {"pairs": [("salt OR oil", "pepper")]}, "AND and OR as operators"),
    ({}, {"ngrams": ["red", "--"]}, "n-gram 2: '--' holds no"), ({}, {"ngrams": ["red", None]}, "None is not text"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_before_anything_is(server, tmp_path, options, ask, message):
    with pytest.raises(InputError, match=message) as error:
        counter(tmp_path, **options).counts(**ask)
    assert not server.asked and len(str(error.value)) < 300


@pytest.mark.parametrize(("options", "message"), [
    ({"index": "some/folder"}, "a hosted index has a name"), ({"unit": "window"}, "unit 'window'"),
    ({"max_diff_tokens": 1001}, "max_diff_tokens 1001: the service takes 1 to 1,000"),
    ({"sample": 0}, "sample 0"), ({"url": "ftp://127.0.0.1"}, "no address of a web service"),
    ({"url": "api.infini-gram.io"}, "no address of a web service"),
])  # fmt: skip
def test_settings_that_cannot_be(server, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        counter(tmp_path, **options)


# --- the cache -------------------------------------------------------------------------------------------------------


def test_a_second_run_and_an_offline_one_ask_nothing(server, tmp_path):
    first = count_table(counter(tmp_path), PAIRS, NGRAMS, singles=True)
    asked = len(server.asked)
    assert len({json.dumps(request) for request in server.asked}) == asked
    for options in ({}, {"offline": True}, {"offline": True, "url": "http://127.0.0.1:9/"}):
        again = counter(tmp_path, **options)
        assert count_table(again, PAIRS, NGRAMS, singles=True).equals(first)
        assert len(server.asked) == asked
    with sqlite3.connect(tmp_path / "answers.sqlite") as db:
        rows = db.execute("SELECT hosted, unit, service FROM answers").fetchall()
    assert len(rows) == asked and {row[1] for row in rows} == {"occurrences", "document"}
    assert {(row[0], row[2]) for row in rows} == {("hosted_gpt2", server.url)}


def test_offline_says_what_is_missing_and_makes_no_file(server, tmp_path):
    with pytest.raises(InputError, match=r"answers\.sqlite: no such file, so no answer to replay"):
        counter(tmp_path, unit="occurrences", offline=True).counts(["red", "lamp"], [("red", "lamp")])
    assert not (tmp_path / "answers.sqlite").exists()
    counter(tmp_path, unit="occurrences").count(["red"])
    with pytest.raises(InputError, match="1 of 2 answers are not in this cache, the first: count 'lamp'"):
        counter(tmp_path, unit="occurrences", offline=True).count(["red", "lamp"])
    with pytest.raises(InputError, match=r"1 of 1 answers .* of other_gpt2"):
        counter(tmp_path, index="other_gpt2", unit="occurrences", offline=True).count(["red"])
    assert len(server.asked) == 1


def test_a_stand_in_does_not_answer_for_the_public_service(server, tmp_path):
    counter(tmp_path, unit="occurrences").count(["red"])
    cache, request = Cache(tmp_path / "answers.sqlite"), server.asked[0] | {"index": "hosted_gpt2"}
    assert cache.get(request)[0]["count"] == cache.get(request, server.url)[0]["count"] == occurrences("red")
    assert cache.get(request, service_module.ADDRESS) is None


@pytest.mark.parametrize("content", [b"not a database" * 100, b"", "table", "answer"])
def test_a_damaged_cache_is_one_clear_line(server, tmp_path, content):
    path = tmp_path / "answers.sqlite"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        if content == "answer":
            counter(tmp_path, unit="occurrences").count(["red"])
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE answers (x)" if content == "table" else "UPDATE answers SET answer = '{'")
    if content == b"":  # an empty file is an empty database
        assert counter(tmp_path, unit="occurrences").count(["red"]) == [occurrences("red")]
        return
    for offline in (False, True):
        with pytest.raises(InputError, match=r"answers.sqlite: cannot be used \(.*\); name another, or remove it"):
            counter(tmp_path, unit="occurrences", offline=offline).count(["red"])


PROGRAM = """
import sys
from taskgram_utils.counting.service import Service
service = Service("hosted_gpt2", cache=sys.argv[1], progress=False)
requests = {w: service.request("count", w) for w in sys.argv[2].split()}
print(sum(service.ask(requests, lambda w, answer, date: answer["count"]).values()))
"""


def start(tmp_path, words):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path / "shared.sqlite", " ".join(words)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


def test_killed_in_the_middle_only_the_rest_is_asked(server, tmp_path):
    words, killed = [f"w{i}" for i in range(60)], threading.Event()
    server.faults, server.always = [None] * 20, lambda request: killed.wait() and None
    process = start(tmp_path, words)
    while len(server.asked) < 20 + IN_FLIGHT and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    killed.set()
    while server.now:
        time.sleep(0.01)
    assert len(server.asked) == 20 + IN_FLIGHT
    with sqlite3.connect(tmp_path / "shared.sqlite") as db:
        kept = {json.loads(row[0])["query"] for row in db.execute("SELECT request FROM answers")}
    assert len(kept) == 20
    server.reset()
    service = Service("hosted_gpt2", cache=tmp_path / "shared.sqlite", progress=False)
    service.ask({w: service.request("count", w) for w in words}, lambda w, answer, date: answer["count"])
    assert sorted(request["query"] for request in server.asked) == sorted(set(words) - kept)


def test_two_processes_share_a_cache(server, tmp_path):
    words = ["red", "apple", "night", "lamp"] + [f"w{i}" for i in range(40)]
    processes = [start(tmp_path, words), start(tmp_path, words[::-1])]
    said = [process.communicate() for process in processes]
    assert {out for out, _ in said} == {f"{sum(occurrences(w) for w in words)}\n"}, said
    with sqlite3.connect(tmp_path / "shared.sqlite") as db:
        assert db.execute("SELECT count(*) FROM answers").fetchone() == (len(words),)


# --- the command -----------------------------------------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def files(tmp_path):
    (tmp_path / "pairs.csv").write_text("sx,sy\nstonemason,lamp\nRiver,stonemason\n")
    (tmp_path / "long.csv").write_text(f"sx,sy\n{'apple ' * 200},lamp\n")
    return tmp_path


def test_the_command_counts_over_the_service_and_replays(server, files):
    out = files / "counts.csv"
    result = call("count", "hosted_gpt2", "--backend", "api", "--pairs", files / "pairs.csv", "--singles", "--out", out)
    assert result.exit_code == 0, result.output
    table = read_table(out)
    pairs = table[table["sy"].notna()]
    assert pairs["count"].tolist() == [truth("stonemason", "lamp"), truth("River", "stonemason")]
    assert set(table["unit"]) == {"documents"} and not table["exact"].any() and table["source"].nunique() == 1
    assert "1 of 5 numbers are estimates" in result.stderr and default_cache().exists()
    first, asked = out.read_text(), len(server.asked)
    for extra in ([], ["--offline"]):
        result = call("count", "hosted_gpt2", "--backend", "api", "--pairs", files / "pairs.csv", "--singles", *extra,
                      "--out", "-")  # fmt: skip
        assert result.stdout == first and len(server.asked) == asked
    result = call("count", "hosted_gpt2", "--backend", "api", "--pairs", files / "pairs.csv", "--sample", 5, "--cache",
                  files / "other.sqlite", "--out", "-")  # fmt: skip
    assert "2 of 2 numbers are estimates" in result.stderr and (files / "other.sqlite").exists()
    result = call("count", "hosted_gpt2", "--backend", "api", "--unit", "occurrences", "--pairs", files / "pairs.csv",
                  "--out", "-")  # fmt: skip
    assert result.stdout.count(",window,False,") == 2


def test_the_command_asks_mined_pairs_as_their_example_writes_them(all_forms, files):
    (files / "mined.csv").write_text("sx,sy,sx_text,sy_text\nstone,dont,Stone,don't\nriver,lamp,River,\n")
    (files / "bare.csv").write_text("sx,sy\nriver,lamp\n")
    said = {}
    for name in ("mined", "bare"):
        result = call("count", "hosted_gpt2", "--backend", "api", "--pairs", files / f"{name}.csv", "--sample", 10**6,
                      "--out", files / "out.csv")  # fmt: skip
        assert result.exit_code == 0, result.output
        said[name] = result.stderr.splitlines()
        table = read_table(files / "out.csv")
        assert table["count"].tolist()[-1] == truth("River", "lamp") > 0
    assert said["mined"][0] == "taskgram: 0 of 2 numbers are estimates"
    assert "the pieces of 9 to 27 forms" in said["mined"][1] and "9 to 9 forms" in said["bare"][1]


BAD = {
    "offline, and not asked before": ("--backend api --offline --pairs {at}/pairs.csv", "no such file, so no answer"),
    "a too long n-gram": ("--backend api --pairs {at}/long.csv", "the service takes 1,000"),
    "a cache that is none": ("--backend api --cache {at}/pairs.csv --pairs {at}/pairs.csv", "pairs.csv: cannot be"),
    "a document": ("--backend api --document paragraph --pairs {at}/pairs.csv", "--document: for --backend scan"),
    "a field, and bad records": (
        "--backend api --text-field t --skip-bad --pairs {at}/pairs.csv", "--skip-bad, --text-field: for --backend"),
    "halves": ("--backend api --halves --pairs {at}/pairs.csv", "cannot count in halves"),
    "offline text": ("--offline --pairs {at}/pairs.csv", "--offline: for --backend api, it says nothing to scan"),
    "an index with a sample": ("--backend index --sample 5 --pairs {at}/pairs.csv", "--sample: for --backend api"),
    "a sample of none": ("--backend api --sample 0 --pairs {at}/pairs.csv", "0 is not in the range"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(server, files, case):
    command, message = BAD[case]
    before = {path for path in files.iterdir() if path.name != "cache"}
    result = call("count", "hosted_gpt2", *command.format(at=files).split(), "--out", files / "out.csv")
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), repr(result.exception)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("taskgram: ") and message in lines[0], result.stderr
    assert {path for path in files.iterdir() if path.name != "cache"} == before and not server.asked


def test_a_service_that_refuses_or_is_not_there_is_one_line(server, files, monkeypatch):
    monkeypatch.setattr(service_module, "_LONGEST", 0.001)
    arguments = ["count", "hosted_gpt2", "--backend", "api", "--pairs", files / "pairs.csv", "--out", files / "out.csv"]
    server.always = (400, {"error": "[Flask] Invalid index: hosted_gpt2"}, {})
    refused = call(*arguments)
    monkeypatch.setenv("INFINIGRAM_API", "http://127.0.0.1:9/")
    away = call(*arguments)
    for result, message in ((refused, "Invalid index"), (away, "no answer (ConnectionError)")):
        assert result.exit_code == 2 and message in result.stderr and not (files / "out.csv").exists()
        assert sum(line.startswith("taskgram: ") for line in result.stderr.splitlines()) == 1


def test_windows_are_no_documents_to_the_taskgram_lm(server, tmp_path, files):
    grams = read_table(files / "pairs.csv").assign(example_id="e", n=1, start=0)
    pairs = grams[["sx", "sy"]]
    windows = count_table(counter(tmp_path, unit="occurrences"), pairs, singles=True)
    documents = count_table(counter(tmp_path), pairs, singles=True)
    assert len(taskgram_logp(grams, documents)) == 2
    mixed = np.where(documents["sy"].isna(), documents["unit"], "window")
    bad = {"counts: in window and occurrences; count all in documents": windows,
           "counts: in window and documents; count all": documents.assign(unit=mixed),
           "counts: of 2 sources": documents.assign(source=mixed)}  # fmt: skip
    for message, counts in bad.items():
        with pytest.raises(InputError, match=message):
            taskgram_logp(grams, counts)
