"""The columns of a table, and how their values are counted.

DuckDB counts, so the table is never in memory as a whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

AGGREGATES_PER_QUERY = 50  # one query with more may exceed the memory limit of the database


@dataclass
class Column:
    """One column of the source.

    `sql` is the expression that reads it, as `kind`. `known` is how many values are not missing,
    `length` that of the longest text. `words` are the values with their counts, if they are few.
    `forms` says of a column of texts how many of them look like what, `mixture` that some of them
    are numbers and some are not.
    """

    label: str
    sql: str
    kind: str = "text"  # int, float, bool, text, datetime, or other
    known: int = 0
    distinct: int = 0
    low: Any = None
    high: Any = None
    length: int = 0
    words: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    forms: dict[str, int] = field(default_factory=dict)
    mixture: str = ""

    @property
    def is_number(self) -> bool:
        """Whether its values are counted or measured."""
        return self.kind in ("int", "float")

    def filled_into(self, sql: str) -> str:
        """The SQL with this column in place of {c}."""
        return sql.replace("{c}", self.sql)

    def read_as(self, kind: str, sql: str, note: str = "") -> None:
        """Read it as another kind from now on; `note` says to the user why."""
        self.kind = kind
        self.sql = sql
        if note:
            self.notes.append(note)


def of_kind(columns: Iterable[Column], *kinds: str) -> list[Column]:
    """The columns of one of these kinds."""
    return [column for column in columns if column.kind in kinds]


@dataclass
class Counting:
    """Aggregates over the rows of the table that are used, as many in one pass as memory allows."""

    database: Any
    table: str = "source"
    where: str = "true"

    def __call__(self, wanted: dict[Any, str]) -> dict[Any, Any]:
        """The value of each aggregate, by the same keys."""
        aggregates = list(wanted.values())
        values: list[Any] = []
        for first in range(0, len(aggregates), AGGREGATES_PER_QUERY):
            selected = ", ".join(aggregates[first : first + AGGREGATES_PER_QUERY])
            query = f"SELECT {selected} FROM {self.table} WHERE {self.where}"
            values += self.database.execute(query).fetchone()
        return dict(zip(wanted, values, strict=True))

    def each(self, columns: Iterable[Column], aggregate: str) -> Iterator[tuple[Column, Any]]:
        """Each column with the value of one aggregate, in which {c} stands for the column."""
        columns = list(columns)
        values = self({column.label: column.filled_into(aggregate) for column in columns})
        return zip(columns, values.values(), strict=True)
