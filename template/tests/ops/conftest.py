"""What the template's tests share: the package whatever its name, rows whatever the data, a root with a champion."""

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROWS = 4_000
Ops = Callable[[str], Any]
PROJECT = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "dvc.yaml").exists())
PACKAGE = next((PROJECT / "src").glob("*/ops")).parent.name


@dataclass
class Sample:
    """Rows with their look-ups joined, the tables they came from, and a model fitted on them."""

    rows: Any
    tables: dict[str, Any]
    scorer: Any


@pytest.fixture(scope="session")
def ops() -> Ops:
    """Modules of `ops` by name, such as `ops("serving.log")`."""
    return lambda name: importlib.import_module(f"{PACKAGE}.ops.{name}")


@pytest.fixture(scope="session")
def contract(ops: Ops) -> Any:
    """The project's contract."""
    return ops("project").yours().contract


@pytest.fixture(scope="session")
def sample(ops: Ops, contract: Any) -> Sample:
    """A model on rows of the first periods, or on rows made from the contract where `data.py` has none here."""
    project, scoring, team = ops("project"), ops("scoring"), ops("project").yours()
    made = ops("prove.rows")
    try:
        rows, tables = ops("prove").first_rows(team, ROWS)
        rows = made.enlarged(rows.sample(min(ROWS, len(rows)), random_state=0), contract, ROWS).reset_index(drop=True)
    except (project.ProjectError, IndexError):
        rows = made.synthetic(contract, ROWS)
        tables = {look.name: made.synthetic_lookup(contract, look, rows) for look in contract.lookups}
    joined = ops("lookups").join(rows, contract, tables)
    plan = ops("features").plan(team.features, contract)
    settings = project.params(PROJECT)
    scorer = scoring.fit(contract.arrays(joined), contract.target(joined), plan, team.model, contract, settings)
    return Sample(joined, tables, scorer)


def judged(ops: Ops, digest: str) -> Any:
    """What a gate says that lets a model pass."""
    verdict = ops("verdict")
    return verdict.Report("gate", [verdict.Check("gate.finite", verdict.Verdict.OK)], {"model": digest}).to_dict()


def record_champion(ops: Ops, contract: Any, root: Path, scorer: Any, release: str) -> Path:
    """Put a model into `var/models/` and record it as champion, as `promote` does. Returns the model's folder."""
    project = ops("project")
    folder = root / "var/models" / release.replace(".", "")
    ops("scoring").save(scorer, folder, contract)
    record = {"alias": "champion", "release": release, "fingerprint": folder.name, "digest": project.digest(folder)}
    report = judged(ops, record["digest"])
    project.write_json(root / "var/champion.json", record | {"since": "2025-01-01", "report": report})
    return folder


@pytest.fixture(scope="session")
def promote(ops: Ops, contract: Any) -> Callable[[Path, Any, str], Path]:
    """`promote(root, scorer, release)` records a champion."""
    return partial(record_champion, ops, contract)


@pytest.fixture(scope="session")
def bare_root(ops: Ops, contract: Any, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an online store, but no champion yet."""
    root = tmp_path_factory.mktemp("root")
    for name in ("cycle.yaml", "dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, root / name)
    ops("serving.online").build(root / "var/online.db", contract, {name: [t] for name, t in sample.tables.items()})
    return root


@pytest.fixture
def served_root(bare_root: Path, sample: Sample, promote: Callable[..., Path], tmp_path: Path) -> Path:
    """A root of the test's own with a champion, v1.0.0, and an online store."""
    root = tmp_path / "served"
    shutil.copytree(bare_root, root, ignore=shutil.ignore_patterns("predictions", "models", "champion.json"))
    promote(root, sample.scorer, "v1.0.0")
    return root
