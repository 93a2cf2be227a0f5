"""Greedy answers in batches: padded on the left, with a key-value cache; finished texts leave."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from taskgram_utils.errors import require
from taskgram_utils.language_models import forward
from taskgram_utils.language_models.forward import at_head, read
from taskgram_utils.language_models.loading import UNREADABLE, LanguageModel, out_of_memory
from taskgram_utils.language_models.packing import encode

_BEFORE = 4  # tokens before an answer that are decoded along with it
_Prompt = tuple[list[int], int, Sequence[str]]  # token ids, tokens of an answer at most, stops


def answers_of(
    model: LanguageModel, texts: Sequence[str | None], max_tokens: int,
    stops: Sequence[Sequence[str]], budget: int | None, done: Callable[[int], object],
) -> tuple[list[tuple[str, bool] | None], dict[int, str]]:
    """The continuations of ``texts``, each cut off before the first of its own ``stops``.

    Each comes with whether ``max_tokens`` or the context cut it off. Also returns why some texts,
    by number, have none. ``budget``: tokens of a batch; ``done`` gets the number of texts done.
    """
    reasons = {i: "x is no text" for i, text in enumerate(texts) if text is None}
    known = [i for i in range(len(texts)) if i not in reasons]
    prompts: dict[int, _Prompt] = {}
    for i, path in zip(known, encode(model, [texts[i] for i in known]), strict=True):
        ids, context = path.ids or [model.start], model.context
        room = max_tokens if context is None else min(max_tokens, context - len(ids) + 1)
        if room < 1:
            reasons[i] = f"prompt of {len(ids)} tokens, longer than the context of {context}"
        else:
            prompts[i] = ids, room, stops[i]
    numbers, batches = list(prompts), [[i] for i in prompts]
    if len(prompts) > 1 and _takes_padding(model):
        sizes = [(len(ids) + room, 0) for ids, room, _ in prompts.values()]
        cut = forward.batches(sizes, budget or forward.cache_budget(model))
        batches = [[numbers[k] for k in batch] for batch in cut]
    answers: list[tuple[str, bool] | None] = [None] * len(texts)
    work = lambda batch: _continue(model, [prompts[i] for i in batch])  # noqa: E731
    for batch, written in forward.within_memory(batches, work):
        if written is None:
            reasons[batch[0]] = "no memory for it alone"
            continue
        for i, answer in zip(batch, written, strict=True):
            answers[i] = answer
        done(len(batch))
    return answers, dict(sorted(reasons.items()))


def _takes_padding(model: LanguageModel) -> bool:
    """Whether prompts of different lengths can be in one batch, as a trial shows.

    Padding on the left needs positions that the caller numbers, and a cache that can lose a text.
    """
    if not model.takes_positions or model.length_edge is not None:
        return False
    ids = model.trial_ids(8)
    prompts = [(ids, 3, ()), (ids[: max(1, len(ids) // 2)], 2, ())]
    try:
        alone = [_continue(model, [prompt])[0] for prompt in prompts]
        return _continue(model, prompts) == alone
    except UNREADABLE as error:
        if out_of_memory(error):
            raise
        return False


@torch.inference_mode()
def _continue(model: LanguageModel, batch: Sequence[_Prompt]) -> list[tuple[str, bool]]:
    """Greedy continuations of prompts, and whether their length cut them off.

    ``network.generate`` carries finished texts along, which takes time where answers differ in
    length.
    """
    prompts, room, stops = zip(*batch, strict=True)
    device, width = model.network.device, max(map(len, prompts))
    ends = {model.tokenizer.eos_token_id,
            *np.atleast_1d(model.network.generation_config.eos_token_id).tolist()}
    # A stop string has no more tokens than bytes.
    reach = max((len(stop.encode()) for texts in stops for stop in texts), default=0) + 4
    pads = [width - len(prompt) for prompt in prompts]
    ids = [[model.start] * n + prompt for n, prompt in zip(pads, prompts, strict=True)]
    ids = torch.tensor(ids, device=device)
    mask = torch.tensor([[0] * n + [1] * (width - n) for n in pads], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    written: list[list[int]] = [[] for _ in prompts]
    live, cache = list(range(len(prompts))), None  # live: the prompt of each row
    while True:
        where = {"position_ids": positions, "attention_mask": mask} if model.takes_positions else {}
        with at_head(model, lambda hidden: hidden[:, -1:]):
            result = read(model, input_ids=ids, past_key_values=cache, use_cache=True, **where)
        cache = getattr(result, "past_key_values", None)
        tokens = result.logits[:, -1].argmax(-1)
        for i, token in zip(live, tokens.tolist(), strict=True):
            written[i].append(token)
        tails = _texts(model, [prompts[i] for i in live], [written[i] for i in live], reach)
        rows = [row for row, (i, tail) in enumerate(zip(live, tails, strict=True))
                if written[i][-1] not in ends and len(written[i]) < room[i]
                and not any(stop in tail for stop in stops[i])]
        if not rows:
            break
        no_cache = f"model {model.name}: keeps no cache to go on from; generating is not supported"
        require(cache is not None, no_cache)
        if len(rows) < len(live):
            live, going_on = [live[row] for row in rows], torch.tensor(rows, device=device)
            cache.batch_select_indices(going_on)
            tokens, positions, mask = tokens[going_on], positions[going_on], mask[going_on]
        ids, positions = tokens[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    texts = _texts(model, prompts, [ids[:-1] if ids[-1] in ends else ids for ids in written])
    answers = []
    for text, tokens, most, ending in zip(texts, written, room, stops, strict=True):
        cut = min((text.find(stop) for stop in ending if stop in text), default=None)
        answers.append((text[:cut], cut is None and len(tokens) == most and tokens[-1] not in ends))
    return answers


def _texts(
    model: LanguageModel, prompts: Sequence[list[int]], written: Sequence[list[int]],
    last: int = 1 << 30,
) -> list[str]:
    """What was written after prompts as text, or the text of its ``last`` tokens.

    A few tokens before are decoded along: some decoders trim a text that comes alone.
    """
    before, rest = [], []
    for prompt, ids in zip(prompts, written, strict=True):
        cut = max(0, len(ids) - last)
        before.append((prompt[-_BEFORE:] + ids[:cut])[-_BEFORE:])
        rest.append(ids[cut:])
    both = [head + ids for head, ids in zip(before, rest, strict=True)]
    decode = model.tokenizer.backend_tokenizer.decode_batch
    texts, heads, alone = (decode(ids, skip_special_tokens=False) for ids in (both, before, rest))
    return [text[len(head) :] if text.startswith(head) else tail
            for text, head, tail in zip(texts, heads, alone, strict=True)]
