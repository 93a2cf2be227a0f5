"""What published records say of real models, as tables of estimates with intervals."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from taskgram_chapters import records
from taskgram_utils.controls import incremental_r2
from taskgram_utils.errors import require
from taskgram_utils.factors import blocks, without_means
from taskgram_utils.jackknife import (
    LEAST, LEVEL, NO_INTERVAL, Changes, Clusters, Query, clusters_of, interval, jackknife,
)
from taskgram_utils.memorization import Estimates, slopes
from taskgram_utils.performance import mean_interval
from taskgram_utils.statistics import holm, split_half_reliability

BLOCK = 50
"""Words of running text in a block: some sentences, a fifth of the shortest distance at which a
story turns."""
NGRAMS = [f"{n}-gram" for n in range(1, 6)]
CONTROLS = ["operand", "multiple_of_10", "multiple_of_5", "digits"]
TOKENS = {"count": "token after a space", "count_alone": "token alone"}
_CENTRED = {
    "spearman": (), "spearman|disease": ("disease",), "spearman|group": ("group",),
    "spearman|disease+group": ("disease", "group"),
    "spearman|disease+group, of ranks": ("disease", "group"),
}


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it is recorded: four significant digits, counts and sizes whole."""
    out = table.dropna(axis=1, how="all").copy()
    for column in out.select_dtypes("number"):
        numbers = out[column].astype(float)
        whole = (numbers.dropna() % 1 == 0).all()
        out[column] = numbers.astype("Int64") if whole else numbers.map(lambda v: float(f"{v:.4g}"))
    return out


def findings(
    folder: str | Path, listed: pd.DataFrame | None = None,
    report: Callable[[str], object] = lambda name: None,
) -> dict[str, pd.DataFrame]:
    """All tables from a folder of records, by name.

    ``report`` hears the name of each set before it is read. Raises InputError as the readers of
    :mod:`~taskgram_chapters.records` do.
    """
    report("phases")
    curves = records.phases(folder, listed)
    report("naturalstories")
    text = records.running_text(folder, listed)
    report("arithmetic")
    sums, twice = records.arithmetic(folder, listed), records.reruns(folder, listed)
    report("crosscare")
    of_pairs = pairs(records.pairs(folder, listed))
    of_text, of_sums, means = running_text(text), arithmetic(sums), phases(curves)
    sized = [phase_slopes(means), *map(by_size, (of_text, of_sums, of_pairs))]
    return {
        "phases": means, "peaks": peaks(curves), "running_text": of_text.table,
        "added": added(text), "arithmetic": of_sums.table, "bins": bins(sums),
        "operands": operands(sums), "reruns": reruns(twice), "pairs": of_pairs.table,
        "slopes": pd.concat(sized, ignore_index=True), "backed_off": records.backed_off(text),
    }


def phases(curves: pd.DataFrame) -> pd.DataFrame:
    """Spearman of log P and n-gram log P by model, step, corpus of the n-grams and n: the mean
    over seeds.

    ``low`` and ``high``: Student's interval of the mean over ``seeds``; ``lowest`` and
    ``highest``: their range. One seed has neither. The points behind a correlation are not in the
    records, so no interval is of them.
    """
    keys = ["family", "model", "parameters", "trained_on", "corpus", "n", "step"]
    rows = []
    for key, part in _groups(curves, keys):
        row = {**key, "measure": "spearman", **_mean(part["spearman"])}
        if len(part) > 1:
            row |= {"lowest": part["spearman"].min(), "highest": part["spearman"].max()}
        rows.append(row)
    order = ["family", "parameters", "model", "corpus", "n", "step"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def peaks(curves: pd.DataFrame) -> pd.DataFrame:
    """The step at which a model follows n-grams of each order most, seed by seed: median, first
    and last step; the height there (``peak``) and at the last step (``final``), and the ``fall``
    between them with Student's interval over seeds. The grid of steps is coarse, and a maximum
    over steps is biased upwards: ``fall`` is never below 0. ``runs_in_turn``: the model's runs in
    which no longer n-gram peaks before a shorter one."""
    keys = ["family", "model", "parameters", "trained_on", "corpus", "n"]
    runs = curves.sort_values("step").groupby(["model", "corpus", "seed", "n"])
    peak = runs[["step", "spearman"]].apply(lambda run: run["step"].iloc[run["spearman"].argmax()])
    in_turn = peak.unstack("n").apply(lambda steps: steps.is_monotonic_increasing, axis=1)
    in_turn = in_turn.groupby(["model", "corpus"]).sum()
    rows = []
    for key, part in _groups(curves, keys):
        wide = part.pivot(index="step", columns="seed", values="spearman").sort_index()
        step, top, final = wide.idxmax(), wide.max(), wide.iloc[-1]
        fall = _mean(top - final)
        rows.append({
            **key, "peak_step": step.median(), "first": step.min(), "last": step.max(),
            "peak": top.mean(), "final": final.mean(), "fall": fall["estimate"], "low": fall["low"],
            "high": fall["high"], "seeds": fall["seeds"],
            "runs_in_turn": in_turn[key["model"], key["corpus"]], "reason": fall["reason"],
        })
    order = ["family", "parameters", "model", "corpus", "n"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def phase_slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of the last step's correlation on log10 of the parameters, over Pythia's sizes, with
    Student's interval: the sizes are the points, one each. Over all sizes and, since a line hides
    a hump, over those from 70m on, where the records of running text begin (``sizes``)."""
    last = table[(table["family"] == "pythia") & (table["step"] == records.LAST_STEP)]
    rows = []
    for (corpus, n), every in last.groupby(["corpus", "n"]):
        for sizes, least in (("all", 0), ("70m on", records.PYTHIA["70m"])):
            part = every[every["parameters"] >= least]
            rows.append({"task": "phases", "group": corpus, "count_model": f"{n}-gram",
                         "measure": "spearman", "step": records.LAST_STEP, "sizes": sizes,
                         "models": len(part), **_line(part)})
    return pd.DataFrame(rows).assign(p_holm=lambda t: holm(t["p"]))


def running_text(text: pd.DataFrame) -> Estimates:
    """Spearman of log P of words under each model and under n-grams of the Pile, raw and given
    what is shorter.

    In full context: every order raw, given all shorter orders, and given these and the word's
    letters. With 1 to 4 words of context: raw. Blocks of :data:`BLOCK` neighbours are the examples
    and words the outputs of the two-way jackknife, for both recur.
    """
    wide = text.pivot(index=["text", "position", "word"], columns=["model", "context"],
                      values="logp")
    require(wide.notna().all(axis=None), "naturalstories: not every model has every word")
    text_id, position, word = (wide.index.get_level_values(k) for k in range(3))
    wide["letters", ""] = [len(w) for w in word]
    place = {name: i for i, (name, _) in enumerate(wide) if name in (*NGRAMS, "letters")}
    wanted = []
    for i, (model, context) in enumerate(wide):
        for n, gram in enumerate([] if model in place else NGRAMS, 1):
            shorter, controls = NGRAMS[: n - 1], [[]]
            if shorter and context == "full":
                controls += [shorter, [*shorter, "letters"]]
            for given in controls:
                row = {"task": "running text", "group": context, "model": model,
                       "count_model": gram, "n": n, "measure": _measure(given)}
                rows = [place[name] for name in (gram, *given)]
                wanted.append((row, Query("spearman", i, rows[0], tuple(rows[1:]))))
    points = clusters_of(blocks(text_id, position, BLOCK), word, position)
    names = [f"log P of {model}" for model, _ in wide]
    found = _answers(wanted, wide.to_numpy(float).T, points, names)
    models = text.drop_duplicates("model").set_index("model")[["parameters", "step"]]
    found = [(row | models.loc[row["model"]].to_dict(), changes) for row, changes in found]
    return _estimates(found, ["group", "count_model", "measure"])


def added(text: pd.DataFrame) -> pd.DataFrame:
    """Share of the variance of each model's ranks of log P that n-grams of growing order take up,
    and what each adds: :func:`taskgram_utils.controls.incremental_r2`, over the same blocks
    and words."""
    points = text[text["context"] == "full"].rename(columns={"word": "sy"})
    points = points.assign(example_id=blocks(points["text"], points["position"], BLOCK),
                           start=points["position"])
    model = points[points["n"].isna()].drop(columns="parameters")
    keys = ["example_id", "sy", "start"]
    orders = points[points["n"].notna()].pivot(index=keys, columns="model", values="logp")
    result = incremental_r2(model, orders.reset_index().assign(n=np.nan), NGRAMS, ranks=True)
    sizes = text.drop_duplicates("model").set_index("model")["parameters"]
    result = result.assign(parameters=result["model"].map(sizes))
    return result.drop(columns=["task", "group", "n", "run", "seed"])


def arithmetic(sums: pd.DataFrame) -> Estimates:
    """Spearman of accuracy and the count of the first operand's token, over operands.

    Raw, and given the operand, whether it is a multiple of 10, of 5, and its digits: all together,
    at the last step each alone too, and, with no line assumed, given both digits
    (``spearman|tens+units``: a dummy for each tens digit and each units digit). There also with
    the token alone in place of the token after a space, and of the operands 10…99 only, where no
    product is trivial and digits do not differ. Beside it the mean accuracy (``score``) with
    interval, and the shares of operands at ``floor`` (0) and ``ceiling`` (1).
    """
    found = []
    for key, part in _groups(sums, ["model", "parameters", "release", "step"]):
        found += _by_operand(key, part, "0–99")
        if key["step"] == sums["step"].max():
            found += _by_operand(key, part[part["item"] >= 10], "10–99")
    return _estimates(found, ["count_model", "measure", "items", "step", "release"])


def _by_operand(key: dict, part: pd.DataFrame, items: str) -> list[tuple[dict, Changes | None]]:
    """Rows of :func:`arithmetic` for one model, step and range of operands."""
    scores = part.pivot(index="item", columns=["task", "shots"], values="score")
    scores = scores.sort_index().dropna(axis=1)
    operands = scores.index.to_numpy()
    once = part.drop_duplicates("item").set_index("item").loc[operands]
    # A dummy for each digit but the first of either place: (value of the place, digit).
    digits = {(ten, k): operands // ten % 10 == k for ten in (10, 1)
              for k in np.unique(operands // ten % 10)[1:]}
    counts = np.log(once[list(TOKENS)].astype(float))
    variables = {**scores, **counts, **_controls(operands), **digits}
    place = {name: i for i, name in enumerate(variables)}
    last, wanted = key["step"] == records.LAST_STEP, []
    for task, shots in scores:
        score = scores[task, shots].to_numpy()
        low, high = _mean_interval(score)
        beside = {"score": score.mean(), "score_low": low, "score_high": high,
                  "floor": (score == 0).mean(), "ceiling": (score == 1).mean()}
        for column, token in TOKENS.items() if last else [("count", TOKENS["count"])]:
            given = {_measure([]): [], _measure(CONTROLS): CONTROLS}
            if last and column == "count" and items == "0–99":
                given |= {_measure([control]): [control] for control in CONTROLS}
                given["spearman|tens+units"] = digits
            for measure, names in given.items():
                row = {**key, "task": task, "group": f"{shots} shots", "shots": shots,
                       "items": items, "count_model": token, "measure": measure, **beside}
                score, count, *controls = (place[name] for name in ((task, shots), column, *names))
                wanted.append((row, Query("spearman", score, count, tuple(controls))))
    names = [*["accuracy"] * len(scores.columns), *TOKENS, *CONTROLS, *["a digit"] * len(digits)]
    values = np.array(list(variables.values()), float)
    found = _answers(wanted, values, clusters_of(operands.astype(str)), names)
    unused = ("examples", "outputs", "clusters")
    return [({c: v for c, v in row.items() if c not in unused}, changes) for row, changes in found]


def bins(sums: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy at the last step in ten groups of operands of ascending count, with Student's
    interval over operands (none where all of a group have the same)."""
    last = sums[sums["step"] == sums["step"].max()]
    rows = []
    for key, part in _groups(last, ["model", "parameters", "release", "step", "task", "shots"]):
        place = pd.qcut(part["count"].rank(method="first"), 10, labels=False)
        for k, group in part.groupby(place.to_numpy()):
            low, high = _mean_interval(group["score"].to_numpy())
            rows.append({**key, "bin": k, "count": group["count"].median(),
                         "score": group["score"].mean(), "low": low, "high": high,
                         "operands": len(group)})
    return pd.DataFrame(rows)


def operands(sums: pd.DataFrame) -> pd.DataFrame:
    """How the count of an operand's token goes with the operand, its roundness and its digits:
    Spearman over 0…99."""
    once = sums.drop_duplicates("item").sort_values("item")
    counts = np.log(once[list(TOKENS)].astype(float)).rename(columns=TOKENS)
    variables = {**counts, **_controls(once["item"].to_numpy())}
    names, values = list(variables), np.array(list(variables.values()))
    wanted = [({"count_model": names[a], "with": names[b], "measure": "spearman"},
              Query("spearman", a, b)) for a in (0, 1) for b in range(a + 1, len(names))]
    found = _answers(wanted, values, clusters_of(once["item"].astype(str)), names)
    return pd.DataFrame([row for row, _ in found])


def reruns(twice: pd.DataFrame) -> pd.DataFrame:
    """How much scores that were measured twice differ, by model and the file that wins: scores,
    how many differ, and the largest and mean absolute change."""
    change = twice["change"].abs().round(9)
    runs = twice.assign(change=change, differ=change > 0).groupby(["model", "file"], sort=False)
    return runs.agg(scores=("change", "size"), differ=("differ", "sum"), largest=("change", "max"),
                    mean=("change", "mean")).reset_index()


def pairs(table: pd.DataFrame) -> Estimates:
    """Spearman of a model's log P and log(1 + count) of a disease with a group, raw and without
    the marginals.

    Measures: ``spearman``; ``spearman|disease``, ``spearman|group`` and ``spearman|disease+group``
    of what is left once the means of the disease, of the group or of both are taken out of log P
    and log count (double centring); ``spearman|disease+group, of ranks`` takes them out of the
    ranks instead, which is the partial Spearman given a dummy for each. ``low`` and ``high`` leave
    out diseases and groups, ``low_diseases`` and ``high_diseases`` diseases alone, and so does
    ``p``. As long as what a group has in common is in the values, diseases alone say nothing of
    groups: these three are null unless the group's mean is taken out. Two groups give no interval
    of their own: ``low`` and ``high`` are then null, and with the group's mean taken out those of
    diseases alone. ``reliability`` is Spearman–Brown's of log P, so treated, from every other
    template, ``agreement`` the mean Spearman of it with the other models of the family (neither of
    ranks); ``zero_share`` and ``small_share`` are shares of counts of 0 and below 5.
    """
    found = []
    for key, part in _groups(table, ["kind", "window"]):
        wide = part.pivot(index=["disease", "group"], columns="model",
                          values=["logp", "logp_odd", "logp_even"])
        complete = wide.notna().all(axis=None)
        require(complete, f"crosscare: not every model has every disease and group ({key['kind']})")
        count = part.groupby(["disease", "group"])["count"].first().loc[wide.index]
        known = {"task": key["kind"], "group": key["window"], "unit": part["unit"].iloc[0],
                 "step": records.LAST_STEP, "zero_share": (count == 0).mean(),
                 "small_share": (count < 5).mean()}
        models = part.drop_duplicates("model").set_index("model").loc[wide["logp"].columns]
        for measure in _CENTRED:
            found += _centred(known, measure, wide, count, models)
    return _estimates(found, ["task", "group", "measure"])


def _centred(
    known: dict, measure: str, wide: pd.DataFrame, count: pd.Series, models: pd.DataFrame
) -> list[tuple[dict, Changes | None]]:
    """Rows of :func:`pairs` for one table of counts and one measure, with what is known of them."""
    of_ranks, factors = "ranks" in measure, _CENTRED[measure]
    values = np.vstack([np.log1p(count), wide["logp"].to_numpy().T])
    values = stats.rankdata(values, axis=1) if of_ranks else values
    disease, group = (wide.index.get_level_values(name) for name in ("disease", "group"))
    taken = [{"disease": disease, "group": group}[name] for name in factors]
    free = "group" in factors  # of what a group has in common
    points = clusters_of(disease, None if free and group.nunique() < LEAST else group)
    queries = [Query("pearson" if of_ranks else "spearman", i + 1, 0) for i in range(len(models))]
    known = known | {"count_model": "pair count", "measure": measure}
    rows = [known | {"model": model} for model in models.index]
    wanted = list(zip(rows, queries, strict=True))
    names = ["log count", *(f"log P of {model}" for model in models.index)]
    found = _answers(wanted, values, points, names, taken)
    left_over = without_means(values[1:], taken) if taken else values[1:]
    agreement = np.corrcoef(stats.rankdata(left_over, axis=1))
    for i, (row, changes) in enumerate(found):
        alone = (np.nan, np.nan, np.nan)
        if free and changes is not None:
            alone = interval(row["estimate"], changes._replace(two_way=False))
        row["low_diseases"], row["high_diseases"], row["p"] = alone
        if not of_ranks:
            halves = wide[["logp_odd", "logp_even"]].xs(row["model"], axis=1, level=1).to_numpy().T
            if taken:
                halves = [without_means(half[None], taken)[0] for half in halves]
            row["reliability"] = split_half_reliability(*halves)
            others = (models["family"] == models["family"].iloc[i]) & (models.index != row["model"])
            row["agreement"] = agreement[i, others].mean() if others.any() else np.nan
        row |= models.loc[row["model"], ["family", "parameters"]]
    return found


def by_size(found: Estimates) -> pd.DataFrame:
    """Slopes of the estimates on log10 of Pythia's parameters, for each task, group, count_model,
    measure and step: with the interval of the jackknife (``low``, ``high``: other points, these
    models), and with Student's over the sizes (``low_sizes``, ``high_sizes``: other models of
    these sizes). Of arithmetic only release v1.1 and all operands."""
    keep = found.table["parameters"].notna()
    if "release" in found.table:
        keep &= (found.table["release"] == "v1.1") & (found.table["items"] == "0–99")
    part = found.rows(keep)
    keys = ["task", "group", "count_model", "measure", "step"]
    lines = [{**key, **_line(models)} for key, models in
             _groups(part.table.dropna(subset=["estimate"]), keys)]
    renamed = {column: f"{column}_sizes" for column in ("low", "high", "p")}
    lines = pd.DataFrame(lines).drop(columns="slope").rename(columns=renamed)
    return slopes(part).merge(lines, on=keys, how="left").assign(sizes="all")


def _groups(table: pd.DataFrame, keys: list[str]) -> Iterable[tuple[dict, pd.DataFrame]]:
    """Groups of a table in the order of their first rows, each with its keys by name."""
    for key, part in table.groupby(keys, dropna=False, sort=False):
        yield dict(zip(keys, key, strict=True)), part


def _measure(given: Sequence[str]) -> str:
    """The name of a rank correlation given other variables."""
    return f"spearman|{'+'.join(given)}" if given else "spearman"


def _controls(numbers: np.ndarray) -> dict[str, np.ndarray]:
    """What goes with the count of a number below 100, by the names of :data:`CONTROLS`."""
    values = (numbers, numbers % 10 == 0, numbers % 5 == 0, numbers >= 10)
    return {name: value.astype(float) for name, value in zip(CONTROLS, values, strict=True)}


def _line(models: pd.DataFrame) -> dict[str, float]:
    """Least-squares slope of estimates on log10 of the parameters with Student's interval, which
    needs three sizes."""
    out = dict.fromkeys(("slope", "low", "high", "p"), np.nan)
    if len(models) > 1:
        line = stats.linregress(np.log10(models["parameters"].astype(float)), models["estimate"])
        out["slope"] = line.slope
        if len(models) > 2:
            half = stats.t.ppf((1 + LEVEL) / 2, len(models) - 2) * line.stderr
            out |= {"low": line.slope - half, "high": line.slope + half, "p": line.pvalue}
    return out


def _answers(
    wanted: Sequence[tuple[dict, Query]], values: np.ndarray, clusters: Clusters,
    names: Sequence[str], without: Sequence[np.ndarray] = (),
) -> list[tuple[dict, Changes | None]]:
    """For each query a row of a table, and how its estimate changes when a cluster is left out."""
    results = jackknife(values, [query for _, query in wanted], clusters, names, without)
    beside = {"points": values.shape[1], "examples": len(np.unique(clusters.example)),
              "outputs": len(np.unique(clusters.output)),
              "clusters": "examples and outputs" if clusters.two_way else "examples"}
    out = []
    for (columns, _), (estimate, changes, reason) in zip(wanted, results, strict=True):
        low, high, p = interval(estimate, changes)
        reason = reason or (NO_INTERVAL if np.isnan(low) else None)
        row = {**columns, "estimate": estimate, "low": low, "high": high, "p": p, **beside}
        out.append((row | {"reason": reason}, None if np.isnan(estimate) else changes))
    return out


def _estimates(found: Sequence[tuple[dict, Changes | None]], family: list[str]) -> Estimates:
    """Rows as a table, with Holm's p within each family of rows."""
    rows, replicates = zip(*found, strict=True)
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby(family, dropna=False)["p"].transform(holm)
    return Estimates(table, list(replicates))


def _mean_interval(scores: np.ndarray) -> tuple[float, float]:
    """:func:`~taskgram_utils.performance.mean_interval` over operands; none where all have the same
    accuracy."""
    return mean_interval(scores) if np.ptp(scores) > 0 else (np.nan, np.nan)


def _mean(values: pd.Series) -> dict[str, object]:
    """A mean over seeds with Student's interval."""
    mean, seeds = values.mean(), len(values)
    # Not a number for one seed, which has no degree of freedom.
    half = stats.t.ppf((1 + LEVEL) / 2, seeds - 1) * values.std() / np.sqrt(seeds)
    return {"estimate": mean, "low": mean - half, "high": mean + half, "seeds": seeds,
            "reason": "one seed: no interval" if seeds < 2 else None}
