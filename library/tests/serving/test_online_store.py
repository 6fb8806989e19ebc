"""Look-ups online: equal to those of training, never from later, and without what was erased."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from mlgates import Project, lookups
from mlgates.contract import Contract, Lookup
from mlgates.data import tombstones
from mlgates.data.tombstones import Tombstone
from mlgates.layout import ONLINE_STORE
from mlgates.serving import online_store

ADA = "Xq9ZunmistakableAda"


class Asked(BaseModel):
    """What is sent."""

    place: Literal["a", "b", "c", "d"]
    number: int
    moment: datetime


class Found(BaseModel):
    """What is looked up."""

    depth: float | None
    level: int | None
    kind: Literal["x", "y"] | None
    since: datetime | None


class Answered(BaseModel):
    """Not used, but a contract has an outcome."""

    yes: bool


LOOKUP = Lookup(Found, on=["place", "number"], at="moment", time="known", max_age="6h")
CONTRACT = Contract(Asked, Answered, lookups=[LOOKUP], key=["number", "moment"], time="moment")
START = np.datetime64("2025-01-01", "us")
HOUR = np.timedelta64(3_600_000_000, "us")


def known_rows(random: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows to be found, each known on the hour."""
    times = START + random.integers(0, 24 * 60, n) * HOUR
    words = np.array(["x", "y", None], dtype=object)
    return pd.DataFrame(
        {
            "place": random.choice(["a", "b", "c"], n),
            "known": times,
            "number": random.integers(0, 4, n),
            "depth": np.where(random.random(n) < 0.1, np.nan, random.normal(size=n)),
            "level": pd.array(random.integers(0, 9, n), dtype="Int64"),
            "kind": random.choice(words, n),
            "since": times - HOUR,
        }
    )


def asked_rows(random: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows that ask on the hour, and up to 7 microseconds to either side of it."""
    offsets = random.choice([0, 1, -1, 7], n).astype("timedelta64[us]")
    moments = START + random.integers(-24, 25 * 60, n) * HOUR + offsets
    return pd.DataFrame(
        {
            "place": random.choice(list("abcd"), n),
            "number": random.integers(0, 5, n),
            "moment": moments,
        }
    )


def test_online_and_offline_look_ups_are_equal(tmp_path: Path) -> None:
    """Nothing from later is found; the same time is.

    A row exactly as old as `max_age` is found, one that is a microsecond older is not.
    """
    random = np.random.default_rng(0)
    table = known_rows(random, 3_000)
    rows = asked_rows(random, 20_000)
    arrays = CONTRACT.arrays(rows)
    path = tmp_path / "online.db"
    online_store.build(path, CONTRACT, {"found": [table[:1_500], table[1_500:]]})
    store = online_store.Store(path, CONTRACT)
    found, ages = store.find(LOOKUP, arrays)
    expected = CONTRACT.arrays(lookups.join(rows, CONTRACT, {"found": table}))
    for name in CONTRACT.from_source("found"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert np.isnan(ages).any()
    assert (ages == 6 * 3_600).any()
    assert (ages > 6 * 3_600).any()


def test_a_new_store_is_noticed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = known_rows(random, 3_000)
    arrays = CONTRACT.arrays(asked_rows(random, 1_000))
    path = tmp_path / "online.db"
    online_store.build(path, CONTRACT, {"found": [table]})
    store = online_store.Store(path, CONTRACT)
    assert not np.isnan(store.find(LOOKUP, arrays)[1]).all()
    online_store.build(path, CONTRACT, {"found": [table[:0]]})
    assert np.isnan(store.find(LOOKUP, arrays)[1]).all()


def test_an_absent_store_is_empty_and_a_damaged_one_is_not_taken_for_that(tmp_path: Path) -> None:
    arrays = CONTRACT.arrays(asked_rows(np.random.default_rng(0), 10))
    absent = online_store.Store(tmp_path / "absent.db", CONTRACT)
    assert np.isnan(absent.find(LOOKUP, arrays)[0]["depth"]).all()
    (tmp_path / "damaged.db").write_bytes(b"no database " * 99)
    damaged = online_store.Store(tmp_path / "damaged.db", CONTRACT)
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError):
            damaged.find(LOOKUP, arrays)


class Order(BaseModel):
    customer: str
    asked: datetime


class Visits(BaseModel):
    visits: float | None


def test_the_online_store_is_built_without_erased_rows(tmp_path: Path) -> None:
    visits = Lookup(Visits, on="customer", at="asked", time="seen", max_age="9d")
    schema: Any = ModuleType("schema")
    schema.contract = Contract(Order, Answered, lookups=[visits], key=["customer"], time="asked")
    data: Any = ModuleType("data")
    data.lookup = lambda name, period: pd.DataFrame(
        {"customer": [ADA, "bob"], "seen": [pd.Timestamp("2025-01-01")] * 2, "visits": 1.0}
    )
    project = Project(tmp_path, "bakery", {"schema": schema, "data": data})
    hashed = tombstones.hashed((ADA,), "0f")
    stone = Tombstone("2025-01-01", ("customer",), (), "0f", hashed, "")
    (tmp_path / "erased.csv").write_text(tombstones.written([stone]))
    online_store.refresh(project, ["1"])
    with closing(sqlite3.connect(tmp_path / ONLINE_STORE)) as database:
        assert database.execute("SELECT customer FROM visits").fetchall() == [("bob",)]
    assert ADA.encode() not in (tmp_path / ONLINE_STORE).read_bytes()
