"""A tokenizer that gives a text back, and those that do not: the real ones do."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, normalizers

from taskgram_utils.round_trip import lost

FILES = Path(__file__).resolve().parents[1] / "../shared/data/tokenizers"


@pytest.mark.parametrize("name", ["20B", "gpt2"])
def test_real_tokenizers_lose_nothing_and_changed_ones_do(name):
    if not (FILES / f"{name}_tokenizer.json").exists():
        pytest.skip(f"no tokenizer {name}")
    tokenizer = Tokenizer.from_file(str(FILES / f"{name}_tokenizer.json"))
    assert lost(tokenizer) == ""
    tokenizer.normalizer = normalizers.Lowercase()
    assert lost(tokenizer).startswith("'Two  spaces") and "comes back as 'two  spaces" in lost(tokenizer)
    assert lost(tokenizer, fold=str.lower) == ""
    for change in (("  ", " "), ("\n", " "), ("é", "e"), ("2", ""), ("好", "")):
        tokenizer.normalizer = normalizers.Replace(*change)
        assert lost(tokenizer)
