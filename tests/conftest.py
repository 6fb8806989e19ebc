"""Fixtures.

The template as a release, a copy for each row of answers, and projects to run things in.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .projects import NOBODY, ROWS, Project, copy, environment, publish

os.environ |= NOBODY | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
# A key of the tests, not the one of the person who runs them.
os.environ["MLOPS_SIGNING_KEY"] = f"{tempfile.mkdtemp(prefix='mlops-')}/signing.pem"


# Modules that take minutes.
# Each runs in one process: one that starts last would leave the other process idle.
LONGEST_FIRST = (
    "test_library",
    "test_rows",
    "test_run",
    "test_wiring",
    "test_draft",
    "test_library_file",
    "test_record",
    "test_update",
    "test_server",
    "test_feature_changes",
    "test_change_tasks",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first (with `--no-loadscope-reorder`, which `make test` gives)."""
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work tree as the newest release, with all earlier ones."""
    return publish(tmp_path_factory.mktemp("template") / "copier-mlops")


@pytest.fixture(scope="session", params=ROWS)
def row(request: pytest.FixtureRequest) -> str:
    """The name of a row of answers."""
    return str(request.param)


@pytest.fixture(scope="session")
def rendered(template: Path, row: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy for each row, to look at only."""
    return copy(template, tmp_path_factory.mktemp("rendered") / "late-flights", ROWS[row])


@pytest.fixture(scope="session")
def programs(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the environment that all projects share."""
    folder = copy(template, tmp_path_factory.mktemp("programs") / "late-flights")
    return environment(folder / "pyproject.toml")


@pytest.fixture
def project(template: Path, programs: Path, tmp_path: Path) -> Callable[..., Project]:
    """`project(task=..., sample=..., ci=...)` makes a committed project to run commands in."""
    return lambda **answers: Project(copy(template, tmp_path / "late-flights", answers), programs)


@pytest.fixture(scope="session")
def make(
    template: Path, programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Project]:
    """`make(row)` makes a committed project with a row of answers, to run commands in."""

    def make_project(row: str) -> Project:
        folder = tmp_path_factory.mktemp(row) / "late-flights"
        return Project(copy(template, folder, ROWS[row]), programs)

    return make_project
