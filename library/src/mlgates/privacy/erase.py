"""`mlops erase`: somebody asks to be forgotten. Tombstones first; the pipeline depends on them."""

import csv
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mlgates.contract import Contract
from mlgates.data import partitions, tombstones
from mlgates.data.tombstones import Row, Tombstone, Tombstones
from mlgates.errors import ProjectError, nearest
from mlgates.files import whole, write_text
from mlgates.layout import ERASED, ONLINE_STORE, OUTCOMES, RAW, STATE, prediction_logs
from mlgates.privacy.purge import purge, trained
from mlgates.project import Project
from mlgates.registry.dvc_storage import alone
from mlgates.registry.git import few


def erase(
    project: Project,
    ids: Sequence[str],
    file: Path | None = None,
    column: str | None = None,
    reason: str = "",
    *,
    purges: bool = False,
) -> str:
    """Write tombstones for the rows of some ids, and take those rows out of this machine's logs and online store.

    An id is the contract's key (several columns: with commas, as in CSV) or a value of one request column. Without any
    id, what was erased anywhere is taken out of this machine too. With `purges`, old versions go as well.
    Raises: ProjectError if no id is found (nothing is written then), or with what has to be done before a purge.
    """
    contract = project.contract
    with alone(project, "erase"):
        lines = _mark(project, contract, column, ids, file, reason) if ids or file else []
        gone = tombstones.read(project, contract)
        if not gone.entries:
            raise ProjectError("Nothing was ever erased here.", "Name an id: uv run mlops erase ID")
        lines.append(
            f"{_sweep(project, gone):,} rows taken out of the logs and the online store of this machine."
        )
        if purges:
            return "\n".join([*lines, purge(project, gone)])
        for release, known in trained(project, gone).items():
            lines.append(f"{release.tag} was trained on erased rows, to judge by {known}: retrain.")
    return "\n".join([*lines, f"Commit {ERASED}; what waits then: uv run mlops status"])


def _mark(
    project: Project,
    contract: Contract,
    column: str | None,
    ids: Sequence[str],
    file: Path | None,
    reason: str,
) -> list[str]:
    """Write the tombstones of all ids that are found."""
    columns = _columns(contract, column)
    given = [
        *(_split(contract, columns, one) for one in ids),
        *_listed(project, contract, columns, file),
    ]
    asked = dict.fromkeys(given)
    found, gone = _found(project, contract, columns, set(asked)), tombstones.read(project, contract)
    already = {
        row
        for row in asked
        for known, matches in gone.matchers
        if known == columns and matches(*row)
    }
    if not found and not already:
        told = (
            f"Nothing was found for {', '.join(columns)} = {few([','.join(row) for row in asked])}"
        )
        raise ProjectError(
            f"{told}, neither in data/raw nor in the logs here; nothing was written."
        )
    salt = gone.entries[-1].salt if gone.entries else secrets.token_hex(16)
    day = datetime.now(UTC).date().isoformat()
    new = [
        Tombstone(
            day,
            columns,
            tuple(sorted(found[row])),
            salt,
            tombstones.hashed(row, salt),
            " ".join(reason.split()),
        )
        for row in found
        if row not in already
    ]
    write_text(project.root / ERASED, tombstones.written([*gone.entries, *new]))
    lines = [f"{len(new):,} tombstones written to {ERASED}, {len(already):,} were there already."]
    unknown = [",".join(row) for row in asked if row not in found and row not in already]
    return [*lines, f"Not found: {few(unknown)}."] if unknown else lines


def _columns(contract: Contract, column: str | None) -> Row:
    if column is None:
        if not contract.key:
            raise ProjectError(
                "The contract names no key to find rows by.", "Name a column: --column NAME", code=2
            )
        return tuple(contract.key)
    known = {
        label: name for name, c in contract.request_columns.items() for label in (name, c.label)
    }
    if column not in known:
        raise ProjectError(f"The request has no column {column!r}.", nearest(column, known), code=2)
    return (known[column],)


def _split(contract: Contract, columns: Row, given: str) -> Row:
    row = next(csv.reader([given]), []) if len(columns) > 1 else [given]
    if len(row) != len(columns) or not all(row):
        remedy = "Separate by commas, as in CSV; or name one column: --column NAME"
        raise ProjectError(f"{given!r} is not {', '.join(columns)}.", remedy, code=2)
    return tuple(map(lambda *cell: tombstones.text(contract, *cell), columns, row))


def _listed(project: Project, contract: Contract, columns: Row, file: Path | None) -> Iterator[Row]:
    if file is None:
        return
    if file.resolve().is_relative_to(project.root) and not file.resolve().is_relative_to(
        project.root / STATE
    ):
        raise ProjectError(
            f"{file.name} lies where git would keep it.", "Move it out of the project, or to var/."
        )
    frame = contract.handed_in(file, columns)
    for row in tombstones.texts(contract, frame, columns):
        if not all(row):
            raise ProjectError(
                f"{file.name}: an id is missing in {len(frame):,} lines; nothing was written."
            )
        yield row


def _found(
    project: Project, contract: Contract, columns: Row, asked: set[Row]
) -> dict[Row, set[str]]:
    """The ids that stand in data/raw, with their periods, or in the logs of this machine."""
    if project.cycle()["until"] is not None and not (project.root / RAW).exists():
        raise ProjectError(
            "data/raw is not on this machine.", "Run: uv run dvc pull, or uv run dvc repro"
        )
    found: dict[Row, set[str]] = {}
    for path in partitions.files(project, "raw"):
        for part in tombstones.parts(path, columns):
            for row in asked.intersection(tombstones.texts(contract, part, columns)):
                found.setdefault(row, set()).add(path.parent.name.removeprefix("period="))
    for path in (*_logs(project), *project.root.glob(str(ONLINE_STORE))):
        with _opened(path) as database:
            for table in _tables(database, columns):
                cells = database.execute(f"SELECT DISTINCT {_names(columns)} FROM {table}")
                known = (
                    tuple(map(lambda *c: tombstones.text(contract, *c), columns, row))
                    for row in cells
                )
                found |= {row: found.get(row, set()) for row in asked.intersection(known)}
    return found


def _logs(project: Project) -> list[Path]:
    """The prediction log and the outcomes of this machine."""
    outcomes = project.root / OUTCOMES
    return [*([outcomes] if outcomes.exists() else []), *prediction_logs(project.root)]


def _opened(path: Path) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(path, timeout=30, isolation_level=None))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _tables(database: sqlite3.Connection, columns: Row) -> list[str]:
    """The tables that have these columns, as SQL names them."""
    listed = [
        _names(row)
        for row in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
    ]
    return [
        name
        for name in listed
        if {*columns} <= {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
    ]


def _sweep(project: Project, gone: Tombstones) -> int:
    """Take erased rows out of the prediction log, the outcomes and the online store; returns how many."""
    removed = sum(_wipe(path, gone) for path in _logs(project))
    if (project.root / ONLINE_STORE).exists():
        with whole(project.root / ONLINE_STORE) as copy:  # readers take it for immutable
            shutil.copy(project.root / ONLINE_STORE, copy)
            removed += _wipe(copy, gone)
    return removed


def _wipe(path: Path, gone: Tombstones) -> int:
    """Delete rows so that their bytes are gone: no free page, no journal keeps them."""
    removed = 0
    try:
        with _opened(path) as database:
            database.execute("PRAGMA secure_delete = ON")
            for columns, matches in gone.matchers:
                database.create_function("erased", len(columns), matches)
                for table in _tables(database, columns):
                    removed += database.execute(
                        f"DELETE FROM {table} WHERE erased({_names(columns)})"
                    ).rowcount
            database.execute("VACUUM")
            if database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise sqlite3.OperationalError("another program reads it")
    except sqlite3.DatabaseError as error:
        raise ProjectError(
            f"{path.name} still holds what was erased: {error}.", "Run: uv run mlops erase"
        ) from error
    return removed
