"""What the sample's own pipeline/track.py logs to MLflow of a candidate."""

import json
from typing import Any

import pytest

from clones import refusal
from mlgates import Project, model_folder, team_code
from mlgates.dvc_lock import fingerprint, locked
from mlgates.files import read_json, write_json
from mlgates.layout import (
    BOM,
    CANDIDATE,
    CARD,
    FEATURES,
    GATE,
    GATE_PAGE,
    MANIFEST,
    METRICS,
    PICTURES,
    STALENESS,
    TRACKED,
    TRAINING,
    TUNING,
)
from mlgates.registry import tracking
from mlgates.registry.git import git
from mlgates.registry.mlflow_client import Store, open_store

OWN = {"max_iter": 60}  # the team's own values
FASTER = {"max_iter": 30}
PAGES = (GATE_PAGE, CARD, STALENESS.with_suffix(".svg"), FEATURES.with_suffix(".svg"))


def trial(values: dict[str, Any], value: float) -> dict[str, Any]:
    """What tuning says of one set of values."""
    return {"values": values, "value": value, "seconds": 0.5}


def tried(project: Project, *trials: dict[str, Any]) -> None:
    """Write the report of tuning."""
    write_json(project.root / TUNING, {"metric": "log_loss", "trials": list(trials)})


@pytest.fixture
def measured(empty: Project, sample: Any, nobody: None) -> Project:
    """A folder with a candidate and the reports of the stages before track."""
    root = empty.root
    model_folder.save(sample.scorer, root / CANDIDATE, empty.contract, team_code.collected(empty))
    (root / "dvc.yaml").write_text("artifacts:\n  flights: {path: models/candidate, type: model}\n")
    (root / "dvc.lock").write_text("stages: {train: {cmd: mlops run train}}\n")
    periods = {"train": ["1", "2", "3"], "evaluation": ["4"]}
    params = {"train": {"seed": 0}, "model": OWN}
    write_json(root / TRAINING, {"features": ["hour"], "params": params, "periods": periods})
    write_json(root / MANIFEST, {"1": {"rows": {"sha256": "aa"}}, "4": {"rows": {"sha256": "dd"}}})
    write_json(root / METRICS, {"values": {"candidate": {"log_loss": {"value": 0.4}}}})
    gain = {"name": "gate.feature_gain.hour", "value": 0.01}
    report = {"verdict": "ok", "facts": {"model": "f" * 64}, "checks": [], "warnings": [gain]}
    write_json(root / GATE, report)
    write_json(root / BOM, {})
    for page in PAGES:
        (root / page).write_text("made by the gate")
    (root / PICTURES).mkdir()
    (root / PICTURES / "reliability.svg").write_text("<svg/>")
    tried(empty, trial(OWN, 0.41), trial(FASTER, 0.42))
    return empty


def track(project: Project) -> None:
    """The stage, as dvc runs it."""
    project.stage("track").main(project)


def model_run(store: Store, project: Project) -> Any:
    """The one run of the candidate."""
    mark = f"tags.fingerprint = '{fingerprint(locked(project))}'"
    (run,) = store.search_runs([store.experiment], mark)
    return run


def children(store: Store, run: Any) -> list[dict[str, str]]:
    """What the child runs of a run tried."""
    found = store.search_runs(
        [store.experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    return sorted((child.data.params for child in found), key=str)


def artifacts(store: Store, run: Any, folder: str | None = None) -> set[str]:
    """The files and folders in a run."""
    return {entry.path for entry in store.list_artifacts(run.info.run_id, folder)}


def test_one_run_for_each_model_is_brought_up_to_date(
    measured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(measured)
    store = open_store(measured)
    first = model_run(store, measured)
    assert first.info.status == "FINISHED"
    assert first.info.run_name == fingerprint(locked(measured))[:8]
    assert first.data.params == {"train.seed": "0", "model.max_iter": "60"}
    assert first.data.metrics == {"candidate.log_loss": 0.4, "gain.hour": 0.01}
    assert first.data.tags["verdict"] == "ok"
    reports = {path.name for path in (GATE, METRICS, BOM, *PAGES)}
    assert reports | {"pictures", "model"} == artifacts(store, first)
    folders = {entry.path for entry in store.list_artifacts(first.info.run_id) if entry.is_dir}
    assert folders == {"pictures", "model"}  # files are files
    (used,) = first.inputs.dataset_inputs
    assert used.dataset.name == "1 to 3"
    source = used.dataset.source.replace("\\", "")  # JSON inside of JSON
    assert '"sha256": "aa"' in source
    assert '"sha256": "dd"' not in source  # of a period that was not trained on
    assert "model/model.pkl" in artifacts(store, first, "model")
    assert artifacts(store, first, "pictures") == {"pictures/reliability.svg"}
    assert children(store, first) == [{"max_iter": "30"}, {"max_iter": "60"}]
    assert read_json(measured.root / TRACKED) == {"fingerprint": fingerprint(locked(measured))}

    # the gate says otherwise now, one set of values is new, and one was not tried any more
    report = read_json(measured.root / GATE)
    write_json(measured.root / GATE, {**report, "verdict": "fail"})
    trained = read_json(measured.root / TRAINING)
    trained["params"] = {"model": {"max_iter": 99, "depth": 3}}
    write_json(measured.root / TRAINING, trained)
    write_json(measured.root / METRICS, {"values": {"candidate": {"log_loss": {"value": 0.3}}}})
    tried(measured, trial(OWN, 0.41), trial({"max_iter": 90}, 0.39))
    monkeypatch.setenv("DVC_EXP_NAME", "warm-duck")
    assert tracking.begin(measured).has_model
    track(measured)
    again = model_run(store, measured)
    assert again.info.run_id == first.info.run_id
    assert len(again.inputs.dataset_inputs) == 1
    # MLflow keeps a parameter as it was first logged
    assert again.data.params == {"train.seed": "0", "model.max_iter": "60", "model.depth": "3"}
    assert again.data.metrics["candidate.log_loss"] == 0.3
    assert again.data.tags["verdict"] == "fail"
    assert again.data.tags["DVC_EXP_NAME"] == "warm-duck"
    assert children(store, again) == [{"max_iter": "60"}, {"max_iter": "90"}]


def test_a_model_whose_run_was_killed_is_logged_again(measured: Project) -> None:
    run = tracking.begin(measured)
    assert (run.identifier, run.has_model, len(run.trials)) == (None, False, 2)
    store = open_store(measured)
    tags = {"fingerprint": run.fingerprint}
    killed = store.create_run(store.experiment, run_name=run.name, tags=tags).info.run_id
    store.log_artifacts(killed, str(measured.root / CANDIDATE), "model")
    assert not (measured.root / TRACKED).exists()
    resumed = tracking.begin(measured)
    assert resumed.identifier == killed
    assert not resumed.has_model  # the run was not finished: the model may be there in part


def test_a_metric_that_is_no_number_is_left_out(measured: Project) -> None:
    values = {
        "candidate": {"log_loss": {"value": None}, "roc_auc": {"value": float("nan")}},
        "champion": {"log_loss": {"value": 0.5}},
    }
    (measured.root / METRICS).write_text(json.dumps({"values": values}))
    assert tracking.begin(measured).metrics == {"champion.log_loss": 0.5, "gain.hour": 0.01}


def test_a_model_that_reads_what_is_barred_is_not_logged(measured: Project) -> None:
    path = measured.root / CANDIDATE / "features.json"
    stored = read_json(path)
    outcome = measured.contract.outcome.name
    write_json(path, {**stored, "columns": {**stored["columns"], outcome: "bool"}})
    message = refusal(track, measured)
    assert "features.forbidden: the stored model reads" in message
    assert not (measured.root / "mlflow.db").exists()
    assert not (measured.root / TRACKED).exists()


def test_an_mlflow_server_that_cannot_be_reached_is_one_sentence(
    measured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "MLflow at http://127.0.0.1:9 does not work" in refusal(track, measured)
    assert not (measured.root / TRACKED).exists()


def test_a_run_says_who_trained_from_which_commit(measured: Project) -> None:
    git(measured.root, "init", "--quiet", "--initial-branch=main")
    git(measured.root, "config", "user.name", "Ada")
    git(measured.root, "config", "user.email", "ada@example.org")
    git(measured.root, "commit", "--allow-empty", "--quiet", "-m", "x")
    tags = tracking.begin(measured).tags
    assert tags["mlflow.user"] == "Ada"
    assert tags["mlflow.source.git.commit"] == git(measured.root, "rev-parse", "HEAD")
