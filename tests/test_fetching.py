"""Fetching records from a real server on loopback: whole, resumed, and one clear line where it fails."""

import numpy as np
import pytest
from click.testing import CliRunner

from taskgram_chapters import records
from taskgram_utils.cli import main
from taskgram_utils.errors import InputError
from taskgram_utils.fetching import fetch, table_of_text
from tests import originals


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """An attempt follows the last one at once."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def there(tmp_path):
    listed = originals.write(tmp_path / "theirs", originals.contents(np.random.default_rng(1)))
    return tmp_path / "theirs", tmp_path / "ours", listed


def everything(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "SOURCES.tsv"}


def test_all_files_come_and_none_comes_twice(there):
    theirs, ours, listed = there
    with originals.server(theirs, {}) as (url, asked):
        found = fetch(ours, url=url, listed=listed)
        assert found["fetched"].all() and everything(ours) == everything(theirs) and len(asked) == len(listed)
        assert asked[0] == f"/someone/phases/{'a' * 40}/analyses/all_cors.tsv"
        assert not fetch(ours, url=url, listed=listed)["fetched"].any() and len(asked) == len(listed)
        assert len(records.pairs(ours, listed)) and len(records.arithmetic(ours, listed))


def test_what_fails_for_now_is_asked_again(there):
    theirs, ours, listed = there
    faults = {"all_cors": [503, 429, "cut"], "counts.npy": ["cut", 500], "ngram.tsv": [403]}
    with originals.server(theirs, faults) as (url, asked):
        fetch(ours, url=url, listed=listed)
    assert everything(ours) == everything(theirs) and not any(faults.values()) and len(asked) == len(listed) + 6


@pytest.mark.parametrize("fault, said", [
    (404, "HTTP 404 after 5 attempts"), (500, "HTTP 500 after 5 attempts; run it again later"),
    ("cut", "HTTP ChunkedEncodingError after 5"),
    ("other", "not the listed file; it is not kept (its sha256 differs)")])
def test_one_line_and_nothing_half_written(there, fault, said):
    theirs, ours, listed = there
    with originals.server(theirs, {"counts.npy": [fault] * 9}) as (url, asked):
        with pytest.raises(InputError) as caught:
            fetch(ours, url=url, listed=listed)
        message = str(caught.value)
        assert said in message and "counts.npy" in message and url in message and "\n" not in message
        assert sum("counts.npy" in path for path in asked) == 5
        left = everything(ours)
        assert left.items() < everything(theirs).items() and not any("part" in p.suffix for p in left)
    with originals.server(theirs, {}) as (url, asked):
        assert fetch(ours, url=url, listed=listed)["fetched"].sum() == len(listed) - len(left) == len(asked)
    assert everything(ours) == everything(theirs)


def test_a_longer_answer_is_not_kept(there):
    theirs, ours, listed = there
    with (theirs / records.place(listed.iloc[0])).open("ab") as file:
        file.write(b"x" * 10_000_000)
    with originals.server(theirs, {}) as (url, _), pytest.raises(InputError, match="its sha256 differs"):
        fetch(ours, url=url, listed=listed)
    assert not everything(ours)


def test_what_lies_there_is_not_overwritten(there):
    theirs, ours, listed = there
    path = ours / records.place(listed.iloc[0])
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with originals.server(theirs, {}) as (url, _), pytest.raises(InputError, match=r"all_cors\.tsv: another file lies"):
        fetch(ours, url=url, listed=listed)
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written(there):
    theirs, ours, listed = there
    ours.mkdir()
    (ours / "phases").write_text("no folder")
    with originals.server(theirs, {}) as (url, _), pytest.raises(InputError, match=r"all_cors\.tsv: cannot be written"):
        fetch(ours, url=url, listed=listed)


def test_the_list_beside_the_files(there):
    theirs, ours, listed = there
    with originals.server(theirs, {}) as (url, _):
        fetch(ours, ["phases"], url=url, listed=listed)
        assert set(table_of_text(ours / "SOURCES.tsv", sep="\t")["set"]) == {"phases"}
    assert not [p for p in ours.iterdir() if p.name.startswith(".")]


def test_bad_settings(there):
    _, ours, listed = there
    for options, said in (({"sets": ["other"]}, "record other: not one of phases"),
                          ({"url": "file:///etc"}, "no address of a web server"),
                          ({"url": "http://[::1", "sets": ["phases"]}, "HTTP InvalidURL after"),
                          ({"url": "http://a b", "sets": ["phases"]}, "HTTP InvalidURL after"),
                          ({"url": "http://127.0.0.1:1", "sets": ["phases"]}, "HTTP ConnectionError after")):
        with pytest.raises(InputError, match=said):
            fetch(ours, listed=listed, **options)
    assert not everything(ours)


@pytest.mark.skipif(not originals.REAL.is_dir(), reason=f"no {originals.REAL}")
def test_the_command_fetches_the_real_files(tmp_path):
    out = str(tmp_path / "records")
    with originals.server(originals.REAL, {"all_cors": [503]}) as (url, _):
        done = CliRunner().invoke(main, ["records", "--out", out, "--set", "phases", "--url", url])
        assert done.exit_code == 0 and "phases: 1 files, 1 of them fetched now" in done.output, done.output
        assert "research use only" in done.output
        done = CliRunner().invoke(main, ["records", "--out", out, "--url", url])
    assert done.exit_code == 0 and "crosscare: 32 files" in done.output and len(records.phases(out)) > 10_000
    (tmp_path / "file").write_text("")
    for arguments, said in ((["--out", str(tmp_path / "file")], "is a file; name a folder"), (["--out", ""], "no name"),
                            (["--out", out, "--set", "x"], "record x: not one of")):  # fmt: skip
        done = CliRunner().invoke(main, ["records", *arguments])
        assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1
