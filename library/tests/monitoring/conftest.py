"""The sample's world, another one with what the sample lacks, and a folder with a champion."""

from pathlib import Path
from types import ModuleType

import pytest

from mlgates import Project, model_folder, team_code
from mlgates.faults.prove import healthy_rows
from mlgates.files import digest, write_json
from mlgates.layout import CHAMPION, MODELS, REFERENCE
from mlgates.verdict import Check, Report, Verdict
from worlds import World, shop_world, world_of

FINGERPRINT = "f" * 64


@pytest.fixture(scope="session")
def world(project: Project) -> World:
    """The sample itself."""
    return world_of(project, healthy_rows(project))


@pytest.fixture(scope="session")
def shop(project: Project) -> World:
    """A contract that has everything which a project may lack."""
    return shop_world(project)


@pytest.fixture
def installed(project: Project, world: World, tmp_path: Path) -> Project:
    """A folder with a model in service, and nothing else; of three periods two are closed."""
    data = ModuleType("data")
    data.periods = lambda: ["1", "2", "3"]  # type: ignore[attr-defined]
    placed = project.moved(tmp_path).having(data=data)
    folder = tmp_path / MODELS / FINGERPRINT
    model_folder.save(world.scorer, folder, world.contract, team_code.collected(world.project))
    world.reference.to_parquet(folder / REFERENCE, index=False)
    facts = {"trained on": "1", "model": digest(folder), **world.measured}
    champion = {
        "release": "v1.0.0",
        "fingerprint": FINGERPRINT,
        "digest": facts["model"],
        "report": Report("gate", [Check("gate.finite", Verdict.OK)], facts).to_dict(),
    }
    write_json(tmp_path / CHAMPION, champion)
    (tmp_path / "params.yaml").write_text("{}")
    (tmp_path / "cycle.yaml").write_text("until: '2'\nchampion: null\nrelease: null\nage: 0\n")
    return placed
