"""The time of a call is the shortest of several measurements."""

from itertools import cycle
from types import SimpleNamespace

import pytest

from mlgates.evaluation import timing


class Clock:
    """A clock that goes on only during `sleep`, which takes no CPU time."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("waits", "shortest"), [([0.06] * 8 + [0.0], 0.0), ([0.06], 0.06)])
def test_a_busy_machine_is_not_taken_for_a_slow_model(
    monkeypatch: pytest.MonkeyPatch, waits: list[float], shortest: float
) -> None:
    clock, waiting = Clock(), cycle(waits)
    fake = SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: 0.0)
    monkeypatch.setattr(timing, "time", fake)
    assert timing.seconds(lambda: clock.sleep(next(waiting))) == pytest.approx(shortest)
    assert clock.now < timing.PATIENCE + 0.1, "a slow call is not repeated for long"
