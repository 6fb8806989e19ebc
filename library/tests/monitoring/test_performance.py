"""Quality, once outcomes are known; until then an estimate that never fails."""

import numpy as np
import pytest

from mlgates.monitoring.performance import estimate
from mlgates.verdict import Verdict
from worlds import World, failed


def test_quality_is_judged_as_soon_as_outcomes_are_known(world: World) -> None:
    rows, outcome = world.resample(0), world.contract.outcome.name
    logged, known = world.served(rows), world.known(rows)
    silent = world.watched(logged.tail(100))
    assert not silent["monitor.performance"].required
    assert silent["monitor.labels"].verdict is Verdict.INCONCLUSIVE
    few = world.watched(logged.tail(100), known)
    assert few["monitor.performance"].verdict is Verdict.INCONCLUSIVE
    assert few["monitor.labels"].value == 1.0
    values = known[outcome].sample(frac=1, random_state=0).to_numpy()
    shuffled = known.assign(**{outcome: values}).sample(frac=1, random_state=1)
    assert "monitor.performance" in failed(world.watched(logged, shuffled))


@pytest.mark.parametrize(
    ("measured", "expected"), [({"roc_auc": 0.85}, "ok"), ({"roc_auc": 0.9}, "inconclusive")]
)
def test_what_the_scores_promise_is_compared_with_what_the_gate_measured(
    world: World, measured: dict[str, float], expected: str
) -> None:
    check = estimate(np.linspace(0, 1, 1_000), measured, world.limits)
    assert check.value == pytest.approx(5 / 6, abs=1e-3)
    assert check.verdict == expected
    assert not check.required


def test_without_a_measurement_of_the_gate_nothing_is_promised(world: World) -> None:
    check = estimate(np.linspace(0, 1, 1_000), {}, world.limits)
    assert check.verdict is Verdict.INCONCLUSIVE
