"""MLflow shows what the record says: filled from it, and corrected by it."""

import os

import pytest

from clones import Clone, refusal
from mlgates import Project
from mlgates.registry.mlflow_client import home, open_store, upsert_run
from mlgates.registry.mlflow_registry import mirror
from mlgates.registry.promote import promote


def shown(project: Project) -> tuple[list[str], str]:
    """The releases that MLflow shows, oldest first, and the one that is champion there."""
    store = open_store(project)
    versions = store.search_model_versions("name = 'tiny'")
    champion = store.get_model_version_by_alias("tiny", "champion")
    files = [entry.path for entry in store.list_artifacts(champion.run_id, "model")]
    assert files == [
        "model/MLmodel",
        "model/contract.json",
        "model/features.json",
        "model/model.txt",
    ]
    place = store.get_experiment(store.experiment).artifact_location
    assert str(project.root.resolve()) in place
    in_order = sorted(versions, key=lambda version: int(version.version))
    return [version.tags["release"] for version in in_order], champion.tags["release"]


def test_mirror_fills_a_moved_a_deleted_and_a_fresh_store(reigning: Clone) -> None:
    assert "1 versions added, 1 aliases set" in mirror(reigning.project)
    assert "nothing was to be done" in mirror(reigning.project)
    moved = reigning.root.rename(reigning.root.with_name("moved"))
    reigning = Clone(reigning.project.moved(moved))
    assert "1 versions added" in mirror(reigning.project)
    assert (reigning.root / "var/aside").exists()
    reigning.retrain(0.2, close="2")
    promote(reigning.project)
    expected = (["v1.0.0", "v1.1.0"], "v1.1.0")
    assert shown(reigning.project) == expected
    store = open_store(reigning.project)
    store.set_registered_model_alias("tiny", "champion", "1")
    told = "Somebody moved champion by hand in MLflow, from v1.1.0 to v1.0.0"
    assert told in mirror(reigning.project)
    assert shown(reigning.project) == expected
    bob = reigning.clone("bob")
    assert "2 versions added" in mirror(bob.project)
    assert shown(bob.project) == expected
    one_run_for_each_model(reigning)


def one_run_for_each_model(clone: Clone) -> None:
    """A run is made once and brought up to date; a parameter stays as it was first logged."""
    store = open_store(clone.project)
    model, rows = {"model": clone.root / "models/candidate"}, {"rows.csv": clone.root / "rows.csv"}
    first = upsert_run(store, "f" * 64, {"a": 1}, {"m": 0.5}, {"verdict": "fail"}, model)
    again = upsert_run(store, "f" * 64, {"a": 2}, {"m": 0.6}, {"verdict": "ok"}, rows)
    assert first == again
    data = store.get_run(first).data
    assert (data.params, data.metrics, data.tags["verdict"]) == ({"a": "1"}, {"m": 0.6}, "ok")


def test_a_throw_away_copy_of_dvc_logs_to_the_project_itself(reigning: Clone) -> None:
    copy = reigning.project.moved(reigning.root / ".dvc/tmp/exps/tmp1")
    assert home(copy).root == reigning.root


@pytest.mark.parametrize("damage", ["not a database", "half made"])
def test_a_damaged_database_is_made_again(reigning: Clone, damage: str) -> None:
    if damage == "not a database":
        (reigning.root / "mlflow.db").write_text(damage * 100)
    if damage == "half made":
        (reigning.root / "mlflow.db").touch()
    assert "1 versions added, 1 aliases set" in mirror(reigning.project)


def test_an_mlflow_server_that_is_away_is_said_in_a_sentence(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = refusal(mirror, reigning.project)
    assert "MLflow at http://127.0.0.1:9 does not work" in message
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"
