"""The Great Expectations suite that follows from the contract, and one run of it over a table."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contract import Column

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd

ROW_RULES = ("data.missing", "data.range", "data.category", "data.pattern")


def suite(name: str, columns: Mapping[str, Column], key: Sequence[str]) -> "gx.ExpectationSuite":
    """The rules of one table. Each expectation carries in `meta` the name of the check that it belongs to."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    rules: list[Any] = []
    for column in columns.values():
        if not column.nullable:
            rules.append(gxe.ExpectColumnValuesToNotBeNull(column=column.name, meta={"check": "data.missing"}))
        if column.is_number and (column.low is not None or column.high is not None):
            bounds = {"min_value": column.low, "max_value": column.high}
            rules.append(gxe.ExpectColumnValuesToBeBetween(column=column.name, meta={"check": "data.range"}, **bounds))
        if column.kind == "category":
            words = list(column.categories)
            rules.append(
                gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=words, meta={"check": "data.category"})
            )
        if column.pattern:
            pattern = {"regex": column.pattern, "meta": {"check": "data.pattern"}}
            rules.append(gxe.ExpectColumnValuesToMatchRegex(column=column.name, **pattern))
    if len(key) > 1:
        rules.append(gxe.ExpectCompoundColumnsToBeUnique(column_list=list(key), meta={"check": "data.key"}))
    elif key:
        rules.append(gxe.ExpectColumnValuesToBeUnique(column=key[0], meta={"check": "data.key"}))
    return gx.ExpectationSuite(name=name, expectations=rules)


def run(frame: "pd.DataFrame", rules: "gx.ExpectationSuite") -> list[tuple[str, str, list[int]]]:
    """Rule by rule: the check's name, the column, and the positions of the rows that break it (in a range index).

    Raises: RuntimeError if Great Expectations itself could not evaluate a rule: a rule that did not run did not pass.
    """
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
        found.append((config.meta["check"], column, list(result.result.get("unexpected_index_list") or [])))
    return found
