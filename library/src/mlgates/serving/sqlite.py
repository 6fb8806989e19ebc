"""Contract columns as SQLite sees them: one place for types, cells and names, so that what is stored compares equal."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from mlgates.contract import Column

TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}  # everything else is TEXT


def cells(column: Column, values: np.ndarray) -> list[Any]:
    """An array of `contract.arrays` as SQLite values: missing is None or NaN (both NULL), datetimes are ISO text."""
    if column.kind == "datetime":
        return [
            None if value is None else value.isoformat()
            for value in values.astype("datetime64[us]").tolist()
        ]
    listed: list[Any] = values.tolist()
    return listed


def sql_type(column: Column) -> str:
    """The SQLite type of a column."""
    return TYPES.get(column.kind, "TEXT")


def names(columns: Iterable[str]) -> str:
    """Quoted names with commas between them."""
    return ", ".join(f'"{column}"' for column in columns)
