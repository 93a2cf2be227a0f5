"""Greedy answers, batched: padding on the left, a key-value cache, finished texts out of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch

from taskgram_utils.errors import InputError, require
from taskgram_utils.language_models.forward import batches, cache_budget, read, within_memory
from taskgram_utils.language_models.hooks import replaced_input
from taskgram_utils.language_models.loading import UNREADABLE, LanguageModel, out_of_memory
from taskgram_utils.language_models.packing import encode

_KINDS: WeakKeyDictionary = WeakKeyDictionary()  # of networks that were tried
_BEFORE = 4  # tokens before an answer that are decoded along with it
_Asked = tuple[list[int], int, Sequence[str]]


def answers_of(
    model: LanguageModel,
    texts: Sequence[str | None],
    max_tokens: int,
    stops: Sequence[Sequence[str]],
    budget: int | None,
    done: Callable[[int], object],
) -> tuple[list[tuple[str, bool] | None], dict[int, str]]:
    """The continuations of ``texts``, each cut off before the first of its own ``stops``, and
    whether the bound of tokens (or the context) cut it off; why some (by number) have none."""
    known = [i for i, text in enumerate(texts) if text is not None]
    reasons = {i: "x is no text" for i, text in enumerate(texts) if text is None}
    encoded = dict(zip(known, encode(model, [texts[i] for i in known]), strict=True))
    ids = {i: one.ids or [model.start] for i, one in encoded.items()}
    room = {i: max_tokens if model.context is None else min(max_tokens, model.context - len(ids[i]) + 1) for i in ids}
    for i in [i for i in ids if room[i] < 1]:
        reasons[i] = f"prompt of {len(ids.pop(i))} tokens, longer than the context of {model.context}"
    if budget is None:
        budget = cache_budget(model)
    outputs: list[tuple[str, bool] | None] = [None] * len(texts)
    live = list(ids)
    cut = []
    for some in _together(model, {i: len(ids[i]) for i in live}) if live else ():
        cut += [[some[k] for k in batch] for batch in batches([(len(ids[i]) + room[i], 0) for i in some], budget)]
    asked = {i: (ids[i], room[i], stops[i]) for i in live}
    made = within_memory(cut, lambda some: _continue(model, [asked[i] for i in some]))
    for batch, written in made:
        if written is None:
            reasons[batch[0]] = "no memory for it alone"
            continue
        for i, answer in zip(batch, written, strict=True):
            outputs[i] = answer
        done(len(batch))
    return outputs, dict(sorted(reasons.items()))


def _together(model: LanguageModel, lengths: dict[int, int]) -> list[list[int]]:
    """Numbers of prompts, those together that may be in one batch."""
    kind = _kind(model) if len(lengths) > 1 else ""
    if kind == "any":
        return [list(lengths)]
    if kind == "same length":
        return [[i for i in lengths if lengths[i] == length] for length in sorted(set(lengths.values()))]
    return [[i] for i in lengths]


def _kind(model: LanguageModel) -> str:
    """Which prompts may be in one batch, by a trial: ``any``, those of the ``same length``, or each ``alone``.

    Padding on the left is for networks whose caller numbers the tokens; some keep a cache that cannot lose a text.
    Raises InputError for a network that does not go on from its cache.
    """
    if model.network not in _KINDS:
        whole = model.trial_ids(8)
        short, kind = whole[: max(1, len(whole) // 2)], "alone"
        asked = (whole, 3, ()), (short, 2, ()), (whole, 2, ())
        first, other, same = (_continue(model, [one])[0] for one in asked)
        if model.length_edge is None and _tried(model, [asked[0], asked[2]]) == [first, same]:
            numbered = model.takes_positions and _tried(model, list(asked[:2])) == [first, other]
            kind = "any" if numbered else "same length"
        _KINDS[model.network] = kind
    return _KINDS[model.network]


def _tried(model: LanguageModel, asked: list[_Asked]) -> list[tuple[str, bool]] | None:
    try:
        return _continue(model, asked)
    except InputError:
        return None


@torch.inference_mode()
def _continue(model: LanguageModel, asked: list[_Asked]) -> list[tuple[str, bool]]:
    """Greedy continuations of (prompt, tokens at most, stops), padded on the left, with a key-value
    cache, and whether their length cut them off; a finished text leaves the batch.

    ``network.generate`` carries finished texts along, which costs time where answers differ in length.
    """
    prompts, room, stops = zip(*asked, strict=True)
    network, device, width = model.network, model.network.device, max(map(len, prompts))
    head = network.get_output_embeddings()
    ends = {model.tokenizer.eos_token_id, *np.atleast_1d(network.generation_config.eos_token_id).tolist()}
    # A stop string has no more tokens than bytes.
    reach = max((len(s.encode()) for own in stops for s in own), default=0) + 4
    ids = torch.tensor([[model.start] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in prompts]
    live, cache = list(range(len(prompts))), None
    while live:
        inputs = {"position_ids": positions} if model.takes_positions else {}
        inputs |= {} if bool(mask.all()) and not model.takes_positions else {"attention_mask": mask}
        with replaced_input(head, lambda hidden: hidden[:, -1:]):
            result = read(model, input_ids=ids, past_key_values=cache, use_cache=True, **inputs)
        cache, tokens = getattr(result, "past_key_values", None), result.logits[:, -1].argmax(-1)
        for row, token in zip(live, tokens.tolist(), strict=True):
            written[row].append(token)
        tails = _texts(model, [prompts[row] for row in live], [written[row] for row in live], reach)
        keep = [
            k
            for k, (row, tail) in enumerate(zip(live, tails, strict=True))
            if written[row][-1] not in ends
            and len(written[row]) < room[row]
            and not any(s in tail for s in stops[row])
        ]
        if not keep:
            break
        require(cache is not None, f"model {model.name}: keeps no cache to go on from; generating is not supported")
        if len(keep) < len(live):
            live, kept = [live[k] for k in keep], torch.tensor(keep, dtype=torch.long, device=device)
            _select(model, cache, kept)
            tokens, positions, mask = tokens[kept], positions[kept], mask[kept]
        ids, positions = tokens[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    texts = _texts(model, prompts, [ids[:-1] if ids[-1] in ends else ids for ids in written])
    out = []
    for text, ids, most, own in zip(texts, written, room, stops, strict=True):
        at = min((text.find(s) for s in own if s in text), default=None)
        out.append((text[:at], at is None and len(ids) == most and ids[-1] not in ends))
    return out


def _select(model: LanguageModel, cache, rows: torch.Tensor) -> None:
    try:
        cache.batch_select_indices(rows)
    except UNREADABLE as error:
        if out_of_memory(error):
            raise
        raise InputError(f"model {model.name}: its cache cannot lose a text ({type(error).__name__})") from error


def _texts(
    model: LanguageModel, prompts: Sequence[list[int]], written: Sequence[list[int]], last: int | None = None
) -> list[str]:
    """What was written after prompts as text, or of its ``last`` tokens: some decoders trim a text that stands alone,
    so that a few tokens before it are decoded along."""
    before, rest = [], []
    for prompt, ids in zip(prompts, written, strict=True):
        cut = max(0, len(ids) - last) if last else 0
        before.append((prompt + ids[:cut])[-_BEFORE:])
        rest.append(ids[cut:])
    decode = model.tokenizer.backend_tokenizer.decode_batch
    whole = decode([b + r for b, r in zip(before, rest, strict=True)], skip_special_tokens=False)
    heads = decode(before, skip_special_tokens=False)
    alone = decode(rest, skip_special_tokens=False)
    return [w[len(h) :] if w.startswith(h) else a for w, h, a in zip(whole, heads, alone, strict=True)]
