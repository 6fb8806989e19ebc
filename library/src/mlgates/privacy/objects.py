"""The objects in DVC's cache and remote: which of them hold erased rows, and what is deleted first.

DVC names an object by the MD5 hash of its content, here called `oid`. An object is a file, or the
list of the files in a folder; the `oid` of such a list ends in ".dir".
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from mlgates.data.tombstones import Tombstones
from mlgates.layout import DVC_LOCK
from mlgates.project import Project
from mlgates.registry.git import git

if TYPE_CHECKING:
    import pandas as pd

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

    def file_table(self, outputs: Iterable[str]) -> "pd.DataFrame":
        """A row for each file in those outputs that are folders.

        The columns are `output`, `path`, `folder` (of the path; empty at the top) and `oid`.
        """
        import pandas as pd

        rows = []
        for output in outputs:
            for path, oid in self.files(output).items():
                folder = path.rpartition("/")[0]
                rows.append((output, path, folder, oid))
        return pd.DataFrame(rows, columns=["output", "path", "folder", "oid"], dtype=object)

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
        if not _is_list(oid) or not self.exists(oid):
            return {}
        with self._open(oid) as file:
            entries = json.load(file)
        return {entry["relpath"]: entry["md5"] for entry in entries}

    def _holds_erased_rows(self, oid: str) -> bool:
        """Whether the object is a table with an erased row in it."""
        if _is_list(oid) or not self.exists(oid):
            return False
        with self._open(oid) as file:
            return file.read(len(PARQUET)) == PARQUET and self.erased_rows.has_erased_rows(file)


def _is_list(oid: str) -> bool:
    """Whether the object is the list of the files in a folder."""
    return oid.endswith(FOLDER)


def objects_to_delete(project: Project, objects: Objects, erased_models: set[str]) -> list[str]:
    """The oids of all objects to delete, in the order in which they must be deleted.

    A table shows which files were derived from it, and a folder's list leads to its tables. So
    derived files go first, then tables, then lists: wherever a purge is killed, the next one still
    finds the rest. `erased_models` are the outputs of erased releases.
    """
    # A store inside the project is this project's alone, so it is searched whole; that also finds
    # what was never committed. A store outside may be shared: only what git names is looked at.
    own_objects = objects.inside(project.root)
    own_lists = set(filter(_is_list, own_objects))
    versions = _version_table([*committed_outputs(project), own_lists])
    files = objects.file_table(versions["output"].unique())

    candidates = own_objects.union(versions["output"], files["oid"])
    tables = set(filter(objects.holds_erased_rows, candidates))
    files["is_table"] = files["oid"].isin(tables)
    outputs_with_tables = tables.union(files["output"][files["is_table"]])

    derived = _files_beside_tables(versions, files)
    derived |= _files_of_models(files, outputs_with_tables, erased_models)
    derived -= _files_of_clean_versions(versions, files, outputs_with_tables)
    derived -= tables

    deleted_files = derived | tables
    lists = set(files["output"][files["oid"].isin(deleted_files)])
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
    # A .dvc file is one entry; a dvc.lock has one for each stage.
    entries = [content, *content.get("stages", {}).values()]
    outputs = chain.from_iterable(entry.get("outs") or [] for entry in entries)
    # What DVC does not cache may have no hash.
    return {output["md5"] for output in outputs if "md5" in output}


def _version_table(outputs_of_versions: list[set[str]]) -> "pd.DataFrame":
    """A row for each output of each version, with the columns `version` (a number) and `output`."""
    import pandas as pd

    outputs = pd.Series(outputs_of_versions, dtype=object).explode().dropna()
    return pd.DataFrame({"version": outputs.index, "output": outputs.to_numpy()})


def _files_beside_tables(versions: "pd.DataFrame", files: "pd.DataFrame") -> set[str]:
    """The files that were made of a table with erased rows.

    They lie in a folder of the same name and of the same version: what is in `period=1` of the
    checked data was made of the rows in `period=1` of the raw data. The top of an output is no such
    folder.
    """
    in_folders = versions.merge(files[files["folder"] != ""], on="output")
    is_beside_table = in_folders.groupby(["version", "folder"])["is_table"].transform("any")
    return set(in_folders["oid"][is_beside_table])


def _files_of_models(
    files: "pd.DataFrame", outputs_with_tables: set[str], erased_models: set[str]
) -> set[str]:
    """The files of the models that were trained on erased rows, without those that others share."""
    models = files["output"][files["path"] == "MLmodel"]
    affected = outputs_with_tables.intersection(models) | erased_models
    is_affected = files["output"].isin(affected)
    return set(files["oid"][is_affected]) - set(files["oid"][~is_affected])


def _files_of_clean_versions(
    versions: "pd.DataFrame", files: "pd.DataFrame", outputs_with_tables: set[str]
) -> set[str]:
    """The files of the versions without any erased row: they stay, whatever else names them."""
    has_erased_rows = versions["output"].isin(outputs_with_tables)
    affected_versions = versions["version"][has_erased_rows]
    is_clean = ~versions["version"].isin(affected_versions)
    clean_outputs = versions["output"][is_clean]
    return set(files["oid"][files["output"].isin(clean_outputs)])
