"""Features earn their place: what is measured is repeatable, and what counts as useless or too expensive is exact."""

import json
import time
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

MARGIN = 0.002
LIMITS = {
    "margin": MARGIN, "feature_margin": MARGIN, "group_vetoes": [], "conduct_vetoes": [],
    "metric": "auto", "slice_margin": 1, "slice_min_rows": 1,
    "feature_min_rows": 1000, "feature_periods": 3, "feature_microseconds": 100, "microseconds_per_point": 50,
    "feature_vetoes": ["cost"], "waive": [],
}  # fmt: skip
USELESS, USEFUL = (-0.01, 0.01), (0.02, 0.04)


def period(interval: tuple[float | None, float | None], rows: int = 5000, made: str = "a", us: float = 5.0) -> Any:
    """A report of one feature, `x`."""
    value = None if None in interval else sum(interval) / 2  # type: ignore[arg-type]
    cost = {"microseconds": us, "batch_microseconds": 0.1, "lookup_microseconds": 0.0, "bytes": 8}
    told = {"gain": {"value": value, "interval": list(interval)}, "reads": ["y"], "lookups": [], "definition": made}
    return {"rows": rows, "unit": 1.0, "measured": "2026-05-05", "features": {"x": told | cost}}


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([period(USEFUL)], "ok"),
        ([period(USELESS)], "insufficient"),
        ([period(USELESS)] * 2, "insufficient"),
        ([period(USELESS)] * 3, "fail"),
        ([period(USELESS), period(USEFUL), period(USELESS)], "insufficient"),
        ([period((1e-5, 2e-4))] * 3, "fail"),  # above zero, by less than the margin
        ([period(USELESS, made="b"), *[period(USELESS)] * 2], "insufficient"),  # another definition has no history
        ([period(USELESS), period(USELESS, rows=999), period(USELESS)], "insufficient"),
        ([*[period(USELESS)] * 3, period(USEFUL, rows=999)], "insufficient"),
        ([period((None, None))] * 3, "insufficient"),
        ([{"rows": 5000, "features": {}}, *[period(USELESS)] * 2], "insufficient"),  # it is new
    ],
)
def test_useless_is_no_gain_in_three_periods_running(ops: Any, history: list[Any], expected: str) -> None:
    checks = {check.name: check for check in ops("pipeline.worth").judge(history, LIMITS)}
    assert checks["gate.gain.x"].verdict == expected and checks["gate.cost.x"].verdict == "ok"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (period(USELESS, us=100), "ok"),
        (period(USELESS, us=140), "ok"),  # it may gain a point, and has the benefit of the doubt
        (period(USELESS, us=160), "fail"),
        (period(USEFUL, us=290), "ok"),
        (period(USEFUL, us=310), "fail"),
        (period(USEFUL, us=310, rows=10), "insufficient"),
        (period((None, None), us=101), "insufficient"),
    ],
)
def test_a_feature_may_cost_what_it_gains(ops: Any, last: Any, expected: str) -> None:
    assert {check.name: check.verdict for check in ops("pipeline.worth").judge([last], LIMITS)}[
        "gate.cost.x"
    ] == expected


@pytest.mark.parametrize(("day", "expected"), [("2026-05-05", "insufficient"), ("2026-05-04", "fail")])
def test_a_waiver_holds_until_its_day(ops: Any, day: str, expected: str) -> None:
    history = [period(USELESS, us=5000)] * 3
    checks = ops("pipeline.worth").judge(history, LIMITS | {"waive": [f"x until {day}"]})
    assert {check.verdict for check in checks} == {expected}
    assert all(("waived" in check.evidence) == (expected != "fail") for check in checks)


@pytest.mark.parametrize(
    ("waiver", "sentence"),
    [("xx until 2027-01-31", "Did you mean 'x'"), ("x", "x until 2027"), ("x until soon", "x until 2027")],
)
def test_a_wrong_waiver_is_one_sentence(ops: Any, waiver: str, sentence: str) -> None:
    with pytest.raises(ops("project").ProjectError, match=sentence):
        ops("pipeline.worth").judge([period(USEFUL)], LIMITS | {"waive": [waiver]})


def judged(ops: Any, vetoes: list[str], us: float) -> Any:
    """The gate on a sound candidate with a feature that is useless and takes `us` microseconds."""
    verdict, gate = ops("verdict"), ops("pipeline.gate")
    values = {"average_precision": {"value": 0.5, "interval": [0.4, 0.6]}}
    measured = {
        "rows": 5000, "finite": True, "task": "binary", "model": "m" * 8, "opponent": None, "slices": [],
        "periods": {"train": ["1"], "evaluation": ["2"]},
        "values": {"candidate": values}, "differences": {"baseline.trivial": values},
    }  # fmt: skip
    data = verdict.Report("data", [verdict.Check("x", verdict.Verdict.OK)])
    history = [period(USELESS, us=us)] * 3
    return gate.gate(measured, data, LIMITS | {"feature_vetoes": vetoes}, ablations=history)


def test_a_useless_feature_is_advice_and_vetoes_where_the_team_wants_it(ops: Any) -> None:
    report = judged(ops, ["cost"], us=5)
    assert report.verdict == "ok" and [check.name for check in report.advice] == ["gate.gain.x"]
    assert report["gate.gain.x"].verdict == "fail"
    assert "advice (asks a person, stops nothing): gate.gain.x" in ops("report").terminal(report)
    assert "gate.gain.x" in ops("report").page(report)
    assert ops("verdict").Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert judged(ops, ["gain"], us=5).verdict == "fail"


def test_an_expensive_feature_vetoes_unless_the_team_lets_it(ops: Any) -> None:
    assert judged(ops, ["cost"], us=5000).verdict == "fail"
    assert judged(ops, [], us=5000).verdict == "ok"
    with pytest.raises(ops("project").ProjectError, match="Did you mean 'cost'"):
        judged(ops, ["costs"], us=5)


def test_gains_are_the_same_every_time_and_the_only_feature_can_be_left_out(
    ops: Any, contract: Any, sample: Any
) -> None:
    team, params = ops("project").yours(), ops("project").params(Path.cwd())
    plan = ops("features").plan(team.features, contract)
    number = next(name for name in plan.names if name not in plan.categorical)
    plan = replace(plan, names=(number,), categorical=())
    halves = sample.rows.iloc[::2].reset_index(drop=True), sample.rows.iloc[1::2].reset_index(drop=True)
    found = [ops("pipeline.ablate").ablate(team, plan, *halves, params) for _ in range(2)]
    gains = [one["features"][number]["gain"] for one in found]
    assert gains[0] == gains[1] and gains[0]["interval"][1] > gains[0]["interval"][0]
    assert found[0]["features"][number]["reads"] == sorted(plan.ancestors(number))
    without = params | {"evaluate": params["evaluate"] | {"ablation_rows": 0}}
    found = ops("pipeline.ablate").ablate(team, plan, *halves, without)
    assert found["features"][number]["gain"]["value"] is None and found["features"][number]["microseconds"] > 0


def test_reports_of_earlier_periods_stay_and_those_beyond_the_cycle_go(ops: Any, tmp_path: Path) -> None:
    keep = ops("pipeline.ablate").keep
    keep(tmp_path, ["1", "2"], {})
    keep(tmp_path, ["1", "2", "10"], {})
    keep(tmp_path, ["1", "2", "10"], {})
    assert json.loads((tmp_path / "10.json").read_text())["before"] == ["2"]
    keep(tmp_path, ["1", "2"], {})
    assert [path.name for path in tmp_path.iterdir()] == ["2.json"]


def test_a_feature_is_another_one_when_what_it_is_computed_from_changes(ops: Any) -> None:
    ablate, team = ops("pipeline.ablate"), ops("project").yours()
    known, name = ops("features").plan(team.features, team.contract), "made"  # a drafted team has no function
    plan = replace(known, functions={name: judged}, arguments={name: (known.columns[0],)})
    other = replace(plan, functions={name: period})
    user = replace(plan, arguments={**plan.arguments, "user": (name,)}, functions={**plan.functions, "user": judged})
    changed = replace(user, functions=user.functions | {name: period})
    assert ablate.definition(plan, name) != ablate.definition(other, name)
    assert ablate.definition(user, "user") != ablate.definition(changed, "user")


@pytest.mark.parametrize(("waits", "shortest"), [([0.06] * 8 + [0.0], 0.0), ([0.06], 0.06)])
def test_a_busy_machine_is_not_taken_for_a_slow_model(ops: Any, waits: list[float], shortest: float) -> None:
    waiting = cycle(waits)
    assert shortest <= ops("pipeline.measured").seconds(lambda: time.sleep(next(waiting))) < shortest + 0.05
