"""The chapters on a text of one's own, of which nobody knows what is true: a miniature world without its truth."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from taskgram_utils import book
from taskgram_utils.miniature.files import FACTS, TRUE_PAIRS, write_world

REPOSITORY = Path(__file__).resolve().parents[2]
CHAPTERS = ("04_taskgram_construction", "05_pythia_scoring", "06_factual_qa", "11_across_tasks", "14_controls")


@pytest.mark.slow
def test_chapters_open_on_a_text_whose_truth_is_not_known(tmp_path, monkeypatch):
    for name in ("_toc.yml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")
    for name in ("book", "results"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    write_world(tmp_path / "mine", 2_000, 1)
    for name in (FACTS, TRUE_PAIRS):
        (tmp_path / "mine" / name).unlink()
    text = (REPOSITORY / "notebooks" / "runs" / "tiny.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(name|world|documents|prompt_\w+|data|models|steps):.*\n", "", text)
    (tmp_path / "mine.yaml").write_text(f"{text}name: mine\ndata: mine\nmodels: [25k]\nsteps: last\n")
    monkeypatch.chdir(tmp_path)
    plan = book.plan("mine.yaml")
    plan = plan._replace(pages=[page for page in plan.pages if page.name in CHAPTERS])
    assert book.execute(plan, progress=False) == list(CHAPTERS)
    cells = {name: nbformat.read(plan.run.place(f"notebooks/{name}"), as_version=4).cells for name in CHAPTERS}
    assert [c.source for c in cells[CHAPTERS[0]]].count(book.LEFT_OUT) > 3
    assert book.LEFT_OUT in [c.source for c in cells[CHAPTERS[3]]]
    for name in CHAPTERS:
        assert not any(c.source.startswith((book.ONLY_CODE, book.ONLY_TEXT)) for c in cells[name])
        assert any(output.get("name") == "stdout" or "data" in output for c in cells[name]
                   for output in c.get("outputs", ()))  # fmt: skip
