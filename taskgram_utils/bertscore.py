"""BERTScore precision (Zhang et al. 2020) of generated texts, by the library bert-score."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from taskgram_utils.errors import InputError, reason, require

METRIC = "bertscore_precision"


def precision(
    outputs: Sequence[str | None], references: Sequence[str], model: str = "roberta-large",
    device: str | None = None,
) -> np.ndarray:
    """BERTScore precision of each output against its reference, not rescaled: float64 [outputs].

    ``model``: a name that bert-score knows, whose layer it then takes, or the folder of an encoder,
    whose last layer is taken. An empty output has precision 0, as in the library, a missing one
    (None) NaN.

    Raises :class:`~taskgram_utils.errors.InputError` where the library or the model cannot be
    loaded, and where outputs and references differ in number.
    """
    many = f"BERTScore: {len(outputs)} outputs, {len(references)} references"
    require(len(outputs) == len(references), many)
    try:
        from bert_score import BERTScorer
        from bert_score.utils import model2layers
        from transformers import AutoConfig
    except ImportError as error:
        raise InputError("BERTScore: pip install -e '.[hub]' for bert-score") from error
    from taskgram_utils.language_models.loading import quiet

    scores = np.array([np.nan if text is None else 0.0 for text in outputs])
    spoken = [i for i, text in enumerate(outputs) if text and text.strip()]
    if not spoken:
        return scores
    known = model in model2layers
    require(known or Path(model).is_dir(),
            f"BERTScore: {model} is neither a model that bert-score knows nor a folder")
    try:
        with quiet():
            layers = None if known else AutoConfig.from_pretrained(model).num_hidden_layers
            scorer = BERTScorer(model_type=model, num_layers=layers, device=device)
    except (OSError, ValueError, KeyError) as error:
        what = f"{model} cannot be loaded as an encoder ({reason(error)})"
        raise InputError(f"BERTScore: {what}") from error
    precisions, _, _ = scorer.score([outputs[i] for i in spoken], [references[i] for i in spoken])
    scores[spoken] = precisions.double().numpy()
    return scores
