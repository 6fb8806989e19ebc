"""The prediction log and the outcomes: what was answered, durably, before it was sent; and what happened in the end.

SQLite in WAL mode, one file per worker, typed columns; numbers are float64: features can be computed again to the bit.
"""

import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, Contract, to_array
from mlgates.errors import ProjectError
from mlgates.layout import OUTCOMES, prediction_logs
from mlgates.project import Project
from mlgates.serving.sqlite import cells, names, sql_type

if TYPE_CHECKING:
    import pandas as pd

ID = "prediction_id"  # not "id", which is the favourite name of a team's key
OWN = {
    ID: "TEXT",
    "at": "REAL",
    "release": "TEXT",
    "fingerprint": "TEXT",
    "digest": "TEXT",
    "decision": "TEXT",
}


def types(contract: Contract, features: Sequence[str]) -> dict[str, str]:
    """The log's columns and their SQLite types. Raises: ProjectError if the contract uses a name that the log needs."""
    own = {**OWN, "score": "TEXT" if contract.task == "multiclass" else "REAL"}
    if contract.task == "regression" or contract.outcome.kind == "bool":
        own["decision"] = "REAL" if contract.task == "regression" else "INTEGER"
    taken = set(own)
    for name in contract.feature_columns:  # to SQLite, upper and lower case are the same
        if name.lower() in taken:
            raise ProjectError(
                f"schema.py: {name!r} is taken in the prediction log.", "Name the column otherwise."
            )
        taken.add(name.lower())
    ages = {f"{look.name}__age": "REAL" for look in contract.lookups}
    read = {name: sql_type(column) for name, column in contract.feature_columns.items()}
    return own | read | ages | {f"feature__{name}": "REAL" for name in features}


def identity(contract: Contract) -> dict[str, Column]:
    """What outcomes find their predictions by: the key, else the id that each answer carries."""
    return {name: contract.columns[name] for name in contract.key} or {
        ID: Column(name=ID, kind="text", source="log")
    }


def new_ids(rows: int) -> list[str]:
    """Ids that sort by time, so that the index grows at its end only."""
    stem = f"{time.time_ns():016x}{secrets.token_hex(4)}"
    return [f"{stem}-{row}" for row in range(rows)]


class Unwritable(Exception):
    """The prediction log could not be written, so nothing may be answered."""


class PredictionLog:
    """The one writer of one file. After an error the file is opened again, so the log heals when its cause is gone."""

    def __init__(self, path: Path) -> None:
        """The file is made with the first row."""
        self.path = path
        self._database: sqlite3.Connection | None = None
        self._inode = -1
        self._columns: dict[str, str] = {}

    def append(self, rows: Mapping[str, Sequence[Any]], columns: Mapping[str, str]) -> None:
        """Commit rows, given by column; they survive the death of the process. Raises: Unwritable."""
        try:
            database = self._open(columns)
            marks = ", ".join("?" * len(rows))
            database.execute("BEGIN IMMEDIATE")
            insert = f"INSERT INTO predictions ({names(rows)}) VALUES ({marks})"
            database.executemany(insert, zip(*rows.values(), strict=True))
            database.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise Unwritable(str(error)) from error

    def close(self) -> None:
        """Close the file; an open transaction is rolled back."""
        if self._database is not None:
            self._database.close()
        self._database, self._columns = None, {}

    def _open(self, columns: Mapping[str, str]) -> sqlite3.Connection:
        if self._database is not None and self.path.stat().st_ino != self._inode:
            self.close()
        if self._database is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=2, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS predictions ({ID} TEXT PRIMARY KEY)"
            )
            self._inode = self.path.stat().st_ino
        if (
            self._columns != columns
        ):  # a new contract or a model with other features adds columns, none is ever dropped
            present = {row[1] for row in self._database.execute("PRAGMA table_info(predictions)")}
            for name in columns.keys() - present:
                self._database.execute(
                    f"ALTER TABLE predictions ADD COLUMN {names([name])} {columns[name]}"
                )
            self._columns = dict(columns)
        return self._database


def read(
    project: Project, since: float | None = None, one: str = "", columns: Iterable[str] = ()
) -> "pd.DataFrame":
    """All logged predictions by time, from `since` (unix seconds) on, or the `one` of an id, with the contract's types.

    `columns` are read beside `at`, by default all. `score` is JSON text (a list in the order of `contract.classes`) for
    multiclass. Empty if nothing was logged.
    """
    import pandas as pd

    contract, named = project.contract, {"at", *columns}
    frames = []
    for path in prediction_logs(project.root):
        with _opened(path, "ro") as database:
            if held := [row[1] for row in database.execute("PRAGMA table_info(predictions)")]:
                wanted, value = (f"{ID} = ?", one) if one else ("at >= ?", since or 0.0)
                some = names(name for name in held if name in named or named == {"at"})
                sql = f"SELECT {some} FROM predictions WHERE {wanted}"
                frames.append(pd.read_sql_query(sql, database, params=(value,)))
    if not (filled := [frame for frame in frames if len(frame)]):
        return pd.DataFrame(columns=list(types(contract, [])))
    return _typed(pd.concat(filled, ignore_index=True), contract).sort_values(
        "at", kind="stable", ignore_index=True
    )


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A database of the service. Raises: ProjectError if it is damaged."""
    import pandas as pd

    try:
        opened = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=10)
        with closing(opened) as database, database:
            yield database
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        told = f"{path.name} cannot be read or written: {error}."
        raise ProjectError(told, "If it is damaged, move it away.") from error


def record(project: Project, frame: "pd.DataFrame") -> int:
    """Store outcomes (see `identity`, and the outcome); a later one for the same row replaces it. Returns how many."""
    contract = project.contract
    key = identity(contract)
    columns = [*key.values(), contract.outcome]
    known = frame.dropna(subset=[column.name for column in columns])
    values = [cells(column, to_array(column, known[column.name])) for column in columns]
    typed = [f'"{column.name}" {sql_type(column)}' for column in columns]
    (project.root / OUTCOMES).parent.mkdir(parents=True, exist_ok=True)
    with _opened(project.root / OUTCOMES, "rwc") as database:
        create = f"CREATE TABLE IF NOT EXISTS outcomes ({', '.join(typed)}, arrived REAL, PRIMARY KEY ({names(key)}))"
        database.execute(create)
        insert = f"INSERT OR REPLACE INTO outcomes VALUES ({', '.join('?' * len(values))}, ?)"
        rows = list(zip(*values, [time.time()] * len(values[0]), strict=True))
        database.executemany(insert, rows)
    return len(rows)


def outcomes(project: Project) -> "pd.DataFrame":
    """`identity`, outcome and `arrived`, with the contract's types; empty if none has arrived."""
    import pandas as pd

    contract = project.contract
    if not (project.root / OUTCOMES).exists():
        return pd.DataFrame(columns=[*identity(contract), contract.outcome.name, "arrived"])
    with _opened(project.root / OUTCOMES, "ro") as database:
        return _typed(pd.read_sql_query("SELECT * FROM outcomes", database), contract)


def _typed(frame: "pd.DataFrame", contract: Contract) -> "pd.DataFrame":
    for name, column in contract.columns.items():
        if name not in frame:
            continue
        if column.kind == "datetime":
            # not by pandas.to_datetime: its nanoseconds end in the year 2262
            frame[name] = frame[name].to_numpy(dtype="datetime64[us]")
        elif column.is_number:
            kind = (
                {"int": np.int64, "bool": np.bool_}.get(column.kind)
                if frame[name].notna().all()
                else None
            )
            frame[name] = (
                frame[name].to_numpy(dtype=float, na_value=np.nan).astype(kind or np.float64)
            )
    return frame
