"""What every row of a table says."""

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from mlgates.draft.profile import profile
from mlgates.draft.source import Source


def source_of(table: pd.DataFrame, folder: Path) -> Source:
    """A table in a Parquet file, as `mlops draft` reads it."""
    path = folder / "table.parquet"
    table.to_parquet(path)
    database = duckdb.connect()
    database.execute(f"CREATE VIEW source AS FROM read_parquet('{path}')")
    described = database.execute("DESCRIBE source").fetchall()
    columns = {name: (name, duckdb_type) for name, duckdb_type, *_ in described}
    return Source("table.parquet", "", "", columns, database, "", [])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_with_a_zone_are_read_as_utc_in_every_unit(unit: str, tmp_path: Path) -> None:
    local = pd.Series(pd.date_range("2024-01-01", periods=30, tz="Europe/Berlin", unit=unit))
    table = profile(source_of(pd.DataFrame({"at": local}), tmp_path), ["at"])
    assert table.columns["at"].kind == "datetime"
    assert table.columns["at"].low == pd.Timestamp("2023-12-31 23:00").to_pydatetime()
    assert table.sample["at"].tolist() == local.dt.tz_convert("UTC").dt.tz_localize(None).tolist()


def test_a_type_that_a_request_cannot_have_is_named(tmp_path: Path) -> None:
    rows = pd.DataFrame({"tags": [["a", "b"]] * 30, "n": range(30)})
    table = profile(source_of(rows, tmp_path), ["n"])
    assert table.columns["tags"].kind == "other"
    assert table.columns["tags"].notes == ["varchar[]: a request cannot have this type"]
    assert list(table.sample) == ["n"]


@pytest.mark.parametrize("values", [[1.5, 2.5], [pd.Timestamp("2024-01-01")]])
def test_a_list_of_numbers_or_times_is_no_number_and_no_time(
    values: list[Any], tmp_path: Path
) -> None:
    rows = pd.DataFrame({"values": [values] * 30, "n": range(30)})
    table = profile(source_of(rows, tmp_path), ["n"])
    assert table.columns["values"].kind == "other"
