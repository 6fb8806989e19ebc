"""Differences between a period and the ones before it as effect sizes: they do not grow with the number of rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlgates.contract import Arrays, Column, Contract, gone
from mlgates.verdict import Check, at_most


def distance(reference: np.ndarray, current: np.ndarray, column: Column) -> float:
    """How far apart the known values of two samples of a column are; NaN if one side has none.

    Numbers: Wasserstein distance in standard deviations of the reference. Words and bools: Jensen-Shannon distance,
    0 to 1.
    """
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    old, new = reference[~gone(reference)], current[~gone(current)]
    if not len(old) or not len(new):
        return float("nan")
    if column.is_number and column.kind != "bool":
        return float(wasserstein_distance(old, new)) / (float(np.std(old)) or 1.0)
    words, places = np.unique(np.concatenate([old, new]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(words)) for part in (places[: len(old)], places[len(old) :])]
    return float(jensenshannon(counts[0], counts[1], base=2))


def association(values: np.ndarray, target: np.ndarray, column: Column) -> float:
    """How a column goes with the outcome: for numbers the rank correlation, -1 to 1, for words the correlation ratio.

    NaN where either does not vary.
    """
    known = ~gone(values)
    values, target = values[known], target[known]
    if len(values) < 2 or not target.std():
        return float("nan")
    if column.is_number:
        from scipy.stats import rankdata

        ranks = rankdata(values)
        return float(np.corrcoef(ranks, target)[0, 1]) if ranks.std() else float("nan")
    _, places = np.unique(values, return_inverse=True)
    counts, sums = np.bincount(places), np.bincount(places, weights=target)
    between = (counts * (sums / counts - target.mean()) ** 2).sum() / len(target)
    return float(np.sqrt(between) / target.std())


def noise(reference: int, current: int, words: int) -> float:
    """The distance that healthy rows of these numbers stay below: few rows or many words must not look like drift."""
    rows = 1 / reference + 1 / current
    return float(1.5 * np.sqrt((words - 1) / 8 * rows) if words > 1 else 3 * np.sqrt(rows))


def limit(kind: str, limits: Mapping[str, Any]) -> float:
    """The limit of a kind of drift: its own, or that of all effect sizes."""
    return float(limits.get(f"drift_{kind}", limits["drift_limit"]))


def columns(
    contract: Contract, reference: Arrays, current: Arrays, targets: Sequence[np.ndarray], limits: Mapping[str, Any]
) -> list[Check]:
    """`drift.distribution`, `drift.missing` and `drift.association` of each number, bool and category but the outcome.

    `targets` are the outcomes as numbers, (n,), of the rows of reference and current; a look-up's columns, which have
    other rows, have no association.
    """
    checks = []
    for name, column in contract.columns.items():
        absent = name not in reference or name not in current
        if absent or column.kind in ("datetime", "text") or column.source == "outcome":
            continue
        old, new = reference[name], current[name]
        known, every = [int((~gone(side)).sum()) for side in (old, new)], [len(old), len(new)]
        words = len(np.unique(new[~gone(new)])) if new.dtype == object else 0
        values = {"distribution": distance(old, new, column), "missing": float("nan")}
        if min(every):
            values["missing"] = abs(float(gone(old).mean()) - float(gone(new).mean()))
        if column.source == "request":
            values["association"] = abs(association(old, targets[0], column) - association(new, targets[1], column))
        for kind, value in values.items():
            rows = every if kind == "missing" else known
            most = max(limit(kind, limits), noise(rows[0], rows[1], words) if min(rows) else 0)
            checks.append(_check(f"{kind}.{name}", value, most, min(rows), limits["drift_min_rows"], column.alias))
    return checks


def _check(name: str, value: float, most: float, rows: int, least: int, evidence: str) -> Check:
    told = round(value, 6), round(most, 6)
    return at_most(f"drift.{name}", *told, rows, least=least, required=False, evidence=evidence)


def delivery(before: Sequence[Mapping[str, Any]], now: Mapping[str, Any], limits: Mapping[str, Any]) -> list[Check]:
    """Drift of a delivery as a whole: `volume`, `duplicates`, `outcome`, `freshness` and `late` rows.

    `before` and `now` hold, by period: `rows`, `alike`, `outcome` (its mean, or the shares of its classes), `first` and
    `last` (unix seconds that 99.9 % of the rows keep to, None without a time), and `late`, the share of rows older than
    the period before.
    """
    rows, filled, found = now["rows"], [one for one in before if one["rows"]], []
    if not filled:
        return []

    def add(name: str, value: float, evidence: str) -> None:
        least = 1 if name in ("volume", "freshness") else limits["drift_min_rows"]
        found.append(_check(name, value, limit(name, limits), rows, least, evidence))

    usual = float(np.mean([one["rows"] for one in filled]))
    changed = abs(float(np.log2(max(rows, 0.5) / usual)))
    add("volume", changed, f"doublings or halvings of {usual:,.0f} rows")
    if rows:
        alike = now["alike"] - float(np.mean([one["alike"] for one in filled]))
        add("duplicates", alike, "rise of the share of rows that are there twice")
        old, new = np.mean([one["outcome"] for one in filled], axis=0), np.asarray(now["outcome"])
        spread = float(np.mean([one["spread"] for one in filled])) or 1.0
        add("outcome", float(np.abs(new - old).max()) / spread, "change of the outcome's rate or mean")
    if now["last"] is not None and filled[-1]["last"] is not None:
        lengths = [one["last"] - one["first"] for one in filled]
        usual = float(np.median(lengths)) or 1.0
        lag = max(0.0, filled[-1]["last"] + usual - now["last"]) / usual
        add("freshness", lag, "how much of a usual period the newest rows lack")
        add("late", now["late"], "share of rows that belong to the period before")
    return found
