"""The prediction log, and the outcomes: what was answered, and what happened in the end.

A prediction is stored durably before its answer is sent. The log is SQLite in WAL mode, one file
per worker, with typed columns. Numbers are float64, so features can be computed again to the bit.
"""

import secrets
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract, to_array
from mlgates.errors import ProjectError
from mlgates.layout import OUTCOMES, prediction_logs
from mlgates.project import Project
from mlgates.serving.sqlite import (
    definitions,
    placeholders,
    present_columns,
    quoted,
    quoted_names,
    sql_type,
    sqlite_values,
)

if TYPE_CHECKING:
    import pandas as pd

ID = "prediction_id"  # not "id", which is the favourite name of a team's key
LOG_COLUMNS = {  # of every log, beside the columns of the contract and of the model's features
    ID: "TEXT",
    "at": "REAL",  # unix seconds
    "release": "TEXT",
    "fingerprint": "TEXT",
    "digest": "TEXT",
    "decision": "TEXT",
    "score": "REAL",
}
# The type of a score by task, and of a decision by the kind of the outcome, where they are others.
SCORES = {"multiclass": "TEXT"}  # a JSON list, in the order of the classes
DECISIONS = {"bool": "INTEGER", "int": "REAL", "float": "REAL"}

# What a column of numbers is read as where none is missing, by its kind.
NUMBER_TYPES = {"bool": np.bool_, "int": np.int64, "float": np.float64}

LOCKED_SECONDS = 2  # that a request waits while another process holds the file, then it is refused


def log_columns(contract: Contract, features: Sequence[str]) -> dict[str, str]:
    """The log's columns and their SQLite types, for a model with these features.

    Raises: ProjectError if the contract uses a name that the log needs.
    """
    columns = dict(LOG_COLUMNS)
    columns["score"] = SCORES.get(contract.task, LOG_COLUMNS["score"])
    columns["decision"] = DECISIONS.get(contract.outcome.kind, LOG_COLUMNS["decision"])
    taken = set(columns)
    for name, column in contract.feature_columns.items():
        folded = name.lower()  # to SQLite, upper and lower case are the same
        if folded in taken:
            message = f"schema.py: the name {name!r} is already taken in the prediction log."
            raise ProjectError(message, "Rename the column. Upper and lower case are the same.")
        taken.add(folded)
        columns[name] = sql_type(column)
    for look in contract.lookups:
        columns[f"{look.name}__age"] = "REAL"
    for name in features:
        columns[f"feature__{name}"] = "REAL"
    return columns


def key_columns(contract: Contract) -> dict[str, Column]:
    """The columns by which outcomes find their predictions.

    That is the contract's key. Without one it is the id that each answer carries.
    """
    if not contract.key:
        return {ID: Column(name=ID, kind="text", source="log")}
    return {name: contract.columns[name] for name in contract.key}


def new_ids(rows: int) -> list[str]:
    """Ids that sort by time, so that the index grows only at its end."""
    stem = f"{time.time_ns():016x}{secrets.token_hex(4)}"
    return [f"{stem}-{row}" for row in range(rows)]


class Unwritable(Exception):
    """The prediction log could not be written, so nothing may be answered."""


class PredictionLog:
    """The one writer of one file.

    After an error the file is opened again, so the log works again once the cause is gone.
    """

    def __init__(self, path: Path) -> None:
        """The file is made with the first row."""
        self.path = path
        self._database: sqlite3.Connection | None = None
        self._inode = -1
        self._columns: dict[str, str] = {}

    def append(self, rows: Mapping[str, Sequence[Any]], columns: Mapping[str, str]) -> None:
        """Commit rows, given by column. They survive the death of the process.

        `columns` are those of the log, with their SQLite types; see `types`.

        Raises: Unwritable.
        """
        try:
            database = self._open(columns)
            insert = (
                f"INSERT INTO predictions ({quoted_names(rows)}) VALUES ({placeholders(len(rows))})"
            )
            database.execute("BEGIN IMMEDIATE")
            database.executemany(insert, zip(*rows.values(), strict=True))
            database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise Unwritable(str(error)) from error

    def close(self) -> None:
        """Close the file; an open transaction is rolled back."""
        if self._database is not None:
            self._database.close()
        self._database = None
        self._columns = {}

    def _open(self, columns: Mapping[str, str]) -> sqlite3.Connection:
        """The file with a table of these columns; opened again where it was moved or replaced."""
        if self._database is not None and self.path.stat().st_ino != self._inode:
            self.close()
        if self._database is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=LOCKED_SECONDS, isolation_level=None
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            create = f"CREATE TABLE IF NOT EXISTS predictions ({ID} TEXT PRIMARY KEY)"
            self._database.execute(create)
            self._inode = self.path.stat().st_ino
        if self._columns != columns:
            _add_columns(self._database, columns)
            self._columns = dict(columns)
        return self._database


def _add_columns(database: sqlite3.Connection, columns: Mapping[str, str]) -> None:
    """Add what a new contract, or a model with other features, needs; nothing is ever dropped."""
    present = present_columns(database, "predictions")
    for name, sqlite_type in columns.items():
        if name not in present:
            database.execute(f"ALTER TABLE predictions ADD COLUMN {quoted(name)} {sqlite_type}")


def read(
    project: Project, since: float | None = None, one: str = "", columns: Collection[str] = ()
) -> "pd.DataFrame":
    """All logged predictions by time, with the contract's types; empty if nothing was logged.

    Those from `since` (unix seconds) on, or the `one` with an id. `columns` are read beside `at`,
    by default all. For multiclass, `score` is JSON text: a list in the order of `contract.classes`.
    """
    import pandas as pd

    condition = _Condition("at >= ?", since or 0.0)
    if one:
        condition = _Condition(f"{ID} = ?", one)
    frames = []
    for path in prediction_logs(project.root):
        frame = _read_file(path, condition, columns)
        if len(frame):
            frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=list(log_columns(project.contract, [])))
    logged = _typed(pd.concat(frames, ignore_index=True), project.contract)
    return logged.sort_values("at", kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Condition:
    """Which rows are read: a condition of SQL with one question mark, and what stands for it."""

    sql: str
    value: str | float


def _read_file(path: Path, condition: _Condition, columns: Collection[str]) -> "pd.DataFrame":
    """Some rows of one worker's log; all columns if none is named. Empty if it has no table."""
    import pandas as pd

    with _opened(path, "ro") as database:
        fields = present_columns(database, "predictions")
        if not fields:
            return pd.DataFrame()
        if columns:
            selected = {"at", *columns}
            fields = [name for name in fields if name in selected]
        query = f"SELECT {quoted_names(fields)} FROM predictions WHERE {condition.sql}"
        return pd.read_sql_query(query, database, params=(condition.value,))


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A database of the service, in SQLite's open mode. Raises: ProjectError if it is damaged."""
    import pandas as pd

    try:
        address = f"{path.resolve().as_uri()}?mode={mode}"
        opened = sqlite3.connect(address, uri=True, timeout=10)
        with closing(opened) as database, database:
            yield database
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        message = f"{path.name} cannot be read or written: {error}."
        raise ProjectError(message, "If the file is damaged, move it away.") from error


def record(project: Project, frame: "pd.DataFrame") -> int:
    """Store outcomes, and return how many.

    The frame has the columns of `identity`, and the outcome; rows that lack one of them are left
    out. A later outcome of the same row replaces an earlier one.
    """
    contract = project.contract
    key = key_columns(contract)
    columns = [*key.values(), contract.outcome]
    complete = frame.dropna(subset=[*key, contract.outcome.name])
    values = [sqlite_values(column, to_array(column, complete[column.name])) for column in columns]
    arrived = [time.time()] * len(complete)
    rows = list(zip(*values, arrived, strict=True))

    create = (
        "CREATE TABLE IF NOT EXISTS outcomes"
        f" ({definitions(columns)}, arrived REAL, PRIMARY KEY ({quoted_names(key)}))"
    )
    insert = f"INSERT OR REPLACE INTO outcomes VALUES ({placeholders(len(columns) + 1)})"
    path = project.root / OUTCOMES
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path, "rwc") as database:
        database.execute(create)
        database.executemany(insert, rows)
    return len(rows)


def outcomes(project: Project) -> "pd.DataFrame":
    """`identity`, outcome and `arrived`, with the contract's types; empty if none has arrived."""
    import pandas as pd

    contract = project.contract
    path = project.root / OUTCOMES
    if not path.exists():
        return pd.DataFrame(columns=[*key_columns(contract), contract.outcome.name, "arrived"])
    with _opened(path, "ro") as database:
        return _typed(pd.read_sql_query("SELECT * FROM outcomes", database), contract)


def _typed(frame: "pd.DataFrame", contract: Contract) -> "pd.DataFrame":
    """The frame with the types of the contract; other columns stay as they are."""
    for name in set(contract.columns).intersection(frame):
        frame[name] = _typed_values(contract.columns[name], frame[name])
    return frame


def _typed_values(column: Column, values: "pd.Series") -> "pd.Series | np.ndarray":
    """The values in the type of the contract; numbers of which one is missing are float."""
    if column.kind == "datetime":
        # Not by pandas.to_datetime: its nanoseconds end in the year 2262.
        return values.to_numpy(dtype="datetime64[us]")
    if not column.is_number:
        return values
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    if np.isnan(numbers).any():
        return numbers
    return numbers.astype(NUMBER_TYPES[column.kind])
