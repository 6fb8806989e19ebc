"""Five periods, a day each."""

import pandas as pd


def periods() -> list[str]:
    """Their names, oldest first."""
    return ["1", "2", "3", "4", "5"]


def lookup(name: str, period: str) -> pd.DataFrame:
    """The tariff of a day."""
    day = pd.Timestamp(f"2025-01-0{period}")
    return pd.DataFrame({"shop": ["a", "b"], "known": [day, day], "price": [1.0, 2.0]})
