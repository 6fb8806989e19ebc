"""Write library/tests/samples/: the sample project of each task.

The tests of mlgates work on them. They are what the template renders, without what a test of the
library does not read. `tests/test_sample.py` checks that they are fresh.
Run it after a change of the template: python -m scripts.sample
"""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.projects import ROOT, copy, publish

SAMPLES = ROOT / "library" / "tests" / "samples"
TASKS = ("binary", "regression", "multiclass")
KEPT = ("src", "dvc.yaml", "params.yaml", "cycle.yaml", "erased.csv")


def write(template: Path, folder: Path) -> None:
    """Render the sample of each task from a published template into a folder of its name."""
    for task in TASKS:
        with tempfile.TemporaryDirectory() as scratch:
            rendered = copy(template, Path(scratch) / "late-flights", {"task": task})
            target = folder / task
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for name in KEPT:
                source = rendered / name
                if source.is_dir():
                    unwanted = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(source, target / name, ignore=unwanted)
                else:
                    shutil.copy(source, target / name)
            pyproject = (rendered / "pyproject.toml").read_text()
            (target / "pyproject.toml").write_text(_own_table(pyproject))


def _own_table(pyproject: str) -> str:
    """`[tool.mlgates]` and what is below it.

    The rest names an address that differs from clone to clone.
    """
    start = pyproject.index("[tool.mlgates]")
    return pyproject[start : pyproject.index("[tool.uv.sources]")].rstrip() + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cloned:
        write(publish(Path(cloned) / "copier-mlops"), SAMPLES)
    sys.exit(0)
