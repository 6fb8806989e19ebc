"""Each constraint of the contract, broken in each column that has it: upstream, in a request, and in the log."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract
from mlgates.contract.constraints import INSTANT, whole_pattern
from mlgates.data.validation import check_table
from mlgates.faults.monitoring import logged, watched
from mlgates.faults.planting import Bench, NotApplicable, fault
from mlgates.serving.predictor import Refused, batch_model, parse_rows
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

ROWS = 60  # in which every second value is broken: more than any sensible share
STRANGE = (
    "?",
    "\n",
    " ",
    "0",
    "a",
    "A",
)  # of such letters a text is made that a pattern does not know
NO_WORD = "no such word"


@dataclass(frozen=True)
class Constraint:
    """One way in which a value can be wrong: what it is called, the rule that refuses it, and such a value."""

    name: str
    rule: str
    broken: Callable[
        [Column], object
    ]  # a value of the column's type that breaks this one; None if nothing can


def _too_high(column: Column) -> object:
    if column.latest is not None:
        return column.latest + INSTANT
    if column.high is None:
        return None
    if column.kind == "int":
        return int(column.high) + 1
    return column.high if column.exclusive_high else math.nextafter(column.high, math.inf)


def _too_low(column: Column) -> object:
    if column.earliest is not None:
        return column.earliest - INSTANT
    if column.low is None:
        return None
    if column.kind == "int":
        return int(column.low) - 1
    return column.low if column.exclusive_low else math.nextafter(column.low, -math.inf)


def _infinite(column: Column) -> object:
    return math.inf if column.kind == "float" else None


def _no_word(column: Column) -> object:
    return NO_WORD if column.categories else None


def _too_short(column: Column) -> object:
    return "a" * (column.min_length - 1) if column.min_length else None


def _too_long(column: Column) -> object:
    return None if column.max_length is None else "a" * (column.max_length + 1)


def _of_another_form(column: Column) -> object:
    """A text of an allowed length that the pattern does not match; None if the contract has none."""
    import re

    if not column.pattern:
        return None
    least = max(1, column.min_length or 0)
    for letter in STRANGE:
        text = letter * least
        if not re.search(whole_pattern(column.pattern), text):
            return text
    return None


CONSTRAINTS = [
    Constraint("a value above its bound", "data.range", _too_high),
    Constraint("a value below its bound", "data.range", _too_low),
    Constraint("an infinite value", "data.range", _infinite),
    Constraint("an unknown word", "data.category", _no_word),
    Constraint("a text that is too short", "data.length", _too_short),
    Constraint("a text that is too long", "data.length", _too_long),
    Constraint("a text of another form", "data.pattern", _of_another_form),
]
MISSING = Constraint("a missing value", "data.missing", lambda column: None)


def breaking(contract: Contract) -> tuple[Column, object, str] | None:
    """A column of the request, a value that it does not allow, and the rule that refuses it; None if there is none."""
    for constraint in CONSTRAINTS:
        for column in contract.request_columns.values():
            value = constraint.broken(column)
            if value is not None:
                return column, value, constraint.rule
    for column in contract.request_columns.values():
        if not column.nullable:
            return column, None, MISSING.rule
    return None


def _planted(bench: Bench, constraint: Constraint) -> dict[str, Any]:
    """For each column of the request that has the constraint, a value that breaks it. Raises: NotApplicable."""
    found: dict[str, Any] = {}
    for name, column in bench.contract.request_columns.items():
        value = constraint.broken(column)
        if value is not None or (constraint is MISSING and not column.nullable):
            found[name] = value
    if not found:
        raise NotApplicable(f"no column of the request can hold {constraint.name}")
    return found


def _spoiled(bench: Bench, rows: "pd.DataFrame", values: Mapping[str, Any]) -> "pd.DataFrame":
    """The rows with every second value of some columns replaced."""
    every_second = np.arange(len(rows)) % 2 == 0
    spoiled = {}
    for name, value in values.items():
        column = rows[name].astype(object).mask(every_second, value)
        kind = bench.contract.columns[name].kind
        if kind == "datetime":
            column = column.astype("datetime64[us]")
        elif kind in ("int", "float"):
            column = column.astype(float)
        spoiled[name] = column
    return rows.assign(**spoiled)


def _overlooked(columns: list[str]) -> str:
    return f"not found in {', '.join(columns)}"


def _upstream(bench: Bench, constraint: Constraint) -> Report:
    """Every second value of each such column: the rule fails, and quarantine names every column."""
    values = _planted(bench, constraint)
    rows = _spoiled(bench, bench.request_rows(bench.resample(0, ROWS)), values)
    report, _, quarantine = check_table(
        rows, bench.contract, bench.settings.validate, bench.wiring("validate").check
    )
    named = {*quarantine.loc[quarantine["rule"] == constraint.rule, "column"]}
    if overlooked := [name for name in values if name not in named]:
        return Report(
            "rows", [Check(constraint.rule, Verdict.OK, evidence=_overlooked(overlooked))]
        )
    return report


def _in_a_request(bench: Bench, constraint: Constraint) -> Report:
    """Each such column in a request of its own: refused under the same rule, with the column's name."""
    contract, batch = bench.contract, batch_model(bench.project)
    healthy = contract.payload(bench.resample(0, 1))[0]
    parse_rows(batch, contract, _body(healthy))  # as it is, it is answered
    overlooked = []
    for name, value in _planted(bench, constraint).items():
        label = contract.columns[name].label
        try:
            parse_rows(batch, contract, _body(healthy | {name: value}))
            told = []
        except Refused as refused:
            told = [(each["column"], each["rule"]) for each in refused.detail or []]
        if (label, constraint.rule) not in told:
            overlooked.append(name)
    verdict, evidence = Verdict.FAIL, f"refused as {constraint.rule}"
    if overlooked:
        verdict, evidence = Verdict.OK, _overlooked(overlooked)
    return Report("request", [Check("serving.refused", verdict, evidence=evidence)])


def _body(row: dict[str, object]) -> bytes:
    return json.dumps({"rows": [row]}, default=datetime.isoformat).encode()


def _in_the_log(bench: Bench, constraint: Constraint) -> Report:
    """The service let such values through: the monitor counts them, under the same rule and column."""
    values = _planted(bench, constraint)
    log = logged(bench, bench.halves[1].head(ROWS))
    report = watched(bench, _spoiled(bench, log, values))
    told = report["monitor.contract"].evidence
    if overlooked := [name for name in values if f"{constraint.rule} {name} (" not in told]:
        return Report(
            "monitor", [Check("monitor.contract", Verdict.OK, evidence=_overlooked(overlooked))]
        )
    return report


def _register(constraint: Constraint) -> None:
    """The three faults of a constraint."""

    @fault(f"{constraint.name}, upstream", caught_by=constraint.rule, row="Data 1")
    def upstream(bench: Bench) -> Report:
        return _upstream(bench, constraint)

    @fault(f"{constraint.name}, in a request", caught_by="serving.refused", row="Mon 2")
    def in_a_request(bench: Bench) -> Report:
        return _in_a_request(bench, constraint)

    @fault(f"{constraint.name}, in the log", caught_by="monitor.contract", row="Mon 2")
    def in_the_log(bench: Bench) -> Report:
        return _in_the_log(bench, constraint)


for _constraint in [*CONSTRAINTS, MISSING]:
    _register(_constraint)
