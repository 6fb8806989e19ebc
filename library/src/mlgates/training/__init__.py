"""From checked periods to a fitted candidate, its baselines, and the studies beside it."""

from mlgates.training.fit import train, write
from mlgates.training.split import measurable, read_rows, reference, split, thin

__all__ = ["measurable", "read_rows", "reference", "split", "thin", "train", "write"]
