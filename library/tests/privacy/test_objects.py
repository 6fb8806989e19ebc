"""What a purge deletes from DVC's cache and remote, what stays, and in which order."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from clones import Clone
from mlgates.privacy import objects
from mlgates.privacy.erase import erase
from traces import traces

ADA = "Xq9ZunmistakableAda"
PROJECT: Any = SimpleNamespace(root=Path("/project"))


class Stored(objects.Objects):
    """Folders with their files, and the files that are tables with erased rows."""

    def __init__(self, folders: dict[str, dict[str, str]], tables: set[str]) -> None:
        self.folders = folders
        self.tables = tables

    def inside(self, folder: Path) -> set[str]:
        """No store lies inside of the project."""
        return set()

    def files(self, oid: str) -> dict[str, str]:
        """The files of a folder, empty for a file."""
        return self.folders.get(oid, {})

    def holds_erased_rows(self, oid: str) -> bool:
        """Whether a file is such a table."""
        return oid in self.tables


def deleted(
    monkeypatch: pytest.MonkeyPatch,
    versions: list[set[str]],
    stored: Stored,
    erased_models: frozenset[str] = frozenset(),
) -> list[str]:
    """What is deleted if these versions are committed."""
    monkeypatch.setattr(objects, "committed_outputs", lambda _: versions)
    return objects.objects_to_delete(PROJECT, stored, set(erased_models))


def test_derived_files_go_first_then_tables_then_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {"period=1/rows": "table", "period=2/rows": "other"}
    checked = {"period=1/report": "report of 1", "period=2/report": "report of 2"}
    stored = Stored({"raw.dir": raw, "checked.dir": checked}, {"table"})
    order = deleted(monkeypatch, [{"raw.dir", "checked.dir"}], stored)
    assert order == ["report of 1", "table", "checked.dir", "raw.dir"]


def test_what_a_version_without_erased_rows_names_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {"period=1/rows": "table", "period=1/report": "report"}
    after = {"period=1/rows": "rows", "period=1/report": "report"}
    stored = Stored({"before.dir": before, "after.dir": after}, {"table"})
    assert deleted(monkeypatch, [{"before.dir"}, {"after.dir"}], stored) == ["table", "before.dir"]


def test_models_keep_the_files_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    carrying = {"MLmodel": "m1", "weights": "w1", "code": "code", "reference": "table"}
    erased = {"MLmodel": "m2", "weights": "w2", "code": "code"}
    clean = {"MLmodel": "m3", "weights": "w3", "code": "code"}
    folders = {"carrying.dir": carrying, "erased.dir": erased, "clean.dir": clean}
    versions = [{"carrying.dir", "data"}, {"erased.dir", "data"}, {"clean.dir"}]
    order = deleted(
        monkeypatch, versions, Stored(folders, {"table", "data"}), frozenset({"erased.dir"})
    )
    assert order == ["m1", "m2", "w1", "w2", "data", "table", "carrying.dir", "erased.dir"]


def test_nothing_stored_is_nothing_to_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deleted(monkeypatch, [], Stored({}, set())) == []


def test_a_model_that_a_dvc_file_tracks_is_purged_whole(clean: Clone) -> None:
    weights = "WeightsThatLearntFromAda"
    model = clean.root / "another"
    model.mkdir()
    (model / "MLmodel").touch()
    (model / "weights").write_text(weights)
    pd.DataFrame({"customer": [ADA], "order": [1]}).to_parquet(model / "reference.parquet")
    clean.run("dvc", "add", "--quiet", "another")
    clean.commit("Add another model")
    clean.run("dvc", "push", "--quiet")
    clean.run("dvc", "remove", "another.dvc")
    shutil.rmtree(model)
    clean.commit("Remove it")
    assert len(traces(clean, weights)) == 2  # in the cache and in the remote
    erase(clean.project, [], purges=True)
    assert traces(clean, weights) == []
