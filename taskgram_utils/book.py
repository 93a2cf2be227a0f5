"""The book: its chapters, their parameters, running them, laying out the pages, rendering them."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from taskgram_utils.cluster import THREAD_VARIABLES, cores
from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import sha256_of
from taskgram_utils.pages import finish, handout
from taskgram_utils.progress import Bar
from taskgram_utils.run import ask, cost, pipeline, reads
from taskgram_utils.run.checks import ONLY_CODE, ONLY_TEXT, renamed, require_values, value_of
from taskgram_utils.run.data import draws_world, listed_files, truth_known
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.run.store import Input, Recipe, Run, open_run_file, project_root
from taskgram_utils.tasks import base as tasks
from taskgram_utils.texts import read_yaml, write_text

AT_A_TIME = 2
"""Notebooks that run at the same time."""
INSTRUCTOR = "book/instructor"
"""The page with model answers, which only teachers build."""
TIME = re.compile(r"Time to learn: (?:about )?(\d+) minutes[^★\n]*?(★+)")
"""What a page says of its reading time, and of how hard it is."""
LEFT_OUT = ("*Left out: this part needs to know what is true of the text, and of this text that is "
            "not known.*")


class Chapter(NamedTuple):
    """A page made by running a notebook, with the parameters to use. ``task`` is that of a notebook
    which is run once per task, else None."""

    name: str
    source: Path
    task: str | None
    values: dict[str, Any]

    @property
    def table(self) -> str:
        """The name that its executed copy has in the run."""
        return f"notebooks/{self.name}"


class Plan(NamedTuple):
    """What a run executes: the opened run, the run parameters that replace those of its file, its
    chapters in order, and the file of the table of contents."""

    run: Run
    overrides: dict[str, Any]
    pages: list[Chapter]
    toc: Path


# --- what is in the book -------------------------------------------------------------------------


def contents(run: Run) -> Path:
    """The file with the table of contents of a run: the whole book's, or that of runs about real
    text."""
    of_text = project_root() / "notebooks" / "runs" / "openbook.toc.yml"
    whole = draws_world(run) or not run.parameters.get("corpus") or not of_text.exists()
    return project_root() / "_toc.yml" if whole else of_text


def _listed(toc: Path) -> list[str]:
    """The pages that a table of contents lists."""
    contents = yaml.safe_load(toc.read_text(encoding="utf-8"))
    parts = contents["parts"]
    return [contents["root"], *(entry["file"] for part in parts for entry in part["chapters"])]


def chapters(toc: Path | None = None) -> list[Chapter]:
    """Chapters in the order of a table of contents, by default the book's, with the values that
    their notebooks declare.

    A page ``NN_task`` without a notebook of its own is the only ``NN_*`` notebook, filled in for
    that task. Raises InputError where there is no such notebook.
    """
    root, book = project_root(), []
    toc = toc or root / "_toc.yml"
    for page in filter(lambda page: page.startswith("notebooks/"), _listed(toc)):
        name, source, task = Path(page).name, root / f"{page}.ipynb", None
        if not source.exists():
            number, _, task = name.partition("_")
            notebooks = sorted((root / "notebooks").glob(f"{number}_*.ipynb"))
            require(len(notebooks) == 1 and task, f"{toc.name}: no notebook {page}.ipynb, nor "
                    f"exactly one {number}_*.ipynb to fill in for it")
            source = notebooks[0]
        book.append(Chapter(name, source, task, {}))
    return book


def filled(chapter: Chapter, truth: bool = True):
    """The notebook as run for this chapter: ``this_task`` becomes the task (``factual_qa``),
    ``TASKNAME`` its title within a sentence (``factual QA``), and the parameter ``task`` has it as
    its value. Without the ``truth``, a line replaces each part that is marked as needing it."""
    import nbformat

    notebook = nbformat.read(chapter.source, as_version=4)
    cells = []
    for cell in notebook.cells:
        if truth or not cell.source.startswith((ONLY_CODE, ONLY_TEXT)):
            cells.append(cell)
        elif not cells or cells[-1].source != LEFT_OUT:
            cells.append(nbformat.v4.new_markdown_cell(LEFT_OUT, id=cell.id))
    notebook.cells = cells
    if not chapter.task:
        return notebook
    title = tasks.task(chapter.task).title
    text = nbformat.writes(notebook).replace("this_task", chapter.task)
    text = text.replace("TASKNAME", title[0].lower() + title[1:])
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source = re.sub(r"(?m)^task = \S+", f'task = "{chapter.task}"', cell.source)
    return notebook


def declared(chapter: Chapter) -> dict[str, tuple[Any, str]]:
    """The parameters that a chapter declares: name -> (default, its trailing comment)."""
    from papermill.inspection import inspect_notebook

    return {name: (ast.literal_eval(item["default"]), item["help"])
            for name, item in inspect_notebook(chapter.source).items()}


# --- parameters ----------------------------------------------------------------------------------


def plan(run: str = "miniature", given: Iterable[tuple[str, Any]] = ()) -> Plan:
    """What ``run`` executes with the parameters ``given``: (name, value), a value in text being
    read as YAML.

    ``chapter.name`` sets a parameter of one chapter (a page, or a notebook with all its pages); a
    bare name goes to every chapter that declares it and to the run file where that has it. Raises
    InputError for a name that nothing declares, for a value of another type than the default's, and
    for a run without a file.
    """
    run = str(Path(run).resolve()) if run.endswith((".yaml", ".yml")) else run
    unchanged = open_run_file(run, {})
    toc, file = contents(unchanged), unchanged.parameters
    book = chapters(toc)
    defaults = {c.name: {n: default for n, (default, _) in declared(c).items()} for c in book}
    for chapter in book:
        fixed = {"run": run} | ({"task": chapter.task} if chapter.task else {})
        lacking = ", ".join(fixed.keys() - defaults[chapter.name].keys())
        require(not lacking, f"{chapter.source.name}: its parameters lack {lacking}")
        chapter.values.update(defaults[chapter.name] | fixed)
    overrides = {}
    for label, value in given:
        where, _, name = label.rpartition(".")
        require(name not in ("run", "task"),
                f"-p {label}: run and task come from the run and the table of contents")
        meant = [c for c in book if not where or where in (c.name, c.source.stem)]
        require(meant, f"-p {label}: no chapter {where!r}; there are: "
                f"{', '.join(c.name for c in book)}")
        names = {n for c in meant for n in c.values} | (set() if where else set(file))
        like = get_close_matches(name, names - {"run", "task"}, cutoff=0)
        require(name in names, f"-p {label}: nothing named {name!r} in "
                f"{where or 'any chapter or the run file'}" + (
                    renamed(name) or f"; most like it are {', '.join(like)}"))
        for chapter in meant:
            if name in chapter.values:
                chapter.values[name] = _typed(label, value, defaults[chapter.name][name])
        if not where and name in file:
            overrides[name] = value_of(name, value) if isinstance(value, str) else value
    overrides = _from_here(overrides, file)
    opened = open_run_file(run, pipeline.RECIPES, overrides)
    require_values(overrides)
    of_tasks = {c.task for c in book if c.task}
    absent = of_tasks - set(opened.parameters.get("tasks", of_tasks))
    require(not absent or toc.name != "_toc.yml",
            f"run {opened.name}: its tasks lack {', '.join(sorted(absent))}, and the book has a "
            "chapter on each; for fewer tasks run single chapters: papermill notebooks/NAME.ipynb "
            "out.ipynb -p run ...")
    pages = {c.name: c for c in book if c.task not in absent}
    for page in pages.values():
        if "ngram_sizes" in opened.parameters and type(page.values.get("n")) is int:
            pipeline.check_order(opened, page.values["n"])
        opened.parameters |= {f"{page.name}.{name}": value for name, value in page.values.items()}

    def execute_page(run: Run, out: Path, name: str) -> None:
        _execute(run, pages[name], overrides, out)

    # An executed chapter is a file of the run like any other, made with the run's parameters and
    # its own.
    opened.recipes = opened.recipes | {
        "package": Input(_package), "notebook/*": Input(lambda _, name: [pages[name].source]),
        "notebooks/*": Recipe(execute_page, ".ipynb", path=True),
    }
    return Plan(opened, overrides, list(pages.values()), toc)


def _from_here(given: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """``given`` with paths from the working directory made absolute. A path that is not there is
    left as it is and starts, as in a run file, in the project; ``corpus`` and ``tokenizer`` start
    in the folder ``data``, which comes before the working directory."""
    names = {"data", "weights", "embedding", "bertscore", "models", "tokenizer"}
    names |= {"corpus"} if {**file, **given}.get("backend") != "api" else set()

    def located(name: str, value: Any, data: str = "") -> Any:
        if isinstance(value, dict):
            return {key: located(name, one) for key, one in value.items()}
        if isinstance(value, list):  # of models: a name without a slash is a size of the suite
            return [located(name, one) if "/" in str(one) else one for one in value]
        if name not in names or not isinstance(value, str) or value in ("", "twin"):
            return value
        path, folder = os.path.expanduser(value), project_root() / os.path.expanduser(data)
        from_here, from_file = Path.cwd() / path, folder / path
        if from_here == from_file or (data and from_file.exists()):
            return value
        nowhere = name in ("data", "weights") and not from_file.exists()  # as a message names it
        return str(from_here) if from_here.exists() or nowhere else value

    data = str(located("data", given["data"]) if "data" in given else file.get("data") or "")
    return {name: located(name, value, data if name in ("corpus", "tokenizer") else "")
            for name, value in given.items()}


def _typed(label: str, value: Any, default: Any) -> Any:
    """``value`` in the type of ``default``, or InputError; text is read as YAML unless text is
    wanted."""
    if isinstance(value, str) and not isinstance(default, str):
        value = read_yaml(value, f"-p {label}")
    whole_for_float = isinstance(default, float) and type(value) is int
    good = default is None or whole_for_float or type(value) is type(default)
    wanted = type(default).__name__
    require(good, f"-p {label}: wanted {wanted} like {default!r}, got {value!r}")
    return value


def _package(run: Run) -> list[Path]:
    """The code and data of the package, the book and the command line apart, and the pinned
    versions."""
    apart = (PACKAGE / "book.py", PACKAGE / "cli.py")
    files = [p for p in listed_files(PACKAGE) if "__pycache__" not in p.parts and p not in apart]
    files += sorted((project_root() / "notebooks" / "lib").glob("*.py"))
    return [*files, *project_root().glob("constraints.txt")]


# --- running -------------------------------------------------------------------------------------


def execute(plan: Plan, progress: bool | None = None) -> list[str]:
    """Run every page whose source, parameters, package code or inputs changed; return the names of
    those run.

    What models are asked for comes first, model by model, so that no two notebooks load one at the
    same time. Two notebooks run at a time, threads x notebooks <= cores. An executed copy is kept
    only when the whole notebook ran and wrote nothing to standard error. Raises InputError with one
    line a failed notebook: notebook, cell, error.
    """
    pending = [page for page in plan.pages if not plan.run.is_current(page.table)]
    if not pending:
        return []
    if "models" in plan.run.parameters:
        ask.ask_models(plan.run, progress)
    with (
        ThreadPoolExecutor(AT_A_TIME) as pool,
        Bar(total=len(pending), desc="chapters", unit="chapter", dynamic_ncols=True, miniters=0,
            disable=True if progress is False else None) as bar,
    ):
        jobs = {pool.submit(plan.run.path, page.table): page.name for page in pending}
        unfinished = set(jobs)
        try:
            while unfinished and not any(job.done() and job.exception() for job in jobs):
                done, unfinished = wait(unfinished, timeout=1, return_when=FIRST_COMPLETED)
                running = ", ".join(name for job, name in jobs.items() if job.running())
                bar.set_postfix_str(running, refresh=False)
                bar.update(len(done))
            pool.shutdown(cancel_futures=True)  # after a failure: what runs is awaited
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end_kernels()
            raise
    errors = [job.exception() for job in jobs if not job.cancelled() and job.exception()]
    for error in errors:
        if not isinstance(error, InputError):
            raise error
    require(not errors, "\n".join(map(str, errors)))
    return list(jobs.values())


def _execute(run: Run, page: Chapter, overrides: dict[str, Any], out: Path) -> None:
    """Run one notebook with papermill; ``out`` is written only when all went well. What its kernel
    read is noted as read."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    for name in page.values:
        run[f"{page.name}.{name}"]  # noted as read
    run.files(f"notebook/{page.name}")
    run.files("package")
    folder, defaults = run.folder / "notebooks" / "unfinished", declared(page)
    folder.mkdir(parents=True, exist_ok=True)
    partial, noted = folder / f"{page.name}.ipynb", folder / f"{page.name}.json"
    changed = {name: value for name, value in page.values.items()
               if value != defaults[name][0] and (name != "task" or not page.task)}
    where = f"notebooks/{page.source.name}" + (f" ({page.task})" if page.task else "")
    config = Config()
    with tempfile.TemporaryDirectory(prefix="tg-") as sockets:
        if os.name == "posix":  # sockets in a folder: no open port, and the path stays short
            connection = {"transport": "ipc", "connection_file": f"{sockets}/kernel.json"}
            config.KernelManager.update(connection)
        try:
            notebook = papermill.execute_notebook(
                filled(page, truth_known(run)), str(partial), parameters=changed,
                kernel_name=_write_kernel(project_root() / "build" / "jupyter", overrides, noted),
                language="python", progress_bar=False, config=config,
                resources={"metadata": {"path": str(project_root())}},
            )
        except PapermillExecutionError as error:
            text = f"{error.ename}: {' '.join(str(error.evalue).split())}"
            raise InputError(f"{where}, cell {error.exec_count}: {text} (whole trace: "
                             f"{partial})") from error
    for cell in notebook.cells:
        outputs = [one for one in cell.get("outputs", ()) if one.get("name") == "stderr"]
        text = " ".join(" ".join(one.text for one in outputs).split())
        require(not outputs, f"{where}, cell {cell.get('execution_count')} wrote to standard "
                f"error: {text:.300} ({partial})")
    os.replace(partial, out)
    if noted.exists():
        for kind, names in json.loads(noted.read_text(encoding="utf-8")).items():
            for name, value in names.items():
                reads.note(kind, name, value)
        noted.unlink()


def _write_kernel(folder: Path, overrides: dict[str, Any], noted: Path) -> str:
    """Write a kernel specification for this very interpreter, let Jupyter find it and return its
    name.

    The environment of the kernel sets the thread counts, the run's replaced parameters and the file
    in which it notes what it reads, and silences progress bars.
    """
    environment = dict.fromkeys(THREAD_VARIABLES, str(max(1, cores() // AT_A_TIME)))
    environment |= {
        "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false", reads.KERNEL: str(noted),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1", pipeline.OVERRIDES: json.dumps(overrides),
    }
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}",
               "--log-level=50"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python", "env": environment}
    kernel = folder / "kernels" / f"taskgram-{noted.stem}".lower()
    kernel.mkdir(parents=True, exist_ok=True)
    write_text(kernel / "kernel.json", json.dumps(spec, indent=1))
    os.environ["JUPYTER_PATH"] = str(folder)
    return kernel.name


def _end_kernels() -> None:
    """End the kernels of this process, so that an interrupted run does not wait for them."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        if "ipykernel_launcher" in " ".join(child.cmdline()):
            child.kill()


# --- laying out ----------------------------------------------------------------------------------


def stage(plan: Plan, instructor: bool = False) -> Path:
    """Lay out ``build/src``: configuration, prose and the executed notebooks, each with its "This
    run" box; with the page for teachers if ``instructor``. The handouts lie in ``build/notebooks``.

    Raises InputError for a page that has not been run with these parameters.
    """
    import nbformat

    for page in plan.pages:
        require(plan.run.is_current(page.table), f"chapter {page.name} has not been run with these "
                f"parameters: 'taskgram run {plan.run.name}' first")
    root = project_root()
    target = root / "build" / "src"
    shutil.rmtree(target, ignore_errors=True)
    absent = _absent_pages(plan) | (set() if instructor else {INSTRUCTOR})
    left_out = shutil.ignore_patterns(*(f"{Path(name).name}.md" for name in absent))
    shutil.copytree(root / "book", target / "book", ignore=left_out)
    toc = yaml.safe_load(plan.toc.read_text(encoding="utf-8"))
    for part in toc["parts"]:
        part["chapters"] = [page for page in part["chapters"] if page["file"] not in absent]
    write_text(target / "_toc.yml", yaml.safe_dump(toc, allow_unicode=True, sort_keys=False))
    config = _addressed(yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8")), root)
    write_text(target / "_config.yml", yaml.safe_dump(config, allow_unicode=True))
    made = {"<!-- API -->": api_page, "<!-- PARAMETERS -->": parameters_table,
            "<!-- READING -->": reading_table,
            "<!-- SCALE -->": lambda: cost.page(root / "results")}
    home = config["repository"]["url"].removeprefix("https://github.com/") or "OWNER/REPOSITORY"
    for path in (target / "book").glob("*.md"):
        text = _unlinked(path.read_text(encoding="utf-8"), absent)
        text = text.replace("OWNER/REPOSITORY", home)
        for mark in made.keys() & set(text.splitlines()):
            text = text.replace(mark, made[mark]())
        write_text(path, text)
    (target / "notebooks").mkdir()
    shutil.rmtree(root / "build" / "notebooks", ignore_errors=True)
    (root / "build" / "notebooks").mkdir()
    for page in plan.pages:
        notebook = nbformat.read(plan.run.place(page.table), as_version=4)
        nbformat.write(handout(notebook), root / "build" / f"{page.table}.ipynb")
        box = this_run(page, notebook.metadata.papermill)
        notebook.cells.append(nbformat.v4.new_markdown_cell(box, id="this-run"))
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _unlinked(cell.source, absent)
        nbformat.write(notebook, target / f"{page.table}.ipynb")
    plan.run.manifest()
    (target / "run").mkdir()
    for path in [plan.run.folder / "manifest.json", *plan.run.folder.glob("figures/*.*")]:
        shutil.copy(path, target / "run")
    return target


def _absent_pages(plan: Plan) -> set[str]:
    """The pages of the whole book that a run with a table of contents of its own leaves out."""
    whole = project_root() / "_toc.yml"
    if plan.toc == whole:
        return set()
    prose = {f"book/{path.stem}" for path in (project_root() / "book").glob("*.md")}
    listed = {*_listed(plan.toc)}
    return (prose | {*_listed(whole)} | listed) - (prose & listed) - {p.table for p in plan.pages}


def _unlinked(text: str, absent: set[str]) -> str:
    """Markdown in which references to absent pages are plain words."""
    names = {Path(page).name for page in absent}

    def plain(match: re.Match) -> str:
        words, _, target = match[1].rpartition(" <")
        name = Path(target.rstrip(">")).name
        if name not in names:
            return match[0]
        return words or f"*{name.replace('_', ' ')}* (of the whole book)"

    return re.sub(r"\{doc\}`([^`]+)`", plain, text)


def this_run(page: Chapter, papermill: dict) -> str:
    """The box at the foot of a chapter (MyST): the parameters really used, when, how long, and how
    to do it again. ``papermill`` is the executed notebook's ``metadata.papermill``."""
    started = datetime.fromisoformat(papermill["start_time"]).strftime("%Y-%m-%d %H:%M UTC")
    seconds = f"{papermill['duration']:.0f} s"
    rows = "\n".join(f"| `{name}` | `{value!r}` |" for name, value in page.values.items())
    changed = papermill["parameters"] | ({"task": page.task} if page.task else {})
    again = f"papermill notebooks/{page.source.name} out.ipynb -p run {page.values['run']}"
    options = [f" -r {name} {shlex.quote(value)}" if isinstance(value, str) else
               f" -p {name} {value!r}" for name, value in changed.items() if name != "run"]
    return f"""::::{{admonition}} This run
:class: note this-run
Started {started}, took {seconds}. Parameters, versions and the tables made are in the run's
{{download}}`manifest </run/manifest.json>`.

| parameter | value |
|---|---|
{rows}

The same again:

```bash
{again}{"".join(options)}
```
::::
"""


def _addressed(config: dict, root: Path) -> dict:
    """Point launch buttons at the public repository of this clone; without one there are none."""
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    origin = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    match = re.search(r"github\.com[:/]([^/\s]+/[^/\s]+?)(?:\.git)?/?$", origin)
    if match:
        return config | {"repository": {"url": f"https://github.com/{match[1]}", "branch": "main"}}
    del config["launch_buttons"]
    return config | {"repository": {"url": ""}}


def parameters_table() -> str:
    """Markdown: for each notebook a heading, the number of its chapter where the contents number
    it, and a table of the parameters that it declares."""
    toc = yaml.safe_load((project_root() / "_toc.yml").read_text(encoding="utf-8"))
    pages = [one["file"] for part in toc["parts"] if part.get("numbered")
             for one in part["chapters"]]
    parts = []
    for path, chapter in {c.source: c for c in chapters()}.items():
        rows = [f"| `{name}` | `{default!r}` | {meaning} |"
                for name, (default, meaning) in declared(chapter).items()]
        head = "| parameter | default | meaning |\n|---|---|---|"
        page = f"notebooks/{path.stem}"
        number = f"Chapter {pages.index(page) + 1}, {{doc}}`../{page}`.\n" if page in pages else ""
        parts += [f"## {path.stem}\n", *filter(None, [number]), head, *rows, ""]
    return "\n".join(parts)


def reading_table() -> str:
    """Markdown table of the minutes and stars that pages state: of each part of the book that has
    notebooks, of each of its pages, and of the whole."""
    root, sources = project_root(), {f"notebooks/{c.name}": c.source for c in chapters()}
    rows, whole = [], 0
    for part in yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))["parts"]:
        pages = [page["file"] for page in part["chapters"]]
        if sources.keys() & set(pages):
            files = {page: sources.get(page, root / f"{page}.md") for page in pages}
            times = {page: TIME.search(file.read_text(encoding="utf-8"))
                     for page, file in files.items()}
            minutes = sum(int(time[1]) for time in times.values() if time)
            rows.append(f"| **{part['caption']}** | **{minutes}** | |")
            for page, time in times.items():
                read, stars = time.groups()[:2] if time else ("–", "")
                rows.append(f"| {{doc}}`../{page}` | {read} | {stars} |")
            whole += minutes
    head = ["| page | minutes | stars |", "|---|---|---|"]
    return "\n".join([*head, *rows, f"| **All** | **{whole}** | |"])


def api_page() -> str:
    """A dropdown for every module with all its public functions and classes, as sphinx's autodoc
    shows them; but for the compiled engine, and the command, whose help is its own."""
    parts = []
    for path in sorted(PACKAGE.rglob("[!_.]*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if ".engine." not in module and not module.endswith(".cli"):
            directive = f".. automodule:: {module}\n   :members:"
            parts.append(f"::::{{dropdown}} {module}\n```{{eval-rst}}\n{directive}\n```\n::::\n")
    return "\n".join(parts)


# --- rendering -----------------------------------------------------------------------------------


def render(strict: bool = False) -> Path:
    """Render ``build/src`` to ``build/book/html`` unless what is there came from the same sources;
    return its index.

    A strict build fails on any warning and on any reference that leads nowhere. The site is
    replaced only by a render that succeeded. Raises InputError with the first warnings or the
    error, and the log's place.
    """
    root = project_root()
    source, site, work = (root / "build" / name for name in ("src", "book", "render"))
    index, stamp = site / "html" / "index.html", site / "rendered.json"
    files = {str(path.relative_to(source)): path for path in listed_files(source)}
    files |= {name: PACKAGE / name for name in ("book.py", "pages.py")}
    digests = {name: sha256_of(path) for name, path in files.items()}
    there = stamp.exists() and index.exists()
    last = json.loads(stamp.read_text(encoding="utf-8")) if there else {}
    if last.get("files") == digests and last["strict"] >= strict:
        return index
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    code = (f"from taskgram_utils.cluster import end_with; end_with({os.getpid()}); "
            "from jupyter_book.cli.main import main; main()")
    command = [sys.executable, "-c", code, "build", str(source), "--path-output", str(work)]
    command += ["-W", "--keep-going", "-n"] if strict else []
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          encoding="utf-8", cwd=root, env=os.environ | {"PYTHONUTF8": "1"})
    log, made = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout), work / "_build" / "html"
    write_text(work / "render.log", log)
    if done.returncode or not (made / "index.html").exists():
        lines = log.splitlines()
        warnings = [one for one in lines if re.search("WARNING|ERROR|CRITICAL|Error:", one)]
        shown = "\n".join((warnings or lines[-3:])[:20])
        raise InputError(f"the book did not render ({len(warnings)} warnings; log: "
                         f"{work / 'render.log'}):\n{shown}")
    finish(made, source / "run", {c.name: c.source.name for c in chapters() if c.task})
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    os.replace(made, site / "html")
    write_text(stamp, json.dumps({"files": digests, "strict": strict}))
    return index


def build(
    plan: Plan, strict: bool = False, progress: bool | None = None, instructor: bool = False
) -> Path:
    """Run what changed, lay it out, render it; return the path of the index page."""
    execute(plan, progress)
    stage(plan, instructor)
    return render(strict)
