"""The online store: the newest row of each look-up that was known at the moment of the request.

It answers as the join of `mlgates.lookups` does in training. `var/online.db` is only ever replaced
as a whole, so readers need no locks, and notice a new file by its inode.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract, Lookup, to_array
from mlgates.files import atomic
from mlgates.layout import ONLINE_STORE
from mlgates.project import Project
from mlgates.serving.sqlite import (
    definitions,
    placeholders,
    present_columns,
    quoted,
    quoted_names,
    sqlite_values,
)

if TYPE_CHECKING:
    import pandas as pd

# A row of a look-up: since when it was known (unix microseconds), and then its columns.
Match = tuple[Any, ...]


class Store:
    """Reads look-ups as of a moment.

    Without a store, or without a table in it, everything is missing.
    """

    def __init__(self, path: Path, contract: Contract) -> None:
        """Opened with the first look-up, and again whenever the file was replaced."""
        self.path = path
        self.contract = contract
        self._database: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._queries: dict[str, str] = {}

    def find(self, look: Lookup, arrays: Arrays) -> tuple[Arrays, np.ndarray]:
        """The look-up's columns for n rows, and the (n,) ages of the matches in seconds.

        The age is NaN where there is no match. A match older than the look-up's `max_age` has an
        age, but its columns are missing.
        """
        self._open()
        moments = arrays[look.at].astype("datetime64[us]").astype(np.int64).tolist()
        keys = [sqlite_values(self.contract.columns[key], arrays[key]) for key in look.keys]
        questions = list(zip(*keys, moments, strict=True))
        columns = self.contract.from_source(look.name).values()
        missing: Match = (np.nan, *[None] * len(columns))

        # Rows of one request often ask the same, so each different question is asked once.
        answers: dict[tuple[Any, ...], Match] = {}
        for question in set(questions):
            answers[question] = self._newest(look, question) or missing

        max_age = round(look.max_seconds * 1e6)
        ages = []
        rows = []
        for moment, question in zip(moments, questions, strict=True):
            match = answers[question]
            age = moment - match[0]  # NaN without a match
            ages.append(age)
            rows.append(match if age <= max_age else missing)

        arrays_found = {}
        _, *values_by_column = zip(*rows, strict=True)
        for column, values in zip(columns, values_by_column, strict=True):
            arrays_found[column.name] = to_array(column, values)
        return arrays_found, np.array(ages) / 1e6

    def _newest(self, look: Lookup, question: tuple[Any, ...]) -> Match | None:
        """The newest row with these keys that was known at this moment, however old it is."""
        if self._database is None or look.name not in self._queries:
            return None
        answer: Match | None = self._database.execute(self._queries[look.name], question).fetchone()
        return answer

    def _open(self) -> None:
        """Open the store, unless it is open and still the same file."""
        try:
            inode = self.path.stat().st_ino
        except OSError:
            inode = None
        if inode == self._inode:
            return

        if self._database is not None:
            self._database.close()
        self._database = None
        self._inode = None
        self._queries = {}
        if inode is None:
            return

        address = f"file:{self.path.as_posix()}?mode=ro&immutable=1"
        database = sqlite3.connect(address, uri=True)
        for look in self.contract.lookups:
            needed_columns = {*look.keys, look.time, *self.contract.from_source(look.name)}
            if needed_columns.issubset(present_columns(database, look.name)):
                self._queries[look.name] = self._query(look)
        # Last, because a damaged store raises above, also when it is asked again. With its inode
        # noted before, it would look like an empty one.
        self._database = database
        self._inode = inode

    def _query(self, look: Lookup) -> str:
        """The SQL that finds a match by the keys and the moment of a request."""
        fields = quoted_names([look.time, *self.contract.from_source(look.name)])
        is_same = " AND ".join([f"{quoted(key)} = ?" for key in look.keys])
        moment = quoted(look.time)
        return (
            f"SELECT {fields} FROM {quoted(look.name)}"
            f" WHERE {is_same} AND {moment} <= ? ORDER BY {moment} DESC LIMIT 1"
        )


def build(path: Path, contract: Contract, tables: Mapping[str, Iterable["pd.DataFrame"]]) -> None:
    """Write a store from frames by look-up.

    Later rows win over earlier ones with the same keys and time.
    """
    with atomic(path) as temporary:
        database = sqlite3.connect(temporary)
        # No journal: a file that was not written to its end never takes the place of the store.
        database.execute("PRAGMA journal_mode = OFF")
        for look in contract.lookups:
            _write_table(database, contract, look, tables[look.name])
        database.commit()
        database.close()


def _write_table(
    database: sqlite3.Connection, contract: Contract, look: Lookup, frames: Iterable["pd.DataFrame"]
) -> None:
    """The table of one look-up; rows without a key or a time are left out: nothing finds them."""
    column_names = [*look.keys, *contract.from_source(look.name)]
    columns = [contract.columns[name] for name in column_names]
    table = quoted(look.name)

    # Without a row id the table is its own index: the rows lie in the order of keys and time.
    database.execute(
        f"CREATE TABLE {table} ({definitions(columns)}, {quoted(look.time)} INTEGER,"
        f" PRIMARY KEY ({quoted_names([*look.keys, look.time])})) WITHOUT ROWID"
    )

    fields = [*column_names, look.time]
    names = quoted_names(fields)
    insert = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({placeholders(len(fields))})"
    for frame in frames:
        complete = frame.dropna(subset=[*look.keys, look.time])
        times = complete[look.time].to_numpy(dtype="datetime64[us]").astype(np.int64).tolist()
        values = [
            sqlite_values(column, to_array(column, complete[column.name])) for column in columns
        ]
        database.executemany(insert, zip(*values, times, strict=True))


def refresh(project: Project, also: Sequence[str] = ()) -> None:
    """Build `var/online.db` from every checked period, without what was erased.

    Periods in `also` are still open; their tables come from the team's `data.lookup`.
    """
    import pandas as pd

    from mlgates.data import partitions, tombstones

    erased = tombstones.read(project, project.contract)

    def frames(look: Lookup) -> Iterator["pd.DataFrame"]:
        """The tables of a look-up by period, one at a time, so that memory holds one of them."""
        for path in partitions.files(project, "checked", look.name):
            yield erased.without(pd.read_parquet(path))
        for period in also:
            yield erased.without(project.data.lookup(look.name, period))

    tables = {look.name: frames(look) for look in project.contract.lookups}
    build(project.root / ONLINE_STORE, project.contract, tables)
