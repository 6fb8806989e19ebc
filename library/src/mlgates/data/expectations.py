"""The Great Expectations suite that follows from the contract, and one run of it over a table."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract, Lookup, reads
from mlgates.contract.constraints import FLOAT_RANGE, INT_RANGE, whole_pattern
from mlgates.data.partitions import ROWS
from mlgates.files import write_json
from mlgates.layout import SUITE
from mlgates.project import Project

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

ROW_RULES = (
    "data.missing",
    "data.range",
    "data.category",
    "data.length",
    "data.pattern",
    "data.rule",
    "data.repeated",
)
Validate = Callable[
    ["pd.DataFrame", "gx.ExpectationSuite"], Any
]  # of the wiring: what Great Expectations finds
MOST_ROWS = 500_000  # in one run: the memory of Great Expectations grows faster than the rows


@dataclass(frozen=True)
class Table:
    """What one table of a period must be: the rows, or a look-up."""

    name: str
    columns: Mapping[str, Column]
    key: Sequence[str]
    forbidden: Sequence[str] = ()
    has_rules: bool = True  # whether the contract's rules between columns are about this table

    def label(self, name: str) -> str:
        """A column's name for people; a rule's name stays as it is."""
        return self.columns[name].label if name in self.columns else name

    @classmethod
    def of(cls, contract: Contract, look: Lookup | None = None) -> "Table":
        """The rows, or a look-up, of the contract."""
        if look is None:
            columns = contract.request_columns | contract.from_source("outcome")
            return cls(ROWS, columns, list(contract.key), contract.forbidden)
        columns = {name: contract.columns[name] for name in look.keys}
        columns[look.time] = Column(name=look.time, kind="datetime", source=look.name)
        columns |= contract.from_source(look.name)
        return cls(look.name, columns, [*look.keys, look.time], has_rules=False)

    @classmethod
    def served(cls, contract: Contract) -> "Table":
        """Rows of the prediction log. What no look-up found is missing in training as well."""
        columns = {}
        for name, column in contract.feature_columns.items():
            columns[name] = column if column.source == "request" else replace(column, nullable=True)
        return cls("predictions", columns, [])


def suite(table: Table) -> "gx.ExpectationSuite":
    """The rules of one table. Each expectation carries in `meta` the name of the check that it belongs to."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    rules: list[Any] = []

    def rule(check: str, expectation: Any, **about: Any) -> None:
        rules.append(expectation(**about, meta={"check": check}))

    for name, column in table.columns.items():
        if not column.nullable:
            rule("data.missing", gxe.ExpectColumnValuesToNotBeNull, column=name)
        if bounds := _bounds(column):
            rule("data.range", gxe.ExpectColumnValuesToBeBetween, column=name, **bounds)
        if column.kind == "category":
            rule(
                "data.category",
                gxe.ExpectColumnValuesToBeInSet,
                column=name,
                value_set=list(column.categories),
            )
        if column.min_length is not None or column.max_length is not None:
            lengths = {"min_value": column.min_length, "max_value": column.max_length}
            rule("data.length", gxe.ExpectColumnValueLengthsToBeBetween, column=name, **lengths)
        if column.pattern:
            regex = whole_pattern(column.pattern)
            rule("data.pattern", gxe.ExpectColumnValuesToMatchRegex, column=name, regex=regex)
    if len(table.key) > 1:
        rule("data.unique_key", gxe.ExpectCompoundColumnsToBeUnique, column_list=list(table.key))
    elif table.key:
        rule("data.unique_key", gxe.ExpectColumnValuesToBeUnique, column=table.key[0])
    return gx.ExpectationSuite(name=table.name, expectations=rules)


def _bounds(column: Column) -> dict[str, Any]:
    """The arguments of ExpectColumnValuesToBeBetween; empty for a column that can have any value of its type."""
    if column.kind == "datetime" and (column.earliest or column.latest):
        return {"min_value": column.earliest, "max_value": column.latest}
    if column.kind not in ("int", "float"):
        return {}
    least, most = INT_RANGE if column.kind == "int" else FLOAT_RANGE
    bounds: dict[str, Any] = {"min_value": column.low, "max_value": column.high}
    if column.low is None:
        bounds["min_value"] = least
    if column.high is None:
        bounds["max_value"] = most
    if column.exclusive_low:
        bounds["strict_min"] = True
    if column.exclusive_high:
        bounds["strict_max"] = True
    return bounds


def described(contract: Contract) -> dict[str, Any]:
    """All rules of the contract in a form to be reviewed: by table, Great Expectations' JSON and what is not in it."""
    told = {}
    for look in (None, *contract.lookups):
        table = Table.of(contract, look)
        told[table.name] = {
            "columns": {
                name: f"{c.kind}{' or missing' if c.nullable else ''}"
                for name, c in table.columns.items()
            },
            "forbidden": list(table.forbidden),
            "rules": []
            if look
            else [f"{rule.__name__}({', '.join(reads(rule))})" for rule in contract.rules],
            "expectations": [
                {"type": e["type"], **{k: v for k, v in e["kwargs"].items() if v is not None}}
                for e in suite(table).to_json_dict()["expectations"]
            ],
        }
    return told


def write_suite(project: Project) -> None:
    """Write reports/suite.json: all rules of the contract, to be reviewed with it."""
    write_json(project.root / SUITE, described(project.contract))


def broken_rows(
    frame: "pd.DataFrame", table: Table, contract: Contract, validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """By rule and column: the positions of the rows that break the contract. The one judge of rows in tables.

    `frame` has the table's columns and a range index. A column of another type is judged by `data.type` alone.
    `validate` lets Great Expectations check a table (pipeline/validate.py); the contract's own rules between columns,
    which stand in the team's code, are asked here. A rule that no value broke is there too, without positions.
    Raises: RuntimeError if Great Expectations could not evaluate a rule.
    """
    mistyped = [name for name, column in table.columns.items() if not has_type(frame[name], column)]
    broken = {
        ("data.type", name): wrong_type(frame[name], table.columns[name]) for name in mistyped
    }
    judged = replace(
        table, columns={name: table.columns[name] for name in table.columns if name not in mistyped}
    )
    rules = suite(judged)
    if not len(frame):
        return broken | {(rule.meta["check"], ""): np.empty(0, int) for rule in rules.expectations}
    typed = frame[list(judged.columns)]
    broken |= broken_rules(typed, rules, validate)
    if table.has_rules:
        for name, places in contract.impossible(contract.arrays(typed)).items():
            broken["data.rule", name] = places
    return broken


def has_type(values: "pd.Series", column: Column) -> bool:
    """Whether a column holds values of the contract's type; an empty or all-missing column has any."""
    from pandas.api import types

    known = values.dropna()
    if known.empty:
        return True
    if column.kind == "datetime":
        return bool(types.is_datetime64_dtype(values))  # a UTC offset would be lost in silence
    inferred = types.infer_dtype(known)
    if column.kind == "bool":
        return inferred == "boolean"
    if column.kind in ("category", "text"):
        return inferred in ("string", "categorical")
    if inferred not in ("integer", "floating", "mixed-integer-float", "decimal"):
        return False
    return column.kind == "float" or bool((known.astype(float) % 1 == 0).all())


def wrong_type(values: "pd.Series", column: Column) -> np.ndarray:
    """The positions of the values that are not of the contract's type."""
    import pandas as pd

    known = np.flatnonzero(values.notna())
    if column.kind not in ("int", "float"):
        return known
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)[known]
    wrong = np.isnan(numbers)
    if column.kind == "int":
        wrong |= numbers != np.floor(numbers)
    return known[wrong] if wrong.any() else known


def broken_rules(
    frame: "pd.DataFrame", rules: "gx.ExpectationSuite", validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """By the check's name and the column: the positions of the rows that break a rule (in a range index).

    `validate` lets Great Expectations check a table. Raises: RuntimeError if it could not evaluate a rule: a rule that
    did not run did not pass.
    """
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    if len(frame) <= MOST_ROWS:
        return _places(validate(frame, rules), rules)
    keys = gx.ExpectationSuite(
        name=rules.name, expectations=[e for e in rules.expectations if _is_key(e)]
    )
    others = gx.ExpectationSuite(
        name=rules.name, expectations=[e for e in rules.expectations if not _is_key(e)]
    )
    found = {which: [places] for which, places in _places(validate(frame, keys), keys).items()}
    for start in range(0, len(frame), MOST_ROWS):
        rows = frame.iloc[start : start + MOST_ROWS].reset_index(drop=True)
        for which, places in _places(validate(rows, others), others).items():
            found.setdefault(which, []).append(places + start)
    return {which: np.concatenate(parts) for which, parts in found.items()}


def _is_key(expectation: Any) -> bool:
    return bool(expectation.meta["check"] == "data.unique_key")


def _places(result: Any, rules: "gx.ExpectationSuite") -> dict[tuple[str, str], np.ndarray]:
    """What Great Expectations found, by check and column."""
    found = {}
    for one in result.results:
        config = one.expectation_config
        if "unexpected_index_list" not in one.result and one.result.get("unexpected_count") != 0:
            raise RuntimeError(
                f"{config.type} did not run, or not with result_format COMPLETE: {one.exception_info}"
            )
        column = config.kwargs.get("column") or "+".join(config.kwargs["column_list"])
        places = one.result.get("unexpected_index_list") or []
        found[config.meta["check"], column] = np.asarray(places, dtype=np.int64)
    if len(found) != len(rules.expectations):
        raise RuntimeError(
            f"Great Expectations checked {len(found)} of the {len(rules.expectations)} rules of {rules.name}."
        )
    return found
