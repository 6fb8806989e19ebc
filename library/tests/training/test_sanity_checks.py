"""A fit is repeatable, and a model that learnt nothing is refused."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor

from mlgates import ProjectError
from mlgates.contract import Contract
from mlgates.training import train
from mlgates.training.sanity_checks import check_beats_constant, difference_of_fits
from training_bench import Bench, Build, perfect_scores, scores

PLANTED = "a planted fault"


def by_the_clock(contract: Contract, build: Build) -> Build:
    """The team's estimator on a sample of the rows that depends on the time."""
    bagging = BaggingRegressor if contract.task == "regression" else BaggingClassifier

    def build_by_the_clock(*given: Any) -> Any:
        return bagging(build(*given), n_estimators=1, random_state=time.time_ns() % 2**32)

    return build_by_the_clock


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_two_fits_with_the_same_seed_agree_to_the_bit(
    contract: Contract, sample: Any, bench: Bench, planted: str
) -> None:
    team = bench.building(by_the_clock(contract, bench.build) if planted else None)
    difference = difference_of_fits(team, sample.rows.head(1000), bench.settings)
    assert (difference > 0) == bool(planted)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_a_model_that_learnt_nothing_is_refused(
    contract: Contract, sample: Any, value: float
) -> None:
    check_beats_constant(contract, sample.scorer, sample.rows)

    planted = np.full_like(scores(contract, sample.scorer, sample.rows), value)
    if contract.task != "regression" and value == 1e9:
        # A probability cannot be so large: here the model is certain, and wrong.
        shuffled = sample.rows.sample(len(sample.rows), random_state=1)
        planted = perfect_scores(contract, contract.target(shuffled))
    wrong = SimpleNamespace(
        matrix=sample.scorer.matrix, score=lambda matrix: planted[: len(matrix)]
    )
    with pytest.raises(ProjectError, match=r"^train\.beats_constant: "):
        check_beats_constant(contract, wrong, sample.rows)


def certain_and_wrong(contract: Contract, rows: Any) -> Build:
    """What a learning rate of a million leads to, whatever the estimator.

    It ends far away, and without a doubt.
    """
    if contract.task == "regression":
        return lambda *_: DummyRegressor(strategy="constant", constant=1e9)
    classes, counts = np.unique(contract.target(rows), return_counts=True)
    rarest = int(classes[counts.argmin()])
    return lambda *_: DummyClassifier(strategy="constant", constant=rarest)


def test_train_looks_whether_anything_was_learnt(
    contract: Contract, sample: Any, bench: Bench
) -> None:
    rows = sample.rows.head(1000)
    team = bench.building(certain_and_wrong(contract, rows))
    with pytest.raises(ProjectError, match=r"^train\.beats_constant: "):
        train(team, rows, bench.settings)
