"""What a row is."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from mlgates.contract import Contract, Lookup


class Request(BaseModel):
    """A sale in a shop."""

    shop: Literal["a", "b"]
    asked: datetime


class Tariff(BaseModel):
    """What is looked up for it."""

    price: float | None


class Outcome(BaseModel):
    """Known later."""

    sold: bool


contract = Contract(
    Request,
    Outcome,
    lookups=[Lookup(Tariff, on="shop", at="asked", time="known", max_age="9d")],
    key=["shop", "asked"],
    time="asked",
)
