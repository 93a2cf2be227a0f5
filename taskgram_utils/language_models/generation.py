"""Greedy answers, batched: padding on the left, a key-value cache, finished texts out of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from taskgram_utils.language_models.forward import batches, cache_bytes, token_budget, token_bytes, within_memory
from taskgram_utils.language_models.hooks import replaced_input
from taskgram_utils.language_models.loading import LanguageModel
from taskgram_utils.language_models.packing import encode

_WIDER = 4  # a step of an answer reads one token a text: so many times the tokens of a scored batch are one


def answers_of(
    model: LanguageModel,
    texts: Sequence[str | None],
    max_tokens: int,
    stop: Sequence[str],
    budget: int | None,
    done: Callable[[int], object],
) -> tuple[list[str | None], dict[int, str]]:
    """The continuations of ``texts``, cut off before a ``stop`` string; and why some (by number) have none."""
    known = [i for i, text in enumerate(texts) if text is not None]
    reasons = {i: "x is no text" for i, text in enumerate(texts) if text is None}
    encoded = dict(zip(known, encode(model, [texts[i] for i in known]), strict=True))
    ids = {i: one.ids or [model.start] for i, one in encoded.items()}
    room = {i: max_tokens if model.context is None else min(max_tokens, model.context - len(ids[i]) + 1) for i in ids}
    for i in [i for i in ids if room[i] < 1]:
        reasons[i] = f"prompt of {len(ids.pop(i))} tokens, longer than the context of {model.context}"
    if budget is None:
        budget = int(_WIDER * token_budget(model) / max(1, cache_bytes(model) / token_bytes(model)))
    outputs: list[str | None] = [None] * len(texts)
    live = list(ids)
    cut = ([live[k] for k in batch] for batch in batches([(len(ids[i]) + room[i], 0) for i in live], budget))
    for batch, written in within_memory(cut, lambda some: _continue(model, [(ids[i], room[i]) for i in some], stop)):
        if written is None:
            reasons[batch[0]] = "no memory for it alone"
            continue
        for i, text in zip(batch, written, strict=True):
            outputs[i] = text[: min((text.find(s) for s in stop if s in text), default=len(text))]
        done(len(batch))
    return outputs, dict(sorted(reasons.items()))


@torch.inference_mode()
def _continue(model: LanguageModel, asked: list[tuple[list[int], int]], stop: Sequence[str]) -> list[str]:
    """Greedy continuations of (prompt, tokens at most), padded on the left, with a key-value cache; a finished text
    leaves the batch.

    ``network.generate`` carries finished texts along, which costs time where answers differ in length.
    """
    prompts, room = zip(*asked, strict=True)
    network, device, width = model.network, model.network.device, max(map(len, prompts))
    head = network.get_output_embeddings()
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
        with replaced_input(head, lambda hidden: hidden[:, -1:]):
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
