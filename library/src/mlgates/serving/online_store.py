"""The online store: the newest row of each look-up that was known at the moment asked for, as in `mlgates.lookups`.

`var/online.db` is only ever replaced whole, so readers need no locks and notice a new one by its inode.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract, Lookup, to_array
from mlgates.files import whole
from mlgates.layout import ONLINE_STORE
from mlgates.project import Project
from mlgates.serving.sqlite import cells, names, sql_type

if TYPE_CHECKING:
    import pandas as pd

Found = tuple[int, tuple[Any, ...]]


class Store:
    """Reads look-ups as of a moment. Without a store, or without a table in it, everything is missing."""

    def __init__(self, path: Path, contract: Contract) -> None:
        """Opened with the first look-up, and again whenever the file was replaced."""
        self.path, self.contract = path, contract
        self._database: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._queries: dict[str, str] = {}

    def find(self, look: Lookup, arrays: Arrays) -> tuple[Arrays, np.ndarray]:
        """The look-up's columns for n rows, and the (n,) ages in seconds of what was found, NaN where nothing was.

        A row older than the look-up's `max_age` has an age, but its columns are missing.
        """
        self._open()
        columns = self.contract.from_source(look.name)
        moments = arrays[look.at].astype("datetime64[us]").astype(np.int64).tolist()
        asked = list(
            zip(
                *(cells(self.contract.columns[key], arrays[key]) for key in look.keys),
                moments,
                strict=True,
            )
        )
        sql = self._queries.get(look.name, "")
        known = {one: self._newest(sql, one) for one in dict.fromkeys(asked)}
        found = [known[one] for one in asked]
        ages = np.array(
            [np.nan if hit is None else at - hit[0] for at, hit in zip(moments, found, strict=True)]
        )
        missing, oldest = (None,) * len(columns), round(look.max_seconds * 1e6)
        rows = [
            hit[1] if hit and age <= oldest else missing
            for age, hit in zip(ages.tolist(), found, strict=True)
        ]
        cut = zip(*rows, strict=True)
        return {
            name: to_array(column, list(next(cut))) for name, column in columns.items()
        }, ages / 1e6

    def _newest(self, sql: str, asked: tuple[Any, ...]) -> Found | None:
        row = self._database.execute(sql, asked).fetchone() if sql and self._database else None
        return None if row is None else (row[0], row[1:])

    def _open(self) -> None:
        try:
            inode = self.path.stat().st_ino
        except OSError:
            inode = None
        if inode == self._inode:
            return
        if self._database is not None:
            self._database.close()
        address = f"file:{self.path.as_posix()}?mode=ro&immutable=1"
        self._database, self._inode, self._queries = None, None, {}
        if inode is not None:
            database = sqlite3.connect(address, uri=True)
            self._queries = {
                look.name: self._query(look, database) for look in self.contract.lookups
            }
            self._database, self._inode = (
                database,
                inode,
            )  # last: a damaged store must not pass for an empty one

    def _query(self, look: Lookup, database: sqlite3.Connection) -> str:
        fields = [look.time, *self.contract.from_source(look.name)]
        exists = {row[1] for row in database.execute(f"PRAGMA table_info({names([look.name])})")}
        if not {*look.keys, *fields} <= exists:
            return ""
        same = " AND ".join(f'"{key}" = ?' for key in look.keys)
        chosen = f"SELECT {names(fields)} FROM {names([look.name])} WHERE {same}"
        return f'{chosen} AND "{look.time}" <= ? ORDER BY "{look.time}" DESC LIMIT 1'


def build(path: Path, contract: Contract, tables: Mapping[str, Iterable["pd.DataFrame"]]) -> None:
    """Write a store from frames by look-up; later rows win over earlier ones with the same keys and time."""
    with whole(path) as temporary:
        database = sqlite3.connect(temporary)
        database.execute("PRAGMA journal_mode = OFF")
        for look in contract.lookups:
            fields = contract.from_source(look.name)
            columns = [*(contract.columns[key] for key in look.keys), *fields.values()]
            typed = ", ".join(f'"{column.name}" {sql_type(column)}' for column in columns)
            key = names([*look.keys, look.time])
            database.execute(
                f'CREATE TABLE {names([look.name])} ({typed}, "{look.time}" INTEGER, PRIMARY KEY ({key})) WITHOUT ROWID'
            )
            every = [*(column.name for column in columns), look.time]
            marks = ", ".join("?" * len(every))
            insert = (
                f"INSERT OR REPLACE INTO {names([look.name])} ({names(every)}) VALUES ({marks})"
            )
            for frame in tables[look.name]:
                known = frame.dropna(subset=[*look.keys, look.time])
                times = known[look.time].to_numpy(dtype="datetime64[us]").astype(np.int64).tolist()
                values = (cells(column, to_array(column, known[column.name])) for column in columns)
                database.executemany(insert, zip(*values, times, strict=True))
        database.commit()
        database.close()


def refresh(project: Project, also: Sequence[str] = ()) -> None:
    """Build `var/online.db` from every checked period, and from the team's `data.lookup` for open periods (`also`)."""
    import pandas as pd

    from mlgates.data import partitions, tombstones

    erased = tombstones.read(project, project.contract)

    def frames(look: Lookup) -> Iterable["pd.DataFrame"]:
        closed = partitions.files(project, "checked", look.name)
        opened = (project.data.lookup(look.name, period) for period in also)
        return map(erased.without, chain((pd.read_parquet(path) for path in closed), opened))

    build(
        project.root / ONLINE_STORE,
        project.contract,
        {look.name: frames(look) for look in project.contract.lookups},
    )
