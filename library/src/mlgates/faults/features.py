"""Faults in features: one gains nothing, one costs too much, a waiver has run out."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, strict
from mlgates.features import Plan, plan
from mlgates.gate.feature_rules import judge
from mlgates.training.ablation import ablate
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

TODAY = "2025-01-01"  # of what is measured here
MOST_FILES = 2  # that a new feature may need: features.py, and its test


def _with(features: Plan, function: Callable[[np.ndarray], np.ndarray], column: str) -> Plan:
    """The plan with one more feature, `planted`."""
    return replace(
        features,
        names=(*features.names, "planted"),
        functions={**features.functions, "planted": function},
        arguments={**features.arguments, "planted": (column,)},
    )


def _measured(bench: Bench, features: Plan, rows: "pd.DataFrame", seed: int) -> dict[str, Any]:
    """What ablate says of `planted` in one period."""
    if len(rows) // 2 < bench.settings.gate.feature_min_rows:
        raise NotApplicable("too few rows to say what a feature gains")
    shuffled = rows.sample(frac=1, random_state=seed)
    halves = shuffled.iloc[::2].reset_index(drop=True), shuffled.iloc[1::2].reset_index(drop=True)
    found = ablate(bench.project, features, *halves, bench.settings, ["planted"])
    return {**found, "measured": TODAY}


def _history(
    bench: Bench, function: Callable[[np.ndarray], np.ndarray], periods: int
) -> list[dict[str, Any]]:
    features = plan(bench.project.features, bench.contract)
    planted = _with(features, function, features.columns[0])
    measured = bench.once(
        function.__name__,
        lambda: [_measured(bench, planted, bench.rows, seed) for seed in range(periods)],
    )
    return list(measured)


def _judged(bench: Bench, history: list[dict[str, Any]], waived_until: str = "") -> Report:
    waive = [f"planted until {waived_until}"] if waived_until else []
    return strict(Report("features", judge(history, replace(bench.settings.gate, waive=waive))))


def _noise(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(values)).random(len(values))


def _slow(values: np.ndarray) -> np.ndarray:
    time.sleep(0.005)
    return np.zeros(len(values))


@fault(
    "a feature of noise, three periods running", caught_by="gate.feature_gain.planted", row="Data 2"
)
def noise(bench: Bench) -> Report:
    """Nobody asked what the feature is good for."""
    return _judged(bench, _history(bench, _noise, 3))


@fault("a feature that takes 5 ms", caught_by="gate.feature_cost.planted", row="Data 3")
def slow(bench: Bench) -> Report:
    """A feature asks another service for each request, and gains nothing."""
    return _judged(bench, _history(bench, _slow, 1))


@fault("a feature whose waiver has run out", caught_by="gate.feature_gain.planted", row="Data 2")
def expired(bench: Bench) -> Report:
    """It was waived until the day before."""
    return _judged(bench, _history(bench, _noise, 3), "2024-12-31")


@healthy("waived features", seeds=1)
def waived(bench: Bench, _: int) -> Report:
    """A useless and a slow feature, waived until today."""
    reports = [
        _judged(bench, _history(bench, *planted), TODAY) for planted in ((_noise, 3), (_slow, 1))
    ]
    return Report("features", [check for report in reports for check in report.checks])


@healthy("a feature that tells something of the outcome")
def useful(bench: Bench, seed: int) -> Report:
    """It must be seen to gain, in each period, at its price."""
    random, name, target = (
        np.random.default_rng(seed),
        bench.number.name,
        bench.contract.target(bench.rows),
    )
    told = target + random.normal(0, 2 * target.std(), len(target))
    features = plan(bench.project.features, bench.contract)
    planted = _with(replace(features, names=(), categorical=()), lambda values: values * 1.0, name)
    report = _judged(bench, [_measured(bench, planted, bench.rows.assign(**{name: told}), seed)])
    shown = [
        check if check.verdict is Verdict.OK else replace(check, verdict=Verdict.FAIL)
        for check in report.checks
    ]
    return Report("features", shown)
