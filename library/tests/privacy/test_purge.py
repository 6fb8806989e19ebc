"""After a purge no file outside of git holds a byte of the id, in any version.

Everybody else is still there.
"""

import shutil
from typing import Any

import pandas as pd
import pytest

from clones import Clone, refusal
from mlgates.data.tombstones import Tombstones
from mlgates.privacy import objects, purge
from mlgates.privacy.erase import erase
from mlgates.registry import deploy, releases, training_cycle
from mlgates.registry.mlflow_client import open_store
from mlgates.registry.promote import promote, rollback
from traces import traces

ADA, BOB, DORA = "Xq9ZunmistakableAda", "Kj7VanotherBob", "Wm4GseldomDora"
OLD_VERSIONS = ["cache/", "remote/"]
PLACES = [
    *OLD_VERSIONS,
    "data/raw",
    "data/checked",
    "evaluation",
    "predictions",
    "online.db",
    "outcomes.db",
]


def test_after_a_purge_no_byte_is_left_and_all_others_are_still_there(
    before: Clone, clean: Clone
) -> None:
    held = " ".join(traces(before, ADA))
    assert [place for place in PLACES if place in held] == PLACES
    held = " ".join(traces(clean, ADA))
    assert [place for place in PLACES if place in held] == OLD_VERSIONS
    assert "erased in the record: bakery@v1.0.0" in erase(clean.project, [], purges=True)
    assert traces(clean, ADA) == []
    assert len(traces(clean, BOB)) > 10
    for folder in (".dvc/cache", "data", "models"):
        shutil.rmtree(clean.root / folder)
    clean.run("dvc", "pull", "--quiet")
    assert not clean.git("status", "--porcelain")
    assert len(pd.read_parquet(clean.root / "data/checked/period=1/rows.parquet")) == 4
    assert "erased in the record: no release" in erase(clean.project, [], purges=True)


def test_an_erased_release_is_said_to_be_erased(clean: Clone) -> None:
    project = clean.project
    erase(project, [], purges=True)
    erased = "bakery@v1.0.0 was erased on"
    assert erased in refusal(rollback, project, reason="it is worse")
    assert erased in refusal(deploy.fetch, project, releases.read(project).releases[0])
    message = deploy.follow(project)
    assert "v1.0.1" in message
    assert erased in message
    assert "deregistration" in clean.run("gto", "history", "--json")
    bob = clean.clone("bob")
    first = releases.read(bob.project).releases[0]
    assert first.erased
    models = bob.root / "var/models"
    (models / first.fingerprint).mkdir(parents=True)
    (models / f"{first.fingerprint}.sig").touch()
    assert "v1.0.1" in deploy.follow(bob.project)
    assert not [*models.glob(f"{first.fingerprint}*")]


def test_a_release_that_only_lies_beside_erased_rows_stays(clean: Clone) -> None:
    project = clean.project
    # Dora is in period 4 alone, where models are measured but not trained
    training_cycle.close(project, "4")
    clean.commit("Close")
    clean.repro()
    clean.commit("Train")
    promote(project)
    message = erase(project, [DORA], column="customer")
    assert "v1.0.0 was trained" in message
    assert "v1.0.2 was trained" not in message
    clean.repro()
    clean.commit("Erase")
    assert len(traces(clean, DORA)) > 3
    # for Ada's sake
    assert "erased in the record: bakery@v1.0.0" in erase(project, [], purges=True)
    assert traces(clean, DORA) == traces(clean, ADA) == []
    shutil.rmtree(clean.root / ".dvc/cache")
    shutil.rmtree(clean.root / "var/models")
    assert "v1.0.2" in deploy.follow(project)


@pytest.mark.parametrize(
    ("where", "step", "calls_before"),
    [
        (purge, "erase_releases", 0),
        (objects.Objects, "delete", 0),
        (objects.Objects, "delete", 7),
        (shutil, "rmtree", 0),
        (purge, "_forget_runs", 0),
    ],
)
def test_a_killed_purge_is_ended_by_the_next_one(
    clean: Clone, where: Any, step: str, calls_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    real, calls = getattr(where, step), 0

    def killed(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > calls_before:
            raise KilledError
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(where, step, killed)
        with pytest.raises(KilledError):
            erase(clean.project, [], purges=True)
    erase(clean.project, [], purges=True)
    assert traces(clean, ADA) == []
    tags = clean.git("ls-remote", "--tags", "--refs", "origin")
    assert tags.count("bakery@v1.0.0!") == 1


def test_a_remote_that_is_away_stops_a_purge_and_only_blurs_the_list(clean: Clone) -> None:
    kept = traces(clean, ADA)
    (clean.around / "remote").rename(clean.around / "gone")
    assert "remote here is not there" in refusal(erase, clean.project, [], purges=True)
    assert "its training periods had some" in erase(clean.project, [])
    (clean.around / "gone").rename(clean.around / "remote")
    clean.git("remote", "set-url", "origin", "../nowhere.git")
    assert "remote cannot be reached" in refusal(erase, clean.project, [], purges=True)
    assert traces(clean, ADA) == kept
    assert not clean.git("tag", "--list", "*!")


def test_without_a_cache_the_remote_is_purged(clean: Clone) -> None:
    shutil.rmtree(clean.root / ".dvc/cache")
    assert "its training data hold them" in erase(clean.project, [])
    erase(clean.project, [], purges=True)
    assert traces(clean, ADA) == []


def test_a_model_that_carries_erased_rows_twice_is_deleted_once(clean: Clone) -> None:
    project = clean.project
    rows = pd.DataFrame({"customer": [ADA], "order": [1]})
    model = project.root / "var/models/old"
    model.mkdir(parents=True)
    (model / "MLmodel").touch()
    rows.to_parquet(model / "reference.parquet")
    rows.to_parquet(model / "sample.parquet")
    erase(project, [], purges=True)
    assert not model.exists()


@pytest.mark.parametrize("is_deleted", [False, True])
def test_the_model_of_an_erased_release_is_deleted_from_its_run(
    clean: Clone, is_deleted: bool
) -> None:
    store = open_store(clean.project)
    run = store.create_run(store.experiment, tags={"fingerprint": "of v1.0.0"})
    store.log_text(run.info.run_id, "weights", "model/MLmodel")
    store.log_text(run.info.run_id, "0.466", "metrics.txt")
    if is_deleted:
        store.delete_run(run.info.run_id)  # MLflow keeps the files until `mlflow gc`
    nothing = Tombstones(clean.project.contract)
    purge._forget_runs(clean.project, nothing, {"of v1.0.0"})
    assert [entry.path for entry in store.list_artifacts(run.info.run_id)] == ["metrics.txt"]
