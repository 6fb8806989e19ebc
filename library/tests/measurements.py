"""Made-up measurements of a candidate, the contract and the rows that they could come from, and the gate on them."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel

from mlgates.contract import Contract
from mlgates.gate.rules import gate
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Report, Verdict

LIMITS = {
    "metric": "auto", "margin": 0.01, "slice_margin": 0.05, "slice_min_rows": 200, "slice_floor": 0.0, "slices": {},
    "fairness_margin": 0.1, "proxy_limit": 0.8, "fairness_blocking": ["true_positive"], "behavior_blocking": [],
    "waive": [],
}  # fmt: skip
METRIC = "average_precision"


class Asked(BaseModel):
    number: int
    place: str
    sex: Literal["f", "m"]


class Bought(BaseModel):
    bought: bool


def made(**more: Any) -> Contract:
    return Contract(Asked, Bought, **more)


def table(rows: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    drawn = {"number": random.integers(0, 5, rows), "place": random.choice([*"abcde"], rows)}
    return pd.DataFrame(
        {**drawn, "sex": random.choice(["f", "m"], rows), "bought": random.random(rows) < 0.3}
    )


def judged(measured: Any, today: str = "2026-05-05", tuning: Any = None, **limits: Any) -> Any:
    facts = {"model": "m" * 8, "champion": "o" * 8, "task": "binary", "holdout": {"rows": 0}}
    periods = {"periods": {"train": ["1"], "evaluation": ["2"]}}
    data = Report("data", [Check("x", Verdict.OK)])
    history = [{"measured": today, "features": {}, "rows": 1, "unit": 1.0}]
    limits = {"feature_blocking": [], "feature_periods": 3} | LIMITS | limits
    return gate(
        facts | periods | measured, data, GateSettings(**limits), ablations=history, tuning=tuning
    )


def entry(value: float | None, error: float | None = 0.01) -> dict[str, Any]:
    ends = (
        [None, None] if value is None or error is None else [value - 2 * error, value + 2 * error]
    )
    return {METRIC: {"value": value, "interval": ends, "error": error}}


def parts(count: int, value: float | None, rows: int = 1000, error: float = 0.01) -> dict[str, Any]:
    """Measurements of `count` slices; the first one differs from the champion by `value`, the others not at all."""
    differences = [value, *[0.0] * (count - 1)]
    slices = [
        {"column": "place", "value": str(k), "rows": rows, "candidate": entry(0.5), "champion": entry(0.5),
         "difference": entry(each, error), "floor": entry(each, error)}
        for k, each in enumerate(differences)
    ]  # fmt: skip
    values = {"candidate": entry(0.5), "champion": entry(0.5)}
    whole = {"champion": entry(0.02, 0.001), "baseline.trivial": entry(0.2)}
    return {"rows": 9999, "finite": True, "values": values, "differences": whole, "slices": slices}
