"""Made-up measurements of a candidate, and what the gate decides about them.

Also a contract and rows that such measurements could come from.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel

from mlgates.contract import Contract
from mlgates.gate.rules import Context, gate
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Report, Verdict

LIMITS = {
    "metric": "auto",
    "margin": 0.01,
    "slice_margin": 0.05,
    "slice_min_rows": 200,
    "slice_floor": 0.0,
    "slices": {},
    "fairness_margin": 0.1,
    "proxy_limit": 0.8,
    "fairness_blocking": ["true_positive"],
    "behavior_blocking": [],
    "feature_blocking": [],
    "feature_periods": 3,
    "waive": [],
}
METRIC = "average_precision"


class Asked(BaseModel):
    number: int
    place: str
    sex: Literal["f", "m"]


class Bought(BaseModel):
    bought: bool


def made(**more: Any) -> Contract:
    """A contract on the classes above."""
    return Contract(Asked, Bought, **more)


def table(rows: int, seed: int = 0) -> Any:
    """Rows of the contract, drawn by chance."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "number": random.integers(0, 5, rows),
            "place": random.choice(["a", "b", "c", "d", "e"], rows),
            "sex": random.choice(["f", "m"], rows),
            "bought": random.random(rows) < 0.3,
        }
    )


def judged(measured: Any, today: str = "2026-05-05", tuning: Any = None, **limits: Any) -> Any:
    """The gate's report on measurements, by `LIMITS` and those given."""
    measured = {
        "model": "m" * 8,
        "champion": "o" * 8,
        "task": "binary",
        "holdout": {"rows": 0},
        "periods": {"train": ["1"], "evaluation": ["2"]},
        **measured,
    }
    data = Report("data", [Check("x", Verdict.OK)])
    history = [{"measured": today, "features": {}, "rows": 1, "unit": 1.0}]
    settings = GateSettings(**{**LIMITS, **limits})
    return gate(measured, data, settings, Context(ablations=history, tuning=tuning))


def entry(value: float | None, error: float | None = 0.01) -> dict[str, Any]:
    """A measurement of the main metric; without a value or an error there is no interval."""
    interval: list[float | None] = [None, None]
    if value is not None and error is not None:
        interval = [value - 2 * error, value + 2 * error]
    return {METRIC: {"value": value, "interval": interval, "error": error}}


def parts(count: int, value: float | None, rows: int = 1000, error: float = 0.01) -> dict[str, Any]:
    """Measurements of `count` slices.

    The first one differs from the champion by `value`, the others do not differ.
    """
    slices = []
    for number in range(count):
        difference = value if number == 0 else 0.0
        slices.append(
            {
                "column": "place",
                "value": str(number),
                "rows": rows,
                "candidate": entry(0.5),
                "champion": entry(0.5),
                "difference": entry(difference, error),
                "floor": entry(difference, error),
            }
        )
    return {
        "rows": 9999,
        "finite": True,
        "values": {"candidate": entry(0.5), "champion": entry(0.5)},
        "differences": {"champion": entry(0.02, 0.001), "baseline.trivial": entry(0.2)},
        "slices": slices,
    }
