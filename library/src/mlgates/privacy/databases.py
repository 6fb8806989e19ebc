"""Erased rows in SQLite files of this machine: prediction log, recorded labels, online store."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mlgates.contract import Contract
from mlgates.data import tombstones
from mlgates.data.tombstones import Row, Tombstones
from mlgates.errors import ProjectError
from mlgates.files import whole
from mlgates.layout import ONLINE_STORE, OUTCOMES, prediction_logs
from mlgates.project import Project

PATIENCE = 30  # seconds to wait for a service that writes at the same time


def find(project: Project, contract: Contract, columns: Row, wanted: set[Row]) -> set[Row]:
    """Those of the wanted values of `columns` that stand in any of the files."""
    paths = _logs(project)
    if (project.root / ONLINE_STORE).exists():
        paths.append(project.root / ONLINE_STORE)

    present = set()
    for path in paths:
        with open_database(path) as database:
            for table in _tables_with(database, columns):
                query = f"SELECT DISTINCT {_quoted(columns)} FROM {table}"
                for cells in database.execute(query):
                    row = comparable(contract, columns, cells)
                    if row in wanted:
                        present.add(row)
    return present


def sweep(project: Project, erased_rows: Tombstones) -> int:
    """Delete the erased rows from all files; returns how many there were.

    Raises: ProjectError if another program reads a file, so that it still holds them.
    """
    n_deleted = 0
    for path in _logs(project):
        n_deleted += _wipe(path, erased_rows)

    online_store = project.root / ONLINE_STORE
    if online_store.exists():
        # Its readers open it as immutable, so it is replaced whole and never changed.
        with whole(online_store) as copy:
            shutil.copy(online_store, copy)
            n_deleted += _wipe(copy, erased_rows)
    return n_deleted


def comparable(contract: Contract, columns: Row, values: Sequence[Any]) -> Row:
    """The values of some columns, each in the one spelling in which tombstones compare them."""
    pairs = zip(columns, values, strict=True)
    return tuple(tombstones.text(contract, name, value) for name, value in pairs)


def open_database(path: Path) -> "closing[sqlite3.Connection]":
    """A connection without transactions of its own: each statement is final at once."""
    return closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None))


def _logs(project: Project) -> list[Path]:
    """The recorded labels and the prediction log."""
    logs = []
    if (project.root / OUTCOMES).exists():
        logs.append(project.root / OUTCOMES)
    return [*logs, *prediction_logs(project.root)]


def _wipe(path: Path, erased_rows: Tombstones) -> int:
    """Delete erased rows so that their bytes are gone: no free page and no journal keeps them."""
    n_deleted = 0
    try:
        with open_database(path) as database:
            database.execute("PRAGMA secure_delete = ON")
            for columns, is_erased in erased_rows.matchers:
                database.create_function("erased", len(columns), is_erased)
                for table in _tables_with(database, columns):
                    statement = f"DELETE FROM {table} WHERE erased({_quoted(columns)})"
                    n_deleted += database.execute(statement).rowcount
            database.execute("VACUUM")
            is_busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise sqlite3.OperationalError("another program reads it")
    except sqlite3.DatabaseError as error:
        raise ProjectError(
            f"{path.name} still holds what was erased: {error}.", "Run: uv run mlops erase"
        ) from error
    return n_deleted


def _tables_with(database: sqlite3.Connection, columns: Row) -> list[str]:
    """The tables that have all these columns; their names are quoted for SQL."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    tables = []
    for row in database.execute(query).fetchall():
        table = _quoted(row)
        table_info = database.execute(f"PRAGMA table_info({table})").fetchall()
        names = {name for _, name, *_ in table_info}
        if names.issuperset(columns):
            tables.append(table)
    return tables


def _quoted(names: Sequence[str]) -> str:
    """Names for SQL, with commas."""
    return ", ".join(f'"{name}"' for name in names)
