"""What a candidate is like beyond its metrics.

That is calibration, robustness to noise, missing look-ups, changed decisions and cost.
"""

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Column, Contract, to_array
from mlgates.data import partitions
from mlgates.evaluation import metrics
from mlgates.evaluation.fairness import slices
from mlgates.evaluation.metrics import MAIN, margin_unit
from mlgates.evaluation.timing import rounded, seconds
from mlgates.layout import REFERENCE
from mlgates.model_folder import Scorer, load, score_all
from mlgates.project import Project
from mlgates.settings import EvaluateSettings

if TYPE_CHECKING:
    import pandas as pd

CALIBRATION_GROUPS = 10  # groups of rows by prediction, in which calibration is measured
NUMBERS_CHANGE = 0.25  # of the mean error: a number that moved by more is another decision
UNCHANGED = ""  # the request as it is, among those that were changed
SLICES_NAMED = 3
BATCH_SIZES = (1, 100)  # rows, of which the latency is measured
MEGABYTE = 1_000_000


def behavior(
    project: Project,
    rows: "pd.DataFrame",
    models: Mapping[str, Scorer],
    folder: Path,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Plain data on `models["candidate"]`, stored in `folder`, for some of the rows.

    - `calibration_error` by model, and the `excess` over the worst of the other models: drift
      spoils the calibration of all models alike
    - `changes` of the main metric and of the decisions by what was done to the request: "noise", or
      the name of the look-up that is missing
    - `changed_decisions` against the champion
    - `cost` on this machine, the only part that differs from run to run
    """
    contract = project.contract
    rows = partitions.thin(rows, settings.behavior_rows)
    arrays = contract.arrays(rows)
    target = contract.target(rows)
    candidate = models["candidate"]
    scores = score_all(models, arrays)
    changed_scores = _changed_scores(contract, candidate, arrays, settings)
    estimates = _estimates(contract, target, scores, changed_scores, settings.seed)
    calibration = {name: estimates["calibration_error", name] for name in scores}
    calibration_plain = {name: error.plain() for name, error in calibration.items()}
    unchanged = estimates["metric", UNCHANGED]

    tolerance = 0.0
    if contract.task == "regression":
        tolerance = NUMBERS_CHANGE * float(np.abs(target - scores["candidate"]).mean())
    decisions = candidate.decide(scores["candidate"])

    changes = {}
    for change, new_scores in changed_scores.items():
        difference = estimates["metric", change].minus(unchanged, MAIN[contract.task])
        is_moved = is_other_decision(decisions, candidate.decide(new_scores), tolerance)
        changes[change] = {"difference": difference.plain(), "decisions": float(is_moved.mean())}

    changed_decisions = None
    champion = models.get("champion")
    if champion:
        is_moved = is_other_decision(champion.decide(scores["champion"]), decisions, tolerance)
        changed_decisions = _most_changed(slices(contract, rows), is_moved)

    return {
        "rows": len(rows),
        "unit": margin_unit(contract.task, unchanged.plain()["value"]),
        "calibration_error": calibration_plain,
        "excess": _calibration_excess(calibration).plain(),
        "changes": changes,
        "changed_decisions": changed_decisions,
        "cost": _cost(project, arrays, candidate, folder),
    }


def _estimates(
    contract: Contract,
    target: np.ndarray,
    scores: Mapping[str, np.ndarray],
    changed_scores: Mapping[str, np.ndarray],
    seed: int,
) -> dict[tuple[str, str], metrics.Estimate]:
    """All that is compared, measured under the same weights.

    That is ("calibration_error", model) of each model, and the candidate's ("metric", change):
    the main metric after each change, and for `UNCHANGED`.
    """
    make_metric = metrics.metrics_of(contract.task)[MAIN[contract.task]]
    measures: dict[tuple[str, str], metrics.Measure] = {}
    for name, model_scores in scores.items():
        measures["calibration_error", name] = calibration_error(contract, target, model_scores)
    measures["metric", UNCHANGED] = make_metric(target, scores["candidate"])
    for change, candidate_scores in changed_scores.items():
        measures["metric", change] = make_metric(target, candidate_scores)
    return metrics.estimates(measures, len(target), metrics.RESAMPLES, seed)


def _score(scorer: Scorer, arrays: Arrays) -> np.ndarray:
    """The scores of rows as contract columns."""
    return scorer.score(scorer.matrix(arrays))


def _changed_scores(
    contract: Contract, candidate: Scorer, arrays: Arrays, settings: EvaluateSettings
) -> dict[str, np.ndarray]:
    """The candidate's scores by what was done to the request; without what cannot be done to it."""
    requests = {"noise": with_noise(contract, candidate, arrays, settings)}
    requests.update(without_lookups(contract, arrays))
    changed_scores = {}
    for name, request in requests.items():
        if request:
            changed_scores[name] = _score(candidate, request)
    return changed_scores


def _calibration_excess(calibration: Mapping[str, metrics.Estimate]) -> metrics.Estimate:
    """How much better calibrated the candidate is than the worst of the other models.

    Negative means that it is worse than all of them.
    """
    others = dict(calibration)
    candidate = others.pop("candidate")
    worst = max(others.values(), key=lambda error: error.value)
    return candidate.minus(worst, "calibration_error")


def calibration_error(
    contract: Contract, target: np.ndarray, scores: np.ndarray
) -> metrics.Measure:
    """How far predictions are from labels, in groups of rows with similar predictions; 0 is best.

    Probabilities: the root mean square over the groups; of several classes the worst. Numbers: the
    same for the mean error as a share of the mean absolute error, or for the balance of too high
    and too low, whichever is less, because a model aims at the mean or at the median.
    """
    if contract.task == "binary":
        return _distance(scores, scores - target)

    if contract.task == "multiclass":
        by_class = []
        for place, class_scores in enumerate(scores.T):
            by_class.append(_distance(class_scores, class_scores - (target == place)))
        return lambda weights: np.max([measure(weights) for measure in by_class], axis=0)

    error = scores - target
    mean_absolute_error = np.abs(error).mean() or 1.0
    of_mean = _distance(scores, error / mean_absolute_error)
    of_median = _distance(scores, np.sign(error))
    return lambda weights: np.minimum(of_mean(weights), of_median(weights))


def _distance(predicted: np.ndarray, error: np.ndarray) -> metrics.Measure:
    """Root mean square of the groups' mean errors, less what chance adds to it.

    The correction is that of Kumar, Liang and Ma 2019. Under weights there is more chance, and so
    more is subtracted.
    """
    order = np.argsort(predicted, kind="stable")
    starts = np.linspace(0, len(order), CALIBRATION_GROUPS, endpoint=False).astype(int)
    starts = np.unique(starts)  # with fewer rows than groups, some would be empty
    error = error[order]
    sizes = np.diff([*starts, len(order)])
    group_means = np.add.reduceat(error, starts) / sizes
    squared_deviation = (error - np.repeat(group_means, sizes)) ** 2

    def measure(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        size = np.maximum(np.add.reduceat(weights, starts, axis=1), 1)
        mean = np.add.reduceat(weights * error, starts, axis=1) / size
        chance = np.add.reduceat(weights**2 * squared_deviation, starts, axis=1) / size**2
        squared: np.ndarray = (size * (mean**2 - chance)).sum(axis=1) / size.sum(axis=1)
        return np.sqrt(np.maximum(squared, 0))

    return measure


def with_noise(
    contract: Contract, scorer: Scorer, arrays: Arrays, settings: EvaluateSettings
) -> Arrays:
    """The request with noise on the numbers that features read, within their bounds.

    Empty if features read no number.
    """
    random = np.random.default_rng(settings.seed)
    noisy_columns: Arrays = {}
    for name in scorer.plan.columns:
        column = contract.columns[name]
        if column.kind not in ("int", "float"):
            continue
        values = arrays[name]
        spread = 0.0
        if np.isfinite(values).any():
            spread = float(np.nanstd(values))
        noise = random.normal(0, settings.noise * spread, len(values))
        noisy_columns[name] = _with_noise(column, values, noise)
    if not noisy_columns:
        return {}
    return {**arrays, **noisy_columns}


def _with_noise(column: Column, values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A column's values with noise: whole where it holds integers, and within its bounds."""
    changed = values + noise
    if column.kind == "int":
        changed = np.round(changed)
    changed = np.where(values == 0, 0, changed)  # 0 often means "none", as in rain
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    return np.clip(changed, low, high)


def without_lookups(contract: Contract, arrays: Arrays) -> dict[str, Arrays]:
    """The request by look-up, as it is when that look-up finds nothing.

    A look-up is left out if the contract refuses a request without it.
    """
    requests: dict[str, Arrays] = {}
    for look in contract.lookups:
        columns = contract.from_source(look.name)
        if set(columns).intersection(contract.demanded):
            continue
        request = dict(arrays)
        for name, column in columns.items():
            request[name] = to_array(column, [None] * len(arrays[name]))
        requests[look.name] = request
    return requests


def is_other_decision(before: np.ndarray, now: np.ndarray, near: float) -> np.ndarray:
    """(n,) bool: whether a decision is another one; numbers may move by `near`."""
    if now.dtype.kind == "f":
        return np.asarray(np.abs(now - before) > near)
    return np.asarray(now != before)


def _most_changed(
    parts: Mapping[tuple[str, str], np.ndarray], changed: np.ndarray
) -> dict[str, Any]:
    """The share of decisions that differ from the champion's, and the slices that changed most.

    These are [name, share, rows].
    """
    slices = []
    for name, places in parts.items():
        slices.append(("=".join(name), float(changed[places].mean()), len(places)))
    slices.sort(key=_change_rank)
    return {"share": float(changed.mean()), "slices": slices[:SLICES_NAMED]}


def _change_rank(entry: tuple[str, float, int]) -> tuple[float, str]:
    """Sorts the slices that changed most to the front.

    The root of the number of rows keeps a handful of rows from being named first.
    """
    name, share, rows = entry
    return -share * rows**0.5, name


def _cost(project: Project, arrays: Arrays, scorer: Scorer, folder: Path) -> dict[str, float]:
    """What a model costs on this machine.

    That is milliseconds for 1 and for 100 rows, from contract columns to scores; megabytes on disk;
    and megabytes of memory once it is loaded.
    """
    from threadpoolctl import threadpool_limits

    cost = {}
    for size in BATCH_SIZES:
        batch = {name: values[:size] for name, values in arrays.items()}
        with threadpool_limits(1):
            one_call = seconds(lambda batch=batch: _score(scorer, batch))  # type: ignore[misc]
        cost[f"milliseconds_{size}"] = rounded(one_call * 1e3)

    contract = project.contract  # imported before the memory is counted
    tracemalloc.start()
    _ = load(folder, contract)  # a name, so that the model lives while its memory is counted
    memory, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    size_on_disk = 0
    for path in folder.rglob("*"):
        if path.is_file() and path.name != REFERENCE:  # a service does not need the reference
            size_on_disk += path.stat().st_size
    cost["memory"] = rounded(memory / MEGABYTE)
    cost["megabytes"] = rounded(size_on_disk / MEGABYTE)
    return cost
