"""Fit again with other parameters, without each feature, and on older periods.

These are the studies tuning, ablation and staleness.
"""

from mlgates import Project, data, training
from mlgates.training import ablation, staleness, tuning


def main(project: Project) -> None:
    """Write reports/tuning.json, reports/features/ and reports/age.json.

    All three studies use the same rows.
    """
    settings = project.settings()
    periods = data.closed_periods(project)
    trained, unseen = training.read_rows(project)
    rows = training.reference(trained, settings.train)
    print(tuning.write(project, trained, settings))
    print(ablation.write(project, (rows, unseen), settings, periods))
    print(staleness.write(project, (rows, unseen), settings, periods))
