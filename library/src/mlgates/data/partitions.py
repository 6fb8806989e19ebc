"""Periods on disk: `data/raw/period=2013-04/rows.parquet`, one file per table.

Also which of them a cycle uses.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Contract
from mlgates.errors import ProjectError, nearest
from mlgates.files import read_json
from mlgates.layout import DATA
from mlgates.project import Project

if TYPE_CHECKING:
    import pandas as pd

ROWS = "rows"


def folder(project: Project, step: str, period: str) -> Path:
    """`data/<step>/period=<period>`; step is raw or checked."""
    return project.root / DATA / step / f"period={period}"


def files(project: Project, step: str, table: str = "*") -> list[Path]:
    """The files of a table, by default of all tables, in the order of the periods."""
    return sorted((project.root / DATA / step).glob(f"period=*/{table}.parquet"))


def table_names(contract: Contract) -> list[str]:
    """The tables of a period: the rows and the look-ups."""
    lookups = [look.name for look in contract.lookups]
    return [ROWS, *lookups]


def period_names(data: ModuleType) -> list[str]:
    """The team's periods, oldest first. Raises: ProjectError if `periods()` of data.py fails."""
    message = "periods() of data.py failed"
    with calling_data_py(message):
        return [str(period) for period in data.periods()]


@contextmanager
def calling_data_py(message: str) -> Iterator[None]:
    """The context in which data.py is called.

    Raises: ProjectError with the message and the reason if data.py fails. An error that data.py
    raises as a ProjectError stays as it is.
    """
    try:
        yield
    except ProjectError:
        raise
    except Exception as error:
        raise ProjectError(f"{message}: {type(error).__name__}: {error}") from error


def periods_until(data: ModuleType, until: str | None) -> list[str]:
    """The periods of data.py up to and with `until`, oldest first.

    Raises: ProjectError if no period is closed yet or data.py does not know it.
    """
    known = period_names(data)
    if until is None:
        raise ProjectError("No period is closed yet.", "Run: uv run mlops close")
    if until not in known:
        message = f"cycle.yaml names the period {until!r}, which data.py does not have."
        raise ProjectError(message, nearest(until, known))
    return known[: known.index(until) + 1]


def closed_periods(project: Project) -> list[str]:
    """All closed periods of the project's cycle, oldest first; see `closed`."""
    return periods_until(project.data, project.cycle()["until"])


def training_and_evaluation_periods(
    periods: Sequence[str], train: int, contract: Contract
) -> tuple[list[str], list[str]]:
    """The periods to train on, `train` of them, and those to evaluate on.

    Without a time in the contract, both are the same newest periods, whose rows are split by key.

    Raises: ProjectError if too few periods are closed.
    """
    if not contract.time:
        newest = list(periods[-train - 1 :])
        return newest, newest

    if len(periods) < 2:
        message = "Two closed periods are needed: one to train on, one to evaluate."
        raise ProjectError(message, "Run: uv run mlops close")
    return list(periods[-train - 1 : -1]), list(periods[-1:])


def read(project: Project, step: str, period: str, table: str = ROWS) -> "pd.DataFrame":
    """One table of one period. Raises: ProjectError if it is absent."""
    import pandas as pd

    path = folder(project, step, period) / f"{table}.parquet"
    if not path.exists():
        message = f"{path.relative_to(project.root)} is missing."
        raise ProjectError(message, "Run: uv run dvc repro (or uv run dvc pull)")
    return pd.read_parquet(path)


def kept_row_counts(project: Project, periods: Sequence[str]) -> list[int]:
    """How many rows of each period validate let through."""
    counts = []
    for period in periods:
        report = read_json(folder(project, "checked", period) / "report.json")
        counts.append(int(report["facts"][ROWS]["kept"]))
    return counts


def row_count(path: Path) -> int:
    """How many rows a Parquet file has, without reading them."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def write(frame: "pd.DataFrame", path: Path) -> None:
    """A frame as Parquet, without its index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)


def content_hash(frame: "pd.DataFrame") -> str:
    """SHA-256 of a table's values.

    It is the same in any order of rows and columns, and for any way to store them.
    """
    names = sorted(map(str, frame.columns))
    head = "\0".join(names).encode()
    rows = np.sort(key_hashes(frame, names)).tobytes()
    return hashlib.sha256(head + rows).hexdigest()


def key_hashes(frame: "pd.DataFrame", names: Sequence[str]) -> np.ndarray:
    """(n,) uint64: a hash of each row's values in some columns."""
    import pandas as pd

    if not names:
        return np.array([], dtype=np.uint64)
    # A time has the same hash however fine the resolution is in which it is stored.
    times = {name: "datetime64[us]" for name in names if frame[name].dtype.kind == "M"}
    values = frame[list(names)].astype(times)
    return pd.util.hash_pandas_object(values, index=False).to_numpy()


def thin(rows: "pd.DataFrame", max_rows: int) -> "pd.DataFrame":
    """At most `max_rows` rows in their order, the same ones every time."""
    if len(rows) > max_rows:
        rows = rows.sample(max_rows, random_state=0).sort_index()
    return rows.reset_index(drop=True)


def drop_others(project: Project, step: str, keep: Sequence[str]) -> None:
    """Delete the folders of periods that are not in the cycle.

    DVC does not: it leaves in a persisted output whatever was once in it.
    """
    wanted = {folder(project, step, period).name for period in keep}
    for path in (project.root / DATA / step).glob("period=*"):
        if path.name not in wanted:
            shutil.rmtree(path)


def key_share(rows: "pd.DataFrame", contract: Contract) -> "pd.Series":
    """A fixed number in [0, 1) for each row, from its key: a split by it never moves a row.

    Without a key, it comes from the whole request. A request of a few words has many equal rows,
    which must not all get the same number, so they are counted through.
    """
    import pandas as pd

    names = list(contract.key)
    if not names:
        request = list(contract.request_columns)
        equal_rows = rows.groupby(request, dropna=False, observed=True)
        rows = rows.assign(__equal=equal_rows.cumcount())
        names = [*request, "__equal"]
    hashes = pd.util.hash_pandas_object(rows[names], index=False)  # 64 bits
    return hashes.reset_index(drop=True) / 2.0**64
