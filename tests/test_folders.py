"""What is left out of a folder, and that nothing of it makes a table stale or stops a reader."""

import shutil
from pathlib import Path

import pytest

from taskgram_utils.folders import listed, meant
from taskgram_utils.language_models.loading import files_state
from taskgram_utils.run.data import listed_files
from taskgram_utils.run.reads import states
from taskgram_utils.tasks import factual_qa, translation, world_knowledge

STRAY = [".DS_Store", "._a.json", ".ipynb_checkpoints/a.json", "__MACOSX/a.json", "Thumbs.db", "b/desktop.ini",
         "b/.git/config.json", "out.csv.partial/1.json", "out.csv.lock"]  # fmt: skip
SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.mark.parametrize("name", ["a.txt", "lock", "partial.txt", "a.lock.txt", "_a", "__init__.py", "Thumbs"])
def test_plain_names_are_meant(name):
    assert meant(name)


@pytest.mark.parametrize("name", [".a", "._a.txt", "__MACOSX", "THUMBS.DB", "Desktop.ini", "o.csv.partial", "o.lock"])
def test_leftovers_are_not(name):
    assert not meant(name)


def test_what_nobody_meant_changes_no_state(tmp_path):
    place = tmp_path / ".cache" / "model"  # above the folder all names are good
    for name in ("a.json", "b/c.json"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("{}")

    def state():
        return states(listed_files(place)), files_state(place), listed(place, "*.json")

    before = state()
    assert len(before[0]) == len(before[1]) == len(before[2]) == 2
    for name in STRAY:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("stray")
    assert state() == before
    (place / "b/c.json").write_text("{ }")
    assert state()[0] != before[0] and state()[1] != before[1]


@pytest.mark.parametrize(("task", "options", "stray"), [
    (factual_qa, {"dataset": "pararel"}, "trex_lms_vocab/._P101.jsonl"),
    (world_knowledge, {"split": "test"}, "test/._astronomy_test.csv"),
    (translation, {}, ".old/newstest2009.ces"),
])  # fmt: skip
def test_readers_of_tasks_leave_them_alone(tmp_path, task, options, stray):
    source = SHARED / {factual_qa: "pararel", world_knowledge: "mmlu", translation: "wmt09"}[task]
    if not source.exists():
        pytest.skip("the tasks' files are not at hand")
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    inner = next((p for p in copy.rglob(stray.split("/")[0]) if p.is_dir()), copy / stray.split("/")[0])
    before = task.TASK.read(copy, **{k: v for k, v in options.items() if k == "dataset"})
    inner.mkdir(exist_ok=True)
    (inner / stray.split("/")[1]).write_bytes(b"\0\xff\xfe")
    assert task.TASK.read(copy, **{k: v for k, v in options.items() if k == "dataset"}).equals(before)
