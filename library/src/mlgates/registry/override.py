"""An override: a person stands in for the gate's verdict, by name, for a reason and for a time."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from mlgates.errors import ProjectError

# The longest time for which a person may answer for a model that the gate did not pass. After a
# quarter of a year somebody has to decide anew.
DAYS = 90
EXAMPLE_DAYS = 30  # of the date that a message gives as an example


@dataclass(frozen=True)
class Override:
    """A person answers by name for a model that the gate did not pass.

    `until` is the last day (ISO) on which the override holds.
    """

    by: str
    until: str
    reason: str

    @property
    def days_over(self) -> int:
        """How many days ago its last day was; not above zero while it holds."""
        return (datetime.now(UTC).date() - date.fromisoformat(self.until)).days

    def __str__(self) -> str:
        """As people read it, in each report."""
        state = "override ended" if self.days_over > 0 else "overridden until"
        return f"{state} {self.until}, by {self.by}: {self.reason}"


def overriding(by: str, until: str, reason: str) -> Override:
    """An override with these values, spaces made single.

    Raises: ProjectError (a usage error) if one of them is empty, or if the day is not one of the
    next 90.
    """
    for option, value in (("--by NAME", by), ("--until DATE", until), ("--reason TEXT", reason)):
        if not value.strip():
            raise ProjectError(
                f"An override needs {option}.", "See: uv run mlops promote --help", code=2
            )
    day = _last_day(until)
    return Override(_single_spaced(by), day.isoformat(), _single_spaced(reason))


def _last_day(until: str) -> date:
    """The day that is written there. Raises: ProjectError if an override may not end on it."""
    today = datetime.now(UTC).date()
    latest = today + timedelta(DAYS)
    example = today + timedelta(EXAMPLE_DAYS)
    try:
        day = date.fromisoformat(until)
    except ValueError:
        raise ProjectError(
            f"--until {until!r} is not a date.", f"Write it like: {example}", code=2
        ) from None
    if not today < day <= latest:
        raise ProjectError(
            f"--until {day} must be after today and not after {latest}.",
            f"Write for example: {example}",
            code=2,
        )
    return day


def _single_spaced(text: str) -> str:
    return " ".join(text.split())
