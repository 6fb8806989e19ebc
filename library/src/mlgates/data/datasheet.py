"""The data sheet: what people must know of each column, from the contract and the newest period."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from mlgates.contract import Column, Contract
from mlgates.data.poisoning import is_id
from mlgates.grid import Grid
from mlgates.reports import number

if TYPE_CHECKING:
    import pandas as pd

PRIVATE = ("personal", "sensitive")  # nothing measured of these columns leaves the data
TO_FILL_IN = ("owner", "source", "privacy", "status")
MEASURED_KINDS = ("int", "float")  # their values have a unit
UNBOUNDED = "..."
HEADINGS = [
    "column",
    "part",
    "allowed",
    "measured",
    "unit",
    "owner",
    "source",
    "privacy",
    "status",
]


def datasheet(contract: Contract, tables: "Sequence[pd.DataFrame]", period: str) -> str:
    """The data sheet as Markdown; `tables` are the rows and the look-ups of the newest period."""
    values = values_by_column(tables)
    cells = [_cells(column, values.get(name)) for name, column in contract.columns.items()]
    grid = Grid(HEADINGS, cells)
    lines = [
        "# Data sheet",
        "",
        f"Made by `validate` from schema.py, and measured on period {period}."
        " Nothing here is written by hand.",
        "",
        grid.markdown(),
    ]
    for role in ("key", "slices", "groups", "forbidden"):
        names = getattr(contract, role)
        if names:
            lines += ["", f"{role}: {', '.join(names)}"]

    missing = _fields_to_fill_in(contract)
    if missing:
        lines += ["", f"Left to fill in, by `About(...)` in schema.py: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def values_by_column(tables: "Sequence[pd.DataFrame]") -> "dict[str, pd.Series]":
    """The columns of all tables of a period: its rows, then its look-ups.

    A look-up repeats columns of the rows, such as its keys. These are taken from the rows.
    """
    values: dict[str, pd.Series] = {}
    for table in reversed(tables):
        values.update(table)
    return values


def _cells(column: Column, values: "pd.Series | None") -> list[str]:
    """The row of a column in the data sheet; `values` is None if no table has the column."""
    label = column.label
    if column.description:
        label = f"{label}: {column.description}"
    measured = ""
    if values is not None:
        measured = _measured(column, values)
    about = column.about
    return [
        label,
        column.source,
        allowed(column),
        measured,
        about.unit,
        about.owner,
        about.source,
        about.privacy,
        about.status,
    ]


def _fields_to_fill_in(contract: Contract) -> list[str]:
    """The fields of `About` that are empty, such as "age (owner, unit)", column by column."""
    columns = []
    for name, column in contract.columns.items():
        expected = list(TO_FILL_IN)
        if column.kind in MEASURED_KINDS and name not in contract.key:
            expected.append("unit")
        empty = [field for field in expected if field not in column.about.filled_in]
        if empty:
            columns.append(f"{name} ({', '.join(empty)})")
    return columns


def allowed(column: Column) -> str:
    """Type, bounds and categories in words."""
    parts = [
        column.kind,
        _number_bounds(column),
        _between(column.earliest, column.latest),
        " / ".join(column.categories),
        _lengths(column),
    ]
    if column.pattern:
        parts.append(f"`{column.pattern}`")
    if column.nullable:
        parts.append("may be missing")
    return ", ".join(filter(None, parts))


def _number_bounds(column: Column) -> str:
    low = number(column.low)
    high = number(column.high)
    if column.exclusive_low:
        low = f"above {low}"
    if column.exclusive_high:
        high = f"below {high}"
    return _between(low, high)


def _lengths(column: Column) -> str:
    if (column.min_length, column.max_length) == (None, None):
        return ""
    longest = ""
    if column.max_length is not None:
        longest = str(column.max_length)
    lengths = _between(str(column.min_length or 0), longest)
    return f"{lengths} characters"


def _between(low: datetime | str | None, high: datetime | str | None) -> str:
    """A range in words; empty if it has no bound."""
    if not low and not high:
        return ""
    return f"{low or UNBOUNDED} to {high or UNBOUNDED}"


def is_private(column: Column, present: "pd.Series") -> bool:
    """Whether nothing measured of a column may be shown.

    `present` are its values without missing ones: a text that is different in almost every row
    names persons or things.
    """
    if column.about.privacy in PRIVATE:
        return True
    return column.kind == "text" and is_id(present)


def _measured(column: Column, values: "pd.Series") -> str:
    """The range of a number or a time, or the two most frequent words; empty if private."""
    present = values.dropna()
    if present.empty or is_private(column, present):
        return ""
    missing = ""
    if column.nullable:
        missing = f", {values.isna().mean():.1%} missing"

    if column.kind == "datetime":
        return f"{present.min()} to {present.max()}{missing}"
    if column.kind in MEASURED_KINDS:
        return f"{number(present.min())} to {number(present.max())}{missing}"
    shares = present.astype(str).value_counts(normalize=True).head(2)
    words = [f"{word} {share:.0%}" for word, share in shares.items()]
    return ", ".join(words) + missing
