"""How long a call takes, on a machine that does other things too."""

import math
import time
from collections.abc import Callable

# The time of a call is known well enough after so many calls, so many seconds of CPU time, or so
# many seconds: whichever comes first.
CALLS = 50
ENOUGH = 0.05
PATIENCE = 1.0


def seconds(call: Callable[[], object]) -> float:
    """The seconds that a call takes: the shortest of several.

    What else this machine does can only make a call longer. While the machine is busy little CPU
    time is used, so more calls are made.
    """
    best = math.inf
    first_start = time.perf_counter()
    first_used = time.process_time()
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        best = min(best, end - start)
        if time.process_time() - first_used > ENOUGH or end - first_start > PATIENCE:
            break
    return best


def rounded(value: float) -> float:
    """Three significant digits: more would mean nothing for a measured time or size."""
    return float(f"{value:.3g}")
