"""evaluate: measure candidate, champion and baselines on the same untouched rows, over all of them and by slice."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import team_code
from mlgates.contract import Contract
from mlgates.errors import ProjectError
from mlgates.evaluation import metrics, serving_environment
from mlgates.evaluation.behavior import behavior
from mlgates.evaluation.fairness import RESAMPLES, measure_groups, slices
from mlgates.files import digest, read_json
from mlgates.layout import BASELINES, CANDIDATE, EVALUATION, HOLDOUT, TRAINING
from mlgates.model_folder import Scorer, columns_gone, load, scored
from mlgates.project import Project
from mlgates.reports import number
from mlgates.settings import EvaluateSettings
from mlgates.training.split import measurable
from mlgates.trust.champion import FOLLOW, find, load_signed

if TYPE_CHECKING:
    import pandas as pd

TRIVIAL = "baseline.trivial"
LOST = {
    "champion": "difference",
    TRIVIAL: "floor",
}  # what a slice calls the candidate's lead over each


def measure(
    contract: Contract,
    rows: "pd.DataFrame",
    scores: Mapping[str, np.ndarray],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Measurements of several models on the same rows.

    `scores` maps "candidate", perhaps "champion", and "baseline.*" to the (n,) or (n, c) scores of `rows`. Returns
    plain data: `values`, `differences` (candidate minus the other, positive is better) by model and metric, `slices`.
    """
    target, names, parts = (
        contract.target(rows),
        metrics.named(contract.task),
        slices(contract, rows),
    )

    def measures(
        where: Any, models: Iterable[str], places: np.ndarray | None = None
    ) -> dict[Any, metrics.Measure]:
        made = {
            model: metrics.measures(contract.task, target, scores[model], places)
            for model in models
        }
        return {(where, model, name): each[name] for model, each in made.items() for name in each}

    found: dict[Any, metrics.Estimate] = {
        **metrics.estimates(measures("", scores), len(rows), resamples, seed)
    }
    compared = [model for model in ("candidate", "champion", TRIVIAL) if model in scores]
    by_slice = {
        key: one
        for where, places in parts.items()
        for key, one in measures(where, compared, places).items()
    }
    if by_slice:
        found |= metrics.estimates(by_slice, len(rows), min(resamples, RESAMPLES), seed)
    values, differences = _compared(found, scores, names)
    told = []
    for where, places in parts.items():
        each, others = _compared(found, compared, names, where)
        each.pop(TRIVIAL, None)
        lost = {what: others[model] for model, what in LOST.items() if model in others}
        told.append({"column": where[0], "value": where[1], "rows": len(places), **each, **lost})
    finite = bool(all(np.isfinite(s).all() for s in scores.values()))
    return {
        "rows": len(rows),
        "finite": finite,
        "values": values,
        "differences": differences,
        "slices": told,
    }


def _compared(
    found: Mapping[Any, metrics.Estimate],
    models: Iterable[str],
    names: Iterable[str],
    where: object = "",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of some models, and by how much the candidate is better than each of the others, by metric."""
    each = {model: {name: found[where, model, name] for name in names} for model in models}
    values = {
        model: {name: value.plain() for name, value in part.items()} for model, part in each.items()
    }
    differences = {
        model: {
            name: each["candidate"][name].minus(value, name).plain() for name, value in part.items()
        }
        for model, part in each.items()
        if model != "candidate"
    }
    return values, differences


def champion(project: Project, fingerprint: str | None, load_model: Any) -> dict[str, Scorer]:
    """The model to beat, as `{"champion": scorer}`; nothing if there is none yet, or none to compare with.

    Raises: ProjectError if it is named but not on this machine, or cannot be loaded.
    """
    if fingerprint is None:
        return {}
    if reason := not_comparable(project, fingerprint):
        print(f"evaluate: the champion is not compared: {reason}.")
        return {}
    return {"champion": load_model(find(project, fingerprint))}


def not_comparable(project: Project, fingerprint: str) -> str:
    """Why a champion cannot score today's rows, or may not; empty if it can.

    It brings its own features, so it can as long as the columns that they read are delivered as they were, and as long
    as it predicts the same. Raises: ProjectError if it is not on this machine.
    """
    contract, folder = project.contract, find(project, fingerprint)
    if not (folder / team_code.FOLDER).exists():
        return "it carries no feature code, for an older mlgates made it"
    stored = read_json(folder / "features.json", FOLLOW)
    asked = {"outcome": contract.outcome.name, "task": contract.task, "classes": contract.classes}
    for name, value in asked.items():
        if stored.get(name) != value:
            return f"it predicts something else ({name}: {stored.get(name)}, not {value})"
    try:
        gone = columns_gone(folder, contract)
    except ProjectError as error:
        if not str(error).startswith("features.forbidden"):
            raise
        return "it reads what is barred by now: " + str(error).splitlines()[0].removeprefix(
            "features.forbidden: "
        )
    return f"it reads columns that are no longer delivered: {'; '.join(gone)}" if gone else ""


def on_holdout(
    contract: Contract,
    rows: "pd.DataFrame",
    models: Mapping[str, Scorer],
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Candidate and champion on the rows that no training ever saw, in the form of `measure`; empty without rows."""
    if rows.empty:
        return {"rows": 0, "values": {}, "differences": {}}
    arrays, compared = (
        contract.arrays(rows),
        [name for name in ("candidate", "champion") if name in models],
    )
    scores = scored({name: models[name] for name in compared}, arrays)
    found = measure(
        replace(contract, slices=()), rows, scores, resamples=settings.resamples, seed=settings.seed
    )
    return {name: found[name] for name in ("rows", "values", "differences")}


def load_models(project: Project) -> dict[str, Scorer]:
    """The models to measure: "candidate", "champion" (see `champion`) and "baseline.*".

    Raises: ProjectError if one cannot be loaded, or if the champion is not signed by a key that the team trusts.
    """
    contract = project.contract
    models: dict[str, Scorer] = {"candidate": load(project.root / CANDIDATE, contract)}
    models |= champion(project, project.cycle()["champion"], partial(load_signed, project))
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
    """All that is measured of candidate, champion and baselines: the content of reports/metrics.json.

    `scores` are those of `models` for `rows`. Beside `measure`, these are groups, hold-out, behavior and
    the service's environment. `further` are metrics of the team's, by name: functions of scikit-learn's kind,
    `brier_score_loss` for example, that are called as `function(target, scores, sample_weight=weights)`.
    They are shown, and change no other number.
    """
    import pandas as pd

    settings = project.settings().evaluate
    arrays = project.contract.arrays(rows)
    found = measure(
        project.contract, rows, scores, resamples=settings.resamples, seed=settings.seed
    )
    if further:
        _add_further(found, project.contract.target(rows), scores, further, settings.seed)
    found["groups"] = measure_groups(
        project.contract, rows, models["candidate"], arrays, scores["candidate"], settings
    )
    holdout = pd.read_parquet(project.root / HOLDOUT)
    found["holdout"] = on_holdout(project.contract, holdout, models, settings)
    found["behavior"] = behavior(project, rows, models, project.root / CANDIDATE, settings)
    found["serving_environment"] = serving_environment.measure(
        project, project.root / CANDIDATE, models["candidate"], arrays
    )
    found["model"] = digest(project.root / CANDIDATE)
    fingerprint = project.cycle()["champion"]
    found["champion"] = fingerprint
    if fingerprint and "champion" not in models:
        found["not_compared"] = not_comparable(project, fingerprint)
    found["periods"] = read_json(project.root / TRAINING)["periods"]
    found["task"] = project.contract.task
    return found


def _add_further(
    found: dict[str, Any],
    target: np.ndarray,
    scores: Mapping[str, np.ndarray],
    further: Mapping[str, Callable[..., float]],
    seed: int,
) -> None:
    """Add the team's metrics to the values of each model, and their names as `further`: nothing is judged by them.

    Raises: ProjectError if one has the name of a metric that is there already.
    """
    for name, function in further.items():
        if name in found["values"]["candidate"]:
            raise ProjectError(
                f"evaluate: there is a metric {name!r} already.", "Give yours another name."
            )
        measures = {
            model: metrics.weighted(name, function, target, each) for model, each in scores.items()
        }
        estimates = metrics.estimates(measures, len(target), metrics.RESAMPLES, seed)
        for model, estimate in estimates.items():
            found["values"][model][name] = estimate.plain()
    found["further"] = sorted(further)


def score(
    project: Project, models: Mapping[str, Scorer], rows: "pd.DataFrame"
) -> dict[str, np.ndarray]:
    """The (n,) or (n, c) scores of each model for n joined rows."""
    return scored(models, project.contract.arrays(rows))


def read_rows(project: Project) -> "pd.DataFrame":
    """The rows to evaluate on, as train wrote them. Raises: ProjectError if there are none."""
    import pandas as pd

    return measurable(pd.read_parquet(project.root / EVALUATION))


def summary(measured: Mapping[str, Any]) -> str:
    """A line about the main metric of each model."""
    metric = metrics.MAIN[measured["task"]]
    values = []
    for model, found in measured["values"].items():
        values.append(f"{model} {number(found[metric]['value']) or '?'}")
    periods = ", ".join(measured["periods"]["evaluation"])
    return f"evaluate: {measured['rows']:,} rows of {periods}; {metric}: {', '.join(values)}"
