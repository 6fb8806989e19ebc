"""Rows made from a contract keep its rules, and rows drawn again get new keys."""

from datetime import datetime
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import BaseModel, Field

from mlgates.contract import Contract, Lookup
from mlgates.faults.rows import enlarged, synthetic, synthetic_lookup


class Order(BaseModel):
    number: Annotated[int, Field(ge=1)]
    name: str
    code: Annotated[str, Field(pattern="^[A-Z]+$")]
    place: Literal["here", "there"]
    price: Annotated[float, Field(gt=0, lt=5)] | None
    at: datetime


class Weather(BaseModel):
    rain: Annotated[float, Field(ge=0, le=9)]


class Bought(BaseModel):
    bought: bool


class Paid(BaseModel):
    paid: Annotated[int, Field(ge=3, le=90)]


WEATHER = Lookup(Weather, on="place", at="at", time="measured", max_age="2h")


def contract_of(*key: str, outcome: type[BaseModel] = Bought) -> Contract:
    """A contract with a look-up and this key."""
    return Contract(Order, outcome, lookups=[WEATHER], key=key, time="at")


def test_synthetic_rows_keep_the_bounds_and_have_unique_keys() -> None:
    rows = synthetic(contract_of("number", outcome=Paid), 1_000)
    assert rows["number"].is_unique
    assert rows["at"].is_unique
    assert rows["price"].dropna().between(0, 5, inclusive="neither").all()
    assert rows["price"].isna().mean() == pytest.approx(0.05, abs=0.03)
    assert rows["code"].str.fullmatch("[A-Z]+").all()
    assert rows["paid"].between(3, 90).all()


def test_columns_that_identify_date_or_join_a_row_are_never_missing() -> None:
    rows = synthetic(contract_of("name"), 1_000)
    assert not rows[["name", "at", "place"]].isna().any(axis=None)


def test_the_outcome_can_be_learnt() -> None:
    rows = synthetic(contract_of("number", outcome=Paid), 1_000).dropna()
    assert abs(np.corrcoef(rows["price"], rows["paid"])[0, 1]) > 0.3


def test_the_same_seed_gives_the_same_rows() -> None:
    contract = contract_of("number")
    assert synthetic(contract, 50, seed=1).equals(synthetic(contract, 50, seed=1))
    assert not synthetic(contract, 50, seed=1).equals(synthetic(contract, 50, seed=2))


@pytest.mark.parametrize("key", ["number", "name", "at"])
def test_rows_that_are_drawn_again_get_new_keys(key: str) -> None:
    contract = contract_of("place", key)
    rows = enlarged(synthetic(contract, 100), contract, 500)
    assert len(rows) == 500
    assert rows[key].is_unique
    assert set(rows["place"]) <= {"here", "there"}


def test_rows_whose_key_cannot_change_are_dropped_instead_of_repeated() -> None:
    contract = contract_of("place", "code")
    rows = enlarged(synthetic(contract, 100), contract, 500)
    assert not rows.duplicated(["place", "code"]).any()


def test_a_synthetic_look_up_was_known_shortly_before_the_decision() -> None:
    contract = contract_of("number")
    rows = synthetic(contract, 300)
    table = synthetic_lookup(contract, WEATHER, rows)
    ages = rows["at"].iloc[::3].to_numpy() - table["measured"].to_numpy()
    assert (ages >= np.timedelta64(0, "s")).all()
    assert (ages <= np.timedelta64(1, "h")).all()
    assert table["rain"].between(0, 9).all()
