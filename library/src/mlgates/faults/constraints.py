"""Faults that break the contract's constraints, each in every column that has it.

Each constraint is broken in three places: upstream, in a request, and in the prediction log.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract
from mlgates.contract.constraints import INSTANT, whole_pattern
from mlgates.data.table_checks import check_table
from mlgates.faults.monitoring import logged, watched
from mlgates.faults.planting import Bench, NotApplicable, fault
from mlgates.serving.predictor import Refused, batch_model, parse_rows
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

ROWS = 60  # every second value is broken: a larger share than any sensible limit allows
NO_WORD = "no such word"

# A text of one of these letters breaks most patterns.
LETTERS = ("?", "\n", " ", "0", "a", "A")


@dataclass(frozen=True)
class Constraint:
    """One way in which a value can be wrong, and the rule that refuses such a value.

    `bad_value` returns a value of the column's type that breaks the constraint. It returns None if
    the column has no such constraint, or if no value can break it.
    """

    name: str
    rule: str
    bad_value: Callable[[Column], object]


def _too_high(column: Column) -> object:
    if column.latest is not None:
        return column.latest + INSTANT
    if column.high is None:
        return None
    if column.kind == "int":
        return int(column.high) + 1
    if column.exclusive_high:
        return column.high
    return math.nextafter(column.high, math.inf)


def _too_low(column: Column) -> object:
    if column.earliest is not None:
        return column.earliest - INSTANT
    if column.low is None:
        return None
    if column.kind == "int":
        return int(column.low) - 1
    if column.exclusive_low:
        return column.low
    return math.nextafter(column.low, -math.inf)


def _infinite(column: Column) -> object:
    return math.inf if column.kind == "float" else None


def _unknown_word(column: Column) -> object:
    return NO_WORD if column.categories else None


def _too_short(column: Column) -> object:
    if not column.min_length:
        return None
    return "a" * (column.min_length - 1)


def _too_long(column: Column) -> object:
    if column.max_length is None:
        return None
    return "a" * (column.max_length + 1)


def _not_matching(column: Column) -> object:
    """A text of an allowed length that the pattern does not match.

    None if there is no pattern, or if it matches all the texts that are tried.
    """
    if not column.pattern:
        return None
    length = max(1, column.min_length or 0)
    for letter in LETTERS:
        text = letter * length
        if not re.search(whole_pattern(column.pattern), text):
            return text
    return None


CONSTRAINTS = [
    Constraint("a value above its bound", "data.range", _too_high),
    Constraint("a value below its bound", "data.range", _too_low),
    Constraint("an infinite value", "data.range", _infinite),
    Constraint("an unknown word", "data.category", _unknown_word),
    Constraint("a text that is too short", "data.length", _too_short),
    Constraint("a text that is too long", "data.length", _too_long),
    Constraint("a text of another form", "data.pattern", _not_matching),
]
# The bad value is None itself here, so it cannot say which columns have the constraint.
MISSING = Constraint("a missing value", "data.missing", lambda column: None)


def breaking(contract: Contract) -> tuple[Column, object, str] | None:
    """A column of the request, a value that it does not allow, and the rule that refuses the value.

    None if the contract allows every value.
    """
    columns = contract.request_columns.values()
    for constraint in CONSTRAINTS:
        for column in columns:
            value = constraint.bad_value(column)
            if value is not None:
                return column, value, constraint.rule
    for column in columns:
        if not column.nullable:
            return column, None, MISSING.rule
    return None


def _bad_values(bench: Bench, constraint: Constraint) -> dict[str, Any]:
    """For each request column that has the constraint, by name, a value that breaks it.

    Raises: NotApplicable if no column has it.
    """
    bad_values: dict[str, Any] = {}
    for name, column in bench.contract.request_columns.items():
        value = constraint.bad_value(column)
        must_be_present = constraint is MISSING and not column.nullable
        if value is not None or must_be_present:
            bad_values[name] = value
    if not bad_values:
        raise NotApplicable(f"no column of the request can hold {constraint.name}")
    return bad_values


def _with_bad_values(
    bench: Bench, rows: "pd.DataFrame", bad_values: Mapping[str, Any]
) -> "pd.DataFrame":
    """The rows with every second value of some columns replaced."""
    every_second = np.arange(len(rows)) % 2 == 0
    columns = {}
    for name, bad_value in bad_values.items():
        values = rows[name].astype(object).mask(every_second, bad_value)
        kind = bench.contract.columns[name].kind
        if kind == "datetime":
            values = values.astype("datetime64[us]")
        elif kind in ("int", "float"):
            values = values.astype(float)
        columns[name] = values
    return rows.assign(**columns)


def _escaped(title: str, check: str, columns: list[str]) -> Report:
    """A report in which the check did not catch the fault, because it overlooked some columns."""
    evidence = f"not found in {', '.join(columns)}"
    return Report(title, [Check(check, Verdict.OK, evidence=evidence)])


def _plant_upstream(bench: Bench, constraint: Constraint) -> Report:
    """The rule must fail, and the quarantine must name every broken column."""
    bad_values = _bad_values(bench, constraint)
    healthy = bench.request_rows(bench.resample(0, ROWS))
    rows = _with_bad_values(bench, healthy, bad_values)
    report, _, quarantine = check_table(
        rows, bench.contract, bench.settings.validate, bench.wiring("validate").check
    )

    of_this_rule = quarantine["rule"] == constraint.rule
    columns_found = set(quarantine.loc[of_this_rule, "column"])
    overlooked = [name for name in bad_values if name not in columns_found]
    if overlooked:
        return _escaped("rows", constraint.rule, overlooked)
    return report


def _plant_in_requests(bench: Bench, constraint: Constraint) -> Report:
    """Each broken column has a request of its own.

    The service must refuse the request under the constraint's rule, and name the column.
    """
    contract, batch = bench.contract, batch_model(bench.project)
    healthy = contract.payload(bench.resample(0, 1))[0]
    # If the service refused the healthy row, the refusals below would prove nothing. This raises.
    parse_rows(batch, contract, _request_body(healthy))

    overlooked = []
    for name, bad_value in _bad_values(bench, constraint).items():
        label = contract.columns[name].label
        try:
            parse_rows(batch, contract, _request_body(healthy | {name: bad_value}))
        except Refused as refused:
            reasons = [(entry["column"], entry["rule"]) for entry in refused.detail or []]
        else:
            reasons = []
        if (label, constraint.rule) not in reasons:
            overlooked.append(name)

    if overlooked:
        return _escaped("request", "serving.refused", overlooked)
    evidence = f"refused as {constraint.rule}"
    return Report("request", [Check("serving.refused", Verdict.FAIL, evidence=evidence)])


def _request_body(row: dict[str, object]) -> bytes:
    return json.dumps({"rows": [row]}, default=datetime.isoformat).encode()


def _plant_in_log(bench: Bench, constraint: Constraint) -> Report:
    """The service has let bad values through. The monitor must report the rule and each column."""
    bad_values = _bad_values(bench, constraint)
    log = logged(bench, bench.halves[1].head(ROWS))
    report = watched(bench, _with_bad_values(bench, log, bad_values))

    # The evidence lists "RULE COLUMN (COUNT)".
    evidence = report["monitor.contract"].evidence
    overlooked = [name for name in bad_values if f"{constraint.rule} {name} (" not in evidence]
    if overlooked:
        return _escaped("monitor", "monitor.contract", overlooked)
    return report


def _register(constraint: Constraint) -> None:
    """Register the three faults of a constraint."""

    @fault(f"{constraint.name}, upstream", caught_by=constraint.rule, row="Data 1")
    def upstream(bench: Bench) -> Report:
        return _plant_upstream(bench, constraint)

    @fault(f"{constraint.name}, in a request", caught_by="serving.refused", row="Mon 2")
    def in_a_request(bench: Bench) -> Report:
        return _plant_in_requests(bench, constraint)

    @fault(f"{constraint.name}, in the log", caught_by="monitor.contract", row="Mon 2")
    def in_the_log(bench: Bench) -> Report:
        return _plant_in_log(bench, constraint)


for _constraint in [*CONSTRAINTS, MISSING]:
    _register(_constraint)
