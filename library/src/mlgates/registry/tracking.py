"""What the stage `track` logs to MLflow of a candidate, from the reports of the pipeline."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
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
from mlgates.model_folder import stored_description as described_model
from mlgates.project import Project
from mlgates.registry.git import head, identity
from mlgates.registry.mlflow_client import Store, home, open_store, run_content
from mlgates.registry.mlflow_run import (
    Trial,
    compare_trials,
    find_run,
    has_model,
    missing_params,
    numbers,
    run_name,
    run_tags,
)

if TYPE_CHECKING:
    from mlflow.data.dataset import Dataset

MAX_DIGEST_LENGTH = 36  # that MLflow's database takes


@dataclass(frozen=True)
class Run:
    """The one run of a model; `identifier` is None until it is logged for the first time.

    `params` and `trials` are those that the run does not have yet: MLflow keeps a parameter as it
    was first logged.
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
        return run_name(self.fingerprint)


def begin(project: Project) -> Run:
    """Let MLflow log to the project's experiment; returns what has to be logged of the candidate.

    The store is MLFLOW_TRACKING_URI, else mlflow.db at the root.

    Raises: ProjectError if the store cannot be reached, or if the candidate reads a column that the
    contract bars: such a model is not logged.
    """
    root = project.root
    described_model(root / CANDIDATE, project.contract)
    model_id = fingerprint(locked(project))
    trained = read_json(root / TRAINING)
    measured = read_json(root / METRICS)
    params, metrics, tags = run_content(trained, measured, read_json(root / GATE))
    store = open_store(project)
    _log_to(store)

    logged = find_run(store, model_id)
    identifier = None
    logged_params: Mapping[str, Any] = {}
    is_model_there = False
    if logged is not None:
        identifier = logged.info.run_id
        logged_params = logged.data.params
        is_model_there = has_model(store, logged)

    files = [GATE_PAGE, GATE, METRICS, CARD, BOM]
    files += [STALENESS.with_suffix(".svg"), FEATURES.with_suffix(".svg")]
    return Run(
        identifier=identifier,
        fingerprint=model_id,
        params=missing_params(params, logged_params),
        metrics=numbers(metrics),
        tags={"fingerprint": model_id, **_made_by(project), **run_tags(tags)},
        data=_data(project, trained),
        files=[root / path for path in files],
        pictures=root / PICTURES,
        model=root / CANDIDATE,
        has_model=is_model_there,
        trials=_new_trials(store, identifier, read_json(root / TUNING)),
    )


def end(project: Project, run: Run) -> str:
    """Note that the model is tracked, and return a line about it.

    `var/tracked.json` holds the fingerprint alone, so that dvc.lock is the same on all machines.
    """
    write_json(project.root / TRACKED, {"fingerprint": run.fingerprint})
    return f"track: run {run.name} in {home(project).root.name}'s MLflow; look: uv run mlflow ui"


def _log_to(store: Store) -> None:
    """Let MLflow's own functions, which the wiring file calls, log to this store."""
    import mlflow

    mlflow.set_tracking_uri(store.tracking_uri)
    mlflow.set_experiment(experiment_id=store.experiment)


def _made_by(project: Project) -> dict[str, str]:
    """Who trained from which commit, by MLflow's own names; nothing outside of a repository."""
    with suppress(ProjectError):
        name, _ = identity(project.root)
        return {"mlflow.user": name, "mlflow.source.git.commit": head(project.root)}
    return {}


def _data(project: Project, trained: Mapping[str, Any]) -> "Dataset":
    """The closed periods that the model was trained on, as MLflow's data set.

    It has their names, and a hash of their content. The content itself is DVC's: `source` holds the
    hashes by which it is found, and the run's tags the commit.
    """
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    periods = trained.get("periods", {}).get("train", [])
    path = project.root / MANIFEST
    manifest = read_json(path) if path.exists() else {}
    hashes = {period: manifest[period] for period in periods if period in manifest}
    content = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    name = f"{periods[0]} to {periods[-1]}" if periods else "rows"
    source = CodeDatasetSource({"manifest": hashes})
    return MetaDataset(source, name=name, digest=content[:MAX_DIGEST_LENGTH])


def _new_trials(store: Store, parent: str | None, tuning: Mapping[str, Any]) -> list[Trial]:
    """The trials that have no child run yet; child runs of trials of before are deleted."""
    new, outdated = compare_trials(store, parent, tuning)
    for run_id in outdated:
        store.delete_run(run_id)
    return new
