"""The library's own tests, types and style.

They run here with the environment that generated projects have.
"""

import os
import subprocess
from pathlib import Path

import pytest

from .projects import LIBRARY, clean

TASKS = ("regression", "multiclass")
# Folders of tests that read the contract of the sample.
BY_TASK = ("serving", "monitoring", "faults", "data", "training", "evaluation")


def run(programs: Path, *words: str, sample: str = "binary") -> str:
    """A program of the shared environment, in the library's folder."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    settings = clean() | {"MLGATES_SAMPLE": sample, "PATH": path}
    command = [str(programs / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=LIBRARY, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    return done.stdout


def test_the_library_passes_its_own_tests(programs: Path) -> None:
    assert " passed" in run(programs, "python", "-m", "pytest", "-q", "-W", "ignore", "tests")


@pytest.mark.parametrize("task", TASKS)
def test_what_depends_on_the_task_passes_on_the_other_tasks(programs: Path, task: str) -> None:
    folders = [f"tests/{name}" for name in BY_TASK if (LIBRARY / "tests" / name).is_dir()]
    assert folders, "library/tests has none of the folders that this test names"
    words = ["python", "-m", "pytest", "-q", "-W", "ignore"]
    assert " passed" in run(programs, *words, *folders, sample=task)


def test_the_library_is_typed(programs: Path) -> None:
    assert "Success" in run(programs, "mypy")
