"""What tables say of a claim, by the rules of book/doubt.md: answers, verdicts, sentences."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from taskgram_chapters.numbers import number, said, short
from taskgram_utils.errors import require, require_columns
from taskgram_utils.mining_checks import holds_truth
from taskgram_utils.run.store import project_root
from taskgram_utils.statistics import holm

EXPECTED = ("positive", "negative", "none")
AT, SLOPE = "largest model", "slope"
BOUNDS = {AT: 0.15, SLOPE: 0.1}
"""An interval within these shows none: of a correlation, or a difference of two; of a slope per
tenfold size (and of nats per nat)."""
LEAST = 0.5
"""Share of true pairs, and reliability, below which nothing is said of a Mem."""
GIVEN = "spearman|log_count_sy+log_count_sx+tokens+logp_prior"
"""Mem given the frequency of answer and input, the answer's length and the model's prior."""
NAMES = {"translation": "Translation", "factual_qa": "Factual QA",
         "world_knowledge": "World knowledge", "math_reasoning": "Maths reasoning"}
WAYS = {"raw": "spearman", "given all four controls": GIVEN,
        "minus its placebo": "minus its placebo",
        "without the two most frequent outputs": "without"}
_MEASURES = {"spearman": "Mem", "spearman|log_count_sy": "Mem given output frequency",
             "score": "correlation of score and frequency"}
_SAYS = {AT: ("is positive", "is negative", "is within ±.15"),
         SLOPE: ("rises with size", "falls with size", "changes by less than .1 per tenfold size")}
_OF_PAPER = {"found": "agrees", "opposite": "disagrees", "none": "disagrees"}
_OF_OTHERS = {"found": "the same direction", "opposite": "the opposite"}
_SUMS = ["cells", "found", "opposite", "none", "not decided"]
_GROUP = ["task", "group", "n"]
_KEYS = [*_GROUP, "count_model", "measure"]
_NOISE = ["s", "trainings"]
_SHOWN = ["estimate", "low", "high", "points", "own_low", "own_high", "s", "barred", "note"]


# --- one interval ---------------------------------------------------------------------------------


def answer(expected: str, low: float, high: float, bound: float) -> str:
    """What a 95% interval answers where ``expected`` (positive, negative or none) is claimed:
    ``found``, ``opposite``, ``none`` (it lies within ±bound) or ``not decided``."""
    require(expected in EXPECTED, f"expected {expected}: not one of {', '.join(EXPECTED)}")
    within, excludes = -bound <= low and high <= bound, low > 0 or high < 0
    if expected == "none":
        return "found" if within else "opposite" if excludes else "not decided"
    if excludes:
        return "found" if (low > 0) == (expected == "positive") else "opposite"
    return "none" if within else "not decided"


def direction(low: float, high: float, bound: float) -> str:
    """``positive``, ``negative``, ``none`` or ``not decided``: what an interval shows."""
    found = answer("positive", low, high, bound)
    return {"found": "positive", "opposite": "negative"}.get(found, found)


def told(
    table: pd.DataFrame, phrases: Mapping[str, str], bound: float,
    ends: tuple[str, ...] | None = None,
) -> str:
    """A sentence for each :func:`direction` that has a phrase and rows, with the names in
    ``where`` and, of the columns ``ends``, their numbers."""
    ways = np.array([direction(*row, bound) for row in table[["low", "high"]].to_numpy(float)])
    return said(*((text, table[ways == way]) for way, text in phrases.items()), ends=ends)


def with_noise(estimate, low, high, freedom, s, correlation=True, trainings=np.inf) -> tuple:
    """Ends and p of 95% intervals, widened by the noise ``s`` of training (eq-noise): numbers or
    arrays, s in units of the estimate.

    The standard error is read back from the interval, by Student's t with ``freedom`` degrees of
    freedom, of a ``correlation`` on Fisher's z. The sum has Satterthwaite's degrees of freedom
    (eq-freedom), with those of s, ``trainings``.
    """
    estimate, ends = np.asarray(estimate, float), np.array([low, high], float)
    with np.errstate(divide="ignore", invalid="ignore"):
        z, ends = (np.where(correlation, np.arctanh(v), v) for v in (estimate, ends))
        s, t = s / np.where(correlation, 1 - estimate**2, 1), stats.t.ppf(0.975, freedom)
        own = (ends[1] - ends[0]) / 2 / t
        error = np.hypot(own, s)
        freedom = np.where(s > 0, error**4 / (own**4 / freedom + s**4 / trainings), freedom)
        t = stats.t.ppf(0.975, freedom)
        low, high = (np.where(correlation, np.tanh(v), v) for v in (z - t * error, z + t * error))
        return low, high, 2 * stats.t.sf(np.abs(z) / error, freedom)


def training_noise(table: pd.DataFrame) -> pd.DataFrame:
    """The noise ``s`` of trainings that differ by the seed alone (eq-noise).

    ``table``: Mem of a suite and its reseeds at the last step: suite, model, task, group, n,
    count_model, measure, estimate. A row per task, group, n, count_model and measure, also of the
    difference of the two count-based models, with the number of ``trainings`` beyond the first of
    each size; none where no size was trained twice. Raises InputError for a missing column.
    """
    require_columns(table, [*_KEYS, "suite", "model", "estimate"], "training noise")
    of, to = (table[table["count_model"] == lm] for lm in ("taskgram", "infinigram"))
    both = of.merge(to, on=[*_GROUP, "measure", "suite", "model"], suffixes=("", "_to"))
    both["estimate"] -= both["estimate_to"]
    table = pd.concat([table, both.assign(count_model="taskgram - infinigram")])
    sizes = table.groupby([*_KEYS, "model"])["estimate"].agg(["var", "count"]).query("count > 1")
    sizes = sizes.assign(trainings=sizes["count"] - 1, squares=sizes["var"] * (sizes["count"] - 1))
    pooled = sizes.groupby(_KEYS)[["squares", "trainings"]].sum()
    return pooled.assign(s=np.sqrt(pooled["squares"] / pooled["trainings"])).reset_index()


# --- one suite ------------------------------------------------------------------------------------


def precision(
    pairs: pd.DataFrame, gammas: pd.DataFrame, true_pairs: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The share of true pairs among those mined: task, group, n, ``precision``.

    ``pairs`` are task-grams, judged by ``true_pairs`` where these are known; else, or where it is a
    table of groups (task, group, n, subject_given), the share is 1 - shuffled share / own share of
    ``gammas``, and 1 where examples name their subject, so that nothing is mined.
    """
    if true_pairs is not None:
        shares = pairs.assign(precision=holds_truth(pairs, true_pairs))
    else:
        given = pairs["subject_given"] if "subject_given" in pairs else pairs["cosine"].isna()
        shares = pairs[_GROUP].merge(gammas, on=["task", "n"], how="left")
        mined = 1 - shares["shuffled_share"] / shares["own_share"]
        shares["precision"] = mined.where(~given.to_numpy(bool), 1)
    known = shares.groupby(_GROUP, sort=False)["precision"].mean().reset_index()
    return known.assign(estimated=true_pairs is None)


def barred(table: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """Why nothing is said of the rows of a table: too few true pairs (``known``: those of
    :func:`precision`) or too low a ``reliability``, in words; null where neither is."""
    both = table.reindex(columns=[*_GROUP, "reliability"]).merge(known, on=_GROUP, how="left")
    guessed = known.get("estimated", pd.Series(False)).any()
    share = "at most {:.0%} of the mined pairs are true (estimate)" if guessed else (
        "{:.0%} of the mined pairs are true")
    why = [f"no Mem: {share.format(true)}" if true < LEAST else
           f"reliability {short(noisy)}" if noisy < LEAST else None
           for true, noisy in both[["precision", "reliability"]].to_numpy(float)]
    return pd.Series(why, table.index, object)


def evidence(
    tables: Mapping[str, pd.DataFrame], noise: pd.DataFrame | None = None
) -> pd.DataFrame:
    """All numbers of a suite: of its largest model at the last step, and slopes over its sizes.

    ``tables`` by name: partial, difference_to_infinigram, slopes and, where they are there,
    without_most_frequent, placebo, frequency (measure: score) and precision. Columns:
    question (largest model, slope), task, group, n, count_model, measure, estimate; low, high, p
    with the noise of training; own_low, own_high without; s (``noise``; null: not measured);
    points, reliability, ``shows`` (:func:`direction`), :func:`barred`. A measure whose noise is not
    in the table has that of Mem.
    """
    sizes = np.log10(tables["partial"].groupby("model")["parameters"].first().dropna())
    if "placebo" in tables:
        less = rows_of(tables["placebo"], {"count_model": "taskgram - placebo"})
        tables = {**tables, "placebo": less}
    labels = {"placebo": {"measure": "minus its placebo", "count_model": "taskgram"},
              "without_most_frequent": {"measure": "without"}, "slopes": {"question": SLOPE}}
    table = pd.concat([part.assign(**{"question": AT} | labels.get(name, {})) for name, part in
                       tables.items() if name != "precision"], ignore_index=True)
    table = table[table["model"].isna() | (table["model"] == sizes.idxmax())]
    table["estimate"] = table["estimate"].fillna(table["slope"])
    raw = rows_of(table, {"question": AT, "measure": "spearman", "count_model": "taskgram"})
    # Where no two examples share an output, there are at least as many outputs as examples.
    freedom = raw[["examples", "outputs"]].astype(float).min(axis=1) - 1
    raw = raw.assign(freedom=freedom)[[*_GROUP, "freedom", "reliability"]]
    columns = ["question", *_KEYS, "estimate", "low", "high", "p", "points"]
    table = table[columns].merge(raw, on=_GROUP, how="left", validate="m:1")
    unknown = pd.DataFrame(columns=[*_KEYS, *_NOISE, "precision"])
    own, of_mem = (table.assign(**like)[_KEYS].merge(unknown if noise is None else noise, "left")
                   for like in ({}, {"measure": "spearman"}))
    table[_NOISE] = own[_NOISE].astype(float).fillna(of_mem[_NOISE].astype(float))
    spread = np.sqrt(((sizes - sizes.mean()) ** 2).sum())
    table["s"] /= np.where(table["question"] == SLOPE, spread, 1)
    differs = table["count_model"].str.contains(" - ") | table["measure"].eq("minus its placebo")
    wide = with_noise(*table[["estimate", "low", "high", "freedom", "s"]].to_numpy(float).T,
                      (table["question"] == AT) & ~differs, table["trainings"])
    table[["own_low", "own_high"]] = table[["low", "high"]]
    for column, value in zip(("low", "high", "p"), wide, strict=True):
        table[column] = table[column].where(table["s"].isna(), value)
    ends = zip(table["low"], table["high"], table["question"].map(BOUNDS), strict=True)
    table["shows"] = [direction(*row) for row in ends]
    table["barred"] = barred(table, tables.get("precision", unknown))
    return table.drop(columns=["freedom", "trainings"])


def value(row: Mapping) -> str:
    """Estimate, interval and points; the interval without training noise too, where that is in."""
    text = number(*(row[c] for c in ("estimate", "low", "high")), row.get("points"))
    own = "" if pd.isna(row.get("s")) else f"[{short(row['own_low'])}, {short(row['own_high'])}]"
    return text + (own and f" (without training noise {own})")


def about_the_pairs(ways: Mapping[str, pd.Series | None]) -> tuple[bool, str]:
    """Whether a Mem is about the pairs, and what speaks against it in words: ``ways`` are the rows
    of :data:`WAYS` by name, each of which has to find it; None was not computed."""
    lost = [f"{name} not computed" if row is None else f"{name} {row['shows']} {value(row)}"
            for name, row in ways.items() if row is None or row["shows"] != "positive"]
    return not lost, "; ".join(lost) or "found in every way"


def groups(here: pd.DataFrame, other: pd.DataFrame, n: int) -> pd.DataFrame:
    """What controls, precision and reliability allow to say of each group: task, group, the
    ``standing`` (about the pairs, not about the pairs, barred) and the ``reason``. ``here`` and
    ``other``: the :func:`evidence` of two suites; what the other lacks is not asked of it."""
    rows = []
    for task, group in here.loc[here["n"] == n, ["task", "group"]].drop_duplicates().to_numpy():
        chosen = {"question": AT, "task": task, "group": group, "n": n, "count_model": "taskgram"}
        found = [rows_of(table, chosen).set_index("measure") for table in (here, other)]
        own, there = ({name: table.loc[way] for name, way in WAYS.items() if way in table.index}
                      for table in found)
        fine, reason = about_the_pairs({name: own.get(name) for name in WAYS})
        also, more = about_the_pairs(there)
        reason = reason if also else f"{reason}; in suite C {more}"
        standing = "about the pairs" if fine and also else "not about the pairs"
        bars = list(pd.concat(table["barred"] for table in found).dropna())
        rows.append((task, group, "barred" if bars else standing, bars[0] if bars else reason))
    return pd.DataFrame(rows, columns=["task", "group", "standing", "reason"])


# --- what was expected, and two suites ------------------------------------------------------------


def read_expectations() -> pd.DataFrame:
    """``book/expectations.yaml`` as preregistered, a row per expectation and question: task, group,
    n, count_model, measure, question, expected (positive, negative, none), paper, why."""
    path = project_root() / "book" / "expectations.yaml"
    preregistered = yaml.safe_load(path.read_text(encoding="utf-8"))
    table = pd.DataFrame(preregistered["expectations"]).assign(n=preregistered["main_order"])
    table = table.rename(columns={"reference": "count_model", "at": AT, "with_size": SLOPE})
    table = table.melt([*_KEYS, "paper", "why"], [AT, SLOPE], "question", "expected")
    return table.replace({"expected": {"rises": "positive", "falls": "negative"}})


def where(table: pd.DataFrame) -> pd.Series:
    """Task and group in words."""
    return table["task"].map(NAMES) + ", " + table["group"].str.replace("_", " ")


def claims(
    expected: pd.DataFrame, here: pd.DataFrame, other: pd.DataFrame, of_group: pd.DataFrame
) -> pd.DataFrame:
    """What two suites say of every preregistered row and of scores with frequency, and the sentence
    that follows.

    ``here`` and ``other`` are the :func:`evidence` of the suites, ``of_group`` their
    :func:`groups`. Adds to the columns of ``here`` and, with ``_c``, of ``other``: ``expected``,
    ``what`` (in words); ``p_holm`` of the preregistered rows, one family a question; ``verdict`` of
    ``here`` on what was expected; ``status`` (made, not replicated, not about the pairs, barred,
    not decided, not recorded); ``sentence``.
    """
    keys = ["question", *_KEYS]
    scores = rows_of(here, {"measure": "score", "n": list(expected["n"])})
    wanted = pd.concat([expected, scores.reindex(columns=expected.columns)])
    table = wanted.merge(here, "left", keys).merge(other, "left", keys, suffixes=("", "_c"))
    table = table.merge(of_group, on=["task", "group"], how="left")
    less = np.where(table["count_model"].str.contains("-"), " minus that under the ∞-gram LM", "")
    table["what"] = where(table) + ": " + table["measure"].map(_MEASURES) + less
    planned, bounds = table["expected"].notna(), table["question"].map(BOUNDS)
    table["p_holm"] = table["p"].where(planned).groupby(table["question"]).transform(holm)
    judged = table[["standing", "expected", "low", "high"]].assign(bound=bounds).to_numpy(object)
    table["verdict"] = [bar if bar == "barred" else verdict([answer(*row)], True)
                        if isinstance(row[0], str) else "" for bar, *row in judged]
    table = table.fillna({"shows": "not measured", "shows_c": "not recorded"})
    table["no_noise"] = table["s"].isna() & table["s"].notna().any()
    table["status"] = table.apply(_status, axis=1)
    return table.assign(sentence=table.apply(_sentence, axis=1))


def _status(row: pd.Series) -> str:
    if row["standing"] == "barred" or row[["estimate", "estimate_c"]].isna().any():
        return "barred" if row["standing"] == "barred" else "not recorded"
    if row["shows"] != row["shows_c"] or row["shows"] == "not decided":
        return "not decided" if row["shows"] == row["shows_c"] else "not replicated"
    # Controls decide on a Mem that is found, not on one that is none or less than the other's.
    less = row["shows"] == "none" or (" - " in row["count_model"] and row["shows"] == "negative")
    free = row["measure"] == "score" or (row["question"] == AT and less)
    return "made" if free or row["standing"] == "about the pairs" else "not about the pairs"


def _sentence(row: pd.Series) -> str:
    other = value(row.filter(like="_c").rename(lambda name: name.removesuffix("_c")))
    noise = " Training noise is not measured for it." if row["no_noise"] else ""
    if row["status"] != "made":
        return (f"{row['what']}, {row['question']}: {row['shows']}, {value(row)}; suite C: "
                f"{row['shows_c']}, {other}.{noise}")
    met = f" Preregistered: {row['expected']} ({row['verdict']})." if row["verdict"] else ""
    so = _SAYS[row["question"]][EXPECTED.index(row["shows"])]
    return f"{row['what']} {so}: {value(row)}; suite C {other}.{noise}{met}"


# --- the one table of claims ----------------------------------------------------------------------


def read_claims() -> list[dict]:
    """``book/paper_claims.yaml``: what is claimed, by whom, which direction the claim says
    (positive, negative, none; nothing: no claim) and which numbers bear on it."""
    path, says = project_root() / "book" / "paper_claims.yaml", (*EXPECTED, "nothing")
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    wrong = [c for c in listed if not {"claim", "by"} <= set(c) or c.get("says") not in says]
    require(not wrong, f"{wrong[:1]}: needs claim, by and says (one of {', '.join(says)})")
    return listed


def verdict(answers: list[str], of_paper: bool) -> str:
    """One verdict on several answers: agrees, disagrees or not decided of the paper's object, else
    the same direction, the opposite or no evidence; unless all say the same ``mixed, k of m``, and
    how many say the opposite."""
    words = {_OF_PAPER.get(a, "not decided") if of_paper else _OF_OTHERS.get(a, "no evidence")
             for a in answers}
    k, m = answers.count("found"), len(answers)
    against = f" ({answers.count('opposite')} the opposite)" if "opposite" in answers else ""
    return words.pop() if len(words) == 1 else f"mixed, {k} of {m}{against}"


def claims_table(listed: list[dict], sides: Mapping[str, tuple[str, Mapping]]) -> pd.DataFrame:
    """The table of claims: claim, says (and who), and of each side a cell in words: its verdict and
    its numbers, or why there are none. ``sides``: of each column the key of its selectors in the
    file and its tables by name."""
    return pd.DataFrame([
        {"claim": claim["claim"], "says": f"{claim['says']} ({claim['by']})"}
        | {name: cell(claim, *side) for name, side in sides.items()} for claim in listed])


def cell(claim: Mapping, key: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """What the tables of a side say of a claim, in words: the verdict, then the numbers. ``key``
    names the side's selectors in the claim; ``records`` are of the paper's object."""
    wanted, parts, answers, paper = claim.get(key, "not measured"), [], [], key == "records"
    if isinstance(wanted, str):
        return wanted
    says = "positive" if claim["says"] == "nothing" else claim["says"]
    for one in wanted:
        rows = selected(one, tables).reindex(columns=[*_SHOWN, *_SUMS])
        bars, rows = rows["barred"].dropna().unique(), rows[rows["barred"].isna()]
        bound = one.get("bound", BOUNDS[SLOPE if one.get("value") == "slope" else AT])
        ends = rows[["low", "high"]].dropna().to_numpy(float)  # no interval is no answer
        found = [answer(says, *each, bound) for each in ends]
        span = " to ".join(map(short, rows["estimate"].astype(float).agg(["min", "max"])))
        if rows["cells"].notna().any():  # a row that sums up many
            found = [kind for kind in ("found", "opposite", "none", "not decided")
                     for _ in range(int(rows[kind].sum()))]
            span = "; ".join("mean " + number(*each) for each in
                             rows[["estimate", "low", "high"]].to_numpy(float))
        many = [f"found in {found.count('found')} of {len(found)}, {span}"]
        if says == "none":
            many += [f"{((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).sum()} of {len(ends)} include 0"]
        texts = many if len(found) > 1 else list(map(value, rows.to_dict("records")))
        texts = [*texts, *rows["note"].dropna().unique(), *bars]
        parts += [": ".join(filter(None, [one.get("name"), "; ".join(texts)]))] if texts else []
        answers, paper = answers + found, paper and not one.get("small")
    judged = f"{verdict(answers, paper)}: " if answers and claim["says"] != "nothing" else ""
    return judged + "; ".join(parts) if parts else "not measured"


def selected(one: Mapping, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows that a selector of the file names, of each group at its largest n unless it names
    one, with estimate, low and high."""
    if one["table"] not in tables:
        return pd.DataFrame()
    rows = rows_of(tables[one["table"]], one["where"])
    if "n" in rows and "n" not in one["where"] and rows["n"].notna().any():
        rows = rows[rows["n"] == rows.groupby("group")["n"].transform("max")]
    rows = rows.rename(columns={one.get("value", "estimate"): "estimate"})
    if "low_sizes" in rows:  # of a slope's two intervals the one that reaches further
        ends = {"low": rows[["low", "low_sizes"]].min(axis=1)}
        rows = rows.assign(**ends, high=rows[["high", "high_sizes"]].max(axis=1))
    return rows


def rows_of(table: pd.DataFrame, chosen: Mapping) -> pd.DataFrame:
    """The rows of a table whose columns have these values (or one of a list). Raises InputError for
    a column that is not there."""
    require_columns(table, list(chosen), "table")
    for column, values in chosen.items():
        table = table[table[column].isin(values if isinstance(values, list) else [values])]
    return table
