"""Faults in the data, caught by validate."""

from typing import TYPE_CHECKING, Any

from ..contract import Column
from ..pipeline.validate import check_table
from ..verdict import Check, Report, Verdict
from .faults import Bench, NotApplicable, fault, healthy

if TYPE_CHECKING:
    import pandas as pd


def checked(bench: Bench, rows: "pd.DataFrame") -> Report:
    """The report of the real check on rows as data.py would deliver them."""
    contract = bench.contract
    columns = contract.request_columns | contract.from_source("outcome")
    limits = bench.settings["validate"]
    report, _, _ = check_table(rows, columns, limits, key=contract.key, forbidden=contract.forbidden)
    least = limits["min_rows"]
    enough = Verdict.OK if len(rows) >= least else Verdict.INSUFFICIENT
    report.checks.append(Check("data.rows", enough, len(rows), least, rows=len(rows)))
    return report


@healthy("validate")
def healthy_rows(bench: Bench, seed: int) -> Report:
    """Rows that are as they should be."""
    return checked(bench, bench.request_rows(bench.resample(seed)))


@fault("a number arrives as text", caught_by="data.type", row="Data 1")
def wrong_type(bench: Bench) -> Report:
    """A number column becomes words."""
    rows, name = bench.request_rows(bench.resample(0)), bench.number.name
    return checked(bench, rows.assign(**{name: rows[name].map("{:,} units".format)}))


@fault("5 % of a column lie beyond its bound", caught_by="data.range", row="Data 1")
def out_of_range(bench: Bench) -> Report:
    """Every twentieth value is just above the upper bound."""
    rows, column = bench.request_rows(bench.resample(0)), bench.number
    every = rows.index % 20 == 0
    return checked(bench, rows.assign(**{column.name: rows[column.name].mask(every, int(column.high or 0) + 1)}))


@fault("upstream changes a unit", caught_by="data.range", row="Data 1")
def unit_change(bench: Bench) -> Report:
    """Miles become metres."""
    rows, name = bench.request_rows(bench.resample(0)), bench.moving.name
    return checked(bench, rows.assign(**{name: rows[name] * 1609}))


@fault("10 % of a category change their spelling", caught_by="data.category", row="Data 1")
def unknown_category(bench: Bench) -> Report:
    """Every tenth word is in another spelling."""
    column = bench.column(lambda c: c.kind == "category", "category")
    rows = bench.request_rows(bench.resample(0))
    other = rows[column.name].astype(str) + "?"
    return checked(bench, rows.assign(**{column.name: rows[column.name].mask(rows.index % 10 == 0, other)}))


@fault("a column goes missing", caught_by="data.columns", row="Data 1")
def missing_column(bench: Bench) -> Report:
    """Upstream drops a column."""
    return checked(bench, bench.request_rows(bench.resample(0)).drop(columns=bench.first))


@fault("a forbidden column arrives", caught_by="data.forbidden", row="Data 4")
def forbidden_column(bench: Bench) -> Report:
    """Upstream delivers what only the future knows."""
    if not bench.contract.forbidden:
        raise NotApplicable("the contract forbids no column")
    rows = bench.request_rows(bench.resample(0))
    return checked(bench, rows.assign(**{bench.contract.forbidden[0]: 1.0}))


@fault("10 % of a required column are missing", caught_by="data.missing", row="Data 1")
def missing_values(bench: Bench) -> Report:
    """A required value is not delivered."""
    rows, column = bench.request_rows(bench.resample(0)), bench.column(lambda c: not c.nullable, "required column")
    return checked(bench, rows.assign(**{column.name: rows[column.name].mask(rows.index % 10 == 0)}))


@fault("rows arrive twice", caught_by="data.key", row="Data 1")
def repeated_rows(bench: Bench) -> Report:
    """A delivery repeats a part of itself."""
    import pandas as pd

    if not bench.contract.key:
        raise NotApplicable("without a key no row is known again")
    rows = bench.request_rows(bench.resample(0))
    return checked(bench, pd.concat([rows, rows.head(20)], ignore_index=True))


@fault(
    "three rules are broken, each by few enough rows", caught_by="data.quarantine", row="Data 1", spared="data.range"
)
def many_small_faults(bench: Bench) -> Report:
    """No single rule is broken often enough, all together are."""
    rows, number = bench.request_rows(bench.resample(0)), bench.number
    word = bench.column(lambda c: c.kind == "category", "category")
    required = bench.column(lambda c: not c.nullable and c.name not in (number.name, word.name), "third column")
    each = int(len(rows) * bench.settings["validate"]["max_bad_share"] * 0.99)
    parts: list[tuple[Column, Any]] = [(number, int(number.high or 0) + 1), (word, "?"), (required, None)]
    for start, (column, bad) in enumerate(parts):
        place = (rows.index >= start * each) & (rows.index < (start + 1) * each)
        rows[column.name] = rows[column.name].astype(object).mask(place, bad)
    return checked(bench, rows.infer_objects())


@fault("a period of 3 rows", caught_by="data.rows", row="Data 1", expected=Verdict.INSUFFICIENT)
def too_few_rows(bench: Bench) -> Report:
    """Almost nothing was delivered: that is not a pass."""
    return checked(bench, bench.request_rows(bench.resample(0)).head(3))
