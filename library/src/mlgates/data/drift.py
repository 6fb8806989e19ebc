"""Differences between a period and the ones before it, as sizes of effects.

They do not grow with the number of rows. Single columns are measured by `mlgates.drift`, as those
of the prediction log are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlgates import drift
from mlgates.contract import Arrays, Column, Contract, gone
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Effect, at_most


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


def limit(kind: str, limits: ValidateSettings) -> float:
    """The limit of a kind of drift: its own, or that of all effect sizes."""
    own = {
        "missing": limits.drift_missing,
        "volume": limits.drift_volume,
        "duplicates": limits.drift_duplicates,
        "freshness": limits.drift_freshness,
        "late": limits.drift_late,
    }
    return own.get(kind, limits.drift_limit)


def columns(
    contract: Contract,
    reference: Arrays,
    current: Arrays,
    targets: Sequence[np.ndarray],
    limits: ValidateSettings,
) -> list[Check]:
    """`drift.distribution`, `drift.missing` and `drift.association` of each number, bool and category but the outcome.

    `targets` are the outcomes as numbers, (n,), of the rows of reference and current; a look-up's columns, which have
    other rows, have no association.
    """
    checks = []
    kinds = {}
    for name, column in contract.columns.items():
        if column.source != "outcome":
            kinds[name] = column.kind
    for pair in drift.pairs(kinds, reference, current, drift.PERIODS):
        column, old, new = contract.columns[pair.name], pair.reference, pair.current
        values = {"distribution": pair.distance(), "missing": abs(drift.missing(old, new))}
        if column.source == "request":
            values["association"] = abs(
                association(old, targets[0], column) - association(new, targets[1], column)
            )
        for kind, value in values.items():
            rows = (len(old), len(new)) if kind == "missing" else pair.rows
            most = drift.limit(limit(kind, limits), *rows, pair.words)
            name, least = f"{kind}.{pair.name}", limits.drift_min_rows
            checks.append(_check(name, value, most, min(rows), least, column.alias))
    return checks


def _check(name: str, value: float, most: float, rows: int, least: int, evidence: str) -> Check:
    more: dict[str, Any] = {"min_rows": least, "required": False, "evidence": evidence}
    told = round(value, 6), round(most, 6)
    return at_most(f"drift.{name}", *told, rows, effect=Effect.RETRAIN, **more)


def delivery(
    before: Sequence[Mapping[str, Any]], now: Mapping[str, Any], limits: ValidateSettings
) -> list[Check]:
    """Drift of a delivery as a whole: `volume`, `duplicates`, `outcome`, `freshness` and `late` rows.

    `before` and `now` hold, by period: `rows`, `alike`, `outcome` (its mean, or the shares of its classes), `first` and
    `last` (unix seconds that 99.9 % of the rows keep to, None without a time), and `late`, the share of rows older than
    the period before.
    """
    rows, filled, found = now["rows"], [one for one in before if one["rows"]], []
    if not filled:
        return []

    def add(name: str, value: float, evidence: str) -> None:
        least = 1 if name in ("volume", "freshness") else limits.drift_min_rows
        found.append(_check(name, value, limit(name, limits), rows, least, evidence))

    usual = float(np.mean([one["rows"] for one in filled]))
    changed = abs(float(np.log2(max(rows, 0.5) / usual)))
    add("volume", changed, f"doublings or halvings of {usual:,.0f} rows")
    if rows:
        alike = now["alike"] - float(np.mean([one["alike"] for one in filled]))
        add("duplicates", alike, "rise of the share of rows that are there twice")
        old, new = np.mean([one["outcome"] for one in filled], axis=0), np.asarray(now["outcome"])
        spread = float(np.mean([one["spread"] for one in filled])) or 1.0
        add(
            "label", float(np.abs(new - old).max()) / spread, "change of the outcome's rate or mean"
        )
    if now["last"] is not None and filled[-1]["last"] is not None:
        lengths = [one["last"] - one["first"] for one in filled]
        usual = float(np.median(lengths)) or 1.0
        lag = max(0.0, filled[-1]["last"] + usual - now["last"]) / usual
        add("freshness", lag, "how much of a usual period the newest rows lack")
        add("late", now["late"], "share of rows that belong to the period before")
    return found
