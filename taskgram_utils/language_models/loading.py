"""Causal language models of ``transformers``, from a folder or the hub, any size and step, checked when loaded."""

from __future__ import annotations

import errno
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import torch
from huggingface_hub import HfApi, errors, snapshot_download
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from huggingface_hub.utils import logging as hub_logging
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from taskgram_utils.errors import InputError, require
from taskgram_utils.folders import listed
from taskgram_utils.language_models.hooks import only_at, replaced_input
from taskgram_utils.round_trip import TRIALS, lost

DTYPES = ("float32", "bfloat16", "float16")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
_SMALL = ("*.json", "tokenizer.model", "vocab.txt", "merges.txt")  # of a hub model, beside its weights
UNREADABLE = (RuntimeError, ValueError, TypeError, AttributeError, IndexError)
"""What networks raise for inputs that they cannot read, and their caches for what they cannot do."""
# Tensors that old checkpoints hold and no model reads: masks, and what rotary positions are computed from.
_UNREAD = re.compile(r"(^|\.)(masked_bias|attn\.bias|attention\.bias|inv_freq)$")


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model: ``name`` and ``step`` as the tables have them, the ``transformers`` network and its tokenizer.

    ``context`` is the largest number of tokens the network reads (None: no limit), ``start`` the id of the end-of-text
    token, which stands in as context where nothing comes before a text.
    """

    name: str
    step: int | None
    network: torch.nn.Module
    tokenizer: object
    context: int | None
    start: int

    @cached_property
    def backend(self) -> Tokenizer:
        """The tokenizer itself; its offsets hold the white space of a token, which some leave out of them."""
        backend = self.tokenizer.backend_tokenizer
        processor = backend.post_processor
        if processor is not None:
            processor.__setstate__(processor.__getstate__().replace(b'"trim_offsets":true', b'"trim_offsets":false'))
            backend.post_processor = processor
        return backend

    @cached_property
    def lead(self) -> list[int]:
        """The special tokens that the tokenizer puts before a text, such as the ``<s>`` of Llama."""
        found = self.backend.encode("A")
        marked = takewhile(lambda token: token[1], zip(found.ids, found.special_tokens_mask, strict=True))
        return [token for token, _ in marked]

    @cached_property
    def unknown(self) -> str | None:
        """The token that stands for what the vocabulary cannot spell; None: it spells everything."""
        return _unknown(self.tokenizer)

    @cached_property
    def takes_positions(self) -> bool:
        """Whether the network lets its caller number the tokens."""
        return "position_ids" in inspect.signature(self.network.forward).parameters

    @cached_property
    def shares_prefix(self) -> bool:
        """Whether mask and positions keep branches of a sequence apart: plain attention over all that came before, as
        its configuration says and a trial shows."""
        config = self.network.config.get_text_config()
        limited = any(v for k, v in config.to_dict().items() if "window" in k and k != "max_window_layers")
        plain = (
            self.takes_positions
            and not self.network._is_stateful
            and not limited
            and self.length_edge is None
            and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
            and self.network.config._attn_implementation in ("sdpa", "eager")
        )
        return plain and self._branches_apart()

    @cached_property
    def length_edge(self) -> int | None:
        """The number of tokens beyond which positions mean something else for a whole batch (longrope); None: none."""
        config = self.network.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        for one in (rope, *(value for value in rope.values() if isinstance(value, dict))):
            if "longrope" in (one.get("rope_type"), one.get("type")):
                edge = one.get("original_max_position_embeddings")
                return int(edge or getattr(config, "original_max_position_embeddings", None) or 1)
        return None

    def trial_ids(self, tokens: int) -> list[int]:
        """Tokens of an ordinary text, so many or what the context holds."""
        text = "A trial: does the model read as it should, whatever comes before, beside or after? 1, 2, 3, yes. "
        rows = self.network.get_input_embeddings().num_embeddings
        ids = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        ids = [token for token in ids if token < rows] or [self.start]
        return (ids * tokens)[: tokens if self.context is None else min(tokens, self.context)]

    def alike(self, found: torch.Tensor, expected: torch.Tensor, times: float = 1) -> bool:
        """Whether two tensors are the same but for ``times`` what rounding may do, in the mean of squares."""
        found, expected = (torch.nan_to_num(x.float(), neginf=0, posinf=0) for x in (found, expected))
        allowed = (1e-3 if self.network.dtype == torch.float32 else 1e-1) * times
        return bool((found - expected).square().mean().sqrt() <= allowed * expected.std().clamp(min=1e-6))

    def _logits_at(self, places: list[int], **inputs) -> torch.Tensor:
        """Logits at some places of each text, and no others: those of a large vocabulary take memory."""
        with replaced_input(self.network.get_output_embeddings(), lambda hidden: hidden[:, places]):
            return self.network(**inputs).logits

    @torch.inference_mode()
    def reads_ahead(self) -> bool:
        """Whether what follows a token changes what the model says of it: then its log P are of no text."""
        ids = self.trial_ids(24)
        half = len(ids) // 2
        both = torch.tensor([ids, ids[:half] + ids[half:][::-1]], device=self.network.device)
        logits = self._logits_at([max(half - 1, 0)], input_ids=both, use_cache=False)
        # Both are read in one batch, so that rounding is the same but for experts that share their tokens out.
        return not self.alike(logits[1], logits[0], times=0.1 if self.network.dtype == torch.float32 else 1)

    @torch.inference_mode()
    def _branches_apart(self) -> bool:
        ids, device = self.trial_ids(24), self.network.device
        k = len(ids) // 3
        parts = ids[:k], ids[k : 2 * k], ids[2 * k : 3 * k][::-1]
        if k < 1:
            return False
        seen = torch.ones(3 * k, 3 * k, dtype=torch.bool, device=device).tril()
        seen[2 * k :, k : 2 * k] = False
        mask = torch.zeros(2, 1, 3 * k, 3 * k, dtype=self.network.dtype, device=device)
        mask.masked_fill_(~seen, torch.finfo(self.network.dtype).min)
        at = torch.tensor([[*range(2 * k), *range(k, 2 * k)]] * 2, device=device)
        whole = torch.tensor([ids[: 3 * k - k] + parts[2]] * 2, device=device)
        try:
            with replaced_input(self.network.get_output_embeddings(), lambda hidden: hidden[:, :1]):
                cache = self.network(input_ids=whole[:1, :k], use_cache=True).past_key_values
            cache.batch_repeat_interleave(2)
            rest = {"input_ids": whole[:, k:], "attention_mask": mask[:, :, k:], "position_ids": at[:, k:]}
            after = self._logits_at([k - 1, 2 * k - 1], **rest, past_key_values=cache, use_cache=True)[1]
            packed = {"input_ids": whole, "attention_mask": mask, "position_ids": at, "use_cache": False}
            packed = self._logits_at([2 * k - 1, 3 * k - 1], **packed)[1]
            each = torch.tensor([parts[0] + own for own in parts[1:]], device=device)
            alone = self._logits_at([2 * k - 1], input_ids=each, use_cache=False)[:, 0]
        except UNREADABLE as error:
            if out_of_memory(error):
                raise
            return False
        return all(self.alike(found, alone) for found in (after, packed))

    @cached_property
    def plain_head(self) -> bool:
        """Whether the logits are those of the output head, as they are: tried on a hidden state of large numbers."""
        head = self.network.get_output_embeddings()
        if type(head) is not torch.nn.Linear or head.weight.is_meta:
            return False
        seed = torch.Generator().manual_seed(0)
        state = 100 * torch.randn(1, 1, head.in_features, generator=seed).to(head.weight)
        with torch.inference_mode(), replaced_input(head, lambda hidden: state):
            logits = self.network(input_ids=torch.tensor([[self.start]], device=self.network.device)).logits
            expected = torch.nn.functional.linear(state, head.weight, head.bias)
        return bool(torch.allclose(logits.to(expected), expected, rtol=1e-2, atol=1e-2))

    @cached_property
    def last_mlp(self) -> torch.nn.Module | None:
        """The feed-forward part of the last layer, if it sees each token alone and nothing after it sees more than one
        (both are tried): what it makes of tokens that nothing is asked of is not needed."""
        many = getattr(self.network.config.get_text_config(), "num_hidden_layers", None)
        lists = (m for m in self.network.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == many)
        mlp = getattr(next(lists, [None])[-1], "mlp", None)
        if not isinstance(mlp, torch.nn.Module) or hasattr(self.network, "hf_device_map"):
            return None
        seed = torch.Generator().manual_seed(0)
        state = torch.randn(1, 3, self.network.get_input_embeddings().embedding_dim, generator=seed)
        state = state.to(self.network.device, self.network.dtype)
        try:
            with torch.inference_mode():
                out, alone = mlp(state), mlp(state[:, 1:2])
                ids = torch.tensor([self.trial_ids(3)], device=self.network.device)
                whole = self._logits_at([-1], input_ids=ids, use_cache=False)
                with only_at(mlp, ids.new_zeros(1), ids.new_tensor([ids.shape[1] - 1])):
                    limited = self._logits_at([-1], input_ids=ids, use_cache=False)
            same = out.shape == state.shape and self.alike(alone, out[:, 1:2]) and self.alike(limited, whole)
        except (TypeError, AttributeError, RuntimeError):  # it wants more than states, or gives more
            return None
        return mlp if same else None


def load(
    path_or_name: str | Path,
    step: int | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    pickled: bool = False,
) -> LanguageModel:
    """Load a causal language model and its tokenizer, from safetensors only, running no code that comes with it.

    ``path_or_name`` is a folder (with ``step``: its subfolder ``step<N>``; without: the folder itself, or its last step
    where it only holds steps) or a hub name (with ``step``: the revision ``step<N>``), whose files are fetched into the
    hub's cache, or taken from there. The model's name is the hub name or the folder's name.

    ``device`` is a GPU where there is one, unless given; ``auto`` spreads a model that is too large for one over all
    GPUs and the memory (it needs the package accelerate). ``dtype`` is, unless given, float32 on a CPU, and on a GPU
    bfloat16, or float16 where it has none. ``pickled`` allows weights that are not safetensors (old revisions of Pythia
    have no others), read without running what they may hold.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing folder, model or step, a hub that is not reached, a
    full disk, missing or unreadable weights, tensors that are missing, without a place or not finite, a tokenizer
    without character offsets, one that loses spaces, line breaks, accents or digits or reads otherwise than its
    tokenizer.json says, and a device that is not there or too small. A tokenizer that marks what it cannot spell by an
    unknown token is taken: an example with such a character in y gets no score.
    """
    require(str(path_or_name).strip(), "model: no folder and no name given")
    require(step is None or re.fullmatch(r"\d+", str(step)), f"model {path_or_name}: step {step} is no number")
    folder, step = Path(path_or_name).expanduser(), None if step is None else int(step)
    where = f"model {path_or_name}" + ("" if step is None else f", step {step}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    known = re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", device)
    require(known, f"{where}: device {device} is none of cpu, cuda, cuda:1, mps, xpu and auto")
    packed = str(path_or_name).startswith("packaged/") and not folder.is_dir()
    require(not packed, f"{where}: packaged/ is for run files; a run unpacks the model into the folder build/packaged")
    dtype = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype or _dtype(device)
    require(isinstance(dtype, torch.dtype), f"{where}: dtype {dtype} is none of {', '.join(DTYPES)}")
    if folder.is_dir():
        source, name, step = _local(folder.resolve(), step)
    else:
        source, name = _fetched(str(path_or_name), step, pickled), str(path_or_name)
    _check_files(source, f"model {source}" if folder.is_dir() else where, pickled)
    spread = {"device_map": "auto"} if device == "auto" else {}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            network, report = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=None if pickled else True, output_loading_info=True,
                trust_remote_code=False, **spread
            )  # fmt: skip
    except Exception as error:  # whatever the libraries raise for files they cannot read
        mismatched = "ignore_mismatched_sizes" in str(error)
        why = "its config.json does not fit its tensors" if mismatched else _why(error)
        raise InputError(f"{where}: cannot be loaded ({why})") from error
    kind = type(tokenizer).__name__
    require(tokenizer.is_fast, f"{where}: tokenizer {kind} gives no character offsets; it needs a tokenizer.json")
    missing = sorted(report["missing_keys"])
    require(not missing, f"{where}: {len(missing)} tensors missing from its weights ({', '.join(missing[:3])})")
    unused = sorted(k for k in report["unexpected_keys"] if not _UNREAD.search(k))
    require(not unused, f"{where}: its config.json has no place for {len(unused)} tensors ({', '.join(unused[:3])})")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    _check_tokenizer(tokenizer, source / "tokenizer.json", where)
    start = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.bos_token_id
    require(start is not None, f"{where}: its tokenizer names no end-of-text token")
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    try:
        network.eval() if spread else network.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        what = "too small for it" if out_of_memory(error) else "not to be had here"
        raise InputError(f"{where}: device {device}: {what} ({str(error).splitlines()[0]})") from error
    for key, tensor in network.state_dict().items():
        ends = () if tensor.is_meta or not tensor.numel() else tensor.aminmax()  # takes no memory, and nan is either
        require(all(map(torch.isfinite, ends)), f"{where}: weights that are not finite in {key}")
    model = LanguageModel(name, step, network, tokenizer, context, start)
    rows = network.get_input_embeddings().num_embeddings
    require(start < rows, f"{where}: its end-of-text token ({start}) is none of the {rows} that its network knows")
    try:
        ahead = model.reads_ahead()
    except UNREADABLE as error:
        raise InputError(f"{where}: its network cannot read a text ({_why(error)})") from error
    require(not ahead, f"{where}: is no causal language model: what it says of a token depends on what follows")
    return model


def parameters(model: LanguageModel) -> int:
    """Number of non-embedding parameters: without the input embedding and the output head."""
    outer = (model.network.get_input_embeddings(), model.network.get_output_embeddings())
    skipped = {id(p) for module in outer for p in module.parameters()}
    return sum(p.numel() for p in model.network.parameters() if id(p) not in skipped)


def steps_of(path_or_name: str | Path, needed: bool = True) -> list[int]:
    """The steps of a model: subfolders ``step<N>`` of a folder, or revisions on the hub.

    Raises InputError where they cannot be listed, and for none where they are ``needed``.
    """
    folder = Path(path_or_name).expanduser()
    try:
        names = [p.name for p in folder.iterdir()] if folder.is_dir() else _revisions(str(path_or_name))
    except Exception as error:
        why = " ".join(str(error).split())
        raise InputError(f"model {path_or_name}: its steps cannot be listed ({why})") from error
    found = sorted(int(name[4:]) for name in names if re.fullmatch(r"step\d+", name))
    require(found or not needed, f"model {path_or_name}: has no steps")
    return found


def identity(path_or_name: str | Path, step: int | None) -> tuple[str, int | None]:
    """Name and step that the tables will have for a model; InputError for a step that a folder lacks."""
    folder = Path(path_or_name).expanduser()
    return _local(folder.resolve(), step)[1:] if folder.is_dir() else (str(path_or_name), step)


def files_state(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a model's files, which change when the model does."""
    kinds = (".safetensors", ".bin", ".json", ".model", ".txt")
    found = [p for p in listed(folder) if p.suffix in kinds and p.is_file()]
    return [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in found]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch says that there was no memory."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def _why(error: Exception, most: int = 300) -> str:
    """What an error of a library says, in a line of at most so many characters, with its class where it says little."""
    text = " ".join(str(error).split())
    text = text if " " in text else f"{type(error).__name__}: {text}"
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def _dtype(device: str) -> torch.dtype:
    if not device.startswith(("cuda", "auto")) or not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _local(folder: Path, step: int | None) -> tuple[Path, str, int | None]:
    """The folder to load, the model's name and its step."""
    steps = sorted(int(p.name[4:]) for p in folder.glob("step*") if re.fullmatch(r"step\d+", p.name))
    source, name, own = folder, folder.name, re.fullmatch(r"step(\d+)", folder.name)
    if step is not None or (steps and not (folder / "config.json").is_file()):
        step = steps[-1] if step is None else step
        require(step in steps, f"model {folder}: no step {step} ({nearest(step, steps)})")
        source = folder / f"step{step}"
    elif own:
        name, step = folder.parent.name, int(own[1])
    return source, name, step


def nearest(step: int, steps: Iterable[int]) -> str:
    """The steps there are, or those next to ``step``, in words."""
    steps = list(steps)
    near = sorted(sorted(steps, key=lambda other: abs(other - step))[:6])
    return f"{'steps there' if len(steps) == len(near) else 'nearest'}: {', '.join(map(str, near)) or 'none'}"


def _check_files(source: Path, where: str, pickled: bool) -> None:
    require((source / "config.json").is_file(), f"{where}: no config.json in it")
    require(any((source / f).is_file() for f in _TOKENIZER), f"{where}: no tokenizer in it")
    others = "; --pickled allows its pytorch_model.bin" if any(source.glob("*.bin")) else ""
    safe = any(source.glob("*.safetensors")) or (pickled and others)
    require(safe, f"{where}: no weights in it (only *.safetensors are read{others})")


def _unknown(tokenizer) -> str | None:
    return getattr(tokenizer.backend_tokenizer.model, "unk_token", tokenizer.unk_token)


def _check_tokenizer(tokenizer, file: Path, where: str) -> None:
    """Refuse a tokenizer that reads trial texts otherwise than its file says, or does not give them back."""
    backend, texts = tokenizer.backend_tokenizer, TRIALS[:2]  # no space before them: some classes keep it, some not
    what = f"{where}: its tokenizer, a {type(tokenizer).__name__},"
    mend = "name PreTrainedTokenizerFast as tokenizer_class in its tokenizer_config.json"
    try:
        plain = Tokenizer.from_file(str(file)) if file.is_file() else backend
        read, wanted = ([one.encode(text, add_special_tokens=False) for text in texts] for one in (backend, plain))
        changed = lost(backend, _unknown(tokenizer))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{what} cannot read a text ({_why(error)}); {mend}") from error
    for found, other in zip(read, wanted, strict=True):
        differ = (i for i, (a, b) in enumerate(zip(found.ids, other.ids, strict=False)) if a != b)
        at = next(differ, min(len(found), len(other)))
        require(
            found.ids == other.ids,
            f"{what} splits a text into {found.tokens[at : at + 4]}, and {file.name} says "
            f"{other.tokens[at : at + 4]}; {mend}",
        )
    require(not changed, f"{what} loses text: {changed}; its log P would be of another text; take another model")


def _fetched(name: str, step: int | None, pickled: bool) -> Path:
    """The files of a hub model, in the hub's cache."""
    require(name, "model: no name given")
    named = re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name)
    require(named, f"model {name}: no such folder, and no name of a hub model (owner/name) either")
    where, revision = f"model {name}", None
    if step is not None:
        where, revision = f"{where}, step {step}", f"step{step}"
    try:
        with quiet():
            listed = _listed(name, revision)
            # Of a model that has both, the pickled copy of its weights stays where it is.
            wanted = ["*.bin"] if pickled and not any(f.endswith(".safetensors") for f in listed) else ["*.safetensors"]
            found = Path(snapshot_download(name, revision=revision, allow_patterns=[*_SMALL, *wanted]))
    except errors.RevisionNotFoundError as error:
        try:
            near = nearest(step or 0, steps_of(name))
        except InputError:
            near = "it has none"
        raise InputError(f"{where}: no such step on the hub ({near})") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise InputError(f"{where}: no such folder, and no model of this name on the hub") from error
    except errors.LocalEntryNotFoundError as error:
        why = " ".join(str(error.__cause__ or "it is not reached").split())[:200]
        raise InputError(f"{where}: no such folder; cannot be had from the hub ({why}) or its cache") from error
    except Exception as error:  # of the network, of the disk: the client has no class of its own for them
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = " ".join(str(error).split())
        why = "the disk is full; free space, or let HF_HOME name another place" if full else why
        raise InputError(f"{where}: cannot be fetched from the hub ({why[:300]})") from error
    if not any(found.glob("*.safetensors")) and any(f.endswith(".bin") for f in listed) and not pickled:
        raise InputError(f"{where}: no safetensors among its weights; --pickled allows its pytorch_model.bin")
    return found


def _listed(name: str, revision: str | None) -> list[str]:
    """The files of a hub model, as the hub says; none where it is not reached, and the cache must do."""
    try:
        return [file.rfilename for file in HfApi().model_info(name, revision=revision, timeout=10).siblings or ()]
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise
    except Exception:
        return []


def _revisions(name: str) -> list[str]:
    return [branch.name for branch in HfApi().list_repo_refs(name).branches]


@contextmanager
def quiet() -> Iterator[None]:
    """Loading says what matters by its errors: the libraries' own reports stay silent, and bars where nobody looks."""
    seen, level, hub = sys.stderr.isatty(), logging.get_verbosity(), hub_logging.get_verbosity()
    bars, hub_bars = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    if hub_bars and not seen:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub_logging.set_verbosity(hub)
        if bars:
            logging.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()
