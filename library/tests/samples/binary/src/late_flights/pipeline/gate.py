"""The verdict on the candidate. A blocked candidate is a report that says fail, not an error."""

from mlgates import Project, gate
from mlgates.registry import wheel
from mlgates.reports import terminal


def main(project: Project) -> None:
    """Write reports/gate.json, its page, the model card and the bill of materials.

    The library that judged is kept beside the model.
    """
    report = gate.decide(project)
    gate.write(project, report)
    wheel.keep(project)  # models/library: `mlops reproduce` makes this model again with it
    print(terminal(report))
    print(gate.sentence(report))
