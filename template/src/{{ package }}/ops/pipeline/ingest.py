"""ingest: write each closed period once. A closed period is one data version and does not change by itself."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .. import tombstones
from ..contract import Contract
from ..project import ProjectError, command_line, cycle, find_root, whole, yours
from . import periods as on_disk


def ingest(root: Path, data: ModuleType, contract: Contract, periods: Sequence[str]) -> list[str]:
    """Read the absent periods from data.py into data/raw, drop the ones beyond the cycle; returns the new ones.

    What was erased is left out of all of them. Raises: ProjectError if data.py fails, with period and reason.
    """
    on_disk.drop_others(root, "raw", periods)
    erased = tombstones.read(root, contract)
    for period in periods:
        _amend(on_disk.folder(root, "raw", period), erased)
    new = [period for period in periods if not on_disk.folder(root, "raw", period).exists()]
    for period in new:
        with whole(on_disk.folder(root, "raw", period)) as folder:
            _fetch(data, erased, period, folder)
    return new


def _amend(folder: Path, erased: tombstones.Tombstones) -> None:
    import pandas as pd

    paths = sorted(folder.glob("*.parquet"))
    if any(erased.hold(path) for path in paths):
        with whole(folder) as fresh:
            for path in paths:
                on_disk.write(erased.without(pd.read_parquet(path)), fresh / path.name)


def _fetch(data: ModuleType, erased: tombstones.Tombstones, period: str, folder: Path) -> None:
    contract = erased.contract
    try:
        tables = {look.name: data.lookup(look.name, period) for look in contract.lookups}
        tables[on_disk.ROWS] = data.read(period)
        for name, frame in tables.items():
            if not hasattr(frame, "to_parquet"):
                raise ProjectError(
                    f"data.py gave {type(frame).__name__} for {name} of {period}; a DataFrame is needed."
                )
            on_disk.write(erased.without(contract.named(frame)), folder / f"{name}.parquet")
    except ProjectError:
        raise
    except Exception as error:
        raise ProjectError(f"data.py could not give period {period}: {type(error).__name__}: {error}") from error


def main() -> int:
    """Run the stage."""
    root, team = find_root(), yours()
    periods = on_disk.closed(team.data, cycle(root)["until"])
    new = ingest(root, team.data, team.contract, periods)
    print(f"ingest: {len(periods)} periods until {periods[-1]}, {len(new)} new")
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
