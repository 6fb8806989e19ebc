"""The Great Expectations suite that follows from the contract, and one run of it over a table."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Column, Contract, Lookup, reads
from .periods import ROWS

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


def run(frame: "pd.DataFrame", rules: "gx.ExpectationSuite") -> dict[tuple[str, str], np.ndarray]:
    """By the check's name and the column: the positions of the rows that break a rule (in a range index).

    Raises: RuntimeError if Great Expectations itself could not evaluate a rule: a rule that did not run did not pass.
    """
    import great_expectations as gx

    def part(*, key: bool) -> gx.ExpectationSuite:
        chosen = [e for e in rules.expectations if (e.meta["check"] == "data.key") is key]
        return gx.ExpectationSuite(name=rules.name, expectations=chosen)

    if len(frame) <= MOST_ROWS:
        return {which: np.asarray(places, dtype=np.int64) for which, places in _run(frame, rules)}
    found = {which: [np.asarray(places, dtype=np.int64)] for which, places in _run(frame, part(key=True))}
    for start in range(0, len(frame), MOST_ROWS):
        rows = frame.iloc[start : start + MOST_ROWS].reset_index(drop=True)
        for which, places in _run(rows, part(key=False)):
            found.setdefault(which, []).append(np.asarray(places, dtype=np.int64) + start)
    return {which: np.concatenate(parts) for which, parts in found.items()}


def _run(frame: "pd.DataFrame", rules: "gx.ExpectationSuite") -> list[tuple[tuple[str, str], list[int]]]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b").get_batch(batch_parameters={"dataframe": frame})
    plain = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    found = []
    for result in batch.validate(rules, result_format=plain).results:
        if "unexpected_count" not in result.result:
            raise RuntimeError(f"{result.expectation_config.type} did not run: {result.exception_info}")
        config = result.expectation_config
        column = config.kwargs.get("column") or "+".join(config.kwargs["column_list"])
        found.append(((config.meta["check"], column), list(result.result.get("unexpected_index_list") or [])))
    return found
