"""ingest: write each closed period once. A closed period is one data version and does not change by itself."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ..contract import Contract
from ..project import ProjectError, command_line, cycle, find_root, whole, yours
from . import periods as on_disk


def ingest(root: Path, data: ModuleType, contract: Contract, periods: Sequence[str]) -> list[str]:
    """Read the absent periods from data.py into data/raw, drop the ones beyond the cycle; returns the new ones.

    Raises: ProjectError if data.py fails, with period and reason.
    """
    on_disk.drop_others(root, "raw", periods)
    new = [period for period in periods if not on_disk.folder(root, "raw", period).exists()]
    for period in new:
        with whole(on_disk.folder(root, "raw", period)) as folder:
            _fetch(data, contract, period, folder)
    return new


def _fetch(data: ModuleType, contract: Contract, period: str, folder: Path) -> None:
    try:
        tables = {look.name: data.lookup(look.name, period) for look in contract.lookups}
        tables[on_disk.ROWS] = data.read(period)
        for name, frame in tables.items():
            if not hasattr(frame, "to_parquet"):
                raise ProjectError(
                    f"data.py gave {type(frame).__name__} for {name} of {period}; a DataFrame is needed."
                )
            on_disk.write(contract.named(frame), folder / f"{name}.parquet")
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
