"""Whether a fit did its work.

A fitted model must be better than a constant on its own rows, and the same seed must give the same
model again.
"""

from typing import TYPE_CHECKING

import numpy as np

from mlgates.contract import Arrays, Contract
from mlgates.data.partitions import thin
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics
from mlgates.features import plan
from mlgates.model_folder import Scorer, fit
from mlgates.project import Project
from mlgates.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

ROWS = 5_000  # enough to see whether a model is worse than a constant
REMEDY = "See section model of params.yaml (the learning rate?) and build() in model.py."


def check_beats_constant(contract: Contract, scorer: Scorer, rows: "pd.DataFrame") -> None:
    """Refuse a model that is worse than a constant on the rows that it was fitted on.

    Of a regression the mean absolute error counts, of probabilities the log loss. The log loss may
    be as large as a coin's: a model that weighs its classes can be worse than the best constant.
    Raises: ProjectError `train.beats_constant`.
    """
    rows = thin(rows, ROWS)
    target = contract.target(rows)
    scores = scorer.score(scorer.matrix(contract.arrays(rows)))
    if not np.isfinite(scores).all():
        raise ProjectError(
            "train.beats_constant: not every score of the fitted model is a number.", REMEDY
        )
    if contract.task == "regression":
        name = "mean absolute error"
        measure = metrics.mean_absolute_error(target, scores)
        limit = _largest_constant_error(target)
    else:
        name = "log loss"
        measure = metrics.log_loss(target, scores)
        limit = float(np.log(len(contract.classes)))

    value = metrics.value(measure, len(rows))
    if value > limit:
        raise ProjectError(
            f"train.beats_constant: on its own rows the model's {name} is {value:.4g},"
            f" worse than a constant's ({limit:.4g}).",
            REMEDY,
        )


def _largest_constant_error(target: np.ndarray) -> float:
    """The larger mean absolute error of the median and of the mean.

    A model may aim at either of them.
    """
    of_median = float(np.abs(target - np.median(target)).mean())
    of_mean = float(np.abs(target - target.mean()).mean())
    return max(of_median, of_mean)


def refit(
    project: Project, arrays: Arrays, target: np.ndarray, unseen: Arrays, settings: Settings
) -> tuple[Scorer, np.ndarray]:
    """The team's model fitted on some rows, and its scores of unseen ones.

    It is fitted in one thread: on so few rows, more of them cost four times what they save.
    """
    from threadpoolctl import threadpool_limits

    features = plan(project.features, project.contract)
    with threadpool_limits(1):
        scorer = fit(arrays, target, features, project.model, project.contract, settings)
        return scorer, scorer.score(scorer.matrix(unseen))


def difference_of_fits(project: Project, rows: "pd.DataFrame", settings: Settings) -> float:
    """The largest difference between the scores of two fits on the same rows with the same seed.

    It is 0 if the fit is repeatable.
    """
    arrays = project.contract.arrays(rows)
    target = project.contract.target(rows)
    _, first = refit(project, arrays, target, arrays, settings)
    _, second = refit(project, arrays, target, arrays, settings)
    return float(np.abs(first - second).max())
