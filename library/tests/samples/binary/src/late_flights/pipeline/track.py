"""Log the candidate to MLflow: one run for each model, and a child run for each tuning trial."""

import mlflow

from mlgates import Project
from mlgates.registry import tracking


def main(project: Project) -> None:
    """Log parameters, metrics, data, pictures, reports and model.

    A model that was logged before keeps its run, which is brought up to date.
    """
    run = tracking.begin(project)
    with mlflow.start_run(run_id=run.identifier, run_name=run.name, tags=run.tags):
        mlflow.log_params(run.params)
        mlflow.log_metrics(run.metrics)
        mlflow.log_input(run.data, context="training")
        for path in run.files:
            mlflow.log_artifact(str(path))
        mlflow.log_artifacts(str(run.pictures), "pictures")
        if not run.has_model:
            mlflow.log_artifacts(str(run.model), "model")
        for trial in run.trials:
            with mlflow.start_run(run_name=trial.name, nested=True, tags={"trial": trial.mark}):
                mlflow.log_params(trial.values)
                mlflow.log_metrics(trial.metrics)
    print(tracking.end(project, run))
