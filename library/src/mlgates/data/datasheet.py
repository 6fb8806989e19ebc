"""The data sheet: what people must know of each column, from the contract and the newest period."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlgates.contract import Column, Contract
from mlgates.data.poisoning import is_id
from mlgates.grid import Grid
from mlgates.reports import number

if TYPE_CHECKING:
    import pandas as pd

PRIVATE = ("personal", "sensitive")  # nothing measured of these columns leaves the data
TO_FILL_IN = ("owner", "source", "privacy", "status")
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
    values: dict[str, pd.Series] = {}
    for table in reversed(tables):  # of a column in several tables, the rows have the last word
        for name in table:
            values[str(name)] = table[name]

    grid = Grid(HEADINGS, [_cells(column, values) for column in contract.columns.values()])
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


def _cells(column: Column, values: "dict[str, pd.Series]") -> list[str]:
    """The row of a column in the data sheet."""
    label = column.label
    if column.description:
        label = f"{label}: {column.description}"
    measured = ""
    if column.name in values:
        measured = _measured(column, values[column.name])
    about = column.about
    cells = [label, column.source, allowed(column), measured]
    return [*cells, about.unit, about.owner, about.source, about.privacy, about.status]


def _fields_to_fill_in(contract: Contract) -> list[str]:
    """The fields of `About` that are empty, such as "age (owner, unit)", column by column."""
    columns = []
    for name, column in contract.columns.items():
        fields = [field for field in TO_FILL_IN if not getattr(column.about, field)]
        has_unit = column.kind in ("int", "float") and name not in contract.key
        if has_unit and not column.about.unit:
            fields.append("unit")
        if fields:
            columns.append(f"{name} ({', '.join(fields)})")
    return columns


def allowed(column: Column) -> str:
    """Type, bounds and categories in words."""
    parts = [
        column.kind,
        _number_bounds(column),
        _datetime_bounds(column),
        " / ".join(column.categories),
        _lengths(column),
    ]
    if column.pattern:
        parts.append(f"`{column.pattern}`")
    if column.nullable:
        parts.append("may be missing")
    return ", ".join(part for part in parts if part)


def _number_bounds(column: Column) -> str:
    if column.low is None and column.high is None:
        return ""
    low = number(column.low) or UNBOUNDED
    high = number(column.high) or UNBOUNDED
    if column.exclusive_low:
        low = f"above {low}"
    if column.exclusive_high:
        high = f"below {high}"
    return f"{low} to {high}"


def _datetime_bounds(column: Column) -> str:
    if not column.earliest and not column.latest:
        return ""
    return f"{column.earliest or UNBOUNDED} to {column.latest or UNBOUNDED}"


def _lengths(column: Column) -> str:
    if column.min_length is None and column.max_length is None:
        return ""
    longest = UNBOUNDED if column.max_length is None else column.max_length
    return f"{column.min_length or 0} to {longest} characters"


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
    if column.kind in ("int", "float"):
        return f"{number(present.min())} to {number(present.max())}{missing}"
    shares = present.astype(str).value_counts(normalize=True).head(2)
    words = [f"{word} {share:.0%}" for word, share in shares.items()]
    return ", ".join(words) + missing
