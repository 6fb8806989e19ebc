"""One run in MLflow for each model, and in it, each once, what tuning tried."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlgates.registry import tracking
from mlgates.registry.mlflow_client import Store
from mlgates.registry.mlflow_run import (
    find_run,
    has_model,
    log_trials,
    numbers,
    run_tags,
    upsert_run,
)

MODEL = "f" * 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An MLflow store."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return Store(client, client.create_experiment("x", artifact_location=folder.as_uri()))


def test_a_run_is_made_once_and_brought_up_to_date(store: Store, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.txt").write_text("a tree")

    assert find_run(store, MODEL) is None
    first = upsert_run(store, MODEL, {"a": 1}, {"m": 0.5}, {"verdict": "fail"}, model)
    again = upsert_run(store, MODEL, {"a": 2}, {"m": 0.6}, {"verdict": "ok"})
    assert first == again

    run = find_run(store, MODEL)
    assert run is not None
    assert run.info.run_id == first
    assert run.data.params == {"a": "1"}  # MLflow keeps a parameter as it was first logged
    assert run.data.metrics == {"m": 0.6}
    assert run.data.tags["verdict"] == "ok"
    assert has_model(store, run)
    assert {entry.path for entry in store.list_artifacts(first)} == {"model"}


def test_a_metric_is_logged_again_only_if_it_changed(store: Store) -> None:
    fingerprint = "e" * 64
    for value in (0.5, 0.5, 0.6):
        run_id = upsert_run(store, fingerprint, {}, {"m": value}, {})
    history = store.get_metric_history(run_id, "m")
    assert [metric.value for metric in history] == [0.5, 0.6]


def test_the_model_is_sent_again_if_the_run_was_killed(store: Store, tmp_path: Path) -> None:
    fingerprint = "d" * 64
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.txt").write_text("a tree")
    run = store.create_run(store.experiment, tags={"fingerprint": fingerprint})
    store.log_text(run.info.run_id, "half a tr", "model/model.txt")
    assert not has_model(store, store.get_run(run.info.run_id))

    upsert_run(store, fingerprint, {}, {}, {}, tmp_path / "model")
    sent = store.download_artifacts(run.info.run_id, "model/model.txt")
    assert Path(sent).read_text() == "a tree"


def test_only_numbers_are_metrics() -> None:
    values = {"a": 1, "b": 0.5, "c": None, "d": float("nan"), "e": "much"}
    assert numbers(values) == {"a": 1.0, "b": 0.5}


def test_a_tag_without_a_value_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "deep-sea")
    tags = run_tags({"verdict": "ok", "champion": None})
    assert tags == {"verdict": "ok", "DVC_EXP_NAME": "deep-sea"}


def trial(a: int) -> dict[str, Any]:
    """What the report of tuning says of one set of values."""
    return {"values": {"a": a}, "value": 0.5, "seconds": 1.0}


def child_runs(store: Store, parent: str) -> list[Any]:
    """The child runs of a run."""
    condition = f"tags.`mlflow.parentRunId` = '{parent}'"
    return list(store.search_runs([store.experiment], condition))


def logged_by_the_mirror(store: Store, parent: str, report: dict[str, Any]) -> None:
    """As the mirror logs trials."""
    log_trials(store, parent, report)


def logged_by_track(store: Store, parent: str, report: dict[str, Any]) -> None:
    """As the wiring file track.py logs trials."""
    for new in tracking._new_trials(store, parent, report):
        tags = {"mlflow.parentRunId": parent, "trial": new.mark}
        child = store.create_run(store.experiment, tags=tags)
        for name, value in new.values.items():
            store.log_param(child.info.run_id, name, value)
        for name, number in new.metrics.items():
            store.log_metric(child.info.run_id, name, number)
        store.set_terminated(child.info.run_id)


@pytest.mark.parametrize("log", [logged_by_the_mirror, logged_by_track])
def test_trials_are_child_runs_each_once(store: Store, log: Callable[..., None]) -> None:
    parent = store.create_run(store.experiment).info.run_id
    both = [trial(1), trial(2)]
    for trials in (both, both, both[:1]):
        log(store, parent, {"metric": "x", "trials": trials})
        runs = child_runs(store, parent)
        expected = sorted(str(entry["values"]["a"]) for entry in trials)
        assert sorted(run.data.params["a"] for run in runs) == expected
    assert runs[0].data.metrics == {"x": 0.5, "seconds": 1.0}
    assert runs[0].info.status == "FINISHED"


def test_the_mirror_and_track_know_each_others_trials(store: Store) -> None:
    parent = store.create_run(store.experiment).info.run_id
    report = {"metric": "x", "trials": [trial(1), trial(2)]}
    logged_by_track(store, parent, report)
    logged_by_the_mirror(store, parent, report)
    assert tracking._new_trials(store, parent, report) == []
    assert len(child_runs(store, parent)) == 2
