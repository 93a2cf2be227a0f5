"""A run: tables pulled by name, keys that follow parameters and code, two processes, kills, and files of tables."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskgram_utils.errors import InputError
from taskgram_utils.run.store import Input, Recipe, Run, open_run_file
from taskgram_utils.texts import read_yaml

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


def halves(run):
    MADE.append("halves")
    return pd.DataFrame({"half": [run["size"] // 2]})


def rounded(run):
    MADE.append("rounded")
    return run.table("halves") * run["width"]


def copied(run):
    MADE.append("copied")
    return pd.DataFrame({"text": [path.read_text() for path in run.files("own/a")]})


def part(run, name, step):
    MADE.append(f"part {name} {step}")
    return pd.DataFrame({"name": [name], "step": [int(step)]})


def parts(run):
    MADE.append("parts")
    return pd.concat([run.table(f"part/{n}/{s}") for n in ("a", "b") for s in (1, 2)], ignore_index=True)


RECIPES = {
    "numbers": Recipe(numbers),
    "squares": Recipe(squares),
    "letters": Recipe(letters, suffix="", path=True),
    "halves": Recipe(halves),
    "rounded": Recipe(rounded),
    "part/*": Recipe(part),
    "parts": Recipe(parts),
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
    known = r"halves, letters, numbers, part/\*, parts, rounded, squares"
    with pytest.raises(InputError, match=f"^table {name}: not one of {known}$"):
        opened(tmp_path).table(name)


def test_files_that_a_run_reads_are_no_table(tmp_path):
    run = opened(tmp_path, RECIPES | {"text": Input(lambda run: [])})
    with pytest.raises(InputError, match=r"^table text: is files that the run reads; run\.files\('text'\)"):
        run.table("text")


def test_a_parameter_that_the_run_file_lacks_is_named(tmp_path):
    with pytest.raises(InputError, match="run test: its run file lacks colour"):
        opened(tmp_path)["colour"]


def test_what_was_deleted_is_made_again(tmp_path):
    opened(tmp_path).table("squares")
    (tmp_path / "numbers.parquet").unlink()
    opened(tmp_path).table("squares")
    assert MADE == ["squares", "numbers", "numbers"]  # the squares are what they would be made again from


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "made"), [
    ({"power": 3}, ["squares"]), ({"size": 5}, ["numbers", "squares"]), ({"other": "y"}, []), ({}, []),
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


def test_what_is_made_again_and_is_equal_makes_nothing_stale(tmp_path):
    opened(tmp_path, width=1).table("rounded")
    opened(tmp_path, width=1, size=5).table("rounded")
    assert MADE == ["rounded", "halves", "halves"]  # of five as of four the half is two


def test_a_parameter_that_was_not_read_then_and_is_now_is_no_reason(tmp_path):
    def either(run):
        MADE.append("either")
        return pd.DataFrame({"n": [run["power"] if run["size"] > 4 else 0]})

    recipes = RECIPES | {"either": Recipe(either)}
    for changes, value, times in (({}, 0, 1), ({"power": 3}, 0, 1), ({"power": 3, "size": 5}, 3, 2),
                                  ({"power": 4, "size": 5}, 4, 3)):  # fmt: skip
        assert opened(tmp_path, recipes, **changes).table("either")["n"].tolist() == [value]
        assert len(MADE) == times


def test_other_code_makes_stale(tmp_path):
    def twice(run):
        return run.table("numbers") * 2

    def thrice(run):
        return run.table("numbers") * 3

    for make, times, current in ((twice, 2, False), (thrice, 3, False), (thrice, 3, True)):
        run = opened(tmp_path, RECIPES | {"multiple": Recipe(make)})
        assert run.is_current("multiple") == current
        assert run.table("multiple")["number"].tolist() == [n * times for n in range(4)]
    assert MADE == ["numbers"]


def test_files_count_by_content_not_by_place_or_time(tmp_path):
    recipes = {"own/*": Input(lambda run, name: sorted((tmp_path / run["at"]).glob(f"{name}*"))),
               "copy": Recipe(copied)}  # fmt: skip
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("one")

    def made(at: str) -> int:
        opened(tmp_path / "run", recipes, at=at).table("copy")
        return len(MADE)

    assert [made("here"), made("here"), made("there"), made("./here")] == [1, 1, 1, 1]
    os.utime(tmp_path / "here" / "a.txt", (0, 0))
    assert made("here") == 1
    (tmp_path / "here" / "a.txt").write_text("two")
    assert [made("here"), made("here"), made("there")] == [2, 2, 3]
    (tmp_path / "there" / "a2.txt").write_text("and more")
    assert made("there") == 4
    (tmp_path / "there" / "a2.txt").unlink()
    assert made("there") == 5


def test_the_manifest_says_what_stands_and_how_it_was_made(tmp_path):
    run = opened(tmp_path)
    run.table("squares")
    run.table("part/a/1")
    content = run.manifest()
    assert json.loads((tmp_path / "manifest.json").read_text()) == json.loads(json.dumps(content, default=str))
    assert content["run"] == "test" and content["parameters"]["power"] == 2
    assert set(content["made"]) == {"numbers.parquet", "squares.parquet", "part/a/1.parquet"}
    assert len({made["digest"] for made in content["made"].values()}) == 3
    assert content["made"]["squares.parquet"]["rows"] == 4
    assert content["versions"]["pandas"] == pd.__version__


# --- two at once, and killed -----------------------------------------------------------------------------------------

SLOW = """
    import sys, time
    from pathlib import Path
    import pandas as pd
    from taskgram_utils.run.store import Recipe, Run

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
    log, half = folder / "log", folder / ".making-slow" / "slow" / "half.txt"
    while not (log.exists() and log.read_text().count("begun") == times and half.exists()):
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

    recipes = RECIPES | {"letters": Recipe(fails, suffix="", path=True)}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no more paper"):
            opened(tmp_path, recipes).path("letters")
    assert not list(tmp_path.rglob("half.txt"))
    assert opened(tmp_path).path("letters").is_dir() and MADE == ["letters"]


def test_what_a_killed_making_left_goes_with_the_next(tmp_path):
    left = [".making-climb/climb", ".making-climb/climb.partial", ".making-climb/.climb.building"]
    others = [".making-climb-2", "x.making-climb", ".making-more-numbers.parquet"]
    for name in [*left, *others]:
        (tmp_path / name).mkdir(parents=True)
    recipes = RECIPES | {"climb": Recipe(lambda run, out: out.mkdir(), suffix="", path=True)}
    opened(tmp_path, recipes).path("climb")
    opened(tmp_path, recipes).path("numbers")
    assert (tmp_path / "climb").is_dir() and not (tmp_path / ".making-climb").exists()
    assert all((tmp_path / name).is_dir() for name in others)


# --- run files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    runs = tmp_path / "notebooks" / "runs"
    runs.mkdir(parents=True)
    (runs / "small.yaml").write_text("size: 4\nkappa: 1.0\ngamma: null\nsteps: all\nngram_sizes: [1, 2]\nfast: true\n")
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
    with pytest.raises(InputError, match=r"mine\.yaml: is UTF-16 or UTF-32 text"):
        open_run_file(str(copy), RECIPES)


def test_a_run_is_found_above_the_working_directory(project):
    run = open_run_file("small", RECIPES, {"size": 5, "kappa": 2, "gamma": 0.5, "ngram_sizes": [3]})
    assert run.name == "small" and run.folder == project / "build" / "run" / "small"
    assert run.parameters == {"size": 5, "kappa": 2, "gamma": 0.5, "steps": "all", "ngram_sizes": [3], "fast": True}
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
