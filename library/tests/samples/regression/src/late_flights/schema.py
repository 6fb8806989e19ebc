"""What a row is.

Everything that reads, checks, serves or documents data is derived from these classes.
"""

from datetime import datetime
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from mlgates.contract import About, Contract, Lookup

Carrier = Literal[
    "9E",  # Endeavor Air
    "AA",  # American Airlines
    "AS",  # Alaska Airlines
    "B6",  # JetBlue Airways
    "DL",  # Delta Air Lines
    "EV",  # ExpressJet Airlines
    "F9",  # Frontier Airlines
    "FL",  # AirTran Airways
    "HA",  # Hawaiian Airlines
    "MQ",  # Envoy Air
    "OO",  # SkyWest Airlines
    "UA",  # United Air Lines
    "US",  # US Airways
    "VX",  # Virgin America
    "WN",  # Southwest Airlines
    "YV",  # Mesa Airlines
]


class Request(BaseModel):
    """What a traveller knows when asking whether a flight will land late."""

    carrier: Carrier
    flight: Annotated[int, Field(ge=1, le=9_999, description="flight number")]
    origin: Literal["EWR", "JFK", "LGA"]
    dest: Annotated[str, Field(pattern="^[A-Z]{3}$", description="airport code")]
    distance: Annotated[int, Field(ge=17, le=5_000), About(unit="miles")]
    scheduled: Annotated[datetime, Field(description="scheduled departure, local time")]
    asked: Annotated[datetime, Field(description="the moment of the decision, local time")]


class Weather(BaseModel):
    """The newest weather report of the origin that was known when the question was asked."""

    temp: Annotated[float, Field(ge=-20, le=120), About(unit="°F")] | None
    humid: Annotated[float, Field(ge=0, le=100), About(unit="percent")] | None
    wind_speed: Annotated[float, Field(ge=0, le=100), About(unit="miles per hour")] | None
    precip: Annotated[float, Field(ge=0, le=5), About(unit="inches")] | None
    pressure: Annotated[float, Field(ge=950, le=1_060), About(unit="millibars")] | None
    visibility: Annotated[float, Field(ge=0, le=10), About(unit="miles")] | None


class Outcome(BaseModel):
    """Known only after the flight."""

    delay: Annotated[
        float, Field(ge=-120, le=1_500, description="late at arrival"), About(unit="minutes")
    ]


def asked_before_departure(asked: np.ndarray, scheduled: np.ndarray) -> np.ndarray:
    """The question is asked before the flight leaves."""
    return asked <= scheduled


def goes_elsewhere(origin: np.ndarray, dest: np.ndarray) -> np.ndarray:
    """A flight does not land where it started."""
    return origin != dest


FLIGHTS = About(
    owner="you",
    source="US Bureau of Transportation Statistics",
    licence="CC0 1.0",
    privacy="public",
    status="active",
)
WEATHER = About(source="ASOS, Iowa State University")

reported_weather = Lookup(
    Weather,
    on="origin",
    at="asked",
    time="observed",
    max_age="6h",
    about=WEATHER,
)

contract = Contract(
    Request,
    Outcome,
    lookups=[reported_weather],
    key=["carrier", "flight", "scheduled"],
    time="asked",
    slices=["origin", "carrier"],
    forbidden=["arr_delay", "dep_delay", "arr_time", "dep_time", "air_time"],
    rules=[asked_before_departure, goes_elsewhere],
    about=FLIGHTS,
)
