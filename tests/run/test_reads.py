"""What is noted as read, and which code a function reaches."""

import pytest

from taskgram_utils.run import reads

HOUSE = {
    "steps": """
        from house.attic import DUST
        from house.sources import corpus, other
        LEAST = 3
        UNUSED = 4
        def make(run):
            "What it makes."
            from house.floor.room import table
            return table(corpus(run), LEAST)  # as it comes
        def apart(run):
            return DUST
        def made_of(name):
            def make(run):
                return name, LEAST
            return make
    """,
    "sources": """
        def corpus(run):
            return helped(run)
        def helped(run):
            return run
        def other(run):
            from house.attic import DUST
    """,
    "floor/room": "import json\nfrom house.cellar import WINE\nfrom house.hall import STEP\n"
                  "def table(*given):\n    return given, WINE\n",
    "cellar": "from house.errors import Wrong\nWINE = 1\n",
    "hall/__init__": "from house.hall.stairs import STEP\n",
    "hall/stairs": "STEP = 1\n",
    "attic": "DUST = 1\n",
    "errors": "class Wrong(Exception):\n    pass\n",
}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A package of its own, in which a file can be changed; gives the code that ``make`` reaches."""
    import textwrap

    package = tmp_path / "house"
    for name, text in HOUSE.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.setattr(reads, "PACKAGE", package)
    monkeypatch.setattr(reads, "BY_FUNCTION", ("house.steps", "house.sources"))
    monkeypatch.setattr(reads, "WITHOUT", ("house.errors",))

    def code(name: str = "make", file: str = "", old: str = "", new: str = "") -> dict:
        if file:
            text = (package / f"{file}.py").read_text()
            assert old in text
            (package / f"{file}.py").write_text(text.replace(old, new))
        for function in (reads._reached, reads._read, reads._statements):
            function.cache_clear()
        return reads._reached("house.steps", name)

    yield code
    for function in (reads._reached, reads._read, reads._statements):
        function.cache_clear()


@pytest.mark.parametrize(("file", "old", "new", "changes"), [
    ("steps", "LEAST = 3", "LEAST = 5", True), ("steps", "UNUSED = 4", "UNUSED = 5", False),
    ("sources", "return run", "return [run]", True), ("sources", "import DUST", "import WOOD", False),
    ("floor/room", "return given", "return 1, given", True), ("cellar", "WINE = 1", "WINE = 2", True),
    ("hall/stairs", "STEP = 1", "STEP = 2", True), ("hall/__init__", "import STEP", "import STEP as STEP", True),
    ("attic", "DUST = 1", "DUST = 2", False), ("errors", "pass", "code = 2", False),
    ("steps", "as it comes", "as it came", False), ("steps", "What it makes.", "What is made.", False),
])  # fmt: skip
def test_code_counts_where_it_is_reached(house, file, old, new, changes):
    before = house()
    assert house() == before
    assert (house("make", file, old, new) != before) == changes


def test_code_of_a_function_within_a_function_is_that_of_the_outer(house):
    before, apart = house("made_of"), house("apart")
    assert house("made_of", "steps", "return name, LEAST", "return name") != before
    assert house("apart") == apart


def test_the_tables_of_the_package_reach_what_they_call():
    from taskgram_utils.run import pipeline

    def reached(name: str) -> set[str]:
        parts = reads._reached("taskgram_utils.run.recipes", name)
        return {part.removeprefix("taskgram_utils.") for part in parts}

    counts = reached("make_counts")
    assert {"counting.scan", "counting.index", "counting.api", "run.data:corpus", "ngrams"} <= counts
    engine = {"counting.engine", "counting.engine.tokens", "counting.engine.matching", "counting.engine.threads"}
    assert engine <= counts  # imported through the package's __init__.py
    assert "bertscore" in reached("make_answer") and "bertscore" not in reached("make_score")
    assert not any(part.startswith("language_models.neural") for part in counts | reached("make_memorization"))
    made = [recipe.make for recipe in pipeline.RECIPES.values() if hasattr(recipe, "make")]
    assert len(made) > 40 and len({reads.code_of(make) for make in made}) == len(made)


def test_what_is_read_within_is_noted_within_alone(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    reads.note("parameters", "n", 0)  # nothing is being made
    with reads.recording() as outer:
        reads.note("parameters", "n", 1)
        with reads.recording() as inner:
            reads.note("parameters", "m", 2)
            reads.note_file(tmp_path / "a.txt")
            reads.note_file(tmp_path / "none.txt")
        reads.note("tables", "t", "digest")
    assert outer == {"parameters": {"n": 1}, "inputs": {}, "files": {}, "tables": {"t": "digest"}}
    assert inner["parameters"] == {"m": 2}
    assert inner["files"][str(tmp_path / "none.txt")] is None
    assert reads.unchanged(tmp_path / "a.txt", inner["files"][str(tmp_path / "a.txt")])
    (tmp_path / "none.txt").write_text("")
    assert not reads.unchanged(tmp_path / "none.txt", None)


def test_a_large_file_counts_by_its_ends_and_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(reads, "LARGE", 1 << 10)
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(5 << 20))
    before = reads.state(path)
    assert reads.unchanged(path, before)
    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"x")
    assert not reads.unchanged(path, before)
