"""The compiler where nothing can be kept: the same code runs, and one line says so."""

import os
import subprocess
import sys

CODE = """
from contextlib import suppress
from numba.core import caching
caching.CacheImpl._locator_classes = []  # as in a container whose package and home cannot be written to
from taskgram_utils.cli import main
with suppress(SystemExit):
    main(["count", "c.txt", "--ngrams", "absent.txt", "--out", "-"])
from taskgram_utils.reading import Block
print(Block.of(["a", " ", "b"]).without_blank().texts())
"""


def test_the_command_works_without_a_place_for_compiled_code(tmp_path):
    (tmp_path / "c.txt").write_text("a cat")
    path = os.pathsep.join(os.path.abspath(p or ".") for p in sys.path)
    found = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": path}, check=True)  # fmt: skip
    assert found.stdout == "['a', 'b']\n"
    said = "compiled code cannot be kept and is compiled anew each time: name a folder for it in NUMBA_CACHE_DIR"
    absent = "absent.txt: cannot be read (No such file or directory)"
    assert found.stderr.splitlines() == [f"taskgram: {said}", f"taskgram: {absent}"]
