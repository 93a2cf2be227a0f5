"""A run: tables pulled by name, keys that follow parameters and code, two processes, kills, and files of tables."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgram_utils import run as run_module
from taskgram_utils.errors import InputError
from taskgram_utils.run import Recipe, Run, code_hash, open_run_file, read_table, read_yaml, write_table

MADE: list[str] = []


@pytest.fixture(autouse=True)
def nothing_made():
    MADE.clear()


def numbers(run):
    MADE.append("numbers")
    return pd.DataFrame({"number": range(run["size"])})


def squares(run):
    MADE.append("squares")
    return run.table("numbers").assign(square=lambda t: t["number"] ** run["power"])


def letters(run, out):
    MADE.append("letters")
    out.mkdir()
    (out / "a.txt").write_text("a" * run["size"])


def part(run, name, step):
    MADE.append(f"part {name} {step}")
    return pd.DataFrame({"name": [name], "step": [int(step)]})


def parts(run):
    MADE.append("parts")
    return pd.concat([run.table(f"part/{n}/{s}") for n in ("a", "b") for s in (1, 2)], ignore_index=True)


RECIPES = {
    "numbers": Recipe(numbers, (), ("size",)),
    "squares": Recipe(squares, ("numbers",), ("power",)),
    "letters": Recipe(letters, (), ("size",), suffix="", path=True),
    "part/*": Recipe(part),
    "parts": Recipe(parts, lambda run: tuple(f"part/{n}/{s}" for n in ("a", "b") for s in (1, 2))),
}


def opened(folder: Path, recipes=None, **changes) -> Run:
    return Run("test", {"size": 4, "power": 2, "other": "x"} | changes, folder, recipes or RECIPES)


# --- pull, not push --------------------------------------------------------------------------------------------------


def test_a_table_is_made_with_what_it_needs_and_then_read_where_it_stands(tmp_path):
    assert opened(tmp_path).table("squares")["square"].tolist() == [0, 1, 4, 9]
    assert MADE == ["squares", "numbers"]
    assert opened(tmp_path).table("squares")["square"].tolist() == [0, 1, 4, 9]
    assert opened(tmp_path).table("numbers")["number"].tolist() == [0, 1, 2, 3]
    assert MADE == ["squares", "numbers"]


def test_a_folder_is_a_table_too_and_names_carry_parts(tmp_path):
    run = opened(tmp_path)
    assert (run.path("letters") / "a.txt").read_text() == "aaaa"
    assert run.table("parts").to_dict("list") == {"name": ["a", "a", "b", "b"], "step": [1, 2, 1, 2]}
    assert (tmp_path / "part" / "b" / "2.parquet").exists()
    run.table("part/b/2")
    assert MADE == ["letters", "parts", "part a 1", "part a 2", "part b 1", "part b 2"]


@pytest.mark.parametrize("name", ["nothing", "numbers/1", "part", ""])
def test_unknown_tables_are_named_with_those_there_are(tmp_path, name):
    with pytest.raises(InputError, match=f"^table {name}: not one of letters, numbers, part/\\*, parts, squares$"):
        opened(tmp_path).table(name)


def test_a_parameter_that_the_run_file_lacks_is_named(tmp_path):
    with pytest.raises(InputError, match="run test: no parameter colour in its run file"):
        opened(tmp_path)["colour"]


def test_what_was_deleted_is_made_again(tmp_path):
    opened(tmp_path).table("squares")
    (tmp_path / "numbers.parquet").unlink()
    opened(tmp_path).table("squares")
    assert MADE == ["squares", "numbers"]  # the squares stand as they are
    opened(tmp_path).table("numbers")
    assert MADE == ["squares", "numbers", "numbers"]


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "made"), [
    ({"power": 3}, ["squares"]), ({"size": 5}, ["squares", "numbers"]), ({"other": "y"}, []), ({}, []),
])  # fmt: skip
def test_a_parameter_makes_stale_what_reads_it_and_what_is_made_from_that(tmp_path, change, made):
    opened(tmp_path).table("squares")
    MADE.clear()
    table = opened(tmp_path, **change).table("squares")
    assert made == MADE
    assert table["square"].tolist() == [n ** change.get("power", 2) for n in range(change.get("size", 4))]


def test_a_stale_folder_is_replaced_whole(tmp_path):
    folder = opened(tmp_path).path("letters")
    (folder / "left.txt").write_text("of another making")
    opened(tmp_path, size=2).path("letters")
    assert [p.name for p in folder.iterdir()] == ["a.txt"] and (folder / "a.txt").read_text() == "aa"


def test_other_code_makes_stale(tmp_path):
    def twice(run):
        return run.table("numbers") * 2

    def thrice(run):
        return run.table("numbers") * 3

    keys = set()
    for make in (twice, thrice):
        run = opened(tmp_path, RECIPES | {"multiple": Recipe(make, ("numbers",))})
        keys.add(run.key("multiple"))
        assert run.table("multiple")["number"].tolist() == [n * (2 if make is twice else 3) for n in range(4)]
    assert len(keys) == 2 and MADE == ["numbers"]


def test_code_of_a_room_and_of_what_it_imports_is_in_the_key(tmp_path, monkeypatch):
    package = tmp_path / "house"
    (package / "floor").mkdir(parents=True)
    (package / "cellar.py").write_text("WINE = 1\n")
    (package / "floor" / "room.py").write_text("import json\nfrom house.cellar import WINE\n")
    (package / "floor" / "other.py").write_text("from house import cellar\n")
    (package / "attic.py").write_text("DUST = 1\n")
    monkeypatch.setattr(run_module, "PACKAGE", package)

    def keys():
        run_module._imports.cache_clear()
        return [code_hash(numbers, *rooms) for rooms in ((), ("floor.room",), ("floor.other",), ("attic",))]

    before = keys()
    assert keys() == before and len(set(before)) == 4
    (package / "cellar.py").write_text("WINE = 2\n")
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [True, False, False, True]
    run_module._imports.cache_clear()


def test_inputs_are_in_the_key(tmp_path):
    weights = tmp_path / "weights"
    recipes = {"copy": Recipe(numbers, (), (), inputs=lambda run: weights.read_text())}
    found = set()
    for text in ("one", "two"):
        weights.write_text(text)
        found.add(opened(tmp_path, recipes).key("copy"))
    assert len(found) == 2


def test_keys_are_the_same_in_another_process(tmp_path):
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_run
        print(test_run.opened(Path({str(tmp_path)!r})).key("squares"))
    """
    assert python(code).stdout.strip() == opened(tmp_path).key("squares")


def test_the_manifest_says_what_stands_and_how_it_was_made(tmp_path):
    run = opened(tmp_path)
    run.table("squares")
    run.table("part/a/1")
    content = run.manifest()
    assert json.loads((tmp_path / "manifest.json").read_text()) == json.loads(json.dumps(content, default=str))
    assert content["run"] == "test" and content["parameters"]["power"] == 2
    assert set(content["made"]) == {"numbers.parquet", "squares.parquet", "part/a/1.parquet"}
    assert content["made"]["squares.parquet"]["key"] == run.key("squares")
    assert content["made"]["squares.parquet"]["rows"] == 4
    assert content["versions"]["pandas"] == pd.__version__


# --- two at once, and killed -----------------------------------------------------------------------------------------

SLOW = """
    import sys, time
    from pathlib import Path
    import pandas as pd
    from taskgram_utils.run import Recipe, Run

    folder, wait = Path(sys.argv[1]), float(sys.argv[2])

    def slow(run, out):
        with (folder / "log").open("a") as log:
            log.write("begun\\n")
        out.mkdir()
        (out / "half.txt").write_text("half")
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            time.sleep(0.02)
        (out / "whole.txt").write_text("whole")

    run = Run("slow", {}, folder, {"slow": Recipe(slow, suffix="", path=True)})
    print(sorted(p.name for p in run.path("slow").iterdir()))
"""


def python(code: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True,
                          text=True, check=True)  # fmt: skip


def start(script: Path, *arguments) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "slow.py"
    path.write_text(textwrap.dedent(SLOW))
    return path


def begun(folder: Path, times: int, process: subprocess.Popen) -> None:
    log = folder / "log"
    while not (log.exists() and log.read_text().count("begun") == times and list(folder.glob(".*-slow/half.txt"))):
        assert process.poll() is None
        time.sleep(0.02)


def test_two_processes_wait_for_each_other_and_make_once(tmp_path, script):
    folder = tmp_path / "run"
    folder.mkdir()
    first = start(script, folder, 2)
    begun(folder, 1, first)
    second = start(script, folder, 2)
    for process in (first, second):
        assert process.communicate(timeout=900)[0].strip() == "['half.txt', 'whole.txt']"
        assert process.returncode == 0
    assert (folder / "log").read_text().count("begun") == 1


def test_a_killed_making_leaves_nothing_half_written_and_the_next_one_makes_it_whole(tmp_path, script):
    folder = tmp_path / "run"
    folder.mkdir()
    process = start(script, folder, 60)
    begun(folder, 1, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "slow").exists() and not (folder / "slow.json").exists()
    # The lock died with its holder, and what was left is no hindrance.
    again = start(script, folder, 0)
    assert again.communicate(timeout=900)[0].strip() == "['half.txt', 'whole.txt']"
    assert (folder / "log").read_text().count("begun") == 2
    assert sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") == ["log", "slow", "slow.json"]


def test_a_failed_making_leaves_nothing_and_the_last_good_table_is_not_served_as_current(tmp_path):
    opened(tmp_path).path("letters")

    def fails(run, out):
        out.mkdir()
        (out / "half.txt").write_text("half")
        raise RuntimeError("no more paper")

    recipes = RECIPES | {"letters": Recipe(fails, (), ("size",), suffix="", path=True)}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no more paper"):
            opened(tmp_path, recipes).path("letters")
    assert not list(tmp_path.rglob("half.txt"))
    assert opened(tmp_path).path("letters").is_dir() and MADE == ["letters"]


def test_a_resumable_making_is_handed_what_the_failed_one_left(tmp_path):
    def climbs(run, out):
        out.mkdir(exist_ok=True)
        done = len(list(out.iterdir()))
        (out / str(done)).write_text("")
        if done < 2:
            raise KeyboardInterrupt

    run = opened(tmp_path, {"climb": Recipe(climbs, suffix="", path=True, resumable=True)})
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.path("climb")
        assert not (tmp_path / "climb").exists()
    assert sorted(p.name for p in run.path("climb").iterdir()) == ["0", "1", "2"]


def test_what_killed_makings_of_other_keys_left_goes_with_the_next(tmp_path):
    left = [".0123abcd-climb", ".0123abcd-climb.partial", "..0123abcd-climb.building",
            ".0123abcd-climb-2", "x.0123abcd-climb", ".writing-.0123abcd-numbers.parquet",
            ".0123abcd-more-numbers.parquet"]
    for name in left:
        (tmp_path / name).mkdir()
    recipes = RECIPES | {"climb": Recipe(lambda run, out: out.mkdir(), suffix="", path=True, resumable=True)}
    opened(tmp_path, recipes).path("climb")
    assert {n for n in left if (tmp_path / n).exists()} == {*left[3:]}
    opened(tmp_path, recipes).path("numbers")
    assert {n for n in left if (tmp_path / n).exists()} == {left[3], left[4], left[6]}


# --- run files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    runs = tmp_path / "notebooks" / "runs"
    runs.mkdir(parents=True)
    (runs / "small.yaml").write_text("size: 4\nkappa: 1.0\ngamma: null\nsteps: all\norders: [1, 2]\nfast: true\n")
    (runs / "broken.yaml").write_text("size: [4\n")
    (runs / "list.yaml").write_text("- size\n")
    (tmp_path / "notebooks" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks" / "deep")
    return tmp_path


def test_a_copy_of_a_run_file_writes_into_a_folder_of_its_own(project, tmp_path_factory):
    copy = tmp_path_factory.mktemp("own") / "mine.yaml"
    copy.write_text("name: small\nsize: 3\n")
    assert open_run_file(str(copy), RECIPES).name == "mine"
    copy.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"mine\.yaml: is UTF-16 text"):
        open_run_file(str(copy), RECIPES)


def test_a_run_is_found_above_the_working_directory(project):
    run = open_run_file("small", RECIPES, {"size": 5, "kappa": 2, "gamma": 0.5, "orders": [3]})
    assert run.name == "small" and run.folder == project / "build" / "run" / "small"
    assert run.parameters == {"size": 5, "kappa": 2, "gamma": 0.5, "steps": "all", "orders": [3], "fast": True}
    assert open_run_file(project / "notebooks/runs/small.yaml", RECIPES).parameters["size"] == 4


@pytest.mark.parametrize(("overrides", "message"), [
    ({"sise": 5}, "parameter sise: run small has none of that name"),
])  # fmt: skip
def test_unknown_parameters_are_errors(project, overrides, message):
    with pytest.raises(InputError, match=message):
        open_run_file("small", RECIPES, overrides)


@pytest.mark.parametrize(("name", "message"), [
    ("smal", "run smal: no such run file .there are: broken, list, small"), ("broken", r"broken\.yaml: no YAML"),
    ("list", "a run file maps parameters to values"), ("other/small.yaml", "no such run file"),
])  # fmt: skip
def test_unreadable_run_files_are_errors_of_one_line(project, name, message):
    with pytest.raises(InputError, match=message) as caught:
        open_run_file(name, RECIPES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [
    ("0500", 500), ("010", 10), ("0o17", 15), ("0x1F", 31), ("+3", 3), ("1:30", "1:30"), ("1_000", "1_000"),
    ("yes", "yes"), ("NO", "NO"), ("off", "off"), ("null", None), ("~", None), ("", None), ("TRUE", True),
    ("tRUE", "tRUE"), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-.inf", -np.inf), ("2024-01-01", "2024-01-01"),
    ("１２", "１２"), ("[0, 64]", [0, 64]),
    ("{a: 08, b: 'no'}", {"a": 8, "b": "no"}), ("0b1", "0b1"), ("=", "="), ("<<", "<<"),
])  # fmt: skip
def test_run_files_are_yaml_1_2(tmp_path, text, value):
    assert read_yaml(text, "here") == value and type(read_yaml(text, "here")) is type(value)
    (tmp_path / "own.yaml").write_text(f"size: {text}\n", encoding="utf-8")
    assert open_run_file(str(tmp_path / "own.yaml"), RECIPES)["size"] == value


def test_a_parameter_that_stands_twice_is_named_with_its_line(tmp_path):
    (tmp_path / "own.yaml").write_text("size: 4\nkappa: 1\nsize: 5\n")
    with pytest.raises(InputError, match=r"own\.yaml: no YAML \(size stands twice .*line 3"):
        open_run_file(str(tmp_path / "own.yaml"), RECIPES)


# --- tables in files -------------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    return pd.DataFrame({
        "example_id": ["001", "b", "1e5"], "task": ["qa", "NA", "null"], "group": ["1", "2", "2"],
        "instruction": ["Translate.\nEnglish: {x}\nVelti:", None, 'say "so", twice'],
        "x": ["Don't, “now”", "हिन्दी", "None"], "y": [" 42", "  two  ", " line\u2028break"],
        "sx": ["nan", "12", "true"], "sy": [None, "0012", "n/a"], "world": ["0", "1", "01"],
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
    ("t.csv", b"", "cannot be read as csv"), ("t.csv", b'a,b\n1,2\n1,2,3\n"', "row 2: more fields than"),
    ("t.csv", b"a,b,c\n1,2,3\n\n1,2\n", "fewer fields than its header .2, not 3."),
    ("t.csv", b"a,a\n1,2\n", "two columns a"),
    ("t.csv", "a\ncaf\u00e9".encode("latin-1"), "no UTF-8 text .byte 5."),
    ("t.csv", "a\ncaf\u00e9".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    ("t.jsonl", '{"a": 1}'.encode("utf-16-le"), "is UTF-16 text"),
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
    **{name: st.none() | TEXT for name in ("example_id", "group", "x", "y", "sy", "output", "lm", "world")},
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
