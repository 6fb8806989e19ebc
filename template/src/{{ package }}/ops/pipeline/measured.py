"""What the measuring stages and the gate share: which metric decides, what margins count in, where reports lie."""

from pathlib import Path

MAIN = {"binary": "average_precision", "multiclass": "macro_roc_auc", "regression": "mean_absolute_error"}
FEATURES, AGE, TUNING = Path("reports/features"), Path("reports/age.json"), Path("reports/tuning.json")


def unit(task: str, value: float | None) -> float:
    """What margins count in: an error has the outcome's unit, so they are shares of `value`, the opponent's error."""
    return abs(value or 0.0) if task == "regression" else 1.0
