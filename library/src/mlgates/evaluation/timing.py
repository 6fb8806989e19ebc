"""How long a call takes, on a machine that does other things too."""

import math
import time
from collections.abc import Callable

CALLS, ENOUGH, PATIENCE = (
    50,
    0.05,
    1.0,
)  # calls, CPU seconds and seconds after which a time is known well enough


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
