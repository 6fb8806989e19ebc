"""Differences between two sets of rows as effect sizes: they do not grow with the number of rows."""

import numpy as np

from ..contract import Arrays, Column
from ..verdict import Check, at_most


def distance(reference: np.ndarray, current: np.ndarray, column: Column) -> float:
    """How far apart two samples of a column are.

    Numbers: Wasserstein distance in standard deviations of the reference. Words and bools: Jensen-Shannon distance,
    0 to 1. The difference of the missing shares counts where it is larger. NaN if one side has no value at all.
    """
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    gone = [
        np.array([x is None or x != x for x in a]) if a.dtype == object else np.isnan(a) for a in (reference, current)
    ]
    missing = abs(float(gone[0].mean()) - float(gone[1].mean()))
    old, new = reference[~gone[0]], current[~gone[1]]
    if not len(old) or not len(new):
        return missing if missing else float("nan")
    if column.is_number and column.kind != "bool":
        spread = float(np.std(old)) or 1.0
        return max(missing, float(wasserstein_distance(old, new)) / spread)
    words, places = np.unique(np.concatenate([old, new]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(words)) for part in (places[: len(old)], places[len(old) :])]
    return max(missing, float(jensenshannon(counts[0], counts[1], base=2)))


def drift(reference: Arrays, current: Arrays, columns: list[Column], limit: float, least: int) -> list[Check]:
    """One check `drift.<column>` per number, bool and category that both sides have."""
    checks = []
    for column in columns:
        name = column.name
        if name not in reference or name not in current or column.kind in ("datetime", "text"):
            continue
        rows = min(len(reference[name]), len(current[name]))
        value = round(distance(reference[name], current[name], column), 6) if rows else None
        checks.append(at_most(f"drift.{name}", value, limit, rows, least=least, required=False))
    return checks
