"""What else a candidate must be, and how old a champion may get."""

from typing import Any

import pytest
from measurements import judged, parts

from mlgates import ProjectError
from mlgates.gate import behavior_rules
from mlgates.settings import GateSettings


def behaved(**changed: Any) -> Any:
    """The checks on a candidate's behaviour, each exactly at its limit, but for what is changed."""
    within = {"value": -0.03, "interval": [-0.05, -0.02]}
    cost = {"milliseconds_1": 1.0, "milliseconds_100": 2.0, "megabytes": 3.0, "memory": 4.0}
    found = {
        "rows": 1000, "unit": 1.0, "excess": within, "calibration_error": {"candidate": within}, "cost": cost,
        "changes": {name: {"difference": within, "decisions": 0.1} for name in ("noise", "weather")},
        "changed_decisions": {"share": 0.2, "slices": []},
    }  # fmt: skip
    limits = {
        "behavior_min_rows": 1000, "max_calibration_error": 0.05, "max_noise_loss": 0.05, "max_lookup_loss": 0.05,
        "max_noise_decisions": 0.1, "max_changed_decisions": 0.2, "max_latency_ms": 1.0, "max_batch_latency_ms": 2.0,
        "max_model_size_mb": 3.0, "max_memory_mb": 4.0, "behavior_blocking": [],
    }  # fmt: skip
    for name, value in changed.items():
        (found if name in found else limits)[name] = value
    curve = {"repeatable": 0.0, "rows": 1000}
    checks = behavior_rules.judge({"behavior": found}, curve, GateSettings(**limits))
    return {check.name: str(check.verdict) for check in checks}


@pytest.mark.parametrize(
    ("limit", "less", "name"),
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
def test_each_limit_of_behaviour_is_that_of_one_check(limit: str, less: float, name: str) -> None:
    healthy, tight = behaved(), behaved(**{limit: less})
    assert set(healthy.values()) == {"ok"}
    assert {check for check, verdict in tight.items() if verdict == "fail"} == {name}


def test_behaviour_on_few_rows_tells_nothing_but_the_cost() -> None:
    told = behaved(rows=999, behavior_min_rows=1000)
    known = {
        "gate.repeatable",
        "gate.latency.1",
        "gate.latency.100",
        "gate.model_size",
        "gate.memory",
    }
    assert {name for name, verdict in told.items() if verdict == "ok"} == known
    with pytest.raises(ProjectError, match="Did you mean 'changed_decisions'"):
        judged(parts(1, 0.0), behavior_blocking=["changed_decisons"])


@pytest.mark.parametrize(
    ("ends", "oldest"),
    [([None, -0.06], 2), ([-0.06, -0.06], 1), ([-0.04, -0.04], 3), ([-0.04, None], 3)],
)
def test_a_champion_may_get_as_old_as_no_loss_is_sure(
    ends: list[float | None], oldest: int
) -> None:
    ages = [(1, 0.0), *zip((2, 3), ends, strict=True)]
    entries = [
        {"age": age, "difference": {"value": -0.1, "interval": [None, high]}} for age, high in ages
    ]
    found = behavior_rules.oldest({"ages": entries, "unit": 1.0, "otherwise": 9}, 0.05)
    assert found[0] == oldest
    assert behavior_rules.oldest({"ages": [], "unit": 1.0, "otherwise": 9}, 0.05)[0] == 9


CURVE = {"unit": 1.0, "otherwise": 7, "rows": 1000, "repeatable": None}


@pytest.mark.parametrize(
    ("highs", "expected"),
    [
        ([], 7),  # no time, no curve: the rule
        ([(1, 0.0)], 1),
        ([(1, 0.0), (2, 0.01), (3, -0.04)], 3),  # no loss shown: the longest age measured
        ([(1, 0.0), (2, -0.04), (3, -0.06), (4, 0.0)], 2),
        ([(1, 0.0), (2, -0.06), (3, 0.0)], 1),
        ([(1, 0.0), (4, -0.01), (6, -0.2)], 4),
        ([(1, 0.0), (2, None), (3, -0.2)], 2),
    ],
)
def test_the_greatest_age_follows_from_the_curve(highs: list[Any], expected: int) -> None:
    ages = [
        {"age": age, "difference": {"value": -0.1, "interval": [-0.3, high]}} for age, high in highs
    ]
    periods, told = behavior_rules.oldest(CURVE | {"ages": ages}, 0.05)
    shown = any(high is not None and high < -0.05 for _, high in highs)
    assert periods == expected and ("loses" in told) == shown
