"""Models and data sets of a hub, by the hub's own clients, from a server on loopback with its faults."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from tests.hub import serve

ROOT = Path(__file__).resolve().parents[2]
PYTHIA = ROOT / "../shared/data/tokenizers/20B_tokenizer.json"
STEPS = (0, 512, 1000, 143000)
pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(not PYTHIA.exists(), reason=f"no {PYTHIA}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny GPT-NeoX with Pythia's tokenizer at some steps, one of them pickled, and a data set of two questions."""
    folder = tmp_path_factory.mktemp("hub")
    settings = {"tokenizer_class": "GPTNeoXTokenizer", "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}
    shape = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    for step in STEPS:
        torch.manual_seed(step)
        network = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=50_304, max_position_embeddings=64, **shape))
        network.save_pretrained(folder / f"step{step}", max_shard_size="2MB" if step == 512 else "1GB")
        shutil.copyfile(PYTHIA, folder / f"step{step}/tokenizer.json")
        (folder / f"step{step}/tokenizer_config.json").write_text(json.dumps(settings))
    torch.save(network.state_dict(), folder / "step1000/pytorch_model.bin")
    (folder / "step1000/model.safetensors").unlink()
    (folder / "qa/data").mkdir(parents=True)
    table = pd.DataFrame({"question": ["Who is it?", "What is it?"], "answer": [" He.", " That."]})
    table.to_parquet(folder / "qa/data/test-00000-of-00001.parquet")
    about = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: data/test-*\n---\n"
    (folder / "qa/README.md").write_text(about)
    return folder


@pytest.fixture
def hub(folder):
    steps = {f"step{step}": folder / f"step{step}" for step in STEPS}
    with serve({("models", "owner/tiny"): {"main": folder / "step143000", **steps},
                ("datasets", "owner/qa"): {"main": folder / "qa"}}) as served:  # fmt: skip
        yield served


def call(hub, home, *arguments, limit=None):
    """The real command, its hub on loopback; its files may be ``limit`` bytes long."""
    command = [sys.executable, "-m", "taskgram_utils.cli", *map(str, arguments)]
    if limit:
        command = ["bash", "-c", f'trap "" XFSZ; ulimit -f {limit // 1024}; exec "$@"', "-", *command]
    env = {**os.environ, "HF_ENDPOINT": hub[1], "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)


def one_line(result):
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text('{"example_id": "a", "x": "Who is it?", "y": " He."}\n')
    return path


def test_steps_of_a_hub_model_and_a_data_set(hub, folder, tmp_path):
    """A data set in hub layout to examples, scored under every step there is in safetensors; then again, unreached."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom datasets import load_dataset\n"
        "rows = load_dataset('owner/qa', split='test').to_pandas()\n"
        "rows = rows.rename(columns={'question': 'x', 'answer': 'y'}).assign(example_id=['a', 'b'])\n"
        "rows.to_json(sys.argv[1], orient='records', lines=True)\n"
    )
    env = {**os.environ, "HF_ENDPOINT": hub[1], "HF_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, script, tmp_path / "qa.jsonl"], env=env, check=True, timeout=900)
    hub[0].faults = {"model-00001": ["cut"], "revision/step512": [429], "step143000": []}
    asked = ("score", tmp_path / "qa.jsonl", "--model", "owner/tiny", "--step", "0,512,143000", "--out")
    result = call(hub, tmp_path / "home", *asked, tmp_path / "a.csv")
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table["step"].unique()) == [0, 512, 143000] and set(table["model"]) == {"owner/tiny"}
    assert table["logp"].nunique() == 6 and (table["logp"] < 0).all()
    local = [arg for step in (0, 512, 143000) for arg in ("--model", folder / f"step{step}")]
    assert call(hub, tmp_path, "score", tmp_path / "qa.jsonl", *local, "--out", tmp_path / "b.csv").returncode == 0
    assert list(pd.read_csv(tmp_path / "b.csv")["logp"]) == pytest.approx(list(table["logp"]), abs=1e-5)
    gone = (None, "http://127.0.0.1:9")
    assert call(gone, tmp_path / "home", *asked, tmp_path / "c.csv").returncode == 0
    assert (tmp_path / "c.csv").read_text() == (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    (("--model", "owner/tiny", "--step", "600"), "no such step on the hub (steps there: 0, 512, 1000, 143000)"),
    (("--model", "owner/none"), "model owner/none: no such folder, and no model of this name (owner/name) on the hub"),
    (("--model", "owner/tiny", "--step", "1000"), "no weights in it (only *.safetensors are read; --pickled allows"),
])  # fmt: skip
def test_what_the_hub_has_not_is_one_line(hub, examples, tmp_path, arguments, message):
    result = call(hub, tmp_path / "home", "score", examples, *arguments, "--out", tmp_path / "a.csv")
    assert message in one_line(result) and not (tmp_path / "a.csv").exists()


def test_pickled_weights_on_request(hub, examples, tmp_path):
    asked = ("score", examples, "--model", "owner/tiny", "--step", "1000", "--pickled", "--out", tmp_path / "a.csv")
    assert call(hub, tmp_path / "home", *asked).returncode == 0
    assert pd.read_csv(tmp_path / "a.csv")["logp"].notna().all()


def test_a_hub_that_fails_is_one_line_and_what_was_fetched_is_kept(hub, examples, tmp_path):
    asked = ("score", examples, "--model", "owner/tiny", "--step", "0", "--out", tmp_path / "a.csv")
    hub[0].faults = {"resolve": [500] * 200}
    assert "cannot be had from the hub or its cache (" in one_line(call(hub, tmp_path / "home", *asked))
    hub[0].faults = {}
    assert call(hub, tmp_path / "home", *asked).returncode == 0


def test_a_full_disk_is_one_line(hub, examples, tmp_path):
    asked = ("score", examples, "--model", "owner/tiny", "--step", "0", "--out", tmp_path / "a.csv")
    result = call(hub, tmp_path / "home", *asked, limit=1 << 20)
    assert "cannot be had from the hub or its cache (" in one_line(result) and not (tmp_path / "a.csv").exists()
    assert call(hub, tmp_path / "home", *asked).returncode == 0


def test_a_hub_that_is_not_there_is_said_at_once(examples, tmp_path):
    asked = ("score", examples, "--model", "owner/tiny", "--out", tmp_path / "a.csv")
    said = one_line(call((None, "http://127.0.0.1:9"), tmp_path / "home", *asked))
    assert "cannot be had from the hub or its cache (" in said
