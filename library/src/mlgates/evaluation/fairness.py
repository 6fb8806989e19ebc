"""Parts of the rows: slices; and protected groups, whether the model treats them alike and what gives them away."""

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

SHOWN = 20  # values of a column, the most frequent ones
PROXY_ROWS, PROXY_LEAST = 6_000, 100  # that a group is predicted on; of each value
RESAMPLES = 100  # for a standard error, where the quantiles of the normal distribution are taken


def words(rows: "pd.DataFrame", column: str) -> np.ndarray:
    """The values of a column as (n,) words; of numbers with many values the quarter that they lie in."""
    values = rows[column]
    if values.dtype.kind not in "iuf" or values.nunique() <= SHOWN:
        return values.astype(str).to_numpy()
    numbers = values.to_numpy(dtype=float)
    edges = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75]))
    names = np.array([*(f"to {edge:g}" for edge in edges), f"above {edges[-1]:g}"])
    return np.where(np.isnan(numbers), "nan", names[np.searchsorted(edges, numbers)])


def frequent(found: np.ndarray) -> list[str]:
    """The most frequent words; none where all are the same."""
    known, counts = np.unique(found, return_counts=True)
    return (
        [str(word) for word in known[np.argsort(-counts, kind="stable")][:SHOWN]]
        if len(known) > 1
        else []
    )


def slices(contract: Contract, rows: "pd.DataFrame") -> dict[tuple[str, str], np.ndarray]:
    """The positions of the rows of each slice: the most frequent values of each slice column, and of each two."""
    columns = {column: words(rows, column) for column in contract.slices}
    found = {
        (column, word): np.flatnonzero(has == word)
        for column, has in columns.items()
        for word in frequent(has)
    }
    for one, other in combinations(columns, 2):
        both = np.array([f"{a},{b}" for a, b in zip(columns[one], columns[other], strict=True)])
        for word in frequent(both):
            places = np.flatnonzero(both == word)
            parents = (
                found.get((column, columns[column][places[0]]), rows) for column in (one, other)
            )
            if all(len(places) < len(parent) for parent in parents):
                found[f"{one},{other}", word] = places
    return found


def treatment(
    contract: Contract,
    rows: "pd.DataFrame",
    scores: np.ndarray,
    threshold: float,
    *,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The rates of each group, and by how much they differ from those of all other rows, with an error.

    `scores` are the candidate's; a difference counts in `unit`, for errors the mean absolute one of all rows.
    """
    target = contract.target(rows)
    counted = rates(contract, target, scores, threshold)
    entries, columns, ones = [], [], np.ones(len(rows))
    unit = float(np.abs(scores - target).mean()) if contract.task == "regression" else 1.0
    for column in contract.groups:
        found = words(rows, column)
        shown = frequent(found)
        for word in (
            shown[1:] if len(np.unique(found)) == 2 else shown
        ):  # of two, each is the rest of the other
            inside = found == word
            for rate, (above, below) in counted.items():
                below = ones if below is None else below.astype(float)
                above = above.astype(float)
                columns += [above * inside, below * inside, above * ~inside, below * ~inside]
                counts = {"rows": int((below * inside).sum()), "unit": unit}
                entries.append({"column": column, "value": word, "rate": rate, **counts})
    if not entries:
        return []
    matrix = np.stack(columns, axis=1)
    chunks = metrics.weights(len(rows), min(resamples, RESAMPLES), seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.concatenate([chunk.astype(float) @ matrix for chunk in chunks]).reshape(
            -1, len(entries), 4
        )
        inner, rest = sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
    for place, entry in enumerate(entries):
        gap = metrics.Estimate(inner[0, place] - rest[0, place], inner[1:, place] - rest[1:, place])
        plain = [metrics.plain_number(part[0, place]) for part in (inner, rest)]
        entry |= {"group": plain[0], "rest": plain[1], "gap": gap.plain()}
    return entries


def rates(
    contract: Contract, target: np.ndarray, scores: np.ndarray, threshold: float
) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Each rate as what is counted, and of what (None: of all rows); with more than two classes, by class."""
    if contract.task == "regression":
        return {"bias": (scores - target, None), "absolute_error": (np.abs(scores - target), None)}
    if contract.task == "binary":
        kinds = {"": (scores >= threshold, target == 1, scores)}
    else:
        chosen = scores.argmax(axis=1)
        kinds = {
            f".{name}": (chosen == k, target == k, scores[:, k])
            for k, name in enumerate(contract.classes)
        }
    found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for which, (decided, true, score) in kinds.items():
        found[f"selection{which}"] = (decided, None)
        found[f"true_positive{which}"] = (decided & true, true)
        found[f"false_positive{which}"] = (decided & ~true, ~true)
        found[f"group_calibration{which}"] = (score - true, None)
    return found


def proxies(
    contract: Contract, rows: "pd.DataFrame", matrix: np.ndarray, features: Mapping[str, set[str]]
) -> dict[str, dict[str, Any]]:
    """How well a small tree tells each group from all features, and from each alone: ROC AUC on the other half.

    `matrix` has a column for each of `features`, which are named with the columns that they read; what reads a
    waived group is left out.
    """
    thinned = np.linspace(0, len(rows) - 1, min(len(rows), PROXY_ROWS)).astype(int)
    allowed = {
        name: k
        for k, (name, reads) in enumerate(features.items())
        if not reads & {*contract.groups}
    }
    found = {}
    for column in contract.groups:
        named, codes, counts = np.unique(
            words(rows, column)[thinned], return_inverse=True, return_counts=True
        )
        kept = counts[codes] >= PROXY_LEAST
        known, codes = matrix[thinned][kept], codes[kept]
        each = {
            name: _told(known[:, [place]], codes, len(named)) for name, place in allowed.items()
        }
        found[column] = {
            "rows": int(kept.sum()),
            "all": _told(known[:, [*allowed.values()]], codes, len(named)),
            "features": each,
        }
    return found


def _told(matrix: np.ndarray, codes: np.ndarray, classes: int) -> float | None:
    from sklearn.tree import DecisionTreeClassifier

    if len(np.unique(codes)) < 2 or not matrix.shape[1] or len(np.unique(codes[::2])) < 2:
        return None
    tree = DecisionTreeClassifier(max_leaf_nodes=32, min_samples_leaf=20, random_state=0)
    tree.fit(matrix[::2], codes[::2])
    scores = np.zeros((len(codes[1::2]), classes))
    scores[:, tree.classes_] = tree.predict_proba(matrix[1::2])
    return metrics.plain_number(
        metrics.value(metrics.macro_roc_auc(codes[1::2], scores), len(scores))
    )


def measure_groups(
    contract: Contract,
    rows: "pd.DataFrame",
    scorer: Scorer,
    arrays: Arrays,
    scores: np.ndarray,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """What the gate asks of the contract's groups and the candidate's `scorer`; empty if there are none."""
    if not contract.groups:
        return {}
    resamples, features = (
        settings.resamples,
        {name: scorer.plan.ancestors(name) for name in scorer.plan.names},
    )
    return {
        "rates": treatment(
            contract, rows, scores, scorer.threshold, resamples=resamples, seed=settings.seed
        ),
        "proxies": proxies(contract, rows, scorer.matrix(arrays), features),
        "waived": {name: str(until) for name, until in contract.waivers.items()},
    }
