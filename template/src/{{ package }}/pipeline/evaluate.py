"""Measure candidate, champion and baselines on the same untouched rows.

They are measured over all rows, by slice and by group.
"""

from mlgates import Project, evaluation
from mlgates.files import write_json


def main(project: Project) -> None:
    """Write reports/metrics.json, which the gate judges, and reports/pictures.

    For metrics of your own, give evaluate one more argument, for example
    {"brier": sklearn.metrics.brier_score_loss}.
    """
    rows = evaluation.read_rows(project)
    models = evaluation.load_models(project)
    scores = evaluation.score(project, models, rows)
    measured = evaluation.evaluate(project, rows, models, scores)
    write_json(project.root / "reports/metrics.json", measured)
    evaluation.draw(project.root / "reports/pictures", project.contract, rows, scores, measured)
    print(evaluation.summary(measured))
