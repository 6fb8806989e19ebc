"""Metrics under many weights at once are scikit-learn's, and intervals cover what they say."""

import numpy as np
import pytest
from sklearn import metrics as sk

from mlgates.evaluation import metrics

RNG = np.random.default_rng(0)
TARGET = (RNG.random(500) < 0.3).astype(float)
SCORES = np.clip(TARGET * 0.2 + RNG.random(500) * 0.8, 0.01, 0.99)
SCORES = np.round(SCORES, 2)  # so that there are ties


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.average_precision, sk.average_precision_score),
        (metrics.roc_auc, sk.roc_auc_score),
        (metrics.log_loss, sk.log_loss),
    ],
)
def test_weighted_metrics_equal_scikit_learn(ours: object, theirs: object) -> None:
    weights = RNG.poisson(1, (3, 500)).astype(np.float32)
    found = ours(TARGET, SCORES)(weights)  # type: ignore[operator]
    expected = [theirs(TARGET, SCORES, sample_weight=w) for w in weights]  # type: ignore[operator]
    assert np.allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("places", [None, np.arange(0, 500, 3)])
def test_metrics_that_share_their_counts_are_those_that_count_alone(
    places: np.ndarray | None,
) -> None:
    part = np.arange(500) if places is None else places
    together = metrics.measures("binary", TARGET, SCORES, places)
    for weights in RNG.poisson(1, (3, 2, 500)).astype(np.float32):
        for name, make in metrics.metrics_of("binary").items():
            alone = make(TARGET[part], SCORES[part])(weights[:, part])
            assert np.allclose(together[name](weights), alone, rtol=1e-12)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        values = np.random.default_rng(seed).normal(size=400)
        found = metrics.estimates({"x": metrics._mean(values)}, 400, 200, seed)["x"]
        low, high = found.interval()
        covered += low <= 0 <= high
    assert 88 <= covered <= 100
