"""The one measure of drift: how far apart two samples of a column are, and how far by chance alone.

`data.drift` compares periods with it, and `monitoring.drift` what was served; there, Evidently
computes the same distances. They are sizes of effects: they do not grow with the number of rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mlgates.contract import Arrays, is_missing


class Method(StrEnum):
    """A distance between two samples, by the name that Evidently gives it."""

    WASSERSTEIN = "wasserstein"  # in standard deviations of the reference
    JENSEN_SHANNON = "jensenshannon"  # from 0, equal shares of each word, to 1, no word in common


# By the kind of a column. A time is not compared, because it always moves.
METHODS = {
    "int": Method.WASSERSTEIN,
    "float": Method.WASSERSTEIN,
    "bool": Method.JENSEN_SHANNON,
    "category": Method.JENSEN_SHANNON,
    "text": Method.JENSEN_SHANNON,
}


@dataclass(frozen=True)
class Scope:
    """Which columns are compared: everything in which periods and the prediction log differ.

    `texts` says whether columns of free text are compared. `counted` names the sample, "reference"
    or "current", whose different words are counted: their number says how far apart chance alone
    sets two samples. A column with more than `most_words` of them is not compared.
    """

    texts: bool
    most_words: float
    counted: str


PERIODS = Scope(texts=False, most_words=math.inf, counted="current")
LOG = Scope(texts=True, most_words=30, counted="reference")  # more words than that are free text


@dataclass(frozen=True)
class Pair:
    """Two samples of a column, and how they are compared.

    `words` is the number of words between which chance moves rows; 0 for numbers.
    """

    name: str
    reference: np.ndarray
    current: np.ndarray
    method: Method
    words: int

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows of the two samples have a value; missing values prove nothing."""
        reference = int((~is_missing(self.reference)).sum())
        current = int((~is_missing(self.current)).sum())
        return reference, current

    def distance(self) -> float:
        """How far apart the values are that are not missing; NaN if one sample has none."""
        return distance(self.reference, self.current, self.method)

    def limit(self, least: float) -> float:
        """The largest distance that is no drift yet: `least`, or what chance alone reaches."""
        return limit(least, *self.rows, self.words)


def pairs(
    kinds: Mapping[str, str],
    reference: Arrays,
    current: Arrays,
    scope: Scope,
) -> list[Pair]:
    """The columns of both samples that are compared; `kinds` are the contract's, by column."""
    compared = []
    for name, kind in kinds.items():
        if name not in reference or name not in current:
            continue
        if kind not in METHODS:
            continue
        if kind == "text" and not scope.texts:
            continue

        samples = {"reference": reference[name], "current": current[name]}
        words = count_words(samples[scope.counted])
        if words <= scope.most_words:
            compared.append(Pair(name, **samples, method=METHODS[kind], words=words))
    return compared


def count_words(values: np.ndarray) -> int:
    """How many different words there are; 0 for numbers, and for bools stored as numbers."""
    if values.dtype != object:
        return 0
    return len(np.unique(values[~is_missing(values)]))


def bools_as_words(values: np.ndarray) -> np.ndarray:
    """A bool column, which the contract stores as numbers, as the words "True" and "False"."""
    words: list[str | None] = []
    for value in values:
        is_missing = value != value  # only NaN differs from itself
        words.append(None if is_missing else str(value > 0))
    return np.array(words, dtype=object)


def distance(reference: np.ndarray, current: np.ndarray, method: Method) -> float:
    """How far apart the values of two samples are; NaN if one of them has only missing values."""
    old = reference[~is_missing(reference)]
    new = current[~is_missing(current)]
    if not len(old) or not len(new):
        return float("nan")

    if method is Method.WASSERSTEIN:
        from scipy.stats import wasserstein_distance

        unit = spread(reference) or 1.0  # a constant column has no spread to divide by
        return float(wasserstein_distance(old, new)) / unit

    from scipy.spatial.distance import jensenshannon

    words, codes = np.unique(np.concatenate([old, new]), return_inverse=True)
    old_counts = np.bincount(codes[: len(old)], minlength=len(words))
    new_counts = np.bincount(codes[len(old) :], minlength=len(words))
    return float(jensenshannon(old_counts, new_counts, base=2))


def spread(reference: np.ndarray) -> float:
    """The standard deviation of the numbers that are not missing: the unit of distances."""
    return float(np.std(reference[~is_missing(reference)]))


def noise(reference: int, current: int, words: int) -> float:
    """A distance that healthy samples of so many rows hardly ever reach.

    Few rows or many words must not look like drift.
    """
    inverse_rows = 1 / reference + 1 / current
    if words > 1:
        # The mean divergence of two samples of the same words is (words - 1) / 8 * inverse_rows, in
        # nats: a chi-squared statistic over 8. Its root is the distance. Of the factor 1.5, 1.2
        # turns nats into bits, and the rest is what chance adds to the mean.
        return float(1.5 * np.sqrt((words - 1) / 8 * inverse_rows))
    # Three standard errors of the difference of two means, in standard deviations.
    return float(3 * np.sqrt(inverse_rows))


def limit(least: float, reference: int, current: int, words: int) -> float:
    """The largest distance that is no drift yet: `least`, or what chance alone reaches.

    `reference` and `current` are the numbers of rows with a value.
    """
    if not min(reference, current):
        return least
    return max(least, noise(reference, current, words))


def missing(reference: np.ndarray, current: np.ndarray) -> float:
    """By how much the share of missing values has risen; NaN if one sample has no rows."""
    if not len(reference) or not len(current):
        return float("nan")
    return float(is_missing(current).mean()) - float(is_missing(reference).mean())
