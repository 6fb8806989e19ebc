"""What the measuring stages and the gate share: which metric decides, what margins count in, where reports lie."""

import math
import time
from collections.abc import Callable
from pathlib import Path

MAIN = {"binary": "average_precision", "multiclass": "macro_roc_auc", "regression": "mean_absolute_error"}
FEATURES, AGE, TUNING = Path("reports/features"), Path("reports/age.json"), Path("reports/tuning.json")
CALLS, ENOUGH, PATIENCE = 50, 0.05, 1.0  # calls, CPU seconds and seconds after which a time is known well enough


def unit(task: str, value: float | None) -> float:
    """What margins count in: an error has the outcome's unit, so they are shares of `value`, the opponent's error."""
    return abs(value or 0.0) if task == "regression" else 1.0


def seconds(call: Callable[[], object]) -> float:
    """Of one call, the best of some: what else this machine does can only add; if it is busy, more calls are needed."""
    best, begun, used = math.inf, time.perf_counter(), time.process_time()
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if time.process_time() - used > ENOUGH or now - begun > PATIENCE:
            break
    return best


def rounded(value: float) -> float:
    """Three digits: as much as a measured time or size is good for."""
    return float(f"{value:.3g}")
