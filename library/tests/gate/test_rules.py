"""The gate lets a candidate pass that is better with 95 % confidence, on data that are sound."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measurements import judged, parts

from mlgates import Project, ProjectError
from mlgates.evaluation.measure import champion, not_comparable
from mlgates.files import write_json
from mlgates.gate.rules import Context, gate, sentence
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Report, Verdict

LIMITS = GateSettings(slice_min_rows=1, margin=0.002)
SOUND_DATA = Report("data", [Check("x", Verdict.OK)])


def _measured(interval: tuple[float, float], value: float) -> dict[str, Any]:
    """Measurements of a candidate that is better than the champion by a value."""
    entry = {"average_precision": {"value": value, "interval": list(interval)}}
    return {
        "rows": 1000,
        "finite": True,
        "task": "binary",
        "model": "m" * 8,
        "champion": "o" * 8,
        "periods": {"train": ["1"], "evaluation": ["2"]},
        "slices": [],
        "holdout": {"rows": 0},
        "values": {"candidate": entry, "champion": entry},
        "differences": {"champion": entry},
    }


@pytest.mark.parametrize(
    ("interval", "value", "age", "expected"),
    [
        ((0.003, 0.02), 0.01, 0, Verdict.OK),
        ((0.0001, 0.0011), 0.0006, 0, Verdict.FAIL),  # better, but by less than half of the margin
        ((-0.01, 0.02), 0.005, 0, Verdict.INCONCLUSIVE),
        ((-0.001, 0.001), 0.0, 0, Verdict.FAIL),
        ((-0.001, 0.001), 0.0, 3, Verdict.OK),  # an old champion need not lose
        ((-0.01, 0.001), 0.0, 3, Verdict.INCONCLUSIVE),
    ],
)
def test_only_a_better_candidate_or_an_equal_one_to_an_old_champion_passes(
    interval: tuple[float, float], value: float, age: int, expected: Verdict
) -> None:
    context = Context(age=age, curve={"ages": [], "otherwise": 3})
    report = gate(_measured(interval, value), SOUND_DATA, LIMITS, context)
    assert report["gate.improvement"].verdict is expected


def test_a_champion_that_could_not_be_measured_is_reported_and_stops_nothing() -> None:
    measured = _measured((0.1, 0.2), 0.15) | {"differences": {}}
    report = gate(measured, SOUND_DATA, LIMITS)
    check = report["gate.champion"]
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "it was not measured" in check.evidence
    assert report.verdict is Verdict.OK


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
def test_a_candidate_on_bad_or_too_little_data_does_not_pass(verdict: Verdict) -> None:
    data = Report("data", [Check("x", verdict)])
    report = gate(_measured((0.1, 0.2), 0.15), data, LIMITS)
    assert report.verdict is verdict


def test_a_score_that_is_no_number_fails() -> None:
    measured = _measured((0.1, 0.2), 0.15) | {"finite": False}
    report = gate(measured, SOUND_DATA, LIMITS)
    assert report.stops == ["gate.finite"]


@pytest.mark.parametrize(
    ("baseline", "value", "expected"),
    [
        ("trivial", 0.1, Verdict.OK),
        ("trivial", 0.0, Verdict.INCONCLUSIVE),  # it must be better than a constant
        ("trivial", -0.1, Verdict.FAIL),
        ("simple", 0.1, Verdict.OK),
        ("simple", 0.0, Verdict.OK),  # a linear model may really be as good
        ("simple", -0.1, Verdict.FAIL),
    ],
)
def test_a_candidate_is_compared_with_the_baselines(
    baseline: str, value: float, expected: Verdict
) -> None:
    measured = _measured((0.1, 0.2), 0.15)
    difference = {"value": value, "interval": [value - 0.05, value + 0.05]}
    measured["differences"][f"baseline.{baseline}"] = {"average_precision": difference}
    report = gate(measured, SOUND_DATA, LIMITS)
    assert report.verdict is expected


def test_a_metric_that_was_not_measured_is_named() -> None:
    limits = replace(LIMITS, metric="average_precison")
    with pytest.raises(ProjectError, match="Did you mean 'average_precision'"):
        gate(_measured((0.1, 0.2), 0.15), SOUND_DATA, limits)


def stored_champion(project: Project, **changes: Any) -> None:
    """Write what a model folder says about a model of the project's contract."""
    contract = project.contract
    described = {
        "outcome": contract.outcome.name,
        "task": contract.task,
        "classes": contract.classes,
        "columns": {},
    }
    (project.root / "var/models/f/code").mkdir(parents=True, exist_ok=True)
    write_json(project.root / "var/models/f/features.json", {**described, **changes})


def loaded(folder: Path) -> int:
    """Stands for the scorer that loading a folder gives."""
    return 1


def test_a_champion_that_predicts_something_else_is_not_compared(empty: Project) -> None:
    stored_champion(empty)
    assert champion(empty, "f", loaded) == {"champion": 1}

    stored_champion(empty, outcome="liked")
    assert champion(empty, "f", loaded) == {}
    reason = not_comparable(empty, "f")
    outcome = empty.contract.outcome.name
    assert reason == f"it predicts something else (outcome: liked, not {outcome})"

    measured = _measured((0.1, 0.2), 0.15) | {"not_compared": reason}
    measured["differences"] = {"baseline.trivial": measured["values"]["candidate"]}
    report = gate(measured, SOUND_DATA, LIMITS)
    assert report.verdict is Verdict.OK
    assert report["gate.champion"].verdict is Verdict.INCONCLUSIVE
    assert reason in report["gate.champion"].evidence


def test_a_champion_whose_columns_are_gone_is_not_compared(empty: Project) -> None:
    stored_champion(empty, columns={"no_such_column": "float"})
    reason = "it reads columns that are no longer delivered: 'no_such_column' is not in the"
    assert not_comparable(empty, "f").startswith(reason)
    assert champion(empty, "f", loaded) == {}


def test_a_champion_whose_columns_are_there_is_compared(empty: Project) -> None:
    stored_champion(empty, columns={})
    assert not_comparable(empty, "f") == ""
    assert champion(empty, "f", loaded) == {"champion": 1}


def test_a_column_of_another_type_is_gone_too(empty: Project) -> None:
    contract = empty.contract
    name = next(name for name in contract.feature_columns if not contract.why_forbidden(name))
    stored_champion(empty, columns={name: "another kind"})
    expected = f"{name!r} was another kind and is {contract.columns[name].kind}"
    assert expected in not_comparable(empty, "f")


@pytest.mark.parametrize("is_blocking", [True, False])
def test_values_that_lose_to_the_best_tried_block_unless_the_team_lets_them(
    is_blocking: bool,
) -> None:
    tuning = {
        "trials": [{"values": {"depth": 1}}, {"values": {"depth": 2}}],
        "best": 1,
        "difference": {"value": -0.1, "interval": [-0.2, -0.05]},
        "rows": 1000,
        "unit": 1.0,
    }
    report = judged(parts(1, 0.0), tuning=tuning, tune_tolerance=0.02, tune_blocking=is_blocking)
    check = report["gate.tuning"]
    assert check.verdict == "fail"
    assert check.evidence == "best of 2: depth=2, not 1"
    assert (check in report.warnings) != is_blocking
    assert (report.verdict == "fail") == is_blocking


def test_a_champion_of_an_older_library_is_no_deadlock(empty: Project) -> None:
    write_json(empty.root / "var/models/f/features.json", {})
    reason = "it carries no feature code, because an older mlgates made it"
    assert not_comparable(empty, "f") == reason
    assert champion(empty, "f", loaded) == {}


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_ok_invites_to_promote(verdict: Verdict) -> None:
    text = sentence(Report("gate", [Check("x", verdict)]))
    assert ("mlops promote" in text) == (verdict is Verdict.OK)
    assert ("Nothing is promoted." in text) == (verdict is not Verdict.OK)
