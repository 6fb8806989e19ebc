"""What one engine refuses, all refuse.

The service, validate and the monitor check random rows against random contracts. The service asks
pydantic, the other two ask Great Expectations, as pipeline/validate.py of the sample does.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mlgates import Project
from mlgates.contract import Contract
from mlgates.data.expectations import Table, broken_rows
from mlgates.errors import ProjectError
from mlgates.faults.rows import synthetic
from mlgates.monitoring import outcomes, skew
from mlgates.serving.predictor import Refused, batch_model, parse_rows
from mlgates.settings import ServeSettings, Settings

ROWS = 150
SEEDS = range(12)
Found = set[tuple[int, str, str]]  # row, column, rule
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
WORDS = ("a", "A", "é", "e\u0301", "two words", "", "none")
TEXTS = (
    "",
    "a",
    "a\n",
    "\n",
    "a\nb",
    "a\r\n",
    "ab",
    "abc",
    "abcd",
    "A",
    "é",
    "e\u0301",
    "$",
    "a$",
    "12",
    "123",
    "12\n",
    "\u0967\u0968",
    "x\u00a0y",
    "x y",
    "\x1cx",
    "\u2028",
    "xyz",
    "yzyz",
    "-",
    "a" * 300,
    "[x]",
    "null",
)
PATTERNS = (
    "^[a-z]+$",
    r"^\d{2}$",
    "^A|b$",
    "^(?:x|yz)*$",
    "[$]",
    r"\$$",
    r"^\w+\s\w+$",
    "^.{2}$",
    r"^[^\n]*$",
    "a",
    r"\ba\b",
    "^$",
    r"^[\s\S]{0,3}$",
)
MOMENTS = (
    datetime.min,
    # Before this day, and after the next one, a time has no nanoseconds in pandas.
    datetime(1677, 9, 21),
    datetime(2262, 4, 12),
    datetime(2026, 3, 29, 2, 30),  # an hour that summer time leaves out
    datetime(2024, 2, 29, 23, 59, 59, 999_999),
    datetime.max,
)


def not_after(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A rule between two columns."""
    return first <= second


def one_of(random: np.random.Generator, values: Any) -> Any:
    """One of some values, as it is: NumPy would make other types of them."""
    return values[int(random.integers(len(values)))]


def bounds(random: np.random.Generator, low: Any, high: Any) -> dict[str, Any]:
    """No bound, one, or two, each inclusive or exclusive."""
    limits = {}
    if random.random() < 0.7:
        limits[one_of(random, ("gt", "ge"))] = low
    if random.random() < 0.7:
        limits[one_of(random, ("lt", "le"))] = high
    return limits


def number(random: np.random.Generator) -> tuple[Any, list[Any]]:
    """A constrained float, and values around its bounds."""
    low = float(one_of(random, (-1.0, 0.0, 0.1, 1e-300, 1e300)))
    high = low + abs(low) + 1.0
    values = [
        low,
        high,
        np.nextafter(low, -np.inf),
        np.nextafter(low, np.inf),
        np.nextafter(high, np.inf),
    ]
    values += [0.0, -0.0, 5e-324, 1e308, -1e308, float("inf"), -float("inf"), 0.5, 1.0]
    return Annotated[float, Field(**bounds(random, low, high))], [float(value) for value in values]


def whole_number(random: np.random.Generator) -> tuple[Any, list[Any]]:
    """A constrained integer, and values around its bounds."""
    low = int(one_of(random, (-5, 0, 1, 2**53 - 10)))
    high = low + int(random.integers(0, 10))
    values = [low - 1, low, low + 1, high - 1, high, high + 1, 0, -(2**63), 2**62, 7]
    return Annotated[int, Field(**bounds(random, low, high))], values


def text(random: np.random.Generator) -> tuple[Any, list[Any]]:
    """A text with lengths or a pattern, or with both."""
    limits: dict[str, Any] = {}
    if random.random() < 0.5:
        limits["min_length"] = int(random.integers(0, 3))
    if random.random() < 0.5:
        limits["max_length"] = int(random.integers(2, 5))
    if random.random() < 0.7:
        limits["pattern"] = one_of(random, PATTERNS)
    return Annotated[str, Field(**limits)], list(TEXTS)


def word(random: np.random.Generator) -> tuple[Any, list[Any]]:
    """A few words of a list."""
    return Literal[tuple(random.choice(WORDS, 3, replace=False).tolist())], list(WORDS)


def moment(random: np.random.Generator) -> tuple[Any, list[Any]]:
    """A datetime with bounds."""
    low = one_of(random, MOMENTS[:-1])
    high = low + DAY
    values = [*MOMENTS, low, high, low + MOMENT, high - MOMENT, high + MOMENT]
    return Annotated[datetime, Field(**bounds(random, low, high))], values


def truth(random: np.random.Generator) -> tuple[Any, list[Any]]:
    """A bool."""
    return bool, [True, False]


def a_class(name: str, annotations: dict[str, Any]) -> type[BaseModel]:
    """A pydantic class with these fields."""
    return type(name, (BaseModel,), {"__annotations__": annotations, "__module__": __name__})


def is_allowed(annotation: Any, value: Any) -> bool:
    """Whether pydantic takes a value; only needed so that most rows have few faults."""
    try:
        TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError:
        return False
    return True


def random_contract(random: np.random.Generator) -> tuple[Contract, list[dict[str, Any]]]:
    """A contract of random constraints, and rows of values near them; some are missing."""
    makers = {
        "first": number,
        "second": number,
        "count": whole_number,
        "name": text,
        "code": text,
        "kind": word,
        "at": moment,
        "flag": truth,
    }
    annotations = {}
    values = {}
    allowed = {}
    for column, make in makers.items():
        annotation, values[column] = make(random)
        if random.random() < 0.4:
            annotation = annotation | None
        if random.random() < 0.7:
            values[column].append(None)
        annotations[column] = annotation
        allowed[column] = [value for value in values[column] if is_allowed(annotation, value)]

    request = a_class("Request", annotations)
    outcome = a_class("Outcome", {"label": bool})
    rows = []
    for _ in range(ROWS):
        row = {}
        for column in makers:
            usual = allowed[column] and random.random() < 0.9
            row[column] = one_of(random, allowed[column] if usual else values[column])
        rows.append(row)
    return Contract(request, outcome, rules=[not_after]), rows


def refused_by_the_service(contract: Contract, rows: list[dict[str, Any]]) -> Found:
    """What the service says of each row, sent alone as JSON."""
    project: Any = SimpleNamespace(
        contract=contract, settings=lambda: Settings(serve=ServeSettings(max_rows=1))
    )
    batch = batch_model(project)
    found: Found = set()
    for place, row in enumerate(rows):
        body = json.dumps({"rows": [row]}, default=datetime.isoformat).encode()
        try:
            parsed = parse_rows(batch, contract, body)
        except Refused as refused:
            found |= {(place, fault["column"], fault["rule"]) for fault in refused.detail or []}
            continue
        for rule, positions in contract.impossible(contract.arrays_of(parsed)).items():
            if len(positions):
                found.add((place, rule, "data.rule"))
    return found


def frame_of(contract: Contract, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as data.py would deliver them."""
    columns = {}
    for name, column in contract.request_columns.items():
        values = [row[name] for row in rows]
        if column.kind == "datetime":
            columns[name] = np.array(values, dtype="datetime64[us]")
        elif column.kind in ("int", "float"):
            columns[name] = pd.Series(values, dtype=None if None not in values else float)
        else:
            columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)


def flat(broken: dict[tuple[str, str], np.ndarray]) -> Found:
    """Broken rules by row.

    A row that breaks a rule of one column is not asked about rules between columns.
    """
    of_columns: Found = set()
    between_columns: Found = set()
    for (rule, column), positions in broken.items():
        found = between_columns if rule == "data.rule" else of_columns
        found.update((int(row), column, rule) for row in positions)

    bad_rows = {row for row, _, _ in of_columns}
    return of_columns | {fault for fault in between_columns if fault[0] not in bad_rows}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_engine_refuses_all_refuse(seed: int, project: Project) -> None:
    contract, rows = random_contract(np.random.default_rng(seed))
    check = project.stage("validate").check
    frame = frame_of(contract, rows)
    served = refused_by_the_service(contract, rows)
    table = Table("rows", contract.request_columns, [])
    validated = flat(broken_rows(frame, table, contract, check))
    monitored = flat(skew.broken_rules(contract, contract.arrays(frame), check))
    assert cells(validated) == cells(served), explained(rows, cells(validated) ^ cells(served))
    assert cells(monitored) == cells(served), explained(rows, cells(monitored) ^ cells(served))
    # Not equal: pydantic names the first broken rule only.
    assert served <= validated, "a value is refused under another name"
    assert monitored == validated
    assert ROWS / 10 < len(cells(served)) < ROWS * len(contract.request_columns) / 2


def cells(found: Found) -> set[tuple[int, str]]:
    """Row and column of what was refused."""
    return {(row, column) for row, column, _ in found}


def explained(rows: list[dict[str, Any]], different: set[tuple[int, str]]) -> str:
    """The values that engines disagree about."""
    return "; ".join(
        f"{column}: {rows[row].get(column)!r}" for row, column in sorted(different)[:5]
    )


def of_the_constraint(
    annotation: Any, good: Any, bad: Any
) -> tuple[Contract, list[dict[str, Any]]]:
    """A contract with one constrained column, a good row, and a bad one."""
    request = a_class("Request", {"value": annotation})
    outcome = a_class("Outcome", {"label": annotation})
    return Contract(request, outcome), [{"value": good}, {"value": bad}]


CONSTRAINTS: dict[str, tuple[Any, Any, Any, str]] = {
    "gt": (Annotated[float, Field(gt=0)], 0.5, 0.0, "data.range"),
    "ge": (Annotated[float, Field(ge=0)], 0.0, -0.5, "data.range"),
    "lt": (Annotated[float, Field(lt=10)], 9.5, 10.0, "data.range"),
    "le": (Annotated[float, Field(le=10)], 10.0, 10.5, "data.range"),
    "infinity": (float, 1e308, float("inf"), "data.range"),
    "gt of whole numbers": (Annotated[int, Field(gt=0)], 1, 0, "data.range"),
    "category": (Literal["a", "b"], "a", "c", "data.category"),
    "min_length": (Annotated[str, Field(min_length=2)], "ab", "a", "data.length"),
    "max_length": (Annotated[str, Field(max_length=2)], "ab", "abc", "data.length"),
    "pattern": (Annotated[str, Field(pattern="^[a-z]+$")], "ab", "ab\n", "data.pattern"),
    "missing": (str, "a", None, "data.missing"),
    "whole number": (int, 1, 1.5, "data.type"),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_value_that_breaks_a_constraint_is_found_wherever_it_is_planted(
    name: str, project: Project
) -> None:
    """Upstream, in a request and in the log, and in a table of labels."""
    annotation, good, bad, rule = CONSTRAINTS[name]
    check = project.stage("validate").check
    contract, rows = of_the_constraint(annotation, good, bad)
    expected = {(1, "value", rule)}
    frame = frame_of(contract, rows)
    assert refused_by_the_service(contract, rows) == expected
    table = Table("rows", contract.request_columns, [])
    assert flat(broken_rows(frame, table, contract, check)) == expected
    assert flat(skew.broken_rules(contract, contract.arrays(frame), check)) == expected
    labels = frame.rename(columns={"value": "label"})
    table = Table("labels", {"label": contract.columns["label"]}, [])
    assert flat(broken_rows(labels, table, contract, check)) == {(1, "label", rule)}


def test_a_rule_between_columns_is_asked_by_all(project: Project) -> None:
    annotations = {"first": float, "second": float | None}
    request = a_class("Request", annotations)
    outcome = a_class("Outcome", {"label": bool})
    contract = Contract(request, outcome, rules=[not_after])
    rows = [
        {"first": 1.0, "second": 2.0},
        {"first": 2.0, "second": 1.0},
        {"first": 3.0, "second": None},
    ]
    frame = frame_of(contract, rows)
    check = project.stage("validate").check
    expected = {(1, "not_after", "data.rule")}
    assert refused_by_the_service(contract, rows) == expected
    table = Table("rows", contract.request_columns, [])
    assert flat(broken_rows(frame, table, contract, check)) == expected
    assert flat(skew.broken_rules(contract, contract.arrays(frame), check)) == expected


def test_a_moment_with_a_time_zone_is_refused_by_the_table_too(project: Project) -> None:
    contract, _ = of_the_constraint(datetime, None, None)
    moments = pd.DataFrame({"value": pd.to_datetime(["2026-01-01T00:00:00+02:00"])})
    table = Table("rows", contract.request_columns, [])
    broken = broken_rows(moments, table, contract, project.stage("validate").check)
    assert flat(broken) == {(0, "value", "data.type")}


@pytest.mark.parametrize("year", [1, 1600, 2262, 9999])
def test_labels_of_far_dates_are_read_like_any_others(year: int) -> None:
    read: Callable[[pd.Series], pd.Series] = outcomes.moments
    given = pd.Series([f"{year:04}-12-31T00:00:00", "2026-01-01"])
    assert read(given).tolist()[0] is not None
    assert read(given).to_numpy().astype("datetime64[D]").astype(str).tolist() == [
        f"{year:04}-12-31",
        "2026-01-01",
    ]


def test_a_label_that_is_no_date_is_refused() -> None:
    with pytest.raises((ValueError, ProjectError)):
        outcomes.moments(pd.Series(["9999-12-31", "soon"]))


class Bounded(BaseModel):
    price: Annotated[float, Field(gt=0, lt=1)]
    count: Annotated[int, Field(gt=0, lt=4)]
    at: Annotated[datetime, Field(ge=datetime(1900, 1, 1), lt=datetime(1900, 1, 3))]
    later: Annotated[datetime, Field(ge=datetime(2030, 1, 1))]
    code: Annotated[str, Field(min_length=4, max_length=6, pattern="^[a-z]+$")]
    name: Annotated[str, Field(max_length=2)]


class Label(BaseModel):
    spent: Annotated[float, Field(gt=0, lt=100)]


def test_rows_made_from_a_contract_keep_it(project: Project) -> None:
    """Projects without data rehearse with such rows."""
    contract = Contract(Bounded, Label)
    for seed in range(5):
        rows = synthetic(contract, 2_000, seed)
        broken = broken_rows(rows, Table.of(contract), contract, project.stage("validate").check)
        assert flat(broken) == set()
