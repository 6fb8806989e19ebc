"""Whether a fit was one: better than a constant on its own rows, and the same again from the same seed."""

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

ROWS = 5_000  # enough to tell
REMEDY = "See section model of params.yaml (the learning rate?) and build() in model.py."


def check_beats_constant(contract: Contract, scorer: Scorer, rows: "pd.DataFrame") -> None:
    """Refuse a model that is worse than a constant on the rows that it was fitted on.

    Of probabilities the log loss counts; up to that of a coin (for models that weigh their classes, which may be
    worse than the constant). Raises: ProjectError `train.beats_constant`.
    """
    rows = thin(rows, ROWS)
    target = contract.target(rows)
    scores = scorer.score(scorer.matrix(contract.arrays(rows)))
    if not np.isfinite(scores).all():
        raise ProjectError(
            "train.beats_constant: not every score of the fitted model is a number.", REMEDY
        )
    if contract.task == "regression":
        name, measure = "mean absolute error", metrics.mean_absolute_error
        limit = max(
            float(np.abs(target - constant).mean())
            for constant in (np.median(target), target.mean())
        )
    else:
        name, measure, limit = "log loss", metrics.log_loss, float(np.log(len(contract.classes)))
    if (value := metrics.value(measure(target, scores), len(rows))) > limit:
        told = f"on its own rows the model's {name} is {value:.4g}, worse than a constant ({limit:.4g})"
        raise ProjectError(f"train.beats_constant: {told}.", REMEDY)


def refit(
    project: Project, arrays: Arrays, target: np.ndarray, unseen: Arrays, settings: Settings
) -> tuple[Scorer, np.ndarray]:
    """The team's model fitted on some rows, and its scores of unseen ones.

    In one thread: on rows as few as these, more cost four times what they save.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        scorer = fit(
            arrays,
            target,
            plan(project.features, project.contract),
            project.model,
            project.contract,
            settings,
        )
        return scorer, scorer.score(scorer.matrix(unseen))


def repeatable(project: Project, rows: "pd.DataFrame", settings: Settings) -> float:
    """The largest difference between the scores of two fits on the same rows with the same seed: 0 where it counts."""
    arrays, target = project.contract.arrays(rows), project.contract.target(rows)
    first, second = (refit(project, arrays, target, arrays, settings)[1] for _ in range(2))
    return float(np.abs(first - second).max())
