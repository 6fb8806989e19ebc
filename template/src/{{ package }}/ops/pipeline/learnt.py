"""Whether a fit was one: better than a constant on its own rows, and the same again from the same seed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Contract
from ..features import plan
from ..project import ProjectError, Yours
from ..scoring import Scorer, fit
from . import metrics
from .periods import thin

if TYPE_CHECKING:
    import pandas as pd

ROWS = 5_000  # enough to tell
REMEDY = "See section model of params.yaml (the learning rate?) and build() in model.py."


def learnt(contract: Contract, scorer: Scorer, rows: "pd.DataFrame") -> None:
    """Refuse a model that is worse than a constant on the rows that it was fitted on.

    Of probabilities the log loss counts; up to that of a coin (for models that weigh their classes, which may be
    worse than the constant). Raises: ProjectError `train.learnt`.
    """
    rows = thin(rows, ROWS)
    target = contract.target(rows)
    scores = scorer.score(scorer.matrix(contract.arrays(rows)))
    if not np.isfinite(scores).all():
        raise ProjectError("train.learnt: not every score of the fitted model is a number.", REMEDY)
    ones = np.ones((1, len(rows)))
    if contract.task == "regression":
        name, measure = "mean absolute error", metrics.mean_absolute_error
        limit = max(float(np.abs(target - constant).mean()) for constant in (np.median(target), target.mean()))
    else:
        name, measure, limit = "log loss", metrics.log_loss, float(np.log(len(contract.classes)))
    if (value := float(measure(target, scores)(ones)[0])) > limit:
        told = f"train.learnt: on its own rows the model's {name} is {value:.4g}, worse than a constant ({limit:.4g})"
        raise ProjectError(f"{told}.", REMEDY)


def repeatable(team: Yours, rows: "pd.DataFrame", settings: Mapping[str, Any]) -> float:
    """The largest difference between the scores of two fits on the same rows with the same seed: 0 where it counts."""
    from threadpoolctl import threadpool_limits

    contract, features, model = team.contract, plan(team.features, team.contract), team.model
    arrays, target = contract.arrays(rows), contract.target(rows)
    with threadpool_limits(1):
        fits = [fit(arrays, target, features, model, contract, settings) for _ in range(2)]
    first, second = (scorer.score(scorer.matrix(arrays)) for scorer in fits)
    return float(np.abs(first - second).max())
