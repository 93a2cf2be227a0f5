"""Networks that read in other ways than Pythia: what they say is that of a plain forward pass, or they are refused."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from taskgram_utils.errors import InputError
from taskgram_utils.language_models import neural
from taskgram_utils.language_models.loading import PLAIN_ATTENTION

TEXT = "There was once a man who had two cats, and one of them could count to three; the other one could not. " * 8
SHAPE = dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
ROPE = dict(rope_type="longrope", rope_theta=1e4, short_factor=[1.0] * 4, long_factor=[4.0] * 4,
            original_max_position_embeddings=64)  # fmt: skip
GPT_NEO = dict(vocab_size=512, hidden_size=32, num_layers=2, num_heads=4, window_size=16,
               attention_types=[[["global", "local"], 1]])  # fmt: skip
FALCON = dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True,
              multi_query=False, parallel_attn=False)  # fmt: skip
BART = dict(vocab_size=512, d_model=32, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=64,
            encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64)  # fmt: skip
OPENAI = dict(vocab_size=512, n_embd=32, n_layer=2, n_head=4)
NETWORKS = {
    "a local window beside whole attention": ("GPTNeo", GPT_NEO),
    "positions that depend on the longest text": (
        "Llama",
        SHAPE | dict(max_position_embeddings=512, rope_parameters=ROPE),
    ),
    "alibi": ("Falcon", FALCON),
    "no numbers of positions": ("Bart", BART),
    "no cache": ("OpenAIGPT", OPENAI),
    "convolutions": ("Lfm2", SHAPE | dict(num_key_value_heads=4, layer_types=["conv", "full_attention"])),
    "a sliding window": ("Mistral", SHAPE | dict(num_key_value_heads=2, sliding_window=16)),
    "plain": ("Llama", SHAPE),
}
CLASSES = {"OpenAIGPT": "OpenAIGPTLMHeadModel"}
EXAMPLES = pd.DataFrame({
    "example_id": ["short", "long", "middle"], "x": ["There was", TEXT[:300], TEXT[:120]],
    "y": [" once a man", " and one of them", " who had"],
    "options": [[" once a man", " two cats", " three; the other one could not, or"]] * 3,
})  # fmt: skip


def tokenizer(folder, metaspace=False):
    """A small one of bytes, or of pieces of words whose decoder trims the first space, as that of Llama 2."""
    if metaspace:
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        special = ["<unk>", "<s>", "</s>"]
        made.train_from_iterator(
            [TEXT], trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False)
        )
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", bos_token="<s>")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    about = dict(vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=letters, show_progress=False)
    made.train_from_iterator([TEXT], trainers.BpeTrainer(**about))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|endoftext|>")


def loaded(folder, kind, shape, loud=True, head="ForCausalLM", metaspace=False):
    """A model with random weights, large enough for preferences, saved and loaded."""
    torch.manual_seed(5)
    settings = getattr(transformers, f"{kind}Config")(**shape)
    network = getattr(transformers, CLASSES.get(kind, f"{kind}{head}"))(settings)
    for parameter in network.parameters() if loud else ():
        if parameter.dim() > 1 and parameter.std() > 0:
            parameter.data.mul_(0.2 / parameter.std())
    network.eval().save_pretrained(folder)
    tokenizer(folder, metaspace).save_pretrained(folder)
    return neural.load(folder)


def plain(model, x, y):
    ids, begin = model.tokenizer(x + y)["input_ids"], len(model.tokenizer(x)["input_ids"])
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().log_softmax(-1)
    return sum(float(logits[k - 1, ids[k]]) for k in range(begin, len(ids)))


def greedy(model, x, tokens):
    """What follows x, every token from a whole forward pass."""
    ids = model.tokenizer(x)["input_ids"]
    before = model.tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)
    for _ in range(tokens):
        with torch.inference_mode():
            ids = [*ids, int(model.network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())]
    return model.tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)[len(before) :]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_scores_and_answers_are_those_of_plain_passes(tmp_path, name):
    model = loaded(tmp_path, *NETWORKS[name])
    few_shot = EXAMPLES.assign(x=TEXT[:330] + EXAMPLES["x"])
    for examples in (EXAMPLES, few_shot, EXAMPLES[:1]):
        for budget in (None, 8):
            table = neural.score(examples, model, options=True, budget=budget)
            asked = zip(table["example_id"].map(examples.set_index("example_id")["x"]), table["sy"], strict=True)
            assert np.allclose(table["logp"], [plain(model, x, y) for x, y in asked], atol=2e-3)
    assert model.shares_prefix == (name == "plain")
    if name == "no cache":
        with pytest.raises(InputError, match="keeps no cache to go on from; generating is not supported"):
            neural.generate(EXAMPLES, model, 4)
        return
    answers = neural.generate(EXAMPLES, model, 6, stop=())
    assert answers["output"].tolist() == [greedy(model, x, 6) for x in EXAMPLES["x"]]


@pytest.mark.parametrize("kind", sorted(PLAIN_ATTENTION))
def test_packed_texts_after_a_shared_beginning_are_those_of_plain_passes(kind):
    """Every kind of network that is said to have plain attention has it."""
    torch.manual_seed(5)
    sizes = SHAPE | dict(num_key_value_heads=4, max_position_embeddings=512, rotary_dim=4, ffn_dim=64, head_dim=8,
                         word_embed_proj_dim=32, n_embd=32, n_layer=2, n_head=4, sliding_window=None)  # fmt: skip
    settings = transformers.CONFIG_MAPPING[kind](**sizes, pad_token_id=0, bos_token_id=0, eos_token_id=0)
    network = transformers.AutoModelForCausalLM.from_config(settings)
    for parameter in network.parameters():
        if parameter.dim() > 1 and parameter.std() > 0:
            parameter.data.mul_(0.2 / parameter.std())
    model = neural.LanguageModel(kind, None, network.eval(), tokenizer(None), 512, 0)
    assert model.shares_prefix
    few_shot = EXAMPLES.assign(x=TEXT[:330] + EXAMPLES["x"])
    table = neural.score(few_shot, model, options=True)
    asked = zip(table["example_id"].map(few_shot.set_index("example_id")["x"]), table["sy"], strict=True)
    assert np.allclose(table["logp"], [plain(model, x, y) for x, y in asked], atol=2e-3)


@pytest.mark.parametrize("loud", [True, False])
@pytest.mark.parametrize(("kind", "head"), [("Bert", "LMHeadModel"), ("Roberta", "ForMaskedLM")])
def test_an_encoder_is_refused(tmp_path, kind, head, loud):
    shape = SHAPE if kind == "Bert" else SHAPE | dict(max_position_embeddings=514)
    with pytest.raises(
        InputError, match="is no causal language model: what it says of a token depends on what follows"
    ):
        loaded(tmp_path, kind, shape, loud, head)


def test_an_answer_keeps_its_first_space(tmp_path):
    model = loaded(tmp_path, "Llama", SHAPE, metaspace=True)
    xs = [f"{word} and" for word in TEXT.split()[:24]]
    outputs = neural.generate(pd.DataFrame({"example_id": range(24), "x": xs}), model, 5, stop=())["output"].tolist()
    assert outputs == [greedy(model, x, 5) for x in xs] and any(o.startswith(" ") for o in outputs)


def test_an_end_of_text_that_the_network_does_not_know(tmp_path):
    model = loaded(tmp_path, "Llama", SHAPE)
    model.network.resize_token_embeddings(64)
    model.network.save_pretrained(tmp_path)
    model.tokenizer.add_special_tokens({"eos_token": "<far>"})
    model.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"its end-of-text token \(\d+\) is none of the 64 that its network knows"):
        neural.load(tmp_path)
