"""Log-probabilities of token trees: batches by length and memory, one forward pass each, nothing computed twice."""

from __future__ import annotations

import copy
import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import psutil
import torch

from taskgram_utils.errors import InputError
from taskgram_utils.language_models.hooks import only_at, replaced_input
from taskgram_utils.language_models.loading import UNREADABLE, LanguageModel, out_of_memory
from taskgram_utils.language_models.packing import Tree, branching, prefixes

_SHARE = 0.25  # of the free memory that a batch may take
_FEWEST = 256  # tokens of a batch, whatever the memory
_MOST = {"cpu": 1 << 10, "cuda": 1 << 16}  # beyond it a batch is no faster
_CACHED = 1 << 16  # the same of growing texts, each of which adds one token at a time
_LOGITS = {"cpu": 1 << 22, "cuda": 1 << 28}  # logits of a batch that are there at a time
_WHOLE = 1 << 26  # the same, of a network that does something to its logits
_TRIMMED = 1 << 23  # bytes of a batch whose memory is worth handing back
_SHARED = 64  # tokens that texts must have in common for these to be read once


def token_budget(model: LanguageModel) -> int:
    """Tokens of a batch, padding included, for which a quarter of the free memory is enough."""
    most = _MOST.get(model.network.device.type, _MOST["cpu"])
    return int(np.clip(_SHARE * _free(model) / token_bytes(model), _FEWEST, most))


def _free(model: LanguageModel) -> int:
    """Bytes of memory that are free where a model is."""
    device = model.network.device
    if device.type == "cuda":
        own = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + own
    return psutil.virtual_memory().available


def token_bytes(model: LanguageModel) -> int:
    """Memory that a token of a batch takes, about: the states of one layer, the widest of them twice."""
    config = model.network.config.get_text_config()
    hidden = model.network.get_input_embeddings().embedding_dim
    wide = getattr(config, "intermediate_size", None) or 4 * hidden
    return (10 * hidden + 2 * wide) * model.network.dtype.itemsize


def batch_bytes(model: LanguageModel) -> int:
    """Memory that the largest batch takes, about: its tokens, and the logits that are there at a time."""
    kind = model.network.device.type
    logits = _LOGITS.get(kind, _LOGITS["cpu"]) * (model.network.dtype.itemsize + (kind == "cuda") * 4)
    return token_budget(model) * token_bytes(model) + logits


def cache_bytes(model: LanguageModel) -> int:
    """Memory that a token takes in the key-value cache, at most."""
    layers = model.network.config.get_text_config().num_hidden_layers
    return 2 * layers * model.network.get_input_embeddings().embedding_dim * model.network.dtype.itemsize


def cache_budget(model: LanguageModel) -> int:
    """Tokens of a batch of growing texts, prompts and room together: as many as a quarter of the free memory keeps in
    the key-value cache, each at its most."""
    return int(np.clip(_SHARE * _free(model) / cache_bytes(model), _FEWEST, _CACHED))


def log_probabilities(
    model: LanguageModel, trees: Sequence[Tree], budget: int, done: Callable[[int], object]
) -> tuple[np.ndarray, set[int]]:
    """What all trees ask, in their order (float64, nats), and which trees there is no memory for (theirs are nan).

    ``budget``: tokens of a batch, padding included. ``done`` hears of the number of trees finished.
    """
    starts = np.concatenate([[0], np.cumsum([len(t.asked) for t in trees], dtype=np.int64)])
    out, lost = np.full(starts[-1], np.nan), set()
    vocabulary = model.network.get_output_embeddings().weight.shape[0]
    groups = prefixes(trees, _SHARED) if model.shares_prefix else [(0, some) for some in _alike(model, trees)]
    for shared, members in groups:
        cache = _prefix(model, trees[members[0]].ids[:shared]) if shared else None
        shared = shared if cache is not None else 0  # no memory for it: texts are read whole
        cached = shared * cache_bytes(model) / token_bytes(model) if shared else 0
        sizes = [(len(trees[k].ids) - shared + int(cached), len(trees[k].asked) * vocabulary) for k in members]
        cut = batches(sizes, budget, None if model.plain_head else _WHOLE)
        work = partial(_forward, model, trees, shared, cache)
        for batch, found in within_memory(([members[i] for i in batch] for batch in cut), work):
            if found is None:
                lost.update(batch)
                continue
            for k, values in zip(batch, found, strict=True):
                out[starts[k] : starts[k + 1]] = values
            done(len(batch))
            if sum(len(trees[k].ids) for k in batch) * token_bytes(model) > _TRIMMED:
                _trim()
    return out, lost


def _trim() -> None:
    """Hand freed memory back: with glibc, what batches of changing sizes free stays with the process in pieces."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def _alike(model: LanguageModel, trees: Sequence[Tree]) -> list[list[int]]:
    """Numbers of trees that may be in one batch: on one side of the edge beyond which positions mean another thing."""
    edge = model.length_edge
    far = [edge is not None and len(one.ids) > edge for one in trees]
    sides = [[k for k in range(len(trees)) if far[k] == side] for side in (True, False)]
    return [side for side in sides if side]


def read(model: LanguageModel, **inputs):
    """A forward pass; InputError where the network cannot make one of these inputs, whatever it raises."""
    try:
        return model.network(**inputs)
    except UNREADABLE as error:
        if out_of_memory(error):
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"model {model.name}: its network fails at a text of this task ({why})") from error


def batches(sizes: list[tuple[int, int]], budget: int, most: int | None = None) -> Iterator[list[int]]:
    """Indices of (tokens, logits), longest first (what does not fit in memory fails at once), within the budgets."""
    batch, logits = [], 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        full = sizes[batch[0]][0] * (len(batch) + 1) > budget if batch else False
        if batch and (full or (most and logits + sizes[i][1] > most)):
            yield batch
            batch, logits = [], 0
        batch.append(i)
        logits += sizes[i][1]
    if batch:
        yield batch


def within_memory(
    batches: Iterable[list[int]], work: Callable[[list[int]], Sequence]
) -> Iterator[tuple[list[int], Sequence | None]]:
    """Each batch with what ``work`` makes of it, in halves where memory lacks; None for one that lacks it alone."""
    waiting = list(batches)[::-1]
    while waiting:
        batch = waiting.pop()
        try:
            found = work(batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(batch) > 1:
                waiting += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
                continue
            found = None
        yield batch, found


@torch.inference_mode()
def _prefix(model: LanguageModel, ids: list[int]):
    """The key-value cache of tokens that many trees begin with; None where there is no memory for it."""
    head, mlp = model.network.get_output_embeddings(), model.last_mlp
    one = torch.zeros(1, dtype=torch.long, device=model.network.device)
    try:
        with replaced_input(head, lambda hidden: hidden[:, :1]), only_at(mlp, one, one):
            found = read(model, input_ids=torch.tensor([ids], device=model.network.device), use_cache=True)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None
    return found.past_key_values


@torch.inference_mode()
def _forward(model: LanguageModel, trees: Sequence[Tree], shared: int, cache, which: list[int]) -> list[np.ndarray]:
    """What trees ask, from one forward pass with padding on the right, after ``shared`` tokens in the cache."""
    network, device, batch = model.network, model.network.device, [trees[k] for k in which]
    width = max(len(t.ids) for t in batch) - shared

    def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
        rows = [part[shared:] + [fill] * (width + shared - len(part)) for part in lists]
        return torch.tensor(rows, device=device)

    inputs = {"input_ids": padded([t.ids for t in batch], model.start)}
    # Causal attention never looks right, so padding needs no mask; branches and what is cached need one.
    if shared or any(map(branching, batch)):
        branches = padded([t.branches for t in batch], -1)
        seen = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
        seen &= torch.ones(width, width, dtype=torch.bool, device=device).tril()
        mask = torch.zeros(len(batch), 1, width, shared + width, dtype=network.dtype, device=device)
        mask[..., shared:].masked_fill_(~seen[:, None], torch.finfo(network.dtype).min)
        inputs["attention_mask"] = mask
        inputs["position_ids"] = padded([t.positions for t in batch], 0)
    if shared:
        inputs["past_key_values"] = copy.deepcopy(cache)
        inputs["past_key_values"].batch_repeat_interleave(len(batch))
    place: dict[tuple[int, int], int] = {}
    which = np.array([place.setdefault((r, at - shared), len(place)) for r, t in enumerate(batch) for at, _ in t.asked])
    tokens = np.array([token for t in batch for _, token in t.asked])
    rows, columns = torch.tensor(list(place)).T
    head, plain, mlp, kept = network.get_output_embeddings(), model.plain_head, model.last_mlp, []

    def select(hidden: torch.Tensor) -> torch.Tensor:
        asked = hidden[rows.to(hidden.device), columns.to(hidden.device)]
        kept.append(asked)
        return asked[None, :1] if plain else asked[None]

    with replaced_input(head, select), only_at(mlp, rows.to(device), columns.to(device)):
        logits = read(model, **inputs, use_cache=bool(shared)).logits[0]
    if plain:
        logp = _projected(kept[0], head, which, tokens)
    else:
        logits, which = logits.float(), torch.from_numpy(which).to(logits.device)
        picked = logits[which, torch.from_numpy(tokens).to(logits.device)]
        logp = (picked.double() - logits.logsumexp(-1)[which].double()).cpu().numpy()
    return np.split(logp, np.cumsum([len(t.asked) for t in batch])[:-1])


def _projected(hidden: torch.Tensor, head: torch.nn.Linear, which: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """log P of ``tokens`` at the states ``which`` of [k, d] hidden ones: the vocabulary in blocks, never all logits."""
    device, size = head.weight.device, head.weight.shape[0]
    step = max(256, _LOGITS.get(device.type, _LOGITS["cpu"]) // len(hidden))
    order = np.argsort(tokens, kind="stable")
    ends = np.searchsorted(tokens[order], np.arange(0, size + step, step))
    at, token = (torch.from_numpy(a[order]).to(device) for a in (which, tokens))
    hidden = hidden.to(device)
    highest = torch.full((len(hidden), 1), -torch.inf, device=device)
    total = torch.zeros(len(hidden), 1, device=device)
    picked = torch.empty(len(tokens), dtype=torch.float64, device=device)
    for block, begin in enumerate(range(0, size, step)):
        bias = None if head.bias is None else head.bias[begin : begin + step]
        logits = torch.nn.functional.linear(hidden, head.weight[begin : begin + step], bias).float()
        first, last = ends[block], ends[block + 1]
        if last > first:
            picked[first:last] = logits[at[first:last], token[first:last] - begin].double()
        new = torch.maximum(highest, logits.amax(1, keepdim=True))
        total = total * (highest - new).exp_() + logits.sub_(new).exp_().sum(1, keepdim=True)
        highest = new
    logp = np.empty(len(tokens))
    logp[order] = (picked - (highest.double() + total.double().log())[at, 0]).cpu().numpy()
    return logp
