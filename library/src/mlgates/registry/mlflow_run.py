"""One run in MLflow for each model: what it holds already, and what has to be logged still.

Two write such runs. The stage track logs a candidate, in a wiring file that calls MLflow's own
functions. The mirror logs a release of the record, with `upsert_run`. Both ask here what is new, so
they agree.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgates.registry.mlflow_client import Store

DVC_EXPERIMENT = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")  # `dvc exp run` sets them
PARENT = "mlflow.parentRunId"  # the tag by which MLflow shows a run below another one
MAX_NAME_LENGTH = 100


@dataclass(frozen=True)
class Trial:
    """One set of values that tuning tried; `mark` is what no other trial of the model has."""

    values: Mapping[str, Any]
    metrics: Mapping[str, float]
    mark: str

    @property
    def name(self) -> str:
        """Its values as the run's name."""
        pairs = [f"{name}={value}" for name, value in self.values.items()]
        return ", ".join(pairs)[:MAX_NAME_LENGTH]


def run_name(fingerprint: str) -> str:
    """The beginning of the fingerprint, by which people call the model."""
    return fingerprint[:8]


def find_run(store: Store, fingerprint: str) -> Any | None:
    """The run of a model, as MLflow's `Run`; None if there is none yet."""
    condition = f"tags.fingerprint = '{fingerprint}'"
    runs = store.search_runs([store.experiment], condition, max_results=1)
    return next(iter(runs), None)


def has_model(store: Store, run: Any) -> bool:
    """Whether a run holds its model whole.

    A run that was killed may hold a part of it, so the model counts only if the run ended well.
    """
    if run.info.status != "FINISHED":
        return False
    return bool(store.list_artifacts(run.info.run_id, "model"))


def missing_params(params: Mapping[str, Any], logged: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are not logged yet: MLflow keeps a parameter as it was first logged."""
    missing = dict(params)
    for name in logged:
        missing.pop(name, None)
    return missing


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are numbers: MLflow takes neither text nor None, and NaN says nothing."""
    kept = {}
    for name, value in metrics.items():
        if isinstance(value, int | float) and not math.isnan(value):
            kept[name] = float(value)
    return kept


def run_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text, with those that say of which `dvc exp run` this process is a part.

    Tags without a value are left out.
    """
    all_tags = dict(tags)
    for name in DVC_EXPERIMENT:
        all_tags[name] = os.environ.get(name)
    return {name: str(value) for name, value in all_tags.items() if value}


def compare_trials(
    store: Store, parent: str | None, tuning: Mapping[str, Any]
) -> tuple[list[Trial], list[str]]:
    """Compare the report of tuning with the child runs of a model's run, `parent`.

    Returns the trials that have no child run yet, and the ids of child runs whose trial is not in
    the report any more.
    """
    outdated = {}  # by the mark of the trial, until its trial is found in the report
    if parent:
        condition = f"tags.`{PARENT}` = '{parent}'"
        for run in store.search_runs([store.experiment], condition):
            outdated[run.data.tags.get("trial")] = run.info.run_id

    new = []
    for entry in tuning.get("trials", []):
        trial = _trial(entry, tuning["metric"])
        if not outdated.pop(trial.mark, None):
            new.append(trial)
    return new, list(outdated.values())


def _trial(entry: Mapping[str, Any], metric: str) -> Trial:
    """An entry of the report of tuning as a trial; numbers that are missing are left out."""
    mark = json.dumps([entry["values"], entry["value"]], sort_keys=True, default=str)
    metrics = numbers({metric: entry["value"], "seconds": entry["seconds"]})
    return Trial(entry["values"], metrics, mark)


def upsert_run(
    store: Store,
    fingerprint: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, Any],
    model: Path | None = None,
) -> str:
    """Make the one run of a model, or bring it up to date; returns its id.

    `model` is the model's folder if it has to be in the run, too; it is sent once. Parameters stay
    as they were first logged, and a metric is logged again only if it changed.
    """
    run = find_run(store, fingerprint)
    if run is None:
        mark = {"fingerprint": fingerprint}
        run = store.create_run(store.experiment, run_name=run_name(fingerprint), tags=mark)
    run_id = str(run.info.run_id)

    new_params = missing_params(params, run.data.params)
    changed_metrics = dict(numbers(metrics).items() - run.data.metrics.items())
    _log(store, run_id, new_params, changed_metrics, run_tags(tags))
    if model and not has_model(store, run):
        store.log_artifacts(run_id, str(model), "model")
    store.set_terminated(run_id)
    return run_id


def log_trials(store: Store, parent: str, tuning: Mapping[str, Any]) -> None:
    """Log what tuning tried as child runs of a model's run, each once.

    A child run whose trial is not in the report any more is deleted.
    """
    new, outdated = compare_trials(store, parent, tuning)
    for trial in new:
        tags = {PARENT: parent, "trial": trial.mark}
        child = store.create_run(store.experiment, run_name=trial.name, tags=tags)
        run_id = child.info.run_id
        _log(store, run_id, trial.values, trial.metrics, {})
        store.set_terminated(run_id)
    for run_id in outdated:
        store.delete_run(run_id)


def _log(
    store: Store,
    run_id: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    """Log all with one call to the store."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)  # MLflow counts in milliseconds
    store.log_batch(
        run_id,
        [Metric(name, number, now, 0) for name, number in metrics.items()],
        [Param(name, str(value)) for name, value in params.items()],
        [RunTag(name, text) for name, text in tags.items()],
    )
