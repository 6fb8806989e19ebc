"""The arrays of a contract have one type for each kind, wherever their values come from."""

import enum

import numpy as np
import pandas as pd

from mlgates.contract import Column, is_missing, to_array

NUMBER = Column(kind="float", name="amount", source="request")
WORD = Column(kind="category", name="shop", source="request")
MOMENT = Column(kind="datetime", name="at", source="request")


class Shop(enum.Enum):
    A = "a"


def test_bools_and_missing_numbers_are_floats() -> None:
    array = to_array(NUMBER, [True, None, 3])
    np.testing.assert_array_equal(array, [1.0, np.nan, 3.0])
    assert array.dtype == np.float64


def test_words_are_strings_or_none() -> None:
    assert to_array(WORD, [Shop.A, None, np.nan, "b"]).tolist() == ["a", None, None, "b"]
    assert to_array(WORD, pd.Series(["a", None, "b"])).tolist() == ["a", None, "b"]


def test_missing_values_of_each_kind_are_found() -> None:
    assert is_missing(to_array(NUMBER, [1.0, None])).tolist() == [False, True]
    assert is_missing(to_array(WORD, ["a", None])).tolist() == [False, True]
    assert is_missing(to_array(MOMENT, ["2026-01-01", None])).tolist() == [False, True]
    assert is_missing(to_array(WORD, [])).dtype == bool
