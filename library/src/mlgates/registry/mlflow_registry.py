"""MLflow's registry as a mirror of the record: filled from it, corrected by it, never read for a decision."""

from typing import Any

from mlgates.layout import GATE, METRICS, TRAINING, TUNING
from mlgates.project import Project
from mlgates.registry.deploy import fetch
from mlgates.registry.dvc_storage import alone
from mlgates.registry.mlflow_client import (
    Store,
    described,
    home,
    log_trials,
    open_store,
    reachable,
    upsert_run,
)
from mlgates.registry.releases import Record, Release, freshen, read, show_json


def mirror(project: Project) -> str:
    """One registered model, one version for each release in their order, and the aliases of the record.

    Versions are found by their tag `fingerprint`, never by MLflow's numbers; only models that hold an alias are sent.
    Returns what was done and which aliases somebody had moved by hand. Raises: ProjectError if MLflow is away.
    """
    away = freshen(project)
    return fill(project, read(project)) + away


def fill(project: Project, record: Record) -> str:
    """`mirror` for a record that was just read."""
    if not record.releases:
        return "There is no release yet, so MLflow has nothing to mirror."
    held = record.holders
    needed = {entry.release for entry in held.values() if not entry.release.erased}
    store = open_store(project)
    with alone(home(project), "mirror"), reachable(store.tracking_uri):
        if not store.search_registered_models(f"name = '{record.name}'"):
            store.create_registered_model(
                record.name, description="Filled from git tags: uv run mlops mirror"
            )
        found = store.search_model_versions(f"name = '{record.name}'")
        known = {
            version.tags["fingerprint"]: version
            for version in found
            if "fingerprint" in version.tags
        }
        added = [release for release in record.releases if release.fingerprint not in known]
        for one in record.releases:
            known[one.fingerprint] = _version(
                project, store, one, known.get(one.fingerprint), one in needed
            )
        model = store.get_registered_model(record.name)
        names = {str(version.version): version.tags["release"] for version in known.values()}
        notes, moved = [], 0
        for alias, entry in sorted(held.items()):
            wanted, has = str(known[entry.release.fingerprint].version), model.aliases.get(alias)
            before, seen = (
                model.tags.get(f"record.{alias}"),
                names.get(str(has), f"version {has}" if has else None),
            )
            if seen != before and str(has) != wanted:
                told = f"Somebody moved {alias} by hand in MLflow, from {before} to {seen}"
                notes.append(f"{told}: it is {entry.to} again.")
            if str(has) != wanted:
                store.set_registered_model_alias(record.name, alias, wanted)
                moved += 1
            if before != entry.to:
                store.set_registered_model_tag(record.name, f"record.{alias}", entry.to)
    done = (
        f"{len(added)} versions added, {moved} aliases set"
        if added or moved
        else "nothing was to be done"
    )
    return "\n".join(
        [f"MLflow mirrors {len(record.releases)} releases of {record.name}: {done}.", *notes]
    )


def _version(project: Project, store: Store, release: Release, version: Any, needed: bool) -> Any:
    """The release's version in MLflow: made if it is absent, its model sent if it is needed and not there."""
    if version is not None and (not needed or _has_model(store, version.run_id)):
        return version
    trained, measured, gate = (
        show_json(project, release.commit, path) for path in (TRAINING, METRICS, GATE)
    )
    params, metrics, tags = described(trained, measured, gate)
    marks = {
        "release": release.version,
        "fingerprint": release.fingerprint,
        "commit": release.commit,
    }
    model = {"model": fetch(project, release)} if needed else {}
    run = upsert_run(store, release.fingerprint, params, metrics, tags | marks, model)
    log_trials(store, run, show_json(project, release.commit, TUNING))
    if version is not None:
        if version.run_id == run:
            return version
        store.delete_model_version(release.name, version.version)
    return store.create_model_version(release.name, f"runs:/{run}/model", run, tags=marks)


def _has_model(store: Store, run: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(
            store.get_run(run).info.status == "FINISHED" and store.list_artifacts(run, "model")
        )
    except MlflowException:
        return False
