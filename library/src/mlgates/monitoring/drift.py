"""Drift of what was served against what the model was trained on, by Evidently's distances.

What is compared, how, and what is no drift yet, `mlgates.drift` says, as it does for periods.
Evidently computes the same distances, but for two things that `by_evidently` knows.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import drift as measure
from mlgates.contract import Arrays, Contract, gone
from mlgates.errors import ProjectError
from mlgates.model_folder import Scorer
from mlgates.settings import MonitorSettings
from mlgates.verdict import Check, Effect, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

FLOOR = 0.001  # Evidently takes no standard deviation for smaller
NATS = float(np.sqrt(np.log(2)))  # of our Jensen-Shannon distance, in bits, is Evidently's, in nats
VALUE_DRIFT = "evidently:metric_v2:ValueDrift"
VERDICTS = {"SUCCESS": Verdict.OK, "FAIL": Verdict.FAIL}


def watched(contract: Contract, scorer: Scorer, arrays: Arrays, matrix: np.ndarray) -> Arrays:
    """What is compared: the columns that the model reads and, for times, the features made of them.

    A key that no feature reads may move as it likes. A time always moves; an hour or a weekday should not.
    """
    kinds = {name: contract.columns[name].kind for name in scorer.plan.columns}
    found = {name: arrays[name] for name, kind in kinds.items() if kind != "datetime"}
    for place, name in enumerate(scorer.plan.names):
        if name not in kinds and any(
            kinds[column] == "datetime" for column in scorer.plan.ancestors(name)
        ):
            found[name] = matrix[:, place]
    for name, kind in kinds.items():
        if kind == "bool":
            found[name] = measure.bools_as_words(found[name])
    return found


@dataclass(frozen=True)
class Comparison:
    """Two frames whose columns are to be compared, and how: what Evidently is asked in the wiring, monitor.py.

    `reference` are the rows that the model was trained on, `current` those that were served. `limits` holds the
    distance of each column that is still no drift.
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


Distributions = Callable[[Comparison], Any]  # of the wiring: Evidently's snapshot


def comparison(reference: Arrays, current: Arrays, limits: MonitorSettings) -> Comparison:
    """What can be compared, with limits that chance alone does not reach.

    `limits` is the section `monitor` of the parameters. Free text, and a column without any value,
    are left out. Evidently drops missing values, so `missing` checks their share. Numbers whose
    spread Evidently would take for larger than it is are handed over in standard deviations.
    """
    import pandas as pd

    before, now, bounds = {}, {}, {}
    numbers, categories = [], []
    for pair in pairs(reference, current):
        before[pair.name], now[pair.name] = pair.reference, pair.current
        if pair.method is measure.Method.WASSERSTEIN:
            numbers.append(pair.name)
            if (unit := _unit(pair)) != 1:
                before[pair.name], now[pair.name] = pair.reference / unit, pair.current / unit
        else:
            categories.append(pair.name)
        bounds[pair.name] = pair.limit(limits.drift_limit)
    return Comparison(pd.DataFrame(before), pd.DataFrame(now), numbers, categories, bounds)


def pairs(reference: Arrays, current: Arrays) -> list[measure.Pair]:
    """The columns that Evidently can compare; what `watched` gives are numbers and words."""
    kinds = {}
    for name, values in reference.items():
        kinds[name] = "text" if values.dtype == object else "float"
    found = measure.pairs(kinds, reference, current, measure.LOG)
    return [pair for pair in found if min(pair.rows)]


def by_evidently(pair: measure.Pair) -> float:
    """What Evidently has to report of a pair that `comparison` handed over, by our own measure.

    Its Jensen-Shannon distance has another unit. Where all numbers of the reference are the same,
    so that there is no standard deviation, it tells the distance in thousandths.
    """
    found = pair.distance()
    if pair.method is measure.Method.JENSEN_SHANNON:
        return NATS * found
    unit, deviation = _unit(pair), measure.spread(pair.reference)
    return found * (deviation or 1.0) / unit / max(deviation / unit, FLOOR)


def _unit(pair: measure.Pair) -> float:
    """What numbers are divided by before Evidently sees them: 1, but for those of a tiny spread."""
    known = pair.reference[~gone(pair.reference)]
    deviation = measure.spread(pair.reference)
    varies = known.min() < known.max()  # sums are rounded: equal numbers may have a deviation
    return deviation if varies and deviation < FLOOR else 1.0


def drift(compared: Comparison, distributions: Distributions) -> tuple[list[Check], str]:
    """One check `monitor.drift.<column>` each, judged by Evidently's tests, and Evidently's own page.

    Raises: ProjectError if Evidently was not asked about a column: what was not looked at did not pass.
    """
    if not compared.columns:
        return [], ""
    with warnings.catch_warnings(action="ignore"):
        found = distributions(compared)
        told = found.dict()
        page = found.get_html_str(as_iframe=False)
    values, checks = {}, {}
    for metric in told["metrics"]:
        if metric["config"]["type"] == VALUE_DRIFT:
            values[metric["config"]["column"]] = float(metric["value"])
    for test in told["tests"]:
        settings = test["metric_config"]["params"]
        if settings["type"] != VALUE_DRIFT:
            continue
        name = settings["column"]
        verdict = VERDICTS.get(test["status"].value, Verdict.INCONCLUSIVE)
        value, limit = round(values[name], 6), round(compared.limits[name], 6)
        evidence = f"{settings['method']} distance"
        rows = len(compared.current)
        more = (value, limit, None, rows, False, evidence, Effect.RETRAIN)
        checks[name] = Check(f"monitor.drift.{name}", verdict, *more)
    if unasked := [name for name in compared.columns if name not in checks]:
        raise ProjectError(
            f"monitor.py does not compare {', '.join(unasked)}: Evidently reported no drift test of it.",
            "Bring the call back: git checkout HEAD -- src/*/monitor.py",
        )
    return [checks[name] for name in compared.columns], page


def share(compared: Comparison, checks: list[Check], limits: MonitorSettings, rows: int) -> Check:
    """`monitor.drifted_share`: how many of the compared columns drifted.

    `checks` are those of the columns, in their order.
    """
    moved = []
    for name, check in zip(compared.columns, checks, strict=True):
        if check.verdict is Verdict.FAIL:
            moved.append(name)
    value = round(len(moved) / len(checks), 6) if checks else None
    told = f"{len(moved)} of {len(checks)}" + (f": {', '.join(moved)}" if moved else "")
    return at_most("monitor.drifted_share", value, limits.max_drifted_share, rows, evidence=told)


def missing(
    columns: list[str], reference: Arrays, current: Arrays, limits: MonitorSettings
) -> list[Check]:
    """`monitor.missing.<column>`: by how much the share of rows without a value has risen."""
    checks = []
    for name in columns:
        rise, most = measure.missing(reference[name], current[name]), limits.missing_limit
        check = at_most(f"monitor.missing.{name}", round(rise, 6), most, len(current[name]))
        checks.append(check)
    return checks


def predictions(reference: np.ndarray, current: np.ndarray, limits: MonitorSettings) -> Check:
    """`monitor.prediction_drift`: the scores against those of the reference rows; of several classes the worst."""
    old, new = (scores.reshape(len(scores), -1).T for scores in (reference, current))
    method = measure.Method.WASSERSTEIN
    worst = max(measure.distance(a, b, method) for a, b in zip(old, new, strict=True))
    limit = round(measure.limit(limits.drift_limit, len(reference), len(current), 0), 6)
    told = "wasserstein distance of the scores"
    more: dict[str, Any] = {"required": False, "evidence": told, "effect": Effect.RETRAIN}
    return at_most("monitor.prediction_drift", round(worst, 6), limit, len(current), **more)
