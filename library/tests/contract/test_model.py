"""The contract: one class per kind of row, everything else follows from these classes.

The error for a wrong name says which name was meant.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, Field, ValidationError

from mlgates import Project
from mlgates.contract import About, Contract, Lookup, rule_of
from mlgates.errors import ProjectError
from mlgates.lookups import join


class Request(BaseModel):
    id: str
    shop: Literal["a", "b"]
    amount: Annotated[float, Field(ge=0, le=10)] | None
    at: datetime


class Price(BaseModel):
    price: float | None


class Outcome(BaseModel):
    sold: bool


LOOKUP = Lookup(Price, on="shop", at="at", time="known", max_age="2h")
CONTRACT = Contract(Request, Outcome, lookups=[LOOKUP], key=["id"], time="at", slices=["shop"])


def test_columns_follow_from_the_classes() -> None:
    amount = CONTRACT.columns["amount"]
    assert amount.kind == "float"
    assert amount.nullable
    assert (amount.low, amount.high) == (0, 10)
    assert CONTRACT.columns["shop"].categories == ("a", "b")
    assert CONTRACT.columns["price"].source == "price"
    assert (CONTRACT.task, CONTRACT.outcome.name) == ("binary", "sold")


@pytest.mark.parametrize(
    "part", [{"key": ["idd"]}, {"slices": ["shopp"]}, {"time": "att"}, {"groups": ["shops"]}]
)
def test_a_misspelt_name_is_refused_with_the_nearest_one(part: dict[str, Any]) -> None:
    with pytest.raises(ProjectError, match="Did you mean"):
        Contract(Request, Outcome, **part)


def test_a_forbidden_column_may_not_be_requested() -> None:
    with pytest.raises(ProjectError, match="forbidden"):
        Contract(Request, Outcome, forbidden=["amount"])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"amount": 11}, "data.range"),
        ({"shop": "c"}, "data.category"),
        ({"shop": None}, "data.missing"),
        ({"amount": "much"}, "data.type"),
        ({"other": 1}, "data.columns"),
        ({"amount": float("inf")}, "data.range"),
    ],
)
def test_a_request_is_refused_by_the_same_rule_names_as_a_table(
    change: dict[str, Any], rule: str
) -> None:
    row = {"id": "1", "shop": "a", "amount": 1.0, "at": "2026-01-01T00:00:00"} | change
    with pytest.raises(ValidationError) as caught:
        CONTRACT.request_model.model_validate(row)
    error = caught.value.errors()[0]
    assert rule_of(error["type"], error["input"]) == rule


def test_one_row_and_a_frame_become_the_same_arrays() -> None:
    frame = pd.DataFrame(
        {
            "id": ["1", "2"],
            "shop": ["a", "b"],
            "amount": [1.5, None],
            "at": pd.to_datetime(["2026-01-01"] * 2),
        }
    )
    of_frame = CONTRACT.arrays(frame)
    of_row = CONTRACT.arrays_of([frame.iloc[1].to_dict() | {"amount": None}])
    assert set(of_row) == set(of_frame)
    for name, values in of_row.items():
        assert values.dtype == of_frame[name].dtype
        assert np.array_equal(values, of_frame[name][1:], equal_nan=values.dtype == np.float64)


def test_a_lookup_never_sees_the_future_nor_the_too_old() -> None:
    times = ["10:00:00", "11:59:00", "12:00:00", "14:00:01"]
    asked = pd.to_datetime([f"2026-01-01 {time}" for time in times])
    rows = pd.DataFrame({"id": list("wxyz"), "shop": "a", "at": asked})
    table = pd.DataFrame(
        {
            "shop": ["a", "a"],
            "known": pd.to_datetime(["2026-01-01 10:00:01", "2026-01-01 12:00:00"]),
            "price": [1.0, 2.0],
        }
    )
    assert join(rows, CONTRACT, {"price": table})["price"].fillna(-1).tolist() == [-1, 1, 2, -1]
    later = pd.concat([table, table.assign(known=pd.Timestamp("2026-01-02"), price=9.0)])
    joined = join(rows, CONTRACT, {"price": table})
    pd.testing.assert_frame_equal(join(rows, CONTRACT, {"price": later}), joined)


class Person(BaseModel):
    class_: Annotated[Literal["a", "b"], Field(alias="class")]
    age: Annotated[
        float | None, Field(alias="Age (years)", ge=0), About(unit="years", privacy="personal")
    ]
    faith: Annotated[str, About(privacy="sensitive")]
    fax: Annotated[str | None, About(status="deprecated", owner="nobody")]


PEOPLE = Contract(
    Person, Outcome, groups=["class_"], about=About(owner="hr", source="crm", privacy="internal")
)


def test_what_is_said_of_a_column_holds_before_what_is_said_of_all() -> None:
    about = {name: PEOPLE.columns[name].about for name in PEOPLE.columns}
    assert about["age"] == About("years", "hr", "crm", "personal")
    assert about["fax"].owner == "nobody"
    assert about["class_"].privacy == "internal"
    assert about["sold"].source == "crm"
    assert PEOPLE.request_model.model_json_schema()["properties"]["Age (years)"]["unit"] == "years"


def test_protected_and_deprecated_columns_are_barred_from_the_features() -> None:
    reasons = {name: PEOPLE.why_forbidden(name) for name in PEOPLE.columns}
    assert reasons == {
        "class_": "protected",
        "age": "",
        "faith": "protected",
        "fax": "deprecated",
        "sold": "the outcome",
    }


def test_the_name_of_the_world_is_understood_in_requests_and_tables() -> None:
    row = {"class": "a", "Age (years)": 3, "faith": "x", "fax": None}
    assert PEOPLE.request_model.model_validate(row).age == 3  # type: ignore[attr-defined]
    assert PEOPLE.request_model.model_validate({"class_": "a", "age": 3, "faith": "x", "fax": None})
    assert (PEOPLE.columns["age"].label, PEOPLE.columns["age"].low) == ("Age (years)", 0)
    assert list(PEOPLE.with_contract_names(pd.DataFrame([row]))) == [
        "class_",
        "age",
        "faith",
        "fax",
    ]


class FirstAlias(BaseModel):
    first: Annotated[int, Field(alias="No.")]
    second: int


class SameAlias(BaseModel):
    first: Annotated[int, Field(alias="No.")]
    second: Annotated[int, Field(alias="No.")]


class NameAsAlias(BaseModel):
    first: Annotated[int, Field(alias="second")]
    second: int


class OutcomeWithAlias(BaseModel):
    sold: Annotated[bool, Field(alias="No.")]


@pytest.mark.parametrize(
    ("request_class", "outcome", "words"),
    [
        (SameAlias, Outcome, r"'second' has the alias 'No\.', .* of column 'first'"),
        (NameAsAlias, Outcome, "'first' has the alias 'second', .* of column 'second'"),
        (FirstAlias, OutcomeWithAlias, r"'sold' has the alias 'No\.', .* of column 'first'"),
    ],
)
def test_an_alias_that_another_column_has_is_refused(
    request_class: type[BaseModel], outcome: type[BaseModel], words: str
) -> None:
    with pytest.raises(ProjectError, match=rf"schema\.py: column {words}"):
        Contract(request_class, outcome)


def test_an_alias_may_be_the_columns_own_name() -> None:
    class OwnName(BaseModel):
        first: Annotated[int, Field(alias="first")]

    assert Contract(OwnName, Outcome).columns["first"].label == "first"


def test_the_contract_of_this_project_loads_and_knows_its_task(project: Project) -> None:
    assert project.contract.task in ("binary", "multiclass", "regression")


def test_a_file_that_is_handed_in_keeps_every_word_and_must_have_its_columns(
    tmp_path: Path,
) -> None:
    (tmp_path / "ids.csv").write_text("id,sold\nNA,1\n007,\n")
    frame = CONTRACT.read_table(tmp_path / "ids.csv", ["id"])
    assert list(frame["id"]) == ["NA", "007"]
    assert list(frame["sold"].isna()) == [False, True]
    with pytest.raises(ProjectError, match=r"data.columns: ids.csv has no column 'shop'"):
        CONTRACT.read_table(tmp_path / "ids.csv", ["id", "shop"])
    with pytest.raises(ProjectError, match="cannot be read"):
        CONTRACT.read_table(tmp_path / "absent.csv", ["id"])
