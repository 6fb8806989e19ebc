"""MLflow as a window: where its store is, how it is opened, and one run for each model."""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError
from mlgates.layout import ASIDE, MLFLOW_ARTIFACTS, MLFLOW_BEGUN, MLFLOW_DATABASE, PARAMS
from mlgates.project import Project
from mlgates.registry.dvc_storage import alone
from mlgates.registry.releases import artifact
from mlgates.verdict import current_name


@dataclass(frozen=True)
class Store:
    """An MLflow client that knows the project's experiment; everything else is MlflowClient's."""

    client: Any
    experiment: str

    def __getattr__(self, name: str) -> Any:
        """Pass on to the client."""
        return getattr(self.client, name)


def home(project: Project) -> Project:
    """The project itself where `project` is a throw-away copy of it, in which `dvc exp run --temp` works."""
    inside = [parent for parent in project.root.parents if parent.parts[-2:] == (".dvc", "tmp")]
    return project.moved(inside[0].parent.parent) if inside else project


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """What MLflow cannot do, as one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        remedy = "Check MLFLOW_TRACKING_URI; a local store may be deleted and filled again: uv run mlops mirror"
        raise ProjectError(
            f"MLflow at {uri} does not work: {str(error).splitlines()[0]}", remedy
        ) from error


def open_store(project: Project) -> Store:
    """The team's MLflow (MLFLOW_TRACKING_URI), else mlflow.db at the root, made once; with the project's experiment.

    A database that is damaged, or was made at another place (a moved folder), is set aside in var/aside.
    Raises: ProjectError if the store cannot be reached.
    """
    project = home(project)
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = given or f"sqlite:///{(project.root / MLFLOW_DATABASE).as_posix()}"
    name, _ = artifact(project)
    place = (
        None
        if given.startswith(("http", "databricks"))
        else (project.root / MLFLOW_ARTIFACTS).resolve().as_uri()
    )
    with alone(project, "mlflow"), reachable(uri):
        begun = project.root / MLFLOW_BEGUN
        if not given:
            _set_aside(project, name, place, broken=begun.exists())
        if not given and not (project.root / MLFLOW_DATABASE).exists():
            begun.touch()
        client = MlflowClient(uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
        found = client.get_experiment_by_name(name)
        identifier = (
            found.experiment_id
            if found
            else client.create_experiment(name, artifact_location=place)
        )
        if found and found.lifecycle_stage == "deleted":
            client.restore_experiment(identifier)
        begun.unlink(missing_ok=True)
    return Store(client, identifier)


def _set_aside(project: Project, name: str, place: str | None, *, broken: bool) -> None:
    database = project.root / MLFLOW_DATABASE
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, timeout=30)) as opened:
            kept = opened.execute(
                "SELECT artifact_location FROM experiments WHERE name = ?", [name]
            ).fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
            raise ProjectError(
                f"{MLFLOW_DATABASE} cannot be read: {error}.", "End the program that holds it."
            ) from None
        kept, broken = None, True
    if not broken and (kept is None or kept[0] == place):
        return
    aside = project.root / ASIDE / time.strftime("%Y-%m-%d-%H%M%S")
    aside.mkdir(parents=True, exist_ok=True)
    for path in (database, project.root / MLFLOW_ARTIFACTS):
        if path.exists():
            path.rename(aside / path.name)


def upsert_run(
    store: Store,
    fingerprint: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    tags: Mapping[str, Any],
    artifacts: Mapping[str, Path],
) -> str:
    """The one run of a model, made or brought up to date; returns its id.

    `artifacts` maps a name in the run to a file or a folder; the model is sent once, everything else each time.
    Parameters stay as they were first logged, and a metric is logged again only if it changed.
    """
    from mlflow.entities import Metric, Param, RunTag

    found = store.search_runs(
        [store.experiment], f"tags.fingerprint = '{fingerprint}'", max_results=1
    )
    mark = {"fingerprint": fingerprint}
    run = (
        found[0]
        if found
        else store.create_run(store.experiment, run_name=fingerprint[:8], tags=mark)
    )
    identifier, now = run.info.run_id, int(time.time() * 1000)
    new = [Param(key, str(value)) for key, value in params.items() if key not in run.data.params]
    moved = {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float) and value == value
    }
    points = [
        Metric(key, value, now, 0)
        for key, value in moved.items()
        if run.data.metrics.get(key) != value
    ]
    experiment = {
        key: os.environ[key]
        for key in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
        if key in os.environ
    }
    marks = [RunTag(key, str(value)) for key, value in {**tags, **experiment}.items()]
    store.log_batch(identifier, points, new, marks)
    for name, path in artifacts.items():
        if (
            name == "model"
            and run.info.status == "FINISHED"
            and store.list_artifacts(identifier, name)
        ):
            continue
        send = store.log_artifacts if path.is_dir() else store.log_artifact
        send(identifier, str(path), name)
    store.set_terminated(identifier)
    return str(identifier)


def log_trials(store: Store, parent: str, tuning: Mapping[str, Any]) -> None:
    """What tune tried, as child runs of a model's run: each once, and none that is not in the report any more."""
    from mlflow.entities import Metric, Param

    children = f"tags.`mlflow.parentRunId` = '{parent}'"
    known = {
        run.data.tags.get("trial"): run for run in store.search_runs([store.experiment], children)
    }
    for trial in tuning.get("trials", []):
        mark = json.dumps([trial["values"], trial["value"]], sort_keys=True, default=str)
        if known.pop(mark, None):
            continue
        tags = {"mlflow.parentRunId": parent, "trial": mark}
        name = ", ".join(f"{name}={value}" for name, value in trial["values"].items())
        child = store.create_run(store.experiment, run_name=name[:100], tags=tags).info.run_id
        numbers = {tuning["metric"]: trial["value"], "seconds": trial["seconds"]}
        points = [
            Metric(key, value, int(time.time() * 1000), 0)
            for key, value in numbers.items()
            if value is not None
        ]
        store.log_batch(
            child, points, [Param(key, str(value)) for key, value in trial["values"].items()]
        )
        store.set_terminated(child)
    for run in known.values():
        store.delete_run(run.info.run_id)


def described(
    trained: Mapping[str, Any], measured: Mapping[str, Any], report: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """Parameters, metrics and tags of a model's run, from the reports of train, evaluate and gate."""
    facts = report.get("facts", {})
    tags = {
        "verdict": report.get("verdict"),
        "digest": facts.get("model"),
        "champion": facts.get("champion", facts.get("opponent")),
    }
    metrics = {
        name.removesuffix(".value"): value
        for name, value in flat(measured.get("values", {})).items()
    }
    judged = {}
    for check in (*report.get("checks", []), *report.get("warnings", report.get("advice", []))):
        judged[current_name(check["name"])] = check["value"]
    for feature in trained.get("features", []):
        gain, cost = f"gate.feature_gain.{feature}", f"gate.feature_cost.{feature}"
        if gain in judged:
            metrics[f"gain.{feature}"] = judged[gain]
        if cost in judged:
            metrics[f"cost.{feature}"] = judged[cost]
    return (
        flat(trained.get("params", {})),
        metrics,
        {name: value for name, value in tags.items() if value},
    )


def parameters(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of entries of dvc.lock; what the team set wins over the defaults, as it does in a run."""
    files = [item for entry in entries for item in entry.get("params", {}).items()]
    found: dict[str, Any] = {}
    for _, content in sorted(files, key=lambda item: item[0] == PARAMS.name):
        found |= flat(content)
    return found


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested sections by their dotted names; lists and nothing are left out."""
    if not isinstance(content, Mapping):
        return {} if isinstance(content, list) or content is None else {prefix: content}
    parts = (flat(part, f"{prefix}.{key}" if prefix else key) for key, part in content.items())
    return {name: leaf for part in parts for name, leaf in part.items()}
