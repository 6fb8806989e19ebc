"""What a report looks like for a reader: in the terminal, and as a page."""

import pytest

from mlgates.grid import WIDTH
from mlgates.reports import MOST_SHOWN, headline, number, page, terminal
from mlgates.verdict import RENAMED, Check, Effect, Report, Verdict

OK, FAIL, INCONCLUSIVE = Verdict.OK, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("ok", "ok"),
        (True, "True"),
        (0, "0"),
        (1234567.0, "1,234,567"),
        (0.123456, "0.1235"),
        (1e16, "1e+16"),
        (float("nan"), "nan"),
    ],
)
def test_a_number_is_written_for_a_reader(value: float | str | bool | None, text: str) -> None:
    assert number(value) == text


def test_what_stops_nothing_is_shown_below_what_stops() -> None:
    warning = Check("slow", FAIL, evidence="9 s", effect=Effect.WARN)
    moved = Check("drift.x", FAIL, effect=Effect.RETRAIN)
    report = Report("x", [warning, moved, Check("a", OK)])
    text = terminal(report)
    drift_line = "drift (asks for retraining): x"
    warning_line = "warnings (for a person to look at; they block nothing):\n  slow: 9 s"
    table, drift, warnings, verdict = text.split("\n\n")[1:]
    assert (drift, warnings, verdict) == (drift_line, warning_line, "verdict: ok")
    assert "a" in table
    html = page(report)
    assert html.index("<h2>Checks</h2>") < html.index("<h2>Drift</h2>")
    assert html.index("<h2>Drift</h2>") < html.index("<h2>Warnings</h2>")
    assert headline(report).startswith("1 checks are ok, 0 failed")


def test_the_headline_counts_verdicts_and_names_what_stops() -> None:
    checks = [Check("a", OK), Check("b", FAIL), Check("c", FAIL), Check("d", INCONCLUSIVE)]
    expected = "1 checks are ok, 2 failed, 1 are inconclusive. The verdict comes from b, c."
    assert headline(Report("x", checks)) == expected
    assert headline(Report("x", checks[:1])) == "1 checks are ok, 0 failed, 0 are inconclusive."


@pytest.mark.parametrize(
    ("verdict", "required", "is_folded"),
    [
        (OK, True, True),
        (INCONCLUSIVE, False, True),
        (INCONCLUSIVE, True, False),
        (FAIL, False, False),
    ],
)
def test_many_checks_of_a_family_are_one_line_if_they_stop_nothing(
    verdict: Verdict, required: bool, is_folded: bool
) -> None:
    checks = []
    for place in range(MOST_SHOWN + 1):
        checks.append(Check(f"gate.slice.{place}", verdict, required=required))
    report = Report("x", checks)
    assert ("gate.slice.*" in terminal(report)) == is_folded
    assert ("gate.slice.0" in terminal(report)) != is_folded
    assert ("<details>" in page(report)) == is_folded
    assert "gate.slice.0" in page(report)  # the page has each check, folded or not
    few = Report("x", checks[:MOST_SHOWN])
    assert "gate.slice.*" not in terminal(few)
    assert "<details>" not in page(few)


def long_report() -> Report:
    """A report with more checks than a screen has lines."""
    checks = [Check(f"gate.{place}", OK, 1.0, evidence=f"note {place}") for place in range(20)]
    checks.append(Check("gate.improvement", OK, 0.2, interval=(0.1, 0.3), evidence="compared"))
    checks.append(Check("gate.latency", FAIL, 9.0, 1.0, evidence="too slow for the web shop"))
    checks.append(Check("gate.memory", INCONCLUSIVE, evidence="could not be measured"))
    checks.append(Check("gate.optional", INCONCLUSIVE, required=False))
    return Report("gate  candidate", checks)


def test_a_long_report_shows_what_decides_and_counts_the_rest() -> None:
    text = terminal(long_report())
    for decisive in ("gate.latency", "too slow for", "gate.memory", "could not be", "improvement"):
        assert decisive in text
    assert "gate.3" not in text and "note 3" not in text
    assert "20 other checks are ok, 1 are inconclusive and not required." in text
    assert "uv run mlops report gate --verbose" in " ".join(text.split())


def test_verbose_shows_every_check_with_its_evidence() -> None:
    text = terminal(long_report(), verbose=True)
    for check in long_report().checks:
        assert check.name in text and check.evidence in text
    assert "other checks" not in text


def test_no_line_of_a_report_is_wider_than_a_terminal() -> None:
    name = "gate.slice." + "x" * 60
    checks = [Check(name, FAIL, 1.0, 2.0, (0.1, 0.2), 1_000_000, evidence="word " * 60)]
    text = terminal(Report("gate  " + "title " * 40, checks))
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert name in text  # whole, though the table has no room for it


def test_a_long_value_stands_whole_below_its_line() -> None:
    value, limit = "v" * 70, "l" * 70
    checks = [Check("record.commit", FAIL, value, limit), Check("record.other", OK, 1.0)]
    text = terminal(Report("record", checks))
    assert value in text and limit in text
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_a_report_without_checks_says_that_it_is_inconclusive() -> None:
    text = terminal(Report("gate  candidate"))
    assert text == "gate  candidate\n\nno checks ran\n\nverdict: inconclusive"


def test_the_page_is_one_file_and_escapes_what_it_shows() -> None:
    report = Report("<b>title</b>", [Check("<script>", FAIL, evidence="<img src=x>")])
    html = page(report)
    assert "<b>" not in html
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "http" not in html
    assert "FAIL" in terminal(report)


def test_the_page_escapes_the_name_of_a_family_that_is_folded() -> None:
    checks = []
    for place in range(MOST_SHOWN + 1):
        checks.append(Check(f"gate.slice.<script>.{place}", OK))
    html = page(Report("x", checks))
    assert "<summary>gate.slice.&lt;script&gt;: 5 checks are ok</summary>" in html
    assert "<script" not in html


def test_a_check_of_each_effect_is_shown() -> None:
    checks = [Check(f"gate.{effect}.x", FAIL, 1.0, 0.5, effect=effect) for effect in Effect]
    report = Report("gate", checks)
    for check in checks:
        assert check.name in terminal(report)
        assert check.name in page(report)


def test_a_report_stored_with_old_names_is_shown_with_todays() -> None:
    old = Report("gate", [Check(f"{name}.a=b.c", FAIL, 1.0, 0.5) for name in RENAMED])
    report = Report.from_dict(old.to_dict())
    for name in RENAMED.values():
        assert f"{name}.a=b.c" in terminal(report)
        assert f"{name}.a=b.c" in page(report)
