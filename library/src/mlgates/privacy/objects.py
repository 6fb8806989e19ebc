"""The objects in DVC's cache and remote: which of them hold erased rows, and what is deleted first.

DVC names an object by the MD5 hash of its content, here called `oid`. An object is a file, or the
list of the files in a folder; the `oid` of such a list ends in ".dir".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mlgates.data.tombstones import Tombstones
from mlgates.layout import DVC_LOCK
from mlgates.project import Project
from mlgates.registry.git import git

FOLDER = ".dir"
DVC_FILES = (f":(glob)**/{DVC_LOCK.name}", ":(glob)**/?*.dvc")
PARQUET = b"PAR1"  # the first bytes of every Parquet file

Files = dict[str, str]  # the path of each file in a folder, and its oid


class Objects:
    """What the cache and the remote hold."""

    def __init__(self, stores: Sequence[Any], erased_rows: Tombstones) -> None:
        """`stores` are DVC's object databases."""
        self.stores = stores
        self.erased_rows = erased_rows
        # Many versions name the same object, and a remote is slow: each is looked at once.
        self.files = cache(self._files)
        self.holds_erased_rows = cache(self._holds_erased_rows)
        self._store = cache(self._first_store)

    def exists(self, oid: str) -> bool:
        """Whether any store has the object."""
        return self._store(oid) is not None

    def delete(self, oid: str) -> None:
        """Delete the object from every store."""
        for store in self.stores:
            if store.exists(oid):
                store.delete(oid)

    def inside(self, folder: Path) -> set[str]:
        """All objects of the stores that lie in a folder."""
        oids: set[str] = set()
        for store in self.stores:
            if Path(store.path).is_relative_to(folder):
                oids.update(store.all())
        return oids

    def _first_store(self, oid: str) -> Any:
        """The first store that has the object, or None."""
        for store in self.stores:
            if store.exists(oid):
                return store
        return None

    def _open(self, oid: str) -> Any:
        store = self._store(oid)
        return store.fs.open(store.oid_to_path(oid), "rb")

    def _files(self, oid: str) -> Files:
        """The files of a folder; empty for a file, or if no store has the folder's list."""
        if not oid.endswith(FOLDER) or not self.exists(oid):
            return {}
        with self._open(oid) as file:
            entries = json.load(file)
        return {entry["relpath"]: entry["md5"] for entry in entries}

    def _holds_erased_rows(self, oid: str) -> bool:
        """Whether the object is a table with an erased row in it."""
        if oid.endswith(FOLDER) or not self.exists(oid):
            return False
        with self._open(oid) as file:
            return file.read(len(PARQUET)) == PARQUET and self.erased_rows.hold(file)


@dataclass(frozen=True)
class Version:
    """What one version of a dvc.lock or .dvc file names: its outputs, and the files in these."""

    outputs: set[str]
    files: list[tuple[str, str]]  # path inside of the output, and oid

    def folders_of(self, tables: set[str]) -> set[str]:
        """The folders in which some of these tables lie; the top of an output is no folder."""
        folders = {_folder(path) for path, oid in self.files if oid in tables}
        return folders - {""}

    def files_in(self, folders: set[str]) -> set[str]:
        """The files that lie in some of these folders, of whichever output."""
        return {oid for path, oid in self.files if _folder(path) in folders}


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def objects_to_delete(project: Project, objects: Objects, erased_models: set[str]) -> list[str]:
    """The oids of all objects to delete, in the order in which they must be deleted.

    A table shows which files were derived from it, and a folder's list leads to its tables. So
    derived files go first, then tables, then lists: wherever a purge is killed, the next one still
    finds the rest. `erased_models` are the outputs of erased releases.
    """
    # A store inside the project is this project's alone, so it is searched whole; that also finds
    # what was never committed. A store outside may be shared: only what git names is looked at.
    own_objects = objects.inside(project.root)
    own_lists = {oid for oid in own_objects if oid.endswith(FOLDER)}
    named = [*committed_outputs(project), own_lists]

    outputs = set[str]().union(*named)
    files_of = {oid: objects.files(oid) for oid in outputs}
    versions = [_version(oids, files_of) for oids in named]

    candidates = own_objects.union(outputs, *(files.values() for files in files_of.values()))
    tables = {oid for oid in candidates if objects.holds_erased_rows(oid)}
    derived = _derived_files(versions, tables)
    derived |= _files_of_models(files_of, tables, erased_models)
    derived -= _files_of_clean_versions(versions, tables)
    derived -= tables

    deleted_files = derived | tables
    lists = {oid for oid, files in files_of.items() if deleted_files.intersection(files.values())}
    return [*sorted(derived), *sorted(tables), *sorted(lists)]


def committed_outputs(project: Project) -> list[set[str]]:
    """The oids of all outputs, for each version of a dvc.lock or .dvc file.

    These are the versions that any commit, tag or reflog names.
    """
    listed = git(project.root, "rev-list", "--objects", "--all", "--reflog", "--", *DVC_FILES)
    versions = []
    for line in listed.splitlines():
        blob, _, path = line.partition(" ")
        name = PurePosixPath(path)
        if name.name != DVC_LOCK.name and name.suffix != ".dvc":
            continue  # a commit, or a folder on the way to such a file
        content = yaml.safe_load(git(project.root, "cat-file", "blob", blob)) or {}
        versions.append(_outputs(content))
    return versions


def _outputs(content: dict[str, Any]) -> set[str]:
    """The oids of all outputs that a dvc.lock or a .dvc file names."""
    is_lock = "stages" in content
    entries = content["stages"].values() if is_lock else [content]
    outputs = chain.from_iterable(entry.get("outs") or [] for entry in entries)
    # What DVC does not cache may have no hash.
    return {output["md5"] for output in outputs if "md5" in output}


def _version(outputs: set[str], files_of: dict[str, Files]) -> Version:
    files = chain.from_iterable(files_of[oid].items() for oid in outputs)
    return Version(outputs, list(files))


def _derived_files(versions: list[Version], tables: set[str]) -> set[str]:
    """The files that were made of a table with erased rows.

    They lie in a folder of the same name and of the same version: what is in `period=1` of the
    checked data was made of the rows in `period=1` of the raw data.
    """
    derived = set()
    for version in versions:
        derived |= version.files_in(version.folders_of(tables))
    return derived


def _files_of_models(
    files_of: dict[str, Files], tables: set[str], erased_models: set[str]
) -> set[str]:
    """The files of the models that were trained on erased rows, without those that others share."""
    of_models: set[str] = set()
    of_others: set[str] = set()
    for output, files in files_of.items():
        carries_erased_rows = "MLmodel" in files and not tables.isdisjoint(files.values())
        if carries_erased_rows or output in erased_models:
            of_models.update(files.values())
        else:
            of_others.update(files.values())
    return of_models - of_others


def _files_of_clean_versions(versions: list[Version], tables: set[str]) -> set[str]:
    """The files of the versions without any erased row: they stay, whatever else names them."""
    clean = set()
    for version in versions:
        has_erased_rows = version.folders_of(tables) or version.outputs & tables
        if not has_erased_rows:
            clean |= {oid for _, oid in version.files}
    return clean
