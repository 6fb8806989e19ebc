"""Each constraint of a contract is broken upstream, in a request and in the log, and each is found there."""

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field

from mlgates import Project
from mlgates.contract import Contract
from mlgates.contract.constraints import whole_pattern
from mlgates.faults import constraints
from mlgates.faults.planting import FAULTS, Bench, NotApplicable, outcome
from mlgates.faults.prove import healthy_rows
from mlgates.faults.rows import synthetic

OURS = [fault for fault in FAULTS if fault.plant.__module__ == constraints.__name__]
EVERY = [*constraints.CONSTRAINTS, constraints.MISSING]


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


def broken_ones(contract: Contract) -> dict[str, dict[str, Any]]:
    """For each constraint the columns that have it, with the value that is planted."""
    found: dict[str, dict[str, Any]] = {}
    for constraint in constraints.CONSTRAINTS:
        for name, column in contract.request_columns.items():
            value = constraint.broken(column)
            if value is not None:
                found.setdefault(constraint.name, {})[name] = value
    return found


def test_every_constraint_has_a_value_just_beyond_it() -> None:
    found = broken_ones(Contract(Everything, Bought))
    assert found == {
        "a value above its bound": {"price": 1.0, "count": 5, "at": datetime(2020, 2, 1)},
        "a value below its bound": {
            "price": 0.0,
            "count": 0,
            "at": datetime(2019, 12, 31, 23, 59, 59, 999999),
        },
        "an infinite value": {"price": np.inf},
        "an unknown word": {"colour": constraints.NO_WORD},
        "a text that is too short": {"code": "aa"},
        "a text that is too long": {"code": "aaaaaa"},
        "a text of another form": {"code": "???"},
    }
    assert (
        broken_ones(Contract(Free, Bought)) == {}
        and constraints.breaking(Contract(Free, Bought)) is None
    )


def test_a_pattern_that_allows_every_strange_letter_has_no_fault() -> None:
    column = Contract(Everything, Bought).columns["code"]
    anything = type(column)(**{**column.__dict__, "pattern": r"^[^b]*$"})
    assert whole_pattern(anything.pattern) and constraints.CONSTRAINTS[-1].broken(anything) is None


@pytest.mark.parametrize("constraint", EVERY, ids=lambda constraint: constraint.name)
@pytest.mark.parametrize("place", ["upstream", "in a request"])
def test_a_contract_with_every_constraint_has_every_fault_caught(
    project: Project, constraint: constraints.Constraint, place: str
) -> None:
    contract = Contract(Everything, Bought)
    team = project.having(schema=type("schema", (), {"contract": contract}))
    bench = Bench(team, synthetic(contract, 500), project.settings())
    fault = next(one for one in OURS if one.name == f"{constraint.name}, {place}")
    caught, told = outcome(fault, bench)
    assert caught is True, told


@pytest.mark.parametrize("fault", OURS, ids=lambda fault: fault.name)
def test_the_sample_has_its_constraints_proven_too(bench: Bench, fault: Any) -> None:
    caught, told = outcome(fault, bench)
    assert caught is not False, told


def test_a_constraint_that_the_monitor_overlooks_escapes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = next(one for one in OURS if one.name == "a value above its bound, in the log")
    assert outcome(fault, bench)[0] is True
    monkeypatch.setattr("mlgates.monitoring.skew.broken_rules", lambda *_: {})
    caught, told = outcome(fault, bench)
    assert caught is False and "not found in" in told


def test_a_rule_that_the_service_overlooks_escapes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = next(one for one in OURS if one.name == "a value above its bound, in a request")
    monkeypatch.setattr("mlgates.faults.constraints.parse_rows", lambda *_: [])
    caught, told = outcome(fault, bench)
    assert caught is False and "not found in" in told


def test_a_contract_without_constraints_has_nothing_to_plant(project: Project) -> None:
    contract = Contract(Free, Bought)
    team = project.having(schema=type("schema", (), {"contract": contract}))
    bench = Bench(team, synthetic(contract, 100), project.settings())
    with pytest.raises(NotApplicable):
        OURS[0].plant(bench)
