"""What tuning tried is seen in MLflow: as child runs of the model's run, each once."""

from typing import Any

import pytest
from mlflow import MlflowClient

from mlgates.registry import tracking
from mlgates.registry.mlflow_client import Store, log_trials


def trial(a: int) -> dict[str, Any]:
    return {"values": {"a": a}, "value": 0.5, "seconds": 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An MLflow store."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return Store(client, client.create_experiment("x", artifact_location=folder.as_uri()))


def logged_by_the_mirror(store: Store, parent: str, report: dict[str, Any]) -> None:
    log_trials(store, parent, report)


def logged_by_track(store: Store, parent: str, report: dict[str, Any]) -> None:
    """As the wiring file track.py logs them."""
    for new in tracking._new_trials(store, parent, report):
        child = store.create_run(
            store.experiment, tags={"mlflow.parentRunId": parent, "trial": new.mark}
        )
        for name, value in new.values.items():
            store.log_param(child.info.run_id, name, value)
        for name, number in new.metrics.items():
            store.log_metric(child.info.run_id, name, number)
        store.set_terminated(child.info.run_id)


@pytest.mark.parametrize("log", [logged_by_the_mirror, logged_by_track])
def test_trials_are_child_runs_each_once(store: Store, log: Any) -> None:
    parent = store.create_run(store.experiment).info.run_id
    both = [trial(1), trial(2)]
    for trials in (both, both, both[:1]):
        log(store, parent, {"metric": "x", "trials": trials})
        runs = store.search_runs([store.experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        assert sorted(run.data.params["a"] for run in runs) == sorted(
            str(one["values"]["a"]) for one in trials
        )
    assert runs[0].data.metrics == {"x": 0.5, "seconds": 1.0} and runs[0].info.status == "FINISHED"


def test_the_mirror_and_track_know_each_others_trials(store: Store) -> None:
    parent = store.create_run(store.experiment).info.run_id
    report = {"metric": "x", "trials": [trial(1), trial(2)]}
    logged_by_track(store, parent, report)
    logged_by_the_mirror(store, parent, report)
    assert tracking._new_trials(store, parent, report) == []
    assert (
        len(store.search_runs([store.experiment], f"tags.`mlflow.parentRunId` = '{parent}'")) == 2
    )
