"""What a person sees of a command: its answer, and progress while it works.

The answer goes to standard output, progress to standard error, so that output can be piped.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlgates.errors import ProjectError
from mlgates.files import read_json, write_json
from mlgates.layout import DURATIONS
from mlgates.project import Project

if TYPE_CHECKING:
    from rich.progress import Progress

# Work that takes less time than this shows no progress.
SHORT = 2.0  # seconds
# Where no terminal shows a moving line, a line is printed at most this often.
BETWEEN_LINES = 15.0  # seconds

# The words that are coloured, as regular expressions, and the style of Rich that they get.
COLORS = {
    r"\b(FAIL|ESCAPED|FALSE ALARM)\b": "bold red",
    r"\binconclusive\b": "yellow",
    r"(?m)(^|verdict: )(ok|caught|quiet)\b": "green",
}


def show(text: str) -> None:
    """Print a text. On a terminal verdicts are coloured, unless NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        print(text)
        return

    from rich.console import Console
    from rich.text import Text

    colored = Text(text)
    for words, style in COLORS.items():
        colored.highlight_regex(words, style)
    Console().print(colored, soft_wrap=True)


class Working:
    """Progress of one piece of work: how long it has taken, and how long it may still take.

    `total` is the number of its items. Where it has none, `expected_seconds` is how long the same
    work took the last time.
    """

    def __init__(self, title: str, total: int = 0, expected_seconds: float = 0.0) -> None:
        self.title = title
        self.total = total
        self.expected_seconds = expected_seconds
        self.done = 0
        self.started = time.monotonic()
        self._last_line = self.started

    @property
    def seconds(self) -> float:
        """How long the work has taken."""
        return time.monotonic() - self.started

    def advance(self, item: str = "") -> None:
        """One more item is done. Without a terminal, a line is printed now and then."""
        self.done += 1
        if sys.stderr.isatty():
            return
        now = time.monotonic()
        if now - self._last_line >= BETWEEN_LINES:
            self._last_line = now
            print(f"{self}: {item}".rstrip(": "), file=sys.stderr, flush=True)

    def remaining(self) -> float | None:
        """Seconds that are left at the present rate; None if that cannot be told."""
        if self.done:
            return self.seconds / self.done * (self.total - self.done)
        if self.expected_seconds:
            return max(self.expected_seconds - self.seconds, 0.0)
        return None

    def __str__(self) -> str:
        """One line, such as `prove  12 of 113, 0:10, about 1:24 left`."""
        parts = [clock(self.seconds)]
        if self.total:
            parts.insert(0, f"{self.done} of {self.total}")
        remaining = self.remaining()
        if remaining is not None:
            parts.append(f"about {clock(remaining)} left")
        return f"{self.title}  {', '.join(parts)}"


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, such as `1:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


@contextmanager
def working(title: str, total: int = 0, expected_seconds: float = 0.0) -> Iterator[Working]:
    """Show the progress of the work inside, on a terminal as one moving line."""
    work = Working(title, total, expected_seconds)
    if not sys.stderr.isatty():
        yield work
        return
    display = _Display(work)
    timer = threading.Timer(SHORT, display.start)
    timer.daemon = True
    timer.start()
    try:
        yield work
    finally:
        timer.cancel()
        display.stop()


class _Display:
    """The moving line of some work. It is drawn by a thread of Rich, and removed at the end."""

    def __init__(self, work: Working) -> None:
        self.work = work
        self._lock = threading.Lock()
        self._ended = False
        self._progress: Progress | None = None

    def start(self) -> None:
        """Draw the line, unless the work has ended meanwhile."""
        from rich.console import Console
        from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
        from rich.text import Text

        work = self.work

        class Line(ProgressColumn):
            """The text of the line, made anew whenever it is drawn."""

            def render(self, task: Task) -> Text:
                return Text(str(work))

        with self._lock:
            if self._ended:
                return
            self._progress = Progress(
                SpinnerColumn(),
                Line(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=4,
                # What is printed meanwhile goes above the line, but never into a pipe's place.
                redirect_stdout=sys.stdout.isatty(),
            )
            self._progress.add_task(work.title, total=None)
            self._progress.start()

    def stop(self) -> None:
        """Remove the line."""
        with self._lock:
            self._ended = True
            if self._progress:
                self._progress.stop()


@contextmanager
def timed(project: Project, title: str) -> Iterator[None]:
    """Show how long the work inside takes; how long it may take is known from the last time."""
    file = project.root / DURATIONS
    durations = _read_durations(file)
    with working(title, expected_seconds=durations.get(title, 0.0)) as work:
        yield
    if work.seconds > SHORT:
        with suppress(OSError):  # such as a full disk: the work itself has ended well
            write_json(file, {**durations, title: round(work.seconds, 1)})


def _read_durations(file: Path) -> dict[str, float]:
    """How many seconds each piece of work took the last time; empty if the note is damaged."""
    try:
        return {name: float(seconds) for name, seconds in read_json(file).items()}
    except (ProjectError, AttributeError, TypeError, ValueError):
        return {}  # an estimate of the remaining time is not worth an error
