"""Split by time, join the look-ups as of each decision, fit the model and the baselines."""

from mlgates import Project, data, training


def main(project: Project) -> None:
    """Write the candidate, the baselines, the rows to evaluate on, and reports/train.json.

    The models go to models/candidate and models/baselines.
    """
    settings = project.settings()
    parts = training.split(project, data.closed_periods(project), settings.train)
    rows = training.thin(parts["train"], settings.train)
    candidate, baselines = training.train(project, rows, settings)
    training.write(project, parts, rows, candidate, baselines)
    print(f"train: {len(rows):,} rows; {len(candidate.plan.names)} features")
