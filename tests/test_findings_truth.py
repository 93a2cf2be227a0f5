"""The recorded estimates from published records, computed again from the original files by plain pandas and SciPy."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pingouin
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tokenizers import Tokenizer

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "records"
RESULTS = Path(__file__).resolve().parents[1] / "results"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")

NGRAMS = [f"{n}-gram" for n in range(1, 6)]
LAYERS = {"14m": (6, 128), "31m": (6, 256), "70m": (6, 512), "160m": (12, 768), "410m": (24, 1024)}
LAYERS |= {"1b": (16, 2048), "1.4b": (24, 2048), "2.8b": (32, 2560), "6.9b": (32, 4096), "12b": (36, 5120)}
TEXT = {"1.4b": "14b", "2.8b": "28b", "6.9b": "69b", "12b": "120b"}
OLD = {"125m": "160m", "350m": "410m", "800m": "1b", "1.3b": "1.4b", "2.7b": "2.8b", "6.7b": "6.9b", "13b": "12b"}
CONTROLS = ["operand", "multiple_of_10", "multiple_of_5", "digits"]
GROUPS = {"hispanic": "hispanic/latino", "black": "black/african american", "white": "white/caucasian"}
GROUPS |= {"indigenous": "native american/indigenous"}
WINDOWS = ["10", "50", "100", "250"]


@cache
def recorded(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"records_{name}.csv", dtype={"group": str})


def as_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def only(pattern: str) -> Path:
    (path,) = DATA.glob(pattern)
    return path


def same(found, computed, atol: float = 1e-9) -> None:
    """Four significant digits were recorded; a missing number has to be missing in both."""
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(computed, float), rtol=6e-4, atol=atol)


def t_interval(values) -> list[float]:
    if len(values) < 2:
        return [np.nan, np.nan]
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return [np.mean(values) - half, np.mean(values) + half]


def parameters(model: str) -> int:
    """Weights of a Pythia model without its two embeddings."""
    layers, width = LAYERS[model.split("-")[1]]
    return 12 * layers * width**2 + 13 * layers * width + 2 * width


@pytest.mark.parametrize("name", ["phases", "peaks", "running_text", "added", "arithmetic", "bins", "pairs"])
def test_parameters_are_those_of_the_architecture(name):
    rows = recorded(name).drop_duplicates("model")
    pythia = rows["model"].str.startswith("pythia")
    assert rows["parameters"][pythia].tolist() == [parameters(model) for model in rows["model"][pythia]]


# Phases of training


@cache
def phases() -> pd.DataFrame:
    table = pd.read_csv(only("phases/*/analyses/all_cors.tsv"), sep="\t")
    table[["corpus", "n"]] = table["CorrelatingVariable"].str.extract(r"^(Pile|OpenWebText)_(\d)gram$")
    table = table.dropna(subset="n").astype({"n": int})
    model = table["ModelFamily"].str.replace("_", "-") + "-" + table["ModelSize"].str.replace("_", ".")
    return table.assign(model=model, corpus=table["corpus"].str.lower())


def test_phases_are_means_over_seeds():
    keys = ["model", "corpus", "n", "step"]
    mine = {}
    for key, rho in phases().rename(columns={"ModelStep": "step"}).groupby(keys)["SpearmanRho"]:
        ends = [rho.min(), rho.max()] if len(rho) > 1 else [np.nan, np.nan]
        mine[key] = [rho.mean(), *t_interval(rho), *ends, len(rho)]
    table = recorded("phases").set_index(keys)
    assert table.index.is_unique and set(table.index) == set(mine)
    same(table[["estimate", "low", "high", "lowest", "highest", "seeds"]], [mine[key] for key in table.index])
    assert (table["trained_on"].eq("pile") == table["family"].eq("pythia")).all()


def test_peaks_are_medians_and_means_over_seeds():
    keys = ["model", "corpus", "n"]
    mine = {}
    for key, rows in phases().groupby(keys):
        rho = rows.pivot(index="ModelSeed", columns="ModelStep", values="SpearmanRho")
        at, peak, final = rho.idxmax(axis=1), rho.max(axis=1), rho[rho.columns.max()]
        fall = peak - final
        mine[key] = [at.median(), at.min(), at.max(), peak.mean(), final.mean(), fall.mean()]
        mine[key] += [*t_interval(fall), len(rho)]
    table = recorded("peaks").set_index(keys)
    assert table.index.is_unique and set(table.index) == set(mine)
    columns = ["peak_step", "first", "last", "peak", "final", "fall", "low", "high", "seeds"]
    same(table[columns], [mine[key] for key in table.index])


# Running text


@cache
def words(model: str, context: str) -> pd.DataFrame:
    """Log-probabilities of the words that have a full context, of a model and of the n-grams."""
    keys = ["text_id", "word_id", "word"]
    size = model.removeprefix("pythia-")
    name = "gpt2-small" if model == "gpt2-small" else f"pythia-{TEXT.get(size, size)}"
    run = "naturalstories/*/checkpoints/rt"
    if context == "full":
        path, column = only(f"{run}/surprisals_rt_data/suprisal-natural_stories-{name}.tsv"), "surprisal"
    else:
        path = only(f"{run}/joint_full/natural_stories-{name}-ngram*/context-limited.tsv")
        column = f"context_limited_surprisal_context_{context}"
    tables = [
        pd.read_csv(p, sep="\t", keep_default_na=False).astype({"word": str})
        for p in (path, only(f"{run}/joint_full/*gpt2-small*/ngram.tsv"))
    ]
    both = tables[0].merge(tables[1], on=keys, validate="one_to_one")
    assert len(both) == len(tables[0]) == len(tables[1])
    both = both[both["word_id"] >= 5]
    counted = {name: -both[f"ngram_surprisal_context_{k}"] for k, name in enumerate(NGRAMS)}
    return pd.DataFrame({"model": -both[column], **counted, "letters": both["word"].str.len()})


@pytest.mark.parametrize("group", ["full", "1", "2", "3", "4"])
def test_running_text(group):
    rows = recorded("running_text").query("group == @group")
    sizes = ["70m", "160m", "410m", "1.4b", "2.8b", "6.9b"]
    assert set(rows["model"]) == {*[f"pythia-{s}" for s in sizes], "pythia-12b" if group == "full" else "gpt2-small"}
    assert not rows.duplicated(["model", "count_model", "measure"]).any()
    mine = []
    for row in rows.itertuples():
        table, given = words(row.model, group), row.measure.split("|")[1:]
        assert len(table) == row.points == 10206
        if given:
            controls = given[0].split("+")
            assert [c for c in controls if c != "letters"] == NGRAMS[: row.n - 1]
            result = pingouin.partial_corr(table, x=row.count_model, y="model", covar=controls, method="spearman")
            mine.append(result["r"].iloc[0])
        else:
            mine.append(stats.spearmanr(table[row.count_model], table["model"])[0])
    same(rows["estimate"], mine)


@pytest.mark.parametrize("model", [f"pythia-{size}" for size in ("70m", "160m", "410m", "1.4b", "2.8b", "6.9b", "12b")])
def test_variance_that_longer_ngrams_add(model):
    rows = recorded("added").query("model == @model").set_index("predictor")
    ranks = words(model, "full").rank()
    r2 = [sm.OLS(ranks["model"], sm.add_constant(ranks[NGRAMS[: n + 1]])).fit().rsquared for n in range(5)]
    same(rows.loc[NGRAMS, "r2"], r2)
    same(rows.loc[NGRAMS, "increment"], np.diff(r2, prepend=0))


# Arithmetic


@cache
def operands() -> pd.DataFrame:
    tokenizer = Tokenizer.from_file(str(DATA.parent / "tokenizers" / "20B_tokenizer.json"))
    counts = np.load(only("arithmetic/*/data/the_pile_16k_unigrams.npy")).ravel().astype(float)
    number = np.arange(100)
    return pd.DataFrame(
        {
            "token after a space": [counts[tokenizer.token_to_id(f"Ġ{i}")] for i in number],
            "token alone": [counts[tokenizer.token_to_id(f"{i}")] for i in number],
            "operand": number,
            "multiple_of_10": (number % 10 == 0).astype(int),
            "multiple_of_5": (number % 5 == 0).astype(int),
            "digits": (number >= 10).astype(int),
        }
    )


@cache
def accuracies() -> dict[tuple, np.ndarray]:
    """Accuracy by operand for each model, step, task and number of shots; a rerun wins, else the later part."""
    tables = []
    for path in DATA.glob("arithmetic/*/evals/csv/*/*term_frquency_all_shots*.csv"):
        priority = "z" if path.name.startswith("redo") else path.stem.removeprefix("term_frquency_all_shots")
        tables.append(pd.read_csv(path).assign(priority=priority))
    table = pd.concat(tables).sort_values("priority", kind="stable")
    table[["task", "operand"]] = table["task"].str.extract(r"^num_reasoning_arithmetic_([a-z]+)_(\d+)$")
    size = table["model"].str.extract(r"pythia-(?:v1\.1-)?([\d.]+[mb])-deduped$")[0]
    new = table["model"].str.contains("v1.1", regex=False)
    table["model"] = "pythia-" + size.where(new, size.map(OLD)) + np.where(new, "-deduped", "-deduped-v0")
    keys = ["model", "checkpoint", "task", "fewshot"]
    table = table.astype({"operand": int}).drop_duplicates([*keys, "operand"], keep="last")
    wide = table.pivot(index=keys, columns="operand", values="acc")
    assert wide.columns.tolist() == list(range(100)) and wide.notna().all(axis=None)
    return {key: row.to_numpy() for key, row in wide.iterrows()}


def test_every_arithmetic_result_has_its_rows():
    table = recorded("arithmetic")
    assert not table.duplicated(["model", "step", "task", "shots", "items", "count_model", "measure"]).any()
    assert (table["group"] == table["shots"].astype(str) + " shots").all()
    assert ((table["release"] == "v0") == table["model"].str.endswith("-v0")).all()
    keys = ["model", "step", "task", "shots"]
    one = table[(table["items"] == "0–99") & (table["count_model"] == "token after a space")]
    for measure in ("spearman", "spearman|" + "+".join(CONTROLS)):
        assert set(one[one["measure"] == measure][keys].itertuples(index=False, name=None)) == set(accuracies())
    last = {key for key in accuracies() if key[1] == 143000}
    assert set(recorded("bins")[keys].itertuples(index=False, name=None)) == last


MODELS = [f"pythia-{size}-deduped-v0" for size in OLD.values()]
MODELS += [f"pythia-{size}-deduped" for size in list(LAYERS)[2:]]


@cache
def results(model: str, step: int, task: str, shots: int, items: str) -> pd.DataFrame:
    table = operands().assign(score=accuracies()[model, step, task, shots])
    return table[table["operand"] >= int(items.split("–")[0])]


def of_row(row) -> pd.DataFrame:
    return results(row.model, row.step, row.task, row.shots, row.items)


@pytest.mark.parametrize("model", MODELS)
def test_accuracy_and_count(model):
    rows = recorded("arithmetic").query("model == @model")
    mine = []
    for row in rows.itertuples():
        table, given = of_row(row), row.measure.split("|")[1:]
        assert len(table) == row.points
        if table["score"].nunique() == 1:
            mine.append(np.nan)
        elif given:
            # A control with the same value for every operand says nothing, and its variance of 0 has no inverse.
            controls = [c for c in given[0].split("+") if c in table and table[c].nunique() > 1]
            if given == ["tens+units"]:
                digits = pd.DataFrame({"tens": table["operand"] // 10, "units": table["operand"] % 10}).astype(str)
                dummies = pd.get_dummies(digits, drop_first=True, dtype=float)
                table, controls = table.join(dummies), list(dummies)
            result = pingouin.partial_corr(table, x=row.count_model, y="score", covar=controls, method="spearman")
            mine.append(result["r"].iloc[0])
        else:
            mine.append(stats.spearmanr(table[row.count_model], table["score"])[0])
    same(rows["estimate"], mine)
    assert (rows["reason"].eq("accuracy is constant") == np.isnan(mine)).all()


@pytest.mark.parametrize("items", ["0–99", "10–99"])
def test_accuracy_is_that_of_the_operands_in_the_row(items):
    rows = recorded("arithmetic").query("items == @items")
    scores = [of_row(row)["score"] for row in rows.itertuples()]
    same(rows[["score", "floor", "ceiling"]], [[s.mean(), (s == 0).mean(), (s == 1).mean()] for s in scores])


@pytest.mark.parametrize("model", MODELS)
def test_bins_of_operands(model):
    order = operands()["token after a space"].argsort(kind="stable").to_numpy().reshape(10, 10)
    medians = np.median(operands()["token after a space"].to_numpy()[order], axis=1)
    for (task, shots), rows in recorded("bins").query("model == @model").groupby(["task", "shots"]):
        rows = rows.sort_values("bin")
        assert (rows["step"] == 143000).all() and rows["bin"].tolist() == list(range(10))
        same(rows["count"], medians)
        same(rows["score"], accuracies()[model, 143000, task, shots][order].mean(axis=1))


def test_operands_count_and_controls_go_together():
    rows = recorded("operands")
    pairs = list(zip(rows["count_model"], rows["with"], strict=True))
    same(rows["estimate"], [stats.spearmanr(operands()[a], operands()[b])[0] for a, b in pairs])
    expected = [(a, b) for a in ("token after a space", "token alone") for b in CONTROLS]
    assert sorted(pairs) == sorted([*expected, ("token after a space", "token alone")])


# Pairs


@cache
def disease(found_in: str) -> dict[str, str]:
    names = as_text(DATA / "crosscare" / "disease_names.csv")
    return dict(names[names["found_in"] == found_in][["written", "disease"]].itertuples(index=False, name=None))


@cache
def pair_counts(task: str, window: str) -> pd.Series:
    table = as_text(only(f"crosscare/**/aggregated_{task}_{'counts' if window == 'document' else window}.csv"))
    if window == "document":
        columns = [c for c in table if c not in ("Unnamed: 0", "Disease")]
        table = table.melt("Disease", columns, "Demographics", "Counts")
    table["Disease"] = table["Disease"].map(disease("counts"))
    assert table["Disease"].notna().all()
    return table.set_index(["Disease", "Demographics"])["Counts"].astype(float)


@cache
def cells(task: str, window: str, model: str) -> tuple[pd.DataFrame, np.ndarray]:
    """One row for each disease and group with its count, and the log-probabilities of the twenty templates."""
    path = only(f"crosscare/**/logits/*{model}/logits_{task}.json")
    counts = pair_counts(task, window)
    listed = set(counts.index.get_level_values(0))
    if window != "document":
        listed = {name for w in WINDOWS for name in pair_counts(task, w).index.get_level_values(0)}
    rows, templates = [], []
    for name, groups in json.loads(path.read_text(encoding="utf-8")).items():
        for written, log_p in groups:
            pair = disease("logits")[name], GROUPS.get(written, written)
            if written != "non-binary" and pair[0] in listed:
                rows.append((*pair, counts.get(pair, 0.0)))
                templates.append(log_p)
    table = pd.DataFrame(rows, columns=["disease", "group", "count"])
    assert not table.duplicated(["disease", "group"]).any() and set(table["disease"]) == listed
    assert set(table["group"]) == set(counts.index.get_level_values(1)) - {"non-binary"}
    return table, np.array(templates)


def taken_out(values: np.ndarray, table: pd.DataFrame, factors: list[str]) -> np.ndarray:
    """What ordinary least squares on dummies of the factors leaves, rounded so that ties stay ties."""
    if not factors:
        return values
    dummies = pd.get_dummies(table[factors], drop_first=True, dtype=float)
    design = np.column_stack([np.ones(len(table)), dummies])
    return (values - design @ np.linalg.lstsq(design, values)[0]).round(9)


def pair_correlations(task: str, window: str, model: str, measure: str) -> tuple[float, float]:
    """The correlation, and (but of ranks) the reliability of log P from templates at even and odd places."""
    table, templates = cells(task, window, model)
    factors = measure.removesuffix(", of ranks").partition("|")[2].split("+") if "|" in measure else []
    sides = [templates.mean(1), np.log1p(table["count"]), templates[:, ::2].mean(1), templates[:, 1::2].mean(1)]
    values = np.column_stack(sides)
    if measure.endswith("of ranks"):
        log_p, count, *_ = taken_out(stats.rankdata(values, axis=0), table, factors).T
        return stats.pearsonr(log_p, count)[0], np.nan
    log_p, count, even, odd = taken_out(values, table, factors).T
    r = stats.spearmanr(log_p, count)[0]
    half = stats.spearmanr(even, odd)[0]
    return r, 2 * half / (1 + half) if half > 0 else half


@pytest.mark.parametrize("window", [*WINDOWS, "document"])
@pytest.mark.parametrize("task", ["gender", "race"])
def test_pairs(task, window):
    rows = recorded("pairs").query("task == @task and group == @window")
    assert len(rows) == 5 * len(list(DATA.glob(f"crosscare/**/logits/*/logits_{task}.json")))
    assert not rows.duplicated(["model", "measure"]).any()
    mine = [pair_correlations(task, window, row.model, row.measure) for row in rows.itertuples()]
    same(rows[["estimate", "reliability"]], mine)
    tables = {model: cells(task, window, model)[0] for model in rows["model"].unique()}
    same(rows["zero_share"], [(tables[model]["count"] == 0).mean() for model in rows["model"]])
    assert rows["points"].tolist() == [len(tables[model]) for model in rows["model"]]


# Slopes by size


def test_slopes_of_phases_have_t_intervals():
    last = phases().query("ModelFamily == 'pythia' and ModelStep == 143000")
    means = last.groupby(["corpus", "n", "model"])["SpearmanRho"].mean()
    rows, mine = recorded("slopes").query("task == 'phases'"), []
    for row in rows.itertuples():
        rho = means.loc[row.group, int(row.count_model[0])]
        rho = rho if row.sizes == "all" else rho.drop(["pythia-14m", "pythia-31m"])
        fit = stats.linregress(np.log10([parameters(model) for model in rho.index]), rho)
        half = stats.t.ppf(0.975, len(rho) - 2) * fit.stderr
        mine.append([len(rho), fit.slope, fit.slope - half, fit.slope + half, fit.pvalue])
    same(rows[["models", "slope", "low", "high", "p"]], mine, atol=0)
    same(rows["p_holm"], multipletests(rows["p"], method="holm")[1], atol=0)


@pytest.mark.parametrize("name", ["running_text", "arithmetic", "pairs"])
def test_slopes_of_recorded_estimates(name):
    table = recorded(name)
    table = table[table["model"].str.startswith("pythia") & table["estimate"].notna()]
    if name == "arithmetic":
        table = table[(table["release"] == "v1.1") & (table["items"] == "0–99")]
    keys = ["task", "group", "count_model", "measure", "step"]
    mine = {}
    for key, rows in table.groupby(keys):
        if len(rows) > 2:
            fit = stats.linregress(np.log10([parameters(model) for model in rows["model"]]), rows["estimate"])
            half = stats.t.ppf(0.975, len(rows) - 2) * fit.stderr
            mine[key] = [len(rows), fit.slope, fit.slope - half, fit.slope + half]
    slopes = recorded("slopes").set_index(keys)
    slopes = slopes[slopes.index.get_level_values("task").isin(table["task"].unique())]
    assert slopes.index.is_unique and set(slopes.index) == set(mine)
    columns = ["models", "slope", "low_sizes", "high_sizes"]
    same(slopes[columns], [mine[key] for key in slopes.index], atol=1e-3)
