"""A tombstone finds its rows however a value is spelled where it is found."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from clones import refusal
from mlgates import Project
from mlgates.contract import Contract
from mlgates.data import tombstones
from mlgates.data.tombstones import Tombstone


class Request(BaseModel):
    customer: str
    order: int
    asked: datetime


class Outcome(BaseModel):
    late: bool


CONTRACT = Contract(Request, Outcome, key=["customer", "order"], time="asked")
COLUMNS = ["customer", "order", "asked"]


def test_a_value_is_spelled_the_same_wherever_it_comes_from(tmp_path: Path) -> None:
    moment = datetime(2025, 1, 1, 5, 15)
    frame = pd.DataFrame({"customer": ["a", None], "order": [7, 8], "asked": [moment, pd.NaT]})
    frame.to_parquet(tmp_path / "rows.parquet")
    (part,) = tombstones.parts(tmp_path / "rows.parquet", COLUMNS)
    spelled = [("a", "7.0", "2025-01-01T05:15:00"), ("", "8.0", "")]
    assert tombstones.texts(CONTRACT, frame, COLUMNS) == spelled
    assert tombstones.texts(CONTRACT, part, COLUMNS) == spelled
    typed = {"customer": "a", "order": "7", "asked": "2025-01-01 05:15"}
    assert tuple(tombstones.text(CONTRACT, *cell) for cell in typed.items()) == spelled[0]


def test_what_is_written_is_read_back_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    stone = Tombstone("2025-01-01", ("customer", "asked"), ("1", "2"), "0f", "hash", 'why, "why"')
    assert tombstones.parsed(tombstones.written([stone])) == (stone,)
    (tmp_path / "erased.csv").write_text("half a li")
    project = Project(tmp_path, "bakery")
    assert "erased.csv is damaged" in refusal(tombstones.read, project, CONTRACT)
