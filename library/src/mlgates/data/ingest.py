"""Closed periods: each is read from data.py once, is one data version, and does not change by itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgates.data import partitions, tombstones
from mlgates.errors import ProjectError
from mlgates.files import read_json, whole, write_json
from mlgates.layout import MANIFEST
from mlgates.project import Project

if TYPE_CHECKING:
    import pandas as pd


def absent_periods(project: Project, periods: Sequence[str]) -> list[str]:
    """The periods that are not in data/raw yet; folders of periods beyond the cycle are deleted."""
    partitions.drop_others(project, "raw", periods)
    absent = []
    for period in periods:
        folder = partitions.folder(project, "raw", period)
        tables = [folder / f"{name}.parquet" for name in partitions.tables(project.contract)]
        if not all(table.exists() for table in tables):
            absent.append(period)
    return absent


@contextmanager
def reading(period: str) -> Iterator[None]:
    """While data.py reads a period. Raises: ProjectError with the period and the reason if it fails."""
    try:
        yield
    except ProjectError:
        raise
    except Exception as error:
        raise ProjectError(
            f"data.py could not give period {period}: {type(error).__name__}: {error}"
        ) from error


def close_period(project: Project, period: str, tables: Mapping[str, "pd.DataFrame"]) -> None:
    """Write the tables of a period to data/raw, without what was erased, and what they hold to the manifest.

    Raises: ProjectError if a table is no DataFrame; `data.manifest` if the period was closed before with other rows.
    """
    manifest = _manifest(project)
    erased = tombstones.read(project, project.contract)
    held = {}
    with whole(partitions.folder(project, "raw", period)) as folder:
        for name, frame in tables.items():
            if not hasattr(frame, "to_parquet"):
                given = type(frame).__name__
                raise ProjectError(
                    f"data.py gave {given} for {name} of {period}; a DataFrame is needed."
                )
            named = erased.without(project.contract.named(frame))
            partitions.write(named, folder / f"{name}.parquet")
            held[name] = _held(named)
        closed = manifest.get(period, {})
        if other := [name for name in closed if held.get(name, closed[name]) != closed[name]]:
            told = f"{other[0]} is now read as {held[other[0]]['rows']:,} rows that are not those it was closed with"
            remedy = f"Take those: uv run dvc pull ingest; or amend the period: uv run mlops close --amend {period}"
            raise ProjectError(f"data.manifest: {period} is closed, but {told}.", remedy)
    write_json(project.root / MANIFEST, manifest | {period: held})


def write_manifest(project: Project, periods: Sequence[str]) -> None:
    """Write what each of the periods holds, after rows that were erased since are taken out of them."""
    manifest = _manifest(project)
    erased = tombstones.read(project, project.contract)
    for period in periods:
        changed = _forget(partitions.folder(project, "raw", period), erased)
        if changed or period not in manifest:
            manifest[period] = {
                name: _held(partitions.read(project, "raw", period, name))
                for name in partitions.tables(project.contract)
            }
    write_json(project.root / MANIFEST, {period: manifest[period] for period in periods})


def _manifest(project: Project) -> dict[str, Any]:
    path = project.root / MANIFEST
    return read_json(path) if path.exists() else {}


def _held(frame: "pd.DataFrame") -> dict[str, Any]:
    return {"rows": len(frame), "sha256": partitions.content(frame)}


def _forget(folder: Path, erased: tombstones.Tombstones) -> bool:
    """Write a period again without its erased rows; returns whether it held any."""
    import pandas as pd

    paths = sorted(folder.glob("*.parquet"))
    found = any(erased.hold(path) for path in paths)
    if found:
        with whole(folder) as fresh:
            for path in paths:
                partitions.write(erased.without(pd.read_parquet(path)), fresh / path.name)
    return found
