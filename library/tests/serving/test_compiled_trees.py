"""Compiled trees give the estimator's scores, and are used only where they do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from mlgates.contract import Contract
from mlgates.model_folder import Scorer
from mlgates.serving import compiled_trees
from mlgates.serving.compiled_trees import SMALL_BATCH, Compiled, fast


@pytest.mark.parametrize("rows", [1, SMALL_BATCH, SMALL_BATCH + 1])
def test_scores_are_those_of_the_estimator(sample: Any, contract: Contract, rows: int) -> None:
    matrix = sample.scorer.matrix(contract.arrays(sample.rows.head(rows)))
    scores = fast(sample.scorer)(matrix)
    np.testing.assert_allclose(scores, sample.scorer.score(matrix), rtol=1e-9, atol=1e-9)


def test_an_estimator_that_is_no_tree_scores_itself(sample: Any, contract: Contract) -> None:
    target = np.arange(max(2, len(contract.classes)))
    kind = DummyRegressor if contract.task == "regression" else DummyClassifier
    estimator = kind().fit(target.reshape(-1, 1), target)
    scorer: Scorer = replace(sample.scorer, estimator=estimator)
    assert fast(scorer) == scorer.score


def test_trees_that_differ_from_the_estimator_are_not_used(
    sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    margins = Compiled._margins
    assert fast(sample.scorer) != sample.scorer.score
    monkeypatch.setattr(
        compiled_trees.Compiled, "_margins", lambda self, matrix: margins(self, matrix) * 1.001
    )
    assert fast(sample.scorer) == sample.scorer.score
