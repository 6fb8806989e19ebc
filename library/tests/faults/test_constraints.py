"""Each constraint of a contract is broken upstream, in a request and in the log, and found."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field

from mlgates import Project
from mlgates.contract import Contract
from mlgates.contract.constraints import whole_pattern
from mlgates.faults import constraints
from mlgates.faults.planting import FAULTS, Bench, Fault, NotApplicable, try_fault
from mlgates.faults.prove import healthy_rows
from mlgates.faults.rows import synthetic

FAULTS_OF_CONSTRAINTS = [
    fault for fault in FAULTS if fault.plant.__module__ == constraints.__name__
]
ALL_CONSTRAINTS = [*constraints.CONSTRAINTS, constraints.MISSING]


class Everything(BaseModel):
    price: Annotated[float, Field(gt=0, lt=1)]
    count: Annotated[int, Field(ge=1, le=4)]
    at: Annotated[datetime, Field(ge=datetime(2020, 1, 1), lt=datetime(2020, 2, 1))]
    colour: Literal["red", "blue"] | None
    code: Annotated[str, Field(min_length=3, max_length=5, pattern="^[a-z]+$")]


class Bought(BaseModel):
    bought: bool


class Free(BaseModel):
    words: str | None
    yes: bool | None


@pytest.fixture(scope="module")
def bench(project: Project) -> Bench:
    """The sample project with its healthy rows."""
    return Bench(project, healthy_rows(project), project.settings())


def bench_of(project: Project, contract: Contract, rows: int) -> Bench:
    """The sample project with another contract, and synthetic rows."""
    schema = type("schema", (), {"contract": contract})
    return Bench(project.having(schema=schema), synthetic(contract, rows), project.settings())


def fault_named(name: str) -> Fault:
    """The fault of a constraint that has this name."""
    return next(fault for fault in FAULTS_OF_CONSTRAINTS if fault.name == name)


def bad_values(contract: Contract) -> dict[str, dict[str, Any]]:
    """For each constraint by name, the columns that have it, with the value that is planted."""
    values: dict[str, dict[str, Any]] = {}
    for constraint in constraints.CONSTRAINTS:
        for name, column in contract.request_columns.items():
            value = constraint.bad_value(column)
            if value is not None:
                values.setdefault(constraint.name, {})[name] = value
    return values


def test_every_constraint_has_a_value_just_beyond_it() -> None:
    before_2020 = datetime(2019, 12, 31, 23, 59, 59, 999999)
    assert bad_values(Contract(Everything, Bought)) == {
        "a value above its bound": {"price": 1.0, "count": 5, "at": datetime(2020, 2, 1)},
        "a value below its bound": {"price": 0.0, "count": 0, "at": before_2020},
        "an infinite value": {"price": np.inf},
        "an unknown word": {"colour": constraints.NO_WORD},
        "a text that is too short": {"code": "aa"},
        "a text that is too long": {"code": "aaaaaa"},
        "a text of another form": {"code": "???"},
    }


def test_a_contract_without_constraints_has_no_bad_value() -> None:
    contract = Contract(Free, Bought)
    assert bad_values(contract) == {}
    assert constraints.breaking(contract) is None


def test_a_pattern_that_allows_every_letter_that_is_tried_has_no_fault() -> None:
    column = replace(Contract(Everything, Bought).columns["code"], pattern=r"^[^b]*$")
    pattern = constraints.CONSTRAINTS[-1]
    assert pattern.rule == "data.pattern"
    assert whole_pattern(column.pattern)
    assert pattern.bad_value(column) is None


@pytest.mark.parametrize("constraint", ALL_CONSTRAINTS, ids=lambda constraint: constraint.name)
@pytest.mark.parametrize("place", ["upstream", "in a request"])
def test_a_contract_with_every_constraint_has_every_fault_caught(
    project: Project, constraint: constraints.Constraint, place: str
) -> None:
    bench = bench_of(project, Contract(Everything, Bought), rows=500)
    caught, evidence = try_fault(fault_named(f"{constraint.name}, {place}"), bench)
    assert caught is True, evidence


@pytest.mark.parametrize("fault", FAULTS_OF_CONSTRAINTS, ids=lambda fault: fault.name)
def test_the_sample_has_its_constraints_proven_too(bench: Bench, fault: Fault) -> None:
    caught, evidence = try_fault(fault, bench)
    assert caught is not False, evidence


def test_a_constraint_that_the_monitor_overlooks_escapes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = fault_named("a value above its bound, in the log")
    assert try_fault(fault, bench)[0] is True
    monkeypatch.setattr("mlgates.monitoring.skew.broken_rules", lambda *_: {})
    caught, evidence = try_fault(fault, bench)
    assert caught is False
    assert "not found in" in evidence


def test_a_rule_that_the_service_overlooks_escapes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = fault_named("a value above its bound, in a request")
    monkeypatch.setattr("mlgates.faults.constraints.parse_rows", lambda *_: [])
    caught, evidence = try_fault(fault, bench)
    assert caught is False
    assert "not found in" in evidence


def test_a_contract_without_constraints_has_nothing_to_plant(project: Project) -> None:
    bench = bench_of(project, Contract(Free, Bought), rows=100)
    for fault in FAULTS_OF_CONSTRAINTS:
        with pytest.raises(NotApplicable):
            fault.plant(bench)
