"""How MLflow's store is opened, and what happens to one that cannot be used."""

import os

import pytest

from clones import Clone, refusal
from mlgates.registry.mlflow_client import home, open_store
from mlgates.registry.mlflow_registry import mirror


def test_a_throw_away_copy_of_dvc_logs_to_the_project_itself(reigning: Clone) -> None:
    copy = reigning.project.moved(reigning.root / ".dvc/tmp/exps/tmp1")
    assert home(copy).root == reigning.root
    assert home(reigning.project).root == reigning.root


@pytest.mark.parametrize("damage", ["not a database", "half made"])
def test_a_damaged_database_is_made_again(reigning: Clone, damage: str) -> None:
    database = reigning.root / "mlflow.db"
    if damage == "not a database":
        database.write_text(damage * 100)
    if damage == "half made":
        database.touch()
    assert "1 versions added, 1 aliases set" in mirror(reigning.project)
    (aside,) = (reigning.root / "var/aside").iterdir()
    assert (aside / "mlflow.db").exists()


def test_a_database_whose_making_was_killed_is_made_again(reigning: Clone) -> None:
    open_store(reigning.project)
    begun = reigning.root / "var/mlflow.begun"
    assert not begun.exists()
    open_store(reigning.project)
    assert not (reigning.root / "var/aside").exists()

    begun.touch()
    open_store(reigning.project)
    assert not begun.exists()
    (aside,) = (reigning.root / "var/aside").iterdir()
    assert (aside / "mlflow.db").exists()


def test_an_experiment_that_somebody_deleted_is_restored(reigning: Clone) -> None:
    store = open_store(reigning.project)
    store.delete_experiment(store.experiment)
    assert open_store(reigning.project).experiment == store.experiment
    assert store.get_experiment(store.experiment).lifecycle_stage == "active"


def test_an_mlflow_server_that_cannot_be_reached_is_one_sentence(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = refusal(mirror, reigning.project)
    assert "MLflow at http://127.0.0.1:9 does not work" in message
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"
