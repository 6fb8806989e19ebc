"""MLflow as a window on the record: where its store is, how it is opened, and how values are named.

Nothing is decided by what MLflow holds, so a store that was lost can be filled again.
"""

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
from mlgates.registry.dvc_storage import exclusively
from mlgates.registry.releases import artifact
from mlgates.verdict import current_name

SERVERS = ("http", "databricks")  # how the address of an MLflow server begins
DATABASE_TIMEOUT = 30  # seconds that another program has to finish writing to the database


@dataclass(frozen=True)
class Store:
    """An MLflow client that knows the project's experiment; everything else is MlflowClient's."""

    client: Any
    experiment: str

    def __getattr__(self, name: str) -> Any:
        """Pass on to the client."""
        return getattr(self.client, name)


def home(project: Project) -> Project:
    """The project whose MLflow is used.

    `dvc exp run --temp` works in a throw-away copy inside of .dvc/tmp. Its runs belong into the
    MLflow of the project itself.
    """
    root, is_copy, _ = project.root.as_posix().rpartition("/.dvc/tmp/")
    return project.moved(Path(root)) if is_copy else project


@contextmanager
def reachable(uri: str) -> Iterator[None]:
    """While the block lasts, what MLflow raises becomes a ProjectError of one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        first_line = str(error).splitlines()[0]
        raise ProjectError(
            f"MLflow at {uri} does not work: {first_line}",
            "Check MLFLOW_TRACKING_URI. "
            "A local store may be deleted, and filled again: uv run mlops mirror",
        ) from error


def open_store(project: Project) -> Store:
    """The team's MLflow with the project's experiment, made if it is not there.

    It is at MLFLOW_TRACKING_URI, else in mlflow.db at the root. If the database there is damaged,
    or was made at another place (the project's folder was moved), it is set aside in var/aside.

    Raises: ProjectError if the store cannot be reached.
    """
    from mlflow import MlflowClient

    # MLflow makes a new database in many steps, and alembic logs each of them.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    project = home(project)
    name, _ = artifact(project)
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    uri = given or f"sqlite:///{(project.root / MLFLOW_DATABASE).as_posix()}"
    registry_uri = os.environ.get("MLFLOW_REGISTRY_URI") or uri
    place = None  # a server knows itself where the artifacts go
    if not given.startswith(SERVERS):
        place = (project.root / MLFLOW_ARTIFACTS).resolve().as_uri()

    with exclusively(project, "mlflow"), reachable(uri):
        if not given:
            _prepare_database(project, name, place)
        client = MlflowClient(uri, registry_uri=registry_uri)
        experiment = _experiment(client, name, place)
        (project.root / MLFLOW_BEGUN).unlink(missing_ok=True)
    return Store(client, experiment)


def _prepare_database(project: Project, name: str, place: str | None) -> None:
    """Set a database aside that cannot be used, and mark that a new one is being made.

    The mark is a file that is there while the database is made. If it is there already, a process
    was killed in between, and the database is half made.
    """
    database = project.root / MLFLOW_DATABASE
    begun = project.root / MLFLOW_BEGUN
    if database.exists():
        is_usable = _is_usable(database, name, place)
        if is_usable and not begun.exists():
            return
        _set_aside(project)
    begun.touch()


def _experiment(client: Any, name: str, place: str | None) -> str:
    """The id of an experiment, made if it is not there, and restored if somebody deleted it."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name, artifact_location=place))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _is_usable(database: Path, name: str, place: str | None) -> bool:
    """Whether the database can be read, and its artifacts are at this place.

    Raises: ProjectError if another program holds it.
    """
    query = "SELECT artifact_location FROM experiments WHERE name = ?"
    try:
        with closing(sqlite3.connect(database, timeout=DATABASE_TIMEOUT)) as connection:
            row = connection.execute(query, [name]).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # its making was not finished
            return False
        raise ProjectError(
            f"{MLFLOW_DATABASE} cannot be read: {error}.", "End the program that holds it."
        ) from None
    except sqlite3.DatabaseError:
        return False
    return row in (None, (place,))  # None: the experiment was not made yet


def _set_aside(project: Project) -> None:
    """Move the database and its artifacts to var/aside, into a folder named after the time."""
    aside = project.root / ASIDE / time.strftime("%Y-%m-%d-%H%M%S")
    for path in (project.root / MLFLOW_DATABASE, project.root / MLFLOW_ARTIFACTS):
        if path.exists():
            aside.mkdir(parents=True, exist_ok=True)
            path.rename(aside / path.name)


def run_content(
    trained: Mapping[str, Any], measured: Mapping[str, Any], report: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Parameters, metrics and tags of a model's run, from the reports of its stages.

    `trained` is the report of train, `measured` that of evaluate, `report` that of the gate. What
    they do not say is None; `mlflow_run.numbers` and `mlflow_run.run_tags` leave it out.
    """
    facts = report.get("facts", {})
    tags = {
        "verdict": report.get("verdict"),
        "digest": facts.get("model"),
        "champion": facts.get("champion", facts.get("opponent")),  # the second until 0.3
    }

    metrics = {}
    for name, value in flat(measured.get("values", {})).items():
        metrics[name.removesuffix(".value")] = value

    judged = {}
    warnings = report.get("warnings", report.get("advice", []))  # the second until 0.3
    for check in (*report.get("checks", []), *warnings):
        judged[current_name(check["name"])] = check["value"]
    for feature in trained.get("features", []):
        metrics[f"gain.{feature}"] = judged.get(f"gate.feature_gain.{feature}")
        metrics[f"cost.{feature}"] = judged.get(f"gate.feature_cost.{feature}")
    return flat(trained.get("params", {})), metrics, tags


def parameters(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of entries of dvc.lock, by their dotted names.

    What the team set wins over the defaults, as it does in a run.
    """
    files: list[tuple[str, Any]] = []
    for entry in entries:
        files.extend(entry.get("params", {}).items())
    files.sort(key=lambda file: file[0] == PARAMS.name)  # params.yaml, which the team writes, last

    values: dict[str, Any] = {}
    for _, content in files:
        values.update(flat(content))
    return values


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested sections by their dotted names; lists and None are left out."""
    if isinstance(content, list | None):
        return {}
    if not isinstance(content, Mapping):
        return {prefix: content}
    leaves: dict[str, Any] = {}
    for key, part in content.items():
        name = f"{prefix}.{key}" if prefix else key
        leaves.update(flat(part, name))
    return leaves
