"""Mem of a run by other choices: another threshold, embedding, unit of counting, smoothing."""

from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import pandas as pd

from taskgram_utils.counting.base import count_table
from taskgram_utils.counting.scan import ScanCounter
from taskgram_utils.errors import InputError
from taskgram_utils.language_models.infinigram import ZERO_HANDLING
from taskgram_utils.language_models.taskgram import taskgram_logp
from taskgram_utils.memorization import mem
from taskgram_utils.mining import STOPWORDS
from taskgram_utils.run.data import CALIBRATE, corpus
from taskgram_utils.run.models import (
    at_last_step, free_model, load_at, main_model, model_of, of_run, step_part,
)
from taskgram_utils.run.store import Run
from taskgram_utils.tables import KEYS

SHARES = (0.01, 0.05, 0.2, 0.5)
"""Shares of shuffled pairs that may exceed γ."""
KAPPAS = (0.1, 1.0, 10.0)
WINDOW = "words:8"
"""What a document is in the variant of a run that names no ``alternative_document``."""
Makers = Mapping[str, Callable[[Any], pd.DataFrame]]
Tables = dict[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]]
"""Task-grams and counts by choice and variant."""


class Changed:
    """A run with some other parameters. Each table is made by one of ``makers``, or is the run's
    own; it is made or read once and not kept on disk. ``given`` are some that are there."""

    def __init__(self, run: "Run | Changed", makers: Makers,
                 given: Mapping[str, pd.DataFrame] | None = None, **changes: Any):
        self._run, self._makers, self._changes = run, makers, changes
        self._tables = dict(given or {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def __getitem__(self, parameter: str) -> Any:
        return self._changes[parameter] if parameter in self._changes else self._run[parameter]

    def table(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            make = self._makers.get(name)
            self._tables[name] = make(self) if make else self._run.table(name)
        return self._tables[name]


def variants(run: Run, n: int, makers: Makers) -> pd.DataFrame:
    """Mem of the largest model at its last step, at one n, as the run has it and by one other
    choice at a time: the columns of :func:`taskgram_utils.memorization.mem`, with ``choice``,
    ``variant`` and ``default`` (whether it is that of the run, whose row each choice repeats).

    ``makers`` make the tables gammas, taskgrams, counts and infinigram_lm of a run. What is mined
    by another threshold, stop-word rule or embedding is counted anew, and the model scores each s^y
    that the run's own table lacks, so that no point is lost. A choice that the run does not offer
    is absent: the web service counts nothing more and has no ∞-gram, an index has its documents and
    its text, and stop words are removed from a text only where no s^y has one.
    """
    run = Changed(run, {})  # which reads each table once
    grams, counts = run.table("taskgrams"), run.table("counts")
    own = grams[grams["n"] == n], counts[counts["half"].isna()]
    tables = _mined(run, n, makers) if run["backend"] != "api" else {}
    tables |= _counted(run, *own, makers) if run["backend"] == "scan" else {}
    options = {"form": run["form"], "zero_handling": run["zero_handling"], "kappa": run["kappa"]}
    models = {key: taskgram_logp(*pair, **options) for key, pair in tables.items()}
    kept = options["zero_handling"] == "keep"
    defaults = {
        "γ": _share(run["shuffled_share"]) if _calibrated(run) else "the run's",
        "embedding": "the run's", "stop words": run["stopwords"], "s^x counted in": "documents",
        "document": "the run's",
        "smoothing": f"κ = {options['kappa']:g}" if kept else "zeros dropped",
        "point": options["form"].replace("_", " "),
        "∞-gram, unseen": run["infinigram_zero_handling"],
    }
    others = [("smoothing", f"κ = {k:g}", {"kappa": k, "zero_handling": "keep"}) for k in KAPPAS]
    others += [("smoothing", "zeros dropped", {"zero_handling": "drop"})]
    others += [("point", form.replace("_", " "), {"form": form})
               for form in ("per_output", "per_pair")]
    models |= {(choice, variant): taskgram_logp(*own, **options | change)
               for choice, variant, change in others if variant != defaults[choice]}
    models["", ""], models["", "∞-gram"] = run.table("taskgram_lm"), run.table("infinigram_lm")
    if len(models["", "∞-gram"]):
        for rule in {*ZERO_HANDLING} - {run["infinigram_zero_handling"]}:
            other = Changed(run, {}, infinigram_zero_handling=rule)
            models["∞-gram, unseen", rule] = makers["infinigram_lm"](other)
    scores = _scores(run, pd.concat([grams for grams, _ in tables.values()] or own[:1]))
    rows = {key: mem(lm[lm["n"] == n], scores).dropna(subset="model")
            for key, lm in models.items() if (lm["n"] == n).any()}
    for choice in dict.fromkeys(choice for choice, _ in rows if choice):
        same = rows["", "∞-gram" if choice.startswith("∞") else ""]
        rows[choice, defaults[choice]] = same.assign(default=True)
    parts = [table.assign(choice=choice, variant=variant)
             for (choice, variant), table in rows.items() if choice]
    order = {choice: place for place, choice in enumerate(defaults)}
    table = pd.concat(parts, ignore_index=True).sort_values(
        "choice", key=lambda choices: choices.map(order), kind="stable", ignore_index=True)
    return table.assign(default=table["default"].notna())


def _share(share: float) -> str:
    return f"{share:.0%} of shuffled"


def _calibrated(run: Run) -> bool:
    return run["gamma"] in (None, CALIBRATE)


def _mined(run: Run, n: int, makers: Makers) -> Tables:
    """Task-grams and their counts by other thresholds, stop words and another embedding."""

    def changed(**changes: Any) -> Changed:
        return Changed(run, makers, ngram_sizes=[n], **changes)

    shares = sorted(SHARES, reverse=True)  # those of the loosest threshold have all pairs
    swept = changed(gamma=CALIBRATE, shuffled_share=shares)
    loosest, gammas = swept.table("taskgrams"), swept.table("gammas").groupby("task")
    grams = {}
    for i, share in enumerate(shares):
        gamma = loosest["task"].map(gammas.nth(i).set_index("task")["gamma"])
        if not _calibrated(run) or share != run["shuffled_share"]:  # which is the run's own
            named = loosest["cosine"].isna()
            grams["γ", _share(share)] = loosest[named | (loosest["cosine"] > gamma)]
    if run["backend"] == "scan":
        vectors = changed(embedding=str(run.path("own_embedding")))
        grams["embedding", "of the text itself"] = vectors.table("taskgrams")
    union = pd.concat(grams.values()).drop_duplicates(["sx", "sy"])
    counts = makers["counts"](Changed(run, {}, {"taskgrams": union}))
    tables = {key: (table, counts) for key, table in grams.items()}
    # Without stop words both rules mine the same pairs, and count them in other texts.
    mined = {"kept": "kept", "mined": "mined", "both": "mined"}
    alike = {rule: changed(stopwords=rule) for rule in set(mined.values())}
    for rule in STOPWORDS:
        if rule != run["stopwords"] and (rule != "both" or run["backend"] == "scan"):
            table = alike[mined[rule]].table("taskgrams")
            try:
                other = makers["counts"](Changed(run, {}, {"taskgrams": table}, stopwords=rule))
                tables["stop words", rule] = table, other
            except InputError:  # a full answer has one: no text without them has the answer
                continue
    # Pairs that are named and not mined are in the table of the first n alone.
    named = n == run["ngram_sizes"][0]
    return {key: (grams[grams["cosine"].notna() | named], counts[counts["half"].isna()])
            for key, (grams, counts) in tables.items()}


def _counted(run: Run, own: pd.DataFrame, counts: pd.DataFrame, makers: Makers) -> Tables:
    """The run's pairs at one n in other units: s^x by occurrence, and other documents."""
    counter = ScanCounter(corpus(run), "occurrences")
    occurrences = count_table(counter, ngrams=own["sx"].unique())
    # Documents divided by occurrences, as in the paper: the units differ, so none is named.
    mixed = pd.concat([counts[counts["sy"].notna()], occurrences]).drop(columns=["unit", "source"])
    document = run["alternative_document"] or WINDOW
    cut = makers["counts"](Changed(run, {}, {"taskgrams": own}, document=document))
    return {("s^x counted in", "occurrences"): (own, mixed),
            ("document", document): (own, cut[cut["half"].isna()])}


def _scores(run: Run, grams: pd.DataFrame) -> pd.DataFrame:
    """log P (nats) of every s^y of the run, and of these task-grams, under the largest model at its
    last step."""
    from taskgram_utils.language_models.neural import score

    name, examples = main_model(run), run.table("evaluated")
    known = run.table("scores")
    known = at_last_step(known[(known["model"] == name) & known["n"].notna()])
    asked = grams[grams["example_id"].isin(examples["example_id"])].drop_duplicates(KEYS)
    asked = asked.merge(known[KEYS], how="left", indicator=True)
    new = asked[asked.pop("_merge") == "left_only"]
    if new.empty:
        return known
    step = known["step"].iloc[0]
    model = load_at(run, model_of(run, name).key, step_part(None if pd.isna(step) else step))
    examples = examples[examples["example_id"].isin(new["example_id"])]
    with redirect_stderr(StringIO()):  # what cannot be scored was named when the run was scored
        more = of_run(run, score(examples, model, new, long=run["long"]))
    free_model()
    return pd.concat([known, more[more["n"].notna()]], ignore_index=True)
