"""What is decided about a table: its columns as fields of the contract, task, key and periods."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from mlgates.draft.columns import Column
from mlgates.errors import ProjectError, nearest

LEFT_OUT = "left out"
FORBIDDEN = "forbidden"


@dataclass
class Field:
    """One column of the contract, or one that is left out of it.

    `role` says which, `why` says the reasons. `low` and `high` are the bounds of a number,
    `words` the values of a Literal, `max_length` is that of a text.
    """

    name: str
    column: Column
    kind: str
    role: str = "feature"  # feature, kept, key, time, group, outcome, forbidden, left out
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    words: list[str] = field(default_factory=list)
    max_length: int | None = None
    unit: str = ""
    why: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The world's name of the column, unless that is blank."""
        if self.column.label.strip():
            return self.column.label
        return self.name

    @property
    def is_read(self) -> bool:
        """Whether data.py reads it."""
        return self.role not in (FORBIDDEN, LEFT_OUT)

    def set_role(self, role: str, reason: str) -> None:
        """Give it another role; the reason joins those before."""
        self.role = role
        self.why.append(reason)

    def allow_any_value(self) -> None:
        """Allow all values that the column can have: of its kind, without words and bounds."""
        self.kind = self.column.kind
        self.words = []
        self.max_length = None
        self.set_bounds(None, None)

    def set_bounds(self, low: float | None, high: float | None) -> None:
        """Allow numbers from low to high; None for no bound."""
        self.low = low
        self.high = high


@dataclass(frozen=True)
class Periods:
    """How data.py splits the rows.

    `unit` says what a period is. `ranges` holds the first value of each period and the first one
    after it; without a time, the number of the part and how many parts there are. `until` is the
    last period that is closed.
    """

    unit: str = ""
    ranges: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    until: str = ""


@dataclass
class Decision:
    """All that is written."""

    fields: dict[str, Field]  # by the world's name of the column
    target: Field
    task: str  # binary, multiclass or regression
    rows: int
    periods: Periods = field(default_factory=Periods)
    key: list[str] = field(default_factory=list)
    time: str = ""
    slices: list[str] = field(default_factory=list)
    rarest: int = 0  # rows of the rarest class; 0 for a regression
    warnings: list[str] = field(default_factory=list)

    def having(self, *roles: str) -> list[Field]:
        """The fields with one of these roles, in their order."""
        return [field for field in self.fields.values() if field.role in roles]

    def names_of(self, role: str) -> list[str]:
        """The names of the fields with a role."""
        return [field.name for field in self.having(role)]

    @property
    def read(self) -> list[Field]:
        """The fields that data.py reads."""
        return [field for field in self.fields.values() if field.is_read]

    @property
    def asked(self) -> list[Field]:
        """The fields of a request."""
        return [field for field in self.read if field.role != "outcome"]


@dataclass(frozen=True)
class Wishes:
    """What the command line names, under the world's names."""

    target: str
    id: str = ""
    time: str = ""
    groups: tuple[str, ...] = ()
    task: str = ""

    def check(self, columns: Collection[str]) -> None:
        """Refuse names that the table does not have.

        Raises: ProjectError for a column that does not exist, naming the nearest one, or if the
        target is named as something else, too.
        """
        others = [self.id, self.time, *self.groups]
        for name in [self.target, *others]:
            if name and name not in columns:
                raise ProjectError(f"There is no column {name!r}.", nearest(name, columns))
        if self.target in others:
            raise ProjectError(
                f"{self.target!r} is the target and cannot be anything else.",
                "Name other columns by --id, --time and --group.",
            )
