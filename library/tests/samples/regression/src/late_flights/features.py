"""A function is a feature: its name, its arguments (columns or features), its meaning; for 1 row or 10 million."""

import numpy as np

AS_IS = ["carrier", "origin", "dest", "distance", "temp", "humid", "wind_speed", "precip", "pressure", "visibility"]


def hour(scheduled: np.ndarray) -> np.ndarray:
    """Local hour of the scheduled departure, 0 to 23.98."""
    return (scheduled - scheduled.astype("datetime64[D]")) / np.timedelta64(1, "h")


def weekday(scheduled: np.ndarray) -> np.ndarray:
    """Day of the week, Monday 0 to Sunday 6."""
    return (scheduled.astype("datetime64[D]") - np.datetime64("2013-01-07")) / np.timedelta64(24, "h") % 7


def is_bad_weather(visibility: np.ndarray, precip: np.ndarray) -> np.ndarray:
    """1 where it rains or the visibility is below three miles, else 0 (also where the weather is not known)."""
    return np.where((visibility < 3) | (precip > 0), 1.0, 0.0)
