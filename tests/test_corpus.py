"""Documents in: every unit by a second implementation, and every broken, empty or missing corpus by name and line."""

import gzip
import json
import lzma
import warnings
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import InputError, InputWarning
from taskgram_utils.ngrams import words

BOOK = "preface\n# One\nfirst text\n\nsecond text\n \t\n# Two\n## Two a\nthird #3 text\n\n\n\nfourth text\n"


def json_lines(*texts: str) -> str:
    return "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKS = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstd}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- what a document is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "expected"), [
    ("", [BOOK]),
    ("file", [BOOK]),
    ("record", [line for line in BOOK.split("\n") if line.strip()]),
    ("heading", ["preface\n", "# One\nfirst text\n\nsecond text\n \t\n", "# Two\n",
                 "## Two a\nthird #3 text\n\n\n\nfourth text\n"]),
    ("paragraph", ["preface\n# One\nfirst text", "second text", "# Two\n## Two a\nthird #3 text", "fourth text\n"]),
    ("words:5", ["preface one first text second", "text two two a third", "3 text fourth text"]),
    ("words:1", words(BOOK)),
    ("words:1000", [" ".join(words(BOOK))]),
])  # fmt: skip
def test_units_of_a_text_file(tmp_path, unit, expected):
    assert list(Corpus(write(tmp_path / "book.md", BOOK), unit)) == expected


@pytest.mark.parametrize(("unit", "expected"), [
    ("", ["a b\n\nc", "# d\ne"]), ("record", ["a b\n\nc", "# d\ne"]), ("file", ["a b\n\nc\n# d\ne"]),
    ("heading", ["a b\n\nc", "# d\ne"]), ("paragraph", ["a b", "c", "# d\ne"]), ("words:2", ["a b", "c", "d e"]),
])  # fmt: skip
def test_units_of_json_lines(tmp_path, unit, expected):
    path = write(tmp_path / "corpus.jsonl", json_lines("a b\n\nc", "# d\ne"))
    assert list(Corpus(path, unit)) == expected


def test_a_line_of_white_space_ends_a_paragraph(tmp_path):
    for blank in ("", " \t", "\r", "\f", "\u00a0", "\u2003 "):
        (tmp_path / "book.md").write_text(f"one\n{blank}\ntwo\nthree", newline="")
        assert list(Corpus(tmp_path / "book.md", "paragraph")) == ["one", "two\nthree"], repr(blank)


@given(text=st.text(st.sampled_from("ab \n\t#é'"), max_size=60), size=st.integers(1, 7))
def test_cutting_loses_no_word(tmp_path_factory, text, size):
    path = write(tmp_path_factory.getbasetemp() / "cut.txt", f"word\n{text}")
    expected = words(f"word\n{text}")
    for unit in ("file", "record", "heading", "paragraph", f"words:{size}"):
        assert [word for document in Corpus(path, unit) for word in words(document)] == expected
    lengths = [len(words(document)) for document in Corpus(path, f"words:{size}")]
    assert all(length == size for length in lengths[:-1]) and lengths[-1] <= size


@pytest.mark.parametrize(("unit", "files"), [
    ("paragraph", ["one.jsonl", "one.txt"]), ("heading", ["one.jsonl", "one.txt", "two.txt"]), ("record", ["one.txt"]),
    ("words:2", ["one.jsonl", "one.txt"]), ("file", []), ("", []),
])  # fmt: skip
def test_files_in_which_the_unit_cut_nothing_are_known(tmp_path, unit, files):
    write(tmp_path / "one.txt", "\n# a b\n \n")
    write(tmp_path / "two.txt", "a b\n\nc d")
    write(tmp_path / "more.jsonl", json_lines("a b\n\n# c", "d"))
    write(tmp_path / "one.jsonl", json_lines("a b", "", "c d", "\n\ne"))
    write(tmp_path / "none.txt", " \n\n ")
    corpus = Corpus(tmp_path, unit)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        count = len(list(corpus))
    assert [Path(place).name for place in corpus.seen.uncut] == files and corpus.seen.documents == count
    assert len(told) == bool(files)
    assert not files or str(told[0].message).startswith(f"{len(files)} of 5 files, the first {tmp_path / files[0]}: ")
    for size in (1, 10_000):  # the same from shards
        found = [part for shard in corpus.shards(size) for part in shard]
        assert len(found) > 4 and sum(len(block.begins) for block in corpus.blocks(found)) == count
        assert unit == "record" or [Path(place).name for place in corpus.seen.uncut] == files


@pytest.mark.parametrize("unit", ["page", "words:0", "words:-1", "words:", "words:two", "words:N", "Record"])
def test_unknown_units_are_refused(tmp_path, unit):
    with pytest.raises(InputError, match=f"--document {unit}: not one of file, record, heading, paragraph, words:N"):
        Corpus(write(tmp_path / "a.txt", "text"), unit)


def test_white_space_is_no_document_and_lines_keep_theirs(tmp_path):
    assert list(Corpus(write(tmp_path / "a.jsonl", json_lines("", " \n", " a \n") + "\n  \n"))) == [" a \n"]
    assert list(Corpus(write(tmp_path / "a.txt", "one\r\n\r\n two \n\n"), "record")) == ["one", " two "]


def test_a_line_break_within_a_record_is_no_end_of_it(tmp_path):
    # Characters at which str.splitlines breaks, but no text file does.
    path = write(tmp_path / "a.jsonl", json_lines("one\u2028two\x85three\x0bfour"))
    assert list(Corpus(path)) == ["one\u2028two\x85three\x0bfour"]


# --- files and folders -----------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_sorted_order_through_all_its_text_files(tmp_path):
    write(tmp_path / "b.txt", "third")
    write(tmp_path / "a/z.jsonl", json_lines("first", "second"))
    (tmp_path / "c.csv.gz").write_bytes(b"not read: no known ending")
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"fourth"))
    (tmp_path / "e.ndjson.gz").write_bytes(gzip.compress(json_lines("fünfter").encode()))
    write(tmp_path / "picture.png", "not read")
    corpus = Corpus(tmp_path)
    assert list(corpus) == list(corpus) == ["first", "second", "third", "fourth", "fünfter"]
    assert corpus.bytes == sum(p.stat().st_size for p in corpus.files) and len(corpus.files) == 4
    assert corpus.source == f"{tmp_path.name}, document=file of text, record of others"


LEFT = [".ipynb_checkpoints/a-checkpoint.txt", ".hidden.txt", "._a.txt", "__MACOSX/._a.txt", "deep/.git/x.txt",
        ".index.1234/tokenized.0", "out.jsonl.partial/kept.jsonl", ".writing-out.jsonl", "d.txt.partial"]  # fmt: skip


def test_what_nobody_meant_is_left_out_of_a_folder_and_said(tmp_path):
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "deep/b.txt", "two")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "deep/.DS_Store", "a.txt.lock"):
        write(tmp_path / name, "no text")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = Corpus(tmp_path)
        assert list(plain) == ["one", "two"]
    before = plain.fingerprint(), plain.files
    for name in LEFT:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"\0\xff")  # no UTF-8: nothing of it may be read
    (tmp_path / "deep/.loop").symlink_to(tmp_path)
    corpus = Corpus(tmp_path)
    with pytest.warns(InputWarning, match=r"10 hidden or temporary files or folders left out, the first .*/\._a\.txt"):
        assert list(corpus) == ["one", "two"]
    assert (corpus.fingerprint(), corpus.files) == before
    write(tmp_path / ".hidden.txt", "three")
    assert list(Corpus(tmp_path / ".hidden.txt")) == ["three"]
    assert list(Corpus(write(tmp_path / ".home/texts/a.txt", "four").parent)) == ["four"]


@pytest.mark.parametrize("ending", PACKS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.md"])
def test_a_packed_corpus_is_the_same_corpus(tmp_path, name, ending):
    text = json_lines(*(f"Éva's café {i}" for i in range(2_000)), "हिन्दी")
    packed = PACKS[ending](text.encode())
    (tmp_path / f"{name}.{ending}").write_bytes(packed)
    once = list(Corpus(write(tmp_path / "plain" / name, text)))
    assert list(Corpus(tmp_path / f"{name}.{ending}")) == once
    (tmp_path / f"{name}.{ending}").write_bytes(packed + packed)  # as tools that work in parallel write them
    assert "".join(Corpus(tmp_path / f"{name}.{ending}")) == "".join(once) * 2


def test_parquet_gives_a_document_a_row(tmp_path):
    texts = [f"Éva's café {i}\n\nmore" for i in range(2_500)]
    pd.DataFrame({"id": range(2_500), "text": texts}).to_parquet(tmp_path / "a.parquet", row_group_size=700)
    assert list(Corpus(tmp_path / "a.parquet")) == texts
    assert list(Corpus(tmp_path, "paragraph"))[:3] == ["Éva's café 0", "more", "Éva's café 1"]
    assert list(Corpus(tmp_path, "file")) == ["\n".join(texts)]
    pd.DataFrame({"content": ["here"], "text": ["not here"]}).to_parquet(tmp_path / "a.parquet")
    assert list(Corpus(tmp_path / "a.parquet", text_field="content")) == ["here"]


def test_parquet_without_text_is_named_by_column_and_row(tmp_path):
    pd.DataFrame({"text": ["one"] * 1_500 + [None, "two"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet, row 1501: no text in the column text .*--skip-bad"):
        list(Corpus(tmp_path / "a.parquet"))
    corpus = Corpus(tmp_path / "a.parquet", skip_bad=True)
    assert list(corpus)[-1] == "two" and corpus.skipped == [f"{tmp_path / 'a.parquet'}, row 1501"]
    with pytest.raises(InputError, match=r"no column content \(--text-field; it has: text\)"):
        list(Corpus(tmp_path / "a.parquet", text_field="content"))
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as parquet"):
        list(Corpus(tmp_path / "a.parquet"))


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json_lines("one").encode())
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbftwo")
    assert list(Corpus(tmp_path)) == ["one", "two"]


def test_the_fingerprint_changes_with_the_corpus(tmp_path):
    path = write(tmp_path / "a.txt", "one")
    before = Corpus(path).fingerprint()
    assert Corpus(path).fingerprint() == before
    write(path, "two")
    assert Corpus(path).fingerprint() != before
    write(path, "one")
    write(tmp_path / "b.txt", "one")
    assert Corpus(path).fingerprint() == before != Corpus(tmp_path).fingerprint()


def test_another_field_may_hold_the_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"content": "here", "text": "not here"}\n')
    assert list(Corpus(path, text_field="content")) == ["here"]


# --- bad corpora -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [
    '{"text": "cut off', "plain words", '{"txt": "misspelt"}', '{"text": null}', '{"text": 3}', '{"text": ["a"]}',
    '"a string"', "[1, 2]", "17", "null", "[" * 100_000,
])  # fmt: skip
def test_a_broken_line_is_named_by_file_and_number_or_skipped(tmp_path, line):
    path = write(tmp_path / "a.jsonl", json_lines("one") + "\n" + line + "\n" + json_lines("two"))
    with pytest.raises(InputError, match=r"a\.jsonl, line 3: not a JSON object .*--skip-bad") as caught:
        list(Corpus(path))
    assert "\n" not in str(caught.value)
    corpus = Corpus(path, skip_bad=True)
    assert list(corpus) == ["one", "two"] and corpus.skipped == [f"{path}, line 3"]
    # Reading it again finds the same line, not another one.
    assert list(corpus) == ["one", "two"] and corpus.skipped == [f"{path}, line 3"]


def test_a_field_that_no_record_has_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    with pytest.raises(InputError, match=r'\(2 records without a text under "body" were skipped\)'):
        list(Corpus(tmp_path / "a.jsonl", skip_bad=True, text_field="body"))


def test_nothing_but_broken_lines_is_an_empty_corpus(tmp_path):
    with pytest.raises(InputError, match="holds no document with text in it"):
        list(Corpus(write(tmp_path / "a.jsonl", "broken\n"), skip_bad=True))


def test_a_missing_corpus_and_a_folder_without_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="none: no such file or folder"):
        Corpus(tmp_path / "none")
    write(tmp_path / "a.png", "text")
    with pytest.raises(InputError, match=r"no text in it \(looked for \.txt, .*\.jsonl"):
        Corpus(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.pdf", "a.csv.gz", "a.jsonl.bz2"])
def test_a_file_of_another_kind_is_no_corpus(tmp_path, name):
    with pytest.raises(InputError, match=r"no known ending \(\.txt, .*\.parquet"):
        Corpus(write(tmp_path / name, "some text"))
    assert list(Corpus(write(tmp_path / "README", "text without an ending"))) == ["text without an ending"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "folder/a.txt"])
@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_corpus_is_refused_when_it_is_read(tmp_path, name, text):
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match="holds no document with text in it"):
        list(Corpus(path.parent if "/" in name else path))


def test_what_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    text = json_lines(*(f"document {i}" for i in range(20_000))).encode()
    names = ["latin.txt"]
    for ending, pack in PACKS.items():
        whole = pack(text)
        (tmp_path / f"cut.jsonl.{ending}").write_bytes(whole[: len(whole) // 2])
        (tmp_path / f"plain.txt.{ending}").write_text("not compressed")
        (tmp_path / f"damaged.jsonl.{ending}").write_bytes(whole[:1_500] + bytes(64) + whole[1_564:])
        names += [f"{kind}.{ending}" for kind in ("cut.jsonl", "plain.txt", "damaged.jsonl")]
    for name in names:
        with pytest.raises(InputError, match=name):
            list(Corpus(tmp_path / name))
