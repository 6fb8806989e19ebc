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
from mlgates.data.expectations import broken_rules, suite_as_data
from mlgates.files import read_json


def test_a_changed_bound_changes_all_that_follows_from_it() -> None:
    higher = create_model(
        "Order", __base__=Order, amount=(Annotated[float, Field(ge=0, le=12)], ...)
    )
    new = Contract(higher, Outcome, [LOOKUP], key=["id"], time="at")
    for contract, bound in ((CONTRACT, 10), (new, 12)):
        assert str(bound) in str(suite_as_data(contract)["rows"]["expectations"])
        json_schema = contract.request_model.model_json_schema()
        assert json_schema["properties"]["amount"]["maximum"] == bound
        assert f"0 to {bound}" in datasheet(contract, [Shop().rows["1"]], "1")

    row = Shop().rows["1"].drop(columns="sold").iloc[0].to_dict() | {"amount": 11.0}
    assert new.request_model.model_validate(row)
    with pytest.raises(ValidationError):
        CONTRACT.request_model.model_validate(row)


def test_the_suite_that_is_written_is_that_of_the_schema(empty: Project) -> None:
    write_suite(empty)
    written = read_json(empty.root / "reports/suite.json")
    assert written == suite_as_data(empty.contract)
    forbidden = [*empty.contract.forbidden, "known_too_late"]
    assert written != suite_as_data(replace(empty.contract, forbidden=forbidden))


RULES = suite(Table.of(CONTRACT))


@pytest.fixture(scope="module")
def check(project: Project) -> Any:
    """The wiring's own call of Great Expectations."""
    return project.stage("validate").check


def test_the_positions_of_rows_that_break_a_rule_are_given(check: Any) -> None:
    rows = Shop().rows["1"]
    rows.loc[[3, 8], "amount"] = 11.0
    broken = broken_rules(rows, RULES, check)
    assert broken["data.range", "amount"].tolist() == [3, 8]
    assert sum(len(positions) for positions in broken.values()) == 2


def test_a_large_table_is_checked_in_parts_with_the_same_result(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Shop().rows["1"]
    rows.loc[[3, 499], "amount"] = 11.0
    rows.loc[599, "id"] = rows.loc[0, "id"]  # far apart: a key is compared over all parts
    whole = broken_rules(rows, RULES, check)
    monkeypatch.setattr(expectations, "MAX_ROWS", 250)
    parts = broken_rules(rows, RULES, check)
    assert set(parts) == set(whole)
    for which, positions in whole.items():
        assert parts[which].tolist() == positions.tolist()
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

    n_rules = len(RULES.expectations)
    message = f"checked {n_rules - 1} of the {n_rules} rules of rows"
    with pytest.raises(RuntimeError, match=message):
        broken_rules(Shop().rows["1"], RULES, lazy)


def test_a_rule_that_could_not_run_did_not_pass(check: Any) -> None:
    with pytest.raises(RuntimeError, match="did not run"):
        broken_rules(Shop().rows["1"].drop(columns="amount"), RULES, check)
