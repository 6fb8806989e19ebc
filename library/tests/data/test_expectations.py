"""Great Expectations' suite follows from the contract, and what it did not look at did not pass."""

from dataclasses import replace
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError, create_model
from shop import CONTRACT, LOOKUP, Order, Outcome, Shop

from mlgates import Project
from mlgates.contract import Contract
from mlgates.data import Table, expectations, suite, write_suite
from mlgates.data.datasheet import datasheet
from mlgates.data.expectations import broken_rules, described
from mlgates.files import read_json


def test_a_changed_bound_changes_all_that_follows_from_it() -> None:
    higher = create_model(
        "Order", __base__=Order, amount=(Annotated[float, Field(ge=0, le=12)], ...)
    )
    old, new = CONTRACT, Contract(higher, Outcome, [LOOKUP], key=["id"], time="at")
    told = [str(described(contract)["rows"]["expectations"]) for contract in (old, new)]
    assert "10" in told[0] and "12" in told[1]
    pages = [
        contract.request_model.model_json_schema()["properties"]["amount"]["maximum"]
        for contract in (old, new)
    ]
    assert pages == [10, 12]
    row = Shop().rows["1"].drop(columns="sold").iloc[0].to_dict() | {"amount": 11.0}
    assert new.request_model.model_validate(row)
    with pytest.raises(ValidationError):
        old.request_model.model_validate(row)
    sheets = [datasheet(contract, [Shop().rows["1"]], "1") for contract in (old, new)]
    assert "0 to 10" in sheets[0] and "0 to 12" in sheets[1]


def test_the_suite_that_is_written_is_that_of_the_schema(empty: Project) -> None:
    write_suite(empty)
    written = read_json(empty.root / "reports/suite.json")
    assert written == described(empty.contract)
    assert written != described(
        replace(empty.contract, forbidden=[*empty.contract.forbidden, "known_too_late"])
    )


RULES = suite(Table.of(CONTRACT))


@pytest.fixture(scope="module")
def check(project: Project) -> Any:
    """The wiring's own call of Great Expectations."""
    return project.stage("validate").check


def test_the_places_of_rows_that_break_a_rule_are_found(check: Any) -> None:
    rows = Shop().rows["1"]
    rows.loc[[3, 8], "amount"] = 11.0
    found = broken_rules(rows, RULES, check)
    assert found["data.range", "amount"].tolist() == [3, 8]
    assert sum(len(places) for places in found.values()) == 2


def test_a_large_table_is_checked_in_parts_with_the_same_result(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Shop().rows["1"]
    rows.loc[[3, 499], "amount"] = 11.0
    rows.loc[599, "id"] = rows.loc[0, "id"]  # far apart: a key is compared over all parts
    whole = broken_rules(rows, RULES, check)
    monkeypatch.setattr(expectations, "MOST_ROWS", 250)
    parts = broken_rules(rows, RULES, check)
    assert {which: places.tolist() for which, places in parts.items()} == {
        which: places.tolist() for which, places in whole.items()
    }
    assert parts["data.unique_key", "id"].tolist() == [0, 599]


@pytest.mark.parametrize("wanted", ["BASIC", "SUMMARY", "BOOLEAN_ONLY"])
def test_a_result_that_does_not_name_every_row_is_refused(wanted: str) -> None:
    import great_expectations as gx

    def incomplete(table: Any, rules: Any) -> Any:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("periods").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
            batch_parameters={"dataframe": table}
        )
        return batch.validate(rules, result_format=wanted)

    rows = Shop().rows["1"]
    rows.loc[3, "amount"] = 11.0
    with pytest.raises(RuntimeError, match="not with result_format COMPLETE"):
        broken_rules(rows, RULES, incomplete)


def test_rules_that_were_not_asked_are_refused(check: Any) -> None:
    import great_expectations as gx

    def lazy(table: Any, rules: Any) -> Any:
        fewer = gx.ExpectationSuite(name=rules.name, expectations=rules.expectations[1:])
        return check(table, fewer)

    told = f"checked {len(RULES.expectations) - 1} of the {len(RULES.expectations)} rules of rows"
    with pytest.raises(RuntimeError, match=told):
        broken_rules(Shop().rows["1"], RULES, lazy)


def test_a_rule_that_could_not_run_did_not_pass(check: Any) -> None:
    with pytest.raises(RuntimeError, match="did not run"):
        broken_rules(Shop().rows["1"].drop(columns="amount"), RULES, check)
