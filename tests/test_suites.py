"""The suite: its tokens, the card, and models that transformers can open."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from taskgram_utils import suites, training
from taskgram_utils.corpus import Corpus
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.loading import non_embedding
from taskgram_utils.miniature.world import World
from tests.small_suite import STEPS, make_suite


@pytest.fixture
def here(monkeypatch):
    """Each size is trained in this process: a new one takes five seconds before its first step."""

    def train_here(out, text, size, seed, max_steps):
        training.train(size, out / "stream.bin", out / "tokenizer", out / size, seed, max_steps, text.batch,
                       text.context, text.vocabulary)  # fmt: skip
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(suites, "_apart", train_here)


# --- what a suite is ------------------------------------------------------------------------------------------------


def test_a_suite_holds_its_steps_and_records(made):
    folder, _ = made
    record = json.loads((folder / "25k" / "training.json").read_text())
    assert record["kept"] == [1, 2, 4, 6, 10] and record["steps"] == STEPS and record["seed"] == 3
    assert record["tokens"] == STEPS * training.BATCH * training.CONTEXT and record["parameters"] == 25_472
    assert sorted(p.name for p in (folder / "25k").iterdir()) == sorted(
        ["loss.csv", "training.json", *(f"step{s}" for s in record["kept"])]
    )
    lines = (folder / "25k" / "loss.csv").read_text().splitlines()
    assert lines[0] == "step,loss" and float(lines[-1].split(",")[1]) == record["loss"] < math.log(training.VOCABULARY)


def test_card_and_readme(made):
    folder, _ = made
    card = json.loads((folder / "card.json").read_text())
    stream = np.fromfile(folder / "stream.bin", "<u2")
    assert {k: card[k] for k in ("documents", "world", "seed", "twin")} == {
        "documents": 1_000, "world": 1, "seed": 3, "twin": 0}  # fmt: skip
    assert card["tokens"] == len(stream)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for needed in ("# Mini-Pythia, world 1, seed 3", "| 25k | 25,472 (156,544) | 32, 2, 16 | 0.01 | fp32 | 10 |",
                   card["stream_sha256"], "1,000 documents", "--world 1 --seed 3`", torch.__version__):  # fmt: skip
        assert needed in readme, needed


def test_weights_are_read_by_whoever_reads_the_folder(made):
    folder, _ = made
    of = {p.name: p.stat().st_mode for p in (folder / "25k" / "step10").iterdir()}
    assert of["model.safetensors"] == of["config.json"]


def test_what_lies_there_is_neither_replaced_nor_taken_for_a_suite(made, tmp_path):
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(InputError, match=r"holds a README\.md of its own"):
        make_suite(tmp_path, **made[1])
    (tmp_path / "README.md").unlink()
    for other in ("[]", "{", '"suite"'):
        (tmp_path / "card.json").write_text(other)
        with pytest.raises(InputError, match=r"card\.json: cannot be read as what a suite says of itself"):
            make_suite(tmp_path, **made[1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json"]


def test_a_finished_suite_is_left_alone(made):
    folder, asked = made
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    make_suite(folder, **asked)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")} == before and before


@pytest.mark.parametrize("change", [{"world": 2}, {"seed": 4}, {"twin": 1}, {"documents": 1_001}])
def test_another_worlds_folder_is_refused(made, change):
    folder, asked = made
    with pytest.raises(InputError, match="holds a suite of another text or seed"):
        make_suite(folder, **(asked | change))


def test_unknown_size_is_refused(tmp_path):
    with pytest.raises(InputError, match="size 7b: not one of 25k, 100k, 600k, 3m"):
        make_suite(tmp_path / "suite", 1_000, 0, 0, sizes=["7b"])
    assert not (tmp_path / "suite").exists()


def test_kept_steps_open_in_transformers(made):
    folder, _ = made
    model = AutoModelForCausalLM.from_pretrained(folder / "25k" / "step10", use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder / "25k" / "step10")
    assert non_embedding(model) == 25_472 and tokenizer.eos_token == suites.END
    ids = tokenizer("Ada was born in", return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], training.VOCABULARY)


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_the_stream_is_the_documents_in_the_order_of_the_seed(made):
    folder, _ = made
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    stream = np.fromfile(folder / "stream.bin", "<u2")
    end = tokenizer.convert_tokens_to_ids(suites.END)
    assert stream[-1] == end and (stream == end).sum() == 1_000 and stream.max() < training.VOCABULARY
    decoded = tokenizer.decode(stream.tolist(), clean_up_tokenization_spaces=False)
    assert decoded.split(suites.END)[:-1] == list(World(1_000, 1).texts(order=3))


def test_digits_are_single_tokens(made):
    tokenizer = AutoTokenizer.from_pretrained(made[0] / "tokenizer")
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("47 + 38 = 85").input_ids)
    assert [p for p in pieces if p.isdigit()] == list("473885")


def test_tokens_do_not_depend_on_the_block(made, tmp_path):
    folder, _ = made
    texts = list(World(1_000, 1).texts(order=3))
    length = suites.tokenize(texts, folder / "tokenizer", tmp_path / "stream.bin", block=7)
    assert (tmp_path / "stream.bin").read_bytes() == (folder / "stream.bin").read_bytes()
    assert length * 2 == (tmp_path / "stream.bin").stat().st_size
    assert not list(tmp_path.glob("*.partial"))


# --- any text -------------------------------------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path):
    place = tmp_path / "text"
    place.mkdir()
    parts = [f"# Part {i}\n\nWater boils at {i} degrees where the air is thin.\n" for i in range(120)]
    (place / "water.txt").write_text("".join(parts), encoding="utf-8")
    return Corpus(place, "heading")


def documents(folder, stream):
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return tokenizer.decode(stream.tolist(), clean_up_tokenization_spaces=False).split(suites.END)[:-1]


def test_a_text_is_read_whole_each_time_in_another_order(text, here, tmp_path):
    asked = suites.of_corpus(text, 1, 2, vocabulary=300, batch=2, context=32)
    folder = suites.make_suite(tmp_path / "suite", asked, 1, ["25k"], jobs=1, max_steps=3)
    card = json.loads((folder / "card.json").read_text())
    stream = np.fromfile(folder / "stream.bin", "<u2")
    read, whole = documents(folder, stream), list(text)
    first, second = read[: len(whole)], read[len(whole) :]
    assert sorted(first) == sorted(second) == sorted(whole) and first != second and first != whole
    assert card["tokens"] == len(stream) and card["epochs"] == 2 and card["document"] == "heading"
    assert card["fingerprint"] == text.fingerprint() and not (folder / "once.bin").exists()
    model = AutoModelForCausalLM.from_pretrained(folder / "25k" / "step3", use_safetensors=True)
    assert model.config.max_position_embeddings == 32 and model.config.vocab_size == 300
    said = (folder / "README.md").read_text(encoding="utf-8")
    assert "A suite that has read text, seed 1" in said and "Licence: as the text" in said
    assert "`taskgram train --corpus text --document heading --epochs 2 --seed 1 --out DIR`" in said


def test_another_order_another_text_another_tokenizer_are_refused_in_the_same_folder(text, here, tmp_path):
    folder = suites.make_suite(tmp_path / "suite", suites.of_corpus(text, 1, 1, vocabulary=300, batch=2, context=32), 1,
                              ["25k"], jobs=1, max_steps=2)  # fmt: skip
    given = folder / "tokenizer" / "tokenizer.json"
    with_it = suites.of_corpus(text, 1, 1, given, batch=2, context=32)
    assert with_it.vocabulary == 384 and with_it.card["tokenizer"] != "trained on the text"  # 300, in steps of 128
    for other in (suites.of_corpus(text, 2, 1, vocabulary=300), suites.of_corpus(text, 1, 2, vocabulary=300), with_it,
                  suites.of_corpus(Corpus(text.path, "paragraph"), 1, 1, vocabulary=300)):  # fmt: skip
        with pytest.raises(InputError, match="holds a suite of another text or seed"):
            suites.make_suite(folder, other, 1, ["25k"])


def test_tokenizers_that_cannot_be(text, tmp_path):
    with pytest.raises(InputError, match="epochs 0: a text is read at least once"):
        suites.of_corpus(text, 1, 0)
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        suites.of_corpus(text, 1, 1, tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match=r"bad\.json: no tokenizer file"):
        suites.of_corpus(text, 1, 1, tmp_path / "bad.json")


def test_the_tokenizer_of_pythia_reads_a_text(text, here, tmp_path):
    place = Path(__file__).resolve().parents[1] / "../shared/data/tokenizers/20B_tokenizer.json"
    if not place.is_file():
        pytest.skip(f"no {place}")
    asked = suites.of_corpus(text, 1, 1, place, batch=2, context=32)
    assert asked.vocabulary == 50_304  # as the published models have it
    folder = suites.make_suite(tmp_path / "suite", asked, 1, ["25k"], jobs=1, max_steps=1)
    assert sorted(documents(folder, np.fromfile(folder / "stream.bin", "<u2"))) == sorted(text)


def test_a_trial_does_not_pass_for_a_training_and_a_text_too_short_leaves_nothing(text, here, tmp_path):
    asked = suites.of_corpus(text, 1, 1, vocabulary=300, batch=2, context=32)
    folder = suites.make_suite(tmp_path / "suite", asked, 1, ["25k"], jobs=1, max_steps=1)
    with pytest.raises(InputError, match="holds a suite of another text or seed"):
        suites.make_suite(folder, asked, 1, ["25k"])
    long = suites.of_corpus(text, 1, 1, vocabulary=300, batch=1_000, context=512)
    with pytest.raises(InputError, match=r"tokens, and one step takes 512,001; give more text"):
        suites.make_suite(tmp_path / "short", long, 1, ["25k"])
    assert not list((tmp_path / "short").iterdir())


def test_a_given_tokenizers_end_of_text_ends_a_text_of_its_models(text, here, tmp_path):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters | {suites.END: len(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([suites.END])
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(tmp_path / "lower.json"))
    with pytest.raises(InputError, match=r"lower.json: loses text: 'Two .* comes back as 'two "):
        suites.of_corpus(text, 1, 1, tmp_path / "lower.json")
    tokenizer.normalizer = None
    tokenizer.save(str(tmp_path / "letters.json"))
    asked = suites.of_corpus(text, 1, 1, tmp_path / "letters.json", batch=2, context=32)
    folder = suites.make_suite(tmp_path / "suite", asked, 1, ["25k"], jobs=1, max_steps=1)
    config = json.loads((folder / "25k" / "step1" / "config.json").read_text())
    assert config["eos_token_id"] == config["bos_token_id"] == len(letters)
