"""What a fresh copy needs and what it gets.

One real `uv sync`, and a serving environment that stays slim.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .projects import UV, Project, clean

SERVE_GROUPS = ["--no-default-groups", "--group", "serve", "--group", "team-serve"]
HEAVY = {
    "dvc",
    "evidently",
    "great-expectations",
    "matplotlib",
    "mlflow",
    "pandas",
    "pyarrow",
    "pytest",
}


@pytest.fixture
def locked(project: Callable[..., Project]) -> Path:
    """A project with a lock file.

    It is that of the shared environment, whose dependencies are the same.
    """
    fresh = project()
    shutil.copy(fresh.programs.parents[1] / "uv.lock", fresh.folder)
    return fresh.folder


def uv(folder: Path, *words: str) -> str:
    done = subprocess.run([UV, *words], cwd=folder, env=clean(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_uv_sync_gives_the_project_and_its_command(locked: Path) -> None:
    uv(locked, "sync", "--quiet", *SERVE_GROUPS)
    assert "First run" in uv(locked, "run", "--no-sync", "mlops", "--help")


def test_the_serving_environment_is_slim_and_sufficient(locked: Path) -> None:
    plain = ["--no-hashes", "--no-header", "--no-annotate"]
    requirements = uv(locked, "export", "--quiet", *SERVE_GROUPS, *plain)
    assert not {line.split("=")[0] for line in requirements.splitlines()} & HEAVY
    uv(locked, "sync", "--quiet", *SERVE_GROUPS)
    uv(locked, "run", "--no-sync", "python", "-c", "import late_flights.service")


def test_dvc_works_without_dvc_init(project: Callable[..., Project]) -> None:
    fresh = project()
    assert "ingest" in fresh.run("dvc", "stage", "list")
    assert "gate" in fresh.run("dvc", "status")
    assert fresh.run("dvc", "config", "--local", "--list") == ""
    assert fresh.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_pythons_resolve_and_import(locked: Path, version: str) -> None:
    python = interpreter(version)
    uv(locked, "sync", "--quiet", "--python", python)
    tools = "bentoml, dvc, evidently, great_expectations, gto, mlflow, sklearn, treelite"
    imports = f"import {tools}, late_flights.service, mlgates.registry.promote"
    uv(locked, "run", "--no-sync", "python", "-c", imports)
    assert "First run" in uv(locked, "run", "--no-sync", "mlops", "--help")


def interpreter(version: str) -> str:
    """Where a Python lies, also one of pyenv that is not switched on."""
    of_pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    interpreters = [*of_pyenv, shutil.which(f"python{version}")]
    assert interpreters[0], f"Python {version} is needed for this test; install it."
    return str(interpreters[0])
