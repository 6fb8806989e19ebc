"""Drift of what was served against what the model was trained on: distances by Evidently, and missing shares."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Arrays, Column, Contract, gone
from mlgates.data.drift import distance, noise
from mlgates.errors import ProjectError
from mlgates.model_folder import Scorer
from mlgates.verdict import Check, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

MOST_WORDS = 30  # a free text with more different words is no category
VALUE_DRIFT = "evidently:metric_v2:ValueDrift"
VERDICTS = {"SUCCESS": Verdict.OK, "FAIL": Verdict.FAIL}


def watched(contract: Contract, scorer: Scorer, arrays: Arrays, matrix: np.ndarray) -> Arrays:
    """What is compared: the columns that the model reads and, for times, the features made of them.

    A key that no feature reads may move as it likes. A time always moves; an hour or a weekday should not.
    """
    kinds = {name: contract.columns[name].kind for name in scorer.plan.columns}
    found = {name: arrays[name] for name, kind in kinds.items() if kind != "datetime"}
    for place, name in enumerate(scorer.plan.names):
        if name not in kinds and any(kinds[column] == "datetime" for column in scorer.plan.ancestors(name)):
            found[name] = matrix[:, place]
    for name in (name for name, kind in kinds.items() if kind == "bool"):
        found[name] = np.array([None if value != value else str(value > 0) for value in found[name]], dtype=object)
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


def comparison(reference: Arrays, current: Arrays, limits: Mapping[str, Any]) -> Comparison:
    """What can be compared, with limits that chance alone does not reach; `limits` is the section `monitor`.

    Free text, and a column without any value, are left out. Evidently drops missing values, so `missing` checks their
    share.
    """
    import pandas as pd

    before, now = pd.DataFrame(reference), pd.DataFrame(current)
    words = {name: before[name].nunique() for name, values in reference.items() if values.dtype == object}
    used = []
    for name in reference:
        filled = before[name].notna().any() and now[name].notna().any()
        if filled and words.get(name, 0) <= MOST_WORDS:
            used.append(name)
    bounds = {}
    for name in used:
        chance = noise(before[name].count(), now[name].count(), words.get(name, 0))  # missing values prove nothing
        bounds[name] = max(limits["drift_limit"], chance)
    numbers = [name for name in used if name not in words]
    categories = [name for name in used if name in words]
    return Comparison(before[used], now[used], numbers, categories, bounds)


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
        verdict = VERDICTS.get(test["status"].value, Verdict.INSUFFICIENT)
        value, limit = round(values[name], 6), round(compared.limits[name], 6)
        evidence = f"{settings['method']} distance"
        rows = len(compared.current)
        checks[name] = Check(f"monitor.drift.{name}", verdict, value, limit, None, rows, False, evidence)
    if unasked := [name for name in compared.columns if name not in checks]:
        raise ProjectError(
            f"monitor.py does not compare {', '.join(unasked)}: Evidently reported no drift test of it.",
            "Bring the call back: git checkout HEAD -- src/*/monitor.py",
        )
    return [checks[name] for name in compared.columns], page


def share(checks: list[Check], limits: Mapping[str, Any], rows: int) -> Check:
    """`monitor.drifted_share`: how many of the compared columns drifted."""
    moved = [check.name.removeprefix("monitor.drift.") for check in checks if check.verdict is Verdict.FAIL]
    value = round(len(moved) / len(checks), 6) if checks else None
    told = f"{len(moved)} of {len(checks)}" + (f": {', '.join(moved)}" if moved else "")
    return at_most("monitor.drifted_share", value, limits["max_drifted_share"], rows, evidence=told)


def missing(columns: list[str], reference: Arrays, current: Arrays, limits: Mapping[str, Any]) -> list[Check]:
    """`monitor.missing.<column>`: by how much the share of rows without a value has risen."""
    shares = {name: (float(gone(reference[name]).mean()), gone(current[name])) for name in columns}
    return [
        at_most(f"monitor.missing.{name}", round(float(now.mean()) - old, 6), limits["missing_limit"], len(now))
        for name, (old, now) in shares.items()
    ]


def predictions(reference: np.ndarray, current: np.ndarray, limits: Mapping[str, Any]) -> Check:
    """`monitor.predictions`: the scores given against those of the reference rows; of several classes the worst."""
    old, new = (scores.reshape(len(scores), -1).T for scores in (reference, current))
    worst = max(distance(a, b, Column("score", "float", "model")) for a, b in zip(old, new, strict=True))
    limit = round(max(limits["drift_limit"], noise(len(reference), len(current), 0)), 6)
    told = "wasserstein distance of the scores"
    return at_most("monitor.predictions", round(worst, 6), limit, len(current), required=False, evidence=told)
