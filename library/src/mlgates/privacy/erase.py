"""`mlops erase`: somebody asks to be forgotten.

Tombstones are written first: the pipeline depends on them, so its next run leaves those rows out.
"""

import csv
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path

import numpy as np

from mlgates.contract import Contract
from mlgates.data import partitions, tombstones
from mlgates.data.tombstones import Row, Tombstone, Tombstones
from mlgates.errors import ProjectError, nearest
from mlgates.files import write_text
from mlgates.layout import ERASED, RAW, STATE
from mlgates.privacy import databases
from mlgates.privacy.purge import purge, releases_with_erased_rows
from mlgates.project import Project
from mlgates.registry.dvc_storage import exclusively
from mlgates.registry.git import first_names


def erase(
    project: Project,
    ids: Sequence[str],
    file: Path | None = None,
    column: str | None = None,
    reason: str = "",
    *,
    purges: bool = False,
) -> str:
    """Write tombstones for the rows of some ids, and delete these rows from this machine's files.

    An id is the contract's key (several columns: with commas, as in CSV) or a value of one request
    column. The files are the prediction log, the recorded labels and the online store. Without any
    id, what was erased anywhere is deleted from them. With `purges`, old versions go as well.
    Returns what was done, for the user.
    Raises: ProjectError if no id is found (nothing is written then), or with what has to be done
    before a purge.
    """
    contract = project.contract
    lines = []
    with exclusively(project, "erase"):
        if ids or file:
            lines += _write_tombstones(project, column, ids, file, reason)
        erased_rows = tombstones.read(project, contract)
        if not erased_rows.entries:
            raise ProjectError("Nothing was ever erased here.", "Name an id: uv run mlops erase ID")

        n_deleted = databases.sweep(project, erased_rows)
        places = "the logs and the online store of this machine"
        lines.append(f"{n_deleted:,} rows taken out of {places}.")
        if purges:
            lines.append(purge(project, erased_rows))
            return "\n".join(lines)
        for release, evidence in releases_with_erased_rows(project, erased_rows).items():
            lines.append(f"{release.tag} was trained on erased rows ({evidence}). Retrain it.")
    lines.append(f"Commit {ERASED}. Then see what waits: uv run mlops status")
    return "\n".join(lines)


def _write_tombstones(
    project: Project,
    column: str | None,
    ids: Sequence[str],
    file: Path | None,
    reason: str,
) -> list[str]:
    """Write the tombstones of all ids that are found; returns what was done, for the user."""
    contract = project.contract
    columns = _id_columns(contract, column)
    rows = _requested(project, columns, ids, file)

    periods_of = _find(project, columns, set(rows))
    erased_rows = tombstones.read(project, contract)
    is_found = np.array([row in periods_of for row in rows], dtype=bool)
    is_erased = _has_tombstone(erased_rows, columns, rows)
    is_known = is_found | is_erased
    if not is_known.any():
        places = "neither in data/raw nor in the logs of this machine"
        raise ProjectError(
            f"Nothing was found for {', '.join(columns)} = {_some(rows)}, {places}. "
            "Nothing was written."
        )

    entries = list(erased_rows.entries)
    salt = _salt(erased_rows)
    for row in compress(rows, is_found & ~is_erased):
        entries.append(_tombstone(columns, row, periods_of[row], salt, reason))
    write_text(project.root / ERASED, tombstones.written(entries))

    n_new = len(entries) - len(erased_rows.entries)
    n_already = is_erased.sum()
    lines = [f"{n_new:,} tombstones written to {ERASED}, {n_already:,} were there already."]
    if not is_known.all():
        unknown = list(compress(rows, ~is_known))
        lines.append(f"Not found: {_some(unknown)}.")
    return lines


def _some(rows: list[Row]) -> str:
    """The first ids, as they are given on the command line."""
    return first_names(list(map(",".join, rows)))


def _id_columns(contract: Contract, column: str | None) -> Row:
    """The columns whose values are an id: the one that was named, else the contract's key."""
    if column is None:
        if not contract.key:
            raise ProjectError(
                "The contract names no key to find rows by.",
                "Name a column: --column NAME",
                code=2,
            )
        return tuple(contract.key)

    names = {}
    for name, request_column in contract.request_columns.items():
        names[name] = name
        names[request_column.label] = name
    if column not in names:
        raise ProjectError(
            f"The request has no column {column!r}.",
            nearest(column, names),
            code=2,
        )
    return (names[column],)


def _requested(
    project: Project,
    columns: Row,
    ids: Sequence[str],
    file: Path | None,
) -> list[Row]:
    """The ids of the command line and of the user's file: each once, in their order."""
    rows = [_parsed_id(project.contract, columns, text) for text in ids]
    if file is not None:
        rows += _ids_in_file(project, columns, file)
    return list(dict.fromkeys(rows))


def _parsed_id(contract: Contract, columns: Row, text: str) -> Row:
    """The values of an id that was given on the command line."""
    values = [text]
    if len(columns) > 1:
        values = next(csv.reader([text]), [])
    if len(values) != len(columns) or not all(values):
        raise ProjectError(
            f"{text!r} does not give one value for each of: {', '.join(columns)}.",
            "Separate by commas, as in CSV; or name one column: --column NAME",
            code=2,
        )
    return databases.comparable(contract, columns, values)


def _ids_in_file(project: Project, columns: Row, file: Path) -> list[Row]:
    """The ids that a file of the user's lists."""
    path = file.resolve()
    if path.is_relative_to(project.root) and not path.is_relative_to(project.root / STATE):
        raise ProjectError(
            f"{file.name} lies where git would keep it.",
            "Move it out of the project, or to var/.",
        )
    frame = project.contract.read_table(file, columns)
    rows = tombstones.texts(project.contract, frame, columns)
    n_complete = sum(map(all, rows))
    n_incomplete = len(rows) - n_complete
    if n_incomplete:
        raise ProjectError(
            f"{file.name}: {n_incomplete:,} of {len(rows):,} lines lack an id. Nothing was written."
        )
    return rows


def _find(project: Project, columns: Row, wanted: set[Row]) -> dict[Row, set[str]]:
    """The ids that stand in data/raw, with their periods, or in the files of this machine."""
    contract = project.contract
    is_first_cycle = project.cycle()["until"] is None
    if not is_first_cycle and not (project.root / RAW).exists():
        raise ProjectError(
            "data/raw is not on this machine.",
            "Run: uv run dvc pull, or uv run dvc repro",
        )

    in_logs = databases.find(project, contract, columns, wanted)
    periods_of: dict[Row, set[str]] = {row: set() for row in in_logs}
    for path in partitions.files(project, "raw"):
        period = path.parent.name.removeprefix("period=")
        for part in tombstones.parts(path, columns):
            for row in wanted.intersection(tombstones.texts(contract, part, columns)):
                periods_of.setdefault(row, set()).add(period)
    return periods_of


def _has_tombstone(erased_rows: Tombstones, columns: Row, rows: list[Row]) -> np.ndarray:
    """(n,) bool: whether there is a tombstone with these very columns for a row."""
    import pandas as pd

    entries = tuple(entry for entry in erased_rows.entries if entry.columns == columns)
    tombstones_of_columns = replace(erased_rows, entries=entries)
    return tombstones_of_columns.is_erased(pd.DataFrame(rows, columns=list(columns)))


def _salt(erased_rows: Tombstones) -> str:
    """One salt for all tombstones, so that a row that is looked up has to be hashed only once."""
    if erased_rows.entries:
        return erased_rows.entries[-1].salt
    return secrets.token_hex(16)


def _tombstone(columns: Row, row: Row, periods: set[str], salt: str, reason: str) -> Tombstone:
    return Tombstone(
        on=datetime.now(UTC).date().isoformat(),
        columns=columns,
        periods=tuple(sorted(periods)),
        salt=salt,
        hash=tombstones.hashed(row, salt),
        why=" ".join(reason.split()),  # a line of the file
    )
