"""A corpus in shards, on threads and on a cluster, stopped and gone on with, against the same corpus in one piece."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from taskgram_utils.cli import main
from taskgram_utils.cluster import at_worker
from taskgram_utils.corpus import Corpus
from taskgram_utils.counting import passes
from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError, InputWarning
from tests.counting.scanning import scan

ASKED = ["a", "b", "a b", "c", "é", "d d"]
PAIRS = [("a", "b"), ("c", "a"), ("é", "a b"), ("d d", "d")]


def lines(*texts):
    return "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)


def corpus_of(folder, documents=400, seed=0):
    """A folder of several files, some of which can be cut at any line."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(["a", "b", "c", "d", "é", "x"], rng.integers(1, 9))) for _ in range(documents)]
    part = documents // 4
    folder.mkdir()
    (folder / "1.jsonl").write_text(lines(*texts[: 2 * part]), "utf-8")
    (folder / "2.txt").write_text("\n".join(texts[2 * part : 3 * part]), "utf-8")
    (folder / "3.jsonl").write_text(lines(*texts[3 * part :]), "utf-8")
    return Corpus(folder, "record"), texts


@pytest.fixture
def small(monkeypatch):
    """Shards of 500 bytes."""
    monkeypatch.setattr(passes, "LEAST", 500)
    monkeypatch.setattr(passes, "MOST", 500)


def same(found, other):
    assert found.documents == other.documents and found.tokens == other.tokens
    assert all(np.array_equal(a, b) for a, b in zip(found.found, other.found, strict=True))


# --- shards ----------------------------------------------------------------------------------------------------------

LINES = st.lists(st.text(st.sampled_from("ab é的\r"), max_size=12), min_size=1, max_size=12)


@given(texts=LINES, size=st.integers(1, 60), end=st.booleans(), mark=st.booleans())
def test_ranges_of_a_file_hold_every_line_once(tmp_path_factory, texts, size, end, mark):
    folder = tmp_path_factory.mktemp("ranges")
    for name, text in (("a.txt", "\n".join(texts)), ("a.jsonl", lines(*texts)[:-1])):
        (folder / name).write_bytes(b"\xef\xbb\xbf" * mark + text.encode() + b"\n" * end)
    written = [t for t in texts if t.strip()]
    for name, expected in (("a.txt", [t.rstrip("\r") for t in written]), ("a.jsonl", written)):
        corpus = Corpus(folder / name, "record")
        shards = corpus.shards(size)
        assert all(sum(part.end - part.begin for part in shard) <= size for shard in shards)
        found = [text for shard in shards for block in corpus.blocks(shard) for text in block.texts()]
        assert found == expected
        assert not expected or list(corpus) == expected


def test_small_files_share_a_shard_and_others_stay_whole(tmp_path):
    for k in range(10):
        (tmp_path / f"{k}.txt").write_text(f"text {k}")
    shards = [[part.path.name for part in shard] for shard in Corpus(tmp_path).shards(13)]
    assert shards == [[f"{k}.txt", f"{k + 1}.txt"] for k in range(0, 10, 2)]
    assert [len(shard) for shard in Corpus(tmp_path, "paragraph").shards(1)] == [1] * 10


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("unit", ["documents", "occurrences"])
def test_shards_on_threads_count_as_one_pass_does(tmp_path, small, unit, halves):
    corpus, texts = corpus_of(tmp_path / "corpus")
    once = scan(texts, ASKED, PAIRS, unit, halves, progress=False)
    same(scan(corpus, ASKED, PAIRS, unit, halves, keep=tmp_path / "kept"), once)
    passes.forget(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    same(scan(corpus, ASKED, PAIRS, unit, halves, progress=False), once)
    counter, by_text = (ScanCounter(c, progress=False) for c in (corpus, texts))
    crossed = [("a", "b"), ("a", "d"), ("c", "b"), ("c", "d")]
    assert np.array_equal(*(c.pair_counts(crossed) for c in (counter, by_text)))
    assert counter.documents == len(texts)


def test_what_was_skipped_is_told_in_order_and_by_its_line(tmp_path, small):
    path = tmp_path / "a.jsonl"
    rows = [lines(f"a b {k}") if k % 50 else "broken\n" for k in range(300)]
    path.write_text("".join(rows))
    with pytest.raises(InputError, match=r"a\.jsonl, line (1|51|101|151|201|251): not a JSON object"):
        scan(path, ["a"], progress=False)
    corpus = Corpus(path, skip_bad=True)
    assert scan(corpus, ["a"], progress=False).found.ngrams.tolist() == [294]
    assert corpus.skipped == [f"{path}, line {k + 1}" for k in range(0, 300, 50)]


@pytest.mark.parametrize(("english", "expected"), [(100, True), (600, False)])
def test_shards_and_long_files_say_together_whether_spaces_part_words(tmp_path, small, english, expected):
    (tmp_path / "corpus").mkdir()
    for k in range(3):  # of 20 letters and 11
        text = "the cat sat on the mat and\n" * english + "東京タワーは東京にある。\n" * 300
        (tmp_path / "corpus" / f"{k}.txt").write_text(text)
    found = scan(tmp_path / "corpus", ["cat"], progress=False)
    assert found.unspaced is expected and found.documents == 3
    assert count_table(found, ngrams=["cat"])["exact"].tolist() == [not expected]
    assert scan([text], ["cat"], progress=False).unspaced is expected


@pytest.mark.parametrize("halves", [False, True])
def test_shards_say_how_many_documents_there_are_and_where_the_unit_cut_nothing(tmp_path, small, halves):
    (tmp_path / "corpus").mkdir()
    for k in range(8):
        (tmp_path / f"corpus/{k}.txt").write_text("some words\n\n" * (40 if k % 4 else 1))
    corpus = Corpus(tmp_path / "corpus", "paragraph")
    assert len(corpus.shards(500)) > 2
    with pytest.warns(InputWarning, match="2 of 8 files, the first .*0.txt: --document paragraph cut nothing") as told:
        found = scan(corpus, ["some"], halves=halves, progress=False, keep=tmp_path / "kept")
    assert found.documents == corpus.seen.documents == 242 and corpus.summary() == "242 documents (paragraph)"
    assert [Path(place).name for place in corpus.seen.uncut] == ["0.txt", "4.txt"] and len(told) == 1
    once = corpus.seen.uncut
    with pytest.warns(InputWarning):  # from what was kept
        scan(corpus, ["some"], halves=halves, progress=False, keep=tmp_path / "kept")
    assert corpus.seen.uncut == once


def test_a_corpus_without_text_is_refused_however_many_shards_it_has(tmp_path, small):
    (tmp_path / "a.jsonl").write_text(lines(" ") * 100)
    with pytest.raises(InputError, match="holds no document with text in it"):
        scan(tmp_path / "a.jsonl", ["a"], progress=False)


def test_a_file_that_vanishes_is_named(tmp_path, small, monkeypatch):
    corpus, _ = corpus_of(tmp_path / "corpus")
    shards = Corpus.shards

    def then_lost(self, size):
        found = shards(self, size)
        (tmp_path / "corpus/3.jsonl").unlink()
        return found

    monkeypatch.setattr(Corpus, "shards", then_lost)
    with pytest.raises(InputError, match=r"3\.jsonl: cannot be read \(.*No such file") as caught:
        scan(corpus, ASKED, progress=False)
    assert "\n" not in str(caught.value)


# --- stopped and gone on with ----------------------------------------------------------------------------------------


def counted_shards(monkeypatch):
    """The shards that are counted from now on."""
    seen, count = [], passes._found

    def note(queries, shard, *told):
        seen.append(shard)
        return count(queries, shard, *told)

    monkeypatch.setattr(passes, "_found", note)
    return seen


def test_a_killed_command_goes_on_at_the_shard(tmp_path, small, monkeypatch):
    corpus, texts = corpus_of(tmp_path / "corpus", 2_000)
    (tmp_path / "asked.csv").write_text("sx\n" + "\n".join(ASKED) + "\n")
    (tmp_path / "pairs.csv").write_text("sx,sy\n" + "".join(f"{x},{y}\n" for x, y in PAIRS))
    out = tmp_path / "counts.csv"
    command = ["count", str(tmp_path / "corpus"), "--document", "record", "--halves", "--out", str(out),
               "--ngrams", str(tmp_path / "asked.csv"), "--pairs", str(tmp_path / "pairs.csv")]  # fmt: skip
    slow = (
        "import sys, time; from taskgram_utils.counting import passes; from taskgram_utils.cli import main\n"
        "passes.LEAST, passes.MOST, keep = 500, 500, passes._keep\n"
        "def keep_some(folder, *what):\n"
        "    keep(folder, *what)\n"
        "    time.sleep(900 * (len(list(folder.glob('scan-*.found'))) >= 20))\n"
        "passes._keep = keep_some\n"
        "main(sys.argv[1:])"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, *command], stderr=subprocess.PIPE)
    kept = tmp_path / "counts.csv.partial"
    while process.poll() is None and len(list(kept.glob("*/scan-*.found"))) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(list(kept.glob("*/scan-*.found")))
    assert process.returncode == -signal.SIGKILL and not out.exists() and before >= 20
    seen, shards = counted_shards(monkeypatch), len(corpus.shards(500))
    assert CliRunner().invoke(main, command).exit_code == 0
    assert len(seen) == shards - before > 0  # the pass that counted documents was kept, too
    assert not kept.exists()
    table = pd.read_csv(out)
    once = scan(texts, ASKED, PAIRS, halves=True, progress=False)
    expected = np.hstack([once.found.pairs, once.found.ngrams]).ravel()
    assert table["count"].tolist() == expected.tolist()


def test_what_is_kept_of_another_question_or_corpus_is_not_used(tmp_path, small, monkeypatch):
    corpus, _ = corpus_of(tmp_path / "corpus")
    shards = len(corpus.shards(500))
    seen, keep = counted_shards(monkeypatch), tmp_path / "kept"
    for ngrams, unit, fresh in ((ASKED, "documents", True), (ASKED, "documents", False), (ASKED[:2], "documents", True),
                                (ASKED, "occurrences", True)):  # fmt: skip
        seen.clear()
        scan(corpus, ngrams, PAIRS, unit, progress=False, keep=keep)
        assert len(seen) == fresh * shards
    seen.clear()
    path = tmp_path / "corpus/1.jsonl"
    before = path.stat()
    path.write_text(path.read_text().replace("a b", "b a"))  # of the same size, and made to look as old
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    scan(corpus, ASKED, PAIRS, progress=False, keep=keep)
    assert len(seen) == shards


def test_what_is_kept_but_damaged_is_counted_again_and_nothing_else_is_removed(tmp_path, small, monkeypatch):
    corpus, texts = corpus_of(tmp_path / "corpus")
    keep = tmp_path / "kept"
    scan(corpus, ASKED, PAIRS, progress=False, keep=keep)
    files = sorted(keep.glob("*/*.found"))
    whole = files[3].read_bytes()
    part = len(whole) // 4
    overwritten = whole[:part] + bytes(255 - b for b in whole[part : 2 * part]) + whole[2 * part :]
    for k, content in enumerate((b"", whole[: 2 * part], b"x" * 99, overwritten)):
        files[k].write_bytes(content)
    seen = counted_shards(monkeypatch)
    same(scan(corpus, ASKED, PAIRS, progress=False, keep=keep), scan(texts, ASKED, PAIRS, progress=False))
    assert len(seen) - 1 == 4  # and the one pass over the texts
    (keep / "thesis.txt").write_text("mine")
    passes.forget(keep)
    assert [p.name for p in keep.rglob("*")] == ["thesis.txt"]


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path, small):
    path = tmp_path / "a.jsonl"
    changes = lambda: os.truncate(path, 300), lambda: path.open("a").write(lines("a")), lambda: os.utime(path, (1, 1))
    for change in changes:
        path.write_text(lines(*["a b"] * 100))
        blocks = Corpus(path).blocks()
        next(blocks)
        change()
        with pytest.raises(InputError, match=r"a\.jsonl: was changed while it was read"):
            list(blocks)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, small, monkeypatch):
    corpus, _ = corpus_of(tmp_path / "corpus")

    def full(file, *_):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(passes.np, "savez", full)
    with pytest.raises(InputError, match=r"scan-\d+\.found: cannot be written \(No space left on device\)"):
        scan(corpus, ASKED, progress=False, keep=tmp_path / "kept")
    assert not [p for p in (tmp_path / "kept").rglob("*") if p.is_file()]


# --- a cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as made:
        yield made


def test_a_cluster_counts_as_one_pass_does_and_is_named_in_three_ways(tmp_path, small, cluster):
    corpus, texts = corpus_of(tmp_path / "corpus")
    once = scan(texts, ASKED, PAIRS, halves=True, progress=False)
    with Client(cluster) as client:
        for scheduler in (cluster.scheduler_address, cluster, client):
            same(scan(corpus, ASKED, PAIRS, halves=True, progress=False, scheduler=scheduler), once)
        assert client.status == "running"
        with pytest.raises(InputError, match="line 3: not a JSON object"):
            (tmp_path / "bad.jsonl").write_text(lines("a", "b") + "broken\n")
            scan(tmp_path / "bad.jsonl", ["a"], progress=False, scheduler=client)


def test_workers_elsewhere_are_sent_whole_paths(tmp_path, small, cluster, monkeypatch):
    (tmp_path / "own.jsonl").write_text(lines(*["a b", "c"] * 40))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with Client(cluster.scheduler_address) as client:
        client.run(os.chdir, str(tmp_path / "elsewhere"))
        found = scan(Corpus("own.jsonl"), ["a"], progress=False, scheduler=client)
        assert (found.documents, found.counts(["a"]).ngrams.tolist()) == (80, [40])
        texts = Corpus("own.jsonl")
        part = passes.Part.whole(tmp_path / "own.jsonl")
        (tmp_path / "own.jsonl").unlink()
        with pytest.raises(InputError, match=r"worker tcp://.*own\.jsonl"):
            client.submit(at_worker, passes._found, None, passes._Shard(texts, [part], "documents", False, 0)).result()


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path, small, cluster, monkeypatch):
    corpus, texts = corpus_of(tmp_path / "corpus", 4_000)
    keep, killed = passes._keep, []
    with Client(cluster) as client:
        workers = list(client.run(os.getpid).values())

        def then_kill(*args):
            keep(*args)
            if not killed:
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)

        monkeypatch.setattr(passes, "_keep", then_kill)
        found = scan(corpus, ASKED, PAIRS, halves=True, progress=False, scheduler=client)
        client.wait_for_workers(2, timeout=900)
        assert killed and workers[0] not in client.run(os.getpid).values()
    same(found, scan(texts, ASKED, PAIRS, halves=True, progress=False))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "tcp://", "http://127.0.0.1:9"])
def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch, address):
    monkeypatch.setattr("taskgram_utils.cluster._PATIENCE", 0.5)
    corpus, _ = corpus_of(tmp_path / "corpus")
    with pytest.raises(InputError, match=f"--scheduler {address}: no Dask scheduler answers there") as caught:
        scan(corpus, ["a"], progress=False, scheduler=address)
    assert "\n" not in str(caught.value)


def test_texts_in_memory_are_not_sent_to_a_cluster():
    with pytest.raises(InputError, match="texts in memory"):
        scan(["a"], ["a"], scheduler="tcp://127.0.0.1:9")


def test_a_file_in_the_place_of_what_is_kept_is_named(tmp_path):
    with pytest.raises(InputError, match=r"scan-0\.found: cannot be written"):
        (tmp_path / "kept").write_text("")
        passes._keep(tmp_path / "kept", "scan", 0, passes.Found(np.zeros((1, 2)), np.zeros((1, 2)), 1, 1, 1, 0))
