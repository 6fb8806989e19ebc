"""A small shop, whose rows a test can change.

It is a contract with one look-up, a data.py, and a project made of them.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, Field

from mlgates import Project
from mlgates.contract import About, Contract, Lookup

PERIODS = ("1", "2", "3")
ROWS = 600


class Order(BaseModel):
    id: str
    shop: Literal["a", "b"]
    amount: Annotated[float, Field(ge=0, le=10), About(unit="kg")]
    least: float
    at: datetime


class Price(BaseModel):
    price: float | None


class Outcome(BaseModel):
    sold: bool


def ordered(least: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """A rule of the contract: an order is not smaller than the least amount."""
    return least <= amount


LOOKUP = Lookup(Price, on="shop", at="at", time="known", max_age="2h")
CONTRACT = Contract(
    Order, Outcome, [LOOKUP], key=["id"], time="at", slices=["shop"], rules=[ordered]
)


class Shop(ModuleType):
    """A data.py whose rows a test can change."""

    def __init__(self) -> None:
        super().__init__("data")
        self.rows = {period: self.made(int(period)) for period in PERIODS}

    def made(self, period: int) -> pd.DataFrame:
        """The rows of a period, before a test changes them: 30 days, 600 orders."""
        random = np.random.default_rng(period)
        start = pd.Timestamp("2026-01-01") + pd.Timedelta(days=30 * period)
        amount = random.uniform(2, 10, ROWS)
        shop = random.choice(["a", "b"], ROWS)
        least = random.uniform(0, 2, ROWS)
        hours = np.sort(random.uniform(0, 30 * 24, ROWS))
        sold = random.random(ROWS) < amount / 10
        return pd.DataFrame(
            {
                "id": [f"{period}-{row}" for row in range(ROWS)],
                "shop": shop,
                "amount": amount,
                "least": least,
                "at": start + pd.to_timedelta(hours, "h").floor("s"),
                "sold": sold,
            }
        )

    def periods(self) -> list[str]:
        return list(self.rows)

    def read(self, period: str) -> pd.DataFrame:
        return self.rows[period]

    def lookup(self, name: str, period: str) -> pd.DataFrame:
        """The price of shop a, known every hour of the period."""
        start = self.made(int(period))["at"].min().floor("h")
        times = pd.date_range(start, periods=24 * 30, freq="h")
        return pd.DataFrame({"shop": "a", "known": times, "price": 1.0})


def open_shop(
    root: Path, wiring: Project, stages: Iterable[str] = ("ingest", "validate")
) -> Project:
    """A project in `root` with a `Shop` for data.py, and the wiring of another project.

    The shop is `project.data`.
    """
    schema = ModuleType("schema")
    schema.contract = CONTRACT  # type: ignore[attr-defined]
    modules = {f"pipeline.{stage}": wiring.stage(stage) for stage in stages}
    project = Project(root, "shop", {"schema": schema, "data": Shop(), **modules})
    (root / "params.yaml").write_text("validate: {drift_min_rows: 100}\n")
    close(project)
    return project


def close(project: Project) -> None:
    """Make the newest period of data.py the last closed one."""
    cycle = {"until": project.data.periods()[-1], "champion": None, "release": None, "age": 0}
    (project.root / "cycle.yaml").write_text(yaml.safe_dump(cycle))
