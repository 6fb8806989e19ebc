"""The rows that broke a rule, one line for each broken rule."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("row", "rule", "column", "value")


def quarantine_of(
    rows: "pd.DataFrame", broken: "Mapping[tuple[str, str], np.ndarray]"
) -> "pd.DataFrame":
    """A line for each row that breaks a rule: `row` (its position), `rule`, `column` and `value`.

    `broken` holds the positions by the check's name and the column.
    """
    import pandas as pd

    parts = []
    for (rule, column), positions in broken.items():
        if len(positions):
            parts.append(_lines(rows, rule, column, positions))
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS)).astype({"row": np.int64})
    return pd.concat(parts, ignore_index=True)


def _lines(rows: "pd.DataFrame", rule: str, column: str, positions: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    # A key of several columns is called "a+b". A rule between columns is no column at all.
    names = [name for name in column.split("+") if name in rows]
    values: str | pd.Series = "impossible"
    if names:
        values = rows[names].iloc[positions].astype(str).agg(" ".join, axis=1)
    return pd.DataFrame({"row": positions, "rule": rule, "column": column, "value": values})
