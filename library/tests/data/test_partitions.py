"""Periods on disk: a row stays in its part of a split, and a small table can be drawn again."""

from typing import Literal

import pandas as pd
from pydantic import BaseModel

from mlgates.contract import Contract
from mlgates.data.partitions import key_share
from mlgates.faults.rows import enlarged


class Colour(BaseModel):
    number: int
    colour: Literal["red", "green"]


class Liked(BaseModel):
    liked: bool


def test_without_a_key_equal_rows_are_spread_over_the_parts() -> None:
    rows = pd.DataFrame({"number": 1, "colour": ["red", "green"] * 500, "liked": True})
    share = key_share(rows, Contract(Colour, Liked))
    assert 0.2 < (share < 0.25).mean() < 0.3
    assert share.equals(key_share(rows, Contract(Colour, Liked)))


def test_a_small_table_is_drawn_again_and_no_key_comes_twice() -> None:
    rows = pd.DataFrame({"number": range(1, 11), "colour": "red", "liked": [True, False] * 5})
    many = enlarged(rows, Contract(Colour, Liked, key=["number"]), 1_000)
    assert len(many) == many["number"].nunique() == 1_000 and many["liked"].nunique() == 2
    assert enlarged(rows, Contract(Colour, Liked), 5) is rows
