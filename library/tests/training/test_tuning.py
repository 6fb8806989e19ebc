"""What is tried is the same every time, and the team's values may lose little to the best."""

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import make_pipeline

from mlgates import Project, ProjectError
from mlgates.contract import Contract
from mlgates.data import partitions
from mlgates.gate import rules
from mlgates.settings import EvaluateSettings, GateSettings, Settings
from mlgates.training import tuning
from training_bench import halves

LIMITS = GateSettings(tune_tolerance=0.02, tune_blocking=True, slice_min_rows=200)


def report(low: float, high: float, rows: int = 5000, unit: float = 1.0) -> dict[str, Any]:
    """What tune writes of two trials, the second one the best."""
    trials = [
        {"values": {"a": 1}, "value": 0.5, "seconds": 1.0},
        {"values": {"a": 2}, "value": 0.5, "seconds": 1.0},
    ]
    return {
        "metric": "x",
        "rows": rows,
        "unit": unit,
        "trials": trials,
        "best": 1,
        "difference": {"value": (low + high) / 2, "interval": [low, high]},
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (report(-0.01, 0.01), "ok"),
        (report(-0.03, -0.01), "inconclusive"),
        (report(-0.05, -0.03), "fail"),
        (report(-0.05, -0.03, unit=10.0), "ok"),  # an error in minutes: a share of it
        (report(-0.05, -0.03, rows=199), "inconclusive"),
        ({"trials": []}, "inconclusive"),
    ],
)
def test_values_may_lose_the_tolerance_to_the_best(written: Any, expected: str) -> None:
    check = rules.tuning_check(written, LIMITS)
    assert check.verdict == expected and not check.required
    if written["trials"]:
        assert "a=2, not 1" in check.evidence


def guessing(project: Project, search: Any) -> Project:
    """The project with one feature, a model that guesses, and `search` as its SEARCH.

    `given_params` of its model are the parameters that build() was called with.
    """
    features = ModuleType("features")
    for name, column in project.contract.request_columns.items():
        if column.is_number or column.kind == "category":
            features.AS_IS = [name]  # type: ignore[attr-defined]
            break

    model = ModuleType("model")
    given_params: list[Mapping[str, Any]] = []

    def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> Any:
        given_params.append(params)
        if project.contract.task == "regression":
            return DummyRegressor()
        return DummyClassifier(strategy="prior")

    model.build = build  # type: ignore[attr-defined]
    model.SEARCH = search  # type: ignore[attr-defined]
    model.given_params = given_params  # type: ignore[attr-defined]
    return project.having(features=features, model=model)


def test_the_first_trial_is_the_teams_and_none_is_tried_twice(
    project: Project, sample: Any
) -> None:
    settings = replace(project.settings(), model={"a": 2, "b": 1})
    team = guessing(project, {"a": [1, 2, 3]})
    rows, unseen = halves(sample.rows)
    found = tuning.tune(team, rows, unseen, settings)
    again = tuning.tune(team, rows, unseen, settings)

    tried = [trial["values"]["a"] for trial in found["trials"]]
    assert tried[0] == 2 and sorted(tried) == [1, 2, 3]
    assert [trial["values"]["a"] for trial in again["trials"]] == tried
    assert team.model.given_params[0] == settings.model
    assert all(params["b"] == 1 for params in team.model.given_params)
    assert found["best"] == 0 and found["difference"]["value"] == 0  # of equals, the team's
    assert rules.tuning_check(found, LIMITS).verdict == "ok"


def test_values_inside_a_pipeline_are_known(project: Project, sample: Any) -> None:
    team = guessing(project, {"constant": [1, 2]})
    build = team.model.build
    team.model.build = lambda *given: make_pipeline(build(*given))  # type: ignore[attr-defined]
    found = tuning.tune(team, sample.rows, sample.rows, project.settings())
    assert [trial["values"]["constant"] for trial in found["trials"]] == [None, 1, 2]


def with_trials(count: int) -> Settings:
    return Settings(evaluate=EvaluateSettings(tune_trials=count))


@pytest.mark.parametrize("search", [{"a": 1}, {"a": []}, ["a"], {"a": "words"}])
def test_a_wrong_search_is_one_sentence(project: Project, search: Any) -> None:
    with pytest.raises(ProjectError, match="SEARCH is no search space"):
        tuning.sampled_values(guessing(project, search), with_trials(3))


def test_without_search_or_trials_nothing_is_tried(project: Project) -> None:
    team = guessing(project, {"a": [1]})
    without_search = project.having(model=ModuleType("model"))
    assert tuning.sampled_values(team, with_trials(3)) == [{"a": 1}]
    assert tuning.sampled_values(team, with_trials(0)) == []
    assert tuning.sampled_values(without_search, with_trials(3)) == []


def sizes(parts: tuple[Any, Any]) -> list[int]:
    return [len(part) for part in parts]


def test_what_measures_is_newer_than_what_teaches(contract: Contract, sample: Any) -> None:
    rows = sample.rows
    older, newer = tuning.split_rows(contract, rows, len(rows))
    assert len(older) + len(newer) == len(rows) and 0.15 < len(newer) / len(rows) < 0.35
    if contract.time:
        assert older[contract.time].max() <= newer[contract.time].min()
    assert sizes(tuning.split_rows(contract, rows, 50)) == [50, 50]


def test_rows_of_one_time_or_already_split_by_key_still_teach_and_measure(
    contract: Contract, sample: Any
) -> None:
    untimed = replace(contract, time=None)
    rows = sample.rows[partitions.key_share(sample.rows, untimed).to_numpy() > 0.5]
    assert sizes(tuning.split_rows(untimed, rows, 50)) == [50, 50]
    if contract.time:
        at_once = rows.assign(**{contract.time: rows[contract.time].max()})
        assert sizes(tuning.split_rows(contract, at_once, 50)) == [50, 50]
