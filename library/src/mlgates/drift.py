"""The one measure of drift: how far apart two samples of a column are, and how far by chance alone.

`data.drift` compares periods with it, and `monitoring.drift` what was served; there, Evidently
computes the same distances. They are sizes of effects: they do not grow with the number of rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mlgates.contract import Arrays, gone


class Method(StrEnum):
    """A distance between two samples, by the name that Evidently gives it."""

    WASSERSTEIN = "wasserstein"  # in standard deviations of the reference
    JENSEN_SHANNON = "jensenshannon"  # from 0, equal shares of each word, to 1, no word in common


METHODS = {  # by the kind of a column; a time is not compared, for it always moves
    "int": Method.WASSERSTEIN,
    "float": Method.WASSERSTEIN,
    "bool": Method.JENSEN_SHANNON,
    "category": Method.JENSEN_SHANNON,
    "text": Method.JENSEN_SHANNON,
}


@dataclass(frozen=True)
class Scope:
    """Which columns are compared, and what is known of chance: all in which periods and log differ.

    `counted` is the sample whose words are counted: they tell how far chance alone sets two samples
    apart, and a column with more than `most_words` is not compared.
    """

    texts: bool
    most_words: float
    counted: str


PERIODS = Scope(texts=False, most_words=math.inf, counted="current")
LOG = Scope(texts=True, most_words=30, counted="reference")  # a text of more words is free text


@dataclass(frozen=True)
class Pair:
    """Two samples of a column, and how they are compared.

    `words` is between how many words chance moves rows; 0 for numbers.
    """

    name: str
    reference: np.ndarray
    current: np.ndarray
    method: Method
    words: int

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows of the two samples have a value; missing ones prove nothing."""
        return int((~gone(self.reference)).sum()), int((~gone(self.current)).sum())

    def distance(self) -> float:
        """How far apart the known values are; NaN if one side has none."""
        return distance(self.reference, self.current, self.method)

    def limit(self, least: float) -> float:
        """The distance that is no drift yet: `least`, or what chance alone reaches."""
        return limit(least, *self.rows, self.words)


def pairs(
    kinds: Mapping[str, str],
    reference: Arrays,
    current: Arrays,
    scope: Scope,
) -> list[Pair]:
    """The columns of both samples that are compared; `kinds` are the contract's, by column."""
    found = []
    for name, kind in kinds.items():
        absent = name not in reference or name not in current
        if absent or kind not in METHODS or (kind == "text" and not scope.texts):
            continue
        sides = {"reference": reference[name], "current": current[name]}
        words = count_words(sides[scope.counted])
        if words <= scope.most_words:
            found.append(Pair(name, **sides, method=METHODS[kind], words=words))
    return found


def count_words(values: np.ndarray) -> int:
    """How many different words there are; 0 for numbers, and for bools that are held as numbers."""
    return len(np.unique(values[~gone(values)])) if values.dtype == object else 0


def bools_as_words(values: np.ndarray) -> np.ndarray:
    """A bool column of the contract, which is held as numbers, as the words "True" and "False"."""
    words = [None if value != value else str(value > 0) for value in values]
    return np.array(words, dtype=object)


def distance(reference: np.ndarray, current: np.ndarray, method: Method) -> float:
    """How far apart the known values of two samples are; NaN if one side has none."""
    old, new = reference[~gone(reference)], current[~gone(current)]
    if not len(old) or not len(new):
        return float("nan")
    if method is Method.WASSERSTEIN:
        from scipy.stats import wasserstein_distance

        return float(wasserstein_distance(old, new)) / (spread(reference) or 1.0)
    from scipy.spatial.distance import jensenshannon

    known, places = np.unique(np.concatenate([old, new]), return_inverse=True)
    old_counts = np.bincount(places[: len(old)], minlength=len(known))
    new_counts = np.bincount(places[len(old) :], minlength=len(known))
    return float(jensenshannon(old_counts, new_counts, base=2))


def spread(reference: np.ndarray) -> float:
    """The standard deviation of the known numbers, in which distances are told."""
    return float(np.std(reference[~gone(reference)]))


def noise(reference: int, current: int, words: int) -> float:
    """A distance that healthy rows hardly reach: few rows or many words must not look like drift."""
    rows = 1 / reference + 1 / current
    return float(1.5 * np.sqrt((words - 1) / 8 * rows) if words > 1 else 3 * np.sqrt(rows))


def limit(least: float, reference: int, current: int, words: int) -> float:
    """The distance that is no drift yet: `least`, or what chance alone reaches in so many rows."""
    return max(least, noise(reference, current, words)) if min(reference, current) else least


def missing(reference: np.ndarray, current: np.ndarray) -> float:
    """By how much the share of rows without a value has risen; NaN if one side has no rows."""
    if not len(reference) or not len(current):
        return float("nan")
    return float(gone(current).mean()) - float(gone(reference).mean())
