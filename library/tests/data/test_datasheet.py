"""The data sheet: what is known of the columns, measured where that harms nobody."""

from typing import Annotated

from pydantic import create_model
from shop import Order, Outcome, Shop

from mlgates.contract import About, Contract
from mlgates.data.datasheet import datasheet


def test_the_data_sheet_measures_nothing_of_persons() -> None:
    person = create_model(
        "Order", __base__=Order, amount=(Annotated[float, About(privacy="personal")], ...)
    )
    sheet = datasheet(Contract(person, Outcome), [Shop().rows["1"]], "1")
    line = next(line for line in sheet.splitlines() if line.startswith("| amount"))
    assert line.split("|")[4].strip() == ""


def test_the_data_sheet_names_what_is_left_to_fill_in() -> None:
    sheet = datasheet(Contract(Order, Outcome), [Shop().rows["1"]], "1")
    _, _, left = sheet.rpartition("Left to fill in")
    assert "amount (owner, source, privacy, status)" in left, "its unit is known"
    assert "least (owner, source, privacy, status, unit)" in left
