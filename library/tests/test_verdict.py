"""The verdict type: what could not be judged is never a pass."""

import json
import re
from pathlib import Path

import pytest

import mlgates
from mlgates.errors import ProjectError
from mlgates.limits import effects
from mlgates.verdict import (
    RENAMED,
    Check,
    Effect,
    Report,
    Verdict,
    at_most,
    current_name,
    not_below,
)

OK, FAIL, INCONCLUSIVE = Verdict.OK, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("interval", "expected"), [((-0.1, 0.2), OK), ((-0.3, 0.2), INCONCLUSIVE), ((-0.5, -0.3), FAIL)]
)
def test_an_interval_is_compared_as_a_whole(
    interval: tuple[float, float], expected: Verdict
) -> None:
    assert not_below("x", 0.0, interval, -0.2, 100).verdict is expected


def test_nan_and_too_few_rows_are_inconclusive() -> None:
    nan = float("nan")
    assert not_below("x", nan, (nan, nan), 0, 100).verdict is INCONCLUSIVE
    assert not_below("x", 1, (1, 1), 0, 9, min_rows=10).verdict is INCONCLUSIVE
    assert not_below("x", 1, None, 0, 100).verdict is INCONCLUSIVE
    assert at_most("x", nan, 1, 100).verdict is INCONCLUSIVE
    assert at_most("x", None, 1, 100).verdict is INCONCLUSIVE
    assert at_most("x", 0, 1, 9, min_rows=10).verdict is INCONCLUSIVE


def test_a_report_without_required_checks_is_inconclusive() -> None:
    assert Report("nothing ran").verdict is INCONCLUSIVE
    assert Report("only optional ones", [Check("x", OK, required=False)]).verdict is INCONCLUSIVE


def optional(name: str, verdict: Verdict) -> Check:
    """A check that is not required."""
    return Check(name, verdict, required=False)


@pytest.mark.parametrize(
    ("checks", "verdict", "stops"),
    [
        ([Check("a", OK), optional("b", INCONCLUSIVE)], OK, []),
        ([Check("a", INCONCLUSIVE)], INCONCLUSIVE, ["a"]),
        ([Check("a", INCONCLUSIVE), optional("b", INCONCLUSIVE)], INCONCLUSIVE, ["a"]),
        ([optional("a", INCONCLUSIVE)], INCONCLUSIVE, ["a"]),
        ([Check("a", INCONCLUSIVE), optional("b", FAIL)], FAIL, ["b"]),
    ],
)
def test_fail_beats_inconclusive_and_an_optional_fail_is_a_fail(
    checks: list[Check], verdict: Verdict, stops: list[str]
) -> None:
    report = Report("x", checks)
    assert report.verdict is verdict
    assert report.stops == stops


@pytest.mark.parametrize(("verdict", "code"), [(OK, 0), (FAIL, 3), (INCONCLUSIVE, 4)])
def test_exit_codes(verdict: Verdict, code: int) -> None:
    assert Report("x", [Check("a", verdict)]).exit_code == code


def test_a_report_of_before_0_4_is_read_under_todays_words() -> None:
    stored = {
        "title": "x",
        "facts": {"opponent": "f00d"},
        "checks": [
            {"name": "gate.better", "verdict": "insufficient"},
            {"name": "gate.data", "verdict": "fail", "effect": "veto"},
        ],
        "drift": [],
        "advice": [{"name": "gate.churn", "verdict": "fail"}],
    }
    report = Report.from_dict(stored)
    assert report["gate.improvement"].verdict is INCONCLUSIVE
    assert report["gate.data"].effect is Effect.BLOCK_PROMOTION
    assert [check.name for check in report.warnings] == ["gate.changed_decisions"]
    assert report.facts == {"champion": "f00d"}


def test_a_stored_verdict_is_not_believed() -> None:
    stored = Report("x", [Check("a", FAIL, 1.0, 0.5, (0.9, 1.1), 10)]).to_dict() | {"verdict": "ok"}
    report = Report.from_dict(stored)
    assert report.verdict is FAIL
    assert report["a"].interval == (0.9, 1.1)
    with pytest.raises(KeyError):
        report["b"]
    with pytest.raises(ProjectError, match=r"stored report is damaged .*verdict"):
        Report.from_dict(stored | {"checks": [{"name": "a"}]})


@pytest.mark.parametrize(
    ("effect", "part", "verdict"),
    [
        (Effect.BLOCK, "checks", FAIL),
        (Effect.BLOCK_PROMOTION, "checks", FAIL),
        (Effect.RETRAIN, "drift", OK),
        (Effect.WARN, "warnings", OK),
    ],
)
def test_a_check_carries_what_it_stops_and_its_report_goes_by_nothing_else(
    effect: Effect, part: str, verdict: Verdict
) -> None:
    failed = Check("gate.feature_gain.x", FAIL, effect=effect)
    added = Report("x", [Check("a", OK)])
    added.add(failed)
    assert added == Report("x", [Check("a", OK), failed])
    assert added.verdict is verdict
    assert added.stops == (["gate.feature_gain.x"] if verdict is FAIL else [])
    assert failed in getattr(added, part)
    assert added["gate.feature_gain.x"] == failed
    again = Report.from_dict(json.loads(json.dumps(added.to_dict())))
    assert again == added
    assert again.verdict is verdict


def test_the_checks_of_a_report_stand_by_effect_in_whatever_order_they_came() -> None:
    warning = Check("warning", FAIL, effect=Effect.WARN)
    moved = Check("drift.x", FAIL, effect=Effect.RETRAIN)
    report = Report("x", [warning, moved, Check("a", OK), Check("b", OK)])
    assert [check.name for check in report.all_checks] == ["a", "b", "drift.x", "warning"]


def stored_check(name: str, verdict: str) -> dict[str, object]:
    """A check as it has been stored since the first release."""
    numbers = {"value": 0.5, "limit": 0.1, "interval": [0.4, 0.6], "rows": 10}
    return {"name": name, "verdict": verdict, **numbers, "required": False, "evidence": "e"}


STORED = {
    "title": "gate",
    "verdict": "ok",
    "facts": {"model": "m"},
    "checks": [stored_check("gate.feature_cost.x", "ok")],
    "drift": [stored_check("drift.missing.x", "fail")],
    "warnings": [stored_check("gate.feature_gain.x", "fail")],
}


def test_a_report_stored_long_ago_is_read_and_stored_again_as_it_is() -> None:
    report = Report.from_dict(STORED)
    (drifted,) = report.drift
    (warning,) = report.warnings
    assert drifted.effect is Effect.RETRAIN
    assert warning.effect is Effect.WARN
    assert report["gate.feature_cost.x"].effect is Effect.BLOCK
    # Its only check is not required, so the verdict, which is computed again, is inconclusive.
    assert json.loads(json.dumps(report.to_dict())) == STORED | {"verdict": "inconclusive"}


def test_only_a_block_of_the_promotion_alone_is_written_down() -> None:
    sign = Check("poison.near_duplicates", FAIL, effect=Effect.BLOCK_PROMOTION)
    assert Report("x", [sign]).to_dict()["checks"][0]["effect"] == "block_promotion"
    for effect in (Effect.BLOCK, Effect.RETRAIN, Effect.WARN):
        assert "effect" not in Check("x", FAIL, effect=effect).to_dict()


@pytest.mark.parametrize("effect", ["advise", "retrain", "nothing"])
def test_a_stored_check_cannot_talk_itself_out_of_the_verdict(effect: str) -> None:
    forged = stored_check("gate.improvement", "fail") | {"effect": effect}
    with pytest.raises(ProjectError, match=f"stored report is damaged .*{effect}"):
        Report.from_dict(STORED | {"checks": [forged]})


def test_a_parameter_says_which_kinds_block_and_the_others_are_warnings() -> None:
    found = effects(["cost"], "gate.some_vetoes", ("gain", "cost"))
    assert found == {"gain": Effect.WARN, "cost": Effect.BLOCK}
    with pytest.raises(ProjectError, match=r"some_vetoes names 'costs'\.\s+Did you mean 'cost'"):
        effects(["costs"], "gate.some_vetoes", ("gain", "cost"))


# Modules that may take a name apart: to show less of it, and to find checks by the beginning.
SHOWN_SHORTER = {"reports.py", "simulate.py", "lineage/explain.py"}
BY_PREFIX = {"verdict.py"}


def test_no_code_reads_a_meaning_out_of_a_checks_name() -> None:
    methods = "split|partition|rpartition|startswith|endswith|removeprefix"
    reads = re.compile(rf"\b(c|one|check|other)(\.name|\[.name.\])\.({methods})\(")
    source = Path(mlgates.__file__).parent
    found = set()
    for path in source.rglob("*.py"):
        if reads.search(path.read_text(encoding="utf-8")):
            found.add(path.relative_to(source).as_posix())
    assert found == SHOWN_SHORTER | BY_PREFIX


def test_a_stored_report_with_the_names_of_before_is_read() -> None:
    old = Report("gate", [Check(f"{name}.a=b.c", FAIL, 1.0, 0.5) for name in RENAMED])
    report = Report.from_dict(old.to_dict())
    assert report.stops == [f"{name}.a=b.c" for name in RENAMED.values()]
    assert Report.from_dict(report.to_dict()) == report  # today's names stay as they are


def test_only_whole_words_of_a_name_are_renamed() -> None:
    assert current_name("gate.cost.hour") == "gate.feature_cost.hour"
    assert current_name("data.rows") == "data.min_rows"
    assert current_name("data.key:weather") == "data.unique_key:weather"
    assert current_name("gate.costly") == "gate.costly"
    assert current_name("planted") == "planted"
    assert not {*RENAMED} & {*RENAMED.values()}
