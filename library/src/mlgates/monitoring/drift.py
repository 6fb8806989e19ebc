"""Drift: how far what was served has moved from what the model was trained on.

Evidently computes the distances and judges them. Which columns are compared, by which distance,
and how large a distance chance alone reaches comes from `mlgates.drift`, which validate uses for
periods too. Evidently's distances equal those of `mlgates.drift` except in two cases: see
`by_evidently`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import drift as measure
from mlgates.contract import Arrays, Contract, is_missing
from mlgates.errors import ProjectError
from mlgates.model_folder import Scorer
from mlgates.settings import MonitorSettings
from mlgates.verdict import Check, Effect, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

SMALLEST_DEVIATION = 0.001  # Evidently divides by this where a standard deviation is smaller
NATS = float(np.sqrt(np.log(2)))  # Jensen-Shannon distance: ours is in bits, Evidently's in nats
VALUE_DRIFT = "evidently:metric_v2:ValueDrift"
VERDICTS = {"SUCCESS": Verdict.OK, "FAIL": Verdict.FAIL}  # of Evidently's tests


def watched(contract: Contract, scorer: Scorer, arrays: Arrays, matrix: np.ndarray) -> Arrays:
    """The columns whose drift matters, by name: (n,) arrays of numbers or words.

    `arrays` are the contract's columns of n rows, `matrix` their (n, k) features. Only columns that
    the model reads count: a key that no feature reads may move freely. A time is left out, because
    it always moves. The features made of it (an hour, a weekday) should not move, so they are
    compared in its place.
    """
    columns: Arrays = {}
    times = set()
    for name in scorer.plan.columns:
        kind = contract.columns[name].kind
        if kind == "datetime":
            times.add(name)
        elif kind == "bool":
            columns[name] = measure.bools_as_words(arrays[name])
        else:
            columns[name] = arrays[name]

    for position, feature in enumerate(scorer.plan.names):
        if times & scorer.plan.ancestors(feature):
            columns[feature] = matrix[:, position]
    return columns


@dataclass(frozen=True)
class Comparison:
    """What Evidently is asked to compare, in the wiring file monitor.py.

    `reference` are the rows that the model was trained on, `current` those that were served.
    `numbers` and `categories` name their columns. `limits` has the largest distance of each column
    that is not drift yet.
    """

    reference: "pd.DataFrame"
    current: "pd.DataFrame"
    numbers: list[str]
    categories: list[str]
    limits: dict[str, float]

    @property
    def columns(self) -> list[str]:
        """All columns that are compared."""
        return [*self.numbers, *self.categories]


# The wiring's function, which returns Evidently's snapshot.
Distributions = Callable[[Comparison], Any]


def comparison(reference: Arrays, current: Arrays, limits: MonitorSettings) -> Comparison:
    """What can be compared, with limits that chance alone does not reach.

    `limits` is the section `monitor` of the parameters. Free text, and a column without any value,
    are left out. Evidently drops missing values; their share is checked by `missing`. Numbers whose
    standard deviation is too small for Evidently are given to it in standard deviations.
    """
    import pandas as pd

    reference_columns: Arrays = {}
    current_columns: Arrays = {}
    numbers: list[str] = []
    categories: list[str] = []
    distances: dict[str, float] = {}
    for pair in pairs(reference, current):
        distances[pair.name] = pair.limit(limits.drift_limit)
        if pair.method is measure.Method.WASSERSTEIN:
            unit = _unit(pair)
            numbers.append(pair.name)
            reference_columns[pair.name] = pair.reference / unit
            current_columns[pair.name] = pair.current / unit
        else:
            categories.append(pair.name)
            reference_columns[pair.name] = pair.reference
            current_columns[pair.name] = pair.current

    reference_rows = pd.DataFrame(reference_columns)
    current_rows = pd.DataFrame(current_columns)
    return Comparison(reference_rows, current_rows, numbers, categories, distances)


def pairs(reference: Arrays, current: Arrays) -> list[measure.Pair]:
    """The columns that Evidently can compare, of those that `watched` returns."""
    kinds = {}
    for name, values in reference.items():
        kinds[name] = "text" if values.dtype == object else "float"
    comparable = measure.pairs(kinds, reference, current, measure.LOG)
    return [pair for pair in comparable if min(pair.rows)]  # with values on both sides


def by_evidently(pair: measure.Pair) -> float:
    """The distance that Evidently reports of a pair that `comparison` gave it, by our own measure.

    It differs from `pair.distance()` in two cases. Evidently's Jensen-Shannon distance is in nats,
    ours in bits. And where all numbers of the reference are the same, so that their standard
    deviation is 0, Evidently gives the distance in thousandths.
    """
    distance = pair.distance()
    if pair.method is measure.Method.JENSEN_SHANNON:
        return NATS * distance
    unit = _unit(pair)
    deviation = measure.spread(pair.reference)
    unscaled = distance * (deviation or 1.0)  # undo the division in `pair.distance()`
    return unscaled / unit / max(deviation / unit, SMALLEST_DEVIATION)


def _unit(pair: measure.Pair) -> float:
    """What numbers are divided by before Evidently sees them: 1, or a tiny standard deviation."""
    values = pair.reference[~is_missing(pair.reference)]
    deviation = measure.spread(pair.reference)
    # Sums are rounded, so even equal numbers may have a standard deviation above 0.
    varies = values.min() < values.max()
    return deviation if varies and deviation < SMALLEST_DEVIATION else 1.0


def drift(compared: Comparison, distributions: Distributions) -> tuple[list[Check], str]:
    """One check `monitor.drift.<column>` for each column, and Evidently's own page as HTML.

    Evidently's tests are the judges. Raises: ProjectError if Evidently was not asked about one of
    the columns: a column that was not looked at did not pass.
    """
    if not compared.columns:
        return [], ""
    with warnings.catch_warnings(action="ignore"):
        snapshot = distributions(compared)
        results = snapshot.dict()
        page = snapshot.get_html_str(as_iframe=False)

    # By what was measured and of which column; a metric of the whole table has no column.
    distances = {}
    for metric in results["metrics"]:
        config = metric["config"]
        distances[config["type"], config.get("column")] = metric["value"]
    tests = {}
    for test in results["tests"]:
        config = test["metric_config"]["params"]
        tests[config["type"], config.get("column")] = test

    missing_columns = [name for name in compared.columns if (VALUE_DRIFT, name) not in tests]
    if missing_columns:
        names = ", ".join(missing_columns)
        raise ProjectError(
            f"monitor.py does not compare {names}: Evidently reported no drift test of it.",
            "Bring the call back: git checkout HEAD -- src/*/monitor.py",
        )
    checks = []
    for name in compared.columns:
        measured = VALUE_DRIFT, name
        checks.append(_drift_check(name, tests[measured], distances[measured], compared))
    return checks, page


def _drift_check(name: str, test: Any, distance: Any, compared: Comparison) -> Check:
    """What Evidently's drift test of a column says, as a check."""
    return Check(
        f"monitor.drift.{name}",
        VERDICTS.get(test["status"].value, Verdict.INCONCLUSIVE),
        value=round(float(distance), 6),
        limit=round(compared.limits[name], 6),
        rows=len(compared.current),
        required=False,
        evidence=f"{test['metric_config']['params']['method']} distance",
        effect=Effect.RETRAIN,
    )


def drifted_share_check(
    compared: Comparison, checks: list[Check], limits: MonitorSettings, rows: int
) -> Check:
    """`monitor.drifted_share`: which share of the compared columns drifted.

    `checks` are those of the columns, in their order.
    """
    drifted = []
    for name, check in zip(compared.columns, checks, strict=True):
        if check.verdict is Verdict.FAIL:
            drifted.append(name)
    value = round(len(drifted) / len(checks), 6) if checks else None
    evidence = f"{len(drifted)} of {len(checks)}"
    if drifted:
        evidence += f": {', '.join(drifted)}"
    return at_most(
        "monitor.drifted_share",
        value,
        limits.max_drifted_share,
        rows,
        evidence=evidence,
    )


def missing(
    columns: list[str], reference: Arrays, current: Arrays, limits: MonitorSettings
) -> list[Check]:
    """`monitor.missing.<column>`: by how much the share of rows without a value has risen."""
    checks = []
    for name in columns:
        rise = round(measure.missing(reference[name], current[name]), 6)
        rows = len(current[name])
        checks.append(at_most(f"monitor.missing.{name}", rise, limits.missing_limit, rows))
    return checks


def predictions(reference: np.ndarray, current: np.ndarray, limits: MonitorSettings) -> Check:
    """`monitor.prediction_drift`: the distance of the served scores from those of the reference.

    Both are (n,) scores, or (n, c) for c classes. Of several classes the largest distance counts.
    """
    reference_scores = reference.reshape(len(reference), -1)
    current_scores = current.reshape(len(current), -1)
    distances = []
    for old, new in zip(reference_scores.T, current_scores.T, strict=True):
        distances.append(measure.distance(old, new, measure.Method.WASSERSTEIN))
    limit = measure.limit(limits.drift_limit, len(reference), len(current), words=0)
    return at_most(
        "monitor.prediction_drift",
        round(max(distances), 6),
        round(limit, 6),
        len(current),
        required=False,
        evidence="wasserstein distance of the scores",
        effect=Effect.RETRAIN,
    )
