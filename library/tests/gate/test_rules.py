"""The gate is a pure function: a candidate passes that is surely better, on data that are sound."""

from dataclasses import replace

import pytest
from measurements import judged, parts

from mlgates import Project, ProjectError
from mlgates.evaluation.measure import champion, not_comparable
from mlgates.files import write_json
from mlgates.gate.rules import gate
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Report, Verdict

LIMITS = GateSettings(slice_min_rows=1, margin=0.002)


def _measured(interval: tuple[float, float], value: float) -> dict[str, object]:
    entry = {"average_precision": {"value": value, "interval": list(interval)}}
    periods = {"train": ["1"], "evaluation": ["2"]}
    return {
        "rows": 1000, "finite": True, "task": "binary", "model": "m" * 8, "champion": "o" * 8,
        "periods": periods, "slices": [], "holdout": {"rows": 0},
        "values": {"candidate": entry, "champion": entry}, "differences": {"champion": entry},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "value", "age", "expected"),
    [
        ((0.003, 0.02), 0.01, 0, Verdict.OK),
        ((0.0001, 0.0011), 0.0006, 0, Verdict.FAIL),  # surely better, by a hair: no promotion
        ((-0.01, 0.02), 0.005, 0, Verdict.INCONCLUSIVE),
        ((-0.001, 0.001), 0.0, 0, Verdict.FAIL),
        ((-0.001, 0.001), 0.0, 3, Verdict.OK),  # an old champion need not lose
        ((-0.01, 0.001), 0.0, 3, Verdict.INCONCLUSIVE),
    ],
)
def test_only_a_better_candidate_or_an_equal_one_to_an_old_champion_passes(
    interval: tuple[float, float], value: float, age: int, expected: Verdict
) -> None:
    data, curve = Report("data", [Check("x", Verdict.OK)]), {"ages": [], "otherwise": 3}
    report = gate(_measured(interval, value), data, LIMITS, age, curve=curve)
    assert report["gate.improvement"].verdict is expected


def test_a_champion_that_could_not_be_measured_is_said_and_stops_nothing() -> None:
    measured = _measured((0.1, 0.2), 0.15) | {"differences": {}}
    report = gate(measured, Report("data", [Check("x", Verdict.OK)]), LIMITS)
    assert (report["gate.champion"].verdict, report.verdict) == (Verdict.INCONCLUSIVE, Verdict.OK)


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
def test_bad_or_too_little_data_is_no_promotion(verdict: Verdict) -> None:
    report = gate(_measured((0.1, 0.2), 0.15), Report("data", [Check("x", verdict)]), LIMITS)
    assert report.verdict is verdict


def test_a_metric_that_was_not_measured_is_named() -> None:
    with pytest.raises(ProjectError, match="Did you mean 'average_precision'"):
        gate(
            _measured((0.1, 0.2), 0.15),
            Report("data", [Check("x", Verdict.OK)]),
            replace(LIMITS, metric="average_precison"),
        )


def test_a_champion_that_predicts_something_else_is_said_and_not_compared(empty: Project) -> None:
    contract = empty.contract
    described = {
        "outcome": contract.outcome.name,
        "task": contract.task,
        "classes": contract.classes,
        "columns": {},
    }
    (empty.root / "var/models/f/code").mkdir(parents=True)
    write_json(empty.root / "var/models/f/features.json", described)
    assert champion(empty, "f", lambda _: 1) == {"champion": 1}
    write_json(empty.root / "var/models/f/features.json", described | {"outcome": "liked"})
    assert champion(empty, "f", lambda _: 1) == {}
    reason = not_comparable(empty, "f")
    assert reason == f"it predicts something else (outcome: liked, not {contract.outcome.name})"
    measured = _measured((0.1, 0.2), 0.15) | {"not_compared": reason}
    measured["differences"] = {"baseline.trivial": measured["values"]["candidate"]}  # type: ignore[index]
    report = gate(measured, Report("data", [Check("x", Verdict.OK)]), LIMITS)
    assert report["gate.champion"].verdict is Verdict.INCONCLUSIVE and report.verdict is Verdict.OK
    assert reason in report["gate.champion"].evidence


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (
            {"no_such_column": "float"},
            "it reads columns that are no longer delivered: 'no_such_column' is not in the",
        ),
        ({}, ""),
    ],
)
def test_a_champion_whose_columns_are_gone_is_said_and_not_compared(
    empty: Project, columns: dict[str, str], reason: str
) -> None:
    contract = empty.contract
    described = {
        "outcome": contract.outcome.name,
        "task": contract.task,
        "classes": contract.classes,
    }
    (empty.root / "var/models/f/code").mkdir(parents=True)
    write_json(empty.root / "var/models/f/features.json", described | {"columns": columns})
    assert not_comparable(empty, "f").startswith(reason)
    assert champion(empty, "f", lambda _: 1) == ({} if reason else {"champion": 1})


def test_a_column_of_another_type_is_gone_too(empty: Project) -> None:
    contract = empty.contract
    name = next(
        name for name, column in contract.feature_columns.items() if not contract.barred(name)
    )
    described = {
        "outcome": contract.outcome.name,
        "task": contract.task,
        "classes": contract.classes,
    }
    (empty.root / "var/models/f/code").mkdir(parents=True)
    write_json(
        empty.root / "var/models/f/features.json", described | {"columns": {name: "another kind"}}
    )
    assert f"{name!r} was another kind and is {contract.columns[name].kind}" in not_comparable(
        empty, "f"
    )


def test_values_that_lose_to_the_best_tried_stop_a_promotion_unless_the_team_lets_them() -> None:
    trials = [{"values": {"depth": depth}} for depth in (1, 2)]
    lost = {"trials": trials, "best": 1, "difference": {"value": -0.1, "interval": [-0.2, -0.05]}}
    limits = {"tuning": lost | {"rows": 1000, "unit": 1.0}, "tune_tolerance": 0.02}
    vetoed, told = (
        judged(parts(1, 0.0), **limits, tune_blocking=vetoes) for vetoes in (True, False)
    )
    assert vetoed.verdict == "fail" and told.verdict != "fail"
    assert vetoed["gate.tuning"].verdict == "fail" and told["gate.tuning"] in told.warnings


def test_a_champion_of_an_older_library_is_no_deadlock(empty: Project) -> None:
    write_json(empty.root / "var/models/f/features.json", {})
    assert not_comparable(empty, "f") == "it carries no feature code, for an older mlgates made it"
    assert champion(empty, "f", lambda _: 1) == {}
