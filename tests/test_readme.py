"""The README: its commands work as they stand there, on a stranger's files, and what it names is there."""

import json
import lzma
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from taskgram_utils.corpus import Corpus
from taskgram_utils.miniature.world import World
from taskgram_utils.ngrams import normalize
from taskgram_utils.tables import read_table
from taskgram_utils.training import SIZES

ROOT = Path(__file__).resolve().parents[1]
FACTBOOK = ROOT / "../shared/data/corpus/factbook/factbook_json.tar.xz"
BOOK = ROOT / "../shared/data/corpus/openstax/astronomy.txt.xz"
README, PAGE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "book/your_model.md"))
CHAIN = ("files", "vectors", "pairs", "counts", "scores", "mem", "controls", "accuracy", "read")


def block(name: str) -> str:
    """The commands under a mark of the README, or of the page to which it sends for one's own model."""
    return re.search(rf"<!-- {name} -->\n```bash\n(.*?)```", README + PAGE, re.S)[1]


def run(script: str, at: Path) -> subprocess.CompletedProcess:
    found = subprocess.run(
        ["bash", "-eu", "-c", script], cwd=at, capture_output=True, text=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found


@pytest.fixture(scope="module")
def strangers_files(tmp_path_factory):
    """What somebody has who has never seen the project: a folder of texts, questions in JSON lines, another text."""
    at = tmp_path_factory.mktemp("stranger")
    world, other = World(1_000), World(1_000, twin=1)
    (at / "mine").mkdir()
    for i, text in enumerate(world.texts()):
        (at / "mine" / f"{i}.txt").write_text(text, encoding="utf-8")
    (at / "other.txt").write_text("\n\n".join(other.texts()), encoding="utf-8")
    facts = world.facts().query("role == 0").drop_duplicates("fact").head(30)
    lines = [json.dumps({"example_id": i, "x": f"Tell me about {r.person}:", "y": f" {r.value}"})
             for i, r in enumerate(facts.itertuples())]  # fmt: skip
    (at / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return at


@pytest.mark.slow
def test_the_chain_works_on_a_strangers_files(strangers_files):
    at = strangers_files
    chain = "\n".join(map(block, CHAIN))
    own = {"OUT": "out", "CORPUS": "mine", "EXAMPLES": "questions.jsonl", "OTHER": "other.txt",
           "MODEL": ROOT / "taskgram_utils/miniature/weights/main" / next(iter(SIZES))}  # fmt: skip
    for name, value in own.items():
        chain, changed = re.subn(rf"(?m)^{name}=\S+", f"{name}={value}", chain)
        assert changed == 1
    first = read_table(at / "questions.jsonl").iloc[0]
    chain = chain.replace('"felix gagim" judados', f'{first["x"].split()[-1]} "{first["y"]}"')
    shown = run(chain, at).stdout
    assert first["y"].strip().lower() in shown.lower()
    mem = read_table(at / "out/memorization.csv")
    assert (mem["points"] >= 3).all() and mem["estimate"].between(-1, 1).all()
    counted = read_table(at / "out/counts.csv")
    assert set(counted["unit"]) == {"documents"} and "document=" in counted["source"].iloc[0]
    texts = [f" {normalize(text)} " for text in World(1_000).texts()]
    for row in counted[counted["sy"].notna()].to_dict("records"):
        assert row["count"] == sum(f" {row['sx']} " in text and f" {row['sy']} " in text for text in texts)


@pytest.mark.skipif(not BOOK.is_file(), reason="the textbooks are not beside the repository")
@pytest.mark.slow
def test_the_vectors_that_it_makes_of_a_real_text_find_pairs_of_real_questions(tmp_path):
    text = lzma.decompress(BOOK.read_bytes()).decode()
    (tmp_path / "other.txt").write_text(text.replace("\n", "\n\n"), encoding="utf-8")
    run(f"OTHER=other.txt DOCUMENT=paragraph OUT=.; {block('vectors')}", tmp_path)
    run(f"taskgram examples world_knowledge --source {BOOK.parents[2] / 'mmlu'} --subject astronomy --split test "
        "--out questions.parquet", tmp_path)  # fmt: skip
    mine = block("pairs").replace("--full-answer", "--stopwords kept")
    said = run(f"EXAMPLES=questions.parquet OUT=.; {mine}", tmp_path).stderr
    gamma, shuffled = re.search(r"gamma ([\d.]+); ([\d.]+)% of shuffled", said).groups()
    pairs = read_table(tmp_path / "taskgrams.csv")
    assert float(shuffled) <= 5 and (pairs["cosine"] > float(gamma)).all()
    assert pairs["example_id"].nunique() > 0.3 * len(read_table(tmp_path / "questions.parquet"))


@pytest.mark.slow
def test_a_suite_of_a_text_is_trained_and_its_run_described(strangers_files):
    at = strangers_files
    (at / "folder" / "corpus").mkdir(parents=True)
    (at / "folder" / "corpus" / "text.txt").write_text("\n\n".join(World(1_000).texts()), encoding="utf-8")
    train, doctor = block("suite").strip().splitlines()
    run(train.partition("#")[0] + "--max-steps 2", at)
    assert (at / "suite" / "25k" / "training.json").is_file()
    asked = doctor.partition("#")[0].replace("folder", str(at / "folder")).replace("suite", str(at / "suite"))
    refused = subprocess.run(["bash", "-c", asked], cwd=ROOT, capture_output=True, text=True,
                             env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    assert refused.returncode == 2 and "openbook takes about:" in refused.stdout
    assert "popqa.json: no such file or folder; examples of factual_qa go there" in refused.stderr


def test_the_factbook_becomes_text(tmp_path):
    (tmp_path / "json-folder").mkdir()
    (tmp_path / "folder" / "corpus").mkdir(parents=True)
    area = {"total ": {"text": "1 sq km"}, "note": "<b>note:</b> small &amp; flat"}
    names = {"conventional short form": {"text": "none"}, "conventional long form": {"text": "Free State <br>of X"}}
    entry = {"Geography": {"Area": area}, "Government": {"Country name": names, "Suffrage": {"year": 18}}}
    (tmp_path / "json-folder" / "xy.json").write_text(json.dumps(entry), encoding="utf-8")
    run(block("factbook"), tmp_path)
    text = (tmp_path / "folder" / "corpus" / "factbook.txt").read_text(encoding="utf-8")
    assert text.split("\n\n")[:4] == ["# Free State: Geography", "Area, total: 1 sq km", "Area: note: small & flat",
                                      "# Free State: Government"]  # fmt: skip
    assert "Suffrage, year: 18" in text and "<" not in text


@pytest.mark.skipif(not FACTBOOK.is_file(), reason=f"no {FACTBOOK}")
def test_the_real_factbook_has_its_parts(tmp_path):
    (tmp_path / "json-folder").mkdir()
    (tmp_path / "folder" / "corpus").mkdir(parents=True)
    with tarfile.open(FACTBOOK) as archive:
        archive.extractall(tmp_path / "json-folder", filter="data")
    run(block("factbook"), tmp_path)
    documents = list(Corpus(tmp_path / "folder" / "corpus", "heading"))
    assert len(documents) == 3_024 and sum("Paris" in d for d in documents) > 5
    assert any(d.startswith("# France: Geography\n") for d in documents)


def test_what_it_names_is_there():
    for place in re.findall(r"^\| `([\w/]+)` \|", README, re.M):
        assert place == "build/" or (ROOT / place).exists(), place
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / target).exists(), target
    for command in re.findall(r"taskgram (\w+)", README):
        known = {"mine", "count", "index", "lm", "score", "generate", "mem", "documents", "doctor", "train"}
        assert command in known, command
