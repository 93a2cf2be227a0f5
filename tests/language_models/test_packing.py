"""Which tokens hold which characters, by the bytes that they spell; and how texts and windows begin."""

import json
import random
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from taskgram_utils.language_models import neural, packing
from taskgram_utils.packaged import installed

FILES = Path(__file__).resolve().parents[2] / "../shared/data/tokenizers"
SMOLLM2 = "SmolLM2-135M-Instruct"
TEXT = "The dog of the baker sleeps under the old tree, and the baker's wife sings of 12 + 34 dogs.\n"
PARTS = [
    " ", "  ", "    ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "a", "The", "dog", "é", "e\u0301",
    "\u0301", "a\u0323\u0308", "👩‍👩‍👧", "🇩🇪", "你好", "한", "\u1112\u1161\u11ab", ",", ".", ")", "12",
    "\u212b", "\u0915\u093c",
]  # fmt: skip
PLAIN = [*range(33, 127), *range(161, 173), *range(174, 256)]
REST = [b for b in range(256) if b not in PLAIN]
BYTE = {chr(b): b for b in PLAIN} | {chr(256 + k): b for k, b in enumerate(REST)}
"""The printable stand-ins of byte-level BPE (Radford et al. 2019)."""


def sentencepiece(bos=True):
    """A small tokenizer as that of Llama: a space before the text, bytes for what has no piece."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    made.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False))
    state = json.loads(made.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    made = Tokenizer.from_str(json.dumps(state))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(parts)
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    return made


def held(backend, ids, text, composed):
    """The characters of each token: (begin, end), from its bytes alone."""
    added = {i: token.content for i, token in backend.get_added_tokens_decoder().items()}
    whole = unicodedata.normalize("NFC", text) if composed else text
    lead, edges = 0, []
    if backend.id_to_token(ids[0]).startswith("▁") and not text.startswith(" "):
        whole, lead = " " + whole, 1
    for j in range(lead, len(whole)):
        edge = edges[-1] + 1 if edges else 1
        while composed and unicodedata.normalize("NFC", text[:edge])[: j + 1] != whole[: j + 1]:
            edge += 1
        edges.append(edge)
    spans = [(0, 1)] * lead + list(zip([0, *edges], edges, strict=False))
    characters, at, out = [span for span, c in zip(spans, whole, strict=True) for _ in c.encode()], 0, []
    for token in ids:
        piece = backend.id_to_token(token)
        if token in added:
            raw = added[token].encode()
        elif piece.startswith("<0x"):
            raw = bytes([int(piece[3:5], 16)])
        elif backend.token_to_id("▁") is None:
            raw = bytes(BYTE[c] for c in piece)
        else:
            raw = piece.replace("▁", " ").encode()
        assert whole.encode()[at : at + len(raw)] == raw
        out.append((characters[at][0], characters[at + len(raw) - 1][1]))
        at += len(raw)
    assert at == len(whole.encode())
    return out


def tokenizer_file(name):
    """A real tokenizer, if it is here, or the small one."""
    name, _, trimmed = name.partition(", ")
    if name == "sentencepiece":
        return sentencepiece(bos=False).to_str()
    if name == "SmolLM2" and installed(SMOLLM2) and find_spec("gguf"):
        file = installed(SMOLLM2)
        one = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).backend_tokenizer
        one.post_processor = processors.ByteLevel(trim_offsets=True)
        return one.to_str()
    if not (FILES / f"{name}_tokenizer.json").exists():
        pytest.skip(f"no tokenizer {name}")
    state = json.loads((FILES / f"{name}_tokenizer.json").read_text())
    state["post_processor"]["trim_offsets"] = bool(trimmed)
    return json.dumps(state)


@pytest.mark.parametrize("name", ["20B", "20B, trimmed", "gpt2", "gpt2, trimmed", "SmolLM2, trimmed", "sentencepiece"])
def test_a_token_holds_the_characters_whose_bytes_it_spells(tmp_path, name):
    """And so y, whatever its first character, is made of the tokens with a byte of it."""
    (tmp_path / "tokenizer.json").write_text(tokenizer_file(name))
    backend = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json")).backend_tokenizer
    rows = SimpleNamespace(num_embeddings=1 << 20)
    model = neural.LanguageModel(
        name, None, SimpleNamespace(get_input_embeddings=lambda: rows),
        SimpleNamespace(backend_tokenizer=backend, unk_token=None), None, 0,
    )  # fmt: skip
    model.__dict__["shares_prefix"] = False
    draw = random.Random(1)
    texts = ["".join(draw.choices(PARTS, k=draw.randint(1, 12))) for _ in range(400)]
    for text, path in zip(texts, packing.encode(model, texts), strict=True):
        spans = held(backend, path.ids, text, name.startswith("20B"))
        assert list(zip(path.begins, path.ends, strict=True)) == spans, text
        jobs = [packing.Job(cut, text[:cut], text[cut:], [], []) for cut in range(1, len(text))]
        many = [len(row.asked) for row in packing.plan(jobs, model, True).rows]
        assert many == [sum(end > cut for _, end in spans) for cut in range(1, len(text))], text


NETWORKS = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "gemma": (Gemma2ForCausalLM, Gemma2Config, {"head_dim": 16, "sliding_window": 8}),
}
SHAPE = dict(vocab_size=340, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
             intermediate_size=64, max_position_embeddings=24, bos_token_id=1, eos_token_id=2)  # fmt: skip


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, tmp_path_factory):
    """A random network whose tokenizer puts <s> before a text and </s> after it."""
    torch.manual_seed(3)
    kind, settings, more = NETWORKS[request.param]
    network, folder = kind(settings(**SHAPE, **more)), tmp_path_factory.mktemp(request.param)
    for parameter in network.parameters():
        parameter.data.mul_(4)  # untrained, yet with preferences
    network.save_pretrained(folder)
    special = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=sentencepiece(), **special).save_pretrained(folder)
    return neural.load(folder)


@torch.no_grad()
def after(model, ids):
    return model.network(torch.tensor([ids])).logits[0].double().log_softmax(-1)


def test_every_window_begins_as_a_text_does(model):
    x, y = "The dog of the baker", " sleeps under the old tree, and the baker's wife sings" * 7
    ids = model.tokenizer.backend_tokenizer.encode(x + y, add_special_tokens=False).ids
    first = len(model.tokenizer.backend_tokenizer.encode(x, add_special_tokens=False).ids)
    room = 23  # the context of 24 less <s>
    assert model.opening == [1] and model.context == 24 and len(ids) > 3 * room
    logp = 0.0
    for begin in range(first, len(ids), 11):
        end = min(begin + 11, len(ids))
        window = [1, *ids[max(0, end - 1 - room) : end - 1]]
        assert len(window) <= 24
        rows = after(model, window)[-(end - begin) :]
        logp += sum(float(row[token]) for row, token in zip(rows, ids[begin:end], strict=True))
    examples = pd.DataFrame({"example_id": ["long"], "x": [x], "y": [y]})
    table = neural.score(examples, model, long="window")
    assert table["tokens"][0] == len(ids) - first
    assert table["logp"][0] == pytest.approx(logp, abs=1e-3)


def test_nothing_before_a_text_is_what_the_tokenizer_puts_there(model):
    examples = pd.DataFrame({"example_id": ["a", "b"], "x": ["", "The dog"], "y": ["The dog", " of the baker"]})
    for prior, xs in ((False, examples["x"]), (True, ["", ""])):
        table = neural.score(examples, model, prior=prior)
        for x, y, logp in zip(xs, examples["y"], table["logp"], strict=True):
            backend = model.tokenizer.backend_tokenizer
            ids, begin = backend.encode(x + y).ids[:-1], len(backend.encode(x).ids[:-1])
            rows = after(model, ids)
            assert logp == pytest.approx(sum(float(rows[k - 1, ids[k]]) for k in range(begin, len(ids))), abs=1e-4)
    ids = [1]
    while len(ids) < 9 and ids[-1] != 2:
        ids.append(int(after(model, ids)[-1].argmax()))
    decode = model.tokenizer.backend_tokenizer.decode
    wanted = decode([i for i in ids if i != 2], skip_special_tokens=False)[len("<s>") :]
    for batch in (examples[:1], examples):
        assert neural.generate(batch, model, 8, stop=())["output"].iloc[0] == wanted
    assert after(model, [1])[-1].argmax() != after(model, [2])[-1].argmax()
