"""Recorded tables: the files are those that their note describes, with command, date, machine and versions."""

import hashlib
import json
import re
from pathlib import Path

import pandas as pd

from taskgram_chapters import real_text, verdicts
from taskgram_chapters.recorded import recorded as all_recorded

RESULTS = Path(__file__).resolve().parents[1] / "results"
NOTE = json.loads((RESULTS / "seeds.json").read_text(encoding="utf-8"))


def recorded(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"seeds_{name}.csv")


def test_every_recorded_table_has_a_note_that_fits_it():
    notes = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in RESULTS.glob("*.json")}
    assert {p.name for p in RESULTS.glob("*.csv")} == {name for note in notes.values() for name in note["sha256"]}
    for note in notes.values():
        for name, digest in note["sha256"].items():
            assert hashlib.sha256((RESULTS / name).read_bytes()).hexdigest() == digest, name
        script = note["command"].removeprefix("python ").removeprefix("-m ").split()[0]
        module = RESULTS.parent / (script.replace(".", "/") + ".py")
        assert (RESULTS.parent / script).is_file() or module.is_file(), script
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", note["date"]) and note["machine"]
        assert {"python", "torch", "numpy"} <= set(note["versions"])
    assert (RESULTS / "mem_by_size.png").read_bytes().startswith(b"\x89PNG")


def test_the_races_were_run_in_full_and_all_exact_ways_agree():
    note, table = json.loads((RESULTS / "counting.json").read_text()), pd.read_csv(RESULTS / "counting.csv")
    assert not note["quick"] and note["rounds"] >= 3
    exact = table[table["equal"].notna() & ~table["way"].str.contains("count_cnf")]
    assert {"generated", "textbooks"} <= set(table["corpus"])
    # Written in other letters, an n-gram may fall together with one that had such letters before.
    scripts = exact["job"].str.contains("other scripts")
    assert (exact.loc[~scripts, "equal"] == 1).all() and (exact.loc[scripts, "equal"] > 0.999).all()


def test_the_tuned_suite_has_scores_and_no_mem():
    assert set(recorded("performance")["suite"]) == set(NOTE["suites"]) == {
        "A", "B", "C", "twin 1", "twin 2", "reseed"}  # fmt: skip
    for name in ("memorization", "partial", "difference_to_infinigram", "slopes"):
        assert set(recorded(name)["suite"]) == {"B", "C"}
    for suite, (world, seed) in {"A": (0, 0), "B": (1, 1), "C": (2, 2), "reseed": (1, 3)}.items():
        assert (NOTE["suites"][suite]["world"], NOTE["suites"][suite]["seed"]) == (world, seed)


def test_both_measured_suites_can_be_held_against_every_preregistered_expectation():
    preregistered, keys = verdicts.read_expectations(), ["question", "task", "group", "n", "count_model", "measure"]
    for suite in ("B", "C"):
        tables = {name: recorded(name) for name in ("partial", "difference_to_infinigram", "slopes")}
        found = verdicts.evidence({name: table[table["suite"] == suite] for name, table in tables.items()})
        judged = preregistered.merge(found, on=keys)
        assert len(judged) == len(preregistered) and judged["estimate"].notna().all()


def test_the_recorded_run_of_real_text_holds_estimates_and_no_text():
    note = json.loads((RESULTS / "openbook.json").read_text(encoding="utf-8"))
    tables = all_recorded("openbook", RESULTS).tables
    assert set(note["sha256"]) == {f"openbook_{name}.csv" for name in tables}
    for name, table in tables.items():
        assert not {"sx", "sy", "x", "y", "output", "example_id", "answers"} & set(table.columns), name
    kept = tables["coverage"].query("documents == 'heading'")
    assert set(kept["group"]) == {"popqa", "wikidata", "pararel", "triviaqa", "knowledge", "gsm8k"}
    assert {"heading", "paragraph"} == set(note["corpus"]["documents"]) == set(tables["memorization"]["documents"])
    enough = real_text.enough(tables["memorization"], kept)
    assert len(enough) and enough["points"].min() >= 200
    assert set(tables["models"]["has_read"]) == {"this text", "other text"} and len(tables["models"]) == 5
    assert note["parameters"]["seed"] == 1 and "data" not in note["parameters"]


def test_pieces_in_their_forms_are_nearer_to_words_and_never_above_them():
    note, table = json.loads((RESULTS / "pieces.json").read_text()), pd.read_csv(RESULTS / "pieces.csv")
    assert note["pairs"] >= 1000 and note["tokenizer"] == "20B_tokenizer.json"
    assert not {"sx", "sy", "sx_text", "sy_text"} & set(table.columns)
    typed, forms, whole = (part.set_index(["n", "kind"]) for _, part in table.groupby("way", sort=False))
    assert (whole["too_high"] == 0).all() and (whole["lost"] < typed["lost"]).all() and len(whole) == 6
    assert (whole["exact"] > forms["exact"]).all() and (forms["exact"] > typed["exact"]).all()
