"""Erased rows in SQLite files of this machine: prediction log, recorded labels, online store."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from mlgates.contract import Contract
from mlgates.data import tombstones
from mlgates.data.tombstones import Row, Tombstones
from mlgates.errors import ProjectError
from mlgates.files import atomic
from mlgates.layout import ONLINE_STORE, OUTCOMES, prediction_logs
from mlgates.project import Project

PATIENCE = 30  # seconds to wait for a service that writes at the same time


def find(project: Project, contract: Contract, columns: Row, wanted: set[Row]) -> set[Row]:
    """Those of the wanted values of `columns` that stand in any of the files."""
    spelled = partial(comparable, contract, columns)
    present: set[Row] = set()
    for path in [*_logs(project), *_online_stores(project)]:
        with open_database(path) as database:
            for table in _tables_with(database, columns):
                rows = database.execute(f"SELECT DISTINCT {_quoted(columns)} FROM {table}")
                present |= wanted.intersection(map(spelled, rows))
    return present


def sweep(project: Project, erased_rows: Tombstones) -> int:
    """Delete the erased rows from all files; returns how many there were.

    Raises: ProjectError if another program reads a file, so that it still holds them.
    """
    n_deleted = 0
    for path in _logs(project):
        n_deleted += _wipe(path, erased_rows)
    for path in _online_stores(project):
        # Its readers open it as immutable, so it is replaced whole and never changed.
        with atomic(path) as copy:
            shutil.copy(path, copy)
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
    """The recorded labels and the prediction log, as far as they exist."""
    return [*project.root.glob(OUTCOMES.as_posix()), *prediction_logs(project.root)]


def _online_stores(project: Project) -> list[Path]:
    """The online store, if it exists."""
    return list(project.root.glob(ONLINE_STORE.as_posix()))


def _wipe(path: Path, erased_rows: Tombstones) -> int:
    """Delete erased rows so that their bytes are gone; returns how many rows there were.

    Raises: ProjectError if another program reads the file.
    """
    try:
        with open_database(path) as database:
            n_deleted = _delete_rows(database, erased_rows)
            _drop_old_pages(database)
    except sqlite3.DatabaseError as error:
        raise ProjectError(
            f"{path.name} still holds what was erased: {error}.",
            "Run: uv run mlops erase",
        ) from error
    return n_deleted


def _delete_rows(database: sqlite3.Connection, erased_rows: Tombstones) -> int:
    """Delete the erased rows from all tables; returns how many rows there were."""
    n_deleted = 0
    database.execute("PRAGMA secure_delete = ON")  # SQLite overwrites them with zeros
    for columns, is_erased in erased_rows.matchers:
        database.create_function("erased", len(columns), is_erased)
        for table in _tables_with(database, columns):
            statement = f"DELETE FROM {table} WHERE erased({_quoted(columns)})"
            n_deleted += database.execute(statement).rowcount
    return n_deleted


def _drop_old_pages(database: sqlite3.Connection) -> None:
    """Let no free page and no journal keep a deleted row."""
    database.execute("VACUUM")
    is_busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise sqlite3.OperationalError("another program reads it")


def _tables_with(database: sqlite3.Connection, columns: Row) -> list[str]:
    """The tables that have all these columns; their names are quoted for SQL."""
    placeholders = ", ".join("?" * len(columns))
    query = f"""
        SELECT tables.name
        FROM sqlite_master AS tables, pragma_table_info(tables.name) AS info
        WHERE tables.type = 'table' AND info.name IN ({placeholders})
        GROUP BY tables.name
        HAVING count(*) = {len(columns)}
    """
    return list(map(_quoted, database.execute(query, columns).fetchall()))


def _quoted(names: Sequence[str]) -> str:
    """Names for SQL, with commas."""
    return ", ".join(f'"{name}"' for name in names)
