"""What the team's own values of `SEARCH` in model.py lose to the best of some others.

Only training rows are used: what evaluates the candidate stays unseen.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract
from mlgates.data import partitions
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics
from mlgates.evaluation.metrics import MAIN, margin_unit
from mlgates.files import write_json
from mlgates.layout import TUNING
from mlgates.model_folder import Scorer
from mlgates.project import Project
from mlgates.reports import number
from mlgates.settings import Settings
from mlgates.training.sanity_checks import refit

if TYPE_CHECKING:
    import pandas as pd

# Of the training rows so many, the newest if they have a time, measure the models that were fitted
# on the others.
MEASURED_SHARE = 0.25


@dataclass(frozen=True)
class TuningRows:
    """Rows to fit on, and later ones to measure on."""

    fit_arrays: Arrays
    fit_target: np.ndarray
    unseen_arrays: Arrays
    unseen_target: np.ndarray


@dataclass(frozen=True)
class Trial:
    """The scores of the unseen rows by a model that was fitted with some values of SEARCH."""

    values: Mapping[str, Any]
    scores: np.ndarray
    seconds: float


def sampled_values(project: Project, settings: Settings) -> list[dict[str, Any]]:
    """At most `evaluate.tune_trials` different values of what model.py calls SEARCH.

    Empty if model.py has no SEARCH.
    Raises: ProjectError if SEARCH is not names with lists of values.
    """
    from sklearn.model_selection import ParameterSampler

    space = getattr(project.model, "SEARCH", {})
    most_trials = settings.evaluate.tune_trials
    if not space or not most_trials:
        return []
    try:
        with warnings.catch_warnings(action="ignore"):  # of a space with fewer values than trials
            return list(ParameterSampler(space, most_trials, random_state=settings.train.seed))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ProjectError(
            f"model.py: SEARCH is no search space: {reason}",
            'Write it like: SEARCH = {"learning_rate": [0.05, 0.1]}',
        ) from None


def tune(
    project: Project, rows: "pd.DataFrame", unseen: "pd.DataFrame", settings: Settings
) -> dict[str, Any]:
    """The main metric of each trial, fitted on `rows` and measured on `unseen`, as plain data.

    The first trial is the team's own values. `difference` is the team's metric minus the best
    one's, so positive is better. The best trial is picked on one half of `unseen` and compared on
    the other. On the same half, the luckiest of equally good trials would look better than it is.
    Raises: ProjectError if the model refuses a value.
    """
    contract = project.contract
    values = sampled_values(project, settings)
    data = TuningRows(
        contract.arrays(rows),
        contract.target(rows),
        contract.arrays(unseen),
        contract.target(unseen),
    )
    truth = data.unseen_target
    is_picking = np.arange(len(truth)) % 2 == 0
    report: dict[str, Any] = {
        "metric": MAIN[contract.task],
        "rows": int((~is_picking).sum()),
        "fitted": len(data.fit_target),
        "trials": [],
    }
    has_one_class = contract.task != "regression" and len(np.unique(data.fit_target)) < 2
    if not values or has_one_class:
        return report

    trials = _trials(project, data, values, settings)
    for trial in trials:
        report["trials"].append(_entry(contract.task, truth, trial))
    report["value"] = report["trials"][0]["value"]

    picking_scores = [trial.scores[is_picking] for trial in trials]
    best = _best_place(contract.task, truth[is_picking], picking_scores)
    report["best"] = best
    report |= _compared(
        contract.task,
        truth[~is_picking],
        trials[0].scores[~is_picking],
        trials[best].scores[~is_picking],
        settings,
    )
    return report


def _entry(task: str, truth: np.ndarray, trial: Trial) -> dict[str, Any]:
    """A trial in the report."""
    return {
        "values": trial.values,
        "value": metrics.plain_number(_metric(task, truth, trial.scores)),
        "seconds": round(trial.seconds, 2),
    }


def _compared(
    task: str, truth: np.ndarray, team: np.ndarray, best: np.ndarray, settings: Settings
) -> dict[str, Any]:
    """The `difference` of the team's scores to the best ones, and the `unit` that it counts in."""
    metric = MAIN[task]
    make_metric = metrics.metrics_of(task)[metric]
    measures = {"team": make_metric(truth, team), "best": make_metric(truth, best)}
    evaluate = settings.evaluate
    estimates = metrics.estimates(measures, len(truth), evaluate.resamples, evaluate.seed)
    return {
        "difference": estimates["team"].minus(estimates["best"], metric).plain(),
        "unit": margin_unit(task, estimates["best"].value),
    }


def _trials(
    project: Project, data: TuningRows, values: list[dict[str, Any]], settings: Settings
) -> list[Trial]:
    """The trials: first the team's own values, which are not tried twice."""
    scorer, scores, duration = _timed_fit(project, data, settings)
    team_values = _values_in_use(scorer, settings, values[0])
    trials = [Trial(team_values, scores, duration)]
    for tried in values:
        if tried == team_values:
            continue
        changed = replace(settings, model={**settings.model, **tried})
        _, scores, duration = _timed_fit(project, data, changed)
        trials.append(Trial(tried, scores, duration))
    return trials


def _timed_fit(
    project: Project, data: TuningRows, settings: Settings
) -> tuple[Scorer, np.ndarray, float]:
    """The team's model, its scores of the unseen rows, and the seconds of CPU time for both."""
    start = time.process_time()
    scorer, scores = refit(project, data.fit_arrays, data.fit_target, data.unseen_arrays, settings)
    scores = np.nan_to_num(scores, posinf=0, neginf=0)  # a diverged fit is a bad one, not an error
    return scorer, scores, time.process_time() - start


def _values_in_use(scorer: Scorer, settings: Settings, names: Mapping[str, Any]) -> dict[str, Any]:
    """The team's value of each of some parameters.

    It is what params.yaml sets, else what the fitted estimator says of itself.
    """
    get_parameters = getattr(scorer.estimator, "get_params", dict)
    in_use = {}
    for name, value in get_parameters().items():
        in_use[name.rpartition("__")[2]] = value  # a pipeline calls it step__name
    in_use |= settings.model
    return {name: in_use.get(name, "as it is") for name in names}


def _metric(task: str, truth: np.ndarray, scores: np.ndarray) -> float:
    """The main metric of some scores."""
    make_metric = metrics.metrics_of(task)[MAIN[task]]
    return metrics.value(make_metric(truth, scores), len(truth))


def _best_place(task: str, truth: np.ndarray, scores: list[np.ndarray]) -> int:
    """The place of the scores with the best metric, the first of equals."""
    values = [metrics.sign(MAIN[task]) * _metric(task, truth, trial) for trial in scores]
    return int(np.argmax(np.nan_to_num(values, nan=-np.inf)))


def split_rows(
    contract: Contract, rows: "pd.DataFrame", most: int
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Training rows to fit on and later ones to measure on, at most `most` of each.

    Without a time in the contract they are split by key.
    """
    order = rows[contract.time] if contract.time else partitions.key_share(rows, contract)
    # By rank, because many rows may have one time, and rows that were split by key already have
    # only some of the shares.
    is_last = (order.rank(method="first", pct=True) > 1 - MEASURED_SHARE).to_numpy()
    return partitions.thin(rows[~is_last], most), partitions.thin(rows[is_last], most)


def write(project: Project, rows: "pd.DataFrame", settings: Settings) -> str:
    """Report on training rows to `TUNING`, for the gate; returns a line about it.

    Nothing in the report is read by train: a team that wants the better values sets them itself.
    """
    report: dict[str, Any] = {"trials": []}
    if sampled_values(project, settings):
        older, newer = split_rows(project.contract, rows, settings.evaluate.tune_rows)
        report = tune(project, older, newer, settings)
    write_json(project.root / TUNING, report)

    trials = report["trials"]
    if not trials:
        return "tune: 0 trials; nothing to try"
    team_value = number(trials[0]["value"])
    best_value = number(trials[report["best"]]["value"])
    return f"tune: {len(trials)} trials; {report['metric']} {team_value}, of the best {best_value}"
