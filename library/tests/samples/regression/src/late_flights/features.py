"""The features: each function is one feature.

Its name is the feature's name. Its arguments are columns or other features. It works on arrays,
for one row as for ten million.
"""

import numpy as np

# Columns that are used as they are
AS_IS = [
    "carrier",
    "origin",
    "dest",
    "distance",
    "temp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visibility",
]


def hour(scheduled: np.ndarray) -> np.ndarray:
    """Local hour of the scheduled departure, 0 to 23.98."""
    return (scheduled - scheduled.astype("datetime64[D]")) / np.timedelta64(1, "h")


def weekday(scheduled: np.ndarray) -> np.ndarray:
    """Day of the week, Monday 0 to Sunday 6."""
    days = scheduled.astype("datetime64[D]") - np.datetime64("2013-01-07")  # since a Monday
    return days / np.timedelta64(24, "h") % 7


def is_bad_weather(visibility: np.ndarray, precip: np.ndarray) -> np.ndarray:
    """1 where it rains or the visibility is below three miles, else 0.

    Where the weather is missing it is 0.
    """
    return np.where((visibility < 3) | (precip > 0), 1.0, 0.0)
