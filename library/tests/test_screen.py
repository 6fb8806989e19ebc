"""Progress is a moving line on a terminal, and elsewhere a line now and then."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import pytest

from mlgates import Project, screen
from mlgates.layout import DURATIONS
from mlgates.screen import Working, clock, show, timed, working

ESCAPE = "\x1b["  # the beginning of what colours a terminal and moves its cursor


def on_a_terminal(code: str, **variables: str) -> str:
    """What some code prints to a real terminal."""
    terminal, end = pty.openpty()
    environs = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **variables}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=end, stdout=end, stderr=end, env=environs
    )
    os.close(end)
    printed = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        printed += part
    assert process.wait() == 0
    os.close(terminal)
    return printed.decode()


WORK = """
import time
from mlgates import screen
screen.SHORT = 0.1
with screen.working("prove", total=3) as work:
    time.sleep(0.6)
    work.advance("the first")
    print("between")
    time.sleep(0.6)
"""
SHOWN = "from mlgates.screen import show\nshow('FAIL  gate.x [1, 2]\\nok    calibration error')"


def test_a_terminal_shows_elapsed_and_remaining_time_and_what_is_printed_meanwhile() -> None:
    text = on_a_terminal(WORK)
    assert "prove  0 of 3, 0:0" in text
    assert "prove  1 of 3, 0:01, about 0:0" in text
    assert "between" in text


def test_verdicts_are_coloured_on_a_terminal_unless_the_user_says_no() -> None:
    colored = on_a_terminal(SHOWN, NO_COLOR="")
    assert f"{ESCAPE}1;31mFAIL" in colored and "[1, 2]" in colored
    assert "calibration error" in colored  # the name of a metric is no failure
    assert ESCAPE not in on_a_terminal(SHOWN, NO_COLOR="1")


def test_there_is_no_colour_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show("FAIL  gate.x")
    assert capsys.readouterr().out == "FAIL  gate.x\n"


@pytest.fixture
def clock_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many seconds have passed since the test began."""
    seconds = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: seconds[0])

    def to(value: float) -> None:
        seconds[0] = value

    return to


def test_the_remaining_time_follows_from_the_items_or_from_the_last_time(
    clock_at: Callable[[float], None],
) -> None:
    items = Working("prove", total=4)
    before = Working("train", expected_seconds=30)
    first = Working("train")
    clock_at(10)
    assert items.remaining() is None  # nothing is done yet
    items.advance("a fault")
    assert str(items) == "prove  1 of 4, 0:10, about 0:30 left"
    assert str(before) == "train  0:10, about 0:20 left"
    assert str(first) == "train  0:10"
    clock_at(40)
    assert str(before) == "train  0:40, about 0:00 left"


def test_without_a_terminal_a_line_is_printed_now_and_then(
    clock_at: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with working("prove", total=3) as work:
        for second in (1, 2, 20):
            clock_at(second)
            work.advance(f"fault {second}")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "prove  3 of 3, 0:20, about 0:00 left: fault 20\n"


def test_how_long_work_takes_is_kept_for_the_next_time(
    empty: Project, clock_at: Callable[[float], None]
) -> None:
    file = empty.root / DURATIONS
    with timed(empty, "promote"):
        clock_at(1)
    assert not file.exists()  # it was over before anybody asked
    with timed(empty, "promote"):
        clock_at(7)
    with timed(empty, "train"):
        clock_at(20)
    assert json.loads(file.read_text()) == {"promote": 6.0, "train": 13.0}


@pytest.mark.parametrize("content", ["", "[]", '{"train": "long"}'])
def test_a_damaged_note_of_durations_stops_nothing(
    empty: Project, clock_at: Callable[[float], None], content: str
) -> None:
    file = empty.root / DURATIONS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    with timed(empty, "train"):
        clock_at(9)
    assert json.loads(file.read_text())["train"] == 9.0


def test_a_duration_is_minutes_and_seconds() -> None:
    assert [clock(0), clock(65), clock(3600)] == ["0:00", "1:05", "60:00"]
