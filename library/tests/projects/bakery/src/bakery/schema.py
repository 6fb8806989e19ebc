"""What a row is."""

from datetime import datetime

from pydantic import BaseModel

from mlgates.contract import Contract, Lookup


class Request(BaseModel):
    """An order of a customer."""

    customer: str
    order: int
    asked: datetime


class Visits(BaseModel):
    """A look-up by customer."""

    visits: float | None


class Outcome(BaseModel):
    """Known later."""

    late: bool


contract = Contract(
    Request,
    Outcome,
    lookups=[Lookup(Visits, on="customer", at="asked", time="seen", max_age="9d")],
    key=["customer", "order"],
    time="asked",
)
