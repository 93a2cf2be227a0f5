"""BERTScore precision (Zhang et al. 2020) of generated texts, by the library bert-score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taskgram_utils.errors import InputError, require

METRIC = "bertscore_precision"


def precision(
    outputs: Sequence[str | None], references: Sequence[str], model: str = "roberta-large", device: str | None = None
) -> np.ndarray:
    """float64 [outputs]: BERTScore precision of each output against its reference, without rescaling.

    ``model``: a name that bert-score knows, whose layer it then takes, or the folder of an encoder, whose last layer is
    taken. An empty output has precision 0, as in the library, one that is missing (None) NaN.

    Raises :class:`~taskgram_utils.errors.InputError` where the library or the model cannot be had, and where outputs
    and references are not as many.
    """
    require(len(outputs) == len(references), f"BERTScore: {len(outputs)} outputs, {len(references)} references")
    try:
        from bert_score import BERTScorer
        from bert_score.utils import model2layers
    except ImportError as error:
        raise InputError("BERTScore: pip install -e '.[hub]' for bert-score") from error
    from taskgram_utils.language_models.loading import quiet

    out = np.array([np.nan if o is None else 0.0 for o in outputs])
    spoken = [i for i, o in enumerate(outputs) if o and o.strip()]
    if not spoken:
        return out
    try:
        with quiet():
            scorer = BERTScorer(model_type=model, num_layers=None if model in model2layers else _layers(model),
                                device=device)  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(f"BERTScore: {model} cannot be loaded as an encoder ({why})") from error
    found, _, _ = scorer.score([outputs[i] for i in spoken], [references[i] for i in spoken])
    out[spoken] = found.double().numpy()
    return out


def _layers(model: str) -> int:
    from transformers import AutoConfig

    require(Path(model).is_dir(), f"BERTScore: {model} is neither a model that bert-score knows nor a folder")
    return AutoConfig.from_pretrained(model).num_hidden_layers
