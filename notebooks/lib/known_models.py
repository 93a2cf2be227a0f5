"""Models whose knowledge is known, scored as a network is: what Mem says of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from taskgram_chapters.numbers import number
from taskgram_chapters.verdicts import GIVEN
from taskgram_utils.controls import point_controls
from taskgram_utils.jackknife import Query, clusters_of, interval, jackknife
from taskgram_utils.language_models.taskgram import taskgram_logp
from taskgram_utils.memorization import mem, points
from taskgram_utils.run import pipeline
from taskgram_utils.run.store import Run

WEIGHTS = tuple(k / 10 for k in range(11))
SLIP = 0.02
"""Nats that a token costs a model that follows the rule, on average."""
MEMORIZER, FREQUENCY, RULES, ORACLE = (
    "memorizer of another draw", "answer frequency", "rules", "oracle")
GROUPS = {"facts": "factual QA", "knowledge": "world knowledge", "unseen": "translation"}
"""The groups that have a Mem."""
_POINT = ["task", "group", "example_id", "n", "sy", "start"]


def another_draw(counts: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The counts that other documents of the same kind would give: C(s^x) and C(s^y) Poisson with
    the mean observed, C(s^x, s^y) binomial of the new C(s^x) at the rate observed."""
    counts = counts[counts["half"].isna()].copy()
    rng, single = np.random.default_rng(seed), counts["sy"].isna()
    drawn = dict(zip(counts.loc[single, "sx"], rng.poisson(counts.loc[single, "count"]),
                     strict=True))
    before = counts[single].set_index("sx")["count"]
    rate = (counts["count"] / counts["sx"].map(before).clip(lower=1)).clip(upper=1)
    new = counts["sx"].map(drawn)
    joint = rng.binomial(new, rate.where(~single, 0))
    return counts.assign(count=np.where(single, new, joint))


def known_models(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, scores: pd.DataFrame,
    shares: Mapping[str, float], seed: int = 0, options: Sequence = ("per_output", "keep", 1.0),
) -> pd.DataFrame:
    """log P (nats) of the points of ``scores`` (a ``logp`` table of one network, for its tokens)
    under models that know one thing each, as a ``logp`` table.

    ``memorizer of another draw``: the task-gram LM of :func:`another_draw`. ``answer frequency``:
    log (C(s^y) + 1) less that of all outputs, and a slip; without the slip it is the log P without
    input (``logp_prior``) of all models. ``rules``: every token of a right output is certain
    but for a slip of :data:`SLIP` nats on average, exponential. ``oracle``: the share of the
    documents that state the fact of an example with its answer, by example_id in ``shares``; no row
    for the others. ``mixture W``: W parts memorizer and 1 - W answer frequency, of probabilities.
    """
    rng = np.random.default_rng(seed)
    points = scores[[*_POINT, "tokens"]].drop_duplicates(_POINT)
    memory = taskgram_logp(taskgrams, another_draw(counts, seed), *options)
    points = points.merge(memory[[*_POINT, "logp"]], on=_POINT)
    whole = counts[counts["half"].isna() & counts["sy"].isna()].set_index("sx")["count"]
    count = points["sy"].map(whole) + 1
    frequency = np.log(count / points["task"].map(count.groupby(points["task"]).sum()))
    slips = rng.gamma(points["tokens"].astype(float), SLIP)
    memory, guess = points["logp"].to_numpy(), frequency - slips
    known = np.log(points["example_id"].map(shares))
    logp = {MEMORIZER: memory, FREQUENCY: guess, RULES: -slips, ORACLE: known}
    with np.errstate(divide="ignore"):
        logp |= {f"mixture {w:.1f}": np.logaddexp(np.log(w) + memory, np.log1p(-w) + guess)
                 for w in WEIGHTS}
    points = points.assign(logp_prior=frequency, run=None, seed=None, step=None)
    parts = [points.assign(model=name, logp=values)
             for name, values in logp.items()]
    return pd.concat(parts, ignore_index=True).dropna(subset=["logp"])


def mem_of_known(
    known: pd.DataFrame, count_model: pd.DataFrame, halves: pd.DataFrame, taskgrams: pd.DataFrame,
    counts: pd.DataFrame,
) -> pd.DataFrame:
    """Mem of :func:`known_models`, raw and given all four controls, with the ceiling that the
    reliability of the counts sets."""
    prior = known.drop(columns="logp").rename(columns={"logp_prior": "logp"})
    controls = point_controls(taskgrams, counts, known, prior)
    table = mem(count_model, known, controls, count_model_halves=halves)
    table = table[table["measure"].isin(["spearman", GIVEN])]
    return table.assign(ceiling=np.sqrt(table["reliability"].clip(lower=0)))


def needed(
    points: pd.DataFrame, sizes: Sequence[int], effects: Sequence[float] = (0.1, 0.2, 0.3),
    power: float = 0.8, draws: int = 20, seed: int = 0,
) -> pd.DataFrame:
    """How many examples show a Mem: for each size, the standard error of Fisher's z, median over
    random samples of so many examples of ``points`` (example_id, sy, start, logp_count_model,
    logp_model), their outputs and points as they are; and for each of ``effects`` the chance that
    the 95% interval excludes 0. Sizes of more examples than there are have no row."""
    from scipy import stats

    rng, examples, rows = np.random.default_rng(seed), points["example_id"].unique(), []
    for size in (s for s in sizes if s <= len(examples)):
        errors = []
        for _ in range(draws if size < len(examples) else 1):
            part = points[points["example_id"].isin(rng.choice(examples, size, replace=False))]
            clusters = clusters_of(part["example_id"], part["sy"], part["start"])
            values = part[["logp_count_model", "logp_model"]].to_numpy(float).T
            result = jackknife(values, [Query("spearman", 0, 1)], clusters)[0]
            low, high, _ = interval(result.estimate, result.changes)
            errors.append((np.arctanh(high) - np.arctanh(low)) / 2)  # half the width of 95%
        half = float(np.nanmedian(errors))
        error = half / stats.norm.ppf(0.975)
        rows += [{"examples": size, "mem": effect, "half_width": half,
                  "power": float(stats.norm.sf((half - np.arctanh(effect)) / error))}
                 for effect in effects]
    return pd.DataFrame(rows)


# --- what a page says ----------------------------------------------------------------------------


def of_run(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`mem_of_known` of a run's groups (``where``, and ``given``: raw or given all four), and
    the joined points of its largest model, for :func:`examples_needed`."""
    truth = run.table("truth").query("role == 0").drop_duplicates("fact")
    part = dict(zip(truth["fact"], truth["documents"] / truth["statements"], strict=True))
    shares = {f"{p}{fact}": v for p in ("qa-", "wk-knowledge-") for fact, v in part.items()}
    names = ("taskgrams", "taskgram_halves", "taskgram_lm", "scores")
    grams, halves, reference, scores = (
        table[table["n"] == max(run["ngram_sizes"])] for table in map(run.table, names))
    scores = pipeline.at_last_step(scores[scores["model"] == pipeline.main_model(run)])
    known = known_models(grams, counts := run.table("counts"), scores, shares)
    table = mem_of_known(known, reference, halves, grams, counts)
    table = table[table["group"].isin(GROUPS)].assign(
        where=lambda t: t["group"].map(GROUPS),
        given=lambda t: np.where(t["measure"] == "spearman", "raw", "given all four"))
    joined = points(reference, scores)
    return table, joined[joined["group"].isin(GROUPS)]


def mixtures(table: pd.DataFrame) -> pd.DataFrame:
    """The mixtures of :func:`of_run`, with the memorizer's ``weight``."""
    rows = table[table["model"].str.startswith("mixture")]
    return rows.assign(weight=rows["model"].str.removeprefix("mixture ").astype(float))


def in_words(table: pd.DataFrame) -> dict[str, str]:
    """What Mem says of the known models of :func:`of_run`."""
    raw, given = (table[table["given"] == name] for name in ("raw", "given all four"))
    top, words = raw[raw["model"] == MEMORIZER], {}
    at = (top["low"] <= top["ceiling"]) & (top["ceiling"] <= top["high"])
    words["ceiling"] = f"{at.sum()} of {len(top)}"
    for name, key in ((FREQUENCY, "frequency"), (RULES, "rules")):
        rest = given[given["model"] == name].dropna(subset="low")
        words[key] = f"{((rest['low'] <= 0) & (rest['high'] >= 0)).sum()} of {len(rest)}"
    high = raw[(raw["model"] == FREQUENCY) & (raw["low"] > 0)]
    words["frequency-raw"] = f"{len(high)} of {raw['where'].nunique()}"
    words["oracle"] = "; ".join(f"{number(r.estimate, r.low, r.high)} in {r.where}"
                                for r in raw[raw["model"] == ORACLE].itertuples())
    facts = raw[raw["where"] == GROUPS["facts"]].set_index("model")[["estimate", "low", "high"]]
    words["scale"] = ("For scale: on the same facts, a model that knows only how often answers "
                      f"occur has a raw Mem of {number(*facts.loc[FREQUENCY])}, and one that knows "
                      f"only the counts of a second text {number(*facts.loc[MEMORIZER])}.")
    by_weight = mixtures(table).pivot_table(index=["where", "given"], columns="weight",
                                            values="estimate")
    words["tenth"] = f"{(by_weight[0.1] / by_weight[1.0]).min():.0%}"
    above = (by_weight.loc[:, 0.1:].min(axis=1) > by_weight[0.0]).sum()
    words["above"] = f"{above} of {len(by_weight)}"
    return {f"known-{key}": text for key, text in words.items()}


def examples_needed(joined: pd.DataFrame, least: float) -> pd.DataFrame:
    """The fewest examples of 50, 100, 200, … at which a Mem of .1, .2 or .3 is found with a chance
    of ``least``, by task, and the largest sample tried."""
    sizes = [50 * 2**k for k in range(7)]
    parts = [needed(own, sizes).assign(task=GROUPS[group])
             for group, own in joined.groupby("group", sort=False)]
    power = pd.concat(parts, ignore_index=True)
    enough = power[power["power"] >= least].groupby(["task", "mem"])["examples"].min().unstack()
    enough = enough.reindex(columns=[0.1, 0.2, 0.3], index=power["task"].unique())
    shown = enough.map(lambda v: "more" if pd.isna(v) else f"{v:.0f}")
    shown.columns = [f"Mem = {value:.1f}".replace("0.", ".") for value in enough.columns]
    most = power.groupby("task")["examples"].max()
    return shown.assign(**{"largest sample tried": most}).reset_index()
