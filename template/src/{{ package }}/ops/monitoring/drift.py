"""Drift of what was served against what the model was trained on: distances by Evidently, and missing shares."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contract import Arrays, Column, Contract, gone
from ..pipeline.drift import distance, noise
from ..scoring import Scorer
from ..verdict import Check, Verdict, at_most

MOST_WORDS = 30  # a free text with more different words is no category
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


def drift(reference: Arrays, current: Arrays, limits: Mapping[str, Any]) -> tuple[list[Check], str]:
    """One check `monitor.drift.<column>` each, judged by Evidently's tests, and Evidently's own page.

    Numbers: Wasserstein distance in standard deviations of the reference. Words: Jensen-Shannon distance. Both are
    sizes of an effect; p-values, which call any difference of many rows a drift, are not used. Evidently drops missing
    values, so `missing` checks their share. Free text, and a column without any value, are left out.
    """
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    before, now = pd.DataFrame(reference), pd.DataFrame(current)
    words = {name: before[name].nunique() for name, values in reference.items() if values.dtype == object}
    filled = [name for name in reference if before[name].notna().any() and now[name].notna().any()]
    used = [name for name in filled if words.get(name, 0) <= MOST_WORDS]
    if not used:
        return [], ""
    numbers, categories = ([name for name in used if (name in words) is wanted] for wanted in (False, True))
    known = {name: (before[name].count(), now[name].count()) for name in used}  # missing values prove nothing
    bounds = {name: max(limits["drift_limit"], noise(*known[name], words.get(name, 0))) for name in used}
    tests = [ValueDrift(column=name, method="wasserstein", threshold=bounds[name]) for name in numbers]
    tests += [ValueDrift(column=name, method="jensenshannon", threshold=bounds[name]) for name in categories]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [Dataset.from_pandas(side[used], data_definition=definition) for side in (now, before)]  # the current first
    with warnings.catch_warnings(action="ignore"):
        found = Report(tests, include_tests=True).run(*sides)
    told, checks = found.dict(), []
    values = {metric["config"]["column"]: float(metric["value"]) for metric in told["metrics"]}
    for test in told["tests"]:
        name, way = test["metric_config"]["params"]["column"], test["metric_config"]["params"]["method"]
        verdict = VERDICTS.get(test["status"].value, Verdict.INSUFFICIENT)
        value, limit = round(values[name], 6), round(bounds[name], 6)
        checks.append(Check(f"monitor.drift.{name}", verdict, value, limit, None, len(now), False, f"{way} distance"))
    return checks, found.get_html_str(as_iframe=False)


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
