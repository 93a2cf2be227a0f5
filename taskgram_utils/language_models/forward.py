"""Log-probabilities of packed texts: batches by length and memory, one forward pass for each."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import psutil
import torch

from taskgram_utils.errors import InputError
from taskgram_utils.language_models.loading import UNREADABLE, LanguageModel, out_of_memory
from taskgram_utils.language_models.packing import Tree, prefixes

_SHARE = 0.25  # of the free memory that a batch may take
_FEWEST = 256  # tokens of a batch, whatever the memory
_MOST = {"cpu": 1 << 10, "cuda": 1 << 16}  # tokens beyond which a batch is no faster
_CACHED = 1 << 16  # the same of growing texts, each of which adds one token at a time
_LOGITS = {"cpu": 1 << 24, "cuda": 1 << 28}  # logits of a batch
_SHARED = 64  # tokens that texts must have in common for these to be read once


def token_budget(model: LanguageModel) -> int:
    """Tokens of a batch, padding included, for which a quarter of the free memory is enough."""
    return _budget(model, token_bytes(model), _by_device(model, _MOST))


def cache_budget(model: LanguageModel) -> int:
    """The same of growing texts, prompts and room together, which a key-value cache keeps."""
    return _budget(model, cache_bytes(model), _CACHED)


def _budget(model: LanguageModel, token: int, most: int) -> int:
    device, free = model.network.device, psutil.virtual_memory().available
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + reserved
    return int(np.clip(_SHARE * free / token, _FEWEST, most))


def _by_device(model: LanguageModel, numbers: dict[str, int]) -> int:
    return numbers.get(model.network.device.type, numbers["cpu"])


def token_bytes(model: LanguageModel) -> int:
    """Memory that a token of a batch takes, about: a layer's states, the widest of them twice."""
    config = model.network.config.get_text_config()
    hidden = model.network.get_input_embeddings().embedding_dim
    wide = getattr(config, "intermediate_size", None) or 4 * hidden
    return (10 * hidden + 2 * wide) * model.network.dtype.itemsize


def cache_bytes(model: LanguageModel) -> int:
    """Memory that a token takes in the key-value cache, at most."""
    layers = model.network.config.get_text_config().num_hidden_layers
    hidden = model.network.get_input_embeddings().embedding_dim
    return 2 * layers * hidden * model.network.dtype.itemsize


def log_probabilities(
    model: LanguageModel, trees: Sequence[Tree], budget: int, done: Callable[[int], object]
) -> np.ndarray:
    """All log-probabilities that the trees ask for, in their order: float64 [sum of len(asked)],
    nats.

    nan for a tree that does not fit in memory, -inf where the network's number is not finite.
    ``budget``: tokens of a batch, padding included. ``done`` is told how many trees are finished.
    """
    out = [np.full(len(tree.asked), np.nan) for tree in trees]
    vocabulary = model.network.get_output_embeddings().weight.shape[0]
    every = [(0, list(range(len(trees))))]
    for shared, members in prefixes(trees, _SHARED) if model.shares_prefix else every:
        cache = _prefix(model, trees[members[0]].ids[:shared]) if shared else None
        shared = shared if cache is not None else 0  # no memory for it: texts are read whole
        # Each text of a batch has a copy of the cache.
        copied = int(shared * cache_bytes(model) / token_bytes(model)) - shared
        sizes = [(len(trees[k].ids) + copied, len(trees[k].asked) * vocabulary) for k in members]
        cut = batches(sizes, budget, _by_device(model, _LOGITS), model.length_edge)
        work = partial(_forward, model, trees, shared, cache)
        for batch, values in within_memory(([members[i] for i in some] for some in cut), work):
            for k, some in zip(batch, values or [], strict=False):
                out[k] = some
            done(len(batch) if values else 0)
    return np.concatenate(out) if out else np.empty(0)


@contextmanager
def at_head(model: LanguageModel, select: Callable) -> Iterator[None]:
    """Let the output head see ``select(hidden states)`` alone; logits of all tokens take memory."""
    head = model.network.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, args: (select(args[0]),))
    try:
        yield
    finally:
        hook.remove()


def read(model: LanguageModel, **inputs):
    """A forward pass; InputError where the network cannot read these inputs."""
    try:
        return model.network(**inputs)
    except UNREADABLE as error:
        if out_of_memory(error):
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        fails = f"model {model.name}: its network fails at a text of this task ({why})"
        raise InputError(fails) from error


def batches(
    sizes: Sequence[tuple[int, int]], budget: int, logits: int | None = None,
    edge: int | None = None,
) -> Iterator[list[int]]:
    """Cut texts of (tokens, logits) into batches of their indices, within both budgets.

    Longest first: what does not fit in memory fails at once. No batch has texts on both sides of
    ``edge``.
    """
    batch, total = [], 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        longest = sizes[batch[0]][0] if batch else 0
        full = longest * (len(batch) + 1) > budget or (logits and total + sizes[i][1] > logits)
        if batch and (full or (edge and longest > edge >= sizes[i][0])):
            yield batch
            batch, total = [], 0
        batch.append(i)
        total += sizes[i][1]
    if batch:
        yield batch


def within_memory(
    batches: Iterable[list[int]], work: Callable[[list[int]], Sequence]
) -> Iterator[tuple[list[int], Sequence | None]]:
    """Each batch and what ``work`` makes of it.

    A batch that there is no memory for is halved, again and again; None for a text alone.
    """
    waiting = list(batches)[::-1]
    while waiting:
        batch, made = waiting.pop(), None
        try:
            made = work(batch)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
                continue
        yield batch, made


@torch.inference_mode()
def _prefix(model: LanguageModel, ids: list[int]):
    """The key-value cache of what many texts begin with; None where there is no memory for it."""
    ids = torch.tensor([ids], device=model.network.device)
    with at_head(model, lambda hidden: hidden[:, :1]):
        [(_, result)] = within_memory([[0]], lambda _: read(model, input_ids=ids, use_cache=True))
    return result and result.past_key_values


@torch.inference_mode()
def _forward(
    model: LanguageModel, trees: Sequence[Tree], shared: int, cache, numbers: list[int]
) -> list[np.ndarray]:
    """What some of the trees ask: one pass, padded on the right, after ``shared`` cached tokens."""
    network, device, batch = model.network, model.network.device, [trees[k] for k in numbers]
    width = max(len(tree.ids) for tree in batch) - shared

    def padded(lists: Iterable[list[int]], fill: int) -> torch.Tensor:
        rows = [some[shared:] + [fill] * (width + shared - len(some)) for some in lists]
        return torch.tensor(rows, device=device)

    inputs = {"input_ids": padded((tree.ids for tree in batch), model.start)}
    # Causal attention never looks right, so padding needs no mask; branches and a cache need one.
    if shared or any(tree.branches[-1] for tree in batch):
        branches = padded((tree.branches for tree in batch), -1)
        seen = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
        seen &= torch.ones(width, width, dtype=torch.bool, device=device).tril()
        size = (len(batch), 1, width, shared + width)
        inputs["attention_mask"] = torch.zeros(size, dtype=network.dtype, device=device)
        hidden = torch.finfo(network.dtype).min
        inputs["attention_mask"][..., shared:].masked_fill_(~seen[:, None], hidden)
        inputs["position_ids"] = padded((tree.positions for tree in batch), 0)
    if shared:
        inputs["past_key_values"] = copy.deepcopy(cache)
        inputs["past_key_values"].batch_repeat_interleave(len(batch))
    asked = [(row * width + place - shared, token)
             for row, tree in enumerate(batch) for place, token in tree.asked]
    places, tokens = torch.tensor(asked).T
    places, which = places.unique(return_inverse=True)  # several options may ask at one place
    with at_head(model, lambda hidden: hidden.flatten(0, 1)[places.to(hidden.device)][None]):
        logits = read(model, **inputs, use_cache=bool(shared)).logits[0].float()
    which, tokens = which.to(logits.device), tokens.to(logits.device)
    picked, highest = logits[which, tokens], logits.amax(1, keepdim=True)
    total = logits.sub_(highest).exp_().sum(1)  # in place: fresh memory takes time
    norm = highest[:, 0].double() + total.double().log()
    logp = (picked.double() - norm[which]).nan_to_num(-torch.inf, posinf=-torch.inf).cpu().numpy()
    return np.split(logp, np.cumsum([len(tree.asked) for tree in batch])[:-1])
