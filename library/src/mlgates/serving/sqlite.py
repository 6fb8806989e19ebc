"""Contract columns as SQLite sees them.

Types, values and names come from here alone, so that what is stored in one place compares equal
with what is stored or asked for in another.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlgates.contract import Column

TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}  # everything else is TEXT


def sqlite_values(column: Column, values: np.ndarray) -> list[Any]:
    """An array of `contract.arrays` as values for SQLite.

    Missing is None or NaN, which are both NULL; datetimes are ISO text.
    """
    if column.kind == "datetime":
        moments = values.astype("datetime64[us]").tolist()
        return [None if moment is None else moment.isoformat() for moment in moments]
    listed: list[Any] = values.tolist()
    return listed


def sql_type(column: Column) -> str:
    """The SQLite type of a column."""
    return TYPES.get(column.kind, "TEXT")


def quoted(name: str) -> str:
    """A name in the quotes of SQL."""
    return f'"{name}"'


def quoted_names(columns: Iterable[str]) -> str:
    """Quoted names with commas between them."""
    return ", ".join(map(quoted, columns))


def definitions(columns: Iterable[Column]) -> str:
    """Names and types, as CREATE TABLE wants them."""
    return ", ".join(f"{quoted(column.name)} {sql_type(column)}" for column in columns)


def placeholders(count: int) -> str:
    """Question marks for the values of one row."""
    return ", ".join("?" * count)


def present_columns(database: sqlite3.Connection, table: str) -> list[str]:
    """The names of a table's columns; none if there is no such table."""
    return [row[1] for row in database.execute(f"PRAGMA table_info({quoted(table)})")]
