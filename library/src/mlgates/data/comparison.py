"""A period against the periods before it: what is remembered of each, and how they are compared."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract
from mlgates.data import drift, poisoning
from mlgates.settings import ValidateSettings
from mlgates.verdict import Report

if TYPE_CHECKING:
    import pandas as pd

# A period begins and ends where 99.9 % of its rows do, so that a few wrong times decide nothing.
EARLIEST = 0.001
LATEST = 0.999


def measure_delivery(
    contract: Contract, kept: "pd.DataFrame", last: float | None, limits: ValidateSettings
) -> dict[str, Any]:
    """What later periods are compared with; see `drift.delivery` and `poisoning.signs`.

    `last` is the time (unix seconds) at which the period before ended.
    """
    measured: dict[str, Any] = {
        "rows": len(kept),
        "first": None,
        "last": None,
        "late": 0.0,
        "outcome": [],
        "spread": 1.0,
    }
    if len(kept) and contract.time:
        measured |= _times(kept[contract.time], last)
    if len(kept):
        measured |= _outcome(contract, kept)
    min_slice_rows = 2 * limits.drift_min_rows
    return measured | poisoning.measure_signs(contract, kept, min_slice_rows)


def _times(values: "pd.Series", last: float | None) -> dict[str, float]:
    times = values.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    late = 0.0
    if last is not None:
        late = round(float((times < last).mean()), 6)
    return {
        "first": float(np.quantile(times, EARLIEST, method="nearest")),
        "last": float(np.quantile(times, LATEST, method="nearest")),
        "late": late,
    }


def _outcome(contract: Contract, kept: "pd.DataFrame") -> dict[str, Any]:
    """The shares of the outcome's classes, or its mean; `spread` is its standard deviation."""
    target = contract.target(kept)
    if contract.task == "regression":
        return {"outcome": [round(float(target.mean()), 9)], "spread": float(target.std())}
    counts = np.bincount(target.astype(int), minlength=len(contract.classes))
    shares = counts / len(kept)
    return {"outcome": [round(float(share), 9) for share in shares], "spread": 1.0}


def compare(
    report: Report,
    contract: Contract,
    before: Sequence[Mapping[str, Any]],
    samples: "tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]]",
    limits: ValidateSettings,
) -> None:
    """Add drift and signs of poison to a period's report.

    `before` is what `measure_delivery` gave for the periods before. `samples` are rows and look-ups
    of the periods before, and those of this period.
    """
    old_tables, new_tables = samples
    old = _merged_arrays(contract, old_tables)
    new = _merged_arrays(contract, new_tables)
    targets = [contract.target(old_tables[0]), contract.target(new_tables[0])]
    now = report.facts["signs"]
    report.add(*drift.delivery_checks(before, now, limits))
    report.add(*drift.column_checks(contract, old, new, targets, limits))
    rows = (old_tables[0], new_tables[0])
    report.add(*poisoning.poison_checks(contract, before, now, rows, limits))


def _merged_arrays(contract: Contract, tables: "Sequence[pd.DataFrame]") -> Arrays:
    """The columns of all tables of a period, which have different lengths.

    Columns that look-ups share with the request, such as their keys, are those of the request. The
    rows of the request are the first table, so it is the last one to be taken.
    """
    arrays: Arrays = {}
    for table in reversed(tables):
        arrays.update(contract.arrays(table))
    return arrays
