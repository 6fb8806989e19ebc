"""Fixtures: the project `tests/projects/tiny` as a team has it.

Before and after its first release.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from clones import Clone, found, settings_of_nobody
from mlgates.registry import mlflow_registry
from mlgates.registry.promote import promote


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without any settings."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def trained(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository with one candidate, committed and pushed.

    Tests share it, so nothing may be written into it: see `ada`.
    """
    with settings_of_nobody(home, "tiny"):
        ada = found("tiny", tmp_path_factory.mktemp("trained"))
        ada.repro()
        ada.commit("first")
    return ada


@pytest.fixture(scope="session")
def promoted(trained: Clone, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The same with v1.0.0 as champion, and no MLflow yet.

    Tests share it, so nothing may be written into it: see `reigning`.
    """
    ada = trained.moved(tmp_path_factory.mktemp("promoted") / "all")
    with settings_of_nobody(home, "tiny"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlflow_registry, "fill", lambda *_: "")
        promote(ada.project, reason="the first")
    return ada


@pytest.fixture
def nobody(home: Path) -> Iterator[None]:
    """For one test: no settings of whoever runs it."""
    with settings_of_nobody(home, "tiny"):
        yield


@pytest.fixture
def ada(trained: Clone, nobody: None, tmp_path: Path) -> Clone:
    """Ada's machine, with a candidate and no champion."""
    return trained.moved(tmp_path / "all")


@pytest.fixture
def reigning(promoted: Clone, nobody: None, tmp_path: Path) -> Clone:
    """Ada's machine, with a champion, and no MLflow yet."""
    return promoted.moved(tmp_path / "all")


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests about something else: MLflow is left out."""
    monkeypatch.setattr(mlflow_registry, "fill", lambda *_: "")
