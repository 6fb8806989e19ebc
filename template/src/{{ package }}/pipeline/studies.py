"""Fit again: with other parameters (tuning), without each feature (ablation), on older periods (staleness)."""

from mlgates import Project, data, training
from mlgates.training import ablation, staleness, tuning


def main(project: Project) -> None:
    """Write reports/tuning.json, reports/features/ and reports/age.json: three studies of the same rows."""
    settings = project.settings()
    periods = data.closed_periods(project)
    trained, unseen = training.read_rows(project)
    rows = training.reference(trained, settings.train)
    print(tuning.write(project, trained, settings))
    print(ablation.write(project, (rows, unseen), settings, periods))
    print(staleness.write(project, (rows, unseen), settings, periods))
