"""A promise that a project does not keep names the stage and the file."""

import inspect
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mlgates import Project, ProjectError
from mlgates.monitoring.drift import Comparison
from mlgates.rehearsal import Performance, small_periods
from mlgates.team_code import imported_files
from mlgates.testing import PROMISES, declarations, monitor, pipeline, service, tracking


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    """The sample's files in a folder of the test's own."""
    root = tmp_path / "copied"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("__pycache__"))
    return project.moved(root)


def performed(
    project: Project, stage: str, used: Iterable[str] = (), written: Iterable[str] = ()
) -> Any:
    """A rehearsal in which one stage used some modules and wrote some files."""
    performance = Performance(set(written), set(used), "", "")
    return SimpleNamespace(
        original=project, folder=project.root, stages=(stage,), performance=lambda name: performance
    )


def package(project: Project) -> Path:
    """The folder of the team's package."""
    return project.root / "src" / project.package


def test_every_promise_is_listed() -> None:
    promises = []
    for module in (declarations, pipeline, tracking, service, monitor):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_of_module = function.__module__ == module.__name__
            parameters = list(inspect.signature(function).parameters)
            if is_of_module and not name.startswith("_") and parameters == ["rehearsal"]:
                promises.append(function)
    assert len(PROMISES) > 20
    assert set(promises) == set(PROMISES), "list it in mlgates/testing/__init__.py"
    assert len(PROMISES) == len(set(PROMISES))


def test_an_import_is_followed_through_the_teams_own_modules(copied: Project) -> None:
    (package(copied) / "clocks.py").write_text("from .zones import offset\n")
    (package(copied) / "zones.py").write_text("import numpy\n")
    features = package(copied) / "features.py"
    features.write_text(features.read_text() + f"\nfrom {copied.package}.clocks import offset\n")
    assert imported_files(copied, ["features"]) == {"features", "clocks", "zones"}


def test_a_helper_that_is_no_dependency_of_the_stage_is_named(copied: Project) -> None:
    used = {"schema", "features", "model"}
    declarations.each_stage_names_the_code_that_it_uses(performed(copied, "train", used))
    (package(copied) / "clocks.py").write_text("")
    features = package(copied) / "features.py"
    features.write_text(features.read_text() + "\nfrom . import clocks\n")
    message = r"stage train uses src/\w+/clocks\.py, which is not among its deps"
    with pytest.raises(AssertionError, match=message):
        declarations.each_stage_names_the_code_that_it_uses(performed(copied, "train", used))


def test_a_dependency_that_no_stage_uses_is_named(copied: Project) -> None:
    rehearsal = performed(copied, "train", {"schema", "features"})
    message = r"stage train names src/\w+/model\.py among its deps and does not use it"
    with pytest.raises(AssertionError, match=message):
        declarations.each_stage_names_the_code_that_it_uses(rehearsal)


def test_a_file_that_is_no_output_of_the_stage_is_named(copied: Project) -> None:
    for output in ("reports/metrics.json", "reports/pictures/models.svg"):
        path = copied.root / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    written = {"reports/metrics.json", "reports/pictures/models.svg", "reports/train.json"}
    rehearsal = performed(copied, "evaluate", written=written)
    with pytest.raises(AssertionError, match=r"stage evaluate wrote reports/train\.json"):
        declarations.each_stage_writes_what_dvc_yaml_says(rehearsal)


def test_a_monitor_that_swaps_reference_and_current_rows_is_named(project: Project) -> None:
    distributions = project.module("monitor").distributions

    def swapped_distributions(compared: Comparison) -> Any:
        swapped = replace(compared, reference=compared.current, current=compared.reference)
        return distributions(swapped)

    promise = monitor.the_monitor_compares_each_column_as_what_it_is
    rehearsal: Any = SimpleNamespace(original=SimpleNamespace(module=project.module))
    promise(rehearsal)

    wrong_monitor = SimpleNamespace(distributions=swapped_distributions)
    rehearsal.original.module = lambda _: wrong_monitor
    with pytest.raises(AssertionError, match="are reference and current rows swapped"):
        promise(rehearsal)


def test_rows_without_their_time_are_named(project: Project) -> None:
    time = project.contract.time

    def read_without_time(period: str) -> Any:
        return project.data.read(period).drop(columns=time)

    data = ModuleType("data")
    vars(data).update(vars(project.data), read=read_without_time)
    with pytest.raises(ProjectError, match=rf"data\.py does not deliver the columns {time}\."):
        small_periods(project.having(data=data))


def test_the_small_periods_follow_each_other_and_hold_all_tables(project: Project) -> None:
    periods, real = small_periods(project)
    assert real and len(periods) == 3
    ends = []
    for tables in periods.values():
        assert set(tables) == {"rows", *(look.name for look in project.contract.lookups)}
        times = tables["rows"][project.contract.time]
        ends += [times.min(), times.max()]
    assert ends == sorted(ends)
