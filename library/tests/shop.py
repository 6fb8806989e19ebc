"""A small shop, whose rows a test can change: a contract with one look-up, a data.py, and a project made of them."""

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
        """The rows that a period has by nature."""
        random = np.random.default_rng(period)
        start = pd.Timestamp("2026-01-01") + pd.Timedelta(days=30 * period)
        amount = random.uniform(2, 10, ROWS)
        return pd.DataFrame(
            {
                "id": [f"{period}-{row}" for row in range(ROWS)],
                "shop": random.choice(["a", "b"], ROWS),
                "amount": amount,
                "least": random.uniform(0, 2, ROWS),
                "at": start
                + pd.to_timedelta(np.sort(random.uniform(0, 30 * 24, ROWS)), "h").floor("s"),
                "sold": random.random(ROWS) < amount / 10,
            }
        )

    def periods(self) -> list[str]:
        return list(self.rows)

    def read(self, period: str) -> pd.DataFrame:
        return self.rows[period]

    def lookup(self, name: str, period: str) -> pd.DataFrame:
        times = pd.date_range(
            self.made(int(period))["at"].min().floor("h"), periods=24 * 30, freq="h"
        )
        return pd.DataFrame({"shop": "a", "known": times, "price": 1.0})


def open_shop(
    root: Path, wiring: Project, stages: Iterable[str] = ("ingest", "validate")
) -> Project:
    """A project in `root` with a `Shop` for data.py and the wiring of another project; its data.py is `.data`."""
    schema = ModuleType("schema")
    schema.contract = CONTRACT  # type: ignore[attr-defined]
    modules = {f"pipeline.{stage}": wiring.stage(stage) for stage in stages}
    project = Project(root, "shop", {"schema": schema, "data": Shop(), **modules})
    (root / "params.yaml").write_text("validate: {drift_min_rows: 100}\n")
    close(project)
    return project


def close(project: Project) -> None:
    """Let the cycle go until the newest period that data.py knows."""
    cycle = {"until": project.data.periods()[-1], "champion": None, "release": None, "age": 0}
    (project.root / "cycle.yaml").write_text(yaml.safe_dump(cycle))
