"""`mlops erase --purge`: delete all that holds erased rows, in every version of data and models.

It is deleted from the DVC cache, its remote, var/ and MLflow. All of it is found before anything is
deleted, so that the next purge can end one that was killed. What DVC keeps is in objects.py.
"""

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlgates.data import tombstones
from mlgates.data.tombstones import Tombstones
from mlgates.dvc_lock import stages
from mlgates.errors import ProjectError
from mlgates.files import temporary_folder
from mlgates.layout import DVC_LOCK, ERASED, MLFLOW_DATABASE, REFERENCE, STATE, TRAINING
from mlgates.privacy.objects import Objects, objects_to_delete
from mlgates.project import Project
from mlgates.registry import deploy, dvc_storage
from mlgates.registry.git import git, remote
from mlgates.registry.mlflow_client import open_store, reachable
from mlgates.registry.promote import require_committed
from mlgates.registry.releases import Record, Release, exchange_tags, read, show, show_json
from mlgates.registry.releases import erase as erase_releases

SEEN_IN_DATA = "its training data hold them"
SEEN_IN_PERIODS = (
    "its training periods had some; its data are neither in the DVC cache nor in its remote"
)


def releases_with_erased_rows(project: Project, erased_rows: Tombstones) -> dict[Release, str]:
    """The releases that were trained on erased rows, each with how that is known.

    It is known by the data of a release, or only by its periods where the data cannot be read.
    """
    record = read(project)
    try:
        with dvc_storage.stores(project) as stores:
            return _trained_on_erased_rows(project, record, Objects(stores, erased_rows))
    except ProjectError:  # the remote cannot be reached
        return _trained_on_erased_rows(project, record, Objects([], erased_rows))


def _trained_on_erased_rows(
    project: Project, record: Record, objects: Objects
) -> dict[Release, str]:
    affected = {}
    for release in record.releases:
        if release.erased:
            continue
        evidence = _evidence(project, release, objects)
        if evidence:
            affected[release] = evidence
    return affected


def _evidence(project: Project, release: Release, objects: Objects) -> str:
    """How it is known that a release was trained on erased rows; empty if it was not."""
    tables = _training_tables(project, release, objects)
    if any(map(objects.holds_erased_rows, tables)):
        return SEEN_IN_DATA
    are_readable = bool(tables) and all(map(objects.exists, tables))
    if not are_readable and has_erased_rows(project, release):
        return SEEN_IN_PERIODS
    return ""


def _training_tables(project: Project, release: Release, objects: Objects) -> set[str]:
    """The Parquet files that a release was trained on or carries.

    Of the inputs that are folders of periods only the training periods count: a release that was
    evaluated on an erased row did not learn from it.
    """
    entry = _training_entry(project, release)
    parts = [*entry.get("deps", []), *entry.get("outs", [])]
    files = objects.file_table(part["md5"] for part in parts)

    used_folders = {"", *_training_periods(project, release)}
    is_used = files["folder"].str.removeprefix("period=").isin(used_folders)
    is_table = files["path"].str.endswith(".parquet").astype(bool)
    return set(files["oid"][is_used & is_table])


def _training_periods(project: Project, release: Release) -> set[str]:
    report = show_json(project, release.commit, TRAINING)
    return set(report.get("periods", {}).get("train", []))


def _training_entry(project: Project, release: Release) -> dict[str, Any]:
    """The entry of a release's training in dvc.lock."""
    return dict(stages(show(project, release.commit, DVC_LOCK)).get("train", {}))


def has_erased_rows(project: Project, release: Release) -> bool:
    """Whether a release was trained on a period of which rows were erased since.

    It asks nothing but git.
    """
    entries = tombstones.listed(project)
    if not entries:
        return False
    entries_before = tombstones.parsed(show(project, release.commit, ERASED))
    hashes_before = {entry.hash for entry in entries_before}
    periods_since: set[str] = set()
    for entry in entries:
        if entry.hash not in hashes_before:
            periods_since.update(entry.periods)
    return not periods_since.isdisjoint(_training_periods(project, release))


def purge(project: Project, erased_rows: Tombstones) -> str:
    """Delete every version of data and models that holds erased rows.

    The releases that were trained on such rows are erased in the record.
    Raises: ProjectError, before anything is deleted, unless everything is committed and pushed, the
    pipeline has run since the erasure, the remote can be reached, and no affected release has an
    alias.
    """
    _check_ready(project)
    record = read(project)
    with dvc_storage.stores(project) as stores:
        objects = Objects(stores, erased_rows)
        affected = _trained_on_erased_rows(project, record, objects)
        _check_not_in_use(project, record, affected)
        # Also what an earlier purge erased: if that was killed, the models are still there.
        erased = [release for release in record.releases if release.erased]
        erased += affected
        models = _model_outputs(project, erased)
        doomed = objects_to_delete(project, objects, models)

        erase_releases(project, affected, "it was trained on erased rows")
        for oid in doomed:
            objects.delete(oid)

    deploy.delete_erased_models(project, read(project))
    _delete_tables_of_this_machine(project, erased_rows)
    _forget_runs(project, erased_rows, {release.fingerprint for release in erased})

    tags = ", ".join(release.tag for release in affected) or "no release"
    deleted = f"{len(doomed):,} objects deleted from the DVC cache and its remote"
    return f"{deleted}; erased in the record: {tags}."


def _check_ready(project: Project) -> None:
    require_committed(project)
    if git(project.root, "rev-parse", "--is-shallow-repository") == "true":
        raise ProjectError(
            "This clone does not have the whole history.",
            "Run: git fetch --unshallow",
        )
    outdated = dvc_storage.outdated(project)
    if outdated:
        message = f"Erased rows are still in the data: {', '.join(outdated)} must run"
        raise ProjectError(
            f"{message}. Nothing was purged.",
            "Run: uv run dvc repro, commit, uv run dvc push",
        )
    git_remote = remote(project.root)
    if git_remote:
        git(project.root, "fetch", "--quiet", git_remote)
    exchange_tags(project)


def _check_not_in_use(project: Project, record: Record, affected: Mapping[Release, str]) -> None:
    for alias in project.settings().promote.path:
        holder = record.holder(alias)
        if holder is None or holder.release not in affected:
            continue
        release = holder.release
        message = f"{release.tag} is {alias} and was trained on erased rows ({affected[release]})"
        retrain = f"uv run mlops close {project.cycle()['until']}, commit, uv run dvc repro, commit"
        raise ProjectError(
            f"{message}. Nothing was purged.",
            f"First retrain: {retrain}, uv run mlops promote (see docs/runbook.md)",
        )


def _model_outputs(project: Project, releases: list[Release]) -> set[str]:
    """The oids of what the training of some releases wrote."""
    oids = set()
    for release in releases:
        for output in _training_entry(project, release).get("outs", []):
            oids.add(output["md5"])
    return oids


def _delete_tables_of_this_machine(project: Project, erased_rows: Tombstones) -> None:
    """Delete the tables in var/ that hold erased rows; a model that carries one goes whole."""
    # All tables are found before one is deleted: a model may carry two.
    tables = (project.root / STATE).rglob("*.parquet")
    for path in list(filter(erased_rows.has_erased_rows, tables)):
        if (path.parent / "MLmodel").exists():
            shutil.rmtree(path.parent)
        else:
            path.unlink(missing_ok=True)  # it may have gone with its model


def _forget_runs(project: Project, erased_rows: Tombstones, fingerprints: set[str]) -> None:
    """Delete the models of MLflow's runs that are erased or carry an erased row.

    Numbers and pictures of the runs stay. `fingerprints` are those of erased releases.
    """
    if not (project.root / MLFLOW_DATABASE).exists() and "MLFLOW_TRACKING_URI" not in os.environ:
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    store = open_store(project)
    with reachable(store.tracking_uri):
        for run in _all_runs(store):
            if _must_be_forgotten(store, run, erased_rows, fingerprints):
                repository = get_artifact_repository(run.info.artifact_uri, store.tracking_uri)
                repository.delete_artifacts("model")


def _must_be_forgotten(
    store: Any, run: Any, erased_rows: Tombstones, fingerprints: set[str]
) -> bool:
    """Whether a run has a model that is erased or carries an erased row."""
    artifacts = store.list_artifacts(run.info.run_id, "model")
    names = {Path(artifact.path).name for artifact in artifacts}
    if not names:
        return False
    if run.data.tags.get("fingerprint") in fingerprints:
        return True
    return REFERENCE in names and _reference_holds_erased_row(store, run, erased_rows)


def _all_runs(store: Any) -> list[Any]:
    """All runs of the project's experiment, which MLflow hands out page by page.

    Deleted runs are among them, for MLflow keeps their files until `mlflow gc`.
    """
    from mlflow.entities import ViewType

    search = partial(store.search_runs, [store.experiment], run_view_type=ViewType.ALL)
    page = search()
    runs = [*page]
    while page.token:
        page = search(page_token=page.token)
        runs += page
    return runs


def _reference_holds_erased_row(store: Any, run: Any, erased_rows: Tombstones) -> bool:
    """Whether the reference rows in a run's model hold an erased one."""
    with temporary_folder() as folder:
        path = store.download_artifacts(run.info.run_id, f"model/{REFERENCE}", str(folder))
        return erased_rows.has_erased_rows(Path(path))
