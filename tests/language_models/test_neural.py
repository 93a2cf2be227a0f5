"""Scores, choices and answers of neural models, against one plain forward pass for each target."""

import json
import pathlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    ByT5Tokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from taskgram_utils.errors import InputError
from taskgram_utils.language_models import forward, generation, neural, packing
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import word_spans
from taskgram_utils.run.reads import PACKAGE
from taskgram_utils.tasks import math_reasoning

PYTHIA = Path(__file__).resolve().parents[2] / "../shared/data/tokenizers/20B_tokenizer.json"
TEXT = """The capital of France is Paris.
The capital of Japan is Tokyo.
Question: What is 12 + 34? Answer: 12 + 34 = 46.
Un café à Orléans, déjà vu; le garçon mange la crème brûlée.
भारत की राजधानी नई दिल्ली है। हिन्दी एक भाषा है।
The dog of the baker sleeps under the old tree, and the baker's wife sings."""
CONTEXT = 64


def byte_level(texts, size, bos=False, across_words=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not across_words)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>", "<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A <|endoftext|>", special_tokens=[("<s>", 1), ("<|endoftext|>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<s>" if bos else None
    )


def config(vocabulary, hidden=32, layers=2, **more):
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=4 * hidden,
        max_position_embeddings=CONTEXT,
        initializer_range=0.05,
        bos_token_id=0,
        eos_token_id=0,
        **more,
    )


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A folder of two steps, the second trained on the text until it knows it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("suite") / "tiny"
    tokenizer = byte_level(TEXT.split("\n"), 400)
    network = GPTNeoXForCausalLM(config(len(tokenizer)))
    lines = [[0, *tokenizer(line)["input_ids"], 0][:CONTEXT] for line in TEXT.split("\n")]
    width = max(map(len, lines))
    ids = torch.tensor([line + [0] * (width - len(line)) for line in lines])
    labels = torch.tensor([line + [-100] * (width - len(line)) for line in lines])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(61):
        if step in (0, 60):
            network.save_pretrained(folder / f"step{step}")
            tokenizer.save_pretrained(folder / f"step{step}")
        loss = network(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.5
    return folder


@pytest.fixture(scope="module")
def model(suite):
    return neural.load(suite, step=60)


EXAMPLES = pd.DataFrame(
    [
        ("plain", "", "The capital of France is", " Paris."),
        ("before", "Answer. ", "The capital of Japan is", " Tokyo, not Paris."),
        ("around", "Question: {x} Answer:", "What is 12 + 34?", " 12 + 34 = 46."),
        ("accents", "", "Un café", " à Orléans, déjà vu; le garçon mange la crème brûlée."),
        ("hindi", "", "भारत की", " राजधानी नई दिल्ली है।"),
        ("alone", "", "", "The dog of the baker"),
        ("edge", "", "The dog sl", "eeps under the old tree"),
        ("space", "The dog ", "of the ", "baker's wife  sings"),
        ("long", "", "The dog of the baker sleeps under the old tree, and the", " baker's wife sings. The capital of"),
        ("twice", "{x} and {x}: ", "Tokyo", " Tokyo"),
    ],
    columns=["example_id", "instruction", "x", "y"],
).assign(task="toy", group=[f"g{i % 2}" for i in range(10)])


def all_points(examples, sizes=(1, 2, 3)):
    """Every n-gram of every y at its first occurrence."""
    rows = []
    for key, y in zip(examples["example_id"], examples["y"], strict=True):
        spans = word_spans(y)
        for n in sizes:
            for i in range(len(spans) - n + 1):
                run = spans[i : i + n]
                rows.append((key, n, "x", " ".join(w.text for w in run), run[0].start, run[-1].end))
    frame = pd.DataFrame(rows, columns=["example_id", "n", "sx", "sy", "start", "end"])
    return frame.drop_duplicates(["example_id", "n", "sy"]).reset_index(drop=True)


def text_before(example):
    instruction, x = example.instruction, example.x
    return instruction.replace("{x}", x) if instruction.count("{x}") == 1 else instruction + x


def token_places(tokenizer, ids, text):
    """Characters of each token, from the bytes it spells (byte-level vocabularies only, no offsets used)."""
    byte = {c: b for b, c in byte_alphabet().items()}
    character = [i for i, c in enumerate(text) for _ in c.encode()]
    out, at = [], 0
    for piece in tokenizer.convert_ids_to_tokens(ids):
        raw = piece.encode() if piece.isspace() else bytes(byte[c] for c in piece)  # long white space is spelt as it is
        assert text.encode()[at : at + len(raw)] == raw
        out.append(set(character[at : at + len(raw)]))
        at += len(raw)
    assert at == len(character)
    return out


def byte_alphabet():
    """The printable stand-ins of byte-level BPE (Radford et al. 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + k) for k, b in enumerate(rest)}


@torch.no_grad()
def plain(model, before, y, wanted):
    """Sum of log P over the tokens that hold a wanted character of y: one forward pass, one text, all logits."""
    text = before + y
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    held = token_places(model.tokenizer, ids, text)
    shift = len(before)
    tokens = [t for t, characters in enumerate(held) if characters & {shift + c for c in wanted}]
    lead = []
    if model.tokenizer.bos_token_id is not None:
        lead = [model.tokenizer.bos_token_id]
    elif max(held[0]) >= shift:
        lead = [model.tokenizer.eos_token_id]
    logp = model.network(torch.tensor([lead + ids])).logits[0].log_softmax(-1).double()
    at = len(lead)
    return sum(logp[at + t - 1, ids[t]].item() for t in tokens), len(tokens)


def assert_plain(model, examples, table, points):
    end = {(p.example_id, p.n, p.sy, p.start): p.end for p in points.itertuples()}
    example = {e.example_id: e for e in examples.itertuples()}
    for row in table.itertuples():
        e = example[row.example_id]
        whole = pd.isna(row.n)
        y, stop = (row.sy, len(row.sy)) if whole else (e.y, end[row.example_id, row.n, row.sy, row.start])
        logp, tokens = plain(model, text_before(e), y, range(row.start, stop))
        assert row.tokens == tokens, row
        assert abs(row.logp - logp) <= 1e-5 * tokens, row


COLUMNS = ["task", "group", "example_id", "n", "sy", "start", "option", "logp", "tokens", "model", "step"]


def test_scores_equal_one_plain_forward_for_each_target(model):
    points = all_points(EXAMPLES)
    table = neural.score(EXAMPLES, model, points)
    assert list(table.columns) == COLUMNS
    assert len(table) == len(EXAMPLES) + len(points)
    assert set(table["model"]) == {"tiny"} and set(table["step"]) == {60}
    assert table.attrs["failed"] == []
    assert_plain(model, EXAMPLES, table, points)
    whole = table[table["n"].isna()]
    assert list(whole["sy"]) == list(EXAMPLES["y"]) and (whole["start"] == 0).all()
    assert list(table["group"]) == list(table["example_id"].map(EXAMPLES.set_index("example_id")["group"]))
    assert not table.duplicated(["example_id", "n", "sy", "start"]).any()


def test_training_shows_in_the_scores(suite, model):
    trained, untrained = (neural.score(EXAMPLES, m)["logp"].iloc[0] for m in (model, neural.load(suite, step=0)))
    assert trained > -3 > untrained


def test_order_and_batch_size_change_nothing(model):
    points = all_points(EXAMPLES)
    table = neural.score(EXAMPLES, model, points)
    keys = ["example_id", "n", "sy", "start"]
    for budget, order in ((1, 1), (100, -1), (100_000, 1)):
        other = neural.score(EXAMPLES[::order], model, points.sample(frac=1, random_state=budget), budget=budget)
        both = table.merge(other, on=keys, validate="one_to_one")
        assert len(both) == len(table)
        assert (abs(both["logp_x"] - both["logp_y"]) <= 1e-5 * both["tokens_x"]).all()


def test_a_partition_of_y_sums_to_the_whole(model):
    y = " à Orléans, déjà vu; le garçon"
    examples = pd.DataFrame({"example_id": ["e"], "x": ["Un café"], "y": [y]})
    ids = model.tokenizer("Un café" + y, return_offsets_mapping=True)
    cuts = [(a - 7, b - 7) for a, b in ids["offset_mapping"] if a >= 7]
    assert len(cuts) > 5 and cuts[0][0] == 0 and cuts[-1][1] == len(y)
    whole = neural.score(examples, model)["logp"][0]
    # Words, with what stands between them by difference: three points that share no token, and the rest.
    points = pd.DataFrame(
        [("e", 2, "à orléans", 1, 10), ("e", 2, "déjà vu", 12, 19), ("e", 2, "le garçon", 21, 30)],
        columns=["example_id", "n", "sy", "start", "end"],
    )
    table = neural.score(examples, model, points)
    between = sum(plain(model, "Un café", y, [c])[0] for c in (10, 19))
    assert table["logp"][1:].sum() + between == pytest.approx(whole, abs=1e-4)
    assert table["logp"][1:].sum() != pytest.approx(whole, abs=1e-2)


def test_a_token_that_straddles_the_edge_belongs_to_the_one_behind_it(model):
    """The tokenizer makes one token of " slee": its characters lie in x and in y."""
    [edge] = EXAMPLES[EXAMPLES["example_id"] == "edge"].itertuples()
    pieces = model.tokenizer.tokenize(edge.x + edge.y)
    assert "Ġslee" in pieces
    table = neural.score(EXAMPLES[EXAMPLES["example_id"] == "edge"], model)
    assert table["tokens"][0] == len(pieces) - pieces.index("Ġslee")


def test_a_straddling_token_inside_y_counts_for_both_neighbours(model):
    examples = pd.DataFrame({"example_id": ["e"], "x": ["The"], "y": [" dog_of the baker"]})
    pieces = model.tokenizer.tokenize("The dog's tree")
    examples["y"] = " dog's tree"
    table = neural.score(examples, model, all_points(examples, (1,)))
    assert table["logp"][1:].sum() == pytest.approx(table["logp"][0], abs=1e-4)
    assert list(table["tokens"]) == [len(pieces) - 1, pieces.index("Ġtree") - 1, 1]


def test_tokens_of_removed_words_are_left_out(model):
    y = " The dog of the baker's wife sleeps"
    examples = pd.DataFrame({"example_id": ["e"], "x": ["So:"], "y": [y]})
    points = pd.DataFrame(
        [("e", 3, "dog bakers sleeps", 5, 35), ("e", 2, "dog bakers", 5, 23), ("e", 2, "bakers wife", 16, 28)],
        columns=["example_id", "n", "sy", "start", "end"],
    )
    dog, bakers, wife, sleeps = range(5, 8), range(16, 23), range(24, 28), range(29, 35)
    wanted = [[*dog, *bakers, *sleeps], [*dog, *bakers], [*bakers, *wife]]
    for given in (points, points.drop(columns="end")):
        table = neural.score(examples, model, given)
        for row, characters in zip(table[1:].itertuples(), wanted, strict=True):
            logp, tokens = plain(model, "So:", y, characters)
            assert (row.tokens, row.logp) == (tokens, pytest.approx(logp, abs=1e-4))


def test_a_token_of_a_removed_and_a_kept_word_stays(suite, model):
    """A tokenizer whose tokens run across words."""
    tokenizer = byte_level(["the dog of the baker"] * 9 + ["dog of", "of the"] * 9, 300, across_words=True)
    across = neural.LanguageModel("m", None, model.network, tokenizer, CONTEXT, 0)
    y = " dog of the baker"
    assert tokenizer.tokenize("So" + y)[2:] == ["ĠdogĠ", "ofĠtheĠbak", "er"]
    examples = pd.DataFrame({"example_id": ["e"], "x": ["So"], "y": [y]})
    points = pd.DataFrame([("e", 2, "dog baker", 1), ("e", 1, "of", 5)], columns=["example_id", "n", "sy", "start"])
    table = neural.score(examples, across, points)
    expected = [plain(across, "So", y, wanted) for wanted in (range(1, 17), range(5, 7))]
    assert list(table["tokens"][1:]) == [tokens for _, tokens in expected]
    assert np.allclose(table["logp"][1:], [logp for logp, _ in expected], atol=1e-4)


def test_words_that_share_no_token_sum_to_the_whole_in_double_precision(model):
    y = " the dog of the baker sleeps under the old tree and the baker's wife sings"
    examples = pd.DataFrame({"example_id": ["e"], "x": ["So"], "y": [y]})
    points = pd.DataFrame(
        [("e", 1, w.text, w.start) for w in word_spans(y)], columns=["example_id", "n", "sy", "start"]
    )
    table = neural.score(examples, model, points)
    assert table["tokens"][1:].sum() == table["tokens"][0] > 15
    assert table["logp"][1:].sum() == pytest.approx(table["logp"][0], abs=1e-10)


def test_signs_between_the_words_of_a_point_belong_to_it(model):
    examples = pd.DataFrame({"example_id": ["e"], "x": ["So"], "y": [" 12/34=46"]})
    points = pd.DataFrame([("e", 2, "12 34", 1)], columns=["example_id", "n", "sy", "start"])
    assert neural.score(examples, model, points)["tokens"][1] == len(model.tokenizer.tokenize("12/34"))


def test_decomposed_letters_score_as_the_tokenizer_composes_them(model):
    rows = [("nfc", "Un", " café à Orléans"), ("nfd", "Un", " cafe\u0301 a\u0300 Orle\u0301ans")]
    examples = pd.DataFrame(rows, columns=["example_id", "x", "y"])
    table = neural.score(examples, model, all_points(examples, (1, 2)))
    nfc, nfd = (table[table["example_id"] == k].reset_index(drop=True) for k in ("nfc", "nfd"))
    assert len(nfc) == 6 and (nfc["tokens"] == nfd["tokens"]).all()
    assert np.allclose(nfc["logp"], nfd["logp"], atol=1e-5)


def test_prior_scores_y_after_the_end_of_text_alone(model):
    points = all_points(EXAMPLES, (1,))
    table = neural.score(EXAMPLES, model, points, prior=True)
    bare = EXAMPLES.assign(instruction="", x="")
    assert_plain(model, bare, table, points)


def test_options_share_their_prefix_and_equal_separate_texts(model):
    examples = EXAMPLES[:3].assign(
        options=[[" Paris.", " Tokyo.", " Paris", " Par"], [" Tokyo, not Paris."], None], gold=[0, 0, None]
    )
    table = neural.score(examples, model, all_points(examples, (1,)), options=True)
    alone = table[table["option"].notna()]
    assert list(alone["option"]) == [0, 1, 2, 3, 0] and list(alone["sy"]) == [
        *examples["options"][0],
        *examples["options"][1],
    ]
    assert alone["n"].isna().all() and (alone["start"] == 0).all()
    assert_plain(model, examples, table, all_points(examples))
    again = neural.score(examples, model, all_points(examples, (1,)), options=True, budget=1)
    assert np.allclose(table["logp"], again["logp"], atol=1e-5)


def test_choose_takes_the_most_probable_option(model):
    options = [[" Tokyo.", " Paris."], [" Tokyo.", " Paris."]]
    examples = EXAMPLES[:2].assign(options=options, gold=[1, 1])
    logp = neural.score(examples, model, options=True)
    answers = neural.choose(logp, examples)
    assert list(answers.columns) == ["task", "example_id", "model", "step", "output", "metric", "score"]
    assert list(answers["output"]) == [" Paris.", " Tokyo."]
    assert list(answers["score"]) == [1.0, 0.0]
    both = pd.concat([logp, logp.assign(step=0, logp=-logp["logp"])])
    assert list(neural.choose(both, examples)["score"]) == [1.0, 0.0, 0.0, 1.0]
    with pytest.raises(InputError, match="options=True"):
        neural.choose(neural.score(examples, model), examples)


@pytest.mark.parametrize(("options", "gold", "right"), [
    ([" Tokyo.", " Paris.", " Paris."], 2, 1), ([" Paris.", " Tokyo.", " Paris. "], 2, 1),
    ([" Paris.", " Tokyo.", " paris."], 2, 0), ([" Paris.", " Tokyo.", " Paris."], 1, 0),
])  # fmt: skip
def test_an_option_of_the_gold_ones_text_is_right(model, options, gold, right):
    examples = EXAMPLES[:1].assign(options=[options], gold=gold)
    logp = neural.score(examples, model, options=True)
    answers = neural.choose(logp, examples)
    assert answers["output"][0].strip() == "Paris." and list(answers["score"]) == [right]
    steps = pd.concat([logp.assign(step=pd.array([s] * len(logp), "Int64")) for s in (None, 1)])
    assert list(neural.choose(steps, examples)["score"]) == [right, right]


def test_a_text_longer_than_the_context_is_null_and_said_and_the_others_complete(model, capsys):
    long = EXAMPLES[:2].assign(example_id=["too long", "fits"], y=[" Paris" * 70, " Paris" * 3])
    long["x"] = ["The", "The"]
    examples = pd.concat([EXAMPLES, long], ignore_index=True).assign(options=[[" Paris", " Tokyo"]] * 12, gold=0)
    points = all_points(examples, (1,))
    table = neural.score(examples, model, points, options=True)
    lost = table["example_id"] == "too long"
    assert table.attrs["failed"] == ["too long"]
    assert table["logp"].isna().equals(lost) and lost.sum() == 4
    lines = capsys.readouterr().err.strip().split("\n")
    assert len([line for line in lines if "too long" in line and "context of 64" in line]) == 1
    answers = neural.choose(table, examples).set_index("example_id")
    assert answers["score"].isna().sum() == 1 and pd.isna(answers["output"]["too long"])
    answers = neural.generate(examples.assign(x=["Paris" * 99] + ["The dog"] * 11), model, 3)
    assert answers.attrs["failed"] == ["plain"] and list(answers["output"].isna()) == [True] + [False] * 11


def test_the_last_token_needs_no_room(model):
    """The network reads all tokens but the last: as many as the context, and no more."""
    tokens = model.tokenizer("The" + " the" * 70)["input_ids"]
    assert len(tokens) == 71
    ys = [" the" * CONTEXT, " the" * (CONTEXT + 1)]
    table = neural.score(pd.DataFrame({"example_id": ["a", "b"], "x": "The", "y": ys}), model)
    assert list(table["logp"].isna()) == [False, True]
    assert table["logp"][0] == pytest.approx(plain(model, "The", ys[0], range(len(ys[0])))[0], abs=1e-3)


@torch.no_grad()
def greedy(model, prompt, limit, stop, bound=False):
    """The answer without batch, padding or cache; ``bound``: whether neither a stop nor the end of text ended it."""
    ids = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    lead = model.tokenizer.bos_token_id
    ids = [lead, *ids] if lead is not None else ids or [0]
    first, text = len(ids), ""
    while len(ids) - first < limit and len(ids) <= (model.context or 10**9) and not any(s in text for s in stop):
        token = model.network(torch.tensor([ids])).logits[0, -1].argmax().item()
        if token == 0:
            limit = 0
            break
        ids.append(token)
        text = model.tokenizer.decode(ids[first:])
    if bound:
        return limit > 0 and not any(s in text for s in stop)
    for s in stop:
        text = text.split(s)[0]
    return text


@pytest.mark.parametrize("stop", [("\n",), (" vu", "."), ("राज",), ()])
def test_greedy_answers_equal_unbatched_ones(model, stop):
    prompts = ["The capital of France is", "The", "Un", "भारत", "Question: What is 12 +", "", "The dog of the baker sl"]
    prompts += ["The dog of the baker sleeps under the old tree, and the baker's wife sings. The capital of France is"]
    examples = pd.DataFrame({"example_id": range(len(prompts)), "x": prompts, "y": "?"})
    expected = [greedy(model, p, 40, stop) for p in prompts]
    assert len(set(map(len, expected))) > 3
    for budget in (1, 150, 10_000):
        answers = neural.generate(examples, model, 40, stop=stop, budget=budget)
        assert list(answers["output"]) == expected
    assert list(answers.columns) == ["example_id", "output", "at_bound", "model", "step"]
    assert list(answers["at_bound"]) == [greedy(model, p, 40, stop, bound=True) for p in prompts]


def test_each_example_has_its_own_stops():
    """Of a shipped model: each text as far as its own stop, which it may begin with."""
    shipped = neural.load(PACKAGE / "miniature" / "weights" / "main" / "25k")
    some = math_reasoning.miniature(World(2_000)).head(6)
    whole = neural.generate(some, shipped, 60, stop=())["output"]
    first, full = whole[0][:2], whole[4]
    assert all("." in text and "\n" not in text for text in whole) and len(whole[5].split()) > 10
    stops = [[first, "."], ["."], None, np.array([" =", "."]), [], ["zebra", "."]]
    for budget in (1, 10_000):
        answers = neural.generate(some.assign(stop=stops), shipped, 60, budget=budget)
        expected = ["", whole[1].split(".")[0], whole[2], whole[3].split(" =")[0], full, whole[5].split(".")[0]]
        assert list(answers["output"]) == expected and not answers["at_bound"].any()
        few = neural.generate(some.assign(stop=stops), shipped, 5, budget=budget)
        assert list(few["at_bound"]) == [False, *(len(text) > len(cut) for text, cut in
                                                  zip(expected[1:], few["output"][1:], strict=True))]  # fmt: skip
    assert few["at_bound"].any() and few["output"][0] == ""
    pd.testing.assert_frame_equal(neural.generate(some.drop(columns="stop"), shipped, 60),
                                  neural.generate(some, shipped, 60, stop=["\n"]))  # fmt: skip
    for wrong in (["x", ""], "x", [5], {"x": 1}):
        given = some.assign(stop=[wrong, *stops[1:]])
        said = error_of(lambda given=given: neural.generate(given, shipped, 5))
        assert "must be a list of texts" in said and f"that of example {some['example_id'][0]} is {wrong!r}" in said


def test_answers_end_where_the_context_does(suite):
    untrained = neural.load(suite, step=0)
    prompts = ["The", "The capital of France", " Paris" * (CONTEXT - 1), " Paris" * CONTEXT]
    examples = pd.DataFrame({"example_id": range(4), "x": prompts, "y": "?"})
    answers = neural.generate(examples, untrained, 100, stop=())
    outputs = list(answers["output"])
    assert list(answers["at_bound"]) == [greedy(untrained, p, 100, (), bound=True) for p in prompts]
    assert answers["at_bound"].any() and outputs == [greedy(untrained, p, 100, ()) for p in prompts]
    assert len(outputs[0]) > len(outputs[1]) > len(outputs[2]) > 0


def test_no_token_is_made_after_a_stop_string(model):
    passes = []
    hook = model.network.register_forward_hook(lambda *_: passes.append(1))
    examples = pd.DataFrame({"example_id": ["a"], "x": ["Un"], "y": ["?"]})
    output = neural.generate(examples, model, 40, stop=("Orléans, déj",))["output"][0]
    hook.remove()
    assert output == " café à "
    assert len(passes) == len(model.tokenizer.tokenize(" café à Orléans, déjà")) > 5


def test_answers_stop_at_max_tokens_and_at_the_end_of_text(model):
    examples = pd.DataFrame({"example_id": ["a"], "x": ["The capital of France is"], "y": [" Paris."]})
    assert neural.generate(examples, model, 30)["output"][0] == " Paris."
    [short], [bound] = neural.generate(examples, model, 1)[["output", "at_bound"]].to_numpy().T
    assert bound and not neural.generate(examples, model, 30)["at_bound"][0]
    assert len(model.tokenizer.tokenize(short)) == 1
    with pytest.raises(InputError, match="max_tokens"):
        neural.generate(examples, model, 0)


def test_parameters_leave_out_embedding_and_head():
    """The sizes of the published recipe of the miniature suite, which counts in the same way."""
    for hidden, layers, expected in ((32, 2, 25_472), (64, 2, 100_096), (128, 3, 595_072)):
        network = GPTNeoXForCausalLM(config(2048, hidden, layers))
        assert neural.parameters(neural.LanguageModel("m", None, network, None, None, 0)) == expected
    tied = GPTNeoXForCausalLM(config(2048, tie_word_embeddings=True))
    assert neural.parameters(neural.LanguageModel("m", None, tied, None, None, 0)) == 25_472


SMALL = dict(vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
OTHERS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2, n_positions=CONTEXT)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, intermediate_size=64, max_position_embeddings=CONTEXT)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, intermediate_size=64, sliding_window=4)),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SMALL, intermediate_size=64, head_dim=16, sliding_window=4, final_logit_softcapping=0.05)
    ),
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=2)),
    "mamba": lambda: MambaForCausalLM(MambaConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2, state_size=4)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_architectures_score_and_answer_alike(kind, tmp_path):
    torch.manual_seed(1)
    network = OTHERS[kind]()
    for p in network.parameters():
        p.data.mul_(1 if kind == "mamba" else 4)  # untrained, yet with preferences
    network.generation_config.eos_token_id = 0
    network.save_pretrained(tmp_path)
    byte_level(TEXT.split("\n"), 400, bos=kind in ("llama", "gemma2")).save_pretrained(tmp_path)
    model = neural.load(tmp_path)
    assert model.shares_prefix == (kind in ("gpt2", "llama"))
    examples = EXAMPLES.assign(options=[[y, y + " the tree", " of the dog"] for y in EXAMPLES["y"]], gold=0)
    points = all_points(examples, (2,))
    table = neural.score(examples, model, points, options=True)
    assert_plain(model, examples, table, points)
    if kind == "mamba":
        with pytest.raises(InputError, match="recurrent"):
            neural.generate(examples, model, 3)
    else:
        expected = [neural.generate(examples[i : i + 1], model, 12)["output"].iloc[0] for i in range(len(examples))]
        assert list(neural.generate(examples, model, 12)["output"]) == expected
        before = [text_before(e) for e in examples[:3].itertuples()]
        assert expected[:3] == [greedy(model, b, 12, ["\n"]) for b in before]


@pytest.mark.skipif(not PYTHIA.exists(), reason=f"no {PYTHIA}")
@pytest.mark.parametrize("trimmed", [True, False])
def test_pythias_own_tokenizer(tmp_path, trimmed):
    """Its tokens trim white space off their offsets; runs of spaces are tokens of their own."""
    torch.manual_seed(2)
    shutil.copyfile(PYTHIA, tmp_path / "tokenizer.json")
    kind = "PreTrainedTokenizerFast" if trimmed else "GPTNeoXTokenizer"
    settings = {"tokenizer_class": kind, "eos_token": "<|endoftext|>", "bos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    GPTNeoXForCausalLM(config(50_304, hidden=16, layers=1)).save_pretrained(tmp_path)
    model = neural.load(tmp_path)
    more = pd.DataFrame(
        [
            ("spaces", "", "def f():", "\n        return  x   + 1,000  \n"),
            ("hindi2", "", "", "हिन्दी  में"),
            ("end", "", "The café  ", " naïve co-op"),
        ],
        columns=["example_id", "instruction", "x", "y"],
    )
    examples = pd.concat([EXAMPLES, more], ignore_index=True).fillna({"task": "toy", "group": "g"})
    points = all_points(examples)
    table = neural.score(examples, model, points)
    assert_plain(model, examples, table, points)


def test_steps_and_names(suite, model, tmp_path):
    assert (model.name, model.step, model.context) == ("tiny", 60, CONTEXT)
    assert (neural.load(suite).step, neural.load(suite / "step0").step) == (60, 0)
    assert neural.load(suite / "step0").name == "tiny"
    shutil.copytree(suite / "step60", tmp_path / "one")
    single = neural.load(tmp_path / "one")
    assert (single.name, single.step) == ("one", None)
    assert neural.score(EXAMPLES, single)["step"].isna().all()
    assert next(model.network.parameters()).dtype == torch.float32
    assert next(neural.load(suite, dtype="bfloat16").network.parameters()).dtype == torch.bfloat16


def error_of(call, *arguments, **named):
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(suite, tmp_path, change):
    """A copy of the last step with its tensors changed."""
    shutil.copytree(suite / "step60", tmp_path / "broken")
    tensors = load_file(tmp_path / "broken/model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "broken/model.safetensors", metadata={"format": "pt"})
    return tmp_path / "broken"


def test_unknown_step_and_folder(suite, monkeypatch):
    assert "no step 7 (steps there: 0, 60)" in error_of(neural.load, suite, step=7)
    assert "no such folder" in error_of(neural.load, suite / "missing")
    assert "dtype float7" in error_of(neural.load, suite, dtype="float7")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "nobody/nothing, step 3: no such folder; cannot be" in error_of(neural.load, "nobody/nothing", step=3)
    assert "no model of this name (owner/name) on the hub" in error_of(neural.load, "no/hub/name")


def test_a_folder_without_weights(suite, tmp_path):
    shutil.copytree(suite / "step60", tmp_path / "m")
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/pytorch_model.bin")
    wanted = "no weights in it (only *.safetensors are read; --pickled allows a pytorch_model.bin)"
    assert wanted in error_of(neural.load, tmp_path / "m")
    torch.save(load_file(suite / "step60/model.safetensors"), tmp_path / "m/pytorch_model.bin")
    read = neural.score(EXAMPLES, neural.load(tmp_path / "m", pickled=True))["logp"]
    assert np.allclose(read, neural.score(EXAMPLES, neural.load(suite, 60))["logp"], atol=1e-5)
    (tmp_path / "m/pytorch_model.bin").write_bytes(pickle.dumps(pathlib.PurePosixPath("x")))
    assert "cannot be loaded" in error_of(neural.load, tmp_path / "m", pickled=True)
    shutil.copyfile(suite / "step60/model.safetensors", tmp_path / "m/pytorch_model.bin")
    (tmp_path / "m/model.safetensors").write_bytes((tmp_path / "m/pytorch_model.bin").read_bytes()[:5000])
    assert "cannot be loaded" in error_of(neural.load, tmp_path / "m")
    (tmp_path / "m/config.json").unlink()
    assert "no config.json" in error_of(neural.load, tmp_path / "m")


def test_a_tokenizer_without_offsets(suite, tmp_path):
    shutil.copytree(suite / "step60", tmp_path / "m", ignore=shutil.ignore_patterns("tokenizer*"))
    ByT5Tokenizer().save_pretrained(tmp_path / "m")
    assert "ByT5Tokenizer gives no character offsets" in error_of(neural.load, tmp_path / "m")


def test_a_tokenizer_of_another_model(suite, tmp_path):
    shutil.copytree(suite / "step60", tmp_path / "m")
    shutil.copytree(suite / "step60", tmp_path / "n", ignore=shutil.ignore_patterns("model.safetensors"))
    GPTNeoXForCausalLM(config(100)).save_pretrained(tmp_path / "n")
    assert "that the model lacks" in error_of(neural.score, EXAMPLES, neural.load(tmp_path / "n"))


def test_weights_that_are_no_numbers(suite, tmp_path):
    def change(tensors):
        tensors["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"][3, 4] = float("nan")

    assert "not finite in gpt_neox.layers.1.mlp" in error_of(neural.load, changed(suite, tmp_path, change))


def test_missing_and_surplus_tensors(suite, tmp_path):
    folder = changed(suite, tmp_path, lambda tensors: tensors.pop("gpt_neox.layers.1.attention.dense.weight"))
    assert "it lacks 1 tensors (gpt_neox.layers.1" in error_of(neural.load, folder)
    shutil.copyfile(suite / "step60/model.safetensors", folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 1}))
    assert "no place for" in error_of(neural.load, folder)


def test_scores_that_are_no_numbers(suite, tmp_path):
    def change(tensors):
        tensors["embed_out.weight" if "embed_out.weight" in tensors else "lm_head.weight"].fill_(3e38)

    overflowing = neural.load(changed(suite, tmp_path, change))
    assert "log P not finite, first in example plain" in error_of(neural.score, EXAMPLES, overflowing)


def test_tables_that_do_not_fit(model):
    points = all_points(EXAMPLES, (1,))
    for wrong, message in (
        (points.assign(example_id="other"), "other is not among the examples"),
        (points.drop(columns="start"), "missing column start"),
        (points.assign(start=None), "start of example plain is no whole number: None"),
    ):
        assert message in error_of(neural.score, EXAMPLES, model, wrong)
    for wrong, message in (
        (EXAMPLES.drop(columns="y"), "missing column y"),
        (pd.concat([EXAMPLES, EXAMPLES[3:4]]), "accents occurs twice"),
    ):
        assert message in error_of(neural.score, wrong, model)
    assert "missing column options" in error_of(neural.score, EXAMPLES, model, options=True)
    assert "lists" in error_of(neural.score, EXAMPLES.assign(options="Paris"), model, options=True)
    assert "long: cut" in error_of(neural.score, EXAMPLES, model, long="cut")
    assert "budget" in error_of(neural.score, EXAMPLES, model, budget=0)


@pytest.mark.parametrize(("change", "message"), [
    ({"y": ""}, "y is empty"), ({"y": None}, "y is no text"), ({"x": None}, "what stands before y is no text"),
    ({"options": [" Paris", ""]}, "option 1 is empty"), ({"options": [" Paris", 7]}, "option 1 is no text"),
])  # fmt: skip
def test_an_example_that_is_none_is_null_and_said_and_the_others_complete(model, capsys, change, message):
    examples = EXAMPLES.assign(options=[[" Paris", " Tokyo"]] * 10, gold=0)
    whole = neural.score(examples, model, all_points(examples, (1,)), options=True)
    for column, value in change.items():
        examples.at[4, column] = value
    table = neural.score(examples, model, all_points(EXAMPLES, (1,)), options=True)
    lost = table["example_id"] == "hindi"
    assert table["logp"].isna().equals(lost) and len(table) == len(whole) and table.attrs["failed"] == ["hindi"]
    assert np.allclose(table["logp"][~lost], whole["logp"][~lost], atol=1e-5)
    assert capsys.readouterr().err.splitlines() == [f"tiny step 60: example hindi: {message}; no score"]


def test_an_ngram_that_is_not_in_y_is_null_and_said(model, capsys):
    points = all_points(EXAMPLES, (1,))
    whole = neural.score(EXAMPLES, model, points)
    for change in ({"start": 7}, {"sy": "nowhere"}, {"sy": ""}, {"end": 0}):
        wrong = points.copy()
        for column, value in change.items():
            wrong.loc[5, column] = value
        table = neural.score(EXAMPLES, model, wrong)
        assert list(np.flatnonzero(table["logp"].isna())) == [np.flatnonzero(table["n"].notna())[5]]
        known = table["logp"].notna()
        assert table["logp"][known].sum() == pytest.approx(whole["logp"][known].sum())
        [line] = capsys.readouterr().err.splitlines()
        assert "does not stand at character" in line and points["example_id"][5] in line
        assert table.attrs["failed"] == [points["example_id"][5]]


@pytest.mark.parametrize("length", [20, 50, 90, 200])
def test_windows_give_each_token_as_much_before_it_as_the_context_holds(model, length):
    text = " the dog of the baker sleeps" * 40
    ids = [0, *model.tokenizer(text)["input_ids"]][: length + CONTEXT]
    trees = packing.windows(ids, length, CONTEXT)
    targets = [(len(t.ids), place, token) for t in trees for place, token in t.asked]
    assert [token for *_, token in targets] == ids[length:]
    for tree in trees:
        assert len(tree.ids) <= CONTEXT
        assert all(place + 1 >= min(CONTEXT // 2, length) for place, _ in tree.asked)
    found = forward.log_probabilities(model, trees, 1000, lambda _: None)
    with torch.no_grad():
        expected = [
            model.network(torch.tensor([tree.ids])).logits[0, place].log_softmax(-1)[token].item()
            for tree in trees for place, token in tree.asked
        ]  # fmt: skip
    assert np.allclose(found, expected, atol=1e-5)


def test_a_long_text_is_windowed_on_request(model):
    long = EXAMPLES[:3].assign(y=[" the dog" * 70, " Paris", " the" * 70], options=[[" Paris", " the dog" * 70]] * 3)
    table = neural.score(long, model, all_points(long, (1, 2)), options=True, long="window")
    assert table["logp"].notna().all() and (table["logp"] <= 0).all() and table.attrs["failed"] == []
    short = neural.score(long, model, options=True)
    assert short["logp"].isna().sum() == 9 and short.attrs["failed"] == ["plain", "before", "around"]
    few = table[(table["example_id"] == "before") & (table["option"] == 0)]["logp"].iloc[0]
    assert few == pytest.approx(neural.score(long[1:2], model)["logp"][0], abs=1e-4)


def test_a_model_spread_over_what_memory_there_is_scores_the_same(suite, model):
    pytest.importorskip("accelerate")
    spread = neural.load(suite, 60, dtype="float32", device="auto")
    table, other = (neural.score(EXAMPLES, m, all_points(EXAMPLES, (1,))) for m in (model, spread))
    assert np.allclose(table["logp"], other["logp"], atol=1e-5)


def test_weights_in_several_files(suite, model, tmp_path):
    shutil.copytree(suite / "step60", tmp_path / "m", ignore=shutil.ignore_patterns("model.safetensors"))
    model.network.save_pretrained(tmp_path / "m", max_shard_size="50KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    assert neural.score(EXAMPLES, neural.load(tmp_path / "m"))["logp"].equals(neural.score(EXAMPLES, model)["logp"])
    next((tmp_path / "m").glob("model-00002*")).unlink()
    assert "cannot be loaded" in error_of(neural.load, tmp_path / "m")


def test_what_many_texts_begin_with_is_read_once(model, monkeypatch):
    shots = "The capital of France is Paris.\nThe capital of Japan is Tokyo.\n"
    examples = EXAMPLES[:6].assign(instruction=shots, options=[[y, " Paris", " Tokyo."] for y in EXAMPLES["y"][:6]])
    points = all_points(examples, (1, 2))
    table = neural.score(examples, model, points, options=True)
    monkeypatch.setattr(forward, "_SHARED", 8)
    read = []
    count = lambda _, __, named: read.append(named["input_ids"].numel())  # noqa: E731
    hook = model.network.register_forward_pre_hook(count, with_kwargs=True)
    shared = neural.score(examples, model, points, options=True)
    once = sum(read)
    monkeypatch.setattr(forward, "_SHARED", 10_000)
    read.clear()
    apart = neural.score(examples, model, points, options=True)
    hook.remove()
    assert once < 0.75 * sum(read)
    monkeypatch.undo()
    monkeypatch.setattr(forward, "_prefix", lambda *_: None)
    for other in (shared, apart, neural.score(examples, model, points, options=True)):
        assert np.allclose(table["logp"], other["logp"], atol=1e-5)
    assert_plain(model, examples, shared, points)


def test_no_memory_halves_a_batch_and_then_names_the_example(model, monkeypatch, capsys):
    whole, real, sizes = neural.score(EXAMPLES, model), forward._forward, []

    def scarce(model, trees, shared, cache, batch):
        sizes.append(len(batch))
        if len(batch) > 2 or any(len(trees[k].ids) > 25 for k in batch):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, trees, shared, cache, batch)

    monkeypatch.setattr(forward, "_forward", scarce)
    table = neural.score(EXAMPLES, model)
    lost = table["logp"].isna()
    assert 0 < lost.sum() < 10 and max(sizes) > 2
    assert np.allclose(table["logp"][~lost], whole["logp"][~lost], atol=1e-5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == lost.sum() and all("no memory for it alone" in line for line in lines)
    assert set(table.attrs["failed"]) == set(table["example_id"][lost])


def test_few_logits_at_a_time_give_the_same(model, monkeypatch):
    whole = neural.score(EXAMPLES, model, all_points(EXAMPLES))
    monkeypatch.setattr(forward, "_LOGITS", {"cpu": 1})
    assert np.allclose(whole["logp"], neural.score(EXAMPLES, model, all_points(EXAMPLES))["logp"], atol=1e-5)


def test_the_budget_is_what_memory_holds(model, monkeypatch):
    memory = type("Memory", (), {"available": 0})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert forward.token_budget(model) == 256
    memory.available = 4 * 600 * forward.token_bytes(model)
    assert forward.token_budget(model) == 600
    memory.available = 1 << 50
    assert forward.token_budget(model) == 1024
    assert forward.cache_budget(model) == 1 << 16
    memory.available = 4 * 6000 * forward.cache_bytes(model)
    assert forward.cache_budget(model) == 6000


def test_long_answers_are_written_many_at_a_time(model, monkeypatch):
    examples = pd.DataFrame({"example_id": range(300), "x": [f"Question {i}:" for i in range(300)]})
    plain, sizes = generation._continue, []
    monkeypatch.setattr(generation, "_continue", lambda m, asked: sizes.append(len(asked)) or plain(m, asked))
    assert len(neural.generate(examples, model, 1000, stop=["e"])) == 300
    assert sizes == [1, 1, 2, 300]  # a trial of padding before


def test_an_empty_table_gives_an_empty_table(model):
    assert list(neural.score(EXAMPLES[:0], model).columns) == COLUMNS
    assert neural.generate(EXAMPLES[:0], model, 3).empty


@pytest.mark.parametrize(("column", "value", "message"), [
    ("start", 2.5, "start of example e0 is no whole number: 2.5"), ("start", -1, "start of example e0 is no whole"),
    ("n", "x", "n of example e0 is no whole number: 'x'"), ("end", "x", "end of example e0 is no whole number: 'x'"),
    ("sy", 5, "sy of example e0 is no text: 5"), ("sy", ["lamp"], r"sy of example e0 is no text: \['lamp'\]"),
])  # fmt: skip
def test_points_that_are_none(column, value, message):
    row = {"example_id": "e0", "n": 1, "sy": "lamp", "start": 1, "end": 5, column: value}
    with pytest.raises(InputError, match=message):
        neural.points_of(pd.DataFrame([row]), {"e0"})


def test_a_point_with_two_ends():
    columns = ["example_id", "n", "sy", "start", "end"]
    rows = pd.DataFrame([("e0", 1, "lamp", 1, end) for end in (5, 5, 9)], columns=columns)
    with pytest.raises(InputError, match="s^y 'lamp' at character 1 of example e0 has two ends".replace("^", r"\^")):
        neural.points_of(rows, {"e0"})
    assert len(neural.points_of(rows[:2], {"e0"})["e0"]) == 1


def test_a_point_stands_where_the_table_says_or_nowhere(model, capsys):
    one = pd.DataFrame({"example_id": ["a"], "x": ["The"], "y": [" dog dog of Paris"]})
    places = pd.DataFrame([("a", 1, "dog", start, None) for start in (0, 1, 2, 4, 5, 6, 30)],
                          columns=["example_id", "n", "sy", "start", "end"])  # fmt: skip
    places = pd.concat([places, places[1:2].assign(start=9, end=2, sy="of")])
    table = neural.score(one, model, places).dropna(subset="n")
    assert table.loc[table["logp"].notna(), "start"].tolist() == [1, 5]
    lines = capsys.readouterr().err
    assert "'dog' does not stand at character 2 of y" in lines and "'of' does not stand at character 9 to 2" in lines


def test_what_is_no_text_is_null_and_named(model, capsys):
    odd = pd.DataFrame({
        "example_id": list("abcd"), "x": ["The"] * 4, "y": [" dog", [" dog"], " dog", " dog"],
        "instruction": [5, "", "", ""], "options": [[" a"], [" a"], [1, 2], [[" a"]]],
    })  # fmt: skip
    table = neural.score(odd, model, options=True)
    assert table["logp"].isna().all() and table.attrs["failed"] == list("abcd")
    said = capsys.readouterr().err
    for line in ("a: what stands before y is no text", "b: y is no text", "d: option 0 is no text"):
        assert line in said


@pytest.mark.parametrize("gold", [7, -1, 1.5, "A"])
def test_a_gold_that_is_no_option(model, gold):
    one = pd.DataFrame({"example_id": ["a"], "x": ["The"], "y": [" dog"], "options": [[" dog", " tree"]]})
    one["gold"] = [gold]
    logp = neural.score(one, model, options=True)
    with pytest.raises(InputError, match="gold of example a is the number of none of its options"):
        neural.choose(logp, one)
    with pytest.raises(InputError, match="an option has two values under one model"):
        neural.choose(pd.concat([logp, logp]), one.assign(gold=0))


def test_arguments_that_cannot_be(model, suite):
    for call, message in (
        (lambda: neural.score(EXAMPLES, model, budget="a"), "budget: a tokens"),
        (lambda: neural.generate(EXAMPLES, model, None), "max_tokens must be 1 or more, got None"),
        (lambda: neural.generate(EXAMPLES, model, 3, stop=("",)), "none of them empty"),
        (lambda: neural.generate(EXAMPLES, model, 3, stop="x"), "stop must be a list of texts"),
        (lambda: neural.load(suite, "abc"), "step abc is no number"),
        (lambda: neural.load(suite, device="meta"), "device meta is none of cpu, cuda"),
        (lambda: neural.load(" "), "no folder and no name given"),
    ):
        assert message in error_of(call)


def test_a_special_token_in_a_text_is_said_once(model, capsys):
    examples = EXAMPLES[:3].assign(x=["The", "The <|endoftext|> dog", "The"], y=[" dog", " dog", " <|endoftext|>"])
    table = neural.score(examples, model)
    said = "tiny step 60: example before: <|endoftext|> in it is read as a special token (and 1 more examples)\n"
    assert capsys.readouterr().err == said and table["logp"].notna().all() and table["tokens"][2] == 2
    neural.score(EXAMPLES, model)
    neural.generate(EXAMPLES, model, 1)
    assert capsys.readouterr().err == ""
    neural.generate(examples, model, 1)
    assert capsys.readouterr().err == said.split(" (")[0] + "\n"


def test_returns_and_nulls_are_characters_as_others(model):
    examples = pd.DataFrame({"example_id": ["c"], "x": ["The\x00"], "y": ["\r\n dog\x00"]})
    table = neural.score(examples, model)
    assert table["logp"][0] == pytest.approx(plain(model, "The\x00", "\r\n dog\x00", range(7))[0], abs=1e-4)
