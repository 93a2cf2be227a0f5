"""Numbers that the paper prints (``book/paper``, with their source), and what they say."""

import pandas as pd
from scipy import stats

from taskgram_utils.errors import require
from taskgram_utils.run.store import project_root


def printed(name: str) -> pd.DataFrame:
    """The table ``book/paper/<name>.csv``: ``wmt_bleu`` (BLEU by language and model),
    ``prompts`` (accuracy after prompt optimisation, per cent)."""
    folder = project_root() / "book" / "paper"
    there = sorted(p.stem for p in folder.glob("*.csv"))
    require(name in there, f"paper table {name}: not one of {', '.join(there)}")
    return pd.read_csv(folder / f"{name}.csv")


def rank_correlations(table: pd.DataFrame, x: str, y: str, by: str) -> pd.DataFrame:
    """Spearman of ``x`` and ``y`` per value of ``by``, for few points: ``spearman``, two-sided
    ``p`` by Student's t, the exact ``p_exact`` over all orders of the points, and ``points``."""
    rows = []
    for value, part in table.groupby(by, sort=False):
        a, b = part[x].to_numpy(float), part[y].to_numpy(float)
        found = stats.spearmanr(a, b)
        exact = stats.permutation_test((a,), lambda v, b=b: stats.spearmanr(v, b).statistic,
                                       permutation_type="pairings", n_resamples=5040)
        row = {by: value, "spearman": found.statistic, "p": found.pvalue, "p_exact": exact.pvalue}
        rows.append({**row, "points": len(a)})
    return pd.DataFrame(rows)
