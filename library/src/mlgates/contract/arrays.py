"""The arrays of a contract: one NumPy array a column, for one request as for many rows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract.columns import Column

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, np.ndarray]


def to_array(column: Column, values: "Iterable[Any] | pd.Series") -> np.ndarray:
    """The values of one column as (n,) array, the same however they arrived.

    Training and serving agree to the bit because both begin here. Numbers and bools are float64
    with NaN for missing, datetimes are datetime64[us] with NaT, all others are object with None.

    Raises: ValueError or TypeError for values of another type.
    """
    if column.is_number:
        return _numbers(values)
    if column.kind == "datetime":
        return np.asarray(values, dtype="datetime64[us]")
    return _words(values)


def _numbers(values: "Iterable[Any] | pd.Series") -> np.ndarray:
    if hasattr(values, "to_numpy"):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array(list(values), dtype=np.float64)  # None becomes NaN


def _words(values: "Iterable[Any] | pd.Series") -> np.ndarray:
    if not hasattr(values, "factorize"):
        return _object_array(values)
    # Each different word of a table is converted once. A missing value has the code -1, which picks
    # the last place, so one None is added there.
    codes, words = values.factorize()
    return _object_array([*words, None])[codes]


def _object_array(values: Iterable[Any]) -> np.ndarray:
    """(n,) object: strings, and None for None and NaN; a member of an enum becomes its value."""
    words: list[str | None] = []
    for value in values:
        if value is None or value != value:
            words.append(None)
        else:
            words.append(str(getattr(value, "value", value)))
    return np.array(words, dtype=object)


def is_missing(values: np.ndarray) -> np.ndarray:
    """(n,) bool: where an array of the contract has no value."""
    if values.dtype == object:
        return np.equal(values, None)  # type: ignore[call-overload]
    return values != values  # NaN and NaT are the only values that differ from themselves
