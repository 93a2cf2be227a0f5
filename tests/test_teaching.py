"""The pages for teachers: what they link to is there, every task has an answer, and the code in an answer works."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from taskgram_utils import book
from taskgram_utils.embedding import WordVectors
from taskgram_utils.mining import mine

ROOT = Path(__file__).resolve().parents[1]
TEACHING, ANSWERS = ((ROOT / "book" / f"{name}.md").read_text(encoding="utf-8") for name in ("teaching", "instructor"))


def test_what_they_link_to_is_there():
    pages = {path.stem for path in (*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb"))}
    pages |= {chapter.name for chapter in book.chapters()}
    labels = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md"))
    for text in (TEACHING, ANSWERS):
        for target in re.findall(r"\{doc\}`(?:[^<`]*<)?([^>`]+)>?`", text):
            assert Path(target).name in pages, target
        for label in re.findall(r"\{ref\}`(?:[^<`]*<)?([^>`]+)>?`", text):
            assert f"({label})=" in labels, label
        for file in re.findall(r"(?<![\w/])((?:notebooks|book|results|\.binder|taskgram_utils)/[\w./]+\w)", text):
            assert (ROOT / file).exists() or Path(file).stem in pages, file
    assert len(re.findall(r"(?:tree|main)/notebooks/\w+\.ipynb", TEACHING)) == 2


def test_every_task_and_question_has_an_answer():
    asked, answered = (re.findall(r"\*\*([HDP]\d+)\b", text) for text in (TEACHING, ANSWERS))
    assert sorted(asked) == sorted(answered) == sorted({*asked}) and len(asked) == 21
    meetings = re.findall(r"^\| (\d+) \| .* \| (\d+) \| .* \| \*\*H(\d+)\*\*", TEACHING, re.M)
    assert [m[0] for m in meetings] == [m[2] for m in meetings] == [str(i) for i in range(1, 14)]


def test_the_five_documents_have_the_shares_that_are_named():
    documents = re.search(r"```text\n(Ann.*?)```", ANSWERS, re.S)[1].splitlines()
    cities = {"Paris": ".8", "Rome": ".6", "Oslo": ".4", "Lima": ".2"}
    assert len(documents) == 5 and all("Ann, Bob, Cy and Di" in text for text in documents)
    for city, share in cities.items():
        assert sum(city in text for text in documents) / 5 == float(share)
        assert re.search(rf"{city} \((?:share )?{re.escape(share)}\)", ANSWERS)


def test_the_miner_of_ten_lines_mines_the_same_pairs():
    code, names = re.search(r"```python\n([^`]*def mined.*?)```", ANSWERS, re.S)[1], {}
    exec(code, names)
    known = "red house cars rouge maison voiture deux two".split()
    vectors = np.random.default_rng(0).normal(size=(len(known), 4))
    embedding = WordVectors("random", known, vectors, np.ones(len(known)))
    examples = pd.DataFrame({"example_id": ["a", "b"], "x": ["the one red house", "two red red cars"],
                             "y": [" rouge maison", " rouge voiture deux"]})  # fmt: skip
    pairs = mine(examples, 1, 0.1, embedding)[["example_id", "sx", "sy"]].itertuples(index=False, name=None)
    assert {*names["mined"](examples, embedding, 0.1)} == {*pairs}


def test_binder_installs_the_pinned_versions():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK) and "--constraint constraints.txt" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", script], check=True)
    assert subprocess.run(["grep", "^torch==", "constraints.txt"], cwd=ROOT).returncode == 0


def test_the_contents_list_the_page_for_teachers_once():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [page["file"] for part in toc["parts"] for page in part["chapters"]]
    assert pages.count(book.INSTRUCTOR) == 1 and len(pages) == len({*pages})
