"""Differences between a period and the ones before it, as sizes of effects.

They do not grow with the number of rows. Single columns are measured by `mlgates.drift`, as those
of the prediction log are.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import drift
from mlgates.contract import Arrays, Column, Contract, is_missing
from mlgates.settings import ValidateSettings
from mlgates.verdict import Check, Effect, at_most

if TYPE_CHECKING:
    import pandas as pd

# What is compared of a delivery as a whole.
MEASURED = [
    "rows",
    "alike",  # the share of rows that are there twice
    "outcome",  # its mean, or the shares of its classes
    "spread",  # the outcome's standard deviation
    "first",  # nearly all rows lie between first and last: unix seconds, None without a time
    "last",
    "late",  # the share of rows older than the end of the period before
]


def association(values: np.ndarray, target: np.ndarray, column: Column) -> float:
    """How strongly a column goes with the outcome; NaN where either does not vary.

    For numbers it is the rank correlation, -1 to 1, for words the correlation ratio, 0 to 1.
    """
    known = ~is_missing(values)
    values = values[known]
    target = target[known]
    if len(values) < 2 or not target.std():
        return float("nan")
    if column.is_number:
        return _rank_correlation(values, target)
    return _correlation_ratio(values, target)


def _rank_correlation(values: np.ndarray, target: np.ndarray) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(values)
    if not ranks.std():
        return float("nan")
    return float(np.corrcoef(ranks, target)[0, 1])


def _correlation_ratio(words: np.ndarray, target: np.ndarray) -> float:
    """The standard deviation between the words' means, in standard deviations of the target."""
    _, codes = np.unique(words, return_inverse=True)
    counts = np.bincount(codes)
    means = np.bincount(codes, weights=target) / counts
    between = (counts * (means - target.mean()) ** 2).sum() / len(target)
    return float(np.sqrt(between) / target.std())


def column_checks(
    contract: Contract,
    reference: Arrays,
    current: Arrays,
    targets: Sequence[np.ndarray],
    limits: ValidateSettings,
) -> list[Check]:
    """`drift.distribution`, `drift.missing` and `drift.association` of each column.

    That is each number, bool and category but the outcome. `targets` are the outcomes as numbers,
    (n,), of the rows of reference and current. A look-up's columns have other rows, and so no
    association with the outcome.
    """
    kinds = {}
    for name, column in contract.columns.items():
        if column.source != "outcome":
            kinds[name] = column.kind

    checks = []
    min_rows = limits.drift_min_rows
    for pair in drift.pairs(kinds, reference, current, drift.PERIODS):
        column = contract.columns[pair.name]
        values = {
            "distribution": pair.distance(),
            "missing": abs(drift.missing(pair.reference, pair.current)),
        }
        if column.source == "request":
            before = association(pair.reference, targets[0], column)
            now = association(pair.current, targets[1], column)
            values["association"] = abs(before - now)
        # Only for the missing share, rows without a value count too.
        all_rows = {"missing": (len(pair.reference), len(pair.current))}
        for kind, value in values.items():
            rows = all_rows.get(kind, pair.rows)
            limit = drift.limit(_limit_of(kind, limits), *rows, pair.words)
            name = f"{kind}.{pair.name}"
            checks.append(_check(name, value, limit, min(rows), min_rows, column.alias))
    return checks


def delivery_checks(
    before: Sequence[Mapping[str, Any]], now: Mapping[str, Any], limits: ValidateSettings
) -> list[Check]:
    """Drift of a delivery as a whole.

    The checks are `drift.volume`, `drift.duplicates`, `drift.label`, `drift.freshness` and
    `drift.late`.

    `before` and `now` hold what is `MEASURED` of the periods before and of this one.
    """
    import pandas as pd

    if not any(period["rows"] for period in before):
        return []
    earlier = pd.DataFrame(list(before))[MEASURED]
    earlier = earlier[earlier["rows"] > 0]
    rows = now["rows"]
    min_rows = limits.drift_min_rows
    checks = []

    def add(name: str, value: float, min_rows: int, evidence: str) -> None:
        limit = _limit_of(name, limits)
        checks.append(_check(name, value, limit, rows, min_rows, evidence))

    usual_rows = _mean(earlier["rows"])
    # Half a row stands for none, so that an empty period has a logarithm.
    doublings = abs(float(np.log2(max(rows, 0.5) / usual_rows)))
    # One row is enough to see that others are missing.
    add("volume", doublings, 1, f"doublings or halvings of {usual_rows:,.0f} rows")
    if rows:
        rise = now["alike"] - _mean(earlier["alike"])
        add("duplicates", rise, min_rows, "rise of the share of rows that are there twice")
        change = _change_of_outcome(earlier, now)
        add("label", change, min_rows, "change of the label's rate or mean")
    if now["last"] is not None and earlier["last"].notna().iloc[-1]:
        lag = _lag(earlier, now)
        add("freshness", lag, 1, "part of a usual period by which the newest rows are too old")
        add("late", now["late"], min_rows, "share of rows that belong to the period before")
    return checks


def _mean(values: "pd.Series") -> float:
    return float(values.to_numpy(dtype=float).mean())


def _change_of_outcome(earlier: "pd.DataFrame", now: Mapping[str, Any]) -> float:
    """The largest change of a class's share, or that of the mean in standard deviations."""
    old = np.mean(earlier["outcome"].tolist(), axis=0)
    new = np.asarray(now["outcome"])
    spread = _mean(earlier["spread"]) or 1.0  # an outcome that never varied
    return float(np.abs(new - old).max()) / spread


def _lag(earlier: "pd.DataFrame", now: Mapping[str, Any]) -> float:
    """How far a period ends before its time, in usual lengths of a period; 0 if it does not."""
    lengths = earlier["last"] - earlier["first"]
    usual_length = float(lengths.median()) or 1.0
    expected_end = float(earlier["last"].iloc[-1]) + usual_length
    return max(0.0, expected_end - now["last"]) / usual_length


def _limit_of(kind: str, limits: ValidateSettings) -> float:
    """The limit of a kind of drift: its own one, or that of all effect sizes."""
    own_limits = {
        "missing": limits.drift_missing,
        "volume": limits.drift_volume,
        "duplicates": limits.drift_duplicates,
        "freshness": limits.drift_freshness,
        "late": limits.drift_late,
    }
    return own_limits.get(kind, limits.drift_limit)


def _check(name: str, value: float, limit: float, rows: int, min_rows: int, evidence: str) -> Check:
    return at_most(
        f"drift.{name}",
        round(value, 6),
        round(limit, 6),
        rows,
        min_rows=min_rows,
        required=False,
        evidence=evidence,
        effect=Effect.RETRAIN,
    )
