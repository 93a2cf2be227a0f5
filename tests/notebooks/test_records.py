"""Readers of published records: the pitfalls of the real files, and what is said of files that cannot be read."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer

from taskgram_chapters import records
from taskgram_utils.errors import InputError
from taskgram_utils.fetching import SETS
from tests import originals

real = pytest.mark.skipif(not originals.REAL.is_dir(), reason=f"no {originals.REAL}")
READERS = {"phases": records.phases, "naturalstories": records.running_text, "arithmetic": records.arithmetic,
           "crosscare": records.pairs}  # fmt: skip


@pytest.fixture
def small(tmp_path):
    files = originals.contents(np.random.default_rng(1))
    return tmp_path, originals.write(tmp_path, files), files


def changed(small, key, change):
    """The small records with one file changed, and listed as it then is."""
    folder, _, files = small
    text = change(files[key])
    return folder, originals.write(folder, files | {key: text})


def test_the_list_names_every_file_by_commit():
    listed = records.sources()
    assert len(listed) == 70 and set(listed["set"]) == set(SETS)
    assert listed["bytes"].astype(int).between(1e3, 4e6).all() and not listed.duplicated(["repo", "path"]).any()
    # One commit a repository: what a folder is checked by.
    assert (listed.groupby("repo")["commit"].nunique() == 1).all()


@pytest.mark.parametrize("size, layers, width", [
    ("14m", 6, 128), ("31m", 6, 256), ("70m", 6, 512), ("160m", 12, 768), ("410m", 24, 1024), ("1b", 16, 2048),
    ("1.4b", 24, 2048), ("2.8b", 32, 2560), ("6.9b", 32, 4096), ("12b", 36, 5120)])  # fmt: skip
def test_parameters_are_those_of_the_shapes(size, layers, width):
    assert records.PYTHIA[size] == 12 * layers * width**2 + 13 * layers * width + 2 * width


def test_number_tokens_are_the_vocabularys():
    path = originals.REAL.parent / "tokenizers" / "20B_tokenizer.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    tokenizer = Tokenizer.from_file(str(path))
    table = pd.read_csv(records._PUBLISHED / "number_tokens.csv")
    assert table["number"].tolist() == list(range(100))
    assert [tokenizer.encode(f" {n}").ids for n in range(100)] == [[i] for i in table["after_space"]]
    assert [tokenizer.encode(str(n)).ids for n in range(100)] == [[i] for i in table["alone"]]


def test_phases(small):
    folder, listed, _ = small
    table = records.phases(folder, listed)
    assert len(table) == 3 * 3 * 5 + 5  # word vectors are left out
    one = table[table["model"] == "pythia-1.4b"]
    assert one["parameters"].unique() == [1_208_602_624] and set(one["seed"]) == {"1234"} and len(one) == 15
    other = table[table["family"] == "gpt2"].iloc[0]
    assert other["seed"] == "x49 (beren)" and np.isnan(other["parameters"]) and other["trained_on"] == "openwebtext"


def test_running_text(small):
    folder, listed, _ = small
    table = records.running_text(folder, listed)
    assert table.groupby(["model", "context"]).size().eq(2 * 125).all()  # the first five words of each text are out
    assert set(table.loc[table["model"] == "pythia-1.4b", "context"]) == {"full", "1", "2", "3", "4"}
    assert set(table.loc[table["model"] == "pythia-12b", "context"]) == {"full"}
    raw = pd.read_csv(folder / "naturalstories/someone+naturalstories/full/suprisal-natural_stories-pythia-120b.tsv",
                      sep="\t")  # fmt: skip
    ours = table[table["model"] == "pythia-12b"].set_index("item")["logp"]
    assert ours["1:7"] == pytest.approx(-raw.query("text_id == 1 and word_id == 7")["surprisal"].iloc[0])
    grams = table[table["model"] == "5-gram"]
    assert set(grams["n"]) == {5} and grams["parameters"].isna().all() and grams["step"].isna().all()


def test_arithmetic_takes_what_was_run_again(small):
    folder, listed, _ = small
    table = records.arithmetic(folder, listed)
    assert not table.duplicated(["model", "step", "task", "shots", "item"]).any()
    large = table[table["model"] == "pythia-12b-deduped"]
    assert large.groupby("shots")["score"].unique().map(list).to_dict() == {0: [0.4], 16: [0.6]}
    assert set(table.loc[table["release"] == "v0", "model"]) == {"pythia-1.4b-deduped-v0"}
    counts = np.load(folder / "arithmetic/someone+arithmetic/data/counts.npy")[0]
    forty_two = table[table["item"] == 42].iloc[0]
    assert (forty_two["count"], forty_two["count_alone"]) == (counts[5976], counts[2945])
    again = records.reruns(folder, listed)
    assert set(again["score"] - again["replaced"] - again["change"]) == {0} and len(again) == 2 * 2 * 2 * 100
    assert sorted(set(again["change"].round(6))) == [0.2]


def test_pairs_never_seen_have_a_count_of_zero(small):
    folder, listed, _ = small
    table = records.pairs(folder, listed)
    assert set(table["group"]) == {"male", "female", *originals.GROUPS.values()}
    sizes = table.groupby(["kind", "window"])["disease"].nunique()
    assert sizes["race"].to_dict() == {"10": 3, "100": 3, "document": 4}  # acne is in no window: not counted there
    lupus = table[(table["disease"] == "lupus") & (table["kind"] == "race") & (table["model"] == "mamba-130m")]
    seen = lupus.set_index(["window", "group"])["count"]
    assert seen["10", "hispanic/latino"] == 0 and seen["100", "hispanic/latino"] > 0 and (seen > 0).sum() == 8
    path = folder / "crosscare/someone+crosscare/logits/state-spaces_mamba-130m/logits_race.json"
    said = json.loads(path.read_text())
    values = dict(said["lupus"])["hispanic"]
    row = lupus[(lupus["window"] == "10") & (lupus["group"] == "hispanic/latino")].iloc[0]
    assert row["logp"] == pytest.approx(np.mean(values)) and row["logp_odd"] == pytest.approx(np.mean(values[::2]))
    assert set(table.loc[table["window"] == "document", "unit"]) == {"document products"}
    assert table.loc[table["family"] == "mamba", "parameters"].isna().all()


def words(text, old, new, times=1):
    assert old in text
    return text.replace(old, new, times)


CSV = "csv/pythia-v1.1-70m-deduped/term_frquency_all_shots.csv"
GRAMS = f"joint/{originals.TEXT.format('gpt2-small')}/ngram.tsv"
FULL = "full/suprisal-natural_stories-pythia-70m.tsv"
LOGITS = "logits/EleutherAI_pythia-70m-deduped/logits_race.json"
COUNTS = "counts/aggregated_race_10.csv"
PHASES = ("phases", "analyses/all_cors.tsv")
BAD = [
    (PHASES, lambda t: words(t, "1_4b", "1_5b", 99), "Pythia '1.5b': no known size"),
    (PHASES, lambda t: words(t, "SpearmanRho", "Rho"), "expected but not found: ['SpearmanRho']"),
    (PHASES, lambda t: t + t.splitlines()[1], "phases: more than one row for pythia-70m, 1, 0, pile, 1"),
    (PHASES, lambda t: words(t, "\t0.5\n", "\thalf\n"), "not in the form of its set"),
    (PHASES, lambda t: "", "cannot be read as a table"),
    (PHASES, lambda t: words(t, "\t512\t", "\tinf\t"), "not in the form of its set"),
    (("naturalstories", FULL), lambda t: words(t, "surprisal", "other"), "expected but not found: ['surprisal']"),
    (("naturalstories", GRAMS), lambda t: _infinite(t), "a probability of zero has no logarithm"),
    (("arithmetic", CSV), lambda t: words(t, ",16,", ",1.5,"), "not in the form of its set"),
    (("arithmetic", CSV), lambda t: words(t, "pythia-v1.1-70m-deduped", "llama-7b", 9999), "not the name of a dedup"),
    (("arithmetic", CSV), lambda t: words(t, "v1.1-70m", "v1.1-71m", 9999), "Pythia '71m': no known size"),
    (("arithmetic", CSV), lambda t: words(t, "addition_7,", "division_7,"), "arithmetic_division_7': not a name"),
    (("arithmetic", "data/counts.npy"), lambda t: _zero(t), "a number has a count of 0, which has no logarithm"),
    (("arithmetic", "data/counts.npy"), lambda t: t[:200], "not in the form of its set"),
    (("arithmetic", "data/counts.npy"), lambda t: originals._npy(np.ones(9)), "not a count for every token"),
    (("crosscare", COUNTS), lambda t: words(t, "Disease", "Illness"), "not in the form of its set ('Disease')"),
    (("crosscare", COUNTS), lambda t: words(t, "asian", "asian", 1) + "195967001.0,asian,3\n", "more than one row for"),
    (("crosscare", LOGITS), lambda t: words(t, '"white"', '"green"', 9), "group 'green': not a name"),
    (("crosscare", LOGITS), lambda t: words(t, '"lupus"', '"lupin"'), "disease 'lupin': not a name known"),
    (("crosscare", LOGITS), lambda t: t[:-1], "not in the form of its set"),
    (("crosscare", LOGITS), lambda t: json.dumps({"lupus": [["white", [-1.0, float("-inf")]]]}), "probability of zero"),
    (("crosscare", LOGITS), lambda t: json.dumps({"lupus": [["white", [-1.0]], ["asian", [-1.0, -2.0]]]}),
     "not in the form of its set"),
]  # fmt: skip


def _infinite(text):
    lines = text.split("\n")
    lines[50] = "\t".join([*lines[50].split("\t")[:-1], "inf"])
    return "\n".join(lines)


def _zero(data):
    import io

    array = np.load(io.BytesIO(data))[0]
    array[5976] = 0
    return originals._npy(array)


@pytest.mark.parametrize("key, change, said", BAD, ids=[f"{b[0][0]}-{b[2]}" for b in BAD])
def test_a_file_that_cannot_be_is_named(small, key, change, said):
    folder, listed = changed(small, key, change)
    with pytest.raises(InputError) as caught:
        READERS[key[0]](folder, listed)
    message = str(caught.value)
    assert said in message
    assert Path(key[1]).name in message or f"{folder / key[0]}: " in message
    assert "\n" not in message and len(message) < 600


@pytest.mark.parametrize("old, new, said", [
    ("natural_stories-pythia-70m-", "natural_stories-pythia-71m-", "Pythia '71m': no known size"),
    ("natural_stories-pythia-70m-", "stories-70m-", "no name of a model in stories-70m")])  # fmt: skip
def test_a_folder_of_an_unknown_model_is_named(small, old, new, said):
    folder, _, files = small
    renamed = {(name, path.replace(old, new)): text for (name, path), text in files.items()}
    with pytest.raises(InputError, match=said):
        records.running_text(folder, originals.write(folder, renamed))


@pytest.mark.parametrize("name", list(READERS))
def test_missing_altered_and_other_commits(small, name):
    folder, listed, _ = small
    first = folder / records.place(listed[listed["set"] == name].iloc[0])
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + b"!")
    with pytest.raises(InputError, match="altered, or of another commit") as caught:
        READERS[name](folder, listed)
    assert str(first) in str(caught.value)
    first.unlink()
    with pytest.raises(InputError, match=f"{first.name}: is missing; taskgram records --out"):
        READERS[name](folder, listed)
    first.write_bytes(whole)
    assert len(READERS[name](folder, listed))


def test_a_list_that_is_none(tmp_path):
    good = records.sources()
    bad = {"sha256": "12", "commit": "main", "set": "other", "path": "../up", "repo": "../.."}
    for column, value in bad.items():
        good.assign(**{column: value}).to_csv(tmp_path / "list.tsv", sep="\t", index=False)
        with pytest.raises(InputError, match=r"list\.tsv: row 1 names no file of a known set by commit"):
            records.sources(tmp_path / "list.tsv")
    with pytest.raises(InputError, match="no such folder; taskgram records --out"):
        records.phases(tmp_path / "nowhere")
    (tmp_path / "list.tsv").write_text("set\tpath\n")
    with pytest.raises(InputError, match="missing column repo"):
        records.sources(tmp_path / "list.tsv")


@real
def test_the_real_files():
    listed = records.sources()
    for name, reader in READERS.items():
        assert len(records.files(originals.REAL, name)) == (listed["set"] == name).sum()
        assert len(reader(originals.REAL)) > 10_000
    again = records.reruns(originals.REAL)
    last = again[again["file"].str.startswith("redo")]
    assert (len(last), (last["change"] != 0).sum(), last["change"].abs().max().round(2)) == (1200, 175, 0.12)
    seeds = records.phases(originals.REAL).query("family == 'pythia'").groupby("model")["seed"].nunique()
    assert seeds["pythia-410m"] == 10 and seeds["pythia-12b"] == 1 and len(seeds) == 10


@real
def test_a_real_file_of_another_set_in_its_place(tmp_path):
    shutil.copytree(originals.REAL / "phases", tmp_path / "phases")
    path = next((tmp_path / "phases").rglob("*.tsv"))
    path.write_text(path.read_text().replace("0.7", "0.8", 1))
    assert hashlib.sha256(path.read_bytes()).hexdigest() not in set(records.sources()["sha256"])
    with pytest.raises(InputError, match=r"all_cors\.tsv: altered, or of another commit than adf36bfedbe1"):
        records.phases(tmp_path)
