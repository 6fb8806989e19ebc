"""What the tests share.

The sample project, rows with a model that is fitted on them, and folders with a champion.
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlgates import Project, lookups, model_folder, team_code
from mlgates.command import quiet_tools
from mlgates.contract import Contract
from mlgates.faults.prove import first_rows
from mlgates.faults.rows import enlarged
from mlgates.features import plan
from mlgates.files import digest, write_json
from mlgates.layout import CHAMPION, MODELS, ONLINE_STORE
from mlgates.serving import online_store
from mlgates.verdict import Check, Report, Verdict

pytest_plugins = ["tiny_team"]
ROWS = 4_000
TESTS = Path(__file__).parent
SAMPLE = TESTS / "samples" / os.environ.get("MLGATES_SAMPLE", "binary")
# What a service in a folder of its own needs
SERVICE_FILES = ("cycle.yaml", "dvc.yaml", "params.yaml", "pyproject.toml")

quiet_tools()

# The sample's package, in this process and in those that it starts
sys.path.insert(0, str(SAMPLE / "src"))
python_path = [str(SAMPLE / "src")]
if os.environ.get("PYTHONPATH"):
    python_path.append(os.environ["PYTHONPATH"])
os.environ["PYTHONPATH"] = os.pathsep.join(python_path)

# shop.py and measurements.py, which several folders of tests share
sys.path.append(str(TESTS))


@dataclass
class Sample:
    """Rows with their look-ups joined, the tables they came from, and a model fitted on them."""

    rows: Any
    tables: dict[str, Any]
    scorer: model_folder.Scorer


@pytest.fixture(scope="session")
def project() -> Project:
    """The sample project. Nothing may be written into it: see `empty`."""
    return Project.at(SAMPLE)


@pytest.fixture(scope="session")
def contract(project: Project) -> Contract:
    """The sample's contract."""
    return project.contract


@pytest.fixture
def empty(project: Project, tmp_path: Path) -> Project:
    """The sample's package at work in an empty folder."""
    return project.moved(tmp_path)


@pytest.fixture(scope="session")
def sample(project: Project) -> Sample:
    """A model on rows of the first periods."""
    rows, tables = first_rows(project, ROWS)
    contract = project.contract
    rows = rows.sample(min(ROWS, len(rows)), random_state=0)
    rows = enlarged(rows, contract, ROWS).reset_index(drop=True)
    joined = lookups.join(rows, contract, tables)
    arrays = contract.arrays(joined)
    target = contract.target(joined)
    features = plan(project.features, contract)
    scorer = model_folder.fit(arrays, target, features, project.model, contract, project.settings())
    return Sample(joined, tables, scorer)


def judged(digest_of_model: str) -> dict[str, Any]:
    """The report of a gate that a model has passed."""
    return Report("gate", [Check("gate.finite", Verdict.OK)], {"model": digest_of_model}).to_dict()


def record_champion(project: Project, scorer: model_folder.Scorer, release: str) -> Path:
    """Put a model into `var/models/` and record it as champion, as `promote` does.

    Returns the model's folder.
    """
    folder = project.root / MODELS / release.replace(".", "")
    model_folder.save(scorer, folder, project.contract, team_code.collected(project))
    digest_of_model = digest(folder)
    record = {
        "alias": "champion",
        "release": release,
        "fingerprint": folder.name,
        "digest": digest_of_model,
        "since": "2025-01-01",
        "report": judged(digest_of_model),
    }
    write_json(project.root / CHAMPION, record)
    return folder


@pytest.fixture(scope="session")
def promote() -> Callable[[Project, model_folder.Scorer, str], Path]:
    """`promote(project, scorer, release)` records a champion."""
    return record_champion


@pytest.fixture(scope="session")
def bare_project(
    project: Project, sample: Sample, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A folder with an online store, but no champion yet."""
    placed = project.moved(tmp_path_factory.mktemp("root"))
    for name in SERVICE_FILES:
        shutil.copy(project.root / name, placed.root / name)
    tables = {name: [table] for name, table in sample.tables.items()}
    online_store.build(placed.root / ONLINE_STORE, project.contract, tables)
    return placed


@pytest.fixture
def served_project(bare_project: Project, sample: Sample, tmp_path: Path) -> Project:
    """A folder of the test's own with a champion, v1.0.0, and an online store."""
    root = tmp_path / "served"
    ignored = shutil.ignore_patterns("predictions", "models", "champion.json")
    shutil.copytree(bare_project.root, root, ignore=ignored)
    placed = bare_project.moved(root)
    record_champion(placed, sample.scorer, "v1.0.0")
    return placed
