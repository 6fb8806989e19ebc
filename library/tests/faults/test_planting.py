"""A fault counts as caught only by the check that it names."""

from typing import Any

import pytest

from mlgates.errors import ProjectError
from mlgates.faults.planting import Bench, Fault, NotApplicable, strict, try_fault
from mlgates.verdict import Check, Effect, Report, Verdict

CAUGHT_BY = "gate.slice"


def planted(*checks: Check, spared: str = "", facts: dict[str, Any] | None = None) -> Fault:
    """A fault for which the checks are reported."""
    report = Report("gate", list(checks), facts or {})
    return Fault("planted", CAUGHT_BY, "Data 1", Verdict.FAIL, lambda bench: report, spared)


def refused(error: Exception) -> Fault:
    """A fault that raises an error when it is planted."""

    def plant(bench: Bench) -> Report:
        raise error

    return Fault("refused", CAUGHT_BY, "Data 1", Verdict.FAIL, plant)


@pytest.fixture
def bench() -> Bench:
    """A bench that these faults do not look at."""
    return None  # type: ignore[return-value]


def test_a_failed_check_catches_its_fault_and_shows_value_and_limit(bench: Bench) -> None:
    check = Check(CAUGHT_BY, Verdict.FAIL, 0.123456, 0.1, evidence="in LGA")
    assert try_fault(planted(check), bench) == (True, "fail (0.1235, limit 0.1) in LGA")
    assert try_fault(planted(Check(CAUGHT_BY, Verdict.FAIL)), bench) == (True, "fail")


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.INCONCLUSIVE])
def test_a_fault_escapes_a_check_that_does_not_fail(bench: Bench, verdict: Verdict) -> None:
    assert try_fault(planted(Check(CAUGHT_BY, verdict)), bench) == (False, str(verdict))


def test_a_fault_escapes_if_its_check_did_not_run(bench: Bench) -> None:
    other = Check("gate.data", Verdict.FAIL)
    assert try_fault(planted(other), bench) == (False, f"{CAUGHT_BY} did not run")


def test_a_check_that_is_spared_must_not_fail(bench: Bench) -> None:
    expected = Check(CAUGHT_BY, Verdict.FAIL)
    passed, failed = (Check("gate.data", verdict) for verdict in (Verdict.OK, Verdict.FAIL))
    assert try_fault(planted(expected, passed, spared="gate.data"), bench) == (True, "fail")
    assert try_fault(planted(expected, failed), bench) == (True, "fail")
    caught, evidence = try_fault(planted(expected, failed, spared="gate.data"), bench)
    assert caught is False
    assert evidence == "mistaken for another fault: gate.data failed"


def test_the_full_name_of_the_check_is_in_the_facts_of_the_report(bench: Bench) -> None:
    full_name = f"{CAUGHT_BY}.origin=LGA"
    checks = Check(CAUGHT_BY, Verdict.OK), Check(full_name, Verdict.FAIL)
    fault = planted(*checks, facts={"caught_by": full_name})
    assert try_fault(fault, bench) == (True, f"{full_name}: fail")


def test_an_error_catches_a_fault_only_under_the_name_of_the_check(bench: Bench) -> None:
    named = ProjectError(f"{CAUGHT_BY}: LGA is worse.", "Look at it.")
    assert try_fault(refused(named), bench) == (True, f"{CAUGHT_BY}: LGA is worse.")
    other = ProjectError("data.py has no rows.")
    assert try_fault(refused(other), bench) == (False, "data.py has no rows.")


def test_a_fault_that_is_not_applicable_is_neither_caught_nor_escaped(bench: Bench) -> None:
    assert try_fault(refused(NotApplicable("no time")), bench) == (None, "no time")


def test_in_a_strict_report_every_check_blocks() -> None:
    warning = Check("poison.trigger", Verdict.FAIL, effect=Effect.WARN)
    report = Report("period", [Check("data.range", Verdict.OK), warning])
    assert report.verdict is Verdict.OK
    assert strict(report).verdict is Verdict.FAIL
