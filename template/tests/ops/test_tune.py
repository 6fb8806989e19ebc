"""Tuning: what is tried is the same every time, and the values in use are judged by how much they lose to the best."""

from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import make_pipeline

LIMITS = {"tune_tolerance": 0.02, "slice_min_rows": 200}


def report(low: float, high: float, rows: int = 5000, unit: float = 1.0) -> dict[str, Any]:
    """What tune writes, of two trials, the second one the best."""
    trials = [{"values": {"a": a}, "value": 0.5, "seconds": 1.0} for a in (1, 2)]
    difference = {"value": (low + high) / 2, "interval": [low, high]}
    return {"metric": "x", "rows": rows, "unit": unit, "trials": trials, "best": 1, "difference": difference}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (report(-0.01, 0.01), "ok"),
        (report(-0.03, -0.01), "insufficient"),
        (report(-0.05, -0.03), "fail"),
        (report(-0.05, -0.03, unit=10.0), "ok"),  # an error in minutes: a share of it
        (report(-0.05, -0.03, rows=199), "insufficient"),
        ({"trials": []}, "insufficient"),
    ],
)
def test_values_may_lose_the_tolerance_to_the_best(ops: Any, found: Any, expected: str) -> None:
    check = ops("pipeline.gate").tuned(found, LIMITS)
    assert check.verdict == expected and not check.required
    assert not found["trials"] or "a=2, not 1" in check.evidence


def team(contract: Any, search: Any) -> Any:
    """A team of no features but one, whose model guesses; `seen` holds what build() was given."""
    seen: list[Mapping[str, Any]] = []
    name = next(n for n, c in contract.request_columns.items() if c.is_number or c.kind == "category")
    features = ModuleType("features")
    features.AS_IS = [name]  # type: ignore[attr-defined]

    def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> Any:
        seen.append(params)
        return DummyRegressor() if contract.task == "regression" else DummyClassifier(strategy="prior")

    return SimpleNamespace(
        contract=contract, features=features, seen=seen, model=SimpleNamespace(build=build, SEARCH=search)
    )


def test_the_first_trial_is_the_teams_and_none_is_tried_twice(ops: Any, contract: Any, sample: Any) -> None:
    rows, settings = sample.rows, ops("project").params(ops("project").find_root()) | {"model": {"a": 2, "b": 1}}
    guessing = team(contract, {"a": [1, 2, 3]})
    parts = rows.iloc[::2].reset_index(drop=True), rows.iloc[1::2].reset_index(drop=True)
    found = [ops("pipeline.tune").tune(guessing, *parts, settings) for _ in range(2)]
    tried = [trial["values"]["a"] for trial in found[0]["trials"]]
    assert (
        tried[0] == 2 and sorted(tried) == [1, 2, 3] and [trial["values"]["a"] for trial in found[1]["trials"]] == tried
    )
    assert all(params["b"] == 1 for params in guessing.seen) and guessing.seen[0] == settings["model"]
    assert found[0]["best"] == 0 and found[0]["difference"]["value"] == 0  # of equals, the team's
    assert ops("pipeline.gate").tuned(found[0], LIMITS).verdict == "ok"


def test_values_inside_a_pipeline_are_known(ops: Any, contract: Any, sample: Any) -> None:
    guessing, settings = team(contract, {"constant": [1, 2]}), ops("project").params(ops("project").find_root())
    build = guessing.model.build
    guessing.model.build = lambda *given: make_pipeline(build(*given))
    found = ops("pipeline.tune").tune(guessing, sample.rows, sample.rows, settings)
    assert [trial["values"]["constant"] for trial in found["trials"]] == [None, 1, 2]


@pytest.mark.parametrize("search", [{"a": 1}, {"a": []}, ["a"], {"a": "words"}])
def test_a_wrong_search_is_one_sentence(ops: Any, contract: Any, search: Any) -> None:
    settings = {"evaluate": {"tune_trials": 3}, "train": {"seed": 0}}
    with pytest.raises(ops("project").ProjectError, match="SEARCH is no search space"):
        ops("pipeline.tune").drawn(team(contract, search), settings)


def test_without_search_or_trials_nothing_is_tried(ops: Any, contract: Any) -> None:
    none, some = ({"evaluate": {"tune_trials": n}, "train": {"seed": 0}} for n in (0, 3))
    assert ops("pipeline.tune").drawn(team(contract, {"a": [1]}), none) == []
    assert ops("pipeline.tune").drawn(SimpleNamespace(model=ModuleType("model")), some) == []


def test_what_measures_is_newer_than_what_teaches(ops: Any, contract: Any, sample: Any) -> None:
    rows = sample.rows
    older, newer = ops("pipeline.tune").parts(contract, rows, len(rows))
    assert len(older) + len(newer) == len(rows) and 0.15 < len(newer) / len(rows) < 0.35
    if contract.time:
        assert older[contract.time].max() <= newer[contract.time].min()
    assert [len(part) for part in ops("pipeline.tune").parts(contract, rows, 50)] == [50, 50]


def test_rows_of_one_time_or_already_split_by_key_still_teach_and_measure(ops: Any, contract: Any, sample: Any) -> None:
    parts, untimed = ops("pipeline.tune").parts, replace(contract, time=None)
    rows = sample.rows[ops("pipeline.periods").key_share(sample.rows, untimed).to_numpy() > 0.5]
    assert [len(part) for part in parts(untimed, rows, 50)] == [50, 50]
    if contract.time:
        assert [
            len(part) for part in parts(contract, rows.assign(**{contract.time: rows[contract.time].max()}), 50)
        ] == [50, 50]


def test_trials_are_child_runs_each_once(ops: Any, tmp_path: Any) -> None:
    from mlflow import MlflowClient

    window, found = ops("registry.window"), report(-0.01, 0.01)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    store = window.Store(client, client.create_experiment("x", artifact_location=tmp_path.as_uri()))
    parent = store.create_run(store.experiment).info.run_id
    for trials in (found["trials"], found["trials"], found["trials"][:1]):
        window.log_trials(store, parent, found | {"trials": trials})
        runs = store.search_runs([store.experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        assert sorted(run.data.params["a"] for run in runs) == sorted(str(t["values"]["a"]) for t in trials)
    assert runs[0].data.metrics == {"x": 0.5, "seconds": 1.0} and runs[0].info.status == "FINISHED"
