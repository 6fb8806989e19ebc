"""The rows that broke a rule, one line for each broken rule."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def quarantine_of(
    kept: "pd.DataFrame", broken: "Mapping[tuple[str, str], np.ndarray]"
) -> "pd.DataFrame":
    """`row` (its position in `kept`), `rule`, `column` and `value`, a line for each row that breaks a rule.

    `broken` holds the positions by the check's name and the column.
    """
    import pandas as pd

    def lines(rule: str, column: str, places: np.ndarray) -> pd.DataFrame:
        names = [name for name in column.split("+") if name in kept]
        values = (
            kept[names].iloc[places].astype(str).agg(" ".join, axis=1) if names else "impossible"
        )
        return pd.DataFrame({"row": places, "rule": rule, "column": column, "value": values})

    if parts := [lines(*which, places) for which, places in broken.items() if len(places)]:
        return pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns=["row", "rule", "column", "value"]).astype({"row": np.int64})
