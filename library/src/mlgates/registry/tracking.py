"""What MLflow is told of a candidate, from the reports of the pipeline: the stage `track` logs it."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgates.dvc_lock import fingerprint, locked
from mlgates.errors import ProjectError
from mlgates.files import read_json, write_json
from mlgates.layout import (
    BOM,
    CANDIDATE,
    CARD,
    FEATURES,
    GATE,
    GATE_PAGE,
    MANIFEST,
    METRICS,
    PICTURES,
    STALENESS,
    TRACKED,
    TRAINING,
    TUNING,
)
from mlgates.model_folder import described as described_model
from mlgates.project import Project
from mlgates.registry.git import head, identity
from mlgates.registry.mlflow_client import described, home, open_store

if TYPE_CHECKING:
    from mlflow.data.dataset import Dataset


@dataclass(frozen=True)
class Trial:
    """One set of values that tuning tried; `mark` tells it from all others."""

    values: Mapping[str, Any]
    metrics: Mapping[str, float]
    mark: str

    @property
    def name(self) -> str:
        """Its values as the run's name."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items())[:100]


@dataclass(frozen=True)
class Run:
    """The one run of a model: `identifier` is None until it is logged for the first time.

    `params` and `trials` are those that the run does not have yet: MLflow keeps a parameter as it was first logged.
    """

    identifier: str | None
    fingerprint: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    data: "Dataset"
    files: list[Path]
    pictures: Path
    model: Path
    has_model: bool
    trials: list[Trial]

    @property
    def name(self) -> str:
        """The beginning of the fingerprint, by which people call the model."""
        return self.fingerprint[:8]


def begin(project: Project) -> Run:
    """Let MLflow log to the project's experiment, and say what has to be logged of the candidate.

    The store is MLFLOW_TRACKING_URI, else mlflow.db at the root. Raises: ProjectError if it cannot be reached, or if
    the candidate reads a column that is barred: such a model is not logged.
    """
    described_model(project.root / CANDIDATE, project.contract)
    mark = fingerprint(locked(project))
    trained = read_json(project.root / TRAINING)
    params, metrics, tags = described(
        trained, read_json(project.root / METRICS), read_json(project.root / GATE)
    )
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if name in os.environ:
            tags[name] = os.environ[name]
    store = open_store(project)
    import mlflow

    mlflow.set_tracking_uri(store.tracking_uri)
    mlflow.set_experiment(experiment_id=store.experiment)
    logged = _logged(store, mark)
    pictures = [path.with_suffix(".svg") for path in (STALENESS, FEATURES)]
    return Run(
        identifier=logged.identifier,
        fingerprint=mark,
        params={name: value for name, value in params.items() if name not in logged.params},
        metrics={name: float(value) for name, value in metrics.items() if _is_number(value)},
        tags={
            "fingerprint": mark,
            **_made_by(project),
            **{name: str(value) for name, value in tags.items()},
        },
        data=_data(project, trained),
        files=[project.root / path for path in (GATE_PAGE, GATE, METRICS, CARD, BOM, *pictures)],
        pictures=project.root / PICTURES,
        model=project.root / CANDIDATE,
        has_model=logged.has_model,
        trials=_new_trials(store, logged.identifier, read_json(project.root / TUNING)),
    )


def end(project: Project, run: Run) -> str:
    """Note that the model is tracked, and return a line about it.

    `var/tracked.json` holds the fingerprint alone, so that dvc.lock is the same on all machines.
    """
    write_json(project.root / TRACKED, {"fingerprint": run.fingerprint})
    return f"track: run {run.name} in {home(project).root.name}'s MLflow; look: uv run mlflow ui"


def _made_by(project: Project) -> dict[str, str]:
    """Who trained from which commit, by MLflow's own names; nothing outside of a repository."""
    with suppress(ProjectError):
        return {
            "mlflow.user": identity(project.root)[0],
            "mlflow.source.git.commit": head(project.root),
        }
    return {}


def _data(project: Project, trained: Mapping[str, Any]) -> "Dataset":
    """The closed periods that the model was trained on, as MLflow's data set: their names, and a hash of their content.

    The content itself is DVC's; `source` says by which commit and which hashes it is found.
    """
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    periods = trained.get("periods", {}).get("train", [])
    path = project.root / MANIFEST
    manifest = read_json(path) if path.exists() else {}
    hashes = {period: manifest[period] for period in periods if period in manifest}
    content = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    name = f"{periods[0]} to {periods[-1]}" if periods else "rows"
    return MetaDataset(CodeDatasetSource({"manifest": hashes}), name=name, digest=content[:36])


@dataclass(frozen=True)
class _Logged:
    """What MLflow holds of a model already; nothing at first."""

    identifier: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    has_model: bool = False


def _logged(store: Any, identity: str) -> _Logged:
    """The run of a model. A model counts as sent once its run has ended well: a killed run sends it again."""
    found = store.search_runs([store.experiment], f"tags.fingerprint = '{identity}'", max_results=1)
    if not found:
        return _Logged()
    run = found[0]
    ended_well = run.info.status == "FINISHED"
    has_model = ended_well and bool(store.list_artifacts(run.info.run_id, "model"))
    return _Logged(run.info.run_id, run.data.params, has_model)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value == value


def _new_trials(store: Any, parent: str | None, tuning: Mapping[str, Any]) -> list[Trial]:
    """The trials that have no child run yet; child runs of trials that the report has no more are deleted."""
    known = {}
    if parent:
        children = f"tags.`mlflow.parentRunId` = '{parent}'"
        known = {
            run.data.tags.get("trial"): run
            for run in store.search_runs([store.experiment], children)
        }
    new = []
    for trial in tuning.get("trials", []):
        mark = json.dumps([trial["values"], trial["value"]], sort_keys=True, default=str)
        if known.pop(mark, None):
            continue
        numbers = {tuning["metric"]: trial["value"], "seconds": trial["seconds"]}
        new.append(
            Trial(trial["values"], {k: float(v) for k, v in numbers.items() if v is not None}, mark)
        )
    for run in known.values():
        store.delete_run(run.info.run_id)
    return new
