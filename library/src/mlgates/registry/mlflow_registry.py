"""MLflow's registry as a mirror of the record.

It is filled from the record and corrected by it. No decision reads it.
"""

from dataclasses import dataclass
from typing import Any

from mlgates.layout import GATE, METRICS, TRAINING, TUNING
from mlgates.project import Project
from mlgates.registry.deploy import fetch
from mlgates.registry.dvc_storage import exclusively
from mlgates.registry.mlflow_client import Store, home, open_store, reachable, run_content
from mlgates.registry.mlflow_run import has_model, log_trials, upsert_run
from mlgates.registry.releases import (
    Assignment,
    Record,
    Release,
    read,
    settle_if_reachable,
    show_json,
)

NOTHING = "nothing"  # the release of an alias that is not set


@dataclass(frozen=True)
class _Moves:
    """How many aliases were set, and a sentence for each that somebody had moved by hand."""

    count: int
    notes: list[str]


def mirror(project: Project) -> str:
    """Fill MLflow's registry: one registered model, its versions and their aliases.

    There is one version for each release, made in the order of the releases. A version is found by
    its tag `fingerprint`, never by MLflow's numbers. Only models that hold an alias are sent.

    Returns what was done, and which aliases somebody had moved by hand. Raises: ProjectError if
    MLflow cannot be reached.
    """
    unreachable = settle_if_reachable(project)
    return fill(project, read(project)) + unreachable


def fill(project: Project, record: Record) -> str:
    """`mirror` for a record that was just read."""
    if not record.releases:
        return "There is no release yet, so MLflow has nothing to mirror."
    store = open_store(project)
    with exclusively(home(project), "mirror"), reachable(store.tracking_uri):
        if not store.search_registered_models(f"name = '{record.name}'"):
            store.create_registered_model(
                record.name, description="Filled from git tags: uv run mlops mirror"
            )
        before = _versions(store, record.name)
        versions = _fill_versions(project, store, record, before)
        moves = _set_aliases(store, record, versions)

    added = len(versions) - len(before)
    done = "there was nothing to do"
    if added or moves.count:
        done = f"{added} versions added, {moves.count} aliases set"
    summary = f"MLflow mirrors {len(record.releases)} releases of {record.name}: {done}."
    return "\n".join([summary, *moves.notes])


def _versions(store: Store, name: str) -> dict[str, Any]:
    """MLflow's versions of the model by fingerprint, without those that somebody else made."""
    versions = {}
    for version in store.search_model_versions(f"name = '{name}'"):
        if "fingerprint" in version.tags:
            versions[version.tags["fingerprint"]] = version
    return versions


def _fill_versions(
    project: Project, store: Store, record: Record, before: dict[str, Any]
) -> dict[str, Any]:
    """The versions by fingerprint, after each release has one; `before` are those already there."""
    versions = dict(before)
    for release in record.releases:
        has_alias = bool(record.aliases(release))
        versions[release.fingerprint] = _version(
            project,
            store,
            release,
            versions.get(release.fingerprint),
            with_model=has_alias and not release.erased,
        )
    return versions


def _version(
    project: Project, store: Store, release: Release, version: Any | None, *, with_model: bool
) -> Any:
    """The release's version in MLflow, made if it is absent.

    With `with_model` the model is sent, unless it is there.
    """
    if version is not None and (not with_model or _holds_model(store, version.run_id)):
        return version

    marks = {
        "release": release.version,
        "fingerprint": release.fingerprint,
        "commit": release.commit,
    }
    run_id = _log_run(project, store, release, marks, with_model=with_model)
    if version is not None:
        if version.run_id == run_id:
            return version
        # Its run was deleted, so the model is in another one; a version cannot change its run.
        store.delete_model_version(release.name, version.version)
    source = f"runs:/{run_id}/model"
    return store.create_model_version(release.name, source, run_id, tags=marks)


def _log_run(
    project: Project, store: Store, release: Release, marks: dict[str, str], *, with_model: bool
) -> str:
    """Log the release's run and what tuning tried, as far as MLflow lacks them; returns its id."""
    params, metrics, tags = run_content(
        show_json(project, release.commit, TRAINING),
        show_json(project, release.commit, METRICS),
        show_json(project, release.commit, GATE),
    )
    model = fetch(project, release) if with_model else None
    run_id = upsert_run(store, release.fingerprint, params, metrics, {**tags, **marks}, model)
    log_trials(store, run_id, show_json(project, release.commit, TUNING))
    return run_id


def _holds_model(store: Store, run_id: str) -> bool:
    """Whether the run of a version is there and holds its model."""
    from mlflow.exceptions import MlflowException

    try:
        return has_model(store, store.get_run(run_id))
    except MlflowException:
        return False


def _set_aliases(store: Store, record: Record, versions: dict[str, Any]) -> _Moves:
    """Set MLflow's aliases as the record has them.

    The tag `record.<alias>` holds the release that had the alias here the last time. If MLflow's
    alias names another release, somebody has moved it by hand.
    """
    model = store.get_registered_model(record.name)
    releases = {"": NOTHING}  # by MLflow's number of the version
    for version in versions.values():
        releases[str(version.version)] = version.tags["release"]
    count = 0
    notes = []
    for alias, assignment in sorted(record.holders.items()):
        wanted = str(versions[assignment.release.fingerprint].version)
        last_set = model.tags.get(f"record.{alias}", NOTHING)
        number = str(model.aliases.get(alias, ""))
        present = releases.get(number, f"version {number}")

        if number != wanted:
            if present != last_set:
                notes.append(_moved_by_hand(assignment, last_set, present))
            store.set_registered_model_alias(record.name, alias, wanted)
            count += 1
        if last_set != assignment.to:
            store.set_registered_model_tag(record.name, f"record.{alias}", assignment.to)
    return _Moves(count, notes)


def _moved_by_hand(assignment: Assignment, last_set: str, present: str) -> str:
    alias = assignment.alias
    return (
        f"Somebody moved {alias} by hand in MLflow, from {last_set} to {present}:"
        f" it is {assignment.to} again."
    )
