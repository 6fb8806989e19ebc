"""evaluate: measure candidate, champion and baselines on the same rows, in all and by slice.

No training has seen these rows.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mlgates import team_code
from mlgates.contract import Contract
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics, serving_environment
from mlgates.evaluation.behavior import behavior
from mlgates.evaluation.fairness import RESAMPLES, Slice, measure_groups, slices
from mlgates.files import digest, read_json
from mlgates.layout import BASELINES, CANDIDATE, EVALUATION, HOLDOUT, TRAINING
from mlgates.model_folder import Scorer, columns_gone, load, score_all
from mlgates.project import Project
from mlgates.reports import number
from mlgates.settings import EvaluateSettings
from mlgates.training.split import measurable
from mlgates.trust.champion import FOLLOW, find, load_signed

if TYPE_CHECKING:
    import pandas as pd

TRIVIAL = "baseline.trivial"
WHOLE = ("", "")  # stands for all rows where otherwise a slice's column and value stand

# What a slice calls the differences between the candidate and each of these.
SLICE_DIFFERENCES = {"champion": "difference", TRIVIAL: "floor"}

Value = TypeVar("Value")  # what there is of each model
Key = tuple[Slice, str, str]  # slice, model, metric


def measure(
    contract: Contract,
    rows: "pd.DataFrame",
    scores: Mapping[str, np.ndarray],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Measurements of several models on the same rows.

    `scores` maps "candidate", perhaps "champion", and "baseline.*" to the (n,) or (n, c) scores of
    `rows`. Returns plain data: `values`, `differences` (candidate minus the other, positive is
    better) by model and metric, `slices`.
    """
    target = contract.target(rows)
    metric_names = list(metrics.metrics_of(contract.task))
    measures = _measures(contract.task, target, scores, WHOLE)
    estimates = metrics.estimates(measures, len(rows), resamples, seed)
    values = _values(estimates, scores, metric_names, WHOLE)
    differences = _differences(estimates, scores, metric_names, WHOLE)
    is_finite = all(np.isfinite(model_scores).all() for model_scores in scores.values())
    return {
        "rows": len(rows),
        "finite": bool(is_finite),
        "values": values,
        "differences": differences,
        "slices": _slices(contract, rows, target, scores, min(resamples, RESAMPLES), seed),
    }


def _slices(
    contract: Contract,
    rows: "pd.DataFrame",
    target: np.ndarray,
    scores: Mapping[str, np.ndarray],
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Each slice: its size, the values of candidate and champion, and the differences."""
    places_by_slice = slices(contract, rows)
    if not places_by_slice:
        return []

    # All slices share the same weights, so all of them are estimated by one call.
    compared = _chosen(scores, ["candidate", *SLICE_DIFFERENCES])
    measures: dict[Key, metrics.Measure] = {}
    for part, places in places_by_slice.items():
        measures.update(_measures(contract.task, target, compared, part, places))
    estimates = metrics.estimates(measures, len(rows), resamples, seed)

    metric_names = list(metrics.metrics_of(contract.task))
    models = _chosen(scores, ["candidate", "champion"])
    entries = []
    for part, places in places_by_slice.items():
        column, value = part
        entry: dict[str, Any] = {"column": column, "value": value, "rows": len(places)}
        entry.update(_values(estimates, models, metric_names, part))
        differences = _differences(estimates, compared, metric_names, part)
        for model, difference in differences.items():
            entry[SLICE_DIFFERENCES[model]] = difference
        entries.append(entry)
    return entries


def _chosen(by_model: Mapping[str, Value], names: Iterable[str]) -> dict[str, Value]:
    """The values of those of the named models that there are."""
    return {name: by_model[name] for name in names if name in by_model}


def _measures(
    task: str,
    target: np.ndarray,
    scores: Mapping[str, np.ndarray],
    part: Slice,
    places: np.ndarray | None = None,
) -> dict[Key, metrics.Measure]:
    """The task's metrics of each model, on a slice's rows (at `places`) or on all rows."""
    by_key = {}
    for model, model_scores in scores.items():
        by_metric = metrics.measures(task, target, model_scores, places)
        for metric, function in by_metric.items():
            by_key[part, model, metric] = function
    return by_key


def _values(
    estimates: Mapping[Key, metrics.Estimate],
    models: Iterable[str],
    metric_names: Iterable[str],
    part: Slice,
) -> dict[str, dict[str, Any]]:
    """Value, interval and standard error, by model and metric."""
    values: dict[str, dict[str, Any]] = {}
    for model in models:
        values[model] = {}
        for metric in metric_names:
            values[model][metric] = estimates[part, model, metric].plain()
    return values


def _differences(
    estimates: Mapping[Key, metrics.Estimate],
    models: Iterable[str],
    metric_names: Iterable[str],
    part: Slice,
) -> dict[str, dict[str, Any]]:
    """By how much the candidate is better than each of the other models, by model and metric."""
    differences: dict[str, dict[str, Any]] = {}
    for model in models:
        if model == "candidate":
            continue
        differences[model] = {}
        for metric in metric_names:
            candidate = estimates[part, "candidate", metric]
            other = estimates[part, model, metric]
            differences[model][metric] = candidate.minus(other, metric).plain()
    return differences


def champion(project: Project, fingerprint: str | None, load_model: Any) -> dict[str, Scorer]:
    """The model to beat, as `{"champion": scorer}`.

    It is empty if there is no champion yet, or none that can be compared with.
    Raises: ProjectError if it is named but not on this machine, or cannot be loaded.
    """
    if fingerprint is None:
        return {}
    reason = not_comparable(project, fingerprint)
    if reason:
        print(f"evaluate: the champion is not compared: {reason}.")
        return {}
    return {"champion": load_model(find(project, fingerprint))}


def not_comparable(project: Project, fingerprint: str) -> str:
    """Why a champion cannot score today's rows, or may not; empty if it can.

    It brings its own features. So it can, as long as the columns that they read are delivered as
    they were, and as long as it predicts the same.
    Raises: ProjectError if it is not on this machine.
    """
    contract = project.contract
    folder = find(project, fingerprint)
    if not (folder / team_code.FOLDER).exists():
        return "it carries no feature code, because an older mlgates made it"

    stored = read_json(folder / "features.json", FOLLOW)
    expected = {
        "outcome": contract.outcome.name,
        "task": contract.task,
        "classes": contract.classes,
    }
    for name, value in expected.items():
        if stored.get(name) != value:
            return f"it predicts something else ({name}: {stored.get(name)}, not {value})"

    try:
        missing_columns = columns_gone(folder, contract)
    except ProjectError as error:
        message = str(error)
        if not message.startswith("features.forbidden"):
            raise
        first_line = message.splitlines()[0].removeprefix("features.forbidden: ")
        return f"it reads what is forbidden now: {first_line}"
    if missing_columns:
        return f"it reads columns that are no longer delivered: {'; '.join(missing_columns)}"
    return ""


def on_holdout(
    contract: Contract,
    rows: "pd.DataFrame",
    models: Mapping[str, Scorer],
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Candidate and champion on the rows that no training ever saw, in the form of `measure`.

    It is empty without rows.
    """
    if rows.empty:
        return {"rows": 0, "values": {}, "differences": {}}
    compared = _chosen(models, ["candidate", "champion"])
    scores = score_all(compared, contract.arrays(rows))
    without_slices = replace(contract, slices=())
    measured = measure(
        without_slices, rows, scores, resamples=settings.resamples, seed=settings.seed
    )
    return {name: measured[name] for name in ("rows", "values", "differences")}


def load_models(project: Project) -> dict[str, Scorer]:
    """The models to measure: "candidate", "champion" (see `champion`) and "baseline.*".

    Raises: ProjectError if one cannot be loaded, or if no key that the team trusts has signed the
    champion.
    """
    contract = project.contract
    fingerprint = project.cycle()["champion"]
    models: dict[str, Scorer] = {"candidate": load(project.root / CANDIDATE, contract)}
    models.update(champion(project, fingerprint, partial(load_signed, project)))
    for folder in sorted((project.root / BASELINES).iterdir()):
        models[f"baseline.{folder.name}"] = load(folder, contract)
    return models


def evaluate(
    project: Project,
    rows: "pd.DataFrame",
    models: Mapping[str, Scorer],
    scores: Mapping[str, np.ndarray],
    further: Mapping[str, Callable[..., float]] | None = None,
) -> dict[str, Any]:
    """All that is measured of candidate, champion and baselines: the content of metrics.json.

    `scores` are those of `models` for `rows`. Besides what `measure` returns there are groups,
    hold-out, behavior and the service's environment. `further` are the team's own metrics, by name:
    functions of scikit-learn's kind, `brier_score_loss` for example, that are called as
    `function(target, scores, sample_weight=weights)`. They are shown, and change no other number.
    """
    import pandas as pd

    contract = project.contract
    settings = project.settings().evaluate
    candidate = project.root / CANDIDATE
    arrays = contract.arrays(rows)

    results = measure(contract, rows, scores, resamples=settings.resamples, seed=settings.seed)
    if further:
        _add_further(results, contract.target(rows), scores, further, settings.seed)
    results["groups"] = measure_groups(
        contract, rows, models["candidate"], arrays, scores["candidate"], settings
    )
    holdout = pd.read_parquet(project.root / HOLDOUT)
    results["holdout"] = on_holdout(contract, holdout, models, settings)
    results["behavior"] = behavior(project, rows, models, candidate, settings)
    results["serving_environment"] = serving_environment.measure(
        project, candidate, models["candidate"], arrays
    )

    results["model"] = digest(candidate)
    fingerprint = project.cycle()["champion"]
    results["champion"] = fingerprint
    if fingerprint and "champion" not in models:
        results["not_compared"] = not_comparable(project, fingerprint)
    results["periods"] = read_json(project.root / TRAINING)["periods"]
    results["task"] = contract.task
    return results


def _add_further(
    results: dict[str, Any],
    target: np.ndarray,
    scores: Mapping[str, np.ndarray],
    further: Mapping[str, Callable[..., float]],
    seed: int,
) -> None:
    """Add the team's metrics to the values of each model, and their names as `further`.

    No check judges by them.
    Raises: ProjectError if one has the name of a metric that is there already.
    """
    for name, function in further.items():
        if name in results["values"]["candidate"]:
            raise ProjectError(
                f"evaluate: there is a metric {name!r} already.", "Give yours another name."
            )
        measures = {}
        for model, model_scores in scores.items():
            measures[model] = metrics.weighted(name, function, target, model_scores)
        estimates = metrics.estimates(measures, len(target), metrics.RESAMPLES, seed)
        for model, estimate in estimates.items():
            results["values"][model][name] = estimate.plain()
    results["further"] = sorted(further)


def score(
    project: Project, models: Mapping[str, Scorer], rows: "pd.DataFrame"
) -> dict[str, np.ndarray]:
    """The (n,) or (n, c) scores of each model for n joined rows."""
    return score_all(models, project.contract.arrays(rows))


def read_rows(project: Project) -> "pd.DataFrame":
    """The rows to evaluate on, as train wrote them. Raises: ProjectError if there are none."""
    import pandas as pd

    return measurable(pd.read_parquet(project.root / EVALUATION))


def summary(measured: Mapping[str, Any]) -> str:
    """A line about the main metric of each model."""
    metric = metrics.MAIN[measured["task"]]
    values = []
    for model, estimates in measured["values"].items():
        value = number(estimates[metric]["value"]) or "?"
        values.append(f"{model} {value}")
    periods = ", ".join(measured["periods"]["evaluation"])
    return f"evaluate: {measured['rows']:,} rows of {periods}; {metric}: {', '.join(values)}"
