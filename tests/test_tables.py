"""Tables and texts in files: what is written comes back, other programs' files are read as written."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgram_utils.errors import InputError
from taskgram_utils.tables import read_table, write_table


@pytest.fixture
def table():
    return pd.DataFrame({
        "example_id": ["001", "b", "1e5"], "task": ["qa", "NA", "null"], "group": ["1", "2", "2"],
        "instruction": ["Translate.\nEnglish: {x}\nVelti:", None, 'say "so", twice'],
        "x": ["Don't, “now”", "हिन्दी", "None"], "y": [" 42", "  two  ", " line\u2028break"],
        "sx": ["nan", "12", "true"], "sy": [None, "0012", "n/a"], "run": ["0", "1", "01"],
        "answers": [["42", "forty, two"], ["a \"b\""], None], "options": [None, [" a", " b"], [" c", " d"]],
        "stop": [["\n\n", "Question:"], None, []],
        "n": pd.array([1, 2, None], "Int64"), "count": [2**53 - 1, 0, 3], "logp": [-1 / 3, -700.25, np.nan],
        "exact": [True, False, True], "date": [20240101, 3, 4],
    })  # fmt: skip


def plain(frame: pd.DataFrame) -> list[dict]:
    """Values alone: null, list, text and number whatever held them."""
    def value(v):
        if np.ndim(v):
            return list(v)
        return None if pd.isna(v) else v.item() if hasattr(v, "item") else v

    return [{k: value(v) for k, v in row.items()} for row in frame.to_dict("records")]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_tables_come_back_as_they_were_written(tmp_path, table, suffix):
    before = table.copy(deep=True)
    assert write_table(table, tmp_path / f"t{suffix}") == 3
    back = read_table(tmp_path / f"t{suffix}")
    pd.testing.assert_frame_equal(table, before)
    assert list(back.columns) == list(table.columns)
    np.testing.assert_allclose(back["logp"], table["logp"], rtol=1e-9)
    assert plain(back.drop(columns="logp")) == plain(table.drop(columns="logp"))
    # And through a second file of another kind.
    write_table(back, tmp_path / "again.parquet")
    write_table(read_table(tmp_path / "again.parquet"), tmp_path / f"twice{suffix}")
    assert plain(read_table(tmp_path / f"twice{suffix}")) == plain(back)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"t{suffix}", "again.parquet", f"twice{suffix}"])


def test_a_plain_text_in_a_csv_stands_for_a_list_of_one(tmp_path):
    (tmp_path / "t.csv").write_text("example_id,answers\na,Paris\nb,\nc,\"[\"\"x\"\"]\"\n")
    answers = read_table(tmp_path / "t.csv")["answers"].tolist()
    assert answers[0] == ["Paris"] and answers[2] == ["x"] and pd.isna(answers[1])


def test_standard_output_is_csv(table, capsys, tmp_path):
    assert write_table(table, "-") == 3
    write_table(table, tmp_path / "t.csv")
    assert capsys.readouterr().out == (tmp_path / "t.csv").read_text()


@pytest.mark.parametrize(("name", "content", "message"), [
    ("t.xlsx", b"", "a table ends in .parquet, .csv, .jsonl"),
    ("t.parquet", b"no parquet", "cannot be read as parquet"),
    ("t.csv", b"", "cannot be read as csv"), ("t.csv", b'a,b\n1,2\n1,2,3\n"', "Row #3: Expected 2 columns, got 3"),
    ("t.csv", b"a,b,c\n1,2,3\n\n1,2\n", "Expected 3 columns, got 2"),
    ("t.csv", b"a,a\n1,2\n", "two columns a"),
    ("t.csv", "a\ncaf\u00e9".encode("latin-1"), "no UTF-8 text .byte 5."),
    ("t.csv", "a\ncaf\u00e9".encode("utf-16"), "is UTF-16 or UTF-32 text and not UTF-8; convert it"),
    ("t.jsonl", '{"a": 1}'.encode("utf-16-le"), "is UTF-16 or UTF-32 text"),
    ("t.jsonl", b'{"a": 1}\n[1]', "line 2: .*no object"),
    ("t.csv", b"answers,n\n['a' 'b'],1", "is no list, such as"),
    ("t.jsonl", b'{"answers": ["a", null]}', "no list of texts"),
    ("t.csv", b"sx;sy;p\na;b;1,5\n", "its columns are parted by ';'; use commas"),
    ("t.csv", b"\x1f\x8b\x08", "is compressed; unpack it first"),
    ("t.tsv", b"a\tb", "a table ends in .parquet, .csv, .jsonl"),
    ("t.csv", b'a,b\n1,"2\n3,4\n', "a quote is opened and not closed"),
    ("t.jsonl", b'{"a": 1', "cannot be read as json"),
    ("t.csv", b"answers\n[1", "cannot be read as csv"),
])  # fmt: skip
def test_unreadable_tables_are_errors_of_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_folders_and_endings_are_named(tmp_path, table):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"t\.csv: no folder .*deep"):
        write_table(table, tmp_path / "deep" / "t.csv")
    with pytest.raises(InputError, match=r"t\.txt: a table ends in \.parquet, \.csv, \.jsonl"):
        write_table(table, tmp_path / "t.txt")
    assert not list(tmp_path.iterdir())


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, table):
    write_table(table, tmp_path / "t.parquet")
    with pytest.raises(Exception, match=r"mixed|Conversion|convert"):
        write_table(table.assign(mixed=[1, "a", {}]), tmp_path / "t.parquet")
    assert len(read_table(tmp_path / "t.parquet").columns) == len(table.columns)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_a_carriage_return_in_a_text_ends_no_row(tmp_path):
    table = pd.DataFrame({"example_id": ["a", "b"], "y": ["one\rtwo", "three\r\nfour"]})
    table["n"] = pd.array([1, None], "Int64")
    write_table(table, tmp_path / "t.csv")
    back = read_table(tmp_path / "t.csv")
    assert back["y"].tolist() == table["y"].tolist() and back["n"].tolist()[0] == 1 and pd.isna(back["n"][1])


# What is text stays text: what reads as a number, a null or a truth value, and what CSV has to put in quotes.
TEXT = st.one_of(
    st.sampled_from(["", "NA", "null", "None", "nan", "007", "2024.0", "1e5", "true", " a ", "[x", '"', "a,b", "\r"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)
ROW = st.fixed_dictionaries({
    **{name: st.none() | TEXT for name in ("example_id", "group", "x", "y", "sy", "output", "model", "run")},
    "answers": st.none() | st.lists(TEXT, max_size=3), "n": st.none() | st.integers(-(2**63), 2**63 - 1),
    "step": st.integers(0, 10), "exact": st.booleans(),
})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=4), st.sampled_from([".parquet", ".csv", ".jsonl"]))
def test_any_table_comes_back_from_any_file(rows, suffix):
    frame = pd.DataFrame(rows).assign(n=pd.array([row["n"] for row in rows], dtype="Int64"))
    with TemporaryDirectory() as folder:
        write_table(frame, Path(folder) / f"t{suffix}")
        back = read_table(Path(folder) / f"t{suffix}")
    assert plain(back) == rows


IDS = ["example_id", "x", "y", "answers", "n"]


@pytest.mark.parametrize(("name", "content", "rows"), [
    ("pandas.csv", b'example_id,x,y,answers,n\n007,,NA,"[\'a\', ""b\'s"", 7]",1.0\n8, b,None,,\n',
     [["007", None, "NA", ["a", "b's", "7"], 1], ["8", " b", "None", None, None]]),
    ("excel.csv", b'\xef\xbb\xbfexample_id,x,y,answers,n\r\n1E5,"a\r\nb",TRUE,"[""a"", 2.50]", 4\r\n',
     [["1E5", "a\r\nb", "TRUE", ["a", "2.50"], 4]]),
    ("r.csv", b'"example_id","x","y","answers","n"\n"1","","NA","Paris",NA\n"2",NA,"no","",3\n',
     [["1", "", "NA", ["Paris"], None], ["2", "NA", "no", None, 3]]),
    ("web.jsonl", b'\xef\xbb\xbf{"example_id": 2024, "x": "", "y": 1.50, "answers": [7, "a"], '
     b'"n": 9007199254740993}\r\n\n'
     b'{"example_id": null, "x": null, "y": true, "answers": "Paris"}\n'
     b'{"example_id": 9007199254740993, "x": "NA", "y": NaN, "answers": null, "n": null}\n',
     [["2024", "", "1.50", ["7", "a"], 2**53 + 1], [None, None, "true", ["Paris"], None],
      ["9007199254740993", "NA", None, None, None]]),
])  # fmt: skip
def test_tables_of_other_programs_are_read_as_written(tmp_path, name, content, rows):
    (tmp_path / name).write_bytes(content)
    assert plain(read_table(tmp_path / name)) == [dict(zip(IDS, row, strict=True)) for row in rows]


def test_what_is_no_text_by_name_is_a_number_if_all_of_it_is(tmp_path):
    (tmp_path / "t.csv").write_text(
        'country,none,quoted,share,count,code\nNA,,"",1e-3,NA,1\nNA,,"",nan,9007199254740993,x\n'
    )
    table = read_table(tmp_path / "t.csv")
    kinds = {"country": "str", **dict.fromkeys(("none", "quoted", "share"), "float64"), "count": "Int64", "code": "str"}
    assert table.dtypes.astype(str).to_dict() == kinds and table["country"].tolist() == ["NA", "NA"]
    assert table["share"][0] == 1e-3 and table["count"][1] == 2**53 + 1 and pd.isna(table["count"][0])


WHOLE = [7, 2**53 + 1]


@pytest.mark.parametrize(("values", "texts"), [
    (pa.array(WHOLE), ["7", str(2**53 + 1)]), (pa.array([7, None]), ["7", None]),
    (pa.array([7.0, None]), ["7", None]), (pa.array([7.0, float("nan")]), ["7", None]),
    (pa.array([7.5, 8.0]), ["7.5", "8"]), (pa.array([True, None]), ["true", None]),
    (pa.array([None, None]), [None, None]),
    (pa.array(["a", None], pa.large_string()), ["a", None]), (pa.array(["", "NA"], pa.string_view()), ["", "NA"]),
    (pa.array(["a", None]).dictionary_encode(), ["a", None]), (pa.array([3, None]).dictionary_encode(), ["3", None]),
])  # fmt: skip
def test_ids_of_every_parquet_type_are_text(tmp_path, values, texts):
    names = ("example_id", "group", "y")
    pq.write_table(pa.table({**dict.fromkeys(names, values), "n": pa.array([1, None])}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert plain(table) == [dict.fromkeys(names, t) | {"n": n} for t, n in zip(texts, [1, None], strict=True)]
    assert all(table[name].dtype == "str" for name in names) and table["n"].dtype == "Int64"


def test_parquet_as_pandas_writes_it(tmp_path):
    frame = pd.DataFrame({"example_id": ["9", "7"], "group": pd.Categorical(["a", None]), "answers": [["1"], None]})
    frame.attrs["said"] = ["a line"]
    frame.set_index("example_id").to_parquet(tmp_path / "t.parquet")
    rows = [{"group": "a", "answers": ["1"], "example_id": "9"},
            {"group": None, "answers": None, "example_id": "7"}]  # fmt: skip
    table = read_table(tmp_path / "t.parquet")
    assert plain(table) == rows and table.attrs == {"said": ["a line"]}
    frame.iloc[[1]].to_parquet(tmp_path / "t.parquet")  # an index of its own, which is no column
    assert list(read_table(tmp_path / "t.parquet").columns) == list(frame.columns)


def test_an_id_that_has_lost_digits_is_refused(tmp_path):
    pd.DataFrame({"example_id": [2.0**53, np.nan]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: .*example_id 9007199254740992 is a float and may have lost"):
        read_table(tmp_path / "t.parquet")


def test_small_numbers_keep_their_digits(tmp_path):
    write_table(pd.DataFrame({"p": [1.23456789e-20, 0.1]}), tmp_path / "t.jsonl")
    assert read_table(tmp_path / "t.jsonl")["p"].tolist() == [1.23456789e-20, 0.1]


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "elsewhere" / "table.csv")
    write_table(pd.DataFrame({"n": [1]}), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").is_symlink() and (tmp_path / "elsewhere" / "table.csv").read_text() == "n\n1\n"
