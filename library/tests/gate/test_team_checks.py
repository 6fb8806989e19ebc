"""The team's checks.py has a say in the verdict."""

from types import ModuleType

from clones import Clone, refusal
from mlgates.files import read_json, write_json
from mlgates.gate import rules
from mlgates.layout import METRICS
from mlgates.verdict import Check, Effect, Verdict


def test_the_teams_own_check_is_part_of_the_verdict(ada: Clone) -> None:
    own = Check("own.size", Verdict.FAIL)
    assert rules.decide(ada.project).verdict == "ok"
    checks = ModuleType("checks")
    checks.checks = lambda measured: [own]  # type: ignore[attr-defined]
    report = rules.decide(ada.project.having(checks=checks))
    assert report["own.size"] == own
    assert report.verdict == "fail"
    told = Check("own.size", Verdict.FAIL, effect=Effect.WARN)
    checks.checks = lambda measured: [told]  # type: ignore[attr-defined]
    report = rules.decide(ada.project.having(checks=checks))
    assert told in report.warnings and report.verdict == "ok"
    nothing = ada.project.having(checks=ModuleType("checks"))
    assert "checks.py: checks() failed: AttributeError" in refusal(rules.decide, nothing)


def test_measurements_of_an_older_library_are_refused(ada: Clone) -> None:
    measured = read_json(ada.root / METRICS)
    write_json(ada.root / METRICS, measured | {"conduct": {}})
    assert "was written by an older mlgates" in refusal(rules.decide, ada.project)
