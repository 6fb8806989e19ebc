"""The gate is a pure function: a candidate passes that is surely better, on data that are sound."""

import pytest
from measurements import judged, parts

from mlgates import Project, ProjectError
from mlgates.evaluation.measure import champion
from mlgates.files import read_yaml, write_json
from mlgates.gate.rules import gate
from mlgates.settings import DEFAULTS
from mlgates.verdict import Check, Report, Verdict

LIMITS = read_yaml(DEFAULTS)["gate"] | {"slice_min_rows": 1, "margin": 0.002}


def _measured(interval: tuple[float, float], value: float) -> dict[str, object]:
    entry = {"average_precision": {"value": value, "interval": list(interval)}}
    periods = {"train": ["1"], "evaluation": ["2"]}
    return {
        "rows": 1000, "finite": True, "task": "binary", "model": "m" * 8, "opponent": "o" * 8,
        "periods": periods, "slices": [], "holdout": {"rows": 0},
        "values": {"candidate": entry, "champion": entry}, "differences": {"champion": entry},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "value", "age", "expected"),
    [
        ((0.003, 0.02), 0.01, 0, Verdict.OK),
        ((0.0001, 0.0011), 0.0006, 0, Verdict.FAIL),  # surely better, by a hair: no promotion
        ((-0.01, 0.02), 0.005, 0, Verdict.INSUFFICIENT),
        ((-0.001, 0.001), 0.0, 0, Verdict.FAIL),
        ((-0.001, 0.001), 0.0, 3, Verdict.OK),  # an old champion need not lose
        ((-0.01, 0.001), 0.0, 3, Verdict.INSUFFICIENT),
    ],
)
def test_only_a_better_candidate_or_an_equal_one_to_an_old_champion_passes(
    interval: tuple[float, float], value: float, age: int, expected: Verdict
) -> None:
    data, curve = Report("data", [Check("x", Verdict.OK)]), {"ages": [], "otherwise": 3}
    report = gate(_measured(interval, value), data, LIMITS, age, curve=curve)
    assert report["gate.better"].verdict is expected


def test_a_champion_that_could_not_be_measured_is_said_and_stops_nothing() -> None:
    measured = _measured((0.1, 0.2), 0.15) | {"differences": {}}
    report = gate(measured, Report("data", [Check("x", Verdict.OK)]), LIMITS)
    assert (report["gate.champion"].verdict, report.verdict) == (Verdict.INSUFFICIENT, Verdict.OK)


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INSUFFICIENT])
def test_bad_or_too_little_data_is_no_promotion(verdict: Verdict) -> None:
    report = gate(_measured((0.1, 0.2), 0.15), Report("data", [Check("x", verdict)]), LIMITS)
    assert report.verdict is verdict


def test_a_metric_that_was_not_measured_is_named() -> None:
    with pytest.raises(ProjectError, match="Did you mean 'average_precision'"):
        gate(
            _measured((0.1, 0.2), 0.15),
            Report("data", [Check("x", Verdict.OK)]),
            LIMITS | {"metric": "average_precison"},
        )


def test_a_champion_that_predicts_something_else_is_said_and_not_compared(empty: Project) -> None:
    write_json(empty.root / "var/models/f/features.json", {"outcome": "liked", "task": "binary"})
    assert champion(empty, "f", lambda _: 1, outcome="liked", task="binary") == {"champion": 1}
    assert champion(empty, "f", lambda _: 1, outcome="price", task="regression") == {}
    measured = _measured((0.1, 0.2), 0.15)
    measured["differences"] = {"baseline.trivial": measured["values"]["candidate"]}  # type: ignore[index]
    report = gate(measured, Report("data", [Check("x", Verdict.OK)]), LIMITS)
    assert report["gate.champion"].verdict is Verdict.INSUFFICIENT and report.verdict is Verdict.OK


def test_values_that_lose_to_the_best_tried_stop_a_promotion_unless_the_team_lets_them() -> None:
    trials = [{"values": {"depth": depth}} for depth in (1, 2)]
    lost = {"trials": trials, "best": 1, "difference": {"value": -0.1, "interval": [-0.2, -0.05]}}
    limits = {"tuning": lost | {"rows": 1000, "unit": 1.0}, "tune_tolerance": 0.02}
    vetoed, told = (judged(parts(1, 0.0), **limits, tune_vetoes=vetoes) for vetoes in (True, False))
    assert vetoed.verdict == "fail" and told.verdict != "fail"
    assert vetoed["gate.tuned"].verdict == "fail" and told["gate.tuned"] in told.advice
