"""The task-gram language model with other outputs in the place of s^y: placebo, wrong options."""

import numpy as np
import pandas as pd

from taskgram_utils.errors import require_columns
from taskgram_utils.language_models.taskgram import (
    GROUP, POINT, counted_pairs, distinct_pairs, logp_of_pairs, read_counts, require_counts,
)
from taskgram_utils.ngrams import normalize


def placebo_outputs(
    taskgrams: pd.DataFrame, counts: pd.DataFrame, nearest: int = 10
) -> pd.DataFrame:
    """Give each s^y another output s^y' of matched frequency (:eq:`eq-placebo`): the distinct pairs
    with ``placebo``.

    s^y' is the output of the same task, group and n whose log (1 + C(s^y')) is nearest to that of
    s^y and which is no s^y or s^x of the point's own example, the same one for all its s^x. Among
    equally near ones a hash of both decides, so that the partner is neither alphabetical nor drawn;
    ``nearest`` outputs on either side are looked at, and where all are taken ``placebo`` is null.
    ``log_ratio`` is log (1 + C(s^y')) - log (1 + C(s^y)), ``placebo_text`` how the table writes
    s^y' (where it has ``sy_text``). The pairs (sx, placebo) must then be counted; ``counts`` needs
    the single counts of all s^y.
    """
    pairs, (singles, _) = distinct_pairs(taskgrams), read_counts(counts)
    level = np.log1p(singles.set_index("sx")["count"].reindex(pairs["sy"].unique()).astype(float))
    require_counts(level.rename_axis("sy").reset_index(), "count", ["sy"])
    placebo = np.full(len(pairs), None, object)
    for _, rows in pairs.groupby(GROUP, dropna=False, sort=False):
        outputs = rows["sy"].unique().astype(object)
        hashes = pd.util.hash_array(outputs)
        # Within one frequency the neighbours are random, not alphabetical.
        order = np.lexsort((hashes, level[outputs]))
        outputs, hashes, levels = outputs[order], hashes[order], level[outputs].to_numpy()[order]
        partners, taken = {}, {}
        for i, sy in enumerate(outputs):
            near = np.arange(max(0, i - nearest), min(len(outputs), i + nearest + 1))
            near = near[near != i]
            near = near[np.lexsort((hashes[near] ^ hashes[i], np.abs(levels[near] - levels[i])))]
            partners[sy] = outputs[near]
        for example, sx, sy in rows[["example_id", "sx", "sy"]].itertuples(index=False):
            taken.setdefault(example, set()).update((sx, sy))
        placebo[rows.index] = [
            next((other for other in partners[sy] if other not in taken[example]), None)
            for example, sy in zip(rows["example_id"], rows["sy"], strict=True)]
    pairs["placebo"] = pd.array(placebo, dtype="str")
    pairs["log_ratio"] = pairs["placebo"].map(level) - pairs["sy"].map(level)
    if "sy_text" in pairs:
        written = pairs.drop_duplicates("sy").set_index("sy")["sy_text"]
        pairs["placebo_text"] = pairs["placebo"].map(written)
    return pairs


def distractor_outputs(taskgrams: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """Each pair of a multiple-choice example with every wrong option in ``placebo``, a row for
    each.

    ``examples`` has ``options`` (lists of texts) and ``gold`` (the number of the right one); an
    example without is left out, and so is an option that is s^y, that is s^x or that has no word.
    ``placebo_text`` is the option as written.
    """
    require_columns(examples, ["example_id", "options", "gold"], "examples")
    asked = examples.loc[examples["gold"].notna(), ["example_id", "options", "gold"]]
    rows = [(str(key), normalize(text), text)
            for key, options, gold in asked.itertuples(index=False)
            for number, text in enumerate(options) if number != int(gold)]
    wrong = pd.DataFrame(rows, columns=["example_id", "placebo", "placebo_text"], dtype="str")
    pairs = distinct_pairs(taskgrams).merge(wrong, on="example_id")
    other = ~pairs["placebo"].isin(["", None])
    other &= (pairs["placebo"] != pairs["sy"]) & (pairs["placebo"] != pairs["sx"])
    return pairs[other].reset_index(drop=True)


def placebo_reference(
    placebo: pd.DataFrame, counts: pd.DataFrame, placebo_counts: pd.DataFrame,
    form: str = "per_output", zero_handling: str = "keep", kappa: float = 1.0,
    model: str = "placebo",
) -> pd.DataFrame:
    """The placebo (:eq:`eq-placebo`): log P(s^y' | s^x) in nats, given to s^y itself.

    ``placebo`` comes from :func:`placebo_outputs` or :func:`distractor_outputs` (then each point
    has the mean over its wrong options), ``placebo_counts`` holds the pairs (sx, placebo). The
    language model is the same one: p0 stays that of the task-gram table. ``model`` names it.
    """
    require_columns(placebo, ["placebo"], "placebo")
    pairs = counted_pairs(placebo, counts).drop(columns=["pair_count", "placebo"])
    partners = placebo.loc[placebo["placebo"].notna(), [*POINT, "sx", "placebo"]]
    pairs = pairs.merge(partners.drop_duplicates(), on=[*POINT, "sx"])
    names = {"sy": "placebo", "count": "pair_count", "exact": "exact_placebo"}
    exchanged = read_counts(placebo_counts)[1].rename(columns=names)
    pairs = pairs.merge(exchanged, on=["sx", "placebo"], how="left")
    pairs["exact"] &= pairs["exact_placebo"]
    require_counts(pairs, "pair_count", ["sx", "placebo"])
    return logp_of_pairs(pairs, form, zero_handling, kappa, model)
