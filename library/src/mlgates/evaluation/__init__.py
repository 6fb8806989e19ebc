"""Candidate, champion and baselines, measured on the same rows.

That is metrics with intervals, slices, groups and behavior.
"""

from mlgates.evaluation.measure import evaluate, load_models, read_rows, score, summary
from mlgates.evaluation.plots import draw

__all__ = ["draw", "evaluate", "load_models", "read_rows", "score", "summary"]
