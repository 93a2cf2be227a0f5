"""Files as blocks of bytes, against reading them as text line by line."""

import gzip
import json
import lzma
import os
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from taskgram_utils import reading
from taskgram_utils.corpus import DOCUMENT_UNITS, Corpus
from taskgram_utils.errors import InputError
from taskgram_utils.reading import Block, Part, as_blocks

PIECES = ["a", "b c", "é", "的", "\n", "\n\n", "\r\n", " ", "\t", "# h\n", "\u2028", "\x85", "#", "x" * 20]
SPACES = "".join(chr(c) for c in range(0x110000) if chr(c).isspace())


@given(text=st.lists(st.sampled_from(PIECES), max_size=40).map("".join), size=st.integers(3, 40), n=st.integers(1, 5))
@example(text="a\r\n\r\nb\n \n\nc\n\n\n\nd", size=3, n=1)
def test_pieces_of_a_file_make_the_same_documents_whatever_their_size(tmp_path_factory, text, size, n):
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(b"\xef\xbb\xbfw\n" + text.encode())
    for unit in (*DOCUMENT_UNITS[:-1], f"words:{n}"):
        once = list(Corpus(path, unit))
        with mock.patch.object(reading, "CHUNK", size):
            assert list(Corpus(path, unit)) == once


VALUES = st.one_of(st.text(max_size=8), st.integers(), st.none(), st.lists(st.integers(), max_size=2), st.booleans())
LINES = st.one_of(
    st.dictionaries(st.sampled_from(["text", "other", "id"]), VALUES, max_size=3).map(json.dumps),
    st.text(max_size=8).map(lambda t: json.dumps({"text": t, "meta": {"text": 3}}, ensure_ascii=False)),
    st.sampled_from(['{"text": "a", "text": "b"}', '{"text": "a"}{"text": "b"}', '{"text":', '"b"}', "[]", " ", "null",
                     "\0", '{"text": "\\ud83d\\ude00 \\u0000"}', '{"text": "\\ud800"}', '{"text": "a\tb"}',
                     '{"text": NaN}', " {}", '{"text": "a"} ']),
)  # fmt: skip


@given(lines=st.lists(LINES, min_size=1, max_size=8), size=st.sampled_from([1, 50, 1 << 20]))
def test_json_lines_are_read_as_the_standard_library_reads_them(tmp_path_factory, lines, size):
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8"))
    texts, bad = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            text = record.get("text") if isinstance(record, dict) else None
            (bad if not isinstance(text, str) else texts).append(number if not isinstance(text, str) else text)
    corpus = Corpus(path, skip_bad=True)
    with mock.patch.object(reading, "CHUNK", size):
        found = [text for block in corpus.blocks([Part.whole(path)]) for text in block.texts()]
    assert found == [text for text in texts if text and not text.isspace()]
    assert corpus.skipped == [f"{path}, line {number}" for number in bad]


@given(texts=st.lists(st.text(st.sampled_from(SPACES + "a\u200b é"), max_size=5), max_size=6))
@example(texts=list(SPACES))
def test_white_space_is_what_python_takes_for_it(texts):
    assert Block.of(texts).without_blank().texts() == [t for t in texts if t and not t.isspace()]


@given(texts=st.lists(st.text(max_size=5), max_size=6))
def test_blocks_of_texts_give_them_back(texts):
    with mock.patch.object(reading, "CHUNK", 7):
        blocks = list(as_blocks(texts))
    assert [text for block in blocks for text in block.texts()] == texts


def test_parquet_columns_of_every_text_type(tmp_path):
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        column = pa.array(["one", "é", "one", "three"]).cast(kind)
        parquet.write_table(pa.table({"text": column}), tmp_path / "a.parquet", row_group_size=3)
        told = []
        corpus = Corpus(tmp_path / "a.parquet")
        found = [text for block in corpus.blocks(report=told.append) for text in block.texts()]
        assert found == ["one", "é", "one", "three"] and sum(told) == corpus.bytes
    parquet.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="the column text holds int64, no text"):
        list(Corpus(tmp_path / "a.parquet", skip_bad=True))
    broken = pa.array([b"fine", b"not \xff fine"]).view(pa.string())
    parquet.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as parquet \(Invalid UTF8"):
        list(Corpus(tmp_path / "a.parquet"))


def test_all_bytes_are_reported_once(tmp_path):
    (tmp_path / "a.txt").write_text("line\n" * 1000)
    (tmp_path / "b.jsonl").write_text('{"text": "a"}\n' * 1000)
    corpus, told = Corpus(tmp_path, "record"), []
    with mock.patch.object(reading, "CHUNK", 100):
        for parts in ((), *corpus.shards(700)):
            told.append(0)
            for _ in corpus.blocks(parts, lambda size: told.append(size)):
                pass
    assert sum(told) >= 2 * corpus.bytes


# --- bad files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.md"])
@pytest.mark.parametrize("unit", ["record", "file", "paragraph", "heading", "words:3"])
def test_a_line_that_does_not_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, name, unit):
    monkeypatch.setattr(reading, "LIMIT", 1000)
    monkeypatch.setattr(reading, "CHUNK", 64)
    (tmp_path / name).write_bytes(b"a" * 3000 + b"\n")
    what = "(line|JSON line|word|paragraph|heading|file)"
    with pytest.raises(InputError, match=rf"{name}: a {what} of more than .* is no document") as caught:
        list(Corpus(tmp_path / name, unit))
    assert "\n" not in str(caught.value)
    for shard in Corpus(tmp_path / name, unit).shards(500)[:1]:  # where a shard ends within such a line, too
        with pytest.raises(InputError, match="is no document"):
            list(Corpus(tmp_path / name, unit).blocks(shard))


def test_records_that_make_one_document_are_bounded_too(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "some words"}\n' * 200)
    assert len(list(Corpus(tmp_path / "a.jsonl", "file"))) == 1
    monkeypatch.setattr(reading, "LIMIT", 1000)
    monkeypatch.setattr(reading, "CHUNK", 400)
    with pytest.raises(InputError, match=r"a\.jsonl: a file of more than .* is no document"):
        list(Corpus(tmp_path / "a.jsonl", "file"))


def test_streams_of_xz_after_the_first_count_or_are_refused(tmp_path):
    one, two = lzma.compress(b"one\n"), lzma.compress(b"two\n" * 3_000)
    path = tmp_path / "a.txt.xz"
    path.write_bytes(one + bytes(8) + two)  # padding between streams is allowed
    assert len(list(Corpus(path, "record"))) == 3_001
    for damaged in (one + b"X" + two[1:], one + two[:-9], one + b"anything", two[:40], one + two + b"\0more"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.txt\.xz: cannot be read"):
            list(Corpus(path, "record"))
    for name in ("b.txt.xz", "b.txt.gz", "b.jsonl.zst"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match=rf"{name}: is empty"):
            list(Corpus(tmp_path / name))


def test_what_is_in_a_folder_is_read_or_named(tmp_path):
    (tmp_path / "A.TXT").write_text("one")
    (tmp_path / "B.Jsonl.GZ").write_bytes(gzip.compress(b'{"text": "two"}'))
    assert list(Corpus(tmp_path)) == ["one", "two"]
    (tmp_path / "c.txt").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"c\.txt: is no file, or a link to none"):
        Corpus(tmp_path)
    (tmp_path / "c.txt").unlink()
    os.mkfifo(tmp_path / "c.txt")
    with pytest.raises(InputError, match=r"c\.txt: is no file"):
        Corpus(tmp_path)
    (tmp_path / "c.txt").unlink()
    (tmp_path / "index").mkdir()
    (tmp_path / "index/tokenized.0").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds an infini-gram index .*move it elsewhere"):
        Corpus(tmp_path)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    for folder, text in (("corpus", "one"), ("elsewhere", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(text)
    (tmp_path / "corpus/linked").symlink_to(tmp_path / "elsewhere")
    assert list(Corpus(tmp_path / "corpus")) == ["one", "two"]
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "corpus")
    with pytest.raises(InputError, match="a link to a folder that holds it"):
        Corpus(tmp_path / "elsewhere")


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.txt").write_text("one")
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(InputError, match=r"closed: cannot be read \(Permission denied\)"):
        Corpus(tmp_path)


@pytest.mark.parametrize("size", [5, 1 << 22])
@pytest.mark.parametrize("unit", ["record", "file", "paragraph"])
def test_what_is_no_utf8_is_named_by_its_byte(tmp_path, monkeypatch, size, unit):
    monkeypatch.setattr("taskgram_utils.reading.CHUNK", size)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\n\ncaf\xe9 fox\n")
    with pytest.raises(InputError, match=r"\(invalid continuation byte at byte 15; convert it, say by iconv\)"):
        list(Corpus(tmp_path / "a.txt", unit))


def test_a_damaged_column_name_is_no_crash(tmp_path):
    parquet.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"text", b"t\xcfxt"))
    with pytest.raises(InputError, match=r"a\.parquet: (cannot be read as parquet|no column text)"):
        list(Corpus(tmp_path / "a.parquet"))


def test_a_name_that_is_no_unicode_can_be_written_down(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.txt"))
    path.write_text("text")
    assert Corpus(path).source.startswith("bad\\udcff.txt") and Corpus(path).fingerprint()


def test_documents_in_memory_are_texts():
    with pytest.raises(InputError, match="document 2: 1 is not text"):
        list(as_blocks(["a", 1]))


def test_a_nul_byte_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\0\nthree")
    for unit in ("record", "file", "paragraph", "words:1"):
        with pytest.raises(InputError, match=r"a\.txt: holds a NUL byte, byte 7, so it is no text; remove it"):
            list(Corpus(tmp_path / "a.txt", unit))
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\n{"text": "tw\0o"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: not a JSON object"):
        list(Corpus(tmp_path / "a.jsonl"))
    (tmp_path / "utf16.txt").write_bytes("text".encode("utf-16"))
    with pytest.raises(InputError, match=r"utf16\.txt: "):
        list(Corpus(tmp_path / "utf16.txt"))


def test_a_file_that_is_gone_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    corpus = Corpus(tmp_path)
    blocks = corpus.blocks([Part.whole(path) for path in corpus.files])
    next(blocks)
    (tmp_path / "b.txt").unlink()
    with pytest.raises(InputError, match=r"b\.txt: cannot be read \(.*No such file"):
        next(blocks)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_wide_text_is_named_and_how_to_convert_it(tmp_path, encoding, name):
    text = '{"text": "Ein Café in Wien"}\n' * 3
    (tmp_path / name).write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match=r"is UTF-16 or UTF-32 text and not UTF-8; convert it, say by iconv"):
        list(Corpus(tmp_path / name, skip_bad=True))
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(Corpus(tmp_path / name))


def test_a_few_nulls_are_no_wide_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\0two " * 9)
    with pytest.raises(InputError, match="holds a NUL byte, byte 3"):
        list(Corpus(tmp_path / "a.txt"))
