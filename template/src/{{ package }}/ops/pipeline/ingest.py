"""ingest: write each closed period once. A closed period is one data version and does not change by itself."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import tombstones
from ..contract import Contract
from ..project import ProjectError, command_line, cycle, find_root, read_json, whole, write_json, yours
from . import periods as on_disk

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = Path("reports/manifest.json")


def ingest(root: Path, data: ModuleType, contract: Contract, periods: Sequence[str]) -> list[str]:
    """Read the absent periods from data.py into data/raw, drop the ones beyond the cycle; returns the new ones.

    What was erased is left out of all of them. What a period holds is written to the manifest when it is first read.

    Raises: ProjectError if data.py fails, with period and reason; `data.manifest` if a closed period is read again and
    its rows are not those of the manifest.
    """
    manifest = read_json(root / MANIFEST) if (root / MANIFEST).exists() else {}
    on_disk.drop_others(root, "raw", periods)
    erased = tombstones.read(root, contract)
    names, folders = on_disk.tables(contract), {period: on_disk.folder(root, "raw", period) for period in periods}
    new = [period for period in periods if not all((folders[period] / f"{name}.parquet").exists() for name in names)]
    for period in new:
        try:
            _close(root, data, erased, period, manifest)
        except ProjectError:
            raise
        except Exception as error:
            raise ProjectError(f"data.py could not give period {period}: {type(error).__name__}: {error}") from error
    for period in periods:
        if _forget(folders[period], erased) or period not in manifest:
            manifest[period] = {name: _held(on_disk.read(root, "raw", period, name)) for name in names}
    write_json(root / MANIFEST, {period: manifest[period] for period in periods})
    return new


def _held(frame: "pd.DataFrame") -> dict[str, Any]:
    return {"rows": len(frame), "sha256": on_disk.content(frame)}


def _forget(folder: Path, erased: tombstones.Tombstones) -> bool:
    """Write a period again without its erased rows, if it holds any."""
    import pandas as pd

    paths = sorted(folder.glob("*.parquet"))
    if found := any(erased.hold(path) for path in paths):
        with whole(folder) as fresh:
            for path in paths:
                on_disk.write(erased.without(pd.read_parquet(path)), fresh / path.name)
    return found


def _close(root: Path, data: ModuleType, erased: tombstones.Tombstones, period: str, manifest: dict[str, Any]) -> None:
    contract = erased.contract
    tables = {look.name: data.lookup(look.name, period) for look in contract.lookups}
    tables[on_disk.ROWS] = data.read(period)
    held = {}
    with whole(on_disk.folder(root, "raw", period)) as folder:
        for name, frame in tables.items():
            if not hasattr(frame, "to_parquet"):
                given = type(frame).__name__
                raise ProjectError(f"data.py gave {given} for {name} of {period}; a DataFrame is needed.")
            named = erased.without(contract.named(frame))
            on_disk.write(named, folder / f"{name}.parquet")
            held[name] = _held(named)
        closed = manifest.get(period, {})
        if other := [name for name in closed if held.get(name, closed[name]) != closed[name]]:
            told = f"{other[0]} is now read as {held[other[0]]['rows']:,} rows that are not those it was closed with"
            remedy = f"Take those: uv run dvc pull ingest; or amend the period: uv run mlops close --amend {period}"
            raise ProjectError(f"data.manifest: {period} is closed, but {told}.", remedy)
    manifest[period] = held
    write_json(root / MANIFEST, manifest)


def main() -> int:
    """Run the stage."""
    root, team = find_root(), yours()
    periods = on_disk.closed(team.data, cycle(root)["until"])
    new = ingest(root, team.data, team.contract, periods)
    print(f"ingest: {len(periods)} periods until {periods[-1]}, {len(new)} new")
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
