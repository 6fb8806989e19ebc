"""The verdict type: what could not be judged is never a pass."""

import pytest

from mlgates.errors import ProjectError
from mlgates.reports import page, terminal
from mlgates.verdict import Check, Report, Verdict, at_most, not_below

OK, FAIL, INSUFFICIENT = Verdict.OK, Verdict.FAIL, Verdict.INSUFFICIENT


@pytest.mark.parametrize(
    ("interval", "expected"), [((-0.1, 0.2), OK), ((-0.3, 0.2), INSUFFICIENT), ((-0.5, -0.3), FAIL)]
)
def test_an_interval_is_compared_as_a_whole(interval: tuple[float, float], expected: Verdict) -> None:
    assert not_below("x", 0.0, interval, -0.2, 100).verdict is expected


def test_nan_and_too_few_rows_are_insufficient() -> None:
    nan = float("nan")
    assert not_below("x", nan, (nan, nan), 0, 100).verdict is INSUFFICIENT
    assert not_below("x", 1, (1, 1), 0, 9, least=10).verdict is INSUFFICIENT
    assert at_most("x", nan, 1, 100).verdict is INSUFFICIENT
    assert at_most("x", None, 1, 100).verdict is INSUFFICIENT
    assert at_most("x", 0, 1, 9, least=10).verdict is INSUFFICIENT


def test_a_report_without_checks_is_insufficient() -> None:
    assert Report("nothing ran").verdict is INSUFFICIENT
    assert Report("only optional ones", [Check("x", OK, required=False)]).verdict is INSUFFICIENT


def test_fail_beats_insufficient_and_an_optional_fail_is_a_fail() -> None:
    checks = [Check("a", INSUFFICIENT), Check("b", FAIL, required=False)]
    assert Report("both", checks).verdict is FAIL
    assert Report("first", checks[:1]).verdict is INSUFFICIENT
    assert Report("optional", [Check("a", OK), Check("b", INSUFFICIENT, required=False)]).verdict is OK
    assert Report("both", checks).stops == ["b"] and Report("first", checks[:1]).stops == ["a"]
    assert Report("one of them", [checks[0], Check("c", INSUFFICIENT, required=False)]).stops == ["a"]
    assert Report("optional", [Check("a", OK), Check("b", INSUFFICIENT, required=False)]).stops == []


@pytest.mark.parametrize(("verdict", "code"), [(OK, 0), (FAIL, 3), (INSUFFICIENT, 4)])
def test_exit_codes(verdict: Verdict, code: int) -> None:
    assert Report("x", [Check("a", verdict)]).exit_code == code


def test_a_stored_verdict_is_not_believed() -> None:
    stored = Report("x", [Check("a", FAIL, 1.0, 0.5, (0.9, 1.1), 10)]).to_dict() | {"verdict": "ok"}
    assert Report.from_dict(stored).verdict is FAIL
    assert Report.from_dict(stored)["a"].interval == (0.9, 1.1)
    with pytest.raises(KeyError):
        Report.from_dict(stored)["b"]
    with pytest.raises(ProjectError, match=r"stored report is damaged .*verdict"):
        Report.from_dict(stored | {"checks": [{"name": "a"}]})


def test_the_page_is_one_file_and_escapes_what_it_shows() -> None:
    report = Report("<b>title</b>", [Check("<script>", FAIL, evidence="<img src=x>")])
    html = page(report)
    assert "<script" not in html and "<img src=x" not in html and "http" not in html
    assert "FAIL" in terminal(report)
