"""The metrics of each task, their 95 % intervals by resampling, and which metric decides.

A metric is made for the labels and scores of some rows. It is then a function of weights: many
weightings of the rows at once, each of them a resample, give as many values. Models that are
compared are measured under the same weights, so their differences are paired.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from mlgates.errors import ProjectError

# The metric of each task by which the gate compares models.
MAIN = {
    "binary": "average_precision",
    "multiclass": "macro_roc_auc",
    "regression": "mean_absolute_error",
}

# A chunk has at most so many resamples, and its matrix of weights at most so many numbers: what
# fits into a processor's cache is computed four times faster.
CHUNK_RESAMPLES = 50
CHUNK_NUMBERS = 300_000

SMALLEST_PROBABILITY = 1e-15  # for the log loss, which is infinite at 0
RESAMPLES = 200  # where many models are compared; half of the default of evaluate.resamples

Key = TypeVar("Key")
Measure = Callable[[np.ndarray], np.ndarray]  # (b, n) weights to (b,) values
Count = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def margin_unit(task: str, value: float | None) -> float:
    """What margins count in.

    The error of a regression has the unit of the label, so its margins are shares of `value`, the
    error of the champion. Other metrics lie between 0 and 1: their margins are used as they are.
    """
    if task == "regression":
        return abs(value or 0.0)
    return 1.0


def _counts(target: np.ndarray, scores: np.ndarray, places: np.ndarray | None = None) -> Count:
    """A function of weights: the weight of the rows at or above each score, highest score first.

    It returns two (b, s) arrays for s different scores: the weight of positive rows, and of all
    rows. With `places`, `target` and `scores` belong to the rows at these places, and the weights
    to all rows.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    is_last_of_ties = np.append(sorted_scores[1:] != sorted_scores[:-1], True)
    ends = np.flatnonzero(is_last_of_ties)
    positive = target[order].astype(np.float32)
    if places is not None:
        order = places[order]

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sorted_weights = weights[:, order]
        hits = np.cumsum(sorted_weights * positive, axis=1, dtype=np.float64)[:, ends]
        total = np.cumsum(sorted_weights, axis=1, dtype=np.float64)[:, ends]
        return hits, total

    return count


def _count_once_for_two(count: Count) -> Count:
    """The same counts, for two metrics that ask in turn for the same weights.

    They are computed for the first metric and handed to the second, and then forgotten: kept
    longer, they would only take memory.
    """
    kept: list[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]] = []

    def shared(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if kept:
            kept_weights, counts = kept.pop()
            if kept_weights is weights:
                return counts
        counts = count(weights)
        kept.append((weights, counts))
        return counts

    return shared


def average_precision(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Area under the precision-recall curve; equal scores are one threshold.

    With a weight of 1 for each row it equals scikit-learn's.
    """
    return _average_precision(_counts(target, scores))


def _average_precision(count: Count) -> Measure:
    def measure(weights: np.ndarray) -> np.ndarray:
        hits, total = count(weights)
        precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        new_hits = np.diff(hits, axis=1, prepend=0)
        return _divide((precision * new_hits).sum(axis=1), hits[:, -1])

    return measure


def roc_auc(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Probability that a positive row has the higher score than a negative one; ties count half.

    NaN with one class only.
    """
    return _roc_auc(_counts(target, scores))


def _roc_auc(count: Count) -> Measure:
    def measure(weights: np.ndarray) -> np.ndarray:
        hits, total = count(weights)
        misses = total - hits
        new_misses = np.diff(misses, axis=1, prepend=0)
        new_hits = np.diff(hits, axis=1, prepend=0)
        hits_above = hits - new_hits / 2  # of the rows with the same score half
        return _divide((new_misses * hits_above).sum(axis=1), hits[:, -1] * misses[:, -1])

    return measure


def macro_roc_auc(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Mean ROC AUC of one class against the rest for (n, c) scores; leaves out absent classes."""
    by_class = []
    for place in range(scores.shape[1]):
        is_class = target == place
        if is_class.any():
            by_class.append(roc_auc(is_class.astype(float), scores[:, place]))

    def measure(weights: np.ndarray) -> np.ndarray:
        values = np.array([class_auc(weights) for class_auc in by_class])
        is_known = np.isfinite(values)  # a resample may have lost a class
        total = np.where(is_known, values, 0).sum(axis=0)
        return _divide(total, is_known.sum(axis=0).astype(float))

    return measure


def _mean(losses: np.ndarray) -> Measure:
    """The weighted mean of a loss that each row has."""
    losses = losses.astype(np.float64)

    def measure(weights: np.ndarray) -> np.ndarray:
        total = np.einsum("ij,j->i", weights, losses)
        return _divide(total, weights.sum(axis=1, dtype=np.float64))

    return measure


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the denominator is 0."""
    nothing = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=nothing, where=denominator > 0)


def log_loss(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Mean negative log-likelihood; `scores` are (n,) of the second class or (n, c)."""
    if scores.ndim == 1:
        scores = np.column_stack([1 - scores, scores])
    of_label = scores[np.arange(len(target)), target.astype(int)]
    return _mean(-np.log(np.clip(of_label, SMALLEST_PROBABILITY, 1)))


def accuracy(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Share of rows whose class got the highest score."""
    return _mean((scores.argmax(axis=1) == target).astype(float))


def mean_absolute_error(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Mean of the absolute differences, in the label's unit."""
    return _mean(np.abs(target - scores))


def root_mean_squared_error(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Root of the mean squared difference, in the label's unit."""
    mean_squared_error = _mean((target - scores) ** 2)
    return lambda weights: np.sqrt(mean_squared_error(weights))


HIGHER_IS_BETTER = {"average_precision", "roc_auc", "macro_roc_auc", "accuracy"}

METRICS: dict[str, list[Callable[[np.ndarray, np.ndarray], Measure]]] = {
    "binary": [average_precision, roc_auc, log_loss],
    "multiclass": [macro_roc_auc, log_loss, accuracy],
    "regression": [mean_absolute_error, root_mean_squared_error],
}


def sign(metric: str) -> int:
    """1 if a higher value is better, -1 if a lower one is."""
    return 1 if metric in HIGHER_IS_BETTER else -1


def weights(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Chunks of (b, rows) float32 weights: first one row of ones, the sample as it is.

    Then follow the resamples of a Poisson bootstrap: each row is drawn 0, 1, 2, ... times.
    """
    rng = np.random.default_rng(seed)
    yield np.ones((1, rows), np.float32)
    chunk_size = CHUNK_NUMBERS // max(rows, 1)
    chunk_size = min(max(1, chunk_size), CHUNK_RESAMPLES)
    for start in range(0, resamples, chunk_size):
        size = min(chunk_size, resamples - start)
        yield rng.poisson(1, (size, rows)).astype(np.float32)


def plain_number(value: float) -> float | None:
    """Ten significant digits for JSON; None for NaN and infinity."""
    if not np.isfinite(value):
        return None
    return float(f"{value:.10g}")


@dataclass
class Estimate:
    """The value of a metric, and `copies`: its values under the weights of the resamples."""

    value: float
    copies: np.ndarray = field(repr=False)

    def interval(self) -> tuple[float, float]:
        """The 95 % interval; NaN where a copy could not be computed."""
        low, high = np.quantile(self.copies, [0.025, 0.975])
        return float(low), float(high)

    def plain(self) -> dict[str, Any]:
        """Value, interval and standard error for JSON."""
        low, high = self.interval()
        error = np.nan
        if len(self.copies) > 1:
            error = float(np.std(self.copies, ddof=1))
        return {
            "value": plain_number(self.value),
            "interval": [plain_number(low), plain_number(high)],
            "error": plain_number(error),
        }

    def minus(self, other: "Estimate", metric: str) -> "Estimate":
        """The paired difference, with the sign that makes positive better."""
        direction = sign(metric)
        value = direction * (self.value - other.value)
        return Estimate(value, direction * (self.copies - other.copies))


def estimates(
    measures: Mapping[Key, Measure], rows: int, resamples: int, seed: int
) -> dict[Key, Estimate]:
    """An estimate of each measure, all under the same weights of `rows` rows."""
    chunks_of_values: dict[Key, list[np.ndarray]] = {name: [] for name in measures}
    for chunk in weights(rows, resamples, seed):
        for name, measure in measures.items():
            chunks_of_values[name].append(measure(chunk))

    estimated = {}
    for name, chunks in chunks_of_values.items():
        values = np.concatenate(chunks)
        of_sample, copies = values[0], values[1:]  # the first weights are those of the sample
        estimated[name] = Estimate(float(of_sample), copies)
    return estimated


def value(measure: Measure, rows: int) -> float:
    """A measure of the sample as it is."""
    return float(measure(np.ones((1, rows), np.float32))[0])


def on_rows(places: np.ndarray | None, measure: Measure) -> Measure:
    """A measure that was made for the rows at some places, applied to weights of all rows."""
    if places is None:
        return measure
    return lambda chunk: measure(chunk[:, places])


def measures(
    task: str, target: np.ndarray, scores: np.ndarray, places: np.ndarray | None = None
) -> dict[str, Measure]:
    """The metrics of a task by name; all take weights of all rows.

    With `places` they measure the rows at these places only.
    """
    if places is not None:
        target = target[places]
        scores = scores[places]

    shared: dict[str, Measure] = {}
    if task == "binary":
        # To sort and to count is most of the work: these two metrics share it.
        count = _count_once_for_two(_counts(target, scores, places))
        shared = {"average_precision": _average_precision(count), "roc_auc": _roc_auc(count)}

    by_name = {}
    for name, make in metrics_of(task).items():
        if name in shared:
            by_name[name] = shared[name]
        else:
            by_name[name] = on_rows(places, make(target, scores))
    return by_name


def weighted(
    name: str, function: Callable[..., float], target: np.ndarray, scores: np.ndarray
) -> Measure:
    """A metric of scikit-learn's kind as a measure.

    For each resample it is called as `function(target, scores, sample_weight=...)`.
    Raises: ProjectError when it is measured, if the function fails.
    """

    def measure(chunk: np.ndarray) -> np.ndarray:
        try:
            values = [float(function(target, scores, sample_weight=row)) for row in chunk]
            return np.array(values)
        except Exception as error:
            raise ProjectError(
                f"evaluate: the metric {name!r} failed: {type(error).__name__}: {error}",
                "It is called as function(target, scores, sample_weight=weights);"
                " see pipeline/evaluate.py",
            ) from error

    return measure


def metrics_of(task: str) -> dict[str, Callable[[np.ndarray, np.ndarray], Measure]]:
    """The metrics of a task by name."""
    return {metric.__name__: metric for metric in METRICS[task]}
