"""A closed period is one data version: read once, written whole, changed only by an amendment."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from shop import PERIODS, ROWS, open_shop

from mlgates import Project
from mlgates.data import ROWS as TABLE
from mlgates.data import absent_periods, close_period, partitions, reading, write_manifest
from mlgates.errors import ProjectError
from mlgates.files import read_json


@pytest.fixture
def shop(project: Project, tmp_path: Path) -> Project:
    """A shop with the wiring of the sample."""
    return open_shop(tmp_path, project)


def tables(shop: Project, period: str) -> dict[str, pd.DataFrame]:
    """The tables of a period, as data.py gives them."""
    return {TABLE: shop.data.read(period), "price": shop.data.lookup("price", period)}


def test_a_period_is_absent_until_all_of_its_tables_are_there(shop: Project) -> None:
    assert absent_periods(shop, PERIODS) == [*PERIODS]
    close_period(shop, "2", tables(shop, "2"))
    assert absent_periods(shop, PERIODS) == ["1", "3"]
    (partitions.folder(shop, "raw", "2") / "price.parquet").unlink()
    assert absent_periods(shop, PERIODS) == [*PERIODS]


def test_periods_beyond_the_cycle_are_deleted(shop: Project) -> None:
    for period in PERIODS:
        close_period(shop, period, tables(shop, period))
    assert absent_periods(shop, PERIODS[:2]) == []
    assert not partitions.folder(shop, "raw", "3").exists()


def test_the_manifest_says_what_each_period_holds(shop: Project) -> None:
    for period in PERIODS:
        close_period(shop, period, tables(shop, period))
    write_manifest(shop, PERIODS[:2])
    manifest = read_json(shop.root / "reports/manifest.json")
    assert list(manifest) == ["1", "2"]
    for name, frame in tables(shop, "2").items():
        assert manifest["2"][name] == {"rows": len(frame), "sha256": partitions.content_hash(frame)}
    assert manifest["1"][TABLE]["rows"] == ROWS


def test_a_manifest_that_was_lost_is_written_again_from_the_data(shop: Project) -> None:
    for period in PERIODS:
        close_period(shop, period, tables(shop, period))
    write_manifest(shop, PERIODS)
    path = shop.root / "reports/manifest.json"
    before = path.read_bytes()
    path.unlink()
    write_manifest(shop, PERIODS)
    assert path.read_bytes() == before


def test_rows_in_another_order_are_the_same_period(shop: Project) -> None:
    close_period(shop, "1", tables(shop, "1"))
    shuffled = {
        name: frame.sample(frac=1, random_state=0) for name, frame in tables(shop, "1").items()
    }
    close_period(shop, "1", shuffled)


def test_a_closed_period_with_other_rows_is_refused_and_left_as_it_was(shop: Project) -> None:
    close_period(shop, "1", tables(shop, "1"))
    before = read_json(shop.root / "reports/manifest.json")
    changed = tables(shop, "1")
    changed[TABLE] = changed[TABLE].iloc[1:]
    message = (
        r"data\.manifest: 1 is closed, but its table rows has changed\. It had 600 rows, and is now"
        r" read as 599 rows\.\n.*uv run mlops close --amend 1"
    )
    with pytest.raises(ProjectError, match=message):
        close_period(shop, "1", changed)
    assert read_json(shop.root / "reports/manifest.json") == before
    assert len(partitions.read(shop, "raw", "1")) == ROWS


def test_what_is_no_table_is_refused_and_nothing_is_half_written(shop: Project) -> None:
    tables_with_a_list: Any = {TABLE: shop.data.read("1"), "price": []}
    message = r"data\.py gave list for price of 1; a DataFrame is needed"
    with pytest.raises(ProjectError, match=message):
        close_period(shop, "1", tables_with_a_list)
    assert list((shop.root / "data/raw").iterdir()) == []
    assert not (shop.root / "reports/manifest.json").exists()


def test_an_error_of_data_py_names_its_period(shop: Project) -> None:
    message = r"data\.py could not give period 2: ZeroDivisionError: division by zero"
    with pytest.raises(ProjectError, match=message), reading("2"):
        1 / 0  # noqa: B018
    with pytest.raises(ProjectError, match=r"^ask the warehouse's owner$"), reading("2"):
        raise ProjectError("ask the warehouse's owner")


def test_a_broken_source_stops_ingest_with_the_period(shop: Project) -> None:
    del shop.data.rows["2"]
    shop.data.periods = lambda: [*PERIODS]
    with pytest.raises(ProjectError, match=r"data\.py could not give period 2: KeyError"):
        shop.stage("ingest").main(shop)
    assert partitions.folder(shop, "raw", "1").exists()
    assert not partitions.folder(shop, "raw", "2").exists()
