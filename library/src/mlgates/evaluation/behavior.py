"""What a candidate is like beyond its metrics: calibration, robustness, missing look-ups, cost, changed decisions."""

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract, to_array
from mlgates.data import partitions
from mlgates.evaluation import metrics
from mlgates.evaluation.fairness import slices
from mlgates.evaluation.metrics import MAIN, unit
from mlgates.evaluation.timing import rounded, seconds
from mlgates.layout import REFERENCE
from mlgates.model_folder import Scorer, load, scored
from mlgates.project import Project
from mlgates.settings import EvaluateSettings

if TYPE_CHECKING:
    import pandas as pd

GROUPS = 10  # of rows by prediction, in which calibration is measured
NUMBERS_CHANGE = 0.25  # of the mean error: a number that moved by more is another decision
SLICES_NAMED = 3
MEGABYTE = 1_000_000


def behavior(
    project: Project,
    rows: "pd.DataFrame",
    models: Mapping[str, Scorer],
    folder: Path,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Plain data on `models["candidate"]`, stored in `folder`, for some of the rows.

    - `calibration_error` by model, and the `excess` over the worst of its opponents: what drift puts off, it puts off
      in all
    - `changes` of the main metric and of the decisions by what was done to the request: "noise", or the name of the
      look-up that is missing
    - `changed_decisions` against the champion
    - `cost` on this machine, the one part that differs from run to run
    """
    contract, rows = project.contract, partitions.thin(rows, settings.behavior_rows)
    arrays, target, scorer = contract.arrays(rows), contract.target(rows), models["candidate"]
    scores = scored(models, arrays)
    inputs = {"noise": noisy(contract, scorer, arrays, settings), **silent(contract, arrays)}
    changed = {name: _scored(scorer, given) for name, given in inputs.items() if given}
    make = metrics.named(contract.task)[MAIN[contract.task]]
    measures = {
        f"calibration_error.{name}": calibration_error(contract, target, each)
        for name, each in scores.items()
    }
    measures |= {
        name: make(target, each) for name, each in {"": scores["candidate"], **changed}.items()
    }
    found = metrics.estimates(measures, len(rows), metrics.RESAMPLES, settings.seed)
    others = [found[f"calibration_error.{name}"] for name in scores if name != "candidate"]
    drifted = max(others, key=lambda one: one.value)
    decided, champion = scorer.decide(scores["candidate"]), models.get("champion")
    near = (
        NUMBERS_CHANGE * float(np.abs(target - scores["candidate"]).mean())
        if contract.task == "regression"
        else 0.0
    )
    return {
        "rows": len(rows),
        "unit": unit(contract.task, found[""].plain()["value"]),
        "calibration_error": {name: found[f"calibration_error.{name}"].plain() for name in scores},
        "excess": found["calibration_error.candidate"].minus(drifted, "calibration_error").plain(),
        "changes": {
            name: {
                "difference": found[name].minus(found[""], MAIN[contract.task]).plain(),
                "decisions": float(moved(decided, scorer.decide(each), near).mean()),
            }
            for name, each in changed.items()
        },
        "changed_decisions": _most_changed(
            slices(contract, rows), moved(champion.decide(scores["champion"]), decided, near)
        )
        if champion
        else None,
        "cost": _cost(project, arrays, scorer, folder),
    }


def _scored(scorer: Scorer, arrays: Arrays) -> np.ndarray:
    return scorer.score(scorer.matrix(arrays))


def calibration_error(
    contract: Contract, target: np.ndarray, scores: np.ndarray
) -> metrics.Measure:
    """How far predictions are from what happened, in groups of rows with like predictions: 0 is best.

    Probabilities: root mean square over the groups; of several classes the worst. Numbers: the same for the mean
    error as a share of the absolute one, or for the balance of too high and too low, whichever is less: a model aims
    at the mean or at the median.
    """
    if contract.task == "binary":
        return _distance(scores, scores - target)
    if contract.task == "multiclass":
        each = [_distance(part, part - (target == place)) for place, part in enumerate(scores.T)]
        return lambda weights: np.max([measure(weights) for measure in each], axis=0)
    error = scores - target
    kinds = [
        _distance(scores, error / (np.abs(error).mean() or 1.0)),
        _distance(scores, np.sign(error)),
    ]
    return lambda weights: np.min([measure(weights) for measure in kinds], axis=0)


def _distance(predicted: np.ndarray, error: np.ndarray) -> metrics.Measure:
    """Root mean square of the groups' mean errors, less what chance puts into it (Kumar, Liang and Ma 2019).

    Under weights chance is larger, and so is what is subtracted.
    """
    order = np.argsort(predicted, kind="stable")
    starts = np.unique(np.linspace(0, len(order), GROUPS, endpoint=False).astype(int))
    error = error[order]
    sizes = np.diff([*starts, len(order)])
    spread = (error - np.repeat(np.add.reduceat(error, starts) / sizes, sizes)) ** 2

    def measure(weights: np.ndarray) -> np.ndarray:
        given = weights[:, order]
        size = np.maximum(np.add.reduceat(given, starts, axis=1), 1)
        mean = np.add.reduceat(given * error, starts, axis=1) / size
        chance = np.add.reduceat(given**2 * spread, starts, axis=1) / size**2
        squared: np.ndarray = (size * (mean**2 - chance)).sum(axis=1) / size.sum(axis=1)
        return np.sqrt(np.maximum(squared, 0))

    return measure


def noisy(contract: Contract, scorer: Scorer, arrays: Arrays, settings: EvaluateSettings) -> Arrays:
    """The numbers that the features read, each a little off and within its bounds; nothing if there are none."""
    random, found = np.random.default_rng(settings.seed), dict(arrays)
    columns = [
        contract.columns[name]
        for name in scorer.plan.columns
        if contract.columns[name].kind in ("int", "float")
    ]
    for column in columns:
        values = arrays[column.name]
        spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
        other = values + random.normal(0, settings.noise * spread, len(values))
        other = np.where(
            values == 0, 0, np.round(other) if column.kind == "int" else other
        )  # zero often means none
        low = -np.inf if column.low is None else column.low
        found[column.name] = np.clip(other, low, np.inf if column.high is None else column.high)
    return found if columns else {}


def silent(contract: Contract, arrays: Arrays) -> dict[str, Arrays]:
    """What the features read while one look-up finds nothing; left out where the contract then refuses an answer."""
    found: dict[str, Arrays] = {}
    for look in contract.lookups:
        columns = contract.from_source(look.name)
        if all(column.nullable for column in columns.values()):
            missing = {
                name: to_array(column, [None] * len(arrays[name]))
                for name, column in columns.items()
            }
            found[look.name] = arrays | missing
    return found


def moved(before: np.ndarray, now: np.ndarray, near: float) -> np.ndarray:
    """(n,) bool: whether a decision is another one; numbers may move by `near`."""
    other: np.ndarray = np.abs(now - before) > near if now.dtype.kind == "f" else now != before
    return other


def _most_changed(
    parts: Mapping[tuple[str, str], np.ndarray], changed: np.ndarray
) -> dict[str, Any]:
    """The share of decisions that differ from the champion's, and the most changed slices as [name, share, rows]."""
    slices = [
        ("=".join(name), float(changed[places].mean()), len(places))
        for name, places in parts.items()
    ]
    slices.sort(
        key=lambda entry: (-entry[1] * entry[2] ** 0.5, entry[0])
    )  # a handful of rows is no slice
    return {"share": float(changed.mean()), "slices": slices[:SLICES_NAMED]}


def _cost(project: Project, arrays: Arrays, scorer: Scorer, folder: Path) -> dict[str, float]:
    """Milliseconds for 1 and for 100 rows, from columns to scores; megabytes on disk, and in memory once loaded."""
    from threadpoolctl import threadpool_limits

    found = {}
    for size in (1, 100):
        some = {name: values[:size] for name, values in arrays.items()}
        with threadpool_limits(1):
            found[f"milliseconds_{size}"] = seconds(lambda some=some: _scored(scorer, some)) * 1e3  # type: ignore[misc]
    tracemalloc.start()
    _ = load(folder, project.contract)  # kept, while its memory is counted
    found["memory"] = tracemalloc.get_traced_memory()[0] / MEGABYTE
    tracemalloc.stop()
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != REFERENCE)
    found["megabytes"] = sum(path.stat().st_size for path in files) / MEGABYTE
    return {name: rounded(value) for name, value in found.items()}
