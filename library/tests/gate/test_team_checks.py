"""The team's checks.py has a say in the verdict."""

from types import ModuleType
from typing import Any

from clones import Clone, refusal
from mlgates import Project
from mlgates.files import read_json, write_json
from mlgates.gate import rules
from mlgates.layout import METRICS
from mlgates.verdict import Check, Effect, Verdict


def with_check(project: Project, check: Check) -> Project:
    """The project with a checks.py that makes this check."""
    checks: Any = ModuleType("checks")
    checks.checks = lambda measured: [check]
    return project.having(checks=checks)


def test_the_teams_own_check_is_part_of_the_verdict(ada: Clone) -> None:
    assert rules.decide(ada.project).verdict == "ok"
    blocking = Check("own.size", Verdict.FAIL)
    report = rules.decide(with_check(ada.project, blocking))
    assert report["own.size"] == blocking
    assert report.verdict == "fail"


def test_the_teams_own_check_may_be_a_warning(ada: Clone) -> None:
    warning = Check("own.size", Verdict.FAIL, effect=Effect.WARN)
    report = rules.decide(with_check(ada.project, warning))
    assert warning in report.warnings
    assert report.verdict == "ok"


def test_a_checks_file_without_the_function_is_named(ada: Clone) -> None:
    nothing = ada.project.having(checks=ModuleType("checks"))
    assert "checks.py: checks() failed: AttributeError" in refusal(rules.decide, nothing)


def test_measurements_of_an_older_library_are_refused(ada: Clone) -> None:
    measured = read_json(ada.root / METRICS)
    write_json(ada.root / METRICS, measured | {"conduct": {}})
    assert "was written by an older mlgates" in refusal(rules.decide, ada.project)
