"""Causal language models of ``transformers``: loaded from a folder or the hub, and checked."""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import torch
from huggingface_hub import HfApi, errors, snapshot_download
from huggingface_hub import utils as hub
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from taskgram_utils.errors import InputError, reason, require
from taskgram_utils.folders import listed
from taskgram_utils.round_trip import TRIALS, lost

DTYPES = ("float32", "bfloat16", "float16")
UNREADABLE = (RuntimeError, ValueError, TypeError, AttributeError, IndexError)
"""What networks raise for inputs that they cannot read, and caches for what they cannot do."""
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
_SMALL = ("*.json", "tokenizer.model", "vocab.txt", "merges.txt")  # a hub model's other files
# Tensors of old checkpoints that no model reads: masks, and what rotary positions come from.
_UNREAD = re.compile(r"(^|\.)(masked_bias|attn\.bias|attention\.bias|inv_freq)$")
# Networks that attend to whatever their mask shows and number tokens as they are told; a test
# compares texts packed into one sequence with texts read alone for each of them.
PLAIN_ATTENTION = frozenset(
    "cohere gemma gpt2 gpt_neox gptj granite llama mistral olmo olmo2 opt phi phi3 qwen2 qwen3 "
    "smollm3 stablelm starcoder2".split()
)


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model: its ``name`` and ``step`` in the tables, its network and its tokenizer.

    ``context`` is the largest number of tokens the network reads (None: no limit), ``start`` the id
    of the end-of-text token, which is the context of a text that nothing comes before.
    """

    name: str
    step: int | None
    network: torch.nn.Module
    tokenizer: object
    context: int | None
    start: int

    @cached_property
    def backend(self) -> Tokenizer:
        """The tokenizer itself, its offsets set to include the white space of each token."""
        backend = self.tokenizer.backend_tokenizer
        if (processor := backend.post_processor) is not None:
            state = processor.__getstate__()
            processor.__setstate__(state.replace(b'"trim_offsets":true', b'"trim_offsets":false'))
            backend.post_processor = processor
        return backend

    @cached_property
    def opening(self) -> list[int]:
        """The special tokens that the tokenizer puts before a text, such as Llama's ``<s>``."""
        text = self.backend.encode("A")
        return text.ids[: [*text.special_tokens_mask, 0].index(0)]

    @cached_property
    def takes_positions(self) -> bool:
        """Whether the network lets its caller number the tokens."""
        return "position_ids" in inspect.signature(self.network.forward).parameters

    @cached_property
    def shares_prefix(self) -> bool:
        """Whether mask and positions can keep several texts apart that follow one beginning."""
        config = self.network.config.get_text_config()
        limits = {k: v for k, v in config.to_dict().items() if "window" in k and v}
        return (
            config.model_type in PLAIN_ATTENTION
            and not limits.keys() - {"max_window_layers"}
            and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
            and self.length_edge is None
            and self.network.config._attn_implementation in ("sdpa", "eager")
        )

    @cached_property
    def length_edge(self) -> int | None:
        """The length in tokens beyond which the positions of a whole batch change (longrope)."""
        rope = getattr(self.network.config.get_text_config(), "rope_parameters", None) or {}
        scalings = [one for one in (rope, *rope.values()) if isinstance(one, dict)]
        edges = [one["original_max_position_embeddings"] for one in scalings
                 if one.get("rope_type") == "longrope"]
        return min(edges, default=None)

    def trial_ids(self, tokens: int) -> list[int]:
        """Tokens of an ordinary text: as many as given, or as the context holds."""
        text = "A trial: does the model read as it should, whatever comes before, beside or after?"
        rows = self.network.get_input_embeddings().num_embeddings
        ids = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        ids = [token for token in ids if token < rows] or [self.start]
        return (ids * tokens)[: tokens if self.context is None else min(tokens, self.context)]

    @torch.inference_mode()
    def reads_ahead(self) -> bool:
        """Whether the logits after a token change with the tokens that follow it."""
        ids = self.trial_ids(24)
        half = len(ids) // 2
        texts = torch.tensor([ids, ids[:half] + ids[half:][::-1]], device=self.network.device)
        # One batch: the logits then differ by rounding alone, or by experts shared among tokens.
        logits = self.network(input_ids=texts, use_cache=False).logits[:, max(half - 1, 0)]
        one, other = torch.nan_to_num(logits.float(), neginf=0, posinf=0)
        allowed = 1e-4 if self.network.dtype == torch.float32 else 1e-1
        return bool((one - other).square().mean().sqrt() > allowed * one.std().clamp(min=1e-6))


def load(
    path_or_name: str | Path, step: int | None = None, dtype: str | torch.dtype | None = None,
    device: str | None = None, pickled: bool = False,
) -> LanguageModel:
    """Load a causal language model and its tokenizer from safetensors, running no code of theirs.

    ``path_or_name`` is a folder (with ``step``: its subfolder ``step<N>``; without: the folder
    itself, or its last step where it only holds steps) or a hub name (with ``step``: the revision
    ``step<N>``), whose files are fetched into the hub's cache, or taken from there. The model's
    name is the hub name or the folder's name.

    ``device`` is by default a GPU where there is one; ``auto`` spreads a model that is too large
    for one GPU over all GPUs and the memory (it needs the package accelerate). ``dtype`` is by
    default float32 on a CPU, and on a GPU bfloat16, or float16 where it has none. ``pickled``
    allows weights that are not safetensors (old revisions of Pythia have no others), read without
    running what they may hold.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing folder, model or step, an
    unreachable hub, a full disk, missing or unreadable weights, tensors that are missing, unused
    or not finite, a tokenizer without character offsets, a tokenizer that loses spaces, line
    breaks, accents or digits or reads otherwise than its tokenizer.json says, a network that is
    not causal, and a device that is missing or too small. A tokenizer that marks what it cannot
    spell by an unknown token is accepted: an example with such a character in y gets no score.
    """
    require(str(path_or_name).strip(), "model: no folder and no name given")
    where = f"model {path_or_name}"
    require(step is None or re.fullmatch(r"\d+", str(step)), f"{where}: step {step} is no number")
    folder, step = Path(path_or_name).expanduser(), None if step is None else int(step)
    where += "" if step is None else f", step {step}"
    gpu = torch.cuda.is_available()
    device = device or ("cuda" if gpu else "cpu")
    known = re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", device)
    require(known, f"{where}: device {device} is none of cpu, cuda, cuda:1, mps, xpu and auto")
    if dtype is None:
        half = "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float16"
        dtype = half if gpu and device.startswith(("cuda", "auto")) else "float32"
    dtype = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    which = f"dtype {dtype} is none of {', '.join(DTYPES)}"
    require(isinstance(dtype, torch.dtype), f"{where}: {which}")
    if folder.is_dir():
        source, name, step = _local(folder.resolve(), step)
        where = f"model {source}"
    else:
        source, name = _fetched(str(path_or_name), step, pickled, where), str(path_or_name)
    _check_files(source, where, pickled)
    spread = {"device_map": "auto"} if device == "auto" else {}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            network, report = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=None if pickled else True,
                output_loading_info=True, trust_remote_code=False, **spread,
            )
    except Exception as error:  # whatever the libraries raise for files they cannot read
        mismatched = "ignore_mismatched_sizes" in str(error)
        why = "its config.json does not fit its tensors" if mismatched else reason(error)
        raise InputError(f"{where}: cannot be loaded ({why})") from error
    unused = [key for key in report["unexpected_keys"] if not _UNREAD.search(key)]
    for keys, problem in ((report["missing_keys"], "not a whole causal language model: it lacks"),
                          (unused, "its config.json has no place for")):
        first = ", ".join(sorted(keys)[:3])
        require(not keys, f"{where}: {problem} {len(keys)} tensors ({first})")
    _check_tokenizer(tokenizer, source / "tokenizer.json", where)
    start = tokenizer.bos_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    require(start is not None, f"{where}: its tokenizer names no end-of-text token")
    rows = network.get_input_embeddings().num_embeddings
    require(start < rows, f"{where}: its end-of-text token ({start}) is none of the {rows} that "
                          "its network knows")
    try:
        network.eval() if spread else network.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        what = "too small for it" if out_of_memory(error) else "not available here"
        raise InputError(f"{where}: device {device}: {what} ({reason(error)})") from error
    for key, tensor in network.state_dict().items():
        if tensor.numel() and not tensor.is_meta:  # aminmax takes no memory, and is nan for any nan
            finite = all(map(torch.isfinite, tensor.aminmax()))
            require(finite, f"{where}: weights that are not finite in {key}")
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    model = LanguageModel(name, step, network, tokenizer, context, start)
    try:
        ahead = model.reads_ahead()
    except UNREADABLE as error:
        raise InputError(f"{where}: its network cannot read a text ({reason(error)})") from error
    require(not ahead, f"{where}: is no causal language model: what it says of a token depends on "
                       "what follows")
    return model


def unknown_token(tokenizer) -> str | None:
    """The token for what the vocabulary cannot spell; None: it spells everything."""
    return getattr(tokenizer.backend_tokenizer.model, "unk_token", tokenizer.unk_token)


def parameters(model: LanguageModel) -> int:
    """Number of non-embedding parameters: without the input embedding and the output head."""
    return non_embedding(model.network)


def non_embedding(network: torch.nn.Module) -> int:
    """The same of a network of transformers."""
    outer = (network.get_input_embeddings(), network.get_output_embeddings())
    skipped = {id(p) for module in outer for p in module.parameters()}
    return sum(p.numel() for p in network.parameters() if id(p) not in skipped)


def steps_of(path_or_name: str | Path, needed: bool = True) -> list[int]:
    """The steps of a model in order: subfolders ``step<N>`` of a folder, or revisions on the hub.

    Raises InputError where they cannot be listed, and for none where they are ``needed``.
    """
    folder = Path(path_or_name).expanduser()
    try:
        if folder.is_dir():
            names = [path.name for path in folder.iterdir()]
        else:
            names = [branch.name for branch in HfApi().list_repo_refs(str(path_or_name)).branches]
    except Exception as error:
        why = reason(error)
        raise InputError(f"model {path_or_name}: its steps cannot be listed ({why})") from error
    steps = sorted(int(name[4:]) for name in names if re.fullmatch(r"step\d+", name))
    require(steps or not needed, f"model {path_or_name}: has no steps")
    return steps


def identity(path_or_name: str | Path, step: int | None) -> tuple[str, int | None]:
    """A model's name and step in the tables; InputError for a step that a folder lacks."""
    folder = Path(path_or_name).expanduser()
    return _local(folder.resolve(), step)[1:] if folder.is_dir() else (str(path_or_name), step)


def files_state(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a model's files, which change when the model does."""
    kinds = (".safetensors", ".bin", ".json", ".model", ".txt")
    files = [(p, p.stat()) for p in listed(folder) if p.suffix in kinds and p.is_file()]
    return [(str(p.relative_to(folder)), stat.st_size, stat.st_mtime_ns) for p, stat in files]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch says that there was no memory."""
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def nearest(step: int, steps: Sequence[int]) -> str:
    """The steps there are, or the six next to ``step``, in words."""
    near = sorted(sorted(steps, key=lambda other: abs(other - step))[:6])
    kind = "steps there" if len(steps) == len(near) else "nearest"
    return f"{kind}: {', '.join(map(str, near)) or 'none'}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' reports silent while they load, and their bars where nobody looks."""
    with ExitStack() as afterwards:
        for library in (logging, hub.logging):
            afterwards.callback(library.set_verbosity, library.get_verbosity())
            library.set_verbosity_error()
        if logging.is_progress_bar_enabled():
            afterwards.callback(logging.enable_progress_bar)
            logging.disable_progress_bar()
        if not hub.are_progress_bars_disabled() and not sys.stderr.isatty():
            afterwards.callback(hub.enable_progress_bars)
            hub.disable_progress_bars()
        yield


def _local(folder: Path, step: int | None) -> tuple[Path, str, int | None]:
    """The folder to load, the model's name and its step."""
    steps = steps_of(folder, needed=False)
    if step is not None or (steps and not (folder / "config.json").is_file()):
        step = steps[-1] if step is None else step
        require(step in steps, f"model {folder}: no step {step} ({nearest(step, steps)})")
        return folder / f"step{step}", folder.name, step
    if re.fullmatch(r"step\d+", folder.name):
        return folder, folder.parent.name, int(folder.name[4:])
    return folder, folder.name, None


def _fetched(name: str, step: int | None, pickled: bool, where: str) -> Path:
    """The files of a hub model, in the hub's cache."""
    packed = name.startswith("packaged/")
    require(not packed, f"{where}: packaged/ is for run files; a run unpacks the model into the "
                        "folder build/packaged")
    revision = None if step is None else f"step{step}"
    try:
        with quiet():
            folder = _snapshot(name, revision, [*_SMALL, "*.safetensors"])
            if pickled and not any(folder.glob("*.safetensors")):
                _snapshot(name, revision, ["*.bin"])
            return folder
    except errors.RevisionNotFoundError as error:
        there = nearest(step or 0, steps_of(name, needed=False))
        raise InputError(f"{where}: no such step on the hub ({there})") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        missing = "no such folder, and no model of this name (owner/name) on the hub"
        raise InputError(f"{where}: {missing}") from error
    except Exception as error:  # of the network or the disk: the client has no class of its own
        why = f"cannot be had from the hub or its cache ({reason(error.__cause__ or error)})"
        raise InputError(f"{where}: no such folder; {why}") from error


def _snapshot(name: str, revision: str | None, patterns: list[str]) -> Path:
    """Some files of a hub model; a request that fails once is made once more."""
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (errors.RevisionNotFoundError, errors.RepositoryNotFoundError, errors.HFValidationError):
        raise
    except Exception:  # such as too many requests (429), which the client does not repeat
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))


def _check_files(source: Path, where: str, pickled: bool) -> None:
    """Require a configuration, a tokenizer and weights."""
    require((source / "config.json").is_file(), f"{where}: no config.json in it; name the "
            "folder of a model of transformers, which has one")
    require(any((source / f).is_file() for f in _TOKENIZER), f"{where}: no tokenizer in it")
    safe = any(source.glob("*.safetensors")) or (pickled and any(source.glob("*.bin")))
    require(safe, f"{where}: no weights in it (only *.safetensors are read; --pickled allows a "
                  "pytorch_model.bin)")


def _check_tokenizer(tokenizer, file: Path, where: str) -> None:
    """Refuse a tokenizer that reads trial texts otherwise than its file, or loses some of them."""
    kind = type(tokenizer).__name__
    require(tokenizer.is_fast, f"{where}: tokenizer {kind} gives no character offsets; it needs a "
                               "tokenizer.json")
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    what = f"{where}: its tokenizer, a {kind},"
    mend = "name PreTrainedTokenizerFast as tokenizer_class in its tokenizer_config.json"
    try:
        plain = Tokenizer.from_file(str(file)) if file.is_file() else backend
        # No space before these texts: some classes keep it, some do not.
        both = [[one.encode(text, add_special_tokens=False) for one in (backend, plain)]
                for text in TRIALS[:2]]
        changed = lost(backend, unknown_token(tokenizer))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{what} cannot read a text ({reason(error)}); {mend}") from error
    for read, right in both:
        for i, (token, other) in enumerate(zip_longest(read.ids, right.ids)):
            require(token == other, f"{what} splits a text into {read.tokens[i : i + 4]}, and "
                                    f"{file.name} says {right.tokens[i : i + 4]}; {mend}")
    require(not changed, f"{what} loses text: {changed}; its log P would be of another text; take "
                         "another model")
