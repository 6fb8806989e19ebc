"""An override: a person stands in for the gate's verdict, by name, for a reason and for a time."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from mlgates.errors import ProjectError

DAYS = 90  # for which anybody may answer for a model that the gate did not pass


@dataclass(frozen=True)
class Override:
    """Somebody answers by name for a model that the gate did not pass, until a day (ISO); then it has ended."""

    by: str
    until: str
    reason: str

    @property
    def days_over(self) -> int:
        """How many days ago its last day was; not above zero while it holds."""
        return (datetime.now(UTC).date() - date.fromisoformat(self.until)).days

    def __str__(self) -> str:
        """As people read it, in each report."""
        word = "override ended" if self.days_over > 0 else "overridden until"
        return f"{word} {self.until}, by {self.by}: {self.reason}"


def overriding(by: str, until: str, reason: str) -> Override:
    """An override, complete and for a time. Raises: ProjectError (a usage error) if it is not."""
    for name, given in (("--by NAME", by), ("--until DATE", until), ("--reason TEXT", reason)):
        if not given.strip():
            raise ProjectError(
                f"An override needs {name}.", "See: uv run mlops promote --help", code=2
            )
    today = datetime.now(UTC).date()
    last, example = today + timedelta(DAYS), today + timedelta(30)
    try:
        day = date.fromisoformat(until)
    except ValueError:
        raise ProjectError(
            f"--until {until!r} is no day.", f"Write it like: {example}", code=2
        ) from None
    if not today < day <= last:
        raise ProjectError(
            f"--until {day} must lie ahead, and not after {last}.", f"Say: {example}", code=2
        )
    return Override(*(" ".join(text.split()) for text in (by, day.isoformat(), reason)))
