"""Planning, running, staging and rendering, with papermill and Jupyter Book themselves on books of a few pages."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from taskgram_utils import book
from taskgram_utils.errors import InputError
from taskgram_utils.run import data as run_data

REPOSITORY = Path(__file__).resolve().parents[1]
SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
FIRST = 'run = "miniature"  # the run\nn = 3  # words of an n-gram\ngamma = 0.7  # threshold'
TASK = 'run = "miniature"  # the run\ntask = "translation"  # the task\nn = 3  # words of an n-gram'


def write(root: Path, name: str, parameters: str, *sources: str, title: str = "A page") -> Path:
    cells = [new_markdown_cell(f"# {title}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    path = root / "notebooks" / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells + [new_code_cell(s) for s in sources], metadata={"kernelspec": SPEC}), path)
    return path


def contents(root: Path, *pages: str) -> None:
    toc = {
        "format": "jb-book",
        "root": "book/intro",
        "parts": [{"caption": "All", "chapters": [{"file": p} for p in pages]}],
    }
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project with two notebooks and three pages, one notebook being run for two tasks; the working directory."""
    (tmp_path / "notebooks" / "runs").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "intro.md").write_text("# The start\n\nA page.\n")
    (tmp_path / "book" / "api.md").write_text("# Functions\n\n<!-- API -->\n")
    (tmp_path / "book" / "rerun.md").write_text("# Again\n\n<!-- PARAMETERS -->\n")
    (tmp_path / "notebooks" / "runs" / "tiny.yaml").write_text("jobs: 20\nkappa: 1.0\n")
    (tmp_path / "book" / "references.bib").write_text("")
    config = yaml.safe_load((REPOSITORY / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"]["html_static_path"] = []
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    write(tmp_path, "01_first", FIRST, "import os\nn, gamma, os.environ['OMP_NUM_THREADS'], os.environ['TQDM_DISABLE']",
          "os.environ['TASKGRAM_PARAMETERS']")  # fmt: skip
    write(tmp_path, "04_memorization", TASK, "task, 'this_task', 'TASKNAME', n", title="Page of this_task")
    contents(tmp_path, "notebooks/01_first", "notebooks/04_factual_qa", "notebooks/04_translation")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def output(root: Path, name: str, cell: int = -1) -> str:
    notebook = nbformat.read(root / "build" / "run" / "tiny" / "notebooks" / f"{name}.ipynb", as_version=4)
    return notebook.cells[cell].outputs[0].data["text/plain"]


def values(plan: book.Plan) -> dict[str, dict]:
    return {page.name: page.values for page in plan.pages}


def test_pages_come_from_the_contents_and_are_filled_in(project):
    found = book.chapters()
    assert [(c.name, c.source.name, c.task) for c in found] == [
        ("01_first", "01_first.ipynb", None),
        ("04_factual_qa", "04_memorization.ipynb", "factual_qa"),
        ("04_translation", "04_memorization.ipynb", "translation"),
    ]
    assert "'factual_qa', 'factual QA'" in book.filled(found[1]).cells[-1].source


def test_a_page_without_a_notebook_is_an_error(project):
    contents(project, "notebooks/07_nowhere")
    with pytest.raises(InputError, match=r"no notebook notebooks/07_nowhere\.ipynb"):
        book.chapters()


def test_parameters_reach_one_chapter_its_pages_or_all(project):
    assert values(book.plan("tiny"))["04_factual_qa"] == {"run": "tiny", "task": "factual_qa", "n": 3}
    bare = values(book.plan("tiny", [("n", "5")]))
    assert [v["n"] for v in bare.values()] == [5, 5, 5]
    one = values(book.plan("tiny", [("04_translation.n", 2)]))
    assert [v["n"] for v in one.values()] == [3, 3, 2]
    both = values(book.plan("tiny", [("04_memorization.n", "2")]))
    assert [v["n"] for v in both.values()] == [3, 2, 2]
    plan = book.plan("tiny", [("jobs", "50"), ("gamma", "1")])
    assert plan.overrides == {"jobs": 50} and plan.run["jobs"] == 50
    assert values(plan)["01_first"]["gamma"] == 1


def test_paths_of_the_command_line_are_found_where_one_stands(project, monkeypatch):
    file = "data: own\ncorpus: text\ntokenizer: ''\nweights: ''\nembedding: twin\nmodels: [25k]\n"
    (project / "notebooks" / "runs" / "tiny.yaml").write_text(file)
    here = project / "elsewhere"
    for folder in ("data", "suite", "twin", "25k", "my/model", "vectors", "text"):
        (here / folder).mkdir(parents=True)
    for folder in ("own/text", "own/both", "results", "elsewhere/both"):
        (project / folder).mkdir(parents=True)
    monkeypatch.chdir(here)

    def given(**values):
        return book.plan("tiny", values.items()).overrides

    assert given(data="data", weights="suite") == {"data": str(here / "data"), "weights": str(here / "suite")}
    assert given(data="results") == {"data": "results"}  # of the project, for nothing of that name is here
    assert given(data="none") == {"data": str(here / "none")}  # which a message then names
    assert given(embedding="twin", models="[25k, my/model, owner/name]") == {
        "embedding": "twin", "models": ["25k", str(here / "my/model"), "owner/name"]}  # fmt: skip
    assert given(corpus="both") == {"corpus": "both"}  # of data, which has it
    assert given(corpus="vectors", embedding="vectors") == dict.fromkeys(("corpus", "embedding"), str(here / "vectors"))
    monkeypatch.chdir(project)
    assert given(data="results", weights="elsewhere/suite") == {"data": "results", "weights": "elsewhere/suite"}
    assert run_data.placed(book.plan("tiny").run, "text") == project / "own/text"


def test_a_run_without_a_task_of_the_book_is_refused(project):
    (project / "notebooks" / "runs" / "tiny.yaml").write_text("tasks: [factual_qa]\n")
    with pytest.raises(InputError, match=r"run tiny: its tasks lack translation, .*papermill"):
        book.plan("tiny")


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("gama", "0.5", "nothing named 'gama' in any chapter or the run file"),
        ("04_translation.gamma", "0.5", "nothing named 'gamma' in 04_translation"),
        ("05_later.n", "3", "no chapter '05_later'"),
        ("n", "many", "wanted int like 3, got 'many'"),
        ("n", "2.5", "wanted int"),
        ("n", "true", "wanted int"),
        ("gamma", "[1]", "wanted float"),
        ("kappa", "high", "parameter kappa: 'high' is not a number above 0"),
        ("n", "[", "-p n: no YAML"),
        ("run", "other", "come from the run"),
    ],
)
def test_a_wrong_parameter_is_refused(project, label, value, said):
    with pytest.raises(InputError, match=re.escape(said)):
        book.plan("tiny", [(label, value)])


def test_an_unknown_run_is_refused(project):
    with pytest.raises(InputError, match=r"run absent: no such run file \(there are: tiny\)"):
        book.plan("absent")


def test_a_notebook_must_declare_its_run(project):
    write(project, "01_first", "n = 3  # words", "n")
    with pytest.raises(InputError, match="its parameters lack run"):
        book.plan("tiny")


def test_execution_uses_the_parameters_and_is_not_repeated(project):
    plan = book.plan("tiny", [("n", 5), ("jobs", 50)])
    assert book.execute(plan, progress=False) == ["01_first", "04_factual_qa", "04_translation"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert output(project, "01_first", -2) == str((5, 0.7, str(max(1, cores // 2)), "1"))
    assert json.loads(output(project, "01_first").strip("'")) == {"jobs": 50}
    assert output(project, "04_factual_qa") == "('factual_qa', 'factual_qa', 'factual QA', 5)"
    assert book.execute(book.plan("tiny", [("n", 5), ("jobs", 50)]), progress=False) == []
    assert book.execute(book.plan("tiny", [("n", 5), ("jobs", 50), ("04_translation.n", 2)]), False) == [
        "04_translation"
    ]
    write(project, "01_first", FIRST, "n + 1")
    again = [("n", 5), ("jobs", 50), ("04_translation.n", 2)]
    assert book.execute(book.plan("tiny", again), progress=False) == ["01_first"]
    assert output(project, "01_first") == "6"


def test_a_page_is_run_again_where_something_that_it_read_has_changed(project):
    """A parameter, a table, a file of ``book`` or ``results``; and not for what it did not read."""
    read = "from taskgram_utils.run import pipeline\nimport pandas as pd\nrun = pipeline.open_run(run)\n"
    write(project, "01_first", FIRST, f"{read}run['kappa'], pd.read_csv('results/a.csv').size")
    write(project, "04_memorization", TASK, "import taskgram_utils.run.store", "open('book/facts.yaml').read()")
    (project / "results").mkdir()
    for name in ("results/a.csv", "results/b.csv", "book/facts.yaml"):
        (project / name).write_text("n\n1\n")
    names = ["01_first", "04_factual_qa", "04_translation"]

    def executed(**given):
        return book.execute(book.plan("tiny", given.items()), progress=False)

    assert [executed(), executed()] == [names, []]
    assert [executed(jobs=3), executed(kappa=2), executed(kappa=2)] == [[], ["01_first"], []]
    (project / "results" / "a.csv").write_text("n\n2\n")
    assert [executed(kappa=2), executed(kappa=2)] == [["01_first"], []]
    (project / "results" / "b.csv").write_text("n\n2\n")
    assert executed(kappa=2) == []
    (project / "book" / "facts.yaml").write_text("n\n2\n")
    assert executed(kappa=2) == names[1:]


def test_a_failed_notebook_is_one_line_and_never_staged(project):
    write(project, "04_memorization", TASK, "task", "if task == 'translation':\n    raise ValueError('no\\npairs')")
    with pytest.raises(InputError) as raised:
        book.execute(book.plan("tiny"), progress=False)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("notebooks/04_memorization.ipynb (translation), cell 4: ValueError: no pairs")
    folder = project / "build" / "run" / "tiny" / "notebooks"
    assert (folder / "unfinished" / "04_translation.ipynb").exists() and not (folder / "04_translation.ipynb").exists()
    with pytest.raises(InputError, match="04_translation has not been run"):
        book.stage(book.plan("tiny"))
    pages = [p for p in book.plan("tiny").pages if not book.plan("tiny").run.is_current(p.table)]
    assert [p.name for p in pages] == ["04_translation"], "what had run stays run"


def test_standard_error_on_a_page_is_an_error(project):
    write(project, "01_first", FIRST, "import warnings\nwarnings.warn('careless')")
    with pytest.raises(InputError, match=r"01_first\.ipynb, cell 3 wrote to standard error: .*careless"):
        book.execute(book.plan("tiny"), progress=False)


def test_at_most_two_notebooks_at_a_time(project):
    times = "import time\nbegan = time.time()\ntime.sleep(0.5)\nprint(began, time.time())"
    names = [f"1{i}_page" for i in range(4)]
    for name in names:
        write(project, name, 'run = "miniature"  # the run', times)
    contents(project, *(f"notebooks/{n}" for n in names))
    book.execute(book.plan("tiny"), progress=False)
    folder = project / "build" / "run" / "tiny" / "notebooks"
    spans = []
    for name in names:
        text = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells[-1].outputs[0].text
        spans.append(tuple(map(float, text.split())))
    most = max(sum(a <= moment < b for a, b in spans) for moment, _ in spans)
    assert most <= 2


def test_staging_appends_the_run_and_lists_what_can_be_set(project):
    plan = book.plan("tiny", [("04_translation.n", 5)])
    book.execute(plan, progress=False)
    (plan.run.folder / "figures").mkdir()
    (plan.run.folder / "figures" / "rise.csv").write_text("x,y\n1,2\n")
    place = book.stage(plan)
    box = nbformat.read(place / "notebooks" / "04_translation.ipynb", as_version=4).cells[-1]
    assert box.cell_type == "markdown" and "| `n` | `5` |" in box.source and "| `run` | `'tiny'` |" in box.source
    assert "papermill notebooks/04_memorization.ipynb out.ipynb -p run tiny -p n 5" in box.source
    assert json.loads((place / "run" / "manifest.json").read_text())["parameters"] == {"jobs": 20, "kappa": 1.0}
    assert (place / "run" / "rise.csv").exists()
    table = (place / "book" / "rerun.md").read_text()
    first = "## 01_first\n\n| parameter | default | meaning |\n|---|---|---|\n| `run` | `'miniature'` | the run |\n"
    assert first in table and "| `gamma` | `0.7` | threshold |\n\n## 04_memorization\n" in table
    assert table.count("## ") == 2, "one table for the pages of one notebook"
    assert "launch_buttons" not in yaml.safe_load((place / "_config.yml").read_text())
    handouts = sorted(path.name for path in (project / "build" / "notebooks").iterdir())
    assert handouts == ["01_first.ipynb", "04_factual_qa.ipynb", "04_translation.ipynb"]


def test_a_table_of_parameters_names_the_number_of_its_chapter():
    table = book.parameters_table()
    assert "## 18_prompt_optimization\n\nChapter 16, {doc}`../notebooks/18_prompt_optimization`.\n\n|" in table


@pytest.fixture
def of_text(project) -> Path:
    """The project with a run of real text, whose book has one page of its own and links into the whole book."""
    runs = project / "notebooks" / "runs"
    (runs / "mine.yaml").write_text("corpus: text\ndata: ''\nbackend: scan\ndraws: 20\n")
    (runs / "openbook.toc.yml").write_text(yaml.safe_dump({
        "format": "jb-book", "root": "book/mine",
        "parts": [{"caption": "All", "chapters": [{"file": "notebooks/05_own"}, {"file": "book/rerun"}]}],
    }))  # fmt: skip
    links = "{doc}`rerun`, {doc}`../notebooks/05_own`, {doc}`the start <intro>`, {doc}`../notebooks/01_first`"
    (project / "book" / "mine.md").write_text(f"# Mine\n\nSee {links}.\n")
    path = write(project, "05_own", 'run = "miniature"  # the run', "run")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(new_markdown_cell("As {doc}`04_translation` and {doc}`../book/rerun` say."))
    nbformat.write(notebook, path)
    return project


def test_a_run_of_real_text_has_a_table_of_contents_of_its_own(of_text):
    plan = book.plan("mine")
    assert [page.name for page in plan.pages] == ["05_own"] and plan.toc.name == "openbook.toc.yml"
    assert next(page.name for page in book.plan("tiny").pages) == "01_first"
    book.execute(plan, progress=False)
    place = book.stage(plan)
    assert sorted(p.name for p in (place / "book").glob("*.md")) == ["mine.md", "rerun.md"]
    assert [p.name for p in (place / "notebooks").iterdir()] == ["05_own.ipynb"]
    assert yaml.safe_load((place / "_toc.yml").read_text())["root"] == "book/mine"
    text = (place / "book" / "mine.md").read_text()
    said = "See {doc}`rerun`, {doc}`../notebooks/05_own`, the start, *01 first* (of the whole book)."
    assert said in text
    cells = nbformat.read(place / "notebooks" / "05_own.ipynb", as_version=4).cells
    assert any(c.source == "As *04 translation* (of the whole book) and {doc}`../book/rerun` say." for c in cells)
    index = book.render(strict=True)
    assert "Mine" in index.read_text() or (index.parent / "book" / "mine.html").exists()


def test_the_page_for_teachers_is_there_only_if_asked_for(project):
    contents(project, "notebooks/01_first", "book/instructor")
    (project / "book" / "instructor.md").write_text("# Model answers\n\nOne.\n")
    (project / "book" / "intro.md").write_text("# The start\n\nSee {doc}`the answers <instructor>`.\n")
    plan = book.plan("tiny")
    index = book.build(plan, strict=True, progress=False)
    listed = yaml.safe_load((project / "build" / "src" / "_toc.yml").read_text())["parts"][0]["chapters"]
    assert [page["file"] for page in listed] == ["notebooks/01_first"]
    assert not (index.parent / "book" / "instructor.html").exists()
    assert "See the answers." in (project / "build" / "src" / "book" / "intro.md").read_text()
    book.build(plan, strict=True, progress=False, instructor=True)
    assert "Model answers" in (index.parent / "book" / "instructor.html").read_text(encoding="utf-8")


def test_reading_times_are_those_that_the_pages_state(project):
    (project / "book" / "long.md").write_text("# Long\n\nTime to learn: about 10 minutes. Difficulty: ★★★.\n")
    write(project, "01_first", FIRST, title="First\n\nTime to learn: 25 minutes, ★. You need more: ★★")
    contents(project, "notebooks/01_first", "notebooks/04_factual_qa", "book/long")
    toc = yaml.safe_load((project / "_toc.yml").read_text())
    toc["parts"].append({"caption": "To look up", "chapters": [{"file": "book/intro"}]})
    (project / "_toc.yml").write_text(yaml.safe_dump(toc))
    assert book.reading_table().splitlines()[2:] == [
        "| **All** | **35** | |", "| {doc}`../notebooks/01_first` | 25 | ★ |",
        "| {doc}`../notebooks/04_factual_qa` | – |  |", "| {doc}`../book/long` | 10 | ★★★ |",
        "| **All** | **35** | |"]  # fmt: skip


def test_launch_buttons_follow_the_clones_origin(project):
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run(["git", "remote", "add", "origin", "git@github.com:someone/taskgrams.git"], check=True)
    (project / "book" / "api.md").write_text("# Start\n\n`git clone https://github.com/OWNER/REPOSITORY`\n")
    plan = book.plan("tiny")
    book.execute(plan, progress=False)
    place = book.stage(plan)
    assert "github.com/someone/taskgrams`" in (place / "book" / "api.md").read_text()
    page = book.render().parent / "notebooks" / "04_translation.html"
    links = re.findall(r'href="(https://[^"]*(?:mybinder|colab)[^"]*)"', page.read_text(encoding="utf-8"))
    assert len(links) == 2
    for link in links:
        assert link.endswith("notebooks/04_memorization.ipynb") and "someone/taskgrams" in link


@pytest.mark.slow
def test_render_is_strict_keeps_the_last_good_site_and_is_not_repeated(project):
    index = book.build(book.plan("tiny"), strict=True, progress=False)
    assert index == project / "build" / "book" / "html" / "index.html"
    first = index.stat().st_mtime_ns
    assert book.build(book.plan("tiny"), strict=True, progress=False) == index and index.stat().st_mtime_ns == first
    (project / "book" / "intro.md").write_text("# The start\n\nSee {ref}`nowhere`.\n")
    with pytest.raises(InputError, match=r"(?s)did not render \(1 warnings.*nowhere"):
        book.build(book.plan("tiny"), strict=True, progress=False)
    assert index.stat().st_mtime_ns == first
    book.build(book.plan("tiny"), progress=False)
    assert index.stat().st_mtime_ns > first


def test_an_n_that_the_run_does_not_count_is_refused_before_the_work(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(InputError, match=r"n: 9 is none of the ngram_sizes of run tiny: \[1, 2\]"):
        book.plan("tiny", (("11_across_tasks.n", 9),))
    assert book.plan("tiny", (("n", 1),)).run.parameters["04_taskgram_construction.n"] == 1


def test_the_api_page_has_every_module(project):
    page = book.api_page()
    assert ".. automodule:: taskgram_utils.statistics\n   :members:" in page and "taskgram_utils.run.store" in page
    assert "._" not in page and ".engine." not in page


def test_the_commands_in_the_prose_exist():
    from taskgram_utils.cli import main

    seen = 0
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "book").glob("*.md")]:
        for line in re.findall(r"(?m)^taskgram (.+)$", page.read_text(encoding="utf-8").replace("\\\n", " ")):
            name, *words = shlex.split(line, comments=True)
            if name == "--help":
                continue
            assert name in main.commands, f"{page.name}: no command {name}"
            known = {option for p in main.commands[name].params for option in p.opts}
            unknown = {w for w in words if w.startswith("-") and w != "-"} - known
            assert not unknown, f"{page.name}: taskgram {name} has no {unknown}"
            seen += 1
    assert seen > 8


def test_committed_notebooks_are_ready_for_the_book(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for chapter in book.chapters():
        notebook = nbformat.read(chapter.source, as_version=4)
        code = [c for c in notebook.cells if c.cell_type == "code"]
        assert not any(c.outputs or c.execution_count for c in code), f"{chapter.source.name}: has outputs"
        assert code[0].metadata.get("tags") == ["parameters"], f"{chapter.source.name}: first code cell: parameters"
        for name, (_, meaning) in book.declared(chapter).items():
            assert meaning, f"{chapter.source.name}: {name} has no trailing comment"


def test_a_caption_holds_no_role():
    """A table whose caption holds one is rendered as its source."""
    root = Path(__file__).resolve().parents[1]
    for path in (*(root / "notebooks").glob("*.ipynb"), *(root / "book").glob("*.md")):
        captions = re.findall(r"\{table\} ([^\n]*)", path.read_text(encoding="utf-8").replace("\\n", "\n"))
        assert [text for text in captions if re.search(r"\{[a-z:]+\}`", text)] == [], path.name
