"""What else a candidate must be, and how old a champion may get."""

from typing import Any

import pytest
from measurements import judged, parts

from mlgates import ProjectError
from mlgates.gate import behavior_rules


def behaved(**changed: Any) -> Any:
    """The checks on a candidate's behaviour, each exactly at its limit, but for what is changed."""
    within = {"value": -0.03, "interval": [-0.05, 0.0]}
    cost = {"milliseconds_1": 1.0, "milliseconds_100": 2.0, "megabytes": 3.0, "memory": 4.0}
    found = {
        "rows": 1000, "unit": 1.0, "excess": within, "calibration": {"candidate": within}, "cost": cost,
        "changes": {name: {"difference": within, "decisions": 0.1} for name in ("noise", "weather")},
        "churn": {"share": 0.2, "slices": []},
    }  # fmt: skip
    limits = {
        "conduct_min_rows": 1000, "max_calibration_error": 0.05, "max_noise_loss": 0.05, "max_lookup_loss": 0.05,
        "max_noise_decisions": 0.1, "max_churn": 0.2, "max_milliseconds": 1.0, "max_batch_milliseconds": 2.0,
        "max_megabytes": 3.0, "max_memory_megabytes": 4.0, "conduct_vetoes": [],
    }  # fmt: skip
    curve = {"repeatable": 0.0, "rows": 1000}
    return {check.name: str(check.verdict) for check in behavior_rules.judge(
        {"conduct": found | {k: v for k, v in changed.items() if k in found}}, curve, limits | changed
    )}  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "less", "name"),
    [
        ("max_calibration_error", -0.01, "gate.calibration"), ("max_noise_loss", -0.01, "gate.noise.loss"),
        ("max_lookup_loss", -0.01, "gate.lookup.weather"), ("max_noise_decisions", 0.09, "gate.noise.decisions"),
        ("max_churn", 0.19, "gate.churn"), ("max_milliseconds", 0.9, "gate.milliseconds.1"),
        ("max_batch_milliseconds", 1.9, "gate.milliseconds.100"), ("max_megabytes", 2.9, "gate.megabytes"),
        ("max_memory_megabytes", 3.9, "gate.memory"),
    ],
)  # fmt: skip
def test_each_limit_of_behaviour_is_that_of_one_check(limit: str, less: float, name: str) -> None:
    healthy, tight = behaved(), behaved(**{limit: less})
    assert set(healthy.values()) == {"ok"}
    assert {check for check, verdict in tight.items() if verdict == "fail"} == {name}


def test_behaviour_on_few_rows_tells_nothing_but_the_cost() -> None:
    told = behaved(rows=999, conduct_min_rows=1000)
    known = {"gate.repeatable", "gate.milliseconds.1", "gate.milliseconds.100", "gate.megabytes", "gate.memory"}
    assert {name for name, verdict in told.items() if verdict == "ok"} == known
    with pytest.raises(ProjectError, match="Did you mean 'churn'"):
        judged(parts(1, 0.0), conduct_vetoes=["churm"])


@pytest.mark.parametrize(
    ("ends", "oldest"), [([None, -0.06], 2), ([-0.06, -0.06], 1), ([-0.04, -0.04], 3), ([-0.04, None], 3)]
)
def test_a_champion_may_get_as_old_as_no_loss_is_sure(ends: list[float | None], oldest: int) -> None:
    ages = [(1, 0.0), *zip((2, 3), ends, strict=True)]
    entries = [{"age": age, "difference": {"value": -0.1, "interval": [None, high]}} for age, high in ages]
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
    ages = [{"age": age, "difference": {"value": -0.1, "interval": [-0.3, high]}} for age, high in highs]
    periods, told = behavior_rules.oldest(CURVE | {"ages": ages}, 0.05)
    shown = any(high is not None and high < -0.05 for _, high in highs)
    assert periods == expected and ("loses" in told) == shown
