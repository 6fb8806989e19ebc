"""Faults in features: one gains nothing, one costs too much, a waiver has run out."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, strict
from mlgates.features import Plan, plan
from mlgates.gate.feature_rules import feature_checks
from mlgates.training.ablation import ablate
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

FEATURE = "planted"  # the name of the feature that is planted
TODAY = "2025-01-01"  # the day on which the features are measured and judged
YESTERDAY = "2024-12-31"
PERIODS = 3  # the default of gate.feature_periods: so often a feature must show no gain
SLOW_SECONDS = 0.005

FeatureFunction = Callable[[np.ndarray], np.ndarray]
Ablation = dict[str, Any]  # what `ablate` measures in one period, and the day


def _with_feature(features: Plan, function: FeatureFunction, column: str) -> Plan:
    """The plan with one more feature, which reads one column."""
    return replace(
        features,
        names=(*features.names, FEATURE),
        functions={**features.functions, FEATURE: function},
        arguments={**features.arguments, FEATURE: (column,)},
    )


def _ablation(bench: Bench, features: Plan, rows: "pd.DataFrame", seed: int) -> Ablation:
    """What the planted feature gains and costs in one period, whose rows the seed divides."""
    if len(rows) // 2 < bench.settings.gate.feature_min_rows:
        raise NotApplicable("too few rows to say what a feature gains")

    shuffled = rows.sample(frac=1, random_state=seed)
    training = shuffled.iloc[::2].reset_index(drop=True)
    unseen = shuffled.iloc[1::2].reset_index(drop=True)
    measured = ablate(bench.project, features, training, unseen, bench.settings, [FEATURE])
    return {**measured, "measured": TODAY}


def _history(bench: Bench, function: FeatureFunction, periods: int) -> list[Ablation]:
    """The ablations of a planted feature in so many periods; measured once for each function."""
    features = plan(bench.project.features, bench.contract)
    planted = _with_feature(features, function, features.columns[0])

    def measure() -> list[Ablation]:
        return [_ablation(bench, planted, bench.rows, seed) for seed in range(periods)]

    return list(bench.computed(function.__name__, measure))


def _judged(bench: Bench, history: list[Ablation], waived_until: str = "") -> Report:
    """The gate's verdict on a history of ablations."""
    waivers = []
    if waived_until:
        waivers.append(f"{FEATURE} until {waived_until}")
    limits = replace(bench.settings.gate, waive=waivers)
    return strict(Report("features", feature_checks(history, limits)))


def _noise(values: np.ndarray) -> np.ndarray:
    """A feature that says nothing about the outcome; the same values every time."""
    return np.random.default_rng(len(values)).random(len(values))


def _slow(values: np.ndarray) -> np.ndarray:
    """A feature that takes its time and gains nothing."""
    time.sleep(SLOW_SECONDS)
    return np.zeros(len(values))


def _unchanged(values: np.ndarray) -> np.ndarray:
    """A feature that is the column itself."""
    return values * 1.0


@fault(
    "a feature of noise, three periods running", caught_by="gate.feature_gain.planted", row="Data 2"
)
def noise(bench: Bench) -> Report:
    """The feature was added, but its gain was never measured."""
    return _judged(bench, _history(bench, _noise, PERIODS))


@fault("a feature that takes 5 ms", caught_by="gate.feature_cost.planted", row="Data 3")
def slow(bench: Bench) -> Report:
    """A feature asks another service for each request, and gains nothing."""
    return _judged(bench, _history(bench, _slow, 1))


@fault("a feature whose waiver has run out", caught_by="gate.feature_gain.planted", row="Data 2")
def expired(bench: Bench) -> Report:
    """It was waived until the day before it is judged."""
    return _judged(bench, _history(bench, _noise, PERIODS), YESTERDAY)


@healthy("waived features", seeds=1)
def waived(bench: Bench, _: int) -> Report:
    """A useless and a slow feature, both waived until today."""
    of_noise = _judged(bench, _history(bench, _noise, PERIODS), TODAY)
    of_slow = _judged(bench, _history(bench, _slow, 1), TODAY)
    return Report("features", [*of_noise.checks, *of_slow.checks])


@healthy("a feature that tells something of the outcome")
def useful(bench: Bench, seed: int) -> Report:
    """Its gain must be seen in each period: what is not ok, inconclusive too, is a false alarm."""
    target = bench.contract.target(bench.rows)
    column = bench.number.name

    # The column is the outcome under twice its own spread of noise, and the only feature.
    deviation = np.random.default_rng(seed).normal(0, 2 * target.std(), len(target))
    rows = bench.rows.assign(**{column: target + deviation})
    features = plan(bench.project.features, bench.contract)
    without_features = replace(features, names=(), categorical=())
    planted = _with_feature(without_features, _unchanged, column)

    report = _judged(bench, [_ablation(bench, planted, rows, seed)])
    checks = []
    for check in report.checks:
        if check.verdict is not Verdict.OK:
            check = replace(check, verdict=Verdict.FAIL)
        checks.append(check)
    return Report("features", checks)
