"""The team's model, whatever it is: it learns, overfits a tiny set, is the same again and survives its storage."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor

from mlgates import Project, ProjectError, model_folder, team_code
from mlgates.contract import Contract
from mlgates.evaluation import metrics
from mlgates.features import plan
from mlgates.settings import Settings
from mlgates.training import train
from mlgates.training.sanity_checks import check_beats_constant, repeatable

PLANTED = "a planted fault"
Build = Callable[..., Any]


class Lossy:
    """A model that forgets something when it is stored."""

    def __init__(self, estimator: Any) -> None:
        self.estimator, self.forgets = estimator, 0.0
        self.classes_ = getattr(estimator, "classes_", None)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"forgets": 1e-12}

    def predict(self, matrix: Any) -> Any:
        return self.estimator.predict(matrix) + self.forgets

    def predict_proba(self, matrix: Any) -> Any:
        return self.estimator.predict_proba(matrix) - self.forgets


@dataclass(frozen=True)
class Bench:
    """The sample project, and its model fitted as train does it."""

    project: Project
    settings: Settings

    @property
    def build(self) -> Build:
        """The team's own."""
        return self.project.model.build

    def building(self, build: Build | None) -> Project:
        """The project with another `build` in model.py."""
        model = ModuleType("planted")
        model.build = build or self.build  # type: ignore[attr-defined]
        return self.project.having(model=model)

    def fit(self, rows: Any, build: Build | None = None) -> model_folder.Scorer:
        """The team's model, or another one, fitted on some rows."""
        contract, model = self.project.contract, self.building(build).model
        features = plan(self.project.features, contract)
        arrays, target = contract.arrays(rows), contract.target(rows)
        return model_folder.fit(arrays, target, features, model, contract, self.settings)


@pytest.fixture(scope="module")
def bench(project: Project) -> Bench:
    """The sample project with its parameters."""
    return Bench(project, project.settings())


def scores(contract: Contract, scorer: Any, rows: Any) -> Any:
    return scorer.score(scorer.matrix(contract.arrays(rows)))


def loss(contract: Contract, scorer: Any, rows: Any) -> float:
    """Log loss, or the mean absolute error."""
    make = metrics.mean_absolute_error if contract.task == "regression" else metrics.log_loss
    return float(
        make(contract.target(rows), scores(contract, scorer, rows))(np.ones((1, len(rows))))[0]
    )


def constant(contract: Contract) -> Build:
    made = DummyRegressor(strategy="median") if contract.task == "regression" else DummyClassifier()
    return lambda *_: made


def test_training_lowers_the_loss_from_its_first_step(
    contract: Contract, sample: Any, bench: Bench
) -> None:
    rows = sample.rows.head(1500)
    start, end = (
        loss(contract, bench.fit(rows, build), rows) for build in (constant(contract), None)
    )
    assert end < start
    for name in {"max_iter", "n_estimators", "iterations"} & {
        *getattr(sample.scorer.estimator, "get_params", dict)()
    }:
        first = bench.fit(rows, lambda *given: bench.build(*given).set_params(**{name: 1}))  # noqa: B023
        assert end < loss(contract, first, rows) < start


def tiny(contract: Contract, rows: Any) -> Any:
    """One row of each class (of a number: its least and its largest), so often that any model may learn them."""
    target = contract.target(rows)
    places = [target.argmin(), target.argmax()]
    if contract.task != "regression":
        places = [int(np.flatnonzero(target == place)[0]) for place in np.unique(target)]
    found = rows.iloc[places]
    empty = [name for name in found if found[name].isna().all() and rows[name].notna().any()]
    found = found.assign(**{name: rows[name].dropna().iloc[0] for name in empty})
    return pd.concat([found] * 200, ignore_index=True)


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_a_tiny_set_is_overfitted(
    contract: Contract, sample: Any, bench: Bench, planted: str
) -> None:
    rows = tiny(contract, sample.rows)
    scorer, target = bench.fit(rows, constant(contract) if planted else None), contract.target(rows)
    if contract.task == "regression":
        missed = np.abs(scores(contract, scorer, rows) - target).mean() / np.ptp(target) > 0.1
    else:
        missed = (
            scorer.decide(scores(contract, scorer, rows)) != scorer.decide(exact(contract, target))
        ).any()
    assert missed == bool(planted)


def exact(contract: Contract, target: Any) -> Any:
    """The scores of one who knows."""
    return (
        target if contract.task == "binary" else np.eye(len(contract.classes))[target.astype(int)]
    )


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_save_and_load_agree_to_the_bit(
    contract: Contract, sample: Any, bench: Bench, tmp_path: Path, planted: str
) -> None:
    scorer = (
        replace(sample.scorer, estimator=Lossy(sample.scorer.estimator))
        if planted
        else sample.scorer
    )
    model_folder.save(scorer, tmp_path / "model", contract, team_code.collected(bench.project))
    loaded = model_folder.load(tmp_path / "model", contract)
    same = np.array_equal(
        scores(contract, scorer, sample.rows), scores(contract, loaded, sample.rows)
    )
    assert same != bool(planted)


def by_the_clock(contract: Contract, build: Build) -> Build:
    """The team's estimator on a sample of the rows that depends on the time."""
    bag = BaggingRegressor if contract.task == "regression" else BaggingClassifier
    return lambda *given: bag(build(*given), n_estimators=1, random_state=time.time_ns() % 2**32)


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_two_fits_with_the_same_seed_agree_to_the_bit(
    contract: Contract, sample: Any, bench: Bench, planted: str
) -> None:
    team = bench.building(by_the_clock(contract, bench.build) if planted else None)
    difference = repeatable(team, sample.rows.head(1000), bench.settings)
    assert (difference > 0) == bool(planted)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_a_model_that_learnt_nothing_is_refused(
    contract: Contract, sample: Any, value: float
) -> None:
    check_beats_constant(contract, sample.scorer, sample.rows)
    exploded = np.full_like(scores(contract, sample.scorer, sample.rows), value)
    wrong = SimpleNamespace(
        matrix=sample.scorer.matrix, score=lambda matrix: exploded[: len(matrix)]
    )
    if contract.task != "regression" and value == 1e9:
        sure = contract.target(sample.rows.sample(len(sample.rows), random_state=1))
        wrong.score = lambda matrix: exact(contract, sure)[
            : len(matrix)
        ]  # sure of itself, and wrong
    with pytest.raises(ProjectError, match=r"^train\.beats_constant: "):
        check_beats_constant(contract, wrong, sample.rows)


def surely_wrong(contract: Contract, rows: Any) -> Build:
    """What a learning rate of a million leads to, whatever the estimator: an end far away, and no doubt."""
    classes, counts = np.unique(contract.target(rows), return_counts=True)
    if contract.task == "regression":
        return lambda *_: DummyRegressor(strategy="constant", constant=1e9)
    return lambda *_: DummyClassifier(strategy="constant", constant=int(classes[counts.argmin()]))


def test_train_looks_whether_anything_was_learnt(
    contract: Contract, sample: Any, bench: Bench
) -> None:
    rows = sample.rows.head(1000)
    with pytest.raises(ProjectError, match=r"^train\.beats_constant: "):
        train(bench.building(surely_wrong(contract, rows)), rows, bench.settings)
