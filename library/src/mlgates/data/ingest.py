"""Closed periods: each is read from data.py once, is one data version, and stays as it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgates.data import partitions, tombstones
from mlgates.errors import ProjectError
from mlgates.files import atomic, read_json, write_json
from mlgates.layout import MANIFEST
from mlgates.project import Project

if TYPE_CHECKING:
    import pandas as pd


def absent_periods(project: Project, periods: Sequence[str]) -> list[str]:
    """The periods that are not in data/raw yet.

    Folders of periods beyond the cycle are deleted.
    """
    partitions.drop_others(project, "raw", periods)
    needed = set(partitions.table_names(project.contract))
    absent = []
    for period in periods:
        paths = partitions.folder(project, "raw", period).glob("*.parquet")
        if needed - {path.stem for path in paths}:
            absent.append(period)
    return absent


@contextmanager
def reading(period: str) -> Iterator[None]:
    """The context in which data.py is called: an error in it names the period.

    Raises: ProjectError with the period and the reason if data.py fails.
    """
    message = f"data.py could not give period {period}"
    with partitions.calling_data_py(message):
        yield


def close_period(project: Project, period: str, tables: Mapping[str, "pd.DataFrame"]) -> None:
    """Write the tables of a period to data/raw, without what was erased.

    What they hold is written to the manifest.

    Raises: ProjectError if a table is no DataFrame; `data.manifest` if the period was closed before
    with other rows.
    """
    manifest = _manifest(project)
    erased = tombstones.read(project, project.contract)
    entries = {}
    with atomic(partitions.folder(project, "raw", period)) as folder:
        for name, frame in tables.items():
            if not hasattr(frame, "to_parquet"):
                raise ProjectError(
                    f"data.py gave {type(frame).__name__} for {name} of {period};"
                    " a DataFrame is needed."
                )
            kept = erased.without(project.contract.with_contract_names(frame))
            partitions.write(kept, folder / f"{name}.parquet")
            entries[name] = _entry(kept)
        # Inside of the block: a period that is refused leaves the folder as it was.
        _check_unchanged(period, manifest.get(period, {}), entries)
    write_json(project.root / MANIFEST, manifest | {period: entries})


def _check_unchanged(period: str, closed: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
    """Raises: ProjectError if a table differs from the one that the period was closed with."""
    for name, closed_entry in closed.items():
        entry = entries.get(name, closed_entry)
        if entry != closed_entry:
            raise ProjectError(
                f"data.manifest: {period} is closed, but its table {name} has changed."
                f" It had {closed_entry['rows']:,} rows, and is now read as"
                f" {entry['rows']:,} rows.",
                "To keep the closed rows: uv run dvc pull ingest."
                f" To read the period again: uv run mlops close --amend {period}",
            )


def write_manifest(project: Project, periods: Sequence[str]) -> None:
    """Write what each of the periods holds.

    Rows that were erased since are taken out of the periods first.
    """
    known = _manifest(project)
    erased = tombstones.read(project, project.contract)
    manifest = {}
    for period in periods:
        is_changed = _take_out(partitions.folder(project, "raw", period), erased)
        if is_changed or period not in known:
            known[period] = _entries(project, period)
        manifest[period] = known[period]
    write_json(project.root / MANIFEST, manifest)


def _entries(project: Project, period: str) -> dict[str, Any]:
    """What the manifest says of all tables of a period."""
    entries = {}
    for name in partitions.table_names(project.contract):
        entries[name] = _entry(partitions.read(project, "raw", period, name))
    return entries


def _manifest(project: Project) -> dict[str, Any]:
    path = project.root / MANIFEST
    if not path.exists():
        return {}
    return read_json(path)


def _entry(frame: "pd.DataFrame") -> dict[str, Any]:
    """What the manifest says of a table."""
    return {"rows": len(frame), "sha256": partitions.content_hash(frame)}


def _take_out(folder: Path, erased: tombstones.Tombstones) -> bool:
    """Write a period again without its erased rows; returns whether there were any."""
    import pandas as pd

    paths = sorted(folder.glob("*.parquet"))
    if not any(map(erased.has_erased_rows, paths)):
        return False
    with atomic(folder) as new_folder:
        for path in paths:
            kept = erased.without(pd.read_parquet(path))
            partitions.write(kept, new_folder / path.name)
    return True
