"""What `mlops prove` prints: totals on one screen, every line on demand, and an exit code."""

import json

import pytest

from mlgates.faults.proof import Line, Proof
from mlgates.verdict import Verdict

CAUGHT = Line("the candidate", "caught", "a stale model", "gate.champion", "Infra 4", "fail (1)")
ESCAPED = Line("a running service", "ESCAPED", "a dead service", "serving.answer", "Mon 2", "ok")
ABSENT = Line("the candidate", "not applicable", "a lost column", "data.columns", "Data 1", "none")
QUIET = Line("healthy runs", "quiet", "healthy: gate, seeds: 5", "0 of 9 checks failed", "", "")
ALARM = Line("healthy runs", "FALSE ALARM", "healthy: record", "2 of 9", "", "x", false_alarms=2)


@pytest.mark.parametrize(
    ("lines", "totals", "exit_code"),
    [
        ([CAUGHT, ABSENT], "1 caught, 0 escaped, 0 false alarms, 1 not applicable", 0),
        ([CAUGHT, ESCAPED], "1 caught, 1 escaped, 0 false alarms, 0 not applicable", 3),
        ([CAUGHT, ALARM], "1 caught, 0 escaped, 2 false alarms, 0 not applicable", 3),
    ],
)
def test_an_escaped_fault_and_a_false_alarm_fail(
    lines: list[Line], totals: str, exit_code: int
) -> None:
    proof = Proof(lines, seconds=2)
    assert proof.exit_code == exit_code
    assert f"\n{totals}, 2 s\n" in proof.text()


def test_one_screen_has_the_totals_of_each_area_and_every_line_that_is_bad() -> None:
    text = Proof([CAUGHT, ABSENT, ESCAPED, QUIET], seconds=2).text()
    rows = [line.split() for line in text.splitlines()]
    assert ["the", "candidate", "1", "0", "1"] in rows
    assert ["a", "running", "service", "0", "1", "0"] in rows
    assert ["healthy", "runs", "1", "quiet", "0", "alarms"] in rows
    assert "a dead service" in text
    assert "a stale model" not in text


def test_verbose_and_the_page_have_every_line() -> None:
    proof = Proof([CAUGHT, ABSENT, ESCAPED, QUIET, ALARM], seconds=2)
    for text in (proof.text(verbose=True), proof.page()):
        for line in proof.lines:
            assert line.subject in text and line.expectation in text
    page = proof.page()
    assert page.index("a dead service") < page.index("a stale model")  # what is bad comes first


def test_a_fast_proof_says_so() -> None:
    assert "--fast left out" in Proof([CAUGHT], seconds=2, fast=True).text()
    assert "--fast left out" not in Proof([CAUGHT], seconds=2).text()


def test_a_stored_proof_is_read_back() -> None:
    proof = Proof([CAUGHT, ALARM], seconds=2.04, fast=True)
    stored = json.loads(json.dumps(proof.to_dict()))
    assert stored["verdict"] == "fail"
    again = Proof.from_dict(stored)
    assert again.lines == proof.lines and again.verdict is Verdict.FAIL and again.fast
