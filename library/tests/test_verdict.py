"""The verdict type: what could not be judged is never a pass."""

import json
import re
from pathlib import Path

import pytest

import mlgates
from mlgates.errors import ProjectError
from mlgates.limits import effects
from mlgates.reports import headline, page, terminal
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


def test_nan_and_too_few_rows_are_insufficient() -> None:
    nan = float("nan")
    assert not_below("x", nan, (nan, nan), 0, 100).verdict is INCONCLUSIVE
    assert not_below("x", 1, (1, 1), 0, 9, min_rows=10).verdict is INCONCLUSIVE
    assert at_most("x", nan, 1, 100).verdict is INCONCLUSIVE
    assert at_most("x", None, 1, 100).verdict is INCONCLUSIVE
    assert at_most("x", 0, 1, 9, min_rows=10).verdict is INCONCLUSIVE


def test_a_report_without_checks_is_insufficient() -> None:
    assert Report("nothing ran").verdict is INCONCLUSIVE
    assert Report("only optional ones", [Check("x", OK, required=False)]).verdict is INCONCLUSIVE


def test_fail_beats_insufficient_and_an_optional_fail_is_a_fail() -> None:
    checks = [Check("a", INCONCLUSIVE), Check("b", FAIL, required=False)]
    assert Report("both", checks).verdict is FAIL
    assert Report("first", checks[:1]).verdict is INCONCLUSIVE
    assert (
        Report("optional", [Check("a", OK), Check("b", INCONCLUSIVE, required=False)]).verdict is OK
    )
    assert Report("both", checks).stops == ["b"] and Report("first", checks[:1]).stops == ["a"]
    assert Report("one of them", [checks[0], Check("c", INCONCLUSIVE, required=False)]).stops == [
        "a"
    ]
    assert (
        Report("optional", [Check("a", OK), Check("b", INCONCLUSIVE, required=False)]).stops == []
    )


@pytest.mark.parametrize(("verdict", "code"), [(OK, 0), (FAIL, 3), (INCONCLUSIVE, 4)])
def test_exit_codes(verdict: Verdict, code: int) -> None:
    assert Report("x", [Check("a", verdict)]).exit_code == code


def test_a_report_of_before_0_4_is_read_under_todays_words() -> None:
    checks = [{"name": "gate.better", "verdict": "inconclusive"}]
    vetoing = [{"name": "gate.data", "verdict": "fail", "effect": "veto"}]
    asking = [{"name": "gate.churn", "verdict": "fail"}]
    stored = {
        "title": "x",
        "facts": {},
        "checks": checks + vetoing,
        "drift": [],
        "warnings": asking,
    }
    report = Report.from_dict(stored)
    assert report["gate.improvement"].verdict is INCONCLUSIVE
    assert report["gate.data"].effect is Effect.BLOCK_PROMOTION
    assert [check.name for check in report.warnings] == ["gate.changed_decisions"]


def test_a_stored_verdict_is_not_believed() -> None:
    stored = Report("x", [Check("a", FAIL, 1.0, 0.5, (0.9, 1.1), 10)]).to_dict() | {"verdict": "ok"}
    assert Report.from_dict(stored).verdict is FAIL
    assert Report.from_dict(stored)["a"].interval == (0.9, 1.1)
    with pytest.raises(KeyError):
        Report.from_dict(stored)["b"]
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
    assert added.verdict is verdict and added.stops == (
        ["gate.feature_gain.x"] if verdict is FAIL else []
    )
    assert failed in getattr(added, part) and added["gate.feature_gain.x"] == failed
    again = Report.from_dict(json.loads(json.dumps(added.to_dict())))
    assert again == added and again.verdict is verdict


def test_what_only_asks_is_shown_below_what_stops_in_whatever_order_it_came() -> None:
    told = Check("told", FAIL, effect=Effect.WARN)
    moved = Check("drift.x", FAIL, effect=Effect.RETRAIN)
    report = Report("x", [told, moved, Check("a", OK)])
    assert [check.name for check in report.all_checks] == ["a", "drift.x", "told"]
    assert headline(report).startswith("1 checks are ok, 0 failed")
    assert "(asks for retraining, stops nothing): x" in terminal(report)
    assert "warnings (for a person to look at; they block nothing): told" in terminal(report)
    assert "<h2>Drift</h2>" in page(report) and "<h2>Warnings</h2>" in page(report)


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


def test_a_report_stored_long_ago_is_read_shown_and_stored_again_as_it_is() -> None:
    report = Report.from_dict(STORED)
    (drifted,) = report.drift
    (advice,) = report.warnings
    assert (drifted.effect, advice.effect) == (Effect.RETRAIN, Effect.WARN)
    assert report["gate.feature_cost.x"].effect is Effect.BLOCK
    assert "gate.feature_gain.x" in terminal(report) and "gate.feature_gain.x" in page(report)
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


def test_a_parameter_says_which_kinds_veto_and_the_others_are_advice() -> None:
    found = effects(["cost"], "gate.some_vetoes", ("gain", "cost"))
    assert found == {"gain": Effect.WARN, "cost": Effect.BLOCK}
    with pytest.raises(ProjectError, match=r"some_vetoes names 'costs'\.\s+Did you mean 'cost'"):
        effects(["costs"], "gate.some_vetoes", ("gain", "cost"))


SHOWN_SHORTER = {"reports.py", "simulate.py", "lineage/explain.py"}  # for the reader
BY_PREFIX = {"verdict.py"}  # Report.named


def test_no_code_reads_a_meaning_out_of_a_checks_name() -> None:
    methods = "split|partition|rpartition|startswith|endswith|removeprefix"
    reads = re.compile(rf"\b(c|one|check|other)(\.name|\[.name.\])\.({methods})\(")
    source = Path(mlgates.__file__).parent
    found = set()
    for path in source.rglob("*.py"):
        if reads.search(path.read_text(encoding="utf-8")):
            found.add(path.relative_to(source).as_posix())
    assert found == SHOWN_SHORTER | BY_PREFIX


def test_the_page_is_one_file_and_escapes_what_it_shows() -> None:
    report = Report("<b>title</b>", [Check("<script>", FAIL, evidence="<img src=x>")])
    html = page(report)
    assert "<script" not in html and "<img src=x" not in html and "http" not in html
    assert "FAIL" in terminal(report)


def test_a_stored_report_with_the_names_of_before_is_read_and_rendered() -> None:
    old = Report("gate", [Check(f"{name}.a=b.c", Verdict.FAIL, 1.0, 0.5) for name in RENAMED])
    stored = old.to_dict()
    found = Report.from_dict(stored)
    assert found.stops == [f"{name}.a=b.c" for name in RENAMED.values()]
    for check in found.all_checks:
        assert check.name in terminal(found) and check.name in page(found)
    assert Report.from_dict(found.to_dict()) == found  # today's names stay as they are


def test_only_whole_words_of_a_name_are_renamed() -> None:
    assert current_name("gate.cost.hour") == "gate.feature_cost.hour"
    assert current_name("data.rows") == "data.min_rows"
    assert current_name("data.key:weather") == "data.unique_key:weather"
    assert current_name("gate.costly") == "gate.costly" and current_name("planted") == "planted"
    assert not {*RENAMED} & {*RENAMED.values()}
