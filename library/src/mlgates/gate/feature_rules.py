"""Checks of what ablation measured: a feature must gain something, and may cost no more than that.

`gate.feature_gain.<feature>` fails for a feature without a gain in several periods in a row,
`gate.feature_cost.<feature>` for one that takes more time than its gain is worth.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from mlgates.limits import effects, interval
from mlgates.settings import GateSettings, waiver
from mlgates.verdict import Check, Effect, Verdict, at_most

KINDS = ("gain", "cost")
POINT = 0.01  # of a metric between 0 and 1, or of an error: 1 % of it


def feature_checks(history: Sequence[Mapping[str, Any]], limits: GateSettings) -> list[Check]:
    """The checks on the features of the newest ablation report: all gains, then all costs.

    `history` is the ablation reports, oldest first; `limits` is the section `gate` of the
    parameters. A waived feature is inconclusive where it would fail, in what was measured until the
    last day of the waiver.

    Raises: ProjectError for a waiver that names no feature or no day, or if `feature_blocking`
    names another kind.
    """
    effect_of = effects(limits.feature_blocking, "gate.feature_blocking", KINDS)
    if not history:
        return []
    newest = history[-1]

    waived_until = {}
    for text in limits.waive:
        feature, last_day = waiver(text, newest["features"], "params.yaml: gate.waive", "feature")
        waived_until[feature] = last_day
    measured_on = date.fromisoformat(newest["measured"])

    gains = _gain_checks(history, limits, effect_of["gain"])
    costs = _cost_checks(newest, limits, effect_of["cost"])
    checks = []
    for feature, check in [*gains, *costs]:
        last_day = waived_until.get(feature, date.min)
        if check.verdict is Verdict.FAIL and last_day >= measured_on:
            evidence = f"waived until {last_day}: {check.evidence}"
            check = replace(check, verdict=Verdict.INCONCLUSIVE, evidence=evidence)
        checks.append(check)
    return checks


def _gain_checks(
    history: Sequence[Mapping[str, Any]], limits: GateSettings, effect: Effect
) -> Iterator[tuple[str, Check]]:
    """Each feature with its check `gate.feature_gain`.

    One period says little about a gain: its interval is about the rows measured on, not about the
    fit. So a feature fails only after `feature_periods` periods in a row.
    """
    newest = history[-1]
    for feature, entry in newest["features"].items():
        verdict, evidence = _gain_verdict(feature, history, limits)
        check = Check(
            f"gate.feature_gain.{feature}",
            verdict,
            entry["gain"]["value"],
            0.0,
            interval(entry["gain"]),
            newest["rows"],
            required=False,
            evidence=evidence,
            effect=effect,
        )
        yield feature, check


def _gain_verdict(
    feature: str, history: Sequence[Mapping[str, Any]], limits: GateSettings
) -> tuple[Verdict, str]:
    """What the newest ablation reports say about the gain of a feature, and the evidence."""
    if not _is_conclusive(history[-1], feature, limits):
        evidence = f"needs {limits.feature_min_rows:,} rows with labels"
        return Verdict.INCONCLUSIVE, evidence
    useless_periods = _periods_without_gain(feature, history, limits)
    if not useless_periods:
        return Verdict.OK, ""
    evidence = f"periods in a row without a gain: {useless_periods}"
    evidence += f"; it fails at {limits.feature_periods}"
    if useless_periods < limits.feature_periods:
        return Verdict.INCONCLUSIVE, evidence
    return Verdict.FAIL, evidence


def _is_conclusive(report: Mapping[str, Any], feature: str, limits: GateSettings) -> bool:
    """Whether a period has enough rows, and a measured interval, to judge a feature by."""
    features = report["features"]
    if feature not in features or interval(features[feature]["gain"]) is None:
        return False
    return bool(report["rows"] >= limits.feature_min_rows)


def _periods_without_gain(
    feature: str, history: Sequence[Mapping[str, Any]], limits: GateSettings
) -> int:
    """How many of the newest periods in a row showed no gain of the feature above the margin.

    The count ends at a period that is inconclusive, and at one in which the feature was computed
    in another way: that was another feature.
    """
    definition = history[-1]["features"][feature].get("definition")
    count = 0
    for report in reversed(history):
        if not _is_conclusive(report, feature, limits):
            break
        entry = report["features"][feature]
        min_gain = limits.feature_margin * report["unit"]
        lower_bound = entry["gain"]["interval"][0]
        has_gain = lower_bound > 0 and entry["gain"]["value"] >= min_gain
        if has_gain or entry.get("definition") != definition:
            break
        count += 1
    return count


def _cost_checks(
    report: Mapping[str, Any], limits: GateSettings, effect: Effect
) -> Iterator[tuple[str, Check]]:
    """Each feature with its check `gate.feature_cost`, in microseconds for a row."""
    for feature, entry in report["features"].items():
        alone_or_in_batch = max(entry["microseconds"], entry["batch_microseconds"])
        cost = alone_or_in_batch + entry["lookup_microseconds"]

        # A feature has the benefit of the doubt: the upper end of its interval counts as its gain.
        max_gain = max(0.0, entry["gain"]["interval"][1] or 0.0)
        points = max_gain / (report["unit"] or 1.0) / POINT
        limit = limits.feature_microseconds + points * limits.microseconds_per_point

        # What any feature may cost is ok without a known gain. Above it, the check is inconclusive
        # as long as the gain is: more rows are asked for than there are.
        min_rows = 0
        gain_matters = cost > limits.feature_microseconds
        if gain_matters and not _is_conclusive(report, feature, limits):
            min_rows = report["rows"] + 1

        lookups = [f"look-up {name}" for name in entry["lookups"]]
        sources = ", ".join([*entry["reads"], *lookups])
        evidence = f"microseconds for a row; gains at most {points:.2g} points"
        evidence += f"; {entry['bytes']:,} bytes for a row; reads {sources}"
        check = at_most(
            f"gate.feature_cost.{feature}",
            cost,
            limit,
            report["rows"],
            min_rows=min_rows,
            required=False,
            evidence=evidence,
            effect=effect,
        )
        yield feature, check
