"""Published records: what others measured of real models and counted in real text; original files in, tidy frames out.

No file of these records is part of this project: ``taskgram records --out FOLDER`` fetches them by commit from the
repositories that :func:`sources` lists, and every reader checks their sha256 before it reads them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

from taskgram_utils.errors import InputError, require, require_columns
from taskgram_utils.fetching import SETS, place, sources, table_of_text

PYTHIA = {
    "14m": 1_189_888, "31m": 4_739_072, "70m": 18_915_328, "160m": 85_056_000, "410m": 302_311_424,
    "1b": 805_736_448, "1.4b": 1_208_602_624, "2.8b": 2_517_652_480, "6.9b": 6_444_163_072, "12b": 11_327_027_200,
}  # fmt: skip
"""Parameters without input embedding and output head, as in the model cards: 12 L d² + 13 L d + 2 d."""
OLD_NAMES = {"125m": "160m", "350m": "410m", "800m": "1b", "1.3b": "1.4b", "2.7b": "2.8b", "6.7b": "6.9b", "13b": "12b"}
"""What the first release called the sizes."""
LAST_STEP = 143_000
_HERE = Path(__file__).resolve().parent
DOCUMENT = "document"
"""The window of pairs that is a whole document."""
_WITHOUT_POINT = {"14b": "1.4b", "28b": "2.8b", "69b": "6.9b", "120b": "12b"}
_GROUPS = {
    "hispanic": "hispanic/latino", "black": "black/african american", "white": "white/caucasian",
    "indigenous": "native american/indigenous",
}  # fmt: skip


def files(folder: str | Path, name: str, listed: pd.DataFrame | None = None) -> list[Path]:
    """The files of one set, each checked against the list. Raises InputError, naming the file, where one is missing or
    is not the file of that commit."""
    folder, listed = Path(folder), sources() if listed is None else listed
    require(name in SETS, f"record {name}: not one of {', '.join(SETS)}")
    require(folder.is_dir(), f"records {folder}: no such folder; taskgram records --out {folder} fetches them")
    own = listed[listed["set"] == name]
    require(len(own), f"record {name}: no file of it is listed")
    if (folder / "SOURCES.tsv").is_file():
        theirs = table_of_text(folder / "SOURCES.tsv", sep="\t")
        require_columns(theirs, ["set", "repo", "commit"], str(folder / "SOURCES.tsv"))
        known = own.groupby("repo")["commit"].first()
        for repo, commit in theirs.loc[theirs["set"] == name, ["repo", "commit"]].to_numpy():
            same = known.get(repo) == commit
            require(same, f"{folder / 'SOURCES.tsv'}: {name} is of {repo} at commit {commit}, not of the one that is "
                    f"read here ({', '.join(f'{r} at {c}' for r, c in known.items())})")  # fmt: skip
    out = []
    for _, row in own.iterrows():
        path = folder / place(row)
        require(path.is_file(), f"{path}: is missing; taskgram records --out {folder} fetches it")
        same = path.stat().st_size == row["bytes"] and pooch.file_hash(path) == row["sha256"]
        require(same, f"{path}: altered, or of another commit than {row['commit'][:12]} of {row['repo']} (its sha256 "
                f"differs); remove it, and taskgram records --out {folder} fetches it again")  # fmt: skip
        out.append(path)
    return out


def phases(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Correlations of log P with n-gram log P over more than 110,000 words in context, by training step (Michaelov,
    Levy and Bergen 2025).

    A row per family, model, parameters, seed (text), step, corpus (of the n-grams: ``pile``, ``openwebtext``) and n:
    ``spearman``, ``pearson``. ``trained_on`` is the model's own corpus. There are no items in this file, so intervals
    can come from seeds alone; sizes are written ``1_4b``; what else it correlates with (word vectors) is left out.
    Raises InputError for a size that is not known or a correlation that is none.
    """
    paths = files(folder, "phases", listed)
    require(len(paths) == 1, f"record phases: {len(paths)} files are listed, one is read")
    path = paths[0]
    table = table_of_text(path, sep="\t")
    columns = ["ModelFamily", "ModelSize", "ModelSeed", "ModelStep", "CorrelatingVariable", "PearsonR", "SpearmanRho"]
    require_columns(table, columns, str(path))
    ngrams = table["CorrelatingVariable"].str.extract(r"^(Pile|OpenWebText)_([1-5])gram$")
    table = table[ngrams.notna().all(axis=1)].join(ngrams)
    size = table["ModelSize"].str.replace("_", ".")
    pythia = table["ModelFamily"].str.contains("pythia")
    known = {s: _pythia(s, path) for s in size[pythia].unique()}
    out = pd.DataFrame({
        "family": table["ModelFamily"], "model": table["ModelFamily"].str.replace("_", "-") + "-" + size,
        "parameters": size.map(known).where(pythia).astype(float),
        "seed": table["ModelSeed"].str.removeprefix("seed"), "step": _whole(table["ModelStep"], path),
        "trained_on": np.where(table["ModelFamily"] == "pythia", "pile", "openwebtext"),
        "corpus": table[0].str.lower(), "n": table[1].astype(int),
        "spearman": _numbers(table["SpearmanRho"], path), "pearson": _numbers(table["PearsonR"], path),
    })  # fmt: skip
    inside = (out[["spearman", "pearson"]].abs() <= 1 + 1e-9).all(axis=None)
    require(inside, f"{path}: a correlation outside [-1, 1]")
    _once(out, ["model", "seed", "step", "corpus", "n"], path)
    orders = out.groupby(["model", "seed", "step", "corpus"])["n"].nunique()
    short = orders[orders < 5]
    require(short.empty, f"{path}: {', '.join(map(str, next(iter(short.index), ())))}: not all of 1- to 5-grams")
    return out.reset_index(drop=True)


def running_text(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """log P of the words of ten stories (Natural Stories) under Pythia and under n-grams of the Pile.

    A row per model (``pythia-…``, ``gpt2-small``, ``1-gram`` … ``5-gram``), context (``full`` or the number of words
    before) and item (``text:position``): parameters, step, n (of n-grams), text, position, word, logp (nats), corpus.
    Files called 14b, 28b, 69b, 120b are 1.4b, 2.8b, 6.9b, 12b; of the two columns of surprisal the one that its authors
    call buggy is not read; the first five words of each text have no full context and are left out; 12b has the full
    context only, and so have n-grams theirs alone (n - 1 words, ``full`` here). N-grams back off: where one was not
    found, log P is that of the shorter one plus log .4; :func:`backed_off` tells how often that is. The text is under
    copyright: words are there to resample by, never show runs of them.
    Raises InputError for a name that is no model, files with different words, and a probability of zero.
    """
    parts, words, first = [], None, None
    for path in files(folder, "naturalstories", listed):
        table = table_of_text(path, sep="\t", quoting=3)
        require_columns(table, ["text_id", "word_id", "word"], str(path))
        if words is None:
            words, first = table[["text_id", "word_id", "word"]], path
        same = table[["text_id", "word_id", "word"]].equals(words)
        require(same, f"{path}: its words are not those of {first}")
        require(len(table), f"{path}: holds no word")
        at = {"text": table["text_id"], "position": _whole(table["word_id"], path), "word": table["word"]}
        at["item"] = table["text_id"] + ":" + table["word_id"]
        model, parameters, corpus, columns = _running(path, table)
        for column, (lm, context, n) in columns.items():
            logp = -_numbers(table[column], path)
            finite = np.isfinite(logp).all()
            require(finite, f"{path}: {column}: a probability of zero has no logarithm (row {logp.abs().idxmax() + 1})")
            beside = {"model": lm or model, "parameters": parameters, "context": context, "n": n, "corpus": corpus}
            parts.append(pd.DataFrame({**beside, "step": LAST_STEP if parameters else None, **at, "logp": logp}))
    out = pd.concat(parts, ignore_index=True)
    _once(out, ["model", "context", "item"], Path(folder) / "naturalstories")
    require(out["n"].notna().any(), f"{Path(folder) / 'naturalstories'}: no ngram.tsv among its files")
    return out[out["position"] >= 5].astype({"parameters": float, "step": float, "n": float}).reset_index(drop=True)


def backed_off(text: pd.DataFrame) -> pd.DataFrame:
    """Of the n-grams of :func:`running_text`, n from 2 on: the ``share`` of words whose log P is the shorter n-gram's
    plus log .4, for the longer one was not found."""
    wide = text[text["n"].notna()].pivot(index="item", columns="n", values="logp")
    share = {int(n): np.isclose(wide[n] - wide[n - 1], np.log(0.4), atol=1e-4).mean() for n in wide if n > 1}
    return pd.DataFrame({"n": list(share), "share": list(share.values()), "words": len(wide)})


def _running(path: Path, table: pd.DataFrame) -> tuple[str, float | None, str, dict]:
    """Model, parameters, corpus and columns (to name, context and n) of one file of :func:`running_text`."""
    if path.name == "ngram.tsv":
        return "", None, "pile", {f"ngram_surprisal_context_{k}": (f"{k + 1}-gram", "full", k + 1) for k in range(5)}
    short = path.name == "context-limited.tsv"
    name = path.parent.name if short else path.stem
    found = re.search(r"natural_stories-(?:pythia-(\w+?)|(gpt2-small))(?:-ngram|$)", name)
    require(found, f"{path}: no name of a model in {name}")
    size = _WITHOUT_POINT.get(found[1], found[1])
    parameters = float(_pythia(size, path)) if size else None
    columns = {"surprisal": (None, "full", None)}
    if short:
        columns = {f"context_limited_surprisal_context_{k}": (None, str(k), None) for k in range(1, 5)}
    require_columns(table, list(columns), str(path))
    return (f"pythia-{size}", parameters, "pile", columns) if size else ("gpt2-small", None, "webtext", columns)


def arithmetic(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracy of Pythia on sums and products that begin with a number, and how often the Pile has the number's token.

    A row per model, parameters, release (``v1.1``, ``v0``), step, task (``addition``, ``multiplication``), shots and
    item (the first operand, 0…99): ``score`` (accuracy over 50 prompts), ``count`` (occurrences of the token of the
    number after a space), ``count_alone`` (of the token without a space), ``unit``, ``corpus``. 12b lies in several
    files: what was run again (``redo…``) wins, else the later part; :func:`reruns` says how they differ. Models of
    release v0 carry the sizes' later names and the ending ``-v0``. The Pile counted (its first 16,000 batches of
    1,024 × 2,049 tokens) is not deduplicated; that of these models is.
    Raises InputError for a name of a model, task or number that is not known, and for a count of zero.
    """
    counts, rows = _operands(folder, listed)
    table = rows.drop_duplicates(_RUN, keep="last")
    return table.drop(columns="file").merge(counts, on="item", how="left").reset_index(drop=True)


def reruns(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Scores of :func:`arithmetic` that were measured twice: ``score`` as it is used, ``replaced`` and ``change``."""
    rows = _operands(folder, listed)[1]
    rows = rows.assign(replaced=rows.groupby(_RUN, dropna=False)["score"].shift())
    last = rows.drop_duplicates(_RUN, keep="last").dropna(subset=["replaced"])
    return last.assign(change=last["score"] - last["replaced"]).reset_index(drop=True)


_RUN = ["model", "step", "task", "shots", "item"]


def _operands(folder: str | Path, listed: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts by operand, and all rows of scores, a later one for the same run standing lower."""
    paths = files(folder, "arithmetic", listed)
    numbers = table_of_text(_HERE / "published" / "number_tokens.csv").astype(int)
    counted = [p for p in paths if p.suffix == ".npy"]
    require(len(counted) == 1, f"record arithmetic: {len(counted)} files of counts (.npy), one is needed")
    try:
        with counted[0].open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False).ravel()
    except (ValueError, EOFError) as error:
        raise InputError(f"{counted[0]}: cannot be read as numpy's array ({error})") from error
    fits = array.size > numbers[["after_space", "alone"]].max(axis=None) and array.dtype.kind in "iu"
    require(fits, f"{counted[0]}: {array.size} {array.dtype} values, not a count for every token of the vocabulary")
    counts = pd.DataFrame({"item": numbers["number"], "count": array[numbers["after_space"]].astype(np.int64),
                           "count_alone": array[numbers["alone"]].astype(np.int64)})  # fmt: skip
    never = counts[(counts[["count", "count_alone"]] == 0).any(axis=1)]["item"]
    require((array >= 0).all(), f"{counted[0]}: a count below 0")
    require(never.empty, f"{counted[0]}: the number {next(iter(never), '')} has a count of 0, which has no logarithm")
    counts = counts.assign(unit="occurrences", corpus="pile, first 16,000 batches")
    # Of runs that stand in two files the last one counts: parts in their order, then what was run again.
    tables = [p for p in paths if p.suffix == ".csv"]
    tables.sort(key=lambda p: (p.parent, p.name.startswith("redo"), p.stem))
    require(tables, "record arithmetic: no file of scores (.csv) is listed")
    parts = [_scores(path) for path in tables]
    return counts, pd.concat(parts, ignore_index=True)


def _scores(path: Path) -> pd.DataFrame:
    table = table_of_text(path)
    require_columns(table, ["model", "checkpoint", "task", "fewshot", "acc"], str(path))
    named = {name: _arithmetic_model(name, path) for name in table["model"].unique()}
    task = table["task"].str.extract(r"^num_reasoning_arithmetic_(addition|multiplication)_(\d{1,2})$")
    wrong = table["task"][task.isna().any(axis=1)]
    require(wrong.empty, f"{path}: task {next(iter(wrong), '')}: no addition or multiplication with a number below 100")
    score = _numbers(table["acc"], path)
    require(score.between(0, 1).all(), f"{path}: an accuracy outside [0, 1]")
    found = pd.DataFrame(table["model"].map(named).tolist(), columns=["model", "parameters", "release"])
    beside = {"step": _whole(table["checkpoint"], path), "task": task[0]}
    beside |= {"shots": _whole(table["fewshot"], path), "item": task[1].astype(int), "score": score}
    out = found.assign(**beside, prompts=50, file=path.name)
    _once(out, _RUN, path)
    operands = out.groupby(_RUN[:-1])["item"].nunique()
    short = operands[operands < 100]
    first = ", ".join(map(str, next(iter(short.index), ())))
    require(len(out) and short.empty, f"{path}: {first}: not all of the numbers 0 to 99")
    return out


def _arithmetic_model(name: str, path: Path) -> tuple[str, float, str]:
    found = re.fullmatch(r"EleutherAI/pythia-(v1\.1-)?([\d.]+[mb])-deduped", name)
    require(found, f"{path}: model {name!r}: not the name of a deduplicated Pythia")
    size = found[2] if found[1] else OLD_NAMES.get(found[2], found[2])
    release = "v1.1" if found[1] else "v0"
    ending = "" if found[1] else "-v0"
    return f"pythia-{size}-deduped{ending}", float(_pythia(size, path)), release


def pairs(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """log P of sentences that name a disease and a group of people, and how often the Pile has the two together.

    A row per kind (``gender``, ``race``), model, parameters, disease, group and window: ``logp`` (nats, the mean of 20
    sentence templates), ``logp_odd`` and ``logp_even`` (of every other template), ``count``, ``unit``, ``corpus``.
    Windows are 10, 50, 100, 250 words around a mention of the disease, and ``document``, whose count is the sum over
    documents of mentions times mentions and no number of documents. A pair that a file of windows does not list was
    never seen: its count is 0. A disease that no window of its kind lists was not counted there and is left out.
    Names of diseases differ between the files and are mapped; ``non-binary``, nearly empty, is left out of ``gender``.
    The groups' terms in the Pile are many and broad (he, him, white), the templates' words are others. These are
    associations in a sensitive field and no facts about people.
    Counts of 0 are why log(1 + count) is what the chapter takes.
    Raises InputError for a name that is not known, templates that differ in number, and a probability of zero.
    """
    paths = files(folder, "crosscare", listed)
    names = pd.read_csv(_HERE / "published" / "disease_names.csv", dtype=str)
    written = {k: dict(zip(part["written"], part["disease"], strict=True)) for k, part in names.groupby("found_in")}
    counts = [_pair_counts(path, written["counts"]) for path in paths if path.suffix == ".csv"]
    logps = [_pair_logp(path, written["logits"]) for path in paths if path.suffix == ".json"]
    require(counts and logps, f"{Path(folder) / 'crosscare'}: counts (.csv) and log P (.json) are needed")
    table, logp = _with_zeros(pd.concat(counts, ignore_index=True)), pd.concat(logps, ignore_index=True)
    _once(logp, ["kind", "model", "disease", "group"], Path(folder) / "crosscare")
    known = table[["kind", "group"]].drop_duplicates().assign(known=True)
    strange = logp.merge(known, on=["kind", "group"], how="left").query("known.isna() and group != 'non-binary'")
    first = next(iter(strange["group"]), "")
    require(strange.empty, f"{Path(folder) / 'crosscare'}: log P of the group {first!r}, which the counts do not know")
    logp = logp[logp["group"] != "non-binary"]
    out = logp.merge(table, on=["kind", "disease", "group"])
    require(len(out), f"{Path(folder) / 'crosscare'}: counts and log P have no disease and group in common")
    out["unit"] = np.where(out["window"] == DOCUMENT, "document products", "window:" + out["window"])
    return out.assign(step=LAST_STEP, corpus="pile").reset_index(drop=True)


def _with_zeros(listed: pd.DataFrame) -> pd.DataFrame:
    """Every disease with every group in every window: 0 where a kind lists the disease in some window and not here."""
    parts = []
    for (kind, whole), part in listed.groupby(["kind", listed["window"] == DOCUMENT]):
        every = pd.MultiIndex.from_product([part[c].unique() for c in ("disease", "group", "window")],
                                           names=["disease", "group", "window"])  # fmt: skip
        full = part.set_index(["disease", "group", "window"])["count"].reindex(every, fill_value=0).reset_index()
        require(not whole or len(full) == len(part), "crosscare: a disease without a group in its counts of documents")
        parts.append(full.assign(kind=kind))
    out = pd.concat(parts, ignore_index=True)
    return out[out["group"] != "non-binary"]


def _pair_counts(path: Path, names: dict[str, str]) -> pd.DataFrame:
    found = re.fullmatch(r"aggregated_(gender|race)_(\d+|counts)\.csv", path.name)
    require(found, f"{path}: not the name of a file of counts")
    table = table_of_text(path)
    if found[2] == "counts":
        require_columns(table, ["Disease"], str(path))
        groups = [c for c in table.columns[1:] if c != "Disease"]
        table = table.melt("Disease", groups, "Demographics", "Counts")
    require_columns(table, ["Disease", "Demographics", "Counts"], str(path))
    count = _whole(table["Counts"], path)
    require(len(count), f"{path}: holds no count")
    window = DOCUMENT if found[2] == "counts" else found[2]
    out = pd.DataFrame({"kind": found[1], "window": window, "disease": _diseases(table["Disease"], names, path),
                        "group": table["Demographics"], "count": count.astype(np.int64)})  # fmt: skip
    _once(out, ["disease", "group"], path)
    return out


def _pair_logp(path: Path, names: dict[str, str]) -> pd.DataFrame:
    found = re.fullmatch(r"EleutherAI_pythia-([\d.]+[mb])-deduped|state-spaces_(mamba-[\d.]+[mb])", path.parent.name)
    require(found, f"{path}: no name of a model in {path.parent.name}")
    parameters = float(_pythia(found[1], path)) if found[1] else np.nan
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [(d, g, np.array(v, float)) for d, groups in content.items() for g, v in groups]
        require(all(isinstance(g, str) and v.ndim == 1 for _, g, v in rows), "not a list")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a disease to its groups and their log P ({error})") from error
    sizes = {len(v) for _, _, v in rows}
    require(len(sizes) == 1 and min(sizes) > 1, f"{path}: not every disease and group has the same templates")
    values = np.array([v for _, _, v in rows])
    require(np.isfinite(values).all(), f"{path}: a probability of zero has no logarithm")
    require((values <= 0).all(), f"{path}: a log P above 0, {values.max():g}")
    out = pd.DataFrame({
        "kind": path.stem.removeprefix("logits_"), "model": f"pythia-{found[1]}-deduped" if found[1] else found[2],
        "family": "pythia" if found[1] else "mamba", "parameters": parameters,
        "disease": _diseases(pd.Series([d for d, _, _ in rows]), names, path),
        "group": pd.Series([g for _, g, _ in rows]).replace(_GROUPS), "logp": values.mean(axis=1),
        "logp_odd": values[:, ::2].mean(axis=1), "logp_even": values[:, 1::2].mean(axis=1),
    })  # fmt: skip
    _once(out, ["disease", "group"], path)
    return out


def _diseases(written: pd.Series, names: dict[str, str], path: Path) -> pd.Series:
    unknown = written[~written.isin(names)]
    require(unknown.empty, f"{path}: disease {next(iter(unknown), '')!r}: not a name that is known from these files")
    return written.map(names)


def _pythia(size: str, path: Path) -> int:
    require(size in PYTHIA, f"{path}: Pythia {size!r}: no known size; known are {', '.join(PYTHIA)}")
    return PYTHIA[size]


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    number = pd.to_numeric(column, errors="coerce")
    wrong = column[number.isna()]
    require(wrong.empty, f"{path}: {column.name} {next(iter(wrong), '')!r} is no number")
    return number


def _whole(column: pd.Series, path: Path) -> pd.Series:
    number = _numbers(column, path)
    wrong = column[~np.isfinite(number) | (number < 0) | (number % 1 != 0) | (number > 2**53)]
    require(wrong.empty, f"{path}: {column.name} {next(iter(wrong), '')!r} is no whole number from 0 on")
    return number.astype(np.int64)


def _once(table: pd.DataFrame, keys: list[str], path: Path) -> None:
    twice = table[table.duplicated(keys)]
    first = "" if twice.empty else ", ".join(str(v) for v in twice[keys].iloc[0])
    require(twice.empty, f"{path}: {first} stands there twice")
