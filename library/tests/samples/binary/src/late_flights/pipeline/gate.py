"""The verdict on the candidate. A blocked candidate is a report that says fail, not an error."""

from mlgates import Project, gate
from mlgates.registry import wheel
from mlgates.reports import terminal


def main(project: Project) -> None:
    """Write reports/gate.json, its page, the model card, the bill of materials, and the library that judged."""
    report = gate.decide(project)
    gate.write(project, report)
    wheel.keep(project)  # models/library, with which `mlops reproduce` makes this model again
    print(terminal(report))
    print(gate.sentence(report))
