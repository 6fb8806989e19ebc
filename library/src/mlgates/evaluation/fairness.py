"""Slices of the rows, and protected groups.

Of groups: whether the model treats them alike, and which features give them away.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Contract
from mlgates.evaluation import metrics
from mlgates.model_folder import Scorer
from mlgates.settings import EvaluateSettings

if TYPE_CHECKING:
    import pandas as pd

MOST_VALUES = 20  # of a column: the most frequent ones
PROXY_ROWS = 6_000  # on which a tree predicts the group
PROXY_MIN_ROWS = 100  # of a group among these, else it is left out

# For a standard error, from which an interval follows by the quantiles of the normal distribution.
# Quantiles of the resamples themselves would need more of them.
RESAMPLES = 100

Rate = tuple[np.ndarray, np.ndarray]  # (n,) what is counted, and (n,) bool: of which rows
Slice = tuple[str, str]  # column and value


def words(rows: "pd.DataFrame", column: str) -> np.ndarray:
    """The values of a column as (n,) words; numbers with many values become their quarter."""
    values = rows[column]
    is_number = values.dtype.kind in "iuf"
    if not is_number or values.nunique() <= MOST_VALUES:
        return values.astype(str).to_numpy()

    numbers = values.to_numpy(dtype=float)
    edges = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75]))
    names = [f"to {edge:g}" for edge in edges]
    names.append(f"above {edges[-1]:g}")
    quarters = np.array(names)[np.searchsorted(edges, numbers)]
    return np.where(np.isnan(numbers), "nan", quarters)


def frequent(column_words: np.ndarray) -> list[str]:
    """The most frequent words of a column; none if all are the same."""
    different, counts = np.unique(column_words, return_counts=True)
    if len(different) < 2:
        return []
    most_frequent_first = different[np.argsort(-counts, kind="stable")]
    most_frequent: list[str] = most_frequent_first[:MOST_VALUES].tolist()
    return most_frequent


def slices(contract: Contract, rows: "pd.DataFrame") -> dict[Slice, np.ndarray]:
    """The positions of the rows of each slice.

    Slices are the most frequent values of each slice column, and of each two columns together.
    """
    columns = {column: words(rows, column) for column in contract.slices}
    by_slice: dict[Slice, np.ndarray] = {}
    for column, column_words in columns.items():
        by_slice.update(_places(column, column_words))

    for first, second in combinations(columns, 2):
        first_words, second_words = columns[first], columns[second]
        crossed = (first_words.astype(object) + "," + second_words.astype(object)).astype(str)
        for part, places in _places(f"{first},{second}", crossed).items():
            # A crossed slice is worth a look only if it is smaller than both slices that it lies
            # in. A value that is no slice of its own column has all rows for this comparison.
            in_first = by_slice.get((first, first_words[places[0]]), rows)
            in_second = by_slice.get((second, second_words[places[0]]), rows)
            if len(places) < min(len(in_first), len(in_second)):
                by_slice[part] = places
    return by_slice


def _places(column: str, column_words: np.ndarray) -> dict[Slice, np.ndarray]:
    """The positions of the rows with each of the most frequent words of a column."""
    return {(column, word): np.flatnonzero(column_words == word) for word in frequent(column_words)}


def group_rates(
    contract: Contract,
    rows: "pd.DataFrame",
    scores: np.ndarray,
    threshold: float,
    *,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The rates of each group, and by how much they differ from those of all other rows.

    Each difference has a standard error. `scores` are the candidate's. A difference counts in
    `unit`: for the errors of a regression that is the mean absolute error of all rows.
    """
    target = contract.target(rows)
    unit = 1.0
    if contract.task == "regression":
        unit = float(np.abs(scores - target).mean())

    all_rates = rates(contract, target, scores, threshold)
    entries: list[dict[str, Any]] = []
    columns = []  # four for each entry: numerator and denominator of the group, then of the rest
    for column in contract.groups:
        column_words = words(rows, column)
        for word in _compared_groups(column_words):
            is_member = column_words == word
            for rate, (counted, base) in all_rates.items():
                denominator = base.astype(float)
                numerator = counted.astype(float)
                columns += [numerator * is_member, denominator * is_member]
                columns += [numerator * ~is_member, denominator * ~is_member]
                size = int((denominator * is_member).sum())
                entry = {"column": column, "value": word, "rate": rate, "rows": size, "unit": unit}
                entries.append(entry)
    if not entries:
        return []

    of_group, of_rest = _resampled_rates(columns, min(resamples, RESAMPLES), seed)
    gaps = of_group - of_rest
    for place, entry in enumerate(entries):
        entry["group"] = metrics.plain_number(of_group[0, place])
        entry["rest"] = metrics.plain_number(of_rest[0, place])
        entry["gap"] = metrics.Estimate(gaps[0, place], gaps[1:, place]).plain()
    return entries


def _compared_groups(column_words: np.ndarray) -> list[str]:
    """The groups of a column that are compared with all other rows."""
    groups = frequent(column_words)
    if len(np.unique(column_words)) == 2:
        return groups[1:]  # of two groups, each is the rest of the other one
    return groups


def _resampled_rates(
    columns: list[np.ndarray], resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rates of each group and of its rest: two (1 + resamples, e) arrays for e entries.

    `columns` are four for each entry. The first row of the arrays is the sample as it is. A rate
    without any row is NaN.
    """
    matrix = np.stack(columns, axis=1)
    sums = []
    for chunk in metrics.weights(len(matrix), resamples, seed):
        sums.append(chunk.astype(float) @ matrix)
    by_entry = np.concatenate(sums).reshape(-1, len(columns) // 4, 4)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_group = by_entry[..., 0] / by_entry[..., 1]
        of_rest = by_entry[..., 2] / by_entry[..., 3]
    return of_group, of_rest


def rates(
    contract: Contract, target: np.ndarray, scores: np.ndarray, threshold: float
) -> dict[str, Rate]:
    """Each rate as what is counted, and of which rows.

    With more than two classes each class has rates of its own.
    """
    if contract.task == "regression":
        error = scores - target
        everyone = np.ones(len(error), dtype=bool)
        return {"bias": (error, everyone), "absolute_error": (np.abs(error), everyone)}
    if contract.task == "binary":
        return _class_rates("", scores >= threshold, target == 1, scores)

    by_name: dict[str, Rate] = {}
    chosen = scores.argmax(axis=1)
    for place, name in enumerate(contract.classes):
        by_name |= _class_rates(f".{name}", chosen == place, target == place, scores[:, place])
    return by_name


def _class_rates(
    suffix: str, decided: np.ndarray, true: np.ndarray, scores: np.ndarray
) -> dict[str, Rate]:
    """The rates of one class.

    `decided` and `true` say which rows are decided to have the class, and which have it.
    """
    everyone = np.ones(len(true), dtype=bool)
    return {
        f"selection{suffix}": (decided, everyone),
        f"true_positive{suffix}": (decided & true, true),
        f"false_positive{suffix}": (decided & ~true, ~true),
        f"group_calibration{suffix}": (scores - true, everyone),
    }


def proxies(
    contract: Contract, rows: "pd.DataFrame", matrix: np.ndarray, features: Mapping[str, set[str]]
) -> dict[str, dict[str, Any]]:
    """How well a small tree predicts each group from all features, and from each alone: ROC AUC.

    `matrix` has a column for each of `features`, which are named with the contract's columns that
    they read. A feature that reads a waived group is left out: that it gives the group away is no
    news.
    """
    places = {}  # of the features in the matrix, by name
    for place, (name, columns) in enumerate(features.items()):
        if not columns & set(contract.groups):
            places[name] = place

    thinned = np.linspace(0, len(rows) - 1, min(len(rows), PROXY_ROWS)).astype(int)
    by_column = {}
    for column in contract.groups:
        group_words = words(rows, column)[thinned]
        groups, codes, counts = np.unique(group_words, return_inverse=True, return_counts=True)
        is_kept = counts[codes] >= PROXY_MIN_ROWS
        codes = codes[is_kept]
        kept = matrix[thinned][is_kept]
        by_feature = {}
        for name, place in places.items():
            by_feature[name] = _proxy_auc(kept[:, [place]], codes, len(groups))
        by_column[column] = {
            "rows": int(is_kept.sum()),
            "all": _proxy_auc(kept[:, list(places.values())], codes, len(groups)),
            "features": by_feature,
        }
    return by_column


def _proxy_auc(features: np.ndarray, group_codes: np.ndarray, n_groups: int) -> float | None:
    """ROC AUC with which a small tree predicts the group of every second row, fitted on the others.

    None if it cannot be fitted: there is no feature, or only one group.
    """
    from sklearn.tree import DecisionTreeClassifier

    fit_codes, test_codes = group_codes[::2], group_codes[1::2]
    if not features.shape[1] or len(np.unique(group_codes)) < 2 or len(np.unique(fit_codes)) < 2:
        return None
    tree = DecisionTreeClassifier(max_leaf_nodes=32, min_samples_leaf=20, random_state=0)
    tree.fit(features[::2], fit_codes)
    scores = np.zeros((len(test_codes), n_groups))
    scores[:, tree.classes_] = tree.predict_proba(features[1::2])
    auc = metrics.macro_roc_auc(test_codes, scores)
    return metrics.plain_number(metrics.value(auc, len(scores)))


def measure_groups(
    contract: Contract,
    rows: "pd.DataFrame",
    scorer: Scorer,
    arrays: Arrays,
    scores: np.ndarray,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """What the gate asks about the contract's groups; empty if it has none.

    `scorer` is the candidate, `scores` are its scores of the rows.
    """
    if not contract.groups:
        return {}
    features = {name: scorer.plan.ancestors(name) for name in scorer.plan.names}
    return {
        "rates": group_rates(
            contract,
            rows,
            scores,
            scorer.threshold,
            resamples=settings.resamples,
            seed=settings.seed,
        ),
        "proxies": proxies(contract, rows, scorer.matrix(arrays), features),
        "waived": {name: str(until) for name, until in contract.waivers.items()},
    }
