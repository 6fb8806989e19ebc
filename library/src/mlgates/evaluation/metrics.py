"""What the measuring stages and the gate share: which metric decides, what margins count in, where reports lie."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from mlgates.errors import ProjectError

MAIN = {
    "binary": "average_precision",
    "multiclass": "macro_roc_auc",
    "regression": "mean_absolute_error",
}


def unit(task: str, value: float | None) -> float:
    """What margins count in: an error has the outcome's unit, so they are shares of `value`, the opponent's error."""
    return abs(value or 0.0) if task == "regression" else 1.0


MOST, CELLS = (
    50,
    300_000,
)  # resamples in a chunk, and its numbers: what fits a processor's cache is four times faster
TINY = 1e-15
RESAMPLES = 200  # where many models are compared; half of evaluate's
Key = TypeVar("Key")
Measure = Callable[[np.ndarray], np.ndarray]  # (b, n) weights to (b,) values
Count = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _counts(target: np.ndarray, scores: np.ndarray, places: np.ndarray | None = None) -> Count:
    """Weights to the weight of positive rows, and of all, that have at least each of the scores, highest first.

    With `places` weights are those of more rows.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    positive = target[order].astype(np.float32)
    order = order if places is None else places[order]

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = weights[:, order]
        hits = np.cumsum(given * positive, axis=1, dtype=np.float64)[:, ends]
        return hits, np.cumsum(given, axis=1, dtype=np.float64)[:, ends]

    return count


def _twice(count: Count) -> Count:
    """The same, where two metrics in turn ask for the same weights: counted for the first, handed to the second."""
    kept: dict[int, tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]] = {}

    def counted(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if (known := kept.pop(0, None)) and known[0] is weights:
            return known[1]
        kept[0] = weights, count(weights)
        return kept[0][1]

    return counted


def average_precision(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Area under the precision-recall curve, ties as one threshold; equals scikit-learn's for unit weights."""
    return _precision(_counts(target, scores))


def _precision(count: Count) -> Measure:
    def measure(weights: np.ndarray) -> np.ndarray:
        hits, total = count(weights)
        precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        return _divide((precision * np.diff(hits, axis=1, prepend=0)).sum(axis=1), hits[:, -1])

    return measure


def roc_auc(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Probability that a positive row has the higher score, ties counting half; NaN with one class only."""
    return _auc(_counts(target, scores))


def _auc(count: Count) -> Measure:
    def measure(weights: np.ndarray) -> np.ndarray:
        hits, total = count(weights)
        misses = total - hits
        new, above = np.diff(misses, axis=1, prepend=0), hits - np.diff(hits, axis=1, prepend=0) / 2
        return _divide((new * above).sum(axis=1), hits[:, -1] * misses[:, -1])

    return measure


def macro_roc_auc(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Mean ROC AUC of one class against the rest, for (n, c) scores; absent classes are left out."""
    present = [place for place in range(scores.shape[1]) if (target == place).any()]
    each = [roc_auc((target == place).astype(float), scores[:, place]) for place in present]

    def measure(weights: np.ndarray) -> np.ndarray:
        values = np.array([one(weights) for one in each])
        known = np.isfinite(values)
        return _divide(np.where(known, values, 0).sum(axis=0), known.sum(axis=0).astype(float))

    return measure


def _mean(losses: np.ndarray) -> Measure:
    losses = losses.astype(np.float64)
    return lambda weights: _divide(
        np.einsum("ij,j->i", weights, losses), weights.sum(axis=1, dtype=np.float64)
    )


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def log_loss(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Mean negative log-likelihood; `scores` (n,) of the second class or (n, c)."""
    by_class = np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    given = by_class[np.arange(len(target)), target.astype(int)]
    return _mean(-np.log(np.clip(given, TINY, 1)))


def accuracy(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Share of rows whose class got the highest score."""
    return _mean((scores.argmax(axis=1) == target).astype(float))


def mean_absolute_error(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Mean of the absolute differences, in the outcome's unit."""
    return _mean(np.abs(target - scores))


def root_mean_squared_error(target: np.ndarray, scores: np.ndarray) -> Measure:
    """Root of the mean squared difference, in the outcome's unit."""
    squared = _mean((target - scores) ** 2)
    return lambda weights: np.sqrt(squared(weights))


HIGHER_IS_BETTER = {"average_precision", "roc_auc", "macro_roc_auc", "accuracy"}

METRICS: dict[str, list[Callable[[np.ndarray, np.ndarray], Measure]]] = {
    "binary": [average_precision, roc_auc, log_loss],
    "multiclass": [macro_roc_auc, log_loss, accuracy],
    "regression": [mean_absolute_error, root_mean_squared_error],
}


def sign(metric: str) -> int:
    """1 if more is better, -1 if less is."""
    return 1 if metric in HIGHER_IS_BETTER else -1


def weights(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Chunks of (b, rows) float32 weights; the very first row is the sample as it is."""
    rng = np.random.default_rng(seed)
    yield np.ones((1, rows), np.float32)
    size = min(MOST, max(1, CELLS // max(rows, 1)))
    for start in range(0, resamples, size):
        yield rng.poisson(1, (min(size, resamples - start), rows)).astype(np.float32)


def plain_number(value: float) -> float | None:
    """Ten digits for JSON; None for what is not a number."""
    return float(f"{value:.10g}") if np.isfinite(value) else None


@dataclass
class Estimate:
    """A value and its resampled copies."""

    value: float
    copies: np.ndarray = field(repr=False)

    def interval(self) -> tuple[float, float]:
        """The 95 % interval; NaN where a copy could not be computed."""
        low, high = np.quantile(self.copies, [0.025, 0.975])
        return float(low), float(high)

    def plain(self) -> dict[str, Any]:
        """Value, interval and standard error for JSON."""
        error = np.std(self.copies, ddof=1) if len(self.copies) > 1 else np.nan
        numbers = [plain_number(x) for x in (self.value, *self.interval(), error)]
        return {"value": numbers[0], "interval": numbers[1:3], "error": numbers[3]}

    def minus(self, other: "Estimate", metric: str) -> "Estimate":
        """The paired difference, turned so that positive is better."""
        return Estimate(
            sign(metric) * (self.value - other.value), sign(metric) * (self.copies - other.copies)
        )


def estimates(
    measures: Mapping[Key, Measure], rows: int, resamples: int, seed: int
) -> dict[Key, Estimate]:
    """All measures over the same weights. `rows` is the number of rows that each measure was made for."""
    found: dict[Key, list[np.ndarray]] = {name: [] for name in measures}
    for chunk in weights(rows, resamples, seed):
        for name, measure in measures.items():
            found[name].append(measure(chunk))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: Estimate(float(all_[0]), all_[1:]) for name, all_ in joined.items()}


def value(measure: Measure, rows: int) -> float:
    """A measure of the sample as it is."""
    return float(measure(np.ones((1, rows), np.float32))[0])


def on(places: np.ndarray | None, measure: Measure) -> Measure:
    """A measure that was made for a part of the rows, applied to weights of all rows."""
    return measure if places is None else lambda chunk: measure(chunk[:, places])


def measures(
    task: str, target: np.ndarray, scores: np.ndarray, places: np.ndarray | None = None
) -> dict[str, Measure]:
    """The metrics of a task by name; of the rows at some places, applied to weights of all rows."""
    if places is not None:
        target, scores = target[places], scores[places]
    counted = {}
    if task == "binary":  # most of the work, and once for both
        count = _twice(_counts(target, scores, places))
        counted = {"average_precision": _precision(count), "roc_auc": _auc(count)}
    return {
        name: counted.get(name) or on(places, make(target, scores))
        for name, make in named(task).items()
    }


def weighted(
    name: str, function: Callable[..., float], target: np.ndarray, scores: np.ndarray
) -> Measure:
    """A metric of scikit-learn's kind as a measure: `function(target, scores, sample_weight=...)` for each resample.

    Raises: ProjectError when it is measured, if the function fails.
    """

    def measure(chunk: np.ndarray) -> np.ndarray:
        try:
            return np.array([float(function(target, scores, sample_weight=row)) for row in chunk])
        except Exception as error:
            raise ProjectError(
                f"evaluate: the metric {name!r} failed: {type(error).__name__}: {error}",
                "It is called as function(target, scores, sample_weight=weights); see pipeline/evaluate.py",
            ) from error

    return measure


def named(task: str) -> dict[str, Callable[[np.ndarray, np.ndarray], Measure]]:
    """The metrics of a task by name."""
    return {metric.__name__: metric for metric in METRICS[task]}
