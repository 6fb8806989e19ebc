"""The team's model, whatever it is, gets better with training, and overfits a tiny set."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlgates.contract import Contract
from mlgates.evaluation import metrics
from training_bench import Bench, constant, perfect_scores, scores

PLANTED = "a planted fault"
ITERATIONS = ("max_iter", "n_estimators", "iterations")  # what estimators call their training steps


def loss(contract: Contract, scorer: Any, rows: Any) -> float:
    """Log loss, or the mean absolute error of a regression."""
    make_metric = metrics.log_loss
    if contract.task == "regression":
        make_metric = metrics.mean_absolute_error
    measure = make_metric(contract.target(rows), scores(contract, scorer, rows))
    return metrics.value(measure, len(rows))


def test_training_lowers_the_loss_from_its_first_step(
    contract: Contract, sample: Any, bench: Bench
) -> None:
    rows = sample.rows.head(1500)
    untrained = loss(contract, bench.fit(rows, constant(contract)), rows)
    trained = loss(contract, bench.fit(rows), rows)
    assert trained < untrained

    get_parameters = getattr(sample.scorer.estimator, "get_params", dict)
    for name in set(ITERATIONS) & set(get_parameters()):

        def build_one_step(*given: Any, name: str = name) -> Any:
            return bench.build(*given).set_params(**{name: 1})

        one_step = loss(contract, bench.fit(rows, build_one_step), rows)
        assert trained < one_step < untrained


def tiny(contract: Contract, rows: Any) -> Any:
    """One row of each class, or of a regression those with the smallest and the largest label.

    They are repeated so often that any model may learn them.
    """
    target = contract.target(rows)
    places = [target.argmin(), target.argmax()]
    if contract.task != "regression":
        places = [int(np.flatnonzero(target == label)[0]) for label in np.unique(target)]
    few = rows.iloc[places]

    # A column that is missing in these rows alone gets a value, because some models refuse it.
    filled = {}
    for name in few:
        if few[name].isna().all() and rows[name].notna().any():
            filled[name] = rows[name].dropna().iloc[0]
    return pd.concat([few.assign(**filled)] * 200, ignore_index=True)


@pytest.mark.parametrize("planted", ["", PLANTED])
def test_a_tiny_set_is_overfitted(
    contract: Contract, sample: Any, bench: Bench, planted: str
) -> None:
    rows = tiny(contract, sample.rows)
    target = contract.target(rows)
    scorer = bench.fit(rows, constant(contract) if planted else None)
    predicted = scores(contract, scorer, rows)
    if contract.task == "regression":
        is_missed = np.abs(predicted - target).mean() / np.ptp(target) > 0.1
    else:
        right = scorer.decide(perfect_scores(contract, target))
        is_missed = (scorer.decide(predicted) != right).any()
    assert is_missed == bool(planted)
