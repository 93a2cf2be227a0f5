"""Neural language models of ``transformers``: log-probabilities, choices among options and greedy answers, batched."""

from __future__ import annotations

import inspect
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from huggingface_hub.utils import logging as hub_logging
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.ngrams import Word, word_spans, words

BUDGET = 4096  # tokens of a batch, padding included
_LOGITS = 1 << 26  # numbers a batch may project to the vocabulary (256 MiB in fp32)
_CHUNK = 256  # examples tokenized at once


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
    def takes_positions(self) -> bool:
        """Whether the network lets its caller number the tokens."""
        return "position_ids" in inspect.signature(self.network.forward).parameters

    @cached_property
    def shares_prefix(self) -> bool:
        """Whether mask and positions keep branches of a sequence apart: plain attention over all that came before."""
        config = self.network.config.get_text_config()
        return (
            self.takes_positions
            and not self.network._is_stateful
            and not getattr(config, "sliding_window", None)
            and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
            and self.network.config._attn_implementation in ("sdpa", "eager")
        )


def load(
    path_or_name: str | Path, step: int | None = None, dtype: str | torch.dtype | None = None, device: str | None = None
) -> LanguageModel:
    """Load a causal language model and its tokenizer, from safetensors only, running no code that comes with it.

    ``path_or_name`` is a folder (with ``step``: its subfolder ``step<N>``; without: the folder itself, or its last step
    where it only holds steps) or a hub name (with ``step``: the revision ``step<N>``). Unless given, ``dtype`` is
    float32 and ``device`` a GPU where there is one. The model's name is the hub name or the folder's name.

    Raises :class:`~taskgram_utils.errors.InputError` for a missing folder or step, missing or unreadable weights,
    tensors that are missing, without a place or not finite, and a tokenizer without character offsets.
    """
    folder, step = Path(path_or_name).expanduser(), None if step is None else int(step)
    if folder.is_dir():
        source, name, step = _local(folder.resolve(), step)
        options = {}
    else:
        source = name = str(path_or_name)
        require(name, "model: no name given")
        hub_name = re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name)
        require(hub_name, f"model {name}: no such folder, and no name of a hub model (owner/name) either")
        options = {} if step is None else {"revision": f"step{step}"}
    where = f"model {path_or_name}" + ("" if step is None else f", step {step}")
    dtype = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype or torch.float32
    require(isinstance(dtype, torch.dtype), f"{where}: dtype {dtype} is none of float32, bfloat16, float16")
    options |= {"trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            network, report = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # whatever the libraries raise for a folder or a download they cannot read
        why = " ".join(str(error).split())[:300]
        why = "its config.json does not fit its tensors" if "ignore_mismatched_sizes" in why else why
        why = why if folder.is_dir() else f"no such folder; as the name of a hub model: {why}"
        raise InputError(f"{where}: cannot be loaded ({why})") from error
    kind = type(tokenizer).__name__
    require(tokenizer.is_fast, f"{where}: tokenizer {kind} gives no character offsets; it needs a tokenizer.json")
    missing = sorted(report["missing_keys"])
    require(not missing, f"{where}: {len(missing)} tensors missing from its weights ({', '.join(missing[:3])})")
    unused = sorted(k for k in report["unexpected_keys"] if k.endswith(".weight"))
    require(not unused, f"{where}: its config.json has no place for {len(unused)} tensors ({', '.join(unused[:3])})")
    for key, tensor in network.state_dict().items():
        require(torch.isfinite(tensor).all(), f"{where}: weights that are not finite in {key}")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    start = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.bos_token_id
    require(start is not None, f"{where}: its tokenizer names no end-of-text token")
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    try:
        network.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device}: not to be had here ({str(error).splitlines()[0]})") from error
    return LanguageModel(name, step, network, tokenizer, context, start)


def parameters(model: LanguageModel) -> int:
    """Number of non-embedding parameters: without the input embedding and the output head."""
    outer = (model.network.get_input_embeddings(), model.network.get_output_embeddings())
    skipped = {id(p) for module in outer for p in module.parameters()}
    return sum(p.numel() for p in model.network.parameters() if id(p) not in skipped)


def prompts(examples: pd.DataFrame) -> list[str]:
    """What stands before y: instruction + x, or the instruction with x in the place of its one ``{x}``."""
    require_columns(examples, ["example_id", "x"], "examples")
    repeated = examples["example_id"][examples["example_id"].duplicated()]
    require(repeated.empty, f"examples: example_id {next(iter(repeated), '')} occurs twice")
    instructions = examples["instruction"].fillna("") if "instruction" in examples else [""] * len(examples)
    out = []
    for key, instruction, x in zip(examples["example_id"], instructions, examples["x"], strict=True):
        require(isinstance(x, str), f"examples: x of example {key} is no text")
        out.append(instruction.replace("{x}", x) if instruction.count("{x}") == 1 else instruction + x)
    return out


def score(
    examples: pd.DataFrame,
    model: LanguageModel,
    taskgrams: pd.DataFrame | None = None,
    options: bool = False,
    prior: bool = False,
    budget: int = BUDGET,
) -> pd.DataFrame:
    """Log-probabilities (nats) under ``model`` by teacher forcing: log P_LLM(s^y) of METHOD, section 1.

    One forward pass an example, whatever its number of n-grams and options. Returns the ``logp`` table: for each
    example a row of its whole y (n null, sy = y, start 0), with ``options`` one of each option (``option`` its index),
    and with ``taskgrams`` one of each distinct (n, sy, start): the sum over the tokens that hold a character of s^y,
    those of words that mining removed from inside it left out. ``tokens`` is the number of tokens summed. ``prior``
    scores y after the end-of-text token alone. ``budget``, the tokens of a batch, does not change the result.

    An example longer than the context gets null ``logp`` in all its rows and a line on standard error; its id is in
    ``frame.attrs["failed"]``. Raises :class:`~taskgram_utils.errors.InputError` for missing columns or texts, repeated
    ids, and an s^y that does not stand where the table says.
    """
    require_columns(examples, ["example_id", "x", "y"] + ["options"] * options, "examples")
    for key, y in zip(examples["example_id"], examples["y"], strict=True):
        require(isinstance(y, str) and y, f"examples: y of example {key} is empty or no text")
    points = _points(taskgrams, set(examples["example_id"]))
    before = ["" if prior else prompt for prompt in prompts(examples)]
    choices = examples["options"] if options else [None] * len(before)
    require(all(np.ndim(o) or pd.isna(o) for o in choices), "examples: options must be lists of texts")
    choices = [o if np.ndim(o) else () for o in choices]
    jobs = list(zip(examples["example_id"], before, examples["y"], choices, strict=True))
    rows, trees, failed = [], [], []
    for first in range(0, len(jobs), _CHUNK):
        _plan(jobs[first : first + _CHUNK], model, points, rows, trees, failed)

    found: list[np.ndarray] = [np.empty(0)] * len(trees)
    head = model.network.get_output_embeddings().weight.shape[0]
    with tqdm(total=len(trees), desc=f"score {model.name}", unit="text", disable=None) as bar:
        for batch in _batches([(len(t.ids), len(t.asked) * head) for t in trees], budget):
            for i, logp in zip(batch, _log_probabilities(model, [trees[i] for i in batch]), strict=True):
                found[i] = logp
            bar.update(len(batch))
    table = pd.DataFrame([r[:5] for r in rows], columns=["example_id", "n", "sy", "start", "option"])
    table["logp"] = [np.nan if r.tree is None else float(found[r.tree][r.asked].sum()) for r in rows]
    table["tokens"] = [len(r.asked) for r in rows]
    bad = table["example_id"][~np.isfinite(table["logp"]) & ~table["example_id"].isin(failed)]
    require(bad.empty, f"{model.name}: log P not finite, first in example {next(iter(bad), '')}; load it as float32")
    return _finish(table.astype({"n": "Int64", "option": "Int64"}), examples, "lm", model, failed)


def choose(logp: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """The most probable option of each example and model in ``logp`` (of ``score(..., options=True)``): ``answers``.

    ``output`` is the option's text; ``score`` is 1 where it is the ``gold`` one, 0 where not, null where an option
    could not be scored. Of equal options the first is taken.
    """
    require_columns(logp, ["example_id", "option", "sy", "lm", "logp"], "logp")
    require_columns(examples, ["example_id", "gold"], "examples")
    asked = logp[logp["option"].notna()].reset_index(drop=True)
    require(len(asked), "logp: no row has an option; score with options=True first")
    keys = [c for c in ("task", "example_id", "lm", "world", "seed", "step") if c in asked]
    each = asked.groupby(keys, dropna=False)["logp"]
    asked = asked.assign(whole=each.transform("count") == each.transform("size"))
    best = asked.sort_values(["logp", "option"], ascending=[False, True]).drop_duplicates(keys).sort_index()
    gold = best["example_id"].map(examples.set_index("example_id")["gold"])
    unknown = best["example_id"][gold.isna()]
    require(unknown.empty, f"examples: no gold option for example {next(iter(unknown), '')}")
    answers = best[keys].rename(columns={"lm": "model"})
    answers["output"] = best["sy"].where(best["whole"])
    answers["metric"] = "accuracy"
    answers["score"] = (best["option"].astype(int) == gold.astype(int)).astype(float).where(best["whole"])
    answers.attrs = {"failed": list(best["example_id"][~best["whole"]])}
    return answers.reset_index(drop=True)


def generate(
    examples: pd.DataFrame,
    model: LanguageModel,
    max_tokens: int,
    stop: Sequence[str] = ("\n",),
    budget: int = 4 * BUDGET,
) -> pd.DataFrame:
    """Greedy answers: up to ``max_tokens`` tokens after instruction and x, to a ``stop`` string or the end of text.

    Returns the ``answers`` table with ``output`` as written (nothing trimmed, the stop string cut off). A prompt that
    fills the context gets null and a line on standard error; its id is in ``frame.attrs["failed"]``.
    """
    require(max_tokens >= 1, f"generate: max_tokens must be 1 or more, got {max_tokens}")
    require(not model.network._is_stateful, f"{model.name}: generating with a recurrent state is not supported")
    texts = [encoded.ids or [model.start] for encoded in _encode(model, prompts(examples))]
    room = [max_tokens if model.context is None else min(max_tokens, model.context - len(ids) + 1) for ids in texts]
    failed, outputs = [], [None] * len(texts)
    for key, ids, free in zip(examples["example_id"], texts, room, strict=True):
        if free < 1:
            failed.append(key)
            _report(model, key, f"prompt of {len(ids)} tokens, longer than the context of {model.context}; no answer")
    live = [i for i, free in enumerate(room) if free >= 1]
    with tqdm(total=len(live), desc=f"generate {model.name}", unit="text", disable=None) as bar:
        for batch in _batches([(len(texts[i]) + room[i], 0) for i in live], budget):
            chosen = [live[k] for k in batch]
            written = _continue(model, [texts[i] for i in chosen], [room[i] for i in chosen], stop)
            for i, text in zip(chosen, written, strict=True):
                outputs[i] = text[: min((text.find(s) for s in stop if s in text), default=len(text))]
            bar.update(len(batch))
    table = pd.DataFrame({"example_id": list(examples["example_id"]), "output": pd.array(outputs, dtype="str")})
    return _finish(table, examples, "model", model, failed)


class _Encoded(NamedTuple):
    """A tokenized text: token ids, and the characters each token holds: begins[i] to ends[i], end exclusive."""

    ids: list[int]
    begins: list[int]
    ends: list[int]


class _Tree(NamedTuple):
    """Token paths packed into one sequence, their common prefix once: a token of branch 0 is on all, of k on path k.

    ``asked`` holds the log-probabilities wanted, as pairs (place of the token before, token).
    """

    ids: list[int]
    positions: list[int]
    branches: list[int]
    asked: list[tuple[int, int]]


class _Row(NamedTuple):
    """A row of the table, and which of the asked log-probabilities of which tree it sums (tree None: no score)."""

    example_id: object
    n: int | None
    sy: str
    start: int
    option: int | None
    tree: int | None
    asked: list[int]


def _local(folder: Path, step: int | None) -> tuple[str, str, int | None]:
    """The folder to load, the model's name and its step."""
    steps = sorted(int(p.name[4:]) for p in folder.glob("step*") if re.fullmatch(r"step\d+", p.name))
    source, name, own = folder, folder.name, re.fullmatch(r"step(\d+)", folder.name)
    if step is not None or (steps and not (folder / "config.json").is_file()):
        step = steps[-1] if step is None else step
        require(step in steps, f"model {folder}: no step {step} (steps there: {', '.join(map(str, steps)) or 'none'})")
        source = folder / f"step{step}"
    elif own:
        name, step = folder.parent.name, int(own[1])
    require((source / "config.json").is_file(), f"model {source}: no config.json in it")
    files = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    require(any((source / f).is_file() for f in files), f"model {source}: no tokenizer in it")
    require(any(source.glob("*.safetensors")), f"model {source}: no weights in it (only *.safetensors are read)")
    return str(source), name, step


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading says what matters by its errors; the library's own reports and bars stay silent."""
    level, bars, hub = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub_logging.get_verbosity()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub_logging.set_verbosity(hub)
        if bars:
            logging.enable_progress_bar()


def _report(model: LanguageModel, key: object, reason: str) -> None:
    print(f"{model.name}: example {key}: {reason}", file=sys.stderr)


def _points(taskgrams: pd.DataFrame | None, known: set) -> dict[object, list[tuple]]:
    """(n, sy, start, end or None) of the distinct points, by example."""
    out: dict[object, list[tuple]] = {}
    if taskgrams is None:
        return out
    keys = ["example_id", "n", "sy", "start"]
    require_columns(taskgrams, keys, "taskgrams")
    require(taskgrams[keys].notna().all(axis=None), "taskgrams: a null among example_id, n, sy and start")
    distinct = taskgrams.drop_duplicates(keys)
    ends = distinct["end"] if "end" in distinct else [None] * len(distinct)
    for key, n, sy, start, end in zip(*(distinct[c] for c in keys), ends, strict=True):
        require(key in known, f"taskgrams: example_id {key} is not among the examples")
        out.setdefault(key, []).append((int(n), sy, int(start), None if pd.isna(end) else int(end)))
    return out


def _encode(model: LanguageModel, texts: list[str]) -> list[_Encoded]:
    """Tokenize; special tokens that the tokenizer adds after a text are left out."""
    size, out = model.network.get_input_embeddings().num_embeddings, []
    for found in model.tokenizer.backend_tokenizer.encode_batch(texts):
        length = len(found.ids)
        while length and found.special_tokens_mask[length - 1]:
            length -= 1
        largest = max(found.ids, default=0)
        require(largest < size, f"{model.name}: its tokenizer has a token ({largest}) that the model lacks")
        # Pythia's tokenizer trims leading white space off the offsets: begin moves, never across an edge of a word.
        offsets = found.offsets[:length]
        out.append(_Encoded(found.ids[:length], [begin for begin, _ in offsets], [end for _, end in offsets]))
    return out


def _plan(jobs: list[tuple], model: LanguageModel, points: dict, rows: list, trees: list, failed: list) -> None:
    """Tokenize some examples; append the rows of the table, the trees they need, and who cannot be scored."""
    texts = [list(dict.fromkeys([y, *options])) for _, _, y, options in jobs]
    encoded = iter(_encode(model, [job[1] + text for job, own in zip(jobs, texts, strict=True) for text in own]))
    for (key, prompt, y, options), own in zip(jobs, texts, strict=True):
        paths, firsts = [next(encoded) for _ in own], []
        for k, path in enumerate(paths):
            firsts.append(bisect_right(path.ends, len(prompt)))
            if firsts[k] == 0:
                paths[k] = _Encoded([model.start, *path.ids], [0, *path.begins], [0, *path.ends])
                firsts[k] = 1
            require(firsts[k] < len(paths[k].ids), f"{model.name}: example {key}: no token in the text {own[k]!r}")
        longest = max(len(path.ids) for path in paths)
        # The last token is predicted, not read.
        fits = model.context is None or longest - 1 <= model.context
        if not fits:
            failed.append(key)
            _report(model, key, f"{longest} tokens, longer than the context of {model.context}; no score")
        asked = {}
        together = [range(len(own))] if model.shares_prefix else [[k] for k in range(len(own))]
        for group in together if fits else ():
            tree, places = _tree([paths[k].ids for k in group], [firsts[k] for k in group])
            asked |= {own[k]: (len(trees), place) for k, place in zip(group, places, strict=True)}
            trees.append(tree)
        for option, text in [(None, y), *enumerate(options)]:
            rows.append(_Row(key, None, text, 0, option, *asked.get(text, (None, []))))
        spans = word_spans(y) if key in points else []
        for n, sy, start, end in points.get(key, ()):
            tokens = _tokens(sy, start, end, spans, paths[0], len(prompt))
            require(tokens, f"taskgrams: example {key}: s^y '{sy}' does not stand at character {start} of y")
            tree, places = asked.get(y, (None, []))
            rows.append(_Row(key, n, sy, start, None, tree, [places[t - firsts[0]] for t in tokens] if fits else []))


def _tokens(sy: str, start: int, end: int | None, spans: list[Word], path: _Encoded, shift: int) -> list[int]:
    """The tokens that hold a character of s^y, those of removed words left out; none where s^y is not at ``start``."""
    missing, kept, removed = words(sy)[::-1], [], []
    for word in spans[bisect_left(spans, start, key=lambda w: w.start) :]:
        if not missing or (end is not None and word.end > end) or (not kept and word.text != missing[-1]):
            break
        (kept if word.text == missing[-1] else removed).append(word)
        if kept[-1] is word:
            missing.pop()
    if missing or not kept:
        return []

    def holds(token: int, some: list[Word]) -> bool:
        return any(path.begins[token] < shift + w.end and path.ends[token] > shift + w.start for w in some)

    inside = range(bisect_right(path.ends, shift + kept[0].start), bisect_left(path.begins, shift + kept[-1].end))
    return [t for t in inside if not removed or not holds(t, removed) or holds(t, kept)]


def _tree(paths: list[list[int]], firsts: list[int]) -> tuple[_Tree, list[list[int]]]:
    """Pack ``paths``; and for each, where among the asked its tokens from ``first`` on are."""
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*(path[:-1] for path in paths), strict=False))
    shared = sum(1 for _ in same)
    ids, positions, branches = paths[0][:shared], list(range(shared)), [0] * shared
    asked, places = [], []
    for k, (path, first) in enumerate(zip(paths, firsts, strict=True), 1):
        own = len(path) - 1 - shared
        shift = len(ids) - shared  # from a token's position to its place, past what all share
        ids += path[shared:-1]
        positions += range(shared, shared + own)
        branches += [k] * own
        places.append(list(range(len(asked), len(asked) + len(path) - first)))
        asked += [(p if p < shared else p + shift, path[p + 1]) for p in range(first - 1, len(path) - 1)]
    return _Tree(ids, positions, branches, asked), places


def _batches(sizes: list[tuple[int, int]], budget: int) -> Iterator[list[int]]:
    """Indices of (tokens, logits), longest first (what does not fit in memory fails at once), within the budgets."""
    batch, logits = [], 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        if batch and (sizes[batch[0]][0] * (len(batch) + 1) > budget or logits + sizes[i][1] > _LOGITS):
            yield batch
            batch, logits = [], 0
        batch.append(i)
        logits += sizes[i][1]
    if batch:
        yield batch


@contextmanager
def _project(network: torch.nn.Module, select: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Let the output head see the selected hidden states only; what a model does with its logits stays its own."""
    hook = network.get_output_embeddings().register_forward_pre_hook(lambda _, args: (select(args[0]),))
    try:
        yield
    finally:
        hook.remove()


@torch.inference_mode()
def _log_probabilities(model: LanguageModel, batch: list[_Tree]) -> list[np.ndarray]:
    """What each tree asks (float64), from one forward pass with padding on the right."""
    network, device, width = model.network, model.network.device, max(len(t.ids) for t in batch)

    def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([part + [fill] * (width - len(part)) for part in lists], device=device)

    inputs = {"input_ids": padded([t.ids for t in batch], model.start)}
    # Causal attention never looks right, so padding needs no mask; branches need one.
    if any(t.branches[-1] for t in batch):
        branches = padded([t.branches for t in batch], -1)
        seen = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
        seen &= torch.ones(width, width, dtype=torch.bool, device=device).tril()
        mask = torch.zeros(len(batch), 1, width, width, dtype=network.dtype, device=device)
        inputs["attention_mask"] = mask.masked_fill_(~seen[:, None], torch.finfo(network.dtype).min)
        inputs["position_ids"] = padded([t.positions for t in batch], 0)
    place: dict[tuple[int, int], int] = {}
    which = torch.tensor([place.setdefault((r, at), len(place)) for r, t in enumerate(batch) for at, _ in t.asked])
    tokens = torch.tensor([token for t in batch for _, token in t.asked], device=device)
    rows, columns = torch.tensor(list(place), device=device).T
    with _project(network, lambda hidden: hidden[rows, columns][None]):
        logits = network(**inputs, use_cache=False).logits[0].float()
    which = which.to(device)
    logp = (logits[which, tokens] - logits.logsumexp(-1)[which]).double().cpu().numpy()
    return np.split(logp, np.cumsum([len(t.asked) for t in batch])[:-1])


@torch.inference_mode()
def _continue(model: LanguageModel, prompts: list[list[int]], room: list[int], stop: Sequence[str]) -> list[str]:
    """Greedy continuations with padding on the left and a key-value cache; a finished text leaves the batch.

    ``network.generate`` carries finished texts along, which costs time where answers differ in length.
    """
    network, device, width = model.network, model.network.device, max(map(len, prompts))
    decode = model.tokenizer.backend_tokenizer.decode_batch
    ends = {model.tokenizer.eos_token_id, *np.atleast_1d(network.generation_config.eos_token_id).tolist()}
    reach = max((len(s.encode()) for s in stop), default=0) + 4  # a stop string has no more tokens than bytes
    ids = torch.tensor([[model.start] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in prompts]
    live, cache = list(range(len(prompts))), None
    while live:
        inputs = {"position_ids": positions} if model.takes_positions else {}
        with _project(network, lambda hidden: hidden[:, -1:]):
            result = network(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **inputs)
        cache, tokens = result.past_key_values, result.logits[:, -1].argmax(-1)
        for row, token in zip(live, tokens.tolist(), strict=True):
            written[row].append(token)
        tails = decode([written[row][-reach:] for row in live], skip_special_tokens=False)
        keep = [
            k
            for k, (row, tail) in enumerate(zip(live, tails, strict=True))
            if written[row][-1] not in ends and len(written[row]) < room[row] and not any(s in tail for s in stop)
        ]
        if len(keep) < len(live):
            live, kept = [live[k] for k in keep], torch.tensor(keep, dtype=torch.long, device=device)
            cache.batch_select_indices(kept)
            tokens, positions, mask = tokens[kept], positions[kept], mask[kept]
        ids, positions = tokens[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    return decode([ids[:-1] if ids[-1] in ends else ids for ids in written], skip_special_tokens=False)


def _finish(
    table: pd.DataFrame, examples: pd.DataFrame, column: str, model: LanguageModel, failed: list
) -> pd.DataFrame:
    """Add task and group of the examples, and the model's name (under ``column``) and step."""
    by_id = examples.set_index("example_id")
    for place, name in enumerate(c for c in ("task", "group") if c in examples):
        table.insert(place, name, table["example_id"].map(by_id[name]))
    table[column] = model.name
    table["step"] = pd.array([model.step] * len(table), dtype="Int64")
    table.attrs = {"failed": failed}
    return table
