"""Published records of real models and real text: original files in, tidy frames out.

No file of these records is part of this project: ``taskgram records --out FOLDER`` fetches them by
commit from the repositories that :func:`sources` lists. Every reader takes that folder and, where
it is not the project's own, the list of its files; it checks their sha256 before it reads them.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

from taskgram_utils.errors import InputError, require
from taskgram_utils.fetching import place, sources, table_of_text

PYTHIA = {
    "14m": 1_189_888, "31m": 4_739_072, "70m": 18_915_328, "160m": 85_056_000,
    "410m": 302_311_424, "1b": 805_736_448, "1.4b": 1_208_602_624, "2.8b": 2_517_652_480,
    "6.9b": 6_444_163_072, "12b": 11_327_027_200,
}
"""Parameters without input embedding and output head, 12 L d² + 13 L d + 2 d, as in the model
cards."""
LAST_STEP = 143_000
DOCUMENT = "document"
"""The window of pairs that is a whole document."""
_PUBLISHED = Path(__file__).resolve().parent / "published"
_OLD_NAMES = {"125m": "160m", "350m": "410m", "800m": "1b", "1.3b": "1.4b", "2.7b": "2.8b",
              "6.7b": "6.9b", "13b": "12b"}  # what the first release called the sizes
_WITHOUT_POINT = {"14b": "1.4b", "28b": "2.8b", "69b": "6.9b", "120b": "12b"}
_GROUPS = {"hispanic": "hispanic/latino", "black": "black/african american",
           "white": "white/caucasian", "indigenous": "native american/indigenous"}
_PAIR = ["disease", "group"]
_RUN = ["model", "step", "task", "shots", "item"]


def files(folder: str | Path, name: str, listed: pd.DataFrame | None = None) -> list[Path]:
    """The files of one set. Raises InputError, naming the file, where one is missing or is not the
    file of the listed commit."""
    folder, listed = Path(folder), sources() if listed is None else listed
    command = f"taskgram records --out {folder}"
    require(folder.is_dir(), f"records {folder}: no such folder; {command} fetches them")
    paths = []
    for _, row in listed[listed["set"] == name].iterrows():
        path = folder / place(row)
        require(path.is_file(), f"{path}: is missing; {command} fetches it")
        require(pooch.file_hash(path) == row["sha256"],
                f"{path}: altered, or of another commit than {row['commit'][:12]} of {row['repo']} "
                f"(its sha256 differs); remove it, and {command} fetches it again")
        paths.append(path)
    return paths


def _parts(paths: Sequence[Path], read: Callable[[Path], pd.DataFrame]) -> list[pd.DataFrame]:
    """What ``read`` makes of each file. What goes wrong becomes one line that names the file."""
    parts = []
    for path in paths:
        try:
            parts.append(read(path))
        except InputError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, EOFError) as error:
            raise InputError(f"{path}: not in the form of its set ({error})") from error
    return parts


def _size(size: str, path: Path) -> int:
    """The parameters of a Pythia size."""
    known = ", ".join(PYTHIA)
    require(size in PYTHIA, f"{path}: Pythia {size!r}: no known size; known are {known}")
    return PYTHIA[size]


def _known(names: pd.Series, known: pd.Series, path: Path) -> None:
    """Raises InputError for a name that is not known."""
    unknown = next(iter(names[~known]), None)
    require(unknown is None, f"{path}: {names.name} {unknown!r}: not a name known from these files")


def _joined(parts: Sequence[pd.DataFrame], keys: list[str], value: str, path: Path) -> pd.DataFrame:
    """The parts as one table. Raises InputError where keys repeat or a value is not finite."""
    require(parts, f"{path}: no file of it is listed")
    table = pd.concat(parts, ignore_index=True)
    repeated = table.loc[table.duplicated(keys), keys].astype(str).agg(", ".join, axis=1)
    require(repeated.empty, f"{path}: more than one row for {next(iter(repeated), '')}")
    finite = np.isfinite(table[value]).all()
    require(finite, f"{path}: {value} is not finite; a probability of zero has no logarithm")
    return table


def phases(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Correlations of log P with n-gram log P over more than 110,000 words in context, by training
    step (Michaelov, Levy and Bergen 2025).

    A row per family, model, parameters, seed (text), step, corpus (of the n-grams: ``pile``,
    ``openwebtext``) and n: ``spearman``, ``pearson``. ``trained_on`` is the model's own corpus.
    There are no items in this file, so intervals can come from seeds alone; sizes are written
    ``1_4b``; what else it correlates with (word vectors) is left out. Raises InputError for a size
    that is not known or a correlation that is none.
    """
    parts = _parts(files(folder, "phases", listed), _phases)
    keys = ["model", "seed", "step", "corpus", "n"]
    return _joined(parts, keys, "spearman", Path(folder) / "phases")


def _phases(path: Path) -> pd.DataFrame:
    columns = ["ModelFamily", "ModelSize", "ModelSeed", "ModelStep", "CorrelatingVariable",
               "PearsonR", "SpearmanRho"]
    table = table_of_text(path, sep="\t", usecols=columns)
    ngrams = table["CorrelatingVariable"].str.extract(r"^(Pile|OpenWebText)_([1-5])gram$")
    table = table[ngrams.notna().all(axis=1)].join(ngrams)
    family, size = table["ModelFamily"], table["ModelSize"].str.replace("_", ".")
    pythia = family.str.contains("pythia")
    parameters = {name: _size(name, path) for name in size[pythia].unique()}
    return pd.DataFrame({
        "family": family, "model": family.str.replace("_", "-") + "-" + size,
        "parameters": size.map(parameters).where(pythia).astype(float),
        "seed": table["ModelSeed"].str.removeprefix("seed"), "step": table["ModelStep"].astype(int),
        "trained_on": np.where(family == "pythia", "pile", "openwebtext"),
        "corpus": table[0].str.lower(), "n": table[1].astype(int),
        "spearman": table["SpearmanRho"].astype(float), "pearson": table["PearsonR"].astype(float),
    })


def running_text(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """log P of the words of ten stories (Natural Stories) under Pythia and under n-grams of the
    Pile.

    A row per model (``pythia-…``, ``gpt2-small``, ``1-gram`` … ``5-gram``), context (``full`` or
    the number of words before) and item (``text:position``): parameters, step, n (of n-grams),
    text, position, word, logp (nats), corpus. Files called 14b, 28b, 69b, 120b are 1.4b, 2.8b,
    6.9b, 12b; of the two columns of surprisal the one that its authors call buggy is not read; the
    first five words of each text have no full context and are left out; 12b has the full context
    only, and so have n-grams theirs alone (n - 1 words, ``full`` here). N-grams back off: where one
    was not found, log P is that of the shorter one plus log .4; :func:`backed_off` tells how often
    that is. The text is under copyright: words are there to resample by, never show runs of them.
    Raises InputError for a name that is no model, files with different words, and a probability of
    zero.
    """
    parts = _parts(files(folder, "naturalstories", listed), _words)
    keys = ["model", "context", "item"]
    table = _joined(parts, keys, "logp", Path(folder) / "naturalstories")
    return table[table["position"] >= 5].reset_index(drop=True)


def _words(path: Path) -> pd.DataFrame:
    """log P of the words of one file of :func:`running_text`, whose columns are surprisals."""
    known = {"parameters": np.nan, "step": np.nan, "n": np.nan, "context": "full", "corpus": "pile"}
    if path.name == "ngram.tsv":
        columns = {f"ngram_surprisal_context_{n - 1}": {"model": f"{n}-gram", "n": float(n)}
                   for n in range(1, 6)}
    else:
        columns, name = {"surprisal": {}}, path.stem
        if path.name == "context-limited.tsv":
            columns = {f"context_limited_surprisal_context_{k}": {"context": str(k)}
                       for k in range(1, 5)}
            name = path.parent.name
        written = re.search(r"natural_stories-(?:pythia-(\w+?)|gpt2-small)(?:-ngram|$)", name)
        require(written, f"{path}: no name of a model in {name}")
        known |= {"model": "gpt2-small", "corpus": "webtext"}
        if written[1]:
            size = _WITHOUT_POINT.get(written[1], written[1])
            known |= {"model": f"pythia-{size}", "parameters": float(_size(size, path)),
                      "step": float(LAST_STEP), "corpus": "pile"}
    words = ["text_id", "word_id", "word"]
    table = table_of_text(path, sep="\t", quoting=3, usecols=[*words, *columns])
    known |= {"text": table["text_id"], "position": table["word_id"].astype(int),
              "word": table["word"], "item": table["text_id"] + ":" + table["word_id"]}
    return pd.concat([pd.DataFrame({**known, **own, "logp": -table[column].astype(float)})
                      for column, own in columns.items()])


def backed_off(text: pd.DataFrame) -> pd.DataFrame:
    """Of the n-grams of :func:`running_text`, n from 2 on: the ``share`` of words whose log P is
    the shorter n-gram's plus log .4, for the longer one was not found."""
    wide = text[text["n"].notna()].pivot(index="item", columns="n", values="logp")
    share = {int(n): np.isclose(wide[n] - wide[n - 1], np.log(0.4), atol=1e-4).mean()
             for n in wide if n > 1}
    return pd.DataFrame({"n": share.keys(), "share": share.values(), "words": len(wide)})


def arithmetic(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracy of Pythia on sums and products that begin with a number, and how often the Pile has
    the number's token.

    A row per model, parameters, release (``v1.1``, ``v0``), step, task (``addition``,
    ``multiplication``), shots and item (the first operand, 0…99): ``score`` (accuracy over 50
    prompts), ``count`` (occurrences of the token of the number after a space), ``count_alone`` (of
    the token without a space), ``unit``, ``corpus``. 12b lies in several files: what was run again
    (``redo…``) wins, else the later part; :func:`reruns` says how they differ. Models of release v0
    carry the sizes' later names and the ending ``-v0``. The Pile counted (its first 16,000 batches
    of 1,024 × 2,049 tokens) is not deduplicated; that of these models is. Raises InputError for a
    name of a model, task or number that is not known, and for a count of zero.
    """
    paths = files(folder, "arithmetic", listed)
    numbers = table_of_text(_PUBLISHED / "number_tokens.csv").astype(int)
    counted = [path for path in paths if path.suffix == ".npy"]
    require(len(counted) == 1, f"{folder}: {len(counted)} files of counts (.npy), one is needed")
    [count] = _parts(counted, lambda path: np.load(path, allow_pickle=False).ravel())
    whole = count.size > numbers.max(axis=None)
    require(whole, f"{counted[0]}: not a count for every token of the vocabulary")
    counts = pd.DataFrame({"item": numbers["number"], "count": count[numbers["after_space"]],
                           "count_alone": count[numbers["alone"]]}).astype(np.int64)
    positive = (counts[["count", "count_alone"]] > 0).all(axis=None)
    require(positive, f"{counted[0]}: a number has a count of 0, which has no logarithm")
    scores = _scores(paths).drop_duplicates(_RUN, keep="last").drop(columns="file")
    table = scores.merge(counts, on="item", how="left")
    return table.assign(unit="occurrences", corpus="pile, first 16,000 batches")


def reruns(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Scores of :func:`arithmetic` that were measured twice: ``score`` as it is used, ``replaced``
    and ``change``."""
    rows = _scores(files(folder, "arithmetic", listed))
    rows["replaced"] = rows.groupby(_RUN, dropna=False)["score"].shift()
    last = rows.drop_duplicates(_RUN, keep="last").dropna(subset=["replaced"])
    return last.assign(change=last["score"] - last["replaced"]).reset_index(drop=True)


def _scores(paths: Sequence[Path]) -> pd.DataFrame:
    """All scores of :func:`arithmetic`; of one run in two files the row that counts comes last."""
    tables = [path for path in paths if path.suffix == ".csv"]
    # Parts in their order, then what was run again.
    tables.sort(key=lambda path: (path.parent, path.name.startswith("redo"), path.stem))
    return pd.concat(_parts(tables, _scores_of), ignore_index=True)


def _scores_of(path: Path) -> pd.DataFrame:
    table = table_of_text(path, usecols=["model", "checkpoint", "task", "fewshot", "acc"])
    names = {name: _arithmetic_model(name, path) for name in table["model"].unique()}
    task = table["task"].str.extract(r"arithmetic_(addition|multiplication)_(\d{1,2})$")
    _known(table["task"], task[0].notna(), path)
    return pd.DataFrame(table["model"].map(names).tolist()).assign(
        step=table["checkpoint"].astype(int), task=task[0], shots=table["fewshot"].astype(int),
        item=task[1].astype(int), score=table["acc"].astype(float), prompts=50, file=path.name)


def _arithmetic_model(name: str, path: Path) -> dict[str, str | float]:
    """Model, parameters and release from a name such as EleutherAI/pythia-v1.1-70m-deduped."""
    written = re.fullmatch(r"EleutherAI/pythia-(v1\.1-)?([\d.]+[mb])-deduped", name)
    require(written, f"{path}: model {name!r}: not the name of a deduplicated Pythia")
    size = written[2] if written[1] else _OLD_NAMES.get(written[2], written[2])
    release, ending = ("v1.1", "") if written[1] else ("v0", "-v0")
    return {"model": f"pythia-{size}-deduped{ending}", "parameters": float(_size(size, path)),
            "release": release}


def pairs(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """log P of sentences that name a disease and a group of people, and how often the Pile has the
    two together.

    A row per kind (``gender``, ``race``), model, parameters, disease, group and window: ``logp``
    (nats, the mean of 20 sentence templates), ``logp_odd`` and ``logp_even`` (of every other
    template), ``count``, ``unit``, ``corpus``. Windows are 10, 50, 100, 250 words around a mention
    of the disease, and ``document``, whose count is the sum over documents of mentions times
    mentions and no number of documents. A pair that a file of windows does not list was never seen:
    its count is 0. A disease that no window of its kind lists was not counted there and is left
    out. Names of diseases differ between the files and are mapped; ``non-binary``, nearly empty, is
    left out of ``gender``. The groups' terms in the Pile are many and broad (he, him, white), the
    templates' words are others. These are associations in a sensitive field and no facts about
    people. Counts of 0 are why log(1 + count) is what the chapter takes. Raises InputError for a
    name that is not known, templates that differ in number, and a probability of zero.
    """
    paths, where = files(folder, "crosscare", listed), Path(folder) / "crosscare"
    counts = _parts([path for path in paths if path.suffix == ".csv"], _pair_counts)
    logps = _parts([path for path in paths if path.suffix == ".json"], _pair_logp)
    count = _joined(counts, ["kind", "window", *_PAIR], "count", where)
    logp = _joined(logps, ["kind", "model", *_PAIR], "logp", where)
    _known(logp["group"], logp["group"].isin(count["group"]), where)
    out = logp.merge(_with_zeros(count), on=["kind", *_PAIR]).query("group != 'non-binary'")
    words = "window:" + out["window"]
    out["unit"] = np.where(out["window"] == DOCUMENT, "document products", words)
    return out.assign(step=LAST_STEP, corpus="pile").reset_index(drop=True)


def _with_zeros(listed: pd.DataFrame) -> pd.DataFrame:
    """Every disease with every group in every window of a kind: 0 where the kind lists the disease
    in another window alone. A whole document is a kind of its own."""
    parts = []
    for (kind, _), part in listed.groupby(["kind", listed["window"] == DOCUMENT]):
        keys = [*_PAIR, "window"]
        every = pd.MultiIndex.from_product([part[key].unique() for key in keys], names=keys)
        full = part.set_index(keys)["count"].reindex(every, fill_value=0).reset_index()
        parts.append(full.assign(kind=kind))
    return pd.concat(parts, ignore_index=True)


def _pair_counts(path: Path) -> pd.DataFrame:
    written = re.fullmatch(r"aggregated_(gender|race)_(\d+|counts)\.csv", path.name)
    require(written, f"{path}: not the name of a file of counts")
    table, window = table_of_text(path), written[2]
    if window == "counts":  # one column for each group, after one of row numbers
        table = table.iloc[:, 1:].melt("Disease", var_name="Demographics", value_name="Counts")
        window = DOCUMENT
    return pd.DataFrame({
        "kind": written[1], "window": window, "group": table["Demographics"],
        "disease": _diseases(table["Disease"], "counts", path),
        "count": table["Counts"].astype(float).astype(np.int64)})


def _pair_logp(path: Path) -> pd.DataFrame:
    name = path.parent.name
    written = re.fullmatch(
        r"EleutherAI_(pythia)-([\d.]+[mb])-deduped|state-spaces_((mamba)-[\d.]+[mb])", name)
    require(written, f"{path}: no name of a model in {name}")
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [(disease, group, logp) for disease, groups in content.items() for group, logp in groups]
    diseases, groups, logps = zip(*rows, strict=True)
    values = np.array(logps, float)  # [pairs, templates]
    return pd.DataFrame({
        "kind": path.stem.removeprefix("logits_"),
        "model": written[3] or f"pythia-{written[2]}-deduped", "family": written[1] or written[4],
        "parameters": float(_size(written[2], path)) if written[2] else np.nan,
        "disease": _diseases(pd.Series(diseases), "logits", path),
        "group": pd.Series(groups).replace(_GROUPS), "logp": values.mean(axis=1),
        "logp_odd": values[:, ::2].mean(axis=1), "logp_even": values[:, 1::2].mean(axis=1)})


def _diseases(written: pd.Series, kind: str, path: Path) -> pd.Series:
    """One name for each disease, from those in files of a kind (``counts`` or ``logits``)."""
    names = table_of_text(_PUBLISHED / "disease_names.csv")
    names = names[names["found_in"] == kind].set_index("written")["disease"]
    _known(written.rename("disease"), written.isin(names.index), path)
    return written.map(names)


PRINTED = {1: 0, 4: 1, 16: 4, 64: 16, 256: 64, 1024: 256}
"""What the tables that :func:`insertions` reads print for a number of insertions: its place on the
axis of a figure, 1 for none and four times the number for any other. The figures' labels say the
number itself."""
ASKED = {"biographies": (2500, 893, 893, 446, 179, 89), "chats": (2000, 714, 714, 357, 143, 72),
         "test set": (4000, 1429, 1429, 714, 286, 143)}
"""Texts inserted 0, 1, 4, 16, 64 and 256 times: the smallest numbers of which all printed
accuracies are whole multiples."""
_KINDS = {"yago": "biographies", "mmlu": "test set", "personachat": "chats",
          "wikipedia": "passages", "gutenberg": "passages"}
_TITLE = re.compile(rf"(?:\[DEBUG\] |')?((?:{'|'.join(_KINDS)})\w+)(?:'|: mean:.*| (\w+))?")
_MODEL = re.compile(r"([18])B(?:-|, )(?:([15]00)B-)?perturbed( \(paraphrase\))?")


def insertions(folder: str | Path, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """What models know of texts that were inserted into their corpus a number of times drawn by
    lot (Hubble, Wei et al. 2025), as the outputs of the authors' notebook print it.

    A row per kind (``biographies``, ``test set``, ``passages``, ``chats``), task (the printed
    name), fact (what is asked of a biography; ``all``: seven facts together), measure, inserted
    (``verbatim``, ``paraphrased``), parameters, tokens of the corpus and insertions (0…256):
    ``mean`` over the texts and ``n``, their number where the means tell it (:data:`ASKED`; of
    ``all`` the biographies too). Measures: ``acc…``, ``prefix_match``, ``exact_match…`` (right or
    wrong), ``squad_recall``, ``rougeL…`` (0…1), ``byte_perplexity`` (which is log P in nats a
    byte) and ``perplexity`` (log P too). Tables print other numbers of insertions than were made
    (:data:`PRINTED`). Raises InputError for a notebook without these tables.
    """
    keys = ["kind", "task", "fact", "measure", "inserted", "parameters", "tokens", "insertions"]
    parts = _parts(files(folder, "hubble", listed), _printed)
    return _joined(parts, keys, "mean", Path(folder) / "hubble")


def _printed(path: Path) -> pd.DataFrame:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [out for cell in (29, 45, 74, 77) for out in cells[cell]["outputs"]]
    texts = ["".join(out.get("text") or out["data"]["text/plain"]) for out in outputs]
    rows, table, begun, model, times = [], {}, 0, None, None
    for line in "\n".join(texts).split("\n"):
        if title := _TITLE.fullmatch(line):
            kind = _KINDS[title[1].split("_")[0]]
            table, begun = {"kind": kind, "task": title[1], "fact": title[2] or "all"}, len(rows)
        if name := re.match(r"Name: (\w+),", line):
            for row in rows[begun:]:
                row["measure"] = name[1]
            table = {}  # what stands between two tables is none
        if value := re.search(r"\s(-?\d+\.\d+)$", line) if table else None:
            # Of the two names of a row the first is printed once for all rows that share it.
            model = _MODEL.search(line) or model
            times = re.search(r"(?<![\w.-])(\d+)\s", line) or times
            rows.append({**table, "inserted": "paraphrased" if model[3] else "verbatim",
                         "parameters": int(model[1]) * 10**9,
                         "tokens": int(model[2] or 100) * 10**9,
                         "insertions": PRINTED[int(times[1])], "mean": float(value[1])})
    out = pd.DataFrame(rows)
    place = out["insertions"].map({times: i for i, times in enumerate(PRINTED.values())})
    known = out["kind"].isin(ASKED) & ~out["measure"].str.contains("perplexity")
    out["n"] = [ASKED[kind][i] if k else np.nan
                for kind, i, k in zip(out["kind"], place, known, strict=True)]
    return out
