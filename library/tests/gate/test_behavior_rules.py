"""What a candidate must be beyond its metrics, and how old a champion may get."""

from typing import Any

import pytest
from measurements import judged, parts

from mlgates import ProjectError
from mlgates.gate import behavior_rules
from mlgates.settings import GateSettings

WITHIN = {"value": -0.03, "interval": [-0.05, -0.02]}  # a loss of at most 0.05
CHANGE = {"difference": WITHIN, "decisions": 0.1}
BEHAVIOR = {  # each value exactly at its limit below
    "rows": 1000,
    "unit": 1.0,
    "excess": WITHIN,
    "calibration_error": {"candidate": WITHIN},
    "cost": {"milliseconds_1": 1.0, "milliseconds_100": 2.0, "megabytes": 3.0, "memory": 4.0},
    "changes": {"noise": CHANGE, "weather": CHANGE},
    "changed_decisions": {"share": 0.2, "slices": []},
}
LIMITS: dict[str, Any] = {
    "behavior_min_rows": 1000,
    "max_calibration_error": 0.05,
    "max_noise_loss": 0.05,
    "max_lookup_loss": 0.05,
    "max_noise_decisions": 0.1,
    "max_changed_decisions": 0.2,
    "max_latency_ms": 1.0,
    "max_batch_latency_ms": 2.0,
    "max_model_size_mb": 3.0,
    "max_memory_mb": 4.0,
    "behavior_blocking": [],
}


def verdicts(rows: int = 1000, **limits: float) -> dict[str, str]:
    """The verdicts on a candidate's behavior, each exactly at its limit but for what is changed."""
    behavior = BEHAVIOR | {"rows": rows}
    curve = {"repeatable": 0.0, "rows": 1000}
    settings = GateSettings(**(LIMITS | limits))
    checks = behavior_rules.judge({"behavior": behavior}, curve, settings)
    return {check.name: str(check.verdict) for check in checks}


@pytest.mark.parametrize(
    ("limit", "value", "name"),
    [
        ("max_calibration_error", 0.01, "gate.calibration_error"),
        ("max_noise_loss", 0.01, "gate.robustness.loss"),
        ("max_lookup_loss", 0.01, "gate.missing_lookup.weather"),
        ("max_noise_decisions", 0.09, "gate.robustness.decisions"),
        ("max_changed_decisions", 0.19, "gate.changed_decisions"),
        ("max_latency_ms", 0.9, "gate.latency.1"),
        ("max_batch_latency_ms", 1.9, "gate.latency.100"),
        ("max_model_size_mb", 2.9, "gate.model_size"),
        ("max_memory_mb", 3.9, "gate.memory"),
    ],
)
def test_each_limit_of_behavior_is_that_of_one_check(limit: str, value: float, name: str) -> None:
    assert set(verdicts().values()) == {"ok"}
    tight = verdicts(**{limit: value})
    assert {check for check, verdict in tight.items() if verdict == "fail"} == {name}


def test_behavior_on_few_rows_is_inconclusive_but_for_the_cost() -> None:
    few = verdicts(rows=999)
    costs = {"gate.latency.1", "gate.latency.100", "gate.model_size", "gate.memory"}
    assert {name for name, verdict in few.items() if verdict == "ok"} == {
        "gate.repeatable",
        *costs,
    }


def test_a_kind_of_behavior_that_does_not_exist_is_named() -> None:
    with pytest.raises(ProjectError, match="Did you mean 'changed_decisions'"):
        judged(parts(1, 0.0), behavior_blocking=["changed_decisons"])


def test_the_most_changed_slices_are_named() -> None:
    changed = {"share": 0.2, "slices": [["origin=JFK", 0.5, 40], ["origin=LGA", 0.25, 30]]}
    behavior = BEHAVIOR | {"changed_decisions": changed}
    checks = behavior_rules.judge({"behavior": behavior}, {}, GateSettings(**LIMITS))
    evidence = {check.name: check.evidence for check in checks}["gate.changed_decisions"]
    assert evidence.endswith("most in origin=JFK (50%), origin=LGA (25%)")


def staleness_curve(upper_bounds: list[Any]) -> dict[str, Any]:
    """A curve whose intervals end there, given as pairs of age and upper bound."""
    ages = []
    for age, upper_bound in upper_bounds:
        difference = {"value": -0.1, "interval": [-0.3, upper_bound]}
        ages.append({"age": age, "difference": difference})
    return {"unit": 1.0, "otherwise": 7, "rows": 1000, "repeatable": None, "ages": ages}


@pytest.mark.parametrize(
    ("upper_bounds", "expected"),
    [
        ([], 7),  # no time, no curve: the rule
        ([(1, 0.0)], 1),
        ([(1, 0.0), (2, 0.01), (3, -0.04)], 3),  # no loss shown: the longest age measured
        ([(1, 0.0), (2, -0.04), (3, -0.04)], 3),
        ([(1, 0.0), (2, -0.04), (3, None)], 3),
        ([(1, 0.0), (2, None), (3, -0.06)], 2),
        ([(1, 0.0), (2, -0.06), (3, -0.06)], 1),
        ([(1, 0.0), (2, -0.04), (3, -0.06), (4, 0.0)], 2),
        ([(1, 0.0), (2, -0.06), (3, 0.0)], 1),
        ([(1, 0.0), (4, -0.01), (6, -0.2)], 4),
        ([(1, 0.0), (2, None), (3, -0.2)], 2),
    ],
)
def test_the_greatest_age_follows_from_the_curve(upper_bounds: list[Any], expected: int) -> None:
    max_age, reason = behavior_rules.max_age(staleness_curve(upper_bounds), 0.05)
    loss_is_shown = any(bound is not None and bound < -0.05 for _, bound in upper_bounds)
    assert max_age == expected
    assert ("loses" in reason) == loss_is_shown
