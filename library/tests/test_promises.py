"""What mlgates.testing says of a project that does not keep a promise: it names the stage and the file."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlgates import Project, testing
from mlgates.rehearsal import Performance, small_periods
from mlgates.team_code import imported_files


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    """The sample's files in a folder of the test's own."""
    root = tmp_path / "copied"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("__pycache__"))
    return project.moved(root)


def performed(project: Project, stage: str, used: set[str], written: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    """A rehearsal in which one stage used some modules and wrote some files."""
    performance = Performance(written, used, "", "")
    return SimpleNamespace(
        original=project, folder=project.root, stages=(stage,), performance=lambda name: performance
    )


def package(project: Project) -> Path:
    """The folder of the team's package."""
    return project.root / "src" / project.package


def test_an_import_is_followed_through_the_teams_own_modules(copied: Project) -> None:
    (package(copied) / "clocks.py").write_text("from .zones import offset\n")
    (package(copied) / "zones.py").write_text("import numpy\n")
    features = package(copied) / "features.py"
    features.write_text(features.read_text() + f"\nfrom {copied.package}.clocks import offset\n")
    assert imported_files(copied, ["features"]) == {"features", "clocks", "zones"}


def test_a_helper_that_is_no_dependency_of_the_stage_is_named(copied: Project) -> None:
    used = {"schema", "features", "model"}
    testing.each_stage_names_the_code_that_it_uses(performed(copied, "train", used))
    (package(copied) / "clocks.py").write_text("")
    features = package(copied) / "features.py"
    features.write_text(features.read_text() + "\nfrom . import clocks\n")
    with pytest.raises(
        AssertionError, match=r"stage train uses src/\w+/clocks\.py, which is not among its deps"
    ):
        testing.each_stage_names_the_code_that_it_uses(performed(copied, "train", used))


def test_a_dependency_that_no_stage_uses_is_named(copied: Project) -> None:
    with pytest.raises(
        AssertionError,
        match=r"stage train names src/\w+/model\.py among its deps and does not use it",
    ):
        testing.each_stage_names_the_code_that_it_uses(
            performed(copied, "train", {"schema", "features"})
        )


def test_a_file_that_is_no_output_of_the_stage_is_named(copied: Project) -> None:
    for output in ("reports/metrics.json", "reports/pictures/models.svg"):
        path = copied.root / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    written = {"reports/metrics.json", "reports/pictures/models.svg", "reports/train.json"}
    with pytest.raises(AssertionError, match=r"stage evaluate wrote reports/train\.json"):
        testing.each_stage_writes_what_dvc_yaml_says(performed(copied, "evaluate", set(), written))


def test_a_monitor_that_takes_the_reference_for_what_was_served_is_named(project: Project) -> None:
    distributions = project.module("monitor").distributions
    swapped = SimpleNamespace(
        distributions=lambda compared: distributions(
            replace(compared, reference=compared.current, current=compared.reference)
        )
    )
    promise = testing.the_monitor_compares_each_column_as_what_it_is
    rehearsed: Any = SimpleNamespace(original=SimpleNamespace(module=project.module))
    promise(rehearsed)
    rehearsed.original.module = lambda _: swapped
    with pytest.raises(AssertionError, match="is the reference in its place"):
        promise(rehearsed)


def test_the_small_periods_follow_each_other_and_hold_all_tables(project: Project) -> None:
    periods, real = small_periods(project)
    assert real and len(periods) == 3
    ends = []
    for tables in periods.values():
        assert set(tables) == {"rows", *(look.name for look in project.contract.lookups)}
        times = tables["rows"][project.contract.time]
        ends += [times.min(), times.max()]
    assert ends == sorted(ends)
