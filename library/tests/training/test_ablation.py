"""Ablation: what each feature gains and costs is measured the same every time, and kept by period."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlgates import Project, features
from mlgates.training import ablation


def test_gains_are_the_same_every_time_and_the_only_feature_can_be_left_out(
    project: Project, sample: Any
) -> None:
    settings = project.settings()
    plan = features.plan(project.features, project.contract)
    number = next(name for name in plan.names if name not in plan.categorical)
    plan = replace(plan, names=(number,), categorical=())
    halves = (
        sample.rows.iloc[::2].reset_index(drop=True),
        sample.rows.iloc[1::2].reset_index(drop=True),
    )
    found, again = (ablation.ablate(project, plan, *halves, settings) for _ in range(2))
    feature, gain = found["features"][number], found["features"][number]["gain"]
    assert gain == again["features"][number]["gain"] and gain["interval"][1] > gain["interval"][0]
    assert feature["reads"] == sorted(plan.ancestors(number))
    without = replace(settings, evaluate=replace(settings.evaluate, ablation_rows=0))
    unfitted = ablation.ablate(project, plan, *halves, without)["features"][number]
    assert unfitted["gain"]["value"] is None and unfitted["microseconds"] > 0


def test_reports_of_earlier_periods_stay_and_those_beyond_the_cycle_go(tmp_path: Path) -> None:
    ablation.keep(tmp_path, ["1", "2"], {})
    ablation.keep(tmp_path, ["1", "2", "10"], {})
    ablation.keep(tmp_path, ["1", "2", "10"], {})
    assert json.loads((tmp_path / "10.json").read_text())["before"] == ["2"]
    ablation.keep(tmp_path, ["1", "2"], {})
    assert [path.name for path in tmp_path.iterdir()] == ["2.json"]


def one_way(column: np.ndarray) -> np.ndarray:
    return column + 1


def another_way(column: np.ndarray) -> np.ndarray:
    return column + 2


def test_a_feature_is_another_one_when_what_it_is_computed_from_changes(project: Project) -> None:
    known, name = (
        features.plan(project.features, project.contract),
        "made",
    )  # a drafted team has no function
    plan = replace(known, functions={name: one_way}, arguments={name: (known.columns[0],)})
    other = replace(plan, functions={name: another_way})
    arguments = {**plan.arguments, "user": (name,)}
    user = replace(plan, arguments=arguments, functions={**plan.functions, "user": one_way})
    changed = replace(user, functions={**user.functions, name: another_way})
    assert ablation.definition(plan, name) != ablation.definition(other, name)
    assert ablation.definition(user, "user") != ablation.definition(changed, "user")
