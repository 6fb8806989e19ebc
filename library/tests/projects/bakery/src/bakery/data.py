"""Four periods, a day each, with an order of each of five customers."""

import pandas as pd

# Tests look for these names in stored files, so none may occur in a random digest.
ADA, BOB, DORA = "Xq9ZunmistakableAda", "Kj7VanotherBob", "Wm4GseldomDora"


def periods() -> list[str]:
    """Their names, oldest first."""
    return ["1", "2", "3", "4"]


def read(period: str) -> pd.DataFrame:
    """The orders of a day.

    Ada has none in the fourth, where Dora has one. Ada's order of the second is not valid.
    """
    first = DORA if period == "4" else ADA
    order = -2 if period == "2" else int(period)
    asked = pd.to_datetime(f"2025-01-0{period}") + pd.to_timedelta(range(5), "h")
    return pd.DataFrame(
        {
            "customer": [first, BOB, "eve", "fay", "gil"],
            "order": [order, 2, 3, 4, 5],
            "asked": asked,
            "late": asked.hour % 2 == 0,
        }
    )


def lookup(name: str, period: str) -> pd.DataFrame:
    """How often each customer was there."""
    rows = read(period)
    return pd.DataFrame({"customer": rows["customer"], "seen": rows["asked"], "visits": 1.0})
