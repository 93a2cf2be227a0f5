"""Tokenizers that do not read a text as it stands, or otherwise than their file says, are refused."""

import json

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaTokenizer

from taskgram_utils.errors import InputError
from taskgram_utils.language_models import loading, neural

TEXT = "In 2026 the dog of the baker sleeps under the old tree; in 2025 it was awake.\n\n" * 3
END = "<|endoftext|>"


def byte_level(normalizer=None, alphabet=None):
    made = Tokenizer(models.BPE())
    made.normalizer = normalizer
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if alphabet is None else alphabet
    about = dict(vocab_size=320, special_tokens=[END, "<s>"], initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([TEXT], trainers.BpeTrainer(**about))
    return made


def metaspace():
    """Pieces of words, and the unknown token for what the text has not."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = [END, "<unk>"]
    made.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False))
    return made


def words():
    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator([TEXT], trainers.WordLevelTrainer(special_tokens=[END, "<unk>"], show_progress=False))
    return made


def folder(path, made, kind="PreTrainedTokenizerFast"):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=330, n_embd=16, n_layer=1, n_head=2, n_positions=64, eos_token_id=0, bos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(path)
    made.save(str(path / "tokenizer.json"))
    settings = {"tokenizer_class": kind, "eos_token": END, "bos_token": None}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def refused(path):
    with pytest.raises(InputError) as caught:
        neural.load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("kind", "wrong"), [
    ("Qwen2Tokenizer", "into ['ĊĊ', "),  # line breaks together and single digits, whatever the file says
    ("LlamaTokenizer", "into ['s', 'p', 'a'"),  # as older transformers open a file that names it: no space
])  # fmt: skip
def test_a_class_that_reads_otherwise_than_its_file(tmp_path, monkeypatch, kind, wrong):
    if kind == "LlamaTokenizer":
        monkeypatch.setattr(loading, "AutoTokenizer", LlamaTokenizer)
    path = folder(tmp_path, byte_level(), kind)
    said = refused(path)
    assert kind in said and wrong in said and "name PreTrainedTokenizerFast as tokenizer_class" in said
    monkeypatch.undo()
    model = neural.load(folder(tmp_path, byte_level()))
    assert model.tokenizer.tokenize("in 2026") == byte_level().encode("in 2026").tokens


def test_a_class_that_cannot_read(tmp_path):
    assert "a CodeLlamaTokenizer, cannot read a text" in refused(folder(tmp_path, byte_level(), "CodeLlamaTokenizer"))


@pytest.mark.parametrize(("made", "out"), [
    (words(), "Two"), (byte_level(normalizers.Lowercase()), "'two  spaces"),
    (byte_level(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])), "deja cafe"),
    (byte_level(normalizers.Replace("\n", " ")), "spaces  or"), (byte_level(alphabet=[]), "Two"),
])  # fmt: skip
def test_a_tokenizer_that_loses_what_a_text_holds(tmp_path, made, out):
    said = refused(folder(tmp_path, made))
    assert "loses text: 'Two  spaces\\n\\nor" in said and out in said and "take another model" in said


def test_what_the_vocabulary_cannot_spell_is_null_and_named(tmp_path, capsys):
    model = neural.load(folder(tmp_path, metaspace()))
    ys = [" the dog", " the 你好 dog", " the dog", " the <unk>"]
    examples = pd.DataFrame({"example_id": list("abcd"), "x": ["In", "In", "In 好", "In"], "y": ys})
    points = pd.DataFrame({"example_id": ["b"], "n": [1], "sy": ["dog"], "start": [8]})
    table = neural.score(examples, model, points)
    assert table["logp"].isna().tolist() == [False, True, True, False, False]
    assert "example b: its vocabulary cannot spell '你'; no score\n" in capsys.readouterr().err


def test_accents_may_be_composed_and_a_space_put_before_a_text(tmp_path):
    made = byte_level(normalizers.NFC())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert neural.load(folder(tmp_path, made)).opening == []


def test_a_packaged_model_is_one_of_a_run_file():
    with pytest.raises(InputError, match="packaged/ is for run files"):
        loading.load("packaged/SmolLM2-135M-Instruct")
