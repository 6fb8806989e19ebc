"""A team's own metrics: functions of scikit-learn's kind, measured beside the library's."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss

from mlgates.errors import ProjectError
from mlgates.evaluation import metrics
from mlgates.gate import rules

RANDOM = np.random.default_rng(0)
TARGET = (RANDOM.random(500) < 0.3).astype(float)
SCORES = np.clip(TARGET * 0.3 + RANDOM.random(500) * 0.7, 0, 1)


def test_a_metric_is_the_functions_own_value_and_its_interval_that_of_the_same_resamples() -> None:
    measures = {
        "own": metrics.average_precision(TARGET, SCORES),
        "further": metrics.weighted("ap", average_precision_score, TARGET, SCORES),
    }
    found = metrics.estimates(measures, len(TARGET), 100, 0)
    assert found["further"].value == pytest.approx(average_precision_score(TARGET, SCORES))
    np.testing.assert_allclose(found["further"].copies, found["own"].copies, rtol=1e-6)


def test_a_metric_that_fails_is_named_with_the_remedy() -> None:
    measure = metrics.weighted("brier", lambda target, scores: 0.0, TARGET, SCORES)
    with pytest.raises(
        ProjectError, match=r"the metric 'brier' failed: TypeError(.|\n)*sample_weight"
    ):
        metrics.value(measure, len(TARGET))


def test_a_further_metric_is_a_fact_with_its_interval_and_judges_nothing() -> None:
    estimate = metrics.estimates(
        {"brier": metrics.weighted("brier", brier_score_loss, TARGET, SCORES)}, len(TARGET), 100, 0
    )["brier"].plain()
    own = {"value": 0.5, "interval": [0.4, 0.6]}
    measured = {
        "values": {"candidate": {"average_precision": own, "brier": estimate}},
        "further": ["brier"],
        "task": "binary",
    }
    shown = rules._values(measured)
    assert shown["average_precision"] == 0.5
    assert shown["brier"].startswith(f"{estimate['value']:.4g} [")
    with pytest.raises(ProjectError, match=r"gate\.metric 'brier' was not measured"):
        rules._metric(measured, "brier")
