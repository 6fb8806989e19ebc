"""`mlops erase --purge`: what holds erased rows leaves the DVC cache, its remote, var/ and MLflow, in all versions.

Everything is found before anything is deleted, and what leads to a thing is deleted after it: a killed purge is ended
by the next one. A store inside the project is searched whole, one outside, which others may share, for what git names.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mlgates.data import tombstones
from mlgates.data.tombstones import Tombstones
from mlgates.dvc_lock import stages
from mlgates.errors import ProjectError
from mlgates.files import temporary_folder
from mlgates.layout import DVC_LOCK, ERASED, MLFLOW_DATABASE, REFERENCE, STATE, TRAINING
from mlgates.project import Project
from mlgates.registry import deploy, dvc_storage
from mlgates.registry.git import git, remote
from mlgates.registry.mlflow_client import open_store, reachable
from mlgates.registry.promote import committed
from mlgates.registry.releases import Record, Release, read, settle, show, show_json
from mlgates.registry.releases import erase as erase_releases

Tree = dict[str, str]
HISTORY = (f":(glob)**/{DVC_LOCK.name}", ":(glob)**/?*.dvc")


class Objects:
    """What the cache and the remote hold, each object looked at once."""

    def __init__(self, stores: Sequence[Any], gone: Tombstones) -> None:
        """`stores` are DVC's object databases."""
        self.stores, self.gone = stores, gone
        self.tree, self.holds, self._store = (
            cache(self._tree),
            cache(self._holds),
            cache(self._first),
        )

    def there(self, oid: str) -> bool:
        """Whether any store has it."""
        return self._store(oid) is not None

    def delete(self, oid: str) -> None:
        """Delete it from every store."""
        for store in self.stores:
            if store.exists(oid):
                store.delete(oid)

    def _first(self, oid: str) -> Any:
        return next((store for store in self.stores if store.exists(oid)), None)

    def _open(self, oid: str) -> Any:
        store = self._store(oid)
        return store.fs.open(store.oid_to_path(oid), "rb")

    def _tree(self, oid: str) -> Tree:
        """Path and hash of each file of a folder; empty for a file, or if no store has the list."""
        if not oid.endswith(".dir") or not self.there(oid):
            return {}
        with self._open(oid) as file:
            return {entry["relpath"]: entry["md5"] for entry in json.load(file)}

    def _holds(self, oid: str) -> bool:
        """Whether it is a table with an erased row in it."""
        if oid.endswith(".dir") or not self.there(oid):
            return False
        with self._open(oid) as file:
            return file.read(4) == b"PAR1" and self.gone.hold(file)


def trained(project: Project, gone: Tombstones) -> dict[Release, str]:
    """The releases that were trained on erased rows, and what that is known by: their data or only their periods."""
    record = read(project)
    try:
        with dvc_storage.stores(project) as stores:
            return _affected(project, record, Objects(stores, gone))
    except ProjectError:  # the remote is away
        return _affected(project, record, Objects([], gone))


def _affected(project: Project, record: Record, objects: Objects) -> dict[Release, str]:
    found = {}
    for release in (release for release in record.releases if not release.erased):
        periods, entry = _periods(project, release), _trained(project, release)
        trees = [
            objects.tree(part["md5"]) for part in (*entry.get("deps", []), *entry.get("outs", []))
        ]
        files = {oid for tree in trees for path, oid in tree.items() if _counts(path, periods)}
        if any(objects.holds(oid) for oid in files):
            found[release] = "its data"
        elif overdue(project, release) and not (files and all(objects.there(oid) for oid in files)):
            found[release] = "its periods (its data are neither in the cache nor in the remote)"
    return found


def _counts(path: str, periods: set[str]) -> bool:
    period, _, name = path.rpartition("/")
    return name.endswith(".parquet") and (not period or period.removeprefix("period=") in periods)


def _periods(project: Project, release: Release) -> set[str]:
    return set(show_json(project, release.commit, TRAINING).get("periods", {}).get("train", []))


def _trained(project: Project, release: Release) -> dict[str, Any]:
    """The entry of its training in dvc.lock."""
    return dict(stages(show(project, release.commit, DVC_LOCK)).get("train", {}))


def overdue(project: Project, release: Release) -> bool:
    """Whether a release was trained on a period of which rows were erased since; asks nothing but git."""
    if not (known := tombstones.listed(project)):
        return False
    before = {entry.hash for entry in tombstones.parsed(show(project, release.commit, ERASED))}
    periods = _periods(project, release)
    return any(entry.hash not in before and periods.intersection(entry.periods) for entry in known)


def purge(project: Project, gone: Tombstones) -> str:
    """Delete every version of data and models that holds erased rows, and erase the releases trained on them.

    Raises: ProjectError, before anything is deleted, unless all is committed, made anew and pushed, the remote is
    there, and no release that has an alias is among them.
    """
    _ready(project)
    record = read(project)
    with dvc_storage.stores(project) as stores:
        objects = Objects(stores, gone)
        releases = _affected(project, record, objects)
        _not_in_use(project, record, releases)
        erased = [release for release in record.releases if release.erased or release in releases]
        doomed = list(_doomed(project, objects, erased))
        erase_releases(project, releases, "it was trained on erased rows")
        for oid in doomed:
            objects.delete(oid)
    deploy.forget(project, read(project))
    for path in [path for path in (project.root / STATE).rglob("*.parquet") if gone.hold(path)]:
        shutil.rmtree(path.parent) if (path.parent / "MLmodel").exists() else path.unlink()
    _forget_runs(project, gone, {release.fingerprint for release in erased})
    told = ", ".join(release.tag for release in releases) or "no release"
    return f"{len(doomed):,} objects deleted from the DVC cache and its remote; erased in the record: {told}."


def _ready(project: Project) -> None:
    committed(project)
    if git(project.root, "rev-parse", "--is-shallow-repository") == "true":
        raise ProjectError(
            "This clone does not have the whole history.", "Run: git fetch --unshallow"
        )
    if stages := dvc_storage.outdated(project):
        told = f"The tombstones are not in the data yet: {', '.join(stages)} must run"
        raise ProjectError(
            f"{told}; nothing was purged.", "Run: uv run dvc repro, commit, uv run dvc push"
        )
    if where := remote(project.root):
        git(project.root, "fetch", "--quiet", where)
    settle(project)


def _not_in_use(project: Project, record: Record, releases: Mapping[Release, str]) -> None:
    for alias in project.settings().promote.path:
        if (held := record.holder(alias)) and held.release in releases:
            told = f"{held.release.tag} is {alias} and was trained on erased rows, to judge by {releases[held.release]}"
            remedy = f"First retrain: uv run mlops close {project.cycle()['until']}, commit, uv run dvc repro, commit, "
            raise ProjectError(
                f"{told}; nothing was purged.",
                f"{remedy}uv run mlops promote (see docs/runbook.md)",
            )


def _doomed(project: Project, objects: Objects, erased: Iterable[Release]) -> Iterator[str]:
    """What is to be deleted, in the order in which that is safe: derived things, tables, lists of files."""
    versions = [*_versions(project)]
    within = {
        oid
        for store in objects.stores
        if Path(store.path).is_relative_to(project.root)
        for oid in store.all()
    }
    versions.append({oid for oid in within if oid.endswith(".dir")})
    trees = {oid: objects.tree(oid) for version in versions for oid in version}
    tables = {
        oid
        for oid in within.union(*versions, *(t.values() for t in trees.values()))
        if objects.holds(oid)
    }
    derived, safe = set(), set()
    for version in versions:
        named = [trees[oid] for oid in version]
        folders = {
            path.rpartition("/")[0] for tree in named for path, oid in tree.items() if oid in tables
        } - {""}
        derived |= {
            oid
            for tree in named
            for path, oid in tree.items()
            if path.rpartition("/")[0] in folders
        }
        if not folders and not tables.intersection(version):
            safe |= {oid for tree in named for oid in tree.values()}
    models = {
        oid
        for oid, tree in trees.items()
        if "MLmodel" in tree and tables.intersection(tree.values())
    }
    for release in erased:
        models |= {out["md5"] for out in _trained(project, release).get("outs", [])} & trees.keys()
    shared = {oid for name, tree in trees.items() if name not in models for oid in tree.values()}
    derived |= {oid for name in models for oid in trees[name].values()} - shared
    yield from sorted(derived - safe - tables)
    yield from sorted(tables)
    yield from sorted(
        name
        for name, tree in trees.items()
        if (tables | derived - safe).intersection(tree.values())
    )


def _versions(project: Project) -> Iterator[set[str]]:
    """The hashes of all outputs in each version of a dvc.lock or .dvc file that any commit, tag or reflog names."""
    listed = git(
        project.root, "rev-list", "--objects", "--all", "--reflog", "--", *HISTORY
    ).splitlines()
    for line in listed:
        blob, _, path = line.partition(" ")
        if PurePosixPath(path).name != DVC_LOCK.name and PurePosixPath(path).suffix != ".dvc":
            continue  # a commit, or a folder on the way to such a file
        content = yaml.safe_load(git(project.root, "cat-file", "blob", blob)) or {}
        parts = content["stages"].values() if "stages" in content else [content]
        yield {out["md5"] for part in parts for out in part.get("outs") or [] if "md5" in out}


def _forget_runs(project: Project, gone: Tombstones, fingerprints: set[str]) -> None:
    """Delete the models of MLflow's runs that are erased or carry an erased row; numbers and pictures stay."""
    if not (project.root / MLFLOW_DATABASE).exists() and "MLFLOW_TRACKING_URI" not in os.environ:
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    store = open_store(project)
    with reachable(store.tracking_uri):
        page = store.search_runs([store.experiment])
        runs = [*page]
        while page.token:
            page = store.search_runs([store.experiment], page_token=page.token)
            runs += page
        for run in runs:
            files = {
                Path(entry.path).name for entry in store.list_artifacts(run.info.run_id, "model")
            }
            if files and (
                run.data.tags.get("fingerprint") in fingerprints
                or _carries(store, run, files, gone)
            ):
                get_artifact_repository(run.info.artifact_uri, store.tracking_uri).delete_artifacts(
                    "model"
                )


def _carries(store: Any, run: Any, files: set[str], gone: Tombstones) -> bool:
    with temporary_folder() as folder:
        found = REFERENCE in files and store.download_artifacts(
            run.info.run_id, f"model/{REFERENCE}", str(folder)
        )
        return bool(found and gone.hold(Path(found)))
