"""Write tests/goldens/: the numbers of the sample project of each task.

It takes ten minutes; see tests/test_goldens.py.

python -m scripts.goldens [FOLDER]: FOLDER holds projects that are trained and proven already,
ROW/late-flights, each with the output of `mlops prove` beside it in ROW-prove.txt.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.projects import FLIGHTS, NOBODY, ROWS, Project, copy, environment, lock, publish
from tests.test_goldens import GOLDENS, caught, measured


def train(folder: Path) -> None:
    """Train and prove a project for each task."""
    os.environ |= NOBODY | {"MLOPS_SIGNING_KEY": str(folder / "signing.pem")}
    template = publish(folder / "copier-mlops")
    for row in FLIGHTS:
        project_folder = copy(template, folder / row / "late-flights", ROWS[row])
        programs = environment(project_folder / "pyproject.toml")
        project = lock(Project(project_folder, programs))
        project.run("mlops", "up", "--no-serve")
        project.run("mlops", "prove")
        print(row, flush=True)


def lines(content: dict[str, dict[str, object]]) -> str:
    """JSON with one entry a line, so that a difference reads well."""
    groups = []
    for group, entries in content.items():
        entry_lines = []
        for name, value in entries.items():
            entry_lines.append(f"  {json.dumps(name)}: {json.dumps(value)}")
        inner = ",\n".join(entry_lines)
        groups.append(f" {json.dumps(group)}: {{\n{inner}\n }}")
    return "{\n" + ",\n".join(groups) + "\n}\n"


def write(folder: Path) -> None:
    """The golden file of each task, from trained projects."""
    GOLDENS.mkdir(exist_ok=True)
    for row in FLIGHTS:
        faults = caught(folder / row / "late-flights")
        golden = measured(folder / row / "late-flights")
        golden["faults"] = dict(sorted(faults.items()))
        (GOLDENS / f"{row}.json").write_text(lines(golden))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            train(Path(scratch))
            write(Path(scratch))
