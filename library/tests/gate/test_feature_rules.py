"""What counts as a useless feature, and what as one that is too expensive, is exact."""

import json
from dataclasses import replace
from typing import Any

import pytest

from mlgates import ProjectError, reports
from mlgates.gate import feature_rules
from mlgates.gate.rules import Context, gate
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Report, Verdict

MARGIN = 0.002
LIMITS = GateSettings(
    margin=MARGIN,
    slice_margin=1,
    slice_min_rows=1,
    feature_margin=MARGIN,
    feature_min_rows=1000,
    feature_periods=3,
    feature_microseconds=100,
    microseconds_per_point=50,
    feature_blocking=["cost"],
    fairness_blocking=[],
    behavior_blocking=[],
)
USELESS, USEFUL = (-0.01, 0.01), (0.02, 0.04)


def period(
    interval: tuple[float | None, float | None],
    rows: int = 5000,
    definition: str = "a",
    us: float = 5.0,
) -> Any:
    """A report of one feature, `x`: the interval of its gain, and its cost in microseconds."""
    low, high = interval
    value = None if low is None or high is None else (low + high) / 2
    feature = {
        "gain": {"value": value, "interval": list(interval)},
        "reads": ["y"],
        "lookups": [],
        "definition": definition,
        "microseconds": us,
        "batch_microseconds": 0.1,
        "lookup_microseconds": 0.0,
        "bytes": 8,
    }
    return {"rows": rows, "unit": 1.0, "measured": "2026-05-05", "features": {"x": feature}}


def verdicts(history: list[Any]) -> dict[str, Verdict]:
    """The verdict of each check on these reports, oldest first."""
    return {check.name: check.verdict for check in feature_rules.feature_checks(history, LIMITS)}


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([period(USEFUL)], "ok"),
        ([period(USELESS)], "inconclusive"),
        ([period(USELESS)] * 2, "inconclusive"),
        ([period(USELESS)] * 3, "fail"),
        ([period(USELESS), period(USEFUL), period(USELESS)], "inconclusive"),
        ([period((1e-5, 2e-4))] * 3, "fail"),  # above zero, by less than the margin
        # another definition has no history
        ([period(USELESS, definition="b"), *[period(USELESS)] * 2], "inconclusive"),
        ([period(USELESS), period(USELESS, rows=999), period(USELESS)], "inconclusive"),
        ([*[period(USELESS)] * 3, period(USEFUL, rows=999)], "inconclusive"),
        ([period((None, None))] * 3, "inconclusive"),
        ([{"rows": 5000, "features": {}}, *[period(USELESS)] * 2], "inconclusive"),  # it is new
    ],
)
def test_useless_is_no_gain_in_three_periods_in_a_row(history: list[Any], expected: str) -> None:
    assert verdicts(history) == {"gate.feature_gain.x": expected, "gate.feature_cost.x": "ok"}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (period(USELESS, us=100), "ok"),
        (period(USELESS, us=140), "ok"),  # it may gain a point, and has the benefit of the doubt
        (period(USELESS, us=160), "fail"),
        (period(USEFUL, us=290), "ok"),
        (period(USEFUL, us=310), "fail"),
        (period(USEFUL, us=310, rows=10), "inconclusive"),
        (period((None, None), us=101), "inconclusive"),
    ],
)
def test_a_feature_may_cost_what_it_gains(last: Any, expected: str) -> None:
    assert verdicts([last])["gate.feature_cost.x"] == expected


@pytest.mark.parametrize(
    ("day", "expected"), [("2026-05-05", "inconclusive"), ("2026-05-04", "fail")]
)
def test_a_waiver_holds_until_its_day(day: str, expected: str) -> None:
    history = [period(USELESS, us=5000)] * 3
    checks = feature_rules.feature_checks(history, replace(LIMITS, waive=[f"x until {day}"]))
    assert {check.verdict for check in checks} == {expected}
    for check in checks:
        assert ("waived" in check.evidence) == (expected != "fail")


@pytest.mark.parametrize(
    ("waiver", "sentence"),
    [
        ("xx until 2027-01-31", "Did you mean 'x'"),
        ("x", "x until 2027"),
        ("x until soon", "x until 2027"),
    ],
)
def test_a_wrong_waiver_is_one_sentence(waiver: str, sentence: str) -> None:
    with pytest.raises(ProjectError, match=sentence):
        feature_rules.feature_checks([period(USEFUL)], replace(LIMITS, waive=[waiver]))


def judged(blocking: list[str], us: float) -> Any:
    """The gate on a sound candidate with a feature that is useless and takes `us` microseconds."""
    values = {"average_precision": {"value": 0.5, "interval": [0.4, 0.6]}}
    measured = {
        "rows": 5000, "finite": True, "task": "binary", "model": "m" * 8, "champion": None,
        "slices": [], "periods": {"train": ["1"], "evaluation": ["2"]},
        "values": {"candidate": values}, "differences": {"baseline.trivial": values},
    }  # fmt: skip
    data = Report("data", [Check("x", Verdict.OK)])
    history = [period(USELESS, us=us)] * 3
    limits = replace(LIMITS, feature_blocking=blocking)
    return gate(measured, data, limits, Context(ablations=history))


def test_a_useless_feature_warns_and_blocks_where_the_team_wants_it() -> None:
    report = judged(["cost"], us=5)
    assert report.verdict == "ok"
    assert [check.name for check in report.warnings] == ["gate.feature_gain.x"]
    assert report["gate.feature_gain.x"].verdict == "fail"
    line = "they block nothing):\n  gate.feature_gain.x: periods in a row without a gain: 3"
    assert line in reports.terminal(report)
    assert "gate.feature_gain.x" in reports.page(report)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert judged(["gain"], us=5).verdict == "fail"


def test_an_expensive_feature_blocks_unless_the_team_lets_it() -> None:
    assert judged(["cost"], us=5000).verdict == "fail"
    assert judged([], us=5000).verdict == "ok"
    with pytest.raises(ProjectError, match="Did you mean 'cost'"):
        judged(["costs"], us=5)
