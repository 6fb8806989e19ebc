"""The promise about the stage track: what MLflow holds of the model."""

from typing import TYPE_CHECKING, Any

from mlgates.files import read_json
from mlgates.layout import TRACKED, TUNING
from mlgates.project import Project
from mlgates.rehearsal import Rehearsal
from mlgates.testing.trials import run_quietly

if TYPE_CHECKING:
    from mlgates.registry.mlflow_client import Store
    from mlgates.registry.tracking import Run


def track_logs_the_model_to_mlflow_once(rehearsal: Rehearsal) -> None:
    """MLflow has one complete run of the model, also after the stage has run again."""
    project = rehearsal.after("track")
    _check_run(project)
    assert "mlflow ui" in rehearsal.performance("track").printed, "track does not say where to look"
    run_quietly(lambda: project.stage("track").main(project))
    _check_run(project)


def _check_run(project: Project) -> None:
    """Check that there is one run, and that it holds all that has to be logged of the model."""
    from mlgates.registry.mlflow_client import open_store
    from mlgates.registry.tracking import begin

    identity = read_json(project.root / TRACKED)["fingerprint"]
    store = open_store(project)
    runs = store.search_runs([store.experiment], f"tags.fingerprint = '{identity}'")
    assert len(runs) == 1, f"MLflow has {len(runs)} runs of this model"
    logged = runs[0]
    name = logged.info.run_name
    assert logged.info.status == "FINISHED"
    assert name == identity[:8], f"the run is called {name}, not by the model's fingerprint"

    # What a second track would log: of parameters, model and trials only what is still missing,
    # of everything else all of it.
    expected = begin(project)
    assert not expected.params, f"the run lacks the parameters {', '.join(expected.params)}"
    assert expected.has_model, "the run has no model"
    assert not expected.trials, f"the run lacks {len(expected.trials)} trials"

    _check_metrics_and_tags(logged, expected)
    _check_data(logged, expected)
    _check_files(store, logged, expected)
    _check_trials(store, logged, read_json(project.root / TUNING))


def _check_metrics_and_tags(logged: Any, expected: "Run") -> None:
    """Check the numbers of the evaluation, and the tags by which a run is found."""
    metrics = logged.data.metrics.items()
    assert expected.metrics.items() <= metrics, (
        "the run's metrics are not those of reports/metrics.json"
    )
    for tag, value in expected.tags.items():
        assert logged.data.tags.get(tag) == value, f"the run's tag {tag} is not {value}"


def _check_data(logged: Any, expected: "Run") -> None:
    """Check that the run names the one data set that it was trained on."""
    inputs = logged.inputs.dataset_inputs
    assert len(inputs) == 1, f"the run names {len(inputs)} data sets instead of one"
    named = inputs[0].dataset
    assert (named.name, named.digest) == (expected.data.name, expected.data.digest), (
        "the run does not name the data that it was trained on"
    )
    contexts = [tag.value for tag in inputs[0].tags if tag.key.endswith("context")]
    assert contexts == ["training"], "the run does not say that these data were for training"


def _check_files(store: "Store", logged: Any, expected: "Run") -> None:
    """Check the reports, and the pictures in a folder of their own."""
    run_id = logged.info.run_id
    files = {entry.path for entry in store.list_artifacts(run_id) if not entry.is_dir}
    for path in expected.files:
        assert path.name in files, f"the run does not hold the file {path.name}"
    pictures = {entry.path for entry in store.list_artifacts(run_id, "pictures")}
    expected_pictures = {f"pictures/{path.name}" for path in expected.pictures.iterdir()}
    assert pictures == expected_pictures, "pictures are not in the run"


def _check_trials(store: "Store", logged: Any, tuning: dict[str, Any]) -> None:
    """Check that each trial of tuning is one child run, with its parameters and its metric."""
    is_child = f"tags.`mlflow.parentRunId` = '{logged.info.run_id}'"
    children = store.search_runs([store.experiment], is_child)
    trials = tuning["trials"]
    assert len(children) == len(trials), "each trial of tuning is not one child run"

    params_of_trials = []
    for trial in trials:
        # MLflow keeps parameters as text
        params_of_trials.append({key: str(value) for key, value in trial["values"].items()})
    values = [trial["value"] for trial in trials]
    for child in children:
        params = child.data.params
        assert params in params_of_trials, "a child run has other parameters than its trial"
        assert child.data.metrics.get(tuning["metric"]) in values, (
            "a child run does not have the metric of its trial"
        )
        first_parameter = next(iter(params_of_trials[0]))
        assert child.info.run_name.startswith(f"{first_parameter}="), (
            "a child run is not named by its values"
        )
