"""What the measuring stages and the gate share: which metric decides, what margins count in, where reports lie."""

import math
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ..project import ProjectError, nearest
from ..verdict import Check, not_below

MAIN = {"binary": "average_precision", "multiclass": "macro_roc_auc", "regression": "mean_absolute_error"}
FEATURES, AGE, TUNING = Path("reports/features"), Path("reports/age.json"), Path("reports/tuning.json")
ENOUGH, CALLS = 0.05, 50  # seconds and calls after which a time is known well enough


def unit(task: str, value: float | None) -> float:
    """What margins count in: an error has the outcome's unit, so they are shares of `value`, the opponent's error."""
    return abs(value or 0.0) if task == "regression" else 1.0


def seconds(call: Callable[[], object]) -> float:
    """Of one call, the best of some: what else this machine does can only add."""
    best, end = math.inf, time.perf_counter() + ENOUGH
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            break
    return best


def rounded(value: float) -> float:
    """Three digits: as much as a measured time or size is good for."""
    return float(f"{value:.3g}")


def interval(found: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a measured value; None where it could not be measured."""
    low, high = found["interval"]
    return None if low is None or high is None else (low, high)


def compared(name: str, difference: Mapping[str, Any], limit: float, rows: int, *, evidence: str, **more: Any) -> Check:
    """A measured difference against its lower limit; one that is no number says so."""
    if difference["value"] is None:
        evidence = f"not measured, for the metric is not a number: {evidence}"
    return not_below(name, difference["value"], interval(difference), limit, rows, evidence=evidence, **more)


def expect(name: object, known: Collection[str], told: str) -> None:
    """Raises: ProjectError that names the nearest known one if a parameter names something else."""
    if name not in known:
        raise ProjectError(f"params.yaml: {told}", nearest(str(name), known))


def vetoes(limits: Mapping[str, Any], name: str, known: Collection[str], section: str = "gate") -> set[str]:
    """The kinds of checks that a parameter lets veto. Raises: ProjectError for an unknown one."""
    for kind in limits[name]:
        expect(kind, known, f"{section}.{name} names {kind!r}.")
    return {*limits[name]}
