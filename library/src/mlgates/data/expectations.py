"""The Great Expectations suite that follows from the contract, and one run of it over a table."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract, Lookup, reads
from mlgates.data.partitions import ROWS
from mlgates.files import write_json
from mlgates.layout import SUITE
from mlgates.project import Project

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

ROW_RULES = ("data.missing", "data.range", "data.category", "data.pattern", "data.rule", "data.repeated")
MOST_ROWS = 500_000  # in one run: the memory of Great Expectations grows faster than the rows


@dataclass(frozen=True)
class Table:
    """What one table of a period must be: the rows, or a look-up."""

    name: str
    columns: Mapping[str, Column]
    key: Sequence[str]
    forbidden: Sequence[str] = ()

    def label(self, name: str) -> str:
        """A column's name for people; a rule's name stays as it is."""
        return self.columns[name].label if name in self.columns else name

    @classmethod
    def of(cls, contract: Contract, look: Lookup | None = None) -> "Table":
        """The rows, or a look-up, of the contract."""
        if look is None:
            columns = contract.request_columns | contract.from_source("outcome")
            return cls(ROWS, columns, list(contract.key), contract.forbidden)
        known = {look.time: Column(look.time, "datetime", look.name)}
        columns = {name: contract.columns[name] for name in look.keys} | known | contract.from_source(look.name)
        return cls(look.name, columns, [*look.keys, look.time])


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
        if column.is_number and (column.low is not None or column.high is not None):
            bounds = {"min_value": column.low, "max_value": column.high}
            rule("data.range", gxe.ExpectColumnValuesToBeBetween, column=name, **bounds)
        if column.kind == "category":
            rule("data.category", gxe.ExpectColumnValuesToBeInSet, column=name, value_set=list(column.categories))
        if column.pattern:
            rule("data.pattern", gxe.ExpectColumnValuesToMatchRegex, column=name, regex=column.pattern)
    if len(table.key) > 1:
        rule("data.key", gxe.ExpectCompoundColumnsToBeUnique, column_list=list(table.key))
    elif table.key:
        rule("data.key", gxe.ExpectColumnValuesToBeUnique, column=table.key[0])
    return gx.ExpectationSuite(name=table.name, expectations=rules)


def described(contract: Contract) -> dict[str, Any]:
    """All rules of the contract in a form to be reviewed: by table, Great Expectations' JSON and what is not in it."""
    told = {}
    for look in (None, *contract.lookups):
        table = Table.of(contract, look)
        told[table.name] = {
            "columns": {name: f"{c.kind}{' or missing' if c.nullable else ''}" for name, c in table.columns.items()},
            "forbidden": list(table.forbidden),
            "rules": [] if look else [f"{rule.__name__}({', '.join(reads(rule))})" for rule in contract.rules],
            "expectations": [
                {"type": e["type"], **{k: v for k, v in e["kwargs"].items() if v is not None}}
                for e in suite(table).to_json_dict()["expectations"]
            ],
        }
    return told


def write_suite(project: Project) -> None:
    """Write reports/suite.json: all rules of the contract, to be reviewed with it."""
    write_json(project.root / SUITE, described(project.contract))


def broken_rules(
    frame: "pd.DataFrame", rules: "gx.ExpectationSuite", validate: "Callable[[pd.DataFrame, gx.ExpectationSuite], Any]"
) -> dict[tuple[str, str], np.ndarray]:
    """By the check's name and the column: the positions of the rows that break a rule (in a range index).

    `validate` lets Great Expectations check a table. Raises: RuntimeError if it could not evaluate a rule: a rule that
    did not run did not pass.
    """
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    if len(frame) <= MOST_ROWS:
        return _places(validate(frame, rules), rules)
    keys = gx.ExpectationSuite(name=rules.name, expectations=[e for e in rules.expectations if _is_key(e)])
    others = gx.ExpectationSuite(name=rules.name, expectations=[e for e in rules.expectations if not _is_key(e)])
    found = {which: [places] for which, places in _places(validate(frame, keys), keys).items()}
    for start in range(0, len(frame), MOST_ROWS):
        rows = frame.iloc[start : start + MOST_ROWS].reset_index(drop=True)
        for which, places in _places(validate(rows, others), others).items():
            found.setdefault(which, []).append(places + start)
    return {which: np.concatenate(parts) for which, parts in found.items()}


def _is_key(expectation: Any) -> bool:
    return bool(expectation.meta["check"] == "data.key")


def _places(result: Any, rules: "gx.ExpectationSuite") -> dict[tuple[str, str], np.ndarray]:
    """What Great Expectations found, by check and column."""
    found = {}
    for one in result.results:
        config = one.expectation_config
        if "unexpected_index_list" not in one.result and one.result.get("unexpected_count") != 0:
            raise RuntimeError(f"{config.type} did not run, or not with result_format COMPLETE: {one.exception_info}")
        column = config.kwargs.get("column") or "+".join(config.kwargs["column_list"])
        places = one.result.get("unexpected_index_list") or []
        found[config.meta["check"], column] = np.asarray(places, dtype=np.int64)
    if len(found) != len(rules.expectations):
        raise RuntimeError(
            f"Great Expectations checked {len(found)} of the {len(rules.expectations)} rules of {rules.name}."
        )
    return found
