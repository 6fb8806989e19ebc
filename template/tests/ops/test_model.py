"""The team's model, whatever it is: it learns, overfits a tiny set, is the same again and survives its storage."""

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

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


@pytest.fixture(scope="module")
def model(ops: Any, contract: Any, sample: Any) -> Any:
    """`fit(rows, build=None)`: the team's model, or another, as train fits it; with what the tests need beside it."""
    project = ops("project")
    team, settings = project.yours(), project.params(project.find_root())
    plan = ops("features").plan(team.features, contract)

    def other(build: Build | None) -> Any:
        module = ModuleType("planted")
        module.build = build or team.model.build  # type: ignore[attr-defined]
        return SimpleNamespace(contract=contract, features=team.features, model=module)

    def fit(rows: Any, build: Build | None = None) -> Any:
        made = other(build).model
        return ops("scoring").fit(contract.arrays(rows), contract.target(rows), plan, made, contract, settings)

    return SimpleNamespace(team=team, settings=settings, other=other, fit=fit, build=team.model.build)


def scores(contract: Any, scorer: Any, rows: Any) -> Any:
    return scorer.score(scorer.matrix(contract.arrays(rows)))


def loss(ops: Any, contract: Any, scorer: Any, rows: Any) -> float:
    """Log loss, or the mean absolute error."""
    metrics = ops("pipeline.metrics")
    make = metrics.mean_absolute_error if contract.task == "regression" else metrics.log_loss
    return float(make(contract.target(rows), scores(contract, scorer, rows))(np.ones((1, len(rows))))[0])


def constant(contract: Any) -> Build:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    made = DummyRegressor(strategy="median") if contract.task == "regression" else DummyClassifier()
    return lambda *_: made


def test_training_lowers_the_loss_from_its_first_step(ops: Any, contract: Any, sample: Any, model: Any) -> None:
    rows = sample.rows.head(1500)
    start, end = (loss(ops, contract, model.fit(rows, build), rows) for build in (constant(contract), None))
    assert end < start
    for name in {"max_iter", "n_estimators", "iterations"} & {*getattr(sample.scorer.estimator, "get_params", dict)()}:
        first = model.fit(rows, lambda *given: model.build(*given).set_params(**{name: 1}))  # noqa: B023
        assert end < loss(ops, contract, first, rows) < start


def tiny(contract: Any, rows: Any) -> Any:
    """One row of each class (of a number: its least and its largest), so often that any model may learn them."""
    import pandas as pd

    target = contract.target(rows)
    places = [target.argmin(), target.argmax()]
    if contract.task != "regression":
        places = [int(np.flatnonzero(target == place)[0]) for place in np.unique(target)]
    found = rows.iloc[places]
    empty = [name for name in found if found[name].isna().all() and rows[name].notna().any()]
    found = found.assign(**{name: rows[name].dropna().iloc[0] for name in empty})
    return pd.concat([found] * 200, ignore_index=True)


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_a_tiny_set_is_overfitted(contract: Any, sample: Any, model: Any, planted: str) -> None:
    rows = tiny(contract, sample.rows)
    scorer, target = model.fit(rows, constant(contract) if planted else None), contract.target(rows)
    if contract.task == "regression":
        missed = np.abs(scores(contract, scorer, rows) - target).mean() / np.ptp(target) > 0.1
    else:
        missed = (scorer.decide(scores(contract, scorer, rows)) != scorer.decide(exact(contract, target))).any()
    assert missed == bool(planted)


def exact(contract: Any, target: Any) -> Any:
    """The scores of one who knows."""
    return target if contract.task == "binary" else np.eye(len(contract.classes))[target.astype(int)]


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_save_and_load_agree_to_the_bit(
    ops: Any, contract: Any, sample: Any, model: Any, tmp_path: Path, planted: str
) -> None:
    from dataclasses import replace

    scorer = replace(sample.scorer, estimator=Lossy(sample.scorer.estimator)) if planted else sample.scorer
    ops("scoring").save(scorer, tmp_path / "model", contract)
    loaded = ops("scoring").load(tmp_path / "model", contract, model.team.features)
    same = np.array_equal(scores(contract, scorer, sample.rows), scores(contract, loaded, sample.rows))
    assert same != bool(planted)


def by_the_clock(contract: Any, build: Build) -> Build:
    """The team's estimator on a sample of the rows that depends on the time."""
    from sklearn.ensemble import BaggingClassifier, BaggingRegressor

    bag = BaggingRegressor if contract.task == "regression" else BaggingClassifier
    return lambda *given: bag(build(*given), n_estimators=1, random_state=time.time_ns() % 2**32)


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_two_fits_with_the_same_seed_agree_to_the_bit(
    ops: Any, contract: Any, sample: Any, model: Any, planted: str
) -> None:
    team = model.other(by_the_clock(contract, model.build) if planted else None)
    difference = ops("pipeline.learnt").repeatable(team, sample.rows.head(1000), model.settings)
    assert (difference > 0) == bool(planted)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_a_model_that_learnt_nothing_is_refused(
    ops: Any, contract: Any, sample: Any, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    learnt = ops("pipeline.learnt").learnt
    learnt(contract, sample.scorer, sample.rows)
    exploded = np.full_like(scores(contract, sample.scorer, sample.rows), value)
    wrong = SimpleNamespace(matrix=sample.scorer.matrix, score=lambda matrix: exploded[: len(matrix)])
    if contract.task != "regression" and value == 1e9:
        sure = contract.target(sample.rows.sample(len(sample.rows), random_state=1))
        wrong.score = lambda matrix: exact(contract, sure)[: len(matrix)]  # sure of itself, and wrong
    with pytest.raises(ops("project").ProjectError, match=r"^train\.learnt: "):
        learnt(contract, wrong, sample.rows)


def surely_wrong(contract: Any, rows: Any) -> Build:
    """What a learning rate of a million leads to, whatever the estimator: an end far away, and no doubt."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    classes, counts = np.unique(contract.target(rows), return_counts=True)
    if contract.task == "regression":
        return lambda *_: DummyRegressor(strategy="constant", constant=1e9)
    return lambda *_: DummyClassifier(strategy="constant", constant=int(classes[counts.argmin()]))


def test_train_looks_whether_anything_was_learnt(ops: Any, contract: Any, sample: Any, model: Any) -> None:
    rows = sample.rows.head(1000)
    with pytest.raises(ops("project").ProjectError, match=r"^train\.learnt: "):
        ops("pipeline.train").train(model.other(surely_wrong(contract, rows)), rows, model.settings)


CURVE = {"unit": 1.0, "otherwise": 7, "rows": 1000, "repeatable": None}


@pytest.mark.parametrize(
    ("highs", "expected"),
    [
        ([], 7),  # no time, no curve: the rule
        ([(1, 0.0)], 1),
        ([(1, 0.0), (2, 0.01), (3, -0.04)], 3),  # no loss shown: the longest age measured
        ([(1, 0.0), (2, -0.04), (3, -0.06), (4, 0.0)], 2),
        ([(1, 0.0), (2, -0.06), (3, 0.0)], 1),
        ([(1, 0.0), (4, -0.01), (6, -0.2)], 4),
        ([(1, 0.0), (2, None), (3, -0.2)], 2),
    ],
)
def test_the_greatest_age_follows_from_the_curve(ops: Any, highs: list[Any], expected: int) -> None:
    ages = [{"age": age, "difference": {"value": -0.1, "interval": [-0.3, high]}} for age, high in highs]
    periods, told = ops("pipeline.fitness").oldest(CURVE | {"ages": ages}, 0.05)
    shown = any(high is not None and high < -0.05 for _, high in highs)
    assert periods == expected and ("loses" in told) == shown


@pytest.mark.parametrize("section", ["gate", "monitor"])
def test_an_age_typed_by_hand_is_refused(ops: Any, tmp_path: Path, section: str) -> None:
    (tmp_path / "params.yaml").write_text(f"{section}: {{max_age_periods: 3}}\n")
    with pytest.raises(ops("project").ProjectError, match=r"retired.*staleness curve[\s\S]*Remove the line"):
        ops("project").params(tmp_path)


def test_chance_alone_is_no_miscalibration(ops: Any, contract: Any) -> None:
    random, metrics = np.random.default_rng(0), ops("pipeline.metrics")
    contract = SimpleNamespace(task="binary")
    for seed in range(20):
        truth = random.random(2000)
        happened = (random.random(2000) < truth).astype(float)
        measures = {
            name: ops("pipeline.conduct").calibration(contract, happened, given)
            for name, given in {"right": truth, "high": truth**0.5, "squashed": 0.5 + (truth - 0.5) * 0.4}.items()
        }
        found = metrics.estimates(measures, 2000, 100, seed)
        assert found["right"].interval()[0] < 0.03 and found["right"].value < 0.04
        assert min(found[name].interval()[0] for name in ("high", "squashed")) > 0.1
