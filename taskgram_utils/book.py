"""The book: which notebooks it has, running them with papermill, the "This run" box, rendering with Jupyter Book."""

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from taskgram_utils.cluster import THREAD_VARIABLES, cores
from taskgram_utils.errors import InputError, require
from taskgram_utils.progress import Bar
from taskgram_utils.run import cost, pipeline, reads
from taskgram_utils.run.checks import ONLY_CODE, ONLY_TEXT, require_values, value_of
from taskgram_utils.run.data import draws_world, listed_files, truth_known
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.run.store import Input, Recipe, Run, open_run_file, project_root
from taskgram_utils.tasks import base as tasks
from taskgram_utils.texts import read_yaml, write_text

KERNEL = "taskgram"
AT_A_TIME = 2


LEFT_OUT = "*Left out: this part needs to know what is true of the text, and of this text that is not known.*"


class Chapter(NamedTuple):
    """A page made by running a notebook. ``task`` is that of a notebook which is run once per task, else None."""

    name: str
    source: Path
    task: str | None


class Page(NamedTuple):
    """A chapter with the parameters really used."""

    chapter: Chapter
    values: dict[str, Any]

    @property
    def table(self) -> str:
        """The name that its executed copy has in the run."""
        return f"notebooks/{self.chapter.name}"


class Plan(NamedTuple):
    """What a run executes: the run as opened, the run parameters that replace its file's, its pages in order, and the
    table of contents they stand in."""

    run: Run
    overrides: dict[str, Any]
    pages: list[Page]
    toc: Path

    @property
    def folder(self) -> Path:
        """Where executed notebooks are kept."""
        return self.run.folder / "notebooks"


# ---------------------------------------------------------------- what is in the book


def contents(run: Run) -> Path:
    """The table of contents of a run: the whole book's, or that of runs about real text."""
    own = project_root() / "notebooks" / "runs" / "openbook.toc.yml"
    whole = draws_world(run) or not run.parameters.get("corpus") or not own.exists()
    return project_root() / "_toc.yml" if whole else own


def chapters(toc: Path | None = None) -> list[Chapter]:
    """Chapters in the order of a table of contents, by default the book's.

    A page ``NN_task`` without a notebook of its own is the only ``NN_*`` notebook, filled in for that task. Raises
    InputError where there is no such notebook.
    """
    root, found = project_root(), []
    toc = toc or root / "_toc.yml"
    for part in yaml.safe_load(toc.read_text(encoding="utf-8"))["parts"]:
        for path in (Path(entry["file"]) for entry in part["chapters"]):
            if path.parent != Path("notebooks"):
                continue
            source, task = root / f"{path}.ipynb", None
            if not source.exists():
                number, _, task = path.name.partition("_")
                fitting = sorted((root / "notebooks").glob(f"{number}_*.ipynb"))
                require(
                    len(fitting) == 1 and task,
                    f"{toc.name}: no notebook {path}.ipynb, nor exactly one {number}_*.ipynb to fill in for it",
                )
                source = fitting[0]
            found.append(Chapter(path.name, source, task))
    return found


def filled(chapter: Chapter, truth: bool = True):
    """The notebook as run for this chapter: ``TASKKEY`` becomes the task (``factual_qa``), ``TASKNAME`` its title
    within a sentence (``factual QA``), and the parameter ``task`` has it as its value. Without the ``truth``, a line
    stands for each part of it that is marked as needing it."""
    import nbformat

    text = chapter.source.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    if not truth:
        marked = [cell.source.startswith((ONLY_CODE, ONLY_TEXT)) for cell in notebook.cells]
        first = [now and not before for before, now in zip([False, *marked], marked, strict=False)]
        cells = zip(notebook.cells, marked, first, strict=True)
        notebook.cells = [nbformat.v4.new_markdown_cell(LEFT_OUT, id=cell.id) if begins else cell
                          for cell, out, begins in cells if begins or not out]  # fmt: skip
        text = nbformat.writes(notebook)
    if not chapter.task:
        return notebook
    title = tasks.task(chapter.task).title
    text = text.replace("TASKKEY", chapter.task).replace("TASKNAME", title[0].lower() + title[1:])
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", ()):
            cell.source = re.sub(r"(?m)^task = \S+", f"task = {json.dumps(chapter.task)}", cell.source)
    return notebook


def declared(chapter: Chapter) -> dict[str, tuple[Any, str]]:
    """The parameters that a chapter declares: name -> (default, its trailing comment)."""
    from papermill.inspection import inspect_notebook

    found = {}
    for name, item in inspect_notebook(chapter.source).items():
        try:
            found[name] = (ast.literal_eval(item["default"]), item["help"])
        except (ValueError, SyntaxError) as error:
            raise InputError(
                f"{chapter.source.name}: parameter {name} must be a plain value, not {item['default']}"
            ) from error
    return found


# ---------------------------------------------------------------- parameters


def plan(run: str = "miniature", given: Iterable[tuple[str, Any]] = ()) -> Plan:
    """What ``run`` executes with the parameters ``given``: (name, value), a value in text being read as YAML.

    ``chapter.name`` sets a parameter of one chapter (a page, or a notebook with all its pages); a bare name goes to
    every chapter that declares it and to the run file where that has it. Raises InputError for a name that nothing
    declares, for a value of another type than the default's, and for a run without a file.
    """
    named = str(Path(run).resolve()) if run.endswith((".yaml", ".yml")) else run
    unchanged = open_run_file(named, {})
    toc, file = contents(unchanged), unchanged.parameters
    book = chapters(toc)
    known = {c.name: declared(c) for c in book}
    used = {c.name: {name: default for name, (default, _) in known[c.name].items()} for c in book}
    for chapter in book:
        for name, value in {"run": named, "task": chapter.task}.items():
            require(value is None or name in used[chapter.name], f"{chapter.source.name}: its parameters lack {name}")
            if value is not None:
                used[chapter.name][name] = value
    overrides = {}
    for label, value in given:
        where, _, name = label.rpartition(".")
        require(name not in ("run", "task"), f"-p {label}: run and task come from the run and the table of contents")
        places = [c for c in book if not where or where in (c.name, c.source.stem)]
        require(places, f"-p {label}: no chapter {where!r}; there are: {', '.join(c.name for c in book)}")
        names = {n for c in places for n in known[c.name]} | (set() if where else set(file))
        require(
            name in names,
            f"-p {label}: nothing named {name!r} in {where or 'any chapter or the run file'}; "
            f"there are: {_nearest(name, names - {'run', 'task'})}",
        )
        for place in places:
            if name in known[place.name]:
                used[place.name][name] = _typed(label, value, known[place.name][name][0])
        if not where and name in file:
            overrides[name] = value_of(name, value) if isinstance(value, str) else value
    overrides = _standing(overrides, file)
    opened = open_run_file(named, pipeline.RECIPES, overrides)
    require_values(overrides)
    absent = {c.task for c in book if c.task} - set(opened.parameters.get("tasks", [c.task for c in book]))
    book = [chapter for chapter in book if chapter.task not in absent]
    require(
        not absent or toc != project_root() / "_toc.yml",
        f"run {opened.name}: its tasks lack {', '.join(sorted(absent))}, and the book has a chapter on each; "
        "for fewer tasks run single chapters: papermill notebooks/NAME.ipynb out.ipynb -p run ...",
    )
    pages = [Page(c, used[c.name]) for c in book]
    # An executed chapter is a file of the run like any other, made with the run's parameters and its own.
    for page in pages:
        opened.parameters |= {f"{page.chapter.name}.{name}": value for name, value in page.values.items()}
    sources = {c.name: c.source for c in book}
    opened.recipes = {**opened.recipes, "package": Input(_package), "notebook/*": Input(lambda _, c: [sources[c]]),
                      "notebooks/*": Recipe(_executed(pages, overrides), ".ipynb", path=True)}  # fmt: skip
    return Plan(opened, overrides, pages, toc)


def _standing(given: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """``given`` with its files and folders found from where one stands. What is not there is left to be found as a run
    file's own: ``corpus`` and ``tokenizer`` in ``data``, which comes first, the others in the project."""
    root, here = project_root(), Path.cwd()

    def placed(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: placed(name, one) for key, one in value.items()}
        if isinstance(value, list):
            return [placed(name, one) if "/" in str(one) else one for one in value]
        base = root / Path(data if name in ("corpus", "tokenizer") else "").expanduser()
        if not isinstance(value, str) or value in ("", "twin") or base == here:
            return value
        mine, theirs = here / Path(value).expanduser(), base / Path(value).expanduser()
        if data and base != root and theirs.exists():
            return value
        return str(mine) if mine.exists() or (name in ("data", "weights") and not theirs.exists()) else value

    data = ""
    data = str(placed("data", given["data"]) if "data" in given else file.get("data") or "")
    named = {"data", "weights", "embedding", "bertscore", "models", "tokenizer"}
    named |= {"corpus"} if {**file, **given}.get("backend") != "api" else set()
    return {name: placed(name, value) if name in named else value for name, value in given.items()}


def _nearest(name: str, names: set[str], most: int = 20) -> str:
    """Names in words, those most like ``name`` where there are many."""
    alike = sorted(names, key=lambda other: -SequenceMatcher(None, name, other).ratio())[:most]
    more = len(names) - len(alike)
    return ", ".join(sorted(alike)) + (f" and {more} more, which the page on running it again lists" if more else "")


def _typed(label: str, value: Any, default: Any) -> Any:
    """``value`` in the type of ``default``, or InputError; text is read as YAML unless text is wanted."""
    if isinstance(value, str) and not isinstance(default, str):
        value = read_yaml(value, f"-p {label}")
    whole_for_float = isinstance(default, float) and type(value) is int
    good = default is None or whole_for_float or type(value) is type(default)
    require(good, f"-p {label}: wanted {type(default).__name__} like {default!r}, got {value!r}")
    return value


def _package_files() -> list[Path]:
    return [p for p in listed_files(PACKAGE) if "__pycache__" not in p.parts]


def _package(run: Run) -> list[Path]:
    """The code and data of the package, the book and the command line apart, and the pinned versions."""
    skip = {PACKAGE / "book.py", PACKAGE / "cli.py"}
    chapters = sorted((project_root() / "notebooks" / "lib").glob("*.py"))
    files = [*_package_files(), *chapters, project_root() / "constraints.txt"]
    return [p for p in files if p not in skip and p.exists()]


# ---------------------------------------------------------------- running


def execute(plan: Plan, progress: bool | None = None) -> list[str]:
    """Run every page whose source, parameters, package code or inputs changed; return the names of those run.

    What models are asked for comes first, model by model, so that no two notebooks load one at the same time.
    Two notebooks at a time, threads x notebooks <= cores. An executed copy is kept only when the whole notebook ran
    and wrote nothing to standard error. Raises InputError with one line a failed notebook: notebook, cell, error.
    """
    pending = [page for page in plan.pages if not plan.run.is_current(page.table)]
    if not pending:
        return []
    if "models" in plan.run.parameters:
        pipeline.ask_models(plan.run, progress)
    (plan.folder / "unfinished").mkdir(parents=True, exist_ok=True)
    jobs: dict[Future, str] = {}
    failures: list[BaseException] = []
    waiting = list(pending)
    silent = progress if progress is None else not progress
    with (
        ThreadPoolExecutor(AT_A_TIME) as pool,
        Bar(total=len(pending), desc="chapters", unit="chapter", dynamic_ncols=True, disable=silent) as bar,
    ):
        try:
            while (waiting and not failures) or jobs:
                while waiting and not failures and len(jobs) < AT_A_TIME:
                    page = waiting.pop(0)
                    jobs[pool.submit(plan.run.path, page.table)] = page.chapter.name
                bar.set_postfix_str(", ".join(jobs.values()))
                done, _ = wait(jobs, timeout=1, return_when=FIRST_COMPLETED)
                for job in done:
                    jobs.pop(job)
                    bar.update()
                    failures += [error] if (error := job.exception()) else []
        except BaseException:
            _end_kernels()
            raise
    for error in failures:
        if not isinstance(error, InputError):
            raise error
    require(not failures, "\n".join(map(str, failures)))
    return [page.chapter.name for page in pending]


def _executed(pages: Sequence[Page], overrides: dict[str, Any]) -> Callable[[Run, Path, str], None]:
    """How a page is made: run by papermill, with its own and the run's replaced parameters."""
    by_name = {page.chapter.name: page for page in pages}

    def make(run: Run, out: Path, name: str) -> None:
        _execute_one(run, by_name[name], overrides, out)

    return make


def _execute_one(run: Run, page: Page, overrides: dict[str, Any], out: Path) -> None:
    """Run one notebook; ``out`` is written only when all went well. What its kernel read is noted as read."""
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    chapter, values = page
    for name in values:
        run[f"{chapter.name}.{name}"]  # noted as read
    run.files(f"notebook/{chapter.name}")
    run.files("package")
    folder, defaults = run.folder / "notebooks" / "unfinished", declared(chapter)
    changed = {n: v for n, v in values.items() if v != defaults[n][0] and (n != "task" or not chapter.task)}
    partial, noted = folder / f"{chapter.name}.ipynb", folder / f"{chapter.name}.json"
    kernel = _write_kernel(project_root() / "build" / "jupyter", overrides, noted)
    place = f"notebooks/{chapter.source.name}" + (f" ({chapter.task})" if chapter.task else "")
    config = Config()
    with tempfile.TemporaryDirectory(prefix="tg-") as sockets:
        if os.name == "posix":  # sockets in a folder of their own: no open port, and the path stays short
            config.KernelManager.update({"transport": "ipc", "connection_file": f"{sockets}/kernel.json"})
        cells = filled(chapter, truth_known(run))
        try:
            notebook = papermill.execute_notebook(
                cells, str(partial), parameters=changed, kernel_name=kernel, language="python",
                progress_bar=False, config=config, resources={"metadata": {"path": str(project_root())}},
            )  # fmt: skip
        except PapermillExecutionError as error:
            text = f"{error.ename}: {' '.join(str(error.evalue).split())}"
            raise InputError(f"{place}, cell {error.exec_count}: {text} (whole trace: {partial})") from error
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        said = " ".join(output.text for output in cell.outputs if output.get("name") == "stderr")
        where = f"{place}, cell {cell.execution_count}"
        require(not said, f"{where} wrote to standard error: {' '.join(said.split())[:300]} ({partial})")
    os.replace(partial, out)
    if noted.exists():
        for kind, names in json.loads(noted.read_text(encoding="utf-8")).items():
            for name, value in names.items():
                reads.note(kind, name, value)
        noted.unlink()


def _write_kernel(folder: Path, overrides: dict[str, Any], noted: Path) -> str:
    """Write a kernel specification for this very interpreter, let Jupyter find it and return its name. Its environment
    holds the thread counts, the run's replaced parameters and the file in which the kernel notes what it reads, and
    silences progress bars on pages: all of it before a kernel starts."""
    environment = dict.fromkeys(THREAD_VARIABLES, str(max(1, cores() // AT_A_TIME)))
    environment |= {"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment |= {pipeline.OVERRIDES: json.dumps(overrides), reads.KERNEL: str(noted)}
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=50"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python", "env": environment}
    place = folder / "kernels" / f"{KERNEL}-{noted.stem}".lower()
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / "kernel.json", json.dumps(spec, indent=1))
    known = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    os.environ["JUPYTER_PATH"] = os.pathsep.join([str(folder), *(p for p in known if p and p != str(folder))])
    return place.name


def _end_kernels() -> None:
    """End the kernels that this process started, so that an interrupted run does not wait for them."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        if "ipykernel_launcher" in " ".join(child.cmdline()):
            child.kill()


# ---------------------------------------------------------------- staging


def stage(plan: Plan) -> Path:
    """Lay out ``build/src``: configuration, prose and the executed notebooks, each with its "This run" box.

    Raises InputError for a page that has not been run with these parameters.
    """
    for page in plan.pages:
        require(
            plan.run.is_current(page.table),
            f"chapter {page.chapter.name} has not been run with these parameters: 'taskgram run {plan.run.name}' first",
        )
    root = project_root()
    place = root / "build" / "src"
    shutil.rmtree(place, ignore_errors=True)
    (place / "notebooks").mkdir(parents=True)
    toc = yaml.safe_load(plan.toc.read_text(encoding="utf-8"))
    there = {f"notebooks/{page.chapter.name}" for page in plan.pages}
    for part in toc["parts"]:
        part["chapters"] = [e for e in part["chapters"] if not e["file"].startswith("notebooks/") or e["file"] in there]
    write_text(place / "_toc.yml", yaml.safe_dump(toc, allow_unicode=True, sort_keys=False))
    shutil.copytree(root / "book", place / "book")
    absent = _absent_pages(plan)
    for name in absent:
        (place / f"{name}.md").unlink(missing_ok=True)
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    write_text(place / "_config.yml", yaml.safe_dump(_addressed(config, root), allow_unicode=True))
    made = {
        "<!-- API -->": api_page,
        "<!-- PARAMETERS -->": parameters_table,
        "<!-- SCALE -->": lambda: cost.page(root / "results"),
    }
    for page in (place / "book").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for mark in made.keys() & set(re.findall(r"(?m)^<!-- [A-Z]+ -->$", text)):
            write_text(page, text.replace(mark, made[mark]()))
    plan.run.manifest()
    (place / "run").mkdir()
    for path in [plan.run.folder / "manifest.json", *plan.run.folder.glob("figures/*.csv")]:
        shutil.copy(path, place / "run")
    for page in plan.pages:
        _stage_notebook(page, plan.folder, place)
    if absent:
        _unlink(place, absent)
    return place


def _absent_pages(plan: Plan) -> set[str]:
    """The pages of the whole book that a run's own table of contents leaves out."""

    def pages(toc: Path) -> set[str]:
        listed = yaml.safe_load(toc.read_text(encoding="utf-8"))
        return {listed["root"], *(entry["file"] for part in listed["parts"] for entry in part["chapters"])}

    root = project_root()
    if plan.toc == root / "_toc.yml":
        return set()
    prose = {str(path.relative_to(root).with_suffix("")) for path in (root / "book").glob("*.md")}
    here = {name for name in pages(plan.toc) if not name.startswith("notebooks/")}
    return (pages(root / "_toc.yml") | prose) - here - {f"notebooks/{page.chapter.name}" for page in plan.pages}


def _unlink(place: Path, absent: set[str]) -> None:
    """Turn references to pages that are not in this book into plain words."""
    import nbformat

    titles = {Path(name).name for name in absent}

    def plain(match: re.Match) -> str:
        text, _, target = match[1].rpartition(" <")
        name = Path(target.rstrip(">")).name
        return match[0] if name not in titles else text or f"*{name.replace('_', ' ')}* (of the whole book)"

    def cleaned(text: str) -> str:
        return re.sub(r"\{doc\}`([^`]+)`", plain, text)

    for path in (place / "book").glob("*.md"):
        write_text(path, cleaned(path.read_text(encoding="utf-8")))
    for path in (place / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.source = cleaned(cell.source) if cell.cell_type == "markdown" else cell.source
        nbformat.write(notebook, path)


def _stage_notebook(page: Page, folder: Path, place: Path) -> None:
    import nbformat

    notebook = nbformat.read(folder / f"{page.chapter.name}.ipynb", as_version=4)
    box = this_run(page, notebook.metadata.papermill)
    notebook.cells.append(nbformat.v4.new_markdown_cell(box, id="this-run"))
    nbformat.write(notebook, place / "notebooks" / f"{page.chapter.name}.ipynb")


def this_run(page: Page, papermill: dict) -> str:
    """The box at the foot of a chapter (MyST): the parameters really used, when, how long, and how to do it again.
    ``papermill`` is the executed notebook's ``metadata.papermill``."""
    started = datetime.fromisoformat(papermill["start_time"]).strftime("%Y-%m-%d %H:%M UTC")
    rows = "\n".join(f"| `{name}` | `{value!r}` |" for name, value in page.values.items())
    changed = papermill["parameters"] | ({"task": page.chapter.task} if page.chapter.task else {})
    texts = {n: v for n, v in changed.items() if isinstance(v, str) and n != "run"}
    given = "".join(f" -p {n} {v!r}" for n, v in changed.items() if not isinstance(v, str))
    given += "".join(f" -r {n} {shlex.quote(v)}" for n, v in texts.items())
    again = f"papermill notebooks/{page.chapter.source.name} out.ipynb -p run {page.values['run']}{given}"
    return f"""::::{{admonition}} This run
:class: note this-run
Started {started}, took {papermill["duration"]:.0f} s. Parameters, versions and the tables made are in the run's
{{download}}`manifest </run/manifest.json>`.

| parameter | value |
|---|---|
{rows}

The same again:

```bash
{again}
```
::::
"""


def _addressed(config: dict, root: Path) -> dict:
    """Point launch buttons at the public repository this clone came from; without one there are none."""
    asked = subprocess.run(["git", "-C", str(root), "remote", "get-url", "origin"], capture_output=True, text=True)
    match = re.search(r"github\.com[:/]([^/\s]+/[^/\s]+?)(?:\.git)?/?$", asked.stdout.strip())
    if match:
        return config | {"repository": {"url": f"https://github.com/{match[1]}", "branch": "main"}}
    return {k: v for k, v in config.items() if k != "launch_buttons"} | {"repository": {"url": ""}}


def parameters_table() -> str:
    """Markdown table of the parameters that the notebooks declare: notebook, name, default, meaning."""
    rows = ["| notebook | parameter | default | meaning |", "|---|---|---|---|"]
    for path, chapter in {c.source: c for c in chapters()}.items():
        for name, (default, meaning) in declared(chapter).items():
            rows.append(f"| `{path.stem}` | `{name}` | `{default!r}` | {meaning} |")
    return "\n".join(rows)


def api_page() -> str:
    """Markdown of every public function and class of the package, read from the source without importing it."""
    parts = []
    for path in _package_files():
        if path.suffix != ".py" or path.name == "__init__.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        parts.append(f"## {name}\n\n{_fenced(ast.get_docstring(tree) or '')}\n")
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                inner = node.body if isinstance(node, ast.ClassDef) else []
                shown = [node, *(n for n in inner if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"))]
                text = "\n\n".join(f"{_signature(n)}\n{ast.get_docstring(n) or ''}".strip() for n in shown)
                parts.append(f"::::{{dropdown}} {node.name}\n{_fenced(text)}\n::::\n")
    return "\n".join(parts)


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _fenced(text: str) -> str:
    return f"`````text\n{text.strip()}\n`````"


# ---------------------------------------------------------------- rendering


def render(strict: bool = False) -> Path:
    """Render ``build/src`` to ``build/book/html`` unless what is there came from the same sources; return its index.

    A strict build fails on any warning and on any reference that leads nowhere. The site is replaced only by a render
    that succeeded. Raises InputError with the first warnings or the error, and the log's place.
    """
    root = project_root()
    place, site, work = (root / "build" / name for name in ("src", "book", "render"))
    index, stamp = site / "html" / "index.html", site / "rendered.json"
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in listed_files(place):
        digest.update(str(path.relative_to(place)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    last = json.loads(stamp.read_text(encoding="utf-8")) if stamp.exists() and index.exists() else {}
    if last.get("key") == digest.hexdigest() and last["strict"] >= strict:
        return index
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    code = f"from taskgram_utils.cluster import end_with; end_with({os.getpid()}); "
    command = [sys.executable, "-c", code + "from jupyter_book.cli.main import main; main()", "build", str(place)]
    command += ["--path-output", str(work), *(["-W", "--keep-going", "-n"] if strict else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
                          cwd=root, env=os.environ | {"PYTHONUTF8": "1"})  # fmt: skip
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    write_text(work / "render.log", said)
    warnings = [line for line in said.splitlines() if re.search(r"WARNING|ERROR|CRITICAL|Error:", line)]
    made = work / "_build" / "html"
    if done.returncode or not (made / "index.html").exists():
        shown = "\n".join((warnings or said.splitlines()[-3:])[:20])
        raise InputError(f"the book did not render ({len(warnings)} warnings; log: {work / 'render.log'}):\n{shown}")
    _finish(made, chapters())
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    os.replace(made, site / "html")
    write_text(stamp, json.dumps({"key": digest.hexdigest(), "strict": strict, "warnings": len(warnings)}))
    return index


def _finish(site: Path, book: Sequence[Chapter]) -> None:
    """Launch buttons of a filled-in page open the committed notebook, which has another name; fonts are not preloaded,
    which a page opened from disk may not do (icons are drawn by a script)."""
    names = {c.name: c.source.name for c in book if c.task}
    for path in site.rglob("*.html"):
        text = re.sub(r'<link rel="preload" as="font"[^>]*>\n?', "", path.read_text(encoding="utf-8"))
        if path.stem in names:
            link = rf'(href="https?://[^"]*notebooks/){re.escape(path.stem)}\.ipynb'
            text = re.sub(link, rf"\g<1>{names[path.stem]}", text)
        path.write_text(text, encoding="utf-8")


def build(plan: Plan, strict: bool = False, progress: bool | None = None) -> Path:
    """Run what changed, lay it out, render it; return the path of the index page."""
    execute(plan, progress)
    stage(plan)
    return render(strict)
