"""The chapter on published records: its answer, tables and sentences, from the findings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from taskgram_chapters import findings
from taskgram_chapters.numbers import number, numbers, short
from taskgram_chapters.recorded import recorded
from taskgram_chapters.records import LAST_STEP, sources
from taskgram_chapters.verdicts import AT, BOUNDS, SLOPE, rows_of, told

TOKEN = "token after a space"
GIVEN = "spearman|" + "+".join(findings.CONTROLS)
KINDS = {"spearman": "raw", GIVEN: "given the operand"}
DIGITS = "spearman|tens+units"
ABLE = 1e9
"""Parameters from which models solve more than a few of the sums and products."""
CLAIMED = 3e8
"""And those of the cells on the page of claims, at 16 shots: 410m and more."""
LEFT = {"spearman": "raw", "spearman|disease+group": "frequencies removed"}
THREE = ("pythia-14m", "pythia-410m", "pythia-12b")
"""The sizes that the figure of training steps has."""
_ENDS = ("slope", "low", "high")
_ORDERS = ("all", "70m on")
Found = Mapping[str, pd.DataFrame]


def source(folder: str) -> tuple[Found, str]:
    """The estimates, computed from a folder of the original records or, without one, recorded; and
    how they were made."""
    if folder:
        return findings.findings(folder), f"computed for this page from {folder}"
    tables, note = recorded("records")
    return tables, f"recorded on {note['date']}"


def source_table() -> pd.DataFrame:
    """The public repositories of the records, with commit and licence."""
    listed = sources().query("set != 'hubble'")
    listed = listed.groupby(["set", "repo", "commit", "licence"], sort=False).size().reset_index()
    return pd.DataFrame({
        "set": listed["set"], "repository": listed["repo"], "files": listed[0],
        "commit": "`" + listed["commit"].str[:12] + "`", "licence": listed["licence"]})


def _wider(slopes: pd.DataFrame) -> pd.DataFrame:
    """Slopes with the wider of their two intervals: of other points, and of other sizes."""
    return slopes.assign(low=slopes[["low", "low_sizes"]].min(axis=1),
                         high=slopes[["high", "high_sizes"]].max(axis=1))


def of_slopes(slopes: pd.DataFrame, name: str, what: str = "The correlation") -> str:
    """Where a correlation (``what``) changes with size, with its slopes; ``name``: the column of
    names."""
    names = slopes[name].str.replace(r"gram$", "grams", regex=True)
    return told(slopes.assign(where=names), {
        "positive": f"{what} rises with size for", "negative": f"{what} falls with size for",
        "none": f"{what} changes by less than .1 per tenfold size for",
        "not decided": f"{what} is not decided for"}, BOUNDS[SLOPE], _ENDS)


# --- n-grams by step and size ---------------------------------------------------------------------


def phases(found: Found) -> pd.DataFrame:
    """Correlations of Pythia with n-grams of the Pile by step and size."""
    table = rows_of(found["phases"], {"family": "pythia", "corpus": "pile"})
    return table.assign(count_model=table["n"].astype(str) + "-gram")


def phase_slopes(found: Found, sizes: str) -> pd.DataFrame:
    """Slopes at the last step over ``all`` sizes or those from ``70m on``."""
    return rows_of(found["slopes"], {"task": "phases", "group": "pile", "sizes": sizes})


def of_phases(found: Found) -> dict[str, str]:
    """The order in which n-grams are followed, what size does, and how much is of this corpus."""
    peaks = rows_of(found["peaks"], {"family": "pythia", "corpus": "pile"})
    order = peaks.sort_values(["model", "n"]).groupby("model")["peak_step"]
    runs = peaks.drop_duplicates("model")[["runs_in_turn", "seeds"]].sum()
    last = rows_of(found["phases"], {"family": "pythia", "step": LAST_STEP})
    last = last.pivot(index="model", columns=["corpus", "n"], values="estimate")
    difference = (last["pile"] - last["openwebtext"]).stack()
    every, later = (of_slopes(phase_slopes(found, sizes), "count_model") for sizes in _ORDERS)
    return {
        "in-turn": f"{order.apply(lambda s: s.is_monotonic_increasing).sum()} of {order.ngroups}",
        "runs-in-turn": f"{runs['runs_in_turn']} of {runs['seeds']}",
        "own-corpus": f"{(difference > 0).sum()} of {len(difference)}",
        "own-corpus-range": short(difference.abs().max()),
        "phase-slopes": every, "phase-later": later}


# --- running text ---------------------------------------------------------------------------------


def running_text(found: Found) -> pd.DataFrame:
    """Correlations of words in full context with n-grams, raw and given all shorter ones."""
    text = found["running_text"]
    text = text[(text["group"] == "full") & ~text["measure"].str.contains("letters")]
    what = np.where(text["measure"] == "spearman", "raw", "given all shorter orders")
    return text.assign(what=what).sort_values(["what", "count_model"], ascending=[False, True])


def limited(found: Found) -> pd.DataFrame:
    """Correlations with 2-, 3- and 5-grams by the number of words of context."""
    text = rows_of(found["running_text"], {
        "measure": "spearman", "count_model": ["2-gram", "3-gram", "5-gram"],
        "group": ["full", "1", "2", "4"]})
    text = text[text["parameters"].notna()]
    words = text["group"].where(text["group"] != "full", "all")
    return text.assign(**{"words before": words}).sort_values(["count_model", "words before"])


def _text_slopes(found: Found) -> pd.DataFrame:
    slopes = _wider(rows_of(found["slopes"], {"task": "running text"}))
    return slopes[~slopes["measure"].str.contains("letters")]


def text_table(found: Found) -> pd.DataFrame:
    """The smallest and the largest model, and the slope with size, of every order."""
    text = running_text(found).dropna(subset=["parameters"])
    models = text.sort_values("parameters")["model"].iloc[[0, -1]]
    rows = rows_of(text, {"model": list(models)}).assign(value=numbers)
    wide = rows.pivot(index=["what", "count_model", "measure"], columns="model", values="value")
    slopes = rows_of(_text_slopes(found), {"group": "full"}).assign(
        slope_=lambda t: numbers(t, *_ENDS))[["count_model", "measure", "slope_"]]
    wide = wide[models].reset_index().merge(slopes, on=["count_model", "measure"])
    wide = wide.sort_values(["what", "count_model"], ascending=[False, True])
    return wide.drop(columns="measure").rename(columns={
        "what": "correlation", "count_model": "n-gram", "slope_": "slope per tenfold size"})


def of_text(found: Found) -> dict[str, str]:
    """What size does to raw and partial correlations, and what n-grams leave unexplained."""
    slopes, one = _text_slopes(found), running_text(found).iloc[0]
    full, raw = slopes["group"] == "full", slopes["measure"] == "spearman"
    own = slopes["count_model"] == _next_order(slopes["group"])
    back = found["backed_off"].set_index("n")["share"]
    added = rows_of(found["added"], {"predictor": "5-gram"}).sort_values("parameters")["r2"]
    other, same = (rows_of(found["running_text"], {
        "model": model, "group": "1", "count_model": "2-gram", "measure": "spearman"})
        for model in ("gpt2-small", "pythia-160m"))
    return {
        "text-points": f"{one['points']:,} words in {one['examples']} blocks",
        "text-raw": of_slopes(slopes[full & raw], "count_model", "The raw correlation"),
        "text-partial": of_slopes(slopes[full & ~raw], "count_model",
                                  "The correlation given all shorter orders"),
        "text-short": of_slopes(slopes[~full & raw & own], "count_model",
                                "With exactly the words that the n-gram has, the correlation"),
        "backed-off-4": f"{back[4]:.0%}", "backed-off-5": f"{back[5]:.0%}",
        "unexplained-small": f"{1 - added.iloc[0]:.0%}",
        "unexplained-large": f"{1 - added.iloc[-1]:.0%}",
        "gpt2": numbers(other)[0], "pythia-one-word": numbers(same)[0]}


def _next_order(words: pd.Series) -> pd.Series:
    """The n-gram that has exactly so many words of context."""
    return (pd.to_numeric(words, errors="coerce") + 1).astype("Int64").astype(str) + "-gram"


# --- arithmetic -----------------------------------------------------------------------------------


def by_count(found: Found) -> pd.DataFrame:
    """Accuracy of the able models in ten groups of operands by the count of their token."""
    bins = rows_of(found["bins"], {"release": "v1.1", "shots": [0, 4, 16]})
    bins = bins[bins["parameters"] >= ABLE].sort_values(["parameters", "task", "shots"])
    setting = bins["task"] + ", " + bins["shots"].astype(str) + " shots"
    return bins.assign(setting=setting).rename(
        columns={"count": "count_of_number", "score": "accuracy"})


def sums(found: Found, **chosen) -> pd.DataFrame:
    """Correlations of accuracy with the count of the operand's token at the last step."""
    rows = rows_of(found["arithmetic"], {
        "step": LAST_STEP, "count_model": TOKEN, "items": "0–99", "shots": [0, 4, 16]} | chosen)
    rows = rows.assign(setting=rows["task"] + ", " + rows["group"],
                       given=rows["measure"].map(KINDS))
    return rows.sort_values(["task", "shots", "given"], ascending=[True, True, False])


def sums_table(found: Found) -> pd.DataFrame:
    """The largest model: accuracy, and its correlation with the count under each control."""
    rows = sums(found, release="v1.1")
    rows = rows[rows["parameters"] == rows["parameters"].max()].set_index("setting")
    parts = {name: rows[rows["measure"] == measure] for measure, name in
             (KINDS | {DIGITS: "given both digits"}).items()}
    out = {name: pd.Series(numbers(part), part.index) for name, part in parts.items()}
    score = pd.Series(numbers(parts["raw"], "score", "score_low", "score_high"), out["raw"].index)
    p = parts["given the operand"]["p_holm"].map(
        lambda p: "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0"))
    return pd.DataFrame({"accuracy": score, **out, "p (Holm)": p}).loc[
        parts["raw"].index].reset_index()


def of_sums(found: Found) -> dict[str, str]:
    """In how many settings accuracy follows the count, by task and control, and how far two
    trainings and two measurements differ."""
    rows = sums(found, release="v1.1")
    able, small = (rows[side] for side in (rows["parameters"] >= ABLE, rows["parameters"] < ABLE))
    texts = {"floor": short(small["score"].max()),
             "sums-raw": _above(rows_of(able, {"measure": "spearman"}))}
    for task, part in able.groupby("task"):
        texts |= {task: _above(rows_of(part, {"measure": GIVEN})),
                  f"{task}-digits": _above(rows_of(part, {"measure": DIGITS}))}
    claimed = rows_of(rows, {"shots": 16, "measure": GIVEN})
    claimed = claimed[claimed["parameters"] >= CLAIMED]
    texts |= {f"claimed-{task}": _above(part) for task, part in claimed.groupby("task")}
    with_count = rows_of(found["operands"], {"count_model": TOKEN})
    texts |= {f"operand-{name}": text for name, text in
              zip(with_count["with"], numbers(with_count), strict=True)}
    again = found["reruns"].sort_values("largest").iloc[-1]
    old = sums(found, measure=GIVEN, shots=16)
    old = old[old["parameters"] > ABLE]
    pairs = old.pivot(index=["task", "parameters"], columns="release", values="estimate").dropna()
    return texts | {
        "reruns": f"{again['differ']} of {again['scores']:,}",
        "reruns-most": short(again["largest"]),
        "releases-apart": short((pairs["v1.1"] - pairs["v0"]).abs().max()),
        "releases-wide": short((old["high"] - old["low"]).median())}


def _above(rows: pd.DataFrame) -> str:
    return f"{(rows['low'] > 0).sum()} of {len(rows)}"


# --- pairs ----------------------------------------------------------------------------------------


def pairs(found: Found, window: str, family: str | None = None) -> pd.DataFrame:
    """Correlations of log P with pair counts in a window, raw and with frequencies removed."""
    near = rows_of(found["pairs"], {"group": window, "measure": list(LEFT)}
                   | ({"family": family} if family else {}))
    near = near.assign(what=near["measure"].map(LEFT))
    return near.sort_values(["task", "what"], ascending=[True, False])


def pair_table(found: Found, window: str) -> pd.DataFrame:
    """A row for each model: raw, and with the frequencies of both sides removed."""
    near = pairs(found, window).assign(value=numbers)
    order = near.drop_duplicates("model").sort_values(
        ["family", "parameters", "model"], ascending=[False, True, True])["model"]
    wide = near.pivot(index="model", columns=["task", "what"], values="value").loc[order]
    wide.columns = [f"{task}, {what}" for task, what in wide.columns]
    return wide.reset_index()


def of_pairs(found: Found, window: str) -> dict[str, str]:
    """What is left of pair counts, in how many sizes, and what size does to it."""
    near = pairs(found, window)
    raw, left = (near[near["what"] == what] for what in LEFT.values())
    pythia = rows_of(left, {"family": "pythia"}).sort_values("parameters")
    slopes = _wider(rows_of(found["slopes"], {
        "task": ["gender", "race"], "group": window, "measure": list(LEFT)}))
    slopes = slopes.assign(what=slopes["task"] + " (" + slopes["measure"].map(LEFT) + ")")
    sizes = pythia.assign(where=pythia["model"].str.extract(r"-([\d.]+[mb])")[0])
    phrases = {"positive": "Above zero at", "negative": "Below zero at",
               "none": "Within ±.15 of zero at", "not decided": "Not decided at"}
    each = {task: told(part, phrases, BOUNDS[AT]) for task, part in sizes.groupby("task")}
    every = rows_of(found["pairs"], {"group": window})
    traps = {name: every[every["measure"] == measure] for name, measure in (
        ("logs", "spearman|disease+group"), ("ranks", "spearman|disease+group, of ranks"))}
    return {
        "pairs-left": "\n".join(f"- *{task}*: {text}" for task, text in each.items()),
        "pairs-slope": of_slopes(slopes, "what"),
        "pairs-raw": f"{short(raw['estimate'].min())} to {short(raw['estimate'].max())}",
        "pairs-points": "; ".join(f"{task}: {part['points'].iloc[0]} pairs of "
                                  f"{part['examples'].iloc[0]} diseases"
                                  for task, part in raw.groupby("task")),
        "pairs-agreement": " and ".join(f"{short(value)} ({task})" for task, value in
                                        pythia.groupby("task")["agreement"].mean().items()),
        "pairs-reliability": " to ".join(short(left["reliability"].agg(end))
                                         for end in ("min", "max")),
        "pairs-small": f"{left['small_share'].max():.0%}",
        **{f"trap-{name}": " and ".join(
            f"{(part['low_diseases'] > 0).sum()} of {len(part)} models ({task})"
            for task, part in rows.groupby("task")) for name, rows in traps.items()}}


def parts(found: Found, window: str) -> dict[str, str]:
    """The results of the chapter, in a sentence or two for each record."""
    every, later = (phase_slopes(found, sizes) for sizes in _ORDERS)
    slopes, first = _text_slopes(found), every.sort_values("count_model").iloc[0]
    raw, full = slopes["measure"] == "spearman", slopes["group"] == "full"
    short_context = slopes[raw & (slopes["count_model"] == _next_order(slopes["group"]))]
    rise = (short_context["low"] > 0).sum()
    task = of_sums(found)
    near = pairs(found, window, "pythia")
    of_raw, left = (near[near["what"] == what] for what in LEFT.values())
    kinds = " and ".join(f"{_above(part)} sizes ({kind})" for kind, part in left.groupby("task"))
    return {
        "departs": f"Over all sizes, smaller ones included, the correlation falls for "
                   f"{_below(every)} n-gram orders ({first['count_model']}s: "
                   f"{number(first['slope'], first['low'], first['high'])} per tenfold size), from "
                   f"70 million parameters on for {_below(later)}. What an order adds to the "
                   f"shorter ones rises for {_above(slopes[full & ~raw])}.",
        "keeps": f"Given only as many words as the n-gram has, larger models follow {rise} of "
                 f"{len(short_context)} orders more closely.",
        "sums": "With the size and roundness of a number held constant, accuracy still follows its "
                f"count in {task['multiplication']} cells of products and {task['addition']} of "
                "sums (models from 1.4b on, each at 0, 4 and 16 shots).",
        "pairs": f"Log P of sentences follows pair counts with ρ of "
                 f"{short(of_raw['estimate'].min())} to {short(of_raw['estimate'].max())}; once "
                 "the frequency of either side is removed, the interval lies above zero in "
                 f"{kinds}."}


def answer(found: Found, results: Mapping[str, str]) -> str:
    """The answer of the chapter: what size does, and the list of :func:`parts`."""
    listed = "\n".join(f"- {text}" for text in results.values())
    later, last = phase_slopes(found, _ORDERS[1]), rows_of(phases(found), {"step": LAST_STEP})
    ends = " to ".join(short(last["estimate"].agg(end)) for end in ("min", "max"))
    return (f"**Raw, log P of every size correlates with the n-grams of the Pile (ρ {ends}). From "
            f"70 million parameters on, the larger Pythia is, the less closely it follows "
            f"{_below(later)} orders.** Four records show more:\n\n{listed}")


def _below(slopes: pd.DataFrame) -> str:
    return f"{(slopes['high'] < 0).sum()} of {len(slopes)}"
