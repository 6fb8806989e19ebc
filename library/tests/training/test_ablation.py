"""What a feature gains and costs is measured the same every time, and kept by period."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlgates import Project, features
from mlgates.training import ablation
from training_bench import halves


def test_gains_are_the_same_every_time_and_the_only_feature_can_be_left_out(
    project: Project, sample: Any
) -> None:
    settings = project.settings()
    plan = features.plan(project.features, project.contract)
    number = next(name for name in plan.names if name not in plan.categorical)
    plan = replace(plan, names=(number,), categorical=())
    rows, unseen = halves(sample.rows)

    entry = ablation.ablate(project, plan, rows, unseen, settings)["features"][number]
    again = ablation.ablate(project, plan, rows, unseen, settings)["features"][number]
    assert entry["gain"] == again["gain"]
    assert entry["gain"]["interval"][1] > entry["gain"]["interval"][0]
    assert entry["reads"] == sorted(plan.ancestors(number))


def test_without_rows_only_costs_are_measured(project: Project, sample: Any) -> None:
    settings = project.settings()
    settings = replace(settings, evaluate=replace(settings.evaluate, ablation_rows=0))
    plan = features.plan(project.features, project.contract)
    rows, unseen = halves(sample.rows)
    number = next(name for name in plan.names if name not in plan.categorical)
    report = ablation.ablate(project, plan, rows, unseen, settings, [number])
    entry = report["features"][number]
    assert entry["gain"]["value"] is None and entry["microseconds"] > 0


def test_reports_of_earlier_periods_stay_and_those_beyond_the_cycle_go(tmp_path: Path) -> None:
    ablation.write_report(tmp_path, ["1", "2"], {})
    ablation.write_report(tmp_path, ["1", "2", "10"], {})
    ablation.write_report(tmp_path, ["1", "2", "10"], {})
    assert json.loads((tmp_path / "10.json").read_text())["before"] == ["2"]
    ablation.write_report(tmp_path, ["1", "2"], {})
    assert [path.name for path in tmp_path.iterdir()] == ["2.json"]


def one_way(column: np.ndarray) -> np.ndarray:
    return column + 1


def another_way(column: np.ndarray) -> np.ndarray:
    return column + 2


def test_a_feature_is_another_one_when_what_it_is_computed_from_changes(project: Project) -> None:
    # Functions of the test's own, because a drafted team may have none.
    plan = features.plan(project.features, project.contract)
    arguments = {"inner": (plan.columns[0],), "outer": ("inner",)}
    before = replace(plan, functions={"inner": one_way, "outer": one_way}, arguments=arguments)
    after = replace(plan, functions={"inner": another_way, "outer": one_way}, arguments=arguments)
    assert ablation.definition(before, "inner") != ablation.definition(after, "inner")
    assert ablation.definition(before, "outer") != ablation.definition(after, "outer")
