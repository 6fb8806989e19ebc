"""The Great Expectations suite that follows from the contract, and one run of it over a table."""

import logging
from collections import defaultdict
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

# A function of the wiring, which lets Great Expectations check a table and gives its result.
Validate = Callable[["pd.DataFrame", "gx.ExpectationSuite"], Any]

# The checks that send the rows which break them to quarantine.
ROW_RULES = (
    "data.missing",
    "data.range",
    "data.category",
    "data.length",
    "data.pattern",
    "data.rule",
    "data.repeated",
)
UNIQUE_KEY = "data.unique_key"

# By the kind of a column: what pandas may call its values, other than times.
NUMBERS_IN_PANDAS = ("integer", "floating", "mixed-integer-float", "decimal")
WORDS_IN_PANDAS = ("string", "categorical")
TYPES = {
    "int": NUMBERS_IN_PANDAS,
    "float": NUMBERS_IN_PANDAS,
    "bool": ("boolean",),
    "category": WORDS_IN_PANDAS,
    "text": WORDS_IN_PANDAS,
}

# A number without bounds must still fit into a table: infinity is refused everywhere.
RANGES = {"int": INT_RANGE, "float": FLOAT_RANGE}

# Rows in one run: the memory of Great Expectations grows faster than the rows.
MAX_ROWS = 500_000


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
        if name in self.columns:
            return self.columns[name].label
        return name

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
        """Rows of the prediction log.

        A value that a look-up did not find is missing in training as well, so it may be missing.
        """
        columns = {}
        for name, column in contract.feature_columns.items():
            if column.source != "request":
                column = replace(column, nullable=True)
            columns[name] = column
        return cls("predictions", columns, [])


def suite(table: Table) -> "gx.ExpectationSuite":
    """The rules of one table as expectations.

    Each expectation carries in `meta` the name of the check that it belongs to, and that of its
    column ("a+b" for a key of two).
    """
    import great_expectations as gx

    expectations = []
    for column in table.columns.values():
        expectations += _expectations_of_column(column)
    expectations += _expectations_of_key(table.key)
    return gx.ExpectationSuite(name=table.name, expectations=expectations)


def _expectations_of_column(column: Column) -> list[Any]:
    import great_expectations.expectations as gxe

    rules: list[Any] = []

    def add(check: str, expectation: Any, **arguments: Any) -> None:
        meta = {"check": check, "column": column.name}
        rules.append(expectation(column=column.name, **arguments, meta=meta))

    if not column.nullable:
        add("data.missing", gxe.ExpectColumnValuesToNotBeNull)
    bounds = _bounds(column)
    if bounds:
        add("data.range", gxe.ExpectColumnValuesToBeBetween, **bounds)
    if column.kind == "category":
        add("data.category", gxe.ExpectColumnValuesToBeInSet, value_set=list(column.categories))
    if column.min_length is not None or column.max_length is not None:
        lengths = {"min_value": column.min_length, "max_value": column.max_length}
        add("data.length", gxe.ExpectColumnValueLengthsToBeBetween, **lengths)
    if column.pattern:
        regex = whole_pattern(column.pattern)
        add("data.pattern", gxe.ExpectColumnValuesToMatchRegex, regex=regex)
    return rules


def _expectations_of_key(key: Sequence[str]) -> list[Any]:
    import great_expectations.expectations as gxe

    meta = {"check": UNIQUE_KEY, "column": "+".join(key)}
    if not key:
        return []
    if len(key) == 1:
        return [gxe.ExpectColumnValuesToBeUnique(column=key[0], meta=meta)]
    return [gxe.ExpectCompoundColumnsToBeUnique(column_list=list(key), meta=meta)]


def _bounds(column: Column) -> dict[str, Any]:
    """The arguments of ExpectColumnValuesToBeBetween.

    Empty for a column that can have any value of its type.
    """
    if column.kind in RANGES:
        return _number_bounds(column)
    if column.earliest or column.latest:
        return {"min_value": column.earliest, "max_value": column.latest}
    return {}


def _number_bounds(column: Column) -> dict[str, Any]:
    lowest, highest = RANGES[column.kind]
    bounds: dict[str, Any] = {"min_value": lowest, "max_value": highest}
    if column.low is not None:
        bounds["min_value"] = column.low
    if column.high is not None:
        bounds["max_value"] = column.high
    if column.exclusive_low:
        bounds["strict_min"] = True
    if column.exclusive_high:
        bounds["strict_max"] = True
    return bounds


def write_suite(project: Project) -> None:
    """Write reports/suite.json: all rules of the contract, to be reviewed with it."""
    write_json(project.root / SUITE, suite_as_data(project.contract))


def suite_as_data(contract: Contract) -> dict[str, Any]:
    """All rules of the contract, by table, in a form to be reviewed.

    Great Expectations' JSON, and what stands outside of it: columns and their types, forbidden
    columns, the contract's rules between columns.
    """
    tables = {}
    for look in (None, *contract.lookups):
        table = Table.of(contract, look)
        tables[table.name] = {
            "columns": _types_in_words(table),
            "forbidden": list(table.forbidden),
            "rules": _rules_in_words(table, contract),
            "expectations": _expectations_as_data(table),
        }
    return tables


def _rules_in_words(table: Table, contract: Contract) -> list[str]:
    """The contract's rules between columns, if they are about this table."""
    if not table.has_rules:
        return []
    return [f"{rule.__name__}({', '.join(reads(rule))})" for rule in contract.rules]


def _types_in_words(table: Table) -> dict[str, str]:
    types = {}
    for name, column in table.columns.items():
        types[name] = column.kind
        if column.nullable:
            types[name] = f"{column.kind} or missing"
    return types


def _expectations_as_data(table: Table) -> list[dict[str, Any]]:
    """The type and the arguments of each expectation; arguments that are None are left out."""
    expectations = []
    for expectation in suite(table).to_json_dict()["expectations"]:
        given = expectation["kwargs"]
        arguments = {name: given[name] for name in given if given[name] is not None}
        expectations.append({"type": expectation["type"], **arguments})
    return expectations


def broken_rows(
    frame: "pd.DataFrame", table: Table, contract: Contract, validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """By rule and column: the positions of the rows that break the contract.

    Whatever checks rows in tables asks this function or the next one. `frame` has the table's
    columns and a range index. A column of another type is checked by `data.type` alone. `validate`
    lets Great Expectations check a table (pipeline/validate.py). A rule that no value broke is
    there too, without positions.

    Raises: RuntimeError if Great Expectations could not evaluate a rule.
    """
    mistyped = {}
    well_typed = {}
    for name, column in table.columns.items():
        if has_type(frame[name], column):
            well_typed[name] = column
        else:
            mistyped["data.type", name] = wrong_type(frame[name], column)
    typed_table = replace(table, columns=well_typed)
    typed_frame = frame[list(well_typed)]
    return mistyped | broken_typed_rows(typed_frame, typed_table, contract, validate)


def broken_typed_rows(
    frame: "pd.DataFrame", table: Table, contract: Contract, validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """The same as `broken_rows`, of a table whose columns all have the contract's types.

    The contract's own rules between columns, which are in the team's code, are asked here. Great
    Expectations is asked for all others.
    """
    rules = suite(table)
    if not len(frame):
        nothing = np.empty(0, int)
        return {(rule.meta["check"], ""): nothing for rule in rules.expectations}

    broken = broken_rules(frame, rules, validate)
    if table.has_rules:
        for name, positions in contract.impossible(contract.arrays(frame)).items():
            broken["data.rule", name] = positions
    return broken


def has_type(values: "pd.Series", column: Column) -> bool:
    """Whether a column holds values of the contract's type.

    An empty column, or one in which all values are missing, has any type.
    """
    from pandas.api import types

    present = values.dropna()
    if present.empty:
        return True
    if column.kind == "datetime":
        # Not with a time zone: its UTC offset would be lost in silence.
        return bool(types.is_datetime64_dtype(values))

    if types.infer_dtype(present) not in TYPES[column.kind]:
        return False
    if column.kind == "int":
        return bool((present.astype(float) % 1 == 0).all())
    return True


def wrong_type(values: "pd.Series", column: Column) -> np.ndarray:
    """The positions of the values that are not of the contract's type."""
    import pandas as pd

    present = np.flatnonzero(values.notna())
    if column.kind not in RANGES:
        return present
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)[present]
    wrong = np.isnan(numbers)
    if column.kind == "int":
        wrong |= numbers != np.floor(numbers)
    if wrong.any():
        return present[wrong]
    # All of them are numbers, but stored as something else, such as text.
    return present


def broken_rules(
    frame: "pd.DataFrame", rules: "gx.ExpectationSuite", validate: Validate
) -> dict[tuple[str, str], np.ndarray]:
    """By the check's name and the column: the positions of the rows that break a rule.

    `frame` has a range index. `validate` lets Great Expectations check a table. A large table is
    checked in parts. Only keys are compared over all of its rows.

    Raises: RuntimeError if Great Expectations could not evaluate a rule: a rule that did not run
    did not pass.
    """
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    if len(frame) <= MAX_ROWS:
        return _positions(validate(frame, rules), rules)

    key_rules, other_rules = _split_suite(rules)
    broken = _positions(validate(frame, key_rules), key_rules)
    parts = defaultdict(list)
    for start in range(0, len(frame), MAX_ROWS):
        rows = frame.iloc[start : start + MAX_ROWS].reset_index(drop=True)
        for which, positions in _positions(validate(rows, other_rules), other_rules).items():
            parts[which].append(positions + start)
    for which, positions_of_parts in parts.items():
        broken[which] = np.concatenate(positions_of_parts)
    return broken


def _split_suite(
    rules: "gx.ExpectationSuite",
) -> "tuple[gx.ExpectationSuite, gx.ExpectationSuite]":
    """The rules about keys, and all others."""
    import great_expectations as gx

    key_rules = []
    other_rules = []
    for rule in rules.expectations:
        if rule.meta["check"] == UNIQUE_KEY:
            key_rules.append(rule)
        else:
            other_rules.append(rule)
    return (
        gx.ExpectationSuite(name=rules.name, expectations=key_rules),
        gx.ExpectationSuite(name=rules.name, expectations=other_rules),
    )


def _positions(result: Any, rules: "gx.ExpectationSuite") -> dict[tuple[str, str], np.ndarray]:
    """The positions in a result of Great Expectations, by check and column.

    Raises: RuntimeError unless each rule was evaluated, and each row that broke it is named.
    """
    broken = {}
    for outcome in result.results:
        config = outcome.expectation_config
        names_rows = "unexpected_index_list" in outcome.result
        if not names_rows and outcome.result.get("unexpected_count") != 0:
            raise RuntimeError(
                f"{config.type} did not run, or not with result_format COMPLETE:"
                f" {outcome.exception_info}"
            )
        positions = outcome.result.get("unexpected_index_list") or []
        which = (config.meta["check"], config.meta["column"])
        broken[which] = np.asarray(positions, dtype=np.int64)

    n_rules = len(rules.expectations)
    if len(broken) != n_rules:
        raise RuntimeError(
            f"Great Expectations checked {len(broken)} of the {n_rules} rules of {rules.name}."
        )
    return broken
