"""Tuning: what is tried is the same every time, and the values in use are judged by how much they lose to the best."""

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

LIMITS = GateSettings(tune_tolerance=0.02, tune_blocking=True, slice_min_rows=200)


def report(low: float, high: float, rows: int = 5000, unit: float = 1.0) -> dict[str, Any]:
    """What tune writes, of two trials, the second one the best."""
    trials = [{"values": {"a": a}, "value": 0.5, "seconds": 1.0} for a in (1, 2)]
    difference = {"value": (low + high) / 2, "interval": [low, high]}
    return {
        "metric": "x",
        "rows": rows,
        "unit": unit,
        "trials": trials,
        "best": 1,
        "difference": difference,
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (report(-0.01, 0.01), "ok"),
        (report(-0.03, -0.01), "inconclusive"),
        (report(-0.05, -0.03), "fail"),
        (report(-0.05, -0.03, unit=10.0), "ok"),  # an error in minutes: a share of it
        (report(-0.05, -0.03, rows=199), "inconclusive"),
        ({"trials": []}, "inconclusive"),
    ],
)
def test_values_may_lose_the_tolerance_to_the_best(found: Any, expected: str) -> None:
    check = rules.tuned(found, LIMITS)
    assert check.verdict == expected and not check.required
    assert not found["trials"] or "a=2, not 1" in check.evidence


def guessing(project: Project, search: Any) -> Project:
    """The project with one feature and a model that guesses; `seen` of its model holds what build() was given."""
    columns = project.contract.request_columns.items()
    features, model = ModuleType("features"), ModuleType("model")
    features.AS_IS = [next(n for n, c in columns if c.is_number or c.kind == "category")]  # type: ignore[attr-defined]
    seen: list[Mapping[str, Any]] = []

    def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> Any:
        seen.append(params)
        if project.contract.task == "regression":
            return DummyRegressor()
        return DummyClassifier(strategy="prior")

    model.build, model.SEARCH, model.seen = build, search, seen  # type: ignore[attr-defined]
    return project.having(features=features, model=model)


def test_the_first_trial_is_the_teams_and_none_is_tried_twice(
    project: Project, sample: Any
) -> None:
    settings = replace(project.settings(), model={"a": 2, "b": 1})
    team = guessing(project, {"a": [1, 2, 3]})
    halves = (
        sample.rows.iloc[::2].reset_index(drop=True),
        sample.rows.iloc[1::2].reset_index(drop=True),
    )
    found, again = (tuning.tune(team, *halves, settings) for _ in range(2))
    tried = [trial["values"]["a"] for trial in found["trials"]]
    assert tried[0] == 2 and sorted(tried) == [1, 2, 3]
    assert [trial["values"]["a"] for trial in again["trials"]] == tried
    assert (
        all(params["b"] == 1 for params in team.model.seen) and team.model.seen[0] == settings.model
    )
    assert found["best"] == 0 and found["difference"]["value"] == 0  # of equals, the team's
    assert rules.tuned(found, LIMITS).verdict == "ok"


def test_values_inside_a_pipeline_are_known(project: Project, sample: Any) -> None:
    team = guessing(project, {"constant": [1, 2]})
    build = team.model.build
    team.model.build = lambda *given: make_pipeline(build(*given))  # type: ignore[attr-defined]
    found = tuning.tune(team, sample.rows, sample.rows, project.settings())
    assert [trial["values"]["constant"] for trial in found["trials"]] == [None, 1, 2]


@pytest.mark.parametrize("search", [{"a": 1}, {"a": []}, ["a"], {"a": "words"}])
def test_a_wrong_search_is_one_sentence(project: Project, search: Any) -> None:
    settings = Settings(evaluate=EvaluateSettings(tune_trials=3))
    with pytest.raises(ProjectError, match="SEARCH is no search space"):
        tuning.drawn(guessing(project, search), settings)


def test_without_search_or_trials_nothing_is_tried(project: Project) -> None:
    none, some = (Settings(evaluate=EvaluateSettings(tune_trials=n)) for n in (0, 3))
    assert tuning.drawn(guessing(project, {"a": [1]}), none) == []
    assert tuning.drawn(project.having(model=ModuleType("model")), some) == []


def test_what_measures_is_newer_than_what_teaches(contract: Contract, sample: Any) -> None:
    rows = sample.rows
    older, newer = tuning.parts(contract, rows, len(rows))
    assert len(older) + len(newer) == len(rows) and 0.15 < len(newer) / len(rows) < 0.35
    if contract.time:
        assert older[contract.time].max() <= newer[contract.time].min()
    assert [len(part) for part in tuning.parts(contract, rows, 50)] == [50, 50]


def test_rows_of_one_time_or_already_split_by_key_still_teach_and_measure(
    contract: Contract, sample: Any
) -> None:
    untimed = replace(contract, time=None)
    rows = sample.rows[partitions.key_share(sample.rows, untimed).to_numpy() > 0.5]
    assert [len(part) for part in tuning.parts(untimed, rows, 50)] == [50, 50]
    if contract.time:
        at_once = rows.assign(**{contract.time: rows[contract.time].max()})
        assert [len(part) for part in tuning.parts(contract, at_once, 50)] == [50, 50]
